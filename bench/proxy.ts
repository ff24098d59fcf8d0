/**
 * `fakeai proxy` with many connections, and on a fast link: how late it passes bytes on beside its plan, what it holds, what a
 * connection costs, and whether connections get the same.
 *
 * - Many: each connection reads one paced stream through a proxy with a round trip of 40 ms.
 * - Fast: readers that take all they get share 1 Gbit/s over 40 ms. The source writes without a pause, so the link is the bound,
 *   where the machine can carry it. A paced stream stands beside them on a connection of its own.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { loadavg } from "node:os";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { monotonicUs } from "../src/base/clock.ts";
import { clockTickUs, openFileLimit, rssBytesOf, statOf } from "../src/base/proc.ts";
import type { ProxyStats } from "../src/network/proxy.ts";
import { describeEnvironment } from "../src/runner/processes/machine.ts";
import { table, writtenBy } from "./support/page.ts";
import { cliPath, endOf, serveFakeai, spawnOnCore } from "./support/server.ts";
import { ascending, quantile } from "./support/statistics.ts";

const rttMs = 40;
const wantedConnections = 10_000;
/** A proxy has two files a connection, and some of its own. */
const connections = Math.min(wantedConnections, Math.floor(((openFileLimit() ?? 30_000) - 60) / 2));
const many = { ttftMs: 20_000, itlMs: 1000, tokens: 20, opensPerSecond: 1000 } as const;
const fast = { bitsPerSecond: 1e9, seconds: 8, warmUpSeconds: 2, readers: [1, 10, 100] } as const;

interface RunningProxy {
  readonly port: number;
  readonly pid: number;
  /** Ends it; what it says of itself. */
  finish(): Promise<ProxyStats & { readonly cpuUs: number }>;
}

async function startProxy(target: number, flags: readonly string[]): Promise<RunningProxy> {
  const args = [cliPath, "proxy", "--json", "--to", `127.0.0.1:${target}`, "--rtt", String(rttMs), ...flags];
  const child = spawnOnCore([process.execPath, ...args], "pipe", { core: null });
  const { ended } = endOf(child);
  let text = "";
  const ready = new Promise<void>((resolve, reject) => {
    child.stdout!.on("data", (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes("\n")) resolve();
    });
    child.once("exit", () => reject(new Error("the proxy did not start")));
  });
  await ready;
  const { port } = JSON.parse(text) as { port: number };
  return {
    port,
    pid: child.pid!,
    async finish() {
      child.kill("SIGTERM");
      await ended;
      return JSON.parse(text.slice(text.indexOf("\n"))) as ProxyStats & { cpuUs: number };
    },
  };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Processor time of a process so far, seconds. */
function cpuSecondsOf(pid: number): number {
  const stat = statOf(pid);
  const tickUs = clockTickUs();
  if (stat === null || tickUs === null) throw new Error("/proc does not tell the processor time of a process");
  return ((Number(stat[11]) + Number(stat[12])) * tickUs) / 1e6;
}

/** Jain's fairness index (Jain, Chiu and Hawe 1984): 1 where all get the same, 1/n where one gets everything. */
function jainIndex(shares: readonly number[]): number {
  const sum = shares.reduce((total, share) => total + share, 0);
  return sum ** 2 / (shares.length * shares.reduce((total, share) => total + share ** 2, 0));
}

/** How far apart reads of each connection were, beyond the plan. */
class Gaps {
  readonly beyondMs: number[] = [];
  readonly #itlMs: number;
  constructor(itlMs: number) {
    this.#itlMs = itlMs;
  }

  /** Reads a stream of `fakeai serve`. Resolves with the events it had when its connection is closed. */
  read(socket: Socket): Promise<number> {
    let lastUs: number | null = null;
    let events = 0;
    socket.on("data", (chunk) => {
      let inChunk = 0;
      for (let at = chunk.indexOf("data: {"); at !== -1; at = chunk.indexOf("data: {", at + 7)) inChunk++;
      if (inChunk === 0) return;
      const nowUs = monotonicUs();
      // The first token comes with the role, the last with the end: only the gaps between tokens are planned alike.
      if (lastUs !== null && events > 2) this.beyondMs.push((nowUs - lastUs) / 1000 - this.#itlMs);
      lastUs = nowUs;
      events += inChunk;
    });
    return new Promise((resolve) => socket.once("close", () => resolve(events)));
  }
}

function ask(socket: Socket, body: object): void {
  const text = JSON.stringify(body);
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: fakeai\r\nconnection: close\r\ncontent-type: application/json\r\n`;
  socket.write(`${head}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`);
}

const question = { model: "bench", stream: true, messages: [{ role: "user", content: "Hello" }] };

function summaryMs(values: readonly number[]): { p50: number; p99: number; max: number } | null {
  if (values.length === 0) return null;
  const sorted = ascending(values);
  return { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99), max: sorted.at(-1)! };
}

async function measureMany(): Promise<object> {
  const timing = ["--ttft", String(many.ttftMs), "--itl", String(many.itlMs), "--output-tokens", String(many.tokens)];
  const server = await serveFakeai(["--protocol", "h1:0", "--max-connections", String(connections + 100), ...timing], null);
  const proxy = await startProxy(Number(new URL(server.url).port), []);
  try {
    await pause(500);
    const idleBytes = rssBytesOf(proxy.pid)!;
    const gaps = new Gaps(many.itlMs);
    const reads: Promise<number>[] = [];
    let failed = 0;
    const startedMs = performance.now();
    while (reads.length < connections) {
      const due = Math.min(connections, Math.ceil(((performance.now() - startedMs) / 1000) * many.opensPerSecond));
      while (reads.length < due) {
        const socket = connect(proxy.port, "127.0.0.1");
        socket.on("error", () => failed++);
        socket.once("connect", () => ask(socket, question));
        reads.push(gaps.read(socket));
      }
      await pause(5);
    }
    const openSeconds = (performance.now() - startedMs) / 1000;
    // All are open, most have had no token: this is what a connection costs.
    await pause(Math.max(0, many.ttftMs - openSeconds * 1000 - 1000));
    const openBytes = rssBytesOf(proxy.pid)!;
    const cpuBefore = cpuSecondsOf(proxy.pid);
    const windowMs = performance.now();
    await pause(many.itlMs * 8);
    const cores = (cpuSecondsOf(proxy.pid) - cpuBefore) / ((performance.now() - windowMs) / 1000);
    const events = await Promise.all(reads);
    const stats = await proxy.finish();
    return {
      connections,
      failed,
      whole: events.filter((count) => count >= many.tokens).length,
      openSeconds,
      bytesPerConnection: (openBytes - idleBytes) / connections,
      coresOfProxy: cores,
      lateUs: stats.lateUs,
      gapBeyondPlanMs: summaryMs(gaps.beyondMs),
      jain: jainIndex(events),
    };
  } finally {
    await server.stop();
  }
}

/** Writes without a pause to all who connect. */
async function startSource(): Promise<{ port: number; close(): void }> {
  const piece = Buffer.alloc(65_536, "x");
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    const fill = (): void => {
      while (!socket.destroyed && socket.write(piece));
    };
    socket.on("drain", fill);
    socket.on("error", () => {});
    socket.on("close", () => open.delete(socket));
    fill();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    close() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

async function measureFast(readers: number): Promise<object> {
  const source = await startSource();
  const proxy = await startProxy(source.port, ["--bandwidth", `${fast.bitsPerSecond / 1e6}mbit`]);
  try {
    const idleBytes = rssBytesOf(proxy.pid)!;
    const counts = new Float64Array(readers);
    const sockets = Array.from({ length: readers }, (_, reader) => {
      const socket = connect(proxy.port, "127.0.0.1");
      socket.on("data", (chunk) => (counts[reader]! += chunk.length));
      socket.on("error", () => {});
      return socket;
    });
    await pause(fast.warmUpSeconds * 1000);
    counts.fill(0);
    const cpuBefore = cpuSecondsOf(proxy.pid);
    const startedMs = performance.now();
    let peakBytes = 0;
    while (performance.now() - startedMs < fast.seconds * 1000) {
      await pause(100);
      peakBytes = Math.max(peakBytes, rssBytesOf(proxy.pid)!);
    }
    const seconds = (performance.now() - startedMs) / 1000;
    const cores = (cpuSecondsOf(proxy.pid) - cpuBefore) / seconds;
    const shares = [...counts];
    for (const socket of sockets) socket.destroy();
    const stats = await proxy.finish();
    return {
      readers,
      mbitPerSecond: (shares.reduce((sum, share) => sum + share, 0) * 8) / seconds / 1e6,
      coresOfProxy: cores,
      lateUs: stats.lateUs,
      peakHeldBytes: stats.peakHeldBytes,
      rssGrowthBytes: peakBytes - idleBytes,
      jain: jainIndex(shares),
      leastByMean: (Math.min(...shares) * readers) / shares.reduce((sum, share) => sum + share, 0),
    };
  } finally {
    source.close();
  }
}

type Figures = Record<string, unknown>;
const lateOf = ({ lateUs }: Figures): string => {
  const late = lateUs as ProxyStats["lateUs"];
  return late === null ? "–" : [late.p50, late.p99, late.max].map((us) => (us / 1000).toFixed(2)).join(" / ");
};
const number = (value: unknown, digits: number): string => Number(value).toFixed(digits);

const environment = describeEnvironment(false, "fakeai");
const loadBefore = loadavg()[0]!;
const startedAt = new Date().toISOString();
const manyFigures = (await measureMany()) as Figures;
const fastFigures: Figures[] = [];
for (const readers of fast.readers) fastFigures.push((await measureFast(readers)) as Figures);

const beyond = manyFigures["gapBeyondPlanMs"] as { p50: number; p99: number; max: number } | null;
const page = `# The network proxy, with many connections and on a fast link

${writtenBy("proxy", startedAt, environment)}, load generator, proxy and server on the same cores; load average before it ${loadBefore.toFixed(1)}).
Lateness is the proxy's own: how long after its plan bytes left, without waits for a reader.

## ${connections.toLocaleString("en")} connections, RTT ${rttMs} ms, one token a second on each

The open-file limit here is ${String(openFileLimit())}, and a connection takes two files.

${table(
  [
    "connections",
    "failed",
    "whole streams",
    "memory a connection",
    "cores",
    "late p50 / p99 / max, ms",
    "gaps beyond plan p50 / p99 / max, ms",
    "Jain's index",
  ],
  [
    [
      connections,
      number(manyFigures["failed"], 0),
      number(manyFigures["whole"], 0),
      `${number(Number(manyFigures["bytesPerConnection"]) / 1000, 1)} kB`,
      number(manyFigures["coresOfProxy"], 2),
      lateOf(manyFigures),
      beyond === null ? "–" : [beyond.p50, beyond.p99, beyond.max].map((ms) => ms.toFixed(1)).join(" / "),
      number(manyFigures["jain"], 4),
    ],
  ],
  8,
)}

## 1 Gbit/s for all together, RTT ${rttMs} ms, readers that take all they get

${table(
  ["readers", "Mbit/s", "cores", "late p50 / p99 / max, ms", "held at most", "RSS grown", "Jain's index", "least by mean"],
  fastFigures.map((row) => [
    number(row["readers"], 0),
    number(row["mbitPerSecond"], 0),
    number(row["coresOfProxy"], 2),
    lateOf(row),
    `${number(Number(row["peakHeldBytes"]) / 1e6, 1)} MB`,
    `${number(Number(row["rssGrowthBytes"]) / 1e6, 1)} MB`,
    number(row["jain"], 4),
    number(row["leastByMean"], 3),
  ]),
  8,
)}
`;
const folder = fileURLToPath(new URL("../results/proxy/", import.meta.url));
mkdirSync(folder, { recursive: true });
writeFileSync(`${folder}README.md`, page);
writeFileSync(
  `${folder}result.json`,
  `${JSON.stringify({ startedAt, environment, loadBefore, many: manyFigures, fast: fastFigures }, null, 2)}\n`,
);
console.log(page);
