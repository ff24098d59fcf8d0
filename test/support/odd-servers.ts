/** Servers that answer otherwise than they were asked: half of it, from a cache, several tokens in an event, usage that lies. */
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttp2Server, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import { createServer } from "node:net";
import { listen } from "./servers.ts";
import { sleep } from "./wait.ts";

/** What a request asked for. */
export interface OddAsk {
  readonly protocol: "h1" | "h2c";
  /** Requests of its protocol before it. */
  readonly number: number;
  readonly body: Readonly<Record<string, unknown>>;
}

/** One answer to a chat. */
export interface OddAnswer {
  /** Content events. */
  readonly events: number;
  /** Words in an event; default 1. */
  readonly tokensPerEvent?: number;
  /** Milliseconds between events; default 2. */
  readonly itlMs?: number;
  /** Default "length"; null: none. */
  readonly finishReason?: string | null;
  /** completion_tokens, sent where the request asks for usage; null: never. Default: as many as words were sent. */
  readonly usage?: number | null;
  /** Usage in each event, where the request asks for that. */
  readonly continuousUsage?: boolean;
  /** The whole body at once, with its length, as a cache has it; "json": unstreamed. */
  readonly whole?: boolean | "json";
  /** The answer is an error with this status and text. */
  readonly error?: readonly [status: number, text: string];
}

export interface OddServer {
  readonly url: string;
  /** Bodies of all requests, in order. */
  readonly asked: readonly OddAsk[];
  stop(): void;
}

type Request = IncomingMessage | Http2ServerRequest;
type Response = ServerResponse | Http2ServerResponse;

/** A server on HTTP/1.1 and HTTP/2 in cleartext, on one port. */
export async function oddServer(answerOf: (ask: OddAsk) => OddAnswer): Promise<OddServer> {
  const asked: OddAsk[] = [];
  const handle =
    (protocol: OddAsk["protocol"]) =>
    (request: Request, response: Response): void => {
      const parts: Buffer[] = [];
      request.on("data", (part: Buffer) => parts.push(part));
      request.on("end", () => {
        if (request.method === "GET") {
          response.end("{}");
          return;
        }
        const body = JSON.parse(Buffer.concat(parts).toString()) as OddAsk["body"];
        const ask = { protocol, number: asked.filter((one) => one.protocol === protocol).length, body };
        asked.push(ask);
        void send(ask, answerOf(ask), response);
      });
    };
  const h1 = createHttpServer(handle("h1"));
  const h2 = createHttp2Server(handle("h2c"));
  const sockets = new Set<{ destroy(): void }>();
  // Each event is a write of its own: Nagle's algorithm would gather them.
  const front = createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("readable", () => {
      const first = socket.read() as Buffer | null;
      if (first === null) return;
      socket.unshift(first);
      (first.toString("latin1", 0, 3) === "PRI" ? h2 : h1).emit("connection", socket);
    });
  });
  const port = await listen(front);
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    stop() {
      front.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

async function send({ body }: OddAsk, answer: OddAnswer, response: Response): Promise<void> {
  const { events, tokensPerEvent = 1, itlMs = 2, finishReason = "length", whole = false, error } = answer;
  if (error !== undefined) {
    response.writeHead(error[0], { "content-type": "application/json" });
    response.end(error[1]);
    return;
  }
  const usage = answer.usage === undefined ? events * tokensPerEvent : answer.usage;
  const options = (body["stream_options"] ?? {}) as { include_usage?: boolean; continuous_usage_stats?: boolean };
  if (whole === "json") {
    const message = { role: "assistant", content: " tok".repeat(events * tokensPerEvent) };
    const said = usage === null ? {} : { usage: { completion_tokens: usage } };
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ choices: [{ index: 0, message, finish_reason: finishReason }], ...said }));
    return;
  }
  const event = (value: object): string => `data: ${JSON.stringify(value)}\n\n`;
  const frames = Array.from({ length: events }, (_, index) => {
    const sofar = { completion_tokens: (index + 1) * tokensPerEvent };
    return event({
      choices: [{ index: 0, delta: { content: " tok".repeat(tokensPerEvent) }, finish_reason: null }],
      ...(answer.continuousUsage && options.continuous_usage_stats ? { usage: sofar } : {}),
    });
  });
  if (finishReason !== null) frames.push(event({ choices: [{ index: 0, delta: {}, finish_reason: finishReason }] }));
  if (usage !== null && options.include_usage) frames.push(event({ choices: [], usage: { completion_tokens: usage } }));
  frames.push("data: [DONE]\n\n");
  const text = frames.join("");
  if (whole) {
    response.writeHead(200, { "content-type": "text/event-stream", "content-length": Buffer.byteLength(text) });
    response.end(text);
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const frame of frames) {
    (response as ServerResponse).write(frame);
    if (itlMs > 0) await sleep(itlMs);
  }
  response.end();
}
