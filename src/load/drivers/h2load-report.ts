/** From what h2load printed and logged to a report. */
import { protocolTraits } from "../../results/protocols.ts";
import { Recorder, summarize } from "../../results/recorder.ts";
import type { Metrics, MetricSummary, Work } from "../../results/types.ts";
import type { FailureReason, Http2Limits } from "../client/connection.ts";
import type { LoadJob, LoadReport } from "../job.ts";
import { cpuShareLimit } from "../limits.ts";
import { unseenWork } from "../../results/work.ts";
import { type H2loadLogRow, type H2loadOutput, parseH2load, parseH2loadFile } from "./h2load-output.ts";

/** The output of a run of h2load, and what was seen of it. */
export interface H2loadRun {
  /** What it printed. */
  readonly output: string;
  /** Share of a core that it used until it was last looked at; null where the system does not tell. */
  readonly cpuShare: number | null;
  readonly startedUs: number;
  readonly endedUs: number;
  readonly log: readonly H2loadLogRow[];
  /** The text of `--output-file`, or null. */
  readonly file: string | null;
  readonly limits: Http2Limits | null;
  readonly interrupted: boolean;
}

export function reportOf(job: LoadJob, run: H2loadRun): LoadReport {
  const { log, limits, cpuShare } = run;
  const { printed, fault } = printedOf(run);
  const sent = printed === null ? log.length : job.requests.length;
  const succeeded = log.filter(isSuccess);
  const completed = succeeded.length;
  // From the first request to the last end: h2load's own duration includes connecting.
  const firstUs = log.reduce((first, { startUs }) => Math.min(first, startUs), Infinity);
  const lastUs = log.reduce((last, { startUs, durationUs }) => Math.max(last, startUs + durationUs), 0);
  const durationUs = log.length > 0 ? lastUs - firstUs : run.endedUs - run.startedUs;
  const negotiated = printed?.negotiated ?? null;
  return {
    requests: { sent, completed, failed: sent - completed, errors: errorsOf(log, sent, printed) },
    metrics: metricsOf(job, succeeded, durationUs, cpuShare, printed),
    tokens: null,
    work: workOf(printed, completed),
    pace: null,
    durationUs,
    startedUs: run.startedUs,
    endedUs: run.endedUs,
    negotiated: negotiated === null || completed === 0 ? [] : [negotiated],
    cipher: printed?.cipher ?? null,
    connectionsOpened: completed > 0 ? job.connections : null,
    connectionsLost: null,
    heldBack: null,
    windows: limits?.windows ?? null,
    maxConcurrentStreams: limits?.maxConcurrentStreams ?? null,
    clientCpuShare: cpuShare,
    invalid: [...(fault === null ? [] : [fault]), ...faultsOf(job, run, printed, completed)],
    details: [],
  };
}

/** h2load counts the bytes of bodies and sees nothing in them. */
function workOf(printed: H2loadOutput | null, completed: number): Work | null {
  return printed === null ? null : { ...unseenWork, answers: completed, bodyBytes: printed.bytes.data };
}

/** The parsed result, or why there is none; no fault where the run was interrupted. */
function printedOf({ file, output, interrupted }: H2loadRun): { printed: H2loadOutput | null; fault: string | null } {
  try {
    return { printed: file === null ? parseH2load(output) : parseH2loadFile(file, output), fault: null };
  } catch (error) {
    return { printed: null, fault: interrupted ? null : (error as Error).message };
  }
}

function isSuccess({ status }: H2loadLogRow): boolean {
  return status >= 200 && status <= 299;
}

/** Requests that failed, by reason. */
function errorsOf(log: readonly H2loadLogRow[], sent: number, printed: H2loadOutput | null): Record<string, number> {
  const errors: Record<string, number> = {};
  const count = (reason: FailureReason, times = 1): void => {
    if (times > 0) errors[reason] = (errors[reason] ?? 0) + times;
  };
  for (const row of log) {
    if (row.status === -1) count("reset");
    else if (!isSuccess(row)) count(`status ${row.status}`);
  }
  // Requests that were never started, or never ended, are in no log.
  const unlogged = sent - log.length;
  const timeouts = Math.min(unlogged, printed?.requests.timeout ?? 0);
  count("timeout", timeouts);
  count(printed?.requests.started === 0 ? "connection failed" : "connection closed", unlogged - timeouts);
  return errors;
}

/** Whether TLS is spoken. */
function isEncrypted({ endpoint }: LoadJob): boolean {
  return protocolTraits[endpoint.protocol].isEncrypted;
}

function metricsOf(
  job: LoadJob,
  succeeded: readonly H2loadLogRow[],
  durationUs: number,
  cpuShare: number | null,
  printed: H2loadOutput | null,
): Metrics {
  const { protocol } = job.endpoint;
  const completed = succeeded.length;
  const e2el = new Recorder("us");
  for (const row of succeeded) e2el.record(row.durationUs);
  const connect = new Recorder("us");
  if (!protocolTraits[protocol].isMultiplexed) for (const us of printed?.connectUs ?? []) connect.record(us);
  const one = (value: number, unit: MetricSummary["unit"]): MetricSummary | null => (completed > 0 ? summarize([value], unit) : null);
  return {
    e2el: e2el.summary(),
    connect: connect.summary(),
    durationUs: one(durationUs, "us"),
    requestsPerSecond: one(completed / (durationUs / 1e6), "1/s"),
    clientCpuUsPerRequest: cpuShare === null ? null : one((cpuShare * durationUs) / completed, "us"),
    // Under TLS h2load counts what is inside the records, which is not what passes the wire.
    bytesReceivedPerRequest: isEncrypted(job) || printed === null ? null : one(printed.bytes.total / printed.requests.done, "bytes"),
    connectionsOpened: one(job.connections, "count"),
  };
}

/** Why the figures may not be used. */
function faultsOf(job: LoadJob, run: H2loadRun, printed: H2loadOutput | null, completed: number): string[] {
  const { endpoint, streams, connections } = job;
  const { log, limits, cpuShare } = run;
  const faults: string[] = [];
  const expected = protocolTraits[endpoint.protocol].negotiated;
  if (printed !== null && completed > 0 && printed.negotiated !== expected)
    faults.push(`protocol: ${expected} was asked for, ${printed.negotiated ?? "an unnamed one"} was spoken`);
  const { cipher } = endpoint.tls;
  const used = printed?.cipher ?? null;
  if (isEncrypted(job) && cipher !== null && completed > 0 && used !== `TLSv1.3 ${cipher}`)
    faults.push(`cipher: ${cipher} was asked for, ${used ?? "an unnamed one"} was used`);
  if (run.interrupted) faults.push("interrupted");
  if (completed === 0) faults.push("no request was completed");
  if (log.length > job.requests.length) faults.push(`h2load logged ${log.length} requests instead of ${job.requests.length}`);
  const perConnection = streams / connections;
  if (limits !== null && limits.maxConcurrentStreams < perConnection)
    faults.push(
      `the server allows ${limits.maxConcurrentStreams} streams on a connection, ${perConnection} were wanted: the others waited or were refused`,
    );
  if (cpuShare !== null && cpuShare > cpuShareLimit) faults.push(`client-limited: h2load used ${Math.round(cpuShare * 100)}% of a core`);
  return faults;
}
