/** The part of a trace that a workload replays. */
import { existsSync } from "node:fs";
import { UsageError } from "../../base/usage-error.ts";
import { readTrace, type TraceRequest } from "../../load/trace.ts";
import { inputTokensOf } from "./prompts.ts";
import type { TraceSpec } from "./scenario-file.ts";
import { scenarioDirectory } from "./scenario.ts";

/** Traces that were read, by path and options: every round of every arm asks for its own. */
const traces = new Map<string, readonly TraceRequest[]>();

function readOnce({ file, unit, blockTokens }: TraceSpec): readonly TraceRequest[] {
  const shipped = `${scenarioDirectory}traces/${file}`;
  const path = !file.includes("/") && existsSync(shipped) ? shipped : file;
  const key = JSON.stringify([path, unit, blockTokens]);
  let rows = traces.get(key);
  if (rows === undefined) {
    try {
      rows = readTrace(path, { unit: unit ?? null, blockTokens: blockTokens ?? null });
    } catch (error) {
      throw new UsageError(`--trace: ${(error as Error).message}`);
    }
    traces.set(key, rows);
  }
  return rows;
}

/**
 * The requests of a trace that a workload replays, at its speed: times from 0, and turns by their place among these requests.
 * Throws UsageError.
 */
export function traceOf(trace: TraceSpec): TraceRequest[] {
  const { speed, seconds, limit, inputTokens, outputTokens } = trace;
  /** Places of the requests that are replayed, by those that they have in the file. */
  const places = new Map<number, number>();
  const replayed: TraceRequest[] = [];
  for (const [index, row] of readOnce(trace).entries()) {
    if (replayed.length === (limit ?? Infinity)) break;
    const { after, joins } = row;
    const isLate = row.atMs !== null && seconds !== null && row.atMs >= seconds * 1000;
    if (isLate || (after !== null && !places.has(after))) continue;
    places.set(index, replayed.length);
    replayed.push({
      ...row,
      atMs: row.atMs === null ? null : row.atMs / speed,
      delayMs: row.delayMs / speed,
      after: after === null ? null : places.get(after)!,
      ...(joins === undefined ? {} : { joins: joins.flatMap((before) => places.get(before) ?? []) }),
      inputTokens: inputTokens === undefined ? row.inputTokens : inputTokensOf(inputTokens, index),
      // Blocks fit the recorded length alone.
      blocks: inputTokens === undefined ? row.blocks : null,
      outputTokens: outputTokens ?? row.outputTokens,
    });
  }
  return replayed;
}

/** Whether a trace has no times: its requests, or its conversations, then run in a closed loop. */
export function isUntimed(rows: readonly TraceRequest[]): boolean {
  return rows.every(({ atMs }) => atMs === null);
}

/** Seconds that a replay lasts at least: to its last time, and through the pauses of its longest conversation. */
export function traceSeconds(rows: readonly TraceRequest[]): number {
  const ends: number[] = [];
  let last = 0;
  for (const [index, { atMs, after, delayMs }] of rows.entries()) {
    const end = Math.max(atMs ?? 0, after === null ? 0 : ends[after]! + delayMs);
    ends[index] = end;
    last = Math.max(last, end);
  }
  return last / 1000;
}
