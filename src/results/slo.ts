/**
 * A service-level objective: "ttft.p95<200ms,itl.p99<50ms". It is read in two ways, as the field does. A load keeps it where each
 * statistic over all requests is within its limit; DistServe calls the largest such rate the goodput (Zhong et al., OSDI 2024).
 * A request keeps it where its own values are within all limits, and those a second are vLLM's `request_goodput` (`--goodput` of
 * `vllm bench serve`). Of a metric with many values a request, such as ITL, a request's own value is the same statistic of its own.
 */
import { parseRequirement } from "./requirements.ts";
import type { DistributionMetric, Statistic } from "./metrics.ts";
import type { ArmResult } from "./types.ts";

/** Latencies that a single request has. */
const metrics = ["ttft", "ttfe", "itl", "itlPerToken", "tpot", "e2el", "ttftFromIntended", "e2elFromIntended"] as const;
export type SloMetric = (typeof metrics)[number] & DistributionMetric;

/** One limit. */
export interface SloTerm {
  readonly metric: SloMetric;
  readonly statistic: Statistic;
  /** Microseconds. */
  readonly limitUs: number;
  /** Whether the limit itself is within. */
  readonly inclusive: boolean;
}

/**
 * Reads an objective.
 * @throws Error in one line.
 */
export function parseSlo(text: string): SloTerm[] {
  return text.split(",").map((part) => {
    const { metric, statistic, operator, limit, scenario, arm } = parseRequirement(part);
    const known = metrics.find((name) => name === metric);
    if (known === undefined || scenario !== null || arm !== null)
      throw new Error(`"${part}": an objective is on the latency of requests: ${metrics.join(", ")}`);
    if (operator === ">" || operator === ">=") throw new Error(`"${part}": a latency is kept below a limit, as in ttft.p95<200ms`);
    return { metric: known, statistic, limitUs: limit, inclusive: operator === "<=" };
  });
}

/** Whether a value is within a limit. */
export function isWithin(value: number, { limitUs, inclusive }: SloTerm): boolean {
  return value < limitUs || (inclusive && value === limitUs);
}

/** Whether every statistic of an arm is within its limit; null: one was not measured. */
export function keepsSlo({ metrics: measured }: Pick<ArmResult, "metrics">, slo: readonly SloTerm[]): boolean | null {
  const values = slo.map((term) => measured[term.metric]?.[term.statistic] ?? null);
  if (values.some((value, index) => value !== null && !isWithin(value, slo[index]!))) return false;
  return values.includes(null) ? null : true;
}
