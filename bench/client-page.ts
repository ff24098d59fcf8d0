/**
 * The page about client libraries from results of `fakeai bench --driver client`: a table, and an image beside it.
 * `node --import tsx bench/client-page.ts <result.json>... <folder>` writes figures.md and one SVG for each scenario.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { clientImage } from "../src/report/bars.ts";
import { digits } from "../src/report/format.ts";
import { validRounds, valueIn } from "../src/results/compare.ts";
import { readResult } from "../src/results/store.ts";
import type { ArmResult, MetricName, ScenarioResult, Statistic } from "../src/results/types.ts";

const places = process.argv.slice(2, -1);
const folder = process.argv.at(-1);
if (places.length === 0 || folder === undefined) throw new Error("usage: client-page.ts <result.json>... <folder>");

/** "0.21 (0.20 to 0.24)": median, least and greatest of the valid rounds, by `scale`; a dash where it was not measured. */
function cell({ rounds }: ArmResult, metric: MetricName, statistic: Statistic, scale: number): string {
  const values = validRounds({ rounds })
    .map((round) => valueIn(round, metric, statistic))
    .filter((value) => value !== null)
    .sort((a, b) => a - b);
  if (values.length === 0) return "–";
  const at = (index: number): string => digits(values[index]! / scale);
  const median = digits((values[(values.length - 1) >> 1]! + values[values.length >> 1]!) / 2 / scale);
  return values[0] === values.at(-1) ? median : `${median} (${at(0)} to ${at(values.length - 1)})`;
}

const columns: readonly (readonly [title: string, metric: MetricName, statistic: Statistic, scale: number])[] = [
  ["added to TTFT, p50 ms", "ttftAdded", "p50", 1000],
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
    const rounds = validRounds(arm).length;
    const cells = shown.map(([, metric, statistic, scale]) => cell(arm, metric, statistic, scale));
    return `| ${arm.client ?? arm.id} | ${arm.protocol} | ${cells.join(" | ")} | ${rounds} |`;
  });
  const header = ["client", "protocol", ...shown.map(([name]) => name), "rounds"];
  const table = [`| ${header.join(" | ")} |`, `| --- | --- |${" ---: |".repeat(header.length - 2)}`, ...rows].join("\n");
  const said = notes.map((note) => `- ${note}\n`).join("");
  return `## ${id}: ${title}\n\n![${title}](${id}.svg)\n\n${table}\n\n${said}`;
}

const results = await Promise.all(places.map((place) => readResult(place)));
const scenarios = results.flatMap((result) => result.scenarios).filter(({ skipped }) => skipped === null);
for (const scenario of scenarios) {
  const image = clientImage(scenario);
  if (image !== null) writeFileSync(join(folder, `${scenario.id}.svg`), image);
}
writeFileSync(join(folder, "figures.md"), scenarios.map(pageOf).join("\n"));
