/** Bodies that are too large to be made at once: each piece is made when it is sent, so that other streams have their turns between. */
import { eventEnd, stampMember, writeStamps } from "./frames.ts";
import type { FrameSource } from "../seams.ts";

const encoder = new TextEncoder();

/** A piece has about this many bytes: what one response may send in a turn. */
export const pieceBytes = 32_768;

/** The frames of one JSON body in pieces. Its head says `streamed`: no length is announced. */
export class PieceFrames implements FrameSource {
  readonly length: number;
  readonly isOneBody = true;
  tokens = 0;
  readonly #piece: (index: number) => string;
  readonly #tokens: number;
  readonly #stamped: boolean;
  #isLast = false;

  /** `piece` returns the JSON text of each piece, asked for once each, in order; all `tokens` count with the last. */
  constructor(length: number, piece: (index: number) => string, tokens: number, stamped: boolean) {
    this.length = length;
    this.#piece = piece;
    this.#tokens = tokens;
    this.#stamped = stamped;
  }

  frame(index: number, dueUs: number, sentUs: number): Uint8Array {
    const text = this.#piece(index);
    this.#isLast = index === this.length - 1;
    this.tokens = this.#isLast ? this.#tokens : 0;
    if (!this.#isLast || !this.#stamped) return encoder.encode(text);
    const bytes = encoder.encode(`${text.slice(0, -1)}${stampMember}}`);
    // A body ends with the brace; an event, which the stamps are measured from, has two line ends more.
    writeStamps(bytes, bytes.length + eventEnd.length - 1, dueUs, sentUs);
    return bytes;
  }
}
