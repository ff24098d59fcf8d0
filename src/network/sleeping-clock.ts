/** A clock that wakes within about 0.2 ms without spinning. */
import { Worker } from "node:worker_threads";
import { monotonicUs } from "../base/clock.ts";
import type { Clock } from "../core/seams.ts";

/**
 * The thread. `Atomics.wait` keeps fractions of a millisecond; an event loop's timers do not. It shares a counter, which is
 * raised after each change of the deadline, and the deadline in milliseconds of its own clock. It answers with the count whose
 * deadline has passed.
 */
const thread = `
const { workerData, parentPort } = require("node:worker_threads");
const changes = new Int32Array(workerData, 0, 1);
const deadline = new Float64Array(workerData, 8, 1);
const nowMs = () => Number(process.hrtime.bigint()) / 1e6;
parentPort.postMessage("ready");
for (let told = 0; ; ) {
  const seen = Atomics.load(changes, 0);
  const waitMs = seen === told ? Infinity : deadline[0] - nowMs();
  if (waitMs > 0 && Atomics.wait(changes, 0, seen, waitMs) !== "timed-out") continue;
  told = seen;
  parentPort.postMessage(seen);
}
`;

/** For a deadline further away than this, the event loop's timer sleeps first: that saves two thread switches. */
const nearMs = 4;

/**
 * Keeps deadlines by a thread that sleeps: typically 0.1 ms late. An event loop's timers are 0.6 ms late, and a spinning clock
 * takes a core. Must be closed.
 */
export class SleepingClock implements Clock {
  onWake: () => void = () => {};
  readonly nowUs: () => number = monotonicUs;
  readonly #shared = new SharedArrayBuffer(16);
  readonly #changes = new Int32Array(this.#shared, 0, 1);
  readonly #deadline = new Float64Array(this.#shared, 8, 1);
  readonly #worker: Worker;
  #timer: NodeJS.Timeout | null = null;
  /** The state of the counter that the awaited wake-up will report; null while none is awaited. */
  #awaited: number | null = null;

  private constructor() {
    this.#worker = new Worker(thread, { eval: true, workerData: this.#shared });
  }

  /** Resolves once the thread sleeps. */
  static async start(): Promise<SleepingClock> {
    const clock = new SleepingClock();
    await new Promise((resolve, reject) => {
      clock.#worker.once("message", resolve);
      clock.#worker.once("error", reject);
    });
    clock.#worker.on("message", (seen: number) => {
      if (seen !== clock.#awaited) return;
      clock.#awaited = null;
      clock.onWake();
    });
    // Sockets and timers keep a process alive, not this thread.
    clock.#worker.unref();
    return clock;
  }

  wakeAfter(delayMs: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (delayMs > nearMs) {
      this.#awaited = null;
      const dueUs = this.nowUs() + delayMs * 1000;
      this.#timer = setTimeout(() => this.#sleep((dueUs - this.nowUs()) / 1000), delayMs - nearMs / 2);
    } else this.#sleep(delayMs);
  }

  #sleep(delayMs: number): void {
    this.#timer = null;
    this.#deadline[0] = Number(process.hrtime.bigint()) / 1e6 + delayMs;
    this.#awaited = (Atomics.add(this.#changes, 0, 1) + 1) | 0;
    Atomics.notify(this.#changes, 0);
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    await this.#worker.terminate();
  }
}
