/** Reading a request to Anthropic's /v1/messages: every complaint is worded as theirs (docs.anthropic.com/en/api/messages). */
import { charactersOf, mostStopCharacters } from "../../core/text/stop.ts";
import type { Ask, Stops } from "../shared/ask.ts";
import type { ModelSettings } from "../shared/model-settings.ts";
import { isObject, type JsonObject, parseBody, textOfContent, textsOfContent } from "../shared/body.ts";
import { ApiError } from "../errors/api-error.ts";
import { anthropicMediaTokens } from "./media.ts";
import { tokensOfTexts } from "../shared/prompt.ts";
import { bad, isText, optionalFlag, optionalName, required, whole } from "./complaints.ts";
import { checkForm } from "./form.ts";
import { readCalls } from "./tools.ts";

/** Texts of a content block, tool inputs and results included. */
function textsOfBlock(block: JsonObject): readonly string[] {
  if (isText(block["text"])) return [block["text"]];
  if (block["input"] !== undefined) return [JSON.stringify(block["input"])];
  const { content } = block;
  if (!Array.isArray(content)) return textsOfContent(content);
  // A search result within a tool's result has its text one level below.
  return content.filter(isObject).flatMap((part) => (isText(part["text"]) ? [part["text"]] : textsOfContent(part["content"])));
}

interface Messages {
  readonly texts: readonly string[];
  readonly lastUserText: () => string;
  /** It ends with a tool's result. What the system says after it changes nothing. */
  readonly endsWithResult: boolean;
  /** It ends with what the assistant has begun to say. */
  readonly endsWithPrefill: boolean;
}

const roles = ["user", "assistant", "system"] as const;

function readMessages(body: JsonObject): Messages {
  const messages = required(body, "messages");
  if (!Array.isArray(messages)) throw bad("messages: Input should be a valid list");
  if (messages.length === 0) throw bad("messages: at least one message is required");
  const texts: string[] = [];
  const list = messages.map((message: unknown, index) => {
    const at = `messages.${index}`;
    if (!isObject(message)) throw bad(`${at}: Input should be an object`);
    const role = required(message, "role", `${at}.role`);
    if (!roles.includes(role as "user")) throw bad(`${at}.role: Input should be 'user', 'assistant' or 'system'`);
    const content = required(message, "content", `${at}.content`);
    if (isText(content)) texts.push(content);
    else if (Array.isArray(content)) {
      content.forEach((block: unknown, position) => {
        if (!isObject(block)) throw bad(`${at}.content.${position}: Input should be an object`);
        if (!isText(block["type"])) throw bad(`${at}.content.${position}.type: Field required`);
        for (const text of textsOfBlock(block)) texts.push(text);
      });
    } else throw bad(`${at}.content: Input should be a valid string or list`);
    return message;
  });
  const last = list.findLast(({ role }) => role !== "system");
  const content = last?.["content"];
  return {
    texts,
    lastUserText: () => textOfContent(list.findLast(({ role }) => role === "user")?.["content"]),
    endsWithResult: Array.isArray(content) && content.some((block: unknown) => isObject(block) && block["type"] === "tool_result"),
    endsWithPrefill: last?.["role"] === "assistant",
  };
}

/** Tokens of thinking: a part of the budget. */
const mostThinking = 256;

/** What is thought before the answer: so many tokens, shown or not. */
interface Thinking {
  readonly tokens: number;
  readonly isShown: boolean;
}

const noThinking: Thinking = { tokens: 0, isShown: true };

const displays = ["summarized", "omitted", "updates"] as const;

/**
 * The budget is less than `max_tokens`, unless thinking goes on between calls of tools (platform.claude.com/docs/en/build-with-claude/
 * extended-thinking, "Interleaved thinking").
 */
function readThinking(body: JsonObject, { endsWithResult }: Messages, isInterleaved: boolean): Thinking {
  const thinking = body["thinking"];
  if (thinking === undefined || thinking === null) return noThinking;
  if (!isObject(thinking)) throw bad("thinking: Input should be an object");
  const type = optionalName(thinking, "type", "thinking.type", ["enabled", "disabled", "adaptive", "between_tools"]);
  if (type === null) throw bad("thinking.type: Field required");
  if (type === "disabled" || (type === "between_tools" && !endsWithResult)) return noThinking;
  const isShown = optionalName(thinking, "display", `thinking.${type}.display`, displays) !== "omitted";
  if (type !== "enabled") return { tokens: mostThinking / 4, isShown };
  const at = "thinking.enabled.budget_tokens";
  const budget = whole(required(thinking, "budget_tokens", at), at, 1024);
  if (!isInterleaved && budget >= (body["max_tokens"] as number)) {
    const hint = "Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking";
    throw bad(`\`max_tokens\` must be greater than \`thinking.budget_tokens\`. ${hint}`);
  }
  return { tokens: Math.min(budget, mostThinking), isShown };
}

function readStops(body: JsonObject): Stops {
  const stops = body["stop_sequences"] ?? [];
  if (!Array.isArray(stops) || !stops.every(isText)) throw bad("stop_sequences: Input should be a valid list of strings");
  if (stops.some((stop) => stop.trim() === "")) throw bad("stop_sequences: each stop sequence must contain non-whitespace");
  const characters = charactersOf(stops);
  if (characters > mostStopCharacters) throw bad(`stop_sequences: ${characters} characters are more than ${mostStopCharacters} together`);
  return { sequences: stops, param: "stop_sequences" };
}

function readFormat(body: JsonObject): Ask["json"] {
  const config = body["output_config"];
  if (!isObject(config)) return null;
  optionalName(config, "effort", "output_config.effort", ["low", "medium", "high", "xhigh", "max"]);
  const format = config["format"];
  if (!isObject(format)) return null;
  if (format["type"] !== "json_schema") throw bad("output_config.format.type: Input should be 'json_schema'");
  return { schema: required(format, "schema", "output_config.format.schema"), param: "output_config.format.schema" };
}

/** Refuses what does not fit into the model's context. */
function checkFits(maxModelLen: number | null, promptTokens: number, limit: number): void {
  if (maxModelLen === null) return;
  if (promptTokens > maxModelLen) throw bad(`prompt is too long: ${promptTokens} tokens > ${maxModelLen} maximum`);
  if (promptTokens + limit <= maxModelLen) return;
  const sum = `${promptTokens} + ${limit} > ${maxModelLen}`;
  throw bad(`input length and \`max_tokens\` exceed context limit: ${sum}, decrease input length or \`max_tokens\` and try again`);
}

function readModel(body: JsonObject, models: readonly string[] | null): string {
  const model = required(body, "model");
  if (!isText(model)) throw bad("model: Input should be a valid string");
  if (model === "" || model.length > 256) throw bad("model: String should have 1 to 256 characters");
  if (models !== null && !models.includes(model)) throw new ApiError({ kind: "model-not-found", model });
  return model;
}

function countPrompt(body: JsonObject, { texts }: Messages, settings: ModelSettings): number {
  let media = 0;
  for (const { content } of body["messages"] as readonly JsonObject[])
    media += anthropicMediaTokens(content, body["model"] as string, settings);
  return media + tokensOfTexts([...texts, ...textsOfContent(body["system"])], settings.tokenizer);
}

function checkShare(name: string, value: unknown): void {
  if (value === undefined || value === null) return;
  if (typeof value !== "number" || value < 0 || value > 1) throw bad(`${name}: range: 0..1`);
}

/** What `usage.input_tokens` of a message would say. Throws ApiError. */
export function countInputTokens(bytes: Uint8Array, settings: ModelSettings): number {
  const body = parseBody(bytes);
  checkForm(body);
  readModel(body, settings.models);
  const messages = readMessages(body);
  readCalls(body, false);
  return countPrompt(body, messages, settings);
}

/** What a message is asked for, and whether its thinking is shown: otherwise a signature alone stands for it. */
export interface MessageAsk {
  readonly ask: Ask;
  readonly showsThinking: boolean;
}

/** Reads and checks a whole request. `betas` is its header `anthropic-beta`. Throws ApiError. */
export function readMessage(bytes: Uint8Array, betas: string, settings: ModelSettings): MessageAsk {
  const { models, maxModelLen } = settings;
  const body = parseBody(bytes);
  checkForm(body);
  const model = readModel(body, models);
  // With 0 the prompt is only read, for the cache.
  const limit = whole(required(body, "max_tokens"), "max_tokens", 0);
  const messages = readMessages(body);
  const { temperature, top_p, top_k } = body;
  checkShare("temperature", temperature);
  checkShare("top_p", top_p);
  if (top_k !== undefined && top_k !== null) whole(top_k, "top_k", 0);
  const promptTokens = countPrompt(body, messages, settings);
  checkFits(maxModelLen, promptTokens, limit);
  const thinking = readThinking(body, messages, betas.includes("interleaved-thinking"));
  const ask: Ask = {
    model,
    promptTokens,
    promptOf: () => ({ tokens: promptTokens, parts: () => [...textsOfContent(body["system"]), ...messages.texts], index: 0 }),
    promptText: messages.lastUserText,
    stream: optionalFlag(body, "stream"),
    choices: 1,
    limit,
    minTokens: 0,
    ignoreEos: false,
    stop: readStops(body),
    seed: undefined,
    reasoningTokens: thinking.tokens,
    calls: readCalls(body, messages.endsWithResult || messages.endsWithPrefill),
    json: readFormat(body),
  };
  return { ask, showsThinking: thinking.isShown };
}
