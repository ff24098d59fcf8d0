/** Responses of the own engine: how frames get into a stream, what is counted, and how a stream is cut. */
import { monotonicUs } from "../../base/clock.ts";
import type { WireFault } from "../../core/seams.ts";
import { errorCode } from "../../wire/h2/frames.ts";
import { type Bounds, deliver, refuse, type Waiting } from "../bounds.ts";
import { BodyReader, type BodyOwner, type BodyReading } from "../node/request.ts";
import { BaseSink } from "../sink.ts";
import type { Connection } from "./connection.ts";
import type { OwnRequest } from "./request.ts";
import { forgetData, lastData } from "./sender.ts";
import type { Stream, StreamOwner } from "./stream.ts";

/** Bytes that the streams of one session may have waiting. Past it, each waits until its reader has taken all that it has. */
const sessionBufferedBytes = 8_388_608;
/** Below it a stream holds nothing up; counting it over all listeners would cost every token. */
const countedBytes = 16_384;
/** A session counts as read when its socket took more than this since the last look: PINGs and ACKs leave without a reader. */
const leastTakenBytes = 1024;
/** It must also have taken this part of what waits on it, so that a stream is reached within 64 time-outs. */
const leastTakenShare = 1 / 64;

/** What a response needs of its listener. */
export interface Serving extends BodyReading {
  readonly bounds: Bounds;
}

/** The session of a response. */
export interface SinkSession {
  readonly connection: Connection;
  /** Requests so far. */
  requests: number;
  /** Bytes that the kernel has taken. */
  readonly takenBytes: number;
  /** Bytes of all its responses that wait. */
  readonly queuedBytes: number;
  /** A response has ended, and waits for its reader. */
  waitsForReader(sink: OwnH2Sink): void;
  /** A reader has caught up. */
  hasDrained(sink: OwnH2Sink): void;
  /** A stream is over. */
  isOver(sink: OwnH2Sink): void;
  /** Ends the session when its streams have ended. */
  drain(): void;
  /** GOAWAY with a code, and the end. */
  endWith(code: number): void;
  /** TCP RST. */
  resetConnection(): void;
}

export class OwnH2Sink extends BaseSink implements StreamOwner, BodyOwner, Waiting {
  readonly carrier = "own-h2";
  readonly requestOnConnection: number;
  /** Absolute microseconds: when the response ended, or when its reader last took a piece of it since; 0: it has not ended. */
  endedUs = 0;
  /** Whether all of the request has come. */
  bodyEnded: boolean;
  readonly #session: SinkSession;
  readonly #stream: Stream;
  readonly #request: OwnRequest;
  readonly #serving: Serving;
  /** null: the whole body came at once, or none of it has come. */
  #reader: BodyReader | null = null;
  /** The request waits for its turn; what has come of its body is kept. */
  #waitsForTurn = true;
  /** A fault on purpose: the body is never read. */
  #isWithheld = false;
  #headSent = false;
  /** A `write` returned false, and writing may go on when no more than so many bytes wait. */
  #isHeld = false;
  #goesOnAtBytes = 0;
  /** Whether the count of all listeners holds this stream. */
  #isCounted = false;
  /** At the last look: bytes that the stream had sent, and that the session's socket had taken. */
  #sentBytes = 0;
  #takenBytes = 0;
  #leastTakenBytes = 0;

  constructor(session: SinkSession, stream: Stream, request: OwnRequest, serving: Serving, bodyEnded: boolean) {
    super();
    this.#session = session;
    this.#stream = stream;
    this.#request = request;
    this.#serving = serving;
    this.bodyEnded = bodyEnded;
    this.requestOnConnection = ++session.requests;
    serving.counts.streams++;
    // Until its turn comes a request gets no more room than every stream has.
    stream.isRead = false;
    stream.owner = this;
  }

  get connection(): object {
    return this.#session;
  }

  get streamId(): number {
    return this.#stream.id;
  }

  get bufferedBytes(): number {
    return this.#stream.queuedBytes;
  }

  /** Whether the stream is over, so that its request need not begin. */
  get isGone(): boolean {
    return this.#stream.closed;
  }

  // The request.

  /** The request's turn has come. `refusal`: its head is too large. */
  begin(isTooLarge: boolean, withholds: boolean): void {
    this.#waitsForTurn = false;
    const { handler, counts } = this.#serving;
    if (isTooLarge) {
      this.#isWithheld = true;
      refuse("head-too-large", this.#request, this, handler, counts);
      return;
    }
    if (withholds) {
      this.#isWithheld = true;
      this.#dropReader();
      return;
    }
    this.#stream.isRead = true;
    if (!this.bodyEnded) this.#session.connection.resumeBody(this.#stream);
    else if (this.#reader === null) this.#deliver(noBytes);
    else this.#reader.end();
  }

  /** The body has not come whole with its head: it gets its time-out. Called once. */
  awaitBody(): void {
    if (this.bodyEnded || this.#isWithheld || this.#stream.closed) return;
    this.#serving.deadlines.add(this.#readerOf());
  }

  onBody(bytes: Buffer, start: number, end: number): void {
    if (!this.#isWithheld) this.#readerOf().add(Buffer.from(bytes.subarray(start, end)));
  }

  onBodyEnd(bytes: Buffer, start: number, end: number): void {
    this.bodyEnded = true;
    if (this.#isWithheld) return;
    if (this.#waitsForTurn) {
      if (end > start) this.#readerOf().add(Buffer.from(bytes.subarray(start, end)));
    } else if (this.#reader === null && end - start <= this.#serving.limits.maxBodyBytes) {
      this.#deliver(bytes.subarray(start, end));
    } else {
      if (end > start) this.#readerOf().add(Buffer.from(bytes.subarray(start, end)));
      this.#readerOf().end();
    }
  }

  #deliver(body: Uint8Array): void {
    const { handler, limits, counts } = this.#serving;
    this.#request.receivedUs = monotonicUs();
    deliver(this.#request, body, this, handler, limits, counts);
  }

  #readerOf(): BodyReader {
    return (this.#reader ??= new BodyReader(this.#serving, this.#request, this));
  }

  #dropReader(): void {
    this.#reader?.close();
    this.#reader = null;
  }

  endConnection(): void {
    // The end of an answer ends its request by itself.
  }

  abandonBody(): void {
    this.#isWithheld = true;
    this.#stream.isRead = false;
  }

  // The response.

  /** Hot path. */
  write(frame: Uint8Array): boolean {
    forgetData();
    if (this.closed) return false;
    if (!this.#headSent) this.#sendHead(-1, false);
    if (frame.length === 0 || this.#request.method === "HEAD" || this.#stream.send(frame, false)) return true;
    this.#count();
    const isMuch = this.#session.queuedBytes > sessionBufferedBytes;
    const { maxStreamBufferedBytes } = this.#serving.limits;
    if (!isMuch && this.#stream.queuedBytes <= maxStreamBufferedBytes) return true;
    this.#isHeld = true;
    this.#goesOnAtBytes = isMuch ? 0 : maxStreamBufferedBytes >> 2;
    this.#look();
    return false;
  }

  /** What was written leaves when the JavaScript of this turn is over; what waits for its reader is out of reach. */
  takeUnsent(): Uint8Array | null {
    const data = lastData();
    forgetData();
    return data;
  }

  end(frame?: Uint8Array): void {
    forgetData();
    if (this.closed) return;
    this.closed = true;
    this.observer = null;
    const length = frame?.length ?? 0;
    const isEmpty = length === 0 || this.#request.method === "HEAD";
    if (!this.#headSent) {
      const { streamed, contentLengthBy } = this.head!;
      this.#sendHead(streamed ? -1 : Math.max(0, length + (contentLengthBy ?? 0)), isEmpty);
      if (isEmpty) return;
    }
    const isSent = isEmpty ? this.#stream.end() : this.#stream.send(frame!, true);
    if (isSent || this.#stream.closed) return;
    this.endedUs = monotonicUs();
    this.#session.waitsForReader(this);
    this.#look();
    this.#count();
  }

  #sendHead(contentLength: number, endStream: boolean): void {
    this.#headSent = true;
    this.#session.connection.sender.sendHead(this.#stream, this.head!, contentLength, endStream);
  }

  reset(): void {
    if (this.closed) return;
    this.closed = true;
    this.observer = null;
    this.cut();
  }

  shed(): void {
    this.aborted();
    this.cut();
  }

  /** By RST_STREAM with INTERNAL_ERROR. */
  cut(): void {
    this.#stream.reset(errorCode.internal);
  }

  inject(fault: WireFault): void {
    if (this.closed) return;
    if (fault.kind === "goaway" && fault.code === 0) {
      this.#session.drain();
      return;
    }
    this.closed = true;
    this.observer = null;
    if (fault.kind === "reset") {
      this.#session.resetConnection();
    } else if (fault.kind === "goaway") {
      this.#session.endWith(fault.code);
    } else {
      if (!this.#headSent) this.#sendHead(-1, false);
      this.#stream.reset(fault.code);
    }
  }

  /**
   * What the stream itself has sent tells whether its reader takes anything. Where it waits for the connection and not for its own
   * window, it is enough that the connection is read.
   */
  override isBeingRead(): boolean {
    const { sentBytes } = this.#stream;
    const isRead = sentBytes > this.#sentBytes;
    const isInLine = this.#stream.isReady && this.#session.takenBytes - this.#takenBytes > this.#leastTakenBytes;
    this.#look();
    return isRead || isInLine;
  }

  #look(): void {
    this.#sentBytes = this.#stream.sentBytes;
    this.#takenBytes = this.#session.takenBytes;
    this.#leastTakenBytes = Math.max(leastTakenBytes, this.#session.queuedBytes * leastTakenShare);
  }

  onProgress(): void {
    if (this.endedUs > 0) this.endedUs = monotonicUs();
    this.#count();
    if (!this.#isHeld || this.#stream.queuedBytes > this.#goesOnAtBytes) return;
    this.#isHeld = false;
    this.#session.hasDrained(this);
  }

  /** The reader has caught up; called in a later turn than it has, because writing then would make it catch up without end. */
  goOn(): void {
    if (!this.closed) this.observer?.onDrain();
  }

  onClose(): void {
    this.#serving.counts.streams--;
    this.#dropReader();
    if (this.#isCounted) this.#serving.bounds.setWaiting(this, 0, this.#serving.counts);
    this.#session.isOver(this);
    this.aborted();
  }

  /** Brings the count of all listeners up to date. */
  #count(): void {
    const { queuedBytes } = this.#stream;
    const counts = queuedBytes >= countedBytes;
    if (!counts && !this.#isCounted) return;
    this.#isCounted = counts;
    this.#serving.bounds.setWaiting(this, counts ? queuedBytes : 0, this.#serving.counts);
  }
}

const noBytes = new Uint8Array();
