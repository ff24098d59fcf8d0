/** Puts header blocks together out of HEADERS and CONTINUATION frames (RFC 9113, sections 4.3, 6.2 and 6.10). */
import { errorCode, flag, frame } from "./frames.ts";

/** How much of one header block is held. The frames are limited too: empty ones cost work and no bytes. */
export interface HeaderBlockLimits {
  readonly bytes: number;
  readonly frames: number;
}

/** A whole block of stream `id`, between `start` and `end`, valid during the call. */
export type OnHeaderBlock = (id: number, endStream: boolean, bytes: Buffer, start: number, end: number) => void;

export class HeaderBlockReader {
  readonly #limits: HeaderBlockLimits;
  readonly #onBlock: OnHeaderBlock;
  /** Stream of the unfinished block; 0: there is none. */
  #id = 0;
  #endStream = false;
  #parts: Buffer[] = [];
  #bytes = 0;

  constructor(limits: HeaderBlockLimits, onBlock: OnHeaderBlock) {
    this.#limits = limits;
    this.#onBlock = onBlock;
  }

  /** Hot path. Whether a frame may come here: within a block only its CONTINUATION may, and nowhere else. */
  allows(type: number, id: number): boolean {
    return this.#id === 0 ? type !== frame.continuation : type === frame.continuation && id === this.#id;
  }

  /** Takes a HEADERS or CONTINUATION frame that `allows` has let pass. Returns the connection error, or `errorCode.none`. */
  take(type: number, flags: number, id: number, bytes: Buffer, start: number, end: number): number {
    let from = start;
    let to = end;
    if (type === frame.headers) {
      if (flags & flag.padded) to -= from < end ? bytes[from++]! : 1;
      // Dependency and weight mean nothing (section 5.3.2).
      if (flags & flag.priority) from += 5;
      if (from > to) return errorCode.protocol;
      this.#id = id;
      this.#endStream = (flags & flag.endStream) !== 0;
    }
    const isLast = (flags & flag.endHeaders) !== 0;
    this.#bytes += to - from;
    if (this.#bytes > this.#limits.bytes || this.#parts.length >= this.#limits.frames) return errorCode.enhanceYourCalm;
    if (isLast && this.#parts.length === 0) {
      this.#finish(bytes, from, to);
      return errorCode.none;
    }
    this.#parts.push(Buffer.from(bytes.subarray(from, to)));
    if (!isLast) return errorCode.none;
    const block = Buffer.concat(this.#parts);
    this.#parts = [];
    this.#finish(block, 0, block.length);
    return errorCode.none;
  }

  #finish(bytes: Buffer, start: number, end: number): void {
    const id = this.#id;
    this.#id = 0;
    this.#bytes = 0;
    this.#onBlock(id, this.#endStream, bytes, start, end);
  }
}
