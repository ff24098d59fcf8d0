/** Where stop sequences cut a text. */
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { Budget, BudgetError } from "../../../src/core/limits/budget.ts";
import { findStop } from "../../../src/core/text/stop.ts";
import { leastCpuUs } from "../../support/effort.ts";

/** A cursor over all tokens in order that counts what is asked of it. */
function counted(): { next(): number; asked: number } {
  return {
    asked: 0,
    next() {
      return this.asked++;
    },
  };
}

test("as a search in the whole text finds it", () => {
  const token = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 3 });
  const sequence = fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength: 12 });
  fc.assert(
    fc.property(
      fc.array(token, { maxLength: 30 }),
      fc.oneof(fc.nat(50), fc.integer({ min: 16_350, max: 16_400 })),
      fc.array(sequence, { minLength: 1, maxLength: 4 }),
      (tail, before, sequences) => {
        // A beginning without any of them, so that they stand at and around the ends of what is looked at together.
        const texts = [...Array.from({ length: before }, () => "c"), ...tail];
        const whole = texts.join("");
        const found = sequences.map((each) => ({ at: whole.indexOf(each), sequence: each })).filter(({ at }) => at >= 0);
        const first = Math.min(...found.map(({ at }) => at));
        const expected = found.find(({ at }) => at === first) ?? null;
        expect(findStop({ texts }, counted(), texts.length, sequences, new Budget())).toEqual(expected);
      },
    ),
    { numRuns: 300 },
  );
});

test("one that comes early costs no more than it takes to find it", () => {
  const texts = Array.from({ length: 1_000_000 }, (_, i) => (i === 5 ? "stop" : "go "));
  const cursor = counted();
  expect(findStop({ texts }, cursor, texts.length, ["stop"], new Budget())).toEqual({ at: 15, sequence: "stop" });
  expect(cursor.asked).toBeLessThan(10_000);
});

test("no sequence makes a text dearer to search", () => {
  const texts = Array.from({ length: 50_000 }, () => "aaaaa");
  const search = (sequence: string) => (): void =>
    expect(findStop({ texts }, counted(), texts.length, [sequence], new Budget())).toBeNull();
  // Looked for from each place anew, a sequence of 4,096 that nearly fits everywhere takes a thousand times as long.
  const nearlyPeriodic = `${"a".repeat(2047)}b${"a".repeat(2048)}`;
  expect(leastCpuUs(search(nearlyPeriodic))).toBeLessThan(8 * leastCpuUs(search("aab")));
});

test("nearly no character takes a look into a map", () => {
  const texts = Array.from({ length: 20_000 }, () => "aaaaa");
  const looks = vi.spyOn(Map.prototype, "get");
  try {
    for (const sequence of ["é".repeat(300), `${"a".repeat(2047)}b${"a".repeat(2048)}`]) {
      expect(findStop({ texts }, counted(), texts.length, [sequence, "ba"], new Budget())).toBeNull();
    }
    expect(looks.mock.calls.length).toBeLessThan(25_000);
  } finally {
    looks.mockRestore();
  }
});

test("what is searched is bounded, and counted by characters", () => {
  const texts = Array.from({ length: 1_000_000 }, () => "token");
  const cursor = counted();
  const budget = new Budget();
  expect(() => findStop({ texts }, cursor, texts.length, ["stop"], budget)).toThrow(BudgetError);
  expect(budget.spent("searched")).toBe(5 * cursor.asked);
  expect(cursor.asked).toBeLessThan(105_000);
});
