/** HPACK (RFC 7541): header compression of a client, with dynamic tables of 4,096 bytes in both directions. */

/** Bits of each symbol's code, 0 to 255 and EOS (appendix B). The code is canonical: the lengths say all. */
const codeLengths: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10,
  12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
  7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7,
  7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22,
  23, 23, 24, 22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22,
  23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20,
  24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

interface HuffmanCode {
  readonly codes: Uint32Array;
  /** Pairs: child for bit 0 and 1 of each node; a leaf is ~symbol. Node 0 is the root. */
  readonly tree: Int32Array;
}

const huffman: HuffmanCode = (() => {
  const codes = new Uint32Array(257);
  const symbols = [...codeLengths.keys()].sort((a, b) => codeLengths[a]! - codeLengths[b]! || a - b);
  const tree = new Int32Array(2 * 257);
  let code = 0;
  let bits = 0;
  let nodes = 1;
  for (const symbol of symbols) {
    const length = codeLengths[symbol]!;
    code *= 2 ** (length - bits);
    bits = length;
    codes[symbol] = code;
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const at = node * 2 + ((code >>> bit) & 1);
      if (tree[at] === 0) tree[at] = nodes++;
      node = tree[at]!;
    }
    tree[node * 2 + (code & 1)] = ~symbol;
    code++;
  }
  return { codes, tree };
})();

/** Static table (appendix A), from index 1. */
const staticTable: readonly (readonly [string, string])[] = [
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  [":status", "200"],
  [":status", "204"],
  [":status", "206"],
  [":status", "304"],
  [":status", "400"],
  [":status", "404"],
  [":status", "500"],
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ["accept-language", ""],
  ["accept-ranges", ""],
  ["accept", ""],
  ["access-control-allow-origin", ""],
  ["age", ""],
  ["allow", ""],
  ["authorization", ""],
  ["cache-control", ""],
  ["content-disposition", ""],
  ["content-encoding", ""],
  ["content-language", ""],
  ["content-length", ""],
  ["content-location", ""],
  ["content-range", ""],
  ["content-type", ""],
  ["cookie", ""],
  ["date", ""],
  ["etag", ""],
  ["expect", ""],
  ["expires", ""],
  ["from", ""],
  ["host", ""],
  ["if-match", ""],
  ["if-modified-since", ""],
  ["if-none-match", ""],
  ["if-range", ""],
  ["if-unmodified-since", ""],
  ["last-modified", ""],
  ["link", ""],
  ["location", ""],
  ["max-forwards", ""],
  ["proxy-authenticate", ""],
  ["proxy-authorization", ""],
  ["range", ""],
  ["referer", ""],
  ["refresh", ""],
  ["retry-after", ""],
  ["server", ""],
  ["set-cookie", ""],
  ["strict-transport-security", ""],
  ["transfer-encoding", ""],
  ["user-agent", ""],
  ["vary", ""],
  ["via", ""],
  ["www-authenticate", ""],
];

const defaultTableSize = 4096;
/** What an entry counts beside its text (section 4.1). */
const entryOverhead = 32;

/** A header block that breaks the rules; the connection is lost with it, because both tables have come apart. */
export class HpackError extends Error {}

/** Entries, newest last; evicted from the front. */
class DynamicTable {
  readonly entries: (readonly [string, string])[] = [];
  maxSize = defaultTableSize;
  /** Entries ever added: tells whether an index is still what it was. */
  added = 0;
  #size = 0;

  add(name: string, value: string): void {
    this.entries.push([name, value]);
    this.added++;
    this.#size += name.length + value.length + entryOverhead;
    this.#evict();
  }

  resize(maxSize: number): void {
    this.maxSize = maxSize;
    this.#evict();
  }

  #evict(): void {
    while (this.#size > this.maxSize && this.entries.length > 0) {
      const [name, value] = this.entries.shift()!;
      this.#size -= name.length + value.length + entryOverhead;
    }
  }

  /** By HPACK index: static entries from 1, dynamic ones after them, newest first. */
  get(index: number): readonly [string, string] {
    const entry = index <= staticTable.length ? staticTable[index - 1] : this.entries[this.entries.length - (index - staticTable.length)];
    if (entry === undefined) throw new HpackError(`no header ${index}`);
    return entry;
  }
}

/** Decodes header blocks. Every block of a connection must pass through, in order. */
export class HpackDecoder {
  readonly #table = new DynamicTable();
  #bytes: Uint8Array = new Uint8Array();
  #at = 0;
  #end = 0;

  /** Throws HpackError. */
  decode(bytes: Uint8Array, start: number, end: number, onHeader: (name: string, value: string) => void): void {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
    while (this.#at < this.#end) {
      const byte = bytes[this.#at]!;
      if (byte & 0x80) {
        const [name, value] = this.#table.get(this.#integer(7));
        onHeader(name, value);
      } else if ((byte & 0xe0) === 0x20) {
        const size = this.#integer(5);
        if (size > defaultTableSize) throw new HpackError("table size above the limit");
        this.#table.resize(size);
      } else {
        const indexed = (byte & 0xc0) === 0x40;
        const index = this.#integer(indexed ? 6 : 4);
        const name = index === 0 ? this.#string() : this.#table.get(index)[0];
        const value = this.#string();
        if (indexed) this.#table.add(name, value);
        onHeader(name, value);
      }
    }
  }

  /** Section 5.1. */
  #integer(prefixBits: number): number {
    const mask = 2 ** prefixBits - 1;
    let value = this.#byte() & mask;
    if (value < mask) return value;
    let scale = 1;
    let byte: number;
    do {
      byte = this.#byte();
      value += (byte & 0x7f) * scale;
      scale *= 128;
      if (value > 0xffff_ffff) throw new HpackError("integer too large");
    } while (byte & 0x80);
    return value;
  }

  #byte(): number {
    if (this.#at >= this.#end) throw new HpackError("block ends too early");
    return this.#bytes[this.#at++]!;
  }

  #string(): string {
    const coded = this.#at < this.#end && (this.#bytes[this.#at]! & 0x80) !== 0;
    const length = this.#integer(7);
    const from = this.#at;
    if (from + length > this.#end) throw new HpackError("block ends too early");
    this.#at = from + length;
    return coded
      ? huffmanDecode(this.#bytes, from, this.#at)
      : Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + from, length).toString("latin1");
  }
}

function huffmanDecode(bytes: Uint8Array, start: number, end: number): string {
  let text = "";
  let node = 0;
  let padding = 0;
  let ones = true;
  for (let at = start; at < end; at++) {
    for (let bit = 7; bit >= 0; bit--) {
      const value = (bytes[at]! >> bit) & 1;
      const next = huffman.tree[node * 2 + value]!;
      padding++;
      ones &&= value === 1;
      if (next >= 0) {
        node = next;
        continue;
      }
      if (~next === 256) throw new HpackError("EOS in a string");
      text += String.fromCharCode(~next);
      node = 0;
      padding = 0;
      ones = true;
    }
  }
  if (padding > 7 || !ones) throw new HpackError("bad padding");
  return text;
}

/** Encodes header blocks the way nghttp2 does: what changes from request to request is left out of the table. */
export class HpackEncoder {
  readonly #table = new DynamicTable();
  readonly #base: readonly (readonly [string, string])[];
  #resized: number | null = null;
  /** The base headers once they all come from the table, and `added` when that was so. */
  #cached: Buffer | null = null;
  #cachedAt = -1;

  /** `base` are the headers of every request, pseudo headers first, names in lower case. */
  constructor(base: readonly (readonly [string, string])[]) {
    this.#base = base;
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE; never used above the default. */
  limitTable(size: number): void {
    const limit = Math.min(size, defaultTableSize);
    if (limit === this.#table.maxSize) return;
    this.#resized = limit;
    this.#table.resize(limit);
    this.#cached = null;
  }

  /**
   * A block of `:method`, `:path`, the base headers and, where there is a body, its length. `own` are headers of this
   * request alone, in place of base headers of the same name.
   */
  encode(method: string, path: string, bodyLength: number | null, own?: Readonly<Record<string, string>>): Buffer {
    const out: number[] = [];
    if (this.#resized !== null) {
      integer(out, 0x20, 5, this.#resized);
      this.#resized = null;
    }
    this.#field(out, ":method", method, true);
    this.#field(out, ":path", path, false);
    if (own !== undefined) {
      const names = new Set(Object.keys(own));
      for (const [name, value] of this.#base) if (!names.has(name)) this.#field(out, name, value, true);
      for (const [name, value] of Object.entries(own)) this.#field(out, name, value, true);
      if (bodyLength !== null) this.#field(out, "content-length", String(bodyLength), false);
      return Buffer.from(out);
    }
    const front = Buffer.from(out);
    const back: number[] = [];
    if (this.#cached === null || this.#cachedAt !== this.#table.added) {
      const block: number[] = [];
      const before = this.#table.added;
      for (const [name, value] of this.#base) this.#field(block, name, value, true);
      if (bodyLength !== null) this.#field(back, "content-length", String(bodyLength), false);
      const bytes = Buffer.from(block);
      this.#cached = before === this.#table.added ? bytes : null;
      this.#cachedAt = before;
      return Buffer.concat([front, bytes, Buffer.from(back)]);
    }
    if (bodyLength !== null) this.#field(back, "content-length", String(bodyLength), false);
    return Buffer.concat([front, this.#cached, Buffer.from(back)]);
  }

  #field(out: number[], name: string, value: string, indexed: boolean): void {
    const { entries } = this.#table;
    let nameIndex = 0;
    for (let i = 0; i < staticTable.length; i++) {
      if (staticTable[i]![0] !== name) continue;
      if (staticTable[i]![1] === value) return integer(out, 0x80, 7, i + 1);
      if (nameIndex === 0) nameIndex = i + 1;
    }
    for (let i = entries.length - 1; i >= 0; i--) {
      if (entries[i]![0] !== name) continue;
      const index = staticTable.length + entries.length - i;
      if (entries[i]![1] === value) return integer(out, 0x80, 7, index);
      if (nameIndex === 0) nameIndex = index;
    }
    if (indexed && name.length + value.length + entryOverhead <= this.#table.maxSize) {
      integer(out, 0x40, 6, nameIndex);
    } else {
      indexed = false;
      integer(out, 0, 4, nameIndex);
    }
    if (nameIndex === 0) string(out, name);
    string(out, value);
    if (indexed) this.#table.add(name, value);
  }
}

function integer(out: number[], flags: number, prefixBits: number, value: number): void {
  const mask = 2 ** prefixBits - 1;
  if (value < mask) {
    out.push(flags | value);
    return;
  }
  out.push(flags | mask);
  let rest = value - mask;
  while (rest >= 128) {
    out.push((rest & 0x7f) | 0x80);
    rest = Math.floor(rest / 128);
  }
  out.push(rest);
}

/** Section 5.2; Huffman coded where that is shorter. */
function string(out: number[], text: string): void {
  const bytes = Buffer.from(text, "latin1");
  let bits = 0;
  for (const byte of bytes) bits += codeLengths[byte]!;
  const coded = Math.ceil(bits / 8);
  if (coded >= bytes.length) {
    integer(out, 0, 7, bytes.length);
    out.push(...bytes);
    return;
  }
  integer(out, 0x80, 7, coded);
  let held = 0;
  let have = 0;
  for (const byte of bytes) {
    // Up to 7 bits held and 30 new ones pass 32: not with shifts.
    held = held * 2 ** codeLengths[byte]! + huffman.codes[byte]!;
    have += codeLengths[byte]!;
    while (have >= 8) {
      have -= 8;
      const scale = 2 ** have;
      const top = Math.floor(held / scale);
      out.push(top);
      held -= top * scale;
    }
  }
  if (have > 0) out.push((held << (8 - have)) | (0xff >> have));
}
