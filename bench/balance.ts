/**
 * What connection-level balancing makes of HTTP/2: three servers behind one address that the kernel's NAT deals connections from, with the
 * rules that kube-proxy writes for a Service (iptables, `statistic --mode random`), in a network namespace of its own. The same load by
 * HTTP/1.1 and HTTP/2, over one connection and over several, and past the Service by the servers' own addresses.
 */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { generate } from "../src/load/generator.ts";
import type { LoadJob } from "../src/load/job.ts";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    only: { type: "string" },
    out: { type: "string", default: "results/distributed" },
  },
});

interface Row {
  readonly id: string;
  readonly what: string;
  readonly protocol: "h1" | "h2c";
  readonly connections: number;
  /** By the servers' own addresses (--target-hosts). */
  readonly past: boolean;
}

const rows: readonly Row[] = [
  { id: "h1", what: "HTTP/1.1, 24 connections", protocol: "h1", connections: 24, past: false },
  { id: "h2c-1", what: "HTTP/2, 1 connection", protocol: "h2c", connections: 1, past: false },
  { id: "h2c-3", what: "HTTP/2, 3 connections", protocol: "h2c", connections: 3, past: false },
  { id: "h2c-12", what: "HTTP/2, 12 connections", protocol: "h2c", connections: 12, past: false },
  { id: "h2c-hosts", what: "HTTP/2, 3 connections, `--target-hosts` with the three servers", protocol: "h2c", connections: 3, past: true },
];

const service = "10.96.0.10";
const ports = { h1: 80, h2c: 81 } as const;
const servers = 3;

interface Server {
  readonly child: ChildProcess;
  readonly hosts: Readonly<Record<"h1" | "h2c", string>>;
}

interface Taken {
  readonly row: string;
  readonly round: number;
  /** Of each server. */
  readonly requests: readonly number[];
  readonly connections: readonly number[];
  readonly cpuS: readonly number[];
}

if (process.env["BALANCED_NETWORK"] === undefined) {
  const again = ["-n", process.execPath, "--import", "tsx", fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  const ended = spawnSync("unshare", again, { stdio: "inherit", env: { ...process.env, BALANCED_NETWORK: "1" } });
  if (ended.error !== undefined) console.error(`unshare: ${ended.error.message}`);
  process.exitCode = ended.status ?? 1;
} else {
  await measure();
}

async function measure(): Promise<void> {
  execFileSync("ip", ["link", "set", "lo", "up"]);
  execFileSync("ip", ["addr", "add", `${service}/32`, "dev", "lo"]);
  const all = await Promise.all(Array.from({ length: servers }, start));
  try {
    for (const protocol of ["h1", "h2c"] as const)
      balance(
        ports[protocol],
        all.map(({ hosts }) => hosts[protocol]),
      );
    const taken: Taken[] = [];
    for (let round = 1; round <= Number(values.rounds); round++) {
      for (const row of rows) {
        if (values.only !== undefined && row.id !== values.only) continue;
        const before = await Promise.all(all.map(seen));
        const connections = await load(row, all);
        const after = await Promise.all(all.map(seen));
        const by = (pick: (one: Seen) => number): number[] => after.map((one, i) => pick(one) - pick(before[i]!));
        taken.push({
          row: row.id,
          round,
          requests: by(({ requests }) => requests),
          connections,
          cpuS: by(({ cpuS }) => cpuS),
        });
        console.log(JSON.stringify(taken.at(-1)));
      }
    }
    mkdirSync(values.out, { recursive: true });
    writeFileSync(join(values.out, "balance.json"), `${JSON.stringify(taken, null, 1)}\n`);
    console.log(table(taken));
  } finally {
    for (const { child } of all) child.kill();
  }
}

async function start(): Promise<Server> {
  const args = ["dist/cli.js", "serve", "--json", "--warm", "--protocol", "h1:0,h2c:0", "--ttft", "20", "--itl", "5"];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = (await once(child.stdout, "data")) as [Buffer];
  const { listening } = JSON.parse(line.toString()) as { listening: { protocol: "h1" | "h2c"; url: string }[] };
  const host = (protocol: string): string => new URL(listening.find((one) => one.protocol === protocol)!.url).host;
  return { child, hosts: { h1: host("h1"), h2c: host("h2c") } };
}

/** The rules of a Service: the first takes a third of all connections, the second half of the rest, the third what is left. */
function balance(port: number, hosts: readonly string[]): void {
  for (const [index, host] of hosts.entries()) {
    const share = 1 / (hosts.length - index);
    const chance = share === 1 ? [] : ["-m", "statistic", "--mode", "random", "--probability", share.toFixed(11)];
    const match = ["-d", service, "-p", "tcp", "--dport", String(port), ...chance];
    execFileSync("iptables", ["-t", "nat", "-A", "OUTPUT", ...match, "-j", "DNAT", "--to-destination", host]);
  }
}

interface Seen {
  readonly requests: number;
  readonly cpuS: number;
}

async function seen({ hosts }: Server): Promise<Seen> {
  const text = await (await fetch(`http://${hosts.h1}/metrics`)).text();
  const sum = (name: string): number =>
    [...text.matchAll(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "gm"))].reduce((total, match) => total + Number(match[1]), 0);
  return { requests: sum("vllm:request_success_total"), cpuS: sum("process_cpu_seconds_total") };
}

/** 240 requests of 24 streams; the connections that each server had, where the load knows. */
async function load({ protocol, connections, past }: Row, all: readonly Server[]): Promise<readonly number[]> {
  const body = JSON.stringify({
    model: "any",
    stream: true,
    max_tokens: 16,
    ignore_eos: true,
    messages: [{ role: "user", content: "Go on." }],
  });
  const job: LoadJob = {
    endpoint: {
      origin: `http://${service}:${ports[protocol]}`,
      protocol,
      path: "/v1/chat/completions",
      method: "POST",
      headers: { "content-type": "application/json" },
      tls: { ca: null, insecure: false, cipher: null },
      ...(past ? { hosts: all.map(({ hosts }) => hosts[protocol]) } : {}),
    },
    connections,
    reuse: "keep",
    streams: 24,
    mode: "closed",
    warmup: [],
    requests: Array.from({ length: 240 }, () => ({ body, tokens: 16 })),
    idleTimeoutMs: 10_000,
    requestTimeoutMs: 10_000,
    stream: true,
    detail: false,
    clock: null,
  };
  const { requests, servers: told } = await generate(job, {
    signal: new AbortController().signal,
    onPhase: async () => {},
    onProgress() {},
  });
  if (requests.completed !== 240) throw new Error(`${requests.failed} requests failed: ${JSON.stringify(requests.errors)}`);
  return told?.map((one) => one.connections) ?? [];
}

function table(taken: readonly Taken[]): string {
  const lines = rows.flatMap(({ id, what }) => {
    const own = taken.filter(({ row }) => row === id);
    if (own.length === 0) return [];
    const most = own.map(({ requests }) => Math.max(...requests) / requests.reduce((a, b) => a + b, 0));
    const idle = own.map(({ requests }) => requests.filter((count) => count === 0).length);
    const range = (list: readonly number[], text: (value: number) => string): string =>
      Math.min(...list) === Math.max(...list) ? text(list[0]!) : `${text(Math.min(...list))} to ${text(Math.max(...list))}`;
    return [
      `| ${what} | ${own[0]!.requests.toSorted((a, b) => b - a).join(", ")} | ${range(most, (share) => `${(100 * share).toFixed(0)}%`)} | ${range(idle, String)} |`,
    ];
  });
  return `| load | requests of each server, round 1 | share of the busiest, ${values.rounds} rounds | servers without one |\n| --- | --- | --- | --- |\n${lines.join("\n")}\n`;
}
