/** Recorded traffic: when requests came and how long prompts and answers were. */
import { readFileSync } from "node:fs";

export interface TraceRequest {
  /** Milliseconds after the first request of the trace; rising. */
  readonly atMs: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** The file is no trace; the message is one line. */
export class TraceError extends Error {}

/**
 * Reads a trace: the Azure LLM inference dataset's CSV (2023 and 2024; columns TIMESTAMP, ContextTokens,
 * GeneratedTokens), or Mooncake's JSONL (timestamp in milliseconds, input_length, output_length). The content tells which
 * it is. Throws TraceError, which names the line.
 */
export function readTrace(path: string): TraceRequest[] {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new TraceError(`cannot read the trace ${path} (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`);
  }
  const lines = text.replace(/^\u{feff}/u, "").split(/\r?\n/);
  const requests = lines[0]!.trimStart().startsWith("{") ? readMooncake(path, lines) : readAzure(path, lines);
  if (requests.length === 0) throw new TraceError(`${path} holds no requests`);
  // Logs are not always in the order of arrival.
  requests.sort((a, b) => a.atMs - b.atMs);
  const first = requests[0]!.atMs;
  return requests.map(({ atMs, inputTokens, outputTokens }) => ({ atMs: atMs - first, inputTokens, outputTokens }));
}

function readAzure(path: string, lines: readonly string[]): TraceRequest[] {
  const columns = lines[0]!.split(",").map((name) => name.trim().toLowerCase());
  const [time, input, output] = ["timestamp", "contexttokens", "generatedtokens"].map((name) => columns.indexOf(name));
  if (time! < 0 || input! < 0 || output! < 0)
    throw new TraceError(
      `${path} is no trace: expected a header with TIMESTAMP,ContextTokens,GeneratedTokens (Azure) or lines of JSON with timestamp, input_length, output_length (Mooncake)`,
    );
  return lines.slice(1).flatMap((line, i) => {
    if (line.trim() === "") return [];
    const cells = line.split(",");
    const at = `${path}, line ${i + 2}`;
    return [
      {
        atMs: timeOf(cells[time!] ?? "", at),
        inputTokens: tokensOf(cells[input!]?.trim(), "ContextTokens", at),
        outputTokens: tokensOf(cells[output!]?.trim(), "GeneratedTokens", at),
      },
    ];
  });
}

/** "2023-11-16 18:15:46.6805900", with or without an offset: more digits than Date reads on every platform. */
function timeOf(text: string, at: string): number {
  const parts = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?$/.exec(text.trim());
  const wholeMs = parts ? Date.parse(`${parts[1]}T${parts[2]}${parts[4] ?? "Z"}`) : Number.NaN;
  if (!parts || Number.isNaN(wholeMs)) throw new TraceError(`${at}: "${text.slice(0, 40)}" is not a time`);
  return wholeMs + Number(parts[3] ?? 0) * 1000;
}

function readMooncake(path: string, lines: readonly string[]): TraceRequest[] {
  return lines.flatMap((line, i) => {
    if (line.trim() === "") return [];
    const at = `${path}, line ${i + 1}`;
    let row: unknown;
    try {
      row = JSON.parse(line);
    } catch {
      throw new TraceError(`${at}: not JSON`);
    }
    if (typeof row !== "object" || row === null) throw new TraceError(`${at}: not a JSON object`);
    const { timestamp, input_length: input, output_length: output } = row as Record<string, unknown>;
    if (typeof timestamp !== "number" || !(timestamp >= 0)) throw new TraceError(`${at}: "timestamp" must be milliseconds`);
    return [{ atMs: timestamp, inputTokens: tokensOf(input, "input_length", at), outputTokens: tokensOf(output, "output_length", at) }];
  });
}

function tokensOf(value: unknown, name: string, at: string): number {
  const tokens = value === "" || value === undefined ? Number.NaN : Number(value);
  if (!Number.isSafeInteger(tokens) || tokens < 0) throw new TraceError(`${at}: "${name}" must be a whole number of tokens`);
  return tokens;
}
