/** Keys that clients show, and whether they are the right ones. */
import { createHash, timingSafeEqual } from "node:crypto";

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

/** A name for an unknown client's key that does not hold the key. */
export function nameOfKey(key: string): string {
  return digestOf(key).toString("base64");
}
