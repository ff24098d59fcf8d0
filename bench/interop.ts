/**
 * Independent clients of HTTP/2 against both of our engines: Go's net/http, Rust's hyper and Python's httpx do the same on one
 * connection: 100 streams at once, a body beyond the first window, trailers, a 404, 20 streams that are given up, and one more. What
 * each saw is held against what the server counted. curl, nghttp and h2load are in test/clients. Exit code 1: something differs.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createServer } from "../src/index.ts";
import { describeEnvironment } from "../src/runner/processes/machine.ts";
import { table, writtenBy } from "./support/page.ts";
import { eventually } from "../test/support/wait.ts";

const { values } = parseArgs({ options: { python: { type: "string", default: "python3" } } });
const here = fileURLToPath(new URL("interop/", import.meta.url));
const cache = fileURLToPath(new URL("../node_modules/.cache/interop/", import.meta.url));
const folder = fileURLToPath(new URL("../results/clients/", import.meta.url));
mkdirSync(cache, { recursive: true });

/** What a client prints. */
interface Told {
  readonly client: string;
  readonly version: string;
  readonly protocol: string;
  /** Of 100 streams, those that came whole. */
  readonly complete: number;
  /** Status of a request with a body of 300 KB. */
  readonly upload: number;
  /** Whether a request with trailers was answered whole; null: the client has none. */
  readonly trailers: boolean | null;
  readonly missing: number;
  /** Whether one more came whole after 20 had been given up. */
  readonly afterAborts: boolean;
}

interface Row extends Told {
  readonly engine: "node" | "own";
  readonly scheme: "h2c" | "h2";
  /** Counted by the server. */
  readonly aborted: number;
  readonly connections: number;
  /** What is not as it has to be. */
  readonly failures: readonly string[];
}

interface Client {
  readonly name: string;
  readonly howToGet: string;
  /** Builds it; null: it is not there. Resolves with its command, which takes an origin and the file of the CA. */
  readonly command: () => readonly string[] | null;
  /** Its version, where it cannot tell by itself. */
  readonly version?: () => string;
}

const succeeds = (command: string, args: readonly string[]): boolean => spawnSync(command, args, { stdio: "ignore" }).status === 0;
const manifest = `${here}rust/Cargo.toml`;

const clients: readonly Client[] = [
  {
    name: "Go net/http",
    howToGet: "go, 1.25 or later",
    command: () => (succeeds("go", ["build", "-o", `${cache}go-client`, `${here}client.go`]) ? [`${cache}go-client`] : null),
  },
  {
    name: "Rust hyper",
    howToGet: "cargo",
    command: () =>
      succeeds("cargo", ["build", "--quiet", "--manifest-path", manifest, "--target-dir", cache]) ? [`${cache}debug/interop`] : null,
    version: () => /name = "hyper"\nversion = "([^"]+)"/.exec(readFileSync(`${here}rust/Cargo.lock`, "utf8"))![1]!,
  },
  {
    name: "Python httpx",
    howToGet: 'pip install "httpx[http2]", and --python where that is',
    command: () => (succeeds(values.python, ["-c", "import httpx, h2"]) ? [values.python, `${here}client.py`] : null),
  },
];

const aborts = 20;

/** Runs a client once against a server of its own. */
async function meet(client: Client, command: readonly string[], engine: Row["engine"], scheme: Row["scheme"]): Promise<Row> {
  await using server = await createServer({
    protocol: `${scheme}:0,h1s:0`,
    h2Engine: engine,
    h1Engine: "node",
    outputTokens: 50,
    itl: 1,
    grace: 0,
  });
  const [program, ...args] = command;
  const origin = server.urls[scheme]!.replace("127.0.0.1", "localhost");
  const child = spawn(program!, [...args, origin, server.caPath!], { timeout: 60_000 });
  let [stdout, stderr] = ["", ""];
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  let connections = 0;
  const looking = setInterval(() => (connections = Math.max(connections, server.stats().openConnections)), 5);
  const code = await new Promise<number | null>((resolve, reject) => child.once("close", resolve).once("error", reject));
  clearInterval(looking);
  if (code !== 0)
    throw new Error(`${client.name} on ${scheme}, engine ${engine}: exit ${code}: ${stderr.trim().split("\n").slice(-3).join(" ")}`);
  const told = JSON.parse(stdout) as Told;
  await eventually(() => server.stats().openStreams === 0 && server.stats().openConnections === 0, "nothing is left", 5000).catch(() => {});
  const { abortedStreams, openStreams, openConnections } = server.stats();
  const row = { ...told, version: client.version?.() ?? told.version, engine, scheme, aborted: abortedStreams, connections };
  const failures = Object.entries({
    "not HTTP/2": !told.protocol.startsWith("HTTP/2"),
    [`${told.complete} of 100 came whole`]: told.complete !== 100,
    [`upload: ${told.upload}`]: told.upload !== 200,
    trailers: told.trailers === false,
    [`missing: ${told.missing}`]: told.missing !== 404,
    "after aborts": !told.afterAborts,
    [`${abortedStreams} of ${aborts} aborts counted`]: abortedStreams !== aborts,
    [`${openStreams} streams and ${openConnections} connections left`]: openStreams + openConnections > 0,
  });
  return { ...row, failures: failures.flatMap(([what, failed]) => (failed ? [what] : [])) };
}

const startedAt = new Date().toISOString();
const rows: Row[] = [];
for (const client of clients) {
  const command = client.command();
  if (command === null) {
    console.log(`${client.name} is left out (${client.howToGet})`);
    continue;
  }
  for (const engine of ["node", "own"] as const) {
    for (const scheme of ["h2c", "h2"] as const) {
      const row = await meet(client, command, engine, scheme);
      rows.push(row);
      console.log(`${row.client} ${row.version}, ${scheme}, engine ${engine}: ${row.failures.join("; ") || "all as it has to be"}`);
    }
  }
}
if (rows.length === 0) process.exit(1);
const environment = describeEnvironment(false, "fakeai");
const yes = (value: boolean | null): string => (value === null ? "it has none" : value ? "yes" : "**no**");
writeFileSync(`${folder}interop/http2.json`, `${JSON.stringify({ startedAt, environment, rows }, null, 1)}\n`);
writeFileSync(
  `${folder}http2.md`,
  `# Clients of HTTP/2 that others wrote

${writtenBy("interop", startedAt, environment)}). Each does the same on one connection of a server of its own: 100 streams of 50 tokens
at once, a request of 300 KB, one that ends by trailers, a path that is not there, ${aborts} streams given up after their first line,
and one more. Aborts and connections are what the server counted.

${table(
  ["client", "protocol", "engine", "whole of 100", "300 KB", "trailers", "404", "after aborts", "aborts counted", "connections", ""],
  rows.map((row) => [
    `${row.client} ${row.version}`,
    row.scheme,
    row.engine,
    row.complete,
    row.upload,
    yes(row.trailers),
    row.missing,
    yes(row.afterAborts),
    row.aborted,
    row.connections,
    row.failures.length === 0 ? "" : `**${row.failures.join("; ")}**`,
  ]),
)}
`,
);
process.exitCode = rows.every(({ failures }) => failures.length === 0) ? 0 : 1;
