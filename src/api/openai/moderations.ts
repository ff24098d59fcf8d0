/** POST /v1/moderations: scores that follow from the text, none of which flags it. */
import { Random, type Seed } from "../../core/random/random.ts";
import { ApiError } from "../errors/api-error.ts";
import { emptyArray, invalidType, isObject, missing, optionalString, parseBody } from "../shared/body.ts";
import { randomLetters } from "../shared/ids.ts";
import { checkForm } from "./form.ts";

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

/** Each has a result of a kilobyte. */
const mostInputs = 1024;

/** UTF-16 units of a text, at either end, that its scores follow from: more take a millisecond each 400,000. */
const mostHashed = 65_536;

/** FNV-1a, 32 bits of two. */
function seedOfText(text: string): Seed {
  let low = 0x811c9dc5;
  const ends = text.length > 2 * mostHashed ? text.slice(0, mostHashed) + text.slice(-mostHashed) : text;
  for (let i = 0; i < ends.length; i++) low = Math.imul(low ^ ends.charCodeAt(i), 0x01000193);
  return { high: text.length, low: low >>> 0 };
}

/** JSON of an object with a member for each category. */
function mapped(json: (index: number) => string): string {
  return `{${categories.map((category, index) => `"${category}":${json(index)}`).join(",")}}`;
}

const noCategories = mapped(() => "false");

/** JSON of a score of the harmless, below 0.0001: as a text it takes a tenth of what it takes to print a number. */
function scoreOf(random: Random): string {
  return `0.0000${String(random.below(1e9)).padStart(9, "0")}`;
}

/** JSON of a result. */
function resultOf(text: string, types: string): string {
  const random = new Random(seedOfText(text), 0);
  return `{"flagged":false,"categories":${noCategories},"category_scores":${mapped(() => scoreOf(random))},"category_applied_input_types":${types}}`;
}

/** JSON text of the answer. Throws ApiError. */
export function moderate(bytes: Uint8Array): string {
  const body = parseBody(bytes);
  checkForm("/v1/moderations", body, "openai");
  const { input } = body;
  const model = optionalString(body, "model") ?? "omni-moderation-latest";
  if (input === undefined || input === null) throw missing("input");
  if (typeof input !== "string" && !Array.isArray(input)) throw invalidType("input", "one of a string or an array", input);
  if (input.length === 0 && typeof input !== "string") throw emptyArray("input");
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
  const list = JSON.stringify(found);
  const types = mapped(() => list);
  const results = isOne ? [resultOf(texts.join("\n"), types)] : texts.map((text) => resultOf(text, types));
  const id = `modr-${randomLetters(new Random(seedOfText(texts.join("\n")), 1), 29)}`;
  return `{"id":"${id}","model":${JSON.stringify(model)},"results":[${results.join(",")}]}`;
}
