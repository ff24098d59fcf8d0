/** Progress on stderr: a few lines that are rewritten in place on a terminal, a line every few seconds elsewhere. */
import { printable } from "../base/printable.ts";
import type { LiveEvent } from "../runner/arms.ts";
import { LiveState } from "./live.ts";

/** Milliseconds between two rewrites. */
const redrawMs = 200;
/** Milliseconds between two lines of a log. */
const sparseMs = 5000;

/** A stream to write to; `columns` and `rows` are those of a terminal. */
interface Output {
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
function isScreen({ isTTY }: Output, { TERM, CI }: NodeJS.ProcessEnv): boolean {
  return isTTY === true && TERM !== "dumb" && (CI === undefined || CI === "" || CI === "false");
}

export class Progress {
  readonly #output: Output;
  readonly #isScreen: boolean;
  readonly #startedMs = performance.now();
  readonly #state: LiveState;
  readonly #timer: NodeJS.Timeout | null;
  #shownMs = -Infinity;
  /** Lengths of the lines that stand on the screen. */
  #drawn: readonly number[] = [];
  #isEnded = false;

  constructor(output: Output, environment: NodeJS.ProcessEnv = process.env) {
    this.#output = output;
    this.#isScreen = isScreen(output, environment);
    this.#state = new LiveState(this.#startedMs);
    // The time that is left goes on where nothing else happens, and a resized screen is drawn anew.
    this.#timer = this.#isScreen ? setInterval(() => this.#draw(), 1000) : null;
    this.#timer?.unref();
  }

  /** Shows what the run does now, in place of what it showed before. */
  update(text: string): void {
    this.#state.say(text);
    const nowMs = performance.now();
    if (nowMs - this.#shownMs < (this.#isScreen ? redrawMs : sparseMs)) return;
    this.#shownMs = nowMs;
    if (this.#isScreen) this.#draw();
    else this.#output.write(`[${String(Math.round((nowMs - this.#startedMs) / 1000)).padStart(3)} s] ${printable(text)}\n`);
  }

  /** How far the run is, for a terminal. */
  see(event: LiveEvent): void {
    this.#state.see(event, performance.now());
  }

  /** A line that stays. */
  notice(text: string): void {
    const line = `fakeai: ${printable(text)}\n`;
    if (!this.#isScreen) return void this.#output.write(line);
    this.#output.write(`${beginUpdate}${this.#home()}${clearBelow}${line}${endUpdate}`);
    this.#drawn = [];
    this.#draw();
  }

  /** Clears what is rewritten, and draws no more. */
  end(): void {
    this.#isEnded = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#drawn.length > 0) this.#output.write(this.#home() + clearBelow);
    this.#drawn = [];
  }

  #draw(): void {
    if (this.#isEnded) return;
    const { columns = 80, rows = 24 } = this.#output;
    const lines = this.#state.lines(columns, rows, performance.now());
    // The cursor is hidden while it moves alone, so that a process that is killed leaves it as it was.
    const text = lines.map((line) => `${line}${clearLine}\n`).join("");
    this.#output.write(`${beginUpdate}${hideCursor}${this.#home()}${text}${clearBelow}${showCursor}${endUpdate}`);
    this.#drawn = lines.map(({ length }) => length);
  }

  /** Goes to the first line that stands there. A narrower screen has wrapped them. */
  #home(): string {
    const { columns = 80, rows = 24 } = this.#output;
    const height = this.#drawn.reduce((sum, length) => sum + Math.max(1, Math.ceil(length / columns)), 0);
    return height === 0 ? "" : `\x1b[${Math.min(height, rows - 1)}F`;
  }
}
