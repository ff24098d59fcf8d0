/** Who fell behind the plan, and how it is said. */
import { describe, expect, test } from "vitest";
import { conditionsOf } from "../../src/report/conditions.ts";
import { behindLines, calibrationLines } from "../../src/report/format.ts";
import { renderHtml } from "../../src/report/html.ts";
import { renderTable } from "../../src/report/table.ts";
import { Recorder } from "../../src/results/recorder.ts";
import { checkResult } from "../../src/results/store.ts";
import type { BenchResult, Calibration, CalibrationRow, Metrics, MetricSummary, Pace } from "../../src/results/types.ts";
import type { PaceFacts } from "../../src/load/job.ts";
import type { LiveArm } from "../../src/runner/arms.ts";
import type { Measured } from "../../src/runner/measure.ts";
import { judgePace } from "../../src/runner/pace.ts";
import { isLimit } from "../../src/results/validity.ts";
import { beyondCalibration } from "../../src/runner/plan/adapt.ts";
import { defaultWorkload, type Workload } from "../../src/runner/plan/scenario.ts";
import { sampleResult } from "../support/sample-result.ts";

function distribution(p50: number, p99: number): MetricSummary {
  const recorder = new Recorder("us");
  for (let i = 0; i < 100; i++) recorder.record(i < 97 ? p50 : p99);
  return recorder.summary()!;
}

const kept: PaceFacts = { answers: 10, flowTokensPerSecond: 100, measuredUs: 2_000_000, plannedGapsUs: 1_500_000, plannedTtftUs: 500_000 };
const workload: Workload = { ...defaultWorkload, ttft: 50 };

interface Round {
  /** null: no stamps. */
  readonly lateness?: MetricSummary | null;
  readonly client?: MetricSummary;
  readonly faults?: readonly string[];
  readonly pace?: PaceFacts | null;
  readonly arm?: { readonly rttMs?: number; readonly spec?: object };
  readonly workload?: Partial<Workload>;
}

function judged({
  lateness = distribution(300, 900),
  client,
  faults = [],
  pace = kept,
  arm = {},
  workload: more = {},
}: Round): Pace | null {
  const tokensPerSecond = { ...distribution(1, 1), unit: "1/s" as const, mean: 1000 };
  const metrics: Metrics = { serverLateness: lateness, tokensPerSecond, ...(client === undefined ? {} : { client }) };
  // Of an arm and a run, these members are read and no other.
  const live = { rttMs: 0, gateway: null, ...arm, spec: { behind: null, ...arm.spec } } as unknown as LiveArm;
  const run = { report: { pace } } as unknown as Measured;
  return judgePace([run], metrics, faults, live, { ...workload, ...more }, true);
}

const who = (round: Round): string[] => judged(round)?.behind.map((one) => one.who) ?? [];

describe("a round", () => {
  test("that keeps its plan says what it reached, and marks no one", () => {
    expect(judged({})).toEqual({ plannedTokensPerSecond: 1000, reachedTokensPerSecond: 1000, behind: [] });
  });

  test.each<readonly [string, Round, readonly string[]]>([
    ["half of the tokens left late", { lateness: distribution(6000, 9000) }, ["server"]],
    ["a hundredth of the tokens left late", { lateness: distribution(300, 151_000) }, ["server"]],
    ["just inside of both bounds", { lateness: distribution(4990, 19_900) }, []],
    [
      "the generator's event loop was late",
      { faults: ["client-limited: the generator's event loop was 18.3 ms late (p99)"] },
      ["generator"],
    ],
    ["the generator's core was full", { faults: ["client-limited: the generator used 99% of a core"] }, ["generator"]],
    ["tokens waited in the generator", { client: distribution(100, 30_000) }, ["generator"]],
    ["both", { lateness: distribution(300, 151_000), client: distribution(100, 30_000) }, ["server", "generator"]],
    ["a failed request is no lateness", { faults: ["1 of 8 requests failed: status 503 (1)"] }, []],
    ["neither, and answers took longer", { pace: { ...kept, measuredUs: 2_200_000 } }, ["unknown"]],
    ["the request waited before the server read it", { pace: { ...kept, measuredUs: 3_000_000, plannedTtftUs: 1_500_000 } }, ["unknown"]],
  ])("%s", (_, round, expected) => {
    expect(who(round)).toEqual(expected);
  });

  test("names its measure and its bound", () => {
    const [behind] = judged({ lateness: distribution(6000, 151_000) })!.behind;
    expect(behind!.reason).toMatch(/^its tokens left 6\.0 ms \(p50\) and 151 ms \(p99\) after they were due \(bounds 5\.0 and 20 ms\)$/);
  });

  test("has a planned rate that is as much higher as its answers were slower", () => {
    expect(judged({ pace: { ...kept, measuredUs: 8_000_000 } })).toMatchObject({
      plannedTokensPerSecond: 4000,
      reachedTokensPerSecond: 1000,
    });
  });

  test.each<readonly [string, Round]>([
    ["a round trip", { arm: { rttMs: 40 } }],
    ["small windows", { arm: { spec: { windows: {} } } }],
    ["pipelining", { arm: { spec: { pipelining: 4 } } }],
    ["a bandwidth", { workload: { network: { bandwidth: "1mbit" } } }],
  ])("that %s holds back does not blame the server, and still the generator", (_, held) => {
    const late = { lateness: distribution(9000, 151_000), pace: { ...kept, measuredUs: 9_000_000 } };
    expect(who({ ...late, ...held })).toEqual([]);
    expect(who({ ...late, ...held, client: distribution(100, 30_000) })).toEqual(["generator"]);
  });

  test("without stamps has no figures, and is null where nothing complains", () => {
    const blind = (faults: readonly string[]): Pace | null => judged({ lateness: null, pace: null, faults });
    expect(blind([])).toBeNull();
    expect(blind(["client-limited: the generator used 99% of a core"])).toMatchObject({
      plannedTokensPerSecond: null,
      reachedTokensPerSecond: null,
    });
  });
});

/** The load of 3,000 streams with an ITL of 2 ms, as it was once printed as 1,500,000 tokens/s. */
const row: CalibrationRow = {
  protocol: "h2c",
  streams: 15_000,
  tokensPerSecond: 259_000,
  offeredTokensPerSecond: 1_500_000,
  serverLatenessP99Us: 151_000,
  itlError: 0.129,
  clientCpuShare: 0.9,
  ok: false,
  behind: [{ who: "server", reason: "its tokens left late" }],
};

describe("calibration", () => {
  const small: CalibrationRow = {
    ...row,
    streams: 1000,
    tokensPerSecond: 99_000,
    offeredTokensPerSecond: 100_000,
    itlError: 0.01,
    ok: true,
    behind: [],
  };
  const calibration: Calibration = { rows: [row, small], limitTokensPerSecond: { h2c: 99_000 } };

  test("says what was read beside what was offered", () => {
    expect(calibrationLines(calibration)).toEqual([
      "h2c: the plan was kept at 99,000 tokens/s read (100,000 offered, server lateness p99 151.0 ms, mean gap off by 1%).",
    ]);
    expect(calibrationLines({ rows: [row], limitTokensPerSecond: { h2c: 0 } })).toEqual([
      "h2c: no load that was tried kept its plan; the last was 259,000 tokens/s read (1,500,000 offered, server lateness p99 151.0 ms, mean gap off by 12.9%, server behind the plan).",
    ]);
  });

  test("calls what files of earlier runs hold by its name: it was offered", () => {
    const { offeredTokensPerSecond: _, serverLatenessP99Us: __, behind: ___, ...old } = { ...row, tokensPerSecond: 1_500_000, ok: true };
    const [line] = calibrationLines({ rows: [old], limitTokensPerSecond: { h2c: 1_500_000 } });
    expect(line).toContain("1,500,000 tokens/s offered");
  });

  test("refuses a load beyond it, and says which end was at its limit", () => {
    expect(beyondCalibration(100_000, calibration, "h2c")).toBeNull();
    expect(beyondCalibration(1_500_000, calibration, "h1")).toBeNull();
    const beyond = beyondCalibration(1_500_000, calibration, "h2c")!;
    expect(beyond).toBe(
      "server-limited: 1500000 tokens/s are offered, and calibration kept the plan up to 100000 (of 1500000 it carried 259000, with the mean gap off by 12.9%)",
    );
    expect(isLimit(beyond)).toBe(true);
    const both = { ...row, behind: [...row.behind!, { who: "generator" as const, reason: "used 99% of a core" }] };
    expect(beyondCalibration(1_500_000, { ...calibration, rows: [both, small] }, "h2c")).toMatch(/^client-limited: /);
  });
});

describe("a result with a server that fell behind", () => {
  const sample = sampleResult();
  const pace: Pace = {
    plannedTokensPerSecond: 1_071_000,
    reachedTokensPerSecond: 259_000,
    behind: [{ who: "server", reason: "its tokens left 19 ms (p50) and 151 ms (p99) after they were due (bounds 5.0 and 20 ms)" }],
  };
  const result: BenchResult = {
    ...sample,
    scenarios: sample.scenarios.map((scenario) => ({
      ...scenario,
      arms: scenario.arms.map((arm) =>
        scenario.id === "stream" && arm.id === "h2c"
          ? { ...arm, rounds: arm.rounds.map((round, i) => (i < 2 ? { ...round, pace } : round)) }
          : arm,
      ),
    })),
  };
  const line =
    "h2c: server behind the plan in 2 of 5 rounds: its tokens left 19 ms (p50) and 151 ms (p99) after they were due (bounds 5.0 and 20 ms); 259,000 tokens/s reached of 1,071,000 planned";

  test("says so in the table, in the page, in each verdict and in the file", () => {
    const stream = result.scenarios.find(({ id }) => id === "stream")!;
    expect(stream.arms.flatMap(behindLines)).toEqual([line]);
    expect(conditionsOf(stream, { baseline: "h1", candidate: "h2c" })).toContain("h2c: server behind the plan");
    const table = renderTable(result, { color: false, width: 400 });
    expect(table).toContain(line);
    expect(table).toMatch(/stream: h2c against h1, TTFT p50 .*h2c: server behind the plan/);
    expect(renderHtml(result)).toContain("259,000 tokens/s reached of 1,071,000 planned");
    expect(
      checkResult(JSON.parse(JSON.stringify(result)), "it").scenarios.find(({ id }) => id === "stream")!.arms[1]!.rounds[0]!.pace,
    ).toEqual(pace);
  });

  test("names no unknown where another round shows who it was", () => {
    const stream = result.scenarios.find(({ id }) => id === "stream")!;
    const unknown: Pace = { ...pace, behind: [{ who: "unknown", reason: "answers took 9% longer than planned" }] };
    const arms = stream.arms.map((arm) =>
      arm.id === "h2c" ? { ...arm, rounds: [...arm.rounds, { ...arm.rounds[0]!, pace: unknown }] } : arm,
    );
    expect(conditionsOf({ ...stream, arms }, { baseline: "h1", candidate: "h2c" }).at(-1)).toBe("h2c: server behind the plan");
  });

  test("and nothing of it where the plan was kept", () => {
    expect(renderTable(sample, { color: false, width: 400 })).not.toContain("behind the plan");
  });
});
