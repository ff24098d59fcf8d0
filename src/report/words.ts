/** Answers in words: the same on the terminal, on the page and in what other tools are given. */
import {
  type Answer,
  type Answers,
  type AnswerVerdict,
  type Belief,
  type Contest,
  countVerdicts,
  type Reading,
} from "../results/answers.ts";
import { metricFacts } from "../results/metrics.ts";
import { scenarioLabel } from "../results/scenarios.ts";
import { workNotes } from "../results/work.ts";
import type { ClaimVerdict, Comparison, Interval, MetricName, ScenarioResult, Statistic } from "../results/types.ts";
import { change, differenceWithInterval, percent } from "./format.ts";

/** Times in which more is slower; parts of a time, CPU time and bytes are less or more. */
const times: ReadonlySet<MetricName> = new Set<MetricName>([
  "ttfe",
  "ttft",
  "itl",
  "itlPerToken",
  "tpot",
  "e2el",
  "ttftFromIntended",
  "e2elFromIntended",
  "scheduleDelay",
  "connect",
  "durationUs",
]);

/** Where a value stands in a phrase, for metrics whose label is none to read. */
const phrases: Readonly<Partial<Record<MetricName, string>>> = {
  durationUs: "done in #",
  requestsPerSecond: "req/s #",
  tokensPerSecond: "tok/s #",
  eventsPerSecond: "events/s #",
  serverCpuUsPerRequest: "CPU/req #",
  serverCpuUsPerToken: "CPU/token #",
  bytesSentPerRequest: "# sent",
  bytesReceivedPerRequest: "# read",
  ttftFromIntended: "TTFT* $ #",
  e2elFromIntended: "E2E* $ #",
  e2el: "E2E $ #",
};

/** What the star at a time means. */
export const fromPlanned = "* from the planned start, waiting for a free stream or connection included";

/** Whether any of the answers needs `fromPlanned`. */
export function hasPlannedStart(answers: readonly Answer[]): boolean {
  return answers.some(({ reading }) => reading !== null && reading.comparison.metric.endsWith("FromIntended"));
}

function phraseOf(metric: MetricName, statistic: Statistic): string {
  const { label, perRound } = metricFacts[metric];
  const phrase = phrases[metric] ?? (perRound && statistic === "mean" ? `${label} #` : `${label} $ #`);
  return phrase.replace("$", statistic);
}

/** A scale with a word, by the size of the larger value. */
function scaleOf(metric: MetricName, largest: number): { readonly by: number; readonly unit: string } {
  const { unit } = metricFacts[metric];
  if (unit === "us") {
    if (/Cpu/u.test(metric)) return largest < 10_000 ? { by: 1, unit: " µs" } : { by: 1000, unit: " ms" };
    return largest < 1e7 ? { by: 1000, unit: " ms" } : { by: 1e6, unit: " s" };
  }
  if (unit === "bytes") {
    if (largest < 1e4) return { by: 1, unit: " B" };
    if (largest < 1e7) return { by: 1e3, unit: " kB" };
    return largest < 1e10 ? { by: 1e6, unit: " MB" } : { by: 1e9, unit: " GB" };
  }
  return unit === "ratio" ? { by: 0.01, unit: "%" } : { by: 1, unit: "" };
}

/** By the decimals: making one for each number is slow. */
const formats = Array.from({ length: 10 }, (_, decimals) => new Intl.NumberFormat("en-US", { maximumFractionDigits: decimals }));

/** Three significant digits, `more` of them, and every digit before the point. */
function figure(value: number, more: number = 0): string {
  const size = Math.abs(value);
  const decimals = (size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 || size === 0 ? 2 : Math.min(6, 2 - Math.floor(Math.log10(size)))) + more;
  return formats[decimals]!.format(value).replace(/^-/u, "−");
}

/** Digits beyond three that two values may take to differ in what is shown. */
const mostDigitsMore = 3;

/**
 * Both arms' values: "done in 8.1 ms instead of 29.3", with `isShort` "done in 8.1 ms, not 29.3"; "TTFT p50 50.8 ms on both" where
 * what is shown is equal. Empty where nothing was compared.
 */
export function valuesText({ comparison, baseline, candidate }: Reading, isShort: boolean = false): string {
  if (baseline === null || candidate === null) return "";
  const { metric, statistic, verdict } = comparison;
  const { by, unit } = scaleOf(metric, Math.max(Math.abs(baseline), Math.abs(candidate)));
  // A difference is not shown as two equal values.
  const most = verdict === "faster" || verdict === "slower" ? mostDigitsMore : 0;
  const shown = (more: number): readonly [string, string] => [figure(candidate / by, more), figure(baseline / by, more)];
  let more = 0;
  while (more < most && shown(more)[0] === shown(more)[1]) more++;
  const [to, from] = shown(more);
  const phrase = phraseOf(metric, statistic);
  if (to === from) return phrase.replace("#", `${to}${unit}`).concat(" on both");
  const text = phrase.replace("#", `${to}${unit}`);
  return isShort ? `${text}, not ${from}` : `${text} instead of ${from}`;
}

/** One value of an arm: "TTFT p50 50.8 ms". */
export function valueText(metric: MetricName, statistic: Statistic, value: number): string {
  const { by, unit } = scaleOf(metric, Math.abs(value));
  return phraseOf(metric, statistic).replace("#", `${figure(value / by)}${unit}`);
}

/** Whole percents, and a decimal where they are small or without any spread. */
function shares({ estimate, low, high }: Interval, sign: (value: number) => string): [string, string, string] {
  const isFine = Math.abs(estimate) < 0.1 || low === high;
  const one = (share: number): string => `${sign(share)}${Math.abs(share * 100).toFixed(isFine ? 1 : 0)}`;
  return [one(estimate), one(low), one(high)];
}

/** From this ratio on it is told as a factor. */
const factorFrom = 2;

/**
 * The effect with its interval, in words where it is a difference: "72% faster (66 to 75)", which is the share of time that is
 * saved; "45% less (40 to 49)" of CPU or bytes, "51% more (42 to 59)" of a rate, "18× as long (17 to 19)". Else with signs:
 * "+0.2% (−0.2 to +0.7)". Empty where nothing was compared.
 */
export function effectText({ metric, verdict, ratio, difference }: Comparison): string {
  if (ratio === null) return difference === null ? "" : differenceWithInterval(difference, metric).replaceAll("\u00A0", " ");
  const isExact = ratio.low === ratio.high;
  if (verdict !== "faster" && verdict !== "slower") {
    if (ratio.high >= 10) return `${change(ratio.estimate)} (${change(ratio.low)} to ${change(ratio.high)})`;
    const minusOne = { estimate: ratio.estimate - 1, low: ratio.low - 1, high: ratio.high - 1 };
    const [estimate, low, high] = shares(minusOne, (share) => (Math.abs(share) < 5e-4 ? "" : share < 0 ? "−" : "+"));
    return `${estimate}% (${isExact ? "±0" : `${low} to ${high}`})`;
  }
  const isTime = times.has(metric);
  if (ratio.estimate >= factorFrom) {
    const one = (factor: number): string => (factor >= 10 ? factor.toFixed(0) : factor.toFixed(1));
    const unit = metricFacts[metric].unit;
    const as = isTime ? "long" : unit === "1/s" || unit === "count" ? "many" : "much";
    return `${one(ratio.estimate)}× as ${as} (${isExact ? "±0" : `${one(ratio.low)} to ${one(ratio.high)}`})`;
  }
  const isMore = ratio.estimate > 1;
  const gained = isMore
    ? { estimate: ratio.estimate - 1, low: ratio.low - 1, high: ratio.high - 1 }
    : { estimate: 1 - ratio.estimate, low: 1 - ratio.high, high: 1 - ratio.low };
  const [estimate, low, high] = shares(gained, (share) => (share < 0 ? "−" : ""));
  const word = isTime ? (isMore ? "slower" : "faster") : isMore ? "more" : "less";
  return `${estimate}% ${word} (${isExact ? "±0" : low === high ? "±0.0" : `${low} to ${high}`})`;
}

/** "1,000 streams in step, 4 connections". */
export function questionText({ question, detail }: Answer): string {
  return detail === "" ? question : `${question}, ${detail}`;
}

/** "HTTP/2 against HTTP/1.1". */
export function contestTitle({ candidate, baseline }: Contest): string {
  return baseline === null ? candidate : `${candidate} against ${baseline}`;
}

const countWords: Readonly<Record<AnswerVerdict, (count: number) => string>> = {
  helps: (count) => `helps in ${count}`,
  mixed: (count) => `helps and hurts in ${count}`,
  "no change": (count) => `makes no difference in ${count}`,
  hurts: (count) => `hurts in ${count}`,
  undecided: (count) => `${count} undecided`,
  measured: (count) => `${count} measured`,
};

/**
 * "helps in 5, makes no difference in 4, hurts in 0, 2 undecided"; of one answer its question: "100 paced streams: helps". With
 * `isRest` they are counted, whatever they are, and what is in none is left out.
 */
export function countsText(answers: readonly Answer[], isRest: boolean = false): string {
  const counts = countVerdicts(answers);
  const [only] = answers;
  if (!isRest && answers.length === 1 && only !== undefined && only.verdict !== "measured") {
    const alone = { helps: "helps", mixed: "helps and hurts", "no change": "makes no difference", hurts: "hurts", undecided: "undecided" };
    return `${questionText(only)}: ${alone[only.verdict]}`;
  }
  // Both directions are always told: that it hurts nowhere is half of the answer.
  const isTold = (verdict: AnswerVerdict): boolean => (!isRest && (verdict === "helps" || verdict === "hurts")) || counts[verdict] > 0;
  return Object.entries(countWords)
    .filter(([verdict]) => isTold(verdict as AnswerVerdict))
    .map(([verdict, words]) => words(counts[verdict as AnswerVerdict]))
    .join(", ");
}

/** "better in 1, worse in 2, 3 undecided": what is in none is left out, as no protocol helps or hurts here. */
function effectCounts(answers: readonly Answer[]): string {
  const counts = countVerdicts(answers);
  const words: readonly (readonly [AnswerVerdict, string])[] = [
    ["helps", "better in #"],
    ["mixed", "better and worse in #"],
    ["no change", "no difference in #"],
    ["hurts", "worse in #"],
    ["undecided", "# undecided"],
  ];
  return words.flatMap(([verdict, text]) => (counts[verdict] === 0 ? [] : [text.replace("#", String(counts[verdict]))])).join(", ");
}

/** What became of a contest, in counts; where protocol and engine differ at once, that no protocol is judged. */
export function outcomeText({ isConfounded, answers }: Contest): string {
  return isConfounded ? `an effect of engines, no verdict about a protocol: ${effectCounts(answers)}` : countsText(answers);
}

/** What became of those of its answers that are not shown, in counts. */
export function restText({ isConfounded }: Contest, rest: readonly Answer[]): string {
  return isConfounded ? effectCounts(rest) : countsText(rest, true);
}

/** The whole result in a sentence. */
export function headline({ contests, target }: Pick<Answers, "contests" | "target">): string {
  const where = target === null ? "on this machine" : `at ${target}`;
  const [first] = contests;
  if (first === undefined) return `Nothing was measured ${where}`;
  const compared = contests.find(({ baseline }) => baseline !== null);
  if (compared !== undefined) return `${contestTitle(compared)} ${where}: ${outcomeText(compared)}`;
  const names = contests.map(contestTitle).join(" and ");
  return `${names} ${where}: nothing was compared, these are the values`;
}

/** What speaks for the figures and against them, each a phrase. */
export function beliefTexts(
  { rounds, allRounds, disturbed, leftOut, isWatched, generator, isPinned, behind }: Belief,
  target: string | null,
): string[] {
  const counted = disturbed - leftOut;
  const machine = [
    leftOut > 0 ? `${leftOut} of ${allRounds} rounds disturbed and left out` : "",
    counted > 0 ? `${counted} of ${allRounds} rounds disturbed and counted` : "",
    disturbed === 0 ? (isWatched ? "machine quiet" : "machine not watched") : "",
  ];
  const [first, ...others] = behind;
  return [
    rounds === null ? "no valid round" : roundsText(rounds),
    ...machine,
    generator === null ? "generator not measured" : `generator at most ${coreText(generator.share)}`,
    target !== null ? "" : isPinned ? "cores of their own" : "cores shared by server and generator",
    first === undefined ? "" : `behind the plan: ${first}${others.length === 0 ? "" : ` and ${others.length} more`}`,
  ].filter((text) => text !== "");
}

function roundsText({ least, most }: NonNullable<Belief["rounds"]>): string {
  if (least !== most) return `${least} to ${most} rounds each`;
  return most === 1 ? "1 round each: no interval" : `${most} rounds each`;
}

function coreText(share: number): string {
  return share <= 1 ? `${percent(share)} of a core` : `${share.toFixed(1)} cores`;
}

/** Kinds of reasons that are told; the rest is a number. */
const mostReasons = 3;

/** Reasons of one kind once: they differ in their figures and in whom they name. */
export function reasonsText(invalid: readonly string[]): string[] {
  const kinds = new Map<string, string[]>();
  for (const reason of invalid) {
    const kind = reason.slice(reason.indexOf(": ") + 1).replaceAll(/\d[\d.,]*/gu, "#");
    kinds.set(kind, [...(kinds.get(kind) ?? []), reason]);
  }
  const texts = [...kinds.values()].map(([first = "", ...alike]) => {
    const at = Math.max(0, first.indexOf(": "));
    return `Not valid: ${alike.length === 0 ? first : `${first.slice(0, at)} and ${alike.length} more${first.slice(at)}`}`;
  });
  const more = texts.length - mostReasons;
  return more > 0 ? [...texts.slice(0, mostReasons), `Not valid: and ${more} reasons more`] : texts;
}

/** Arms that a note names; the rest is a number. */
const mostArms = 2;

/**
 * What a reader of the figures has to know of the work behind them: first what gateways changed, then what the answers held, each
 * text once, with the arms of which it is true.
 */
export function workTexts(scenarios: readonly ScenarioResult[]): string[] {
  const run = scenarios.filter(({ skipped }) => skipped === null);
  const named = (scenario: ScenarioResult, name: string): string => (run.length > 1 ? `${scenarioLabel(scenario)}, ${name}` : name);
  const found = run.flatMap((scenario) => (scenario.findings ?? []).map((text) => named(scenario, text)));
  const armsOf = new Map<string, string[]>();
  for (const scenario of run)
    for (const arm of scenario.arms)
      for (const note of workNotes(arm)) {
        const text = note.slice(arm.id.length);
        armsOf.set(text, [...(armsOf.get(text) ?? []), named(scenario, arm.id)]);
      }
  const held = [...armsOf].map(([text, arms]) => {
    const more = arms.length - mostArms;
    return `${arms.slice(0, mostArms).join(more > 0 ? ", " : " and ")}${more > 0 ? ` and ${more} more` : ""}${text}`;
  });
  return [...found, ...held];
}

/** "3 reproduced, 1 refuted"; empty where none was tested. */
export function claimsText(scenarios: readonly ScenarioResult[]): string {
  const all = scenarios.flatMap(({ claims }) => claims);
  const order: readonly ClaimVerdict[] = ["reproduced", "refuted", "inconclusive", "not compared"];
  return order
    .map((verdict) => [all.filter((claim) => claim.verdict === verdict).length, verdict] as const)
    .filter(([count]) => count > 0)
    .map(([count, verdict]) => `${count} ${verdict}`)
    .join(", ");
}
