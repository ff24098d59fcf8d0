/**
 * Reading requests to Gemini's generateContent (ai.google.dev/api/generate-content). Complaints are worded as Google's.
 */
import { charactersOf, mostStopCharacters } from "../../core/text/stop.ts";
import { maxOutputTokens } from "../../core/limits/budget.ts";
import { ApiError } from "../errors/api-error.ts";
import { isObject, type JsonObject, parseBody } from "../shared/body.ts";
import type { Ask, CallPlan, Stops, Tool } from "../shared/ask.ts";
import type { ModelSettings } from "../shared/model-settings.ts";
import { anyJsonObject } from "../shared/any-object.ts";
import { tokensOfTexts } from "../shared/prompt.ts";
import type { MediaRules } from "../shared/files.ts";
import { checkPart, checkSafety, enumAt, mediaResolutions, toolBehaviors } from "./enums.ts";
import { checkConfig, checkPartKinds } from "./form.ts";
import { mediaTokens, type Modality, type Reader } from "./media.ts";
import { bad, checkKinds, integerAt, kindsOf, listAt, member, objectAt, wrong } from "./members.ts";
import { jsonSchemaOf } from "./schema.ts";

/** One message of a conversation. */
interface Content {
  readonly role: string;
  readonly texts: readonly string[];
  readonly isResult: boolean;
}

interface Conversation {
  readonly contents: readonly Content[];
  readonly media: ReadonlyMap<Modality, number>;
}

/** Text, arguments and results of a part, as far as it has any. */
function textsOfPart(part: JsonObject): readonly string[] {
  if (typeof part["text"] === "string") return [part["text"]];
  const call = member(part, "functionCall") ?? member(part, "functionResponse");
  if (!isObject(call)) return [];
  // Its parts are media.
  const { parts: _, ...told } = call;
  return [JSON.stringify(told)];
}

/** A part, and what a function has answered beside its text. */
function partsWithin(part: JsonObject): readonly JsonObject[] {
  const response = member(part, "functionResponse");
  const parts = isObject(response) ? response["parts"] : undefined;
  return Array.isArray(parts) ? [part, ...parts.filter(isObject)] : [part];
}

function readContents(given: readonly unknown[], path: string, reader: Reader, rules: MediaRules): Conversation {
  const media = new Map<Modality, number>();
  const contents = given.map((content, index): Content => {
    const at = `${path}[${index}]`;
    if (!isObject(content)) throw wrong(at, "type.googleapis.com/google.ai.generativelanguage.v1beta.Content", content);
    const role = content["role"] ?? "user";
    if (role !== "user" && role !== "model" && role !== "function" && role !== "system") throw bad("Please use a valid role: user, model.");
    const parts = listAt(content, "parts", `${at}.`);
    const texts: string[] = [];
    let isResult = false;
    for (const [position, part] of parts.entries()) {
      if (!isObject(part)) throw wrong(`${at}.parts[${position}]`, "type.googleapis.com/google.ai.generativelanguage.v1beta.Part", part);
      checkPart(part, `${at}.parts[${position}]`);
      checkPartKinds(part, `${at}.parts[${position}]`);
      texts.push(...textsOfPart(part));
      isResult ||= member(part, "functionResponse") !== undefined;
      for (const one of partsWithin(part)) {
        const counted = mediaTokens(one, reader, rules);
        if (counted !== null) media.set(counted.modality, (media.get(counted.modality) ?? 0) + counted.tokens);
      }
    }
    return { role, texts, isResult };
  });
  return { contents, media };
}

function readTools(body: JsonObject): readonly Tool[] {
  return listAt(body, "tools", "").flatMap((tool, index): Tool[] => {
    if (!isObject(tool)) throw wrong(`tools[${index}]`, "type.googleapis.com/google.ai.generativelanguage.v1beta.Tool", tool);
    return listAt(tool, "functionDeclarations", `tools[${index}].`).map((declared, position): Tool => {
      const at = `tools[${index}].function_declarations[${position}]`;
      if (!isObject(declared)) throw wrong(at, "type.googleapis.com/google.ai.generativelanguage.v1beta.FunctionDeclaration", declared);
      const { name } = declared;
      if (typeof name !== "string" || !/^[A-Za-z_][\w.:-]{0,127}$/.test(name))
        throw bad(
          `* GenerateContentRequest.${at}.name: Invalid function name. Must start with a letter or an underscore. Must be alphameric (a-z, A-Z, 0-9), underscores (_), dots (.), colons (:), or dashes (-), with a maximum length of 128.`,
        );
      enumAt(declared, "behavior", `${at}.`, toolBehaviors);
      const json = member(declared, "parametersJsonSchema");
      const parameters = json === undefined ? jsonSchemaOf(member(declared, "parameters")) : json;
      return { name, parameters, param: `${at}.parameters` };
    });
  });
}

const modes = { type: "FunctionCallingConfig.Mode", names: ["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"] };

function readCalls(body: JsonObject, endsWithResult: boolean): CallPlan | null {
  const tools = readTools(body);
  const config = objectAt(objectAt(body, "toolConfig", ""), "functionCallingConfig", "tool_config.");
  const path = "tool_config.function_calling_config.";
  const mode = enumAt(config, "mode", path, modes) ?? "AUTO";
  const allowed = listAt(config, "allowedFunctionNames", path);
  const declared = new Set<unknown>(tools.map(({ name }) => name));
  const unknown = allowed.find((name) => !declared.has(name));
  if (unknown !== undefined) throw wrong(`${path}allowed_function_names`, "one of the declared functions", unknown);
  const chosen = new Set(allowed);
  const callable = allowed.length === 0 ? tools : tools.filter(({ name }) => chosen.has(name));
  if (callable.length === 0 || mode === "NONE") return null;
  if (mode === "ANY") return { tools: callable, choice: "required", parallel: true };
  return endsWithResult ? null : { tools: callable, choice: "auto", parallel: true };
}

function readStops(config: JsonObject): Stops {
  const stops = listAt(config, "stopSequences", "generation_config.");
  if (!stops.every((stop): stop is string => typeof stop === "string"))
    throw wrong("generation_config.stop_sequences", "TYPE_STRING", stops);
  if (stops.length > 5) throw bad(`The number of stop sequences must be at most 5, got ${stops.length}.`);
  if (stops.includes("")) throw bad("Stop sequences must not be empty.");
  const characters = charactersOf(stops);
  if (characters > mostStopCharacters)
    throw bad(`The stop sequences have ${characters} characters, more than ${mostStopCharacters} together.`);
  return { sequences: stops, param: "generation_config.stop_sequences" };
}

function readFormat(config: JsonObject): Ask["json"] {
  const type = member(config, "responseMimeType") ?? "text/plain";
  const given = member(config, "responseJsonSchema");
  const schema = given ?? jsonSchemaOf(member(config, "responseSchema"));
  const param = given === undefined ? "generation_config.response_schema" : "generation_config.response_json_schema";
  switch (type) {
    case "text/plain":
      if (schema !== undefined) throw bad("Function calling or a response schema with a response mime type: 'text/plain' is unsupported");
      return null;
    case "application/json":
      return { schema: schema ?? anyJsonObject, param };
    case "text/x.enum":
      if (schema === undefined) throw bad("A response schema is needed with the response mime type text/x.enum");
      return null;
    case "application/xml":
    case "application/yaml":
      throw bad(`The response mime type '${type as string}' is not supported here; 'application/json' is.`);
    default:
      throw bad(
        `* GenerateContentRequest.generation_config.response_mime_type: allowed mimetypes are \`text/plain\`, \`application/json\` and \`text/x.enum\`.`,
      );
  }
}

/** Tokens of thoughts, whatever the budget. */
const mostThoughts = 256;
const someThoughts = 64;
const levels: Readonly<Record<string, number>> = { MINIMAL: 16, LOW: 32, MEDIUM: 64, HIGH: 128, XHIGH: 256 };
const thinkingLevels = { type: "ThinkingConfig.ThinkingLevel", names: ["THINKING_LEVEL_UNSPECIFIED", ...Object.keys(levels)] };

const kindsOfThinking = kindsOf({ includeThoughts: "boolean" });

function readThinking(config: JsonObject): { readonly tokens: number; readonly isShown: boolean } {
  const given = member(config, "thinkingConfig");
  if (given === undefined) return { tokens: 0, isShown: false };
  const path = "generation_config.thinking_config.";
  const thinking = objectAt(config, "thinkingConfig", "generation_config.");
  const budget = integerAt(thinking, "thinkingBudget", path);
  const level = enumAt(thinking, "thinkingLevel", path, thinkingLevels);
  if (budget !== null && budget < -1) throw bad(`The thinking budget ${budget} is invalid. Please choose a value of -1 or more.`);
  checkKinds(thinking, kindsOfThinking, path);
  const isShown = member(thinking, "includeThoughts") === true;
  // -1: the model decides.
  const tokens =
    budget !== null && budget >= 0 ? Math.min(budget, mostThoughts) : level === null ? someThoughts : (levels[level] ?? someThoughts);
  return { tokens, isShown };
}

export interface GeminiAsk {
  readonly ask: Ask;
  readonly showsThoughts: boolean;
  /** Tokens of the prompt by what they are of, text first. */
  readonly details: readonly (readonly [Modality, number])[];
}

function countPrompt(
  body: JsonObject,
  model: string,
  settings: ModelSettings,
): {
  readonly tokens: number;
  readonly details: GeminiAsk["details"];
  readonly conversation: Conversation;
  readonly system: readonly string[];
} {
  const given = listAt(body, "contents", "");
  if (given.length === 0) throw bad("* GenerateContentRequest.contents: contents is not specified");
  const config = objectAt(body, "generationConfig", "");
  const reader = { model, resolution: enumAt(config, "mediaResolution", "generation_config.", mediaResolutions) };
  checkSafety(body);
  const conversation = readContents(given, "contents", reader, settings);
  const instruction = readContents(listAt(body, "systemInstruction", ""), "system_instruction", reader, settings);
  const system = instruction.contents.flatMap(({ texts }) => texts);
  const tools = member(body, "tools");
  const texts = [
    ...system,
    ...conversation.contents.flatMap((content) => content.texts),
    ...(tools === undefined ? [] : [JSON.stringify(tools)]),
  ];
  const text = tokensOfTexts(texts, settings.tokenizer);
  const media = [...conversation.media];
  return { tokens: media.reduce((sum, [, tokens]) => sum + tokens, text), details: [["TEXT", text], ...media], conversation, system };
}

/** What countTokens tells. Throws ApiError. */
export function countGemini(
  bytes: Uint8Array,
  model: string,
  settings: ModelSettings,
): Pick<GeminiAsk, "details"> & { readonly tokens: number } {
  const body = parseBody(bytes);
  const inner = member(body, "generateContentRequest");
  return countPrompt(isObject(inner) ? inner : body, model, settings);
}

/** Reads and checks a request for this model. Throws ApiError. */
export function readGemini(bytes: Uint8Array, model: string, stream: boolean, settings: ModelSettings): GeminiAsk {
  const body = parseBody(bytes);
  const { tokens, details, conversation, system } = countPrompt(body, model, settings);
  const { maxModelLen } = settings;
  if (maxModelLen !== null && tokens >= maxModelLen) throw new ApiError({ kind: "prompt-too-long", tokens, limit: maxModelLen });
  const config = objectAt(body, "generationConfig", "");
  const asked = integerAt(config, "maxOutputTokens", "generation_config.");
  if (asked !== null && asked < 1) throw bad("max_output_tokens must be positive");
  checkConfig(config);
  const choices = integerAt(config, "candidateCount", "generation_config.") ?? 1;
  if (choices < 1 || choices > 8) throw bad(`The specified candidate count ${choices} is not within the range [1, 8].`);
  const modalities = listAt(config, "responseModalities", "generation_config.");
  if (modalities.some((modality) => typeof modality !== "string" || modality.toUpperCase() !== "TEXT"))
    throw bad("This model only supports text output.");
  const thinking = readThinking(config);
  const limit = Math.min(asked ?? Infinity, maxModelLen === null ? Infinity : maxModelLen - tokens);
  const { contents } = conversation;
  const texts = contents.flatMap((content) => content.texts);
  const last = contents.findLast(({ role }) => role !== "system");
  const ask: Ask = {
    model,
    promptTokens: tokens,
    promptOf: () => ({ tokens, parts: () => [...system, ...texts], index: 0 }),
    promptText: () => contents.findLast(({ role }) => role === "user")?.texts.join("") ?? "",
    stream,
    choices,
    limit: limit === Infinity ? limit : Math.min(limit, maxOutputTokens),
    minTokens: 0,
    ignoreEos: false,
    stop: readStops(config),
    seed: integerAt(config, "seed", "generation_config.") ?? undefined,
    reasoningTokens: thinking.tokens,
    // A result of a function, or the beginning of an answer, is gone on from: nothing is called again.
    calls: readCalls(body, last !== undefined && (last.isResult || last.role === "model")),
    json: readFormat(config),
  };
  return { ask, showsThoughts: thinking.isShown, details };
}
