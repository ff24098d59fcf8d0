/** Members of a request to Anthropic, and complaints about them in Anthropic's words. */
import { maxOutputTokens } from "../../core/limits/budget.ts";
import type { JsonObject } from "../shared/body.ts";
import { ApiError } from "../errors/api-error.ts";

export const bad = (message: string): ApiError => new ApiError(400, message);

export function required(body: JsonObject, name: string, at: string = name): unknown {
  const value = body[name];
  if (value === undefined) throw bad(`${at}: Field required`);
  return value;
}

export function optionalFlag(body: JsonObject, name: string): boolean {
  const value = body[name];
  if (value === undefined || value === null) return false;
  if (typeof value !== "boolean") throw bad(`${name}: Input should be a valid boolean`);
  return value;
}

/** A whole number from `least` on; more than any answer holds counts as that. */
export function whole(value: unknown, at: string, least: number): number {
  if (typeof value !== "number" || !Number.isInteger(value)) throw bad(`${at}: Input should be a valid integer`);
  if (value < least) throw bad(`${at}: Input should be greater than or equal to ${least}`);
  return Math.min(value, maxOutputTokens);
}

/** One of some names, or null where it is left out. */
export function optionalName<T extends string>(body: JsonObject, name: string, at: string, names: readonly T[]): T | null {
  const value = body[name];
  if (value === undefined || value === null) return null;
  const found = names.find((known) => known === value);
  if (found !== undefined) return found;
  throw bad(`${at}: Input should be ${oneOf(names)}`);
}

/** Names as a choice: 'a', 'b' or 'c'. */
export function oneOf(names: readonly string[]): string {
  const quoted = names.map((name) => `'${name}'`);
  return quoted.length < 2 ? quoted.join("") : `${quoted.slice(0, -1).join(", ")} or ${quoted.at(-1)}`;
}

export function isText(value: unknown): value is string {
  return typeof value === "string";
}
