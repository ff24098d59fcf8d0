/**
 * Reading requests to Ollama (github.com/ollama/ollama, docs/api.md and api/types.go; complaints as in server/routes.go). A member that
 * is left out or null has its default.
 */
import { charactersOf, mostStopCharacters } from "../../core/text/stop.ts";
import { maxOutputTokens } from "../../core/limits/budget.ts";
import { ApiError } from "../errors/api-error.ts";
import { isObject, type JsonObject, parseBody } from "../shared/body.ts";
import type { Ask, CallPlan, Stops, Tool } from "../shared/ask.ts";
import type { ModelSettings } from "../shared/model-settings.ts";
import { anyJsonObject } from "../shared/any-object.ts";
import { tokensOfTexts } from "../shared/prompt.ts";

export const bad = (message: string): ApiError => new ApiError(400, message);

/** A name without the tag that stands for none. */
function untagged(name: string): string {
  return name.endsWith(":latest") ? name.slice(0, -":latest".length) : name;
}

/** The model that a request names, here or under its older name `name`. Throws ApiError. */
export function readModel(body: JsonObject, models: readonly string[] | null): string {
  const model = body["model"] ?? body["name"];
  if (model === undefined || model === null || model === "") throw bad("model is required");
  if (typeof model !== "string") throw bad("invalid request: model must be a string");
  if (model.length > 256) throw bad("invalid model name");
  if (models !== null && !models.some((known) => untagged(known) === untagged(model)))
    throw new ApiError({ kind: "model-not-found", model });
  return model;
}

export function optionalFlag(body: JsonObject, name: string): boolean | null {
  const value = body[name];
  if (value === undefined || value === null) return null;
  if (typeof value !== "boolean") throw bad(`invalid request: ${name} must be true or false`);
  return value;
}

function optionalText(body: JsonObject, name: string, at: string = name): string {
  const value = body[name];
  if (value === undefined || value === null) return "";
  if (typeof value !== "string") throw bad(`invalid request: ${at} must be a string`);
  return value;
}

const roles = new Set(["system", "user", "assistant", "tool"]);

interface Message {
  readonly role: string;
  readonly text: string;
  readonly images: number;
}

function readMessages(body: JsonObject): readonly Message[] {
  const messages = body["messages"];
  if (messages === undefined || messages === null) return [];
  if (!Array.isArray(messages)) throw bad("invalid request: messages must be a list");
  return messages.map((message: unknown, index): Message => {
    const at = `messages[${index}]`;
    if (!isObject(message)) throw bad(`invalid request: ${at} must be an object`);
    const { role, content, images } = message;
    if (typeof role !== "string" || !roles.has(role)) throw bad(`invalid request: ${at}.role must be one of system, user, assistant, tool`);
    if (content !== undefined && content !== null && typeof content !== "string")
      throw bad(`invalid request: ${at}.content must be a string`);
    checkToolCalls(message["tool_calls"], `${at}.tool_calls`);
    for (const name of ["thinking", "tool_name", "tool_call_id"]) optionalText(message, name, `${at}.${name}`);
    return { role, text: content ?? "", images: countImages(images, `${at}.images`) };
  });
}

/** Calls that an assistant has made: each of a function by its name, its arguments as an object (api/types.go, ToolCallFunction). */
function checkToolCalls(calls: unknown, at: string): void {
  if (calls === undefined || calls === null) return;
  if (!Array.isArray(calls)) throw bad(`invalid request: ${at} must be a list`);
  for (const [index, call] of (calls as readonly unknown[]).entries()) {
    const called = isObject(call) ? call["function"] : undefined;
    if (!isObject(called)) throw bad(`invalid request: ${at}[${index}].function must be an object`);
    if (typeof called["name"] !== "string") throw bad(`invalid request: ${at}[${index}].function.name must be a string`);
    const given = called["arguments"];
    if (given !== undefined && given !== null && !isObject(given))
      throw bad(`invalid request: ${at}[${index}].function.arguments must be an object`);
  }
}

function countImages(images: unknown, at: string): number {
  if (images === undefined || images === null) return 0;
  if (!Array.isArray(images) || !images.every((image) => typeof image === "string"))
    throw bad(`invalid request: ${at} must be a list of images in base64`);
  return images.length;
}

function readTools(body: JsonObject, goesOn: boolean): CallPlan | null {
  const tools = body["tools"];
  if (tools === undefined || tools === null) return null;
  if (!Array.isArray(tools)) throw bad("invalid request: tools must be a list");
  const read = tools.map((tool: unknown, index): Tool => {
    const at = `tools[${index}].function`;
    const described = isObject(tool) ? tool["function"] : undefined;
    if (!isObject(described) || typeof described["name"] !== "string" || described["name"] === "" || described["name"].length > 256)
      throw bad(`invalid request: ${at}.name must be a string`);
    return { name: described["name"], parameters: described["parameters"], param: `${at}.parameters` };
  });
  return read.length === 0 || goesOn ? null : { tools: read, choice: "auto", parallel: true };
}

/** "json", or a schema (docs/api.md, "Structured outputs"). */
function readFormat(body: JsonObject): Ask["json"] {
  const format = body["format"];
  if (format === undefined || format === null || format === "") return null;
  if (format === "json") return { schema: anyJsonObject, param: "format" };
  if (!isObject(format)) throw bad('invalid request: format must be "json" or a JSON schema');
  return { schema: format, param: "format" };
}

function readStops(options: JsonObject): Stops {
  const given = options["stop"] ?? [];
  const stops = typeof given === "string" ? [given] : given;
  if (!Array.isArray(stops) || !stops.every((stop): stop is string => typeof stop === "string"))
    throw bad('option "stop" must be of an array of strings');
  const sequences = stops.filter((stop) => stop !== "");
  const characters = charactersOf(sequences);
  if (characters > mostStopCharacters) throw bad(`option "stop" has ${characters} characters, more than ${mostStopCharacters} together`);
  return { sequences, param: "stop" };
}

function optionalInteger(options: JsonObject, name: string): number | null {
  const value = options[name];
  if (value === undefined || value === null) return null;
  if (typeof value !== "number" || !Number.isFinite(value)) throw bad(`option "${name}" must be of type integer`);
  return Math.trunc(value);
}

/** Options of a model (api/types.go, Options and Runner) that change nothing here. */
const optionKinds: Readonly<Record<string, "integer" | "float32" | "boolean">> = {
  num_keep: "integer",
  num_ctx: "integer",
  num_batch: "integer",
  num_gpu: "integer",
  num_thread: "integer",
  main_gpu: "integer",
  top_k: "integer",
  repeat_last_n: "integer",
  temperature: "float32",
  top_p: "float32",
  min_p: "float32",
  typical_p: "float32",
  repeat_penalty: "float32",
  presence_penalty: "float32",
  frequency_penalty: "float32",
  use_mmap: "boolean",
};

function checkOptions(options: JsonObject): void {
  for (const name in optionKinds) {
    const value = options[name];
    const kind = optionKinds[name]!;
    if (value !== undefined && value !== null && typeof value !== (kind === "boolean" ? "boolean" : "number"))
      throw bad(`option "${name}" must be of type ${kind}`);
  }
}

/** Of Go, time.ParseDuration. */
const duration = /^-?(?:\d+|(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|\u00b5s|ms|s|m|h))+$/;

/** Members of /api/generate that change nothing here. */
function checkGenerate(body: JsonObject): void {
  optionalFlag(body, "raw");
  optionalText(body, "template");
  const { context } = body;
  if (context !== undefined && context !== null && !(Array.isArray(context) && context.every((id) => Number.isInteger(id))))
    throw bad("invalid request: context must be a list of integers");
}

/** Tokens of thinking. */
const thinkingTokens: Readonly<Record<string, number>> = { low: 32, medium: 64, high: 128 };

function readThinking(body: JsonObject): number {
  const think = body["think"];
  if (think === undefined || think === null || think === false) return 0;
  if (think === true) return thinkingTokens["medium"]!;
  if (typeof think !== "string" || !Object.hasOwn(thinkingTokens, think))
    throw bad('invalid think value: must be true, false, "high", "medium" or "low"');
  return thinkingTokens[think]!;
}

/** What is asked for. null: nothing is to be said; the model is loaded, or with a `keep_alive` of 0 unloaded. */
export interface OllamaAsk {
  readonly ask: Ask;
  readonly isLoad: boolean;
  readonly isUnload: boolean;
}

/** Reads and checks a request. Throws ApiError. */
export function readOllama(kind: "chat" | "generate", bytes: Uint8Array, settings: ModelSettings): OllamaAsk {
  const body = parseBody(bytes);
  const model = readModel(body, settings.models);
  const options = body["options"] ?? {};
  if (!isObject(options)) throw bad("invalid request: options must be an object");
  const messages = kind === "chat" ? readMessages(body) : generated(body);
  const images = messages.reduce((sum, message) => sum + message.images, 0);
  const texts = messages.flatMap(({ text }) => (text === "" ? [] : [text]));
  // No rule for images is published: they count as --image-tokens says, or not at all.
  const promptTokens = tokensOfTexts(texts, settings.tokenizer) + images * (settings.imageTokens ?? 0);
  const { maxModelLen } = settings;
  if (maxModelLen !== null && promptTokens >= maxModelLen)
    throw new ApiError({ kind: "prompt-too-long", tokens: promptTokens, limit: maxModelLen });
  const asked = optionalInteger(options, "num_predict");
  const limit = asked === null || asked <= 0 ? Infinity : Math.min(asked, maxOutputTokens);
  const seed = optionalInteger(options, "seed");
  checkOptions(options);
  const keepAlive = body["keep_alive"] ?? undefined;
  if (keepAlive !== undefined && typeof keepAlive !== "number" && !(typeof keepAlive === "string" && duration.test(keepAlive)))
    throw bad('invalid request: keep_alive must be a number of seconds or a duration, as "5m"');
  if (kind === "generate") checkGenerate(body);
  const isLoad = kind === "chat" ? messages.length === 0 : texts.length === 0 && images === 0;
  const ask: Ask = {
    model,
    promptTokens,
    promptOf: () => ({ tokens: promptTokens, parts: () => texts, index: 0 }),
    promptText: () => messages.findLast(({ role }) => role === "user")?.text ?? "",
    stream: optionalFlag(body, "stream") ?? true,
    choices: 1,
    limit: maxModelLen === null ? limit : Math.min(limit, maxModelLen - promptTokens),
    minTokens: 0,
    ignoreEos: false,
    stop: readStops(options),
    seed: seed ?? undefined,
    reasoningTokens: readThinking(body),
    calls: kind === "chat" ? readTools(body, goesOn(messages.findLast(({ role }) => role !== "system")?.role)) : null,
    json: readFormat(body),
  };
  return { ask, isLoad, isUnload: isLoad && (keepAlive === 0 || keepAlive === "0" || keepAlive === "0s") };
}

/** Whether an answer goes on from what stands there, a tool's result or the beginning of an answer, and calls nothing again. */
function goesOn(role: string | undefined): boolean {
  return role === "tool" || role === "assistant";
}

/** What /api/generate is given, as messages. */
function generated(body: JsonObject): readonly Message[] {
  const images = countImages(body["images"], "images");
  const system = optionalText(body, "system");
  const prompt = optionalText(body, "prompt") + optionalText(body, "suffix");
  return [...(system === "" || prompt === "" ? [] : [{ role: "system", text: system, images: 0 }]), { role: "user", text: prompt, images }];
}
