/**
 * HTTP/3 (RFC 9114) for a measuring client, above the QUIC engine. The engine reads UDP in a thread of its own and hands events over:
 * a token's time is when its event reached this thread, as on TCP it is when the read callback ran. The engine takes in whatever
 * comes, so no stream can be left unread.
 */
import { X509Certificate } from "node:crypto";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { bareHost, isLoopback } from "../../base/host.ts";
import { monotonicUs } from "../../base/clock.ts";
import { loadQuic, type QuicClient, type QuicEvent, quicEvent, quicLack, resetCodeOf } from "../../base/quic.ts";
import { controlOpening, errorCode, errorName, frame, frameOf, requestFrameFault, setting } from "../../wire/h3/frames.ts";
import { PeerStreams } from "../../wire/h3/peer-streams.ts";
import { decodeFields, encodeFields, type Field } from "../../wire/h3/qpack.ts";
import { FrameReader, type Take } from "../../wire/h3/reader.ts";
import { baseFields, HeadFields, maxHeadBytes, maxInterim } from "./fields.ts";
import type { ReceiveWindows } from "../../wire/h2/windows.ts";
import type { Endpoint } from "../job.ts";
import {
  ConnectError,
  type Connection,
  type Exchange,
  type FailureReason,
  isWithoutBody,
  type OutgoingRequest,
  type WireBytes,
} from "./connection.ts";

/** The first stream that a client opens in one direction: our control stream (RFC 9000, section 2.1). */
const controlStreamId = 2;
/** The engine ends a connection on which nothing came for so long, milliseconds: a slow first token must not be cut. */
const idleTimeoutMs = 600_000;

export interface H3Options {
  readonly windows: ReceiveWindows;
  readonly timeoutMs: number;
  /** Usable before the server's SETTINGS have come. */
  readonly early: boolean;
  readonly signal: AbortSignal | undefined;
}

/** Opens a connection. Rejects with ConnectError. */
export async function connectH3(host: string, port: number, endpoint: Endpoint, options: H3Options, startUs: number): Promise<Connection> {
  if (loadQuic() === null) throw new ConnectError(quicLack(), "connection failed", true);
  let address = host;
  try {
    if (isIP(host) === 0) ({ address } = await lookup(host));
  } catch (error) {
    throw new ConnectError((error as Error).message, "connection failed", false, { cause: error });
  }
  const peer = isIP(address) === 6 ? `[${address}]:${port}` : `${address}:${port}`;
  return await new Promise((resolve, reject) => {
    const connection = new H3Connection(endpoint, options, startUs);
    const settle = (error: ConnectError | null): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener("abort", onAbort);
      connection.onSettled = () => {};
      if (error === null) return resolve(connection);
      connection.close();
      reject(error);
    };
    const onAbort = (): void => settle(new ConnectError("given up", "aborted"));
    const timer = setTimeout(() => {
      const words = connection.isReady ? "no SETTINGS" : "no handshake";
      settle(new ConnectError(`${words} within ${options.timeoutMs} ms`, "connection timeout", connection.isReady));
    }, options.timeoutMs);
    options.signal?.addEventListener("abort", onAbort);
    connection.onSettled = settle;
    const name = bareHost(new URL(endpoint.origin).hostname);
    // The engine compares a certificate with names, and not with addresses.
    connection.connect(peer, isLoopback(name) && isIP(name) !== 0 ? "localhost" : name);
  });
}

/** A request under way. */
class Stream {
  readonly id: number;
  readonly exchange: Exchange;
  readonly #connection: H3Connection;
  readonly #frames: FrameReader;
  gone = false;
  responded = false;
  #interim = 0;
  #isTrailed = false;

  constructor(id: number, exchange: Exchange, connection: H3Connection) {
    this.id = id;
    this.exchange = exchange;
    this.#connection = connection;
    this.#frames = new FrameReader({
      onFrame: (type, length) => this.#beginFrame(type, length),
      // Hot path.
      onPiece: (bytes, start, end) => exchange.onData(bytes, start, end, connection.readUs),
      onWhole: (_type, bytes, start, end) => this.#readHead(bytes, start, end),
    });
  }

  /** Hot path. */
  read(bytes: Buffer, isEnd: boolean): void {
    if (this.gone) return;
    this.#frames.read(bytes, 0, bytes.length);
    if (!isEnd || this.gone) return;
    if (!this.#frames.isBetween) return this.fail("malformed response", "the stream ended within a frame");
    this.#connection.remove(this);
    if (this.responded) this.exchange.onEnd(this.#connection.readUs);
    else this.exchange.onFail("malformed response", "the stream ended without a head");
  }

  fail(reason: FailureReason, words?: string): void {
    this.#connection.remove(this);
    this.exchange.onFail(reason, words);
  }

  stop(): void {
    this.gone = true;
    this.#frames.stop();
  }

  /** Hot path. */
  #beginFrame(type: number, length: number): Take {
    const { wire } = this.#connection;
    const fault = requestFrameFault(type);
    const isData = type === frame.data;
    if (fault !== 0 || (isData && !this.responded) || (this.#isTrailed && (isData || type === frame.headers))) {
      this.#connection.broken(fault === 0 ? errorCode.frameUnexpected : fault);
      return "stop";
    }
    if (isData) {
      wire.data += length;
      wire.framing += frameHeaderBytes(length);
      return "pieces";
    }
    if (type === frame.headers) wire.head += frameHeaderBytes(length) + length;
    else wire.other += frameHeaderBytes(length) + length;
    if (type !== frame.headers || this.#isTrailed) return "skip";
    if (length <= maxHeadBytes) return "whole";
    this.#connection.cancel(this);
    this.exchange.onFail("response too large");
    return "stop";
  }

  #readHead(bytes: Buffer, start: number, end: number): void {
    const head = new HeadFields();
    try {
      decodeFields(bytes, start, end, maxHeadBytes, (name, value) => head.take(name, value));
    } catch {
      return this.#connection.broken(errorCode.qpackDecompression);
    }
    if (this.responded) {
      this.#isTrailed = true;
    } else if (!head.isInterim) {
      this.responded = true;
      this.exchange.onResponse(head, this.#connection.readUs);
    } else if (++this.#interim > maxInterim) {
      this.#connection.cancel(this);
      this.exchange.onFail("response too large");
    }
  }
}

/**
 * Whether the trusted certificate is a server's own and no authority, as the one is that fakeai makes. BoringSSL trusts authorities
 * alone: such a server's certificate cannot be checked by the engine, and is not.
 */
function isOwnLeaf(ca: string | null): boolean {
  try {
    return ca !== null && !new X509Certificate(ca).ca;
  } catch {
    return false;
  }
}

/** Bytes in front of a payload of a known type. */
function frameHeaderBytes(length: number): number {
  return 1 + (length < 0x40 ? 1 : length < 0x4000 ? 2 : length < 0x4000_0000 ? 4 : 8);
}

type Count = { -readonly [Key in keyof WireBytes]: NonNullable<WireBytes[Key]> };

class H3Connection implements Connection {
  /** "h3", proven by ALPN and the server's SETTINGS; null before they came. */
  negotiated: string | null = null;
  /** The engine does not tell. */
  readonly cipher = null;
  connectUs = 0;
  onClosed: () => void = () => {};
  onSettled: (error: ConnectError | null) => void = () => {};
  readonly http2 = null;
  /** The engine does not tell how many streams the server allows: one that is too many is refused. */
  readonly capacity = Infinity;
  readonly wire: Count = { data: 0, framing: 0, head: 0, request: 0, windowUpdate: 0, settings: 0, ping: 0, other: 0 };
  /** When the events that are being read came. */
  readUs = 0;
  /** The handshake is complete. */
  isReady = false;
  open = true;
  readonly #endpoint: Endpoint;
  readonly #options: H3Options;
  readonly #startUs: number;
  readonly #engine: QuicClient;
  readonly #streams = new Map<number, Stream>();
  readonly #peer: PeerStreams;
  readonly #base: readonly Field[];
  /** The fields of a request without headers of its own, by method and path; for few of them. */
  readonly #heads = new Map<string, Buffer>();
  #nextId = 0;
  #closing = false;
  #bytes = { bytesIn: 0, bytesOut: 0 };
  /** What waits for the engine to take bytes again. */
  readonly #unsent: { readonly stream: Stream; readonly bytes: Buffer }[] = [];

  constructor(endpoint: Endpoint, options: H3Options, startUs: number) {
    this.#endpoint = endpoint;
    this.#options = options;
    this.#startUs = startUs;
    this.#base = baseFields(endpoint);
    this.#peer = new PeerStreams({ onSettings: () => this.#settled(), onGoaway: (id) => this.#onGoaway(id) });
    const { tls } = endpoint;
    const { windows } = options;
    this.#engine = new (loadQuic()!.NativeQuicClient)(
      {
        ...(tls.ca !== null && { ca: Buffer.from(tls.ca) }),
        rejectUnauthorized: !tls.insecure && !isOwnLeaf(tls.ca),
        alpn: ["h3"],
        runtimeMode: "portable",
        maxIdleTimeoutMs: idleTimeoutMs,
        initialMaxData: windows.connectionBytes,
        initialMaxStreamDataBidiLocal: windows.streamBytes,
      },
      (_error, events) => {
        this.readUs = monotonicUs();
        for (const event of events) this.#take(event);
        this.#engine.ackEventBatch(events.length);
      },
    );
  }

  connect(peer: string, serverName: string): void {
    try {
      this.#engine.connect(peer, serverName);
    } catch (error) {
      this.onSettled(new ConnectError((error as Error).message, "connection failed", false, { cause: error }));
    }
  }

  get hasRoom(): boolean {
    return this.open;
  }

  get bytesRead(): number {
    return this.#measured().bytesIn;
  }

  get bytesWritten(): number {
    return this.#measured().bytesOut;
  }

  /** UDP payloads, the handshake included. */
  #measured(): { bytesIn: number; bytesOut: number } {
    try {
      if (!this.#closing) this.#bytes = this.#engine.getSessionMetrics();
    } catch {
      // It is over: what was seen last stays.
    }
    return this.#bytes;
  }

  send(request: OutgoingRequest, exchange: Exchange): () => void {
    const id = this.#nextId;
    this.#nextId += 4;
    const stream = new Stream(id, exchange, this);
    this.#streams.set(id, stream);
    const body = request.body.length === 0 && isWithoutBody(request.method) ? null : Buffer.from(request.body as string);
    const head = this.#headOf(request, body?.length ?? null);
    const bytes = body === null || body.length === 0 ? head : Buffer.concat([head, frameOf(frame.data, body)]);
    this.wire.request += bytes.length;
    this.#write(stream, bytes);
    return () => {
      if (!stream.gone) this.cancel(stream);
    };
  }

  #write(stream: Stream, bytes: Buffer): void {
    if (this.#engine.streamSend(stream.id, bytes, true).status !== 0) this.#unsent.push({ stream, bytes });
  }

  #headOf({ method, path, headers }: OutgoingRequest, bodyLength: number | null): Buffer {
    const key = `${method} ${path}`;
    const known = headers === undefined ? this.#heads.get(key) : undefined;
    const length: readonly Field[] = bodyLength === null ? [] : [["content-length", String(bodyLength)]];
    // A field section begins with two bytes of its own.
    if (known !== undefined) return frameOf(frame.headers, Buffer.concat([known, encodeFields(length).subarray(2)]));
    const own = Object.entries(headers ?? {});
    const base = headers === undefined ? this.#base : this.#base.filter(([name]) => !Object.hasOwn(headers, name));
    const fields = encodeFields([[":method", method], [":path", path], ...base, ...own]);
    if (headers === undefined && this.#heads.size < 16) this.#heads.set(key, fields);
    return frameOf(frame.headers, Buffer.concat([fields, encodeFields(length).subarray(2)]));
  }

  close(): void {
    this.#measured();
    this.open = false;
    for (const stream of this.#streams.values()) stream.stop();
    this.#streams.clear();
    this.#end();
  }

  /** The client gives a request up. */
  cancel(stream: Stream): void {
    this.remove(stream);
    if (!this.#closing) this.#engine.streamClose(stream.id, errorCode.requestCancelled);
  }

  remove(stream: Stream): void {
    stream.stop();
    this.#streams.delete(stream.id);
    if (!this.open && this.#streams.size === 0) this.#end();
  }

  /** What came is not HTTP/3, or breaks it. */
  broken(code: number): void {
    this.#lost("malformed response", errorName(code));
    this.#end(code);
  }

  #end(code: number = errorCode.none): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#engine.close(code, "");
    this.#engine.requestShutdown();
  }

  /** Hot path. */
  #take(event: QuicEvent): void {
    const { eventType, streamId } = event;
    switch (eventType) {
      case quicEvent.data:
      case quicEvent.stream:
        return this.#read(streamId, event.data ?? none, event.fin === true);
      case quicEvent.finished:
        return this.#read(streamId, none, true);
      case quicEvent.handshake:
        return this.#begin();
      case quicEvent.reset:
      case quicEvent.error:
        return this.#failed(streamId, resetCodeOf(event), event.meta?.errorReason ?? "");
      case quicEvent.writable:
        for (const { stream, bytes } of this.#unsent.splice(0)) if (!stream.gone) this.#write(stream, bytes);
        return;
      case quicEvent.closed:
        return this.#closed(event.meta?.errorCode ?? 0, event.meta?.errorReason ?? "");
      case quicEvent.shutdown:
        // The thread has ended: this waits for nothing.
        this.#engine.joinWorker();
        return;
      default:
    }
  }

  #begin(): void {
    this.isReady = true;
    const opening = controlOpening([
      [setting.qpackTableBytes, 0],
      [setting.qpackBlockedStreams, 0],
    ]);
    this.wire.settings += opening.length;
    this.#engine.streamSend(controlStreamId, opening, false);
    if (this.#options.early) this.#usable();
  }

  #settled(): void {
    this.negotiated = this.#endpoint.protocol;
    this.#usable();
  }

  #usable(): void {
    if (this.connectUs === 0) this.connectUs = this.readUs - this.#startUs;
    this.onSettled(null);
  }

  /** Hot path. */
  #read(id: number, bytes: Buffer, isEnd: boolean): void {
    if (this.#closing) return;
    if (id % 4 === 0) {
      this.#streams.get(id)?.read(bytes, isEnd);
      return;
    }
    this.wire.settings += bytes.length;
    const fault = this.#peer.read(id, bytes, isEnd);
    if (fault !== 0) this.broken(fault);
  }

  #failed(id: number, code: number, reason: string): void {
    if (id < 0) {
      if (!this.isReady) this.onSettled(new ConnectError(reason, "connection failed"));
      return;
    }
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    const isRefused = code === errorCode.requestRejected || reason.includes("StreamLimit");
    stream.fail(isRefused ? "refused" : "reset", code === 0 ? reason : `RESET_STREAM ${errorName(code)}`);
  }

  #onGoaway(id: number): void {
    const wasOpen = this.open;
    this.open = false;
    if (wasOpen) this.onClosed();
    for (const stream of this.#streams.values()) if (stream.id >= id) stream.fail("refused", "GOAWAY");
  }

  #closed(code: number, reason: string): void {
    if (!this.isReady) {
      this.onSettled(new ConnectError(reason === "" ? closedInHandshake : reason, "connection failed"));
      return;
    }
    const words = code === 0 || code === errorCode.none ? undefined : `CONNECTION_CLOSE ${errorName(code)}`;
    this.#lost(words === undefined ? "connection closed" : "reset", words);
    this.#end();
  }

  #lost(reason: FailureReason, words?: string): void {
    const wasOpen = this.open;
    this.open = false;
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    for (const stream of streams) {
      stream.stop();
      stream.exchange.onFail(reason, words);
    }
    if (!wasOpen) return;
    this.onSettled(new ConnectError(words ?? reason, reason));
    if (!this.#closing) this.onClosed();
  }
}

const none = Buffer.alloc(0);
const closedInHandshake =
  "the connection was closed in its handshake: no HTTP/3 there, or a certificate that is not trusted (by an IP address none is, but of this machine)";
