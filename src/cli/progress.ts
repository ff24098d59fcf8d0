/** Progress on stderr: a few lines that are rewritten in place on a terminal, a line every few seconds elsewhere. */
import { printable } from "../base/printable.ts";
import type { LiveEvent } from "../runner/arms.ts";
import { Block, isScreen, type Output } from "./block.ts";
import { LiveState } from "./live.ts";

/** Milliseconds between two rewrites. */
const redrawMs = 200;
/** Milliseconds between two lines of a log. */
const sparseMs = 5000;

export class Progress {
  readonly #output: Output;
  /** null: lines of a log. */
  readonly #block: Block | null;
  readonly #startedMs = performance.now();
  readonly #state: LiveState;
  readonly #timer: NodeJS.Timeout | null;
  #shownMs = -Infinity;
  #isEnded = false;

  constructor(output: Output, environment: NodeJS.ProcessEnv = process.env) {
    this.#output = output;
    this.#state = new LiveState(this.#startedMs);
    const lines = (columns: number, rows: number): string[] => this.#state.lines(columns, rows, performance.now());
    this.#block = isScreen(output, environment) ? new Block(output, lines) : null;
    // The time that is left goes on where nothing else happens, and a resized screen is drawn anew.
    this.#timer = this.#block !== null ? setInterval(() => this.#draw(), 1000) : null;
    this.#timer?.unref();
  }

  /** Shows what the run does now, in place of what it showed before. */
  update(text: string): void {
    this.#state.say(text);
    const nowMs = performance.now();
    if (nowMs - this.#shownMs < (this.#block !== null ? redrawMs : sparseMs)) return;
    this.#shownMs = nowMs;
    if (this.#block !== null) this.#draw();
    else this.#output.write(`[${String(Math.round((nowMs - this.#startedMs) / 1000)).padStart(3)} s] ${printable(text)}\n`);
  }

  /** How far the run is, for a terminal. */
  see(event: LiveEvent): void {
    this.#state.see(event, performance.now());
  }

  /** A line that stays. */
  notice(text: string): void {
    const line = `fakeai: ${printable(text)}\n`;
    if (this.#block === null || this.#isEnded) this.#output.write(line);
    else this.#block.print(line);
  }

  /** Clears what is rewritten, and draws no more. */
  end(): void {
    this.#isEnded = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#block?.clear();
  }

  #draw(): void {
    if (!this.#isEnded) this.#block?.draw();
  }
}
