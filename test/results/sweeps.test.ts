/** What the points of a sweep say together: the knee, the largest rate that is served, and that which keeps an objective. */
import { describe, expect, test } from "vitest";
import { summarize } from "../../src/results/recorder.ts";
import type { SweepAxis, SweepPoint, SweepReading } from "../../src/results/sweep.ts";
import { type SweepPlan, sweepResult } from "../../src/results/sweeps.ts";
import type { ArmResult, MetricName, Metrics, ScenarioResult } from "../../src/results/types.ts";

interface Seen {
  readonly rate: number | null;
  /** Of the rate. */
  readonly achieved?: number;
  readonly served?: number;
  readonly latencyMs: number;
  readonly invalid?: string;
}

const units: Partial<Record<MetricName, "us" | "1/s" | "ratio">> = {
  achievedShare: "ratio",
  requestsPerSecond: "1/s",
  goodRequestsPerSecond: "1/s",
};

function pointOf({ rate, achieved = 1, served = 0, latencyMs, invalid }: Seen, variant: string): ScenarioResult {
  const values: Partial<Record<MetricName, number>> =
    rate === null
      ? { requestsPerSecond: served, e2el: latencyMs * 1000, ttft: latencyMs * 500 }
      : { achievedShare: achieved, e2elFromIntended: latencyMs * 1000, ttft: latencyMs * 500, goodRequestsPerSecond: rate / 2 };
  const metrics = Object.fromEntries(
    Object.entries(values).map(([name, value]) => [name, summarize([value], units[name as MetricName] ?? "us")]),
  ) as Metrics;
  const arm = {
    id: "h1",
    metrics: invalid === undefined ? metrics : {},
    invalid: invalid === undefined ? [] : [invalid],
  } as unknown as ArmResult;
  return { id: "stream", variant, workload: { mode: rate === null ? "closed" : "open", rate }, arms: [arm] } as unknown as ScenarioResult;
}

function rates(seen: readonly Seen[], slo: string | null = null): ReturnType<typeof sweepResult>["series"][number] {
  const values = seen.flatMap(({ rate }) => (rate === null ? [] : [{ text: String(rate), x: rate }]));
  const axis: SweepAxis = { name: "rate", label: "requests/s", unit: "1/s", scale: "linear", values };
  const points = seen.map(({ rate }, index): SweepPoint => ({
    variant: String(index),
    at: rate === null ? {} : { rate: String(rate) },
    x: rate,
    load: rate === null ? "synchronous" : "given",
  }));
  const plan: SweepPlan = { kind: "load", scenario: "stream", variant: "", axes: [axis], points, slo, stopped: null };
  return sweepResult(
    plan,
    seen.map((one, index) => pointOf(one, String(index))),
  ).series[0]!;
}

/** M/M/1 with a service time of 10 ms: latency is S / (1 - rho), and power is largest at half of the capacity. */
const queue = (rate: number): Seen => ({ rate, latencyMs: 10 / (1 - rate / 100) });

describe("the knee", () => {
  test("of a single-server queue lies at half of its capacity (Kleinrock)", () => {
    expect(rates([10, 30, 50, 70, 90].map(queue)).knee).toEqual({ point: 2, x: 50, text: "at 50/s" });
  });

  test("of a server that is flat until it is full lies at the last rate that is served", () => {
    const flat = [10, 20, 40, 60, 80].map((rate): Seen => ({ rate, latencyMs: 100 }));
    const { knee, keepsUp } = rates([...flat, { rate: 100, achieved: 0.83, latencyMs: 900 }]);
    expect([knee!.x, keepsUp]).toEqual([80, { point: 4, x: 80, text: "up to 80/s: at 100/s 83% were served" }]);
    expect(rates(flat)).toMatchObject({
      knee: { point: null, text: "not reached: what is served still grows faster than latency at 80/s" },
      keepsUp: { x: 80, text: "up to 80/s: the largest rate that was tried" },
    });
  });

  test("needs three valid points, and an invalid one is left out by name", () => {
    const invalid: Seen = { rate: 60, latencyMs: 1, invalid: "client-limited: the generator used 99% of a core" };
    const seen = rates([queue(10), queue(30), invalid]);
    expect(seen.knee).toEqual({ point: null, x: null, text: "not known: 2 valid points, three are needed" });
    expect(seen.keepsUp!.text).toBe("up to 30/s: at 60/s client-limited: the generator used 99% of a core");
    expect(seen.readings[2]).toMatchObject({ servedPerSecond: null, achieved: null, latencyUs: null, keepsSlo: null });
  });

  test("at the least load that was tried may lie below it, unless that is one request at a time", () => {
    const beyond = [60, 75, 90].map(queue);
    expect(rates(beyond).knee).toEqual({ point: 0, x: 60, text: "at 60/s or below: no less was tried" });
    const one: Seen = { rate: null, served: 50, latencyMs: 10 };
    expect(rates([one, ...beyond]).knee).toEqual({ point: 0, x: 50, text: "at 50/s" });
  });

  test("one request at a time has its place where it served", () => {
    const { readings } = rates([queue(50), { rate: null, served: 9, latencyMs: 11 }]);
    expect(readings.map(({ x, askedPerSecond }) => [x, askedPerSecond])).toEqual([
      [9, null],
      [50, 50],
    ]);
  });
});

test("an objective is kept up to the last load before one that breaks it, and by no rate that is not served", () => {
  const slo = "ttft.p95<10ms";
  expect(rates([10, 30, 45, 60].map(queue), slo).keepsSlo).toEqual({
    point: 2,
    x: 45,
    text: "up to 45/s, 22.5 good requests/s: not at 60/s",
  });
  // The rate is not served: its requests wait in the client, and those that left are fast.
  const unserved = rates([queue(10), { rate: 90, achieved: 0.5, latencyMs: 12 }], slo);
  expect(unserved.readings.map((reading: SweepReading) => reading.keepsSlo)).toEqual([true, false]);
  expect(rates([queue(80)], slo).keepsSlo).toEqual({ point: null, x: null, text: "at no load: not at 80/s" });
  // What was not measured is not kept.
  expect(rates([queue(10), queue(30)], "itl.p99<50ms").keepsSlo!.text).toBe("at no load: at 10/s a metric of it was not measured");
});

test("a line of a chart is an arm with all other axes held; an axis that is no load has no knee", () => {
  const axis = (name: "rtt" | "outputTokens", values: number[]): SweepAxis => ({
    name,
    label: name,
    unit: "ms",
    scale: "linear",
    values: values.map((x) => ({ text: String(x), x })),
  });
  const points = [10, 20].flatMap((tokens) =>
    [0, 40].map((rtt): SweepPoint => ({
      variant: `${tokens} ${rtt}`,
      at: { outputTokens: String(tokens), rtt: String(rtt) },
      x: tokens,
      load: "given",
    })),
  );
  const plan: SweepPlan = {
    kind: "list",
    scenario: "stream",
    variant: "",
    axes: [axis("outputTokens", [10, 20]), axis("rtt", [0, 40])],
    points,
    slo: null,
    stopped: null,
  };
  const { series, kneeMethod } = sweepResult(
    plan,
    points.map(({ variant }) => pointOf({ rate: null, served: 5, latencyMs: 10 }, variant)),
  );
  expect(series.map(({ at, readings, knee }) => [at, readings.map(({ x }) => x), knee])).toEqual([
    [{ rtt: "0" }, [10, 20], null],
    [{ rtt: "40" }, [10, 20], null],
  ]);
  expect(kneeMethod).toBeNull();
});

test("one rate that is held while a network is varied is no largest rate: what lies along x are milliseconds", () => {
  const points = [0, 40].map((rtt): SweepPoint => ({ variant: String(rtt), at: { rtt: String(rtt) }, x: rtt, load: "given" }));
  const values = points.map(({ at: { rtt }, x }) => ({ text: rtt!, x: x! }));
  const axes: SweepAxis[] = [{ name: "rtt", label: "round-trip time", unit: "ms", scale: "linear", values }];
  const plan: SweepPlan = { kind: "list", scenario: "stream", variant: "", axes, points, slo: null, stopped: null };
  const { series } = sweepResult(
    plan,
    points.map(({ variant }) => pointOf({ rate: 20, latencyMs: 10 }, variant)),
  );
  expect(series.map(({ keepsUp, readings }) => [keepsUp, readings.map(({ askedPerSecond }) => askedPerSecond)])).toEqual([
    [null, [20, 20]],
  ]);
});
