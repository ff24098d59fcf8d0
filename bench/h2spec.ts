/**
 * h2spec (github.com/summerwind/h2spec) against fakeai and against a bare node:http2 server, which shows what is the engine's:
 * cleartext and TLS, without and with its strict cases, several times in turns.
 */
import { type ChildProcess, execFile, fork, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createSecureServer, createServer as createCleartextServer, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { localhostCertificate } from "../src/base/certificate.ts";
import { createServer } from "../src/index.ts";
import { describeEnvironment } from "../src/runner/processes/machine.ts";
import { table, writtenBy } from "./support/page.ts";

const bareName = "bare node:http2";
const servers = ["fakeai", "fakeai, own engine", bareName] as const;
const protocols = ["h2c", "h2"] as const;
const modes = ["normal", "strict"] as const;
type Server = (typeof servers)[number];
type Protocol = (typeof protocols)[number];
type Mode = (typeof modes)[number];
type Verdict = "passed" | "skipped" | "failed";

/** Verdicts by case. h2spec numbers cases anew in each section; a section and a title name one. */
type Run = ReadonlyMap<string, Verdict>;

interface Row {
  readonly server: Server;
  readonly protocol: Protocol;
  readonly mode: Mode;
  /** Of each round. */
  readonly passed: readonly number[];
  readonly cases: number;
  /** Cases that did not pass, with how many rounds they failed in. */
  readonly failed: Readonly<Record<string, number>>;
  readonly skipped: readonly string[];
}

const folder = fileURLToPath(new URL("../results/h2spec/", import.meta.url));
/** Where `go install` puts it, and the PATH. */
const places = [...(process.env["GOBIN"] === undefined ? [] : [process.env["GOBIN"]]), join(process.env["HOME"] ?? "/", "go/bin"), ""];

/** The command of h2spec, and its version; null: it is not there. */
function findH2spec(): { readonly command: string; readonly version: string } | null {
  for (const place of places) {
    const command = join(place, "h2spec");
    const { status, stdout } = spawnSync(command, ["--version"], { encoding: "utf8" });
    if (status === 0) return { command, version: stdout.trim() };
  }
  return null;
}

/** In a process of its own: starts a server and tells its port. */
async function serve(server: Server, protocol: Protocol): Promise<void> {
  const tell = (port: number): void => void process.send!(port);
  if (server !== bareName) {
    const { urls } = await createServer({ protocol: `${protocol}:0`, h2Engine: server === "fakeai" ? "node" : "own" });
    tell(Number(new URL(urls[protocol]!).port));
    return;
  }
  const answer = (_request: Http2ServerRequest, response: Http2ServerResponse): void => void response.end("hello");
  const { cert, key } = await localhostCertificate();
  const bare = protocol === "h2c" ? createCleartextServer(answer) : createSecureServer({ cert, key }, answer);
  bare.on("sessionError", () => {});
  bare.listen(0, "127.0.0.1", () => tell((bare.address() as AddressInfo).port));
}

function startServer(server: Server, protocol: Protocol): Promise<{ readonly child: ChildProcess; readonly port: number }> {
  const child = fork(fileURLToPath(import.meta.url), ["--serve", server, protocol], { execArgv: ["--import", "tsx"] });
  return new Promise((resolve, reject) => {
    child.once("message", (port) => resolve({ child, port: port as number }));
    child.once("exit", (code) => reject(new Error(`${server} on ${protocol} did not start: exit ${code}`)));
  });
}

/** Runs h2spec once against a new server, and reads its JUnit report. */
async function measure(command: string, server: Server, protocol: Protocol, mode: Mode): Promise<Run> {
  const { child, port } = await startServer(server, protocol);
  const scratch = mkdtempSync(join(tmpdir(), "fakeai-h2spec-"));
  const report = join(scratch, "report.xml");
  const flags = [...(protocol === "h2" ? ["-t", "-k"] : []), ...(mode === "strict" ? ["-S"] : [])];
  try {
    // It exits with 1 where a case fails.
    const said = await new Promise<string>((resolve) =>
      execFile(command, ["-p", String(port), "-j", report, ...flags], { maxBuffer: 1e8 }, (error, stdout, stderr) =>
        resolve(`${error?.signal ?? ""} ${stdout.slice(-2000)} ${stderr.slice(-2000)}`),
      ),
    );
    if (!existsSync(report)) throw new Error(`h2spec made no report of ${server}, ${protocol}, ${mode}: ${said}`);
    return verdictsOf(readFileSync(report, "utf8"));
  } finally {
    child.kill();
    rmSync(scratch, { recursive: true });
  }
}

function verdictsOf(report: string): Run {
  const verdicts = new Map<string, Verdict>();
  for (const [, attributes, inside] of report.matchAll(/<testcase ([^>]*)>(.*?)<\/testcase>/gs)) {
    const section = /package="([^"]*)"/.exec(attributes!)![1]!;
    const title = /classname="([^"]*)"/.exec(attributes!)![1]!.replaceAll("&#34;", '"').replaceAll("&#39;", "'");
    const verdict = inside!.includes("<skipped") ? "skipped" : /<(failure|error)/.test(inside!) ? "failed" : "passed";
    verdicts.set(`${section}: ${title}`, verdict);
  }
  if (verdicts.size === 0) throw new Error("h2spec reported no case");
  return verdicts;
}

function rowOf(server: Server, protocol: Protocol, mode: Mode, runs: readonly Run[]): Row {
  const failed: Record<string, number> = {};
  const skipped = new Set<string>();
  for (const run of runs) {
    for (const [name, verdict] of run) {
      if (verdict === "failed") failed[name] = (failed[name] ?? 0) + 1;
      else if (verdict === "skipped") skipped.add(name);
    }
  }
  const passed = runs.map((run) => [...run.values()].filter((verdict) => verdict === "passed").length);
  return { server, protocol, mode, passed, cases: runs[0]!.size, failed, skipped: [...skipped] };
}

/** Cases that fail in more rounds on fakeai than on the bare server. */
function worseThanBare(rows: readonly Row[]): string[] {
  return rows
    .filter(({ server }) => server !== bareName)
    .flatMap(({ server, protocol, mode, failed }) => {
      const bare = rows.find((row) => row.server === bareName && row.protocol === protocol && row.mode === mode)!;
      return Object.entries(failed)
        .filter(([name, rounds]) => rounds > (bare.failed[name] ?? 0))
        .map(([name, rounds]) => `${server}, ${protocol} ${mode}: ${name} (${rounds} rounds, bare ${bare.failed[name] ?? 0})`);
    });
}

/** One line for each case that failed anywhere: in how many rounds, by server, protocol and mode. */
function failureTable(rows: readonly Row[]): string {
  const names = [...new Set(rows.flatMap(({ failed }) => Object.keys(failed)))].sort();
  const of = (server: Server, name: string): string =>
    protocols
      .flatMap((protocol) =>
        modes.map((mode) => rows.find((row) => row.server === server && row.protocol === protocol && row.mode === mode)!),
      )
      .map(({ failed }) => failed[name] ?? 0)
      .join(" / ");
  return table(
    ["case", ...servers],
    names.map((name) => [name].concat(servers.map((server) => of(server, name)))),
  );
}

function page(rows: readonly Row[], worse: readonly string[], rounds: number, version: string, head: string): string {
  const counts = rows.map(({ server, protocol, mode, passed, cases, skipped }) => [
    server,
    protocol,
    mode,
    `${passed.join(", ")} of ${cases}`,
    skipped.length,
  ]);
  return `# Conformance to HTTP/2

${head}), from [result.json](result.json). h2spec ${version}, ${rounds} rounds, in turns with a bare server:
\`(request, response) => response.end("hello")\` on node:http2.

${table(["server", "protocol", "mode", "passed, by round", "skipped"], counts)}

In how many of the ${rounds} rounds a case failed: h2c normal / h2c strict / h2 normal / h2 strict. A case that only the strict mode
has counts 0 in the other.

${failureTable(rows)}

${worse.length === 0 ? "No case fails more often on fakeai than on the bare server." : `More often on fakeai than on the bare server:\n\n${worse.map((line) => `- ${line}`).join("\n")}`}

What fails on node:http2 and on the bare server is the engine's. It forgets a stream once both ends have closed it, so that a late frame on it is ignored
where the RFC asks for STREAM_CLOSED; whether an answer has left by then is a race that h2spec runs. 5.1/5, 5.1/6 and 6.1/2 hang on it: a
busy machine can lose it on either server.
`;
}

const [first, ...rest] = process.argv.slice(2);
if (first === "--serve") {
  await serve(rest[0] as Server, rest[1] as Protocol);
} else {
  const { values } = parseArgs({ options: { rounds: { type: "string", default: "3" } } });
  const rounds = Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error("--rounds is a whole number above 0");
  const found = findH2spec();
  if (found === null) {
    process.stderr.write(
      "measure: h2spec is not on the PATH or in GOBIN: `go install github.com/summerwind/h2spec/cmd/h2spec@latest` makes it\n",
    );
    process.exit(2);
  }
  const startedAt = new Date().toISOString();
  const runs = new Map<string, Run[]>();
  for (let round = 0; round < rounds; round++) {
    for (const protocol of protocols) {
      for (const mode of modes) {
        for (const server of servers) {
          const run = await measure(found.command, server, protocol, mode);
          const key = `${server}|${protocol}|${mode}`;
          runs.set(key, [...(runs.get(key) ?? []), run]);
          const passed = [...run.values()].filter((verdict) => verdict === "passed").length;
          console.log(`round ${round + 1}: ${server}, ${protocol}, ${mode}: ${passed} of ${run.size} passed`);
        }
      }
    }
  }
  const rows = [...runs].map(([key, all]) => {
    const [server, protocol, mode] = key.split("|") as [Server, Protocol, Mode];
    return rowOf(server, protocol, mode, all);
  });
  const worse = worseThanBare(rows);
  const environment = describeEnvironment(false, "fakeai");
  mkdirSync(folder, { recursive: true });
  writeFileSync(`${folder}result.json`, `${JSON.stringify({ startedAt, environment, h2spec: found.version, rounds, rows }, null, 2)}\n`);
  writeFileSync(`${folder}README.md`, page(rows, worse, rounds, found.version, writtenBy("h2spec", startedAt, environment)));
  for (const line of worse) console.log(`worse than bare: ${line}`);
  process.exit(worse.length === 0 ? 0 : 1);
}
