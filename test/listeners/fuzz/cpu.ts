/** CPU time of a server's serving thread, as the system tells it. */
import { readFileSync } from "node:fs";

/** CPU time of a process's first thread, ms (proc(5), schedstat); 0: it has ended. */
export function cpuMsOf(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/task/${pid}/schedstat`, "utf8").split(" ")[0]) / 1e6;
  } catch {
    return 0;
  }
}

/** When a thread had used how much. */
export class CpuLog {
  readonly #atMs: number[] = [];
  readonly #usedMs: number[] = [];

  add(atMs: number, usedMs: number): void {
    this.#atMs.push(atMs);
    this.#usedMs.push(usedMs);
  }

  /** How much it had used at a time, or at the latest before it that was noted; at the first where none was. */
  at(ms: number): number {
    let index = this.#atMs.length - 1;
    while (index > 0 && this.#atMs[index]! > ms) index--;
    return this.#usedMs[index] ?? 0;
  }

  /** Forgets all but the last, from which the next are counted. */
  begin(): void {
    this.#atMs.splice(0, this.#atMs.length - 1);
    this.#usedMs.splice(0, this.#usedMs.length - 1);
  }
}
