/** Signs of life before the first token of a stream, whenever that comes. */
import type { FrameSource, Schedule, ScheduleObserver } from "../seams.ts";

export interface KeepAlive {
  /** Microseconds after the start of the request until the first sign, and between two. */
  readonly firstUs: number;
  readonly everyUs: number;
  /** The sign number `index`. Its bytes are valid until the next call. */
  sign(index: number, dueUs: number, sentUs: number): Uint8Array;
  /** The frames that follow so many signs. */
  frames(signs: number): FrameSource;
}

/** Signs as long as the first frame is further away than the next of them; then the frames. */
export class AwaitedFrames implements FrameSource, Schedule {
  tokens = 0;
  readonly #keepAlive: KeepAlive;
  readonly #schedule: Schedule;
  #signs = 0;
  #frames: FrameSource | null = null;
  #isSign = false;

  /** `schedule` is that of the frames. */
  constructor(keepAlive: KeepAlive, schedule: Schedule) {
    this.#keepAlive = keepAlive;
    this.#schedule = schedule;
  }

  /** Not known before the signs are over. */
  get length(): number {
    return this.#frames === null ? Infinity : this.#signs + this.#frames.length;
  }

  nextDueUs(index: number): number {
    const dueUs = this.#schedule.nextDueUs(index - this.#signs);
    if (this.#frames !== null) return dueUs;
    const signUs = this.#keepAlive.firstUs + this.#signs * this.#keepAlive.everyUs;
    this.#isSign = signUs < dueUs;
    return this.#isSign ? signUs : dueUs;
  }

  frame(index: number, dueUs: number, sentUs: number): Uint8Array {
    if (this.#isSign) return this.#keepAlive.sign(this.#signs++, dueUs, sentUs);
    const frames = (this.#frames ??= this.#keepAlive.frames(this.#signs));
    const frame = frames.frame(index - this.#signs, dueUs, sentUs);
    this.tokens = frames.tokens;
    return frame;
  }

  /** A sign carries no stamps. */
  restamp(copy: Uint8Array, sentUs: number): void {
    this.#frames?.restamp?.(copy, sentUs);
  }

  get isLive(): boolean {
    return this.#schedule.isLive === true;
  }

  begin(observer: ScheduleObserver): void {
    this.#schedule.begin?.(observer);
  }

  end(isGivenUp: boolean): void {
    this.#schedule.end?.(isGivenUp);
  }
}
