/**
 * Which streams of HTTP/2 are being read. Streams share a connection: one that waits may wait for its own reader, whose window
 * is shut, or for its turn behind the others. Only the first kind is stalled.
 */
import { BaseSink } from "../sink.ts";
import type { SessionState } from "./session.ts";

/** What a session sends of one stream before the next stream has its turn: a DATA frame (RFC 9113, section 4.2). */
const turnBytes = 16_384;
/**
 * A session counts as read when its socket took more than this since the last look. PINGs and ACKs leave without a reader, so
 * `answeredBy` of our bytes per byte received (bodies aside) are ignored.
 */
const leastTakenBytes = 1024;
const answeredBy = 3;
/** It must also have taken this part of what stands before the stream, so a waiting stream is reached within 64 time-outs. */
const leastTakenShare = 1 / 64;

/** A sink that knows its place in the queue of its session. Fields instead of an object of its own: there is one for each request. */
export abstract class QueuedSink extends BaseSink {
  protected readonly session: SessionState;
  /** `takenBytes` of the session at which everything before this stream has left; 0: it does not wait. */
  protected turnAt = 0;
  /** Bytes that the session had sent and received at the last look. */
  #takenBytes = 0;
  #receivedBytes = 0;
  #leastTakenBytes = 0;

  constructor(session: SessionState) {
    super();
    this.session = session;
  }

  override isBeingRead(): boolean {
    const { session } = this;
    const { takenBytes, receivedBytes } = session;
    const isRead = super.isBeingRead();
    const isSessionRead = takenBytes - this.#takenBytes > this.#leastTakenBytes + answeredBy * (receivedBytes - this.#receivedBytes);
    const isInLine = isSessionRead && takenBytes < this.turnAt && !session.isClear;
    if (isRead) this.standInLine();
    this.#takenBytes = takenBytes;
    this.#receivedBytes = receivedBytes;
    return isRead || isInLine;
  }

  /** The wait for the reader begins. Before it leave all bytes that wait now, and one frame of each stream that writes more. */
  protected standInLine(): void {
    const { takenBytes, receivedBytes, bufferedBytes, sinks } = this.session;
    this.waitingBytes = this.bufferedBytes;
    this.#takenBytes = takenBytes;
    this.#receivedBytes = receivedBytes;
    const before = bufferedBytes + sinks.size * turnBytes;
    this.turnAt = takenBytes + before;
    this.#leastTakenBytes = Math.max(leastTakenBytes, before * leastTakenShare);
  }
}
