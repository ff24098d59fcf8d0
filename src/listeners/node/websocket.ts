/** WebSocket on node's sockets, by the package ws: frames, masks, UTF-8 and the closing handshake are its own. */
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { type ServerOptions, WebSocket, WebSocketServer } from "ws";
import type { AdmittedHandshake, ListenerCounts } from "../../core/seams.ts";
import { closeCodes, type EngineSocket, tooBigReason } from "../websocket/connection.ts";
import type { WebSocketService } from "../websocket/service.ts";

/** The most fragments of one message, and pieces of a frame in memory: each costs more than its bytes. */
const mostFragments = 16_384;
/** Pongs that wait for a peer which pings and does not read. Past them ws ends the connection without a word: our own bound comes first. */
const mostPendingPongs = 2000;
/** How long ws waits for the peer's close frame, milliseconds: longer than the connection itself. */
const closeTimeoutMs = 5000;

/** ws closes by itself where a message is too large, with a code alone: here with a reason too, as every engine. */
class ReasonedSocket extends WebSocket {
  override close(code?: number, reason?: string | Buffer): void {
    super.close(code, reason ?? (code === closeCodes.tooBig ? tooBigReason : undefined));
  }
}

class NodeSocket implements EngineSocket {
  readonly carrier = "node-ws";
  readonly #socket: WebSocket;
  readonly #stream: Duplex;
  readonly #options: { readonly binary: boolean; readonly compress: boolean };
  readonly #reset: (stream: Duplex) => void;

  constructor(socket: WebSocket, stream: Duplex, compress: boolean, reset: (stream: Duplex) => void) {
    this.#socket = socket;
    this.#stream = stream;
    this.#options = { binary: false, compress };
    this.#reset = reset;
  }

  /** Copied: node keeps the bytes until the socket has taken them. */
  send(message: Uint8Array): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return true;
    this.#socket.send(Buffer.from(message), this.#options);
    return this.#socket.bufferedAmount === 0;
  }

  /** Uncompressed: what a fault cuts stays as it was cut. */
  sendFragments(parts: readonly Uint8Array[]): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    for (const [index, part] of parts.entries())
      this.#socket.send(Buffer.from(part), { binary: false, compress: false, fin: index === parts.length - 1 });
  }

  bufferedBytes(): number {
    return this.#socket.bufferedAmount;
  }

  cork(action: () => void): void {
    this.#stream.cork();
    action();
    this.#stream.uncork();
  }

  close(code: number, reason: string): void {
    this.#socket.close(code, reason);
  }

  terminate(): void {
    this.#socket.terminate();
  }

  reset(): void {
    this.#reset(this.#stream);
  }

  ping(): void {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.ping();
  }
}

/** What ws reports of a message that is larger than it may be. */
const tooBig = new Set(["WS_ERR_UNSUPPORTED_MESSAGE_LENGTH", "WS_ERR_UNSUPPORTED_DATA_PAYLOAD_LENGTH"]);

/** WebSocket on node's sockets, for a listener: loaded only where it is asked for. */
export interface NodeWebSocketEngine {
  readonly service: WebSocketService;
  readonly sockets: typeof NodeWebSockets;
}

export class NodeWebSockets {
  readonly service: WebSocketService;
  readonly #server: WebSocketServer;
  readonly #reset: (stream: Duplex) => void;
  readonly #httpCounts: ListenerCounts;
  /** What the answers to handshakes say. */
  readonly #headers = new WeakMap<IncomingMessage, AdmittedHandshake["headers"]>();

  /** `httpCounts` count each connection until it ends, and as no WebSocket. `resetConnection` ends a connection by TCP RST. */
  constructor(service: WebSocketService, httpCounts: ListenerCounts, resetConnection: (socket: Socket) => void) {
    this.service = service;
    this.#httpCounts = httpCounts;
    this.#reset = (stream) => resetConnection(stream as Socket);
    const options: ServerOptions<typeof ReasonedSocket> & { readonly closeTimeout: number; readonly maxPendingAutoPongs: number } = {
      maxPendingAutoPongs: mostPendingPongs,
      closeTimeout: closeTimeoutMs,
      noServer: true,
      WebSocket: ReasonedSocket,
      clientTracking: false,
      perMessageDeflate: service.settings.deflates,
      maxPayload: service.bounds.limits.maxBodyBytes,
      maxFragments: mostFragments,
      maxBufferedChunks: mostFragments,
      // No subprotocol: the first that a client offers is what ws takes by default.
      handleProtocols: () => false,
    };
    this.#server = new WebSocketServer(options);
    this.#server.on("headers", (lines, message) => {
      for (const [name, value] of Object.entries(this.#headers.get(message) ?? {})) lines.push(`${name}: ${value}`);
    });
  }

  /** Finishes a handshake that was admitted. */
  accept(message: IncomingMessage, stream: Duplex, head: Buffer, { headers, open }: AdmittedHandshake): void {
    this.#headers.set(message, headers);
    this.#server.handleUpgrade(message, stream, head, (socket) => {
      const { service } = this;
      this.#httpCounts.connections--;
      stream.once("close", () => this.#httpCounts.connections++);
      const connection = service.add(new NodeSocket(socket, stream, service.settings.deflates, this.#reset));
      connection.open(open(connection));
      socket.on("message", (data: Buffer, isBinary) => connection.onMessage(data, isBinary, true));
      socket.on("ping", () => connection.onControl());
      socket.on("pong", () => connection.onControl());
      socket.on("close", () => connection.onEnd());
      // ws closes with the code of the error, or the connection has ended.
      socket.on("error", (error: NodeJS.ErrnoException) => {
        const { code = "" } = error;
        if (tooBig.has(code)) service.counts.bounds["body-too-large"]++;
        // What zlib cannot inflate has a code of zlib's.
        else if (/^(?:WS_ERR|Z)_/.test(code)) service.counts.bounds.malformed++;
        connection.onFailed();
      });
      // In the next turn, as for answers: a reader that keeps up must not hold up everybody else.
      stream.on("drain", () => setImmediate(() => connection.onDrain()));
      if (service.isDraining) connection.drain();
    });
  }
}
