/**
 * Estimates with intervals from few values, one for each round. Requests and tokens of a round share its luck (heat,
 * neighbours, a late garbage collection), so a test over them would take one accident for thousands of observations.
 */

/** Confidence of every interval. */
const confidence = 0.95;

/** From this many rounds on the bootstrap is trusted: below it, its intervals are too short. */
export const bootstrapFrom = 20;

/** Resamples of a bootstrap: p is never below 2 / (resamples + 1). */
const resamples = 9999;

/** A mean with its two-sided 95% interval and the p of "it is zero". */
export interface Estimate {
  readonly estimate: number;
  readonly low: number;
  readonly high: number;
  readonly p: number;
  readonly method: "t" | "bootstrap";
}

/** Logarithm of the gamma function for x > 0: Lanczos' approximation, g = 7, 9 terms (Godfrey 2001), about 15 digits. */
function logGamma(x: number): number {
  const terms = [
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905,
    -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
  ];
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  const shifted = x - 1;
  const t = shifted + 7.5;
  const series = terms.reduce((sum, term, index) => (index === 0 ? term : sum + term / (shifted + index)));
  return 0.5 * Math.log(2 * Math.PI) + (shifted + 0.5) * Math.log(t) - t + Math.log(series);
}

/** Regularised incomplete beta function, by the continued fraction of DLMF 8.17.22 in Lentz' way. */
function incompleteBeta(x: number, a: number, b: number): number {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  // The fraction converges fast on this side only.
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(1 - x, b, a);
  const front = Math.exp(logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x)) / a;
  const nonZero = (value: number): number => (Math.abs(value) < 1e-300 ? 1e-300 : value);
  let c = 1;
  let d = 1 / nonZero(1 - ((a + b) * x) / (a + 1));
  let fraction = d;
  for (let m = 1; m < 500; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / nonZero(1 + even * d);
    c = nonZero(1 + even / c);
    fraction *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / nonZero(1 + odd * d);
    c = nonZero(1 + odd / c);
    fraction *= d * c;
    if (Math.abs(d * c - 1) < 1e-15) break;
  }
  return front * fraction;
}

/** Two-sided p of Student's t: the chance of a value at least as far from 0. `freedom` may be fractional (Welch). */
export function studentP(t: number, freedom: number): number {
  if (!Number.isFinite(t)) return 0;
  return incompleteBeta(freedom / (freedom + t * t), freedom / 2, 0.5);
}

/** The t that a share `coverage` of Student's distribution lies within, on both sides of 0: 2.776 for 0.95 and 4. */
export function studentQuantile(coverage: number, freedom: number): number {
  const p = 1 - coverage;
  let high = 1;
  while (studentP(high, freedom) > p) high *= 2;
  let low = 0;
  // Bisection, to the last bit or so.
  for (let step = 0; step < 80 && low < high; step++) {
    const middle = (low + high) / 2;
    if (studentP(middle, freedom) > p) low = middle;
    else high = middle;
  }
  return (low + high) / 2;
}

/** Mean and sample standard deviation. */
function spread(values: readonly number[]): { readonly mean: number; readonly std: number } {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { mean, std: values.length > 1 ? Math.sqrt(squares / (values.length - 1)) : 0 };
}

/** An estimate without any scatter is certain, as far as its own figures go. */
function fromT(estimate: number, error: number, freedom: number): Estimate {
  if (error === 0) return { estimate, low: estimate, high: estimate, p: estimate === 0 ? 1 : 0, method: "t" };
  const reach = studentQuantile(confidence, freedom) * error;
  return { estimate, low: estimate - reach, high: estimate + reach, p: studentP(estimate / error, freedom), method: "t" };
}

/** Mulberry32 by Tommy Ettinger (public domain): uniform in [0, 1), the same everywhere. */
function uniform(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let h = Math.imul(state ^ (state >>> 15), 1 | state);
    h = (h + Math.imul(h ^ (h >>> 7), 61 | h)) ^ h;
    return ((h ^ (h >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

/** Studentised bootstrap (Efron and Tibshirani 1993, chapter 12.5): equal tails, and the p that belongs to its interval. */
function fromBootstrap(values: readonly number[], mean: number, std: number, seed: number): Estimate {
  const size = values.length;
  const random = uniform(seed);
  const statistics: number[] = [];
  while (statistics.length < resamples) {
    let sum = 0;
    let squares = 0;
    for (let index = 0; index < size; index++) {
      const distance = (values[Math.floor(random() * size)] ?? mean) - mean;
      sum += distance;
      squares += distance * distance;
    }
    const shift = sum / size;
    const variance = (squares - size * shift * shift) / (size - 1);
    // A resample of one value over and over has no scale, and is drawn again.
    if (variance > std * std * 1e-12) statistics.push(shift / Math.sqrt(variance / size));
  }
  statistics.sort((a, b) => a - b);
  const error = std / Math.sqrt(size);
  const at = (share: number): number => statistics[Math.round(share * (resamples + 1)) - 1] ?? 0;
  const tail = (1 - confidence) / 2;
  const observed = mean / error;
  const above = statistics.filter((value) => value >= observed).length + 1;
  const below = statistics.filter((value) => value <= observed).length + 1;
  return {
    estimate: mean,
    low: mean - at(1 - tail) * error,
    high: mean - at(tail) * error,
    p: Math.min(1, (2 * Math.min(above, below)) / (resamples + 1)),
    method: "bootstrap",
  };
}

/**
 * Mean of one value per round: a t-interval below 20 rounds, from 20 a studentised bootstrap (seeded: the same values
 * always give the same interval). Null for fewer than two values.
 * `resolution` is the standard deviation that the measure's own steps give: rounds that agree to the last step of their
 * histogram are not for that reason certain.
 */
export function estimateMean(values: readonly number[], resolution = 0, seed = 1): Estimate | null {
  if (values.length < 2) return null;
  const { mean, std } = spread(values);
  if (values.length >= bootstrapFrom && std > resolution) return fromBootstrap(values, mean, std, seed);
  return fromT(mean, Math.max(std, resolution) / Math.sqrt(values.length), values.length - 1);
}

/** A median with its two-sided interval of 95% at least. */
export interface MedianEstimate {
  readonly estimate: number;
  readonly low: number;
  readonly high: number;
}

/** From so many values on a median has an interval of 95%: of five, the least and the greatest miss it in one of sixteen samples. */
export const medianFrom = 6;

/**
 * The median with its interval by order statistics (Conover 1999, section 3.2): the narrowest pair of values, as many places from
 * either end, that holds the median of whatever distribution in 95% of samples. A few values that are far off do not move it.
 * Null below six values.
 */
export function estimateMedian(values: readonly number[]): MedianEstimate | null {
  const count = values.length;
  if (count < medianFrom) return null;
  const sorted = values.toSorted((a, b) => a - b);
  // Chance that fewer than `rank` values lie below the median: binomial, n and one half.
  let term = 2 ** -count;
  let tail = term;
  let rank = 1;
  while (true) {
    term *= (count - rank + 1) / rank;
    if (2 * (tail + term) > 1 - confidence) break;
    tail += term;
    rank++;
  }
  const middle = count / 2;
  const estimate = (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2;
  return { estimate, low: sorted[rank - 1]!, high: sorted[count - rank]! };
}

/** Difference of two means of unpaired rounds, `b` minus `a`: Welch's t. Null where either has fewer than two values. */
export function estimateDifference(a: readonly number[], b: readonly number[], resolution = 0): Estimate | null {
  if (a.length < 2 || b.length < 2) return null;
  const [from, to] = [spread(a), spread(b)];
  const [fromError, toError] = [Math.max(from.std, resolution) ** 2 / a.length, Math.max(to.std, resolution) ** 2 / b.length];
  const error = Math.sqrt(fromError + toError);
  // Welch-Satterthwaite.
  const freedom = (fromError + toError) ** 2 / (fromError ** 2 / (a.length - 1) + toError ** 2 / (b.length - 1));
  return fromT(to.mean - from.mean, error, freedom);
}

/** Holm's step-down adjustment (1979): with it, a family of true nulls declares any difference in at most 5% of families. */
export function holm(ps: readonly number[]): number[] {
  const order = ps.map((_, index) => index).sort((a, b) => (ps[a] ?? 0) - (ps[b] ?? 0));
  const adjusted = Array.from(ps);
  let highest = 0;
  for (const [rank, index] of order.entries()) {
    highest = Math.max(highest, Math.min(1, (ps[index] ?? 1) * (ps.length - rank)));
    adjusted[index] = highest;
  }
  return adjusted;
}
