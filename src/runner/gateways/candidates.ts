/** The gateways that are looked at: those that are started here, and those that run already, each on the protocols that it speaks. */
import { UsageError } from "../../base/usage-error.ts";
import type { TlsChoice } from "../../load/job.ts";
import { gateways } from "../../network/gateways/catalogue.ts";
import type { UpstreamHttp } from "../../network/gateways/gateway.ts";
import type { Certificate } from "../../results/gateways/types.ts";
import { protocolTraits } from "../../results/protocols.ts";
import type { ProtocolName } from "../../results/types.ts";
import type { NamedGateway } from "../../settings/bench.ts";
import type { GatewaySettings, StartedGateway } from "../../settings/gateway.ts";
import { parseAddress, pathAt } from "../processes/address.ts";
import { type GatewayChild, startGateway } from "../processes/gateway.ts";
import { probe, readCa } from "../processes/probe.ts";
import { RunError } from "../processes/target.ts";

/** Streams of one connection that the server and the gateways allow. */
export const ampleStreams = 256;

/** A gateway that can be asked, on one protocol. */
export interface Candidate {
  readonly id: string;
  readonly name: string;
  readonly protocol: ProtocolName;
  readonly origin: string;
  readonly pathOf: (path: string) => string;
  readonly tls: TlsChoice;
  readonly headers: Readonly<Record<string, string>>;
  readonly child: GatewayChild | null;
  readonly started: StartedGateway | null;
}

/** Gateways that can be asked, and those that cannot, with why. */
export interface Found {
  readonly candidates: readonly Candidate[];
  readonly leftOut: readonly Certificate[];
}

/** Starts a gateway before the server. `keep` gets what has to be closed. */
export async function startOne(
  started: StartedGateway,
  { protocols }: GatewaySettings,
  origins: Readonly<Partial<Record<ProtocolName, string>>>,
  keep: (child: GatewayChild) => void,
): Promise<Found> {
  const kind = gateways[started.proxy]!;
  const isSpoken = (protocol: ProtocolName): boolean =>
    kind.clients.includes(protocolTraits[protocol].isEncrypted ? "tls" : (protocol as "h1" | "h2c"));
  const spoken = protocols.filter(isSpoken);
  const others = protocols
    .filter((protocol) => !isSpoken(protocol))
    .map((protocol) => without(started.name, protocol, `${started.proxy} does not speak ${protocol} to clients`));
  try {
    if (spoken.length === 0) return { candidates: [], leftOut: others };
    const child = await startGateway({
      via: viaOf(started),
      upstream: upstreamOf(started.upstreamHttp, origins),
      protocols: spoken,
      maxConcurrentStreams: ampleStreams,
      cpu: null,
    });
    keep(child);
    const candidates = spoken.map((protocol) => ({
      id: `${started.name}-${protocol}`,
      name: started.name,
      protocol,
      origin: child.origins[protocol]!,
      pathOf: (path: string) => path,
      tls: child.tls,
      headers: child.headers,
      child,
      started,
    }));
    return { candidates, leftOut: others };
  } catch (error) {
    if (!(error instanceof RunError)) throw error;
    return { candidates: [], leftOut: [...spoken.map((protocol) => without(started.name, protocol, error.message)), ...others] };
  }
}

/** How the gateway is started. */
export function viaOf({ proxy, program, buffering, upstreamHttp }: StartedGateway): Parameters<typeof startGateway>[0]["via"] {
  return { proxy, buffering, upstreamHttp, ...(program === null ? {} : { program }) };
}

function upstreamOf(http: UpstreamHttp, origins: Readonly<Partial<Record<ProtocolName, string>>>): string {
  return http === "2" ? origins.h2c! : origins.h1!;
}

/** Looks at what was given before anything is started. Throws UsageError. */
export function checkAddresses({ via, url, port, caFile }: GatewaySettings): void {
  readCa(caFile);
  if (url !== null) parseAddress(url, "--url");
  const loopback = new Set(["127.0.0.1", "localhost", "[::1]"]);
  for (const { name, address } of via) {
    const { hostname, port: own } = new URL(parseAddress(address, "--via").origin);
    if (port !== null && Number(own) === port && loopback.has(hostname))
      throw new UsageError(`--via: ${address} is where our own server listens (--port): ${name} has to be another address`);
  }
}

/** A gateway that runs already: what it speaks of what is asked for. */
export async function reachOne({ name, address }: NamedGateway, settings: GatewaySettings): Promise<Found> {
  const place = parseAddress(address, "--via");
  const { target, results } = await probe({
    url: address,
    caFile: settings.caFile,
    insecure: settings.insecure,
    headers: settings.headers,
    named: null,
  });
  const candidates: Candidate[] = [];
  const leftOut: Certificate[] = [];
  for (const { protocol, refused } of results) {
    if (!settings.protocols.includes(protocol)) continue;
    const origin = target.origins[protocol];
    if (origin === undefined) leftOut.push(without(name, protocol, refused ?? "it is not spoken"));
    else
      candidates.push({
        id: `${name}-${protocol}`,
        name,
        protocol,
        origin,
        pathOf: (path) => pathAt(place, path),
        tls: target.tls,
        headers: {},
        child: null,
        started: null,
      });
  }
  if (candidates.length === 0 && leftOut.length === 0) {
    const asked = results.map(({ protocol }) => protocol).join(", ");
    leftOut.push(...settings.protocols.map((protocol) => without(name, protocol, `${place.origin} can be asked in ${asked} (--protocol)`)));
  }
  return { candidates, leftOut };
}

/** A gateway of which nothing was measured, and why. */
export function without(gateway: string, protocol: ProtocolName, reason: string): Certificate {
  return {
    id: `${gateway}-${protocol}`,
    gateway,
    protocol,
    upstreamHttp: null,
    version: null,
    licence: null,
    config: null,
    fidelity: null,
    checks: [],
    levels: [],
    keptPerSecond: null,
    passedPerSecond: null,
    leftOut: reason,
  };
}
