/** A server in another program's process leaves the environment as it is. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { localhostCertificate } from "../../src/base/certificate.ts";
import { createServer, type ServerOptions } from "../../src/index.ts";
import { loadUws, uwsMaxHeadBytes } from "../../src/listeners/uws/module.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-environment-"));
const { certPath, keyPath } = (await localhostCertificate()).files!;

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** The shortest tape. */
const tape = file(
  "calls.jsonl",
  [
    { fakeaiTape: 1, to: "http://127.0.0.1/v1", recordedAt: "", fakeai: "0", upstream: "h1" },
    {
      call: 1,
      atUs: 0,
      connectUs: null,
      heldBack: false,
      request: { protocol: "h1", method: "GET", path: "/v1/models", query: "", headers: [], body: null },
      response: { status: 200, headers: [], headUs: 0, pieces: [], endUs: 0, end: "finished" },
    },
  ]
    .map((line) => JSON.stringify(line))
    .join("\n"),
);
const node = { h1Engine: "node" } as const;
const batched = { scheduler: "batched" } as const;

/** Options that give each option a value, with what it needs beside. `workers` is of `fakeai serve` only, 1 is all that is left. */
const each: { readonly [Key in keyof ServerOptions]-?: ServerOptions & { readonly [Own in Key]-?: ServerOptions[Own] } } = {
  protocol: { protocol: "h1,h1s,h2c,h2,ws,wss" },
  http2: { http2: true },
  port: { port: 0 },
  host: { host: "127.0.0.1" },
  instance: { instance: "2/3" },
  warm: { warm: true },
  metricsLabel: { metricsLabel: "pod=a" },
  h1Engine: { h1Engine: "node" },
  h2Engine: { h2Engine: "own" },
  quicRetry: { quicRetry: false },
  altSvc: { altSvc: false },
  wsDeflate: { protocol: "h1,ws", wsDeflate: true },
  wsLifetime: { protocol: "h1,ws", wsLifetime: 60_000 },
  wsMaxInFlight: { protocol: "h1,ws", wsMaxInFlight: 100 },
  wsMaxLanes: { protocol: "h1,ws", wsMaxLanes: 100 },
  maxStored: { maxStored: "1mb" },
  tlsCert: { protocol: "h1s,h2", tlsCert: certPath, tlsKey: keyPath },
  tlsKey: { protocol: "h2", tlsCert: certPath, tlsKey: keyPath },
  workers: { workers: 1 },
  ttft: { ttft: "lognormal(20,0.5)" },
  itl: { itl: 1 },
  preset: { preset: "llama-3.1-8b-h100" },
  latencyFrom: { latencyFrom: file("latencies.csv", "ttft_ms,itl_ms\n20,5\n30,6\n") },
  stamps: { stamps: true },
  timer: { timer: "precise" },
  outputTokens: { outputTokens: 4 },
  keepRequests: { keepRequests: 10 },
  replies: { replies: file("replies.yaml", "replies:\n  - reply: { text: a }\n") },
  replay: { replay: tape },
  replaySpeed: { replay: tape, replaySpeed: 2 },
  replayUnmatched: { replay: tape, replayUnmatched: "generate" },
  replayIgnore: { replay: tape, replayIgnore: ["user"] },
  textFile: { textFile: file("text.txt", "some words") },
  mode: { mode: "echo" },
  profile: { profile: "vllm" },
  earlyRole: { earlyRole: true },
  tokensPerChunk: { tokensPerChunk: 2 },
  seed: { seed: 2 },
  model: { model: ["one", "two"] },
  maxModelLen: { maxModelLen: 1000 },
  imageTokens: { imageTokens: 7 },
  pageTokens: { pageTokens: 7 },
  tokenizer: { tokenizer: "cl100k_base" },
  apiKey: { apiKey: ["a-key"] },
  cors: { cors: "*" },
  rateLimit: { rateLimit: "rpm=60" },
  fault: { fault: "rate_limit@10%" },
  admin: { admin: true },
  adminToken: { admin: true, adminToken: "a-long-enough-token" },
  maxConnections: { maxConnections: 100 },
  maxConcurrentStreams: { http2: true, maxConcurrentStreams: 10 },
  headerTable: { http2: true, headerTable: "64kb" },
  maxHead: { maxHead: "64kb", ...node },
  maxBody: { maxBody: "1mb" },
  maxJsonDepth: { maxJsonDepth: 10 },
  maxStreamBuffer: { maxStreamBuffer: "32kb" },
  maxBuffer: { maxBuffer: "1mb" },
  headTimeout: { headTimeout: 5000, ...node },
  bodyTimeout: { bodyTimeout: 5000 },
  idleTimeout: { idleTimeout: 5000, ...node },
  stallTimeout: { stallTimeout: 5000 },
  grace: { grace: 100 },
  scheduler: batched,
  engine: { engine: "batched" },
  maxNumSeqs: { maxNumSeqs: 8, ...batched },
  maxNumBatchedTokens: { maxNumBatchedTokens: 512, ...batched },
  maxQueue: { maxQueue: 10, ...batched },
  queueFull: { queueFull: 503, ...batched },
  stepTime: { stepTime: 5, ...batched },
  stepTimePerSeq: { stepTimePerSeq: 0.1, ...batched },
  prefillTimePerToken: { prefillTimePerToken: 0.1, ...batched },
  requestOverhead: { requestOverhead: 1, ...batched },
  requestOverheadPerToken: { requestOverheadPerToken: 0.1, ...batched },
  blockSize: { blockSize: 32, ...batched },
  numGpuBlocksOverride: { numGpuBlocksOverride: 1000, ...batched },
  disablePrefixCaching: { disablePrefixCaching: true, ...batched },
};

/** Watched from here on. A value that is set and set back is a write too. */
const environment = process.env;
const writes: string[] = [];
const noted = (how: string) => (_target: object, name: string | symbol) => {
  writes.push(`${how} ${String(name)}`);
  return true;
};
process.env = new Proxy<NodeJS.ProcessEnv>(environment, {
  set: noted("set"),
  deleteProperty: noted("delete"),
  defineProperty: noted("define"),
});
afterAll(() => {
  process.env = environment;
});
const hasUws = (await loadUws()) !== null;

test("the environment that is watched sees a write", () => {
  process.env["FAKEAI_WATCHED"] = "x";
  expect(writes.splice(0)).toEqual(["set FAKEAI_WATCHED"]);
  expect(environment["FAKEAI_WATCHED"]).toBeUndefined();
});

test.each(Object.entries(each))("%s", async (_option, options) => {
  const before = { ...environment };
  const server = await createServer(options);
  if (server.urls.h1 !== undefined) expect((await fetch(`${server.urls.h1}/health`)).status).toBe(200);
  await server.close(0);
  expect(writes).toEqual([]);
  expect({ ...environment }).toEqual(before);
});

test.runIf(hasUws && environment["UWS_HTTP_MAX_HEADERS_SIZE"] === undefined)(
  "a default that uWebSockets.js cannot keep is noted, what was asked for is refused",
  async () => {
    expect(uwsMaxHeadBytes()).toBe(4096);
    const server = await createServer();
    const cure = "set UWS_HTTP_MAX_HEADERS_SIZE=16384 in the environment of the program, or use --h1-engine node";
    expect(server.notices).toEqual([`uWebSockets.js takes heads of up to 4096 bytes in this process; for larger ones ${cure}`]);
    await server.close(0);
    await expect(createServer({ maxHead: "16kb" })).rejects.toThrow(
      `--max-head 16kb: uWebSockets.js takes heads of up to 4096 bytes in this process; ${cure}`,
    );
    const small = await createServer({ maxHead: "4kb" });
    expect(small.notices).toEqual([]);
    await small.close(0);
  },
);
