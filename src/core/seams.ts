/**
 * The seams between the rooms: what a listener, a provider's endpoints and the pacer agree on.
 *
 * A request goes listener -> `RequestHandler` -> `Route` -> `ResponsePlan` -> pacer. From there each token takes one hop: the
 * pacer asks the plan's `FrameSource` for bytes and calls `ResponseSink.write`. A listener knows no provider, a route knows no
 * protocol, and the pacer knows neither.
 *
 * Times are microseconds (`Us`) of the monotonic clock, absolute unless a comment says otherwise.
 */
import type { JsonExcess } from "./limits/json-bounds.ts";

/** What a listener speaks: cleartext and TLS variants of HTTP/1.1, HTTP/2 and WebSocket, and HTTP/3, which is always encrypted. */
export type Protocol = "h1" | "h1s" | "h2c" | "h2" | "h3" | "ws" | "wss";

/** An engine and the protocol of one connection: the h2 port serves HTTP/1.1 too. */
export type Carrier = "uws" | "node-h1" | "node-h2" | "own-h2" | "quiche" | "uws-ws" | "node-ws";

/** The HTTP engine below a listener: uWebSockets.js, node's own, that of this program for HTTP/2, or quiche for QUIC. */
export type Engine = "uws" | "node" | "own" | "quiche";

/** The engines of a version of HTTP that a user may ask for. */
export type H1Engine = "uws" | "node";
export type H2Engine = "node" | "own";

/** Status line and headers of a response. Header names are lower case, values hold no CR or LF. */
export interface ResponseHead {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** true: the length is not announced (chunked on HTTP/1.1). false: the body is one frame, and its length is announced. */
  readonly streamed: boolean;
  /** Heads of one stem, by identity, have the same headers but for the value of the last. Absent: it is like no other. */
  readonly stem?: object | undefined;
  /** A fault on purpose: bytes to add to the announced length. */
  readonly contentLengthBy?: number;
  /** A fault on purpose: the response may end by `inject` with any HTTP/2 error code. */
  readonly mayReset?: boolean;
}

/** A fault that only an engine can make. `code` is an HTTP/2 error code (RFC 9113, section 7). */
export type WireFault =
  /** TCP RST. */
  | { readonly kind: "reset" }
  | { readonly kind: "rst_stream"; readonly code: number }
  /** With code 0 streams under way may finish. With any other the connection is closed after it. */
  | { readonly kind: "goaway"; readonly code: number }
  /** WebSocket: a close frame with this code (RFC 6455, section 7.4), and the end of the connection. */
  | { readonly kind: "close"; readonly code: number };

/**
 * The bytes of a response, one frame for each write. The pacer asks for each frame once, in order. The bytes returned are valid
 * until the next call on any FrameSource: a caller that keeps them copies them.
 */
export interface FrameSource {
  /** Number of frames, at least 1. Infinity while unknown. Known at the latest when the last frame has been asked for. */
  readonly length: number;
  /** Output tokens in the frame last asked for, tokens that no client sees included. Keep-alives hold none. */
  readonly tokens: number;
  /** Hot path. `dueUs` and `sentUs` go into stamps. */
  frame(index: number, dueUs: number, sentUs: number): Uint8Array;
  /** true: the frames are pieces of one body. The first alone is paced; the others follow as fast as they are made and taken. */
  readonly isOneBody?: boolean;
  /** true: `join` may be called, and `tokens` never changes. Never true where frames carry stamps. */
  readonly joins?: boolean;
  /** Hot path. The frames from `index` to `index + count - 1` in one piece, for frames that are due at the same time. */
  join?(index: number, count: number): Uint8Array;
  /** Hot path. Replaces the time of sending in a copy of the frame last asked for. Absent if frames carry no stamps. */
  restamp?(copy: Uint8Array, sentUs: number): void;
}

/** Called by a live schedule when `nextDueUs` may have a new answer. The pacer implements it. */
export interface ScheduleObserver {
  onDue(): void;
}

/**
 * When each frame is due. It owns no timer: the pacer asks, once for each index, in order. Index 0 may be asked for again before
 * index 1. The pacer calls `begin` once before it asks, and `end` once after it has asked for the last time.
 */
export interface Schedule {
  /** Hot path. Microseconds after the start of the request; never decreases. */
  nextDueUs(index: number): number;
  /**
   * true: the answers follow from other streams (batching). Infinity then means "not known yet", and an index may be asked for
   * again until its frame is taken. An answer is final once its time has come.
   */
  readonly isLive?: boolean;
  /** Microseconds between each frame and the next, where that is the same for all: the pacer may reckon them without asking. */
  readonly gapUs?: number | undefined;
  /** true: every frame after the first is due with the one before it. The pacer may pass over frames without asking. */
  readonly dueTogether?: boolean;
  /** A live schedule starts to count, and calls the observer from here on. */
  begin?(observer: ScheduleObserver): void;
  /** The response has ended, or was given up: nothing asks again. */
  end?(isGivenUp: boolean): void;
}

/** Makes the times of live schedules. It owns no timer: the pacer's wheel calls it. */
export interface Scheduler {
  /** When to call `runUntil`; Infinity: not at all. May change whenever a schedule begins or ends. */
  readonly nextUs: number;
  /** Does everything that is due by `nowUs`. */
  runUntil(nowUs: number): void;
}

/** A response before its first byte: all that is settled about it. A route makes it, the pacer carries it out. */
export interface ResponsePlan {
  readonly head: ResponseHead;
  readonly frames: FrameSource;
  readonly schedule: Schedule;
  /** From when the schedule counts: the arrival of the request. */
  readonly startUs: number;
  /** Output tokens planned; for accounting. */
  readonly outputTokens: number;
  /** Prompt tokens counted; for accounting. */
  readonly promptTokens: number;
  /** What ends the answer; for accounting. */
  readonly finishReason: "stop" | "length";
  /** Of `outputTokens`, those of reasoning, which come first; absent: none. */
  readonly reasoningTokens?: number;
}

/** Called by a sink about its client. The pacer implements it; a sink has at most one. */
export interface SinkObserver {
  /** After a `write` that returned false: the client reads again, and writing may go on. */
  onDrain(): void;
  /** The response can no longer be delivered. Called at most once, never after `end` or `reset`. */
  onAbort(): void;
}

/**
 * Where a response goes: one for each request, made by its listener. The caller may set `observer`; it calls `start` once, `write` any
 * number of times, then `end` or `reset`. Calls after `closed` is true do nothing.
 */
export interface ResponseSink {
  /** true once ended, reset or aborted. */
  readonly closed: boolean;
  /**
   * Whether the client of a waiting response has taken anything since the wait began, or since the last call. Where responses
   * share a connection in turns, bytes of other responses that leave before it count too, but only once.
   */
  isBeingRead(): boolean;
  observer: SinkObserver | null;
  /** Headers added to a head that `start` settles afterwards. They win over headers of the same name in that head. */
  extraHeaders?: Readonly<Record<string, string>> | null;
  /** Settles the head. It leaves with the first frame on every engine, so that protocols stay comparable. A first frame without bytes is one: uws alone waits for the next. */
  start(head: ResponseHead): void;
  /** Hot path. false: the client does not keep up. The frame is accepted; the next may follow after `onDrain`. */
  write(frame: Uint8Array): boolean;
  /**
   * Hot path. Only for engines that send at the end of the turn (HTTP/2); absent where a frame is on the wire when `write` or `end`
   * returns. Returns the copy of the frame last written that the engine will send. Until the JavaScript of this turn of the event
   * loop is over its bytes may change, its length may not. null: the copy is out of reach. Called at most once after a write.
   */
  takeUnsent?(): Uint8Array | null;
  /** Ends the response, with a last frame if there is one. A head with `streamed: false` takes its whole body here. */
  end(frame?: Uint8Array): void;
  /** Cuts this response so that its client sees an error: by RST_STREAM on HTTP/2, with its connection on HTTP/1.1. */
  reset(): void;
  /** What carries it; left out where no faults can be made. */
  readonly carrier?: Carrier;
  /** The connection that carries it, by identity; left out where the engine does not tell. */
  readonly connection?: object;
  /** Id of its HTTP/2 stream. */
  readonly streamId?: number;
  /** Number of this request on its connection, from 1. */
  readonly requestOnConnection?: number;
  /** Makes a fault. All but a GOAWAY with code 0 close this sink, and do not call the observer. */
  inject?(fault: WireFault): void;
}

/** How the headers begin that only this server reads. */
export const ownHeaderPrefix = "x-fakeai-";

/** What a route may know of a request. It stays valid after the handler returns. */
export interface RouteRequest {
  readonly protocol: Protocol;
  readonly engine: Engine;
  /** Upper case. HEAD arrives as "HEAD"; its sink drops the body by itself. */
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: string;
  /** The value of a header, its bytes read as UTF-8. `name` is lower case. Of several lines: all joined, or the first. */
  header(name: string): string | undefined;
  /** Names of all its headers, in lower case. */
  headerNames(): readonly string[];
  /** Names of its headers that begin with `ownHeaderPrefix`, in lower case; of several lines of one name, that name as often. */
  readonly ownHeaders: readonly string[];
  /**
   * The protocols that the client asks to change to, in lower case: the value of Upgrade where Connection names it and the request is
   * of HTTP/1.1 (RFC 9110, section 7.8). Absent: none.
   */
  readonly upgrade?: string | undefined;
  /** When the whole request had arrived. */
  readonly receivedUs: number;
  /** The request as it came, where this is the same by another path; absent: this one. */
  readonly asked?: RouteRequest;
}

/** One endpoint. */
export interface Route {
  readonly method: "GET" | "POST" | "DELETE";
  /** An exact path, or one that ends in "/" + "*" and takes any rest. */
  readonly path: string;
  /** false: `GET /` does not list it. */
  readonly isListed?: boolean;
  /** Bytes that its bodies may have where that is less than what a listener takes. */
  readonly maxBodyBytes?: number;
  /** Whether it reads the body of a request; absent: of every one. A large body that nothing reads is not parsed. */
  readsBody?(request: RouteRequest): boolean;
  /** `body` is valid during the call only. May throw; a promise may reject. The error is then the answer. */
  handle(request: RouteRequest, body: Uint8Array, sink: ResponseSink): void | Promise<void>;
}

/** One endpoint of WebSocket. */
export interface SocketRoute {
  /** An exact path. */
  readonly path: string;
  /** The subprotocol that it speaks, for clients that ask for one (RFC 6455, section 1.9); absent: none. */
  readonly subprotocol?: string;
  /** Whether the path answers over HTTP too. */
  readonly byHttp: boolean;
  /** Opens a session on a connection whose handshake was admitted. */
  open(handshake: RouteRequest, socket: MessageSocket): MessageSession;
}

/** Why a listener refuses a request by itself. The client gets an answer. */
export type Refusal =
  | "too-many-connections"
  /** The process may open no more files. */
  | "open-files"
  | "head-too-large"
  | "body-too-large"
  | "json-too-deep"
  /** More members, arrays, objects or values than a body may hold. */
  | "json-too-large"
  | "head-timeout"
  | "body-timeout"
  /** Two servers could read it differently: several Host or Content-Length lines, an unknown Transfer-Encoding. */
  | "ambiguous"
  | "malformed"
  /** HTTP/1.1 on a port that speaks HTTP/2 only. */
  | "wrong-protocol";

/** What a listener keeps clients from. Beyond those of `Refusal` it closes or resets: no answer is possible. */
export type Bound =
  | Refusal
  /** HTTP/2 connections that came to have as many streams open as they may. What the engine refuses beyond, it does not tell. */
  | "stream-limit"
  | "idle-timeout"
  /** A finished response that its client never took. */
  | "never-read"
  /** The responses that stalled longest, cut because all together hold too much. */
  | "buffers-full"
  /** Control frames, or streams opened and reset, without end. */
  | "flood";

/** What a listener calls with each request. Neither `handle` nor `refuse` throws: both answer through the sink. */
export interface RequestHandler {
  /** The whole request has arrived. `body` is valid during the call only. */
  handle(request: RouteRequest, body: Uint8Array, sink: ResponseSink): void;
  /** The listener refuses. `request` is null where no request was understood. `excess`: what its JSON has too much of. */
  refuse(reason: Refusal, request: RouteRequest | null, sink: ResponseSink, excess?: JsonExcess): void;
  /** A fault on purpose, asked before an HTTP/2 body of over 65,535 bytes is read. true: it stays unread, without WINDOW_UPDATE. */
  withholds?(request: RouteRequest): boolean;
  /**
   * A handshake of WebSocket, by a listener that speaks it. null: it was refused, through the sink. A promise: another process decides;
   * it does not reject.
   */
  upgrade?(request: RouteRequest, sink: ResponseSink): AdmittedHandshake | null | Promise<AdmittedHandshake | null>;
}

/** A handshake of WebSocket that was let in. */
export interface AdmittedHandshake {
  /** What its answer says beside what the protocol asks for. */
  readonly headers: Readonly<Record<string, string>>;
  /** Makes the session, once the WebSocket is open. Does not throw. */
  readonly open: (socket: MessageSocket) => MessageSession;
}

/** An open WebSocket, as its session uses it. A listener implements it. */
export interface MessageSocket {
  /** true once it closes, from either side. Calls afterwards do nothing. */
  readonly closed: boolean;
  /** The sink of one answer. A streamed answer's events leave as text messages, one for each event: its `data` alone, as JSON. */
  sink(form: MessageForm): MessageAnswer;
  /** Sends one text message, outside of any answer. A peer that lets too many of them wait is cut. */
  send(text: string): void;
  /** Closes in order, with a code of RFC 6455, section 7.4. Answers under way are aborted. */
  close(code: number, reason: string): void;
}

/** The sink of one answer on a WebSocket. */
export interface MessageAnswer extends ResponseSink {
  /** Ends a streamed answer with these events, before its time: its writer is told that it was aborted. */
  endEarly(events: Uint8Array): void;
}

/** How the events of one answer become messages. */
export interface MessageForm {
  /** JSON members that every event gets behind its own, each with a comma before it (`,"id":1`); empty: none. */
  readonly members: Uint8Array;
  /** The message for an answer in one piece: a refusal, or a fault. */
  messageOf(head: ResponseHead, body: Uint8Array): string;
  /** The message for an event of the type "error" within a stream, by its JSON. */
  errorOf(json: string): string;
  /** The answer is over: written whole, or cut. Called once, also when the connection ends. */
  over(): void;
}

/** What happens on a WebSocket. None of these throws. */
export interface MessageSession {
  /** A whole text message, which is the session's from now on. */
  onMessage(text: Uint8Array): void;
  /** A binary message, which was not kept. Absent: it ends the connection (1003). */
  onBinary?(): void;
  /** A message that the listener refuses for what its JSON has too much of: it was not kept. */
  onRefused(reason: Refusal, excess: JsonExcess): void;
  /** The server closes: what is under way may finish, nothing new begins, then the session closes the socket with 1001. */
  drain(): void;
  /** The connection has ended. Its sinks hear of it by themselves. */
  onClose(): void;
}

/** Live counts of one listener. */
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
  /** true: sibling processes of this program listen on the same port. No other program may in either case. */
  readonly shared: boolean;
}

/** One protocol on one engine. The server calls `listen` once, then `close` once. */
export interface ProtocolListener {
  readonly protocol: Protocol;
  readonly engine: Engine;
  readonly counts: Readonly<ListenerCounts>;
  /** Resolves with the port. Rejects with an Error whose `code` is EADDRINUSE where the port is taken. */
  listen(options: ListenOptions): Promise<number>;
  /** Stops accepting, lets responses finish for up to `graceMs`, then cuts the rest. */
  close(graceMs: number): Promise<void>;
}

/** A monotonic clock and its one timer. A test drives its own. */
export interface Clock {
  /** Hot path. Microseconds, never decreasing. */
  nowUs(): number;
  /**
   * Calls `onWake` once after about `delayMs`. 0 is the next turn of the event loop; fractions are kept as well as the clock
   * can. Replaces an earlier call.
   */
  wakeAfter(delayMs: number): void;
  onWake: () => void;
}
