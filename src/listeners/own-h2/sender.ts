/** What the streams of a connection send: their windows and its own, whose turn it is, and the frames that come of it (RFC 9113, section 6.9). */
import type { ResponseHead } from "../../core/seams.ts";
import { defaultMaxFrameBytes, errorCode, flag, frame } from "../../wire/h2/frames.ts";
import { defaultWindow, maxWindow, SendWindow } from "../../wire/h2/windows.ts";
import type { ByteQueue } from "./byte-queue.ts";
import { type BlockPool, hugeBlockBytes, Output } from "./output.ts";
import { type Priority, ReadyQueue } from "./priority.ts";
import { ResponseHeads } from "./response-heads.ts";
import type { Stream, StreamCarrier } from "./stream.ts";

/** Bytes that may wait for the socket. Beyond, streams keep theirs, so that turns and priorities count until shortly before the end. */
export const mostPendingBytes = 131_072;
/** What may leave in one turn where the socket has taken all that was written before: a queue would copy it once more. */
export const mostTurnBytes: number = hugeBlockBytes;
/** A stream sends so much before the next has its turn (section 4.2). */
const turnBytes = defaultMaxFrameBytes;
/** What our header blocks ask of the peer's table at most. */
const responseTableBytes = 4096;

/** The connection, as its sender sees it. */
export interface SenderOwner {
  /** There is something to send, and there was nothing before. */
  onPending(): void;
  /** END_STREAM of a stream is in `output`. */
  onSent(stream: Stream): void;
  /** RST_STREAM, unless the stream is over. */
  resetStream(stream: Stream, code: number): void;
}

export class Sender implements StreamCarrier {
  readonly output: Output;
  /** Bytes given to the socket that it has not taken yet; kept by the session, which sends `output`. */
  inFlightBytes = 0;
  /** Bytes of all responses that wait in their streams. */
  queuedBytes = 0;
  /** Nothing of a stream may leave any more. */
  stopped = false;
  /** The first window of a stream, as the peer's SETTINGS have it. */
  initialWindow: number = defaultWindow;
  /** The peer's SETTINGS_MAX_FRAME_SIZE. */
  maxFrameBytes: number = defaultMaxFrameBytes;
  readonly #owner: SenderOwner;
  #heads: ResponseHeads | null = null;
  /** The peer's SETTINGS_HEADER_TABLE_SIZE; null: it has not said any. */
  #tableBytes: number | null = null;
  readonly #ready = new ReadyQueue<Stream>();
  readonly #window = new SendWindow();

  constructor(pool: BlockPool, owner: SenderOwner) {
    this.output = new Output(pool, () => owner.onPending());
    this.#owner = owner;
  }

  /** Bytes that wait for the socket. */
  get pendingBytes(): number {
    return this.output.bytes + this.inFlightBytes;
  }

  /** Some bytes have left: streams that wait for the socket may send. */
  onTaken(bytes: number): void {
    this.inFlightBytes -= bytes;
    this.pump();
  }

  limitTable(bytes: number): void {
    this.#tableBytes = bytes;
    this.#heads?.limitTable(bytes);
  }

  /** Hot path. HEADERS of a response. A `contentLength` of -1 is not announced. */
  sendHead(stream: Stream, head: ResponseHead, contentLength: number, endStream: boolean): void {
    if (stream.closed || this.stopped) return;
    let heads = this.#heads;
    if (heads === null) {
      heads = this.#heads = new ResponseHeads(responseTableBytes);
      if (this.#tableBytes !== null) heads.limitTable(this.#tableBytes);
    }
    const length = heads.encode(head, contentLength);
    this.output.headers(stream.id, heads.bytes, length, endStream, Math.min(this.maxFrameBytes, turnBytes));
    if (endStream) this.#owner.onSent(stream);
  }

  sendNow(stream: Stream, bytes: Uint8Array, endStream: boolean): boolean {
    if (stream.closed || this.stopped) return true;
    const { length } = bytes;
    if (length > 0) {
      const fits = length <= stream.sendWindow && length <= this.#window.bytes && this.#ready.isEmpty;
      const mostBytes = this.inFlightBytes === 0 ? mostTurnBytes : mostPendingBytes + turnBytes;
      if (!fits || this.pendingBytes + length > mostBytes) return false;
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
    if (endStream) this.#owner.onSent(stream);
    return true;
  }

  queued(stream: Stream, bytes: number): void {
    this.queuedBytes += bytes;
    if (stream.sendWindow <= 0) return;
    this.#ready.add(stream);
    this.pump();
  }

  resetStream(stream: Stream, code: number): void {
    this.#owner.resetStream(stream, code);
  }

  /** Sends what the streams that wait may send, in the order of their priorities. */
  pump(): void {
    const ready = this.#ready;
    while (!ready.isEmpty && this.#window.bytes > 0 && this.pendingBytes < mostPendingBytes) {
      const stream = ready.next();
      const queue = stream.queue!;
      if (stream.turnBytes <= 0) stream.turnBytes = turnBytes;
      const length = Math.min(stream.turnBytes, this.#window.bytes, stream.sendWindow, queue.length);
      const isLast = stream.endsAfterQueue && length === queue.length;
      // A window that was made smaller holds the stream up: WINDOW_UPDATE brings it back.
      if (length > 0) this.#sendQueued(stream, queue, length, isLast);
      if (queue.length === 0 || stream.sendWindow <= 0) {
        stream.turnBytes = 0;
        ready.remove(stream);
      }
      if (stream.turnBytes <= 0) ready.endTurn(stream);
      if (length > 0) stream.owner?.onProgress();
      if (isLast) this.#owner.onSent(stream);
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
    this.#window.spend(length);
    stream.sendWindow -= length;
    stream.sentBytes += length;
  }

  /** Section 6.9.2: the windows of all streams change by the difference. Returns the connection error. */
  changeWindows(streams: Iterable<Stream>, bytes: number): number {
    const difference = bytes - this.initialWindow;
    this.initialWindow = bytes;
    for (const stream of streams) {
      stream.sendWindow += difference;
      if (stream.sendWindow > maxWindow) return errorCode.flowControl;
      if (stream.sendWindow > 0 && stream.queuedBytes > 0) this.#ready.add(stream);
    }
    return errorCode.none;
  }

  /** WINDOW_UPDATE of the connection. Returns the connection error. */
  growConnection(bytes: number): number {
    if (bytes === 0) return errorCode.protocol;
    if (!this.#window.grow(bytes)) return errorCode.flowControl;
    this.pump();
    return errorCode.none;
  }

  /** WINDOW_UPDATE of a stream. Returns the error. */
  grow(stream: Stream, bytes: number): number {
    stream.sendWindow += bytes;
    if (bytes === 0) return errorCode.protocol;
    if (stream.sendWindow > maxWindow) return errorCode.flowControl;
    if (stream.sendWindow > 0 && stream.queuedBytes > 0) {
      this.#ready.add(stream);
      this.pump();
    }
    return errorCode.none;
  }

  /** Another place among those that wait. */
  prioritize(stream: Stream, { urgency, incremental }: Priority): void {
    const { isReady } = stream;
    this.#ready.remove(stream);
    stream.urgency = urgency;
    stream.incremental = incremental;
    if (isReady) this.#ready.add(stream);
  }

  /** The stream is over: what waits is dropped. */
  forget(stream: Stream): void {
    this.#ready.remove(stream);
    const { queue } = stream;
    if (queue === null) return;
    this.queuedBytes -= queue.length;
    queue.clear();
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
