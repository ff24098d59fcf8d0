/** The rows of a result as CSV (RFC 4180, lines end in LF) and as lines of JSON. */
import { printable, printableJson } from "../../base/printable.ts";
import { measurementColumns, measurementsOf } from "../../results/measurements.ts";
import type { BenchResult } from "../../results/types.ts";

/** What makes a spreadsheet take a text for a formula (OWASP, CSV injection), full-width forms too. */
const formula = /^\s*[=+\-@\uFF1D\uFF0B\uFF0D\uFF20]/u;

/** A cell: numbers and booleans as they are, null as nothing. A text that would be a formula begins with an apostrophe. */
function cell(value: string | number | boolean | null): string {
  if (value === null) return "";
  if (typeof value !== "string") return String(value);
  const line = printable(value);
  const text = formula.test(line) ? `'${line}` : line;
  return /[",]/u.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** A header, and a row for each statistic of each metric, arm and round. */
export function csvOf(result: BenchResult): string {
  const lines = [measurementColumns.join(",")];
  for (const row of measurementsOf(result)) lines.push(measurementColumns.map((column) => cell(row[column])).join(","));
  return `${lines.join("\n")}\n`;
}

/** The same rows, one object a line, with null where the CSV has nothing. */
export function jsonLinesOf(result: BenchResult): string {
  let text = "";
  for (const row of measurementsOf(result))
    text += `${printableJson(Object.fromEntries(measurementColumns.map((column) => [column, row[column]])))}\n`;
  return text;
}
