/** Ratios of paired measurements. */

export interface Ratio {
  /** Geometric mean of the rounds' ratios. */
  readonly ratio: number;
  /** 95% interval: Student's t on the logarithms of the rounds' ratios. */
  readonly low: number;
  readonly high: number;
  readonly median: number;
  readonly rounds: number;
}

/** Two-sided 95% quantiles of Student's t for 1, 2, ... degrees of freedom. */
const t95 = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131, 2.12, 2.11, 2.101, 2.093, 2.086,
];

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** `over[i] / under[i]` of rounds that were run side by side. At least two rounds. */
export function pairedRatio(over: readonly number[], under: readonly number[]): Ratio {
  const logs = over.map((value, round) => Math.log(value / under[round]!));
  const n = logs.length;
  const mean = logs.reduce((sum, log) => sum + log, 0) / n;
  const variance = logs.reduce((sum, log) => sum + (log - mean) ** 2, 0) / (n - 1);
  const half = (t95[n - 2] ?? 1.96) * Math.sqrt(variance / n);
  return { ratio: Math.exp(mean), low: Math.exp(mean - half), high: Math.exp(mean + half), median: Math.exp(median(logs)), rounds: n };
}
