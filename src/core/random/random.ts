/**
 * Seeded randomness. A seed of two 32-bit words and a purpose give an independent stream of numbers,
 * the same on every platform.
 */

/** Mixes 32 bits (the finaliser of MurmurHash3, by Austin Appleby, public domain). */
function mix32(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** 64 bits of seed as two signed 32-bit words: of an unsigned one beyond 31 bits V8 would make an object. */
export interface Seed {
  readonly high: number;
  readonly low: number;
}

/** The seed that an integer names. Integers up to 2^53 in size all differ. */
export function seedOf(value: number): Seed {
  const size = Math.abs(value);
  const high = Math.floor(size / 0x1_0000_0000) + (value < 0 ? 0x8000_0000 : 0);
  return { high: high | 0, low: size | 0 };
}

/** The seed of request `index` under a server's seed. Never equal to a seed that an integer up to 2^53 names. */
export function seedOfRequest(server: Seed, index: number): Seed {
  return {
    high: mix32(server.high ^ mix32(server.low ^ 0x9e3779b9) ^ Math.floor(index / 0x1_0000_0000)) | 0x4000_0000 | 0,
    low: (mix32(server.low) + index) | 0,
  };
}

/** What a stream of random numbers is for: streams of one seed and different purposes are independent. */
export const purpose = {
  text: 1,
  length: 2,
  ttft: 3,
  itl: 4,
  identity: 5,
  schema: 6,
  tools: 7,
  logprobs: 8,
  embedding: 9,
  fault: 20,
  faultChoice: 21,
  step: 22,
} as const;

/** sfc32 by Chris Doty-Humphrey (PractRand, public domain): 128 bits of state, period at least 2^32. */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter: number;

  constructor(seed: Seed, stream: number) {
    // The rounds of `word`, in variables. Signed numbers: V8 would make an object for a field that holds more than 31 bits and a sign.
    let a = seed.low | 0;
    let b = seed.high | 0;
    let c = mix32(stream) | 0;
    for (let round = 1; round <= 12; round++) {
      const sum = (a + b + round) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + sum) | 0;
    }
    this.#a = a;
    this.#b = b;
    this.#c = c;
    this.#counter = 13;
  }

  /** An unsigned 32-bit integer. */
  word(): number {
    const sum = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
    return sum >>> 0;
  }

  /** Uniform in the open interval (0, 1): safe for a logarithm. */
  unit(): number {
    return (this.word() + 0.5) / 0x1_0000_0000;
  }

  /** A whole number from 0 to `below` - 1. */
  below(below: number): number {
    return Math.floor(this.unit() * below);
  }

  /** Standard normal (Box-Muller). */
  normal(): number {
    return Math.sqrt(-2 * Math.log(this.unit())) * Math.cos(2 * Math.PI * this.unit());
  }
}
