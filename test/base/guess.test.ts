/** What a word with a typo was meant to be. */
import { expect, test } from "vitest";
import { didYouMean, guesses } from "../../src/base/guess.ts";

const protocols = ["h1", "h1s", "h2c", "h2", "h3"];

test.each([
  ["http2", ["h2", "h2c"]],
  ["HTTP/2", ["h2", "h2c"]],
  ["http/2.0", ["h2", "h2c"]],
  ["http1.1", ["h1"]],
  ["http/1.1", ["h1"]],
  ["HTTP/1", ["h1"]],
  ["http", ["h1"]],
  ["https", ["h1s", "h2"]],
  ["tls", ["h1s", "h2"]],
  ["H2", ["h2"]],
  ["h2-c", ["h2c"]],
  ["h2s", ["h2"]],
  ["h2-prior-knowledge", ["h2c"]],
  ["websocket", []],
  ["", []],
])("protocol %s", (word, found) => expect(guesses(word, protocols)).toEqual(found));

test.each([
  ["vlm", ["vllm"]],
  ["vLLM", ["vllm"]],
  ["open-ai", ["openai"]],
  ["opnerouter", ["openrouter"]],
  ["min", ["minimal"]],
  ["banana", []],
  ["constructor", []],
])("profile %s", (word, found) => expect(guesses(word, ["openai", "vllm", "openrouter", "minimal"])).toEqual(found));

const presets = ["llama-3.1-8b-h100", "llama-3.1-8b-a100", "llama-3.3-70b-4xh100", "groq-llama-2-70b"];

test.each([
  ["lama", presets.slice(0, 3)],
  ["goq", []],
  ["grok", ["groq-llama-2-70b"]],
  ["gpt-4", []],
])("%s, part of a name of several words", (word, found) => expect(guesses(word, presets)).toEqual(found));

test("a protocol's other name is no guess among other words", () => {
  expect(guesses("http2", ["uws", "node"])).toEqual([]);
});

test("as a message ends", () => {
  expect(didYouMean("http2", protocols)).toBe(": did you mean h2 or h2c?");
  expect(didYouMean("HTTP/3", protocols)).toBe(": did you mean h3?");
  expect(didYouMean("gRPC", protocols)).toBe(": there is no gRPC (docs/decisions.md says why)");
  expect(didYouMean("grpc", ["uws", "node"])).toBe("");
  expect(didYouMean("ecco", ["random", "echo"])).toBe(": did you mean echo?");
  expect(didYouMean("nothing", protocols)).toBe("");
});
