/** Progress on stderr: one line that is rewritten on a terminal, a line every few seconds elsewhere. */

import { printable } from "../base/printable.ts";

/** Milliseconds between two rewrites of the line. */
const redrawMs = 100;
/** Milliseconds between two lines of a log. */
const sparseMs = 5000;

interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

export class Progress {
  readonly #output: Output;
  readonly #startedMs = performance.now();
  #shownMs = -Infinity;
  #dirty = false;

  constructor(output: Output) {
    this.#output = output;
  }

  /** Shows what the run does now, in place of what it showed before. */
  update(text: string): void {
    const nowMs = performance.now();
    if (nowMs - this.#shownMs < (this.#output.isTTY ? redrawMs : sparseMs)) return;
    this.#shownMs = nowMs;
    const line = `[${String(Math.round((nowMs - this.#startedMs) / 1000)).padStart(3)} s] ${printable(text)}`;
    if (this.#output.isTTY) {
      this.#output.write(`\r\x1b[K${line.slice(0, (this.#output.columns ?? 80) - 1)}`);
      this.#dirty = true;
    } else {
      this.#output.write(`${line}\n`);
    }
  }

  /** A line that stays. */
  notice(text: string): void {
    this.end();
    this.#output.write(`fakeai: ${printable(text)}\n`);
  }

  /** Clears the line that is rewritten. */
  end(): void {
    if (this.#dirty) this.#output.write("\r\x1b[K");
    this.#dirty = false;
  }
}
