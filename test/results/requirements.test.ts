/** Requirements: as texts, and held against results. */
import { describe, expect, it } from "vitest";
import { checkRequirements, parseRequirement } from "../../src/results/requirements.ts";
import { sampleResult } from "../support/sample-result.ts";

const sample = sampleResult();

describe("requirements", () => {
  it.each([
    ["ttft.p99<150ms", { scenario: null, arm: null, metric: "ttft", statistic: "p99", operator: "<", limit: 150_000 }],
    ["stream/h2c/itl.p50 <= 20.5 ms", { scenario: "stream", arm: "h2c", metric: "itl", statistic: "p50", operator: "<=", limit: 20_500 }],
    ["h2/e2el.max<1.5s", { scenario: null, arm: "h2", limit: 1_500_000 }],
    ["unary/requestsPerSecond>=1000/s", { scenario: "unary", arm: null, statistic: "mean", operator: ">=", limit: 1000 }],
    ["requestsPerSecond.min>1e3", { statistic: "min", limit: 1000 }],
    ["serverRssBytes<200MB", { limit: 200_000_000 }],
    ["serverCpuUsPerToken<15us", { limit: 15 }],
    ["failed<1%", { metric: "failed", limit: 0.01 }],
  ])("understands %s", (text, expected) => {
    expect(parseRequirement(text)).toMatchObject({ text, ...expected });
  });

  it.each([
    ["", "expected [scenario/]"],
    ["ttft.p99", "expected [scenario/]"],
    ["ttft.p99=5ms", "expected [scenario/]"],
    ["ttft.p99<5", "ttft needs a unit: us, ms or s"],
    ["ttft.p99<5min", "not measured in min"],
    ["ttft.p98<5ms", "unknown statistic p98"],
    ["ttft<5ms", "needs a statistic, as in ttft.p99"],
    ["speed.p99<5ms", "unknown metric speed"],
    ["toString.p99<5ms", "unknown metric toString"],
    ["a/b/c/ttft.p99<5ms", "at most a scenario and a protocol"],
    ["ttft.p99<1.2.3ms", "is no number"],
    ["failed<1ms", "not measured in ms"],
    ["a<b/ttft.p99<5ms", "expected"],
  ])("refuses %j in one line", (text, message) => {
    expect(() => parseRequirement(text)).toThrow(message);
    expect(() => parseRequirement(text)).not.toThrow("\n");
  });

  const check = (text: string): { met: boolean; measured: number } => {
    const [found] = checkRequirements([parseRequirement(text)], sample.scenarios);
    return { met: found?.met ?? false, measured: found?.measured.length ?? 0 };
  };

  it("are met by every arm that they mean, or violated", () => {
    expect(check("stream/h2c/ttft.p50<110ms")).toEqual({ met: true, measured: 1 });
    expect(check("stream/ttft.p50<110ms")).toEqual({ met: true, measured: 5 });
    expect(check("stream/ttft.p50<90ms")).toEqual({ met: false, measured: 5 });
    expect(check("unary/failed<1%")).toEqual({ met: true, measured: 4 });
  });

  it.each([
    ["unary/ttft.p50<1s", "not measured", 4],
    ["trace/h2c/ttft.p50<1s", "not measured", 1],
    ["nowhere/ttft.p50<1s", "not measured", 0],
    ["multi-resource/ttft.p50<1s", "not measured", 0],
    ["scheduleDelay.p99<1s", "not measured", 2],
    ["trace/ttft.p50<1us", "violated", 2],
    ["trace/h2c/failed<50%", "met", 1],
  ])("tell what nothing measured from what is violated: %s", (text, outcome, arms) => {
    const [found] = checkRequirements([parseRequirement(text)], sample.scenarios);
    expect([found?.outcome, found?.measured.length, found?.met]).toEqual([outcome, arms, outcome === "met"]);
  });
});
