/** What the fake model says, against OpenAI's own encoding. */
import { decode, encode } from "gpt-tokenizer/encoding/o200k_base";
import { expect, test } from "vitest";
import { corpus } from "../../../src/core/text/corpus.ts";

test("the corpus is cut as o200k_base cuts it, token by token", () => {
  expect(encode(corpus.join("")).map((token) => decode([token]))).toEqual(corpus);
});
