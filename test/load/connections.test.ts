/** What a load can do with its connections beside reading answers: pipeline, give up, leave unread, meet limits, count bytes. */
import { createServer as createTcpServer, type Server } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { openConnection } from "../../src/load/client/open.ts";
import { driverNamed } from "../../src/load/drivers/drivers.ts";
import type { LoadDriver, LoadJob, LoadReport, PlannedRequest } from "../../src/load/job.ts";
import { jobFault } from "../../src/load/limits.ts";
import type { Connection, FailureReason } from "../../src/load/client/connection.ts";
import { chatBody, jobOn, times, unwatched, withoutLimits } from "../support/loads.ts";
import { listen } from "../support/servers.ts";
import type { ProtocolName } from "../../src/results/types.ts";

let driver: LoadDriver;
let server: FakeAiServer;

beforeAll(async () => {
  driver = driverNamed("stream");
  server = await createServer({
    protocol: "h1,h2c",
    h1Engine: "node",
    ttft: 20,
    itl: 5,
    outputTokens: 12,
    stamps: true,
    maxConcurrentStreams: 4,
  });
});

afterAll(async () => {
  await driver.close();
  await server.close(0);
});

function jobFor(protocol: ProtocolName, more: Partial<LoadJob> & { requests: readonly PlannedRequest[] }): LoadJob {
  return jobOn(server, protocol, null, { connections: protocol === "h1" ? 4 : 1, ...more });
}

const run = (job: LoadJob): Promise<LoadReport> => driver.run(job, unwatched());

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

const one: PlannedRequest = { body: chatBody(), tokens: 12 };

describe("requests that are given up", () => {
  const half = Array.from({ length: 16 }, (_, i): PlannedRequest => (i % 2 === 0 ? one : { ...one, abortAfter: 3 }));

  test("cost HTTP/1.1 a connection each", async () => {
    const report = await run(jobFor("h1", { requests: half }));
    expect(withoutLimits(report)).toEqual([]);
    expect(report.requests).toEqual({ sent: 16, completed: 16, failed: 0, errors: {} });
    // The slots' last requests may be among those given up: no connection is opened after them.
    expect(report.connectionsOpened).toBeGreaterThanOrEqual(4 + 8 - 4);
    expect(report.connectionsOpened).toBeLessThanOrEqual(4 + 8);
    expect(report.metrics.requestsAborted!.mean).toBe(8);
    expect([report.metrics.ttft!.count, report.metrics.e2el!.count, report.metrics.tpot!.count]).toEqual([16, 8, 8]);
    expect(report.metrics.itl!.count).toBe(8 * 11 + 8 * 2);
    expect(report.tokens).toBe(8 * 12 + 8 * 3);
  });

  test("cost HTTP/2 none", async () => {
    const report = await run(jobFor("h2c", { requests: half }));
    expect(withoutLimits(report)).toEqual([]);
    expect(report.requests.completed).toBe(16);
    expect([report.connectionsOpened, report.connectionsLost]).toEqual([1, 0]);
    expect(report.metrics.itl!.count).toBe(8 * 11 + 8 * 2);
  });

  test("in the middle of a read: what the read holds beyond is no stream's token", async () => {
    for (const protocol of ["h1", "h2c"] as const) {
      const fast: PlannedRequest = {
        body: chatBody({ max_tokens: 500, ignore_eos: true }),
        tokens: 500,
        abortAfter: 7,
        headers: { "x-fakeai-itl": "0" },
      };
      const report = await run(jobFor(protocol, { requests: times(6, fast) }));
      // Without an answer that came whole no usage says that an event is a token.
      expect([protocol, report.requests.completed, report.work!.events, report.tokens]).toEqual([protocol, 6, 42, null]);
      expect(report.metrics.e2el).toBeNull();
    }
  });
});

describe("pipelining", () => {
  test("answers come in order, and the tokens of the later ones in a burst", async () => {
    const report = await run(jobFor("h1", { requests: times(8, one), connections: 1, streams: 4, pipelining: 4 }));
    expect(withoutLimits(report)).toEqual([]);
    expect(report.requests).toEqual({ sent: 8, completed: 8, failed: 0, errors: {} });
    expect(report.connectionsOpened).toBe(1);
    expect(report.metrics.itl!.count).toBe(8 * 11);
    // The server paces all four from their arrival: when the first is over, the others lie ready.
    expect(report.metrics.itl!.min).toBeLessThan(1000);
    expect(report.metrics.ttft!.max).toBeGreaterThan(20_000 + 11 * 5000);
  });

  test.each(["h1", "h1s", "h2"] as const)(
    "%s on node: requests that come while waiting answers hold much are answered, without a word on stderr",
    async (protocol) => {
      const waiting = await createServer({ protocol, h1Engine: "node", ttft: 0, itl: 0, outputTokens: 12 });
      closing.push(() => void waiting.close(0));
      const warnings: Error[] = [];
      const onWarning = (warning: Error): void => void warnings.push(warning);
      process.on("warning", onWarning);
      closing.push(() => process.off("warning", onWarning));
      const { endpoint } = jobOn(waiting, protocol, null, { requests: [one] });
      // The port of h2 serves HTTP/1.1 too.
      const http1 = { ...endpoint, protocol: protocol === "h1" ? protocol : "h1s" } as const;
      const connection = await openConnection({ endpoint: http1, timeoutMs: 3000, pipelining: 40 });
      closing.push(() => connection.close());
      const first = endOf(connection, { "x-fakeai-ttft": "400" });
      // More than the 16 KiB with which node stops reading.
      const before = Array.from({ length: 12 }, () => endOf(connection));
      await new Promise((resolve) => setTimeout(resolve, 200));
      // In several TLS records at once.
      const after = Array.from({ length: 12 }, () => endOf(connection, {}, "Hello ".repeat(1000)));
      expect(new Set(await Promise.all([first, ...before, ...after]))).toEqual(new Set(["end"]));
      expect(warnings).toEqual([]);
    },
  );

  test("a connection that breaks fails everything on it, once", async () => {
    const tcp: Server = createTcpServer((socket) => {
      let seen = "";
      socket.on("error", () => {});
      socket.on("data", (chunk) => {
        seen += chunk.toString();
        if (seen.split("POST ").length - 1 === 3)
          socket.end("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}");
      });
    });
    const origin = `http://127.0.0.1:${await listen(tcp)}`;
    closing.push(() => tcp.close());
    const connection = await openConnection({
      endpoint: { ...jobFor("h1", { requests: [one] }).endpoint, origin },
      timeoutMs: 1000,
      pipelining: 3,
    });
    closing.push(() => connection.close());
    expect(connection.capacity).toBe(3);
    const ends = await Promise.all(Array.from({ length: 3 }, () => endOf(connection)));
    expect(ends).toEqual(["end", "connection closed", "connection closed"]);
  });
});

function endOf(connection: Connection, headers: Readonly<Record<string, string>> = {}, prompt = "Hello"): Promise<FailureReason | "end"> {
  const body = chatBody({ messages: [{ role: "user", content: prompt }] });
  return new Promise((resolve) => {
    connection.send(
      { method: "POST", path: "/v1/chat/completions", body, headers },
      { onResponse() {}, onData() {}, onEnd: () => resolve("end"), onFail: (reason) => resolve(reason) },
    );
  });
}

describe("a server's limit on streams", () => {
  const job = (more: Partial<LoadJob>): LoadJob => jobFor("h2c", { requests: times(24, one), streams: 12, ...more });

  test("nobody meant to meet it: invalid", async () => {
    const report = await run(job({}));
    expect(report.requests.completed).toBe(24);
    expect(withoutLimits(report)).toEqual(["the server allows 4 streams on a connection, 12 were wanted: the others waited in the client"]);
  });

  test("queue: the wait counts from the planned time only", async () => {
    const report = await run(job({ atStreamLimit: "queue" }));
    expect(withoutLimits(report)).toEqual([]);
    expect(report.metrics.streamsRefused).toBeNull();
    const { ttft, ttftFromIntended } = report.metrics;
    expect(ttftFromIntended!.max).toBeGreaterThan(20_000 + 70_000);
    expect(ttftFromIntended!.mean).toBeGreaterThan(ttft!.mean + 20_000);
  });

  test("race: what leaves before the server's SETTINGS is refused beyond its limit, and sent again", async () => {
    const report = await run(job({ atStreamLimit: "race", reuse: "grow" }));
    expect(withoutLimits(report)).toEqual([]);
    expect(report.requests).toEqual({ sent: 24, completed: 24, failed: 0, errors: {} });
    // All twelve are sent as soon as TCP stands.
    expect(report.metrics.streamsRefused!.mean).toBe(8);
    expect([report.connectionsOpened, report.maxConcurrentStreams]).toEqual([1, 4]);
    expect(report.connectionsLost).toBe(0);
  });

  test("reuse grow: further connections are opened", async () => {
    const report = await run(job({ connections: 12, reuse: "grow" }));
    expect(withoutLimits(report)).toEqual([]);
    expect(report.connectionsOpened).toBe(3);
  });
});

describe("streams beside the measured ones", () => {
  const bulk: PlannedRequest = {
    body: chatBody({ max_tokens: 20_000, ignore_eos: true }),
    tokens: null,
    headers: { "x-fakeai-ttft": "0", "x-fakeai-itl": "0" },
  };
  const job = (protocol: ProtocolName, more: Partial<LoadJob>): LoadJob =>
    jobFor(protocol, { requests: times(3, one), streams: 1, connections: protocol === "h1" ? 3 : 1, ...more });

  test.each(["h1", "h2c"] as const)("%s: they are in no count, and unread ones do not hold the others up", async (protocol) => {
    const report = await run(job(protocol, { background: { requests: times(2, bulk), unreadMs: Infinity } }));
    expect(withoutLimits(report)).toEqual([]);
    expect(report.requests).toEqual({ sent: 3, completed: 3, failed: 0, errors: {} });
    expect(report.tokens).toBe(36);
    expect(report.connectionsOpened).toBe(protocol === "h1" ? 3 : 1);
    expect(report.metrics.itl!.count).toBe(33);
    expect([report.metrics.bytesReceivedPerRequest, report.metrics.wireBytesPerToken]).toEqual([null, null]);
  });

  test("a client that holds the connection's window for them stops the others until it reads", async () => {
    const windows = { streamBytes: 65_535, connectionBytes: 65_535, connectionCredit: "read" } as const;
    const report = await run(job("h2c", { requests: [one], windows, background: { requests: [bulk], unreadMs: 700 } }));
    expect(withoutLimits(report)).toEqual([]);
    // The measured request leaves 150 ms after the other one.
    expect(report.metrics.ttft!.min).toBeGreaterThan(400_000);
  });

  test("held for ever, the others are timed out and nothing is hidden", async () => {
    const windows = { streamBytes: 65_535, connectionBytes: 65_535, connectionCredit: "read" } as const;
    const background = { requests: [bulk], unreadMs: Infinity };
    const report = await run(job("h2c", { requests: [one], windows, background, idleTimeoutMs: 400 }));
    expect(report.requests.errors).toEqual({ timeout: 1 });
  });

  test("those that end otherwise than well make the run invalid", async () => {
    const report = await run(job("h2c", { background: { requests: [{ body: "no json", tokens: null }] } }));
    expect(withoutLimits(report)).toEqual([
      expect.stringMatching(/^1 streams beside the measured ones ended: status 400 \(We could not parse the JSON body of your request\./),
    ]);
  });
});

describe("bytes by what they are for", () => {
  test.each(["h1", "h2c"] as const)("%s: the parts add up to what the socket counted", async (protocol) => {
    const job = jobFor(protocol, { requests: times(10, one), streams: 2, connections: 2, reuse: "grow" });
    const { metrics, tokens } = await run(job);
    const mean = (name: keyof typeof metrics): number | null => metrics[name]?.mean ?? null;
    const onSocket = (mean("bytesReceivedPerRequest")! + mean("bytesSentPerRequest")!) * 10;
    expect(mean("wireBytesPerToken")! * tokens!).toBeCloseTo(onSocket, 3);
    const parts = ["data", "framing", "head", "request", "windowUpdate", "settings", "ping", "otherFrame"] as const;
    const sum = parts.reduce((total, part) => total + (mean(`${part}BytesPerToken`) ?? 0), 0);
    expect(sum).toBeCloseTo(mean("wireBytesPerToken")!, 6);
    expect(mean("dataBytesPerToken")).toBeGreaterThan(100);
    if (protocol === "h1") {
      expect(mean("settingsBytesPerToken")).toBeNull();
      // Two digits or three, and CRLF after them and after the chunk; five bytes end the body. Tokens that are late share a chunk:
      // there is one chunk at least, and one for each event at most (the role, 12 tokens, the end, the usage, [DONE]).
      const framing = (mean("framingBytesPerToken")! * tokens!) / 10;
      expect(framing).toBeGreaterThanOrEqual(6 + 5);
      expect(framing).toBeLessThanOrEqual(16 * 7 + 5);
    } else {
      // One connection: our SETTINGS of two values, the server's, and two empty ones in answer.
      expect(mean("settingsBytesPerToken")! * tokens!).toBeGreaterThanOrEqual(9 + 12 + 9 + 9 + 9);
      expect((mean("framingBytesPerToken")! * tokens!) % 9).toBeCloseTo(0, 6);
      // 24 bytes of preface and nothing else.
      expect(mean("otherFrameBytesPerToken")! * tokens!).toBeCloseTo(24, 6);
    }
  });
});

describe("what makes no sense is refused in one line", () => {
  const requests = [one];
  test.each([
    ["pipelining on HTTP/2", () => jobFor("h2c", { requests, pipelining: 2 }), /thing of HTTP\/1.1/],
    ["pipelining on new connections", () => jobFor("h1", { requests, pipelining: 2, reuse: "new" }), /kept/],
    ["pipelining and giving up", () => jobFor("h1", { requests: [{ ...one, abortAfter: 2 }], pipelining: 2 }), /given up/],
    ["a stream limit on HTTP/1.1", () => jobFor("h1", { requests, atStreamLimit: "queue" }), /tell a limit on streams/],
    ["giving up after the last token", () => jobFor("h1", { requests: [{ ...one, abortAfter: 12 }] }), /before its last/],
    ["no connection left", () => jobFor("h1", { requests, background: { requests: times(4, one) } }), /as many connections/],
    ["a header that cannot be sent", () => jobFor("h1", { requests: [{ ...one, headers: { a: "b\r\nc: d" } }] }), /no header/],
  ])("%s", (_what, job, message) => {
    expect(jobFault(job())).toMatch(message);
  });

  test("other drivers say that they cannot", () => {
    const autocannon = driverNamed("autocannon");
    const h2load = driverNamed("h2load");
    const job = jobFor("h1", { requests: times(4, one) });
    expect(autocannon.supports(job)).toBe(true);
    expect(autocannon.supports({ ...job, pipelining: 2 })).toMatch(/only our own generator pipelines/);
    expect(autocannon.supports({ ...job, requests: times(4, { ...one, abortAfter: 2 }) })).toMatch(/gives requests up/);
    const h2 = { ...jobFor("h2c", { requests: times(4, one) }), atStreamLimit: "race" } as const;
    // Without h2load on the machine it refuses for that.
    expect(h2load.supports(h2)).toMatch(/only our own generator|not installed/);
  });
});
