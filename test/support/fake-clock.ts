/** A clock that a test moves, and a sink that remembers what it was given. */
import type { Clock, ResponseSink, SinkObserver } from "../../src/core/seams.ts";

/** Wakes exactly when asked to, or late by what `lateUs` says, as real timers do. */
export class FakeClock implements Clock {
  us: number = 5_000_000;
  onWake: () => void = () => {};
  wakeUs: number = Infinity;
  wakeUps = 0;
  readonly lateUs: () => number;

  constructor(lateUs: () => number = () => 0) {
    this.lateUs = lateUs;
  }

  nowUs: () => number = () => this.us;

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
  writes = 0;
  ended = false;
  wasReset = false;
  /** Answers to write(), asked with the number of writes so far. */
  accepts: (writes: number) => boolean = () => true;

  start(): void {}
  isBeingRead(): boolean {
    return this.reads;
  }
  write(_frame: Uint8Array): boolean {
    return this.accepts(++this.writes);
  }
  end(): void {
    this.ended = true;
    this.closed = true;
  }
  reset(): void {
    this.wasReset = true;
    this.closed = true;
  }
  abort(): void {
    this.closed = true;
    this.observer?.onAbort();
  }
}
