/** Statistics of a sample, as a range where definitions differ. */
import type { Statistic } from "./types.ts";

/**
 * A true value. Definitions of a percentile differ between the two neighbours of its place (Hyndman and Fan 1996, nine of them):
 * any value from `low` to `high` is right.
 */
export interface Range {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

const percents: Readonly<Partial<Record<Statistic, number>>> = { p50: 0.5, p90: 0.9, p95: 0.95, p99: 0.99 };

/** A statistic of values in rising order; null: there are none. */
export function statisticOf(sorted: readonly number[], statistic: Statistic): Range | null {
  const { length } = sorted;
  if (length === 0) return null;
  const exactly = (value: number): Range => ({ value, low: value, high: value });
  if (statistic === "total") return exactly(sum(sorted));
  if (statistic === "mean") return exactly(sum(sorted) / length);
  if (statistic === "min") return exactly(sorted[0]!);
  if (statistic === "max") return exactly(sorted.at(-1)!);
  const share = percents[statistic]!;
  const place = (length - 1) * share;
  const below = Math.floor(place);
  const above = Math.ceil(place);
  const value = sorted[below]! + (sorted[above]! - sorted[below]!) * (place - below);
  // Of the nine, those by n * share and (n + 1) * share reach one place further to either side.
  const low = sorted[Math.max(0, Math.min(below, Math.floor(length * share) - 1))]!;
  const high = sorted[Math.min(length - 1, Math.max(above, Math.ceil((length + 1) * share) - 1))]!;
  return { value, low, high };
}

export function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** In rising order. A run of high load has hundreds of thousands of gaps: columns of numbers sort by themselves. */
export function ascending(values: readonly number[]): number[] {
  return [...Float64Array.from(values).sort()];
}

/** How far a value lies from a range; 0 within. */
export function distance(value: number, { low, high }: Range): number {
  return value < low ? value - low : value > high ? value - high : 0;
}
