/** The events in an answer's bytes, and the tokens that they tell of. */

/** How a body is cut into events: at the empty line of an event stream (WHATWG HTML, section 9.2.6), at each line of NDJSON, or not. */
export type Cutting = "events" | "lines" | "none";

/** By the type of a body; one in a content coding is not read. */
export function cuttingOf(contentType: string, contentEncoding: string | null): Cutting {
  if (contentEncoding !== null && contentEncoding !== "" && contentEncoding !== "identity") return "none";
  const type = contentType.split(";")[0]!.trim().toLowerCase();
  if (type === "text/event-stream") return "events";
  return type === "application/x-ndjson" || type === "application/jsonl" ? "lines" : "none";
}

const lineFeed = 10;
const carriageReturn = 13;

/** Cuts the reads of a body behind each event. */
export class EventCutter {
  readonly #cutting: Cutting;
  /** Whether the line under way is empty so far. */
  #lineIsEmpty = true;

  constructor(cutting: Cutting) {
    this.#cutting = cutting;
  }

  /** The pieces of one read: each ends with an event, the last perhaps within one. */
  cut(bytes: Uint8Array): Uint8Array[] {
    if (this.#cutting === "none" || bytes.length === 0) return bytes.length === 0 ? [] : [bytes];
    const pieces: Uint8Array[] = [];
    let start = 0;
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at]!;
      if (byte === carriageReturn) continue;
      if (byte !== lineFeed) {
        this.#lineIsEmpty = false;
        continue;
      }
      const ends = this.#cutting === "lines" || this.#lineIsEmpty;
      this.#lineIsEmpty = true;
      if (!ends) continue;
      pieces.push(bytes.subarray(start, at + 1));
      start = at + 1;
    }
    if (start < bytes.length) pieces.push(bytes.subarray(start));
    return pieces;
  }
}

type Json = Readonly<Record<string, unknown>>;

function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The JSON of an event or of a line; null: none. */
export function jsonOf(text: string): Json | null {
  const data = text.startsWith("{") ? text : /^data: ?(\{.*)$/m.exec(text)?.[1];
  if (data === undefined) return null;
  try {
    const value: unknown = JSON.parse(data);
    return isJson(value) ? value : null;
  } catch {
    return null;
  }
}

/** Members that hold said text, at any depth of an event: OpenAI's, Anthropic's, Ollama's and Gemini's. */
const textMembers: ReadonlySet<string> = new Set([
  "content",
  "text",
  "reasoning",
  "reasoning_content",
  "refusal",
  "arguments",
  "thinking",
  "partial_json",
  "response",
]);

/** Members that hold the parts of an event which may say something. */
const partMembers: ReadonlySet<string> = new Set([
  "choices",
  "delta",
  "message",
  "tool_calls",
  "function",
  "candidates",
  "content",
  "parts",
  "functionCall",
]);

/** Whether an event says something new: it then holds at least one token. */
export function saysText(event: Json, depth = 0): boolean {
  const { type, delta } = event;
  if (depth === 0 && typeof type === "string") {
    // Events of Responses and Messages with a type say something in their deltas alone; others repeat it.
    if (typeof delta === "string") return delta !== "" && type.endsWith(".delta");
    return isJson(delta) && type === "content_block_delta" && saysText(delta, 1);
  }
  for (const [name, value] of Object.entries(event)) {
    if (typeof value === "string" && value !== "" && textMembers.has(name)) return true;
    if (depth > 6 || !partMembers.has(name)) continue;
    const parts: readonly unknown[] = Array.isArray(value) ? value : [value];
    if (parts.some((part) => isJson(part) && (name === "functionCall" || saysText(part, depth + 1)))) return true;
  }
  return false;
}

/** What an answer tells of its tokens. null: not told. */
export interface Told {
  readonly promptTokens: number | null;
  readonly outputTokens: number | null;
  readonly isCut: boolean;
}

function count(...values: readonly unknown[]): number | null {
  const found = values.find((value) => typeof value === "number" && Number.isInteger(value) && value >= 0);
  return (found as number | undefined) ?? null;
}

/** The tokens that one event or body tells of, by the names of OpenAI, Anthropic, Gemini and Ollama. */
export function toldBy(event: Json): Told {
  const holder = isJson(event["response"]) ? event["response"] : isJson(event["message"]) ? event["message"] : event;
  const usage = isJson(event["usage"]) ? event["usage"] : isJson(holder["usage"]) ? holder["usage"] : {};
  const gemini = isJson(event["usageMetadata"]) ? event["usageMetadata"] : {};
  const thoughts = count(gemini["thoughtsTokenCount"]) ?? 0;
  const candidates = count(gemini["candidatesTokenCount"]);
  const [choice] = (Array.isArray(event["choices"]) ? event["choices"] : []) as readonly unknown[];
  const [candidate] = (Array.isArray(event["candidates"]) ? event["candidates"] : []) as readonly unknown[];
  const delta = isJson(event["delta"]) ? event["delta"] : {};
  const reasons = [
    isJson(choice) ? choice["finish_reason"] : null,
    isJson(candidate) ? candidate["finishReason"] : null,
    delta["stop_reason"],
    event["stop_reason"],
    event["done_reason"],
    holder["status"],
  ];
  return {
    promptTokens: count(usage["prompt_tokens"], usage["input_tokens"], gemini["promptTokenCount"], event["prompt_eval_count"]),
    outputTokens: count(
      usage["completion_tokens"],
      usage["output_tokens"],
      candidates === null ? undefined : candidates + thoughts,
      event["eval_count"],
    ),
    isCut: reasons.some((reason) => typeof reason === "string" && /^(length|max_tokens|MAX_TOKENS|incomplete)$/.test(reason)),
  };
}

/** Deals tokens out to events: as many as are told, or one each. The sum is exact. */
export function dealTokens(says: readonly boolean[], told: number | null): Uint32Array {
  const events = says.filter(Boolean).length;
  const all = told ?? events;
  const tokens = new Uint32Array(says.length);
  let seen = 0;
  for (const [index, one] of says.entries()) {
    if (!one) continue;
    tokens[index] = Math.floor(((seen + 1) * all) / events) - Math.floor((seen * all) / events);
    seen++;
  }
  return tokens;
}
