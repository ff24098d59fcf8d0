/** The counts of several processes, dead ones included, as one exposition. */
import { renderMetrics, type Shown, type WorkerState } from "../../api/operations/metrics.ts";
import { ownRssBytes } from "../../base/proc.ts";
import { Meter } from "../../core/pacing/meter.ts";
import type { Bound, ListenerCounts } from "../../core/seams.ts";
import { newCounts } from "../../listeners/bounds.ts";
import type { Listening } from "../listening.ts";
import type { ServerSnapshot } from "../server.ts";

/** The counts of a listener that only grow. */
type Totals = Pick<ListenerCounts, "sessionsReaped" | "bounds">;

function addBounds(to: ListenerCounts["bounds"], more: ListenerCounts["bounds"]): void {
  for (const bound of Object.keys(to) as Bound[]) to[bound] += more[bound];
}

/** The counts of a worker and of those that held its place before it. */
export class Tally {
  /** The last note of the present worker. */
  latest: ServerSnapshot | null = null;
  readonly #past: Meter = new Meter();
  #pastCpuSeconds = 0;
  /** Of the dead workers' listeners: the counts that only grow, by protocol. */
  readonly #pastListeners = new Map<string, Totals>();

  /** The present worker is dead: keeps its counts, and drops what it had under way. */
  bury(): void {
    const { latest } = this;
    if (latest === null) return;
    this.latest = null;
    this.#past.add(latest.meter);
    this.#past.stalledStreams = 0;
    this.#pastCpuSeconds += latest.live.process.cpuSeconds;
    for (const { protocol, counts } of latest.live.listeners) {
      const past = this.past(protocol);
      past.sessionsReaped += counts.sessionsReaped;
      addBounds(past.bounds, counts.bounds);
      this.#pastListeners.set(protocol, past);
    }
  }

  /** The counts of the listeners of dead workers. */
  past(protocol: string): Totals {
    return this.#pastListeners.get(protocol) ?? { sessionsReaped: 0, bounds: newCounts().bounds };
  }

  get meter(): Meter {
    const meter = new Meter();
    meter.add(this.#past.snapshot());
    if (this.latest !== null) meter.add(this.latest.meter);
    return meter;
  }

  get cpuSeconds(): number {
    return this.#pastCpuSeconds + (this.latest?.live.process.cpuSeconds ?? 0);
  }
}

export interface MergeOptions {
  readonly tallies: readonly Tally[];
  /** For each: whether its worker is there and answers. */
  readonly answering: readonly boolean[];
  readonly listening: readonly Listening[];
  readonly shown: Shown;
  readonly draining: boolean;
  readonly restarts: number;
}

/** The exposition text over all workers and this process. */
export function mergedMetrics({ tallies, answering, listening, shown, draining, restarts }: MergeOptions): string {
  const meter = new Meter();
  const workers: WorkerState[] = [];
  const { user, system } = process.cpuUsage();
  let cpuSeconds = (user + system) / 1e6;
  let rssBytes = ownRssBytes();
  let running = 0;
  const schedulers = tallies.flatMap(({ latest }) => latest?.live.scheduler ?? []);
  // Each worker has a scheduler of its own: their queues add up, their memories are equal.
  const scheduler =
    schedulers.length === 0
      ? null
      : {
          waiting: schedulers.reduce((sum, { waiting }) => sum + waiting, 0),
          cacheUsage: schedulers.reduce((sum, { cacheUsage }) => sum + cacheUsage, 0) / schedulers.length,
        };
  for (const [index, tally] of tallies.entries()) {
    const own = tally.meter;
    meter.add(own.snapshot());
    cpuSeconds += tally.cpuSeconds;
    const workerBytes = tally.latest === null ? 0 : tally.latest.live.process.rssBytes;
    rssBytes = rssBytes === null || workerBytes === null ? null : rssBytes + workerBytes;
    running += tally.latest?.live.running ?? 0;
    workers.push({
      isAnswering: answering[index]!,
      openConnections: (tally.latest?.live.listeners ?? []).reduce((sum, { counts }) => sum + counts.connections, 0),
      responses: [...own.statuses.values()].reduce((sum, count) => sum + count, 0),
    });
  }
  const listeners = listening.map(({ protocol, engine }) => {
    const { bounds } = newCounts();
    const present = tallies.flatMap(({ latest }) => latest?.live.listeners ?? []).filter((listener) => listener.protocol === protocol);
    for (const { counts } of present) addBounds(bounds, counts.bounds);
    for (const tally of tallies) addBounds(bounds, tally.past(protocol).bounds);
    const sum = (pick: (counts: Readonly<ListenerCounts>) => number): number =>
      present.reduce((total, { counts }) => total + pick(counts), 0);
    const counts = {
      connections: sum((counts) => counts.connections),
      sessions: sum((counts) => counts.sessions),
      streams: sum((counts) => counts.streams),
      sessionsReaped:
        sum((counts) => counts.sessionsReaped) + tallies.reduce((total, tally) => total + tally.past(protocol).sessionsReaped, 0),
      bounds,
    };
    return { protocol, engine, counts };
  });
  const startSeconds = Math.round(performance.timeOrigin) / 1000;
  const bufferedBytes = tallies.reduce((sum, { latest }) => sum + (latest?.live.bufferedBytes ?? 0), 0);
  const live = { running, scheduler, draining, bufferedBytes, listeners, process: { cpuSeconds, rssBytes, startSeconds } };
  return renderMetrics(meter, shown, live, { workers, restarts });
}
