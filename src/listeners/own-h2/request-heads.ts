/** Heads of requests out of header blocks: one decoder for all of a connection, and what the last block made. */
import { HpackDecoder } from "../../wire/h2/hpack.ts";
import { type HeadFault, HeadReader, type RequestHead } from "./head.ts";

/** A block of up to this many bytes is compared with the one before it. */
const longestMemo = 1024;

export class RequestHeads {
  readonly #decoder = new HpackDecoder();
  readonly #reader = new HeadReader();
  /** The last block that came, the table that it was read with, and what it said. */
  #memo: Buffer | null = null;
  #memoVersion = -1;
  #memoHead: RequestHead | HeadFault = "malformed";

  /** What our SETTINGS allow the client's table. */
  limitTable(bytes: number): void {
    this.#decoder.limitTable(bytes);
    this.#memo = null;
  }

  /** Whether the last block may end a request. */
  get isTrailers(): boolean {
    return this.#reader.isTrailers;
  }

  /**
   * The head that a block makes; throws HpackError. A client that asks for the same again sends the same bytes, with the same table.
   */
  decode(bytes: Buffer, start: number, end: number): RequestHead | HeadFault {
    const memo = this.#memo;
    const isKnown = memo !== null && this.#memoVersion === this.#decoder.tableVersion && memo.length === end - start;
    if (isKnown && memo.compare(bytes, start, end) === 0) return this.#memoHead;
    const version = this.#decoder.tableVersion;
    this.#reader.begin();
    this.#decoder.decode(bytes, start, end, this.#reader.onField);
    const head = this.#reader.finish();
    const isSame = version === this.#decoder.tableVersion && end - start <= longestMemo;
    this.#memo = isSame ? Buffer.from(bytes.subarray(start, end)) : null;
    this.#memoVersion = version;
    this.#memoHead = head;
    return head;
  }
}
