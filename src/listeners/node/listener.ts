/** The listeners on node's engines: one accepting socket, and for each connection the service of its protocol. */
import { servedProtocols } from "../../core/protocols.ts";
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { Duplex } from "node:stream";
import type { H2Engine, ListenerCounts, ListenOptions, Protocol, ProtocolListener, RequestHandler } from "../../core/seams.ts";
import { NodeH1Service } from "./h1.ts";
import { type Bounds, type Excess, newCounts, refuse } from "../bounds.ts";
import { sniffHttp2 } from "../preface.ts";
import { RawAnswerSink } from "./raw-answer.ts";
import { lingerMs, waitUntil } from "../sink.ts";
import type { NodeWebSocketEngine } from "./websocket.ts";
import type { WebSocketService } from "../websocket/service.ts";

/** SETTINGS, then GOAWAY with ENHANCE_YOUR_CALM: an HTTP/2 client understands both before it has sent anything (RFC 9113, section 6.8). */
const tooMuch = Buffer.from("000000040000000000000008070000000000000000000000000b", "hex");

/**
 * What node:http serves, as clients offer it by ALPN (RFC 7301, section 6). `curl -0` offers HTTP/1.0 alone, and a handshake without
 * a common name fails.
 */
const http1Names = ["http/1.1", "http/1.0"];

/** HTTP/2 on connections that a listener has accepted, by one of the engines. */
export interface Http2Service {
  /** Takes over a connected socket. */
  accept(socket: Duplex): void;
  /** GOAWAY to every session: streams under way may finish, new ones are refused. */
  drain(): void;
  /** Cuts every stream by RST_STREAM. */
  resetAll(): void;
  /** Ends every session at once. */
  destroy(): void;
}

/** Makes the service of a listener, which keeps `counts` but for the connections. `resetConnection` ends one by TCP RST. */
export type Http2ServiceType = new (
  protocol: Protocol,
  handler: RequestHandler,
  bounds: Bounds,
  counts: ListenerCounts,
  resetConnection: (socket: Socket) => void,
) => Http2Service;

/** An engine of HTTP/2 by its name; null where a listener speaks HTTP/1.1 alone. */
export interface Http2Engine {
  readonly name: H2Engine;
  readonly service: Http2ServiceType;
}

/** PEM texts. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
}

export class NodeListener implements ProtocolListener {
  readonly protocol: Protocol;
  readonly engine: H2Engine;
  readonly counts: ListenerCounts;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Connections beyond the bound. No service gets them. */
  readonly #refused = new WeakSet<Socket>();
  /** Why node drops connections by itself, while it does. */
  #dropsFor: Excess = "open-files";
  readonly #h1: NodeH1Service | null;
  readonly #h2: Http2Service | null;

  readonly #webSockets: WebSocketService | null;
  #listening: Promise<number> | null = null;
  #closed: Promise<void> | null = null;

  /**
   * h1s and h2 need `tls`, h2c and h2 need `http2`. The h2 port serves HTTP/1.1 too, on node:http, to clients that do not negotiate
   * HTTP/2 by ALPN. With `webSockets` h1 and h1s speak WebSocket too.
   */
  constructor(
    protocol: Protocol,
    tls: TlsMaterial | null,
    http2: Http2Engine | null,
    handler: RequestHandler,
    bounds: Bounds,
    webSockets: NodeWebSocketEngine | null = null,
    counts: ListenerCounts = newCounts(),
  ) {
    this.protocol = protocol;
    this.engine = http2?.name ?? "node";
    this.counts = counts;
    this.#webSockets = webSockets && webSockets.service;
    const { limits } = bounds;
    const { isEncrypted, isHttp2 } = servedProtocols[protocol];
    const resetConnection = (socket: Socket): void => this.#resetConnection(socket);
    this.#h1 = isHttp2 && !isEncrypted ? null : new NodeH1Service(protocol, handler, bounds, counts, resetConnection, webSockets);
    this.#h2 = http2 === null ? null : new http2.service(protocol, handler, bounds, this.counts, resetConnection);
    const accept = (socket: Socket | TLSSocket): void => {
      if (this.#h1 === null) {
        sniffHttp2(socket, limits.headTimeoutMs, {
          http2: () => this.#h2!.accept(socket),
          http1: () => refuse("wrong-protocol", null, new RawAnswerSink(socket), handler, this.counts),
          other: (reason) => {
            this.counts.bounds[reason]++;
            socket.destroy();
          },
        });
        return;
      }
      const negotiated = "alpnProtocol" in socket && socket.alpnProtocol === "h2";
      (this.#h2 !== null && negotiated ? this.#h2 : this.#h1).accept(socket);
    };
    if (isEncrypted) {
      this.#server = createTlsServer(
        {
          ...tls!,
          noDelay: true,
          handshakeTimeout: limits.headTimeoutMs,
          ALPNProtocols: [...(isHttp2 ? ["h2"] : []), ...http1Names],
        },
        accept,
      );
      this.#server.on("tlsClientError", (error: NodeJS.ErrnoException, socket) => {
        if (error.code === "ERR_TLS_HANDSHAKE_TIMEOUT") this.counts.bounds["head-timeout"]++;
        else if (error.code !== "ECONNRESET") this.counts.bounds.malformed++;
        socket.destroy();
      });
    } else {
      this.#server = createTcpServer({ noDelay: true }, (socket) => {
        if (!this.#refused.delete(socket)) accept(socket);
      });
    }
    // Counted below TLS: a client that never finishes its handshake is counted and closed too.
    this.#server.prependListener("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      this.counts.connections++;
      bounds.connections++;
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        this.counts.connections--;
        bounds.connections--;
      });
      const excess = bounds.excess();
      if (excess !== null) this.#refuse(excess, bounds.canTellRefused, socket, handler);
    });
    this.#server.on("drop", () => this.counts.bounds[this.#dropsFor]++);
  }

  /** By the socket below TLS: a TLS socket cannot send a TCP RST. */
  #resetConnection({ remotePort, remoteAddress }: Socket): void {
    for (const socket of this.#sockets) {
      if (socket.remotePort !== remotePort || socket.remoteAddress !== remoteAddress) continue;
      socket.resetAndDestroy();
      // resetAndDestroy alone waits until all writes have left, and a socket that node:http2 has consumed never tells.
      socket.destroy();
    }
  }

  /**
   * Refuses one connection too many: with an answer where it may stay open for one (`canTell`) and the protocol allows one before
   * a handshake, else by closing it.
   */
  #refuse(reason: Excess, canTell: boolean, socket: Socket, handler: RequestHandler): void {
    const { isEncrypted, isHttp2 } = servedProtocols[this.protocol];
    if (!isEncrypted) this.#refused.add(socket);
    if (canTell && !isEncrypted && !isHttp2) {
      refuse(reason, null, new RawAnswerSink(socket), handler, this.counts);
      return;
    }
    this.counts.bounds[reason]++;
    if (!canTell) {
      this.#dropRest(reason);
      socket.destroy();
    } else if (!isEncrypted) {
      socket.end(tooMuch);
      socket.resume();
      const timer = setTimeout(() => socket.destroy(), lingerMs);
      socket.once("close", () => clearTimeout(timer));
    } else {
      socket.destroy();
    }
  }

  /**
   * Has node close what else it accepts in this turn of the event loop, which may be thousands of connections: without a socket
   * for each, at a tenth of the time.
   */
  #dropRest(reason: Excess): void {
    this.#dropsFor = reason;
    // Below 1: node compares with what is open, and takes 0 for "no bound".
    this.#server.maxConnections = Number.MIN_VALUE;
    setImmediate(() => {
      this.#server.maxConnections = 0;
    });
  }

  listen(options: ListenOptions): Promise<number> {
    return (this.#listening ??= this.#listen(options));
  }

  #listen({ host, port, shared }: ListenOptions): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      // Shared, in a worker of node:cluster: the primary accepts, and deals connections out in turns.
      this.#server.listen({ host, port, exclusive: !shared, backlog: 4096 }, () => {
        this.#server.off("error", reject);
        // A connection that cannot be accepted is no reason to end the others.
        this.#server.on("error", () => this.counts.bounds["open-files"]++);
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  close(graceMs: number): Promise<void> {
    return (this.#closed ??= this.#close(graceMs));
  }

  async #close(graceMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#h1?.close();
    this.#h2?.drain();
    this.#webSockets?.drain();
    await waitUntil(() => this.counts.streams === 0 && (this.#webSockets?.counts.streams ?? 0) === 0, graceMs);
    await this.#webSockets?.close(lingerMs);
    this.#h2?.resetAll();
    await waitUntil(() => this.counts.connections === 0, lingerMs);
    this.#h2?.destroy();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
