import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Clock } from "./core/seams.ts";

/** What to add to performance.now() (milliseconds since this process began) to get the host's monotonic clock. */
const originUs: number = (() => {
  let bestGapUs = Infinity;
  let originUs = 0;
  for (let round = 0; round < 16; round++) {
    const before = performance.now();
    const absoluteUs = Number(process.hrtime.bigint()) / 1000;
    const after = performance.now();
    if (after - before < bestGapUs) {
      bestGapUs = after - before;
      originUs = absoluteUs - ((before + after) / 2) * 1000;
    }
  }
  return originUs;
})();

/** Microseconds of the system's monotonic clock (CLOCK_MONOTONIC on Linux), the same for every process of a host. */
export function monotonicUs(): number {
  return originUs + performance.now() * 1000;
}

/** The clock's name and the host's boot: two processes with equal values can compare their stamps. */
export const clockIdentity: string = `monotonic; boot=${bootId()}`;

function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  } catch {
    // Without a boot id nobody but this process can be sure to share the clock.
    return `process-${randomUUID()}`;
  }
}

/** The real clock. Its timer keeps the process alive only while something waits. */
export class SystemClock implements Clock {
  onWake: () => void = () => {};
  readonly nowUs: () => number = monotonicUs;
  #timer: NodeJS.Timeout | null = null;
  #immediatePending = false;
  readonly #wake = (): void => {
    this.#timer = null;
    this.#immediatePending = false;
    this.onWake();
  };

  wakeAfter(delayMs: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (delayMs > 0) this.#timer = setTimeout(this.#wake, delayMs);
    else if (!this.#immediatePending) {
      this.#immediatePending = true;
      setImmediate(this.#wake);
    }
  }
}
