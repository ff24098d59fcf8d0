/** Reading a chat completion or a legacy completion: from its body to what the model is asked for. */
import type { Ask, Choice } from "../shared/ask.ts";
import type { ModelSettings } from "../shared/model-settings.ts";
import { Run } from "../shared/run.ts";
import { maxOutputTokens, mostWholeLogprobs, mostWholeTokens } from "../../core/limits/budget.ts";
import { corpusVocabulary } from "../../core/text/text.ts";
import {
  invalidType,
  isObject,
  type JsonObject,
  optionalBoolean,
  optionalInteger,
  optionalNumber,
  optionalObject,
  requiredString,
  textOfContent,
} from "../shared/body.ts";
import type { PromptAsk } from "../shared/prefix.ts";
import type { MediaRules } from "../shared/files.ts";
import { openAiMediaTokens } from "./media.ts";
import { ApiError } from "../errors/api-error.ts";
import {
  countMessages,
  outputLimit,
  partsOfTurns,
  type Prompt,
  readPrompts,
  tokensOfPrompt,
  tokenTextsOf,
  turnsOf,
} from "../shared/prompt.ts";
import { checkForm, type OpenAiEndpoint } from "./form.ts";
import { readServiceTier, type ServedTier, servedTier } from "./tier.ts";
import { readCalls, readFormat, readStop, reasoningTokensOf } from "./tools.ts";
import type { Kind } from "./wire.ts";

/** What the request wants of the form of its answer. */
export interface CompletionOptions {
  readonly includeUsage: boolean;
  readonly includeObfuscation: boolean;
  readonly continuousUsage: boolean;
  /** Alternatives per token; null: no logprobs. */
  readonly topLogprobs: number | null;
  readonly tier: ServedTier;
}

/** Most choices of one prompt, OpenAI's limit; and of all prompts of a legacy completion together. */
const mostChoices = 128;
const mostPromptChoices = 1024;

/** Checks the model's name against those served. */
export function checkModel(body: JsonObject, models: readonly string[] | null): string {
  const model = requiredString(body, "model");
  if (model === "" || model.length > 256)
    throw new ApiError(400, "Invalid 'model': expected 1 to 256 characters.", "model", "invalid_value");
  if (models !== null && !models.includes(model)) throw modelNotFound(model);
  return model;
}

export function modelNotFound(model: string): ApiError {
  return new ApiError({ kind: "model-not-found", model: model.slice(0, 256) });
}

/** Sampling parameters change nothing here, but a client that gets them wrong learns it here too. */
export function checkSampling(body: JsonObject): void {
  optionalNumber(body, "temperature", 0, 2);
  optionalNumber(body, "top_p", 0, 1);
  optionalNumber(body, "presence_penalty", -2, 2);
  optionalNumber(body, "frequency_penalty", -2, 2);
  const bias = optionalObject(body, "logit_bias");
  for (const token in bias) {
    if (!/^\d{1,9}$/.test(token)) {
      const message = `Invalid key in 'logit_bias': ${token.slice(0, 64)}. You should only be submitting non-negative integers.`;
      throw new ApiError(400, message, "logit_bias", "invalid_value");
    }
    optionalNumber(bias, token, -100, 100, `logit_bias.${token}`);
  }
}

/** The one form of answer that is not here. */
function checkModalities({ modalities }: JsonObject): void {
  if (Array.isArray(modalities) && modalities.includes("audio"))
    throw new ApiError(400, "Answers are text here, not 'audio'; leave 'modalities' out.", "modalities", "unsupported_value");
}

export function readSeed(body: JsonObject): number | undefined {
  return optionalInteger(body, "seed", -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
}

/** What a request's prompt is: its tokens, the most of one answer's prompt, and what each choice follows from. */
interface Told {
  readonly promptTokens: number;
  readonly longest: number;
  /** Choices that one of `n` stands for. */
  readonly count: number;
  readonly promptOf: Ask["promptOf"];
  readonly promptText: Ask["promptText"];
  readonly prefixOf: Ask["prefixOf"];
}

const endpoints: Readonly<Record<Kind, OpenAiEndpoint>> = { chat: "/v1/chat/completions", text: "/v1/completions" };

/** Reads and checks a whole request. Throws ApiError. */
export function readCompletion(kind: Kind, body: JsonObject, settings: ModelSettings): { ask: Ask; options: CompletionOptions } {
  checkForm(endpoints[kind], body, settings.profile);
  const model = checkModel(body, settings.models);
  const n = optionalInteger(body, "n", 1, mostChoices) ?? 1;
  const topLogprobs = readLogprobs(kind, body);
  const told = kind === "chat" ? readChat(body, settings) : readPrompt(body, settings, n, topLogprobs);
  const stream = optionalBoolean(body, "stream") ?? false;
  const streamOptions = readStreamOptions(body, stream);
  checkSampling(body);
  if (kind === "chat") checkModalities(body);
  const least = kind === "chat" ? 1 : 0;
  const asked = Math.min(
    optionalInteger(body, "max_completion_tokens", least, maxOutputTokens) ?? Infinity,
    optionalInteger(body, "max_tokens", least, maxOutputTokens) ?? Infinity,
  );
  const limit = outputLimit(kind === "chat" ? "messages" : "prompt", settings.maxModelLen, told.longest, asked);
  const minTokens = optionalInteger(body, "min_tokens", 0, maxOutputTokens) ?? 0;
  if (minTokens > limit) {
    throw new ApiError(400, `Invalid 'min_tokens': ${minTokens} is above the maximum of ${limit}.`, "min_tokens", "invalid_value");
  }
  return {
    ask: {
      model,
      promptTokens: told.promptTokens,
      promptOf: told.promptOf,
      ...(kind === "chat" && { repeatedAs: ({ text }: Choice) => ["assistant", ...(text === null ? [] : [text.text()])] }),
      promptText: told.promptText,
      prefixOf: told.prefixOf,
      stream,
      choices: n * told.count,
      ...(topLogprobs !== null && { logprobsPerToken: 1 + topLogprobs }),
      limit,
      minTokens,
      ignoreEos: optionalBoolean(body, "ignore_eos") ?? false,
      stop: readStop(body),
      seed: readSeed(body),
      reasoningTokens: kind === "chat" ? reasoningTokensOf(body["reasoning_effort"], "reasoning_effort") : 0,
      calls: kind === "chat" ? readCalls(body, "chat", goesOn(body)) : null,
      json: kind === "chat" ? readFormat(body["response_format"], "response_format", "chat") : null,
    },
    // Written out: an object made by spreading costs more than reading the whole request.
    options: {
      includeUsage: streamOptions.includeUsage,
      includeObfuscation: streamOptions.includeObfuscation,
      continuousUsage: streamOptions.continuousUsage,
      topLogprobs,
      tier: servedTier(kind === "chat" ? readServiceTier(body) : "auto"),
    },
  };
}

function readChat(body: JsonObject, settings: ModelSettings): Told {
  const promptTokens = countMessages(body, settings.tokenizer) + mediaOf(body, settings);
  if (Array.isArray(body["functions"]) && body["functions"].length > 0) {
    throw new ApiError(400, "'functions' is not supported here; use 'tools', which replaced it.", "functions", "unsupported_value");
  }
  const prompt: PromptAsk = { tokens: promptTokens, parts: () => partsOfTurns(turnsOf(body), body["tools"]), index: 0 };
  return {
    promptTokens,
    longest: promptTokens,
    count: 1,
    promptOf: () => prompt,
    promptText: () => lastUserText(body),
    prefixOf: undefined,
  };
}

/** Tokens of the images, the speech and the files of a chat. */
function mediaOf(body: JsonObject, rules: MediaRules): number {
  let tokens = 0;
  for (const { content } of messagesOf(body))
    if (typeof content === "object") tokens += openAiMediaTokens(content, body["model"] as string, rules);
  return tokens;
}

/** Prompts of a legacy completion: each has its `n` choices, one prompt after the other. */
function readPrompt(body: JsonObject, { tokenizer }: ModelSettings, n: number, topLogprobs: number | null): Told {
  const prompts = readPrompts(body);
  const counts = prompts.map((prompt) => tokensOfPrompt(prompt, tokenizer));
  const promptTokens = counts.reduce((sum, count) => sum + count, 0);
  const promptOf = (choice: number): Prompt => prompts[Math.floor(choice / n)]!;
  if (prompts.length > 1 && prompts.length * n > mostPromptChoices) {
    const message = `Invalid 'n': ${n} choices for each of ${prompts.length} prompts are more than ${mostPromptChoices}.`;
    throw new ApiError(400, message, "n", "invalid_value");
  }
  const bestOf = body["best_of"];
  if (typeof bestOf === "number" && bestOf < n) {
    const hint = `you must set 'n' (currently ${n}) to be at most 'best_of' (currently ${bestOf}), or omit either parameter if you don't specifically want to use them.`;
    const message = `You requested that the server return more choices than it will generate (HINT: ${hint})`;
    throw new ApiError(400, message, "best_of", "invalid_value");
  }
  const echoes = optionalBoolean(body, "echo") ?? false;
  if (echoes && promptTokens * n > (topLogprobs === null ? mostWholeTokens : mostWholeLogprobs / (1 + topLogprobs))) {
    throw new ApiError(400, "Invalid 'echo': the prompts are too long to be repeated in one answer.", "echo", "invalid_value");
  }
  return {
    promptTokens,
    longest: Math.max(...counts),
    count: prompts.length,
    promptOf: (choice) => {
      const index = Math.floor(choice / n);
      return { tokens: counts[index]!, parts: () => [prompts[index]!], index };
    },
    promptText: (choice) => {
      const prompt = promptOf(choice);
      return typeof prompt === "string" ? prompt : (tokenTextsOf(prompt, tokenizer) ?? []).join("");
    },
    prefixOf: echoes
      ? (choice, seed) => {
          const prompt = promptOf(choice);
          const texts = tokenTextsOf(prompt, tokenizer);
          // The ids' meaning is unknown here: the prompt becomes made-up text of as many tokens.
          return texts === null ? new Run(corpusVocabulary, prompt.length, seed) : Run.ofTokens(texts);
        }
      : undefined,
  };
}

function messagesOf(body: JsonObject): readonly JsonObject[] {
  return body["messages"] as readonly JsonObject[];
}

/** Whether it ends with a tool's result, or with what the assistant has begun to say. What the system says after that changes nothing. */
function goesOn(body: JsonObject): boolean {
  const role = messagesOf(body).findLast((message) => message["role"] !== "system" && message["role"] !== "developer")?.["role"];
  return role === "tool" || role === "function" || role === "assistant";
}

function lastUserText(body: JsonObject): string {
  const messages = messagesOf(body);
  return textOfContent((messages.findLast(({ role }) => role === "user") ?? messages.at(-1)!)["content"]);
}

function readLogprobs(kind: Kind, body: JsonObject): number | null {
  if (kind === "text") return optionalInteger(body, "logprobs", 0, 20) ?? null;
  const wanted = optionalBoolean(body, "logprobs") ?? false;
  const top = optionalInteger(body, "top_logprobs", 0, 20);
  if (top !== undefined && !wanted) {
    throw new ApiError(400, "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.", "top_logprobs", "invalid_value");
  }
  return wanted ? (top ?? 0) : null;
}

const absentOptions = { includeUsage: false, includeObfuscation: true, continuousUsage: false };

function readStreamOptions(body: JsonObject, stream: boolean): Omit<CompletionOptions, "topLogprobs" | "tier"> {
  const options = body["stream_options"];
  if (options === undefined || options === null) return absentOptions;
  if (!isObject(options)) throw invalidType("stream_options", "an object", options);
  if (!stream) {
    throw new ApiError(400, "The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options", "invalid_value");
  }
  const flag = (name: string): boolean | undefined => {
    const value = options[name];
    if (value === undefined || value === null) return undefined;
    if (typeof value !== "boolean") throw invalidType(`stream_options.${name}`, "a boolean", value);
    return value;
  };
  const continuousUsage = flag("continuous_usage_stats") ?? false;
  return {
    includeUsage: flag("include_usage") ?? false,
    includeObfuscation: flag("include_obfuscation") ?? true,
    // As in vLLM, usage in every chunk is a refinement of include_usage.
    continuousUsage: continuousUsage && options["include_usage"] === true,
  };
}
