/** Responses of HTTP/3: how frames get into a stream of the QUIC engine, what is counted, and how a stream is cut. */
import { monotonicUs } from "../../base/clock.ts";
import type { ResponseHead, WireFault } from "../../core/seams.ts";
import { codeOf, errorCode, frame, frameOf, putFrameHeader } from "../../wire/h3/frames.ts";
import { encodeFields } from "../../wire/h3/qpack.ts";
import type { Waiting } from "../bounds.ts";
import type { BodyOwner } from "../node/request.ts";
import { BaseSink } from "../sink.ts";
import type { ResponsePart, SessionPart, StreamPart } from "./parts.ts";

/** Bytes that a stream gives the engine in one turn of the event loop: it learns in the next whether the connection took them. */
const bytesPerTurn = 16_384;
/** From here on what waits is counted over all listeners. */
const countedBytes = 16_384;
/** Longest header of a DATA frame. */
const dataHeaderBytes = 9;
/** Between the last bytes of a stream and its reset, milliseconds: the engine drops what it has not sent when it resets. */
const leaveMs = 5;

/** Where a frame gets its header; the engine copies at once. */
const scratch = Buffer.allocUnsafeSlow(bytesPerTurn + dataHeaderBytes);

/** The last head that was encoded, but for its length: most answers of a server have the same. */
let lastHead: ResponseHead | null = null;
let lastFields: [string, string][] = [];
let lastBlock: Buffer | null = null;

function headersFrame(head: ResponseHead, contentLength: number | null): Buffer {
  if (lastHead !== head) {
    lastHead = head;
    lastFields = [[":status", String(head.status)], ...Object.entries(head.headers)];
    lastBlock = null;
  }
  if (contentLength !== null) return frameOf(frame.headers, encodeFields([...lastFields, ["content-length", String(contentLength)]]));
  return (lastBlock ??= frameOf(frame.headers, encodeFields(lastFields)));
}

export class H3Sink extends BaseSink implements Waiting, BodyOwner, ResponsePart {
  readonly carrier = "quiche";
  readonly requestOnConnection: number;
  readonly streamId: number;
  endedUs = 0;
  readonly #stream: StreamPart;
  readonly #headOnly: boolean;
  #headSent = false;
  /** What the engine has not been given yet, in order. */
  #queue: Buffer[] = [];
  #queuedBytes = 0;
  /** The stream ends behind the queue. */
  #endsAfter = false;
  /** The end has been given to the engine. */
  #isFinished = false;
  /** The engine keeps part of what it was given: the connection, or the reader, does not take it. */
  #isBlocked = false;
  /** Bytes that the engine may keep back then. */
  #keptBytes = 0;
  /** The turn of the event loop in which it gave the engine bytes last, and how many. */
  #turn = -1;
  #turnBytes = 0;
  #isWaiting = false;
  /** No longer among the responses that are counted. */
  #left = false;
  /** `write` has returned false. */
  #owesDrain = false;
  /** When the connection had been heard of last, at the last look. */
  #heardAtLook = 0;

  constructor(stream: StreamPart, headOnly: boolean) {
    super();
    this.#stream = stream;
    this.#headOnly = headOnly;
    this.streamId = stream.id;
    const { session } = stream;
    this.requestOnConnection = ++session.requests;
    session.responses++;
    session.service.counts.streams++;
  }

  get connection(): object {
    return this.#session;
  }

  get isFinished(): boolean {
    return this.#isFinished;
  }

  get bufferedBytes(): number {
    return this.#queuedBytes + (this.#isBlocked ? this.#keptBytes : 0);
  }

  get #session(): SessionPart {
    return this.#stream.session;
  }

  /** A stream that waits for its connection is not stalled while that is read. */
  override isBeingRead(): boolean {
    const { heardUs } = this.#session;
    const isHeld = !this.#isBlocked && heardUs > this.#heardAtLook;
    this.#heardAtLook = heardUs;
    return super.isBeingRead() || isHeld;
  }

  endConnection(): void {
    // The stream is cut when its answer has left: `StreamPart.finished`.
  }

  abandonBody(): void {
    // As above.
  }

  /** Hot path. */
  write(bytes: Uint8Array): boolean {
    if (this.closed) return false;
    if (!this.#headSent) this.#sendHead(null);
    if (bytes.length === 0) return this.#mayGoOn();
    if (this.#queuedBytes === 0 && bytes.length <= bytesPerTurn && this.#mayGive(bytes.length + dataHeaderBytes)) {
      const from = putFrameHeader(scratch, 0, frame.data, bytes.length);
      scratch.set(bytes, from);
      if (this.#give(scratch.subarray(0, from + bytes.length), false)) return true;
    }
    this.#enqueue(dataFrame(bytes));
    return this.#mayGoOn();
  }

  end(bytes?: Uint8Array): void {
    if (this.closed) return;
    this.closed = true;
    this.observer = null;
    const body = this.#headOnly ? undefined : bytes;
    if (!this.#headSent) this.#sendHead(this.head!.streamed ? null : Math.max(0, (bytes?.length ?? 0) + (this.head!.contentLengthBy ?? 0)));
    if (body !== undefined && body.length > 0) this.#enqueue(dataFrame(body));
    this.#endsAfter = true;
    this.endedUs = monotonicUs();
    this.#flush();
    this.#count();
  }

  reset(): void {
    if (this.closed) return;
    this.closed = true;
    this.observer = null;
    this.cut(errorCode.internal);
  }

  shed(): void {
    this.aborted();
    this.closed = true;
    this.cut(errorCode.internal);
  }

  cut(code: number): void {
    const stream = this.#stream;
    this.#leave();
    const hasJustWritten = this.#turn === this.#session.service.turn;
    if (hasJustWritten) setTimeout(() => stream.cut(code), leaveMs);
    else stream.cut(code);
  }

  lose(): void {
    this.#leave();
    this.aborted();
  }

  inject(fault: WireFault): void {
    if (this.closed) return;
    const session = this.#session;
    if (fault.kind === "goaway" && fault.code === 0) {
      session.goaway();
      return;
    }
    this.closed = true;
    this.observer = null;
    if (fault.kind === "rst_stream") {
      if (!this.#headSent) this.#sendHead(null);
      this.cut(codeOf(fault.code));
      return;
    }
    this.#leave();
    if (fault.kind === "goaway") session.goaway();
    const code = fault.kind === "goaway" ? codeOf(fault.code) : errorCode.internal;
    // What was written before has to leave first, as it has on TCP.
    setTimeout(() => session.close(code), leaveMs);
  }

  block(): number {
    this.#isBlocked = true;
    this.#keptBytes = Math.max(1, this.#turnBytes);
    this.#count();
    return this.#keptBytes;
  }

  unblock(): void {
    this.#isBlocked = false;
    this.#keptBytes = 0;
    this.resume();
  }

  resume(): void {
    if (this.#isFinished) return;
    this.#flush();
    this.#count();
    if (!this.#owesDrain || this.#queuedBytes > 0 || this.#isBlocked) return;
    this.#owesDrain = false;
    this.observer?.onDrain();
  }

  #mayGoOn(): boolean {
    this.#flush();
    this.#count();
    if (this.bufferedBytes <= this.#session.service.bounds.limits.maxStreamBufferedBytes) return true;
    this.waitingBytes = this.bufferedBytes;
    this.#heardAtLook = this.#session.heardUs;
    this.#owesDrain = true;
    return false;
  }

  /** Whether the engine may be given so many bytes now. */
  #mayGive(bytes: number): boolean {
    const { service, mayPass } = this.#session;
    if (this.#isBlocked || !mayPass) return false;
    if (this.#turn !== service.turn) {
      this.#turn = service.turn;
      this.#turnBytes = 0;
      service.beginTurn();
    }
    return this.#turnBytes === 0 || this.#turnBytes + bytes <= bytesPerTurn;
  }

  #give(bytes: Buffer, isEnd: boolean): boolean {
    if (this.#session.pass(this.streamId, bytes, isEnd)) {
      this.#turnBytes += bytes.length;
      return true;
    }
    this.#session.service.awaitWritable(this.#stream);
    return false;
  }

  #enqueue(bytes: Buffer): void {
    this.#queue.push(bytes);
    this.#queuedBytes += bytes.length;
  }

  #flush(): void {
    const session = this.#session;
    while (this.#queue.length > 0 || (this.#endsAfter && !this.#isFinished)) {
      this.#join();
      const first = this.#queue[0] ?? none;
      const piece = first.length > bytesPerTurn ? first.subarray(0, bytesPerTurn) : first;
      if (!this.#mayGive(piece.length)) {
        if (this.#isBlocked) return;
        if (session.mayPass) session.service.continueSoon(this.#stream);
        else session.hold(this.#stream);
        return;
      }
      const isLast = this.#endsAfter && this.#queue.length <= 1 && piece.length === first.length;
      if (!this.#give(piece, isLast)) return;
      this.#queuedBytes -= piece.length;
      if (piece.length < first.length) this.#queue[0] = first.subarray(piece.length);
      else this.#queue.shift();
      if (this.endedUs > 0) this.endedUs = monotonicUs();
      if (isLast) return this.#finish();
    }
  }

  /** Makes one piece of what fits in a turn, so that a head leaves with its first frame. */
  #join(): void {
    let bytes = 0;
    let count = 0;
    for (const each of this.#queue) {
      if (bytes + each.length > bytesPerTurn) break;
      bytes += each.length;
      count++;
    }
    if (count > 1) this.#queue.unshift(Buffer.concat(this.#queue.splice(0, count), bytes));
  }

  #finish(): void {
    this.#isFinished = true;
    this.#leave();
    this.#stream.finished();
  }

  /** It counts no more among the responses. */
  #leave(): void {
    if (this.#left) return;
    this.#left = true;
    this.#queue = [];
    this.#queuedBytes = 0;
    const session = this.#session;
    if (this.#isWaiting) session.service.bounds.setWaiting(this, 0, session.service.counts);
    this.#isWaiting = false;
    session.service.counts.streams--;
    if (--session.responses === 0) session.idleSinceUs = monotonicUs();
  }

  #sendHead(contentLength: number | null): void {
    this.#headSent = true;
    this.#enqueue(headersFrame(this.head!, contentLength));
  }

  /** Brings the count of all listeners up to date. */
  #count(): void {
    if (this.#left) return;
    const waiting = this.bufferedBytes;
    const counts = waiting >= countedBytes;
    if (!counts && !this.#isWaiting) return;
    this.#isWaiting = counts;
    this.#session.service.bounds.setWaiting(this, counts ? waiting : 0, this.#session.service.counts);
  }
}

const none = Buffer.alloc(0);

/** A DATA frame in memory of its own. */
function dataFrame(bytes: Uint8Array): Buffer {
  return frameOf(frame.data, bytes);
}
