/**
 * The page about client libraries from results of `fakeai bench --driver client`: a table, and an image beside it.
 * `node --import tsx bench/client-page.ts <result.json>... <folder>` writes figures.md and one SVG for each scenario.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { clientImage } from "../src/report/bars.ts";
import { digits } from "../src/report/format.ts";
import { readResult } from "../src/results/store.ts";
import type { ArmResult, MetricName, ScenarioResult, Statistic } from "../src/results/types.ts";

const places = process.argv.slice(2, -1);
const folder = process.argv.at(-1);
if (places.length === 0 || folder === undefined) throw new Error("usage: client-page.ts <result.json>... <folder>");

/** "0.21 (0.20 to 0.22)", divided by `scale`; a dash where it was not measured. */
function cell({ intervals, metrics }: ArmResult, metric: MetricName, statistic: Statistic, scale: number): string {
  const interval = intervals[`${metric}.${statistic}`];
  const value = metrics[metric]?.[statistic];
  if (value === undefined) return "–";
  if (interval === undefined) return digits(value / scale);
  return `${digits(interval.estimate / scale)} (${digits(interval.low / scale)} to ${digits(interval.high / scale)})`;
}

const columns: readonly (readonly [title: string, metric: MetricName, statistic: Statistic, scale: number])[] = [
  ["added to TTFT, p50 ms", "ttftAdded", "p50", 1000],
  ["p99 ms", "ttftAdded", "p99", 1000],
  ["added to a token, p50 ms", "tokenAdded", "p50", 1000],
  ["p99 ms", "tokenAdded", "p99", 1000],
  ["CPU per token, us", "clientCpuUsPerToken", "mean", 1],
  ["memory per stream, kB", "clientRssBytesPerStream", "mean", 1000],
  ["falls behind at, tokens/s", "keepsUpTokensPerSecond", "mean", 1],
  ["connections", "connectionsOpened", "mean", 1],
  ["streams at once", "streamsAtOnce", "mean", 1],
];

function pageOf({ id, title, arms, notes }: ScenarioResult): string {
  const shown = columns.filter(([, metric]) => arms.some(({ metrics }) => metrics[metric]));
  const rows = arms.map((arm) => {
    const rounds = arm.rounds.filter(({ invalid }) => invalid.length === 0).length;
    const cells = shown.map(([, metric, statistic, scale]) => cell(arm, metric, statistic, scale));
    return `| ${arm.client ?? arm.id} | ${arm.protocol} | ${cells.join(" | ")} | ${rounds} |`;
  });
  const header = ["client", "protocol", ...shown.map(([name]) => name), "rounds"];
  const table = [`| ${header.join(" | ")} |`, `| --- | --- |${" ---: |".repeat(header.length - 2)}`, ...rows].join("\n");
  return `## ${id}: ${title}\n\n${table}\n${notes.map((note) => `\n- ${note}`).join("")}\n`;
}

const results = await Promise.all(places.map((place) => readResult(place)));
const scenarios = results.flatMap((result) => result.scenarios).filter(({ skipped }) => skipped === null);
for (const scenario of scenarios) {
  const image = clientImage(scenario);
  if (image !== null) writeFileSync(join(folder, `${scenario.id}.svg`), image);
}
writeFileSync(join(folder, "figures.md"), scenarios.map(pageOf).join("\n"));
