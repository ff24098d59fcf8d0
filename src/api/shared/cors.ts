/**
 * Which pages of browsers may read answers (Fetch Standard, section 3.3, "HTTP cross-origin requests"). All of it is made once: an
 * answer gets an object that is there already. No request is let in or kept out by it, keys are asked for as without it, and no
 * answer allows credentials: this server has no cookies.
 */
import type { ResponseHead, RouteRequest } from "../../core/seams.ts";
import { ApiError } from "../errors/api-error.ts";

/** Origins as browsers write them, "https://example.com:8443"; "*" is every page. */
export type AllowedOrigins = "*" | readonly string[];

type Headers = Readonly<Record<string, string>>;

/** How long a preflight may be remembered, seconds: the most that Chromium takes. */
const maxAgeSeconds = 7200;

/** Headers of request ids, rate limits, retries and of this server: a page may read them all. */
const exposed: Headers = { "access-control-expose-headers": "*" };

/** "*" stands for every header but Authorization (Fetch Standard, "CORS non-wildcard request-header name"). */
const allowed: Headers = {
  "access-control-allow-methods": "GET, HEAD, POST, DELETE",
  "access-control-allow-headers": "authorization, *",
  "access-control-max-age": String(maxAgeSeconds),
};

/** What an operator reads and changes is never for pages. */
function isClosed(path: string): boolean {
  return path === "/metrics" || path === "/" || path.startsWith("/dashboard/") || path.startsWith("/admin/");
}

/** What one origin gets. */
interface Grants {
  readonly answer: Headers;
  readonly preflight: ResponseHead;
  /** To a public page that asks for a private address (wicg.github.io/private-network-access). */
  readonly privatePreflight: ResponseHead;
}

function grantsTo(origin: string, vary: Headers): Grants {
  const base = { "access-control-allow-origin": origin, ...vary };
  const headers = { ...base, ...allowed };
  return {
    answer: { ...base, ...exposed },
    // Not 204: that has no length (RFC 9110, section 8.6), and uWebSockets.js announces one.
    preflight: { status: 200, headers, streamed: false },
    privatePreflight: { status: 200, headers: { ...headers, "access-control-allow-private-network": "true" }, streamed: false },
  };
}

const varies: Headers = { vary: "Origin" };

export class Cors {
  /** By origin; null: all have the same. */
  readonly #grants: ReadonlyMap<string, Grants> | null;
  readonly #toAll: Grants | null;

  constructor(origins: AllowedOrigins) {
    this.#toAll = origins === "*" ? grantsTo("*", {}) : null;
    this.#grants = origins === "*" ? null : new Map(origins.map((origin) => [origin, grantsTo(origin, varies)]));
  }

  /** What every answer to this request has in its head, errors included; null: nothing. Without a request, what all have. */
  headersFor(request: RouteRequest | null): Headers | null {
    if (request !== null && isClosed(request.path)) return null;
    if (this.#toAll !== null) return this.#toAll.answer;
    return this.#grantsOf(request?.header("origin"))?.answer ?? varies;
  }

  /** Whether a page of this origin may read answers. */
  allows(origin: string): boolean {
    return this.#grantsOf(origin) !== undefined;
  }

  /** The head of the answer to a preflight; null: the request is none. Throws ApiError for an origin that is not allowed. */
  preflight(request: RouteRequest): ResponseHead | null {
    if (request.method !== "OPTIONS" || isClosed(request.path)) return null;
    const origin = request.header("origin");
    if (origin === undefined || request.header("access-control-request-method") === undefined) return null;
    const grants = this.#grantsOf(origin);
    if (grants === undefined) {
      const shown = origin.slice(0, 100);
      throw new ApiError(403, `Pages of ${shown} may not read this server: start it with --cors ${shown}`, null, "origin_not_allowed");
    }
    return request.header("access-control-request-private-network") === "true" ? grants.privatePreflight : grants.preflight;
  }

  #grantsOf(origin: string | undefined): Grants | undefined {
    return this.#toAll ?? (origin === undefined ? undefined : this.#grants!.get(origin));
  }
}
