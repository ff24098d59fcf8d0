/**
 * The address of an OpenAI-compatible server, and the paths below it. They are joined as OpenAI's libraries do it: an address
 * is a base URL, and `/chat/completions` is put behind its path (openai-node: `buildURL` in src/client.ts; openai-python:
 * `_prepare_url` in src/openai/_base_client.py). In addition an origin alone stands for `/v1`, an address may name a whole
 * endpoint, and a query stays with every path, as Azure's `?api-version=2024-10-21` has to.
 */
import { UsageError } from "../../base/usage-error.ts";

/** Where the API of OpenAI stands, and what our own server answers on: paths are written below it. */
const apiPath = "/v1";

/** Endpoints whose whole path an address may carry, longest first, as paths below a base. */
const endpoints = ["/chat/completions", "/completions", "/responses", "/messages"] as const;

/** A server's address, taken apart. */
export interface ServerAddress {
  /** "http://127.0.0.1:8000". */
  readonly origin: string;
  /** The base's path without a last slash: "/v1", "/v1beta/openai", "/openai/deployments/gpt-4o". */
  readonly base: string;
  /** "?api-version=2024-10-21"; empty where there is none. */
  readonly query: string;
  /** The endpoint that the address names, as our own server has it: "/v1/chat/completions"; null: it is a base. */
  readonly endpoint: string | null;
}

/** Reads the address of `--url` or `--via`. Throws UsageError. */
export function parseAddress(text: string, flag: "--url" | "--via" = "--url"): ServerAddress {
  const url = parseUrl(text, flag);
  const path = url.pathname.replace(/\/+$/, "");
  const endpoint = endpoints.find((one) => path.endsWith(one)) ?? null;
  const base = endpoint === null ? path : path.slice(0, -endpoint.length);
  const isOrigin = path === "";
  return {
    origin: url.origin,
    base: isOrigin ? apiPath : base,
    query: url.search,
    endpoint: endpoint === null ? null : `${apiPath}${endpoint}`,
  };
}

function parseUrl(text: string, flag: string): URL {
  // A query may hold a key.
  const shown = text.replace(/[?#].*$/s, "").slice(0, 200);
  if (!URL.canParse(text)) throw new UsageError(`${flag}: "${shown}" is not an address (for example http://127.0.0.1:8000)`);
  const url = new URL(text);
  if (url.protocol !== "http:" && url.protocol !== "https:") throw new UsageError(`${flag}: ${url.protocol} is neither http: nor https:`);
  if (url.username !== "" || url.password !== "")
    throw new UsageError(`${flag}: put credentials into --api-key or --header, not into the address`);
  return url;
}

/**
 * The path and query to ask for `path`, which is written as our own server has it: "/v1/models" below the base, "/metrics"
 * beside its "/v1".
 */
export function pathAt({ base, query }: ServerAddress, path: string): string {
  if (path.startsWith(`${apiPath}/`)) return `${base}${path.slice(apiPath.length)}${query}`;
  const root = base.endsWith(apiPath) ? base.slice(0, -apiPath.length) : base;
  return `${root}${path}${query}`;
}

/** The path and query of an endpoint that was named from the origin on: it stands in place of the base. */
export function wholePathAt({ query }: ServerAddress, path: string): string {
  return path.includes("?") ? path : `${path}${query}`;
}
