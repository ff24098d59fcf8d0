/**
 * Event streams (WHATWG HTML, sections 9.2.5 and 9.2.6), cut into events: LF, CRLF and CR, comments, several `data` lines, with
 * or without a space behind the colon, a byte order mark. Only `data` is read; `event`, `id` and `retry` are skipped.
 *
 * Model servers end lines in LF or CRLF, so that is what the hot path looks for. The first CR that is seen to end a line alone
 * turns to a reader of all three. One within a line that ends in LF is not seen: JSON has no bare CR.
 */

const colon = 58;
const space = 32;
const LF = 10;
const CR = 13;
const empty = Buffer.alloc(0);
const byteOrderMark = Buffer.from("\uFEFF");
const lineFeed = Buffer.from("\n");
const nameBytes = "data".length;

/** An event, or a line, of more bytes is given up: a response is held in memory only this far. No model's event comes near it. */
export const maxEventBytes = 4_194_304;

/** Takes the bytes of one event stream as they come and tells of each event. */
export class EventStreamReader {
  readonly #onEvent: (bytes: Buffer, start: number, end: number) => void;
  /** The unfinished line. */
  #line: Buffer = empty;
  #lineLength = 0;
  /** `data` lines of the unfinished event, joined by LF. */
  #data: Buffer = empty;
  #dataLength = 0;
  #hasData = false;
  #isTooLong = false;
  /** A CR has ended a line alone: lines end in any of the three from here on. */
  #anyEnd = false;
  /** The last byte was a CR: an LF behind it belongs to it. */
  #afterCr = false;
  /** No line has been read: a byte order mark may come. */
  #isFirst = true;

  /** `onEvent` gets the data of an event, between `start` and `end`; valid during the call. */
  constructor(onEvent: (bytes: Buffer, start: number, end: number) => void) {
    this.#onEvent = onEvent;
  }

  /** A line or an event passed `maxEventBytes`. Nothing of it is held, and no event follows. */
  get isTooLong(): boolean {
    return this.#isTooLong;
  }

  /** Bytes that the unfinished line and event take up. */
  get heldBytes(): number {
    return this.#line.length + this.#data.length;
  }

  /** Hot path. An event that comes whole and in one line is read where it lies: nothing is copied. */
  push(bytes: Buffer, start: number, end: number): void {
    if (this.#anyEnd) return this.#pushAnyEnd(bytes, start, end);
    let at = start;
    while (at < end && !this.#isTooLong) {
      const lineEnd = bytes.indexOf(LF, at);
      if (lineEnd < 0 || lineEnd >= end) {
        if (this.#hasLoneCr(bytes, at, end)) return this.#turnToAnyEnd(bytes, at, end);
        return this.#holdLine(bytes, at, end);
      }
      if (
        this.#lineLength === 0 &&
        !this.#hasData &&
        lineEnd + 1 < end &&
        bytes[lineEnd + 1] === LF &&
        isData(bytes, at, lineEnd) &&
        bytes[lineEnd - 1] !== CR
      ) {
        this.#onEvent(bytes, valueStart(bytes, at, lineEnd), lineEnd);
        at = lineEnd + 2;
        continue;
      }
      this.#endLine(bytes, at, lineEnd);
      at = lineEnd + 1;
    }
  }

  /** Puts the beginning of a line, or more of it, aside. */
  #holdLine(bytes: Buffer, start: number, end: number): void {
    if (this.#lineLength + end - start > maxEventBytes) return this.#giveUp();
    this.#line = append(this.#line, this.#lineLength, bytes, start, end);
    this.#lineLength += end - start;
  }

  /** Whether a CR that no LF follows is in the unfinished line and the bytes behind it, which hold no LF. */
  #hasLoneCr(bytes: Buffer, start: number, end: number): boolean {
    if (this.#lineLength > 0 && this.#line[this.#lineLength - 1] === CR) return true;
    for (let at = start; at < end - 1; at++) if (bytes[at] === CR) return true;
    return false;
  }

  #turnToAnyEnd(bytes: Buffer, start: number, end: number): void {
    this.#anyEnd = true;
    const held = Buffer.from(this.#line.subarray(0, this.#lineLength));
    this.#lineLength = 0;
    this.#pushAnyEnd(held, 0, held.length);
    this.#pushAnyEnd(bytes, start, end);
  }

  #pushAnyEnd(bytes: Buffer, start: number, end: number): void {
    let lineStart = start;
    for (let at = start; at < end && !this.#isTooLong; at++) {
      const byte = bytes[at]!;
      const isSecond = byte === LF && this.#afterCr;
      this.#afterCr = byte === CR;
      if (byte !== CR && byte !== LF) continue;
      if (!isSecond) this.#endLine(bytes, lineStart, at);
      lineStart = at + 1;
    }
    if (lineStart < end && !this.#isTooLong) this.#holdLine(bytes, lineStart, end);
  }

  /** A line ends at `end`, with what was held of it before. */
  #endLine(bytes: Buffer, start: number, end: number): void {
    if (this.#lineLength === 0) return this.#takeLine(bytes, start, end);
    this.#line = append(this.#line, this.#lineLength, bytes, start, end);
    const length = this.#lineLength + end - start;
    this.#lineLength = 0;
    this.#takeLine(this.#line, 0, length);
  }

  #giveUp(): void {
    this.#isTooLong = true;
    this.#line = empty;
    this.#data = empty;
  }

  #takeLine(bytes: Buffer, lineStart: number, lineEnd: number): void {
    const start = this.#isFirst && bytes.indexOf(byteOrderMark, lineStart) === lineStart ? lineStart + byteOrderMark.length : lineStart;
    this.#isFirst = false;
    const end = lineEnd > start && bytes[lineEnd - 1] === CR ? lineEnd - 1 : lineEnd;
    if (end === start) {
      if (!this.#hasData) return;
      this.#hasData = false;
      this.#onEvent(this.#data, 0, this.#dataLength);
      return;
    }
    if (!isData(bytes, start, end)) return;
    if (end - start + (this.#hasData ? this.#dataLength : 0) > maxEventBytes) return this.#giveUp();
    if (this.#hasData) this.#data = append(this.#data, this.#dataLength++, lineFeed, 0, 1);
    else this.#dataLength = 0;
    this.#hasData = true;
    const from = valueStart(bytes, start, end);
    this.#data = append(this.#data, this.#dataLength, bytes, from, end);
    this.#dataLength += end - from;
  }
}

/** Hot path. Whether a line is a `data` field; without a colon its value is empty. */
function isData(bytes: Buffer, at: number, end: number): boolean {
  return (
    end - at >= nameBytes &&
    bytes[at] === 100 &&
    bytes[at + 1] === 97 &&
    bytes[at + 2] === 116 &&
    bytes[at + 3] === 97 &&
    (end - at === nameBytes || bytes[at + nameBytes] === colon)
  );
}

/** Hot path. Where the value of a `data` line begins: one space behind the colon is not part of it. */
function valueStart(bytes: Buffer, at: number, end: number): number {
  const from = Math.min(end, at + nameBytes + 1);
  return from < end && bytes[from] === space ? from + 1 : from;
}

/** Puts bytes behind the first `length` of `into`, which is replaced by a larger buffer where it is too small. */
function append(into: Buffer, length: number, bytes: Buffer, start: number, end: number): Buffer {
  const needed = length + end - start;
  let target = into;
  if (needed > into.length) {
    target = Buffer.allocUnsafe(Math.max(512, needed * 2));
    into.copy(target, 0, 0, length);
  }
  bytes.copy(target, length, start, end);
  return target;
}
