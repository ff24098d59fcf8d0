/** The connections of a run: opens them, and gives each request one with room. */
import { protocolTraits } from "../results/protocols.ts";
import { setMaxListeners } from "node:events";
import { FileTable } from "../base/file-table.ts";
import { openFileLimit, openFiles } from "../base/proc.ts";
import { openConnection } from "./client/open.ts";
import type { ReceiveWindows } from "../wire/h2/windows.ts";
import type { Endpoint } from "./job.ts";
import { ConnectError, type Connection, type FailureReason, type Http2Limits, type WireBytes } from "./client/connection.ts";

/** Connections opened at a time: with more, connect times would hold the wait for each other. */
const openedAtOnce = 8;
/** Streams that an HTTP/2 server is taken to allow before its SETTINGS come (RFC 9113, section 6.5.2: at least 100). */
const assumedStreams = 100;
/** After this many failed attempts in a row the server counts as gone. */
const maxFailedAttempts = 3;

export interface PoolOptions {
  readonly endpoint: Endpoint;
  readonly windows: ReceiveWindows;
  readonly connections: number;
  readonly reuse: "keep" | "new" | "grow";
  readonly streams: number;
  readonly connectTimeoutMs: number;
  readonly pipelining: number;
  readonly early: boolean;
}

/** A request that waits for a connection. */
export interface Waiter {
  /** The connection that it takes where that has room. */
  readonly prefers?: Connection | undefined;
  /** Uses the connection at once. */
  onConnection(connection: Connection): void;
  onFail(reason: FailureReason, words?: string): void;
}

export class ConnectionPool {
  readonly #options: PoolOptions;
  /** Most streams that we put on one connection. */
  readonly #share: number;
  readonly #connections = new Set<Connection>();
  /** One entry for each further request of a connection; those of closed connections are skipped. */
  readonly #room = new Queue<Connection>();
  readonly #waiting = new Queue<Waiter>();
  readonly #stopped = new AbortController();
  readonly #files = new FileTable(openFileLimit() ?? Infinity);
  /** Files that are open for other things than connections. */
  readonly #otherFiles: number = openFiles() ?? 0;
  #opening = 0;
  #failedAttempts = 0;
  #closed = false;
  #lastFailure: FailureReason = "connection failed";
  /** What the system or TLS said of it. */
  #lastWords: string | undefined;
  /** Connections that the server is closing; streams may still be under way on them. */
  readonly #leaving: Connection[] = [];
  /** Addresses of connections, where the endpoint names several. */
  readonly #addresses = new WeakMap<Connection, string>();
  /** Connections that were opened or tried, by address. */
  readonly connectionsAt: Map<string, number> = new Map();
  #dealt = 0;
  /** Addresses whose connection is gone. */
  readonly #free: string[] = [];
  readonly #bytesOfGone = { read: 0, written: 0 };
  #wireOfGone: WireBytes | null = null;
  #http2OfGone: Http2Limits | null = null;

  opened = 0;
  lost = 0;
  /** Connect times, microseconds, since the last `forget`. */
  connectUs: number[] = [];
  readonly negotiated: Set<string> = new Set();
  cipher: string | null = null;
  /** Another protocol answered: no figure may be used. */
  invalid: string | null = null;

  constructor(options: PoolOptions) {
    this.#options = options;
    // One listener for each connection that is being opened.
    setMaxListeners(0, this.#stopped.signal);
    const isH2 = protocolTraits[options.endpoint.protocol].isMultiplexed;
    this.#share = !isH2
      ? options.pipelining
      : options.reuse === "new"
        ? 1
        : options.reuse === "grow"
          ? options.streams
          : Math.ceil(options.streams / options.connections);
  }

  /** Several attempts in a row have failed, and all waiters with them. */
  get dead(): boolean {
    return this.#failedAttempts >= maxFailedAttempts || this.invalid !== null;
  }

  get lastFailure(): FailureReason {
    return this.#lastFailure;
  }

  /** Requests that can be under way at once; known when the connections are open. */
  get capacity(): number {
    let capacity = 0;
    for (const connection of this.#connections) capacity += Math.min(this.#share, connection.capacity);
    return capacity;
  }

  /** Bytes of all connections so far. */
  get bytes(): { read: number; written: number } {
    const total = { ...this.#bytesOfGone };
    for (const connection of [...this.#connections, ...this.#leaving]) {
      total.read += connection.bytesRead;
      total.written += connection.bytesWritten;
    }
    return total;
  }

  /** Limits of the first open connection, else of the first that was closed; null on HTTP/1.1. */
  get http2(): Http2Limits | null {
    const [first] = this.#connections;
    return first?.http2 ?? this.#http2OfGone;
  }

  /** HTTP bytes of all connections so far, by purpose; null before the first connection. */
  get wire(): WireBytes | null {
    return [...this.#connections, ...this.#leaving].reduce<WireBytes | null>(
      (total, { wire }) => (total === null ? wire : combined(total, wire, 1)),
      this.#wireOfGone,
    );
  }

  /** Opens the connections that are kept for the whole run. Resolves also where that fails: see `dead`. */
  async prepare(): Promise<void> {
    if (this.#options.reuse !== "keep") return;
    let next = 0;
    const openSome = async (): Promise<void> => {
      while (next < this.#options.connections && !this.dead && !this.#closed) {
        next++;
        await this.#open();
      }
    };
    await Promise.all(Array.from({ length: openedAtOnce }, openSome));
  }

  /** Gives the waiter a connection at once, or as soon as one has room. */
  acquire(waiter: Waiter): void {
    if (this.dead || this.#closed) return waiter.onFail(this.#lastFailure, this.#lastWords);
    const connection = this.#options.reuse === "new" ? null : (this.#takeThis(waiter.prefers) ?? this.#take());
    if (connection !== null) return waiter.onConnection(connection);
    this.#waiting.push(waiter);
    this.#openForWaiting();
  }

  /** A request has ended and leaves its connection. */
  release(connection: Connection): void {
    if (this.#options.reuse === "new") {
      this.#retire(connection);
      connection.close();
      return;
    }
    if (connection.open) {
      this.#room.push(connection);
      this.#serve();
    } else {
      this.#retire(connection);
      if (this.#waiting.length > 0) this.#openForWaiting();
    }
  }

  /** Fails all waiters, and opens no further connection. */
  stop(reason: FailureReason): void {
    this.#closed = true;
    if (!this.dead) this.#lastFailure = reason;
    this.#stopped.abort();
    this.#failWaiting(reason, this.dead ? this.#lastWords : undefined);
  }

  close(): void {
    this.stop("aborted");
    for (const connection of [...this.#connections, ...this.#leaving]) {
      this.#count(connection);
      connection.close();
    }
    this.#connections.clear();
    this.#leaving.length = 0;
  }

  /** The address that a connection goes to; null: the origin's. */
  addressOf(connection: Connection): string | null {
    return this.#addresses.get(connection) ?? null;
  }

  #nextAddress({ hosts, hostsFrom = { first: 0, step: 1 } }: Endpoint): string | null {
    if (hosts === undefined || hosts.length === 0) return null;
    // One that was lost, or not reached, is asked again: no other server gets its part.
    const free = this.#free.shift();
    if (free !== undefined) return free;
    return hosts[(hostsFrom.first + this.#dealt++ * hostsFrom.step) % hosts.length]!;
  }

  #take(): Connection | null {
    for (;;) {
      const connection = this.#room.shift();
      if (connection === undefined) return null;
      // An entry above the peer's limit is dropped: it was made before the limit was known.
      if (connection.open && connection.hasRoom) return connection;
    }
  }

  /** This connection, if it has room. */
  #takeThis(connection: Connection | undefined): Connection | null {
    if (connection === undefined || !connection.open || !connection.hasRoom) return null;
    return this.#room.remove(connection) ? connection : null;
  }

  #serve(): void {
    while (this.#waiting.length > 0) {
      const connection = this.#take();
      if (connection === null) return;
      this.#waiting.shift()!.onConnection(connection);
    }
  }

  #failWaiting(reason: FailureReason, words: string | undefined): void {
    for (let waiter = this.#waiting.shift(); waiter !== undefined; waiter = this.#waiting.shift()) waiter.onFail(reason, words);
  }

  #openForWaiting(): void {
    if (this.#closed) return;
    const { reuse, connections, streams } = this.#options;
    const limit = reuse === "new" ? streams : connections;
    const allowed = this.http2?.maxConcurrentStreams ?? assumedStreams;
    const perConnection = reuse === "grow" && this.#share > 1 ? Math.min(this.#share, allowed) : 1;
    const wanted = reuse === "keep" ? connections - this.#connections.size : Math.ceil(this.#waiting.length / perConnection);
    while (this.#opening < wanted && this.#connections.size + this.#opening < limit) void this.#open();
  }

  async #open(): Promise<void> {
    this.#opening++;
    this.#files.note(this.#otherFiles + this.#connections.size + this.#opening);
    let connection: Connection;
    const { endpoint, windows, connectTimeoutMs, pipelining, early } = this.#options;
    const address = this.#nextAddress(endpoint);
    try {
      connection = await openConnection({
        endpoint,
        ...(address === null ? {} : { address }),
        windows,
        timeoutMs: connectTimeoutMs,
        pipelining,
        early,
        signal: this.#stopped.signal,
      });
    } catch (error) {
      this.#opening--;
      if (address !== null && this.#options.reuse !== "new") this.#free.push(address);
      this.#onFailedAttempt(error instanceof ConnectError ? error : new ConnectError(String(error), "connection failed"));
      return;
    }
    this.#opening--;
    if (this.#closed) return connection.close();
    this.#failedAttempts = 0;
    this.opened++;
    if (address !== null) {
      this.#addresses.set(connection, address);
      this.connectionsAt.set(address, (this.connectionsAt.get(address) ?? 0) + 1);
    }
    this.connectUs.push(connection.connectUs);
    this.cipher ??= connection.cipher;
    this.#connections.add(connection);
    connection.onClosed = () => this.#onClosed(connection);
    if (this.#options.reuse === "new") {
      const waiter = this.#waiting.shift();
      if (waiter === undefined) this.release(connection);
      else waiter.onConnection(connection);
      return;
    }
    const room = Math.min(this.#share, connection.capacity);
    for (let i = 0; i < room; i++) this.#room.push(connection);
    this.#serve();
    if (this.#waiting.length > 0) this.#openForWaiting();
  }

  #onFailedAttempt(error: ConnectError): void {
    this.#failedAttempts++;
    this.#lastFailure = error.reason;
    this.#lastWords = error.message;
    if (error.invalid) this.invalid = error.message;
    if (this.#closed) return;
    if (this.dead) return this.#failWaiting(error.reason, error.message);
    this.#waiting.shift()?.onFail(error.reason, error.message);
    if (this.#waiting.length > 0) this.#openForWaiting();
  }

  #onClosed(connection: Connection): void {
    this.lost++;
    const address = this.addressOf(connection);
    if (address !== null && this.#options.reuse !== "new") this.#free.push(address);
    if (this.#connections.delete(connection)) this.#leaving.push(connection);
    if (this.#waiting.length > 0) this.#openForWaiting();
  }

  #retire(connection: Connection): void {
    if (!this.#connections.delete(connection)) return;
    this.#count(connection);
  }

  #count(connection: Connection): void {
    if (connection.negotiated !== null) this.negotiated.add(connection.negotiated);
    this.#bytesOfGone.read += connection.bytesRead;
    this.#bytesOfGone.written += connection.bytesWritten;
    this.#http2OfGone ??= connection.http2;
    this.#wireOfGone = this.#wireOfGone === null ? connection.wire : combined(this.#wireOfGone, connection.wire, 1);
  }
}

/** `a` and `sign` times `b`, each part for itself. */
export function combined(a: WireBytes, b: WireBytes, sign: 1 | -1): WireBytes {
  const both = (x: number | null, y: number | null): number | null => (x === null || y === null ? null : x + sign * y);
  return {
    data: a.data + sign * b.data,
    framing: a.framing + sign * b.framing,
    head: a.head + sign * b.head,
    request: a.request + sign * b.request,
    windowUpdate: both(a.windowUpdate, b.windowUpdate),
    settings: both(a.settings, b.settings),
    ping: both(a.ping, b.ping),
    other: both(a.other, b.other),
  };
}

/** First in, first out; taking one does not move the others. */
class Queue<T> {
  #items: T[] = [];
  #head = 0;

  get length(): number {
    return this.#items.length - this.#head;
  }

  push(item: T): void {
    this.#items.push(item);
  }

  /** Takes one such item out of the queue; false: it holds none. */
  remove(item: T): boolean {
    const at = this.#items.indexOf(item, this.#head);
    if (at < 0) return false;
    this.#items.splice(at, 1);
    return true;
  }

  shift(): T | undefined {
    if (this.#head === this.#items.length) return undefined;
    const item = this.#items[this.#head++];
    if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }
}
