/** Readers that stall: nothing grows, other streams are not hurt, and when they read again they get everything. */
import { once } from "node:events";
import { type ClientHttp2Session, connect as connectH2 } from "node:http2";
import { type AddressInfo, connect as connectTcp, createServer as createTcpServer, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { freePorts, resolveConfig } from "../../src/settings/server.ts";
import type { RequestHandler } from "../../src/core/seams.ts";
import { Bounds, newCounts } from "../../src/listeners/bounds.ts";
import { NodeH2Service } from "../../src/listeners/h2/service.ts";
import { OwnH2Service } from "../../src/listeners/own-h2/service.ts";
import { frame } from "../../src/wire/h2/frames.ts";
import { bodyOf, rawRequest, type RawStreams, rawStreams, requests, resetRequests } from "../support/h2-frames.ts";
import { chat, chunksOf, withoutEmptyLines } from "../support/chat.ts";
import { start, type Started, targets } from "../support/targets.ts";
import { eventually, sleep } from "../support/wait.ts";

/** A stalled reader: it holds its connection and does not read until told. */
interface SlowReader {
  resume(): void;
  /** The whole response body, when it has ended. */
  readonly body: Promise<string>;
  /** The same in the chunks of HTTP/1.1. */
  readonly chunks?: Promise<readonly Buffer[]>;
  readonly closed: Promise<void>;
  destroy(): void;
}

function slowH1(running: Started, request: object, headers = ""): SlowReader {
  const { port, protocol } = new URL(running.origin);
  const options = { port: Number(port), host: "127.0.0.1" };
  // A small receive window, so that little is in flight; the kernel still buffers megabytes on loopback.
  const socket: Socket =
    protocol === "https:" ? connectTls({ ...options, rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] }) : connectTcp(options);
  socket.on("error", () => {});
  const text = JSON.stringify(request);
  socket.write(
    `POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n${headers}Connection: close\r\nContent-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
  socket.pause();
  const parts: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => parts.push(chunk));
  socket.pause();
  const closed = new Promise<void>((resolve) => socket.on("close", () => resolve()));
  return {
    resume: () => socket.resume(),
    closed,
    body: closed.then(() => unchunk(Buffer.concat(parts))),
    chunks: closed.then(() => chunksIn(Buffer.concat(parts))),
    destroy: () => socket.destroy(),
  };
}

function unchunk(bytes: Buffer): string {
  return Buffer.concat(chunksIn(bytes)).toString();
}

/** The chunks of a response in chunked coding. */
function chunksIn(bytes: Buffer): Buffer[] {
  let at = bytes.indexOf("\r\n\r\n") + 4;
  const parts: Buffer[] = [];
  for (;;) {
    const lineEnd = bytes.indexOf("\r\n", at);
    const size = Number.parseInt(bytes.toString("latin1", at, lineEnd), 16);
    if (!(size > 0)) return parts;
    parts.push(bytes.subarray(lineEnd + 2, lineEnd + 2 + size));
    at = lineEnd + 2 + size + 2;
  }
}

function slowH2(running: Started, request: object, headers: Record<string, string> = {}): SlowReader & { sibling(): Promise<string> } {
  const session = connectH2(running.origin, { rejectUnauthorized: false });
  session.on("error", () => {});
  // Enough for the connection as a whole, so that only the stalled stream's own window runs out.
  session.on("connect", () => session.setLocalWindowSize(16_777_216));
  const open = (body: object, more: Record<string, string>): ReturnType<typeof session.request> => {
    const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions", ...more });
    stream.on("error", () => {});
    stream.end(JSON.stringify(body));
    return stream;
  };
  const stream = open(request, headers);
  const parts: Buffer[] = [];
  let reading = false;
  const closed = new Promise<void>((resolve) => stream.on("close", () => resolve()));
  return {
    resume: () => {
      reading = true;
      stream.on("data", (chunk: Buffer) => parts.push(chunk));
    },
    closed,
    body: closed.then(() => Buffer.concat(parts).toString()),
    sibling: () =>
      new Promise((resolve) => {
        const other = open(chat({ stream: true }), {});
        let text = "";
        other.on("data", (chunk: Buffer) => (text += chunk.toString()));
        other.on("close", () => resolve(text));
      }),
    destroy: () => {
      if (!reading) stream.destroy();
      session.destroy();
    },
  };
}

/** Sends so many requests at once on one connection of HTTP/1.1, and reads nothing. */
function pipelinedH1(running: Started, requests: number): { destroy(): void } {
  const { port, protocol } = new URL(running.origin);
  const options = { port: Number(port), host: "127.0.0.1" };
  const socket: Socket =
    protocol === "https:" ? connectTls({ ...options, rejectUnauthorized: false, ALPNProtocols: ["http/1.1"] }) : connectTcp(options);
  socket.on("error", () => {}).pause();
  const text = JSON.stringify(chat());
  socket.write(`POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: ${text.length}\r\n\r\n${text}`.repeat(requests));
  return socket;
}

async function metric(running: Started, name: string): Promise<number> {
  const { body } = await running.ask({ path: "/metrics" });
  return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? ([\\d.]+)`, "m").exec(body)![1]);
}

// quiche's client reads whatever comes: no reader of HTTP/3 can stall here.
/** HTTP/2 on each of its engines. */
const h2cTargets = targets.filter(({ protocol }) => protocol === "h2c");

describe.each(targets.filter(({ client }) => client !== "h3"))("$name", (target) => {
  const isH2 = target.client === "h2";
  const slow = (running: Started, request: object, headers: Record<string, string>): SlowReader & { sibling?: () => Promise<string> } =>
    isH2
      ? slowH2(running, request, headers)
      : slowH1(
          running,
          request,
          Object.entries(headers)
            .map(([name, value]) => `${name}: ${value}\r\n`)
            .join(""),
        );

  test("a stalled reader holds bounded memory, others keep their pace, and it gets everything when it reads again", async () => {
    const running = await start(target, { itl: 2, outputTokens: 100 });
    const tokens = 200_000;
    const reader = slow(running, chat({ stream: true }), {
      "x-fakeai-output-tokens": String(tokens),
      "x-fakeai-itl": "0",
      "x-fakeai-stamps": "1",
    });
    let sent = -1;
    await eventually(async () => {
      // TLS takes a little more after each refusal, until its own buffers are full.
      const before = running.server.stats().generationTokens;
      await sleep(100);
      sent = running.server.stats().generationTokens;
      return sent === before && (await metric(running, "fakeai_stalled_streams")) === 1;
    }, "the reader has stalled");
    const rssBefore = process.memoryUsage.rss();
    const siblings = [
      running.ask({ body: chat({ stream: true }) }),
      ...(reader.sibling ? [reader.sibling().then((body) => ({ body }))] : []),
    ];
    for (const { body } of await Promise.all(siblings)) expect(chunksOf(body)).toHaveLength(102);
    await sleep(200);
    // Nothing more was made for the stalled one: 60 MB of frames would show.
    expect(running.server.stats().generationTokens).toBe(sent + siblings.length * 100);
    expect(process.memoryUsage.rss() - rssBefore).toBeLessThan(40e6);
    reader.resume();
    const chunks = chunksOf(await reader.body);
    const stamped = chunks.filter(({ choices }) => choices[0]?.delta?.content);
    expect(stamped).toHaveLength(tokens);
    expect(stamped.at(-1)!.fakeai!.due).toBe(stamped[0]!.fakeai!.due);
    expect(stamped.at(-1)!.fakeai!.sent - stamped[0]!.fakeai!.sent).toBeGreaterThan(200_000);
    expect(running.server.stats()).toMatchObject({ abortedStreams: 0 });
    reader.destroy();
    await running.stop();
  });

  test("a reader that never comes back is cut at --stall-timeout", async () => {
    const running = await start(target, { stallTimeout: 500, outputTokens: 100_000 });
    const startedMs = performance.now();
    const reader = slow(running, chat({ stream: true }), {});
    await eventually(() => running.server.stats().abortedStreams === 1, "the stream is cut", 6000);
    expect(performance.now() - startedMs).toBeGreaterThan(450);
    expect(await metric(running, "fakeai_stall_cut_streams_total")).toBe(1);
    expect(await metric(running, "fakeai_stalled_streams")).toBe(0);
    expect(running.server.stats().running).toBe(0);
    reader.destroy();
    await running.stop();
  });
});

describe.each(targets.filter(({ engine }) => engine === "uws"))("what is due at once, $name", (target) => {
  // uWebSockets.js drops a chunk that does not fit its 16 kB cork buffer when the socket is full to the byte at its size line:
  // about one stalled stream in a thousand.
  test.each([80, 2000])("leaves in chunks that the engine cannot drop, %i tokens", async (tokens) => {
    const running = await start(target);
    const reader = slowH1(running, chat({ stream: true }), `x-fakeai-output-tokens: ${tokens}\r\n`);
    reader.resume();
    const chunks = (await reader.chunks)!;
    const sizes = chunks.map(({ length }) => length);
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    expect(bytes).toBeGreaterThan(16_384);
    // As large as they may be: each is a system call.
    expect(sizes.length).toBeLessThan(bytes / 8000 + 2);
    expect(Math.max(...sizes)).toBeLessThan(16_384 - 1000);
    expect(chunksOf(Buffer.concat(chunks).toString())).toHaveLength(tokens + 2);
    await running.stop();
  });
});

test.each(targets.filter(({ engine }) => engine === "uws"))("what is counted as held is no less than what is, $name", async (target) => {
  const running = await start(target);
  const reader = slowH1(running, chat({ stream: true }), "x-fakeai-output-tokens: 400000\r\nx-fakeai-itl: 0.05\r\n");
  let tokens = -1;
  await eventually(
    async () => {
      const before = running.server.stats().generationTokens;
      await sleep(100);
      tokens = running.server.stats().generationTokens;
      return tokens === before && tokens > 0;
    },
    "the reader has stalled",
    10_000,
  );
  const counted = await metric(running, "fakeai_buffered_bytes");
  // What the kernel has is still delivered, what the engine holds is not.
  const stopped = running.stop();
  reader.resume();
  const got = withoutEmptyLines(await reader.body).split("\n\n");
  await stopped;
  const bytes = got.slice(1).reduce((sum, event) => sum + event.length + 2, 0) / (got.length - 1);
  const held = (tokens - (got.length - 2)) * bytes;
  expect(held).toBeGreaterThan(1000);
  expect(counted).toBeGreaterThan(held * 0.95 - 500);
  expect(counted).toBeLessThan(held + 65_536);
});

describe.each(targets.filter(({ engine, protocol }) => engine === "node" && protocol !== "h1s"))(
  "an ended response that is never read, $name",
  (target) => {
    test("is cut too", async () => {
      const running = await start(target, { stallTimeout: 500, outputTokens: 131_072 });
      // One answer fits the kernel's buffers on loopback; of twenty, the last that is handed over has to wait.
      const reader = target.client === "h2" ? slowH2(running, chat()) : pipelinedH1(running, 20);
      await eventually(async () => {
        const before = running.server.stats().finishedStreams;
        await sleep(50);
        const { finishedStreams, openStreams } = running.server.stats();
        return finishedStreams === before && finishedStreams > 0 && openStreams > 0;
      }, "an answer is handed over and not read");
      await eventually(() => running.server.stats().openStreams === 0, "the stream is cut", 8000);
      reader.destroy();
      await running.stop();
    });
  },
);

describe.each(targets.filter(({ client }) => client === "h2"))("an answer in one piece that is read slowly, $name", (target) => {
  test("comes whole, though it takes longer than a stall may", { timeout: 30_000 }, async () => {
    const running = await start(target, { stallTimeout: 800, outputTokens: 131_072 });
    const session = connectH2(running.origin, { rejectUnauthorized: false });
    session.on("error", () => {});
    const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions" });
    stream.on("error", () => {});
    stream.end(JSON.stringify(chat()));
    const startedMs = performance.now();
    let text = "";
    for await (const chunk of stream) {
      text += String(chunk);
      await sleep(130);
    }
    expect(performance.now() - startedMs).toBeGreaterThan(1000);
    expect((JSON.parse(text) as { usage: object }).usage).toMatchObject({ completion_tokens: 131_072 });
    session.destroy();
    await running.stop();
  });
});

test.each(h2cTargets)(
  "a few frames that are not read do not hold on to the memory of all frames written meanwhile, $name",
  { timeout: 30_000 },
  async (h2c) => {
    const running = await start(h2c, { outputTokens: 100_000 });
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const sessions = [connectH2(running.origin, { settings: { initialWindowSize: 0 } }), connectH2(running.origin)];
    const open = (session: ClientHttp2Session, count: number, itl: string): void => {
      session.on("error", () => {});
      for (let i = 0; i < count; i++) {
        const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions", "x-fakeai-itl": itl });
        stream.on("error", () => {}).resume();
        stream.end(JSON.stringify(chat({ stream: true })));
      }
    };
    open(sessions[0]!, 4, "20");
    open(sessions[1]!, 100, "5");
    const written = (): number => running.server.stats().generationTokens;
    await eventually(() => written() > 2000, "all are under way");
    collect();
    const before = process.memoryUsage().arrayBuffers;
    await eventually(() => written() > 42_000, "10 MB are written", 20_000);
    collect();
    // What is held is 4 times 400 frames at most, 0.5 MB, and on a busy machine what other streams' reader has not yet taken; not 10 MB.
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(6e6);
    expect(running.server.stats().running).toBe(104);
    for (const session of sessions) session.destroy();
    await running.stop();
  },
);

test.each(h2cTargets)("large answers that are not read do not hold up the other streams of their session, $name", async (h2c) => {
  const running = await start(h2c, { stallTimeout: 60_000, outputTokens: 300 });
  const session = connectH2(running.origin);
  session.on("error", () => {});
  session.on("connect", () => session.setLocalWindowSize(16_777_216));
  const open = (body: object, headers: Record<string, string> = {}): ReturnType<typeof session.request> => {
    const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions", ...headers });
    stream.on("error", () => {});
    return stream.end(JSON.stringify(body));
  };
  const unread = Array.from({ length: 24 }, () => open(chat(), { "x-fakeai-output-tokens": "131072" }));
  const lengths = await Promise.all(
    unread.map(async (stream) => Number(((await once(stream, "response")) as [Record<string, string>])[0]["content-length"])),
  );
  // More than all streams of a session may have waiting.
  expect(lengths.reduce((sum, length) => sum + length, 0)).toBeGreaterThan(12_000_000);
  const read = async (headers: Record<string, string>): Promise<string> => {
    let text = "";
    for await (const chunk of open(chat({ stream: true }), headers)) text += String(chunk);
    return text;
  };
  // Unpaced ones have much to write at once, paced ones a token at a time.
  for (const body of await Promise.all([read({}), read({ "x-fakeai-itl": "1ms" }), read({ "x-fakeai-output-tokens": "20000" })])) {
    expect(chunksOf(body).length).toBeGreaterThanOrEqual(302);
  }
  expect(running.server.stats()).toMatchObject({ finishedStreams: 27, openStreams: 24 });
  session.destroy();
  await running.stop();
});

test.each(h2cTargets)(
  "one HTTP/2 session cannot make the server hold more than its bound, $name",
  async (h2c) => {
    const running = await start(h2c, { maxConcurrentStreams: 1000, outputTokens: 2500 });
    const session = connectH2(running.origin);
    session.on("error", () => {});
    await new Promise((resolve) => session.once("remoteSettings", resolve));
    const rssBefore = process.memoryUsage.rss();
    const streams = Array.from({ length: 1000 }, () => {
      const stream = session.request({ ":method": "POST", ":path": "/v1/chat/completions" });
      stream.on("error", () => {});
      stream.end(JSON.stringify(chat({ stream: true })));
      return stream;
    });
    await eventually(async () => (await metric(running, "fakeai_stalled_streams")) === 1000, "all wait for the reader");
    // 1,000 streams of 650 kB each; client and server live in this process.
    expect(process.memoryUsage.rss() - rssBefore).toBeLessThan(250e6);
    const lengths = streams.map(
      (stream) =>
        new Promise<number>((resolve) => {
          let bytes = 0;
          stream.on("data", (chunk: Buffer) => (bytes += chunk.length));
          stream.on("close", () => resolve(bytes));
        }),
    );
    const bytes = await Promise.all(lengths.slice(0, 20).concat(lengths.slice(20)));
    expect(Math.min(...bytes)).toBeGreaterThan(500_000);
    expect(running.server.stats()).toMatchObject({ finishedStreams: 1000, abortedStreams: 0 });
    session.destroy();
    await running.stop();
  },
  60_000,
);

test.concurrent.each(h2cTargets)("a paced stream of HTTP/2 that is read slowly comes whole, $name", { timeout: 30_000 }, async (h2c) => {
  const running = await start(h2c, { stallTimeout: 1000, outputTokens: 1000, itl: 1 });
  const startedMs = performance.now();
  // 40 KB/s: what a stream may have waiting takes longer than a stall may.
  const frames = await rawRequest({
    port: Number(new URL(running.origin).port),
    body: Buffer.from(JSON.stringify(chat({ stream: true }))),
    takes: { bytes: 4000, everyMs: 100 },
    timeoutMs: 25_000,
    until: (all) => all.some(({ type, flags, stream }) => stream === 1 && (type === frame.reset || (type === 0 && flags === 1))),
  });
  expect(frames.filter(({ type }) => type === frame.reset)).toEqual([]);
  expect(chunksOf(bodyOf(frames))).toHaveLength(1002);
  expect(performance.now() - startedMs).toBeGreaterThan(3000);
  expect(running.server.stats()).toMatchObject({ finishedStreams: 1, abortedStreams: 0 });
  await running.stop();
});

describe.each(h2cTargets)("streams of one session that is read slowly, $name", (h2c) => {
  const streams = Array.from({ length: 24 }, (_, i) => 2 * i + 1);

  /** A server with all of them open, of so many tokens each, and their client. */
  async function opened(stream: boolean, tokens: number): Promise<{ running: Started; client: RawStreams }> {
    const running = await start(h2c, { stallTimeout: 400, outputTokens: tokens });
    const client = rawStreams(Number(new URL(running.origin).port), 1_000_000);
    for (const id of streams) client.open(id, chat({ stream }));
    return { running, client };
  }

  // A round of all streams, 16 KB each, takes 0.7 s; each has 64 KB and more to write.
  test.each([
    ["streamed", true, 500],
    ["in one piece", false, 20_000],
  ])("come whole, though each waits for its turn for longer than a stall may, %s", { timeout: 30_000 }, async (_what, stream, tokens) => {
    const startedMs = performance.now();
    const { running, client } = await opened(stream, tokens);
    const reading = setInterval(() => client.give(0, 30_000), 50);
    await eventually(() => client.ended.size + client.reset.size === streams.length, "all have ended", 25_000);
    clearInterval(reading);
    expect([...client.reset]).toEqual([]);
    expect(performance.now() - startedMs).toBeGreaterThan(2000);
    expect(Math.min(...client.bytes.values())).toBeGreaterThan(65_536);
    expect(running.server.stats()).toMatchObject({ finishedStreams: streams.length, abortedStreams: 0 });
    client.destroy();
    await running.stop();
  });

  test("come whole while their client uploads as well", { timeout: 30_000 }, async () => {
    const { running, client } = await opened(true, 500);
    const upload = chat({ messages: [{ role: "user", content: "x".repeat(14_000) }] });
    let uploads = 0;
    const reading = setInterval(() => {
      client.give(0, 30_000);
      if (uploads < 40) client.open(1001 + 2 * uploads++, upload, { "x-fakeai-output-tokens": "1" });
    }, 50);
    await eventually(() => client.ended.size + client.reset.size === streams.length + 40, "all have ended", 25_000);
    clearInterval(reading);
    expect([...client.reset]).toEqual([]);
    client.destroy();
    await running.stop();
  });

  test("are cut where what is read of their session is a drip", { timeout: 30_000 }, async () => {
    const { running, client } = await opened(true, 500);
    // 8 KB/s of over 3 MB.
    const reading = setInterval(() => client.give(0, 400), 50);
    await eventually(() => running.server.stats().openStreams === streams.length, "all are open");
    // Our own engine gives a turn of 16 KB to one stream after the other: the drip is all for one, and that one is read.
    const isRead = h2c.engine === "own" ? 1 : 0;
    await eventually(() => running.server.stats().openStreams === isRead, "all are cut that get nothing", 10_000);
    if (isRead > 0) {
      const before = Math.max(...client.bytes.values());
      await eventually(() => Math.max(...client.bytes.values()) > before + 4000, "one goes on");
      expect(running.server.stats().openStreams).toBe(1);
      clearInterval(reading);
      await eventually(() => running.server.stats().openStreams === 0, "it is cut when it is read no more", 10_000);
    }
    clearInterval(reading);
    expect(running.server.stats()).toMatchObject({ finishedStreams: 0, abortedStreams: streams.length });
    client.destroy();
    await running.stop();
  });

  test.each([
    ["unpaced ones that wait for the session", "0"],
    ["paced ones that find it free", "5"],
  ])("are cut where their own window stays shut, beside %s", { timeout: 30_000 }, async (_what, itl) => {
    const running = await start(h2c, { stallTimeout: 400, outputTokens: 100_000 });
    const client = rawStreams(Number(new URL(running.origin).port), 20_000);
    const [shut, ...others] = [1, 3, 5, 7];
    client.open(shut, chat({ stream: true }));
    for (const id of others) client.open(id, chat({ stream: true }), { "x-fakeai-itl": itl });
    const reading = setInterval(() => {
      client.give(0, 30_000);
      for (const id of others) client.give(id, 10_000);
    }, 50);
    const readBytes = (): number => others.reduce((sum, id) => sum + (client.bytes.get(id) ?? 0), 0);
    await eventually(() => client.reset.size > 0, "the stream is cut", 10_000);
    expect([...client.reset]).toEqual([shut]);
    const before = readBytes();
    await eventually(() => readBytes() > before + 100_000, "the others flow on");
    expect([...client.reset]).toEqual([shut]);
    clearInterval(reading);
    // Nothing is read any more: a stall of all.
    await eventually(() => running.server.stats().openStreams === 0, "all are cut", 8000);
    client.destroy();
    await running.stop();
  });
});

describe.each(h2cTargets)("a flood of requests on one connection of HTTP/2, $name", (h2c) => {
  test("in one breath: every one is answered", async () => {
    const running = await start(h2c, { outputTokens: 20 });
    const answers = await Promise.all(Array.from({ length: 250 }, () => running.ask({ body: chat({ stream: true }) })));
    expect(answers.map(({ body }) => chunksOf(body).length)).toEqual(answers.map(() => 22));
    await running.stop();
  });

  test("what waits for its turn is counted, and holds up no other connection", async () => {
    const counts = newCounts();
    const begun: { readonly path: string; readonly streams: number }[] = [];
    const handler: RequestHandler = {
      handle: ({ path }) => void begun.push({ path, streams: counts.streams }),
      refuse: () => {},
    };
    const bounds = new Bounds(resolveConfig({ maxConcurrentStreams: 400 }, freePorts).limits);
    const Service = h2c.engine === "own" ? OwnH2Service : NodeH2Service;
    const service = new Service("h2c", handler, bounds, counts, () => {});
    const server = createTcpServer((socket) => service.accept(socket)).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const flood = connectTcp(port, "127.0.0.1");
    const other = connectTcp(port, "127.0.0.1");
    await Promise.all([once(flood, "connect"), once(other, "connect")]);
    // Both are there to be read in the same turn, the flood first.
    flood.write(requests("/flood", 300));
    other.write(requests("/other", 1));
    await eventually(() => begun.length === 301, "all are begun");
    const place = begun.findIndex(({ path }) => path === "/other");
    expect(place).toBeLessThan(200);
    expect(begun[64]!.streams).toBeGreaterThan(250);
    expect(counts.streams).toBe(301);
    flood.destroy();
    other.destroy();
    await eventually(() => counts.streams === 0 && counts.sessions === 0, "nothing is left");
    service.destroy();
    server.close();
  });

  test("what its client has reset before its turn comes is not begun", async () => {
    const running = await start(h2c, { maxConcurrentStreams: 1000 });
    const socket = connectTcp(Number(new URL(running.origin).port), "127.0.0.1");
    // Some reads of the socket, each of them a turn.
    socket.write(resetRequests("/v1/chat/completions", Buffer.from(JSON.stringify(chat())), 900));
    let answer = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => (answer = Buffer.concat([answer, chunk])));
    await eventually(() => answer.includes("all sent"), "all was read");
    await sleep(20);
    expect(running.server.stats().statuses[200] ?? 0).toBeLessThan(300);
    expect(running.server.stats().openStreams).toBe(0);
    socket.destroy();
    await running.stop();
  });

  const breaths = [
    { count: 120, floods: 0 },
    // The engine by itself goes on to 1,000.
    { count: 700, floods: 1 },
  ];
  test.each(breaths)("$count requests and resets in one breath: ends the session $floods times", async ({ count, floods }) => {
    const running = await start(h2c, { maxConcurrentStreams: 100 });
    const socket = connectTcp(Number(new URL(running.origin).port), "127.0.0.1");
    // One read of the server's, whatever else the machine does: with the preface, which it reads by itself, or behind it.
    const bytes = resetRequests("/", Buffer.alloc(0), count);
    expect(bytes.length).toBeLessThan(65_536);
    socket.write(bytes);
    let answer = Buffer.alloc(0);
    socket.on("data", (chunk: Buffer) => (answer = Buffer.concat([answer, chunk])));
    socket.on("error", () => {});
    const enhanceYourCalm = Buffer.from([0, 0, 0, 11]);
    await eventually(() => answer.includes(floods === 0 ? "all sent" : enhanceYourCalm), "all was read, or given up");
    const { body } = await running.ask({ path: "/metrics" });
    expect(Number(/protocol="h2c",engine="\w+",bound="flood"} (\d+)/.exec(body)![1])).toBe(floods);
    socket.destroy();
    await eventually(() => running.server.stats().openSessions <= 1 && running.server.stats().openStreams === 0, "nothing is left");
    await running.stop();
  });
});
