/** HTTP/2 by an engine of our own, on connections that a listener has accepted, cleartext or TLS. */
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { monotonicUs } from "../../base/clock.ts";
import type { ListenerCounts, Protocol, RequestHandler } from "../../core/seams.ts";
import { BodyDeadlines, type Bounds } from "../bounds.ts";
import { isLongBody, requestsPerTurn, watchWithin } from "../multiplexed.ts";
import { ResetAllowance } from "../resets.ts";
import { Admission } from "../turns.ts";
import type { RequestHead } from "./head.ts";
import { BlockPool } from "./output.ts";
import { OwnRequest } from "./request.ts";
import { Session, type SessionKeeper } from "./session.ts";
import { OwnH2Sink, type Serving } from "./sink.ts";
import type { Stream } from "./stream.ts";

/** A request that has come. */
interface Opened {
  readonly sink: OwnH2Sink;
  readonly request: OwnRequest;
  readonly head: RequestHead;
}

export class OwnH2Service implements SessionKeeper {
  readonly serving: Serving;
  readonly pool: BlockPool = new BlockPool();
  turn = 0;
  readonly resetConnection: (socket: Socket) => void;
  readonly #protocol: Protocol;
  readonly #sessions = new Set<Session>();
  readonly #resetAllowance: ResetAllowance;
  readonly #watchdog: NodeJS.Timeout;
  readonly #admission: Admission<Session, Opened>;
  /** Streams that were opened and reset in this turn, of all sessions. */
  #resets = 0;
  /** Sessions with something to send. */
  #toFlush: Session[] = [];
  /** Responses whose readers have caught up. */
  #drained: OwnH2Sink[] = [];

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
    this.resetConnection = resetConnection;
    this.serving = { limits, counts, handler, bounds, deadlines: new BodyDeadlines(limits.bodyTimeoutMs) };
    this.#resetAllowance = new ResetAllowance(limits.maxConcurrentStreams);
    this.#admission = new Admission(requestsPerTurn, {
      begin: (_session, opened) => this.#begin(opened),
      onWaiting: () => {},
      isGone: ({ sink }) => sink.isGone,
      onTurnEnd: () => {
        this.turn++;
        this.#resets = 0;
      },
    });
    // After what has come was read: a process that was held up must not take what waits in its sockets for silence.
    const look = (): void => void setImmediate(this.#watch);
    this.#watchdog = watchWithin([limits.stallTimeoutMs, limits.h2IdleTimeoutMs, limits.headTimeoutMs], look);
  }

  /** Takes over a connected socket. */
  accept(socket: Duplex): void {
    this.#sessions.add(new Session(this, socket as Socket));
    this.serving.counts.sessions++;
  }

  /** GOAWAY to every session: streams under way may finish, new ones are refused. */
  drain(): void {
    this.serving.deadlines.close();
    for (const session of this.#sessions) session.drain();
  }

  /** Cuts every stream by RST_STREAM. */
  resetAll(): void {
    for (const session of this.#sessions) session.resetAll();
  }

  /** Ends every session at once. */
  destroy(): void {
    clearInterval(this.#watchdog);
    this.#resetAllowance.close();
    for (const session of this.#sessions) session.destroy();
  }

  onRequest(session: Session, stream: Stream, head: RequestHead, isEnded: boolean): void {
    const request = new OwnRequest(this.#protocol, head);
    const sink = new OwnH2Sink(session, stream, request, this.serving, isEnded);
    if (!isEnded) session.awaitsBody(sink);
    this.#admission.admit(session, { sink, request, head });
  }

  #begin({ sink, request, head }: Opened): void {
    const { limits, handler } = this.serving;
    const isLong = !sink.bodyEnded && isLongBody(head.contentLength);
    sink.begin(head.bytes > limits.maxHeadBytes, isLong && handler.withholds?.(request) === true);
  }

  resetsTooMany(session: Session): boolean {
    return this.#resetAllowance.isTooMuch(session.resets, ++this.#resets);
  }

  /**
   * Sends when the JavaScript that runs now is over, so that what a turn writes to a connection leaves together. Not as the first of
   * what waits for that moment: stamps are settled then too, and must be before.
   */
  willFlush(session: Session): void {
    if (this.#toFlush.push(session) === 1) queueMicrotask(this.#flushSoon);
  }

  readonly #flushSoon = (): void => queueMicrotask(this.#flush);

  readonly #flush = (): void => {
    const sessions = this.#toFlush;
    this.#toFlush = [];
    for (const session of sessions) session.flush();
  };

  hasDrained(sink: OwnH2Sink): void {
    if (this.#drained.push(sink) === 1) setImmediate(this.#goOn);
  }

  readonly #goOn = (): void => {
    const drained = this.#drained;
    this.#drained = [];
    for (const sink of drained) sink.goOn();
  };

  isGone(session: Session): void {
    if (this.#sessions.delete(session)) this.serving.counts.sessions--;
  }

  readonly #watch = (): void => {
    const nowUs = monotonicUs();
    for (const session of this.#sessions) session.watch(nowUs);
  };
}
