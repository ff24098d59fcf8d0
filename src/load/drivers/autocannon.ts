/**
 * The autocannon driver: an independent client for HTTP/1.1, to check ours against. Runs in the loader process.
 *
 * Only what autocannon does rightly is used. Its own latencies are whole milliseconds and are corrected for coordinated
 * omission in the wrong unit, its timeout kills streams that are alive, its rate is a burst each second, its workers
 * multiply rates, a pipelined request waits behind the one before, and over HTTP/2 it reports success without a single
 * response: so times come from its events, time-outs are ours, loads are closed loops with an exact number of requests
 * and without a rate (which also leaves its correction out), pipelining is 1, there are no workers, and only HTTP/1.1
 * is taken. It tells nobody when it has connected, so `connect` is null.
 */
import autocannon from "autocannon";
import { monotonicUs } from "../../base/clock.ts";
import { Recorder, summarize } from "../../results/recorder.ts";
import type { MetricName, MetricSummary } from "../../results/types.ts";
import { EventReader } from "../events.ts";
import type { GenerateOptions } from "../generator.ts";
import type { LoadJob, LoadReport, PlannedRequest } from "../job.ts";
import { cpuShareLimit, uniformRequest } from "../limits.ts";

/** Seconds: far beyond any run, because autocannon's timer does not see that bytes arrive. */
const noTimeoutS = 86_400;
const sampleEveryMs = 50;

/** What autocannon's client shows beyond its types. */
interface Client {
  on(event: "request" | "done", listener: () => void): void;
  on(event: "headers", listener: (head: { statusCode: number; versionMajor: number; versionMinor: number }) => void): void;
  on(event: "body", listener: () => void): void;
  on(event: "response", listener: (status: number) => void): void;
  on(event: "connError", listener: (error: NodeJS.ErrnoException) => void): void;
  destroy(): void;
  readonly conn: { getCipher?: () => { standardName: string }; getProtocol?: () => string | null };
}

interface Exchange {
  readonly startUs: number;
  /** The first of a connection waits for it to be opened: it is warm-up. */
  readonly measured: boolean;
  firstUs: number;
  activeUs: number;
}

class Tally {
  readonly ttfe: Recorder = new Recorder("us");
  readonly e2el: Recorder = new Recorder("us");
  readonly errors: Record<string, number> = {};
  readonly negotiated: Set<string> = new Set();
  cipher: string | null = null;
  sent = 0;
  completed = 0;
  failed = 0;
  tokens = 0;
  tokensKnown = true;
  connections = 0;
  firstUs = Infinity;
  lastUs = 0;

  fail(exchange: Exchange, reason: string): void {
    // A failure is told even where its time would not count.
    if (!exchange.measured) this.sent++;
    this.failed++;
    this.errors[reason] = (this.errors[reason] ?? 0) + 1;
    this.lastUs = monotonicUs();
  }
}

/** What a whole answer says of itself. */
function judge(body: string, planned: PlannedRequest, isStream: boolean): { tokens: number | null; failure: string | null } {
  const bytes = Buffer.from(body);
  let events = 0;
  let usage = -1;
  let finished = false;
  let failed = false;
  const reader = new EventReader((event) => {
    if (event.content) events++;
    if (event.tokens >= 0) usage = event.tokens;
    finished ||= event.finished;
    failed ||= event.failed;
  });
  // An unstreamed answer is read as the one event that it is.
  if (isStream) reader.push(bytes, 0, bytes.length);
  else {
    const event = Buffer.concat([Buffer.from("data:"), Buffer.from(JSON.stringify(safeJson(body))), Buffer.from("\n\n")]);
    reader.push(event, 0, event.length);
  }
  const tokens = usage >= 0 ? usage : isStream ? events : null;
  if (isStream && failed) return { tokens, failure: "error event" };
  if (isStream && !finished) return { tokens, failure: "incomplete stream" };
  return { tokens, failure: planned.tokens !== null && tokens !== planned.tokens ? "wrong token count" : null };
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

async function cannonade(
  job: LoadJob,
  count: number,
  planned: PlannedRequest,
  signal: AbortSignal,
  onDone: (done: number) => void,
): Promise<Tally> {
  const tally = new Tally();
  const { endpoint } = job;
  const isStream = planned.stream ?? job.stream;
  const underWay = new Map<Client, Exchange>();
  const clients: Client[] = [];
  /** The exchange whose body `verifyBody` is about to be asked of: autocannon calls it right after `response`. */
  let answered: Exchange | null = null;

  const setupClient = (handle: unknown): void => {
    const client = handle as Client;
    clients.push(client);
    tally.connections++;
    let isFirst = true;
    client.on("request", () => {
      // Nothing told of the end of the one before: autocannon reconnects silently.
      const before = underWay.get(client);
      if (before !== undefined) tally.fail(before, "connection closed");
      const startUs = monotonicUs();
      if (!isFirst) {
        tally.sent++;
        tally.firstUs = Math.min(tally.firstUs, startUs);
      }
      underWay.set(client, { startUs, measured: !isFirst, firstUs: 0, activeUs: startUs });
      isFirst = false;
    });
    client.on("done", () => {
      const last = underWay.get(client);
      underWay.delete(client);
      if (last !== undefined) tally.fail(last, "connection closed");
    });
    client.on("headers", (head) => {
      tally.negotiated.add(`http/${head.versionMajor}.${head.versionMinor}`);
      tally.cipher ??= client.conn.getCipher ? `${client.conn.getProtocol?.() ?? "TLS"} ${client.conn.getCipher().standardName}` : null;
      const exchange = underWay.get(client);
      if (exchange !== undefined) exchange.activeUs = monotonicUs();
    });
    client.on("body", () => {
      const exchange = underWay.get(client);
      if (exchange === undefined) return;
      exchange.activeUs = monotonicUs();
      exchange.firstUs ||= exchange.activeUs;
    });
    client.on("response", (status) => {
      const exchange = underWay.get(client);
      underWay.delete(client);
      answered = null;
      if (exchange === undefined) return;
      exchange.activeUs = monotonicUs();
      if (status < 200 || status > 299) tally.fail(exchange, `status ${status}`);
      else answered = exchange;
    });
    client.on("connError", (error) => {
      const exchange = underWay.get(client);
      underWay.delete(client);
      if (exchange === undefined) return;
      const reasons: Readonly<Record<string, string>> = { ECONNREFUSED: "connection refused", ECONNRESET: "reset" };
      tally.fail(exchange, reasons[error.code ?? ""] ?? "connection failed");
    });
  };

  const verifyBody = (body: string): boolean => {
    const exchange = answered;
    answered = null;
    if (exchange === null) return true;
    const { tokens, failure } = judge(body, planned, isStream);
    if (failure !== null) {
      tally.fail(exchange, failure);
      return false;
    }
    if (!exchange.measured) return true;
    tally.completed++;
    tally.lastUs = exchange.activeUs;
    if (tokens === null) tally.tokensKnown = false;
    else tally.tokens += tokens;
    if (isStream) tally.ttfe.record(exchange.firstUs - exchange.startUs);
    tally.e2el.record(exchange.activeUs - exchange.startUs);
    onDone(tally.completed);
    return true;
  };

  await new Promise<void>((resolve, reject) => {
    const { ca, cipher } = endpoint.tls;
    let stop = (): void => {};
    let watch: NodeJS.Timeout | undefined;
    const instance = autocannon(
      {
        url: `${endpoint.origin}${planned.path ?? endpoint.path}`,
        method: planned.method ?? endpoint.method,
        headers: endpoint.headers,
        ...(planned.body === "" ? {} : { body: planned.body }),
        connections: job.connections,
        amount: count + job.connections,
        pipelining: 1,
        timeout: noTimeoutS,
        sampleInt: sampleEveryMs,
        setupClient,
        verifyBody,
        tlsOptions: {
          ...(ca === null ? {} : { ca }),
          ...(cipher === null ? {} : { ciphers: cipher, minVersion: "TLSv1.3", maxVersion: "TLSv1.3" }),
        },
      } as autocannon.Options,
      (error: Error | null) => {
        clearInterval(watch);
        signal.removeEventListener("abort", stop);
        if (error) reject(error);
        else resolve();
      },
    ) as unknown as { stop: () => void };
    const giveUp = (client: Client, exchange: Exchange, reason: string): void => {
      underWay.delete(client);
      tally.fail(exchange, reason);
      client.destroy();
    };
    stop = () => {
      for (const [client, exchange] of underWay) giveUp(client, exchange, "aborted");
      instance.stop();
    };
    watch = setInterval(
      () => {
        const oldest = monotonicUs() - job.idleTimeoutMs * 1000;
        for (const [client, exchange] of underWay) if (exchange.activeUs < oldest) giveUp(client, exchange, "timeout");
      },
      Math.max(5, job.idleTimeoutMs / 8),
    );
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
  });
  return tally;
}

/** Runs a job that `autocannonSupports`, in this process. */
export async function generateWithAutocannon(job: LoadJob, { signal, onPhase, onProgress }: GenerateOptions): Promise<LoadReport> {
  const planned = uniformRequest(job)!;
  if (job.warmup.length > 0) await cannonade(job, job.warmup.length, planned, signal, () => {});
  await onPhase("begin");
  const startedUs = monotonicUs();
  const cpuBefore = process.cpuUsage();
  const tally = await cannonade(job, job.requests.length, planned, signal, onProgress);
  const cpu = process.cpuUsage(cpuBefore);
  const endedUs = monotonicUs();
  await onPhase("end");

  const cpuUs = cpu.user + cpu.system;
  const { sent, completed, failed } = tally;
  // From the first request on an open connection to the last answer: autocannon itself ends on a tick.
  const durationUs = Number.isFinite(tally.firstUs) ? tally.lastUs - tally.firstUs : endedUs - startedUs;
  const cpuShare = cpuUs / (endedUs - startedUs);
  const hasTokens = tally.tokensKnown && completed > 0;
  const one = (value: number, unit: MetricSummary["unit"]): MetricSummary | null =>
    completed > 0 && Number.isFinite(value) ? summarize([value], unit) : null;
  const metrics: Partial<Record<MetricName, MetricSummary | null>> = {
    ttfe: tally.ttfe.summary(),
    e2el: tally.e2el.summary(),
    durationUs: one(durationUs, "us"),
    requestsPerSecond: one(completed / (durationUs / 1e6), "1/s"),
    tokensPerSecond: hasTokens ? one(tally.tokens / (durationUs / 1e6), "1/s") : null,
    clientCpuUsPerRequest: one(cpuUs / completed, "us"),
    clientCpuUsPerToken: hasTokens ? one(cpuUs / tally.tokens, "us") : null,
    connectionsOpened: one(tally.connections, "count"),
  };
  const invalid: string[] = [];
  const others = [...tally.negotiated].filter((name) => name !== "http/1.1");
  if (others.length > 0) invalid.push(`protocol: http/1.1 was asked for, ${others.join(", ")} was spoken`);
  if (signal.aborted) invalid.push("interrupted");
  if (completed === 0) invalid.push("no request was completed");
  if (sent !== completed + failed) invalid.push(`${sent - completed - failed} requests were lost by the generator`);
  if (sent < job.requests.length && !signal.aborted)
    invalid.push(`given up: ${job.requests.length - sent} of ${job.requests.length} requests were not sent`);
  if (cpuShare > cpuShareLimit) invalid.push(`client-limited: autocannon used ${Math.round(cpuShare * 100)}% of a core`);
  return {
    requests: { sent, completed, failed, errors: tally.errors },
    metrics,
    tokens: hasTokens ? tally.tokens : null,
    durationUs,
    startedUs,
    endedUs,
    negotiated: [...tally.negotiated],
    cipher: tally.cipher,
    connectionsOpened: tally.connections,
    connectionsLost: null,
    heldBack: null,
    windows: null,
    maxConcurrentStreams: null,
    clientCpuShare: cpuShare,
    invalid,
    details: [],
  };
}
