import { statSync } from "node:fs";
import { dirname, join } from "node:path";
import { makeDirectory } from "../base/directory.ts";
import { printable, printableJson } from "../base/printable.ts";
import { UsageError } from "../base/usage-error.ts";
import { renderHtml } from "../report/html.ts";
import { imagesOf } from "../report/images.ts";
import { exportText } from "../report/exports/export.ts";
import { placesText, renderEnding } from "../report/ending.ts";
import { renderTable } from "../report/table.ts";
import { vllmJson } from "../results/exports.ts";
import { resultFile, writeWhole } from "../results/store.ts";
import type { ArmResult, BenchResult } from "../results/types.ts";
import { type GivenFlags, settingsOf } from "../settings/parse.ts";
import { reportFlags } from "../settings/results.ts";
import type { Line } from "./command.ts";
import { addToSummary } from "./exports.ts";
import { faultIn, rawDataBeside } from "./output.ts";
import { resultAt } from "./results.ts";
import { endingStyle, tableStyle } from "./terminal.ts";

/** `fakeai report`: the answers on stdout, with --full every figure before them, the page and images as files; or one arm as vLLM's JSON, or all as --export says. */
export async function report({ given, positionals }: Line): Promise<number> {
  const { out, svg, vllm, export: format, full } = settingsOf(reportFlags, given);
  const path = positionals[0]!;
  refuseBesidePrinted(given);
  const result = await resultAt(path);
  if (vllm !== null) {
    process.stdout.write(`${printableJson(vllmJson(armNamed(result, vllm)))}\n`);
    return 0;
  }
  if (format !== null) {
    const text = exportText(format, result, { comparison: null, allowMissing: false });
    process.stdout.write(text);
    const complaints = format === "github" ? addToSummary(text) : [];
    for (const line of complaints) process.stderr.write(`fakeai: ${printable(line)}\n`);
    return complaints.length === 0 ? 0 : 1;
  }
  const file = statSync(path).isDirectory() ? join(path, resultFile) : path;
  const page = out ?? join(dirname(file), "report.html");
  // Shown first: a full disk must not take along what can still be read here.
  process.stdout.write(`${full ? `${renderTable(result, tableStyle())}\n` : ""}${renderEnding(result, endingStyle())}`);
  try {
    await writeWhole(page, renderHtml(result, rawDataBeside(page, file)));
  } catch (error) {
    throw new UsageError(`--out: cannot write ${page} (${faultIn(error)})`);
  }
  if (svg !== null) process.stdout.write(`images: ${await writeImages(result, svg)} in ${printable(svg)}\n`);
  process.stdout.write(placesText(page, path));
  return 0;
}

/** What is printed for a program is all that is made: a page that was asked for beside it would silently be missing. */
function refuseBesidePrinted(given: GivenFlags): void {
  const [printed, ...others] = (["export", "vllm", "out", "svg", "full"] as const).filter((key) => given[key] !== undefined);
  if ((printed === "export" || printed === "vllm") && others.length > 0)
    throw new UsageError(`--${printed} prints the result for a program and makes nothing else: leave out --${others.join(" and --")}`);
}

/** How many images were written. Throws UsageError where the folder cannot be written to. */
async function writeImages(result: BenchResult, directory: string): Promise<number> {
  const images = imagesOf(result);
  try {
    makeDirectory(directory);
    for (const { name, svg } of images) await writeWhole(join(directory, name), svg);
  } catch (error) {
    throw new UsageError(`--svg: cannot write to ${directory} (${faultIn(error)})`);
  }
  return images.length;
}

function armNamed(result: BenchResult, name: string): ArmResult {
  const arms = result.scenarios.flatMap(({ id, variant, arms }) =>
    arms.map((arm) => ({ names: [`${id}/${arm.id}`, `${id}/${variant}/${arm.id}`], arm })),
  );
  const found = arms.find(({ names }) => names.includes(name));
  if (found === undefined)
    throw new UsageError(`--vllm: no arm "${name}"; there are ${[...new Set(arms.map(({ names }) => names[0]))].join(", ")}`);
  return found.arm;
}
