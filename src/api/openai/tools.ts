/** Tools, tool choices and response formats of a request, in the forms of chat completions and of Responses. */
import { anyJsonObject } from "../shared/any-object.ts";
import { charactersOf, mostStopCharacters } from "../../core/text/stop.ts";
import type { Ask, CallPlan, Stops, Tool } from "../shared/ask.ts";
import { invalidType, isObject, type JsonObject, missing, optionalBoolean, quote } from "../shared/body.ts";
import { ApiError } from "../errors/api-error.ts";

/** Where a surface puts a tool's name and schema. */
export type ToolForm = "chat" | "responses";

function invalidValue(param: string, message: string): ApiError {
  return new ApiError(400, message, param, "invalid_value");
}

const onlyFunctions = "Only tools of the type 'function' can be called here.";

/** The functions among the tools. Tools of other types are never called. */
function readTools(body: JsonObject, form: ToolForm): Tool[] {
  const { tools } = body;
  if (tools === undefined || tools === null) return [];
  if (!Array.isArray(tools)) throw invalidType("tools", "an array of objects", tools);
  return tools.flatMap((tool: unknown, index) => {
    const param = `tools[${index}]`;
    if (!isObject(tool)) throw invalidType(param, "an object", tool);
    if (typeof tool["type"] !== "string")
      throw tool["type"] === undefined ? missing(`${param}.type`) : invalidType(`${param}.type`, "a string", tool["type"]);
    if (tool["type"] !== "function") return [];
    const at = form === "chat" ? `${param}.function` : param;
    const described = form === "chat" ? tool["function"] : tool;
    if (described === undefined) throw missing(at);
    if (!isObject(described)) throw invalidType(at, "an object", described);
    const { name, parameters } = described;
    if (name === undefined) throw missing(`${at}.name`);
    if (typeof name !== "string") throw invalidType(`${at}.name`, "a string", name);
    if (!/^[a-zA-Z0-9_.-]{1,128}$/.test(name)) {
      throw invalidValue(
        `${at}.name`,
        `Invalid '${at}.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.`,
      );
    }
    if (parameters !== undefined && parameters !== null && !isObject(parameters))
      throw invalidType(`${at}.parameters`, "an object", parameters);
    return [{ name, parameters, param: `${at}.parameters` }];
  });
}

/** Tools of other types are allowed by their type, and never called. Throws ApiError where there is none. */
function allowedOther({ type }: JsonObject, tools: unknown): [] {
  const isThere = Array.isArray(tools) && tools.some((tool: unknown) => isObject(tool) && tool["type"] === type);
  if (!isThere) throw invalidValue("tool_choice", `Tool choice ${quote(type)} not found in 'tools' parameter.`);
  return [];
}

function isFunction({ type }: JsonObject): boolean {
  return type === undefined || type === "function";
}

/** What a tool choice allows: none, some tools with a mode, or one by name. */
function readChoice(
  body: JsonObject,
  tools: readonly Tool[],
  form: ToolForm,
): { mode: CallPlan["choice"] | "none"; tools: readonly Tool[] } {
  const choice = body["tool_choice"];
  if (choice === undefined || choice === null) return { mode: tools.length > 0 ? "auto" : "none", tools };
  if (typeof choice === "string") {
    if (choice !== "none" && choice !== "auto" && choice !== "required") {
      throw invalidValue("tool_choice", `Invalid value: '${choice.slice(0, 64)}'. Supported values are: 'none', 'auto', and 'required'.`);
    }
    if (choice !== "none" && body["tools"] === undefined) {
      throw invalidValue("tool_choice", "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.");
    }
    if (choice === "required" && tools.length === 0) throw invalidValue("tool_choice", onlyFunctions);
    return { mode: tools.length > 0 ? choice : "none", tools };
  }
  if (!isObject(choice)) throw invalidType("tool_choice", "one of a string or an object", choice);
  const named = new Map<unknown, Tool>();
  // Of two with one name the first counts.
  for (const tool of tools) if (!named.has(tool.name)) named.set(tool.name, tool);
  const byName = (name: unknown): Tool => {
    const tool = named.get(name);
    if (!tool) throw invalidValue("tool_choice", `Tool choice ${quote(name)} not found in 'tools' parameter.`);
    return tool;
  };
  const nameOf = (item: JsonObject): unknown =>
    form === "chat" ? (isObject(item["function"]) ? item["function"]["name"] : undefined) : item["name"];
  if (choice["type"] === "function") return { mode: "named", tools: [byName(nameOf(choice))] };
  if (choice["type"] === "allowed_tools") {
    const allowed = form === "chat" ? choice["allowed_tools"] : choice;
    if (!isObject(allowed) || !Array.isArray(allowed["tools"])) throw missing("tool_choice.allowed_tools.tools");
    const items = allowed["tools"].filter((item: unknown) => isObject(item));
    const some = items.flatMap((item) => (isFunction(item) ? byName(nameOf(item)) : allowedOther(item, body["tools"])));
    return { mode: some.length === 0 ? "none" : allowed["mode"] === "required" ? "required" : "auto", tools: some };
  }
  throw invalidValue("tool_choice", onlyFunctions);
}

/**
 * Reads tools and tool choice. With "auto" the answer calls a tool unless the conversation `goesOn`: it ends with a tool's result, or with
 * what the assistant has begun to say.
 */
export function readCalls(body: JsonObject, form: ToolForm, goesOn: boolean): CallPlan | null {
  const all = readTools(body, form);
  const parallel = optionalBoolean(body, "parallel_tool_calls") ?? true;
  const { mode, tools } = readChoice(body, all, form);
  if (mode === "none" || (mode === "auto" && goesOn)) return null;
  return { tools, choice: mode, parallel };
}

/** Reads `response_format`, or Responses' `text.format`, whose schema stands one level higher. */
export function readFormat(format: unknown, param: string, form: ToolForm): Ask["json"] {
  if (format === undefined || format === null) return null;
  if (!isObject(format)) throw invalidType(param, "an object", format);
  if (format["type"] === "json_object") return { schema: anyJsonObject, param };
  // "text", and what the form of the request has let through, as vLLM's structural_tag: text too.
  if (format["type"] !== "json_schema") return null;
  const at = form === "chat" ? `${param}.json_schema` : param;
  const described = form === "chat" ? format["json_schema"] : format;
  if (described === undefined) throw missing(at);
  if (!isObject(described)) throw invalidType(at, "an object", described);
  if (described["name"] === undefined) throw missing(`${at}.name`);
  if (typeof described["name"] !== "string") throw invalidType(`${at}.name`, "a string", described["name"]);
  const { schema } = described;
  if (schema !== undefined && !isObject(schema)) throw invalidType(`${at}.schema`, "an object", schema);
  return { schema: schema ?? anyJsonObject, param: `${at}.schema` };
}

/** OpenAI's limit. */
const mostStops = 4;

/** No stop sequences. */
export const noStops: Stops = { sequences: [], param: "stop" };

/** Up to four texts at which the answer ends. */
export function readStop(body: JsonObject): Stops {
  const param = "stop";
  const stop = body[param];
  if (stop === undefined || stop === null) return noStops;
  const list: unknown = typeof stop === "string" ? [stop] : stop;
  if (!Array.isArray(list)) throw invalidType(param, "one of a string or array of strings", stop);
  if (list.length > mostStops) {
    throw new ApiError(
      400,
      `Invalid '${param}': array too long. Expected an array with maximum length ${mostStops}, but got an array with length ${list.length} instead.`,
      param,
      "array_above_max_length",
    );
  }
  const sequences = list.map((item: unknown, index) => {
    if (typeof item !== "string") throw invalidType(`${param}[${index}]`, "a string", item);
    if (item === "") throw invalidValue(`${param}[${index}]`, `Invalid '${param}[${index}]': empty string.`);
    return item;
  });
  const characters = charactersOf(sequences);
  if (characters > mostStopCharacters) {
    const message = `Invalid '${param}': ${characters} characters are more than ${mostStopCharacters} together.`;
    throw new ApiError(400, message, param, "string_above_max_length");
  }
  return { sequences, param };
}

/** Hidden tokens that each effort is worth; OpenAI counts them in blocks of 64. */
const efforts: Record<string, number> = { none: 0, minimal: 0, low: 64, medium: 256, high: 1024, xhigh: 2048, max: 4096 };

export function reasoningTokensOf(effort: unknown, param: string): number {
  if (effort === undefined || effort === null) return 0;
  if (typeof effort !== "string") throw invalidType(param, "a string", effort);
  if (!Object.hasOwn(efforts, effort)) {
    const names = Object.keys(efforts).map((name) => `'${name}'`);
    throw invalidValue(param, `Invalid value: '${effort.slice(0, 64)}'. Supported values are: ${names.join(", ")}.`);
  }
  return efforts[effort]!;
}
