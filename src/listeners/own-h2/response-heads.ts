/**
 * Header blocks of responses. What does not change from answer to answer is put into the peer's table once and is a byte or two from
 * then on; what changes each time is written as it is, past the table, without Huffman's code: it would cost more than it saves.
 */
import type { ResponseHead } from "../../core/seams.ts";
import { HpackEncoder } from "../../wire/h2/hpack.ts";
import { mostIntegerBytes, putInteger } from "../../wire/literals.ts";

/** A field whose value has been another so often is written past the table from then on. */
const changesUntilLiteral = 2;
/** Names of which more is known. A server has few; what a user adds is bounded all the same. */
const mostNames = 128;

interface KnownField {
  /** The value that `indexed` stands for. */
  value: string;
  /** The encoded field while the table is as it was; null: not in the table. */
  indexed: Buffer | null;
  changes: number;
  /** A literal's beginning up to the length of its value: the name by its index, or in full. */
  readonly literal: Buffer;
}

let scratch = Buffer.allocUnsafe(4096);

export class ResponseHeads {
  readonly #encoder: HpackEncoder;
  #known = new Map<string, KnownField>();
  #version = -1;
  /** Bytes of the block in `scratch`. */
  #at = 0;

  /** `tableBytes` bounds what this end asks of the peer's table. */
  constructor(tableBytes: number) {
    this.#encoder = new HpackEncoder(tableBytes);
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  limitTable(bytes: number): void {
    this.#encoder.limitTable(bytes);
  }

  /** Hot path. Encodes a head into `bytes` and returns the block's length. `contentLength` is -1 where none is announced. */
  encode(head: ResponseHead, contentLength: number): number {
    this.#at = 0;
    // What the encoder has to say of the table's size stands first.
    if (this.#encoder.tableVersion !== this.#version) this.#forget();
    this.#append(statusField(head.status));
    const { headers } = head;
    for (const name in headers) this.#field(name, headers[name]!);
    if (contentLength >= 0) this.#literal(this.#of("content-length"), String(contentLength));
    return this.#at;
  }

  /** Where blocks are encoded, until the next one is, on any connection. */
  get bytes(): Buffer {
    return scratch;
  }

  #forget(): void {
    this.#append(this.#encoder.take());
    this.#version = this.#encoder.tableVersion;
    for (const field of this.#known.values()) field.indexed = null;
  }

  #of(name: string): KnownField {
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    if (this.#known.size >= mostNames) this.#known.clear();
    const made = { value: "", indexed: null, changes: 0, literal: literalOf(name) };
    this.#known.set(name, made);
    return made;
  }

  /** Hot path. */
  #field(name: string, value: string): void {
    const known = this.#of(name);
    if (known.indexed !== null && known.value === value) {
      this.#append(known.indexed);
      return;
    }
    if (known.value !== value && known.value !== "") known.changes++;
    if (known.changes >= changesUntilLiteral) {
      this.#literal(known, value);
      return;
    }
    this.#append(this.#encoded(name, value));
    known.value = value;
    if (this.#encoder.tableVersion !== this.#version) {
      // The field went into the table: indices of others have moved.
      this.#version = this.#encoder.tableVersion;
      for (const field of this.#known.values()) field.indexed = null;
    } else {
      known.indexed = this.#encoded(name, value);
    }
  }

  #encoded(name: string, value: string): Buffer {
    this.#encoder.field(name, value, "incremental");
    return this.#encoder.take();
  }

  /** Hot path. */
  #literal({ literal }: KnownField, value: string): void {
    this.#append(literal);
    const { length } = value;
    this.#reserve(length + mostIntegerBytes);
    this.#at = putInteger(scratch, this.#at, 0, 7, length);
    // Characters are octets, as on HTTP/1.1.
    for (let i = 0; i < length; i++) scratch[this.#at + i] = value.charCodeAt(i);
    this.#at += length;
  }

  /** Hot path. Most parts are a byte or two: a loop is faster than a call. */
  #append(bytes: Buffer): void {
    const { length } = bytes;
    this.#reserve(length);
    for (let i = 0; i < length; i++) scratch[this.#at + i] = bytes[i]!;
    this.#at += length;
  }

  #reserve(bytes: number): void {
    if (this.#at + bytes <= scratch.length) return;
    const larger = Buffer.allocUnsafe((this.#at + bytes) * 2);
    scratch.copy(larger, 0, 0, this.#at);
    scratch = larger;
  }
}

const statusFields = new Map<number, Buffer>();

/** Hot path. ":status": one byte for the seven of the static table, five for others. */
function statusField(status: number): Buffer {
  const made = statusFields.get(status);
  if (made !== undefined) return made;
  literals.field(":status", String(status), "without");
  const field = literals.take();
  statusFields.set(status, field);
  return field;
}

/** Encodes with tables that are empty: only names of the static table have an index. */
const literals = new HpackEncoder(0);
literals.take();
const madeLiterals = new Map<string, Buffer>();

/** "Literal without indexing" (RFC 7541, section 6.2.2) of a name, up to the length of the value. */
function literalOf(name: string): Buffer {
  const made = madeLiterals.get(name);
  if (made !== undefined) return made;
  // No static entry has this value, and its coded length is one byte at the end.
  literals.field(name, "\0", "without");
  const whole = literals.take();
  const literal = Buffer.from(whole.subarray(0, whole.length - 2));
  if (madeLiterals.size < mostNames) madeLiterals.set(name, literal);
  return literal;
}
