/** Several runs as one. */
import { describe, expect, it } from "vitest";
import { mergeResults } from "../../src/results/merge.ts";
import { checkResult } from "../../src/results/store.ts";
import type { ArmResult, BenchResult, ScenarioResult } from "../../src/results/types.ts";
import { armNamed, sampleResult, scenarioNamed } from "../support/sample-result.ts";

const sample = sampleResult();

describe("merging runs", () => {
  const other = { ...sampleResult(2), environment: { ...sample.environment, cpu: "Another CPU" } };

  it("puts rounds side by side, adds histograms, and decides anew", () => {
    const merged = mergeResults([sample, other]);
    const arm = armNamed(merged, "stream", "h2c");
    expect(arm.rounds.map(({ round }) => round)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(arm.metrics.itl?.count).toBe(2 * (armNamed(sample, "stream", "h2c").metrics.itl?.count ?? Number.NaN));
    const max = Math.max(armNamed(sample, "stream", "h2c").metrics.itl?.max ?? 0, armNamed(other, "stream", "h2c").metrics.itl?.max ?? 0);
    expect(arm.metrics.itl?.max).toBe(max);
    expect(scenarioNamed(merged, "stream").comparisons.map(({ rounds }) => rounds)).toEqual([10, 10, 10, 10, 10]);
    expect(scenarioNamed(merged, "mux-scale").comparisons.map(({ verdict }) => verdict === "described")).toEqual([false, false, true]);
    expect(scenarioNamed(merged, "header-bytes").claims[0]?.verdict).toBe("reproduced");
    expect(merged.environments?.map(({ cpu }) => cpu)).toEqual(["Example CPU @ 3.00GHz", "Another CPU"]);
    expect(merged.requirements.map(({ met }) => met)).toEqual([true, false]);
    expect(armNamed(merged, "trace", "h2c").invalid).toHaveLength(1);
    expect(checkResult(JSON.parse(JSON.stringify(merged)), "merged")).toEqual(merged);
    // The merged result can be merged on.
    expect(mergeResults([merged, sampleResult(3)]).environments).toHaveLength(3);
  });

  it("refuses, in one line, what does not fit together", () => {
    const scenarios = (change: (scenario: ScenarioResult) => ScenarioResult): BenchResult => ({
      ...other,
      scenarios: other.scenarios.map(change),
    });
    const first = (change: Partial<ArmResult>): BenchResult =>
      scenarios((scenario) => ({ ...scenario, arms: scenario.arms.map((arm, index) => (index === 0 ? { ...arm, ...change } : arm)) }));
    for (const [result, message] of [
      [sample, "the same run twice"],
      [{ ...other, suite: "full" }, "suites differ: quick and full"],
      [Object.assign({}, other, { schemaVersion: 2 }), "schema versions differ: 1 and 2"],
      [{ ...other, scenarios: other.scenarios.slice(1) }, "scenarios differ"],
      [scenarios((scenario) => ({ ...scenario, workload: { ...scenario.workload, tokens: 7 } })), "unary: workloads differ"],
      [
        scenarios((scenario) => ({ ...scenario, arms: scenario.arms.slice(1) })),
        "unary: arms differ: h1, h2c, h1-uws, h1-autocannon; and h2c",
      ],
      [first({ rttMs: 3 }), "unary, arm h1: rttMs differs: 0 and 3"],
      [first({ driver: "stream" }), "unary, arm h1: driver differs: h2load and stream"],
    ] as const) {
      expect(() => mergeResults([sample, result])).toThrow(`cannot merge: ${message}`);
      expect(() => mergeResults([sample, result])).not.toThrow("\n");
    }
    expect(() => mergeResults([sample])).toThrow("two results or more");
  });

  it("keeps a scenario that one run skipped, with a note", () => {
    const [first, ...rest] = other.scenarios;
    if (first === undefined) throw new Error("empty");
    const skipping = { ...other, scenarios: [{ ...first, arms: [], skipped: "no h2load" }, ...rest] };
    const unary = scenarioNamed(mergeResults([skipping, sample]), "unary");
    expect(unary).toMatchObject({ skipped: null, notes: ["skipped in 1 of 2 merged runs"] });
    expect(unary.arms[0]?.rounds).toHaveLength(5);
  });
});
