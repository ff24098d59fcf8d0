/** The composition root: from options to routes, a pacer and listeners. */
import { availableParallelism, loadavg } from "node:os";
import { adminCheck } from "./admin-check.ts";
import { FaultInjector, unfitFor } from "./fault-injector.ts";
import { Gate } from "./gate.ts";
import { KeyRing } from "../base/keys.ts";
import { adminConfigRoutes } from "../api/operations/admin-config.ts";
import { healthRoutes } from "../api/operations/health.ts";
import { errorAnswer } from "../api/errors/answers.ts";
import { ApiError, type Problem } from "../api/errors/api-error.ts";
import { Generator } from "../api/openai/generate.ts";
import { sendJson } from "../api/shared/answer.ts";
import { type ProfileName, type RequestCounter, StridedCounter } from "../api/shared/model.ts";
import { providerRoutes } from "../api/routes.ts";
import { type LiveState, metricsRoute, renderMetrics } from "../api/operations/metrics.ts";
import { type Certificate, localhostCertificate, readCertificate } from "../base/certificate.ts";
import { clockIdentity, monotonicUs, SystemClock } from "../base/clock.ts";
import { UsageError } from "../base/usage-error.ts";
import type { ServerOptions } from "../settings/options.ts";
import { freePorts, resolveConfig, type ServerConfig } from "../settings/server.ts";
import { BatchScheduler } from "../core/pacing/scheduler.ts";
import { Meter, type MeterSnapshot } from "../core/pacing/meter.ts";
import { Pacer } from "../core/pacing/pacer.ts";
import { seedOf } from "../core/random/random.ts";
import { LocalRateLimiter, type RateLimiter } from "../core/limits/rate-limit.ts";
import type { Engine, Protocol, ProtocolListener, Refusal, RequestHandler, ResponseSink, Route, RouteRequest } from "../core/seams.ts";
import { NodeListener } from "../listeners/node/listener.ts";
import { Bounds } from "../listeners/bounds.ts";
import { loadUws, UwsListener, uwsMaxHeadBytes } from "../listeners/uws/listener.ts";
import { readRecording } from "../settings/recording.ts";
import { changedConfig, showKnobs } from "./knobs.ts";
import { StreamLog } from "./stream-log.ts";
import { loadTokenizer } from "./tokenizer.ts";

/** One protocol that is being served. */
export interface Listening {
  readonly protocol: Protocol;
  readonly engine: Engine;
  /** Origin, without a path: "http://127.0.0.1:8000". */
  readonly url: string;
}

/** What a server has done and is doing. */
export interface ServerStats {
  /** Model responses under way. */
  readonly running: number;
  readonly openConnections: number;
  readonly openSessions: number;
  readonly openStreams: number;
  readonly finishedStreams: number;
  readonly abortedStreams: number;
  readonly promptTokens: number;
  readonly generationTokens: number;
  /** Responses begun, by status code. */
  readonly statuses: Readonly<Record<number, number>>;
  /** Faults on purpose that were made, by name. */
  readonly faults: ReadonlyMap<string, number>;
}

export interface FakeAiServer extends AsyncDisposable {
  readonly listening: readonly Listening[];
  /** Origins by protocol. */
  readonly urls: Readonly<Partial<Record<Protocol, string>>>;
  /** The certificate that clients of h1s and h2 must trust (path of a PEM file); null where they need none. */
  readonly caPath: string | null;
  /** What is in force at the moment. */
  readonly config: ServerConfig;
  /** One line each on what is not as a user might expect. */
  readonly notices: readonly string[];
  stats(): ServerStats;
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
  snapshot(): ServerSnapshot;
  /** Changes knobs in this process: all of it or nothing. Throws ApiError. */
  changeKnobs(changes: Readonly<Record<string, unknown>>): void;
  readonly streamLog: StreamLog;
}

/**
 * Starts a server. Ports are free ones unless given. Throws UsageError for options that cannot be used, and an error
 * with the code EADDRINUSE where a port is taken.
 */
export async function createServer(options: ServerOptions = {}): Promise<FakeAiServer> {
  const recording = options.latencyFrom === undefined ? null : await readRecording(options.latencyFrom);
  const config = resolveConfig(options, freePorts, recording);
  if (config.workers > 1) throw new UsageError("--workers: createServer starts one process; start `fakeai serve --workers` for more");
  return startServer(config);
}

/** Starts what a settled configuration says, in this process alone. */
export async function startServer(initial: ServerConfig, siblings: Siblings | null = null): Promise<StartedServer> {
  let config = initial;
  const notices: string[] = [];
  const certificate = await findCertificate(config);
  const clock = new SystemClock(config.timer);
  const meter = new Meter();
  const scheduler = config.scheduler && new BatchScheduler(config.scheduler, seedOf(config.model.seed), meter);
  const pacer = new Pacer(clock, meter, {
    scheduler,
    stallTimeoutUs: config.limits.stallTimeoutMs * 1000,
    onFault: reportFault,
    ...(config.timer === "precise" ? { turnUs: 0 } : {}),
  });
  if (config.timer === "precise") notices.push(...crowdedCores());
  const limiter = siblings?.limiter ?? new LocalRateLimiter(config.rateLimits, () => clock.nowUs());
  const profile = (): ProfileName => config.model.profile;
  const gate = new Gate({ keys: config.apiKeys && new KeyRing(config.apiKeys), limiter, meter, profile });
  const tokenizer = config.tokenizer === null ? {} : { tokenizer: await loadTokenizer(config.tokenizer) };
  const newCounter = (): RequestCounter => siblings?.newCounter() ?? new StridedCounter();
  const counter = newCounter();
  const listeners: ProtocolListener[] = [];
  const streamLog = new StreamLog(pacer, () => listeners.every(({ engine }) => engine === "node"));
  const injector = new FaultInjector(
    () => ({ faults: config.faults, seed: config.model.seed, profile: config.model.profile }),
    streamLog,
    meter,
    { requests: newCounter(), heads: newCounter() },
  );
  const bounds = new Bounds(config.limits);
  let draining = false;
  const live = (): LiveState => ({
    running: scheduler?.running ?? pacer.running,
    scheduler: scheduler && { waiting: scheduler.waiting(monotonicUs()), cacheUsage: scheduler.cacheUsage },
    draining,
    bufferedBytes: bounds.bufferedBytes,
    listeners: listeners.map(({ protocol, engine, counts }) => ({ protocol, engine, counts })),
    process: processState(),
  });
  const administration = config.admin && {
    check: adminCheck(config.admin.token),
    show: () => showKnobs(config),
    change: (changes: Readonly<Record<string, unknown>>) => (siblings === null ? changeKnobs(changes) : siblings.change(changes)),
  };
  /** The routes of a configuration. A response that one of them planned goes on as planned when it is replaced. */
  const routesOf = ({ model }: ServerConfig): RouteTable => {
    const settings = { ...model, ...tokenizer, ...(scheduler !== null && { scheduler }) };
    const name = model.models?.[0] ?? "fakeai";
    const metrics = (): string | Promise<string> => (siblings === null ? renderMetrics(meter, name, live()) : siblings.metrics());
    const generator = new Generator(settings, clockIdentity, () => Math.floor(Date.now() / 1000), counter);
    return new RouteTable([
      ...providerRoutes(generator, settings, injector, meter),
      ...healthRoutes(meter, () => draining),
      metricsRoute(meter, metrics),
      ...(administration === null ? [] : adminConfigRoutes(administration, meter)),
    ]);
  };
  let routes = routesOf(config);
  /** Swaps everything at once: what can fail is done before anything changes. */
  const changeKnobs = (changes: Readonly<Record<string, unknown>>): void => {
    const changed = changedConfig(config, changes, listeners);
    const changedRoutes = routesOf(changed);
    config = changed;
    routes = changedRoutes;
    limiter.setLimits(changed.rateLimits);
  };
  const handler = createHandler(() => routes, gate, injector, meter, profile);
  const shared = siblings !== null;
  await addListeners(config, bounds, certificate, streamLog.watch(handler), listeners, notices, shared);
  const listening: Listening[] = [];
  try {
    for (const [index, { port }] of config.endpoints.entries()) {
      const listener = listeners[index]!;
      const bound = await listener.listen({ host: config.host, port, shared });
      const scheme = listener.protocol === "h1" || listener.protocol === "h2c" ? "http" : "https";
      const host = config.host.includes(":") ? `[${config.host}]` : config.host;
      listening.push({ protocol: listener.protocol, engine: listener.engine, url: `${scheme}://${host}:${bound}` });
    }
  } catch (error) {
    await Promise.all(listeners.map((listener) => listener.close(0)));
    throw error;
  }

  let closing: Promise<unknown> | null = null;
  const close = async (graceMs = config.graceMs): Promise<void> => {
    draining = true;
    await (closing ??= Promise.all(listeners.map((listener) => listener.close(graceMs))));
  };
  return {
    listening,
    urls: Object.fromEntries(listening.map(({ protocol, url }) => [protocol, url])),
    caPath: certificate?.selfSigned ? certificate.certPath : null,
    get config() {
      return config;
    },
    notices,
    stats: () => {
      const sum = (pick: (listener: ProtocolListener) => number): number =>
        listeners.reduce((total, listener) => total + pick(listener), 0);
      return {
        running: pacer.running,
        openConnections: sum((listener) => listener.counts.connections),
        openSessions: sum((listener) => listener.counts.sessions),
        openStreams: sum((listener) => listener.counts.streams),
        finishedStreams: meter.finished.stop + meter.finished.length,
        abortedStreams: meter.abortedStreams,
        promptTokens: meter.promptTokens,
        generationTokens: meter.generationTokens,
        statuses: Object.fromEntries(meter.statuses),
        faults: new Map(meter.faults),
      };
    },
    snapshot: () => ({ meter: meter.snapshot(), live: live() }),
    changeKnobs,
    streamLog,
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}

/** The precise timer takes a core for itself, and its clients need another. */
function crowdedCores(): string[] {
  const cores = availableParallelism();
  const free = cores - loadavg()[0]!;
  return free >= 2
    ? []
    : [`--timer precise spins on a core of its own: ${Math.max(0, free).toFixed(1)} of ${cores} cores are free, and it needs two`];
}

/** The certificate that the protocols need; null: none. Throws UsageError. */
export async function findCertificate({ endpoints, tls }: ServerConfig): Promise<Certificate | null> {
  if (tls) return readCertificate(tls.cert, tls.key);
  return endpoints.some(({ protocol }) => protocol === "h1s" || protocol === "h2") ? localhostCertificate() : null;
}

async function addListeners(
  config: ServerConfig,
  bounds: Bounds,
  certificate: Certificate | null,
  handler: RequestHandler,
  listeners: ProtocolListener[],
  notices: string[],
  shared: boolean,
): Promise<void> {
  const h1Asked = config.endpoints.some(({ protocol }) => protocol === "h1" || protocol === "h1s");
  // Elsewhere the kernel does not deal connections out among the processes that share a port.
  const sharable = !shared || process.platform === "linux";
  const uws = h1Asked && config.h1Engine !== "node" && sharable ? await loadUws() : null;
  if (h1Asked && uws === null && config.h1Engine !== "node") {
    const why = !sharable
      ? "uWebSockets.js shares ports among workers on Linux only"
      : `uWebSockets.js has no binary for Node ${process.versions.node} on ${process.platform}-${process.arch}`;
    if (config.h1Engine === "uws") throw new UsageError(`--h1-engine uws: ${why}; use --h1-engine node`);
    notices.push(`${why}: h1 and h1s run on node:http`);
  }
  if (uws !== null && config.notOnUws.length > 0) {
    throw new UsageError(`${config.notOnUws.join(", ")}: uWebSockets.js itself closes near 11 s; use --h1-engine node, or leave it out`);
  }
  if (uws !== null && config.limits.maxHeadBytes > uwsMaxHeadBytes()) {
    throw new UsageError(
      `--max-head: uWebSockets.js was loaded for heads up to ${uwsMaxHeadBytes()}; set UWS_HTTP_MAX_HEADERS_SIZE before the start, or use --h1-engine node`,
    );
  }
  const engineOf = (protocol: Protocol): Engine => (uws !== null && (protocol === "h1" || protocol === "h1s") ? "uws" : "node");
  const unfit = unfitFor(
    config.faults,
    config.endpoints.map(({ protocol }) => ({ protocol, engine: engineOf(protocol) })),
  );
  if (unfit !== null) throw new UsageError(unfit);
  for (const { protocol } of config.endpoints) {
    const secure = protocol === "h1s" || protocol === "h2";
    if (uws !== null && (protocol === "h1" || protocol === "h1s")) {
      const tls = secure ? { cert: certificate!.certPath, key: certificate!.keyPath } : null;
      listeners.push(new UwsListener(uws, tls, handler, bounds));
    } else {
      listeners.push(new NodeListener(protocol, secure ? certificate : null, handler, bounds));
    }
  }
}

/** Finds routes by path. */
class RouteTable {
  readonly #exact = new Map<string, Route[]>();
  readonly #prefixed: readonly Route[];

  constructor(routes: readonly Route[]) {
    for (const route of routes) this.#exact.set(route.path, [...(this.#exact.get(route.path) ?? []), route]);
    this.#prefixed = routes.filter((route) => route.path.endsWith("/*"));
  }

  find(path: string): readonly Route[] {
    return (
      this.#exact.get(path) ??
      this.#prefixed.filter((route) => path.startsWith(route.path.slice(0, -1)) && path.length >= route.path.length)
    );
  }
}

const noBody = new Uint8Array();

/** Asks the gate, finds the route, answers what no route does. */
function createHandler(
  routes: () => RouteTable,
  gate: Gate,
  injector: FaultInjector,
  meter: Meter,
  profile: () => ProfileName,
): RequestHandler {
  const dispatch = (request: RouteRequest, body: Uint8Array, sink: ResponseSink): void => {
    const faulty = injector.meet(request, body, sink);
    if (faulty === null) return;
    const candidates = routes().find(request.path);
    const { method, path } = request;
    if (candidates.length === 0) throw new ApiError({ kind: "unknown-url", method, path });
    const route = candidates.find((candidate) => candidate.method === (method === "HEAD" ? "GET" : method));
    if (!route) {
      const allow = candidates.map((candidate) => (candidate.method === "GET" ? "GET, HEAD" : candidate.method)).join(", ");
      throw new ApiError({ kind: "method-not-allowed", method, path, allow });
    }
    route.handle(request, body, faulty)?.catch((error: unknown) => fail(request, faulty, error));
  };
  const answer = (request: RouteRequest | null, sink: ResponseSink, problem: Problem): void => {
    const { status, json, headers } = errorAnswer(problem, { path: request?.path ?? "", profile: profile() });
    sendJson(sink, meter, status, json, headers);
  };
  /** Answers an ApiError with its problem; any other error is a fault of the server. */
  const fail = (request: RouteRequest | null, sink: ResponseSink, error: unknown): void => {
    if (!(error instanceof ApiError)) reportFault(error);
    answer(request, sink, error instanceof ApiError ? error.problem : { kind: "internal" });
  };
  const guarded = (request: RouteRequest | null, sink: ResponseSink, action: () => void): void => {
    try {
      action();
    } catch (error) {
      fail(request, sink, error);
    }
  };
  /** Another process is asked whether the request is let in. */
  const later = (
    admission: Promise<boolean>,
    request: RouteRequest,
    body: Uint8Array,
    sink: ResponseSink,
    then: (body: Uint8Array) => void,
  ): void => {
    // The listener takes its bytes back when the call that brought them returns.
    const kept = new Uint8Array(body);
    void admission.then(
      (admitted) => guarded(request, sink, () => admitted && then(kept)),
      (error: unknown) => fail(request, sink, error),
    );
  };
  /** Does what `then` says when the gate lets the request in. */
  const admitted = (request: RouteRequest, body: Uint8Array, sink: ResponseSink, then: (body: Uint8Array) => void): void =>
    guarded(request, sink, () => {
      const admission = gate.admit(request, body, sink);
      if (admission === true) then(body);
      else if (admission !== false) later(admission, request, body, sink, then);
    });
  /** A connection or head that was refused before there was a request has shown no key. */
  const refused = (reason: Refusal, request: RouteRequest | null, sink: ResponseSink): void => {
    const refuse = (): void => answer(request, sink, { kind: "refused", reason });
    if (request === null) guarded(request, sink, refuse);
    else admitted(request, noBody, sink, refuse);
  };
  return {
    withholds: (request) => injector.withholds(request),
    handle: (request, body, sink) => {
      let admission: boolean | Promise<boolean>;
      try {
        admission = gate.admit(request, body, sink);
        if (admission === true) dispatch(request, body, sink);
      } catch (error) {
        fail(request, sink, error);
        return;
      }
      if (typeof admission !== "boolean") later(admission, request, body, sink, (body) => dispatch(request, body, sink));
    },
    refuse: refused,
  };
}

/** A fault of ours is for whoever runs the server to see, on stderr; its client gets a 500 or a cut stream. */
function reportFault(error: unknown): void {
  process.emitWarning(error instanceof Error ? error : String(error));
}

function processState(): LiveState["process"] {
  const cpu = process.cpuUsage();
  return {
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    rssBytes: process.memoryUsage.rss(),
    startSeconds: Math.round((performance.timeOrigin / 1000) * 1000) / 1000,
  };
}
