/** The real clock: never early, and woken by the last call only. */
import { expect, test } from "vitest";
import { monotonicUs, SystemClock } from "../../src/base/clock.ts";

function wakeUps(clock: SystemClock, delaysMs: readonly number[]): Promise<number[]> {
  return new Promise((resolve) => {
    const lateUs: number[] = [];
    const startUs = monotonicUs();
    clock.onWake = () => lateUs.push(monotonicUs() - startUs - delaysMs.at(-1)! * 1000);
    for (const delayMs of delaysMs) clock.wakeAfter(delayMs);
    setTimeout(() => resolve(lateUs), 150);
  });
}

test.each([
  ["at once", [0]],
  ["in half a millisecond", [0.5]],
  ["in a few milliseconds", [7.25]],
  ["a nearer deadline replaces a farther one", [100, 5]],
  ["a farther deadline replaces a nearer one", [0.5, 40]],
])("the precise timer: %s", async (_what, delaysMs) => {
  const lateUs = await wakeUps(new SystemClock("precise"), delaysMs);
  expect(lateUs).toHaveLength(1);
  expect(lateUs[0]).toBeGreaterThanOrEqual(0);
});

test("the standard timer rounds up to whole milliseconds", async () => {
  const [lateUs, ...more] = await wakeUps(new SystemClock(), [50, 3.5]);
  expect(more).toEqual([]);
  // Node's timers count whole milliseconds from the loop's own reading of the clock, which may lie up to one before.
  expect(lateUs).toBeGreaterThan(-1000);
});
