/** The court's claims and page, from results that are made up: what each verdict needs. */
import { expect, test } from "vitest";
import { type CourtClaim, courtClaims, courtParts, type PacketCount, published } from "../../bench/pages/court.ts";
import type { BenchResult, MetricSummary, RoundResult, ScenarioResult } from "../../src/results/types.ts";
import { decided, judgeClaim, notCompared, ofUnequalWork } from "../../src/results/verdict.ts";
import { scenarioNamed, variantsOf } from "../../src/runner/plan/scenario.ts";
import { estimateMean } from "../../src/results/statistics.ts";

const scenario = "court-warm";
const variant = variantsOf(scenarioNamed(scenario), "full")[0]!;
/** What the others differ from by a part of a percent, so that there is a spread. */
const spread = [0.999, 1, 1.001, 1.0002];

function summary(us: number): MetricSummary {
  return { unit: "us", count: 4, mean: us, std: 0, min: us, p50: us, p90: us, p95: us, p99: us, p999: us, max: us, histogram: "HIST" };
}

/** A result in which each arm's sessions take so many milliseconds; arms that are not named take a second. */
function resultOf(ms: Readonly<Record<string, number>>, isDisturbed = false): BenchResult {
  const valuesOf = (id: string): number[] =>
    spread.map((_factor, at) => (ms[id] ?? 1000) * 1000 * spread[(at + id.length) % spread.length]!);
  const arms = variant.arms.map(({ id, protocol }) => {
    const rounds = valuesOf(id).map((us, round) => ({
      round,
      position: 0,
      startedAt: "2026-11-30T00:00:00Z",
      requests: { sent: 1, completed: 1, failed: 0, errors: {} },
      metrics: { sessionE2el: summary(us), ttfe: summary(1) },
      slices: {},
      sessions: {},
      machine: { leftOut: isDisturbed, disturbed: isDisturbed ? ["other processes"] : [] },
      invalid: isDisturbed ? ["disturbed: other processes"] : [],
    })) as unknown as RoundResult[];
    return { id, protocol, rounds, metrics: {}, intervals: { "ttfe.p50": {}, "sessionE2el.p50": {} }, invalid: [] };
  });
  const compare = (baseline: string, candidate: string) => {
    const spec = { metric: "sessionE2el", statistic: "p50", baseline, candidate, kind: "protocol" } as const;
    if (isDisturbed) return notCompared(spec, 0, "disturbed");
    const [one, other] = [valuesOf(baseline), valuesOf(candidate)];
    const ratios = estimateMean(other.map((value, round) => Math.log(value / one[round]!)));
    return decided(spec, 4, ratios, estimateMean(other.map((value, round) => value - one[round]!)));
  };
  const comparisons = variant.pairs.map(({ baseline, candidate }) => compare(baseline, candidate));
  const claims = variant.claims.map((claim) => judgeClaim(claim, compare(claim.baseline, claim.candidate)));
  const made = { id: scenario, variant: variant.name, arms, comparisons, claims, skipped: null } as unknown as ScenarioResult;
  return {
    kind: "fakeai.bench",
    command: ["fakeai", "bench", "--out", "/tmp/somewhere", "--rounds", "4"],
    startedAt: "2026-11-30T00:00:00Z",
    environment: { cores: 2, cpu: "a processor", node: "20", loadAverage: [0.5, 0.25, 0.123456789] },
    scenarios: [made],
  } as unknown as BenchResult;
}

/** A new connection for each call, against WebSocket with the state: 40% are claimed. */
function claimOf(result: BenchResult | undefined): CourtClaim {
  const found = courtClaims(result === undefined ? {} : { [scenario]: result }).filter(({ tested }) => tested?.variant === variant.name);
  expect(found).toHaveLength(1);
  return found[0]!;
}

test("a claim is reproduced, refuted or undecided by where its interval lies", () => {
  const took = (ms: number): CourtClaim => claimOf(resultOf({ "ws-previous": ms }));
  expect(took(550)).toMatchObject({ verdict: "reproduced", rounds: 4, tested: { baseline: "h1-new", candidate: "ws-previous" } });
  expect(took(650).verdict).toBe("refuted");
  expect(took(600)).toMatchObject({ verdict: "undecided", reason: "the interval holds the claimed gain" });
  expect(took(550).ratio!.estimate).toBeCloseTo(0.55, 2);
  expect(took(550).ratioOfEachRound).toHaveLength(4);
});

test("without an interval nothing is judged, and the reason is told", () => {
  expect(claimOf(undefined)).toMatchObject({ verdict: "undecided", reason: "not run", ratio: null, ratioOfEachRound: [] });
  expect(claimOf(resultOf({ "ws-previous": 500 }, true))).toMatchObject({
    verdict: "undecided",
    reason: "no interval: of 8 rounds of its arms 8 were disturbed by other processes",
    ratio: null,
    parts: { warm: null, state: null, transport: null },
  });
});

test("arms that did unequal work are told as that, whatever rounds were disturbed", () => {
  const result = resultOf({}, true);
  const spec = { metric: "sessionE2el", statistic: "p50", baseline: "h1-new", candidate: "ws-previous", kind: "protocol" } as const;
  const claims = variant.claims.map((claim) => judgeClaim(claim, ofUnequalWork(spec, ["20 calls against 19"])));
  const unequal = { ...result, scenarios: [{ ...result.scenarios[0]!, claims }] };
  expect(claimOf(unequal)).toMatchObject({ verdict: "undecided", reason: "unequal work: 20 calls against 19" });
});

test("rounds that were disturbed and count all the same judge nothing", () => {
  const result = resultOf({ "ws-previous": 500 });
  expect(claimOf(result).verdict).toBe("reproduced");
  const { machine } = result.scenarios[0]!.arms.find(({ id }) => id === "h1-new")!.rounds[0]!;
  (machine!.disturbed as string[]).push("other processes");
  const kept = claimOf(result);
  expect(kept.verdict).toBe("undecided");
  expect(kept.reason).toBe("1 of 8 rounds of its arms were disturbed by other processes, and count");
  expect(kept.ratio!.estimate).toBeCloseTo(0.5, 2);
});

test("nor do they on the page", () => {
  const result = resultOf({ "h1-new": 2000 });
  const answerOf = (): string => courtParts({ [scenario]: result }, [])["court-answer"]!();
  expect(answerOf()).toMatch(/A kept connection.*: 1 faster .*, 3 the same/);
  for (const { machine } of result.scenarios[0]!.arms.find(({ id }) => id === "h1-new")!.rounds) (machine!.disturbed as string[]).push("x");
  expect(answerOf()).toMatch(/A kept connection.*: 3 the same .*, 7 not judged\.$/m);
  const parts = courtParts({ [scenario]: result }, []);
  expect(parts["court-factors"]!()).toMatch(/\| h1-new, h1 \| no interval; rounds: −50\.\d%, .* \| not judged \|/);
  expect(parts["court-times"]!()).toMatch(/h1-new 2,000\*; /);
});

test("the parts of a claim are pairs that differ in one thing, and multiply to it", () => {
  const { parts, ratio } = claimOf(resultOf({ "h1-new": 2000, h1: 1500, "h1-previous": 900, "ws-previous": 810, ws: 5000 }));
  expect(parts.warm!.estimate).toBeCloseTo(0.75, 2);
  expect(parts.state!.estimate).toBeCloseTo(0.6, 2);
  expect(parts.transport!.estimate).toBeCloseTo(0.9, 2);
  expect(parts.warm!.estimate * parts.state!.estimate * parts.transport!.estimate).toBeCloseTo(ratio!.estimate, 6);
});

test("what nothing here is comparable with says why", () => {
  const left = courtClaims({}).filter(({ verdict }) => verdict === "not comparable");
  expect(left.map(({ source }) => source)).toContain("lidge-jun/opencodex#1487");
  expect(left.filter(({ reason, tested }) => reason === "" || tested !== null)).toEqual([]);
});

test("the page has a claim once, with a row for each place that tests it, and a verdict in each", () => {
  const page = courtParts({ [scenario]: resultOf({ "ws-previous": 650 }) }, [])["court-claims"]!();
  const [, section] = page.split("**Up to roughly 40% faster end to end for 20 and more tool calls: against HTTP that opens");
  expect(section).toMatch(/^.*Number: 40%\. Conditions: the parts that a bench can hold/);
  expect(section!.split("\n\n")[1]).toMatch(
    /\| new connections, .* \| 35% \(3\d% to 35%\) \| .* \| refuted \| the whole interval is below/,
  );
  expect(page.match(/\*\*Up to about 20% lower end-to-end latency over WebSocket\*\*/g)).toHaveLength(1);
  expect(page.match(/\| not run \|/g)!.length).toBeGreaterThan(10);
  expect(page).toMatch(/opencodex#1487 .* not comparable \| both reach/);
});

test("the page tells of each thing by pairs that differ in it alone", () => {
  const parts = courtParts({ [scenario]: resultOf({ "h1-new": 2000, "h1-new-previous": 2000, ws: 1000 }) }, []);
  const answer = parts["court-answer"]!();
  expect(answer).toMatch(
    /A kept connection.*\*\*: 2 faster \(−50\.0%\), 2 the same within 2% \(.*, 6 not judged\. Most: h1-new to h1, new connections/,
  );
  expect(parts["court-factors"]!()).toMatch(/\| h1-new, h1 \| −50\.0% \(.*\) \| faster \|/);
  expect(parts["court-times"]!()).toMatch(/h1-new 2,000; /);
  expect(parts["court-runs"]!()).toContain("| court-tls | not run |");
  expect(parts["court-runs"]!()).toContain("| 32 | 0 | 0 |");
  const disturbed = courtParts({ [scenario]: resultOf({ "h1-new": 2000 }, true) }, []);
  expect(disturbed["court-runs"]!()).toContain("| 32 | 32 | 32 |");
  expect(disturbed["court-times"]!()).toMatch(/h1-new 2,000\*; /);
  expect(disturbed["court-factors"]!()).toMatch(/\| h1-new, h1 \| no interval; rounds: −50\.\d%, .* \| not judged \|/);
  expect(disturbed["court-answer"]!()).toMatch(/A kept connection.*not judged in any of 10 comparisons/);
});

test("bytes are those of the packets", () => {
  const count = (arm: string, upPayload: number): PacketCount => ({
    arm,
    sessions: 4,
    calls: 20,
    historyTokens: 5000,
    requests: { completed: 84, failed: 0 },
    perSession: { upPackets: 40.75, upPayload, downPackets: 53, downPayload: 1000, benchBytesSent: upPayload, benchBytesReceived: 1000 },
  });
  const parts = courtParts({}, [count("h1", 700_000), count("h1-previous", 70_000)]);
  expect(parts["court-bytes"]!()).toBe(
    "- **Naming the history, HTTP/1.1** (h1 to h1-previous): −90.0% of the bytes sent, 0.0% of those received.",
  );
  expect(parts["court-packets"]!()).toContain("| h1 | 40.8, 53.0 | 700,000 | 700,000 | 1,000 | 1,000 |");
});

test("what is published has no histogram, no place, and the metrics that are compared", () => {
  const { command, scenarios, environment } = published(resultOf({}));
  expect(command).toEqual(["fakeai", "bench", "--rounds", "4"]);
  const { rounds, intervals } = scenarios[0]!.arms[0]!;
  expect(rounds).toHaveLength(4);
  expect(Object.keys(rounds[0]!.metrics)).toEqual(["sessionE2el"]);
  expect(rounds[0]!.metrics.sessionE2el!.histogram).toBeNull();
  expect(rounds[0]).not.toHaveProperty("slices");
  expect(rounds[0]).not.toHaveProperty("sessions");
  expect(Object.keys(intervals)).toEqual(["sessionE2el.p50"]);
  expect(environment.loadAverage[2]).toBe(0.123457);
});
