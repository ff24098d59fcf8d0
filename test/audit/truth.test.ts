/** The right figures of records that were made by hand, and what else they would be. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cameIn } from "../../src/audit/answers.ts";
import { distance, statisticOf } from "../../src/audit/samples.ts";
import { arrivalsOf, trafficOf } from "../../src/audit/traffic.ts";
import { truthOf } from "../../src/audit/truth.ts";
import type { ReceivedRecord } from "../../src/base/parent-channel.ts";

interface Given {
  readonly atMs: number;
  readonly tokenMs: readonly number[];
  readonly tokens?: readonly number[];
  readonly planned?: number;
  readonly firstByteMs?: number;
  readonly status?: number;
  readonly ended?: ReceivedRecord["ended"];
  readonly prompt?: string;
  readonly connection?: number;
  readonly retry?: number;
}

function record({
  atMs,
  tokenMs,
  firstByteMs,
  status = 200,
  ended = "finished",
  prompt,
  connection = 1,
  retry,
  ...given
}: Given): ReceivedRecord {
  const tokens = given.tokens ?? tokenMs.map(() => 1);
  const sent = tokens.reduce((total, count) => total + count, 0);
  const us = Int32Array.from(tokenMs, (ms) => ms * 1000);
  return {
    receivedUs: 5_000_000 + atMs * 1000,
    method: "POST",
    path: "/v1/chat/completions",
    protocol: "h1",
    connection,
    status,
    ended,
    firstWriteUs: (firstByteMs ?? tokenMs[0] ?? 1) * 1000,
    endedUs: (tokenMs.at(-1) ?? 1) * 1000,
    tokensSent: status === 200 ? sent : null,
    prompt: prompt ?? `p${atMs}`,
    parameters: { stream: "true" },
    retry: retry ?? null,
    stream:
      status === 200
        ? {
            key: null,
            spoken: "http/1.1",
            receivedUs: 0,
            planned: given.planned ?? sent,
            reasoning: 0,
            promptTokens: 7,
            dueUs: us,
            sentUs: us,
            tokens: Int32Array.from(tokens),
            events: tokenMs.length + 3,
          }
        : null,
  };
}

const truth = (records: readonly ReceivedRecord[], reported: number | null = null) => truthOf(cameIn(records), reported, 10);
const value = (records: readonly ReceivedRecord[], ...[quantity, statistic]: Parameters<ReturnType<typeof truth>["figure"]>) =>
  truth(records).figure(quantity, statistic)?.value;

const two = [record({ atMs: 0, tokenMs: [100, 120, 160] }), record({ atMs: 50, tokenMs: [200, 220], tokens: [4, 2], firstByteMs: 10 })];

test("every quantity of two answers", () => {
  expect(value(two, "ttft", "mean")).toBe(150);
  expect(value(two, "ttfb", "mean")).toBe(55);
  expect(value(two, "itl", "mean")).toBeCloseTo(80 / 3, 9);
  expect(value(two, "itlPerToken", "max")).toBe(40);
  expect(value(two, "tpot", "mean")).toBe((30 + 4) / 2);
  expect(value(two, "ntpot", "max")).toBeCloseTo(160 / 3, 9);
  expect(value(two, "e2e", "max")).toBe(220);
  expect(value(two, "outputTokens", "total")).toBe(9);
  expect(value(two, "inputTokensPerRequest", "mean")).toBe(7);
  expect(value(two, "requestRate", "mean")).toBeCloseTo(2 / 0.27, 9);
  expect(value(two, "concurrency", "mean")).toBeCloseTo((160 + 220) / 270, 9);
  expect(value(two, "askedConcurrency", "mean")).toBe(2);
});

test("refused, cut and aborted answers are in no latency, and counted for what they are", () => {
  const records = [
    ...two,
    record({ atMs: 60, tokenMs: [], status: 500 }),
    record({ atMs: 70, tokenMs: [100], planned: 5 }),
    record({ atMs: 80, tokenMs: [100], planned: 5, ended: "cut" }),
    record({ atMs: 90, tokenMs: [100], planned: 5, ended: "aborted" }),
  ];
  expect(value(records, "e2e", "max")).toBe(220);
  expect([value(records, "requests", "total"), value(records, "completed", "total"), value(records, "failed", "total")]).toEqual([6, 2, 3]);
  const completed = truth(records)
    .alternatives("completed", "total")
    .map(({ text, range }) => [text, range.value]);
  expect(completed).toContainEqual(["counts answers that were cut in order as completed", 3]);
  expect(trafficOf(cameIn(records), truth(records))).toMatchObject({ completed: 2, refused: 1, cut: 2, aborted: 1 });
});

test("nothing that happened is null, not 0", () => {
  const none = truth([record({ atMs: 0, tokenMs: [], status: 500 })]);
  expect(none.figure("ttft", "mean")).toBeNull();
  expect(none.figure("itl", "p99")).toBeNull();
});

test("warm-up: requests before the load that a report does not count", () => {
  const early = record({ atMs: -1000, tokenMs: [100] });
  const records = [early, ...two];
  expect(truth(records, 2).warmUp).toHaveLength(1);
  expect(truth(records, 2).figure("requests", "total")!.value).toBe(2);
  expect(truth(records, null).warmUp).toHaveLength(0);
  // One that was beside the load is no warm-up.
  expect(truth([record({ atMs: -50, tokenMs: [100] }), ...two], 2).warmUp).toHaveLength(0);
});

test("other requests are no completions", () => {
  expect(cameIn([{ ...two[0]!, method: "GET", path: "/v1/models" }, ...two])).toMatchObject({ others: 1, answers: { length: 2 } });
});

test("a percentile is between its neighbours, whatever the definition", () => {
  const nearestRank = (sorted: readonly number[], share: number): number => sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)]!;
  const exclusive = (sorted: readonly number[], share: number): number => {
    // Definition 6 of Hyndman and Fan: (n + 1) p.
    const place = Math.min(sorted.length, Math.max(1, (sorted.length + 1) * share));
    const below = sorted[Math.floor(place) - 1]!;
    return below + (sorted[Math.min(sorted.length, Math.ceil(place)) - 1]! - below) * (place - Math.floor(place));
  };
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 60 }), (values) => {
      const sorted = values.toSorted((a, b) => a - b);
      for (const [statistic, share] of [
        ["p50", 0.5],
        ["p90", 0.9],
        ["p95", 0.95],
        ["p99", 0.99],
      ] as const) {
        const range = statisticOf(sorted, statistic)!;
        for (const found of [range.value, nearestRank(sorted, share), exclusive(sorted, share)])
          expect(Math.abs(distance(found, range))).toBeLessThan(1e-9);
      }
    }),
  );
});

describe("how requests come", () => {
  const at = (times: readonly number[], lengthMs = 5): ReceivedRecord[] => times.map((time) => record({ atMs: time, tokenMs: [lengthMs] }));
  const shape = (records: readonly ReceivedRecord[]): string => arrivalsOf(cameIn(records).answers).shape;
  const steps = Array.from({ length: 40 }, (_, index) => index);
  let seed = 7;
  const random = (): number => (seed = (seed * 16_807) % 2_147_483_647) / 2_147_483_647;
  let now = 0;
  const poisson = steps.map(() => (now += -100 * Math.log(random())));

  test.each([
    ["constant", at(steps.map((step) => step * 100))],
    ["poisson", at(poisson)],
    ["bursts", at(steps.map((step) => Math.floor(step / 8) * 1000 + (step % 8) * 0.2))],
    [
      "closed-loop",
      at(
        steps.map((step) => step * 101),
        100,
      ),
    ],
    ["few", at([0, 10, 20])],
  ])("%s", (name, records) => {
    expect(shape(records)).toBe(name);
  });
});

test("retries: by the client's header, else by the same prompt after a failure, else not to be told", () => {
  const retries = (records: readonly ReceivedRecord[]): number | null => trafficOf(cameIn(records), truth(records)).retries;
  const failed = record({ atMs: 0, tokenMs: [], status: 500, prompt: "a" });
  expect(retries([failed, record({ atMs: 10, tokenMs: [5], prompt: "a" }), record({ atMs: 20, tokenMs: [5], prompt: "b" })])).toBe(1);
  expect(retries([{ ...failed, retry: 0 }, record({ atMs: 10, tokenMs: [5], prompt: "a", retry: 1 })])).toBe(1);
  expect(retries([failed, ...[10, 20, 30, 40].map((atMs) => record({ atMs, tokenMs: [5], prompt: "a" }))])).toBeNull();
  expect(retries(two)).toBe(0);
});

test("E2E of all requests has those that a reset cut, of all answers it has not, and of answers it has whole ones", () => {
  const { answers } = cameIn([
    record({ atMs: 0, tokenMs: [100, 120] }),
    record({ atMs: 10, tokenMs: [100], planned: 2, ended: "cut" }),
    record({ atMs: 20, tokenMs: [], status: 429 }),
  ]);
  const truth = truthOf({ answers, others: 0 }, null, 1);
  const of = (quantity: "e2e" | "e2eAnswered" | "e2eEnded"): number => truth.figure(quantity, "mean")!.value;
  const endOf = (index: number): number => answers[index]!.endMs!;
  expect([answers[1]!.outcome, answers[2]!.outcome]).toEqual(["cut", "refused"]);
  expect(of("e2e")).toBeCloseTo(endOf(0), 6);
  expect(of("e2eAnswered")).toBeCloseTo((endOf(0) + endOf(2)) / 2, 6);
  expect(of("e2eEnded")).toBeCloseTo((endOf(0) + endOf(1) + endOf(2)) / 3, 6);
});

test("rates by other definitions: by whole seconds, from the first head, and with what was cut", () => {
  // From 0 to 2.2 s, the first head after 100 ms; 11 answers, two of them cut by a reset.
  const records = Array.from({ length: 11 }, (_, index) =>
    record({ atMs: index * 200, tokenMs: [100, 200], ...(index % 5 === 4 ? { planned: 9, ended: "cut" as const } : {}) }),
  );
  const texts = new Map(
    truth(records)
      .alternatives("answerRate", "mean")
      .map(({ text, range }) => [text, range.value] as const),
  );
  const seconds = "is the mean of counts of whole seconds, of which the last is not full";
  const head = "divides by the time from the head of the first answer to the last end";
  const cut = "counts answers that were cut by a reset too";
  expect(value(records, "answerRate", "mean")).toBeCloseTo(9 / 2.2, 6);
  expect(texts.get(seconds)).toBe(3);
  expect(texts.get(head)).toBeCloseTo(9 / 2.1, 6);
  expect(texts.get(`${cut}, and ${head}`)).toBeCloseTo(11 / 2.1, 6);
  expect(texts.get(`${cut}, and ${seconds}`)).toBeCloseTo(11 / 3, 6);
});
