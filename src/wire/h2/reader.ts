/** Cuts the bytes of an HTTP/2 connection into frames (RFC 9113, section 4.1). Reads may end anywhere. */
import { errorCode, flag, frame, frameHeaderBytes, preface } from "./frames.ts";

/** Receives frames. Bytes are valid during the call. */
export interface FrameConsumer {
  /** Hot path. A frame begins, with a payload of `length` bytes. false: refused; the reader stops. */
  onFrame(type: number, flags: number, id: number, length: number): boolean;
  /** Hot path. Bytes of a DATA frame, without its padding; any number of calls for each frame. */
  onData(bytes: Buffer, start: number, end: number): void;
  /** A frame is whole. Its payload lies between `start` and `end`; that of a DATA frame went to `onData`. */
  onFrameEnd(type: number, bytes: Buffer, start: number, end: number): void;
  /** The bytes break the framing; the reader stops. `code` is the connection error for GOAWAY. */
  onMalformed(code: number): void;
}

export class FrameReader {
  readonly #consumer: FrameConsumer;
  /** Bytes of the preface that are still to come. */
  #prefaceLeft: number;
  readonly #header = Buffer.alloc(frameHeaderBytes);
  #headerHave = 0;
  #inPayload = false;
  #type = 0;
  #flags = 0;
  /** Bytes of the payload that are still to come. */
  #left = 0;
  #padding = 0;
  #padKnown = true;
  /** A payload that came in several reads. */
  #gathered: Buffer | null = null;
  #gatheredHave = 0;
  #stopped = false;

  /** `from` is the end that sends the bytes: a client sends the preface before its first frame (section 3.4). */
  constructor(consumer: FrameConsumer, from: "client" | "server") {
    this.#consumer = consumer;
    this.#prefaceLeft = from === "client" ? preface.length : 0;
  }

  /** The consumer hears nothing more, not even of the bytes that are being read. */
  stop(): void {
    this.#stopped = true;
  }

  /** Hot path. Takes the bytes from `start` to `end`. */
  read(bytes: Buffer, start: number, end: number): void {
    let at = this.#prefaceLeft > 0 ? this.#readPreface(bytes, start, end) : start;
    while (at < end && !this.#stopped) {
      if (!this.#inPayload) {
        at = this.#readHeader(bytes, at, end);
        if (this.#inPayload && this.#left === 0) this.#endFrame(bytes, at, at);
      } else if (this.#type === frame.data) {
        at = this.#readData(bytes, at, end);
      } else {
        at = this.#readPayload(bytes, at, end);
      }
    }
  }

  #readPreface(bytes: Buffer, start: number, end: number): number {
    let at = start;
    for (; at < end && this.#prefaceLeft > 0; at++) {
      if (bytes[at] !== preface[preface.length - this.#prefaceLeft--]) return this.#malformed(errorCode.protocol, end);
    }
    return at;
  }

  /** Hot path. */
  #readHeader(bytes: Buffer, at: number, end: number): number {
    let header = bytes;
    let from = at;
    if (this.#headerHave > 0 || end - at < frameHeaderBytes) {
      const to = Math.min(end, at + frameHeaderBytes - this.#headerHave);
      this.#headerHave += bytes.copy(this.#header, this.#headerHave, at, to);
      if (this.#headerHave < frameHeaderBytes) return to;
      this.#headerHave = 0;
      header = this.#header;
      from = 0;
      at = to;
    } else {
      at += frameHeaderBytes;
    }
    this.#left = (header[from]! << 16) | (header[from + 1]! << 8) | header[from + 2]!;
    this.#type = header[from + 3]!;
    this.#flags = header[from + 4]!;
    const id = ((header[from + 5]! & 0x7f) << 24) | (header[from + 6]! << 16) | (header[from + 7]! << 8) | header[from + 8]!;
    if (!this.#consumer.onFrame(this.#type, this.#flags, id, this.#left)) {
      this.#stopped = true;
      return end;
    }
    this.#inPayload = true;
    this.#padding = 0;
    this.#padKnown = this.#type !== frame.data || (this.#flags & flag.padded) === 0;
    // The byte that says how long the padding is must be there.
    if (!this.#padKnown && this.#left === 0) return this.#malformed(errorCode.frameSize, end);
    return at;
  }

  /** Hot path. */
  #readData(bytes: Buffer, at: number, end: number): number {
    if (!this.#padKnown) {
      this.#padding = bytes[at++]!;
      this.#padKnown = true;
      this.#left--;
      // Section 6.1.
      if (this.#padding > this.#left) return this.#malformed(errorCode.protocol, end);
    }
    const to = Math.min(end, at + this.#left);
    const dataEnd = Math.min(to, at + this.#left - this.#padding);
    if (dataEnd > at) this.#consumer.onData(bytes, at, dataEnd);
    this.#left -= to - at;
    this.#padding = Math.min(this.#padding, this.#left);
    if (this.#left === 0) this.#endFrame(bytes, to, to);
    return to;
  }

  #readPayload(bytes: Buffer, at: number, end: number): number {
    const to = Math.min(end, at + this.#left);
    if (this.#gathered === null && to - at === this.#left) {
      this.#left = 0;
      this.#endFrame(bytes, at, to);
      return to;
    }
    this.#gathered ??= Buffer.allocUnsafe(this.#left);
    this.#gatheredHave += bytes.copy(this.#gathered, this.#gatheredHave, at, to);
    this.#left -= to - at;
    if (this.#left === 0) {
      const gathered = this.#gathered;
      this.#gathered = null;
      this.#gatheredHave = 0;
      this.#endFrame(gathered, 0, gathered.length);
    }
    return to;
  }

  #endFrame(bytes: Buffer, start: number, end: number): void {
    this.#inPayload = false;
    this.#consumer.onFrameEnd(this.#type, bytes, start, end);
  }

  #malformed(code: number, end: number): number {
    this.#inPayload = false;
    this.#stopped = true;
    this.#consumer.onMalformed(code);
    return end;
  }
}
