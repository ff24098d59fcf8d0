/**
 * The autocannon driver: an independent client for HTTP/1.1, to check ours against. Runs in the loader process.
 *
 * Only what autocannon does right is used:
 * - Its latencies are whole milliseconds, corrected for coordinated omission in the wrong unit: times come from its events,
 *   and no rate is set, so that nothing is corrected.
 * - Its rate is a burst each second: loads are closed loops with an exact number of requests.
 * - Its timeout kills streams that are alive: time-outs are ours.
 * - Its workers multiply rates, and a pipelined request waits behind the one before: neither is used.
 * - Over HTTP/2 it reports success without a single response: only HTTP/1.1 is taken.
 * - It has no event for "connected": `connect` is null.
 */
import autocannon from "autocannon";
import { monotonicUs } from "../../base/clock.ts";
import { Recorder, summarize } from "../../results/recorder.ts";
import type { MetricName, MetricSummary, Work } from "../../results/types.ts";
import { unseenWork } from "../../results/work.ts";
import { maxBodyBytes } from "../answer.ts";
import type { FailureReason } from "../client/connection.ts";
import { EventReader } from "../events.ts";
import { checkEveryMs, type GenerateOptions } from "../generator.ts";
import type { LoadJob, LoadReport, PlannedRequest } from "../job.ts";
import { cpuShareLimit, uniformRequest } from "../limits.ts";
import { ForeignBody, oneLine, withoutSecrets } from "../words.ts";

/** Seconds, longer than any run: autocannon's timer does not see that bytes arrive. */
const noTimeoutS = 86_400;
const sampleEveryMs = 50;

interface Head {
  readonly statusCode: number;
  readonly versionMajor: number;
  readonly versionMinor: number;
  /** Names and values, one after the other. */
  readonly headers: readonly string[];
}

/** The part of autocannon's client that its types leave out. */
interface Client {
  on(event: "request" | "done", listener: () => void): void;
  on(event: "headers", listener: (head: Head) => void): void;
  on(event: "body", listener: (part: Buffer) => void): void;
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
  /** Of the body so far. */
  bytes: number;
  /** The answer, where its status says that it is none. */
  foreign: ForeignBody | null;
}

const connectionFailures: Readonly<Record<string, FailureReason>> = { ECONNREFUSED: "connection refused", ECONNRESET: "reset" };

class Tally {
  readonly ttfe: Recorder = new Recorder("us");
  readonly e2el: Recorder = new Recorder("us");
  readonly errors: Record<string, number> = {};
  /** The first words for each reason. */
  readonly words: Record<string, string> = {};
  readonly negotiated: Set<string> = new Set();
  cipher: string | null = null;
  sent = 0;
  completed = 0;
  failed = 0;
  tokens = 0;
  tokensKnown = true;
  usageKnown = true;
  contentBytes = 0;
  readonly finishReasons: Record<string, number> = {};
  connections = 0;
  firstUs = Infinity;
  lastUs = 0;

  hold({ tokens, usage, contentBytes, finishReason }: Judged): void {
    if (tokens === null) this.tokensKnown = false;
    else this.tokens += tokens;
    if (usage < 0) this.usageKnown = false;
    this.contentBytes += contentBytes;
    this.finishReasons[finishReason] = (this.finishReasons[finishReason] ?? 0) + 1;
  }

  /** What the answers held. The number of events is not kept, nor when they came. */
  work(exact: boolean): Work {
    const isKnown = this.tokensKnown && this.completed > 0;
    return {
      ...unseenWork,
      answers: this.completed,
      tokensCountedBy: !isKnown ? null : this.usageKnown ? "usage" : "events",
      tokens: isKnown && this.usageKnown ? this.tokens : null,
      events: isKnown && !this.usageKnown ? this.tokens : null,
      contentBytes: this.contentBytes,
      finishReasons: this.finishReasons,
      exact,
    };
  }

  fail(exchange: Exchange, reason: FailureReason, words: string | null = null): void {
    // A failure counts even in a request whose time would not.
    if (!exchange.measured) this.sent++;
    this.failed++;
    this.errors[reason] = (this.errors[reason] ?? 0) + 1;
    if (words !== null) this.words[reason] ??= words;
    this.lastUs = monotonicUs();
  }
}

/** What a whole answer holds. */
interface Judged {
  readonly tokens: number | null;
  readonly usage: number;
  readonly contentBytes: number;
  /** "none" where it names none. */
  readonly finishReason: string;
  /** Why it counts as failed. */
  readonly failure: FailureReason | null;
}

function judge(body: string, planned: PlannedRequest, isStream: boolean): Judged {
  const bytes = Buffer.from(body);
  let events = 0;
  let usage = -1;
  let contentBytes = 0;
  let finishReason = "none";
  let finished = false;
  let failed = false;
  const reader = new EventReader((event) => {
    if (event.content) events++;
    contentBytes += event.contentBytes;
    if (event.finishReason !== null) ({ finishReason } = event);
    if (event.tokens >= 0) usage = event.tokens;
    finished ||= event.finished;
    failed ||= event.failed;
  });
  // An unstreamed answer is read as one event.
  if (isStream) reader.push(bytes, 0, bytes.length);
  else {
    const event = Buffer.concat([Buffer.from("data:"), Buffer.from(JSON.stringify(safeJson(body))), Buffer.from("\n\n")]);
    reader.push(event, 0, event.length);
  }
  const tokens = usage >= 0 ? usage : isStream ? events : null;
  const judged = (failure: FailureReason | null): Judged => ({ tokens, usage, contentBytes, finishReason, failure });
  if (isStream && failed) return judged("error event");
  if (isStream && !finished) return judged("incomplete stream");
  return judged(planned.tokens !== null && tokens !== planned.tokens ? "wrong token count" : null);
}

function foreignBodyOf({ headers }: Head): ForeignBody {
  const said = (name: string): string | null => {
    const at = headers.findIndex((one, index) => index % 2 === 0 && one.toLowerCase() === name);
    return at < 0 ? null : (headers[at + 1] ?? null);
  };
  return new ForeignBody(said("content-type") ?? "", said("content-encoding"), said("location"));
}

function safeJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** One run of autocannon: exactly so many requests, each the same. */
class Cannonade {
  readonly tally: Tally = new Tally();
  readonly #job: LoadJob;
  readonly #planned: PlannedRequest;
  readonly #isStream: boolean;
  readonly #onDone: (done: number) => void;
  readonly #underWay = new Map<Client, Exchange>();
  /** The exchange that `#judgeBody` is asked about next: autocannon calls it right after `response`. */
  #answered: Exchange | null = null;

  constructor(job: LoadJob, planned: PlannedRequest, onDone: (done: number) => void) {
    this.#job = job;
    this.#planned = planned;
    this.#isStream = planned.stream ?? job.stream;
    this.#onDone = onDone;
  }

  /** Resolves when `count` requests, and one for each connection before them, are done or given up. */
  async run(count: number, signal: AbortSignal): Promise<void> {
    let stop = (): void => {};
    const watch = setInterval(() => this.#giveUpOverdue(), checkEveryMs(this.#job));
    try {
      await new Promise<void>((resolve, reject) => {
        const onEnd = (error: Error | null): void => (error ? reject(error) : resolve());
        // What it returns has `stop` too, which its types leave out.
        const instance = autocannon(this.#options(count), onEnd) as unknown as { stop: () => void };
        stop = () => {
          for (const [client, exchange] of this.#underWay) this.#giveUp(client, exchange, "aborted");
          instance.stop();
        };
        signal.addEventListener("abort", stop);
        if (signal.aborted) stop();
      });
    } finally {
      clearInterval(watch);
      signal.removeEventListener("abort", stop);
    }
  }

  /** `setupClient` and `verifyBody` are missing in the types or have others there. */
  #options(count: number): autocannon.Options {
    const { endpoint, connections } = this.#job;
    const { ca, cipher } = endpoint.tls;
    const planned = this.#planned;
    return {
      url: `${endpoint.origin}${planned.path ?? endpoint.path}`,
      method: planned.method ?? endpoint.method,
      headers: endpoint.headers,
      ...(planned.body === "" ? {} : { body: planned.body }),
      connections,
      amount: count + connections,
      pipelining: 1,
      timeout: noTimeoutS,
      sampleInt: sampleEveryMs,
      setupClient: (client: unknown) => this.#attend(client as Client),
      verifyBody: (body: string) => this.#judgeBody(body),
      tlsOptions: {
        ...(ca === null ? {} : { ca }),
        ...(cipher === null ? {} : { ciphers: cipher, minVersion: "TLSv1.3", maxVersion: "TLSv1.3" }),
      },
    } as autocannon.Options;
  }

  #wordsOf({ foreign }: Exchange): string | null {
    const words = foreign?.words() ?? null;
    return words === null ? null : withoutSecrets(words, this.#job.endpoint.headers);
  }

  #attend(client: Client): void {
    const { tally } = this;
    const underWay = this.#underWay;
    let isFirst = true;
    tally.connections++;
    client.on("request", () => {
      // autocannon reconnects silently: no event has ended the request before.
      const before = underWay.get(client);
      if (before !== undefined) tally.fail(before, "connection closed");
      const startUs = monotonicUs();
      if (!isFirst) {
        tally.sent++;
        tally.firstUs = Math.min(tally.firstUs, startUs);
      }
      underWay.set(client, { startUs, measured: !isFirst, firstUs: 0, activeUs: startUs, bytes: 0, foreign: null });
      isFirst = false;
    });
    client.on("headers", (head) => {
      tally.negotiated.add(`http/${head.versionMajor}.${head.versionMinor}`);
      tally.cipher ??= client.conn.getCipher ? `${client.conn.getProtocol?.() ?? "TLS"} ${client.conn.getCipher().standardName}` : null;
      const exchange = underWay.get(client);
      if (exchange === undefined) return;
      exchange.activeUs = monotonicUs();
      if (head.statusCode < 200 || head.statusCode > 299) exchange.foreign = foreignBodyOf(head);
    });
    client.on("body", (part) => {
      const exchange = underWay.get(client);
      if (exchange === undefined) return;
      exchange.foreign?.push(part, 0, part.length);
      // autocannon holds the whole body.
      exchange.bytes += part.length;
      if (exchange.bytes > maxBodyBytes) return this.#giveUp(client, exchange, "response too large");
      exchange.activeUs = monotonicUs();
      exchange.firstUs ||= exchange.activeUs;
    });
    client.on("response", (status) => {
      const exchange = this.#end(client);
      this.#answered = null;
      if (exchange === undefined) return;
      exchange.activeUs = monotonicUs();
      if (status < 200 || status > 299) tally.fail(exchange, `status ${status}`, this.#wordsOf(exchange));
      else this.#answered = exchange;
    });
    client.on("connError", (error) => {
      const exchange = this.#end(client);
      if (exchange !== undefined) tally.fail(exchange, connectionFailures[error.code ?? ""] ?? "connection failed", oneLine(error.message));
    });
    client.on("done", () => {
      const exchange = this.#end(client);
      if (exchange !== undefined) tally.fail(exchange, "connection closed");
    });
  }

  /** Ends the exchange of a client, and returns it. */
  #end(client: Client): Exchange | undefined {
    const exchange = this.#underWay.get(client);
    this.#underWay.delete(client);
    return exchange;
  }

  /** Whether the answer that has just come is right. */
  #judgeBody(body: string): boolean {
    const { tally } = this;
    const exchange = this.#answered;
    this.#answered = null;
    if (exchange === null) return true;
    const judged = judge(body, this.#planned, this.#isStream);
    const { failure } = judged;
    if (failure !== null) {
      tally.fail(exchange, failure);
      return false;
    }
    if (!exchange.measured) return true;
    tally.completed++;
    tally.lastUs = exchange.activeUs;
    tally.hold(judged);
    if (this.#isStream) tally.ttfe.record(exchange.firstUs - exchange.startUs);
    tally.e2el.record(exchange.activeUs - exchange.startUs);
    this.#onDone(tally.completed);
    return true;
  }

  /** Gives up exchanges without a byte for too long, and those that take too long as a whole. */
  #giveUpOverdue(): void {
    const nowUs = monotonicUs();
    const oldest = nowUs - this.#job.idleTimeoutMs * 1000;
    const firstAllowedUs = nowUs - this.#job.requestTimeoutMs * 1000;
    for (const [client, exchange] of this.#underWay) {
      if (exchange.startUs < firstAllowedUs) this.#giveUp(client, exchange, "request timeout");
      else if (exchange.activeUs < oldest) this.#giveUp(client, exchange, "timeout");
    }
  }

  #giveUp(client: Client, exchange: Exchange, reason: FailureReason): void {
    this.#underWay.delete(client);
    this.tally.fail(exchange, reason);
    client.destroy();
  }
}

/** Runs a job that `autocannonSupports`, in this process. */
export async function generateWithAutocannon(job: LoadJob, { signal, onPhase, onProgress }: GenerateOptions): Promise<LoadReport> {
  const planned = uniformRequest(job)!;
  if (job.warmup.length > 0) await new Cannonade(job, planned, () => {}).run(job.warmup.length, signal);
  await onPhase("begin");
  const startedUs = monotonicUs();
  const cpuBefore = process.cpuUsage();
  const cannonade = new Cannonade(job, planned, onProgress);
  await cannonade.run(job.requests.length, signal);
  const cpu = process.cpuUsage(cpuBefore);
  const endedUs = monotonicUs();
  await onPhase("end");
  return reportOf(job, cannonade.tally, { startedUs, endedUs, cpuUs: cpu.user + cpu.system, interrupted: signal.aborted });
}

/** When a run was, microseconds of the monotonic clock, and the CPU time it took. */
interface Span {
  readonly startedUs: number;
  readonly endedUs: number;
  readonly cpuUs: number;
  readonly interrupted: boolean;
}

function reportOf(job: LoadJob, tally: Tally, span: Span): LoadReport {
  const { sent, completed, failed } = tally;
  const { startedUs, endedUs, cpuUs } = span;
  // From the first request on an open connection to the last answer: autocannon itself ends at its next tick.
  const durationUs = Number.isFinite(tally.firstUs) ? tally.lastUs - tally.firstUs : endedUs - startedUs;
  const work = tally.work(job.requests.every(({ tokens }) => tokens !== null));
  const hasTokens = work.tokens !== null;
  const one = (value: number, unit: MetricSummary["unit"]): MetricSummary | null =>
    completed > 0 && Number.isFinite(value) ? summarize([value], unit) : null;
  const metrics: Partial<Record<MetricName, MetricSummary | null>> = {
    ttfe: tally.ttfe.summary(),
    e2el: tally.e2el.summary(),
    durationUs: one(durationUs, "us"),
    requestsPerSecond: one(completed / (durationUs / 1e6), "1/s"),
    tokensPerSecond: hasTokens ? one(tally.tokens / (durationUs / 1e6), "1/s") : null,
    eventsPerSecond: work.tokensCountedBy === "events" ? one(tally.tokens / (durationUs / 1e6), "1/s") : null,
    clientCpuUsPerRequest: one(cpuUs / completed, "us"),
    clientCpuUsPerToken: hasTokens ? one(cpuUs / tally.tokens, "us") : null,
    connectionsOpened: one(tally.connections, "count"),
  };
  return {
    requests: { sent, completed, failed, errors: tally.errors, ...(Object.keys(tally.words).length > 0 && { words: tally.words }) },
    metrics,
    tokens: work.tokens,
    work,
    pace: null,
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
    clientCpuShare: cpuUs / (endedUs - startedUs),
    invalid: faultsOf(job, tally, span),
    details: [],
  };
}

/** Why the figures may not be used. */
function faultsOf(job: LoadJob, tally: Tally, { startedUs, endedUs, cpuUs, interrupted }: Span): string[] {
  const { sent, completed, failed } = tally;
  const planned = job.requests.length;
  const faults: string[] = [];
  const others = [...tally.negotiated].filter((name) => name !== "http/1.1");
  if (others.length > 0) faults.push(`protocol: http/1.1 was asked for, ${others.join(", ")} was spoken`);
  if (interrupted) faults.push("interrupted");
  if (completed === 0) faults.push("no request was completed");
  if (sent !== completed + failed) faults.push(`${sent - completed - failed} requests were lost by the generator`);
  if (sent < planned && !interrupted) faults.push(`given up: ${planned - sent} of ${planned} requests were not sent`);
  const cpuShare = cpuUs / (endedUs - startedUs);
  if (cpuShare > cpuShareLimit) faults.push(`client-limited: autocannon used ${Math.round(cpuShare * 100)}% of a core`);
  return faults;
}
