/** HTTP/3 on QUIC: the listener. The engine has a thread for each processor, and all of them share the port. */
import { createSocket } from "node:dgram";
import { isIPv6 } from "node:net";
import { isLoopback } from "../../base/host.ts";
import type { QuicEngine, QuicServer } from "../../base/quic.ts";
import type { ListenerCounts, ListenOptions, ProtocolListener, RequestHandler } from "../../core/seams.ts";
import { type Bounds, newCounts } from "../bounds.ts";
import { lingerMs, waitUntil } from "../sink.ts";
import { H3Service } from "./service.ts";

/** Beyond our own time-out of an idle connection, which ends it with a word. */
const quicIdleMarginMs = 5000;
/** The engine's threads share `maxConnections` evenly, and connections come to them by chance. */
const spareConnections = 4;

export interface H3Options {
  /** PEM texts. */
  readonly cert: string;
  readonly key: string;
  /** A client proves its address before anything is kept of it, for a round trip more; beyond loopback it does so in any case. */
  readonly retry: boolean;
}

export class H3Listener implements ProtocolListener {
  readonly protocol = "h3";
  readonly engine = "quiche";
  readonly counts: ListenerCounts = newCounts();
  readonly #quic: QuicEngine;
  readonly #options: H3Options;
  readonly #bounds: Bounds;
  readonly #service: H3Service;
  #server: QuicServer | null = null;

  constructor(quic: QuicEngine, options: H3Options, handler: RequestHandler, bounds: Bounds) {
    this.#quic = quic;
    this.#options = options;
    this.#bounds = bounds;
    this.#service = new H3Service(handler, bounds, this.counts);
  }

  async listen({ host, port }: ListenOptions): Promise<number> {
    // The engine's threads bind with SO_REUSEPORT: it would share the port with another program without a word.
    await probe(host, port);
    const { limits } = this.#bounds;
    const service = this.#service;
    const server: QuicServer = new this.#quic.NativeQuicServer(
      {
        key: Buffer.from(this.#options.key),
        cert: Buffer.from(this.#options.cert),
        alpn: ["h3"],
        runtimeMode: "portable",
        maxIdleTimeoutMs: Math.max(limits.h2IdleTimeoutMs, limits.stallTimeoutMs) + quicIdleMarginMs,
        initialMaxStreamsBidi: limits.maxConcurrentStreams,
        maxConnections: limits.maxConnections * spareConnections,
        // A client that forges another's address could have us flood it: the engine does not count the zeros that it fills its first
        // datagrams with, and sends more than three times what it got (RFC 9000, section 8.1). Those of loopback come from here.
        disableRetry: !this.#options.retry && isLoopback(host),
      },
      (_error, events) => {
        try {
          service.take(events);
        } finally {
          server.ackEventBatch(events.length);
        }
      },
    );
    service.engine = server;
    const bound = server.listen(port, host);
    this.#server = server;
    return bound.port;
  }

  async close(graceMs: number): Promise<void> {
    const server = this.#server;
    const service = this.#service;
    service.drain();
    await waitUntil(() => this.counts.streams === 0, graceMs);
    service.resetAll();
    if (server === null) return service.destroy();
    // Last bytes and resets leave before the connections are closed.
    await waitUntil(() => this.counts.connections === 0, lingerMs / 2);
    service.destroy();
    this.#server = null;
    await waitUntil(() => false, lingerMs / 2);
    server.requestShutdown();
    await waitUntil(() => service.shutdowns > 0, lingerMs);
    server.joinWorker();
  }
}

/** Rejects with the system's error where the port is taken. */
function probe(host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(isIPv6(host) ? "udp6" : "udp4");
    socket.once("error", reject);
    socket.bind({ address: host, port, exclusive: true }, () => socket.close(() => resolve()));
  });
}
