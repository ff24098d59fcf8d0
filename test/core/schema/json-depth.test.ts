import fc from "fast-check";
import { expect, test } from "vitest";
import { exceedsJsonDepth } from "../../../src/core/schema/json-depth.ts";

const depthOf = (value: unknown): number =>
  typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;

test("agrees with the parsed value, whatever its strings and keys hold", () => {
  fc.assert(
    fc.property(
      fc.json({ maxDepth: 8, stringUnit: fc.constantFrom("[", "]", "{", "}", '"', "\\", "a", "é") }),
      fc.nat(9),
      (text, limit) => {
        expect(exceedsJsonDepth(new TextEncoder().encode(text), limit)).toBe(depthOf(JSON.parse(text)) > limit);
      },
    ),
  );
});

test("text that is no JSON does no harm", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(exceedsJsonDepth(bytes, bytes.length)).toBe(false);
    }),
  );
});
