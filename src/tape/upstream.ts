/** The connections of a recorder to the server that it records, in HTTP/1.1 and HTTP/2, with the time of every read. */
import http from "node:http";
import http2 from "node:http2";
import https from "node:https";
import type { TLSSocket } from "node:tls";
import { monotonicUs } from "../base/clock.ts";

/** What is spoken to the server. */
export type UpstreamProtocol = "h1" | "h1s" | "h2c" | "h2";

export interface UpstreamOptions {
  /** "https://api.example.com". */
  readonly origin: string;
  readonly protocol: UpstreamProtocol;
  /** PEM text of what is trusted beside the system's; null: nothing. */
  readonly ca: string | null;
  readonly insecure: boolean;
  /** A server that sends nothing for this long is given up. */
  readonly timeoutMs: number;
}

export interface UpstreamRequest {
  readonly method: string;
  /** With the query. */
  readonly target: string;
  /** Without those of the connection, `host` and `content-length`. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly body: Uint8Array;
}

/** Hears of one answer. Times are microseconds of the monotonic clock. */
export interface UpstreamAnswer {
  /** The request's last byte was handed to a connection. `connectUs`: what opening it took; null: it was there. */
  onSent(nowUs: number, connectUs: number | null): void;
  onHead(status: number, headers: readonly (readonly [name: string, value: string])[], nowUs: number): void;
  /** `bytes` stay as they are. */
  onData(bytes: Buffer, nowUs: number): void;
  onEnd(nowUs: number): void;
  /** It will not go on. Called once, and never after `onEnd`. */
  onFail(reason: string, nowUs: number): void;
}

/** A request under way. */
export interface UpstreamCall {
  pause(): void;
  resume(): void;
  /** Gives it up; nothing is heard of it any more. */
  abort(): void;
}

export interface Upstream {
  send(request: UpstreamRequest, answer: UpstreamAnswer): UpstreamCall;
  close(): void;
}

export function openUpstream(options: UpstreamOptions): Upstream {
  return options.protocol === "h2" || options.protocol === "h2c" ? new Http2Upstream(options) : new Http1Upstream(options);
}

/** In words for a client, without addresses. */
function reasonOf(error: Error): string {
  const { code } = error as NodeJS.ErrnoException;
  return code ?? "the connection broke";
}

/** Names in lower case, values as bytes (Latin-1), as node gives them. */
function linesOf(raw: readonly string[]): [string, string][] {
  const lines: [string, string][] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) lines.push([raw[at]!.toLowerCase(), raw[at + 1]!]);
  return lines;
}

class Http1Upstream implements Upstream {
  readonly #options: UpstreamOptions;
  readonly #agent: http.Agent;

  constructor(options: UpstreamOptions) {
    this.#options = options;
    const { ca, insecure } = options;
    const common = { keepAlive: true, maxSockets: Infinity, scheduling: "lifo" } as const;
    this.#agent =
      options.protocol === "h1s"
        ? new https.Agent({ ...common, ALPNProtocols: ["http/1.1"], rejectUnauthorized: !insecure, ...(ca !== null && { ca }) })
        : new http.Agent(common);
  }

  send({ method, target, headers, body }: UpstreamRequest, answer: UpstreamAnswer): UpstreamCall {
    const { origin, protocol, timeoutMs } = this.#options;
    const url = new URL(origin);
    const beganUs = monotonicUs();
    let isOver = false;
    let sentUs: number | null = null;
    let response: http.IncomingMessage | null = null;
    const request = (protocol === "h1s" ? https : http).request({
      agent: this.#agent,
      host: url.hostname.replace(/^\[|\]$/g, ""),
      port: url.port || (protocol === "h1s" ? 443 : 80),
      ...(protocol === "h1s" && { servername: /^[\d.]+$|:/.test(url.hostname) ? "" : url.hostname }),
      method,
      path: target,
      // As a list: names may come twice, and none is added.
      headers: [
        ...headers,
        ["host", url.host] as const,
        ...(body.length > 0 || method === "POST" ? [["content-length", String(body.length)] as const] : []),
      ].flat(),
      timeout: timeoutMs,
    });
    const fail = (reason: string): void => {
      if (isOver) return;
      isOver = true;
      request.destroy();
      answer.onFail(reason, monotonicUs());
    };
    const sent = (connectUs: number | null): void => {
      sentUs = monotonicUs();
      answer.onSent(sentUs, connectUs);
    };
    request.on("socket", (socket) => {
      socket.setNoDelay(true);
      if (!socket.connecting && (protocol !== "h1s" || (socket as TLSSocket).getProtocol() !== null)) sent(null);
      else socket.once(protocol === "h1s" ? "secureConnect" : "connect", () => sent(monotonicUs() - beganUs));
    });
    request.on("timeout", () => fail("ETIMEDOUT"));
    request.on("error", (error) => fail(reasonOf(error)));
    request.on("response", (incoming) => {
      response = incoming;
      answer.onHead(incoming.statusCode!, linesOf(incoming.rawHeaders), monotonicUs());
      incoming.on("data", (bytes: Buffer) => {
        if (!isOver) answer.onData(bytes, monotonicUs());
      });
      incoming.on("end", () => {
        if (isOver) return;
        if (!incoming.complete) return fail("ECONNRESET");
        isOver = true;
        answer.onEnd(monotonicUs());
      });
      incoming.on("error", (error) => fail(reasonOf(error)));
      incoming.on("close", () => fail("ECONNRESET"));
    });
    request.end(body.length === 0 ? undefined : body);
    return {
      pause: () => void response?.pause(),
      resume: () => void response?.resume(),
      abort: () => {
        isOver = true;
        request.destroy();
      },
    };
  }

  close(): void {
    this.#agent.destroy();
  }
}

/** Windows that no answer fills while its client is read: the server is not held up by ours. */
const windowBytes = 16_777_216;

class Http2Upstream implements Upstream {
  readonly #options: UpstreamOptions;
  #session: http2.ClientHttp2Session | null = null;

  constructor(options: UpstreamOptions) {
    this.#options = options;
  }

  send({ method, target, headers, body }: UpstreamRequest, answer: UpstreamAnswer): UpstreamCall {
    const { origin, protocol, timeoutMs } = this.#options;
    const beganUs = monotonicUs();
    let isOver = false;
    const fail = (reason: string): void => {
      if (isOver) return;
      isOver = true;
      answer.onFail(reason, monotonicUs());
    };
    const session = this.#open();
    const isNew = session.connecting;
    const scheme = protocol === "h2" ? "https" : "http";
    const named: http2.OutgoingHttpHeaders = { ":method": method, ":path": target, ":scheme": scheme, ":authority": new URL(origin).host };
    for (const [name, value] of headers) {
      const known = named[name];
      named[name] = known === undefined ? value : name === "cookie" ? `${String(known)}; ${value}` : `${String(known)}, ${value}`;
    }
    if (body.length > 0) named["content-length"] = String(body.length);
    let stream: http2.ClientHttp2Stream;
    try {
      stream = session.request(named, { endStream: body.length === 0 });
    } catch (error) {
      queueMicrotask(() => fail(reasonOf(error as Error)));
      return { pause: () => {}, resume: () => {}, abort: () => void (isOver = true) };
    }
    const sent = (): void => answer.onSent(monotonicUs(), isNew ? monotonicUs() - beganUs : null);
    if (isNew) session.once("connect", sent);
    else sent();
    stream.setTimeout(timeoutMs, () => {
      fail("ETIMEDOUT");
      stream.close(http2.constants.NGHTTP2_CANCEL);
    });
    stream.on("error", (error) => fail(reasonOf(error)));
    stream.on("response", (_headers, _flags, raw?: string[]) => {
      const lines = linesOf(raw ?? []);
      const status = Number(lines.find(([name]) => name === ":status")?.[1] ?? _headers[":status"]);
      const plain =
        lines.length > 0
          ? lines
          : Object.entries(_headers).flatMap(([name, value]) => [value].flat().map((one): [string, string] => [name, String(one)]));
      if (!isOver)
        answer.onHead(
          status,
          plain.filter(([name]) => !name.startsWith(":")),
          monotonicUs(),
        );
    });
    stream.on("data", (bytes: Buffer) => {
      if (!isOver) answer.onData(bytes, monotonicUs());
    });
    stream.on("end", () => {
      if (isOver || stream.rstCode !== http2.constants.NGHTTP2_NO_ERROR) return;
      isOver = true;
      answer.onEnd(monotonicUs());
    });
    stream.on("close", () => fail(stream.rstCode === 0 ? "ECONNRESET" : `RST_STREAM ${stream.rstCode}`));
    if (body.length > 0) stream.end(body);
    return {
      pause: () => void stream.pause(),
      resume: () => void stream.resume(),
      abort: () => {
        isOver = true;
        stream.close(http2.constants.NGHTTP2_CANCEL);
      },
    };
  }

  #open(): http2.ClientHttp2Session {
    const known = this.#session;
    if (known !== null && !known.closed && !known.destroyed) return known;
    const { origin, ca, insecure } = this.#options;
    const session = http2.connect(origin, {
      settings: { enablePush: false, initialWindowSize: windowBytes },
      rejectUnauthorized: !insecure,
      ...(ca !== null && { ca }),
    });
    session.on("connect", () => session.setLocalWindowSize(windowBytes));
    // Its streams tell.
    session.on("error", () => {});
    session.on("goaway", () => {
      if (this.#session === session) this.#session = null;
    });
    session.on("close", () => {
      if (this.#session === session) this.#session = null;
    });
    this.#session = session;
    return session;
  }

  close(): void {
    this.#session?.destroy();
  }
}
