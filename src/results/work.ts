/**
 * Whether two arms did equal work. A server that answers half the tokens on one protocol, or from a cache, is faster there and
 * shows nothing about the protocol: no verdict is built on such arms.
 */
import type { ArmResult, TokenCounting, Work, WorkPart } from "./types.ts";

/** Every part of the work that is compared. */
export const workParts: readonly WorkPart[] = ["tokens", "events", "contentBytes", "finishReasons", "reads"];

/** So far apart two arms may be, as a share of the larger: servers that sample their answers scatter a little. */
const tolerance = 0.02;
/**
 * So far apart the shares of answers that came in one read may be. It is wide, because a transport gathers writes as well; one
 * arm that streams beside one that does not lies beyond it.
 */
const oneReadTolerance = 0.5;

/** What counts for less comes first: a sum of several rounds is named by its weakest. */
const strength: readonly TokenCounting[] = ["events", "tokenizer", "usage"];

/** The work of answers of which nothing is known. */
export const unseenWork: Work = {
  answers: 0,
  tokensCountedBy: null,
  tokens: null,
  events: null,
  contentBytes: null,
  bodyBytes: null,
  finishReasons: null,
  exact: false,
  short: 0,
  withoutToken: 0,
  withoutFinishReason: 0,
  inOneRead: 0,
  contentReads: null,
  contradicted: 0,
};

/** The work of several rounds, or of several runs of one round; undefined for none. */
export function addWork(list: readonly (Work | null | undefined)[]): Work | undefined {
  const [first, ...rest] = list.filter((work) => work !== null && work !== undefined);
  return first === undefined ? undefined : rest.reduce(together, first);
}

function together(a: Work, b: Work): Work {
  const sum = (x: number | null, y: number | null): number | null => (x === null || y === null ? null : x + y);
  const sameCounting = a.tokensCountedBy === b.tokensCountedBy;
  const finishReasons =
    a.finishReasons === null || b.finishReasons === null
      ? null
      : Object.fromEntries(
          [...new Set([...Object.keys(a.finishReasons), ...Object.keys(b.finishReasons)])].map((reason) => [
            reason,
            (a.finishReasons?.[reason] ?? 0) + (b.finishReasons?.[reason] ?? 0),
          ]),
        );
  return {
    answers: a.answers + b.answers,
    tokensCountedBy: weaker(a.tokensCountedBy, b.tokensCountedBy),
    tokens: sameCounting ? sum(a.tokens, b.tokens) : null,
    events: sum(a.events, b.events),
    contentBytes: sum(a.contentBytes, b.contentBytes),
    bodyBytes: sum(a.bodyBytes, b.bodyBytes),
    finishReasons,
    exact: a.exact && b.exact,
    short: a.short + b.short,
    withoutToken: a.withoutToken + b.withoutToken,
    withoutFinishReason: a.withoutFinishReason + b.withoutFinishReason,
    inOneRead: a.inOneRead + b.inOneRead,
    contentReads: sum(a.contentReads, b.contentReads),
    contradicted: a.contradicted + b.contradicted,
  };
}

function weaker(a: TokenCounting | null, b: TokenCounting | null): TokenCounting | null {
  return strength.find((counting) => counting === a || counting === b) ?? null;
}

/**
 * In what the work of two arms differs, each in one line with both figures; empty: in nothing that was seen. Tokens, events and
 * bytes are an answer's, and may lie 2% apart; tokens of which an exact number was ordered may not differ at all. Finish
 * reasons are shares of all answers.
 */
export function unequalWork(baseline: Work | undefined, candidate: Work | undefined, varies: readonly WorkPart[] = []): string[] {
  if (baseline === undefined || candidate === undefined || baseline.answers === 0 || candidate.answers === 0) return [];
  const found: string[] = [];
  const counted = (part: WorkPart, name: string, from: number | null, to: number | null, most = tolerance): void => {
    if (varies.includes(part) || from === null || to === null) return;
    const [a, b] = [from / baseline.answers, to / candidate.answers];
    if (Math.abs(a - b) <= most * Math.max(a, b)) return;
    const change = a === 0 ? "" : ` (${b > a ? "+" : ""}${((b / a - 1) * 100).toFixed(1)}%)`;
    found.push(`${name} an answer ${figure(a)} and ${figure(b)}${change}`);
  };
  const { tokensCountedBy } = baseline;
  // What was counted by different things cannot be held against each other; events have a line of their own.
  if (tokensCountedBy !== null && tokensCountedBy !== "events" && tokensCountedBy === candidate.tokensCountedBy)
    counted("tokens", "tokens", baseline.tokens, candidate.tokens, baseline.exact && candidate.exact ? 0 : tolerance);
  counted("events", "events", baseline.events, candidate.events);
  counted("contentBytes", "bytes of content", baseline.contentBytes, candidate.contentBytes);
  counted("contentBytes", "bytes of body", baseline.bodyBytes, candidate.bodyBytes);
  if (!varies.includes("finishReasons")) found.push(...unequalReasons(baseline, candidate));
  const shares = [baseline, candidate].map(({ inOneRead, answers }) => inOneRead / answers);
  if (!varies.includes("reads") && Math.abs(shares[0]! - shares[1]!) > oneReadTolerance)
    found.push(`answers that came in one read ${percent(shares[0]!)} and ${percent(shares[1]!)}`);
  return found;
}

function unequalReasons(baseline: Work, candidate: Work): string[] {
  if (baseline.finishReasons === null || candidate.finishReasons === null) return [];
  return [...new Set([...Object.keys(baseline.finishReasons), ...Object.keys(candidate.finishReasons)])].flatMap((reason) => {
    const [a, b] = [baseline, candidate].map((work) => (work.finishReasons?.[reason] ?? 0) / work.answers) as [number, number];
    return Math.abs(a - b) <= tolerance ? [] : [`answers that end with "${reason}" ${percent(a)} and ${percent(b)}`];
  });
}

/** What a reader should know of an arm's work, each in one line. */
export function workNotes({ id, engine, work, metrics }: Pick<ArmResult, "id" | "engine" | "work" | "metrics">): string[] {
  if (work === undefined || work.answers === 0) return [];
  const { answers, tokensCountedBy, tokens, events, contentReads } = work;
  const of = (count: number): string => `${id}: ${count} of ${answers} answers`;
  const notes: string[] = [];
  if (work.short > 0) notes.push(`${of(work.short)} held fewer tokens than were asked for`);
  if (work.withoutToken > 0) notes.push(`${of(work.withoutToken)} held no token`);
  if (work.withoutFinishReason > 0) notes.push(`${of(work.withoutFinishReason)} ended without a finish reason`);
  if (work.inOneRead > 0) {
    // Behind a gateway they are measured: it is the gateway that gathers.
    const isMeasured = (metrics.ttft?.count ?? 0) > answers - work.inOneRead;
    const why = isMeasured ? "gathered on the way" : "from a cache or unstreamed: their TTFT and ITL cannot be told and are left out";
    notes.push(`${of(work.inOneRead)} came in one read, ${why}`);
  }
  if (tokensCountedBy === "events") notes.push(`${id}: no usage: events were counted, and how many tokens they hold is not known`);
  else if (tokens !== null && events !== null && tokens > 1.05 * events)
    notes.push(
      `${id}: ${(tokens / events).toFixed(1)} tokens in an event, by ${tokensCountedBy}: ITL is the gap between events, TPOT that of tokens`,
    );
  if (work.contradicted > 0)
    notes.push(
      `${id}: usage contradicts what came in ${work.contradicted} of ${answers} answers: ${perAnswer(tokens, answers)} tokens an answer by ${tokensCountedBy}, in ${perAnswer(events, answers)} events and ${perAnswer(work.contentBytes, answers)} bytes of content`,
    );
  const isCoalesced = events !== null && contentReads !== null && contentReads > 0 && events > 1.5 * contentReads;
  // The stamps of our own server say how its tokens were meant.
  if (isCoalesced && engine === "external" && work.inOneRead < answers)
    notes.push(`${id}: ${(events / contentReads).toFixed(1)} events in a read: gaps between events of one read are 0`);
  return notes;
}

function perAnswer(sum: number | null, answers: number): string {
  return sum === null ? "unknown" : figure(sum / answers);
}

function figure(value: number): string {
  return value.toFixed(1).replace(/\.0$/, "");
}

function percent(share: number): string {
  return `${figure(share * 100)}%`;
}
