/** Where a result goes: the directory is made and tried before anything is measured, and written after everything was shown. */
import { createWriteStream, existsSync, mkdtempSync, rmSync, type WriteStream, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join, relative, sep } from "node:path";
import { makeDirectory, removeDirectories } from "../base/directory.ts";
import { printable } from "../base/printable.ts";
import { UsageError } from "../base/usage-error.ts";
import type { RawData } from "../report/cards.ts";
import { renderHtml } from "../report/html.ts";
import { writeResult, writeWhole } from "../results/store.ts";
import type { BenchResult } from "../results/types.ts";

/** Name of the requests of --details within the directory of a result. */
const requestsFile = "requests.jsonl";

/** Bytes that are written to find a full disk: more than a result of many scenarios and its page. */
const trialBytes = 1_048_576;

/** Where the files of a result are. */
export interface Written {
  readonly result: string;
  /** null: it could not be written. */
  readonly report: string | null;
  /** One line for each thing that is not where it was meant to be. */
  readonly complaints: readonly string[];
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
      this.#details = createWriteStream(join(this.#path, requestsFile));
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

  /**
   * Writes the result, where that fails into the system's directory for temporary files, and its page beside it. Throws where
   * there is no place for the result.
   */
  async write(result: BenchResult): Promise<Written> {
    const complaints = this.#detailsFault === null ? [] : [`requests.jsonl is not whole: ${this.#detailsFault}`];
    const file = await this.#place(result, complaints);
    const report = join(dirname(file), "report.html");
    try {
      await writeWhole(report, renderHtml(result, rawDataBeside(report, file)));
      return { result: file, report, complaints };
    } catch (error) {
      complaints.push(`${report} cannot be written (${faultIn(error)}): fakeai report ${file} --out <file> writes it anew`);
      return { result: file, report: null, complaints };
    }
  }

  /** Writes the result; its path. */
  async #place(result: BenchResult, complaints: string[]): Promise<string> {
    try {
      return await writeResult(this.#path, result);
    } catch (error) {
      const fault = `${this.#path} cannot be written to (${faultIn(error)})`;
      let other: string | null = null;
      try {
        other = mkdtempSync(join(tmpdir(), "fakeai-result-"));
        const file = await writeResult(other, result);
        complaints.push(`${fault}: the result is in ${file}`);
        return file;
      } catch (again) {
        if (other !== null) rmSync(other, { recursive: true, force: true });
        throw new Error(`${fault}, nor ${tmpdir()} (${faultIn(again)})`, { cause: again });
      }
    }
  }
}

/** The file of a result, and its requests where they are kept, by their addresses as seen from the page. */
export function rawDataBeside(page: string, result: string): RawData[] {
  const requests = join(dirname(result), requestsFile);
  return [result, ...(existsSync(requests) ? [requests] : [])].map((file) => ({
    file: relative(dirname(page), file).split(sep).map(encodeURIComponent).join("/"),
    name: basename(file),
  }));
}

/** The system's words for an error: "ENOSPC: no space left on device". */
export function faultIn(error: unknown): string {
  return printable((error as Error).message.replace(/, (?:open|write|mkdir|mkdtemp|close|rename|unlink|scandir|stat)\b.*$/u, ""));
}
