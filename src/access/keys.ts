/** Keys that clients show, and whether they are the right ones. */
import { createHash, timingSafeEqual } from "node:crypto";
import type { Provider } from "../api/denials.ts";
import type { RouteRequest } from "../core/seams.ts";

function digestOf(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

/** A set of keys. Looking one up takes as long for a key that is nearly right as for one that is not. */
export class KeyRing {
  readonly #digests: readonly Buffer[];

  constructor(keys: readonly string[]) {
    this.#digests = keys.map(digestOf);
  }

  /** The number of the key, -1 for a key that is not in the ring. */
  find(key: string): number {
    const digest = digestOf(key);
    let found = -1;
    // Every key is compared, found or not.
    for (let i = 0; i < this.#digests.length; i++) if (timingSafeEqual(digest, this.#digests[i]!)) found = i;
    return found;
  }
}

/**
 * The key that a request shows, in `authorization` (Bearer, or Basic as its password) or `x-api-key`; null: none. Where both
 * are there, the provider's own counts.
 */
export function keyOf(request: RouteRequest, provider: Provider): string | null {
  const direct = request.header("x-api-key")?.trim() || null;
  const authorized = keyOfAuthorization(request.header("authorization")?.trim() ?? "");
  return provider === "anthropic" ? (direct ?? authorized) : (authorized ?? direct);
}

function keyOfAuthorization(value: string): string | null {
  const match = /^(bearer|basic)\s+(\S.*)$/i.exec(value);
  if (!match) return null;
  if (match[1]!.toLowerCase() === "bearer") return match[2]!;
  const [, ...password] = Buffer.from(match[2]!, "base64").toString("utf8").split(":");
  return password.join(":") || null;
}

/** A name for an unknown client's key that does not hold the key. */
export function nameOfKey(key: string): string {
  return digestOf(key).toString("base64");
}
