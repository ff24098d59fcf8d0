/** The two-sample Kolmogorov-Smirnov test. */

/** The largest distance between the distribution functions of two samples. */
export function ksDistance(one: readonly number[], other: readonly number[]): number {
  const a = one.toSorted((x, y) => x - y);
  const b = other.toSorted((x, y) => x - y);
  let i = 0;
  let j = 0;
  let distance = 0;
  while (i < a.length && j < b.length) {
    const value = Math.min(a[i]!, b[j]!);
    while (i < a.length && a[i]! <= value) i++;
    while (j < b.length && b[j]! <= value) j++;
    distance = Math.max(distance, Math.abs(i / a.length - j / b.length));
  }
  return distance;
}

/**
 * How likely two samples of one distribution are to differ by this much or more: the limit distribution with Stephens'
 * correction (Numerical Recipes, 3rd edition, 14.3.3), good from four values on. With ties it is too cautious.
 */
export function ksP(distance: number, one: number, other: number): number {
  const root = Math.sqrt((one * other) / (one + other));
  const lambda = (root + 0.12 + 0.11 / root) * distance;
  if (lambda < 0.2) return 1;
  let sum = 0;
  for (let k = 1; k <= 100; k++) sum += 2 * (-1) ** (k - 1) * Math.exp(-2 * k * k * lambda * lambda);
  return Math.min(1, Math.max(0, sum));
}
