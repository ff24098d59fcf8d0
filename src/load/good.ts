/** Requests that keep an objective, each by itself. */
import { isWithin, type SloTerm } from "../results/slo.ts";
import type { Statistic } from "../results/types.ts";
import type { Answer } from "./answer.ts";

/** Whether an answer that was completed keeps every term; null: a value of it is not known. `tokens`: those of the answer. */
export function keepsTerms(answer: Answer, tokens: number | null, inOneRead: boolean, terms: readonly SloTerm[]): boolean | null {
  let isKnown = true;
  for (const term of terms) {
    const value = valueOf(answer, tokens, inOneRead, term);
    if (value === null) isKnown = false;
    else if (!isWithin(value, term)) return false;
  }
  return isKnown ? true : null;
}

function valueOf(answer: Answer, tokens: number | null, inOneRead: boolean, { metric, statistic }: SloTerm): number | null {
  const { events, startUs, intendedUs, endUs } = answer;
  const delay = startUs - intendedUs;
  const hasTimes = events > 0 && !inOneRead;
  const e2el = answer.aborted ? null : hasTimes ? answer.arrival(events - 1) : endUs - startUs;
  switch (metric) {
    case "ttfe":
      return answer.firstEvent < 0 ? null : answer.firstEvent;
    case "ttft":
      return hasTimes ? answer.arrival(0) : null;
    case "ttftFromIntended":
      return hasTimes ? answer.arrival(0) + delay : null;
    case "e2el":
      return e2el;
    case "e2elFromIntended":
      return e2el === null ? null : e2el + delay;
    case "tpot":
      if (!hasTimes || e2el === null || tokens === null) return null;
      // As in vLLM, an answer of one token has no time between tokens, and keeps any limit on it.
      return tokens > 1 ? (e2el - answer.arrival(0)) / (tokens - 1) : 0;
    case "itl":
      return hasTimes ? statisticOf(gapsOf(answer, false), statistic) : null;
    default:
      return hasTimes && answer.tokensAt(0) >= 0 ? statisticOf(gapsOf(answer, true), statistic) : null;
  }
}

/** Gaps between events, and by the tokens that each event says it holds. */
function gapsOf(answer: Answer, perToken: boolean): number[] {
  const gaps: number[] = [];
  for (let i = 1; i < answer.events; i++) {
    const gap = answer.arrival(i) - answer.arrival(i - 1);
    const tokens = answer.tokensAt(i) - answer.tokensAt(i - 1);
    gaps.push(perToken ? gap / Math.max(1, tokens) : gap);
  }
  return gaps;
}

const shares: Readonly<Partial<Record<Statistic, number>>> = { min: 0, p50: 0.5, p90: 0.9, p95: 0.95, p99: 0.99, p999: 0.999, max: 1 };

/** A statistic of few values by nearest rank, as in results; 0 of none: there is nothing that could be too long. */
function statisticOf(values: number[], statistic: Statistic): number {
  if (values.length === 0) return 0;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  if (statistic === "mean") return mean;
  if (statistic === "std") return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, values.length - 1));
  const sorted = values.toSorted((a, b) => a - b);
  const rank = Math.ceil(shares[statistic]! * sorted.length - 1e-9);
  return sorted[Math.min(sorted.length, Math.max(1, rank)) - 1]!;
}
