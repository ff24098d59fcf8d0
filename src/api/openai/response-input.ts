/** The conversation that a request to /v1/responses follows: its input, and the stored response before it. */
import { ApiError } from "../errors/api-error.ts";
import { emptyArray, invalidType, isObject, type JsonObject, missing, textOfContent, textsOfContent } from "../shared/body.ts";
import { countTurns, tokensOfTexts, type Turn } from "../shared/prompt.ts";
import type { Choice } from "../shared/ask.ts";
import type { ModelSettings } from "../shared/model-settings.ts";
import type { ResponseMemory, StoredResponse } from "./response-store.ts";

export interface Input {
  readonly turns: readonly Turn[];
  readonly lastUserText: () => string;
  /** It ends with a tool's result, or with what the assistant has begun to say. What the system says after that changes nothing. */
  readonly goesOn: boolean;
}

export function turnOf(role: string, texts: readonly string[]): Turn {
  return { role, name: null, texts };
}

/** Items that hold what a tool of OpenAI's has found, or what a client's tool has answered. */
const results: ReadonlySet<unknown> = new Set([
  "mcp_approval_response",
  "mcp_call",
  "web_search_call",
  "file_search_call",
  "code_interpreter_call",
  "image_generation_call",
]);

function isResult(type: unknown): boolean {
  return typeof type === "string" && (type.endsWith("_output") || results.has(type));
}

/** What commands of a `shell_call_output` have printed. */
function shellTexts(output: unknown): readonly string[] {
  if (!Array.isArray(output)) return [];
  return output.filter(isObject).flatMap(({ stdout, stderr }) => [stdout, stderr].filter((text) => typeof text === "string"));
}

const noInput: Input = { turns: [], lastUserText: () => "", goesOn: false };

/** Where a request without `input`, or with an empty one, has its prompt. */
const inputElsewhere = ["prompt", "previous_response_id", "conversation"] as const;

/** The text of a stored prompt is unknown here; those of its variables are not. */
function promptInput({ prompt }: JsonObject): Input {
  const variables = isObject(prompt) && isObject(prompt["variables"]) ? Object.values(prompt["variables"]) : [];
  const texts = variables.flatMap((value) => (typeof value === "string" ? [value] : textsOfContent([value])));
  return texts.length === 0 ? noInput : { ...noInput, turns: [turnOf("user", texts)] };
}

/** Reads `input`. Throws ApiError. */
export function readInput(body: JsonObject): Input {
  const { input } = body;
  const isElsewhere = inputElsewhere.some((param) => body[param] !== undefined && body[param] !== null);
  if (input === undefined || input === null) {
    if (!isElsewhere) throw missing("input");
    return promptInput(body);
  }
  if (typeof input === "string") return { ...noInput, turns: [turnOf("user", [input])], lastUserText: () => input };
  if (!Array.isArray(input)) throw invalidType("input", "one of a string or array of objects", input);
  if (input.length === 0) {
    if (isElsewhere) return promptInput(body);
    throw emptyArray("input");
  }
  const turns: Turn[] = [];
  const items = input.map((item: unknown, index) => {
    if (!isObject(item)) throw invalidType(`input[${index}]`, "an object", item);
    const isMessage = item["type"] === undefined || item["type"] === "message";
    if (isMessage && item["role"] === undefined) {
      // An item that is only named needs no type.
      if (typeof item["id"] === "string" && item["content"] === undefined) return item;
      throw missing(`input[${index}].role`);
    }
    if (isMessage && item["content"] === undefined) throw missing(`input[${index}].content`);
    const others = [item["name"], item["arguments"], item["input"], item["output"]].flatMap((value) => textsOfContent(value));
    others.push(...shellTexts(item["output"]));
    // What a model thought in an earlier turn is not read again.
    if (item["type"] !== "reasoning")
      turns.push(turnOf(typeof item["role"] === "string" ? item["role"] : "tool", [...textsOfContent(item["content"]), ...others]));
    return item;
  });
  const last = items.findLast(({ role }) => role !== "system" && role !== "developer");
  return {
    turns,
    lastUserText: () => textOfContent(items.findLast(({ role }) => role === "user")?.["content"]),
    goesOn: last !== undefined && (last["role"] === "assistant" || isResult(last["type"])),
  };
}

/** The stored response that a conversation goes on from. Throws ApiError. */
export function findPrevious(id: string | null, store: Pick<ResponseMemory, "get"> | null): StoredResponse | null {
  if (id === null) return null;
  if (store === null) throw notShared("previous_response_id");
  const found = store.get(id);
  if (found !== undefined) return found;
  const message = `Previous response with id '${id.slice(0, 100)}' not found.`;
  throw new ApiError(400, message, "previous_response_id", "previous_response_not_found");
}

export function notShared(param: string | null): ApiError {
  const message = "Responses are not stored here: each of --workers has its own memory. Start one process for them.";
  return new ApiError(400, message, param, "unsupported_value");
}

/** Texts of the conversation before a request, the oldest first: as they would be if its input held all of it. */
export function textsBefore(previous: StoredResponse | null): string[] {
  const chain: StoredResponse[] = [];
  for (let at = previous; at !== null; at = at.previous) chain.push(at);
  return chain.toReversed().flatMap(({ texts }) => texts);
}

/** The texts of an answer as `textsBefore` gives them for the request after it. */
export function textsOfAnswer({ text, isRefusal, calls }: Choice): string[] {
  const said = text === null ? [] : ["assistant", ...(isRefusal === true ? [] : [text.text()])];
  return [...said, ...calls.flatMap((call) => ["tool", call.name, call.arguments.text()])];
}

/** With instructions, which are a message before all others. */
export function turnsWith(instructions: string | null, { turns }: Pick<Input, "turns">): readonly Turn[] {
  return instructions === null ? turns : [turnOf("developer", [instructions]), ...turns];
}

/** The tokens of a prompt: counted, or without a tokenizer estimated. */
export function countInput(turns: readonly Turn[], tools: unknown, { tokenizer }: ModelSettings): number {
  if (tokenizer !== undefined) return countTurns(turns, tools, tokenizer.count);
  return tokensOfTexts(
    turns.flatMap(({ texts }) => texts),
    undefined,
  );
}
