/**
 * Distributions of latencies and lengths, and the little language that names them:
 * `20`, `20ms`, `500us`, `1.5s`, `20:10` (mean, +-10% uniform), `uniform(a,b)`, `normal(mean,std)`,
 * `lognormal(median,cv)`, `exponential(mean)`, `gamma(mean,cv)`, `percentiles(p50=..,p90=..,p99=..)`.
 */
import type { Random } from "./random.ts";

/** A source of non-negative numbers. */
export interface Distribution {
  /** As it was asked for, for people to read. */
  readonly spec: string;
  /** The single value it always gives, or null where it varies. */
  readonly constant: number | null;
  /** Hot path. Never negative. */
  sample(random: Random): number;
}

/** A spec that cannot be read; the message is one line and says what would be right. */
export class SpecError extends Error {}

/** What the plain numbers in a spec mean. */
export interface SpecUnits {
  /** What the spec describes, for error messages: "--ttft". */
  readonly name: string;
  /** How many result units one plain number is: 1000 where `20` is 20 ms and results are microseconds. */
  readonly plain: number;
  /** Suffixes and what each is worth in result units. */
  readonly suffixes: Readonly<Record<string, number>>;
  /** The largest value allowed, in result units. */
  readonly max: number;
  /** An example to show. */
  readonly example: string;
}

const oneDayUs = 86_400_000_000;

/** Latencies: a plain number is milliseconds, results are microseconds. */
export function latencyUnits(name: string): SpecUnits {
  return {
    name,
    plain: 1000,
    suffixes: { us: 1, ms: 1000, s: 1_000_000 },
    max: oneDayUs,
    example: "20, 20ms, 500us, 20:10 or lognormal(20,0.5)",
  };
}

/** Counts of tokens: no suffixes. */
export function countUnits(name: string, max: number): SpecUnits {
  return { name, plain: 1, suffixes: {}, max, example: "128, 128:20 or lognormal(128,0.5)" };
}

/** Reads a spec. Throws SpecError with a one-line message. */
export function parseDistribution(text: string | number, units: SpecUnits): Distribution {
  const words = new SpecWords(String(text).trim(), units);
  const call = /^([a-z]+)\((.*)\)$/i.exec(words.spec);
  return call === null ? plainDistribution(words) : namedDistribution(call[1]!.toLowerCase(), call[2]!.split(","), words);
}

/** Reads the words of one spec, in its units. */
class SpecWords {
  readonly spec: string;
  readonly #units: SpecUnits;

  constructor(spec: string, units: SpecUnits) {
    this.spec = spec;
    this.#units = units;
  }

  fail(why: string, where = ` in "${shorten(this.spec)}"`): never {
    throw new SpecError(`${this.#units.name}: ${why}${where} (for example ${this.#units.example})`);
  }

  /** A number with or without a suffix, in result units. */
  value(word: string): number {
    const units = this.#units;
    const match = /^(\d+(?:\.\d*)?|\.\d+)([a-z]*)$/.exec(word.trim().toLowerCase());
    if (!match && word.trim().startsWith("-")) return this.fail("negative value");
    if (!match) return this.fail(`cannot read "${shorten(word.trim())}"`, word.trim() === this.spec ? "" : undefined);
    const suffix = match[2]!;
    const scale =
      suffix === "" ? units.plain : Object.hasOwn(units.suffixes, suffix) ? units.suffixes[suffix]! : this.fail(`unknown unit "${suffix}"`);
    const result = Number(match[1]) * scale;
    return result <= units.max ? result : this.fail("value too large");
  }

  /** `0.5` or `50%`; `what` names it in a complaint. */
  ratio(word: string, what: string): number {
    const match = /^(\d+(?:\.\d*)?|\.\d+)(%?)$/.exec(word.trim());
    if (!match) return this.fail(`cannot read the ${what} "${shorten(word.trim())}"`);
    return Number(match[1]) / (match[2] === "%" ? 100 : 1);
  }
}

/** `20` or `20:10`: a value, or a mean and the percentage around it. */
function plainDistribution(words: SpecWords): Distribution {
  const { spec } = words;
  const parts = spec.split(":");
  if (parts.length > 2) words.fail("more than one ':'");
  const mean = words.value(parts[0]!);
  if (parts.length === 1) return constant(spec, mean);
  const spread = words.ratio(parts[1]!.replace(/%$/, ""), "variance") / 100;
  if (spread > 1) words.fail("a variance over 100%");
  return spread === 0 ? constant(spec, mean) : uniform(spec, mean * (1 - spread), mean * (1 + spread));
}

/** `name(parameters)`. */
function namedDistribution(name: string, parameters: readonly string[], words: SpecWords): Distribution {
  const { spec } = words;
  const need = (count: number, form: string): void => {
    if (parameters.length !== count) words.fail(`${name} takes ${form}`);
  };
  switch (name) {
    case "uniform": {
      need(2, "(low,high)");
      const low = words.value(parameters[0]!);
      const high = words.value(parameters[1]!);
      if (low > high) words.fail("low is above high");
      return uniform(spec, low, high);
    }
    case "normal": {
      need(2, "(mean,std)");
      const mean = words.value(parameters[0]!);
      const std = words.value(parameters[1]!);
      return varying(spec, (random) => Math.max(0, mean + std * random.normal()));
    }
    case "lognormal": {
      need(2, "(median,cv)");
      const median = words.value(parameters[0]!);
      const sigma = Math.sqrt(Math.log1p(words.ratio(parameters[1]!, "cv") ** 2));
      return varying(spec, (random) => median * Math.exp(sigma * random.normal()));
    }
    case "exponential": {
      need(1, "(mean)");
      const mean = words.value(parameters[0]!);
      return varying(spec, (random) => -mean * Math.log(random.unit()));
    }
    case "gamma": {
      need(2, "(mean,cv)");
      const mean = words.value(parameters[0]!);
      const cv = words.ratio(parameters[1]!, "cv");
      if (cv === 0) return constant(spec, mean);
      const shape = 1 / (cv * cv);
      return varying(spec, (random) => (mean / shape) * gamma(random, shape));
    }
    case "percentiles":
      return percentiles(
        words,
        parameters.map((word) => point(word, words)),
      );
    default:
      return words.fail(`unknown distribution "${shorten(name)}"`);
  }
}

function shorten(text: string): string {
  const shown = text.replace(/[^\x20-\x7e]/g, "?");
  return shown.length > 60 ? `${shown.slice(0, 57)}...` : shown;
}

function constant(spec: string, value: number): Distribution {
  return { spec, constant: value, sample: () => value };
}

function varying(spec: string, sample: (random: Random) => number): Distribution {
  return { spec, constant: null, sample };
}

function uniform(spec: string, low: number, high: number): Distribution {
  return low === high ? constant(spec, low) : varying(spec, (random) => low + (high - low) * random.unit());
}

/** A standard gamma variate (Marsaglia and Tsang, "A simple method for generating gamma variables", 2000). */
function gamma(random: Random, shape: number): number {
  if (shape < 1) return gamma(random, shape + 1) * random.unit() ** (1 / shape);
  const d = shape - 1 / 3;
  const c = 1 / Math.sqrt(9 * d);
  for (;;) {
    const x = random.normal();
    const v = (1 + c * x) ** 3;
    if (v > 0 && Math.log(random.unit()) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
  }
}

interface Point {
  readonly z: number;
  readonly log: number;
}

function point(word: string, words: SpecWords): Point {
  const match = /^\s*p(\d+(?:\.\d+)?)\s*=(.*)$/i.exec(word);
  if (!match) return words.fail("percentiles takes p50=..,p90=..");
  const p = Number(match[1]) / 100;
  if (!(p > 0 && p < 1)) words.fail(`p${match[1]} is not between p0 and p100`);
  const at = words.value(match[2]!);
  if (at <= 0) words.fail("a percentile must be above 0");
  return { z: normalQuantile(p), log: Math.log(at) };
}

/**
 * Through the given percentiles, straight in (normal quantile, logarithm): a lognormal between each two points.
 * Beyond the outer points the outer slopes go on, to 3.5 standard deviations at the most.
 */
function percentiles(words: SpecWords, points: readonly Point[]): Distribution {
  if (points.length < 2) words.fail("percentiles takes two or more");
  for (let i = 1; i < points.length; i++) {
    if (!(points[i]!.z > points[i - 1]!.z && points[i]!.log >= points[i - 1]!.log)) words.fail("percentiles must rise");
  }
  return varying(words.spec, (random) => {
    const z = Math.max(-3.5, Math.min(3.5, random.normal()));
    let right = 1;
    while (right < points.length - 1 && points[right]!.z < z) right++;
    const a = points[right - 1]!;
    const b = points[right]!;
    return Math.exp(a.log + ((z - a.z) / (b.z - a.z)) * (b.log - a.log));
  });
}

/** The normal quantile function, to about 1e-9 (Acklam's rational approximation, 2003). */
function normalQuantile(p: number): number {
  const a = [-3.969683028665376e1, 2.209460984245205e2, -2.759285104469687e2, 1.38357751867269e2, -3.066479806614716e1, 2.506628277459239];
  const b = [-5.447609879822406e1, 1.615858368580409e2, -1.556989798598866e2, 6.680131188771972e1, -1.328068155288572e1, 1];
  const c = [-7.784894002430293e-3, -3.223964580411365e-1, -2.400758277161838, -2.549732539343734, 4.374664141464968, 2.938163982698783];
  const d = [7.784695709041462e-3, 3.224671290700398e-1, 2.445134137142996, 3.754408661907416, 1];
  const poly = (coefficients: number[], x: number): number => coefficients.reduce((sum, coefficient) => sum * x + coefficient, 0);
  if (p > 0.97575) return -normalQuantile(1 - p);
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return poly(c, q) / poly(d, q);
  }
  const q = p - 0.5;
  return (q * poly(a, q * q)) / poly(b, q * q);
}
