/** Sweeps as they are run: real servers, few requests. */
import { createServer as createHttpServer } from "node:http";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { vllmJson } from "../../src/results/exports.ts";
import type { BenchResult } from "../../src/results/types.ts";
import { runBench } from "../../src/runner/bench.ts";
import { resolveBench } from "../../src/runner/plan/options.ts";
import type { BenchInput } from "../../src/settings/bench.ts";
import { listen } from "../support/servers.ts";

let server: FakeAiServer;
beforeAll(async () => {
  server = await createServer({ protocol: "h1:0", ttft: 20, itl: 2, outputTokens: 8, stamps: true });
});
afterAll(() => server.close(0));

const bench = (input: BenchInput): Promise<BenchResult> =>
  runBench({
    options: resolveBench({ url: server.urls.h1!, keepDisturbed: true, warmup: "1", timeout: "5", rounds: "2", ...input }),
    baseline: null,
    command: [],
    details: false,
    observer: { progress() {}, notice() {}, detail() {} },
    signal: new AbortController().signal,
  });

test("a list on a server by its address: a scenario for each point, and goodput in them and in vLLM's form", async () => {
  const { scenarios, sweeps } = await bench({ streams: "1,4", requests: "8", slo: "ttft.p95<10s,itl.p99<10s,tpot.p99<10s" });
  expect(scenarios.map(({ variant, point, workload }) => [variant, point, workload["streams"]])).toEqual([
    ["1 stream", { streams: "1" }, 1],
    ["4 streams", { streams: "4" }, 4],
  ]);
  for (const { arms } of scenarios) {
    const { metrics, rounds } = arms[0]!;
    expect(rounds.map(({ requests }) => requests.completed)).toEqual([8, 8]);
    expect(metrics.goodRequestsPerSecond!.mean).toBeCloseTo(metrics.requestsPerSecond!.mean, 6);
    expect(metrics.inputTokensPerSecond!.mean).toBeGreaterThan(0);
    const exported = vllmJson(arms[0]!);
    if (arms[0]!.invalid.length === 0) expect(exported["request_goodput"]).toBeCloseTo(exported["request_throughput"] as number, 6);
  }
  expect(sweeps!.map(({ kind, series }) => [kind, series.map(({ readings }) => readings.length)])).toEqual([["list", [2]]]);
}, 60_000);

test("of the load: what is found is at points that were run, and no rate counts that was not served", async () => {
  const { sweeps, scenarios } = await bench({ sweep: "load:2", requests: "12", streams: "4" });
  const [{ points, series, axes, stopped }] = sweeps as [NonNullable<typeof sweeps>[number]];
  expect(points.slice(0, 2).map(({ load, x }) => [load, x])).toEqual([
    ["synchronous", null],
    ["throughput", null],
  ]);
  expect(points.map(({ variant }) => variant)).toEqual(scenarios.map(({ variant }) => variant));
  expect(axes[0]!.values.map(({ x }) => x)).toEqual(points.slice(2).map(({ x }) => x));
  expect(stopped).toMatch(/^ended at /);
  for (const { readings, keepsUp } of series) {
    expect(readings).toHaveLength(points.length);
    if (keepsUp?.point != null) expect(readings.find(({ point }) => point === keepsUp.point)!.achieved).toBeGreaterThanOrEqual(0.95);
  }
}, 90_000);

test("a ramp-up and a cool-down are in no latency and no rate, and slices show the whole round", async () => {
  const { scenarios } = await bench({ scenario: ["stream"], rate: "20", duration: "4", rampUp: "0.8", coolDown: "0.5", rounds: "1" });
  const { rounds } = scenarios[0]!.arms[0]!;
  const { requests, metrics, slices } = rounds[0]!;
  expect(requests.outside).toBeGreaterThan(4);
  expect(metrics.ttft!.count).toBe(requests.completed - requests.outside!);
  expect(metrics.durationUs!.mean).toBeLessThan(slices!.everyUs * slices!.requestsPerSecond.length - 1_000_000);
}, 60_000);

test("--max-errors ends a round and the sweep: what follows is not run, with the reason", async () => {
  const failing = createHttpServer((request, response) => {
    request.resume();
    response.writeHead(request.method === "GET" ? 200 : 503).end("{}");
  });
  const port = await listen(failing);
  const { scenarios, sweeps, invalid } = await bench({
    url: `http://127.0.0.1:${port}`,
    protocol: "h1",
    streams: "2,4,8",
    requests: "50",
    warmup: "0",
    maxErrors: "3",
  });
  failing.close();
  expect(invalid.join()).toMatch(/stream \(2 streams\), h1.*more than 3 requests failed \(--max-errors\)/);
  expect(scenarios[0]!.arms[0]!.rounds[0]!.requests.sent).toBeLessThan(12);
  expect(scenarios.slice(1).map(({ skipped }) => skipped)).toEqual([sweeps![0]!.stopped, sweeps![0]!.stopped]);
  expect(sweeps![0]!.stopped).toMatch(/the sweep ended at stream \(2 streams\): too many requests of h1 failed \(--max-errors\)/);
}, 60_000);
