/** From a workload to the requests of a round: the same bytes and the same seeds in every arm. */
import { existsSync, readFileSync } from "node:fs";
import { UsageError } from "../../base/usage-error.ts";
import { constantArrivalsUs, poissonArrivalsUs } from "../../load/arrivals.ts";
import type { BackgroundLoad, PlannedRequest } from "../../load/job.ts";
import { readTrace, type TraceRequest } from "../../load/trace.ts";
import type { TraceSpec } from "./scenario-file.ts";
import { scenarioDirectory, type Workload } from "./scenario.ts";

/** How requests are worded for this server. */
export interface Wording {
  readonly model: string;
  /** Whether the server is ours: it takes vLLM's `ignore_eos`, so that lengths are exact. Others may refuse what they do not know. */
  readonly own: boolean;
  /** Default: everything. */
  readonly accepted?: Accepted;
  /** Sent as every body in place of ours. */
  readonly body: string | null;
  /** Every request carries the seed of its round: for a driver that sends one body only. */
  readonly oneBody: boolean;
}

/** Seeds of one run lie apart from those of the next: a million for each run, a hundred thousand for each round. */
export function seedOfCall(runSeed: number, round: number, index: number): number {
  return runSeed * 1_000_000_000 + round * 1_000_000 + index;
}

const filler = "load ";

/** A prompt worth `tokens` tokens, at four characters a token. */
function promptOf(tokens: number): string {
  const length = tokens * 4;
  return filler.repeat(Math.ceil(length / filler.length)).slice(0, length);
}

/** What a server takes of the parameters that we send. */
export interface Accepted {
  /** How it calls the bound on an answer's tokens. */
  readonly lengthParameter: string;
  /** Parameters that it refuses, of `optionalParameters`. */
  readonly refused: ReadonlySet<string>;
}

/** Parameters without which a request means the same to a server. */
export const optionalParameters: readonly string[] = ["seed", "stream_options"];

/** Names of the bound on an answer's tokens at an endpoint, the one that most servers take first. */
export function lengthParameters(path: string): readonly string[] {
  if (isAt(path, "/responses")) return ["max_output_tokens"];
  return isAt(path, "/chat/completions") ? ["max_tokens", "max_completion_tokens"] : ["max_tokens"];
}

/** A server of ours, or one that has not said otherwise. */
export const takesEverything: Accepted = { lengthParameter: "max_tokens", refused: new Set() };

/** Whether a path, which may have a query, is that of an endpoint. */
function isAt(path: string, endpoint: string): boolean {
  return path.replace(/\?.*$/s, "").endsWith(endpoint);
}

/** What one request asks for. */
export interface Asking {
  readonly path: string;
  readonly stream: boolean;
  readonly prompt: string;
  readonly outputTokens: number;
  readonly seed: number;
  readonly model: string;
  readonly accepted: Accepted;
  /** vLLM's `ignore_eos`; default false. */
  readonly ignoreEos?: boolean;
  readonly includeUsage?: boolean;
}

/** The JSON of a request, in the shape of its endpoint. */
export function bodyOf({ path, stream, prompt, outputTokens, seed, model, accepted, ignoreEos, includeUsage }: Asking): string {
  const takesMessages = isAt(path, "/chat/completions") || isAt(path, "/messages");
  const members: readonly (readonly [name: string, value: unknown])[] = [
    ["model", model],
    ...(stream ? ([["stream", stream]] as const) : []),
    ...(includeUsage ? ([["stream_options", { include_usage: true }]] as const) : []),
    [accepted.lengthParameter, outputTokens],
    ...(ignoreEos ? ([["ignore_eos", true]] as const) : []),
    ["seed", seed],
    takesMessages ? ["messages", [{ role: "user", content: prompt }]] : [isAt(path, "/responses") ? "input" : "prompt", prompt],
  ];
  return JSON.stringify(Object.fromEntries(members.filter(([name]) => !accepted.refused.has(name))));
}

/** The body of a planned request. */
function wordedBody(
  path: string,
  stream: boolean,
  inputTokens: number,
  outputTokens: number,
  seed: number,
  { model, own, accepted = takesEverything }: Wording,
  includeUsage = false,
): string {
  return bodyOf({ path, stream, prompt: promptOf(inputTokens), outputTokens, seed, model, accepted, ignoreEos: own, includeUsage });
}

/** The requests of round `round`; round -1 is the warm-up. `rate` is in requests per second. */
export function requestsOf(workload: Workload, wording: Wording, seed: number, round: number, rate: number | null): PlannedRequest[] {
  if (workload.page !== null) return pageRequests(workload, wording, seed, round);
  if (workload.trace !== null) return traceRequests(workload, wording, seed, round);
  const count = workload.requests;
  const arrivals =
    workload.mode === "closed" || rate === null
      ? null
      : workload.arrivals === "constant"
        ? constantArrivalsUs(rate, count)
        : poissonArrivalsUs(rate, count, seedOfCall(seed, round + 1, 0) % 2_147_483_647);
  return Array.from({ length: count }, (_, index) => ({
    ...plain(workload, wording, seed, round, index),
    ...(arrivals === null ? {} : { atUs: arrivals[index]! }),
    ...(isAborted(workload, index) ? { abortAfter: workload.abort!.afterTokens } : {}),
  }));
}

/** Whether a request is one of those that are given up: they are spread evenly, and the same in every arm. */
function isAborted({ abort }: Workload, index: number): boolean {
  return abort !== null && Math.floor((index + 1) * abort.share) > Math.floor(index * abort.share);
}

/** The streams that run beside the measured ones; `headers` are the arm's for them. */
export function backgroundOf(
  { background, path, inputTokens }: Workload,
  headers: Readonly<Record<string, string>> | undefined,
  wording: Wording,
  seed: number,
): BackgroundLoad | null {
  if (background === null) return null;
  const { streams, outputTokens, itl, unreadMs } = background;
  const requests = Array.from({ length: streams }, (_, index): PlannedRequest => ({
    body: wordedBody(path, true, inputTokens, outputTokens, seedOfCall(seed, 0, 800_000 + index), wording),
    tokens: null,
    headers: { "x-fakeai-ttft": "0", "x-fakeai-itl": String(itl), ...headers },
  }));
  return unreadMs === undefined ? { requests } : { requests, unreadMs: unreadMs === "never" ? Infinity : unreadMs };
}

/** Most tokens of an answer that warms a connection up, streamed or not: more would only take time. */
const warmupTokens = 4;
const wholeWarmupTokens = 1000;

/** Tokens of an answer that warms a connection up. */
export function warmupTokensOf({ stream, outputTokens }: Workload): number {
  return Math.min(outputTokens, stream ? warmupTokens : wholeWarmupTokens);
}

/** What warms the connections up before a round. */
export function warmupOf(given: Workload, wording: Wording, seed: number, round: number): PlannedRequest[] {
  const workload = { ...given, outputTokens: warmupTokensOf(given) };
  return Array.from({ length: workload.warmup }, (_, index) => plain(workload, wording, seed, round, 900_000 + index));
}

function plain(workload: Workload, wording: Wording, seed: number, round: number, index: number): PlannedRequest {
  const { method, path, stream, inputTokens, outputTokens, includeUsage } = workload;
  if (method === "GET") return { body: "", tokens: null };
  if (wording.body !== null) return { body: wording.body, tokens: null };
  const callSeed = seedOfCall(seed, round + 1, wording.oneBody ? 0 : index);
  return {
    body: wordedBody(path, stream, inputTokens, outputTokens, callSeed, wording, includeUsage),
    ...orderOf(outputTokens, wording),
  };
}

/** How many tokens are ordered: exactly, where the server takes that, or at most. */
function orderOf(tokens: number, { own }: Wording): Pick<PlannedRequest, "tokens" | "maxTokens"> {
  return own ? { tokens } : { tokens: null, maxTokens: tokens };
}

function pageRequests({ page, inputTokens }: Workload, wording: Wording, seed: number, round: number): PlannedRequest[] {
  let index = 0;
  return page!.flatMap(({ count, method, path, outputTokens = 16 }) =>
    Array.from({ length: count }, (): PlannedRequest => {
      const body =
        method === "GET" ? "" : wordedBody(path, false, inputTokens, outputTokens, seedOfCall(seed, round + 1, index++), wording);
      return { method, path, body, ...(method === "GET" ? { tokens: null } : orderOf(outputTokens, wording)) };
    }),
  );
}

/** Traces that were read, by path and unit: every round of every arm asks for its own. */
const traces = new Map<string, readonly TraceRequest[]>();

function readOnce({ file, unit }: TraceSpec): readonly TraceRequest[] {
  const shipped = `${scenarioDirectory}traces/${file}`;
  const path = !file.includes("/") && existsSync(shipped) ? shipped : file;
  const key = JSON.stringify([path, unit]);
  let rows = traces.get(key);
  if (rows === undefined) {
    try {
      rows = readTrace(path, { unit: unit ?? null });
    } catch (error) {
      throw new UsageError(`--trace: ${(error as Error).message}`);
    }
    traces.set(key, rows);
  }
  return rows;
}

/** The requests of a trace that a workload replays, `atMs` from 0 and already at the workload's speed. Throws UsageError. */
export function traceOf(trace: TraceSpec): TraceRequest[] {
  const { speed, seconds, limit, inputTokens, outputTokens } = trace;
  const rows = readOnce(trace).filter(({ atMs }) => seconds === null || atMs < seconds * 1000);
  return rows.slice(0, limit ?? Infinity).map((row) => ({
    atMs: row.atMs / speed,
    inputTokens: inputTokens ?? row.inputTokens,
    outputTokens: outputTokens ?? row.outputTokens,
  }));
}

function traceRequests(workload: Workload, wording: Wording, seed: number, round: number): PlannedRequest[] {
  return traceOf(workload.trace!).map(({ atMs, inputTokens, outputTokens }, index) => {
    const tokens = Math.max(1, outputTokens);
    const body = wordedBody(workload.path, workload.stream, Math.max(1, inputTokens), tokens, seedOfCall(seed, round + 1, index), wording);
    const order = wording.body === null ? orderOf(tokens, wording) : { tokens: null };
    return { body: wording.body ?? body, ...order, atUs: Math.round(atMs * 1000) };
  });
}

/** Reads the body of `--body`. Throws UsageError. */
export function readBody(path: string): string {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`--body: cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`);
  }
  try {
    JSON.parse(text);
  } catch {
    throw new UsageError(`--body: ${path} is not JSON`);
  }
  return text.trim();
}
