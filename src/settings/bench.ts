/** The flags of `fakeai bench`. What they rule out in each other is in runner/plan/options.ts. */
import { type Encoding, encodingNames } from "../base/encodings.ts";
import { protocolNames } from "../results/types.ts";
import { UsageError } from "../base/usage-error.ts";
import { countUnits } from "../core/random/distribution.ts";
import { type ExportFormat, exportFormats } from "../results/exports.ts";
import { parseRequirement } from "../results/requirements.ts";
import { parseSlo } from "../results/slo.ts";
import type { ProtocolName } from "../results/types.ts";
import { type NetworkKey, networkFlags } from "./network.ts";
import { type FlagTable, positive, several, text, whole } from "./parse.ts";
import { hostAndPort, type HostAndPort, meetingFlags, type MeetingSettings, shareSpec, type ShareSpec } from "./shards.ts";
import { distribution, integer, latency, oneOf } from "./values.ts";

const suiteNames = ["quick", "full"] as const;
export type SuiteName = (typeof suiteNames)[number];

/** A gateway of `--via`. */
export interface NamedGateway {
  /** "via" where the flag gives none. */
  readonly name: string;
  readonly address: string;
}

/** A sweep that finds its own points: "load" or "load:8". */
export interface SweepKind {
  /** Rates between one request at a time and all that the server takes. */
  readonly rates: number;
}

/** Failed requests of a round at which it is given up: a number of them, or a share of all. */
export interface ErrorLimit {
  readonly count: number | null;
  readonly share: number | null;
}

/** What sends the load; `client` measures client libraries in place of scenarios. */
const driverNames = ["stream", "autocannon", "h2load", "client"] as const;

/** How a turn of a session says what was said before. */
const historyNames = ["full", "previous"] as const;
/** Questions and calls of a session at most. */
const mostTurns = 1000;

/** What a plain number among the times of a trace means. */
const traceUnits = ["s", "ms", "us"] as const;

/** Tokens of a prompt at most. */
const mostTokens = 1_000_000;

/** Rounds of a scenario that says no other number. */
export const defaultRounds = 5;

/** Seconds without a byte after which a request has failed: from our own server, and from one at `--url`. */
export const defaultTimeoutS = { own: 10, url: 30 } as const;

/** Where results go that no --out names; each in a directory of its own. */
export const runsDirectory: string = "results/runs";

/** Paths that `--endpoint` has short names for. */
const endpoints: Readonly<Record<string, string>> = { chat: "/v1/chat/completions", completions: "/v1/completions" };

/** What the flags say, each by itself. null: not given, and the scenario decides. */
export interface BenchSettings extends Readonly<Record<NetworkKey, string | null>>, MeetingSettings {
  readonly suite: SuiteName;
  /** Names of shipped scenarios, or paths of files. */
  readonly scenario: readonly string[];
  readonly protocol: readonly ProtocolName[] | null;
  /** Path of a CSV or JSON file. */
  readonly trace: string | null;
  /** Path of the folder of a tape. */
  readonly tape: string | null;
  /** What a plain number among its times means; null: by its format. */
  readonly traceUnit: (typeof traceUnits)[number] | null;
  /** Tokens of a block in its hash_ids; null: by its format. */
  readonly traceBlockSize: number | null;
  /** Times as fast. */
  readonly speed: number;
  /** Requests of the trace. */
  readonly limit: number | null;
  readonly list: boolean;
  /** Addresses of one server, each for the protocols that it speaks there. */
  readonly url: readonly string[] | null;
  /** Addresses of one service. */
  readonly targetHosts: readonly string[] | null;
  readonly via: readonly NamedGateway[];
  readonly model: string;
  /** A path: "/v1/chat/completions". */
  readonly endpoint: string | null;
  readonly apiKey: string | null;
  /** "name: value". */
  readonly header: readonly string[];
  /** Path of a PEM file. */
  readonly cacert: string | null;
  readonly insecure: boolean;
  /** Several values of these, and of `rtt` and `stall`, make a sweep. */
  readonly streams: readonly number[] | null;
  readonly connections: readonly number[] | null;
  readonly requests: number | null;
  /** Seconds. */
  readonly duration: number | null;
  /** Requests per second. */
  readonly rate: readonly number[] | null;
  readonly sweep: SweepKind | null;
  /** "ttft.p95<200ms,itl.p99<50ms". */
  readonly slo: string | null;
  readonly maxErrors: ErrorLimit | null;
  /** Seconds. */
  readonly rampUp: number | null;
  /** Seconds. */
  readonly coolDown: number | null;
  readonly rounds: number | null;
  readonly warmup: number | null;
  /** Seconds. */
  readonly timeout: number | null;
  /** Seconds. */
  readonly requestTimeout: number;
  readonly keepDisturbed: boolean;
  /** Which part of the load this process makes; null: all of it. */
  readonly shard: ShareSpec | null;
  readonly rendezvous: HostAndPort | null;
  readonly seed: number;
  readonly tokenizer: Encoding | null;
  readonly driver: (typeof driverNames)[number] | null;
  readonly client: readonly string[];
  readonly clientCmd: readonly string[];
  /** A number, or a distribution such as "lognormal(512,0.5)". */
  readonly inputTokens: number | string | null;
  /** Questions of a session: a number, or a distribution. */
  readonly turns: number | string | null;
  /** Milliseconds, or a distribution of them. */
  readonly thinkTime: string | null;
  /** Calls of tools before each answer: a number, or a distribution. */
  readonly toolCalls: number | string | null;
  /** Milliseconds, or a distribution of them. */
  readonly toolTime: string | null;
  readonly history: (typeof historyNames)[number] | null;
  /** Tokens before every prompt that are the same in all. */
  readonly sharedPrefix: number | null;
  readonly cacheBust: boolean;
  /** Path of a file of prompts. */
  readonly dataset: string | null;
  readonly outputTokens: readonly number[] | null;
  /** Of our own server. */
  readonly tokensPerChunk: readonly number[] | null;
  /** Path of a JSON file. */
  readonly body: string | null;
  /** Milliseconds, or a spec such as "lognormal(200,0.5)". */
  readonly ttft: string | null;
  readonly itl: string | null;
  readonly delay: string | null;
  /** Path of a folder. */
  readonly out: string | null;
  readonly json: boolean;
  /** Every figure before the answers. */
  readonly full: boolean;
  readonly details: boolean;
  /** Files for other programs. */
  readonly export: readonly ExportFormat[] | null;
  /** Path of a result. */
  readonly baseline: string | null;
  readonly require: readonly string[];
  readonly allowMissing: boolean;
}

const measured = "What to measure";
const server = "Another server";
const load = "Load, in place of the scenario's";
const machines = "Many machines";
const clients = "Client libraries";
const answers = "Requests and answers, in place of the scenario's";
const result = "Result";

function requirement(given: string): string {
  try {
    parseRequirement(given);
  } catch (error) {
    throw new UsageError(`--require: ${(error as Error).message}`);
  }
  return given;
}

function objective(given: string): string {
  try {
    parseSlo(given);
  } catch (error) {
    throw new UsageError(`--slo: ${(error as Error).message}`);
  }
  return given;
}

/** "nginx=http://127.0.0.1:9000", or an address alone. */
export function gateway(given: string): NamedGateway {
  const [, name, address] = /^([a-z][a-z0-9-]{0,30})=(.*)$/is.exec(given) ?? [];
  if (name === "direct") throw new UsageError("--via: direct is what gateways are compared with: choose another name");
  return name === undefined || address === undefined ? { name: "via", address: given } : { name: name.toLowerCase(), address };
}

/** "10.0.0.1", "10.0.0.1:8000", "[::1]:8000": the port of --url where none is given. */
function targetHost(given: string, flag: string): string {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::(\d{1,5}))?$/i.exec(given);
  if (match === null || Number(match[2] ?? 1) > 65_535 || match[2] === "0")
    throw new UsageError(`${flag}: "${given.slice(0, 60)}" is no address of a server (10.0.0.1, 10.0.0.1:8000 or [fd00::1])`);
  return given;
}

/** Rates of a sweep that says no other number, as many as make it seven points with its two ends. */
const defaultRates = 5;

function sweepKind(given: string): SweepKind {
  const match = /^load(?::(\d+))?$/.exec(given);
  const rates = Number(match?.[1] ?? defaultRates);
  if (match === null || rates < 2 || rates > 50)
    throw new UsageError(
      `--sweep: "${given.slice(0, 60)}" is neither load nor load:n, with n rates from 2 to 50 (lists of values sweep by themselves: --streams 1,10,100)`,
    );
  return { rates };
}

function errorLimit(given: string): ErrorLimit {
  const match = /^(\d+(?:\.\d+)?)(%?)$/.exec(given);
  const number = Number(match?.[1]);
  if (match === null || (match[2] === "" && !Number.isInteger(number)) || (match[2] === "%" && number > 100))
    throw new UsageError(`--max-errors: "${given.slice(0, 60)}" is neither a number of requests nor a share of them (10, 5%)`);
  return match[2] === "%" ? { count: null, share: number / 100 } : { count: number, share: null };
}

/** A latency as `fakeai serve` takes it; read here so that no server starts to find it wrong. */
function latencySpec(given: string, flag: string): string {
  latency(given, flag);
  return given;
}

/** A whole number in a range, or a distribution of numbers. */
function counts(least: number, most: number): (given: string, flag: string) => number | string {
  return (given, flag) => {
    const { constant } = distribution(given, countUnits(flag, most));
    return constant === null ? given : integer(least, most)(constant, flag);
  };
}

/** A number of tokens, or a distribution of numbers. */
const lengths = counts(1, mostTokens);

function endpoint(given: string): string {
  const path = Object.hasOwn(endpoints, given) ? endpoints[given]! : given;
  if (!/^\/[\x21-\x7e]*$/.test(path))
    throw new UsageError(`--endpoint: "${given.slice(0, 60)}" is neither chat, completions nor a path that begins with /`);
  return path;
}

/**
 * As given: texts, lists of texts, or true; undefined where a flag was not given. A bench that is run by a program is told in
 * the same texts as one on a command line.
 */
export type BenchInput = {
  readonly [Key in keyof BenchSettings]?: boolean extends BenchSettings[Key]
    ? true
    : null extends BenchSettings[Key]
      ? string
      : BenchSettings[Key] extends readonly unknown[]
        ? readonly string[]
        : string;
};

/** In the order of the help. */
export const benchFlags: FlagTable<BenchSettings> = [
  {
    key: "suite",
    kind: "text",
    takes: "name",
    default: "quick",
    parse: oneOf(suiteNames),
    help: "quick or full; with --scenario, full is all of it",
    group: measured,
    common: true,
  },
  {
    key: "scenario",
    kind: "list",
    takes: "name|file",
    parse: text,
    help: "in place of a suite, repeatable: what the quick one has of it, or all",
    group: measured,
    common: true,
  },
  {
    key: "protocol",
    kind: "text",
    takes: "list",
    parse: several(oneOf(protocolNames)),
    help: "only these of h1,h1s,h2c,h2,h3,ws,wss; made where a scenario lacks them",
    group: measured,
    common: true,
  },
  {
    key: "trace",
    kind: "text",
    takes: "file",
    parse: text,
    help: "replay recorded traffic: Azure LLM, BurstGPT, Mooncake, qwen-bailian, AIPerf",
    group: measured,
  },
  {
    key: "tape",
    kind: "text",
    takes: "folder",
    parse: text,
    help: "the calls of a tape of fakeai record, answered from it over each protocol",
    group: measured,
  },
  {
    key: "traceUnit",
    kind: "text",
    takes: "unit",
    otherwise: "by the format",
    parse: oneOf(traceUnits),
    help: "what a number among its times means: s, ms or us",
    group: measured,
  },
  {
    key: "traceBlockSize",
    kind: "integer",
    takes: "n",
    otherwise: "by the format",
    parse: whole(1, 1_000_000),
    help: "tokens of a block in its hash_ids",
    group: measured,
  },
  {
    key: "speed",
    kind: "number",
    takes: "x",
    default: 1,
    parse: positive(100_000, "x"),
    help: "replay this many times as fast",
    group: measured,
  },
  {
    key: "limit",
    kind: "integer",
    takes: "n",
    otherwise: "all",
    parse: whole(1, 100_000_000),
    help: "replay the first n requests, as --requests",
    group: measured,
  },
  { key: "list", kind: "boolean", help: "list the scenarios and end", group: measured, common: true },

  {
    key: "url",
    kind: "text",
    takes: "address,...",
    parse: (given) => [...new Set(given.split(/,(?=https?:)/i))],
    help: "base URL, as OpenAI's libraries take it; https: h1s, h2; http: h1, h2c",
    group: server,
    common: true,
  },
  {
    key: "targetHosts",
    kind: "text",
    takes: "host,...",
    parse: several(targetHost),
    help: "addresses of the one service behind --url: connections are dealt to them evenly",
    group: server,
  },
  {
    key: "via",
    kind: "list",
    takes: "[name=]address",
    parse: gateway,
    help: "repeatable: the same calls direct (--url) and through this gateway",
    group: server,
  },
  { key: "model", kind: "text", takes: "name", default: "fakeai", parse: text, help: "model to ask for", group: server, common: true },
  {
    key: "apiKey",
    kind: "text",
    takes: "key",
    environment: "OPENAI_API_KEY",
    parse: text,
    help: "sent to --url as a bearer token, never written",
    group: server,
    common: true,
  },
  {
    key: "endpoint",
    kind: "text",
    takes: "path",
    parse: endpoint,
    help: "chat, completions, or a path from the origin on",
    group: server,
  },
  { key: "header", kind: "list", takes: "line", parse: text, help: 'a header of each request, repeatable: "name: value"', group: server },
  { key: "cacert", kind: "text", takes: "file", parse: text, help: "PEM file of what to trust, with --url", group: server },
  { key: "insecure", kind: "boolean", help: "trust any certificate, with --url", group: server },

  {
    key: "streams",
    kind: "text",
    takes: "n,...",
    parse: several(whole(1, 100_000)),
    help: "requests in flight at once; several sweep",
    group: load,
    common: true,
  },
  {
    key: "requests",
    kind: "integer",
    takes: "n",
    parse: whole(1, 10_000_000),
    help: "requests of a round",
    group: load,
    common: true,
  },
  {
    key: "duration",
    kind: "number",
    takes: "s",
    parse: positive(86_400, "s"),
    help: "length of a round, in place of --requests",
    group: load,
  },
  {
    key: "rate",
    kind: "text",
    takes: "n,...",
    parse: several(positive(1_000_000)),
    help: "open loop: requests/s, Poisson; several sweep",
    group: load,
    common: true,
  },
  {
    key: "sweep",
    kind: "text",
    takes: "load",
    parse: sweepKind,
    help: "one at a time, all it takes, and rates between (load:5) until it saturates",
    group: load,
  },
  {
    key: "slo",
    kind: "text",
    takes: "list",
    parse: objective,
    help: "goodput and the largest load that keep ttft.p95<200ms,itl.p99<50ms",
    group: load,
  },
  {
    key: "maxErrors",
    kind: "text",
    takes: "n|%",
    parse: errorLimit,
    help: "give a round, and the rest of a sweep, up once more requests have failed",
    group: load,
  },
  {
    key: "rounds",
    kind: "integer",
    takes: "n",
    otherwise: `mostly ${defaultRounds}`,
    parse: whole(1, 1000),
    help: "rounds; intervals need two",
    group: load,
    common: true,
  },
  {
    key: "connections",
    kind: "text",
    takes: "n,...",
    parse: several(whole(1, 100_000)),
    help: "connections of every arm; several sweep",
    group: load,
  },
  {
    key: "rampUp",
    kind: "number",
    takes: "s",
    parse: positive(3600, "s"),
    help: "the load rises over this long; requests that leave in it are in no figure",
    group: load,
  },
  {
    key: "coolDown",
    kind: "number",
    takes: "s",
    parse: positive(3600, "s"),
    help: "requests that leave in the last so many seconds are in no figure",
    group: load,
  },
  {
    key: "warmup",
    kind: "integer",
    takes: "n",
    parse: whole(0, 1_000_000),
    help: "requests before each round that are thrown away",
    group: load,
  },
  {
    key: "timeout",
    kind: "number",
    takes: "s",
    otherwise: `${defaultTimeoutS.own}, with --url ${defaultTimeoutS.url}`,
    parse: positive(3600, "s"),
    help: "a request without a byte for this long has failed",
    group: load,
  },
  {
    key: "requestTimeout",
    kind: "number",
    takes: "s",
    default: 300,
    parse: positive(86_400, "s"),
    help: "a request that has not ended after this long has failed, however many bytes came",
    group: load,
  },
  {
    key: "keepDisturbed",
    kind: "boolean",
    help: "count rounds that other processes disturbed too, and only mark them",
    group: load,
  },
  {
    key: "seed",
    kind: "integer",
    takes: "n",
    default: 1,
    parse: whole(0, 1_000_000),
    help: "decides prompts, answers, arrivals and the order of arms",
    group: load,
  },
  {
    key: "driver",
    kind: "text",
    takes: "name",
    parse: oneOf(driverNames),
    help: "stream, h2load or autocannon; client: measure client libraries",
    group: load,
  },

  {
    key: "shard",
    kind: "text",
    takes: "K/N",
    parse: shareSpec,
    help: "part K of N of the load; */N takes K from Kubernetes, Slurm or Open MPI",
    group: machines,
  },
  {
    key: "rendezvous",
    kind: "text",
    takes: "host:port",
    parse: hostAndPort,
    help: "where the shards meet: at shard 1, or fakeai rendezvous",
    group: machines,
  },
  ...meetingFlags(machines, false),

  {
    key: "outputTokens",
    kind: "text",
    takes: "n,...",
    parse: several(whole(1, 1_000_000)),
    help: "tokens of an answer; several sweep",
    group: answers,
    common: true,
  },
  {
    key: "tokensPerChunk",
    kind: "text",
    takes: "n,...",
    parse: several(whole(1, 1000)),
    help: "tokens of an event of our own server; several sweep",
    group: answers,
  },
  {
    key: "inputTokens",
    kind: "text",
    takes: "spec",
    parse: lengths,
    help: "tokens of a prompt: a number, or a distribution such as lognormal(512,0.5)",
    group: answers,
  },
  {
    key: "turns",
    kind: "text",
    takes: "spec",
    parse: counts(1, mostTurns),
    help: "sessions of so many questions: a number, or a distribution such as uniform(2,8)",
    group: answers,
  },
  {
    key: "thinkTime",
    kind: "text",
    takes: "spec",
    parse: latencySpec,
    help: "pause before each question after a session's first: 2s, exponential(2s)",
    group: answers,
  },
  {
    key: "toolCalls",
    kind: "text",
    takes: "spec",
    parse: counts(0, mostTurns),
    help: "sessions: calls of tools before each answer",
    group: answers,
  },
  {
    key: "toolTime",
    kind: "text",
    takes: "spec",
    parse: latencySpec,
    help: "sessions: how long a tool takes",
    group: answers,
  },
  {
    key: "history",
    kind: "text",
    takes: "how",
    otherwise: "by the arm",
    parse: oneOf(historyNames),
    help: "turns send all that was said (full), or name the response before them (previous)",
    group: answers,
  },
  {
    key: "sharedPrefix",
    kind: "integer",
    takes: "n",
    parse: whole(1, 1_000_000),
    help: "tokens before every prompt, the same in all",
    group: answers,
  },
  {
    key: "dataset",
    kind: "text",
    takes: "file",
    parse: text,
    help: "prompts out of a file: ShareGPT, OpenAI chats, vLLM, guidellm, AIPerf, text",
    group: answers,
  },
  {
    key: "cacheBust",
    kind: "boolean",
    help: "no prompt finds those of another arm, round or run in the server's cache",
    group: answers,
  },
  {
    key: "ttft",
    kind: "text",
    takes: "spec",
    parse: latencySpec,
    help: "time to first token of our server",
    group: answers,
    common: true,
  },
  {
    key: "itl",
    kind: "text",
    takes: "spec",
    parse: latencySpec,
    help: "inter-token latency of our server",
    group: answers,
    common: true,
  },
  {
    key: "tokenizer",
    kind: "text",
    takes: "name",
    parse: oneOf(encodingNames),
    help: "counts answers without usage: o200k_base or cl100k_base, with gpt-tokenizer installed",
    group: answers,
  },
  { key: "body", kind: "text", takes: "file", parse: text, help: "JSON file sent as every request", group: answers },

  {
    key: "client",
    kind: "list",
    takes: "name",
    otherwise: "all",
    parse: text,
    help: "with --driver client, repeatable: openai, undici, ... or all",
    group: clients,
  },
  {
    key: "clientCmd",
    kind: "list",
    takes: "command",
    parse: text,
    help: "with --driver client, repeatable: any command that opens streams",
    group: clients,
  },

  ...networkFlags.map((row) => ({ ...row, parse: text, common: row.key === "rtt" || row.key === "stall" })),
  { key: "delay", kind: "text", takes: "ms", parse: text, help: "the same as --rtt", group: networkFlags[0]!.group },

  {
    key: "out",
    kind: "text",
    takes: "dir",
    otherwise: `${runsDirectory}/<time>-<suite>`,
    parse: text,
    help: "where it goes",
    group: result,
    common: true,
  },
  { key: "json", kind: "boolean", help: "the result as JSON on stdout", group: result, common: true },
  { key: "full", kind: "boolean", help: "every figure of every arm before the answers", group: result },
  {
    key: "export",
    kind: "text",
    takes: "formats",
    parse: several(oneOf(exportFormats)),
    help: `files for other programs: ${exportFormats.join(", ")}`,
    group: result,
  },
  { key: "details", kind: "boolean", help: "every request with its token times, in requests.jsonl", group: result },
  {
    key: "baseline",
    kind: "text",
    takes: "file",
    parse: text,
    help: "an earlier result.json to compare with",
    group: result,
    common: true,
  },
  {
    key: "require",
    kind: "list",
    takes: "text",
    parse: requirement,
    help: 'repeatable: fail unless "stream/h2c/ttft.p99<150ms"',
    group: result,
    common: true,
  },
  { key: "allowMissing", kind: "boolean", help: "pass what --baseline or --require cannot check", group: result },
];
