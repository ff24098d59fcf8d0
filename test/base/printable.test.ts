import { expect, test } from "vitest";
import { fileNameOf, printable, printableJson } from "../../src/base/printable.ts";

test("what a terminal acts on is shown as its escape", () => {
  expect(printable("\u001B[2J\u0007\u009B31m")).toBe("\\x1b[2J\\x07\\x9b31m");
  expect(printable("a\r\n\tb\u2028c")).toBe("a b c");
  expect(printable("evil\u202Etxt.exe \u2066\u200B\uFEFF")).toBe("evil\\u202etxt.exe \\u2066\\u200b\\ufeff");
  expect(printable("µs – 日本 é \u00A0")).toBe("µs – 日本 é \u00A0");
});

test("JSON says the same without them", () => {
  const value = { name: "\u001B]0;x\u0007\u009B\u007F\u202E", list: [1, null, "é"] };
  const line = printableJson(value);
  // oxlint-disable-next-line no-control-regex
  expect(line).not.toMatch(/[\u0000-\u001F\u007F-\u009F\u202E]/u);
  expect(JSON.parse(line)).toEqual(value);
});

test.each([
  ["../../evil", "evil"],
  ["/etc/passwd", "etc-passwd"],
  ["..", "unnamed"],
  [".hidden", "hidden"],
  ["a\\b:c\u0000d", "a-b-c-d"],
  ["", "unnamed"],
  ["mux-scale", "mux-scale"],
  ["2026-11-29T10-15-00-stream+idle", "2026-11-29T10-15-00-stream+idle"],
  ["x".repeat(400), "x".repeat(120)],
])("%j is the file name %j", (text, name) => {
  expect(fileNameOf(text)).toBe(name);
});
