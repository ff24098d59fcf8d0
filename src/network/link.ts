/** A link of limited rate. Its senders take turns, one packet each. */
import type { Alarms, Sleeper } from "./alarms.ts";
import { segmentBytes } from "./impairment.ts";

/** How far ahead packets are put on the link: longer than an alarm may be late, so that the link never idles for that. */
const aheadUs = 2000;

/** Has bytes for a link. */
export interface Sender {
  /**
   * Takes at most `bytes` off the queue; `leftUs` gives the time at which the last of them has left the link. Returns whether
   * more wait.
   */
  transmit(bytes: number, leftUs: (taken: number) => number): boolean;
}

/**
 * Serves its senders in turns (deficit-free round robin over packets of up to 1400 bytes): what fair queueing does at a
 * bottleneck, so that a short message does not wait for another connection's bulk.
 */
export class Link implements Sleeper {
  alarmUs = 0;
  place = -1;
  readonly #alarms: Alarms;
  readonly #usPerByte: number;
  #waiting: Sender[] = [];
  #first = 0;
  /** When the last packet has left. */
  #freeUs = 0;

  constructor(alarms: Alarms, bytesPerSecond: number) {
    this.#alarms = alarms;
    this.#usPerByte = 1e6 / bytesPerSecond;
  }

  /** `sender` has bytes, and had none before. */
  offer(sender: Sender): void {
    this.#waiting.push(sender);
    if (this.place < 0) this.onAlarm();
  }

  /** Hot path. Puts packets on the link, as many as leave before the next alarm. */
  onAlarm(): void {
    const nowUs = this.#alarms.nowUs();
    // An idle link saves nothing up.
    if (this.#freeUs < nowUs) this.#freeUs = nowUs;
    while (this.#first < this.#waiting.length && this.#freeUs <= nowUs + aheadUs) {
      const sender = this.#waiting[this.#first++]!;
      if (sender.transmit(segmentBytes, this.#leave)) this.#waiting.push(sender);
      if (this.#first > 1024) {
        this.#waiting = this.#waiting.slice(this.#first);
        this.#first = 0;
      }
    }
    if (this.#first < this.#waiting.length) this.#alarms.set(this, this.#freeUs - aheadUs / 2);
  }

  readonly #leave = (bytes: number): number => (this.#freeUs += bytes * this.#usPerByte);
}
