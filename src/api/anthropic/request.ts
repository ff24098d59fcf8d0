/** Reading a request to Anthropic's /v1/messages: every complaint is worded as theirs (docs.anthropic.com/en/api/messages). */
import { charactersOf, mostStopCharacters } from "../../core/text/stop.ts";
import { maxOutputTokens } from "../../core/limits/budget.ts";
import type { Ask, CallPlan, ModelSettings, Stops, Tool } from "../shared/model.ts";
import { isObject, type JsonObject, parseBody, quote, textOfContent, textsOfContent } from "../shared/body.ts";
import { ApiError } from "../errors/api-error.ts";
import { tokensOfTexts } from "../shared/prompt.ts";

const bad = (message: string): ApiError => new ApiError(400, message);

function required(body: JsonObject, name: string, at = name): unknown {
  const value = body[name];
  if (value === undefined) throw bad(`${at}: Field required`);
  return value;
}

function optionalFlag(body: JsonObject, name: string): boolean {
  const value = body[name];
  if (value === undefined || value === null) return false;
  if (typeof value !== "boolean") throw bad(`${name}: Input should be a valid boolean`);
  return value;
}

function whole(value: unknown, at: string, least: number): number {
  if (typeof value !== "number" || !Number.isInteger(value)) throw bad(`${at}: Input should be a valid integer`);
  if (value < least) throw bad(`${at}: Input should be greater than or equal to ${least}`);
  return Math.min(value, maxOutputTokens);
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

/** Texts of a content block, tool inputs and results included. */
function textsOfBlock(block: JsonObject): readonly string[] {
  if (isText(block["text"])) return [block["text"]];
  if (block["input"] !== undefined) return [JSON.stringify(block["input"])];
  return textsOfContent(block["content"]);
}

interface Messages {
  readonly texts: readonly string[];
  readonly lastUserText: () => string;
  readonly endsWithResult: boolean;
}

function readMessages(body: JsonObject): Messages {
  const messages = required(body, "messages");
  if (!Array.isArray(messages)) throw bad("messages: Input should be a valid list");
  if (messages.length === 0) throw bad("messages: at least one message is required");
  const texts: string[] = [];
  const list = messages.map((message: unknown, index) => {
    const at = `messages.${index}`;
    if (!isObject(message)) throw bad(`${at}: Input should be an object`);
    const role = required(message, "role", `${at}.role`);
    if (role !== "user" && role !== "assistant") throw bad(`${at}.role: Input should be 'user' or 'assistant'`);
    const content = required(message, "content", `${at}.content`);
    if (isText(content)) texts.push(content);
    else if (Array.isArray(content)) {
      content.forEach((block: unknown, position) => {
        if (!isObject(block)) throw bad(`${at}.content.${position}: Input should be an object`);
        if (!isText(block["type"])) throw bad(`${at}.content.${position}.type: Field required`);
        for (const text of textsOfBlock(block)) texts.push(text);
      });
    } else throw bad(`${at}.content: Input should be a valid string or list`);
    return message;
  });
  const last = list.at(-1)!["content"];
  return {
    texts,
    lastUserText: () => textOfContent(list.findLast(({ role }) => role === "user")?.["content"]),
    endsWithResult: Array.isArray(last) && last.some((block: unknown) => isObject(block) && block["type"] === "tool_result"),
  };
}

function readTools(body: JsonObject): Tool[] {
  const tools = body["tools"] ?? [];
  if (!Array.isArray(tools)) throw bad("tools: Input should be a valid list");
  return tools.flatMap((tool: unknown, index) => {
    const at = `tools.${index}`;
    if (!isObject(tool)) throw bad(`${at}: Input should be an object`);
    const name = required(tool, "name", `${at}.name`);
    if (!isText(name) || !/^[a-zA-Z0-9_-]{1,128}$/.test(name))
      throw bad(`${at}.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'`);
    // Tools that Anthropic's servers run themselves are never called.
    if (tool["type"] !== undefined && tool["type"] !== null && tool["type"] !== "custom") return [];
    const parameters = required(tool, "input_schema", `${at}.input_schema`);
    if (!isObject(parameters)) throw bad(`${at}.input_schema: Input should be an object`);
    return [{ name, parameters, param: `${at}.input_schema` }];
  });
}

function readCalls(body: JsonObject, endsWithResult: boolean): CallPlan | null {
  const tools = readTools(body);
  const choice = body["tool_choice"] ?? { type: "auto" };
  if (!isObject(choice)) throw bad("tool_choice: Input should be an object");
  const parallel = choice["disable_parallel_tool_use"] !== true;
  switch (choice["type"]) {
    case "none":
      return null;
    case "auto":
      return tools.length === 0 || endsWithResult ? null : { tools, choice: "auto", parallel };
    case "any":
      if (tools.length === 0) throw bad("tool_choice: tool_choice may only be specified while providing tools.");
      return { tools, choice: "required", parallel };
    case "tool": {
      const tool = tools.find(({ name }) => name === choice["name"]);
      if (!tool) throw bad(`tool_choice: Tool ${quote(choice["name"])} not found in provided tools`);
      return { tools: [tool], choice: "named", parallel: false };
    }
    default:
      throw bad("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'");
  }
}

/** Tokens of thinking that are shown: a part of the budget. */
const mostThinking = 256;

function readThinking(body: JsonObject): number {
  const thinking = body["thinking"];
  if (thinking === undefined || thinking === null) return 0;
  if (!isObject(thinking)) throw bad("thinking: Input should be an object");
  if (thinking["type"] === "disabled") return 0;
  if (thinking["type"] === "adaptive") return mostThinking / 4;
  if (thinking["type"] !== "enabled") throw bad("thinking.type: Input should be 'enabled', 'disabled' or 'adaptive'");
  return Math.min(
    whole(required(thinking, "budget_tokens", "thinking.enabled.budget_tokens"), "thinking.enabled.budget_tokens", 1024),
    mostThinking,
  );
}

function readStops(body: JsonObject): Stops {
  const stops = body["stop_sequences"] ?? [];
  if (!Array.isArray(stops) || !stops.every(isText)) throw bad("stop_sequences: Input should be a valid list of strings");
  if (stops.some((stop) => stop.trim() === "")) throw bad("stop_sequences: each stop sequence must contain non-whitespace");
  const characters = charactersOf(stops);
  if (characters > mostStopCharacters) throw bad(`stop_sequences: ${characters} characters are more than ${mostStopCharacters} together`);
  return { sequences: stops, param: "stop_sequences" };
}

function readFormat(body: JsonObject): Ask["json"] {
  const config = body["output_config"];
  const format = isObject(config) ? config["format"] : undefined;
  if (!isObject(format)) return null;
  if (format["type"] !== "json_schema") throw bad("output_config.format.type: Input should be 'json_schema'");
  return { schema: required(format, "schema", "output_config.format.schema"), param: "output_config.format.schema" };
}

/** Refuses what does not fit into the model's context. */
function checkFits(maxModelLen: number | null, promptTokens: number, limit: number): void {
  if (maxModelLen === null) return;
  if (promptTokens > maxModelLen) throw bad(`prompt is too long: ${promptTokens} tokens > ${maxModelLen} maximum`);
  if (promptTokens + limit <= maxModelLen) return;
  const sum = `${promptTokens} + ${limit} > ${maxModelLen}`;
  throw bad(`input length and \`max_tokens\` exceed context limit: ${sum}, decrease input length or \`max_tokens\` and try again`);
}

function readModel(body: JsonObject, models: readonly string[] | null): string {
  const model = required(body, "model");
  if (!isText(model)) throw bad("model: Input should be a valid string");
  if (model === "" || model.length > 256) throw bad("model: String should have 1 to 256 characters");
  if (models !== null && !models.includes(model)) throw new ApiError({ kind: "model-not-found", model });
  return model;
}

function countPrompt(body: JsonObject, { texts }: Messages, tokenizer: ModelSettings["tokenizer"]): number {
  return tokensOfTexts([...texts, ...textsOfContent(body["system"])], tokenizer);
}

/** What `usage.input_tokens` of a message would say. Throws ApiError. */
export function countInputTokens(bytes: Uint8Array, { models, tokenizer }: ModelSettings): number {
  const body = parseBody(bytes);
  readModel(body, models);
  const messages = readMessages(body);
  readCalls(body, messages.endsWithResult);
  return countPrompt(body, messages, tokenizer);
}

/** Reads and checks a whole request. Throws ApiError. */
export function readMessage(bytes: Uint8Array, { models, tokenizer, maxModelLen }: ModelSettings): Ask {
  const body = parseBody(bytes);
  const model = readModel(body, models);
  const limit = whole(required(body, "max_tokens"), "max_tokens", 1);
  const messages = readMessages(body);
  const { temperature } = body;
  if (temperature !== undefined && (typeof temperature !== "number" || temperature < 0 || temperature > 1))
    throw bad("temperature: range: 0..1");
  const promptTokens = countPrompt(body, messages, tokenizer);
  checkFits(maxModelLen, promptTokens, limit);
  return {
    model,
    promptTokens,
    promptOf: () => ({ tokens: promptTokens, parts: () => [...textsOfContent(body["system"]), ...messages.texts], index: 0 }),
    promptText: messages.lastUserText,
    stream: optionalFlag(body, "stream"),
    choices: 1,
    limit,
    minTokens: 0,
    ignoreEos: false,
    stop: readStops(body),
    seed: undefined,
    reasoningTokens: readThinking(body),
    calls: readCalls(body, messages.endsWithResult),
    json: readFormat(body),
  };
}
