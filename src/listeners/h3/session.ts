/** What the server keeps of one HTTP/3 connection, and what it does with what comes on its streams. */
import { monotonicUs } from "../../base/clock.ts";
import type { QuicEvent, QuicServer } from "../../base/quic.ts";
import { quicEvent } from "../../base/quic.ts";
import { controlOpening, errorCode, goawayFrame, setting } from "../../wire/h3/frames.ts";
import { PeerStreams } from "../../wire/h3/peer-streams.ts";
import type { ServicePart, SessionPart, StreamPart } from "./parts.ts";
import { RequestStream } from "./stream.ts";

/** The first stream that a server opens in one direction: our control stream (RFC 9000, section 2.1). */
const controlStreamId = 3;
/** A PING follows so many bytes: when it is acknowledged, what was sent before has left, as far as nothing is lost. */
const pingEveryBytes = 524_288;
/** Bytes that the engine may have of one connection, beyond the last PING that was acknowledged. */
const unconfirmedBytes = 2_097_152;
/** What a session may send in one interval of the watchdog that is neither a head nor a body, bytes. */
const idleBytesAllowed = 1_048_576;

/** Streams of a client: requests have ids that four divides, and unidirectional ones leave 2 (RFC 9000, section 2.1). */
const isRequest = (id: number): boolean => id % 4 === 0;

export class H3Session implements SessionPart {
  readonly handle: number;
  readonly service: ServicePart;
  readonly streams: Map<number, StreamPart & Pick<RequestStream, "read">> = new Map();
  responses = 0;
  requests = 0;
  /** The handshake is complete. */
  isReady = false;
  isOver = false;
  readonly openedUs: number = monotonicUs();
  idleSinceUs: number = this.openedUs;
  heardUs: number = this.openedUs;
  /** Absolute microseconds: when the PING left that is not acknowledged yet; 0: none is out. */
  pingSentUs = 0;
  idleBytes = 0;
  /** Bytes given to the engine since the last PING that was acknowledged. */
  #unconfirmed = 0;
  /** Of those, the ones before the PING that is out. */
  #beforePing = 0;
  /** Responses that wait for a PING to be acknowledged, in the order of their turns. */
  readonly #held = new Set<StreamPart>();
  /** Called when the PING that is sent next, or the one behind it, is acknowledged. */
  #afterNext: (() => void)[] = [];
  #afterThis: (() => void)[] = [];
  readonly #peer: PeerStreams;
  /** The first request that is refused, because a GOAWAY says so. */
  #goawayId = Infinity;
  #nextRequestId = 0;
  /** `idleBytes` of all streams at the last look, and resets since. */
  #idleAtLook = 0;
  #resets = 0;
  #metStreamLimit = false;

  constructor(handle: number, service: ServicePart) {
    this.handle = handle;
    this.service = service;
    this.#peer = new PeerStreams({ onSettings: () => {}, onGoaway: () => {} });
  }

  get engine(): QuicServer {
    return this.service.engine;
  }

  get mayPass(): boolean {
    return this.#unconfirmed < unconfirmedBytes;
  }

  /** Hot path. */
  pass(id: number, bytes: Buffer, isEnd: boolean): boolean {
    if (this.engine.streamSend(this.handle, id, bytes, isEnd).status !== 0) return false;
    this.#unconfirmed += bytes.length;
    if (this.#unconfirmed >= pingEveryBytes && this.pingSentUs === 0) this.ping(monotonicUs());
    return true;
  }

  cut(id: number, code: number): void {
    this.service.letGo(this, id);
    // The engine gives the number of a connection that is over to another.
    if (!this.isOver) this.engine.streamClose(this.handle, id, code);
  }

  hold(stream: StreamPart): void {
    this.#held.add(stream);
  }

  ping(nowUs: number): void {
    if (this.pingSentUs > 0 || this.isOver) return;
    if (!this.engine.pingSession(this.handle)) return;
    this.pingSentUs = nowUs;
    this.#beforePing = this.#unconfirmed;
    this.#afterThis = this.#afterNext;
    this.#afterNext = [];
  }

  afterDelivery(then: () => void): void {
    this.#afterNext.push(then);
    this.ping(monotonicUs());
  }

  #pong(): void {
    this.pingSentUs = 0;
    this.#unconfirmed -= this.#beforePing;
    this.#beforePing = 0;
    const done = this.#afterThis;
    this.#afterThis = [];
    for (const then of done) then();
    if (this.#afterNext.length > 0 || this.#unconfirmed >= pingEveryBytes) this.ping(monotonicUs());
    for (const stream of this.#held) {
      if (!this.mayPass) break;
      this.#held.delete(stream);
      stream.sink?.resume();
    }
  }

  /** Hot path. */
  take(event: QuicEvent): void {
    this.heardUs = this.service.nowUs;
    const { eventType, streamId } = event;
    switch (eventType) {
      case quicEvent.handshake:
        return this.#open();
      case quicEvent.stream:
        if (isRequest(streamId) && !this.isOver) this.#openRequest(streamId);
        return this.#read(streamId, event.data ?? none, event.fin === true);
      case quicEvent.data:
        return this.#read(streamId, event.data ?? none, event.fin === true);
      case quicEvent.finished:
        return this.#read(streamId, none, true);
      case quicEvent.reset:
      case quicEvent.error:
        return streamId < 0 ? undefined : this.#lost(streamId);
      case quicEvent.blocked:
        this.service.keptBack(this, streamId, this.streams.get(streamId)?.sink?.block() ?? leastKeptBytes);
        return;
      case quicEvent.drain:
        this.service.letGo(this, streamId);
        this.streams.get(streamId)?.sink?.unblock();
        return;
      case quicEvent.pong:
        return this.#pong();
      default:
    }
  }

  #open(): void {
    this.isReady = true;
    const { maxHeadBytes } = this.service.bounds.limits;
    this.engine.streamSend(
      this.handle,
      controlStreamId,
      controlOpening([
        [setting.qpackTableBytes, 0],
        [setting.qpackBlockedStreams, 0],
        [setting.maxFieldSection, maxHeadBytes],
      ]),
      false,
    );
  }

  #read(id: number, bytes: Buffer, isEnd: boolean): void {
    if (this.isOver) return;
    if (isRequest(id)) {
      // Without a stream: what still comes of one that is over.
      this.streams.get(id)?.read(bytes, isEnd);
      return;
    }
    const fault = this.#peer.read(id, bytes, isEnd);
    if (fault !== 0) this.fail(fault);
  }

  /** Streams may come in any order, where packets are lost. */
  #openRequest(id: number): void {
    this.#nextRequestId = Math.max(this.#nextRequestId, id + 4);
    if (id >= this.#goawayId) return this.cut(id, errorCode.requestRejected);
    this.streams.set(id, new RequestStream(this, id));
    this.#countAtLimit();
  }

  #countAtLimit(): void {
    const { limits } = this.service.bounds;
    if (this.#metStreamLimit || this.streams.size < limits.maxConcurrentStreams) return;
    this.#metStreamLimit = true;
    this.service.counts.bounds["stream-limit"]++;
  }

  /** The peer has cut a stream, or it cannot be written to any more. */
  #lost(id: number): void {
    if (!isRequest(id)) {
      const fault = id % 4 === 2 ? this.#peer.reset(id) : errorCode.closedCriticalStream;
      if (fault !== 0) this.fail(fault);
      return;
    }
    // The engine drops what it kept back, of an answer that had been given to it whole too.
    this.service.letGo(this, id);
    const stream = this.streams.get(id);
    if (stream === undefined) return;
    this.#resets++;
    stream.lose();
    if (this.#resets > Math.max(leastResets, this.service.bounds.limits.maxConcurrentStreams)) this.service.endFlood(this);
  }

  /** Looked at once in an interval of the watchdog: whether more came that means nothing than any use of HTTP/3 needs. */
  sendsTooMuch(): boolean {
    const idle = this.idleBytes + this.#peer.idleBytes;
    const isTooMuch = idle - this.#idleAtLook > idleBytesAllowed;
    this.#idleAtLook = idle;
    this.#resets = 0;
    return isTooMuch;
  }

  goaway(): void {
    if (this.isOver || !this.isReady || this.#goawayId !== Infinity) return;
    this.#goawayId = this.#nextRequestId;
    this.engine.streamSend(this.handle, controlStreamId, goawayFrame(this.#goawayId), false);
  }

  fail(code: number): void {
    this.service.counts.bounds.malformed++;
    this.close(code);
  }

  close(code: number): void {
    if (this.isOver) return;
    this.isOver = true;
    this.engine.closeSession(this.handle, code, "");
    this.end();
  }

  /** The connection is no more. */
  end(): void {
    this.isOver = true;
    this.#held.clear();
    for (const stream of this.streams.values()) stream.lose();
    this.service.forget(this);
  }
}

const none = Buffer.alloc(0);
/** What the engine may keep back of a response that has been given to it whole. */
const leastKeptBytes = 4096;
/** The least allowance of requests that a session opens and resets in one interval of the watchdog. */
const leastResets = 128;
