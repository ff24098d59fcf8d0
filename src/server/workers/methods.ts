/** What the primary and its workers ask of each other. */
import type { ServerOptions } from "../../settings/options.ts";
import type { Settled } from "../../settings/server.ts";
import type { RateAnswer, RateQuestion } from "../../core/limits/lease.ts";
import type { Listening } from "../listening.ts";
import type { ServerSnapshot } from "../server.ts";

export type Changes = Readonly<Record<string, unknown>>;

/** What a worker is to do. */
export interface Assignment {
  readonly options: ServerOptions;
  readonly settled: Settled;
  /** Its first request's number, and the workers in all, which is its stride. */
  readonly firstIndex: number;
  readonly workers: number;
}

/** Where a worker listens. */
export interface Started {
  readonly listening: readonly Listening[];
  readonly notices: readonly string[];
}

/** What a worker offers. */
export interface WorkerMethods {
  start(assignment: Assignment): Started;
  snapshot(none: null): ServerSnapshot;
  change(changes: Changes): void;
  /** Drains for up to so many milliseconds, and ends the process. */
  close(graceMs: number): void;
}

/** What the primary offers. */
export interface PrimaryMethods {
  /** Before it says this, a worker hears nothing. */
  hello(none: null): void;
  /** The exposition text of all. */
  metrics(none: null): string;
  /** Changes all workers; answers when all have changed. */
  change(changes: Changes): void;
  takeRates(questions: readonly RateQuestion[]): readonly RateAnswer[];
  /** Request numbers below this one are used, or may be. */
  reserve(index: number): void;
  /** What the worker has counted, in case it dies. */
  note(snapshot: ServerSnapshot): void;
}
