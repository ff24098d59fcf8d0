/** The bounds of all listeners of a server: how much a client may open, send, hold and delay, and what happens beyond. */
import type { ListenerCounts, Refusal, RequestHandler, ResponseSink, RouteRequest } from "../core/seams.ts";
import { type JsonExcess, jsonExcess } from "../core/limits/json-bounds.ts";
import type { OpenFiles } from "./open-files.ts";

/** The bounds in force. Sizes in bytes, times in milliseconds. */
export interface ListenerLimits {
  /** Open connections of all listeners together. */
  readonly maxConnections: number;
  /** Streams a client may have open on one HTTP/2 connection. */
  readonly maxConcurrentStreams: number;
  /** SETTINGS_HEADER_TABLE_SIZE (RFC 9113, section 6.5.2): what HPACK keeps of the request headers of a connection. */
  readonly headerTableBytes: number;
  /** Names and values of the headers of a request. */
  readonly maxHeadBytes: number;
  readonly maxBodyBytes: number;
  /** Arrays and objects within each other in a JSON body. */
  readonly maxJsonDepth: number;
  /** Bytes that a streamed response may have waiting. Past it the response waits for its reader. */
  readonly maxStreamBufferedBytes: number;
  /** Bytes that all responses may have waiting. Past it those that have waited longest are cut. */
  readonly maxBufferedBytes: number;
  /** From the connection, or the request before, to the end of a request's head. A TLS handshake counts in. */
  readonly headTimeoutMs: number;
  /** From the end of the head to the end of the body. */
  readonly bodyTimeoutMs: number;
  /** A response whose reader takes nothing is cut after this. A PING may go unanswered for as long. */
  readonly stallTimeoutMs: number;
  /** A connection without an open request is closed after this. */
  readonly h1IdleTimeoutMs: number;
  readonly h2IdleTimeoutMs: number;
}

/** Why a connection is one too many. */
export type Excess = "too-many-connections" | "open-files";

/** A response with bytes waiting for its reader. */
export interface Waiting {
  /** Cuts it, and calls its observer's `onAbort`. */
  shed(): void;
}

/** The counts of a new listener, all zero. */
export function newCounts(): ListenerCounts {
  return {
    connections: 0,
    sessions: 0,
    streams: 0,
    sessionsReaped: 0,
    bounds: {
      "too-many-connections": 0,
      "open-files": 0,
      "stream-limit": 0,
      "head-too-large": 0,
      "body-too-large": 0,
      "json-too-deep": 0,
      "json-too-large": 0,
      "head-timeout": 0,
      "body-timeout": 0,
      "idle-timeout": 0,
      "never-read": 0,
      "buffers-full": 0,
      flood: 0,
      ambiguous: 0,
      malformed: 0,
      "wrong-protocol": 0,
    },
  };
}

/** The limits, and the counts that all listeners of a server share. */
export class Bounds {
  readonly limits: ListenerLimits;
  /** Open connections of all listeners. */
  connections = 0;
  /** null: the process may open as many files as it likes, as far as is known. */
  files: OpenFiles | null = null;
  /** Bytes that wait for readers, as far as the engines tell. */
  bufferedBytes = 0;
  /** In the order in which they began to wait: a Map keeps it. */
  readonly #waiting = new Map<Waiting, { bytes: number; counts: ListenerCounts }>();
  #shedding = false;

  constructor(limits: ListenerLimits) {
    this.limits = limits;
  }

  /** Asked once for each connection, when it is counted: why it is one too many; null: it is not. */
  excess(): Excess | null {
    const { files, connections } = this;
    files?.opened(connections);
    if (files !== null && (files.exhausted || (connections > files.room && files.room < this.limits.maxConnections))) {
      files.met(connections);
      return "open-files";
    }
    return connections > this.limits.maxConnections ? "too-many-connections" : null;
  }

  /** Whether a connection that is refused may stay open until it is told so. */
  get canTellRefused(): boolean {
    return this.files === null || this.files.canTell(this.connections);
  }

  /** Notes how many bytes a response has waiting; 0 when its reader has caught up or it is gone. */
  setWaiting(waiting: Waiting, bytes: number, counts: ListenerCounts): void {
    const entry = this.#waiting.get(waiting);
    this.bufferedBytes += bytes - (entry?.bytes ?? 0);
    if (bytes === 0) this.#waiting.delete(waiting);
    else if (entry) entry.bytes = bytes;
    else this.#waiting.set(waiting, { bytes, counts });
    if (this.bufferedBytes > this.limits.maxBufferedBytes && !this.#shedding) {
      this.#shedding = true;
      // In the next turn: this very response may be cut, and it may be within a write now.
      setImmediate(() => this.#shed());
    }
  }

  /** Cuts the responses that have waited longest until the rest fits. */
  #shed(): void {
    this.#shedding = false;
    for (const [waiting, { counts }] of this.#waiting) {
      if (this.bufferedBytes <= this.limits.maxBufferedBytes) break;
      counts.bounds["buffers-full"]++;
      this.setWaiting(waiting, 0, counts);
      waiting.shed();
    }
  }
}

/** A request whose body has not arrived yet. */
export interface AwaitedBody {
  /** Called once, when the body is late. */
  expire(): void;
}

/** Finds late bodies by looking now and then, so that a request costs no timer. */
export class BodyDeadlines {
  readonly #awaited = new Map<AwaitedBody, number>();
  /** The newest one stays out of the map: most bodies come with their heads and never enter it. */
  #latest: AwaitedBody | null = null;
  #latestDeadlineMs = 0;
  readonly #timeoutMs: number;
  readonly #timer: NodeJS.Timeout;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
    this.#timer = setInterval(() => this.#look(), sweepMs(timeoutMs)).unref();
  }

  add(body: AwaitedBody): void {
    if (this.#latest !== null) this.#awaited.set(this.#latest, this.#latestDeadlineMs);
    this.#latest = body;
    this.#latestDeadlineMs = performance.now() + this.#timeoutMs;
  }

  delete(body: AwaitedBody): void {
    if (this.#latest === body) this.#latest = null;
    else this.#awaited.delete(body);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** The map is in the order of deadlines, because all bodies have the same time. */
  #look(): void {
    const nowMs = performance.now();
    if (this.#latest !== null) this.#awaited.set(this.#latest, this.#latestDeadlineMs);
    this.#latest = null;
    for (const [body, deadlineMs] of this.#awaited) {
      if (deadlineMs > nowMs) break;
      this.#awaited.delete(body);
      body.expire();
    }
  }
}

/** Milliseconds between two looks for what is late: a tenth of the time-out, from 100 to 1000. */
export function sweepMs(timeoutMs: number): number {
  return Math.min(1000, Math.max(100, Math.floor(timeoutMs / 10)));
}

/** Counts a refusal and hands it to the handler, which answers. */
export function refuse(
  reason: Refusal,
  request: RouteRequest | null,
  sink: ResponseSink,
  handler: RequestHandler,
  counts: ListenerCounts,
  excess?: JsonExcess,
): void {
  counts.bounds[reason]++;
  handler.refuse(reason, request, sink, excess);
}

/** The refusal of a text that has too much of something. */
export function refusalOf({ of }: JsonExcess): "json-too-deep" | "json-too-large" {
  return of === "depth" ? "json-too-deep" : "json-too-large";
}

/** Hands a whole request to the handler, unless its JSON is too deep or holds too much. */
export function deliver(
  request: RouteRequest,
  body: Uint8Array,
  sink: ResponseSink,
  handler: RequestHandler,
  { maxJsonDepth }: ListenerLimits,
  counts: ListenerCounts,
): void {
  // A text that is shorter than the limit cannot nest deeper.
  const excess = body.length > maxJsonDepth ? jsonExcess(body, maxJsonDepth) : null;
  if (excess === null) handler.handle(request, body, sink);
  else refuse(refusalOf(excess), request, sink, handler, counts, excess);
}
