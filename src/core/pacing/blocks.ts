/**
 * The memory of a batched scheduler, counted in blocks of tokens as vLLM's KV cache is (vllm/v1/core/kv_cache_manager.py): blocks
 * that hold a full piece of a prompt are found again by the hash of everything up to their end, stay when no sequence uses
 * them any more, and are taken away, least recently used first, when others need the room.
 */

/** What a sequence holds of the memory. */
export interface Holding {
  /** Blocks in all. */
  blocks: number;
  /** Hashes of the shared ones among them; they come first in the sequence, as far as they are its own prompt's. */
  readonly shared: number[];
}

export class BlockPool {
  /** Blocks there are. */
  readonly capacity: number;
  /** Blocks that sequences hold; shared ones count once. */
  used = 0;
  /** Shared blocks in use: how many sequences hold each. */
  readonly #held = new Map<number, number>();
  /** Blocks that no sequence uses, the one that was left first at the front. */
  readonly #idle = new Set<number>();

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  /** How many blocks at the beginning of a chain are there. */
  match(chain: readonly number[], most: number): number {
    let found = 0;
    while (found < most && found < chain.length && (this.#held.has(chain[found]!) || this.#idle.has(chain[found]!))) found++;
    return found;
  }

  /**
   * Gives a sequence that holds nothing the first `hits` blocks of a chain, which are there, and others up to `blocks` in
   * all. false: there is no room, and nothing has changed.
   */
  begin(holding: Holding, chain: readonly number[], hits: number, blocks: number): boolean {
    let woken = 0;
    for (let i = 0; i < hits; i++) if (!this.#held.has(chain[i]!)) woken++;
    if (this.used + woken + blocks - hits > this.capacity) return false;
    for (let i = 0; i < hits; i++) {
      const hash = chain[i]!;
      this.#idle.delete(hash);
      this.#held.set(hash, (this.#held.get(hash) ?? 0) + 1);
      holding.shared.push(hash);
    }
    holding.blocks = blocks;
    this.used += woken + blocks - hits;
    this.#evict();
    return true;
  }

  /** Hot path. Lets a sequence grow to so many blocks; false: there is no room. */
  grow(holding: Holding, blocks: number): boolean {
    const more = blocks - holding.blocks;
    if (more <= 0) return true;
    if (this.used + more > this.capacity) return false;
    holding.blocks = blocks;
    this.used += more;
    this.#evict();
    return true;
  }

  /** A block of the sequence's own now holds what this hash stands for: others find it. */
  publish(holding: Holding, hash: number): void {
    // Two sequences may have made the same block side by side: the second one's stays its own.
    if (this.#held.has(hash)) return;
    // Of an older copy that no sequence uses, one of the two is enough.
    this.#idle.delete(hash);
    this.#held.set(hash, 1);
    holding.shared.push(hash);
  }

  /** The sequence needs its memory no more. What it shared stays until the room is needed, its end first to go. */
  release(holding: Holding): void {
    const { shared } = holding;
    this.used -= holding.blocks - shared.length;
    for (let i = shared.length - 1; i >= 0; i--) {
      const hash = shared[i]!;
      const holders = this.#held.get(hash)!;
      if (holders > 1) {
        this.#held.set(hash, holders - 1);
      } else {
        this.#held.delete(hash);
        this.#idle.add(hash);
        this.used--;
      }
    }
    holding.blocks = 0;
    shared.length = 0;
  }

  #evict(): void {
    while (this.used + this.#idle.size > this.capacity) this.#idle.delete(this.#idle.values().next().value!);
  }
}

/** Mixes what a block holds into the hash of all before it: two 32-bit FNV-1a lanes, 53 bits of which are kept. */
export class ChainHasher {
  readonly #unitsPerBlock: number;
  readonly #most: number;
  readonly chain: number[] = [];
  #low = 0x811c9dc5;
  #high = 0xcbf29ce4;
  #units = 0;

  /** `most`: blocks after which nothing is looked at. */
  constructor(unitsPerBlock: number, most: number) {
    this.#unitsPerBlock = unitsPerBlock;
    this.#most = most;
  }

  get isFull(): boolean {
    return this.chain.length >= this.#most;
  }

  /** Takes a character or the id of a token. */
  add(unit: number): void {
    this.#low = Math.imul(this.#low ^ unit, 0x01000193);
    this.#high = Math.imul(this.#high ^ unit ^ (this.#low >>> 15), 0x01000193);
    if (++this.#units < this.#unitsPerBlock) return;
    this.#units = 0;
    if (!this.isFull) this.chain.push((this.#high & 0x1fffff) * 0x1_0000_0000 + (this.#low >>> 0));
  }
}
