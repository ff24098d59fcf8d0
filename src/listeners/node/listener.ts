/** The listeners on node's engines: one accepting socket, and for each connection the service of its protocol. */
import { servedProtocols } from "../../core/protocols.ts";
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { ListenerCounts, ListenOptions, Protocol, ProtocolListener, RequestHandler } from "../../core/seams.ts";
import { NodeH1Service } from "./h1.ts";
import { NodeH2Service } from "../h2/service.ts";
import { type Bounds, newCounts, refuse } from "../bounds.ts";
import { sniffHttp2 } from "../preface.ts";
import { RawAnswerSink } from "./raw-answer.ts";
import { lingerMs, waitUntil } from "../sink.ts";

/** SETTINGS, then GOAWAY with ENHANCE_YOUR_CALM: an HTTP/2 client understands both before it has sent anything (RFC 9113, section 6.8). */
const tooMuch = Buffer.from("000000040000000000000008070000000000000000000000000b", "hex");

/** PEM texts. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
}

export class NodeListener implements ProtocolListener {
  readonly protocol: Protocol;
  readonly engine = "node";
  readonly counts: ListenerCounts = newCounts();
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Connections beyond the bound. No service gets them. */
  readonly #refused = new WeakSet<Socket>();
  readonly #h1: NodeH1Service | null;
  readonly #h2: NodeH2Service | null;

  /** h1s and h2 need `tls`. The h2 port serves HTTP/1.1 too, to clients that do not negotiate HTTP/2 by ALPN. */
  constructor(protocol: Protocol, tls: TlsMaterial | null, handler: RequestHandler, bounds: Bounds) {
    this.protocol = protocol;
    const { limits } = bounds;
    const { isEncrypted, isHttp2 } = servedProtocols[protocol];
    const resetConnection = (socket: Socket): void => this.#resetConnection(socket);
    this.#h1 = isHttp2 && !isEncrypted ? null : new NodeH1Service(protocol, handler, bounds, this.counts, resetConnection);
    this.#h2 = isHttp2 ? new NodeH2Service(protocol, handler, bounds, this.counts, resetConnection) : null;
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
          ALPNProtocols: isHttp2 ? ["h2", "http/1.1"] : ["http/1.1"],
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
      if (bounds.connectionsFull) this.#refuse(socket, handler);
    });
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

  /** Refuses one connection too many: with an answer where the protocol allows one before a handshake, else by closing it. */
  #refuse(socket: Socket, handler: RequestHandler): void {
    const { isEncrypted, isHttp2 } = servedProtocols[this.protocol];
    if (!isEncrypted && !isHttp2) {
      this.#refused.add(socket);
      refuse("too-many-connections", null, new RawAnswerSink(socket), handler, this.counts);
      return;
    }
    this.counts.bounds["too-many-connections"]++;
    if (!isEncrypted) {
      this.#refused.add(socket);
      socket.end(tooMuch);
      socket.resume();
      const timer = setTimeout(() => socket.destroy(), lingerMs);
      socket.once("close", () => clearTimeout(timer));
    } else {
      socket.destroy();
    }
  }

  listen({ host, port, shared }: ListenOptions): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      // Shared, in a worker of node:cluster: the primary accepts, and deals connections out in turns.
      this.#server.listen({ host, port, exclusive: !shared, backlog: 4096 }, () => {
        this.#server.off("error", reject);
        resolve((this.#server.address() as AddressInfo).port);
      });
    });
  }

  async close(graceMs: number): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#h1?.close();
    this.#h2?.drain();
    await waitUntil(() => this.counts.streams === 0, graceMs);
    this.#h2?.resetAll();
    await waitUntil(() => this.counts.connections === 0, lingerMs);
    this.#h2?.destroy();
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
