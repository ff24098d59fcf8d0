/** The composition root: from options to routes, a pacer and listeners. It makes the parts and joins them, nothing else. */
import { availableParallelism, loadavg } from "node:os";
import { Activity, type ServerStats } from "./activity.ts";
import { adminCheck } from "./admin-check.ts";
import { createHandler, RouteTable } from "./dispatch.ts";
import { FaultInjector } from "./fault-injector.ts";
import { Gate, ownerOf } from "./gate.ts";
import { changedConfig, showKnobs } from "./knobs.ts";
import { servedProtocols } from "../core/protocols.ts";
import { chooseEngines, createListeners, type Engines, findCertificate, listenAll, type Listening, trustOf } from "./listening.ts";
import { type ReceivedRequests, RequestLog } from "./request-log.ts";
import { rehearse } from "./rehearsal.ts";
import { ReplyDesk } from "./reply-desk.ts";
import { StreamLog } from "./stream-log.ts";
import { loadTokenizer } from "./tokenizer.ts";
import { Generator } from "../api/openai/generate.ts";
import { type Administration, administrationRoutes } from "../api/operations/administration.ts";
import { Dashboard, dashboardRoutes } from "../api/operations/dashboard/routes.ts";
import { healthRoutes } from "../api/operations/health.ts";
import { type LiveState, metricsRoute, renderMetrics, shownOf } from "../api/operations/metrics.ts";
import { adminRequestsRoutes, type RequestAdministration } from "../api/operations/admin-requests.ts";
import { mostStored, ResponseStore, type StoreOf } from "../api/openai/response-store.ts";
import { ConversationMemory } from "../api/openai/realtime/conversation.ts";
import type { RealtimeOptions } from "../api/openai/realtime/socket.ts";
import type { SocketOptions } from "../api/openai/responses-socket.ts";
import { providerRoutes, socketRoutes } from "../api/routes.ts";
import { Cors } from "../api/shared/cors.ts";
import { type ProfileName, type RequestCounter, StridedCounter } from "../api/shared/model-settings.ts";
import type { Tokenizer } from "../api/shared/prompt.ts";
import type { Replies } from "../api/shared/replies.ts";
import type { Certificate } from "../base/certificate.ts";
import { clockIdentity, monotonicUs, SystemClock } from "../base/clock.ts";
import { KeyRing } from "../base/keys.ts";
import { UsageError } from "../base/usage-error.ts";
import { LocalRateLimiter, type RateLimiter } from "../core/limits/rate-limit.ts";
import { Meter, type MeterSnapshot } from "../core/pacing/meter.ts";
import { Pacer } from "../core/pacing/pacer.ts";
import { BatchScheduler } from "../core/pacing/scheduler.ts";
import { seedOf } from "../core/random/random.ts";
import type { Protocol, RequestHandler } from "../core/seams.ts";
import { openFileLimit, openFiles } from "../base/proc.ts";
import { Bounds } from "../listeners/bounds.ts";
import { OpenFiles, roomNotice } from "../listeners/open-files.ts";
import { checkOptionNames } from "../settings/aliases.ts";
import type { ServerOptions } from "../settings/options.ts";
import type { GivenReplies } from "../settings/replies.ts";
import { readRecording } from "../settings/recording.ts";
import { freePorts, resolveConfig, type ServerConfig } from "../settings/server.ts";

export interface FakeAiServer extends AsyncDisposable {
  readonly listening: readonly Listening[];
  /** Origins by protocol. */
  readonly urls: Readonly<Partial<Record<Protocol, string>>>;
  /** The certificate that clients of h1s and h2 must trust (path of a PEM file); null where they need none. */
  readonly caPath: string | null;
  /** The same certificate as PEM text, also where no file could be written; null where clients need none. */
  readonly ca: string | null;
  /** What is in force at the moment. */
  readonly config: ServerConfig;
  /** One line for each thing that is not as a user might expect. */
  readonly notices: readonly string[];
  stats(): ServerStats;
  /** What came in; empty without the option `keepRequests`. */
  readonly requests: ReceivedRequests;
  /** When each token of each stream was due and was sent; records after its `begin`. */
  readonly streamLog: Pick<StreamLog, "begin" | "read">;
  /** Changes knobs by their flags' names, as POST /admin/config does: all or none. Throws an Error that names the knob. */
  changeKnobs(changes: Readonly<Record<string, unknown>>): void;
  /** Puts other rules for answers in force, all of them or none; their counts begin anew. Rejects with UsageError. */
  setReplies(replies: GivenReplies): Promise<void>;
  /** Stops accepting, lets responses finish for up to `graceMs` (default: the option `grace`), then cuts the rest. */
  close(graceMs?: number): Promise<void>;
}

/** What a server has counted and what it is doing, as JSON carries it. */
export interface ServerSnapshot {
  readonly meter: MeterSnapshot;
  readonly live: LiveState;
}

/** What a server has in common with sibling processes that share its ports. */
export interface Siblings {
  /** All show the same one. */
  readonly certificate: Certificate | null;
  /** A count of requests that starts anew: each number belongs to one process only. */
  newCounter(): RequestCounter;
  readonly limiter: RateLimiter;
  /** The exposition text of all. */
  metrics(): Promise<string>;
  /** Changes knobs in all, this one included, by `changeKnobs`. Rejects with ApiError. */
  change(changes: Readonly<Record<string, unknown>>): Promise<void>;
}

/** A server as its own process sees it. */
export interface StartedServer extends FakeAiServer {
  readonly requests: RequestLog;
  snapshot(): ServerSnapshot;
  /** The exposition text of `/metrics`. */
  metrics(): string | Promise<string>;
  /** Changes knobs in this process: all of it or nothing. Throws ApiError. */
  changeKnobs(changes: Readonly<Record<string, unknown>>): void;
  readonly streamLog: StreamLog;
}

/**
 * Starts a server. Ports are free ones unless given. Throws UsageError for options that cannot be used, and an error
 * with the code EADDRINUSE where a port is taken.
 */
export async function createServer(options: ServerOptions = {}): Promise<FakeAiServer> {
  checkOptionNames(options);
  const recording = options.latencyFrom === undefined ? null : await readRecording(options.latencyFrom);
  const config = resolveConfig(options, freePorts, recording);
  if (config.workers > 1) throw new UsageError("--workers: createServer starts one process; start `fakeai serve --workers` for more");
  return startServer(config);
}

/**
 * Starts what a settled configuration says, in this process alone. `siblings`: other processes serve the same ports. `tell` gets a
 * line for the operator where something happens later that a client only feels.
 */
export async function startServer(
  initial: ServerConfig,
  siblings: Siblings | null = null,
  tell: (line: string) => void = (line) => process.emitWarning(line),
): Promise<StartedServer> {
  const shared = siblings !== null;
  const certificate = siblings === null ? await findCertificate(initial) : siblings.certificate;
  const engines = await chooseEngines(initial, certificate, shared);
  const tokenizer = initial.tokenizer === null ? null : await loadTokenizer(initial.tokenizer);
  const parts = createParts(initial, engines, siblings);
  const { meter, streamLog, limiter, activity } = parts;
  const desk = new ReplyDesk({ batched: initial.scheduler !== null, places: engines.places, tell });
  if (initial.replies !== null) await desk.set(initial.replies);
  const { replies } = desk;
  const requests = new RequestLog(initial.keepRequests);
  // Only a server that replays loads what reads tapes.
  const replay = initial.replay === null ? null : await (await import("./replay-desk.ts")).ReplayDesk.of(initial.replay, shared);

  let config = initial;
  const newCounter = (): RequestCounter => numbered(siblings?.newCounter() ?? new StridedCounter(), initial.numbering);
  const injector = new FaultInjector(
    () => ({ faults: config.faults, seed: config.model.seed, profile: config.model.profile }),
    streamLog,
    meter,
    { requests: newCounter(), heads: newCounter() },
    replies,
  );
  const check = config.admin && adminCheck(config.admin.token);
  // Rules count in the process that answers.
  const replyAdministration = check !== null && siblings === null ? desk.administration(check) : null;
  const requestAdministration =
    check !== null && requests.isOn ? { check, page: (after: number) => requests.page(after), clear: () => requests.clear() } : null;
  const administration = check && {
    check,
    show: () => showKnobs(config),
    change: (changes: Readonly<Record<string, unknown>>) => (siblings === null ? changeKnobs(changes) : siblings.change(changes)),
  };
  const counter = newCounter();
  // Each process has its own memory.
  const memory = new ResponseStore(mostStored, initial.maxStoredBytes);
  const keys = config.apiKeys && new KeyRing(config.apiKeys);
  const storeOf: StoreOf = (request) => memory.ownedBy(ownerOf(request, keys));
  const metrics = (): string | Promise<string> =>
    siblings === null ? renderMetrics(meter, shownOf(config), activity.live()) : siblings.metrics();
  const dashboard = new Dashboard(metrics);
  const routesOf = (config: ServerConfig): RouteTable =>
    createRoutes(config, {
      ...parts,
      injector,
      replies,
      requests,
      administration,
      replyAdministration,
      requestAdministration,
      tokenizer,
      counter,
      storeOf: siblings === null ? storeOf : null,
      metrics,
      dashboard,
    });
  let routes = routesOf(config);
  /** Swaps everything at once: what can fail is done before anything changes. */
  const changeKnobs = (changes: Readonly<Record<string, unknown>>): void => {
    const changed = changedConfig(config, changes, engines.places);
    const changedRoutes = routesOf(changed);
    config = changed;
    routes = changedRoutes;
    limiter.setLimits(changed.rateLimits);
  };

  const profile = (): ProfileName => config.model.profile;
  /** Known when all listen. */
  let altSvc: Readonly<Record<string, string>> | null = null;
  const socketOptions: SocketOptions & RealtimeOptions = {
    // Each message goes the way of a request, as whatever watches those sees it.
    handle: (request, body, sink) => handler.handle(request, body, sink),
    profile,
    settings: () => config.model,
    store: memory,
    conversations: new ConversationMemory(initial.maxStoredBytes),
    storeOf,
    isShared: siblings === null,
    ...initial.webSocket,
    limits: initial.limits,
    later: setImmediate,
  };
  const dispatcher = createHandler({
    routes: () => routes,
    sockets: socketRoutes(socketOptions),
    announced: (request) =>
      altSvc !== null && request !== null && servedProtocols[request.protocol].isEncrypted && request.protocol !== "h3" ? altSvc : null,
    profile,
    gate: new Gate({ keys, limiter, meter, profile }),
    injector,
    replies,
    replay: replay === null ? null : { desk: replay, sender: requests.isOn ? requests.watchPlans(injector) : injector },
    stamps: () => config.model.stamps,
    meter,
    limits: initial.limits,
    cors: initial.cors && new Cors(initial.cors),
    onFault: reportFault,
  });
  const handler: RequestHandler = requests.watch(streamLog.watch(dispatcher));
  const listeners = createListeners(engines, initial, certificate, handler, parts.bounds);
  activity.listeners = listeners;
  const warmth = initial.warm ? await warmUp(initial) : [];
  const listening = await listenAll(listeners, initial, engines, shared);
  const http3 = listening.find(({ protocol }) => protocol === "h3");
  // RFC 7838, section 3: the same host, for a day.
  if (initial.altSvc && http3 !== undefined) altSvc = { "alt-svc": `h3=":${portOf(http3.url)}"; ma=86400` };
  activity.listening = listening.map(({ protocol, url }) => ({ protocol, port: portOf(url) }));
  const files = filesOf(tell);
  parts.bounds.files = files;

  let closing: Promise<unknown> | null = null;
  const close = async (graceMs = config.graceMs): Promise<void> => {
    activity.draining = true;
    dashboard.close();
    await (closing ??= Promise.all(listeners.map((listener) => listener.close(graceMs))));
    files?.close();
    desk.close();
  };
  return {
    listening,
    urls: Object.fromEntries(listening.map(({ protocol, url }) => [protocol, url])),
    ...trustOf(certificate),
    get config() {
      return config;
    },
    notices: [
      ...(initial.timer === "precise" ? crowdedCores() : []),
      ...engines.notices,
      ...warmth,
      ...(replay === null ? [] : [replay.describe()]),
      ...roomNotices(files, initial),
    ],
    stats: () => activity.stats(),
    requests,
    setReplies: (given) => desk.set(given),
    snapshot: () => ({ meter: meter.snapshot(), live: activity.live() }),
    metrics,
    changeKnobs,
    streamLog,
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}

/** Warms this process's code; what became of it, in a line. A rehearsal that fails keeps no server from its audience. */
async function warmUp(config: ServerConfig): Promise<readonly string[]> {
  try {
    const { requests, tookMs, firstUs, bestUs } = await rehearse(config, (settings) => startServer(settings, null, () => {}));
    return [
      `warm after ${requests} requests to itself in ${Math.round(tookMs)} ms: ${Math.round(bestUs)} us of CPU for each, ${Math.round(firstUs)} at first`,
    ];
  } catch (error) {
    return [`--warm: not warm, the rehearsal failed: ${(error as Error).message}`];
  }
}

/** A replica's own numbers, between or beside those of others. */
function numbered(counter: RequestCounter, { first, stride }: ServerConfig["numbering"]): RequestCounter {
  return first === 0 && stride === 1 ? counter : { next: () => first + stride * counter.next() };
}

/** The parts of a server that stay the same while it runs. */
interface Parts {
  readonly meter: Meter;
  /** null: streams are independent. */
  readonly scheduler: BatchScheduler | null;
  readonly limiter: RateLimiter;
  readonly streamLog: StreamLog;
  readonly bounds: Bounds;
  readonly activity: Activity;
}

function createParts(config: ServerConfig, { places }: Engines, siblings: Siblings | null): Parts {
  const clock = new SystemClock(config.timer);
  const meter = new Meter();
  const scheduler = config.scheduler && new BatchScheduler(config.scheduler, seedOf(config.model.seed), meter);
  const pacer = new Pacer(clock, meter, {
    scheduler,
    stallTimeoutUs: config.limits.stallTimeoutMs * 1000,
    onFault: reportFault,
    ...(config.timer === "precise" ? { turnUs: 0 } : {}),
  });
  const bounds = new Bounds(config.limits);
  return {
    meter,
    scheduler,
    limiter: siblings?.limiter ?? new LocalRateLimiter(config.rateLimits, () => clock.nowUs()),
    streamLog: new StreamLog(
      pacer,
      places.every(({ engine }) => engine === "node"),
    ),
    bounds,
    activity: new Activity({ meter, pacer, scheduler, bounds }),
  };
}

/** What the routes need beside their configuration. */
interface RouteParts extends Pick<Parts, "meter" | "scheduler" | "activity"> {
  readonly injector: FaultInjector;
  /** null: there is no /admin/config. */
  readonly administration: Administration | null;
  readonly replies: Replies;
  readonly requests: RequestLog;
  /** null: there is no /admin/requests. */
  readonly requestAdministration: RequestAdministration | null;
  /** null: there is no /admin/replies. */
  readonly replyAdministration: Administration | null;
  readonly tokenizer: Tokenizer | null;
  /** Numbers the requests, over changes of the configuration. */
  readonly counter: RequestCounter;
  readonly storeOf: StoreOf | null;
  readonly metrics: () => string | Promise<string>;
  readonly dashboard: Dashboard;
}

/** The port of an origin, which leaves out the standard one of its scheme. */
function portOf(origin: string): number {
  const { port, protocol } = new URL(origin);
  return port === "" ? (protocol === "https:" ? 443 : 80) : Number(port);
}

/** The protocols of HTTP on whose port WebSocket is spoken: those that share it, and those that are there for its handshakes alone. */
function upgradingOf(endpoints: ServerConfig["endpoints"]): ReadonlySet<Protocol> {
  const isServed = (protocol: Protocol): boolean => endpoints.some((one) => one.protocol === protocol);
  return new Set(
    endpoints.flatMap(({ protocol, sharesPort }) => {
      const { upgradedFrom } = servedProtocols[protocol];
      return upgradedFrom !== null && (sharesPort || !isServed(upgradedFrom)) ? [upgradedFrom] : [];
    }),
  );
}

/** The routes of a configuration. A response goes on as planned when the routes that planned it are replaced. */
function createRoutes({ model, endpoints: listened }: ServerConfig, parts: RouteParts): RouteTable {
  const {
    meter,
    scheduler,
    activity,
    injector,
    administration,
    replies,
    requests,
    replyAdministration,
    requestAdministration,
    tokenizer,
    counter,
    storeOf,
    metrics,
    dashboard,
  } = parts;
  const settings = { ...model, replies, ...(tokenizer !== null && { tokenizer }), ...(scheduler !== null && { scheduler }) };
  const generator = new Generator(settings, clockIdentity, () => Math.floor(Date.now() / 1000), counter);
  const routes = [
    ...providerRoutes(
      generator,
      settings,
      requests.isOn ? requests.watchPlans(injector) : injector,
      meter,
      storeOf,
      () => activity.live().running,
      upgradingOf(listened),
    ),
    ...healthRoutes(
      meter,
      () => activity.draining,
      () => activity.listening,
      { name: clockIdentity, nowUs: monotonicUs },
    ),
    metricsRoute(meter, metrics),
    ...(administration === null ? [] : administrationRoutes("/admin/config", administration, meter)),
    ...(replyAdministration === null ? [] : administrationRoutes("/admin/replies", replyAdministration, meter)),
    ...(requestAdministration === null ? [] : adminRequestsRoutes(requestAdministration, meter)),
  ];
  const endpoints = routes.filter(({ isListed }) => isListed !== false).map(({ method, path }) => `${method} ${path}`);
  return new RouteTable([...routes, ...dashboardRoutes(dashboard, meter, endpoints)]);
}

/** What the system grants this process, now that it listens; null where it sets no limit, or does not say. */
function filesOf(tell: (line: string) => void): OpenFiles | null {
  const limit = openFileLimit();
  const used = openFiles();
  return limit === null || used === null ? null : new OpenFiles({ limit, used }, tell);
}

function roomNotices(files: OpenFiles | null, { options }: ServerConfig): string[] {
  const notice = files && roomNotice(files, options.maxConnections ?? null);
  return notice === null ? [] : [notice];
}

/** The precise timer takes a core for itself, and its clients need another. */
function crowdedCores(): string[] {
  const cores = availableParallelism();
  const free = cores - loadavg()[0]!;
  return free >= 2
    ? []
    : [`--timer precise spins on a core of its own: ${Math.max(0, free).toFixed(1)} of ${cores} cores are free, and it needs two`];
}

/** A defect of this program is for the operator to see, on stderr; its client gets a 500 or a cut stream. */
function reportFault(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : String(error));
}
