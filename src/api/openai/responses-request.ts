/** Reading a request to /v1/responses. */
import { maxOutputTokens, mostEchoedCharacters } from "../../core/limits/budget.ts";
import type { Ask } from "../shared/ask.ts";
import type { ModelSettings } from "../shared/model-settings.ts";
import {
  invalidType,
  isObject,
  type JsonObject,
  optionalBoolean,
  optionalInteger,
  optionalName,
  optionalNumber,
  optionalObject,
  optionalString,
  requiredString,
} from "../shared/body.ts";
import { ApiError } from "../errors/api-error.ts";
import type { MediaRules } from "../shared/files.ts";
import { openAiMediaTokens } from "./media.ts";
import { outputLimit, partsOfTurns } from "../shared/prompt.ts";
import { checkForm } from "./form.ts";
import { checkModel, readSeed } from "./request.ts";
import { countInput, findPrevious, type Input, readInput, textsBefore, textsOfAnswer, turnOf, turnsWith } from "./response-input.ts";
import type { ResponseMemory, StoredResponse } from "./response-store.ts";
import { readServiceTier, type ServiceTier } from "./tier.ts";
import { noStops, readCalls, readFormat, reasoningTokensOf } from "./tools.ts";

/** What the answer repeats of its request, and the form it wants. */
export interface ResponseOptions {
  readonly includeObfuscation: boolean;
  /** Alternatives per token; null: no logprobs. */
  readonly topLogprobs: number | null;
  /** How much of the reasoning is told; null: nothing. */
  readonly summary: "auto" | "concise" | "detailed" | null;
  /** Whether reasoning comes back as a text that only the provider can read. */
  readonly isEncrypted: boolean;
  /** Members of the response object that come from the request. */
  readonly echoed: ResponseEcho;
}

export interface ResponseEcho {
  readonly instructions: string | null;
  readonly max_output_tokens: number | null;
  readonly max_tool_calls: number | null;
  readonly previous_response_id: string | null;
  readonly parallel_tool_calls: boolean;
  readonly prompt_cache_key: string | null;
  readonly reasoning: object;
  readonly safety_identifier: string | null;
  readonly service_tier: ServiceTier;
  readonly store: boolean;
  readonly temperature: number;
  readonly text: unknown;
  readonly tool_choice: unknown;
  readonly tools: unknown;
  readonly top_logprobs: number;
  readonly top_p: number;
  readonly truncation: unknown;
  readonly user: unknown;
  readonly metadata: unknown;
  readonly conversation?: { readonly id: string };
  readonly prompt?: unknown;
  readonly prompt_cache_retention?: string;
}

/** OpenAI takes no lower limit here. */
const leastOutputTokens = 16;

/** About the characters of a value's JSON, indented by two spaces a level. */
function printedLength(value: unknown, depth: number): number {
  if (typeof value === "string") return value.length + 2;
  if (typeof value !== "object" || value === null) return 8;
  const line = 3 + 2 * depth;
  let length = 2;
  if (Array.isArray(value)) for (const item of value) length += line + printedLength(item, depth + 1);
  else for (const [name, item] of Object.entries(value)) length += line + name.length + 4 + printedLength(item, depth + 1);
  return length;
}

/** Throws ApiError where the answer would repeat too much of its request: each stream does so three times. */
function checkEchoed(echoed: ResponseEcho): void {
  let length = 0;
  for (const [param, value] of Object.entries(echoed)) {
    length += printedLength(value, 1);
    if (length > mostEchoedCharacters) {
      const message = `Invalid '${param}': the answer repeats it, and more than ${mostEchoedCharacters} characters of the request in all are too many.`;
      throw new ApiError(400, message, param, "string_above_max_length");
    }
  }
}

const summaries = ["auto", "concise", "detailed"] as const;

function readReasoning(body: JsonObject): Pick<ResponseOptions, "summary"> & { readonly effort: unknown; readonly echoed: object } {
  const reasoning = optionalObject(body, "reasoning");
  // The older name of the same.
  const older = optionalName(reasoning, "generate_summary", summaries, "reasoning.generate_summary");
  const summary = optionalName(reasoning, "summary", summaries, "reasoning.summary") ?? older;
  const context = optionalName(reasoning, "context", ["auto", "current_turn", "all_turns"], "reasoning.context");
  const effort = reasoning["effort"] ?? null;
  return { summary, effort, echoed: { effort, summary, ...(context !== null && { context }) } };
}

function readText(body: JsonObject): { readonly format: unknown; readonly echoed: object } {
  const text = optionalObject(body, "text");
  const verbosity = optionalName(text, "verbosity", ["low", "medium", "high"], "text.verbosity") ?? "medium";
  return { format: text["format"], echoed: { format: text["format"] ?? { type: "text" }, verbosity } };
}

function readConversation(body: JsonObject): { readonly id: string } | undefined {
  const { conversation } = body;
  if (conversation === undefined || conversation === null) return undefined;
  const other = "previous_response_id";
  if (body[other] !== undefined && body[other] !== null) {
    const message = `Mutually exclusive parameters: '${other}' and 'conversation'. Ensure you are only providing one of: '${other}' or 'conversation'.`;
    throw new ApiError(400, message, other, "mutually_exclusive_parameters");
  }
  if (typeof conversation === "string") return { id: conversation };
  if (!isObject(conversation)) throw invalidType("conversation", "one of a string or an object", conversation);
  return { id: requiredString(conversation, "id") };
}

/**
 * Tools as the answer repeats them: without what opens a remote server, which OpenAI neither keeps nor shows
 * (developers.openai.com/api/docs/guides/tools-connectors-mcp, "Authentication").
 */
function shownTools(tools: unknown): unknown {
  if (!Array.isArray(tools)) return tools ?? [];
  return tools.map((tool: unknown) => {
    if (!isObject(tool) || tool["type"] !== "mcp") return tool;
    const shown = Object.entries(tool).filter(([name]) => name !== "authorization");
    return Object.fromEntries(shown.map(([name, value]) => [name, name === "headers" ? null : value]));
  });
}

/** Members that the answer repeats, and that change nothing else. */
function readEchoed(body: JsonObject): Omit<ResponseEcho, "instructions" | "max_output_tokens" | "reasoning" | "text" | "top_logprobs"> {
  const conversation = readConversation(body);
  const retention = optionalName(body, "prompt_cache_retention", ["in_memory", "24h"]);
  const prompt = optionalObject(body, "prompt");
  return {
    max_tool_calls: optionalInteger(body, "max_tool_calls", 1, Number.MAX_SAFE_INTEGER) ?? null,
    previous_response_id: optionalString(body, "previous_response_id"),
    parallel_tool_calls: optionalBoolean(body, "parallel_tool_calls") ?? true,
    prompt_cache_key: optionalString(body, "prompt_cache_key"),
    safety_identifier: optionalString(body, "safety_identifier"),
    service_tier: readServiceTier(body),
    store: optionalBoolean(body, "store") ?? true,
    temperature: optionalNumber(body, "temperature", 0, 2) ?? 1,
    tool_choice: body["tool_choice"] ?? "auto",
    tools: shownTools(body["tools"]),
    top_p: optionalNumber(body, "top_p", 0, 1) ?? 1,
    truncation: optionalName(body, "truncation", ["auto", "disabled"]) ?? "disabled",
    user: body["user"] ?? null,
    metadata: body["metadata"] ?? {},
    ...(conversation !== undefined && { conversation }),
    ...(retention !== null && { prompt_cache_retention: retention }),
    ...(body["prompt"] !== undefined && body["prompt"] !== null && { prompt }),
  };
}

/** Tokens of the images, the speech and the files of an input. */
function mediaOf({ input, model }: JsonObject, rules: MediaRules): number {
  if (!Array.isArray(input)) return 0;
  let tokens = 0;
  for (const item of input as unknown[]) {
    if (!isObject(item)) continue;
    for (const value of [item["content"], item["output"]])
      tokens += openAiMediaTokens(value, typeof model === "string" ? model : "", rules);
  }
  return tokens;
}

/** What the conversation holds, and how many tokens it has. */
interface Conversation extends Input {
  readonly previous: StoredResponse | null;
  readonly instructions: string | null;
  readonly promptTokens: number;
  /** Of these, those of images, speech and files of the input. */
  readonly mediaTokens: number;
  readonly parts: () => string[];
  /** Those of the input alone. */
  readonly ownParts: () => string[];
}

const noTurns = { turns: [] };

/** Reads what comes before the answer. Throws ApiError. */
function readConversationOf(body: JsonObject, settings: ModelSettings, store: ResponseMemory | null): Conversation {
  const input = readInput(body);
  readConversation(body);
  const instructions = optionalString(body, "instructions");
  const previous = findPrevious(optionalString(body, "previous_response_id"), store);
  const turns = turnsWith(instructions, input);
  const counted = previous !== null && turns.length === 0 ? 0 : countInput(turns, body["tools"], settings);
  const mediaTokens = mediaOf(body, settings);
  return {
    ...input,
    previous,
    instructions,
    promptTokens: counted + mediaTokens + (previous?.tokens ?? 0),
    mediaTokens,
    // Tools and instructions are those of this request, and stand before all that was said: a turn that repeats them goes on from the
    // same beginning.
    parts: () => [
      ...partsOfTurns(turnsWith(instructions, noTurns), body["tools"]),
      ...textsBefore(previous),
      ...partsOfTurns(input.turns, null),
    ],
    ownParts: () => partsOfTurns(input.turns, null),
  };
}

/** Tokens of the input of POST /v1/responses/input_tokens. Throws ApiError. */
export function countResponseInput(body: JsonObject, settings: ModelSettings, store: ResponseMemory | null): number {
  checkForm("/v1/responses", body, settings.profile);
  if (body["model"] !== undefined && body["model"] !== null) checkModel(body, settings.models);
  readCalls(body, "responses", false);
  return readConversationOf(body, settings, store).promptTokens;
}

/** A whole request, read. */
export interface ResponseRequest {
  readonly ask: Ask;
  readonly options: ResponseOptions;
  readonly previous: StoredResponse | null;
  /** Prompt tokens of images, speech and files. */
  readonly mediaTokens: number;
  /** Texts of the input, as prompts after it repeat them. */
  readonly ownParts: () => string[];
  /** Prompt tokens that a response after this one does not have again. */
  readonly instructionTokens: number;
}

/** The model of a request; one with a prompt of the platform's need not name it. */
function modelOf(body: JsonObject, { models }: ModelSettings): string {
  if (body["model"] === undefined && isObject(body["prompt"])) return models?.[0] ?? "fakeai";
  return checkModel(body, models);
}

/** Tokens of what a response after this one does not have by itself: instructions, and with a tokenizer, which counts them, tools. */
function ownTokens(instructions: string | null, tools: unknown, settings: ModelSettings): number {
  const ofInstructions = instructions === null ? 0 : countInput([turnOf("developer", [instructions])], undefined, settings);
  const { tokenizer } = settings;
  return ofInstructions + (tokenizer !== undefined && Array.isArray(tools) ? tokenizer.count(JSON.stringify(tools)) : 0);
}

/** Reads and checks a whole request. Throws ApiError. */
export function readResponse(body: JsonObject, settings: ModelSettings, store: ResponseMemory | null): ResponseRequest {
  checkForm("/v1/responses", body, settings.profile);
  const model = modelOf(body, settings);
  const conversation = readConversationOf(body, settings, store);
  const { instructions, promptTokens, previous } = conversation;
  if (optionalBoolean(body, "background") === true) {
    throw new ApiError(400, "'background' is not supported here.", "background", "unsupported_value");
  }
  const limit = optionalInteger(body, "max_output_tokens", leastOutputTokens, maxOutputTokens);
  const text = readText(body);
  const reasoning = readReasoning(body);
  const topLogprobs = optionalInteger(body, "top_logprobs", 0, 20) ?? 0;
  const include = (body["include"] ?? []) as readonly unknown[];
  const streamOptions = optionalObject(body, "stream_options");
  const read: ResponseRequest = {
    ask: {
      model,
      promptTokens,
      promptOf: () => ({ tokens: promptTokens, parts: conversation.parts, index: 0 }),
      repeatedAs: textsOfAnswer,
      promptText: conversation.lastUserText,
      stream: optionalBoolean(body, "stream") ?? false,
      choices: 1,
      endsWhole: true,
      limit: outputLimit("input", settings.maxModelLen, promptTokens, limit ?? Infinity),
      minTokens: optionalInteger(body, "min_tokens", 0, maxOutputTokens) ?? 0,
      ignoreEos: optionalBoolean(body, "ignore_eos") ?? false,
      stop: noStops,
      seed: readSeed(body),
      reasoningTokens: reasoningTokensOf(reasoning.effort, "reasoning.effort"),
      calls: readCalls(body, "responses", conversation.goesOn),
      json: readFormat(text.format, "text.format", "responses"),
    },
    options: {
      includeObfuscation: optionalBoolean(streamOptions, "include_obfuscation") ?? true,
      topLogprobs: include.includes("message.output_text.logprobs") ? topLogprobs : null,
      summary: reasoning.summary,
      isEncrypted: include.includes("reasoning.encrypted_content"),
      echoed: {
        instructions,
        max_output_tokens: limit ?? null,
        reasoning: reasoning.echoed,
        text: text.echoed,
        top_logprobs: topLogprobs,
        ...readEchoed(body),
      },
    },
    previous,
    mediaTokens: conversation.mediaTokens,
    ownParts: conversation.ownParts,
    instructionTokens: ownTokens(instructions, body["tools"], settings),
  };
  checkEchoed(read.options.echoed);
  return read;
}
