import { describe, expect, it } from "vitest";
import { summarizeArm } from "../../src/results/arms.ts";
import { compareArms } from "../../src/results/compare.ts";
import { adjustComparisons, type ComparisonSpec, judgeClaim } from "../../src/results/verdict.ts";
import { Recorder, summarize } from "../../src/results/recorder.ts";
import type { ArmResult, Comparison, MetricName, Work } from "../../src/results/types.ts";
import { unseenWork } from "../../src/results/work.ts";
import { armNamed, armOf, roundOf } from "../support/simulation.ts";

function spec(metric: MetricName, more: Partial<ComparisonSpec> = {}): ComparisonSpec {
  return {
    metric,
    statistic: "mean",
    baseline: "a",
    candidate: "b",
    kind: "protocol",
    ...more,
  };
}

function compared(metric: MetricName, a: readonly (number | null)[], b: readonly (number | null)[]): Comparison {
  return compareArms([armOf("a", metric, a), armOf("b", metric, b)], spec(metric));
}

describe("a verdict", () => {
  it("is better, not higher: less latency, more requests", () => {
    expect(compared("ttft", [100_000, 101_000, 99_000], [50_000, 50_400, 49_600]).verdict).toBe("faster");
    expect(compared("requestsPerSecond", [1000, 1010, 990], [500, 504, 496]).verdict).toBe("slower");
    expect(compared("bytesReceivedPerRequest", [1000, 1010, 990], [500, 504, 496]).verdict).toBe("faster");
  });

  it("pairs rounds: what they share is no scatter", () => {
    const found = compared("requestsPerSecond", [100, 200, 400, 800], [110.1, 219.8, 440.3, 879.9]);
    expect(found.ratio?.estimate).toBeCloseTo(1.1, 2);
    expect(found.ratio?.low).toBeGreaterThan(1.09);
    expect(found).toMatchObject({ verdict: "faster", method: "t", rounds: 4 });
  });

  it("takes no interest in half a millisecond of latency, or in 2% of anything", () => {
    const small = compared("ttft", [1000, 1001, 999], [1400, 1401, 1399]);
    expect(small.ratio?.low).toBeGreaterThan(1.3);
    expect(small.verdict).toBe("equivalent");
    expect(compared("serverCpuUsPerRequest", [1000, 1001, 999], [1010, 1011, 1009]).verdict).toBe("equivalent");
    const found = compared("serverCpuUsPerRequest", [1000, 1030, 980], [1015, 1046, 994.5]);
    expect(found.ratio?.low).toBeGreaterThan(1);
    expect(["equivalent", "inconclusive"]).toContain(found.verdict);
  });

  it("is inconclusive where rounds scatter, with the reason", () => {
    expect(compared("requestsPerSecond", [100, 150, 80, 120], [130, 90, 140, 100])).toMatchObject({
      verdict: "inconclusive",
      reason: "the interval is too wide",
    });
  });

  it("leaves out rounds that are invalid or unmeasured on either side, and needs two", () => {
    expect(compared("ttft", [100, 100, null, 100], [null, 100, 100, 100]).rounds).toBe(2);
    expect(compared("ttft", [100, null], [100, 100])).toMatchObject({ verdict: "not compared", rounds: 1, ratio: null, p: null });
    expect(compared("ttft", [null], [1])).toMatchObject({ verdict: "not compared", reason: "ttft was not measured on both sides" });
    const values = [100_000, 101_000, 99_000].map((value) => summarize([value], "us"));
    const rounds = values.map((ttft, round) => roundOf(round, { ttft }, round === 1 ? ["client-limited"] : []));
    const b = summarizeArm(armNamed("b"), rounds, { negotiated: null, cipher: null, rttMs: 0 });
    expect(b.metrics.ttft?.count).toBe(2);
    expect(compareArms([armOf("a", "ttft", [1e5, 1e5, 1e5]), b], spec("ttft")).rounds).toBe(2);
  });

  it("is sound where there is no scatter, and where there is nothing but zeros", () => {
    expect(compared("bytesSentPerRequest", [500, 500, 500], [500, 500, 500])).toMatchObject({ verdict: "equivalent", p: 1 });
    expect(compared("bytesSentPerRequest", [500, 500, 500], [120, 120, 120])).toMatchObject({ verdict: "faster", p: 0 });
    expect(compared("serverLateness", [0, 0, 0], [0, 0, 0])).toMatchObject({ verdict: "equivalent", ratio: null });
    expect(compared("serverLateness", [0, 0, 0], [900, 901, 902])).toMatchObject({ verdict: "slower", ratio: null });
    expect(compared("serverLateness", [0, 0, 0], [60, 61, 62])).toMatchObject({ verdict: "equivalent", ratio: null });
    for (const values of [[0, 5, 1] as const, [Number.NaN, 1, 2] as const]) {
      expect(JSON.stringify(compared("ttft", values, [1, 2, 3]))).not.toContain("NaN");
    }
  });

  it("does not take rounds that agree to the step of a histogram for certain", () => {
    const arm = (id: string, value: number): ArmResult => {
      const rounds = [0, 1, 2].map((round) => {
        const client = new Recorder("us");
        client.record(value);
        return roundOf(round, { client: client.summary() });
      });
      return summarizeArm(armNamed(id), rounds, { negotiated: null, cipher: null, rttMs: 0 });
    };
    const found = compareArms(
      [arm("a", 20), arm("b", 21)],
      spec("client", { statistic: "p50", smallestEffect: { ratio: 0.02, absolute: null } }),
    );
    expect(found.ratio?.low).toBeLessThan(1);
    expect(found.verdict).toBe("inconclusive");
  });

  it("is no verdict about a protocol where anything else differs", () => {
    const values = [1000, 1010, 990];
    const a = armOf("a", "requestsPerSecond", values);
    const reason = (b: ArmResult, kind: "protocol" | "engine" = "protocol"): string | null => {
      return compareArms([a, b], spec("requestsPerSecond", { kind })).reason;
    };
    const b = armOf("b", "requestsPerSecond", values, { engine: "uws" });
    expect(reason(b)).toBe("engines differ: node and uws");
    expect(reason(b, "engine")).toBeNull();
    expect(reason(armOf("b", "requestsPerSecond", values, { protocol: "h2" }))).toBe("one side is encrypted and the other is not");
    expect(reason({ ...armOf("b", "requestsPerSecond", values), rttMs: 40 })).toBe("round-trip times differ: 0 and 40 ms");
    expect(reason({ ...armOf("b", "requestsPerSecond", values), invalid: ["client-limited"] })).toBe("b is invalid: client-limited");
    expect(compareArms([a], spec("requestsPerSecond")).reason).toBe("b was not run");
    const tls = (id: string, cipher: string): ArmResult => ({ ...armOf(id, "requestsPerSecond", values, { protocol: "h2" }), cipher });
    expect(compareArms([tls("a", "X"), tls("b", "Y")], spec("requestsPerSecond")).reason).toBe("ciphers differ: X and Y");
  });
});

describe("a family of verdicts", () => {
  it("needs more than one comparison alone would, and is the same when adjusted twice", () => {
    const weak = compared("requestsPerSecond", [100, 104, 98, 101, 99], [103, 110, 103.5, 104, 106]);
    expect(weak.verdict).toBe("faster");
    expect(weak.pRaw).toBeLessThan(0.05);
    const noise = compared("requestsPerSecond", [100, 150, 80], [130, 90, 140]);
    const family = adjustComparisons([weak, ...Array.from({ length: 20 }, () => noise)]);
    expect(family[0]).toMatchObject({ verdict: "inconclusive", reason: "not significant beside the suite's other comparisons" });
    expect(adjustComparisons(family)).toEqual(family);
    // What is only described has no verdict, and takes no part in the others'.
    const arms = [armOf("a", "requestsPerSecond", [100, 150, 80]), armOf("b", "requestsPerSecond", [130, 90, 140])];
    const beside = compareArms(arms, spec("requestsPerSecond", { described: true }));
    expect(beside).toMatchObject({ verdict: "described", p: null, pRaw: noise.pRaw, ratio: noise.ratio, reason: null });
    const described = adjustComparisons([weak, ...Array.from({ length: 20 }, () => beside)]);
    expect(described[0]?.verdict).toBe("faster");
    expect(described[1]).toEqual(beside);
    // Engine effects are another family.
    const apart = adjustComparisons([weak, ...Array.from({ length: 20 }, () => ({ ...noise, kind: "engine" as const }))]);
    expect(apart[0]?.verdict).toBe("faster");
  });
});

describe("a claim", () => {
  const claim = { text: "20% faster", source: "issue", gain: 0.2 };
  const time = (factor: number, scatter: number): Comparison =>
    compared(
      "durationUs",
      [1e6, 1e6, 1e6, 1e6],
      [1 - scatter, 1, 1, 1 + scatter].map((value) => 1e6 * factor * value),
    );

  it("is reproduced wholly above the gain, refuted wholly below, and inconclusive across it", () => {
    expect(judgeClaim(claim, time(0.6, 0.01))).toMatchObject({ verdict: "reproduced", reason: null });
    expect(judgeClaim({ ...claim, conditions: "one burst" }, time(0.95, 0.01)).conditions).toBe("one burst");
    expect(judgeClaim({ ...claim, conditions: "one burst" }, null).conditions).toBe("one burst");
    expect(judgeClaim(claim, time(0.95, 0.01)).verdict).toBe("refuted");
    expect(judgeClaim(claim, time(1.3, 0.01)).verdict).toBe("refuted");
    expect(judgeClaim(claim, time(0.8, 0.05)).verdict).toBe("inconclusive");
    expect(judgeClaim(claim, time(0.6, 0.01)).measured?.estimate).toBeCloseTo(0.4, 2);
  });

  it("counts what is added for rates", () => {
    const found = judgeClaim(claim, compared("requestsPerSecond", [100, 100, 100], [150, 151, 149]));
    expect(found.measured?.estimate).toBeCloseTo(0.5, 2);
    expect(found.verdict).toBe("reproduced");
  });

  it("is not compared, with the reason, where nothing was", () => {
    expect(judgeClaim(claim, null)).toMatchObject({ verdict: "not compared", reason: "its arms were not run" });
    expect(judgeClaim(claim, compared("ttft", [1], [1]))).toMatchObject({
      verdict: "not compared",
      reason: "one round in common: no interval",
    });
    expect(judgeClaim(claim, compared("ttft", [0, 0], [1, 2])).verdict).toBe("not compared");
  });
});

describe("arms without a round in common", () => {
  it("are not compared, and their work is not called unequal: each round asks for other texts", () => {
    const work = (contentBytes: number): Work => ({ ...unseenWork, answers: 10, contentBytes, finishReasons: { length: 10 } });
    const arm = (id: string, kept: number): ArmResult => {
      const value = summarize([1000], "us");
      const rounds = [388, 412].map((bytes, round) =>
        Object.assign(roundOf(round, { ttft: value }, round === kept ? [] : ["disturbed"]), { work: work(bytes) }),
      );
      return { ...summarizeArm(armNamed(id), rounds, { negotiated: "h2", cipher: null, rttMs: 0 }), work: work(kept === 0 ? 388 : 412) };
    };
    const spec: ComparisonSpec = { baseline: "a", candidate: "b", kind: "engine", metric: "ttft", statistic: "p50" };
    const found = compareArms([arm("a", 0), arm("b", 1)], spec);
    expect([found.verdict, found.reason, found.unequalWork]).toEqual(["not compared", "no round in common", undefined]);
  });
});

describe("an arm", () => {
  it("has intervals over its rounds, and is invalid without a valid round", () => {
    const arm = armOf("a", "requestsPerSecond", [100, 110, 90]);
    expect(arm.intervals["requestsPerSecond.mean"]).toMatchObject({ estimate: 100 });
    const bad = summarizeArm(armNamed("a"), [roundOf(0, {}, ["status 503"]), roundOf(1, {}, ["status 503"])], {
      negotiated: null,
      cipher: null,
      rttMs: 0,
    });
    expect(bad).toMatchObject({ invalid: ["status 503"], metrics: {}, intervals: {} });
    expect(summarizeArm(armNamed("a"), [], { negotiated: null, cipher: null, rttMs: 0 }).invalid).toEqual(["no round was run"]);
  });
});
