/**
 * Members of Gemini's requests: they have their names in camelCase or in snake_case, as protocol buffers in JSON do. Complaints are
 * worded as Google's.
 */
import { ApiError } from "../errors/api-error.ts";
import { isObject, type JsonObject } from "../shared/body.ts";

export const bad = (message: string): ApiError => new ApiError(400, message);

const snakeNames = new Map<string, string>();

/** The name in snake_case of one that stands in our own code: each is kept. */
export function snakeOf(name: string): string {
  let snake = snakeNames.get(name);
  if (snake === undefined) snakeNames.set(name, (snake = name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)));
  return snake;
}

/** A member by its name in camelCase, or by the same in snake_case; null is absent. */
export function member(object: JsonObject, name: string): unknown {
  return object[name] ?? object[snakeOf(name)] ?? undefined;
}

export function wrong(path: string, kind: string, value: unknown): ApiError {
  return bad(`Invalid value at '${path}' (${kind}), ${(JSON.stringify(value) ?? "undefined").slice(0, 100)}`);
}

export function objectAt(object: JsonObject, name: string, path: string): JsonObject {
  const value = member(object, name) ?? {};
  if (!isObject(value)) throw wrong(`${path}${snakeOf(name)}`, "type.googleapis.com/google.protobuf.Struct", value);
  return value;
}

export function listAt(object: JsonObject, name: string, path: string): readonly unknown[] {
  const value = member(object, name) ?? [];
  // One message stands for a list of it, as SDKs send a system instruction.
  if (isObject(value)) return [value];
  if (!Array.isArray(value)) throw wrong(`${path}${snakeOf(name)}`, "list", value);
  return value;
}

export function integerAt(object: JsonObject, name: string, path: string): number | null {
  const given = member(object, name);
  if (given === undefined) return null;
  const value = typeof given === "string" && /^-?\d{1,15}$/.test(given) ? Number(given) : given;
  if (typeof value !== "number" || !Number.isInteger(value)) throw wrong(`${path}${snakeOf(name)}`, "TYPE_INT32", given);
  return value;
}

export function numberAt(object: JsonObject, name: string, path: string): number | null {
  const value = member(object, name);
  if (value === undefined) return null;
  if (typeof value !== "number") throw wrong(`${path}${snakeOf(name)}`, "TYPE_FLOAT", value);
  return value;
}

/** JSON types of members, by both of their names. */
export type Kinds = ReadonlyMap<string, "string" | "boolean" | "object">;

export function kindsOf(kinds: Readonly<Record<string, "string" | "boolean" | "object">>): Kinds {
  return new Map(Object.entries(kinds).flatMap(([name, kind]) => [[name, kind] as const, [snakeOf(name), kind] as const]));
}

const typeNames = { string: "TYPE_STRING", boolean: "TYPE_BOOL", object: "type.googleapis.com/google.protobuf.Struct" } as const;

/** Throws ApiError for a member of another JSON type. Its time grows with the members that are there. */
export function checkKinds(object: JsonObject, kinds: Kinds, path: string): void {
  for (const name in object) {
    const kind = kinds.get(name);
    const value = object[name];
    if (kind === undefined || value === null || (kind === "object" ? isObject(value) : typeof value === kind)) continue;
    throw wrong(`${path}${snakeOf(name)}`, typeNames[kind], value);
  }
}
