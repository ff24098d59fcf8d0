/** Ramp-up, cool-down, slices and objectives, from answers whose times are known. */
import { expect, test } from "vitest";
import type { Answer } from "../../src/load/answer.ts";
import { keepsTerms } from "../../src/load/good.ts";
import type { LoadJob } from "../../src/load/job.ts";
import { cameIn, leftIn, measuredPart, slicesOf } from "../../src/load/steady.ts";
import { parseSlo } from "../../src/results/slo.ts";

/** An answer of `events` tokens with a TTFT of 50 ms and an ITL of 10 ms. */
function answer(startUs: number, events = 10, more: Partial<Answer> = {}): Answer {
  const arrival = (i: number): number => 50_000 + i * 10_000;
  return {
    error: null,
    aborted: false,
    inOneRead: false,
    startUs,
    intendedUs: startUs,
    endUs: startUs + arrival(events - 1),
    firstEvent: 40_000,
    events,
    arrival,
    tokensAt: () => -1,
    ...more,
  } as Answer;
}

const job = (more: Partial<LoadJob>): LoadJob => ({ mode: "closed", ...more }) as LoadJob;
const tokensOf = ({ events }: Answer): number => events;

test("without ramp-up and cool-down every request counts, to the end of the last", () => {
  const answers = [answer(0), answer(900_000)];
  const part = measuredPart(job({}), answers, 0, 1_100_000);
  expect(part).toEqual({ fromUs: 0, untilUs: 1_100_000, isCut: false });
  expect(answers.map((one) => leftIn(one, job({}), part))).toEqual([true, true]);
});

test("a cool-down counts back from the last request, and rates are those of the part between", () => {
  // One request every 100 ms for 2 s, each of 10 tokens in 140 ms.
  const answers = Array.from({ length: 20 }, (_, i) => answer(i * 100_000));
  const cut = job({ rampUpUs: 500_000, coolDownUs: 400_000 });
  const part = measuredPart(cut, answers, 0, 2_040_000);
  expect(part).toEqual({ fromUs: 500_000, untilUs: 1_500_000, isCut: true });
  expect(answers.filter((one) => leftIn(one, cut, part))).toHaveLength(11);
  // In a second 10 requests end and 100 tokens come, though more left in it; bounds count on both sides.
  const came = cameIn(answers, part, tokensOf);
  expect(came.ended).toBe(10);
  expect(came.tokens).toBe(came.events);
  expect(came.events).toBeGreaterThanOrEqual(100);
  expect(came.events).toBeLessThanOrEqual(102);
  expect(cameIn(answers, part, () => null).tokens).toBeNull();
});

test("in an open loop a request belongs to when it was meant to leave", () => {
  const late = answer(700_000, 10, { intendedUs: 400_000 });
  const part = { fromUs: 500_000, untilUs: 900_000, isCut: true };
  expect([leftIn(late, job({ mode: "open" }), part), leftIn(late, job({}), part)]).toEqual([false, true]);
});

test("slices add up to the whole run, and what fell into none of a column is null there", () => {
  const at = 1_000_000;
  const answers = [...Array.from({ length: 20 }, (_, i) => answer(at + i * 100_000)), answer(at + 2_900_000, 1)];
  const slices = slicesOf(answers, at, at + 3_000_000, tokensOf)!;
  expect(slices.everyUs).toBe(100_000);
  const sum = (values: readonly (number | null)[]): number => values.reduce<number>((total, value) => total + (value ?? 0), 0);
  expect(sum(slices.requestsPerSecond) / 10).toBeCloseTo(21, 6);
  expect(sum(slices.tokensPerSecond!) / 10).toBeCloseTo(201, 6);
  expect(sum(slices.underWay)).toBeCloseTo((20 * 140 + 50) / 100, 3);
  expect([slices.ttftP50Us[0], slices.ttftP50Us[25], slices.itlP50Us[1]]).toEqual([50_000, null, 10_000]);
  const columns = [slices.failedPerSecond, slices.eventsPerSecond, slices.underWay, slices.itlP50Us, slices.e2elP50Us];
  expect(new Set(columns.map(({ length }) => length))).toEqual(new Set([30]));
  expect(slicesOf(answers, at, at + 1_900_000, tokensOf)).toBeNull();
  expect(slicesOf(answers, at, at + 3_000_000, () => null)!.tokensPerSecond).toBeNull();
  expect(sum(slicesOf([answer(at, 10, { error: "reset" })], at, at + 3_000_000, tokensOf)!.failedPerSecond)).toBe(10);
});

test.each<[string, Partial<Answer>, boolean | null]>([
  ["ttft.p95<51ms", {}, true],
  ["ttft.p95<50ms", {}, false],
  ["ttft.p95<=50ms", {}, true],
  ["itl.p99<10ms", {}, false],
  ["itl.p50<11ms,tpot.p99<11ms,e2el.p99<150ms", {}, true],
  ["e2el.p99<140ms", {}, false],
  // One gap of nine is long: the request's own p99 is that gap, its median is not.
  ["itl.p99<50ms", { arrival: (i) => 50_000 + i * 10_000 + (i > 4 ? 60_000 : 0) }, false],
  ["itl.p50<50ms", { arrival: (i) => 50_000 + i * 10_000 + (i > 4 ? 60_000 : 0) }, true],
  // Waiting for its turn is the user's wait.
  ["ttftFromIntended.p99<100ms", { intendedUs: -60_000 }, false],
  ["ttft.p99<100ms", { intendedUs: -60_000 }, true],
  ["ttft.p99<100ms", { inOneRead: true }, null],
  ["e2el.p99<100ms,ttft.p99<100ms", { inOneRead: true }, false],
  ["tpot.p99<1ms", { events: 1 }, true],
])("%s of a request: %j", (slo, more, expected) => {
  const one = answer(0, 10, more);
  expect(keepsTerms(one, one.events, one.inOneRead, parseSlo(slo))).toBe(expected);
});
