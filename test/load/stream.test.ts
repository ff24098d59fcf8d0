/** The stream driver against real servers, on every protocol. */
import { createServer as createH2Server, type Http2Server, type Http2Session, type ServerHttp2Stream } from "node:http2";
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { driverNamed } from "../../src/load/drivers/drivers.ts";
import type { LoadDriver, LoadJob, LoadReport, PlannedRequest } from "../../src/load/job.ts";
import { chatBody, jobOn, times, unwatched, withoutLimits } from "../support/loads.ts";
import { listen } from "../support/servers.ts";
import type { ProtocolName } from "../../src/results/types.ts";

const cipher = "TLS_AES_128_GCM_SHA256";

let driver: LoadDriver;
let server: FakeAiServer;

beforeAll(async () => {
  driver = driverNamed("stream");
  server = await createServer({ protocol: "h1,h1s,h2c,h2", ttft: 30, itl: 5, outputTokens: 12, stamps: true });
});

afterAll(async () => {
  await driver.close();
  await server.close(0);
});

function jobFor(protocol: ProtocolName, more: Partial<LoadJob> & { requests: readonly PlannedRequest[] }): LoadJob {
  const connections = protocol === "h2" || protocol === "h2c" ? 2 : 10;
  return jobOn(server, protocol, cipher, { connections, streams: 10, ...more });
}

const run = (job: LoadJob, signal?: AbortSignal): Promise<LoadReport> => driver.run(job, unwatched(signal));

describe.each(["h1", "h1s", "h2c", "h2"] as const)("%s", (protocol) => {
  const isH2 = protocol === "h2" || protocol === "h2c";

  test("counts every request and token, and splits each token's latency by its stamps", async () => {
    const one: PlannedRequest = { body: chatBody(), tokens: 12 };
    const report = await run(jobFor(protocol, { warmup: times(10, one), requests: times(40, one) }));
    expect(withoutLimits(report)).toEqual([]);
    expect(report.requests).toEqual({ sent: 40, completed: 40, failed: 0, errors: {} });
    expect(report.tokens).toBe(480);
    expect(report.negotiated).toEqual([{ h1: "http/1.1", h1s: "http/1.1", h2c: "h2c", h2: "h2" }[protocol]]);
    expect(report.cipher).toBe(protocol === "h1" || protocol === "h2c" ? null : `TLSv1.3 ${cipher}`);
    expect(report.connectionsOpened).toBe(isH2 ? 2 : 10);
    expect(report.connectionsLost).toBe(0);
    expect(report.windows === null).toBe(!isH2);
    const { metrics } = report;
    for (const [name, count] of Object.entries({
      ttfe: 40,
      ttft: 40,
      itl: 440,
      tpot: 40,
      e2el: 40,
      serverLateness: 480,
      transport: 480,
      client: 480,
      plannedTtft: 40,
      connect: isH2 ? 2 : 10,
    })) {
      expect([name, metrics[name as "ttft"]?.count]).toEqual([name, count]);
    }
    expect(metrics.scheduleDelay).toBeNull();
    expect(metrics.ttft!.min).toBeGreaterThanOrEqual(30_000);
    expect(metrics.itl!.mean).toBeGreaterThan(4500);
    expect(metrics.itl!.mean).toBeLessThan(6500);
    expect(metrics.plannedTtft!.min).toBeGreaterThanOrEqual(30_000);
    // What is planned, late and under way adds up to what was seen.
    const parts = metrics.plannedTtft!.mean + metrics.serverLateness!.min + metrics.transport!.min;
    expect(parts).toBeLessThanOrEqual(metrics.ttft!.mean + 1);
    expect(metrics.bytesReceivedPerRequest!.mean).toBeGreaterThan(12 * 200);
  });

  test("counts what the server did wrong on purpose", async () => {
    const { endpoint, ...job } = jobFor(protocol, { requests: times(12, { body: chatBody(), tokens: 12 }) });
    const faulty = (fault: string): LoadJob => ({
      ...job,
      endpoint: { ...endpoint, headers: { ...endpoint.headers, "x-fakeai-fault": fault } },
    });
    const late = await run(faulty("delay(20ms)"));
    expect(late.requests).toEqual({ sent: 12, completed: 12, failed: 0, errors: {}, faulted: 12 });
    // The stamps of a faulted stream are read as any other's.
    expect(late.metrics.serverLateness!.count).toBe(144);
    expect((await run(faulty("status(503)"))).requests).toMatchObject({ completed: 0, errors: { "status 503": 12 }, faulted: 12 });
  });
});

const origin = (running: Server | Http2Server): string => `http://127.0.0.1:${(running.address() as AddressInfo).port}`;

/** Servers of a test, closed after it. */
const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** A server that answers each request (seen by its blank line and body) with raw bytes of the test's choice. */
async function rawH1(answer: (socket: Socket, request: number) => void): Promise<string> {
  let requests = 0;
  const sockets = new Set<Socket>();
  const raw = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (bytes: Buffer) => {
      if (bytes.includes("\r\n\r\n")) answer(socket, requests++);
    });
  });
  await listen(raw);
  closing.push(() => {
    raw.close();
    for (const socket of sockets) socket.destroy();
  });
  return origin(raw);
}

/** The same over HTTP/2, on node:http2. */
async function rawH2(
  answer: (stream: ServerHttp2Stream, request: number, drop: () => void) => void,
  settings: object = {},
): Promise<string> {
  let requests = 0;
  const sessions = new Set<Http2Session>();
  const raw = createH2Server({ settings });
  raw.on("session", (session) => sessions.add(session));
  let socket: Socket;
  raw.on("connection", (connection: Socket) => (socket = connection));
  raw.on("stream", (stream) => {
    stream.on("error", () => {});
    stream.resume();
    answer(stream, requests++, () => socket.destroy());
  });
  await listen(raw);
  closing.push(() => {
    raw.close();
    for (const session of sessions) session.destroy();
  });
  return origin(raw);
}

const head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
const chunk = (text: string): string => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const event = (content: string, finish: string | null = null): string =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content }, finish_reason: finish }] })}\n\n`;
const whole = `${event("a")}${event("b")}${event("", "stop")}data: [DONE]\n\n`;

const toRaw = (url: string, protocol: ProtocolName, more: Partial<LoadJob> = {}, requests = 6): LoadJob => {
  const job = jobFor(protocol, {
    requests: times(requests, { body: chatBody(), tokens: 2 }),
    streams: 2,
    connections: 2,
    idleTimeoutMs: 400,
    ...more,
  });
  return { ...job, endpoint: { ...job.endpoint, origin: url } };
};

const all = (reason: string, count = 6): object => ({ sent: count, completed: 0, failed: count, errors: { [reason]: count } });

describe("HTTP/1.1 servers that misbehave", () => {
  test.each<[string, (socket: Socket) => void, string]>([
    ["answers 503", (socket) => socket.write("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno"), "status 503"],
    ["cuts streams with a FIN", (socket) => socket.end(head + chunk(event("a"))), "connection closed"],
    [
      "cuts streams with a RST",
      (socket) => socket.write(head + chunk(event("a")), () => setTimeout(() => socket.resetAndDestroy(), 10)),
      "reset",
    ],
    [
      "ends streams cleanly before their end",
      (socket) => socket.write(`${head}${chunk(event("a") + event("b"))}0\r\n\r\n`),
      "incomplete stream",
    ],
    ["ends streams without content", (socket) => socket.write(`${head}0\r\n\r\n`), "incomplete stream"],
    [
      "sends too few tokens",
      (socket) => socket.write(`${head}${chunk(`${event("a", "stop")}data: [DONE]\n\n`)}0\r\n\r\n`),
      "wrong token count",
    ],
    [
      "sends an error within a stream",
      (socket) => socket.write(`${head}${chunk(`${event("a")}data: {"error":{"message":"x"}}\n\n`)}0\r\n\r\n`),
      "error event",
    ],
    [
      "answers JSON instead of a stream",
      (socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"),
      "not a stream",
    ],
    ["breaks its chunks", (socket) => socket.write(`${head}zz\r\n`), "malformed response"],
    ["gives a length that is none", (socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n"), "malformed response"],
    ["closes at once", (socket) => socket.end(), "connection closed"],
  ])("one that %s", async (_, answer, reason) => {
    const url = await rawH1((socket) => answer(socket));
    const report = await run(toRaw(url, "h1"));
    expect(report.requests).toMatchObject(all(reason));
    expect(withoutLimits(report)).toEqual(["no request was completed"]);
    expect(report.metrics.ttft).toBeNull();
    expect(report.metrics.requestsPerSecond).toBeNull();
    expect(report.tokens).toBeNull();
  });

  test("one that hangs is given up, with what was not sent", async () => {
    const url = await rawH1(() => {});
    const report = await run(toRaw(url, "h1", {}, 100));
    expect(report.requests.errors["timeout"]).toBeGreaterThanOrEqual(8);
    expect(report.requests.completed).toBe(0);
    expect(report.requests.sent).toBe(report.requests.failed);
    expect(report.requests.sent).toBeLessThan(100);
    expect(withoutLimits(report)[0]).toMatch(/^given up: the server does not answer, \d+ of 100 requests were not sent$/);
  });

  test("one that hangs in the middle fails each stream by its own time-out", async () => {
    const url = await rawH1((socket, request) => {
      socket.write(head + chunk(event("a")));
      if (request % 2 === 0) setTimeout(() => socket.write(`${chunk(`${event("b", "stop")}data: [DONE]\n\n`)}0\r\n\r\n`), 5);
    });
    const report = await run(toRaw(url, "h1"));
    expect(report.requests).toEqual({ sent: 6, completed: 3, failed: 3, errors: { timeout: 3 } });
    // Tokens of failed requests are in no figure.
    expect(report.metrics.ttft!.count).toBe(3);
    expect(report.metrics.itl!.count).toBe(3);
  });

  test("one that answers in another protocol", async () => {
    const url = await rawH1((socket) => socket.write("\0\0\u0006\u0004\0\0\0\0\0"));
    const report = await run(toRaw(url, "h1"));
    expect(report.requests).toMatchObject(all("wrong protocol"));
    expect(withoutLimits(report)[0]).toBe("protocol: http/1.1 was asked for, the server answered in another");
  });

  test("HTTP/1.0 is measured, with a connection for each request", async () => {
    const url = await rawH1((socket) => socket.end(`HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n${whole}`));
    const report = await run(toRaw(url, "h1"));
    expect(report.requests.completed).toBe(6);
    expect(report.negotiated).toEqual(["http/1.0"]);
    expect(report.connectionsOpened).toBeGreaterThanOrEqual(6);
    expect(withoutLimits(report)).toEqual([]);
  });

  test("nobody there", async () => {
    const report = await run(toRaw("http://127.0.0.1:1", "h1"));
    expect(report.requests.completed).toBe(0);
    expect(Object.keys(report.requests.errors)).toEqual(["connection refused"]);
    expect(report.invalid.join()).toContain("given up: no connection: connection refused");
  });

  test("one that closes after each answer: every request is served, and the lost connections are counted", async () => {
    const url = await rawH1((socket) =>
      socket.end(
        `HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\ncontent-length: ${whole.length}\r\n\r\n${whole}`,
      ),
    );
    const report = await run(toRaw(url, "h1"));
    expect(report.requests).toEqual({ sent: 6, completed: 6, failed: 0, errors: {} });
    expect(report.connectionsOpened).toBeGreaterThanOrEqual(6);
    expect(report.connectionsLost).toBeGreaterThanOrEqual(4);
  });

  test("a body in one read, without stamps, has an end and neither TTFT nor ITL", async () => {
    const url = await rawH1((socket) => socket.write(`${head}${chunk(whole)}0\r\n\r\n`));
    const report = await run(toRaw(url, "h1"));
    expect(report.requests.completed).toBe(6);
    expect(report.metrics.e2el!.count).toBe(6);
    for (const name of ["ttfe", "ttft", "itl", "tpot"] as const) expect([name, report.metrics[name]]).toEqual([name, null]);
    expect(report.work).toMatchObject({ answers: 6, inOneRead: 6, events: 12, contentReads: 6 });
  });

  test("a gateway that gathers answers keeps their times: they are what its users see", async () => {
    const url = await rawH1((socket) => socket.write(`${head}${chunk(whole)}0\r\n\r\n`));
    const report = await run(toRaw(url, "h1", { gateway: true }));
    expect(report.work).toMatchObject({ answers: 6, inOneRead: 6 });
    expect(report.metrics.ttft!.count).toBe(6);
  });

  test("several tokens in one of several reads have gaps of 0, and no stamps are no stamps", async () => {
    const url = await rawH1((socket) => {
      socket.write(`${head}${chunk(event("a") + event("b"))}`);
      setTimeout(() => socket.write(`${chunk(`${event("c", "stop")}data: [DONE]\n\n`)}0\r\n\r\n`), 10);
    });
    const report = await run(toRaw(url, "h1", { requests: times(6, { body: chatBody(), tokens: 3 }) }));
    expect(report.requests.completed).toBe(6);
    expect(report.metrics.itl).toMatchObject({ count: 12, min: 0 });
    expect(report.metrics.itl!.max).toBeGreaterThan(5000);
    expect(report.metrics.serverLateness).toBeNull();
    expect(report.metrics.transport).toBeNull();
    expect(report.metrics.plannedTtft).toBeNull();
    expect(report.metrics.client!.count).toBe(18);
  });

  test("real servers: CRLF, comments, no space, several tokens an event, usage at the end, early hints", async () => {
    const text =
      ': hi\r\n\r\ndata:{"choices":[{"delta":{"content":"a b c"},"finish_reason":"stop"}]}\r\n\r\ndata:{"choices":[],"usage":{"completion_tokens":3}}\r\n\r\ndata:[DONE]\r\n\r\n';
    const url = await rawH1((socket) => {
      const bytes = Buffer.from(`HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n${head}${chunk(text)}0;ext=1\r\ntrailer: 1\r\n\r\n`);
      const rest = bytes.length - 40;
      socket.setNoDelay(true);
      for (let i = 0; i < rest; i += 7) socket.write(bytes.subarray(i, Math.min(rest, i + 7)));
      setTimeout(() => socket.write(bytes.subarray(rest)), 40);
    });
    const report = await run(toRaw(url, "h1", { requests: times(4, { body: chatBody(), tokens: 3 }) }));
    expect(report.requests).toEqual({ sent: 4, completed: 4, failed: 0, errors: {} });
    expect(report.tokens).toBe(12);
    expect(report.metrics.ttft!.count).toBe(4);
    expect(report.metrics.itl).toBeNull();
  });
});

describe("HTTP/2 servers that misbehave", () => {
  const stream200 = { ":status": 200, "content-type": "text/event-stream" };

  test.each<[string, (stream: ServerHttp2Stream, drop: () => void) => void, string]>([
    ["answers 503", (stream) => stream.respond({ ":status": 503 }, { endStream: true }), "status 503"],
    [
      "resets streams",
      (stream) => {
        stream.respond(stream200);
        stream.write(event("a"));
        setTimeout(() => stream.destroy(new Error("cut")), 10);
      },
      "reset",
    ],
    ["refuses streams", (stream) => stream.close(7), "refused"],
    [
      "ends streams without [DONE]",
      (stream) => {
        stream.respond(stream200);
        stream.end(event("a") + event("b"));
      },
      "incomplete stream",
    ],
    [
      "sends too many tokens",
      (stream) => {
        stream.respond(stream200);
        stream.end(event("x") + whole);
      },
      "wrong token count",
    ],
    ["drops the connection", (_stream, drop) => drop(), "connection closed"],
  ])("one that %s", async (_, answer, reason) => {
    const url = await rawH2((stream, _, drop) => answer(stream, drop));
    const report = await run(toRaw(url, "h2c", { connections: 1 }));
    expect(report.requests).toMatchObject(all(reason));
    expect(withoutLimits(report)).toEqual(["no request was completed"]);
  });

  test("one that hangs", async () => {
    const url = await rawH2(() => {});
    const report = await run(toRaw(url, "h2c", { connections: 1 }, 100));
    expect(report.requests.completed).toBe(0);
    expect(Object.keys(report.requests.errors).sort()).toEqual(expect.arrayContaining(["timeout"]));
    expect(withoutLimits(report)[0]).toMatch(/^given up: the server does not answer/);
  });

  test("one that goes away: streams above its last are refused, the others end, and a new connection serves the rest", async () => {
    const url = await rawH2((stream, request) => {
      stream.respond(stream200);
      setTimeout(() => stream.end(whole), 30);
      if (request === 1) stream.session!.goaway(0);
    });
    const report = await run(toRaw(url, "h2c", { connections: 1 }));
    expect(report.requests).toEqual({ sent: 6, completed: 6, failed: 0, errors: {} });
    expect(report.connectionsOpened).toBe(2);
    expect(report.connectionsLost).toBe(1);
  });

  test("one that speaks HTTP/1.1", async () => {
    const url = await rawH1((socket) => socket.end("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"));
    const report = await run(toRaw(url, "h2c"));
    expect(report.requests.completed).toBe(0);
    expect(report.requests.errors["wrong protocol"]).toBe(report.requests.failed);
    expect(withoutLimits(report)[0]).toMatch(/^protocol: h2c was asked for, the server does not answer in HTTP\/2/);
  });

  test("one that chooses HTTP/1.1 by ALPN", async () => {
    // fakeai's h1s offers no h2.
    const job = jobFor("h2", { requests: times(4, { body: chatBody(), tokens: 12 }) });
    const report = await run({ ...job, endpoint: { ...job.endpoint, origin: server.urls.h1s! } });
    expect(report.requests.completed).toBe(0);
    expect(withoutLimits(report)[0]).toMatch(/^protocol: h2 was asked for, the server chose http\/1.1/);
  });

  test("one that allows fewer streams than are wanted: they wait, and the figures are marked", async () => {
    const url = await rawH2(
      (stream) => {
        stream.respond(stream200);
        setTimeout(() => stream.write(event("a")), 10);
        setTimeout(() => stream.end(`${event("b", "stop")}data: [DONE]\n\n`), 20);
      },
      { maxConcurrentStreams: 2 },
    );
    const report = await run(toRaw(url, "h2c", { connections: 1, streams: 4 }, 8));
    expect(report.requests).toEqual({ sent: 8, completed: 8, failed: 0, errors: {} });
    expect(report.maxConcurrentStreams).toBe(2);
    expect(withoutLimits(report)).toEqual(["the server allows 2 streams on a connection, 4 were wanted: the others waited in the client"]);
    expect(report.metrics.ttftFromIntended!.max).toBeGreaterThan(report.metrics.ttft!.max);
  });

  test("bodies larger than a window are sent, answers larger than ours are read, header blocks larger than a frame too", async () => {
    const received: number[] = [];
    const url = await rawH2((stream) => {
      let length = 0;
      stream.on("data", (bytes: Buffer) => (length += bytes.length));
      stream.on("end", () => {
        received.push(length);
        stream.respond({ ...stream200, "x-large": "v".repeat(40_000) });
        stream.end(`: ${"c".repeat(300_000)}\n\n${whole}`);
      });
    });
    const body = chatBody({ pad: "p".repeat(300_000) });
    const job = toRaw(url, "h2c", { connections: 1, requests: times(6, { body, tokens: 2 }), idleTimeoutMs: 3000 });
    const report = await run({
      ...job,
      endpoint: { ...job.endpoint, headers: { ...job.endpoint.headers, "x-request": "h".repeat(20_000) } },
    });
    expect(report.requests).toEqual({ sent: 6, completed: 6, failed: 0, errors: {} });
    expect(received).toEqual(times(6, body.length));
    expect(report.windows).toEqual({ localStream: 65_535, localConnection: 16_777_216, remoteStream: 65_535 });
    // And with the smallest windows there are.
    const windows = { streamBytes: 65_535, connectionBytes: 65_535 };
    const small = await run({ ...job, windows });
    expect(small.requests).toEqual({ sent: 6, completed: 6, failed: 0, errors: {} });
    expect(small.windows).toEqual({ localStream: 65_535, localConnection: 65_535, remoteStream: 65_535 });
  });
});

describe("loads", () => {
  const one: PlannedRequest = { body: chatBody(), tokens: 12 };

  test.each(["h1", "h2c"] as const)("an open loop on %s keeps its schedule and tells how late it was", async (protocol) => {
    const requests = Array.from({ length: 60 }, (_, i) => ({ ...one, atUs: i * 5000 }));
    const report = await run(
      jobFor(protocol, { requests, mode: "open", streams: 100, connections: protocol === "h1" ? 100 : 1, detail: true }),
    );
    expect(report.requests).toEqual({ sent: 60, completed: 60, failed: 0, errors: {} });
    expect(report.heldBack).toBe(0);
    expect(report.metrics.scheduleDelay!.count).toBe(60);
    const starts = report.details.map(({ startUs }) => startUs).sort((a, b) => a - b);
    expect(starts.at(-1)! - starts[0]!).toBeGreaterThan(290_000);
    for (const { intendedUs, startUs } of report.details) expect(startUs).toBeGreaterThanOrEqual(intendedUs!);
    expect(report.metrics.ttftFromIntended!.mean - report.metrics.ttft!.mean).toBeCloseTo(report.metrics.scheduleDelay!.mean, -1);
  });

  test("an open loop above its bound holds requests back, and their latency from the intended time shows it", async () => {
    const requests = Array.from({ length: 20 }, () => ({ ...one, atUs: 0 }));
    const report = await run(jobFor("h1", { requests, mode: "open", streams: 5, connections: 5 }));
    expect(report.requests.completed).toBe(20);
    expect(report.heldBack).toBe(15);
    expect(report.metrics.e2elFromIntended!.max).toBeGreaterThan(report.metrics.e2el!.max * 2);
  });

  test.each(["h1s", "h2"] as const)(
    "a new connection for each request on %s: latency from the intended time has the handshake in it",
    async (protocol) => {
      const report = await run(jobFor(protocol, { requests: times(12, one), reuse: "new", streams: 3 }));
      expect(report.requests.completed).toBe(12);
      expect(report.connectionsOpened).toBe(12);
      expect(report.metrics.connect!.count).toBe(12);
      expect(report.connectionsLost).toBe(0);
      const handshake = report.metrics.ttftFromIntended!.mean - report.metrics.ttft!.mean;
      expect(handshake).toBeGreaterThanOrEqual(report.metrics.connect!.mean * 0.9);
    },
  );

  test("growing opens what is needed at once: a connection per stream on HTTP/1.1, one on HTTP/2", async () => {
    const onH1 = await run(jobFor("h1", { requests: times(40, one), reuse: "grow", streams: 8 }));
    expect(onH1.requests.completed).toBe(40);
    expect(onH1.connectionsOpened).toBe(8);
    const onH2 = await run(jobFor("h2c", { requests: times(40, one), reuse: "grow", streams: 8 }));
    expect(onH2.requests.completed).toBe(40);
    expect(onH2.connectionsOpened).toBe(1);
  });

  test("a pool smaller than the concurrency: who waits, waits in the latency from the intended time", async () => {
    const report = await run(jobFor("h1", { requests: times(20, one), connections: 2, streams: 10 }));
    expect(report.requests.completed).toBe(20);
    expect(report.connectionsOpened).toBe(2);
    expect(report.metrics.ttftFromIntended!.max).toBeGreaterThan(report.metrics.ttft!.max * 2);
  });

  test("unstreamed answers: tokens from usage, an end but no first token", async () => {
    const body = chatBody({ stream: false });
    const report = await run(jobFor("h1", { requests: times(10, { body, tokens: 12 }), stream: false }));
    expect(report.requests.completed).toBe(10);
    expect(report.tokens).toBe(120);
    expect(report.metrics.ttft).toBeNull();
    expect(report.metrics.e2el!.count).toBe(10);
  });

  test("a page of different requests: GET beside POST, streamed beside not", async () => {
    const requests: PlannedRequest[] = [
      { body: "", method: "GET", path: "/v1/models", tokens: null, stream: false },
      one,
      { body: chatBody({ stream: false }), tokens: 12, stream: false },
    ];
    for (const protocol of ["h1", "h2c"] as const) {
      const report = await run(jobFor(protocol, { requests, streams: 3, connections: 3 }));
      expect(report.requests).toEqual({ sent: 3, completed: 3, failed: 0, errors: {} });
      expect(report.tokens).toBeNull();
      expect(report.metrics.ttft!.count).toBe(1);
    }
  });

  test("details give each token's times in order", async () => {
    const report = await run(jobFor("h2c", { requests: times(5, one), detail: true }));
    for (const detail of report.details) {
      expect(detail.tokenUs).toHaveLength(12);
      expect(detail.dueUs).toHaveLength(12);
      for (let i = 0; i < 12; i++) {
        expect(detail.sentUs[i]!).toBeGreaterThanOrEqual(detail.dueUs[i]! - 1);
        expect(detail.tokenUs[i]!).toBeGreaterThanOrEqual(detail.sentUs[i]! - 1);
      }
    }
  });

  test("stamps of another clock are not used", async () => {
    const report = await run(jobFor("h1", { requests: times(3, one), clock: "another; boot=1" }));
    expect(report.requests.completed).toBe(3);
    expect(report.metrics.transport).toBeNull();
  });

  test("an interrupted run says so, and what was under way", async () => {
    const abort = new AbortController();
    const phases: string[] = [];
    const job = jobFor("h2c", { requests: times(1000, one) });
    const report = await driver.run(job, {
      ...unwatched(abort.signal),
      onPhase(phase) {
        phases.push(phase);
        if (phase === "begin") setTimeout(() => abort.abort(), 300);
      },
    });
    expect(phases).toEqual(["begin", "end"]);
    expect(report.invalid).toContain("interrupted");
    expect(report.requests.sent).toBe(report.requests.completed + report.requests.failed);
    expect(report.requests.completed).toBeGreaterThan(0);
    expect(report.requests.errors["aborted"]).toBeGreaterThan(0);
    // The process is fit for the next job.
    const next = await run(jobFor("h2c", { requests: times(10, one) }));
    expect(next.requests.completed).toBe(10);
  });

  test.each<[string, Partial<LoadJob>, RegExp]>([
    ["no send times", { mode: "open" }, /rising send time/],
    ["no streams", { streams: 0 }, /at least one/],
    ["no requests", { requests: [] }, /at least one request/],
  ])("refuses a job with %s", async (_, more, message) => {
    const job = jobFor("h1", { requests: [one], ...more });
    expect(driver.supports(job)).toMatch(message);
    await expect(run(job)).rejects.toThrow(message);
  });

  test("refuses headers that would break the request", () => {
    const job = jobFor("h1", { requests: [one] });
    expect(driver.supports({ ...job, endpoint: { ...job.endpoint, headers: { "x-a": "1\r\nx-b: 2" } } })).toMatch(/no header/);
    expect(driver.supports({ ...job, endpoint: { ...job.endpoint, origin: "https://127.0.0.1:1" } })).toMatch(/does not go with/);
  });
});
