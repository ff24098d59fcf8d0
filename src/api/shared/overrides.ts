/** Request headers that override the server's knobs. Each reader gives undefined without its header and throws ApiError for a bad one. */
import { type Distribution, parseDistribution, SpecError } from "../../core/random/distribution.ts";
import type { RouteRequest } from "../../core/seams.ts";
import { ApiError } from "../errors/api-error.ts";

export function headerError(name: string, message: string): ApiError {
  return new ApiError(400, message, name, "invalid_value");
}

export function overriding(
  request: RouteRequest,
  name: string,
  units: (name: string) => Parameters<typeof parseDistribution>[1],
): Distribution | undefined {
  const value = request.header(name);
  if (value === undefined) return undefined;
  try {
    return parseDistribution(value, units(name));
  } catch (error) {
    if (error instanceof SpecError) throw headerError(name, error.message);
    throw error;
  }
}

export function integerHeader(request: RouteRequest, name: string): number | undefined {
  const value = request.header(name);
  if (value === undefined) return undefined;
  const number = Number(value);
  if (!/^-?\d+$/.test(value) || !Number.isSafeInteger(number)) throw headerError(name, `${name}: expected a whole number up to 2^53`);
  return number;
}

export function booleanHeader(request: RouteRequest, name: string): boolean | undefined {
  const value = request.header(name);
  if (value === undefined) return undefined;
  if (value !== "1" && value !== "0") throw headerError(name, `${name}: expected 1 or 0`);
  return value === "1";
}

/** The text of `x-fakeai-text`: the value itself, or a JSON string where it needs line ends or other control characters. */
export function givenText(request: RouteRequest): string | null {
  const value = request.header("x-fakeai-text");
  if (value === undefined) return null;
  if (!value.startsWith('"')) return value;
  try {
    return JSON.parse(value) as string;
  } catch {
    throw headerError("x-fakeai-text", "x-fakeai-text: a value that begins with a quotation mark must be a JSON string");
  }
}
