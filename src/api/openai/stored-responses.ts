/** The endpoints of stored responses: /v1/responses/{id}, what was put in, and the count of input tokens. */
import { randomHex } from "../shared/ids.ts";
import { ApiError } from "../errors/api-error.ts";
import { isObject, type JsonObject } from "../shared/body.ts";
import type { RouteRequest } from "../../core/seams.ts";
import { Random, seedOf } from "../../core/random/random.ts";
import { notShared } from "./response-input.ts";
import type { OwnResponses, StoredResponse, StoreOf } from "./response-store.ts";

const root = "/v1/responses/";

/** What a path asks of a stored response: itself, or what is behind its id. */
interface Asked {
  readonly id: string;
  readonly what: string;
}

function askedOf(path: string): Asked {
  const [id = "", ...rest] = path.slice(root.length).split("/");
  return { id, what: rest.join("/") };
}

function unknownUrl({ method, path }: RouteRequest): ApiError {
  return new ApiError({ kind: "unknown-url", method, path });
}

function find(store: OwnResponses | null, id: string): StoredResponse {
  if (store === null) throw notShared(null);
  const found = store.get(id);
  if (found === undefined) throw new ApiError(404, `Response with id '${id.slice(0, 100)}' not found.`);
  return found;
}

/** JSON text of the answer to GET /v1/responses/{id} and /v1/responses/{id}/input_items. Throws ApiError. */
export function showStored(request: RouteRequest, storeOf: StoreOf | null): string {
  const { id, what } = askedOf(request.path);
  if (what !== "" && what !== "input_items") throw unknownUrl(request);
  const query = new URLSearchParams(request.query);
  const stored = find(storeOf?.(request) ?? null, id);
  if (what === "input_items") return JSON.stringify(inputItems(stored, query));
  if (query.get("stream") === "true") {
    throw new ApiError(400, "Only responses of the background can be streamed again, and those are not supported here.", "stream");
  }
  return stored.json;
}

/** JSON text of the answer to DELETE /v1/responses/{id}. Throws ApiError. */
export function deleteStored(request: RouteRequest, storeOf: StoreOf | null): string {
  const { id, what } = askedOf(request.path);
  if (what !== "") throw unknownUrl(request);
  const store = storeOf?.(request) ?? null;
  find(store, id);
  store?.delete(id);
  return JSON.stringify({ id, object: "response", deleted: true });
}

/** POST /v1/responses/{id}/cancel: what is stored is done. Throws ApiError. */
export function cancelStored(request: RouteRequest, storeOf: StoreOf | null): never {
  const { id, what } = askedOf(request.path);
  if (what !== "cancel") throw unknownUrl(request);
  find(storeOf?.(request) ?? null, id);
  throw new ApiError(400, "Cannot cancel a synchronous response.");
}

const decoder = new TextDecoder();
const mostListed = 100;

/** One page of the items of a response's own input, the last first unless `order` is "asc". Throws ApiError. */
function inputItems({ id, request }: StoredResponse, query: URLSearchParams): object {
  const limit = Number(query.get("limit") ?? 20);
  if (!Number.isInteger(limit) || limit < 1 || limit > mostListed) {
    throw new ApiError(400, `Invalid 'limit': expected a whole number from 1 to ${mostListed}.`, "limit", "invalid_value");
  }
  const order = query.get("order") ?? "desc";
  if (order !== "asc" && order !== "desc") {
    throw new ApiError(400, "Invalid value for 'order'. Supported values are: 'asc' and 'desc'.", "order", "invalid_value");
  }
  const { input } = JSON.parse(decoder.decode(request)) as JsonObject;
  const given = typeof input === "string" ? [{ role: "user", content: input }] : Array.isArray(input) ? input.filter(isObject) : [];
  const items = given.map((item, index) => itemOf(item, `${id}${index}`));
  if (order === "desc") items.reverse();
  const after = query.get("after");
  const start = after === null ? 0 : items.findIndex((item) => item["id"] === after) + 1;
  if (after !== null && start === 0) throw new ApiError(400, `Invalid 'after': no item has the id '${after.slice(0, 100)}'.`, "after");
  const data = items.slice(start, start + limit);
  return {
    object: "list",
    data,
    first_id: data[0]?.["id"] ?? null,
    last_id: data.at(-1)?.["id"] ?? null,
    has_more: start + limit < items.length,
  };
}

/** An item as it is listed: with an id, and its content in parts. `name` decides the id. */
function itemOf(item: JsonObject, name: string): JsonObject {
  const type = item["type"] ?? "message";
  const random = new Random(seedOf(hashOf(name)), 0);
  const id = item["id"] ?? `${type === "message" ? "msg" : "item"}_${randomHex(random, 50)}`;
  if (type !== "message") return { id, ...item };
  const { content } = item;
  const part = item["role"] === "assistant" ? { type: "output_text", annotations: [] } : { type: "input_text" };
  return { id, type, status: "completed", ...item, content: typeof content === "string" ? [{ ...part, text: content }] : content };
}

/** FNV-1a, 32 bits. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
