/** Reading a request to /v1/responses. */
import { maxOutputTokens, mostEchoedCharacters } from "../../core/limits/budget.ts";
import type { Ask, ModelSettings } from "../shared/model.ts";
import {
  invalidType,
  isObject,
  type JsonObject,
  missing,
  optionalBoolean,
  optionalInteger,
  optionalNumber,
  textOfContent,
  textsOfContent,
} from "../shared/body.ts";
import { ApiError } from "../errors/api-error.ts";
import { countTurns, outputLimit, partsOfTurns, tokensOfTexts, type Turn } from "../shared/prompt.ts";
import { checkModel, readSeed } from "./request.ts";
import { noStops, readCalls, readFormat, reasoningTokensOf } from "./tools.ts";

/** What the answer repeats of its request, and the form it wants. */
export interface ResponseOptions {
  readonly includeObfuscation: boolean;
  /** Alternatives per token; null: no logprobs. */
  readonly topLogprobs: number | null;
  /** Members of the response object that come from the request. */
  readonly echoed: ResponseEcho;
}

export interface ResponseEcho {
  readonly instructions: string | null;
  readonly max_output_tokens: number | null;
  readonly previous_response_id: string | null;
  readonly parallel_tool_calls: boolean;
  readonly reasoning: { readonly effort: unknown; readonly summary: unknown };
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
}

/** OpenAI takes no lower limit here. */
const leastOutputTokens = 16;

function optionalString(body: JsonObject, param: string): string | null {
  const value = body[param];
  if (value === undefined || value === null) return null;
  if (typeof value !== "string") throw invalidType(param, "a string", value);
  return value;
}

function optionalObject(body: JsonObject, param: string): JsonObject {
  const value = body[param];
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw invalidType(param, "an object", value);
  return value;
}

interface Input {
  readonly turns: readonly Turn[];
  readonly lastUserText: () => string;
  readonly endsWithResult: boolean;
}

function turnOf(role: string, texts: readonly string[]): Turn {
  return { role, name: null, texts };
}

function readInput(body: JsonObject): Input {
  const { input } = body;
  if (input === undefined || input === null) throw missing("input");
  if (typeof input === "string") return { turns: [turnOf("user", [input])], lastUserText: () => input, endsWithResult: false };
  if (!Array.isArray(input)) throw invalidType("input", "one of a string or array of objects", input);
  if (input.length === 0) {
    throw new ApiError(
      400,
      "Invalid 'input': empty array. Expected an array with minimum length 1, but got an empty array instead.",
      "input",
      "empty_array",
    );
  }
  const turns: Turn[] = [];
  const items = input.map((item: unknown, index) => {
    if (!isObject(item)) throw invalidType(`input[${index}]`, "an object", item);
    const isMessage = item["type"] === undefined || item["type"] === "message";
    if (isMessage && item["role"] === undefined) throw missing(`input[${index}].role`);
    if (isMessage && item["content"] === undefined) throw missing(`input[${index}].content`);
    const others = [item["name"], item["arguments"], item["output"]].flatMap((value) => textsOfContent(value));
    turns.push(turnOf(typeof item["role"] === "string" ? item["role"] : "tool", [...textsOfContent(item["content"]), ...others]));
    return item;
  });
  return {
    turns,
    lastUserText: () => textOfContent(items.findLast(({ role }) => role === "user")?.["content"]),
    endsWithResult: items.at(-1)!["type"] === "function_call_output",
  };
}

function countInput(all: readonly Turn[], tools: unknown, { tokenizer }: ModelSettings): number {
  if (tokenizer !== undefined) return countTurns(all, tools, tokenizer.count);
  return tokensOfTexts(
    all.flatMap(({ texts }) => texts),
    undefined,
  );
}

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

/** Reads and checks a whole request. Throws ApiError. */
export function readResponse(body: JsonObject, settings: ModelSettings): { ask: Ask; options: ResponseOptions } {
  const model = checkModel(body, settings.models);
  const input = readInput(body);
  const instructions = optionalString(body, "instructions");
  if (optionalBoolean(body, "background") === true) {
    throw new ApiError(400, "'background' is not supported here.", "background", "unsupported_value");
  }
  const limit = optionalInteger(body, "max_output_tokens", leastOutputTokens, maxOutputTokens);
  // Instructions are a message before all others.
  const turns = instructions === null ? input.turns : [turnOf("developer", [instructions]), ...input.turns];
  const promptTokens = countInput(turns, body["tools"], settings);
  const text = optionalObject(body, "text");
  const reasoning = optionalObject(body, "reasoning");
  const topLogprobs = optionalInteger(body, "top_logprobs", 0, 20) ?? 0;
  const include: unknown = body["include"] ?? [];
  if (!Array.isArray(include)) throw invalidType("include", "an array of strings", include);
  const streamOptions = optionalObject(body, "stream_options");
  const calls = readCalls(body, "responses", input.endsWithResult);
  const read = {
    ask: {
      model,
      promptTokens,
      promptOf: () => ({ tokens: promptTokens, parts: () => partsOfTurns(turns, body["tools"]), index: 0 }),
      promptText: input.lastUserText,
      stream: optionalBoolean(body, "stream") ?? false,
      choices: 1,
      endsWhole: true,
      limit: outputLimit("input", settings.maxModelLen, promptTokens, limit ?? Infinity),
      minTokens: optionalInteger(body, "min_tokens", 0, maxOutputTokens) ?? 0,
      ignoreEos: optionalBoolean(body, "ignore_eos") ?? false,
      stop: noStops,
      seed: readSeed(body),
      reasoningTokens: reasoningTokensOf(reasoning["effort"], "reasoning.effort"),
      calls,
      json: readFormat(text["format"], "text.format", "responses"),
    },
    options: {
      includeObfuscation: optionalBoolean(streamOptions, "include_obfuscation") ?? true,
      topLogprobs: include.includes("message.output_text.logprobs") ? topLogprobs : null,
      echoed: {
        instructions,
        max_output_tokens: limit ?? null,
        previous_response_id: optionalString(body, "previous_response_id"),
        parallel_tool_calls: optionalBoolean(body, "parallel_tool_calls") ?? true,
        reasoning: { effort: reasoning["effort"] ?? null, summary: reasoning["summary"] ?? null },
        store: optionalBoolean(body, "store") ?? true,
        temperature: optionalNumber(body, "temperature", 0, 2) ?? 1,
        text: { format: text["format"] ?? { type: "text" }, verbosity: text["verbosity"] ?? "medium" },
        tool_choice: body["tool_choice"] ?? "auto",
        tools: body["tools"] ?? [],
        top_logprobs: topLogprobs,
        top_p: optionalNumber(body, "top_p", 0, 1) ?? 1,
        truncation: body["truncation"] ?? "disabled",
        user: body["user"] ?? null,
        metadata: body["metadata"] ?? {},
      },
    },
  };
  checkEchoed(read.options.echoed);
  return read;
}
