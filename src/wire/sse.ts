/**
 * Event streams (WHATWG HTML, sections 9.2.5 and 9.2.6), cut into events: LF and CRLF, comments, several `data` lines, with
 * or without a space behind the colon. Only `data` is read; `event`, `id` and `retry` are skipped. A lone CR ends no line,
 * and a byte order mark is not looked for: no model server sends either.
 */

const colon = 58;
const space = 32;
const LF = 10;
const CR = 13;
const empty = Buffer.alloc(0);
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
    let at = start;
    while (at < end && !this.#isTooLong) {
      const lineEnd = bytes.indexOf(LF, at);
      if (lineEnd < 0 || lineEnd >= end) {
        if (this.#lineLength + end - at > maxEventBytes) return this.#giveUp();
        this.#line = append(this.#line, this.#lineLength, bytes, at, end);
        this.#lineLength += end - at;
        return;
      }
      if (this.#lineLength > 0) {
        this.#line = append(this.#line, this.#lineLength, bytes, at, lineEnd);
        const length = this.#lineLength + lineEnd - at;
        this.#lineLength = 0;
        this.#takeLine(this.#line, 0, length);
      } else if (
        !this.#hasData &&
        lineEnd + 1 < end &&
        bytes[lineEnd + 1] === LF &&
        isData(bytes, at, lineEnd) &&
        bytes[lineEnd - 1] !== CR
      ) {
        this.#onEvent(bytes, valueStart(bytes, at, lineEnd), lineEnd);
        at = lineEnd + 2;
        continue;
      } else {
        this.#takeLine(bytes, at, lineEnd);
      }
      at = lineEnd + 1;
    }
  }

  #giveUp(): void {
    this.#isTooLong = true;
    this.#line = empty;
    this.#data = empty;
  }

  #takeLine(bytes: Buffer, start: number, lineEnd: number): void {
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
