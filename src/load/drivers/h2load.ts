/**
 * The h2load driver (nghttp2): an independent client for HTTP/2 and HTTP/1.1, to check ours against. It sees requests, not
 * tokens. From 1.69 on its measurements come from `--output-file`, before that from what it prints.
 *
 * Only what h2load does right is used:
 * - Its exit code is always 0: success is read from its output, and `Application protocol` proves what was spoken.
 * - `-D` drops streams under way and breaks connect times: loads are an exact number of requests (`-n`).
 * - "Time to first byte" is one sample per connection, from connect on: it is not used.
 * - Connect times end before HTTP/2's SETTINGS, and the printed ones lack percentiles: `connect` is reported on HTTP/1.1 from
 *   1.69 on.
 * - `--rps` does not count how long a request waits: open loops are refused.
 * - With `--h1`, `-m` pipelines: it is 1.
 * - Its default windows are 2^30: the job's are set.
 * - Streams above the server's limit fail or wait unseen: the server's SETTINGS are read beforehand.
 * - It appends to `--log-file`, which has the times of requests: each run has its own file.
 * - It never verifies certificates, and `-H` shows headers in process lists.
 */
import { protocolTraits } from "../../results/protocols.ts";
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monotonicUs } from "../../base/clock.ts";
import { boundToUs } from "../../base/children.ts";
import { openConnection } from "../client/open.ts";
import { defaultWindows, type LoadDriver, type LoadJob, type LoadReport, type PlannedRequest, type RunOptions } from "../job.ts";
import { jobFault, onlyOurs, uniformRequest } from "../limits.ts";
import { pinned } from "./stream.ts";
import type { Http2Limits } from "../client/connection.ts";
import { parseH2loadLog, writesJson } from "./h2load-output.ts";
import { type H2loadRun, reportOf } from "./h2load-report.ts";

/** How often the CPU time of h2load is read. A shorter run has none. */
const lookEveryMs = 20;

/** "1.52.0", or null where h2load is not installed or does not answer. */
export function h2loadVersion(): string | null {
  const { status, stdout } = spawnSync("h2load", ["--version"], { timeout: 5000, killSignal: "SIGKILL" });
  if (status !== 0) return null;
  return /nghttp2\/(\S+)/.exec(stdout.toString())?.[1] ?? null;
}

const cipherSuites13: ReadonlySet<string> = new Set(["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]);

export class H2loadDriver implements LoadDriver {
  readonly name = "h2load";
  readonly pid = null;
  #version: string | null | undefined;

  supports(job: LoadJob): true | string {
    const fault = jobFault(job);
    if (fault !== null) return fault;
    this.#version ??= h2loadVersion();
    if (this.#version === null) return "h2load is not installed (Debian: nghttp2-client, Fedora: nghttp2, macOS: brew install nghttp2)";
    const ours = onlyOurs(job);
    if (ours !== null) return ours;
    const { endpoint, connections, streams, requests } = job;
    if (job.mode === "open") return "h2load's rate never counts how long a request waits to be sent";
    if (job.reuse !== "keep") return "h2load keeps its connections";
    if (!protocolTraits[endpoint.protocol].isMultiplexed && streams !== connections)
      return "on HTTP/1.1 h2load would pipeline: as many connections as streams are needed";
    if (streams % connections !== 0) return "h2load gives each connection the same number of streams";
    if (requests.length < connections) return "h2load needs at least one request for each connection";
    const request = uniformRequest(job);
    if (request === null) return "h2load sends the same request each time";
    if ((request.method ?? endpoint.method) === "POST" && request.body === "") return "h2load posts no empty body";
    if (endpoint.tls.cipher !== null && !cipherSuites13.has(endpoint.tls.cipher))
      return `${endpoint.tls.cipher} is no TLS 1.3 cipher suite`;
    return true;
  }

  async run(job: LoadJob, options: RunOptions): Promise<LoadReport> {
    const reason = this.supports(job);
    if (reason !== true) throw new Error(reason);
    const directory = mkdtempSync(join(tmpdir(), "fakeai-h2load-"));
    try {
      return await this.#measure(job, uniformRequest(job)!, directory, options);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  async #measure(job: LoadJob, request: PlannedRequest, directory: string, options: RunOptions): Promise<LoadReport> {
    const limits = await peerLimits(job);
    const json = this.#version !== null && this.#version !== undefined && writesJson(this.#version);
    if (job.warmup.length > 0 && !options.signal.aborted) {
      const count = Math.max(job.warmup.length, job.connections);
      await runH2load(argumentsFor(job, request, count, directory, "warmup", false), { ...options, onProgress() {} }, job);
    }
    options.onPhase("begin");
    const startedUs = monotonicUs();
    const ran = await runH2load(argumentsFor(job, request, job.requests.length, directory, "run", json), options, job);
    const endedUs = monotonicUs();
    options.onPhase("end");
    // There is no log where no request was started, and no result where the run was cut short.
    const log = parseH2loadLog(textOf(join(directory, "run.log")) ?? "");
    const file = textOf(join(directory, "run.json"));
    return reportOf(job, { ...ran, startedUs, endedUs, log, file, limits, interrupted: options.signal.aborted });
  }
}

function textOf(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}

/** The server's limits, read by a connection of our own; null on HTTP/1.1, and where it fails: the run shows why. */
async function peerLimits({ endpoint, windows }: LoadJob): Promise<Http2Limits | null> {
  if (!protocolTraits[endpoint.protocol].isMultiplexed) return null;
  try {
    const connection = await openConnection({ endpoint, windows: windows ?? defaultWindows, timeoutMs: 5000 });
    const limits = connection.http2;
    connection.close();
    return limits;
  } catch {
    return null;
  }
}

/** The command line of one run, which leaves `<name>.log` in the directory, and `<name>.json` where asked to. */
function argumentsFor(job: LoadJob, request: PlannedRequest, count: number, directory: string, name: string, json: boolean): string[] {
  const { endpoint, connections, streams } = job;
  const { streamBytes, connectionBytes } = job.windows ?? defaultWindows;
  const isH1 = !protocolTraits[endpoint.protocol].isMultiplexed;
  const arguments_ = ["-n", String(count), "-c", String(connections), "-t", "1"];
  if (isH1) arguments_.push("--h1", "-m", "1");
  else
    arguments_.push("-m", String(streams / connections), "-w", String(windowBits(streamBytes)), "-W", String(windowBits(connectionBytes)));
  if (endpoint.tls.cipher !== null) arguments_.push(`--tls13-ciphers=${endpoint.tls.cipher}`);
  for (const [name, value] of Object.entries(endpoint.headers)) arguments_.push("-H", `${name}: ${value}`);
  if ((request.method ?? endpoint.method) === "POST") {
    const body = join(directory, "body");
    writeFileSync(body, request.body);
    arguments_.push("-d", body);
  }
  // Whole milliseconds: h2load takes no fractions.
  arguments_.push("-N", `${Math.max(1, Math.ceil(job.idleTimeoutMs))}ms`, `--log-file=${join(directory, `${name}.log`)}`);
  if (json) arguments_.push(`--output-file=${join(directory, `${name}.json`)}`);
  arguments_.push(`${endpoint.origin}${request.path ?? endpoint.path}`);
  return arguments_;
}

/** h2load takes exponents: a window of 2^bits - 1. */
function windowBits(bytes: number): number {
  return Math.round(Math.log2(bytes + 1));
}

function runH2load(
  arguments_: readonly string[],
  { signal, cpu, onProgress }: RunOptions,
  { idleTimeoutMs, requestTimeoutMs, streams }: LoadJob,
): Promise<Pick<H2loadRun, "output" | "cpuShare">> {
  const total = Number(arguments_[1]);
  const [command, ...rest] = pinned(["h2load", ...arguments_], cpu);
  return new Promise((resolve, reject) => {
    const child = boundToUs(spawn(command!, rest, { stdio: ["ignore", "pipe", "pipe"] }));
    let output = "";
    let cpuShare: number | null = null;
    const startedUs = monotonicUs();
    let heard = startedUs;
    const deadlineUs = startedUs + Math.ceil(total / streams) * requestTimeoutMs * 1000;
    const look = setInterval(() => {
      const cpuUs = child.pid === undefined ? null : cpuOf(child.pid);
      if (cpuUs !== null) cpuShare = cpuUs / (monotonicUs() - startedUs);
      const nowUs = monotonicUs();
      // Far above h2load's own time-out. It has none for a whole request: the run has one that no shorter requests reach.
      if (nowUs - heard > idleTimeoutMs * 3000 + 30_000_000 || nowUs > deadlineUs) child.kill("SIGKILL");
    }, lookEveryMs);
    const onAbort = (): void => {
      child.kill("SIGKILL");
    };
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    const onText = (text: Buffer): void => {
      heard = monotonicUs();
      output += text.toString();
      const progress = /progress: (\d+)% done\n?$/.exec(output)?.[1];
      if (progress !== undefined) onProgress(Math.round((Number(progress) / 100) * total));
    };
    child.stdout.on("data", onText);
    child.stderr.on("data", onText);
    const settle = (action: () => void): void => {
      clearInterval(look);
      signal.removeEventListener("abort", onAbort);
      action();
    };
    child.on("error", (error) => settle(() => reject(new Error(`h2load cannot be run: ${error.message}`))));
    child.on("close", () => settle(() => resolve({ output, cpuShare })));
  });
}

/** CPU time of a process so far, microseconds; null outside of Linux, which counts nanoseconds for each thread. */
function cpuOf(pid: number): number | null {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`);
    const times = tasks.map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "latin1").split(" ")[0]));
    return times.reduce((sum, ns) => sum + ns / 1000, 0);
  } catch {
    return null;
  }
}
