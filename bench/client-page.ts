/**
 * One scenario of `fakeai bench --driver client` for a page: tables of figures and verdicts, and an image.
 * `node --import tsx bench/client-page.ts <result>... <page>` writes page.md and page.svg. Of several results, each with other
 * clients, the rows come below each other.
 */
import { writeFileSync } from "node:fs";
import { basename } from "node:path";
import { clientImage } from "../src/report/bars.ts";
import { change, digits } from "../src/report/format.ts";
import { validRounds, valueIn } from "../src/results/arms.ts";
import { readResult } from "../src/results/store.ts";
import type { ArmResult, Comparison, Interval, MetricName, ScenarioResult, Statistic, Verdict } from "../src/results/types.ts";

const places = process.argv.slice(2, -1);
const page = process.argv.at(-1);
if (places.length === 0 || page === undefined) throw new Error("usage: client-page.ts <result>... <page>");

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

/** A command by its program, without the way there. */
const named = ({ client, id }: ArmResult): string => (client ?? id).replace(/^\S+ \S*\//, "");

/** A client that takes less CPU time is not a faster one. */
const cpuVerdicts: Partial<Record<Verdict, string>> = { faster: "less", slower: "more" };

function tableOf(header: readonly string[], rows: readonly string[][], names: number): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(header), `|${" --- |".repeat(names)}${" ---: |".repeat(header.length - names)}`, ...rows.map(line)].join("\n");
}

/** That all streams were open at once is what one expects. */
function isShown({ arms }: ScenarioResult, metric: MetricName): boolean {
  const measured = arms.filter(({ metrics }) => metrics[metric]);
  return metric === "streamsAtOnce"
    ? measured.some(({ metrics, streams }) => metrics.streamsAtOnce!.mean !== streams)
    : measured.length > 0;
}

function figuresOf(scenario: ScenarioResult): string {
  const shown = columns.filter(([, metric]) => isShown(scenario, metric));
  const rows = scenario.arms.map((arm) => {
    const cells = shown.map(([, metric, statistic, scale]) => cell(arm, metric, statistic, scale));
    return [named(arm), arm.protocol, ...cells, String(validRounds(arm).length)];
  });
  return tableOf(["client", "protocol", ...shown.map(([name]) => name), "rounds"], rows, 2);
}

function interval(value: Interval | null, text: (value: number) => string): string {
  return value === null ? "–" : `${text(value.estimate)} (${text(value.low)} to ${text(value.high)})`;
}

const moreMs = (us: number): string => `${us < 0 ? "" : "+"}${digits(us / 1000)}`;

/** Verdicts on what decides: CPU time and time added to a token, with their 95% intervals; empty where nothing is compared. */
function verdictsOf({ arms, comparisons }: ScenarioResult, kind: Comparison["kind"]): string {
  const decided = comparisons.filter((comparison) => comparison.kind === kind && comparison.described !== true);
  const armOf = (id: string): ArmResult => arms.find((arm) => arm.id === id)!;
  const pairs = new Map(decided.map(({ baseline, candidate }) => [`${baseline} ${candidate}`, { baseline, candidate }]));
  const rows = [...pairs.values()].map(({ baseline, candidate }) => {
    const of = (wanted: MetricName): Comparison | undefined =>
      decided.find(({ metric, ...pair }) => metric === wanted && pair.baseline === baseline && pair.candidate === candidate);
    const [cpu, added] = [of("clientCpuUsPerToken"), of("tokenAdded")];
    return [
      named(armOf(candidate)),
      armOf(candidate).protocol,
      `${named(armOf(baseline))}, ${armOf(baseline).protocol}`,
      interval(cpu?.ratio ?? null, change),
      cpu === undefined ? "–" : (cpuVerdicts[cpu.verdict] ?? cpu.verdict),
      interval(added?.difference ?? null, moreMs),
      added?.verdict ?? "–",
    ];
  });
  const header = ["client", "protocol", "compared with", "CPU per token", "verdict", "added to a token, p50 ms", "verdict"];
  return rows.length === 0 ? "" : tableOf(header, rows, 3);
}

/** The same scenario of several runs as one. Throws Error for others, and for a client that two of them have. */
function joined(scenarios: readonly ScenarioResult[]): ScenarioResult {
  const [first, ...rest] = scenarios;
  if (first === undefined) throw new Error("nothing was measured");
  const arms = scenarios.flatMap((scenario) => scenario.arms);
  if (rest.some(({ id }) => id !== first.id)) throw new Error(`one scenario makes a page: ${scenarios.map(({ id }) => id).join(", ")}`);
  if (new Set(arms.map(({ id }) => id)).size < arms.length) throw new Error("a client is in two results: merge them");
  return {
    ...first,
    arms,
    comparisons: scenarios.flatMap(({ comparisons }) => comparisons),
    notes: [...new Set(scenarios.flatMap(({ notes }) => notes))],
  };
}

const results = await Promise.all(places.map((place) => readResult(place)));
const scenario = joined(results.flatMap(({ scenarios }) => scenarios).filter(({ skipped }) => skipped === null));
const image = clientImage(scenario);
if (image !== null) writeFileSync(`${page}.svg`, image);
const parts = [
  `![${scenario.title}](${basename(page)}.svg)`,
  figuresOf(scenario),
  verdictsOf(scenario, "client"),
  verdictsOf(scenario, "protocol"),
  scenario.notes.map((note) => `- ${note}`).join("\n"),
];
writeFileSync(`${page}.md`, `${parts.filter((part) => part !== "").join("\n\n")}\n`);
