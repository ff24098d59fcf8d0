import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { UsageError } from "../base/usage-error.ts";
import { renderHtml } from "../report/html.ts";
import { imagesOf } from "../report/images.ts";
import { renderTable } from "../report/table.ts";
import { vllmJson } from "../results/exports.ts";
import type { ArmResult, BenchResult } from "../results/types.ts";
import { settingsOf } from "../settings/parse.ts";
import { reportFlags } from "../settings/results.ts";
import type { Line } from "./command.ts";
import { resultAt } from "./results.ts";
import { tableStyle } from "./terminal.ts";

/** `fakeai report`: the table on stdout, the page and images as files; or one arm as vLLM's JSON. */
export async function report({ given, positionals }: Line): Promise<void> {
  const { out, svg, vllm } = settingsOf(reportFlags, given);
  const path = positionals[0]!;
  const result = await resultAt(path);
  if (vllm !== null) {
    process.stdout.write(`${JSON.stringify(vllmJson(armNamed(result, vllm)))}\n`);
    return;
  }
  const page = out ?? join(statSync(path).isDirectory() ? path : dirname(path), "report.html");
  writeFileSync(page, renderHtml(result));
  process.stdout.write(`${renderTable(result, tableStyle())}\nreport: ${page}\n`);
  if (svg !== null) process.stdout.write(`images: ${writeImages(result, svg)} in ${svg}\n`);
}

/** How many images were written. Throws UsageError where the folder cannot be written to. */
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

function armNamed(result: BenchResult, name: string): ArmResult {
  const arms = result.scenarios.flatMap(({ id, variant, arms }) =>
    arms.map((arm) => ({ names: [`${id}/${arm.id}`, `${id}/${variant}/${arm.id}`], arm })),
  );
  const found = arms.find(({ names }) => names.includes(name));
  if (found === undefined)
    throw new UsageError(`--vllm: no arm "${name}"; there are ${[...new Set(arms.map(({ names }) => names[0]))].join(", ")}`);
  return found.arm;
}
