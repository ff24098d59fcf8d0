/** Reading a request body: every complaint names the parameter, in OpenAI's words. */
import { ApiError } from "../errors/api-error.ts";

/** A JSON object from outside. */
export type JsonObject = Readonly<Record<string, unknown>>;

const decoder = new TextDecoder();

/** The body of the latest `peekBody` that no `parseBody` has taken. */
let peeked: { readonly bytes: Uint8Array; readonly value: JsonObject } | null = null;

/** Texts of more characters are not remembered. */
const mostRemembered = 4096;
/** The text that `parseBody` parsed last, and its value: a load sends the same body over and over. Only routes hold it, and they read. */
let rememberedText = "";
let rememberedValue: JsonObject = {};

/** A body of more bytes is large: `prepareBody` reads it ahead, between two turns of the event loop. */
export const largeBodyBytes = 262_144;

/** Large bodies that were read ahead, with the JSON value; `none`: no JSON. */
const prepared = new WeakMap<Uint8Array, unknown>();
const none = Symbol("no JSON");

/** Bytes of a large body that are decoded in one turn. */
const decodedAtOnce = 1_048_576;

/**
 * Reads a large body ahead in steps, other work of the event loop between them: `later` calls back in another turn. `peekBody` and
 * `parseBody` of the same bytes then cost nothing.
 */
export function prepareBody(bytes: Uint8Array, later: (step: () => void) => void, done: () => void): void {
  const decoder = new TextDecoder();
  let text = "";
  let at = 0;
  const parse = (): void => {
    prepared.set(bytes, valueOf(text));
    later(done);
  };
  // What is not ASCII takes 7 ms a megabyte.
  const decode = (): void => {
    const end = Math.min(at + decodedAtOnce, bytes.length);
    text += decoder.decode(bytes.subarray(at, end), { stream: end < bytes.length });
    at = end;
    later(end < bytes.length ? decode : parse);
  };
  decode();
}

/** The value of a JSON text, or `none`. */
function valueOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return none;
  }
}

/** Buffer's decoder is faster for a short text, but keeps a byte order mark. */
function textOf(bytes: Uint8Array): string {
  return bytes[0] === 0xef ? decoder.decode(bytes) : Buffer.prototype.utf8Slice.call(bytes, 0, bytes.length);
}

/** Tells the value of bytes that were read in another form, so that nothing parses them. */
export function knowBody(bytes: Uint8Array, value: JsonObject): void {
  if (bytes.length > largeBodyBytes) prepared.set(bytes, value);
  else peeked = { bytes, value };
}

/** Whether a large body was read ahead. */
export function isPrepared(bytes: Uint8Array): boolean {
  return prepared.has(bytes);
}

/** A body's JSON before its route reads it; null where it is no JSON object. `parseBody` does not parse it again. */
export function peekBody(bytes: Uint8Array): JsonObject | null {
  if (bytes.length > largeBodyBytes && prepared.has(bytes)) {
    const value = prepared.get(bytes);
    return isObject(value) ? value : null;
  }
  if (peeked?.bytes === bytes) return peeked.value;
  try {
    const value = checked(valueOf(textOf(bytes)));
    peeked = { bytes, value };
    return value;
  } catch {
    return null;
  }
}

/** Parses a body that must be a JSON object. Hot path: the text of the body before has the same value, by identity. */
export function parseBody(bytes: Uint8Array): JsonObject {
  if (peeked !== null) {
    const { bytes: known, value } = peeked;
    peeked = null;
    if (known === bytes) return value;
  }
  if (bytes.length > largeBodyBytes && prepared.has(bytes)) return checked(prepared.get(bytes));
  const text = textOf(bytes);
  if (text === rememberedText && text !== "") return rememberedValue;
  const value = checked(valueOf(text));
  if (text.length <= mostRemembered) {
    rememberedText = text;
    rememberedValue = value;
  }
  return value;
}

/** Whether `parseBody` gives this object again for the same text. */
export function isRemembered(value: JsonObject): boolean {
  return value === rememberedValue;
}

/** Throws ApiError where a value is no JSON object, or has a member that means this server. */
function checked(value: unknown): JsonObject {
  if (value === none) {
    throw new ApiError(
      400,
      "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library correctly. The request body must be a JSON object.)",
    );
  }
  if (!isObject(value)) throw invalidType("body", "an object", value);
  for (const name in value) if (meansUs(name)) throw unknownMember(name);
  return value;
}

/** A member that is called like this server or a header of it. Bodies hold what providers' bodies hold. */
const ownMember = /^(?:x[-_])?fakeai(?:$|[-_])/i;

/** Hot path: most members begin with another letter, and need no regular expression. */
function meansUs(name: string): boolean {
  const first = name.charCodeAt(0) | 0x20;
  return (first === 0x66 || first === 0x78) && ownMember.test(name);
}

function unknownMember(name: string): ApiError {
  const param = name.slice(0, 60);
  const hint = "(HINT: a request overrides this server by headers, as in x-fakeai-ttft: 100.)";
  return new ApiError(400, `Unknown parameter: '${param}'. ${hint}`, param, "unknown_parameter");
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function nameOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  if (typeof value === "number") return Number.isInteger(value) ? "an integer" : "a decimal";
  return { string: "a string", boolean: "a boolean", object: "an object" }[typeof value as "string" | "boolean" | "object"];
}

export function invalidType(param: string, expected: string, value: unknown): ApiError {
  return new ApiError(400, `Invalid type for '${param}': expected ${expected}, but got ${nameOf(value)} instead.`, param, "invalid_type");
}

export function missing(param: string): ApiError {
  return new ApiError(400, `Missing required parameter: '${param}'.`, param, "missing_required_parameter");
}

export function emptyArray(param: string): ApiError {
  const message = `Invalid '${param}': empty array. Expected an array with minimum length 1, but got an empty array instead.`;
  return new ApiError(400, message, param, "empty_array");
}

/** A number below `min` or above `max`. */
export function outOfRange(param: string, kind: "integer" | "decimal", value: number, min: number, max: number): ApiError {
  const [side, relation, limit, code] =
    value < min ? ["below minimum", ">=", min, "below_min_value"] : ["above maximum", "<=", max, "above_max_value"];
  const message = `Invalid '${param}': ${kind} ${side} value. Expected a value ${relation} ${limit}, but got ${value} instead.`;
  return new ApiError(400, message, param, `${kind}_${code}`);
}

/** Absent and null are undefined, as OpenAI's optional parameters are nullable. */
export function optionalInteger(body: JsonObject, param: string, min: number, max: number): number | undefined {
  const value = body[param];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "number" || !Number.isInteger(value)) throw invalidType(param, "an integer", value);
  if (value < min || value > max) throw outOfRange(param, "integer", value, min, max);
  return value;
}

export function optionalNumber(body: JsonObject, member: string, min: number, max: number, param: string = member): number | undefined {
  const value = body[member];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "number") throw invalidType(param, "a decimal", value);
  if (value < min || value > max) throw outOfRange(param, "decimal", value, min, max);
  return value;
}

export function optionalBoolean(body: JsonObject, param: string): boolean | undefined {
  const value = body[param];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "boolean") throw invalidType(param, "a boolean", value);
  return value;
}

/** One of some names. Absent and null are null. */
export function optionalName<T extends string>(body: JsonObject, member: string, names: readonly T[], param: string = member): T | null {
  const value = body[member];
  if (value === undefined || value === null) return null;
  if (typeof value !== "string") throw invalidType(param, "a string", value);
  const found = names.find((name) => name === value);
  if (found === undefined) throw unsupportedValue(param, value, names);
  return found;
}

export function unsupportedValue(param: string, value: unknown, names: readonly string[]): ApiError {
  const quoted = names.map((name) => `'${name}'`);
  const listed = quoted.length < 3 ? quoted.join(" and ") : `${quoted.slice(0, -1).join(", ")}, and ${quoted.at(-1)}`;
  return new ApiError(400, `Invalid value: ${quote(value)}. Supported values are: ${listed}.`, param, "invalid_value");
}

/** Absent and null are null. */
export function optionalString(body: JsonObject, param: string): string | null {
  const value = body[param];
  if (value === undefined || value === null) return null;
  if (typeof value !== "string") throw invalidType(param, "a string", value);
  return value;
}

/** Absent and null are an empty object. */
export function optionalObject(body: JsonObject, param: string): JsonObject {
  const value = body[param];
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw invalidType(param, "an object", value);
  return value;
}

export function requiredString(body: JsonObject, param: string): string {
  const value = body[param];
  if (value === undefined) throw missing(param);
  if (typeof value !== "string") throw invalidType(param, "a string", value);
  return value;
}

const roles = new Set(["developer", "system", "user", "assistant", "tool", "function"]);

/** Checks `messages` and returns how many characters of text they hold. */
export function checkMessages(body: JsonObject): number {
  const { messages } = body;
  if (messages === undefined) throw missing("messages");
  if (!Array.isArray(messages)) throw invalidType("messages", "an array of objects", messages);
  if (messages.length === 0) throw emptyArray("messages");
  let bytes = 0;
  for (let i = 0; i < messages.length; i++) {
    const message: unknown = messages[i];
    const at = `messages[${i}]`;
    if (!isObject(message)) throw invalidType(at, "an object", message);
    if (message["role"] === undefined) throw missing(`${at}.role`);
    if (typeof message["role"] !== "string" || !roles.has(message["role"])) {
      throw new ApiError(
        400,
        `Invalid value: ${quote(message["role"])}. Supported values are: ${[...roles].map((role) => `'${role}'`).join(", ")}.`,
        `${at}.role`,
        "invalid_value",
      );
    }
    bytes += checkContent(message["content"], `${at}.content`, message["role"]);
  }
  return bytes;
}

function checkContent(content: unknown, param: string, role: string): number {
  if (typeof content === "string") return content.length;
  // An assistant's message may hold tool calls instead of text.
  if (content === null || content === undefined) {
    if (role === "assistant" || role === "function") return 0;
    if (content === undefined) throw missing(param);
    throw invalidType(param, "one of a string or array of objects", content);
  }
  if (!Array.isArray(content)) throw invalidType(param, "one of a string or array of objects", content);
  let bytes = 0;
  for (let i = 0; i < content.length; i++) {
    const part: unknown = content[i];
    if (!isObject(part)) throw invalidType(`${param}[${i}]`, "an object", part);
    if (typeof part["text"] === "string") bytes += part["text"].length;
  }
  return bytes;
}

/** The texts of a message's content: its own, or those of its text parts. */
export function textsOfContent(content: unknown): readonly string[] {
  if (typeof content === "string") return [content];
  if (!Array.isArray(content)) return [];
  return content.flatMap((part: unknown) => (isObject(part) && typeof part["text"] === "string" ? [part["text"]] : []));
}

/** The text of a message's content, its text parts joined. */
export function textOfContent(content: unknown): string {
  return textsOfContent(content).join("");
}

/** An estimate: English text in OpenAI's encodings has about four characters a token. */
export function tokensOfCharacters(characters: number): number {
  return Math.max(1, Math.ceil(characters / 4));
}

/** A client's value in a message: a text in part, anything else by its kind. */
export function quote(value: unknown): string {
  if (value === undefined) return "'undefined'";
  return typeof value === "string" ? `'${value.slice(0, 64)}'` : nameOf(value);
}
