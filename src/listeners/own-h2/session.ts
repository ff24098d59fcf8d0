/** A connection of the own engine on its socket: when what is written leaves, whether its client lives, and how it ends. */
import type { Socket } from "node:net";
import { monotonicUs } from "../../base/clock.ts";
import { errorCode } from "../../wire/h2/frames.ts";
import type { Waiting } from "../bounds.ts";
import { takenBytes } from "../transport.ts";
import { Connection, type ConnectionEvents } from "./connection.ts";
import type { RequestHead } from "./head.ts";
import type { BlockPool } from "./output.ts";
import type { OwnH2Sink, Serving, SinkSession } from "./sink.ts";
import type { Stream } from "./stream.ts";

/** The service of a session. */
export interface SessionKeeper {
  readonly serving: Serving;
  readonly pool: BlockPool;
  /** Number of the present turn of the event loop, as far as requests begin in it. */
  readonly turn: number;
  /** Something is to be sent when the JavaScript of this turn is over. */
  willFlush(session: Session): void;
  /** A request has come. */
  onRequest(session: Session, stream: Stream, head: RequestHead, isEnded: boolean): void;
  /** A stream that was opened in this turn was reset. true: it is one too many. */
  resetsTooMany(session: Session): boolean;
  /** A reader has caught up. */
  hasDrained(sink: OwnH2Sink): void;
  /** TCP RST. */
  resetConnection(socket: Socket): void;
  isGone(session: Session): void;
}

/** Bytes that are read of a connection in a turn of the event loop: one that sends without end must not hold up the others. */
const readPerTurn = 262_144;
/** Only reads of this size come several in a turn. */
const largeRead = 32_768;
/** What of a session's bytes in the socket is counted over all listeners. */
const countedBytes = 65_536;
/**
 * How long the last bytes have to leave, and longer while the client still sends. That is read and dropped: unread bytes would make the
 * end a TCP RST, which takes the GOAWAY with it.
 */
const lingerMs = 2000;
const mostLingerMs = 10_000;
/** A client that answers PINGs may take so long, and not below, to acknowledge SETTINGS (RFC 9113, section 6.5.3), milliseconds. */
const leastSettingsMs = 10_000;
const pingPayload = Buffer.from("fakeai h");

export class Session implements ConnectionEvents, SinkSession, Waiting {
  readonly connection: Connection;
  /** Requests so far. */
  requests = 0;
  /** Streams opened in the present turn, by the lowest id, and how many of them were reset. */
  turn = -1;
  firstOfTurn = 0;
  resets = 0;
  /** In the list of those that flush. */
  willFlush = false;
  readonly #keeper: SessionKeeper;
  readonly #socket: Socket;
  readonly #limits: Serving["bounds"]["limits"];
  /** Responses that have ended and wait for their readers. */
  readonly #ended = new Set<OwnH2Sink>();
  /** Blocks and bytes that the socket has not let go of, oldest first. */
  readonly #inFlight: { readonly block: Buffer; readonly bytes: number }[] = [];
  #isCounted = false;
  readonly #openedUs = monotonicUs();
  #idleSinceUs = this.#openedUs;
  /** 0: no head is under way. */
  #headSinceUs = 0;
  #settingsAcked = false;
  /** When the unanswered PING left, or when the kernel last took bytes since; 0: none is out. */
  #pingSentUs = 0;
  #takenAtLook = 0;
  #metStreamLimit = false;
  /** The end was announced, and is not final before the client has answered the PING behind it. */
  #announced = false;
  /** No new streams are served: the session ends with its last stream. */
  #isLeaving = false;
  #isEnding = false;
  /** Runs out when the client has sent nothing for a while since the end. */
  #linger: NodeJS.Timeout | null = null;
  #readInTurn = 0;
  /** Requests of the read under way whose bodies have not come whole. */
  readonly #fresh: OwnH2Sink[] = [];

  constructor(keeper: SessionKeeper, socket: Socket) {
    this.#keeper = keeper;
    this.#socket = socket;
    this.#limits = keeper.serving.bounds.limits;
    this.connection = new Connection(this.#limits, keeper.pool, this);
    socket.on("data", (chunk: Buffer) => this.#read(chunk));
    socket.on("error", () => {});
    // A client that sends nothing more wants nothing more.
    socket.on("end", () => socket.destroy());
    socket.on("close", () => this.#onClose());
    this.connection.begin();
    // The look at its first bytes has paused it.
    socket.resume();
  }

  /** Bytes that the kernel has taken. */
  get takenBytes(): number {
    return takenBytes(this.#socket);
  }

  /** Bytes of all its responses that wait. */
  get queuedBytes(): number {
    return this.connection.sender.queuedBytes;
  }

  #read(chunk: Buffer): void {
    if (chunk.length >= largeRead) this.#countRead(chunk.length);
    if (this.#isEnding) {
      this.#linger?.refresh();
      return;
    }
    this.connection.read(chunk);
    if (this.#fresh.length > 0) {
      for (const sink of this.#fresh) sink.awaitBody();
      this.#fresh.length = 0;
    }
    if (!this.connection.isInHead) this.#headSinceUs = 0;
    else if (this.#headSinceUs === 0) this.#headSinceUs = monotonicUs();
  }

  /** A socket with much to read is asked again and again in one turn of the event loop. */
  #countRead(bytes: number): void {
    if (this.#readInTurn === 0) {
      setImmediate(() => {
        this.#readInTurn = 0;
        if (this.#socket.isPaused() && !this.#socket.destroyed) this.#socket.resume();
      });
    }
    this.#readInTurn += bytes;
    if (this.#readInTurn >= readPerTurn) this.#socket.pause();
  }

  /** The request of a sink has come, and its body has not, so far. */
  awaitsBody(sink: OwnH2Sink): void {
    this.#fresh.push(sink);
  }

  // What leaves.

  onPending(): void {
    if (this.willFlush) return;
    this.willFlush = true;
    this.#keeper.willFlush(this);
  }

  /** Sends all that was written since the last time, in one system call. */
  flush(): void {
    this.willFlush = false;
    const socket = this.#socket;
    const chunks = this.connection.output.take();
    if (socket.destroyed || !socket.writable) return;
    const isMany = chunks.length > 1;
    if (isMany) socket.cork();
    for (const { bytes, block } of chunks) {
      this.connection.sender.inFlightBytes += bytes.length;
      this.connection.control.allowance += bytes.length;
      this.#inFlight.push({ block, bytes: bytes.length });
      socket.write(bytes, this.#onTaken);
    }
    if (isMany) socket.uncork();
    if (this.#isCounted || this.connection.sender.inFlightBytes >= countedBytes) this.#count();
  }

  readonly #onTaken = (error?: Error | null): void => {
    const { block, bytes } = this.#inFlight.shift()!;
    // Of a socket that failed it is not known whether it still reads the block.
    if (error === undefined || error === null) this.#keeper.pool.give(block);
    this.connection.sender.onTaken(bytes);
    if (this.#isCounted) this.#count();
  };

  /** Brings the count of all listeners up to date. To the end of those that wait: its reader has just read. */
  #count(): void {
    const { bounds, counts } = this.#keeper.serving;
    const { inFlightBytes } = this.connection.sender;
    if (this.#isCounted) bounds.setWaiting(this, 0, counts);
    this.#isCounted = inFlightBytes >= countedBytes && !this.#socket.destroyed;
    if (this.#isCounted) bounds.setWaiting(this, inFlightBytes, counts);
  }

  shed(): void {
    this.#isCounted = false;
    this.destroy();
  }

  waitsForReader(sink: OwnH2Sink): void {
    this.#ended.add(sink);
  }

  hasDrained(sink: OwnH2Sink): void {
    this.#keeper.hasDrained(sink);
  }

  isOver(sink: OwnH2Sink): void {
    this.#ended.delete(sink);
  }

  // What the connection tells.

  onRequest(stream: Stream, head: RequestHead, isEnded: boolean): void {
    if (this.turn !== this.#keeper.turn) {
      this.turn = this.#keeper.turn;
      this.firstOfTurn = stream.id;
      this.resets = 0;
    }
    if (this.connection.streams.size === this.#limits.maxConcurrentStreams) this.onStreamLimit();
    this.#keeper.onRequest(this, stream, head, isEnded);
  }

  onStreamLimit(): void {
    if (this.#metStreamLimit) return;
    this.#metStreamLimit = true;
    this.#keeper.serving.counts.bounds["stream-limit"]++;
  }

  onReset(stream: Stream): void {
    if (this.turn !== this.#keeper.turn || stream.id < this.firstOfTurn) return;
    this.resets++;
    if (this.#keeper.resetsTooMany(this)) this.connection.fail(errorCode.enhanceYourCalm, true);
  }

  onStreamClosed(): void {
    if (this.connection.streams.size > 0) return;
    this.#idleSinceUs = monotonicUs();
    if (this.#isLeaving) this.end();
  }

  onFail(_code: number, isFlood: boolean): void {
    this.#keeper.serving.counts.bounds[isFlood ? "flood" : "malformed"]++;
    this.end();
  }

  onPeerGoaway(code: number): void {
    if (code !== errorCode.none) this.destroy();
    else this.#leave();
  }

  onPingAck(): void {
    this.#pingSentUs = 0;
    if (this.#announced) this.#refuseNew();
  }

  onSettingsAck(): void {
    this.#settingsAcked = true;
  }

  // How it ends.

  /**
   * Ends the session when its streams have ended, in two steps (RFC 9113, section 6.8): what the client sends before it has heard of
   * the first is still served.
   */
  drain(): void {
    if (this.#announced || this.#isLeaving || this.connection.failed) return;
    this.#announced = true;
    this.connection.announceEnd();
    this.#ping(monotonicUs());
  }

  #refuseNew(): void {
    if (!this.#announced) return;
    this.#announced = false;
    this.connection.refuseNew();
    this.#leave();
  }

  #leave(): void {
    this.#isLeaving = true;
    if (this.connection.streams.size === 0) this.end();
  }

  /** A fault on purpose: GOAWAY with a code, and the end. */
  endWith(code: number): void {
    this.connection.refuseNew(code);
    this.connection.abandon();
    this.end();
  }

  /** Sends what is written, then FIN. What still comes is dropped. */
  end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.connection.abandon();
    this.flush();
    this.#socket.end();
    // Without listeners for data it would not be read.
    this.#socket.resume();
    this.#linger = setTimeout(() => this.#socket.destroy(), lingerMs).unref();
    const most = setTimeout(() => this.#socket.destroy(), mostLingerMs).unref();
    this.#socket.once("close", () => {
      clearTimeout(this.#linger!);
      clearTimeout(most);
    });
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** By TCP RST, when what was written has left. */
  resetConnection(): void {
    this.flush();
    setImmediate(() => this.#keeper.resetConnection(this.#socket));
  }

  /** Cuts every stream by RST_STREAM. */
  resetAll(): void {
    for (const stream of this.connection.streams.values()) stream.reset(errorCode.internal);
  }

  #onClose(): void {
    this.#isEnding = true;
    this.connection.abandon();
    if (this.#isCounted) this.#count();
    this.#keeper.isGone(this);
  }

  /** Looks for what is late: answers that are not taken, heads and SETTINGS that do not end, idle sessions, peers that are gone. */
  watch(nowUs: number): void {
    if (this.#isEnding) return;
    const { counts } = this.#keeper.serving;
    const { stallTimeoutMs, headTimeoutMs, h2IdleTimeoutMs } = this.#limits;
    this.connection.control.begin();
    this.#cutUnread(nowUs);
    if (this.#announced && nowUs - this.#pingSentUs > stallTimeoutMs * 1000) this.#refuseNew();
    if (this.#headSinceUs > 0 && nowUs - this.#headSinceUs > headTimeoutMs * 1000) {
      counts.bounds["head-timeout"]++;
      this.endWith(errorCode.enhanceYourCalm);
    } else if (!this.#settingsAcked && nowUs - this.#openedUs > Math.max(headTimeoutMs, leastSettingsMs) * 1000) {
      counts.sessionsReaped++;
      this.endWith(errorCode.settingsTimeout);
    } else if (this.connection.streams.size === 0 && nowUs - this.#idleSinceUs > h2IdleTimeoutMs * 1000) {
      counts.bounds["idle-timeout"]++;
      this.connection.refuseNew();
      this.end();
    } else {
      this.#askForLife(nowUs);
    }
  }

  #cutUnread(nowUs: number): void {
    const { stallTimeoutMs } = this.#limits;
    for (const sink of this.#ended) {
      if (nowUs - sink.endedUs <= stallTimeoutMs * 1000) continue;
      sink.endedUs = nowUs;
      if (sink.isBeingRead()) continue;
      this.#keeper.serving.counts.bounds["never-read"]++;
      sink.cut();
    }
  }

  /** Ends a session that answers no PING for the stall time-out while nothing leaves, else sends it the next. */
  #askForLife(nowUs: number): void {
    const taken = this.takenBytes;
    if (this.#pingSentUs === 0) {
      // Its answer may not come in the middle of a head.
      if (this.#headSinceUs === 0) this.#ping(nowUs);
    } else if (taken > this.#takenAtLook) {
      this.#pingSentUs = nowUs;
    } else if (nowUs - this.#pingSentUs > this.#limits.stallTimeoutMs * 1000) {
      this.#keeper.serving.counts.sessionsReaped++;
      this.destroy();
    }
    this.#takenAtLook = taken;
  }

  #ping(nowUs: number): void {
    this.connection.ping(pingPayload);
    this.#pingSentUs = nowUs;
  }
}
