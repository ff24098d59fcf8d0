/** A queue in which owners take turns, so that one who adds many items does not hold up the others. */
export class Turns<Owner, Item> {
  /** In the order in which their turns come. */
  readonly #waiting = new Map<Owner, Item[]>();
  /** Items of all owners. */
  size = 0;

  add(owner: Owner, item: Item): void {
    const items = this.#waiting.get(owner);
    if (items === undefined) this.#waiting.set(owner, [item]);
    else items.push(item);
    this.size++;
  }

  /** The oldest item of the owner whose turn it is; undefined: there is none. */
  take(): Item | undefined {
    for (const [owner, items] of this.#waiting) {
      this.#waiting.delete(owner);
      if (items.length > 1) this.#waiting.set(owner, items);
      this.size--;
      return items.shift();
    }
    return undefined;
  }
}
