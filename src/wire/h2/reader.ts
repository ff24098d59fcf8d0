/** Cuts the bytes of an HTTP/2 connection into frames (RFC 9113, section 4.1), however reads fall between them. */
import { flag, frame, frameHeaderBytes } from "./frames.ts";

/** Who is told of frames. Bytes are valid during the call. */
export interface FrameConsumer {
  /** Hot path. A frame begins, with a payload of `length` bytes. false: it may not; nothing more is read. */
  onFrame(type: number, flags: number, id: number, length: number): boolean;
  /** Hot path. Bytes of a DATA frame, its padding left out. */
  onData(bytes: Buffer, start: number, end: number, readUs: number): void;
  /** A frame is whole; its payload is between `start` and `end`, of a DATA frame nothing. */
  onFrameEnd(type: number, bytes: Buffer, start: number, end: number, readUs: number): void;
  /** Padding is longer than its frame (section 6.1). */
  onMalformed(): void;
}

export class FrameReader {
  readonly #consumer: FrameConsumer;
  readonly #header = Buffer.alloc(frameHeaderBytes);
  #headerHave = 0;
  #inPayload = false;
  #type = 0;
  #flags = 0;
  /** Bytes of the payload still to come. */
  #left = 0;
  #padding = 0;
  #padKnown = true;
  #gathered: Buffer | null = null;
  #gatheredHave = 0;
  #stopped = false;

  constructor(consumer: FrameConsumer) {
    this.#consumer = consumer;
  }

  /** Nothing is told any more, of what is being read neither. */
  stop(): void {
    this.#stopped = true;
  }

  /** Hot path. The first `length` bytes of `bytes`. */
  read(bytes: Buffer, length: number, readUs: number): void {
    let at = 0;
    while (at < length && !this.#stopped) {
      if (!this.#inPayload) {
        at = this.#readHeader(bytes, at, length);
        if (this.#inPayload && this.#left === 0) this.#end(bytes, at, at, readUs);
        continue;
      }
      if (this.#type === frame.data) {
        at = this.#readData(bytes, at, length, readUs);
        continue;
      }
      const end = Math.min(length, at + this.#left);
      if (this.#gathered === null && end - at === this.#left) {
        this.#left = 0;
        this.#end(bytes, at, end, readUs);
      } else {
        this.#gathered ??= Buffer.allocUnsafe(this.#left);
        this.#gatheredHave += bytes.copy(this.#gathered, this.#gatheredHave, at, end);
        this.#left -= end - at;
        if (this.#left === 0) {
          const gathered = this.#gathered;
          this.#gathered = null;
          this.#gatheredHave = 0;
          this.#end(gathered, 0, gathered.length, readUs);
        }
      }
      at = end;
    }
  }

  /** Hot path. */
  #readHeader(bytes: Buffer, at: number, length: number): number {
    let header = bytes;
    let from = at;
    if (this.#headerHave > 0 || length - at < frameHeaderBytes) {
      const end = Math.min(length, at + frameHeaderBytes - this.#headerHave);
      this.#headerHave += bytes.copy(this.#header, this.#headerHave, at, end);
      if (this.#headerHave < frameHeaderBytes) return end;
      this.#headerHave = 0;
      header = this.#header;
      from = 0;
      at = end;
    } else {
      at += frameHeaderBytes;
    }
    this.#left = (header[from]! << 16) | (header[from + 1]! << 8) | header[from + 2]!;
    this.#type = header[from + 3]!;
    this.#flags = header[from + 4]!;
    const id = ((header[from + 5]! & 0x7f) << 24) | (header[from + 6]! << 16) | (header[from + 7]! << 8) | header[from + 8]!;
    if (!this.#consumer.onFrame(this.#type, this.#flags, id, this.#left)) {
      this.#stopped = true;
      return length;
    }
    this.#inPayload = true;
    this.#padding = 0;
    this.#padKnown = this.#type !== frame.data || (this.#flags & flag.padded) === 0;
    return at;
  }

  /** Hot path. */
  #readData(bytes: Buffer, at: number, length: number, readUs: number): number {
    if (!this.#padKnown) {
      this.#padding = bytes[at++]!;
      this.#padKnown = true;
      this.#left--;
      if (this.#padding > this.#left) {
        this.#stopped = true;
        this.#consumer.onMalformed();
        return length;
      }
    }
    const end = Math.min(length, at + this.#left);
    const dataEnd = Math.min(end, at + this.#left - this.#padding);
    if (dataEnd > at) this.#consumer.onData(bytes, at, dataEnd, readUs);
    this.#left -= end - at;
    this.#padding = Math.min(this.#padding, this.#left);
    if (this.#left === 0) this.#end(bytes, end, end, readUs);
    return end;
  }

  #end(bytes: Buffer, start: number, end: number, readUs: number): void {
    this.#inPayload = false;
    this.#consumer.onFrameEnd(this.#type, bytes, start, end, readUs);
  }
}
