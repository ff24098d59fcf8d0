/** HTTP/2 on node:http2, on connections that a listener has accepted, cleartext or TLS. */
import {
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { monotonicUs } from "../../base/clock.ts";
import type { ListenerCounts, Protocol, RequestHandler } from "../../core/seams.ts";
import { BodyDeadlines, type Bounds, type ListenerLimits, refuse } from "../bounds.ts";
import { decodedHeads, isLongBody, mostFields, mostRefusals, requestsPerTurn, watchWithin } from "../multiplexed.ts";
import { type BodyReading, NodeRequest, receiveBody } from "../node/request.ts";
import { Admission } from "../turns.ts";
import { FloodRules } from "./flood.ts";
import { SessionState } from "./session.ts";
import { NodeH2Sink, prepareStream, stopReading } from "./sink.ts";

/** Within this the server sees that a client has gone, whatever it sent before, milliseconds. */
const lookIntervalMs = 500;

const isBun = process.versions["bun"] !== undefined;

/** A request that has not begun yet. */
interface Opened {
  readonly stream: ServerHttp2Stream;
  readonly headers: IncomingHttpHeaders;
  /** Names and values in turns, as they were sent; undefined: the runtime does not tell. */
  readonly lines: readonly string[] | undefined;
}

export class NodeH2Service {
  readonly #protocol: Protocol;
  readonly #handler: RequestHandler;
  readonly #bounds: Bounds;
  readonly #limits: ListenerLimits;
  readonly #counts: ListenerCounts;
  readonly #resetConnection: (socket: Socket) => void;
  readonly #server: Http2Server;
  readonly #sessions = new Set<SessionState>();
  readonly #reading: BodyReading;
  readonly #flood: FloodRules;
  readonly #watchdog: NodeJS.Timeout;
  readonly #looker: NodeJS.Timeout;
  readonly #admission: Admission<SessionState, Opened>;
  /** The socket of the session that is being opened. */
  #accepting: Duplex | null = null;

  /** Keeps `counts`, but for the connections. `resetConnection` ends a connection by TCP RST. */
  constructor(
    protocol: Protocol,
    handler: RequestHandler,
    bounds: Bounds,
    counts: ListenerCounts,
    resetConnection: (socket: Socket) => void,
  ) {
    const { limits } = bounds;
    this.#protocol = protocol;
    this.#handler = handler;
    this.#bounds = bounds;
    this.#limits = limits;
    this.#counts = counts;
    this.#resetConnection = resetConnection;
    this.#reading = { limits, counts, handler, deadlines: new BodyDeadlines(limits.bodyTimeoutMs) };
    this.#flood = new FloodRules(limits.maxConcurrentStreams);
    this.#admission = new Admission(requestsPerTurn, {
      begin: (state, opened) => this.#receive(state, opened),
      // `counts.streams` counts those that wait too.
      onWaiting: (state, _opened, waits) => {
        const more = waits ? 1 : -1;
        counts.streams += more;
        state.waiting += more;
      },
      isGone: ({ stream }) => stream.destroyed || stream.closed,
      onTurnEnd: () => this.#flood.endTurn(),
    });
    this.#server = createEngine(limits);
    this.#server.on("session", (session) => this.#open(session));
    this.#server.on("sessionError", () => {});
    this.#watchdog = watchWithin([limits.stallTimeoutMs, limits.h2IdleTimeoutMs], () => this.#watch());
    this.#looker = setInterval(() => this.#look(), lookIntervalMs).unref();
  }

  /** Takes over a connected socket. */
  accept(socket: Duplex): void {
    this.#accepting = socket;
    this.#server.emit("connection", socket);
    // Node's engine reads the handle below it. Bun's reads the socket, and leaves it as paused as it was.
    if (isBun && socket.isPaused()) socket.resume();
    this.#accepting = null;
  }

  /** GOAWAY to every session: streams under way may finish, new ones are refused. */
  drain(): void {
    this.#reading.deadlines.close();
    for (const { session } of this.#sessions) session.close();
  }

  /** Cuts every stream by RST_STREAM. */
  resetAll(): void {
    for (const { sinks } of this.#sessions) for (const sink of sinks) sink.cut();
  }

  /** Ends every session at once. */
  destroy(): void {
    clearInterval(this.#watchdog);
    clearInterval(this.#looker);
    this.#flood.close();
    for (const { session } of this.#sessions) session.destroy();
  }

  #open(session: ServerHttp2Session): void {
    const socket = this.#accepting as Socket;
    // A request that came with the preface is answered while node still opens the session: too early to end it.
    const state = new SessionState(session, socket, () => setImmediate(() => this.#resetConnection(socket)));
    this.#sessions.add(state);
    this.#counts.sessions++;
    session.on("stream", (stream, headers, _flags, lines?: string[]) => this.#admit(state, { stream, headers, lines }));
    session.on("error", () => {
      this.#counts.bounds.malformed++;
    });
    // Once: a session that its client ended by GOAWAY emits "close" twice.
    session.once("close", () => {
      this.#sessions.delete(state);
      this.#counts.sessions--;
    });
  }

  /** Begins a request in this turn, or in one of the next. */
  #admit(state: SessionState, opened: Opened): void {
    const { stream } = opened;
    prepareStream(stream);
    if (state.session.destroyed) return;
    this.#countAtLimit(state);
    if (this.#flood.resetsTooMany(state, stream)) {
      this.#endFlood(state);
      return;
    }
    this.#admission.admit(state, opened);
  }

  #receive(state: SessionState, { stream, headers, lines }: Opened): void {
    if (stream.session === undefined) return;
    const method = headers[":method"] ?? "GET";
    const request = new NodeRequest(this.#protocol, method, headers[":path"] ?? "/", headers, lines);
    const sink = new NodeH2Sink(state, stream, method === "HEAD", this.#bounds, this.#counts);
    const headBytes = bytesOfHead(headers);
    state.headBytes += headBytes;
    if (headBytes > this.#limits.maxHeadBytes) {
      refuse("head-too-large", request, sink, this.#handler, this.#counts);
      stopReading(stream);
      return;
    }
    const length = headers["content-length"];
    if (isLongBody(length === undefined ? null : Number(length)) && this.#handler.withholds?.(request)) {
      // While a stream is paused, node gives the client no more window for the body than it had from the start.
      stream.pause();
      return;
    }
    sink.reader = receiveBody(stream, this.#reading, request, sink, state);
  }

  /**
   * Counts a session whose open streams, with the one that has just come, are as many as it may have. The engine does not tell of
   * those that it refuses from here on, and gaps in the ids tell nothing: a client numbers its streams as it likes.
   */
  #countAtLimit(state: SessionState): void {
    if (state.metStreamLimit || state.sinks.size + state.waiting + 1 < this.#limits.maxConcurrentStreams) return;
    state.metStreamLimit = true;
    this.#counts.bounds["stream-limit"]++;
  }

  /** Looks for sessions that the engine has ended without a word: at a frame that breaks the protocol. */
  #look(): void {
    const nowUs = monotonicUs();
    for (const state of this.#sessions) {
      if (state.isMute(nowUs)) {
        if (!state.session.closed) this.#counts.bounds.malformed++;
        // RFC 9113, section 5.4.1: the GOAWAY has left, and the connection must be closed.
        state.session.destroy();
        state.socket.destroy();
      } else {
        state.keepReading();
      }
    }
  }

  /** Looks at every session: answers that are not taken, floods, idle sessions, peers that are gone. */
  #watch(): void {
    const nowUs = monotonicUs();
    for (const state of this.#sessions) {
      // A session that was closed before it was destroyed leaves its socket open until the peer closes it.
      if (state.session.destroyed) {
        state.socket.destroy();
        continue;
      }
      this.#cutUnread(state, nowUs);
      const isFlood = this.#flood.sendsTooMuchControl(state);
      state.extendPing(nowUs);
      if (isFlood) {
        this.#endFlood(state);
      } else if (state.sinks.size === 0 && nowUs - state.idleSinceUs > this.#limits.h2IdleTimeoutMs * 1000) {
        this.#counts.bounds["idle-timeout"]++;
        this.#endIdle(state);
      } else {
        this.#askForLife(state, nowUs);
      }
    }
  }

  /** Cuts responses that have ended and whose reader has taken nothing for the stall time-out. */
  #cutUnread({ sinks }: SessionState, nowUs: number): void {
    for (const sink of sinks) {
      if (sink.endedUs === 0) continue;
      sink.watch();
      if (nowUs - sink.endedUs <= this.#limits.stallTimeoutMs * 1000) continue;
      sink.endedUs = nowUs;
      if (sink.isBeingRead()) continue;
      this.#counts.bounds["never-read"]++;
      sink.cut();
    }
  }

  #endFlood({ session }: SessionState): void {
    this.#counts.bounds.flood++;
    session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    session.destroy();
  }

  /** GOAWAY first, and the end at the next look: a client that sends a request meanwhile knows that it was not processed. */
  #endIdle(state: SessionState): void {
    state.idleSinceUs = monotonicUs();
    if (state.session.closed) state.session.destroy();
    else state.session.close();
  }

  /**
   * Ends a session that answers no PING for the stall time-out, else sends it the next. A peer that has vanished without a FIN is
   * found by nothing else, and an idle time-out would also end an honest client that waits for a slow first token.
   */
  #askForLife(state: SessionState, nowUs: number): void {
    if (state.pingSentUs > 0) {
      if (nowUs - state.pingSentUs > this.#limits.stallTimeoutMs * 1000) {
        this.#counts.sessionsReaped++;
        state.session.destroy();
      }
      return;
    }
    try {
      state.ping(nowUs);
    } catch {
      state.session.destroy();
    }
  }
}

function createEngine(limits: ListenerLimits): Http2Server {
  const { maxConcurrentStreams, maxHeadBytes, headerTableBytes } = limits;
  return createServer({
    settings: { maxConcurrentStreams, headerTableSize: headerTableBytes, maxHeaderListSize: maxHeadBytes * decodedHeads },
    // In megabytes. node refuses streams when a session's buffers pass this; 256 KiB a stream is never too little for an honest
    // client.
    maxSessionMemory: Math.max(16, Math.ceil(maxConcurrentStreams / 4)),
    // A client that sends requests before it has our SETTINGS gets REFUSED_STREAM. Past these counts node ends the session with
    // its good streams. It counts a refused stream among the invalid frames as well.
    maxSessionRejectedStreams: mostRefusals(maxConcurrentStreams),
    maxSessionInvalidFrames: mostRefusals(maxConcurrentStreams),
    maxHeaderListPairs: mostFields,
  });
}

/** Names and values, with the 32 bytes that RFC 9113 (section 10.5.1) adds for each field. */
function bytesOfHead(headers: IncomingHttpHeaders): number {
  let bytes = 0;
  for (const name in headers) {
    const value = headers[name];
    bytes += name.length + 32;
    if (typeof value === "string") bytes += value.length;
    else if (value !== undefined) bytes += value.reduce((sum, part) => sum + part.length, 0);
  }
  return bytes;
}
