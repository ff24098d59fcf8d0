/** Rate limits as arithmetic on a fake clock. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatDuration, LocalRateLimiter, maxRateLimit } from "../../../src/core/limits/rate-limit.ts";

const limit = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 10_000 }), fc.integer({ min: 1, max: maxRateLimit }));

describe("the bucket", () => {
  test("over any window no key gets more than the limit and what refilled meanwhile", () => {
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
