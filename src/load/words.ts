/**
 * The words behind a failure, for people: what a server said in an error's body, where a redirect leads, why no connection
 * came about. They are foreign text, so they are cut, written on one line, and without a character that moves a terminal.
 */
import { constants, brotliDecompressSync, gunzipSync, inflateRawSync, inflateSync } from "node:zlib";

/** Characters of what is kept of one failure. */
const maxWords = 200;
/** Bytes of an error's body that are looked at. Providers' error texts come first in theirs. */
const maxBodyBytes = 8192;
/** Bytes that compressed words may have. */
const maxPlainBytes = 65_536;

/** The head and the first bytes of an answer that is not the one that was asked for. */
export class ForeignBody {
  readonly #contentType: string;
  readonly #contentEncoding: string;
  readonly #location: string | null;
  readonly #parts: Buffer[] = [];
  #bytes = 0;

  constructor(contentType: string, contentEncoding: string | null, location: string | null) {
    this.#contentType = contentType;
    this.#contentEncoding = contentEncoding ?? "";
    this.#location = location;
  }

  push(bytes: Buffer, start: number, end: number): void {
    const to = Math.min(end, start + maxBodyBytes - this.#bytes);
    if (to <= start) return;
    this.#parts.push(Buffer.from(bytes.subarray(start, to)));
    this.#bytes += to - start;
  }

  /** What it says: where it leads, what it is where that is neither JSON nor plain text, and its text. Null: nothing. */
  words(): string | null {
    const text = decoded(Buffer.concat(this.#parts), this.#contentEncoding);
    const type = this.#contentType.replace(/;.*$/s, "").trim();
    const isPlain = type === "" || /^text\/plain$|[/+]json$/.test(type);
    const said = text === null ? `a body in ${this.#contentEncoding}` : messageIn(text);
    const words = [this.#location === null ? "" : `Location: ${this.#location}`, isPlain ? "" : type, said].filter((part) => part !== "");
    return words.length === 0 ? null : oneLine(words.join("; "));
  }
}

/** Text of a body that may be cut off, and compressed; null where the coding is not known, or the bytes are not in it. */
function decoded(bytes: Buffer, encoding: string): string | null {
  const zlib = { finishFlush: constants.Z_SYNC_FLUSH, maxOutputLength: maxPlainBytes };
  const brotli = { finishFlush: constants.BROTLI_OPERATION_FLUSH, maxOutputLength: maxPlainBytes };
  try {
    switch (encoding.trim().toLowerCase()) {
      case "":
      case "identity":
        return bytes.toString();
      case "gzip":
      case "x-gzip":
        return gunzipSync(bytes, zlib).toString();
      case "deflate":
        // Servers send both forms under this name.
        return ((bytes[0] ?? 0) & 0x0f) === 8 ? inflateSync(bytes, zlib).toString() : inflateRawSync(bytes, zlib).toString();
      case "br":
        return brotliDecompressSync(bytes, brotli).toString();
      default:
        return null;
    }
  } catch {
    return null;
  }
}

/** A whole body without its coding; the same bytes where it has none that is known. */
export function plainBody(bytes: Buffer, encoding: string | null, maxOutputLength: number): Buffer {
  try {
    switch ((encoding ?? "").trim().toLowerCase()) {
      case "gzip":
      case "x-gzip":
        return gunzipSync(bytes, { maxOutputLength });
      case "deflate":
        return inflateSync(bytes, { maxOutputLength });
      case "br":
        return brotliDecompressSync(bytes, { maxOutputLength });
      default:
        return bytes;
    }
  } catch {
    return bytes;
  }
}

/** The message of an error in the shape of a provider, a page's title, or the text itself. */
export function messageIn(text: string): string {
  const trimmed = text.trim();
  if (/^[{[]/.test(trimmed)) return messageOfJson(trimmed);
  if (trimmed.startsWith("<")) {
    const title = /<title[^>]*>([^<]*)/i.exec(trimmed)?.[1]?.trim() ?? "";
    return title === "" ? trimmed.replaceAll(/<(?:style|script)[^]*?<\/(?:style|script)>|<[^>]*>/gi, " ") : title;
  }
  return trimmed;
}

function messageOfJson(text: string): string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // Cut off: the first message in it.
    return /"(?:message|msg|detail)"\s*:\s*"((?:[^"\\]|\\.)*)/.exec(text)?.[1] ?? text;
  }
  return messageOf(value, 0) ?? text;
}

/** Members that hold a message: OpenAI's and Anthropic's `error.message`, vLLM's `message`, FastAPI's `detail[].msg`. */
const messageMembers = ["error", "message", "detail", "msg", "errors", "title"] as const;

function messageOf(value: unknown, depth: number): string | null {
  if (depth > 4) return null;
  if (typeof value === "string") return value;
  if (Array.isArray(value)) {
    const [first] = value as readonly unknown[];
    const where = pathOf(first);
    const message = messageOf(first, depth + 1);
    return message === null ? null : `${where}${message}`;
  }
  if (typeof value !== "object" || value === null) return null;
  const members = value as Readonly<Record<string, unknown>>;
  for (const name of messageMembers) {
    const message = Object.hasOwn(members, name) ? messageOf(members[name], depth + 1) : null;
    if (message !== null && message !== "") return message;
  }
  return null;
}

/** "body.max_tokens: ", as FastAPI says where a fault is. */
function pathOf(value: unknown): string {
  const { loc } = (typeof value === "object" && value !== null ? value : {}) as { readonly loc?: unknown };
  return Array.isArray(loc) ? `${loc.join(".")}: ` : "";
}

/** Control and format characters, among them those that turn the direction of text, and lone surrogates. */
const unprintable = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Foreign text on one line: white space is one space, what cannot be seen is escaped, and it is cut. */
export function oneLine(text: string): string {
  const line = text
    .slice(0, maxWords * 4)
    .replaceAll(/\s+/g, " ")
    .trim()
    .replaceAll(unprintable, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`);
  return line.length > maxWords ? `${line.slice(0, maxWords - 1)}…` : line;
}

/** Headers whose values are no secrets. */
const open = new Set(["content-type", "user-agent", "accept", "accept-encoding"]);

/** The words without what was sent in headers: a server may repeat a key. */
export function withoutSecrets(words: string, headers: Readonly<Record<string, string>>): string {
  let shown = words;
  for (const [name, value] of Object.entries(headers)) {
    if (open.has(name.toLowerCase()) || name.toLowerCase().startsWith("x-fakeai-")) continue;
    for (const secret of [value, value.replace(/^\w+ /, "")]) if (secret.length >= 6) shown = shown.replaceAll(secret, "***");
  }
  return shown;
}
