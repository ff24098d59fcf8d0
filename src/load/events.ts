/**
 * What token events say, read as bytes. An event's JSON is walked once, string by string, and only the few members that
 * matter to a measurement are looked at; nothing is decoded, nothing is allocated while events come whole.
 *
 * Understood: OpenAI's chat and completion chunks and their unstreamed forms, the Responses API's events, Anthropic's
 * messages, and fakeai's stamps.
 */
import { EventStreamReader } from "../wire/sse.ts";

/** The content of an event, or of an unstreamed answer. */
export interface TokenEvent {
  /**
   * Non-empty content: `content`, `text`, `reasoning_content`, `reasoning`, the `arguments` of a tool's call (Anthropic:
   * `partial_json`), or the `delta` of a Responses event.
   */
  content: boolean;
  /** `[DONE]`, a finish_reason, a stop_reason, or `response.completed` and its like: the answer is whole. */
  finished: boolean;
  /** It carries an `error`, or is `response.failed`. */
  failed: boolean;
  /** UTF-8 bytes of that content, escapes read. */
  contentBytes: number;
  /** The content itself; null where it is not asked for, and then it is not read. */
  text: string | null;
  /** finish_reason, stop_reason, or "completed" and "incomplete" of a Responses event; null where it has none. */
  finishReason: string | null;
  /** usage.completion_tokens or usage.output_tokens; -1 where there is none. */
  tokens: number;
  /** usage.prompt_tokens or usage.input_tokens; -1 where there is none. */
  promptTokens: number;
  /** Of those, what the server had in its prefix cache: `cached_tokens`, Anthropic's `cache_read_input_tokens`; -1 where it does not say. */
  cachedTokens: number;
  /** Stamps, microseconds of the server's clock; -1 where there are none. */
  dueUs: number;
  sentUs: number;
}

const quote = 34;
const backslash = 92;
const colon = 58;
const LF = 10;
const CR = 13;
const letterU = 117;

type Key =
  | "content"
  | "text"
  | "reasoning_content"
  | "reasoning"
  | "arguments"
  | "partial_json"
  | "delta"
  | "finish_reason"
  | "stop_reason"
  | "type"
  | "error"
  | "completion_tokens"
  | "output_tokens"
  | "prompt_tokens"
  | "input_tokens"
  | "cached_tokens"
  | "cache_read_input_tokens"
  | "fakeai"
  | "due"
  | "sent";

const keys: readonly Key[] = [
  "content",
  "text",
  "reasoning_content",
  "reasoning",
  "arguments",
  "partial_json",
  "delta",
  "finish_reason",
  "stop_reason",
  "type",
  "error",
  "completion_tokens",
  "output_tokens",
  "prompt_tokens",
  "input_tokens",
  "cached_tokens",
  "cache_read_input_tokens",
  "fakeai",
  "due",
  "sent",
];

/** Keys by length: only a few are ever compared. */
const keysByLength: readonly (readonly { readonly key: Key; readonly bytes: Uint8Array }[])[] = Array.from({ length: 32 }, (_, length) =>
  keys.filter((key) => key.length === length).map((key) => ({ key, bytes: Buffer.from(key) })),
);

/** Hot path. */
function keyIn(bytes: Uint8Array, start: number, end: number): Key | null {
  const candidates = keysByLength[end - start];
  if (candidates === undefined) return null;
  for (const candidate of candidates) {
    const wanted = candidate.bytes;
    let i = 0;
    while (i < wanted.length && bytes[start + i] === wanted[i]) i++;
    if (i === wanted.length) return candidate.key;
  }
  return null;
}

/** Hot path. The first position at or after `at` that is not JSON white space. */
function skipSpace(bytes: Uint8Array, at: number, end: number): number {
  while (at < end) {
    const byte = bytes[at]!;
    if (byte !== 32 && byte !== LF && byte !== CR && byte !== 9) break;
    at++;
  }
  return at;
}

/** Hot path. The whole number at `at`, or -1. */
function numberAt(bytes: Uint8Array, at: number, end: number): number {
  let value = -1;
  for (; at < end; at++) {
    const digit = bytes[at]! - 48;
    if (digit < 0 || digit > 9) break;
    value = value < 0 ? digit : value * 10 + digit;
  }
  return value;
}

/**
 * Hot path. UTF-8 bytes of the JSON string that begins at `at`, behind its quote: an escape of a surrogate counts as two, so
 * that a pair has its four.
 */
function textBytes(bytes: Uint8Array, at: number, end: number): number {
  let count = 0;
  while (at < end) {
    const byte = bytes[at]!;
    if (byte === quote) break;
    if (byte !== backslash) {
      count++;
      at++;
    } else if (bytes[at + 1] !== letterU) {
      count++;
      at += 2;
    } else {
      const high = hexDigit(bytes[at + 2]!);
      const next = hexDigit(bytes[at + 3]!);
      const unit = (high << 12) | (next << 8) | (hexDigit(bytes[at + 4]!) << 4) | hexDigit(bytes[at + 5]!);
      count += unit < 0x80 ? 1 : unit < 0x800 || (unit >= 0xd800 && unit < 0xe000) ? 2 : 3;
      at += 6;
    }
  }
  return count;
}

/** Hot path. */
function hexDigit(byte: number): number {
  return byte < 58 ? byte - 48 : (byte | 32) - 87;
}

/** The JSON string that begins at `at`, behind its quote; "" where it is malformed. */
function textAt(bytes: Uint8Array, at: number, end: number): string {
  let to = at;
  while (to < end && bytes[to] !== quote) to += bytes[to] === backslash ? 2 : 1;
  try {
    return JSON.parse(`"${Buffer.from(bytes.buffer, bytes.byteOffset + at, to - at).toString("utf8")}"`) as string;
  } catch {
    return "";
  }
}

const longestReason = 32;

/** A reason as it is shown and counted: a foreign server's word, so short and of harmless letters. */
function reasonAt(bytes: Uint8Array, at: number, end: number): string {
  const reason = textAt(bytes, at, Math.min(end, at + longestReason + 1));
  return reason.length <= longestReason && /^[\w.-]+$/.test(reason) ? reason : "other";
}

type ResponseMeaning = "delta" | "completed" | "incomplete" | "failed" | "other";

/** Hot path. The content whose string begins at `at` is part of what the event says. */
function addContent(bytes: Uint8Array, at: number, end: number, event: TokenEvent): void {
  event.content = true;
  event.contentBytes += textBytes(bytes, at, end);
  if (event.text !== null) event.text += textAt(bytes, at, end);
}

/** What Responses events say by their type. */
const responseTypes: Readonly<Record<string, ResponseMeaning>> = {
  "response.output_text.delta": "delta",
  "response.reasoning_text.delta": "delta",
  "response.reasoning_summary_text.delta": "delta",
  "response.function_call_arguments.delta": "delta",
  "response.completed": "completed",
  "response.incomplete": "incomplete",
  "response.failed": "failed",
};

/**
 * Hot path. Fills `event` from JSON between `start` and `end`, or from `[DONE]`. Text that is not JSON says nothing. `text` is
 * filled where it is not null.
 */
export function scanEvent(bytes: Uint8Array, start: number, end: number, event: TokenEvent): void {
  event.content = false;
  event.finished = false;
  event.failed = false;
  event.contentBytes = 0;
  event.finishReason = null;
  event.tokens = -1;
  event.promptTokens = -1;
  event.cachedTokens = -1;
  event.dueUs = -1;
  event.sentUs = -1;
  if (event.text !== null) event.text = "";
  let at = skipSpace(bytes, start, end);
  // "[DONE]" with nothing else; a chunk begins with "{".
  if (bytes[at] === 91 && bytes[at + 1] === 68) {
    event.finished = true;
    return;
  }
  let depth = 0;
  let inStamps = false;
  let deltaAt = -1;
  let response: ResponseMeaning | null = null;
  while (at < end) {
    const byte = bytes[at++]!;
    if (byte === 123 || byte === 91) depth++;
    else if (byte === 125 || byte === 93) depth--;
    if (byte !== quote) continue;
    const from = at;
    while (at < end && bytes[at] !== quote) at += bytes[at] === backslash ? 2 : 1;
    const to = at++;
    // A string is a key if a colon follows: compact JSON has it right there.
    const next = bytes[at] === colon ? at : skipSpace(bytes, at, end);
    if (next >= end || bytes[next] !== colon) continue;
    at = skipSpace(bytes, next + 1, end);
    const value = bytes[at];
    switch (keyIn(bytes, from, to)) {
      case null:
        break;
      case "content":
      case "text":
      case "reasoning_content":
      case "reasoning":
      case "arguments":
      case "partial_json":
        if (value === quote && bytes[at + 1] !== quote) addContent(bytes, at + 1, end, event);
        break;
      case "delta":
        if (value === quote && bytes[at + 1] !== quote) deltaAt = at + 1;
        break;
      case "finish_reason":
      case "stop_reason":
        if (value !== quote) break;
        event.finished = true;
        // vLLM puts a stop_reason of its own, the string that stopped it, behind the finish_reason.
        event.finishReason ??= reasonAt(bytes, at + 1, end);
        break;
      case "type":
        if (depth === 1 && value === quote) response = responseTypeAt(bytes, at + 1, end, event) ?? response;
        break;
      case "error":
        if (depth === 1 && (value === 123 || value === quote)) event.failed = true;
        break;
      case "completion_tokens":
      case "output_tokens":
        event.tokens = Math.max(event.tokens, numberAt(bytes, at, end));
        break;
      case "prompt_tokens":
      case "input_tokens":
        event.promptTokens = Math.max(event.promptTokens, numberAt(bytes, at, end));
        break;
      case "cached_tokens":
      case "cache_read_input_tokens":
        event.cachedTokens = Math.max(event.cachedTokens, numberAt(bytes, at, end));
        break;
      case "fakeai":
        inStamps = depth === 1 && value === 123;
        break;
      case "due":
        if (inStamps) event.dueUs = numberAt(bytes, at, end);
        break;
      case "sent":
        if (inStamps) event.sentUs = numberAt(bytes, at, end);
        break;
    }
  }
  if (response === null) return;
  // Responses events repeat whole texts when an item is done: only deltas are tokens.
  event.content = false;
  event.contentBytes = 0;
  if (event.text !== null) event.text = "";
  if (response === "delta" && deltaAt >= 0) addContent(bytes, deltaAt, end, event);
  event.finished = response === "completed" || response === "incomplete";
  event.finishReason = event.finished ? response : null;
  event.failed ||= response === "failed";
}

/** The Responses meaning of the `type` whose text begins at `at`; null for types of other kinds. */
function responseTypeAt(bytes: Uint8Array, at: number, end: number, event: TokenEvent): ResponseMeaning | null {
  let to = at;
  while (to < end && bytes[to] !== quote) to++;
  const type = Buffer.from(bytes.buffer, bytes.byteOffset + at, to - at).toString("latin1");
  if (type === "message_stop") event.finished = true;
  if (type === "error") event.failed = true;
  return type.startsWith("response.") ? (responseTypes[type] ?? "other") : null;
}

/** An event that says nothing. `withText`: what is scanned into it has its text read. */
export function newTokenEvent(withText = false): TokenEvent {
  const text = withText ? "" : null;
  return {
    content: false,
    contentBytes: 0,
    text,
    finished: false,
    finishReason: null,
    failed: false,
    tokens: -1,
    promptTokens: -1,
    cachedTokens: -1,
    dueUs: -1,
    sentUs: -1,
  };
}

const none = Buffer.alloc(0);
/** Bytes of an event that are shown. */
const shownBytes = 4096;

/** Takes the bytes of one event stream as they come and tells what each event says. */
export class EventReader {
  readonly #event: TokenEvent;
  readonly #onEvent: (event: TokenEvent) => void;
  readonly #stream: EventStreamReader;
  /** Where the event lies that is being told. */
  #bytes: Buffer = none;
  #start = 0;
  #end = 0;

  /** The event is the same object each time: valid during the call. `withText`: its text is read too. */
  constructor(onEvent: (event: TokenEvent) => void, withText = false) {
    this.#event = newTokenEvent(withText);
    this.#onEvent = onEvent;
    this.#stream = new EventStreamReader((bytes, start, end) => this.#tell(bytes, start, end));
  }

  /** Hot path. */
  #tell(bytes: Buffer, start: number, end: number): void {
    scanEvent(bytes, start, end, this.#event);
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
    this.#onEvent(this.#event);
  }

  /** A line or an event is longer than is held: nothing more is read. */
  get isTooLong(): boolean {
    return this.#stream.isTooLong;
  }

  /** Bytes held of the unfinished event. */
  get heldBytes(): number {
    return this.#stream.heldBytes;
  }

  /** The whole event that is being told. */
  whole(): string {
    return this.#bytes.toString("utf8", this.#start, this.#end);
  }

  /** The beginning of the event that is being told, for people. */
  text(): string {
    return this.#bytes.toString("utf8", this.#start, Math.min(this.#end, this.#start + shownBytes));
  }

  /** Hot path. */
  push(bytes: Buffer, start: number, end: number): void {
    this.#stream.push(bytes, start, end);
  }

  /** Hot path. Tells what one whole event says, which came without the lines of an event stream. true: it ends its answer. */
  take(bytes: Buffer, start: number, end: number): boolean {
    this.#tell(bytes, start, end);
    return this.#event.finished || this.#event.failed;
  }
}
