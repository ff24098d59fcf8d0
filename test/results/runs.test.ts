/** Two runs side by side. */
import { describe, expect, it } from "vitest";
import { gateOf, outcomesOfComparison } from "../../src/results/gates.ts";
import { compareResults } from "../../src/results/runs.ts";
import type { ArmResult, BenchResult, ScenarioResult } from "../../src/results/types.ts";
import { sampleResult } from "../support/sample-result.ts";

const sample = sampleResult();
/** Without the scenario whose arm is invalid on purpose. */
const valid: BenchResult = { ...sample, scenarios: sample.scenarios.filter(({ id }) => id !== "trace") };

describe("two runs side by side", () => {
  it("finds no regression between runs alike", () => {
    const found = compareResults(sample, sampleResult(2));
    expect(found.comparisons.length).toBeGreaterThan(100);
    expect(found.regressions).toEqual([]);
    expect([found.notes, found.missing]).toEqual([[], []]);
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

  const gate = (a: BenchResult, b: BenchResult, allowMissing = false): string =>
    gateOf(outcomesOfComparison(compareResults(a, b)), allowMissing);
  const withScenario = (id: string, change: (scenario: ScenarioResult) => ScenarioResult): BenchResult => ({
    ...valid,
    scenarios: valid.scenarios.map((scenario) => (scenario.id === id ? change(scenario) : scenario)),
  });
  const withArm = (change: (arm: ArmResult) => ArmResult): BenchResult =>
    withScenario("stream", (scenario) => ({ ...scenario, arms: scenario.arms.map((arm) => (arm.id === "h2c" ? change(arm) : arm)) }));
  const withWorkload = (result: BenchResult, more: ScenarioResult["workload"]): BenchResult => ({
    ...result,
    scenarios: result.scenarios.map((scenario) => ({ ...scenario, workload: { ...scenario.workload, ...more } })),
  });

  it("compares all of two valid runs, whatever their number of rounds", () => {
    const found = compareResults(valid, withWorkload(valid, { rounds: 9 }));
    expect([found.invalid, found.missing]).toEqual([[], []]);
    expect(found.comparisons.every(({ comparison }) => comparison.verdict !== "not compared")).toBe(true);
    expect(gate(valid, valid)).toBe("passed");
  });

  it("takes no offence at what a warm-up finds: a rate of the capacity, the requests of a duration", () => {
    const found = { rateOfCapacity: 0.5, rate: 100, durationS: 5, requests: 500 };
    expect(gate(withWorkload(valid, found), withWorkload(valid, { ...found, rate: 103, requests: 512 }))).toBe("passed");
    expect(gate(withWorkload(valid, found), withWorkload(valid, { ...found, durationS: 6 }))).toBe("missing");
  });

  it.each<readonly [string, BenchResult, string]>([
    ["another workload", withWorkload(valid, { streams: 7 }), "unary: the workloads differ: streams none and 7"],
    ["a scenario in B only", withScenario("unary", (one) => ({ ...one, id: "other" })), "other: in B only"],
    [
      "a scenario that B skips",
      withScenario("unary", (one) => ({ ...one, arms: [], skipped: "no h2load" })),
      "unary: not run in B: no h2load",
    ],
    ["an arm in A only", withScenario("stream", (one) => ({ ...one, arms: one.arms.slice(1) })), "stream, h1: in A only"],
    ["an arm in B only", withArm((arm) => ({ ...arm, id: "another" })), "stream, another: in B only"],
    ["one round", withArm((arm) => ({ ...arm, rounds: arm.rounds.slice(0, 1) })), "stream, h2c: one valid round in B: no interval"],
    ["another number of connections", withArm((arm) => ({ ...arm, connections: 99 })), "stream, h2c: connections differs: 1 and 99"],
    ["another engine", withArm((arm) => ({ ...arm, engine: "external" })), "stream, h2c: engine differs: node and external"],
    ["another cipher", withArm((arm) => ({ ...arm, cipher: "X" })), "stream, h2c: ciphers differ: null and X"],
    [
      "a metric that is null",
      withArm((arm) => ({ ...arm, rounds: arm.rounds.map((round) => ({ ...round, metrics: { ...round.metrics, ttft: null } })) })),
      "stream, h2c: ttft.p50, ttft.p99: measured in A only",
    ],
    [
      "no metric at all",
      withArm((arm) => ({ ...arm, rounds: arm.rounds.map((round) => ({ ...round, metrics: {} })) })),
      "stream, h2c: measured in A only",
    ],
    ["no scenario", { ...valid, scenarios: [] }, "no scenario is in both results"],
  ])("does not pass %s, unless that is allowed", (_, b, reason) => {
    const { missing, invalid } = compareResults(valid, b);
    expect(missing).toContain(reason);
    expect(invalid).toEqual([]);
    expect([gate(valid, b), gate(valid, b, true)]).toEqual(["missing", "passed"]);
  });

  it.each<readonly [string, BenchResult, string]>([
    ["an incomplete run", { ...valid, complete: false }, "A is incomplete: it was interrupted"],
    ["an invalid run", { ...valid, invalid: ["stream, h1: 3 of 8 requests failed"] }, "A is invalid: stream, h1: 3 of 8 requests failed"],
    ["an invalid arm", withArm((arm) => ({ ...arm, invalid: ["status 503"] })), "stream, h2c is invalid in A: status 503"],
  ])("never passes %s", (_, a, reason) => {
    expect(compareResults(a, valid).invalid).toContain(reason);
    expect([gate(a, valid), gate(valid, a), gate(a, valid, true)]).toEqual(["invalid", "invalid", "invalid"]);
  });

  it("is worse where something is slower, whatever else is missing", () => {
    const slower = withArm((arm) => ({
      ...arm,
      rounds: arm.rounds.map((round) => {
        const summary = round.metrics.serverCpuUsPerToken!;
        return { ...round, metrics: { ...round.metrics, serverCpuUsPerToken: { ...summary, mean: summary.mean * 2 } } };
      }),
    }));
    const b = { ...slower, scenarios: slower.scenarios.filter(({ id }) => id !== "unary") };
    expect([gate(valid, b), gate(valid, b, true), gate({ ...valid, complete: false }, b)]).toEqual(["worse", "worse", "invalid"]);
  });

  it("says which machines and targets it compares, and what B was not asked to run", () => {
    const environment = { ...valid.environment, cores: 2, target: "https://api.example.com" };
    const found = compareResults(valid, { ...valid, environment, scenarios: valid.scenarios.slice(1) });
    expect(found.notes).toEqual(["cores differs: 8 and 2", "target differs: own server and https://api.example.com", "in A only: unary"]);
    expect(found.missing).toEqual([]);
  });
});
