/**
 * Several processes that share the ports. The primary serves no request. It finds the ports, starts the workers, replaces one that
 * ends by itself, and keeps what all have in common: metrics, rate limits and changed knobs.
 */
import { instanceId, instanceVariable } from "../../base/instance.ts";
import cluster, { type Worker } from "node:cluster";
import { createServer, type AddressInfo, type Server } from "node:net";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { ApiError } from "../../api/errors/api-error.ts";
import { shownOf } from "../../api/operations/metrics.ts";
import type { Certificate } from "../../base/certificate.ts";
import { monotonicUs } from "../../base/clock.ts";
import { type ServerConfig, settledOf } from "../../settings/server.ts";
import type { Endpoint } from "../../settings/server-values.ts";
import { servedProtocols } from "../../core/protocols.ts";
import type { Protocol } from "../../core/seams.ts";
import { answerRates } from "../../core/limits/lease.ts";
import { LocalRateLimiter } from "../../core/limits/rate-limit.ts";
import { changedConfig } from "../knobs.ts";
import { findCertificate, type Listening, trustOf } from "../listening.ts";
import type { StartedServer } from "../server.ts";
import { Channel, GoneError, LateError, type Methods } from "./channel.ts";
import { Handovers } from "./handover.ts";
import type { Changes, PrimaryMethods, Started, WorkerMethods } from "./methods.ts";
import { mergedMetrics, Tally } from "./tally.ts";

/** How long a worker that is stopped or stuck is waited for. Then a scrape shows what it noted last, and a change says which it is. */
const answerTimeoutMs = 1000;
/** How long a drained worker may take beyond the grace before it is killed. One that gives no sign of life gets none of it. */
const closeMarginMs = 2000;
/** The wait before a worker is replaced: none after a life longer than `soundLifeMs`, else longer with each short life in a row. */
const soundLifeMs = 5000;
const restartDelaysMs = [0, 200, 400, 800, 1600, 3200];

/** What `fakeai serve` needs of a server, of one process or of several. */
export type Served = Pick<StartedServer, "listening" | "ca" | "caPath" | "config" | "notices" | "metrics" | "close">;

/** One of the places 0 to n - 1: it holds a worker, and after its death the next. */
interface Seat {
  readonly index: number;
  worker: Worker | null;
  channel: Channel<WorkerMethods> | null;
  /** Its worker has started. */
  listens: boolean;
  readonly tally: Tally;
  /** The first request number that no worker of this seat has used. */
  nextIndex: number;
  startedMs: number;
  /** Short lives in a row. */
  shortLives: number;
  /** `received` of its channel when an answer was late; null: none was. */
  lateAt: number | null;
}

/** Whether the worker of a seat is there, and has been heard of since it was late. */
function isAnswering({ channel, lateAt }: Seat): boolean {
  return channel !== null && lateAt !== channel.received;
}

function inWords(workers: readonly string[]): string {
  const last = workers.at(-1)!;
  return workers.length === 1 ? `Worker ${last}` : `Workers ${workers.slice(0, -1).join(", ")} and ${last}`;
}

/**
 * Starts `config.workers` processes. Rejects as startServer does, with nothing left running. `tell` is called with one line
 * for each worker that ends by itself, and with what a worker has to tell.
 */
export async function startWorkers(initial: ServerConfig, tell: (line: string) => void): Promise<Served> {
  const certificate = await findCertificate(initial);
  const endpoints = await findPorts(initial.host, initial.endpoints);
  const primary = new Primary({ ...initial, endpoints }, certificate, tell);
  const { listening, notices } = await primary.start();
  return {
    listening,
    notices,
    ...trustOf(certificate),
    get config() {
      return primary.config;
    },
    metrics: () => primary.metrics(),
    close: (graceMs) => primary.close(graceMs ?? primary.config.graceMs),
  };
}

/** Binds every port exclusively, which also settles those that are 0, and releases them for the workers. */
async function findPorts(host: string, endpoints: readonly Endpoint[]): Promise<Endpoint[]> {
  const probes: Server[] = [];
  try {
    const ports = new Map<Protocol, number>();
    for (const { protocol, port, sharesPort } of endpoints) {
      if (sharesPort) continue;
      const server = await probe(host, port);
      probes.push(server);
      ports.set(protocol, (server.address() as AddressInfo).port);
    }
    return endpoints.map((endpoint) => {
      const { protocol, sharesPort } = endpoint;
      return { ...endpoint, port: ports.get(sharesPort ? servedProtocols[protocol].upgradedFrom! : protocol)! };
    });
  } finally {
    await Promise.all(probes.map((server) => new Promise((resolve) => server.close(resolve))));
  }
}

function probe(host: string, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once("error", reject);
    server.listen({ host, port, exclusive: true }, () => resolve(server));
  });
}

/** Resolves with what ended a worker, once its channel has closed too: its last messages may come after its exit. */
function endOf(worker: Worker): Promise<string> {
  return new Promise((resolve) => {
    let how = "";
    const over = (): void => {
      if (how !== "" && !worker.isConnected()) resolve(how);
    };
    worker.on("exit", (code, signal) => {
      how = signal || `exit ${code}`;
      over();
    });
    worker.on("disconnect", over);
  });
}

class Primary {
  config: ServerConfig;
  readonly #limiter: LocalRateLimiter;
  readonly #seats: readonly Seat[];
  readonly #certificate: Certificate | null;
  readonly #tell: (line: string) => void;
  #listening: readonly Listening[] = [];
  #restarts = 0;
  #ready = false;
  #closing: Promise<void> | null = null;

  constructor(config: ServerConfig, certificate: Certificate | null, tell: (line: string) => void) {
    this.config = config;
    this.#certificate = certificate;
    this.#tell = tell;
    this.#limiter = new LocalRateLimiter(config.rateLimits, monotonicUs);
    this.#seats = Array.from({ length: config.workers }, (_, index) => ({
      index,
      worker: null,
      channel: null,
      listens: false,
      tally: new Tally(),
      nextIndex: index,
      startedMs: 0,
      shortLives: 0,
      lateAt: null,
    }));
  }

  async start(): Promise<Started> {
    const self = fileURLToPath(import.meta.url);
    cluster.schedulingPolicy = cluster.SCHED_RR;
    cluster.setupPrimary({ exec: join(dirname(self), `worker${extname(self)}`), args: [] });
    // However this process ends, it ends its workers, hung ones included.
    process.on("exit", () => this.#killAll());
    try {
      const [first] = await Promise.all(this.#seats.map((seat) => this.#fork(seat)));
      this.#ready = true;
      this.#listening = first!.listening;
      return first!;
    } catch (error) {
      this.#killAll();
      throw error;
    }
  }

  close(graceMs: number): Promise<void> {
    return (this.#closing ??= this.#close(graceMs));
  }

  async #close(graceMs: number): Promise<void> {
    const workers = this.#seats.flatMap(({ worker }) => (worker === null || worker.isDead() ? [] : worker));
    const ended = Promise.all(workers.map((worker) => new Promise((resolve) => worker.once("exit", resolve))));
    const silent = new Set(this.#seats);
    for (const seat of this.#seats) {
      const { channel, worker } = seat;
      if (channel === null) {
        // It serves no request yet.
        worker?.process.kill("SIGKILL");
        continue;
      }
      channel.tell("close", graceMs);
      const heard = (): boolean => silent.delete(seat);
      channel.call("snapshot", null).then(heard, heard);
    }
    const timers = [
      setTimeout(() => this.#kill(silent), Math.max(graceMs, answerTimeoutMs)),
      setTimeout(() => this.#killAll(), graceMs + closeMarginMs),
    ];
    await ended;
    timers.forEach(clearTimeout);
  }

  #killAll(): void {
    this.#kill(this.#seats);
  }

  #kill(seats: Iterable<Seat>): void {
    for (const { worker } of seats) worker?.process.kill("SIGKILL");
  }

  /** Starts a worker in a seat; resolves when it listens. Rejects when it cannot, or ends before. */
  async #fork(seat: Seat): Promise<Started> {
    const worker = cluster.fork({ [instanceVariable]: instanceId });
    const { index } = seat;
    // A message is lost that comes before the worker listens to its channel.
    let greeted = (): void => {};
    const hello = new Promise<void>((resolve) => {
      greeted = resolve;
    });
    const mine: Methods<PrimaryMethods> = {
      hello: () => greeted(),
      metrics: () => this.metrics(),
      change: (changes) => this.#change(changes),
      takeRates: (questions) => questions.map((question) => answerRates(this.#limiter, question)),
      reserve: (index) => {
        seat.nextIndex = index;
      },
      tell: (line) => this.#tell(`worker ${index}: ${line}`),
      note: (snapshot) => {
        seat.tally.latest = snapshot;
      },
    };
    const channel = new Channel<WorkerMethods>(worker, mine);
    seat.worker = worker;
    seat.lateAt = null;
    seat.startedMs = performance.now();
    worker.on("error", () => {});
    const handovers = new Handovers(worker);
    const dead = endOf(worker);
    void dead.then((how) => this.#bury(seat, { channel, handovers, how }));
    await Promise.race([hello, dead]);
    const { options, workers } = this.config;
    try {
      if (worker.isConnected()) seat.channel = channel;
      const settled = settledOf(this.config);
      const assignment = { options, settled, certificate: this.#certificate, firstIndex: seat.nextIndex, workers };
      const started = await channel.call("start", assignment);
      seat.listens = true;
      return started;
    } catch (error) {
      throw error instanceof GoneError ? new Error(`worker ${index} ended while it started`) : error;
    }
  }

  /** A worker is dead: keeps what it counted and had not taken, and starts the next unless the primary closes. */
  #bury(seat: Seat, { channel, handovers, how }: { channel: Channel<WorkerMethods>; handovers: Handovers; how: string }): void {
    channel.close();
    const { worker } = seat;
    seat.tally.bury();
    seat.worker = null;
    seat.listens = false;
    seat.channel = null;
    handovers.giveBack(!this.#seats.some(({ listens }) => listens));
    if (this.#closing !== null || !this.#ready) return;
    this.#restarts++;
    seat.shortLives = performance.now() - seat.startedMs > soundLifeMs ? 0 : seat.shortLives + 1;
    const delayMs = restartDelaysMs[Math.min(seat.shortLives, restartDelaysMs.length - 1)]!;
    this.#tell(`worker ${seat.index} (process ${worker!.process.pid}) ended by ${how}; starting it again`);
    setTimeout(() => {
      if (this.#closing === null) this.#restart(seat);
    }, delayMs);
  }

  #restart(seat: Seat): void {
    this.#fork(seat).catch((error: Error) => {
      if (this.#closing !== null) return;
      this.#tell(`worker ${seat.index} cannot start: ${error.message}`);
      seat.worker?.process.kill("SIGKILL");
    });
  }

  async #change(changes: Changes): Promise<void> {
    this.config = changedConfig(this.config, changes, this.#listening);
    this.#limiter.setLimits(this.config.rateLimits);
    const changed: string[] = [];
    const late: string[] = [];
    await Promise.all(
      this.#seats.map(async (seat) => {
        const { channel, worker, index } = seat;
        try {
          if (channel !== null) await this.#ask(seat, channel.call("change", changes, answerTimeoutMs));
          changed.push(String(index));
        } catch (error) {
          // The worker that replaces it starts with the new knobs.
          if (error instanceof GoneError) changed.push(String(index));
          else if (error instanceof LateError) late.push(`${index} (process ${worker!.process.pid})`);
          else throw new ApiError(503, `Worker ${index} has not changed: ${(error as Error).message}`, null, "worker_not_changed");
        }
      }),
    );
    if (late.length === 0) return;
    const others = changed.length === 0 ? "" : ` ${inWords(changed.sort())} changed.`;
    const why = `${inWords(late.sort())} gave no answer for ${answerTimeoutMs} ms: stopped, or stuck.`;
    // What was sent waits in the channel.
    throw new ApiError(503, `${why} What runs again changes then.${others}`, null, "worker_not_changed");
  }

  /** Notes whether the answer was late. */
  async #ask<T>(seat: Seat, answer: Promise<T>): Promise<T> {
    const { channel } = seat;
    try {
      return await answer;
    } catch (error) {
      if (error instanceof LateError && seat.channel === channel) seat.lateAt = channel!.received;
      throw error;
    }
  }

  /** The exposition text of all workers. */
  async metrics(): Promise<string> {
    await Promise.all(
      this.#seats.map(async (seat) => {
        const { channel } = seat;
        // One that was late has its question still: no scrape waits for it again before it is heard of.
        if (channel === null || !isAnswering(seat)) return;
        try {
          const snapshot = await this.#ask(seat, channel.call("snapshot", null, answerTimeoutMs));
          if (seat.channel === channel) seat.tally.latest = snapshot;
        } catch {
          // It is dying, stuck or not ready yet: its last note counts.
        }
      }),
    );
    return mergedMetrics({
      tallies: this.#seats.map(({ tally }) => tally),
      answering: this.#seats.map(isAnswering),
      listening: this.#listening,
      shown: shownOf(this.config),
      draining: this.#closing !== null,
      restarts: this.#restarts,
    });
  }
}
