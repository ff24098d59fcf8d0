/** Which recorded call answers a request: the same method, path, query and body, secrets and members that are to be ignored aside. */
import { createHash, type Hash } from "node:crypto";
import { bytesOf, type TapeCall } from "./form.ts";
import { isSecretMember, keptQuery } from "./redact.ts";

/** A request, as far as it is matched. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly query: string;
  /** Its JSON, or its bytes where it holds none. */
  readonly body: unknown;
}

/** Writes a value into a hash: members in order of their names, so that two bodies that mean the same are the same. */
function write(hash: Hash, value: unknown, ignored: ReadonlySet<string>, isTop: boolean): void {
  if (typeof value !== "object" || value === null) {
    hash.update(JSON.stringify(value) ?? "null");
    return;
  }
  if (value instanceof Uint8Array) {
    hash.update("bytes ").update(value);
    return;
  }
  if (Array.isArray(value)) {
    hash.update("[");
    for (const part of value as readonly unknown[]) {
      write(hash, part, ignored, false);
      hash.update(",");
    }
    hash.update("]");
    return;
  }
  hash.update("{");
  for (const name of Object.keys(value).sort()) {
    if (isTop && ignored.has(name)) continue;
    const part = (value as Readonly<Record<string, unknown>>)[name];
    hash.update(`${JSON.stringify(name)}:`);
    // A tape does not hold it.
    if (typeof part === "string" && isSecretMember(name)) hash.update("secret");
    else write(hash, part, ignored, false);
    hash.update(",");
  }
  hash.update("}");
}

const decoder = new TextDecoder("utf-8", { fatal: true });

/** The JSON of a body, or its bytes. */
export function bodyValue(bytes: Uint8Array): unknown {
  if (bytes.length === 0) return null;
  try {
    return JSON.parse(decoder.decode(bytes));
  } catch {
    return new Uint8Array(bytes);
  }
}

/** Calls that answer the same request, each in its turn, and from the start again after the last. */
interface Sequence {
  readonly calls: readonly number[];
  next: number;
}

export class TapeIndex {
  readonly #ignored: ReadonlySet<string>;
  readonly #sequences = new Map<string, Sequence>();
  readonly #calls: readonly TapeCall[];

  /** `ignored`: members of a body's top level that may differ. */
  constructor(calls: readonly TapeCall[], ignored: readonly string[] = []) {
    this.#calls = calls;
    this.#ignored = new Set(ignored);
    for (const [index, { request }] of calls.entries()) {
      const key = this.#keyOf({ ...request, body: request.body === null ? null : bodyValue(bytesOf(request.body)) });
      const known = this.#sequences.get(key);
      this.#sequences.set(key, { calls: [...(known?.calls ?? []), index], next: 0 });
    }
  }

  /** Requests that several calls answer: which comes next is counted. */
  get sequences(): number {
    return [...this.#sequences.values()].filter(({ calls }) => calls.length > 1).length;
  }

  /** The index of the call that answers a request; -1: none does. `named`: the number of the call that has to; null: any whose turn it is. */
  take(asked: Asked, named: number | null = null): number {
    const sequence = this.#sequences.get(this.#keyOf(asked));
    if (sequence === undefined) return -1;
    if (named !== null) return sequence.calls.find((index) => this.#calls[index]!.call === named) ?? -1;
    const index = sequence.calls[sequence.next % sequence.calls.length]!;
    sequence.next++;
    return index;
  }

  /** In one sentence what is there instead of what was asked for. */
  describeNearest({ method, path, query, body }: Asked): string {
    const own = this.#calls.filter(({ request }) => request.method === method && request.path === path);
    if (own.length === 0) {
      const there = [...new Set(this.#calls.map(({ request }) => `${request.method} ${request.path}`))];
      return `the tape has calls of ${there.slice(0, 5).join(", ")}${there.length > 5 ? ", ..." : ""}`;
    }
    const many = own.length === 1 ? "the one recorded call" : `${own.length} recorded calls`;
    const sameQuery = own.filter(({ request }) => keptQuery(request.query) === keptQuery(query));
    if (sameQuery.length === 0) return `${many} of it had another query`;
    // Comparing takes time that other streams wait for.
    const comparable = sameQuery.filter(({ request }) => sizeOf(request.body) <= mostComparedBytes).slice(-mostCompared);
    if (comparable.length === 0 || !isSmall(body)) return `none of ${many} of it has this body`;
    const differences = comparable.map(({ request }) =>
      difference(body, request.body === null ? null : bodyValue(bytesOf(request.body)), "", this.#ignored),
    );
    const furthest = differences.reduce((one, other) => (depthOf(other) > depthOf(one) ? other : one));
    return `of ${many} of it the nearest differs at ${furthest === "" ? "the body" : furthest}`;
  }

  #keyOf({ method, path, query, body }: Asked): string {
    const hash = createHash("sha256");
    hash.update(`${method} ${path}?${keptQuery(query)}\n`);
    write(hash, body, this.#ignored, true);
    return hash.digest("base64");
  }
}

/** Recorded calls that are looked at for what differs, the latest ones, and the bytes of a body that may be. */
const mostCompared = 8;
const mostComparedBytes = 65_536;

function sizeOf(body: TapeCall["request"]["body"]): number {
  return body === null ? 0 : (body.text ?? body.base64 ?? "").length;
}

function isSmall(body: unknown): boolean {
  return body instanceof Uint8Array ? body.length <= mostComparedBytes : (JSON.stringify(body) ?? "").length <= mostComparedBytes;
}

const depthOf = (path: string): number => path.split(/[.[]/).length;

/** Where two values differ first, as programs write it: messages[1].content. "": they are the same, or differ as a whole. */
function difference(one: unknown, other: unknown, at: string, ignored: ReadonlySet<string>): string {
  if (Array.isArray(one) && Array.isArray(other)) {
    for (let index = 0; index < Math.max(one.length, other.length); index++) {
      const inside = `${at}[${index}]`;
      if (index >= one.length || index >= other.length) return inside;
      if (isSame(one[index], other[index])) continue;
      return difference(one[index], other[index], inside, ignored);
    }
    return at;
  }
  if (isObject(one) && isObject(other)) {
    for (const name of new Set([...Object.keys(one), ...Object.keys(other)])) {
      if (at === "" && ignored.has(name)) continue;
      if (typeof one[name] === "string" && typeof other[name] === "string" && isSecretMember(name)) continue;
      if (isSame(one[name], other[name])) continue;
      const shown = /^[\w-]{1,60}$/.test(name) ? name : "a member";
      return difference(one[name], other[name], at === "" ? shown : `${at}.${shown}`, ignored);
    }
  }
  return at;
}

function isSame(one: unknown, other: unknown): boolean {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Uint8Array);
}
