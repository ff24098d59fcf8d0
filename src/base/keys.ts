/** API keys of clients: which are known, and names for those that are not. */
import type * as Crypto from "node:crypto";

/** Loaded when there are keys: most servers have none. */
const nodeCrypto = (): Pick<typeof Crypto, "createHash" | "timingSafeEqual"> => process.getBuiltinModule("node:crypto");

function digestOf(key: string): Buffer {
  return nodeCrypto().createHash("sha256").update(key).digest();
}

/** A set of keys. A look-up takes equally long for every wrong key, so its time reveals nothing. */
export class KeyRing {
  readonly #digests: readonly Buffer[];

  constructor(keys: readonly string[]) {
    this.#digests = keys.map(digestOf);
  }

  /** The number of the key, -1 for a key that is not in the ring. */
  find(key: string): number {
    const digest = digestOf(key);
    const { timingSafeEqual } = nodeCrypto();
    let found = -1;
    // All keys are compared, also after a match.
    for (let i = 0; i < this.#digests.length; i++) if (timingSafeEqual(digest, this.#digests[i]!)) found = i;
    return found;
  }
}

/** A name for an unknown key that does not reveal the key. */
export function nameOfKey(key: string): string {
  return digestOf(key).toString("base64");
}
