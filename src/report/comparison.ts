/** Two results beside each other, in lines for a terminal. */
import type { ResultsComparison, RunComparison } from "../results/runs.ts";
import type { Interval, Unit } from "../results/types.ts";

/** Differences, one line each, worse ones first. */
export function renderComparison({ comparisons, notes }: ResultsComparison, all = false): string {
  const rank = { slower: 0, faster: 1, inconclusive: 2, equivalent: 3, described: 4, "not compared": 5 };
  const shown = comparisons
    .filter(({ comparison: { verdict } }) => all || verdict === "slower" || verdict === "faster")
    .toSorted((a, b) => rank[a.comparison.verdict] - rank[b.comparison.verdict]);
  const lines = shown.map(describeOne);
  const counts = Object.keys(rank).flatMap((verdict) => {
    const count = comparisons.filter(({ comparison }) => comparison.verdict === verdict).length;
    return count === 0 ? [] : [`${count} ${verdict}`];
  });
  lines.push(comparisons.length === 0 ? "nothing in common to compare" : `B against A: ${counts.join(", ")}`);
  return [...lines, ...notes.map((note) => `note: ${note}`)].join("\n");
}

function describeOne({ scenario, variant, arm, comparison }: RunComparison): string {
  const { metric, statistic, ratio, difference, verdict, reason } = comparison;
  const where = `${scenario}${variant === "" ? "" : ` (${variant})`}, ${arm}: ${metric}.${statistic}`;
  const percent = ({ estimate, low, high }: Interval): string => {
    const one = (value: number): string => `${value >= 1 ? "+" : ""}${((value - 1) * 100).toFixed(1)}%`;
    return `${one(estimate)} [${one(low)}, ${one(high)}]`;
  };
  const absolute = difference === null ? "" : `, ${difference.estimate >= 0 ? "+" : ""}${formatValue(difference.estimate, unitOf(metric))}`;
  return `${verdict.padEnd(12)} ${where} ${ratio === null ? "" : percent(ratio)}${absolute}${reason === null ? "" : ` (${reason})`}`;
}

function unitOf(metric: string): Unit {
  if (metric.startsWith("bytes") || metric.endsWith("Bytes")) return "bytes";
  if (metric.endsWith("PerSecond")) return "1/s";
  return metric === "connectionsOpened" ? "count" : "us";
}

function formatValue(value: number, unit: Unit): string {
  if (unit !== "us") return `${value.toFixed(1)} ${unit}`;
  return Math.abs(value) < 1000 ? `${value.toFixed(1)} us` : `${(value / 1000).toFixed(2)} ms`;
}
