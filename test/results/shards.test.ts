/** Parts of a load that ran at once: merged they are the whole, to the count and to the bucket. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Answer, type AnswerContext } from "../../src/load/answer.ts";
import type { LoadJob, PlannedRequest } from "../../src/load/job.ts";
import { type RunFacts, sumUp } from "../../src/load/report.ts";
import { summarizeArm } from "../../src/results/arms.ts";
import { mergeResults } from "../../src/results/merge.ts";
import { mergeShards } from "../../src/results/shards.ts";
import { checkResult } from "../../src/results/store.ts";
import { addTotals, scalarsOf, shifted } from "../../src/results/totals.ts";
import { metricFacts } from "../../src/results/metrics.ts";
import type { ArmDescription, BenchResult, MetricName, RoundResult } from "../../src/results/types.ts";
import { sampleResult } from "../support/sample-result.ts";

const context: AnswerContext = {
  stream: true,
  keepsText: false,
  clock: null,
  heldBytes: 0,
  onRefused: () => false,
  onSettled() {},
};
const planned: PlannedRequest = { body: "", tokens: null };

/** What happens to one request: when it leaves, when its tokens come, and whether it fails. */
interface Course {
  readonly at: number;
  readonly gaps: readonly number[];
  readonly fails: boolean;
}

/** A recorded request, through the parser that a run uses. */
function recorded({ at, gaps, fails }: Course, index: number): Answer {
  const answer = new Answer(context, index, planned, at);
  answer.startUs = at + (index % 7) * 10;
  if (fails) {
    answer.endUs = at + 500;
    answer.onFail(index % 2 === 0 ? "reset" : "timeout");
    return answer;
  }
  const head = { status: 200, contentType: "text/event-stream", contentEncoding: null, location: null, clock: null, fault: null };
  let readUs = answer.startUs + 50;
  answer.onResponse(head as never, readUs);
  const say = (event: object | string): void => {
    const bytes = Buffer.from(`data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`);
    answer.onData(bytes, 0, bytes.length, readUs);
  };
  for (const gap of gaps) {
    readUs += gap;
    say({ choices: [{ index: 0, delta: { content: "word " }, finish_reason: null }] });
  }
  say({ choices: [{ index: 0, delta: {}, finish_reason: "length" }] });
  say({ choices: [], usage: { prompt_tokens: 9, completion_tokens: gaps.length, total_tokens: 9 + gaps.length } });
  say("[DONE]");
  answer.onEnd(readUs);
  return answer;
}

const job = (mode: "open" | "closed", count: number): LoadJob =>
  ({
    endpoint: { protocol: "h1", headers: {} },
    mode,
    requests: Array.from({ length: count }, () => planned),
    slo: [{ metric: "e2el", statistic: "p99", below: true, limitUs: 60_000 }],
    streams: 4,
    connections: 4,
    detail: false,
  }) as unknown as LoadJob;

const beginUs = 5_000_000;

/** What a generator makes of its answers; `part` of the CPU time and bytes of all. */
function roundOf(mode: "open" | "closed", answers: readonly Answer[], count: number, part: number, shiftUs: number): RoundResult {
  const facts = {
    answers,
    warmUpAnswers: [],
    unsent: 0,
    unsentReason: null,
    lagUs: [],
    heldBack: 0,
    startedUs: beginUs,
    endedUs: answers.reduce((last, { endUs }) => Math.max(last, endUs), beginUs),
    lateUs: 0,
    cpuUs: 1000 * part,
    eventLoopDelayP99Us: 10,
    eventLoopDelayUs: 10,
    bytesReceived: 700 * part,
    bytesSent: 300 * part,
    wire: {
      data: 500 * part,
      framing: 20 * part,
      head: 80 * part,
      request: 300 * part,
      windowUpdate: null,
      settings: null,
      ping: null,
      other: null,
    },
    refused: null,
    backgroundFailures: [],
    connectionsOpened: part,
    connectionsLost: 0,
    connectionsAt: new Map(),
    connectUs: answers.map(({ index }) => 100 + index),
    negotiated: ["http/1.1"],
    cipher: null,
    http2: null,
    clocks: null,
    interrupted: false,
    protocolInvalid: null,
  } satisfies RunFacts;
  const report = sumUp(job(mode, count), facts);
  return {
    round: 0,
    position: 0,
    startedAt: "2026-01-01T00:00:00.000Z",
    requests: report.requests,
    metrics: report.metrics,
    work: report.work!,
    invalid: [],
    totals: [shifted(report.totals!, shiftUs)],
    beginUs: beginUs + shiftUs,
  };
}

const arm: ArmDescription = {
  id: "h1",
  protocol: "h1",
  engine: "external",
  role: "protocol",
  driver: "stream",
  connections: 4,
  streams: 4,
};
const findings = { negotiated: "http/1.1", cipher: null, rttMs: 0 };

const sample = sampleResult();

function shardResult(shard: number, of: number, rounds: readonly RoundResult[], more: Partial<BenchResult> = {}): BenchResult {
  const [scenario] = sample.scenarios;
  return {
    ...sample,
    startedAt: `2026-01-01T00:00:0${shard % 10}.000Z`,
    calibration: null,
    scenarios: [{ ...scenario!, arms: [summarizeArm(arm, rounds, findings)], comparisons: [], claims: [], notes: [] }],
    requirements: [],
    invalid: [],
    shard: { shard, of, session: "s", clock: null },
    ...more,
  };
}

const course = fc.record({
  at: fc.integer({ min: beginUs, max: beginUs + 900_000 }),
  gaps: fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 6 }),
  fails: fc.boolean().map((a) => a),
});
const split = fc.record({
  courses: fc.array(course, { minLength: 8, maxLength: 60 }),
  seats: fc.array(fc.nat(), { minLength: 60, maxLength: 60 }),
  of: fc.integer({ min: 1, max: 6 }),
  mode: fc.constantFrom("open" as const, "closed" as const),
});

test("however requests are split, the merged shards equal the whole, to the count and to the bucket", () => {
  fc.assert(
    fc.property(split, ({ courses, seats, of, mode }) => {
      const answers = courses.map(recorded);
      const whole = roundOf(mode, answers, answers.length, of, 0);
      const parts = Array.from({ length: of }, (_, k) => {
        const own = answers.filter((_, i) => seats[i]! % of === k);
        return roundOf(mode, own, own.length, 1, 0);
      });
      const merged = mergeShards(parts.map((part, k) => shardResult(k + 1, of, [part]))).scenarios[0]!.arms[0]!.rounds[0]!;
      expect(merged.requests).toEqual(whole.requests);
      const { exact, ...work } = merged.work!;
      const { exact: _, ...wholeWork } = whole.work!;
      // A shard without an answer has ordered nothing exactly.
      expect(typeof exact).toBe("boolean");
      if (parts.every(({ requests }) => requests.completed > 0)) expect(work).toEqual(wholeWork);
      for (const name of Object.keys(whole.metrics) as MetricName[]) {
        const [one, other] = [whole.metrics[name] ?? null, merged.metrics[name] ?? null];
        if (one === null || other === null) {
          expect([name, other]).toEqual([name, one]);
          continue;
        }
        // Buckets, counts and percentiles are the same; sums of floats differ in their last digits.
        const { mean, std, ...rest } = one;
        const { mean: mean2, std: std2, ...rest2 } = other;
        if (metricFacts[name].perRound) {
          expect(mean2).toBeCloseTo(mean, 9);
          continue;
        }
        expect({ name, ...rest2 }).toEqual({ name, ...rest });
        expect(mean2 / mean || 1).toBeCloseTo(1, 9);
        expect(std === 0 ? std2 : std2 / std).toBeCloseTo(std === 0 ? 0 : 1, 6);
      }
    }),
    { numRuns: 15 },
  );
});

test("a shift of the clock moves instants and no figure", () => {
  const answers = Array.from({ length: 20 }, (_, i) => recorded({ at: beginUs + i * 1000, gaps: [10, 20], fails: false }, i));
  const { totals } = roundOf("open", answers, 20, 1, 0);
  const moved = shifted(totals![0]!, -5_000_000_000);
  expect(moved.fromUs).toBe(beginUs - 5_000_000_000);
  expect(scalarsOf(moved)).toEqual(scalarsOf(totals![0]!));
});

test("rates are those of all over the common time, and never a mean of rates", () => {
  const base = roundOf("closed", [recorded({ at: beginUs, gaps: [100_000], fails: false }, 0)], 1, 1, 0).totals![0]!;
  const fast = { ...base, fromUs: 0, untilUs: 1_000_000, completed: 1000, partRequests: 1000 };
  const slow = { ...base, fromUs: 0, untilUs: 4_000_000, completed: 1000, partRequests: 1000 };
  expect(scalarsOf(addTotals([fast, slow])!).requestsPerSecond?.mean).toBe(500);
});

const good = (shard: number, number = 0): RoundResult => ({
  ...roundOf("closed", [recorded({ at: beginUs, gaps: [1000 * shard], fails: false }, shard)], 1, 1, 0),
  round: number,
});

test("what is wrong in one shard makes the round invalid for all, by name", () => {
  const bad = { ...good(2), invalid: ["client-limited: the generator used 99% of a core"] };
  const merged = mergeShards([shardResult(1, 2, [good(1)]), shardResult(2, 2, [bad])]);
  expect(merged.scenarios[0]!.arms[0]!.rounds[0]!.invalid).toEqual(["shard 2 of 2: client-limited: the generator used 99% of a core"]);
  // One round of one is no hiccup: the run is invalid too.
  expect(merged.invalid.join("\n")).toContain("shard 2 of 2: client-limited");
  expect(() => checkResult(JSON.parse(JSON.stringify(merged)), "merged")).not.toThrow();
});

test("a round that a shard was not there for is left out, and the run stands on the others", () => {
  const rounds = (shard: number, missing: number): RoundResult[] => [0, 1, 2, 3, 4].filter((n) => n !== missing).map((n) => good(shard, n));
  const merged = mergeShards([shardResult(1, 2, rounds(1, -1)), shardResult(2, 2, rounds(2, 3))]);
  const [one] = merged.scenarios[0]!.arms;
  expect(one!.rounds.map(({ invalid }) => invalid)).toEqual([[], [], [], ["shard 2 of 2: gone: it has nothing of this round"], []]);
  expect(merged.invalid).toEqual([]);
  expect(one!.rounds[0]!.shards!.map(({ shard, ttftP50Us }) => [shard, ttftP50Us])).toEqual([
    [1, 1050],
    [2, 2050],
  ]);
});

test("what is no whole set of shards is refused with its reason", () => {
  const [one, two] = [shardResult(1, 2, [good(1)]), shardResult(2, 2, [good(2)])];
  expect(() => mergeShards([one])).toThrow("of 2 shards number 2 is missing");
  expect(() => mergeShards([one, one])).toThrow("shard 1 of 2 comes twice");
  expect(() => mergeShards([one, { ...two, shard: { ...two.shard!, session: "t" } }])).toThrow("is of another run (session t, and s)");
  expect(() => mergeShards([one, { ...two, seed: 99 }])).toThrow("seeds differ");
  const { shard: _, ...whole } = one;
  expect(() => mergeShards([whole, two])).toThrow("is no shard");
});

test("parts that ran at once are never taken as rounds", () => {
  const [one, two] = [shardResult(1, 2, [good(1)]), shardResult(2, 2, [good(2)])];
  expect(() => mergeResults([one, two])).toThrow("fakeai merge --shards");
  // Made by hand, without --shard, against one server.
  const { shard: _, ...first } = one;
  const target = { ...first.environment, target: "http://10.0.0.1:8000" };
  const at = (startedAt: string): BenchResult => ({ ...first, environment: target, startedAt, durationS: 60 });
  expect(() => mergeResults([at("2026-01-01T00:00:00.000Z"), at("2026-01-01T00:00:59.000Z")])).toThrow(
    "both ran at once against http://10.0.0.1:8000",
  );
  expect(() => mergeResults([at("2026-01-01T00:00:00.000Z"), at("2026-01-01T00:01:00.000Z")])).not.toThrow();
});
