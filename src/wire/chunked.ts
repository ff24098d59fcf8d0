/** The chunked transfer coding of HTTP/1.1 (RFC 9112, section 7.1), taken out of a body as it comes. */

const HTAB = 9;
const LF = 10;
const CR = 13;
const space = 32;
const semicolon = 59;

/** Digits of a chunk's size: 48 bits, which a number holds exactly. */
const maxSizeDigits = 12;
/** Bytes around the data that no length announces: extensions of one chunk, and all trailer fields. */
const maxLineBytes = 65_536;

/** Parts of the coding. Each of the `...Lf` states asks for the LF behind a CR: nothing else ends a line. */
type State = "size" | "sizeLf" | "extension" | "data" | "dataCr" | "dataLf" | "trailer" | "trailerLf" | "done" | "malformed";

export class ChunkedReader {
  readonly #onData: (bytes: Buffer, start: number, end: number) => void;
  #state: State = "size";
  /** Bytes of the chunk that are still to come. */
  #left = 0;
  #sizeDigits = 0;
  /** Bytes of extensions, or of trailers. */
  #lineBytes = 0;
  /** Bytes of the trailer line that is being read; 0 at its CR: the last one. */
  #trailerBytes = 0;

  /** `onData` gets the bytes of chunks, between `start` and `end`; valid during the call. */
  constructor(onData: (bytes: Buffer, start: number, end: number) => void) {
    this.#onData = onData;
  }

  /** The last chunk and the trailers have been read. */
  get isDone(): boolean {
    return this.#state === "done";
  }

  /** The bytes are not the coding. The message cannot be read further, nor the connection. */
  get isMalformed(): boolean {
    return this.#state === "malformed";
  }

  /** Begins with another body. */
  reset(): void {
    this.#state = "size";
    this.#startChunk();
  }

  /** Hot path. Takes bytes from `start`; returns where it stopped: at `end`, behind the body, or behind what is malformed. */
  read(bytes: Buffer, start: number, end: number): number {
    let at = start;
    while (at < end) {
      switch (this.#state) {
        case "data": {
          const to = Math.min(end, at + this.#left);
          this.#left -= to - at;
          if (this.#left === 0) this.#state = "dataCr";
          this.#onData(bytes, at, to);
          at = to;
          break;
        }
        case "dataCr":
          this.#state = bytes[at++] === CR ? "dataLf" : "malformed";
          break;
        case "dataLf":
          this.#state = bytes[at++] === LF ? "size" : "malformed";
          this.#startChunk();
          break;
        case "size":
          at = this.#readSize(bytes, at, end);
          break;
        case "sizeLf":
          this.#state = bytes[at++] !== LF ? "malformed" : this.#left === 0 ? "trailer" : "data";
          this.#lineBytes = 0;
          break;
        case "extension":
          this.#readExtension(bytes[at++]!);
          break;
        case "trailer":
        case "trailerLf":
          this.#readTrailer(bytes[at++]!);
          break;
        default:
          return at;
      }
    }
    return at;
  }

  /** Hot path. The digits of a size, and the byte behind them. */
  #readSize(bytes: Buffer, start: number, end: number): number {
    let at = start;
    while (at < end) {
      const byte = bytes[at++]!;
      const digit = hexDigit(byte);
      if (digit >= 0 && ++this.#sizeDigits <= maxSizeDigits) {
        this.#left = this.#left * 16 + digit;
        continue;
      }
      const isSize = digit < 0 && this.#sizeDigits > 0;
      const isExtended = byte === semicolon || byte === space || byte === HTAB;
      this.#state = !isSize ? "malformed" : byte === CR ? "sizeLf" : isExtended ? "extension" : "malformed";
      break;
    }
    return at;
  }

  /** What follows a size up to its CR says nothing to us (section 7.1.1). */
  #readExtension(byte: number): void {
    if (byte === CR) this.#state = "sizeLf";
    else if (byte === LF || ++this.#lineBytes > maxLineBytes) this.#state = "malformed";
  }

  #readTrailer(byte: number): void {
    if (this.#state === "trailerLf") {
      const isLast = this.#trailerBytes === 0;
      this.#trailerBytes = 0;
      this.#state = byte !== LF ? "malformed" : isLast ? "done" : "trailer";
    } else if (byte === CR) {
      this.#state = "trailerLf";
    } else {
      this.#trailerBytes++;
      if (byte === LF || ++this.#lineBytes > maxLineBytes) this.#state = "malformed";
    }
  }

  #startChunk(): void {
    this.#left = 0;
    this.#sizeDigits = 0;
    this.#lineBytes = 0;
    this.#trailerBytes = 0;
  }
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const lower = byte | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}
