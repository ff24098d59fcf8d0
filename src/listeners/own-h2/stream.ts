/** One stream of a connection: its windows, what of its response waits, and what has come of its request (RFC 9113, section 5). */
import { StreamCredit } from "../../wire/h2/windows.ts";
import { ByteQueue } from "./byte-queue.ts";
import type { Priority, Waiter } from "./priority.ts";

/** Who answers a stream: it hears what its client sends, and how its response leaves. Bytes are valid during a call. */
export interface StreamOwner {
  /** A part of the request's body. */
  onBody(bytes: Buffer, start: number, end: number): void;
  /** The request has ended, with a last part of its body, empty where `start` is `end`. */
  onBodyEnd(bytes: Buffer, start: number, end: number): void;
  /** Some of what waited has left. */
  onProgress(): void;
  /** The stream is over. `isDelivered`: all of the response was handed to the socket. Called once, and last. */
  onClose(isDelivered: boolean): void;
}

/** The connection, as its streams see it. */
export interface StreamCarrier {
  /** Hot path. Sends at once if nothing stands before it and it fits the windows. false: nothing was sent. */
  sendNow(stream: Stream, bytes: Uint8Array, endStream: boolean): boolean;
  /** More waits on the stream. */
  queued(stream: Stream, bytes: number): void;
  /** RST_STREAM, unless the stream is over. */
  resetStream(stream: Stream, code: number): void;
}

const nothing = new Uint8Array();

export class Stream extends StreamCredit implements Waiter {
  readonly id: number;
  urgency: number;
  incremental: boolean;
  isReady = false;
  nextReady: Waiter | null = null;
  previousReady: Waiter | null = null;
  /** What may still be sent on it; below 0 after the peer has made windows smaller. */
  sendWindow: number;
  /** Bytes that it may send before the next stream has its turn. */
  turnBytes = 0;
  /** END_STREAM has come, or was sent. */
  remoteEnded = false;
  localEnded = false;
  /** END_STREAM follows the last byte that waits. */
  endsAfterQueue = false;
  /** It is over: reset by either end, or ended by both. */
  closed = false;
  /** Bytes of its response that were sent. */
  sentBytes = 0;
  /** Bytes of its request's body that have come, and how many were announced; -1: none were. */
  bodyBytes = 0;
  readonly announcedBytes: number;
  owner: StreamOwner | null = null;
  /** null: nothing has ever waited. */
  queue: ByteQueue | null = null;
  readonly #carrier: StreamCarrier;

  constructor(carrier: StreamCarrier, id: number, sendWindow: number, priority: Priority, announcedBytes: number) {
    super();
    this.#carrier = carrier;
    this.id = id;
    this.sendWindow = sendWindow;
    this.urgency = priority.urgency;
    this.incremental = priority.incremental;
    this.announcedBytes = announcedBytes;
  }

  /** Bytes of the response that wait. */
  get queuedBytes(): number {
    return this.queue === null ? 0 : this.queue.length;
  }

  /** Hot path. A part of the body, or with `endStream` its last. true: it was sent whole; false: it waits, in a copy. */
  send(bytes: Uint8Array, endStream: boolean): boolean {
    if (this.queuedBytes === 0 && this.#carrier.sendNow(this, bytes, endStream)) return true;
    this.endsAfterQueue = endStream;
    (this.queue ??= new ByteQueue()).push(bytes);
    this.#carrier.queued(this, bytes.length);
    return false;
  }

  /** END_STREAM behind all that waits. true: it was sent. */
  end(): boolean {
    if (this.queuedBytes === 0) return this.#carrier.sendNow(this, nothing, true);
    this.endsAfterQueue = true;
    return false;
  }

  /** Cuts it. */
  reset(code: number): void {
    this.#carrier.resetStream(this, code);
  }
}
