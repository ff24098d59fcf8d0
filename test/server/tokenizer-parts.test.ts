/** Texts are counted in parts: the same tokens, and no run of characters that takes minutes. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { loadEncoding } from "../../src/base/encodings.ts";
import { corpus } from "../../src/core/text/corpus.ts";
import { loadTokenizer, partsOf } from "../../src/server/tokenizer.ts";

const texts = {
  prose: corpus.join("").repeat(3),
  "source code": readFileSync(new URL("../../src/core/pacing/pacer.ts", import.meta.url), "utf8"),
  "a table": Array.from({ length: 400 }, (_, row) => `${row},${(row * 17) % 1000},${row / 4}`).join("\n"),
};
const cases = (["o200k_base", "cl100k_base"] as const).flatMap((encoding) =>
  Object.entries(texts).map(([what, text]) => ({ encoding, what, text })),
);

test.each(cases)("$encoding: $what has the same tokens in parts", async ({ encoding, text }) => {
  const { count, encode } = await loadEncoding(encoding);
  const tokenizer = await loadTokenizer(encoding);
  expect(partsOf(text).length).toBeGreaterThan(10);
  expect(partsOf(text).join("")).toBe(text);
  expect(tokenizer.count(text)).toBe(count(text));
  expect(tokenizer.encode(text)).toEqual(encode(text));
});

test.each(["o200k_base", "cl100k_base"] as const)("%s: tokens have the same text together as one by one", async (encoding) => {
  const { encode, textsOf, decode } = await loadTokenizer(encoding);
  const text = `${texts.prose} Grüße, 世界 \u{1f469}\u200d\u{1f680} ꙮ`;
  expect(decode(encode(text))).toBe(text);
  // Halves of characters, at the end and before a text; no token has the last id.
  for (const ids of [encode("ꙮ").slice(0, 1), [...encode("ꙮ").slice(0, 1), ...encode("a")], [1_000_000, ...encode("b")]])
    expect(decode(ids)).toBe(textsOf(ids).join(""));
});

test("a run without a place to cut is cut all the same, and never inside a character", async () => {
  const tokenizer = await loadTokenizer("o200k_base");
  for (const text of ["漢字仮名".repeat(5000), "😀".repeat(5000), `a${"😀".repeat(5000)}`, "ab".repeat(20_000)]) {
    expect(partsOf(text).join("")).toBe(text);
    expect(Math.max(...partsOf(text).map(({ length }) => length))).toBeLessThanOrEqual(512);
    expect(partsOf(text).every((part) => !/\p{Surrogate}/u.test(part))).toBe(true);
    // In one piece the first of these takes minutes.
    expect(tokenizer.count(text)).toBeGreaterThan(1000);
  }
});
