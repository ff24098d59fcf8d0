/** How many tokens a prompt is worth, and what that leaves for the answer. */
import { checkMessages, isObject, type JsonObject, promptTokensOf, tokensOfBytes } from "./body.ts";
import { ApiError } from "./errors.ts";
import type { Kind } from "./wire.ts";

/** Counts the tokens of a text in one encoding. */
export type CountTokens = (text: string) => number;

/**
 * Checks the prompt of a request and says how many tokens it is worth: an estimate from its length, or, given `count`,
 * what OpenAI charges for the texts (each message has 3 tokens around it and the answer is primed with 3 more; a name
 * costs 1: cookbook.openai.com, "How to count tokens"). Tools count as their JSON, which is near what OpenAI charges.
 */
export function countPromptTokens(kind: Kind, body: JsonObject, count: CountTokens | undefined): number {
  if (kind === "text") return count === undefined || !holdsText(body) ? promptTokensOf(body) : countPrompt(body, count);
  const characters = checkMessages(body);
  if (count === undefined) return tokensOfBytes(characters);
  let tokens = 3;
  for (const { role, content, name } of body["messages"] as readonly JsonObject[]) {
    tokens += 3 + count(role as string);
    if (typeof name === "string") tokens += 1 + count(name);
    for (const text of textsOf(content)) tokens += count(text);
  }
  if (Array.isArray(body["tools"])) tokens += count(JSON.stringify(body["tools"]));
  return tokens;
}

function textsOf(content: unknown): readonly string[] {
  if (typeof content === "string") return [content];
  if (!Array.isArray(content)) return [];
  return content.flatMap((part: unknown) => (isObject(part) && typeof part["text"] === "string" ? [part["text"]] : []));
}

function holdsText({ prompt }: JsonObject): boolean {
  return typeof prompt === "string" || (Array.isArray(prompt) && typeof prompt[0] === "string");
}

function countPrompt(body: JsonObject, count: CountTokens): number {
  // The estimate checks, the encoding counts.
  promptTokensOf(body);
  return tokensOfTexts([[body["prompt"]].flat()[0] as string], count);
}

/** The tokens of a prompt's texts, at least 1: counted, or without `count` estimated. For surfaces that add nothing around them. */
export function tokensOfTexts(texts: readonly string[], count: CountTokens | undefined): number {
  if (count === undefined) return tokensOfBytes(texts.reduce((characters, { length }) => characters + length, 0));
  return Math.max(
    1,
    texts.reduce((tokens, text) => tokens + count(text), 0),
  );
}

/**
 * The most tokens that the answer may have, from the `limits` that the request set and from what the prompt leaves of
 * the model's length (null: no such limit). `what` is the parameter that holds the prompt. Throws the provider's error
 * where prompt and allowed answer do not fit.
 */
export function outputLimit(
  what: "messages" | "prompt" | "input",
  maxModelLen: number | null,
  promptTokens: number,
  limits: readonly number[],
): number {
  const limit = Math.min(...limits, Infinity);
  if (maxModelLen === null) return limit;
  const begin = `This model's maximum context length is ${maxModelLen} tokens. However,`;
  if (promptTokens >= maxModelLen) {
    throw tooLong(`${begin} your ${what} resulted in ${promptTokens} tokens. Please reduce the length of the ${what}.`, what);
  }
  if (limit !== Infinity && promptTokens + limit > maxModelLen) {
    const parts = `${promptTokens} in the ${what}, ${limit} in the completion`;
    throw tooLong(
      `${begin} you requested ${promptTokens + limit} tokens (${parts}). Please reduce the length of the ${what} or completion.`,
      what,
    );
  }
  // Without a limit of its own an answer ends where the model does.
  return Math.min(limit, maxModelLen - promptTokens);
}

function tooLong(message: string, param: string): ApiError {
  return new ApiError(400, message, param, "context_length_exceeded");
}
