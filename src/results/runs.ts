/** Whole results beside each other: what changed between two runs, and several runs taken as one. */
import {
  adjustComparisons,
  compareArms,
  type ComparisonSpec,
  decided,
  judgeClaim,
  notCompared,
  resolution,
  smallestEffectOf,
  summarizeArm,
  validRounds,
  valueIn,
} from "./compare.ts";
import { checkRequirements, parseRequirement } from "./requirements.ts";
import { estimateDifference } from "./statistics.ts";
import type {
  ArmResult,
  BenchResult,
  Calibration,
  Comparison,
  MetricName,
  MetricSummary,
  ProtocolName,
  RoundResult,
  ScenarioResult,
  Statistic,
} from "./types.ts";

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
    const label = labelOf(scenario);
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
  for (const scenario of a.scenarios) if (sameScenario(b, scenario) === undefined) notes.push(`${labelOf(scenario)} is in A only`);
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

/** What keeps two results from being compared with an easy mind. */
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
    smallestEffect: smallestEffectOf(metric),
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

/** Why two runs cannot become one, in a line, or null. */
function unmergeable(a: BenchResult, b: BenchResult): string | null {
  // A file of another version has passed no schema of ours: nothing else in it can be trusted.
  if (a.kind !== b.kind || a.schemaVersion !== b.schemaVersion) return `schema versions differ: ${a.schemaVersion} and ${b.schemaVersion}`;
  if (a.suite !== b.suite) return `suites differ: ${a.suite} and ${b.suite}`;
  if (a.startedAt === b.startedAt && JSON.stringify(a.environment) === JSON.stringify(b.environment)) {
    return `the same run twice, started at ${a.startedAt}`;
  }
  const names = (result: BenchResult): string => result.scenarios.map(labelOf).toSorted().join(", ");
  if (names(a) !== names(b)) return `scenarios differ: ${names(a)}; and ${names(b)}`;
  for (const scenario of a.scenarios) {
    const other = sameScenario(b, scenario);
    if (other === undefined || scenario.skipped !== null || other.skipped !== null) continue;
    const label = labelOf(scenario);
    if (JSON.stringify(scenario.workload) !== JSON.stringify(other.workload)) return `${label}: workloads differ`;
    const arms = (result: ScenarioResult): string => result.arms.map(({ id }) => id).join(", ");
    if (arms(scenario) !== arms(other)) return `${label}: arms differ: ${arms(scenario)}; and ${arms(other)}`;
    for (const [index, arm] of scenario.arms.entries()) {
      const twin = other.arms[index];
      for (const key of ["protocol", "engine", "role", "driver", "connections", "streams", "negotiated", "cipher", "rttMs"] as const) {
        if (twin !== undefined && arm[key] !== twin[key]) return `${label}, arm ${arm.id}: ${key} differs: ${arm[key]} and ${twin[key]}`;
      }
    }
  }
  return null;
}

function labelOf({ id, variant }: ScenarioResult): string {
  return variant === "" ? id : `${id} (${variant})`;
}

function sameScenario(result: BenchResult, { id, variant }: ScenarioResult): ScenarioResult | undefined {
  return result.scenarios.find((scenario) => scenario.id === id && scenario.variant === variant);
}

/**
 * Several runs of the same suite, on one machine or more, as one: their rounds side by side (renumbered, and still paired
 * within their run), histograms added, every interval, verdict, claim and requirement made anew. `environment` is the
 * first run's and `environments` has all of them.
 * @throws Error in one line where the runs do not fit together.
 */
export function mergeResults(list: readonly BenchResult[]): BenchResult {
  const [first, ...rest] = list;
  if (first === undefined || rest.length === 0) throw new Error("merging takes two results or more");
  for (const [index, result] of list.entries()) {
    for (const earlier of list.slice(0, index)) {
      const reason = unmergeable(earlier, result);
      if (reason !== null) throw new Error(`cannot merge: ${reason}`);
    }
  }
  const merged = first.scenarios.map((scenario) => {
    const parts = list.map((result) => sameScenario(result, scenario)).filter((part) => part !== undefined);
    return mergeScenario(parts, scenario);
  });
  // One family over the whole suite, as when it was run.
  const adjusted = adjustComparisons(merged.flatMap(({ comparisons }) => comparisons));
  const scenarios: ScenarioResult[] = [];
  let taken = 0;
  for (const scenario of merged) {
    const comparisons = adjusted.slice(taken, taken + scenario.comparisons.length);
    taken += comparisons.length;
    const claims = scenario.claims.map((claim) => judgeClaim(claim, twinOf(claim.comparison, comparisons)));
    scenarios.push({ ...scenario, comparisons, claims });
  }
  const calibrations = list.map(({ calibration }) => calibration).filter((calibration) => calibration !== null);
  const texts = new Set(list.flatMap(({ requirements }) => requirements.map(({ text }) => text)));
  return {
    ...first,
    durationS: list.reduce((sum, { durationS }) => sum + durationS, 0),
    complete: list.every(({ complete }) => complete),
    environments: list.flatMap(({ environment, environments }) => environments ?? [environment]),
    calibration: calibrations.length === 0 ? null : mergeCalibrations(calibrations),
    scenarios,
    requirements: checkRequirements([...texts].map(parseRequirement), scenarios),
    invalid: [...new Set(list.flatMap(({ invalid }) => invalid))],
  };
}

/** The comparison of the same arms in the same metric. */
function twinOf(comparison: Comparison | null, among: readonly Comparison[]): Comparison | null {
  if (comparison === null) return null;
  const key = ({ metric, statistic, baseline, candidate }: Comparison): string => [metric, statistic, baseline, candidate].join(" ");
  return among.find((other) => key(other) === key(comparison)) ?? null;
}

function mergeScenario(all: readonly ScenarioResult[], first: ScenarioResult): ScenarioResult {
  const parts = all.filter(({ skipped }) => skipped === null);
  const [head] = parts;
  if (head === undefined) return first;
  const missing = all.length - parts.length;
  const arms = head.arms.map((arm, index): ArmResult => {
    const rounds: RoundResult[] = [];
    const invalid = new Set<string>();
    for (const part of parts) {
      const twin = part.arms[index];
      // An arm's numbers go on where the longest arm of the run before ends, so that pairs stay pairs.
      const from = offsetOf(parts, part);
      for (const round of twin?.rounds ?? []) rounds.push({ ...round, round: from + round.round });
      for (const reason of twin?.invalid ?? []) invalid.add(reason);
    }
    return summarizeArm(arm, rounds, { negotiated: arm.negotiated, cipher: arm.cipher, rttMs: arm.rttMs, invalid: [...invalid] });
  });
  const notes = new Set(parts.flatMap((part) => part.notes));
  if (missing > 0) notes.add(`skipped in ${missing} of ${all.length} merged runs`);
  return { ...head, arms, comparisons: head.comparisons.map((comparison) => compareArms(arms, comparison)), notes: [...notes] };
}

function offsetOf(parts: readonly ScenarioResult[], part: ScenarioResult): number {
  const span = ({ arms }: ScenarioResult): number => Math.max(0, ...arms.flatMap(({ rounds }) => rounds.map(({ round }) => round + 1)));
  return parts.slice(0, parts.indexOf(part)).reduce((sum, earlier) => sum + span(earlier), 0);
}

/** All rows; the limit is the weakest machine's. */
function mergeCalibrations(list: readonly Calibration[]): Calibration {
  const limits: Partial<Record<ProtocolName, number>> = {};
  for (const { limitTokensPerSecond } of list) {
    for (const [name, limit] of Object.entries(limitTokensPerSecond)) {
      const protocol = name as ProtocolName;
      limits[protocol] = Math.min(limit, limits[protocol] ?? Infinity);
    }
  }
  return { rows: list.flatMap(({ rows }) => rows), limitTokensPerSecond: limits };
}
