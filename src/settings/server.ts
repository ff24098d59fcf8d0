/** Every knob of the server: its flag, its meaning, its default, and the way from what was given to what is in force. */
import { statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { isLoopback } from "../base/host.ts";
import type { TimerMode } from "../base/clock.ts";
import { nameOfKey } from "../base/keys.ts";
import type { BatchSettings } from "../core/pacing/scheduler.ts";
import { countUnits, type Distribution, latencyUnits, SpecError } from "../core/random/distribution.ts";
import { empirical } from "../core/random/empirical.ts";
import { type Fault, parseFaults } from "../core/faults/fault.ts";
import { maxRateLimit, noRateLimits, type RateLimits } from "../core/limits/rate-limit.ts";
import type { Engine, Protocol } from "../core/seams.ts";
import { maxOutputTokens, maxTokensPerChunk, type ModelSettings, type ProfileName } from "../api/shared/model.ts";
import { type SchedulerOptions, schedulerFlags, queueFullStatus, resolveScheduler, withSchedulerName } from "./scheduler.ts";
import { UsageError } from "../base/usage-error.ts";
import { distribution, type FlagSpec, integer, oneOf, readText } from "./values.ts";
import type { ListenerLimits } from "../listeners/bounds.ts";
import { presetNamed } from "./presets.ts";
import type { Recording } from "./recording.ts";

export type { FlagKind } from "./values.ts";

/** Every flag of `fakeai serve`, typed. A spec is a number of milliseconds (tokens) or a text such as "lognormal(20,0.5)". */
export interface ServerOptions extends SchedulerOptions {
  /** Any of h1, h1s, h2c, h2, each with an optional port: "h1:8000,h2:8443" or ["h1", "h2c:0"]. */
  readonly protocol?: string | readonly string[];
  /** Adds h2 to the protocols. */
  readonly http2?: boolean;
  /** Port of h1; 0 picks a free one. */
  readonly port?: number;
  readonly host?: string;
  /** Forces the engine of h1 and h1s. */
  readonly h1Engine?: Engine;
  /** Path of a PEM certificate; with tlsKey. */
  readonly tlsCert?: string;
  /** Path of a PEM private key. */
  readonly tlsKey?: string;
  /** Time to first token, milliseconds or a spec. */
  readonly ttft?: string | number;
  /** Inter-token latency, milliseconds or a spec. */
  readonly itl?: string | number;
  /** A published operating point: its TTFT and ITL, or its batched scheduler. Other options win over it. */
  readonly preset?: string;
  /** Path of a result.json of `fakeai bench`, or of a CSV with columns ttft_ms and itl_ms, whose latencies are drawn. */
  readonly latencyFrom?: string;
  /** Tokens of an answer: a number or a spec. */
  readonly outputTokens?: string | number;
  /** Path of a file whose text every answer says. */
  readonly textFile?: string;
  /** "random": made-up text; "echo": the prompt. */
  readonly mode?: "random" | "echo";
  /** Whose wire format OpenAI's endpoints have. */
  readonly profile?: ProfileName;
  /** Tokens in one event of a stream. */
  readonly tokensPerChunk?: number;
  readonly seed?: number;
  /** Names served; by default all. */
  readonly model?: string | readonly string[];
  /** HTTP/2 streams per connection. */
  readonly maxConcurrentStreams?: number;
  /** Adds to each event when it was due and when it was sent. */
  readonly stamps?: boolean;
  /** How deadlines are kept: by timers (about a millisecond), or by a core that spins while streams run (microseconds). */
  readonly timer?: TimerMode;
  /** Milliseconds that responses get to finish when the server closes. */
  readonly grace?: number;
  /** Milliseconds after which a response is cut whose reader takes nothing. */
  readonly stallTimeout?: number;
  /** The largest request body, bytes or "10mb". */
  readonly maxBody?: string | number;
  /** Prompt and answer together, tokens; what asks for more is refused. */
  readonly maxModelLen?: number;
  /** Counts prompt tokens exactly in this encoding; needs the package gpt-tokenizer. */
  readonly tokenizer?: Encoding;
  /** Keys that are let in, or paths of files with one key per line. By default any key or none is welcome. */
  readonly apiKey?: string | readonly string[];
  /** Per key and minute: "rpm=60,tpm=10000" or one of them. */
  readonly rateLimit?: string;
  /** Faults on purpose: "rate_limit@10%", "reset(after=3)"; see core/fault.ts. */
  readonly fault?: string | readonly string[];
  /** Opens /admin/config. */
  readonly admin?: boolean;
  /** The Bearer token of /admin/config; needed where the host is not loopback. */
  readonly adminToken?: string;
  /** Processes that share the ports, a number or "auto". Of `fakeai serve` only: createServer starts one. */
  readonly workers?: string | number;
  /** Open connections, all protocols together. */
  readonly maxConnections?: number;
  /** Names and values of a request's head, bytes or "16kb". */
  readonly maxHead?: string | number;
  /** Arrays and objects within each other in a request's JSON. */
  readonly maxJsonDepth?: number;
  /** What one streamed response may have waiting before it waits for its reader, bytes or "64kb". */
  readonly maxStreamBuffer?: string | number;
  /** What all responses may have waiting; beyond, the readers that have stalled longest are cut. */
  readonly maxBuffer?: string | number;
  /** Milliseconds a request's head may take, from the connection or the request before it. Not with uWebSockets.js. */
  readonly headTimeout?: number;
  /** Milliseconds a request's body may take after its head. */
  readonly bodyTimeout?: number;
  /** Milliseconds after which a connection without a request is closed. Not with uWebSockets.js. */
  readonly idleTimeout?: number;
}

/** Encodings that `tokenizer` can count in. */
export type Encoding = "o200k_base" | "cl100k_base";

/** The flags in the order of the help. The environment and the configuration file take the same names. */
export const serverFlags: readonly FlagSpec<Exclude<keyof ServerOptions, "engine">>[] = [
  { key: "protocol", kind: "text", takes: "list", help: "any of h1,h1s,h2c,h2, each with an optional port: h1:8000,h2:8443 (default h1)" },
  { key: "http2", kind: "boolean", help: "adds h2 (HTTP/2 over TLS, and HTTP/1.1 for clients without it)" },
  { key: "port", kind: "integer", takes: "port", help: "port of h1 (default 8000); 0 picks a free one" },
  { key: "host", kind: "text", takes: "address", help: "address to listen on (default 127.0.0.1)" },
  { key: "h1Engine", kind: "text", takes: "engine", help: "engine of h1 and h1s: uws or node (default uws where it runs)" },
  { key: "tlsCert", kind: "text", takes: "file", help: "PEM certificate (default: a self-signed one for localhost)" },
  { key: "tlsKey", kind: "text", takes: "file", help: "PEM private key of the certificate" },
  { key: "ttft", kind: "text", takes: "spec", help: "time to first token (default 0): 20, 20ms, 500us, 20:10, lognormal(20,0.5), ..." },
  { key: "itl", kind: "text", takes: "spec", help: "inter-token latency (default 0), in the same forms" },
  { key: "preset", kind: "text", takes: "name", help: "a published operating point; list: shows them, with what was measured and where" },
  {
    key: "latencyFrom",
    kind: "text",
    takes: "file",
    help: "TTFT and ITL as a bench saw them: a result.json, or a CSV with ttft_ms and itl_ms",
  },
  ...schedulerFlags,
  { key: "outputTokens", kind: "text", takes: "spec", help: "tokens of an answer (default 128): a number or a distribution" },
  { key: "textFile", kind: "text", takes: "file", help: "the text that every answer says" },
  { key: "mode", kind: "text", takes: "mode", help: "random: made-up text; echo: the prompt (default random)" },
  { key: "profile", kind: "text", takes: "name", help: "whose bytes to send: openai, vllm, openrouter or minimal (default openai)" },
  { key: "tokensPerChunk", kind: "integer", takes: "n", help: "tokens in one event of a stream (default 1)" },
  { key: "seed", kind: "integer", takes: "n", help: "decides texts, lengths and latencies (default 1)" },
  { key: "model", kind: "list", takes: "name", help: "a model to serve, repeatable (default: every name is accepted)" },
  { key: "maxConcurrentStreams", kind: "integer", takes: "n", help: "HTTP/2 streams per connection (default 256)" },
  { key: "stamps", kind: "boolean", help: "adds to each event when it was due and when it was sent" },
  {
    key: "timer",
    kind: "text",
    takes: "mode",
    help: "standard keeps deadlines to a millisecond; precise owns a core while streams run, for microseconds",
  },
  { key: "grace", kind: "integer", takes: "ms", help: "time that responses get to finish on SIGTERM (default 10000)" },
  { key: "stallTimeout", kind: "integer", takes: "ms", help: "a response whose reader takes nothing for this long is cut (default 8000)" },
  { key: "maxBody", kind: "text", takes: "bytes", help: "largest request body (default 10mb)" },
  { key: "maxModelLen", kind: "integer", takes: "n", help: "tokens of prompt and answer together; more is refused (default: no limit)" },
  {
    key: "tokenizer",
    kind: "text",
    takes: "encoding",
    help: "counts prompt tokens exactly: o200k_base or cl100k_base, with gpt-tokenizer installed (default: four characters a token)",
  },
  {
    key: "apiKey",
    kind: "list",
    takes: "key|file",
    help: "a key to let in, repeatable, or a file with one key per line (default: any key or none)",
  },
  { key: "rateLimit", kind: "text", takes: "limits", help: "per key and minute: rpm=60,tpm=10000 or one of them (default: none)" },
  {
    key: "fault",
    kind: "list",
    takes: "spec",
    help: "a fault on purpose, repeatable: rate_limit@10%, status(503), hang(after=5), reset(after=3), ... (list below)",
  },
  { key: "admin", kind: "boolean", help: "opens GET and POST /admin/config: read and change knobs while running" },
  { key: "adminToken", kind: "text", takes: "token", help: "Bearer token of /admin/config, needed beyond loopback" },
  { key: "workers", kind: "text", takes: "n", help: "processes that share the ports (default 1); auto: one per processor" },
  { key: "maxConnections", kind: "integer", takes: "n", help: "open connections, all protocols together (default 50000)" },
  { key: "maxHead", kind: "text", takes: "bytes", help: "largest head of a request (default 16kb)" },
  { key: "maxJsonDepth", kind: "integer", takes: "n", help: "arrays and objects within each other in a body (default 128)" },
  {
    key: "maxStreamBuffer",
    kind: "text",
    takes: "bytes",
    help: "a stream with more than this waiting waits for its reader (default 64kb)",
  },
  { key: "maxBuffer", kind: "text", takes: "bytes", help: "waiting in all; beyond, the longest stalled are cut (default 256mb)" },
  { key: "headTimeout", kind: "integer", takes: "ms", help: "time for a request's head (default 10000); not with uws, which takes 11 s" },
  { key: "bodyTimeout", kind: "integer", takes: "ms", help: "time for a request's body after its head (default 10000)" },
  {
    key: "idleTimeout",
    kind: "integer",
    takes: "ms",
    help: "a connection without a request is closed (default 10000, HTTP/2 60000); not with uws, which takes 11 s",
  },
];

/** `maxConcurrentStreams` to `max-concurrent-streams`. */
export function flagName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** One listener to start. */
export interface Endpoint {
  readonly protocol: Protocol;
  readonly port: number;
}

/** What is in force. */
export interface ServerConfig {
  readonly endpoints: readonly Endpoint[];
  readonly host: string;
  readonly h1Engine: Engine | null;
  readonly tls: { readonly cert: string; readonly key: string } | null;
  readonly model: ModelSettings;
  /** null: streams are independent. */
  readonly scheduler: BatchSettings | null;
  /** What latencies are drawn from where no other is asked for; null: nothing. */
  readonly recording: Recording | null;
  readonly timer: TimerMode;
  readonly graceMs: number;
  readonly limits: ListenerLimits;
  /** Limits that were asked for and that uWebSockets.js decides by itself: flags and what to know. */
  readonly notOnUws: readonly string[];
  readonly tokenizer: Encoding | null;
  /** null: any key or none is welcome. */
  readonly apiKeys: readonly string[] | null;
  readonly rateLimits: RateLimits;
  readonly faults: readonly Fault[];
  /** null: /admin/config does not exist. A null token: open, on loopback only. */
  readonly admin: { readonly token: string | null } | null;
  /** Processes that share the ports; 1: this one serves. */
  readonly workers: number;
  /** What was given, from which all of this follows. */
  readonly options: ServerOptions;
}

export const protocols: readonly Protocol[] = ["h1", "h1s", "h2c", "h2"];

/** The ports of `fakeai serve`; a library takes free ones. */
export const standardPorts: Readonly<Record<Protocol, number>> = { h1: 8000, h1s: 8001, h2c: 8080, h2: 8443 };
export const freePorts: Readonly<Record<Protocol, number>> = { h1: 0, h1s: 0, h2c: 0, h2: 0 };

/** Settles every knob. `recording` is what `latencyFrom` names, see `readRecording`. Throws UsageError. */
export function resolveConfig(
  given: ServerOptions,
  ports: Readonly<Record<Protocol, number>>,
  recording: Recording | null = null,
): ServerConfig {
  const options = withPreset(withSchedulerName(given), recording !== null || given.latencyFrom !== undefined);
  if ((options.tlsCert === undefined) !== (options.tlsKey === undefined)) {
    throw new UsageError("--tls-cert and --tls-key go together: give both or neither");
  }
  const models = options.model === undefined ? null : [options.model].flat();
  if (models?.some((model) => model === "" || model.length > 256)) throw new UsageError("--model: a name has 1 to 256 characters");
  const { h1Engine, timer = "standard" } = options;
  if (timer !== "standard" && timer !== "precise") throw new UsageError(`--timer: "${String(timer)}" is neither standard nor precise`);
  if (h1Engine !== undefined && h1Engine !== "uws" && h1Engine !== "node") {
    throw new UsageError(`--h1-engine: "${String(h1Engine)}" is neither uws nor node`);
  }
  const { tokenizer, host = "127.0.0.1" } = options;
  if (tokenizer !== undefined && tokenizer !== "o200k_base" && tokenizer !== "cl100k_base") {
    throw new UsageError(`--tokenizer: "${String(tokenizer)}" is neither o200k_base nor cl100k_base`);
  }
  return {
    endpoints: parseEndpoints(options, ports),
    host,
    h1Engine: h1Engine ?? null,
    tls: options.tlsCert === undefined ? null : { cert: options.tlsCert, key: options.tlsKey! },
    model: {
      ttft: latency("ttft", options, recording),
      itl: latency("itl", options, recording),
      outputTokens: distribution(options.outputTokens ?? 128, countUnits("--output-tokens", maxOutputTokens)),
      seed: integer("--seed", options.seed ?? 1, -Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
      models,
      stamps: options.stamps ?? false,
      mode: oneOf("--mode", options.mode ?? "random", ["random", "echo"]),
      profile: oneOf("--profile", options.profile ?? "openai", ["openai", "vllm", "openrouter", "minimal"]),
      tokensPerChunk: integer("--tokens-per-chunk", options.tokensPerChunk ?? 1, 1, maxTokensPerChunk),
      text: options.textFile === undefined ? null : readText("--text-file", options.textFile),
      queueFullStatus: queueFullStatus(options, options.profile ?? "openai"),
      maxModelLen: options.maxModelLen === undefined ? null : integer("--max-model-len", options.maxModelLen, 1, 1_000_000_000),
    },
    scheduler: resolveScheduler(options),
    recording,
    timer,
    graceMs: integer("--grace", options.grace ?? 10_000, 0, 3_600_000),
    limits: limitsOf(options),
    tokenizer: tokenizer ?? null,
    apiKeys: options.apiKey === undefined ? null : [options.apiKey].flat().flatMap(readKeys),
    rateLimits: options.rateLimit === undefined ? noRateLimits : parseRateLimits(options.rateLimit),
    faults: faultsOf([options.fault ?? []].flat()),
    admin: adminOf(options, host),
    workers: parseWorkers(options.workers ?? 1),
    options: withSchedulerName(given),
    notOnUws: [
      ...(options.headTimeout === undefined ? [] : ["--head-timeout"]),
      ...(options.idleTimeout === undefined ? [] : ["--idle-timeout"]),
      ...((options.stallTimeout ?? 0) > uwsMaxTimeoutMs ? [`--stall-timeout beyond ${uwsMaxTimeoutMs}`] : []),
      ...((options.bodyTimeout ?? 0) > uwsMaxTimeoutMs ? [`--body-timeout beyond ${uwsMaxTimeoutMs}`] : []),
    ],
  };
}

function latency(key: "ttft" | "itl", options: ServerOptions, recording: Recording | null): Distribution {
  const asked = options[key];
  if (asked === undefined && recording !== null) return empirical(`as recorded in ${recording.source}`, recording[key]);
  return distribution(asked ?? 0, latencyUnits(`--${key}`));
}

/** What a preset says, where nothing else was given. */
function withPreset(given: ServerOptions, hasRecording: boolean): ServerOptions {
  if (hasRecording && given.scheduler === "batched")
    throw new UsageError("--latency-from: with --scheduler batched latencies follow from the batch");
  if (given.preset === undefined) return given;
  if (hasRecording) throw new UsageError("--preset and --latency-from both say how fast: give one of them");
  const { name, options } = presetNamed(given.preset);
  const scheduler = options.ttft === undefined ? "batched" : "independent";
  if (given.scheduler !== undefined && given.scheduler !== scheduler) {
    throw new UsageError(`--preset ${name} is of --scheduler ${scheduler}, not ${given.scheduler}`);
  }
  const asked = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...options, ...Object.fromEntries(asked) };
}

/** uWebSockets.js closes a connection without progress by itself near 11 s: a longer time cannot be kept. */
const uwsMaxTimeoutMs = 10_000;

function limitsOf(options: ServerOptions): ListenerLimits {
  const timeout = (name: string, value: number, min = 100): number => integer(name, value, min, 3_600_000);
  return {
    maxConnections: integer("--max-connections", options.maxConnections ?? 50_000, 1, 10_000_000),
    maxConcurrentStreams: integer("--max-concurrent-streams", options.maxConcurrentStreams ?? 256, 1, 1_000_000),
    maxHeadBytes: parseBytes("--max-head", options.maxHead ?? "16kb", 1024, 1_048_576),
    maxBodyBytes: parseBytes("--max-body", options.maxBody ?? "10mb"),
    maxJsonDepth: integer("--max-json-depth", options.maxJsonDepth ?? 128, 8, 2000),
    maxStreamBufferedBytes: parseBytes("--max-stream-buffer", options.maxStreamBuffer ?? "64kb", 16_384),
    maxBufferedBytes: parseBytes("--max-buffer", options.maxBuffer ?? "256mb", 65_536),
    headTimeoutMs: timeout("--head-timeout", options.headTimeout ?? 10_000),
    bodyTimeoutMs: timeout("--body-timeout", options.bodyTimeout ?? 10_000),
    stallTimeoutMs: timeout("--stall-timeout", options.stallTimeout ?? 8000),
    h1IdleTimeoutMs: timeout("--idle-timeout", options.idleTimeout ?? 10_000),
    h2IdleTimeoutMs: timeout("--idle-timeout", options.idleTimeout ?? 60_000),
  };
}

/** What follows from files and ports: settled once, when the first process starts. */
export type Settled = Pick<ServerConfig, "endpoints" | "apiKeys" | "recording"> & { readonly text: string | null };

export function settledOf({ endpoints, apiKeys, recording, model: { text } }: ServerConfig): Settled {
  return { endpoints, apiKeys, recording, text };
}

/** Settles every knob but those of `settled`: files are not read anew, since what they say now is no change anybody asked for. */
export function resolveAgain(options: ServerOptions, { endpoints, apiKeys, recording, text }: Settled): ServerConfig {
  const { textFile: _text, apiKey: _keys, latencyFrom: _recording, ...others } = options;
  const resolved = resolveConfig(others, freePorts, recording);
  return { ...resolved, endpoints, apiKeys, model: { ...resolved.model, text }, options };
}

function parseWorkers(value: string | number): number {
  const text = String(value).trim();
  if (text === "auto") return availableParallelism();
  if (!/^\d+$/.test(text)) throw new UsageError(`--workers: "${text.slice(0, 60)}" is neither a whole number nor auto`);
  return integer("--workers", Number(text), 1, 256);
}

/** A key, or the keys of a file. No message shows a key. */
function readKeys(given: string): string[] {
  const word = given.trim();
  if (word === "") throw new UsageError("--api-key: an empty key lets nobody in; leave the flag out to let everybody in");
  if (!isFile(word)) {
    if (/^(\.{0,2}|~)\//.test(word)) throw new UsageError("--api-key: what looks like a path is no file that can be read");
    if (!/^[\x21-\x7e]+$/.test(word))
      throw new UsageError("--api-key: a key holds visible ASCII characters only, or a header cannot carry it");
    return [word];
  }
  const keys = readText("--api-key", word)
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  if (keys.length === 0) throw new UsageError(`--api-key: ${word} holds no key; write one per line`);
  if (!keys.every((key) => /^[\x21-\x7e]+$/.test(key))) throw new UsageError(`--api-key: ${word} holds a key that no header can carry`);
  return keys;
}

function isFile(path: string): boolean {
  try {
    return statSync(path).isFile();
  } catch {
    // Nothing of that name, or, as with a long key, no name a file could have.
    return false;
  }
}

/** The command line takes lists apart at commas, those inside of parentheses too: together they read as one text. */
function faultsOf(specs: readonly string[]): readonly Fault[] {
  try {
    return parseFaults(specs.join(","), "--fault", nameOfKey);
  } catch (error) {
    if (error instanceof SpecError) throw new UsageError(error.message);
    throw error;
  }
}

function parseRateLimits(text: string): RateLimits {
  const limits: { rpm?: number; tpm?: number } = {};
  for (const word of text.split(",")) {
    const match = /^\s*(rpm|tpm)\s*=\s*(\d+)\s*$/i.exec(word);
    if (!match) throw new UsageError(`--rate-limit: cannot read "${word.slice(0, 60)}" (for example rpm=60,tpm=10000)`);
    const name = match[1]!.toLowerCase() as "rpm" | "tpm";
    if (limits[name] !== undefined) throw new UsageError(`--rate-limit: ${name} is given twice`);
    limits[name] = integer("--rate-limit", Number(match[2]), 1, maxRateLimit);
  }
  return { requests: limits.rpm ?? null, tokens: limits.tpm ?? null };
}

function adminOf({ admin, adminToken }: ServerOptions, host: string): ServerConfig["admin"] {
  if (adminToken !== undefined && !/^[\x21-\x7e]+$/.test(adminToken)) {
    throw new UsageError("--admin-token: a token holds visible ASCII characters only, or a header cannot carry it");
  }
  if (!admin) {
    if (adminToken !== undefined) throw new UsageError("--admin-token does nothing without --admin");
    return null;
  }
  if (adminToken === undefined && !isLoopback(host)) {
    throw new UsageError(`--admin on ${host} would let anybody reconfigure this server: give --admin-token, or listen on 127.0.0.1`);
  }
  return { token: adminToken ?? null };
}

function parseEndpoints(options: ServerOptions, ports: Readonly<Record<Protocol, number>>): Endpoint[] {
  const words = [options.protocol ?? "h1"].flat().flatMap((part) => part.split(","));
  const endpoints: Endpoint[] = [];
  const add = (protocol: Protocol, port: number): void => {
    if (endpoints.some((endpoint) => endpoint.protocol === protocol)) throw new UsageError(`--protocol: ${protocol} is named twice`);
    endpoints.push({ protocol, port });
  };
  for (const word of words.map((part) => part.trim())) {
    const [name, portText, ...rest] = word.split(":");
    const protocol = protocols.find((known) => known === name);
    if (!protocol || rest.length > 0)
      throw new UsageError(`--protocol: "${word}" is not one of ${protocols.join(", ")}, with a port if you like (h1:8000)`);
    if (portText !== undefined && !/^\d{1,5}$/.test(portText))
      throw new UsageError(`--protocol: "${portText}" is not a port from 0 to 65535`);
    const named = portText === undefined ? undefined : integer("--protocol", Number(portText), 0, 65_535);
    const ownPort = protocol === "h1" && options.port !== undefined ? integer("--port", options.port, 0, 65_535) : undefined;
    if (named !== undefined && ownPort !== undefined && named !== ownPort)
      throw new UsageError("--port and --protocol h1:<port> name two ports for h1");
    add(protocol, named ?? ownPort ?? ports[protocol]);
  }
  if (options.http2 && !endpoints.some((endpoint) => endpoint.protocol === "h2")) add("h2", ports.h2);
  if (options.port !== undefined && !endpoints.some((endpoint) => endpoint.protocol === "h1")) {
    throw new UsageError("--port is the port of h1, which --protocol leaves out: write the port there (h2:8443)");
  }
  const fixed = endpoints.map((endpoint) => endpoint.port).filter((port) => port !== 0);
  if (new Set(fixed).size < fixed.length) throw new UsageError("--protocol: two protocols share a port; each needs its own");
  return endpoints;
}

function parseBytes(name: string, value: string | number, min = 1, max = 1_073_741_824): number {
  const match = /^(\d+(?:\.\d+)?)\s*(kb|mb|gb|b)?$/i.exec(String(value).trim());
  if (!match) throw new UsageError(`${name}: "${String(value)}" is not a size (for example 10mb)`);
  const unit = { b: 1, kb: 1024, mb: 1_048_576, gb: 1_073_741_824 }[(match[2] ?? "b").toLowerCase()]!;
  return integer(name, Math.round(Number(match[1]) * unit), min, max);
}
