/** The smallest effect that matters: one for each metric, and named wherever it decides. */
import { describe, expect, it } from "vitest";
import { smallness } from "../../src/report/format.ts";
import { renderTable } from "../../src/report/table.ts";
import { compareArms } from "../../src/results/compare.ts";
import { absoluteEffect, effectRows, smallestEffectOf } from "../../src/results/effects.ts";
import { metricFacts, statisticNames } from "../../src/results/metrics.ts";
import type { Comparison, MetricName, Statistic } from "../../src/results/types.ts";
import { negligibleBy } from "../../src/results/verdict.ts";
import { sampleResult } from "../support/sample-result.ts";
import { armOf, normals } from "../support/simulation.ts";

const metricNames = Object.keys(metricFacts) as MetricName[];

/** Five rounds of two arms, with a little scatter. */
function compared(metric: MetricName, from: number, to: number, statistic: Statistic = "mean"): Comparison {
  const rounds = (value: number): number[] => [0.999, 1.001, 1, 1.0005, 0.9995].map((luck) => value * luck);
  const spec = { metric, statistic, baseline: "a", candidate: "b", kind: "protocol" } as const;
  return compareArms([armOf("a", metric, rounds(from)), armOf("b", metric, rounds(to))], spec);
}

describe("the table", () => {
  it("has every metric once, with a reason", () => {
    expect(effectRows.flatMap(({ metrics }) => metrics).toSorted()).toEqual(metricNames.toSorted());
    for (const { ratio, absolute, tail, because } of effectRows) {
      expect(ratio).toBeGreaterThan(0);
      expect(ratio).toBeLessThanOrEqual(0.02);
      if (absolute !== null) expect(absolute).toBeGreaterThan(0);
      if (tail !== undefined) expect(tail).toBeGreaterThan(absolute ?? Infinity);
      expect(because.length).toBeGreaterThan(20);
    }
  });

  it("has one row of one unit: an absolute bound says nothing of another", () => {
    for (const { metrics } of effectRows) expect(new Set(metrics.map((metric) => metricFacts[metric].unit)).size).toBe(1);
  });

  it("tells the tail of a gap from its middle", () => {
    expect(smallestEffectOf("itl", "mean").absolute).toBeLessThan(smallestEffectOf("itl", "p99").absolute!);
    expect(smallestEffectOf("tpot", "p99")).toEqual(smallestEffectOf("tpot", "mean"));
  });

  it("reads files of earlier runs, which have microseconds of latencies alone", () => {
    expect(
      [
        { ratio: 0.02, us: 500 },
        { ratio: 0.02, us: null },
        { ratio: 0.02, absolute: 3 },
      ].map(absoluteEffect),
    ).toEqual([500, null, 3]);
  });
});

describe("a difference that matters in one metric and not in another", () => {
  it.each<readonly [MetricName, Statistic, number, number, Comparison["verdict"], string]>([
    ["itl", "mean", 2000, 2400, "slower", ""],
    ["itl", "p50", 2000, 2400, "slower", ""],
    ["itl", "p99", 2000, 2400, "slower", ""],
    ["tpot", "p50", 2000, 2400, "slower", ""],
    ["transport", "p50", 500, 544, "slower", ""],
    ["transport", "p50", 150, 163.2, "equivalent", "less than 0.02 ms does not matter"],
    ["ttft", "p50", 2000, 2400, "equivalent", "less than 0.5 ms does not matter"],
    ["e2el", "p50", 2000, 2400, "equivalent", "less than 0.5 ms does not matter"],
    ["e2el", "p50", 100_000, 101_000, "equivalent", "less than 2% does not matter"],
    ["connect", "p50", 200, 400, "slower", ""],
    ["serverCpuUsPerToken", "mean", 1, 1.03, "equivalent", "less than 0.05 µs does not matter"],
    ["serverCpuUsPerToken", "mean", 10, 10.3, "slower", ""],
    ["bytesReceivedPerRequest", "mean", 10_000, 10_150, "slower", ""],
    ["framingBytesPerToken", "mean", 0.2, 0.25, "equivalent", "less than 0.1 B does not matter"],
    ["requestsPerSecond", "mean", 0.1, 0.11, "faster", ""],
    ["serverRssBytes", "mean", 10e6, 10.5e6, "equivalent", "less than 1 MB does not matter"],
  ])("%s %s from %d to %d: %s", (metric, statistic, from, to, verdict, said) => {
    const found = compared(metric, from, to, statistic);
    expect(found.verdict).toBe(verdict);
    const text = smallness(found).replaceAll("\u00A0", " ");
    if (said === "") expect(text).toBe("");
    else expect(text).toContain(said);
  });

  it("is named with its amount where the interval of the ratio looks like a difference", () => {
    const found = compared("ttft", 2000, 2400);
    expect(smallness(found).replaceAll("\u00A0", " ")).toBe("+0.4 ms (+0.4 ms to +0.4 ms): less than 0.5 ms does not matter");
    const [scenario] = sampleResult().scenarios;
    const result = { ...sampleResult(), scenarios: [{ ...scenario!, comparisons: [found], claims: [] }] };
    expect(renderTable(result, { color: false, width: 400 })).toMatch(
      /equivalent .* TTFT mean \+20\.0% .*: less than 0\.5 ms does not matter/u,
    );
  });

  it("is named where an estimate below it leaves a verdict open", () => {
    const open: Comparison = { ...compared("ttft", 2000, 2400), verdict: "inconclusive" };
    expect(smallness(open)).toContain("does not matter");
    const wide = { ...open, ratio: { estimate: 1.2, low: 0.9, high: 1.6 } };
    expect(smallness(wide)).toBe("");
  });
});

describe("of any two arms", () => {
  // Of the one value of a simulated round there is no deviation.
  const statistics = statisticNames.filter((name) => name !== "std");
  const normal = normals(11);
  const all = metricNames
    .flatMap((metric) =>
      Array.from({ length: 60 }, () => {
        const size = 10 ** (3 + 2.5 * normal());
        // None is the same at both ends, to the last byte.
        const factor = Math.exp(0.001 + 0.2 * normal() * normal());
        const scatter = 0.03 * Math.abs(normal() * normal());
        const rounds = (value: number): number[] => Array.from({ length: 5 }, () => value * Math.exp(scatter * normal()));
        const statistic = metricFacts[metric].perRound ? "mean" : statistics[Math.floor(Math.abs(normal() * 3)) % statistics.length]!;
        const spec = { metric, statistic, baseline: "a", candidate: "b", kind: "protocol" } as const;
        return compareArms([armOf("a", metric, rounds(size)), armOf("b", metric, rounds(size * factor))], spec);
      }),
    )
    .filter(({ verdict }) => verdict !== "not compared");
  const of = (verdict: Comparison["verdict"]): Comparison[] => all.filter((one) => one.verdict === verdict);

  it("a verdict is faster or slower beyond both bounds only", () => {
    const differing = [...of("faster"), ...of("slower")];
    expect(differing.length).toBeGreaterThan(100);
    for (const { ratio, difference, smallestEffect } of differing) {
      expect(Math.abs(Math.log(ratio!.estimate))).toBeGreaterThan(Math.log(1 + smallestEffect.ratio));
      expect(Math.abs(difference!.estimate)).toBeGreaterThan(absoluteEffect(smallestEffect) ?? 0);
    }
  });

  it("equivalent always names a bound, and the absolute one with the difference where the ratio looks like one", () => {
    const equivalent = of("equivalent");
    expect(new Set(equivalent.map(negligibleBy))).toEqual(new Set(["relative", "absolute"]));
    for (const one of equivalent) {
      expect(smallness(one)).toMatch(/does not matter$/u);
      const { ratio, smallestEffect } = one;
      const most = 1 + smallestEffect.ratio;
      if (ratio!.low > 1 / most && ratio!.high < most) expect(negligibleBy(one)).toBe("relative");
      else expect(smallness(one)).toMatch(/^[+−]?[\d,.]+.* \(.* to .*\): less than /u);
    }
  });

  it("faster, slower and undecided name no bound unless the estimate is below it", () => {
    for (const one of [...of("faster"), ...of("slower")]) expect(smallness(one)).toBe("");
    for (const one of of("inconclusive")) {
      expect(smallness(one) !== "").toBe(one.reason === "a difference, but its estimate is below the smallest effect of interest");
    }
  });
});
