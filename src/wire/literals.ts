/**
 * Integers and strings as HPACK and QPACK write them (RFC 7541, sections 5.1 and 5.2; RFC 9204, section 4.1). Strings are octets, one
 * for each character (latin1).
 */
import { HpackError } from "./h2/hpack-error.ts";
import { huffmanDecode, huffmanEncode, huffmanLength } from "./h2/huffman.ts";

/** An integer goes on for at most this many bytes: enough for 32 bits (section 5.1 leaves the limit to us). */
const integerBytes = 5;
/** Bytes that an integer takes at most. */
export const mostIntegerBytes: number = 1 + integerBytes;

/** Reads what lies between two places of a buffer. Every method throws HpackError. */
export class LiteralReader {
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;

  begin(bytes: Buffer, start: number, end: number): void {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#end;
  }

  /** The next byte, which stays; 0 at the end. */
  get next(): number {
    return this.#at < this.#end ? this.#bytes[this.#at]! : 0;
  }

  /** An integer behind the highest bits of a byte: its prefix has so many of the lowest. */
  integer(prefixBits: number): number {
    const mask = 2 ** prefixBits - 1;
    let value = this.#byte() & mask;
    if (value < mask) return value;
    for (let i = 0; i < integerBytes; i++) {
      const byte = this.#byte();
      value += (byte & 0x7f) * 128 ** i;
      if (value > 0xffff_ffff) break;
      if ((byte & 0x80) === 0) return value;
    }
    throw new HpackError("integer too large");
  }

  /** A string whose length has such a prefix. The bit above the prefix says that the octets are Huffman coded. */
  string(prefixBits: number): string {
    const isCoded = (this.next & (1 << prefixBits)) !== 0;
    const length = this.integer(prefixBits);
    const from = this.#at;
    if (from + length > this.#end) throw new HpackError("ends too early");
    this.#at = from + length;
    return isCoded ? huffmanDecode(this.#bytes, from, this.#at) : this.#bytes.toString("latin1", from, this.#at);
  }

  #byte(): number {
    if (this.#at >= this.#end) throw new HpackError("ends too early");
    return this.#bytes[this.#at++]!;
  }
}

/** Hot path. Puts an integer at `at`, behind `flags` in the bits above its prefix. Returns where it ends. */
export function putInteger(into: Uint8Array, at: number, flags: number, prefixBits: number, value: number): number {
  let to = at;
  const mask = (1 << prefixBits) - 1;
  if (value < mask) {
    into[to++] = flags | value;
    return to;
  }
  into[to++] = flags | mask;
  let rest = value - mask;
  for (; rest >= 128; rest = Math.floor(rest / 128)) into[to++] = (rest & 0x7f) | 0x80;
  into[to++] = rest;
  return to;
}

/** Puts a string, Huffman coded where that is shorter. `mostIntegerBytes` and its length must be free. Returns where it ends. */
export function putString(into: Buffer, at: number, flags: number, prefixBits: number, text: string): number {
  const coded = huffmanLength(text);
  const isCoded = coded < text.length;
  const length = isCoded ? coded : text.length;
  const to = putInteger(into, at, flags | (isCoded ? 1 << prefixBits : 0), prefixBits, length);
  if (isCoded) huffmanEncode(text, into, to);
  else into.write(text, to, "latin1");
  return to + length;
}
