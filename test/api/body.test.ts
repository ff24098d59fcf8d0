import { expect, test } from "vitest";
import { isRemembered, parseBody, peekBody } from "../../src/api/shared/body.ts";

const bytesOf = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

test("the same text as before is not parsed again; another one is", () => {
  const first = parseBody(bytesOf({ model: "m", n: 1 }));
  expect(parseBody(bytesOf({ model: "m", n: 1 }))).toBe(first);
  expect(isRemembered(first)).toBe(true);
  const second = parseBody(bytesOf({ model: "m", n: 2 }));
  expect(second).toEqual({ model: "m", n: 2 });
  expect(isRemembered(first)).toBe(false);
  expect(parseBody(bytesOf({ model: "m", n: 1 }))).not.toBe(first);
});

test("a value that was looked at before its route is not the one that is remembered", () => {
  const remembered = parseBody(bytesOf({ model: "m" }));
  const bytes = bytesOf({ model: "m" });
  const seen = peekBody(bytes) as { model: string };
  expect(seen).not.toBe(remembered);
  expect(parseBody(bytes)).toBe(seen);
  // A log that kept it may change it.
  seen.model = "other";
  expect(parseBody(bytesOf({ model: "m" }))).toEqual({ model: "m" });
});

test("a long text is parsed anew, and a bad one complains each time", () => {
  const long = { model: "m", user: "u".repeat(5000) };
  expect(parseBody(bytesOf(long))).not.toBe(parseBody(bytesOf(long)));
  for (let time = 0; time < 2; time++) {
    expect(() => parseBody(new Uint8Array())).toThrow(/could not parse/);
    expect(() => parseBody(bytesOf({ fakeai_ttft: 1 }))).toThrow(/Unknown parameter/);
  }
});
