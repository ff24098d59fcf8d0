import { createWriteStream, mkdirSync, type WriteStream, writeFileSync } from "node:fs";
import { join } from "node:path";
import { renderComparison } from "../report/comparison.ts";
import { renderHtml } from "../report/html.ts";
import { renderTable } from "../report/table.ts";
import { gateOf, outcomesOfComparison, outcomesOfResult } from "../results/gates.ts";
import { compareResults, faultsOfResult, type ResultsComparison } from "../results/runs.ts";
import { scenarioLabel } from "../results/scenarios.ts";
import { writeResult } from "../results/store.ts";
import type { BenchResult } from "../results/types.ts";
import { runBench, suiteLabel } from "../runner/bench.ts";
import type { Observer } from "../runner/arms.ts";
import { resolveBench } from "../runner/plan/options.ts";
import { shippedScenarios } from "../runner/plan/scenario.ts";
import { benchFlags, runsDirectory } from "../settings/bench.ts";
import { type Flag, flagName } from "../settings/flags.ts";
import { type GivenFlags, settingsOf } from "../settings/parse.ts";
import { listenForInterruption } from "./interruption.ts";
import type { Line } from "./command.ts";
import { Progress } from "./progress.ts";
import { complain, complainOfResult, gateCodes, resultAt } from "./results.ts";
import { tableStyle } from "./terminal.ts";

/** `fakeai bench`. Its exit codes are in `--help-all`. */
export async function bench({ given }: Line): Promise<number> {
  const input: GivenFlags = { ...environmentOf(benchFlags), ...given };
  const { list, out, json, details, baseline: baselinePath, allowMissing } = settingsOf(benchFlags, input);
  if (list) {
    process.stdout.write(describeScenarios());
    return 0;
  }
  const options = resolveBench(input);
  const baseline = baselinePath === null ? null : await resultAt(baselinePath, "--baseline");
  // What such a baseline would be good for is known before minutes are spent.
  const faults = baseline === null ? [] : faultsOfResult("--baseline", baseline);
  if (faults.length > 0) {
    complain("invalid", faults);
    return gateCodes.invalid;
  }
  const directory = out ?? join(runsDirectory, `${timeName(new Date())}-${suiteLabel(options)}`);
  const progress = new Progress(process.stderr);
  const interruption = listenForInterruption(
    () => progress.notice("interrupted: writing what was measured (again to end at once)"),
    () => progress.notice("ended at once: no result was written"),
  );
  const requests = new DetailsFile(directory);
  const observer: Observer = {
    progress: (text) => progress.update(text),
    notice: (text) => progress.notice(text),
    detail: (where, detail) => requests.write({ ...where, ...detail }),
  };
  let result: BenchResult;
  try {
    result = await runBench({
      options,
      baseline: allowMissing ? null : baseline,
      command: ["fakeai", "bench", ...shownArguments(given)],
      details,
      observer,
      signal: interruption.signal,
    });
  } finally {
    progress.end();
    await requests.end();
  }
  await writeResult(directory, result);
  writeFileSync(join(directory, "report.html"), renderHtml(result));
  const comparison = baseline === null ? null : compareResults(baseline, result);
  if (json) process.stdout.write(`${JSON.stringify(result)}\n`);
  else printResult(result, comparison, directory);
  complainOfResult(result);
  if (comparison !== null) complainOfComparison(comparison);
  interruption.end();
  // A request that hangs would hold up the exit.
  if (!result.complete && interruption.exitCode !== null) process.exit(interruption.exitCode);
  const outcomes = [...outcomesOfResult(result), ...(comparison === null ? [] : outcomesOfComparison(comparison))];
  return gateCodes[gateOf(outcomes, allowMissing)];
}

/** What the variables give that rows name: `OPENAI_API_KEY` for `--api-key`. */
function environmentOf(flags: readonly Flag[]): GivenFlags {
  return Object.fromEntries(flags.flatMap(({ key, environment }) => (environment === undefined ? [] : [[key, process.env[environment]]])));
}

function printResult(result: BenchResult, comparison: ResultsComparison | null, directory: string): void {
  process.stdout.write(`${renderTable(result, tableStyle())}\n`);
  if (comparison !== null) process.stdout.write(`${renderComparison(comparison)}\n`);
  process.stdout.write(`result: ${join(directory, "result.json")}\nreport: ${join(directory, "report.html")}\n`);
}

/** With --json the comparison is on stderr alone. */
function complainOfComparison({ regressions, missing }: ResultsComparison): void {
  const names = regressions.map(({ scenario, variant, arm, comparison: { metric, statistic } }) => {
    return `${scenarioLabel({ id: scenario, variant })}, ${arm}: ${metric}.${statistic}`;
  });
  complain("slower than --baseline", names);
  complain("not compared with --baseline", missing);
}

/** `requests.jsonl` of `--details`: made with the first request that is written to it. */
class DetailsFile {
  readonly #directory: string;
  #stream: WriteStream | null = null;

  constructor(directory: string) {
    this.#directory = directory;
  }

  write(row: object): void {
    if (this.#stream === null) {
      mkdirSync(this.#directory, { recursive: true });
      this.#stream = createWriteStream(join(this.#directory, "requests.jsonl"));
    }
    this.#stream.write(`${JSON.stringify(row)}\n`);
  }

  /** Resolves when everything that was written is in the file. */
  end(): Promise<void> {
    const stream = this.#stream;
    return new Promise((resolve) => {
      if (stream === null) resolve();
      else stream.end(resolve);
    });
  }
}

/** "2026-11-24T10-15-00", in local time: a name that sorts and that every file system takes. */
function timeName(date: Date): string {
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}-${two(date.getMinutes())}-${two(date.getSeconds())}`;
}

/** The flags as given, for the record: without the key, the values of headers, and keys in a query. */
export function shownArguments(given: GivenFlags): string[] {
  return Object.entries(given).flatMap(([key, value]) => {
    const flag = `--${flagName(key)}`;
    if (value === undefined) return [];
    if (value === true) return [flag];
    return [value].flat().flatMap((text) => [flag, shownValue(key, text)]);
  });
}

function shownValue(key: string, text: string): string {
  if (key === "apiKey") return "***";
  if (key === "header") return `${text.split(":")[0]}: ***`;
  if (key === "url" || key === "via") return text.replaceAll(/([?&][^=&#]*(?:key|token|secret|sig|code|pass)[^=&#]*=)[^&#]*/gi, "$1***");
  return text;
}

function describeScenarios(): string {
  const lines = shippedScenarios().flatMap(({ id, title, isolates, variants, claims = [] }) => [
    `${id.padEnd(20)} ${title}`,
    `${"".padEnd(20)} isolates: ${isolates}`,
    ...variants.map(({ name, suites }) => `${"".padEnd(20)} - ${name} (${suites.join(", ") || "by name only"})`),
    ...claims.map(({ text }) => `${"".padEnd(20)} claim: ${text}`),
  ]);
  return `${lines.join("\n")}\n`;
}
