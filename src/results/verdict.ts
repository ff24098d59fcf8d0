/**
 * What decides a verdict: this file, for two arms of a run, for two runs and for claims.
 *
 * An estimate comes with its own 95% interval, as if it were the only one, and with p, the chance of such a difference where
 * there is none. In this order:
 * 1. *equivalent*: the whole interval lies inside one bound of the smallest effect of interest (two one-sided tests at 2.5%
 *    each). `effects.ts` has the bounds; reports name the one that decided.
 * 2. *faster* or *slower*: the interval excludes "no change", the estimate exceeds the smallest effect, and p stays at most
 *    5% after Holm's adjustment over all comparisons of the suite of the same kind. So a suite of equal arms declares any
 *    difference at all in at most 5% of its runs.
 * 3. *inconclusive*: everything else, with the reason.
 *
 * What is *described* has an interval and no verdict, and is not in Holm's family: each further metric there would cost the
 * ones that a scenario was made for. Claims are judged one by one, on the interval.
 */
import { absoluteEffect, smallestEffectOf } from "./effects.ts";
import { metricFacts } from "./metrics.ts";
import { type Estimate, holm } from "./statistics.ts";
import type { Claim, ClaimResult, Comparison, Interval, MetricName, Statistic, WorkPart } from "./types.ts";

/** What may be declared a difference: adjusted p at most this. */
const significance = 0.05;

/** What is compared. */
export interface ComparisonSpec {
  readonly metric: MetricName;
  readonly statistic: Statistic;
  /** Ids of the arms. */
  readonly baseline: string;
  readonly candidate: string;
  /** That of `effects.ts`, unless said. */
  readonly smallestEffect?: Comparison["smallestEffect"];
  readonly kind: Comparison["kind"];
  readonly described?: boolean;
  /** What the arms' work may differ in. */
  readonly varies?: readonly WorkPart[];
}

type Compared = Pick<Comparison, "metric" | "statistic" | "baseline" | "candidate" | "smallestEffect" | "kind" | "described" | "varies">;

/** What a comparison takes over from its spec, whatever else the caller's object carries. */
function compared({ metric, statistic, baseline, candidate, smallestEffect, kind, described, varies = [] }: ComparisonSpec): Compared {
  const effect = smallestEffect ?? smallestEffectOf(metric, statistic);
  return {
    metric,
    statistic,
    baseline,
    candidate,
    smallestEffect: effect,
    kind,
    ...(described ? { described } : {}),
    ...(varies.length > 0 ? { varies } : {}),
  };
}

/** A comparison that could not be made, and why. */
export function notCompared(spec: ComparisonSpec, rounds: number, reason: string): Comparison {
  return { ...compared(spec), ratio: null, difference: null, rounds, method: null, pRaw: null, p: null, verdict: "not compared", reason };
}

/** A comparison of arms that did unequal work: it makes the run invalid. `differences` are those of `unequalWork`. */
export function ofUnequalWork(spec: ComparisonSpec, differences: readonly string[]): Comparison {
  return { ...notCompared(spec, 0, `unequal work: ${differences.join("; ")}`), unequalWork: true };
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

function intervalOf({ estimate, low, high }: Estimate): Interval {
  return { estimate, low, high };
}

/** The comparison with the verdict that its interval, p and smallest effect give. */
function judged(comparison: Comparison): Comparison {
  const { ratio, difference, p, metric, described } = comparison;
  if (described) return { ...comparison, p: null, verdict: "described", reason: null };
  if (p === null || difference === null) return comparison;
  if (negligibleBy(comparison) !== null) return { ...comparison, verdict: "equivalent", reason: null };
  const inconclusive = (reason: string): Comparison => ({ ...comparison, verdict: "inconclusive", reason });
  const excludesNoChange = ratio === null ? difference.low > 0 || difference.high < 0 : ratio.low > 1 || ratio.high < 1;
  if (!excludesNoChange) return inconclusive("the interval is too wide");
  if (tooSmallBy(comparison) !== null) return inconclusive("a difference, but its estimate is below the smallest effect of interest");
  if (p > significance) return inconclusive("not significant beside the suite's other comparisons");
  const isHigher = ratio === null ? difference.estimate > 0 : ratio.estimate > 1;
  const isBetter = isHigher === (metricFacts[metric].better === "higher");
  return { ...comparison, verdict: isBetter ? "faster" : "slower", reason: null };
}

/** The bound of the smallest effect that a difference stays below: a share, or an amount; none: there is no difference at all. */
export type EffectBound = "relative" | "absolute" | "none";

type Effect = Pick<Comparison, "ratio" | "difference" | "smallestEffect">;

/** The bound that the whole interval lies inside, the relative one first: what makes a comparison equivalent. null: neither. */
export function negligibleBy({ ratio, difference, smallestEffect }: Effect): EffectBound | null {
  if (difference === null) return null;
  if (difference.low === 0 && difference.high === 0) return "none";
  const most = 1 + smallestEffect.ratio;
  if (ratio !== null && ratio.low > 1 / most && ratio.high < most) return "relative";
  const absolute = absoluteEffect(smallestEffect);
  return absolute !== null && difference.low > -absolute && difference.high < absolute ? "absolute" : null;
}

/** The bound that the estimate does not exceed, the relative one first. null: it exceeds both. */
export function tooSmallBy({ ratio, difference, smallestEffect }: Effect): EffectBound | null {
  if (difference === null) return null;
  const most = 1 + smallestEffect.ratio;
  if (ratio !== null && ratio.estimate <= most && ratio.estimate >= 1 / most) return "relative";
  const absolute = absoluteEffect(smallestEffect);
  return absolute !== null && Math.abs(difference.estimate) <= absolute ? "absolute" : null;
}

/**
 * Final verdicts of a suite, in the order given: p by Holm over all comparisons of one kind that are to have a verdict.
 * Comparisons about protocols, engines and clients answer different questions, so each kind is a family of its own.
 * Applying it again changes nothing.
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
 * A claim against its comparison. The measured gain is the share of time, bytes or CPU that is saved (1 - ratio: "20% faster"
 * takes 20% less time), and for rates the share that is added (ratio - 1). Reproduced: the whole interval is at the claimed
 * gain or above. Refuted: the whole interval is below it.
 */
export function judgeClaim(claim: Claim, comparison: Comparison | null): ClaimResult {
  const { text, source, gain, conditions } = claim;
  const stated = { text, source, gain, ...(conditions === undefined ? {} : { conditions }) };
  const ratio = comparison?.ratio ?? null;
  if (comparison === null || ratio === null || comparison.verdict === "not compared") {
    const reason = comparison?.reason ?? (comparison === null ? "its arms were not run" : "no ratio: a round's value is 0");
    return { ...stated, comparison, measured: null, verdict: "not compared", reason };
  }
  const measured =
    metricFacts[comparison.metric].better === "higher"
      ? { estimate: ratio.estimate - 1, low: ratio.low - 1, high: ratio.high - 1 }
      : { estimate: 1 - ratio.estimate, low: 1 - ratio.high, high: 1 - ratio.low };
  const outcome = { ...stated, comparison, measured, reason: null };
  if (measured.low >= gain) return { ...outcome, verdict: "reproduced" };
  if (measured.high < gain) return { ...outcome, verdict: "refuted" };
  return { ...outcome, verdict: "inconclusive", reason: "the interval holds the claimed gain" };
}
