/** HTTP/1.1 on node:http, on connections that a listener has accepted: all of h1 and h1s, and those of h2 that speak HTTP/1.1. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import { monotonicUs } from "../../base/clock.ts";
import type { AdmittedHandshake, ListenerCounts, Protocol, Refusal, RequestHandler, WireFault } from "../../core/seams.ts";
import { BodyDeadlines, type Bounds, type ListenerLimits, refuse, sweepMs, type Waiting } from "../bounds.ts";
import { type BodyOwner, type BodyReading, NodeRequest, receiveBody } from "./request.ts";
import { RawAnswerSink } from "./raw-answer.ts";
import { BaseSink, lingerMs } from "../sink.ts";
import { hasToken } from "../upgrade.ts";
import type { NodeWebSocketEngine, NodeWebSockets } from "./websocket.ts";

/** Room for the size line of a chunk and the line ends around it. */
const chunkExtraBytes = 16;
/**
 * A frame below this goes to the socket itself where nothing waits: node:http has nothing left to add. It is below the mark of every socket,
 * as only what node:http has written makes it tell that there is room again.
 */
const directBytes = 8192;
const carriageReturn = 13;
const lineFeed = 10;
const lastChunk = Buffer.from("0\r\n\r\n");

/** Hot path. A frame as a chunk (RFC 9112, section 7.1), and behind it, where it is the last, the end of the body. */
function chunkOf(frame: Uint8Array, isLast: boolean): Buffer {
  const { length } = frame;
  const chunk = Buffer.allocUnsafe(length + chunkExtraBytes + (isLast ? lastChunk.length : 0));
  let at = chunk.write(length.toString(16), 0, "latin1");
  chunk[at++] = carriageReturn;
  chunk[at++] = lineFeed;
  chunk.set(frame, at);
  at += length;
  chunk[at++] = carriageReturn;
  chunk[at++] = lineFeed;
  if (isLast) {
    chunk.set(lastChunk, at);
    at += lastChunk.length;
  }
  return chunk.subarray(0, at);
}

class NodeH1Sink extends BaseSink implements Waiting, BodyOwner {
  readonly carrier = "node-h1";
  readonly #response: ServerResponse;
  readonly #service: NodeH1Service;
  #headSent = false;
  /** Chunks are made here: node writes each in four parts, which it then joins again. */
  #makesChunks = false;
  #drainAttached = false;
  #waiting = false;
  /** No longer among the streams that are counted. */
  #left = false;
  /** Closes the connection with the answer: bytes that follow on it may not be a request. */
  lastOnConnection = false;
  /** The client still sends: closing at once would reset the connection, and the answer would be lost. */
  lingers = false;

  constructor(service: NodeH1Service, response: ServerResponse) {
    super();
    this.#service = service;
    this.#response = response;
    service.counts.streams++;
    response.on("error", () => {});
    response.on("close", this.#leave);
    // An answer that waits for those before it on its connection hears nothing when that ends.
    if (response.socket === null) response.req.socket.once("close", this.#leave);
  }

  get connection(): object {
    return this.#response.req.socket;
  }

  readonly #leave = (): void => {
    if (this.#left) return;
    this.#left = true;
    this.#response.req.socket.off("close", this.#leave);
    this.#service.counts.streams--;
    this.#caughtUp();
    this.aborted();
  };

  get bufferedBytes(): number {
    return this.#response.writableLength;
  }

  endConnection(): void {
    this.lastOnConnection = true;
    this.lingers = true;
  }

  abandonBody(): void {
    this.#response.req.destroy();
  }

  write(frame: Uint8Array): boolean {
    if (this.closed) return false;
    this.#sendHead();
    const response = this.#response;
    const { socket } = response;
    if (this.#makesChunks && frame.length > 0 && frame.length < directBytes && socket !== null && !socket.destroyed) {
      if (response.writableLength === 0) return socket.write(chunkOf(frame, false));
    }
    // By itself node sends what was written when the turn is over (`connectionCorkNT`), after all other responses of the turn.
    socket?.cork();
    // Copied: node keeps the chunk until the socket has taken it, and the frame is valid during this call only.
    const ok = response.write(this.#makesChunks && frame.length > 0 ? chunkOf(frame, false) : Buffer.from(frame));
    socket?.uncork();
    // From the second frame on: node has settled by now whether the answer has chunks.
    if (response.chunkedEncoding) {
      this.#makesChunks = true;
      response.chunkedEncoding = false;
    }
    return ok || this.#wait();
  }

  /** Called when node's buffer is past its mark. Returns true while it holds no more than `maxStreamBufferedBytes`. */
  #wait(): boolean {
    const bytes = this.#response.writableLength;
    this.waitingBytes = bytes;
    this.#waiting = true;
    this.#service.bounds.setWaiting(this, bytes, this.#service.counts);
    if (!this.#drainAttached) {
      this.#drainAttached = true;
      this.#response.on("drain", () => {
        this.#caughtUp();
        // Not at once: a write that the kernel takes whole is followed by the next drain in the same turn of the event loop, so
        // that a reader that keeps up would hold up everybody else until the answer has ended.
        setImmediate(() => this.observer?.onDrain());
      });
    }
    return bytes <= this.#service.limits.maxStreamBufferedBytes;
  }

  #caughtUp(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#service.bounds.setWaiting(this, 0, this.#service.counts);
  }

  shed(): void {
    this.aborted();
    this.closed = true;
    this.#response.destroy();
  }

  end(frame?: Uint8Array): void {
    if (this.closed) return;
    if (!this.head!.streamed)
      this.#response.setHeader("content-length", Math.max(0, (frame?.length ?? 0) + (this.head!.contentLengthBy ?? 0)));
    this.#sendHead();
    this.closed = true;
    this.observer = null;
    const { socket } = this.#response;
    if (this.lingers && frame !== undefined) {
      // The client knows the end by the length; the connection ends later.
      this.#response.write(this.#makesChunks ? chunkOf(frame, false) : Buffer.from(frame));
      setTimeout(() => this.#response.end(this.#makesChunks ? lastChunk : undefined), lingerMs);
    } else if (this.#makesChunks) this.#response.end(frame === undefined || frame.length === 0 ? lastChunk : chunkOf(frame, true));
    else if (frame === undefined) this.#response.end();
    else this.#response.end(Buffer.from(frame));
    // Cuts a reader that never takes the rest. node sets the socket's time-out again after each response.
    if (socket && socket.writableLength > 0) {
      this.#waiting = true;
      this.#service.bounds.setWaiting(this, socket.writableLength, this.#service.counts);
      socket.setTimeout(this.#service.limits.stallTimeoutMs);
    }
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
    if (this.#service.closing || this.lastOnConnection) this.#response.setHeader("connection", "close");
    this.#response.writeHead(this.head!.status, this.head!.headers);
  }

  /** Whether part of a response has left on this connection: nothing else may be written there. */
  isUnderWayOn(socket: Duplex): boolean {
    return this.#headSent && this.#response.socket === socket;
  }
}

export class NodeH1Service {
  readonly limits: ListenerLimits;
  readonly bounds: Bounds;
  readonly counts: ListenerCounts;
  /** Ends a connection by TCP RST. */
  readonly resetConnection: (socket: Socket) => void;
  closing = false;
  readonly #server: Server;
  readonly #handler: RequestHandler;
  readonly #reading: BodyReading;
  readonly #sinks = new Set<NodeH1Sink>();
  readonly #protocol: Protocol;
  readonly #webSockets: NodeWebSockets | null;

  /** Keeps `counts.streams`. With `webSockets` it speaks WebSocket too. */
  constructor(
    protocol: Protocol,
    handler: RequestHandler,
    bounds: Bounds,
    counts: ListenerCounts,
    resetConnection: (socket: Socket) => void,
    webSockets: NodeWebSocketEngine | null = null,
  ) {
    this.#protocol = protocol;
    this.#webSockets = webSockets && new webSockets.sockets(webSockets.service, counts, resetConnection);
    this.resetConnection = resetConnection;
    const { limits } = bounds;
    this.limits = limits;
    this.bounds = bounds;
    this.counts = counts;
    this.#handler = handler;
    this.#reading = { limits, counts, handler, deadlines: new BodyDeadlines(limits.bodyTimeoutMs) };
    this.#server = createServer(
      {
        keepAliveTimeout: limits.h1IdleTimeoutMs,
        headersTimeout: limits.headTimeoutMs,
        // Off: a body has its own deadline, with an answer of ours.
        requestTimeout: 0,
        connectionsCheckingInterval: sweepMs(limits.headTimeoutMs),
        maxHeaderSize: limits.maxHeadBytes,
        // Off: `refusalOf` does it, with an answer of ours.
        requireHostHeader: false,
        noDelay: true,
      },
      (message, response) => this.#receive(protocol, message, response),
    );
    this.#server.on("clientError", (error: NodeJS.ErrnoException, socket) => this.#giveUp(error, socket));
    this.#server.on("timeout", (socket) => {
      counts.bounds[socket.writableLength > 0 ? "never-read" : "idle-timeout"]++;
      socket.destroy();
    });
    // Without this listener node closes without an answer.
    this.#server.on("connect", (_message, socket: Duplex) => this.#answer("malformed", socket));
    // With this listener node hands over every request with an Upgrade header.
    if (this.#webSockets !== null) {
      const webSockets = this.#webSockets;
      this.#server.on("upgrade", (message, socket: Duplex, head: Buffer) => this.#upgrade(webSockets, message, socket, head));
    }
    // node starts the checks behind headersTimeout when a server listens, and this one never does.
    this.#server.emit("listening");
  }

  /** Takes over a connected socket. */
  accept(socket: Duplex): void {
    // Each answer that waits for others before it has a listener.
    socket.setMaxListeners(0);
    this.#server.emit("connection", socket);
    // node stops reading while answers that wait hold much. Its parser, where it reads from the handle itself, gets the TLS records
    // all the same that came with the last one, and fails with HPE_PAUSED; a listener makes node read by the stream, which keeps them.
    if (socket instanceof TLSSocket) socket.on("data", () => {});
  }

  /** Ends idle connections at once, the others with their response. */
  close(): void {
    this.closing = true;
    this.#reading.deadlines.close();
    this.#server.close();
    this.#server.closeIdleConnections();
  }

  /** Refuses below the engine, and closes. */
  #answer(reason: Refusal, socket: Duplex): void {
    refuse(reason, null, new RawAnswerSink(socket), this.#handler, this.counts);
  }

  /** node's parser has given up on a connection. */
  #giveUp({ code }: NodeJS.ErrnoException, socket: Duplex): void {
    const reasons: Record<string, Refusal> = {
      HPE_HEADER_OVERFLOW: "head-too-large",
      HPE_CHUNK_EXTENSIONS_OVERFLOW: "body-too-large",
      ERR_HTTP_REQUEST_TIMEOUT: "head-timeout",
      HPE_UNEXPECTED_CONTENT_LENGTH: "ambiguous",
      HPE_INVALID_TRANSFER_ENCODING: "ambiguous",
    };
    const underWay = [...this.#sinks].some((sink) => sink.isUnderWayOn(socket));
    // A peer that is gone gets no answer, and its error is no error of the protocol: it is not counted.
    const gone = code === "ECONNRESET" || code === "EPIPE" || !socket.writable;
    const reason = reasons[code ?? ""] ?? "malformed";
    if (gone) socket.destroy();
    else if (underWay) {
      this.counts.bounds[reason]++;
      socket.destroy();
    } else this.#answer(reason, socket);
  }

  /** A request with an Upgrade header, whose connection node has let go. */
  #upgrade(webSockets: NodeWebSockets, message: IncomingMessage, socket: Duplex, head: Buffer): void {
    // An answer of the same connection is still on its way: nothing may come before it.
    if ([...this.#sinks].some((sink) => sink.connection === socket)) {
      this.counts.bounds.malformed++;
      socket.destroy();
      return;
    }
    const protocol = this.#protocol === "h1" ? "ws" : "wss";
    const request = requestOf(protocol, message);
    const { upgrade } = request;
    if (message.method !== "GET" || upgrade === undefined || !hasToken(upgrade, "websocket")) {
      this.#readAgain(message, socket, head);
      return;
    }
    socket.on("error", () => {});
    const sink = new RawAnswerSink(socket);
    const refusal = refusalOf(message);
    if (refusal !== null) {
      refuse(refusal, request, sink, this.#handler, this.counts);
      return;
    }
    request.receivedUs = monotonicUs();
    const asked = this.#handler.upgrade?.(request, sink) ?? null;
    const accept = (admitted: AdmittedHandshake | null): void => {
      if (admitted !== null && !socket.destroyed) webSockets.accept(message, socket, head, admitted);
    };
    if (asked instanceof Promise) void asked.then(accept);
    else accept(asked);
  }

  /** Has node read a request anew, without the Upgrade header that means nothing here (RFC 9110, section 7.8). */
  #readAgain(message: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { rawHeaders } = message;
    const lines = [`${message.method!} ${message.url!} HTTP/${message.httpVersion}`];
    for (let at = 0; at < rawHeaders.length; at += 2)
      if (rawHeaders[at]!.toLowerCase() !== "upgrade") lines.push(`${rawHeaders[at]!}: ${rawHeaders[at + 1]!}`);
    socket.unshift(Buffer.concat([Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1"), head]));
    this.#server.emit("connection", socket);
  }

  #receive(protocol: Protocol, message: IncomingMessage, response: ServerResponse): void {
    const request = requestOf(protocol, message);
    message.on("error", () => {});
    const sink = new NodeH1Sink(this, response);
    this.#sinks.add(sink);
    response.on("close", () => this.#sinks.delete(sink));
    const refusal = refusalOf(message);
    if (refusal !== null) {
      sink.lastOnConnection = true;
      message.resume();
      refuse(refusal, request, sink, this.#handler, this.counts);
      return;
    }
    const reader = receiveBody(message, this.#reading, request, sink);
    message.on("close", () => reader.close());
  }
}

function requestOf(protocol: Protocol, { method, url, headers, rawHeaders, httpVersionMinor }: IncomingMessage): NodeRequest {
  return new NodeRequest(protocol, method!, url!, headers, rawHeaders, httpVersionMinor > 0);
}

/** Why a request is refused that node's parser accepts: it keeps the first of several Host lines, and any Transfer-Encoding. */
function refusalOf({ rawHeaders, headers, httpVersion }: IncomingMessage): Refusal | null {
  let hosts = 0;
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at]!;
    if (name.length === 4 && name.toLowerCase() === "host") hosts++;
  }
  const encoding = headers["transfer-encoding"];
  if (hosts > 1 || (encoding !== undefined && encoding.toLowerCase() !== "chunked")) return "ambiguous";
  return hosts === 0 && httpVersion === "1.1" ? "malformed" : null;
}
