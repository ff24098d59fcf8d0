/**
 * The conversation of a Realtime session: its items, in their order (openai-node 7, resources/realtime/realtime.d.ts, ConversationItem).
 * Those of one session are bounded, and so are those of all sessions of a process together.
 */
import { ApiError } from "../../errors/api-error.ts";
import { isObject, type JsonObject, missing } from "../../shared/body.ts";

/** Items that a conversation holds, and bytes (some 130,000 tokens of English): each response reads all of them, in a few milliseconds. */
export const mostItems = 1024;
export const mostItemBytes = 2_097_152;

/** What an item costs beside its text, bytes. */
const itemOverheadBytes = 256;

/** An item as it is shown. */
export interface Item extends JsonObject {
  readonly id: string;
  readonly type: string;
}

/** An item as the input of a request to /v1/responses, and its JSON: each turn of a conversation reads all of them. */
export interface Input {
  readonly value: JsonObject;
  readonly json: string;
}

/** Bytes that all sessions keep: their items and their settings. */
export class ConversationMemory {
  bytes = 0;
  readonly mostBytes: number;

  constructor(mostBytes: number) {
    this.mostBytes = mostBytes;
  }

  /** Throws ApiError where so much more is too much. */
  checkRoom(bytes: number): void {
    if (this.bytes + bytes > this.mostBytes) throw full(`${this.mostBytes} bytes of all sessions (--max-stored)`);
  }
}

function full(what: string): ApiError {
  return new ApiError(400, `More than ${what} are not kept here: delete some items.`, null, "conversation_full");
}

interface Kept extends Input {
  readonly item: Item;
}

export class Conversation {
  readonly id: string;
  readonly #memory: ConversationMemory;
  readonly #kept = new Map<string, Kept>();
  /** Ids in their order. */
  #order: string[] = [];
  #bytes = 0;
  #isOver = false;

  constructor(id: string, memory: ConversationMemory) {
    this.id = id;
    this.#memory = memory;
  }

  /** Throws ApiError where so much more may not be added. */
  checkRoom(bytes = 0): void {
    if (this.#order.length >= mostItems) throw full(`${mostItems} items of a conversation`);
    if (this.#bytes + bytes > mostItemBytes) throw full(`${mostItemBytes} bytes of a conversation`);
    this.#memory.checkRoom(bytes);
  }

  /** Adds an item of the client: behind another, at the beginning ("root"), or at the end. Returns the id before it. Throws ApiError. */
  insert(item: Item, previousId: string | null): string | null {
    if (this.#kept.has(item.id)) {
      const message = `Error adding item: an item with id '${shown(item.id)}' already exists.`;
      throw new ApiError(400, message, null, "item_create_duplicate_item_id");
    }
    const at = previousId === null ? this.#order.length : previousId === "root" ? 0 : this.#order.indexOf(previousId) + 1;
    if (at === 0 && previousId !== "root" && previousId !== null) {
      const message = `Error adding item: the previous item with id '${shown(previousId)}' does not exist.`;
      throw new ApiError(400, message, "previous_item_id", "item_create_invalid_previous_item_id");
    }
    if (item.type === "function_call_output") this.#checkCall(String(item["call_id"]));
    const kept = { item, ...inputOf(item) };
    this.checkRoom(bytesOf(kept));
    this.#order.splice(at, 0, item.id);
    this.#keep(kept);
    return this.#order[at - 1] ?? null;
  }

  /** Throws ApiError where no call has such an id (the API's words: github.com/livekit/agents/issues/3344). */
  #checkCall(id: string): void {
    for (const { item } of this.#kept.values()) if (item.type === "function_call" && item["call_id"] === id) return;
    throw new ApiError(400, `Tool call ID '${shown(id)}' not found in conversation.`, null, "invalid_tool_call_id");
  }

  /** Adds an item of the server at the end. Returns the id before it. */
  append(item: Item): string | null {
    const before = this.#order.at(-1) ?? null;
    this.#order.push(item.id);
    this.#keep({ item, ...inputOf(item) });
    return before;
  }

  /** An item of the server as it is at its end. Returns the id before it; one that was deleted meanwhile stays so. */
  finish(item: Item): string | null {
    if (!this.#kept.has(item.id)) return null;
    this.#keep({ item, ...inputOf(item) });
    return this.#order[this.#order.indexOf(item.id) - 1] ?? null;
  }

  /** An item as input. */
  get(id: string): Input | undefined {
    return this.#kept.get(id);
  }

  /** Throws ApiError. */
  delete(id: string): void {
    if (!this.#kept.has(id)) throw notThere(id, "deleting", "item_delete_invalid_item_id");
    this.#forget(id);
    this.#order = this.#order.filter((one) => one !== id);
  }

  /** Throws ApiError. */
  retrieve(id: string): Item {
    const kept = this.#kept.get(id);
    if (kept === undefined) throw notThere(id, "retrieving", "item_retrieve_invalid_item_id");
    return kept.item;
  }

  /** All items as input. */
  inputs(): readonly Input[] {
    return this.#order.map((id) => this.#kept.get(id)!);
  }

  /** The session is over. */
  clear(): void {
    this.#isOver = true;
    for (const id of this.#order) this.#forget(id);
    this.#order = [];
  }

  #keep(kept: Kept): void {
    // A response that was let in late writes into nothing.
    if (this.#isOver) return;
    this.#forget(kept.item.id);
    this.#kept.set(kept.item.id, kept);
    this.#count(bytesOf(kept));
  }

  #forget(id: string): void {
    const kept = this.#kept.get(id);
    if (kept === undefined) return;
    this.#kept.delete(id);
    this.#count(-bytesOf(kept));
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    this.#memory.bytes += bytes;
  }
}

/** A character has up to two bytes, and each is kept twice: in the item, and in its JSON. */
function bytesOf({ json }: Input): number {
  return 4 * json.length + itemOverheadBytes;
}

function shown(id: string): string {
  return id.slice(0, 100);
}

/** The API's words for an id that no item has (reports of its clients' users). */
function notThere(id: string, doing: string, code: string): ApiError {
  return new ApiError(400, `Error ${doing} item: the item with id '${shown(id)}' does not exist.`, null, code);
}

/** What is spoken, sung or heard: this server has text alone. */
export function noAudio(param: string | null): ApiError {
  const message = "Audio is not supported here: this server speaks the text events of the Realtime API, with output_modalities ['text'].";
  return new ApiError(400, message, param, "audio_not_supported");
}

/** Members that an item must have, by its type. */
const required: Readonly<Record<string, readonly string[]>> = {
  message: ["role", "content"],
  function_call: ["name", "arguments"],
  function_call_output: ["call_id", "output"],
  mcp_approval_response: ["approval_request_id", "approve"],
  mcp_approval_request: ["arguments", "name", "server_label"],
  mcp_list_tools: ["server_label", "tools"],
  mcp_call: ["arguments", "name", "server_label"],
};

/** Members of a part of a message's content that are kept. */
const partMembers = ["type", "text", "image_url", "detail"] as const;

/** A client's item, as it is shown. `makeId` makes what it does not name. Its form was checked. Throws ApiError. */
export function readItem(value: unknown, param: string, makeId: (prefix: "item" | "call") => string): Item {
  if (!isObject(value)) throw missing(param);
  const type = value["type"] as string;
  for (const name of required[type]!) if (value[name] === undefined || value[name] === null) throw missing(`${param}.${name}`);
  const { id } = value;
  if (id === "") throw new ApiError(400, `Invalid '${param}.id': empty string.`, `${param}.id`, "invalid_value");
  const start = { id: typeof id === "string" ? id : makeId("item"), type };
  switch (type) {
    case "message": {
      const content = (value["content"] as readonly JsonObject[]).map((part, index) => readPart(part, `${param}.content[${index}]`));
      return { ...start, status: "completed", role: value["role"], content };
    }
    case "function_call": {
      const { name, call_id = null, arguments: text } = value;
      return { ...start, status: "completed", name, call_id: call_id ?? makeId("call"), arguments: text };
    }
    case "function_call_output":
      return { ...start, status: "completed", call_id: value["call_id"], output: value["output"] };
    default:
      return { ...value, ...start };
  }
}

function readPart(part: JsonObject, param: string): JsonObject {
  const { type } = part;
  if (type === undefined || type === null) throw missing(`${param}.type`);
  if (type === "input_audio" || type === "output_audio") throw noAudio(`${param}.type`);
  const needed = type === "input_image" ? "image_url" : "text";
  if (typeof part[needed] !== "string") throw missing(`${param}.${needed}`);
  return Object.fromEntries(partMembers.flatMap((name) => (part[name] === undefined || part[name] === null ? [] : [[name, part[name]]])));
}

/** An item as the input of /v1/responses has it. */
export function inputOf(item: Item): Input {
  const { id: _id, status: _status, error: _error, ...rest } = item;
  // Those of MCP keep their ids, by which their answers name them.
  const value = item.type.startsWith("mcp_") ? { id: item.id, ...rest } : rest;
  return { value, json: JSON.stringify(value) };
}
