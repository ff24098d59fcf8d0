/**
 * Two results beside each other: what changed from run A to run B. Rounds of two runs have nothing in common, so they are not
 * paired. The verdict is made in `verdict.ts`.
 */
import { resolution, validRounds, valueIn } from "./arms.ts";
import { sameScenario, scenarioLabel } from "./scenarios.ts";
import { estimateDifference } from "./statistics.ts";
import type { ArmResult, BenchResult, Comparison, MetricName, MetricSummary, ScenarioResult, Statistic } from "./types.ts";
import { adjustComparisons, type ComparisonSpec, decided, notCompared } from "./verdict.ts";

/** One metric of one arm in two results. */
export interface RunComparison {
  readonly scenario: string;
  readonly variant: string;
  readonly arm: string;
  /** `baseline` is "A" and `candidate` "B". */
  readonly comparison: Comparison;
}

/** Two results side by side. */
export interface ResultsComparison {
  readonly comparisons: readonly RunComparison[];
  /** Those of `comparisons` that are slower beyond the smallest effect. */
  readonly regressions: readonly RunComparison[];
  /** What is in one result only, and what makes the two unlike. */
  readonly notes: readonly string[];
}

/** What two runs are compared in, beside the metrics that a scenario itself compares. */
const runMetrics: readonly (readonly [MetricName, Statistic])[] = [
  ["ttft", "p50"],
  ["ttft", "p99"],
  ["itl", "mean"],
  ["itl", "p99"],
  ["e2el", "p50"],
  ["requestsPerSecond", "mean"],
  ["tokensPerSecond", "mean"],
  ["serverCpuUsPerRequest", "mean"],
  ["serverCpuUsPerToken", "mean"],
  ["bytesReceivedPerRequest", "mean"],
  ["bytesSentPerRequest", "mean"],
];

/**
 * Result B against result A, arm by arm. Rounds of two runs have nothing in common, so they are not paired: Welch's t on
 * the logarithms of the rounds' values. Holm runs over all comparisons of the two results.
 */
export function compareResults(a: BenchResult, b: BenchResult): ResultsComparison {
  const notes = unlikeRuns(a, b);
  const places: Omit<RunComparison, "comparison">[] = [];
  const comparisons: Comparison[] = [];
  for (const scenario of b.scenarios) {
    const { id, variant } = scenario;
    const label = scenarioLabel(scenario);
    const other = sameScenario(a, scenario);
    if (other === undefined) {
      notes.push(`${label} is in B only`);
      continue;
    }
    if (JSON.stringify(other.workload) !== JSON.stringify(scenario.workload)) {
      notes.push(`${label} is not compared: the workloads differ`);
      continue;
    }
    for (const arm of scenario.arms) {
      const before = other.arms.find((candidate) => candidate.id === arm.id);
      if (before === undefined) notes.push(`${label}: arm ${arm.id} is in B only`);
      else {
        for (const [metric, statistic] of metricsOf(scenario)) {
          const comparison = compareRuns(before, arm, metric, statistic);
          if (comparison === null) continue;
          comparisons.push(comparison);
          places.push({ scenario: id, variant, arm: arm.id });
        }
      }
    }
    for (const arm of other.arms) if (!scenario.arms.some(({ id }) => id === arm.id)) notes.push(`${label}: arm ${arm.id} is in A only`);
  }
  for (const scenario of a.scenarios) if (sameScenario(b, scenario) === undefined) notes.push(`${scenarioLabel(scenario)} is in A only`);
  const final = adjustComparisons(comparisons);
  const list = places.flatMap((place, index) => {
    const comparison = final[index];
    return comparison === undefined ? [] : [{ ...place, comparison }];
  });
  return { comparisons: list, regressions: list.filter(({ comparison }) => comparison.verdict === "slower"), notes };
}

/** Without repetition, and in a fixed order. */
function metricsOf(scenario: ScenarioResult): (readonly [MetricName, Statistic])[] {
  const own = scenario.comparisons.map(({ metric, statistic }) => [metric, statistic] as const);
  return [...own, ...runMetrics].filter(
    ([metric, statistic], index, all) => all.findIndex((other) => other[0] === metric && other[1] === statistic) === index,
  );
}

/** Differences between two runs that may explain a difference of their figures. */
function unlikeRuns(a: BenchResult, b: BenchResult): string[] {
  const notes: string[] = [];
  for (const name of ["cpu", "cores", "kernel", "node", "pinned"] as const) {
    if (a.environment[name] !== b.environment[name]) notes.push(`${name} differs: ${a.environment[name]} and ${b.environment[name]}`);
  }
  for (const [name, result] of [
    ["A", a],
    ["B", b],
  ] as const) {
    if (!result.complete) notes.push(`${name} is incomplete: it was interrupted`);
  }
  return notes;
}

/** Null where neither run measured the metric. */
function compareRuns(before: ArmResult, after: ArmResult, metric: MetricName, statistic: Statistic): Comparison | null {
  const spec: ComparisonSpec = {
    metric,
    statistic,
    baseline: "A",
    candidate: "B",
    kind: "protocol",
  };
  const summaries: MetricSummary[] = [];
  const [from, to] = [before, after].map((arm) =>
    validRounds(arm).flatMap((round) => {
      const value = valueIn(round, metric, statistic);
      const summary = round.metrics[metric];
      if (value === null || !summary) return [];
      summaries.push(summary);
      return [value];
    }),
  );
  if (from === undefined || to === undefined || (from.length === 0 && to.length === 0)) return null;
  const rounds = Math.min(from.length, to.length);
  for (const [name, arm] of [
    ["A", before],
    ["B", after],
  ] as const) {
    const [reason] = arm.invalid;
    if (reason !== undefined) return notCompared(spec, rounds, `${arm.id} is invalid in ${name}: ${reason}`);
  }
  if (before.cipher !== after.cipher) return notCompared(spec, rounds, `ciphers differ: ${before.cipher} and ${after.cipher}`);
  if (before.rttMs !== after.rttMs) return notCompared(spec, rounds, `round-trip times differ: ${before.rttMs} and ${after.rttMs} ms`);
  if (rounds === 0) return notCompared(spec, 0, `${metric} was measured on one side only`);
  if (rounds === 1) return notCompared(spec, 1, "one round on one side: no interval");
  const all = [...from, ...to];
  const step = resolution(all, statistic, summaries);
  const positive = all.every((value) => value > 0);
  const log = (values: readonly number[]): number[] => values.map((value) => Math.log(value));
  const ratios = positive ? estimateDifference(log(from), log(to), step / Math.min(...all)) : null;
  return decided(spec, rounds, ratios, estimateDifference(from, to, step));
}
