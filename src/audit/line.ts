/** An audit in one line, and its exit code. */
import { figureLabel, quantities } from "./quantities.ts";
import type { Audit, FigureSummary } from "./types.ts";

/** What the outcome of an audit is: 0: no figure is biased and one at least is right; 1: one is biased; 3: none could be decided. */
export function exitCodeOf({ figures }: Pick<Audit, "figures">): 0 | 1 | 3 {
  if (figures.some(({ verdict }) => verdict === "biased")) return 1;
  return figures.some(({ verdict }) => verdict === "right") ? 0 : 3;
}

const mostNamed = 4;

/** The line for a README: what was audited, what is right, what is not and by how much at most. */
export function lineOf({
  tool,
  toolVersion,
  rungs,
  figures,
  limit,
}: Pick<Audit, "tool" | "toolVersion" | "rungs" | "figures" | "limit">): string {
  const name = tool === null ? "The command" : [tool, ...(toolVersion === null ? [] : [toolVersion])].join(" ");
  const reported = figures.filter(({ verdict }) => verdict !== "not-reported");
  if (reported.length === 0)
    return `${name}, audited by fakeai on ${rungs.length} plans: no figure of its report was read; what it really did is told.`;
  const biased = figures.filter(({ verdict }) => verdict === "biased");
  const right = figures.filter(({ verdict }) => verdict === "right").length;
  const open = reported.length - right - biased.length;
  const worst = biased.slice(0, mostNamed).map((figure) => wordOf(figure, rungs));
  const more = biased.length > mostNamed ? ` and ${biased.length - mostNamed} more` : "";
  const counts = `${right} of ${reported.length} figures right${open > 0 ? `, ${open} undecided` : ""}`;
  const off = biased.length === 0 ? "" : `; off: ${worst.join(", ")}${more}`;
  const upTo = limit.eventsPerSecond === null ? "" : `; latencies leave the truth at ${Math.round(limit.eventsPerSecond)} events/s`;
  return `${name}, audited by fakeai on ${rungs.length} plans: ${counts}${off}${upTo}.`;
}

/** "TTFT mean +12.3% (role)": the rung where it is farthest off. */
function wordOf({ quantity, statistic }: FigureSummary, rungs: Audit["rungs"]): string {
  const found = rungs
    .flatMap(({ name, figures }) =>
      figures
        .filter((one) => one.quantity === quantity && one.statistic === statistic && one.verdict === "biased")
        .map((figure) => ({ name, figure })),
    )
    .toSorted(
      (a, b) =>
        Math.abs(b.figure.bias?.ratio ?? b.figure.bias?.estimate ?? 0) - Math.abs(a.figure.bias?.ratio ?? a.figure.bias?.estimate ?? 0),
    )[0];
  const label = figureLabel(quantity, statistic);
  if (found?.figure.bias === null || found === undefined) return label;
  const { ratio, estimate } = found.figure.bias;
  const size = ratio === null ? `${signed(estimate)} ${quantities[quantity].unit}` : `${signed(ratio * 100)}%`;
  return `${label} ${size} (${found.name})`;
}

function signed(value: number): string {
  const digits = Number(value.toPrecision(3));
  return digits < 0 ? String(digits).replace("-", "−") : `+${digits}`;
}
