/** The listeners on node's engines: one accepting socket, and for each connection the service that its protocol asks for. */
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import type { ListenerCounts, ListenOptions, Protocol, ProtocolListener, RequestHandler } from "../core/seams.ts";
import { NodeH1Service } from "./node-h1.ts";
import { NodeH2Service } from "./node-h2.ts";
import { lingerMs, type ListenerLimits, waitUntil } from "./sink.ts";

/** PEM texts. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
}

export class NodeListener implements ProtocolListener {
  readonly protocol: Protocol;
  readonly engine = "node";
  readonly counts: ListenerCounts = { connections: 0, sessions: 0, streams: 0, sessionsReaped: 0 };
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #h1: NodeH1Service | null;
  readonly #h2: NodeH2Service | null;

  /** h1s and h2 need `tls`; the h2 port serves HTTP/1.1 too, to a client that offers nothing else by ALPN. */
  constructor(protocol: Protocol, tls: TlsMaterial | null, handler: RequestHandler, limits: ListenerLimits) {
    this.protocol = protocol;
    const onStreams = (change: number): void => {
      this.counts.streams += change;
    };
    const resetConnection = (socket: Socket): void => this.#resetConnection(socket);
    this.#h1 = protocol === "h2c" ? null : new NodeH1Service(protocol, handler, limits, onStreams, resetConnection);
    this.#h2 = protocol === "h2c" || protocol === "h2" ? new NodeH2Service(protocol, handler, limits, this.counts, resetConnection) : null;
    const accept = (socket: Socket | TLSSocket): void => {
      const negotiated = "alpnProtocol" in socket && socket.alpnProtocol === "h2";
      (this.#h2 !== null && (negotiated || this.#h1 === null) ? this.#h2 : this.#h1!).accept(socket);
    };
    if (protocol === "h1s" || protocol === "h2") {
      this.#server = createTlsServer(
        { ...tls!, noDelay: true, handshakeTimeout: 10_000, ALPNProtocols: protocol === "h2" ? ["h2", "http/1.1"] : ["http/1.1"] },
        accept,
      );
      this.#server.on("tlsClientError", (_error, socket) => socket.destroy());
    } else {
      this.#server = createTcpServer({ noDelay: true }, accept);
    }
    // Counted below TLS, so that a client that never finishes its handshake is counted and closed too.
    this.#server.prependListener("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      this.counts.connections++;
      socket.on("error", () => {});
      socket.on("close", () => {
        this.#sockets.delete(socket);
        this.counts.connections--;
      });
    });
  }

  /** TLS cannot send a TCP RST: the socket below it does. */
  #resetConnection({ remotePort, remoteAddress }: Socket): void {
    for (const socket of this.#sockets) {
      if (socket.remotePort === remotePort && socket.remoteAddress === remoteAddress) socket.resetAndDestroy();
    }
  }

  listen({ host, port }: ListenOptions): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen({ host, port, exclusive: true, backlog: 4096 }, () => {
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
