/** `--export`: a result for other programs, as files beside it or on stdout, and GitHub's summary of a step. */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { exportFiles, exportText } from "../report/exports/export.ts";
import type { JunitOptions } from "../report/exports/junit.ts";
import type { ExportFormat } from "../results/exports.ts";
import { writeWhole } from "../results/store.ts";
import type { BenchResult } from "../results/types.ts";
import { faultIn } from "./output.ts";

/** Where GitHub Actions takes the Markdown that it shows for a step. */
const summaryVariable = "GITHUB_STEP_SUMMARY";

/** Writes the formats into the directory. One line for each that is not where it was meant to be. */
export async function writeExports(
  directory: string,
  formats: readonly ExportFormat[],
  result: BenchResult,
  options: JunitOptions,
): Promise<string[]> {
  const complaints: string[] = [];
  for (const format of formats) {
    const text = exportText(format, result, options);
    const file = join(directory, exportFiles[format]);
    try {
      await writeWhole(file, text);
    } catch (error) {
      complaints.push(`--export ${format}: cannot write ${file} (${faultIn(error)})`);
    }
    if (format === "github") complaints.push(...addToSummary(text));
  }
  return complaints;
}

/** Appends to the summary of this step, where this is one. A complaint, or none. */
export function addToSummary(text: string): string[] {
  const file = process.env[summaryVariable] ?? "";
  if (file === "") return [];
  try {
    appendFileSync(file, text);
    return [];
  } catch (error) {
    return [`--export github: cannot write ${summaryVariable}, ${file} (${faultIn(error)})`];
  }
}
