/** Everything a bench is told, settled. */
import { UsageError } from "../../base/usage-error.ts";
import { latencyUnits, parseDistribution, SpecError } from "../../core/random/distribution.ts";
import type { DriverName } from "../../load/job.ts";
import { networkFlagName, networkInputOf } from "../../network/flags.ts";
import type { NetworkInput } from "../../network/impairment.ts";
import { parseRequirement } from "../../results/requirements.ts";
import type { ProtocolName } from "../../results/types.ts";
import { checkNetwork } from "../processes/network.ts";
import { readBody } from "./requests.ts";
import type { SuiteName } from "./scenario.ts";
import { parseUrl } from "../processes/target.ts";

/** As given, each one undefined where it was not. */
export interface BenchInput {
  readonly suite?: string;
  readonly scenario?: readonly string[];
  readonly protocol?: string;
  readonly url?: string;
  readonly apiKey?: string;
  readonly header?: readonly string[];
  readonly model?: string;
  readonly endpoint?: string;
  readonly inputTokens?: string;
  readonly body?: string;
  readonly cacert?: string;
  readonly insecure?: boolean;
  readonly driver?: string;
  readonly client?: readonly string[];
  readonly clientCmd?: readonly string[];
  readonly connections?: string;
  readonly streams?: string;
  readonly rate?: string;
  readonly requests?: string;
  readonly duration?: string;
  readonly ttft?: string;
  readonly itl?: string;
  readonly outputTokens?: string;
  readonly warmup?: string;
  readonly rounds?: string;
  readonly seed?: string;
  readonly timeout?: string;
  readonly trace?: string;
  readonly speed?: string;
  readonly limit?: string;
  readonly via?: string;
  readonly delay?: string;
  readonly rtt?: string;
  readonly require?: readonly string[];
}

/** In force; null leaves it to the scenario. */
export interface BenchOptions {
  readonly suite: SuiteName;
  readonly scenarios: readonly string[];
  readonly protocols: readonly ProtocolName[] | null;
  readonly url: string | null;
  readonly via: string | null;
  /** Sent with every request; the key is in here and nowhere else. */
  readonly headers: Readonly<Record<string, string>>;
  readonly model: string;
  readonly endpoint: string | null;
  readonly inputTokens: number | null;
  /** Text of `--body`. */
  readonly body: string | null;
  readonly caFile: string | null;
  readonly insecure: boolean;
  readonly driver: DriverName | null;
  /** Client libraries and commands to measure in place of scenarios. */
  readonly clients: { readonly names: readonly string[]; readonly commands: readonly string[] } | null;
  readonly connections: number | null;
  readonly streams: number | null;
  /** Requests per second. */
  readonly rate: number | null;
  readonly requests: number | null;
  readonly durationS: number | null;
  readonly ttft: string | null;
  readonly itl: string | null;
  readonly outputTokens: number | null;
  readonly warmup: number | null;
  readonly rounds: number | null;
  readonly seed: number;
  readonly idleTimeoutMs: number;
  readonly trace: { readonly file: string; readonly speed: number; readonly limit: number | null } | null;
  /** Put between client and server, over what a scenario says. */
  readonly network: NetworkInput;
  readonly requirements: readonly string[];
}

const drivers: readonly DriverName[] = ["stream", "autocannon", "h2load"];
const protocolNames: readonly ProtocolName[] = ["h1", "h1s", "h2c", "h2"];

/** Settles what was given. Throws UsageError in one line. */
export function resolveBench(input: BenchInput): BenchOptions {
  const suite = input.suite ?? "quick";
  if (suite !== "quick" && suite !== "full") throw new UsageError(`--suite: "${suite}" is neither quick nor full`);
  if (input.suite !== undefined && input.scenario !== undefined) throw new UsageError("--suite and --scenario: give one of them");
  const driver = input.driver === undefined || input.driver === "client" ? null : drivers.find((name) => name === input.driver);
  if (driver === undefined) throw new UsageError(`--driver: "${input.driver}" is not one of ${drivers.join(", ")}, client`);
  if (input.trace === undefined && (input.speed ?? input.limit) !== undefined)
    throw new UsageError("--speed and --limit belong to --trace");
  if (input.trace !== undefined && input.rate !== undefined) throw new UsageError("--trace has its own arrivals: use --speed, not --rate");
  if (input.trace !== undefined && input.scenario !== undefined) throw new UsageError("--trace and --scenario: give one of them");
  if (input.url !== undefined) parseUrl(input.url);
  if (input.via !== undefined) {
    parseUrl(input.via, "--via");
    if (input.url === undefined)
      throw new UsageError(
        "--via: name the server behind the gateway with --url, to compare with (fakeai serve --stamps, then --url http://127.0.0.1:8000)",
      );
  }
  for (const name of ["cacert", "insecure"] as const) {
    if (input[name] !== undefined && input.url === undefined) throw new UsageError(`--${name} belongs to --url`);
  }
  if (input.requests !== undefined && input.duration !== undefined) throw new UsageError("--requests and --duration: give one of them");
  if (input.body !== undefined && (input.outputTokens ?? input.inputTokens) !== undefined)
    throw new UsageError("--body is the whole request: --input-tokens and --output-tokens do not apply");
  for (const text of input.require ?? []) {
    try {
      parseRequirement(text);
    } catch (error) {
      throw new UsageError(`--require: ${(error as Error).message}`);
    }
  }
  return {
    suite,
    scenarios: input.scenario ?? [],
    protocols: input.protocol === undefined ? null : parseProtocols(input.protocol, input.url),
    url: input.url ?? null,
    via: input.via ?? null,
    headers: parseHeaders(input.header ?? [], input.url === undefined ? undefined : input.apiKey),
    model: input.model ?? "fakeai",
    endpoint: parseEndpoint(input.endpoint),
    inputTokens: whole("input-tokens", input.inputTokens, 1, 1_000_000),
    body: input.body === undefined ? null : readBody(input.body),
    caFile: input.cacert ?? null,
    insecure: input.insecure ?? false,
    driver,
    clients: clientsOf(input),
    connections: whole("connections", input.connections, 1, 100_000),
    streams: whole("streams", input.streams, 1, 100_000),
    rate: positive("rate", input.rate, 1_000_000),
    requests: whole("requests", input.requests, 1, 10_000_000),
    durationS: positive("duration", input.duration?.replace(/s$/, ""), 86_400),
    ttft: latency("--ttft", input.ttft),
    itl: latency("--itl", input.itl),
    outputTokens: whole("output-tokens", input.outputTokens, 1, 1_000_000),
    warmup: whole("warmup", input.warmup, 0, 1_000_000),
    rounds: whole("rounds", input.rounds, 1, 1000),
    seed: whole("seed", input.seed, 0, 1_000_000) ?? 1,
    idleTimeoutMs: (positive("timeout", input.timeout?.replace(/s$/, ""), 3600) ?? (input.url === undefined ? 10 : 30)) * 1000,
    trace:
      input.trace === undefined
        ? null
        : {
            file: input.trace,
            speed: positive("speed", input.speed?.replace(/x$/, ""), 100_000) ?? 1,
            limit: whole("limit", input.limit, 1, 100_000_000),
          },
    network: networkOf(input),
    requirements: input.require ?? [],
  };
}

function networkOf(input: BenchInput): NetworkInput {
  const given = networkInputOf({ ...input });
  if (input.delay !== undefined && given.rtt !== undefined) throw new UsageError("--delay and --rtt are one thing: give one of them");
  const network = input.delay === undefined ? given : { ...given, rtt: input.delay };
  checkNetwork(network, (key, direction) => (key === "rtt" && input.delay !== undefined ? "--delay" : networkFlagName(key, direction)));
  return network;
}

/** What does not go with clients: they are measured against our own server's log, and open what they like. */
const notWithClients: readonly (keyof BenchInput)[] = ["url", "via", "trace", "suite", "endpoint", "body", "inputTokens", "connections", "rate", "requests", "duration", "warmup", "delay", "model", "header"]; // oxfmt-ignore

function clientsOf(input: BenchInput): BenchOptions["clients"] {
  const { driver, client, clientCmd } = input;
  if (driver !== "client") {
    if ((client ?? clientCmd) !== undefined) throw new UsageError("--client and --client-cmd belong to --driver client");
    return null;
  }
  const other = notWithClients.find((name) => input[name] !== undefined) ?? Object.keys(networkInputOf({ ...input }))[0];
  if (other !== undefined)
    throw new UsageError(`--${other.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} does not go with --driver client`);
  if (clientCmd?.some((command) => command.trim() === "")) throw new UsageError("--client-cmd: the command is empty");
  return { names: client ?? (clientCmd === undefined ? ["all"] : []), commands: clientCmd ?? [] };
}

/** Checked here, so that a server need not be started to find it wrong. */
function latency(flag: string, spec: string | undefined): string | null {
  if (spec === undefined) return null;
  try {
    parseDistribution(spec, latencyUnits(flag));
  } catch (error) {
    if (error instanceof SpecError) throw new UsageError(error.message);
    throw error;
  }
  return spec;
}

function whole(flag: string, text: string | undefined, min: number, max: number): number | null {
  if (text === undefined) return null;
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < min || number > max)
    throw new UsageError(`--${flag}: "${text}" is not a whole number from ${min} to ${max}`);
  return number;
}

function positive(flag: string, text: string | undefined, max: number): number | null {
  if (text === undefined) return null;
  const number = Number(text);
  if (!/^\d*\.?\d+$/.test(text) || !(number > 0) || number > max)
    throw new UsageError(`--${flag}: "${text}" is not a number above 0, up to ${max}`);
  return number;
}

function parseProtocols(text: string, url: string | undefined): ProtocolName[] {
  const names = text.split(",").map((word): ProtocolName => {
    const name = protocolNames.find((known) => known === word.trim());
    if (name === undefined) throw new UsageError(`--protocol: "${word.trim()}" is not one of ${protocolNames.join(", ")}`);
    return name;
  });
  if (url !== undefined) {
    const speakable: readonly ProtocolName[] = url.startsWith("https:") ? ["h1s", "h2"] : ["h1", "h2c"];
    const wrong = names.find((name) => !speakable.includes(name));
    if (wrong !== undefined)
      throw new UsageError(
        `--protocol: ${wrong} cannot be spoken to ${url.startsWith("https:") ? "an https:" : "an http:"} address; ${speakable.join(" and ")} can`,
      );
  }
  return [...new Set(names)];
}

/** Field names (RFC 9110, section 5.1) that a request frames itself with. */
const framing = new Set(["host", "content-length", "transfer-encoding", "connection"]);

function parseHeaders(lines: readonly string[], apiKey: string | undefined): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const line of lines) {
    const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*)$/.exec(line);
    // The value may be a secret: it is not repeated.
    if (!match) throw new UsageError('--header: a header looks like "name: value", in ASCII');
    const name = match[1]!.toLowerCase();
    if (framing.has(name)) throw new UsageError(`--header: ${name} is set by the connection`);
    headers[name] = match[2]!.trim();
  }
  if (apiKey !== undefined && apiKey !== "") {
    if (!/^[\x21-\x7e]+$/.test(apiKey)) throw new UsageError("--api-key: a key is printable ASCII without blanks");
    headers["authorization"] ??= `Bearer ${apiKey}`;
  }
  return headers;
}

function parseEndpoint(text: string | undefined): string | null {
  if (text === undefined) return null;
  const named: Record<string, string> = { chat: "/v1/chat/completions", completions: "/v1/completions" };
  const path = named[text] ?? text;
  if (!/^\/[\x21-\x7e]*$/.test(path))
    throw new UsageError(`--endpoint: "${text}" is neither chat, completions nor a path that begins with /`);
  return path;
}
