/**
 * From single values to a `MetricSummary`, and from several summaries to one, without ever averaging a percentile.
 *
 * Distributions are HDR histograms (Gil Tene, https://hdrhistogram.github.io): whole microseconds, 3 significant digits
 * (a bucket is at most 0.1% wide), up to 24 hours. Mean, standard deviation, minimum and maximum are kept beside them
 * from the values as given, so quantisation touches percentiles alone. A percentile is nearest rank, and within a bucket
 * its highest value, as HDR defines it: never better than what was measured.
 */
import { build, decodeFromCompressedBase64, encodeIntoCompressedBase64, type Histogram, JsHistogram } from "hdr-histogram-js";
import type { MetricSummary, Unit } from "./types.ts";

/** 24 hours in microseconds: the largest value a histogram holds. */
const largest = 86_400_000_000;

function newHistogram(): Histogram {
  return build({
    bitBucketSize: 64,
    autoResize: false,
    lowestDiscernibleValue: 1,
    highestTrackableValue: largest,
    numberOfSignificantValueDigits: 3,
  });
}

/** Collects the values of one metric. About 220 kB each. */
export class Recorder {
  readonly unit: Unit;
  readonly #histogram: Histogram = newHistogram();
  #count = 0;
  #clamped = 0;
  #rejected = 0;
  #min = Infinity;
  #max = -Infinity;
  // Sums of distances from the first value, and of their squares: sums of squares of the values themselves would cancel.
  #first = 0;
  #sum = 0;
  #squares = 0;

  constructor(unit: Unit) {
    this.unit = unit;
  }

  /**
   * Records a value in the recorder's unit. Hot path: allocates nothing and never throws.
   * Negative values (a clock that ran backwards, a token sent before it was due) count as 0, values over 24 hours as
   * 24 hours, and both are counted in `clamped`. NaN and infinities are left out and counted in `rejected`.
   */
  record(value: number): void {
    if (!(value >= 0 && value <= largest)) {
      if (!Number.isFinite(value)) {
        this.#rejected++;
        return;
      }
      this.#clamped++;
      value = value < 0 ? 0 : largest;
    }
    this.#histogram.recordValue(Math.round(value));
    if (this.#count++ === 0) this.#first = value;
    const distance = value - this.#first;
    this.#sum += distance;
    this.#squares += distance * distance;
    if (value < this.#min) this.#min = value;
    if (value > this.#max) this.#max = value;
  }

  /** Values recorded, clamped ones included and rejected ones left out. */
  get count(): number {
    return this.#count;
  }

  /** Values that were below 0 or above 24 hours. */
  get clamped(): number {
    return this.#clamped;
  }

  /** Values that were not numbers: anything but 0 is a mistake of the caller. */
  get rejected(): number {
    return this.#rejected;
  }

  /** Forgets everything, for the next round. */
  reset(): void {
    this.#histogram.reset();
    this.#count = this.#clamped = this.#rejected = 0;
    this.#min = Infinity;
    this.#max = -Infinity;
    this.#first = this.#sum = this.#squares = 0;
  }

  /** The summary, or null where nothing was recorded: a metric that was not seen is null, never 0. */
  summary(): MetricSummary | null {
    if (this.#count === 0) return null;
    const mean = this.#first + this.#sum / this.#count;
    const squares = Math.max(0, this.#squares - (this.#sum * this.#sum) / this.#count);
    return histogramSummary(this.unit, this.#histogram, { count: this.#count, mean, squares, min: this.#min, max: this.#max });
  }
}

/** What is known exactly, beside the histogram. `squares` is the sum of squared distances from the mean. */
interface Moments {
  readonly count: number;
  readonly mean: number;
  readonly squares: number;
  readonly min: number;
  readonly max: number;
}

/** Sample standard deviation (n - 1); 0 for a single value. */
function deviation({ count, squares }: Moments): number {
  return count > 1 ? Math.sqrt(squares / (count - 1)) : 0;
}

/** `at` gives percentiles, by the share of values below them. */
function summaryOf(unit: Unit, moments: Moments, at: (share: number) => number, histogram: string | null): MetricSummary {
  const { count, mean, min, max } = moments;
  return {
    unit,
    count,
    mean,
    std: deviation(moments),
    min,
    p50: at(0.5),
    p90: at(0.9),
    p95: at(0.95),
    p99: at(0.99),
    p999: at(0.999),
    max,
    histogram,
  };
}

function histogramSummary(unit: Unit, histogram: Histogram, moments: Moments): MetricSummary {
  return summaryOf(unit, moments, (share) => percentileIn(histogram, share * 100, moments), encodeIntoCompressedBase64(histogram));
}

/** A bucket reaches beyond the values in it: no percentile leaves what was measured. */
function percentileIn(histogram: Histogram, percentile: number, { min, max }: Pick<Moments, "min" | "max">): number {
  return Math.min(max, Math.max(min, histogram.getValueAtPercentile(percentile)));
}

/** Value at a nearest rank: the smallest one that `share` of all values do not exceed. */
function nearestRank(sorted: readonly number[], share: number): number {
  // 0.95 * 20 is a little over 19 in floating point.
  const rank = Math.ceil(share * sorted.length - 1e-9);
  return sorted[Math.min(sorted.length, Math.max(1, rank)) - 1] ?? 0;
}

function momentsOf(values: readonly number[]): Moments {
  const count = values.length;
  const first = values[0] ?? 0;
  const mean = first + values.reduce((sum, value) => sum + (value - first), 0) / count;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { count, mean, squares, min: values.reduce((a, b) => Math.min(a, b)), max: values.reduce((a, b) => Math.max(a, b)) };
}

/** Exact summary of few values, one per round mostly, without a histogram. Null for none; values that are no numbers are left out. */
export function summarize(values: readonly number[], unit: Unit): MetricSummary | null {
  const sorted = values.filter((value) => Number.isFinite(value)).sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  return summaryOf(unit, momentsOf(sorted), (share) => nearestRank(sorted, share), null);
}

/** Moments of two sets taken together (Chan, Golub, LeVeque 1979). */
function together(a: Moments, b: Moments): Moments {
  const count = a.count + b.count;
  const shift = b.mean - a.mean;
  return {
    count,
    mean: a.mean + (shift * b.count) / count,
    squares: a.squares + b.squares + (shift * shift * a.count * b.count) / count,
    min: Math.min(a.min, b.min),
    max: Math.max(a.max, b.max),
  };
}

/**
 * One summary of all values behind several. Histograms are added and percentiles read anew; scalars (one value each) are
 * pooled. Null for an empty list, and where percentiles cannot be known: a summary of several values without histogram.
 * @throws Error where units differ or a histogram cannot be decoded.
 */
export function mergeSummaries(list: readonly MetricSummary[]): MetricSummary | null {
  const [head, ...rest] = list.filter((summary) => summary.count > 0);
  if (head === undefined) return null;
  for (const { unit } of rest) {
    if (unit !== head.unit) throw new Error(`cannot merge a metric in ${unit} with one in ${head.unit}`);
  }
  if (rest.length === 0) return head;
  const all = [head, ...rest];
  if (all.every(({ count, histogram }) => count === 1 && histogram === null)) {
    return summarize(
      all.map(({ mean }) => mean),
      head.unit,
    );
  }
  const total = newHistogram();
  for (const { histogram, count, mean } of all) {
    if (histogram !== null) total.add(decodeHistogram(histogram));
    else if (count === 1 && mean >= 0 && mean <= largest) total.recordValue(Math.round(mean));
    else return null;
  }
  const moments = all
    .map(({ count, mean, std, min, max }): Moments => ({ count, mean, squares: std * std * (count - 1), min, max }))
    .reduce(together);
  return histogramSummary(head.unit, total, moments);
}

/** @throws Error in one line where the text is no HDR histogram. */
function decodeHistogram(text: string): Histogram {
  try {
    return decodeFromCompressedBase64(text, 64);
  } catch (error) {
    throw new Error(`not an HDR histogram: ${text.slice(0, 16)}...`, { cause: error });
  }
}

/** Values that share a bucket of a histogram: `count` from `low` to `high`, in the metric's unit. */
export type Bucket = readonly [low: number, high: number, count: number];

/**
 * What a histogram counted, in rising order; no bucket reaches beyond the least and the largest value.
 * @throws Error where the summary has none, or it cannot be decoded.
 */
export function bucketsOf({ histogram, min, max }: MetricSummary): Bucket[] {
  const decoded = decodeHistogram(histogram ?? "");
  if (!(decoded instanceof JsHistogram)) throw new Error("not a histogram of this process");
  const buckets: Bucket[] = [];
  const iterator = decoded.recordedValuesIterator;
  iterator.reset();
  while (iterator.hasNext()) {
    const { valueIteratedTo, countAddedInThisIterationStep } = iterator.next();
    const low = decoded.lowestEquivalentValue(valueIteratedTo);
    const high = decoded.nextNonEquivalentValue(valueIteratedTo);
    const inside = (value: number): number => Math.min(max, Math.max(min, value));
    // Whole units stand for what was rounded to them.
    buckets.push(high - low === 1 ? [low, low, countAddedInThisIterationStep] : [inside(low), inside(high), countAddedInThisIterationStep]);
  }
  return buckets;
}

/** One point of a percentile curve: `share` of all values, from 0 to below 1, do not exceed `value`. */
export interface CurvePoint {
  readonly share: number;
  readonly value: number;
}

/**
 * The distribution as HDR plots show it: ten points for each tenfold of 1/(1-share), up to the last value.
 * Null for scalars.
 * @throws Error where the histogram cannot be decoded.
 */
export function percentileCurve(summary: MetricSummary): CurvePoint[] | null {
  if (summary.histogram === null) return null;
  const histogram = decodeHistogram(summary.histogram);
  const points: CurvePoint[] = [];
  const tenfolds = Math.log10(Math.max(2, summary.count));
  const steps = Math.ceil(tenfolds * 10);
  for (let step = 0; step <= steps; step++) {
    const share = 1 - 10 ** -Math.min(step / 10, tenfolds);
    points.push({ share, value: percentileIn(histogram, share * 100, summary) });
  }
  return points;
}
