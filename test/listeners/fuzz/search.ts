/** The search: one hostile request after the other, and what a neighbour on another connection noticed of each. */
import { type ChildProcess, fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { eventually, sleep } from "../../support/wait.ts";
import type { Wire } from "./bytes.ts";
import { type Client, openClient, type Outcome } from "./client.ts";
import { type Case, caseOf, type SearchPlan, turns } from "./requests.ts";
import { corpus } from "./corpus.ts";
import { shrink } from "./shrink.ts";
import { type EngineName, Target } from "./target.ts";
import type { Seen, Watch } from "./watcher.ts";

export interface Bounds {
  /** How long one request may hold up a neighbour. */
  readonly delayMs: number;
  /** How much one request may make the process grow. */
  readonly rssBytes: number;
}

/** One case, made once. */
export interface Trial {
  /**
   * How long the request held up a neighbour: the longest wait, of each no more than the serving thread ran in it. While that
   * thread does not run, another program has the core, or it sleeps: for a disk or a helper thread of V8, which is not seen here.
   */
  readonly delayMs: number;
  /** The longest that a /health, a token by its stamp or by its read was late, for any reason. */
  readonly waitedMs: number;
  /** The longest that a /health took, for any reason. */
  readonly healthMs: number;
  /** By how much the peak of the resident set was above what was resident before. */
  readonly rssBytes: number;
  /** CPU time of the serving thread meanwhile. */
  readonly cpuMs: number;
  readonly status: number | null;
  /** Bytes of the answer's body that were read, and its first characters. */
  readonly answerBytes: number;
  readonly begin: string;
  /** What no request may bring about, whatever the time: null where nothing did. */
  readonly fault: string | null;
}

/** What came of a case. */
export interface Finding {
  readonly number: number;
  readonly category: string;
  readonly endpoint: string;
  readonly bodyBytes: number;
  /** Of the trials alone the least, where there were any. */
  readonly delayMs: number;
  readonly waitedMs: number;
  readonly rssBytes: number;
  readonly cpuMs: number;
  readonly status: number | null;
  /** Empty: it held. */
  readonly failures: readonly string[];
  readonly described: string;
}

/** Trials of what went beyond a bound, alone: a pause of the machine does not come each time. */
const repeats = 3;
/** No machine pauses for so long: one more trial is enough. */
const certainMs = 1000;
/** A neighbour that hears nothing for so long after the answer is held up for good. */
const silenceMs = 4000;

/** How long what a client that has gone asked for may be counted. */
const patienceMs = 3000;

const watcherPath = fileURLToPath(new URL("watcher.ts", import.meta.url));

/** The process that looks on. */
class Watcher {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(watch: Watch): Promise<Watcher> {
    const child = fork(watcherPath, [], { execArgv: ["--import", "tsx"] });
    const watcher = new Watcher(child);
    await watcher.#next();
    child.send(watch);
    return watcher;
  }

  #next(): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const onExit = (): void => reject(new Error("the watcher died"));
      this.#child.once("exit", onExit);
      this.#child.once("message", (message) => {
        this.#child.off("exit", onExit);
        resolve(message);
      });
    });
  }

  async begin(): Promise<void> {
    this.#child.send("begin");
    await this.#next();
  }

  /** null: it heard nothing for too long. */
  async end(): Promise<Seen | null> {
    this.#child.send("end");
    return Promise.race([this.#next() as Promise<Seen>, sleep(silenceMs).then(() => null)]);
  }

  stop(): void {
    this.#child.kill("SIGKILL");
  }
}

/** A server under search with its neighbour and its attacker. */
class Arena {
  readonly #engine: EngineName;
  readonly #preload: string | null;
  #target!: Target;
  #watcher!: Watcher;
  #client!: Client;
  #knobs = "";
  /** Counted while no case is under way: the neighbour's stream, and the request for the metrics. */
  #usualStreams = 0;

  private constructor(engine: EngineName, preload: string | null) {
    this.#engine = engine;
    this.#preload = preload;
  }

  static async open(engine: EngineName, preload: string | null): Promise<Arena> {
    const arena = new Arena(engine, preload);
    await arena.#start();
    return arena;
  }

  get #wire(): Wire {
    return wireOf(this.#engine);
  }

  async #start(): Promise<void> {
    this.#target = await Target.start(this.#engine, this.#preload);
    this.#client = openClient(this.#target.origin, this.#wire);
    const { origin, healthOrigin } = this.#target;
    // Its stream is one of HTTP, where a WebSocket is searched too: they share a loop.
    this.#watcher = await Watcher.start({
      origin: this.#wire === "ws" ? healthOrigin : origin,
      healthOrigin,
      isH2: this.#wire === "h2",
      pid: this.#target.pid,
    });
    this.#knobs = await (await fetch(`${healthOrigin}/admin/config`)).text();
    await warmUp(this.#client);
    await this.#watcher.begin();
    await this.#watcher.end();
    // A /health may be counted, or none.
    this.#usualStreams = Infinity;
    for (let round = 0; round < 10; round++) this.#usualStreams = Math.min(this.#usualStreams, await this.#streams());
  }

  async close(): Promise<void> {
    this.#client.close();
    this.#watcher.stop();
    await this.#target.stop();
  }

  async restart(): Promise<void> {
    await this.close();
    await this.#start();
  }

  /** Makes a case once, beside the neighbour. */
  async attempt(given: Case): Promise<Trial> {
    const target = this.#target;
    await this.#watcher.begin();
    target.forgetPeak();
    const before = target.memory().rssBytes;
    const cpuBefore = target.cpuMs();
    const outcome = await meet(this.#client, given, this.#wire);
    // The end of a process is heard of a little later than the end of its connections.
    if (outcome.status === null && given.kind === "request") await sleep(20);
    const seen = target.died === null ? await this.#watcher.end() : null;
    if (target.died !== null || seen === null) {
      const fault = target.died === null ? "the server answers no more" : `the server died: ${target.died}`;
      const rssBytes = target.died === null ? target.memory().peakBytes - before : 0;
      await this.restart();
      const forever = Infinity;
      const { status, bodyBytes: answerBytes, begin } = outcome;
      return { delayMs: forever, waitedMs: forever, healthMs: forever, rssBytes, cpuMs: forever, status, answerBytes, begin, fault };
    }
    const waitedMs = Math.max(seen.healthMs, seen.lateMs ?? 0, seen.gapMs);
    const cpuMs = target.cpuMs() - cpuBefore;
    const leftOver = given.kind === "bytes" ? await this.#leftOver() : null;
    const trial: Trial = {
      delayMs: Math.min(seen.heldMs, cpuMs),
      waitedMs,
      rssBytes: Math.max(0, target.memory().peakBytes - before),
      healthMs: seen.healthMs,
      cpuMs,
      status: outcome.status,
      answerBytes: outcome.bodyBytes,
      begin: outcome.begin,
      fault: seen.fault ?? faultOf(given, outcome, target.complaints) ?? leftOver,
    };
    // What one case has left behind is no other's.
    if (seen.fault !== null || leftOver !== null) await this.restart();
    else if (given.kind === "request" && given.method === "POST" && given.target.includes("/admin/") && outcome.status === 200)
      await this.#restore(given.target);
    return trial;
  }

  /** What a connection that was cut left behind: null where nothing but the neighbour's stream is counted. */
  async #leftOver(): Promise<string | null> {
    let streams = 0;
    const gone = async (): Promise<boolean> => {
      streams = await this.#streams();
      return streams <= this.#usualStreams;
    };
    return eventually(gone, "streams are gone", patienceMs).then(
      () => null,
      () => `${streams} streams are still counted after ${patienceMs / 1000} s, not ${this.#usualStreams}`,
    );
  }

  async #streams(): Promise<number> {
    const text = await (await fetch(`${this.#target.healthOrigin}/metrics`)).text();
    return [...text.matchAll(/^fakeai_open_streams\{[^}]*\} (\d+)$/gm)].reduce((sum, match) => sum + Number(match[1]), 0);
  }

  /** Starts anew where the server has ended since the last case. Returns how it ended. */
  async revived(): Promise<string | null> {
    const { died } = this.#target;
    if (died !== null) await this.restart();
    return died;
  }

  async #restore(target: string): Promise<void> {
    if (!target.includes("/admin/config")) return this.restart();
    const answer = await fetch(`${this.#target.healthOrigin}/admin/config`, { method: "POST", body: this.#knobs });
    if (answer.status !== 200) await this.restart();
  }

  /** By how much a server that has only just been warmed up grows. */
  async growthAlone(given: Case): Promise<number> {
    const target = await Target.start(this.#engine, this.#preload);
    const client = openClient(target.origin, this.#wire);
    try {
      await warmUp(client);
      target.forgetPeak();
      const before = target.memory().rssBytes;
      await meet(client, given, this.#wire);
      return target.died === null ? Math.max(0, target.memory().peakBytes - before) : Infinity;
    } finally {
      client.close();
      await target.stop();
    }
  }
}

/** A server compiles and grows with its first requests. */
async function warmUp(client: Client): Promise<void> {
  const user = { role: "user", content: "Hello there" };
  const body = Buffer.from(JSON.stringify({ model: "gpt-4o", messages: [user], stream: true }));
  for (let round = 0; round < 30; round++) {
    await client.ask({
      kind: "request",
      category: "",
      endpoint: "",
      method: "POST",
      target: "/v1/chat/completions",
      headers: [],
      body,
      asksForTrouble: false,
    });
  }
}

async function meet(client: Client, given: Case, wire: Wire): Promise<Outcome> {
  if (given.kind === "request") return client.ask(given);
  const heard = await client.write(given.bytes(wire));
  const status = wire === "h2" ? null : Number(/HTTP\/1\.1 (5\d\d)/.exec(heard)?.[1] ?? 0);
  const fault = /\nx-injected/i.test(heard) ? "a header was injected" : null;
  return { status: status === 0 ? null : status, bodyBytes: heard.length, begin: "", fault, unsent: false };
}

/** Answers that say what this server does not speak; uWebSockets.js has one for every version but HTTP/1.1. */
const honest = new Set([501, 505]);

function faultOf(given: Case, { status, fault, begin }: Outcome, complaints: string): string | null {
  if (fault === "a header was injected") return fault;
  if (given.kind === "bytes") return status === null || honest.has(status) ? null : `status ${status}`;
  if (given.asksForTrouble) return null;
  if (status !== null && status >= 500 && !honest.has(status)) {
    const said = complaints.split("\n").findLast((line) => /Error|Warning/.test(line)) ?? begin.slice(0, 80);
    return `status ${status}: ${said.replace(/^\(node:\d+\) /, "").slice(0, 160)}`;
  }
  return fault;
}

function failuresOf({ fault, delayMs, rssBytes }: Pick<Trial, "fault" | "delayMs" | "rssBytes">, bounds: Bounds): string[] {
  return [
    ...(fault === null ? [] : [fault]),
    ...(delayMs <= bounds.delayMs
      ? []
      : [Number.isFinite(delayMs) ? `a neighbour waited ${delayMs.toFixed(0)} ms` : "a neighbour waited for ever"]),
    ...(rssBytes <= bounds.rssBytes ? [] : [`grew by ${(rssBytes / 1e6).toFixed(0)} MB`]),
  ];
}

/** A value, with what is long in it cut and counted. */
function abbreviated(value: unknown, depth = 0): string {
  if (typeof value === "string")
    return value.length <= 24 ? JSON.stringify(value) : `${JSON.stringify(value.slice(0, 12))}...(${value.length})`;
  if (Array.isArray(value)) {
    const shown = value.slice(0, value.length <= 3 ? 3 : 1).map((item) => abbreviated(item, depth + 1));
    return `[${shown.join(",")}${value.length > 3 ? `,...(${value.length})` : ""}]`;
  }
  if (typeof value !== "object" || value === null) return String(value);
  if (depth > 7) return "{...}";
  const keys = Object.keys(value);
  const shown = keys.slice(0, 8).map((key) => `${key.slice(0, 24)}:${abbreviated((value as Record<string, unknown>)[key], depth + 1)}`);
  return `{${shown.join(",")}${keys.length > 8 ? `,...(${keys.length})` : ""}}`;
}

/** One line that tells what a case is. */
export function describe(given: Case): string {
  if (given.kind === "bytes") return "bytes of a connection";
  const { method, target, headers, body, json } = given;
  const shown = json === undefined ? (body === null ? "" : abbreviated(body.toString("latin1", 0, 2000))) : abbreviated(json);
  const heads = headers.map(([name, value]) => `${name}: ${abbreviated(value)}`);
  return [`${method} ${target.slice(0, 80)}`, ...heads, shown]
    .filter((part) => part !== "")
    .join(" ")
    .slice(0, 400);
}

export interface SearchOptions extends SearchPlan {
  readonly bounds: Bounds;
  /** A module that node loads before the server. */
  readonly preload?: string;
  /** Numbers of the cases; default: all of the plan. */
  readonly numbers?: readonly number[];
  readonly onFinding?: (finding: Finding, done: number) => void;
  /** Failures whose inputs are made smaller; 0: none. */
  readonly shrinks?: number;
  /** Of the worst, how many are tried again alone; default 10. */
  readonly worst?: number;
  /** In place of the plan's cases. */
  readonly make?: (number: number) => Case;
}

/** What a search on one engine came to. */
export interface Search {
  readonly findings: readonly Finding[];
  /** The largest delays and growths, each the least of three trials alone. */
  readonly worstDelays: readonly Finding[];
  readonly worstGrowths: readonly Finding[];
}

const wireOf = ({ protocol }: EngineName): Wire => (protocol === "ws" ? "ws" : protocol === "h2" || protocol === "h2c" ? "h2" : "http/1.1");

/** Numbers of the cases for an engine, from `from` on: a WebSocket has one endpoint, and asks for others nothing. */
export function numbersFor(engine: EngineName, from: number, count: number): number[] {
  const numbers: number[] = [];
  const isAsked = (number: number): boolean => wireOf(engine) !== "ws" || ["POST /v1/responses", "connections"].includes(turns(number));
  for (let number = from; numbers.length < count; number++) if (isAsked(number)) numbers.push(number);
  return numbers;
}

export async function search(engine: EngineName, options: SearchOptions): Promise<Search> {
  const {
    bounds,
    numbers = numbersFor(engine, wireOf(engine) === "ws" ? corpus.length : 0, options.cases),
    worst: worstCount = 10,
  } = options;
  const make = options.make ?? ((number: number) => caseOf(options, number));
  const arena = await Arena.open(engine, options.preload ?? null);
  const findings: Finding[] = [];
  let shrinks = options.shrinks ?? 0;
  try {
    for (const number of numbers) {
      const given = make(number);
      const ended = await arena.revived();
      const last = findings.at(-1);
      if (ended !== null && last !== undefined) {
        findings[findings.length - 1] = { ...last, failures: [...last.failures, `the server died after it: ${ended}`] };
        options.onFinding?.(findings.at(-1)!, findings.length);
      }
      const trial = await confirmed(arena, given, bounds);
      const failures = failuresOf(trial, bounds);
      let small = given;
      if (failures.length > 0 && given.kind === "request" && given.json !== undefined && trial.delayMs < certainMs && shrinks-- > 0) {
        small = await shrink(given, async (candidate) => failuresOf(await confirmed(arena, candidate, bounds), bounds).length > 0);
      }
      const finding = findingOf(number, given, small, trial, failures);
      findings.push(finding);
      options.onFinding?.(finding, findings.length);
    }
    const worst = (of: (finding: Finding) => number): Finding[] => findings.toSorted((a, b) => of(b) - of(a)).slice(0, 2 * worstCount);
    const again = async (finding: Finding, alone: (given: Case) => Promise<Partial<Finding>>): Promise<Finding> =>
      finding.failures.length > 0 ? finding : { ...finding, ...(await alone(make(finding.number))) };
    const worstDelays: Finding[] = [];
    for (const finding of worst(({ delayMs }) => delayMs)) {
      worstDelays.push(
        await again(finding, async (given) => {
          const { delayMs, waitedMs, cpuMs } = await leastDelay(arena, given, repeats);
          return { delayMs, waitedMs, cpuMs };
        }),
      );
    }
    const worstGrowths: Finding[] = [];
    for (const finding of worst(({ rssBytes }) => rssBytes).slice(0, worstCount)) {
      worstGrowths.push(await again(finding, async (given) => ({ rssBytes: await arena.growthAlone(given) })));
    }
    return {
      findings,
      worstDelays: worstDelays.toSorted((a, b) => b.delayMs - a.delayMs).slice(0, worstCount),
      worstGrowths: worstGrowths.toSorted((a, b) => b.rssBytes - a.rssBytes),
    };
  } finally {
    await arena.close();
  }
}

/** Makes each case some times on one server, one after the other. */
export async function repeatedly(engine: EngineName, cases: readonly Case[], tries: number): Promise<readonly (readonly Trial[])[]> {
  const arena = await Arena.open(engine, null);
  const all: Trial[][] = [];
  try {
    for (const given of cases) {
      const trials: Trial[] = [];
      for (let time = 0; time < tries; time++) trials.push(await arena.attempt(given));
      all.push(trials);
    }
    return all;
  } finally {
    await arena.close();
  }
}

function findingOf(number: number, given: Case, small: Case, trial: Trial, failures: readonly string[]): Finding {
  const { category, endpoint } = given;
  const bodyBytes = small.kind === "request" ? (small.body?.length ?? 0) : 0;
  const { delayMs, waitedMs, rssBytes, cpuMs, status } = trial;
  return { number, category, endpoint, bodyBytes, delayMs, waitedMs, rssBytes, cpuMs, status, failures, described: describe(small) };
}

/** The trial with the least delay of some. */
async function leastDelay(arena: Arena, given: Case, times: number, enoughMs = 0): Promise<Trial> {
  let least = await arena.attempt(given);
  for (let time = 1; time < times && least.delayMs > enoughMs && Number.isFinite(least.delayMs); time++) {
    const trial = await arena.attempt(given);
    if (trial.delayMs < least.delayMs) least = trial;
  }
  return least;
}

/** A case that held at the first trial holds. What did not is tried again alone, and the least that it ever did counts. */
async function confirmed(arena: Arena, given: Case, bounds: Bounds): Promise<Trial> {
  const first = await arena.attempt(given);
  if (failuresOf(first, bounds).length === 0) return first;
  let least = first;
  let { rssBytes, fault } = first;
  if (first.delayMs > bounds.delayMs && Number.isFinite(first.delayMs)) {
    const alone = await leastDelay(arena, given, first.delayMs < certainMs ? repeats : 1, bounds.delayMs);
    if (alone.delayMs < first.delayMs) least = alone;
  }
  for (let time = 0; time < repeats && rssBytes > bounds.rssBytes; time++) rssBytes = Math.min(rssBytes, await arena.growthAlone(given));
  if (fault !== null) {
    const again = await arena.attempt(given);
    fault = again.fault;
    if (again.delayMs < least.delayMs) least = again;
  }
  return { ...least, rssBytes, fault };
}
