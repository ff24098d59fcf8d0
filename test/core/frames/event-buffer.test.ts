/** Where events are written. */
import fc from "fast-check";
import { expect, test, vi } from "vitest";
import { EventBuffer } from "../../../src/core/frames/script.ts";

test("text of any length and any characters is encoded in place, behind what is there", () => {
  const encoder = new TextEncoder();
  fc.assert(
    fc.property(fc.string({ unit: "binary", minLength: 1, maxLength: 20 }), fc.integer({ min: 65_500, max: 65_540 }), (piece, before) => {
      const buffer = new EventBuffer();
      const text = piece.repeat(40) + "\ud800";
      buffer.reset(false, 0, 0);
      buffer.ascii("x".repeat(before));
      const encode = vi.spyOn(TextEncoder.prototype, "encode");
      buffer.text(text);
      expect(encode).not.toHaveBeenCalled();
      encode.mockRestore();
      buffer.text("");
      expect(Buffer.from(buffer.frame()).equals(encoder.encode("x".repeat(before) + text))).toBe(true);
    }),
  );
});
