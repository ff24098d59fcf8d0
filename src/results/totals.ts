/**
 * From the sums of a run to its scalar metrics, and from the sums of shards that ran at once to those of the whole. One function makes the
 * scalars of a single generator and of a thousand, so that both mean the same.
 */
import { summarize } from "./recorder.ts";
import type { MetricName, Metrics, MetricSummary, RunTotals, Unit, WireTotals } from "./types.ts";

function one(value: number | null, unit: Unit): MetricSummary | null {
  return value === null ? null : summarize([value], unit);
}

/** The metrics that have one value in a run. null: it cannot be told. */
export function scalarsOf(totals: RunTotals): Metrics {
  const { completed, ended, tokens, cpuUs, wire, gapsMeasuredUs, gapsPlannedUs } = totals;
  const durationUs = totals.untilUs - totals.fromUs;
  const rate = (count: number | null): MetricSummary | null =>
    one(count === null || durationUs <= 0 ? null : count / (durationUs / 1e6), "1/s");
  const per = (amount: number | null, count: number): number | null => (amount !== null && count > 0 ? amount / count : null);
  const metrics: Partial<Record<MetricName, MetricSummary | null>> = {
    durationUs: one(durationUs > 0 ? durationUs : null, "us"),
    requestsPerSecond: completed > 0 ? rate(totals.partRequests) : null,
    achievedShare: one(achievedShare(totals), "ratio"),
    goodRequestsPerSecond: rate(totals.good),
    tokensPerSecond: rate(totals.partTokens),
    inputTokensPerSecond: rate(totals.inputTokens),
    eventsPerSecond: rate(totals.partEvents),
    clientCpuUsPerRequest: one(per(cpuUs, ended), "us"),
    clientCpuUsPerToken: one(tokens === null ? null : per(cpuUs, tokens), "us"),
    bytesReceivedPerRequest: one(per(totals.bytesReceived, ended), "bytes"),
    bytesSentPerRequest: one(per(totals.bytesSent, ended), "bytes"),
    ...sessionScalars(totals),
    ...wireScalars(tokens === null ? null : wire, tokens ?? 0),
    connectionsOpened: one(totals.connectionsOpened, "count"),
    requestsAborted: one(totals.aborted, "count"),
    streamsRefused: one(totals.refused, "count"),
    itlError: one(gapsPlannedUs > 0 ? Math.abs(gapsMeasuredUs / gapsPlannedUs - 1) : null, "ratio"),
    clientEventLoopDelayP99Us: one(totals.eventLoopDelayP99Us, "us"),
  };
  return metrics;
}

/** What one whole session took, and what its server had cached; nothing where neither is known. */
function sessionScalars({ sessions, cachedTokens, inputTokens, bytesReceived, bytesSent, cpuUs }: RunTotals): Metrics {
  const per = (amount: number | null): number | null => (amount !== null && (sessions ?? 0) > 0 ? amount / sessions! : null);
  return {
    ...(cachedTokens === undefined
      ? {}
      : { cachedShare: one(cachedTokens === null || !inputTokens ? null : cachedTokens / inputTokens, "ratio") }),
    ...(sessions === undefined
      ? {}
      : {
          bytesReceivedPerSession: one(per(bytesReceived), "bytes"),
          bytesSentPerSession: one(per(bytesSent), "bytes"),
          clientCpuUsPerSession: one(per(cpuUs), "us"),
        }),
  };
}

/**
 * Completed requests a second, from the first end to the last, by sent ones a second, from the first planned send to the last:
 * neither holds the wait for the last answer, which would make a rate that is served look as if it were not. Null for fewer than
 * three requests.
 */
function achievedShare({ open, completed }: RunTotals): number | null {
  if (open === null || completed < 3 || open.endedFromUs === null || open.endedUntilUs === null) return null;
  const planned = open.plannedUntilUs - open.plannedFromUs;
  const ended = open.endedUntilUs - open.endedFromUs;
  return planned <= 0 || ended <= 0 ? null : ((completed - 1) / ended) * (planned / (open.planned - 1));
}

/** Bytes by what they are for, over the tokens of all answers. */
function wireScalars(wire: WireTotals | null, tokens: number): Metrics {
  const share = (bytes: number | null | undefined): MetricSummary | null =>
    one(bytes === null || bytes === undefined ? null : bytes / tokens, "bytes");
  const total = wire === null ? null : Object.values(wire).reduce((sum: number, bytes: number | null) => sum + (bytes ?? 0), 0);
  return {
    wireBytesPerToken: share(total),
    dataBytesPerToken: share(wire?.data),
    framingBytesPerToken: share(wire?.framing),
    headBytesPerToken: share(wire?.head),
    requestBytesPerToken: share(wire?.request),
    windowUpdateBytesPerToken: share(wire?.windowUpdate),
    settingsBytesPerToken: share(wire?.settings),
    pingBytesPerToken: share(wire?.ping),
    otherFrameBytesPerToken: share(wire?.other),
  };
}

/**
 * The sums of runs that were made at once, each with a part of one load: counts, CPU time and bytes added, from the first begin to the last
 * end. What one of them cannot tell is null; one that completed nothing has nothing to tell.
 */
export function addTotals(list: readonly RunTotals[]): RunTotals | null {
  const [first, ...rest] = list;
  return first === undefined ? null : rest.reduce(together, first);
}

/** Members that are added. */
const counts = ["completed", "ended", "partRequests", "cpuUs", "connectionsOpened", "gapsMeasuredUs", "gapsPlannedUs"] as const;
/** Members that are added where both are known. */
const known = ["bytesReceived", "bytesSent", "aborted", "refused"] as const;
/** Members that only answers tell. */
const told = ["partEvents", "partTokens", "good", "inputTokens", "tokens"] as const;

function together(a: RunTotals, b: RunTotals): RunTotals {
  const sum = (x: number | null, y: number | null): number | null => (x === null || y === null ? null : x + y);
  const either = (x: number | null, y: number | null): number | null => (a.completed === 0 ? y : b.completed === 0 ? x : sum(x, y));
  return {
    ...(Object.fromEntries([
      ...counts.map((key) => [key, a[key] + b[key]]),
      ...known.map((key) => [key, sum(a[key], b[key])]),
      ...told.map((key) => [key, either(a[key], b[key])]),
    ]) as Pick<RunTotals, (typeof counts)[number] | (typeof known)[number] | (typeof told)[number]>),
    fromUs: Math.min(a.fromUs, b.fromUs),
    untilUs: Math.max(a.untilUs, b.untilUs),
    ...(a.sessions === undefined && b.sessions === undefined ? {} : { sessions: (a.sessions ?? 0) + (b.sessions ?? 0) }),
    ...(a.cachedTokens === undefined && b.cachedTokens === undefined
      ? {}
      : { cachedTokens: either(a.cachedTokens ?? null, b.cachedTokens ?? null) }),
    wire: a.wire === null || b.wire === null ? null : addWire(a.wire, b.wire),
    ...(a.lateUs === undefined && b.lateUs === undefined ? {} : { lateUs: Math.max(a.lateUs ?? 0, b.lateUs ?? 0) }),
    eventLoopDelayP99Us: Math.max(a.eventLoopDelayP99Us, b.eventLoopDelayP99Us),
    open: addOpen(a.open, b.open),
    pace: a.pace === null || b.pace === null ? (a.pace ?? b.pace) : addPace(a.pace, b.pace),
  };
}

function addWire(a: WireTotals, b: WireTotals): WireTotals {
  const sum = (key: keyof WireTotals): number | null => (a[key] === null || b[key] === null ? null : a[key] + b[key]);
  return {
    data: a.data + b.data,
    framing: a.framing + b.framing,
    head: a.head + b.head,
    request: a.request + b.request,
    windowUpdate: sum("windowUpdate"),
    settings: sum("settings"),
    ping: sum("ping"),
    other: sum("other"),
  };
}

function addOpen(a: RunTotals["open"], b: RunTotals["open"]): RunTotals["open"] {
  if (a === null || b === null) return a ?? b;
  const both = (x: number | null, y: number | null, choose: (x: number, y: number) => number): number | null =>
    x === null || y === null ? (x ?? y) : choose(x, y);
  return {
    planned: a.planned + b.planned,
    plannedFromUs: Math.min(a.plannedFromUs, b.plannedFromUs),
    plannedUntilUs: Math.max(a.plannedUntilUs, b.plannedUntilUs),
    endedFromUs: both(a.endedFromUs, b.endedFromUs, Math.min),
    endedUntilUs: both(a.endedUntilUs, b.endedUntilUs, Math.max),
  };
}

function addPace(a: NonNullable<RunTotals["pace"]>, b: NonNullable<RunTotals["pace"]>): RunTotals["pace"] {
  return { measuredUs: a.measuredUs + b.measuredUs, plannedUs: a.plannedUs + b.plannedUs };
}

/** The same run, with its instants on another clock: `shiftUs` is the other clock minus this one. */
export function shifted(totals: RunTotals, shiftUs: number): RunTotals {
  const { open } = totals;
  const at = (us: number | null): number | null => (us === null ? null : us + shiftUs);
  return {
    ...totals,
    fromUs: totals.fromUs + shiftUs,
    untilUs: totals.untilUs + shiftUs,
    open:
      open === null
        ? null
        : {
            ...open,
            plannedFromUs: open.plannedFromUs + shiftUs,
            plannedUntilUs: open.plannedUntilUs + shiftUs,
            endedFromUs: at(open.endedFromUs),
            endedUntilUs: at(open.endedUntilUs),
          },
  };
}
