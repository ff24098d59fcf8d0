/** Rate limits on the wire: headers, refusals, and what they promise. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createServer } from "../../src/index.ts";
import { chat } from "../support/chat.ts";
import { type Answer, start, type Started, targets } from "../support/targets.ts";
import { sleep } from "../support/wait.ts";

interface ErrorBody {
  readonly error: { readonly message: string; readonly type: string; readonly param: null; readonly code: string };
}
const bearer = (key: string): Record<string, string> => ({ authorization: `Bearer ${key}` });

describe.each(targets)("$name", (target) => {
  let running: Started;
  beforeAll(async () => {
    running = await start(target, { outputTokens: 2, rateLimit: "rpm=4,tpm=1000", apiKey: ["one", "two", "three", "four", "five"] });
  });
  afterAll(() => running.stop());

  test("requests count down on every response, then 429 in OpenAI's words", async () => {
    const ask = (stream: boolean): Promise<Answer> => running.ask({ body: chat({ stream }), headers: bearer("one") });
    for (const [remaining, stream] of [
      [3, true],
      [2, false],
      [1, true],
    ] as const) {
      const { status, headers } = await ask(stream);
      expect(status).toBe(200);
      expect(headers["x-ratelimit-limit-requests"]).toBe("4");
      expect(headers["x-ratelimit-remaining-requests"]).toBe(String(remaining));
      expect(headers["x-ratelimit-reset-requests"]).toMatch(
        stream && remaining === 3 ? /^15s$/ : /^(1[0-9]|2[0-9]|4[0-9]|3[0-9])(\.\d+)?s$/,
      );
      expect(headers["x-ratelimit-limit-tokens"]).toBe("1000");
      expect(Number(headers["x-ratelimit-remaining-tokens"])).toBeLessThan(1000);
    }
    // What a client got wrong counts as well, and its answer has the headers too.
    const wrong = await running.ask({ body: "{", headers: bearer("one") });
    expect([wrong.status, wrong.headers["x-ratelimit-remaining-requests"]]).toEqual([400, "0"]);
    const { status, headers, body } = await ask(true);
    const refusedMs = performance.now();
    expect(status).toBe(429);
    expect(headers["content-type"]).toBe("application/json");
    expect(headers["x-ratelimit-remaining-requests"]).toBe("0");
    const waitMs = Number(headers["retry-after-ms"]);
    expect(waitMs).toBeGreaterThan(0);
    expect(waitMs).toBeLessThanOrEqual(15_000);
    expect(headers["retry-after"]).toBe(String(Math.ceil(waitMs / 1000)));
    expect((JSON.parse(body) as ErrorBody).error).toEqual({
      message: expect.stringMatching(
        /^Rate limit reached for gpt-4o in organization org-fakeai on requests per min \(RPM\): Limit 4, Used 4, Requested 1\. Please try again in [\d.]+m?s\. Visit https:\/\/platform\.openai\.com\/account\/rate-limits to learn more\.$/,
      ) as string,
      type: "requests",
      param: null,
      code: "rate_limit_exceeded",
    });
    // Refused requests cost nothing: the wait only gets shorter.
    const again = await ask(false);
    expect(again.status).toBe(429);
    expect(Number(again.headers["retry-after-ms"])).toBeLessThanOrEqual(waitMs - Math.floor(again.startedMs - refusedMs) + 1);
    // Looking costs nothing either, and others are not held up.
    expect((await running.ask({ path: "/v1/models", headers: bearer("one") })).status).toBe(200);
    const other = await running.ask({ body: chat(), headers: { "x-api-key": "two" } });
    expect([other.status, other.headers["x-ratelimit-remaining-requests"]]).toEqual([200, "3"]);
  });

  test("tokens: what the answer may have, or the request's length", async () => {
    const ask = (more: object): Promise<Answer> => running.ask({ body: chat(more), headers: bearer("three") });
    expect((await ask({ max_tokens: 900 })).headers["x-ratelimit-remaining-tokens"]).toBe("100");
    const refused = await ask({ max_completion_tokens: 500 });
    expect(refused.status).toBe(429);
    expect((JSON.parse(refused.body) as ErrorBody).error).toMatchObject({
      type: "tokens",
      message: expect.stringMatching(
        /on tokens per min \(TPM\): Limit 1000, Used [5-9]\d\d, Requested 500\. Please try again in /,
      ) as string,
    });
    expect(Number(refused.headers["retry-after-ms"])).toBeGreaterThan(10_000);
    const large = await ask({ max_tokens: 1001 });
    expect(large.status).toBe(429);
    expect(large.headers["retry-after"]).toBeUndefined();
    expect((JSON.parse(large.body) as ErrorBody).error.message).toMatch(/^Request too large for gpt-4o .*Limit 1000, Requested 1001\./);
    const long = await running.ask({ body: chat({ user: "x".repeat(2000) }), headers: bearer("four") });
    expect(Number(long.headers["x-ratelimit-remaining-tokens"])).toBeLessThan(500);
    expect(Number(long.headers["x-ratelimit-remaining-tokens"])).toBeGreaterThan(450);
  });

  test("Anthropic's paths have Anthropic's names and words", async () => {
    const ask = (): Promise<Answer> =>
      running.ask({ path: "/v1/messages", body: { model: "claude", max_tokens: 400, messages: [] }, headers: { "x-api-key": "five" } });
    const first = await ask();
    expect(first.headers["anthropic-ratelimit-requests-limit"]).toBe("4");
    expect(first.headers["anthropic-ratelimit-tokens-remaining"]).toBe("600");
    expect(first.headers["anthropic-ratelimit-requests-reset"]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(first.headers["x-ratelimit-limit-requests"]).toBeUndefined();
    await ask();
    const refused = await ask();
    expect(refused.status).toBe(429);
    expect(Number(refused.headers["retry-after"])).toBeGreaterThanOrEqual(11);
    expect(JSON.parse(refused.body)).toEqual({
      type: "error",
      error: { type: "rate_limit_error", message: expect.stringMatching(/rate limit of 1000 /) as string },
      request_id: refused.headers["request-id"],
    });
  });
});

test("without keys: per key shown, and one allowance for all who show none", async () => {
  await using server = await createServer({ rateLimit: "rpm=2", outputTokens: 1 });
  const status = async (headers: Record<string, string>): Promise<number> =>
    (await fetch(`${server.urls.h1}/v1/chat/completions`, { method: "POST", headers, body: JSON.stringify(chat()) })).status;
  expect([await status({}), await status({}), await status({})]).toEqual([200, 200, 429]);
  expect([await status(bearer("a")), await status(bearer("b")), await status(bearer("a")), await status(bearer("a"))]).toEqual([
    200, 200, 200, 429,
  ]);
  expect((await fetch(`${server.urls.h1}/metrics`)).headers.get("x-ratelimit-limit-requests")).toBeNull();
});

test("what retry-after-ms says is true on the wire", async () => {
  await using server = await createServer({ rateLimit: "rpm=300", outputTokens: 1 });
  const ask = (): Promise<Response> => fetch(`${server.urls.h1}/v1/chat/completions`, { method: "POST", body: JSON.stringify(chat()) });
  const refused = async (): Promise<Response> => {
    for (;;) {
      const answer = await ask();
      if (answer.status !== 200) return answer;
    }
  };
  for (let round = 0; round < 3; round++) {
    const answer = await refused();
    expect(answer.status).toBe(429);
    await sleep(Number(answer.headers.get("retry-after-ms")) + 2);
    expect((await ask()).status).toBe(200);
  }
});

test.each([["rpm"], ["rpm=0"], ["rpm=1,rpm=2"], ["rpm=1.5"], ["tpm=100000001"], ["rps=5"], [""]])(
  "--rate-limit %j is refused",
  async (rateLimit) => {
    await expect(createServer({ rateLimit })).rejects.toThrow(/^--rate-limit: /);
  },
);
