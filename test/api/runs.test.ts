/** Runs of tokens. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Run } from "../../src/api/shared/run.ts";

test("the text of a run is that of its tokens, whole, cut, and begun again", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", minLength: 1, maxLength: 60 }), fc.nat(200), (text, tokens) => {
      for (const run of [Run.of(text), Run.ofJson({ text }), Run.ofJson({ text }, false)]) {
        const cut = run.cutTo(Math.min(tokens, 3 * run.tokens));
        expect(cut.text()).toBe(cut.tokenTexts().join(""));
        expect(cut.characters).toBe(cut.text().length);
      }
      expect(Run.ofJson({ text }, false).tokens).toBe(Run.ofJson({ text }).tokens);
      expect(Run.of(text).text()).toBe(text);
      expect(Run.ofJson({ text }).text()).toBe(JSON.stringify({ text }));
    }),
  );
});
