/** JSON types and ranges of what Gemini's requests hold beside what is read of them (ai.google.dev/api/generate-content). */
import { isObject, type JsonObject } from "../shared/body.ts";
import { bad, checkKinds, integerAt, type Kinds, kindsOf, numberAt, snakeOf } from "./members.ts";

/** Decimals of `generationConfig`, each with its range. */
const decimals = { temperature: [0, 2], topP: [0, 1], presencePenalty: [-2, 2], frequencyPenalty: [-2, 2] } as const;

function outside(name: string, range: string): Error {
  return bad(`* GenerateContentRequest.generation_config.${name}: ${name} must be ${range}`);
}

/** Checks the members of `generationConfig` that change nothing here. Throws ApiError. */
export function checkConfig(config: JsonObject): void {
  const path = "generation_config.";
  for (const [name, [least, most]] of Object.entries(decimals)) {
    const value = numberAt(config, name, path);
    if (value !== null && (value < least || value > most)) throw outside(snakeOf(name), `in the range [${least}.0, ${most}.0]`);
  }
  const topK = integerAt(config, "topK", path);
  if (topK !== null && topK < 1) throw outside("top_k", "positive");
  const logprobs = integerAt(config, "logprobs", path);
  if (logprobs !== null && (logprobs < 0 || logprobs > 20)) throw outside("logprobs", "in the range [0, 20]");
  checkKinds(config, kindsOfConfig, path);
}

const kindsOfConfig = kindsOf({ responseMimeType: "string", responseLogprobs: "boolean", speechConfig: "object", imageConfig: "object" });

const kindsOfPart = kindsOf({
  text: "string",
  thought: "boolean",
  thoughtSignature: "string",
  inlineData: "object",
  fileData: "object",
  functionCall: "object",
  functionResponse: "object",
  executableCode: "object",
  codeExecutionResult: "object",
  videoMetadata: "object",
});

/** Of the objects in a part, by both of their names. */
const kindsWithin: ReadonlyMap<string, Kinds> = new Map(
  Object.entries({
    inlineData: kindsOf({ mimeType: "string", data: "string" }),
    fileData: kindsOf({ mimeType: "string", fileUri: "string" }),
    functionCall: kindsOf({ id: "string", name: "string", args: "object" }),
    functionResponse: kindsOf({ id: "string", name: "string", response: "object" }),
  }).flatMap(([name, kinds]) => [[name, kinds] as const, [snakeOf(name), kinds] as const]),
);

/** Checks the JSON types of a part of a message. `at`: its place. Throws ApiError. */
export function checkPartKinds(part: JsonObject, at: string): void {
  checkKinds(part, kindsOfPart, `${at}.`);
  for (const name in part) {
    const kinds = kindsWithin.get(name);
    const value = part[name];
    if (kinds !== undefined && isObject(value)) checkKinds(value, kinds, `${at}.${snakeOf(name)}.`);
  }
}
