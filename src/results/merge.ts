/** Several runs of one suite, one after the other or on machines of their own, taken as one. Parts of one load are merged in `shards.ts`. */
import { summarizeArm } from "./arms.ts";
import { compareArms } from "./compare.ts";
import { withFinalVerdicts } from "./final.ts";
import { checkRequirements, parseRequirement } from "./requirements.ts";
import { sameScenario, scenarioLabel } from "./scenarios.ts";
import { sweepResult } from "./sweeps.ts";
import type { ArmResult, BenchResult, Calibration, RoundResult, ScenarioResult } from "./types.ts";

/** Why two runs cannot become one, in a line, or null. */
function unmergeable(a: BenchResult, b: BenchResult): string | null {
  // A file of another version has passed no schema of ours: nothing else in it can be trusted.
  if (a.kind !== b.kind || a.schemaVersion !== b.schemaVersion) return `schema versions differ: ${a.schemaVersion} and ${b.schemaVersion}`;
  const atOnce = ranAtOnce(a, b);
  if (atOnce !== null) return atOnce;
  if (a.suite !== b.suite) return `suites differ: ${a.suite} and ${b.suite}`;
  if (a.startedAt === b.startedAt && JSON.stringify(a.environment) === JSON.stringify(b.environment)) {
    return `the same run twice, started at ${a.startedAt}`;
  }
  const names = (result: BenchResult): string => result.scenarios.map(scenarioLabel).toSorted().join(", ");
  if (names(a) !== names(b)) return `scenarios differ: ${names(a)}; and ${names(b)}`;
  for (const scenario of a.scenarios) {
    const other = sameScenario(b, scenario);
    if (other === undefined || scenario.skipped !== null || other.skipped !== null) continue;
    const label = scenarioLabel(scenario);
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

/**
 * Why two results are parts of one load and no rounds of one experiment, or null. Taken as rounds they would count twice what happened
 * once (pseudo-replication: Hurlbert 1984), with intervals that are too narrow and rates that are not added.
 */
function ranAtOnce(a: BenchResult, b: BenchResult): string | null {
  const hint = "fakeai merge --shards takes them as parts of one load";
  const shard = [a, b].find((result) => result.shard !== undefined)?.shard;
  if (shard !== undefined) return `shard ${shard.shard} of ${shard.of} is a part of a load and no run of its own: ${hint}`;
  const begin = ({ startedAt }: BenchResult): number => Date.parse(startedAt);
  const end = (result: BenchResult): number => begin(result) + result.durationS * 1000;
  const isServer = a.environment.target === b.environment.target && /^https?:/.test(a.environment.target);
  return isServer && begin(a) < end(b) && begin(b) < end(a)
    ? `both ran at once against ${a.environment.target}, begun at ${a.startedAt} and ${b.startedAt}: each was a part of the load that the other met, and their rounds are none of each other (fakeai bench --shard makes parts that can be merged)`
    : null;
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
  const scenarios = withFinalVerdicts(merged);
  const calibrations = list.map(({ calibration }) => calibration).filter((calibration) => calibration !== null);
  const texts = new Set(list.flatMap(({ requirements }) => requirements.map(({ text }) => text)));
  return {
    ...first,
    durationS: list.reduce((sum, { durationS }) => sum + durationS, 0),
    complete: list.every(({ complete }) => complete),
    environments: list.flatMap(({ environment, environments }) => environments ?? [environment]),
    calibration: calibrations.length === 0 ? null : mergeCalibrations(calibrations),
    scenarios,
    ...(first.sweeps === undefined ? {} : { sweeps: first.sweeps.map((sweep) => sweepResult(sweep, scenarios)) }),
    requirements: checkRequirements([...texts].map(parseRequirement), scenarios),
    invalid: [...new Set(list.flatMap(({ invalid }) => invalid))],
  };
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
  const limits: Record<string, number> = {};
  for (const { limitTokensPerSecond } of list)
    for (const [protocol, limit] of Object.entries(limitTokensPerSecond)) limits[protocol] = Math.min(limit, limits[protocol] ?? Infinity);
  return { rows: list.flatMap(({ rows }) => rows), limitTokensPerSecond: limits };
}
