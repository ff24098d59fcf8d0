/** A result as rows of one value each, for tables: a statistic of a metric of an arm in a round. */
import { metricFacts, statisticNames } from "./metrics.ts";
import type { ArmResult, BenchResult, MetricName, RoundResult, ScenarioResult, Statistic, Unit } from "./types.ts";

type ValueColumn = "value_us" | "value_per_second" | "value_bytes" | "value_count" | "value_ratio";

/** The column of a value, by its unit. */
const columnOf: Readonly<Record<Unit, ValueColumn>> = {
  us: "value_us",
  "1/s": "value_per_second",
  bytes: "value_bytes",
  count: "value_count",
  ratio: "value_ratio",
};

/**
 * One row. Columns are named as other tools name them, in snake case and with units. Of the value columns one is set, or none
 * where nothing was measured.
 */
export interface Measurement extends Readonly<Record<ValueColumn, number | null>> {
  /** ISO 8601, of the run. */
  readonly run_started_at: string;
  readonly suite: string;
  readonly scenario: string;
  /** Empty where the scenario has one. */
  readonly variant: string;
  readonly arm: string;
  readonly protocol: string;
  readonly engine: string;
  readonly driver: string;
  readonly connections: number | null;
  readonly streams: number;
  readonly rtt_ms: number;
  /** From 0; arms are paired by it. */
  readonly round: number;
  /** Place in the round's order of arms, from 0. */
  readonly position: number;
  /** ISO 8601. */
  readonly round_started_at: string;
  readonly requests_sent: number;
  readonly requests_completed: number;
  readonly requests_failed: number;
  /** null: nothing was measured in this round. */
  readonly metric: MetricName | null;
  /** null: the driver cannot see the metric, or nothing was measured. */
  readonly statistic: Statistic | null;
  /** Values behind the statistic. */
  readonly samples: number | null;
  /** Whether the value counts: round, arm and run may be used. */
  readonly valid: boolean;
  /** Why it does not count: the reasons of the round, else of the arm, else of the run. null: it counts. */
  readonly excluded_reason: string | null;
}

/** Columns in their order. */
export const measurementColumns: readonly (keyof Measurement)[] = [
  "run_started_at",
  "suite",
  "scenario",
  "variant",
  "arm",
  "protocol",
  "engine",
  "driver",
  "connections",
  "streams",
  "rtt_ms",
  "round",
  "position",
  "round_started_at",
  "requests_sent",
  "requests_completed",
  "requests_failed",
  "metric",
  "statistic",
  "value_us",
  "value_per_second",
  "value_bytes",
  "value_count",
  "value_ratio",
  "samples",
  "valid",
  "excluded_reason",
];

const noValue: Readonly<Record<ValueColumn, null>> = {
  value_us: null,
  value_per_second: null,
  value_bytes: null,
  value_count: null,
  value_ratio: null,
};

/** All rounds, invalid ones too, in the order of the result. A round in which nothing was measured is a row without a metric. */
export function* measurementsOf(result: BenchResult): Generator<Measurement> {
  const runReasons = [...(result.complete ? [] : ["the run is incomplete"]), ...result.invalid];
  for (const scenario of result.scenarios)
    for (const arm of scenario.arms)
      for (const round of arm.rounds) {
        const reasons = [round.invalid, arm.invalid, runReasons].find(({ length }) => length > 0) ?? [];
        const place = { ...placeOf(result, scenario, arm, round), valid: reasons.length === 0 };
        yield* rowsOf(round, { ...place, excluded_reason: reasons.length === 0 ? null : reasons.join("; ") });
      }
}

type Place = Omit<Measurement, ValueColumn | "metric" | "statistic" | "samples">;

function placeOf(
  { startedAt, suite }: BenchResult,
  { id, variant }: ScenarioResult,
  { id: arm, protocol, engine, driver, connections, streams, rttMs }: ArmResult,
  { round, position, startedAt: roundStartedAt, requests }: RoundResult,
): Omit<Place, "valid" | "excluded_reason"> {
  return {
    run_started_at: startedAt,
    suite,
    scenario: id,
    variant,
    arm,
    protocol,
    engine,
    driver,
    connections,
    streams,
    rtt_ms: rttMs,
    round,
    position,
    round_started_at: roundStartedAt,
    requests_sent: requests.sent,
    requests_completed: requests.completed,
    requests_failed: requests.failed,
  };
}

function* rowsOf({ metrics }: RoundResult, place: Place): Generator<Measurement> {
  const names = Object.keys(metrics) as MetricName[];
  if (names.length === 0) yield { ...place, ...noValue, metric: null, statistic: null, samples: null };
  for (const metric of names) {
    const summary = metrics[metric] ?? null;
    if (summary === null) {
      yield { ...place, ...noValue, metric, statistic: null, samples: null };
      continue;
    }
    // Of one value for the round all statistics are the same.
    for (const statistic of metricFacts[metric].perRound ? (["mean"] as const) : statisticNames) {
      const value = { [columnOf[summary.unit]]: summary[statistic] };
      yield { ...place, ...noValue, ...value, metric, statistic, samples: summary.count };
    }
  }
}
