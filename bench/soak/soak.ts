/** A soak: a server in a process of its own, the clients in this one, and the accounts of both. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { choosePinning, type Pinning, usageOf } from "../../src/runner/processes/machine.ts";
import type { ServerStats } from "../../src/index.ts";
import { Attacked } from "../../test/listeners/attacks/attacked.ts";
import { sleep } from "../../test/support/wait.ts";
import { Clients, type Tally, type WindowFacts } from "./driver.ts";
import { itlMs, ttftMs } from "./plan.ts";

export interface SoakOptions {
  /** Streams at any time, over the four protocols. */
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
  /** Told of each window. */
  readonly onWindow?: (window: SoakWindow) => void;
}

export interface SoakWindow {
  readonly atS: number;
  /** Streams under way, by this client's count. */
  readonly active: number;
  readonly rssBytes: number;
  readonly serverCpuShare: number;
  /** Of the time, what the server's main thread was ready to run and did not have its core: others on it delay its timers. */
  readonly serverWaitShare: number | null;
  readonly clientCpuShare: number;
  readonly clientEventLoopDelayP99Us: number;
  readonly pacing: readonly WindowFacts[];
}

interface Held {
  readonly heapBytes: number;
  readonly rssBytes: number;
}

export interface SoakResult {
  readonly options: Omit<SoakOptions, "onWindow">;
  readonly pinned: boolean;
  readonly tally: Tally;
  readonly server: Pick<ServerStats, "statuses" | "finishedStreams" | "abortedStreams"> & {
    /** Tokens that fell due while their reader read nothing, and its buffers were full. */
    readonly heldTokens: number;
  };
  readonly windows: readonly SoakWindow[];
  readonly heldBefore: Held;
  readonly heldAfter: Held;
  readonly heapRatio: number;
  readonly rssRatio: number;
  /** Mean ITL of all whole streams against what was planned, minus 1, by protocol. */
  readonly itlError: Readonly<Record<string, number>>;
  /** What does not add up; empty: all does. Nothing about memory and pacing, whose bounds depend on how long it ran. */
  readonly accounts: readonly string[];
}

/** Runs a soak. Rejects where the server dies, or holds anything after the last stream. */
export async function soak(options: SoakOptions): Promise<SoakResult> {
  const { onWindow, ...given } = options;
  const attacked = await Attacked.start({ protocol: "h1,h1s,h2c,h2", stamps: true, ttft: ttftMs, itl: itlMs, seed: options.seed });
  const pinning = options.pinned ? choosePinning() : null;
  try {
    if (pinning !== null) pin(attacked.pid, pinning);
    const warming = new Clients(attacked.urls, attacked.caPath, options);
    await warming.run(options.streams, options.warmupMs);
    const heldBefore = await attacked.settle();
    const clients = new Clients(attacked.urls, attacked.caPath, { ...options, seed: options.seed + 1 });
    const windows: SoakWindow[] = [];
    const running = clients.run(options.streams, options.durationMs);
    await watch(attacked.pid, clients, options, (window) => {
      windows.push(window);
      onWindow?.(window);
    });
    await running;
    const heldAfter = await attacked.settle();
    const { stats } = heldAfter;
    const before = heldBefore.stats;
    const { tally } = clients;
    const statuses: Record<number, number> = {};
    for (const [status, count] of Object.entries(stats.statuses)) statuses[Number(status)] = count - (before.statuses[Number(status)] ?? 0);
    const server = {
      statuses,
      finishedStreams: stats.finishedStreams - before.finishedStreams,
      abortedStreams: stats.abortedStreams - before.abortedStreams,
      // Asked after the last look at the counts, in which the asking itself is a response.
      heldTokens: (await attacked.metrics()).get("fakeai_held_tokens_total") ?? 0,
    };
    return {
      options: given,
      pinned: pinning !== null,
      tally,
      server,
      windows,
      heldBefore: heldOf(heldBefore),
      heldAfter: heldOf(heldAfter),
      heapRatio: heldAfter.heapBytes / heldBefore.heapBytes,
      rssRatio: heldAfter.rssBytes / heldBefore.rssBytes,
      itlError: itlErrorOf(windows),
      accounts: [...accountsOf(warming.tally, null), ...accountsOf(tally, server)],
    };
  } finally {
    await attacked.stop();
  }
}

const heldOf = ({ heapBytes, rssBytes }: Held): Held => ({ heapBytes, rssBytes });

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

async function watch(
  pid: number,
  clients: Clients,
  { durationMs, windowMs }: SoakOptions,
  onWindow: (window: SoakWindow) => void,
): Promise<void> {
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const startMs = performance.now();
  let lastMs = startMs;
  let server = usageOf(pid);
  let client = process.cpuUsage();
  let waited = waitedMs(pid);
  for (let left = Math.max(1, Math.floor(durationMs / windowMs)); left > 0; left--) {
    await sleep(windowMs - 5);
    const nowMs = performance.now();
    const nowServer = usageOf(pid);
    const nowWaited = waitedMs(pid);
    const nowClient = process.cpuUsage(client);
    const elapsedUs = (nowMs - lastMs) * 1000;
    onWindow({
      atS: (nowMs - startMs) / 1000,
      active: clients.active,
      rssBytes: nowServer?.rssBytes ?? 0,
      serverCpuShare: ((nowServer?.cpuUs ?? 0) - (server?.cpuUs ?? 0)) / elapsedUs,
      serverWaitShare: waited === null || nowWaited === null ? null : (nowWaited - waited) / (nowMs - lastMs),
      clientCpuShare: (nowClient.user + nowClient.system) / elapsedUs,
      clientEventLoopDelayP99Us: Math.max(0, delay.percentile(99) / 1000 - 5000),
      pacing: clients.takeWindow(),
    });
    delay.reset();
    lastMs = nowMs;
    server = nowServer;
    waited = nowWaited;
    client = process.cpuUsage();
  }
  delay.disable();
}

function itlErrorOf(windows: readonly SoakWindow[]): Record<string, number> {
  const sums: Record<string, { error: number; streams: number }> = {};
  for (const { protocol, itlError, streams } of windows.flatMap(({ pacing }) => pacing)) {
    if (itlError === null) continue;
    const sum = (sums[protocol] ??= { error: 0, streams: 0 });
    sum.error += itlError * streams;
    sum.streams += streams;
  }
  return Object.fromEntries(Object.entries(sums).map(([protocol, { error, streams }]) => [protocol, error / streams]));
}

/** What does not add up in what the clients planned and saw, and in what the server counted. */
function accountsOf(tally: Tally, server: SoakResult["server"] | null): string[] {
  const wrong: string[] = [];
  const planned = Object.values(tally.planned).reduce((sum, count) => sum + count, 0);
  const asPlanned = Object.values(tally.asPlanned).reduce((sum, count) => sum + count, 0);
  const sent = tally.requests - tally.resent;
  if (planned !== sent) wrong.push(`${sent} requests were sent, ${planned} are accounted for`);
  if (asPlanned !== planned) wrong.push(`${planned - asPlanned} of ${planned} streams did not come as planned`);
  if (tally.lost > 0) wrong.push(`${tally.lost} streams were lost`);
  wrong.push(...tally.details);
  if (server === null) return wrong;
  const answered = Object.values(server.statuses).reduce((sum, count) => sum + count, 0);
  const is = { answered, finished: server.finishedStreams, aborted: server.abortedStreams };
  const should = { answered: sent, finished: sent - tally.refusals - tally.aborts, aborted: tally.aborts };
  for (const [what, count] of Object.entries(is)) {
    const wanted = should[what as keyof typeof should];
    if (count !== wanted) wrong.push(`the server counts ${count} ${what}, the clients ${wanted}`);
  }
  return wrong;
}
