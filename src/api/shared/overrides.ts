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

/**
 * Throws ApiError for a header that means this server, and that it does not read: a typo would change nothing, unseen. So for one
 * of several lines, of which engines read the first, or all as one value.
 */
export function checkOwnNames({ ownHeaders: sent, query }: RouteRequest): void {
  for (let at = 0; at < sent.length; at++) {
    const name = sent[at]!;
    if (!knownHeaders.has(name)) throw headerError(name.slice(0, 60), `${name.slice(0, 60)}: there is no such header${meant(name)}`);
    if (sent.indexOf(name) < at) throw headerError(name, `${name}: sent more than once; one value is read`);
  }
  if (query !== "") checkQuery(query);
}

/** What a name of ours with a typo was meant to be, else all headers that there are. */
function meant(name: string): string {
  const guess = didYouMean(name.replace(ownStart, ""), ownWords, (word) => ownHeaderPrefix + word);
  return guess === "" ? `; there are ${ownHeaders.join(", ")}` : guess;
}

const ownStart = /^(?:x[-_])?fakeai[-_]/i;

/** Throws ApiError for a parameter that is called like a header of ours: what is asked for in the query is never read. */
function checkQuery(query: string): void {
  if (!/fakeai|%/i.test(query)) return;
  for (const part of query.split("&")) {
    const name = unescaped(part.split("=", 1)[0]!);
    if (!ownStart.test(name)) continue;
    const shown = name.slice(0, 60);
    throw headerError(shown, `${shown}: the query changes nothing here, headers do${meant(name)}`);
  }
}

/** The text itself where its escapes are no UTF-8. */
function unescaped(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

export function headerError(name: string, message: string): ApiError {
  return new ApiError(400, message, name, "invalid_value");
}

/** A request, or null for one that has no header of ours: most have none, and each look for one costs time. */
export type Overriding = RouteRequest | null;

/** Hot path. What is asked for the headers below. */
export function overridingOf(request: RouteRequest): Overriding {
  return request.ownHeaders.length === 0 ? null : request;
}

export function overriding(
  request: Overriding,
  name: OwnHeader,
  units: (name: string) => Parameters<typeof parseDistribution>[1],
): Distribution | undefined {
  const value = request?.header(name);
  if (value === undefined) return undefined;
  try {
    return parseDistribution(value, units(name));
  } catch (error) {
    if (error instanceof SpecError) throw headerError(name, error.message);
    throw error;
  }
}

export function integerHeader(request: Overriding, name: OwnHeader): number | undefined {
  const value = request?.header(name);
  if (value === undefined) return undefined;
  const number = Number(value);
  if (!/^-?\d+$/.test(value) || !Number.isSafeInteger(number)) throw headerError(name, `${name}: expected a whole number up to 2^53`);
  return number;
}

export function booleanHeader(request: Overriding, name: OwnHeader): boolean | undefined {
  const value = request?.header(name);
  if (value === undefined) return undefined;
  if (value !== "1" && value !== "0") throw headerError(name, `${name}: expected 1 or 0`);
  return value === "1";
}

/** What a client can do whose library sends a header as Latin-1, as fetch does: its bytes come to no text on some engines. */
const unreadable = 'send a JSON string with escapes ("caf\\u00e9"), or UTF-8: Buffer.from(text).toString("latin1") in fetch';

/** uWebSockets.js trims bytes above 0x7f from both ends of a value, and nothing tells of it. */
const quoted =
  'send it in quotation marks, as a JSON string ("caf\\u00e9", or its UTF-8 between the marks), or start with --h1-engine node';

/** The text of `x-fakeai-text`: the value itself, or a JSON string where it needs line ends or other control characters. */
export function givenText(request: Overriding): string | null {
  const value = request?.header("x-fakeai-text");
  if (request === null || value === undefined) return null;
  if (value === "") {
    const why =
      request.engine === "uws"
        ? `no text arrived, and bytes above 0x7f at the ends of a header do not on the engine uws; ${quoted}`
        : `no text arrived; ${unreadable}`;
    throw headerError("x-fakeai-text", `x-fakeai-text: ${why}; an empty text is ""`);
  }
  if (value.includes("\ufffd")) throw headerError("x-fakeai-text", `x-fakeai-text: its bytes are not UTF-8; ${unreadable}`);
  if (!value.startsWith('"')) return value;
  try {
    return JSON.parse(value) as string;
  } catch {
    throw headerError("x-fakeai-text", "x-fakeai-text: a value that begins with a quotation mark must be a JSON string");
  }
}
