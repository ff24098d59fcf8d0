import fc from "fast-check";
import { expect, test } from "vitest";
import { workBounds } from "../../../src/core/limits/budget.ts";
import { jsonExcess } from "../../../src/core/limits/json-bounds.ts";

const depthOf = (value: unknown): number =>
  typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0;
/** Which bound a text passes. */
const passed = (bytes: Uint8Array, mostDepth: number): string | null => jsonExcess(bytes, mostDepth)?.of ?? null;
const bytesOf = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Strings full of what means something outside of them, short and long. */
const stringUnit = fc.constantFrom("[", "]", "{", "}", '"', "\\", ",", ":", "a", "é");

test("agrees with the parsed value, whatever its strings and keys hold", () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 8, stringUnit }), fc.nat(9), (text, limit) => {
      expect(passed(bytesOf(text), limit)).toBe(depthOf(JSON.parse(text)) > limit ? "depth" : null);
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.string({ unit: stringUnit, maxLength: 80 })), (strings) => {
      const text = JSON.stringify(strings.map((string) => [string]));
      expect(passed(bytesOf(text), 1)).toBe(strings.length === 0 ? null : "depth");
      expect(passed(bytesOf(text), 2)).toBeNull();
    }),
  );
});

test("text that is no JSON does no harm", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(passed(bytes, bytes.length)).toBeNull();
    }),
  );
});

test.each<[keyof typeof workBounds, (count: number) => string]>([
  ["bodyMembers", (count) => `{${Array.from({ length: count }, (_, i) => `"k${i}":1`).join(",")}}`],
  ["bodyContainers", (count) => "[]".repeat(count)],
  ["bodyStrings", (count) => `[${Array.from({ length: count }, (_, i) => `"${i}"`).join(",")}]`],
  ["bodyValues", (count) => `[${"1,".repeat(count)}1]`],
])("%s are counted", (work, textOf) => {
  const { most } = workBounds[work];
  expect(passed(bytesOf(textOf(most)), 9)).toBeNull();
  expect(passed(bytesOf(textOf(most + 1)), 9)).toBe(work);
});

test("numbers that are no integers of 31 bits count three times, with spaces around them or none", () => {
  const { most } = workBounds.bodyValues;
  const listOf = (value: string, count: number): Uint8Array => bytesOf(`[${`${value},`.repeat(count)}1]`);
  for (const number of ["4294967296", "-123456789.5", "1.5", "5e-324", "-1E+9", "1.5 ", " 220065516222457\n"]) {
    expect(passed(listOf(number, Math.floor(most / 3)), 9)).toBeNull();
    expect(passed(listOf(number, Math.floor(most / 3) + 1), 9)).toBe("bodyValues");
  }
  for (const other of ["429496729", "\n            7", "-7", "true", "false", "null"]) expect(passed(listOf(other, most), 9)).toBeNull();
  expect(passed(listOf('"1.5"', workBounds.bodyStrings.most), 9)).toBeNull();
});

test("a text may be near some of its bounds, and not near all", () => {
  const { bodyMembers, bodyContainers, bodyValues, bodyStrings } = workBounds;
  const object = `{${Array.from({ length: bodyMembers.most * 0.95 }, (_, i) => `"k${i}":1`).join(",")}}`;
  const list = (value: string, count: number): string => `[${Array.from({ length: Math.floor(count) }, () => value).join(",")}]`;
  const numbers = list("1", bodyValues.most * 0.6);
  expect(passed(bytesOf(`[${object}]`), 9)).toBeNull();
  expect(passed(bytesOf(`[${numbers},${list('"x"', bodyStrings.most * 0.9)}]`), 9)).toBeNull();
  expect(passed(bytesOf(`[${object},${numbers},${list("[]", bodyContainers.most * 0.5)}]`), 9)).toBe("together");
});

test("the byte is told that is one too many", () => {
  const { most } = workBounds.bodyStrings;
  const strings = bytesOf(`[${'"a",'.repeat(most)}"b"]`);
  expect(jsonExcess(strings, 9)).toEqual({ of: "bodyStrings", at: strings.length - 4, shares: 0 });
  expect(jsonExcess(bytesOf('{"a":[[[]]]}'), 3)).toEqual({ of: "depth", at: 7, shares: 0 });
});

test("behind a byte that no JSON has between strings nothing is looked at, because nothing is parsed", () => {
  for (const byte of ["<", "é", "\0", "\ufeff", "]"])
    expect([byte, passed(bytesOf(` ${byte}${"[".repeat(20)}`), 9)]).toEqual([byte, byte === "]" ? "depth" : null]);
  for (const text of ["1.5e3e", "1.5.5.5", "truee e"]) expect([text, passed(bytesOf(`${text}${"[".repeat(20)}`), 9)]).toEqual([text, null]);
  const marked = "\ufeff";
  expect(passed(bytesOf(`${marked}${"[".repeat(20)}`), 9)).toBe("depth");
});

test("a text that is near all of its bounds, and no JSON at its end, is refused: it is parsed up to there", () => {
  const list = (value: string, count: number): string => `[${Array.from({ length: count }, () => value).join(",")}]`;
  const near = `${list('"x"', workBounds.bodyStrings.most)},${list("[]", workBounds.bodyContainers.most * 0.9)}`;
  for (const end of ["x", "1.5.5", "]"]) expect([end, passed(bytesOf(`[${near},${end}`), 9)]).toEqual([end, "together"]);
});
