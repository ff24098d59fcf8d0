/** How many streams of HTTP/2 may be opened and reset at once (CVE-2023-44487), on any engine. */
import { monotonicUs } from "../base/clock.ts";

/**
 * The least allowance of streams that a session opens and resets in one turn of the event loop, also with a small
 * `--max-concurrent-streams`: one read can bring thousands of streams. If all sessions together reset more than twice the
 * allowance in a turn, each may reset only `fewResetsPerTurn`.
 */
const leastResetsPerTurn = 128;
const fewResetsPerTurn = 32;
/** How often the event loop is asked whether it was held up, milliseconds. */
const beatMs = 250;

export class ResetAllowance {
  readonly #maxConcurrentStreams: number;
  /** Absolute microseconds of the last beat, and for how long the event loop was held up before it. */
  #beatUs = monotonicUs();
  #pausedUs = 0;
  readonly #beat: NodeJS.Timeout;

  constructor(maxConcurrentStreams: number) {
    this.#maxConcurrentStreams = maxConcurrentStreams;
    this.#beat = setInterval(() => {
      const nowUs = monotonicUs();
      // What came during a pause may take longer to read than one beat: the allowance fades instead of ending.
      this.#pausedUs = Math.max(this.#pauseUs(nowUs), this.#pausedUs / 2);
      this.#beatUs = nowUs;
    }, beatMs);
    this.#beat.unref();
  }

  close(): void {
    clearInterval(this.#beat);
  }

  /** Whether a session that has reset so many streams in this turn, right after it opened them, is to end. */
  isTooMuch(ofSession: number, ofAll: number): boolean {
    const most = Math.max(leastResetsPerTurn, this.#maxConcurrentStreams);
    // After a pause of the process, one turn reads what clients reset during all of it: a second's worth for each second.
    const more = (most * Math.max(this.#pausedUs, this.#pauseUs(monotonicUs()))) / 1e6;
    return ofSession > (ofAll > 2 * (most + more) ? fewResetsPerTurn : most) + more;
  }

  /** Microseconds for which the event loop has not turned, beyond two beats. */
  #pauseUs(nowUs: number): number {
    return Math.max(0, nowUs - this.#beatUs - 2 * beatMs * 1000);
  }
}
