/** From a request to its answer: the gate, then faults on purpose, then the route. */
import type { FaultInjector } from "./fault-injector.ts";
import { clockIdentity } from "../base/clock.ts";
import { instanceId } from "../base/instance.ts";
import { type Gate, isOpenPath } from "./gate.ts";
import type { ReplayDesk } from "./replay-desk.ts";
import { errorAnswer } from "../api/errors/answers.ts";
import { ApiError, type Problem, type RequestLimits } from "../api/errors/api-error.ts";
import type { PlanSender } from "../api/routes.ts";
import { sendJson } from "../api/shared/answer.ts";
import { isPrepared, largeBodyBytes, prepareBody } from "../api/shared/body.ts";
import type { ProfileName } from "../api/shared/model-settings.ts";
import { booleanHeader, checkOwnNames, headerError } from "../api/shared/overrides.ts";
import { dialectOf } from "../api/shared/provider.ts";
import type { Replies } from "../api/shared/replies.ts";
import type { Cors } from "../api/shared/cors.ts";
import type { Meter } from "../core/pacing/meter.ts";
import type { AdmittedHandshake, RequestHandler, ResponseSink, Route, RouteRequest, SocketRoute } from "../core/seams.ts";
import { hasToken } from "../listeners/upgrade.ts";

/** Finds routes by path. */
export class RouteTable {
  readonly #exact = new Map<string, Route[]>();
  readonly #prefixed: readonly Route[];
  /** The path asked for last: most requests have that of the one before. Comparing it costs less than its hash. */
  #lastPath = "";
  #lastFound: readonly Route[] | undefined;

  constructor(routes: readonly Route[]) {
    for (const route of routes) this.#exact.set(route.path, [...(this.#exact.get(route.path) ?? []), route]);
    this.#prefixed = routes.filter((route) => route.path.endsWith("/*"));
  }

  /** The routes of a path, one for each method; an exact path wins over a prefix. */
  find(path: string): readonly Route[] {
    if (path === this.#lastPath && this.#lastFound !== undefined) return this.#lastFound;
    this.#lastPath = path;
    this.#lastFound =
      this.#exact.get(path) ??
      this.#prefixed.filter((route) => path.startsWith(route.path.slice(0, -1)) && path.length >= route.path.length);
    return this.#lastFound;
  }
}

/** What the routes and their refusals need. Functions are asked for each request: a running server can change the answer. */
export interface DispatchOptions {
  readonly routes: () => RouteTable;
  readonly profile: () => ProfileName;
  readonly gate: Gate;
  readonly injector: FaultInjector;
  readonly replies: Replies;
  /** What answers from a tape, and where its plans go; null: no tape is replayed. */
  readonly replay: { readonly desk: Pick<ReplayDesk, "plan">; readonly sender: PlanSender } | null;
  /** Whether events carry stamps where a request does not say. */
  readonly stamps: () => boolean;
  readonly meter: Meter;
  /** What listeners hold requests to, for the words of a refusal. */
  readonly limits: RequestLimits;
  /** Headers of every answer to such a request; null: none. */
  readonly announced: (request: RouteRequest | null) => Readonly<Record<string, string>> | null;
  /** What is spoken over WebSocket. */
  readonly sockets: readonly SocketRoute[];
  /** null: no page of another origin may read an answer. */
  readonly cors: Cors | null;
  /** Called with every error that is no ApiError: a defect of this program. */
  readonly onFault: (error: unknown) => void;
}

const noBody = new Uint8Array();

/** The handler of all listeners: asks the gate, finds the route, and answers what no route answers. */
export function createHandler(options: DispatchOptions): RequestHandler {
  const { gate, injector } = options;

  const failing = (request: RouteRequest | null, sink: ResponseSink, action: () => void): void => {
    try {
      action();
    } catch (error) {
      fail(options, request, sink, error);
    }
  };

  /** Goes on when another process has decided about the request. */
  const later = (
    admission: Promise<boolean>,
    request: RouteRequest,
    body: Uint8Array,
    sink: ResponseSink,
    then: (body: Uint8Array) => void,
  ): void => {
    // An engine reuses the bytes of a body after the call that brought them.
    const kept = new Uint8Array(body);
    void admission.then(
      (admitted) => failing(request, sink, () => admitted && then(kept)),
      (error: unknown) => fail(options, request, sink, error),
    );
  };

  /** Dispatches an admitted request when its large body has been read; `kept` are bytes that no engine uses again. */
  const dispatchLarge = (request: RouteRequest, kept: Uint8Array, sink: ResponseSink): void => {
    setImmediate(() => {
      // Its client may be gone by now.
      if (!sink.closed) prepareBody(kept, setImmediate, () => failing(request, sink, () => dispatch(options, request, kept, sink)));
    });
  };

  // A WebSocket reads its messages ahead by itself.
  const isLarge = (body: Uint8Array): boolean => body.length > largeBodyBytes && !isPrepared(body);

  /** Whose clock the stamps of a connection are of. */
  const stampHeaders = (request: RouteRequest): Readonly<Record<string, string>> =>
    (booleanHeader(request, "x-fakeai-stamps") ?? options.stamps())
      ? { "x-fakeai-clock": clockIdentity, "x-fakeai-instance": instanceId }
      : {};

  const noUpgrade = (path: string): Problem => {
    const socket = options.sockets.find((one) => one.path === path);
    return { kind: "upgrade-required", byHttp: socket?.byHttp ?? true, byWebSocket: socket !== undefined };
  };

  /** A handshake that was let in. Throws ApiError. */
  const opening = (request: RouteRequest): AdmittedHandshake => {
    checkOwnNames(request);
    const route = options.sockets.find(({ path }) => path === request.path);
    if (route === undefined) throw new ApiError(noUpgrade(request.path));
    return {
      headers: { ...options.announced(request), ...stampHeaders(request), ...subprotocolHeader(request, route) },
      open: (socket) => route.open(request, socket),
    };
  };

  /** What of a body is read. Throws ApiError where it is more than its route takes. */
  const wanted = (request: RouteRequest, body: Uint8Array): Uint8Array => {
    // Any path may be on a tape.
    if (options.replay !== null) return body;
    const route = options
      .routes()
      .find(request.path)
      .find(({ method }) => method === request.method);
    // A large body that no route reads costs its parser tens of milliseconds for nothing.
    if (route?.method !== "POST" || route.readsBody?.(request) === false) return noBody;
    checkLength(route, body);
    return body;
  };

  return {
    withholds: (request) => injector.withholds(request),
    upgrade: (request, sink) => {
      try {
        checkHandshake(request, options.cors);
        const admission = gate.admit(request, noBody, sink);
        if (admission === true) return opening(request);
        if (admission === false) return null;
        return admission
          .then((admitted) => (admitted ? opening(request) : null))
          .catch((error: unknown) => {
            fail(options, request, sink, error);
            return null;
          });
      } catch (error) {
        fail(options, request, sink, error);
        return null;
      }
    },
    // Hot path: no closure unless another process decides, or the body is large.
    handle: (request, body, sink) => {
      let admission: boolean | Promise<boolean>;
      try {
        if (options.cors !== null && meetsPage(options.cors, options, request, sink)) return;
        announce(options, request, sink);
        if (request.method === "GET" && request.upgrade !== undefined && hasToken(request.upgrade, "websocket")) {
          answer(options, request, sink, noUpgrade(request.path));
          return;
        }
        admission = gate.admit(request, body, sink);
        if (admission === true) {
          const read = isLarge(body) ? wanted(request, body) : body;
          if (isLarge(read)) dispatchLarge(request, new Uint8Array(read), sink);
          else dispatch(options, request, read, sink);
        }
      } catch (error) {
        fail(options, request, sink, error);
        return;
      }
      if (typeof admission !== "boolean") {
        later(admission, request, body, sink, (kept) => {
          const read = isLarge(kept) ? wanted(request, kept) : kept;
          if (isLarge(read)) dispatchLarge(request, read, sink);
          else dispatch(options, request, read, sink);
        });
      }
    },
    refuse: (reason, request, sink, excess) => {
      const refuse = (): void => answer(options, request, sink, { kind: "refused", reason, limits: options.limits, excess });
      if (options.cors !== null) sink.extraHeaders = options.cors.headersFor(request);
      announce(options, request, sink);
      // A connection or a head that is refused before there is a request shows no key: the gate has nothing to check.
      if (request === null) return failing(request, sink, refuse);
      failing(request, sink, () => {
        const admission = gate.admit(request, noBody, sink);
        if (admission === true) refuse();
        else if (admission !== false) later(admission, request, noBody, sink, refuse);
      });
    },
  };
}

/** Adds what every answer of a listener says. */
function announce({ announced }: DispatchOptions, request: RouteRequest | null, sink: ResponseSink): void {
  const headers = announced(request);
  if (headers !== null) sink.extraHeaders = Object.assign({}, headers, sink.extraHeaders);
}

/**
 * Throws ApiError for a handshake that RFC 6455, section 4.2.1, does not allow, and for one of a page that may not read answers: CORS
 * does not cover WebSocket, so a page of any origin could.
 */
function checkHandshake(request: RouteRequest, cors: Cors | null): void {
  if (request.header("sec-websocket-version") !== "13") throw new ApiError({ kind: "websocket-version" });
  if (!/^[+/0-9A-Za-z]{22}==$/.test(request.header("sec-websocket-key") ?? ""))
    throw new ApiError({ kind: "refused", reason: "malformed" });
  const origin = request.header("origin");
  if (origin === undefined || cors?.allows(origin) === true) return;
  if (URL.canParse(origin) && new URL(origin).host === request.header("host")) return;
  const shown = origin.slice(0, 100);
  throw new ApiError(403, `Pages of ${shown} may not read this server: start it with --cors ${shown}`, null, "origin_not_allowed");
}

/**
 * The subprotocol of an endpoint, where a client offers it: browsers, which can send no header, offer it beside their key
 * (`realtime`, `openai-insecure-api-key.KEY`; openai-node 7, realtime/websocket.js).
 */
function subprotocolHeader(request: RouteRequest, { subprotocol }: SocketRoute): Readonly<Record<string, string>> {
  const offered = request.header("sec-websocket-protocol")?.split(",") ?? [];
  const isOffered = subprotocol !== undefined && offered.some((name) => name.trim() === subprotocol);
  return isOffered ? { "sec-websocket-protocol": subprotocol } : {};
}

/** Gives the answer what a page may read it by. true: it was a preflight, and has its answer: it shows no key, and counts for no limit. */
function meetsPage(cors: Cors, { meter }: DispatchOptions, request: RouteRequest, sink: ResponseSink): boolean {
  sink.extraHeaders = cors.headersFor(request);
  const head = cors.preflight(request);
  if (head === null) return false;
  sink.extraHeaders = null;
  meter.countStatus(head.status);
  sink.start(head);
  sink.end();
  return true;
}

/** Hands an admitted request to its route. Throws ApiError where there is none, and for names of ours that it does not know. */
function dispatch(options: DispatchOptions, request: RouteRequest, body: Uint8Array, sink: ResponseSink): void {
  checkOwnNames(request);
  if (options.replay === null && request.ownHeaders.includes("x-fakeai-call"))
    throw headerError("x-fakeai-call", "x-fakeai-call: no tape is replayed here (fakeai serve --replay)");
  options.replies.meet(request, body);
  const faulty = options.injector.meet(request, body, sink);
  if (faulty === null) return;
  const { method, path } = request;
  if (options.replay !== null && !isOpenPath(path)) {
    const { desk, sender } = options.replay;
    const plan = desk.plan(request, body, faulty, options.stamps());
    if (plan !== null) {
      sender.send(plan, faulty, path);
      return;
    }
  }
  const candidates = options.routes().find(path);
  if (candidates.length === 0) throw new ApiError({ kind: "unknown-url", method, path });
  const route = candidates.find((candidate) => candidate.method === (method === "HEAD" ? "GET" : method));
  if (!route) {
    const allow = candidates.map((candidate) => (candidate.method === "GET" ? "GET, HEAD" : candidate.method)).join(", ");
    throw new ApiError({ kind: "method-not-allowed", method, path, allow });
  }
  checkLength(route, body);
  route.handle(request, body, faulty)?.catch((error: unknown) => fail(options, request, faulty, error));
}

/** Throws ApiError for a body longer than its route takes. */
function checkLength({ path, maxBodyBytes = Infinity }: Route, body: Uint8Array): void {
  if (body.length <= maxBodyBytes) return;
  const hint = path === "/admin/replies" ? " (HINT: --replies takes a file.)" : "";
  throw new ApiError(413, `${path} takes a body of ${maxBodyBytes} bytes at most.${hint}`, null, "request_too_large");
}

function answer({ meter, profile }: DispatchOptions, request: RouteRequest | null, sink: ResponseSink, problem: Problem): void {
  const { status, json, headers } = errorAnswer(problem, request === null ? profile() : dialectOf(request, profile()));
  sendJson(sink, meter, status, json, headers);
}

/** Answers an ApiError with its problem. Any other error is a defect of this program: it is reported, and the answer is a 500. */
function fail(options: DispatchOptions, request: RouteRequest | null, sink: ResponseSink, error: unknown): void {
  if (!(error instanceof ApiError)) options.onFault(error);
  answer(options, request, sink, error instanceof ApiError ? error.problem : { kind: "internal" });
}
