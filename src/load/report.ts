/** From what a generator saw to a `LoadReport`. Failed requests are counted and are in no distribution. */
import { isSpoken, protocolTraits } from "../results/protocols.ts";
import { Recorder, summarize } from "../results/recorder.ts";
import { scalarsOf } from "../results/totals.ts";
import type { DistributionMetric, Metrics, RequestCounts, RunTotals, ServerRound, Work } from "../results/types.ts";
import type { Answer } from "./answer.ts";
import { keepsTerms } from "./good.ts";
import type { LoadJob, LoadReport, RequestDetail } from "./job.ts";
import { cpuShareLimit } from "./limits.ts";
import { paceOf } from "./pace.ts";
import { countedSessions, recordSession, sessionsIn } from "./sessions.ts";
import type { SettledClocks } from "./server-clock.ts";
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
  /** How long after the instant that it was to begin at it began; null: there was none. */
  readonly lateUs: number | null;
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
  /** By address, where the endpoint names several. */
  readonly connectionsAt: ReadonlyMap<string, number>;
  readonly connectUs: readonly number[];
  readonly negotiated: readonly string[];
  readonly cipher: string | null;
  readonly http2: Http2Limits | null;
  /** The clocks of servers on other hosts; null: they were not asked for. */
  readonly clocks: SettledClocks | null;
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
  "ttftFirst",
  "ttftLater",
  "sessionE2el",
  "sessionWait",
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
  const sessions = sessionsIn(job, facts.answers);
  for (const session of sessions) recordSession(session, recorders);
  for (const us of facts.connectUs) recorders.connect.record(us);

  const wholeUs = facts.endedUs - facts.startedUs;
  const cpuShare = wholeUs > 0 ? facts.cpuUs / wholeUs : 0;
  const came = part.isCut ? cameIn(answered, part, tokensOf) : { ended: completed, events: work.events, tokens: work.tokens };
  // Streams beside the measured ones share the connections: their bytes cannot be separated.
  const alone = job.background === undefined;
  const pace = paceOf(facts.answers);
  const totals: RunTotals = {
    fromUs: part.fromUs,
    untilUs: Math.max(part.fromUs, part.untilUs),
    ...(facts.lateUs === null ? {} : { lateUs: facts.lateUs }),
    completed,
    ended: completed + failed,
    partRequests: came.ended,
    partEvents: work.tokensCountedBy === "events" ? came.events : null,
    partTokens: work.tokens === null ? null : came.tokens,
    good: goodOf(job, counted, tokensOf),
    inputTokens: inputTokensOf(counted),
    ...(sessions.length === 0 ? {} : { sessions: sessions.filter(({ isWhole }) => isWhole).length }),
    ...(counted.some(({ cachedTokens }) => cachedTokens >= 0) ? { cachedTokens: cachedTokensOf(counted) } : {}),
    tokens: work.tokens,
    cpuUs: facts.cpuUs,
    bytesReceived: alone ? facts.bytesReceived : null,
    bytesSent: alone ? facts.bytesSent : null,
    wire: alone ? facts.wire : null,
    connectionsOpened: facts.connectionsOpened,
    aborted: job.requests.some(({ abortAfter }) => abortAfter !== undefined) ? aborted : null,
    refused: facts.refused,
    gapsMeasuredUs: gaps.measured,
    gapsPlannedUs: gaps.planned,
    eventLoopDelayP99Us: facts.eventLoopDelayP99Us,
    open: job.mode === "open" ? openTotals(job, facts.answers) : null,
    pace: pace === null ? null : { measuredUs: pace.measuredUs, plannedUs: pace.plannedGapsUs + pace.plannedTtftUs },
  };
  const metrics: Metrics = {
    ...(Object.fromEntries(distributions.map((name) => [name, recorders[name].summary()])) as Metrics),
    ...scalarsOf(totals),
  };

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
    pace,
    totals,
    durationUs: wholeUs,
    ...(slices === null ? {} : { slices }),
    ...(sessions.length === 0 ? {} : { sessions: countedSessions(sessions) }),
    ...(facts.clocks === null || facts.clocks.clock === null ? {} : { clock: facts.clocks.clock }),
    ...(job.endpoint.hosts === undefined ? {} : { servers: serversOf(job, facts) }),
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

/** What came from each address. A request that no connection took is of none. */
function serversOf({ endpoint: { hosts = [] }, gateway = false }: LoadJob, { answers, connectionsAt, clocks }: RunFacts): ServerRound[] {
  return Array.from(new Set(hosts), (address) => {
    const own = answers.filter((answer) => answer.address === address);
    const good = own.filter(({ error, settled }) => settled && error === null);
    const [ttft, itl] = [new Recorder("us"), new Recorder("us")];
    for (const answer of good) {
      if (answer.events === 0 || (answer.inOneRead && !gateway)) continue;
      ttft.record(answer.arrival(0));
      for (let i = 1; i < answer.events; i++) itl.record(answer.arrival(i) - answer.arrival(i - 1));
    }
    const clock = clocks?.byAddress.get(address);
    return {
      address,
      ...(clock === undefined ? {} : { clock }),
      connections: connectionsAt.get(address) ?? 0,
      completed: good.length,
      failed: own.filter(({ error, settled }) => settled && error !== null).length,
      ttft: ttft.summary(),
      itl: itl.summary(),
    };
  });
}

/** What the share of an open loop's rate that was reached is made of; null: nothing was sent. */
function openTotals({ requests }: LoadJob, answers: readonly Answer[]): RunTotals["open"] {
  if (answers.length === 0) return null;
  const planned = answers.map(({ intendedUs }) => intendedUs);
  const ends = answers.filter(({ error, settled }) => settled && error === null).map(({ endUs }) => endUs);
  const least = (times: readonly number[]): number => times.reduce((a, b) => Math.min(a, b));
  const greatest = (times: readonly number[]): number => times.reduce((a, b) => Math.max(a, b));
  return {
    planned: Math.max(requests.length, answers.length),
    plannedFromUs: least(planned),
    plannedUntilUs: greatest(planned),
    endedFromUs: ends.length === 0 ? null : least(ends),
    endedUntilUs: ends.length === 0 ? null : greatest(ends),
  };
}

/** Tokens of prompts; null: an answer does not say, or there is none. */
function inputTokensOf(answers: readonly Answer[]): number | null {
  if (answers.length === 0 || answers.some(({ promptTokens }) => promptTokens < 0)) return null;
  return answers.reduce((sum, { promptTokens }) => sum + promptTokens, 0);
}

/** Tokens of prompts that the server had cached; null: an answer does not say. */
function cachedTokensOf(answers: readonly Answer[]): number | null {
  if (answers.some(({ cachedTokens }) => cachedTokens < 0)) return null;
  return answers.reduce((sum, { cachedTokens }) => sum + cachedTokens, 0);
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
    index: answer.planned.index ?? answer.index,
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
    inputTokens: answer.promptTokens < 0 ? null : answer.promptTokens,
    cachedTokens: answer.cachedTokens < 0 ? null : answer.cachedTokens,
    turn: turnOf(answer),
    bytesSent: answer.bytesSent < 0 ? null : answer.bytesSent,
    bytesReceived: answer.bytesReceived < 0 ? null : answer.bytesReceived,
  };
}

function turnOf({ planned: { turn } }: Answer): RequestDetail["turn"] {
  return turn === undefined ? null : { session: turn.session, agent: turn.agent, turn: turn.turn };
}
