/**
 * Whose bytes are sent: member order, null members, ids and padding of each provider's chunks.
 * openai: captures of 2026 and github.com/openai/openai-openapi. vllm: vllm/entrypoints/openai, whose models are dumped in
 * the order of their fields, without those that were never set. openrouter: captures of 2026-05. minimal: no more than
 * OpenAI's types and the common clients demand.
 */
import type { Random } from "../../core/random/random.ts";
import { randomHex, randomLetters } from "../shared/ids.ts";
import type { ProfileName } from "../shared/model-settings.ts";
import type { ServedTier } from "./tier.ts";

export type Kind = "chat" | "text";

/** Stands for the token's text in a template; no JSON text holds it unescaped. */
export const textSlot = "\u0000";
/** Stands for the logprobs of a run. */
export const logprobsSlot = "\u0001";

export interface Usage {
  readonly promptTokens: number;
  /** Of these, those found in a cache. */
  readonly cachedTokens: number;
  readonly completionTokens: number;
  readonly reasoningTokens: number;
}

/** A tool call as its opening event names it. */
export interface CallName {
  readonly index: number;
  readonly id: string;
  readonly name: string;
}

/** JSON of a finish reason: `"stop"`, or `null` while there is none. */
type FinishJson = string;

/** How a provider writes the chunks of chat completions and legacy completions. All texts are JSON. */
export interface Wire {
  readonly name: ProfileName;
  /** Whether unstreamed bodies are indented. */
  readonly indented: boolean;
  /** Whether a text cut by its limit ends with its last token, instead of an event of its own. */
  readonly finishOnLastToken: boolean;
  /** Whether clients see reasoning tokens. */
  readonly showsReasoning: boolean;
  /** Whether chunks hide the lengths of their texts. */
  readonly obfuscates: boolean;
  /** A comment sent while the first token is waited for, and how often (microseconds). */
  readonly keepAlive: { readonly comment: string; readonly everyUs: number } | null;
  id(kind: Kind, random: Random, created: number): string;
  callId(random: Random): string;
  /** Members between `created` and `choices`. */
  shared(kind: Kind, model: string, tier: ServedTier): string;
  /** Members after `choices` of a chunk without usage. */
  tail(kind: Kind, model: string, includeUsage: boolean): string;
  /** Delta of the event before a choice's text or reasoning; null: there is none. */
  readonly roleDelta: string | null;
  /** What follows `choices` in the event of the role alone. */
  readonly roleTail: string;
  readonly contentDelta: string;
  readonly reasoningDelta: string;
  /** Delta of the event that names a call. `isFirst`: nothing was said before in this choice. */
  callDelta(call: CallName, isFirst: boolean): string;
  argumentsDelta(index: number): string;
  readonly finishDelta: string;
  /** One choice of a chunk; `said` is a delta, or the text of a legacy completion. */
  choice(kind: Kind, index: number, said: string, logprobs: string, finish: FinishJson, isRole?: boolean): string;
  /** `choices` of the chunk that holds the usage. */
  usageChoices(kind: Kind, finish: FinishJson): string;
  usage(usage: Usage): object;
}

/** Changes with the model alone, as a backend's configuration does. FNV-1a, 40 bits of two. */
export function fingerprint(model: string): string {
  let low = 0x811c9dc5;
  let high = 0x01000193;
  for (const character of model) {
    low = Math.imul(low ^ character.codePointAt(0)!, 0x01000193);
    high = Math.imul(high ^ low, 0x01000193);
  }
  return `fp_${((low >>> 0).toString(16) + (high >>> 0).toString(16)).padStart(10, "0").slice(0, 10)}`;
}

const callJson = ({ index, id, name }: CallName): string =>
  `{"index":${index},"id":${JSON.stringify(id)},"type":"function","function":{"name":${JSON.stringify(name)},"arguments":""}}`;

const openai: Wire = {
  name: "openai",
  indented: true,
  finishOnLastToken: false,
  showsReasoning: false,
  obfuscates: true,
  keepAlive: null,
  id: (kind, random) => randomLetters(random, 29, kind === "chat" ? "chatcmpl-" : "cmpl-"),
  callId: (random) => `call_${randomLetters(random, 24)}`,
  shared: (kind, model, tier) =>
    kind === "chat" ? `"model":${JSON.stringify(model)},"service_tier":"${tier}","system_fingerprint":"${fingerprint(model)}",` : "",
  tail: (kind, model, includeUsage) =>
    (kind === "chat" ? "" : `,"model":${JSON.stringify(model)},"system_fingerprint":"${fingerprint(model)}"`) +
    (includeUsage ? ',"usage":null' : ""),
  roleDelta: '{"role":"assistant","content":"","refusal":null}',
  roleTail: "",
  contentDelta: `{"content":"${textSlot}"}`,
  reasoningDelta: "{}",
  callDelta: (call, isFirst) =>
    isFirst ? `{"role":"assistant","content":null,"tool_calls":[${callJson(call)}],"refusal":null}` : `{"tool_calls":[${callJson(call)}]}`,
  argumentsDelta: (index) => `{"tool_calls":[{"index":${index},"function":{"arguments":"${textSlot}"}}]}`,
  finishDelta: "{}",
  choice: (kind, index, said, logprobs, finish) =>
    kind === "chat"
      ? `{"index":${index},"delta":${said},"logprobs":${logprobs},"finish_reason":${finish}}`
      : `{"text":${said},"index":${index},"logprobs":${logprobs},"finish_reason":${finish}}`,
  usageChoices: () => "",
  usage: ({ promptTokens, cachedTokens, completionTokens, reasoningTokens }) => ({
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: reasoningTokens,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  }),
};

const minimal: Wire = {
  ...openai,
  name: "minimal",
  indented: false,
  obfuscates: false,
  shared: (_kind, model) => `"model":${JSON.stringify(model)},`,
  tail: () => "",
  roleDelta: '{"role":"assistant","content":""}',
  callDelta: (call, isFirst) =>
    isFirst ? `{"role":"assistant","content":null,"tool_calls":[${callJson(call)}]}` : `{"tool_calls":[${callJson(call)}]}`,
  choice: (kind, index, said, logprobs, finish) =>
    kind === "chat"
      ? `{"index":${index},"delta":${said},${logprobs === "null" ? "" : `"logprobs":${logprobs},`}"finish_reason":${finish}}`
      : `{"text":${said},"index":${index},"logprobs":${logprobs},"finish_reason":${finish}}`,
  usage: ({ promptTokens, cachedTokens, completionTokens, reasoningTokens }) => ({
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    ...(cachedTokens > 0 && { prompt_tokens_details: { cached_tokens: cachedTokens } }),
    ...(reasoningTokens > 0 && { completion_tokens_details: { reasoning_tokens: reasoningTokens } }),
  }),
};

const vllm: Wire = {
  ...openai,
  name: "vllm",
  indented: false,
  finishOnLastToken: true,
  showsReasoning: true,
  obfuscates: false,
  id: (kind, random) => (kind === "chat" ? "chatcmpl-" : "cmpl-") + randomHex(random, 32),
  callId: (random) => `chatcmpl-tool-${randomHex(random, 32)}`,
  shared: (_kind, model) => `"model":${JSON.stringify(model)},`,
  // Chunks of legacy completions are dumped with every field.
  tail: (kind) => (kind === "chat" ? "" : ',"usage":null'),
  roleDelta: '{"role":"assistant","content":""}',
  roleTail: ',"prompt_token_ids":null',
  reasoningDelta: `{"reasoning":"${textSlot}"}`,
  callDelta: ({ index, id, name }) =>
    `{"tool_calls":[{"id":${JSON.stringify(id)},"type":"function","index":${index},"function":{"name":${JSON.stringify(name)},"arguments":""}}]}`,
  finishDelta: '{"content":""}',
  choice: (kind, index, said, logprobs, finish, isRole = false) => {
    if (kind === "text") {
      return `{"index":${index},"text":${said},"logprobs":${logprobs},"finish_reason":${finish},"stop_reason":null,"prompt_token_ids":null,"token_ids":null}`;
    }
    const end = isRole ? "" : `${finish === "null" ? "" : ',"stop_reason":null'},"token_ids":null`;
    return `{"index":${index},"delta":${said},"logprobs":${logprobs},"finish_reason":${finish}${end}}`;
  },
  usage: ({ promptTokens, cachedTokens, completionTokens }) => ({
    prompt_tokens: promptTokens,
    total_tokens: promptTokens + completionTokens,
    completion_tokens: completionTokens,
    // As with --enable-prompt-tokens-details, only where there are any.
    ...(cachedTokens > 0 && { prompt_tokens_details: { cached_tokens: cachedTokens } }),
  }),
};

const openrouter: Wire = {
  ...openai,
  name: "openrouter",
  indented: false,
  showsReasoning: true,
  obfuscates: false,
  keepAlive: { comment: ": OPENROUTER PROCESSING\n\n", everyUs: 1_000_000 },
  id: (_kind, random, created) => `gen-${created}-${randomLetters(random, 20)}`,
  shared: (_kind, model) => `"model":${JSON.stringify(model)},"provider":"fakeai","system_fingerprint":"${fingerprint(model)}",`,
  tail: () => "",
  roleDelta: null,
  contentDelta: `{"content":"${textSlot}","role":"assistant"}`,
  reasoningDelta: `{"content":"","role":"assistant","reasoning":"${textSlot}","reasoning_details":[{"type":"reasoning.text","text":"${textSlot}","format":"unknown","index":0}]}`,
  callDelta: (call) => `{"content":null,"role":"assistant","tool_calls":[${callJson(call)}]}`,
  argumentsDelta: (index) =>
    `{"content":null,"role":"assistant","tool_calls":[{"index":${index},"type":"function","function":{"arguments":"${textSlot}"}}]}`,
  finishDelta: '{"content":"","role":"assistant"}',
  choice: (kind, index, said, logprobs, finish) =>
    `{"index":${index},"${kind === "chat" ? "delta" : "text"}":${said},"finish_reason":${finish},"native_finish_reason":${finish}` +
    `${logprobs === "null" ? "" : `,"logprobs":${logprobs}`}}`,
  usageChoices: (kind, finish) => openrouter.choice(kind, 0, kind === "chat" ? '{"content":"","role":"assistant"}' : '""', "null", finish),
  usage: ({ promptTokens, cachedTokens, completionTokens, reasoningTokens }) => ({
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    cost: 0,
    is_byok: false,
    prompt_tokens_details: { cached_tokens: cachedTokens, audio_tokens: 0 },
    completion_tokens_details: { reasoning_tokens: reasoningTokens },
  }),
};

export const wires: Readonly<Record<ProfileName, Wire>> = { openai, vllm, openrouter, minimal };

const noise = "q7Zk2mXw9LrT4bYc8NvD1sJhF6gPeKu3RaWtQz5oVxBnCyMi0HjEdSfGlA";

/** Letters that fill a text of so many characters up to the next multiple of `block`: they look random, but one length has one padding. */
export function padding(characters: number, block: number): string {
  const count = block - (characters % block);
  const start = (characters * 7) % (noise.length - block);
  return noise.slice(start, start + count);
}

/** The last member of a chunk whose text has so many characters: OpenAI's captures fill chat texts up to 8, Responses to 16. */
export function obfuscationMember(characters: number, block = 8): string {
  return `,"obfuscation":"${padding(characters, block)}"`;
}

const encoder = new TextEncoder();
const pieces = new Map<number, Uint8Array>();
/** Texts of more characters than this are rare, and their padding is not kept. */
const longestKept = 4096;

/** Hot path. `obfuscationMember` as bytes. */
export function obfuscationBytes(characters: number, block = 8): Uint8Array {
  const key = characters * 32 + block;
  let bytes = pieces.get(key);
  if (bytes === undefined) {
    bytes = encoder.encode(obfuscationMember(characters, block));
    if (characters <= longestKept) pieces.set(key, bytes);
  }
  return bytes;
}
