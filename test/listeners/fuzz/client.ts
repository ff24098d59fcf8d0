/** A client that sends what it is given and looks only at what an attacked server must not get wrong. */
import { type ClientHttp2Session, connect as connectHttp2, constants, type OutgoingHttpHeaders } from "node:http2";
import type { IncomingMessage } from "node:http";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { ChunkedReader } from "../../../src/wire/chunked.ts";
import { sleep } from "../../support/wait.ts";
import { WebSocket } from "ws";
import type { Wire } from "./bytes.ts";
import type { RequestCase } from "./requests.ts";
import { injectedHeader, jsonOf } from "./values.ts";

/** How long a head may be out, and how long an answer is read before it is cut, ms. */
interface Patience {
  readonly headMs: number;
  readonly readMs: number;
}
const patient: Patience = { headMs: 10_000, readMs: 400 };
/** With an answer that was asked to be late or broken. */
const impatient: Patience = { headMs: 100, readMs: 100 };
const patienceWith = ({ asksForTrouble, readMs = patient.readMs }: RequestCase): Patience =>
  asksForTrouble ? impatient : { ...patient, readMs };

export interface Outcome {
  /** null: no head came. */
  readonly status: number | null;
  readonly bodyBytes: number;
  /** The first bytes of the body, for errors. */
  readonly begin: string;
  /** What no answer may be; null: it was one. */
  readonly fault: string | null;
  /** node's client did not send it. */
  readonly unsent: boolean;
}

export interface Client {
  ask(request: RequestCase): Promise<Outcome>;
  /** Writes bytes to a connection of its own and cuts it. Returns what came back. */
  write(pieces: readonly Buffer[]): Promise<string>;
  close(): void;
}

/** A connection that TLS is spoken on where the origin says so. */
function open(origin: string, alpn: string): Socket {
  const { hostname, port, protocol } = new URL(origin);
  const address = { host: hostname, port: Number(port) };
  const socket = protocol === "https:" ? connectTls({ ...address, rejectUnauthorized: false, ALPNProtocols: [alpn] }) : connectTcp(address);
  socket.setNoDelay(true);
  // A request that waits for its answer hears of the close.
  socket.on("error", () => {});
  return socket;
}

/** How long a connection of bytes is listened to. */
const listenMs = 40;

async function writeBytes(origin: string, alpn: string, pieces: readonly Buffer[]): Promise<string> {
  const socket = open(origin, alpn);
  let heard = "";
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.on("data", (chunk: Buffer) => {
    if (heard.length < 100_000) heard += chunk.toString("latin1");
  });
  await Promise.race([
    closed,
    new Promise<void>((resolve) => socket.once(origin.startsWith("https:") ? "secureConnect" : "connect", () => resolve())),
    sleep(2000),
  ]);
  for (const piece of pieces) {
    if (socket.writable) socket.write(piece);
    await new Promise(setImmediate);
  }
  await Promise.race([closed, sleep(listenMs)]);
  socket.destroy();
  return heard;
}

/** What of a head is of interest. */
interface Head {
  readonly status: number;
  readonly length: number | null;
  readonly isChunked: boolean;
  readonly closes: boolean;
  readonly isInjected: boolean;
}

function readHead(text: string): Head | null {
  const lines = text.split("\r\n");
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(lines[0]!)?.[1];
  if (status === undefined) return null;
  const values = new Map<string, string>();
  for (const line of lines.slice(1)) {
    const colon = line.indexOf(":");
    values.set(line.slice(0, colon).trim().toLowerCase(), line.slice(colon + 1).trim());
  }
  const length = values.get("content-length");
  return {
    status: Number(status),
    length: length === undefined ? null : Number(length),
    isChunked: values.get("transfer-encoding")?.toLowerCase() === "chunked",
    closes: values.get("connection")?.toLowerCase() === "close",
    isInjected: [...values.keys()].some((name) => name.includes(injectedHeader)) || /[\r\n]x-injected/i.test(text),
  };
}

class H1Client implements Client {
  readonly #origin: string;
  #socket: Socket | null = null;

  constructor(origin: string) {
    this.#origin = origin;
  }

  ask(request: RequestCase): Promise<Outcome> {
    const socket = (this.#socket ??= open(this.#origin, "http/1.1"));
    const { headMs, readMs } = patienceWith(request);
    return new Promise((resolve) => {
      let waiting: Buffer = Buffer.alloc(0);
      let head: Head | null = null;
      let bodyBytes = 0;
      let begin = "";
      const chunks = new ChunkedReader((bytes, start, end) => onBody(bytes.subarray(start, end)));
      const onBody = (bytes: Buffer): void => {
        if (begin.length < 300) begin += bytes.toString("utf8", 0, 300);
        bodyBytes += bytes.length;
      };
      const done = (fault: string | null, keep = false): void => {
        clearTimeout(timer);
        socket.off("data", onData).off("close", onClose);
        if (!keep) {
          this.#socket = null;
          socket.destroy();
        }
        resolve({
          status: head?.status ?? null,
          bodyBytes,
          begin,
          fault: head?.isInjected ? "a header was injected" : fault,
          unsent: false,
        });
      };
      const finish = (rest: number): void => done(rest > 0 ? "bytes behind the answer" : null, rest === 0 && !head!.closes);
      const onData = (chunk: Buffer): void => {
        if (head === null) {
          waiting = waiting.length === 0 ? chunk : Buffer.concat([waiting, chunk]);
          const end = waiting.indexOf("\r\n\r\n");
          if (end < 0) return;
          head = readHead(waiting.toString("latin1", 0, end));
          if (head === null) return done(`no head: ${JSON.stringify(waiting.toString("latin1", 0, 40))}`);
          const rest = waiting.subarray(end + 4);
          waiting = Buffer.alloc(0);
          if (head.status < 200) head = null;
          else {
            clearTimeout(timer);
            timer = setTimeout(() => done(null), readMs);
            if (request.method === "HEAD" || head.status === 204 || head.status === 304) return finish(rest.length);
            if (head.length === 0) return finish(rest.length);
          }
          if (rest.length > 0) onData(rest);
          return;
        }
        if (head.isChunked) {
          const end = chunks.read(chunk, 0, chunk.length);
          if (chunks.isMalformed) done("malformed chunks");
          else if (chunks.isDone) finish(chunk.length - end);
          return;
        }
        const left = head.length === null ? Infinity : head.length - bodyBytes;
        onBody(chunk.subarray(0, Math.min(left, chunk.length)));
        if (chunk.length >= left) finish(chunk.length - left);
      };
      const onClose = (): void => {
        if (head === null) return done("the connection was closed without an answer");
        done(head.isChunked || (head.length !== null && bodyBytes < head.length) ? "the answer broke off" : null);
      };
      let timer = setTimeout(() => done(`no answer in ${headMs} ms`), headMs);
      socket.on("data", onData).once("close", onClose);
      const { method, target, headers, body } = request;
      const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join("");
      const length = body === null ? "" : `content-type: application/json\r\ncontent-length: ${body.length}\r\n`;
      // UTF-8 in a target or a value goes out as it is.
      socket.write(Buffer.from(`${method} ${target} HTTP/1.1\r\nhost: ${new URL(this.#origin).host}\r\n${length}${lines}\r\n`));
      if (body !== null) socket.write(body);
    });
  }

  write(pieces: readonly Buffer[]): Promise<string> {
    return writeBytes(this.#origin, "http/1.1", pieces);
  }

  close(): void {
    this.#socket?.destroy();
  }
}

class H2Client implements Client {
  readonly #origin: string;
  #session: ClientHttp2Session | null = null;

  constructor(origin: string) {
    this.#origin = origin;
  }

  #open(): ClientHttp2Session {
    const usable = this.#session !== null && !this.#session.closed && !this.#session.destroyed;
    if (usable) return this.#session!;
    // Node's client refuses answers of a session that holds more than 10 MB, as of bodies that the server cut.
    const maxSessionMemory = 1000;
    const session = connectHttp2(this.#origin, { rejectUnauthorized: false, maxSessionMemory, settings: { initialWindowSize: 1_048_576 } });
    session.on("error", () => {});
    session.once("connect", () => session.setLocalWindowSize?.(8_388_608));
    this.#session = session;
    return session;
  }

  ask(request: RequestCase): Promise<Outcome> {
    const { method, target, headers, body } = request;
    const { headMs, readMs } = patienceWith(request);
    return new Promise((resolve) => {
      let status: number | null = null;
      let bodyBytes = 0;
      let begin = "";
      let isInjected = false;
      const end = (fault: string | null, unsent = false): void => {
        clearTimeout(timer);
        resolve({ status, bodyBytes, begin, fault: isInjected ? "a header was injected" : fault, unsent });
      };
      let timer = setTimeout(() => {
        this.#session?.destroy();
        end(`no answer in ${headMs} ms`);
      }, headMs);
      const fields: OutgoingHttpHeaders = { ":method": method, ":path": target };
      if (body !== null) Object.assign(fields, { "content-type": "application/json", "content-length": body.length });
      for (const [name, value] of headers) {
        // HTTP/2 has no such field.
        if (/^(?:connection|upgrade|transfer-encoding|keep-alive)$/.test(name)) continue;
        // node writes the low byte of each unit: of UTF-8's bytes none becomes a NUL.
        fields[name] = Buffer.from(value).toString("latin1");
      }
      let stream;
      try {
        stream = this.#open().request(fields, { endStream: body === null });
      } catch {
        return end(null, true);
      }
      let ended = false;
      stream.on("response", (answer) => {
        status = answer[":status"] ?? null;
        isInjected = Object.entries(answer).some(
          ([name, value]) => `${name}${String(value)}`.includes(`\n${injectedHeader}`) || name.includes(injectedHeader),
        );
        clearTimeout(timer);
        timer = setTimeout(() => {
          ended = true;
          stream.close(constants.NGHTTP2_CANCEL);
        }, readMs);
      });
      stream.on("data", (chunk: Buffer) => {
        if (begin.length < 300) begin += chunk.toString("utf8", 0, 300);
        bodyBytes += chunk.length;
      });
      stream.on("end", () => (ended = true));
      stream.on("error", () => {});
      stream.on("close", () => {
        // A path without its slash makes a request malformed (RFC 9113, section 8.3.1), and so do spaces around a value (8.2.1).
        const isMalformed = !target.startsWith("/") || headers.some(([, value]) => /^[ \t]|[ \t]$/.test(value));
        const isRefused = isMalformed && stream.rstCode === constants.NGHTTP2_PROTOCOL_ERROR;
        if (status === null) end(isRefused ? null : `the stream was closed without an answer (code ${stream.rstCode})`);
        else end(ended || stream.rstCode === 0 ? null : `the answer broke off (code ${stream.rstCode})`);
      });
      if (body !== null) stream.end(body);
    });
  }

  write(pieces: readonly Buffer[]): Promise<string> {
    return writeBytes(this.#origin, "h2", pieces);
  }

  close(): void {
    this.#session?.destroy();
  }
}

/** Messages of one WebSocket: a request's body is what makes a response, its headers are the handshake's. */
/** The server's --max-body, as it is by default. A larger message ends its connection. */
const largestMessageBytes = 4_194_304;

class WebSocketClient implements Client {
  readonly #origin: string;
  #socket: WebSocket | null = null;

  constructor(origin: string) {
    this.#origin = origin;
  }

  ask(request: RequestCase): Promise<Outcome> {
    const { headers, json, body } = request;
    const isPlain = headers.length === 0;
    const { headMs, readMs } = patienceWith(request);
    return new Promise((resolve) => {
      let status: number | null = null;
      let bodyBytes = 0;
      let begin = "";
      let timer: NodeJS.Timeout | undefined;
      const done = (fault: string | null, keep = false): void => {
        clearTimeout(timer);
        socket.off("message", onMessage).off("close", onClose).off("unexpected-response", onRefusal);
        if (!keep) {
          if (this.#socket === socket) this.#socket = null;
          socket.terminate();
        }
        resolve({ status, bodyBytes, begin, fault, unsent: false });
      };
      const onMessage = (data: Buffer): void => {
        const text = data.toString();
        bodyBytes += data.length;
        if (begin.length < 300) begin += text.slice(0, 300);
        if (status === null) {
          clearTimeout(timer);
          timer = setTimeout(() => done(null), readMs);
        }
        const { type, status: told } = eventIn(text);
        status = type === "error" ? (told ?? 0) : (status ?? 200);
        if (type === "error" || /^response\.(?:completed|failed|incomplete)$/.test(type ?? "")) done(null, isPlain);
      };
      // What is too large or no text ends the connection with a code (RFC 6455, section 7.4).
      // A connection that is closed while a client writes is reset, and the close frame may be lost on its way.
      const onClose = (code: number): void =>
        done(code === 1006 && sentBytes <= largestMessageBytes ? "the connection was closed without a word" : null);
      let sentBytes = 0;
      const onRefusal = (_request: unknown, response: IncomingMessage): void => {
        status = response.statusCode!;
        done(null);
      };
      const send = (): void => {
        timer = setTimeout(() => done(`no answer in ${headMs} ms`), headMs);
        const members = isObject(json) ? jsonOf({ type: "response.create", ...json }) : (body?.toString("latin1") ?? "{}");
        sentBytes = Buffer.byteLength(members);
        socket.send(members);
      };
      const socket = isPlain && this.#socket?.readyState === WebSocket.OPEN ? this.#socket : this.#connect(headers);
      socket.on("message", onMessage).once("close", onClose).once("unexpected-response", onRefusal);
      if (isPlain) this.#socket = socket;
      if (socket.readyState === WebSocket.OPEN) send();
      else socket.once("open", send);
    });
  }

  #connect(headers: RequestCase["headers"]): WebSocket {
    const fields = headers.filter(([name]) => !/^(?:connection|upgrade|transfer-encoding|keep-alive|expect|host)$|^sec-/.test(name));
    // The bytes of UTF-8, one for each character, as fields of node's client are.
    const given = fields.map(([name, value]) => [name, Buffer.from(value).toString("latin1")] as const);
    const options = { perMessageDeflate: false, headers: Object.fromEntries(given) };
    const socket = new WebSocket(`${this.#origin}/v1/responses`, options);
    socket.on("error", () => {});
    return socket;
  }

  write(pieces: readonly Buffer[]): Promise<string> {
    return writeBytes(this.#origin.replace(/^ws/, "http"), "http/1.1", pieces);
  }

  close(): void {
    this.#socket?.terminate();
  }
}

/** An event; one without a type where a fault on purpose has broken its JSON. */
function eventIn(text: string): { readonly type?: string; readonly status?: number } {
  try {
    return JSON.parse(text) as { type: string; status?: number };
  } catch {
    return {};
  }
}

const isObject = (value: unknown): value is object => typeof value === "object" && value !== null && !Array.isArray(value);

export function openClient(origin: string, wire: Wire): Client {
  if (wire === "ws") return new WebSocketClient(origin);
  return wire === "h2" ? new H2Client(origin) : new H1Client(origin);
}
