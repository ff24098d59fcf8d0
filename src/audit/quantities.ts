/** What figures are of: the definition that each is held against, its unit, and which differences are no bias. */
import type { FigureUnit, Quantity, Statistic } from "./types.ts";

interface QuantityFacts {
  readonly label: string;
  readonly unit: FigureUnit;
  /** The truth, as the server's stamps have it. */
  readonly is: string;
  /** Relative tolerance of a mean or median, and of a tail (from p90 on, min and max). */
  readonly ratio: readonly [number, number];
  /** Absolute tolerance of the same two, in the unit: what is smaller is no bias either. */
  readonly absolute: readonly [number, number];
}

/** A wait that happens once: a client's own start and the loopback interface are in it. */
const wait = { unit: "ms", ratio: [0.03, 0.05], absolute: [3, 8] } as const;
const count = { ratio: [0, 0], absolute: [0, 0] } as const;

/** Each quantity. Times begin when the whole request had arrived, and end when the event was handed to the transport. */
export const quantities: Readonly<Record<Quantity, QuantityFacts>> = {
  ttft: { label: "TTFT", ...wait, is: "arrival of the request to the first event with a token" },
  ttfe: { label: "time to first event", ...wait, is: "arrival of the request to the first event of any kind" },
  ttfb: { label: "time to first byte", ...wait, is: "arrival of the request to the first byte of the answer, of errors too" },
  itl: {
    label: "ITL",
    unit: "ms",
    ratio: [0.01, 0.05],
    absolute: [0.1, 2],
    is: "gaps between events with tokens, of all answers together",
  },
  itlPerToken: {
    label: "ITL per token",
    unit: "ms",
    ratio: [0.01, 0.05],
    absolute: [0.1, 2],
    is: "gaps between events with tokens, each divided by the tokens of its event",
  },
  tpot: {
    label: "TPOT",
    unit: "ms",
    ratio: [0.01, 0.05],
    absolute: [0.1, 1],
    is: "(last token - first token) / (tokens - 1) of each answer",
  },
  ntpot: { label: "normalized TPOT", unit: "ms", ratio: [0.03, 0.05], absolute: [0.2, 1], is: "E2E / tokens of each answer" },
  e2e: { label: "E2E", ...wait, is: "arrival of the request to the end of the answer" },
  e2eAnswered: {
    label: "E2E of all answers",
    ...wait,
    is: "arrival of the request to the end of the answer, of errors too and of what was cut in order",
  },
  e2eEnded: {
    label: "E2E of all requests",
    ...wait,
    is: "arrival of the request to the end of the answer, of errors too, or of its connection where it was cut",
  },
  requests: { label: "requests", unit: "requests", ...count, is: "requests that came" },
  completed: { label: "completed", unit: "requests", ...count, is: "answers that went whole" },
  failed: { label: "failed", unit: "requests", ...count, is: "answers that were errors or were cut" },
  outputTokens: { label: "output tokens", unit: "tokens", ...count, is: "output tokens of whole answers, as usage counts them" },
  outputTokensPerRequest: {
    label: "output tokens a request",
    unit: "tokens",
    ratio: [0.005, 0.005],
    absolute: [0.05, 0.05],
    is: "output tokens of a whole answer, as usage counts them",
  },
  inputTokens: { label: "input tokens", unit: "tokens", ...count, is: "prompt tokens, as usage tells them" },
  inputTokensPerRequest: {
    label: "input tokens a request",
    unit: "tokens",
    ratio: [0.005, 0.005],
    absolute: [0.05, 0.05],
    is: "prompt tokens of a request, as usage tells them",
  },
  requestRate: {
    label: "requests/s",
    unit: "1/s",
    ratio: [0.02, 0.02],
    absolute: [0, 0],
    is: "whole answers by the time from the first arrival to the last end",
  },
  answerRate: {
    label: "answers/s",
    unit: "1/s",
    ratio: [0.02, 0.02],
    absolute: [0, 0],
    is: "answers, errors too and what was cut in order, by the time from the first arrival to the last end",
  },
  outputTokenRate: {
    label: "output tokens/s",
    unit: "1/s",
    ratio: [0.02, 0.02],
    absolute: [0, 0],
    is: "output tokens of whole answers by the time from the first arrival to the last end",
  },
  askedRate: { label: "rate asked for", unit: "1/s", ratio: [0.03, 0.03], absolute: [0, 0], is: "requests a second that came" },
  askedConcurrency: {
    label: "concurrency asked for",
    unit: "streams",
    ratio: [0.05, 0.05],
    absolute: [1.5, 1.5],
    is: "most requests under way at once",
  },
  concurrency: { label: "concurrency", unit: "streams", ratio: [0.05, 0], absolute: [0.2, 0], is: "requests under way, weighted by time" },
};

const middles: ReadonlySet<Statistic> = new Set(["mean", "p50", "total"]);

/** Differences that are no bias, in the unit. `requests`: whole answers of a run, of which one more or less at its edges is no bias of a rate. */
export function toleranceOf(quantity: Quantity, statistic: Statistic, truth: number, requests: number): number {
  const { ratio, absolute, unit } = quantities[quantity];
  const index = middles.has(statistic) ? 0 : 1;
  const edge = unit === "1/s" && requests > 0 ? 1 / requests : 0;
  return Math.max(absolute[index], Math.max(ratio[index], edge) * Math.abs(truth));
}

/** "TTFT p99", "requests/s". */
export function figureLabel(quantity: Quantity, statistic: Statistic): string {
  const { label, unit } = quantities[quantity];
  return statistic === "total" || (unit !== "ms" && statistic === "mean") ? label : `${label} ${statistic}`;
}
