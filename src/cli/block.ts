/** A few lines that are rewritten in place on a terminal. */

/** A stream to write to; `columns` and `rows` are those of a terminal. */
export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): unknown;
}

// Escape sequences of a terminal (ECMA-48, and DEC's private modes).
const hideCursor = "\x1b[?25l";
const showCursor = "\x1b[?25h";
/** What lies between them is shown at once; terminals that do not know it ignore it. */
const beginUpdate = "\x1b[?2026h";
const endUpdate = "\x1b[?2026l";
const clearLine = "\x1b[K";
const clearBelow = "\x1b[J";

/** Whether lines can be rewritten: not on a dumb terminal, nor in a log of CI that claims to be one. */
export function isScreen({ isTTY }: Output, { TERM, CI }: NodeJS.ProcessEnv): boolean {
  return isTTY === true && TERM !== "dumb" && (CI === undefined || CI === "" || CI === "false");
}

export class Block {
  readonly #output: Output;
  readonly #lines: (columns: number, rows: number) => readonly string[];
  /** Lengths of the lines that stand on the screen. */
  #drawn: readonly number[] = [];

  /** `lines` gives what is shown: each line shorter than the columns, and fewer of them than there are rows. */
  constructor(output: Output, lines: (columns: number, rows: number) => readonly string[]) {
    this.#output = output;
    this.#lines = lines;
  }

  draw(): void {
    const { columns = 80, rows = 24 } = this.#output;
    const lines = this.#lines(columns, rows);
    const text = lines.map((line) => `${line}${clearLine}\n`).join("");
    // The cursor is hidden while it moves alone, so that a process that is killed leaves it as it was.
    this.#output.write(`${beginUpdate}${hideCursor}${this.#home()}${text}${clearBelow}${showCursor}${endUpdate}`);
    this.#drawn = lines.map(({ length }) => length);
  }

  /** A text above the lines, which stays. It ends in a newline. */
  print(text: string): void {
    this.#output.write(`${beginUpdate}${this.#home()}${clearBelow}${text}${endUpdate}`);
    this.#drawn = [];
    this.draw();
  }

  clear(): void {
    if (this.#drawn.length > 0) this.#output.write(this.#home() + clearBelow);
    this.#drawn = [];
  }

  /** Goes to the first line that stands there. A narrower screen has wrapped them. */
  #home(): string {
    const { columns = 80, rows = 24 } = this.#output;
    const height = this.#drawn.reduce((sum, length) => sum + Math.max(1, Math.ceil(length / columns)), 0);
    return height === 0 ? "" : `\x1b[${Math.min(height, rows - 1)}F`;
  }
}
