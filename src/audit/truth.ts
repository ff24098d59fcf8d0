/**
 * The right figures of a run, and what they would be by other definitions. The first are the truth that a tool's report is held
 * against; the second tell why it differs.
 */
import type { Answer, Came } from "./answers.ts";
import { ascending, type Range, statisticOf, sum } from "./samples.ts";
import type { CauseName, Quantity, Statistic } from "./types.ts";

/** A figure by another definition, and what a tool does that reports it. */
export interface Alternative {
  readonly cause: CauseName;
  readonly text: string;
  readonly range: Range;
}

export interface Truth {
  /** Requests of the load itself. */
  readonly answers: readonly Answer[];
  /** Requests before it, which ended before it began. */
  readonly warmUp: readonly Answer[];
  /** Answers that went whole. */
  readonly whole: number;
  /** From the first arrival to the last end, seconds. */
  readonly durationS: number;
  /** How long requests that came at once may have lain unread before the server stamped them. */
  readonly unreadMs: { readonly mean: number; readonly most: number };
  /** null: nothing of it happened, as TTFT without streams. */
  figure(quantity: Quantity, statistic: Statistic): Range | null;
  alternatives(quantity: Quantity, statistic: Statistic): readonly Alternative[];
}

/** One value by another definition, before its statistic is known. */
interface OtherSamples {
  readonly cause: CauseName;
  readonly text: string;
  /** In any order. */
  readonly values: readonly number[];
}

/**
 * The truth of a run. `reported`: requests that the tool reports; where more came, those before the load that ended before it
 * began are its warm-up. `wallS`: how long the tool ran.
 */
export function truthOf({ answers: all }: Came, reported: number | null, wallS: number): Truth {
  const extra = reported === null || reported <= 0 ? 0 : Math.max(0, all.length - reported);
  const warmUps = isApart(all, extra) ? extra : 0;
  const warmUp = all.slice(0, warmUps);
  const answers = all.slice(warmUps);
  const whole = answers.filter(({ outcome }) => outcome === "whole");
  const startMs = answers[0]?.atMs ?? 0;
  const endMs = Math.max(startMs, ...answers.map(({ atMs, endMs: end }) => atMs + (end ?? 0)));
  const durationS = (endMs - startMs) / 1000;
  const answered = answers.filter(isAnswered);
  const ended = answers.filter(({ outcome }) => outcome !== "aborted");
  const among: Readonly<Partial<Record<Quantity, readonly Answer[]>>> = { ttfb: answered, e2eAnswered: answered, e2eEnded: ended };
  const samples = memoized((quantity: Quantity) => ascending(samplesOf(quantity, among[quantity] ?? whole)));
  const otherSamples = memoized((quantity: Quantity) =>
    samplesElse(quantity, answers, whole).map((other) => ({ ...other, values: ascending(other.values) })),
  );
  return {
    answers,
    warmUp,
    whole: whole.length,
    durationS,
    unreadMs: unreadOf(answers),
    figure(quantity, statistic) {
      const count = countOf(quantity, answers, whole, durationS);
      if (count !== null) return { value: count, low: count, high: count };
      return statisticOf(samples(quantity), statistic);
    },
    alternatives: (quantity, statistic) => [
      ...otherSamples(quantity).flatMap(({ cause, text, values }) => {
        const range = statisticOf(values, statistic);
        return range === null ? [] : [{ cause, text, range }];
      }),
      ...averaged(quantity, statistic, whole),
      ...countsElse(quantity, { answers, whole, warmUp, durationS, wallS }),
    ],
  };
}

/** The server needs less than this to read a request: those that follow closer may have come together. */
const readMs = 0.4;

function unreadOf(answers: readonly Answer[]): Truth["unreadMs"] {
  let from = 0;
  const unread = answers.map(({ atMs }, index) => {
    if (index === 0 || atMs - answers[index - 1]!.atMs > readMs) from = atMs;
    return atMs - from;
  });
  return { mean: unread.length === 0 ? 0 : sum(unread) / unread.length, most: Math.max(0, ...unread) };
}

/** Whether HTTP alone shows an answer: errors, and bodies that end early and in order. */
function isAnswered({ outcome, endedInOrder }: Answer): boolean {
  return outcome === "whole" || outcome === "refused" || (outcome === "cut" && endedInOrder);
}

/** Whether the first requests ended before the others came. */
function isApart(all: readonly Answer[], count: number): boolean {
  const next = all[count];
  return count > 0 && next !== undefined && all.slice(0, count).every(({ atMs, endMs }) => endMs !== null && atMs + endMs <= next.atMs);
}

function memoized<Key, Value>(make: (key: Key) => Value): (key: Key) => Value {
  const made = new Map<Key, Value>();
  return (key) => {
    if (!made.has(key)) made.set(key, make(key));
    return made.get(key)!;
  };
}

const streams = (answers: readonly Answer[]): Answer[] => answers.filter(({ tokenMs }) => tokenMs.length > 0);
const gapsOf = (times: readonly number[]): number[] => times.slice(1).map((time, index) => time - times[index]!);
const defined = (values: readonly (number | null)[]): number[] => values.filter((value) => value !== null);

/** Values of a time, one an answer or a gap, of answers that went whole, or of all of them where the quantity says so. */
function samplesOf(quantity: Quantity, whole: readonly Answer[]): number[] {
  const streamed = streams(whole);
  switch (quantity) {
    case "ttft":
      return streamed.map(({ tokenMs }) => tokenMs[0]!);
    case "ttfe":
      return defined(streamed.map(({ firstByteMs }) => firstByteMs));
    case "ttfb":
      return defined(whole.map(({ firstByteMs }) => firstByteMs));
    case "itl":
      return streamed.flatMap(({ tokenMs }) => gapsOf(tokenMs));
    case "itlPerToken":
      return streamed.flatMap(({ tokenMs, tokens }) => gapsOf(tokenMs).map((gap, index) => gap / tokens[index + 1]!));
    case "tpot":
      return streamed.flatMap((answer) => perToken(answer, answer.tokenMs[0]!, answer.outputTokens - 1));
    case "ntpot":
      return streamed.flatMap((answer) => perToken(answer, 0, answer.outputTokens));
    case "e2e":
    case "e2eAnswered":
    case "e2eEnded":
      return defined(whole.map(({ endMs }) => endMs));
    case "outputTokensPerRequest":
      return whole.map(({ outputTokens }) => outputTokens);
    case "inputTokensPerRequest":
      return defined(whole.map(({ promptTokens }) => promptTokens));
    default:
      return [];
  }
}

/** From a moment to the last token, by a number of tokens; nothing where that is none. */
function perToken({ tokenMs }: Answer, fromMs: number, tokens: number): number[] {
  return tokens > 0 ? [(tokenMs.at(-1)! - fromMs) / tokens] : [];
}

/** A figure that is one number; null: it is a statistic of samples. */
function countOf(quantity: Quantity, answers: readonly Answer[], whole: readonly Answer[], durationS: number): number | null {
  switch (quantity) {
    case "requests":
      return answers.length;
    case "completed":
      return whole.length;
    case "failed":
      return answers.filter(({ outcome }) => outcome === "refused" || outcome === "cut").length;
    case "outputTokens":
      return sum(whole.map(({ outputTokens }) => outputTokens));
    case "inputTokens":
      return sum(defined(whole.map(({ promptTokens }) => promptTokens)));
    case "requestRate":
      return durationS > 0 ? whole.length / durationS : null;
    case "answerRate":
      return durationS > 0 ? answers.filter(isAnswered).length / durationS : null;
    case "outputTokenRate":
      return durationS > 0 ? sum(whole.map(({ outputTokens }) => outputTokens)) / durationS : null;
    case "concurrency":
      return durationS > 0 ? sum(defined(answers.map(({ endMs }) => endMs))) / 1000 / durationS : null;
    case "askedConcurrency":
      return mostAtOnce(answers);
    case "askedRate":
      return arrivalsPerSecond(answers);
    default:
      return null;
  }
}

/** Most requests under way at once. */
export function mostAtOnce(answers: readonly Answer[]): number {
  const changes = answers.flatMap(({ atMs, endMs }) => [
    { at: atMs, by: 1 },
    { at: atMs + (endMs ?? Infinity), by: -1 },
  ]);
  // What ends as another begins was not beside it.
  changes.sort((a, b) => a.at - b.at || a.by - b.by);
  let now = 0;
  let most = 0;
  for (const { by } of changes) most = Math.max(most, (now += by));
  return most;
}

/** From the first arrival to the last; null: fewer than two, or all at once. */
export function arrivalsPerSecond(answers: readonly Answer[]): number | null {
  const spanMs = answers.length < 2 ? 0 : answers.at(-1)!.atMs - answers[0]!.atMs;
  return spanMs > 0 ? ((answers.length - 1) / spanMs) * 1000 : null;
}

const roleText = "takes the chunk of the role, which holds no token, for the first token";
const holdText = "sees each chunk when the next one comes: its client holds a chunk until its end is certain";

/** Times by other definitions. */
function samplesElse(quantity: Quantity, answers: readonly Answer[], whole: readonly Answer[]): OtherSamples[] {
  const streamed = streams(whole);
  const cutToo = streams(answers.filter(({ outcome }) => outcome === "whole" || outcome === "cut"));
  const first = (answer: Answer): number => answer.firstByteMs ?? answer.tokenMs[0]!;
  const contentMs = ({ tokenMs, tokens, reasoning }: Answer): number => {
    let before = 0;
    return tokenMs.find((_, index) => (before += tokens[index]!) > reasoning) ?? tokenMs.at(-1)!;
  };
  const answered = answers.filter(({ outcome }) => outcome !== "aborted");
  switch (quantity) {
    case "ttft":
      return [
        { cause: "counts-role-chunk", text: roleText, values: streamed.map(first) },
        {
          cause: "first-content",
          text: "counts to the first token of content; tokens of reasoning, which come before, do not count",
          values: streamed.map(contentMs),
        },
        { cause: "holds-chunks", text: holdText, values: streamed.map(({ tokenMs }) => tokenMs[1] ?? tokenMs[0]!) },
        {
          cause: "reads-whole-body",
          text: "sees the first token with the end of the answer: something buffers it whole",
          values: defined(streamed.map(({ endMs }) => endMs)),
        },
        { cause: "counts-cut", text: "counts answers that were cut", values: cutToo.map(({ tokenMs }) => tokenMs[0]!) },
      ];
    case "ttfb":
      return [
        { cause: "whole-answers", text: "counts whole answers alone", values: defined(whole.map(({ firstByteMs }) => firstByteMs)) },
        {
          cause: "reads-whole-body",
          text: "ends with the whole answer",
          values: defined(answers.filter(isAnswered).map(({ endMs }) => endMs)),
        },
      ];
    case "e2eAnswered":
      return [
        {
          cause: "first-byte",
          text: "ends with the first byte of the answer",
          values: defined(answers.filter(isAnswered).map(({ firstByteMs }) => firstByteMs)),
        },
        { cause: "whole-answers", text: "counts whole answers alone", values: defined(whole.map(({ endMs }) => endMs)) },
        { cause: "counts-cut", text: "counts answers that were cut by a reset too", values: defined(answered.map(({ endMs }) => endMs)) },
        {
          cause: "counts-failed",
          text: "does not count what was cut",
          values: defined(answers.filter(({ outcome }) => outcome === "whole" || outcome === "refused").map(({ endMs }) => endMs)),
        },
      ];
    case "e2eEnded":
      return [
        { cause: "whole-answers", text: "counts whole answers alone", values: defined(whole.map(({ endMs }) => endMs)) },
        {
          cause: "counts-failed",
          text: "does not count what a reset cut",
          values: defined(answers.filter(isAnswered).map(({ endMs }) => endMs)),
        },
      ];
    case "ttfe":
      return [
        {
          cause: "counts-failed",
          text: "counts error answers among its latencies",
          values: defined(answered.map(({ firstByteMs }) => firstByteMs)),
        },
      ];
    case "itl":
    case "itlPerToken": {
      const more = (role: boolean, zeros: (answer: Answer) => number): number[] =>
        streamed.flatMap((answer) => [
          ...(role ? [answer.tokenMs[0]! - first(answer)] : []),
          ...gapsOf(answer.tokenMs),
          ...Array<number>(Math.max(0, zeros(answer))).fill(0),
        ]);
      const held = streamed.flatMap(({ tokenMs }) => (tokenMs.length < 2 ? [] : [...gapsOf(tokenMs).slice(1), 0]));
      const own = quantity === "itl" ? "itlPerToken" : "itl";
      const text = quantity === "itl" ? "divides each gap by the tokens of its chunk" : "counts chunks and not tokens";
      return [
        { cause: quantity === "itl" ? "per-token" : "counts-chunks", text, values: samplesOf(own, whole) },
        {
          cause: quantity === "itl" ? "per-token" : "per-chunk",
          text: "is a mean of each answer, by its tokens",
          values: samplesOf("tpot", whole),
        },
        { cause: "includes-first-token", text: "has the wait for the first token in it", values: samplesOf("ntpot", whole) },
        {
          cause: "counts-role-chunk",
          text: "takes the time from the chunk of the role to the first token for a gap",
          values: more(true, () => 0),
        },
        { cause: "counts-all-events", text: "counts the chunk of the finish as a token", values: more(false, () => 1) },
        { cause: "counts-all-events", text: "counts the chunks of role and finish as tokens", values: more(true, () => 1) },
        {
          cause: "counts-all-events",
          text: "counts the chunks of role, finish and usage as tokens",
          values: more(true, ({ events, tokenMs }) => events - tokenMs.length - 1),
        },
        { cause: "holds-chunks", text: holdText, values: held },
        { cause: "counts-cut", text: "counts answers that were cut", values: cutToo.flatMap(({ tokenMs }) => gapsOf(tokenMs)) },
      ];
    }
    case "tpot":
      return [
        {
          cause: "counts-chunks",
          text: "divides by chunks and not by tokens",
          values: streamed.flatMap((answer) => perToken(answer, answer.tokenMs[0]!, answer.tokenMs.length - 1)),
        },
        {
          cause: "counts-role-chunk",
          text: "begins with the chunk of the role",
          values: streamed.flatMap((answer) => perToken(answer, first(answer), answer.outputTokens - 1)),
        },
        {
          cause: "counts-all-events",
          text: "counts the chunk of role or finish as a token",
          values: streamed.flatMap((answer) => perToken(answer, answer.tokenMs[0]!, answer.outputTokens)),
        },
        {
          cause: "counts-all-events",
          text: "counts the chunks of role and finish as tokens",
          values: streamed.flatMap((answer) => perToken(answer, answer.tokenMs[0]!, answer.outputTokens + 1)),
        },
        {
          cause: "first-content",
          text: "begins with the first token of content and divides by all tokens",
          values: streamed.flatMap((answer) => perToken(answer, contentMs(answer), answer.outputTokens - 1)),
        },
        { cause: "includes-first-token", text: "has the wait for the first token in it", values: samplesOf("ntpot", whole) },
        {
          cause: "holds-chunks",
          text: holdText,
          values: streamed.flatMap((answer) => perToken(answer, answer.tokenMs[1] ?? 0, answer.outputTokens - 1)),
        },
      ];
    case "ntpot":
      return [
        {
          cause: "counts-chunks",
          text: "divides by chunks and not by tokens",
          values: streamed.flatMap((answer) => perToken(answer, 0, answer.tokenMs.length)),
        },
        {
          cause: "counts-all-events",
          text: "counts chunks without a token too",
          values: streamed.flatMap((answer) => perToken(answer, 0, answer.events)),
        },
      ];
    case "e2e":
      return [
        {
          cause: "first-byte",
          text: "ends with the first byte of the answer",
          values: defined(whole.map(({ firstByteMs }) => firstByteMs)),
        },
        {
          cause: "counts-cut",
          text: "counts answers that were cut",
          values: defined(answers.filter(({ outcome }) => outcome === "whole" || outcome === "cut").map(({ endMs }) => endMs)),
        },
        {
          cause: "counts-cut",
          text: "counts answers that were cut in order",
          values: defined(
            answers
              .filter(({ outcome, endedInOrder }) => outcome === "whole" || (outcome === "cut" && endedInOrder))
              .map(({ endMs }) => endMs),
          ),
        },
        {
          cause: "counts-failed",
          text: "counts error answers among its latencies",
          values: defined(answers.filter(({ outcome }) => outcome === "whole" || outcome === "refused").map(({ endMs }) => endMs)),
        },
        {
          cause: "counts-failed",
          text: "counts error answers and cut ones among its latencies",
          values: defined(answered.map(({ endMs }) => endMs)),
        },
      ];
    case "outputTokensPerRequest":
      return [
        { cause: "counts-chunks", text: "counts chunks and not tokens", values: whole.map(({ tokenMs }) => tokenMs.length) },
        {
          cause: "counts-all-events",
          text: "counts the chunk of the role or of the finish as a token",
          values: whole.map(({ tokenMs }) => tokenMs.length + 1),
        },
        {
          cause: "counts-all-events",
          text: "counts the chunks of role and finish as tokens",
          values: whole.map(({ tokenMs }) => tokenMs.length + 2),
        },
        { cause: "counts-all-events", text: "counts every event as a token", values: whole.map(({ events }) => events) },
        {
          cause: "first-content",
          text: "does not count tokens of reasoning",
          values: whole.map(({ outputTokens, reasoning }) => outputTokens - reasoning),
        },
        { cause: "counts-cut", text: "counts answers that were cut", values: cutToo.map(({ outputTokens }) => outputTokens) },
      ];
    default:
      return [];
  }
}

/** Percentiles that are means of percentiles. */
function averaged(quantity: Quantity, statistic: Statistic, whole: readonly Answer[]): Alternative[] {
  if (!/^p\d/.test(statistic)) return [];
  const groupings: readonly (readonly [string, (answer: Answer) => unknown])[] = [
    ["each answer", (answer) => answer],
    ["each connection", ({ connection }) => connection],
    ["each second", ({ atMs, endMs }) => Math.floor((atMs + (endMs ?? 0)) / 1000)],
    ["each prompt", ({ prompt }) => prompt],
  ];
  return groupings.flatMap(([of, keyOf]): Alternative[] => {
    const groups = new Map<unknown, Answer[]>();
    for (const answer of whole) {
      const key = keyOf(answer);
      const group = groups.get(key);
      if (group === undefined) groups.set(key, [answer]);
      else group.push(answer);
    }
    if (groups.size < 2) return [];
    const ranges = [...groups.values()].flatMap((group) => statisticOf(ascending(samplesOf(quantity, group)), statistic) ?? []);
    if (ranges.length === 0) return [];
    const meanOf = (pick: (range: Range) => number): number => sum(ranges.map(pick)) / ranges.length;
    const range = { value: meanOf(({ value }) => value), low: meanOf(({ low }) => low), high: meanOf(({ high }) => high) };
    return [{ cause: "averages-percentiles", text: `is the mean of the ${statistic} of ${of}, and no percentile of all`, range }];
  });
}

interface Parts {
  readonly answers: readonly Answer[];
  readonly whole: readonly Answer[];
  readonly warmUp: readonly Answer[];
  readonly durationS: number;
  readonly wallS: number;
}

/** Counts and rates by other definitions. */
function countsElse(quantity: Quantity, { answers, whole, warmUp, durationS, wallS }: Parts): Alternative[] {
  const exactly = (cause: CauseName, text: string, value: number): Alternative => ({
    cause,
    text,
    range: { value, low: value, high: value },
  });
  const cut = answers.filter(({ outcome }) => outcome === "cut");
  const inOrder = cut.filter(({ endedInOrder }) => endedInOrder).length;
  const refused = answers.filter(({ outcome }) => outcome === "refused");
  const tokens = sum(whole.map(({ outputTokens }) => outputTokens));
  const chunks = sum(whole.map(({ tokenMs }) => tokenMs.length));
  const eventCounts: readonly (readonly [CauseName, string, number])[] = [
    ["counts-chunks", "counts chunks and not tokens", chunks],
    ["counts-all-events", "counts the chunk of the role or of the finish as a token", chunks + whole.length],
    ["counts-all-events", "counts the chunks of role and finish as tokens", chunks + 2 * whole.length],
    ["counts-all-events", "counts every event as a token", sum(whole.map(({ events }) => events))],
    ["counts-cut", "counts the tokens of answers that were cut", tokens + sum(cut.map(({ outputTokens }) => outputTokens))],
    ["first-content", "does not count tokens of reasoning", tokens - sum(whole.map(({ reasoning }) => reasoning))],
  ];
  switch (quantity) {
    case "completed":
      return [
        exactly("counts-cut", "counts answers that were cut as completed", whole.length + cut.length),
        exactly("counts-cut", "counts answers that were cut in order as completed", whole.length + inOrder),
        exactly("counts-failed", "counts error answers as completed", whole.length + refused.length),
        exactly("counts-failed", "counts every answer as completed, cut ones and errors too", whole.length + refused.length + cut.length),
        exactly("counts-warm-up", "counts its warm-up", whole.length + warmUp.length),
      ];
    case "failed":
      return [
        exactly("counts-cut", "does not count answers that were cut as failed", refused.length),
        exactly("counts-cut", "does not count answers that were cut in order as failed", refused.length + cut.length - inOrder),
      ];
    case "requests":
      return [
        exactly("counts-warm-up", "counts its warm-up", answers.length + warmUp.length),
        exactly("counts-failed", "counts completed requests alone", whole.length),
      ];
    case "outputTokens":
      return eventCounts.map(([cause, text, value]) => exactly(cause, text, value));
    case "outputTokenRate":
      if (!(durationS > 0)) return [];
      return [
        ...eventCounts.map(([cause, text, value]) => exactly(cause, text, value / durationS)),
        exactly("whole-run", "divides by the time of its whole run, with start and end", tokens / wallS),
      ];
    case "answerRate": {
      const answered = answers.filter(isAnswered).length;
      const counts = [
        exactCount("whole-answers", "counts whole answers alone", whole.length),
        exactCount("counts-cut", "counts answers that were cut by a reset too", whole.length + refused.length + cut.length),
      ];
      return ratesElse(answered, counts, answers, durationS, wallS);
    }
    case "requestRate": {
      const counts = [
        exactCount("counts-failed", "counts error answers too", whole.length + refused.length),
        exactCount("counts-failed", "counts every answer, cut ones and errors too", whole.length + refused.length + cut.length),
        exactCount("counts-cut", "counts answers that were cut too", whole.length + cut.length),
        exactCount("counts-cut", "counts answers that were cut in order too", whole.length + inOrder),
      ];
      return ratesElse(whole.length, counts, answers, durationS, wallS);
    }
    default:
      return [];
  }
}

/** What a rate counts, by another definition. */
interface OtherCount {
  readonly cause: CauseName;
  readonly text: string;
  readonly count: number;
}

function exactCount(cause: CauseName, text: string, count: number): OtherCount {
  return { cause, text, count };
}

/** A tool that counts by seconds has begun to count this long before its first request came, at most. */
const leadS = 0.05;

/** Rates by another count, by another time, or by both. */
function ratesElse(
  right: number,
  counts: readonly OtherCount[],
  answers: readonly Answer[],
  durationS: number,
  wallS: number,
): Alternative[] {
  if (!(durationS > 0)) return [];
  const startMs = answers[0]?.atMs ?? 0;
  const headMs = Math.min(...answers.flatMap(({ atMs, firstByteMs }) => (firstByteMs === null ? [] : [atMs + firstByteMs])));
  const fromHeadS = durationS - (headMs - startMs) / 1000;
  const times: readonly (readonly [CauseName, string, number, number])[] = [
    ["whole-run", "divides by the time of its whole run, with start and end", wallS, wallS],
    ...(fromHeadS > 0
      ? ([["from-first-head", "divides by the time from the head of the first answer to the last end", fromHeadS, fromHeadS]] as const)
      : []),
    [
      "whole-seconds",
      "is the mean of counts of whole seconds, of which the last is not full",
      Math.ceil(durationS),
      Math.ceil(durationS + leadS),
    ],
  ];
  const range = (count: number, leastS: number, mostS: number): Range => ({
    value: count / leastS,
    low: count / mostS,
    high: count / leastS,
  });
  return [
    ...counts.map(({ cause, text, count }) => ({ cause, text, range: range(count, durationS, durationS) })),
    ...times.map(([cause, text, leastS, mostS]) => ({ cause, text, range: range(right, leastS, mostS) })),
    ...counts.flatMap(({ cause, text, count }) =>
      times.map(([, time, leastS, mostS]) => ({ cause, text: `${text}, and ${time}`, range: range(count, leastS, mostS) })),
    ),
  ];
}
