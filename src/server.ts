/** The composition root: from options to routes, a pacer and listeners. */
import { ApiError } from "./api/openai/errors.ts";
import { Generator } from "./api/openai/generate.ts";
import { openAiRoutes } from "./api/openai/routes.ts";
import { sendJson } from "./api/answer.ts";
import { type LiveState, operationsRoutes } from "./api/operations.ts";
import { type Certificate, localhostCertificate, readCertificate } from "./certificate.ts";
import { clockIdentity, SystemClock } from "./clock.ts";
import { freePorts, resolveConfig, type ServerConfig, type ServerOptions, UsageError } from "./config.ts";
import { Meter } from "./core/meter.ts";
import { Pacer } from "./core/pacer.ts";
import type { Engine, Protocol, ProtocolListener, RequestHandler, ResponseSink, Route, RouteRequest } from "./core/seams.ts";
import { NodeListener } from "./listeners/node.ts";
import { Bounds } from "./listeners/bounds.ts";
import { loadUws, UwsListener, uwsMaxHeadBytes } from "./listeners/uws.ts";
import { refusalError } from "./refusals.ts";

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
}

export interface FakeAiServer extends AsyncDisposable {
  readonly listening: readonly Listening[];
  /** Origins by protocol. */
  readonly urls: Readonly<Partial<Record<Protocol, string>>>;
  /** The certificate that clients of h1s and h2 must trust (path of a PEM file); null where they need none. */
  readonly caPath: string | null;
  /** What is in force. */
  readonly config: ServerConfig;
  /** One line each on what is not as a user might expect. */
  readonly notices: readonly string[];
  stats(): ServerStats;
  /** Stops accepting, lets responses finish for up to `graceMs` (default: the option `grace`), then cuts the rest. */
  close(graceMs?: number): Promise<void>;
}

/**
 * Starts a server. Ports are free ones unless given. Throws UsageError for options that cannot be used, and an error
 * with the code EADDRINUSE where a port is taken.
 */
export async function createServer(options: ServerOptions = {}): Promise<FakeAiServer> {
  return startServer(resolveConfig(options, freePorts));
}

/** Starts what a settled configuration says. */
export async function startServer(config: ServerConfig): Promise<FakeAiServer> {
  const notices: string[] = [];
  const certificate = await findCertificate(config);
  const clock = new SystemClock();
  const meter = new Meter();
  const pacer = new Pacer(clock, meter, { stallTimeoutUs: config.limits.stallTimeoutMs * 1000 });
  const generator = new Generator(config.model, clockIdentity, () => Math.floor(Date.now() / 1000));
  const listeners: ProtocolListener[] = [];
  const bounds = new Bounds(config.limits);
  let draining = false;
  const live = (): LiveState => ({
    running: pacer.running,
    draining,
    bufferedBytes: bounds.bufferedBytes,
    listeners,
    process: processState(),
  });
  const handler = createHandler(
    [...openAiRoutes(generator, config.model, pacer, meter), ...operationsRoutes(meter, config.model.models?.[0] ?? "fakeai", live)],
    meter,
  );
  await addListeners(config, bounds, certificate, handler, listeners, notices);
  const listening: Listening[] = [];
  try {
    for (const [index, { port }] of config.endpoints.entries()) {
      const listener = listeners[index]!;
      const bound = await listener.listen({ host: config.host, port });
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
    config,
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
      };
    },
    close,
    [Symbol.asyncDispose]: () => close(),
  };
}

async function findCertificate({ endpoints, tls }: ServerConfig): Promise<Certificate | null> {
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
): Promise<void> {
  const h1Asked = config.endpoints.some(({ protocol }) => protocol === "h1" || protocol === "h1s");
  const uws = h1Asked && config.h1Engine !== "node" ? await loadUws() : null;
  if (h1Asked && uws === null && config.h1Engine !== "node") {
    const why = `uWebSockets.js has no binary for Node ${process.versions.node} on ${process.platform}-${process.arch}`;
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

/** Finds the route; answers what no route does. */
function createHandler(routes: readonly Route[], meter: Meter): RequestHandler {
  const exact = new Map<string, Route[]>();
  for (const route of routes) exact.set(route.path, [...(exact.get(route.path) ?? []), route]);
  const prefixed = routes.filter((route) => route.path.endsWith("/*"));

  const find = (path: string): readonly Route[] =>
    exact.get(path) ?? prefixed.filter((route) => path.startsWith(route.path.slice(0, -1)) && path.length >= route.path.length);

  const dispatch = (request: RouteRequest, body: Uint8Array, sink: ResponseSink): void => {
    const candidates = find(request.path);
    if (candidates.length === 0)
      throw new ApiError(404, `Invalid URL (${request.method} ${request.path.slice(0, 256)})`, null, "unknown_url");
    const method = request.method === "HEAD" ? "GET" : request.method;
    const route = candidates.find((candidate) => candidate.method === method);
    if (!route) {
      const allowed = candidates.map((candidate) => (candidate.method === "GET" ? "GET, HEAD" : candidate.method)).join(", ");
      throw new ApiError(
        405,
        `Not allowed to ${request.method} on ${request.path.slice(0, 256)} (HINT: Perhaps you meant to use a different HTTP method?)`,
        null,
        "method_not_allowed",
        { allow: allowed },
      );
    }
    route.handle(request, body, sink);
  };
  const guarded = (sink: ResponseSink, action: () => void): void => {
    try {
      action();
    } catch (error) {
      const answer =
        error instanceof ApiError
          ? error
          : new ApiError(500, "The server had an error while processing your request.", null, "internal_error");
      if (answer !== error) process.emitWarning(error as Error);
      sendJson(sink, meter, answer.status, answer.toJson(), answer.headers);
    }
  };
  return {
    handle: (request, body, sink) => guarded(sink, () => dispatch(request, body, sink)),
    refuse: (reason, _request, sink) =>
      guarded(sink, () => {
        throw refusalError(reason);
      }),
  };
}

function processState(): LiveState["process"] {
  const cpu = process.cpuUsage();
  return {
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    rssBytes: process.memoryUsage.rss(),
    startSeconds: Math.round((performance.timeOrigin / 1000) * 1000) / 1000,
  };
}
