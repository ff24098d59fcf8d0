/** What waits for its turn, each belonging to somebody: owners take turns, so that what one piles up holds up nobody else. */
export class Turns<Owner, Item> {
  /** In the order in which their turns come. */
  readonly #waiting = new Map<Owner, Item[]>();
  /** Of all owners. */
  size = 0;

  add(owner: Owner, item: Item): void {
    const items = this.#waiting.get(owner);
    if (items === undefined) this.#waiting.set(owner, [item]);
    else items.push(item);
    this.size++;
  }

  /** The oldest of whoever's turn it is; undefined: nobody has any. */
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
