/** Claims in their own terms: the whole interval decides, and what cannot be compared is said to be that. */
import { expect, test } from "vitest";
import { judgeClaims, publishedClaims } from "../../../src/results/gateways/claims.ts";
import type { Added, Level, PublishedClaim } from "../../../src/results/gateways/types.ts";
import { sampleGatewayResult } from "../../support/sample-gateway.ts";

const claim: PublishedClaim = {
  gateway: "nginx",
  text: "under 1 ms",
  source: "s",
  conditions: "c",
  leavesOut: "",
  limitMs: 1,
  statistic: "p50",
  atPerSecond: null,
  needs: null,
};
const [certificate] = sampleGatewayResult().certificates;
const adding = (addedTtftP50: Added | null, gateway = "nginx"): Parameters<typeof judgeClaims>[0] => [
  { ...certificate!, gateway, levels: certificate!.levels.map((level) => Object.assign(level, { addedTtftP50 })) },
];
const us = (lowUs: number, highUs: number): Added => ({ estimateUs: (lowUs + highUs) / 2, lowUs, highUs });

test.each<[string, Added | null, Partial<PublishedClaim>, string, RegExp]>([
  ["all of it below", us(200, 900), {}, "reproduced", /^nginx-h1 added 0\.550 ms \(0\.200 to 0\.900\) to TTFT \(p50\) at /],
  ["all of it above", us(1100, 2000), {}, "refuted", /added 1\.55 ms/],
  ["the number within", us(900, 1100), {}, "not comparable", /the interval holds the number$/],
  ["no interval", null, {}, "not comparable", /^no level of this run tells$/],
  ["another gateway", us(1, 2), { gateway: "kong" }, "not comparable", /^it was not measured in this run$/],
  ["a rate that was not reached", us(1, 2), { atPerSecond: 5000 }, "not comparable", /5000 were not reached here$/],
  ["what no run here has", us(1, 2), { needs: "four machines" }, "not comparable", /; the claim needs four machines$/],
])("%s", (_, added, changes, verdict, measured) => {
  const [outcome] = judgeClaims(adding(added), [{ ...claim, ...changes }]);
  expect(outcome!.verdict).toBe(verdict);
  expect(outcome!.measured).toMatch(measured);
});

test("what a busy machine measured decides no claim", () => {
  const [busy] = adding(us(1100, 2000));
  const levels = busy!.levels.map((level) => Object.assign(level, { disturbedRuns: 6 }));
  expect(judgeClaims([{ ...busy!, levels }], [claim])[0]).toMatchObject({
    verdict: "not comparable",
    measured: expect.stringMatching(/, but other processes disturbed 6 of 10 runs$/),
  });
  for (const level of levels) Object.assign(level, { disturbedRuns: 1 });
});

test("of a claim that names no rate the best of undisturbed levels counts", () => {
  const [one] = adding(us(1100, 2000));
  const level = (streams: number, addedTtftP50: Added, disturbedRuns: number): Level => ({
    ...one!.levels[0]!,
    streams,
    addedTtftP50,
    disturbedRuns,
  });
  const levels = [level(1, us(4000, 5000), 0), level(4, us(300, 900), 0), level(16, us(100, 200), 10)];
  const [outcome] = judgeClaims([{ ...one!, levels }], [claim]);
  expect(outcome).toMatchObject({ verdict: "reproduced", measured: expect.stringMatching(/ added 0\.600 ms \(/) });
});

test("a configuration of a gateway is that gateway; each claim has a source", () => {
  expect(judgeClaims(adding(us(1, 2), "nginx:buffering"), [claim])[0]!.verdict).toBe("reproduced");
  for (const { source, conditions, text } of publishedClaims) expect([source, conditions, text]).not.toContain("");
});
