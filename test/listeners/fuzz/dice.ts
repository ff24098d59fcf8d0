/** Seeded choices: each case of a search has dice of its own, so that it can be made again without those before it. */
import { Random, seedOf, seedOfRequest } from "../../../src/core/random/random.ts";

/** Of its own among the purposes of random numbers. */
const stream = 101;

export class Dice {
  readonly #random: Random;

  /** Dice of one case under the seed of the whole search. */
  constructor(seed: number, number: number) {
    this.#random = new Random(seedOfRequest(seedOf(seed), number), stream);
  }

  /** A whole number from 0 to `below` - 1. */
  below(below: number): number {
    return this.#random.below(below);
  }

  /** A whole number from `least` to `most`, both included. */
  between(least: number, most: number): number {
    return least + this.#random.below(Math.max(0, most - least) + 1);
  }

  /** True once in so many. */
  oneIn(count: number): boolean {
    return this.#random.below(count) === 0;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.#random.below(values.length)]!;
  }

  /** A whole number from `least` to `most`, each order of magnitude as likely as the next. */
  size(least: number, most: number): number {
    return Math.round(Math.exp(Math.log(least) + this.#random.unit() * (Math.log(Math.max(least, most)) - Math.log(least))));
  }
}
