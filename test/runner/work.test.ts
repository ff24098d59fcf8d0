/** Arms that did unequal work are not compared: odd servers, and what the bench says of each. */
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { ArmResult, BenchResult, ScenarioResult } from "../../src/results/types.ts";
import { type OddAnswer, type OddAsk, oddServer } from "../support/odd-servers.ts";
import { type Ended, runCli } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-work-"));
let runs = 0;
const load = ["--streams", "2", "--requests", "6", "--warmup", "2", "--rounds", "2", "--output-tokens", "20", "--timeout", "3"];

interface Benched extends Ended {
  readonly result: BenchResult;
  readonly asked: readonly OddAsk[];
  readonly arm: (id: string) => ArmResult;
}

async function against(answerOf: (ask: OddAsk) => OddAnswer, args: readonly string[] = []): Promise<Benched> {
  const server = await oddServer(answerOf);
  const directory = join(folder, String(runs++));
  try {
    const ended = await runCli(["bench", "--url", server.url, "--scenario", "stream", "--out", directory, ...load, ...args]).ended;
    const result = JSON.parse(readFileSync(join(directory, "result.json"), "utf8")) as BenchResult;
    return { ...ended, result, asked: server.asked, arm: (id) => result.scenarios[0]!.arms.find((arm) => arm.id === id)! };
  } finally {
    server.stop();
  }
}

const onH2 =
  (other: OddAnswer, all: OddAnswer) =>
  (ask: OddAsk): OddAnswer =>
    ask.protocol === "h2c" ? other : all;
const verdictsOf = ({ comparisons }: ScenarioResult): string[] => comparisons.map(({ verdict }) => verdict);

describe.concurrent("the arms did unequal work: exit 3, no verdict, and the figures", () => {
  test.each<[name: string, h1: OddAnswer, h2c: OddAnswer, reason: RegExp]>([
    ["half the tokens", { events: 20 }, { events: 10 }, /events an answer 20 and 10 \(-50\.0%\); bytes of content an answer 80 and 40/],
    ["another finish reason", { events: 20 }, { events: 20, finishReason: "stop" }, /answers that end with "length" 100% and 0%/],
    ["a cache that answers in one piece", { events: 20 }, { events: 20, whole: true }, /answers that came in one read 0% and 100%/],
    ["more tokens in an event", { events: 20 }, { events: 5, tokensPerEvent: 4 }, /events an answer 20 and 5 \(-75\.0%\)/],
  ])("%s", async (_, h1, h2c, reason) => {
    const { code, stderr, stdout, result } = await against(onH2(h2c, h1));
    expect(stderr).toMatch(new RegExp(`invalid: stream, h2c against h1: unequal work: .*${reason.source}`));
    expect(stdout.replaceAll(/\s+/g, " ")).toMatch(reason);
    expect(code).toBe(3);
    expect(new Set(verdictsOf(result.scenarios[0]!))).toEqual(new Set(["not compared"]));
    expect(result.scenarios[0]!.comparisons.every(({ unequalWork }) => unequalWork)).toBe(true);
  });

  test("every fourth answer of one protocol is cut and ends without a finish reason", async () => {
    const { code, stderr, stdout } = await against((ask) =>
      ask.protocol === "h2c" && ask.number % 4 === 0 ? { events: 10, finishReason: null } : { events: 20 },
    );
    expect(stderr).toMatch(/h2c against h1: unequal work: .*answers that end with "none" 0% and [\d.]+%/);
    expect(stdout).toMatch(/h2c: [2-4] of 12 answers ended without a finish reason/);
    expect(code).toBe(3);
  });
});

test("a cached body in one read has no TTFT and no ITL, and says so", async () => {
  const { arm, stdout } = await against(() => ({ events: 20, whole: true }));
  const { metrics, work } = arm("h1");
  expect([metrics.ttft ?? null, metrics.itl ?? null, metrics.ttfe ?? null]).toEqual([null, null, null]);
  expect(metrics.e2el!.count).toBe(12);
  expect(work).toMatchObject({ answers: 12, inOneRead: 12 });
  expect(stdout).toMatch(/h1: 12 of 12 answers came in one read/);
});

test("[DONE] alone is a failure, and so is an answer that is no stream", async () => {
  const empty = await against(() => ({ events: 0, finishReason: null }));
  expect(empty.stderr).toMatch(/requests failed: empty answer \(\d+\)/);
  const unstreamed = await against(() => ({ events: 20, whole: "json" }));
  expect(unstreamed.stderr).toMatch(/requests failed: not a stream \(\d+\)/);
  expect([empty.code, unstreamed.code]).toEqual([3, 3]);
});

test("answers that are all finished and hold no token: invalid", async () => {
  const { code, stderr } = await against(() => ({ events: 0, finishReason: "stop" }));
  expect(stderr).toMatch(/no answer held a token/);
  expect(code).toBe(3);
});

test("equal work on both protocols, shorter than asked for: compared, counted, shown", async () => {
  const { code, stdout, result, arm } = await against(() => ({ events: 15, finishReason: "stop" }));
  expect(code).toBe(0);
  expect(result.scenarios[0]!.comparisons.find(({ metric }) => metric === "ttft")!.verdict).not.toBe("not compared");
  expect(arm("h2c").work).toMatchObject({ answers: 12, short: 12, finishReasons: { stop: 12 }, events: 180, contentBytes: 720 });
  expect(stdout).toMatch(/h2c: 12 of 12 answers held fewer tokens than were asked for/);
});

test("behind a gateway unequal work is the finding: exit 0", async () => {
  const [server, gateway] = await Promise.all([oddServer(() => ({ events: 30 })), oddServer(() => ({ events: 15 }))]);
  const directory = join(folder, String(runs++));
  try {
    const flags = ["--protocol", "h1", "--streams", "2", "--requests", "6", "--warmup", "2", "--rounds", "2", "--out", directory];
    const { code, stdout } = await runCli(["bench", "--url", server.url, "--via", gateway.url, ...flags]).ended;
    const { scenarios } = JSON.parse(readFileSync(join(directory, "result.json"), "utf8")) as BenchResult;
    expect(scenarios[0]!.findings).toEqual([
      expect.stringMatching(/^via-h1 against direct-h1: unequal work: .*events an answer 30 and 15/),
    ]);
    expect(stdout).toMatch(/Findings[^]*unequal work/);
    expect(code).toBe(0);
  } finally {
    server.stop();
    gateway.stop();
  }
});
