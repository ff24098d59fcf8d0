/** HTTP/1.1 on uWebSockets.js, cleartext and TLS. */
import { STATUS_CODES } from "node:http";
import type * as Uws from "uWebSockets.js";
import type { HttpRequest, HttpResponse, TemplatedApp, us_listen_socket } from "uWebSockets.js";
import { monotonicUs } from "../clock.ts";
import type { ListenerCounts, ListenOptions, ProtocolListener, RequestHandler, ResponseHead, RouteRequest } from "../core/seams.ts";
import { BaseSink, discardBytes, lingerMs, type ListenerLimits, waitUntil } from "./sink.ts";

/** The module, with the exports that its type declarations leave out. */
type UwsModule = typeof Uws & {
  /** `_cfg("silent")` leaves the `uWebSockets: 20` header out of every response. */
  _cfg(option: string): void;
  readonly LIBUS_LISTEN_EXCLUSIVE_PORT: number;
};

/** The form of `listen` with socket options, which the type declarations leave out. */
interface ListeningApp {
  listen(host: string, port: number, options: number, callback: (socket: us_listen_socket | false) => void): void;
}

/** uWebSockets.js closes a connection without progress by itself near 11 s: a longer stall time-out cannot be kept. */
export const uwsMaxStallMs = 10_000;

/** The module, or null where there is no binary for this Node or platform. */
export async function loadUws(): Promise<UwsModule | null> {
  // Read when the binary loads. The default leaves about 4 kB for a whole head; node:http takes 16.
  process.env["UWS_HTTP_MAX_HEADERS_SIZE"] ??= "16384";
  try {
    const uws = (await import("uWebSockets.js")) as UwsModule;
    uws._cfg("silent");
    return uws;
  } catch {
    return null;
  }
}

/** A copy: uWebSockets.js takes its request back when the handler returns. */
class UwsRequest implements RouteRequest {
  readonly engine = "uws";
  readonly protocol: "h1" | "h1s";
  readonly method: string;
  readonly path: string;
  readonly query: string;
  receivedUs = 0;
  readonly #headers: Record<string, string> = Object.create(null) as Record<string, string>;

  constructor(protocol: "h1" | "h1s", request: HttpRequest) {
    this.protocol = protocol;
    this.method = request.getMethod().toUpperCase();
    this.path = request.getUrl();
    this.query = request.getQuery() ?? "";
    request.forEach((name, value) => {
      this.#headers[name] ??= value;
    });
  }

  header(name: string): string | undefined {
    return this.#headers[name];
  }
}

/** What `flush` is about to do; module-wide, so that corking needs no closure per write. */
let corkedSink: UwsSink;
let corkedFrame: Uint8Array | undefined;
let corkedLast = false;
let corkedOk = true;
const setCorked = (sink: UwsSink, frame: Uint8Array | undefined, last: boolean): void => {
  corkedSink = sink;
  corkedFrame = frame;
  corkedLast = last;
};
const flush = (): void => {
  corkedOk = corkedSink.flush(corkedFrame, corkedLast);
};

class UwsSink extends BaseSink {
  readonly carrier = "uws";
  readonly bufferedBytes = 0;
  readonly #response: HttpResponse;
  readonly #listener: UwsListener;
  readonly #headOnly: boolean;
  #headSent = false;
  #drainAttached = false;
  /** Closes the connection with the answer: for a client that would send a refused body for ever. */
  lastOnConnection = false;

  constructor(listener: UwsListener, response: HttpResponse, headOnly: boolean) {
    super();
    this.#listener = listener;
    this.#response = response;
    this.#headOnly = headOnly;
    listener.counts.streams++;
    // Without this listener uWebSockets.js ends the process when a handler throws or returns without an answer.
    response.onAborted(() => {
      if (!this.closed) listener.counts.streams--;
      this.aborted();
    });
  }

  write(frame: Uint8Array): boolean {
    if (this.closed) return false;
    this.#cork(frame, false);
    if (!corkedOk && !this.#drainAttached) {
      this.#drainAttached = true;
      this.#response.onWritable(() => {
        this.observer?.onDrain();
        return true;
      });
    }
    return corkedOk;
  }

  end(frame?: Uint8Array): void {
    if (this.closed) return;
    this.#cork(frame, true);
    this.#close();
  }

  reset(): void {
    if (this.closed) return;
    this.#close();
    this.#response.close();
  }

  /** Hot path. Outside a cork each call would be a system call of its own. */
  #cork(frame: Uint8Array | undefined, last: boolean): void {
    setCorked(this, frame, last);
    this.#response.cork(flush);
  }

  /** Runs corked. */
  flush(frame: Uint8Array | undefined, last: boolean): boolean {
    const response = this.#response;
    const closing = this.#listener.closing || this.lastOnConnection;
    const { streamed } = this.head!;
    if (!this.#headSent) this.#writeHead(this.head!, closing && streamed);
    if (this.#headOnly) {
      if (last) {
        if (!streamed) response.writeHeader("content-length", String(frame?.length ?? 0));
        response.endWithoutBody();
      }
      return true;
    }
    if (!last) return response.write(frame!);
    if (streamed) {
      // end() of a response that had no write() announces a length, and with its second argument it writes a
      // "Connection: close" line wherever it stands, into the body too: a stream must have neither.
      if (frame !== undefined) response.write(frame);
      response.end();
    } else {
      response.end(frame, closing);
    }
    return true;
  }

  #writeHead(head: ResponseHead, sayClose: boolean): void {
    this.#headSent = true;
    const response = this.#response;
    // A status without its reason phrase makes h2load count the answer as failed.
    response.writeStatus(`${head.status} ${STATUS_CODES[head.status] ?? "Unknown"}`);
    for (const name in head.headers) response.writeHeader(name, head.headers[name]!);
    if (sayClose) response.writeHeader("connection", "close");
  }

  #close(): void {
    this.closed = true;
    this.observer = null;
    this.#listener.counts.streams--;
  }
}

export class UwsListener implements ProtocolListener {
  readonly protocol: "h1" | "h1s";
  readonly engine = "uws";
  readonly counts: ListenerCounts = { connections: 0, sessions: 0, streams: 0, sessionsReaped: 0 };
  closing = false;
  readonly #uws: UwsModule;
  readonly #app: TemplatedApp;
  #socket: us_listen_socket | null = null;

  /** With `tls` (paths of PEM files) it speaks h1s, else h1. */
  constructor(
    uws: UwsModule,
    tls: { readonly cert: string; readonly key: string } | null,
    handler: RequestHandler,
    limits: ListenerLimits,
  ) {
    this.protocol = tls ? "h1s" : "h1";
    this.#uws = uws;
    this.#app = tls ? uws.SSLApp({ cert_file_name: tls.cert, key_file_name: tls.key }) : uws.App();
    this.#app.filter((_response, change) => {
      this.counts.connections += change > 0 ? 1 : -1;
    });
    this.#app.any("/*", (response, request) => this.#receive(response, request, handler, limits));
  }

  #receive(response: HttpResponse, request: HttpRequest, handler: RequestHandler, limits: ListenerLimits): void {
    const copy = new UwsRequest(this.protocol, request);
    const sink = new UwsSink(this, response, copy.method === "HEAD");
    let parts: Buffer[] | null = null;
    let bytes = 0;
    response.onData((chunk, isLast) => {
      bytes += chunk.byteLength;
      if (bytes > limits.maxBodyBytes) {
        parts = null;
        if (!isLast && bytes <= limits.maxBodyBytes + discardBytes) return;
        copy.receivedUs = monotonicUs();
        sink.lastOnConnection = !isLast;
        handler.refuse("body-too-large", copy, sink);
        return;
      }
      if (isLast) {
        copy.receivedUs = monotonicUs();
        // The chunk is valid during this call only, which is as long as a handler may keep it.
        const last = new Uint8Array(chunk);
        handler.handle(copy, parts === null ? last : Buffer.concat([...parts, last]), sink);
      } else {
        (parts ??= []).push(Buffer.from(new Uint8Array(chunk)));
      }
    });
  }

  listen({ host, port }: ListenOptions): Promise<number> {
    return new Promise((resolve, reject) => {
      // Without the exclusive option a second process on the same port would take half the requests.
      const app: ListeningApp = this.#app as TemplatedApp & ListeningApp;
      app.listen(host, port, this.#uws.LIBUS_LISTEN_EXCLUSIVE_PORT, (socket) => {
        if (!socket) {
          reject(Object.assign(new Error(`cannot listen on ${host}:${port}`), { code: "EADDRINUSE" }));
          return;
        }
        this.#socket = socket;
        resolve(this.#uws.us_socket_local_port(socket));
      });
    });
  }

  async close(graceMs: number): Promise<void> {
    this.closing = true;
    if (this.#socket) this.#uws.us_listen_socket_close(this.#socket);
    this.#socket = null;
    await waitUntil(() => this.counts.streams === 0, graceMs);
    // What is ended may still be on its way out; closing drops it.
    await waitUntil(() => this.counts.connections === 0, Math.min(lingerMs, graceMs));
    this.#app.close();
  }
}
