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
import { Duplex } from "node:stream";
import { monotonicUs } from "../../base/clock.ts";
import type { ListenerCounts, Protocol, RequestHandler, WireFault } from "../../core/seams.ts";
import { BodyDeadlines, type Bounds, type ListenerLimits, refuse, type Waiting } from "../bounds.ts";
import { type BodyOwner, type BodyReader, type BodyReading, NodeRequest, receiveBody } from "../node/request.ts";
import { BaseSink } from "../sink.ts";
import { Turns } from "../turns.ts";

/** How often each session is asked for a sign of life, at most; more often under a short stall time-out. */
const pingIntervalMs = 2000;
/**
 * What a session may send beyond its heads, its bodies and as much as it was sent, in one interval. Honest clients send
 * less control than they get data; PRIORITY and unknown frames without end are nothing else.
 */
const controlBytes = 1_048_576;
/** Bytes that the streams of one session may have waiting; past it, each waits until its reader has taken what it has. */
const sessionBufferedBytes = 8_388_608;

/**
 * Requests that are begun in one turn of the event loop. One read can bring hundreds: the rest waits for the next turns, so
 * that a flood leaves room for everybody else, and what its client has reset by then costs nothing.
 */
const requestsPerTurn = 64;

/**
 * Streams that one session may open and reset within one turn, where it may have fewer open; a read can bring thousands, and
 * with the session what is left of it goes for nothing. When all sessions together reset twice as many, each may reset few.
 */
const leastResetsPerTurn = 128;
const fewResetsPerTurn = 32;
/** How often a session's resets are counted, in streams. */
const resetsCountedEvery = 32;
/** How often the event loop's own pace is looked at. */
const beatMs = 250;

/** A frame up to this size that finds its stream empty is not counted: all streams together stay far below the limit. */
const uncountedBytes = 4096;

/**
 * Slices of it hold frames until the socket took them. One that is not taken keeps the whole slab, which nobody counts: a
 * stream has at most one here, its further ones are memory of their own.
 */
let slab = Buffer.allocUnsafeSlow(65_536);
let slabUsed = 0;

/** Hot path. A copy that may be kept: node keeps a chunk until the socket took it, and a frame is ours only during `write`. */
function keep(frame: Uint8Array): Buffer {
  const size = frame.length;
  if (size > 8192) return size > 65_536 ? Buffer.from(frame) : keepLarge(frame);
  if (slabUsed + size > slab.length) {
    slab = Buffer.allocUnsafeSlow(slab.length);
    slabUsed = 0;
  }
  slab.set(frame, slabUsed);
  return slab.subarray(slabUsed, (slabUsed += size));
}

/** An answer in one piece that is larger is handed over in pieces of this size. */
const pieceBytes = 262_144;

/** A reader that let its stream wait this long is slow: what it gets is handed over in pieces, to see that it takes any. */
const slowUs = 500_000;
const slowPieceBytes = 4096;

/** The engine resets a stream whose head is larger than this many times the bound; up to there we can answer 431. */
const engineHeads = 4;

/** As `slab`, for joined frames: each memory of its own would cost more than the copy. */
let largeSlab = Buffer.allocUnsafeSlow(131_072);
let largeUsed = 0;

function keepLarge(frame: Uint8Array): Buffer {
  const size = frame.length;
  if (largeUsed + size > largeSlab.length) {
    largeSlab = Buffer.allocUnsafeSlow(largeSlab.length);
    largeUsed = 0;
  }
  largeSlab.set(frame, largeUsed);
  return largeSlab.subarray(largeUsed, (largeUsed += size));
}

function ownCopy(frame: Uint8Array): Buffer {
  const copy = Buffer.allocUnsafeSlow(frame.length);
  copy.set(frame);
  return copy;
}

/** What a session sends of a stream before it is the next one's turn: a DATA frame (RFC 9113, section 4.2). */
const turnBytes = 16_384;

/**
 * A session of which no more than this is taken in a time-out is not read: PINGs leave by themselves. What its client sends makes
 * it send too, PINGs for PINGs; beside bodies, whatever comes is taken to have brought three times as much.
 */
const leastTakenBytes = 1024;
const answeredBy = 3;
/** Nor is one of which less is taken than this part of what stands before a stream: in so many time-outs it has its turn. */
const leastTakenShare = 1 / 64;

/** Of a socket's handle: node tells what the kernel has not taken of a write under way nowhere else. */
interface Handle {
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly writeQueueSize: number;
  /** What a TLS handle stands on. */
  readonly _parent?: Handle;
}

/** Why a stream is cut; shared, because nobody looks at it. */
const cutError = new Error("cut");

/** Why a stream that was delivered is destroyed; shared, because nobody looks at it. */
const deliveredError = new Error("delivered");

/**
 * `destroy` of a stream. When both sides have closed, node destroys it before it hears that the socket took the last write, and
 * for each such write makes an ERR_STREAM_DESTROYED with its stack that nobody sees, a sixth of what a short answer costs, unless
 * there is an error already (`errorBuffer` in lib/internal/streams/writable.js). A stream that has closed sends nothing more, so
 * the error changes nothing but that an "error" is emitted before "close".
 */
function destroyStream(this: ServerHttp2Stream, error?: Error): ServerHttp2Stream {
  const isDelivered = error === undefined && this.closed && this.rstCode === constants.NGHTTP2_NO_ERROR;
  return Duplex.prototype.destroy.call(this, isDelivered ? deliveredError : error) as ServerHttp2Stream;
}

/** What we keep of one session. */
class SessionState {
  readonly session: ServerHttp2Session;
  readonly socket: Duplex;
  readonly sinks = new Set<NodeH2Sink>();
  bufferedBytes = 0;
  /** Requests so far. */
  requests = 0;
  /** Ends the connection by TCP RST. */
  readonly resetConnection: () => void;
  /** When the unanswered PING left, or bytes of ours after it; 0 when none is out. */
  pingSentUs = 0;
  /** Since when no request is open. */
  idleSinceUs: number = monotonicUs();
  /** The latest stream that was accepted. */
  lastStream = -1;
  /** Streams that were opened in this turn, and how many of them had been reset when it was last looked. */
  readonly opened: ServerHttp2Stream[] = [];
  resets = 0;
  /** Bytes of heads and of bodies so far, and of both at the last look. */
  headBytes = 0;
  bodyBytes = 0;
  expectedAtLook = 0;
  /** What had been read, written and taken at the last look. */
  bytesRead = 0;
  bytesWritten = 0;
  takenAtLook = 0;

  constructor(session: ServerHttp2Session, socket: Duplex, resetConnection: () => void) {
    this.resetConnection = resetConnection;
    this.session = session;
    this.socket = socket;
  }

  get #handle(): Handle | null {
    return (this.socket as Duplex & { readonly _handle?: Handle | null })._handle ?? null;
  }

  /** Bytes that the kernel has taken so far. */
  get takenBytes(): number {
    const handle = this.#handle;
    const transport = handle?._parent ?? handle;
    return transport === null ? 0 : transport.bytesWritten - transport.writeQueueSize;
  }

  /** Bytes that came so far, but for bodies. */
  get receivedBytes(): number {
    return (this.#handle?.bytesRead ?? 0) - this.bodyBytes;
  }

  /** Whether a stream with something to send sends it: only its own window can keep it from that. */
  get isClear(): boolean {
    return this.#handle?.writeQueueSize === 0 && (this.session.state.remoteWindowSize ?? 0) > 0;
  }
}

class NodeH2Sink extends BaseSink implements Waiting, BodyOwner {
  /** When the response ended, or the reader last took a piece of it, for one that never takes the rest; 0 before. */
  endedUs = 0;
  /** Ends the request with the answer: RFC 9113, 8.1, for a client that would send a refused body for ever. */
  endsRequest = false;
  /** null: the body is not read. */
  reader: BodyReader | null = null;
  readonly carrier = "node-h2";
  readonly requestOnConnection: number;
  readonly #stream: ServerHttp2Stream;
  readonly #session: SessionState;
  readonly #headOnly: boolean;
  #headSent = false;
  #drainAttached = false;
  /** Since when the stream waits for its reader; 0: it does not. */
  #waitsSinceUs = 0;
  #isSlow = false;
  /** Bytes that its session had sent and received at the last look; that it has sent when it has been this stream's turn. */
  #takenBytes = 0;
  #receivedBytes = 0;
  #turnAt = 0;
  #leastTakenBytes = 0;
  /** Whether it waits because the session as a whole has too much waiting. */
  #held = false;
  /** Bytes of an answer in one piece that the stream has not been given yet. */
  #heldBack = 0;
  /** What the session's count holds for this stream. */
  #counted = 0;
  /** Whether the count of all listeners holds this stream. */
  #waiting = false;
  readonly #onFlushed = (): void => this.#count();
  readonly #bounds: Bounds;
  readonly #counts: ListenerCounts;

  constructor(session: SessionState, stream: ServerHttp2Stream, headOnly: boolean, bounds: Bounds, counts: ListenerCounts) {
    super();
    this.#bounds = bounds;
    this.#counts = counts;
    this.#session = session;
    this.#stream = stream;
    this.#headOnly = headOnly;
    this.requestOnConnection = ++session.requests;
    counts.streams++;
    session.sinks.add(this);
    stream.on("close", () => {
      this.reader?.close();
      counts.streams--;
      session.sinks.delete(this);
      if (session.sinks.size === 0) session.idleSinceUs = monotonicUs();
      if (this.#waiting) bounds.setWaiting(this, 0, counts);
      session.bufferedBytes -= this.#counted;
      this.#counted = 0;
      this.aborted();
    });
  }

  get bufferedBytes(): number {
    return this.#stream.writableLength + this.#heldBack;
  }

  override isBeingRead(): boolean {
    const session = this.#session;
    const { takenBytes, receivedBytes } = session;
    const isRead = super.isBeingRead();
    const isSessionRead = takenBytes - this.#takenBytes > this.#leastTakenBytes + answeredBy * (receivedBytes - this.#receivedBytes);
    const isInLine = isSessionRead && takenBytes < this.#turnAt && !session.isClear;
    if (isRead) this.#standInLine();
    this.#takenBytes = takenBytes;
    this.#receivedBytes = receivedBytes;
    return isRead || isInLine;
  }

  /** The wait for the reader begins: what waits now leaves before, and of streams that get more to write a frame each. */
  #standInLine(): void {
    const { takenBytes, receivedBytes, bufferedBytes, sinks } = this.#session;
    this.waitingBytes = this.bufferedBytes;
    this.#takenBytes = takenBytes;
    this.#receivedBytes = receivedBytes;
    const before = bufferedBytes + sinks.size * turnBytes;
    this.#turnAt = takenBytes + before;
    this.#leastTakenBytes = Math.max(leastTakenBytes, before * leastTakenShare);
  }

  endConnection(): void {
    this.endsRequest = true;
  }

  abandonBody(): void {
    stopReading(this.#stream);
  }

  /** Hot path. */
  write(frame: Uint8Array): boolean {
    if (this.closed || (!this.#headSent && !this.#sendHead(false))) return false;
    const stream = this.#stream;
    if (this.#isSlow && frame.length > slowPieceBytes) return this.#mayGoOn(this.#writeInPieces(frame));
    // A reader that keeps up has taken everything before the next frame comes: only then is there something to count.
    const keepsUp = stream.writableLength === 0 && this.#counted === 0 && frame.length <= uncountedBytes;
    const chunk = stream.writableLength === 0 ? keep(frame) : ownCopy(frame);
    const ok = keepsUp ? stream.write(chunk) : stream.write(chunk, this.#onFlushed);
    if (!ok) this.#awaitDrain();
    return keepsUp ? ok : this.#mayGoOn(ok);
  }

  #awaitDrain(): void {
    if (this.#waitsSinceUs === 0) this.#waitsSinceUs = monotonicUs();
    if (this.#drainAttached) return;
    this.#drainAttached = true;
    // What waits would else be handed over as one piece, of which nobody sees how much is left.
    Object.assign(this.#stream, { _writev: null });
    this.#stream.on("drain", () => this.#resume());
  }

  #writeInPieces(frame: Uint8Array): boolean {
    let ok = true;
    for (let from = 0; from < frame.length; from += slowPieceBytes) {
      ok = this.#stream.write(ownCopy(frame.subarray(from, from + slowPieceBytes)), this.#onFlushed);
    }
    if (!ok) this.#awaitDrain();
    return ok;
  }

  /** What a write returns that did not find its stream empty. */
  #mayGoOn(ok: boolean): boolean {
    this.#count();
    this.#held = this.#session.bufferedBytes > sessionBufferedBytes;
    if (!this.#held && (ok || this.#counted <= this.#bounds.limits.maxStreamBufferedBytes)) return true;
    this.#standInLine();
    return false;
  }

  end(frame?: Uint8Array): void {
    if (this.closed) return;
    const open = this.#sendHead(this.#headOnly || frame === undefined, frame?.length);
    this.closed = true;
    this.observer = null;
    this.endedUs = monotonicUs();
    this.#turnAt = 0;
    if (!open || this.#headOnly) return;
    if (frame !== undefined && this.#isSlow) this.#writeInPieces(frame);
    if (frame === undefined || this.#isSlow) this.#stream.end();
    else if (frame.length > pieceBytes) this.#endInPieces(Buffer.from(frame), 0);
    else this.#stream.end(this.#stream.writableLength === 0 ? keep(frame) : ownCopy(frame));
    if (this.endsRequest) this.#stream.close(constants.NGHTTP2_NO_ERROR);
    this.#count();
  }

  /** An answer that has ended waits for its reader from now on, if it did not before. */
  watch(): void {
    if (this.#turnAt === 0) this.#standInLine();
  }

  /** Each piece when the one before it was taken: that is how a slow reader is told from one that has stopped. */
  #endInPieces(body: Buffer, from: number): void {
    this.endedUs = monotonicUs();
    const to = Math.min(body.length, from + pieceBytes);
    this.#heldBack = body.length - to;
    const piece = body.subarray(from, to);
    if (to === body.length) {
      this.#stream.end(piece);
    } else {
      this.#stream.write(piece, (error) => {
        if (error === null || error === undefined) this.#endInPieces(body, to);
      });
    }
    this.#count();
  }

  reset(): void {
    if (this.closed) return;
    this.closed = true;
    this.observer = null;
    this.cut();
  }

  shed(): void {
    this.aborted();
    this.closed = true;
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
    const headers: OutgoingHttpHeaders = Object.assign({ ":status": head.status }, head.headers);
    if (!head.streamed) headers["content-length"] = Math.max(0, bodyBytes + (head.contentLengthBy ?? 0));
    this.#stream.respond(headers, head.mayReset ? { endStream, waitForTrailers: true } : { endStream });
    if (head.mayReset) this.#stream.once("wantTrailers", () => this.#stream.sendTrailers({}));
    return true;
  }

  #count(): void {
    const now = this.#stream.destroyed ? 0 : this.bufferedBytes;
    const change = now - this.#counted;
    if (change === 0) return;
    this.#counted = now;
    if (change < 0 && this.endedUs > 0) {
      this.endedUs = monotonicUs();
      this.#turnAt = 0;
    }
    // A stream below node's own mark waits for nobody; counting it over all would cost every token.
    if (now >= this.#stream.writableHighWaterMark || this.#waiting) {
      this.#waiting = now >= this.#stream.writableHighWaterMark;
      this.#bounds.setWaiting(this, this.#waiting ? now : 0, this.#counts);
    }
    this.#session.bufferedBytes += change;
    if (this.#held && now === 0) this.#resume();
  }

  #resume(): void {
    this.#held = false;
    if (this.#waitsSinceUs > 0 && monotonicUs() - this.#waitsSinceUs > slowUs) this.#isSlow = true;
    this.#waitsSinceUs = 0;
    this.observer?.onDrain();
  }
}

/** Serves HTTP/2 on connections that somebody else accepted. */
export class NodeH2Service {
  readonly #server: Http2Server;
  readonly #sessions = new Set<SessionState>();
  readonly #counts: ListenerCounts;
  readonly #bounds: Bounds;
  readonly #limits: ListenerLimits;
  readonly #handler: RequestHandler;
  readonly #reading: BodyReading;
  readonly #watchdog: NodeJS.Timeout;
  /** When the event loop was last seen to turn, and how much later than it should. */
  #beatUs = monotonicUs();
  #pausedUs = 0;
  readonly #beat: NodeJS.Timeout;
  readonly #resetConnection: (socket: Socket) => void;
  /** Requests that were begun in this turn, and those that wait for another; `counts.streams` counts both. */
  #begun = 0;
  /** Sessions that opened streams in this turn, and how many of those were reset in it. */
  readonly #openers: SessionState[] = [];
  #resets = 0;
  readonly #waiting = new Turns<
    SessionState,
    { readonly state: SessionState; readonly stream: ServerHttp2Stream; readonly headers: IncomingHttpHeaders }
  >();
  readonly #protocol: Protocol;
  /** What the session that is about to be opened stands on. */
  #accepting: Duplex | null = null;

  constructor(
    protocol: Protocol,
    handler: RequestHandler,
    bounds: Bounds,
    counts: ListenerCounts,
    resetConnection: (socket: Socket) => void,
  ) {
    this.#protocol = protocol;
    this.#resetConnection = resetConnection;
    const { limits } = bounds;
    this.#counts = counts;
    this.#bounds = bounds;
    this.#limits = limits;
    this.#handler = handler;
    this.#reading = { limits, counts, handler, deadlines: new BodyDeadlines(limits.bodyTimeoutMs) };
    this.#server = createServer({
      settings: { maxConcurrentStreams: limits.maxConcurrentStreams, maxHeaderListSize: limits.maxHeadBytes * engineHeads },
      // node refuses streams when a session's buffers pass this; 256 KiB a stream never bites an honest client.
      maxSessionMemory: Math.max(16, Math.ceil(limits.maxConcurrentStreams / 4)),
      // A client that fires before it saw our SETTINGS gets REFUSED_STREAM; past these counts the whole session would
      // end, its good streams too. node counts a refused stream among the invalid frames as well.
      maxSessionRejectedStreams: Math.max(1000, limits.maxConcurrentStreams * 10),
      maxSessionInvalidFrames: Math.max(1000, limits.maxConcurrentStreams * 10),
      maxHeaderListPairs: 64,
    });
    this.#server.on("session", (session) => this.#open(session));
    this.#server.on("sessionError", () => {});
    this.#watchdog = setInterval(
      () => this.#watch(),
      Math.min(pingIntervalMs, Math.max(100, Math.floor(Math.min(limits.stallTimeoutMs, limits.h2IdleTimeoutMs) / 4))),
    );
    this.#watchdog.unref();
    this.#beat = setInterval(() => {
      const nowUs = monotonicUs();
      // What came meanwhile may take longer to read than one beat.
      this.#pausedUs = Math.max(this.#pauseUs(nowUs), this.#pausedUs / 2);
      this.#beatUs = nowUs;
    }, beatMs);
    this.#beat.unref();
  }

  /** Takes over a connected socket. */
  accept(socket: Duplex): void {
    this.#accepting = socket;
    this.#server.emit("connection", socket);
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

  /** Ends what is left. */
  destroy(): void {
    clearInterval(this.#watchdog);
    clearInterval(this.#beat);
    for (const { session } of this.#sessions) session.destroy();
  }

  #open(session: ServerHttp2Session): void {
    const socket = this.#accepting as Socket;
    // A request that came with the preface is answered while the session is still being opened: too early to end it.
    const state = new SessionState(session, socket, () => setImmediate(() => this.#resetConnection(socket)));
    this.#sessions.add(state);
    this.#counts.sessions++;
    session.on("stream", (stream, headers) => this.#admit(state, stream, headers));
    session.on("error", () => {
      this.#counts.bounds.malformed++;
    });
    // A session that its client ended by GOAWAY emits this twice.
    session.once("close", () => {
      this.#sessions.delete(state);
      this.#counts.sessions--;
    });
  }

  /** Begins a request in this turn, or in one of the next. */
  #admit(state: SessionState, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    // One stream-level protocol error would end the process without this listener.
    stream.on("error", ignore);
    stream.destroy = destroyStream;
    if (state.session.destroyed) return;
    this.#countRefused(state, stream.id ?? 0);
    if (this.#resetsTooMany(state, stream)) {
      this.#endFlood(state);
      return;
    }
    if (this.#begun === 0) setImmediate(() => this.#nextTurn());
    if (this.#begun++ < requestsPerTurn) {
      this.#receive(state, stream, headers);
    } else if (stream.session !== undefined) {
      this.#waiting.add(state, { state, stream, headers });
      this.#counts.streams++;
    }
  }

  /** Whether the session has opened too many streams in this turn that it reset at once. */
  #resetsTooMany(state: SessionState, stream: ServerHttp2Stream): boolean {
    const { opened } = state;
    if (opened.length === 0) this.#openers.push(state);
    if (opened.push(stream) % resetsCountedEvery !== 0) return false;
    let resets = 0;
    // Not those that were answered in the same turn.
    for (const each of opened) if (each.aborted) resets++;
    this.#resets += resets - state.resets;
    state.resets = resets;
    const most = Math.max(leastResetsPerTurn, this.#limits.maxConcurrentStreams);
    // After a pause of the process, what clients did all the while is read in one turn.
    const more = (most * Math.max(this.#pausedUs, this.#pauseUs(monotonicUs()))) / 1e6;
    return resets > (this.#resets > 2 * (most + more) ? fewResetsPerTurn : most) + more;
  }

  /** How long the event loop did not turn, beyond what it may. */
  #pauseUs(nowUs: number): number {
    return Math.max(0, nowUs - this.#beatUs - 2 * beatMs * 1000);
  }

  #endFlood({ session }: SessionState): void {
    this.#counts.bounds.flood++;
    session.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM);
    session.destroy();
  }

  #nextTurn(): void {
    for (const state of this.#openers) {
      state.opened.length = 0;
      state.resets = 0;
    }
    this.#openers.length = 0;
    this.#resets = 0;
    let begun = 0;
    while (begun < requestsPerTurn) {
      const next = this.#waiting.take();
      if (next === undefined) break;
      this.#counts.streams--;
      if (next.stream.destroyed || next.stream.closed) continue;
      begun++;
      this.#receive(next.state, next.stream, next.headers);
    }
    // While some wait, those that come wait behind them.
    this.#begun = this.#waiting.size > 0 ? requestsPerTurn : begun;
    if (this.#begun > 0) setImmediate(() => this.#nextTurn());
  }

  #receive(state: SessionState, stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void {
    if (stream.session === undefined) return;
    const method = headers[":method"] ?? "GET";
    const request = new NodeRequest(this.#protocol, method, headers[":path"] ?? "/", headers);
    const sink = new NodeH2Sink(state, stream, method === "HEAD", this.#bounds, this.#counts);
    const headBytes = bytesOfHead(headers);
    state.headBytes += headBytes;
    if (headBytes > this.#limits.maxHeadBytes) {
      refuse("head-too-large", request, sink, this.#handler, this.#counts);
      stopReading(stream);
      return;
    }
    if (isLong(headers["content-length"]) && this.#handler.withholds?.(request)) {
      // Paused, node gives the client no more room for the body than it had from the start.
      stream.pause();
      return;
    }
    sink.reader = receiveBody(stream, this.#reading, request, sink, state);
  }

  /** Streams that the engine refused leave nothing but a gap in the numbers of those that it accepted. */
  #countRefused(state: SessionState, id: number): void {
    if (id - state.lastStream > 2) this.#counts.bounds["streams-refused"] += (id - state.lastStream) / 2 - 1;
    state.lastStream = Math.max(state.lastStream, id);
  }

  #watch(): void {
    const nowUs = monotonicUs();
    const limitUs = this.#limits.stallTimeoutMs * 1000;
    for (const state of this.#sessions) {
      // A session that was closed before it was destroyed leaves its socket to the peer, for as long as that likes.
      if (state.session.destroyed) {
        state.socket.destroy();
        continue;
      }
      for (const sink of state.sinks) {
        if (sink.endedUs === 0) continue;
        sink.watch();
        if (nowUs - sink.endedUs <= limitUs) continue;
        sink.endedUs = nowUs;
        if (sink.isBeingRead()) continue;
        this.#counts.bounds["never-read"]++;
        sink.cut();
      }
      if (this.#isFlood(state)) {
        this.#endFlood(state);
      } else if (state.sinks.size === 0 && nowUs - state.idleSinceUs > this.#limits.h2IdleTimeoutMs * 1000) {
        this.#counts.bounds["idle-timeout"]++;
        this.#endIdle(state);
      } else {
        this.#askForLife(state, nowUs, limitUs);
      }
    }
  }

  /** GOAWAY first, so that a client that sends a request just now knows that it was not looked at. */
  #endIdle(state: SessionState): void {
    state.idleSinceUs = monotonicUs();
    if (state.session.closed) state.session.destroy();
    else state.session.close();
  }

  /** Whether more control frames came since the last look than any use of HTTP/2 needs. */
  #isFlood(state: SessionState): boolean {
    const { socket } = state.session;
    if (!socket) return false;
    const read = socket.bytesRead - state.bytesRead;
    const written = socket.bytesWritten - state.bytesWritten;
    const expected = state.headBytes + state.bodyBytes;
    const control = read - written - (expected - state.expectedAtLook);
    state.bytesRead += read;
    state.bytesWritten += written;
    state.expectedAtLook = expected;
    // Bytes that went out since the PING: the peer takes what we send, however slowly.
    const taken = state.takenBytes;
    if (taken > state.takenAtLook && state.pingSentUs > 0) state.pingSentUs = monotonicUs();
    state.takenAtLook = taken;
    return control > controlBytes;
  }

  /**
   * Node 20 keeps a session for good when its client closes after a malformed frame, streams and timers included;
   * only a PING finds out. An idle time-out would also end an honest client that waits for a slow first token.
   */
  #askForLife(state: SessionState, nowUs: number, limitUs: number): void {
    if (state.pingSentUs > 0) {
      if (nowUs - state.pingSentUs > limitUs) {
        this.#counts.sessionsReaped++;
        state.session.destroy();
      }
      return;
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

const ignore = (): void => {};

/** A complete answer before the end of the request: RST_STREAM with NO_ERROR tells the client to stop (RFC 9113, 8.1). */
function stopReading(stream: ServerHttp2Stream): void {
  stream.resume();
  if (!stream.destroyed) stream.once("finish", () => stream.close(constants.NGHTTP2_NO_ERROR));
}

/** Names and values, with what RFC 9113 (10.5.1) adds for each field. */
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

/** Whether a body is longer than a stream's first window (RFC 9113, section 6.9.2). Not announced: it may be. */
function isLong(contentLength: string | undefined): boolean {
  return contentLength === undefined || Number(contentLength) > 65_535;
}
