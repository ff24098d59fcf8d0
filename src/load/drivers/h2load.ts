/**
 * The h2load driver (nghttp2): the same independent tool for HTTP/2 and HTTP/1.1, to check ours against. It sees
 * requests, not tokens. From 1.69 on its measurements come from `--output-file`, before that from what it prints.
 *
 * Only what h2load does rightly is used. It exits with 0 whatever happens, so everything is read from its output, and
 * `Application protocol` proves what was spoken. `-D` drops streams that are under way and breaks the connect times, so
 * loads are an exact number of requests (`-n`). Its "time to first byte" is one sample per connection from connect on,
 * so it is not used; its connect times end before HTTP/2's SETTINGS have come, which ours wait for, and in print they
 * lack percentiles, so `connect` is there on HTTP/1.1 from 1.69 on and null elsewhere. `--rps` never counts a wait, so open
 * loops are refused; with `--h1`, `-m` would pipeline, so it is 1. Windows are the job's, as our own client has them, not
 * 2^30. More streams than the server allows fail or wait unseen, so the server's SETTINGS are read beforehand. Times of
 * requests come from `--log-file`, which h2load appends to, so each run has a file of its own. Certificates are never
 * verified by it, and `-H` shows headers in process lists.
 */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { monotonicUs } from "../../base/clock.ts";
import { Recorder, summarize } from "../../results/recorder.ts";
import type { MetricName, MetricSummary } from "../../results/types.ts";
import { boundToUs } from "../../base/children.ts";
import { openConnection } from "../client/open.ts";
import { defaultWindows, type LoadDriver, type LoadJob, type LoadReport, type PlannedRequest, type RunOptions } from "../job.ts";
import { cpuShareLimit, jobFault, onlyOurs, uniformRequest } from "../limits.ts";
import { pinned } from "./stream.ts";
import type { Http2Limits } from "../client/connection.ts";

/** A run shorter than this says nothing of its CPU time. */
const lookEveryMs = 20;

/** "1.52.0", or null where h2load is not installed. */
export function h2loadVersion(): string | null {
  const { status, stdout } = spawnSync("h2load", ["--version"]);
  if (status !== 0) return null;
  return /nghttp2\/(\S+)/.exec(stdout.toString())?.[1] ?? null;
}

/** What h2load says at its end. Bytes are of the application, TLS records excluded. */
export interface H2loadOutput {
  readonly negotiated: string | null;
  readonly cipher: string | null;
  readonly requests: {
    readonly total: number;
    readonly started: number;
    readonly done: number;
    readonly succeeded: number;
    readonly failed: number;
    readonly errored: number;
    readonly timeout: number;
  };
  readonly bytes: { readonly total: number; readonly headers: number; readonly data: number };
  /** From connecting to the connection's being usable, TLS included and SETTINGS not; null in text, which has no percentiles of 1.52. */
  readonly connectUs: readonly number[] | null;
}

/** Reads what every version prints. Throws where it is not complete. */
export function parseH2load(text: string): H2loadOutput {
  const counts = /^requests: (\d+) total, (\d+) started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout$/m.exec(
    text,
  );
  // KB are 1,024 bytes and rounded: the whole numbers stand in brackets.
  const traffic = /^traffic: \S+ \((\d+)\) total, \S+ \((\d+)\) headers .*, \S+ \((\d+)\) data$/m.exec(text);
  if (!counts || !traffic) throw new Error(`h2load printed no result: ${text.trim().split("\n").at(-1)?.slice(0, 120) ?? ""}`);
  const number = (match: RegExpExecArray, group: number): number => Number(match[group]);
  return {
    ...connectionIn(text),
    requests: {
      total: number(counts, 1),
      started: number(counts, 2),
      done: number(counts, 3),
      succeeded: number(counts, 4),
      failed: number(counts, 5),
      errored: number(counts, 6),
      timeout: number(counts, 7),
    },
    bytes: { total: number(traffic, 1), headers: number(traffic, 2), data: number(traffic, 3) },
    connectUs: null,
  };
}

/**
 * Reads the file of `--output-file` (1.69 and later, format "v1", times in seconds). Protocol and cipher are not in it, and
 * come from what was printed. Throws where it is not such a file.
 */
export function parseH2loadFile(json: string, printed: string): H2loadOutput {
  const { version, measurements } = JSON.parse(json) as {
    readonly version?: unknown;
    readonly measurements?: {
      readonly requests: H2loadOutput["requests"];
      readonly traffic: H2loadOutput["bytes"];
      readonly performance: { readonly connect: { readonly samples: readonly number[] } };
    };
  };
  if (version !== "v1" || measurements === undefined)
    throw new Error(`h2load wrote a result of version ${JSON.stringify(version)}, not "v1"`);
  const { requests, traffic, performance } = measurements;
  return {
    ...connectionIn(printed),
    requests,
    bytes: { total: traffic.total, headers: traffic.headers, data: traffic.data },
    connectUs: performance.connect.samples.map((seconds) => seconds * 1e6),
  };
}

function connectionIn(text: string): Pick<H2loadOutput, "negotiated" | "cipher"> {
  const cipher = /^Cipher: (\S+)$/m.exec(text)?.[1];
  return {
    negotiated: /^Application protocol: (\S+)$/m.exec(text)?.[1] ?? null,
    cipher: cipher === undefined ? null : `${/^TLS Protocol: (\S+)$/m.exec(text)?.[1] ?? "TLS"} ${cipher}`,
  };
}

/** Whether this version writes its measurements as JSON: from 1.69 on. */
export function writesJson(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 1 || (major === 1 && minor >= 69);
}

/** A request in the log: start as microseconds since 1970, status or -1, microseconds to its end. */
export interface H2loadLogRow {
  readonly startUs: number;
  readonly status: number;
  readonly durationUs: number;
}

export function parseH2loadLog(text: string): H2loadLogRow[] {
  return text.split("\n").flatMap((line) => {
    const [start, status, duration] = line.split("\t");
    return duration === undefined ? [] : [{ startUs: Number(start), status: Number(status), durationUs: Number(duration) }];
  });
}

const cipherSuites13: ReadonlySet<string> = new Set(["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]);

export class H2loadDriver implements LoadDriver {
  readonly name = "h2load";
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
    if ((endpoint.protocol === "h1" || endpoint.protocol === "h1s") && streams !== connections)
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
      await runH2load(argumentsFor(job, request, count, directory, "warmup", false), { ...options, onProgress() {} }, job.idleTimeoutMs);
    }
    options.onPhase("begin");
    const startedUs = monotonicUs();
    const ran = await runH2load(argumentsFor(job, request, job.requests.length, directory, "run", json), options, job.idleTimeoutMs);
    const endedUs = monotonicUs();
    options.onPhase("end");
    // Without one request that was started there is no log; a run that was cut short has written no result.
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

/** The server's SETTINGS, asked for by a connection of our own; null on HTTP/1.1 or where that fails: the run will tell. */
async function peerLimits({ endpoint, windows }: LoadJob): Promise<Http2Limits | null> {
  if (endpoint.protocol === "h1" || endpoint.protocol === "h1s") return null;
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
  const isH1 = endpoint.protocol === "h1" || endpoint.protocol === "h1s";
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

interface Ran {
  readonly output: string;
  /** Share of a core that h2load used until it was last looked at, or null where the system does not tell. */
  readonly cpuShare: number | null;
}

function runH2load(arguments_: readonly string[], { signal, cpu, onProgress }: RunOptions, idleTimeoutMs: number): Promise<Ran> {
  const total = Number(arguments_[1]);
  const [command, ...rest] = pinned(["h2load", ...arguments_], cpu);
  return new Promise((resolve, reject) => {
    const child = boundToUs(spawn(command!, rest, { stdio: ["ignore", "pipe", "pipe"] }));
    let output = "";
    let cpuShare: number | null = null;
    const startedUs = monotonicUs();
    let heard = startedUs;
    const look = setInterval(() => {
      const cpuUs = child.pid === undefined ? null : cpuOf(child.pid);
      if (cpuUs !== null) cpuShare = cpuUs / (monotonicUs() - startedUs);
      // h2load has waited in vain itself by then, twice over.
      if (monotonicUs() - heard > idleTimeoutMs * 3000 + 30_000_000) child.kill("SIGKILL");
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

/** CPU time of a process so far, microseconds, or null: Linux alone tells, in nanoseconds for each thread. */
function cpuOf(pid: number): number | null {
  try {
    const tasks = readdirSync(`/proc/${pid}/task`);
    const times = tasks.map((task) => Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "latin1").split(" ")[0]));
    return times.reduce((sum, ns) => sum + ns / 1000, 0);
  } catch {
    return null;
  }
}

interface Facts extends Ran {
  readonly startedUs: number;
  readonly endedUs: number;
  readonly log: readonly H2loadLogRow[];
  /** What `--output-file` left, or null. */
  readonly file: string | null;
  readonly limits: Http2Limits | null;
  readonly interrupted: boolean;
}

/** From what h2load printed and logged to a report. */
export function reportOf(job: LoadJob, facts: Facts): LoadReport {
  const { endpoint, streams, connections } = job;
  const { log } = facts;
  const invalid: string[] = [];
  let printed: H2loadOutput | null = null;
  try {
    printed = facts.file === null ? parseH2load(facts.output) : parseH2loadFile(facts.file, facts.output);
  } catch (error) {
    if (!facts.interrupted) invalid.push((error as Error).message);
  }
  const planned = job.requests.length;
  const succeeded = log.filter(({ status }) => status >= 200 && status <= 299);
  const completed = succeeded.length;
  const sent = printed === null ? log.length : planned;
  const failed = sent - completed;
  const errors: Record<string, number> = {};
  const count = (reason: string, times = 1): void => {
    if (times > 0) errors[reason] = (errors[reason] ?? 0) + times;
  };
  for (const { status } of log) {
    if (status === -1) count("reset");
    else if (status < 200 || status > 299) count(`status ${status}`);
  }
  // What was never started, or never ended, is in no log.
  const unlogged = sent - log.length;
  const timeouts = Math.min(unlogged, printed?.requests.timeout ?? 0);
  count("timeout", timeouts);
  count(printed?.requests.started === 0 ? "connection failed" : "connection closed", unlogged - timeouts);

  const e2el = new Recorder("us");
  for (const { durationUs } of succeeded) e2el.record(durationUs);
  const connect = new Recorder("us");
  if (endpoint.protocol === "h1" || endpoint.protocol === "h1s") for (const us of printed?.connectUs ?? []) connect.record(us);
  // h2load's own time begins before it has connected: from the first request to the last end instead.
  const firstUs = log.reduce((first, { startUs }) => Math.min(first, startUs), Infinity);
  const lastUs = log.reduce((last, { startUs, durationUs }) => Math.max(last, startUs + durationUs), 0);
  const durationUs = log.length > 0 ? lastUs - firstUs : facts.endedUs - facts.startedUs;
  const { cpuShare } = facts;
  const encrypted = endpoint.protocol === "h1s" || endpoint.protocol === "h2";
  const one = (value: number, unit: MetricSummary["unit"]): MetricSummary | null => (completed > 0 ? summarize([value], unit) : null);
  const metrics: Partial<Record<MetricName, MetricSummary | null>> = {
    e2el: e2el.summary(),
    connect: connect.summary(),
    durationUs: one(durationUs, "us"),
    requestsPerSecond: one(completed / (durationUs / 1e6), "1/s"),
    clientCpuUsPerRequest: cpuShare === null ? null : one((cpuShare * durationUs) / completed, "us"),
    // Under TLS h2load counts what is inside the records, which is not what passes the wire.
    bytesReceivedPerRequest: encrypted || printed === null ? null : one(printed.bytes.total / printed.requests.done, "bytes"),
    connectionsOpened: one(connections, "count"),
  };

  const expected = { h1: "http/1.1", h1s: "http/1.1", h2: "h2", h2c: "h2c" }[endpoint.protocol];
  const negotiated = printed?.negotiated ?? null;
  if (printed !== null && completed > 0 && negotiated !== expected)
    invalid.push(`protocol: ${expected} was asked for, ${negotiated ?? "an unnamed one"} was spoken`);
  const cipher = printed?.cipher ?? null;
  if (encrypted && endpoint.tls.cipher !== null && completed > 0 && cipher !== `TLSv1.3 ${endpoint.tls.cipher}`)
    invalid.push(`cipher: ${endpoint.tls.cipher} was asked for, ${cipher ?? "an unnamed one"} was used`);
  if (facts.interrupted) invalid.push("interrupted");
  if (completed === 0) invalid.push("no request was completed");
  if (log.length > planned) invalid.push(`h2load logged ${log.length} requests instead of ${planned}`);
  const perConnection = streams / connections;
  if (facts.limits !== null && facts.limits.maxConcurrentStreams < perConnection)
    invalid.push(
      `the server allows ${facts.limits.maxConcurrentStreams} streams on a connection, ${perConnection} were wanted: the others waited or were refused`,
    );
  if (cpuShare !== null && cpuShare > cpuShareLimit) invalid.push(`client-limited: h2load used ${Math.round(cpuShare * 100)}% of a core`);
  return {
    requests: { sent, completed, failed, errors },
    metrics,
    tokens: null,
    durationUs,
    startedUs: facts.startedUs,
    endedUs: facts.endedUs,
    negotiated: negotiated === null || completed === 0 ? [] : [negotiated],
    cipher,
    connectionsOpened: completed > 0 ? connections : null,
    connectionsLost: null,
    heldBack: null,
    windows: facts.limits?.windows ?? null,
    maxConcurrentStreams: facts.limits?.maxConcurrentStreams ?? null,
    clientCpuShare: cpuShare,
    invalid,
    details: [],
  };
}
