/** The chunked coding (RFC 9112, section 7.1): whatever a server and the way make of it, the same bytes come out. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ChunkedReader } from "../../src/wire/chunked.ts";
import { inPieces } from "../support/pieces.ts";

/** The data, how it ended, and how many of the bytes belong to it. */
function read(wire: Buffer, cuts: readonly number[]): { data: Buffer; end: "done" | "malformed" | "more"; taken: number } {
  const parts: Buffer[] = [];
  const reader = new ChunkedReader((bytes, start, end) => parts.push(Buffer.from(bytes.subarray(start, end))));
  let taken = 0;
  for (const [buffer, start, end] of inPieces(wire, cuts)) {
    const at = reader.read(buffer, start, end);
    taken += at - start;
    if (at < end) break;
  }
  return { data: Buffer.concat(parts), end: reader.isDone ? "done" : reader.isMalformed ? "malformed" : "more", taken };
}

const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 60 });
const chunk = fc.record({
  bytes: fc.uint8Array({ minLength: 1, maxLength: 300 }),
  extension: fc.constantFrom("", ";a=b", " ;x", '\t; a="b;c"'),
  isUpper: fc.boolean(),
  zeros: fc.nat(4),
});
const trailers = fc.array(fc.constantFrom("x: y", "server-timing: a;dur=1", "z:"), { maxLength: 3 });

describe("a chunked body", () => {
  test("comes out whole, and nothing behind it is touched", () => {
    fc.assert(
      fc.property(fc.array(chunk, { maxLength: 20 }), trailers, fc.uint8Array({ maxLength: 20 }), cuts, (chunks, trailers, rest, cuts) => {
        const body = Buffer.concat([
          ...chunks.flatMap(({ bytes, extension, isUpper, zeros }) => {
            const size = "0".repeat(zeros) + bytes.length.toString(16);
            return [Buffer.from(`${isUpper ? size.toUpperCase() : size}${extension}\r\n`), bytes, Buffer.from("\r\n")];
          }),
          Buffer.from(`0\r\n${trailers.map((line) => `${line}\r\n`).join("")}\r\n`),
        ]);
        const { data, end, taken } = read(Buffer.concat([body, rest]), cuts);
        expect([end, taken]).toEqual(["done", body.length]);
        expect(data.equals(Buffer.concat(chunks.map(({ bytes }) => bytes)))).toBe(true);
        // One byte less is not the end.
        expect(read(body.subarray(0, -1), cuts).end).toBe("more");
      }),
    );
  });

  test("is followed by another", () => {
    const seen: string[] = [];
    const reader = new ChunkedReader((bytes, start, end) => seen.push(bytes.toString("latin1", start, end)));
    const wire = Buffer.from("1\r\na\r\n0\r\n\r\n2\r\nbc\r\n0\r\nx: y\r\n\r\n");
    const first = reader.read(wire, 0, wire.length);
    expect([first, reader.isDone]).toEqual([11, true]);
    reader.reset();
    expect(reader.read(wire, first, wire.length)).toBe(wire.length);
    expect([seen, reader.isDone]).toEqual([["a", "bc"], true]);
  });

  test.each<[string, string]>([
    ["no size", "\r\na\r\n"],
    ["a size that is no number", "g\r\n"],
    ["a negative size", "-1\r\n"],
    ["a size in C's notation", "0x1\r\na"],
    ["a size above 48 bits", "1000000000000\r\n"],
    ["blanks before the size", " 1\r\na"],
    ["a CR inside the size", "1\r2\n"],
    ["LF alone behind the size", "1\na"],
    ["LF alone behind an extension", "1;x\na"],
    ["CR inside an extension", "1;x\ry\r\n"],
    ["data longer than its size", "1\r\nab\r\n"],
    ["LF alone behind the data", "1\r\na\n1\r\n"],
    ["LF alone behind a trailer", "0\r\nx: y\n\r\n"],
    ["an extension without end", `1;${"x".repeat(70_000)}`],
    ["trailers without end", `0\r\n${"x: y\r\n".repeat(20_000)}`],
  ])("%s is malformed", (_, wire) => {
    expect(read(Buffer.from(wire), []).end).toBe("malformed");
    expect(
      read(
        Buffer.from(wire),
        Array.from(wire, () => 1),
      ).end,
    ).toBe("malformed");
  });
});
