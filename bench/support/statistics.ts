/** Figures over rounds: quantiles, and ratios of measurements that were made in turns. */
import { studentQuantile } from "../../src/results/statistics.ts";

/** Values from the least to the most. */
export const ascending = (values: readonly number[]): number[] => values.toSorted((a, b) => a - b);

export const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** By nearest rank, as in results: the least value that `share` of all do not exceed. `sorted` is ascending. */
export const quantile = (sorted: readonly number[], share: number): number => sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]!;

/** The middle value; of an even number of values the mean of the two in the middle. */
export function median(values: readonly number[]): number {
  const sorted = ascending(values);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** "0.21 (0.20 to 0.24)": the median of the rounds, and their least and most. */
export function spread(values: readonly number[], digits: number): string {
  return `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)} to ${Math.max(...values).toFixed(digits)})`;
}

export interface Ratio {
  /** Geometric mean of the rounds' ratios. */
  readonly ratio: number;
  /** 95% interval: Student's t on the logarithms of the rounds' ratios. */
  readonly low: number;
  readonly high: number;
  readonly median: number;
  readonly rounds: number;
}

/** `over[i] / under[i]` of rounds that ran side by side. At least two rounds. */
export function pairedRatio(over: readonly number[], under: readonly number[]): Ratio {
  const logs = over.map((value, round) => Math.log(value / under[round]!));
  const n = logs.length;
  const center = mean(logs);
  const variance = logs.reduce((sum, log) => sum + (log - center) ** 2, 0) / (n - 1);
  const half = studentQuantile(0.95, n - 1) * Math.sqrt(variance / n);
  return {
    ratio: Math.exp(center),
    low: Math.exp(center - half),
    high: Math.exp(center + half),
    median: Math.exp(median(logs)),
    rounds: n,
  };
}
