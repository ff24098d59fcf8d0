/** The short form of `npm run measure -- soak`: every stream of a mixed load comes as planned, both ends agree, nothing is left. */
import { expect, test } from "vitest";
import { itlMs, planOf } from "../../bench/soak/plan.ts";
import { soak } from "../../bench/soak/soak.ts";

const options = { seed: 1, mostTokens: 250 };

test("the mixture is what it is said to be, and the same again", () => {
  const count = 20_000;
  const kinds: Record<string, number> = {};
  for (let index = 0; index < count; index++) {
    const { kind } = planOf("h2", index, options);
    kinds[kind] = (kinds[kind] ?? 0) + 1 / count;
  }
  expect(kinds["whole"]).toBeCloseTo(0.8, 1);
  expect(kinds["abort"]).toBeCloseTo(0.1, 1.5);
  expect(kinds["stall"]).toBeCloseTo(0.05, 1.5);
  expect(kinds["fault"]).toBeCloseTo(0.05, 1.5);
  const { wrong: _wrong, ...plan } = planOf("h1", 7, options);
  expect(planOf("h1", 7, options)).toMatchObject(plan);
});

test("an outcome that was not planned is told", () => {
  const plan = Array.from({ length: 100 }, (_, index) => planOf("h1", index, options)).find(({ kind }) => kind === "whole")!;
  const outcome = { status: 200, fault: null, events: plan.tokens, finished: true, failed: false, how: "end" };
  expect(plan.wrong(outcome)).toBeNull();
  expect(plan.wrong({ ...outcome, events: 3, how: "reset" })).toMatch(/^h1 whole : events 3, not \d+; how reset, not end$/);
});

test("60 streams on four protocols, aborted, stalled and faulted", { timeout: 90_000 }, async () => {
  const result = await soak({ streams: 60, warmupMs: 1500, durationMs: 6000, windowMs: 6000, seed: 3, mostTokens: 60, pinned: false });
  expect(result.accounts).toEqual([]);
  const { planned, faults } = result.tally;
  expect(Math.min(...Object.values(planned))).toBeGreaterThan(0);
  expect(Object.keys(faults).length).toBeGreaterThan(0);
  expect(result.server.heldTokens).toBeGreaterThan(0);
  // A pause of a busy machine shifts single tokens, not the mean of all.
  expect(Object.keys(result.itlError)).toHaveLength(4);
  for (const error of Object.values(result.itlError)) expect(Math.abs(error) * itlMs).toBeLessThan(4);
});
