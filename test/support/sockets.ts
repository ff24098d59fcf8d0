/** WebSocket clients for tests: of the package ws, and of bare bytes. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { OutgoingHttpHeaders } from "node:http";
import { type ClientOptions, WebSocket } from "ws";
import type { ServerOptions } from "../../src/index.ts";
import { loadUws } from "../../src/listeners/uws/module.ts";
import { type StartedServer, startServer } from "../../src/server/server.ts";
import { freePorts, resolveConfig } from "../../src/settings/server.ts";

export interface SocketTarget {
  readonly name: string;
  readonly protocol: "ws" | "wss";
  readonly engine: "uws" | "node";
}

/** Every way to a WebSocket that this Node can start. */
export const socketTargets: readonly SocketTarget[] = (["uws", "node"] as const).flatMap((engine) =>
  (["ws", "wss"] as const).map((protocol) => ({ name: `${protocol} on ${engine}`, protocol, engine })),
);
const uwsRuns = (await loadUws()) !== null;
export const runnableTargets: readonly SocketTarget[] = socketTargets.filter(({ engine }) => engine === "node" || uwsRuns);

export async function startSockets({ protocol, engine }: SocketTarget, options: ServerOptions = {}): Promise<StartedServer> {
  return startServer(resolveConfig({ protocol, h1Engine: engine, ...options }, freePorts));
}

/** An event as JSON, with what tests look at. */
export interface Message {
  readonly type: string;
  readonly sequence_number?: number;
  readonly stream_id?: string;
  readonly status?: number;
  readonly delta?: string;
  readonly error?: { readonly type: string; readonly code: string | null; readonly message: string; readonly param?: string | null };
  readonly response?: {
    readonly id: string;
    readonly status: string;
    readonly output: readonly {
      readonly type: string;
      readonly content?: readonly { readonly text: string }[];
      readonly call_id?: string;
    }[];
    readonly usage: {
      readonly input_tokens: number;
      readonly output_tokens: number;
      readonly input_tokens_details: { readonly cached_tokens: number };
    } | null;
    readonly incomplete_details?: { readonly reason: string } | null;
    readonly previous_response_id?: string | null;
  };
  readonly [member: string]: unknown;
}

const terminal: ReadonlySet<string> = new Set([
  "response.completed",
  "response.failed",
  "response.incomplete",
  // Of Realtime.
  "response.done",
  "error",
]);

/** A client that keeps what comes. */
export class SocketClient {
  readonly socket: WebSocket;
  readonly messages: Message[] = [];
  readonly texts: string[] = [];
  binaries = 0;
  closed: { readonly code: number; readonly reason: string } | null = null;
  #read = 0;
  #wake: (() => void) | null = null;

  constructor(socket: WebSocket) {
    this.socket = socket;
    socket.on("message", (data: Buffer, isBinary) => {
      if (isBinary) this.binaries++;
      const text = data.toString();
      this.texts.push(text);
      this.messages.push(parsed(text));
      this.#wake?.();
    });
    socket.on("close", (code, reason) => {
      this.closed = { code, reason: reason.toString() };
      this.#wake?.();
    });
    socket.on("error", () => {});
  }

  send(message: object | string): void {
    this.socket.send(typeof message === "string" ? message : JSON.stringify(message));
  }

  create(more: object = {}): void {
    this.send({ type: "response.create", model: "m", input: "hello", ...more });
  }

  /** The next message that fits; those before it count as read. */
  async next(fits: (message: Message) => boolean = () => true, timeoutMs = 5000): Promise<Message> {
    const untilMs = performance.now() + timeoutMs;
    for (;;) {
      while (this.#read < this.messages.length) {
        const message = this.messages[this.#read++]!;
        if (fits(message)) return message;
      }
      if (this.closed !== null) throw new Error(`closed with ${this.closed.code} ${this.closed.reason}`);
      if (performance.now() > untilMs) throw new Error(`no such message: ${this.texts.slice(-3).join("\n").slice(0, 500)}`);
      await this.#woken(untilMs);
    }
  }

  /** The message that ends a response of a lane: default is the lane without a name. */
  async end(lane?: string): Promise<Message> {
    return this.next((message) => terminal.has(message.type) && message.stream_id === lane);
  }

  async closing(timeoutMs = 5000): Promise<{ readonly code: number; readonly reason: string }> {
    const untilMs = performance.now() + timeoutMs;
    while (this.closed === null) {
      if (performance.now() > untilMs) throw new Error("still open");
      await this.#woken(untilMs);
    }
    return this.closed;
  }

  #woken(untilMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, untilMs - performance.now() + 1);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}

function parsed(text: string): Message {
  try {
    return JSON.parse(text) as Message;
  } catch {
    return { type: "not JSON" };
  }
}

/** Connects. Rejects with an Error whose message holds the status where the handshake is refused. */
export async function connectSocket(
  server: StartedServer,
  protocol: "ws" | "wss" = "ws",
  {
    path = "/v1/responses",
    headers = {},
    ...options
  }: ClientOptions & { readonly path?: string; readonly headers?: OutgoingHttpHeaders } = {},
): Promise<SocketClient> {
  const ca = server.caPath === null ? {} : { ca: readFileSync(server.caPath, "utf8") };
  const socket = new WebSocket(`${server.urls[protocol]!}${path}`, { perMessageDeflate: false, headers, ...ca, ...options });
  const client = new SocketClient(socket);
  await once(socket, "open");
  return client;
}

/** Latencies and lengths that are drawn, so that only the seed makes two answers alike. */
export const startDrawn = (target: SocketTarget): Promise<StartedServer> =>
  startSockets(target, {
    protocol: "h1,ws",
    ttft: "lognormal(4,0.5)",
    itl: "lognormal(1,0.5)",
    outputTokens: "uniform(5,20)",
    stamps: true,
  });

/** A tool with one parameter. */
export const lookTool = {
  type: "function",
  name: "look",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] as readonly string[] },
};
