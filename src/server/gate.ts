/** Keys and rate limits, checked before any route. */
import { eventsPath } from "../api/operations/dashboard/routes.ts";
import { sendJson } from "../api/shared/answer.ts";
import { errorAnswer } from "../api/errors/answers.ts";
import type { Problem } from "../api/errors/api-error.ts";
import { largeBodyBytes, peekBody } from "../api/shared/body.ts";
import { rateHeaders } from "../api/shared/heads.ts";
import type { ProfileName } from "../api/shared/model-settings.ts";
import { dialectOf, outputLimitsOf, type Provider, providerOf } from "../api/shared/provider.ts";
import type { Meter } from "../core/pacing/meter.ts";
import type { RateDecision, RateLimiter, RateState } from "../core/limits/rate-limit.ts";
import type { ResponseSink, RouteRequest } from "../core/seams.ts";
import { type KeyRing, nameOfKey } from "../base/keys.ts";

/**
 * Paths that need no key: load balancers and scrapers ask them, and the dashboard shows what a scrape does. Those of `/admin` check
 * a token of their own.
 */
const openPaths = new Set(["/health", "/health/ready", "/metrics", "/", eventsPath, "/admin/config", "/admin/replies", "/admin/requests"]);

export function isOpenPath(path: string): boolean {
  return openPaths.has(path);
}

/** Whether a path is for the server's operator, with a key or without, there or not: what asks it is no client of a model. */
export function isOperatorsPath(path: string): boolean {
  return openPaths.has(path) || path.startsWith("/admin/") || path.startsWith("/health/");
}

export interface GateOptions {
  /** null: no key is needed. */
  readonly keys: KeyRing | null;
  readonly limiter: RateLimiter;
  readonly meter: Meter;
  /** Read for each request: it can change. */
  readonly profile: () => ProfileName;
}

export class Gate {
  readonly #options: GateOptions;

  constructor(options: GateOptions) {
    this.#options = options;
  }

  /** true: go on. false: the request has its answer. A promise: another process decides; `body` is not used after the call. */
  admit(request: RouteRequest, body: Uint8Array, sink: ResponseSink): boolean | Promise<boolean> {
    const { keys, limiter, meter, profile } = this.#options;
    const { requests, tokens } = limiter.limits;
    const unlimited = requests === null && tokens === null;
    if ((keys === null && unlimited) || openPaths.has(request.path)) return true;
    const provider = providerOf(request);
    const deny = (problem: Problem): false => {
      const { status, json, headers } = errorAnswer(problem, dialectOf(request, profile()));
      sendJson(sink, meter, status, json, headers);
      return false;
    };

    const key = keyOf(request, provider);
    let client = key === null ? "anonymous" : "";
    if (keys !== null) {
      if (key === null) return deny({ kind: "missing-key" });
      const index = keys.find(key);
      if (index < 0) return deny({ kind: "wrong-key", key });
      client = `key ${index}`;
    }
    if (unlimited) return true;
    if (key !== null && client === "") client = nameOfKey(key);
    const show = (state: RateState): void => {
      sink.extraHeaders = Object.assign(rateHeaders(dialectOf(request, profile()), state, Date.now()), sink.extraHeaders);
    };
    if (request.method !== "POST") {
      return orLater(limiter.look(client), (state) => {
        show(state);
        return true;
      });
    }
    const decision = limiter.take(client, tokens === null ? 0 : tokensAsked(body));
    const model = decision instanceof Promise || decision.refusal !== null ? modelOf(body) : "";
    return orLater(decision, ({ state, refusal }: RateDecision) => {
      show(state);
      return refusal === null || deny({ kind: "over-limit", model, refusal });
    });
  }
}

/** Uses the value at once, or when the promise resolves. */
function orLater<T, R>(value: T | Promise<T>, use: (value: T) => R): R | Promise<R> {
  return value instanceof Promise ? value.then(use) : use(value);
}

/**
 * What a request counts against the tokens per minute before it is answered: the larger of the output tokens it allows
 * and its own length at four characters a token, as OpenAI's guide to rate limits says. A large body counts by its length alone:
 * it is not read before it is admitted.
 */
function tokensAsked(body: Uint8Array): number {
  const parsed = body.length > largeBodyBytes ? null : peekBody(body);
  const asked = parsed === null ? [] : outputLimitsOf(parsed).filter((value) => isCount(value));
  return Math.max(1, Math.ceil(body.length / 4), ...asked);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= 0;
}

/** The model that a refusal names; "" where the body does not tell, or is too large to be read for that. */
function modelOf(body: Uint8Array): string {
  const model = body.length > largeBodyBytes ? null : peekBody(body)?.["model"];
  return typeof model === "string" ? model.slice(0, 256) : "";
}

/** Whose a request is, where keys are asked for: what one has stored no other sees. "": everybody's. */
export function ownerOf(request: RouteRequest, keys: KeyRing | null): string {
  const key = keys === null ? null : keyOf(request, providerOf(request));
  return keys === null || key === null ? "" : `key-${keys.find(key)}`;
}

/**
 * The key that a request shows, in `authorization` (Bearer, or Basic as its password), `x-api-key`, Azure's `api-key`, Gemini's
 * `x-goog-api-key` and parameter `key`, or among the subprotocols of a page; null: none. Where several are there, the provider's own counts.
 */
export function keyOf(request: RouteRequest, provider: Provider): string | null {
  const direct = (request.header("x-api-key") ?? request.header("api-key"))?.trim() || null;
  const authorized = keyOfAuthorization(request.header("authorization")?.trim() ?? "");
  if (provider === "gemini") return request.header("x-goog-api-key")?.trim() || keyOfQuery(request.query) || authorized || direct;
  return provider === "anthropic" ? (direct ?? authorized) : (authorized ?? direct ?? keyOfProtocols(request));
}

const protocolOfKey = "openai-insecure-api-key.";

/** A page cannot send headers with a handshake of WebSocket: its key is the name of a subprotocol. */
function keyOfProtocols(request: RouteRequest): string | null {
  const offered = request.header("sec-websocket-protocol")?.split(",") ?? [];
  const named = offered.map((name) => name.trim()).find((name) => name.startsWith(protocolOfKey));
  return named?.slice(protocolOfKey.length) || null;
}

function keyOfQuery(query: string): string | null {
  return query.includes("key=") ? new URLSearchParams(query).get("key") : null;
}

function keyOfAuthorization(value: string): string | null {
  const match = /^(bearer|basic)\s+(\S.*)$/i.exec(value);
  if (!match) return null;
  if (match[1]!.toLowerCase() === "bearer") return match[2]!;
  const [, ...password] = Buffer.from(match[2]!, "base64").toString("utf8").split(":");
  return password.join(":") || null;
}
