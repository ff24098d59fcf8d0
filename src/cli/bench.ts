import { dirname, join } from "node:path";
import { fileNameOf, printable, printableJson } from "../base/printable.ts";
import { comparisonCounts, renderComparison } from "../report/comparison.ts";
import { exportFiles } from "../report/exports/export.ts";
import { placesText, renderEnding } from "../report/ending.ts";
import { renderTable } from "../report/table.ts";
import { gateOf, outcomesOfComparison, outcomesOfResult } from "../results/gates.ts";
import { compareResults, faultsOfResult, type ResultsComparison } from "../results/runs.ts";
import { scenarioLabel } from "../results/scenarios.ts";
import type { ExportFormat } from "../results/exports.ts";
import type { BenchResult } from "../results/types.ts";
import { type BenchEnd, runShard, suiteLabel } from "../runner/bench.ts";
import type { Observer } from "../runner/arms.ts";
import { shareOf } from "../shards/share.ts";
import { resolveBench } from "../runner/plan/options.ts";
import { shippedScenarios } from "../runner/plan/scenario.ts";
import { benchFlags, runsDirectory } from "../settings/bench.ts";
import { givenByEnvironment } from "../settings/environment.ts";
import { flagName } from "../settings/flags.ts";
import { type GivenFlags, settingsOf } from "../settings/parse.ts";
import { refuseUnknownVariables } from "./environment.ts";
import { writeExports } from "./exports.ts";
import { listenForInterruption } from "./interruption.ts";
import type { Line } from "./command.ts";
import { ResultDirectory } from "./output.ts";
import { Progress } from "./progress.ts";
import { complain, complainOfResult, gateCodes, resultAt } from "./results.ts";
import { endingStyle, print, tableStyle } from "./terminal.ts";

/** `fakeai bench`. Its exit codes are in `--help-all`. */
export async function bench({ given }: Line): Promise<number> {
  refuseUnknownVariables(benchFlags);
  // What rows name: `OPENAI_API_KEY` for `--api-key`.
  const input: GivenFlags = { ...givenByEnvironment(benchFlags, process.env, ({ environment }) => environment), ...given };
  const { list, out, json, full, details, baseline: baselinePath, allowMissing, export: formats } = settingsOf(benchFlags, input);
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
  const progress = new Progress(process.stderr);
  const whole = out ?? join(runsDirectory, fileNameOf(`${timeName(new Date())}-${suiteLabel(options)}`));
  // Shards of one machine, or of one shared folder, do not write over each other.
  const path = options.shard === null ? whole : join(whole, `shard-${shareOf(options.shard.spec, process.env).shard}`);
  const directory = new ResultDirectory(path, out === null ? null : "--out", (text) => progress.notice(text));
  const interruption = listenForInterruption(
    () => progress.notice("interrupted: writing what was measured (again to end at once)"),
    () => progress.notice("ended at once: no result was written"),
  );
  const observer: Observer = {
    progress: (text) => progress.update(text),
    live: (event) => progress.see(event),
    notice: (text) => progress.notice(text),
    detail: (where, detail) => directory.detail({ ...where, ...detail }),
  };
  let end: BenchEnd;
  try {
    end = await runShard({
      options,
      baseline: allowMissing ? null : baseline,
      command: ["fakeai", "bench", ...shownArguments(given)],
      details,
      observer,
      signal: interruption.signal,
    });
  } catch (error) {
    // Nothing was measured.
    directory.discard();
    throw error;
  } finally {
    progress.end();
    await directory.endDetails();
  }
  const { own, merged } = end;
  const result = merged ?? own;
  const comparison = baseline === null ? null : compareResults(baseline, result);
  // Before the answers, which are to stay on the screen. What is required of the whole a part cannot meet.
  complainOfResult(options.shard !== null && merged === null ? { ...result, requirements: [] } : result);
  if (comparison !== null) complainOfComparison(comparison);
  // Shown first: a full disk must not take along what can still be read here.
  await print(json ? `${printableJson(result)}\n` : shownResult(result, comparison, full, formats ?? []));
  const isOwnWritten = merged === null || (await writeFiles(directory, own, true, async () => []));
  const isWritten =
    (await writeFiles(
      merged === null ? directory : new ResultDirectory(whole, "--out", (text) => progress.notice(text)),
      result,
      json,
      (place) => writeExports(place, formats ?? [], result, { comparison, allowMissing }),
    )) && isOwnWritten;
  interruption.end();
  // A request that hangs would hold up the exit.
  if (!result.complete && interruption.exitCode !== null) process.exit(interruption.exitCode);
  const outcomes = [
    ...outcomesOfResult(options.shard !== null && merged === null ? { ...result, requirements: [] } : result),
    ...(comparison === null ? [] : outcomesOfComparison(comparison)),
  ];
  const code = gateCodes[gateOf(outcomes, allowMissing)];
  return isWritten ? code : Math.max(1, code);
}

/**
 * Writes the result and says where it is, on stderr where stdout is closed or holds JSON. Where no disk takes it, stdout does.
 * false: not all is where it was meant to be.
 */
async function writeFiles(
  directory: ResultDirectory,
  result: BenchResult,
  json: boolean,
  exportTo: (directory: string) => Promise<string[]>,
): Promise<boolean> {
  try {
    const { result: file, report, complaints: left } = await directory.write(result);
    const complaints = [...left, ...(await exportTo(dirname(file)))];
    for (const line of complaints) process.stderr.write(`fakeai: ${printable(line)}\n`);
    if (!json && !(await print(placesText(report, dirname(file)))))
      process.stderr.write(`result: ${printable(file)}\n${report === null ? "" : `report: ${printable(report)}\n`}`);
    return complaints.length === 0;
  } catch (error) {
    const isPrinted = json || (await print(`${printableJson(result)}\n`));
    const left = isPrinted ? "the JSON on stdout is the result" : "only what was printed is left of the result";
    process.stderr.write(`fakeai: ${printable((error as Error).message)}: ${left}\n`);
    return false;
  }
}

function shownResult(result: BenchResult, comparison: ResultsComparison | null, isFull: boolean, formats: readonly ExportFormat[]): string {
  const beside: [string, string][] = comparison === null ? [] : [["Baseline", comparisonCounts(comparison)]];
  if (formats.length > 0) beside.push(["Exports", `${formats.map((format) => exportFiles[format]).join(", ")} beside the report`]);
  return [
    ...(isFull ? [renderTable(result, tableStyle())] : []),
    ...(comparison === null ? [] : [`${renderComparison(comparison)}\n`]),
    renderEnding(result, endingStyle(), beside),
  ].join("\n");
}

/** With --json the comparison is on stderr alone. */
function complainOfComparison({ regressions, missing }: ResultsComparison): void {
  const names = regressions.map(({ scenario, variant, arm, comparison: { metric, statistic } }) => {
    return `${scenarioLabel({ id: scenario, variant })}, ${arm}: ${metric}.${statistic}`;
  });
  complain("slower than --baseline", names);
  complain("not compared with --baseline", missing);
}

/** "2026-11-24T10-15-00", in local time: a name that sorts and that every file system takes. */
export function timeName(date: Date): string {
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
  if (key === "apiKey" || key === "rendezvousToken") return "***";
  if (key === "header") return `${text.split(":")[0]}: ***`;
  if (key === "url" || key === "via") return text.replaceAll(/([?&][^=&#]*(?:key|token|secret|sig|code|pass)[^=&#]*=)[^&#]*/gi, "$1***");
  return text;
}

function describeScenarios(): string {
  const lines = shippedScenarios().flatMap(({ id, title, isolates, variants, claims = [] }) => [
    `${id.padEnd(20)} ${title}`,
    `${"".padEnd(20)} isolates: ${isolates}`,
    ...variants.map(({ name, suites }) => `${"".padEnd(20)} - ${name} (${suites.join(", ") || "by name only"})`),
    ...claims.map(({ text, conditions }) => `${"".padEnd(20)} claim: ${text} (tested with ${conditions})`),
  ]);
  return `${lines.join("\n")}\n`;
}
