/** The arms of an experiment: their servers, their connections, their jobs. */
import { protocolTraits } from "../results/protocols.ts";
import { clockIdentity } from "../base/clock.ts";
import { ownVersion } from "../base/version.ts";
import { standardLanes } from "../load/client/ws.ts";
import { driverNamed } from "../load/drivers/drivers.ts";
import type { DriverName, LoadDriver, LoadJob, RequestDetail, TlsChoice } from "../load/job.ts";
import { mergeNetworks, type NetworkInput, parseNetwork, roundTripMs, unfitFor } from "../network/impairment.ts";
import type { ProxyStats } from "../network/proxy.ts";
import type { UdpProxyStats } from "../network/udp-proxy.ts";
import { parseSlo } from "../results/slo.ts";
import type { ArmDescription, Calibration, Metrics, ProtocolName } from "../results/types.ts";
import type { Meeting } from "../shards/meeting.ts";
import { partOf, type Share } from "../shards/share.ts";
import { type GatewayChild, startGateway } from "./processes/gateway.ts";
import type { Pinning } from "./processes/machine.ts";
import { type NetworkChild, type NetworkStats, startNetwork } from "./processes/network.ts";
import type { BenchOptions } from "./plan/options.ts";
import { type Accepted, takesEverything, type Wording } from "./plan/body.ts";
import { backgroundOf, cookieOf, requestsOf, warmupOf } from "./plan/requests.ts";
import type { ArmSpec, Variant, Workload } from "./plan/scenario.ts";
import { describeTape, tapeWaits } from "./plan/tape.ts";
import { atOnce, callsTools, toolsOf } from "./plan/sessions.ts";
import { RunError, startServerChild, type Target } from "./processes/target.ts";

/** How far a bench is, for a screen that shows it. */
export type LiveEvent =
  /** What all of it is estimated to take. */
  | { readonly kind: "plan"; readonly seconds: number }
  /** A question begins: what is estimated of it, its arms, and in how many runs of an arm it is done. */
  | {
      readonly kind: "asking";
      readonly question: string;
      readonly seconds: number;
      readonly arms: readonly string[];
      readonly runs: number;
    }
  /** A run of an arm has ended, in the warm-up or in a round. */
  | { readonly kind: "measured"; readonly arm: string; readonly metrics: Metrics }
  /** A question of the plan is left out. */
  | { readonly kind: "leftOut"; readonly seconds: number };

/** Receives the progress of a bench. */
export interface Observer {
  /** A progress line; the next one replaces it. */
  progress(text: string): void;
  /** The same for a screen; absent: there is no screen. */
  readonly live?: (event: LiveEvent) => void;
  /** A line that stays. */
  notice(text: string): void;
  /** One request, where details were asked for. */
  detail(
    where: { readonly scenario: string; readonly variant: string; readonly arm: string; readonly round: number },
    detail: RequestDetail,
  ): void;
}

/** A server that is not ours, probed. */
export interface External {
  readonly target: Target;
  /** The path to ask for one that is written as our own server has it: "/v1/chat/completions". */
  readonly pathOf: (path: string) => string;
  readonly accepted: Accepted;
  /** What a reader of the figures should know of the requests. */
  readonly notes: readonly string[];
  /** Whether the server tells the time of another clock than ours. */
  readonly clock: "foreign" | "ours" | "none";
}

export interface RunContext {
  /** The other shards of the load; null: this process makes all of it. */
  readonly meeting: Meeting | null;
  readonly options: BenchOptions;
  readonly details: boolean;
  readonly pinning: Pinning | null;
  readonly signal: AbortSignal;
  readonly observer: Observer;
  readonly external: External | null;
  /** What `--via` names, by its names. */
  readonly gateways: ReadonlyMap<string, External>;
  readonly drivers: Map<DriverName, LoadDriver>;
  readonly calibration: Calibration | null;
  /** Packages with versions that engines of our own servers came from, by the engines' names: filled as they start. */
  readonly engineVersions: Map<string, string>;
  /** Lines about arms that are left out and that the observer has: points of a sweep say the same. */
  readonly told: Set<string>;
}

/** A driver, made at the first call and kept. */
export function driverOf(context: Pick<RunContext, "drivers">, name: DriverName): LoadDriver {
  let driver = context.drivers.get(name);
  if (driver === undefined) {
    driver = driverNamed(name);
    context.drivers.set(name, driver);
  }
  return driver;
}

/** Ends with a variant. May return a note. */
export interface Closable {
  close(): Promise<string | void>;
}

/** An arm with everything that its runs need. */
export interface LiveArm {
  readonly spec: ArmSpec;
  readonly description: ArmDescription;
  readonly target: Target;
  readonly origin: string;
  readonly pathOf: (path: string) => string;
  readonly accepted: Accepted;
  readonly driver: LoadDriver;
  /** What ends its protocol in front of the target. */
  readonly gateway: GatewayChild | null;
  readonly tls: TlsChoice;
  /** Round-trip time that was put in. */
  readonly rttMs: number;
}

/** Why arms are not run, by their ids. */
export type LeftOut = Map<string, string>;

/**
 * Starts what the arms of a variant need; what has to be closed afterwards goes into `open`, and arms that cannot be run into
 * `leftOut`. Throws RunError.
 */
export async function prepareArms(
  context: RunContext,
  variant: Variant,
  notes: string[],
  leftOut: LeftOut,
  open: Closable[],
): Promise<LiveArm[]> {
  const { workload } = variant;
  if (context.external !== null && workload.server !== null)
    throw new RunError(`${variant.scenario} needs a server with settings of its own (${JSON.stringify(workload.server)}): not with --url`);
  for (const external of [context.external, ...context.gateways.values()]) notes.push(...(external?.notes ?? []));
  if (workload.tape !== null) notes.push(describeTape(workload.tape));
  const specs = variant.arms.filter((spec) => {
    const spoken = spokenToServer(spec);
    const isMissing = context.external !== null && externalOf(context, spec)?.target.origins[spoken] === undefined;
    if (isMissing) leftOut.set(spec.id, `the server does not speak ${spoken}`);
    return !isMissing;
  });
  const targets = context.external === null ? await startServers(context, workload, specs, leftOut, open) : new Map<string, Target>();
  const targetOf = (spec: ArmSpec): Target | undefined => externalOf(context, spec)?.target ?? targets.get(spec.engine);
  const gateways = await startGateways(context, variant, specs, (spec) => targetOf(spec)?.origins.h1, leftOut, open);
  const networks = new Networks(context.options.seed, open);
  const arms: LiveArm[] = [];
  for (const spec of specs) {
    const target = targetOf(spec);
    const gateway = spec.via === undefined ? null : (gateways.get(viaKey(spec)) ?? null);
    if (target === undefined || (spec.via !== undefined && gateway === null)) continue;
    const network = mergeNetworks(workload.network, spec.network ?? {});
    const impairment = parseNetwork(network, (key) => key);
    const unfit = impairment === null ? null : unfitFor(transportOf(spec.protocol), impairment);
    if (unfit !== null) {
      leftOut.set(spec.id, `the network ${unfit}`);
      continue;
    }
    const { origin, rttMs } = await networks.through(network, spec.protocol, (gateway ?? target).origins[spec.protocol]!);
    const external = externalOf(context, spec);
    const arm: LiveArm = {
      spec,
      description: describeArm(context, workload, spec),
      target,
      origin,
      pathOf: external?.pathOf ?? ((path) => path),
      accepted: external?.accepted ?? takesEverything,
      driver: driverOf(context, spec.driver),
      gateway,
      tls: (gateway ?? target).tls,
      rttMs,
    };
    arms.push(fitting(context, workload, arm, notes));
  }
  return arms;
}

/** What `--url`, or for arms that stand for the gateway `--via`, names; null: our own servers. */
function externalOf(context: RunContext, { behind }: ArmSpec): External | null {
  return behind === null ? context.external : (context.gateways.get(behind) ?? null);
}

/** The protocol in which a server hears from an arm: gateways speak HTTP/1.1 to it. */
function spokenToServer({ protocol, via }: ArmSpec): ProtocolName {
  return via === undefined ? protocol : "h1";
}

/** Streams that a server may have under way at once. */
function streamsOf({ streams, background, session }: Workload): number {
  return streams * (session === null ? 1 : atOnce(session)) + (background?.streams ?? 0);
}

function describeArm(context: RunContext, workload: Workload, spec: ArmSpec): ArmDescription {
  return {
    id: spec.id,
    protocol: spec.protocol,
    engine: externalOf(context, spec) === null ? spec.engine : "external",
    role: spec.role,
    driver: spec.driver,
    // Each shard, and each server, has one at least.
    connections: Math.max(
      spec.connections === "streams" ? streamsOf(workload) : spec.connections,
      context.meeting?.share.of ?? 0,
      context.options.targetHosts.length,
    ),
    streams: streamsOf({ ...workload, background: null }),
  };
}

/** Lanes that a WebSocket of our own server has: as many as would be needed on one connection, and no fewer than OpenAI's. */
function lanesOf(workload: Workload): number {
  return Math.max(standardLanes, streamsOf(workload));
}

/** One server for each engine among the arms, by its name. */
async function startServers(
  { options, pinning, engineVersions }: RunContext,
  workload: Workload,
  specs: readonly ArmSpec[],
  leftOut: LeftOut,
  open: Closable[],
): Promise<Map<string, Target>> {
  const targets = new Map<string, Target>();
  for (const engine of ["node", "uws", "own", "quiche"] as const) {
    const mine = specs.filter((spec) => spec.engine === engine);
    if (mine.length === 0) continue;
    try {
      const target = await startServerChild({
        protocols: [...new Set(mine.map(spokenToServer))],
        engine,
        ttft: workload.ttft,
        itl: workload.itl,
        outputTokens: workload.outputTokens,
        ...(workload.tape !== null && { tape: workload.tape }),
        maxConcurrentStreams: workload.server?.maxConcurrentStreams ?? Math.max(256, streamsOf(workload)),
        lanes: lanesOf(workload),
        ...(mine.some(({ deflates }) => deflates === true) && { flags: ["--ws-deflate"] }),
        ...(workload.server?.headerTableBytes !== undefined && { headerTableBytes: workload.server.headerTableBytes }),
        ...(workload.server?.batching !== undefined && { batching: workload.server.batching }),
        seed: options.seed,
        cpu: pinning?.server ?? null,
      });
      targets.set(engine, target);
      for (const [name, version] of Object.entries(target.engineVersions)) if (name !== "node") engineVersions.set(name, version);
      open.push(target);
    } catch (error) {
      // Where uWebSockets.js has no binary, or quiche is not installed, the others can still be compared.
      if ((engine !== "uws" && engine !== "quiche") || !(error instanceof RunError)) throw error;
      for (const { id } of mine) leftOut.set(id, `engine ${engine}: ${error.message}`);
    }
  }
  return targets;
}

function transportOf(protocol: ProtocolName): "tcp" | "udp" {
  return protocolTraits[protocol].isQuic ? "udp" : "tcp";
}

/** The networks in front of servers. Arms with the same network and origin take turns on one. */
class Networks {
  readonly #seed: number;
  readonly #open: Closable[];
  readonly #children = new Map<string, NetworkChild>();

  constructor(seed: number, open: Closable[]) {
    this.#seed = seed;
    this.#open = open;
  }

  /** The origin that leads through the network to `origin`, and the round-trip time on the way. */
  async through(network: NetworkInput, protocol: ProtocolName, origin: string): Promise<{ origin: string; rttMs: number }> {
    const impairment = parseNetwork(network, (key) => key);
    if (impairment === null) return { origin, rttMs: 0 };
    const key = JSON.stringify([origin, network, transportOf(protocol)]);
    const child = this.#children.get(key) ?? (await this.#start(key, network, protocol, origin));
    return { origin: child.origin, rttMs: roundTripMs(impairment) };
  }

  async #start(key: string, network: NetworkInput, protocol: ProtocolName, origin: string): Promise<NetworkChild> {
    const child = await startNetwork(origin, network, this.#seed, transportOf(protocol));
    this.#open.push({ close: async () => describeNetwork(protocol, await child.close()) });
    this.#children.set(key, child);
    return child;
  }
}

function viaKey({ via, engine }: ArmSpec): string {
  return JSON.stringify([via, engine]);
}

/** One proxy for each way that arms go; arms whose proxy cannot be started are left out. */
async function startGateways(
  { pinning }: RunContext,
  { workload }: Variant,
  specs: readonly ArmSpec[],
  upstreamOf: (spec: ArmSpec) => string | undefined,
  leftOut: LeftOut,
  open: Closable[],
): Promise<Map<string, GatewayChild>> {
  const started = new Map<string, GatewayChild>();
  for (const key of new Set(specs.filter(({ via }) => via !== undefined).map(viaKey))) {
    const mine = specs.filter((spec) => spec.via !== undefined && viaKey(spec) === key);
    const via = mine[0]!.via!;
    const upstream = upstreamOf(mine[0]!);
    if (upstream === undefined) continue;
    try {
      const gateway = await startGateway({
        via,
        upstream,
        protocols: [...new Set(mine.map(({ protocol }) => protocol))],
        maxConcurrentStreams: Math.max(256, streamsOf(workload)),
        // It belongs to the service, which has one core however it is built.
        cpu: pinning?.server ?? null,
      });
      started.set(key, gateway);
      open.push(gateway);
    } catch (error) {
      if (!(error instanceof RunError)) throw error;
      for (const { id } of mine) leftOut.set(id, error.message);
    }
  }
  return started;
}

/** The arm, on our own driver where the scenario's cannot do what the options made of it; a driver that was asked for stays. */
function fitting(context: RunContext, workload: Workload, arm: LiveArm, notes: string[]): LiveArm {
  if (arm.spec.driver === "stream" || context.options.driver !== null) return arm;
  const fits = arm.driver.supports(jobOf(context, workload, arm, 0, workload.rate));
  if (fits === true) return arm;
  notes.push(`${arm.spec.id}: on stream, because ${fits}`);
  return { ...arm, driver: driverOf(context, "stream"), description: { ...arm.description, driver: "stream" } };
}

/** A 99th percentile above this is no network's doing: something kept the proxy from the processor. */
const lateLimitUs = 5000;

/** What a network did, for people. */
function describeNetwork(protocol: ProtocolName, stats: NetworkStats | null): string {
  if (stats === null) return `network of ${protocol}: it did not say what it did`;
  const { lateUs, cpuUs } = stats;
  const late = lateUs === null ? "" : `, ${(lateUs.p50 / 1000).toFixed(2)} ms late at p50 and ${(lateUs.p99 / 1000).toFixed(2)} at p99`;
  const did = "flows" in stats ? flowsOf(stats) : connectionsOf(stats);
  const own = lateUs !== null && lateUs.p99 > lateLimitUs ? "; its own lateness is in the figures" : "";
  return `network of ${protocol}, warm-up included: ${did}${late}, ${(cpuUs / 1e6).toFixed(1)} s of CPU${own}`;
}

function connectionsOf({ connections, cuts, up, down }: ProxyStats): string {
  return `${connections} connections, ${up.stalls} stalls up and ${down.stalls} down, ${cuts} cuts`;
}

function flowsOf({ flows, up, down }: UdpProxyStats): string {
  const dropped = up.dropped + down.dropped;
  const lost = `${up.lost} of ${up.datagrams} datagrams lost up and ${down.lost} of ${down.datagrams} down`;
  return `${flows} flows, ${lost}${dropped === 0 ? "" : `, ${dropped} dropped for want of room`}`;
}

/** Headers of every request. */
function headersOf({ method, headerBytes, headerBytesDiffer, tokensPerChunk }: Workload, context: RunContext): Record<string, string> {
  return {
    ...(method === "POST" ? { "content-type": "application/json" } : {}),
    "user-agent": `fakeai-bench/${ownVersion()}`,
    ...(headerBytes > 0 && !headerBytesDiffer ? cookieOf(headerBytes, "") : {}),
    ...(tokensPerChunk === null ? {} : { "x-fakeai-tokens-per-chunk": String(tokensPerChunk) }),
    // A fakeai server that is not our child may have its stamps off.
    ...(context.external === null
      ? {}
      : {
          "x-fakeai-stamps": "1",
          ...(context.options.ttft === null ? {} : { "x-fakeai-ttft": context.options.ttft }),
          ...(context.options.itl === null ? {} : { "x-fakeai-itl": context.options.itl }),
        }),
    ...context.options.headers,
  };
}

/** How requests of an arm are worded. */
export function wordingOf(context: RunContext, arm: LiveArm): Wording {
  const { model, body } = context.options;
  const { accepted, spec } = arm;
  const own = context.external === null;
  // What a gateway does to the number of tokens is a finding, and no failure.
  const exact = own || (accepted.exact === true && spec.behind === null);
  const history = context.options.history ?? spec.history;
  return {
    model,
    own,
    accepted,
    exact,
    body,
    oneBody: arm.driver.name !== "stream",
    arm: spec.id,
    ...(history === undefined ? {} : { history }),
  };
}

/** Requests of a trace that the discarded warm-up sends; of an open loop those of a second, if they are more. */
const traceWarmup = 30;

/** Whether the whole load would be too long for a warm-up: a trace, a tape, sessions, and an open loop of more than a second. */
function isLong({ trace, tape, session, mode, requests }: Workload, rate: number | null): boolean {
  return trace !== null || tape !== null || session !== null || (mode === "open" && rate !== null && requests > rate);
}

/** Failed requests at which a round is given up. */
function maxErrorsOf({ maxErrors }: BenchOptions, requests: number, share: Share | null): { readonly maxErrors?: number } {
  if (maxErrors === null) return {};
  const { count } = maxErrors;
  return { maxErrors: count === null ? Math.floor(maxErrors.share! * requests) : share === null ? count : partOf(count, share) };
}

/** The job of an arm in a round; round -1 is the warm-up. */
export function jobOf(context: RunContext, workload: Workload, arm: LiveArm, round: number, rate: number | null): LoadJob {
  const { options } = context;
  const wording = wordingOf(context, arm);
  // A trace is long, and a part of it compiles code as well as the whole.
  const rampUpS = options.rampUp ?? 0;
  const share = context.meeting?.share ?? null;
  const most = round < 0 && isLong(workload, rate) ? Math.max(traceWarmup, Math.ceil(rate ?? 0)) : Infinity;
  const external = externalOf(context, arm.spec);
  const planned = requestsOf(workload, wording, options.seed, round, rate, round < 0 ? 0 : rampUpS, { share, most });
  // Only what is measured has parts that do not count.
  const { rampUp, coolDown } = round < 0 ? { rampUp: null, coolDown: null } : options;
  const { pipelining, atStreamLimit, windows, headerTableBytes, backgroundHeaders } = arm.spec;
  const background = backgroundOf(workload, backgroundHeaders, wording, options.seed, share);
  const connections = arm.description.connections ?? workload.streams;
  const waits = workload.tape === null ? { silentMs: 0, wholeMs: 0 } : tapeWaits(workload.tape);
  const perSlot = workload.session === null ? 1 : atOnce(workload.session);
  const slots = share === null ? workload.streams : partOf(workload.streams, share);
  const rampUs = Math.max(workload.rampMs * 1000, workload.mode === "closed" ? (rampUp ?? 0) * 1e6 : 0);
  return {
    endpoint: {
      origin: arm.origin,
      protocol: arm.spec.protocol,
      path: arm.pathOf(workload.path),
      method: workload.method,
      headers: { ...headersOf(workload, context), ...arm.spec.headers },
      ...(headerTableBytes === undefined ? {} : { headerTableBytes }),
      ...(external === null ? { lanes: lanesOf(workload) } : {}),
      ...(arm.spec.deflates === undefined ? {} : { deflates: arm.spec.deflates }),
      tls: arm.tls,
      ...(options.targetHosts.length === 0 ? {} : { hosts: options.targetHosts }),
      ...(options.targetHosts.length === 0 || share === null ? {} : { hostsFrom: { first: share.shard - 1, step: share.of } }),
    },
    // A shard needs a connection, however few there are.
    connections: share === null ? connections : Math.max(1, partOf(connections, share)),
    reuse: arm.spec.reuse,
    streams: slots * perSlot,
    ...(perSlot === 1 ? {} : { slots }),
    ...(workload.session !== null && callsTools(workload.session) ? { tools: toolsOf(workload, options.seed) } : {}),
    mode: workload.mode,
    warmup: warmupOf(workload, wording, options.seed, round, share),
    rampUs,
    ...(share === null || rampUs === 0 ? {} : { rampFromUs: ((share.shard - 1) * rampUs) / workload.streams }),
    ...(rampUp === null ? {} : { rampUpUs: rampUp * 1e6 }),
    ...(coolDown === null ? {} : { coolDownUs: coolDown * 1e6 }),
    ...(options.slo === null ? {} : { slo: parseSlo(options.slo) }),
    ...maxErrorsOf(options, planned.length, share),
    ...(pipelining === undefined ? {} : { pipelining }),
    ...(atStreamLimit === undefined ? {} : { atStreamLimit }),
    ...(windows === undefined ? {} : { windows }),
    ...(background === null ? {} : { background }),
    ...(arm.spec.via === undefined && arm.spec.behind === null ? {} : { gateway: true }),
    requests: planned.map((request) => (request.path === undefined ? request : { ...request, path: arm.pathOf(request.path) })),
    idleTimeoutMs: options.idleTimeoutMs + waits.silentMs,
    requestTimeoutMs: options.requestTimeoutMs + waits.wholeMs,
    stream: workload.stream,
    detail: context.details,
    tokenizer: options.tokenizer,
    clock: clockIdentity,
    // Where one of several servers has our clock, the others need not.
    ...(external?.clock === "foreign" || (external?.clock === "ours" && options.targetHosts.length > 0)
      ? { clockPath: arm.pathOf("/health/clock") }
      : {}),
  };
}
