/**
 * Whether a round kept its plan, and who fell behind where it did not.
 *
 * The bounds are fixed beforehand, here. The server is judged by its own stamps. The generator is judged by its CPU time, its
 * event loop and the time from a read to the application. What neither explains is said to be unexplained. Where an
 * experiment itself holds tokens back (a network, a gateway, small windows, streams that are not read, pipelining), only the
 * generator is judged: the server waits there for others.
 */
import type { Behind, Metrics, Pace } from "../results/types.ts";
import type { LiveArm } from "./arms.ts";
import type { Measured } from "./measure.ts";
import type { Workload } from "./plan/scenario.ts";

/** The server is behind when half of its tokens leave later than this, or 1% later than that. */
export const serverBounds = { p50Us: 5000, p99Us: 20_000 } as const;

/** The generator is behind when 1% of the tokens reach the application this long after they were read; and as `limits.ts` says. */
export const clientBoundUs = 20_000;

/** Answers that take longer than planned by this share are behind, also where neither end shows why. */
export const slipBound = 0.05;

/** How the generator's complaints of itself begin. */
const limited = "client-limited: ";

/** Null where nothing of a plan can be seen: no stream, no stamps, and no complaint about the generator. */
export function judgePace(
  runs: readonly Measured[],
  metrics: Metrics,
  faults: readonly string[],
  arm: LiveArm,
  workload: Workload,
  isOwnServer: boolean,
): Pace | null {
  const slip = slipOf(runs, isOwnServer ? Number(workload.ttft) : Number.NaN);
  const behind: Behind[] = [];
  const isFree = !isHeldBack(arm, workload);
  if (isFree) behind.push(...serverBehind(metrics));
  behind.push(...generatorBehind(metrics, faults));
  if (slip === null) return behind.length === 0 ? null : { plannedTokensPerSecond: null, reachedTokensPerSecond: null, behind };
  if (isFree && behind.length === 0 && slip > slipBound) behind.push({ who: "unknown", reason: slipReason(slip, metrics) });
  const reached = metrics.tokensPerSecond?.mean ?? null;
  return { plannedTokensPerSecond: reached === null ? null : reached * (1 + slip), reachedTokensPerSecond: reached, behind };
}

function ms(us: number): string {
  return (us / 1000).toFixed(us < 10_000 ? 1 : 0);
}

/** Of tokens on their own way from the timer to the transport, by stamps. */
export function serverBehind({ serverLateness }: Metrics): Behind[] {
  if (!serverLateness) return [];
  const { p50, p99 } = serverLateness;
  if (p50 <= serverBounds.p50Us && p99 <= serverBounds.p99Us) return [];
  const bounds = `bounds ${ms(serverBounds.p50Us)} and ${ms(serverBounds.p99Us)} ms`;
  return [{ who: "server", reason: `its tokens left ${ms(p50)} ms (p50) and ${ms(p99)} ms (p99) after they were due (${bounds})` }];
}

/** By what the generator complains of itself, and by the time from a read to the application. */
export function generatorBehind({ client }: Metrics, faults: readonly string[]): Behind[] {
  const reasons = faults.filter((fault) => fault.startsWith(limited)).map((fault) => fault.slice(limited.length));
  if (client && client.p99 > clientBoundUs)
    reasons.push(`1% of the tokens reached the application ${ms(client.p99)} ms or more after their read (bound ${ms(clientBoundUs)} ms)`);
  return reasons.map((reason) => ({ who: "generator", reason }));
}

/**
 * How much longer answers took than planned: 0.1 is 10%. Where `ttftMs` is no number, the planned TTFT is that of the stamps,
 * which begins when the server has read the request. Null without stamps.
 */
function slipOf(runs: readonly Measured[], ttftMs: number): number | null {
  let [measured, planned] = [0, 0];
  for (const { report } of runs) {
    const { pace } = report;
    if (pace === null) continue;
    measured += pace.measuredUs;
    planned += pace.plannedGapsUs + (Number.isFinite(ttftMs) ? pace.answers * ttftMs * 1000 : pace.plannedTtftUs);
  }
  return planned > 0 ? Math.max(0, measured / planned - 1) : null;
}

function slipReason(slip: number, { transport, client }: Metrics): string {
  const parts = [transport ? `transport p99 ${ms(transport.p99)} ms` : "", client ? `client p99 ${ms(client.p99)} ms` : ""].filter(
    (part) => part !== "",
  );
  return `answers took ${(slip * 100).toFixed(0)}% longer than planned (bound ${slipBound * 100}%), and neither the server's stamps nor the generator's limits show why: ${parts.join(", ")}`;
}

/** Whether the experiment itself keeps tokens from leaving or arriving on time. */
function isHeldBack({ spec, gateway, rttMs }: LiveArm, { network, background, server }: Workload): boolean {
  return (
    rttMs > 0 ||
    gateway !== null ||
    spec.behind !== null ||
    spec.pipelining !== undefined ||
    spec.windows !== undefined ||
    spec.atStreamLimit !== undefined ||
    background !== null ||
    server !== null ||
    Object.keys({ ...network, ...spec.network }).length > 0
  );
}
