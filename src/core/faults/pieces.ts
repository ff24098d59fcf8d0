/** The writes that the bytes of one frame become. They are found one by one: a frame of a megabyte is no list of a million. */

/** Where bytes are cut. */
export interface Cuts {
  /** Behind each byte. */
  readonly bytes: boolean;
  /** In the middle of each line. */
  readonly lines: boolean;
  /** Behind the first byte of each character of several. */
  readonly characters: boolean;
}

const noBytes = new Uint8Array();
const lineEnd = 10;
/** A byte above it begins a character of several (UTF-8). */
const lastContinuation = 0xbf;

export class Pieces {
  #bytes: Uint8Array = noBytes;
  #cuts: Cuts = { bytes: false, lines: false, characters: false };
  #at = 0;
  /** The next cut in a line, and where the line after that begins. */
  #lineCut = 0;
  #nextLine = 0;

  /** Takes the bytes of a frame; those of the one before are used up. */
  load(bytes: Uint8Array, cuts: Cuts): void {
    this.#bytes = bytes;
    this.#cuts = cuts;
    this.#at = 0;
    this.#lineCut = 0;
    this.#nextLine = 0;
  }

  get isUsedUp(): boolean {
    return this.#at >= this.#bytes.length;
  }

  /** The next piece; empty bytes are one. */
  take(): Uint8Array {
    const start = this.#at;
    this.#at = this.#nextCut();
    return this.#bytes.subarray(start, this.#at);
  }

  #nextCut(): number {
    const bytes = this.#bytes;
    const at = this.#at;
    if (this.#cuts.bytes) return at + 1;
    let end = bytes.length;
    if (this.#cuts.lines) {
      while (this.#lineCut <= at) this.#findLine();
      end = Math.min(end, this.#lineCut);
    }
    if (this.#cuts.characters) for (let index = at; index < end; index++) if (bytes[index]! > lastContinuation) return index + 1;
    return end;
  }

  #findLine(): void {
    const end = this.#bytes.indexOf(lineEnd, this.#nextLine);
    this.#lineCut = end < 0 ? Infinity : Math.floor((this.#nextLine + end) / 2);
    this.#nextLine = end + 1;
  }
}
