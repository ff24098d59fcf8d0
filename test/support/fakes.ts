/** What stands in for the world around a pacer: a clock that a test moves, a sink and frames that remember. */
import type { Clock, FrameSource, ResponseSink, SinkObserver } from "../../src/core/seams.ts";

export interface FakeClockOptions {
  /** Where it begins, microseconds. */
  readonly us?: number;
  /** How much later than asked it wakes, as real timers do. Asked at each wake-up; default: not at all. */
  readonly lateUs?: () => number;
  /** What each reading of the clock takes: writes are not free. */
  readonly costUs?: number;
}

export class FakeClock implements Clock {
  us: number;
  lateUs: () => number;
  onWake: () => void = () => {};
  /** When it will wake; Infinity: it is not asked to. */
  wakeUs: number = Infinity;
  wakeUps = 0;
  nowUs: () => number;

  constructor({ us = 5_000_000, lateUs = () => 0, costUs = 0 }: FakeClockOptions = {}) {
    this.us = us;
    this.lateUs = lateUs;
    this.nowUs = () => (this.us += costUs);
  }

  wakeAfter(delayMs: number): void {
    this.wakeUs = this.us + delayMs * 1000 + this.lateUs();
  }

  /** Runs wake-ups until nothing is asked for, or until `untilUs`. */
  run(untilUs: number = Infinity): void {
    while (this.wakeUs <= untilUs && this.wakeUs !== Infinity) {
      this.us = Math.max(this.us, this.wakeUs);
      this.wakeUs = Infinity;
      if (++this.wakeUps > 2_000_000) throw new Error("the pacer never rests");
      this.onWake();
    }
    if (untilUs !== Infinity) this.us = Math.max(this.us, untilUs);
  }
}

export class FakeSink implements ResponseSink {
  closed = false;
  reads = false;
  observer: SinkObserver | null = null;
  bytes = 0;
  writes = 0;
  ended = false;
  wasReset = false;
  /** Answers to `write`, asked with the number of writes so far; null: each is taken. */
  accepts: ((writes: number) => boolean) | null = null;

  start(): void {}
  isBeingRead(): boolean {
    return this.reads;
  }
  write(frame: Uint8Array): boolean {
    this.bytes += frame.length;
    this.writes++;
    return this.accepts === null || this.accepts(this.writes);
  }
  end(frame?: Uint8Array): void {
    this.bytes += frame?.length ?? 0;
    this.ended = true;
    this.closed = true;
  }
  reset(): void {
    this.wasReset = true;
    this.closed = true;
  }
  /** Its client goes away. */
  abort(): void {
    this.closed = true;
    this.observer?.onAbort();
  }
}

export interface AskedFrame {
  readonly index: number;
  readonly dueUs: number;
  readonly sentUs: number;
}

/** Frames of so many bytes, one token each, that remember when they were asked for. */
export class LoggedFrames implements FrameSource {
  readonly length: number;
  readonly tokens = 1;
  readonly written: AskedFrame[] = [];
  readonly #frame: Uint8Array;

  constructor(length: number, bytes = 8) {
    this.length = length;
    this.#frame = new Uint8Array(bytes);
  }

  frame(index: number, dueUs: number, sentUs: number): Uint8Array {
    this.written.push({ index, dueUs, sentUs });
    return this.#frame;
  }
}
