/** The JSON of chat completions and legacy completions, streamed and not (github.com/openai/openai-openapi, 2026-08). */
import { encodeEvent, type EventFormat, TokenEvents } from "../../core/frames.ts";
import type { Vocabulary } from "../../core/text.ts";

export type Kind = "chat" | "text";

export type FinishReason = "stop" | "length";

export interface Usage {
  readonly promptTokens: number;
  readonly completionTokens: number;
}

/** Everything that tells one response from another of the same shape. */
export interface Identity {
  /** Without its prefix. `idLength` characters. */
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
}

/** Characters of an id after its prefix, as OpenAI's have. */
export const idLength = 29;

const prefixes: Record<Kind, string> = { chat: "chatcmpl-", text: "cmpl-" };
const streamObjects: Record<Kind, string> = { chat: "chat.completion.chunk", text: "text_completion" };
const createdLength = 10;

function identityJson(kind: Kind, { id, created }: Identity): string {
  return `${id}","object":"${streamObjects[kind]}","created":${String(created).padStart(createdLength)}`;
}

const encoder = new TextEncoder();

/** The bytes that every event of a streamed response shares and no other response has. */
export function identityBytes(kind: Kind, identity: Identity): Uint8Array {
  return encoder.encode(identityJson(kind, identity));
}

/** What decides the bytes of an event beside the identity. */
export interface ShapeOptions {
  readonly kind: Kind;
  readonly model: string;
  readonly includeUsage: boolean;
  readonly stamped: boolean;
}

/** The events of a streamed response of one shape and vocabulary, encoded once. */
export class StreamShape {
  readonly tokens: TokenEvents;
  /** The event before the first token: the role. Legacy completions have none. */
  readonly opening: Uint8Array | null;
  readonly #finishing: Record<FinishReason, readonly Uint8Array[]>;
  readonly #includeUsage: boolean;
  readonly #format: EventFormat;

  constructor({ kind, model, includeUsage, stamped }: ShapeOptions, vocabulary: Vocabulary) {
    const format: EventFormat = {
      opening: `{"id":"${prefixes[kind]}`,
      identityLength: identityJson(kind, { id: "x".repeat(idLength), created: 0 }).length,
      shared: `,"model":${JSON.stringify(model)},"service_tier":"default","system_fingerprint":null,`,
      stamped,
    };
    this.#format = format;
    this.#includeUsage = includeUsage;
    // With include_usage every event but the last has a null usage.
    const tail = includeUsage ? ',"usage":null' : "";
    if (kind === "chat") {
      const choice = (delta: string, finish: string): string =>
        `"choices":[{"index":0,"delta":${delta},"logprobs":null,"finish_reason":${finish}}]${tail}`;
      const [before, after] = choice('{"content":"\0"}', "null").split("\0") as [string, string];
      this.tokens = new TokenEvents(format, vocabulary, before, after);
      this.opening = encodeEvent(format, choice('{"role":"assistant","content":"","refusal":null}', "null"));
      this.#finishing = { stop: [encodeEvent(format, choice("{}", '"stop"'))], length: [encodeEvent(format, choice("{}", '"length"'))] };
    } else {
      const choice = (text: string, finish: string): string =>
        `"choices":[{"text":"${text}","index":0,"logprobs":null,"finish_reason":${finish}}]${tail}`;
      const [before, after] = choice("\0", "null").split("\0") as [string, string];
      this.tokens = new TokenEvents(format, vocabulary, before, after);
      this.opening = null;
      this.#finishing = { stop: [encodeEvent(format, choice("", '"stop"'))], length: [encodeEvent(format, choice("", '"length"'))] };
    }
  }

  /** The events after the last token, `[DONE]` excepted. */
  closing(finish: FinishReason, usage: Usage): readonly Uint8Array[] {
    if (!this.#includeUsage) return this.#finishing[finish];
    return [...this.#finishing[finish], encodeEvent(this.#format, `"choices":[],${usageMember(usage)}`)];
  }
}

/** The body of a response in one piece. */
export function unaryJson(kind: Kind, model: string, identity: Identity, text: string, finish: FinishReason, usage: Usage): string {
  const content = JSON.stringify(text);
  const choice =
    kind === "chat"
      ? `{"index":0,"message":{"role":"assistant","content":${content},"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"${finish}"}`
      : `{"text":${content},"index":0,"logprobs":null,"finish_reason":"${finish}"}`;
  const object = kind === "chat" ? "chat.completion" : "text_completion";
  return (
    `{"id":"${prefixes[kind]}${identity.id}","object":"${object}","created":${identity.created},"model":${JSON.stringify(model)},` +
    `"choices":[${choice}],${usageMember(usage)},"service_tier":"default","system_fingerprint":null}`
  );
}

function usageMember({ promptTokens, completionTokens }: Usage): string {
  return (
    `"usage":{"prompt_tokens":${promptTokens},"completion_tokens":${completionTokens},"total_tokens":${promptTokens + completionTokens},` +
    `"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},` +
    `"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`
  );
}
