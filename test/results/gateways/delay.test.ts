/** What a gateway adds, held against a bound: whole intervals decide, at the lowest rate that does. */
import { expect, test } from "vitest";
import { estimateMedian } from "../../../src/results/statistics.ts";
import { delayCheck } from "../../../src/results/gateways/delay.ts";
import type { Added, Level } from "../../../src/results/gateways/types.ts";
import { sampleGatewayResult } from "../../support/sample-gateway.ts";

const [sample] = sampleGatewayResult().certificates[0]!.levels;
const us = (lowUs: number, highUs: number): Added => ({ estimateUs: (lowUs + highUs) / 2, lowUs, highUs });
const levelWith = (token: Added | null, ttft: Added | null, more: Partial<Level> = {}): Level => ({
  ...sample!,
  addedTokenP50: token,
  addedTtftP50: ttft,
  ...more,
});

test.each<[string, Level[], string, RegExp]>([
  [
    "both within",
    [levelWith(us(50, 150), us(100, 300))],
    "kept",
    /^adds 0\.100 ms \(0\.0500 to 0\.150\) to the way of a token, 0\.200 ms .* to TTFT at 4\.3 /,
  ],
  [
    "a token beyond",
    [levelWith(us(500, 700), us(100, 300))],
    "changed",
    /at most 0\.4 ms are asked for; other processes disturbed 1 of 10 runs$/,
  ],
  ["TTFT beyond", [levelWith(us(50, 150), us(500, 700))], "changed", /to TTFT/],
  ["no stamps: TTFT decides", [levelWith(null, us(100, 300))], "kept", /^adds 0\.200 ms \(0\.100 to 0\.300\) to TTFT/],
  ["TTFT is told less closely, and a token is within", [levelWith(us(50, 150), us(100, 500))], "kept", /to TTFT/],
  ["the bound within an interval", [levelWith(us(300, 500), us(100, 300))], "unknown", /to TTFT/],
  ["the next level decides", [levelWith(us(300, 500), us(0, 100)), levelWith(us(100, 200), us(0, 100), { streams: 4 })], "kept", /0\.150/],
  ["other processes", [levelWith(us(500, 700), null, { disturbedRuns: 6 })], "changed", /other processes disturbed 6 of 10 runs$/],
  ["nothing", [levelWith(null, null)], "unknown", /^nothing is known/],
])("%s", (_, levels, verdict, seen) => {
  expect(delayCheck(levels, 0.4)).toMatchObject({ id: "delay", verdict, seen: expect.stringMatching(seen) });
});

test("a level at the limit of the measurement tells nothing", () => {
  expect(delayCheck([levelWith(us(500, 700), null, { limit: "client or server" })], 0.4)).toBeNull();
});

test("a median and its interval: one of nine that is far off moves neither, and five have no interval", () => {
  const values = [5, 3, 4, 1, 2, 9, 7, 8, 6];
  expect(estimateMedian(values)).toEqual({ estimate: 5, low: 2, high: 8 });
  expect(estimateMedian(values.with(5, 900_000))).toEqual({ estimate: 5, low: 2, high: 8 });
  expect(estimateMedian([1, 2, 3, 4, 5, 6])).toEqual({ estimate: 3.5, low: 1, high: 6 });
  expect(estimateMedian([1, 2, 3, 4, 5])).toBeNull();
  // The third of twelve from either end bounds the median in 96.1% of samples.
  expect(estimateMedian(Array.from({ length: 12 }, (_, index) => index))).toEqual({ estimate: 5.5, low: 2, high: 9 });
});
