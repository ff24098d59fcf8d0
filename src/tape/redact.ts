/**
 * What a tape keeps of a call. Of headers and parameters only the values of those that are listed here, and of those that its user
 * adds; the values of all others, keys and cookies among them, are never written.
 */
import { isSecretName } from "../base/secrets.ts";
import { redacted, type TapeHeader } from "./form.ts";

/** Headers of requests and answers whose values say nothing of a person or an account. */
const keptHeaders: ReadonlySet<string> = new Set([
  "accept",
  "accept-encoding",
  "cache-control",
  "content-encoding",
  "content-language",
  "content-length",
  "content-type",
  "date",
  "retry-after",
  "retry-after-ms",
  "server",
  "server-timing",
  "user-agent",
  "vary",
  "x-accel-buffering",
  "x-content-type-options",
  "anthropic-beta",
  "anthropic-version",
  "openai-beta",
  "openai-processing-ms",
  "openai-version",
  "x-should-retry",
]);

/** Beginnings of the names of further ones: limits and their state, and what SDKs tell of themselves. */
const keptBeginnings: readonly string[] = ["x-ratelimit-", "anthropic-ratelimit-", "x-stainless-", "x-fakeai-"];

/** Parameters of a query whose values are kept. Gemini takes its key in `key`. */
const keptParameters: ReadonlySet<string> = new Set([
  "alt",
  "api-version",
  "limit",
  "after",
  "before",
  "after_id",
  "before_id",
  "beta",
  "order",
]);

/** Headers of one connection (RFC 9110, section 7.6.1; RFC 9113, section 8.2.2): they are not the call's. */
const ofConnection: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]);

/** Whether a header concerns the connection alone. `connection` is the value of the header of this name, which may list more. */
export function isOfConnection(name: string, connection: string = ""): boolean {
  return (
    ofConnection.has(name) ||
    (connection !== "" &&
      connection
        .toLowerCase()
        .split(/\s*,\s*/)
        .includes(name))
  );
}

/** Headers as a tape keeps them. `more`: names, in lower case, whose values are kept too. */
export function keptHeaderLines(headers: Iterable<readonly [string, string]>, more: ReadonlySet<string>): TapeHeader[] {
  const lines: TapeHeader[] = [];
  for (const [name, value] of headers) {
    const isKept = keptHeaders.has(name) || more.has(name) || keptBeginnings.some((beginning) => name.startsWith(beginning));
    lines.push([name, isKept && !isSecretName(name) ? value : redacted]);
  }
  return lines;
}

/** A query as a tape keeps it, and as it is matched: parameters in order of their names. */
export function keptQuery(query: string): string {
  if (query === "") return "";
  return query
    .split("&")
    .map((part) => {
      const [name = ""] = part.split("=");
      return keptParameters.has(name) ? part : `${name}=${redacted}`;
    })
    .sort()
    .join("&");
}

/** Whether a member of a body, such as `authorization` of a remote tool, holds a key. */
export function isSecretMember(name: string): boolean {
  return isSecretName(name.toLowerCase().replaceAll("_", "-"));
}

/** Deeper values of a body are written as they are; the server's bound lies below. */
const mostDepth = 2000;

/** A JSON value without the texts of members that are called like keys. The same object where there is none. */
export function withoutSecrets(value: unknown, depth = 0): unknown {
  if (typeof value !== "object" || value === null || depth > mostDepth) return value;
  if (Array.isArray(value)) {
    const parts: unknown[] = value.map((part: unknown) => withoutSecrets(part, depth + 1));
    return parts.every((part, index) => part === value[index]) ? value : parts;
  }
  let changed: Record<string, unknown> | null = null;
  for (const [name, part] of Object.entries(value)) {
    const kept = typeof part === "string" && isSecretMember(name) ? redacted : withoutSecrets(part, depth + 1);
    if (kept !== part) (changed ??= { ...value })[name] = kept;
  }
  return changed ?? value;
}

/** Shorter values of secret headers are no keys, and would be found everywhere. */
const leastSecret = 8;

/** A request, as far as it may hold secrets. */
interface Holder {
  readonly headers: Iterable<readonly [string, string]>;
  readonly query: string;
  /** Its JSON; null: none. */
  readonly body: unknown;
}

/** The values that must not be found in anything that is kept: of secret headers, parameters and members, without a scheme before them. */
export function secretsOf({ headers, query, body }: Holder): Buffer[] {
  const secrets = new Set<string>();
  const add = (secret: string): void => {
    if (secret.length >= leastSecret) secrets.add(secret);
  };
  for (const [name, value] of headers) {
    if (!isSecretName(name)) continue;
    const isCookie = name.endsWith("cookie");
    for (const part of isCookie ? value.split(/;\s*/) : [value.split(/\s+/).at(-1)!])
      add(isCookie ? part.slice(part.indexOf("=") + 1) : part);
  }
  for (const part of query.split("&")) {
    const at = part.indexOf("=");
    if (at >= 0 && !keptParameters.has(part.slice(0, at))) add(part.slice(at + 1));
  }
  addSecretMembers(body, add, 0);
  // The longer first: one may be a part of another.
  return [...secrets].sort((one, other) => other.length - one.length).map((secret) => Buffer.from(secret, "utf8"));
}

function addSecretMembers(value: unknown, add: (secret: string) => void, depth: number): void {
  if (typeof value !== "object" || value === null || depth > mostDepth) return;
  for (const [name, part] of Object.entries(value)) {
    if (typeof part === "string" && !Array.isArray(value) && isSecretMember(name)) add(part.split(/\s+/).at(-1)!);
    else addSecretMembers(part, add, depth + 1);
  }
}

/** Puts asterisks over secrets that a body repeats: its length stays. */
export function coverSecrets(bytes: Buffer, secrets: readonly Buffer[]): void {
  for (const secret of secrets) {
    for (let at = bytes.indexOf(secret); at >= 0; at = bytes.indexOf(secret, at + secret.length)) bytes.fill("*", at, at + secret.length);
  }
}
