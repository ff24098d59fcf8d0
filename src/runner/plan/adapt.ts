/** From a variant and the options to what is run, and an estimate of how long that takes. */
import { protocolTraits, webSocketPath } from "../../results/protocols.ts";
import { UsageError } from "../../base/usage-error.ts";
import { h2loadVersion } from "../../load/drivers/h2load.ts";
import { mergeNetworks, parseNetwork, roundTripMs } from "../../network/impairment.ts";
import type { Calibration, CalibrationRow, ProtocolName } from "../../results/types.ts";
import type { BenchOptions } from "./options.ts";
import { isOverWebSocket } from "./protocols.ts";
import { warmupTokensOf } from "./requests.ts";
import type { DatasetSpec, SessionSpec, TraceSpec } from "./scenario-file.ts";
import type { ArmSpec, Variant, Workload } from "./scenario.ts";
import { tapeSeconds } from "./tape.ts";
import { checkSession, sessionSize } from "./sessions.ts";
import { traceOf, traceSeconds } from "./trace.ts";

/** The variant as the options change it. */
export function adapted(variant: Variant, options: BenchOptions): Variant {
  const { workload } = variant;
  const streams = options.streams ?? workload.streams;
  const rate = options.rate ?? workload.rate;
  const scaled =
    options.streams === null ? workload.requests : Math.max(streams, Math.round((workload.requests / workload.streams) * streams));
  const asked = options.requests ?? (options.durationS !== null && rate !== null ? requestsIn(options.durationS, rate, options) : scaled);
  const requests = workload.tape === null ? asked : workload.requests;
  const wordable = workload.method === "POST" && workload.page === null;
  const bodyStreams = options.body === null ? workload.stream : (JSON.parse(options.body) as { stream?: unknown }).stream === true;
  return {
    ...variant,
    rounds: options.rounds ?? variant.rounds,
    arms: variant.arms.map((arm) => ({
      ...arm,
      driver: options.driver ?? arm.driver,
      connections: options.connections ?? arm.connections,
    })),
    workload: {
      ...workload,
      path: wordable ? (options.endpoint ?? (variant.arms.some(isOverWebSocket) ? webSocketPath : workload.path)) : workload.path,
      stream: wordable ? bodyStreams : workload.stream,
      ttft: options.ttft ?? workload.ttft,
      itl: options.itl ?? workload.itl,
      tokensPerChunk: wordable ? (options.tokensPerChunk ?? workload.tokensPerChunk) : workload.tokensPerChunk,
      inputTokens: options.inputTokens ?? workload.inputTokens,
      sharedPrefix: workload.trace === null ? (options.sharedPrefix ?? workload.sharedPrefix) : null,
      cacheBust: options.cacheBust ? true : workload.cacheBust,
      dataset: adaptedDataset(workload, options),
      outputTokens: options.outputTokens ?? workload.outputTokens,
      mode: options.rate === null ? workload.mode : "open",
      rate,
      rateOfCapacity: options.rate === null ? workload.rateOfCapacity : null,
      streams,
      requests,
      warmup: options.warmup ?? workload.warmup,
      network: mergeNetworks(workload.network, options.network),
      trace: workload.trace === null ? null : adaptedTrace(workload.trace, options),
      session: adaptedSession(workload, options),
    },
  };
}

/** Requests of an open loop in so many seconds: in a ramp half as many leave as behind it. */
export function requestsIn(durationS: number, rate: number, { rampUp }: Pick<BenchOptions, "rampUp">): number {
  return Math.max(1, Math.ceil(rate * (durationS - (rampUp ?? 0) / 2)));
}

function adaptedDataset({ method, page, trace, dataset }: Workload, { dataset: file, outputTokens }: BenchOptions): DatasetSpec | null {
  const isAsked = method === "POST" && page === null && trace === null;
  const spec = file !== null && isAsked ? { file } : dataset;
  return spec === null || outputTokens === null ? spec : { ...spec, outputTokens };
}

/** Sessions as the flags make them: of a scenario that has some, or of one that asks for text. Throws UsageError. */
function adaptedSession(
  { method, page, trace, tape, dataset, abort, session }: Workload,
  { turns, thinkTime, toolCalls, toolTime, body, durationS }: BenchOptions,
): SessionSpec | null {
  const given = {
    ...(turns === null ? {} : { turns }),
    ...(thinkTime === null ? {} : { thinkTime }),
    ...(toolCalls === null ? {} : { calls: toolCalls }),
    ...(toolTime === null ? {} : { toolTime }),
  };
  const isOther = trace !== null || tape !== null;
  const isWordable = method === "POST" && page === null && !isOther && dataset === null && abort === null && body === null;
  if (session === null && (!isWordable || Object.keys(given).length === 0)) return null;
  if (durationS !== null) throw new UsageError("--duration: sessions end by themselves: say how many with --requests");
  const spec = { turns: 1, ...session, ...given };
  checkSession(spec);
  return spec;
}

/** Flags that speak of requests hold for those of a trace too. */
function adaptedTrace(trace: TraceSpec, { requests, durationS, inputTokens, outputTokens }: BenchOptions): TraceSpec {
  return {
    ...trace,
    limit: requests ?? trace.limit,
    seconds: durationS === null ? trace.seconds : durationS * trace.speed,
    ...(inputTokens === null ? {} : { inputTokens }),
    ...(outputTokens === null ? {} : { outputTokens }),
  };
}

/** Milliseconds of a latency, where it is a plain number; a guess where it is a distribution. */
function roughMs(spec: number | string): number {
  if (typeof spec === "number") return spec;
  const number = /^([\d.]+)(ms|us|s)?/.exec(spec);
  const inside = /([\d.]+)/.exec(spec);
  const value = Number((number ?? inside)?.[1] ?? 100);
  return number?.[2] === "us" ? value / 1000 : number?.[2] === "s" ? value * 1000 : value;
}

/** Tokens per second that a workload offers; null where it has no pace. */
export function offeredTokensPerSecond({ stream, itl, streams, mode, trace, tape, session }: Workload): number | null {
  const gapMs = roughMs(itl);
  return stream && gapMs > 0 && mode === "closed" && trace === null && tape === null && session === null ? (streams * 1000) / gapMs : null;
}

/** A load that calibration tried in vain, and the greatest one that kept its plan, by what each offered in tokens per second. */
export interface LoadLimit {
  readonly keptOffered: number;
  readonly failed: CalibrationRow;
}

/** Null where every load that was tried kept its plan. */
export function loadLimit({ rows }: Calibration, protocol: ProtocolName): LoadLimit | null {
  const own = rows.filter((row) => row.protocol === protocol);
  const failed = own.find(({ ok }) => !ok);
  if (failed === undefined) return null;
  return {
    keptOffered: Math.max(0, ...own.filter(({ ok }) => ok).map((row) => row.offeredTokensPerSecond ?? row.tokensPerSecond)),
    failed,
  };
}

/** Why a load is beyond what calibration could carry, in one line that begins with who was at its limit; null: it is not. */
export function beyondCalibration(offered: number, calibration: Calibration, protocol: ProtocolName): string | null {
  const limit = loadLimit(calibration, protocol);
  if (limit === null || offered <= limit.keptOffered) return null;
  const { offeredTokensPerSecond, tokensPerSecond, itlError, behind = [] } = limit.failed;
  const isServer = behind.some(({ who }) => who === "server") && !behind.some(({ who }) => who === "generator");
  const tried = `of ${Math.round(offeredTokensPerSecond ?? tokensPerSecond)} it carried ${Math.round(tokensPerSecond)}, with the mean gap off by ${(itlError * 100).toFixed(1)}%`;
  return `${isServer ? "server" : "client"}-limited: ${Math.round(offered)} tokens/s are offered, and calibration kept the plan up to ${Math.round(limit.keptOffered)} (${tried})`;
}

/** Requests per second of a run without pace: a guess, for the estimate only. */
const guessedRateOf = ({ stream }: Workload): number => (stream ? 10_000 : 20_000);

/** Requests that an arm can have under way. */
function lanesOf({ streams, server }: Workload, { protocol, connections, reuse, atStreamLimit }: ArmSpec): number {
  if (connections === "streams" || reuse === "new") return streams;
  if (!protocolTraits[protocol].isMultiplexed) return Math.min(streams, connections);
  return atStreamLimit === undefined ? streams : Math.min(streams, connections * (server?.maxConcurrentStreams ?? streams));
}

/** Seconds that the sessions of a round take, roughly: their answers, round trips and pauses, one session after the other in each slot. */
function sessionSeconds(workload: Workload, { reuse, protocol }: ArmSpec, answerS: number, roundTripS: number): number {
  const { requests, pausedUs } = sessionSize(workload, 1);
  const trips = reuse !== "new" ? 1 : protocolTraits[protocol].isEncrypted ? 3 : 2;
  const one = requests * (answerS + trips * roundTripS + 0.002) + pausedUs / 1e6;
  const { mode, rate } = workload;
  if (mode === "open" && rate !== null) return workload.requests / rate + one;
  return Math.ceil(workload.requests / workload.streams) * one;
}

/** Seconds that one run of one arm takes, roughly. */
function secondsPerRun(workload: Workload, arm: ArmSpec, durationS: number | null): number {
  const { stream, streams, rampMs, requests, warmup, mode, rate, repeat, page, trace, tape, session } = workload;
  const guessedRate = guessedRateOf(workload);
  const answerOf = (tokens: number): number => (roughMs(workload.ttft) + roughMs(workload.itl) * (stream ? tokens - 1 : tokens)) / 1000;
  const answerS = answerOf(workload.outputTokens);
  const impairment = parseNetwork(workload.network, (key) => key);
  const roundTripsS = impairment === null ? 0 : (roundTripMs(impairment) * 3) / 1000;
  const startS = 0.05 + streams * 0.0003 + rampMs / 1000;
  if (trace !== null) return traceSeconds(traceOf(trace)) + answerS + startS;
  if (tape !== null) return tapeSeconds(tape) + startS;
  if (page !== null) return repeat * (0.06 + answerS + roundTripsS);
  const warmupS = Math.ceil(warmup / streams) * answerOf(warmupTokensOf(workload)) + warmup / guessedRate;
  if (durationS !== null) return durationS + warmupS + startS;
  if (session !== null) return warmupS + startS + sessionSeconds(workload, arm, answerS, roundTripsS / 3);
  const closedS = Math.ceil(requests / lanesOf(workload, arm)) * answerS + requests / guessedRate;
  // The rate of such an open loop is known once the capacity is measured.
  const openS = rate === null ? 2 : requests / rate + answerS;
  return repeat * ((mode === "open" ? openS : closedS) + roundTripsS + startS) + warmupS;
}

/** Seconds that a variant takes, roughly: every arm in every round, and a warm-up of each. */
export function estimateSeconds(variant: Variant, durationS: number | null): number {
  const seconds = variant.arms.reduce((sum, arm) => sum + secondsPerRun(variant.workload, arm, durationS), 0);
  return 0.5 + (variant.rounds + 0.7) * seconds;
}

/** Requests per second, and of a round, where h2load is missing: far below what our own generator can make. */
const fallbackRate = 2000;

/**
 * The variant where h2load is missing: on stream. At full load our own generator, written in JavaScript like the server,
 * would be what is measured; so the requests leave at a fixed rate, at which the server's CPU time can still be compared.
 */
export function withoutH2load(variant: Variant, { driver, url }: BenchOptions, notes: string[]): Variant {
  if (!variant.arms.some((arm) => arm.driver === "h2load") || h2loadVersion() !== null) return variant;
  if (driver === "h2load") throw new UsageError("--driver h2load: h2load is not installed; `fakeai doctor` says how to get it");
  const arms = variant.arms.filter((arm) => arm.driver !== "autocannon").map((arm) => ({ ...arm, driver: "stream" as const }));
  const { workload } = variant;
  const saturates = workload.mode === "closed" && url === null;
  notes.push(
    `h2load is not installed (fakeai doctor): on stream${saturates ? ` at ${fallbackRate} requests/s, for the CPU time per request only` : ""}`,
  );
  if (!saturates) return { ...variant, arms };
  const open = {
    mode: "open",
    rate: fallbackRate,
    arrivals: "constant",
    requests: fallbackRate,
    warmup: Math.min(500, workload.warmup),
  } as const;
  return { ...variant, arms, workload: { ...workload, ...open } };
}
