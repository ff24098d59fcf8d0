import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { vllmJson } from "../../src/results/exports.ts";
import { metricFacts } from "../../src/results/metrics.ts";
import { checkRequirements, parseRequirement } from "../../src/results/requirements.ts";
import { mergeResults } from "../../src/results/merge.ts";
import { compareResults } from "../../src/results/runs.ts";
import { checkResult, readResult, writeResult } from "../../src/results/store.ts";
import type { ArmResult, BenchResult, ScenarioResult } from "../../src/results/types.ts";
import { sampleResult } from "../support/sample-result.ts";

const sample = sampleResult();

function scenarioNamed(result: BenchResult, id: string): ScenarioResult {
  const found = result.scenarios.find((scenario) => scenario.id === id);
  if (found === undefined) throw new Error(`no scenario ${id}`);
  return found;
}

function armNamed(result: BenchResult, scenario: string, id: string): ArmResult {
  const found = scenarioNamed(result, scenario).arms.find((arm) => arm.id === id);
  if (found === undefined) throw new Error(`no arm ${id}`);
  return found;
}

describe("the store", () => {
  const directories: string[] = [];
  const fresh = async (): Promise<string> => {
    const directory = await mkdtemp(path.join(os.tmpdir(), "fakeai-results-"));
    directories.push(directory);
    return directory;
  };
  afterAll(async () => {
    for (const directory of directories) await rm(directory, { recursive: true });
  });

  it("reads what it wrote, from the directory or the file, and leaves nothing else", async () => {
    const directory = path.join(await fresh(), "deep", "run");
    const file = await writeResult(directory, sample);
    expect(await readResult(directory)).toEqual(sample);
    expect(await readResult(file)).toEqual(sample);
    expect(await readdir(directory)).toEqual(["result.json"]);
  });

  it("says in one line what is wrong with a file", async () => {
    const directory = await fresh();
    const file = path.join(directory, "x.json");
    await expect(readResult(file)).rejects.toThrow(`${file}: no such file`);
    await expect(readResult(directory)).rejects.toThrow("result.json: no such file");
    await writeFile(file, "{");
    await expect(readResult(file)).rejects.toThrow(`${file}: not JSON`);
    await writeFile(file, "[1]");
    await expect(readResult(file)).rejects.toThrow("not a result of fakeai bench");
    await writeFile(file, JSON.stringify({ ...sample, schemaVersion: 2 }));
    await expect(readResult(file)).rejects.toThrow("schema version 2, and this fakeai reads version 1");
    await writeFile(file, JSON.stringify({ ...sample, scenarios: [{ ...sample.scenarios[0], arms: "none" }] }));
    await expect(readResult(file)).rejects.toThrow("/scenarios/0/arms must be array");
    expect(() => checkResult(null, "it")).toThrow("it: not a result");
    // A later version's field is no error.
    expect(checkResult({ ...sample, later: 1 }, "it")).toHaveProperty("later");
  });
});

it.each(["experiments", "clients", "azure-2023-conversation"])(
  "reads what results/%s publishes, and no path of a machine in it",
  async (name) => {
    const directory = path.join(import.meta.dirname, "..", "..", "results", name);
    const files = (await readdir(directory)).filter((file) => file.endsWith(".json"));
    const read = await Promise.all(files.map(async (file) => readResult(path.join(directory, file))));
    expect(read.length).toBeGreaterThan(0);
    expect(read.filter(({ scenarios }) => scenarios.length === 0)).toEqual([]);
    expect(JSON.stringify(read).match(/"[^"]*\/(?:tmp|home|root|work)\/[^"]*"/gu)).toBeNull();
  },
);

describe("requirements", () => {
  it.each([
    ["ttft.p99<150ms", { scenario: null, arm: null, metric: "ttft", statistic: "p99", operator: "<", limit: 150_000 }],
    ["stream/h2c/itl.p50 <= 20.5 ms", { scenario: "stream", arm: "h2c", metric: "itl", statistic: "p50", operator: "<=", limit: 20_500 }],
    ["h2/e2el.max<1.5s", { scenario: null, arm: "h2", limit: 1_500_000 }],
    ["unary/requestsPerSecond>=1000/s", { scenario: "unary", arm: null, statistic: "mean", operator: ">=", limit: 1000 }],
    ["requestsPerSecond.min>1e3", { statistic: "min", limit: 1000 }],
    ["serverRssBytes<200MB", { limit: 200_000_000 }],
    ["serverCpuUsPerToken<15us", { limit: 15 }],
    ["failed<1%", { metric: "failed", limit: 0.01 }],
  ])("understands %s", (text, expected) => {
    expect(parseRequirement(text)).toMatchObject({ text, ...expected });
  });

  it.each([
    ["", "expected [scenario/]"],
    ["ttft.p99", "expected [scenario/]"],
    ["ttft.p99=5ms", "expected [scenario/]"],
    ["ttft.p99<5", "ttft needs a unit: us, ms or s"],
    ["ttft.p99<5min", "not measured in min"],
    ["ttft.p98<5ms", "unknown statistic p98"],
    ["ttft<5ms", "needs a statistic, as in ttft.p99"],
    ["speed.p99<5ms", "unknown metric speed"],
    ["toString.p99<5ms", "unknown metric toString"],
    ["a/b/c/ttft.p99<5ms", "at most a scenario and a protocol"],
    ["ttft.p99<1.2.3ms", "is no number"],
    ["failed<1ms", "not measured in ms"],
    ["a<b/ttft.p99<5ms", "expected"],
  ])("refuses %j in one line", (text, message) => {
    expect(() => parseRequirement(text)).toThrow(message);
    expect(() => parseRequirement(text)).not.toThrow("\n");
  });

  const check = (text: string): { met: boolean; measured: number } => {
    const [found] = checkRequirements([parseRequirement(text)], sample.scenarios);
    return { met: found?.met ?? false, measured: found?.measured.length ?? 0 };
  };

  it("are met by every arm that they mean, or violated", () => {
    expect(check("stream/h2c/ttft.p50<110ms")).toEqual({ met: true, measured: 1 });
    expect(check("stream/ttft.p50<110ms")).toEqual({ met: true, measured: 5 });
    expect(check("stream/ttft.p50<90ms")).toEqual({ met: false, measured: 5 });
    expect(check("unary/failed<1%")).toEqual({ met: true, measured: 4 });
  });

  it("are violated by what was not measured, by an invalid arm, and by no arm at all", () => {
    expect(check("unary/ttft.p50<1s")).toEqual({ met: false, measured: 4 });
    expect(check("trace/h2c/ttft.p50<1s")).toEqual({ met: false, measured: 1 });
    expect(check("trace/h2c/failed<50%")).toEqual({ met: true, measured: 1 });
    expect(check("nowhere/ttft.p50<1s")).toEqual({ met: false, measured: 0 });
    expect(check("multi-resource/ttft.p50<1s")).toEqual({ met: false, measured: 0 });
  });
});

describe("two runs side by side", () => {
  it("finds no regression between runs alike", () => {
    const found = compareResults(sample, sampleResult(2));
    expect(found.comparisons.length).toBeGreaterThan(100);
    expect(found.regressions).toEqual([]);
    expect(found.notes).toEqual([]);
  });

  it("finds what has become slower, and only that", () => {
    const later = sampleResult(2);
    const scenarios = later.scenarios.map((scenario) => {
      if (scenario.id !== "stream") return scenario;
      const arms = scenario.arms.map((arm) => {
        if (arm.id !== "h2c") return arm;
        const rounds = arm.rounds.map((round) => {
          const summary = round.metrics.serverCpuUsPerToken;
          if (!summary) throw new Error("not measured");
          return { ...round, metrics: { ...round.metrics, serverCpuUsPerToken: { ...summary, mean: summary.mean * 1.2 } } };
        });
        return { ...arm, rounds };
      });
      return { ...scenario, arms };
    });
    const found = compareResults(sample, { ...later, scenarios });
    expect(found.regressions.map(({ scenario, arm, comparison }) => [scenario, arm, comparison.metric])).toEqual([
      ["stream", "h2c", "serverCpuUsPerToken"],
    ]);
    expect(found.regressions[0]?.comparison.ratio?.estimate).toBeCloseTo(1.2, 1);
  });

  it("notes what is in one only, and what makes them unlike", () => {
    const [first, ...others] = sample.scenarios;
    if (first === undefined) throw new Error("empty");
    const changed = { ...first, workload: { ...first.workload, requests: 1 } };
    const b = { ...sample, scenarios: [changed, ...others.slice(1)], environment: { ...sample.environment, cores: 2 }, complete: false };
    expect(compareResults(sample, b).notes).toEqual([
      "cores differs: 8 and 2",
      "B is incomplete: it was interrupted",
      "unary is not compared: the workloads differ",
      "stream is in A only",
    ]);
  });
});

describe("merging runs", () => {
  const other = { ...sampleResult(2), environment: { ...sample.environment, cpu: "Another CPU" } };

  it("puts rounds side by side, adds histograms, and decides anew", () => {
    const merged = mergeResults([sample, other]);
    const arm = armNamed(merged, "stream", "h2c");
    expect(arm.rounds.map(({ round }) => round)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(arm.metrics.itl?.count).toBe(2 * (armNamed(sample, "stream", "h2c").metrics.itl?.count ?? Number.NaN));
    const max = Math.max(armNamed(sample, "stream", "h2c").metrics.itl?.max ?? 0, armNamed(other, "stream", "h2c").metrics.itl?.max ?? 0);
    expect(arm.metrics.itl?.max).toBe(max);
    expect(scenarioNamed(merged, "stream").comparisons.map(({ rounds }) => rounds)).toEqual([10, 10, 10, 10, 10]);
    expect(scenarioNamed(merged, "mux-scale").comparisons.map(({ verdict }) => verdict === "described")).toEqual([false, false, true]);
    expect(scenarioNamed(merged, "header-bytes").claims[0]?.verdict).toBe("reproduced");
    expect(merged.environments?.map(({ cpu }) => cpu)).toEqual(["Example CPU @ 3.00GHz", "Another CPU"]);
    expect(merged.requirements.map(({ met }) => met)).toEqual([true, false]);
    expect(armNamed(merged, "trace", "h2c").invalid).toHaveLength(1);
    expect(checkResult(JSON.parse(JSON.stringify(merged)), "merged")).toEqual(merged);
    // The merged result can be merged on.
    expect(mergeResults([merged, sampleResult(3)]).environments).toHaveLength(3);
  });

  it("refuses, in one line, what does not fit together", () => {
    const scenarios = (change: (scenario: ScenarioResult) => ScenarioResult): BenchResult => ({
      ...other,
      scenarios: other.scenarios.map(change),
    });
    const first = (change: Partial<ArmResult>): BenchResult =>
      scenarios((scenario) => ({ ...scenario, arms: scenario.arms.map((arm, index) => (index === 0 ? { ...arm, ...change } : arm)) }));
    for (const [result, message] of [
      [sample, "the same run twice"],
      [{ ...other, suite: "full" }, "suites differ: quick and full"],
      [Object.assign({}, other, { schemaVersion: 2 }), "schema versions differ: 1 and 2"],
      [{ ...other, scenarios: other.scenarios.slice(1) }, "scenarios differ"],
      [scenarios((scenario) => ({ ...scenario, workload: { ...scenario.workload, tokens: 7 } })), "unary: workloads differ"],
      [
        scenarios((scenario) => ({ ...scenario, arms: scenario.arms.slice(1) })),
        "unary: arms differ: h1, h2c, h1-uws, h1-autocannon; and h2c",
      ],
      [first({ rttMs: 3 }), "unary, arm h1: rttMs differs: 0 and 3"],
      [first({ driver: "stream" }), "unary, arm h1: driver differs: h2load and stream"],
    ] as const) {
      expect(() => mergeResults([sample, result])).toThrow(`cannot merge: ${message}`);
      expect(() => mergeResults([sample, result])).not.toThrow("\n");
    }
    expect(() => mergeResults([sample])).toThrow("two results or more");
  });

  it("keeps a scenario that one run skipped, with a note", () => {
    const [first, ...rest] = other.scenarios;
    if (first === undefined) throw new Error("empty");
    const skipping = { ...other, scenarios: [{ ...first, arms: [], skipped: "no h2load" }, ...rest] };
    const unary = scenarioNamed(mergeResults([skipping, sample]), "unary");
    expect(unary).toMatchObject({ skipped: null, notes: ["skipped in 1 of 2 merged runs"] });
    expect(unary.arms[0]?.rounds).toHaveLength(5);
  });
});

describe("vLLM's JSON", () => {
  it("has vLLM's keys in vLLM's units", () => {
    const arm = armNamed(sample, "stream", "h2c");
    const json = vllmJson(arm);
    expect(json).toMatchObject({ completed: 500, failed: 0, total_output_tokens: 15_000, request_goodput: null });
    expect(json["duration"]).toBeCloseTo(3.5, 6);
    expect(json["request_throughput"]).toBeCloseTo(500 / 3.5, 6);
    expect(json["output_throughput"]).toBeCloseTo(15_000 / 3.5, 6);
    expect(json["mean_ttft_ms"]).toBeCloseTo((arm.metrics.ttfe?.mean ?? 0) / 1000, 9);
    expect(json["median_itl_ms"]).toBeCloseTo((arm.metrics.itl?.p50 ?? 0) / 1000, 9);
    for (const name of ["ttft", "tpot", "itl", "e2el"]) {
      for (const statistic of ["mean", "median", "std", "p99"]) expect(json).toHaveProperty(`${statistic}_${name}_ms`);
    }
    expect(json).not.toHaveProperty("ttfts");
  });

  it("has null for what was not measured, and lists in seconds where requests are given", () => {
    expect(vllmJson(armNamed(sample, "unary", "h1"))).toMatchObject({ mean_ttft_ms: null, p99_itl_ms: null, total_output_tokens: null });
    const requests = [
      { startUs: 5_000_000, error: null, tokens: 3, firstEventUs: 5_100_000, tokenUs: [5_101_000, 5_121_000, 5_142_000] },
      { startUs: 5_010_000, error: "timeout", tokens: 0, firstEventUs: null, tokenUs: [] },
    ];
    const json = vllmJson(armNamed(sample, "stream", "h1"), requests);
    expect(json).toMatchObject({ ttfts: [0.1, 0], itls: [[0.02, 0.021], []], latencies: [0.142, 0], start_times: [0, 0.01] });
    expect(json).toMatchObject({ output_lens: [3, 0], errors: ["", "timeout"] });
  });
});

it("every metric says what it is", () => {
  for (const { description } of Object.values(metricFacts)) expect(description.length).toBeGreaterThan(20);
});
