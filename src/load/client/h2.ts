/**
 * HTTP/2 (RFC 9113) for a measuring client. One read callback serves all streams of a connection: the time of a read is
 * known, and a token costs as little as on HTTP/1.1. node:http2 queues the bytes of each stream first, and each DATA frame
 * costs it many times what a token costs here.
 */
import { monotonicUs } from "../../base/clock.ts";
import { defaultMaxFrameBytes, errorCode, errorName, flag, frame, FrameBytes, frameFault, preface } from "../../wire/h2/frames.ts";
import { HeaderBlockReader } from "../../wire/h2/header-blocks.ts";
import { HpackDecoder } from "../../wire/h2/hpack.ts";
import { FrameReader } from "../../wire/h2/reader.ts";
import { readSettings, setting } from "../../wire/h2/settings.ts";
import { ReceiveCredit, type ReceiveWindows, StreamCredit } from "../../wire/h2/windows.ts";
import type { Endpoint } from "../job.ts";
import { oneLine } from "../words.ts";
import {
  ConnectError,
  type Connection,
  type Exchange,
  type FailureReason,
  type Http2Limits,
  type OutgoingRequest,
  type WireBytes,
} from "./connection.ts";
import { HeadFields, maxHeadBytes, maxInterim } from "./fields.ts";
import { H2Sender, type Upload } from "./h2-sender.ts";
import type { ClientSocket } from "./socket.ts";

/** Frames of the default size hold as much in 16. */
const headerBlockLimits = { bytes: maxHeadBytes, frames: 1024 } as const;
/** Our frames that a peer has not read: one that asks for more (PING, SETTINGS) and reads nothing is given up. */
const maxUnreadBytes = 4_194_304;
/** The last stream identifier that is used; they end at 2^31 - 1 and are never used twice (RFC 9113, section 5.1.1). */
const lastStreamId = 0x7fff_ffef;

interface Stream {
  readonly id: number;
  readonly exchange: Exchange;
  readonly credit: StreamCredit;
  readonly upload: Upload;
  /** The head of the answer has come. */
  responded: boolean;
  /** Interim responses before it. */
  interim: number;
  gone: boolean;
}

/** How a connection is used, beside what its endpoint says. */
export interface H2Options {
  readonly windows: ReceiveWindows;
  /** Streams are opened before the peer's SETTINGS have come: it refuses those that are too many. */
  readonly early: boolean;
}

export class H2Connection implements Connection {
  readonly negotiated: string;
  readonly cipher: string | null;
  connectUs = 0;
  onClosed: () => void = () => {};
  readonly #socket: ClientSocket;
  readonly #sender: H2Sender;
  readonly #decoder = new HpackDecoder();
  readonly #streams = new Map<number, Stream>();
  readonly #credit: ReceiveCredit;
  readonly #received = new FrameBytes();
  #nextId = 1;
  #open = true;
  #closing = false;
  /** Called at the first SETTINGS. */
  #onSettings: (() => void) | null = null;
  /** The peer's SETTINGS have come. */
  #settled = false;
  #peerMaxStreams = Infinity;

  readonly #reader: FrameReader;
  readonly #blocks: HeaderBlockReader;
  /** When the bytes that are being read came. */
  #readUs = 0;
  /** What a GOAWAY with an error said. */
  #farewell: string | undefined;
  /** Stream identifier and flags of the frame that is being read. */
  #id = 0;
  #flags = 0;
  /** The stream of the DATA frame that is being read. */
  #stream: Stream | undefined;

  private constructor(socket: ClientSocket, endpoint: Endpoint, { windows }: H2Options) {
    this.#socket = socket;
    this.#credit = new ReceiveCredit(windows);
    this.#sender = new H2Sender(socket, endpoint);
    this.negotiated = endpoint.protocol;
    this.cipher = socket.cipher;
    this.#blocks = new HeaderBlockReader(headerBlockLimits, (id, endStream, bytes, start, end) =>
      this.#onHeaderBlock(id, endStream, bytes, start, end),
    );
    const consumer = {
      onFrame: (type: number, flags: number, id: number, length: number) => this.#beginFrame(type, flags, id, length),
      onData: (bytes: Buffer, start: number, end: number) => {
        const stream = this.#stream;
        if (stream !== undefined && !stream.gone) stream.exchange.onData(bytes, start, end, this.#readUs);
      },
      onFrameEnd: (type: number, bytes: Buffer, start: number, end: number) => this.#endFrame(type, bytes, start, end),
      onMalformed: () => this.#broken(),
    };
    this.#reader = new FrameReader(consumer, "server");
    socket.onBytes = (bytes, length, readUs) => this.#read(bytes, length, readUs);
    socket.onClose = (reset) => this.#lost(reset ? "reset" : "connection closed");
    this.#sender.begin(windows);
  }

  /** Speaks HTTP/2 on a connected socket. Rejects with ConnectError where the server does not; with `early` it is not asked. */
  static over(socket: ClientSocket, endpoint: Endpoint, options: H2Options, startUs: number, timeoutMs: number): Promise<H2Connection> {
    return new Promise((resolve, reject) => {
      const connection = new H2Connection(socket, endpoint, options);
      if (options.early) {
        connection.connectUs = monotonicUs() - startUs;
        resolve(connection);
        return;
      }
      const fail = (error: ConnectError): void => {
        clearTimeout(timer);
        connection.onClosed = () => {};
        connection.close();
        reject(error);
      };
      const timer = setTimeout(() => fail(new ConnectError(`no SETTINGS within ${timeoutMs} ms`, "connection timeout")), timeoutMs);
      connection.onClosed = () =>
        fail(new ConnectError(`${endpoint.protocol} was asked for, the server does not answer in HTTP/2`, "wrong protocol", true));
      connection.#onSettings = () => {
        clearTimeout(timer);
        connection.onClosed = () => {};
        connection.connectUs = monotonicUs() - startUs;
        resolve(connection);
      };
    });
  }

  get capacity(): number {
    return this.#peerMaxStreams;
  }

  get hasRoom(): boolean {
    return this.#streams.size < this.#peerMaxStreams;
  }

  get wire(): WireBytes {
    const received = this.#received;
    const sent = this.#sender.written;
    const both = (...types: readonly number[]): number => received.of(...types) + sent.of(...types);
    const requests = sent.of(frame.headers, frame.continuation, frame.data);
    const named =
      requests + received.of(frame.data, frame.headers, frame.continuation) + both(frame.windowUpdate, frame.settings, frame.ping);
    return {
      data: received.payload(frame.data),
      framing: received.overhead(frame.data),
      head: received.of(frame.headers, frame.continuation),
      request: requests,
      windowUpdate: both(frame.windowUpdate),
      settings: both(frame.settings),
      ping: both(frame.ping),
      other: received.total + sent.total + preface.length - named,
    };
  }

  get bytesRead(): number {
    return this.#socket.bytesRead;
  }

  get bytesWritten(): number {
    return this.#socket.bytesWritten;
  }

  get open(): boolean {
    return this.#open;
  }

  get http2(): Http2Limits {
    return {
      windows: {
        localStream: this.#credit.windows.streamBytes,
        localConnection: this.#credit.windows.connectionBytes,
        remoteStream: this.#sender.initialWindow,
      },
      maxConcurrentStreams: Number.isFinite(this.#peerMaxStreams) ? this.#peerMaxStreams : 4_294_967_295,
    };
  }

  send(request: OutgoingRequest, exchange: Exchange): () => void {
    const id = this.#nextId;
    this.#nextId += 2;
    if (this.#nextId > lastStreamId) this.#retire();
    const upload = this.#sender.request(id, request);
    const stream: Stream = { id, exchange, credit: new StreamCredit(), upload, responded: false, interim: 0, gone: false };
    this.#streams.set(id, stream);
    if (request.unreadMs !== undefined) this.#leaveUnread(stream, request.unreadMs);
    return () => this.#cancel(stream);
  }

  close(): void {
    this.#closing = true;
    this.#open = false;
    this.#reader.stop();
    this.#sender.stop();
    this.#streams.clear();
    this.#socket.destroy();
  }

  #cancel(stream: Stream): void {
    if (stream.gone) return;
    this.#remove(stream);
    this.#sender.reset(stream.id, errorCode.cancel);
  }

  /** The stream's window is not renewed before `ms` have passed. */
  #leaveUnread(stream: Stream, ms: number): void {
    stream.credit.isRead = false;
    if (!Number.isFinite(ms)) return;
    const timer = setTimeout(() => {
      if (stream.gone) return;
      this.#credit.release(stream.credit);
      this.#renewStream(stream);
      this.#renewConnection();
    }, ms);
    timer.unref();
  }

  #remove(stream: Stream): void {
    stream.gone = true;
    this.#sender.drop(stream.upload);
    this.#credit.release(stream.credit);
    this.#streams.delete(stream.id);
    if (!this.#open && this.#streams.size === 0 && !this.#closing) {
      this.#closing = true;
      this.#reader.stop();
      this.#sender.stop();
      this.#socket.end();
    }
  }

  /** No further request; streams under way go on. */
  #retire(): void {
    if (!this.#open) return;
    this.#open = false;
    this.onClosed();
  }

  #lost(reason: FailureReason, words: string | undefined = this.#farewell): void {
    const wasClosing = this.#closing;
    const wasOpen = this.#open;
    this.#closing = true;
    this.#open = false;
    this.#reader.stop();
    this.#sender.stop();
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    for (const stream of streams) {
      stream.gone = true;
      stream.exchange.onFail(reason, words);
    }
    if (wasOpen && !wasClosing) this.onClosed();
  }

  /** What came is not HTTP/2, or breaks it. */
  #broken(): void {
    this.#lost("malformed response");
    this.#socket.destroy();
  }

  #renewStream(stream: Stream): void {
    const bytes = this.#credit.forStream(stream.credit);
    if (bytes > 0) this.#sender.windowUpdate(stream.id, bytes);
  }

  #renewConnection(): void {
    const bytes = this.#credit.forConnection();
    if (bytes > 0) this.#sender.windowUpdate(0, bytes);
  }

  /** Hot path. */
  #read(bytes: Buffer, length: number, readUs: number): void {
    this.#readUs = readUs;
    this.#reader.read(bytes, 0, length);
    this.#renewConnection();
  }

  /** Hot path. */
  #beginFrame(type: number, flags: number, id: number, length: number): boolean {
    // A server begins with SETTINGS (section 3.4): anything else is another protocol.
    const isFirst = !this.#settled && (type !== frame.settings || (flags & flag.ack) !== 0);
    const fault = frameFault(type, flags, id, length, defaultMaxFrameBytes);
    if (isFirst || fault !== errorCode.none || !this.#blocks.allows(type, id)) {
      this.#broken();
      return false;
    }
    this.#id = id;
    this.#flags = flags;
    this.#received.count(type, length);
    if (type === frame.data) {
      this.#stream = this.#streams.get(id);
      // A server that passes our windows is measured all the same.
      this.#credit.received(length, this.#stream?.credit);
    }
    return true;
  }

  #endFrame(type: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case frame.data:
        return this.#endData();
      case frame.headers:
      case frame.continuation:
        if (this.#blocks.take(type, this.#flags, this.#id, bytes, start, end) !== errorCode.none) this.#broken();
        return;
      case frame.reset: {
        const stream = this.#streams.get(this.#id);
        if (stream === undefined) return;
        this.#remove(stream);
        const code = bytes.readUInt32BE(start);
        stream.exchange.onFail(code === errorCode.refusedStream ? "refused" : "reset", `RST_STREAM ${errorName(code)}`);
        return;
      }
      case frame.settings:
        return this.#applySettings(bytes, start, end);
      case frame.ping:
        if ((this.#flags & flag.ack) !== 0) return;
        if (this.#socket.unsentBytes > maxUnreadBytes) return this.#broken();
        return this.#sender.pong(bytes, start);
      case frame.goaway:
        this.#farewell = farewellOf(bytes, start, end);
        return this.#onGoaway(bytes.readUInt32BE(start) & 0x7fff_ffff);
      case frame.windowUpdate: {
        const upload = this.#id === 0 ? null : this.#streams.get(this.#id)?.upload;
        const increment = bytes.readUInt32BE(start) & 0x7fff_ffff;
        if (upload !== undefined && !this.#sender.grow(upload, increment)) this.#broken();
        return;
      }
      case frame.push:
        // Our SETTINGS forbid it.
        return this.#broken();
      default:
      // PRIORITY and unknown frames mean nothing to a client (section 5.5).
    }
  }

  /** Hot path. */
  #endData(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    if (stream === undefined || stream.gone) return;
    if (this.#flags & flag.endStream) this.#endStream(stream);
    else this.#renewStream(stream);
  }

  #endStream(stream: Stream): void {
    // An answer may end before its request does: the rest of the request is not sent (section 8.1).
    const isUploaded = stream.upload.sentBytes === stream.upload.body.length;
    if (!isUploaded) this.#sender.reset(stream.id, errorCode.cancel);
    this.#remove(stream);
    if (stream.responded) stream.exchange.onEnd(this.#readUs);
    else stream.exchange.onFail("malformed response", "the stream ended without a head");
  }

  #onHeaderBlock(id: number, endStream: boolean, bytes: Buffer, start: number, end: number): void {
    const head = new HeadFields();
    try {
      // Decoded for streams that are gone as well: the table is the connection's.
      this.#decoder.decode(bytes, start, end, (name, value) => head.take(name, value));
    } catch {
      return this.#broken();
    }
    const stream = this.#streams.get(id);
    if (stream === undefined) return;
    // 1xx come before the answer; what comes after its head are trailers.
    if (!stream.responded && !head.isInterim) {
      stream.responded = true;
      stream.exchange.onResponse(head, this.#readUs);
    }
    if (!stream.responded && ++stream.interim > maxInterim) {
      this.#cancel(stream);
      stream.exchange.onFail("response too large");
    }
    if (endStream && !stream.gone) this.#endStream(stream);
  }

  #applySettings(bytes: Buffer, start: number, end: number): void {
    if (this.#flags & flag.ack) return;
    let fits = true;
    const uploads = [...this.#streams.values()].map(({ upload }) => upload);
    const fault = readSettings(bytes, start, end, (id, value) => {
      if (id === setting.maxStreams) this.#peerMaxStreams = value;
      else fits = this.#sender.applySetting(id, value, uploads) && fits;
    });
    if (fault !== errorCode.none || !fits || this.#socket.unsentBytes > maxUnreadBytes) return this.#broken();
    this.#sender.acknowledgeSettings();
    if (this.#settled) return;
    this.#settled = true;
    this.#onSettings?.();
  }

  #onGoaway(lastId: number): void {
    this.#retire();
    for (const stream of this.#streams.values()) {
      if (stream.id <= lastId) continue;
      this.#remove(stream);
      stream.exchange.onFail("refused", this.#farewell);
    }
  }
}

/** What a GOAWAY says of why (RFC 9113, section 6.8): its code and its debug data. undefined: no error. */
function farewellOf(bytes: Buffer, start: number, end: number): string | undefined {
  const code = bytes.readUInt32BE(start + 4);
  const said = oneLine(bytes.toString("utf8", start + 8, end));
  return code === errorCode.none && said === "" ? undefined : `GOAWAY ${errorName(code)}${said === "" ? "" : `: ${said}`}`;
}
