/** HPACK (RFC 7541): header compression, both ways. Both ends of a connection hold one encoder and one decoder. */
import { LiteralReader, mostIntegerBytes, putInteger, putString } from "../literals.ts";
import { defaultTableBytes, HeaderTable, sizeOf } from "./header-table.ts";
import { HpackError } from "./hpack-error.ts";

/**
 * How a field that is in no table is written (section 6.2): put into the dynamic table, left out of it, or left out by
 * every intermediary as well, as secrets are.
 */
export type Indexing = "incremental" | "without" | "never";

/** First bytes of the representations (section 6), by their highest bits. */
const representation = { indexed: 0x80, incremental: 0x40, tableSize: 0x20, never: 0x10, without: 0 } as const;

/** Decodes header blocks. Every block of a connection must pass through, in order, those of refused streams too. */
export class HpackDecoder {
  readonly #table = new HeaderTable();
  /** What our SETTINGS_HEADER_TABLE_SIZE allows the peer's encoder. */
  #maxTableBytes = defaultTableBytes;
  readonly #block = new LiteralReader();

  /** Our SETTINGS_HEADER_TABLE_SIZE, once the peer has acknowledged it. */
  limitTable(bytes: number): void {
    this.#maxTableBytes = bytes;
  }

  /** Unchanged: the same bytes of a block stand for the same fields as before. */
  get tableVersion(): number {
    return this.#table.version;
  }

  /**
   * Tells of each field of the block between `start` and `end`. Returns the size of the list, which
   * SETTINGS_MAX_HEADER_LIST_SIZE limits: a few bytes of block can stand for many of list. The consumer holds its limit by
   * keeping no fields beyond it; the block has to be decoded to its end. Throws HpackError.
   */
  decode(bytes: Buffer, start: number, end: number, onField: (name: string, value: string) => void): number {
    const block = this.#block;
    block.begin(bytes, start, end);
    this.#readTableSizes();
    let size = 0;
    while (!block.isAtEnd) {
      const [name, value] = this.#readField(block.next);
      size += sizeOf(name, value);
      onField(name, value);
    }
    return size;
  }

  /** Size updates stand before the first field, and one has to where our limit is below the size in use (section 4.2). */
  #readTableSizes(): void {
    while ((this.#block.next & 0xe0) === representation.tableSize) {
      const size = this.#block.integer(5);
      if (size > this.#maxTableBytes) throw new HpackError("table size above the limit");
      this.#table.resize(size);
    }
    if (this.#table.maxBytes > this.#maxTableBytes) throw new HpackError("no size update for the lower limit");
  }

  #readField(first: number): readonly [string, string] {
    const block = this.#block;
    if (first & representation.indexed) return this.#table.get(block.integer(7));
    const isIncremental = (first & representation.incremental) !== 0;
    if (!isIncremental && (first & representation.tableSize) !== 0) throw new HpackError("size update behind a field");
    const index = block.integer(isIncremental ? 6 : 4);
    const name = index === 0 ? block.string(7) : this.#table.get(index)[0];
    const field = [name, block.string(7)] as const;
    if (isIncremental) this.#table.add(field);
    return field;
  }
}

/** Encodes header blocks: any number of `field` and `append`, then `take`. Blocks are sent in the order they are taken. */
export class HpackEncoder {
  readonly #table = new HeaderTable();
  readonly #maxTableBytes: number;
  /** The smallest size since the last block. The next block announces it and the last one (section 4.2). */
  #smallestBytes = Infinity;
  #isResized = false;
  #block = Buffer.allocUnsafe(512);
  #at = 0;

  /** `maxTableBytes` bounds the dynamic table, also where the peer allows more. */
  constructor(maxTableBytes: number = defaultTableBytes) {
    this.#maxTableBytes = maxTableBytes;
    if (maxTableBytes < defaultTableBytes) this.limitTable(maxTableBytes);
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. Between blocks. */
  limitTable(bytes: number): void {
    const limit = Math.min(bytes, this.#maxTableBytes);
    if (limit === this.#table.maxBytes) return;
    this.#smallestBytes = Math.min(this.#smallestBytes, limit);
    this.#isResized = true;
    this.#table.resize(limit);
  }

  /** Unchanged: bytes that stand for fields of the tables alone still mean the same, and `append` may take them. */
  get tableVersion(): number {
    return this.#table.version;
  }

  /** Writes a field: its index where a table holds it, else as `indexing` says. The name is in lower case. */
  field(name: string, value: string, indexing: Indexing): void {
    this.#beginBlock();
    const index = this.#table.find(name, value);
    if (index > 0) return this.#writeInteger(representation.indexed, 7, index);
    // What does not fit would only empty the table.
    const isKept = indexing === "incremental" && sizeOf(name, value) <= this.#table.maxBytes;
    if (isKept) this.#writeInteger(representation.incremental, 6, -index);
    else this.#writeInteger(indexing === "never" ? representation.never : representation.without, 4, -index);
    if (index === 0) this.#writeString(name);
    this.#writeString(value);
    if (isKept) this.#table.add([name, value]);
  }

  /** Adds encoded fields. */
  append(fields: Buffer): void {
    this.#beginBlock();
    this.#reserve(fields.length);
    this.#at += fields.copy(this.#block, this.#at);
  }

  /** The block, in memory of its own. */
  take(): Buffer {
    this.#beginBlock();
    const block = Buffer.from(this.#block.subarray(0, this.#at));
    this.#at = 0;
    return block;
  }

  #beginBlock(): void {
    if (!this.#isResized) return;
    const { maxBytes } = this.#table;
    if (this.#smallestBytes < maxBytes) this.#writeInteger(representation.tableSize, 5, this.#smallestBytes);
    this.#writeInteger(representation.tableSize, 5, maxBytes);
    this.#smallestBytes = Infinity;
    this.#isResized = false;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#block.length) return;
    const block = Buffer.allocUnsafe((this.#at + bytes) * 2);
    this.#block.copy(block, 0, 0, this.#at);
    this.#block = block;
  }

  #writeInteger(flags: number, prefixBits: number, value: number): void {
    this.#reserve(mostIntegerBytes);
    this.#at = putInteger(this.#block, this.#at, flags, prefixBits, value);
  }

  #writeString(text: string): void {
    this.#reserve(mostIntegerBytes + text.length);
    this.#at = putString(this.#block, this.#at, 0, 7, text);
  }
}
