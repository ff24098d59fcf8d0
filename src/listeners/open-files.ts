/** The limit of open files: how many connections it leaves room for, and what happens at it. */
import { closeSync, openSync } from "node:fs";
import { devNull } from "node:os";
import { FileTable } from "../base/file-table.ts";

/** Files for what is no connection: modules that load late, a user's own files, and connections that are told why they are refused. */
export const sparedFiles = 16;
/** Of those, connections that may be told at one time. */
const toldAtOnce = sparedFiles / 2;
/** Of those, files that are held open, to be given up when no other is left. */
const heldFiles = 4;
const lookEveryMs = 250;
/** The limit has been met again when it was not met for so long before. */
const episodeMs = 10_000;
/** Where fewer connections than this fit, start-up says so, whatever was asked for: a load test may well have as many. */
const manyConnections = 10_000;

/** What the system grants a process. */
export interface FileGrant {
  /** Files that it may have open. */
  readonly limit: number;
  /** Files that it has open before the first connection. */
  readonly used: number;
}

/**
 * What one server process may do with its files. It looks now and then whether a file can still be opened: other code of the
 * process may have taken what was left. uWebSockets.js then tries to accept without end, at all of a core, and says nothing; node
 * closes what it accepts, uncounted. So a few files are held back. When no other can be opened they are given up, and each new
 * connection is accepted, counted and closed, until files are free again.
 */
export class OpenFiles {
  readonly grant: FileGrant;
  readonly #tell: (line: string) => void;
  #held: number[] = [];
  #exhausted = false;
  #lastMetMs = -Infinity;
  readonly #timer: NodeJS.Timeout;
  readonly #table: FileTable;

  /** `tell` takes a line for the operator. */
  constructor(grant: FileGrant, tell: (line: string) => void) {
    this.grant = grant;
    this.#tell = tell;
    this.#hold();
    this.#table = new FileTable(grant.limit);
    this.#timer = setInterval(() => this.#look(), lookEveryMs).unref();
  }

  /** No file can be opened: not even connections within the bound can be kept. */
  get exhausted(): boolean {
    return this.#exhausted;
  }

  /** Once for each connection, when it is counted: so many are open. */
  opened(connections: number): void {
    this.#table.note(this.grant.used + heldFiles + connections);
  }

  /** Connections that fit. */
  get room(): number {
    return Math.max(1, this.grant.limit - this.grant.used - sparedFiles);
  }

  /** Whether one more connection may stay open for as long as it takes to say why it is refused. */
  canTell(connections: number): boolean {
    return !this.#exhausted && connections <= this.room + toldAtOnce;
  }

  /** A connection is refused for want of a file. */
  met(connections: number): void {
    const nowMs = performance.now();
    if (nowMs - this.#lastMetMs > episodeMs)
      this.#tell(
        `connections are refused: ${connections - 1} are open, and the limit of open files is ${this.grant.limit} (raise it with ulimit -n)`,
      );
    this.#lastMetMs = nowMs;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#letGo();
  }

  #look(): void {
    this.#exhausted = this.#exhausted ? !this.#hold() : !canOpen();
    if (this.#exhausted) this.#letGo();
  }

  /** Holds files back, and returns whether one more could be opened beside them. */
  #hold(): boolean {
    try {
      while (this.#held.length < heldFiles) this.#held.push(openSync(devNull, "r"));
    } catch {
      // Those that were opened are held, or given up by the caller.
    }
    return canOpen();
  }

  #letGo(): void {
    for (const file of this.#held) closeSync(file);
    this.#held = [];
  }
}

/** false: this process, or the system, has no file left. Any other fault of the opened file says nothing about that. */
function canOpen(): boolean {
  try {
    closeSync(openSync(devNull, "r"));
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code !== "EMFILE" && code !== "ENFILE";
  }
}

/** What start-up says about connections that do not fit; null: nothing. `asked`: a user's own bound, or null. */
export function roomNotice({ grant, room }: OpenFiles, asked: number | null): string | null {
  if (asked === null ? room >= manyConnections : room >= asked) return null;
  const instead = asked === null ? "" : ` in place of --max-connections ${asked}`;
  return `the limit of open files is ${grant.limit}: up to ${room} connections${instead} (raise it with ulimit -n)`;
}
