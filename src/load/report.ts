/** From what a generator saw to a `LoadReport`. Failed requests are counted and are in no distribution. */
import { isSpoken, protocolTraits } from "../results/protocols.ts";
import { Recorder, summarize } from "../results/recorder.ts";
import type { DistributionMetric, MetricName, Metrics, MetricSummary, RequestCounts, Work } from "../results/types.ts";
import type { Answer } from "./answer.ts";
import { keepsTerms } from "./good.ts";
import type { LoadJob, LoadReport, RequestDetail } from "./job.ts";
import { cpuShareLimit } from "./limits.ts";
import { paceOf } from "./pace.ts";
import { cameIn, leftIn, measuredPart, slicesOf } from "./steady.ts";
import { tokensIn, workOf } from "./work.ts";
import { withoutSecrets } from "./words.ts";
import type { Http2Limits, WireBytes } from "./client/connection.ts";

export interface RunFacts {
  readonly answers: readonly Answer[];
  /** Of the warm-up: what is told in detail where no other request was sent. */
  readonly warmUpAnswers: readonly Answer[];
  readonly unsent: number;
  readonly unsentReason: string | null;
  readonly lagUs: readonly number[];
  readonly heldBack: number;
  readonly startedUs: number;
  readonly endedUs: number;
  readonly cpuUs: number;
  readonly eventLoopDelayP99Us: number;
  /** The delay that 1% of all turns of the event loop exceed, and at least ten turns. */
  readonly eventLoopDelayUs: number;
  readonly bytesReceived: number;
  readonly bytesSent: number;
  /** Null where no connection could be opened. */
  readonly wire: WireBytes | null;
  /** Streams that were refused and sent again; null where refused streams are not sent again. */
  readonly refused: number | null;
  /** Why streams beside the measured ones ended. */
  readonly backgroundFailures: readonly string[];
  readonly connectionsOpened: number;
  readonly connectionsLost: number;
  readonly connectUs: readonly number[];
  readonly negotiated: readonly string[];
  readonly cipher: string | null;
  readonly http2: Http2Limits | null;
  readonly interrupted: boolean;
  readonly protocolInvalid: string | null;
}

/** With an event loop, or half of all requests, this late, the figures are wrong. */
const delayLimitUs = 10_000;

/** A server that claims more in one event is not followed. */
const mostTokensInEvent = 1000;

const distributions: readonly DistributionMetric[] = [
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
  "serverLateness",
  "transport",
  "client",
  "plannedTtft",
];

export function sumUp(job: LoadJob, facts: RunFacts): LoadReport {
  const recorders = Object.fromEntries(distributions.map((name) => [name, new Recorder("us")])) as Record<DistributionMetric, Recorder>;
  const errors: Record<string, number> = {};
  const words: Record<string, string> = {};
  let completed = 0;
  let failed = 0;
  let aborted = 0;
  let faulted = 0;
  const answered: Answer[] = [];
  const gaps = { measured: 0, planned: 0 };
  for (const answer of facts.answers) {
    if (answer.faulted) faulted++;
    if (answer.error !== null || !answer.settled) {
      const reason = answer.error ?? "lost";
      if (answer.settled) failed++;
      errors[reason] = (errors[reason] ?? 0) + 1;
      // Of each kind the first words: reasons are few, and words may be as many as requests.
      if (answer.words !== null) words[reason] ??= withoutSecrets(answer.words, job.endpoint.headers);
      continue;
    }
    completed++;
    answered.push(answer);
    if (answer.aborted) aborted++;
    addGaps(answer, gaps);
  }
  const work = workOf(answered);
  const tokensOf = (answer: Answer): number | null => tokensIn(answer, work.tokensCountedBy);
  const part = measuredPart(job, facts.answers, facts.startedUs, facts.endedUs);
  const counted = answered.filter((answer) => leftIn(answer, job, part));
  for (const answer of counted) recordAnswer(answer, job, tokensOf(answer), recorders);
  for (const us of facts.connectUs) recorders.connect.record(us);

  const wholeUs = facts.endedUs - facts.startedUs;
  const durationUs = Math.max(0, part.untilUs - part.fromUs);
  const cpuShare = wholeUs > 0 ? facts.cpuUs / wholeUs : 0;
  const came = part.isCut ? cameIn(answered, part, tokensOf) : { ended: completed, events: work.events, tokens: work.tokens };
  const rate = (count: number | null): number | null => (count === null || durationUs <= 0 ? null : count / (durationUs / 1e6));
  const per = (amount: number, count: number): number | null => (count > 0 ? amount / count : null);
  const ended = completed + failed;
  const tokens = work.tokens ?? 0;
  const hasTokens = work.tokens !== null;
  const metrics: Partial<Record<MetricName, MetricSummary | null>> = Object.fromEntries(
    distributions.map((name) => [name, recorders[name].summary()]),
  );
  metrics.durationUs = one(durationUs > 0 ? durationUs : null, "us");
  metrics.requestsPerSecond = one(completed > 0 ? rate(came.ended) : null, "1/s");
  metrics.achievedShare = one(job.mode === "open" ? achievedShare(job, facts.answers, completed) : null, "ratio");
  metrics.goodRequestsPerSecond = one(rate(goodOf(job, counted, tokensOf)), "1/s");
  metrics.tokensPerSecond = one(hasTokens ? rate(came.tokens) : null, "1/s");
  const inputTokens = counted.some(({ promptTokens }) => promptTokens < 0)
    ? null
    : counted.reduce((sum, { promptTokens }) => sum + promptTokens, 0);
  metrics.inputTokensPerSecond = one(counted.length > 0 ? rate(inputTokens) : null, "1/s");
  metrics.eventsPerSecond = one(work.tokensCountedBy === "events" ? rate(came.events) : null, "1/s");
  metrics.clientCpuUsPerRequest = one(per(facts.cpuUs, ended), "us");
  metrics.clientCpuUsPerToken = one(hasTokens ? per(facts.cpuUs, tokens) : null, "us");
  // Streams beside the measured ones share the connections: their bytes cannot be separated.
  const alone = job.background === undefined;
  metrics.bytesReceivedPerRequest = one(alone ? per(facts.bytesReceived, ended) : null, "bytes");
  metrics.bytesSentPerRequest = one(alone ? per(facts.bytesSent, ended) : null, "bytes");
  Object.assign(metrics, wireMetrics(alone && hasTokens ? facts.wire : null, tokens));
  metrics.connectionsOpened = one(facts.connectionsOpened, "count");
  metrics.requestsAborted = one(job.requests.some(({ abortAfter }) => abortAfter !== undefined) ? aborted : null, "count");
  metrics.streamsRefused = one(facts.refused, "count");
  metrics.itlError = one(gaps.planned > 0 ? Math.abs(gaps.measured / gaps.planned - 1) : null, "ratio");
  metrics.clientEventLoopDelayP99Us = one(facts.eventLoopDelayP99Us, "us");

  const slices = slicesOf(facts.answers, facts.startedUs, facts.endedUs, tokensOf);
  const outside = completed - counted.length;
  return {
    requests: {
      sent: facts.answers.length,
      completed,
      failed,
      errors,
      ...saying(words),
      ...(faulted > 0 && { faulted }),
      ...(outside > 0 && { outside }),
    },
    metrics,
    tokens: work.tokens,
    work,
    pace: paceOf(facts.answers),
    durationUs: wholeUs,
    ...(slices === null ? {} : { slices }),
    startedUs: facts.startedUs,
    endedUs: facts.endedUs,
    negotiated: facts.negotiated,
    cipher: facts.cipher,
    connectionsOpened: facts.connectionsOpened,
    connectionsLost: facts.connectionsLost,
    heldBack: job.mode === "open" ? facts.heldBack : null,
    windows: facts.http2?.windows ?? null,
    maxConcurrentStreams: facts.http2?.maxConcurrentStreams ?? null,
    clientCpuShare: cpuShare,
    invalid: [
      ...(completed > 0 && counted.length === 0
        ? [`nothing is left between ramp-up and cool-down of ${(wholeUs / 1e6).toFixed(1)} s`]
        : []),
      ...invalidityOf(job, facts, { sent: facts.answers.length, completed, failed, cpuShare, work }),
    ],
    details: job.detail
      ? (facts.answers.length > 0 ? facts.answers : facts.warmUpAnswers).map((answer) => detailOf(answer, job.endpoint.headers))
      : [],
  };
}

/**
 * Completed requests a second, from the first end to the last, by sent ones a second, from the first planned send to the last:
 * neither holds the wait for the last answer, which would make a rate that is served look as if it were not. Null for fewer than
 * three requests.
 */
function achievedShare({ requests }: LoadJob, answers: readonly Answer[], completed: number): number | null {
  if (completed < 3) return null;
  const ends = answers.filter(({ error, settled }) => settled && error === null).map(({ endUs }) => endUs);
  const span = (times: readonly number[]): number => times.reduce((a, b) => Math.max(a, b)) - times.reduce((a, b) => Math.min(a, b));
  const planned = span(answers.map(({ intendedUs }) => intendedUs));
  const ended = span(ends);
  return planned <= 0 || ended <= 0 ? null : ((completed - 1) / ended) * (planned / (Math.max(requests.length, answers.length) - 1));
}

/** Requests that keep the job's objective; null: there is none, or of one of them it cannot be told. */
function goodOf(
  { slo = [], gateway = false }: LoadJob,
  answers: readonly Answer[],
  tokensOf: (answer: Answer) => number | null,
): number | null {
  if (slo.length === 0 || answers.length === 0) return null;
  const kept = answers.map((answer) => keepsTerms(answer, tokensOf(answer), answer.inOneRead && !gateway, slo));
  return kept.includes(null) ? null : kept.filter(Boolean).length;
}

/** The words of failures, where there are any. */
function saying(words: Readonly<Record<string, string>>): { readonly words?: RequestCounts["words"] & object } {
  return Object.keys(words).length === 0 ? {} : { words };
}

function one(value: number | null, unit: MetricSummary["unit"]): MetricSummary | null {
  return value === null ? null : summarize([value], unit);
}

/** Bytes by what they are for, over the tokens of all answers. */
function wireMetrics(wire: WireBytes | null, tokens: number): Metrics {
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

/** Adds the time from the first to the last token of an answer, as it was seen and as its stamps say it was planned. */
function addGaps(answer: Answer, to: { measured: number; planned: number }): void {
  const last = answer.events - 1;
  if (last < 1) return;
  const [from, until] = [answer.stamps(0), answer.stamps(last)];
  if (from === null || until === null) return;
  to.measured += answer.arrival(last) - answer.arrival(0);
  to.planned += until.due - from.due;
}

/** `tokens`: those of the answer; null where they are not known. */
function recordAnswer(
  answer: Answer,
  { mode, gateway = false }: LoadJob,
  tokens: number | null,
  to: Record<DistributionMetric, Recorder>,
): void {
  const { events, startUs, intendedUs } = answer;
  const delay = startUs - intendedUs;
  if (mode === "open") to.scheduleDelay.record(delay);
  const inOneRead = answer.inOneRead && !gateway;
  if (answer.firstEvent >= 0 && !(inOneRead && Math.round(answer.firstEvent) >= answer.arrival(0))) to.ttfe.record(answer.firstEvent);
  // An unstreamed answer has no first token, only an end; so has one whose tokens came all at once.
  if (events === 0 || inOneRead) {
    const e2el = answer.endUs - startUs;
    to.e2el.record(e2el);
    to.e2elFromIntended.record(e2el + delay);
    return;
  }
  const ttft = answer.arrival(0);
  const e2el = answer.arrival(events - 1);
  to.ttft.record(ttft);
  to.ttftFromIntended.record(ttft + delay);
  // An answer that was given up has no end.
  if (!answer.aborted) {
    to.e2el.record(e2el);
    to.e2elFromIntended.record(e2el + delay);
    if (tokens !== null && tokens > 1) to.tpot.record((e2el - ttft) / (tokens - 1));
  }
  for (let i = 0; i < events; i++) {
    const arrival = answer.arrival(i);
    if (i > 0) recordGap(answer, i, to);
    to.client.record(answer.seen(i) - arrival);
    const stamps = answer.stamps(i);
    if (stamps === null) continue;
    if (i === 0) to.plannedTtft.record(stamps.due);
    to.serverLateness.record(stamps.sent - stamps.due);
    to.transport.record(arrival - stamps.sent);
  }
}

/** Records the gap before event `i`, and where events say how many tokens they hold, that of each of these. */
function recordGap(answer: Answer, i: number, to: Record<DistributionMetric, Recorder>): void {
  const gap = answer.arrival(i) - answer.arrival(i - 1);
  to.itl.record(gap);
  const tokens = answer.tokensAt(i) - answer.tokensAt(i - 1);
  if (answer.tokensAt(i - 1) < 0 || tokens < 1) return;
  for (let token = 0; token < Math.min(tokens, mostTokensInEvent); token++) to.itlPerToken.record(gap / tokens);
}

function invalidityOf(
  job: LoadJob,
  facts: RunFacts,
  { sent, completed, failed, cpuShare, work }: { sent: number; completed: number; failed: number; cpuShare: number; work: Work },
): string[] {
  const reasons: string[] = [];
  const expected = protocolTraits[job.endpoint.protocol].negotiated;
  if (facts.protocolInvalid !== null) reasons.push(`protocol: ${facts.protocolInvalid}`);
  const others = facts.negotiated.filter((name) => !isSpoken(job.endpoint.protocol, name));
  if (others.length > 0) reasons.push(`protocol: ${expected} was asked for, ${others.join(", ")} was spoken`);
  if (facts.answers.some(({ error }) => error === "wrong protocol") && facts.protocolInvalid === null)
    reasons.push(`protocol: ${expected} was asked for, the server answered in another`);
  if (facts.interrupted) reasons.push("interrupted");
  else if (facts.unsentReason !== null && facts.protocolInvalid === null)
    reasons.push(`given up: ${facts.unsentReason}, ${facts.unsent} of ${job.requests.length} requests were not sent`);
  if (completed === 0) reasons.push("no request was completed");
  else if (work.withoutToken === completed) reasons.push("no answer held a token");
  if (sent !== completed + failed) reasons.push(`${sent - completed - failed} requests were lost by the generator`);
  if (facts.backgroundFailures.length > 0)
    reasons.push(
      `${facts.backgroundFailures.length} streams beside the measured ones ended: ${[...new Set(facts.backgroundFailures)].join(", ")}`,
    );
  if (facts.http2 !== null && job.reuse === "keep" && (job.atStreamLimit ?? "invalid") === "invalid") {
    const needed = Math.ceil(Math.min(job.streams, job.requests.length) / job.connections);
    if (facts.http2.maxConcurrentStreams < needed) {
      reasons.push(
        `the server allows ${facts.http2.maxConcurrentStreams} streams on a connection, ${needed} were wanted: the others waited in the client`,
      );
    }
  }
  // Without an answer there is no figure that a busy generator could spoil.
  if (completed === 0) return reasons;
  if (cpuShare > cpuShareLimit) reasons.push(`client-limited: the generator used ${Math.round(cpuShare * 100)}% of a core`);
  if (facts.eventLoopDelayUs > delayLimitUs)
    reasons.push(`client-limited: the generator's event loop was ${(facts.eventLoopDelayUs / 1000).toFixed(1)} ms late (p99)`);
  const lag = summarize(facts.lagUs, "us");
  if (lag !== null && lag.p50 > delayLimitUs)
    reasons.push(`client-limited: half of the requests were taken up more than ${(lag.p50 / 1000).toFixed(1)} ms late`);
  return reasons;
}

function detailOf(answer: Answer, headers: Readonly<Record<string, string>>): RequestDetail {
  const { startUs, events } = answer;
  const tokenUs: number[] = [];
  const dueUs: number[] = [];
  const sentUs: number[] = [];
  for (let i = 0; i < events; i++) {
    tokenUs.push(startUs + answer.arrival(i));
    const stamps = answer.stamps(i);
    if (stamps === null) continue;
    dueUs.push(startUs + stamps.due);
    sentUs.push(startUs + stamps.sent);
  }
  return {
    index: answer.index,
    intendedUs: answer.intendedUs,
    startUs,
    status: answer.status,
    error: answer.error,
    words: answer.words === null ? null : withoutSecrets(answer.words, headers),
    tokens: answer.tokens ?? 0,
    tokensCountedBy: answer.usage >= 0 ? "usage" : answer.streamed ? "events" : null,
    firstEventUs: answer.firstEvent < 0 ? null : startUs + answer.firstEvent,
    tokenUs,
    dueUs,
    sentUs,
  };
}
