/** Heads of requests: the fields of a header block, and whether they make a request (RFC 9113, sections 8.2 and 8.3). */
import { ownHeaderPrefix } from "../../core/seams.ts";
import { sizeOf } from "../../wire/h2/header-table.ts";
import { isFieldName, isOfHttp1, isToken, pseudoFields } from "../fields.ts";
import { mostFields } from "../multiplexed.ts";
import { noPriority, parsePriority, type Priority } from "./priority.ts";

/** The head of a request. Nothing changes it: requests whose blocks are equal byte by byte share one. */
export interface RequestHead {
  readonly method: string;
  /** ":path" up to the "?", and behind it. */
  readonly path: string;
  readonly query: string;
  /** undefined: there is none. */
  readonly authority: string | undefined;
  /** By name in lower case; of several fields of one name all values, with commas, or semicolons in `cookie` (section 8.2.3). */
  readonly fields: ReadonlyMap<string, string>;
  readonly ownHeaders: readonly string[];
  /** null: not announced. */
  readonly contentLength: number | null;
  readonly priority: Priority;
  /** The size of the list as RFC 9113, section 6.5.2 counts it. */
  readonly bytes: number;
}

/** Why a block is no request: "malformed" is a stream error (section 8.1.1), "too-many" one of our own bounds. */
export type HeadFault = "malformed" | "too-many";

/** Section 8.2.1, and no other control characters than tabs (RFC 9110, section 5.5). */
function isValue(value: string): boolean {
  for (let at = 0; at < value.length; at++) {
    const code = value.charCodeAt(at);
    if ((code < 32 && code !== 9) || code === 127) return false;
  }
  const last = value.length - 1;
  return last < 0 || (!isSpace(value.charCodeAt(0)) && !isSpace(value.charCodeAt(last)));
}

const isSpace = (code: number): boolean => code === 32 || code === 9;

/** What a pseudo-header may hold: a space in one splits the request line of a gateway that passes it on as HTTP/1.1 (section 10.3). */
const isPseudoValue = (value: string): boolean => isValue(value) && !value.includes(" ") && !value.includes("\t");

const noNames: readonly string[] = [];

/** Takes the fields of one block after the other. */
export class HeadReader {
  #pseudo = new Map<string, string>();
  #fields = new Map<string, string>();
  #own: string[] | null = null;
  #count = 0;
  #bytes = 0;
  #fault: HeadFault | null = null;

  /** Before a block. */
  begin(): void {
    this.#pseudo = new Map();
    this.#fields = new Map();
    this.#own = null;
    this.#count = 0;
    this.#bytes = 0;
    this.#fault = null;
  }

  /** One field. All of a block have to be decoded; those beyond the bound are not kept. */
  readonly onField = (name: string, value: string): void => {
    this.#bytes += sizeOf(name, value);
    if (++this.#count > mostFields) this.#fault = "too-many";
    if (this.#fault !== null) return;
    if (name.charCodeAt(0) === 58) this.#addPseudo(name, value);
    else this.#add(name, value);
  };

  #addPseudo(name: string, value: string): void {
    // They stand before all others, and each once (section 8.3).
    const fits = this.#fields.size === 0 && pseudoFields.has(name) && !this.#pseudo.has(name) && isPseudoValue(value);
    if (fits) this.#pseudo.set(name, value);
    else this.#fault = "malformed";
  }

  #add(name: string, value: string): void {
    if (isOfHttp1(name, value) || !isFieldName(name) || !isValue(value)) {
      this.#fault = "malformed";
      return;
    }
    const before = this.#fields.get(name);
    if (name.startsWith(ownHeaderPrefix)) (this.#own ??= []).push(name);
    if (before === undefined) {
      this.#fields.set(name, value);
    } else if (name === "content-length") {
      if (before !== value) this.#fault = "malformed";
    } else if (name === "host") {
      this.#fault = "malformed";
    } else {
      this.#fields.set(name, `${before}${name === "cookie" ? "; " : ", "}${value}`);
    }
  }

  /** The request that the block makes, or why it makes none. */
  finish(): RequestHead | HeadFault {
    if (this.#fault !== null) return this.#fault;
    const method = this.#pseudo.get(":method");
    const target = this.#pseudo.get(":path");
    const length = this.#fields.get("content-length");
    if (method === undefined || !isToken(method)) return "malformed";
    const hasScheme = this.#pseudo.has(":scheme");
    if (method === "CONNECT") {
      // Section 8.5.
      if (hasScheme || target !== undefined || !this.#pseudo.has(":authority")) return "malformed";
    } else if (!hasScheme || target === undefined || !(target.startsWith("/") || (target === "*" && method === "OPTIONS"))) {
      return "malformed";
    }
    if (length !== undefined && !/^\d{1,15}$/.test(length)) return "malformed";
    const text = target ?? "/";
    const question = text.indexOf("?");
    const priority = this.#fields.get("priority");
    return {
      method,
      path: question < 0 ? text : text.slice(0, question),
      query: question < 0 ? "" : text.slice(question + 1),
      authority: this.#pseudo.get(":authority"),
      fields: this.#fields,
      ownHeaders: this.#own ?? noNames,
      contentLength: length === undefined ? null : Number(length),
      priority: priority === undefined ? noPriority : (parsePriority(priority) ?? noPriority),
      bytes: this.#bytes,
    };
  }

  /** Whether the block may end a request: no pseudo-headers (section 8.1). Its fields have no meaning here. */
  get isTrailers(): boolean {
    return this.#fault === null && this.#pseudo.size === 0;
  }
}
