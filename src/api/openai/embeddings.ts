/** POST /v1/embeddings: unit vectors that follow from model and text alone. */
import type { ResponsePlan, RouteRequest } from "../../core/seams.ts";
import type { Model } from "../shared/model.ts";
import type { ModelSettings } from "../shared/model-settings.ts";
import type { PromptAsk } from "../shared/prefix.ts";
import { emptyArray, invalidType, type JsonObject, optionalInteger, parseBody } from "../shared/body.ts";
import { ApiError } from "../errors/api-error.ts";
import { successHead } from "../shared/heads.ts";
import { type ListBody, listFrames } from "../shared/lists.ts";
import { checkInputFits, tokensOfPrompt } from "../shared/prompt.ts";
import { base64Of, bytesOfNumber, decimalsOf, seedOfText } from "../shared/vectors.ts";
import { deployedBody } from "./azure.ts";
import { checkForm } from "./form.ts";
import { checkModel } from "./request.ts";

const mostInputs = 2048;
const mostDimensions = 4096;
/** Numbers in one answer. */
const mostNumbers = 4_194_304;
/** The inputs as texts, and the tokens they are worth. */
function readInputs(
  body: JsonObject,
  { tokenizer, maxModelLen }: ModelSettings,
): { texts: string[]; tokens: number; prompts: PromptAsk[] } {
  const { input } = body;
  const expected = "a string, array of strings, array of integers, or array of arrays of integers";
  if (input === undefined || input === null)
    throw new ApiError(400, "Missing required parameter: 'input'.", "input", "missing_required_parameter");
  const isTokens = (value: unknown): value is number[] =>
    Array.isArray(value) && value.length > 0 && value.every((id) => Number.isInteger(id));
  const list: readonly unknown[] = typeof input === "string" || isTokens(input) ? [input] : Array.isArray(input) ? input : [];
  if (!Array.isArray(input) && typeof input !== "string") throw invalidType("input", expected, input);
  if (list.length === 0) throw emptyArray("input");
  if (list.includes("")) throw new ApiError(400, "Invalid 'input': input cannot be an empty string.", "input", "invalid_value");
  if (list.length > mostInputs) {
    throw new ApiError(
      400,
      `Invalid 'input': array too long. Expected an array with maximum length ${mostInputs}, but got an array with length ${list.length} instead.`,
      "input",
      "array_above_max_length",
    );
  }
  let tokens = 0;
  const prompts: PromptAsk[] = [];
  const texts = list.map((item, index) => {
    const isIds = isTokens(item);
    // Texts and lists of ids do not stand in one list.
    if ((!isIds && typeof item !== "string") || typeof item !== typeof list[0]) throw invalidType(`input[${index}]`, expected, item);
    const worth = tokensOfPrompt(item, tokenizer);
    prompts.push({ tokens: worth, parts: () => [item], index });
    checkInputFits(maxModelLen, worth);
    tokens += worth;
    return isIds ? item.join(" ") : item;
  });
  return { texts, tokens, prompts };
}

/** The vectors of one answer. */
interface Vectors {
  readonly name: string;
  readonly texts: readonly string[];
  readonly dimensions: number;
  readonly isBase64: boolean;
  readonly indented: boolean;
}

function bodyOf({ name, texts, dimensions, isBase64, indented }: Vectors, tokens: number): ListBody {
  const shell = { object: "list", data: [], model: name, usage: { prompt_tokens: tokens, total_tokens: tokens } };
  const [before, behind] = JSON.stringify(shell, null, indented ? 2 : 0).split("[]") as [string, string];
  const [open, separator, close] = indented ? ["[\n        ", ",\n        ", "\n      ]"] : ["[", ",", "]"];
  return {
    length: texts.length,
    opening: `${before}[${indented ? "\n" : ""}`,
    separator: indented ? ",\n" : ",",
    closing: `${indented ? "\n  " : ""}]${behind}`,
    item: (index) => {
      const seed = seedOfText(name, texts[index]!);
      const vector = isBase64 ? base64Of(seed, dimensions) : open + decimalsOf(seed, dimensions, separator) + close;
      return indented
        ? `    {\n      "object": "embedding",\n      "index": ${index},\n      "embedding": ${vector}\n    }`
        : `{"object":"embedding","index":${index},"embedding":${vector}}`;
    },
    bytesOf: () => dimensions * bytesOfNumber,
  };
}

/** Plans the answer. Throws ApiError. */
export function planEmbeddings(model: Model, clockIdentity: string, request: RouteRequest, bytes: Uint8Array): ResponsePlan {
  const { settings } = model;
  const body = deployedBody(request, parseBody(bytes));
  checkForm("/v1/embeddings", body, settings.profile);
  const name = checkModel(body, settings.models);
  const { texts, tokens, prompts } = readInputs(body, settings);
  const dimensions = optionalInteger(body, "dimensions", 1, mostDimensions) ?? (name.includes("large") ? 3072 : 1536);
  if (texts.length * dimensions > mostNumbers) {
    throw new ApiError(
      400,
      `Invalid 'input': ${texts.length} vectors of ${dimensions} dimensions are more than ${mostNumbers} numbers.`,
      "input",
      "invalid_value",
    );
  }
  const { schedule, firstUs, stamped } = model.latency(request, prompts);
  const vectors: Vectors = {
    name,
    texts,
    dimensions,
    isBase64: body["encoding_format"] === "base64",
    indented: settings.profile === "openai",
  };
  const { streamed, ...answer } = listFrames(bodyOf(vectors, tokens), schedule, stamped);
  return {
    head: successHead({
      profile: settings.profile,
      streamed,
      contentType: "application/json",
      tokens,
      processingMs: firstUs / 1000,
      clock: stamped ? clockIdentity : null,
    }),
    ...answer,
    startUs: request.receivedUs,
    outputTokens: 0,
    promptTokens: tokens,
    finishReason: "stop",
  };
}
