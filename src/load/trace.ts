/** Recorded traffic: when requests came and how long prompts and answers were. */
import type { PromptBlocks, TraceRequest, Turn } from "./turns.ts";
import { type DatasetMessage, type DatasetPrompt, DatasetError, estimatedTokens, messagesOf } from "./dataset.ts";
import { seedOfText, textOfPieces } from "./prompts.ts";
import { readBytes, RecordError, type Row, type Table, tableOf } from "./records.ts";
import { agentSession, generatedTalks, isAgentSession, isGenerator, isTalk, recordedTalk } from "./session-traces.ts";

export type { TraceRequest };

/** The file is no trace; the message is one line. */
export class TraceError extends Error {}

/** What a plain number in a column of times means. */
export const traceUnits = ["s", "ms", "us"] as const;
export type TraceUnit = (typeof traceUnits)[number];

const msPerUnit: Readonly<Record<TraceUnit, number>> = { s: 1000, ms: 1, us: 0.001 };

/** What the format of a trace does not say, or says otherwise; null: by its format. */
export interface TraceOptions {
  readonly unit?: TraceUnit | null;
  /** Tokens of a block in `hash_ids`. */
  readonly blockTokens?: number | null;
}

/** More tokens than a context window has: a larger number is a mistake. */
const mostTokens = 10_000_000;
/** Times may count from 1970: one beyond the year 2286 is a mistake. */
const latestMs = 1e13;
/** A week: a longer pause between two turns is a mistake. */
const longestDelayMs = 604_800_000;
/** Tokens of a block: Mooncake's, and that of qwen-bailian. */
const blockTokens = { mooncake: 512, qwen: 16 } as const;

/**
 * Names of a column or member, without case, blanks and underscores. Azure LLM inference (2023, 2024): TIMESTAMP, ContextTokens,
 * GeneratedTokens. BurstGPT: Timestamp, Request tokens, Response tokens, Session ID. Mooncake, AIPerf, qwen-bailian:
 * timestamp, input_length, output_length, session_id, delay; dynamo's data generator: created_time, input_tokens,
 * output_tokens, delay_ms. Vidur's lengths of ShareGPT: num_prefill_tokens, num_decode_tokens.
 */
const names = {
  time: ["timestamp", "createdtime", "arrivedat"],
  input: ["contexttokens", "requesttokens", "inputlength", "inputtokens", "numprefilltokens"],
  output: ["generatedtokens", "responsetokens", "outputlength", "outputtokens", "numdecodetokens"],
  session: ["sessionid"],
  delay: ["delay", "delayms"],
} as const;
type Field = keyof typeof names;

/** The name of each field in one file or row. */
type Fields = Readonly<Partial<Record<Field, string>>>;

/**
 * Reads a trace: CSV, lines of JSON or a JSON array, with a time, a prompt's and an answer's length in each row. The names of
 * its columns tell the format and the unit of its times. Throws TraceError, which names the line.
 */
export function readTrace(path: string, options: TraceOptions = {}): TraceRequest[] {
  try {
    return inOrder(linked(turnsOf(tableOf(readBytes(path, "the trace"), path), path, options)), path);
  } catch (error) {
    if (error instanceof RecordError || error instanceof DatasetError) throw new TraceError(error.message);
    throw error;
  }
}

/** A turn with the one before it. */
interface Linked {
  readonly turn: Turn;
  readonly before: Linked | null;
  readonly joins: readonly Linked[];
  /** Milliseconds at which it counts as recorded: its own time, or that of the turn before it. */
  readonly orderMs: number;
}

function turnsOf(table: Table, path: string, options: TraceOptions): Turn[] {
  const header = table.form === "csv" ? fieldsOf(table.columns) : null;
  if (header !== null && (header.input === undefined || header.output === undefined))
    throw new TraceError(
      `${path} is no trace: expected a header with TIMESTAMP,ContextTokens,GeneratedTokens (Azure), Timestamp,Request tokens,Response tokens (BurstGPT), or JSON with timestamp, input_length, output_length (Mooncake)`,
    );
  const turns: Turn[] = [];
  const histories = new Map<string, DatasetMessage[]>();
  for (const row of table.rows) {
    const reader = new RowReader(row, header ?? fieldsOf(Object.keys(row.values)), table.form, `${path}, line ${row.line}`, options);
    turns.push(...reader.turns(histories));
  }
  return turns;
}

/** Each turn with the one before it: the last row of its session, or the parent that it names. */
function linked(turns: readonly Turn[]): Linked[] {
  const last = new Map<string, Linked>();
  const chats = new Map<unknown, Linked>();
  return turns.map((turn) => {
    const { chat, session } = turn;
    const before = (chat !== null ? chats.get(chat.parent) : session !== null ? last.get(session) : undefined) ?? null;
    const joins = (chat?.joins ?? []).flatMap((id) => chats.get(id) ?? []);
    const one: Linked = { turn, before, joins, orderMs: turn.atMs ?? before?.orderMs ?? 0 };
    if (turn.session !== null) last.set(turn.session, one);
    if (turn.chat !== null) chats.set(turn.chat.id, one);
    return one;
  });
}

/** The requests in the order of their times, the first at 0. Logs are not always in the order of arrival. */
function inOrder(all: readonly Linked[], path: string): TraceRequest[] {
  if (all.length === 0) throw new TraceError(`${path} holds no requests`);
  const starts = all.filter(({ before }) => before === null);
  const untimed = starts.find(({ turn }) => turn.atMs === null);
  if (untimed !== undefined && starts.some(({ turn }) => turn.atMs !== null))
    throw new TraceError(`${untimed.turn.at}: a time is missing, which other rows have`);
  const sorted = all.toSorted((a, b) => a.orderMs - b.orderMs);
  const firstMs = sorted[0]!.orderMs;
  const places = new Map(sorted.map((one, index) => [one, index]));
  return sorted.map(({ turn, before, joins }, index): TraceRequest => {
    const place = before === null ? null : places.get(before)!;
    const joined = joins.map((one) => places.get(one)!).filter((at) => at < index);
    const { inputTokens, outputTokens, session, blocks, given } = turn;
    return {
      atMs: turn.atMs === null ? null : turn.atMs - firstMs,
      inputTokens,
      outputTokens,
      // A turn that was recorded before the one that it follows stands on its own.
      after: place !== null && place < index ? place : null,
      joins: joined.length === 0 ? undefined : joined,
      delayMs: turn.delayMs ?? 0,
      session,
      blocks,
      given,
    };
  });
}

function plainName(name: string): string {
  return name.toLowerCase().replace(/[\s_]/g, "");
}

function fieldsOf(given: readonly string[]): Fields {
  const fields: Partial<Record<Field, string>> = {};
  for (const name of given) {
    const plain = plainName(name);
    for (const field of Object.keys(names) as Field[])
      if (fields[field] === undefined && (names[field] as readonly string[]).includes(plain)) fields[field] = name;
  }
  return fields;
}

/** Members of a row that hold the prompt's text, in AIPerf. */
const textNames = ["text_input", "text"] as const;

/** Reads the members of one row. `at` begins its messages. */
class RowReader {
  readonly #values: Row["values"];
  readonly #fields: Fields;
  readonly #form: Table["form"];
  readonly #at: string;
  readonly #options: TraceOptions;

  constructor({ values }: Row, fields: Fields, form: Table["form"], at: string, options: TraceOptions) {
    this.#values = values;
    this.#fields = fields;
    this.#form = form;
    this.#at = at;
    this.#options = options;
  }

  /** The requests of the row. `histories` has what the conversations have said so far. */
  turns(histories: Map<string, DatasetMessage[]>): Turn[] {
    const { turns } = this.#values;
    if (isAgentSession(this.#values)) return agentSession(this.#values, this.#at, this.#options.blockTokens ?? null);
    if (isGenerator(this.#values)) return generatedTalks(this.#values, this.#at);
    if (isTalk(this.#values)) return recordedTalk(this.#values, this.#at);
    if (Array.isArray(turns)) return this.#conversation(turns, histories);
    const given = this.#given(histories);
    const { input = "input_length", output = "output_length" } = this.#fields;
    const isFree = given !== null && this.#fields.output === undefined;
    const outputTokens = isFree ? null : this.#tokens(output);
    // BurstGPT's way to record a request that failed.
    if (this.#isBurst && outputTokens === 0) return [];
    const inputTokens = given === null ? this.#tokens(input) : estimatedTokens(given);
    const atMs = this.#time();
    return [
      {
        atMs,
        inputTokens,
        outputTokens,
        delayMs: this.#delay(),
        session: this.#session(),
        chat: this.#chat(),
        blocks: this.#blocks(inputTokens, given),
        given,
        at: this.#at,
      },
    ];
  }

  /** AIPerf's multi_turn: one row with all turns, each with its new text alone. */
  #conversation(turns: readonly unknown[], histories: Map<string, DatasetMessage[]>): Turn[] {
    const session = this.#session() ?? this.#at;
    return turns.flatMap((turn) => {
      if (typeof turn !== "object" || turn === null || Array.isArray(turn)) throw new TraceError(`${this.#at}: a turn is no object`);
      const values = { ...turn, session_id: session, message_mode: "delta", turns: undefined };
      return new RowReader({ line: 0, values }, fieldsOf(Object.keys(values)), "json", this.#at, this.#options).turns(histories);
    });
  }

  get #isBurst(): boolean {
    return plainName(this.#fields.output ?? "") === "responsetokens";
  }

  /** The unit of times by the row's format; null: its format has none. */
  #unit(): TraceUnit | null {
    // BurstGPT, qwen-bailian and Vidur count seconds, Mooncake and AIPerf whole milliseconds.
    if (this.#isBurst || this.#chat() !== null || this.#fields.time === "arrived_at") return "s";
    const { time, input, output, delay } = this.#fields;
    const isMooncake = input === "input_length" || output === "output_length" || delay !== undefined;
    return time === "timestamp" && isMooncake && Number.isInteger(this.#number("timestamp")) ? "ms" : null;
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

  /** Milliseconds from an origin that all rows share; null: the row has none. */
  #time(): number | null {
    const name = this.#fields.time;
    if (name === undefined) return null;
    const unit = this.#options.unit ?? this.#unit();
    const number = this.#number(name);
    if (number !== null && Number.isFinite(number) && unit === null)
      throw this.#fault(name, "may be seconds or milliseconds: say --trace-unit s or --trace-unit ms");
    const value = this.#values[name];
    const ms = number !== null ? number * msPerUnit[unit ?? "ms"] : typeof value === "string" ? dateMs(value.trim()) : null;
    if (ms === null || !(ms >= 0 && ms <= latestMs)) throw this.#fault(name, "must be a time");
    return ms;
  }

  /** Milliseconds in every format; null: not said. */
  #delay(): number | null {
    const name = this.#fields.delay;
    if (name === undefined || this.#values[name] === null) return null;
    const ms = this.#number(name);
    if (ms === null || !(ms >= 0 && ms <= longestDelayMs)) throw this.#fault(name, `must be milliseconds, up to ${longestDelayMs}`);
    return ms;
  }

  #session(): string | null {
    const name = this.#fields.session;
    const id = name === undefined ? null : this.#values[name];
    if (id === null || id === undefined || id === "") return null;
    if (typeof id !== "string" && typeof id !== "number") throw this.#fault(name!, "must be a text or a number");
    return String(id);
  }

  #chat(): Turn["chat"] {
    const { chat_id: id, parent_chat_id: parent } = this.#values;
    return id === undefined ? null : { id, parent: parent === -1 ? undefined : parent };
  }

  #blocks(inputTokens: number, given: DatasetPrompt | null): PromptBlocks | null {
    const { hash_ids: ids } = this.#values;
    if (ids === undefined || ids === null || given !== null) return null;
    const isId = (id: unknown): id is number => typeof id === "number" && Number.isSafeInteger(id);
    if (!Array.isArray(ids) || !ids.every(isId)) throw this.#fault("hash_ids", "must be a list of whole numbers");
    const tokens = this.#options.blockTokens ?? (this.#chat() === null ? blockTokens.mooncake : blockTokens.qwen);
    if (ids.length > 0 && ids.length !== Math.ceil(inputTokens / tokens))
      throw new TraceError(
        `${this.#at}: ${inputTokens} tokens are ${Math.ceil(inputTokens / tokens)} blocks of ${tokens}, but "hash_ids" has ${ids.length} (--trace-block-size)`,
      );
    return ids.length === 0 ? null : { ids, tokens };
  }

  /** The text or messages of the row, after what its conversation has said before, where the row holds the new part alone. */
  #given(histories: Map<string, DatasetMessage[]>): DatasetPrompt | null {
    const { messages, message_mode: mode, role } = this.#values;
    const name = textNames.find((known) => this.#values[known] !== undefined);
    if (!Array.isArray(messages) && name === undefined) return null;
    const text = name === undefined ? null : this.#values[name];
    if (name !== undefined && typeof text !== "string") throw this.#fault(name, "must be a text");
    const added = Array.isArray(messages)
      ? messagesOf(messages, this.#at)
      : [{ role: typeof role === "string" ? role : "user", content: text }];
    const session = this.#session();
    const isWhole = session === null || (Array.isArray(messages) && mode !== "delta");
    const said = isWhole ? added : [...(histories.get(session) ?? []), ...added];
    if (!isWhole) histories.set(session, [...said, { role: "assistant", content: this.#standIn(session, said.length) }]);
    const { tools } = this.#values;
    return { messages: said, more: tools === undefined ? {} : { tools }, outputTokens: null, answer: null };
  }

  /** What a conversation has as the answer to a turn: words, as many as it was to have. What the server says is not waited for. */
  #standIn(session: string, turn: number): string {
    const name = this.#fields.output;
    return textOfPieces([
      { seed: seedOfText(`${session} ${turn}`), tokens: name === undefined ? standInTokens : Math.max(1, this.#tokens(name)) },
    ]);
  }

  #fault(name: string, rule: string): TraceError {
    return new TraceError(`${this.#at}: "${name}" ${rule}, not ${shown(this.#values[name])}`);
  }
}

/** Tokens of an answer in a history whose length nothing says. */
const standInTokens = 32;

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
