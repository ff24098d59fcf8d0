/** Attackers in a process of their own, and bystanders in another, that must not notice. */
import { type ChildProcess, type ChildProcessByStdio, fork, spawn, spawnSync } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";
import type { Protocol } from "../../../src/index.ts";
import { sleep } from "../../support/wait.ts";
import type { Attacked } from "./attacked.ts";
import type { Command, Report } from "./h3.ts";
import type { Begin, Seen } from "./bystander.ts";
import type { Batch, Case } from "./cases.ts";
import type { Holdings } from "./server.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const python = "/usr/bin/python3";

/** Why the attacks cannot run here; null where they can. */
export const missing: string | null =
  spawnSync(python, ["-c", "import h2, hpack, hyperframe"]).status === 0
    ? null
    : "Debian's python3-h2, python3-hpack and python3-hyperframe are not installed";

export type Observed = Readonly<Record<string, unknown>>;

/** The process that attacks. */
export class Attackers {
  readonly #child: ChildProcessByStdio<Writable, Readable, null> = spawn(python, [`${here}drive.py`], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  readonly #waiting = new Map<number, { resolve: (observed: Observed) => void; reject: (error: Error) => void }>();
  #next = 0;

  constructor() {
    let buffer = "";
    this.#child.stdout.on("data", (chunk: Buffer) => {
      const lines = (buffer + chunk.toString()).split("\n");
      buffer = lines.pop()!;
      for (const line of lines) {
        const { id, observed, error } = JSON.parse(line) as { id: number; observed?: Observed; error?: string };
        const waiting = this.#waiting.get(id)!;
        this.#waiting.delete(id);
        if (observed) waiting.resolve(observed);
        else waiting.reject(new Error(error));
      }
    });
  }

  /** Runs one attack; `patience` is how long, in seconds, a slow one waits for the server to lose its own. */
  run(attack: string, origin: string, isH2: boolean, patience?: number): Promise<Observed> {
    const id = this.#next++;
    const { port, protocol } = new URL(origin);
    const command = {
      id,
      attack,
      port: Number(port),
      tls: protocol === "https:" || protocol === "wss:",
      h2: isH2,
      ws: protocol.startsWith("ws"),
      ...(patience === undefined ? {} : { patience }),
    };
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.stdin.write(`${JSON.stringify(command)}\n`);
    });
  }

  stop(): void {
    this.#child.kill();
  }
}

/** The process that attacks over HTTP/3. */
export class QuicAttackers {
  readonly #child: ChildProcess = fork(`${here}h3.ts`, [], { execArgv: ["--import", "tsx"] });
  readonly #waiting = new Map<number, { resolve: (observed: Observed) => void; reject: (error: Error) => void }>();
  #next = 0;

  constructor() {
    this.#child.on("message", (message) => {
      const { id, observed, error } = message as Report;
      const waiting = this.#waiting.get(id)!;
      this.#waiting.delete(id);
      if (observed) waiting.resolve(observed);
      else waiting.reject(new Error(error));
    });
    this.#child.on("exit", () => {
      for (const { reject } of this.#waiting.values()) reject(new Error("the attackers ended"));
    });
  }

  run(attack: string, origin: string): Promise<Observed> {
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#child.send({ id, attack, port: Number(new URL(origin).port) } satisfies Command);
    });
  }

  stop(): void {
    this.#child.kill();
  }
}

/** Where the share of values lies, of values in order. */
export function quantile(ordered: readonly number[], share: number): number {
  return ordered[Math.floor((ordered.length - 1) * share)]!;
}

/** The process of bystanders. */
export class Bystanders {
  readonly #child: ChildProcess;
  #seen: Seen = { healthMs: [], streams: 0, lateMs: [], faults: [] };

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(): Promise<Bystanders> {
    const child = fork(`${here}bystander.ts`, [], { execArgv: ["--import", "tsx"] });
    await new Promise((resolve, reject) => {
      child.once("message", resolve);
      child.once("exit", () => reject(new Error("the bystanders did not start")));
    });
    return new Bystanders(child);
  }

  /** They ask, on connections of their own, until `end`. */
  begin(attacked: Attacked, protocol: Protocol): void {
    const origin = attacked.urls[protocol]!;
    this.#child.send({
      healthOrigin: attacked.urls.h1!,
      origin,
      speaks: protocol === "h3" ? "h3" : isH2(protocol) ? "h2" : "h1",
    } satisfies Begin);
  }

  /** Their connections are closed then. The longest /health since `begin`. */
  async end(): Promise<number> {
    const more = await new Promise<Seen>((resolve) => {
      this.#child.once("message", (message) => resolve(message as Seen));
      this.#child.send("end");
    });
    const { healthMs, streams, lateMs, faults } = this.#seen;
    this.#seen = {
      healthMs: [...healthMs, ...more.healthMs],
      streams: streams + more.streams,
      lateMs: [...lateMs, ...more.lateMs],
      faults: [...faults, ...more.faults],
    };
    return Math.max(...more.healthMs);
  }

  /** All that was seen since the last time this was asked, in order. */
  take(): Seen {
    const { healthMs, lateMs, ...others } = this.#seen;
    this.#seen = { healthMs: [], streams: 0, lateMs: [], faults: [] };
    const ordered = (values: readonly number[]): number[] => [...values].sort((a, b) => a - b);
    return { ...others, healthMs: ordered(healthMs), lateMs: ordered(lateMs) };
  }

  stop(): void {
    this.#child.disconnect();
  }
}

export const isH2 = (protocol: Protocol): boolean => protocol === "h2" || protocol === "h2c";

/** What came of attacks that were made over and over. */
export interface Siege {
  /** What the attackers saw the first time. */
  readonly first: ReadonlyMap<string, Observed>;
  readonly seen: Seen;
  /** The longest /health of each two or three rounds. */
  readonly longestHealthMs: readonly number[];
  /** After the last attacks, garbage collected. */
  readonly held: Holdings;
  /** What was held after them, to what was held three attacks earlier. */
  readonly rssRatio: number;
  readonly heapRatio: number;
  readonly rounds: number;
  /** Counters of the cases that did not move by one for each of five rounds. */
  readonly unmoved: readonly string[];
}

/** Bounds of what may be held more after the fifth attack than after the second. */
export const mostRss = 1.1;
export const mostHeap = 1.02;
/** Bystanders alone, before the first attack. */
const warmUpMs = 1500;

/**
 * Makes each attack twice and three times more, all cases at once or one after the other, beside bystanders, and compares
 * what the process holds after the fifth time with what it held after the second. A leak grows by every round; what an
 * allocator or a compiler takes once does not: where it holds too much more, further windows of three rounds tell them
 * apart, `windows` in all. Rejects where something of an attack is left.
 */
export async function besiege(
  {
    protocol,
    cases,
    sequential,
    patience,
    windows = 3,
  }: Pick<Batch, "protocol" | "cases" | "sequential"> & {
    readonly patience?: number;
    readonly windows?: number;
  },
  attacked: Attacked,
  attackers: Attackers | QuicAttackers,
  bystanders: Bystanders,
): Promise<Siege> {
  const origin = attacked.urls[protocol]!;
  const first = new Map<string, Observed>();
  const longestHealthMs: number[] = [];
  let rounds = 0;
  const run = async ({ attack }: Case): Promise<void> => {
    const observed = await attackers.run(attack, origin, isH2(protocol), patience);
    if (!first.has(attack)) first.set(attack, observed);
  };
  const attackTimes = async (count: number): Promise<Holdings> => {
    bystanders.begin(attacked, protocol);
    for (let round = 0; round < count; round++) {
      if (sequential) for (const each of cases) await run(each);
      else await Promise.all(cases.map(run));
    }
    rounds += count;
    longestHealthMs.push(await bystanders.end());
    return attacked.settle();
  };
  // Until the first requests are served, a server grows by what it compiles; no attack is in that.
  bystanders.begin(attacked, protocol);
  await sleep(warmUpMs);
  await bystanders.end();
  await attacked.settle();
  bystanders.take();
  const before = await attacked.metrics();
  let held = await attackTimes(2);
  let [rssRatio, heapRatio] = [Infinity, Infinity];
  for (let window = 0; window < windows && (rssRatio > mostRss || heapRatio > mostHeap); window++) {
    const more = await attackTimes(3);
    [rssRatio, heapRatio] = [more.rssBytes / held.rssBytes, more.heapBytes / held.heapBytes];
    held = more;
  }
  const after = await attacked.metrics();
  return {
    first,
    seen: bystanders.take(),
    longestHealthMs,
    held,
    rssRatio,
    heapRatio,
    rounds,
    unmoved: unmovedCounters(cases, 5, before, after),
  };
}

/** Counters that have not moved by one for each case and each time that it was run. */
function unmovedCounters(
  cases: readonly Case[],
  times: number,
  before: ReadonlyMap<string, number>,
  after: ReadonlyMap<string, number>,
): string[] {
  const least = new Map<string, number>();
  for (const { counter } of cases) if (counter !== null) least.set(counter, (least.get(counter) ?? 0) + times);
  return [...least].flatMap(([counter, count]) => ((after.get(counter) ?? 0) - (before.get(counter) ?? 0) >= count ? [] : [counter]));
}

/** Each case once, one after the other: what it costs the second time is not judged. Nothing may be left behind. */
export async function besiegeOnce(
  { protocol, cases }: Pick<Batch, "protocol" | "cases">,
  attacked: Attacked,
  attackers: Attackers | QuicAttackers,
  bystanders: Bystanders,
): Promise<Pick<Siege, "first" | "seen" | "unmoved">> {
  const origin = attacked.urls[protocol]!;
  const first = new Map<string, Observed>();
  const before = await attacked.metrics();
  bystanders.begin(attacked, protocol);
  for (const { attack } of cases) first.set(attack, await attackers.run(attack, origin, isH2(protocol)));
  await bystanders.end();
  await attacked.settle();
  return { first, seen: bystanders.take(), unmoved: unmovedCounters(cases, 1, before, await attacked.metrics()) };
}
