/**
 * QPACK (RFC 9204) without a dynamic table: both ends of ours announce a capacity of 0, so that no field section waits for another
 * stream. Names and values are octets, one for each character (latin1).
 */
import { HpackError } from "../h2/hpack-error.ts";
import { LiteralReader, mostIntegerBytes, putInteger, putString } from "../literals.ts";

/** A field section that breaks RFC 9204: QPACK_DECOMPRESSION_FAILED of the connection. */
export class QpackError extends Error {}

export type Field = readonly [name: string, value: string];

/** What a field counts beside its octets in SETTINGS_MAX_FIELD_SECTION_SIZE (RFC 9114, section 4.2.2). */
const fieldOverhead = 32;

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
  const section = new LiteralReader();
  section.begin(bytes, start, end);
  try {
    // Required Insert Count and Base (section 4.5.1) say how much of the dynamic table is meant.
    if (section.integer(8) !== 0) throw new QpackError("a reference to a table that there is none of");
    section.integer(7);
    let size = 0;
    while (!section.isAtEnd) {
      const [name, value] = readField(section, section.next);
      size += name.length + value.length + fieldOverhead;
      if (size > maxBytes) return false;
      onField(name, value);
    }
    return true;
  } catch (error) {
    if (error instanceof HpackError) throw new QpackError(error.message);
    throw error;
  }
}

/** Section 4.5.2 to 4.5.6, by the highest bits. */
function readField(section: LiteralReader, first: number): Field {
  if (first & 0x80) {
    if ((first & 0x40) === 0) throw new QpackError("an entry of the dynamic table");
    return entry(section.integer(6));
  }
  if (first & 0x40) {
    if ((first & 0x10) === 0) throw new QpackError("a name of the dynamic table");
    const [name] = entry(section.integer(4));
    return [name, section.string(7)];
  }
  if (first & 0x20) return [section.string(3), section.string(7)];
  throw new QpackError("an entry behind the base of the dynamic table");
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
    const most = to + name.length + value.length + 4 * mostIntegerBytes;
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
