/** The kernel's table of a process's open files, and who waits while it grows. */
import { close, closeSync, open, openSync, readFileSync } from "node:fs";
import { devNull } from "node:os";

/** So many places are left when it is grown: enough for those who come meanwhile. Each of them is taken for a moment. */
const placesLeft = 64;
/** So long sleeps who has it grown, until a thread of node's pool has taken the task; milliseconds, twice as long at each further try. */
const handOverMs = 0.3;
const mostTries = 5;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

/**
 * Linux keeps a process's open files in a table that doubles when it is full. In a process with threads, as node is, the thread that opens
 * the first file beyond it waits until all cores have seen the new one (synchronize_rcu): 5 to 20 ms in which a server sends
 * nothing, at the 256th, 512th, 1024th ... connection. Here a thread of node's pool opens that file ahead of them.
 */
export class FileTable {
  /** Places; Infinity where the system does not say, or grants no more. */
  #size: number;
  readonly #limit: number;
  #growing = false;
  #tries = 0;

  /** `limit`: files that the process may have open. */
  constructor(limit: number) {
    this.#limit = limit;
    this.#size = this.#read();
  }

  /** Hot path of accepting. So many files are open now. */
  note(files: number): void {
    if (files >= this.#size - placesLeft && !this.#growing) this.#grow();
  }

  #read(): number {
    try {
      const size = Number(/^FDSize:\s+(\d+)/m.exec(readFileSync("/proc/self/status", "latin1"))?.[1]);
      return size > 0 && size < this.#limit ? size : Infinity;
    } catch {
      return Infinity;
    }
  }

  /** Takes all places, has the next file opened by another thread, and gives the places back while that one waits. */
  #grow(): void {
    const size = this.#size;
    const taken: number[] = [];
    this.#growing = true;
    try {
      do taken.push(openSync(devNull, "r"));
      while (taken.at(-1)! < size - 1 && taken.length < 2 * placesLeft);
      if (taken.at(-1) === size - 1) {
        open(devNull, "r", (error, file) => this.#opened(error === null ? file : null));
        Atomics.wait(sleeper, 0, 0, handOverMs * 2 ** this.#tries);
      } else {
        this.#opened(null);
      }
    } catch {
      // No file is left: then there is nothing to grow for.
      this.#opened(null);
    }
    for (const file of taken) closeSync(file);
  }

  /** `file` was opened by the other thread; null: none was. */
  #opened(file: number | null): void {
    if (file !== null) close(file, () => {});
    const before = this.#size;
    this.#size = this.#read();
    this.#tries = this.#size === before ? this.#tries + 1 : 0;
    // The pool is busy, or has no core: the thread that needs the next place will wait. The table after that one is tried anew.
    if (this.#tries === mostTries) [this.#size, this.#tries] = [2 * before, 0];
    this.#growing = false;
  }
}
