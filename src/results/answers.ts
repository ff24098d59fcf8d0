/**
 * What a result answers: one answer for each question, which is two arms of one scenario. It is the same model for the
 * terminal, the page and what other tools are given; sentences are made of it in `report/words.ts`.
 *
 * The rule, for the comparisons of a pair that get verdicts:
 * - A scenario may name the metric that decides. Others that found a difference stand beside it (`besides`).
 * - Else *helps* takes one metric that is better and none that is worse, *hurts* the reverse, and *mixed* has both. That is
 *   sound, as p is adjusted over all of them. The metric that is shown is the first of that kind in the scenario's order.
 * - *no change* takes all of them to be equivalent. Everything else is *undecided*, with the reason.
 *
 * Nothing compared is an answer of its own, *measured*: it has values and no verdict.
 */
import { armNamed, validRounds, valueIn } from "./arms.ts";
import { caveatsOf, protocolTraits } from "./protocols.ts";
import { scenarioLabel } from "./scenarios.ts";
import type { ArmResult, BenchResult, Comparison, MetricName, ScenarioResult, Statistic } from "./types.ts";

/** What became of a question. */
export type AnswerVerdict = "helps" | "no change" | "hurts" | "mixed" | "undecided" | "measured";

/** A metric with both arms' values. */
export interface Reading {
  readonly comparison: Comparison;
  /**
   * Of each arm in the metric's unit, over the rounds that were paired: the geometric mean where the effect is a ratio, so
   * that one value by the other is the ratio, else the mean. null: not compared.
   */
  readonly baseline: number | null;
  readonly candidate: number | null;
}

/** A value of an arm that nothing was compared with. */
export interface Value {
  readonly metric: MetricName;
  readonly statistic: Statistic;
  /** In the metric's unit, over all valid rounds. */
  readonly value: number;
}

/** One question and its answer. */
export interface Answer {
  /** Of the scenario that was run for it, with `variant` where it has several. */
  readonly scenario: string;
  readonly variant: string;
  /** In plain words: "20 calls, connections open". */
  readonly question: string;
  /** What tells it from other pairs of arms in its scenario: "4 connections", "TLS"; empty: there are none. */
  readonly detail: string;
  readonly verdict: AnswerVerdict;
  /** Ids of the arms. `baseline` is null where nothing was compared. */
  readonly baseline: string | null;
  readonly candidate: string;
  /** What decided, or would have; null: nothing was compared. */
  readonly reading: Reading | null;
  /** Other metrics of the pair that found a difference which the verdict does not say. */
  readonly besides: readonly Reading[];
  /** Of an answer that was only measured. */
  readonly values: readonly Value[];
  /** Why it is undecided, in one line; null: it is decided. */
  readonly why: string | null;
}

/** Answers about the same two things: "HTTP/2 against HTTP/1.1". */
export interface Contest {
  /** Protocol and engine differ at once, as beside HTTP/3: no verdict about either. */
  readonly isConfounded: boolean;
  readonly candidate: string;
  /** null: nothing was compared. */
  readonly baseline: string | null;
  /** In the order of the scenarios. */
  readonly answers: readonly Answer[];
}

/** What speaks for the figures and against them. */
export interface Belief {
  /** Valid rounds of the arms: the fewest and the most; null: there is none. */
  readonly rounds: { readonly least: number; readonly most: number } | null;
  /** Rounds of all arms, those of them that the machine disturbed, and of these how many are left out. */
  readonly allRounds: number;
  readonly disturbed: number;
  readonly leftOut: number;
  /** Whether the machine was watched in every round. */
  readonly isWatched: boolean;
  /**
   * The most CPU time of the load generator by elapsed time in a valid round (1 is one core), and the arm; scenarios in which
   * the client's work belongs to the question are not in it. null: not measured.
   */
  readonly generator: { readonly share: number; readonly where: string } | null;
  /** Whether server and generator had cores of their own. */
  readonly isPinned: boolean;
  /** Arms that were behind their plan in any round, each "scenario, arm". */
  readonly behind: readonly string[];
}

/** A scenario that has no answer, and why. */
export interface NotRun {
  readonly question: string;
  readonly reason: string;
}

/** All of it. */
export interface Answers {
  /** What was loaded: null for fakeai's own server on this machine, else its address. */
  readonly target: string | null;
  /** About protocols first, in the order of their scenarios; then engines, then clients. */
  readonly contests: readonly Contest[];
  readonly notRun: readonly NotRun[];
  /** What every figure is to be read with, each in one line. */
  readonly caveats: readonly string[];
  readonly belief: Belief;
}

/** The answers of a result, of any version that is read. */
export function answersOf(result: BenchResult): Answers {
  const run = result.scenarios.filter(({ skipped }) => skipped === null);
  const { target } = result.environment;
  return {
    target: /^https?:/.test(target) ? target : null,
    contests: contestsOf(run, result.invalid),
    notRun: result.scenarios.flatMap((scenario) =>
      scenario.skipped === null ? [] : [{ question: questionOf(scenario), reason: scenario.skipped }],
    ),
    caveats: caveatsOf(run),
    belief: beliefOf(result, run),
  };
}

/** How many answers have each verdict. */
export function countVerdicts(answers: readonly Answer[]): Readonly<Record<AnswerVerdict, number>> {
  const counts: Record<AnswerVerdict, number> = { helps: 0, mixed: 0, "no change": 0, hurts: 0, undecided: 0, measured: 0 };
  for (const { verdict } of answers) counts[verdict]++;
  return counts;
}

/** The order in which answers are shown. */
export const verdictOrder: readonly AnswerVerdict[] = ["helps", "mixed", "no change", "hurts", "undecided", "measured"];

/** Answers with a verdict: the largest effects first, and the order of the scenarios where there is none. */
export function withVerdict(answers: readonly Answer[], verdict: AnswerVerdict): Answer[] {
  return answers.filter((answer) => answer.verdict === verdict).toSorted((a, b) => sizeOf(b) - sizeOf(a));
}

/** How far from no change; 0 where that is not what was found. */
function sizeOf({ reading, verdict }: Answer): number {
  const ratio = reading?.comparison.ratio;
  return ratio && verdict !== "no change" && verdict !== "undecided" ? Math.abs(Math.log(ratio.estimate)) : 0;
}

/** A scenario's question: its own, or its title, or in files of earlier runs its name. */
function questionOf(scenario: ScenarioResult): string {
  if (scenario.question !== undefined) return scenario.question;
  return scenario.variant === "" ? scenario.title : `${scenario.id}, ${scenario.variant}`;
}

const kinds = ["protocol", "engine", "client"] as const;

/** A pair of a scenario, before its answer. */
interface Asked {
  readonly scenario: ScenarioResult;
  readonly pair: Pair;
}

function contestsOf(scenarios: readonly ScenarioResult[], invalid: readonly string[]): Contest[] {
  const asked = scenarios.flatMap((scenario) => pairsOf(scenario).map((pair): Asked => ({ scenario, pair })));
  const contests: Contest[] = [];
  for (const kind of kinds) {
    const own = groupBy(
      asked.filter(({ pair }) => pair.kind === kind),
      ({ pair }) => sidesOf(pair).join("\n"),
    );
    for (const group of own) {
      const [candidate, baseline] = sidesOf(group[0]!.pair);
      const answers = groupBy(group, ({ scenario }) => questionOf(scenario)).flatMap((alike) =>
        alike.map((one) => answerOf(one.scenario, one.pair, detailOf(one, alike), invalid)),
      );
      contests.push({ isConfounded: isConfounded(group[0]!.pair), candidate, baseline, answers });
    }
  }
  const alone = scenarios.filter((scenario) => asked.every((one) => one.scenario !== scenario));
  const arms = groupBy(
    alone.flatMap((scenario) => scenario.arms.map((arm) => ({ scenario, arm }))),
    ({ arm }) => protocolWords(arm),
  );
  for (const group of arms) {
    const answers = group.map(({ scenario, arm }) => measured(scenario, arm, invalid));
    contests.push({ isConfounded: false, candidate: protocolWords(group[0]!.arm), baseline: null, answers });
  }
  return contests;
}

/** In the order of the first of each. */
function groupBy<T>(all: readonly T[], keyOf: (one: T) => string): T[][] {
  const groups = new Map<string, T[]>();
  for (const one of all) {
    const key = keyOf(one);
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [one]);
    else group.push(one);
  }
  return [...groups.values()];
}

/** Two arms, and all that was compared of them. */
interface Pair {
  readonly kind: Comparison["kind"];
  readonly baseline: ArmResult;
  readonly candidate: ArmResult;
  /** Those that get verdicts. */
  readonly comparisons: readonly Comparison[];
}

function pairsOf({ arms, comparisons }: ScenarioResult): Pair[] {
  const pairs = new Map<string, Pair & { readonly comparisons: Comparison[] }>();
  for (const comparison of comparisons) {
    if (comparison.described) continue;
    const key = `${comparison.kind}\n${comparison.baseline}\n${comparison.candidate}`;
    const [baseline, candidate] = [armNamed(arms, comparison.baseline), armNamed(arms, comparison.candidate)];
    if (baseline === undefined || candidate === undefined) continue;
    if (!pairs.has(key)) pairs.set(key, { kind: comparison.kind, baseline, candidate, comparisons: [] });
    pairs.get(key)!.comparisons.push(comparison);
  }
  return [...pairs.values()];
}

/** What is compared with what, in words: the protocols where these differ, and else what the arms are called. */
function sidesOf(pair: Pair): [candidate: string, baseline: string] {
  const { kind, baseline, candidate } = pair;
  if (kind === "engine") {
    const words = isConfounded(pair) ? bothWords : engineWords;
    return [words(candidate), words(baseline)];
  }
  if (kind === "client") return [candidate.client ?? candidate.driver, baseline.client ?? baseline.driver];
  const [to, from] = [protocolWords(candidate), protocolWords(baseline)];
  return to === from ? [withoutProtocol(candidate), withoutProtocol(baseline)] : [to, from];
}

function protocolWords({ protocol }: Pick<ArmResult, "protocol">): string {
  const { isMultiplexed, isQuic, isWebSocket } = protocolTraits[protocol];
  return isWebSocket ? "WebSocket" : isQuic ? "HTTP/3" : isMultiplexed ? "HTTP/2" : "HTTP/1.1";
}

function isConfounded({ kind, baseline, candidate }: Pair): boolean {
  return kind === "engine" && baseline.protocol !== candidate.protocol;
}

/** "HTTP/3 on quiche"; of a server that is not ours the engine is not known. */
function bothWords(arm: ArmResult): string {
  const on = { uws: "uWebSockets.js", node: "Node", own: "fakeai's own engine", quiche: "quiche", external: null }[arm.engine];
  return on === null ? protocolWords(arm) : `${protocolWords(arm)} on ${on}`;
}

function engineWords({ engine }: ArmResult): string {
  return { uws: "uWebSockets.js", node: "Node's own HTTP", own: "fakeai's own HTTP/2", quiche: "quiche", external: "the server" }[engine];
}

/** "via" of "via-h2c": pairs of one protocol are about the rest of the name. */
function withoutProtocol({ id, protocol }: ArmResult): string {
  const short = id.replace(new RegExp(`-${protocol}$`), "");
  return short === "" ? id : short;
}

/** What may tell pairs with one question apart, in words. */
const traits: readonly ((asked: Asked) => string)[] = [
  ({ pair: { candidate } }) => (protocolTraits[candidate.protocol].isEncrypted ? "TLS" : "no TLS"),
  ({ pair: { candidate } }) => candidate.client ?? "",
  ({ pair: { candidate } }) => connectionWords(candidate),
];

function connectionWords({ connections }: ArmResult): string {
  return connections === null ? "" : `${connections.toLocaleString("en-US")} connection${connections === 1 ? "" : "s"}`;
}

/** What a pair has that the others with its question have not; names, where that is not enough. */
function detailOf(asked: Asked, alike: readonly Asked[]): string {
  if (alike.length < 2) return "";
  const telling = traits.filter((trait) => new Set(alike.map(trait)).size > 1);
  const said = (one: Asked): string =>
    telling
      .map((trait) => trait(one))
      .filter((text) => text !== "")
      .join(", ");
  const isTold = (of: (one: Asked) => string): boolean =>
    of(asked) !== "" && alike.every((other) => other === asked || of(other) !== of(asked));
  const names = ({ pair: { candidate, baseline } }: Asked): string => `${candidate.id} against ${baseline.id}`;
  if (isTold(said)) return said(asked);
  return isTold(names) ? names(asked) : `${asked.scenario.variant}, ${names(asked)}`;
}

function answerOf(scenario: ScenarioResult, pair: Pair, detail: string, invalid: readonly string[]): Answer {
  const { baseline, candidate, comparisons } = pair;
  const { deciding, verdict } = decide(comparisons, scenario.decides);
  const faults = [candidate, baseline].flatMap((arm) => faultsOfArm(scenario, arm, invalid));
  const against = comparisons.filter((one) => one !== deciding && isSaidBeside(one, verdict));
  const [fault] = faults;
  return {
    scenario: scenario.id,
    variant: scenario.variant,
    question: questionOf(scenario),
    detail,
    verdict: fault === undefined ? verdict : "undecided",
    baseline: baseline.id,
    candidate: candidate.id,
    reading: readingOf(pair, deciding),
    besides: fault === undefined ? against.map((one) => readingOf(pair, one)) : [],
    values: [],
    why: fault === undefined ? (verdict === "undecided" ? (deciding.reason ?? "not decided") : null) : `not valid: ${fault}`,
  };
}

/** Which comparison decides, and what it says: the rule at the head of this file. */
function decide(
  comparisons: readonly Comparison[],
  named: string | undefined,
): { readonly deciding: Comparison; readonly verdict: AnswerVerdict } {
  const own = comparisons.find(({ metric, statistic }) => `${metric}.${statistic}` === named);
  if (own !== undefined) return { deciding: own, verdict: verdictOf([own]) };
  const verdict = verdictOf(comparisons);
  const first = comparisons.find((one) => verdictOf([one]) === verdict || (verdict === "mixed" && isDifference(one)));
  return { deciding: first ?? comparisons[0]!, verdict };
}

function verdictOf(comparisons: readonly Comparison[]): AnswerVerdict {
  const isBetter = comparisons.some(({ verdict }) => verdict === "faster");
  const isWorse = comparisons.some(({ verdict }) => verdict === "slower");
  if (isBetter || isWorse) return isBetter && isWorse ? "mixed" : isBetter ? "helps" : "hurts";
  return comparisons.every(({ verdict }) => verdict === "equivalent") ? "no change" : "undecided";
}

function isDifference({ verdict }: Comparison): boolean {
  return verdict === "faster" || verdict === "slower";
}

/** A difference that the verdict does not say already. */
function isSaidBeside({ verdict }: Comparison, of: AnswerVerdict): boolean {
  return (verdict === "faster" && of !== "helps") || (verdict === "slower" && of !== "hurts");
}

/** What the run's faults say of an arm. They name its scenario and the arm at their beginning. */
function faultsOfArm(scenario: ScenarioResult, { id, invalid: own }: ArmResult, faults: readonly string[]): string[] {
  const label = scenarioLabel(scenario);
  const found = faults.flatMap((fault) => {
    const begin = [`${label}, ${id}: `, `${label}, ${id}, `].find((text) => fault.startsWith(text));
    return begin === undefined ? [] : [fault.slice(begin.length).replace(/^(?:round \d+|\d+ rounds): /u, "")];
  });
  return [...found, ...own];
}

function readingOf({ baseline, candidate }: Pair, comparison: Comparison): Reading {
  const { metric, statistic, ratio, difference } = comparison;
  if (difference === null) return { comparison, baseline: null, candidate: null };
  const others = new Map(validRounds(candidate).map((round) => [round.round, round]));
  const values = validRounds(baseline).flatMap((round) => {
    const other = others.get(round.round);
    const [from, to] = [valueIn(round, metric, statistic), other === undefined ? null : valueIn(other, metric, statistic)];
    return from === null || to === null ? [] : [{ from, to }];
  });
  const mean = ratio === null ? arithmetic : geometric;
  return { comparison, baseline: mean(values.map(({ from }) => from)), candidate: mean(values.map(({ to }) => to)) };
}

function arithmetic(values: readonly number[]): number | null {
  return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Of values above 0. */
function geometric(values: readonly number[]): number | null {
  const mean = arithmetic(values.map(Math.log));
  return mean === null ? null : Math.exp(mean);
}

/** What an arm that is compared with nothing shows, the first six of these that were measured. */
const shown: readonly (readonly [MetricName, Statistic])[] = [
  ["ttft", "p50"],
  ["ttft", "p99"],
  ["itl", "p50"],
  ["itl", "p99"],
  ["tokensPerSecond", "mean"],
  ["eventsPerSecond", "mean"],
  ["e2el", "p50"],
  ["e2el", "p99"],
  ["requestsPerSecond", "mean"],
];
const mostValues = 6;

function measured(scenario: ScenarioResult, arm: ArmResult, invalid: readonly string[]): Answer {
  const values = shown.flatMap(([metric, statistic]) => {
    const value = arm.metrics[metric]?.[statistic];
    return value === undefined || !Number.isFinite(value) ? [] : [{ metric, statistic, value }];
  });
  const [fault] = faultsOfArm(scenario, arm, invalid);
  const isSeveral = scenario.arms.length > 1;
  return {
    scenario: scenario.id,
    variant: scenario.variant,
    question: questionOf(scenario),
    detail: isSeveral ? arm.id : "",
    verdict: fault === undefined && values.length > 0 ? "measured" : "undecided",
    baseline: null,
    candidate: arm.id,
    reading: null,
    besides: [],
    values: fault === undefined ? values.slice(0, mostValues) : [],
    why: fault === undefined ? (values.length > 0 ? null : "nothing was measured") : `not valid: ${fault}`,
  };
}

function beliefOf(result: BenchResult, scenarios: readonly ScenarioResult[]): Belief {
  const arms = scenarios.flatMap((scenario) => scenario.arms.map((arm) => ({ scenario, arm })));
  const rounds = arms.flatMap(({ arm }) => arm.rounds);
  const valid = arms.map(({ arm }) => validRounds(arm).length).filter((count) => count > 0);
  const disturbed = rounds.filter(({ machine }) => (machine?.disturbed.length ?? 0) > 0);
  return {
    rounds: valid.length === 0 ? null : { least: Math.min(...valid), most: Math.max(...valid) },
    allRounds: rounds.length,
    disturbed: disturbed.length,
    leftOut: disturbed.filter(({ machine }) => machine?.leftOut === true).length,
    isWatched: rounds.length > 0 && rounds.every(({ machine }) => machine !== undefined && machine.watchedUs !== null),
    generator: busiest(arms),
    isPinned: result.environment.pinned,
    behind: arms
      .filter(({ arm }) => arm.rounds.some(({ pace }) => (pace?.behind.length ?? 0) > 0))
      .map(({ scenario, arm }) => `${scenarioLabel(scenario)}, ${arm.id}`),
  };
}

/** The generator's share of a core where it was busiest. */
function busiest(arms: readonly { readonly scenario: ScenarioResult; readonly arm: ArmResult }[]): Belief["generator"] {
  let most: Belief["generator"] = null;
  for (const { scenario, arm } of arms) {
    if (scenario.workload["clientWork"] === true) continue;
    for (const { metrics } of validRounds(arm)) {
      const { clientCpuUsPerRequest: cpu, requestsPerSecond: rate } = metrics;
      if (!cpu || !rate) continue;
      const share = (cpu.mean * rate.mean) / 1e6;
      if (most === null || share > most.share) most = { share, where: `${scenarioLabel(scenario)}, ${arm.id}` };
    }
  }
  return most;
}
