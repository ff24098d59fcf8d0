/** Servers and networks that do odd things, each with what the bench says of it. docs/odd-servers.md shows the same tables. */
import { createServer as createHttp2Server, type ServerHttp2Stream } from "node:http2";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { NetworkInput } from "../../src/network/impairment.ts";
import { listen } from "./servers.ts";

/** What is put between the bench and a good server, or stands in place of one. */
export interface Stranger {
  /** What it does, as the docs say it. */
  readonly does: string;
  /** null: it is measured as any other. Else a part of what the bench says. */
  readonly says: string | null;
  /** Default "h1". */
  readonly protocol?: "h1" | "h2c" | "h1s";
  /** Flags of the bench's own network. */
  readonly network?: NetworkInput;
  /** Starts it. Resolves to its port, or to a whole address. */
  readonly start: (started: Started) => Promise<number | string>;
}

/** What a stranger has opened, to be closed after the test. */
export class Started {
  readonly #servers: Server[] = [];
  readonly #sockets = new Set<Socket>();

  /** Calls `onConnection` for each connection. Resolves to the port. */
  tcp(onConnection: (socket: Socket) => void): Promise<number> {
    return this.listen(
      createServer((socket) => {
        this.keep(socket);
        onConnection(socket);
      }),
    );
  }

  listen(server: Server): Promise<number> {
    this.#servers.push(server);
    return listen(server);
  }

  keep(socket: Socket): Socket {
    this.#sockets.add(socket);
    socket.on("error", () => {});
    return socket;
  }

  hangUp(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  stop(): void {
    this.hangUp();
    for (const server of this.#servers) server.close();
  }
}

export const tokens = 5;
const head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n";
const chunk = (text: string | Buffer): string => `${Buffer.byteLength(text).toString(16)}\r\n${text.toString()}\r\n`;
const event = (content: string, finish: string | null = null): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: finish }] })}\n\n`;
const events: readonly string[] = [
  ...Array.from({ length: tokens }, (_, index) => event(`word${index} `)),
  event("", "stop").replace('"content":""', ""),
  "data: [DONE]\n\n",
];
const whole = events.join("");
const sized = (status: string, headers: string, body: string): string =>
  `HTTP/1.1 ${status}\r\n${headers}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
const json = "content-type: application/json\r\n";

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Writes the parts one after the other, each in a packet of its own where the system keeps them apart. */
async function slowly(socket: Socket, parts: Iterable<string | Buffer>, ms = 2): Promise<void> {
  for (const part of parts) {
    if (!socket.writable) return;
    socket.write(part);
    await pause(ms);
  }
}

/** A good stream, token by token. */
const stream = (socket: Socket): Promise<void> => slowly(socket, [`${head}\r\n`, ...events.map((one) => chunk(one)), "0\r\n\r\n"]);

/** An HTTP/1.1 server: the model list is well, and `answer` is called for each POST. */
const h1 =
  (answer: (socket: Socket, request: string, number: number) => unknown) =>
  (started: Started): Promise<number> => {
    let number = 0;
    return started.tcp((socket) => {
      let text = "";
      socket.on("data", (bytes: Buffer) => {
        text += bytes.toString("latin1");
        for (;;) {
          const end = text.indexOf("\r\n\r\n");
          const length = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? 0);
          if (end < 0 || text.length < end + 4 + length) return;
          const request = text.slice(0, end + 4 + length);
          text = text.slice(request.length);
          if (request.startsWith("GET")) socket.write(sized("200 OK", json, '{"data":[]}'));
          else void answer(socket, request, number++);
        }
      });
    });
  };

/** An HTTP/2 server; `answer` is called for each POST, with what ends all connections. */
const h2 =
  (answer: (stream: ServerHttp2Stream, hangUp: () => void) => void) =>
  (started: Started): Promise<number> => {
    const server = createHttp2Server({ settings: { maxConcurrentStreams: 100 } });
    server.on("connection", (socket: Socket) => started.keep(socket));
    server.on("session", (session) => session.on("error", () => {}));
    server.on("stream", (one, headers) => {
      one.on("error", () => {});
      if (headers[":method"] === "POST") return answer(one, () => started.hangUp());
      one.respond({ ":status": 200 });
      one.end("{}");
    });
    return started.listen(server);
  };

const sse = { ":status": 200, "content-type": "text/event-stream" };
const page = (title: string): string => `<html><head><title>${title}</title></head><body><h1>${title}</h1></body></html>`;
const html = "content-type: text/html; charset=utf-8\r\n";

export const servers: readonly Stranger[] = [
  {
    does: "speaks SSH",
    says: "does not speak h1: wrong protocol (it begins with SSH-2.0-OpenSSH_9.2p1)",
    start: (started) => started.tcp((socket) => socket.write("SSH-2.0-OpenSSH_9.2p1\r\n")),
  },
  {
    does: "speaks TLS where it is asked in cleartext",
    says: "does not speak h1: wrong protocol (it answers in TLS; is it an https: address?)",
    start: (started) => started.tcp((socket) => socket.on("data", () => socket.end(Buffer.from([21, 3, 1, 0, 2, 2, 70])))),
  },
  {
    does: "is nginx, and speaks TLS where it is asked in cleartext",
    says: 'status 400 (2): "text/html; 400 The plain HTTP request was sent to HTTPS port"',
    start: h1((socket) => socket.end(sized("400 Bad Request", html, page("400 The plain HTTP request was sent to HTTPS port")))),
  },
  {
    does: "speaks cleartext where it is asked in TLS",
    says: "does not speak h1s: the port does not speak TLS; is it an http: address?",
    protocol: "h1s",
    start: async (started) =>
      `https://127.0.0.1:${await started.tcp((socket) => socket.on("data", () => socket.end(sized("400 X", "", ""))))}`,
  },
  {
    does: "says 426 and wants a WebSocket",
    says: 'status 426 (2): "Upgrade Required"',
    start: h1((socket) => socket.write(sized("426 Upgrade Required", "upgrade: websocket\r\n", "Upgrade Required"))),
  },
  {
    does: "is out of quota: 429 in Google's shape",
    says: 'status 429 (2): "Quota exceeded for metric"',
    start: h1((socket) => socket.write(sized("429 X", json, '[{"error":{"code":429,"message":"Quota exceeded for metric"}}]'))),
  },
  {
    does: "repeats the key in its 401",
    says: 'status 401 (2): "Incorrect API key provided: ***"',
    start: h1((socket, request) => {
      const key = /Bearer (\S+)/.exec(request)?.[1] ?? "none";
      socket.write(sized("401 X", json, JSON.stringify({ error: { message: `Incorrect API key provided: ${key}` } })));
    }),
  },
  {
    does: "puts terminal codes into its error",
    says: 'status 500 (2): "\\u{1b}[2J\\u{1b}]0;owned\\u{7} failed"',
    start: h1((socket) => socket.write(sized("500 X", "content-type: text/plain\r\n", "\u001B[2J\u001B]0;owned\u0007\r\nfailed"))),
  },
  {
    does: "redirects to itself",
    says: 'status 308 (2): "Location: /v1/chat/completions"',
    start: h1((socket) => socket.write(sized("308 X", "location: /v1/chat/completions\r\n", ""))),
  },
  {
    does: "answers 204",
    says: 'incomplete stream (2): "an empty body"',
    start: h1((socket) => socket.write("HTTP/1.1 204 No Content\r\n\r\n")),
  },
  {
    does: "streams lines of JSON, as Ollama's own API does",
    says: 'not a stream (2): "application/x-ndjson',
    start: h1((socket) =>
      socket.write(sized("200 OK", "content-type: application/x-ndjson\r\n", '{"message":{"content":"a"}}\n{"done":true}\n')),
    ),
  },
  {
    does: "streams events under application/json",
    says: 'not a stream (2): "data: {',
    start: h1((socket) => socket.write(sized("200 OK", json, whole))),
  },
  {
    does: "runs out of memory and says so in its first event",
    says: 'error event (2): "CUDA out of memory"',
    start: h1((socket) => socket.write(`${head}\r\n${chunk('data: {"error":{"message":"CUDA out of memory","code":500}}\n\n')}0\r\n\r\n`)),
  },
  {
    does: "ends in Anthropic's error event",
    says: 'error event (2): "Overloaded"',
    start: h1((socket) =>
      socket.write(
        `${head}\r\n${chunk('event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n')}0\r\n\r\n`,
      ),
    ),
  },
  {
    does: "fails each second request",
    says: '1 of 2 requests failed: status 503 (1): "busy"',
    // The first one is the bench's own question.
    start: h1((socket, _request, number) => (number % 2 === 1 ? socket.write(sized("503 X", "", "busy")) : stream(socket))),
  },
  {
    does: "gives a length and closes before it",
    says: "connection closed (2)",
    start: h1((socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 999\r\n\r\ndata: {}\n\n")),
  },
  {
    does: "ends the lines of its head in LF alone",
    says: 'malformed response (2): "the lines of its head end in LF without CR"',
    start: h1((socket) => socket.write("HTTP/1.1 200 OK\ncontent-type: text/event-stream\n\n")),
  },
  {
    does: "writes the sizes of its chunks as 0x12",
    says: 'malformed response (2): "not in chunks"',
    start: h1((socket) => socket.write(`${head}\r\n0x12\r\n`)),
  },
  {
    does: "resets HTTP/2 streams",
    says: 'reset (2): "RST_STREAM INTERNAL_ERROR"',
    protocol: "h2c",
    start: h2((one) => {
      one.respond(sse);
      one.write(event("a"), () => setTimeout(() => one.destroy(new Error("broken")), 5));
    }),
  },
  {
    does: "says goodbye within an HTTP/2 answer",
    says: "GOAWAY ENHANCE_YOUR_CALM: too_many_pings",
    protocol: "h2c",
    start: h2((one, hangUp) => {
      one.respond(sse);
      one.write(event("a"), () => {
        one.session?.goaway(11, one.id, Buffer.from("too_many_pings"));
        setTimeout(hangUp, 20);
      });
    }),
  },
  {
    does: "answers HTTP/2 in HTTP/1.1",
    says: "does not speak h2c: h2c was asked for, the server does not answer in HTTP/2",
    protocol: "h2c",
    start: (started) => started.tcp((socket) => socket.on("data", () => socket.end(sized("400 Bad Request", "", "")))),
  },
  {
    does: "calls its events text/plain",
    says: null,
    start: h1((socket) =>
      slowly(socket, [`${head.replace("text/event-stream", "text/plain")}\r\n`, ...events.map((one) => chunk(one)), "0\r\n\r\n"]),
    ),
  },
  {
    does: "ends lines in CR alone",
    says: null,
    start: h1((socket) => slowly(socket, [`${head}\r\n`, ...events.map((one) => chunk(one.replaceAll("\n", "\r"))), "0\r\n\r\n"])),
  },
  {
    does: "sends each byte in a chunk of its own",
    says: null,
    start: h1((socket) => socket.write(`${head}\r\n${Array.from(whole, (byte) => chunk(byte)).join("")}0\r\n\r\n`)),
  },
  {
    does: "adds chunk extensions, and trailers behind them",
    says: null,
    start: h1((socket) =>
      slowly(socket, [`${head}\r\n`, ...events.map((one) => chunk(one).replace("\r\n", ";a=b\r\n")), "0\r\nx-a: b\r\n\r\n"]),
    ),
  },
  {
    does: "sends 100 and 103 before its answer",
    says: null,
    start: h1((socket) => {
      socket.write("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n");
      return stream(socket);
    }),
  },
  {
    does: "shouts its header names",
    says: null,
    start: h1((socket) =>
      slowly(socket, [
        `${head.toUpperCase().replace("HTTP/1.1 200 OK", "HTTP/1.1 200")}\r\n`,
        ...events.map((one) => chunk(one)),
        "0\r\n\r\n",
      ]),
    ),
  },
  {
    does: "spreads the JSON of an event over several data lines",
    says: null,
    start: h1((socket) => slowly(socket, [`${head}\r\n`, ...events.map((one) => chunk(one.replaceAll(",", ",\ndata: "))), "0\r\n\r\n"])),
  },
  {
    does: "takes max_completion_tokens, and neither max_tokens nor seed",
    says: "refuses max_tokens: requests carry max_completion_tokens",
    start: h1((socket, request) => {
      const wrong = ["seed", "max_tokens"].find((name) => request.includes(`"${name}"`));
      if (wrong === undefined) return stream(socket);
      return socket.write(sized("400 X", json, JSON.stringify({ error: { message: `Unsupported parameter: '${wrong}'` } })));
    }),
  },
  {
    does: "stands at /v1beta/openai/ and wants a query",
    says: null,
    start: async (started) => {
      const port = await h1((socket, request) =>
        request.startsWith("POST /v1beta/openai/chat/completions?version=2 ") ? stream(socket) : socket.write(sized("404 X", "", "")),
      )(started);
      return `http://127.0.0.1:${port}/v1beta/openai/?version=2`;
    },
  },
  {
    does: "stands at /proxy/v1 and is asked at /proxy",
    says: 'status 404: "no such path" (the base URL is http://127.0.0.1:',
    start: async (started) => {
      const port = await h1((socket, request) =>
        request.startsWith("POST /proxy/v1/") ? stream(socket) : socket.write(sized("404 X", "", "no such path")),
      )(started);
      return `http://127.0.0.1:${port}/proxy`;
    },
  },
  {
    does: "speaks HTTP/1.0",
    says: "the server answers in HTTP/1.0, with a connection for each request",
    start: (started) =>
      started.tcp((socket) => {
        socket.on("data", (bytes: Buffer) => {
          if (!bytes.includes("POST")) socket.end("HTTP/1.0 200 OK\r\n\r\n{}");
          else void slowly(socket, ["HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", ...events]).then(() => socket.end());
        });
      }),
  },
];

/** A good server, and between it and the bench what `between` makes of the bytes of a connection. */
const between =
  (pass: (client: Socket, server: Socket, number: number) => void) =>
  async (started: Started): Promise<number> => {
    const port = await h1((socket) => stream(socket))(started);
    let number = 0;
    return started.tcp((client) => {
      const server = started.keep(connect(port, "127.0.0.1"));
      client.on("close", () => server.destroy());
      pass(client, server, number++);
    });
  };

const goodServer = h1((socket) => stream(socket));

export const networks: readonly Stranger[] = [
  { does: "is 60 ms away, with jitter", says: null, network: { rtt: 60, jitter: "exponential(5ms)" }, start: goodServer },
  { does: "carries 64 kbit/s", says: null, network: { bandwidth: "64kbit" }, start: goodServer },
  { does: "loses each tenth segment, so that all behind it is late", says: null, network: { stall: "10%,30ms" }, start: goodServer },
  { does: "resets connections after 600 bytes", says: "reset (", network: { down: { cut: "600b,rst" } }, start: goodServer },
  { does: "ends connections after 600 bytes", says: "connection closed (", network: { down: { cut: "600b,fin" } }, start: goodServer },
  {
    does: "passes each byte in a segment of its own",
    says: null,
    start: between((client, server) => {
      client.setNoDelay(true);
      client.on("data", (bytes) => server.write(bytes));
      server.on("data", (bytes: Buffer) => {
        for (const byte of bytes) client.write(Buffer.from([byte]));
      });
    }),
  },
  {
    does: "swallows everything behind the head of an answer",
    says: "timeout (2)",
    start: between((client, server) => {
      client.on("data", (bytes) => server.write(bytes));
      let isOpen = true;
      server.on("data", (bytes: Buffer) => {
        isOpen &&= !bytes.includes("word");
        if (isOpen) client.write(bytes);
      });
    }),
  },
  {
    does: "changes a byte in the size of a chunk",
    says: 'malformed response (2): "not in chunks"',
    start: between((client, server) => {
      client.on("data", (bytes) => server.write(bytes));
      server.on("data", (bytes: Buffer) =>
        client.write(
          bytes
            .toString("latin1")
            .replace(/(chunked\r\n\r\n[^]*)|^[0-9a-f]+\r\n/, (all, first: string | undefined) => first ?? all.replace(/^./, "?")),
        ),
      );
    }),
  },
  {
    does: "is a captive portal: a login page in place of each answer",
    says: 'status 302 (2): "Location: http://portal.example/login; text/html; Welcome to our guests"',
    start: (started) =>
      started.tcp((socket) =>
        socket.on("data", () =>
          socket.end(
            sized("302 Found", `location: http://portal.example/login\r\nconnection: close\r\n${html}`, page("Welcome to our guests")),
          ),
        ),
      ),
  },
  {
    does: "lets the first two connections through and refuses the others",
    says: "connection refused",
    start: async (started) => {
      const port = await goodServer(started);
      let number = 0;
      const door = createServer((client) => {
        started.keep(client);
        const server = started.keep(connect(port, "127.0.0.1"));
        client.pipe(server).pipe(client);
        if (++number === 2) door.close();
      });
      return started.listen(door);
    },
  },
  {
    does: "has no such name",
    says: "does not speak h1: getaddrinfo ",
    start: () => Promise.resolve("http://fakeai-nowhere.invalid"),
  },
  {
    does: "accepts connections for a server that is gone",
    says: "does not speak h1: connection closed",
    start: (started) => started.tcp((socket) => setTimeout(() => socket.end(), 20)),
  },
];
