/** What a server is doing at the moment and what it has done so far, for metrics and for `stats()`. */
import type { Listened } from "../api/operations/health.ts";
import type { LiveState } from "../api/operations/metrics.ts";
import { monotonicUs } from "../base/clock.ts";
import { ownRssBytes } from "../base/proc.ts";
import type { Meter } from "../core/pacing/meter.ts";
import type { Pacer } from "../core/pacing/pacer.ts";
import type { BatchScheduler } from "../core/pacing/scheduler.ts";
import type { ProtocolListener } from "../core/seams.ts";
import type { Bounds } from "../listeners/bounds.ts";

/** What a server has done and is doing. */
export interface ServerStats {
  /** Model responses under way. */
  readonly running: number;
  readonly openConnections: number;
  readonly openSessions: number;
  readonly openStreams: number;
  readonly finishedStreams: number;
  readonly abortedStreams: number;
  readonly promptTokens: number;
  readonly generationTokens: number;
  /** Responses begun, by status code. */
  readonly statuses: Readonly<Record<number, number>>;
  /** Faults on purpose that were made, by name. */
  readonly faults: Readonly<Record<string, number>>;
}

/** The parts of a server that know what it does. */
export interface ActivityParts {
  readonly meter: Meter;
  readonly pacer: Pacer;
  /** null: streams are independent. */
  readonly scheduler: BatchScheduler | null;
  readonly bounds: Bounds;
}

export class Activity {
  /** Set when the listeners exist: they come last. */
  listeners: readonly ProtocolListener[] = [];
  /** Set when they listen. */
  listening: readonly Listened[] = [];
  /** true once the server closes. */
  draining = false;
  readonly #parts: ActivityParts;

  constructor(parts: ActivityParts) {
    this.#parts = parts;
  }

  live(): LiveState {
    const { pacer, scheduler, bounds } = this.#parts;
    return {
      running: scheduler?.running ?? pacer.running,
      scheduler: scheduler && { waiting: scheduler.waiting(monotonicUs()), cacheUsage: scheduler.cacheUsage },
      draining: this.draining,
      bufferedBytes: bounds.bufferedBytes,
      listeners: this.listeners.map(({ protocol, engine, counts }) => ({ protocol, engine, counts })),
      process: processState(),
    };
  }

  stats(): ServerStats {
    const { meter, pacer } = this.#parts;
    const sum = (pick: (listener: ProtocolListener) => number): number =>
      this.listeners.reduce((total, listener) => total + pick(listener), 0);
    return {
      running: pacer.running,
      openConnections: sum(({ counts }) => counts.connections),
      openSessions: sum(({ counts }) => counts.sessions),
      openStreams: sum(({ counts }) => counts.streams),
      finishedStreams: meter.finished.stop + meter.finished.length,
      abortedStreams: meter.abortedStreams,
      promptTokens: meter.promptTokens,
      generationTokens: meter.generationTokens,
      statuses: Object.fromEntries(meter.statuses),
      faults: Object.fromEntries(meter.faults),
    };
  }
}

function processState(): LiveState["process"] {
  const cpu = process.cpuUsage();
  return {
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    rssBytes: ownRssBytes(),
    startSeconds: Math.round((performance.timeOrigin / 1000) * 1000) / 1000,
  };
}
