/** Results in the formats of other tools. */
import { describe, expect, it } from "vitest";
import { vllmJson } from "../../src/results/exports.ts";
import { armNamed, sampleResult } from "../support/sample-result.ts";

const sample = sampleResult();

describe("vLLM's JSON", () => {
  it("has vLLM's keys in vLLM's units", () => {
    const arm = armNamed(sample, "stream", "h2c");
    const json = vllmJson(arm);
    expect(json).toMatchObject({ completed: 500, failed: 0, total_output_tokens: 15_000, request_goodput: null });
    expect(json["duration"]).toBeCloseTo(3.5, 6);
    expect(json["request_throughput"]).toBeCloseTo(500 / 3.5, 6);
    expect(json["output_throughput"]).toBeCloseTo(15_000 / 3.5, 6);
    expect(json["mean_ttft_ms"]).toBeCloseTo((arm.metrics.ttfe?.mean ?? 0) / 1000, 9);
    expect(json["median_itl_ms"]).toBeCloseTo((arm.metrics.itl?.p50 ?? 0) / 1000, 9);
    for (const name of ["ttft", "tpot", "itl", "e2el"]) {
      for (const statistic of ["mean", "median", "std", "p99"]) expect(json).toHaveProperty(`${statistic}_${name}_ms`);
    }
    expect(json).not.toHaveProperty("ttfts");
  });

  it("has null for what was not measured, and lists in seconds where requests are given", () => {
    expect(vllmJson(armNamed(sample, "unary", "h1"))).toMatchObject({ mean_ttft_ms: null, p99_itl_ms: null, total_output_tokens: null });
    const requests = [
      { startUs: 5_000_000, error: null, tokens: 3, firstEventUs: 5_100_000, tokenUs: [5_101_000, 5_121_000, 5_142_000] },
      { startUs: 5_010_000, error: "timeout", tokens: 0, firstEventUs: null, tokenUs: [] },
    ];
    const json = vllmJson(armNamed(sample, "stream", "h1"), requests);
    expect(json).toMatchObject({ ttfts: [0.1, 0], itls: [[0.02, 0.021], []], latencies: [0.142, 0], start_times: [0, 0.01] });
    expect(json).toMatchObject({ output_lens: [3, 0], errors: ["", "timeout"] });
  });
});
