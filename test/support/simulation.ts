/** Simulated arms: what a bench would have seen, with every source of scatter known. */
import { Random, seedOf } from "../../src/core/random/random.ts";
import { summarizeArm } from "../../src/results/arms.ts";
import { Recorder, summarize } from "../../src/results/recorder.ts";
import type { ArmDescription, ArmResult, MetricName, MetricSummary, RoundResult } from "../../src/results/types.ts";

/** Seeded normal numbers. */
export function normals(seed: number): () => number {
  const random = new Random(seedOf(seed), 9);
  return () => random.normal();
}

/** An arm of which only the id matters. */
export function armNamed(id: string, more: Partial<ArmDescription> = {}): ArmDescription {
  return { id, protocol: "h1", engine: "node", role: "protocol", driver: "stream", connections: 10, streams: 10, ...more };
}

/** A round that went well, with the given metrics. */
export function roundOf(
  round: number,
  metrics: Partial<Record<MetricName, MetricSummary | null>>,
  invalid: readonly string[] = [],
): RoundResult {
  const requests = { sent: 10, completed: 10, failed: 0, errors: {} };
  return { round, position: 0, startedAt: "2026-01-01T00:00:00.000Z", requests, metrics, invalid };
}

/** An arm with one value of one metric for each round; null: not measured. */
export function armOf(id: string, metric: MetricName, values: readonly (number | null)[], more: Partial<ArmDescription> = {}): ArmResult {
  const unit = metric === "requestsPerSecond" || metric === "tokensPerSecond" ? "1/s" : "us";
  const rounds = values.map((value, round) => roundOf(round, { [metric]: value === null ? null : summarize([value], unit) }));
  return summarizeArm(armNamed(id, more), rounds, { negotiated: "http/1.1", cipher: null, rttMs: 0 });
}

/** Scatter as standard deviations relative to the value. */
export interface Scatter {
  /** Common to the arms of a round: heat, neighbours. */
  readonly round: number;
  /** Of one arm in one round. */
  readonly arm: number;
  /** Of single tokens. */
  readonly token: number;
}

export interface SimulatedPair {
  readonly arms: readonly [ArmResult, ArmResult];
  /** Every token of each arm, rounds thrown together. */
  readonly pooled: readonly [readonly number[], readonly number[]];
}

/** Two arms "a" and "b" streaming tokens 20 ms apart; b's ITL is `ratio` times a's. */
export function simulatePair(seed: number, ratio: number, rounds: number, tokens: number, scatter: Scatter): SimulatedPair {
  const normal = normals(seed);
  const results: [RoundResult[], RoundResult[]] = [[], []];
  const pooled: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    const luck = Math.exp(scatter.round * normal());
    for (const side of [0, 1] as const) {
      const level = luck * Math.exp(scatter.arm * normal());
      const itl = new Recorder("us");
      for (let token = 0; token < tokens; token++) {
        const gap = 20_000 * (side === 1 ? ratio : 1) * level * Math.exp(scatter.token * normal());
        itl.record(gap);
        pooled[side].push(gap);
      }
      results[side].push(
        roundOf(round, {
          itl: itl.summary(),
          requestsPerSecond: summarize([(1000 / luck) * Math.exp(scatter.arm * normal())], "1/s"),
          serverCpuUsPerRequest: summarize([80 * luck * Math.exp(scatter.arm * normal())], "us"),
          bytesReceivedPerRequest: summarize([5000 * Math.exp((scatter.arm / 10) * normal())], "bytes"),
        }),
      );
    }
  }
  const found = { negotiated: "http/1.1", cipher: null, rttMs: 0 };
  return { arms: [summarizeArm(armNamed("a"), results[0], found), summarizeArm(armNamed("b"), results[1], found)], pooled };
}
