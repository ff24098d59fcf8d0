/**
 * All compared metrics on one scale, for the page and as an image. Metrics of which less is better and those of which more is
 * lie on it alike: what is drawn is how many times better, so that better is to the right throughout.
 */
import { metricFacts } from "../results/metrics.ts";
import type { Comparison, Interval } from "../results/types.ts";

/** A comparison on the scale, from 0 at its left end to 1 at its right. */
export interface ForestMark {
  readonly low: number;
  readonly estimate: number;
  readonly high: number;
  /** Whether the interval goes on beyond an end of the scale. */
  readonly leaves: { readonly left: boolean; readonly right: boolean };
  /** From the middle to either end of what is too small to matter. */
  readonly zone: number;
}

/** A logarithmic scale of ratios, with no change in its middle. */
export interface ForestScale {
  /** Ratio at the right end; at the left one it is 1 by this. */
  readonly span: number;
  /** Places with their texts, from left to right. */
  readonly ticks: readonly { readonly at: number; readonly text: string }[];
}

const spans: readonly (readonly number[])[] = [
  [1.2, 1.5],
  [1.5, 2],
  [2, 4],
  [3, 10],
];

/** This share of the estimates may lie beyond the scale. */
const outside = 0.1;

/** How many times better the candidate is; null: there is no ratio. */
export function betterRatio({ metric, ratio }: Comparison): Interval | null {
  if (ratio === null || metricFacts[metric].better === "higher") return ratio;
  return { estimate: 1 / ratio.estimate, low: 1 / ratio.high, high: 1 / ratio.low };
}

/** The narrowest scale that holds almost all estimates. */
export function forestScale(comparisons: readonly Comparison[]): ForestScale {
  const sizes = comparisons.flatMap((one) => {
    const ratio = betterRatio(one);
    return ratio === null ? [] : [Math.abs(Math.log(ratio.estimate))];
  });
  const holds = (span: number): boolean => sizes.filter((size) => size > Math.log(span)).length <= outside * sizes.length;
  const steps = spans.find((one) => holds(one.at(-1)!)) ?? spans.at(-1)!;
  const span = steps.at(-1)!;
  const worse = steps.toReversed().map((ratio) => ({ at: place(1 / ratio, span), text: `${ratio}×` }));
  const better = steps.map((ratio) => ({ at: place(ratio, span), text: `${ratio}×` }));
  return { span, ticks: [...worse, { at: 0.5, text: "same" }, ...better] };
}

/** Not held to the ends of the scale. */
function place(ratio: number, span: number): number {
  return 0.5 + Math.log(ratio) / Math.log(span) / 2;
}

/** Where a comparison lies; null: it has no ratio. */
export function forestMark(comparison: Comparison, { span }: ForestScale): ForestMark | null {
  const ratio = betterRatio(comparison);
  if (ratio === null) return null;
  const [low, estimate, high] = [ratio.low, ratio.estimate, ratio.high].map((value) => place(value, span)) as [number, number, number];
  const held = (at: number): number => Math.min(1, Math.max(0, at));
  return {
    low: held(low),
    estimate: held(estimate),
    high: held(high),
    leaves: { left: low < 0, right: high > 1 },
    zone: held(place(1 + comparison.smallestEffect.ratio, span)) - 0.5,
  };
}
