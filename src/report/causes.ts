/**
 * At which end a difference lies. Stamps split a token's way into the server's lateness, the transport and the client; CPU time
 * says which end computed. Without them a verdict would give the protocol what is the work of one program.
 */
import type { ArmResult, Comparison, MetricName, ScenarioResult, Statistic } from "../results/types.ts";
import { cpuShares, digits, percent } from "./format.ts";

/** More than this share of what the parts differ by is most of it. */
const most = 0.5;

const stampedParts: readonly (readonly [MetricName, string])[] = [
  ["serverLateness", "server lateness"],
  ["transport", "transport"],
  ["client", "client"],
];

/** Statistics that are read of each part: extremes belong to single tokens. */
const percentiles: ReadonlySet<Statistic> = new Set<Statistic>(["p50", "p90", "p95", "p99"]);

/** Where the difference of a comparison lies, each part a phrase; empty where nothing differs or nothing tells. */
export function causesOf({ arms }: Pick<ScenarioResult, "arms">, comparison: Comparison): string[] {
  const { baseline, candidate, metric, statistic, verdict } = comparison;
  const [before, after] = [baseline, candidate].map((name) => arms.find(({ id }) => id === name));
  if (before === undefined || after === undefined || verdict === "equivalent" || verdict === "not compared") return [];
  if (metric === "itl" && percentiles.has(statistic)) return byStamps(before, after, comparison);
  if (metric === "durationUs" || metric === "requestsPerSecond") return byCpu(before, after, comparison);
  return [];
}

/** Whether the interval leaves out that nothing differs. */
function isDifference({ difference }: Comparison): boolean {
  return difference !== null && (difference.low > 0 || difference.high < 0);
}

/**
 * Gaps between tokens, by the stamps of every token. Percentiles do not add up to that of the gaps; which part differs most is
 * told all the same where it differs by more than the others together.
 */
function byStamps(before: ArmResult, after: ArmResult, comparison: Comparison): string[] {
  const { statistic, difference } = comparison;
  const parts = stampedParts.flatMap(([metric, name]) => {
    const [from, to] = [before.metrics[metric]?.[statistic], after.metrics[metric]?.[statistic]];
    return from === undefined || to === undefined ? [] : [{ name, from, to }];
  });
  if (parts.length === 0) return [];
  const said = parts.map(({ name, from, to }) => `${name}\u00A0${digits(from / 1000)} to\u00A0${digits(to / 1000)}\u00A0ms`).join(", ");
  // Of some parts alone, or of a difference that may be none, no part is most of it.
  if (parts.length < stampedParts.length || !isDifference(comparison)) return [`by stamps, ${statistic} of a token: ${said}`];
  const direction = Math.sign(difference?.estimate ?? 0);
  const along = parts.map(({ name, from, to }) => ({ name, by: Math.max(0, (to - from) * direction) }));
  const total = along.reduce((sum, { by }) => sum + by, 0);
  const largest = along.find(({ by }) => by > total * most);
  const whose = total === 0 ? "" : largest === undefined ? ", no part has most of it" : `, most of it ${largest.name}`;
  return [`by stamps, ${statistic} of a token: ${said}${whose}`];
}

/** CPU time of both ends, which may compute at once: how long, what share of the wall time, and whose the difference is. */
function byCpu(before: ArmResult, after: ArmResult, comparison: Comparison): string[] {
  const [from, to] = [cpuShares(before), cpuShares(after)];
  if (from === null || to === null) return [];
  const said = (["client", "server"] as const).map((end) => {
    const [a, b] = [from[end], to[end]];
    const shares = `${percent(a.share)} and ${percent(b.share)} of the wall time`;
    return `${end}\u00A0${digits(a.us)} to\u00A0${digits(b.us)}\u00A0µs (${shares})`;
  });
  const client = from.client.us - to.client.us;
  const both = client + from.server.us - to.server.us;
  // Where one end saves and the other pays, the two have no common whole.
  const isShared = isDifference(comparison) && both !== 0 && client / both >= 0 && client / both <= 1;
  return [`CPU time a request: ${said.join(", ")}${isShared ? `, ${percent(client / both)} of the difference the client's` : ""}`];
}
