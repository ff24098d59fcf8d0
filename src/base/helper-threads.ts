/** The threads beside the one that runs this program: V8 compiles and collects in them. */
import { readdirSync } from "node:fs";
import { constants, getPriority, setPriority } from "node:os";

/** How much nicer they get, on the scale of nice(2). */
const nicerBy = 10;

/**
 * Gives the threads that this process has by now a lower priority than the main thread's. On a core that they share with it they
 * otherwise take whole slices of the scheduler: milliseconds in which no token leaves. Linux only, where each thread has a priority of
 * its own; where that is not allowed nothing changes.
 */
export function yieldToMainThread(): void {
  try {
    const priority = Math.min(constants.priority.PRIORITY_LOW, getPriority() + nicerBy);
    for (const thread of readdirSync("/proc/self/task")) if (Number(thread) !== process.pid) setPriority(Number(thread), priority);
  } catch {
    // Another system, or one that forbids it.
  }
}
