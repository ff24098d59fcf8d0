/** What the machine did during a round: read from a /proc of the test's own, judged by the rule, and left out. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { PauseMeter } from "../../src/base/pauses.ts";
import { summarizeArm } from "../../src/results/arms.ts";
import type { ArmResult, BenchResult, MachineLoad, RoundResult } from "../../src/results/types.ts";
import { tooFewLeft } from "../../src/results/validity.ts";
import { worstOf } from "../../src/results/machine.ts";
import { disturbances, MachineWatch } from "../../src/runner/processes/disturbance.ts";
import { runCli } from "../support/process.ts";
import { sampleResult } from "../support/sample-result.ts";

const [bench, server, load, child, stranger] = [100, 101, 102, 103, 900];
const nothing = { server: null, load: null };

interface Looks {
  /** Ticks of 10 ms: user, nice, system, idle, iowait, irq, softirq, steal. */
  readonly cpu: readonly number[];
  /** Own and waited-for ticks, by process. */
  readonly ticks: Readonly<Record<number, readonly [own: number, ended: number]>>;
  /** Milliseconds in the run queue. */
  readonly waitMs: Readonly<Record<number, number>>;
}

const parents: Readonly<Record<number, number>> = { [bench]: 1, [server]: bench, [load]: bench, [child]: load, [stranger]: 1 };

/** Writes what a kernel with two cores would show. */
function show(proc: string, { cpu, ticks, waitMs }: Looks): void {
  mkdirSync(proc, { recursive: true });
  writeFileSync(join(proc, "stat"), `cpu  ${cpu.join(" ")} 0 0\ncpu0 1 0 0 0 0 0 0 0 0 0\ncpu1 1 0 0 0 0 0 0 0 0 0\nintr 5\n`);
  for (const [pid, [own, ended]] of Object.entries(ticks)) {
    mkdirSync(join(proc, pid), { recursive: true });
    const fields = ["S", parents[Number(pid)], 0, 0, 0, 0, 0, 0, 0, 0, 0, own, 0, ended, 0];
    writeFileSync(join(proc, pid, "stat"), `${pid} (a) b (c) ${fields.join(" ")}\n`);
    writeFileSync(join(proc, pid, "schedstat"), `1 ${(waitMs[Number(pid)] ?? 0) * 1e6} 7\n`);
  }
}

/** A second between two looks. */
function watched(from: Looks, to: Looks, more: { readonly othersKnown?: boolean; readonly paused?: number } = {}): MachineLoad {
  const proc = mkdtempSync(join(tmpdir(), "fakeai-proc-"));
  let nowUs = 5e6;
  const watch = new MachineWatch({ proc, root: bench, nowUs: () => nowUs, tickUs: 10_000 });
  show(proc, from);
  watch.begin({ server, load });
  nowUs += 1e6;
  show(proc, to);
  watch.end({ server, load });
  const pauses = more.paused === undefined ? null : { longestUs: more.paused, totalUs: more.paused };
  return watch.load({ server, load }, { server: pauses, load: null, durationUs: 1e6, othersKnown: more.othersKnown ?? true });
}

const start: Looks = {
  cpu: [1000, 10, 500, 9000, 0, 0, 50, 5],
  ticks: { [bench]: [10, 0], [server]: [100, 0], [load]: [90, 0], [stranger]: [700, 0] },
  waitMs: { [server]: 1000, [load]: 2000 },
};
/** 50 ticks of server and load, 2 of others. */
const quiet: Looks = {
  cpu: [1040, 10, 512, 9148, 0, 0, 52, 5],
  ticks: { [bench]: [11, 0], [server]: [130, 0], [load]: [109, 0], [stranger]: [702, 0] },
  waitMs: { [server]: 1004, [load]: 2012 },
};

describe("what /proc tells", () => {
  test("a quiet second: ours is taken off, and nothing is disturbed", () => {
    const figures = watched(start, quiet);
    expect(figures).toMatchObject({ watchedUs: 1e6, stealShare: 0, serverPauseUs: null, disturbed: [], leftOut: false });
    expect(figures.othersCpuShare).toBeCloseTo(0.01, 6);
    expect(figures.serverWaitShare).toBeCloseTo(0.004, 6);
    expect(figures.loadWaitShare).toBeCloseTo(0.012, 6);
  });

  test("loops of others on both cores, and a server that waits for one", () => {
    const busy: Looks = { ...quiet, cpu: [1188, 10, 512, 9000, 0, 0, 52, 5], waitMs: { [server]: 1240, [load]: 2100 } };
    const { disturbed, othersCpuShare } = watched(start, busy);
    expect(othersCpuShare).toBeCloseTo(0.75, 6);
    expect(disturbed).toEqual([
      "other processes took 75% of the CPU time, and the server waited 24% of the round for a core, the load generator waited 10% of the round for a core",
    ]);
  });

  test("a server and a load that wait for each other are no disturbance", () => {
    const own: Looks = {
      ...quiet,
      cpu: [1140, 10, 558, 9002, 0, 0, 52, 5],
      ticks: { ...quiet.ticks, [server]: [200, 0], [load]: [185, 0] },
      waitMs: { [server]: 1400, [load]: 2500 },
    };
    expect(watched(start, own).disturbed).toEqual([]);
  });

  test("a tool that began and ended between the looks is ours", () => {
    // 100 ticks of a child of the load, which has waited for it.
    const tool: Looks = { ...quiet, cpu: [1140, 10, 512, 9048, 0, 0, 52, 5], ticks: { ...quiet.ticks, [load]: [109, 100] } };
    expect(watched(start, tool).othersCpuShare).toBeCloseTo(0.01, 6);
    const alive: Looks = { ...quiet, cpu: tool.cpu, ticks: { ...quiet.ticks, [child]: [100, 0] } };
    expect(watched(start, alive).othersCpuShare).toBeCloseTo(0.01, 6);
  });

  test("time that the hypervisor took", () => {
    const stolen: Looks = { ...quiet, cpu: [1040, 10, 512, 9128, 0, 0, 52, 25] };
    expect(watched(start, stolen).disturbed).toEqual(["the hypervisor gave 10% of the CPU time to others"]);
  });

  test("a server of this machine at --url cannot be told from others: null, and no rule", () => {
    const busy: Looks = { ...quiet, cpu: [1188, 10, 512, 9000, 0, 0, 52, 5], waitMs: { [server]: 1240, [load]: 2100 } };
    expect(watched(start, busy, { othersKnown: false })).toMatchObject({ othersCpuShare: null, disturbed: [] });
  });

  test("a pause counts without any share", () => {
    expect(watched(start, quiet, { paused: 80_000 }).disturbed).toEqual([
      "the server stood still for 80 ms at once and 8% of the round in all",
    ]);
    expect(watched(start, quiet, { paused: 8_000 }).disturbed).toEqual([]);
  });

  test("without /proc every figure is null, and nothing is said to be disturbed", () => {
    const watch = new MachineWatch({ proc: "/nonexistent", root: bench, tickUs: 10_000 });
    watch.begin(nothing);
    watch.end(nothing);
    const figures = watch.load(nothing, { server: null, load: null, durationUs: 1e6, othersKnown: true });
    expect(figures).toEqual({
      watchedUs: null,
      othersCpuShare: null,
      stealShare: null,
      serverWaitShare: null,
      loadWaitShare: null,
      serverPauseUs: null,
      serverPausedShare: null,
      loadPauseUs: null,
      loadPausedShare: null,
      disturbed: [],
      leftOut: false,
    });
  });

  test("of several runs in one round the worst counts", () => {
    const calm = watched(start, quiet);
    const paused = watched(start, quiet, { paused: 80_000 });
    expect(worstOf([calm, paused])).toMatchObject({ serverPauseUs: 80_000, disturbed: paused.disturbed });
  });
});

describe("the rule on recorded rounds", () => {
  const recorded = JSON.parse(readFileSync(new URL("../fixtures/machine.json", import.meta.url), "utf8")) as Readonly<
    // Of a bench of 20 streams on two cores. Busy: beside builds and tests; ahead: the same, with `chrt -r 10`.
    Record<"busy" | "ahead", readonly Omit<MachineLoad, "disturbed" | "leftOut">[]>
  >;

  test("rounds beside builds and tests of others are named, every one", () => {
    expect(recorded.busy.length).toBeGreaterThanOrEqual(30);
    expect(recorded.busy.filter((figures) => disturbances(figures).length === 0)).toEqual([]);
  });

  test("of rounds ahead of the same builds and tests, by a real-time priority, the two that still waited and stood still are", () => {
    expect(recorded.ahead).toHaveLength(15);
    expect(recorded.ahead.filter((figures) => disturbances(figures).length > 0)).toHaveLength(2);
  });

  test("on a machine whose other processes take 5%, no wait for a core is a disturbance", () => {
    const alone = [...recorded.busy, ...recorded.ahead].map((figures) =>
      disturbances({ ...figures, othersCpuShare: 0.05, stealShare: 0, serverPauseUs: null, loadPauseUs: null }),
    );
    expect(alone.flat()).toEqual([]);
  });
});

describe("pauses", () => {
  test("standing still is one, computing is none, and the timer's grain is none", () => {
    let [nowUs, usedUs] = [1e6, 0];
    const meter = new PauseMeter(
      () => nowUs,
      () => usedUs,
    );
    const after = (wallMs: number, cpuMs: number): object => {
      nowUs += wallMs * 1000;
      usedUs += cpuMs * 1000;
      return meter.read();
    };
    meter.read();
    expect(after(80, 70)).toEqual({ longestUs: 0, totalUs: 0 });
    expect(after(12, 0)).toEqual({ longestUs: 0, totalUs: 0 });
    expect(after(80, 20)).toEqual({ longestUs: 50_000, totalUs: 50_000 });
    expect(after(10, 1)).toEqual({ longestUs: 0, totalUs: 0 });
    meter.stop();
  });

  test("a process that was stopped notices", async () => {
    const meter = new PauseMeter();
    meter.read();
    // Without the event loop, and without CPU time.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 120);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(meter.read().longestUs).toBeGreaterThan(80_000);
    meter.stop();
  });
});

describe("what becomes of a run", () => {
  const [scenario] = sampleResult().scenarios;
  const [arm] = scenario!.arms;
  const calm: MachineLoad = { ...watched(start, quiet) };
  const roundOf = (round: number, leftOut: boolean): RoundResult => ({
    ...arm!.rounds[0]!,
    round,
    invalid: leftOut ? ["disturbed: other processes took 75% of the CPU time"] : [],
    machine: { ...calm, disturbed: leftOut ? ["other processes took 75% of the CPU time"] : [], leftOut },
  });
  const armOf = (id: string, ...disturbed: readonly boolean[]): ArmResult =>
    summarizeArm(
      { ...arm!, id },
      disturbed.map((one, round) => roundOf(round, one)),
      { negotiated: null, cipher: null, rttMs: 0 },
    );
  const faults = (...arms: readonly ArmResult[]): string[] =>
    tooFewLeft({
      id: "stream",
      variant: "",
      arms,
      comparisons: arms.length < 2 ? [] : [{ ...scenario!.comparisons[0]!, baseline: arms[0]!.id, candidate: arms[1]!.id }],
    });

  test("two rounds left are enough, one is not", () => {
    expect(faults(armOf("h1", true, false, false))).toEqual([]);
    expect(faults(armOf("h1", true, true, false))).toEqual([
      "stream, h1: 2 of 3 rounds were disturbed, 1 left of the two that are needed: run it again on a quiet machine, or with --keep-disturbed",
    ]);
    expect(faults(armOf("h1", false))).toEqual([]);
  });

  test("a pair needs two undisturbed rounds in common", () => {
    expect(faults(armOf("h1", true, false, false, false), armOf("h2c", false, false, false, true))).toEqual([]);
    expect(faults(armOf("h1", true, true, false, false), armOf("h2c", false, false, true, false))).toEqual([
      "stream: h1 and h2c have 1 undisturbed rounds in common, two are needed: run it again on a quiet machine, or with --keep-disturbed",
    ]);
  });

  test("six busy loops beside a run are named, and their rounds are left out", { timeout: 60_000 }, async () => {
    const out = mkdtempSync(join(tmpdir(), "fakeai-loops-"));
    const loops = Array.from({ length: 6 }, () => spawn(process.execPath, ["-e", "while (true);"], { stdio: "ignore" }));
    try {
      const scenarioArgs = ["--scenario", "stream", "--protocol", "h1", "--streams", "10", "--requests", "20", "--rounds", "3"];
      const ended = await runCli(["bench", ...scenarioArgs, "--ttft", "50", "--itl", "10", "--output-tokens", "10", "--out", out]).ended;
      expect(ended.stderr).toMatch(/h1, round 1 was disturbed and is left out: other processes took \d+% of the CPU time/);
      expect(ended.code).toBe(3);
      expect(ended.stderr).toMatch(/invalid: stream, h1: \d of 3 rounds were disturbed/);
      const result = JSON.parse(readFileSync(join(out, "result.json"), "utf8")) as BenchResult;
      const { machine, invalid } = result.scenarios[0]!.arms[0]!.rounds[0]!;
      expect([machine!.leftOut, invalid.length]).toEqual([true, 1]);
      expect(machine!.othersCpuShare).toBeGreaterThan(0.3);
    } finally {
      for (const loop of loops) loop.kill("SIGKILL");
    }
  });
});
