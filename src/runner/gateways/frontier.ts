/**
 * What a gateway adds, from few streams to saturation: at each rate runs go direct and through each gateway in turns, with the
 * same requests, arrivals and connection habits, and the differences are taken round by round.
 */
import { constantArrivalsUs } from "../../load/arrivals.ts";
import { cpuShareLimit } from "../../load/limits.ts";
import type { Endpoint, LoadDriver, LoadJob, LoadReport, PlannedRequest } from "../../load/job.ts";
import type { Added, Level, LevelSide } from "../../results/gateways/types.ts";
import { protocolTraits } from "../../results/protocols.ts";
import { estimateMean, estimateMedian } from "../../results/statistics.ts";
import type { DistributionMetric } from "../../results/types.ts";
import { orderOfRounds } from "../plan/order.ts";
import { bodyOf, takesEverything } from "../plan/body.ts";
import { MachineWatch } from "../processes/disturbance.ts";
import type { ProcessUsage } from "../processes/machine.ts";

/** The plan of every answer in the levels. */
export interface LevelPlan {
  readonly ttftMs: number;
  readonly itlMs: number;
  readonly outputTokens: number;
  /** Length of a run, seconds. */
  readonly runS: number;
  readonly rounds: number;
  readonly boundMs: number;
  readonly seed: number;
  readonly model: string;
  /** Names the clock that client and server share; null: none. */
  readonly clock: string | null;
}

/** One way to the server. */
export interface Way {
  readonly id: string;
  readonly endpoint: Endpoint;
  /** null: it is direct. */
  readonly gateway: { usage(): ProcessUsage | null; readonly died: string | null } | null;
  /** What the server itself has used, and its process. */
  readonly server: { readonly pid: number | null };
}

/** One run: what it showed, or why it could not be done. */
type Attempt = Run | { readonly failure: string };

interface Run {
  readonly report: LoadReport;
  readonly gatewayCpuUs: number | null;
  readonly disturbed: boolean;
}

/** Requests a second at which so many streams are under way, where nothing adds to the plan. */
export function rateOf(streams: number, { ttftMs, itlMs, outputTokens }: LevelPlan): number {
  return (streams * 1000) / (ttftMs + itlMs * (outputTokens - 1));
}

/** HTTP/2 streams that are put on one connection. */
const streamsPerConnection = 100;

/** The job of a run: an open loop at a constant rate, with room for ten times the planned streams before requests wait in the client. */
function jobOf(endpoint: Endpoint, streams: number, round: number, plan: LevelPlan): LoadJob {
  const rate = rateOf(streams, plan);
  const count = Math.max(4, Math.round(rate * plan.runS));
  const most = Math.max(16, streams * 10);
  const isMultiplexed = protocolTraits[endpoint.protocol].isMultiplexed;
  const request = (index: number, seed: number): PlannedRequest => ({
    body: bodyOf({
      path: endpoint.path,
      stream: true,
      prompt: `Call ${index} of gateways.`,
      outputTokens: plan.outputTokens,
      seed,
      model: plan.model,
      accepted: takesEverything,
      includeUsage: true,
    }),
    tokens: plan.outputTokens,
  });
  const arrivals = Array.from(constantArrivalsUs(rate, count));
  return {
    endpoint,
    connections: isMultiplexed ? Math.ceil(most / streamsPerConnection) : most,
    reuse: "grow",
    streams: most,
    mode: "open",
    warmup: Array.from({ length: Math.min(count, Math.max(2, streams)) }, (_, index) => request(index, 1_000_000 + index)),
    requests: arrivals.map((atUs, index) => ({ ...request(index, plan.seed * 10_000 + round * 1000 + (index % 1000)), atUs })),
    ...(isMultiplexed ? { atStreamLimit: "queue" as const } : {}),
    gateway: true,
    idleTimeoutMs: 10_000,
    requestTimeoutMs: 20_000,
    stream: true,
    detail: false,
    clock: plan.clock,
  };
}

export interface LevelContext {
  readonly driver: LoadDriver;
  readonly signal: AbortSignal;
  readonly progress: (text: string) => void;
}

/** What direct runs alone say of a level. */
export interface OwnLevel {
  readonly requestsPerSecond: number;
  /** Why client and server do not keep up with it; null: they do. */
  readonly reason: string | null;
  /** Share of a core that the client took, the most of the runs. */
  readonly clientCpuShare: number | null;
}

/**
 * Runs one level for a direct way and the ways that are compared with it; a level for each of these, by its id. Where it is
 * interrupted, what has no whole round is left out of both.
 */
export async function runLevel(
  direct: Way,
  through: readonly Way[],
  streams: number,
  plan: LevelPlan,
  { driver, signal, progress }: LevelContext,
): Promise<{ readonly own: OwnLevel | null; readonly levels: ReadonlyMap<string, Level> }> {
  const ways = [direct, ...through];
  const runs = new Map<string, Attempt[]>(ways.map(({ id }) => [id, []]));
  for (const [round, order] of orderOfRounds(ways.length, plan.rounds, plan.seed + streams).entries()) {
    for (const index of order) {
      const way = ways[index]!;
      if (signal.aborted) break;
      progress(`${streams} streams, round ${round + 1} of ${plan.rounds}: ${way.id}`);
      const died = way.gateway?.died ?? null;
      const job = jobOf(way.endpoint, streams, round, plan);
      const attempt = died === null ? await runOnce(way, job, driver, signal) : { failure: died };
      // A run that was broken off fails its requests by itself: no side has met a limit.
      if (!signal.aborted) runs.get(way.id)![round] = attempt;
    }
  }
  const directRuns = runs.get(direct.id)!;
  const done = doneOf(directRuns);
  const clientCpuShare = most(done.map(({ report }) => report.clientCpuShare));
  const reason = ownLimit(sideOf(done), directRuns.length, clientCpuShare, failureOf(directRuns));
  return {
    own: directRuns.length === 0 ? null : { requestsPerSecond: rateOf(streams, plan), reason, clientCpuShare },
    levels: new Map(
      through
        .filter(({ id }) => !signal.aborted || Math.min(directRuns.length, runs.get(id)!.length) > 0)
        .map((way) => [way.id, levelOf(streams, directRuns, runs.get(way.id)!, plan, way)]),
    ),
  };
}

async function runOnce(way: Way, job: LoadJob, driver: LoadDriver, signal: AbortSignal): Promise<Attempt> {
  const watch = new MachineWatch();
  const watched = { server: way.server.pid, load: driver.pid };
  let before: ProcessUsage | null = null;
  let after: ProcessUsage | null = null;
  try {
    const report = await driver.run(job, {
      signal,
      cpu: null,
      onPhase: (phase) => {
        if (phase === "begin") {
          before = way.gateway?.usage() ?? null;
          watch.begin({ ...watched, load: driver.pid });
        } else {
          after = way.gateway?.usage() ?? null;
          watch.end({ ...watched, load: driver.pid });
        }
      },
      onProgress: () => {},
    });
    const [from, to] = [before as ProcessUsage | null, after as ProcessUsage | null];
    const told = { server: null, load: report.pauses ?? null, durationUs: report.durationUs, othersKnown: true };
    const { disturbed } = watch.load({ server: way.server.pid, load: driver.pid }, told);
    return { report, gatewayCpuUs: from === null || to === null ? null : to.cpuUs - from.cpuUs, disturbed: disturbed.length > 0 };
  } catch (error) {
    return { failure: (error as Error).message };
  }
}

type Figure = (run: Run) => number | null;

const statistic =
  (metric: DistributionMetric, which: "p50" | "p99"): Figure =>
  ({ report }) =>
    report.metrics[metric]?.[which] ?? null;

const ttftP50 = statistic("ttftFromIntended", "p50");
const ttftP99 = statistic("ttftFromIntended", "p99");
const itlP50 = statistic("itl", "p50");
const itlP99 = statistic("itl", "p99");

/** Share of the offered rate below which a way does not keep up. */
const keepsUp = 0.95;
/** Requests of a run from which on its rate is judged: of few, one that is late is a large share. */
const ratedFrom = 20;

/** A level from its runs: medians of the differences, means below six rounds. Round `i` of the one list is paired with round `i` of the other. */
export function levelOf(
  streams: number,
  direct: readonly Attempt[],
  through: readonly Attempt[],
  plan: LevelPlan,
  { gateway }: Pick<Way, "gateway">,
): Level {
  const pairs = direct.flatMap((one, round) => {
    const other = through[round];
    return other === undefined || "failure" in one || "failure" in other ? [] : [{ one, other }];
  });
  const added = (figure: Figure): Added | null => {
    const differences = pairs.flatMap(({ one, other }) => {
      const [from, to] = [figure(one), figure(other)];
      return from === null || to === null ? [] : [to - from];
    });
    const estimate = estimateMedian(differences) ?? estimateMean(differences);
    return estimate === null ? null : { estimateUs: estimate.estimate, lowUs: estimate.low, highUs: estimate.high };
  };
  const own = doneOf(through);
  const straight = doneOf(direct);
  const all = [...straight, ...own];
  const per = (count: (report: LoadReport) => number): number | null => {
    const known = own.filter(({ gatewayCpuUs }) => gatewayCpuUs !== null);
    const total = known.reduce((sum, { report }) => sum + count(report), 0);
    return total === 0 ? null : known.reduce((sum, { gatewayCpuUs }) => sum + gatewayCpuUs!, 0) / total;
  };
  const sides = { direct: sideOf(straight), through: sideOf(own) };
  const addedTtftP99 = added(ttftP99);
  return {
    streams,
    requestsPerSecond: rateOf(streams, plan),
    rounds: pairs.length,
    ...sides,
    addedTtftP50: added(ttftP50),
    addedTtftP99,
    addedTokenP50: added(statistic("transport", "p50")),
    addedTokenP99: added(statistic("transport", "p99")),
    addedItlP99: added(itlP99),
    gatewayCpuUsPerRequest: per(({ requests }) => requests.completed),
    gatewayCpuUsPerToken: per(({ tokens }) => tokens ?? 0),
    gatewayRssBytes: gateway?.usage()?.rssBytes ?? null,
    clientCpuShare: most(all.map(({ report }) => report.clientCpuShare)),
    clientPauseUs: most(all.map(({ report }) => report.pauses?.longestUs)),
    disturbedRuns: all.filter(({ disturbed }) => disturbed).length,
    ...limitOf(sides, pairs.length, addedTtftP99, plan, most(straight.map(({ report }) => report.clientCpuShare)), {
      direct: failureOf(direct),
      through: gateway?.died ?? failureOf(through),
    }),
  };
}

function failureOf(runs: readonly Attempt[]): string | null {
  return runs.flatMap((run) => ("failure" in run ? [run.failure] : []))[0] ?? null;
}

function most(values: readonly (number | null | undefined)[]): number | null {
  return values.reduce<number | null>((max, value) => (value == null ? max : Math.max(max ?? 0, value)), null);
}

function doneOf(runs: readonly Attempt[]): Run[] {
  return runs.flatMap((run) => ("failure" in run ? [] : [run]));
}

const percent = (share: number): string => `${Math.round(share * 100)}%`;

function isBehind({ achievedShare, sent }: LevelSide, rounds: number): boolean {
  return achievedShare !== null && achievedShare < keepsUp && sent >= rounds * ratedFrom;
}

/** Why client and server themselves do not keep up, by their direct runs; null: they do. */
function ownLimit(direct: LevelSide, rounds: number, clientCpuShare: number | null, failure: string | null): string | null {
  if (failure !== null) return failure;
  if (clientCpuShare !== null && clientCpuShare > cpuShareLimit)
    return `the measuring client took ${percent(clientCpuShare)} of a core in direct runs`;
  if (direct.failed > 0) return `${direct.failed} of ${direct.sent} direct requests failed`;
  return isBehind(direct, rounds) ? `direct runs served ${percent(direct.achievedShare!)} of what was offered` : null;
}

/** Whose limit a level has met. What befalls direct runs too is not the gateway's doing. */
function limitOf(
  { direct, through }: { readonly direct: LevelSide; readonly through: LevelSide },
  rounds: number,
  addedTtftP99: Added | null,
  { ttftMs, boundMs }: LevelPlan,
  clientCpuShare: number | null,
  failures: { readonly direct: string | null; readonly through: string | null },
): Pick<Level, "limit" | "reason"> {
  if (failures.direct !== null) return { limit: "client or server", reason: failures.direct };
  if (failures.through !== null) return { limit: "gateway", reason: failures.through };
  const own = ownLimit(direct, rounds, clientCpuShare, null);
  if (own !== null) return { limit: "client or server", reason: own };
  if (rounds === 0) return { limit: "gateway", reason: "no run through the gateway came to its end" };
  if (through.failed > 0) return { limit: "gateway", reason: `${through.failed} of ${through.sent} requests failed` };
  // Where direct runs are late as well, the difference has to be plain.
  if (isBehind(through, rounds) && through.achievedShare! < (direct.achievedShare ?? 1) - (1 - keepsUp))
    return { limit: "gateway", reason: `served ${percent(through.achievedShare!)} of what was offered` };
  // What a busy machine adds to some runs and not to others is no gateway's doing: all of the interval has to be above the bound.
  if (addedTtftP99 !== null && addedTtftP99.lowUs > boundMs * 1000)
    return { limit: "gateway", reason: `adds ${(addedTtftP99.estimateUs / 1000).toFixed(1)} ms to TTFT at p99, the bound is ${boundMs}` };
  if (direct.ttftP99Us !== null && direct.ttftP99Us > (ttftMs + boundMs) * 1000)
    return { limit: null, reason: `direct TTFT is ${(direct.ttftP99Us / 1000).toFixed(1)} ms at p99, ${ttftMs} planned: a busy machine` };
  return { limit: null, reason: null };
}

function sideOf(all: readonly Run[]): LevelSide {
  const mean = (figure: Figure): number | null => {
    const values = all.map(figure).filter((value) => value !== null);
    return values.length === 0 ? null : values.reduce((sum, value) => sum + value, 0) / values.length;
  };
  const sum = (count: (report: LoadReport) => number): number => all.reduce((total, { report }) => total + count(report), 0);
  const shares = all.map(({ report }) => report.metrics.achievedShare?.mean ?? null).filter((share) => share !== null);
  const events = sum(({ work }) => work?.events ?? 0);
  const reads = sum(({ work }) => work?.contentReads ?? 0);
  return {
    sent: sum(({ requests }) => requests.sent),
    completed: sum(({ requests }) => requests.completed),
    failed: sum(({ requests }) => requests.failed),
    ttftP50Us: mean(ttftP50),
    ttftP99Us: mean(ttftP99),
    itlP50Us: mean(itlP50),
    itlP99Us: mean(itlP99),
    achievedShare: shares.length === 0 ? null : shares.reduce((total, share) => total + share, 0) / shares.length,
    readsPerEvent: events === 0 || reads === 0 ? null : reads / events,
  };
}
