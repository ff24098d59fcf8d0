/** What a verdict holds for stands beside it in every report. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { claimConditions, conditionsOf } from "../../src/report/conditions.ts";
import { renderHtml } from "../../src/report/html.ts";
import { renderTable } from "../../src/report/table.ts";
import type { BenchResult, ScenarioResult } from "../../src/results/types.ts";
import { root } from "../support/process.ts";
import { sampleResult, scenarioNamed } from "../support/sample-result.ts";

const sample = sampleResult();
const spaced = (texts: readonly string[]): string => texts.join("; ").replaceAll("\u00A0", " ");

function tested(workload: ScenarioResult["workload"], id = "stream"): string {
  const scenario = { ...scenarioNamed(sample, id), workload };
  return spaced(conditionsOf(scenario, scenario.comparisons[0]!));
}

describe("the load that a verdict holds for", () => {
  const burst = { method: "POST", mode: "closed", stream: true, streams: 1000, rampMs: 0, ttft: 100, itl: 10, outputTokens: 30 };

  test.each<readonly [string, ScenarioResult["workload"], string]>([
    ["a burst", burst, "node, no TLS, RTT 0 ms; 1,000 streams started at once, TTFT 100 ms, ITL 10 ms, 30 tokens"],
    ["a ramp", { ...burst, rampMs: 150 }, "1,000 streams started over 150 ms"],
    ["a flag", { ...burst, itl: "40" }, "ITL 40 ms"],
    ["a distribution", { ...burst, itl: "lognormal(20,0.5)" }, "ITL lognormal(20,0.5)"],
    ["answers in one piece", { ...burst, stream: false }, "; 1,000 at once, 30 tokens"],
    ["a GET", { ...burst, stream: false, method: "GET", streams: 1 }, "RTT 0 ms; one at a time"],
    ["an open loop", { ...burst, mode: "open", rate: 2000 }, "; open loop, 2,000 requests/s, "],
    ["a trace", { ...burst, mode: "open", trace: '{"file":"a.csv"}' }, "open loop, lengths and arrivals of a trace"],
    ["a page", { ...burst, stream: false, page: "[]" }, "; one page of calls at a time"],
    [
      "lost segments",
      { ...burst, network: '{"rtt":40,"stall":"1%,40ms","down":{"bandwidth":"2MB/s"}}' },
      'stall 1%,40ms, down {"bandwidth":"2MB/s"}',
    ],
    ["a result that says nothing of it", {}, "node, no TLS, RTT 0 ms"],
    ["a network that is no JSON", { network: "fast" }, "node, no TLS, RTT 0 ms"],
  ])("%s", (_what, workload, said) => {
    expect(tested(workload)).toContain(said);
  });

  test("says nothing of the pace of a server that is not ours", () => {
    const scenario = scenarioNamed(sample, "stream");
    const arms = scenario.arms.map((arm) => ({ ...arm, engine: "external" as const }));
    expect(spaced(conditionsOf({ ...scenario, arms, workload: burst }, scenario.comparisons[0]!))).not.toMatch(/TTFT|ITL/);
  });
});

describe("what a scenario says that it holds for", () => {
  const headers = scenarioNamed(sample, "header-bytes");

  test("stands in the verdict and in the claim, once", () => {
    expect(spaced(conditionsOf(headers, headers.comparisons[0]!))).toBe("node, no TLS, RTT 0 ms; the same headers in each request");
    expect(spaced(claimConditions(headers, headers.claims[0]!))).toBe(
      "tested with a GET; the same headers in each request; node, no TLS, RTT 0 ms",
    );
    expect(claimConditions(headers, { ...headers.claims[0]!, comparison: null })).toEqual([
      "tested with a GET; the same headers in each request",
    ]);
  });

  test("in the table", () => {
    const text = renderTable(sample, { color: false, width: 400 });
    expect(text).toMatch(/\n {2}\w+ +header-bytes: h2c against h1, bytes sent[^\n]*; the same headers in each request; /u);
    expect(text).toMatch(
      /\n {2}\w+ +header-bytes: "HPACK halves what is sent"[^\n]*; tested with a GET; the same headers in each request; /u,
    );
  });

  test("in the page", () => {
    const page = renderHtml(sample);
    expect(page).toContain("tested with a GET; the same headers in each request");
    expect(page.match(/<b>Holds for<\/b> [^<]*; the same headers in each request</g)).toHaveLength(1);
  });

  test("is left out where a result of an earlier run has none", () => {
    const quick = JSON.parse(readFileSync(join(root, "results/experiments/quick.json"), "utf8")) as BenchResult;
    const text = renderTable(quick, { color: false, width: 400 });
    expect(text).toMatch(/\n {2}reproduced +header-bytes [^\n]*bytes sent\/request; node, no TLS, RTT 0 ms; one at a time\n/u);
    expect(text).not.toContain("undefined");
  });
});
