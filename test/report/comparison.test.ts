/** Two results beside each other, in lines for a terminal. */
import { expect, it } from "vitest";
import { renderComparison } from "../../src/report/comparison.ts";
import type { MetricName, Statistic } from "../../src/results/types.ts";
import { decided } from "../../src/results/verdict.ts";

/** Lines of a comparison in which every metric went from 100 to 120, give or take 1%. */
function linesOf(metrics: readonly (readonly [MetricName, Statistic])[]): string[] {
  const comparisons = metrics.map(([metric, statistic]) => {
    const ratio = { estimate: Math.log(1.2), low: Math.log(1.19), high: Math.log(1.21), p: 0.001, method: "t" as const };
    const difference = { estimate: 20_000, low: 19_000, high: 21_000, p: 0.001, method: "t" as const };
    const comparison = decided({ metric, statistic, baseline: "A", candidate: "B", kind: "protocol" }, 5, ratio, difference);
    return { scenario: "stream", variant: "100 streams", arm: "h2c", comparison };
  });
  return renderComparison({ comparisons, regressions: [], invalid: [], missing: [], notes: ["cores differs: 8 and 2"] }).split("\n");
}

it("says the difference in the unit of the metric, worse ones first", () => {
  expect(
    linesOf([
      ["requestsPerSecond", "mean"],
      ["ttft", "p99"],
      ["clientRssBytesPerStream", "mean"],
      ["serverCpuUsPerToken", "mean"],
    ]),
  ).toEqual([
    "slower       stream (100 streams), h2c: ttft.p99; +20.0% (+19.0% to +21.0%); +20 ms (+19 ms to +21 ms)",
    "slower       stream (100 streams), h2c: clientRssBytesPerStream.mean; +20.0% (+19.0% to +21.0%); +20 kB (+19 kB to +21 kB)",
    "slower       stream (100 streams), h2c: serverCpuUsPerToken.mean; +20.0% (+19.0% to +21.0%); +20,000 µs (+19,000 µs to +21,000 µs)",
    "faster       stream (100 streams), h2c: requestsPerSecond.mean; +20.0% (+19.0% to +21.0%); +20,000/s (+19,000/s to +21,000/s)",
    "B against A: 3 slower, 1 faster",
    "note: cores differs: 8 and 2",
  ]);
});

it("says where nothing could be compared", () => {
  const missing = ["stream: in B only"];
  const nothing = renderComparison({
    comparisons: [],
    regressions: [],
    invalid: ["B is incomplete: it was interrupted"],
    missing,
    notes: [],
  });
  expect(nothing.split("\n")).toEqual([
    "B against A: nothing in common to compare",
    "invalid: B is incomplete: it was interrupted",
    "not compared: stream: in B only",
  ]);
});
