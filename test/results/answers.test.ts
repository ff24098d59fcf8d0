/** One answer for each question of a result. */
import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Answer, type Answers, answersOf, countVerdicts } from "../../src/results/answers.ts";
import type { BenchResult, Comparison, ScenarioResult, Verdict } from "../../src/results/types.ts";
import { root } from "../support/process.ts";
import { sampleResult, scenarioNamed } from "../support/sample-result.ts";

const folder = `${root}results/experiments/`;
const published = readdirSync(folder).filter((name) => name.endsWith(".json"));

function read(name: string): BenchResult {
  return JSON.parse(readFileSync(folder + name, "utf8")) as BenchResult;
}

function all({ contests }: Answers): Answer[] {
  return contests.flatMap(({ answers }) => answers);
}

const sample = sampleResult();

/** The sample with one scenario alone, changed. */
function only(id: string, change: (scenario: ScenarioResult) => Partial<ScenarioResult> = () => ({})): BenchResult {
  const scenario = scenarioNamed(sample, id);
  return { ...sample, scenarios: [{ ...scenario, ...change(scenario) }] };
}

/** The two comparisons of unary's protocols, requests/s and server CPU in this order, with these verdicts. */
function withVerdicts(verdicts: readonly Verdict[], decides?: string): Answer {
  const result = only("unary", ({ comparisons }) => ({
    comparisons: verdicts.map((verdict, index): Comparison => ({ ...comparisons[index]!, verdict, reason: `reason ${index}` })),
    ...(decides === undefined ? {} : { decides }),
  }));
  return all(answersOf(result))[0]!;
}

describe("the verdict of a question with two metrics", () => {
  const rows: readonly (readonly [readonly Verdict[], Answer["verdict"], decidedBy: number, why: string | null])[] = [
    [["faster", "faster"], "helps", 0, null],
    [["equivalent", "faster"], "helps", 1, null],
    [["inconclusive", "faster"], "helps", 1, null],
    [["slower", "equivalent"], "hurts", 0, null],
    [["inconclusive", "slower"], "hurts", 1, null],
    [["faster", "slower"], "mixed", 0, null],
    [["slower", "faster"], "mixed", 0, null],
    [["equivalent", "equivalent"], "no change", 0, null],
    [["equivalent", "inconclusive"], "undecided", 1, "reason 1"],
    [["inconclusive", "inconclusive"], "undecided", 0, "reason 0"],
    [["not compared", "equivalent"], "undecided", 0, "reason 0"],
  ];
  test.each(rows)("%j: %s", (verdicts, verdict, decidedBy, why) => {
    const answer = withVerdicts(verdicts);
    const metric = ["requestsPerSecond", "serverCpuUsPerRequest"][decidedBy];
    expect([answer.verdict, answer.reading?.comparison.metric, answer.why]).toEqual([verdict, metric, why]);
  });

  test("is that of the metric that the scenario names, and what others found stands beside it", () => {
    const answer = withVerdicts(["faster", "equivalent"], "serverCpuUsPerRequest.mean");
    expect(answer.verdict).toBe("no change");
    expect(answer.reading?.comparison.metric).toBe("serverCpuUsPerRequest");
    expect(answer.besides.map(({ comparison }) => comparison.metric)).toEqual(["requestsPerSecond"]);
  });

  test("is that of all where the named metric was not compared", () => {
    expect(withVerdicts(["faster", "equivalent"], "itl.p99").verdict).toBe("helps");
  });
});

test("one question is one answer, and described metrics are none", () => {
  const pairs = sample.scenarios.flatMap(({ id, variant, comparisons }) =>
    comparisons.filter(({ described }) => !described).map(({ baseline, candidate }) => [id, variant, baseline, candidate].join()),
  );
  expect(all(answersOf(sample))).toHaveLength(new Set(pairs).size);
});

test.each([null, ...published])("values of both arms are one by the other the ratio: %s", (name) => {
  const answers = all(answersOf(name === null ? sample : read(name)));
  const readings = answers.flatMap(({ reading }) => (reading === null ? [] : [reading]));
  expect(readings.length).toBeGreaterThan(0);
  for (const { baseline, candidate, comparison } of readings) {
    if (comparison.ratio === null) continue;
    expect(candidate! / baseline! / comparison.ratio.estimate).toBeCloseTo(1, 5);
  }
});

test.each(published)("the answers of a published result tell each other apart: %s", (name) => {
  const { contests } = answersOf(read(name));
  for (const { answers } of contests) {
    const labels = answers.map(({ question, detail }) => `${question}, ${detail}`);
    expect([...new Set(labels)]).toEqual(labels);
  }
});

test("says what is compared with what", () => {
  const names = (result: BenchResult): string[] =>
    answersOf(result).contests.map(({ candidate, baseline }) => `${candidate} / ${baseline}`);
  expect(names(sample)).toEqual(["HTTP/2 / HTTP/1.1", "uWebSockets.js / Node's own HTTP"]);
  expect(names(read("nginx.json"))).toEqual(["nginx / native", "nginx-buffered / nginx", "nginx-default / nginx"]);
  const through = only("stream", ({ arms, comparisons }) => ({
    arms: arms.map((arm) =>
      arm.id === "h1" ? { ...arm, id: "direct-h1" } : arm.id === "h2c" ? { ...arm, id: "via-h1", protocol: "h1" } : arm,
    ),
    comparisons: [{ ...comparisons[0]!, baseline: "direct-h1", candidate: "via-h1" }],
  }));
  expect(names(through)).toEqual(["via / direct"]);
});

test("an arm that may not be used decides nothing", () => {
  const trace = all(answersOf(sample)).find(({ scenario }) => scenario === "trace");
  expect(trace).toMatchObject({ verdict: "undecided", why: "not valid: 12 of 100 requests failed: status 503 (9), timeout (3)" });
  // Some rounds failed: there is a verdict in the file, and the run is not valid.
  const result = { ...only("connection-overhead"), invalid: ["connection-overhead, h2, 2 rounds: 5 of 100 requests failed"] };
  expect(all(answersOf(result))).toMatchObject([{ verdict: "undecided", why: "not valid: 5 of 100 requests failed" }]);
  expect(all(answersOf({ ...result, invalid: ["connection-overhead, h2-other: failed"] }))).toMatchObject([{ verdict: "helps" }]);
});

test("nothing compared is measured, and never a verdict", () => {
  const alone = only("stream", ({ arms }) => ({ arms: arms.slice(0, 1), comparisons: [] }));
  const { contests } = answersOf(alone);
  expect(contests).toMatchObject([{ candidate: "HTTP/1.1", baseline: null, answers: [{ verdict: "measured", reading: null }] }]);
  const { values } = contests[0]!.answers[0]!;
  const { metrics } = alone.scenarios[0]!.arms[0]!;
  expect(values[0]).toEqual({ metric: "ttft", statistic: "p50", value: metrics.ttft!.p50 });
  const silent = only("stream", ({ arms }) => ({ arms: [{ ...arms[0]!, metrics: {} }], comparisons: [] }));
  expect(all(answersOf(silent))).toMatchObject([{ verdict: "undecided", why: "nothing was measured" }]);
});

test("what was left out has its reason, and counts nowhere", () => {
  const answers = answersOf(sample);
  expect(answers.notRun).toEqual([{ question: "One page, 20 calls", reason: "left out to fit two minutes" }]);
  const counts = countVerdicts(all(answers));
  expect(Object.values(counts).reduce((sum, count) => sum + count, 0)).toBe(all(answers).length);
});

describe("whether it can be believed", () => {
  const machine = {
    watchedUs: 1000,
    othersCpuShare: 0,
    stealShare: 0,
    serverWaitShare: 0,
    loadWaitShare: 0,
    serverPauseUs: 0,
    serverPausedShare: 0,
    loadPauseUs: 0,
    loadPausedShare: 0,
    disturbed: [] as string[],
    leftOut: false,
  };
  test("a machine that was not watched is not quiet", () => {
    expect(answersOf(only("stream")).belief).toMatchObject({ isWatched: false, disturbed: 0, rounds: { least: 5, most: 5 } });
  });

  test("counts what was disturbed and what is left out", () => {
    const watched = only("stream", ({ arms }) => ({
      arms: arms.map((arm, index) => ({
        ...arm,
        rounds: arm.rounds.map((round, number) => ({
          ...round,
          invalid: index === 0 && number === 0 ? ["the machine was disturbed: others"] : [],
          machine: index === 0 && number < 2 ? { ...machine, disturbed: ["others"], leftOut: number === 0 } : machine,
        })),
      })),
    }));
    expect(answersOf(watched).belief).toMatchObject({
      isWatched: true,
      allRounds: 25,
      disturbed: 2,
      leftOut: 1,
      rounds: { least: 4, most: 5 },
    });
  });

  test("the generator's share is that of its busiest round, where the client's work is not what is asked about", () => {
    const result = only("stream");
    const { arms } = result.scenarios[0]!;
    const shares = arms.flatMap(({ rounds }) =>
      rounds.map(({ metrics }) => (metrics.clientCpuUsPerRequest!.mean * metrics.requestsPerSecond!.mean) / 1e6),
    );
    expect(answersOf(result).belief.generator?.share).toBe(Math.max(...shares));
    const own = only("stream", ({ workload }) => ({ workload: { ...workload, clientWork: true } }));
    expect(answersOf(own).belief.generator).toBeNull();
  });
});
