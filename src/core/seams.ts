/**
 * The seams between the rooms: what a listener, a provider surface and the pacer agree on.
 * Everything here is small on purpose; see docs/architecture.md.
 */

/** Names of what a listener speaks: cleartext and TLS variants of HTTP/1.1 and HTTP/2. */
export type Protocol = "h1" | "h1s" | "h2c" | "h2";

/** An engine and what it really speaks on a connection: the h2 port serves HTTP/1.1 too. */
export type Carrier = "uws" | "node-h1" | "node-h2";

/** The runtime a listener stands on. */
export type Engine = "uws" | "node";

/** Status line and headers of a response. Header names are lower case, values hold no CR or LF. */
export interface ResponseHead {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** true: the length is not announced (chunked on HTTP/1.1). false: the body is one frame, its length is announced. */
  readonly streamed: boolean;
  /** Faults on purpose: bytes that the announced length is wrong by. */
  readonly contentLengthBy?: number;
  /** Faults on purpose: the response may end by `inject`, with any code of HTTP/2. */
  readonly mayReset?: boolean;
}

/** A fault that only an engine can make. `code` is an error code of HTTP/2 (RFC 9113, section 7). */
export type WireFault =
  /** TCP RST. */
  | { readonly kind: "reset" }
  | { readonly kind: "rst_stream"; readonly code: number }
  /** With code 0 streams under way may finish; else the connection is closed after it. */
  | { readonly kind: "goaway"; readonly code: number };

/**
 * The bytes of a response, one frame per write. Frames are asked for once each, in order.
 * The bytes returned are valid until the next call on any FrameSource: whoever keeps them, copies them.
 */
export interface FrameSource {
  /** Number of frames, at least 1; Infinity until it is known, which is no later than with the last frame. */
  readonly length: number;
  /** Output tokens in the frame last asked for, those included that no client sees. Keep-alives hold none. */
  readonly tokens: number;
  /** Hot path. `dueUs` and `sentUs` are absolute microseconds of the monotonic clock, for stamps. */
  frame(index: number, dueUs: number, sentUs: number): Uint8Array;
  /** true: `join` may be called, and `tokens` never changes. Not where frames tell when they left. */
  readonly joins?: boolean;
  /** Hot path. The frames from `index` to `index + count - 1` in one piece, for frames that are due at the same time. */
  join?(index: number, count: number): Uint8Array;
}

/** Told by a schedule that `nextDueUs` may say something else than before. */
export interface ScheduleObserver {
  onDue(): void;
}

/** When each frame is due. Owns no timer. Asked once per index, in order; index 0 may be asked for again before 1. */
export interface Schedule {
  /** Microseconds after the start of the request; never decreases. Hot path. */
  nextDueUs(index: number): number;
  /**
   * true: follows from what else is going on. Infinity then is "not known yet", and an index may be asked for again until
   * its frame was taken; an answer is final once its time has come.
   */
  readonly isLive?: boolean;
  /** true: every frame after the first is due with the one before it; frames may be passed over without asking. */
  readonly dueTogether?: boolean;
  /** A live schedule counts from here on, and tells the observer. */
  begin?(observer: ScheduleObserver): void;
  /** Nobody will ask again: the response has ended, or was given up. */
  end?(isGivenUp: boolean): void;
}

/** Makes the times of live schedules. It owns no timer: the pacer's wheel calls it. */
export interface Scheduler {
  /** Absolute microseconds at which it wants to be called; Infinity: not at all. May change whenever a schedule begins or ends. */
  readonly nextUs: number;
  /** Does everything that is due by then. */
  runUntil(nowUs: number): void;
}

/** Everything that is settled about a response before its first byte. */
export interface ResponsePlan {
  readonly head: ResponseHead;
  readonly frames: FrameSource;
  readonly schedule: Schedule;
  /** Absolute monotonic microseconds from which the schedule counts. */
  readonly startUs: number;
  /** Output tokens planned; for accounting. */
  readonly outputTokens: number;
  /** Prompt tokens counted; for accounting. */
  readonly promptTokens: number;
  /** What ends the answer; for accounting. */
  readonly finishReason: "stop" | "length";
}

/** Told by a sink about its peer. */
export interface SinkObserver {
  /** The peer reads again: writing may go on. */
  onDrain(): void;
  /** The response can no longer be delivered. Called at most once, never after `end`. */
  onAbort(): void;
}

/** Where a response goes. One per request. Using it after `closed` is true does nothing. */
export interface ResponseSink {
  /** true once ended, reset or aborted. */
  readonly closed: boolean;
  /**
   * Of a response that waits for its reader: whether that has taken anything since the wait began, or since the last call.
   * Where responses share a connection in turns, what stands before it on the connection counts too, but only once.
   */
  isBeingRead(): boolean;
  observer: SinkObserver | null;
  /** Added to whatever head is settled after this was set; over a header that the head itself has, this one wins. */
  extraHeaders?: Readonly<Record<string, string>> | null;
  /** Settles the head. It leaves with the first frame, on every engine, so that protocols stay comparable. */
  start(head: ResponseHead): void;
  /** Hot path. Returns false when the peer does not keep up: wait for `onDrain`. */
  write(frame: Uint8Array): boolean;
  /** Ends the response, with a last frame. A head with `streamed: false` takes its whole body here. */
  end(frame?: Uint8Array): void;
  /** Cuts this response only, so that its client sees an error: RST_STREAM on HTTP/2, the connection on HTTP/1.1. */
  reset(): void;
  /** What carries it; left out where it makes no faults. */
  readonly carrier?: Carrier;
  /** Number of this request on its connection, from 1. */
  readonly requestOnConnection?: number;
  /** Makes a fault; all but a GOAWAY with code 0 close this sink, without a word to the observer. */
  inject?(fault: WireFault): void;
}

/** What a handler may know of a request. Valid after the handler returns. */
export interface RouteRequest {
  readonly protocol: Protocol;
  readonly engine: Engine;
  /** Upper case. HEAD arrives as "HEAD"; the sink of such a request drops the body by itself. */
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: string;
  /** The value of a header, its bytes read as UTF-8. `name` in lower case. Several of one name are joined or the first. */
  header(name: string): string | undefined;
  /** Absolute monotonic microseconds at which the whole request had arrived. */
  readonly receivedUs: number;
}

/** One endpoint of a provider surface. */
export interface Route {
  readonly method: "GET" | "POST";
  /** Exact path, or one ending in "/" + "*" that takes any rest. */
  readonly path: string;
  /** May throw; a promise may reject. The error is then the answer. */
  handle(request: RouteRequest, body: Uint8Array, sink: ResponseSink): void | Promise<void>;
}

/** Why a listener refuses a request by itself, with an answer. */
export type Refusal =
  | "too-many-connections"
  | "head-too-large"
  | "body-too-large"
  | "json-too-deep"
  | "head-timeout"
  | "body-timeout"
  /** Two servers could read it differently: several Host or Content-Length lines, an unknown Transfer-Encoding. */
  | "ambiguous"
  | "malformed"
  /** HTTP/1.1 on a port that speaks HTTP/2 only. */
  | "wrong-protocol";

/** What a listener keeps clients from; some by closing or resetting, where no answer is possible. */
export type Bound =
  | Refusal
  /** HTTP/2 streams that the engine refused by RST_STREAM: beyond the number allowed, or with a head beyond its limits. */
  | "streams-refused"
  | "idle-timeout"
  /** A finished response that was never taken. */
  | "never-read"
  /** The longest stalled responses, cut because all together hold too much. */
  | "buffers-full"
  /** Control frames without end. */
  | "flood";

/** What a listener calls for each request. Neither method throws. */
export interface RequestHandler {
  handle(request: RouteRequest, body: Uint8Array, sink: ResponseSink): void;
  /** `request` is null where no request was understood. */
  refuse(reason: Refusal, request: RouteRequest | null, sink: ResponseSink): void;
  /** Asked before an HTTP/2 body of over 65,535 bytes is read: true leaves it unread, without WINDOW_UPDATE, for good. */
  withholds?(request: RouteRequest): boolean;
}

/** Live counts a listener keeps. */
export interface ListenerCounts {
  /** Open TCP connections. */
  connections: number;
  /** Open HTTP/2 sessions; 0 on HTTP/1.1. */
  sessions: number;
  /** Requests whose response is not finished. */
  streams: number;
  /** HTTP/2 sessions ended because they stopped answering PING. */
  sessionsReaped: number;
  /** How often each bound was met. */
  readonly bounds: Record<Bound, number>;
}

export interface ListenOptions {
  readonly host: string;
  /** 0 picks a free port. */
  readonly port: number;
  /** Sibling processes of this program listen on the same port; nobody else may in any case. */
  readonly shared: boolean;
}

/** One protocol on one engine. */
export interface ProtocolListener {
  readonly protocol: Protocol;
  readonly engine: Engine;
  readonly counts: Readonly<ListenerCounts>;
  /** Resolves with the port. Rejects with an Error whose `code` is EADDRINUSE where the port is taken. */
  listen(options: ListenOptions): Promise<number>;
  /** Stops accepting, lets responses finish for up to `graceMs`, then cuts what is left. */
  close(graceMs: number): Promise<void>;
}

/** A monotonic clock and its one timer; a test drives its own. */
export interface Clock {
  /** Absolute microseconds, never decreasing. Hot path. */
  nowUs(): number;
  /**
   * Calls `onWake` once after about `delayMs` (0: as soon as the event loop comes round; a fraction is kept as well as the
   * clock can). Replaces an earlier call.
   */
  wakeAfter(delayMs: number): void;
  onWake: () => void;
}
