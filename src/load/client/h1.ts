/** HTTP/1.1 (RFC 9112) for a measuring client: one request at a time, or several that are pipelined. */
import { ChunkedReader } from "../../wire/chunked.ts";
import type { Endpoint } from "../job.ts";
import { oneLine } from "../words.ts";
import { type Connection, type Exchange, type FailureReason, isWithoutBody, type OutgoingRequest, type WireBytes } from "./connection.ts";
import type { ClientSocket } from "./socket.ts";

const maxHeadBytes = 65_536;
/** Interim responses (1xx) before an answer. Servers send one or two: 100, 103. */
const maxInterim = 32;

/** A request whose answer is still to come. */
interface Pending {
  readonly exchange: Exchange;
  readonly withoutBody: boolean;
}

/** What comes next: a head, or a body, by what ends it (RFC 9112, section 6.3). */
type State = "head" | "length" | "chunked" | "untilClose";

/** The part of a socket that is used here. */
export type H1Socket = Omit<ClientSocket, "connected" | "secure" | "unsentBytes">;

export class H1Connection implements Connection {
  negotiated: string | null = null;
  readonly cipher: string | null;
  readonly connectUs: number;
  readonly capacity: number;
  readonly http2 = null;
  readonly hasRoom = true;
  open = true;
  onClosed: () => void = () => {};
  readonly #socket: H1Socket;
  readonly #prefix: string;
  readonly #headers: string;
  readonly #endpoint: Endpoint;
  /** The exchange whose answer is being read. */
  #exchange: Exchange | null = null;
  /** Pipelined requests behind it. Answers come in the order of requests (RFC 9112, section 9.3.2). */
  readonly #behind: Pending[] = [];
  readonly #received = { all: 0, body: 0, head: 0 };
  #sentBytes = 0;
  #state: State = "head";
  #head = "";
  /** Interim responses since the last answer. */
  #interim = 0;
  /** Bytes of a body of known length that are still to come. */
  #left = 0;
  readonly #chunks = new ChunkedReader((bytes, start, end) => this.#onBody(bytes, start, end));
  /** When the bytes that are being read came. */
  #readUs = 0;
  #keepAlive = true;
  #withoutBody = false;
  #closing = false;

  /** `capacity` is the number of requests that may be sent before the first is answered. */
  constructor(socket: H1Socket, endpoint: Endpoint, connectUs: number, capacity: number) {
    this.#socket = socket;
    this.#endpoint = endpoint;
    this.capacity = capacity;
    this.cipher = socket.cipher;
    this.connectUs = connectUs;
    this.#prefix = ` HTTP/1.1\r\nhost: ${new URL(endpoint.origin).host}\r\n`;
    this.#headers = headerLines(endpoint.headers);
    socket.onBytes = (bytes, length, readUs) => this.#read(bytes, length, readUs);
    socket.onEnd = (readUs) => {
      if (this.#state === "untilClose") this.#finish(readUs);
    };
    socket.onClose = (reset) => {
      const wasClosing = this.#closing;
      this.open = false;
      this.#closing = true;
      this.#fail(
        reset ? "reset" : "connection closed",
        this.#state === "length" ? `${this.#left} bytes of its body are missing` : undefined,
      );
      if (!wasClosing) this.onClosed();
    };
  }

  get bytesRead(): number {
    return this.#socket.bytesRead;
  }

  get bytesWritten(): number {
    return this.#socket.bytesWritten;
  }

  get wire(): WireBytes {
    const { all, body, head } = this.#received;
    return {
      data: body,
      framing: all - body - head,
      head,
      request: this.#sentBytes,
      windowUpdate: null,
      settings: null,
      ping: null,
      other: null,
    };
  }

  send({ method, path, body, headers, unreadMs }: OutgoingRequest, exchange: Exchange): () => void {
    if (this.#exchange === null) this.#await({ exchange, withoutBody: method === "HEAD" });
    else this.#behind.push({ exchange, withoutBody: method === "HEAD" });
    const bodyBytes = Buffer.byteLength(body);
    const length = bodyBytes === 0 && isWithoutBody(method) ? "" : `content-length: ${bodyBytes}\r\n`;
    const own = headers === undefined ? this.#headers : headerLines({ ...this.#endpoint.headers, ...headers });
    const head = `${method} ${path}${this.#prefix}${own}${length}\r\n`;
    this.#sentBytes += head.length + bodyBytes;
    this.#socket.write(typeof body === "string" ? head + body : Buffer.concat([Buffer.from(head, "latin1"), body]));
    if (unreadMs !== undefined) this.#leaveUnread(unreadMs);
    return () => this.#cancel(exchange);
  }

  #await({ exchange, withoutBody }: Pending): void {
    this.#exchange = exchange;
    this.#state = "head";
    this.#head = "";
    this.#interim = 0;
    this.#withoutBody = withoutBody;
  }

  /** On HTTP/1.1 a request can be given up only with its connection, and with it all that are pipelined behind. */
  #cancel(exchange: Exchange): void {
    if (exchange === this.#exchange) this.#exchange = null;
    else {
      const at = this.#behind.findIndex((pending) => pending.exchange === exchange);
      if (at < 0) return;
      this.#behind.splice(at, 1);
    }
    this.#closing = true;
    this.open = false;
    this.#socket.destroy();
    this.#fail("connection closed");
  }

  #leaveUnread(ms: number): void {
    this.#socket.pause();
    if (Number.isFinite(ms)) setTimeout(() => this.#socket.resume(), ms).unref();
  }

  close(): void {
    this.#closing = true;
    this.open = false;
    this.#exchange = null;
    this.#behind.length = 0;
    this.#socket.destroy();
  }

  /** Hot path. */
  #read(bytes: Buffer, length: number, readUs: number): void {
    let at = 0;
    this.#readUs = readUs;
    this.#received.all += length;
    while (at < length) {
      switch (this.#state) {
        case "head":
          at = this.#readHead(bytes, at, length, readUs);
          break;
        case "chunked":
          at = this.#chunks.read(bytes, at, length);
          if (this.#chunks.isMalformed) return this.#broken("malformed response", "not in chunks");
          if (this.#chunks.isDone) this.#finish(readUs);
          break;
        case "length": {
          const end = Math.min(length, at + this.#left);
          this.#left -= end - at;
          this.#onBody(bytes, at, end);
          at = end;
          if (this.#left === 0) this.#finish(readUs);
          break;
        }
        case "untilClose":
          this.#onBody(bytes, at, length);
          at = length;
          break;
      }
    }
  }

  /** Hot path. */
  #onBody(bytes: Buffer, start: number, end: number): void {
    this.#received.body += end - start;
    this.#exchange?.onData(bytes, start, end, this.#readUs);
  }

  #readHead(bytes: Buffer, at: number, length: number, readUs: number): number {
    // Bytes that answer no request: the connection is of no use (RFC 9112, section 9.2).
    if (this.#exchange === null) {
      this.#socket.destroy();
      return length;
    }
    const text = this.#head + bytes.toString("latin1", at, length);
    if (!"HTTP/1.".startsWith(text.slice(0, 7))) {
      // A TLS record that is an alert (RFC 8446, section 5.1).
      const isTls = text.startsWith("\u0015\u0003");
      this.#broken(
        "wrong protocol",
        isTls ? "it answers in TLS; is it an https: address?" : `it begins with ${oneLine(text.slice(0, 40))}`,
      );
      return length;
    }
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) {
      this.#head = text;
      // Lines may end in LF alone (RFC 9112, section 2.2), and no server of this century does so.
      if (/\n\n/.test(text)) this.#broken("malformed response", "the lines of its head end in LF without CR");
      if (text.length > maxHeadBytes) this.#broken("response too large");
      return length;
    }
    const consumed = at + end + 4 - this.#head.length;
    this.#received.head += end + 4;
    this.#head = "";
    const [statusLine, ...lines] = text.slice(0, end).split("\r\n");
    const parsed = /^(HTTP\/1\.[01]) (\d{3})/.exec(statusLine!);
    if (!parsed) {
      this.#broken("malformed response", oneLine(statusLine!.slice(0, 80)));
      return length;
    }
    const status = Number(parsed[2]);
    // 1xx come before the answer (RFC 9110, section 15.2).
    if (status < 200) {
      if (++this.#interim <= maxInterim) return consumed;
      this.#broken("response too large");
      return length;
    }
    const headers = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
    );
    this.negotiated = parsed[1]!.toLowerCase();
    const connection = headers.get("connection")?.toLowerCase() ?? "";
    this.#keepAlive = this.negotiated === "http/1.1" ? !/\bclose\b/.test(connection) : /\bkeep-alive\b/.test(connection);
    const contentLength = headers.get("content-length");
    const empty = this.#withoutBody || status === 204 || status === 304;
    if (!empty && /\bchunked\b/i.test(headers.get("transfer-encoding") ?? "")) {
      this.#state = "chunked";
      this.#chunks.reset();
    } else if (!empty && contentLength === undefined) {
      this.#state = "untilClose";
      this.#keepAlive = false;
    } else {
      this.#state = "length";
      this.#left = empty ? 0 : Number(contentLength);
      if (!Number.isSafeInteger(this.#left) || this.#left < 0) {
        this.#broken("malformed response", `content-length: ${oneLine((contentLength ?? "").slice(0, 40))}`);
        return length;
      }
    }
    const exchange = this.#exchange;
    const said = (name: string): string | null => headers.get(name) ?? null;
    exchange.onResponse(
      {
        status,
        contentType: said("content-type") ?? "",
        contentEncoding: said("content-encoding"),
        location: said("location"),
        retryAfter: said("retry-after"),
        requestId: said("x-request-id"),
        clock: said("x-fakeai-clock"),
        instance: said("x-fakeai-instance"),
        fault: said("x-fakeai-fault"),
      },
      readUs,
    );
    if (this.#state === "length" && this.#left === 0) this.#finish(readUs);
    return consumed;
  }

  #finish(readUs: number): void {
    const exchange = this.#exchange;
    this.#exchange = null;
    this.#state = "head";
    const next = this.#behind.shift();
    if (next !== undefined) this.#await(next);
    // Closed before the exchange hears of the end: its slot sends the next request in that call.
    if (!this.#keepAlive) {
      this.open = false;
      this.#socket.end();
    }
    exchange?.onEnd(readUs);
  }

  #broken(reason: FailureReason, words?: string): void {
    this.open = false;
    this.#fail(reason, words);
    this.#socket.destroy();
  }

  #fail(reason: FailureReason, words?: string): void {
    const exchange = this.#exchange;
    this.#exchange = null;
    const behind = this.#behind.splice(0);
    exchange?.onFail(reason, words);
    for (const pending of behind) pending.exchange.onFail("connection closed");
  }
}

function headerLines(headers: Readonly<Record<string, string>>): string {
  return Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
}
