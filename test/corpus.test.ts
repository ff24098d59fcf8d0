/** What the fake model says, against OpenAI's own encoding. */
import { Tiktoken } from "js-tiktoken/lite";
import o200kBase from "js-tiktoken/ranks/o200k_base";
import { expect, test } from "vitest";
import { corpus } from "../src/core/corpus.ts";

test("the corpus is cut as o200k_base cuts it, token by token", () => {
  const encoding = new Tiktoken(o200kBase);
  const tokens = encoding.encode(corpus.join("")).map((token) => encoding.decode([token]));
  expect(tokens).toEqual(corpus);
});
