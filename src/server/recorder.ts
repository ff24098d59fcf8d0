/** Stands between clients and a real server: passes calls on and back as they come, and writes each to a tape. */
import { chooseEngines, createListeners, findCertificate, listenAll, type Listening, trustOf } from "./listening.ts";
import { sendJson } from "../api/shared/answer.ts";
import { errorAnswer } from "../api/errors/answers.ts";
import type { RequestLimits } from "../api/errors/api-error.ts";
import { dialectOf } from "../api/shared/provider.ts";
import { monotonicUs } from "../base/clock.ts";
import { UsageError } from "../base/usage-error.ts";
import { Meter } from "../core/pacing/meter.ts";
import { servedProtocols } from "../core/protocols.ts";
import type { ProtocolListener, RequestHandler, ResponseSink, RouteRequest } from "../core/seams.ts";
import { Bounds } from "../listeners/bounds.ts";
import type { ServerConfig } from "../settings/server.ts";
import { cuttingOf, EventCutter } from "../tape/events.ts";
import { tapeBytes, type TapeCall, type TapeHead, type TapeHeader, tapeVersion } from "../tape/form.ts";
import { coverSecrets, isOfConnection, keptHeaderLines, keptQuery, secretsOf, withoutSecrets } from "../tape/redact.ts";
import { openUpstream, type Upstream, type UpstreamAnswer, type UpstreamCall, type UpstreamOptions } from "../tape/upstream.ts";
import { type TapeBounds, TapeWriter } from "../tape/writer.ts";

export interface RecorderOptions {
  readonly upstream: UpstreamOptions;
  /** Path of the server's base URL, without a slash at its end: "/api/v1", or "". */
  readonly base: string;
  /** Folder of the tape. */
  readonly out: string;
  readonly bounds: TapeBounds;
  /** Names of headers, in lower case, whose values are kept beside those that always are. */
  readonly keepHeaders: ReadonlySet<string>;
  /** Version of fakeai. */
  readonly version: string;
}

/** What became of the calls so far. */
export interface RecorderStats {
  /** On the tape. */
  readonly recorded: number;
  /** Passed through, and not on the tape: it was full, or an answer was too large. */
  readonly leftOut: number;
  /** Given up by their clients before the answer had ended: they are not on the tape. */
  readonly aborted: number;
  /** No answer came from the server. */
  readonly failed: number;
  readonly bytes: number;
}

export interface Recorder {
  readonly listening: readonly Listening[];
  readonly caPath: string | null;
  readonly ca: string | null;
  readonly file: string;
  stats(): RecorderStats;
  close(graceMs: number): Promise<RecorderStats>;
}

/** What answers under way may hold in memory, of one call and of all: what is beyond passes through, and is not recorded. */
const mostCallBytes = 67_108_864;
const mostHeldBytes = 268_435_456;
/** An answer whose length is announced is passed on whole up to here, and so with its length. */
const mostWholeBytes = 1_048_576;
const noBytes = new Uint8Array();

/** Starts recording. Rejects with UsageError for what cannot be used. */
export async function startRecorder(config: ServerConfig, options: RecorderOptions, tell: (line: string) => void): Promise<Recorder> {
  const socket = config.endpoints.find(({ protocol }) => servedProtocols[protocol].upgradedFrom !== null);
  if (socket !== undefined) throw new UsageError(`--protocol ${socket.protocol}: a tape holds HTTP; leave WebSocket out`);
  const certificate = await findCertificate(config);
  const engines = await chooseEngines(config, certificate, false);
  const { upstream: to, base, version } = options;
  const head: TapeHead = {
    fakeaiTape: tapeVersion,
    to: to.origin + base,
    recordedAt: new Date().toISOString(),
    fakeai: version,
    upstream: to.protocol,
  };
  const writer = await TapeWriter.begin(options.out, head, options.bounds);
  const upstream = openUpstream(to);
  const desk = new RecordingDesk(options, upstream, writer, config.limits, tell);
  const listeners = createListeners(engines, config, certificate, desk.handler, new Bounds(config.limits));
  let listening: Listening[];
  try {
    listening = await listenAll(listeners, config, engines, false);
  } catch (error) {
    upstream.close();
    await writer.close();
    throw error;
  }
  return {
    listening,
    ...trustOf(certificate),
    file: writer.file,
    stats: () => desk.stats(),
    close: (graceMs) => closeAll(listeners, desk, upstream, writer, graceMs),
  };
}

async function closeAll(
  listeners: readonly ProtocolListener[],
  desk: RecordingDesk,
  upstream: Upstream,
  writer: TapeWriter,
  graceMs: number,
): Promise<RecorderStats> {
  await Promise.all(listeners.map((listener) => listener.close(graceMs)));
  upstream.close();
  await writer.close();
  return desk.stats();
}

class RecordingDesk {
  readonly handler: RequestHandler;
  readonly #options: RecorderOptions;
  readonly #upstream: Upstream;
  readonly #writer: TapeWriter;
  readonly #tell: (line: string) => void;
  readonly #meter = new Meter();
  #calls = 0;
  #firstUs: number | null = null;
  #held = 0;
  #tooLarge = 0;
  #aborted = 0;
  #failed = 0;
  #toldFull = false;

  constructor(options: RecorderOptions, upstream: Upstream, writer: TapeWriter, limits: RequestLimits, tell: (line: string) => void) {
    this.#options = options;
    this.#upstream = upstream;
    this.#writer = writer;
    this.#tell = tell;
    this.handler = {
      handle: (request, body, sink) => this.#pass(request, new Uint8Array(body), sink),
      refuse: (reason, request, sink, excess) => this.#answer(request, sink, { kind: "refused", reason, limits, excess }),
    };
  }

  stats(): RecorderStats {
    const { written, leftOut } = this.#writer;
    return {
      recorded: written.calls,
      leftOut: leftOut + this.#tooLarge,
      aborted: this.#aborted,
      failed: this.#failed,
      bytes: written.bytes,
    };
  }

  #answer(request: RouteRequest | null, sink: ResponseSink, problem: Parameters<typeof errorAnswer>[0]): void {
    const { status, json, headers } = errorAnswer(problem, request === null ? "openai" : dialectOf(request, "openai"));
    sendJson(sink, this.#meter, status, json, headers);
  }

  /** Where a request goes: the base may be written in the client's own base URL, as in an SDK's, or not. */
  #target({ path, query }: RouteRequest): string {
    const { base } = this.#options;
    const isWhole = base === "" || path === base || path.startsWith(`${base}/`);
    const last = base.slice(base.lastIndexOf("/"));
    const sharesEnd = !isWhole && path.startsWith(`${last}/`);
    const whole = isWhole ? path : sharesEnd ? base.slice(0, -last.length) + path : base + path;
    return query === "" ? whole : `${whole}?${query}`;
  }

  #pass(request: RouteRequest, body: Uint8Array, sink: ResponseSink): void {
    const headers = request.headerNames().map((name): [string, string] => [name, request.header(name) ?? ""]);
    const connection = request.header("connection") ?? "";
    const passed = headers
      .filter(([name]) => name !== "host" && name !== "content-length" && name !== "expect" && !isOfConnection(name, connection))
      // Header values are bytes: node writes each character as one.
      .map(([name, value]): [string, string] => [name, Buffer.from(value, "utf8").toString("latin1")]);
    this.#firstUs ??= request.receivedUs;
    const call = new RecordedCall(++this.#calls, request.receivedUs - this.#firstUs, request, headers, body);
    let upstream: UpstreamCall | null = null;
    let isOver = false;
    const end = (): void => {
      isOver = true;
      this.#held -= call.heldBytes;
    };
    sink.observer = {
      onDrain: () => upstream?.resume(),
      onAbort: () => {
        if (isOver) return;
        end();
        this.#aborted++;
        upstream?.abort();
      },
    };
    const write = (bytes: Uint8Array): void => {
      if (sink.write(bytes) || sink.closed) return;
      call.heldBack = true;
      upstream?.pause();
    };
    const answer: UpstreamAnswer = {
      onSent: (nowUs, connectUs) => call.sent(nowUs, connectUs),
      onHead: (status, lines, nowUs) => {
        const hasBody = call.onHead(status, lines, nowUs);
        const streamed = hasBody && !call.isPassedWhole;
        sink.start({ status, headers: passedHead(lines), streamed });
        // With what came in the same read, or by itself.
        if (streamed) setImmediate(() => isOver || call.heldBytes > 0 || write(noBytes));
      },
      onData: (bytes, nowUs) => {
        if (isOver) return;
        if (call.heldBytes + bytes.length <= mostCallBytes && this.#held + bytes.length <= mostHeldBytes) this.#held += bytes.length;
        else if (!call.isTooLarge) {
          this.#held -= call.heldBytes;
          call.giveUp();
        }
        call.onData(bytes, nowUs);
        if (!call.isPassedWhole) write(bytes);
      },
      onEnd: (nowUs) => {
        if (isOver) return;
        end();
        if (call.isPassedWhole) sink.end(call.whole());
        else sink.end();
        this.#keep(call, nowUs, "finished");
      },
      onFail: (reason, nowUs) => {
        if (isOver) return;
        end();
        if (call.status === null) {
          this.#failed++;
          this.#answer(request, sink, {
            kind: "request",
            status: reason === "ETIMEDOUT" ? 504 : 502,
            message: `fakeai record: no answer from the server (${reason}).`,
            param: null,
            code: "upstream_failed",
            headers: {},
          });
          return;
        }
        if (call.isPassedWhole && call.heldBytes > 0) sink.write(call.whole());
        sink.reset();
        this.#keep(call, nowUs, "cut");
      },
    };
    upstream = this.#upstream.send({ method: request.method, target: this.#target(request), headers: passed, body }, answer);
  }

  #keep(call: RecordedCall, endUs: number, how: "finished" | "cut"): void {
    if (call.isTooLarge) {
      this.#tooLarge++;
      return;
    }
    if (this.#writer.add(call.taped(endUs, how, this.#options.keepHeaders)) || this.#toldFull) return;
    this.#toldFull = true;
    const { failure } = this.#writer;
    const why = failure === null ? "the tape is full (--max-calls, --max-tape)" : `the tape cannot be written to (${failure.message})`;
    this.#tell(`${why}: calls pass through, and are not recorded any more`);
  }
}

/** The headers of a head that goes on; those that come twice are joined (RFC 9110, section 5.3). */
function passedHead(lines: readonly (readonly [string, string])[]): Record<string, string> {
  const connection = lines.find(([name]) => name === "connection")?.[1] ?? "";
  const headers: Record<string, string> = {};
  for (const [name, value] of lines) {
    if (name === "content-length" || isOfConnection(name, connection)) continue;
    headers[name] = name in headers ? `${headers[name]!}, ${value}` : value;
  }
  return headers;
}

interface Piece {
  readonly bytes: Uint8Array;
  readonly us: number;
}

/** A call under way. */
class RecordedCall {
  heldBack = false;
  heldBytes = 0;
  isTooLarge = false;
  /** Its answer is passed on when it has ended, because its length is announced. */
  isPassedWhole = false;
  status: number | null = null;
  readonly #number: number;
  readonly #atUs: number;
  readonly #request: RouteRequest;
  readonly #requestHeaders: readonly [string, string][];
  readonly #body: Uint8Array;
  /** When its request had been sent; until that is known, when it was handed on. */
  #sentUs = monotonicUs();
  #connectUs: number | null = null;
  #headers: readonly (readonly [string, string])[] = [];
  #headUs = 0;
  #cutter = new EventCutter("none");
  #pieces: Piece[] = [];

  constructor(number: number, atUs: number, request: RouteRequest, headers: readonly [string, string][], body: Uint8Array) {
    this.#number = number;
    this.#atUs = atUs;
    this.#request = request;
    this.#requestHeaders = headers;
    this.#body = body;
  }

  sent(nowUs: number, connectUs: number | null): void {
    this.#sentUs = nowUs;
    this.#connectUs = connectUs;
  }

  /** Returns whether a body follows. */
  onHead(status: number, headers: readonly (readonly [string, string])[], nowUs: number): boolean {
    this.status = status;
    this.#headers = headers;
    this.#headUs = nowUs;
    const value = (name: string): string | null => headers.find(([known]) => known === name)?.[1] ?? null;
    const cutting = cuttingOf(value("content-type") ?? "", value("content-encoding"));
    this.#cutter = new EventCutter(cutting);
    const length = Number(value("content-length") ?? Number.NaN);
    this.isPassedWhole = cutting === "none" && length <= mostWholeBytes;
    return !(length === 0 || status === 204 || status === 304 || this.#request.method === "HEAD");
  }

  onData(bytes: Buffer, nowUs: number): void {
    if (this.isTooLarge) return;
    this.heldBytes += bytes.length;
    for (const piece of this.#cutter.cut(bytes)) this.#pieces.push({ bytes: piece, us: nowUs });
  }

  /** It is not recorded: what was kept of it is forgotten. */
  giveUp(): void {
    this.isTooLarge = true;
    this.heldBytes = 0;
    this.#pieces = [];
  }

  whole(): Uint8Array {
    return Buffer.concat(this.#pieces.map(({ bytes }) => bytes));
  }

  /** As the tape has it. */
  taped(endUs: number, end: "finished" | "cut", keepHeaders: ReadonlySet<string>): TapeCall {
    const { protocol, method, path, query } = this.#request;
    const body = jsonValue(this.#body);
    const secrets = secretsOf({ headers: this.#requestHeaders, query, body });
    const since = (us: number): number => Math.max(0, Math.round(us - this.#sentUs));
    // A copy: what is on its way to the client stays as it is.
    const whole = Buffer.concat(this.#pieces.map(({ bytes }) => bytes));
    coverSecrets(whole, secrets);
    let at = 0;
    const pieces = this.#pieces.map(({ bytes, us }) => ({ us: since(us), ...tapeBytes(whole.subarray(at, (at += bytes.length))) }));
    const headers: TapeHeader[] = keptHeaderLines(
      this.#headers.filter(([name]) => !isOfConnection(name)),
      keepHeaders,
    );
    return {
      call: this.#number,
      atUs: Math.max(0, Math.round(this.#atUs)),
      connectUs: this.#connectUs === null ? null : Math.round(this.#connectUs),
      heldBack: this.heldBack,
      request: {
        protocol: protocol as TapeCall["request"]["protocol"],
        method,
        path,
        query: keptQuery(query),
        headers: keptHeaderLines(this.#requestHeaders, keepHeaders),
        body: this.#body.length === 0 ? null : tapeBytes(keptBody(this.#body, body, secrets)),
      },
      response: { status: this.status!, headers, headUs: since(this.#headUs), pieces, endUs: since(endUs), end },
    };
  }
}

/** null: no JSON. */
function jsonValue(body: Uint8Array): unknown {
  try {
    return body.length === 0 ? null : JSON.parse(Buffer.from(body).toString("utf8"));
  } catch {
    return null;
  }
}

/** A request's body without what its members and headers hold of keys. */
function keptBody(body: Uint8Array, value: unknown, secrets: readonly Buffer[]): Uint8Array {
  const clean = withoutSecrets(value);
  const kept = clean === value ? Buffer.from(body) : Buffer.from(JSON.stringify(clean));
  coverSecrets(kept, secrets);
  return kept;
}
