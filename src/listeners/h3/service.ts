/** HTTP/3 on the QUIC engine: its connections, the turns of their requests and responses, and the watch over them. */
import { monotonicUs } from "../../base/clock.ts";
import { type QuicEvent, quicEvent, type QuicServer } from "../../base/quic.ts";
import type { ListenerCounts, RequestHandler } from "../../core/seams.ts";
import { errorCode } from "../../wire/h3/frames.ts";
import { BodyDeadlines, type Bounds } from "../bounds.ts";
import { requestsPerTurn, watchWithin } from "../multiplexed.ts";
import type { BodyReading } from "../node/request.ts";
import { Admission } from "../turns.ts";
import { H3Session } from "./session.ts";
import type { ServicePart, SessionPart, StreamPart } from "./parts.ts";

/**
 * Bytes that streams which are not read may leave with the engine. It keeps 4 MiB of all connections together, and then takes none
 * of anyone's.
 */
const maxKeptBytes = 2_097_152;
/** Sessions that get a PING of the watchdog in one turn: for each the engine's thread is waited for. */
const pingsPerTurn = 8;

/** A stream that the engine keeps bytes back of. */
interface Kept {
  readonly session: SessionPart;
  readonly id: number;
  readonly bytes: number;
  readonly sinceUs: number;
}

export class H3Service implements ServicePart {
  engine!: QuicServer;
  readonly handler: RequestHandler;
  readonly bounds: Bounds;
  readonly counts: ListenerCounts;
  readonly reading: BodyReading;
  turn = 0;
  nowUs = 0;
  /** No connection is taken any more. */
  isClosing = false;
  /** Threads of the engine that have ended. */
  shutdowns = 0;
  readonly #sessions = new Map<number, H3Session>();
  readonly #watchdog: NodeJS.Timeout;
  #isTurnBegun = false;
  /** Whole requests begin in their turn. */
  readonly #admission = new Admission<SessionPart, StreamPart>(requestsPerTurn, {
    begin: (_session, stream) => stream.begin(),
    onWaiting: () => {},
    isGone: ({ sink }) => sink === null || sink.closed,
    onTurnEnd: () => {},
  });
  /** Responses that have more to give in the next turn. */
  #going: StreamPart[] = [];
  /** Responses that the engine refused. */
  #refused: StreamPart[] = [];
  /** By connection and stream, in the order in which they began to wait. */
  readonly #kept = new Map<string, Kept>();
  #keptBytes = 0;
  /** Sessions whose turn for a PING has come. */
  #toPing: H3Session[] = [];

  /** Keeps `counts`. The engine is set before its first event. */
  constructor(handler: RequestHandler, bounds: Bounds, counts: ListenerCounts) {
    this.handler = handler;
    this.bounds = bounds;
    this.counts = counts;
    const { limits } = bounds;
    this.reading = { limits, counts, handler, deadlines: new BodyDeadlines(limits.bodyTimeoutMs) };
    // After what has come was read: a process that was held up must not take what waits for it for silence.
    const look = (): void => void setImmediate(() => this.#watch());
    this.#watchdog = watchWithin([limits.stallTimeoutMs, limits.h2IdleTimeoutMs, limits.headTimeoutMs], look);
  }

  /** Hot path. The engine's events, in order. */
  take(events: readonly QuicEvent[]): void {
    this.nowUs = monotonicUs();
    for (const event of events) {
      const { eventType, connHandle } = event;
      if (eventType === quicEvent.shutdown) this.shutdowns++;
      else if (eventType === quicEvent.writable) this.#takeUp();
      else if (eventType === quicEvent.session) this.#accept(connHandle);
      else if (eventType === quicEvent.closed) this.#sessions.get(connHandle)?.end();
      else this.#sessions.get(connHandle)?.take(event);
    }
  }

  #accept(handle: number): void {
    // The engine has given the number again before it told of the end of the connection that had it.
    this.#sessions.get(handle)?.end();
    const session = new H3Session(handle, this);
    this.#sessions.set(handle, session);
    this.counts.connections++;
    this.counts.sessions++;
    this.bounds.connections++;
    const excess = this.bounds.excess();
    if (excess !== null) this.counts.bounds[excess]++;
    if (excess !== null || this.isClosing) session.close(excess === null ? errorCode.none : errorCode.excessiveLoad);
  }

  forget(session: SessionPart): void {
    if (this.#sessions.get(session.handle) !== session) return;
    this.#sessions.delete(session.handle);
    this.counts.connections--;
    this.counts.sessions--;
    this.bounds.connections--;
    for (const kept of this.#kept.values()) if (kept.session === session) this.letGo(session, kept.id);
  }

  complete(stream: StreamPart): void {
    this.#admission.admit(stream.session, stream);
  }

  beginTurn(): void {
    if (this.#isTurnBegun) return;
    this.#isTurnBegun = true;
    setImmediate(() => this.#endTurn());
  }

  continueSoon(stream: StreamPart): void {
    this.#going.push(stream);
    this.beginTurn();
  }

  awaitWritable(stream: StreamPart): void {
    this.#refused.push(stream);
  }

  #endTurn(): void {
    this.turn++;
    this.#isTurnBegun = false;
    const going = this.#going;
    this.#going = [];
    for (const stream of going) stream.sink?.resume();
  }

  #takeUp(): void {
    const refused = this.#refused;
    this.#refused = [];
    for (const stream of refused) stream.sink?.resume();
  }

  /** The engine keeps back bytes of a stream. Where all such streams hold too much, those that have waited longest are cut. */
  keptBack(session: SessionPart, id: number, bytes: number): void {
    const key = `${session.handle}:${id}`;
    if (this.#kept.has(key)) return;
    this.#kept.set(key, { session, id, bytes, sinceUs: this.nowUs });
    this.#keptBytes += bytes;
    for (const each of this.#kept.values()) {
      if (this.#keptBytes <= maxKeptBytes) break;
      this.counts.bounds["buffers-full"]++;
      this.#shed(each);
    }
  }

  letGo(session: SessionPart, id: number): void {
    const key = `${session.handle}:${id}`;
    const kept = this.#kept.get(key);
    if (kept === undefined || kept.session !== session) return;
    this.#kept.delete(key);
    this.#keptBytes -= kept.bytes;
  }

  #shed({ session, id }: Kept): void {
    const sink = session.streams.get(id)?.sink;
    if (sink === undefined || sink === null || sink.isFinished) session.cut(id, errorCode.internal);
    else sink.shed();
    this.letGo(session, id);
  }

  endFlood(session: SessionPart): void {
    this.counts.bounds.flood++;
    session.close(errorCode.excessiveLoad);
  }

  /** GOAWAY to every session. */
  drain(): void {
    this.isClosing = true;
    this.reading.deadlines.close();
    for (const session of this.#sessions.values()) session.goaway();
  }

  /** Cuts every response. */
  resetAll(): void {
    for (const { streams } of this.#sessions.values()) for (const { sink } of streams.values()) if (sink?.closed === false) sink.shed();
  }

  /** Ends every session. */
  destroy(): void {
    clearInterval(this.#watchdog);
    for (const session of this.#sessions.values()) session.close(errorCode.none);
  }

  /** Looks at every session: handshakes and heads that are late, answers that are not taken, floods, idle and dead peers. */
  #watch(): void {
    const nowUs = monotonicUs();
    const { headTimeoutMs, h2IdleTimeoutMs, stallTimeoutMs } = this.bounds.limits;
    for (const kept of this.#kept.values()) {
      const sink = kept.session.streams.get(kept.id)?.sink;
      const isDone = sink === undefined || sink === null || sink.isFinished;
      if (!isDone || nowUs - kept.sinceUs <= stallTimeoutMs * 1000) continue;
      this.counts.bounds["never-read"]++;
      this.#shed(kept);
    }
    for (const session of this.#sessions.values()) {
      if (!session.isReady) {
        if (nowUs - session.openedUs <= headTimeoutMs * 1000) continue;
        this.counts.bounds["head-timeout"]++;
        session.close(errorCode.none);
        continue;
      }
      this.#watchStreams(session, nowUs);
      if (session.sendsTooMuch()) this.endFlood(session);
      else if (session.streams.size === 0 && nowUs - session.idleSinceUs > h2IdleTimeoutMs * 1000) {
        this.counts.bounds["idle-timeout"]++;
        session.goaway();
        session.close(errorCode.none);
      } else if (session.pingSentUs > 0 && nowUs - Math.max(session.pingSentUs, session.heardUs) > stallTimeoutMs * 1000) {
        this.counts.sessionsReaped++;
        session.close(errorCode.none);
      } else if (session.streams.size > 0 && session.pingSentUs === 0) this.#toPing.push(session);
    }
    if (this.#toPing.length > 0) this.#pingSome();
  }

  #watchStreams(session: H3Session, nowUs: number): void {
    const { headTimeoutMs, stallTimeoutMs } = this.bounds.limits;
    for (const stream of session.streams.values()) {
      const { sink } = stream;
      if (sink === null) {
        if (nowUs - stream.openedUs > headTimeoutMs * 1000) stream.expire();
        continue;
      }
      if (sink.endedUs === 0 || sink.isFinished || nowUs - sink.endedUs <= stallTimeoutMs * 1000) continue;
      sink.endedUs = nowUs;
      if (sink.isBeingRead()) continue;
      this.counts.bounds["never-read"]++;
      sink.cut(errorCode.internal);
    }
  }

  /** A peer that has vanished is found by nothing else while it owes nothing, and one that waits for a slow token has to be kept. */
  #pingSome(): void {
    for (const session of this.#toPing.splice(0, pingsPerTurn)) session.ping(this.nowUs);
    if (this.#toPing.length > 0) setImmediate(() => this.#pingSome());
  }
}
