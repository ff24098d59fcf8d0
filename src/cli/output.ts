/** Where a result goes: the directory is made and tried before anything is measured, and written after everything was shown. */
import { createWriteStream, mkdtempSync, rmSync, type WriteStream, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { makeDirectory, removeDirectories } from "../base/directory.ts";
import { printable } from "../base/printable.ts";
import { UsageError } from "../base/usage-error.ts";
import { renderHtml } from "../report/html.ts";
import { writeResult } from "../results/store.ts";
import type { BenchResult } from "../results/types.ts";

/** Bytes that are written to find a full disk. */
const trialBytes = 65_536;

/** Where the files of a result are. */
export interface Written {
  readonly result: string;
  readonly report: string;
  /** Why they are not where they were meant to be; null: they are. */
  readonly elsewhere: string | null;
}

export class ResultDirectory {
  readonly #path: string;
  /** Directories that were made for it. */
  readonly #made: readonly string[];
  readonly #notice: (text: string) => void;
  #details: WriteStream | null = null;
  #detailsFault: string | null = null;

  /** Makes the directory and writes a little into it. `flag` is what named it. Throws UsageError where it cannot be used. */
  constructor(path: string, flag: string | null, notice: (text: string) => void) {
    this.#path = path;
    this.#notice = notice;
    const hint = flag === null ? "name another directory with --out" : "a directory that can be made and written to is needed";
    try {
      this.#made = makeDirectory(path);
    } catch (error) {
      throw new UsageError(`${flag ?? "results"}: ${path} cannot be made (${faultIn(error)}): ${hint}`);
    }
    const trial = join(path, `.fakeai-${process.pid}.trial`);
    try {
      writeFileSync(trial, Buffer.alloc(trialBytes));
    } catch (error) {
      rmSync(trial, { force: true });
      this.discard();
      throw new UsageError(`${flag ?? "results"}: ${path} cannot be written to (${faultIn(error)}): ${hint}`);
    }
    rmSync(trial, { force: true });
  }

  /** A line of `requests.jsonl`, which is made with the first. On a full disk the rest is left out, and a notice says so. */
  detail(row: object): void {
    if (this.#detailsFault !== null) return;
    if (this.#details === null) {
      this.#details = createWriteStream(join(this.#path, "requests.jsonl"));
      this.#details.on("error", (error) => {
        this.#detailsFault ??= faultIn(error);
        this.#notice(`requests.jsonl ends early: ${this.#detailsFault}`);
      });
    }
    this.#details.write(`${JSON.stringify(row)}\n`);
  }

  /** Resolves when `requests.jsonl` is whole, or has failed. */
  endDetails(): Promise<void> {
    const stream = this.#details;
    return new Promise((resolve) => {
      if (stream === null || stream.closed) return resolve();
      stream.once("close", () => resolve());
      stream.end();
    });
  }

  /** Nothing was measured: what was made is removed where it is empty. */
  discard(): void {
    removeDirectories(this.#made);
  }

  /** Writes the result and its page; where that fails, into the system's directory for temporary files. Throws where both do. */
  async write(result: BenchResult): Promise<Written> {
    try {
      return { ...(await writeInto(this.#path, result)), elsewhere: null };
    } catch (error) {
      const elsewhere = `${this.#path} cannot be written to (${faultIn(error)})`;
      try {
        return { ...(await writeInto(mkdtempSync(join(tmpdir(), "fakeai-result-")), result)), elsewhere };
      } catch (again) {
        throw new Error(`${elsewhere}, nor ${tmpdir()} (${faultIn(again)}): only what was printed is left of the result`, { cause: again });
      }
    }
  }
}

async function writeInto(directory: string, result: BenchResult): Promise<{ result: string; report: string }> {
  const file = await writeResult(directory, result);
  const report = join(directory, "report.html");
  writeFileSync(report, renderHtml(result));
  return { result: file, report };
}

/** The system's words for an error: "ENOSPC: no space left on device". */
export function faultIn(error: unknown): string {
  return printable((error as Error).message.replace(/, (?:open|write|mkdir|close|rename|unlink|scandir|stat)\b.*$/u, ""));
}
