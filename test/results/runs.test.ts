/** Two runs side by side. */
import { describe, expect, it } from "vitest";
import { compareResults } from "../../src/results/runs.ts";
import { sampleResult } from "../support/sample-result.ts";

const sample = sampleResult();

describe("two runs side by side", () => {
  it("finds no regression between runs alike", () => {
    const found = compareResults(sample, sampleResult(2));
    expect(found.comparisons.length).toBeGreaterThan(100);
    expect(found.regressions).toEqual([]);
    expect(found.notes).toEqual([]);
  });

  it("finds what has become slower, and only that", () => {
    const later = sampleResult(2);
    const scenarios = later.scenarios.map((scenario) => {
      if (scenario.id !== "stream") return scenario;
      const arms = scenario.arms.map((arm) => {
        if (arm.id !== "h2c") return arm;
        const rounds = arm.rounds.map((round) => {
          const summary = round.metrics.serverCpuUsPerToken;
          if (!summary) throw new Error("not measured");
          return { ...round, metrics: { ...round.metrics, serverCpuUsPerToken: { ...summary, mean: summary.mean * 1.2 } } };
        });
        return { ...arm, rounds };
      });
      return { ...scenario, arms };
    });
    const found = compareResults(sample, { ...later, scenarios });
    expect(found.regressions.map(({ scenario, arm, comparison }) => [scenario, arm, comparison.metric])).toEqual([
      ["stream", "h2c", "serverCpuUsPerToken"],
    ]);
    expect(found.regressions[0]?.comparison.ratio?.estimate).toBeCloseTo(1.2, 1);
  });

  it("notes what is in one only, and what makes them unlike", () => {
    const [first, ...others] = sample.scenarios;
    if (first === undefined) throw new Error("empty");
    const changed = { ...first, workload: { ...first.workload, requests: 1 } };
    const b = { ...sample, scenarios: [changed, ...others.slice(1)], environment: { ...sample.environment, cores: 2 }, complete: false };
    expect(compareResults(sample, b).notes).toEqual([
      "cores differs: 8 and 2",
      "B is incomplete: it was interrupted",
      "unary is not compared: the workloads differ",
      "stream is in A only",
    ]);
  });
});
