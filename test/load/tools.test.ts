/** The drivers around other people's tools: right where they run, refused where they would be wrong. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { createServer as createTcpServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { driverNamed } from "../../src/load/drivers/drivers.ts";
import { h2loadVersion } from "../../src/load/drivers/h2load.ts";
import { reportOf } from "../../src/load/drivers/h2load-report.ts";
import type { LoadDriver, LoadJob, LoadReport, PlannedRequest } from "../../src/load/job.ts";
import { jobOn, times, unwatched, withoutLimits } from "../support/loads.ts";
import { listen } from "../support/servers.ts";
import type { ProtocolName } from "../../src/results/types.ts";

const cipher = "TLS_AES_128_GCM_SHA256";
const unary: PlannedRequest = {
  body: JSON.stringify({ model: "m", messages: [{ role: "user", content: "Hello there" }] }),
  tokens: 12,
};
const streamed: PlannedRequest = {
  body: JSON.stringify({ model: "m", stream: true, messages: [{ role: "user", content: "Hello there" }] }),
  tokens: 12,
};
let server: FakeAiServer;
const h2load = driverNamed("h2load");
const autocannon = driverNamed("autocannon");

beforeAll(async () => {
  server = await createServer({ protocol: "h1,h1s,h2c,h2", ttft: 20, itl: 2, outputTokens: 12, maxConcurrentStreams: 100 });
});
afterAll(async () => {
  await autocannon.close();
  await server.close(0);
});

function jobFor(protocol: ProtocolName, more: Partial<LoadJob> = {}): LoadJob {
  const plain = { warmup: times(4, unary), requests: times(20, unary), idleTimeoutMs: 1000, stream: false };
  const job = jobOn(server, protocol, cipher, { ...plain, ...more });
  return { ...job, endpoint: { ...job.endpoint, headers: { ...job.endpoint.headers, authorization: "Bearer sk-test" } } };
}

const run = (driver: LoadDriver, job: LoadJob, signal?: AbortSignal): Promise<LoadReport> => driver.run(job, unwatched(signal));

const elsewhere = (job: LoadJob, origin: string): LoadJob => ({ ...job, endpoint: { ...job.endpoint, origin } });

/** A server of raw answers. */
async function raw(answer: (socket: Socket) => void): Promise<{ origin: string; close: () => void }> {
  const sockets = new Set<Socket>();
  const tcp = createTcpServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("data", (bytes: Buffer) => {
      if (bytes.includes("\r\n\r\n")) answer(socket);
    });
  });
  const port = await listen(tcp);
  return {
    origin: `http://127.0.0.1:${port}`,
    close: () => {
      tcp.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

const installed = h2loadVersion() !== null;
if (!installed && process.env["CI"] === "true") throw new Error("h2load is not installed");
if (!installed) console.warn("h2load is not installed: its driver was not tested");

describe.skipIf(!installed)("h2load", () => {
  test.each(["h1", "h1s", "h2c", "h2"] as const)("%s: exact counts, the protocol and the cipher proven", async (protocol) => {
    const streams = protocol === "h2" || protocol === "h2c" ? 8 : 4;
    const report = await run(h2load, jobFor(protocol, { streams }));
    expect(withoutLimits(report)).toEqual([]);
    expect(report.requests).toEqual({ sent: 20, completed: 20, failed: 0, errors: {} });
    expect(report.negotiated).toEqual([{ h1: "http/1.1", h1s: "http/1.1", h2c: "h2c", h2: "h2" }[protocol]]);
    expect(report.cipher).toBe(protocol === "h1" || protocol === "h2c" ? null : `TLSv1.3 ${cipher}`);
    // The answer takes 20 + 11 x 2 ms.
    expect(report.metrics.e2el).toMatchObject({ count: 20 });
    expect(report.metrics.e2el!.min).toBeGreaterThanOrEqual(42_000);
    // What it cannot see is not there.
    expect(report.tokens).toBeNull();
    expect(report.metrics.ttft ?? null).toBeNull();
    expect(report.metrics.itl ?? null).toBeNull();
    const rate = 20 / (report.durationUs / 1e6);
    expect(report.metrics.requestsPerSecond!.mean).toBeCloseTo(rate, 3);
  });

  test("two runs do not add up in one log", async () => {
    await run(h2load, jobFor("h2c"));
    expect((await run(h2load, jobFor("h2c"))).requests.sent).toBe(20);
  });

  test("nobody there: exit code 0, but not here", async () => {
    const report = await run(h2load, elsewhere(jobFor("h2c", { warmup: [] }), "http://127.0.0.1:1"));
    expect(report.requests).toEqual({ sent: 20, completed: 0, failed: 20, errors: { "connection failed": 20 } });
    expect(withoutLimits(report)).toEqual(["no request was completed"]);
    expect(report.metrics.requestsPerSecond).toBeNull();
    expect(report.metrics.e2el).toBeNull();
  });

  test("an error status counts as such", async () => {
    const job = jobFor("h2c", { requests: times(20, { ...unary, path: "/nowhere" }) });
    const report = await run(h2load, job);
    expect(report.requests).toEqual({ sent: 20, completed: 0, failed: 20, errors: { "status 404": 20 } });
  });

  test("HTTP/2 against a server of HTTP/1.1", async () => {
    const report = await run(h2load, elsewhere(jobFor("h2c", { warmup: [] }), server.urls.h1!));
    expect(report.requests.completed).toBe(0);
    expect(report.requests.failed).toBe(20);
    expect(report.invalid).toContain("no request was completed");
    expect(report.negotiated).toEqual([]);
  });

  test("HTTP/1.1 by ALPN where HTTP/2 was asked for", async () => {
    const report = await run(h2load, elsewhere(jobFor("h2", { warmup: [] }), server.urls.h1s!));
    expect(report.invalid).not.toEqual([]);
    expect(report.metrics.requestsPerSecond === null || report.invalid.join().includes("protocol: h2 was asked for")).toBe(true);
  });

  test("one that hangs ends by the time-out", async () => {
    const hanging = await raw(() => {});
    const report = await run(h2load, elsewhere(jobFor("h1", { warmup: [], idleTimeoutMs: 300 }), hanging.origin));
    hanging.close();
    expect(report.requests.completed).toBe(0);
    expect(report.requests.failed).toBe(20);
    expect(report.invalid).toContain("no request was completed");
  });

  test("more streams than the server allows are refused or wait: the figures are marked", async () => {
    const report = await run(h2load, jobFor("h2c", { connections: 1, streams: 150, warmup: [], requests: times(150, unary) }));
    expect(report.invalid.join()).toContain("the server allows 100 streams on a connection, 150 were wanted");
    expect(report.requests.sent).toBe(report.requests.completed + report.requests.failed);
  });

  test("an interrupted run", async () => {
    const abort = new AbortController();
    setTimeout(() => abort.abort(), 150);
    const report = await run(h2load, jobFor("h2c", { requests: times(5000, unary), warmup: [] }), abort.signal);
    expect(report.invalid).toContain("interrupted");
    expect(report.requests.sent).toBe(report.requests.completed + report.requests.failed);
  });
});

describe("h2load's report", () => {
  const output = readFileSync(new URL("../fixtures/h2load-1.52-h2.txt", import.meta.url), "utf8");
  const log = times(20, { startUs: 0, status: 200, durationUs: 700 });
  const facts = { output, log, file: null, cpuShare: null, startedUs: 0, endedUs: 12_000, limits: null, interrupted: false };

  test("a log of another run", () => {
    expect(reportOf(jobFor("h2"), { ...facts, log: [...log, ...log] }).invalid.join()).toContain("logged 40 requests instead of 20");
  });

  test("another protocol than asked for", () => {
    const report = reportOf(jobFor("h2"), { ...facts, output: output.replace("protocol: h2", "protocol: http/1.1") });
    expect(withoutLimits(report)).toEqual(["protocol: h2 was asked for, http/1.1 was spoken"]);
  });

  test("another cipher than asked for", () => {
    const report = reportOf(jobFor("h2"), { ...facts, output: output.replace(cipher, "TLS_AES_256_GCM_SHA384") });
    expect(withoutLimits(report)).toEqual([`cipher: ${cipher} was asked for, TLSv1.3 TLS_AES_256_GCM_SHA384 was used`]);
  });

  test("failed streams are counted by reason", () => {
    const broken = log.slice(0, 18).map((_, i) => ({ startUs: 0, durationUs: 700, status: i < 3 ? -1 : i < 5 ? 503 : 200 }));
    const report = reportOf(jobFor("h2"), { ...facts, log: broken });
    expect(report.requests).toEqual({
      sent: 20,
      completed: 13,
      failed: 7,
      errors: { reset: 3, "status 503": 2, "connection closed": 2 },
    });
  });
});

describe("h2load 1.70", () => {
  /** Stands in for it: takes its options, and leaves what it would. */
  const standIn = `#!${process.execPath}
const { readFileSync, writeFileSync } = require("node:fs");
const value = (name) => process.argv.find((argument) => argument.startsWith(name + "="))?.slice(name.length + 1);
if (process.argv.includes("--version")) console.log("h2load nghttp2/1.70.0");
else {
  const count = Number(process.argv[process.argv.indexOf("-n") + 1]);
  writeFileSync(value("--log-file"), "1795565795076567\\t200\\t700\\n".repeat(count));
  const file = value("--output-file");
  if (file !== undefined) {
    const result = JSON.parse(readFileSync(${JSON.stringify(fileURLToPath(new URL("../fixtures/h2load-1.70.json", import.meta.url)))}, "utf8"));
    for (const name of ["total", "started", "done", "succeeded"]) result.measurements.requests[name] = count;
    writeFileSync(file, JSON.stringify(result));
  }
  console.log("Application protocol: " + (process.argv.includes("--h1") ? "http/1.1" : "h2c"));
}
`;

  test("is read from the file that it writes, with the times to connect on HTTP/1.1", async () => {
    const folder = mkdtempSync(join(tmpdir(), "fakeai-h2load-1.70-"));
    writeFileSync(join(folder, "h2load"), standIn, { mode: 0o755 });
    const path = process.env["PATH"];
    process.env["PATH"] = `${folder}:${path}`;
    try {
      const driver = driverNamed("h2load");
      const h1 = await run(driver, jobFor("h1"));
      expect(withoutLimits(h1)).toEqual([]);
      expect(h1.requests).toEqual({ sent: 20, completed: 20, failed: 0, errors: {} });
      expect(h1.metrics.connect).toMatchObject({ count: 2, min: 78, max: 97, mean: 87.5 });
      expect(h1.metrics.bytesReceivedPerRequest!.mean).toBe(75_876_095 / 20);
      const h2c = await run(driver, jobFor("h2c"));
      expect([withoutLimits(h2c), h2c.metrics.connect]).toEqual([[], null]);
    } finally {
      process.env["PATH"] = path;
    }
  });
});

describe.skipIf(!installed)("h2load refuses", () => {
  test.each<[string, Partial<LoadJob>, RegExp]>([
    ["an open loop", { mode: "open", requests: [{ ...unary, atUs: 0 }] }, /never counts how long/],
    ["new connections", { reuse: "new" }, /keeps its connections/],
    ["uneven streams", { connections: 3, streams: 4 }, /same number of streams/],
    ["fewer requests than connections", { requests: [unary] }, /at least one request for each/],
    ["requests that differ", { requests: [...times(10, unary), streamed] }, /same request each time/],
    ["an empty body", { requests: times(10, { body: "", tokens: null }) }, /no empty body/],
  ])("%s", (_, more, reason) => {
    expect(h2load.supports(jobFor("h2c", more))).toMatch(reason);
  });

  test("pipelining", () => {
    expect(h2load.supports(jobFor("h1", { streams: 8 }))).toMatch(/would pipeline/);
  });
});

describe("autocannon", () => {
  test.each(["h1", "h1s"] as const)("%s: exact counts, streamed and not", async (protocol) => {
    const report = await run(autocannon, jobFor(protocol));
    expect(withoutLimits(report)).toEqual([]);
    expect(report.requests).toEqual({ sent: 20, completed: 20, failed: 0, errors: {} });
    expect(report.tokens).toBe(240);
    expect(report.negotiated).toEqual(["http/1.1"]);
    expect(report.cipher).toBe(protocol === "h1" ? null : `TLSv1.3 ${cipher}`);
    expect(report.metrics.e2el!.min).toBeGreaterThanOrEqual(42_000);
    const onStreams = await run(autocannon, jobFor(protocol, { stream: true, requests: times(20, streamed), warmup: [] }));
    expect(onStreams.requests.completed).toBe(20);
    expect(onStreams.metrics.ttfe!.count).toBe(20);
    expect(onStreams.metrics.ttfe!.min).toBeGreaterThanOrEqual(20_000);
    expect(onStreams.metrics.ttfe!.max).toBeLessThan(onStreams.metrics.e2el!.max);
    expect(onStreams.metrics.ttft ?? null).toBeNull();
  });

  test.each<[string, (socket: Socket) => void, string]>([
    ["answers 503", (socket) => socket.write("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n"), "status 503"],
    ["ends streams early", (socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\ndata:{}\n"), "incomplete stream"],
    ["closes", (socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 80\r\n\r\nda"), "connection closed"],
  ])("a server that %s", async (_, answer, reason) => {
    const bad = await raw(answer);
    const job = jobFor("h1", { stream: true, requests: times(8, streamed), warmup: [], connections: 2, streams: 2 });
    const report = await run(autocannon, elsewhere(job, bad.origin));
    bad.close();
    expect(report.requests.completed).toBe(0);
    expect(report.requests.sent).toBe(report.requests.failed);
    // After a cut answer autocannon takes the next one for its rest: the reason may then be another, success it is not.
    expect(Object.keys(report.requests.errors)).toContain(reason);
    expect(report.invalid).toContain("no request was completed");
  });

  test("one that hangs, and nobody there", async () => {
    const hanging = await raw(() => {});
    const job = jobFor("h1", { requests: times(8, unary), warmup: [], idleTimeoutMs: 300 });
    const hung = await run(autocannon, elsewhere(job, hanging.origin));
    hanging.close();
    expect(hung.requests.completed).toBe(0);
    expect(hung.requests.errors["timeout"]).toBe(hung.requests.failed);
    expect(hung.invalid).toContain("no request was completed");
    const gone = await run(autocannon, elsewhere(job, "http://127.0.0.1:1"));
    expect(gone.requests.completed).toBe(0);
    expect(gone.invalid).toContain("no request was completed");
  });

  test.each<[string, ProtocolName, Partial<LoadJob>, RegExp]>([
    ["HTTP/2", "h2c", {}, /HTTP\/1\.1 only/],
    ["pipelining", "h1", { streams: 8 }, /pipelined/],
    ["an open loop", "h1", { mode: "open", requests: [{ ...unary, atUs: 0 }] }, /burst/],
    ["new connections", "h1", { reuse: "new" }, /keeps its connections/],
    ["requests that differ", "h1", { requests: [...times(10, unary), streamed] }, /same request each time/],
    ["fewer requests than connections", "h1", { requests: [unary] }, /at least one request for each/],
  ])("refuses %s", async (_, protocol, more, reason) => {
    const job = jobFor(protocol, more);
    expect(autocannon.supports(job)).toMatch(reason);
    await expect(run(autocannon, job)).rejects.toThrow(reason);
  });
});
