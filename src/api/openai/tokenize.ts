/** POST /tokenize, as vLLM has it: pieces that look like a model's tokens, with made-up ids. */
import { splitTokens } from "../../core/text.ts";
import { checkMessages, type JsonObject, optionalBoolean, parseBody, requiredString, textOfContent } from "./body.ts";

const vocabularySize = 200_019;
const maxModelLength = 131_072;

/** The same piece has the same id everywhere. */
function idOf(piece: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < piece.length; i++) hash = Math.imul(hash ^ piece.charCodeAt(i), 0x01000193);
  return (hash >>> 0) % vocabularySize;
}

function textOf(body: JsonObject): string {
  if (body["messages"] === undefined) return requiredString(body, "prompt");
  checkMessages(body);
  return (body["messages"] as readonly JsonObject[]).map(({ content }) => textOfContent(content)).join("\n");
}

/** JSON text of the answer. Throws ApiError. */
export function tokenize(bytes: Uint8Array): string {
  const body = parseBody(bytes);
  const pieces = splitTokens(textOf(body));
  return JSON.stringify({
    count: pieces.length,
    max_model_len: maxModelLength,
    tokens: pieces.map(idOf),
    token_strs: optionalBoolean(body, "return_token_strs") === true ? pieces : null,
  });
}
