import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { countUnits, type Distribution, latencyUnits, parseDistribution, SpecError } from "../../../src/core/random/distribution.ts";
import { purpose, Random, seedOf, seedOfRequest } from "../../../src/core/random/random.ts";
import { independentSchedule, unstreamedSchedule } from "../../../src/core/pacing/schedule.ts";

const latency = (spec: string | number): Distribution => parseDistribution(spec, latencyUnits("--ttft"));

function samples(distribution: Distribution, count = 40_000): number[] {
  const random = new Random(seedOf(11), purpose.itl);
  return Array.from({ length: count }, () => distribution.sample(random));
}
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const std = (values: readonly number[]): number => Math.sqrt(mean(values.map((value) => (value - mean(values)) ** 2)));
const quantile = (values: readonly number[], p: number): number => values.toSorted((a, b) => a - b)[Math.floor(values.length * p)]!;

describe("specs", () => {
  test.each<[string | number, number]>([
    [20, 20_000],
    ["20", 20_000],
    ["20ms", 20_000],
    ["0.5", 500],
    ["500us", 500],
    ["1.5s", 1_500_000],
    [" 20 ", 20_000],
    ["20:0", 20_000],
    ["uniform(5,5)", 5000],
    ["gamma(5,0)", 5000],
    [0, 0],
  ])("%s is always %s us", (spec, us) => {
    expect(latency(spec).constant).toBe(us);
    expect(latency(spec).sample(new Random(seedOf(1), 1))).toBe(us);
  });

  test.each([
    "",
    "fast",
    "-5",
    "20:",
    "20:200",
    "20:10:3",
    "20m",
    "1e400",
    "9999999s",
    "NaN",
    "Infinity",
    "uniform(5)",
    "uniform(9,5)",
    "normal(5,-1)",
    "lognormal(5)",
    "lognormal(5,x)",
    "zipf(2)",
    "percentiles(p50=5)",
    "percentiles(p50=5,p40=9)",
    "percentiles(p50=9,p90=5)",
    "percentiles(p50=0,p90=5)",
    "percentiles(p0=1,p90=5)",
    "percentiles(50=1,90=5)",
    "toString(1)",
    "5constructor",
  ])("%s is refused in one line that names the flag", (spec) => {
    expect(() => latency(spec)).toThrow(SpecError);
    expect(() => latency(spec)).toThrow(/^--ttft: [^\n]+\(for example [^\n]+\)$/);
  });

  test("counts have no units", () => {
    expect(parseDistribution("128", countUnits("--output-tokens", 1000)).constant).toBe(128);
    expect(() => parseDistribution("128ms", countUnits("--output-tokens", 1000))).toThrow(SpecError);
    expect(() => parseDistribution("1001", countUnits("--output-tokens", 1000))).toThrow("too large");
  });
});

describe("samples, microseconds", () => {
  test.each<[string, (values: readonly number[]) => number, number, number]>([
    ["20:10", mean, 20_000, 50],
    ["20:10", (values) => Math.min(...values), 18_000, 20],
    ["20:10", (values) => Math.max(...values), 22_000, 20],
    ["uniform(10,30)", mean, 20_000, 150],
    ["normal(50,5)", mean, 50_000, 150],
    ["normal(50,5)", std, 5000, 100],
    ["lognormal(20,0.5)", (values) => quantile(values, 0.5), 20_000, 250],
    ["lognormal(20,50%)", (values) => std(values) / mean(values), 0.5, 0.02],
    ["exponential(20)", mean, 20_000, 400],
    ["exponential(20)", std, 20_000, 600],
    ["gamma(20,0.5)", mean, 20_000, 200],
    ["gamma(20,0.5)", (values) => std(values) / mean(values), 0.5, 0.01],
    ["gamma(20,2)", mean, 20_000, 900],
    ["gamma(20,2)", (values) => std(values) / mean(values), 2, 0.1],
    ["percentiles(p50=20,p90=40,p99=100)", (values) => quantile(values, 0.5), 20_000, 300],
    ["percentiles(p50=20,p90=40,p99=100)", (values) => quantile(values, 0.9), 40_000, 700],
    ["percentiles(p50=20,p90=40,p99=100)", (values) => quantile(values, 0.99), 100_000, 5000],
  ])("%s, row %#", (spec, statistic, expected, tolerance) => {
    expect(Math.abs(statistic(samples(latency(spec))) - expected)).toBeLessThan(tolerance);
  });

  test("never negative, whatever the parameters and the seed", () => {
    const number = fc.double({ min: 0, max: 1000, noNaN: true }).map((value) => value.toFixed(3));
    const spec = fc.oneof(
      fc.tuple(number, number).map(([mean, std]) => `normal(${mean},${std})`),
      fc.tuple(number, number).map(([mean, cv]) => `gamma(${mean},${cv})`),
      fc.tuple(number, number).map(([median, cv]) => `lognormal(${median},${cv})`),
      number.map((mean) => `exponential(${mean})`),
      fc.tuple(number, fc.integer({ min: 0, max: 100 })).map(([mean, spread]) => `${mean}:${spread}`),
    );
    fc.assert(
      fc.property(spec, fc.maxSafeInteger(), (text, seed) => {
        const distribution = latency(text);
        const random = new Random(seedOf(seed), purpose.itl);
        for (let i = 0; i < 50; i++) expect(distribution.sample(random)).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});

describe("seeds", () => {
  test("a stream of numbers is the same for ever", () => {
    const random = new Random(seedOf(42), purpose.text);
    expect([random.word(), random.word(), random.word()]).toEqual([561692623, 397477397, 69293903]);
  });
  test("seeds, purposes and requests differ", () => {
    const firsts = new Set<number>();
    for (const seed of [0, 1, -1, 2 ** 32, 2 ** 32 + 1, 2 ** 53 - 1, 1 - 2 ** 53]) {
      for (const stream of Object.values(purpose)) firsts.add(new Random(seedOf(seed), stream).word());
    }
    for (let index = 0; index < 1000; index++) firsts.add(new Random(seedOfRequest(seedOf(1), index), purpose.text).word());
    expect(firsts.size).toBeGreaterThan(7 * 5 + 1000 - 2);
  });
  test("below() stays below and reaches every value", () => {
    const random = new Random(seedOf(3), 1);
    const seen = new Set(Array.from({ length: 1000 }, () => random.below(10)));
    expect([...seen].toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });
});

describe("schedules", () => {
  const seed = seedOf(9);
  const dues = (ttft: string, itl: string, tokens: number): number[] => {
    const schedule = independentSchedule(seed, latency(ttft), latency(itl));
    return Array.from({ length: tokens }, (_, index) => schedule.nextDueUs(index));
  };
  test("every due time can be read without a socket", () => {
    expect(dues("100", "20", 4)).toEqual([100_000, 120_000, 140_000, 160_000]);
    expect(dues("0", "500us", 3)).toEqual([0, 500, 1000]);
  });
  test("a seed decides the latencies, and the first token's are not the gaps'", () => {
    const once = dues("lognormal(100,1)", "lognormal(20,1)", 50);
    expect(dues("lognormal(100,1)", "lognormal(20,1)", 50)).toEqual(once);
    const otherTtft = dues("7", "lognormal(20,1)", 50);
    expect(otherTtft[49]! - otherTtft[0]!).toBeCloseTo(once[49]! - once[0]!, 3);
  });
  test.each(["20", "lognormal(20,1)", "0"])("an unstreamed answer is due with the last token, ITL %s", (itl) => {
    for (const tokens of [1, 2, 60]) {
      expect(unstreamedSchedule(seed, latency("100"), latency(itl), tokens).nextDueUs(0)).toBeCloseTo(dues("100", itl, tokens).at(-1)!, 3);
    }
    expect(unstreamedSchedule(seed, latency("100"), latency(itl), 0).nextDueUs(0)).toBe(100_000);
  });
});
