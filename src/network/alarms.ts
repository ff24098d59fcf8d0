/** Many deadlines on one clock: each sleeper is woken once, when its deadline has passed. */
import type { Clock } from "../core/seams.ts";

/** Has at most one deadline. */
export interface Sleeper {
  /** The deadline, absolute microseconds. Owned by Alarms. */
  alarmUs: number;
  /** Place in the heap, -1 without a deadline. Owned by Alarms. */
  place: number;
  onAlarm(): void;
}

/** A binary heap over one clock. */
export class Alarms {
  readonly #clock: Clock;
  readonly #heap: Sleeper[] = [];
  #wakeUs = Infinity;
  #ringing = false;

  constructor(clock: Clock) {
    this.#clock = clock;
    clock.onWake = () => this.#ring();
  }

  nowUs(): number {
    return this.#clock.nowUs();
  }

  /** Wakes `sleeper` at `atUs`, or as soon after as the clock can. Replaces its earlier deadline. */
  set(sleeper: Sleeper, atUs: number): void {
    if (sleeper.place >= 0) {
      if (sleeper.alarmUs === atUs) return;
      this.clear(sleeper);
    }
    sleeper.alarmUs = atUs;
    sleeper.place = this.#heap.length;
    this.#heap.push(sleeper);
    this.#rise(sleeper);
    if (!this.#ringing && atUs < this.#wakeUs) this.#arm();
  }

  clear(sleeper: Sleeper): void {
    const { place } = sleeper;
    if (place < 0) return;
    sleeper.place = -1;
    const last = this.#heap.pop()!;
    if (last === sleeper) return;
    last.place = place;
    this.#heap[place] = last;
    this.#rise(last);
    this.#sink(last);
  }

  /** Hot path. */
  #ring(): void {
    this.#wakeUs = Infinity;
    this.#ringing = true;
    const nowUs = this.#clock.nowUs();
    for (let first = this.#heap[0]; first !== undefined && first.alarmUs <= nowUs; first = this.#heap[0]) {
      this.clear(first);
      first.onAlarm();
    }
    this.#ringing = false;
    this.#arm();
  }

  #arm(): void {
    const first = this.#heap[0];
    if (first === undefined) return;
    this.#wakeUs = first.alarmUs;
    this.#clock.wakeAfter(Math.max(0, (first.alarmUs - this.#clock.nowUs()) / 1000));
  }

  #rise(sleeper: Sleeper): void {
    const heap = this.#heap;
    while (sleeper.place > 0) {
      const above = heap[(sleeper.place - 1) >> 1]!;
      if (above.alarmUs <= sleeper.alarmUs) return;
      this.#swap(above, sleeper);
    }
  }

  #sink(sleeper: Sleeper): void {
    const heap = this.#heap;
    for (;;) {
      const left = heap[sleeper.place * 2 + 1];
      const right = heap[sleeper.place * 2 + 2];
      const below = right !== undefined && left !== undefined && right.alarmUs < left.alarmUs ? right : left;
      if (below === undefined || below.alarmUs >= sleeper.alarmUs) return;
      this.#swap(sleeper, below);
    }
  }

  #swap(above: Sleeper, below: Sleeper): void {
    const place = above.place;
    above.place = below.place;
    below.place = place;
    this.#heap[place] = below;
    this.#heap[above.place] = above;
  }
}
