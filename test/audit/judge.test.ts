/** Verdicts on recorded runs: what a tool has wrong is found and named, and one that has nothing wrong is cleared. */
import { gunzipSync } from "node:zlib";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { judgeRung, judgeRungs, limitOf, type PlayedRung, standingOf, summarize } from "../../src/audit/judge.ts";
import { exitCodeOf, lineOf } from "../../src/audit/line.ts";
import type { ReceivedRecord } from "../../src/base/parent-channel.ts";
import type { FigureResult, RungResult } from "../../src/audit/types.ts";
import { root } from "../support/process.ts";

/** Runs of test/audit/clients/client.mjs, as `--details` kept them. The machine was busy: here the server was due when it sent. */
const recorded = JSON.parse(gunzipSync(readFileSync(`${root}test/audit/fixtures/clients.json.gz`)).toString(), (key, value: unknown) =>
  key === "stream" && value !== null ? { ...value, dueUs: (value as { readonly sentUs: unknown }).sentUs } : value,
) as Record<string, PlayedRung[]>;
const judged = (mode: string): RungResult[] => recorded[mode]!.map((rung) => judgeRung(rung));
const figureOf = (rung: RungResult, quantity: string, statistic: string): FigureResult =>
  rung.figures.find((figure) => figure.quantity === quantity && figure.statistic === statistic)!;
const causesOf = (figure: FigureResult): string[] => figure.causes.map(({ name }) => name);

test("an honest client is cleared", () => {
  const rungs = judged("honest");
  const figures = summarize(rungs);
  expect(figures.filter(({ verdict }) => verdict === "biased")).toEqual([]);
  expect(figureOf(rungs[0]!, "itl", "mean").verdict).toBe("right");
  expect(figureOf(rungs[0]!, "outputTokens", "total").verdict).toBe("right");
  expect(exitCodeOf({ figures })).toBe(0);
  // Its warm-up, a request of each worker, is in no figure.
  expect(rungs[0]!.repeats.map(({ traffic }) => [traffic.warmUp, traffic.requests, traffic.prompts])).toEqual([
    [5, 20, 20],
    [5, 20, 20],
    [5, 20, 20],
  ]);
});

test("an ITL that is 3% low is caught, and how much is said", () => {
  const rungs = judged("low-itl");
  const figures = summarize(rungs);
  const { verdict, bias } = figureOf(rungs[0]!, "itl", "mean");
  expect(verdict).toBe("biased");
  expect(bias!.ratio).toBeGreaterThan(-0.04);
  expect(bias!.ratio).toBeLessThan(-0.02);
  expect(figureOf(rungs[0]!, "tpot", "mean").verdict).toBe("right");
  expect(exitCodeOf({ figures })).toBe(1);
  expect(lineOf({ tool: "t", toolVersion: "1", rungs, figures, limit: limitOf(rungs, new Set()) })).toMatch(
    /^t 1, audited by fakeai on 1 plans: .*off: .*ITL mean −[23]/,
  );
});

describe("what is wrong is named", () => {
  test("a client that holds a chunk until its end", () => {
    const [rung] = judged("holds-chunks") as [RungResult];
    expect(causesOf(figureOf(rung, "ttft", "p50"))).toEqual(["holds-chunks"]);
    expect(causesOf(figureOf(rung, "itl", "mean"))).toEqual(["holds-chunks"]);
  });

  test("a tool that counts role and finish chunks as tokens", () => {
    const [rung] = judged("counts-events") as [RungResult];
    for (const [quantity, statistic] of [
      ["itl", "mean"],
      ["tpot", "mean"],
      ["outputTokens", "total"],
    ] as const) {
      const figure = figureOf(rung, quantity, statistic);
      expect(figure.verdict).toBe("biased");
      expect(figure.causes.map(({ text }) => text)).toEqual(["counts the chunks of role and finish as tokens"]);
    }
  });

  test("a tool that averages percentiles", () => {
    const [rung] = judged("averages") as [RungResult];
    const figure = figureOf(rung, "ttft", "p99");
    expect(figure.verdict).toBe("biased");
    expect(causesOf(figure)).toEqual(["averages-percentiles"]);
    expect(figureOf(rung, "itl", "mean").verdict).toBe("right");
  });

  test("a generator that falls behind", () => {
    const [rung] = judged("falls-behind") as [RungResult];
    expect(causesOf(figureOf(rung, "askedRate", "mean"))).toEqual(["falls-behind"]);
    expect(causesOf(figureOf(rung, "requestRate", "mean"))).toEqual(["falls-behind"]);
    expect(rung.notes.join()).toMatch(/fell behind: 20 requests\/s were asked for, 4\.\d+ came/);
  });
});

/** The recorded rung with other machines below its runs. */
function onMachine(rung: PlayedRung, waiting: number): PlayedRung {
  const machine = { cores: 0.5, waiting, waitMs: 1 };
  return { ...rung, observations: rung.observations.map((observation) => ({ ...observation, machine })) };
}

/** The same with another figure in each report. */
function reporting(rung: PlayedRung, quantity: string, statistic: string, change: (value: number) => number): PlayedRung {
  return {
    ...rung,
    observations: rung.observations.map((observation) => ({
      ...observation,
      report: {
        ...observation.report!,
        figures: observation.report!.figures.map((figure) =>
          figure.quantity === quantity && figure.statistic === statistic ? { ...figure, value: change(figure.value) } : figure,
        ),
      },
    })),
  };
}

test("on a busy machine lateness is no tool's fault, and a figure that is too early is", () => {
  const [rung] = recorded["honest"]!;
  const late = reporting(rung!, "e2e", "mean", (value) => value + 60);
  const early = reporting(rung!, "e2e", "mean", (value) => value - 60);
  expect(figureOf(judgeRung(onMachine(late, 0.9)), "e2e", "mean").verdict).toBe("undecided");
  expect(figureOf(judgeRung(onMachine(late, 0)), "e2e", "mean").verdict).toBe("biased");
  expect(figureOf(judgeRung(onMachine(early, 0.9)), "e2e", "mean").verdict).toBe("biased");
});

test("on a busy machine too a time that is too early has its cause", () => {
  const [rung] = recorded["honest"]!;
  const withResets = rung!.observations.map((observation) => ({
    ...observation,
    records: observation.records.map((record, index) =>
      index % 5 === 4 ? { ...record, ended: "cut" as const, tokensSent: 5, endedUs: 180_000 } : record,
    ),
  }));
  const mean = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0) / values.length;
  const observations = withResets.map((observation) => {
    const value = mean(observation.records.slice(5).map(({ endedUs }) => endedUs! / 1000)) + 2;
    const figure = { quantity: "e2eAnswered", statistic: "mean", value, name: "Average" } as const;
    return { ...observation, report: { ...observation.report!, figures: [figure] } };
  });
  const figure = figureOf(judgeRung(onMachine({ ...rung!, observations }, 0.9)), "e2eAnswered", "mean");
  expect(figure).toMatchObject({ verdict: "biased", causes: [{ text: "counts answers that were cut by a reset too" }] });
});

test("times that are kept with two digits", () => {
  const [rung] = recorded["honest"]!;
  const rounded = (["p50", "p90", "p99"] as const).reduce(
    (all, statistic) => {
      const twoDigits = (value: number): number => Number((value * 0.955).toPrecision(2));
      return reporting(all, "e2e", statistic, twoDigits);
    },
    onMachine(rung!, 0),
  );
  expect(causesOf(figureOf(judgeRung(rounded), "e2e", "p50"))).toEqual(["two-digits"]);
});

test("one run decides nothing, and a figure without a truth is compared with none", () => {
  const [rung] = recorded["honest"]!;
  const once = judgeRung({ ...rung!, observations: rung!.observations.slice(0, 1) });
  expect(once.figures.map(({ verdict }) => verdict).filter((verdict) => verdict !== "undecided")).toEqual([]);
  const silent = judgeRung({
    ...rung!,
    observations: rung!.observations.map((one) => ({ ...one, records: one.records.map((record) => ({ ...record, stream: null })) })),
  });
  expect(figureOf(silent, "ttft", "mean")).toMatchObject({ verdict: "not-comparable", bias: null, truth: [] });
});

test("every verdict of a summary: not reported, right on one rung, biased on another", () => {
  const [rung] = recorded["honest"]!;
  const off = { ...reporting(rung!, "outputTokens", "total", (value) => value + 1), name: "role" };
  const figures = summarize([judgeRung(rung!), judgeRung(off)]);
  const tokens = figures.find(({ quantity }) => quantity === "outputTokens")!;
  expect(tokens).toMatchObject({ verdict: "biased", right: ["constant"], biased: ["role"] });
  expect(figures.find(({ quantity }) => quantity === "inputTokens")).toMatchObject({ verdict: "not-reported", name: null });
});

describe("a cause that fits by accident is none", () => {
  const [honest] = recorded["honest"]!;
  const textsOf = (rungs: readonly RungResult[], name: string, quantity: string, statistic: string): string[] =>
    figureOf(
      rungs.find((rung) => rung.name === name)!,
      quantity,
      statistic,
    ).causes.map(({ text }) => text);

  test("a definition by which the figure were wrong on another rung", () => {
    const [counting] = recorded["counts-events"]!;
    const off = { ...counting!, name: "role" };
    expect(textsOf(judgeRungs([off]), "role", "outputTokens", "total")).toEqual(["counts the chunks of role and finish as tokens"]);
    expect(textsOf(judgeRungs([honest!, off]), "role", "outputTokens", "total")).toEqual([]);
  });

  test("a factor, where a figure of the quantity is right", () => {
    const slower = (name: string): PlayedRung => ({ ...reporting(honest!, "e2e", "mean", (value) => value * 1.06), name });
    const times = ["role", "chunks"].map(slower);
    const causes = (rungs: readonly PlayedRung[]): string[] =>
      summarize(judgeRungs(rungs.map((rung) => onMachine(rung, 0))))
        .find(({ quantity, statistic }) => quantity === "e2e" && statistic === "mean")!
        .causes.map(({ name }) => name);
    expect(causes(times.map((rung) => ({ ...rung, observations: rung.observations.map(onlyMeans) })))).toEqual(["constant-factor"]);
    expect(causes([honest!, ...times])).toEqual([]);
  });

  test("a factor, where all values lie on one rung and are alike", () => {
    const later = ["mean", "p50", "p99"].reduce((rung, statistic) => reporting(rung, "e2e", statistic, (value) => value * 1.06), honest!);
    const figures = summarize([judgeRung(onMachine(later, 0))]);
    const summary = figures.find(({ quantity, statistic }) => quantity === "e2e" && statistic === "mean");
    expect(summary).toMatchObject({ verdict: "biased", causes: [] });
  });
});

/** The recorded rung with answers that ended in order after five tokens: so many in each run, of which `counted` says what was reported. */
function withCuts(rung: PlayedRung, name: string, cuts: readonly number[], counted: (whole: number, cut: number) => number): PlayedRung {
  const observations = rung.observations.map((observation, run) => {
    const from = observation.records.length - cuts[run]!;
    const records = observation.records.map((record, index) => (index < from ? record : { ...record, tokensSent: 5 }));
    return { ...observation, records };
  });
  const played = { ...rung, name, observations };
  let run = 0;
  return reporting(played, "completed", "total", (all) => counted(all - cuts[run]!, cuts[run++]!));
}

describe("a figure that is biased for its cause alone", () => {
  const [honest] = recorded["honest"]!;
  const spread = withCuts(honest!, "cuts", [1, 8, 1], (whole, cut) => whole + cut);
  const verdictsOf = (rungs: readonly RungResult[]) => rungs.map((rung) => figureOf(rung, "completed", "total").verdict);

  test("is so where its interval does not decide, and its cause fits every run", () => {
    const figure = figureOf(judgeRung(spread), "completed", "total");
    expect(figure).toMatchObject({ verdict: "biased", causes: [{ name: "counts-cut" }] });
    expect(figure.bias!.low).toBeLessThan(0);
  });

  test("is not decided once another rung speaks against the cause", () => {
    const reading = withCuts(honest!, "role", [3, 3, 3], (whole) => whole);
    const rungs = judgeRungs([spread, reading]);
    expect(verdictsOf(rungs)).toEqual(["undecided", "right"]);
    expect(figureOf(rungs[0]!, "completed", "total").causes).toEqual([]);
  });

  test("is not decided where most rungs on which it is biased have another cause", () => {
    const others = ["role", "chunks"].map((name) => ({ ...reporting(honest!, "completed", "total", (value) => value + 7), name }));
    const rungs = judgeRungs([spread, ...others]);
    expect(verdictsOf(rungs)).toEqual(["undecided", "biased", "biased"]);
    expect(summarize(rungs).find(({ quantity }) => quantity === "completed")).toMatchObject({ biased: ["role", "chunks"], causes: [] });
  });
});

/** A run that reports no other statistic of E2E than its mean. */
function onlyMeans(observation: PlayedRung["observations"][number]): PlayedRung["observations"][number] {
  const figures = observation.report!.figures.filter(({ quantity, statistic }) => quantity !== "e2e" || statistic === "mean");
  return { ...observation, report: { ...observation.report!, figures } };
}

test("the limit is the first rung of rising load that has a latency wrong, and none before", () => {
  const [rung] = recorded["honest"]!;
  const constant = judgeRung(onMachine(rung!, 0));
  const faster = judgeRung({
    ...onMachine(
      reporting(rung!, "itl", "mean", (value) => value * 1.3),
      0,
    ),
    name: "pace-5",
  });
  const events = constant.repeats[0]!.traffic.eventsPerSecond!;
  const higher = {
    ...faster,
    repeats: faster.repeats.map((one) => ({ ...one, traffic: { ...one.traffic, eventsPerSecond: events * 4 } })),
  };
  const limit = limitOf([constant, higher], new Set(["constant", "pace-5"]));
  expect(limit).toMatchObject({ rung: "pace-5", figure: "ITL mean" });
  expect(limit.rightUpToEventsPerSecond!).toBeLessThan(limit.eventsPerSecond!);
  expect(limitOf([constant], new Set(["constant"]))).toMatchObject({ rung: null, eventsPerSecond: null });
});

describe("what is late for a reason that is not the tool's", () => {
  const [honest] = recorded["honest"]!;
  const late = (milliseconds: number): PlayedRung => reporting(onMachine(honest!, 0), "e2e", "mean", (value) => value + milliseconds);
  const withRecords = (rung: PlayedRung, change: (record: ReceivedRecord, index: number) => ReceivedRecord): PlayedRung => ({
    ...rung,
    observations: rung.observations.map((observation) => ({ ...observation, records: observation.records.map(change) })),
  });
  /** The server `ms` late against its plan, with each token. */
  const serverLate = (rung: PlayedRung, ms: number): PlayedRung =>
    withRecords(rung, (record) => ({
      ...record,
      stream: record.stream === null ? null : { ...record.stream, dueUs: Int32Array.from(record.stream.sentUs, (us) => us - ms * 1000) },
    }));

  test("a server that is late itself blames no tool", () => {
    expect(figureOf(judgeRung(late(20)), "e2e", "mean").verdict).toBe("biased");
    // That far off no lateness of 8 ms brings it.
    expect(figureOf(judgeRung(serverLate(late(60), 8)), "e2e", "mean").verdict).toBe("biased");
    const rung = judgeRung(serverLate(late(20), 8));
    expect(figureOf(rung, "e2e", "mean").verdict).toBe("undecided");
    expect(rung.notes).toContain("the server itself was late in a run: what comes late there is not blamed on the tool");
  });

  test("requests that came at once may have lain unread: that wait counts for no one", () => {
    const together = withRecords(late(15), (record, index) => ({ ...record, receivedUs: 1_000_000 + index * 390 }));
    expect(figureOf(judgeRung(late(15)), "e2e", "mean").verdict).toBe("biased");
    expect(figureOf(judgeRung(together), "e2e", "mean").verdict).toBe("right");
  });

  test("where the server is late the limit is its own, and not the tool's", () => {
    const rungs = [judgeRung(onMachine(honest!, 0)), judgeRung({ ...serverLate(late(20), 8), name: "streams-80" })];
    const higher = rungs.map((rung, index) => ({
      ...rung,
      repeats: rung.repeats.map((one) => ({ ...one, traffic: { ...one.traffic, eventsPerSecond: 200 * 4 ** index } })),
    }));
    expect(standingOf(higher[1]!, higher[0]!)).toBe("server");
    expect(limitOf(higher, new Set(["constant", "streams-80"]))).toMatchObject({
      eventsPerSecond: null,
      rightUpToEventsPerSecond: 200,
      beforeIt: { end: "server", rung: "streams-80", eventsPerSecond: 800, serverLateP99Ms: 8 },
    });
  });

  test("where a tool is late by far more than the server the limit is the tool's", () => {
    const [rest, high] = [judgeRung(onMachine(honest!, 0)), judgeRung({ ...serverLate(late(60), 8), name: "streams-80" })];
    expect(standingOf(high, rest)).toBe("wrong");
  });
});
