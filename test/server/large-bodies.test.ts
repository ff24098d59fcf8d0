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

test.each([
  ["50000 arrays and objects, passed at byte", `"messages":[${"[],".repeat(60_000)}[]]`],
  ["40000 strings, names of members included, passed at byte", `"stop":[${'"x",'.repeat(60_000)}"y"]`],
  ["16000 members, passed at byte", `"metadata":{${'"k":1,'.repeat(20_000)}"y":1}`],
  ["300000 values in lists, long numbers thrice, passed at byte", `"logit_bias":[${"1,".repeat(300_000)}1]`],
  ["1.75 of these bounds together (16000 members; ", `"stop":[${'"x",'.repeat(39_000)}0],"input":[${"[],".repeat(40_000)}0]`],
  ["and it uses 1.76.", `"stop":[${'"x",'.repeat(39_000)}0],"input":[${"[],".repeat(27_650)}0]`],
])("one that holds more than %s is refused before it is parsed", async (what, member) => {
  const parse = vi.spyOn(JSON, "parse");
  try {
    expect(await post(`{"model":"m",${member}}`)).toMatchObject({
      status: 400,
      json: { error: { code: "json_too_large", message: expect.stringContaining(what) as string } },
    });
    expect(parse.mock.calls.filter(([text]) => text.length > 100_000)).toEqual([]);
  } finally {
    parse.mockRestore();
  }
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

test("an answer in pieces takes no fault: the server's own leave it whole, one that is asked for is refused", async () => {
  await using faulty = await createServer({ fault: "malformed", h1Engine: "node" });
  const ask = (fault?: string): Promise<Response> =>
    fetch(`${faulty.urls.h1}/v1/embeddings`, {
      method: "POST",
      headers: fault === undefined ? {} : { "x-fakeai-fault": fault },
      body: JSON.stringify({ model: "m", input: Array.from({ length: 64 }, (_, index) => `text ${index}`), dimensions: 2048 }),
    });
  const whole = await ask();
  expect(whole.status).toBe(200);
  expect(((await whole.json()) as { data: unknown[] }).data).toHaveLength(64);
  const refused = await ask("truncate");
  expect(refused.status).toBe(400);
  expect(await refused.json()).toMatchObject({
    error: { param: "x-fakeai-fault", message: expect.stringContaining("in pieces") as string },
  });
  expect(Object.keys(faulty.stats().faults).length).toBe(0);
});

test("a body that no route reads is not parsed, and one longer than its route takes is refused before it is", async () => {
  await using guarded = await createServer({ outputTokens: 3, admin: true });
  const parse = vi.spyOn(JSON, "parse");
  try {
    const ask = async (method: string, path: string, bytes: number): Promise<number> => {
      const body = JSON.stringify({ replies: [{ reply: { text: "x".repeat(bytes) } }] });
      return (await fetch(`${guarded.urls.h1}${path}`, { method, body })).status;
    };
    expect(await ask("POST", "/nothing", 400_000)).toBe(404);
    expect(await ask("DELETE", "/v1/responses/resp_1", 400_000)).toBe(404);
    expect(await ask("DELETE", "/v1/chat/completions", 400_000)).toBe(405);
    expect(await ask("POST", "/admin/replies", 600_000)).toBe(413);
    expect(await ask("POST", "/admin/config", 70_000)).toBe(413);
    expect(parse.mock.calls.filter(([text]) => text.length > 60_000)).toEqual([]);
    expect(await ask("POST", "/admin/replies", 400_000)).toBe(200);
  } finally {
    parse.mockRestore();
  }
});
