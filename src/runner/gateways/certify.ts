/** Certifies gateways: starts the server behind them, and those that are to be started, and looks at each on each protocol. */
import { loadavg } from "node:os";
import { clockIdentity } from "../../base/clock.ts";
import { LoaderDriver } from "../../load/drivers/stream.ts";
import type { Endpoint, TlsChoice } from "../../load/job.ts";
import { gateways } from "../../network/gateways/catalogue.ts";
import type { UpstreamHttp } from "../../network/gateways/gateway.ts";
import { judgeClaims } from "../../results/gateways/claims.ts";
import type { Certificate, Check, GatewayResult, Level } from "../../results/gateways/types.ts";
import { protocolTraits } from "../../results/protocols.ts";
import type { ProtocolName } from "../../results/types.ts";
import type { NamedGateway } from "../../settings/bench.ts";
import type { GatewaySettings, StartedGateway } from "../../settings/gateway.ts";
import { parseAddress, pathAt } from "../processes/address.ts";
import { type GatewayChild, startGateway } from "../processes/gateway.ts";
import { describeEnvironment } from "../processes/machine.ts";
import { probe } from "../processes/probe.ts";
import { RunError, startServerChild } from "../processes/target.ts";
import { type Checked, checkGateway, checkStreamLimit, streamLimit, type Ways } from "./checks.ts";
import { type LevelPlan, rateOf, runLevel, type Way } from "./frontier.ts";
import { Truth } from "./truth.ts";

export interface CertifyRun {
  readonly settings: GatewaySettings;
  readonly command: readonly string[];
  readonly progress: (text: string) => void;
  readonly notice: (text: string) => void;
  readonly signal: AbortSignal;
}

/** A gateway that can be asked, on one protocol. */
interface Candidate {
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

const endpointPath = "/v1/chat/completions";
const json = { "content-type": "application/json" } as const;
/** Streams of one connection that the server and the gateways allow. */
const ampleStreams = 256;

/** Runs it. What is measured when the signal comes is in the result. Throws RunError where nothing can be started. */
export async function certify({ settings, command, progress, notice, signal }: CertifyRun): Promise<GatewayResult> {
  const startedAt = new Date();
  const startedMs = performance.now();
  const environment = describeEnvironment(false, "fakeai serve");
  const open: { close(): Promise<unknown> }[] = [];
  const driver = new LoaderDriver("stream");
  open.push(driver);
  const certificates = new Map<string, Certificate>();
  const leftOut: Certificate[] = [];
  const invalid: string[] = [];
  try {
    const server = await startServerChild({
      protocols: serverProtocols(settings),
      // node's engine answers HTTP/1.0 too, and counts connections.
      engine: "node",
      ttft: settings.ttftMs,
      itl: settings.itlMs,
      outputTokens: settings.outputTokens,
      maxConcurrentStreams: ampleStreams,
      seed: settings.seed,
      cpu: null,
      stamps: false,
      ...(settings.port === null ? {} : { port: settings.port }),
    });
    open.push(server);
    const truth = new Truth(server);
    if (settings.port !== null) notice(`the gateways of --via lead to ${server.origins.h1!}`);
    const candidates: Candidate[] = [];
    for (const started of settings.start) {
      if (signal.aborted) break;
      progress(`starting ${started.name}`);
      const found = await startOne(started, settings, server.origins, (child) => open.push(child));
      candidates.push(...found.candidates);
      leftOut.push(...found.leftOut);
    }
    for (const named of settings.via) {
      progress(`asking ${named.address} what it speaks`);
      const found = await reachOne(named, settings);
      candidates.push(...found.candidates);
      leftOut.push(...found.leftOut);
    }
    const directTo = (protocol: ProtocolName): Endpoint => ({
      origin: server.origins[protocol]!,
      protocol,
      path: endpointPath,
      method: "POST",
      headers: json,
      tls: server.tls,
    });
    for (const candidate of candidates) {
      if (signal.aborted) break;
      const ways = {
        direct: directTo(candidate.protocol),
        through: endpointOf(candidate, settings),
        model: settings.model,
        asksInHttp10: candidate.started?.upstreamHttp === "1.0",
      };
      const checked = await checkGateway(truth, ways, (what) => progress(`${candidate.id}: ${what}`));
      const limit = await streamLimitOf(candidate, checked, settings, progress);
      certificates.set(candidate.id, certificateOf(candidate, { ...checked, checks: [...checked.checks, limit] }));
      for (const { id, verdict, seen } of certificates.get(candidate.id)!.checks)
        if (verdict === "fault") notice(`${candidate.id}: ${id}: ${seen}`);
    }
    const plan = planOf(settings);
    await truth.set({ mode: "random", ttft: plan.ttftMs, itl: plan.itlMs, "output-tokens": plan.outputTokens, stamps: true, fault: null });
    for (const protocol of new Set(candidates.map((one) => one.protocol))) {
      const direct: Way = { id: `direct-${protocol}`, endpoint: directTo(protocol), gateway: null, server };
      let active = candidates.filter((one) => one.protocol === protocol && certificates.get(one.id)?.fidelity != null);
      for (const streams of settings.streams) {
        if (active.length === 0 || signal.aborted) break;
        const ways = active.map((one): Way => ({ id: one.id, endpoint: endpointOf(one, settings), gateway: meterOf(one), server }));
        const levels = await runLevel(direct, ways, streams, plan, { driver, signal, progress });
        for (const [id, level] of levels) {
          const before = certificates.get(id)!;
          certificates.set(id, { ...before, levels: [...before.levels, level] });
        }
        active = active.filter(({ id }) => levels.get(id)?.limit === null);
      }
    }
    if (server.died !== null) invalid.push(server.died);
  } catch (error) {
    if (!(error instanceof RunError) || (certificates.size === 0 && leftOut.length === 0)) throw error;
    invalid.push(error.message);
  } finally {
    await Promise.all(open.map((one) => one.close()));
  }
  const all = [...[...certificates.values()].map((one) => withBound(one, settings.boundMs)), ...leftOut];
  if (certificates.size === 0 && !signal.aborted) invalid.push("no gateway could be looked at");
  return {
    kind: "fakeai.gateway",
    schemaVersion: 1,
    command,
    seed: settings.seed,
    startedAt: startedAt.toISOString(),
    durationS: (performance.now() - startedMs) / 1000,
    complete: !signal.aborted,
    environment,
    loadAverageAfter: loadavg(),
    ttftMs: settings.ttftMs,
    itlMs: settings.itlMs,
    outputTokens: settings.outputTokens,
    boundMs: settings.boundMs,
    runS: settings.runS,
    certificates: all,
    claims: judgeClaims(all),
    invalid,
  };
}

function planOf({ ttftMs, itlMs, outputTokens, runS, rounds, boundMs, seed, model }: GatewaySettings): LevelPlan {
  return { ttftMs, itlMs, outputTokens, runS, rounds, boundMs, seed, model, clock: clockIdentity };
}

/** What the server has to speak: to gateways in cleartext, and what it is compared in. */
function serverProtocols({ protocols }: GatewaySettings): ProtocolName[] {
  return [...new Set<ProtocolName>(["h1", "h2c", ...protocols])];
}

function endpointOf({ origin, protocol, pathOf, tls, headers }: Candidate, settings: GatewaySettings): Endpoint {
  return { origin, protocol, path: pathOf(endpointPath), method: "POST", headers: { ...json, ...headers, ...settings.headers }, tls };
}

function meterOf({ child }: Candidate): Way["gateway"] {
  return child ?? { usage: () => null, died: null };
}

interface Found {
  readonly candidates: readonly Candidate[];
  readonly leftOut: readonly Certificate[];
}

async function startOne(
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

function viaOf({ proxy, program, buffering, upstreamHttp }: StartedGateway): Parameters<typeof startGateway>[0]["via"] {
  return { proxy, buffering, upstreamHttp, ...(program === null ? {} : { program }) };
}

function upstreamOf(http: UpstreamHttp, origins: Readonly<Partial<Record<ProtocolName, string>>>): string {
  return http === "2" ? origins.h2c! : origins.h1!;
}

/** A gateway that runs already: what it speaks of what is asked for. */
async function reachOne({ name, address }: NamedGateway, settings: GatewaySettings): Promise<Found> {
  const { target, results } = await probe({
    url: address,
    caFile: settings.caFile,
    insecure: settings.insecure,
    headers: settings.headers,
    quic: false,
  });
  const place = parseAddress(address, "--via");
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
  return { candidates, leftOut };
}

/** More streams than a server allows on a connection: asked of a gateway that is started once more, before such a server. */
async function streamLimitOf(
  { id, protocol, started }: Candidate,
  { fidelity }: Checked,
  settings: GatewaySettings,
  progress: (text: string) => void,
): Promise<Check> {
  const unknown = (seen: string): Check => ({ id: "stream-limit", verdict: "unknown", seen });
  if (fidelity === null) return unknown("no stream came through");
  if (started === null) return unknown("it was not started here: its server cannot be exchanged for one that allows few streams");
  if (started.upstreamHttp !== "2") return unknown(`it asks the server in HTTP/${started.upstreamHttp}, where there is no such limit`);
  progress(`${id}: the server's limit of streams`);
  const server = await startServerChild({
    protocols: ["h1", "h2c"],
    engine: "node",
    ttft: 100,
    itl: 20,
    outputTokens: 10,
    maxConcurrentStreams: streamLimit,
    seed: settings.seed,
    cpu: null,
    stamps: false,
  });
  let child: GatewayChild | null = null;
  try {
    child = await startGateway({
      via: viaOf(started),
      upstream: server.origins.h2c!,
      protocols: [protocol],
      maxConcurrentStreams: ampleStreams,
      cpu: null,
    });
    const at = { protocol, path: endpointPath, method: "POST", headers: { ...json, ...child.headers, ...settings.headers } } as const;
    const ways: Ways = {
      direct: { ...at, protocol: "h2c", origin: server.origins.h2c!, tls: server.tls },
      through: { ...at, origin: child.origins[protocol]!, tls: child.tls },
      model: settings.model,
    };
    return await checkStreamLimit(new Truth(server), ways);
  } catch (error) {
    if (!(error instanceof RunError)) throw error;
    return unknown(error.message);
  } finally {
    await child?.close();
    await server.close();
  }
}

function certificateOf({ id, name, protocol, child, started }: Candidate, { fidelity, checks, upstreamHttp }: Checked): Certificate {
  return {
    id,
    gateway: name,
    protocol,
    upstreamHttp,
    version: child?.version ?? null,
    licence: started === null ? null : (gateways[started.proxy]?.licence ?? null),
    config: child?.config ?? null,
    fidelity,
    checks,
    levels: [],
    keptPerSecond: null,
    passedPerSecond: null,
    leftOut: null,
  };
}

function without(gateway: string, protocol: ProtocolName, reason: string): Certificate {
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

/** The rates between which the bound is passed, where intervals tell. A level at the limit of client or server tells of neither. */
function withBound(certificate: Certificate, boundMs: number): Certificate {
  const rates = (holds: (level: Level) => boolean): number[] =>
    certificate.levels.filter(holds).map(({ requestsPerSecond }) => requestsPerSecond);
  const kept = rates(({ limit, addedTtftP99 }) => limit === null && addedTtftP99 !== null && addedTtftP99.highUs <= boundMs * 1000);
  const passed = rates(({ limit }) => limit === "gateway");
  return {
    ...certificate,
    keptPerSecond: kept.length === 0 ? null : Math.max(...kept),
    passedPerSecond: passed.length === 0 ? null : Math.min(...passed),
  };
}

/** Seconds that a run is estimated to take, for people. */
export function estimateS({
  start,
  via,
  protocols,
  streams,
  rounds,
  runS,
  ttftMs,
  itlMs,
  outputTokens,
  boundMs,
  seed,
  model,
}: GatewaySettings): number {
  const ways = (start.length + via.length) * protocols.length;
  const checksS = 14;
  const plan = { ttftMs, itlMs, outputTokens, runS, rounds, boundMs, seed, model, clock: null };
  const levelS = streams.reduce((sum, one) => sum + Math.max(runS, 4 / rateOf(one, plan)) * 1.3, 0);
  return ways * checksS + (ways + protocols.length) * rounds * levelS;
}
