/**
 * What lost packets do to token streams over HTTP/1.1, 2 and 3, on a path where the system itself drops them: a network namespace
 * whose loopback loses packets at random (iptables, `statistic`), so that TCP's own recovery answers, and QUIC's. Beside it the CPU
 * time of the server for each token, and the time that a connection takes to be usable.
 *
 * QUIC runs in user space here (quiche, in threads, by N-API), TCP in the kernel. A difference is one of both, protocol and engine.
 */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { loadQuic, quicLack } from "../src/base/quic.ts";
import { openConnection } from "../src/load/client/open.ts";
import type { Connection } from "../src/load/client/connection.ts";
import { estimateMean } from "../src/results/statistics.ts";
import type { ProtocolName } from "../src/results/types.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "8" },
    streams: { type: "string", default: "50" },
    tokens: { type: "string", default: "60" },
    itl: { type: "string", default: "20" },
    loss: { type: "string", default: "0,1,2" },
    arms: { type: "string", default: "h1s,h2,h2-6,h3" },
    out: { type: "string", default: "results/h3" },
    again: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const [rounds, streams, tokens, itlMs] = [values.rounds, values.streams, values.tokens, values.itl].map(Number) as [
  number,
  number,
  number,
  number,
];
const allArms: readonly { readonly id: string; readonly protocol: ProtocolName; readonly connections: number }[] = [
  { id: "h1s", protocol: "h1s", connections: streams },
  { id: "h2", protocol: "h2", connections: 1 },
  { id: "h2-6", protocol: "h2", connections: 6 },
  { id: "h3", protocol: "h3", connections: 1 },
];

const asked = allArms.filter(({ id }) => values.arms.split(",").includes(id));
const arms = loadQuic() === null && !values.again ? asked.filter(({ id }) => id !== "h3") : asked;

const lossPercents = values.loss.split(",").map(Number);
/** Connections that are opened one after the other, for the time that each takes. */
const openedPerRound = 5;
const ticksPerSecond = 100;

interface Round {
  readonly arm: string;
  readonly lossPercent: number;
  readonly gapP99Ms: number;
  readonly gapMaxMs: number;
  /** Gaps of more than one and a half times the planned one, of all. */
  readonly lateShare: number;
  readonly connectMs: number;
  readonly serverCpuUsPerToken: number;
  readonly failed: number;
}

type Figure = "gapP99Ms" | "gapMaxMs" | "lateShare" | "connectMs" | "serverCpuUsPerToken";

/** Times have a long tail: their mean and its interval are those of their logarithms. */
const isSkewed: Readonly<Record<Figure, boolean>> = {
  gapP99Ms: true,
  gapMaxMs: true,
  lateShare: false,
  connectMs: true,
  serverCpuUsPerToken: false,
};
const figures = Object.keys(isSkewed) as Figure[];

if (values.help) {
  console.log(
    "npm run measure -- loss [--rounds 8] [--streams 50] [--tokens 60] [--itl 20] [--loss 0,1,2] [--arms h1s,h2,h2-6,h3] [--out results/h3]\n" +
      "                        [--again: the table of an earlier measurement]",
  );
} else if (values.again) {
  const { results } = JSON.parse(readFileSync(`${values.out}/loss.json`, "utf8")) as { results: Round[] };
  console.log(tableOf(results));
} else if (process.env["LOSSY_NETWORK"] === undefined) {
  // Again, in a network of its own: as root, and only there are packets dropped.
  const ended = spawnSync(
    "unshare",
    ["-n", process.execPath, "--import", "tsx", fileURLToPath(import.meta.url), ...process.argv.slice(2)],
    {
      stdio: "inherit",
      env: { ...process.env, LOSSY_NETWORK: "1" },
    },
  );
  if (ended.error !== undefined) console.error(`unshare: ${ended.error.message}`);
  process.exitCode = ended.status ?? 1;
} else {
  await measure();
}

async function measure(): Promise<void> {
  if (arms.length < asked.length) console.log(`h3 is left out: ${quicLack()}`);
  execFileSync("ip", ["link", "set", "lo", "mtu", "1500", "up"]);
  // A core for each end, where there are two: QUIC's threads then share the core of their end too.
  const isPinned = cpus().length > 1;
  if (isPinned) execFileSync("taskset", ["-a", "-p", "-c", "1", String(process.pid)], { stdio: "ignore" });
  const server = spawn(
    isPinned ? "taskset" : process.execPath,
    [
      ...(isPinned ? ["-c", "0", process.execPath] : []),
      "dist/cli.js",
      "serve",
      "--json",
      "--protocol",
      [...new Set(arms.map(({ protocol }) => `${protocol}:0`))].join(","),
      "--h1-engine",
      "node",
      "--ttft",
      "50",
      "--itl",
      String(itlMs),
      "--output-tokens",
      String(tokens),
    ],
    { stdio: ["ignore", "pipe", "inherit"] },
  );
  try {
    const [line] = (await once(server.stdout, "data")) as [Buffer];
    const { listening } = JSON.parse(line.toString()) as { listening: { protocol: ProtocolName; url: string; engineVersion: string }[] };
    const done: Round[] = [];
    // Warm-up: code is compiled, and nothing of it counts.
    for (const arm of arms) await round(arm, originOf(listening, arm.protocol), server.pid!, 0);
    for (let number = 0; number < rounds; number++) {
      for (const lossPercent of lossPercents) {
        drop(lossPercent);
        for (let at = 0; at < arms.length; at++) {
          const arm = arms[(at + number) % arms.length]!;
          done.push(await round(arm, originOf(listening, arm.protocol), server.pid!, lossPercent));
        }
        drop(0);
      }
      console.log(`round ${number + 1} of ${rounds}`);
    }
    write(done, Object.fromEntries(listening.map(({ protocol, engineVersion }) => [protocol, engineVersion])));
  } finally {
    server.kill();
  }
}

function originOf(listening: readonly { protocol: ProtocolName; url: string }[], protocol: ProtocolName): string {
  return listening.find((one) => one.protocol === protocol)!.url;
}

/** Each packet that comes in over loopback is lost with this probability, in both directions. */
function drop(percent: number): void {
  execFileSync("iptables", ["-F", "INPUT"]);
  if (percent === 0) return;
  const probability = String(percent / 100);
  execFileSync("iptables", ["-A", "INPUT", "-i", "lo", "-m", "statistic", "--mode", "random", "--probability", probability, "-j", "DROP"]);
}

function cpuUsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return ((Number(fields[11]) + Number(fields[12])) / ticksPerSecond) * 1e6;
}

async function round(arm: (typeof arms)[number], origin: string, pid: number, lossPercent: number): Promise<Round> {
  const endpoint = {
    origin,
    protocol: arm.protocol,
    path: "/v1/chat/completions",
    method: "POST" as const,
    headers: { "content-type": "application/json" },
    tls: { ca: null, insecure: true, cipher: "TLS_AES_128_GCM_SHA256" },
  };
  const open = (): Promise<Connection> => openConnection({ endpoint, timeoutMs: 10_000 });
  const connects: number[] = [];
  for (let i = 0; i < openedPerRound; i++) {
    const connection = await open();
    connects.push(connection.connectUs / 1000);
    connection.close();
  }
  const connections = await Promise.all(Array.from({ length: arm.connections }, open));
  const gaps: number[] = [];
  let failed = 0;
  const body = JSON.stringify({ model: "any", stream: true, messages: [{ role: "user", content: "Hello" }] });
  const cpuBefore = cpuUsOf(pid);
  await Promise.all(
    Array.from(
      { length: streams },
      (_, index) =>
        new Promise<void>((resolve) => {
          let last = 0;
          const exchange = {
            onResponse: () => {},
            onData: (bytes: Buffer, start: number, end: number, readUs: number) => {
              // A read may bring several tokens, or a piece that ends none.
              const events = bytes.toString("latin1", start, end).split("\n\n").length - 1;
              for (let i = 0; i < events; i++) {
                if (last > 0) gaps.push((readUs - last) / 1000);
                last = readUs;
              }
            },
            onEnd: () => resolve(),
            onFail: (reason: string, words?: string) => {
              failed++;
              console.error(`${arm.id}, ${lossPercent}% lost: ${reason}${words === undefined ? "" : ` (${words})`}`);
              resolve();
            },
          };
          setTimeout(
            () => connections[index % connections.length]!.send({ method: "POST", path: endpoint.path, body }, exchange),
            (index * itlMs) / streams,
          );
        }),
    ),
  );
  const serverCpuUsPerToken = (cpuUsOf(pid) - cpuBefore) / (streams * tokens);
  for (const connection of connections) connection.close();
  gaps.sort((a, b) => a - b);
  connects.sort((a, b) => a - b);
  return {
    arm: arm.id,
    lossPercent,
    gapP99Ms: gaps[Math.floor(gaps.length * 0.99)]!,
    gapMaxMs: gaps.at(-1)!,
    lateShare: gaps.filter((gap) => gap > itlMs * 1.5).length / gaps.length,
    connectMs: connects[connects.length >> 1]!,
    serverCpuUsPerToken,
    failed,
  };
}

/** For each loss and arm the mean over rounds, with its 95% interval. */
function tableOf(done: readonly Round[]): string {
  const figureOf = (arm: string, lossPercent: number, figure: Figure): string => {
    const own = done.filter((one) => one.arm === arm && one.lossPercent === lossPercent).map((one) => one[figure]);
    const [into, from] = isSkewed[figure] ? [Math.log, Math.exp] : [Number, Number];
    const interval = estimateMean(own.map(into));
    if (interval === null) return "one round";
    const digits = figure === "lateShare" ? 4 : 1;
    const [estimate, low, high] = [interval.estimate, interval.low, interval.high].map((value) => from(value).toFixed(digits));
    return `${estimate} (${low} to ${high})`;
  };
  const rows = lossPercents.flatMap((lossPercent) =>
    arms.map(({ id }) => {
      const failed = done.filter((one) => one.arm === id && one.lossPercent === lossPercent).reduce((sum, one) => sum + one.failed, 0);
      return `| ${lossPercent}% | ${id} | ${figures.map((figure) => figureOf(id, lossPercent, figure)).join(" | ")} | ${failed} |`;
    }),
  );
  return [
    "| loss | arm | 99th percentile of gaps, ms | longest gap, ms | share of gaps above 1.5 times the plan | connection usable after, ms | server CPU, us a token | failed |",
    "| ---- | --- | --- | --- | --- | --- | --- | --- |",
    ...rows,
    "",
    ...ratiosOf(done),
  ].join("\n");
}

/** HTTP/3 beside each of the others in the same rounds: the mean ratio of a figure with its 95% interval. */
function ratiosOf(done: readonly Round[]): string[] {
  const ratioOf = (baseline: string, lossPercent: number, figure: Figure): string => {
    const [others, own] = [baseline, "h3"].map((arm) => done.filter((one) => one.arm === arm && one.lossPercent === lossPercent));
    const interval = estimateMean(own!.map((one, index) => Math.log(one[figure] / others![index]![figure])));
    if (interval === null) return "one round";
    const [estimate, low, high] = [interval.estimate, interval.low, interval.high].map((value) => Math.exp(value).toFixed(2));
    return `${estimate} (${low} to ${high})`;
  };
  if (!arms.some(({ id }) => id === "h3")) return [];
  const baselines = arms.filter(({ id }) => id !== "h3");
  return [
    "| loss | ratio of | 99th percentile of gaps | longest gap |",
    "| ---- | --- | --- | --- |",
    ...lossPercents.flatMap((lossPercent) =>
      baselines.map(
        ({ id }) => `| ${lossPercent}% | h3/${id} | ${ratioOf(id, lossPercent, "gapP99Ms")} | ${ratioOf(id, lossPercent, "gapMaxMs")} |`,
      ),
    ),
  ];
}

function write(done: readonly Round[], engines: Readonly<Record<string, string>>): void {
  mkdirSync(values.out, { recursive: true });
  const facts = {
    measuredAt: new Date().toISOString(),
    node: process.version,
    processors: cpus().length,
    engines,
    streams,
    tokens,
    itlMs,
    rounds,
    loadAverage: readFileSync("/proc/loadavg", "utf8").split(" ").slice(0, 3).map(Number),
    results: done,
  };
  writeFileSync(`${values.out}/loss.json`, `${JSON.stringify(facts, null, 1)}\n`);
  console.log(`${tableOf(done)}\n\nload average at the end: ${facts.loadAverage.join(", ")}`);
}
