/** The pace of a run, from answers whose times are known. */
import { expect, test } from "vitest";
import { paceOf } from "../../src/load/pace.ts";

type Seen = Parameters<typeof paceOf>[0][number];

/** An answer with a TTFT of 50 ms and an ITL of 10 ms as planned, and so much longer gaps as seen. */
function answer(startUs: number, events: number, slower = 1, more: Partial<Seen> = {}): Seen {
  const due = (i: number): number => 50_000 + i * 10_000;
  return {
    error: null,
    settled: true,
    aborted: false,
    events,
    tokens: events,
    startUs,
    arrival: (i) => 50_000 + i * 10_000 * slower,
    stamps: (i) => ({ due: due(i), sent: due(i) }),
    ...more,
  };
}

test("streams that keep their plan carry what is offered: 100 streams by 10 ms", () => {
  const pace = paceOf(Array.from({ length: 100 }, (_, i) => answer(i * 97, 40)))!;
  expect(pace.flowTokensPerSecond).toBeGreaterThan(9_700);
  expect(pace.flowTokensPerSecond).toBeLessThan(10_300);
  expect(pace.measuredUs).toBe(pace.plannedGapsUs + pace.plannedTtftUs);
});

test("twice as slow is half of it, and shows beside the plan", () => {
  const pace = paceOf(Array.from({ length: 100 }, (_, i) => answer(i * 97, 40, 2)))!;
  expect(pace.flowTokensPerSecond).toBeGreaterThan(4_850);
  expect(pace.flowTokensPerSecond).toBeLessThan(5_150);
  expect(pace.measuredUs / (pace.plannedGapsUs + pace.plannedTtftUs)).toBeCloseTo((50 + 780) / 440, 6);
});

test("streams that were never all under way carry what came from the first token to the last, not what was offered", () => {
  // Each begins when the one before has ended: one stream at a time.
  const pace = paceOf(Array.from({ length: 20 }, (_, i) => answer(i * 440_000, 40)))!;
  expect(pace.flowTokensPerSecond).toBeLessThan(100);
});

test("tokens are counted where an event holds several", () => {
  const one = paceOf(Array.from({ length: 10 }, (_, i) => answer(i * 970, 40)))!.flowTokensPerSecond!;
  const four = paceOf(Array.from({ length: 10 }, (_, i) => answer(i * 970, 40, 1, { tokens: 160 })))!.flowTokensPerSecond!;
  expect(four / one).toBeCloseTo(4, 6);
});

test("what failed, was given up, has one token or no stamps has no pace", () => {
  const none = [{ error: "reset" as const }, { settled: false }, { aborted: true }, { events: 1 }, { stamps: () => null }];
  expect(paceOf(none.map((more) => answer(0, 40, 1, more)))).toBeNull();
  expect(paceOf([])).toBeNull();
});
