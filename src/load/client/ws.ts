/**
 * The Responses API over WebSocket (RFC 6455) for a measuring client: each request is a message, and each of its events comes as
 * one (developers.openai.com/api/docs/guides/websocket-mode). Frames are read here, and not by a library, because their bytes are
 * counted, and because the time of the read that a token came in is known here, as for the other protocols.
 */
import { createHash, randomBytes } from "node:crypto";
import { clientFrame, type FrameConsumer, opcode, ServerFrameReader } from "../../wire/websocket.ts";
import type { Endpoint } from "../job.ts";
import { messageIn, oneLine } from "../words.ts";
import { ConnectError, type Connection, type Exchange, type FailureReason, type OutgoingRequest, type WireBytes } from "./connection.ts";
import type { ClientSocket } from "./socket.ts";
import { agreedDeflate, deflateOffer, type MessageDeflate } from "./ws-deflate.ts";

/** Responses that OpenAI makes on a connection at the same time. */
export const standardLanes = 16;
const maxHeadBytes = 65_536;
/** What a server's key is made with (RFC 6455, section 1.3). */
const acceptSuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const closeNormal = 1000;
/** How long a server may take to answer a close frame, milliseconds. */
const closeTimeoutMs = 1000;

const quote = 34;
const closingBrace = 125;
/** How an event ends that names a lane of ours, up to the lane's number. */
const laneMember = Buffer.from('"stream_id":"l');
const digit0 = 48;
/** Events of the Responses API begin so, and an `error` does not. */
const responseEvent = Buffer.from('{"type":"response.');

/** One response after the other. Lane 0 has no name. */
interface Lane {
  exchange: Exchange | null;
  /** The first event of its response has come. */
  begun: boolean;
}

export class WsConnection implements Connection, FrameConsumer {
  readonly negotiated = "websocket";
  readonly cipher: string | null;
  connectUs = 0;
  readonly http2 = null;
  readonly hasRoom = true;
  readonly capacity: number;
  open = true;
  onClosed: () => void = () => {};
  readonly #socket: ClientSocket;
  readonly #reader: ServerFrameReader;
  readonly #head: Head;
  readonly #deflate: MessageDeflate | null;
  readonly #lanes: Lane[] = [];
  /** Numbers of lanes that are free. */
  readonly #free: number[] = [];
  #headBytes: number;
  #sentBytes: number;
  /** Control frames that we sent. */
  #sentPingBytes = 0;
  #sentCloseBytes = 0;
  #readUs = 0;
  /** What a close frame said, or an error that is of no lane. */
  #farewell: string | undefined;
  #closing = false;

  private constructor(socket: ClientSocket, endpoint: Endpoint, head: Head, sentBytes: number) {
    this.#socket = socket;
    this.#head = head;
    this.capacity = endpoint.lanes ?? standardLanes;
    this.cipher = socket.cipher;
    this.#deflate = agreedDeflate(head.headers.get("sec-websocket-extensions") ?? "", endpoint.deflates ?? false);
    this.#reader = new ServerFrameReader(this, this.#deflate !== null);
    this.#headBytes = head.bytes;
    this.#sentBytes = sentBytes;
    socket.onBytes = (bytes, length, readUs) => this.#read(bytes, 0, length, readUs);
    socket.onEnd = () => {
      if (!this.#closing) this.#break("connection closed", "the server ended the connection without a close frame");
    };
    socket.onClose = (reset) => this.#break(reset ? "reset" : "connection closed", this.#farewell);
  }

  /** Shakes hands on a connected socket. Rejects with ConnectError. */
  static async over(socket: ClientSocket, endpoint: Endpoint, timeoutMs: number): Promise<WsConnection> {
    const key = randomBytes(16).toString("base64");
    const request = handshakeOf(endpoint, key);
    const { head, rest } = await answerTo(socket, request, timeoutMs);
    checkHandshake(head, key);
    const connection = new WsConnection(socket, endpoint, head, request.length);
    if (rest.length > 0) connection.#read(rest, 0, rest.length, head.readUs);
    return connection;
  }

  get bytesRead(): number {
    return this.#socket.bytesRead;
  }

  get bytesWritten(): number {
    return this.#socket.bytesWritten;
  }

  get wire(): WireBytes {
    const { payloadBytes, framingBytes, pingBytes, closeBytes } = this.#reader;
    return {
      data: payloadBytes,
      framing: framingBytes,
      head: this.#headBytes,
      request: this.#sentBytes,
      windowUpdate: null,
      settings: null,
      ping: pingBytes + this.#sentPingBytes,
      other: closeBytes + this.#sentCloseBytes,
    };
  }

  send({ body, headers }: OutgoingRequest, exchange: Exchange): () => void {
    const number = this.#free.pop() ?? this.#lanes.push({ exchange: null, begun: false }) - 1;
    const lane = this.#lanes[number]!;
    lane.exchange = exchange;
    lane.begun = false;
    const json = typeof body === "string" ? body : Buffer.from(body).toString("utf8");
    const text = Buffer.from(messageOf(json, number, headers));
    if (this.#deflate === null) this.#write(clientFrame(opcode.text, text));
    else this.#deflate.compress(text, (bytes, isCompressed) => this.#write(clientFrame(opcode.text, bytes, isCompressed)));
    return () => this.#cancel(lane, exchange);
  }

  #write(frame: Buffer): void {
    this.#sentBytes += frame.length;
    this.#socket.write(frame);
  }

  /** The API has no message that gives a response up: that is done with its connection, and all others on it. */
  #cancel(lane: Lane, exchange: Exchange): void {
    if (lane.exchange !== exchange) return;
    lane.exchange = null;
    this.#closing = true;
    this.open = false;
    this.#socket.destroy();
    this.#deflate?.close();
    this.#fail("connection closed", undefined);
  }

  close(): void {
    if (!this.#closing) {
      this.#closing = true;
      this.#sayClose(closeNormal);
    }
    this.open = false;
    this.#deflate?.close();
    for (const lane of this.#lanes) lane.exchange = null;
    this.#socket.end();
    setTimeout(() => this.#socket.destroy(), closeTimeoutMs).unref();
  }

  #sayClose(code: number): void {
    const frame = clientFrame(opcode.close, Buffer.from([code >> 8, code & 0xff]));
    this.#sentCloseBytes += frame.length;
    this.#socket.write(frame);
  }

  /** Hot path. */
  #read(bytes: Buffer, start: number, end: number, readUs: number): void {
    this.#readUs = readUs;
    this.#reader.push(bytes, start, end);
    const { fault } = this.#reader;
    if (fault !== null && this.open) this.#broken(fault);
  }

  /** Hot path. */
  onMessage(bytes: Buffer, start: number, end: number, isText: boolean, isCompressed: boolean): void {
    if (this.#closing) return;
    if (!isText) return this.#broken("a binary message");
    if (this.#deflate === null) return this.#take(bytes, start, end, this.#readUs);
    const readUs = this.#readUs;
    this.#deflate.decompress(bytes, start, end, isCompressed, (plain, from, to) => {
      if (this.#closing) return;
      if (plain === null) this.#broken("a compressed message that is none");
      else this.#take(plain, from, to, readUs);
    });
  }

  /** Hot path. One event. */
  #take(bytes: Buffer, start: number, end: number, readUs: number): void {
    // Where we have named no lane, a response is of the one without a name: nothing is looked for.
    const isOnly = this.#lanes.length === 1 && standsAt(bytes, start, end, responseEvent);
    const number = isOnly ? 0 : laneAt(bytes, start, end);
    const lane = this.#lanes[number];
    const exchange = lane?.exchange ?? null;
    if (lane === undefined || exchange === null) return this.#takeStray(bytes, start, end);
    if (!lane.begun) {
      lane.begun = true;
      if (!standsAt(bytes, start, end, responseEvent)) {
        const refusal = refusalIn(bytes, start, end);
        if (refusal !== null) {
          this.#release(number);
          exchange.onResponse(this.#headOf(refusal.status, "application/json", refusal.retryAfter), readUs);
          exchange.onData(bytes, start, end, readUs);
          exchange.onEnd(readUs);
          return;
        }
      }
      exchange.onResponse(this.#headOf(200, "text/event-stream", null), readUs);
    }
    const isLast = exchange.onEvent?.(bytes, start, end, readUs) ?? true;
    if (!isLast || lane.exchange !== exchange) return;
    // Free before the exchange hears of the end: its slot sends the next request in that call.
    this.#release(number);
    exchange.onEnd(readUs);
  }

  #release(number: number): void {
    this.#lanes[number]!.exchange = null;
    this.#free.push(number);
  }

  /** What is of no response: why the server will close, if anything. */
  #takeStray(bytes: Buffer, start: number, end: number): void {
    if (refusalIn(bytes, start, end) !== null)
      this.#farewell ??= oneLine(messageIn(bytes.toString("utf8", start, Math.min(end, start + 8192))));
  }

  #headOf(status: number, contentType: string, retryAfter: string | null): Parameters<Exchange["onResponse"]>[0] {
    const said = (name: string): string | null => this.#head.headers.get(name) ?? null;
    return {
      status,
      contentType,
      contentEncoding: null,
      location: null,
      retryAfter,
      requestId: null,
      clock: said("x-fakeai-clock"),
      instance: said("x-fakeai-instance"),
      fault: null,
    };
  }

  onControl(code: number, bytes: Buffer, start: number, end: number): void {
    if (code === opcode.ping && !this.#closing) {
      const frame = clientFrame(opcode.pong, bytes.subarray(start, end));
      this.#sentPingBytes += frame.length;
      this.#socket.write(frame);
    }
    if (code !== opcode.close || this.#closing) return;
    const said = end - start < 2 ? "" : ` ${bytes.readUInt16BE(start)} ${oneLine(bytes.toString("utf8", start + 2, end))}`.trimEnd();
    const farewell = this.#farewell === undefined ? "" : `: ${this.#farewell}`;
    this.#sayClose(end - start < 2 ? closeNormal : bytes.readUInt16BE(start));
    this.#socket.end();
    this.#break("connection closed", `the server closed the WebSocket with${said === "" ? "out a code" : said}${farewell}`);
  }

  #broken(words: string): void {
    this.#socket.destroy();
    this.#break("malformed response", words);
  }

  /** The connection takes no further request, and those under way have failed. */
  #break(reason: FailureReason, words: string | undefined): void {
    const wasClosing = this.#closing;
    this.open = false;
    this.#closing = true;
    this.#deflate?.close();
    this.#fail(reason, words);
    if (!wasClosing) this.onClosed();
  }

  #fail(reason: FailureReason, words: string | undefined): void {
    for (const lane of this.#lanes) {
      const { exchange } = lane;
      lane.exchange = null;
      exchange?.onFail(reason, words);
    }
  }
}

/** Hot path. The number of the lane that an event names: 0 for none, -1 for one that is not ours. */
function laneAt(bytes: Buffer, start: number, end: number): number {
  // As our own server writes it: at the end, where only a member of the outermost object can be.
  if (bytes[end - 1] === closingBrace && bytes[end - 2] === quote) {
    let at = end - 3;
    while (at > start && bytes[at]! >= digit0 && bytes[at]! <= digit0 + 9) at--;
    if (at + 1 >= start + laneMember.length && standsAt(bytes, at + 1 - laneMember.length, end, laneMember)) {
      let number = 0;
      for (let digit = at + 1; digit < end - 2; digit++) number = number * 10 + bytes[digit]! - digit0;
      return number;
    }
  }
  // Not beyond its end: what stands behind it in the buffer is read with the next events.
  return bytes.subarray(start, end).includes('"stream_id"') ? laneIn(bytes.toString("utf8", start, end)) : 0;
}

function laneIn(text: string): number {
  try {
    const { stream_id: id } = JSON.parse(text) as { readonly stream_id?: unknown };
    if (id === undefined || id === null) return 0;
    const [, number] = (typeof id === "string" && /^l(\d{1,9})$/.exec(id)) || [];
    return number === undefined ? -1 : Number(number);
  } catch {
    return 0;
  }
}

/** Hot path. */
function standsAt(bytes: Buffer, at: number, end: number, wanted: Buffer): boolean {
  if (at + wanted.length > end) return false;
  for (let i = 0; i < wanted.length; i++) if (bytes[at + i] !== wanted[i]) return false;
  return true;
}

/** What an event of the type "error" stands for; null: it is another. */
function refusalIn(bytes: Buffer, start: number, end: number): { readonly status: number; readonly retryAfter: string | null } | null {
  try {
    const message = JSON.parse(bytes.toString("utf8", start, end)) as Record<string, unknown> | null;
    if (message?.["type"] !== "error") return null;
    const status = message["status"] ?? message["status_code"];
    const retryAfter = (message["headers"] as Record<string, unknown> | undefined)?.["retry-after"];
    return {
      status: Number.isInteger(status) && (status as number) >= 400 && (status as number) <= 599 ? (status as number) : 500,
      retryAfter: typeof retryAfter === "string" ? retryAfter : null,
    };
  } catch {
    return null;
  }
}

/** The message of a request. A message has no headers: its metadata has them, as this server reads them. */
function messageOf(body: string, lane: number, headers: Readonly<Record<string, string>> | undefined): string {
  const rest = body.slice(body.indexOf("{") + 1);
  const name = lane === 0 ? "" : `,"stream_id":"l${lane}"`;
  const metadata = headers === undefined ? "" : `,"metadata":${JSON.stringify(headers)}`;
  return `{"type":"response.create"${name}${metadata}${/^\s*\}/.test(rest) ? "" : ","}${rest}`;
}

/** The head of the answer to a handshake. */
interface Head {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly bytes: number;
  readonly readUs: number;
}

function handshakeOf({ origin, path, headers, deflates }: Endpoint, key: string): string {
  const lines = {
    host: new URL(origin).host,
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": key,
    ...(deflates === true ? { "sec-websocket-extensions": deflateOffer } : {}),
    ...Object.fromEntries(Object.entries(headers).filter(([name]) => name !== "content-type")),
  };
  const text = Object.entries(lines)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("");
  return `GET ${path} HTTP/1.1\r\n${text}\r\n`;
}

/** Writes a handshake and reads the head of its answer; `rest` are the bytes behind it. Rejects with ConnectError. */
function answerTo(socket: ClientSocket, request: string, timeoutMs: number): Promise<{ readonly head: Head; readonly rest: Buffer }> {
  return new Promise((resolve, reject) => {
    let text = "";
    const fail = (message: string, reason: FailureReason, invalid = false): void => {
      clearTimeout(timer);
      reject(new ConnectError(message, reason, invalid));
    };
    const timer = setTimeout(() => fail(`no answer to the handshake of WebSocket within ${timeoutMs} ms`, "connection timeout"), timeoutMs);
    socket.onClose = () => fail("the server ended the connection before it answered the handshake of WebSocket", "connection failed");
    socket.onBytes = (bytes, length, readUs) => {
      text += bytes.toString("latin1", 0, length);
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) {
        if (text.length > maxHeadBytes) fail("the answer to the handshake of WebSocket has no end", "response too large");
        return;
      }
      const [statusLine, ...lines] = text.slice(0, end).split("\r\n");
      const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine!)?.[1] ?? 0);
      const headers = new Map(
        lines.map((line) => [line.slice(0, line.indexOf(":")).toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]),
      );
      clearTimeout(timer);
      if (status === 101) resolve({ head: { status, headers, bytes: end + 4, readUs }, rest: Buffer.from(text.slice(end + 4), "latin1") });
      else {
        const isRefusal = status === 401 || status === 403 || status === 429 || status >= 500;
        const words = status === 0 ? `${oneLine(statusLine!.slice(0, 40))} is no HTTP/1.1` : `status ${status}`;
        fail(`the server does not change to WebSocket: ${words}`, isRefusal ? `status ${status}` : "wrong protocol", !isRefusal);
      }
    };
    socket.write(request);
  });
}

/** Throws ConnectError where the answer to a handshake is none (RFC 6455, section 4.1). */
function checkHandshake({ headers }: Head, key: string): void {
  const wanted = createHash("sha1")
    .update(key + acceptSuffix)
    .digest("base64");
  if (headers.get("sec-websocket-accept") !== wanted || headers.get("upgrade")?.toLowerCase() !== "websocket")
    throw new ConnectError("the answer to the handshake of WebSocket does not prove that the server speaks it", "wrong protocol", true);
  if (headers.has("sec-websocket-protocol"))
    throw new ConnectError("the server chose a subprotocol of WebSocket, which was not asked for", "wrong protocol", true);
}
