/** What shards and their rendezvous say to each other: one JSON object a line, over TCP. */
import type { Socket } from "node:net";
import type { BenchResult, RoundResult } from "../results/types.ts";

/** Of this form of the messages; ends that differ in it refuse each other. */
export const messagesVersion = 1;

/** A line that is longer ends the connection. A result of a long suite has some 10 MB. */
const longestLine = 268_435_456;
/** The same before a shard was let in: a plan has some kB. */
const longestHello = 1_048_576;

/** In the refusal of a number that is taken: by another shard, or by a former life whose end is not noticed yet. */
export const hereAlready = "is here already";

/** What all shards have to have in common, by what it is called: "--requests" to "1000". */
export type Plan = Readonly<Record<string, string>>;

/** Where a round stands: "stream//h2c/3". */
export type RoundKey = string;

/** What a shard has of a round. */
export interface ShardReport {
  /** Why it may not be used, each reason in one line. */
  readonly invalid: readonly string[];
  readonly completed: number;
  readonly durationUs: number;
  /** Its arm answers nothing, or its tool fails: it is not run again. */
  readonly dead: boolean;
}

/** What all shards have of it. */
export interface Settled {
  /** Reasons of other shards, each beginning with the shard's name. */
  readonly invalid: readonly string[];
  /** Of all shards. */
  readonly completed: number;
  /** The longest. */
  readonly durationUs: number;
  readonly dead: boolean;
}

/** Where a round's result belongs. */
export interface RoundPlace {
  readonly scenario: string;
  readonly variant: string;
  readonly arm: string;
}

export type FromShard =
  | {
      readonly kind: "hello";
      readonly version: number;
      readonly shard: number;
      readonly of: number;
      readonly token: string | null;
      readonly plan: Plan;
      /** How long a round may last after its first shard has ended, milliseconds. */
      readonly patienceMs: number;
    }
  | { readonly kind: "time"; readonly t1: number }
  | { readonly kind: "arrive"; readonly round: RoundKey; readonly run: number }
  | { readonly kind: "ended"; readonly round: RoundKey; readonly report: ShardReport }
  | { readonly kind: "round"; readonly place: RoundPlace; readonly result: RoundResult }
  | { readonly kind: "leave"; readonly reason: string }
  | { readonly kind: "result"; readonly result: BenchResult };

export type ToShard =
  | { readonly kind: "refused"; readonly reason: string }
  /** Let in; the session begins with `begin`. */
  | { readonly kind: "admitted" }
  | { readonly kind: "begin"; readonly session: string; readonly done: readonly (readonly [RoundKey, Settled])[] }
  | { readonly kind: "time"; readonly t1: number; readonly t2: number; readonly t3: number }
  /** The run begins at this instant of the session's clock. */
  | { readonly kind: "go"; readonly round: RoundKey; readonly run: number; readonly atUs: number }
  | { readonly kind: "skip"; readonly round: RoundKey; readonly reasons: readonly string[] }
  | { readonly kind: "settled"; readonly round: RoundKey; readonly settled: Settled }
  | { readonly kind: "end"; readonly reason: string }
  | { readonly kind: "kept" };

/** One end of a connection, line by line. */
export class Link {
  readonly #socket: Socket;
  #parts: Buffer[] = [];
  #held = 0;
  /** A line that is longer ends the connection. */
  longest: number = longestHello;

  /** `onLine` gets what JSON.parse makes of a line; `onClose` is called once. */
  constructor(socket: Socket, onLine: (message: unknown) => void, onClose: (reason: string) => void) {
    this.#socket = socket;
    socket.setNoDelay(true);
    let reason = "its connection closed";
    socket.on("data", (bytes: Buffer) => {
      try {
        this.#take(bytes, onLine);
      } catch (error) {
        reason = (error as Error).message;
        socket.destroy();
      }
    });
    socket.on("error", (error: NodeJS.ErrnoException) => {
      reason = `its connection broke (${error.code ?? error.message})`;
    });
    socket.on("close", () => onClose(reason));
  }

  /** The other end is one of ours: its lines may be as long as a result. */
  admit(): void {
    this.longest = longestLine;
  }

  send(message: ToShard | FromShard): void {
    if (!this.#socket.destroyed) this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  /** What was sent goes out first. */
  end(): void {
    this.#socket.end();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #take(bytes: Buffer, onLine: (message: unknown) => void): void {
    let start = 0;
    for (let end = bytes.indexOf(10); end >= 0 && !this.#socket.destroyed; end = bytes.indexOf(10, start)) {
      const line = Buffer.concat([...this.#parts, bytes.subarray(start, end)]);
      this.#parts = [];
      this.#held = 0;
      start = end + 1;
      onLine(parsed(line));
    }
    if (start === bytes.length) return;
    this.#held += bytes.length - start;
    if (this.#held > this.longest) throw new Error("it sent a line that is too long");
    this.#parts.push(Buffer.from(bytes.subarray(start)));
  }
}

function parsed(line: Buffer): unknown {
  try {
    return JSON.parse(line.toString("utf8"));
  } catch {
    throw new Error("it sent what is no JSON");
  }
}
