/** Heads on uWebSockets.js, whose lines are kept from answer to answer. */
import { expect, test } from "vitest";
import { createServer } from "../../src/index.ts";

test("heads that differ in their last header, in another one, and in all", async () => {
  await using server = await createServer({ h1Engine: "uws", outputTokens: 1, admin: false });
  const ask = async (path: string, content: string): Promise<Record<string, string>> => {
    const body = JSON.stringify({ model: "m", messages: [{ role: "user", content }] });
    const answer = await fetch(`${server.urls.h1}${path}`, { method: "POST", body });
    await answer.arrayBuffer();
    return { status: String(answer.status), ...Object.fromEntries(answer.headers) };
  };
  const chat = "/v1/chat/completions";
  const [first, second, longer, unknown, again] = [
    await ask(chat, "Hi"),
    await ask(chat, "Hi"),
    await ask(chat, "Hi ".repeat(4000)),
    await ask("/v1/unknown", "Hi"),
    await ask(chat, "Hi"),
  ];
  const names = Object.keys(first);
  expect(names).toContain("x-request-id");
  for (const other of [second, longer, again]) expect(Object.keys(other)).toEqual(names);
  expect(new Set([first, second, longer, again].map((head) => head["x-request-id"])).size).toBe(4);
  const withoutOwn = ({ "x-request-id": _id, "content-length": _length, date: _date, ...rest }: Record<string, string>): object => rest;
  expect(withoutOwn(second)).toEqual(withoutOwn(first));
  expect(withoutOwn(again)).toEqual(withoutOwn(first));
  expect(Number(longer["x-ratelimit-remaining-tokens"])).toBeLessThan(Number(first["x-ratelimit-remaining-tokens"]));
  expect([unknown["status"], unknown["openai-organization"]]).toEqual(["404", undefined]);
});
