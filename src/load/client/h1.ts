/** HTTP/1.1 (RFC 9112), one request at a time unless told to pipeline: as little as a measuring client needs. */
import type { Endpoint } from "../job.ts";
import type { Connection, Exchange, FailureReason, OutgoingRequest, WireBytes } from "./connection.ts";
import type { ClientSocket } from "./socket.ts";

const CR = 13;
const LF = 10;
const maxHeadBytes = 65_536;

/** A request whose answer is still to come. */
interface Pending {
  readonly exchange: Exchange;
  readonly withoutBody: boolean;
}

type State = "head" | "length" | "chunkSize" | "chunkExtension" | "chunkData" | "chunkEnd" | "trailer" | "untilClose";

/** What is used of a socket. */
export type H1Socket = Omit<ClientSocket, "connected" | "secure">;

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
  /** Whose answer is being read. */
  #exchange: Exchange | null = null;
  /** Those pipelined behind it: answers come in the order of their requests (RFC 9112, section 9.3.2). */
  readonly #behind: Pending[] = [];
  readonly #received = { all: 0, body: 0, head: 0 };
  #sentBytes = 0;
  #state: State = "head";
  #head = "";
  #left = 0;
  #sizeDigits = 0;
  #keepAlive = true;
  #withoutBody = false;
  #lineLength = 0;
  #closing = false;

  /** `capacity` above 1: so many requests are sent before the first of them is answered. */
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
      this.#fail(reset ? "reset" : "connection closed");
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
    const length = method === "GET" ? "" : `content-length: ${bodyBytes}\r\n`;
    const own = headers === undefined ? this.#headers : headerLines({ ...this.#endpoint.headers, ...headers });
    const head = `${method} ${path}${this.#prefix}${own}${length}\r\n`;
    this.#sentBytes += head.length + bodyBytes;
    this.#socket.write(head + body);
    if (unreadMs !== undefined) this.#leaveUnread(unreadMs);
    return () => this.#cancel(exchange);
  }

  #await({ exchange, withoutBody }: Pending): void {
    this.#exchange = exchange;
    this.#state = "head";
    this.#head = "";
    this.#withoutBody = withoutBody;
  }

  /** HTTP/1.1 has no other way to give up a request than its connection, and with it those pipelined behind. */
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
    this.#received.all += length;
    while (at < length) {
      switch (this.#state) {
        case "head":
          at = this.#readHead(bytes, at, length, readUs);
          break;
        case "chunkSize": {
          const byte = bytes[at++]!;
          if (byte === LF) {
            if (this.#sizeDigits === 0) return this.#broken("malformed response");
            this.#state = this.#left === 0 ? "trailer" : "chunkData";
            this.#lineLength = 0;
          } else if (byte === 59 || byte === 32 || byte === 9) {
            this.#state = "chunkExtension";
          } else if (byte !== CR) {
            const digit = hexDigit(byte);
            if (digit < 0 || ++this.#sizeDigits > 12) return this.#broken("malformed response");
            this.#left = this.#left * 16 + digit;
          }
          break;
        }
        case "chunkExtension":
          if (bytes[at] === LF) this.#state = "chunkSize";
          else at++;
          break;
        case "length":
        case "chunkData": {
          const end = Math.min(length, at + this.#left);
          this.#left -= end - at;
          this.#received.body += end - at;
          this.#exchange?.onData(bytes, at, end, readUs);
          at = end;
          if (this.#left > 0) break;
          if (this.#state === "length") this.#finish(readUs);
          else this.#state = "chunkEnd";
          break;
        }
        case "chunkEnd": {
          const byte = bytes[at++];
          if (byte === LF) this.#startChunk();
          else if (byte !== CR) return this.#broken("malformed response");
          break;
        }
        case "trailer": {
          const byte = bytes[at++]!;
          if (byte !== LF) {
            if (byte !== CR) this.#lineLength++;
          } else if (this.#lineLength === 0) {
            this.#finish(readUs);
          } else {
            this.#lineLength = 0;
          }
          break;
        }
        case "untilClose":
          this.#received.body += length - at;
          this.#exchange?.onData(bytes, at, length, readUs);
          at = length;
          break;
      }
    }
  }

  #startChunk(): void {
    this.#state = "chunkSize";
    this.#left = 0;
    this.#sizeDigits = 0;
  }

  #readHead(bytes: Buffer, at: number, length: number, readUs: number): number {
    // Bytes without a request under way are no HTTP/1.1 answer to anything (RFC 9112, section 9.2).
    if (this.#exchange === null) {
      this.#socket.destroy();
      return length;
    }
    const text = this.#head + bytes.toString("latin1", at, length);
    if (!"HTTP/1.".startsWith(text.slice(0, 7))) {
      this.#broken("wrong protocol");
      return length;
    }
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) {
      this.#head = text;
      if (text.length > maxHeadBytes) this.#broken("malformed response");
      return length;
    }
    const consumed = at + end + 4 - this.#head.length;
    this.#received.head += end + 4;
    this.#head = "";
    const [statusLine, ...lines] = text.slice(0, end).split("\r\n");
    const parsed = /^(HTTP\/1\.[01]) (\d{3})/.exec(statusLine!);
    if (!parsed) {
      this.#broken("malformed response");
      return length;
    }
    const status = Number(parsed[2]);
    // 100 Continue and its kind come before the answer (RFC 9110, section 15.2).
    if (status < 200) return consumed;
    const headers = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
    );
    this.negotiated = parsed[1]!.toLowerCase();
    const connection = headers.get("connection")?.toLowerCase() ?? "";
    this.#keepAlive = this.negotiated === "http/1.1" ? !/\bclose\b/.test(connection) : /\bkeep-alive\b/.test(connection);
    const contentLength = headers.get("content-length");
    const empty = this.#withoutBody || status === 204 || status === 304;
    if (!empty && /\bchunked\b/i.test(headers.get("transfer-encoding") ?? "")) {
      this.#startChunk();
    } else if (!empty && contentLength === undefined) {
      this.#state = "untilClose";
      this.#keepAlive = false;
    } else {
      this.#state = "length";
      this.#left = empty ? 0 : Number(contentLength);
      if (!Number.isSafeInteger(this.#left) || this.#left < 0) {
        this.#broken("malformed response");
        return length;
      }
    }
    const exchange = this.#exchange;
    const said = (name: string): string | null => headers.get(name) ?? null;
    exchange.onResponse(
      { status, contentType: said("content-type") ?? "", clock: said("x-fakeai-clock"), fault: said("x-fakeai-fault") },
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
    // Not reusable before the exchange hears of its end, or its slot would send on a closing connection.
    if (!this.#keepAlive) {
      this.open = false;
      this.#socket.end();
    }
    exchange?.onEnd(readUs);
  }

  #broken(reason: FailureReason): void {
    this.open = false;
    this.#fail(reason);
    this.#socket.destroy();
  }

  #fail(reason: FailureReason): void {
    const exchange = this.#exchange;
    this.#exchange = null;
    const behind = this.#behind.splice(0);
    exchange?.onFail(reason);
    for (const pending of behind) pending.exchange.onFail("connection closed");
  }
}

function headerLines(headers: Readonly<Record<string, string>>): string {
  return Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
}

function hexDigit(byte: number): number {
  if (byte >= 48 && byte <= 57) return byte - 48;
  const lower = byte | 32;
  return lower >= 97 && lower <= 102 ? lower - 87 : -1;
}
