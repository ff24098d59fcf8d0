/** Turns of the event loop, and of those who wait for one: what comes in one read must not hold up what comes in another. */

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
  take(): { readonly owner: Owner; readonly item: Item } | undefined {
    for (const [owner, items] of this.#waiting) {
      this.#waiting.delete(owner);
      if (items.length > 1) this.#waiting.set(owner, items);
      this.size--;
      return { owner, item: items.shift()! };
    }
    return undefined;
  }
}

/** Who begins what `Admission` lets in. */
export interface Admitted<Owner, Item> {
  /** Begins an item in this turn. */
  begin(owner: Owner, item: Item): void;
  /** An item waits for a later turn, or no longer does. */
  onWaiting(owner: Owner, item: Item, waits: boolean): void;
  /** Whether an item that waited is gone, so that it costs nothing. */
  isGone(item: Item): boolean;
  /** A turn in which something was let in is over. */
  onTurnEnd(): void;
}

/** Begins so many items in one turn of the event loop, and the others in the next ones, where their owners take turns. */
export class Admission<Owner, Item> {
  readonly #perTurn: number;
  readonly #admitted: Admitted<Owner, Item>;
  readonly #waiting = new Turns<Owner, Item>();
  /** Begun in this turn. */
  #begun = 0;
  readonly #onTurn = (): void => this.#nextTurn();

  constructor(perTurn: number, admitted: Admitted<Owner, Item>) {
    this.#perTurn = perTurn;
    this.#admitted = admitted;
  }

  /** Hot path. Begins an item in this turn, or in one of the next. */
  admit(owner: Owner, item: Item): void {
    if (this.#begun === 0) setImmediate(this.#onTurn);
    if (this.#begun++ < this.#perTurn) {
      this.#admitted.begin(owner, item);
    } else {
      this.#waiting.add(owner, item);
      this.#admitted.onWaiting(owner, item, true);
    }
  }

  #nextTurn(): void {
    this.#admitted.onTurnEnd();
    let begun = 0;
    while (begun < this.#perTurn) {
      const next = this.#waiting.take();
      if (next === undefined) break;
      this.#admitted.onWaiting(next.owner, next.item, false);
      if (this.#admitted.isGone(next.item)) continue;
      begun++;
      this.#admitted.begin(next.owner, next.item);
    }
    // While some wait, those that come wait behind them.
    this.#begun = this.#waiting.size > 0 ? this.#perTurn : begun;
    if (this.#begun > 0) setImmediate(this.#onTurn);
  }
}
