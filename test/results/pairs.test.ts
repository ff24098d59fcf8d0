/**
 * Whether the statistics can fail, on what was recorded by bench/pairs.ts: twenty pairs of equal runs, and twenty whose
 * candidate has an ITL of 21 ms where the baseline has 20.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { compareArms } from "../../src/results/compare.ts";
import { adjustComparisons } from "../../src/results/verdict.ts";
import { metricFacts } from "../../src/results/metrics.ts";
import type { ArmResult, Comparison, MetricName, MetricSummary, Statistic } from "../../src/results/types.ts";

interface Pair {
  readonly kind: "equal" | "slower";
  readonly pair: number;
  readonly protocol: "h1" | "h2c";
  readonly rounds: Readonly<Record<string, readonly (readonly (number | null)[])[]>>;
}

const { pairs } = JSON.parse(readFileSync(fileURLToPath(new URL("../fixtures/pairs.json", import.meta.url)), "utf8")) as {
  pairs: readonly Pair[];
};

function armOf({ protocol, rounds }: Pair, side: number): ArmResult {
  const count = Object.values(rounds)[0]![side]!.length;
  return {
    id: side === 0 ? "baseline" : "candidate",
    protocol,
    engine: "node",
    role: "protocol",
    driver: "stream",
    connections: 1,
    streams: 50,
    negotiated: null,
    cipher: null,
    rttMs: 0,
    metrics: {},
    intervals: {},
    invalid: [],
    rounds: Array.from({ length: count }, (_, round) => {
      const metrics: Partial<Record<MetricName, MetricSummary>> = {};
      let valid = true;
      for (const [name, values] of Object.entries(rounds)) {
        const [metric, statistic] = name.split(".") as [MetricName, Statistic];
        const value = values[side]![round] ?? null;
        valid &&= value !== null;
        const { unit, perRound } = metricFacts[metric];
        // The histogram itself is not recorded; that there was one tells how fine a percentile can be.
        const empty = { unit, count: 0, mean: 0, std: 0, min: 0, p50: 0, p90: 0, p95: 0, p99: 0, p999: 0, max: 0 };
        metrics[metric] = { ...(metrics[metric] ?? empty), [statistic]: value ?? 0, histogram: perRound ? null : "" };
      }
      return {
        round,
        position: side,
        startedAt: "",
        requests: { sent: 50, completed: 50, failed: 0, errors: {} },
        metrics,
        invalid: valid ? [] : ["as recorded"],
      };
    }),
  };
}

/** What `fakeai bench` says of a pair. */
function verdictsOf(pair: Pair): Comparison[] {
  const arms = [armOf(pair, 0), armOf(pair, 1)];
  return adjustComparisons(
    Object.keys(pair.rounds).map((name) => {
      const [metric, statistic] = name.split(".") as [MetricName, Statistic];
      return compareArms(arms, { metric, statistic, baseline: "baseline", candidate: "candidate", kind: "protocol" });
    }),
  );
}

const of = (kind: Pair["kind"]): Comparison[][] => pairs.filter((pair) => pair.kind === kind).map(verdictsOf);

describe("recorded pairs", () => {
  test("equal runs: no metric declares any difference", () => {
    const verdicts = of("equal");
    expect(verdicts.length).toBeGreaterThanOrEqual(20);
    const all = verdicts.flat();
    expect(all.length).toBeGreaterThanOrEqual(220);
    const declared = all.filter(({ verdict }) => verdict === "faster" || verdict === "slower");
    expect(all.every(({ verdict }) => verdict !== "not compared")).toBe(true);
    expect(declared).toEqual([]);
  });

  /** Whether each pair's slower ITL is found, and whether the interval holds the truth. */
  const foundIn = (statistic: Statistic): { readonly found: boolean; readonly covered: boolean }[] => {
    const ones = of("slower").map((all) => all.find((one) => one.metric === "itl" && one.statistic === statistic)!);
    expect(ones.length).toBeGreaterThanOrEqual(20);
    return ones.map(({ verdict, ratio }) => ({ found: verdict === "slower", covered: ratio!.low <= 1.05 && ratio!.high >= 1.05 }));
  };
  const share = <T>(list: readonly T[], holds: (one: T) => boolean): number => list.filter(holds).length / list.length;

  test("an ITL raised by 5%: its median is found in 19 of 20, with the truth inside the interval", () => {
    expect(share(foundIn("p50"), ({ found, covered }) => found && covered)).toBeGreaterThanOrEqual(0.95);
  });

  test("and its mean in 19 of 20; the truth is inside 19 of 20 intervals, which is what 95% promise", () => {
    const pairs = foundIn("mean");
    expect(share(pairs, ({ found }) => found)).toBeGreaterThanOrEqual(0.95);
    expect(share(pairs, ({ covered }) => covered)).toBeGreaterThanOrEqual(0.95);
  });

  test("the same with the rounds of the two arms exchanged in every second round finds nothing", () => {
    // Statistics that declare a difference here declare it of anything.
    const mixed = pairs
      .filter(({ kind }) => kind === "slower")
      .map((pair) => {
        const rounds = Object.fromEntries(
          Object.entries(pair.rounds).map(([name, [a, b]]) => [
            name,
            [a!.map((value, i) => (i % 2 === 1 ? b![i]! : value)), b!.map((value, i) => (i % 2 === 1 ? a![i]! : value))],
          ]),
        );
        const { kind, protocol } = pair;
        return { kind, pair: pair.pair, protocol, rounds };
      });
    const itl = mixed.flatMap(verdictsOf).filter(({ metric }) => metric === "itl");
    expect(share(itl, ({ verdict }) => verdict === "slower" || verdict === "faster")).toBe(0);
  });
});
