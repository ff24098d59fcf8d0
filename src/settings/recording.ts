/** TTFT and ITL of a server as an earlier bench saw them: `--latency-from`. */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Counted, countedValues } from "../core/random/empirical.ts";
import { UsageError } from "../base/usage-error.ts";

/** Microseconds. Plain data, which JSON carries from process to process. */
export interface Recording {
  readonly source: string;
  readonly ttft: readonly Counted[];
  readonly itl: readonly Counted[];
}

/** The longest latency that is believed, milliseconds: a day. */
const mostMs = 86_400_000;

function fail(why: string): never {
  throw new UsageError(`--latency-from: ${why}`);
}

/**
 * Reads a `result.json` of `fakeai bench`, or the directory that it is in (with `#scenario/arm` where it holds several), or a
 * CSV with columns ttft_ms and itl_ms, of which a row may leave one empty. Rejects with UsageError.
 */
export async function readRecording(place: string): Promise<Recording> {
  const [path, chosen] = splitPlace(place);
  let file = path;
  let text: string;
  try {
    if (statSync(path).isDirectory()) file = join(path, "result.json");
    text = readFileSync(file, "utf8");
  } catch (error) {
    return fail(`cannot read ${file} (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`);
  }
  if (text.trimStart().startsWith("{")) return recordingOfResult(file, text, chosen);
  if (chosen !== null) fail(`${file}: "#" chooses an arm of a result.json, and this is none`);
  return recordingOfCsv(file, text);
}

function splitPlace(place: string): [file: string, chosen: string | null] {
  const at = place.lastIndexOf("#");
  return at < 0 ? [place, null] : [place.slice(0, at), place.slice(at + 1)];
}

async function recordingOfResult(file: string, text: string, chosen: string | null): Promise<Recording> {
  // Libraries of the bench, which a server starts without.
  const [{ checkResult }, { bucketsOf }] = await Promise.all([import("../results/store.ts"), import("../results/recorder.ts")]);
  try {
    const arms = checkResult(parsed(file, text), file).scenarios.flatMap(({ id, variant, arms }) =>
      arms
        .filter(({ metrics }) => metrics.ttft?.histogram && metrics.itl?.histogram)
        .map(({ id: arm, metrics }) => ({ name: `${id}${variant === "" ? "" : `/${variant}`}/${arm}`, metrics })),
    );
    if (arms.length === 0) fail(`${file}: no arm has histograms of both ttft and itl`);
    const names = arms.map(({ name }) => name).join(", ");
    const found = chosen === null ? arms : arms.filter(({ name }) => name === chosen);
    if (found.length === 0) fail(`${file}: no arm "${chosen}" with histograms; there are ${names}`);
    if (found.length > 1) fail(`${file}: which arm? add one of them after "#": ${names}`);
    const { name, metrics } = found[0]!;
    return { source: `${file}#${name}`, ttft: bucketsOf(metrics.ttft!), itl: bucketsOf(metrics.itl!) };
  } catch (error) {
    if (error instanceof UsageError) throw error;
    return fail((error as Error).message);
  }
}

function parsed(file: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return fail(`${file}: not JSON`);
  }
}

function recordingOfCsv(file: string, text: string): Recording {
  const [head = "", ...rows] = text.replace(/^\uFEFF/, "").split(/\r?\n/);
  const columns = head.split(",").map((name) => name.trim().replace(/^"(.*)"$/, "$1"));
  const at = { ttft: columns.indexOf("ttft_ms"), itl: columns.indexOf("itl_ms") };
  if (at.ttft < 0 || at.itl < 0) fail(`${file}: the first line must name the columns ttft_ms and itl_ms`);
  const valuesUs = { ttft: [] as number[], itl: [] as number[] };
  for (const [index, row] of rows.entries()) {
    if (row.trim() === "") continue;
    const cells = row.split(",").map((cell) => cell.trim().replace(/^"(.*)"$/, "$1"));
    for (const metric of ["ttft", "itl"] as const) {
      const cell = cells[at[metric]] ?? "";
      if (cell === "") continue;
      const value = Number(cell);
      if (!(value >= 0 && value <= mostMs))
        fail(`${file}:${index + 2}: ${metric}_ms "${cell.slice(0, 40)}" is not a number of milliseconds`);
      valuesUs[metric].push(value * 1000);
    }
  }
  for (const metric of ["ttft", "itl"] as const) if (valuesUs[metric].length === 0) fail(`${file}: no value of ${metric}_ms`);
  return { source: file, ttft: countedValues(valuesUs.ttft), itl: countedValues(valuesUs.itl) };
}
