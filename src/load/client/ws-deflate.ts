/** Messages of WebSocket, compressed (permessage-deflate, RFC 7692), by node's zlib: one message after the other, in its threads. */
import { constants, createDeflateRaw, createInflateRaw, type DeflateRaw, type InflateRaw } from "node:zlib";
import { maxMessageBytes } from "../../wire/websocket.ts";
import { ConnectError } from "./connection.ts";

const extensionName = "permessage-deflate";
/** What Codex, the agents SDK for Python and browsers offer. */
export const deflateOffer: string = `${extensionName}; client_max_window_bits`;

/** Ends a block: it is left out on the wire (RFC 7692, section 7.2.1). */
const tail = Buffer.from([0, 0, 0xff, 0xff]);
const parameterNames: ReadonlySet<string> = new Set([
  "client_max_window_bits",
  "server_max_window_bits",
  "client_no_context_takeover",
  "server_no_context_takeover",
]);

/** Messages below this many bytes are sent as they are, as the package ws does: compressed they are hardly smaller. */
const threshold = 1024;
const largestWindowBits = 15;
/** zlib makes no raw stream with less. */
const leastWindowBits = 9;

/** Told in the order of the messages. `bytes` null: they are no compressed message. Valid during the call. */
type OnPlain = (bytes: Buffer | null, start: number, end: number) => void;

/** Steps that are done one after the other. */
class Steps {
  readonly #waiting: ((done: () => void) => void)[] = [];
  #busy = false;

  get isEmpty(): boolean {
    return !this.#busy;
  }

  add(step: (done: () => void) => void): void {
    this.#waiting.push(step);
    if (!this.#busy) this.#next();
  }

  #next(): void {
    const step = this.#waiting.shift();
    this.#busy = step !== undefined;
    step?.(() => this.#next());
  }
}

export class MessageDeflate {
  readonly #inflate: InflateRaw = createInflateRaw({ windowBits: largestWindowBits });
  readonly #deflate: DeflateRaw | null;
  readonly #forgets: boolean;
  readonly #received = new Steps();
  readonly #sent = new Steps();
  #plain: Buffer[] = [];
  #plainBytes = 0;
  #packed: Buffer[] = [];
  /** The message that is being read. */
  #onPlain: ((bytes: Buffer | null) => void) | null = null;

  /** `windowBits`: of what we send; `forgets`: each message is compressed by itself. */
  constructor(windowBits: number, forgets: boolean) {
    this.#forgets = forgets;
    this.#deflate = windowBits < leastWindowBits ? null : createDeflateRaw({ windowBits });
    this.#deflate?.on("data", (bytes: Buffer) => this.#packed.push(bytes));
    this.#inflate.on("data", (bytes: Buffer) => {
      this.#plainBytes += bytes.length;
      if (this.#plainBytes > maxMessageBytes) this.#settle(null);
      else this.#plain.push(bytes);
    });
    this.#inflate.on("error", () => this.#settle(null));
  }

  /** `onPlain` may be called at once, for a message that is not compressed. */
  decompress(bytes: Buffer, start: number, end: number, isCompressed: boolean, onPlain: OnPlain): void {
    if (!isCompressed && this.#received.isEmpty) return onPlain(bytes, start, end);
    const copy = Buffer.from(bytes.subarray(start, end));
    this.#received.add((done) => {
      if (!isCompressed) {
        onPlain(copy, 0, copy.length);
        return done();
      }
      this.#onPlain = (plain) => {
        onPlain(plain, 0, plain?.length ?? 0);
        done();
      };
      this.#inflate.write(copy);
      this.#inflate.write(tail);
      this.#inflate.flush(() => this.#settle(Buffer.concat(this.#plain)));
    });
  }

  #settle(plain: Buffer | null): void {
    const onPlain = this.#onPlain;
    this.#onPlain = null;
    this.#plain = [];
    this.#plainBytes = 0;
    onPlain?.(plain);
  }

  /** Calls back in the order of the messages; at once for one that is sent as it is. */
  compress(message: Buffer, onPacked: (bytes: Buffer, isCompressed: boolean) => void): void {
    const deflate = this.#deflate;
    const isPlain = deflate === null || message.length < threshold;
    if (isPlain && this.#sent.isEmpty) return onPacked(message, false);
    this.#sent.add((done) => {
      if (isPlain) {
        onPacked(message, false);
        return done();
      }
      deflate.write(message);
      deflate.flush(constants.Z_SYNC_FLUSH, () => {
        const packed = Buffer.concat(this.#packed);
        this.#packed = [];
        if (this.#forgets) deflate.reset();
        onPacked(packed.subarray(0, packed.length - tail.length), true);
        done();
      });
    });
  }

  close(): void {
    this.#onPlain = null;
    this.#inflate.close();
    this.#deflate?.close();
  }
}

/** What a server has agreed to (RFC 7692, section 7.1); null: nothing is compressed. Throws ConnectError for what was not offered. */
export function agreedDeflate(answer: string, isOffered: boolean): MessageDeflate | null {
  if (answer === "" && isOffered)
    throw new ConnectError("the server compresses nothing (permessage-deflate was asked for)", "wrong protocol", true);
  if (answer === "") return null;
  const [name, ...parameters] = answer.split(";").map((part) => part.trim());
  const values = new Map(
    parameters.map((parameter): [string, string] => {
      const [key, value = ""] = parameter.split("=");
      return [key!, value.replaceAll('"', "")];
    }),
  );
  const windowBits = Number(values.get("client_max_window_bits") ?? largestWindowBits);
  const isKnown = [...values.keys()].every((key) => parameterNames.has(key));
  if (!isOffered || name !== extensionName || !isKnown || !(windowBits >= 8 && windowBits <= largestWindowBits))
    throw new ConnectError("the server chose an extension of WebSocket that was not offered", "wrong protocol", true);
  return new MessageDeflate(windowBits, values.has("client_no_context_takeover"));
}
