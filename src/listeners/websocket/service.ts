/** The WebSockets of one listener: whose message is read next, which peers are gone, how all of them end. */
import { jsonExcess } from "../../core/limits/json-bounds.ts";
import type { ListenerCounts } from "../../core/seams.ts";
import { type Bounds, sweepMs } from "../bounds.ts";
import { waitUntil } from "../sink.ts";
import { Turns } from "../turns.ts";
import { closeCodes, type ConnectionOwner, type EngineSocket, SocketConnection } from "./connection.ts";

/** For how long messages are read in one turn of the event loop, milliseconds: tokens wait meanwhile. */
const sliceMs = 2;

/** A peer that was not heard of for this long is pinged, and after twice this it is gone, milliseconds. */
const silenceMs = 60_000;

/** How a listener's WebSockets are set. */
export interface WebSocketSettings {
  /** Messages are compressed for clients that offer it (RFC 7692). */
  readonly deflates: boolean;
}

export class WebSocketService implements ConnectionOwner {
  readonly counts: ListenerCounts;
  readonly bounds: Bounds;
  readonly settings: WebSocketSettings;
  readonly #connections = new Set<SocketConnection>();
  /** Messages whose turn is still to come: a connection that sends many does not hold up the others. */
  readonly #inbox = new Turns<SocketConnection, Uint8Array | null>();
  #spentMs = 0;
  #armed = false;
  #draining = false;
  readonly #watchdog: NodeJS.Timeout;

  constructor(counts: ListenerCounts, bounds: Bounds, settings: WebSocketSettings) {
    this.counts = counts;
    this.bounds = bounds;
    this.settings = settings;
    this.#watchdog = setInterval(() => this.#look(), sweepMs(Math.min(bounds.limits.stallTimeoutMs, silenceMs))).unref();
  }

  /** A handshake is done. */
  add(engine: EngineSocket): SocketConnection {
    const connection = new SocketConnection(engine, this);
    this.#connections.add(connection);
    return connection;
  }

  delete(connection: SocketConnection): void {
    this.#connections.delete(connection);
  }

  take(connection: SocketConnection, message: Uint8Array | null): void {
    if (this.#inbox.size === 0 && this.#spentMs < sliceMs) this.#read(connection, message);
    else this.#inbox.add(connection, message);
    this.#arm();
  }

  #read(connection: SocketConnection, message: Uint8Array | null): void {
    if (message === null) return connection.handleBinary();
    const startMs = performance.now();
    const { maxJsonDepth } = this.bounds.limits;
    // A text that is shorter than the limit cannot nest deeper.
    const excess = message.length > maxJsonDepth && !connection.closed ? jsonExcess(message, maxJsonDepth) : null;
    connection.handle(message, excess);
    this.#spentMs += performance.now() - startMs;
  }

  #arm(): void {
    if (this.#armed) return;
    this.#armed = true;
    setImmediate(() => {
      this.#armed = false;
      this.#spentMs = 0;
      while (this.#inbox.size > 0 && this.#spentMs < sliceMs) {
        const { owner, item } = this.#inbox.take()!;
        this.#read(owner, item);
      }
      if (this.#inbox.size > 0) this.#arm();
    });
  }

  /** Pings peers that are silent, and ends those that are gone or do not read. */
  #look(): void {
    const nowMs = performance.now();
    const { stallTimeoutMs } = this.bounds.limits;
    for (const connection of this.#connections) {
      if (connection.bufferedBytes > 0) {
        if (connection.stalledMs === 0 || connection.takenBytes > connection.takenAtLook) {
          connection.stalledMs = nowMs;
          connection.takenAtLook = connection.takenBytes;
        } else if (nowMs - connection.stalledMs > stallTimeoutMs) {
          this.counts.bounds["never-read"]++;
          connection.terminate();
          continue;
        }
      } else connection.stalledMs = 0;
      const silentMs = nowMs - connection.heardMs;
      if (silentMs > 2 * silenceMs) {
        this.counts.bounds["idle-timeout"]++;
        connection.terminate();
      } else if (silentMs > silenceMs && !connection.isPinged) {
        connection.ping();
      }
    }
  }

  /** Sessions let what is under way finish; a session that opens now has nothing under way. */
  drain(): void {
    this.#draining = true;
    for (const connection of this.#connections) connection.drain();
  }

  get isDraining(): boolean {
    return this.#draining;
  }

  /** Closes what is left with 1001, then ends what does not answer within `lingerMs`. */
  async close(lingerMs: number): Promise<void> {
    for (const connection of this.#connections) connection.close(closeCodes.goingAway, "the server is closing");
    await waitUntil(() => this.#connections.size === 0, lingerMs);
    clearInterval(this.#watchdog);
    for (const connection of this.#connections) connection.terminate();
  }
}
