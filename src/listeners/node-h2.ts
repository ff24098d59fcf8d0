/** HTTP/2 on node:http2. Handed connections by the listener that accepted them, cleartext or TLS. */
import {
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { monotonicUs } from "../clock.ts";
import type { ListenerCounts, Protocol, RequestHandler, WireFault } from "../core/seams.ts";
import { NodeRequest, receiveBody } from "./node-request.ts";
import { BaseSink, type ListenerLimits } from "./sink.ts";

/** How often each session is asked for a sign of life. */
const pingIntervalMs = 2000;
/** Bytes that all streams of one session may have waiting; past it they all wait for the reader. */
const sessionBufferedBytes = 8_388_608;

/** Why a stream is cut; shared, because nobody looks at it. */
const cutError = new Error("cut");

/** What we keep of one session. */
class SessionState {
  readonly session: ServerHttp2Session;
  readonly sinks = new Set<NodeH2Sink>();
  /** Sinks held back because the session as a whole has too much waiting. */
  readonly held = new Set<NodeH2Sink>();
  bufferedBytes = 0;
  /** Requests so far. */
  requests = 0;
  /** Ends the connection by TCP RST. */
  readonly resetConnection: () => void;
  /** When the unanswered PING left; 0 when none is out. */
  pingSentUs = 0;

  constructor(session: ServerHttp2Session, resetConnection: () => void) {
    this.session = session;
    this.resetConnection = resetConnection;
  }

  changeBuffered(change: number): void {
    this.bufferedBytes += change;
    if (this.held.size > 0 && this.bufferedBytes < sessionBufferedBytes / 2) {
      const released = [...this.held];
      this.held.clear();
      for (const sink of released) sink.observer?.onDrain();
    }
  }
}

class NodeH2Sink extends BaseSink {
  /** When the response ended, for a reader that never takes the rest; 0 before. */
  endedUs = 0;
  readonly carrier = "node-h2";
  readonly requestOnConnection: number;
  readonly #stream: ServerHttp2Stream;
  readonly #session: SessionState;
  readonly #headOnly: boolean;
  #headSent = false;
  /** What the session's count holds for this stream. */
  #counted = 0;
  readonly #onFlushed = (): void => this.#count();

  constructor(session: SessionState, stream: ServerHttp2Stream, headOnly: boolean, counts: ListenerCounts) {
    super();
    this.#session = session;
    this.#stream = stream;
    this.#headOnly = headOnly;
    this.requestOnConnection = ++session.requests;
    counts.streams++;
    session.sinks.add(this);
    stream.on("drain", () => this.#resume());
    stream.on("close", () => {
      counts.streams--;
      session.sinks.delete(this);
      session.held.delete(this);
      session.changeBuffered(-this.#counted);
      this.#counted = 0;
      this.aborted();
    });
  }

  get bufferedBytes(): number {
    return this.#stream.writableLength;
  }

  write(frame: Uint8Array): boolean {
    if (this.closed || !this.#sendHead(false)) return false;
    // node keeps the chunk until the socket took it; the frame is only ours during this call.
    const ok = this.#stream.write(Buffer.from(frame), this.#onFlushed);
    this.#count();
    if (this.#session.bufferedBytes > sessionBufferedBytes) {
      this.#session.held.add(this);
      return false;
    }
    return ok;
  }

  end(frame?: Uint8Array): void {
    if (this.closed) return;
    const open = this.#sendHead(this.#headOnly || frame === undefined, frame?.length);
    this.closed = true;
    this.observer = null;
    this.endedUs = monotonicUs();
    if (!open || this.#headOnly) return;
    if (frame === undefined) this.#stream.end();
    else this.#stream.end(Buffer.from(frame), this.#onFlushed);
    this.#count();
  }

  reset(): void {
    if (this.closed) return;
    this.closed = true;
    this.observer = null;
    this.cut();
  }

  /**
   * Cuts what is not delivered yet, by RST_STREAM with INTERNAL_ERROR. `stream.close(code)` would send END_STREAM before
   * its RST_STREAM: a cut answer would look whole to its client.
   */
  cut(): void {
    this.#stream.destroy(cutError);
  }

  inject(fault: WireFault): void {
    if (this.closed) return;
    const { session } = this.#session;
    if (fault.kind === "goaway" && fault.code === 0) {
      session.close();
      return;
    }
    this.closed = true;
    this.observer = null;
    if (fault.kind === "reset") {
      this.#session.resetConnection();
    } else if (fault.kind === "goaway") {
      session.destroy(cutError, fault.code);
    } else {
      // Only a stream that waits for trailers can end by a RST_STREAM of any code without an END_STREAM before it.
      this.#sendHead(false);
      this.#stream.close(fault.code);
    }
  }

  /** false when the stream cannot take anything any more. */
  #sendHead(endStream: boolean, bodyBytes = 0): boolean {
    if (this.#stream.destroyed || this.#stream.closed) return false;
    if (this.#headSent) return true;
    this.#headSent = true;
    const head = this.head!;
    const headers: OutgoingHttpHeaders = { ":status": head.status, ...head.headers };
    if (!head.streamed) headers["content-length"] = Math.max(0, bodyBytes + (head.contentLengthBy ?? 0));
    this.#stream.respond(headers, head.mayReset ? { endStream, waitForTrailers: true } : { endStream });
    if (head.mayReset) this.#stream.once("wantTrailers", () => this.#stream.sendTrailers({}));
    return true;
  }

  #count(): void {
    const now = this.#stream.destroyed ? 0 : this.#stream.writableLength;
    const change = now - this.#counted;
    this.#counted = now;
    this.#session.changeBuffered(change);
  }

  #resume(): void {
    if (!this.#session.held.has(this)) this.observer?.onDrain();
  }
}

/** Serves HTTP/2 on connections that somebody else accepted. */
export class NodeH2Service {
  readonly #server: Http2Server;
  readonly #sessions = new Set<SessionState>();
  readonly #counts: ListenerCounts;
  readonly #limits: ListenerLimits;
  readonly #watchdog: NodeJS.Timeout;
  readonly #resetConnection: (socket: Socket) => void;

  constructor(
    protocol: Protocol,
    handler: RequestHandler,
    limits: ListenerLimits,
    counts: ListenerCounts,
    resetConnection: (socket: Socket) => void,
  ) {
    this.#resetConnection = resetConnection;
    this.#counts = counts;
    this.#limits = limits;
    this.#server = createServer({
      settings: { maxConcurrentStreams: limits.maxConcurrentStreams },
      // node refuses streams when a session's buffers pass this; 256 KiB a stream never bites an honest client.
      maxSessionMemory: Math.max(16, Math.ceil(limits.maxConcurrentStreams / 4)),
      // A client that fires before it saw our SETTINGS gets REFUSED_STREAM; past this count the whole session would end.
      maxSessionRejectedStreams: Math.max(1000, limits.maxConcurrentStreams * 10),
      maxSessionInvalidFrames: 100,
      maxHeaderListPairs: 64,
    });
    this.#server.on("session", (session) => this.#open(session));
    this.#server.on("sessionError", () => {});
    this.#server.on("stream", (stream, headers) => this.#receive(protocol, stream, headers, handler));
    this.#watchdog = setInterval(() => this.#watch(), pingIntervalMs);
    this.#watchdog.unref();
  }

  /** Takes over a connected socket. */
  accept(socket: Duplex): void {
    this.#server.emit("connection", socket);
  }

  /** GOAWAY to every session: streams under way may finish, new ones are refused. */
  drain(): void {
    for (const { session } of this.#sessions) session.close();
  }

  /** Cuts every stream by RST_STREAM. */
  resetAll(): void {
    for (const { sinks } of this.#sessions) for (const sink of sinks) sink.cut();
  }

  /** Ends what is left. */
  destroy(): void {
    clearInterval(this.#watchdog);
    for (const { session } of this.#sessions) session.destroy();
  }

  #open(session: ServerHttp2Session): void {
    const state = new SessionState(session, () => this.#resetConnection(session.socket));
    states.set(session, state);
    this.#sessions.add(state);
    this.#counts.sessions++;
    session.on("error", () => {});
    session.on("close", () => {
      this.#sessions.delete(state);
      this.#counts.sessions--;
    });
  }

  #receive(protocol: Protocol, stream: ServerHttp2Stream, headers: IncomingHttpHeaders, handler: RequestHandler): void {
    // One stream-level protocol error would end the process without this listener.
    stream.on("error", () => {});
    const state = stream.session && states.get(stream.session as ServerHttp2Session);
    if (!state) return;
    const method = headers[":method"] ?? "GET";
    const request = new NodeRequest(protocol, method, headers[":path"] ?? "/", headers);
    const sink = new NodeH2Sink(state, stream, method === "HEAD", this.#counts);
    if (isLong(headers["content-length"]) && handler.withholds?.(request)) {
      // Paused, node gives the client no more room for the body than it had from the start.
      stream.pause();
      return;
    }
    receiveBody(stream, this.#limits.maxBodyBytes, request, sink, handler, () => stream.close(constants.NGHTTP2_CANCEL));
  }

  /**
   * Node 20 keeps a session for good when its client closes after a malformed frame, streams and timers included;
   * only a PING finds out. An idle time-out would also end an honest client that waits for a slow first token.
   */
  #watch(): void {
    const nowUs = monotonicUs();
    const limitUs = this.#limits.stallTimeoutMs * 1000;
    for (const state of this.#sessions) {
      for (const sink of state.sinks) {
        if (sink.endedUs > 0 && nowUs - sink.endedUs > limitUs) sink.cut();
      }
      if (state.pingSentUs > 0) {
        if (nowUs - state.pingSentUs > limitUs) {
          this.#counts.sessionsReaped++;
          state.session.destroy();
        }
        continue;
      }
      state.pingSentUs = nowUs;
      try {
        state.session.ping(() => {
          state.pingSentUs = 0;
        });
      } catch {
        state.session.destroy();
      }
    }
  }
}

/** Whether a body is longer than a stream's first window (RFC 9113, section 6.9.2). Not announced: it may be. */
function isLong(contentLength: string | undefined): boolean {
  return contentLength === undefined || Number(contentLength) > 65_535;
}

const states = new WeakMap<ServerHttp2Session, SessionState>();
