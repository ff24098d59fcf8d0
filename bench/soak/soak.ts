/** A soak: servers in processes of their own, the clients in this one, and the accounts of both. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { loadavg } from "node:os";
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { H2Engine } from "../../src/core/seams.ts";
import { choosePinning, type Pinning, type ProcessUsage, usageOf } from "../../src/runner/processes/machine.ts";
import { sleep } from "../../test/support/wait.ts";
import { type Death, type Graveyard, killWorker, pause, type Pause } from "./deaths.ts";
import { Clients, type Tally, type WindowFacts } from "./driver.ts";
import { type Held, type SoakedServer, startServers } from "./servers.ts";

export interface SoakOptions {
  /** Streams at any time, over all lanes: four protocols, and with workers those of other engines beside them. */
  readonly streams: number;
  /** Mixed load before what is held is looked at for the first time. */
  readonly warmupMs: number;
  readonly durationMs: number;
  /** Pacing is looked at over windows of this length. */
  readonly windowMs: number;
  readonly seed: number;
  /** The longest streams that are not there to fill buffers; the shortest have a fifth of it. */
  readonly mostTokens: number;
  /** Server and clients on cores of their own, where there are two. */
  readonly pinned: boolean;
  /** Processes of each `fakeai serve`; 0: a server of one process, which tells more of itself. */
  readonly workers: number;
  /** Engine of HTTP/2 of a server of one process. */
  readonly h2Engine: H2Engine;
  /** A worker is killed each time that so much has gone by; 0: none. */
  readonly killEveryMs: number;
  /** A third of that after each kill a worker is stopped for so long, after two thirds a whole server; 0: none. */
  readonly pauseMs: number;
  /** Told of each window. */
  readonly onWindow?: (window: SoakWindow) => void;
}

export interface SoakWindow {
  readonly atS: number;
  /** Workers were killed or processes stopped in it. */
  readonly disturbed: readonly string[];
  /** Streams under way, by this client's count. */
  readonly active: number;
  /** Of all processes of the servers. */
  readonly rssBytes: number;
  /** Of each, by its id: the order is the servers', a primary before its workers. */
  readonly processes: readonly { readonly pid: number; readonly rssBytes: number }[];
  /** Processes of all programs that ran or wanted to, mean of the last minute. */
  readonly loadAverage: number;
  readonly serverCpuShare: number;
  /** Of the time, what the server's main thread was ready to run and did not have its core; null with workers. */
  readonly serverWaitShare: number | null;
  readonly clientCpuShare: number;
  readonly clientEventLoopDelayP99Us: number;
  readonly pacing: readonly WindowFacts[];
}

/** What one server and its clients have counted, after the warm-up. */
export interface Account {
  readonly name: string;
  readonly lanes: readonly string[];
  readonly tally: Tally;
  readonly statuses: Readonly<Record<number, number>>;
  readonly finished: number;
  readonly aborted: number;
  readonly heldTokens: number;
  readonly restarts: number;
  readonly deaths: readonly Death[];
  readonly pauses: readonly Pause[];
  /** What clients saw of workers that were killed right after: their counts may lack it. */
  readonly untold: Graveyard["untold"];
  /** Aborts that came while the server was stopped, or near the end of the stream: it may have finished before it saw them. */
  readonly abortsUnseen: number;
  readonly before: Pick<Held, "heapBytes" | "rssBytes" | "processes">;
  readonly after: Pick<Held, "heapBytes" | "rssBytes" | "processes">;
}

export interface SoakResult {
  readonly options: Omit<SoakOptions, "onWindow">;
  readonly pinned: boolean;
  readonly servers: readonly Account[];
  readonly windows: readonly SoakWindow[];
  /** Mean ITL of all whole streams against what was planned, minus 1, by lane. */
  readonly itlError: Readonly<Record<string, number>>;
  /** What does not add up; empty: all does. Nothing about memory and pacing, whose bounds depend on how long it ran. */
  readonly accounts: readonly string[];
}

/** Runs a soak. Rejects where a server dies, or holds anything after the last stream. */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const { onWindow, ...given } = options;
  const servers = await startServers(options);
  const pinning = options.pinned ? choosePinning() : null;
  const perLane = options.streams / servers.reduce((sum, { lanes }) => sum + lanes.length, 0);
  let stopped = false;
  try {
    if (pinning !== null) pin(servers[0]!.pid, pinning);
    const warming = servers.map((server) => new Clients(server, options));
    await Promise.all(warming.map((clients) => clients.run(perLane, options.warmupMs)));
    const before = await Promise.all(servers.map((server) => server.settle()));
    const clients = servers.map((server) => new Clients(server, { ...options, seed: options.seed + 1 }));
    const windows: SoakWindow[] = [];
    const running = Promise.all(clients.map((some) => some.run(perLane, options.durationMs)));
    const disturbed: string[] = [];
    const disturbing = disturb(servers, clients, options, (what) => disturbed.push(what));
    await watch(servers, clients, options, (window) => {
      windows.push({ ...window, disturbed: disturbed.splice(0) });
      onWindow?.(windows.at(-1)!);
    });
    await Promise.all([running, disturbing]);
    const after = await Promise.all(servers.map((server) => server.settle()));
    const accounts = servers.map((server, index) => accountOf(server, clients[index]!, before[index]!, after[index]!));
    stopped = true;
    const ends = await Promise.all(servers.map((server, index) => server.stop(clients[index]!.graveyard.deaths.length)));
    return {
      options: given,
      pinned: pinning !== null,
      servers: accounts,
      windows,
      itlError: itlErrorOf(windows),
      accounts: [...warming.flatMap(({ tally }) => wrongOf(tally)), ...accounts.flatMap(wrongOfAccount), ...ends.flat()],
    };
  } finally {
    if (!stopped) await Promise.all(servers.map((server) => server.stop(0)));
  }
}

function accountOf(server: SoakedServer, { tally, graveyard }: Clients, before: Held, after: Held): Account {
  const statuses: Record<number, number> = {};
  for (const [status, count] of Object.entries(after.statuses)) statuses[Number(status)] = count - (before.statuses[Number(status)] ?? 0);
  const heldOf = ({ heapBytes, rssBytes, processes }: Held): Account["before"] => ({ heapBytes, rssBytes, processes });
  const { deaths, pauses, untold, abortsUnseen } = graveyard;
  return {
    name: server.name,
    lanes: server.lanes.map(({ name }) => name),
    tally,
    statuses,
    finished: after.finished - before.finished,
    aborted: after.aborted - before.aborted,
    heldTokens: after.heldTokens - before.heldTokens,
    restarts: after.restarts - before.restarts,
    deaths,
    pauses,
    untold,
    abortsUnseen,
    before: heldOf(before),
    after: heldOf(after),
  };
}

/** Kills and stops workers and servers, each in its turn. Every third one that is killed has been stopped before. */
async function disturb(
  servers: readonly SoakedServer[],
  clients: readonly Clients[],
  { killEveryMs, pauseMs, durationMs, workers }: SoakOptions,
  onDone: (what: string) => void,
): Promise<void> {
  if (killEveryMs === 0 || workers === 0) return;
  const startMs = performance.now();
  const until = async (atMs: number): Promise<number> => {
    await sleep(startMs + atMs - performance.now());
    return (performance.now() - startMs) / 1000;
  };
  // The last one leaves time in which what was lost would be missed.
  for (let round = 0; (round + 1) * killEveryMs < durationMs; round++) {
    const place = round % servers.length;
    const server = servers[place]!;
    const { graveyard } = clients[place]!;
    const turn = Math.floor(round / servers.length);
    if (pauseMs > 0) {
      await pause(server, graveyard, "worker", await until((round + 1 / 3) * killEveryMs), pauseMs, turn);
      onDone(`a worker of ${server.name} was stopped`);
      await pause(server, graveyard, "server", await until((round + 2 / 3) * killEveryMs), pauseMs, turn);
      onDone(`${server.name} was stopped`);
    }
    const atS = await until((round + 1) * killEveryMs);
    const alive = server.workers();
    const stoppedMs = round % 3 === 2 ? pauseMs : 0;
    await killWorker(server, graveyard, alive[turn % alive.length]!, atS, stoppedMs, (isDead) => clients[place]!.activeOn(isDead));
    onDone(`a worker of ${server.name} was killed`);
  }
}

/**
 * The main thread of the server has a core; all else, V8's own threads of the server with it, has the other. A concurrent
 * collection on the server's core would have tokens wait for 20 ms.
 */
function pin(serverPid: number, { server, load }: Pinning): void {
  for (const pid of [process.pid, serverPid]) spawnSync("taskset", ["-a", "-p", "-c", String(load), String(pid)]);
  spawnSync("taskset", ["-p", "-c", String(server), String(serverPid)]);
}

/** Milliseconds that the main thread of a process has waited for a core; null where the system does not tell. */
function waitedMs(pid: number): number | null {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, "latin1").split(" ")[1]) / 1e6;
  } catch {
    return null;
  }
}

/** What each process has used; one that dies takes its time with it. */
function usages(servers: readonly SoakedServer[]): Map<number, ProcessUsage> {
  const pids = servers.flatMap((server) => [server.pid, ...server.workers()]);
  return new Map(
    pids.flatMap((pid) => {
      const usage = usageOf(pid);
      return usage === null ? [] : [[pid, usage] as const];
    }),
  );
}

async function watch(
  servers: readonly SoakedServer[],
  clients: readonly Clients[],
  { durationMs, windowMs, workers }: SoakOptions,
  onWindow: (window: Omit<SoakWindow, "disturbed">) => void,
): Promise<void> {
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const startMs = performance.now();
  let lastMs = startMs;
  let used = usages(servers);
  let client = process.cpuUsage();
  const waitedOfAll = (): number | null => (workers === 0 ? waitedMs(servers[0]!.pid) : null);
  let waited = waitedOfAll();
  for (let left = Math.max(1, Math.floor(durationMs / windowMs)); left > 0; left--) {
    await sleep(windowMs - 5);
    const nowMs = performance.now();
    const nowUsed = usages(servers);
    const nowWaited = waitedOfAll();
    const nowClient = process.cpuUsage(client);
    const elapsedUs = (nowMs - lastMs) * 1000;
    const usedUs = [...nowUsed].reduce((sum, [pid, { cpuUs }]) => sum + cpuUs - (used.get(pid)?.cpuUs ?? 0), 0);
    onWindow({
      atS: (nowMs - startMs) / 1000,
      active: clients.reduce((sum, { active }) => sum + active, 0),
      rssBytes: [...nowUsed.values()].reduce((sum, { rssBytes }) => sum + rssBytes, 0),
      processes: [...nowUsed].map(([pid, { rssBytes }]) => ({ pid, rssBytes })),
      loadAverage: loadavg()[0]!,
      serverCpuShare: usedUs / elapsedUs,
      serverWaitShare: waited === null || nowWaited === null ? null : (nowWaited - waited) / (nowMs - lastMs),
      clientCpuShare: (nowClient.user + nowClient.system) / elapsedUs,
      clientEventLoopDelayP99Us: Math.max(0, delay.percentile(99) / 1000 - 5000),
      pacing: clients.flatMap((some) => some.takeWindow()),
    });
    delay.reset();
    lastMs = nowMs;
    used = nowUsed;
    waited = nowWaited;
    client = process.cpuUsage();
  }
  delay.disable();
}

function itlErrorOf(windows: readonly SoakWindow[]): Record<string, number> {
  const sums: Record<string, { error: number; streams: number }> = {};
  for (const { lane, itlError, streams } of windows.flatMap(({ pacing }) => pacing)) {
    if (itlError === null) continue;
    const sum = (sums[lane] ??= { error: 0, streams: 0 });
    sum.error += itlError * streams;
    sum.streams += streams;
  }
  return Object.fromEntries(Object.entries(sums).map(([lane, { error, streams }]) => [lane, error / streams]));
}

/** What does not add up in what the clients planned and saw. */
function wrongOf(tally: Tally): string[] {
  const wrong: string[] = [];
  const planned = Object.values(tally.planned).reduce((sum, count) => sum + count, 0);
  const asPlanned = Object.values(tally.asPlanned).reduce((sum, count) => sum + count, 0);
  const sent = tally.requests - tally.resent;
  if (planned !== sent) wrong.push(`${sent} requests were sent, ${planned} are accounted for`);
  const strays = planned - asPlanned - tally.died;
  if (strays !== 0) wrong.push(`${strays} of ${planned} streams did not come as planned`);
  if (tally.lost > 0) wrong.push(`${tally.lost} streams were lost`);
  wrong.push(...Object.entries(tally.strays).map(([what, count]) => `${count} x ${what}`), ...tally.details);
  return wrong;
}

/**
 * What does not add up in what a server counted beside what its clients saw. A worker that is killed takes its last counts with
 * it, and may have counted what did not reach the client any more; a stream that is aborted late may have been finished.
 */
export function wrongOfAccount({ name, tally, statuses, finished, aborted, restarts, deaths, untold, abortsUnseen }: Account): string[] {
  const wrong = wrongOf(tally);
  const lived = tally.requests - tally.resent - tally.died;
  const answered = Object.values(statuses).reduce((sum, count) => sum + count, 0);
  const bounds = {
    answered: { is: answered, should: lived + tally.died - tally.diedUnanswered, less: untold.answered, more: tally.diedUnanswered },
    finished: { is: finished, should: lived - tally.refusals - tally.aborts, less: untold.finished, more: tally.died + abortsUnseen },
    aborted: { is: aborted, should: tally.aborts, less: untold.aborted + abortsUnseen, more: tally.died },
    ended: { is: finished + aborted, should: lived - tally.refusals, less: untold.finished + untold.aborted, more: tally.died },
  };
  for (const [what, { is, should, less, more }] of Object.entries(bounds)) {
    if (is >= should - less && is <= should + more) continue;
    const room = less + more === 0 ? "" : ` (up to ${less} less and ${more} more are explained)`;
    wrong.push(`${name}: the server counts ${is} ${what}, the clients ${should}${room}`);
  }
  if (restarts !== deaths.length) wrong.push(`${name}: ${deaths.length} workers were killed, ${restarts} were started again`);
  return wrong;
}
