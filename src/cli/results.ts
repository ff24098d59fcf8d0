/** Commands on results that are there: compare, merge, report. */
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Command } from "commander";
import { UsageError } from "../base/usage-error.ts";
import { renderHtml } from "../report/html.ts";
import { imagesOf } from "../report/images.ts";
import { renderTable } from "../report/table.ts";
import { vllmJson } from "../results/exports.ts";
import { compareResults, mergeResults, type ResultsComparison, type RunComparison } from "../results/runs.ts";
import { readResult, writeResult } from "../results/store.ts";
import type { BenchResult, Interval, Unit } from "../results/types.ts";

/** Exit code 1 when B is worse than A anywhere. */
export function compareCommand(): Command {
  return new Command("compare")
    .description("compare two results: difference, interval, verdict; exit code 1 where B is slower")
    .argument("<A>", "result.json, or the directory that holds it")
    .argument("<B>", "the same, later or changed")
    .option("--json", "the comparison as JSON")
    .option("--all", "equivalent and inconclusive metrics too")
    .action(async (a: string, b: string, { json, all }: { json?: boolean; all?: boolean }) => {
      const comparison = compareResults(await read(a), await read(b));
      process.stdout.write(json ? `${JSON.stringify(comparison)}\n` : `${describeComparison(comparison, all)}\n`);
      process.exitCode = comparison.regressions.length > 0 ? 1 : 0;
    });
}

export function mergeCommand(): Command {
  return new Command("merge")
    .description("one result of several machines or rounds: rounds put together, histograms added")
    .argument("<results...>", "two or more result.json, or directories that hold them")
    .option("--out <dir>", "where the merged result goes", "results/runs/merged")
    .option("--json", "the result as JSON on stdout")
    .action(async (paths: string[], { out, json }: { out: string; json?: boolean }) => {
      if (paths.length < 2) throw new UsageError("merge: name two results or more");
      const parts = await Promise.all(paths.map(read));
      const merged = await usage("merge", () => mergeResults(parts));
      await writeResult(out, merged);
      writeFileSync(join(out, "report.html"), renderHtml(merged));
      process.stdout.write(json ? `${JSON.stringify(merged)}\n` : `${render(merged)}\nresult: ${join(out, "result.json")}\n`);
    });
}

export function reportCommand(): Command {
  return new Command("report")
    .description("the table of a result, and its page anew")
    .argument("<R>", "result.json, or the directory that holds it")
    .option("--out <file>", "where the page goes (default: report.html beside the result)")
    .option("--svg <dir>", "its charts as images too, for pages without scripts")
    .option("--vllm <scenario/arm>", "instead print one arm as vLLM's benchmark JSON")
    .action(async (path: string, { out, svg, vllm }: { out?: string; svg?: string; vllm?: string }) => {
      const result = await read(path);
      if (vllm !== undefined) {
        process.stdout.write(`${JSON.stringify(vllmJson(armNamed(result, vllm)))}\n`);
        return;
      }
      const page = out ?? join(statSync(path).isDirectory() ? path : dirname(path), "report.html");
      writeFileSync(page, renderHtml(result));
      process.stdout.write(`${render(result)}\nreport: ${page}\n`);
      if (svg !== undefined) process.stdout.write(`images: ${writeImages(result, svg)} in ${svg}\n`);
    });
}

/** How many images were written. Throws UsageError where the directory cannot be had. */
function writeImages(result: BenchResult, directory: string): number {
  const images = imagesOf(result);
  try {
    mkdirSync(directory, { recursive: true });
    for (const { name, svg } of images) writeFileSync(join(directory, name), svg);
  } catch (error) {
    throw new UsageError(`--svg: cannot write to ${directory} (${(error as NodeJS.ErrnoException).code ?? "unwritable"})`);
  }
  return images.length;
}

function render(result: BenchResult): string {
  return renderTable(result, {
    color: process.stdout.isTTY && process.env["NO_COLOR"] === undefined,
    width: process.stdout.columns ?? 100,
  });
}

function read(path: string): Promise<BenchResult> {
  return usage("result", () => readResult(path));
}

/** What the results room complains about in one line is wrong usage here. */
async function usage<T>(what: string, action: () => T | Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw new UsageError(`${what}: ${(error as Error).message}`);
  }
}

function armNamed(result: BenchResult, name: string): BenchResult["scenarios"][number]["arms"][number] {
  const arms = result.scenarios.flatMap(({ id, variant, arms }) =>
    arms.map((arm) => ({ names: [`${id}/${arm.id}`, `${id}/${variant}/${arm.id}`], arm })),
  );
  const found = arms.find(({ names }) => names.includes(name));
  if (found === undefined)
    throw new UsageError(`--vllm: no arm "${name}"; there are ${[...new Set(arms.map(({ names }) => names[0]))].join(", ")}`);
  return found.arm;
}

/** Differences, one line each, worse ones first. */
export function describeComparison({ comparisons, notes }: ResultsComparison, all = false): string {
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
