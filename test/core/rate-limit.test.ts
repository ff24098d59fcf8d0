/** Rate limits: as arithmetic on a fake clock, then on the wire. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { formatDuration, LocalRateLimiter, maxRateLimit } from "../../src/core/limits/rate-limit.ts";
import { createServer } from "../../src/index.ts";
import { type Answer, chat, sleep, start, type Started, targets } from "../support/targets.ts";

const limit = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: maxRateLimit }));

describe("the bucket", () => {
  test("over any window nobody gets more than the limit and what refilled meanwhile", () => {
    const step = fc.record({ waitUs: fc.oneof(fc.constant(0), fc.nat(1000), fc.nat(90_000_000)), tokens: fc.nat(400) });
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 30 }),
        fc.integer({ min: 1, max: 2000 }),
        fc.array(step, { maxLength: 120 }),
        (rpm, tpm, steps) => {
          let nowUs = 5_000_000;
          const limiter = new LocalRateLimiter({ requests: rpm, tokens: tpm }, () => nowUs);
          const admitted: { atUs: number; tokens: number }[] = [];
          for (const { waitUs, tokens } of steps) {
            nowUs += waitUs;
            if (limiter.take("a", tokens).refusal === null) admitted.push({ atUs: nowUs, tokens });
          }
          for (let from = 0; from < admitted.length; from++) {
            let requests = 0;
            let tokens = 0;
            for (let to = from; to < admitted.length; to++) {
              requests++;
              tokens += admitted[to]!.tokens;
              const minutes = (admitted[to]!.atUs - admitted[from]!.atUs) / 60_000_000;
              expect(requests).toBeLessThanOrEqual(rpm * (1 + minutes) + 1e-9);
              expect(tokens).toBeLessThanOrEqual(tpm * (1 + minutes) + 1e-9);
            }
          }
        },
      ),
    );
  });

  test("what is said to remain is exactly what is then admitted", () => {
    fc.assert(
      fc.property(limit, fc.double({ min: 0, max: 1, noNaN: true }), fc.nat(70_000_000), (tpm, share, waitUs) => {
        let nowUs = 1000;
        const limiter = new LocalRateLimiter({ requests: null, tokens: tpm }, () => nowUs);
        limiter.take("a", Math.floor(tpm * share));
        nowUs += waitUs;
        const { remaining } = limiter.look("a").tokens!;
        expect(limiter.take("a", remaining + 1).refusal).not.toBeNull();
        const decision = limiter.take("a", remaining);
        expect(decision.refusal).toBeNull();
        expect(decision.state.tokens!.remaining).toBe(0);
      }),
    );
  });

  test("after the reset the whole limit is there, a microsecond earlier it is not", () => {
    fc.assert(
      fc.property(limit, fc.integer({ min: 1, max: maxRateLimit }), (tpm, wanted) => {
        let nowUs = 0;
        const limiter = new LocalRateLimiter({ requests: null, tokens: tpm }, () => nowUs);
        limiter.take("a", Math.min(tpm, wanted));
        const { resetUs } = limiter.look("a").tokens!;
        nowUs = resetUs - 1;
        expect(limiter.look("a").tokens!.resetUs).toBe(1);
        expect(limiter.look("a").tokens!.remaining).toBeLessThan(tpm);
        nowUs = resetUs;
        expect(limiter.look("a").tokens).toEqual({ limit: tpm, remaining: tpm, resetUs: 0 });
      }),
    );
  });

  test("a refused request is admitted after its wait, not a microsecond earlier, and costs nothing", () => {
    fc.assert(
      fc.property(limit, fc.double({ min: 0.01, max: 1, noNaN: true }), fc.nat(1_000_000), (tpm, share, waitUs) => {
        let nowUs = 0;
        const limiter = new LocalRateLimiter({ requests: null, tokens: tpm }, () => nowUs);
        const amount = Math.max(1, Math.floor(tpm * share));
        while (limiter.take("a", amount).refusal === null) nowUs += waitUs % 1000;
        const { refusal } = limiter.take("a", amount);
        expect(refusal).toMatchObject({ what: "tokens", limit: tpm, requested: amount });
        const startUs = nowUs;
        nowUs = startUs + refusal!.waitUs! - 1;
        expect(limiter.take("a", amount).refusal?.waitUs).toBe(1);
        nowUs++;
        expect(limiter.take("a", amount).refusal).toBeNull();
      }),
    );
  });

  test("more than the whole limit is never admitted; clients do not share; no limit is no state", () => {
    const limiter = new LocalRateLimiter({ requests: 1, tokens: 100 }, () => 0);
    expect(limiter.take("a", 101).refusal).toMatchObject({ what: "tokens", requested: 101, waitUs: null });
    expect(limiter.take("a", 100).refusal).toBeNull();
    expect(limiter.take("a", 1).refusal).toMatchObject({ what: "requests", limit: 1, used: 1, waitUs: 60_000_000 });
    expect(limiter.take("b", 100).refusal).toBeNull();
    expect(new LocalRateLimiter({ requests: null, tokens: null }, () => 0).take("a", 1e9)).toEqual({
      state: { requests: null, tokens: null },
      refusal: null,
    });
  });

  test("changed limits act at once; what was used stays used", () => {
    let nowUs = 0;
    const limiter = new LocalRateLimiter({ requests: 60, tokens: null }, () => nowUs);
    for (let i = 0; i < 30; i++) limiter.take("a", 0);
    nowUs = 10_000_000;
    limiter.setLimits({ requests: 120, tokens: null });
    expect(limiter.look("a").requests).toEqual({ limit: 120, remaining: 100, resetUs: 10_000_000 });
    limiter.setLimits({ requests: 6, tokens: null });
    expect(limiter.take("a", 0).refusal).toMatchObject({ used: 6, waitUs: 150_000_000 });
    nowUs += 150_000_000;
    expect(limiter.take("a", 0).refusal).toBeNull();
  });

  test("clients beyond the bound share one allowance instead of getting fresh ones", () => {
    let nowUs = 0;
    const limiter = new LocalRateLimiter({ requests: 1, tokens: null }, () => nowUs);
    for (let i = 0; i < 10_000; i++) expect(limiter.take(`c${i}`, 0).refusal).toBeNull();
    expect(limiter.take("new 1", 0).refusal).toBeNull();
    expect(limiter.take("new 2", 0).refusal).not.toBeNull();
    nowUs = 61_000_000;
    expect(limiter.take("new 3", 0).refusal).toBeNull();
    expect(limiter.take("new 4", 0).refusal).toBeNull();
  });

  test.each([
    [0, "0s"],
    [1, "1ms"],
    [6000, "6ms"],
    [999_001, "1s"],
    [8_640_000, "8.64s"],
    [59_999_001, "1m0s"],
    [90_000_000, "1m30s"],
    [90_500_000, "1m30.5s"],
    [3_600_000_000, "1h0m0s"],
  ])("%d us is %s", (us, text) => expect(formatDuration(us)).toBe(text));
});

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
