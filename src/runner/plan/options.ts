/** What a bench is told, settled: each flag by its row in settings/bench.ts, and here what they rule out in each other. */
import { protocolsOf, protocolTraits, webSocketPath } from "../../results/protocols.ts";
import { loadQuic, quicLack } from "../../base/quic.ts";
import { hostInUrl, isEveryAddress } from "../../base/host.ts";
import { UsageError } from "../../base/usage-error.ts";
import type { DriverName } from "../../load/job.ts";
import type { NetworkInput } from "../../network/impairment.ts";
import type { ProtocolName } from "../../results/types.ts";
import { type BenchInput, benchFlags, type BenchSettings, defaultTimeoutS, type NamedGateway } from "../../settings/bench.ts";
import type { HostAndPort, ShareSpec } from "../../settings/shards.ts";
import { flagName } from "../../settings/flags.ts";
import { networkFlagName, networkFlags, networkInputOf } from "../../settings/network.ts";
import { settingsOf } from "../../settings/parse.ts";
import { type SweepAxis, sweepAxisFacts } from "../../results/sweep.ts";
import { checkNetwork } from "../processes/network.ts";
import { parseAddress, type ServerAddress } from "../processes/address.ts";
import { readBody } from "./requests.ts";
import type { TraceSpec } from "./scenario-file.ts";
import type { TapeSpec } from "./scenario.ts";
import { sweepAxesOf } from "./axes.ts";

/** Settings that are in force as they were given. */
const asGiven = [
  "suite",
  "via",
  "model",
  "endpoint",
  "insecure",
  "requests",
  "rounds",
  "keepDisturbed",
  "sweep",
  "slo",
  "maxErrors",
  "rampUp",
  "coolDown",
  "warmup",
  "seed",
  "tokenizer",
  "ttft",
  "itl",
  "turns",
  "thinkTime",
  "toolCalls",
  "toolTime",
  "history",
  "inputTokens",
  "sharedPrefix",
  "cacheBust",
  "dataset",
] as const;

/** In force; null leaves it to the scenario. */
export interface BenchOptions extends Pick<BenchSettings, (typeof asGiven)[number]> {
  /** Base URL of the server that is measured, the first of `urls`; null: our own. */
  readonly url: string | null;
  /** All its addresses: they have one path. */
  readonly urls: readonly string[];
  /** Of these several values may be given: they are null then, and an axis of `axes`. */
  readonly streams: number | null;
  readonly connections: number | null;
  readonly rate: number | null;
  readonly outputTokens: number | null;
  readonly tokensPerChunk: number | null;
  /** What is varied; empty: nothing. */
  readonly axes: readonly SweepAxis[];
  /** `endpoint` is a path from the origin on, and stands in place of the base of `--url`. */
  readonly isEndpointWhole: boolean;
  readonly scenarios: readonly string[];
  readonly protocols: readonly ProtocolName[] | null;
  /** Sent with every request; the key is in here and nowhere else. */
  readonly headers: Readonly<Record<string, string>>;
  /** Text of `--body`. */
  readonly body: string | null;
  /** Path of a PEM file. */
  readonly caFile: string | null;
  readonly driver: DriverName | null;
  /** Client libraries and commands to measure in place of scenarios. */
  readonly clients: { readonly names: readonly string[]; readonly commands: readonly string[] } | null;
  readonly durationS: number | null;
  readonly idleTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly trace: Pick<TraceSpec, "file" | "speed" | "limit" | "unit" | "blockTokens"> | null;
  /** The tape that is replayed in place of scenarios. */
  readonly tape: TapeSpec | null;
  /** Put between client and server, over what a scenario says. */
  readonly network: NetworkInput;
  readonly requirements: readonly string[];
  /** Addresses that connections are dealt to; empty: the one of `--url`. */
  readonly targetHosts: readonly string[];
  /** Which part of the load this process makes; null: all of it. */
  readonly shard: ShardOptions | null;
}

/** How a process finds the other shards of its load. */
export interface ShardOptions {
  readonly spec: ShareSpec;
  readonly rendezvous: HostAndPort;
  readonly token: string | null;
  /** How long all of them may take to come. */
  readonly joinMs: number;
  /** How long a barrier waits for the last. */
  readonly barrierMs: number;
}

/** Settles what was given. Throws UsageError in one line. */
export function resolveBench(input: BenchInput): BenchOptions {
  const settings = settingsOf(benchFlags, input);
  const { via, trace, traceUnit, traceBlockSize, speed, limit, driver } = settings;
  const urls = settings.url ?? [];
  const url = urls[0] ?? null;
  const address = addressOf(urls);
  checkGateways(via);
  checkTogether(input);
  const apart = (settings.rampUp ?? 0) + (settings.coolDown ?? 0);
  if (settings.duration !== null && apart >= settings.duration)
    throw new UsageError(`--duration: of ${settings.duration} s nothing is left beside --ramp-up and --cool-down`);
  const axes = sweepAxesOf(settings);
  checkSweep(input, axes);
  if (settings.protocol !== null && url !== null) checkSpeakable(settings.protocol, urls);
  const endpoint = settings.endpoint ?? address?.endpoint ?? null;
  if (endpoint !== null && !/\/responses(\?|$)/.test(endpoint) && settings.protocol?.some((name) => protocolTraits[name].isWebSocket))
    throw new UsageError(
      `--protocol ws: WebSocket carries ${webSocketPath} and nothing else; leave ${settings.endpoint === null ? "the endpoint of --url" : "--endpoint"} out`,
    );
  if (settings.protocol?.some((name) => protocolTraits[name].isQuic) && loadQuic() === null)
    throw new UsageError(`--protocol h3: ${quicLack()}`);
  return {
    ...picked(settings, asGiven),
    url,
    urls,
    streams: single(settings.streams),
    connections: single(settings.connections),
    rate: single(settings.rate),
    outputTokens: single(settings.outputTokens),
    tokensPerChunk: single(settings.tokensPerChunk),
    axes,
    endpoint,
    isEndpointWhole: input.endpoint?.startsWith("/") ?? false,
    scenarios: settings.scenario,
    protocols: settings.protocol,
    headers: parseHeaders(settings.header, url === null ? null : settings.apiKey),
    body: settings.body === null ? null : readBody(settings.body),
    caFile: settings.cacert,
    // Only our own generator waits for the others.
    driver: driver === "client" ? null : settings.shard === null && settings.targetHosts === null ? driver : "stream",
    clients: driver === "client" ? clientsOf(input, settings) : null,
    durationS: settings.duration,
    idleTimeoutMs: (settings.timeout ?? (url === null ? defaultTimeoutS.own : defaultTimeoutS.url)) * 1000,
    requestTimeoutMs: settings.requestTimeout * 1000,
    trace:
      trace === null
        ? null
        : {
            file: trace,
            speed,
            limit,
            ...(traceUnit === null ? {} : { unit: traceUnit }),
            ...(traceBlockSize === null ? {} : { blockTokens: traceBlockSize }),
          },
    tape: tapeOf(input, settings),
    network: networkOf(withoutAxes(settings, axes)),
    requirements: settings.require,
    targetHosts: targetHostsOf(input, settings),
    shard: shardOf(input, settings),
  };
}

/** What a tape decides, or what is about a server that is not started here. */
const notWithTape: readonly (keyof BenchInput)[] = [
  ...(["trace", "scenario", "suite", "url", "via", "shard", "sweep", "rate", "duration", "rampUp", "driver"] as const),
  ...(["model", "endpoint", "body", "inputTokens", "sharedPrefix", "cacheBust", "dataset"] as const),
  ...(["outputTokens", "tokensPerChunk", "ttft", "itl"] as const),
];

/** Throws UsageError. */
function tapeOf(input: BenchInput, { tape, speed, limit, requests, protocol }: BenchSettings): TapeSpec | null {
  if (tape === null) return null;
  if (protocol?.some((name) => protocolTraits[name].isWebSocket))
    throw new UsageError("--tape holds calls over HTTP, which no WebSocket carries: leave ws and wss out of --protocol");
  const other = notWithTape.find((key) => input[key] !== undefined);
  const hint = other === "rate" || other === "rampUp" ? " (--speed and --streams say how its calls are sent)" : "";
  if (other !== undefined) throw new UsageError(`--tape has its calls and their answers: --${flagName(other)} does not apply${hint}`);
  return { folder: tape, speed, limit: limit ?? requests };
}

/** Throws UsageError. */
function targetHostsOf(input: BenchInput, { targetHosts, driver }: BenchSettings): readonly string[] {
  if (targetHosts === null) return [];
  if (input.url === undefined || input.via !== undefined)
    throw new UsageError("--target-hosts are addresses of the service that --url names, and do not go with --via");
  if (driver !== null && driver !== "stream") throw new UsageError(`--target-hosts: ${driver} deals no connections: leave --driver out`);
  return targetHosts;
}

/** Flags that a part of a load cannot keep by itself, and why. */
const notWithShards: readonly (readonly [key: keyof BenchInput, why: string])[] = [
  ["via", "a comparison of gateways looks at single answers"],
  ["sweep", "it finds its next point from the last, which no shard has whole: give --rate several values"],
  ["coolDown", "no shard knows when the last request of all of them leaves"],
  ["baseline", "hold the merged result against it: fakeai compare"],
  ["rtt", "put the network where all shards pass, with fakeai proxy"],
  ["suite", "name what is run with --scenario"],
];

/** Throws UsageError. */
function shardOf(
  input: BenchInput,
  { shard, rendezvous, rendezvousToken, rendezvousTimeout, barrierTimeout, driver }: BenchSettings,
): ShardOptions | null {
  const refuse = (reason: string): never => {
    throw new UsageError(reason);
  };
  const orphan = (["rendezvous", "rendezvousToken", "rendezvousTimeout", "barrierTimeout"] as const).find(
    (key) => input[key] !== undefined,
  );
  // The token may be in the environment of every command.
  if (shard === null && orphan !== undefined && orphan !== "rendezvousToken") refuse(`--${flagName(orphan)} belongs to --shard`);
  if (shard === null) return null;
  if (rendezvous === null) return refuse("--shard: name the place where the shards meet with --rendezvous host:port");
  if (rendezvous.port === 0 || isEveryAddress(rendezvous.host))
    refuse(
      `--rendezvous: ${hostInUrl(rendezvous.host)}:${rendezvous.port} is no place that others find: name one of shard 1's addresses (10.0.0.1:7700)`,
    );
  if (input.url === undefined) refuse("--shard: name the server with --url: each shard would start one of its own");
  if (input.scenario === undefined && input.trace === undefined) refuse("--shard: name what is run with --scenario or --trace");
  if (driver !== null && driver !== "stream") refuse(`--shard: ${driver} cannot begin together with others: leave --driver out`);
  const other = notWithShards.find(([key]) => input[key] !== undefined);
  if (other !== undefined) refuse(`--shard does not go with --${flagName(other[0])}: ${other[1]}`);
  return {
    spec: shard,
    rendezvous,
    token: rendezvousToken === null || rendezvousToken === "" ? null : rendezvousToken,
    joinMs: rendezvousTimeout * 1000,
    barrierMs: barrierTimeout * 1000,
  };
}

function single(values: readonly number[] | null): number | null {
  return values?.length === 1 ? values[0]! : null;
}

/** The settings without those whose values are points of a sweep, each of which has been tried as a network. Throws UsageError. */
function withoutAxes(settings: BenchSettings, axes: readonly SweepAxis[]): BenchSettings {
  const varied = axes.filter(({ name }) => name === "rtt" || name === "stall");
  for (const { name, values } of varied) for (const { text } of values) networkOf({ ...settings, rtt: null, stall: null, [name]: text });
  return { ...settings, ...Object.fromEntries(varied.map(({ name }) => [name, null])) };
}

/** What a sweep does not go with. */
function checkSweep(input: BenchInput, axes: readonly SweepAxis[]): void {
  const names = axes.map(({ name }) => sweepAxisFacts[name].flag);
  const varied = input.sweep === undefined ? (names[0] ?? null) : "--sweep";
  if (varied === null) return;
  const refuse = (reason: string): never => {
    throw new UsageError(reason);
  };
  if (input.sweep !== undefined && names.length > 0) refuse(`--sweep load finds its own points: give ${names[0]} one value`);
  if (input.sweep !== undefined && input.rate !== undefined) refuse("--sweep load finds its own rates: leave --rate out");
  const other = (["via", "trace", "tape", "suite", "body"] as const).find(
    (key) => input[key] !== undefined && (key !== "body" || names.includes("--output-tokens")),
  );
  if (other !== undefined) refuse(`${varied}: a sweep does not go with --${other}`);
  if (input.driver === "client") refuse(`${varied}: several values do not go with --driver client`);
}

function picked<From, Key extends keyof From>(from: From, keys: readonly Key[]): Pick<From, Key> {
  return Object.fromEntries(keys.map((key) => [key, from[key]])) as Pick<From, Key>;
}

/** Flags that mean nothing without another, or that contradict each other. */
function checkTogether(input: BenchInput): void {
  const given = (...keys: (keyof BenchInput)[]): boolean => keys.some((key) => input[key] !== undefined);
  const refuse = (reason: string): never => {
    throw new UsageError(reason);
  };
  if (!given("trace") && given("traceUnit", "traceBlockSize")) refuse("--trace-unit and --trace-block-size belong to --trace");
  if (!given("trace", "tape") && given("speed", "limit")) refuse("--speed and --limit belong to --trace and --tape");
  if (given("limit") && given("requests")) refuse("--limit and --requests are one thing with a recording: give one of them");
  if (given("trace") && given("rate")) refuse("--trace has its own arrivals: use --speed, not --rate");
  if (given("trace") && given("scenario")) refuse("--trace and --scenario: give one of them");
  if (given("via") && !given("url"))
    refuse(
      "--via: name the server behind the gateway with --url, to compare with (fakeai serve --stamps, then --url http://127.0.0.1:8000)",
    );
  for (const key of ["cacert", "insecure"] as const) if (given(key) && !given("url")) refuse(`--${key} belongs to --url`);
  if (given("via") && input.protocol !== undefined && /\bwss?\b/.test(input.protocol))
    refuse("--via compares answers over HTTP: measure a gateway over WebSocket with --url");
  if (given("trace") && given("rampUp")) refuse("--trace has its own arrivals: --ramp-up does not apply (--cool-down does)");
  if (given("requests") && given("duration")) refuse("--requests and --duration: give one of them");
  const wording = (["outputTokens", "inputTokens", "sharedPrefix", "cacheBust", "dataset"] as const).find((key) => given(key));
  if (given("body") && wording !== undefined) refuse(`--body is the whole request: --${flagName(wording)} does not apply`);
  const ofSessions = (["turns", "thinkTime", "toolCalls", "toolTime"] as const).find((key) => given(key));
  const noSessions = (["trace", "tape", "dataset", "body", "via", "suite"] as const).find((key) => given(key));
  if (ofSessions !== undefined && noSessions !== undefined)
    refuse(`--${flagName(ofSessions)} makes sessions: --${noSessions} does not apply`);
  if (given("history") && given("body")) refuse("--body is the whole request: --history does not apply");
  if (given("dataset") && given("inputTokens")) refuse("--dataset has prompts of its own: --input-tokens does not apply");
  const replaced = (["dataset", "sharedPrefix"] as const).find((key) => given(key));
  if (given("trace") && replaced !== undefined) refuse(`--trace says what prompts begin with: --${flagName(replaced)} does not apply`);
  if (given("client", "clientCmd") && input.driver !== "client") refuse("--client and --client-cmd belong to --driver client");
}

function checkSpeakable(names: readonly ProtocolName[], urls: readonly string[]): void {
  const speakable = urls.flatMap(protocolsOf);
  const wrong = names.find((name) => !speakable.includes(name));
  if (wrong !== undefined)
    throw new UsageError(`--protocol: ${wrong} cannot be spoken to an ${new URL(urls[0]!).protocol} address; ${speakable.join(", ")} can`);
}

/** The address of a server; of several their common path, for requests are the same at each. Throws UsageError. */
function addressOf(urls: readonly string[]): ServerAddress | null {
  const [first, ...others] = urls.map((url) => parseAddress(url));
  const path = ({ base, query, endpoint }: ServerAddress): string => `${base}${query}${endpoint ?? ""}`;
  if (first !== undefined && others.some((other) => path(other) !== path(first)))
    throw new UsageError("--url: several addresses are those of one server, and have one path behind the port");
  return first ?? null;
}

function checkGateways(via: readonly NamedGateway[]): void {
  for (const { address } of via) parseAddress(address, "--via");
  const names = via.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new UsageError(`--via: two gateways are called ${twice}: name them (--via nginx=http://127.0.0.1:9000)`);
}

function networkOf(settings: BenchSettings): NetworkInput {
  const given = networkInputOf({ ...settings });
  const { delay } = settings;
  if (delay !== null && given.rtt !== undefined) throw new UsageError("--delay and --rtt are one thing: give one of them");
  const network = delay === null ? given : { ...given, rtt: delay };
  checkNetwork(network, (key, direction) => (key === "rtt" && delay !== null ? "--delay" : networkFlagName(key, direction)));
  return network;
}

/** What does not go with clients: they are measured against our own server's log, and open what they like. */
const notWithClients: readonly (keyof BenchInput)[] = [
  ...(["url", "via", "trace", "suite", "endpoint", "body", "inputTokens", "connections", "rate"] as const),
  ...(["sweep", "slo", "maxErrors", "tokensPerChunk", "rampUp", "coolDown"] as const),
  ...(["sharedPrefix", "cacheBust", "dataset", "turns", "thinkTime", "toolCalls", "toolTime", "history"] as const),
  ...(["requests", "duration", "warmup", "delay", "model", "header"] as const),
  ...networkFlags.map(({ key }) => key),
];

function clientsOf(input: BenchInput, { client, clientCmd }: BenchSettings): BenchOptions["clients"] {
  const other = notWithClients.find((key) => input[key] !== undefined);
  if (other !== undefined) throw new UsageError(`--${flagName(other)} does not go with --driver client`);
  if (clientCmd.some((command) => command.trim() === "")) throw new UsageError("--client-cmd: the command is empty");
  return { names: client.length > 0 || clientCmd.length > 0 ? client : ["all"], commands: clientCmd };
}

/** Field names (RFC 9110, section 5.1) that a request frames itself with. */
const framing = new Set(["host", "content-length", "transfer-encoding", "connection"]);

function parseHeaders(lines: readonly string[], apiKey: string | null): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)$/.exec(line);
    // The value may be a secret: it is not repeated.
    if (!match) throw new UsageError('--header: a header looks like "name: value", in ASCII');
    const name = match[1]!.toLowerCase();
    if (framing.has(name)) throw new UsageError(`--header: ${name} is set by the connection`);
    headers[name] = match[2]!.trim();
  }
  if (apiKey !== null && apiKey !== "") {
    if (!/^[\x21-\x7e]+$/.test(apiKey)) throw new UsageError("--api-key: a key is printable ASCII without blanks");
    headers["authorization"] ??= `Bearer ${apiKey}`;
  }
  return headers;
}
