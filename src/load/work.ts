/** What the answers of a run held, beside when it came. */
import type { TokenCounting, Work } from "../results/types.ts";
import type { Answer } from "./answer.ts";

/** Tokens that a request asks for, exactly or at most; null where that is not known, or it asks for no text. */
function askedOf({ planned: { tokens, maxTokens } }: Answer): number | null {
  return tokens ?? maxTokens ?? null;
}

/** What is counted as tokens of these answers: one thing for all of them. null: one of them says nothing of tokens. */
function countingOf(answers: readonly Answer[]): TokenCounting | null {
  if (answers.length === 0) return null;
  // An answer that was given up ends before its usage. Its events are its tokens where the whole answers show that they are.
  const whole = answers.filter(({ aborted }) => !aborted);
  const isOneTokenAnEvent = whole.length > 0 && whole.every(({ usage, events }) => usage === events);
  if (answers.every((answer) => answer.usage >= 0 || (answer.aborted && isOneTokenAnEvent))) return "usage";
  if (answers.every(({ tokenized }) => tokenized >= 0)) return "tokenizer";
  return answers.every(({ streamed, usage }) => streamed || usage >= 0) ? "events" : null;
}

/** Tokens of an answer by what is counted; null: events are, which are no tokens. */
export function tokensIn({ usage, tokenized, events }: Answer, counting: TokenCounting | null): number | null {
  if (counting === "usage") return usage >= 0 ? usage : events;
  return counting === "tokenizer" ? tokenized : null;
}

/** What the answers held, those that were given up among them. */
export function workOf(answers: readonly Answer[]): Work {
  const counting = countingOf(answers);
  const tokensOf = (answer: Answer): number => tokensIn(answer, counting) ?? answer.events;
  const texts = answers.filter((answer) => answer.streamed || answer.usage >= 0 || askedOf(answer) !== null);
  const streams = answers.filter(({ streamed }) => streamed);
  const finishReasons: Record<string, number> = {};
  for (const { aborted, finishReason, planned } of texts) {
    const reason = aborted ? (planned.recorded === undefined ? "given up" : "broken off") : (finishReason ?? "none");
    finishReasons[reason] = (finishReasons[reason] ?? 0) + 1;
  }
  const sum = (of: readonly Answer[], value: (answer: Answer) => number): number | null =>
    of.length === 0 ? null : of.reduce((total, answer) => total + value(answer), 0);
  const count = (of: readonly Answer[], is: (answer: Answer) => boolean): number => of.filter(is).length;
  /** Events that hold several tokens are fewer than those that were asked for, and an answer cut at its limit says so. */
  const isShort = (answer: Answer): boolean => {
    const asked = askedOf(answer);
    if (asked === null || counting === null || answer.aborted || tokensOf(answer) >= asked) return false;
    return counting !== "events" || answer.finishReason !== "length";
  };
  return {
    answers: answers.length,
    tokensCountedBy: counting,
    tokens: counting === null || counting === "events" ? null : sum(answers, tokensOf),
    events: sum(streams, ({ events }) => events),
    contentBytes: sum(texts, ({ contentBytes }) => contentBytes),
    // Of recorded answers each is held against its own.
    bodyBytes: answers.every(({ planned }) => planned.recorded !== undefined) ? sum(answers, ({ bodyBytes }) => bodyBytes) : null,
    finishReasons: texts.length === 0 ? null : finishReasons,
    exact: answers.length > 0 && answers.every(({ planned }) => planned.tokens !== null),
    short: count(texts, isShort),
    withoutToken: count(texts, (answer) => askedOf(answer) !== null && answer.contentBytes === 0),
    withoutFinishReason: count(streams, ({ aborted, finishReason }) => !aborted && finishReason === null),
    inOneRead: count(streams, ({ inOneRead }) => inOneRead),
    contentReads: sum(streams, ({ contentReads }) => contentReads),
    contradicted: count(streams, ({ contradicted }) => contradicted),
  };
}
