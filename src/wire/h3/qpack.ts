/**
 * QPACK (RFC 9204) without a dynamic table: both ends of ours announce a capacity of 0, so that no field section waits for another
 * stream. Names and values are octets, one for each character (latin1).
 */
import { HpackError } from "../h2/hpack-error.ts";
import { huffmanDecode, huffmanEncode, huffmanLength } from "../h2/huffman.ts";

/** A field section that breaks RFC 9204: QPACK_DECOMPRESSION_FAILED of the connection. */
export class QpackError extends Error {}

export type Field = readonly [name: string, value: string];

/** What a field counts beside its octets in SETTINGS_MAX_FIELD_SECTION_SIZE (RFC 9114, section 4.2.2). */
const fieldOverhead = 32;
/** An integer goes on for at most this many bytes: enough for 32 bits. */
const integerBytes = 5;

/** Appendix A, from index 0. */
const staticTable: readonly Field[] = [
  [":authority", ""],
  [":path", "/"],
  ["age", "0"],
  ["content-disposition", ""],
  ["content-length", "0"],
  ["cookie", ""],
  ["date", ""],
  ["etag", ""],
  ["if-modified-since", ""],
  ["if-none-match", ""],
  ["last-modified", ""],
  ["link", ""],
  ["location", ""],
  ["referer", ""],
  ["set-cookie", ""],
  [":method", "CONNECT"],
  [":method", "DELETE"],
  [":method", "GET"],
  [":method", "HEAD"],
  [":method", "OPTIONS"],
  [":method", "POST"],
  [":method", "PUT"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "103"],
  [":status", "200"],
  [":status", "304"],
  [":status", "404"],
  [":status", "503"],
  ["accept", "*/*"],
  ["accept", "application/dns-message"],
  ["accept-encoding", "gzip, deflate, br"],
  ["accept-ranges", "bytes"],
  ["access-control-allow-headers", "cache-control"],
  ["access-control-allow-headers", "content-type"],
  ["access-control-allow-origin", "*"],
  ["cache-control", "max-age=0"],
  ["cache-control", "max-age=2592000"],
  ["cache-control", "max-age=604800"],
  ["cache-control", "no-cache"],
  ["cache-control", "no-store"],
  ["cache-control", "public, max-age=31536000"],
  ["content-encoding", "br"],
  ["content-encoding", "gzip"],
  ["content-type", "application/dns-message"],
  ["content-type", "application/javascript"],
  ["content-type", "application/json"],
  ["content-type", "application/x-www-form-urlencoded"],
  ["content-type", "image/gif"],
  ["content-type", "image/jpeg"],
  ["content-type", "image/png"],
  ["content-type", "text/css"],
  ["content-type", "text/html; charset=utf-8"],
  ["content-type", "text/plain"],
  ["content-type", "text/plain;charset=utf-8"],
  ["range", "bytes=0-"],
  ["strict-transport-security", "max-age=31536000"],
  ["strict-transport-security", "max-age=31536000; includesubdomains"],
  ["strict-transport-security", "max-age=31536000; includesubdomains; preload"],
  ["vary", "accept-encoding"],
  ["vary", "origin"],
  ["x-content-type-options", "nosniff"],
  ["x-xss-protection", "1; mode=block"],
  [":status", "100"],
  [":status", "204"],
  [":status", "206"],
  [":status", "302"],
  [":status", "400"],
  [":status", "403"],
  [":status", "421"],
  [":status", "425"],
  [":status", "500"],
  ["accept-language", ""],
  ["access-control-allow-credentials", "FALSE"],
  ["access-control-allow-credentials", "TRUE"],
  ["access-control-allow-headers", "*"],
  ["access-control-allow-methods", "get"],
  ["access-control-allow-methods", "get, post, options"],
  ["access-control-allow-methods", "options"],
  ["access-control-expose-headers", "content-length"],
  ["access-control-request-headers", "content-type"],
  ["access-control-request-method", "get"],
  ["access-control-request-method", "post"],
  ["alt-svc", "clear"],
  ["authorization", ""],
  ["content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"],
  ["early-data", "1"],
  ["expect-ct", ""],
  ["forwarded", ""],
  ["if-range", ""],
  ["origin", ""],
  ["purpose", "prefetch"],
  ["server", ""],
  ["timing-allow-origin", "*"],
  ["upgrade-insecure-requests", "1"],
  ["user-agent", ""],
  ["x-forwarded-for", ""],
  ["x-frame-options", "deny"],
  ["x-frame-options", "sameorigin"],
];

/** The first index of each name, and of each whole field. */
const byName = new Map<string, number>();
const byField = new Map<string, number>();
for (const [index, [name, value]] of staticTable.entries()) {
  if (!byName.has(name)) byName.set(name, index);
  byField.set(`${name}\n${value}`, index);
}

/**
 * Tells of each field of the section between `start` and `end`, until the next would make its size pass `maxBytes`: a byte of a
 * section can stand for 100 of fields. Returns whether all were told. Throws QpackError.
 */
export function decodeFields(
  bytes: Buffer,
  start: number,
  end: number,
  maxBytes: number,
  onField: (name: string, value: string) => void,
): boolean {
  try {
    return new Section(bytes, start, end).read(maxBytes, onField);
  } catch (error) {
    if (error instanceof HpackError) throw new QpackError(error.message);
    throw error;
  }
}

/** A field section that is being decoded. */
class Section {
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(bytes: Buffer, start: number, end: number) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  read(maxBytes: number, onField: (name: string, value: string) => void): boolean {
    // Required Insert Count and Base (section 4.5.1) say how much of the dynamic table is meant.
    if (this.#readInteger(8) !== 0) throw new QpackError("a reference to a table that there is none of");
    this.#readInteger(7);
    let size = 0;
    while (this.#at < this.#end) {
      const [name, value] = this.#readField(this.#bytes[this.#at]!);
      size += name.length + value.length + fieldOverhead;
      if (size > maxBytes) return false;
      onField(name, value);
    }
    return true;
  }

  /** Section 4.5.2 to 4.5.6, by the highest bits. */
  #readField(first: number): Field {
    if (first & 0x80) {
      if ((first & 0x40) === 0) throw new QpackError("an entry of the dynamic table");
      return entry(this.#readInteger(6));
    }
    if (first & 0x40) {
      if ((first & 0x10) === 0) throw new QpackError("a name of the dynamic table");
      const [name] = entry(this.#readInteger(4));
      return [name, this.#readString(7)];
    }
    if (first & 0x20) {
      const name = this.#readString(3);
      return [name, this.#readString(7)];
    }
    throw new QpackError("an entry behind the base of the dynamic table");
  }

  /** RFC 7541, section 5.1. */
  #readInteger(prefixBits: number): number {
    const mask = 2 ** prefixBits - 1;
    let value = this.#readByte() & mask;
    if (value < mask) return value;
    for (let i = 0; i < integerBytes; i++) {
      const byte = this.#readByte();
      value += (byte & 0x7f) * 128 ** i;
      if (value > 0xffff_ffff) break;
      if ((byte & 0x80) === 0) return value;
    }
    throw new QpackError("integer too large");
  }

  #readByte(): number {
    if (this.#at >= this.#end) throw new QpackError("section ends too early");
    return this.#bytes[this.#at++]!;
  }

  /** RFC 7541, section 5.2, behind a prefix of any length: the bit above the length says that the octets are Huffman coded. */
  #readString(prefixBits: number): string {
    const isCoded = this.#at < this.#end && (this.#bytes[this.#at]! & (1 << prefixBits)) !== 0;
    const length = this.#readInteger(prefixBits);
    const from = this.#at;
    if (from + length > this.#end) throw new QpackError("section ends too early");
    this.#at = from + length;
    return isCoded ? huffmanDecode(this.#bytes, from, this.#at) : this.#bytes.toString("latin1", from, this.#at);
  }
}

function entry(index: number): Field {
  const field = staticTable[index];
  if (field === undefined) throw new QpackError("no such entry");
  return field;
}

/** A field section of these fields, names in lower case. */
export function encodeFields(fields: Iterable<Field>): Buffer {
  let into = Buffer.allocUnsafe(1024);
  // Required Insert Count 0, Base 0.
  into[0] = 0;
  into[1] = 0;
  let to = 2;
  for (const [name, value] of fields) {
    const most = to + name.length + value.length + 4 * (integerBytes + 1);
    if (most > into.length) into = Buffer.concat([into.subarray(0, to)], most * 2);
    const whole = byField.get(`${name}\n${value}`);
    const named = byName.get(name);
    if (whole !== undefined) {
      to = putInteger(into, to, 0xc0, 6, whole);
      continue;
    }
    if (named === undefined) to = putString(into, to, 0x20, 3, name);
    else to = putInteger(into, to, 0x50, 4, named);
    to = putString(into, to, 0, 7, value);
  }
  return Buffer.from(into.subarray(0, to));
}

function putInteger(into: Uint8Array, start: number, flags: number, prefixBits: number, value: number): number {
  let to = start;
  const mask = 2 ** prefixBits - 1;
  into[to++] = flags | Math.min(value, mask);
  if (value < mask) return to;
  let rest = value - mask;
  for (; rest >= 128; rest = Math.floor(rest / 128)) into[to++] = (rest & 0x7f) | 0x80;
  into[to++] = rest;
  return to;
}

/** Huffman coded where that is shorter. */
function putString(into: Buffer, start: number, flags: number, prefixBits: number, text: string): number {
  const coded = huffmanLength(text);
  const isCoded = coded < text.length;
  const length = isCoded ? coded : text.length;
  const to = putInteger(into, start, flags | (isCoded ? 1 << prefixBits : 0), prefixBits, length);
  if (isCoded) huffmanEncode(text, into, to);
  else into.write(text, to, "latin1");
  return to + length;
}
