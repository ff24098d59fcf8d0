/** What a client connection is to the rest of the load: requests go in, read callbacks come out. */

/** The consumer of one response. `readUs` is when the socket's read callback ran. */
export interface Exchange {
  onResponse(head: ResponseHead, readUs: number): void;
  /** Hot path. Bytes from `start` to `end` of `bytes`, valid during the call. */
  onData(bytes: Buffer, start: number, end: number, readUs: number): void;
  onEnd(readUs: number): void;
  /** The response will not go on. Called once, and never after `onEnd`. */
  onFail(reason: FailureReason): void;
}

export interface ResponseHead {
  readonly status: number;
  readonly contentType: string;
  /** The server's `x-fakeai-clock`, or null. */
  readonly clock: string | null;
}

/** Why a request failed: a few fixed phrases, so that failures can be counted. */
export type FailureReason =
  | `status ${number}`
  /** No byte for the idle timeout. */
  | "timeout"
  /** TCP reset, or an HTTP/2 RST_STREAM. */
  | "reset"
  /** The connection ended before the answer did. */
  | "connection closed"
  /** A streamed answer that ended without [DONE], finish_reason or the like. */
  | "incomplete stream"
  /** HTTP/2 REFUSED_STREAM, or a stream above the last one of a GOAWAY. */
  | "refused"
  /** Another number of tokens than the plan has. */
  | "wrong token count"
  /** An `error` inside a stream that had begun well. */
  | "error event"
  /** A stream was expected, something else came. */
  | "not a stream"
  /** Bytes that are not the protocol. */
  | "malformed response"
  /** Another protocol than asked for. */
  | "wrong protocol"
  | "connection refused"
  | "connection timeout"
  | "connection failed"
  /** Given up because the run was interrupted. */
  | "aborted";

export interface OutgoingRequest {
  readonly method: string;
  readonly path: string;
  readonly body: string;
}

/** Flow control and limits of an HTTP/2 connection, in bytes and streams. */
export interface Http2Limits {
  readonly windows: { readonly localStream: number; readonly localConnection: number; readonly remoteStream: number };
  readonly maxConcurrentStreams: number;
}

/** One connection. */
export interface Connection {
  /** "http/1.1", "h2" or "h2c", proven by ALPN and the first bytes of the server; null before an HTTP/1.1 response. */
  readonly negotiated: string | null;
  readonly cipher: string | null;
  /** Microseconds from the first packet to being usable. */
  readonly connectUs: number;
  /** Requests that the peer takes at once: 1 on HTTP/1.1. */
  readonly capacity: number;
  /** Bytes of the TCP connection, TLS and handshake included. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly open: boolean;
  readonly http2: Http2Limits | null;
  /** Told once when the connection can take no further request and it was not `close` that ended it. */
  onClosed: () => void;
  /** Gives the request to the socket. Returns a function that gives it up without a further word to the exchange. */
  send(request: OutgoingRequest, exchange: Exchange): () => void;
  close(): void;
}

/** A connection could not be had. `invalid`: another protocol answered, so that no figure may be used. */
export class ConnectError extends Error {
  readonly reason: FailureReason;
  readonly invalid: boolean;

  constructor(message: string, reason: FailureReason, invalid = false) {
    super(message);
    this.reason = reason;
    this.invalid = invalid;
  }
}
