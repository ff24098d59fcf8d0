/** One experiment: its rounds, and its verdicts. */
import type { LoadReport } from "../load/job.ts";
import { summarizeArm } from "../results/arms.ts";
import { compareArms } from "../results/compare.ts";
import type { ArmResult, ClaimResult, Comparison, MetricName, RoundResult, ScenarioResult } from "../results/types.ts";
import { judgeClaim, notCompared } from "../results/verdict.ts";
import { withoutH2load } from "./plan/adapt.ts";
import { type Closable, jobOf, type LiveArm, prepareArms, type RunContext } from "./arms.ts";
import { describeVia } from "./processes/gateway.ts";
import { faultsOf, joined, measure, type Measured } from "./measure.ts";
import type { BenchOptions } from "./plan/options.ts";
import { orderOfRounds } from "./plan/order.ts";
import type { ArmSpec, MetricRef, PairSpec, Variant, Workload } from "./plan/scenario.ts";

/** A variant that cannot be run, with why. */
export function skippedResult(variant: Variant, reason: string): ScenarioResult {
  const none: ClaimResult[] = variant.claims.map((claim) => judgeClaim(claim, null));
  return {
    ...resultHead(variant),
    arms: [],
    comparisons: [],
    claims: none.map((claim) => ({ ...claim, reason })),
    notes: [],
    skipped: reason,
  };
}

/** Parts of a workload that are no plain value, and that most workloads have not. */
const structured: ReadonlySet<string> = new Set<keyof Workload>(["page", "trace", "server", "abort", "background"]);

function resultHead({
  scenario,
  title,
  isolates,
  name,
  workload,
  rounds,
}: Variant): Pick<ScenarioResult, "id" | "title" | "isolates" | "variant" | "workload"> {
  const shown = Object.entries(workload).flatMap(([key, value]): [string, string | number | boolean | null][] => {
    if (structured.has(key)) return value === null ? [] : [[key, JSON.stringify(value)]];
    if (key === "network") return Object.keys(value as object).length === 0 ? [] : [[key, JSON.stringify(value)]];
    return [[key, value as string | number | boolean | null]];
  });
  return { id: scenario, title, isolates, variant: name, workload: { ...Object.fromEntries(shown), rounds } };
}

/**
 * Runs a variant that `adapted` has settled. What is measured when the signal comes is in the result.
 * What a driver refuses is an arm without rounds, with the reason. Throws RunError where nothing could be started.
 */
export async function runVariant(context: RunContext, given: Variant): Promise<ScenarioResult> {
  const notes: string[] = [];
  const variant = withoutH2load(given, context.options, notes);
  const open: Closable[] = [];
  let last: (string | void)[] = [];
  let result: ScenarioResult;
  try {
    const arms = await prepareArms(context, variant, notes, open);
    result = await runArms(context, variant, arms, notes);
  } finally {
    last = await Promise.all(open.map((resource) => resource.close()));
  }
  return { ...result, notes: [...result.notes, ...last.filter((note) => note !== undefined)] };
}

async function runArms(context: RunContext, variant: Variant, arms: readonly LiveArm[], notes: string[]): Promise<ScenarioResult> {
  const { signal, observer, options } = context;
  const label = `${variant.scenario}${variant.name === "" ? "" : ` (${variant.name})`}`;
  const rounds = new Map(arms.map((arm) => [arm, [] as RoundResult[]]));
  const reports = new Map(arms.map((arm) => [arm, [] as LoadReport[]]));
  const dead = new Set<LiveArm>();
  /** Arms whose generator was at its limit where that is no fault, and how it showed. */
  const limited = new Map<string, string>();
  const measuresCapacity = needsCapacity(variant.workload, options);
  let workload = variant.workload;

  const runRound = async (arm: LiveArm, round: number, position: number, workload: Workload): Promise<void> => {
    const job = jobOf(context, workload, arm, round, workload.rate);
    const total = job.requests.length;
    const runs: Measured[] = [];
    const faults = new Set<string>();
    const text = `${label}: ${arm.description.id}, ${round < 0 ? "warm-up" : `round ${round + 1} of ${variant.rounds}`}`;
    observer.progress(text);
    for (let repeat = 0; repeat < workload.repeat && !signal.aborted; repeat++) {
      const measured = await measure(context, arm, job, (done) => observer.progress(`${text}, ${done} of ${total} requests`)).catch(
        (error: Error) => error,
      );
      // What the signal cut short is no measurement.
      if (signal.aborted) return;
      if (measured instanceof Error) {
        // The tool itself has failed, or refuses: what the arm has measured before stays, more is not to be had.
        dead.add(arm);
        const none = { sent: 0, completed: 0, failed: 0, errors: {} };
        const startedAt = new Date().toISOString();
        rounds.get(arm)!.push({ round: Math.max(0, round), position, startedAt, requests: none, metrics: {}, invalid: [measured.message] });
        return;
      }
      runs.push(measured);
      for (const fault of faultsOf(context, arm, job, workload, measured)) {
        if (!fault.startsWith("client-limited") || !mayBeLimited(variant, arm.spec)) faults.add(fault);
        else if (round >= 0) limited.set(arm.description.id, fault);
      }
      for (const detail of measured.report.details)
        if (round >= 0) observer.detail({ scenario: variant.scenario, variant: variant.name, arm: arm.description.id, round }, detail);
      if (measured.report.requests.completed === 0) break;
    }
    if (runs.length === 0) return;
    const { requests, metrics } = joined(runs);
    reports.get(arm)!.push(...runs.map(({ report }) => report));
    // Who answers nothing in the warm-up is not asked again: its reasons are the result.
    if (requests.completed === 0) dead.add(arm);
    if (round >= 0 || requests.completed === 0)
      rounds
        .get(arm)!
        .push({ round: Math.max(0, round), position, startedAt: runs[0]!.startedAt, requests, metrics, invalid: [...faults] });
  };

  // The whole load once, thrown away: code gets compiled, and a closed loop shows what the server can take.
  for (const [index, arm] of arms.entries()) {
    if (signal.aborted) break;
    const first = measuresCapacity ? closed(variant.workload) : workload;
    await runRound(arm, -1, 0, first);
    if (!measuresCapacity || index > 0) continue;
    // Code that is just being compiled has no capacity to speak of.
    await runRound(arm, -1, 0, first);
    const report = reports.get(arm)!.at(-1);
    if (report !== undefined && report.durationUs > 0) workload = withCapacity(variant.workload, arm, report, options, notes);
  }
  const warmups = new Map(arms.map((arm) => [arm, reports.get(arm)!.splice(0)]));
  for (const [round, order] of orderOfRounds(arms.length, variant.rounds, options.seed).entries()) {
    for (const [position, index] of order.entries()) {
      const arm = arms[index]!;
      if (!signal.aborted && !dead.has(arm)) await runRound(arm, round, position, workload);
    }
  }
  if (signal.aborted) notes.push("interrupted: rounds are missing");
  const results = arms.map((arm): ArmResult => {
    const seen = [...reports.get(arm)!, ...(dead.has(arm) ? warmups.get(arm)! : [])];
    return summarizeArm(arm.description, rounds.get(arm)!, {
      negotiated: seen.flatMap(({ negotiated }) => negotiated)[0] ?? null,
      cipher: seen.find(({ cipher }) => cipher !== null)?.cipher ?? null,
      rttMs: arm.rttMs,
    });
  });
  notes.push(...observations(arms, reports));
  for (const [index, { spec }] of arms.entries()) {
    if (spec.via === undefined) continue;
    const { gatewayCpuUsPerToken: cpu } = results[index]!.metrics;
    const used = cpu === null || cpu === undefined ? "" : `, which takes ${cpu.mean.toFixed(1)} µs of CPU time for a token`;
    notes.push(`${spec.id}: through ${describeVia(spec.via)}${used}`);
  }
  for (const [id, fault] of limited) notes.push(`${id}: ${fault}${workload.clientWork ? ", which belongs to what is compared here" : ""}`);
  const compare = (pair: Parameters<typeof compareOne>[0]): Comparison => compareOne(pair, results, limited, options, workload);
  const comparisons = variant.pairs.flatMap(({ baseline, candidate, kind, metrics, described = [] }) => [
    ...metrics.map((metric) => compare({ baseline, candidate, kind, ...metric })),
    ...described.map((metric) => compare({ baseline, candidate, kind, ...metric, described: true })),
  ]);
  const claims = variant.claims.map((claim): ClaimResult => {
    const made = comparisons.find(
      (one) =>
        one.metric === claim.metric &&
        one.statistic === claim.statistic &&
        one.baseline === claim.baseline &&
        one.candidate === claim.candidate,
    );
    return judgeClaim(claim, made ?? compare({ ...claim, kind: "protocol" }));
  });
  return { ...resultHead({ ...variant, workload }), arms: results, comparisons, claims, notes: [...new Set(notes)], skipped: null };
}

/**
 * Whether a generator at its limit is a fault of this arm. It is none where the client's work belongs to what is compared,
 * and of arms that decide nothing about protocols it is said in a note.
 */
function mayBeLimited({ workload, pairs, claims }: Variant, { id, role }: ArmSpec): boolean {
  const decides = [...pairs.filter(({ kind }) => kind === "protocol"), ...claims].some(
    ({ baseline, candidate }) => id === baseline || id === candidate,
  );
  return workload.clientWork || role === "engine" || !decides;
}

/** Whether the load depends on what the server can take. */
function needsCapacity({ rate, rateOfCapacity, trace }: Workload, { durationS }: BenchOptions): boolean {
  return rateOfCapacity !== null || (durationS !== null && rate === null && trace === null);
}

function closed(workload: Workload): Workload {
  return { ...workload, mode: "closed", rate: null };
}

/** The workload with the rate, and the number of requests, that a closed loop has just shown to be right. */
function withCapacity(
  workload: Workload,
  arm: LiveArm,
  { requests, durationUs }: LoadReport,
  { durationS }: BenchOptions,
  notes: string[],
): Workload {
  const capacity = (requests.completed / durationUs) * 1e6;
  const rate = workload.rateOfCapacity === null ? null : capacity * workload.rateOfCapacity;
  if (rate !== null) notes.push(`capacity of ${arm.description.id} in a closed loop: ${Math.round(capacity)} requests/s`);
  return { ...workload, rate, requests: durationS === null ? workload.requests : Math.max(1, Math.round((rate ?? capacity) * durationS)) };
}

/** What a reader of the figures should know beside them. */
function observations(arms: readonly LiveArm[], reports: ReadonlyMap<LiveArm, readonly LoadReport[]>): string[] {
  const notes: string[] = [];
  const windowsOf = new Map<string, string[]>();
  for (const arm of arms) {
    const { id } = arm.description;
    const last = reports.get(arm)!.at(-1);
    if (last === undefined) continue;
    const { windows, connectionsLost, heldBack } = last;
    if (connectionsLost !== null && connectionsLost > 0) notes.push(`${id}: ${connectionsLost} connections were lost`);
    if (heldBack !== null && heldBack > 0)
      notes.push(
        `${id}: ${heldBack} requests of the last round waited because ${arm.description.streams} were under way; latencies from the intended time hold the wait`,
      );
    if (windows === null) continue;
    const text = `${windows.localStream} (stream) and ${windows.localConnection} (connection) bytes at the client, ${windows.remoteStream} at the server`;
    windowsOf.set(text, [...(windowsOf.get(text) ?? []), id]);
  }
  for (const [text, ids] of windowsOf) notes.push(`flow-control windows of ${ids.join(", ")}: ${text}`);
  return notes;
}

/** Metrics that a busy generator does not spoil: they are counted at the server, or are no times. */
const counted: ReadonlySet<MetricName> = new Set<MetricName>([
  "serverCpuUsPerRequest",
  "serverCpuUsPerToken",
  "gatewayCpuUsPerRequest",
  "gatewayCpuUsPerToken",
  "bytesReceivedPerRequest",
  "bytesSentPerRequest",
  "connectionsOpened",
  "serverRssBytes",
  "streamsRefused",
  "requestsAborted",
  "wireBytesPerToken",
  "dataBytesPerToken",
  "framingBytesPerToken",
  "headBytesPerToken",
  "requestBytesPerToken",
  "windowUpdateBytesPerToken",
  "settingsBytesPerToken",
  "pingBytesPerToken",
  "otherFrameBytesPerToken",
]);

function compareOne(
  {
    baseline,
    candidate,
    metric,
    statistic,
    kind,
    described = false,
  }: Pick<PairSpec, "baseline" | "candidate" | "kind"> & MetricRef & { readonly described?: boolean },
  results: readonly ArmResult[],
  limited: ReadonlyMap<string, string>,
  { protocols, via }: BenchOptions,
  { mode, clientWork }: Workload,
): Comparison {
  const spec = { metric, statistic, baseline, candidate, kind, described };
  // Direct and through a gateway are two arms on one protocol.
  if (protocols?.length === 1 && via === null) return notCompared(spec, 0, `--protocol ${protocols[0]} leaves nothing to compare with`);
  const busy = clientWork ? undefined : [baseline, candidate].find((id) => limited.has(id));
  if (busy !== undefined && !counted.has(metric)) return notCompared(spec, 0, `${busy}: ${limited.get(busy)}`);
  if (mode === "open" && (metric === "requestsPerSecond" || metric === "tokensPerSecond"))
    return notCompared(spec, 0, "an open loop has its rate given");
  return compareArms(results, spec);
}
