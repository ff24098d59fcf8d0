/** Networks in scenarios and on the command line of a bench. */
import { describe, expect, test } from "vitest";
import { type NetworkInput } from "../../src/network/impairment.ts";
import { adapted } from "../../src/runner/plan/adapt.ts";
import { networkArguments } from "../../src/runner/processes/network.ts";
import { resolveBench } from "../../src/runner/plan/options.ts";
import type { BenchInput } from "../../src/settings/bench.ts";
import { checkScenario, variantsOf } from "../../src/runner/plan/scenario.ts";

describe("in scenarios and on the command line of a bench", () => {
  const file = (workload: object, more: object = {}) => ({
    id: "x",
    title: "x",
    isolates: "x",
    workload,
    arms: [{ id: "a", protocol: "h1", connections: 1, ...more }],
    metrics: ["ttft.p50"],
    compare: [],
    variants: [
      { name: "one", suites: ["full"] },
      { name: "two", suites: ["full"], workload: { network: { stall: "none", up: { latency: 1 } } } },
    ],
  });

  test("a variant overrides the network setting by setting, the bench both", () => {
    const [one, two] = variantsOf(checkScenario(file({ rttMs: 40, network: { stall: "1%,40ms" } }), "x.json"), null);
    expect(one!.workload.network).toEqual({ rtt: 40, stall: "1%,40ms" });
    expect(two!.workload.network).toEqual({ rtt: 40, stall: "none", up: { latency: 1 } });
    const options = resolveBench({ rtt: "10", bandwidthUp: "1mbit" });
    expect(adapted(two!, options).workload.network).toEqual({ rtt: "10", stall: "none", up: { latency: 1, bandwidth: "1mbit" } });
    expect(resolveBench({ delay: "40" }).network).toEqual({ rtt: "40" });
  });

  test.each<[object, object, RegExp]>([
    [{ network: { stall: "1%" } }, {}, /^--scenario: x\.json: network\.stall: "1%" is not/],
    [{ network: { up: { cut: "5" } } }, {}, /^--scenario: x\.json: network\.up\.cut: /],
    [{ rttMs: 1, network: { rtt: 1 } }, {}, /^--scenario: x\.json: rttMs and network\.rtt are one thing$/],
    [{}, { network: { rtt: "far" } }, /^--scenario: x\.json: network\.rtt: /],
  ])("%j %j is refused", (workload, arm, message) => {
    expect(() => checkScenario(file(workload, arm), "x.json")).toThrow(message);
  });

  test.each<[object, RegExp]>([
    [{ stallDown: "1%" }, /^--stall-down: /],
    [{ rtt: "1", delay: "2" }, /^--delay and --rtt are one thing/],
    [{ delay: "soon" }, /^--delay: /],
  ])("%j is refused", (input, message) => {
    expect(() => resolveBench(input as BenchInput)).toThrow(message);
  });

  test("a network as flags is the network", () => {
    const network: NetworkInput = { rtt: 40, stall: "1%,40ms", down: { bandwidth: "1mbit" } };
    expect(networkArguments(network)).toEqual(["--rtt", "40", "--stall", "1%,40ms", "--bandwidth-down", "1mbit"]);
  });
});
