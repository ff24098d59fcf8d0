/** Responses of HTTP/2: how frames get into a stream of node:http2, what is counted, and how a stream is cut. */
import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { Duplex } from "node:stream";
import { monotonicUs } from "../../base/clock.ts";
import type { ListenerCounts, WireFault } from "../../core/seams.ts";
import type { Bounds, Waiting } from "../bounds.ts";
import type { BodyOwner, BodyReader } from "../node/request.ts";
import { ownCopy, slabCopy } from "./copies.ts";
import { QueuedSink } from "./reading.ts";
import type { SessionState, SessionStream } from "./session.ts";

/** Bytes that the streams of one session may have waiting. Past it, each waits until its reader has taken all that it has. */
const sessionBufferedBytes = 8_388_608;
/** A frame up to this size that finds its stream empty is not counted: all streams together stay far below the limit. */
const uncountedBytes = 4096;
/** A larger answer in one piece is given to the stream in pieces of this size. */
const pieceBytes = 262_144;
/** A reader that let its stream wait this long is slow. It gets its frames in small pieces, to see that it takes any. */
const slowUs = 500_000;
const slowPieceBytes = 4096;

/** Why a stream is cut; shared, because nothing reads it. */
const cutError = new Error("cut");
/** Why a stream that was delivered is destroyed; shared, because nothing reads it. */
const deliveredError = new Error("delivered");

/**
 * `destroy` of a stream. When both sides have closed, node destroys the stream before it hears that the socket took the last
 * write. For each such write it makes an ERR_STREAM_DESTROYED with its stack, a sixth of what a short answer costs, unless there
 * is an error already (`errorBuffer` in lib/internal/streams/writable.js). So a stream that is delivered gets a shared error. It
 * has closed and sends nothing more; the only effect is an "error" event before "close".
 */
function destroyStream(this: ServerHttp2Stream, error?: Error): ServerHttp2Stream {
  const isDelivered = error === undefined && this.closed && this.rstCode === constants.NGHTTP2_NO_ERROR;
  return Duplex.prototype.destroy.call(this, isDelivered ? deliveredError : error) as ServerHttp2Stream;
}

const ignore = (): void => {};

/** The copy that the last `write` or `end` of any sink gave to its stream; module-wide, so that no stream keeps it alive. */
let unsent: Uint8Array | null = null;

/** Prepares a stream that node has just made. */
export function prepareStream(stream: ServerHttp2Stream): void {
  // Without this listener one protocol error of a stream ends the process.
  stream.on("error", ignore);
  stream.destroy = destroyStream;
}

/**
 * Reads and drops the rest of a request whose answer is complete: RST_STREAM with NO_ERROR then tells the client to stop
 * sending (RFC 9113, section 8.1).
 */
export function stopReading(stream: ServerHttp2Stream): void {
  stream.resume();
  if (!stream.destroyed) stream.once("finish", () => stream.close(constants.NGHTTP2_NO_ERROR));
}

export class NodeH2Sink extends QueuedSink implements Waiting, BodyOwner, SessionStream {
  endedUs = 0;
  /** Ends the request with the answer (RFC 9113, section 8.1): for a client that sends a refused body without end. */
  endsRequest = false;
  /** null: the body is not read. */
  reader: BodyReader | null = null;
  readonly carrier = "node-h2";
  readonly requestOnConnection: number;
  readonly streamId?: number;
  readonly #stream: ServerHttp2Stream;
  readonly #headOnly: boolean;
  #headSent = false;
  #drainAttached = false;
  /** Absolute microseconds since which the stream waits for its reader; 0: it does not. */
  #waitsSinceUs = 0;
  #isSlow = false;
  /** true: it waits because the session as a whole has too much waiting. */
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

  get connection(): object {
    return this.session;
  }

  constructor(session: SessionState, stream: ServerHttp2Stream, headOnly: boolean, bounds: Bounds, counts: ListenerCounts) {
    super(session);
    this.#bounds = bounds;
    this.#counts = counts;
    this.#stream = stream;
    this.#headOnly = headOnly;
    this.requestOnConnection = ++session.requests;
    // Of a stream that its client has reset already there is none.
    if (stream.id !== undefined) this.streamId = stream.id;
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

  endConnection(): void {
    this.endsRequest = true;
  }

  abandonBody(): void {
    stopReading(this.#stream);
  }

  /** Hot path. */
  write(frame: Uint8Array): boolean {
    unsent = null;
    if (this.closed || (!this.#headSent && !this.#sendHead(false))) return false;
    if (frame.length === 0) return true;
    const stream = this.#stream;
    if (this.#isSlow && frame.length > slowPieceBytes) return this.#mayGoOn(this.#writeInPieces(frame));
    // A reader that keeps up has taken everything before the next frame comes: then there is nothing to count.
    const keepsUp = stream.writableLength === 0 && this.#counted === 0 && frame.length <= uncountedBytes;
    const chunk = stream.writableLength === 0 ? slabCopy(frame) : ownCopy(frame);
    unsent = chunk;
    const ok = keepsUp ? stream.write(chunk) : stream.write(chunk, this.#onFlushed);
    if (!ok) this.#awaitDrain();
    return keepsUp ? ok : this.#mayGoOn(ok);
  }

  /**
   * node:http2 sends what its streams were given in the check phase of the event loop, one session after the other, when the
   * JavaScript of the turn is over (`MaybeScheduleWrite` in src/node_http2.cc). Until then it keeps the copy, and no other.
   */
  takeUnsent(): Uint8Array | null {
    const copy = unsent;
    unsent = null;
    return copy;
  }

  #awaitDrain(): void {
    if (this.#waitsSinceUs === 0) this.#waitsSinceUs = monotonicUs();
    if (this.#drainAttached) return;
    this.#drainAttached = true;
    // Without `_writev` node hands on one chunk after the other. All at once, it tells nothing before the last byte has left.
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

  /** What a write returns that did not find its stream empty: whether the pacer may write on. */
  #mayGoOn(ok: boolean): boolean {
    this.#count();
    this.#held = this.session.bufferedBytes > sessionBufferedBytes;
    if (!this.#held && (ok || this.#counted <= this.#bounds.limits.maxStreamBufferedBytes)) return true;
    this.standInLine();
    return false;
  }

  end(frame?: Uint8Array): void {
    unsent = null;
    if (this.closed) return;
    this.closed = true;
    this.observer = null;
    const mayBeFollowed = this.head!.status >= 400 || this.#stream.endAfterHeaders;
    if (this.#headSent || !mayBeFollowed) {
      this.#end(frame);
      return;
    }
    // Over TLS the engine gets one record after the other, and what was answered to one leaves before it reads the next. Once
    // END_STREAM has left it forgets the stream. An error, and an answer to a head alone, that leaves in the next turn, and ends when
    // its bytes have left, lets it still see, and say, that a client sends where it may not (STREAM_CLOSED, RFC 9113, section 5.1).
    const kept = frame === undefined ? undefined : ownCopy(frame);
    setImmediate(() => this.#end(kept, true));
  }

  /** `staysOpen`: the stream ends when the socket has taken the frame, and not with it. */
  #end(frame: Uint8Array | undefined, staysOpen = false): void {
    const open = this.#sendHead(this.#headOnly || frame === undefined, frame?.length);
    this.endedUs = monotonicUs();
    this.turnAt = 0;
    if (!open || this.#headOnly) return;
    if (frame !== undefined && this.#isSlow) this.#writeInPieces(frame);
    if (frame === undefined || this.#isSlow) this.#stream.end();
    else if (frame.length > pieceBytes) this.#endInPieces(Buffer.from(frame), 0);
    else if (staysOpen && !this.endsRequest) this.#stream.write(frame, () => this.#stream.end());
    else this.#stream.end((unsent = this.#stream.writableLength === 0 ? slabCopy(frame) : ownCopy(frame)));
    if (this.endsRequest) this.#stream.close(constants.NGHTTP2_NO_ERROR);
    this.#count();
  }

  watch(): void {
    if (this.turnAt === 0) this.standInLine();
  }

  /** Writes each piece when the reader has taken the one before: so a slow reader can be told from one that has stopped. */
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
   * By RST_STREAM with INTERNAL_ERROR. `stream.close(code)` would send END_STREAM before its RST_STREAM: a cut answer would look
   * whole to its client.
   */
  cut(): void {
    this.#stream.destroy(cutError);
  }

  inject(fault: WireFault): void {
    if (this.closed) return;
    const { session } = this.session;
    if (fault.kind === "goaway" && fault.code === 0) {
      session.close();
      return;
    }
    this.closed = true;
    this.observer = null;
    if (fault.kind === "reset") {
      this.session.resetConnection();
    } else if (fault.kind === "goaway") {
      session.destroy(cutError, fault.code);
    } else {
      // Only a stream that waits for trailers can end by RST_STREAM with any code and no END_STREAM before it.
      this.#sendHead(false);
      this.#stream.close(fault.code);
    }
  }

  /** Sends the head unless it is sent. Returns false when the stream takes nothing any more. */
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

  /** Brings the counts of the session and of all listeners up to date. */
  #count(): void {
    const now = this.#stream.destroyed ? 0 : this.bufferedBytes;
    const change = now - this.#counted;
    if (change === 0) return;
    this.#counted = now;
    if (change < 0 && this.endedUs > 0) {
      this.endedUs = monotonicUs();
      this.turnAt = 0;
    }
    // Below node's own mark a stream holds nothing up; counting it over all listeners would cost every token.
    if (now >= this.#stream.writableHighWaterMark || this.#waiting) {
      this.#waiting = now >= this.#stream.writableHighWaterMark;
      this.#bounds.setWaiting(this, this.#waiting ? now : 0, this.#counts);
    }
    this.session.bufferedBytes += change;
    if (this.#held && now === 0) this.#resume();
  }

  #resume(): void {
    this.#held = false;
    if (this.#waitsSinceUs > 0 && monotonicUs() - this.#waitsSinceUs > slowUs) this.#isSlow = true;
    this.#waitsSinceUs = 0;
    this.observer?.onDrain();
  }
}
