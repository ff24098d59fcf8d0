/**
 * The shards of one load, which ran at once, as the one run that they were. Within a round everything is added: counts, histograms, the sums
 * behind rates; a rate is that of all over the time of all. Only then come the statistics over rounds, as on one machine. Several runs, one
 * after the other, are merged in `merge.ts`.
 */
import { summarizeArm } from "./arms.ts";
import { compareArms } from "./compare.ts";
import { joinWords } from "./failures.ts";
import { withFinalVerdicts } from "./final.ts";
import { worstOf } from "./machine.ts";
import { mergeSummaries, summarize } from "./recorder.ts";
import { checkRequirements, parseRequirement } from "./requirements.ts";
import { sessionsOf } from "./sessions.ts";
import { sameScenario, scenarioLabel } from "./scenarios.ts";
import { sweepResult } from "./sweeps.ts";
import { addTotals, scalarsOf } from "./totals.ts";
import type {
  ArmResult,
  BenchResult,
  Comparison,
  MachineLoad,
  MetricName,
  Metrics,
  MetricSummary,
  Pace,
  RequestCounts,
  RoundResult,
  RunTotals,
  ScenarioResult,
  ServerClockFit,
  ServerRound,
  ShardRound,
} from "./types.ts";
import { faultsIn, tooFewLeft, unequalPairs } from "./validity.ts";
import { notCompared } from "./verdict.ts";
import { addWork } from "./work.ts";

/** A shard's result: it says which part of which load it is. */
type ShardResult = BenchResult & Required<Pick<BenchResult, "shard">>;

/**
 * @param list results of all shards of one run, in any order
 * @throws Error in one line where they are not that.
 */
export function mergeShards(list: readonly BenchResult[]): BenchResult {
  const shards = shardsOf(list);
  const [first] = shards;
  const { of, session } = first!.shard;
  const merged = first!.scenarios.map((scenario) => mergeScenario(shards, scenario));
  const scenarios = withFinalVerdicts(merged);
  const texts = new Set(shards.flatMap(({ requirements }) => requirements.map(({ text }) => text)));
  const invalid = [
    ...scenarios.flatMap(faultsIn),
    ...scenarios.flatMap(unequalPairs),
    ...scenarios.flatMap(tooFewLeft),
    // What is no fault of a round: a server that could not be reached, a run that ended early.
    ...shards.flatMap((shard) => (shard.complete ? [] : shard.invalid.filter((reason) => !isOfRound(reason, shard)))),
  ];
  const { shard: _, ...head } = first!;
  const begin = ({ startedAt }: BenchResult): number => Date.parse(startedAt);
  return {
    ...head,
    startedAt: new Date(Math.min(...shards.map(begin))).toISOString(),
    durationS: shards.reduce((most, { durationS }) => Math.max(most, durationS), 0),
    complete: shards.every(({ complete }) => complete),
    environments: shards.map(({ environment }) => environment),
    calibration: null,
    scenarios,
    ...(head.sweeps === undefined ? {} : { sweeps: head.sweeps.map((sweep) => sweepResult(sweep, scenarios)) }),
    requirements: checkRequirements([...texts].map(parseRequirement), scenarios),
    invalid: [...new Set(invalid)],
    shards: {
      of,
      session,
      members: shards.map(({ shard: { shard, clock }, environment, startedAt }) => ({ shard, clock, environment, startedAt })),
    },
  };
}

/** Whether a run's reason is one of a round or an arm, which the merged rounds say anew. */
function isOfRound(reason: string, { scenarios }: BenchResult): boolean {
  return scenarios.some(
    (scenario) => reason.startsWith(`${scenarioLabel(scenario)}, `) || reason.startsWith(`${scenarioLabel(scenario)}: `),
  );
}

/** All shards of one run, by their numbers. Throws where one is missing, comes twice or belongs elsewhere. */
function shardsOf(list: readonly BenchResult[]): ShardResult[] {
  const fail = (reason: string): never => {
    throw new Error(`cannot merge: ${reason}`);
  };
  const alone = list.find(({ shard }) => shard === undefined);
  if (alone !== undefined || list.length === 0)
    fail(
      `${list.length === 0 ? "there is no result" : `the result begun at ${alone!.startedAt} is no shard`}: fakeai merge without --shards takes whole runs`,
    );
  const shards = (list as readonly ShardResult[]).toSorted((a, b) => a.shard.shard - b.shard.shard);
  const { of, session } = shards[0]!.shard;
  for (const [index, { shard, seed, environment }] of shards.entries()) {
    if (shard.session !== session || shard.of !== of)
      fail(`shard ${shard.shard} of ${shard.of} is of another run (session ${shard.session}, and ${session})`);
    if (shards[index - 1]?.shard.shard === shard.shard) fail(`shard ${shard.shard} of ${of} comes twice`);
    if (seed !== shards[0]!.seed) fail(`seeds differ: ${shards[0]!.seed} and ${seed}`);
    if (environment.fakeai !== shards[0]!.environment.fakeai)
      fail(`versions of fakeai differ: ${shards[0]!.environment.fakeai} and ${environment.fakeai}`);
  }
  const there = new Set(shards.map(({ shard }) => shard.shard));
  const missing = Array.from({ length: of }, (_, i) => i + 1).filter((number) => !there.has(number));
  if (missing.length > 0)
    fail(
      `of ${of} shards ${missing.length === 1 ? "number" : "numbers"} ${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} missing`,
    );
  return shards;
}

function mergeScenario(shards: readonly ShardResult[], first: ScenarioResult): ScenarioResult {
  const parts = shards.flatMap((result) => {
    const scenario = sameScenario(result, first);
    return scenario === undefined || scenario.skipped !== null ? [] : [{ shard: result.shard.shard, scenario }];
  });
  const head = parts[0]?.scenario;
  if (head === undefined) return first;
  const of = shards.length;
  const ids = [...new Set(parts.flatMap(({ scenario }) => scenario.arms.map(({ id }) => id)))];
  const arms = ids.map((id): ArmResult => {
    const own = parts.flatMap(({ shard, scenario }) => {
      const arm = scenario.arms.find((one) => one.id === id);
      return arm === undefined ? [] : [{ shard, arm }];
    });
    const { arm } = own[0]!;
    const numbers = [...new Set(own.flatMap(({ arm: { rounds } }) => rounds.map(({ round }) => round)))].toSorted((a, b) => a - b);
    const rounds = numbers.map((number) => {
      const there = own.flatMap(({ shard, arm: { rounds: all } }) => {
        const round = all.find((one) => one.round === number);
        return round === undefined ? [] : [{ shard, round }];
      });
      return mergeRound(there, of);
    });
    const negotiated = new Set(own.map((one) => one.arm.negotiated));
    const cipher = new Set(own.map((one) => one.arm.cipher));
    return summarizeArm({ ...arm, streams: arm.streams }, rounds, {
      negotiated: negotiated.size === 1 ? arm.negotiated : null,
      cipher: cipher.size === 1 ? arm.cipher : null,
      rttMs: arm.rttMs,
      // Where no round is left their reasons are the arm's: those of whole arms are what a shard could not even begin.
      invalid: own.flatMap((one) => (one.arm.rounds.length === 0 ? one.arm.invalid.map((reason) => nameIn(reason, one.shard, of)) : [])),
    });
  });
  const compared = head.comparisons.map((comparison) =>
    compare(
      arms,
      comparison,
      parts.map(({ scenario }) => scenario),
    ),
  );
  const notes = new Map<string, number>();
  for (const { scenario } of parts) for (const note of scenario.notes) notes.set(note, (notes.get(note) ?? 0) + 1);
  return {
    ...head,
    arms,
    comparisons: compared,
    // What a note of one shard alone says holds for its part.
    notes: [...notes].flatMap(([note, count]) => (count === parts.length || count > 1 ? [note] : [])).concat(ownNotes(parts, notes, of)),
  };
}

/** Notes that one shard alone has, with its name. */
function ownNotes(
  parts: readonly { readonly shard: number; readonly scenario: ScenarioResult }[],
  counts: ReadonlyMap<string, number>,
  of: number,
): string[] {
  if (parts.length === 1) return [];
  return parts.flatMap(({ shard, scenario }) =>
    scenario.notes.filter((note) => counts.get(note) === 1).map((note) => nameIn(note, shard, of)),
  );
}

/** Rules that no figure changes: an open loop has its rate given, a flag leaves one arm out. */
function compare(arms: readonly ArmResult[], comparison: Comparison, parts: readonly ScenarioResult[]): Comparison {
  const { reason } = comparison;
  const made = compareArms(arms, comparison);
  const isRule = reason !== null && /^(an open loop has|--protocol )/.test(reason);
  if (isRule) return notCompared(comparison, 0, reason);
  // A generator at its limit spoils times in whichever shard it ran.
  const limited = parts
    .flatMap(({ comparisons }) => comparisons)
    .find(
      (one) =>
        one.metric === comparison.metric &&
        one.baseline === comparison.baseline &&
        one.candidate === comparison.candidate &&
        /: (client|server)-limited/.test(one.reason ?? ""),
    );
  return limited === undefined ? made : notCompared(comparison, 0, limited.reason!);
}

/** A reason with the shard's name before it, where it has none. */
function nameIn(reason: string, shard: number, of: number): string {
  return /^shards? \d/.test(reason) ? reason : `shard ${shard} of ${of}: ${reason}`;
}

/** One round of one arm. `there`: the shards that have it. */
function mergeRound(there: readonly { readonly shard: number; readonly round: RoundResult }[], of: number): RoundResult {
  const { round: first } = there[0]!;
  const rounds = there.map(({ round }) => round);
  const measured = rounds.filter(({ totals }) => totals !== undefined);
  const invalid = new Set(there.flatMap(({ shard, round }) => round.invalid.map((reason) => nameIn(reason, shard, of))));
  const present = new Set(there.map(({ shard }) => shard));
  const missing = Array.from({ length: of }, (_, i) => i + 1).filter((shard) => !present.has(shard));
  for (const shard of missing)
    if (![...invalid].some((reason) => reason.startsWith(`shard ${shard} of `)))
      invalid.add(`shard ${shard} of ${of}: gone: it has nothing of this round`);
  const runs = Math.min(...measured.map(({ totals }) => totals!.length));
  const totals = Number.isFinite(runs)
    ? Array.from({ length: runs }, (_, run) => addTotals(measured.map((round) => round.totals![run]!))!)
    : [];
  const work = addWork(rounds.map((round) => round.work));
  const machine = worstMachine(rounds);
  const beginUs = Math.min(...rounds.flatMap((round) => round.beginUs ?? []));
  const pace = paceOf(there, totals, of);
  return {
    round: first.round,
    position: first.position,
    startedAt: rounds.map(({ startedAt }) => startedAt).reduce((a, b) => (Date.parse(a) <= Date.parse(b) ? a : b)),
    requests: addRequests(rounds.map(({ requests }) => requests)),
    metrics: mergeMetrics(measured.length > 0 ? measured : rounds, totals),
    ...(work === undefined ? {} : { work }),
    invalid: [...invalid],
    ...(pace === undefined ? {} : { pace }),
    ...(machine === null ? {} : { machine }),
    ...(totals.length === 0 ? {} : { totals }),
    ...(Number.isFinite(beginUs) ? { beginUs } : {}),
    ...sessionsOf(rounds),
    ...clockOf(rounds),
    ...serversOf(rounds),
    shards: there.map(({ shard, round }) => shardRound(shard, round)),
  };
}

/** Counts added; of each reason for a failure the first words. */
function addRequests(list: readonly RequestCounts[]): RequestCounts {
  const sum = (key: "sent" | "completed" | "failed" | "faulted" | "cut" | "outside"): number =>
    list.reduce((total, counts) => total + (counts[key] ?? 0), 0);
  const errors: Record<string, number> = {};
  for (const counts of list) for (const [reason, count] of Object.entries(counts.errors)) errors[reason] = (errors[reason] ?? 0) + count;
  const words = joinWords(list);
  return {
    sent: sum("sent"),
    completed: sum("completed"),
    failed: sum("failed"),
    errors,
    ...(words === undefined ? {} : { words }),
    ...(sum("faulted") > 0 && { faulted: sum("faulted") }),
    ...(sum("cut") > 0 && { cut: sum("cut") }),
    ...(sum("outside") > 0 && { outside: sum("outside") }),
  };
}

/** Distributions added; scalars from the sums behind them, and averaged over the runs of the round, which are equally long. */
function mergeMetrics(rounds: readonly RoundResult[], totals: readonly RunTotals[]): Metrics {
  const metrics: Partial<Record<MetricName, MetricSummary | null>> = {};
  for (const name of new Set(rounds.flatMap((round) => Object.keys(round.metrics) as MetricName[]))) {
    const parts = rounds.flatMap((round) => round.metrics[name] ?? []);
    const isDistribution = parts.some(({ histogram }) => histogram !== null);
    // A scalar without a sum behind it is one machine's: a server's memory, seen from elsewhere.
    metrics[name] = isDistribution ? mergeSummaries(parts) : null;
  }
  const scalars = totals.map(scalarsOf);
  for (const name of new Set(scalars.flatMap((one) => Object.keys(one) as MetricName[]))) {
    const values = scalars.flatMap((one) => one[name] ?? []);
    metrics[name] =
      values.length === 0 ? null : summarize([values.reduce((sum, { mean }) => sum + mean, 0) / values.length], values[0]!.unit);
  }
  return metrics;
}

/** Who fell behind, by the shard's name, and the plan of all. Undefined: files of earlier runs. */
function paceOf(
  there: readonly { readonly shard: number; readonly round: RoundResult }[],
  totals: readonly RunTotals[],
  of: number,
): Pace | null | undefined {
  const told = there.flatMap(({ shard, round: { pace } }) => (pace === undefined || pace === null ? [] : [{ shard, pace }]));
  if (told.length === 0) return there.some(({ round }) => round.pace === null) ? null : undefined;
  const behind = told.flatMap(({ shard, pace }) => pace.behind.map(({ who, reason }) => ({ who, reason: nameIn(reason, shard, of) })));
  const [measured, planned] = totals.reduce(([m, p], { pace }) => [m + (pace?.measuredUs ?? 0), p + (pace?.plannedUs ?? 0)], [0, 0]);
  const rates = totals.flatMap((total) => scalarsOf(total).tokensPerSecond ?? []);
  const reached = rates.length === 0 ? null : rates.reduce((sum, { mean }) => sum + mean, 0) / rates.length;
  const isTold = told.some(({ pace }) => pace.reachedTokensPerSecond !== null);
  return {
    plannedTokensPerSecond: !isTold || reached === null || planned <= 0 ? null : reached * Math.max(1, measured / planned),
    reachedTokensPerSecond: isTold ? reached : null,
    behind,
  };
}

/** Of each figure the worst machine's, and left out where one of them was disturbed. Null: none says anything. */
function worstMachine(rounds: readonly RoundResult[]): MachineLoad | null {
  const loads = rounds.flatMap(({ machine }) => machine ?? []);
  return loads.length === 0 ? null : { ...worstOf(loads), leftOut: loads.some(({ leftOut }) => leftOut) };
}

/** Of the clocks that several hosts, or several runs, saw of a server: the worst known. */
export function clockOf(rounds: readonly { readonly clock?: ServerClockFit }[]): Pick<RoundResult, "clock"> {
  const all = rounds.flatMap(({ clock }) => clock ?? []);
  if (all.length === 0) return {};
  const worst = all.reduce((a, b) => ((b.boundUs ?? Infinity) > (a.boundUs ?? Infinity) ? b : a));
  return {
    clock: {
      ...worst,
      exchanges: all.reduce((sum, { exchanges }) => sum + exchanges, 0),
      reason: all.find(({ reason }) => reason !== null)?.reason ?? null,
    },
  };
}

/** What all shards, or all runs of a round, have of each server. */
export function serversOf(rounds: readonly { readonly servers?: readonly ServerRound[] }[]): Pick<RoundResult, "servers"> {
  const all = rounds.flatMap(({ servers }) => servers ?? []);
  if (all.length === 0) return {};
  const servers = Array.from(new Set(all.map(({ address }) => address)), (address): ServerRound => {
    const own = all.filter((one) => one.address === address);
    const sum = (key: "connections" | "completed" | "failed"): number => own.reduce((total, one) => total + one[key], 0);
    return {
      address,
      ...clockOf(own),
      connections: sum("connections"),
      completed: sum("completed"),
      failed: sum("failed"),
      ttft: mergeSummaries(own.flatMap(({ ttft }) => ttft ?? [])),
      itl: mergeSummaries(own.flatMap(({ itl }) => itl ?? [])),
    };
  });
  return { servers };
}

/** What a shard did in a round, from its own part. */
function shardRound(shard: number, { requests, metrics, totals, invalid, beginUs }: RoundResult): ShardRound {
  const [first] = totals ?? [];
  const sum = (of: (run: RunTotals) => number | null): number | null =>
    totals === undefined || totals.length === 0
      ? null
      : totals.reduce<number | null>((all, run) => (all === null || of(run) === null ? null : all + of(run)!), 0);
  const durationUs = sum(({ fromUs, untilUs }) => untilUs - fromUs);
  const cpuUs = sum((run) => run.cpuUs);
  return {
    shard,
    requests,
    lateUs: first === undefined || beginUs === undefined ? null : (first.lateUs ?? null),
    durationUs,
    requestsPerSecond: metrics.requestsPerSecond?.mean ?? null,
    tokensPerSecond: metrics.tokensPerSecond?.mean ?? null,
    ttftP50Us: metrics.ttft?.p50 ?? null,
    ttftP99Us: metrics.ttft?.p99 ?? null,
    itlP99Us: metrics.itl?.p99 ?? null,
    cpuUs,
    cpuShare: cpuUs === null || durationUs === null || durationUs <= 0 ? null : cpuUs / durationUs,
    bytesReceived: sum((run) => run.bytesReceived),
    bytesSent: sum((run) => run.bytesSent),
    invalid,
  };
}
