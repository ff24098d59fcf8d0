/** WebSocket on uWebSockets.js, on the port of its HTTP listener. */
import type { HttpRequest, HttpResponse, TemplatedApp, us_socket_context_t, WebSocket } from "uWebSockets.js";
import type { AdmittedHandshake, Bound } from "../../core/seams.ts";
import { hasToken } from "../upgrade.ts";
import type { EngineSocket, SocketConnection } from "../websocket/connection.ts";
import type { WebSocketService } from "../websocket/service.ts";
import type { UwsModule } from "./module.ts";
import type { UwsRequest } from "./request.ts";
import type { UwsSink } from "./sink.ts";

/** What one socket carries: filled in when it opens. */
interface Carried {
  readonly open: AdmittedHandshake["open"];
  engine: UwsSocket;
  connection: SocketConnection;
}

/** Calls of the binary that the types of uws-pack leave out. 1: taken; 0: some of it waits; 2: dropped. */
interface Fragments {
  sendFirstFragment(message: Uint8Array, isBinary?: boolean, compress?: boolean): number;
  sendFragment(message: Uint8Array, compress?: boolean): number;
  sendLastFragment(message: Uint8Array, compress?: boolean): number;
}

class UwsSocket implements EngineSocket {
  readonly carrier = "uws-ws";
  readonly #socket: WebSocket<Carried>;
  readonly #compresses: boolean;
  /** The engine forbids every call on a socket that has ended. */
  hasEnded = false;

  constructor(socket: WebSocket<Carried>, compresses: boolean) {
    this.#socket = socket;
    this.#compresses = compresses;
  }

  /** Hot path. 1: taken whole; 0: some of it waits; 2: dropped, which a `maxBackpressure` of 0 never does. */
  send(message: Uint8Array): boolean {
    if (this.hasEnded) return true;
    const status = this.#socket.send(message, false, this.#compresses);
    if (status === 2) this.terminate();
    return status === 1;
  }

  /** Uncompressed: what a fault cuts stays as it was cut. */
  sendFragments(parts: readonly Uint8Array[]): void {
    const socket = this.#socket as WebSocket<Carried> & Fragments;
    for (const [index, part] of parts.entries()) {
      if (this.hasEnded) return;
      const status =
        index === 0 ? socket.sendFirstFragment(part) : index < parts.length - 1 ? socket.sendFragment(part) : socket.sendLastFragment(part);
      if (status === 2) this.terminate();
    }
  }

  bufferedBytes(): number {
    return this.hasEnded ? 0 : this.#socket.getBufferedAmount();
  }

  cork(action: () => void): void {
    if (!this.hasEnded) this.#socket.cork(action);
  }

  close(code: number, reason: string): void {
    if (!this.hasEnded) this.#socket.end(code, reason);
  }

  terminate(): void {
    if (!this.hasEnded) this.#socket.close();
  }

  reset(): void {
    this.terminate();
  }

  ping(): void {
    if (!this.hasEnded) this.#socket.ping();
  }
}

/** What a handshake needs of its listener. */
export interface Handshakes {
  readonly uws: UwsModule;
  readonly service: WebSocketService;
  /** Copies a request, and makes the sink of a refusal. null: it has its answer, or gets it elsewhere. */
  readonly begin: (response: HttpResponse, request: HttpRequest) => { readonly copy: UwsRequest; readonly sink: UwsSink } | null;
  /** A connection of the HTTP listener has become a WebSocket: the engine does not tell the listener of its end. */
  readonly moved: () => void;
  /** Asks whether it may open. */
  readonly ask: (copy: UwsRequest, sink: UwsSink) => AdmittedHandshake | null | Promise<AdmittedHandshake | null>;
}

/**
 * A message that the engine takes, in multiples of the largest that the server accepts. It closes at the head of a frame that
 * announces more, without a close frame; up to there the client is told (1009).
 */
const takenMessages = 2;

/** The engine ends a connection of which nothing came for this long, seconds, and pings before. The watchdog is sooner. */
const idleTimeoutSeconds = 180;

/** The code of a connection that ended without a close frame (RFC 6455, section 7.4.1). */
const abnormal = 1006;
/**
 * Why the engine ended a connection by itself, in its words (WebSocketProtocol.h). By then the socket is closed: no close frame with the code
 * that RFC 6455, section 7.1.7, asks for can be sent.
 */
const engineReasons: Readonly<Record<string, Bound>> = {
  "Received invalid WebSocket frame": "malformed",
  "Received invalid UTF-8": "malformed",
  "Received invalid close payload": "malformed",
  "Received too big message": "body-too-large",
  "Received too big message, or other inflation error": "body-too-large",
  "WebSocket timed out from inactivity": "idle-timeout",
};

/** Adds WebSocket to an app. Its handshakes come before other routes; those with no key of the right length go to them. */
export function addWebSocket(app: TemplatedApp, { uws, service, begin, moved, ask }: Handshakes): void {
  const { deflates } = service.settings;
  app.ws<Carried>("/*", {
    // All four are set on purpose: by default a message of 16 kB ends the connection, and what waits beyond 64 kB is dropped unseen.
    maxPayloadLength: takenMessages * service.bounds.limits.maxBodyBytes,
    maxBackpressure: 0,
    closeOnBackpressureLimit: false,
    maxLifetime: 0,
    idleTimeout: idleTimeoutSeconds,
    sendPingsAutomatically: true,
    compression: deflates ? uws.SHARED_COMPRESSOR | uws.SHARED_DECOMPRESSOR : uws.DISABLED,
    upgrade: (response, request, context) => {
      const begun = begin(response, request);
      if (begun === null) return;
      const { copy, sink } = begun;
      const admitted = ask(copy, sink);
      if (admitted instanceof Promise) void admitted.then((one) => one !== null && upgrade(response, copy, sink, one, context));
      else if (admitted !== null) upgrade(response, copy, sink, admitted, context);
    },
    open: (socket) => {
      moved();
      const carried = socket.getUserData();
      carried.engine = new UwsSocket(socket, deflates);
      carried.connection = service.add(carried.engine);
      carried.connection.open(carried.open(carried.connection));
      if (service.isDraining) carried.connection.drain();
    },
    // The bytes are the engine's: valid during this call.
    message: (socket, message, isBinary) => socket.getUserData().connection.onMessage(new Uint8Array(message), isBinary, false),
    drain: (socket) => socket.getUserData().connection.onDrain(),
    ping: (socket) => socket.getUserData().connection.onControl(),
    pong: (socket) => socket.getUserData().connection.onControl(),
    close: (socket, code, message) => {
      const { engine, connection } = socket.getUserData();
      engine.hasEnded = true;
      const bound = code === abnormal ? engineReasons[Buffer.from(message).toString("latin1")] : undefined;
      if (bound !== undefined) service.counts.bounds[bound]++;
      service.bounds.connections--;
      connection.onEnd();
    },
  });
}

function upgrade(
  response: HttpResponse,
  copy: UwsRequest,
  sink: UwsSink,
  { headers, open }: AdmittedHandshake,
  context: us_socket_context_t,
): void {
  // Its client may be gone, after another process was asked.
  if (!sink.leave()) return;
  const header = (name: string): string => copy.header(name) ?? "";
  response.cork(() => {
    // Before any header: the engine would write a 200.
    response.writeStatus("101 Switching Protocols");
    for (const [name, value] of Object.entries(headers)) response.writeHeader(name, value);
    response.upgrade({ open } as Carried, header("sec-websocket-key"), "", header("sec-websocket-extensions"), context);
  });
}

/** Whether a request asks for WebSocket. */
export function asksForWebSocket({ upgrade }: UwsRequest): boolean {
  return upgrade !== undefined && hasToken(upgrade, "websocket");
}
