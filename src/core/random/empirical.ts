/** Distributions as they were recorded. */
import type { Distribution } from "./distribution.ts";
import type { Random } from "./random.ts";

/** Values that were counted together: `count` of them between `low` and `high`, evenly as far as anybody knows. */
export type Counted = readonly [low: number, high: number, count: number];

/** What was recorded, drawn by the inverse of its distribution function. `counted` in rising order, not empty. */
export function empirical(spec: string, counted: readonly Counted[]): Distribution {
  const ends = new Float64Array(counted.length);
  let total = 0;
  for (const [index, [, , count]] of counted.entries()) ends[index] = total += count;
  const only = counted.length === 1 && counted[0]![0] === counted[0]![1] ? counted[0]![0] : null;
  return {
    spec,
    constant: only,
    sample(random: Random): number {
      const rank = random.unit() * total;
      let first = 0;
      let last = ends.length - 1;
      while (first < last) {
        const middle = (first + last) >>> 1;
        if (ends[middle]! > rank) last = middle;
        else first = middle + 1;
      }
      const [low, high, count] = counted[first]!;
      return low + ((high - low) * (rank - (ends[first]! - count))) / count;
    },
  };
}

/** Single values as `empirical` takes them. */
export function countedValues(values: readonly number[]): Counted[] {
  const counted: [number, number, number][] = [];
  for (const value of values.toSorted((a, b) => a - b)) {
    const last = counted.at(-1);
    if (last !== undefined && last[0] === value) last[2]++;
    else counted.push([value, value, 1]);
  }
  return counted;
}
