/**
 * Members of Gemini's requests that take one of a few names (ai.google.dev/api/generate-content, /caching, /embeddings, and the types of
 * @google/genai): a misspelt one is refused, also where nothing follows from it here.
 */
import { isObject, type JsonObject } from "../shared/body.ts";
import { listAt, member, snakeOf, wrong } from "./members.ts";

export interface NamedValues {
  /** Within google.ai.generativelanguage.v1beta. */
  readonly type: string;
  readonly names: readonly string[];
}

/** The name that stands there, in upper case; null: none. Throws ApiError for any other value. */
export function enumAt(object: JsonObject, name: string, path: string, { type, names }: NamedValues): string | null {
  const value = member(object, name);
  if (value === undefined) return null;
  if (typeof value !== "string" || !names.includes(value.toUpperCase()))
    throw wrong(`${path}${snakeOf(name)}`, `type.googleapis.com/google.ai.generativelanguage.v1beta.${type}`, value);
  return value.toUpperCase();
}

const resolutions = ["UNSPECIFIED", "LOW", "MEDIUM", "HIGH"].map((name) => `MEDIA_RESOLUTION_${name}`);
export const mediaResolutions: NamedValues = { type: "GenerationConfig.MediaResolution", names: resolutions };
const partResolutions: NamedValues = { type: "MediaResolution.Level", names: [...resolutions, "MEDIA_RESOLUTION_ULTRA_HIGH"] };

export const toolBehaviors: NamedValues = { type: "FunctionDeclaration.Behavior", names: ["UNSPECIFIED", "BLOCKING", "NON_BLOCKING"] };
export const taskTypes: NamedValues = {
  type: "TaskType",
  names: [
    "TASK_TYPE_UNSPECIFIED", "RETRIEVAL_QUERY", "RETRIEVAL_DOCUMENT", "SEMANTIC_SIMILARITY", "CLASSIFICATION", "CLUSTERING",
    "QUESTION_ANSWERING", "FACT_VERIFICATION", "CODE_RETRIEVAL_QUERY",
  ], // oxfmt-ignore
};

const schedulings: NamedValues = {
  type: "FunctionResponse.Scheduling",
  names: ["SCHEDULING_UNSPECIFIED", "SILENT", "WHEN_IDLE", "INTERRUPT"],
};
const languages: NamedValues = { type: "ExecutableCode.Language", names: ["LANGUAGE_UNSPECIFIED", "PYTHON"] };
const outcomes: NamedValues = {
  type: "CodeExecutionResult.Outcome",
  names: ["OUTCOME_UNSPECIFIED", "OUTCOME_OK", "OUTCOME_FAILED", "OUTCOME_DEADLINE_EXCEEDED"],
};

/** Throws ApiError for a value of no name in a part. */
export function checkPart(part: JsonObject, at: string): void {
  const resolution = member(part, "mediaResolution");
  if (isObject(resolution)) enumAt(resolution, "level", `${at}.media_resolution.`, partResolutions);
  else enumAt(part, "mediaResolution", `${at}.`, partResolutions);
  checkWithin(part, "functionResponse", "scheduling", at, schedulings);
  checkWithin(part, "executableCode", "language", at, languages);
  checkWithin(part, "codeExecutionResult", "outcome", at, outcomes);
}

function checkWithin(part: JsonObject, within: string, name: string, at: string, values: NamedValues): void {
  const object = member(part, within);
  if (isObject(object)) enumAt(object, name, `${at}.${snakeOf(within)}.`, values);
}

/** With those of older models, which the reference still has. */
const categories: NamedValues = {
  type: "HarmCategory",
  names: [
    "UNSPECIFIED", "HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT", "CIVIC_INTEGRITY", "JAILBREAK", "IMAGE_HATE",
    "IMAGE_DANGEROUS_CONTENT", "IMAGE_HARASSMENT", "IMAGE_SEXUALLY_EXPLICIT", "DEROGATORY", "TOXICITY", "VIOLENCE", "SEXUAL", "MEDICAL",
    "DANGEROUS",
  ].map((name) => `HARM_CATEGORY_${name}`), // oxfmt-ignore
};
const thresholds: NamedValues = {
  type: "SafetySetting.HarmBlockThreshold",
  names: ["HARM_BLOCK_THRESHOLD_UNSPECIFIED", "BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_ONLY_HIGH", "BLOCK_NONE", "OFF"],
};

/** Throws ApiError for a safety setting of no name. */
export function checkSafety(body: JsonObject): void {
  for (const [index, setting] of listAt(body, "safetySettings", "").entries()) {
    const at = `safety_settings[${index}]`;
    if (!isObject(setting)) throw wrong(at, "type.googleapis.com/google.ai.generativelanguage.v1beta.SafetySetting", setting);
    enumAt(setting, "category", `${at}.`, categories);
    enumAt(setting, "threshold", `${at}.`, thresholds);
  }
}
