/** The part of a run that its figures are read from, and how it went slice by slice. */
import type { RunSlices } from "../results/types.ts";
import type { Answer } from "./answer.ts";
import type { LoadJob } from "./job.ts";

/** The part of a run between ramp-up and cool-down, microseconds of the monotonic clock. */
export interface MeasuredPart {
  readonly fromUs: number;
  readonly untilUs: number;
  /** Whether anything is cut off: else all requests count, up to their ends. */
  readonly isCut: boolean;
}

/** When a request was meant to leave, where it was, and when it did. */
function leftUs({ intendedUs, startUs }: Answer, { mode }: LoadJob): number {
  return mode === "open" ? intendedUs : startUs;
}

/** Without ramp-up and cool-down the whole run. A cool-down counts back from when the last request left. */
export function measuredPart(job: LoadJob, answers: readonly Answer[], startedUs: number, endedUs: number): MeasuredPart {
  const { rampUpUs = 0, coolDownUs = 0 } = job;
  const lastUs = coolDownUs === 0 ? endedUs : answers.reduce((last, answer) => Math.max(last, leftUs(answer, job)), startedUs) - coolDownUs;
  return { fromUs: startedUs + rampUpUs, untilUs: lastUs, isCut: rampUpUs > 0 || coolDownUs > 0 };
}

/** Whether a request left in the measured part. */
export function leftIn(answer: Answer, job: LoadJob, { fromUs, untilUs, isCut }: MeasuredPart): boolean {
  if (!isCut) return true;
  const at = leftUs(answer, job);
  return at >= fromUs && at <= untilUs;
}

/** What came in the measured part: answers that ended, and content events. */
export interface CameIn {
  readonly ended: number;
  readonly events: number;
  /** Tokens, each answer's spread over its events; null: tokens are not counted. */
  readonly tokens: number | null;
}

/** `tokensOf`: tokens of an answer; null: not counted. */
export function cameIn(answers: readonly Answer[], { fromUs, untilUs }: MeasuredPart, tokensOf: (answer: Answer) => number | null): CameIn {
  let [ended, events, tokens] = [0, 0, 0];
  let isCounted = answers.length > 0;
  for (const answer of answers) {
    const isEndIn = answer.endUs >= fromUs && answer.endUs <= untilUs;
    if (isEndIn) ended++;
    const own = tokensOf(answer);
    if (own === null) isCounted = false;
    let within = 0;
    for (let i = 0; i < answer.events; i++) {
      const at = answer.startUs + answer.arrival(i);
      if (at >= fromUs && at <= untilUs) within++;
    }
    events += within;
    if (answer.events > 0) tokens += ((own ?? 0) * within) / answer.events;
    else if (isEndIn) tokens += own ?? 0;
  }
  return { ended, events, tokens: isCounted ? tokens : null };
}

/** Slices of a run at most; a run below `leastUs` has none. */
const mostSlices = 30;
const leastUs = 2_000_000;
const leastWidthUs = 100_000;

/** How a run went, slice by slice; null: it was too short to tell. */
export function slicesOf(
  answers: readonly Answer[],
  startedUs: number,
  endedUs: number,
  tokensOf: (answer: Answer) => number | null,
): RunSlices | null {
  const durationUs = endedUs - startedUs;
  if (durationUs < leastUs) return null;
  const everyUs = Math.max(leastWidthUs, Math.ceil(durationUs / mostSlices));
  const count = Math.ceil(durationUs / everyUs);
  const placeOf = (us: number): number => Math.min(count - 1, Math.max(0, Math.floor((us - startedUs) / everyUs)));
  const zeros = (): number[] => Array.from({ length: count }, () => 0);
  const lists = (): number[][] => Array.from({ length: count }, () => []);
  const [ended, failed, events, tokens, busyUs] = [zeros(), zeros(), zeros(), zeros(), zeros()];
  const [ttft, itl, e2el] = [lists(), lists(), lists()];
  let isCounted = answers.length > 0;
  for (const answer of answers) {
    if (answer.startUs === 0) continue;
    const untilUs = answer.endUs === 0 ? endedUs : answer.endUs;
    for (let i = placeOf(answer.startUs); i <= placeOf(untilUs); i++)
      busyUs[i]! += Math.max(0, Math.min(untilUs, startedUs + (i + 1) * everyUs) - Math.max(answer.startUs, startedUs + i * everyUs));
    if (answer.error !== null) {
      failed[placeOf(untilUs)]!++;
      continue;
    }
    ended[placeOf(untilUs)]!++;
    e2el[placeOf(answer.startUs)]!.push(untilUs - answer.startUs);
    const own = tokensOf(answer);
    if (own === null) isCounted = false;
    if (answer.events === 0) tokens[placeOf(untilUs)]! += own ?? 0;
    if (answer.events > 0 && !answer.inOneRead) ttft[placeOf(answer.startUs)]!.push(answer.arrival(0));
    for (let i = 0; i < answer.events; i++) {
      const place = placeOf(answer.startUs + answer.arrival(i));
      events[place]!++;
      tokens[place]! += (own ?? 0) / answer.events;
      if (i > 0 && !answer.inOneRead) itl[place]!.push(answer.arrival(i) - answer.arrival(i - 1));
    }
  }
  const widthS = (i: number): number => (Math.min(endedUs, startedUs + (i + 1) * everyUs) - startedUs - i * everyUs) / 1e6;
  const rate = (counts: readonly number[]): number[] => counts.map((value, i) => rounded(value / widthS(i)));
  const medians = (all: readonly number[][]): (number | null)[] => all.map(medianOf);
  return {
    everyUs,
    requestsPerSecond: rate(ended),
    failedPerSecond: rate(failed),
    tokensPerSecond: isCounted ? rate(tokens) : null,
    eventsPerSecond: rate(events),
    underWay: busyUs.map((us, i) => rounded(us / 1e6 / widthS(i))),
    ttftP50Us: medians(ttft),
    itlP50Us: medians(itl),
    e2elP50Us: medians(e2el),
  };
}

function medianOf(values: number[]): number | null {
  if (values.length === 0) return null;
  const sorted = Float64Array.from(values).sort();
  return Math.round(sorted[Math.ceil(sorted.length / 2) - 1]!);
}

/** Four significant digits: a chart shows no more, and a result holds many of them. */
function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
