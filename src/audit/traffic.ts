/** What a tool really did, by the server's records: how requests came, how many at once, over which connections, with what in them. */
import type { Answer, Came } from "./answers.ts";
import { ascending, statisticOf, sum } from "./samples.ts";
import { arrivalsPerSecond, mostAtOnce, type Truth } from "./truth.ts";
import type { Arrivals, Traffic } from "./types.ts";

const slices = 24;
/** Arrivals that are closer came together. */
const togetherMs = 2;
/** A closed loop sends the next request this soon after an answer. */
const closedLoopMs = 10;
/** Fewer arrivals have no shape. */
const fewest = 8;

/** How requests came. */
export function arrivalsOf(answers: readonly Answer[]): Arrivals {
  const times = answers.map(({ atMs }) => atMs);
  const gaps = times.slice(1).map((time, index) => time - times[index]!);
  const mean = sum(gaps) / gaps.length;
  const spread = Math.sqrt(sum(gaps.map((gap) => (gap - mean) ** 2)) / gaps.length);
  const variation = gaps.length < 2 || !(mean > 0) ? null : spread / mean;
  const together = gaps.length === 0 ? 0 : gaps.filter((gap) => gap <= togetherMs).length / gaps.length;
  const ends = ascending(answers.flatMap(({ atMs, endMs }) => (endMs === null ? [] : [atMs + endMs])));
  // The first ones of a closed loop come with nothing before them.
  const later = times.filter((time) => ends.length > 0 && time > ends[0]!);
  const after = later.filter((time) => ends.some((end) => time >= end && time - end <= closedLoopMs)).length;
  const afterAnEnd = later.length === 0 ? 0 : after / later.length;
  return {
    shape: shapeOf(gaps, variation, together, later.length < fewest / 2 ? 0 : afterAnEnd),
    variation,
    together,
    afterAnEnd,
    longestGapMs: gaps.length === 0 ? 0 : Math.max(...gaps),
  };
}

function shapeOf(gaps: readonly number[], variation: number | null, together: number, afterAnEnd: number): Arrivals["shape"] {
  if (gaps.length < fewest - 1 || variation === null) return "few";
  // Of arrivals at equal distances few come within 10 ms after an end, unless answers end that often.
  if (afterAnEnd >= 0.8) return "closed-loop";
  if (variation < 0.3) return "constant";
  if (together > 0.5) return "bursts";
  // Distances of a Poisson process are exponential: their coefficient of variation is 1.
  const far = kolmogorov(gaps);
  return far < 1.63 / Math.sqrt(gaps.length) ? "poisson" : "irregular";
}

/** Greatest distance of the distribution of gaps from the exponential one of their mean. 1.63 / sqrt(n) is passed by 1% at most. */
function kolmogorov(gaps: readonly number[]): number {
  const mean = sum(gaps) / gaps.length;
  const { length } = gaps;
  return Math.max(
    ...ascending(gaps).map((gap, index) => {
      const wanted = 1 - Math.exp(-gap / mean);
      return Math.max(Math.abs((index + 1) / length - wanted), Math.abs(index / length - wanted));
    }),
  );
}

/** Mean of requests under way in slices of the run. */
export function concurrencyOf(answers: readonly Answer[], durationS: number): number[] {
  const startMs = answers[0]?.atMs ?? 0;
  const sliceMs = (durationS * 1000) / slices;
  if (!(sliceMs > 0)) return [];
  return Array.from({ length: slices }, (_, slice) => {
    const from = startMs + slice * sliceMs;
    const busy = sum(
      answers.map(({ atMs, endMs }) => Math.max(0, Math.min(from + sliceMs, atMs + (endMs ?? Infinity)) - Math.max(from, atMs))),
    );
    return Math.round((busy / sliceMs) * 100) / 100;
  });
}

/**
 * Requests that repeat one which had failed: the client says so in a header, or the same prompt comes again after its failure.
 * Where all prompts are alike that tells nothing: null.
 */
function retriesOf(answers: readonly Answer[]): number | null {
  const told = answers.filter(({ retry }) => retry !== null);
  if (told.length > 0) return told.filter(({ retry }) => retry! > 0).length;
  const failures = answers.filter(({ outcome }) => outcome === "refused" || outcome === "cut");
  if (failures.length === 0) return 0;
  if (new Set(answers.map(({ prompt }) => prompt)).size < answers.length / 2) return null;
  return answers.filter((answer) =>
    failures.some(
      (failure) => failure !== answer && failure.prompt === answer.prompt && failure.atMs + (failure.endMs ?? 0) <= answer.atMs,
    ),
  ).length;
}

const mostValues = 5;

function parametersOf(answers: readonly Answer[]): Record<string, string[]> {
  const found = new Map<string, Set<string>>();
  for (const { parameters } of answers) {
    for (const [name, value] of Object.entries(parameters)) {
      const values = found.get(name) ?? new Set<string>();
      found.set(name, values);
      if (values.size < mostValues) values.add(value);
    }
  }
  return Object.fromEntries([...found].map(([name, values]) => [name, [...values]]));
}

function countsBy(values: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return counts;
}

export function trafficOf({ others }: Came, truth: Truth): Traffic {
  const { answers, warmUp, durationS } = truth;
  const count = (outcome: Answer["outcome"]): number => answers.filter((answer) => answer.outcome === outcome).length;
  const connections = new Set(answers.map(({ connection }) => connection));
  const late = ascending(answers.flatMap(({ tokenMs, dueMs }) => tokenMs.map((time, index) => time - dueMs[index]!)));
  const events = sum(answers.map(({ tokenMs }) => tokenMs.length));
  return {
    requests: answers.length,
    warmUp: warmUp.length,
    others,
    completed: count("whole"),
    refused: count("refused"),
    cut: count("cut"),
    aborted: count("aborted"),
    retries: retriesOf(answers),
    arrivalsPerSecond: arrivalsPerSecond(answers),
    arrivals: arrivalsOf(answers),
    meanConcurrency: truth.figure("concurrency", "mean")?.value ?? null,
    maxConcurrency: mostAtOnce(answers),
    concurrency: concurrencyOf(answers, durationS),
    durationS,
    connections: connections.has(null) ? null : connections.size,
    protocols: countsBy(answers.map(({ protocol }) => protocol)),
    prompts: new Set(answers.map(({ prompt }) => prompt)).size,
    parameters: parametersOf(answers),
    outputTokens: sum(answers.map(({ outputTokens }) => outputTokens)),
    eventsPerSecond: durationS > 0 && events > 0 ? events / durationS : null,
    serverLateP99Ms: statisticOf(late, "p99")?.value ?? null,
  };
}
