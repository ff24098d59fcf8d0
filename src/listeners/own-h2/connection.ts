/**
 * One connection of HTTP/2, as its server sees it (RFC 9113): frames in, requests out, responses in, frames out. It knows no socket
 * and no clock: bytes come by `read`, leave by `output`, and what becomes of them is told to it.
 */
import { defaultMaxFrameBytes, errorCode, flag, frame, frameFault } from "../../wire/h2/frames.ts";
import { HeaderBlockReader } from "../../wire/h2/header-blocks.ts";
import { HpackError } from "../../wire/h2/hpack-error.ts";
import { type FrameConsumer, FrameReader } from "../../wire/h2/reader.ts";
import { readSettings, setting } from "../../wire/h2/settings.ts";
import { decodedHeads } from "../multiplexed.ts";
import { ClosedStreams } from "./closed-streams.ts";
import { ControlFrames } from "./control-frames.ts";
import type { HeadFault, RequestHead } from "./head.ts";
import type { BlockPool, Output } from "./output.ts";
import { EarlyPriorities, parsePriority } from "./priority.ts";
import { Receiver } from "./receiver.ts";
import { RequestHeads } from "./request-heads.ts";
import { mostPendingBytes, Sender, type SenderOwner } from "./sender.ts";
import { Stream } from "./stream.ts";

/** ACKs and RST_STREAMs that may wait for a socket that takes nothing more: answers to a client that does not read them. */
const mostUnreadAnswers = 1000;
/** CONTINUATION frames of one head: a whole one fits into few. */
const mostContinuations = 8;
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

export class Connection implements FrameConsumer, SenderOwner {
  readonly sender: Sender;
  readonly output: Output;
  readonly streams: Map<number, Stream> = new Map();
  /** Nothing is read or sent any more. */
  failed = false;
  /** A head's first frame has come, its last has not. */
  isInHead = false;
  readonly control: ControlFrames = new ControlFrames();
  readonly #limits: ConnectionLimits;
  readonly #events: ConnectionEvents;
  readonly #reader: FrameReader = new FrameReader(this, "client");
  readonly #blocks: HeaderBlockReader;
  readonly #heads = new RequestHeads();
  readonly #closed: ClosedStreams;
  readonly #receiver: Receiver;
  readonly #early: EarlyPriorities;
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
  #dependsOnItself = false;

  constructor(limits: ConnectionLimits, pool: BlockPool, events: ConnectionEvents) {
    this.#limits = limits;
    this.#events = events;
    this.sender = new Sender(pool, this);
    this.output = this.sender.output;
    this.#receiver = new Receiver(this.output, (stream) => this.#streamError(stream, errorCode.protocol));
    this.#blocks = new HeaderBlockReader(
      { bytes: limits.maxHeadBytes * decodedHeads, frames: mostContinuations },
      (id, endStream, bytes, start, end) => this.#onBlock(id, endStream, bytes, start, end),
    );
    this.#early = new EarlyPriorities(limits.maxConcurrentStreams);
    this.#closed = new ClosedStreams(limits.maxConcurrentStreams * 2 + 256);
    this.#heads.limitTable(Math.max(limits.headerTableBytes, 4096));
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

  /** Takes what has come. The bytes are valid during the call. */
  read(bytes: Buffer): void {
    if (this.failed) return;
    this.#reader.read(bytes, 0, bytes.length);
    this.#receiver.handOn();
    if (this.sender.pendingBytes < mostPendingBytes) this.#answers = 0;
    else if (this.#answers > mostUnreadAnswers) this.#flood();
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
    this.abandon();
    this.#events.onFail(code, isFlood);
  }

  /** The connection is gone: no stream can be answered. */
  abandon(): void {
    this.failed = true;
    this.#reader.stop();
    this.sender.stopped = true;
    for (const stream of this.streams.values()) this.#close(stream, true);
  }

  /** Reads a stream's body again: its request has begun. */
  resumeBody(stream: Stream): void {
    if (stream.closed) return;
    stream.isRead = true;
    this.#receiver.credit(stream);
  }

  // How streams end.

  resetStream(stream: Stream, code: number): void {
    if (stream.closed || this.failed) return;
    this.#answers++;
    this.output.reset(stream.id, code);
    this.#close(stream, true);
  }

  onPending(): void {
    this.#events.onPending();
  }

  /** A client that still sends its request is told to stop (section 8.1). */
  onSent(stream: Stream): void {
    stream.localEnded = true;
    if (!stream.remoteEnded) this.output.reset(stream.id, errorCode.none);
    this.#close(stream, !stream.remoteEnded);
  }

  #close(stream: Stream, isIgnored: boolean): void {
    if (stream.closed) return;
    stream.closed = true;
    this.sender.forget(stream);
    this.streams.delete(stream.id);
    this.#closed.add(stream.id, isIgnored);
    this.#receiver.release(stream);
    const { owner } = stream;
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
    if (stream === undefined) {
      if (this.#isIdle(id)) return errorCode.protocol;
      if (!this.#closed.isIgnored(id) && id <= this.#servedId) return errorCode.streamClosed;
    } else if (stream.remoteEnded) {
      return errorCode.streamClosed;
    }
    return this.#receiver.begin(stream, length) ? errorCode.none : errorCode.flowControl;
  }

  onData(bytes: Buffer, start: number, end: number): void {
    this.#receiver.take(bytes, start, end);
  }

  onFrameEnd(type: number, bytes: Buffer, start: number, end: number): void {
    switch (type) {
      case frame.data:
        this.#endData((this.#flags & flag.endStream) !== 0);
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

  #endData(isLast: boolean): void {
    const stream = this.#receiver.end(isLast);
    if (!this.failed) this.#receiver.credit(stream);
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
      head = this.#heads.decode(bytes, start, end);
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

  #takeTrailers(stream: Stream, endStream: boolean): void {
    if (stream.remoteEnded) this.fail(errorCode.streamClosed);
    else if (!endStream || !this.#heads.isTrailers) this.#streamError(stream, errorCode.protocol);
    else this.#receiver.endRequest(stream, nothing, 0, 0);
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
    const priority = this.#early.take(id) ?? head.priority;
    const stream = new Stream(this.sender, id, this.sender.initialWindow, priority, head.contentLength ?? -1);
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
      this.sender.prioritize(stream, priority);
    } else if (id > this.#lastId) {
      this.#early.put(id, priority);
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
      this.#heads.limitTable(this.#limits.headerTableBytes);
      this.#events.onSettingsAck();
      return;
    }
    let fault: number = errorCode.none;
    const wrong = readSettings(bytes, start, end, (id, value) => {
      if (id === setting.initialWindow) fault ||= this.sender.changeWindows(this.streams.values(), value);
      else if (id === setting.maxFrame) this.sender.maxFrameBytes = value;
      else if (id === setting.tableSize) this.sender.limitTable(value);
    });
    if (wrong !== errorCode.none || fault !== errorCode.none) {
      this.fail(wrong || fault);
      return;
    }
    // Before anything that the new windows allow.
    this.#answers++;
    this.output.settingsAck();
    this.sender.pump();
  }

  #takeWindowUpdate(bytes: number): void {
    const id = this.#id;
    if (id === 0) {
      const fault = this.sender.growConnection(bytes);
      if (fault !== errorCode.none) this.fail(fault);
      return;
    }
    const stream = this.streams.get(id);
    if (stream === undefined) {
      if (this.#isIdle(id)) this.fail(errorCode.protocol);
      return;
    }
    const fault = this.sender.grow(stream, bytes);
    if (fault === errorCode.none) return;
    // Section 6.9.1 asks for RST_STREAM where the window passes its maximum; the connection ends all the same.
    if (fault === errorCode.flowControl) this.resetStream(stream, fault);
    this.fail(fault);
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
