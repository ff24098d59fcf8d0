/** The flags of `fakeai gateway`. */
import { accessSync, constants, statSync } from "node:fs";
import { didYouMean } from "../base/guess.ts";
import { UsageError } from "../base/usage-error.ts";
import { gateways } from "../network/gateways/catalogue.ts";
import { type ClientSide, gatewayProgram, type UpstreamHttp } from "../network/gateways/gateway.ts";
import { protocolTraits } from "../results/protocols.ts";
import type { ProtocolName } from "../results/types.ts";
import { gateway, type NamedGateway } from "./bench.ts";
import { type FlagTable, positive, several, text, whole } from "./parse.ts";
import { oneOf } from "./values.ts";

/** A gateway of the catalogue that is to be started. */
export interface StartedGateway {
  /** As it was asked for: "haproxy", "haproxy:buffering". */
  readonly name: string;
  /** Its name in the catalogue. */
  readonly proxy: string;
  readonly buffering: boolean;
  readonly upstreamHttp: UpstreamHttp;
  /** Path of its program; null: it is looked for. */
  readonly program: string | null;
}

export interface GatewaySettings {
  readonly start: readonly StartedGateway[];
  readonly via: readonly NamedGateway[];
  /** Where the server listens; null: any free port. */
  readonly port: number | null;
  /** What it speaks there. */
  readonly upstream: ProtocolName;
  /** Address of a server that runs already, to which the gateways of `via` lead; null: one is started. */
  readonly url: string | null;
  readonly protocols: readonly ProtocolName[];
  readonly streams: readonly number[];
  readonly rounds: number;
  readonly runS: number;
  readonly boundMs: number;
  readonly delayBoundMs: number;
  readonly ttftMs: number;
  readonly itlMs: number;
  readonly outputTokens: number;
  readonly model: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly caFile: string | null;
  readonly insecure: boolean;
  readonly seed: number;
  readonly out: string | null;
  readonly json: boolean;
}

/** Settings as they are given: names of flags. */
interface GatewayInput {
  readonly start: readonly StartedGateway[];
  readonly via: readonly NamedGateway[];
  readonly port: number | null;
  readonly upstream: ProtocolName;
  readonly url: string | null;
  readonly protocol: readonly ProtocolName[] | null;
  readonly streams: readonly number[] | null;
  readonly rounds: number;
  readonly duration: number;
  readonly bound: number;
  readonly delayBound: number;
  readonly ttft: number;
  readonly itl: number;
  readonly outputTokens: number;
  readonly model: string;
  readonly header: readonly (readonly [name: string, value: string])[];
  readonly cacert: string | null;
  readonly insecure: boolean;
  readonly seed: number;
  readonly out: string | null;
  readonly json: boolean;
}

/** What is asked of gateways, and what the server behind them speaks. */
const spoken: readonly ProtocolName[] = ["h1", "h1s", "h2c", "h2"];

const group = "Gateways";
const load = "Load";
const output = "Output";

/** In the order of the help. */
export const gatewayFlags: FlagTable<GatewayInput> = [
  {
    key: "start",
    kind: "list",
    takes: "name",
    parse: startedGateway,
    help: "an installed one: nginx, haproxy:buffering, envoy:h2",
    group,
    common: true,
  },
  {
    key: "via",
    kind: "list",
    takes: "name=url",
    parse: gateway,
    help: "a gateway that runs and leads to --port",
    group,
    common: true,
  },
  {
    key: "port",
    kind: "integer",
    takes: "port",
    otherwise: "a free one",
    parse: whole(1, 65_535),
    help: "where the server behind --via listens",
    group,
    common: true,
  },
  {
    key: "upstream",
    kind: "text",
    takes: "name",
    default: "h1",
    parse: oneOf(spoken),
    help: "what it speaks there: h1, h1s, h2c or h2",
    group,
  },
  {
    key: "url",
    kind: "text",
    takes: "url",
    otherwise: "our own is started",
    parse: text,
    help: "the server behind --via, where it runs already",
    group,
  },
  {
    key: "protocol",
    kind: "text",
    takes: "list",
    otherwise: "h1,h2c; of https: h1s,h2",
    parse: several(oneOf(spoken)),
    help: "of h1, h1s, h2c, h2, from the client",
    group,
  },
  {
    key: "header",
    kind: "list",
    takes: "name:value",
    parse: header,
    help: "of each request through a gateway",
    group,
  },
  { key: "model", kind: "text", takes: "name", default: "fakeai", parse: text, help: "model of the requests", group },
  { key: "cacert", kind: "text", takes: "file", parse: text, help: "PEM file of certificates to trust", group },
  { key: "insecure", kind: "boolean", help: "trust any certificate", group },
  {
    key: "streams",
    kind: "text",
    takes: "list",
    otherwise: "1,4,16,64,256",
    parse: several(whole(1, 10_000)),
    help: "streams at once, level by level",
    group: load,
    common: true,
  },
  {
    key: "rounds",
    kind: "integer",
    takes: "n",
    default: 9,
    parse: whole(2, 100),
    help: "rounds of a level",
    group: load,
  },
  {
    key: "duration",
    kind: "number",
    takes: "s",
    default: 1,
    parse: positive(600, "s"),
    help: "length of a run; it has 4 requests at least",
    group: load,
  },
  {
    key: "bound",
    kind: "number",
    takes: "ms",
    default: 10,
    parse: positive(60_000, "ms"),
    help: "what may be added to TTFT at p99",
    group: load,
  },
  {
    key: "delayBound",
    kind: "number",
    takes: "ms",
    default: 0.4,
    parse: positive(60_000, "ms"),
    help: "what may be added to TTFT and to a token, at the median",
    group: load,
  },
  { key: "ttft", kind: "number", takes: "ms", default: 50, parse: positive(60_000, "ms"), help: "planned TTFT", group: load },
  { key: "itl", kind: "number", takes: "ms", default: 20, parse: positive(60_000, "ms"), help: "planned gap between tokens", group: load },
  { key: "outputTokens", kind: "integer", takes: "n", default: 10, parse: whole(2, 10_000), help: "tokens of an answer", group: load },
  {
    key: "seed",
    kind: "integer",
    takes: "n",
    default: 1,
    parse: whole(0, 1_000_000),
    help: "decides requests and their order",
    group: load,
  },
  {
    key: "out",
    kind: "text",
    takes: "dir",
    otherwise: "results/runs",
    parse: text,
    help: "where the result goes",
    group: output,
    common: true,
  },
  { key: "json", kind: "boolean", help: "the result as JSON on stdout", group: output },
];

/** What is compared where nothing is asked for: cleartext of those that are started, of the others what their addresses say. */
function usualProtocols(start: readonly StartedGateway[], via: readonly NamedGateway[]): ProtocolName[] {
  const encrypted = via.filter(({ address }) => /^https:/i.test(address));
  const isCleartext = start.length > 0 || encrypted.length < via.length;
  return [...(isCleartext ? (["h1", "h2c"] as const) : []), ...(encrypted.length > 0 ? (["h1s", "h2"] as const) : [])];
}

/** Settles what was given. Throws UsageError. */
export function settleGateway(input: GatewayInput): GatewaySettings {
  const { start, via, port, url, protocol, cacert: caFile, duration, bound, delayBound, ttft, itl, header: headers, ...rest } = input;
  const protocols = protocol ?? usualProtocols(start, via);
  const streams = input.streams ?? [1, 4, 16, 64, 256];
  if (start.length === 0 && via.length === 0)
    throw new UsageError(
      "name a gateway: --start nginx, or --via name=http://127.0.0.1:9000 (fakeai gateway list shows what can be started)",
    );
  if (url !== null && start.length > 0)
    throw new UsageError("--start: a gateway that is started leads to a server of ours; --url goes with --via name=http://127.0.0.1:9000");
  if (url !== null && port !== null) throw new UsageError("--port is that of a server of ours: leave it out beside --url");
  if (via.length > 0 && port === null && url === null)
    throw new UsageError(
      "--via: give the server that the gateway leads to a port (for example --port 8000), or name one that runs (--url http://127.0.0.1:8000)",
    );
  if (via.length === 0 && (port !== null || input.upstream !== "h1"))
    throw new UsageError(`--${port === null ? "upstream" : "port"} is for gateways that run already: name them with --via name=url`);
  const mute = start.find(({ proxy }) =>
    protocols.every((one) => !gateways[proxy]!.clients.includes(protocolTraits[one].isEncrypted ? "tls" : (one as ClientSide))),
  );
  if (mute !== undefined) throw new UsageError(`--protocol: ${mute.proxy} speaks none of ${protocols.join(", ")}: leave it out`);
  const names = [...start, ...via].map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) < index);
  if (twice !== undefined) throw new UsageError(`two gateways are called ${twice}: name them (--via nginx=http://127.0.0.1:9000)`);
  if (streams.some((value, index) => index > 0 && value <= streams[index - 1]!))
    throw new UsageError(`--streams: ${streams.join(",")} does not ascend (for example 1,4,16)`);
  return {
    ...rest,
    start,
    via,
    port,
    url,
    protocols,
    caFile,
    streams,
    runS: duration,
    boundMs: bound,
    delayBoundMs: delayBound,
    ttftMs: ttft,
    itlMs: itl,
    headers: Object.fromEntries(headers),
  };
}

/** Headers that say where a message ends, or to which connection it belongs. */
const framing: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "content-type",
  "host",
  "keep-alive",
  "te",
  "transfer-encoding",
  "upgrade",
]);

/** "name: value". Throws UsageError. */
function header(given: string, flag: string): readonly [name: string, value: string] {
  const match = /^([!#$%&'*+.^_`|~0-9a-z-]+):[ \t]*([\x20-\x7e]*)$/i.exec(given);
  // The value may be a secret: it is not repeated.
  if (match === null) throw new UsageError(`${flag}: a header looks like "name: value", in ASCII`);
  const name = match[1]!.toLowerCase();
  if (framing.has(name)) throw new UsageError(`${flag}: ${name} is set by the connection`);
  return [name, match[2]!];
}

/** Whether a path is that of a file that may be run. */
function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** "haproxy", "haproxy:buffering", "envoy:h2", and each with "=/path/of/program". Throws UsageError. */
function startedGateway(given: string, flag: string): StartedGateway {
  const [, name, , program = null] = /^([^=]*)(=(.*))?$/s.exec(given) as unknown as [string, string, string?, string?];
  const [proxy, ...options] = name.toLowerCase().split(":");
  const known = Object.keys(gateways);
  const kind = Object.hasOwn(gateways, proxy!) ? gateways[proxy!] : undefined;
  if (kind === undefined)
    throw new UsageError(`${flag}: "${proxy!.slice(0, 60)}" is not one of ${known.join(", ")}${didYouMean(proxy!, known)}`);
  const allowed = [...(kind.canBuffer ? ["buffering"] : []), ...(kind.upstreams.includes("2") ? ["h2"] : [])];
  const other = options.find((option) => !allowed.includes(option));
  if (other !== undefined)
    throw new UsageError(
      `${flag}: ${proxy} has no "${other.slice(0, 60)}"${allowed.length === 0 ? ": it has one configuration" : ` (it has ${allowed.map((option) => `${proxy}:${option}`).join(", ")})`}`,
    );
  if (program !== null && !isProgram(program)) throw new UsageError(`${flag}: ${program.slice(0, 200)} is not a program that can be run`);
  if (program === null && gatewayProgram(kind) === null) throw new UsageError(`${flag}: ${proxy} is not installed (${kind.install})`);
  const buffering = options.includes("buffering");
  // nginx gathers answers of HTTP/1.0 alone, and that is what it asks in by default.
  const usual = buffering && kind.upstreams.includes("1.0") ? "1.0" : "1.1";
  return { name: [proxy, ...options].join(":"), proxy: proxy!, buffering, upstreamHttp: options.includes("h2") ? "2" : usual, program };
}
