/** Whether rounds were steady from beginning to end, from their slices. */
import type { RoundResult, RunSlices } from "./types.ts";

/** Slices that a trend needs. */
const leastSlices = 8;
/** Two-sided 1% of the normal distribution: with three columns of an arm, one false trend in about 30 arms and rounds. */
const significantZ = 2.576;
/** Share of the median that a drift over a round has at least, to be worth a word. */
const leastDrift = 0.05;

const columns: readonly (readonly [key: "ttftP50Us" | "itlP50Us" | "e2elP50Us", label: string])[] = [
  ["ttftP50Us", "TTFT p50"],
  ["itlP50Us", "ITL p50"],
  ["e2elP50Us", "E2E latency p50"],
];

/** A trend of one column over a round. */
export interface Trend {
  /** From the first slice to the last, by the column's median: 0.1 is a rise of 10%. */
  readonly change: number;
  readonly isSignificant: boolean;
}

/**
 * The trend of a series: Mann-Kendall's test (Mann 1945, Kendall 1975) says whether there is one, Theil and Sen's slope (Sen 1968)
 * how large it is. Both look at ranks and pairs, so that a single slow slice decides nothing. Null for too few values.
 */
export function trendOf(values: readonly (number | null)[]): Trend | null {
  const points = values.flatMap((value, at) => (value === null ? [] : [{ at, value }]));
  const n = points.length;
  if (n < leastSlices) return null;
  const slopes: number[] = [];
  let s = 0;
  for (let i = 0; i < n; i++)
    for (let j = i + 1; j < n; j++) {
      const difference = points[j]!.value - points[i]!.value;
      s += Math.sign(difference);
      slopes.push(difference / (points[j]!.at - points[i]!.at));
    }
  // Ties shrink the variance; without that correction the test only errs on the quiet side.
  const z = (s - Math.sign(s)) / Math.sqrt((n * (n - 1) * (2 * n + 5)) / 18);
  const middle = median(points.map(({ value }) => value));
  if (middle <= 0) return null;
  return { change: (median(slopes) * (points.at(-1)!.at - points[0]!.at)) / middle, isSignificant: Math.abs(z) > significantZ };
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** Latencies that drift one way in more than half of an arm's valid rounds, each in one line; empty: none does, or it is not known. */
export function driftNotes({ id, rounds }: { readonly id: string; readonly rounds: readonly RoundResult[] }): string[] {
  const sliced = rounds
    .filter(({ invalid }) => invalid.length === 0)
    .flatMap(({ slices }): RunSlices[] => (slices === undefined ? [] : [slices]));
  return columns.flatMap(([key, label]) => {
    const trends = sliced.flatMap((slices) => trendOf(slices[key]) ?? []);
    const drifting = trends.filter(({ change, isSignificant }) => isSignificant && Math.abs(change) >= leastDrift);
    return [1, -1].flatMap((sign) => {
      const same = drifting.filter(({ change }) => Math.sign(change) === sign);
      if (2 * same.length <= trends.length) return [];
      const by = Math.round(Math.abs(median(same.map(({ change }) => change))) * 100);
      const word = sign > 0 ? "rises" : "falls";
      return [
        `${id}: not steady: ${label} ${word} by ${by}% from the beginning of a round to its end, in ${same.length} of ${trends.length} rounds`,
      ];
    });
  });
}
