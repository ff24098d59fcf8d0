/** Notices when a process did not run although it had something to do: the scheduler, a stop signal, a frozen machine. */
import { monotonicUs } from "./clock.ts";

/** Milliseconds between two looks. */
const everyMs = 10;
/** A look that is late by less is the timer's own grain. */
const grainUs = 3000;

/** Times in which a process did not run and that its own CPU time does not explain, microseconds. */
export interface Pauses {
  readonly longestUs: number;
  readonly totalUs: number;
}

/**
 * Looks every 10 ms how late it is. What the process computed meanwhile is its own work and no pause: its CPU time is taken
 * off. All threads count in it, so that a pause may be missed beside helper threads, and none is made up.
 */
export class PauseMeter {
  readonly #nowUs: () => number;
  readonly #usedUs: () => number;
  #timer: NodeJS.Timeout | null = null;
  #atUs = 0;
  #cpuUs = 0;
  #longestUs = 0;
  #totalUs = 0;

  /** `usedUs`: CPU time of this process so far. */
  constructor(nowUs: () => number = monotonicUs, usedUs: () => number = cpuTimeUs) {
    this.#nowUs = nowUs;
    this.#usedUs = usedUs;
  }

  /** What was seen since the last call; the first call begins to look. */
  read(): Pauses {
    if (this.#timer === null) {
      this.#look();
      this.#timer = setInterval(() => this.#look(), everyMs);
      this.#timer.unref();
    } else {
      this.#look();
    }
    const pauses = { longestUs: this.#longestUs, totalUs: this.#totalUs };
    this.#longestUs = 0;
    this.#totalUs = 0;
    return pauses;
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#atUs = 0;
  }

  #look(): void {
    const nowUs = this.#nowUs();
    const cpuUs = this.#usedUs();
    const pauseUs = this.#atUs === 0 ? 0 : nowUs - this.#atUs - everyMs * 1000 - (cpuUs - this.#cpuUs);
    this.#atUs = nowUs;
    this.#cpuUs = cpuUs;
    if (pauseUs <= grainUs) return;
    this.#longestUs = Math.max(this.#longestUs, pauseUs);
    this.#totalUs += pauseUs;
  }
}

function cpuTimeUs(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}
