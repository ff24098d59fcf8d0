/** What a connection sends: frames one behind the other, in blocks that are used again once the socket has let go of them. */
import { flag, frame, putFrameHeader } from "../../wire/h2/frames.ts";
import type { Setting } from "../../wire/h2/settings.ts";

/** The first block of a turn: thousands of connections may each write a token in the same one. */
export const smallBlockBytes = 4096;
/** Every further block, and room for the largest frame that is written. */
export const largeBlockBytes = 65_536;
/** The first block of a turn where the one before filled several large ones: TLS copies what comes in more than one piece. */
export const hugeBlockBytes = 524_288;
/** Blocks that are kept for later; the rest is left to the collector. */
const keptSmall = 1024;
const keptLarge = 64;
const keptHuge = 8;
const none = Buffer.alloc(0);

/** Blocks of three sizes, shared by all connections of a listener. A connection with nothing to send holds none. */
export class BlockPool {
  readonly #small: Buffer[] = [];
  readonly #large: Buffer[] = [];
  readonly #huge: Buffer[] = [];

  /** `bytes` is one of the three sizes. */
  take(bytes: number): Buffer {
    return this.#keptOf(bytes).pop() ?? Buffer.allocUnsafeSlow(bytes);
  }

  /** The block is no longer used by anybody: neither by the socket nor by the TLS layer above it. */
  give(block: Buffer): void {
    const { length } = block;
    const kept = this.#keptOf(length);
    if (kept.length < (length === smallBlockBytes ? keptSmall : length === largeBlockBytes ? keptLarge : keptHuge)) kept.push(block);
  }

  #keptOf(bytes: number): Buffer[] {
    return bytes === smallBlockBytes ? this.#small : bytes === largeBlockBytes ? this.#large : this.#huge;
  }
}

/** Bytes to send, and the block that they lie in. */
export interface Chunk {
  readonly bytes: Buffer;
  readonly block: Buffer;
}

export class Output {
  /** The block that is being filled, up to `at`. */
  block: Buffer = none;
  at = 0;
  readonly #pool: BlockPool;
  readonly #onPending: () => void;
  #full: Chunk[] = [];
  #fullBytes = 0;
  /** What the last `take` gave, as a forecast of the next. */
  #lastBytes = 0;

  /** `onPending` is called when there is something to send and there was nothing before. */
  constructor(pool: BlockPool, onPending: () => void) {
    this.#pool = pool;
    this.#onPending = onPending;
  }

  /** Bytes that `take` would give. */
  get bytes(): number {
    return this.#fullBytes + this.at;
  }

  /** Hot path. Makes room for so many bytes, at most `largeBlockBytes`, in `block` and returns where they begin. */
  reserve(bytes: number): number {
    if (this.at === 0 && this.#fullBytes === 0) this.#onPending();
    if (this.at + bytes > this.block.length) this.#nextBlock(bytes);
    const { at } = this;
    this.at = at + bytes;
    return at;
  }

  #nextBlock(bytes: number): void {
    const { at, block } = this;
    if (at > 0) {
      this.#full.push({ bytes: block.subarray(0, at), block });
      this.#fullBytes += at;
    } else if (block.length > 0) {
      this.#pool.give(block);
    }
    this.block = this.#pool.take(this.#sizeFor(bytes));
    this.at = 0;
  }

  #sizeFor(bytes: number): number {
    if (this.#lastBytes > largeBlockBytes) return hugeBlockBytes;
    const isSmall = this.#full.length === 0 && bytes <= smallBlockBytes && this.#lastBytes <= smallBlockBytes;
    return isSmall ? smallBlockBytes : largeBlockBytes;
  }

  /** Everything since the last call; the blocks belong to the caller until it gives them back to the pool. */
  take(): Chunk[] {
    const chunks = this.#full;
    const { at, block } = this;
    this.#lastBytes = this.bytes;
    if (at > 0) {
      chunks.push({ bytes: block.subarray(0, at), block });
      this.block = none;
      this.at = 0;
    }
    if (chunks.length > 0) this.#full = [];
    this.#fullBytes = 0;
    return chunks;
  }

  /** Hot path. RFC 9113, section 6.1: the bytes of `from` between `start` and `end`. Returns where the payload lies in `block`. */
  data(id: number, from: Uint8Array, start: number, end: number, endStream: boolean): number {
    const length = end - start;
    const begin = this.reserve(9 + length);
    const at = putFrameHeader(this.block, begin, length, frame.data, endStream ? flag.endStream : 0, id);
    if (length > 0) this.block.set(start === 0 && length === from.length ? from : from.subarray(start, end), at);
    return at;
  }

  /** Hot path. Puts a frame's header at `at` in `block`. Returns where its payload begins. */
  frameHeader(at: number, length: number, type: number, flags: number, id: number): number {
    return putFrameHeader(this.block, at, length, type, flags, id);
  }

  /** Hot path. A header block in HEADERS, and in CONTINUATION where the receiver's frames are too small for it (section 6.10). */
  headers(id: number, block: Buffer, length: number, endStream: boolean, maxFrameBytes: number): void {
    let from = 0;
    do {
      const end = Math.min(length, from + maxFrameBytes);
      const isFirst = from === 0;
      const flags = (isFirst && endStream ? flag.endStream : 0) | (end === length ? flag.endHeaders : 0);
      const begin = this.reserve(9 + end - from);
      const at = putFrameHeader(this.block, begin, end - from, isFirst ? frame.headers : frame.continuation, flags, id);
      block.copy(this.block, at, from, end);
      from = end;
    } while (from < length);
  }

  /** Section 6.4. */
  reset(id: number, code: number): void {
    const at = this.reserve(13);
    this.block.writeUInt32BE(code, putFrameHeader(this.block, at, 4, frame.reset, 0, id));
  }

  /** Section 6.5. */
  settings(settings: readonly Setting[]): void {
    let at = this.reserve(9 + settings.length * 6);
    at = putFrameHeader(this.block, at, settings.length * 6, frame.settings, 0, 0);
    for (const [id, value] of settings) {
      at = this.block.writeUInt16BE(id, at);
      at = this.block.writeUInt32BE(value, at);
    }
  }

  settingsAck(): void {
    const at = this.reserve(9);
    putFrameHeader(this.block, at, 0, frame.settings, flag.ack, 0);
  }

  /** Section 6.7: eight bytes from `start`. */
  ping(bytes: Buffer, start: number, ack: boolean): void {
    const begin = this.reserve(17);
    const at = putFrameHeader(this.block, begin, 8, frame.ping, ack ? flag.ack : 0, 0);
    bytes.copy(this.block, at, start, start + 8);
  }

  /** Section 6.8. */
  goaway(lastId: number, code: number): void {
    let at = this.reserve(17);
    at = putFrameHeader(this.block, at, 8, frame.goaway, 0, 0);
    at = this.block.writeUInt32BE(lastId, at);
    this.block.writeUInt32BE(code, at);
  }

  /** Section 6.9. */
  windowUpdate(id: number, bytes: number): void {
    const at = this.reserve(13);
    this.block.writeUInt32BE(bytes, putFrameHeader(this.block, at, 4, frame.windowUpdate, 0, id));
  }
}
