/** Verdicts: each figure that a tool reports against the server's records of the same run, and why it differs. Pure: recorded runs are judged alike. */
import type { ReceivedRecord } from "../base/parent-channel.ts";
import { estimateMean } from "../results/statistics.ts";
import { cameIn } from "./answers.ts";
import { figureLabel, quantities, toleranceOf } from "./quantities.ts";
import { distance, type Range } from "./samples.ts";
import { trafficOf } from "./traffic.ts";
import { type Truth, truthOf } from "./truth.ts";
import type {
  Asked,
  Cause,
  CauseName,
  FigureResult,
  FigureSummary,
  Limit,
  Machine,
  Quantity,
  Repeat,
  Report,
  Reported,
  RungResult,
  Statistic,
  Verdict,
} from "./types.ts";

/** One run of the command: what it reported, and what the server has seen of it. */
export interface Observation {
  readonly records: readonly ReceivedRecord[];
  /** null: nothing was read. */
  readonly report: Report | null;
  /** Why nothing was read. */
  readonly fault: string | null;
  readonly exitCode: number | null;
  readonly wallS: number;
  readonly machine: Machine | null;
}

/** A rung as it was played. */
export interface PlayedRung extends Pick<RungResult, "name" | "title" | "plan" | "concurrency" | "ratePerSecond"> {
  readonly observations: readonly Observation[];
}

interface Judged {
  readonly observation: Observation;
  readonly truth: Truth;
  readonly repeat: Repeat;
  readonly asked: Asked;
}

/** Above this part of waiting for a core the machine is too busy to blame a tool for lateness. */
const busyShare = 0.2;
/** From this many cores on one thread of a tool has no room left. */
const saturatedCores = 0.9;

/** A figure, and what its verdict rests on. */
interface Found extends FigureResult {
  /** Whether it is called biased for its cause alone: its interval does not decide, or a wait for a core might have done it. */
  readonly restsOnCause: boolean;
}

interface FoundRung {
  readonly rung: PlayedRung;
  readonly judged: readonly Judged[];
  readonly figures: readonly Found[];
}

/**
 * Judges all rungs. A definition by which a figure were wrong on a rung where it is right is none of the tool's: elsewhere it fits by
 * accident. Nor is one that fits on few of the rungs where the figure is biased.
 */
export function judgeRungs(played: readonly PlayedRung[]): RungResult[] {
  const found = played.map(foundOn);
  const excluded = new Set(found.flatMap(excludedBy));
  const isExcluded = (figure: Found, cause: Cause): boolean => excluded.has(definitionKey(figure, cause));
  const likeliest = found.map((one) => withoutCauses(one, isExcluded)).map((one) => ({ ...one, figures: withLikeliestCause(one.figures) }));
  const isRare = ({ quantity, statistic }: Found, { name }: Cause): boolean => {
    const biased = likeliest.flatMap(({ figures }) =>
      figures.filter((one) => one.quantity === quantity && one.statistic === statistic && one.verdict === "biased"),
    );
    return biased.filter(({ causes }) => causes.some((cause) => cause.name === name)).length * 2 < biased.length;
  };
  return likeliest.map((one) => resultOf(withoutCauses(one, isRare)));
}

/** Judges one rung, by itself. */
export function judgeRung(rung: PlayedRung): RungResult {
  return judgeRungs([rung])[0]!;
}

function foundOn(rung: PlayedRung): FoundRung {
  const judged = rung.observations.map((observation) => judgedRun(observation, rung));
  return { rung, judged, figures: figureKeys(judged).map(({ quantity, statistic }) => figureOf(judged, quantity, statistic)) };
}

/** Takes causes away. */
function withoutCauses(found: FoundRung, isGone: (figure: Found, cause: Cause) => boolean): FoundRung {
  return {
    ...found,
    figures: found.figures.map((figure) => ({ ...figure, causes: figure.causes.filter((cause) => !isGone(figure, cause)) })),
  };
}

/** What is left once every cause that falls has fallen: without its cause a figure that rests on it is not decided. */
function resultOf({ rung, judged, figures }: FoundRung): RungResult {
  const { name, title, plan, concurrency, ratePerSecond } = rung;
  return {
    name,
    title,
    plan,
    concurrency,
    ratePerSecond,
    repeats: judged.map(({ repeat }) => repeat),
    figures: figures.map(({ restsOnCause, ...figure }) =>
      restsOnCause && figure.causes.length === 0 ? { ...figure, verdict: "undecided" } : figure,
    ),
    notes: notesOf(judged),
  };
}

function definitionKey({ quantity, statistic }: Pick<FigureResult, "quantity" | "statistic">, text: { readonly text: string }): string {
  return `${quantity}.${statistic}: ${text.text}`;
}

/** Definitions that a figure which is right speaks against: by them it were off in every repeat. */
function excludedBy({ judged, figures }: FoundRung): string[] {
  return figures.flatMap((figure) => {
    const { quantity, statistic, verdict, tolerance } = figure;
    if (verdict !== "right") return [];
    const offered = judged.map(({ truth }) => truth.alternatives(quantity, statistic));
    const isOff = ({ text }: { readonly text: string }): boolean =>
      offered.every((all, run) => {
        const other = all.find((one) => one.text === text);
        return other !== undefined && Math.abs(distance(figure.reported[run]!, other.range)) > tolerance;
      });
    return offered[0]!.filter(isOff).map((other) => definitionKey(figure, other));
  });
}

/** Causes that are another definition of a figure. */
const definitionCauses: ReadonlySet<CauseName> = new Set<CauseName>([
  "counts-role-chunk",
  "first-byte",
  "first-content",
  "counts-all-events",
  "counts-chunks",
  "per-token",
  "per-chunk",
  "includes-first-token",
  "holds-chunks",
  "reads-whole-body",
  "averages-percentiles",
  "whole-answers",
]);

/**
 * Where several definitions fit a figure, the one that fits most figures of the rung is its cause: a tool has one way of reading.
 * Causes come nearest first. A client that holds chunks has short gaps too: where means of gaps are right it holds none.
 */
function withLikeliestCause(figures: readonly Found[]): Found[] {
  const gapsAreRight = figures.some(
    ({ quantity, statistic, verdict }) => gapQuantities.has(quantity) && statistic === "mean" && verdict === "right",
  );
  const times = figures.filter(({ unit }) => unit === "ms").length;
  const fitting = new Map<string, number>();
  for (const { causes } of figures)
    for (const name of new Set(causes.map((cause) => cause.name))) fitting.set(name, (fitting.get(name) ?? 0) + 1);
  return figures.map((figure) => {
    // One time of many is near another definition by accident; a tool that reads so has more than one wrong.
    const isLone = (name: CauseName): boolean => figure.unit === "ms" && times >= 3 && definitionCauses.has(name) && fitting.get(name)! < 2;
    const possible = figure.causes.filter(({ name }) => !isLone(name) && !(name === "holds-chunks" && gapsAreRight));
    const likeliest = possible.toSorted((a, b) => fitting.get(b.name)! - fitting.get(a.name)!).slice(0, 1);
    return { ...figure, causes: likeliest };
  });
}

function judgedRun(observation: Observation, { concurrency, ratePerSecond }: PlayedRung): Judged {
  const { records, report, wallS, exitCode, machine, fault } = observation;
  const came = cameIn(records);
  const truth = truthOf(came, reportedRequests(report), wallS);
  const asked: Asked = {
    concurrency: report?.asked.concurrency ?? concurrency,
    ratePerSecond: report?.asked.ratePerSecond ?? ratePerSecond,
  };
  return { observation, truth, asked, repeat: { exitCode, wallS, traffic: trafficOf(came, truth), machine, fault } };
}

/** How many requests a report speaks of; null: it does not say. */
function reportedRequests(report: Report | null): number | null {
  const value = (quantity: Quantity): number | null => report?.figures.find((figure) => figure.quantity === quantity)?.value ?? null;
  const requests = value("requests");
  if (requests !== null) return requests;
  const completed = value("completed");
  return completed === null ? null : completed + (value("failed") ?? 0);
}

/** What a run reports, the load that was asked for among it. */
function reportedIn({ observation: { report }, asked }: Judged): readonly Reported[] {
  const { concurrency, ratePerSecond } = asked;
  return [
    ...(report?.figures ?? []),
    ...(concurrency === null ? [] : [{ quantity: "askedConcurrency", statistic: "mean", value: concurrency, name: "asked for" } as const]),
    ...(ratePerSecond === null ? [] : [{ quantity: "askedRate", statistic: "mean", value: ratePerSecond, name: "asked for" } as const]),
  ];
}

function figureKeys(judged: readonly Judged[]): readonly Pick<Reported, "quantity" | "statistic">[] {
  const keys = new Map<string, Reported>();
  for (const run of judged) for (const figure of reportedIn(run)) keys.set(`${figure.quantity}.${figure.statistic}`, figure);
  return [...keys.values()];
}

interface Pair {
  readonly run: Judged;
  readonly reported: Reported;
  readonly truth: Range;
}

function figureOf(judged: readonly Judged[], quantity: Quantity, statistic: Statistic): Found {
  const found = judged.flatMap((run) => {
    const reported = reportedIn(run).find((figure) => figure.quantity === quantity && figure.statistic === statistic);
    if (reported === undefined) return [];
    const truth = run.truth.figure(quantity, statistic);
    return [
      {
        run,
        reported,
        truth: truth === null ? null : withOwnLateness(run, quantity, statistic, withBurst(run, quantity, statistic, truth)),
      },
    ];
  });
  const pairs = found.filter((pair): pair is Pair => pair.truth !== null);
  const { unit } = quantities[quantity];
  const shown = {
    quantity,
    statistic,
    unit,
    name: found[0]!.reported.name,
    reported: found.map(({ reported }) => reported.value),
    truth: pairs.map(({ truth }) => truth.value),
  };
  if (pairs.length === 0 || pairs.length < found.length)
    return { ...shown, bias: null, tolerance: 0, verdict: "not-comparable", causes: [], restsOnCause: false };
  const mean = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0) / values.length;
  const trueMean = mean(pairs.map(({ truth }) => truth.value));
  const tolerance = toleranceOf(quantity, statistic, trueMean, mean(pairs.map(({ run }) => run.truth.whole)));
  // Runs that agree to the last printed digit are not for that reason certain.
  const estimate = estimateMean(
    pairs.map(({ reported, truth }) => distance(reported.value, truth)),
    tolerance / 20,
  );
  if (estimate === null) return { ...shown, bias: null, tolerance, verdict: "undecided", causes: [], restsOnCause: false };
  const bias = {
    estimate: estimate.estimate,
    low: estimate.low,
    high: estimate.high,
    ratio: trueMean === 0 ? null : estimate.estimate / trueMean,
  };
  return { ...shown, bias, tolerance, ...verdictOf(pairs, quantity, statistic, bias, tolerance) };
}

function verdictOf(
  pairs: readonly Pair[],
  quantity: Quantity,
  statistic: Statistic,
  { estimate, low, high }: { readonly estimate: number; readonly low: number; readonly high: number },
  tolerance: number,
): Pick<Found, "verdict" | "causes" | "restsOnCause"> {
  const without = (verdict: Verdict): Pick<Found, "verdict" | "causes" | "restsOnCause"> => ({ verdict, causes: [], restsOnCause: false });
  if (low >= -tolerance && high <= tolerance) return without("right");
  const isBeyond = low > tolerance || high < -tolerance;
  const anyBusy = pairs.some(({ run }) => isBusy(run) || isByServer(run, quantity, estimate));
  const isShaken = anyBusy && isShakenByWaits(quantity, statistic, estimate);
  // By waits alone a time may come near another definition. Far from the truth it does not, nor a mean of gaps that is corrected for them.
  const trueMean = pairs.reduce((total, { truth }) => total + Math.abs(truth.value), 0) / pairs.length;
  const isTime = quantities[quantity].unit === "ms";
  const isGap = gapQuantities.has(quantity);
  // No wait makes a time early.
  const least = !anyBusy || !isTime ? tolerance : isShaken ? trueMean * shakenShare : isGap ? tolerance * shakenTimes : tolerance;
  const slack = anyBusy && isTime ? Math.max(tolerance, Math.abs(estimate) / shakenTimes) : tolerance;
  const definitions = Math.abs(estimate) > least ? definitionsOf(pairs, quantity, statistic, slack) : [];
  if (isShaken && definitions.length === 0) return without("undecided");
  // What fits another definition in every repeat is no accident, however the repeats differ.
  if (!isBeyond && (definitions.length === 0 || pairs.length < 3)) return without("undecided");
  const isLate = quantities[quantity].unit === "ms" && estimate > 0;
  const causes = definitions.length > 0 ? definitions : otherCauses(pairs, quantity, statistic, estimate, isLate);
  return { verdict: "biased", causes, restsOnCause: !isBeyond || isShaken };
}

/** On a busy machine another definition is believed where a time is off by this part of the truth, or a mean of gaps by so many tolerances. */
const shakenShare = 0.5;
const shakenTimes = 5;

/** Later than this, of a hundred tokens the latest but one, the server is no judge of what is late: it reads requests as late. */
const mostLateMs = 5;
/** What is off by more than so many times the lateness of the server is not so by it. */
const lateTimes = 3;

function isBusy({ observation: { machine } }: Judged): boolean {
  return machine !== null && machine.waiting > busyShare;
}

/** Whether a bias may come of a server that was late itself. */
function isByServer({ repeat: { traffic } }: Judged, quantity: Quantity, estimate: number): boolean {
  const late = traffic.serverLateP99Ms ?? 0;
  return late > mostLateMs && (quantities[quantity].unit !== "ms" || Math.abs(estimate) <= late * lateTimes);
}

const gapQuantities: ReadonlySet<Quantity> = new Set<Quantity>(["itl", "itlPerToken", "tpot"]);

/** Whether a tool that waits for a core is off in this way: single times come late, gaps spread, rates fall. Of means of gaps see `withOwnLateness`. */
function isShakenByWaits(quantity: Quantity, statistic: Statistic, estimate: number): boolean {
  const { unit } = quantities[quantity];
  if (unit === "1/s") return estimate < 0;
  if (unit !== "ms") return false;
  return gapQuantities.has(quantity) ? statistic !== "mean" : estimate > 0;
}

/**
 * The truth of a wait for a tool that sends many requests at once: the server reads one after the other, and no stamp says how long one
 * lay unread. That time is as right as none.
 */
function withBurst({ truth: { unreadMs } }: Judged, quantity: Quantity, statistic: Statistic, truth: Range): Range {
  if (!latencies.has(quantity) || gapQuantities.has(quantity) || quantity === "ntpot") return truth;
  const isMiddle = statistic === "mean" || statistic === "p50" || statistic === "min";
  return { ...truth, high: truth.high + (isMiddle ? unreadMs.mean : unreadMs.most) };
}

/**
 * The truth of a mean of gaps for a tool that had to wait for a core: it saw the first token late, or the last, and says by how much
 * with its own TTFT and E2E. What lies between the two is right.
 */
function withOwnLateness(run: Judged, quantity: Quantity, statistic: Statistic, truth: Range): Range {
  if (!gapQuantities.has(quantity) || statistic !== "mean" || !isBusy(run)) return truth;
  const lateMs = (of: Quantity): number | null => {
    const reported = run.observation.report?.figures.find((figure) => figure.quantity === of && figure.statistic === "mean");
    const right = run.truth.figure(of, "mean");
    return reported === undefined || right === null ? null : reported.value - right.value;
  };
  const [first, last] = [lateMs("ttft"), lateMs("e2e")];
  const streamed = run.truth.answers.filter(({ outcome, tokenMs }) => outcome === "whole" && tokenMs.length > 1);
  if (first === null || last === null || streamed.length === 0) return truth;
  const steps =
    streamed.reduce((total, { tokenMs, outputTokens }) => total + (quantity === "itl" ? tokenMs.length : outputTokens) - 1, 0) /
    streamed.length;
  const shifted = truth.value + (last - first) / Math.max(1, steps);
  return { value: truth.value, low: Math.min(truth.low, shifted), high: Math.max(truth.high, shifted) };
}

/** Definitions by which the figure is right in every repeat, the nearest first. */
function definitionsOf(pairs: readonly Pair[], quantity: Quantity, statistic: Statistic, tolerance: number): Cause[] {
  const offered = pairs.map(({ run }) => run.truth.alternatives(quantity, statistic));
  const fitting = (offered[0] ?? []).flatMap(({ cause, text }) => {
    const distances = pairs.map(({ reported, truth }, index) => {
      const other = offered[index]!.find((one) => one.cause === cause && one.text === text);
      if (other === undefined) return null;
      const away = Math.abs(distance(reported.value, other.range));
      return { away, isNearer: away < Math.abs(distance(reported.value, truth)) / 2 };
    });
    const fits = distances.every((found) => found !== null && found.isNearer && found.away <= tolerance);
    return fits ? [{ cause, text, away: Math.max(...distances.map((found) => found!.away)) }] : [];
  });
  return fitting.toSorted((a, b) => a.away - b.away).map(({ cause, text }) => ({ name: cause, text }));
}

function otherCauses(pairs: readonly Pair[], quantity: Quantity, statistic: Statistic, estimate: number, isLate: boolean): Cause[] {
  const causes: Cause[] = [];
  const runs = pairs.map(({ run }) => run);
  const { unit } = quantities[quantity];
  const reports = runs.flatMap(({ observation: { report } }) => report ?? []);
  if (unit === "ms" && runs.some(({ observation: { report }, truth }) => (report?.samples ?? 0) > truth.answers.length * 1.05)) {
    const { samples } = reports[0]!;
    causes.push({
      name: "extra-samples",
      text: `has ${String(samples)} values for ${runs[0]!.truth.answers.length} requests: a correction for coordinated omission makes some up`,
    });
  }
  if (quantity === "askedRate" && estimate > 0) {
    const reached = runs.map(({ truth }) => truth.figure("askedRate", "mean")!.value);
    causes.push({
      name: "falls-behind",
      text: `asks for more than it sends: ${rounded(Math.min(...reached))} to ${rounded(Math.max(...reached))} requests/s came`,
    });
  }
  if (quantity === "requestRate" && estimate > 0 && pairs.every(({ run, reported }) => near(run.asked.ratePerSecond, reported.value)))
    causes.push({ name: "falls-behind", text: "reports the rate that was asked for, and sends fewer" });
  // A mean of whole numbers is none.
  const values = reports.flatMap(({ figures }) =>
    figures.filter((figure) => figure.quantity === quantity && figure.statistic !== "mean").map(({ value }) => value),
  );
  if (unit === "ms" && Math.abs(estimate) <= 1 && values.length > 2 && values.every((value) => Number.isInteger(value)))
    causes.push({ name: "whole-milliseconds", text: "is counted in whole milliseconds" });
  const long = values.filter((value) => value >= 100);
  const isOfLong =
    statistic !== "mean" && pairs.every(({ reported: { value }, truth }) => value >= 100 && Math.abs(estimate) <= truth.value / 20);
  if (unit === "ms" && isOfLong && long.length > 2 && long.every((value) => Number(value.toPrecision(2)) === value))
    causes.push({ name: "two-digits", text: "is kept with two digits from 100 ms on" });
  const machines = pairs.flatMap(({ run }) => run.observation.machine ?? []);
  if (isLate && machines.length > 0 && machines.every(({ cores }) => cores >= saturatedCores))
    causes.push({ name: "client-saturated", text: `comes with ${rounded(machines[0]!.cores)} cores in use by the tool itself` });
  return causes;
}

function near(asked: number | null, value: number): boolean {
  return asked !== null && Math.abs(value - asked) <= asked * 0.02;
}

function notesOf(judged: readonly Judged[]): string[] {
  const notes = new Set<string>();
  for (const { repeat, asked, observation, truth } of judged) {
    const { traffic, fault, exitCode } = repeat;
    if (fault !== null) notes.add(fault);
    if (exitCode !== 0) notes.add(exitCode === null ? "the command was ended by a signal" : `the command ended with exit code ${exitCode}`);
    if (traffic.warmUp > 0) notes.add(`${traffic.warmUp} requests before the load are its warm-up and in no figure`);
    if ((traffic.retries ?? 0) > 0) notes.add(`${traffic.retries} requests repeat one that had failed`);
    if ((traffic.serverLateP99Ms ?? 0) > mostLateMs)
      notes.add("the server itself was late in a run: what comes late there is not blamed on the tool");
    const reported = reportedRequests(observation.report);
    if (reported !== null && reported < traffic.requests)
      notes.add(
        `it reports ${reported} of ${traffic.requests} requests${traffic.aborted > 0 ? `; ${traffic.aborted} were given up by it` : ""}`,
      );
    const reached = traffic.arrivalsPerSecond;
    if (asked.ratePerSecond !== null && reached !== null && reached < asked.ratePerSecond * 0.95) {
      const late = fromPlanned(truth, asked.ratePerSecond);
      notes.add(
        `fell behind: ${rounded(asked.ratePerSecond)} requests/s were asked for, ${rounded(reached)} came` +
          (late === null ? "" : `; counted from its planned time the last request was ${rounded(late)} ms late`),
      );
    }
  }
  return [...notes];
}

/** How late the last request of a constant rate came; null: no request came. */
function fromPlanned({ answers }: Truth, ratePerSecond: number): number | null {
  if (answers.length < 2) return null;
  return answers.at(-1)!.atMs - answers[0]!.atMs - ((answers.length - 1) / ratePerSecond) * 1000;
}

function rounded(value: number): string {
  return Number(value.toPrecision(3)).toString();
}

/** Figures that readers may look for: those that are not there are "not reported". */
const expected: readonly (readonly [Quantity, readonly Statistic[]])[] = [
  ["ttft", ["mean", "p50", "p90", "p99"]],
  ["itl", ["mean", "p50", "p90", "p99"]],
  ["tpot", ["mean", "p50", "p90", "p99"]],
  ["e2e", ["mean", "p50", "p90", "p99"]],
  ["outputTokens", ["total"]],
  ["inputTokens", ["total"]],
  ["requestRate", ["mean"]],
  ["outputTokenRate", ["mean"]],
  ["concurrency", ["mean"]],
  ["completed", ["total"]],
  ["failed", ["total"]],
];

const ofAllAnswers: Readonly<Partial<Record<Quantity, readonly Quantity[]>>> = {
  e2e: ["e2eAnswered", "e2eEnded"],
  requestRate: ["answerRate"],
};

/** Each figure over all rungs. */
export function summarize(rungs: readonly RungResult[]): FigureSummary[] {
  const keys = new Map<string, readonly [Quantity, Statistic]>();
  const reported = new Set(rungs.flatMap(({ figures }) => figures.map(({ quantity }) => quantity)));
  for (const [quantity, statistics] of expected) {
    // Tools of HTTP report it of all answers.
    if (!reported.has(quantity) && ofAllAnswers[quantity]?.some((other) => reported.has(other)) === true) continue;
    for (const statistic of statistics) keys.set(`${quantity}.${statistic}`, [quantity, statistic]);
  }
  for (const { figures } of rungs)
    for (const { quantity, statistic } of figures) keys.set(`${quantity}.${statistic}`, [quantity, statistic]);
  return [...keys.values()].map(([quantity, statistic]) => {
    const found = rungs.flatMap(({ name, figures }) =>
      figures.filter((figure) => figure.quantity === quantity && figure.statistic === statistic).map((figure) => ({ rung: name, figure })),
    );
    const on = (verdict: Verdict): string[] => found.filter(({ figure }) => figure.verdict === verdict).map(({ rung }) => rung);
    const [right, biased, undecided] = [on("right"), on("biased"), on("undecided")];
    const causes = new Map(found.flatMap(({ figure }) => figure.causes.map((cause) => [cause.name, cause] as const)));
    if (causes.size === 0) for (const cause of constantFactor(rungs, quantity)) causes.set(cause.name, cause);
    const verdict: Verdict =
      found.length === 0
        ? "not-reported"
        : biased.length > 0
          ? "biased"
          : right.length > 0
            ? "right"
            : undecided.length > 0
              ? "undecided"
              : "not-comparable";
    return { quantity, statistic, name: found[0]?.figure.name ?? null, verdict, right, biased, undecided, causes: [...causes.values()] };
  });
}

/** The largest of a quantity's true values, to the least, from which on a factor shows. */
const leastSpread = 1.2;

/** All figures of a quantity off by one factor: a wrong unit, a clock that is off, or a tool that corrects what it saw. */
function constantFactor(rungs: readonly RungResult[], quantity: Quantity): Cause[] {
  const biased = rungs.flatMap(({ name: rung, figures }) =>
    figures.flatMap(({ quantity: own, verdict, bias }) =>
      own === quantity && verdict === "biased" && bias?.ratio ? [{ rung, ratio: bias.ratio, truth: bias.estimate / bias.ratio }] : [],
    ),
  );
  const factors = biased.map(({ ratio }) => ratio);
  const truths = biased.map(({ truth }) => truth);
  const hasMean = rungs.some(({ figures }) =>
    figures.some((figure) => figure.quantity === quantity && figure.statistic === "mean" && figure.verdict === "biased"),
  );
  if (!hasMean || factors.length < 2 || Math.max(...factors) - Math.min(...factors) > 0.01) return [];
  // Of values on one rung that are alike, what is added cannot be told from a factor.
  const isOneRung = new Set(biased.map(({ rung }) => rung)).size === 1;
  if (isOneRung && Math.max(...truths) < Math.min(...truths) * leastSpread) return [];
  const mean = factors.reduce((total, factor) => total + factor, 0) / factors.length;
  // One that is right is off by no factor.
  const isRightSomewhere = rungs.some(({ figures }) =>
    figures.some(
      ({ quantity: own, verdict, bias }) => own === quantity && verdict === "right" && Math.abs((bias?.ratio ?? 0) - mean) > 0.01,
    ),
  );
  if (isRightSomewhere) return [];
  const percent = rounded(Math.abs(mean) * 100);
  return [{ name: "constant-factor", text: `is ${percent}% too ${mean < 0 ? "low" : "high"} wherever it can be told` }];
}

/** Latencies that a client under load has wrong first. */
const latencies: ReadonlySet<Quantity> = new Set<Quantity>([
  "ttft",
  "ttfe",
  "ttfb",
  "itl",
  "itlPerToken",
  "tpot",
  "e2e",
  "e2eAnswered",
  "e2eEnded",
]);

/**
 * How a rung of rising load ended. wrong: a latency that the load made so. server: the server itself was late, and no tool is judged
 * by it. machine: the tool waited for a core, and a latency that was right at rest is late.
 */
export type Standing = "right" | "wrong" | "server" | "machine" | "unclear";

const keyOf = ({ quantity, statistic }: Pick<FigureResult, "quantity" | "statistic">): string => `${quantity}.${statistic}`;

/** Latencies that are right at rest and biased here, by no definition: that is wrong at every load, and no limit. */
function wrongByLoad(rung: RungResult, atRest: RungResult): FigureResult[] {
  const rightAtRest = latenciesRight(atRest);
  return rung.figures.filter(
    (figure) =>
      rightAtRest.has(keyOf(figure)) && figure.verdict === "biased" && figure.causes.every(({ name }) => name === "client-saturated"),
  );
}

function latenciesRight({ figures }: RungResult): ReadonlySet<string> {
  return new Set(figures.filter(({ quantity, verdict }) => latencies.has(quantity) && verdict === "right").map(keyOf));
}

/** How late the server was on a rung, in the median of its runs. */
function serverLateOf({ repeats }: RungResult): number | null {
  const late = repeats.flatMap(({ traffic }) => traffic.serverLateP99Ms ?? []).toSorted((a, b) => a - b);
  return late.length === 0 ? null : late[Math.floor((late.length - 1) / 2)]!;
}

/** How a rung ended, held against the one of the least load. */
export function standingOf(rung: RungResult, atRest: RungResult): Standing {
  // What is biased is late by far more than the server, if that was late too.
  if (wrongByLoad(rung, atRest).length > 0) return "wrong";
  // Where it is late at rest too, the load is not what makes it so.
  if ((serverLateOf(rung) ?? 0) > Math.max(mostLateMs, 2 * (serverLateOf(atRest) ?? 0))) return "server";
  const rightAtRest = latenciesRight(atRest);
  const isLost = rung.figures.some((figure) => figure.verdict === "undecided" && rightAtRest.has(keyOf(figure)));
  if (isLost && rung.repeats.some(({ traffic }) => (traffic.serverLateP99Ms ?? 0) > mostLateMs)) return "server";
  if (isLost && rung.repeats.some(({ machine }) => (machine?.waiting ?? 0) > busyShare)) return "machine";
  return latenciesRight(rung).size > 0 ? "right" : "unclear";
}

/** Where the figures of rungs of rising load leave the truth. `rising`: their names. */
export function limitOf(rungs: readonly RungResult[], rising: ReadonlySet<string>): Limit {
  const loads = rungs
    .filter(({ name }) => rising.has(name))
    .map((rung) => ({ rung, events: Math.max(0, ...rung.repeats.map(({ traffic }) => traffic.eventsPerSecond ?? 0)) }))
    .filter(({ events }) => events > 0)
    .toSorted((a, b) => a.events - b.events);
  const atRest = loads[0]?.rung;
  const ended = loads.map((load) => ({ ...load, standing: standingOf(load.rung, atRest!) }));
  const wrong = ended.find(({ standing }) => standing === "wrong");
  const before = wrong === undefined ? ended.find(({ standing }) => standing === "server" || standing === "machine") : undefined;
  const end = wrong?.events ?? before?.events ?? Infinity;
  const [figure] = wrong === undefined ? [] : wrongByLoad(wrong.rung, atRest!);
  return {
    eventsPerSecond: wrong?.events ?? null,
    rung: wrong?.rung.name ?? null,
    figure: figure === undefined ? null : figureLabel(figure.quantity, figure.statistic),
    rightUpToEventsPerSecond: ended.findLast(({ events, standing }) => standing === "right" && events < end)?.events ?? null,
    beforeIt:
      before === undefined
        ? null
        : {
            end: before.standing === "server" ? "server" : "machine",
            rung: before.rung.name,
            eventsPerSecond: before.events,
            serverLateP99Ms: serverLateOf(before.rung),
          },
  };
}
