/** What became of events: what is lost, repeated, changed or out of order is counted, whatever the texts are. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compareEvents } from "../../../src/results/gateways/fidelity.ts";

const chunk = (content: string): string => JSON.stringify({ choices: [{ delta: { content }, finish_reason: null }] });
const ends = [
  JSON.stringify({ choices: [{ delta: {}, finish_reason: "stop" }] }),
  JSON.stringify({ choices: [], usage: { completion_tokens: 3 } }),
  "[DONE]",
];
const answer = (texts: readonly string[]): string[] => [chunk(""), ...texts.map(chunk), ...ends];
const compare = (sent: readonly string[], received: readonly string[], whole = true): ReturnType<typeof compareEvents> =>
  compareEvents([{ sent, received, whole }]);

const clean = { lost: 0, repeated: 0, reordered: 0, changed: 0, resplit: 0, broken: 0 };
const texts = fc.array(fc.constantFrom("a", "b", "c", "d ", " the", "é"), { minLength: 4, maxLength: 40 });

describe("of any texts, equal ones too", () => {
  test("what comes as it was sent is identical", () => {
    fc.assert(
      fc.property(texts, (sent) => {
        const all = answer(sent);
        expect(compare(all, all)).toMatchObject({
          ...clean,
          sent: all.length,
          identical: all.length,
          rewritten: 0,
          finished: 1,
          withUsage: 1,
          withDone: 1,
        });
      }),
    );
  });

  test("one that is left out is lost, one that comes twice is repeated, and nothing else", () => {
    fc.assert(
      fc.property(texts, fc.nat(), (sent, where) => {
        const at = where % sent.length;
        expect(compare(answer(sent), answer(sent.toSpliced(at, 1)))).toMatchObject({ ...clean, lost: 1 });
        const twice = sent.toSpliced(at, 0, sent[at]!);
        expect(compare(answer(sent), answer(twice))).toMatchObject({ ...clean, repeated: 1 });
      }),
    );
  });

  test("two different ones that change places are out of order, once", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 2, maxLength: 30 }), fc.nat(), (sent, where) => {
        const at = where % (sent.length - 1);
        const swapped = sent.with(at, sent[at + 1]!).with(at + 1, sent[at]!);
        expect(compare(answer(sent), answer(swapped))).toMatchObject({ ...clean, reordered: 1 });
      }),
    );
  });

  test("the same text in other pieces is no loss", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 3, maxLength: 20 }), (sent) => {
        const joined = [sent.slice(0, 2).join(""), ...sent.slice(2)];
        expect(compare(answer(sent), answer(joined))).toMatchObject({ ...clean, resplit: 1 });
      }),
    );
  });
});

test("events that are written anew with the same text are told from those that are changed", () => {
  const sent = answer(["one", "two", "three"]);
  const anew = sent.map((data) => (data === "[DONE]" ? data : JSON.stringify({ ...(JSON.parse(data) as object), model: "other" })));
  expect(compare(sent, anew)).toMatchObject({ ...clean, identical: 1, rewritten: 3, finished: 1, withUsage: 1 });
  expect(compare(sent, answer(["one", "zwei", "three"]))).toMatchObject({ ...clean, lost: 1, changed: 1 });
});

test("an end that is missing, and an answer that broke off", () => {
  const sent = answer(["one", "two"]);
  expect(compare(sent, sent.slice(0, -2))).toMatchObject({ finished: 1, withUsage: 0, withDone: 0 });
  expect(compare(sent, sent.slice(0, 2), false)).toMatchObject({ lost: 1, broken: 1, finished: 0 });
  expect(compare(sent, [])).toMatchObject({ received: 0, lost: 2, identical: 0 });
});
