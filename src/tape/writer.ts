/** Writes a tape: each call as one line, when it has ended, in the order in which calls end. */
import { once } from "node:events";
import { createWriteStream, existsSync, mkdirSync, readdirSync, statSync, type WriteStream } from "node:fs";
import { join } from "node:path";
import { UsageError } from "../base/usage-error.ts";
import { type TapeCall, tapeFile, type TapeHead, type TapeLine } from "./form.ts";

export interface TapeBounds {
  /** Calls of a tape. */
  readonly calls: number;
  /** Bytes of its file. */
  readonly bytes: number;
}

export class TapeWriter {
  readonly file: string;
  /** What was written. */
  readonly written = { calls: 0, bytes: 0 };
  /** Calls that found the tape full. */
  leftOut = 0;
  readonly #bounds: TapeBounds;
  readonly #stream: WriteStream;
  #failure: Error | null = null;

  private constructor(file: string, bounds: TapeBounds, stream: WriteStream) {
    this.file = file;
    this.#bounds = bounds;
    this.#stream = stream;
    stream.on("error", (error) => (this.#failure = error));
  }

  /** Begins a tape in a folder, which is made, and in which there may be none yet. Rejects with UsageError. */
  static async begin(folder: string, head: TapeHead, bounds: TapeBounds): Promise<TapeWriter> {
    const file = join(folder, tapeFile);
    try {
      if (existsSync(folder) && !statSync(folder).isDirectory()) throw new UsageError(`--out: ${folder} is no folder`);
      if (existsSync(file)) throw new UsageError(`--out: there is a tape in ${folder} already: name another folder, or remove ${file}`);
      mkdirSync(folder, { recursive: true });
      readdirSync(folder);
      const stream = createWriteStream(file, { flags: "wx", mode: 0o600 });
      const writer = new TapeWriter(file, bounds, stream);
      await once(stream, "open");
      writer.#line(head);
      return writer;
    } catch (error) {
      if (error instanceof UsageError) throw error;
      throw new UsageError(`--out: cannot write to ${folder} (${(error as NodeJS.ErrnoException).code ?? "no access"})`);
    }
  }

  /** Why nothing more is written; null: it is. */
  get failure(): Error | null {
    return this.#failure;
  }

  /** false: the tape is full, or cannot be written to, and the call is left out. */
  add(call: TapeCall): boolean {
    const { written } = this;
    const isFull = written.calls >= this.#bounds.calls || written.bytes >= this.#bounds.bytes;
    if (isFull || this.#failure !== null || !this.#line(call)) {
      this.leftOut++;
      return false;
    }
    written.calls++;
    return true;
  }

  /** Resolves when all is on the disk, or cannot be. */
  async close(): Promise<void> {
    if (this.#stream.closed) return;
    this.#stream.end();
    await once(this.#stream, "close").catch(() => {});
  }

  #line(value: TapeLine): boolean {
    const line = `${JSON.stringify(value)}\n`;
    const bytes = Buffer.byteLength(line);
    if (this.written.bytes + bytes > this.#bounds.bytes) return false;
    this.written.bytes += bytes;
    this.#stream.write(line);
    return true;
  }
}
