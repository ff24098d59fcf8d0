/** What a soak needs of a server: one in a process that tells all it holds, or `fakeai serve` with its workers. */
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { rssBytesOf } from "../../src/base/proc.ts";
import { servedProtocols } from "../../src/core/protocols.ts";
import type { H2Engine } from "../../src/core/seams.ts";
import type { ProtocolName } from "../../src/results/types.ts";
import { Attacked } from "../../test/listeners/attacks/attacked.ts";
import { eventually } from "../../test/support/wait.ts";
import { cliPath } from "../support/server.ts";
import { itlMs, ttftMs } from "./plan.ts";

/** Streams of one protocol on one engine. */
export interface LaneAddress {
  /** In figures: "h1 node". */
  readonly name: string;
  readonly protocol: ProtocolName;
  readonly engine: string;
  readonly origin: string;
}

/** What a server has counted since it started, and what it holds while nothing is asked of it. */
export interface Held {
  /** After a collection; null where the server is not asked for one. */
  readonly heapBytes: number | null;
  /** Of all its processes. */
  readonly rssBytes: number;
  /** By process: "primary", "worker". Workers are several in no order. */
  readonly processes: readonly { readonly what: string; readonly rssBytes: number; readonly files: number }[];
  /** Responses begun, by status. */
  readonly statuses: Readonly<Record<number, number>>;
  readonly finished: number;
  readonly aborted: number;
  /** Tokens that fell due while their reader read nothing, and its buffers were full. */
  readonly heldTokens: number;
  /** Workers that were started again. */
  readonly restarts: number;
}

export interface SoakedServer {
  readonly name: string;
  readonly lanes: readonly LaneAddress[];
  readonly caPath: string | null;
  /** The process that was started. */
  readonly pid: number;
  /** The processes that serve, where others than `pid` do. */
  workers(): readonly number[];
  /** Waits until nothing is under way, then says what is held. Rejects when something stays. */
  settle(): Promise<Held>;
  /** Ends it. Resolves with what it has said or done that it should not have. */
  stop(deaths: number): Promise<string[]>;
}

export interface ServerOptions {
  readonly seed: number;
  /** 0: one process, which tells more of itself. */
  readonly workers: number;
  /** Engine of HTTP/2 where one process serves; workers have both. */
  readonly h2Engine: H2Engine;
}

/** How many lanes there are. */
export const lanesOf = (workers: number): number => (workers === 0 ? 4 : 7);

/** A protocol whose engine is not the usual one is told by both. */
const laneName = (protocol: ProtocolName, engine: string): string => (engine === "own" ? `${protocol} own` : protocol);

/**
 * The servers of a soak: uWebSockets.js for HTTP/1.1, and for HTTP/2 the engine that was asked for; with workers node for HTTP/2, and a
 * second server, on node for HTTP/1.1 and on our own engine for HTTP/2.
 */
export async function startServers(options: ServerOptions): Promise<SoakedServer[]> {
  if (options.workers === 0) return [await AloneServer.start(options)];
  const first = await ServedServer.start("uws and node", ["h1", "h1s", "h2c", "h2"], [], options);
  try {
    const flags = ["--h1-engine", "node", "--h2-engine", "own"];
    return [first, await ServedServer.start("node and own", ["h1", "h2c", "h2"], flags, options)];
  } catch (error) {
    await first.stop(0);
    throw error;
  }
}

class AloneServer implements SoakedServer {
  readonly name = "alone";
  readonly lanes: readonly LaneAddress[];
  readonly #attacked: Attacked;
  #scrapes = 0;

  private constructor(attacked: Attacked, h2Engine: H2Engine) {
    this.#attacked = attacked;
    this.lanes = Object.entries(attacked.urls).map(([name, origin]) => {
      const protocol = name as ProtocolName;
      const engine = servedProtocols[protocol].isHttp2 ? h2Engine : "uws";
      return { name: laneName(protocol, engine), protocol, engine, origin };
    });
  }

  static async start({ seed, h2Engine }: ServerOptions): Promise<AloneServer> {
    const options = { protocol: "h1,h1s,h2c,h2", h2Engine, stamps: true, ttft: ttftMs, itl: itlMs, seed };
    return new AloneServer(await Attacked.start(options), h2Engine);
  }

  get caPath(): string | null {
    return this.#attacked.caPath;
  }

  get pid(): number {
    return this.#attacked.pid;
  }

  workers(): readonly number[] {
    return [];
  }

  async settle(): Promise<Held> {
    const { heapBytes, rssBytes, stats } = await this.#attacked.settle();
    // Asking for the metrics is itself a response, which the next look has to leave out.
    const heldTokens = (await this.#attacked.metrics()).get("fakeai_held_tokens_total") ?? 0;
    return {
      heapBytes,
      rssBytes,
      processes: [],
      statuses: withoutScrapes(stats.statuses, this.#scrapes++),
      finished: stats.finishedStreams,
      aborted: stats.abortedStreams,
      heldTokens,
      restarts: 0,
    };
  }

  async stop(): Promise<string[]> {
    await this.#attacked.stop();
    return [];
  }
}

function withoutScrapes(statuses: Readonly<Record<number, number>>, scrapes: number): Record<number, number> {
  return { ...statuses, 200: (statuses[200] ?? 0) - scrapes };
}

/** How long a server may hold something after its last client has gone. */
const settleMs = 20_000;
/** On a busy machine these clients may be later than the server waits for one by default: its bounds are not what is looked at. */
const boundMs = 300_000;
/** The most that uWebSockets.js lets be. */
const uwsBoundMs = 10_000;
/** How long it may take to end, once nothing is under way. */
const endMs = 10_000;

class ServedServer implements SoakedServer {
  readonly name: string;
  readonly lanes: readonly LaneAddress[];
  readonly caPath: string | null;
  readonly #child: ChildProcess;
  readonly #count: number;
  /** What it wrote to stderr. */
  #said = "";
  #scrapes = 0;

  private constructor(name: string, child: ChildProcess, { listening, caPath }: Ready, count: number) {
    this.name = name;
    this.#child = child;
    this.caPath = caPath;
    this.#count = count;
    this.lanes = listening.map(({ protocol, engine, url }) => ({
      name: protocol === "h1" ? `h1 ${engine}` : laneName(protocol, engine),
      protocol,
      engine,
      origin: url,
    }));
    child.stderr!.on("data", (chunk) => (this.#said += String(chunk)));
  }

  static async start(
    name: string,
    protocols: readonly ProtocolName[],
    flags: readonly string[],
    options: ServerOptions,
  ): Promise<ServedServer> {
    const { seed, workers } = options;
    const ports = protocols.map((protocol) => `${protocol}:0`).join(",");
    const timing = ["--stamps", "--ttft", `${ttftMs}`, "--itl", `${itlMs}`, "--seed", `${seed}`];
    const isAllNode = flags.includes("--h1-engine");
    const patience = isAllNode ? ["--stall-timeout", `${boundMs}`, "--head-timeout", `${boundMs}`] : ["--stall-timeout", `${uwsBoundMs}`];
    const args = [cliPath, "serve", "--json", "--protocol", ports, "--workers", `${workers}`, ...timing, ...patience, ...flags];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    // One that is stopped does not end with this process by itself.
    process.once("exit", () => child.kill("SIGKILL"));
    const ready = await new Promise<Ready>((resolve, reject) => {
      let text = "";
      child.stdout.on("data", (chunk) => {
        text += String(chunk);
        if (text.includes("\n")) resolve(JSON.parse(text) as Ready);
      });
      child.once("exit", (code, signal) => reject(new Error(`fakeai serve did not start: ${code ?? signal}`)));
    });
    return new ServedServer(name, child, ready, workers);
  }

  get pid(): number {
    return this.#child.pid!;
  }

  workers(): readonly number[] {
    return readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, "latin1").trim().split(/\s+/).filter(Boolean).map(Number);
  }

  async settle(): Promise<Held> {
    let metrics = await this.#scrape();
    await eventually(
      async () => {
        metrics = await this.#scrape();
        return this.workers().length === this.#count && isIdle(metrics);
      },
      "the server holds nothing",
      settleMs,
    ).catch((error: Error) => {
      throw new Error(`${this.name}: ${error.message}: ${JSON.stringify(gaugesOf(metrics))}`);
    });
    const statuses: Record<number, number> = {};
    for (const [status, count] of valuesOf(metrics, /^fakeai_http_responses_total\{status="(\d+)"\}/)) statuses[Number(status)] = count;
    const finishes = new Map(valuesOf(metrics, /^vllm:request_success_total\{.*finished_reason="(\w+)"/));
    const processes = [this.pid, ...this.workers()].map((pid, place) => {
      const what = place === 0 ? "primary" : "worker";
      return { what, rssBytes: rssBytesOf(pid)!, files: readdirSync(`/proc/${pid}/fd`).length };
    });
    return {
      heapBytes: null,
      rssBytes: processes.reduce((sum, { rssBytes }) => sum + rssBytes, 0),
      processes,
      // What is scraped does not hold the scrape itself.
      statuses: withoutScrapes(statuses, this.#scrapes - 1),
      finished: (finishes.get("stop") ?? 0) + (finishes.get("length") ?? 0),
      aborted: finishes.get("abort") ?? 0,
      heldTokens: valueOf(metrics, "fakeai_held_tokens_total"),
      restarts: valueOf(metrics, "fakeai_worker_restarts_total"),
    };
  }

  async stop(deaths: number): Promise<string[]> {
    const { name } = this;
    const pids = [this.pid, ...this.workers()];
    const ended = new Promise<string>((resolve) => this.#child.once("exit", (code, signal) => resolve(`${code ?? signal}`)));
    this.#child.kill("SIGTERM");
    const timer = setTimeout(() => pids.forEach((pid) => kill(pid, "SIGKILL")), endMs);
    const how = await ended;
    clearTimeout(timer);
    const wrong: string[] = [];
    if (how !== "0") wrong.push(`${name}: ended by ${how} in place of 0`);
    const left = pids.filter((pid) => rssBytesOf(pid) !== null);
    if (left.length > 0) wrong.push(`${name}: ${left.length} processes were left`);
    const lines = this.#said.split("\n").filter(Boolean);
    const buried = lines.filter((line) => /^fakeai: worker \d+ \(process \d+\) ended by SIGKILL; starting it again$/.test(line));
    if (buried.length !== deaths) wrong.push(`${name}: its log tells of ${buried.length} dead workers, ${deaths} were killed`);
    const others = lines.filter((line) => !buried.includes(line));
    wrong.push(...others.slice(0, 5).map((line) => `${name}: it said "${line}"`));
    return wrong;
  }

  async #scrape(): Promise<string> {
    const response = await fetch(`${this.lanes[0]!.origin}/metrics`, { headers: { connection: "close" } });
    const text = await response.text();
    this.#scrapes++;
    return text;
  }
}

/** What `fakeai serve --json` says when it is ready. */
interface Ready {
  readonly listening: readonly { readonly protocol: ProtocolName; readonly engine: string; readonly url: string }[];
  readonly caPath: string | null;
}

/** Sends a signal; nothing happens where the process is gone. */
export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Samples whose name and labels match, by what the pattern's group is. */
function valuesOf(metrics: string, pattern: RegExp): [string, number][] {
  return metrics.split("\n").flatMap((line): [string, number][] => {
    const match = pattern.exec(line);
    return match === null ? [] : [[match[1] ?? "", Number(line.slice(line.lastIndexOf(" ") + 1))]];
  });
}

/** The sum of a family. */
function valueOf(metrics: string, name: string): number {
  const values = valuesOf(metrics, new RegExp(`^(${name})[{ ]`));
  if (values.length === 0) throw new Error(`no ${name} in the metrics`);
  return values.reduce((sum, [, value]) => sum + value, 0);
}

const gaugesOf = (metrics: string): Record<string, number> => ({
  running: valueOf(metrics, "vllm:num_requests_running"),
  stalled: valueOf(metrics, "fakeai_stalled_streams"),
  connections: valueOf(metrics, "fakeai_open_connections"),
  sessions: valueOf(metrics, "fakeai_open_sessions"),
  streams: valueOf(metrics, "fakeai_open_streams"),
});

/** Nothing but the scrape itself, which is a request on a connection. */
function isIdle(metrics: string): boolean {
  const { running, stalled, connections, sessions, streams } = gaugesOf(metrics);
  return running === 0 && stalled === 0 && sessions === 0 && connections! <= 1 && streams! <= 1;
}
