/**
 * One WebSocket (RFC 6455), on any engine: its answers, what waits for its reader, how it closes. An engine makes one when a
 * handshake is done, tells it what comes, and sends what it says through an `EngineSocket`.
 */
import type { JsonExcess } from "../../core/limits/json-bounds.ts";
import type { ListenerCounts, MessageAnswer, MessageForm, MessageSession, MessageSocket } from "../../core/seams.ts";
import { type Bounds, refusalOf, type Waiting } from "../bounds.ts";
import { MessageSink, type SinkConnection } from "./sink.ts";

/** What an engine does for a connection. */
export interface EngineSocket {
  readonly carrier: "uws-ws" | "node-ws";
  /** Sends one text message, which is used during the call only. false: not all of it has left, or it was dropped. */
  send(message: Uint8Array): boolean;
  /** Sends one text message in fragments, two at least. */
  sendFragments(parts: readonly Uint8Array[]): void;
  /** Bytes that wait for the reader. */
  bufferedBytes(): number;
  /** Calls `action`: what it sends leaves together, as far as the engine can. */
  cork(action: () => void): void;
  /** Sends a close frame, behind what waits. */
  close(code: number, reason: string): void;
  /** Ends the TCP connection at once. */
  terminate(): void;
  /** Ends it by TCP RST, where the engine can. */
  reset(): void;
  ping(): void;
}

/** What connections share with their listener. */
export interface ConnectionOwner {
  readonly counts: ListenerCounts;
  readonly bounds: Bounds;
  /** Takes a message in its turn; null: a binary one, which is not kept. */
  take(connection: SocketConnection, message: Uint8Array | null): void;
  delete(connection: SocketConnection): void;
}

/** How long the peer has to answer a close frame, milliseconds. */
const closeTimeoutMs = 2000;

/** Pings, pongs and messages that are refused: so many within the time, milliseconds, are a flood. */
const mostControl = 1000;
const controlWindowMs = 10_000;

/** Bytes of messages that may wait for their turn, in multiples of the largest message. */
const inboxMessages = 4;
/** What a waiting message costs beside its bytes. */
const messageOverheadBytes = 128;

/** Why RFC 6455, section 7.4.1, closes. */
export const closeCodes = { normal: 1000, goingAway: 1001, unsupported: 1003, policy: 1008, tooBig: 1009, internal: 1011 } as const;

/** What a close frame says of a message that is too large. */
export const tooBigReason = "the message is larger than this server accepts (--max-body)";

export class SocketConnection implements MessageSocket, SinkConnection, Waiting {
  closed = false;
  /** Bytes of messages that were sent, and of those the ones that wait. */
  #sentBytes = 0;
  bufferedBytes = 0;
  readonly #engine: EngineSocket;
  readonly #owner: ConnectionOwner;
  #session: MessageSession | null = null;
  readonly #sinks = new Set<MessageSink>();
  /** Sinks whose writing waits for the reader. */
  #blocked: MessageSink[] = [];
  #answers = 0;
  /** Bytes in the inbox. */
  #inboxBytes = 0;
  #control = 0;
  #controlSinceMs = 0;
  #closeTimer: NodeJS.Timeout | null = null;
  #hasEnded = false;
  /** Of the watchdog: when the peer was last heard of, and whether it was pinged since; what it had taken when bytes began to wait. */
  heardMs: number = performance.now();
  isPinged = false;
  stalledMs = 0;
  takenAtLook = 0;

  constructor(engine: EngineSocket, owner: ConnectionOwner) {
    this.#engine = engine;
    this.#owner = owner;
    owner.counts.connections++;
  }

  /** To be called once, before anything comes. */
  open(session: MessageSession): void {
    this.#session = session;
  }

  get carrier(): EngineSocket["carrier"] {
    return this.#engine.carrier;
  }

  /** Bytes that the peer's kernel, or ours, has taken. */
  get takenBytes(): number {
    return this.#sentBytes - this.bufferedBytes;
  }

  /** Hot path. true: no answer may go on before the reader has caught up. */
  get isFull(): boolean {
    return this.bufferedBytes > this.#owner.bounds.limits.maxStreamBufferedBytes;
  }

  sink(form: MessageForm): MessageAnswer {
    const sink = new MessageSink(this, form, ++this.#answers);
    this.#owner.counts.streams++;
    this.#sinks.add(sink);
    return sink;
  }

  /** An answer is over. */
  forget(sink: MessageSink): void {
    if (this.#sinks.delete(sink)) this.#owner.counts.streams--;
  }

  wait(sink: MessageSink): void {
    this.#blocked.push(sink);
  }

  send(text: string): void {
    if (this.closed) return;
    this.sendText(text);
    if (this.bufferedBytes > this.#owner.bounds.limits.maxBodyBytes) this.#cut("never-read");
  }

  sendText(text: string): void {
    this.sendBytes(Buffer.from(text));
  }

  /** Hot path. Sends one message. */
  sendBytes(message: Uint8Array): void {
    if (this.closed) return;
    this.#sentBytes += message.length;
    if (!this.#engine.send(message)) this.#look();
    else if (this.bufferedBytes > 0) this.#settle(0);
  }

  sendFragments(parts: readonly Uint8Array[]): void {
    if (parts.length === 1) return this.sendBytes(parts[0]!);
    if (this.closed) return;
    for (const { length } of parts) this.#sentBytes += length;
    this.#engine.sendFragments(parts);
    this.#look();
  }

  /** Sends several messages in one write. */
  cork(action: () => void): void {
    if (this.closed) return;
    this.#engine.cork(action);
    this.#look();
  }

  /** Asks how many bytes wait. */
  #look(): void {
    if (!this.#hasEnded) this.#settle(this.#engine.bufferedBytes());
  }

  #settle(bytes: number): void {
    if (bytes === this.bufferedBytes) return;
    this.bufferedBytes = bytes;
    this.#owner.bounds.setWaiting(this, bytes, this.#owner.counts);
  }

  /** The engine has sent something of what waited. */
  onDrain(): void {
    this.#look();
    if (this.#blocked.length === 0 || this.isFull) return;
    const waiting = this.#blocked;
    this.#blocked = [];
    for (const sink of waiting) sink.drained();
  }

  /** A whole message. `isOwn`: its bytes stay as they are after the call. */
  onMessage(message: Uint8Array, isBinary: boolean, isOwn: boolean): void {
    this.#heard();
    if (this.closed) return;
    const { limits } = this.#owner.bounds;
    if (isBinary && this.#session!.onBinary !== undefined) {
      this.onControl();
      if (!this.closed) this.#owner.take(this, null);
    } else if (isBinary) {
      this.close(closeCodes.unsupported, "messages are JSON in text frames");
    } else if (message.length > limits.maxBodyBytes) {
      this.onTooBig();
    } else {
      this.#inboxBytes += message.length + messageOverheadBytes;
      if (this.#inboxBytes > inboxMessages * limits.maxBodyBytes) this.#flood();
      else this.#owner.take(this, isOwn ? message : message.slice());
    }
  }

  /** A message that is larger than the server accepts. */
  onTooBig(): void {
    if (this.closed) return;
    this.#owner.counts.bounds["body-too-large"]++;
    this.close(closeCodes.tooBig, tooBigReason);
  }

  /** The turn of a message has come. */
  handle(message: Uint8Array, excess: JsonExcess | null): void {
    this.#inboxBytes -= message.length + messageOverheadBytes;
    if (this.closed) return;
    if (excess === null) {
      this.#session!.onMessage(message);
      return;
    }
    const reason = refusalOf(excess);
    this.#owner.counts.bounds[reason]++;
    this.onControl();
    if (!this.closed) this.#session!.onRefused(reason, excess);
  }

  /** The turn of a binary message has come. */
  handleBinary(): void {
    if (!this.closed) this.#session!.onBinary!();
  }

  /** A ping or a pong, which the engine answers by itself. */
  onControl(): void {
    const nowMs = this.#heard();
    if (nowMs - this.#controlSinceMs > controlWindowMs) {
      this.#controlSinceMs = nowMs;
      this.#control = 0;
    }
    if (++this.#control > mostControl && !this.closed) this.#flood();
  }

  #heard(): number {
    this.isPinged = false;
    return (this.heardMs = performance.now());
  }

  #flood(): void {
    this.#owner.counts.bounds.flood++;
    this.close(closeCodes.policy, "too many messages");
  }

  drain(): void {
    this.#session?.drain();
  }

  ping(): void {
    if (this.closed) return;
    this.isPinged = true;
    this.#engine.ping();
  }

  close(code: number, reason: string): void {
    if (this.closed) return;
    this.closed = true;
    this.#engine.close(code, reason);
    this.#abortAll();
    if (!this.#hasEnded) this.#closeTimer = setTimeout(() => this.#engine.terminate(), closeTimeoutMs).unref();
  }

  /** An answer cannot go on: a defect of this program, or a reader that takes nothing. */
  fail(): void {
    if (this.closed) return;
    // Behind bytes that its peer does not read a close frame arrives never.
    if (this.bufferedBytes > 0) this.terminate();
    else this.close(closeCodes.internal, "");
  }

  /** Ends it without a word. */
  terminate(): void {
    if (this.#hasEnded) return;
    this.closed = true;
    this.#engine.terminate();
    this.#abortAll();
  }

  resetConnection(): void {
    if (this.#hasEnded) return;
    this.closed = true;
    this.#engine.reset();
    this.#abortAll();
  }

  #cut(bound: "never-read"): void {
    this.#owner.counts.bounds[bound]++;
    this.terminate();
  }

  /** Cut because all connections together hold too much; the caller has counted it. */
  shed(): void {
    this.terminate();
  }

  /** The engine closes by itself: what came was not WebSocket. */
  onFailed(): void {
    if (this.closed) return;
    this.closed = true;
    this.#abortAll();
  }

  /** The TCP connection has ended, or the peer has closed. */
  onEnd(): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.closed = true;
    if (this.#closeTimer !== null) clearTimeout(this.#closeTimer);
    this.#settle(0);
    this.#abortAll();
    this.#owner.counts.connections--;
    this.#owner.delete(this);
    this.#session?.onClose();
  }

  #abortAll(): void {
    this.#blocked = [];
    for (const sink of this.#sinks) sink.abort();
  }
}
