/**
 * What a faulty gateway makes of the answers on one HTTP/1.1 connection: event streams (WHATWG HTML, section 9.2) in the chunked
 * coding (RFC 9112, section 7.1) are cut into events, and these are left out, repeated, changed in order or gathered. All other
 * answers pass as they are. Each piece that goes on is a chunk of its own. Knows no sockets.
 */
import { Random, type Seed, seedOfRequest } from "../core/random/random.ts";
import { ChunkedReader } from "../wire/chunked.ts";
import type { Plant } from "./plant.ts";

/** Numbers of the random streams at one event. */
const draws = { lose: 111, repeat: 112, reorder: 113 } as const;

const headEnd = Buffer.from("\r\n\r\n");
const lastChunk = Buffer.from("0\r\n\r\n");
/** A head, or an event, that is longer is no model server's. */
const mostHeldBytes = 4_194_304;

type State = "head" | "counted" | "chunked" | "events" | "rest";

export class Tamper {
  readonly #plant: Plant;
  readonly #seed: Seed;
  readonly #pass: (bytes: Buffer) => void;
  #state: State = "head";
  #head: Buffer = Buffer.alloc(0);
  /** Bytes that a counted body still has. */
  #left = 0;
  readonly #chunks = new ChunkedReader((bytes, start, end) => this.#onBody(bytes, start, end));
  #text = "";
  /** Events since the connection began: with the seed they decide what happens to each. */
  #events = 0;
  #held: string[] = [];
  #late: string | null = null;

  /** `pass` gets what goes on to the client. */
  constructor(plant: Plant, seed: Seed, pass: (bytes: Buffer) => void) {
    this.#plant = plant;
    this.#seed = seed;
    this.#pass = pass;
  }

  /** Takes bytes of the server. false: they are not HTTP/1.1, and nothing can be planted. */
  take(bytes: Buffer): boolean {
    let at = 0;
    while (at < bytes.length) {
      if (this.#state === "head") {
        const next = this.#takeHead(bytes, at);
        if (next === null) return false;
        at = next;
      } else if (this.#state === "rest") {
        this.#pass(bytes.subarray(at));
        return true;
      } else if (this.#state === "counted") {
        const to = Math.min(bytes.length, at + this.#left);
        this.#left -= to - at;
        this.#pass(bytes.subarray(at, to));
        if (this.#left === 0) this.#state = "head";
        at = to;
      } else {
        const from = at;
        at = this.#chunks.read(bytes, at, bytes.length);
        if (this.#chunks.isMalformed) return false;
        if (this.#state === "chunked") this.#pass(bytes.subarray(from, at));
        if (this.#chunks.isDone) this.#endBody();
      }
    }
    return true;
  }

  /** The server has ended the connection: what is held goes out. */
  end(): void {
    if (this.#state === "events") this.#release();
    if (this.#head.length > 0) this.#pass(this.#head);
    this.#head = Buffer.alloc(0);
  }

  /** Reads a head, or a part of one. Where the body begins, or null for what is no answer of HTTP/1.1. */
  #takeHead(bytes: Buffer, start: number): number | null {
    const before = this.#head.length;
    this.#head = Buffer.concat([this.#head, bytes.subarray(start)]);
    const end = this.#head.indexOf(headEnd);
    const begin = this.#head.toString("latin1", 0, Math.min(7, this.#head.length));
    if (!"HTTP/1.".startsWith(begin) || this.#head.length > mostHeldBytes) return null;
    if (end < 0) return bytes.length;
    const head = this.#head.subarray(0, end + headEnd.length);
    this.#head = Buffer.alloc(0);
    this.#begin(head.toString("latin1"));
    this.#pass(head);
    return start + head.length - before;
  }

  #begin(head: string): void {
    const field = (name: string): string => new RegExp(`\\r\\n${name}:[ \\t]*([^\\r\\n]*)`, "i").exec(head)?.[1]?.toLowerCase() ?? "";
    const status = Number(head.slice(9, 12));
    this.#chunks.reset();
    this.#left = Number(field("content-length") || 0);
    if (status < 200 || status === 204 || status === 304) this.#state = "head";
    else if (field("transfer-encoding").includes("chunked"))
      this.#state = field("content-type").includes("event-stream") ? "events" : "chunked";
    else if (field("content-length") !== "") this.#state = this.#left > 0 ? "counted" : "head";
    else this.#state = "rest";
  }

  #onBody(bytes: Buffer, start: number, end: number): void {
    if (this.#state !== "events") return;
    this.#text += bytes.toString("latin1", start, end);
    for (;;) {
      const match = /\r?\n\r?\n/.exec(this.#text);
      if (match === null) break;
      const to = match.index + match[0].length;
      this.#onEvent(this.#text.slice(0, to));
      this.#text = this.#text.slice(to);
    }
    if (this.#text.length > mostHeldBytes) this.#release();
  }

  #onEvent(event: string): void {
    // Empty lines between events say nothing.
    if (event.trim() === "") return this.#send(event);
    const { lose, repeat, reorder } = this.#plant;
    const at = this.#events++;
    const meets = (share: number, stream: number): boolean => share > 0 && new Random(seedOfRequest(this.#seed, at), stream).unit() < share;
    if (meets(lose, draws.lose)) return;
    if (this.#late === null && meets(reorder, draws.reorder)) {
      this.#late = event;
      return;
    }
    this.#send(event);
    if (meets(repeat, draws.repeat)) this.#send(event);
    if (this.#late !== null) this.#send(this.#late);
    this.#late = null;
  }

  /** Passes a piece on, or holds it until there are as many as are let out together. */
  #send(piece: string): void {
    this.#held.push(piece);
    if (this.#held.filter((one) => one.trim() !== "").length >= this.#plant.buffer) this.#flush();
  }

  #flush(): void {
    const text = this.#held.join("");
    this.#held = [];
    if (text === "") return;
    this.#pass(Buffer.from(`${text.length.toString(16)}\r\n${text}\r\n`, "latin1"));
  }

  #release(): void {
    if (this.#late !== null) this.#held.push(this.#late);
    this.#late = null;
    this.#held.push(this.#text);
    this.#text = "";
    this.#flush();
  }

  #endBody(): void {
    if (this.#state === "events") {
      this.#release();
      this.#pass(lastChunk);
    }
    this.#state = "head";
  }
}
