/** A sweep that finds its own load, against servers that are formulas. */
import { describe, expect, test } from "vitest";
import { summarize } from "../../src/results/recorder.ts";
import { sweepResult } from "../../src/results/sweeps.ts";
import type { ArmResult, ScenarioResult } from "../../src/results/types.ts";
import { loadSweep, ratesBetween } from "../../src/runner/load-sweep.ts";
import { resolveBench } from "../../src/runner/plan/options.ts";
import { scenarioNamed, type Variant, variantsOf } from "../../src/runner/plan/scenario.ts";
import type { BenchInput } from "../../src/settings/bench.ts";

const base = variantsOf(scenarioNamed("stream"), "quick")[0]!;

/** A server with so many places of 100 ms each: what it serves, and how long that takes. */
interface Served {
  readonly capacity: number;
  readonly failsFrom?: number;
  readonly invalidFrom?: number;
}

function serve({ workload, name, point }: Variant, { capacity, failsFrom = Infinity, invalidFrom = Infinity }: Served): ScenarioResult {
  const serviceS = 0.1;
  const isOpen = workload.mode === "open";
  const rate = workload.rate ?? 0;
  const closed = Math.min(capacity, workload.streams / serviceS);
  const failed = isOpen && rate >= failsFrom ? 3 : 0;
  const invalid = isOpen && rate >= invalidFrom ? ["client-limited: the generator used 99% of a core"] : [];
  // A queue in front of all places: flat, then without end.
  const latencyUs = isOpen && rate > capacity ? 5e6 : serviceS * 1e6;
  const us = summarize([latencyUs], "us");
  const metrics = isOpen
    ? { achievedShare: summarize([Math.min(1, capacity / rate)], "ratio"), e2elFromIntended: us, ttft: us }
    : { requestsPerSecond: summarize([closed], "1/s"), e2el: us, ttft: us };
  const round = { requests: { sent: 100, completed: 100 - failed, failed }, metrics, invalid };
  const arm = { id: "h1", metrics: invalid.length > 0 ? {} : metrics, invalid, rounds: [round] } as unknown as ArmResult;
  return {
    id: "stream",
    variant: name,
    point,
    workload: { mode: workload.mode, rate: workload.rate },
    arms: [arm],
    skipped: null,
  } as unknown as ScenarioResult;
}

async function swept(served: Served, input: BenchInput = {}, abortAfter = Infinity) {
  const run: Variant[] = [];
  const found = await loadSweep(base, resolveBench({ sweep: "load:4", ...input }), {
    run: (variant) => {
      run.push(variant);
      return Promise.resolve(serve(variant, served));
    },
    aborted: () => run.length >= abortAfter,
  });
  return { run, ...found, result: sweepResult(found.plan, found.scenarios) };
}

test("rates lie evenly between one at a time and all that it takes, without the first", () => {
  expect(ratesBetween(10, 100, 3)).toEqual([40, 70, 100]);
  expect(ratesBetween(9.87654, 9.87654, 3)).toEqual([9.88]);
});

describe("a sweep of load", () => {
  test("asks one at a time, then for all, then at rates between, and ends at the first that is not served", async () => {
    const { run, plan, result } = await swept({ capacity: 100 });
    expect(run.map(({ name, workload }) => [name, workload.mode, workload.streams, workload.rate])).toEqual([
      ["one at a time", "closed", 1, null],
      ["all it takes", "closed", 256, null],
      ["32.5/s", "open", 256, 32.5],
      ["55/s", "open", 256, 55],
      ["77.5/s", "open", 256, 77.5],
      ["100/s", "open", 256, 100],
      ["125/s", "open", 256, 125],
    ]);
    expect(plan.stopped).toBe("ended at 125/s, which is not served any more");
    const [series] = result.series;
    expect(series!.knee).toMatchObject({ x: 100 });
    expect(series!.keepsUp).toMatchObject({ x: 100, text: "up to 100/s: at 125/s 80% were served" });
    // Where one at a time lies is what it served; all that it takes has no place on an axis of rates.
    expect(series!.readings.map(({ x }) => x)).toEqual([10, 32.5, 55, 77.5, 100, 125, null]);
  });

  test("each round is as long as --duration, of one connection's own generator, and goes to --streams at most", async () => {
    const { run } = await swept({ capacity: 100 }, { duration: "10", streams: "64", protocol: "h1,h2c", rounds: "2" });
    expect(run.slice(1).map(({ workload }) => workload.streams)).toEqual(run.slice(1).map(() => 64));
    expect(run.slice(2).map(({ workload }) => [workload.rate, workload.requests])).toEqual(
      run.slice(2).map(({ workload }) => [workload.rate, Math.ceil(workload.rate! * 10)]),
    );
    for (const { arms, rounds } of run) {
      expect(rounds).toBe(2);
      expect(arms.every(({ driver, role }) => driver === "stream" && role === "protocol")).toBe(true);
      expect(arms.find(({ protocol }) => protocol === "h2c")!.atStreamLimit).toBe("queue");
    }
  });

  test("ends where requests fail, where no arm is valid, and says what it does not know", async () => {
    expect((await swept({ capacity: 100, failsFrom: 60 })).plan.stopped).toBe("ended at 77.5/s: 3 requests of h1 failed");
    expect((await swept({ capacity: 100, failsFrom: 60 }, { maxErrors: "2" })).plan.stopped).toMatch(
      /77.5\/s: 3 requests of h1 failed \(--max-errors\)/,
    );
    expect((await swept({ capacity: 100, failsFrom: 60 }, { maxErrors: "5%" })).plan.stopped).toMatch(
      /^ended at 125\/s, which is not served/,
    );
    const limited = await swept({ capacity: 100, invalidFrom: 70 });
    expect(limited.plan.stopped).toBe("ended at 77.5/s: client-limited: the generator used 99% of a core");
    expect(limited.result.series[0]!.keepsUp!.text).toBe("up to 55/s: at 77.5/s client-limited: the generator used 99% of a core");
    // What is served without end is not called saturated.
    const endless = await swept({ capacity: 1e9 });
    expect(endless.plan.stopped).toMatch(/which is still served: more than 256 at once may be needed/);
    expect(endless.result.series[0]!.knee!.point).toBeNull();
  });

  test("an interrupt leaves what was measured", async () => {
    const { run, plan, result } = await swept({ capacity: 100 }, {}, 3);
    expect([run.length, plan.stopped, result.points.length]).toEqual([3, "interrupted", 3]);
  });
});
