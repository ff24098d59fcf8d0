/** Every experiment on connections does what its file says, in a form small enough for a test: real server, real client. */
import { afterAll, describe, expect, test } from "vitest";
import type { DriverName, LoadDriver } from "../../src/load/job.ts";
import type { ArmResult, MetricName, ScenarioResult } from "../../src/results/types.ts";
import type { RunContext } from "../../src/runner/arms.ts";
import { runVariant } from "../../src/runner/experiment.ts";
import { resolveBench } from "../../src/runner/plan/options.ts";
import { takesEverything } from "../../src/runner/plan/body.ts";
import { scenarioNamed, type Variant, variantsOf, type Workload } from "../../src/runner/plan/scenario.ts";

const drivers = new Map<DriverName, LoadDriver>();
afterAll(() => Promise.all([...drivers.values()].map((driver) => driver.close())));

const context = (): RunContext => ({
  options: resolveBench({ rounds: "1", keepDisturbed: true }),
  meeting: null,
  details: false,
  pinning: null,
  signal: new AbortController().signal,
  observer: { progress() {}, notice() {}, detail() {} },
  external: null,
  gateways: new Map(),
  drivers,
  calibration: null,
  engineVersions: new Map(),
  told: new Set(),
});

const least = (value: number | string, limit: number): number | string => (typeof value === "number" ? Math.min(value, limit) : value);

/** The variant with little of everything; what its arms do stays. */
function tiny(variant: Variant): Variant {
  const { workload } = variant;
  const streams = Math.min(workload.streams, 16);
  const small: Workload = {
    ...workload,
    streams,
    requests: Math.min(workload.requests, 2 * streams),
    warmup: Math.min(workload.warmup, 2),
    outputTokens: Math.min(workload.outputTokens, 36),
    ttft: least(workload.ttft, 10),
    itl: least(workload.itl, 5),
  };
  return { ...variant, rounds: 1, workload: small };
}

/** One variant of a scenario, run; the last where none is named. */
async function ran(scenario: string, name?: string): Promise<{ result: ScenarioResult; arm: (id: string) => ArmResult }> {
  const variants = variantsOf(scenarioNamed(scenario), null);
  const variant = tiny(name === undefined ? variants.at(-1)! : variants.find((one) => one.name === name)!);
  const result = await runVariant(context(), variant);
  for (const { id, rounds } of result.arms) {
    const reasons = rounds.flatMap(({ invalid }) => invalid).filter((reason) => !reason.startsWith("client-limited"));
    expect([id, reasons]).toEqual([id, []]);
    for (const { requests } of rounds) expect([id, requests.completed]).toEqual([id, variant.workload.requests]);
  }
  expect(result.arms.map(({ id }) => id)).toEqual(variant.arms.map(({ id }) => id));
  // What a pair is compared in was measured on both sides.
  for (const { baseline, candidate, metrics, described = [] } of variant.pairs)
    for (const id of [baseline, candidate])
      for (const { metric } of [...metrics, ...described])
        expect([id, metric, typeof mean(found(result, id), metric)]).toEqual([id, metric, "number"]);
  return { result, arm: (id) => found(result, id) };
}

/** Of the round, valid or not: a busy machine is no fault here. */
function mean({ rounds }: ArmResult, metric: MetricName): number | null {
  return rounds[0]?.metrics[metric]?.mean ?? null;
}

const found = ({ arms }: ScenarioResult, id: string): ArmResult => arms.find((arm) => arm.id === id)!;

describe("scenarios", () => {
  test("stream-cap: waiting, being refused, and opening connections", async () => {
    const { arm } = await ran("stream-cap", "limit 4, 128 at once");
    expect(mean(arm("h2c-queue"), "streamsRefused")).toBeNull();
    expect(mean(arm("h2c-race"), "streamsRefused")).toBeGreaterThan(0);
    expect(mean(arm("h2c-grow"), "connectionsOpened")).toBe(4);
    expect(mean(arm("h2c-queue"), "connectionsOpened")).toBe(1);
  });

  test("window: the windows of each arm are in force", async () => {
    const { result } = await ran("window", "1 MB, RTT 0");
    const notes = result.notes.join("\n");
    expect(notes).toMatch(/of h2c-64k: 65535 \(stream\) and 65535 \(connection\)/);
    expect(notes).toMatch(/of h2c-16m: 16777216 \(stream\) and 16777216 \(connection\)/);
  });

  test("window: tokens under a round-trip time", async () => {
    const { arm } = await ran("window");
    expect(arm("h2c-64k").rttMs).toBe(33);
  });

  test("slow-reader: a client that holds the window keeps the measured stream waiting", async () => {
    const { arm } = await ran("slow-reader");
    expect(arm("h2c-held").rounds[0]!.metrics.e2el!.max).toBeGreaterThan(150_000);
    // 17 connections for 17 streams.
    expect(mean(arm("h1"), "connectionsOpened")).toBe(17);
    expect(mean(arm("h2c"), "connectionsOpened")).toBe(1);
    expect(mean(arm("h2c"), "serverCpuUsPerToken")).toBeNull();
  });

  test("cancel: HTTP/1.1 opens connections anew", async () => {
    const { arm } = await ran("cancel", "50% given up");
    expect(mean(arm("h1s"), "requestsAborted")).toBe(16);
    expect(mean(arm("h1s"), "connectionsOpened")).toBeGreaterThan(16);
    expect(mean(arm("h2"), "connectionsOpened")).toBe(1);
  });

  test("cap6: who waits for a connection, waits in the TTFT from the planned start", async () => {
    const { arm } = await ran("cap6");
    expect(mean(arm("h1-6"), "ttftFromIntended")).toBeGreaterThan(1.5 * mean(arm("h1-6"), "ttft")!);
  });

  test("pipeline-trap: pipelined tokens come in bursts", async () => {
    const { arm } = await ran("pipeline-trap");
    expect(arm("h1-pipelined-8").rounds[0]!.metrics.itl!.p50).toBeLessThan(1000);
  });

  test("chunking: ITL grows with the event, TPOT does not", async () => {
    const { arm } = await ran("chunking");
    expect(mean(arm("h1-4"), "itl")).toBeGreaterThan(2.5 * mean(arm("h1-4"), "tpot")!);
    expect(mean(arm("h1-1"), "tokensPerSecond")).toBeGreaterThan(0);
  });

  test("bytes: by frame type, set-up included", async () => {
    const { arm } = await ran("bytes", "50 tokens");
    expect(mean(arm("h2c"), "settingsBytesPerToken")).toBeGreaterThan(0);
    expect(mean(arm("h1"), "settingsBytesPerToken")).toBeNull();
    expect(mean(arm("h1"), "headBytesPerToken")).toBeGreaterThan(mean(arm("h2c"), "headBytesPerToken")!);
  });

  test("cold: a connection for each call, or kept ones", async () => {
    const { arm } = await ran("cold", "RTT 0");
    expect(mean(arm("h1s-new"), "connectionsOpened")).toBe(20);
    expect(mean(arm("h2-new"), "connectionsOpened")).toBe(20);
    expect(mean(arm("h2-new-early"), "streamsRefused")).toBe(0);
    expect(mean(arm("h2-1"), "connectionsOpened")).toBe(1);
  });

  test("long-haul", async () => {
    const { arm } = await ran("long-haul");
    expect(mean(arm("h1"), "serverLateness")).toBeGreaterThanOrEqual(0);
  });

  test("priority: tokens beside bulk over a slow link", async () => {
    const { result } = await ran("priority");
    expect(result.notes.join("\n")).toMatch(/network of h2c/);
  });

  test("calibrate: how far the measured pace is from the planned one", async () => {
    const { arm } = await ran("calibrate");
    expect(mean(arm("h1"), "itlError")).toBeGreaterThanOrEqual(0);
    expect(mean(arm("h1"), "itlError")).toBeLessThan(5);
  });

  test("a server that is not ours cannot be given a limit: refused in one line", async () => {
    const [variant] = variantsOf(scenarioNamed("stream-cap"), null);
    const external = {
      pathOf: (path: string) => path,
      accepted: takesEverything,
      notes: [],
      clock: "none" as const,
      target: {
        origins: { h1: "http://127.0.0.1:9" },
        tls: { ca: null, insecure: false, cipher: null },
        usage: () => null,
        eventLoopDelayP99Us: () => Promise.resolve(null),
        pauses: () => Promise.resolve(null),
        pid: null,
        died: null,
        close: () => Promise.resolve(),
      },
    };
    await expect(runVariant({ ...context(), external }, variant!)).rejects.toThrow(
      /^stream-cap needs a server with settings of its own \(\{"maxConcurrentStreams":4\}\): not with --url$/,
    );
  });
});
