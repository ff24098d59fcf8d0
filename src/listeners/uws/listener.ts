/** HTTP/1.1 on uWebSockets.js, cleartext (h1) and TLS (h1s). */
import type { HttpRequest, HttpResponse, TemplatedApp, us_listen_socket } from "uWebSockets.js";
import { monotonicUs } from "../../base/clock.ts";
import type { ListenerCounts, ListenOptions, ProtocolListener, Refusal, RequestHandler } from "../../core/seams.ts";
import { BodyDeadlines, type Bounds, deliver, newCounts, refuse } from "../bounds.ts";
import { lingerMs, waitUntil } from "../sink.ts";
import { type ListeningApp, type UwsModule, whyNot } from "./module.ts";
import { copyRequest, type UwsRequest } from "./request.ts";
import { type SinkOwner, UwsSink } from "./sink.ts";
import { addWebSocket, asksForWebSocket } from "./websocket.ts";
import type { WebSocketService } from "../websocket/service.ts";

/** Of a listener that is closed: no request comes any more. */
const endedHandler: RequestHandler = { handle: (_request, _body, sink) => sink.reset(), refuse: (_reason, _request, sink) => sink.reset() };

export class UwsListener implements ProtocolListener, SinkOwner {
  readonly protocol: "h1" | "h1s";
  readonly engine = "uws";
  readonly counts: ListenerCounts;
  readonly bounds: Bounds;
  closing = false;
  readonly deadlines: BodyDeadlines;
  readonly #uws: UwsModule;
  readonly #app: TemplatedApp;
  #handler: RequestHandler;
  #socket: us_listen_socket | null = null;
  readonly #webSockets: WebSocketService | null;
  #listening: Promise<number> | null = null;
  #closed: Promise<void> | null = null;

  /** With `tls` (paths of PEM files) it speaks h1s, else h1; with `webSockets` WebSocket too. To HTTP/1.0 the engine itself answers 505. */
  constructor(
    uws: UwsModule,
    tls: { readonly cert: string; readonly key: string } | null,
    handler: RequestHandler,
    bounds: Bounds,
    webSockets: WebSocketService | null = null,
    counts: ListenerCounts = newCounts(),
  ) {
    this.#webSockets = webSockets;
    this.protocol = tls ? "h1s" : "h1";
    this.counts = counts;
    this.bounds = bounds;
    this.#uws = uws;
    this.#handler = handler;
    this.deadlines = new BodyDeadlines(bounds.limits.bodyTimeoutMs);
    this.#app = tls ? uws.SSLApp({ cert_file_name: tls.cert, key_file_name: tls.key }) : uws.App();
    this.#app.filter((response, change) => {
      const by = change > 0 ? 1 : -1;
      this.counts.connections += by;
      bounds.connections += by;
      // Closed here: a request does not tell on which connection it came, so it could not be refused later.
      const excess = by > 0 ? bounds.excess() : null;
      if (excess !== null) {
        this.counts.bounds[excess]++;
        response.close();
      }
    });
    if (webSockets !== null) {
      addWebSocket(this.#app, {
        uws,
        service: webSockets,
        begin: (response, request) => this.#beginHandshake(response, request),
        moved: () => this.counts.connections--,
        ask: (copy, sink) => this.#handler.upgrade?.(copy, sink) ?? null,
      });
    }
    // A route of its own tells the method without a call into uWebSockets.js.
    this.#app.post("/*", (response, request) => this.#receive(response, request, "POST"));
    this.#app.any("/*", (response, request) => this.#receive(response, request, request.getMethod().toUpperCase()));
  }

  /** Reads the head of a request; null: it is refused. */
  #begin(response: HttpResponse, copy: UwsRequest): UwsSink | null {
    const { limits } = this.bounds;
    const sink = new UwsSink(this, response, copy);
    const refusal: Refusal | null = copy.isAmbiguous ? "ambiguous" : copy.headBytes > limits.maxHeadBytes ? "head-too-large" : null;
    if (refusal === null) return sink;
    this.#refuseLater(sink, refusal);
    return null;
  }

  #refuseLater(sink: UwsSink, refusal: Refusal): void {
    // In the next turn: after an answer at once the engine would read what follows an ambiguous request in the same read as
    // the next request. While an answer is out it closes the connection instead.
    setImmediate(() => sink.expire(refusal));
  }

  #receive(response: HttpResponse, request: HttpRequest, method: string): void {
    const copy = copyRequest(this.protocol, method, request);
    const sink = this.#begin(response, copy);
    if (sink === null) return;
    // What comes here of handshakes has no key, or none of its length.
    if (this.#webSockets !== null && method === "GET" && asksForWebSocket(copy)) this.#refuseLater(sink, "malformed");
    else this.#await(response, sink, method);
  }

  #await(response: HttpResponse, sink: UwsSink, method: string): void {
    response.onData((chunk, isLast) => sink.receive(chunk, isLast));
    if (method !== "GET" && method !== "HEAD") this.deadlines.add(sink);
  }

  /** A request with the key of a handshake; without the rest of one it is any other request. */
  #beginHandshake(response: HttpResponse, request: HttpRequest): { readonly copy: UwsRequest; readonly sink: UwsSink } | null {
    const isWhole = asksForWebSocket(copyRequest(this.protocol, "GET", request));
    const copy = copyRequest(isWhole && this.protocol === "h1" ? "ws" : isWhole ? "wss" : this.protocol, "GET", request);
    const sink = this.#begin(response, copy);
    if (sink === null) return null;
    if (!isWhole) {
      this.#await(response, sink, "GET");
      return null;
    }
    copy.receivedUs = monotonicUs();
    return { copy, sink };
  }

  deliver(request: UwsRequest, body: Uint8Array, sink: UwsSink): void {
    request.receivedUs = monotonicUs();
    deliver(request, body, sink, this.#handler, this.bounds.limits, this.counts);
  }

  refuseBody(request: UwsRequest, sink: UwsSink): void {
    request.receivedUs = monotonicUs();
    refuse("body-too-large", request, sink, this.#handler, this.counts);
  }

  /** Closes the connection with the answer: what follows on it cannot be trusted, or is not wanted. */
  refuse(reason: Refusal, request: UwsRequest, sink: UwsSink): void {
    request.receivedUs = monotonicUs();
    sink.lastOnConnection = true;
    refuse(reason, request, sink, this.#handler, this.counts);
  }

  listen(options: ListenOptions): Promise<number> {
    return (this.#listening ??= this.#listen(options));
  }

  #listen({ host, port, shared }: ListenOptions): Promise<number> {
    return new Promise((resolve, reject) => {
      // Without the exclusive option a second process on the same port takes half the connections (SO_REUSEPORT).
      const app: ListeningApp = this.#app as TemplatedApp & ListeningApp;
      app.listen(host, port, shared ? 0 : this.#uws.LIBUS_LISTEN_EXCLUSIVE_PORT, (socket) => {
        if (!socket) {
          whyNot(host, port).then(reject, reject);
          return;
        }
        this.#socket = socket;
        resolve(this.#uws.us_socket_local_port(socket));
      });
    });
  }

  close(graceMs: number): Promise<void> {
    return (this.#closed ??= this.#close(graceMs));
  }

  async #close(graceMs: number): Promise<void> {
    this.closing = true;
    this.#webSockets?.drain();
    this.deadlines.close();
    if (this.#socket) this.#uws.us_listen_socket_close(this.#socket);
    this.#socket = null;
    await waitUntil(() => this.counts.streams === 0 && (this.#webSockets?.counts.streams ?? 0) === 0, graceMs);
    await this.#webSockets?.close(lingerMs);
    // Bytes of ended responses may still be on their way out; closing drops them.
    await waitUntil(() => this.counts.connections === 0, Math.min(lingerMs, graceMs));
    this.#app.close();
    // The engine keeps the functions of a closed app for good, and by them this listener: it lets the server go.
    this.#handler = endedHandler;
  }
}
