/** The interface of a client connection, for every protocol: requests go in, read callbacks come out. */

/** The consumer of one response. `readUs` is when the socket's read callback ran. */
export interface Exchange {
  onResponse(head: ResponseHead, readUs: number): void;
  /** Hot path. Bytes from `start` to `end` of `bytes`, valid during the call. */
  onData(bytes: Buffer, start: number, end: number, readUs: number): void;
  /**
   * Hot path. One whole event, as WebSocket carries it: JSON without the lines of an event stream. Valid during the call. true: it is the
   * last of its answer. Absent: what is asked is nothing that WebSocket carries.
   */
  onEvent?(bytes: Buffer, start: number, end: number, readUs: number): boolean;
  onEnd(readUs: number): void;
  /** The response will not go on; `words` say more of why. Called once, and never after `onEnd`. */
  onFail(reason: FailureReason, words?: string): void;
}

export interface ResponseHead {
  readonly status: number;
  readonly contentType: string;
  /** `content-encoding`, or null. */
  readonly contentEncoding: string | null;
  /** Where a redirect leads, or null. */
  readonly location: string | null;
  /** `retry-after` and `x-request-id`, or null. */
  readonly retryAfter: string | null;
  readonly requestId: string | null;
  /** The server's `x-fakeai-clock`, or null. */
  readonly clock: string | null;
  /** The server's `x-fakeai-instance`, or null. */
  readonly instance: string | null;
  /** The server's `x-fakeai-fault`: the fault it was asked for; null without the header. */
  readonly fault: string | null;
}

/** Why a request failed: a few fixed phrases, so that failures can be counted. */
export type FailureReason =
  | `status ${number}`
  /** No byte for the idle timeout. */
  | "timeout"
  /** Not ended within the time that a whole request may take, however many bytes came. */
  | "request timeout"
  /** A head, a line, an event or a body above what is held in memory of one. */
  | "response too large"
  /** TCP reset, or an HTTP/2 RST_STREAM. */
  | "reset"
  /** The connection ended before the answer did. */
  | "connection closed"
  /** A streamed answer that ended without [DONE], finish_reason or the like. */
  | "incomplete stream"
  /** HTTP/2 REFUSED_STREAM, or a stream above the last one of a GOAWAY. */
  | "refused"
  /** Another answer than was recorded. */
  | "not as recorded"
  /** Another number of tokens than was ordered. */
  | "wrong token count"
  /** An exact number of tokens was ordered, and the answer ended without a finish reason. */
  | "no finish reason"
  /** A streamed answer to a request for text with neither a token nor a finish reason. */
  | "empty answer"
  /** An `error` inside a stream that had begun well. */
  | "error event"
  /** A stream was expected, something else came. */
  | "not a stream"
  /** A stream in a content coding, which was not asked for: its events cannot be timed. */
  | "compressed stream"
  /** Bytes that are not the protocol. */
  | "malformed response"
  /** Another protocol than asked for. */
  | "wrong protocol"
  | "connection refused"
  | "connection timeout"
  | "connection failed"
  /** Not sent, since a turn before it in its session has failed. */
  | "session failed"
  /** Given up because the run was interrupted. */
  | "aborted";

export interface OutgoingRequest {
  readonly method: string;
  readonly path: string;
  readonly body: string | Uint8Array;
  /** Headers of this request alone, names in lower case, in place of the connection's of the same name. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /**
   * The answer is left unread for this many milliseconds; Infinity: for the whole run. HTTP/2: its stream's window is not
   * renewed. HTTP/1.1: the socket is not read. WebSocket: it cannot be.
   */
  readonly unreadMs?: number | undefined;
}

/** Whether a request of this method announces no length where it has no body (RFC 9110, section 8.6). */
export function isWithoutBody(method: string): boolean {
  return method !== "POST" && method !== "PUT" && method !== "PATCH";
}

/**
 * HTTP bytes of one connection by purpose, without those of TLS. Their sum is what crossed the socket in cleartext. null: not
 * in HTTP/1.1.
 */
export interface WireBytes {
  /** Received: bodies; on WebSocket the messages, as they were compressed. */
  readonly data: number;
  /** Received around bodies: headers of DATA frames; sizes and ends of chunks; heads of a WebSocket's frames. */
  readonly framing: number;
  /** Received: status lines and fields; HEADERS and CONTINUATION frames; the answer to a WebSocket's handshake. */
  readonly head: number;
  /** Sent: requests, their heads, bodies and framing. */
  readonly request: number;
  /** Both ways. */
  readonly windowUpdate: number | null;
  readonly settings: number | null;
  readonly ping: number | null;
  /** Both ways: the preface, RST_STREAM, GOAWAY, PRIORITY and unknown frames; a WebSocket's close frames. */
  readonly other: number | null;
}

/** Flow control and limits of an HTTP/2 connection, in bytes and streams. */
export interface Http2Limits {
  readonly windows: { readonly localStream: number; readonly localConnection: number; readonly remoteStream: number };
  readonly maxConcurrentStreams: number;
}

/** One connection. */
export interface Connection {
  /** "http/1.1", "h2", "h2c" or "websocket", proven by ALPN and the first bytes of the server; null before an HTTP/1.1 response. */
  readonly negotiated: string | null;
  readonly cipher: string | null;
  /** Microseconds from the first packet to being usable. */
  readonly connectUs: number;
  /** Requests that can be under way at once: what an HTTP/2 peer allows; on HTTP/1.1 1, or more where we pipeline; lanes of a WebSocket. */
  readonly capacity: number;
  /** Whether the peer takes another request. Its limit can arrive, or change, after the connection was opened. */
  readonly hasRoom: boolean;
  /** Bytes of the TCP connection, TLS and handshake included. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly wire: WireBytes;
  readonly open: boolean;
  readonly http2: Http2Limits | null;
  /** Called once when the connection takes no further request, except after `close`. */
  onClosed: () => void;
  /** Writes the request to the socket. Returns a function that gives it up; the exchange hears nothing more then. */
  send(request: OutgoingRequest, exchange: Exchange): () => void;
  close(): void;
}

/** No connection could be opened. `invalid`: another protocol answered, so no figure may be used. */
export class ConnectError extends Error {
  readonly reason: FailureReason;
  readonly invalid: boolean;

  constructor(message: string, reason: FailureReason, invalid = false, options?: ErrorOptions) {
    super(message, options);
    this.reason = reason;
    this.invalid = invalid;
  }
}
