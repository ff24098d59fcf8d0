/** Unit vectors that follow from model and text alone, for the embeddings of every provider. */
import { purpose, Random, type Seed } from "../../core/random/random.ts";

/** About the bytes of a printed number. */
export const bytesOfNumber = 13;
/** Bases kept, one per number of dimensions. */
const basesKept = 8;

/** A unit vector's magnitudes, and the same as decimals. */
interface Basis {
  readonly magnitudes: Float32Array;
  readonly texts: readonly string[];
}

const bases = new Map<number, Basis>();

/**
 * The magnitudes that every vector of so many dimensions has, each in an order and with signs of its own: order and
 * signs change no length, and a large batch costs no logarithm and no formatting of numbers.
 */
function basisOf(dimensions: number): Basis {
  let basis = bases.get(dimensions);
  if (basis === undefined) {
    if (bases.size === basesKept) bases.delete(bases.keys().next().value!);
    const random = new Random({ high: 0, low: dimensions }, purpose.embedding);
    const values = Array.from({ length: dimensions }, () => Math.abs(random.normal()));
    const length = Math.hypot(...values);
    const magnitudes = Float32Array.from(values, (value) => value / length);
    basis = { magnitudes, texts: Array.from(magnitudes, (value) => value.toFixed(9)) };
    bases.set(dimensions, basis);
  }
  return basis;
}

function gcd(a: number, b: number): number {
  return b === 0 ? a : gcd(b, a % b);
}

/** Calls `take` with the index into the basis and the sign of each element, in order. */
function walk(seed: Seed, dimensions: number, take: (index: number, isNegative: boolean) => void): void {
  const random = new Random(seed, purpose.embedding);
  let index = random.below(dimensions);
  let stride = 1 + random.below(dimensions);
  while (gcd(stride, dimensions) !== 1) stride++;
  let signs = 0;
  for (let i = 0; i < dimensions; i++) {
    if (i % 32 === 0) signs = random.word();
    take(index, ((signs >>> (i % 32)) & 1) === 1);
    index = (index + stride) % dimensions;
  }
}

/** JSON of a vector in base64, as little-endian floats of 32 bits. */
export function base64Of(seed: Seed, dimensions: number): string {
  const { magnitudes } = basisOf(dimensions);
  const vector = new Float32Array(dimensions);
  let at = 0;
  walk(seed, dimensions, (index, isNegative) => {
    vector[at++] = isNegative ? -magnitudes[index]! : magnitudes[index]!;
  });
  return JSON.stringify(Buffer.from(vector.buffer).toString("base64"));
}

/** The numbers of a vector, as JSON has them, without brackets. */
export function decimalsOf(seed: Seed, dimensions: number, separator: string): string {
  const { texts } = basisOf(dimensions);
  let json = "";
  walk(seed, dimensions, (index, isNegative) => {
    json += (json === "" ? "" : separator) + (isNegative ? "-" : "") + texts[index]!;
  });
  return json;
}

/** FNV-1a over model and text, twice, for 64 bits. */
export function seedOfText(model: string, text: string): Seed {
  let low = 0x811c9dc5;
  let high = 0xcbf29ce4;
  for (const part of [model, "\0", text]) {
    for (let i = 0; i < part.length; i++) {
      const code = part.charCodeAt(i);
      low = Math.imul(low ^ code, 0x01000193);
      high = Math.imul(high ^ code ^ (low >>> 15), 0x01000193);
    }
  }
  return { high: high >>> 0, low: low >>> 0 };
}

/** JSON of the vector of a text. */
export function vectorJson(model: string, text: string, dimensions: number): string {
  return `[${decimalsOf(seedOfText(model, text), dimensions, ",")}]`;
}
