/** The flags of `fakeai proxy` and of `fakeai proxy-config`. */
import { bareHost } from "../base/host.ts";
import { UsageError } from "../base/usage-error.ts";
import { parsePlant, type Plant } from "../network/plant.ts";
import type { ProxyTarget } from "../network/proxy.ts";
import { type NetworkKey, networkFlags } from "./network.ts";
import { type FlagTable, text, whole } from "./parse.ts";
import { oneOf, orUsageError } from "./values.ts";

/** Where something listens. */
export interface ListenAddress {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

export interface ProxySettings extends Readonly<Record<NetworkKey, string | null>> {
  readonly listen: ListenAddress;
  readonly to: ProxyTarget | null;
  readonly seed: number;
  /** null: none. */
  readonly plant: Plant | null;
  readonly json: boolean;
  readonly udp: boolean;
}

const proxyGroup = "Proxy";

/** In the order of the help. */
export const proxyFlags: FlagTable<ProxySettings> = [
  {
    key: "to",
    kind: "text",
    takes: "address",
    parse: target,
    help: "the server: host:port, or a URL",
    group: proxyGroup,
    common: true,
  },
  {
    key: "listen",
    kind: "text",
    takes: "[host:]port",
    default: 0,
    otherwise: "a free port",
    parse: listenAddress,
    help: "where clients connect",
    group: proxyGroup,
    common: true,
  },
  {
    key: "seed",
    kind: "integer",
    takes: "n",
    default: 1,
    parse: whole(0, Number.MAX_SAFE_INTEGER),
    help: "decides stalls, cuts, losses and jitter",
    group: proxyGroup,
  },
  { key: "json", kind: "boolean", help: "a line of JSON when ready, and one at the end", group: proxyGroup, common: true },
  { key: "udp", kind: "boolean", help: "carry datagrams, as of HTTP/3: --rtt, --jitter, --loss", group: proxyGroup, common: true },
  {
    key: "plant",
    kind: "text",
    takes: "faults",
    parse: (given, flag) => orUsageError(() => parsePlant(given, flag)),
    help: "a bad gateway, for tests: lose=1%, repeat=, reorder=, buffer=4, delay=0.5ms, swallow-abort",
    group: proxyGroup,
  },
  ...networkFlags.map((row) => ({ ...row, parse: text })),
];

/** Ports by what is spoken there; `tls` speaks h1s and h2 by ALPN. */
export interface GatewayPorts {
  readonly h1?: number;
  readonly h2c?: number;
  readonly tls?: number;
}

export interface ProxyConfigSettings {
  readonly to: ProxyTarget;
  readonly listen: GatewayPorts;
  readonly host: string;
  /** Paths of PEM files. */
  readonly tlsCert: string | null;
  readonly tlsKey: string | null;
  readonly buffering: "on" | "off";
  readonly upstreamHttp: "1.0" | "1.1" | "2";
  readonly maxConcurrentStreams: number;
  /** null: the system's folder for temporary files. */
  readonly dir: string | null;
}

const group = "Configuration";

/** In the order of the help. */
export const proxyConfigFlags: FlagTable<ProxyConfigSettings> = [
  {
    key: "to",
    kind: "text",
    takes: "address",
    default: "127.0.0.1:8000",
    parse: cleartextTarget,
    help: "the server behind",
    group,
    common: true,
  },
  {
    key: "listen",
    kind: "text",
    takes: "list",
    default: "h2c:9080,h2:9443",
    parse: gatewayPorts,
    help: "of h1, h2c, h2",
    group,
    common: true,
  },
  { key: "host", kind: "text", takes: "address", default: "127.0.0.1", parse: host, help: "address to listen on", group, common: true },
  {
    key: "tlsCert",
    kind: "text",
    takes: "file",
    otherwise: "fakeai serve's",
    parse: text,
    help: "PEM certificate of h2",
    group,
    common: true,
  },
  { key: "tlsKey", kind: "text", takes: "file", parse: text, help: "PEM private key of the certificate", group, common: true },
  {
    key: "buffering",
    kind: "text",
    takes: "on|off",
    default: "off",
    parse: oneOf(["on", "off"]),
    help: "gather answers first",
    group,
    common: true,
  },
  {
    key: "upstreamHttp",
    kind: "text",
    takes: "version",
    default: "1.1",
    parse: oneOf(["1.0", "1.1", "2"]),
    help: "1.1, nginx's own 1.0, or 2",
    group,
    common: true,
  },
  {
    key: "maxConcurrentStreams",
    kind: "integer",
    takes: "n",
    default: 256,
    parse: whole(1, 100_000),
    help: "HTTP/2 streams per connection",
    group,
    common: true,
  },
  {
    key: "dir",
    kind: "text",
    takes: "path",
    otherwise: "the system's",
    parse: text,
    help: "for temporary files",
    group,
    common: true,
  },
];

/** Where something leads: host:port, or a URL. Throws UsageError. */
function target(given: string, flag: string): ProxyTarget {
  const hint = "(for example 127.0.0.1:8000 or https://api.example.com)";
  const url = /^https?:\/\//i.test(given) ? given : `tcp://${given}`;
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed === null || parsed.hostname === "") throw new UsageError(`${flag}: "${given}" is not an address ${hint}`);
  const port = Number(parsed.port || { "https:": 443, "http:": 80 }[parsed.protocol] || 0);
  if (!(port >= 1)) throw new UsageError(`${flag}: "${given}" has no port ${hint}`);
  if (parsed.username !== "" || parsed.password !== "")
    throw new UsageError(`${flag}: credentials in an address go nowhere: clients send them`);
  const path = parsed.pathname.replace(/\/+$/, "");
  return { host: bareHost(parsed.hostname), port, ...(path === "" ? {} : { path }) };
}

function cleartextTarget(given: string, flag: string): ProxyTarget {
  if (given.startsWith("https:"))
    throw new UsageError(`${flag}: the server behind speaks HTTP/1.1 in cleartext (for example 127.0.0.1:8000)`);
  return target(given, flag);
}

/** A port, or host:port. Throws UsageError. */
function listenAddress(given: string, flag: string): ListenAddress {
  const match = /^(?:(\[[0-9a-f:.]+\]|[^:[\]/\s]+):)?(\d{1,5})$/i.exec(given);
  const port = Number(match?.[2]);
  if (!match || port > 65_535)
    throw new UsageError(`${flag}: "${given}" is neither a port nor host:port (for example 9000 or 0.0.0.0:9000)`);
  return { host: bareHost(match[1] ?? "127.0.0.1"), port };
}

const gatewayProtocols = oneOf(["h1", "h2c", "h2"]);

function gatewayPorts(given: string, flag: string): GatewayPorts {
  const ports: { h1?: number; h2c?: number; tls?: number } = {};
  for (const word of given.split(",").map((part) => part.trim())) {
    const [name, digits = ""] = word.split(":");
    const protocol = gatewayProtocols(name!, flag);
    const port = Number(digits);
    if (!/^\d{1,5}$/.test(digits) || port < 1 || port > 65_535)
      throw new UsageError(`${flag}: "${word}" needs a port from 1 to 65535 (for example h2c:9080,h2:9443)`);
    ports[protocol === "h2" ? "tls" : protocol] = port;
  }
  if (new Set(Object.values(ports)).size < Object.keys(ports).length) throw new UsageError(`${flag}: two of them share a port`);
  return ports;
}

function host(given: string, flag: string): string {
  const bare = bareHost(given);
  if (!/^[0-9a-z.:-]+$/i.test(bare)) throw new UsageError(`${flag}: "${given.slice(0, 60)}" is not an address`);
  return bare;
}
