/** Every flag of the server in one table, and the way from what was given to what is in force. */
import { protocols, servedProtocols } from "../core/protocols.ts";
import { isLoopback } from "../base/host.ts";
import type { TimerMode } from "../base/clock.ts";
import { type BatchSettings, leastStepUs } from "../core/pacing/scheduler.ts";
import { countUnits, type Distribution } from "../core/random/distribution.ts";
import { empirical } from "../core/random/empirical.ts";
import type { Fault } from "../core/faults/fault.ts";
import { noRateLimits, type RateLimits } from "../core/limits/rate-limit.ts";
import type { H1Engine, H2Engine, Protocol } from "../core/seams.ts";
import type { AllowedOrigins } from "../api/shared/cors.ts";
import type { ModelSettings } from "../api/shared/model-settings.ts";
import { maxOutputTokens, maxTokensPerChunk } from "../core/limits/budget.ts";
import { UsageError } from "../base/usage-error.ts";
import type { ListenerLimits } from "../listeners/bounds.ts";
import { type Flag, flagName } from "./flags.ts";
import type { Encoding, SchedulerName, ServerKey, ServerOptions } from "./options.ts";
import { withPreset } from "./presets.ts";
import type { GivenReplies } from "./replies.ts";
import type { Recording } from "./recording.ts";
import * as serverValues from "./server-values.ts";
import * as values from "./values.ts";

/** A value as JSON shows it, in a form that a change accepts. null: the default, or none. */
export type KnobValue = string | number | boolean | readonly string[] | null;

export interface ServerFlag extends Flag<ServerKey> {
  /** What /admin/config shows of it. Only flags with this change while the server runs. */
  readonly live?: (config: ServerConfig) => KnobValue;
}

/** How a tape is replayed. */
export interface ReplaySettings {
  /** Its folder. */
  readonly tape: string;
  /** Times as fast as recorded; Infinity: without waiting. */
  readonly speed: number;
  readonly unmatched: "error" | "generate";
  /** Members of bodies that need not be as recorded. */
  readonly ignore: readonly string[];
}

/** What is in force. */
export interface ServerConfig {
  readonly endpoints: readonly serverValues.Endpoint[];
  readonly host: string;
  readonly h1Engine: H1Engine | null;
  readonly h2Engine: H2Engine;
  readonly webSocket: {
    /** Messages are compressed for clients that offer it. */
    readonly deflates: boolean;
    /** A connection is closed after this. */
    readonly lifetimeMs: number;
    /** Responses of a connection that are made at the same time. */
    readonly mostInFlight: number;
    /** Names of lanes that a connection may use in its life. */
    readonly mostLanes: number;
  };
  readonly tls: { readonly cert: string; readonly key: string } | null;
  /** HTTP/3: a client proves its address by a Retry before a connection is made. */
  readonly quicRetry: boolean;
  /** Answers over TCP and TLS name the port of HTTP/3. */
  readonly altSvc: boolean;
  readonly model: ModelSettings;
  /** Of continuous batching; null: streams are independent. */
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
  /** Whose pages may read answers; null: those of no other origin. */
  readonly cors: AllowedOrigins | null;
  readonly rateLimits: RateLimits;
  /** Bytes of responses that are kept for `previous_response_id`. */
  readonly maxStoredBytes: number;
  /** Requests that are kept; 0: none. */
  readonly keepRequests: number;
  /** Rules for answers, as given; null: none. */
  readonly replies: GivenReplies | null;
  /** What is answered from a tape; null: nothing. */
  readonly replay: ReplaySettings | null;
  readonly faults: readonly Fault[];
  /** null: /admin/config does not exist. A null token: open, on loopback only. */
  readonly admin: { readonly token: string | null } | null;
  /** Processes that share the ports; 1: this one serves. */
  readonly workers: number;
  /** It answers itself before it listens. */
  readonly warm: boolean;
  /** Labels of every sample of `/metrics`, by name. */
  readonly metricsLabels: Readonly<Record<string, string>>;
  /** The numbers of its requests: `first`, `first + stride`, ...; those of other replicas lie between or elsewhere. */
  readonly numbering: { readonly first: number; readonly stride: number };
  /** What was given, from which all of this follows. */
  readonly options: ServerOptions;
}

/** The ports of `fakeai serve`; a library takes free ones. */
export const standardPorts: Readonly<Record<Protocol, number>> = portsBy((protocol) => servedProtocols[protocol].standardPort);
export const freePorts: Readonly<Record<Protocol, number>> = portsBy(() => 0);

function portsBy(port: (protocol: Protocol) => number): Record<Protocol, number> {
  return Object.fromEntries(protocols.map((protocol) => [protocol, port(protocol)])) as Record<Protocol, number>;
}

/** The time-out of an idle connection where none is given, milliseconds. */
const idleTimeoutMs = { h1: 10_000, h2: 60_000 };

/** The status that a full queue is answered with where none is given: 429, which clients of OpenAI know to mean "later". */
const queueFullStatus = { vllm: 503, others: 429 } as const;

const schedulers: readonly SchedulerName[] = ["independent", "batched"];
const milliseconds: values.Parse<number, number> = values.integer(100, 3_600_000);

const listening = "Listening";
const timing = "Timing";
const batching = "Continuous batching (--scheduler batched)";
const answers = "Answers";
const access = "Access and faults";
const limits = "Limits";

type Row<Value> = Omit<ServerFlag, "key"> & {
  readonly default?: Value;
  /** What the value means. `name` begins the message of a UsageError. */
  readonly parse: values.Parse<Value, unknown>;
};

/**
 * One row for each option, in the order of the help. The environment, the configuration file, the aliases, /admin/config and
 * the tables in the docs follow from it.
 */
const table = {
  protocol: {
    kind: "text",
    takes: "list",
    default: "h1",
    help: "any of h1,h1s,h2c,h2,h3,ws,wss, with ports if you like: h1:8000,ws,h2",
    group: listening,
    common: true,
    parse: serverValues.listens,
  },
  http2: {
    kind: "boolean",
    default: false,
    help: "adds h2 (HTTP/2 over TLS, and HTTP/1.1 for clients without it)",
    group: listening,
    parse: values.boolean,
  },
  port: {
    kind: "integer",
    takes: "port",
    otherwise: String(standardPorts.h1),
    help: "port of h1; 0 picks a free one",
    group: listening,
    common: true,
    parse: values.integer(0, 65_535),
  },
  host: {
    kind: "text",
    takes: "address",
    default: "127.0.0.1",
    help: "address to listen on; :: is every one, of IPv4 too",
    group: listening,
    common: true,
    parse: serverValues.host,
  },
  h1Engine: {
    kind: "text",
    takes: "engine",
    otherwise: "uws where it runs",
    help: "engine of h1, h1s, ws and wss: uws or node",
    group: listening,
    parse: values.oneOf<H1Engine>(["uws", "node"]),
  },
  h2Engine: {
    kind: "text",
    takes: "engine",
    default: "node",
    help: "engine of h2c and h2: node, or own, which serves several times as many requests",
    group: listening,
    parse: values.oneOf<H2Engine>(["node", "own"]),
  },
  wsDeflate: {
    kind: "boolean",
    default: false,
    help: "WebSocket: compress messages for clients that offer permessage-deflate",
    group: listening,
    parse: values.boolean,
  },
  quicRetry: {
    kind: "boolean",
    default: false,
    help: "h3 on loopback: clients prove their address first, for a round trip more, as they do beyond it",
    group: listening,
    parse: values.boolean,
  },
  altSvc: {
    kind: "boolean",
    default: false,
    help: "answers of h1s and h2 name the port of h3 (Alt-Svc)",
    group: listening,
    parse: values.boolean,
  },
  tlsCert: {
    kind: "text",
    takes: "file",
    otherwise: "a self-signed one for localhost",
    help: "PEM certificate",
    group: listening,
    parse: values.text,
  },
  tlsKey: { kind: "text", takes: "file", help: "PEM private key of the certificate", group: listening, parse: values.text },
  workers: {
    kind: "text",
    takes: "n",
    default: 1,
    help: "processes on the same ports, or auto",
    group: listening,
    common: true,
    parse: serverValues.workers,
  },
  instance: {
    kind: "text",
    takes: "K/N",
    help: "replica K of N behind one address; *: by the host's name. Each numbers its requests, and so draws, by itself",
    group: listening,
    parse: serverValues.instance,
  },
  warm: {
    kind: "boolean",
    default: false,
    help: "answers itself until its code is compiled, and listens then: its first client finds it warm",
    group: listening,
    parse: values.boolean,
  },
  metricsLabel: {
    kind: "list",
    takes: "name=value",
    help: "a label of every sample of /metrics, repeatable: pod=$(POD_NAME)",
    group: listening,
    parse: serverValues.metricsLabels,
  },
  ttft: {
    kind: "text",
    takes: "spec",
    default: 0,
    help: "time to first token: 20, 500us, 20:10, lognormal(20,0.5), ...",
    group: timing,
    common: true,
    parse: values.latency,
    // A recording is no spec that a change could give.
    live: ({ model, options, recording }) => (recording !== null && options.ttft === undefined ? null : model.ttft.spec),
  },
  itl: {
    kind: "text",
    takes: "spec",
    default: 0,
    help: "inter-token latency, in the same forms",
    group: timing,
    common: true,
    parse: values.latency,
    live: ({ model, options, recording }) => (recording !== null && options.itl === undefined ? null : model.itl.spec),
  },
  preset: {
    kind: "text",
    takes: "name",
    help: "a published operating point; list shows them",
    group: timing,
    common: true,
    parse: values.text,
  },
  latencyFrom: {
    kind: "text",
    takes: "file",
    help: "TTFT and ITL as a bench saw them: a result.json, or a CSV with ttft_ms and itl_ms",
    group: timing,
    parse: values.text,
  },
  scheduler: {
    kind: "text",
    takes: "name",
    default: "independent",
    help: "batched: streams share the steps of continuous batching",
    group: timing,
    common: true,
    parse: values.oneOf(schedulers),
  },
  stamps: {
    kind: "boolean",
    default: false,
    help: "adds to each event when it was due and when it was sent",
    group: timing,
    parse: values.boolean,
    live: ({ model }) => model.stamps,
  },
  timer: {
    kind: "text",
    takes: "mode",
    default: "standard",
    help: "standard keeps deadlines to a millisecond; precise owns a core while streams run, for microseconds",
    group: timing,
    parse: values.oneOf<TimerMode>(["standard", "precise"]),
  },
  maxNumSeqs: {
    kind: "integer",
    takes: "n",
    default: 256,
    help: "sequences in one step",
    group: batching,
    parse: values.integer(1, 1_000_000),
  },
  maxNumBatchedTokens: {
    kind: "integer",
    takes: "n",
    default: 2048,
    help: "tokens in one step, prompts and decodes",
    group: batching,
    parse: values.integer(1, 1_000_000_000),
  },
  maxQueue: {
    kind: "integer",
    takes: "n",
    default: 1000,
    help: "sequences that may wait; others are refused",
    group: batching,
    parse: values.integer(0, 1_000_000),
  },
  queueFull: {
    kind: "integer",
    takes: "status",
    otherwise: `${queueFullStatus.others}, profile vllm ${queueFullStatus.vllm}`,
    help: "429 or 503 for a request that finds the queue full",
    group: batching,
    parse: values.oneOf([429, 503]),
  },
  stepTime: { kind: "text", takes: "spec", default: 10, help: "what a step takes at least", group: batching, parse: stepTime },
  stepTimePerSeq: {
    kind: "text",
    takes: "ms",
    default: 0.05,
    help: "more for each sequence that decodes",
    group: batching,
    parse: values.timeUs,
  },
  prefillTimePerToken: {
    kind: "text",
    takes: "ms",
    default: 0.05,
    help: "more for each prompt token not in the cache",
    group: batching,
    parse: values.timeUs,
  },
  requestOverhead: {
    kind: "text",
    takes: "ms",
    default: 0,
    help: "from arrival to the queue; steps go on meanwhile",
    group: batching,
    parse: values.timeUs,
  },
  requestOverheadPerToken: {
    kind: "text",
    takes: "ms",
    default: 0,
    help: "more of that for each prompt token",
    group: batching,
    parse: values.timeUs,
  },
  blockSize: {
    kind: "integer",
    takes: "n",
    default: 16,
    help: "tokens in a block of the KV cache",
    group: batching,
    parse: values.integer(1, 65_536),
  },
  numGpuBlocksOverride: {
    kind: "integer",
    takes: "n",
    default: 16_384,
    help: "blocks of the KV cache",
    group: batching,
    parse: values.integer(1, 10_000_000),
  },
  disablePrefixCaching: {
    kind: "boolean",
    default: false,
    help: "read prompts that begin alike anew each time",
    group: batching,
    parse: values.boolean,
  },
  outputTokens: {
    kind: "text",
    takes: "spec",
    default: 128,
    help: "tokens of an answer: a number or a distribution",
    group: answers,
    common: true,
    parse: (value, name) => values.distribution(value, countUnits(name, maxOutputTokens)),
    live: ({ model }) => model.outputTokens.spec,
  },
  // No change while the server runs: a client of /admin/config could read any file.
  textFile: { kind: "text", takes: "file", help: "the text that every answer says", group: answers, parse: values.readText },
  replies: {
    kind: "text",
    takes: "file",
    help: "answers by rule: a YAML or JSON file, read again when it changes",
    group: answers,
    parse: (given: GivenReplies): GivenReplies => given,
  },
  replay: {
    kind: "text",
    takes: "folder",
    help: "a tape of fakeai record: same bytes, same timing",
    group: answers,
    common: true,
    parse: values.text,
  },
  replaySpeed: {
    kind: "text",
    takes: "factor",
    default: 1,
    help: "times as fast as recorded; max: without waiting",
    group: answers,
    parse: serverValues.replaySpeed,
  },
  replayUnmatched: {
    kind: "text",
    takes: "what",
    default: "error",
    help: "error or generate: what a request gets that the tape does not hold",
    group: answers,
    parse: values.oneOf(["error", "generate"]),
  },
  replayIgnore: {
    kind: "list",
    takes: "member",
    help: "a member of request bodies that need not be as recorded, repeatable",
    group: answers,
    parse: serverValues.memberNames,
  },
  mode: {
    kind: "text",
    takes: "mode",
    default: "random",
    help: "random: made-up text; echo: the prompt",
    group: answers,
    parse: values.oneOf(["random", "echo"]),
    live: ({ model }) => model.mode,
  },
  profile: {
    kind: "text",
    takes: "name",
    default: "openai",
    help: "whose bytes to send: openai, vllm, openrouter or minimal",
    group: answers,
    common: true,
    parse: values.oneOf(["openai", "vllm", "openrouter", "minimal"]),
    live: ({ model }) => model.profile,
  },
  tokensPerChunk: {
    kind: "integer",
    takes: "n",
    default: 1,
    help: "tokens in one event of a stream",
    group: answers,
    parse: values.integer(1, maxTokensPerChunk),
    live: ({ model }) => model.tokensPerChunk,
  },
  earlyRole: {
    kind: "boolean",
    default: false,
    help: "chat: the chunk with the role alone leaves at once, not with the first token",
    group: answers,
    parse: values.boolean,
    live: ({ model }) => model.earlyRole,
  },
  seed: {
    kind: "integer",
    takes: "n",
    default: 1,
    help: "decides texts, lengths and latencies",
    group: answers,
    common: true,
    parse: values.integer(-Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER),
    live: ({ model }) => model.seed,
  },
  model: {
    kind: "list",
    takes: "name",
    otherwise: "every name is accepted",
    help: "a model to serve, repeatable",
    group: answers,
    common: true,
    parse: serverValues.modelNames,
    live: ({ model }) => model.models,
  },
  maxModelLen: {
    kind: "integer",
    takes: "n",
    otherwise: "no limit",
    help: "tokens of prompt and answer together; more is refused",
    group: answers,
    parse: values.integer(1, 1_000_000_000),
    live: ({ model }) => model.maxModelLen,
  },
  imageTokens: {
    kind: "integer",
    takes: "n",
    otherwise: "by its size",
    help: "prompt tokens of an image",
    group: answers,
    parse: values.integer(0, 1_000_000),
  },
  pageTokens: {
    kind: "integer",
    takes: "n",
    otherwise: "by the provider",
    help: "prompt tokens of a page of a PDF",
    group: answers,
    parse: values.integer(0, 1_000_000),
  },
  tokenizer: {
    kind: "text",
    takes: "encoding",
    otherwise: "four characters a token",
    help: "counts prompt tokens as OpenAI does: o200k_base or cl100k_base, with gpt-tokenizer installed",
    group: answers,
    parse: values.oneOf<Encoding>(["o200k_base", "cl100k_base"]),
  },
  apiKey: {
    kind: "list",
    takes: "key|file",
    otherwise: "any key or none",
    help: "a key to let in, or a file of keys, repeatable",
    group: access,
    common: true,
    parse: serverValues.keys,
  },
  cors: {
    kind: "list",
    takes: "origin|*",
    otherwise: "none",
    help: "an origin whose pages may read answers, repeatable; * is every page",
    group: access,
    parse: serverValues.origins,
  },
  rateLimit: {
    kind: "text",
    takes: "limits",
    otherwise: "none",
    help: "per key and minute: rpm=60,tpm=10000 or one of them",
    group: access,
    parse: serverValues.rateLimits,
    live: ({ rateLimits: { requests, tokens } }) =>
      [requests === null ? [] : `rpm=${requests}`, tokens === null ? [] : `tpm=${tokens}`].flat().join(",") || null,
  },
  fault: {
    kind: "list",
    takes: "spec",
    help: "a fault on purpose, repeatable: rate_limit@10%, hang(after=5), ...",
    group: access,
    common: true,
    parse: serverValues.faults,
    // A key is shown as its digest, which a change accepts as well.
    live: ({ faults }) => (faults.length === 0 ? null : faults.map(({ spec }) => spec)),
  },
  admin: {
    kind: "boolean",
    default: false,
    help: "opens GET and POST /admin/config: read and change knobs while running",
    group: access,
    parse: values.boolean,
  },
  adminToken: {
    kind: "text",
    takes: "token",
    help: "Bearer token of /admin/config, needed beyond loopback",
    group: access,
    parse: serverValues.token,
  },
  keepRequests: {
    kind: "integer",
    takes: "n",
    default: 0,
    help: "the latest requests, prompts included, kept for /admin/requests",
    group: access,
    parse: values.integer(0, 100_000),
  },
  maxConnections: {
    kind: "integer",
    takes: "n",
    default: 50_000,
    help: "open connections, all protocols together; fewer where the limit of open files leaves less room",
    group: limits,
    parse: values.integer(1, 10_000_000),
  },
  maxConcurrentStreams: {
    kind: "integer",
    takes: "n",
    default: 256,
    help: "HTTP/2 streams per connection",
    group: limits,
    parse: values.integer(1, 1_000_000),
  },
  headerTable: {
    kind: "text",
    takes: "bytes",
    default: "4kb",
    help: "HTTP/2: HPACK's table for request headers, for each connection",
    group: limits,
    parse: values.bytes(0, 1_048_576),
  },
  maxHead: {
    kind: "text",
    takes: "bytes",
    default: "16kb",
    help: "largest head of a request",
    group: limits,
    parse: values.bytes(1024, 1_048_576),
  },
  maxBody: {
    kind: "text",
    takes: "bytes",
    default: "4mb",
    help: "largest request body; more makes other streams wait, some 5 ms a megabyte",
    group: limits,
    parse: values.bytes(),
  },
  maxJsonDepth: {
    kind: "integer",
    takes: "n",
    default: 128,
    help: "arrays and objects within each other in a body",
    group: limits,
    parse: values.integer(8, 2000),
  },
  maxStreamBuffer: {
    kind: "text",
    takes: "bytes",
    default: "64kb",
    help: "a stream with more than this waiting waits for its reader",
    group: limits,
    parse: values.bytes(16_384),
  },
  maxBuffer: {
    kind: "text",
    takes: "bytes",
    default: "256mb",
    help: "waiting in all; beyond, the longest stalled are cut",
    group: limits,
    parse: values.bytes(65_536),
  },
  headTimeout: {
    kind: "integer",
    takes: "ms",
    default: 10_000,
    help: "time for a request's head; not with uws, which takes 11 s",
    group: limits,
    parse: milliseconds,
  },
  bodyTimeout: {
    kind: "integer",
    takes: "ms",
    default: 10_000,
    help: "time for a request's body after its head",
    group: limits,
    parse: milliseconds,
  },
  idleTimeout: {
    kind: "integer",
    takes: "ms",
    otherwise: `${idleTimeoutMs.h1}, HTTP/2 ${idleTimeoutMs.h2}`,
    help: "a connection without a request is closed; not with uws, which takes 11 s",
    group: limits,
    parse: milliseconds,
  },
  stallTimeout: {
    kind: "integer",
    takes: "ms",
    default: 8000,
    help: "a response whose reader takes nothing for this long is cut",
    group: limits,
    parse: milliseconds,
  },
  wsLifetime: {
    kind: "integer",
    takes: "ms",
    default: 3_600_000,
    help: "a WebSocket is closed after this, as OpenAI closes it after an hour",
    group: limits,
    parse: values.integer(100, 86_400_000),
  },
  wsMaxInFlight: {
    kind: "integer",
    takes: "n",
    default: 16,
    help: "responses of a WebSocket at the same time; more wait, as with OpenAI",
    group: limits,
    parse: values.integer(1, 100_000),
  },
  wsMaxLanes: {
    kind: "integer",
    takes: "n",
    default: 32,
    help: "names of lanes (stream_id) of a WebSocket; others are refused, as with OpenAI",
    group: limits,
    parse: values.integer(0, 100_000),
  },
  maxStored: {
    kind: "text",
    takes: "bytes",
    default: "64mb",
    help: "responses kept for previous_response_id; beyond, those asked for longest ago go",
    group: limits,
    parse: values.bytes(0),
  },
  grace: {
    kind: "integer",
    takes: "ms",
    default: 10_000,
    help: "time that responses get to finish on SIGTERM",
    group: limits,
    parse: values.integer(0, 3_600_000),
    live: ({ graceMs }) => graceMs,
  },
} as const satisfies { readonly [Key in ServerKey]: Row<NonNullable<ServerOptions[Key]>> };

/** The flags in the order of the help. The environment and the configuration file take the same names. */
export const serverFlags: readonly ServerFlag[] = Object.entries(table).map(([key, row]) =>
  Object.assign({ key: key as ServerKey, isLive: "live" in row }, row),
);

/** The value of each option: what its row makes of it, or of its default; null where neither is there. */
type Values = {
  readonly [Key in ServerKey]:
    | ReturnType<(typeof table)[Key]["parse"]>
    | ((typeof table)[Key] extends { readonly default: unknown } ? never : null);
};

function valuesOf(options: ServerOptions): Values {
  const rows: Readonly<Record<string, { readonly default?: unknown; readonly parse: values.Parse<never, unknown> }>> = table;
  const entries = Object.entries(rows).map(([key, { default: standard, parse }]) => {
    const value = options[key as ServerKey] ?? standard;
    // Each row reads the values of its own option, which the walk over all of them cannot say in types.
    return [key, value === undefined ? null : parse(value as never, `--${flagName(key)}`)];
  });
  return Object.fromEntries(entries) as Values;
}

/** Settles every option. `recording` is what `latencyFrom` names, see `readRecording`. Throws UsageError. */
export function resolveConfig(
  given: ServerOptions,
  ports: Readonly<Record<Protocol, number>>,
  recording: Recording | null = null,
): ServerConfig {
  const named = withSchedulerName(given);
  const options = withPreset(named, recording !== null || given.latencyFrom !== undefined);
  const settled = valuesOf(options);
  if ((settled.tlsCert === null) !== (settled.tlsKey === null)) {
    throw new UsageError("--tls-cert and --tls-key go together: give both or neither");
  }
  const recorded = (key: "ttft" | "itl"): Distribution =>
    recording === null || options[key] !== undefined ? settled[key] : empirical(`as recorded in ${recording.source}`, recording[key]);
  return {
    endpoints: serverValues.endpointsOf(settled, ports),
    host: settled.host,
    // uWebSockets.js adds empty lines to event streams: what is on a tape goes as it is.
    h1Engine: settled.h1Engine ?? (settled.replay === null ? null : "node"),
    h2Engine: settled.h2Engine,
    webSocket: {
      deflates: settled.wsDeflate,
      lifetimeMs: settled.wsLifetime,
      mostInFlight: settled.wsMaxInFlight,
      mostLanes: settled.wsMaxLanes,
    },
    maxStoredBytes: settled.maxStored,
    tls: settled.tlsCert === null ? null : { cert: settled.tlsCert, key: settled.tlsKey! },
    ...quicOf(settled),
    model: {
      ttft: recorded("ttft"),
      itl: recorded("itl"),
      outputTokens: settled.outputTokens,
      seed: settled.seed,
      models: settled.model,
      stamps: settled.stamps,
      mode: settled.mode,
      profile: settled.profile,
      tokensPerChunk: settled.tokensPerChunk,
      earlyRole: settled.earlyRole,
      text: settled.textFile,
      queueFullStatus: settled.queueFull ?? (settled.profile === "vllm" ? queueFullStatus.vllm : queueFullStatus.others),
      maxModelLen: settled.maxModelLen,
      imageTokens: settled.imageTokens,
      pageTokens: settled.pageTokens,
    },
    scheduler: schedulerOf(options, settled),
    recording,
    timer: settled.timer,
    graceMs: settled.grace,
    limits: limitsOf(settled),
    tokenizer: settled.tokenizer,
    apiKeys: settled.apiKey,
    cors: settled.cors,
    rateLimits: settled.rateLimit ?? noRateLimits,
    keepRequests: keptOf(settled),
    replies: repliesOf(settled),
    replay: replayOf(options, settled),
    faults: settled.fault ?? [],
    admin: adminOf(settled),
    workers: settled.workers,
    warm: settled.warm,
    // The number of a replica is known, its place by the host's name tells nothing more than the host's name does.
    metricsLabels: { ...(settled.instance?.replica != null && { replica: settled.instance.replica }), ...settled.metricsLabel },
    numbering: settled.instance?.numbering ?? { first: 0, stride: 1 },
    options: named,
    notOnUws: notOnUws(options),
  };
}

/** What follows from files and ports: settled once, when the first process starts. */
export type Settled = Pick<ServerConfig, "endpoints" | "apiKeys" | "recording"> & { readonly text: string | null };

export function settledOf({ endpoints, apiKeys, recording, model: { text } }: ServerConfig): Settled {
  return { endpoints, apiKeys, recording, text };
}

/** Settles every option but those of `settled`: a file that has changed since the start is no change that was asked for. */
export function resolveAgain(options: ServerOptions, { endpoints, apiKeys, recording, text }: Settled): ServerConfig {
  const { textFile: _text, apiKey: _keys, latencyFrom: _recording, ...others } = options;
  const resolved = resolveConfig(others, freePorts, recording);
  return { ...resolved, endpoints, apiKeys, model: { ...resolved.model, text }, options };
}

/** The options with `engine` under its name `scheduler`. */
function withSchedulerName({ engine, ...options }: ServerOptions): ServerOptions {
  if (engine === undefined) return options;
  const scheduler = values.oneOf(schedulers)(engine, "--engine");
  if (options.scheduler !== undefined && options.scheduler !== scheduler)
    throw new UsageError("--engine and --scheduler are two names of one option: give --scheduler");
  return { ...options, scheduler };
}

function stepTime(spec: string | number, name: string): Distribution {
  const found = values.latency(spec, name);
  if (found.constant !== null && found.constant < leastStepUs) throw new UsageError(`${name}: a step takes at least ${leastStepUs}us`);
  return found;
}

/** What continuous batching needs; null: streams are independent. */
function schedulerOf(options: ServerOptions, settled: Values): BatchSettings | null {
  if (settled.scheduler === "independent") {
    const idle = serverFlags.find(({ key, group }) => group === batching && options[key] !== undefined);
    if (idle !== undefined) throw new UsageError(`--${flagName(idle.key)} is a knob of --scheduler batched: give that too`);
    return null;
  }
  const latency = (["ttft", "itl"] as const).find((key) => options[key] !== undefined);
  if (latency !== undefined) {
    const why = "with --scheduler batched latencies follow from the batch; set --step-time and --prefill-time-per-token";
    throw new UsageError(`--${latency}: ${why}`);
  }
  const { maxNumSeqs, maxNumBatchedTokens } = settled;
  if (maxNumBatchedTokens < maxNumSeqs) {
    throw new UsageError(`--max-num-batched-tokens: ${maxNumBatchedTokens} is less than --max-num-seqs ${maxNumSeqs}, one token of each`);
  }
  return {
    maxNumSeqs,
    maxNumBatchedTokens,
    maxQueue: settled.maxQueue,
    requestOverheadUs: settled.requestOverhead,
    requestOverheadPerTokenUs: settled.requestOverheadPerToken,
    stepTime: settled.stepTime,
    stepTimePerSeqUs: settled.stepTimePerSeq,
    prefillTimePerTokenUs: settled.prefillTimePerToken,
    blockSize: settled.blockSize,
    kvBlocks: settled.numGpuBlocksOverride,
    prefixCaching: !settled.disablePrefixCaching,
  };
}

function limitsOf(settled: Values): ListenerLimits {
  return {
    maxConnections: settled.maxConnections,
    maxConcurrentStreams: settled.maxConcurrentStreams,
    headerTableBytes: settled.headerTable,
    maxHeadBytes: settled.maxHead,
    maxBodyBytes: settled.maxBody,
    maxJsonDepth: settled.maxJsonDepth,
    maxStreamBufferedBytes: settled.maxStreamBuffer,
    maxBufferedBytes: settled.maxBuffer,
    headTimeoutMs: settled.headTimeout,
    bodyTimeoutMs: settled.bodyTimeout,
    stallTimeoutMs: settled.stallTimeout,
    h1IdleTimeoutMs: settled.idleTimeout ?? idleTimeoutMs.h1,
    h2IdleTimeoutMs: settled.idleTimeout ?? idleTimeoutMs.h2,
  };
}

/** uWebSockets.js closes a connection without progress by itself near 11 s: a longer time cannot be kept. */
const uwsMaxTimeoutMs = 10_000;

function notOnUws({ headTimeout, idleTimeout, stallTimeout, bodyTimeout }: ServerOptions): string[] {
  return [
    ...(headTimeout === undefined ? [] : ["--head-timeout"]),
    ...(idleTimeout === undefined ? [] : ["--idle-timeout"]),
    ...((stallTimeout ?? 0) > uwsMaxTimeoutMs ? [`--stall-timeout beyond ${uwsMaxTimeoutMs}`] : []),
    ...((bodyTimeout ?? 0) > uwsMaxTimeoutMs ? [`--body-timeout beyond ${uwsMaxTimeoutMs}`] : []),
  ];
}

/** What goes with HTTP/3 alone, and what does not go with it. */
function quicOf({ altSvc, quicRetry, protocol, workers }: Values): { readonly altSvc: boolean; readonly quicRetry: boolean } {
  const isAsked = protocol.some((listen) => servedProtocols[listen.protocol].isQuic);
  if (altSvc && !isAsked) throw new UsageError("--alt-svc names the port of h3, which is not served: give --protocol h2,h3");
  if (quicRetry && !isAsked) throw new UsageError("--quic-retry is of h3, which is not served: give --protocol h3");
  if (isAsked && workers > 1)
    throw new UsageError("--workers: one process serves h3, on a thread for each processor: leave out --workers or h3");
  return { altSvc, quicRetry };
}

function keptOf({ keepRequests, workers }: Values): number {
  if (keepRequests > 0 && workers > 1) throw new UsageError("--keep-requests keeps those of one process: leave out --workers");
  return keepRequests;
}

function repliesOf({ replies, workers }: Values): GivenReplies | null {
  if (replies !== null && workers > 1) throw new UsageError("--replies counts the requests of one process: leave out --workers");
  return replies;
}

/** Knobs that say something of answers and times which a tape holds. */
const notWithReplay = ["ttft", "itl", "latencyFrom", "preset", "replies", "textFile", "outputTokens", "tokensPerChunk"] as const;

function replayOf(options: ServerOptions, settled: Values): ReplaySettings | null {
  const { replay, replaySpeed, replayUnmatched, replayIgnore, scheduler } = settled;
  if (replay === null) {
    const idle = (["replaySpeed", "replayUnmatched", "replayIgnore"] as const).find((key) => options[key] !== undefined);
    if (idle !== undefined) throw new UsageError(`--${flagName(idle)} does nothing without --replay`);
    return null;
  }
  if (scheduler === "batched") throw new UsageError("--replay: a tape has its own times; leave out --scheduler batched");
  const other = replayUnmatched === "error" ? notWithReplay.find((key) => options[key] !== undefined) : undefined;
  if (other !== undefined) {
    const hint = "leave it out, or give --replay-unmatched generate, where it is for what the tape does not hold";
    throw new UsageError(`--${flagName(other)}: a tape decides what is answered and when; ${hint}`);
  }
  return { tape: replay, speed: replaySpeed, unmatched: replayUnmatched, ignore: replayIgnore ?? [] };
}

function adminOf({ admin, adminToken, host }: Values): ServerConfig["admin"] {
  if (!admin) {
    if (adminToken !== null) throw new UsageError("--admin-token does nothing without --admin");
    return null;
  }
  if (adminToken === null && !isLoopback(host)) {
    throw new UsageError(`--admin on ${host} would let anybody reconfigure this server: give --admin-token, or listen on 127.0.0.1`);
  }
  return { token: adminToken };
}
