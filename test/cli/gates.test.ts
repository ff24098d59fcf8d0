/** Exit codes of the commands that hold results against something: 0 only where all of it was checked. */
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { BenchResult } from "../../src/results/types.ts";
import { runCli } from "../support/process.ts";
import { sampleResult } from "../support/sample-result.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-gates-"));
const sample = sampleResult();
/** Without the scenario whose arm is invalid on purpose, and without requirements. */
const valid: BenchResult = { ...sample, scenarios: sample.scenarios.filter(({ id }) => id !== "trace"), requirements: [] };
const oneRound: BenchResult = {
  ...valid,
  scenarios: valid.scenarios.map((scenario) => ({
    ...scenario,
    arms: scenario.arms.map((arm) => ({ ...arm, rounds: arm.rounds.slice(0, 1) })),
  })),
};

function saved(name: string, result: BenchResult): string {
  const directory = join(folder, name);
  mkdirSync(directory);
  writeFileSync(join(directory, "result.json"), JSON.stringify(result));
  return directory;
}

const places = {
  valid: saved("valid", valid),
  oneRound: saved("one-round", oneRound),
  otherStreams: saved("other-streams", {
    ...valid,
    scenarios: valid.scenarios.map((scenario) => ({ ...scenario, workload: { ...scenario.workload, streams: 7 } })),
  }),
  unrelated: saved("unrelated", { ...valid, scenarios: valid.scenarios.map((scenario) => ({ ...scenario, id: `${scenario.id}-2` })) }),
  invalid: saved("invalid", { ...valid, invalid: ["stream, h1: 3 of 8 requests failed"] }),
  incomplete: saved("incomplete", { ...valid, complete: false }),
};

describe("compare", () => {
  test.each([
    ["valid", 0, ""],
    ["otherStreams", 2, /^fakeai: not compared: unary: the workloads differ: streams none and 7$/mu],
    ["unrelated", 2, /^fakeai: not compared: unary-2: in B only$/mu],
    ["oneRound", 2, /^fakeai: not compared: unary, h1: one valid round in B: no interval$/mu],
    ["invalid", 3, /^fakeai: invalid: B is invalid: stream, h1: 3 of 8 requests failed$/mu],
    ["incomplete", 3, /^fakeai: invalid: B is incomplete: it was interrupted$/mu],
  ] as const)("a valid result with %s: exit %i", async (name, code, stderr) => {
    const ended = await runCli(["compare", places.valid, places[name]]).ended;
    expect(ended.code).toBe(code);
    if (stderr === "") expect(ended.stderr).toBe("");
    else expect(ended.stderr).toMatch(stderr);
  });

  test("--allow-missing passes what could not be compared, and nothing that is invalid", async () => {
    const codes = (["otherStreams", "unrelated", "oneRound", "invalid", "incomplete"] as const).map(async (name) => {
      return (await runCli(["compare", places.valid, places[name], "--allow-missing"]).ended).code;
    });
    expect(await Promise.all(codes)).toEqual([0, 0, 0, 3, 3]);
  });

  test("--json has the outcome and its reasons", async () => {
    const { stdout } = await runCli(["compare", places.valid, places.unrelated, "--json"]).ended;
    expect(JSON.parse(stdout)).toMatchObject({ outcome: "missing", invalid: [], comparisons: [] });
  });
});

describe("merge", () => {
  const merged = async (name: string, change: Partial<BenchResult>, ...args: string[]): Promise<number | null> => {
    const a = saved(`${name}-a`, { ...valid, ...change });
    const b = saved(`${name}-b`, { ...valid, ...change, startedAt: "2026-01-03T10:00:00.000Z" });
    return (await runCli(["merge", a, b, "--out", join(folder, `${name}-out`), ...args]).ended).code;
  };
  const requirement = (text: string): Partial<BenchResult> => ({ requirements: [{ text, met: true, measured: [] }] });

  test.each([
    ["good", requirement("stream/h2c/ttft.p50<10s"), 0],
    ["violated", requirement("stream/h2c/ttft.p50<1us"), 1],
    ["unmeasured", requirement("stream/h2c/scheduleDelay.p50<1s"), 2],
    ["broken", { invalid: ["stream, h1: 3 of 8 requests failed"] }, 3],
    ["cut", { complete: false }, 3],
  ] as const)("%s runs: exit code", async (name, change, code) => {
    expect(await merged(name, change)).toBe(code);
  });

  test("--allow-missing passes a requirement that nothing measured", async () => {
    expect(await merged("allowed", requirement("stream/h2c/scheduleDelay.p50<1s"), "--allow-missing")).toBe(0);
  });
});

test.each([
  ["invalid", ["--scenario", "stream"], 3, /fakeai: invalid: --baseline is invalid: stream, h1: 3 of 8/u],
  ["incomplete", ["--scenario", "stream"], 3, /fakeai: invalid: --baseline is incomplete/u],
  ["unrelated", ["--scenario", "stream"], 2, /--baseline: nothing in common: it has unary-2, .* and stream would be run/u],
  ["valid", ["--scenario", "stream", "--rounds", "1"], 2, /--baseline: one round has no interval; give --rounds 2 or more/u],
] as const)("bench refuses a baseline that is %s before it measures: %j", async (name, args, code, stderr) => {
  const ended = await runCli(["bench", ...args, "--baseline", places[name], "--out", join(folder, "never")]).ended;
  expect(ended.stderr).toMatch(stderr);
  expect([ended.code, ended.stdout]).toEqual([code, ""]);
});
