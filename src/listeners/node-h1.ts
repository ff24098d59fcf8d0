/** HTTP/1.1 on node:http. It listens by itself (h1, h1s), or is handed connections by the ALPN listener. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Protocol, RequestHandler, WireFault } from "../core/seams.ts";
import { NodeRequest, receiveBody } from "./node-request.ts";
import { BaseSink, type ListenerLimits } from "./sink.ts";

class NodeH1Sink extends BaseSink {
  readonly carrier = "node-h1";
  readonly #response: ServerResponse;
  readonly #service: NodeH1Service;
  #headSent = false;
  #drainAttached = false;

  constructor(service: NodeH1Service, response: ServerResponse) {
    super();
    this.#service = service;
    this.#response = response;
    service.onStreams(1);
    response.on("error", () => {});
    response.on("close", () => {
      service.onStreams(-1);
      this.aborted();
    });
  }

  get bufferedBytes(): number {
    return this.#response.writableLength;
  }

  write(frame: Uint8Array): boolean {
    if (this.closed) return false;
    this.#sendHead();
    // node keeps the chunk until the socket took it; the frame is only ours during this call.
    const ok = this.#response.write(Buffer.from(frame));
    if (!ok && !this.#drainAttached) {
      this.#drainAttached = true;
      this.#response.on("drain", () => this.observer?.onDrain());
    }
    return ok;
  }

  end(frame?: Uint8Array): void {
    if (this.closed) return;
    if (!this.head!.streamed)
      this.#response.setHeader("content-length", Math.max(0, (frame?.length ?? 0) + (this.head!.contentLengthBy ?? 0)));
    this.#sendHead();
    this.closed = true;
    this.observer = null;
    if (frame === undefined) this.#response.end();
    else this.#response.end(Buffer.from(frame));
    // A reader that never takes the rest is cut; node itself sets the socket's time-out anew after each response.
    const { socket } = this.#response;
    if (socket && socket.writableLength > 0) socket.setTimeout(this.#service.limits.stallTimeoutMs);
  }

  reset(): void {
    if (this.closed) return;
    this.closed = true;
    this.observer = null;
    this.#response.destroy();
  }

  inject(fault: WireFault): void {
    if (this.closed || fault.kind !== "reset") return;
    this.closed = true;
    this.observer = null;
    if (this.#response.socket !== null) this.#service.resetConnection(this.#response.socket);
  }

  #sendHead(): void {
    if (this.#headSent) return;
    this.#headSent = true;
    if (this.#service.closing) this.#response.setHeader("connection", "close");
    this.#response.writeHead(this.head!.status, this.head!.headers);
  }
}

/** Serves HTTP/1.1 on connections that somebody else accepted. */
export class NodeH1Service {
  readonly limits: ListenerLimits;
  readonly onStreams: (change: number) => void;
  /** Ends a connection by TCP RST. */
  readonly resetConnection: (socket: Socket) => void;
  closing = false;
  readonly #server: Server;

  /** `onStreams` is told of each request that begins (1) and ends (-1). */
  constructor(
    protocol: Protocol,
    handler: RequestHandler,
    limits: ListenerLimits,
    onStreams: (change: number) => void,
    resetConnection: (socket: Socket) => void,
  ) {
    this.limits = limits;
    this.resetConnection = resetConnection;
    this.onStreams = onStreams;
    // Timeouts near uWebSockets.js's, so that the engines differ in speed and not in manners.
    this.#server = createServer({ keepAliveTimeout: 10_000, headersTimeout: 10_000, noDelay: true }, (message, response) =>
      this.#receive(protocol, message, response, handler),
    );
    // node starts the checks behind headersTimeout when a server listens; this one never does.
    this.#server.emit("listening");
  }

  /** Takes over a connected socket. */
  accept(socket: Duplex): void {
    this.#server.emit("connection", socket);
  }

  /** Ends idle connections at once, others with their response. */
  close(): void {
    this.closing = true;
    this.#server.close();
    this.#server.closeIdleConnections();
  }

  #receive(protocol: Protocol, message: IncomingMessage, response: ServerResponse, handler: RequestHandler): void {
    const request = new NodeRequest(protocol, message.method!, message.url!, message.headers);
    message.on("error", () => {});
    receiveBody(message, this.limits.maxBodyBytes, request, new NodeH1Sink(this, response), handler, () => message.destroy());
  }
}
