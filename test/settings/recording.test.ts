/** Latencies as they were recorded: read, imitated, and told from others by a Kolmogorov-Smirnov test. */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { freePorts, resolveConfig } from "../../src/settings/server.ts";
import { latencyUnits, parseDistribution, type Distribution } from "../../src/core/random/distribution.ts";
import { countedValues, empirical } from "../../src/core/random/empirical.ts";
import { Random, seedOf } from "../../src/core/random/random.ts";
import { createServer, type ServerOptions } from "../../src/index.ts";
import { describePresets, presets } from "../../src/settings/presets.ts";
import { readRecording, type Recording } from "../../src/settings/recording.ts";
import { bucketsOf, Recorder } from "../../src/results/recorder.ts";
import type { BenchResult } from "../../src/results/types.ts";
import { showKnobs, changedConfig } from "../../src/server/knobs.ts";
import { ksDistance, ksP } from "../support/kolmogorov.ts";
import { provider } from "../support/provider.ts";
import { runCli } from "../support/process.ts";
import { sampleResult } from "../support/sample-result.ts";
import { chat } from "../support/chat.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-recording-"));
function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const draws = (distribution: Distribution, count: number, seed: number): number[] => {
  const random = new Random(seedOf(seed), 99);
  return Array.from({ length: count }, () => distribution.sample(random));
};
const us = (spec: string): Distribution => parseDistribution(spec, latencyUnits("spec"));

/** What a real server might have shown: two humps and a long tail. */
const recorded = {
  ttft: [...draws(us("lognormal(180,0.3)"), 700, 1), ...draws(us("lognormal(900,0.5)"), 300, 2)],
  itl: [...draws(us("normal(14,2)"), 3600, 3), ...draws(us("lognormal(60,0.4)"), 400, 4)],
};
const wrong = { ttft: us("lognormal(300,0.9)"), itl: us("lognormal(16,0.6)") };

const csv = file(
  "recorded.csv",
  `request,ttft_ms,itl_ms\n${recorded.itl.map((itl, i) => `${i},${i < recorded.ttft.length ? recorded.ttft[i]! / 1000 : ""},${itl / 1000}`).join("\n")}\n`,
);

/** A result of `fakeai bench` whose arms saw what was recorded. */
function resultOf(arms: readonly string[]): BenchResult {
  const summaries = Object.fromEntries(
    (["ttft", "itl"] as const).map((metric) => {
      const recorder = new Recorder("us");
      for (const value of recorded[metric]) recorder.record(value);
      return [metric, recorder.summary()!];
    }),
  );
  const result = sampleResult();
  const scenario = result.scenarios[0]!;
  const arm = scenario.arms[0]!;
  return {
    ...result,
    scenarios: [{ ...scenario, id: "live", variant: "", arms: arms.map((id) => ({ ...arm, id, metrics: summaries })) }],
  };
}
const json = file("result.json", JSON.stringify(resultOf(["h1"])));

/** TTFT and gaps of streams whose schedules a server plans, microseconds. */
function planned(options: ServerOptions, recording: Recording | null, streams: number, tokens: number): { ttft: number[]; itl: number[] } {
  const planner = provider({ outputTokens: tokens, ...options }, recording);
  const seen = { ttft: [] as number[], itl: [] as number[] };
  for (let stream = 0; stream < streams; stream++) {
    const { schedule } = planner.plan("/v1/chat/completions", chat({ stream: true }));
    let before = schedule.nextDueUs(0);
    seen.ttft.push(before);
    for (let token = 1; token < tokens; token++) {
      const due = schedule.nextDueUs(token);
      seen.itl.push(due - before);
      before = due;
    }
  }
  return seen;
}

const p = (one: readonly number[], other: readonly number[]): number => ksP(ksDistance(one, other), one.length, other.length);

describe.each([
  ["a CSV", csv],
  ["a result.json", json],
])("from %s", (_name, place) => {
  test("the imitation passes the test, TTFT and ITL; the right percentiles of something else do not", async () => {
    const recording = await readRecording(place);
    const imitated = planned({ latencyFrom: place }, recording, 1500, 9);
    for (const metric of ["ttft", "itl"] as const) {
      const distribution = empirical(metric, recording[metric]);
      expect(p(draws(distribution, 3000, 7), recorded[metric])).toBeGreaterThan(0.05);
      expect(p(imitated[metric], recorded[metric])).toBeGreaterThan(0.05);
      expect(p(draws(wrong[metric], 3000, 7), recorded[metric])).toBeLessThan(1e-6);
    }
  });
});

test("the test itself: samples of one distribution pass about 95 times in 100, shifted ones do not", () => {
  let passed = 0;
  let shiftedPassed = 0;
  for (let round = 0; round < 200; round++) {
    const one = draws(us("lognormal(20,0.5)"), 400, 2 * round + 1000);
    const other = draws(us("lognormal(20,0.5)"), 400, 2 * round + 1001);
    if (p(one, other) > 0.05) passed++;
    if (
      p(
        one,
        other.map((value) => value * 1.3),
      ) > 0.05
    )
      shiftedPassed++;
  }
  expect(passed).toBeGreaterThan(180);
  expect(passed).toBeLessThan(200);
  expect(shiftedPassed).toBeLessThan(10);
});

test("property: what is drawn lies where values were, as often as they were", () => {
  const values = fc.array(fc.integer({ min: 0, max: 1000 }), { minLength: 1, maxLength: 30 });
  fc.assert(
    fc.property(values, (values) => {
      const counted = countedValues(values);
      expect(counted.reduce((sum, [, , count]) => sum + count, 0)).toBe(values.length);
      for (const value of draws(empirical("x", counted), 100, 5)) expect(values).toContain(value);
    }),
  );
});

test("property: buckets of a histogram hold every value, and their counts add up", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 5e6, noNaN: true }), { minLength: 1, maxLength: 60 }), (values) => {
      const recorder = new Recorder("us");
      for (const value of values) recorder.record(value);
      const buckets = bucketsOf(recorder.summary()!);
      expect(buckets.reduce((sum, [, , count]) => sum + count, 0)).toBe(values.length);
      for (const value of values) expect(buckets.some(([low, high]) => value >= low - 0.5 && value <= high + 0.5)).toBe(true);
      for (const [low, high] of buckets) expect(high - low).toBeLessThanOrEqual(Math.max(1, low / 1000));
    }),
  );
});

describe("what cannot be used is said in one line", () => {
  const two = file("two.json", JSON.stringify(resultOf(["h1", "h2c"])));
  const bare = file("bare.json", JSON.stringify({ ...resultOf(["h1"]), scenarios: [] }));
  test.each([
    [join(folder, "none.csv"), /^--latency-from: cannot read .*none\.csv \(ENOENT\)$/],
    [file("a.csv", "ttft,itl\n1,2\n"), /^--latency-from: .*a\.csv: the first line must name the columns ttft_ms and itl_ms$/],
    [file("b.csv", "ttft_ms,itl_ms\n1,2\nx,3\n"), /b\.csv:3: ttft_ms "x" is not a number of milliseconds$/],
    [file("c.csv", "ttft_ms,itl_ms\n1,\n2,\n"), /c\.csv: no value of itl_ms$/],
    [file("d.csv", "ttft_ms,itl_ms\n-1,2\n"), /d\.csv:2: ttft_ms "-1" is not a number/],
    [file("e.json", "{]"), /e\.json: not JSON$/],
    [file("f.json", "{}"), /f\.json: not a result of fakeai bench$/],
    [two, /two\.json: which arm\? add one of them after "#": live\/h1, live\/h2c$/],
    [`${two}#live/h3`, /no arm "live\/h3" with histograms; there are live\/h1, live\/h2c$/],
    [bare, /no arm has histograms of both ttft and itl$/],
    [`${csv}#live/h1`, /"#" chooses an arm of a result\.json, and this is none$/],
  ])("%s", async (place, message) => {
    await expect(readRecording(place)).rejects.toThrow(message);
  });

  test("a result is found in its directory", async () => {
    const directory = join(folder, "run");
    mkdirSync(directory);
    await expect(readRecording(directory)).rejects.toThrow(/^--latency-from: cannot read .*result\.json \(ENOENT\)$/);
    writeFileSync(join(directory, "result.json"), JSON.stringify(resultOf(["h1", "h2c"])));
    const { source } = await readRecording(`${directory}#live/h2c`);
    expect(source).toBe(`${join(directory, "result.json")}#live/h2c`);
  });

  test("an arm can be chosen", async () => {
    expect((await readRecording(`${two}#live/h2c`)).source).toMatch(/#live\/h2c$/);
  });

  test("one answer to how fast", async () => {
    await expect(createServer({ latencyFrom: csv, scheduler: "batched" })).rejects.toThrow(/^--latency-from: with --scheduler batched/);
    await expect(createServer({ latencyFrom: csv, preset: "groq-llama-2-70b" })).rejects.toThrow(/^--preset and --latency-from both/);
    await expect(createServer({ preset: "nope" })).rejects.toThrow(/^--preset: "nope" is not one of llama-3\.1-8b-h100, .* \(or list\)$/);
    await expect(createServer({ preset: "groq-llama-2-70b", scheduler: "batched" })).rejects.toThrow(
      /is of --scheduler independent, not batched$/,
    );
    await expect(createServer({ preset: "llama-3.1-8b-h100", ttft: 5 })).rejects.toThrow(/^--ttft: with --scheduler batched/);
  });
});

test("other knobs win over a recording, at run time too, and null brings it back", async () => {
  const recording = await readRecording(csv);
  const config = resolveConfig({ latencyFrom: csv, itl: 5 }, freePorts, recording);
  expect(config.model.itl.constant).toBe(5000);
  expect(showKnobs(config)).toMatchObject({ ttft: null, itl: "5" });
  const changed = changedConfig(config, { ttft: "7", itl: null });
  expect(changed.model.ttft.constant).toBe(7000);
  expect(changed.model.itl.spec).toMatch(/^as recorded in .*recorded\.csv$/);
  expect(changedConfig(changed, { ttft: null }).model.ttft.spec).toMatch(/^as recorded in/);
});

describe("presets", () => {
  test.each(presets.map((preset) => [preset.name, preset] as const))(
    "%s is a whole configuration with a source",
    (name, { source, measured, of }) => {
      expect(source).toMatch(/^https:\/\/github\.com\/[^ ]+\.(yaml|json)$/);
      expect(measured.length).toBeGreaterThan(60);
      expect(of).not.toBe("");
      const config = resolveConfig({ preset: name }, freePorts);
      if (config.scheduler === null) {
        expect(config.model.ttft.constant).toBeNull();
        expect(config.model.itl.constant).toBeGreaterThan(1000);
      } else expect(config.scheduler.stepTime.constant).toBeGreaterThan(1000);
    },
  );

  test("one token alone takes what the fit says", () => {
    const { scheduler } = resolveConfig({ preset: "llama-3.1-8b-h100" }, freePorts);
    expect(scheduler!.stepTime.constant! + scheduler!.stepTimePerSeqUs).toBeCloseTo(5752.705 + 5.999 + 3357.44, 2);
    expect(scheduler!.kvBlocks).toBe(29_205);
  });

  test("other flags win over a preset", () => {
    expect(resolveConfig({ preset: "llama-3.1-8b-h100", maxNumSeqs: 8, stepTime: 3 }, freePorts).scheduler).toMatchObject({
      maxNumSeqs: 8,
      stepTime: { constant: 3000 },
    });
    expect(resolveConfig({ preset: "groq-llama-2-70b", itl: 9 }, freePorts).model.itl.constant).toBe(9000);
  });

  test("half of what a server plans lies below the median that was published", () => {
    for (const { options } of presets.filter(({ options }) => options.ttft !== undefined)) {
      const { ttft } = planned({ ttft: options.ttft!, itl: options.itl! }, null, 1000, 1);
      const published = Number(/p50=([\d.]+)ms/.exec(options.ttft!)![1]) * 1000;
      const below = ttft.filter((value) => value <= published).length;
      expect(below).toBeGreaterThan(430);
      expect(below).toBeLessThan(570);
    }
  });

  test("--preset list shows all of them", async () => {
    const { code, stdout } = await runCli(["serve", "--preset", "list"]).ended;
    expect(code).toBe(0);
    expect(stdout).toBe(describePresets());
    for (const { source } of presets) expect(stdout).toContain(source);
  });
});
