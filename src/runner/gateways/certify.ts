/** Certifies gateways: starts the server behind them, and those that are to be started, and looks at each on each protocol. */
import { loadavg } from "node:os";
import { clockIdentity } from "../../base/clock.ts";
import { LoaderDriver } from "../../load/drivers/stream.ts";
import type { Endpoint } from "../../load/job.ts";
import { gateways } from "../../network/gateways/catalogue.ts";
import { delayCheck } from "../../results/gateways/delay.ts";
import { judgeClaims } from "../../results/gateways/claims.ts";
import type { Certificate, Check, GatewayResult, Level, OwnLimit } from "../../results/gateways/types.ts";
import type { ProtocolName } from "../../results/types.ts";
import type { GatewaySettings } from "../../settings/gateway.ts";
import { type GatewayChild, startGateway } from "../processes/gateway.ts";
import { describeEnvironment } from "../processes/machine.ts";
import { RunError, type ServerChild, startServerChild } from "../processes/target.ts";
import { ampleStreams, type Candidate, reachOne, startOne, viaOf, without } from "./candidates.ts";
import { type Checked, checkGateway, checkStreamLimit, streamLimit, type Ways } from "./checks.ts";
import { checkForeign, reachServer } from "./foreign.ts";
import { type LevelPlan, type OwnLevel, rateOf, runLevel, type Way } from "./frontier.ts";
import { Truth } from "./truth.ts";

export interface CertifyRun {
  readonly settings: GatewaySettings;
  readonly command: readonly string[];
  readonly progress: (text: string) => void;
  readonly notice: (text: string) => void;
  readonly signal: AbortSignal;
}

const endpointPath = "/v1/chat/completions";
const json = { "content-type": "application/json" } as const;
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
  const ownLimits: OwnLimit[] = [];
  try {
    const server = settings.url === null ? await startOurs(settings, ampleStreams) : null;
    if (server !== null) open.push(server);
    const foreign = settings.url === null ? null : await reachServer(settings.url, settings);
    if (server !== null && settings.port !== null) {
      const trusted = server.caPath === null ? "" : `; its certificate is signed by ${server.caPath}`;
      notice(`the gateways of --via lead to ${server.origins[settings.upstream]!}${trusted}`);
    }
    const candidates: Candidate[] = [];
    for (const started of settings.start) {
      if (signal.aborted) break;
      progress(`starting ${started.name}`);
      const found = await startOne(started, settings, server!.origins, (child) => open.push(child));
      candidates.push(...found.candidates);
      leftOut.push(...found.leftOut);
    }
    for (const named of settings.via) {
      progress(`asking ${named.address} what it speaks`);
      const found = await reachOne(named, settings);
      candidates.push(...found.candidates);
      leftOut.push(...found.leftOut);
    }
    const truth = server === null ? null : new Truth(server);
    const directTo = (protocol: ProtocolName): Endpoint | null =>
      server === null ? (foreign!.endpoints[protocol] ?? null) : directEndpoint(server, protocol);
    for (const candidate of candidates) {
      if (signal.aborted) break;
      // A server that is not ours may speak less than the gateway: what is compared are answers, whatever they come in.
      const direct = directTo(candidate.protocol) ?? Object.values(foreign!.endpoints)[0]!;
      const ways: Ways = {
        direct,
        through: endpointOf(candidate, settings),
        model: settings.model,
        asksInHttp10: candidate.started?.upstreamHttp === "1.0",
      };
      const looking = (what: string): void => progress(`${candidate.id}: ${what}`);
      const checked = truth === null ? await checkForeign(ways, looking) : await checkGateway(truth, ways, looking);
      if (checked.leadsElsewhere === true) {
        const origin = server!.origins[settings.upstream]!;
        const reason = `what it answers does not come from our server: it has to lead to ${origin}`;
        notice(`${candidate.id}: left out: ${reason}`);
        leftOut.push(without(candidate.name, candidate.protocol, reason));
        continue;
      }
      const limit = truth === null ? [] : [await streamLimitOf(candidate, checked, settings, progress)];
      certificates.set(candidate.id, certificateOf(candidate, { ...checked, checks: [...checked.checks, ...limit] }));
      for (const { id, verdict, seen } of certificates.get(candidate.id)!.checks)
        if (verdict === "fault") notice(`${candidate.id}: ${id}: ${seen}`);
    }
    const plan = planOf(settings, server !== null);
    await truth?.set({ mode: "random", ttft: plan.ttftMs, itl: plan.itlMs, "output-tokens": plan.outputTokens, stamps: true, fault: null });
    for (const protocol of new Set(candidates.map((one) => one.protocol))) {
      const endpoint = directTo(protocol);
      if (endpoint === null) {
        notice(`the server does not speak ${protocol}: nothing is offered on it`);
        continue;
      }
      const direct: Way = { id: `direct-${protocol}`, endpoint, gateway: null, server: server ?? { pid: null } };
      let active = candidates.filter((one) => one.protocol === protocol && certificates.get(one.id)?.fidelity != null);
      const own: OwnLevel[] = [];
      for (const streams of settings.streams) {
        if (signal.aborted || own.at(-1)?.reason != null) break;
        const ways = active.map((one): Way => ({
          id: one.id,
          endpoint: endpointOf(one, settings),
          gateway: meterOf(one),
          server: direct.server,
        }));
        // Without a gateway that is left two rounds tell how far the measurement itself reaches.
        const rounds = ways.length === 0 ? 2 : plan.rounds;
        const run = await runLevel(direct, ways, streams, { ...plan, rounds }, { driver, signal, progress });
        if (run.own !== null) own.push(run.own);
        for (const [id, level] of run.levels) {
          const before = certificates.get(id)!;
          certificates.set(id, { ...before, levels: [...before.levels, level] });
        }
        active = active.filter(({ id }) => run.levels.get(id)?.limit === null);
      }
      ownLimits.push(ownLimitOf(protocol, own));
    }
    if (server?.died != null) invalid.push(server.died);
    else if (server !== null && !signal.aborted)
      for (const [id, limit] of await streamLimitsAt(server, candidates, certificates, settings, (one) => open.push(one))) {
        const before = certificates.get(id)!;
        certificates.set(id, { ...before, checks: before.checks.map((check) => (check.id === limit.id ? limit : check)) });
        if (limit.verdict === "fault") notice(`${id}: ${limit.id}: ${limit.seen}`);
      }
  } catch (error) {
    if (!(error instanceof RunError) || (certificates.size === 0 && leftOut.length === 0)) throw error;
    invalid.push(error.message);
  } finally {
    await Promise.all(open.map((one) => one.close()));
  }
  const all = [...[...certificates.values()].map((one) => withBounds(one, settings)), ...leftOut];
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
    delayBoundMs: settings.delayBoundMs,
    runS: settings.runS,
    certificates: all,
    ownLimits,
    claims: judgeClaims(all),
    invalid,
  };
}

function planOf({ ttftMs, itlMs, outputTokens, runS, rounds, boundMs, seed, model }: GatewaySettings, isOurs: boolean): LevelPlan {
  return { ttftMs, itlMs, outputTokens, runS, rounds, boundMs, seed, model, clock: isOurs ? clockIdentity : null };
}

/** The server behind the gateways. It speaks what they may ask in and what is compared: `upstream` first, which has the port. */
function startOurs(settings: GatewaySettings, maxConcurrentStreams: number): Promise<ServerChild> {
  const { port, upstream, protocols, ttftMs, itlMs, outputTokens, seed } = settings;
  return startServerChild({
    protocols: [...new Set<ProtocolName>([upstream, "h1", "h2c", ...protocols])],
    // node's engine answers HTTP/1.0 too, and counts connections.
    engine: "node",
    ttft: ttftMs,
    itl: itlMs,
    outputTokens,
    maxConcurrentStreams,
    seed,
    cpu: null,
    stamps: false,
    ...(port === null ? {} : { port }),
  });
}

function directEndpoint({ origins, tls }: ServerChild, protocol: ProtocolName): Endpoint {
  return { origin: origins[protocol]!, protocol, path: endpointPath, method: "POST", headers: json, tls };
}

function ownLimitOf(protocol: ProtocolName, levels: readonly OwnLevel[]): OwnLimit {
  const last = levels.at(-1);
  return {
    protocol,
    keptPerSecond: levels.findLast(({ reason }) => reason === null)?.requestsPerSecond ?? null,
    passedPerSecond: last == null || last.reason === null ? null : last.requestsPerSecond,
    reason: last?.reason ?? null,
    clientCpuShare: last?.clientCpuShare ?? null,
  };
}

function endpointOf({ origin, protocol, pathOf, tls, headers }: Candidate, settings: GatewaySettings): Endpoint {
  return { origin, protocol, path: pathOf(endpointPath), method: "POST", headers: { ...json, ...headers, ...settings.headers }, tls };
}

function meterOf({ child }: Candidate): Way["gateway"] {
  return child ?? { usage: () => null, died: null };
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
  if (started === null) return unknown("it was not looked at: at the end its server would be exchanged for one that allows few streams");
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

/**
 * The same of gateways that were not started here: they are led to another server at the port of the first, which ends. Last of all,
 * and of those alone that ask the server in HTTP/2.
 */
export async function streamLimitsAt(
  server: ServerChild,
  candidates: readonly Candidate[],
  certificates: ReadonlyMap<string, Certificate>,
  settings: GatewaySettings,
  keep: (server: ServerChild) => void,
): Promise<Map<string, Check>> {
  const found = new Map<string, Check>();
  const own = candidates.filter(({ id, started }) => started === null && certificates.get(id)?.fidelity != null);
  for (const { id } of own) {
    const { upstreamHttp } = certificates.get(id)!;
    const seen = `it asks the server in ${upstreamHttp ?? "nothing"}, where there is no such limit`;
    found.set(id, { id: "stream-limit", verdict: "unknown", seen });
  }
  const asking = own.filter(({ id }) => certificates.get(id)!.upstreamHttp === "HTTP/2");
  if (asking.length === 0) return found;
  await server.close();
  const limited = await startOurs({ ...settings, ttftMs: 100, itlMs: 20, outputTokens: 10 }, streamLimit);
  keep(limited);
  for (const one of asking) {
    const direct = directEndpoint(limited, "h2c");
    found.set(one.id, await checkStreamLimit(new Truth(limited), { direct, through: endpointOf(one, settings), model: settings.model }));
  }
  return found;
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

/** What the levels say to the bounds, where intervals tell. A level at the limit of client or server tells of neither. */
function withBounds(certificate: Certificate, { boundMs, delayBoundMs }: GatewaySettings): Certificate {
  const delay = delayCheck(certificate.levels, delayBoundMs);
  const rates = (holds: (level: Level) => boolean): number[] =>
    certificate.levels.filter(holds).map(({ requestsPerSecond }) => requestsPerSecond);
  const kept = rates(({ limit, addedTtftP99 }) => limit === null && addedTtftP99 !== null && addedTtftP99.highUs <= boundMs * 1000);
  const passed = rates(({ limit }) => limit === "gateway");
  return {
    ...certificate,
    checks: [...certificate.checks, ...(delay === null ? [] : [delay])],
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
  const checksS = 8;
  const plan = { ttftMs, itlMs, outputTokens, runS, rounds, boundMs, seed, model, clock: null };
  const levelS = streams.reduce((sum, one) => sum + Math.max(runS, 4 / rateOf(one, plan)) * 1.15, 0);
  return ways * checksS + (ways + protocols.length) * rounds * levelS;
}
