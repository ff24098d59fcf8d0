/** Request headers that override the server's knobs. Each reader gives undefined without its header and throws ApiError for a bad one. */
import { type Distribution, parseDistribution, SpecError } from "../../core/random/distribution.ts";
import { didYouMean } from "../../base/guess.ts";
import { ownHeaderPrefix, type RouteRequest } from "../../core/seams.ts";
import { ApiError } from "../errors/api-error.ts";

/** Every header of a request that only this server reads. */
const ownHeaders = [
  "x-fakeai-ttft",
  "x-fakeai-itl",
  "x-fakeai-output-tokens",
  "x-fakeai-text",
  "x-fakeai-seed",
  "x-fakeai-tokens-per-chunk",
  "x-fakeai-stamps",
  "x-fakeai-fault",
  "x-fakeai-call",
] as const;

export type OwnHeader = (typeof ownHeaders)[number];

const knownHeaders: ReadonlySet<string> = new Set(ownHeaders);
const ownWords = ownHeaders.map((name) => name.slice(ownHeaderPrefix.length));

/** Throws ApiError for a header that means this server, and that it does not read: a typo would change nothing, unseen. */
export function checkOwnNames({ ownHeaders: sent, query }: RouteRequest): void {
  for (const name of sent) if (!knownHeaders.has(name)) throw unknownHeader(name);
  if (query !== "") checkQuery(query);
}

function unknownHeader(name: string): ApiError {
  const guess = didYouMean(name.slice(ownHeaderPrefix.length), ownWords, (word) => ownHeaderPrefix + word);
  const known = guess === "" ? `; there are ${ownHeaders.join(", ")}` : guess;
  return headerError(name.slice(0, 60), `${name.slice(0, 60)}: there is no such header${known}`);
}

/** A parameter that is called like a header of ours: what is asked for in the query is never read. */
const ownParameter = /(?:^|&)((?:x-)?fakeai[-_][a-z-_]*)/i;

function checkQuery(query: string): void {
  const name = ownParameter.exec(query)?.[1]?.slice(0, 60);
  if (name === undefined) return;
  throw headerError(name, `${name}: the query changes nothing here; there are headers: ${ownHeaders.join(", ")}`);
}

export function headerError(name: string, message: string): ApiError {
  return new ApiError(400, message, name, "invalid_value");
}

export function overriding(
  request: RouteRequest,
  name: OwnHeader,
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

export function integerHeader(request: RouteRequest, name: OwnHeader): number | undefined {
  const value = request.header(name);
  if (value === undefined) return undefined;
  const number = Number(value);
  if (!/^-?\d+$/.test(value) || !Number.isSafeInteger(number)) throw headerError(name, `${name}: expected a whole number up to 2^53`);
  return number;
}

export function booleanHeader(request: RouteRequest, name: OwnHeader): boolean | undefined {
  const value = request.header(name);
  if (value === undefined) return undefined;
  if (value !== "1" && value !== "0") throw headerError(name, `${name}: expected 1 or 0`);
  return value === "1";
}

/** What a client can do whose library sends a header as Latin-1, as fetch does: its bytes come to no text on some engines. */
const unreadable = 'send a JSON string with escapes ("caf\\u00e9"), or UTF-8: Buffer.from(text).toString("latin1") in fetch';

/** The text of `x-fakeai-text`: the value itself, or a JSON string where it needs line ends or other control characters. */
export function givenText(request: RouteRequest): string | null {
  const value = request.header("x-fakeai-text");
  if (value === undefined) return null;
  if (value === "") throw headerError("x-fakeai-text", `x-fakeai-text: no text arrived; ${unreadable}; an empty text is ""`);
  if (value.includes("\ufffd")) throw headerError("x-fakeai-text", `x-fakeai-text: its bytes are not UTF-8; ${unreadable}`);
  if (!value.startsWith('"')) return value;
  try {
    return JSON.parse(value) as string;
  } catch {
    throw headerError("x-fakeai-text", "x-fakeai-text: a value that begins with a quotation mark must be a JSON string");
  }
}
