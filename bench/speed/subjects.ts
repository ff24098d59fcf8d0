/** What is measured: each a child process on core 0, checked before it is measured. */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect } from "node:http2";
import { fileURLToPath } from "node:url";
import { cliPath, type Served, startNode, urlIn } from "../support/server.ts";

export type Wire = "h1" | "h2c" | "h2";

/** The same build of fakeai with other flags, that a row is held against. */
export interface Twin {
  readonly name: string;
  readonly flags: readonly string[];
  /** Of the row's figure to the twin's. */
  readonly target: number;
}

/** The core that a process has to stay on; null: any. */
export interface Place {
  readonly core: number | null;
}

/** Where the server is. */
export const ownCore: Place = { core: 0 };
/** Where the load is. */
export const loadCore: Place = { core: 1 };

/** A server that runs. */
export interface Subject extends Omit<Served, "line"> {
  readonly name: string;
  readonly port: number;
}

const pathOf = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const cache = pathOf("../../node_modules/.cache/fakeai-bench/");
export const chatPath = "/v1/chat/completions";

/** Compiles the controls, and the C programs where there is a C compiler; returns whether there is. */
export function buildAll(): boolean {
  mkdirSync(cache, { recursive: true });
  writeFileSync(`${cache}package.json`, '{"type":"module"}\n');
  run(process.execPath, [pathOf("../../node_modules/typescript/bin/tsc"), "-p", pathOf("controls/tsconfig.json")]);
  if (spawnSync("cc", ["--version"]).status !== 0) return false;
  const compile = (name: "reader" | "send-limit", before: readonly string[] = [], after: readonly string[] = []): readonly string[] => [
    "-O2",
    ...before,
    pathOf(`limits/${name}.c`),
    "-o",
    limitPath(name),
    ...after,
  ];
  run("cc", compile("send-limit"));
  // Without OpenSSL only the rows over TLS are missing, and say so.
  if (spawnSync("cc", compile("reader", ["-DWITH_TLS"], ["-lssl"])).status !== 0) run("cc", compile("reader"));
  return true;
}

/** The path of a compiled C program. */
export function limitPath(name: "reader" | "send-limit"): string {
  return `${cache}${name}`;
}

/** Writes a file into the cache; returns its path. */
export function cacheFile(name: string, text: string): string {
  writeFileSync(`${cache}${name}`, text);
  return `${cache}${name}`;
}

function run(command: string, args: readonly string[]): void {
  const { status, stdout, stderr } = spawnSync(command, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stdout}${stderr}`);
}

/** Runs a program on core 1, where the load belongs, or at another place. Fails loudly: a broken run must not become a low number. */
export function runLoad(command: string, args: readonly string[], timeoutMs: number, { core }: Place = loadCore): Promise<string> {
  return new Promise((resolve, reject) => {
    const [program, ...rest] = [...(core === null ? [] : ["taskset", "-c", String(core)]), command, ...args];
    const child = spawn(program!, rest, { stdio: ["ignore", "pipe", "pipe"] });
    let stdout = "";
    let stderr = "";
    child.stdout.on("data", (chunk) => (stdout += String(chunk)));
    child.stderr.on("data", (chunk) => (stderr += String(chunk)));
    const timer = setTimeout(() => child.kill("SIGKILL"), timeoutMs);
    child.on("close", (code) => {
      clearTimeout(timer);
      if (code === 0) resolve(stdout);
      else reject(new Error(`${command} ${args.join(" ")} ended with ${String(code)}: ${stderr.trim()}`));
    });
  });
}

/**
 * Gives all threads of a process but its main one the normal policy of the scheduler. A measurement that runs by a real-time one
 * (`chrt -r`), so that other programs do not disturb it, would have the main thread wait for a compiling one for a whole quantum of 100 ms.
 */
function yieldHelpers(pid: number): void {
  for (const thread of readdirSync(`/proc/${pid}/task`)) if (Number(thread) !== pid) spawnSync("chrt", ["-o", "-p", "0", thread]);
}

/** On core 0, where it is not told otherwise. */
export async function start(name: string, args: readonly string[], place: Place = ownCore): Promise<Subject> {
  const { line, ...served } = await startNode(name, args, place);
  for (const pid of [served.pid, ...workersOf(served.pid)]) yieldHelpers(pid);
  return { name, port: Number(new URL(urlIn(line)).port), ...served };
}

/** Whose bytes every subject writes: the profile whose events can be 270 bytes long and whose bodies about 300. */
export const profile = "minimal";

/** `fakeai serve` as users get it, but for the profile; `nodeFlags` are node's own. */
export function startFakeai(wire: Wire, flags: readonly string[], nodeFlags: readonly string[] = [], place?: Place): Promise<Subject> {
  return startBuild("fakeai", cliPath, wire, flags, nodeFlags, place);
}

/** fakeai with other flags, by the name that it has in a row. */
export function startTwin({ name, flags: own }: Twin, wire: Wire, flags: readonly string[]): Promise<Subject> {
  return startBuild(name, cliPath, wire, [...flags, ...own], []);
}

/** What another build of fakeai is called in a row. */
export const otherBuild = "other build";

/** Another build of fakeai, by the path of its dist/cli.js. */
export function startOtherBuild(cli: string, wire: Wire, flags: readonly string[]): Promise<Subject> {
  return startBuild(otherBuild, cli, wire, flags, []);
}

function startBuild(
  name: string,
  cli: string,
  wire: Wire,
  flags: readonly string[],
  nodeFlags: readonly string[],
  place?: Place,
): Promise<Subject> {
  const many = wire === "h1" ? [] : ["--max-concurrent-streams", "1000"];
  return start(name, [...nodeFlags, cli, "serve", "--json", "--profile", profile, "--protocol", `${wire}:0`, ...many, ...flags], place);
}

/** A raw engine. */
export function startControl(
  engine: "uws" | "http" | "http2",
  flags: readonly string[],
  nodeFlags: readonly string[] = [],
): Promise<Subject> {
  return start(`raw ${engine}`, [...nodeFlags, `${cache}${engine}.js`, ...flags]);
}

/** Two processes of a raw engine that share a port. */
export function startControls(engine: "uws" | "http2", flags: readonly string[]): Promise<Subject> {
  return start(`2 raw ${engine}`, [`${cache}cluster.js`, engine, ...flags]);
}

export interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
}

/** One request; with `events`, the stream is left after so many. */
export function ask(wire: Wire, port: number, body: string, events: number = Infinity): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let text = "";
    const enough = (chunk: Buffer): boolean => {
      text += chunk.toString("latin1");
      return events !== Infinity && text.split("\n\n").length > events;
    };
    if (wire === "h1") {
      const request = httpRequest(
        {
          port,
          host: "127.0.0.1",
          path: chatPath,
          method: "POST",
          headers: { "content-type": "application/json", "content-length": body.length },
        },
        (response) => {
          const headers = Object.fromEntries(Object.entries(response.headers).map(([name, value]) => [name, String(value)]));
          const done = (): void => resolve({ status: response.statusCode!, contentType: headers["content-type"] ?? "", headers, text });
          response.on("data", (chunk: Buffer) => {
            if (!enough(chunk)) return;
            done();
            request.destroy();
          });
          response.on("end", done);
          response.on("error", () => {});
        },
      );
      request.on("error", reject);
      request.end(body);
      return;
    }
    const session = connect(`${wire === "h2" ? "https" : "http"}://127.0.0.1:${port}`, { rejectUnauthorized: false });
    session.on("error", reject);
    const stream = session.request({ ":method": "POST", ":path": chatPath, "content-type": "application/json" });
    let status = 0;
    let contentType = "";
    const done = (): void => {
      resolve({ status, contentType, headers: {}, text });
      session.destroy();
    };
    stream.on("response", (headers) => {
      status = headers[":status"]!;
      contentType = headers["content-type"] ?? "";
    });
    stream.on("data", (chunk: Buffer) => {
      if (enough(chunk)) done();
    });
    stream.on("end", done);
    stream.on("error", reject);
    stream.end(body);
  });
}

/** The processes that a process has started. */
export function workersOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ").filter(Boolean).map(Number);
}

/** Sockets that a process has open. */
export function socketsOf(pid: number): number {
  const links = readdirSync(`/proc/${pid}/fd`).map((fd) => {
    try {
      return readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      return "";
    }
  });
  return links.filter((link) => link.startsWith("socket:")).length;
}

/** CPU time of all threads of a process and of those that it has started, microseconds. */
export function familyCpuUs(pid: number): number {
  return [pid, ...workersOf(pid)].reduce((sum, each) => sum + cpuUs(each), 0);
}

/** CPU time of all threads of a process, microseconds. */
export function cpuUs(pid: number): number {
  let ns = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    ns += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "latin1").split(" ")[0]);
  }
  return ns / 1000;
}

/** Resident memory of a process, kilobytes. */
export function rssKb(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1]);
}

/** Peak resident memory of a process so far, kilobytes. */
export function peakRssKb(pid: number): number {
  return Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "latin1"))![1]);
}
