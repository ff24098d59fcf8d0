/** Lists of values as points of a sweep: which are run, under which names, and what is refused. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Observer } from "../../src/runner/arms.ts";
import { UsageError } from "../../src/base/usage-error.ts";
import { resolveBench } from "../../src/runner/plan/options.ts";
import { type Plan, planOf } from "../../src/runner/plan/plan.ts";
import { requestsOf } from "../../src/runner/plan/requests.ts";
import { defaultWorkload } from "../../src/runner/plan/scenario.ts";
import { placesOf } from "../../src/runner/plan/sweep.ts";
import type { BenchInput } from "../../src/settings/bench.ts";

const silent: Observer = { progress() {}, notice() {}, detail() {} };
const plan = (input: BenchInput): Plan => planOf(resolveBench(input), silent);
const names = (input: BenchInput): string[] => plan(input).variants.map(({ name }) => name);

describe("a list of values is a sweep", () => {
  test("of token streams, where no scenario is named, in rising order", () => {
    const { variants, sweeps } = plan({ streams: "100,1,10" });
    expect(variants.map(({ scenario, name, workload }) => [scenario, name, workload.streams, workload.requests])).toEqual([
      ["stream", "1 stream", 1, 10],
      ["stream", "10 streams", 10, 10],
      ["stream", "100 streams", 100, 100],
    ]);
    expect(variants.map(({ point }) => point)).toEqual([{ streams: "1" }, { streams: "10" }, { streams: "100" }]);
    expect(sweeps).toMatchObject([
      {
        kind: "list",
        scenario: "stream",
        variant: "",
        axes: [{ name: "streams", unit: "count", scale: "log" }],
        points: [
          { variant: "1 stream", x: 1 },
          { variant: "10 streams", x: 10 },
          { variant: "100 streams", x: 100 },
        ],
      },
    ]);
  });

  test.each<[BenchInput, string[], (string | number)[]]>([
    [{ rate: "5,50" }, ["5/s", "50/s"], [5, 50]],
    [{ rtt: "0,20ms,500us" }, ["RTT 0 ms", "RTT 500us", "RTT 20ms"], [0, 0.5, 20]],
    [{ stall: "none,0.1%,1%,40ms" }, ["stall none", "stall 0.1%,40ms", "stall 1%,40ms"], [0, 0.001, 0.01]],
    [{ stall: "1%,40ms,2%,80ms" }, ["stall 1%,40ms", "stall 2%,80ms"], [0.01, 0.02]],
    [{ outputTokens: "10,20" }, ["10 tokens", "20 tokens"], [10, 20]],
    [{ connections: "1,4" }, ["1 connection", "4 connections"], [1, 4]],
    [{ tokensPerChunk: "1,8" }, ["1 to an event", "8 to an event"], [1, 8]],
    [{ streams: "1,8", url: "http://x" }, ["1 stream", "8 streams"], [1, 8]],
  ])("%j", (input, expected, xs) => {
    expect(names(input)).toEqual(expected);
    expect(plan(input).sweeps[0]!.points.map(({ x }) => x)).toEqual(xs);
  });

  test("what is varied reaches the requests and the network", () => {
    expect(plan({ tokensPerChunk: "1,8" }).variants.map(({ workload }) => workload.tokensPerChunk)).toEqual([1, 8]);
    expect(plan({ stall: "1%,2%,40ms", rtt: "10" }).variants.map(({ workload }) => workload.network)).toEqual([
      { rtt: "10", stall: "1%,40ms" },
      { rtt: "10", stall: "2%,40ms" },
    ]);
    expect(plan({ rate: "5,50", duration: "2" }).variants.map(({ workload }) => [workload.mode, workload.requests])).toEqual([
      ["open", 10],
      ["open", 100],
    ]);
  });

  test("a line of connections is one arm, whatever its file calls it", () => {
    const arms = plan({ connections: "1,2,4", scenario: ["unary"], protocol: "h2c" }).variants.map((variant) =>
      variant.arms.map(({ id, connections }) => `${id} ${connections}`),
    );
    expect(arms).toEqual([["h2c 1"], ["h2c 2"], ["h2c 4"]]);
  });

  test("variants that differ in what is varied are one line, and others stay apart", () => {
    const { variants, sweeps } = plan({ streams: "5,50", scenario: ["mux-scale"] });
    expect(variants.map(({ name }) => name)).toEqual(["5 streams", "50 streams"]);
    expect(sweeps.map(({ variant, points }) => [variant, points.length])).toEqual([["", 2]]);
    const cold = plan({ streams: "5,50", scenario: ["cold"] });
    expect(cold.sweeps.map(({ points }) => points.length)).toEqual(cold.sweeps.map(() => 2));
    expect(new Set(cold.variants.map(({ name }) => name)).size).toBe(cold.variants.length);
  });

  test("two lists are a grid: every pair of values once, the first axis along x", () => {
    const { variants, sweeps } = plan({ streams: "1,10", rtt: "0,40" });
    expect(variants.map(({ name }) => name)).toEqual([
      "1 stream, RTT 0 ms",
      "10 streams, RTT 0 ms",
      "1 stream, RTT 40 ms",
      "10 streams, RTT 40 ms",
    ]);
    expect(sweeps[0]!.axes.map(({ name, scale }) => [name, scale])).toEqual([
      ["streams", "log"],
      ["rtt", "linear"],
    ]);
    fc.assert(
      fc.property(fc.array(fc.uniqueArray(fc.nat(), { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 3 }), (lists) => {
        const axes = lists.map((list, index) => ({
          name: (["rate", "streams", "rtt"] as const)[index]!,
          values: list.map((x) => ({ text: String(x), x })),
        }));
        const places = placesOf(axes as unknown as Parameters<typeof placesOf>[0]);
        expect(new Set(places.map((place) => JSON.stringify(place))).size).toBe(lists.reduce((product, list) => product * list.length, 1));
        expect(places.every((place) => Object.keys(place).length === lists.length)).toBe(true);
      }),
    );
  });
});

test.each<[BenchInput, RegExp]>([
  [{ streams: "1,x" }, /^--streams: "x" is not a whole number/],
  [{ streams: "" }, /^--streams: ""/],
  [{ rtt: "0,soon" }, /^--rtt: "soon" is no time/],
  [{ rtt: "1,1ms" }, /^--rtt: two values are the same/],
  [{ stall: "1%,2%" }, /^--stall/],
  [{ stall: "101%,2%,40ms" }, /^--stall/],
  [{ streams: "1,2", via: ["http://y"], url: "http://x" }, /^--streams: a sweep does not go with --via/],
  [{ streams: "1,2", trace: "x.csv" }, /^--streams: a sweep does not go with --trace/],
  [{ streams: "1,2", driver: "client" }, /^--streams: several values do not go with --driver client/],
  [{ sweep: "rates" }, /^--sweep: "rates" is neither load nor load:n/],
  [{ sweep: "load:1" }, /from 2 to 50/],
  [{ sweep: "load", streams: "1,2" }, /^--sweep load finds its own points: give --streams one value/],
  [{ sweep: "load", rate: "5" }, /leave --rate out/],
  [{ slo: "ttft<1s" }, /^--slo: requirement "ttft<1s": ttft needs a statistic/],
  [{ slo: "requestsPerSecond>5" }, /^--slo: "requestsPerSecond>5": an objective is on the latency of requests/],
  [{ slo: "ttft.p95>5ms" }, /^--slo: "ttft.p95>5ms": a latency is kept below a limit/],
  [{ maxErrors: "many" }, /^--max-errors: "many"/],
  [{ maxErrors: "101%" }, /^--max-errors/],
  [{ duration: "5", rampUp: "3", coolDown: "2" }, /nothing is left beside --ramp-up and --cool-down/],
  [{ streams: Array.from({ length: 101 }, (_, i) => i + 1).join(",") }, /101 points are more than 100/],
])("%j is refused in one line", (input, message) => {
  expect(() => resolveBench(input)).toThrow(UsageError);
  expect(() => resolveBench(input)).toThrow(message);
});

test("in a ramp the rate rises evenly: at each moment as many have left as the integral of the rate says", () => {
  const workload = { ...defaultWorkload, mode: "open" as const, arrivals: "constant" as const, requests: 1001 };
  const wording = { model: "m", own: true, body: null, oneBody: true };
  const [rate, rampS] = [100, 4];
  const times = requestsOf(workload, wording, 1, 0, rate, rampS).map(({ atUs }) => atUs! / 1e6);
  const left = (t: number): number => (t < rampS ? (rate * t * t) / (2 * rampS) : rate * (t - rampS / 2));
  for (const [index, at] of times.entries()) expect(left(at)).toBeCloseTo(index, 6);
  expect(requestsOf(workload, wording, 1, 0, rate).at(-1)!.atUs).toBe(1e7);
});
