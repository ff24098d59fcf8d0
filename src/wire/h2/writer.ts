/** Writes HTTP/2 frames (RFC 9113, section 6) one behind the other, so that one write carries many. */
import { flag, frame, FrameBytes, frameHeaderBytes, preface, putFrameHeader } from "./frames.ts";
import type { Setting } from "./settings.ts";

/** Memory is taken in blocks of this many bytes: little, as each of a thousand connections holds one. */
const blockBytes = 4096;
const none = Buffer.alloc(0);

export class FrameWriter {
  /** Counts what was written. */
  readonly written: FrameBytes = new FrameBytes();
  #block: Buffer = none;
  /** Frames between these two wait for `take`. What lies before them belongs to earlier takers and is never written again. */
  #from = 0;
  #at = 0;

  /** Bytes that `take` would give. */
  get pendingBytes(): number {
    return this.#at - this.#from;
  }

  /** All bytes since the last call. They belong to the caller: the writer does not touch them again. */
  take(): Buffer {
    const bytes = this.#block.subarray(this.#from, this.#at);
    this.#from = this.#at;
    return bytes;
  }

  /** Section 3.4: what a client sends before its first SETTINGS. Not counted as a frame. */
  preface(): void {
    this.#reserve(preface.length);
    this.#at += preface.copy(this.#block, this.#at);
  }

  /** Hot path. A frame of any type; its payload lies between `start` and `end`. `id` is the stream's, 0 the connection's. */
  frame(type: number, flags: number, id: number, payload: Buffer, start: number, end: number): void {
    this.#begin(end - start, type, flags, id);
    this.#at += payload.copy(this.#block, this.#at, start, end);
  }

  /** Hot path. Section 6.1. At most the receiver's maximum frame size and windows: the caller sees to that. */
  data(id: number, bytes: Buffer, start: number, end: number, endStream: boolean): void {
    this.frame(frame.data, endStream ? flag.endStream : 0, id, bytes, start, end);
  }

  /** A header block in HEADERS and as many CONTINUATION frames as the receiver's maximum frame size asks for (section 6.10). */
  headers(id: number, block: Buffer, endStream: boolean, maxFrameBytes: number): void {
    const streamFlag = endStream ? flag.endStream : 0;
    let at = 0;
    do {
      const end = Math.min(block.length, at + maxFrameBytes);
      const flags = (at === 0 ? streamFlag : 0) | (end === block.length ? flag.endHeaders : 0);
      this.frame(at === 0 ? frame.headers : frame.continuation, flags, id, block, at, end);
      at = end;
    } while (at < block.length);
  }

  /** Section 6.3 (deprecated there). `weight` is 1 to 256. */
  priority(id: number, dependsOn: number, weight: number, exclusive: boolean): void {
    this.#begin(5, frame.priority, 0, id);
    this.#number((exclusive ? 0x8000_0000 : 0) + dependsOn);
    this.#block[this.#at++] = weight - 1;
  }

  /** RST_STREAM, section 6.4. */
  reset(id: number, code: number): void {
    this.#begin(4, frame.reset, 0, id);
    this.#number(code);
  }

  /** Section 6.5. */
  settings(settings: readonly Setting[]): void {
    this.#begin(settings.length * 6, frame.settings, 0, 0);
    for (const [id, value] of settings) {
      this.#at = this.#block.writeUInt16BE(id, this.#at);
      this.#number(value);
    }
  }

  settingsAck(): void {
    this.#begin(0, frame.settings, flag.ack, 0);
  }

  /** Section 6.7. The eight bytes from `start`; with `ack` the ones that the peer sent. */
  ping(bytes: Buffer, start: number, ack: boolean): void {
    this.frame(frame.ping, ack ? flag.ack : 0, 0, bytes, start, start + 8);
  }

  /** Section 6.8. `lastId` is the last stream of the peer that was or may be served. */
  goaway(lastId: number, code: number, debug: Buffer = none): void {
    this.#begin(8 + debug.length, frame.goaway, 0, 0);
    this.#number(lastId);
    this.#number(code);
    this.#at += debug.copy(this.#block, this.#at);
  }

  /** Hot path. Section 6.9. `bytes` is 1 to 2,147,483,647. */
  windowUpdate(id: number, bytes: number): void {
    this.#begin(4, frame.windowUpdate, 0, id);
    this.#number(bytes);
  }

  /** Hot path. */
  #begin(length: number, type: number, flags: number, id: number): void {
    this.#reserve(frameHeaderBytes + length);
    this.written.count(type, length);
    this.#at = putFrameHeader(this.#block, this.#at, length, type, flags, id);
  }

  #number(value: number): void {
    this.#at = this.#block.writeUInt32BE(value, this.#at);
  }

  /** Hot path. Makes room behind `#at`. A block that is full is left to its takers; what is pending moves to a new one. */
  #reserve(bytes: number): void {
    if (this.#at + bytes <= this.#block.length) return;
    const pending = this.#at - this.#from;
    const needed = pending + bytes;
    const block = Buffer.allocUnsafeSlow(needed <= blockBytes ? blockBytes : needed * 2);
    this.#block.copy(block, 0, this.#from, this.#at);
    this.#block = block;
    this.#from = 0;
    this.#at = pending;
  }
}
