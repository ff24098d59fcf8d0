/** RFC 9218: what the field says, and who sends next. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parsePriority, ReadyQueue, type Waiter } from "../../../src/listeners/own-h2/priority.ts";

describe("the field", () => {
  test.each([
    ["u=0", 0, false],
    ["u=7, i", 7, true],
    ["i", 3, true],
    ["i=?0,u=5", 5, false],
    ["i=?1", 3, true],
    ["  u=2 ,  i ", 2, true],
    ["", null, null],
    // Out of range, or of another type: as if it were not there (section 4).
    ["u=8", 3, false],
    ["u=-1, i", 3, true],
    ["u=1.5", 3, false],
    ['u="1"', 3, false],
    ["i=1", 3, false],
    // The last of two counts (RFC 8941, section 3.2); unknown members and parameters mean nothing.
    ["u=1, u=2", 2, false],
    ["x=1;y, u=1;z=2", 1, false],
    ["U=1", null, null],
    ["u=1,,i", null, null],
    [`u=1, x=${"a".repeat(300)}`, null, null],
  ])("%j", (text, urgency, incremental) => {
    expect(parsePriority(text)).toEqual(urgency === null ? null : { urgency, incremental });
  });
});

class Item implements Waiter {
  isReady = false;
  nextReady: Waiter | null = null;
  previousReady: Waiter | null = null;
  readonly id: number;
  readonly urgency: number;
  readonly incremental: boolean;
  /** Turns that it wants. */
  turns: number;
  constructor(id: number, urgency: number, incremental: boolean, turns: number) {
    this.id = id;
    this.urgency = urgency;
    this.incremental = incremental;
    this.turns = turns;
  }
}

/** The ids in the order of their turns. */
function order(items: readonly Item[]): number[] {
  const queue = new ReadyQueue<Item>();
  for (const item of items) queue.add(item);
  const ids: number[] = [];
  while (!queue.isEmpty) {
    const item = queue.next();
    ids.push(item.id);
    if (--item.turns === 0) queue.remove(item);
    queue.endTurn(item);
  }
  return ids;
}

test("the more urgent first; whole responses by their ids, the others by turns", () => {
  expect(order([new Item(1, 3, true, 2), new Item(3, 0, true, 1), new Item(5, 3, true, 2), new Item(7, 1, false, 1)])).toEqual([
    3, 7, 1, 5, 1, 5,
  ]);
  expect(order([new Item(9, 2, false, 2), new Item(3, 2, false, 2), new Item(5, 2, false, 1)])).toEqual([3, 3, 5, 9, 9]);
  // Both kinds alternate.
  expect(order([new Item(1, 3, false, 3), new Item(3, 3, true, 2), new Item(5, 3, true, 1)])).toEqual([3, 1, 5, 1, 3, 1]);
});

test("whatever is added and removed, a queue holds what it should, in an order that urgency allows", () => {
  const step = fc.record({ id: fc.integer({ min: 0, max: 30 }), remove: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const items = Array.from({ length: 31 }, (_, id) => new Item(2 * id + 1, id % 8, id % 3 === 0, 1));
      const queue = new ReadyQueue<Item>();
      const held = new Set<Item>();
      for (const { id, remove } of steps) {
        const item = items[id]!;
        if (remove) queue.remove(item);
        else queue.add(item);
        if (remove) held.delete(item);
        else held.add(item);
        expect(queue.isEmpty).toBe(held.size === 0);
      }
      let urgency = 0;
      while (!queue.isEmpty) {
        const next = queue.next();
        expect(held.delete(next)).toBe(true);
        expect(next.urgency).toBeGreaterThanOrEqual(urgency);
        urgency = next.urgency;
        queue.remove(next);
      }
      expect(held.size).toBe(0);
    }),
    { seed: 9218, numRuns: 200 },
  );
});
