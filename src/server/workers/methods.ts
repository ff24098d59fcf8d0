/** The calls between the primary and its workers. */
import type { Certificate } from "../../base/certificate.ts";
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
  /** null: no protocol needs one. */
  readonly certificate: Certificate | null;
  /** The number of its first request. */
  readonly firstIndex: number;
  /** Workers in all: the step from one request number of a worker to its next. */
  readonly workers: number;
}

/** Where a worker listens. */
export interface Started {
  readonly listening: readonly Listening[];
  readonly notices: readonly string[];
}

/** What the primary may call in a worker. */
export interface WorkerMethods {
  start(assignment: Assignment): Started;
  snapshot(none: null): ServerSnapshot;
  change(changes: Changes): void;
  /** Drains for up to `graceMs`, then ends the process. */
  close(graceMs: number): void;
}

/** What a worker may call in the primary. */
export interface PrimaryMethods {
  /** The worker listens to its channel: calls before this are lost. */
  hello(none: null): void;
  /** The exposition text of all workers. */
  metrics(none: null): string;
  /** Changes all workers; resolves when all have changed. */
  change(changes: Changes): void;
  takeRates(questions: readonly RateQuestion[]): readonly RateAnswer[];
  /** Request numbers below `index` are used, or may be. */
  reserve(index: number): void;
  /** A line for the operator. */
  tell(line: string): void;
  /** What the worker has counted: kept in case it dies. */
  note(snapshot: ServerSnapshot): void;
}
