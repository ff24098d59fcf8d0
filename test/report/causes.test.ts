/** A difference is told with the end at which it lies: by stamps, or by CPU time. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { causesOf } from "../../src/report/causes.ts";
import { armColumns } from "../../src/report/format.ts";
import { renderHtml } from "../../src/report/html.ts";
import { renderTable } from "../../src/report/table.ts";
import type { ArmResult, BenchResult, Comparison, MetricName, MetricSummary } from "../../src/results/types.ts";
import { root } from "../support/process.ts";
import { sampleResult, scenarioNamed } from "../support/sample-result.ts";

const sample = sampleResult();
const [h1, h2c] = scenarioNamed(sample, "stream").arms;
const itl = scenarioNamed(sample, "stream").comparisons.find(({ metric }) => metric === "itl")!;

function armWith(arm: ArmResult, values: Partial<Record<MetricName, number>>): ArmResult {
  const constant = (value: number): MetricSummary => ({ ...arm.metrics.itl!, mean: value, p50: value, p99: value });
  const metrics = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, constant(value)]));
  return { ...arm, metrics: { ...arm.metrics, ...metrics } };
}

function said(before: Partial<Record<MetricName, number>>, after: Partial<Record<MetricName, number>>, over: Partial<Comparison>): string {
  const arms = [armWith(h1!, before), armWith(h2c!, after)];
  return causesOf({ arms }, { ...itl, verdict: "slower", ...over })
    .join("; ")
    .replaceAll("\u00A0", " ");
}

describe("a gap between tokens, by stamps", () => {
  const less = { difference: { estimate: -10_000, low: -12_000, high: -8000 } };
  const step = { serverLateness: 25_700, transport: 18_700, client: 20 };

  test("names the part that differs by more than the others together", () => {
    expect(said(step, { serverLateness: 8900, transport: 13_300, client: 30 }, less)).toBe(
      "by stamps, p99 of a token: server lateness 25.7 to 8.9 ms, transport 18.7 to 13.3 ms, client 0.02 to 0.03 ms, most of it server lateness",
    );
    expect(said(step, { serverLateness: 24_000, transport: 6000, client: 20 }, less)).toMatch(/most of it transport$/);
  });

  test("says so where no part does, and nothing where all go the other way", () => {
    const even = { serverLateness: 20_700, transport: 13_700, client: 20 };
    expect(said(step, even, less)).toMatch(/no part has most of it$/);
    expect(said(even, step, less)).toMatch(/client 0\.02 to 0\.02 ms$/);
  });

  test("names no part of a difference that may be none", () => {
    const unsure = { difference: { estimate: -10_000, low: -30_000, high: 9000 } };
    expect(said(step, { serverLateness: 8900, transport: 13_300, client: 30 }, unsure)).toMatch(/client 0\.02 to 0\.03 ms$/);
  });

  test("says nothing where nothing differs, of other metrics, and without stamps", () => {
    expect(said(step, step, { verdict: "equivalent" })).toBe("");
    expect(said(step, step, { metric: "ttft" })).toBe("");
    expect(said(step, step, { statistic: "max" })).toBe("");
    const unstamped = (arm: ArmResult): ArmResult => ({ ...arm, metrics: { itl: arm.metrics.itl! } });
    expect(causesOf({ arms: [unstamped(h1!), unstamped(h2c!)] }, { ...itl, verdict: "slower" })).toEqual([]);
    expect(causesOf({ arms: [] }, { ...itl, verdict: "slower" })).toEqual([]);
  });
});

describe("wall time, by the CPU time of both ends", () => {
  const before = { clientCpuUsPerRequest: 900, serverCpuUsPerRequest: 500, requestsPerSecond: 1000 };
  const less = { difference: { estimate: -500, low: -600, high: -400 } };
  const wall = { metric: "durationUs", statistic: "mean", ...less } as const;

  test("says whose it is, per arm, as a share", () => {
    expect(said(before, { clientCpuUsPerRequest: 200, serverCpuUsPerRequest: 200, requestsPerSecond: 4000 }, wall)).toBe(
      "CPU time a request: client 900 to 200 µs (90% and 80% of the wall time), server 500 to 200 µs (50% and 80% of the wall time), 70% of the difference the client's",
    );
  });

  test("gives no share of a difference that goes both ways", () => {
    expect(said(before, { ...before, clientCpuUsPerRequest: 950, serverCpuUsPerRequest: 100 }, wall)).toMatch(/10% of the wall time\)$/);
  });

  test("stands in the table of arms where the client's work is compared", () => {
    const title = "CPU of wall time client / server";
    expect(armColumns([h1!]).map((column) => column.title)).not.toContain(title);
    const column = armColumns([armWith(h1!, before)], true).find((one) => one.title === title)!;
    expect(column.cell(armWith(h1!, before))).toBe("90% / 50%");
  });
});

test("results of earlier runs are told by what they have: here the stamps of the server alone", () => {
  const quick = JSON.parse(readFileSync(join(root, "results/experiments/quick.json"), "utf8")) as BenchResult;
  const text = renderTable(quick, { color: false, width: 1000 });
  expect(text).toMatch(/mux-scale \(1000 streams\): h2c-1 against h1, ITL p99 [^\n]*; by stamps, p99 of a token: server lateness/u);
  expect(text).not.toContain("most of it");
  expect(renderHtml(quick)).toContain("by stamps, p99 of a token: server lateness");
});
