/** POST /tokenize, as vLLM has it: a real encoding's tokens with --tokenizer, else estimated pieces with made-up ids. */
import { mostGivenCharacters } from "../../core/limits/budget.ts";
import { ApiError } from "../errors/api-error.ts";
import type { ModelSettings } from "../shared/model-settings.ts";
import { checkMessages, invalidType, type JsonObject, missing, optionalBoolean, parseBody, requiredString } from "../shared/body.ts";
import { type Tokenizer, tokenTextsOf, type Turn, turnsOf } from "../shared/prompt.ts";

const vocabularySize = 199_998;
/** What a model without `--max-model-len` says of itself. */
const defaultModelLength = 131_072;

/** The same piece has the same id everywhere. */
function idOf(piece: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < piece.length; i++) hash = Math.imul(hash ^ piece.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % vocabularySize;
}

interface Token {
  readonly id: number;
  readonly text: string;
}

function encoded(text: string, { encode, textsOf }: Tokenizer): Token[] {
  const ids = encode(text);
  const texts = textsOf(ids);
  return ids.map((id, index) => ({ id, text: texts[index]! }));
}

/** A chat as OpenAI's models read it; as many tokens as `countTurns` says. */
function rendered(turns: readonly Turn[], tools: unknown, tokenizer: Tokenizer): Token[] {
  const { start, separator, end } = tokenizer.marks;
  const open = { id: start, text: "<|im_start|>" };
  const middle = { id: separator, text: "<|im_sep|>" };
  const close = { id: end, text: "<|im_end|>" };
  const of = (text: string): Token[] => encoded(text, tokenizer);
  return [
    ...(Array.isArray(tools) ? of(JSON.stringify(tools)) : []),
    ...turns.flatMap(({ role, name, texts }) => [
      open,
      ...of(role),
      ...(name === null ? [] : [...of(":"), ...of(name)]),
      middle,
      ...texts.flatMap(of),
      close,
    ]),
    open,
    ...of("assistant"),
    middle,
  ];
}

function checkLength(characters: number, isChat: boolean): void {
  if (characters <= mostGivenCharacters) return;
  const param = isChat ? "messages" : "prompt";
  const message = `Invalid '${param}': ${characters} characters are more than ${mostGivenCharacters}.`;
  throw new ApiError(400, message, param, "string_above_max_length");
}

function tokensOf(body: JsonObject, tokenizer: Tokenizer | undefined): Token[] {
  const isChat = body["messages"] !== undefined;
  const checked = isChat ? checkMessages(body) : 0;
  const turns = isChat ? turnsOf(body) : [];
  const prompt = isChat ? "" : requiredString(body, "prompt");
  if (tokenizer !== undefined) checkLength(isChat ? checked : prompt.length, isChat);
  if (tokenizer !== undefined) return isChat ? rendered(turns, body["tools"], tokenizer) : encoded(prompt, tokenizer);
  const text = isChat ? turns.flatMap(({ texts }) => texts).join("") : prompt;
  checkLength(text.length, isChat);
  return tokenTextsOf(text, undefined)!.map((piece) => ({ id: idOf(piece), text: piece }));
}

/** Ids in one request. */
const mostIds = 131_072;

/** JSON text of the answer to POST /detokenize: the text of ids, which only a tokenizer knows. Throws ApiError. */
export function detokenize(bytes: Uint8Array, { tokenizer }: ModelSettings): string {
  const { tokens } = parseBody(bytes);
  if (tokens === undefined) throw missing("tokens");
  if (!Array.isArray(tokens) || !tokens.every((id) => Number.isInteger(id) && id >= 0))
    throw invalidType("tokens", "an array of integers", tokens);
  if (tokens.length > mostIds) {
    throw new ApiError(400, `Invalid 'tokens': more than ${mostIds} in one request.`, "tokens", "array_above_max_length");
  }
  if (tokenizer === undefined) {
    throw new ApiError(
      400,
      "The ids of /tokenize are made up here; start the server with --tokenizer for real ones.",
      "tokens",
      "unsupported_value",
    );
  }
  return JSON.stringify({ prompt: tokenizer.decode(tokens as readonly number[]) });
}

/** JSON text of the answer: as many tokens as the usage of a completion would count for the same prompt. Throws ApiError. */
export function tokenize(bytes: Uint8Array, { tokenizer, maxModelLen }: ModelSettings): string {
  const body = parseBody(bytes);
  const tokens = tokensOf(body, tokenizer);
  return JSON.stringify({
    count: tokens.length,
    max_model_len: maxModelLen ?? defaultModelLength,
    tokens: tokens.map(({ id }) => id),
    token_strs: optionalBoolean(body, "return_token_strs") === true ? tokens.map(({ text }) => text) : null,
  });
}
