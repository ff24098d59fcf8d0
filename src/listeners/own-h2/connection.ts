/**
 * One connection of HTTP/2, as its server sees it (RFC 9113): frames in, requests out, responses in, frames out. It knows no socket
 * and no clock: bytes come by `read`, leave by `output`, and what becomes of them is told to it.
 */
import { errorCode, flag, frame, frameFault, defaultMaxFrameBytes } from "../../wire/h2/frames.ts";
import { HeaderBlockReader } from "../../wire/h2/header-blocks.ts";
import { HpackDecoder } from "../../wire/h2/hpack.ts";
import { HpackError } from "../../wire/h2/hpack-error.ts";
import { type FrameConsumer, FrameReader } from "../../wire/h2/reader.ts";
import { readSettings, setting } from "../../wire/h2/settings.ts";
import { defaultWindow, maxWindow, ReceiveCredit, SendWindow } from "../../wire/h2/windows.ts";
import type { ByteQueue } from "./byte-queue.ts";
import { ClosedStreams } from "./closed-streams.ts";
import { ControlFrames } from "./control-frames.ts";
import { type HeadFault, HeadReader, type RequestHead } from "./head.ts";
import { type BlockPool, Output } from "./output.ts";
import { parsePriority, type Priority, ReadyQueue } from "./priority.ts";
import { ResponseHeads } from "./response-heads.ts";
import { Stream, type StreamCarrier } from "./stream.ts";
import type { ResponseHead } from "../../core/seams.ts";

/** Bytes that may wait for the socket. Beyond, streams keep theirs, so that turns and priorities count until shortly before the end. */
export const mostPendingBytes = 131_072;
/** A stream sends so much before the next has its turn (section 4.2). */
const turnBytes = defaultMaxFrameBytes;
/** ACKs and RST_STREAMs that may wait for a socket that takes nothing more: answers to a client that does not read them. */
const mostUnreadAnswers = 1000;
/** CONTINUATION frames of one head: a whole one fits into few. */
const mostContinuations = 8;
/** A head is decoded as far as this many times `maxHeadBytes`: up to there it can be answered. */
export const decodedHeads = 4;
/** A head block of up to this many bytes is compared with the one before it. */
const longestMemo = 1024;
const highestId = 0x7fff_ffff;

/** Bounds of a connection. */
export interface ConnectionLimits {
  readonly maxConcurrentStreams: number;
  readonly headerTableBytes: number;
  readonly maxHeadBytes: number;
}

/** What a connection tells its session. */
export interface ConnectionEvents {
  /** There is something to send, and there was nothing before. */
  onPending(): void;
  /** A request has come, with its head. `isEnded`: it has no body. The stream has no owner yet. */
  onRequest(stream: Stream, head: RequestHead, isEnded: boolean): void;
  /** A stream came that is one too many. */
  onStreamLimit(): void;
  /** The client has reset a stream. */
  onReset(stream: Stream): void;
  /** A stream is over. */
  onStreamClosed(stream: Stream): void;
  /** GOAWAY with this code is in `output`, and nothing more is read. `isFlood`: for what it asks of us, not for a frame. */
  onFail(code: number, isFlood: boolean): void;
  /** The client has said GOAWAY: it will open no more streams. */
  onPeerGoaway(code: number): void;
  onPingAck(): void;
  onSettingsAck(): void;
}

export class Connection implements FrameConsumer, StreamCarrier {
  readonly output: Output;
  readonly streams: Map<number, Stream> = new Map();
  /** Bytes given to the socket that it has not taken yet; kept by the session, which sends `output`. */
  inFlightBytes = 0;
  /** Bytes of all responses that wait in their streams. */
  queuedBytes = 0;
  /** Nothing is read or sent any more. */
  failed = false;
  /** A head's first frame has come, its last has not. */
  isInHead = false;
  readonly control: ControlFrames = new ControlFrames();
  readonly #limits: ConnectionLimits;
  readonly #events: ConnectionEvents;
  readonly #reader: FrameReader = new FrameReader(this, "client");
  readonly #blocks: HeaderBlockReader;
  readonly #decoder = new HpackDecoder();
  readonly #heads = new HeadReader();
  #responseHeads: ResponseHeads | null = null;
  #peerTableBytes: number | null = null;
  readonly #ready = new ReadyQueue<Stream>();
  readonly #closed: ClosedStreams;
  readonly #credit = new ReceiveCredit({ streamBytes: defaultWindow, connectionBytes: defaultWindow });
  readonly #sendWindow = new SendWindow();
  #peerInitialWindow = defaultWindow;
  #peerMaxFrame = defaultMaxFrameBytes;
  /** Priorities that came before their streams (RFC 9218, section 7.1). */
  #early: Map<number, Priority> | null = null;
  /** The client's highest stream so far. */
  #lastId = 0;
  /** Streams above it are not served: a GOAWAY has said so. */
  #servedId = highestId;
  #gotSettings = false;
  /** ACKs and RST_STREAMs since the socket last had room. */
  #answers = 0;
  /** Of the frame that is being read. */
  #flags = 0;
  #id = 0;
  #stream: Stream | undefined;
  /** DATA that was read and not handed on: with the end of its frame it may be the whole body. */
  #data: Buffer | null = null;
  #dataStart = 0;
  #dataEnd = 0;
  #dependsOnItself = false;
  /** The last head block that came, the table that it was read with, and what it said. */
  #memo: Buffer | null = null;
  #memoVersion = -1;
  #memoHead: RequestHead | HeadFault = "malformed";

  constructor(limits: ConnectionLimits, pool: BlockPool, events: ConnectionEvents) {
    this.#limits = limits;
    this.#events = events;
    this.output = new Output(pool, () => events.onPending());
    this.#blocks = new HeaderBlockReader(
      { bytes: limits.maxHeadBytes * decodedHeads, frames: mostContinuations },
      (id, endStream, bytes, start, end) => this.#onBlock(id, endStream, bytes, start, end),
    );
    this.#closed = new ClosedStreams(limits.maxConcurrentStreams * 2 + 256);
    this.#decoder.limitTable(Math.max(limits.headerTableBytes, 4096));
  }

  /** What a server says first (section 3.4). */
  begin(): void {
    const { maxConcurrentStreams, headerTableBytes, maxHeadBytes } = this.#limits;
    this.output.settings([
      [setting.tableSize, headerTableBytes],
      [setting.maxStreams, maxConcurrentStreams],
      [setting.maxHeaderList, maxHeadBytes * decodedHeads],
      [setting.noRfc7540Priorities, 1],
    ]);
  }

  /** Bytes that wait for the socket. */
  get pendingBytes(): number {
    return this.output.bytes + this.inFlightBytes;
  }

  /** Takes what has come. The bytes are valid during the call. */
  read(bytes: Buffer): void {
    if (this.failed) return;
    this.#reader.read(bytes, 0, bytes.length);
    if (this.#data !== null) this.#handOn();
    if (this.pendingBytes < mostPendingBytes) this.#answers = 0;
    else if (this.#answers > mostUnreadAnswers) this.#flood();
  }

  /** Some bytes have left: streams that wait for the socket may send. */
  onTaken(bytes: number): void {
    this.inFlightBytes -= bytes;
    this.#pump();
  }

  /** Whether a stream waits for the connection, and not for its own window. */
  isInLine(stream: Stream): boolean {
    return stream.isReady;
  }

  /** GOAWAY as the first of two steps (section 6.8): no stream is refused yet, and the client opens no new ones. */
  announceEnd(): void {
    if (!this.failed) this.output.goaway(highestId, errorCode.none);
  }

  /** GOAWAY: streams that have come are served, later ones are not. */
  refuseNew(code: number = errorCode.none): void {
    if (this.failed) return;
    this.#servedId = Math.min(this.#servedId, this.#lastId);
    this.output.goaway(this.#servedId, code);
  }

  ping(bytes: Buffer): void {
    if (!this.failed) this.output.ping(bytes, 0, false);
  }

  /** Ends everything: GOAWAY with a code, and no frame of a stream after it. */
  fail(code: number, isFlood = false): void {
    if (this.failed) return;
    this.output.goaway(Math.min(this.#servedId, this.#lastId), code);
    this.failed = true;
    this.#reader.stop();
    this.abandon();
    this.#events.onFail(code, isFlood);
  }

  /** The connection is gone: no stream can be answered. */
  abandon(): void {
    this.failed = true;
    this.#reader.stop();
    for (const stream of this.streams.values()) this.#close(stream, true);
  }

  /** Reads a stream's body again: its request has begun. */
  resumeBody(stream: Stream): void {
    if (stream.closed) return;
    stream.isRead = true;
    this.#credits(stream);
  }

  // What streams send.

  /** Hot path. HEADERS of a response. A `contentLength` of -1 is not announced. */
  sendHead(stream: Stream, head: ResponseHead, contentLength: number, endStream: boolean): void {
    if (stream.closed || this.failed) return;
    let heads = this.#responseHeads;
    if (heads === null) {
      heads = this.#responseHeads = new ResponseHeads(4096);
      if (this.#peerTableBytes !== null) heads.limitTable(this.#peerTableBytes);
    }
    const length = heads.encode(head, contentLength);
    this.output.headers(stream.id, heads.bytes, length, endStream, Math.min(this.#peerMaxFrame, turnBytes));
    if (endStream) this.#endLocal(stream);
  }

  sendNow(stream: Stream, bytes: Uint8Array, endStream: boolean): boolean {
    if (stream.closed || this.failed) return true;
    const { length } = bytes;
    if (length > 0) {
      const fits = length <= stream.sendWindow && length <= this.#sendWindow.bytes && this.#ready.isEmpty;
      if (!fits || this.pendingBytes + length > mostPendingBytes + turnBytes) return false;
      this.#spend(stream, length);
    }
    let start = 0;
    for (; length - start > turnBytes; start += turnBytes) this.output.data(stream.id, bytes, start, start + turnBytes, false);
    const at = this.output.data(stream.id, bytes, start, length, endStream);
    if (start === 0) {
      lastBlock = this.output.block;
      lastAt = at;
      lastLength = length;
    }
    if (endStream) this.#endLocal(stream);
    return true;
  }

  queued(stream: Stream, bytes: number): void {
    this.queuedBytes += bytes;
    if (stream.sendWindow <= 0) return;
    this.#ready.add(stream);
    this.#pump();
  }

  resetStream(stream: Stream, code: number): void {
    if (stream.closed || this.failed) return;
    this.#answers++;
    this.output.reset(stream.id, code);
    this.#close(stream, true);
  }

  /** Sends what the streams that wait may send, in the order of their priorities. */
  #pump(): void {
    const ready = this.#ready;
    while (!ready.isEmpty && this.#sendWindow.bytes > 0 && this.pendingBytes < mostPendingBytes) {
      const stream = ready.next();
      const queue = stream.queue!;
      if (stream.turnBytes <= 0) stream.turnBytes = turnBytes;
      const length = Math.min(stream.turnBytes, this.#sendWindow.bytes, stream.sendWindow, queue.length);
      const isLast = stream.endsAfterQueue && length === queue.length;
      // A window that was made smaller holds the stream up: WINDOW_UPDATE brings it back.
      if (length > 0) this.#sendQueued(stream, queue, length, isLast);
      if (queue.length === 0 || stream.sendWindow <= 0) {
        stream.turnBytes = 0;
        ready.remove(stream);
      }
      if (stream.turnBytes <= 0) ready.endTurn(stream);
      if (length > 0) stream.owner?.onProgress();
      if (isLast) this.#endLocal(stream);
    }
  }

  #sendQueued(stream: Stream, queue: ByteQueue, length: number, endStream: boolean): void {
    const at = this.output.reserve(9 + length);
    const from = this.output.frameHeader(at, length, frame.data, endStream ? flag.endStream : 0, stream.id);
    queue.moveTo(this.output.block, from, length);
    this.queuedBytes -= length;
    stream.turnBytes -= length;
    this.#spend(stream, length);
  }

  /** Hot path. */
  #spend(stream: Stream, length: number): void {
    this.#sendWindow.spend(length);
    stream.sendWindow -= length;
    stream.sentBytes += length;
  }

  /** END_STREAM is in `output`. A client that still sends its request is told to stop (section 8.1). */
  #endLocal(stream: Stream): void {
    stream.localEnded = true;
    if (!stream.remoteEnded) this.output.reset(stream.id, errorCode.none);
    this.#close(stream, !stream.remoteEnded);
  }

  #close(stream: Stream, isIgnored: boolean): void {
    if (stream.closed) return;
    stream.closed = true;
    this.#ready.remove(stream);
    this.streams.delete(stream.id);
    this.#closed.add(stream.id, isIgnored);
    const { queue, owner } = stream;
    if (queue !== null) {
      this.queuedBytes -= queue.length;
      queue.clear();
    }
    this.#credit.release(stream);
    stream.owner = null;
    owner?.onClose(stream.localEnded);
    this.#events.onStreamClosed(stream);
  }

  // What comes.

  onMalformed(code: number): void {
    this.fail(code);
  }

  onFrame(type: number, flags: number, id: number, length: number): boolean {
    this.#flags = flags;
    this.#id = id;
    let fault = frameFault(type, flags, id, length, defaultMaxFrameBytes);
    if (fault === errorCode.none && !this.#blocks.allows(type, id)) fault = errorCode.protocol;
    // Section 3.4.
    if (!this.#gotSettings && (type !== frame.settings || (flags & flag.ack) !== 0)) fault = errorCode.protocol;
    if (fault === errorCode.none && type === frame.data) fault = this.#beginData(id, length);
    if (fault !== errorCode.none) {
      this.fail(fault);
      return false;
    }
    if (this.control.count(type, flags, length)) {
      this.#flood();
      return false;
    }
    return true;
  }

  /** A DATA frame counts against the windows before its bytes come (section 6.9.1). Returns the connection error. */
  #beginData(id: number, length: number): number {
    const stream = this.streams.get(id);
    this.#stream = stream;
    if (stream === undefined) {
      if (this.#isIdle(id)) return errorCode.protocol;
      if (!this.#closed.isIgnored(id) && id <= this.#servedId) return errorCode.streamClosed;
    } else if (stream.remoteEnded) {
      return errorCode.streamClosed;
    }
    return this.#credit.received(length, this.#stream) ? errorCode.none : errorCode.flowControl;
  }

  onData(bytes: Buffer, start: number, end: number): void {
    if (this.#data !== null) this.#handOn();
    this.#data = bytes;
    this.#dataStart = start;
    this.#dataEnd = end;
  }

  /** Hands on DATA whose frame has not ended, or is not the last. */
  #handOn(): void {
    const bytes = this.#data!;
    this.#data = null;
    const stream = this.#stream;
    if (stream === undefined || stream.closed) return;
    stream.bodyBytes += this.#dataEnd - this.#dataStart;
    stream.owner?.onBody(bytes, this.#dataStart, this.#dataEnd);
  }

  onFrameEnd(type: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case frame.data:
        this.#endData(bytes);
        break;
      case frame.headers:
      case frame.continuation:
        this.#takeHead(type, bytes, start, end);
        break;
      case frame.priority:
        this.#takePriority(bytes, start, end);
        break;
      case frame.reset:
        this.#takeReset();
        break;
      case frame.settings:
        this.#takeSettings(bytes, start, end);
        break;
      case frame.push:
        this.fail(errorCode.protocol);
        break;
      case frame.ping:
        if ((this.#flags & flag.ack) !== 0) this.#events.onPingAck();
        else {
          this.#answers++;
          this.output.ping(bytes, start, true);
        }
        break;
      case frame.goaway:
        this.#events.onPeerGoaway(bytes.readUInt32BE(start + 4));
        break;
      case frame.windowUpdate:
        this.#takeWindowUpdate(bytes.readUInt32BE(start) & 0x7fff_ffff);
        break;
      case frame.priorityUpdate:
        this.#takePriorityUpdate(bytes, start, end);
        break;
      default:
      // Unknown frames are ignored (section 5.5).
    }
  }

  #endData(bytes: Buffer): void {
    const stream = this.#stream;
    const isLast = (this.#flags & flag.endStream) !== 0;
    if (stream !== undefined && !stream.closed) {
      if (!isLast) {
        if (this.#data !== null) this.#handOn();
      } else {
        const start = this.#data === null ? 0 : this.#dataStart;
        const end = this.#data === null ? 0 : this.#dataEnd;
        const last = this.#data ?? bytes;
        this.#data = null;
        stream.bodyBytes += end - start;
        this.#endRemote(stream, last, start, end);
      }
    }
    this.#data = null;
    if (!this.failed) this.#credits(isLast ? undefined : stream);
  }

  /** The request has ended. Its body must be as long as it was said to be (section 8.1.1). */
  #endRemote(stream: Stream, bytes: Buffer, start: number, end: number): void {
    if (stream.announcedBytes >= 0 && stream.announcedBytes !== stream.bodyBytes) {
      this.#streamError(stream, errorCode.protocol);
      return;
    }
    stream.remoteEnded = true;
    stream.owner?.onBodyEnd(bytes, start, end);
  }

  /** Gives back the room that was used. */
  #credits(stream: Stream | undefined): void {
    if (stream !== undefined && !stream.closed) {
      const owed = this.#credit.forStream(stream);
      if (owed > 0) this.output.windowUpdate(stream.id, owed);
    }
    const owed = this.#credit.forConnection();
    if (owed > 0) this.output.windowUpdate(0, owed);
  }

  #takeHead(type: number, bytes: Buffer, start: number, end: number): void {
    if (type === frame.headers) {
      const at = start + (this.#flags & flag.padded ? 1 : 0);
      const hasPriority = (this.#flags & flag.priority) !== 0 && at + 4 <= end;
      // RFC 7540, section 5.3.1; its successor leaves the dependency without a meaning.
      this.#dependsOnItself = hasPriority && (bytes.readUInt32BE(at) & 0x7fff_ffff) === this.#id;
    }
    this.isInHead = (this.#flags & flag.endHeaders) === 0;
    const fault = this.#blocks.take(type, this.#flags, this.#id, bytes, start, end);
    if (fault === errorCode.enhanceYourCalm) this.#flood();
    else if (fault !== errorCode.none) this.fail(fault);
  }

  #onBlock(id: number, endStream: boolean, bytes: Buffer, start: number, end: number): void {
    let head: RequestHead | HeadFault;
    try {
      // Those of streams that are refused too: the tables of both ends must stay the same.
      head = this.#decode(bytes, start, end);
    } catch (error) {
      if (!(error instanceof HpackError)) throw error;
      this.fail(errorCode.compression);
      return;
    }
    const stream = this.streams.get(id);
    if (stream !== undefined) this.#takeTrailers(stream, endStream);
    else if (id <= this.#lastId || id % 2 === 0) this.#takeLateHead(id);
    else this.#open(id, head, endStream);
  }

  /** The head that a block makes. A client that asks for the same again sends the same bytes, with the same table. */
  #decode(bytes: Buffer, start: number, end: number): RequestHead | HeadFault {
    const memo = this.#memo;
    const isKnown = memo !== null && this.#memoVersion === this.#decoder.tableVersion && memo.length === end - start;
    if (isKnown && memo.compare(bytes, start, end) === 0) return this.#memoHead;
    const version = this.#decoder.tableVersion;
    this.#heads.begin();
    this.#decoder.decode(bytes, start, end, this.#heads.onField);
    const head = this.#heads.finish();
    const isSame = version === this.#decoder.tableVersion && end - start <= longestMemo;
    this.#memo = isSame ? Buffer.from(bytes.subarray(start, end)) : null;
    this.#memoVersion = version;
    this.#memoHead = head;
    return head;
  }

  #takeTrailers(stream: Stream, endStream: boolean): void {
    if (stream.remoteEnded) this.fail(errorCode.streamClosed);
    else if (!endStream || !this.#heads.isTrailers) this.#streamError(stream, errorCode.protocol);
    else this.#endRemote(stream, nothing, 0, 0);
  }

  /** HEADERS on a stream that is not open and cannot be opened any more. */
  #takeLateHead(id: number): void {
    if (this.#closed.isIgnored(id)) return;
    this.fail(id % 2 === 1 && this.#closed.has(id) ? errorCode.streamClosed : errorCode.protocol);
  }

  #open(id: number, head: RequestHead | HeadFault, endStream: boolean): void {
    this.#lastId = id;
    if (id > this.#servedId) {
      // The client has not seen our GOAWAY yet.
      this.#closed.add(id, true);
      return;
    }
    if (this.streams.size >= this.#limits.maxConcurrentStreams) {
      this.#refuse(id, errorCode.refusedStream);
      this.#events.onStreamLimit();
      if (!this.failed && this.control.countRefusal(this.#limits.maxConcurrentStreams)) this.#flood();
      return;
    }
    const isMalformed = typeof head === "string" || this.#dependsOnItself || (endStream && (head.contentLength ?? 0) > 0);
    if (isMalformed || head.bytes > this.#limits.maxHeadBytes * decodedHeads) {
      const isTooMuch = head === "too-many" || !isMalformed;
      this.#refuse(id, isTooMuch ? errorCode.enhanceYourCalm : errorCode.protocol);
      if (this.control.countStreamError()) this.#flood();
      return;
    }
    const priority = this.#early?.get(id) ?? head.priority;
    this.#early?.delete(id);
    const stream = new Stream(this, id, this.#peerInitialWindow, priority, head.contentLength ?? -1);
    stream.remoteEnded = endStream;
    this.streams.set(id, stream);
    this.#events.onRequest(stream, head, endStream);
  }

  #refuse(id: number, code: number): void {
    this.#answers++;
    this.output.reset(id, code);
    this.#closed.add(id, true);
  }

  /**
   * A request that is malformed ends alone (section 8.1.1). Many of them are an attack: we would do the resets (CVE-2025-8671). So what
   * breaks the rules of frames ends the connection (section 5.4.1 allows it), also where the RFC speaks of a stream error.
   */
  #streamError(stream: Stream, code: number): void {
    this.resetStream(stream, code);
    if (this.control.countStreamError()) this.#flood();
  }

  /** RFC 7540, section 5.3, has no meaning here any more. */
  #takePriority(bytes: Buffer, start: number, end: number): void {
    if (end - start !== 5) this.fail(errorCode.frameSize);
    else if ((bytes.readUInt32BE(start) & 0x7fff_ffff) === this.#id) this.fail(errorCode.protocol);
  }

  /** RFC 9218, section 7.1. */
  #takePriorityUpdate(bytes: Buffer, start: number, end: number): void {
    const id = bytes.readUInt32BE(start) & 0x7fff_ffff;
    if (id === 0 || id % 2 === 0) {
      this.fail(errorCode.protocol);
      return;
    }
    const priority = parsePriority(bytes.toString("latin1", start + 4, end));
    if (priority === null) return;
    const stream = this.streams.get(id);
    if (stream !== undefined) {
      const isReady = stream.isReady;
      this.#ready.remove(stream);
      stream.urgency = priority.urgency;
      stream.incremental = priority.incremental;
      if (isReady) this.#ready.add(stream);
    } else if (id > this.#lastId) {
      this.#early ??= new Map();
      if (this.#early.size < this.#limits.maxConcurrentStreams || this.#early.has(id)) this.#early.set(id, priority);
    }
  }

  #takeReset(): void {
    const stream = this.streams.get(this.#id);
    if (stream === undefined) {
      if (this.#isIdle(this.#id)) this.fail(errorCode.protocol);
      return;
    }
    this.#close(stream, false);
    this.#events.onReset(stream);
  }

  #takeSettings(bytes: Buffer, start: number, end: number): void {
    this.#gotSettings = true;
    if ((this.#flags & flag.ack) !== 0) {
      this.#decoder.limitTable(this.#limits.headerTableBytes);
      this.#memo = null;
      this.#events.onSettingsAck();
      return;
    }
    let fault: number = errorCode.none;
    const wrong = readSettings(bytes, start, end, (id, value) => {
      if (id === setting.initialWindow) fault ||= this.#changeWindows(value);
      else if (id === setting.maxFrame) this.#peerMaxFrame = value;
      else if (id === setting.tableSize) {
        this.#peerTableBytes = value;
        this.#responseHeads?.limitTable(value);
      }
    });
    if (wrong !== errorCode.none || fault !== errorCode.none) {
      this.fail(wrong || fault);
      return;
    }
    // Before anything that the new windows allow.
    this.#answers++;
    this.output.settingsAck();
    this.#pump();
  }

  /** Section 6.9.2: the windows of all streams change by the difference. Returns the connection error. */
  #changeWindows(bytes: number): number {
    const difference = bytes - this.#peerInitialWindow;
    this.#peerInitialWindow = bytes;
    for (const stream of this.streams.values()) {
      stream.sendWindow += difference;
      if (stream.sendWindow > maxWindow) return errorCode.flowControl;
      if (stream.sendWindow > 0 && stream.queuedBytes > 0) this.#ready.add(stream);
    }
    return errorCode.none;
  }

  #takeWindowUpdate(bytes: number): void {
    const id = this.#id;
    if (id === 0) {
      if (bytes === 0) this.fail(errorCode.protocol);
      else if (this.#sendWindow.grow(bytes)) this.#pump();
      else this.fail(errorCode.flowControl);
      return;
    }
    const stream = this.streams.get(id);
    if (stream === undefined) {
      if (this.#isIdle(id)) this.fail(errorCode.protocol);
      return;
    }
    stream.sendWindow += bytes;
    if (bytes === 0) {
      this.fail(errorCode.protocol);
    } else if (stream.sendWindow > maxWindow) {
      // Section 6.9.1 asks for RST_STREAM with this code; the connection ends all the same.
      this.resetStream(stream, errorCode.flowControl);
      this.fail(errorCode.flowControl);
    } else if (stream.sendWindow > 0 && stream.queuedBytes > 0) {
      this.#ready.add(stream);
      this.#pump();
    }
  }

  /** Never opened: neither by the client, nor passed over by one with a higher id (section 5.1.1). */
  #isIdle(id: number): boolean {
    return id > this.#lastId || id % 2 === 0;
  }

  #flood(): void {
    this.fail(errorCode.enhanceYourCalm, true);
  }
}

const nothing = Buffer.alloc(0);

/** Where the payload of the last DATA frame lies that was sent at once; -1: out of reach. Module-wide: connections take turns. */
let lastBlock: Buffer = nothing;
let lastAt = -1;
let lastLength = 0;

/** Forgets the last DATA frame. */
export function forgetData(): void {
  lastAt = -1;
}

/** The bytes of a part of a response that was sent in one DATA frame since `forgetData`, as they will leave; null: there is none. */
export function lastData(): Uint8Array | null {
  return lastAt < 0 ? null : lastBlock.subarray(lastAt, lastAt + lastLength);
}
