/** Takes HTTP/3 frames out of the bytes of one stream, as they come (RFC 9114, section 7.1). */
import { readVarint, varintBytes } from "./frames.ts";

/** How the payload of a frame is given on: as it comes, in one piece, or not at all. `stop`: the stream is read no further. */
export type Take = "pieces" | "whole" | "skip" | "stop";

export interface FrameConsumer {
  /** A frame begins. */
  onFrame(type: number, length: number): Take;
  /** Hot path. A piece of a payload that is taken in pieces, between `start` and `end`, valid during the call. */
  onPiece(bytes: Buffer, start: number, end: number): void;
  /** A payload that is taken whole, valid during the call. */
  onWhole(type: number, bytes: Buffer, start: number, end: number): void;
}

/** Two numbers of 8 bytes. */
const maxHeaderBytes = 16;

export class FrameReader {
  readonly #consumer: FrameConsumer;
  /** The beginning of a frame header that came in parts. */
  readonly #header = Buffer.alloc(maxHeaderBytes);
  #headerBytes = 0;
  #type = 0;
  #take: Take = "skip";
  /** Bytes of the payload that are still to come. */
  #left = 0;
  #isInPayload = false;
  #parts: Buffer[] | null = null;
  #stopped = false;

  constructor(consumer: FrameConsumer) {
    this.#consumer = consumer;
  }

  /** Between two frames: here a stream may end. */
  get isBetween(): boolean {
    return !this.#isInPayload && this.#headerBytes === 0;
  }

  /** Reads nothing more. */
  stop(): void {
    this.#stopped = true;
    this.#parts = null;
  }

  /** Hot path. */
  read(bytes: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end && !this.#stopped) {
      if (this.#isInPayload) at = this.#readPayload(bytes, at, end);
      else at = this.#headerBytes === 0 ? this.#readHeader(bytes, at, end) : this.#gatherHeader(bytes, at, end);
    }
  }

  /** Hot path. Reads a header that begins at `at`; keeps what there is of it where it does not end here. */
  #readHeader(bytes: Buffer, at: number, end: number): number {
    const type = readVarint(bytes, at, end);
    const lengthAt = at + varintBytes(bytes[at]!);
    const length = type >= 0 && lengthAt < end ? readVarint(bytes, lengthAt, end) : -1;
    if (length < 0) {
      this.#headerBytes = bytes.copy(this.#header, 0, at, end);
      return end;
    }
    this.#begin(type, length);
    return lengthAt + varintBytes(bytes[lengthAt]!);
  }

  #gatherHeader(bytes: Buffer, at: number, end: number): number {
    const header = this.#header;
    let from = at;
    while (from < end) {
      header[this.#headerBytes++] = bytes[from++]!;
      const lengthAt = varintBytes(header[0]!);
      if (this.#headerBytes <= lengthAt || this.#headerBytes < lengthAt + varintBytes(header[lengthAt]!)) continue;
      const length = readVarint(header, lengthAt, this.#headerBytes);
      this.#headerBytes = 0;
      this.#begin(readVarint(header, 0, lengthAt), length);
      break;
    }
    return from;
  }

  #begin(type: number, length: number): void {
    this.#type = type;
    this.#left = length;
    this.#isInPayload = true;
    this.#take = this.#consumer.onFrame(type, length);
    if (this.#take === "stop") this.stop();
    else if (length === 0) this.#end(none, 0, 0);
  }

  #readPayload(bytes: Buffer, at: number, end: number): number {
    const to = Math.min(end, at + this.#left);
    this.#left -= to - at;
    if (this.#take === "pieces") this.#consumer.onPiece(bytes, at, to);
    if (this.#left > 0) {
      if (this.#take === "whole") (this.#parts ??= []).push(Buffer.from(bytes.subarray(at, to)));
    } else this.#end(bytes, at, to);
    return to;
  }

  #end(bytes: Buffer, start: number, end: number): void {
    this.#isInPayload = false;
    if (this.#take !== "whole" || this.#stopped) return;
    if (this.#parts === null) return this.#consumer.onWhole(this.#type, bytes, start, end);
    const whole = Buffer.concat([...this.#parts, bytes.subarray(start, end)]);
    this.#parts = null;
    this.#consumer.onWhole(this.#type, whole, 0, whole.length);
  }
}

const none = Buffer.alloc(0);
