/** Send times of open loops, settled before the first request. */

/** `count` offsets in microseconds, one every 1/rate seconds, from 0. Throws RangeError for a rate that is not above 0. */
export function constantArrivalsUs(ratePerSecond: number, count: number): Float64Array {
  const gapUs = meanGapUs(ratePerSecond);
  return Float64Array.from({ length: count }, (_, i) => i * gapUs);
}

/**
 * `count` offsets in microseconds of a Poisson process: exponential gaps with a mean of 1/rate seconds. The first
 * request comes after the first gap. The same seed gives the same times. Throws RangeError for a rate that is not above 0.
 */
export function poissonArrivalsUs(ratePerSecond: number, count: number, seed: number): Float64Array {
  const gapUs = meanGapUs(ratePerSecond);
  const random = uniform(seed);
  let atUs = 0;
  return Float64Array.from({ length: count }, () => (atUs += -Math.log(1 - random()) * gapUs));
}

function meanGapUs(ratePerSecond: number): number {
  if (!(ratePerSecond > 0 && Number.isFinite(ratePerSecond))) throw new RangeError(`a rate is above 0 per second, not ${ratePerSecond}`);
  return 1e6 / ratePerSecond;
}

/** Uniform in [0, 1), 53 bits of two draws of splitmix32 (Steele, Lea, Flood 2014, in its 32-bit form). */
export function uniform(seed: number): () => number {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x9e37_79b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0_aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a_2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
  return () => ((next() >>> 5) * 67_108_864 + (next() >>> 6)) / 9_007_199_254_740_992;
}
