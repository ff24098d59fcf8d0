/** From what a client wrote down and what the server logged to metrics: the two are paired by request, and by token. */
import type { ClientRecord, CommandRun, SeenStream } from "../../load/drivers/command.ts";
import { Recorder, summarize } from "../../results/recorder.ts";
import type { DistributionMetric, MetricName, MetricSummary, RequestCounts, Unit } from "../../results/types.ts";
import type { StreamLogged, StreamRecord } from "../../base/parent-channel.ts";

/** One stream, at both ends. */
export interface PairedStream {
  readonly seen: SeenStream;
  /** Null where no such request has arrived. */
  readonly logged: StreamRecord | null;
}

/** Pairs what was seen with what was sent; of a request that a library has made again, the last one counts. */
export function pairStreams(record: ClientRecord, { streams }: StreamLogged): PairedStream[] {
  const byKey = new Map(streams.flatMap((stream) => (stream.key === null ? [] : [[stream.key, stream] as const])));
  return record.streams.map((seen) => ({ seen, logged: byKey.get(seen.key) ?? null }));
}

/** Most streams that were under way at one time. Hung ones count until the end. */
export function mostAtOnce(streams: readonly StreamRecord[]): number {
  const changes = streams.flatMap(({ receivedUs, sentUs, planned }): [number, number][] => {
    const ended: [number, number][] = sentUs.length === planned ? [[receivedUs + (sentUs.at(-1) ?? 0), -1]] : [];
    return [[receivedUs, 1], ...ended];
  });
  let now = 0;
  let most = 0;
  for (const [, change] of changes.sort(([a, by], [b, other]) => a - b || by - other)) most = Math.max(most, (now += change));
  return most;
}

/** What one run has shown. */
export interface ClientFindings {
  /** Why it may not be used, beside failed requests. */
  readonly faults?: readonly string[];
  readonly requests: RequestCounts;
  readonly metrics: Partial<Record<MetricName, MetricSummary | null>>;
}

type Findings = Partial<Record<MetricName, MetricSummary | null>>;

function one(value: number | null, unit: Unit): MetricSummary | null {
  return value === null || !Number.isFinite(value) ? null : summarize([value], unit);
}

/** Metrics that the server's side alone tells. */
function servedMetrics({ streams, connectionsAccepted }: StreamLogged): Findings {
  return {
    connectionsOpened: one(connectionsAccepted, "count"),
    streamsAtOnce: one(streams.length === 0 ? null : mostAtOnce(streams), "count"),
  };
}

/** More tokens than this cannot have been seen before they were sent; a few microseconds are lost in reading two clocks. */
const mostEarly = 0.01;

/** A run of whole streams by a client that wrote a record. */
export function findingsOf(record: ClientRecord, logged: StreamLogged): ClientFindings {
  const names = ["ttft", "ttftAdded", "tokenAdded", "itl", "tpot", "e2el", "serverLateness", "plannedTtft"] as const;
  const recorders = Object.fromEntries(names.map((name) => [name, new Recorder("us")])) as Record<(typeof names)[number], Recorder>;
  const errors: Record<string, number> = {};
  let completed = 0;
  let tokens = 0;
  const pairs = pairStreams(record, logged);
  for (const pair of pairs) {
    const reason = failureOf(pair);
    if (reason !== null) {
      errors[reason] = (errors[reason] ?? 0) + 1;
      continue;
    }
    completed++;
    tokens += pair.seen.tokens;
    recordStream(pair.seen, pair.logged!, recorders);
  }
  const durationUs = record.endedUs - record.beganUs;
  const { cpuUs, idleRssBytes, rssBytes } = record;
  const failed = pairs.length - completed;
  const early = recorders.tokenAdded.clamped / Math.max(1, recorders.tokenAdded.count);
  return {
    requests: { sent: pairs.length, completed, failed, errors },
    faults:
      early > mostEarly
        ? [`${Math.round(early * 100)}% of the tokens were seen before they were sent: the record's clock is another one`]
        : [],
    metrics: {
      ...Object.fromEntries(names.map((name): [DistributionMetric, MetricSummary | null] => [name, recorders[name].summary()])),
      durationUs: one(durationUs, "us"),
      requestsPerSecond: one(completed > 0 ? (completed / durationUs) * 1e6 : null, "1/s"),
      tokensPerSecond: one(tokens > 0 ? (tokens / durationUs) * 1e6 : null, "1/s"),
      // The cost of failed streams is not known.
      clientCpuUsPerToken: one(cpuUs === null || failed > 0 || tokens === 0 ? null : cpuUs / tokens, "us"),
      clientRssBytesPerStream: one(
        idleRssBytes === null || rssBytes === null || completed === 0 ? null : Math.max(0, rssBytes - idleRssBytes) / completed,
        "bytes",
      ),
      ...servedMetrics(logged),
    },
  };
}

function failureOf({ seen, logged }: PairedStream): string | null {
  if (seen.error !== null) return seen.error;
  if (logged === null) return "the request never arrived";
  if (logged.sentUs.length < logged.planned) return "incomplete stream";
  return seen.tokens === logged.planned && seen.tokenUs.length === seen.tokens ? null : "wrong token count";
}

function recordStream(
  { startUs, tokenUs }: SeenStream,
  { receivedUs, dueUs, sentUs }: StreamRecord,
  to: Record<"ttft" | "ttftAdded" | "tokenAdded" | "itl" | "tpot" | "e2el" | "serverLateness" | "plannedTtft", Recorder>,
): void {
  const first = tokenUs[0]! - startUs;
  const last = tokenUs.at(-1)! - startUs;
  to.ttft.record(first);
  to.e2el.record(last);
  to.plannedTtft.record(dueUs[0]!);
  if (tokenUs.length > 1) to.tpot.record((last - first) / (tokenUs.length - 1));
  // All but the server's own time, from its having the request to its handing over the first token.
  to.ttftAdded.record(first - sentUs[0]!);
  for (const [i, seenUs] of tokenUs.entries()) {
    if (i > 0) to.itl.record(seenUs - tokenUs[i - 1]!);
    to.tokenAdded.record(seenUs - receivedUs - sentUs[i]!);
    to.serverLateness.record(sentUs[i]! - dueUs[i]!);
  }
}

/** A run by a command that wrote none: what the server saw, and what its processes used meanwhile. */
export function findingsWithoutRecord({ samples }: Pick<CommandRun, "samples">, logged: StreamLogged): ClientFindings {
  const { streams } = logged;
  const lateness = new Recorder("us");
  const plannedTtft = new Recorder("us");
  let completed = 0;
  let tokens = 0;
  let beganUs = Infinity;
  let endedUs = 0;
  for (const { receivedUs, planned, dueUs, sentUs } of streams) {
    if (sentUs.length === planned) completed++;
    tokens += sentUs.length;
    beganUs = Math.min(beganUs, receivedUs);
    endedUs = Math.max(endedUs, receivedUs + (sentUs.at(-1) ?? 0));
    if (dueUs.length > 0) plannedTtft.record(dueUs[0]!);
    for (let i = 0; i < sentUs.length; i++) lateness.record(sentUs[i]! - dueUs[i]!);
  }
  const failed = streams.length - completed;
  const durationUs = endedUs - beganUs;
  const cpuUs = tokens === 0 ? null : cpuBetween(samples, beganUs, endedUs);
  return {
    requests: { sent: streams.length, completed, failed, errors: failed === 0 ? {} : { "incomplete stream": failed } },
    metrics: {
      serverLateness: lateness.summary(),
      plannedTtft: plannedTtft.summary(),
      durationUs: one(tokens > 0 ? durationUs : null, "us"),
      tokensPerSecond: one(tokens > 0 ? (tokens / durationUs) * 1e6 : null, "1/s"),
      clientCpuUsPerToken: one(cpuUs === null ? null : cpuUs / tokens, "us"),
      ...servedMetrics(logged),
    },
  };
}

/** CPU time between two moments, between samples in proportion; null where the samples do not reach over them. */
function cpuBetween(samples: CommandRun["samples"], fromUs: number, toUs: number): number | null {
  const at = (us: number): number | null => {
    const after = samples.findIndex(({ atUs }) => atUs >= us);
    const [low, high] = [samples[after - 1], samples[after]];
    if (low === undefined || high === undefined) return null;
    return low.cpuUs + ((us - low.atUs) / (high.atUs - low.atUs)) * (high.cpuUs - low.cpuUs);
  };
  // A command is gone soon after its last token: the last sample stands for the end where it is near enough.
  const last = samples.at(-1);
  const from = at(fromUs);
  const to = at(toUs) ?? (last !== undefined && toUs - last.atUs < 0.05 * (toUs - fromUs) ? last.cpuUs : null);
  return from === null || to === null ? null : to - from;
}

/** A token that is on its way for so long is one that the client has fallen behind with. */
const behindUs = 100_000;
/** A server that is so late has fallen behind itself. */
const lateUs = 50_000;
const windowUs = 200_000;

export interface Ramp {
  /** Tokens per second that were offered when the client fell behind for good; null: it has not, or the server did before. */
  readonly behindAt: number | null;
  /** Tokens per second that were offered when the server fell behind for good, and was what limits; null: it was not. */
  readonly serverLimitedAt: number | null;
  /** The highest rate that was offered. */
  readonly top: number;
}

/**
 * Where a client falls behind while ever more streams are open, each with a token every `itlUs`. It has at the first window
 * of 200 ms from which on, until the end, the median token is seen more than 100 ms after the server handed it over. What was
 * not seen at all is late until the end.
 */
export function rampOf(record: ClientRecord, logged: StreamLogged, itlUs: number): Ramp {
  const { beganUs, endedUs } = record;
  const opened: number[] = [];
  const clientLags: number[][] = [];
  const serverLags: number[][] = [];
  for (const { seen, logged: stream } of pairStreams(record, logged)) {
    if (stream === null || stream.dueUs.length === 0) continue;
    const { receivedUs, dueUs, sentUs } = stream;
    opened.push(receivedUs + dueUs[0]!);
    for (let i = 0; i < sentUs.length; i++) {
      const sentAtUs = receivedUs + sentUs[i]!;
      const window = Math.max(0, Math.floor((sentAtUs - beganUs) / windowUs));
      (clientLags[window] ??= []).push((seen.tokenUs[i] ?? endedUs) - sentAtUs);
      (serverLags[window] ??= []).push(sentUs[i]! - dueUs[i]!);
    }
  }
  // Tokens that were sent at the very end cannot be late yet.
  const judged = Math.floor((endedUs - beganUs - behindUs) / windowUs);
  const client = fallsBehindIn(clientLags.slice(0, judged), behindUs);
  const server = fallsBehindIn(serverLags.slice(0, judged), lateUs);
  const rateIn = (window: number): number => (opened.filter((us) => us <= beganUs + window * windowUs).length * 1e6) / itlUs;
  // A client that reads no more makes the server late as well, but later.
  const isServer = server !== null && (client === null || server < client);
  return {
    behindAt: client === null || isServer ? null : rateIn(client),
    serverLimitedAt: isServer ? rateIn(server) : null,
    top: (opened.length * 1e6) / itlUs,
  };
}

/** A request or a last token that is on its way for longer than this when a ramp ends is lost, not late. */
const lostUs = 1_000_000;

/** Whether a stream is lost when its ramp ends: for longer than `lostUs` the server has not seen it, or has sent all of it. */
function isLost({ startUs, tokens }: SeenStream, stream: StreamRecord | null, endedUs: number): boolean {
  // A client that falls behind sends its last requests late, or not at all: those are not lost.
  if (stream === null) return startUs > 0 && endedUs - startUs > lostUs;
  const { receivedUs, planned, sentUs } = stream;
  return sentUs.length === planned && tokens < planned && endedUs - receivedUs - (sentUs.at(-1) ?? 0) > lostUs;
}

/** Counts the streams of a ramp. It ends while most are under way: those have not failed, unless they are lost. */
export function rampCounts(record: ClientRecord, logged: StreamLogged): RequestCounts {
  const errors: Record<string, number> = {};
  let [completed, failed, cut] = [0, 0, 0];
  for (const { seen, logged: stream } of pairStreams(record, logged)) {
    const error = seen.error ?? (isLost(seen, stream, record.endedUs) ? "lost" : null);
    if (error !== null) {
      failed++;
      errors[error] = (errors[error] ?? 0) + 1;
    } else if (stream !== null && seen.tokens === stream.planned) completed++;
    else cut++;
  }
  return { sent: record.streams.length, completed, failed, errors, ...(cut > 0 && { cut }) };
}

/** The first window from which on, until the end, the median is above the limit; null for none. */
function fallsBehindIn(windows: readonly (number[] | undefined)[], limitUs: number): number | null {
  let first: number | null = null;
  for (const [index, lags] of windows.entries()) {
    if (lags === undefined) continue;
    const median = lags.sort((a, b) => a - b)[lags.length >> 1]!;
    if (median <= limitUs) first = null;
    else first ??= index;
  }
  return first;
}
