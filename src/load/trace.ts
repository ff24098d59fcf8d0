/** Recorded traffic: when requests came and how long prompts and answers were. */
import { readBytes, RecordError, type Row, type Table, tableOf } from "./records.ts";

export interface TraceRequest {
  /** Milliseconds after the first request of the trace; rising. */
  readonly atMs: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
}

/** The file is no trace; the message is one line. */
export class TraceError extends Error {}

/** What a plain number in a column of times means. */
export const traceUnits = ["s", "ms", "us"] as const;
export type TraceUnit = (typeof traceUnits)[number];

const msPerUnit: Readonly<Record<TraceUnit, number>> = { s: 1000, ms: 1, us: 0.001 };

export interface TraceOptions {
  /** null: the unit of the trace's own format. */
  readonly unit: TraceUnit | null;
}

/** More tokens than a context window has: a larger number is a mistake. */
const mostTokens = 10_000_000;
/** Times may count from 1970: one beyond the year 2286 is a mistake. */
const latestMs = 1e13;

/**
 * Names of a column or member, without case, blanks and underscores. Azure LLM inference (2023, 2024): TIMESTAMP, ContextTokens,
 * GeneratedTokens. BurstGPT: Timestamp, Request tokens, Response tokens. Mooncake, AIPerf, qwen-bailian: timestamp,
 * input_length, output_length; dynamo's data generator: created_time, input_tokens, output_tokens.
 */
const names = {
  time: ["timestamp", "createdtime"],
  input: ["contexttokens", "requesttokens", "inputlength", "inputtokens"],
  output: ["generatedtokens", "responsetokens", "outputlength", "outputtokens"],
} as const;
type Field = keyof typeof names;

/** The name of each field in one file or row. */
type Fields = Readonly<Record<Field, string | undefined>>;

/**
 * Reads a trace: CSV, lines of JSON or a JSON array, with a time, a prompt's and an answer's length in each row. The names of
 * its columns tell the format and the unit of its times. Throws TraceError, which names the line.
 */
export function readTrace(path: string, { unit }: TraceOptions = { unit: null }): TraceRequest[] {
  try {
    return requestsOf(tableOf(readBytes(path, "the trace"), path), path, unit);
  } catch (error) {
    if (error instanceof RecordError) throw new TraceError(error.message);
    throw error;
  }
}

function requestsOf(table: Table, path: string, unit: TraceUnit | null): TraceRequest[] {
  const header = table.form === "csv" ? fieldsOf(table.columns) : null;
  if (header !== null && Object.values(header).includes(undefined))
    throw new TraceError(
      `${path} is no trace: expected a header with TIMESTAMP,ContextTokens,GeneratedTokens (Azure), Timestamp,Request tokens,Response tokens (BurstGPT), or JSON with timestamp, input_length, output_length (Mooncake)`,
    );
  const requests: TraceRequest[] = [];
  for (const row of table.rows) {
    const fields = header ?? fieldsOf(Object.keys(row.values));
    const request = new RowReader(row, fields, table.form, `${path}, line ${row.line}`).request(unit);
    if (request !== null) requests.push(request);
  }
  if (requests.length === 0) throw new TraceError(`${path} holds no requests`);
  // Logs are not always in the order of arrival.
  requests.sort((a, b) => a.atMs - b.atMs);
  const first = requests[0]!.atMs;
  return requests.map(({ atMs, inputTokens, outputTokens }) => ({ atMs: atMs - first, inputTokens, outputTokens }));
}

function plainName(name: string): string {
  return name.toLowerCase().replace(/[\s_]/g, "");
}

function fieldsOf(given: readonly string[]): Fields {
  const find = (field: Field): string | undefined => given.find((name) => (names[field] as readonly string[]).includes(plainName(name)));
  return { time: find("time"), input: find("input"), output: find("output") };
}

/** Reads the members of one row. `at` begins its messages. */
class RowReader {
  readonly #values: Row["values"];
  readonly #fields: Fields;
  readonly #form: Table["form"];
  readonly #at: string;

  constructor({ values }: Row, fields: Fields, form: Table["form"], at: string) {
    this.#values = values;
    this.#fields = fields;
    this.#form = form;
    this.#at = at;
  }

  /** null: BurstGPT's way to record a request that failed, an answer of 0 tokens. */
  request(unit: TraceUnit | null): TraceRequest | null {
    const { time = "timestamp", input = "input_length", output = "output_length" } = this.#fields;
    const inputTokens = this.#tokens(input);
    const outputTokens = this.#tokens(output);
    const atMs = this.#time(time, unit ?? this.#unit());
    return this.#isBurst && outputTokens === 0 ? null : { atMs, inputTokens, outputTokens };
  }

  get #isBurst(): boolean {
    return plainName(this.#fields.output ?? "") === "responsetokens";
  }

  /** The unit of times by the row's format; null: its format has none. */
  #unit(): TraceUnit | null {
    // BurstGPT and qwen-bailian count seconds, Mooncake whole milliseconds.
    if (this.#isBurst || Object.hasOwn(this.#values, "chat_id")) return "s";
    const { time, input, output } = this.#fields;
    const isMooncake = time === "timestamp" && input === "input_length" && output === "output_length";
    return isMooncake && Number.isInteger(this.#number("timestamp")) ? "ms" : null;
  }

  /** A number of JSON, or the text of a CSV cell in the same notation; null: neither. */
  #number(name: string): number | null {
    const value = this.#values[name];
    if (this.#form === "json") return typeof value === "number" ? value : null;
    const text = String(value).trim();
    return /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text) ? Number(text) : null;
  }

  #tokens(name: string): number {
    const tokens = this.#number(name);
    if (tokens === null || !Number.isInteger(tokens) || tokens < 0 || tokens > mostTokens)
      throw this.#fault(name, `must be a whole number of tokens, up to ${mostTokens}`);
    return tokens;
  }

  /** Milliseconds from an origin that all rows share. */
  #time(name: string, unit: TraceUnit | null): number {
    const number = this.#number(name);
    if (number !== null && Number.isFinite(number) && unit === null)
      throw this.#fault(name, "may be seconds or milliseconds: say --trace-unit s or --trace-unit ms");
    const value = this.#values[name];
    const ms = number !== null ? number * msPerUnit[unit ?? "ms"] : typeof value === "string" ? dateMs(value.trim()) : null;
    if (ms === null || !(ms >= 0 && ms <= latestMs)) throw this.#fault(name, "must be a time");
    return ms;
  }

  #fault(name: string, rule: string): TraceError {
    return new TraceError(`${this.#at}: "${name}" ${rule}, not ${shown(this.#values[name])}`);
  }
}

/** "2023-11-16 18:15:46.6805900", with or without an offset: more digits than Date reads on every platform. */
function dateMs(text: string): number | null {
  const parts = /^(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(\.\d{1,12})?(Z|[+-]\d\d:\d\d)?$/.exec(text);
  if (!parts) return null;
  const local = Date.parse(`${parts[1]}T${parts[2]}Z`);
  // Date takes the 30th of February for the 2nd of March.
  if (Number.isNaN(local) || new Date(local).toISOString().slice(0, 19) !== `${parts[1]}T${parts[2]}`) return null;
  const whole = Date.parse(`${parts[1]}T${parts[2]}${parts[4] ?? "Z"}`);
  return Number.isNaN(whole) ? null : whole + Number(parts[3] ?? 0) * 1000;
}

/** A value in a message: short, on one line. */
function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  return (typeof value === "number" ? String(value) : (JSON.stringify(value) ?? typeof value)).slice(0, 40).replace(/\p{Cc}/gu, "?");
}
