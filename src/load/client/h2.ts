/**
 * HTTP/2 (RFC 9113) as a measuring client needs it: one read callback for all streams of a connection, so that the
 * moment of a read is known, and a token costs no more than on HTTP/1.1. node:http2 would show each stream's bytes only
 * after its own queue, at a cost per DATA frame that is many times the token's.
 */
import { monotonicUs } from "../../base/clock.ts";
import type { ClientSocket } from "./socket.ts";
import { errorCode, flag, frame, FrameBytes, frameHeader, preface, setting } from "../../wire/h2/frames.ts";
import { FrameReader } from "../../wire/h2/reader.ts";
import { defaultWindow, ReceiveCredit, type ReceiveWindows, StreamCredit } from "../../wire/h2/windows.ts";
import { HpackDecoder, HpackEncoder } from "../../wire/h2/hpack.ts";
import type { Endpoint } from "../job.ts";
import {
  ConnectError,
  type Connection,
  type Exchange,
  type FailureReason,
  type Http2Limits,
  type OutgoingRequest,
  type WireBytes,
} from "./connection.ts";

/** Our SETTINGS_MAX_FRAME_SIZE: the default. */
const maxFrameBytes = 16_384;
const maxHeaderBytes = 262_144;
const none = Buffer.alloc(0);

interface Stream {
  readonly id: number;
  readonly exchange: Exchange;
  readonly credit: StreamCredit;
  sendWindow: number;
  /** Rest of the request's body. */
  body: Buffer | null;
  responded: boolean;
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
  readonly #encoder: HpackEncoder;
  readonly #decoder = new HpackDecoder();
  readonly #streams = new Map<number, Stream>();
  readonly #credit: ReceiveCredit;
  readonly #received = new FrameBytes();
  readonly #sent = new FrameBytes();
  #nextId = 1;
  #open = true;
  #closing = false;
  /** Told of the first SETTINGS. */
  #onSettings: (() => void) | null = null;
  #settled = false;

  #peerMaxStreams = Infinity;
  #peerInitialWindow = defaultWindow;
  #peerMaxFrame = 16_384;
  #sendWindow = defaultWindow;
  /** Streams whose body waits for a window. */
  readonly #blocked = new Set<Stream>();

  readonly #reader: FrameReader;
  /** Of the frame that is being read. */
  #id = 0;
  #flags = 0;
  #stream: Stream | undefined;
  /** Header block of a HEADERS frame without END_HEADERS. */
  #block: Buffer[] = [];
  #blockBytes = 0;
  #blockId = 0;
  #blockEnds = false;

  #out: Buffer[] = [];
  #flushing = false;

  private constructor(socket: ClientSocket, endpoint: Endpoint, { windows }: H2Options) {
    this.#socket = socket;
    this.#credit = new ReceiveCredit(windows);
    this.negotiated = endpoint.protocol;
    this.cipher = socket.cipher;
    const url = new URL(endpoint.origin);
    this.#encoder = new HpackEncoder([
      [":scheme", url.protocol.slice(0, -1)],
      [":authority", url.host],
      ...Object.entries(endpoint.headers).map(([name, value]) => [name.toLowerCase(), value] as const),
    ]);
    this.#reader = new FrameReader({
      onFrame: (type, flags, id, length) => this.#beginFrame(type, flags, id, length),
      onData: (bytes, start, end, readUs) => {
        const stream = this.#stream;
        if (stream !== undefined && !stream.gone) stream.exchange.onData(bytes, start, end, readUs);
      },
      onFrameEnd: (type, bytes, start, end, readUs) => this.#endFrame(type, bytes, start, end, readUs),
      onMalformed: () => this.#broken(),
    });
    socket.onBytes = (bytes, length, readUs) => this.#read(bytes, length, readUs);
    socket.onClose = (reset) => this.#lost(reset ? "reset" : "connection closed");
    const settings = Buffer.alloc(12);
    settings.writeUInt16BE(setting.enablePush, 0);
    settings.writeUInt16BE(setting.initialWindow, 6);
    settings.writeUInt32BE(windows.streamBytes, 8);
    this.#out.push(preface);
    this.#push(frame.settings, 0, 0, settings);
    const more = windows.connectionBytes - defaultWindow;
    if (more > 0) this.#pushNumber(frame.windowUpdate, 0, more);
    this.#flush();
  }

  /** Speaks HTTP/2 on a connected socket. Rejects with ConnectError where the server does not; `early` ones do not ask. */
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
    const [received, sent] = [this.#received, this.#sent];
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
        remoteStream: this.#peerInitialWindow,
      },
      maxConcurrentStreams: Number.isFinite(this.#peerMaxStreams) ? this.#peerMaxStreams : 4_294_967_295,
    };
  }

  send({ method, path, body, headers, unreadMs }: OutgoingRequest, exchange: Exchange): () => void {
    const id = this.#nextId;
    this.#nextId += 2;
    // Identifiers are never used twice (RFC 9113, section 5.1.1).
    if (this.#nextId > 0x7fff_fff0) this.#retire();
    const bytes = method === "GET" ? null : Buffer.from(body);
    const stream: Stream = {
      id,
      exchange,
      credit: new StreamCredit(),
      sendWindow: this.#peerInitialWindow,
      body: bytes !== null && bytes.length > 0 ? bytes : null,
      responded: false,
      gone: false,
    };
    this.#streams.set(id, stream);
    if (unreadMs !== undefined) this.#leaveUnread(stream, unreadMs);
    this.#writeHeaders(id, this.#encoder.encode(method, path, bytes?.length ?? null, headers), stream.body === null);
    if (stream.body !== null) this.#writeBody(stream);
    this.#flushSoon();
    return () => this.#cancel(stream);
  }

  close(): void {
    this.#closing = true;
    this.#open = false;
    this.#reader.stop();
    this.#streams.clear();
    this.#socket.destroy();
  }

  #cancel(stream: Stream): void {
    if (stream.gone) return;
    this.#remove(stream);
    this.#pushNumber(frame.reset, stream.id, errorCode.cancel);
    this.#flushSoon();
  }

  /** What comes for the stream is not taken before `ms` have passed. */
  #leaveUnread(stream: Stream, ms: number): void {
    stream.credit.isRead = false;
    if (!Number.isFinite(ms)) return;
    const timer = setTimeout(() => {
      if (stream.gone) return;
      this.#credit.release(stream.credit);
      this.#renewStream(stream);
      this.#renewConnection();
      this.#flushSoon();
    }, ms);
    timer.unref();
  }

  #remove(stream: Stream): void {
    stream.gone = true;
    stream.body = null;
    this.#credit.release(stream.credit);
    this.#blocked.delete(stream);
    this.#streams.delete(stream.id);
    if (!this.#open && this.#streams.size === 0 && !this.#closing) {
      this.#closing = true;
      this.#reader.stop();
      this.#socket.end();
    }
  }

  /** No further request; streams under way go on. */
  #retire(): void {
    if (!this.#open) return;
    this.#open = false;
    this.onClosed();
  }

  #lost(reason: FailureReason): void {
    const wasClosing = this.#closing;
    this.#closing = true;
    this.#reader.stop();
    const wasOpen = this.#open;
    this.#open = false;
    const streams = [...this.#streams.values()];
    this.#streams.clear();
    this.#blocked.clear();
    for (const stream of streams) {
      stream.gone = true;
      stream.exchange.onFail(reason);
    }
    if (wasOpen && !wasClosing) this.onClosed();
  }

  /** What came is not HTTP/2, or breaks it. */
  #broken(): void {
    this.#lost("malformed response");
    this.#socket.destroy();
  }

  // Writing

  #push(type: number, flags: number, id: number, payload: Buffer): void {
    this.#sent.count(type, payload.length);
    this.#out.push(frameHeader(payload.length, type, flags, id), payload);
  }

  #pushNumber(type: number, id: number, value: number): void {
    const payload = Buffer.allocUnsafe(4);
    payload.writeUInt32BE(value);
    this.#push(type, 0, id, payload);
  }

  #renewStream(stream: Stream): void {
    const bytes = this.#credit.forStream(stream.credit);
    if (bytes > 0) this.#pushNumber(frame.windowUpdate, stream.id, bytes);
  }

  #renewConnection(): void {
    const bytes = this.#credit.forConnection();
    if (bytes > 0) this.#pushNumber(frame.windowUpdate, 0, bytes);
  }

  #writeHeaders(id: number, block: Buffer, endStream: boolean): void {
    const size = this.#peerMaxFrame;
    const first = block.subarray(0, size);
    const whole = first.length === block.length;
    this.#push(frame.headers, (endStream ? flag.endStream : 0) | (whole ? flag.endHeaders : 0), id, first);
    for (let at = size; at < block.length; at += size) {
      const part = block.subarray(at, at + size);
      this.#push(frame.continuation, at + size >= block.length ? flag.endHeaders : 0, id, part);
    }
  }

  #writeBody(stream: Stream): void {
    while (stream.body !== null) {
      const length = Math.min(stream.body.length, stream.sendWindow, this.#sendWindow, this.#peerMaxFrame);
      if (length <= 0) {
        this.#blocked.add(stream);
        return;
      }
      const part = stream.body.subarray(0, length);
      stream.sendWindow -= length;
      this.#sendWindow -= length;
      stream.body = length === stream.body.length ? null : stream.body.subarray(length);
      this.#push(frame.data, stream.body === null ? flag.endStream : 0, stream.id, part);
    }
    this.#blocked.delete(stream);
  }

  #unblock(): void {
    for (const stream of this.#blocked) this.#writeBody(stream);
    this.#flushSoon();
  }

  /** One write for what one turn of the event loop asks for. */
  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#out.length === 0) return;
    const bytes = Buffer.concat(this.#out);
    this.#out = [];
    if (!this.#closing || this.#streams.size > 0) this.#socket.write(bytes);
  }

  // Reading

  /** Hot path. */
  #read(bytes: Buffer, length: number, readUs: number): void {
    this.#reader.read(bytes, length, readUs);
    this.#renewConnection();
    if (this.#out.length > 0) this.#flushSoon();
  }

  /** Hot path. */
  #beginFrame(type: number, flags: number, id: number, length: number): boolean {
    // A server begins with SETTINGS (section 3.4): anything else is another protocol.
    const isFirst = !this.#settled && (type !== frame.settings || id !== 0);
    const breaksBlock = this.#blockId !== 0 && (type !== frame.continuation || id !== this.#blockId);
    if (isFirst || breaksBlock || length > maxFrameBytes) {
      this.#broken();
      return false;
    }
    this.#id = id;
    this.#flags = flags;
    this.#received.count(type, length);
    if (type === frame.data) {
      this.#stream = this.#streams.get(id);
      this.#credit.received(length, this.#stream?.credit);
    }
    return true;
  }

  #endFrame(type: number, bytes: Buffer, start: number, end: number, readUs: number): void {
    switch (type) {
      case frame.data: {
        const stream = this.#stream;
        this.#stream = undefined;
        if (stream === undefined || stream.gone) return;
        if (this.#flags & flag.endStream) this.#endStream(stream, readUs);
        else this.#renewStream(stream);
        return;
      }
      case frame.headers:
        return this.#onHeaders(bytes, start, end, readUs);
      case frame.continuation:
        if (this.#blockId === 0) return this.#broken();
        return this.#gatherBlock(bytes, start, end, readUs);
      case frame.reset: {
        if (end - start !== 4) return this.#broken();
        const stream = this.#streams.get(this.#id);
        if (stream === undefined) return;
        this.#remove(stream);
        stream.exchange.onFail(bytes.readUInt32BE(start) === errorCode.refusedStream ? "refused" : "reset");
        return;
      }
      case frame.settings:
        return this.#onSettingsFrame(bytes, start, end);
      case frame.ping:
        if (end - start !== 8) return this.#broken();
        if ((this.#flags & flag.ack) === 0) {
          this.#push(frame.ping, flag.ack, 0, Buffer.from(bytes.subarray(start, end)));
        }
        return;
      case frame.goaway: {
        if (end - start < 8) return this.#broken();
        const last = bytes.readUInt32BE(start) & 0x7fff_ffff;
        this.#retire();
        for (const stream of this.#streams.values()) {
          if (stream.id <= last) continue;
          this.#remove(stream);
          stream.exchange.onFail("refused");
        }
        return;
      }
      case frame.windowUpdate: {
        if (end - start !== 4) return this.#broken();
        const more = bytes.readUInt32BE(start) & 0x7fff_ffff;
        const stream = this.#streams.get(this.#id);
        if (this.#id === 0) this.#sendWindow += more;
        else if (stream !== undefined) stream.sendWindow += more;
        if (this.#blocked.size > 0) this.#unblock();
        return;
      }
      case frame.push:
        // We said that we take none.
        return this.#broken();
      default:
      // PRIORITY and unknown frames mean nothing to a client (section 5.5).
    }
  }

  #endStream(stream: Stream, readUs: number): void {
    // An answer may end before the request does; its rest is then of no use (section 8.1).
    if (stream.body !== null) this.#pushNumber(frame.reset, stream.id, errorCode.cancel);
    this.#remove(stream);
    if (stream.responded) stream.exchange.onEnd(readUs);
    else stream.exchange.onFail("malformed response");
  }

  #onHeaders(bytes: Buffer, start: number, end: number, readUs: number): void {
    let from = start;
    let to = end;
    if (this.#flags & flag.padded) to -= bytes[from++]!;
    if (this.#flags & flag.priority) from += 5;
    if (from > to) return this.#broken();
    this.#blockId = this.#id;
    this.#blockEnds = (this.#flags & flag.endStream) !== 0;
    this.#gatherBlock(bytes, from, to, readUs);
  }

  #gatherBlock(bytes: Buffer, start: number, end: number, readUs: number): void {
    if ((this.#flags & flag.endHeaders) === 0 || this.#block.length > 0) {
      this.#block.push(Buffer.from(bytes.subarray(start, end)));
      this.#blockBytes += end - start;
      if (this.#blockBytes > maxHeaderBytes) return this.#broken();
      if ((this.#flags & flag.endHeaders) === 0) return;
      const block = Buffer.concat(this.#block);
      this.#block = [];
      this.#blockBytes = 0;
      this.#onBlock(block, 0, block.length, readUs);
    } else {
      this.#onBlock(bytes, start, end, readUs);
    }
  }

  #onBlock(bytes: Buffer, start: number, end: number, readUs: number): void {
    const stream = this.#streams.get(this.#blockId);
    this.#blockId = 0;
    let status = 0;
    let contentType = "";
    let clock: string | null = null;
    let fault: string | null = null;
    try {
      // Decoded for streams that are gone as well: the table is the connection's.
      this.#decoder.decode(bytes, start, end, (name, value) => {
        if (name === ":status") status = Number(value);
        else if (name === "content-type") contentType = value;
        else if (name === "x-fakeai-clock") clock = value;
        else if (name === "x-fakeai-fault") fault = value;
      });
    } catch {
      return this.#broken();
    }
    if (stream === undefined) return;
    // 1xx come before the answer; what comes after its head are trailers.
    if (!stream.responded && (status < 100 || status >= 200)) {
      stream.responded = true;
      stream.exchange.onResponse({ status, contentType, clock, fault }, readUs);
    }
    if (this.#blockEnds && !stream.gone) this.#endStream(stream, readUs);
  }

  #onSettingsFrame(bytes: Buffer, start: number, end: number): void {
    if (this.#flags & flag.ack) return;
    if ((end - start) % 6 !== 0) return this.#broken();
    for (let at = start; at < end; at += 6) {
      const value = bytes.readUInt32BE(at + 2);
      switch (bytes.readUInt16BE(at)) {
        case setting.tableSize:
          this.#encoder.limitTable(value);
          break;
        case setting.maxStreams:
          this.#peerMaxStreams = value;
          break;
        case setting.initialWindow: {
          // Applies to streams under way too (section 6.9.2).
          const change = value - this.#peerInitialWindow;
          this.#peerInitialWindow = value;
          for (const stream of this.#streams.values()) stream.sendWindow += change;
          break;
        }
        case setting.maxFrame:
          this.#peerMaxFrame = Math.min(value, 16_384);
          break;
      }
    }
    this.#push(frame.settings, flag.ack, 0, none);
    if (this.#blocked.size > 0) this.#unblock();
    if (!this.#settled) {
      this.#settled = true;
      this.#onSettings?.();
    }
  }
}
