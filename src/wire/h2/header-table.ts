/** The tables of HPACK (RFC 7541, section 2.3): entries by index, and indices by entry. */
import { HpackError } from "./hpack-error.ts";

/** A header field: its name in lower case, and its value; octets, one for each character (latin1). */
export type Field = readonly [name: string, value: string];

/** SETTINGS_HEADER_TABLE_SIZE until the decoder's end announces another (RFC 9113, section 6.5.2). */
export const defaultTableBytes = 4096;
/** What an entry counts beside its octets (section 4.1). */
const entryOverhead = 32;

/** Bytes of a field in a table, and in SETTINGS_MAX_HEADER_LIST_SIZE. */
export function sizeOf(name: string, value: string): number {
  return name.length + value.length + entryOverhead;
}

/** Appendix A, from index 1. Fields of one name stand together. */
const staticTable: readonly Field[] = [
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

/** Where the fields of a name begin. */
const firstByName: ReadonlyMap<string, number> = new Map(staticTable.map(([name], at): [string, number] => [name, at]).toReversed());

/** The static entries and one direction's dynamic ones. */
export class HeaderTable {
  /** Newest last; the first go when there is no room. */
  readonly #entries: Field[] = [];
  #maxBytes = defaultTableBytes;
  #bytes = 0;
  #version = 0;

  get maxBytes(): number {
    return this.#maxBytes;
  }

  /** Another number each time an index may have got another meaning. */
  get version(): number {
    return this.#version;
  }

  /** An entry above the table's size empties it and is not kept (section 4.4). */
  add(field: Field): void {
    this.#entries.push(field);
    this.#bytes += sizeOf(field[0], field[1]);
    this.#version++;
    this.#evict();
  }

  resize(maxBytes: number): void {
    this.#maxBytes = maxBytes;
    this.#version++;
    this.#evict();
  }

  /** By index: static entries from 1, dynamic ones behind them, newest first (section 2.3.3). Throws HpackError. */
  get(index: number): Field {
    const { length } = this.#entries;
    const entry = index <= staticTable.length ? staticTable[index - 1] : this.#entries[length - (index - staticTable.length)];
    if (entry === undefined) throw new HpackError(`no header ${index}`);
    return entry;
  }

  /** The index of a field; negative: of an entry that has its name alone; 0: there is none. */
  find(name: string, value: string): number {
    let nameIndex = 0;
    const first = firstByName.get(name);
    if (first !== undefined) {
      nameIndex = first + 1;
      for (let i = first; staticTable[i]?.[0] === name; i++) if (staticTable[i]![1] === value) return i + 1;
    }
    for (let i = this.#entries.length - 1; i >= 0; i--) {
      const entry = this.#entries[i]!;
      if (entry[0] !== name) continue;
      const index = staticTable.length + this.#entries.length - i;
      if (entry[1] === value) return index;
      if (nameIndex === 0) nameIndex = index;
    }
    return -nameIndex;
  }

  #evict(): void {
    while (this.#bytes > this.#maxBytes) {
      const [name, value] = this.#entries.shift()!;
      this.#bytes -= sizeOf(name, value);
    }
  }
}
