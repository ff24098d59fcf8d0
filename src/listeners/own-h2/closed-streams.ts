/** Which streams were closed a short while ago, and how: frames for them may still be under way (RFC 9113, section 5.1). */

const firstSize = 32;

export class ClosedStreams {
  /** Ids, the newest over the oldest; negative: what still comes for it is to be ignored. */
  #ids = new Int32Array(0);
  #next = 0;
  readonly #most: number;

  /** `most` are remembered. */
  constructor(most: number) {
    this.#most = most;
  }

  /** `isIgnored`: the client may not know yet, and what it still sends is no fault. */
  add(id: number, isIgnored: boolean): void {
    if (this.#next === this.#ids.length) this.#grow();
    this.#ids[this.#next++] = isIgnored ? -id : id;
  }

  /** Whether it is remembered. */
  has(id: number): boolean {
    return this.#ids.includes(id) || this.#ids.includes(-id);
  }

  isIgnored(id: number): boolean {
    return this.#ids.includes(-id);
  }

  #grow(): void {
    const { length } = this.#ids;
    if (length >= this.#most) {
      this.#next = 0;
      return;
    }
    const larger = new Int32Array(Math.min(this.#most, Math.max(firstSize, length * 2)));
    larger.set(this.#ids);
    this.#ids = larger;
  }
}
