/**
 * Two results beside each other: what changed from run A to run B. Rounds of two runs have nothing in common, so they are not
 * paired. The verdict is made in `verdict.ts`.
 */
import { resolution, validRounds, valueIn } from "./arms.ts";
import { sameScenario, scenarioLabel } from "./scenarios.ts";
import { estimateDifference } from "./statistics.ts";
import type { ArmResult, BenchResult, Comparison, Environment, MetricName, MetricSummary, ScenarioResult, Statistic } from "./types.ts";
import { adjustComparisons, type ComparisonSpec, decided, notCompared, ofUnequalWork } from "./verdict.ts";
import { unequalWork } from "./work.ts";

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
  /** Why a result, or an arm of it, may not be used, each reason in one line. */
  readonly invalid: readonly string[];
  /** What B ran and nothing in A could be held against, each in one line with the reason. Empty: all of B was compared. */
  readonly missing: readonly string[];
  /** What a reader should know beside the figures: machines that differ, scenarios that B did not run. */
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

/** Why a result may not be used in a comparison, each reason in one line that begins with its name. */
export function faultsOfResult(name: string, { complete, invalid }: BenchResult): string[] {
  return [...(complete ? [] : [`${name} is incomplete: it was interrupted`]), ...invalid.map((reason) => `${name} is invalid: ${reason}`)];
}

/**
 * Result B against result A, arm by arm. Rounds of two runs have nothing in common, so they are not paired: Welch's t on
 * the logarithms of the rounds' values. Holm runs over all comparisons of the two results.
 */
export function compareResults(a: BenchResult, b: BenchResult): ResultsComparison {
  const notes = unlikeRuns(a.environment, b.environment);
  const invalid = new Set([...faultsOfResult("A", a), ...faultsOfResult("B", b)]);
  const missing: string[] = [];
  const places: Omit<RunComparison, "comparison">[] = [];
  const comparisons: Comparison[] = [];
  for (const scenario of b.scenarios) {
    const { id, variant } = scenario;
    const other = sameScenario(a, scenario);
    const reason = notInBoth(other, scenario);
    if (reason !== null) missing.push(`${scenarioLabel(scenario)}: ${reason}`);
    if (other === undefined || reason !== null) continue;
    for (const arm of scenario.arms) {
      const where = `${scenarioLabel(scenario)}, ${arm.id}`;
      const before = other.arms.find((candidate) => candidate.id === arm.id);
      if (before === undefined) {
        missing.push(`${where}: in B only`);
        continue;
      }
      const faults = [...faultsOfArm("A", before), ...faultsOfArm("B", arm)];
      for (const fault of faults) invalid.add(`${where} is ${fault}`);
      const made = metricsOf(scenario)
        .map(([metric, statistic]) => compareRuns(before, arm, metric, statistic))
        .filter((comparison) => comparison !== null);
      comparisons.push(...made);
      places.push(...made.map(() => ({ scenario: id, variant, arm: arm.id })));
      if (faults.length === 0) missing.push(...gapsIn(made).map((gap) => `${where}: ${gap}`));
    }
    for (const { id: arm } of other.arms)
      if (!scenario.arms.some((twin) => twin.id === arm)) missing.push(`${scenarioLabel(scenario)}, ${arm}: in A only`);
  }
  const left = a.scenarios.filter((scenario) => sameScenario(b, scenario) === undefined).map(scenarioLabel);
  if (left.length > 0) notes.push(`in A only: ${left.join(", ")}`);
  const final = adjustComparisons(comparisons);
  const list = places.flatMap((place, index) => {
    const comparison = final[index];
    return comparison === undefined ? [] : [{ ...place, comparison }];
  });
  if (list.length === 0 && missing.length === 0) missing.push("no scenario is in both results");
  const regressions = list.filter(({ comparison }) => comparison.verdict === "slower");
  return { comparisons: list, regressions, invalid: [...invalid], missing, notes };
}

/** Why a scenario of B cannot be compared at all, or null. One that neither run could run lacks nothing. */
function notInBoth(a: ScenarioResult | undefined, b: ScenarioResult): string | null {
  if (a === undefined) return "in B only";
  if (a.skipped !== null || b.skipped !== null) {
    if (a.skipped !== null && b.skipped !== null) return null;
    return a.skipped === null ? `not run in B: ${b.skipped}` : `not run in A: ${a.skipped}`;
  }
  const unlike = unlikeWorkloads(a.workload, b.workload);
  return unlike.length === 0 ? null : `the workloads differ: ${unlike.join(", ")}`;
}

/**
 * What differs between two workloads: "streams 50 and 20". The number of rounds is the size of the sample and no work, and
 * what the warm-up finds out (the rate at a share of the capacity, the requests of a duration) differs by its nature.
 */
function unlikeWorkloads(a: ScenarioResult["workload"], b: ScenarioResult["workload"]): string[] {
  const found = new Set(["rounds"]);
  const has = (key: string): boolean => (a[key] ?? null) !== null && (b[key] ?? null) !== null;
  if (has("rateOfCapacity")) found.add("rate");
  if (has("durationS")) found.add("requests");
  const names = [...new Set([...Object.keys(a), ...Object.keys(b)])].filter((name) => !found.has(name));
  return names
    .filter((name) => (a[name] ?? null) !== (b[name] ?? null))
    .map((name) => `${name} ${a[name] ?? "none"} and ${b[name] ?? "none"}`);
}

function faultsOfArm(name: "A" | "B", { invalid }: ArmResult): string[] {
  return invalid.map((reason) => `invalid in ${name}: ${reason}`);
}

/** What an arm has no verdict in, by reason: "ttft.p50, itl.mean and 3 more: one round on one side: no interval". */
function gapsIn(comparisons: readonly Comparison[]): string[] {
  if (comparisons.length === 0) return ["nothing was measured in either run"];
  const reasons = new Map<string, string[]>();
  for (const { metric, statistic, verdict, reason } of comparisons) {
    if (verdict !== "not compared") continue;
    const why = reason ?? "no reason given";
    reasons.set(why, [...(reasons.get(why) ?? []), `${metric}.${statistic}`]);
  }
  return [...reasons].map(([reason, names]) => {
    if (names.length === comparisons.length) return reason;
    const more = names.length - 2;
    return `${names.slice(0, 2).join(", ")}${more > 0 ? ` and ${more} more` : ""}: ${reason}`;
  });
}

/** Without repetition, and in a fixed order. */
function metricsOf(scenario: ScenarioResult): (readonly [MetricName, Statistic])[] {
  const own = scenario.comparisons.map(({ metric, statistic }) => [metric, statistic] as const);
  return [...own, ...runMetrics].filter(
    ([metric, statistic], index, all) => all.findIndex((other) => other[0] === metric && other[1] === statistic) === index,
  );
}

/** Differences between two machines, or what is loaded, that may explain a difference of the figures. */
function unlikeRuns(a: Environment, b: Environment): string[] {
  const names = ["cpu", "cores", "os", "kernel", "node", "pinned", "target"] as const;
  return names.filter((name) => a[name] !== b[name]).map((name) => `${name} differs: ${a[name]} and ${b[name]}`);
}

/** Why two arms of one name did not do the same thing, or null. */
function unlikeArms(a: ArmResult, b: ArmResult): string | null {
  const plan = ["protocol", "engine", "driver", "connections", "streams"] as const;
  const name = plan.find((key) => a[key] !== b[key]);
  if (name !== undefined) return `${name} differs: ${a[name]} and ${b[name]}`;
  if (a.cipher !== b.cipher) return `ciphers differ: ${a.cipher} and ${b.cipher}`;
  return a.rttMs === b.rttMs ? null : `round-trip times differ: ${a.rttMs} and ${b.rttMs} ms`;
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
  const unlike = unlikeArms(before, after);
  if (unlike !== null) return notCompared(spec, rounds, unlike);
  const unequal = unequalWork(before.work, after.work);
  if (unequal.length > 0) return ofUnequalWork(spec, unequal);
  if (rounds === 0) return notCompared(spec, 0, `measured in ${from.length > 0 ? "A" : "B"} only`);
  if (rounds === 1) return notCompared(spec, 1, `one valid round in ${from.length === 1 ? "A" : "B"}: no interval`);
  const all = [...from, ...to];
  const step = resolution(all, statistic, summaries);
  const positive = all.every((value) => value > 0);
  const log = (values: readonly number[]): number[] => values.map((value) => Math.log(value));
  const ratios = positive ? estimateDifference(log(from), log(to), step / Math.min(...all)) : null;
  return decided(spec, rounds, ratios, estimateDifference(from, to, step));
}
