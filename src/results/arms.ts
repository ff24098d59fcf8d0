/** One arm's rounds taken together: what every report shows of it, and what comparisons read from its rounds. */
import { mergeSummaries } from "./recorder.ts";
import { estimateMean } from "./statistics.ts";
import { addWork } from "./work.ts";
import type { ArmDescription, ArmResult, Interval, MetricName, MetricSummary, RoundResult, Statistic } from "./types.ts";

/** Rounds that may be used. */
export function validRounds(arm: { readonly rounds: readonly RoundResult[] }): readonly RoundResult[] {
  return arm.rounds.filter(({ invalid }) => invalid.length === 0);
}

/** An arm by its id; undefined where it was not run. */
export function armNamed(arms: readonly ArmResult[], name: string): ArmResult | undefined {
  return arms.find(({ id }) => id === name);
}

/** A statistic of a metric in one round; null where it was not measured. */
export function valueIn(round: RoundResult, metric: MetricName, statistic: Statistic): number | null {
  const value = round.metrics[metric]?.[statistic];
  return value !== undefined && Number.isFinite(value) ? value : null;
}

/** All metrics that any of the rounds has. */
function metricNames(rounds: readonly RoundResult[]): MetricName[] {
  const names = new Set<MetricName>();
  for (const { metrics } of rounds) for (const name of Object.keys(metrics)) names.add(name as MetricName);
  return [...names];
}

/** What an arm's description lacks and only its runs tell. */
export interface ArmFindings {
  readonly negotiated: string | null;
  readonly cipher: string | null;
  readonly rttMs: number;
  /** Reasons that touch the whole arm; those of single rounds are in the rounds. */
  readonly invalid?: readonly string[];
}

/**
 * An arm with the metrics of its valid rounds together, and a 95% interval over the rounds for mean, p50, p90, p95 and p99
 * of distributions and the mean of scalars. An interval's estimate is the mean of the rounds' statistics; the percentile
 * over all requests is in `metrics`. An arm without a valid round is invalid for its rounds' reasons.
 */
export function summarizeArm(description: ArmDescription, rounds: readonly RoundResult[], findings: ArmFindings): ArmResult {
  const valid = validRounds({ rounds });
  const metrics: Partial<Record<MetricName, MetricSummary | null>> = {};
  const intervals: Record<string, Interval> = {};
  for (const name of metricNames(valid)) {
    const summaries = valid.map((round) => round.metrics[name] ?? null).filter((summary) => summary !== null);
    metrics[name] = mergeSummaries(summaries);
    const scalar = summaries.every(({ histogram }) => histogram === null);
    const statistics: Statistic[] = scalar ? ["mean"] : ["mean", "p50", "p90", "p95", "p99"];
    for (const statistic of statistics) {
      const values = valid.map((round) => valueIn(round, name, statistic)).filter((value) => value !== null);
      const estimate = estimateMean(values, resolution(values, statistic, summaries));
      if (estimate !== null) {
        const { estimate: mean, low, high } = estimate;
        intervals[`${name}.${statistic}`] = { estimate: mean, low, high };
      }
    }
  }
  const invalid = new Set(findings.invalid);
  if (valid.length === 0) for (const round of rounds) for (const reason of round.invalid) invalid.add(reason);
  if (rounds.length === 0) invalid.add("no round was run");
  const { negotiated, cipher, rttMs } = findings;
  const work = addWork(valid.map((round) => round.work));
  const counting = work?.tokensCountedBy ?? null;
  return {
    ...description,
    negotiated,
    cipher,
    rttMs,
    rounds,
    metrics,
    ...(work === undefined ? {} : { work }),
    ...(counting === null ? {} : { tokensCountedBy: counting }),
    intervals,
    invalid: [...invalid],
  };
}

/**
 * Standard deviation that the steps of a histogram put on a percentile: buckets of 1/1024, and whole units.
 * 0 for statistics that are not read from a histogram.
 */
export function resolution(values: readonly number[], statistic: Statistic, summaries: readonly MetricSummary[]): number {
  if (!statistic.startsWith("p") || summaries.every(({ histogram }) => histogram === null)) return 0;
  const largest = values.reduce((a, b) => Math.max(a, b), 0);
  return Math.max(1, largest / 1024) / Math.sqrt(12);
}
