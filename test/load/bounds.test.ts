/** Servers that would hold a load without end, or fill its memory: each ends as a counted failure. */
import { createServer as createH2Server, type Http2Session, type ServerHttp2Stream } from "node:http2";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { clockIdentity } from "../../src/base/clock.ts";
import { generate } from "../../src/load/generator.ts";
import type { LoadJob, LoadReport } from "../../src/load/job.ts";
import { chatBody, times } from "../support/loads.ts";

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** Writes `piece` as fast as the client reads, until it leaves. */
function flood(out: Socket | ServerHttp2Stream, piece: Buffer): void {
  const more = (): void => {
    while (!out.destroyed && out.write(piece));
    if (!out.destroyed) out.once("drain", () => setImmediate(more));
  };
  more();
}

/** Writes `text` every `ms` until the client leaves. */
function drip(out: Socket | ServerHttp2Stream, text: string, ms: number): void {
  const timer = setInterval(() => out.write(text), ms);
  out.on("close", () => clearInterval(timer));
}

function listening(server: { listen: Server["listen"]; address: Server["address"]; close: () => unknown }): Promise<string> {
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${(server.address() as AddressInfo).port}`));
  });
}

async function h1(answer: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("data", () => answer(socket));
  });
  closing.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return listening(server);
}

async function h2(answer: (stream: ServerHttp2Stream) => void): Promise<string> {
  const sessions = new Set<Http2Session>();
  const server = createH2Server();
  server.on("session", (session) => sessions.add(session));
  server.on("stream", (stream) => {
    stream.on("error", () => {});
    stream.resume();
    answer(stream);
  });
  closing.push(() => {
    server.close();
    for (const session of sessions) session.destroy();
  });
  return listening(server);
}

function jobAt(origin: string, protocol: "h1" | "h2c", more: Partial<LoadJob> = {}): LoadJob {
  return {
    endpoint: {
      origin,
      protocol,
      path: "/v1/chat/completions",
      method: "POST",
      headers: { "content-type": "application/json" },
      tls: { ca: null, insecure: false, cipher: null },
    },
    connections: 1,
    reuse: "keep",
    streams: 1,
    mode: "closed",
    warmup: [],
    requests: times(2, { body: chatBody(), tokens: null }),
    idleTimeoutMs: 3000,
    requestTimeoutMs: 1000,
    stream: true,
    detail: false,
    clock: clockIdentity,
    ...more,
  };
}

const run = (job: LoadJob): Promise<LoadReport> =>
  generate(job, { signal: new AbortController().signal, onPhase: () => Promise.resolve(), onProgress() {} });

const head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const asStream = { ":status": 200, "content-type": "text/event-stream" };
const mebibyte = Buffer.alloc(1_048_576, "x");
/** Far below what two floods of a second carry. */
const mostBytes = 150e6;

describe("a request that never ends fails after --request-timeout, though bytes come", () => {
  test.each<[string, (socket: Socket) => void]>([
    [
      "one byte at a time",
      (socket) => {
        socket.write(`${head}data: `);
        drip(socket, "x", 50);
      },
    ],
    [
      "comments alone",
      (socket) => {
        socket.write(head);
        drip(socket, ": ping\n\n", 50);
      },
    ],
    [
      "empty data lines",
      (socket) => {
        socket.write(head);
        drip(socket, "data:\n\n", 50);
      },
    ],
    [
      "a head, one byte at a time",
      (socket) => {
        socket.write("HTTP/1.1 200 OK\r\nx: ");
        drip(socket, "x", 50);
      },
    ],
    [
      "a content-length that is never reached",
      (socket) => {
        socket.write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n{");
        drip(socket, " ", 50);
      },
    ],
  ])("HTTP/1.1: %s", async (_, answer) => {
    const { requests } = await run(jobAt(await h1(answer), "h1"));
    expect(requests).toMatchObject({ sent: 2, completed: 0, failed: 2, errors: { "request timeout": 2 } });
  });

  test.each<[string, string]>([
    ["comments alone", ": ping\n\n"],
    ["empty data lines", "data:\n\n"],
  ])("HTTP/2: %s", async (_, text) => {
    const origin = await h2((stream) => {
      stream.respond(asStream);
      drip(stream, text, 50);
    });
    expect((await run(jobAt(origin, "h2c"))).requests).toMatchObject({
      sent: 2,
      completed: 0,
      failed: 2,
      errors: { "request timeout": 2 },
    });
  });

  test("a server that answers nothing in time is left after the first requests", async () => {
    const origin = await h2((stream) => {
      stream.respond(asStream);
      drip(stream, ": ping\n\n", 20);
    });
    const many = { requests: times(100, { body: chatBody(), tokens: null }), requestTimeoutMs: 100 };
    const report = await run(jobAt(origin, "h2c", many));
    expect(report.requests.failed).toBe(8);
    expect(report.invalid.join()).toContain("the server does not answer");
  });
});

describe("a response that never ends is held in memory only so far", () => {
  test.each<[string, (socket: Socket) => void]>([
    [
      "a line",
      (socket) => {
        socket.write(head);
        flood(socket, mebibyte);
      },
    ],
    [
      "an event of many lines",
      (socket) => {
        socket.write(head);
        flood(socket, Buffer.from("data: xxxxxxxxxxxxxxxx\n".repeat(40_000)));
      },
    ],
    [
      "an event of empty lines",
      (socket) => {
        socket.write(head);
        flood(socket, Buffer.from("data\n".repeat(200_000)));
      },
    ],
    [
      "a JSON body",
      (socket) => {
        socket.write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n");
        flood(socket, mebibyte);
      },
    ],
    [
      "a head",
      (socket) => {
        socket.write("HTTP/1.1 200 OK\r\nx: ");
        flood(socket, mebibyte);
      },
    ],
    ["interim responses", (socket) => flood(socket, Buffer.from("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(1000)))],
    [
      "events with content",
      (socket) => {
        socket.write(head);
        flood(socket, Buffer.from('data: {"choices":[{"delta":{"content":"a"}}]}\n\n'.repeat(10_000)));
      },
    ],
  ])("HTTP/1.1: %s", async (_, answer) => {
    const origin = await h1(answer);
    const before = process.memoryUsage().rss;
    const { requests } = await run(jobAt(origin, "h1", { requestTimeoutMs: 20_000 }));
    expect(requests).toMatchObject({ sent: 2, completed: 0, failed: 2, errors: { "response too large": 2 } });
    expect(process.memoryUsage().rss - before).toBeLessThan(mostBytes);
  });

  test.each<[string, (stream: ServerHttp2Stream) => void]>([
    [
      "a line",
      (stream) => {
        stream.respond(asStream);
        flood(stream, mebibyte);
      },
    ],
    [
      "interim responses",
      (stream) => {
        for (let i = 0; i < 100; i++) stream.additionalHeaders({ ":status": 103, link: "</a>" });
      },
    ],
  ])("HTTP/2: %s", async (_, answer) => {
    const { requests } = await run(jobAt(await h2(answer), "h2c", { requestTimeoutMs: 20_000 }));
    expect(requests).toMatchObject({ sent: 2, completed: 0, failed: 2, errors: { "response too large": 2 } });
  });
});
