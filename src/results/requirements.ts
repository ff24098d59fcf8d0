/** What a run is required to reach: "[scenario/][protocol/]ttft.p99<150ms". */
import { metricFacts, statisticNames } from "./metrics.ts";
import { scenarioLabel } from "./scenarios.ts";
import { type ArmResult, type MetricName, protocolNames, type Requirement, type ScenarioResult, type Statistic } from "./types.ts";

/** Share of the requests that failed: no metric of a driver's, but what people require first. */
type RequiredMetric = MetricName | "failed";

/** A requirement, understood. */
export interface ParsedRequirement {
  readonly text: string;
  /** Id of the one scenario meant, or null for all. */
  readonly scenario: string | null;
  /** Protocol or arm id, or null for all. */
  readonly arm: string | null;
  readonly metric: RequiredMetric;
  readonly statistic: Statistic;
  readonly operator: "<" | "<=" | ">" | ">=";
  /** In the metric's own unit. */
  readonly limit: number;
}

const protocols: ReadonlySet<string> = new Set(protocolNames);
const statistics: ReadonlySet<string> = new Set(statisticNames);
const microseconds: Readonly<Record<string, number>> = { us: 1, ms: 1000, s: 1_000_000 };
const bytes: Readonly<Record<string, number>> = { "": 1, B: 1, kB: 1000, MB: 1_000_000, KiB: 1024, MiB: 1_048_576 };

/**
 * Reads "[scenario/][protocol/]metric[.statistic]<limit". One prefix alone is a protocol if it is the name of one. The
 * statistic may be left out for metrics of one value per round, and is their mean. Times need us, ms or s; rates may have
 * /s; bytes may have B, kB, MB, KiB or MiB; `failed` is a share, as 0.01 or 1%.
 * @throws Error in one line.
 */
export function parseRequirement(text: string): ParsedRequirement {
  const wrong = (reason: string): Error => new Error(`requirement "${text}": ${reason}`);
  const parts =
    /^\s*(?:(?<path>.*)\/)?(?<metric>[a-z0-9]+)(?:\.(?<statistic>[a-z0-9]+))?\s*(?<operator><=|>=|<|>)\s*(?<limit>[^<>=]+?)\s*$/iu.exec(
      text,
    );
  // A rate's "/s" is behind the operator, where the path cannot be.
  const { path, metric, statistic, operator, limit } = parts?.groups ?? {};
  if (metric === undefined || operator === undefined || limit === undefined || /[<>]/u.test(path ?? "")) {
    throw wrong("expected [scenario/][protocol/]metric.statistic<limit, as in stream/h2c/ttft.p99<150ms");
  }
  const segments = path === undefined ? [] : path.split("/");
  if (segments.length > 2 || segments.includes("")) throw wrong("expected at most a scenario and a protocol before the metric");
  const [scenario, arm] = segments.length === 1 && protocols.has(segments[0] ?? "") ? [null, segments[0]] : segments;
  if (!isRequired(metric)) throw wrong(`unknown metric ${metric}; known: failed, ${Object.keys(metricFacts).join(", ")}`);
  const { unit, perRound } = metric === "failed" ? { unit: "ratio" as const, perRound: true } : metricFacts[metric];
  if (statistic === undefined && !perRound) throw wrong(`${metric} needs a statistic, as in ${metric}.p99`);
  if (statistic !== undefined && !isStatistic(statistic))
    throw wrong(`unknown statistic ${statistic}; known: ${[...statistics].join(", ")}`);
  const [, digits, suffix] = /^([0-9.]+(?:e[+-]?[0-9]+)?)\s*(.*)$/iu.exec(limit) ?? [];
  const number = Number(digits);
  if (digits === undefined || suffix === undefined || !Number.isFinite(number)) throw wrong(`${limit} is no number`);
  const scale = scaleOf(unit, suffix);
  if (scale === undefined) {
    const hint = { us: "us, ms or s", "1/s": "/s", bytes: "B, kB, MB, KiB or MiB", count: "no unit", ratio: "% or no unit" }[unit];
    throw wrong(suffix === "" ? `${metric} needs a unit: ${hint}` : `${metric} is not measured in ${suffix}, but in ${hint}`);
  }
  return {
    text,
    scenario: scenario ?? null,
    arm: arm ?? null,
    metric,
    statistic: statistic ?? "mean",
    operator: operator as ParsedRequirement["operator"],
    limit: number * scale,
  };
}

function isRequired(name: string): name is RequiredMetric {
  return name === "failed" || Object.hasOwn(metricFacts, name);
}

function isStatistic(name: string): name is Statistic {
  return statistics.has(name);
}

function scaleOf(unit: "us" | "1/s" | "bytes" | "count" | "ratio", suffix: string): number | undefined {
  if (unit === "us") return microseconds[suffix];
  if (unit === "bytes") return bytes[suffix];
  if (unit === "1/s") return suffix === "" || suffix === "/s" ? 1 : undefined;
  if (unit === "ratio" && suffix === "%") return 0.01;
  return suffix === "" ? 1 : undefined;
}

/** Null where it was not measured, and where the arm is invalid: its figures mean nothing. */
function measure(arm: ArmResult, metric: RequiredMetric, statistic: Statistic): number | null {
  if (metric === "failed") {
    const sent = arm.rounds.reduce((sum, { requests }) => sum + requests.sent, 0);
    return sent === 0 ? null : arm.rounds.reduce((sum, { requests }) => sum + requests.failed, 0) / sent;
  }
  if (arm.invalid.length > 0) return null;
  return arm.metrics[metric]?.[statistic] ?? null;
}

const holds: Readonly<Record<ParsedRequirement["operator"], (value: number, limit: number) => boolean>> = {
  "<": (value, limit) => value < limit,
  "<=": (value, limit) => value <= limit,
  ">": (value, limit) => value > limit,
  ">=": (value, limit) => value >= limit,
};

/**
 * Checks each requirement in every arm that it means. A value beyond the limit violates it. Otherwise one arm without a
 * value leaves it not measured, and so does a requirement that meets no arm at all. Where no scenario is named, those in
 * which no arm has the metric are not meant.
 */
export function checkRequirements(parsed: readonly ParsedRequirement[], scenarios: readonly ScenarioResult[]): Requirement[] {
  return parsed.map(({ text, scenario, arm, metric, statistic, operator, limit }) => {
    const measured = scenarios
      .filter(({ id }) => scenario === null || id === scenario)
      .flatMap(({ id, variant, arms }) => {
        const label = scenarioLabel({ id, variant });
        const rows = arms
          .filter((one) => arm === null || one.protocol === arm || one.id === arm)
          .map((one) => ({
            scenario: label,
            arm: one.id,
            value: measure(one, metric, statistic),
            // An invalid arm was meant to measure it.
            meant: one.invalid.length > 0 || one.metrics[metric as MetricName] !== undefined || metric === "failed",
          }));
        return scenario === null && !rows.some(({ meant }) => meant) ? [] : rows;
      })
      .map(({ scenario: name, arm: id, value }) => ({ scenario: name, arm: id, value }));
    const isViolated = measured.some(({ value }) => value !== null && !holds[operator](value, limit));
    const isMeasured = measured.length > 0 && measured.every(({ value }) => value !== null);
    const outcome = isViolated ? "violated" : isMeasured ? "met" : "not measured";
    return { text, met: outcome === "met", outcome, measured };
  });
}
