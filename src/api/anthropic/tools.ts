/** Tools and tool choices of a request to /v1/messages, in Anthropic's words (platform.claude.com/docs, "Tool use", "Tool reference"). */
import { isObject, type JsonObject, quote } from "../shared/body.ts";
import type { CallPlan, Tool } from "../shared/ask.ts";
import { bad, isText, required } from "./complaints.ts";

const object = (properties: Readonly<Record<string, object>>): object => ({
  type: "object",
  properties,
  required: Object.keys(properties),
});

const text = { type: "string", minLength: 4, maxLength: 24 };

/** Tools that Anthropic defines and the client runs, by their type without its date: what a call of each holds. */
const clientTools: ReadonlyMap<string, object> = new Map([
  ["bash", object({ command: text })],
  ["text_editor", object({ command: { const: "view" }, path: text })],
  ["memory", object({ command: { const: "view" }, path: { const: "/memories" } })],
  ["computer", object({ action: { const: "screenshot" } })],
]);

/** Sets of such tools, whose calls name a tool of the set. */
const toolsets: ReadonlyMap<string, { readonly name: string; readonly toolset: string }> = new Map([
  ["computer_toolset", { name: "screenshot", toolset: "computer" }],
  ["browser_toolset", { name: "list_tabs", toolset: "browser" }],
]);

/** What can be called, and the names of all tools: those that Anthropic's servers run are named, and never called. */
interface Tools {
  readonly callable: readonly Tool[];
  readonly named: ReadonlySet<unknown>;
}

function readTools(body: JsonObject): Tools {
  const tools = body["tools"] ?? [];
  if (!Array.isArray(tools)) throw bad("tools: Input should be a valid list");
  const named = new Set<unknown>();
  const callable = tools.flatMap((tool: unknown, index): Tool[] => {
    const at = `tools.${index}`;
    if (!isObject(tool)) throw bad(`${at}: Input should be an object`);
    const type = tool["type"] ?? "custom";
    if (!isText(type)) throw bad(`${at}.type: Input should be a valid string`);
    const kind = type.replace(/_\d{8}$/, "");
    const toolset = toolsets.get(kind);
    if (toolset !== undefined) return [{ ...toolset, parameters: undefined, param: at }];
    if (type === "mcp_toolset") {
      if (!isText(required(tool, "mcp_server_name", `${at}.mcp_server_name`)))
        throw bad(`${at}.mcp_server_name: Input should be a valid string`);
      return [];
    }
    const name = required(tool, "name", `${at}.name`);
    if (!isText(name) || !/^[a-zA-Z0-9_-]{1,128}$/.test(name))
      throw bad(`${at}.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'`);
    named.add(name);
    if (type !== "custom") {
      const parameters = clientTools.get(kind);
      return parameters === undefined ? [] : [{ name, parameters, param: at }];
    }
    const parameters = required(tool, "input_schema", `${at}.input_schema`);
    if (!isObject(parameters)) throw bad(`${at}.input_schema: Input should be an object`);
    return [{ name, parameters, param: `${at}.input_schema` }];
  });
  return { callable, named };
}

/**
 * Reads tools and tool choice; null: the answer is text. With "auto" it calls one unless `goesOn`: the conversation ends with a
 * tool's result, or with what the assistant has begun to say. Tools that Anthropic's servers run are never called. Throws ApiError.
 */
export function readCalls(body: JsonObject, goesOn: boolean): CallPlan | null {
  const { callable: tools, named } = readTools(body);
  const choice = body["tool_choice"] ?? { type: "auto" };
  if (!isObject(choice)) throw bad("tool_choice: Input should be an object");
  const parallel = choice["disable_parallel_tool_use"] !== true;
  const hasTools = Array.isArray(body["tools"]) && body["tools"].length > 0;
  switch (choice["type"]) {
    case "none":
      return null;
    case "auto":
      return tools.length === 0 || goesOn ? null : { tools, choice: "auto", parallel };
    case "any":
      if (!hasTools) throw bad("tool_choice: tool_choice may only be specified while providing tools.");
      return tools.length === 0 ? null : { tools, choice: "required", parallel };
    case "tool": {
      const tool = tools.find(({ name }) => name === choice["name"]);
      if (tool !== undefined) return { tools: [tool], choice: "named", parallel: false };
      if (named.has(choice["name"])) return null;
      throw bad(`tool_choice: Tool ${quote(choice["name"])} not found in provided tools`);
    }
    default:
      throw bad("tool_choice.type: Input should be 'auto', 'any', 'tool' or 'none'");
  }
}
