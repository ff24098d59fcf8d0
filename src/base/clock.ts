import { readFileSync, readlinkSync } from "node:fs";
import type { Clock } from "../core/seams.ts";

/** Taken once: node makes the global one a getter, which each reading of the clock would call. */
const { performance } = globalThis;

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

/** The clock's name, the host's boot and its time namespace: two processes with equal values can compare their stamps. */
export const clockIdentity: string = `monotonic; boot=${bootId()}${timeNamespace()}`;

/** The time namespace where it is not the host's own (time_namespaces(7)): its monotonic clock is apart from that of others. */
function timeNamespace(): string {
  try {
    const own = readlinkSync("/proc/self/ns/time");
    // The initial one has a fixed number: PROC_TIME_INIT_INO of the kernel's include/linux/proc_ns.h.
    return own === "time:[4026531834]" ? "" : `; ${own.replaceAll(/[[\]]/g, "")}`;
  } catch {
    return "";
  }
}

function bootId(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();
  } catch {
    // Without a boot id only this process is known to share the clock.
    return `process-${globalThis.crypto.randomUUID()}`;
  }
}

/** How wake-ups are made: by the event loop's timers, about 1 ms late; or by spinning, tens of microseconds late. */
export type TimerMode = "standard" | "precise";

/** The precise timer spins this long before a deadline: an event loop's timer may be this late. */
const spinMs = 2;

/** The real clock. Its timer keeps the process alive only while a wake-up is set. */
export class SystemClock implements Clock {
  onWake: () => void = () => {};
  readonly nowUs: () => number = monotonicUs;
  readonly #precise: boolean;
  #timer: NodeJS.Timeout | null = null;
  #immediatePending = false;
  /** When the spinning ends. */
  #spinUntilUs = 0;

  constructor(mode: TimerMode = "standard") {
    this.#precise = mode === "precise";
  }

  readonly #wake = (): void => {
    this.#timer = null;
    this.#immediatePending = false;
    this.onWake();
  };

  /** Hot path. One turn of the precise timer: each is a turn of the event loop, which serves sockets in between. */
  readonly #spin = (): void => {
    if (!this.#immediatePending) return;
    if (monotonicUs() < this.#spinUntilUs) setImmediate(this.#spin);
    else this.#wake();
  };

  readonly #startSpin = (): void => {
    this.#timer = null;
    if (this.#immediatePending) return;
    this.#immediatePending = true;
    setImmediate(this.#spin);
  };

  wakeAfter(delayMs: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#precise) {
      this.#spinUntilUs = monotonicUs() + delayMs * 1000;
      if (delayMs > spinMs && !this.#immediatePending) this.#timer = setTimeout(this.#startSpin, delayMs - spinMs);
      else this.#startSpin();
    } else if (delayMs > 0) {
      this.#timer = setTimeout(this.#wake, Math.ceil(delayMs));
    } else if (!this.#immediatePending) {
      this.#immediatePending = true;
      setImmediate(this.#wake);
    }
  }
}
