/** What this machine's generator can read and still get the pace right: measured before the runs, against our own server. */
import { protocolTraits, webSocketPath } from "../../results/protocols.ts";
import { clockIdentity } from "../../base/clock.ts";
import type { Calibration, ProtocolName } from "../../results/types.ts";
import { generatorBehind, serverBehind } from "../pace.ts";
import { driverOf, type RunContext } from "../arms.ts";
import { requestsOf } from "./requests.ts";
import { defaultWorkload, type Workload } from "./scenario.ts";
import { RunError, type ServerNeeds, startServerChild, type Target } from "../processes/target.ts";

/** A run whose mean gap is this much off is beyond the limit. */
const tolerance = 0.05;
/** And one that carries less than this share of what was offered. Streams that begin one after the other cost some of it. */
const leastReached = 0.9;
const itlMs = 10;
const tokens = 40;
/** Long enough for every request to be in before the first token. */
const ttftMsOf = (streams: number): number => (streams > 200 ? 300 : 50);
/** Streams on a connection that multiplexes. */
const lanesOnOne = 250;
/** Below this many streams one step is enough: no machine fails it and is of use. */
const fewStreams = 100;

/**
 * Finds, for each protocol, a load that is reproduced within 5%: all that is going to be asked, or, where that is too much,
 * three quarters of it, or half. What a row says of tokens is what was read, beside what was offered. The engine is the fastest that the protocol has, so that a limit is the
 * generator's and not the server's wherever the two can be told apart.
 */
export async function calibrate(
  context: Omit<RunContext, "calibration">,
  needs: Readonly<Partial<Record<ProtocolName, number>>>,
): Promise<Calibration> {
  const protocols = Object.keys(needs) as ProtocolName[];
  const most = Math.max(1, ...Object.values(needs));
  const rows: Calibration["rows"][number][] = [];
  const server = await startFastest({
    protocols,
    ttft: ttftMsOf((most * itlMs) / 1000),
    itl: itlMs,
    outputTokens: tokens,
    maxConcurrentStreams: Math.max(256, Math.ceil((most * itlMs) / 1000)),
    lanes: lanesOnOne,
    seed: context.options.seed,
    cpu: context.pinning?.server ?? null,
  });
  try {
    for (const protocol of protocols) {
      const wanted = Math.max(10, Math.ceil((needs[protocol]! * itlMs) / 1000));
      for (const share of wanted <= fewStreams ? [1] : [1, 0.75, 0.5]) {
        if (context.signal.aborted) break;
        const streams = Math.ceil(wanted * share);
        const first = await step(context, server, protocol, streams);
        // One pause of the machine, or code that is still being compiled, spoils a step of half a second: what fails has to
        // fail twice.
        const row = first === null || first.ok ? first : await step(context, server, protocol, streams);
        if (row === null) break;
        rows.push(row);
        if (row.ok) break;
      }
    }
  } finally {
    await server.close();
  }
  const limits: Partial<Record<ProtocolName, number>> = {};
  for (const { protocol, tokensPerSecond, ok } of rows) if (ok) limits[protocol] = Math.max(limits[protocol] ?? 0, tokensPerSecond);
  for (const protocol of protocols) if (rows.some((row) => row.protocol === protocol)) limits[protocol] ??= 0;
  return { rows, limitTokensPerSecond: limits };
}

async function startFastest(needs: Omit<ServerNeeds, "engine">): Promise<Target> {
  try {
    return await startServerChild({ ...needs, engine: "uws" });
  } catch (error) {
    if (!(error instanceof RunError)) throw error;
    return startServerChild({ ...needs, engine: "node" });
  }
}

async function step(
  context: Omit<RunContext, "calibration">,
  server: Target,
  protocol: ProtocolName,
  streams: number,
): Promise<Calibration["rows"][number] | null> {
  context.observer.progress(`calibration: ${protocol}, ${streams} streams`);
  const workload: Workload = { ...defaultWorkload, itl: itlMs, outputTokens: tokens, streams, requests: streams };
  const { isMultiplexed, isWebSocket } = protocolTraits[protocol];
  const report = await driverOf(context, "stream").run(
    {
      endpoint: {
        origin: server.origins[protocol]!,
        protocol,
        path: isWebSocket ? webSocketPath : workload.path,
        lanes: lanesOnOne,
        method: "POST",
        headers: { "content-type": "application/json" },
        tls: server.tls,
      },
      connections: isMultiplexed ? Math.ceil(streams / lanesOnOne) : streams,
      reuse: "keep",
      streams,
      mode: "closed",
      warmup: [],
      requests: requestsOf(
        isWebSocket ? { ...workload, path: webSocketPath } : workload,
        { model: "fakeai", own: true, body: null, oneBody: false },
        context.options.seed,
        0,
        null,
      ),
      idleTimeoutMs: 10_000,
      requestTimeoutMs: 60_000,
      stream: true,
      detail: false,
      clock: clockIdentity,
    },
    { signal: context.signal, cpu: context.pinning?.load ?? null, onPhase: () => {}, onProgress: () => {} },
  );
  const { itl, serverLateness } = report.metrics;
  if (context.signal.aborted || !itl || report.pace === null) return null;
  const offeredTokensPerSecond = (streams * 1000) / itlMs;
  const tokensPerSecond = report.pace.flowTokensPerSecond ?? 0;
  const itlError = itl.mean / (itlMs * 1000) - 1;
  return {
    protocol,
    streams,
    tokensPerSecond,
    offeredTokensPerSecond,
    ...(serverLateness ? { serverLatenessP99Us: serverLateness.p99 } : {}),
    itlError,
    clientCpuShare: report.clientCpuShare ?? 0,
    ok: Math.abs(itlError) <= tolerance && tokensPerSecond >= leastReached * offeredTokensPerSecond && report.requests.failed === 0,
    behind: [...serverBehind(report.metrics), ...generatorBehind(report.metrics, report.invalid)],
  };
}
