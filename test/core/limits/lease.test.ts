/** Rate limits over several processes: what they admit together stays within a block of what one would admit. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { answerRates, LeasingRateLimiter, type RateAnswer, type RateQuestion } from "../../../src/core/limits/lease.ts";
import { LocalRateLimiter, type RateLimits } from "../../../src/core/limits/rate-limit.ts";

/** A keeper and processes that ask it, on a clock that only the test moves. */
function team(limits: RateLimits, processes: number) {
  const clock = { us: 0 };
  let asked = 0;
  const keeper = new LocalRateLimiter(limits, () => clock.us);
  const ask = async (question: RateQuestion): Promise<RateAnswer> => {
    asked++;
    return answerRates(keeper, question);
  };
  const limiters = Array.from({ length: processes }, () => new LeasingRateLimiter({ limits, processes, nowUs: () => clock.us, ask }));
  return { clock, keeper, limiters, asked: () => asked };
}

describe("several processes", () => {
  test("admit together what one would, within one block, at any order and time", async () => {
    const request = fc.record({
      process: fc.nat(3),
      tokens: fc.integer({ min: 1, max: 400 }),
      waitUs: fc.integer({ min: 0, max: 20_000 }),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 2000 }),
        fc.integer({ min: 400, max: 200_000 }),
        fc.array(request, { minLength: 1, maxLength: 300 }),
        async (rpm, tpm, requests) => {
          const { clock, limiters } = team({ requests: rpm, tokens: tpm }, 4);
          let admitted = 0;
          let tokens = 0;
          for (const { process, tokens: asked, waitUs } of requests) {
            clock.us += waitUs;
            if ((await limiters[process]!.take("a", asked)).refusal !== null) continue;
            admitted++;
            tokens += asked;
          }
          const minutes = clock.us / 60_000_000;
          expect(admitted).toBeLessThanOrEqual(rpm * (1 + minutes) + rpm / 50);
          expect(tokens).toBeLessThanOrEqual(tpm * (1 + minutes) + tpm / 50);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("refuse nothing before all but a block is used, and ask rarely", async () => {
    const { limiters, asked } = team({ requests: 10_000, tokens: null }, 2);
    let admitted = 0;
    for (let i = 0; i < 12_000; i++) if ((await limiters[i % 2]!.take("a", 0)).refusal === null) admitted++;
    expect(admitted).toBeGreaterThanOrEqual(10_000 - 200);
    expect(admitted).toBeLessThanOrEqual(10_000);
    // Blocks of 100, and every refusal.
    expect(asked() - (12_000 - admitted)).toBeLessThan(220);
  });

  test("requests that come at once do not lease a block each", async () => {
    const { keeper, limiters } = team({ requests: 10_000, tokens: null }, 2);
    await Promise.all(Array.from({ length: 50 }, async () => limiters[0]!.take("a", 0)));
    expect(keeper.look("a").requests!.remaining).toBe(10_000 - 50 - 100);
  });

  test("a small limit is exact, and so is what it says", async () => {
    const { clock, limiters } = team({ requests: 3, tokens: null }, 2);
    const remaining: (number | undefined)[] = [];
    for (let i = 0; i < 3; i++) remaining.push((await limiters[i % 2]!.take("a", 0)).state.requests?.remaining);
    expect(remaining).toEqual([2, 1, 0]);
    const { refusal } = await limiters[1]!.take("a", 0);
    expect(refusal).toMatchObject({ what: "requests", limit: 3, waitUs: 20_000_000 });
    clock.us += 20_000_000;
    expect((await limiters[0]!.look("a")).requests?.remaining).toBe(1);
    expect((await limiters[0]!.take("a", 0)).refusal).toBeNull();
  });

  test("new limits hold at once, and blocks of the old are given up", async () => {
    const { keeper, limiters } = team({ requests: 10_000, tokens: null }, 2);
    await limiters[0]!.take("a", 0);
    expect(limiters[0]!.take("a", 0)).not.toBeInstanceOf(Promise);
    const limits = { requests: 5, tokens: null };
    keeper.setLimits(limits);
    for (const limiter of limiters) limiter.setLimits(limits);
    expect(limiters[0]!.take("a", 0)).toBeInstanceOf(Promise);
  });
});
