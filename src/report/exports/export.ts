/** A result in the formats of other programs. */
import type { ExportFormat } from "../../results/exports.ts";
import type { BenchResult } from "../../results/types.ts";
import { junitOf, type JunitOptions } from "./junit.ts";
import { githubSummaryOf, markdownOf } from "./markdown.ts";
import { prometheusOf } from "./prometheus.ts";
import { csvOf, jsonLinesOf } from "./tables.ts";

/** The file of each format beside `result.json`. */
export const exportFiles: Readonly<Record<ExportFormat, string>> = {
  csv: "measurements.csv",
  jsonl: "measurements.jsonl",
  junit: "junit.xml",
  github: "summary.md",
  markdown: "figures.md",
  prometheus: "bench.prom",
};

const texts: Readonly<Record<ExportFormat, (result: BenchResult, options: JunitOptions) => string>> = {
  csv: csvOf,
  jsonl: jsonLinesOf,
  junit: junitOf,
  github: githubSummaryOf,
  markdown: markdownOf,
  prometheus: prometheusOf,
};

/** The whole file. Foreign names are escaped as the format asks. */
export function exportText(format: ExportFormat, result: BenchResult, options: JunitOptions): string {
  return texts[format](result, options);
}
