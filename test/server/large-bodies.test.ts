/** Bodies that are read in steps, and bodies that hold more than one may. */
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { largeBodyBytes } from "../../src/api/shared/body.ts";
import { createServer, type FakeAiServer } from "../../src/index.ts";

let server: FakeAiServer;
beforeAll(async () => {
  server = await createServer({ outputTokens: 3, rateLimit: "tpm=100000000" });
});
afterAll(() => server.close());

const post = async (text: string): Promise<{ status: number; json: { error?: { code: string | null; message: string } } }> => {
  const answer = await fetch(`${server.urls.h1}/v1/chat/completions`, { method: "POST", body: text });
  return { status: answer.status, json: (await answer.json()) as { error?: { code: string; message: string } } };
};
const chat = (content: string): string => JSON.stringify({ model: "m", messages: [{ role: "user", content }] });

test("a large body is answered as a small one is", async () => {
  expect(chat("é".repeat(largeBodyBytes)).length).toBeGreaterThan(largeBodyBytes);
  expect(await post(chat("é".repeat(largeBodyBytes)))).toMatchObject({ status: 200 });
  expect(await post(`${chat("x".repeat(largeBodyBytes))}}`)).toMatchObject({ status: 400 });
  expect(await post(`"${"x".repeat(largeBodyBytes)}"`)).toMatchObject({ status: 400, json: { error: { code: "invalid_type" } } });
});

test("many at once are all answered, and others beside them", async () => {
  const answers = Array.from({ length: 8 }, () => post(chat("x".repeat(3_000_000))));
  const health = await fetch(`${server.urls.h1}/health`);
  expect(health.status).toBe(200);
  expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(answers.map(() => 200));
});

test("one that holds too much is refused before it is parsed", async () => {
  const many = `{"model":"m","messages":[${"[],".repeat(60_000)}[]]}`;
  expect(await post(many)).toMatchObject({
    status: 400,
    json: { error: { code: "json_too_large", message: expect.stringContaining("50000") as string } },
  });
});

test("a large body is parsed only when its key and the limits admit it", async () => {
  await using guarded = await createServer({ outputTokens: 3, apiKey: ["right"], rateLimit: "rpm=1" });
  const parse = vi.spyOn(JSON, "parse");
  const ask = async (key: string): Promise<{ status: number; parsed: number }> => {
    parse.mockClear();
    const headers = { authorization: `Bearer ${key}` };
    const body = chat("x".repeat(largeBodyBytes));
    const { status } = await fetch(`${guarded.urls.h1}/v1/chat/completions`, { method: "POST", headers, body });
    return { status, parsed: parse.mock.calls.filter(([text]) => text.length > largeBodyBytes).length };
  };
  try {
    expect(await ask("wrong")).toEqual({ status: 401, parsed: 0 });
    expect(await ask("right")).toEqual({ status: 200, parsed: 1 });
    expect(await ask("right")).toEqual({ status: 429, parsed: 0 });
  } finally {
    parse.mockRestore();
  }
});
