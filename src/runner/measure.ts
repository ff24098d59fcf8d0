/** One run of one arm: what was seen at both ends, and whether it may be used. */
import { isLoopback } from "../base/host.ts";
import { describeFailures, joinWords } from "../results/failures.ts";
import { isSpoken, protocolTraits } from "../results/protocols.ts";
import type { Pauses } from "../base/pauses.ts";
import type { LoadJob, LoadReport } from "../load/job.ts";
import { mergeSummaries, summarize } from "../results/recorder.ts";
import { sessionsOf } from "../results/sessions.ts";
import { clockOf, serversOf } from "../results/shards.ts";
import { isLimit } from "../results/validity.ts";
import type { MachineLoad, MetricName, Metrics, MetricSummary, RoundResult, Unit } from "../results/types.ts";
import { addWork } from "../results/work.ts";
import { beyondCalibration, offeredTokensPerSecond } from "./plan/adapt.ts";
import type { LiveArm, RunContext } from "./arms.ts";
import { MachineWatch } from "./processes/disturbance.ts";
import type { ProcessUsage } from "./processes/machine.ts";
import type { Workload } from "./plan/scenario.ts";
import { RunError } from "./processes/target.ts";

/** One run as it was measured, with what the server used meanwhile. */
export interface Measured {
  readonly report: LoadReport;
  readonly server: { readonly cpuUs: number; readonly rssBytes: number } | null;
  /** CPU time of the proxy in front of it; null where there is none or it cannot be known. */
  readonly gatewayCpuUs: number | null;
  readonly serverDelayUs: number | null;
  readonly startedAt: string;
  /** What else the machine did meanwhile. */
  readonly machine: MachineLoad;
  /** Whether streams ran beside the measured ones. */
  readonly shared: boolean;
}

/**
 * Runs a job, from the instant on that `meet` resolves with. Throws RunError for one that the driver refuses: what it would measure wrongly
 * is not measured. Throws what `meet` rejects with.
 */
export async function measure(
  context: RunContext,
  arm: LiveArm,
  job: LoadJob,
  onProgress: (done: number) => void,
  meet?: () => Promise<number>,
): Promise<Measured> {
  const fits = arm.driver.supports(job);
  if (fits !== true) {
    const hint = context.options.driver === null ? "" : "; choose another --driver, or leave it to the scenario";
    throw new RunError(`${arm.driver.name} refuses: ${fits}${hint}`);
  }
  let before: ProcessUsage | null = null;
  let after: ProcessUsage | null = null;
  let gatewayBefore: ProcessUsage | null = null;
  let gatewayAfter: ProcessUsage | null = null;
  let delayed: Promise<number | null> = Promise.resolve(null);
  let paused: Promise<Pauses | null> = Promise.resolve(null);
  const watch = new MachineWatch();
  const watched = { server: arm.target.pid, load: arm.driver.pid };
  const startedAt = new Date().toISOString();
  const report = await arm.driver.run(job, {
    signal: context.signal,
    cpu: context.pinning?.load ?? null,
    ...(meet === undefined ? {} : { meet }),
    onPhase: (phase) => {
      if (phase === "begin") {
        before = arm.target.usage();
        gatewayBefore = arm.gateway?.usage() ?? null;
        // This question resets the count; its answer is not used.
        void arm.target.eventLoopDelayP99Us();
        void arm.target.pauses();
        watched.load = arm.driver.pid;
        watch.begin(watched);
      } else {
        watch.end(watched);
        after = arm.target.usage();
        gatewayAfter = arm.gateway?.usage() ?? null;
        delayed = arm.target.eventLoopDelayP99Us();
        paused = arm.target.pauses();
      }
    },
    onProgress,
  });
  const [from, to] = [before as ProcessUsage | null, after as ProcessUsage | null];
  const [gatewayFrom, gatewayTo] = [gatewayBefore as ProcessUsage | null, gatewayAfter as ProcessUsage | null];
  return {
    report,
    startedAt,
    shared: job.background !== undefined,
    serverDelayUs: await delayed,
    machine: watch.load(watched, {
      server: await paused,
      load: report.pauses ?? null,
      durationUs: report.durationUs,
      othersKnown: !isServedHere(arm),
    }),
    gatewayCpuUs: gatewayFrom === null || gatewayTo === null ? null : gatewayTo.cpuUs - gatewayFrom.cpuUs,
    server: from === null || to === null ? null : { cpuUs: to.cpuUs - from.cpuUs, rssBytes: to.rssBytes },
  };
}

/** Whether a server that is not ours runs on this machine: what it uses cannot be told from what others use. */
function isServedHere({ target, origin }: LiveArm): boolean {
  const { hostname } = new URL(origin);
  return target.pid === null && isLoopback(hostname);
}

/** Why a run's figures may not be used. */
export function faultsOf(context: RunContext, arm: LiveArm, job: LoadJob, workload: Workload, { report }: Measured): string[] {
  const { requests, negotiated } = report;
  // What the server did comes before what follows from it.
  const faults = [...(requests.failed > 0 ? [describeFailures(requests)] : []), ...report.invalid];
  const lost = job.requests.length - requests.completed - requests.failed;
  // Requests that were given up without being sent have a reason of their own.
  const isGivenUp = report.invalid.some((reason) => reason.startsWith("given up"));
  if (lost > 0 && !isGivenUp) faults.push(`${lost} of ${job.requests.length} requests are not accounted for`);
  const wanted = protocolTraits[arm.spec.protocol].negotiated;
  const other = negotiated.find((name) => !isSpoken(arm.spec.protocol, name));
  if (other !== undefined && !faults.some((fault) => fault.startsWith("protocol")))
    faults.push(`the protocol changed: ${wanted} was asked for, ${other} was spoken`);
  if (arm.target.died !== null) faults.push(arm.target.died);
  if (arm.gateway !== null && arm.gateway.died !== null) faults.push(arm.gateway.died);
  const offered = offeredTokensPerSecond(workload);
  const beyond =
    offered === null || context.calibration === null ? null : beyondCalibration(offered, context.calibration, arm.spec.protocol);
  if (beyond !== null) faults.push(beyond);
  // An end at its limit is never the first reason: failures keep it busy as well.
  return [...new Set(faults)].sort((one, other) => Number(isLimit(one)) - Number(isLimit(other)));
}

function scalar(value: number | null, unit: Unit): MetricSummary | null {
  return value === null || !Number.isFinite(value) ? null : summarize([value], unit);
}

/** The driver's metrics, and what only the runner sees. */
function metricsOf({ report, server: used, gatewayCpuUs, serverDelayUs, shared }: Measured): Metrics {
  const { requests, tokens, clientCpuShare, durationUs } = report;
  // The cost of streams beside the measured ones cannot be separated.
  const server = shared ? null : used;
  const per = (total: number | null, count: number | null): number | null =>
    total === null || count === null || count === 0 ? null : total / count;
  const clientCpuUs = clientCpuShare === null || shared ? null : clientCpuShare * durationUs;
  return {
    clientCpuUsPerRequest: scalar(per(clientCpuUs, requests.completed), "us"),
    clientCpuUsPerToken: scalar(per(clientCpuUs, tokens), "us"),
    ...report.metrics,
    serverCpuUsPerRequest: scalar(per(server?.cpuUs ?? null, requests.completed), "us"),
    serverCpuUsPerToken: scalar(per(server?.cpuUs ?? null, tokens), "us"),
    ...(gatewayCpuUs === null || shared
      ? {}
      : {
          gatewayCpuUsPerRequest: scalar(per(gatewayCpuUs, requests.completed), "us"),
          gatewayCpuUsPerToken: scalar(per(gatewayCpuUs, tokens), "us"),
        }),
    ...(report.totals?.sessions === undefined
      ? {}
      : { serverCpuUsPerSession: scalar(per(server?.cpuUs ?? null, report.totals.sessions), "us") }),
    serverRssBytes: scalar(used?.rssBytes ?? null, "bytes"),
    serverEventLoopDelayP99Us: scalar(serverDelayUs, "us"),
  };
}

/** Several runs of one job as one round: counts added, histograms added, scalars averaged (runs are equally long). */
export function joined(
  runs: readonly Measured[],
): Pick<RoundResult, "requests" | "metrics" | "work" | "slices" | "servers" | "clock" | "sessions"> {
  const all = runs.map(metricsOf);
  const done = addWork(runs.map(({ report }) => report.work));
  const work = done === undefined ? {} : { work: done };
  if (runs.length === 1) {
    const { requests, slices, clock, sessions } = runs[0]!.report;
    return {
      requests,
      metrics: all[0]!,
      ...work,
      ...(slices === undefined ? {} : { slices }),
      ...(sessions === undefined ? {} : { sessions }),
      ...(clock === undefined ? {} : { clock }),
      ...serversOf([runs[0]!.report]),
    };
  }
  const errors: Record<string, number> = {};
  for (const { report } of runs)
    for (const [reason, count] of Object.entries(report.requests.errors)) errors[reason] = (errors[reason] ?? 0) + count;
  const sum = (key: "sent" | "completed" | "failed" | "faulted" | "outside"): number =>
    runs.reduce((total, { report }) => total + (report.requests[key] ?? 0), 0);
  const [faulted, outside] = [sum("faulted"), sum("outside")];
  const words = joinWords(runs.map(({ report }) => report.requests));
  const names = new Set(all.flatMap((metrics) => Object.keys(metrics) as MetricName[]));
  const metrics: Partial<Record<MetricName, MetricSummary | null>> = {};
  for (const name of names) {
    const parts = all.map((one) => one[name] ?? null).filter((part) => part !== null);
    if (parts.length === 0) metrics[name] = null;
    else if (parts[0]!.histogram === null)
      metrics[name] = scalar(parts.reduce((total, { mean }) => total + mean, 0) / parts.length, parts[0]!.unit);
    else metrics[name] = mergeSummaries(parts);
  }
  return {
    requests: {
      sent: sum("sent"),
      completed: sum("completed"),
      failed: sum("failed"),
      errors,
      ...(words !== undefined && { words }),
      ...(faulted > 0 && { faulted }),
      ...(outside > 0 && { outside }),
    },
    metrics,
    ...work,
    ...sessionsOf(runs.map(({ report }) => report)),
    ...clockOf(runs.map(({ report }) => report)),
    ...serversOf(runs.map(({ report }) => report)),
  };
}
