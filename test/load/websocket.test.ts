/** The Responses API over WebSocket as a load: lanes, sockets that are kept or new, compression, and what servers do wrong. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { generate } from "../../src/load/generator.ts";
import type { LoadJob, LoadReport, PlannedRequest } from "../../src/load/job.ts";
import { jobFault } from "../../src/load/limits.ts";
import type { StartedServer } from "../../src/server/server.ts";
import { clientFrame, opcode, ServerFrameReader } from "../../src/wire/websocket.ts";
import { jobOn, times, withoutLimits } from "../support/loads.ts";
import { runnableTargets, startSockets } from "../support/sockets.ts";

const tokens = 6;
const ask: PlannedRequest = { body: JSON.stringify({ model: "m", input: "Hello", max_output_tokens: 16, stream: true }), tokens };

type Changes = Omit<Partial<LoadJob>, "endpoint"> & { readonly endpoint?: Partial<LoadJob["endpoint"]> };

function jobAt(origin: string, more: Changes = {}): LoadJob {
  const { endpoint, ...others } = more;
  const job = jobOn({ urls: { ws: origin }, caPath: null } as never, "ws", null, {
    requests: times(6, ask),
    connections: 2,
    streams: 6,
    ...others,
  });
  return { ...job, endpoint: { ...job.endpoint, path: "/v1/responses", ...endpoint } };
}

const run = (job: LoadJob): Promise<LoadReport> =>
  generate(job, { signal: new AbortController().signal, onPhase: () => Promise.resolve(), onProgress: () => {} });

describe.each(runnableTargets.filter(({ protocol }) => protocol === "ws"))("$name", (target) => {
  let server: StartedServer;
  let origin: string;
  beforeAll(async () => {
    server = await startSockets(target, { ttft: 5, itl: 2, outputTokens: tokens, stamps: true, wsDeflate: true });
    origin = server.urls.ws!.replace("ws:", "http:");
  });
  afterAll(() => server.close(0));

  test("lanes of two sockets: each token is timed, and stamped by the clock that the handshake names", async () => {
    const report = await run(jobAt(origin));
    expect(withoutLimits(report)).toEqual([]);
    expect([report.requests.completed, report.tokens, report.negotiated, report.connectionsOpened]).toEqual([6, 36, ["websocket"], 2]);
    expect([report.metrics.ttft!.count, report.metrics.itl!.count, report.metrics.serverLateness!.count]).toEqual([6, 30, 36]);
    expect(report.metrics.ttft!.min).toBeGreaterThanOrEqual(5000);
    const mean = (name: "wireBytesPerToken" | "bytesReceivedPerRequest" | "bytesSentPerRequest"): number => report.metrics[name]!.mean;
    expect(mean("wireBytesPerToken") * 36).toBeCloseTo(6 * (mean("bytesReceivedPerRequest") + mean("bytesSentPerRequest")), 1);
  });

  test("a socket for each turn, or one that is kept, with no lane named", async () => {
    const fresh = await run(jobAt(origin, { reuse: "new", streams: 2 }));
    expect([withoutLimits(fresh), fresh.connectionsOpened, fresh.metrics.connect!.count]).toEqual([[], 6, 6]);
    const kept = await run(jobAt(origin, { streams: 2 }));
    expect([withoutLimits(kept), kept.connectionsOpened, kept.connectionsLost]).toEqual([[], 2, 0]);
  });

  test("compressed messages hold the same tokens in fewer bytes", async () => {
    const [plain, packed] = [await run(jobAt(origin)), await run(jobAt(origin, { endpoint: { deflates: true } }))];
    expect([withoutLimits(packed), packed.tokens, packed.metrics.itl!.count]).toEqual([[], plain.tokens, 30]);
    expect(packed.metrics.bytesReceivedPerRequest!.mean).toBeLessThan(0.8 * plain.metrics.bytesReceivedPerRequest!.mean);
  });

  test("a refusal has its status and words, and the socket goes on", async () => {
    const bad: PlannedRequest = { body: '{"model":"m","input":"x","temperature":9}', tokens };
    const report = await run(jobAt(origin, { requests: [bad, ask, ask], streams: 1, connections: 1 }));
    expect([report.requests.completed, report.requests.errors, report.connectionsOpened]).toEqual([2, { "status 400": 1 }, 1]);
    expect(report.requests.words!["status 400"]).toMatch(/temperature/);
  });
});

describe("servers that are others", () => {
  const closing: (() => void)[] = [];
  afterEach(() => {
    for (const close of closing.splice(0)) close();
  });

  /** A WebSocket server that answers each message by `answer`. */
  async function serving(answer: (socket: WebSocket, message: Record<string, unknown>) => void): Promise<string> {
    const server = createServer((_request, response) => response.end("{}"));
    const sockets = new WebSocketServer({ server });
    sockets.on("connection", (socket) =>
      socket.on("message", (data: Buffer) => answer(socket, JSON.parse(data.toString()) as Record<string, unknown>)),
    );
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    closing.push(() => {
      for (const socket of sockets.clients) socket.terminate();
      server.close();
    });
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  const delta = JSON.stringify({ type: "response.output_text.delta", delta: "word" });
  const end = JSON.stringify({ type: "response.completed", response: { usage: { output_tokens: 2 } } });
  const two: PlannedRequest = { ...ask, tokens: 2 };
  const one = (origin: string, more: Changes = {}): Promise<LoadReport> =>
    run(jobAt(origin, { requests: [two], streams: 1, connections: 1, ...more }));

  test("fragments, pings and white space are read; a lane is found wherever its name stands", async () => {
    const origin = await serving((socket, { stream_id: lane }) => {
      socket.ping("are you there");
      for (const text of [delta, delta, end]) {
        const message = JSON.stringify({ stream_id: lane, ...(JSON.parse(text) as object) }, null, 1);
        socket.send(message.slice(0, 9), { fin: false });
        socket.send(message.slice(9));
      }
    });
    const report = await run(jobAt(origin, { requests: times(4, two), streams: 2, connections: 1 }));
    expect([withoutLimits(report), report.requests.completed, report.tokens]).toEqual([[], 4, 8]);
    expect(report.metrics.pingBytesPerToken!.mean).toBeGreaterThan(0);
  });

  test("an end in the middle says how the server closed", async () => {
    const origin = await serving((socket) => {
      socket.send(delta);
      socket.close(1012, "service restart");
    });
    const { requests } = await one(origin);
    expect(requests.errors).toEqual({ "connection closed": 1 });
    expect(requests.words).toEqual({ "connection closed": "the server closed the WebSocket with 1012 service restart" });
  });

  test("an error of no lane is the reason of the end", async () => {
    const origin = await serving((socket) => {
      socket.send(JSON.stringify({ type: "error", status: 400, stream_id: "theirs", error: { message: "limit reached (60 minutes)" } }));
      socket.close(1000);
    });
    const { requests } = await one(origin);
    expect(requests.words!["connection closed"]).toBe("the server closed the WebSocket with 1000: limit reached (60 minutes)");
  });

  test("a binary message is no event", async () => {
    const origin = await serving((socket) => socket.send(Buffer.from(delta)));
    expect((await one(origin)).requests.errors).toEqual({ "malformed response": 1 });
  });

  test("no WebSocket, and no compression where it was asked for, are another protocol: nothing counts", async () => {
    const bare = createServer((_request, response) => response.writeHead(404).end()).listen(0, "127.0.0.1");
    await once(bare, "listening");
    closing.push(() => bare.close());
    const refused = await one(`http://127.0.0.1:${(bare.address() as AddressInfo).port}`);
    expect(refused.invalid[0]).toBe("protocol: the server does not change to WebSocket: status 404");
    const origin = await serving((socket) => [delta, delta, end].forEach((text) => socket.send(text)));
    const plain = await one(origin, { endpoint: { deflates: true } });
    expect(plain.invalid[0]).toMatch(/^protocol: the server compresses nothing/);
    expect(withoutLimits(await one(origin))).toEqual([]);
  });
});

test("frames that no server may send are told in words", () => {
  const faultOf = (...bytes: number[]): string | null => {
    const reader = new ServerFrameReader({ onMessage() {}, onControl() {} }, false);
    reader.push(Buffer.from(bytes), 0, bytes.length);
    return reader.fault;
  };
  expect(faultOf(0x81, 0x01, 0x61)).toBeNull();
  expect(faultOf(0x81, 0x80, 1, 2, 3, 4)).toMatch(/masked/);
  expect(faultOf(0xc1, 0x00)).toMatch(/reserved/);
  expect(faultOf(0x83, 0x00)).toMatch(/no known kind/);
  expect(faultOf(0x89, 0x7e, 0, 126)).toMatch(/control frame/);
  expect(faultOf(0x09, 0x00)).toMatch(/control frame/);
  expect(faultOf(0x80, 0x00)).toMatch(/out of order/);
  expect(faultOf(0x01, 0x00, 0x81, 0x00)).toMatch(/out of order/);
  expect(faultOf(0x81, 0x7f, 0, 0, 1, 0, 0, 0, 0, 0)).toMatch(/too long/);
});

test("a masked frame is the message, of every length of its head, in pieces of any size", () => {
  for (const length of [0, 1, 125, 126, 65_535, 65_536]) {
    const text = Buffer.from("abcdefgh".repeat(length / 8 + 1).slice(0, length));
    const frame = clientFrame(opcode.text, text);
    expect(frame.length - length).toBe(length < 126 ? 6 : length < 65_536 ? 8 : 14);
    const head = frame.length - length;
    const unmasked = Buffer.from(frame.subarray(head).map((byte, i) => byte ^ frame[head - 4 + (i % 4)]!));
    expect(unmasked.equals(text)).toBe(true);
    // The same without its mask, as a server sends it.
    const served = Buffer.concat([frame.subarray(0, head - 4), text]);
    served[1]! &= 0x7f;
    for (const size of [1, 3, 7, served.length]) {
      if (size < 7 && length > 1000) continue;
      const told: string[] = [];
      const reader = new ServerFrameReader(
        { onMessage: (bytes, start, end) => told.push(bytes.toString("latin1", start, end)), onControl() {} },
        false,
      );
      for (let at = 0; at < served.length; at += size) reader.push(served.subarray(at, at + size), 0, Math.min(size, served.length - at));
      expect([told.length, told[0] === text.toString("latin1"), reader.fault]).toEqual([1, true, null]);
    }
  }
});

test("jobs that WebSocket cannot carry are refused in one line", () => {
  const origin = "http://127.0.0.1:1";
  expect(jobFault(jobAt(origin, { streams: 33 }))).toMatch(/takes 16 responses at once, 17 are wanted/);
  expect(jobFault(jobAt(origin, { streams: 33, endpoint: { lanes: 17 } }))).toBeNull();
  expect(jobFault(jobAt(origin, { endpoint: { path: "/v1/chat/completions" } }))).toMatch(/POST \/v1\/responses/);
  expect(jobFault(jobAt(origin, { stream: false }))).toMatch(/every answer is streamed/);
  expect(jobFault(jobAt(origin, { requests: [{ ...ask, abortAfter: 2 }, ask] }))).toMatch(/given up with its WebSocket/);
  expect(jobFault(jobAt(origin, { requests: [{ ...ask, headers: { cookie: "a" } }] }))).toMatch(/no headers/);
  expect(jobFault(jobAt(origin, { atStreamLimit: "queue" }))).toMatch(/HTTP\/2 and 3/);
});
