/** HTTP/1.1 on uWebSockets.js, cleartext and TLS. */
import { STATUS_CODES } from "node:http";
import { createServer as createTcpServer } from "node:net";
import type * as Uws from "uWebSockets.js";
import type { HttpRequest, HttpResponse, TemplatedApp, us_listen_socket } from "uWebSockets.js";
import { monotonicUs } from "../../base/clock.ts";
import type {
  ListenerCounts,
  ListenOptions,
  ProtocolListener,
  Refusal,
  RequestHandler,
  ResponseHead,
  RouteRequest,
} from "../../core/seams.ts";
import { type AwaitedBody, BodyDeadlines, type Bounds, deliver, newCounts, refuse, type Waiting } from "../bounds.ts";
import { BaseSink, discardBytes, lingerMs, waitUntil } from "../sink.ts";

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

/** The largest head that the binary takes: settled when it was loaded. */
export function uwsMaxHeadBytes(): number {
  return Number(process.env["UWS_HTTP_MAX_HEADERS_SIZE"]);
}

/** uWebSockets.js does not say why it cannot listen: node's own attempt does. */
function whyNot(host: string, port: number): Promise<Error> {
  return new Promise((resolve) => {
    const probe = createTcpServer();
    probe.once("error", resolve);
    probe.listen({ host, port, exclusive: true }, () => {
      probe.close(() => resolve(new Error(`cannot listen on ${host}:${port}`)));
    });
  });
}

/** What `copyHeader` fills: module-wide, so that a request needs no closure for it. */
let copied: UwsRequest;
const copyHeader = (name: string, value: string): void => copied.add(name, value);

/** A copy: uWebSockets.js takes its request back when the handler returns. */
class UwsRequest implements RouteRequest {
  readonly engine = "uws";
  readonly protocol: "h1" | "h1s";
  readonly method: string;
  readonly path: string;
  readonly query: string;
  receivedUs = 0;
  /** Names and values in turns: a request has few headers, and a list costs less to fill than an object. */
  readonly #headers: string[] = [];
  /** Whether there is a header that is meant for us alone: most requests have none, and are asked for many. */
  #hasOwn = false;
  /** Bytes of names and values. */
  headBytes = 0;
  /** Lines that decide where a request goes or ends; two servers that pick different ones of two read different requests. */
  #hosts = 0;
  #lengths = 0;
  #oddCoding = false;

  constructor(protocol: "h1" | "h1s", method: string, request: HttpRequest) {
    this.protocol = protocol;
    this.method = method;
    this.path = request.getUrl();
    this.query = request.getQuery() ?? "";
  }

  add(name: string, value: string): void {
    this.#headers.push(name, value);
    this.headBytes += name.length + value.length;
    switch (name.length) {
      case 4:
        if (name === "host") this.#hosts++;
        break;
      case 14:
        if (name === "content-length") this.#lengths++;
        break;
      case 17:
        if (name === "transfer-encoding" && value.toLowerCase() !== "chunked") this.#oddCoding = true;
        break;
      default:
    }
    if (name.startsWith(ownPrefix)) this.#hasOwn = true;
  }

  get isAmbiguous(): boolean {
    return this.#hosts > 1 || this.#lengths > 1 || this.#oddCoding;
  }

  /** The first of that name. */
  header(name: string): string | undefined {
    if (!this.#hasOwn && name.startsWith(ownPrefix)) return undefined;
    const headers = this.#headers;
    for (let i = 0; i < headers.length; i += 2) if (headers[i] === name) return headers[i + 1];
    return undefined;
  }
}

const ownPrefix = "x-fakeai-";

/** Status lines by code. A status without its reason phrase makes h2load count the answer as failed. */
const statusLines: string[] = [];

function statusLine(status: number): string {
  return (statusLines[status] ??= `${status} ${STATUS_CODES[status] ?? "Unknown"}`);
}

/**
 * The most of a frame that is written at once. Writes in a cork are gathered in 16 kB (`LoopData::CORK_BUFFER_SIZE`); one that
 * no longer fits flushes what was gathered, and where the socket takes not all of that, it is dropped (`AsyncSocket::uncork`
 * returns without it): a size line then stands there without its chunk. So all of a cork has to fit, with 2 kB for the head,
 * the size line and the end. While the engine calls it has corked by itself, and all pieces go into that cork: what it flushes
 * then is less than 16 kB on a socket that a client without pipelining has emptied.
 */
const pieceBytes = 14_336;

/** What the functions below are about to do; module-wide, so that corking needs no closure per write. */
let corkedSink: UwsSink;
let corkedResponse: HttpResponse;
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
const nothing = (): void => {};
const flushFrame = (): void => {
  corkedOk = corkedResponse.write(corkedFrame!);
};

/** The head last joined. */
let joinedHead: ResponseHead | null = null;
let joinedName = "";
let joinedLines = "";

/** uWebSockets.js takes a value as it is, line ends and all: one call into it for the whole head instead of one a header. */
function joinHead(head: ResponseHead): void {
  const { headers } = head;
  joinedHead = head;
  joinedName = "";
  joinedLines = "";
  for (const name in headers) {
    if (joinedName === "") {
      joinedName = name;
      joinedLines = headers[name]!;
    } else {
      joinedLines += `\r\n${name}: ${headers[name]!}`;
    }
  }
}

class UwsSink extends BaseSink implements Waiting, AwaitedBody {
  readonly carrier = "uws";
  readonly bufferedBytes = 0;
  readonly #response: HttpResponse;
  readonly #listener: UwsListener;
  /** null once it was handed on: what this holds, each waiting stream holds. */
  #request: UwsRequest | null;
  readonly #headOnly: boolean;
  #headSent = false;
  #drainAttached = false;
  #waiting = false;
  /** The most that the engine can keep of what was written: a write that it takes tells that nothing is left of those before. */
  #heldBytes = 0;
  /** What has come of a body in several reads. */
  #parts: Buffer[] | null = null;
  #bodyBytes = 0;
  /** Closes the connection with the answer: for a client that would send a refused body for ever. */
  lastOnConnection = false;

  constructor(listener: UwsListener, response: HttpResponse, request: UwsRequest) {
    super();
    this.#listener = listener;
    this.#response = response;
    this.#request = request;
    this.#headOnly = request.method === "HEAD";
    listener.counts.streams++;
    // Without this listener uWebSockets.js ends the process when a handler throws or returns without an answer.
    response.onAborted(() => {
      if (!this.closed) listener.counts.streams--;
      listener.deadlines.delete(this);
      this.#caughtUp();
      this.aborted();
    });
  }

  /** Hot path. Outside a cork each call would be a system call of its own. */
  write(frame: Uint8Array): boolean {
    if (this.closed) return false;
    if (frame.length > pieceBytes) {
      // No write tells that the last piece was not taken, and without this listener the engine ends the wait for its reader
      // after 10 s.
      this.#attachDrain();
      const last = this.#writePieces(frame);
      const ok = corkedOk;
      this.#cork(last, false);
      corkedOk &&= ok;
    } else if (this.#headSent && !this.#headOnly) {
      corkedResponse = this.#response;
      corkedFrame = frame;
      corkedResponse.cork(flushFrame);
      this.#heldBytes = frame.length + (corkedOk ? 0 : this.#heldBytes);
    } else {
      this.#cork(frame, false);
    }
    if (!corkedOk) this.#wait();
    else if (this.#waiting) this.#caughtUp();
    return corkedOk;
  }

  /** Writes a long frame but for its last piece; returns that. */
  #writePieces(frame: Uint8Array): Uint8Array {
    let at = 0;
    let ok = true;
    for (; at + pieceBytes < frame.length; at += pieceBytes) {
      this.#cork(frame.subarray(at, at + pieceBytes), false);
      ok &&= corkedOk;
    }
    corkedOk = ok;
    return frame.subarray(at);
  }

  /**
   * The engine keeps what the socket did not take, and tells with the next write only that it could not send the one before.
   * Nothing else is written before it says that there is room; not how much, so that what is counted stays until a write is taken.
   */
  #wait(): void {
    this.#waiting = true;
    this.#listener.bounds.setWaiting(this, this.#heldBytes, this.#listener.counts);
    this.#attachDrain();
  }

  #attachDrain(): void {
    if (this.#drainAttached) return;
    this.#drainAttached = true;
    this.#response.onWritable(() => {
      // With this listener the engine sends what it keeps with the next write only, and that may not be due for long.
      this.#response.cork(nothing);
      if (this.#waiting) this.#waitAgain();
      this.observer?.onDrain();
      return true;
    });
  }

  /** Its reader has just read: others have waited longer. */
  #waitAgain(): void {
    const { bounds, counts } = this.#listener;
    bounds.setWaiting(this, 0, counts);
    bounds.setWaiting(this, this.#heldBytes, counts);
  }

  #caughtUp(): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.#listener.bounds.setWaiting(this, 0, this.#listener.counts);
  }

  expire(reason: Refusal = "body-timeout"): void {
    const request = this.#request;
    this.#request = null;
    this.#parts = null;
    if (!this.closed && request !== null) this.#listener.refuse(reason, request, this);
  }

  /** The chunk is valid during this call only, which is as long as a handler may keep it. */
  receive(chunk: ArrayBuffer, isLast: boolean): void {
    if (isLast) this.#listener.deadlines.delete(this);
    const request = this.#request;
    if (this.closed || request === null) return;
    const { maxBodyBytes } = this.#listener.bounds.limits;
    this.#bodyBytes += chunk.byteLength;
    if (this.#bodyBytes > maxBodyBytes) {
      this.#parts = null;
      if (!isLast && this.#bodyBytes <= maxBodyBytes + discardBytes) return;
      this.#request = null;
      this.lastOnConnection = !isLast;
      this.#listener.refuseBody(request, this);
    } else if (isLast) {
      const parts = this.#parts;
      this.#request = null;
      this.#parts = null;
      const last = new Uint8Array(chunk);
      this.#listener.deliver(request, parts === null ? last : Buffer.concat([...parts, last]), this);
    } else {
      (this.#parts ??= []).push(Buffer.from(new Uint8Array(chunk)));
    }
  }

  shed(): void {
    if (this.closed) return;
    const { observer } = this;
    this.reset();
    observer?.onAbort();
  }

  end(frame?: Uint8Array): void {
    if (this.closed) return;
    const isLong = frame !== undefined && frame.length > pieceBytes && this.head!.streamed;
    this.#cork(isLong ? this.#writePieces(frame) : frame, true);
    this.#close();
  }

  reset(): void {
    if (this.closed) return;
    this.#close();
    this.#response.close();
  }

  #cork(frame: Uint8Array | undefined, last: boolean): void {
    setCorked(this, frame, last);
    this.#response.cork(flush);
    this.#heldBytes = (frame?.length ?? 0) + (corkedOk ? 0 : this.#heldBytes);
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
    // uWebSockets.js writes "200 OK" by itself.
    if (head.status !== 200) response.writeStatus(statusLine(head.status));
    if (joinedHead !== head) joinHead(head);
    if (joinedName !== "") response.writeHeader(joinedName, joinedLines);
    if (sayClose) response.writeHeader("connection", "close");
  }

  #close(): void {
    this.closed = true;
    this.#caughtUp();
    this.observer = null;
    this.#listener.counts.streams--;
  }
}

export class UwsListener implements ProtocolListener {
  readonly protocol: "h1" | "h1s";
  readonly engine = "uws";
  readonly counts: ListenerCounts = newCounts();
  readonly bounds: Bounds;
  closing = false;
  readonly #uws: UwsModule;
  readonly #app: TemplatedApp;
  readonly #handler: RequestHandler;
  readonly deadlines: BodyDeadlines;
  #socket: us_listen_socket | null = null;

  /** With `tls` (paths of PEM files) it speaks h1s, else h1. */
  constructor(uws: UwsModule, tls: { readonly cert: string; readonly key: string } | null, handler: RequestHandler, bounds: Bounds) {
    this.protocol = tls ? "h1s" : "h1";
    this.bounds = bounds;
    this.#uws = uws;
    this.#handler = handler;
    this.deadlines = new BodyDeadlines(bounds.limits.bodyTimeoutMs);
    this.#app = tls ? uws.SSLApp({ cert_file_name: tls.cert, key_file_name: tls.key }) : uws.App();
    this.#app.filter((response, change) => {
      const by = change > 0 ? 1 : -1;
      this.counts.connections += by;
      bounds.connections += by;
      // A request does not tell which connection it came on: there is no refusing those that came too late only.
      if (by > 0 && bounds.connectionsFull) {
        this.counts.bounds["too-many-connections"]++;
        response.close();
      }
    });
    // A route of its own tells the method without a call into uWebSockets.js.
    this.#app.post("/*", (response, request) => this.#receive(response, request, "POST"));
    this.#app.any("/*", (response, request) => this.#receive(response, request, request.getMethod().toUpperCase()));
  }

  #receive(response: HttpResponse, request: HttpRequest, method: string): void {
    const { limits } = this.bounds;
    const copy = new UwsRequest(this.protocol, method, request);
    copied = copy;
    request.forEach(copyHeader);
    const sink = new UwsSink(this, response, copy);
    const refusal: Refusal | null = copy.isAmbiguous ? "ambiguous" : copy.headBytes > limits.maxHeadBytes ? "head-too-large" : null;
    if (refusal !== null) {
      // Not yet: what stands behind an ambiguous request in the same read would be taken as the next request. While an
      // answer is out the engine closes the connection instead.
      setImmediate(() => sink.expire(refusal));
      return;
    }
    response.onData((chunk, isLast) => sink.receive(chunk, isLast));
    if (method !== "GET" && method !== "HEAD") this.deadlines.add(sink);
  }

  /** Hands on a whole request. */
  deliver(request: UwsRequest, body: Uint8Array, sink: UwsSink): void {
    request.receivedUs = monotonicUs();
    deliver(request, body, sink, this.#handler, this.bounds.limits, this.counts);
  }

  refuseBody(request: UwsRequest, sink: UwsSink): void {
    request.receivedUs = monotonicUs();
    refuse("body-too-large", request, sink, this.#handler, this.counts);
  }

  /** Answers, and closes: what follows on the connection cannot be trusted, or is not wanted. */
  refuse(reason: Refusal, request: UwsRequest, sink: UwsSink): void {
    request.receivedUs = monotonicUs();
    sink.lastOnConnection = true;
    refuse(reason, request, sink, this.#handler, this.counts);
  }

  listen({ host, port, shared }: ListenOptions): Promise<number> {
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

  async close(graceMs: number): Promise<void> {
    this.closing = true;
    this.deadlines.close();
    if (this.#socket) this.#uws.us_listen_socket_close(this.#socket);
    this.#socket = null;
    await waitUntil(() => this.counts.streams === 0, graceMs);
    // What is ended may still be on its way out; closing drops it.
    await waitUntil(() => this.counts.connections === 0, Math.min(lingerMs, graceMs));
    this.#app.close();
  }
}
