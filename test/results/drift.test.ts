/** Whether a round was steady. */
import { expect, test } from "vitest";
import { Random, seedOf } from "../../src/core/random/random.ts";
import { driftNotes, trendOf } from "../../src/results/drift.ts";
import type { RoundResult, RunSlices } from "../../src/results/types.ts";

const noise = (seed: number, count: number, slope: number): number[] => {
  const random = new Random(seedOf(seed), 7);
  return Array.from({ length: count }, (_, i) => 1000 * (1 + slope * (i / (count - 1)) + 0.02 * (random.unit() - 0.5)));
};

const round = (ttftP50Us: readonly (number | null)[], invalid: readonly string[] = []): RoundResult => {
  const flat = Array.from({ length: 20 }, () => 10_000);
  const slices = { everyUs: 100_000, ttftP50Us, itlP50Us: flat, e2elP50Us: flat } as unknown as RunSlices;
  return { invalid, slices } as unknown as RoundResult;
};

test("a trend is found with its size, and noise, one slow slice and missing slices make none", () => {
  expect(trendOf(noise(1, 30, 0.5))!.isSignificant).toBe(true);
  expect(trendOf(noise(1, 30, 0.5))!.change).toBeCloseTo(0.4, 1);
  const found = Array.from({ length: 200 }, (_, seed) => trendOf(noise(seed, 30, 0))!).filter(({ isSignificant }) => isSignificant);
  expect(found.length).toBeLessThan(8);
  expect(trendOf(noise(2, 30, 0).with(29, 50_000))!.isSignificant).toBe(false);
  expect(trendOf(noise(3, 7, 1))).toBeNull();
  expect(trendOf([...noise(4, 10, 1), null, null])!.isSignificant).toBe(true);
});

test("a drift is noted where more than half of the valid rounds have it, with its direction", () => {
  const [rising, falling, flat] = [noise(1, 20, 0.3), noise(2, 20, -0.3), noise(3, 20, 0)];
  expect(driftNotes({ id: "h1", rounds: [round(rising), round(rising), round(flat)] })).toEqual([
    expect.stringMatching(/^h1: not steady: TTFT p50 rises by 2\d% from the beginning of a round to its end, in 2 of 3 rounds$/),
  ]);
  expect(driftNotes({ id: "h1", rounds: [round(falling)] })[0]).toMatch(/TTFT p50 falls by 3\d%/);
  expect(driftNotes({ id: "h1", rounds: [round(rising), round(flat), round(flat)] })).toEqual([]);
  expect(driftNotes({ id: "h1", rounds: [round(rising, ["disturbed"]), round(flat)] })).toEqual([]);
  // A real change of less than 5% is not worth a word.
  expect(driftNotes({ id: "h1", rounds: [round(Array.from({ length: 20 }, (_, i) => 1000 + i))] })).toEqual([]);
});
