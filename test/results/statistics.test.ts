import { describe, expect, it } from "vitest";
import { compareArms } from "../../src/results/compare.ts";
import { adjustComparisons } from "../../src/results/verdict.ts";
import { estimateDifference, estimateMean, holm, studentP, studentQuantile } from "../../src/results/statistics.ts";
import type { Comparison, MetricName, Statistic } from "../../src/results/types.ts";
import { normals, type Scatter, simulatePair, type SimulatedPair } from "../support/simulation.ts";

describe("Student's t", () => {
  // NIST/SEMATECH e-Handbook 1.3.6.7.2 (three decimals) and R's qt for the rest.
  it.each([
    [0.95, 1, 12.706205],
    [0.95, 2, 4.302653],
    [0.95, 4, 2.776445],
    [0.95, 9, 2.262157],
    [0.95, 30, 2.042272],
    [0.95, 1000, 1.962339],
    [0.99, 4, 4.604095],
    [0.9, 7, 1.894579],
    [0.999, 4, 8.610302],
  ])("%f of it with %i degrees of freedom lies within %f", (coverage, freedom, quantile) => {
    expect(studentQuantile(coverage, freedom)).toBeCloseTo(quantile, 5);
    expect(studentP(quantile, freedom)).toBeCloseTo(1 - coverage, 6);
  });

  it("is exact where there is a closed form, far into the tail", () => {
    // One degree of freedom is Cauchy's distribution, two have p = 1 - t / sqrt(2 + t^2).
    for (const t of [0.01, 0.5, 1, 3, 50]) {
      expect(studentP(t, 1)).toBeCloseTo(1 - (2 / Math.PI) * Math.atan(t), 12);
      expect(studentP(t, 2)).toBeCloseTo(1 - t / Math.sqrt(2 + t * t), 12);
    }
    expect(studentP(0, 5)).toBe(1);
    expect(studentP(Infinity, 5)).toBe(0);
  });
});

describe("estimates", () => {
  it("gives a t-interval below 20 values and a bootstrap from there, the same one every time", () => {
    const few = estimateMean([1, 2, 3, 4, 5]);
    expect(few).toMatchObject({ estimate: 3, method: "t" });
    expect(few?.low).toBeCloseTo(3 - 2.776445 * Math.sqrt(0.5), 5);
    const normal = normals(1);
    const many = Array.from({ length: 20 }, () => 10 + normal());
    expect(estimateMean(many)?.method).toBe("bootstrap");
    expect(estimateMean(many)).toEqual(estimateMean(many));
  });

  it("has nothing to say about fewer than two values, and does not stumble over values all alike", () => {
    expect(estimateMean([])).toBeNull();
    expect(estimateMean([1])).toBeNull();
    expect(estimateDifference([1], [1, 2])).toBeNull();
    expect(estimateMean([0, 0, 0])).toEqual({ estimate: 0, low: 0, high: 0, p: 1, method: "t" });
    expect(estimateMean(Array.from({ length: 30 }, () => 0.5))).toMatchObject({ low: 0.5, high: 0.5, p: 0, method: "t" });
    const stepped = estimateMean([0.001, 0.001, 0.001], 0.01);
    expect(stepped?.low).toBeLessThan(0);
    expect(stepped?.p).toBeGreaterThan(0.5);
  });

  it("follows Welch where the rounds are not paired", () => {
    // Checked by hand: means 10 and 12, variances 1 and 4, n 4 and 6.
    const a = [9, 9, 11, 11].map((value) => 10 + (value - 10) * Math.sqrt(0.75));
    const b = [10, 10, 10, 14, 14, 14].map((value) => 12 + (value - 12) * Math.sqrt(5 / 6));
    const found = estimateDifference(a, b);
    const error = Math.sqrt(1 / 4 + 4 / 6);
    const freedom = error ** 4 / ((1 / 4) ** 2 / 3 + (4 / 6) ** 2 / 5);
    expect(found?.estimate).toBeCloseTo(2, 12);
    expect(found?.high).toBeCloseTo(2 + studentQuantile(0.95, freedom) * error, 8);
  });

  it("covers the truth about as often as it says, with 5 rounds and with 20 skewed ones", () => {
    const normal = normals(7);
    const covered = (size: number, draw: () => number, truth: number): number => {
      let hits = 0;
      for (let run = 0; run < 250; run++) {
        const found = estimateMean(Array.from({ length: size }, draw), 0, run);
        if (found !== null && found.low <= truth && truth <= found.high) hits++;
      }
      return hits / 250;
    };
    // 0.95 plus or minus three standard errors, and a little for the bootstrap, which is exact only for many rounds.
    const few = covered(5, normal, 0);
    expect(few).toBeGreaterThan(0.905);
    expect(few).toBeLessThan(0.995);
    const skewed = covered(20, () => Math.exp(0.5 * normal()), Math.exp(0.125));
    expect(skewed).toBeGreaterThan(0.89);
    expect(skewed).toBeLessThan(0.995);
  });

  it("adjusts by Holm, in the order given", () => {
    expect(holm([0.01, 0.04, 0.03, 0.005]).map((p) => Number(p.toFixed(12)))).toEqual([0.03, 0.06, 0.06, 0.02]);
    expect(holm([0.9, 0.8])).toEqual([1, 1]);
    expect(holm([])).toEqual([]);
  });
});

describe("campaigns of which the truth is known", () => {
  const rounds = 5;
  // Equal arms are judged under the worse luck: it is what makes false verdicts.
  const rough: Scatter = { round: 0.02, arm: 0.01, token: 0.02 };
  const calm: Scatter = { round: 0.02, arm: 0.005, token: 0.02 };
  const metrics: readonly (readonly [MetricName, Statistic])[] = [
    ["itl", "p50"],
    ["itl", "mean"],
    ["itl", "p99"],
    ["requestsPerSecond", "mean"],
    ["serverCpuUsPerRequest", "mean"],
    ["bytesReceivedPerRequest", "mean"],
  ];

  function verdicts(pair: SimulatedPair): Comparison[] {
    const specs = metrics.map(([metric, statistic]) => {
      return { metric, statistic, baseline: "a", candidate: "b", kind: "protocol" as const };
    });
    return adjustComparisons(specs.map((spec) => compareArms(pair.arms, spec)));
  }

  const campaigns = 60;
  const equal = Array.from({ length: campaigns }, (_, seed) => simulatePair(seed, 1, rounds, 300, rough));

  it("equal arms: at most 5% of the metrics are declared different", () => {
    const all = equal.flatMap(verdicts);
    const declared = all.filter(({ verdict }) => verdict === "faster" || verdict === "slower");
    expect(all).toHaveLength(campaigns * metrics.length);
    expect(declared.length).toBeLessThanOrEqual(all.length * 0.05);
    // The intervals alone miss the truth in 5%: neither far more, nor never.
    const missed = all.filter(({ ratio }) => ratio !== null && (ratio.low > 1 || ratio.high < 1)).length;
    expect(missed).toBeGreaterThan(0);
    expect(missed).toBeLessThan(all.length * 0.1);
  });

  it("an ITL raised by 5% is found in at least 19 of 20, with the truth inside the interval", () => {
    const found = Array.from({ length: 100 }, (_, index) => verdicts(simulatePair(1000 + index, 1.05, rounds, 100, calm))[1]);
    expect(found.filter((itl) => itl?.verdict === "slower").length).toBeGreaterThanOrEqual(95);
    const inside = found.filter((itl) => itl && itl.ratio !== null && itl.ratio.low <= 1.05 && 1.05 <= itl.ratio.high);
    // 95 expected, with a standard error of 2.
    expect(inside.length).toBeGreaterThanOrEqual(90);
    expect(found.filter((itl) => itl?.verdict === "faster" || itl?.verdict === "equivalent")).toHaveLength(0);
  });

  it("the same with 20 rounds, by the bootstrap", () => {
    const pairs = (ratio: number): (Comparison | undefined)[] =>
      Array.from({ length: 6 }, (_, index) => verdicts(simulatePair(2000 + index, ratio, 20, 60, calm))[1]);
    expect(pairs(1.05).map((itl) => [itl?.method, itl?.verdict])).toEqual(Array.from({ length: 6 }, () => ["bootstrap", "slower"]));
    expect(pairs(1).filter((itl) => itl?.verdict === "slower" || itl?.verdict === "faster")).toHaveLength(0);
  });

  it("pooling the tokens instead would declare most equal arms different", () => {
    const wrong = equal.filter(({ pooled: [a, b] }) => {
      const log = (values: readonly number[]): number[] => values.map((value) => Math.log(value));
      return (estimateDifference(log(a), log(b))?.p ?? 1) < 0.05;
    });
    expect(wrong.length).toBeGreaterThan(campaigns / 2);
  });
});
