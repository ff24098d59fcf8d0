/**
 * Verdicts. The unit is the round: every comparison pairs two arms of one round by the logarithm of their ratio.
 *
 * How intervals and Holm relate: an interval is the comparison's own 95%, as if it were the only one. *Faster* and *slower*
 * need that interval to exclude "no change", and the p to stay below 5% after Holm's adjustment over all comparisons of the
 * suite of the same kind (protocol or engine), and the estimate to exceed the smallest effect of interest. So a suite of
 * equal arms declares any difference at all in at most 5% of its runs. What is *described* only takes no part in this: each
 * further metric in the family would cost the ones that a scenario was made for. *Equivalent* needs the interval inside the smallest
 * effect, which is two one-sided tests at 2.5% each. Claims are judged one by one, on the interval.
 */
import { metricFacts } from "./metrics.ts";
import { mergeSummaries } from "./recorder.ts";
import { type Estimate, estimateMean, holm } from "./statistics.ts";
import type {
  ArmDescription,
  ArmResult,
  Claim,
  ClaimResult,
  Comparison,
  Interval,
  MetricName,
  MetricSummary,
  RoundResult,
  Statistic,
  Verdict,
} from "./types.ts";

/** What may be declared a difference: adjusted p at most this. */
const significance = 0.05;

/** The smallest effect of interest, as the table of metrics has it. */
export function smallestEffectOf(metric: MetricName): Comparison["smallestEffect"] {
  return metricFacts[metric].smallestEffect;
}

/** Rounds that may be used. */
export function validRounds(arm: { readonly rounds: readonly RoundResult[] }): readonly RoundResult[] {
  return arm.rounds.filter(({ invalid }) => invalid.length === 0);
}

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
      if (estimate !== null) intervals[`${name}.${statistic}`] = intervalOf(estimate);
    }
  }
  const invalid = new Set(findings.invalid);
  if (valid.length === 0) for (const round of rounds) for (const reason of round.invalid) invalid.add(reason);
  if (rounds.length === 0) invalid.add("no round was run");
  const { negotiated, cipher, rttMs } = findings;
  return { ...description, negotiated, cipher, rttMs, rounds, metrics, intervals, invalid: [...invalid] };
}

function intervalOf({ estimate, low, high }: Estimate): Interval {
  return { estimate, low, high };
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

/** What is compared. */
export interface ComparisonSpec {
  readonly metric: MetricName;
  readonly statistic: Statistic;
  /** Ids of the arms. */
  readonly baseline: string;
  readonly candidate: string;
  readonly smallestEffect: Comparison["smallestEffect"];
  readonly kind: Comparison["kind"];
  readonly described?: boolean;
}

/** The spec alone, whatever else the caller's object carries. */
function compared({ metric, statistic, baseline, candidate, smallestEffect, kind, described }: ComparisonSpec): ComparisonSpec {
  return { metric, statistic, baseline, candidate, smallestEffect, kind, ...(described ? { described } : {}) };
}

/** A comparison that could not be made, and why. */
export function notCompared(spec: ComparisonSpec, rounds: number, reason: string): Comparison {
  return { ...compared(spec), ratio: null, difference: null, rounds, method: null, pRaw: null, p: null, verdict: "not compared", reason };
}

/** Why two arms cannot decide about a protocol, or null. */
function unlike(baseline: ArmResult, candidate: ArmResult): string | null {
  if (baseline.engine !== candidate.engine) return `engines differ: ${baseline.engine} and ${candidate.engine}`;
  const secure = (arm: ArmResult): boolean => arm.protocol === "h1s" || arm.protocol === "h2";
  if (secure(baseline) !== secure(candidate)) return "one side is encrypted and the other is not";
  if (baseline.cipher !== null && candidate.cipher !== null && baseline.cipher !== candidate.cipher) {
    return `ciphers differ: ${baseline.cipher} and ${candidate.cipher}`;
  }
  if (baseline.rttMs !== candidate.rttMs) return `round-trip times differ: ${baseline.rttMs} and ${candidate.rttMs} ms`;
  return null;
}

/**
 * Compares two arms by their rounds. Rounds that are invalid, or lack the metric, in either arm are left out of both.
 * The verdict is the comparison's own until `adjustComparisons` has seen the whole suite.
 */
export function compareArms(arms: readonly ArmResult[], spec: ComparisonSpec): Comparison {
  const baseline = arms.find(({ id }) => id === spec.baseline);
  const candidate = arms.find(({ id }) => id === spec.candidate);
  if (baseline === undefined || candidate === undefined) {
    return notCompared(spec, 0, `${baseline === undefined ? spec.baseline : spec.candidate} was not run`);
  }
  for (const arm of [baseline, candidate]) {
    const [reason] = arm.invalid;
    if (reason !== undefined) return notCompared(spec, 0, `${arm.id} is invalid: ${reason}`);
  }
  const difference = spec.kind === "protocol" ? unlike(baseline, candidate) : null;
  if (difference !== null) return notCompared(spec, 0, difference);
  const pairs: { readonly from: number; readonly to: number }[] = [];
  const others = new Map(validRounds(candidate).map((round) => [round.round, round]));
  const summaries: MetricSummary[] = [];
  for (const round of validRounds(baseline)) {
    const other = others.get(round.round);
    const from = valueIn(round, spec.metric, spec.statistic);
    const to = other === undefined ? null : valueIn(other, spec.metric, spec.statistic);
    if (from === null || to === null) continue;
    pairs.push({ from, to });
    for (const summary of [round.metrics[spec.metric], other?.metrics[spec.metric]]) if (summary) summaries.push(summary);
  }
  if (pairs.length === 0) return notCompared(spec, 0, `${spec.metric} was not measured on both sides`);
  if (pairs.length === 1) return notCompared(spec, 1, "one round in common: no interval");
  const from = pairs.map((pair) => pair.from);
  const to = pairs.map((pair) => pair.to);
  const step = Math.hypot(resolution(from, spec.statistic, summaries), resolution(to, spec.statistic, summaries));
  const differences = pairs.map((pair) => pair.to - pair.from);
  const positive = pairs.every((pair) => pair.from > 0 && pair.to > 0);
  const smallest = Math.min(...from, ...to);
  const ratios = positive
    ? estimateMean(
        pairs.map((pair) => Math.log(pair.to / pair.from)),
        step / smallest,
      )
    : null;
  return decided(spec, pairs.length, ratios, estimateMean(differences, step));
}

/** A comparison with its own verdict. `logRatio` is null where a round's value is not above 0: the differences decide then. */
export function decided(spec: ComparisonSpec, rounds: number, logRatio: Estimate | null, difference: Estimate | null): Comparison {
  const leading = logRatio ?? difference;
  if (leading === null) return notCompared(spec, rounds, "too few rounds: no interval");
  return judged({
    ...compared(spec),
    ratio: logRatio === null ? null : { estimate: Math.exp(logRatio.estimate), low: Math.exp(logRatio.low), high: Math.exp(logRatio.high) },
    difference: difference === null ? null : intervalOf(difference),
    rounds,
    method: leading.method,
    pRaw: leading.p,
    p: leading.p,
    verdict: "inconclusive",
    reason: null,
  });
}

/** The comparison with the verdict that its interval, p and smallest effect give. */
function judged(comparison: Comparison): Comparison {
  const { ratio, difference, p, smallestEffect, metric, described } = comparison;
  if (described) return { ...comparison, p: null, verdict: "described", reason: null };
  if (p === null || difference === null) return comparison;
  const most = 1 + smallestEffect.ratio;
  const us = smallestEffect.us;
  const negligible =
    (ratio !== null && ratio.low > 1 / most && ratio.high < most) ||
    (us !== null && difference.low > -us && difference.high < us) ||
    (difference.low === 0 && difference.high === 0);
  if (negligible) return { ...comparison, verdict: "equivalent", reason: null };
  const excludes = ratio === null ? difference.low > 0 || difference.high < 0 : ratio.low > 1 || ratio.high < 1;
  const exceeds =
    (ratio === null || ratio.estimate > most || ratio.estimate < 1 / most) && (us === null || Math.abs(difference.estimate) > us);
  let verdict: Verdict = "inconclusive";
  let reason: string | null = "the interval is too wide";
  if (excludes && !exceeds) reason = "a difference, but its estimate is below the smallest effect of interest";
  else if (excludes && p > significance) reason = "not significant beside the suite's other comparisons";
  else if (excludes) {
    const higher = ratio === null ? difference.estimate > 0 : ratio.estimate > 1;
    verdict = higher === (metricFacts[metric].better === "higher") ? "faster" : "slower";
    reason = null;
  }
  return { ...comparison, verdict, reason };
}

/**
 * Final verdicts of a suite: p by Holm over all comparisons of one kind that are to have one, in the order given.
 * Comparisons about protocols and about engines answer different questions, and each kind is a family of its own. Applying it again changes nothing.
 */
export function adjustComparisons(comparisons: readonly Comparison[]): Comparison[] {
  const adjusted = Array.from(comparisons);
  for (const kind of ["protocol", "engine", "client"] as const) {
    const family = adjusted.flatMap((comparison, index) => {
      return comparison.kind === kind && !comparison.described && comparison.pRaw !== null
        ? [{ comparison, index, p: comparison.pRaw }]
        : [];
    });
    const ps = holm(family.map(({ p }) => p));
    for (const [place, { comparison, index }] of family.entries()) adjusted[index] = judged({ ...comparison, p: ps[place] ?? 1 });
  }
  return adjusted;
}

/**
 * A claim against its comparison. The measured gain is the part of time, bytes or CPU that is saved (1 - ratio: "20% faster"
 * takes 20% less time), and for rates what is added (ratio - 1). Reproduced: the whole interval is at the claimed gain or
 * above. Refuted: the whole interval is below it.
 */
export function judgeClaim(claim: Claim, comparison: Comparison | null): ClaimResult {
  const { text, source, gain } = claim;
  const ratio = comparison?.ratio ?? null;
  if (comparison === null || ratio === null || comparison.verdict === "not compared") {
    const reason = comparison?.reason ?? (comparison === null ? "its arms were not run" : "no ratio: a round's value is 0");
    return { text, source, gain, comparison, measured: null, verdict: "not compared", reason };
  }
  const measured =
    metricFacts[comparison.metric].better === "higher"
      ? { estimate: ratio.estimate - 1, low: ratio.low - 1, high: ratio.high - 1 }
      : { estimate: 1 - ratio.estimate, low: 1 - ratio.high, high: 1 - ratio.low };
  const outcome = { text, source, gain, comparison, measured, reason: null };
  if (measured.low >= gain) return { ...outcome, verdict: "reproduced" };
  if (measured.high < gain) return { ...outcome, verdict: "refuted" };
  return { ...outcome, verdict: "inconclusive", reason: "the interval holds the claimed gain" };
}
