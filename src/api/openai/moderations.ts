/** POST /v1/moderations: scores that follow from the text, none of which flags it. */
import { Random, type Seed } from "../../core/random/random.ts";
import { ApiError } from "../errors/api-error.ts";
import { invalidType, isObject, missing, optionalString, parseBody } from "../shared/body.ts";
import { randomLetters } from "../shared/model.ts";

/** In the order of the API (openai-openapi, CreateModerationResponse). */
const categories = [
  "harassment",
  "harassment/threatening",
  "hate",
  "hate/threatening",
  "illicit",
  "illicit/violent",
  "self-harm",
  "self-harm/instructions",
  "self-harm/intent",
  "sexual",
  "sexual/minors",
  "violence",
  "violence/graphic",
] as const;

const mostInputs = 2048;
/** A score of the harmless. */
const highestScore = 1e-4;

/** FNV-1a, 32 bits of two. */
function seedOfText(text: string): Seed {
  let low = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) low = Math.imul(low ^ text.charCodeAt(i), 0x01000193);
  return { high: text.length, low: low >>> 0 };
}

function mapped<T>(value: (category: string, index: number) => T): Record<string, T> {
  return Object.fromEntries(categories.map((category, index) => [category, value(category, index)]));
}

const noCategories = mapped(() => false);

function resultOf(text: string, types: Readonly<Record<string, readonly string[]>>): object {
  const random = new Random(seedOfText(text), 0);
  const scores = categories.map(() => (random.word() / 2 ** 32) * highestScore);
  return {
    flagged: false,
    categories: noCategories,
    category_scores: mapped((_category, index) => scores[index]!),
    category_applied_input_types: types,
  };
}

/** JSON text of the answer. Throws ApiError. */
export function moderate(bytes: Uint8Array): string {
  const body = parseBody(bytes);
  const { input } = body;
  const model = optionalString(body, "model") ?? "omni-moderation-latest";
  if (input === undefined || input === null) throw missing("input");
  if (typeof input !== "string" && !Array.isArray(input)) throw invalidType("input", "one of a string or an array", input);
  if (input.length === 0 && typeof input !== "string") throw new ApiError(400, "Invalid 'input': empty array.", "input", "empty_array");
  if (typeof input !== "string" && input.length > mostInputs) {
    throw new ApiError(400, `Invalid 'input': array too long, more than ${mostInputs}.`, "input", "array_above_max_length");
  }
  const items: readonly unknown[] = typeof input === "string" ? [input] : input;
  // Texts each have a result; the parts of one input together.
  const isOne = items.some((item) => isObject(item));
  const texts = items.map((item, index) => {
    if (typeof item === "string") return item;
    if (!isObject(item)) throw invalidType(`input[${index}]`, "one of a string or an object", item);
    return typeof item["text"] === "string" ? item["text"] : JSON.stringify(item);
  });
  const found = [...new Set(items.map((item) => (isObject(item) && item["type"] === "image_url" ? "image" : "text")))];
  const types = mapped(() => found);
  const results = isOne ? [resultOf(texts.join("\n"), types)] : texts.map((text) => resultOf(text, types));
  const id = `modr-${randomLetters(new Random(seedOfText(texts.join("\n")), 1), 29)}`;
  return JSON.stringify({ id, model, results });
}
