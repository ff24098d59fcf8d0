/** Where stop sequences cut a text. */
import fc from "fast-check";
import { expect, test } from "vitest";
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
        expect(findStop({ texts }, counted(), texts.length, sequences)).toEqual(expected);
      },
    ),
    { numRuns: 300 },
  );
});

test("one that comes early costs no more than it takes to find it", () => {
  const texts = Array.from({ length: 1_000_000 }, (_, i) => (i === 5 ? "stop" : "go "));
  const cursor = counted();
  expect(findStop({ texts }, cursor, texts.length, ["stop"])).toEqual({ at: 15, sequence: "stop" });
  expect(cursor.asked).toBeLessThan(10_000);
});

test("long sequences are not looked for again and again", () => {
  const texts = Array.from({ length: 200_000 }, () => "token");
  const search =
    (...sequences: string[]) =>
    (): void => {
      expect(findStop({ texts }, counted(), texts.length, sequences)).toBeNull();
    };
  // Each part of the text is looked at twice at most. Looked for anew with each 16 kB, 300 kB take 5 times as long.
  expect(leastCpuUs(search("z".repeat(300_000), "stop"))).toBeLessThan(3 * leastCpuUs(search("stop")));
});
