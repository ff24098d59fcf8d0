/**
 * What came in: requests as their clients sent them, and how their answers went. Kept where it is asked for only, because prompts
 * are private and a copy of each costs time.
 */
import { inspect } from "node:util";
import type { PlanSender } from "../api/routes.ts";
import { peekBody } from "../api/shared/body.ts";
import { monotonicUs } from "../base/clock.ts";
import { hidden, isSecretName, withoutSecrets } from "../base/secrets.ts";
import { UsageError } from "../base/usage-error.ts";
import { FaultySink } from "../core/faults/faulty.ts";
import type {
  Carrier,
  FrameSource,
  Protocol,
  RequestHandler,
  ResponseHead,
  ResponsePlan,
  ResponseSink,
  RouteRequest,
  SinkObserver,
  WireFault,
} from "../core/seams.ts";
import { isOperatorsPath } from "./gate.ts";

/** A request that came in. What tells of its answer changes until `ended` is there. */
export interface ReceivedRequest {
  /** From 1, in the order of arrival. */
  readonly number: number;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** Without the question mark, "" where there is none; values of keys, tokens and signatures read "[hidden]". */
  readonly query: string;
  readonly protocol: Protocol;
  /** By lower-case names; keys, tokens and cookies read "[hidden]". */
  readonly headers: Readonly<Record<string, string>>;
  /** A JSON object as its value, anything else as text; null: none. */
  readonly body: unknown;
  /** Number of its connection, from 1; null on uWebSockets.js, which does not tell. */
  readonly connection: number | null;
  /** Id of its HTTP/2 stream; null on HTTP/1.1. */
  readonly stream: number | null;
  /** When all of it had arrived, milliseconds since 1970. */
  readonly receivedAtMs: number;
  /** Milliseconds from there to the first bytes of the answer; null: none so far. */
  readonly firstWriteMs: number | null;
  /** Milliseconds from there to its end; null: under way. */
  readonly endedMs: number | null;
  /** Of the answer; null: none so far. */
  readonly status: number | null;
  /** How the answer ended: written whole, cut by this server, or given up by its client; null: under way. */
  readonly ended: "finished" | "cut" | "aborted" | null;
  /** Output tokens whose bytes were handed to the connection; null: an answer that no plan has, as an error. */
  readonly tokensSent: number | null;
}

export interface WaitOptions {
  /** Default 5,000. */
  readonly timeoutMs?: number;
  /** true: waits until its answer has ended, whichever way. */
  readonly untilEnded?: boolean;
  /** true: what is there already does not fit. */
  readonly next?: boolean;
}

const waitOptions: readonly string[] = ["timeoutMs", "untilEnded", "next"] satisfies readonly (keyof WaitOptions)[];

/** What is waited for: a path, or a question about each request. */
export type RequestMatch = string | ((request: ReceivedRequest) => boolean);

/** The requests of a server, the oldest first. */
export interface ReceivedRequests extends Iterable<ReceivedRequest> {
  readonly length: number;
  at(index: number): ReceivedRequest | undefined;
  /** A copy of the list. */
  all(): readonly ReceivedRequest[];
  /**
   * Resolves to the first request that fits, one that is there already included unless the options say `next`. Rejects with an Error
   * after the time, with a UsageError where no requests are kept, and with what `match` throws.
   */
  waitForRequest(match: RequestMatch, options?: WaitOptions): Promise<ReceivedRequest>;
  /** Forgets what is there. Numbers go on. */
  clear(): void;
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };
type Entry = Writable<ReceivedRequest>;

/** Bodies and heads kept in all, bytes as they came: the oldest requests go first. */
export const mostKeptBytes = 67_108_864;

/** Of them in one answer of /admin/requests: writing more as JSON would hold up streams. */
const mostPageBytes = 1_048_576;

interface Waiter {
  readonly fits: (request: ReceivedRequest) => boolean;
  readonly resolve: (request: ReceivedRequest) => void;
  readonly reject: (error: unknown) => void;
}

export class RequestLog implements ReceivedRequests {
  readonly #most: number;
  #entries: Entry[] = [];
  /** When each had arrived, by the monotonic clock. */
  readonly #receivedUs = new WeakMap<ReceivedRequest, number>();
  #bytes: number[] = [];
  #bytesInAll = 0;
  #count = 0;
  readonly #connections = new WeakMap<object, number>();
  #connectionCount = 0;
  readonly #waiters = new Set<Waiter>();

  /** Keeps up to `most` requests; 0: none. */
  constructor(most: number) {
    this.#most = most;
  }

  get isOn(): boolean {
    return this.#most > 0;
  }

  get length(): number {
    return this.#entries.length;
  }

  at(index: number): ReceivedRequest | undefined {
    return this.#entries.at(index);
  }

  all(): readonly ReceivedRequest[] {
    return [...this.#entries];
  }

  /** Requests behind the one of this number, the oldest first, up to `mostPageBytes` of bodies and heads; one at least, where there is one. */
  page(after: number): { readonly requests: readonly ReceivedRequest[]; readonly hasMore: boolean } {
    const found = this.#entries.findIndex(({ number }) => number > after);
    const first = found < 0 ? this.#entries.length : found;
    let end = first;
    for (let bytes = 0; end < this.#entries.length; end++) {
      bytes += this.#bytes[end]!;
      if (bytes > mostPageBytes && end > first) break;
    }
    return { requests: this.#entries.slice(first, end), hasMore: end < this.#entries.length };
  }

  /** When a request of this log had arrived whole, microseconds of the monotonic clock. */
  receivedUsOf(request: ReceivedRequest): number {
    return this.#receivedUs.get(request)!;
  }

  [Symbol.iterator](): Iterator<ReceivedRequest> {
    return this.all()[Symbol.iterator]();
  }

  clear(): void {
    this.#entries = [];
    this.#bytes = [];
    this.#bytesInAll = 0;
  }

  async waitForRequest(match: RequestMatch, options: WaitOptions = {}): Promise<ReceivedRequest> {
    if (!this.isOn)
      throw new UsageError("no requests are kept: start the server with keepRequests, as in createServer({ keepRequests: 100 })");
    const unknown = Object.keys(options).find((name) => !waitOptions.includes(name));
    if (unknown !== undefined) throw new UsageError(`waitForRequest: there is no option ${unknown}: there are ${waitOptions.join(", ")}`);
    const { timeoutMs = 5000, untilEnded = false, next = false } = options;
    const wanted = typeof match === "string" ? ({ path }: ReceivedRequest): boolean => path === match : match;
    const before = next ? this.#count : 0;
    const fits = (request: ReceivedRequest): boolean =>
      request.number > before && (!untilEnded || request.ended !== null) && wanted(request);
    const found = this.#entries.find(fits);
    if (found !== undefined) return found;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiters.delete(waiter);
        const came = this.#entries.length === 0 ? "none came" : `${this.#entries.length} are there, the last ${lastOf(this.#entries)}`;
        reject(new Error(`no request fits after ${timeoutMs} ms: ${came}`));
      }, timeoutMs);
      const waiter: Waiter = {
        fits,
        resolve: (request) => {
          clearTimeout(timer);
          this.#waiters.delete(waiter);
          resolve(request);
        },
        reject: (error) => {
          clearTimeout(timer);
          this.#waiters.delete(waiter);
          reject(error);
        },
      };
      this.#waiters.add(waiter);
    });
  }

  /**
   * A handler that notes what comes in and how its answer goes. Paths for the server's operator are left out: a look at /admin/requests
   * would push out what it looks for.
   */
  watch(handler: RequestHandler): RequestHandler {
    if (!this.isOn) return handler;
    const noted = (request: RouteRequest, body: Uint8Array, sink: ResponseSink): ResponseSink =>
      isOperatorsPath(request.path) ? sink : this.#note(request, body, sink);
    return {
      ...handler,
      handle: (request, body, sink) => handler.handle(request, body, noted(request, body, sink)),
      refuse: (reason, request, sink, excess) =>
        handler.refuse(reason, request, request === null ? sink : noted(request, noBody, sink), excess),
    };
  }

  /** Sends plans on with their tokens counted. */
  watchPlans(sender: PlanSender): PlanSender {
    return { send: (plan, sink, path) => sender.send(this.#watchPlan(plan, sink), sink, path) };
  }

  #watchPlan(plan: ResponsePlan, sink: ResponseSink): ResponsePlan {
    const noted = sink instanceof FaultySink ? sink.inner : sink;
    if (!(noted instanceof NotedSink)) return plan;
    noted.entry.tokensSent = 0;
    return { ...plan, frames: new CountedFrames(plan.frames, noted.entry) };
  }

  #note(request: RouteRequest, body: Uint8Array, sink: ResponseSink): ResponseSink {
    const { method, path, protocol } = request;
    const query = withoutSecrets(request.query);
    const headers = headersOf(request);
    // As it came: its value may take ten times as much, and few are ever looked at.
    const kept = body.slice();
    const entry: Entry = {
      number: ++this.#count,
      method,
      path,
      query,
      protocol,
      headers,
      get body() {
        return valueOf(kept);
      },
      connection: sink.connection === undefined ? null : this.#numberOf(sink.connection),
      stream: sink.streamId ?? null,
      receivedAtMs: Date.now() - (monotonicUs() - request.receivedUs) / 1000,
      firstWriteMs: null,
      endedMs: null,
      status: null,
      ended: null,
      tokensSent: null,
    };
    Object.defineProperty(entry, inspect.custom, { value: shown });
    this.#entries.push(entry);
    this.#receivedUs.set(entry, request.receivedUs);
    const bytes = body.length + path.length + query.length + charactersOf(headers);
    this.#bytes.push(bytes);
    this.#bytesInAll += bytes;
    while (this.#entries.length > this.#most || (this.#bytesInAll > mostKeptBytes && this.#entries.length > 1)) {
      this.#entries.shift();
      this.#bytesInAll -= this.#bytes.shift()!;
    }
    this.#tell(entry);
    return new NotedSink(sink, entry, request.receivedUs, () => this.#tell(entry));
  }

  #numberOf(connection: object): number {
    let number = this.#connections.get(connection);
    if (number === undefined) this.#connections.set(connection, (number = ++this.#connectionCount));
    return number;
  }

  #tell(entry: Entry): void {
    for (const waiter of this.#waiters) {
      // What the user's predicate throws, as of a request without a body, is its waiter's and not the engine's.
      try {
        if (waiter.fits(entry)) waiter.resolve(entry);
      } catch (error) {
        waiter.reject(error);
      }
    }
  }
}

const noBody = new Uint8Array();

/** What console.log shows: of a getter it would not tell the value. */
function shown(this: Entry): object {
  return { ...this };
}

function lastOf(entries: readonly Entry[]): string {
  const { method, path } = entries.at(-1)!;
  return `${method} ${path}`;
}

function valueOf(body: Uint8Array): unknown {
  return body.length === 0 ? null : (peekBody(body) ?? Buffer.from(body).toString("utf8"));
}

function charactersOf(headers: Readonly<Record<string, string>>): number {
  let characters = 0;
  for (const [name, value] of Object.entries(headers)) characters += name.length + value.length;
  return characters;
}

function headersOf(request: RouteRequest): Record<string, string> {
  return Object.fromEntries(request.headerNames().map((name) => [name, isSecretName(name) ? hidden : (request.header(name) ?? "")]));
}

/** A sink that notes how its response goes. */
class NotedSink implements ResponseSink {
  readonly entry: Entry;
  readonly takeUnsent?: () => Uint8Array | null;
  readonly inject?: (fault: WireFault) => void;
  readonly carrier?: Carrier;
  readonly requestOnConnection?: number;
  #observer: SinkObserver | null = null;
  readonly #sink: ResponseSink;
  readonly #receivedUs: number;
  readonly #onEnd: () => void;

  constructor(sink: ResponseSink, entry: Entry, receivedUs: number, onEnd: () => void) {
    this.#sink = sink;
    this.entry = entry;
    this.#receivedUs = receivedUs;
    this.#onEnd = onEnd;
    if (sink.takeUnsent !== undefined) this.takeUnsent = () => sink.takeUnsent!();
    if (sink.inject !== undefined) {
      this.inject = (fault) => {
        sink.inject!(fault);
        if (sink.closed) this.#end("cut");
      };
    }
    if (sink.carrier !== undefined) this.carrier = sink.carrier;
    if (sink.requestOnConnection !== undefined) this.requestOnConnection = sink.requestOnConnection;
    // A client may leave before anything observes the sink.
    this.observer = null;
  }

  get closed(): boolean {
    return this.#sink.closed;
  }

  get observer(): SinkObserver | null {
    return this.#observer;
  }

  set observer(observer: SinkObserver | null) {
    this.#observer = observer;
    this.#sink.observer = {
      onDrain: () => observer?.onDrain(),
      onAbort: () => {
        this.#end("aborted");
        observer?.onAbort();
      },
    };
  }

  get extraHeaders(): Readonly<Record<string, string>> | null {
    return this.#sink.extraHeaders ?? null;
  }

  set extraHeaders(headers: Readonly<Record<string, string>> | null) {
    this.#sink.extraHeaders = headers;
  }

  isBeingRead(): boolean {
    return this.#sink.isBeingRead();
  }

  start(head: ResponseHead): void {
    this.entry.status = head.status;
    this.#sink.start(head);
  }

  write(frame: Uint8Array): boolean {
    this.entry.firstWriteMs ??= this.#sinceArrival();
    return this.#sink.write(frame);
  }

  end(frame?: Uint8Array): void {
    if (frame !== undefined) this.entry.firstWriteMs ??= this.#sinceArrival();
    this.#sink.end(frame);
    this.#end("finished");
  }

  reset(): void {
    this.#sink.reset();
    this.#end("cut");
  }

  #end(how: NonNullable<Entry["ended"]>): void {
    if (this.entry.ended !== null) return;
    this.entry.ended = how;
    this.entry.endedMs = this.#sinceArrival();
    this.#onEnd();
  }

  #sinceArrival(): number {
    return (monotonicUs() - this.#receivedUs) / 1000;
  }
}

/** Frames whose tokens are counted when they are handed over. */
class CountedFrames implements FrameSource {
  readonly #frames: FrameSource;
  readonly #entry: Entry;

  constructor(frames: FrameSource, entry: Entry) {
    this.#frames = frames;
    this.#entry = entry;
  }

  get length(): number {
    return this.#frames.length;
  }

  get tokens(): number {
    return this.#frames.tokens;
  }

  get isOneBody(): boolean {
    return this.#frames.isOneBody === true;
  }

  frame(index: number, dueUs: number, sentUs: number): Uint8Array {
    const bytes = this.#frames.frame(index, dueUs, sentUs);
    this.#entry.tokensSent! += this.#frames.tokens;
    return bytes;
  }

  restamp(copy: Uint8Array, sentUs: number): void {
    this.#frames.restamp?.(copy, sentUs);
  }
}
