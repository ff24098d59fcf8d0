/** How many tokens a prompt has, and how many that leaves for the answer. */
import { checkMessages, emptyArray, invalidType, type JsonObject, textsOfContent, tokensOfCharacters } from "./body.ts";
import { ApiError } from "../errors/api-error.ts";

/** An encoding of OpenAI's. */
export interface Tokenizer {
  readonly count: (text: string) => number;
  readonly encode: (text: string) => readonly number[];
  /** The text of each token. One that holds only a part of a character is empty, the character stands with its last part. */
  readonly textsOf: (ids: readonly number[]) => readonly string[];
  /** The text of tokens together; an id that is none adds nothing. */
  readonly decode: (ids: readonly number[]) => string;
  /** Ids of the tokens that stand around each message of a chat. */
  readonly marks: { readonly start: number; readonly separator: number; readonly end: number };
}

/** Tokens around each message, and those with which the answer begins: `<|im_start|>`, `<|im_sep|>`, `<|im_end|>`. */
const tokensOfMessage = 3;
const tokensOfAnswer = 3;

/** A message of a chat, without what does not count as tokens. */
export interface Turn {
  readonly role: string;
  readonly name: string | null;
  readonly texts: readonly string[];
}

/**
 * What OpenAI charges for a chat: each message has 3 tokens around it, the answer is primed with 3 more, and a name costs 1
 * (cookbook.openai.com, "How to count tokens"). Tools count as their JSON, which is near what OpenAI charges.
 */
export function countTurns(turns: readonly Turn[], tools: unknown, count: Tokenizer["count"]): number {
  let tokens = tokensOfAnswer;
  for (const { role, name, texts } of turns) {
    tokens += tokensOfMessage + count(role) + (name === null ? 0 : 1 + count(name));
    for (const text of texts) tokens += count(text);
  }
  return tokens + (Array.isArray(tools) ? count(JSON.stringify(tools)) : 0);
}

/** All texts that a model reads, in the order of the usual chat templates: tools, then each message with its role. */
export function partsOfTurns(turns: readonly Turn[], tools: unknown): string[] {
  const messages = turns.flatMap(({ role, name, texts }) => [role, ...(name === null ? [] : [name]), ...texts]);
  return Array.isArray(tools) && tools.length > 0 ? [JSON.stringify(tools), ...messages] : messages;
}

/** The messages of a chat, which `checkMessages` has approved. */
export function turnsOf(body: JsonObject): Turn[] {
  return (body["messages"] as readonly JsonObject[]).map(({ role, name, content }) => ({
    role: role as string,
    name: typeof name === "string" ? name : null,
    texts: textsOfContent(content),
  }));
}

/** Checks the messages of a chat and returns their number of tokens: counted, or without a tokenizer estimated. */
export function countMessages(body: JsonObject, tokenizer: Tokenizer | undefined): number {
  const characters = checkMessages(body);
  return tokenizer === undefined ? tokensOfCharacters(characters) : countTurns(turnsOf(body), body["tools"], tokenizer.count);
}

/** The tokens of a prompt's texts, at least 1: counted, or without a tokenizer estimated. For surfaces that add nothing around them. */
export function tokensOfTexts(texts: readonly string[], tokenizer: Tokenizer | undefined): number {
  if (tokenizer === undefined) return tokensOfCharacters(texts.reduce((characters, { length }) => characters + length, 0));
  return Math.max(
    1,
    texts.reduce((tokens, text) => tokens + tokenizer.count(text), 0),
  );
}

/** A prompt of a legacy completion: a text, or the ids of its tokens. */
export type Prompt = string | readonly number[];

/** Prompts in one request; OpenAI's limit for lists of texts. */
const mostPrompts = 2048;

/** Reads `prompt`: one, or a list of them. */
export function readPrompts({ prompt }: JsonObject): readonly Prompt[] {
  if (prompt === undefined || prompt === null) return [""];
  if (typeof prompt === "string") return [prompt];
  const expected = "one of a string, array of strings, array of integers, or array of arrays of integers";
  if (!Array.isArray(prompt)) throw invalidType("prompt", expected, prompt);
  if (prompt.length === 0) throw emptyArray("prompt");
  const list: readonly unknown[] = prompt;
  if (isIds(list)) return [list];
  if (list.length > mostPrompts) {
    throw new ApiError(
      400,
      `Invalid 'prompt': array too long. Expected an array with maximum length ${mostPrompts}, but got an array with length ${list.length} instead.`,
      "prompt",
      "array_above_max_length",
    );
  }
  return list.map((item, index) => {
    // Texts and lists of ids do not stand in one list.
    if ((typeof item !== "string" && !isIds(item)) || typeof item !== typeof list[0])
      throw invalidType(`prompt[${index}]`, "a string or array of integers", item);
    return item;
  });
}

function isIds(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length > 0 && value.every((id) => Number.isInteger(id));
}

export function tokensOfPrompt(prompt: Prompt, tokenizer: Tokenizer | undefined): number {
  return typeof prompt === "string" ? tokensOfTexts([prompt], tokenizer) : prompt.length;
}

/**
 * The texts of a prompt's tokens, as many as `tokensOfPrompt` says; together they are the prompt. Null where only ids are
 * known. Estimated tokens are four UTF-16 units each, a surrogate pair never cut.
 */
export function tokenTextsOf(prompt: Prompt, tokenizer: Tokenizer | undefined): readonly string[] | null {
  if (typeof prompt !== "string") return tokenizer?.textsOf(prompt) ?? null;
  if (tokenizer !== undefined) {
    const texts = tokenizer.textsOf(tokenizer.encode(prompt));
    // No encoding knows lone surrogates.
    if (texts.length > 0 && texts.join("") === prompt) return texts;
  }
  const texts: string[] = [];
  let start = 0;
  for (let end = 4; start < prompt.length; end += 4) {
    // The code of a whole pair is above all others.
    const isInsidePair = end < prompt.length && prompt.codePointAt(end - 1)! > 0xffff;
    const cut = isInsidePair ? end - 1 : end;
    texts.push(prompt.slice(start, cut));
    start = Math.min(cut, prompt.length);
  }
  return texts.length > 0 ? texts : [""];
}

/**
 * The most tokens that the answer may have, from the limit that the request `asked` for (Infinity: none) and from what the
 * prompt leaves of the model's length (null: no such limit). `what` is the parameter that holds the prompt. Throws the provider's error
 * where prompt and allowed answer do not fit.
 */
export function outputLimit(
  what: "messages" | "prompt" | "input",
  maxModelLen: number | null,
  promptTokens: number,
  asked: number,
): number {
  if (maxModelLen === null) return asked;
  if (what === "input" && promptTokens >= maxModelLen) {
    throw tooLong("Your input exceeds the context window of this model. Please adjust your input and try again.", what);
  }
  const begin = `This model's maximum context length is ${maxModelLen} tokens. However,`;
  if (promptTokens >= maxModelLen) {
    throw tooLong(`${begin} your ${what} resulted in ${promptTokens} tokens. Please reduce the length of the ${what}.`, what);
  }
  if (asked !== Infinity && promptTokens + asked > maxModelLen) {
    const parts = `${promptTokens} in the ${what}, ${asked} in the completion`;
    throw tooLong(
      `${begin} you requested ${promptTokens + asked} tokens (${parts}). Please reduce the length of the ${what} or completion.`,
      what,
    );
  }
  // Without a limit of its own an answer ends where the model does.
  return Math.min(asked, maxModelLen - promptTokens);
}

/** Refuses what an embedding model cannot read at once. */
export function checkInputFits(maxModelLen: number | null, tokens: number): void {
  if (maxModelLen === null || tokens <= maxModelLen) return;
  const asked = `you requested ${tokens} tokens (${tokens} in your prompt; 0 for the completion)`;
  throw tooLong(
    `This model's maximum context length is ${maxModelLen} tokens, however ${asked}. Please reduce your prompt; or completion length.`,
    "input",
  );
}

function tooLong(message: string, param: string): ApiError {
  return new ApiError(400, message, param, "context_length_exceeded");
}
