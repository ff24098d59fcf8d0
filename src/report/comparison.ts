/** Two results beside each other, in lines for a terminal. */
import { printable } from "../base/printable.ts";
import type { ResultsComparison, RunComparison } from "../results/runs.ts";
import { scenarioLabel } from "../results/scenarios.ts";
import { differenceWithInterval, effect, smallness } from "./format.ts";

/** In the order in which differences are told. */
const rank = { slower: 0, faster: 1, inconclusive: 2, equivalent: 3, described: 4, "not compared": 5 };

/** "1 slower, 2 faster, 8 equivalent". */
export function comparisonCounts({ comparisons }: Pick<ResultsComparison, "comparisons">): string {
  const counts = Object.keys(rank).flatMap((verdict) => {
    const count = comparisons.filter(({ comparison }) => comparison.verdict === verdict).length;
    return count === 0 ? [] : [`${count} ${verdict}`];
  });
  return counts.length === 0 ? "nothing in common to compare" : counts.join(", ");
}

/** Differences, one line each, worse ones first. */
export function renderComparison({ comparisons, invalid, missing, notes }: ResultsComparison, all = false): string {
  const shown = comparisons
    .filter(({ comparison: { verdict } }) => all || verdict === "slower" || verdict === "faster")
    .toSorted((a, b) => rank[a.comparison.verdict] - rank[b.comparison.verdict]);
  const lines = shown.map((one) => printable(describeOne(one)));
  lines.push(`B against A: ${comparisonCounts({ comparisons })}`);
  const labelled = (label: string, texts: readonly string[]): string[] => texts.map((text) => `${label}: ${printable(text)}`);
  return [...lines, ...labelled("invalid", invalid), ...labelled("not compared", missing), ...labelled("note", notes)].join("\n");
}

function describeOne({ scenario, variant, arm, comparison }: RunComparison): string {
  const { metric, statistic, ratio, difference, verdict, reason } = comparison;
  const facts = [
    `${scenarioLabel({ id: scenario, variant })}, ${arm}: ${metric}.${statistic}`,
    effect(comparison),
    difference === null || ratio === null ? "" : differenceWithInterval(difference, metric),
    smallness(comparison),
    reason ?? "",
  ];
  return `${verdict.padEnd(12)} ${facts.filter((fact) => fact !== "").join("; ")}`.replaceAll("\u00A0", " ");
}
