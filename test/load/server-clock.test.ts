/** A server whose clock is another: stamps are compared with ours as well as the clock is known, and otherwise not at all. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { createServer, type Server } from "node:http";
import { mkdtempSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { monotonicUs } from "../../src/base/clock.ts";
import { generate } from "../../src/load/generator.ts";
import type { LoadReport } from "../../src/load/job.ts";
import { chatBody } from "../support/loads.ts";
import { cliPath } from "../support/process.ts";

const servers: Server[] = [];
const children: ChildProcess[] = [];
afterEach(() => servers.splice(0).forEach((server) => server.close()));
afterAll(() => children.forEach((child) => child.kill("SIGKILL")));

interface Truth {
  /** The clock's name; default "theirs". */
  readonly name?: string;
  readonly offsetUs: number;
  readonly driftPpm: number;
  /** Longest wait on the way back of a time, ms. */
  readonly delayMs?: number;
}

/** Answers with three stamped tokens, due `ttftUs` after the request and sent 100 us after they are due, on a clock that the test injects. */
async function drifting({ name = "theirs", offsetUs, driftPpm, delayMs = 0 }: Truth): Promise<string> {
  const clockUs = (): number => {
    const us = monotonicUs();
    return us + offsetUs + (us % 1e9) * (driftPpm / 1e6);
  };
  const server = createServer((request, response) => {
    if (request.url === "/health/clock") {
      const receivedUs = clockUs();
      const body = JSON.stringify({ clock: name, receivedUs, sentUs: clockUs() });
      setTimeout(() => response.end(body), delayMs);
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream", "x-fakeai-clock": name });
    let sent = 0;
    const one = (): void => {
      const at = clockUs();
      response.write(
        `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content: "w" }, finish_reason: null }], fakeai: { due: Math.round(at - 100), sent: Math.round(at) } })}\n\n`,
      );
      if (++sent < 3) setTimeout(one, 3);
      else response.end(`data: ${JSON.stringify({ choices: [{ index: 0, delta: {}, finish_reason: "stop" }] })}\n\ndata: [DONE]\n\n`);
    };
    setTimeout(one, 3);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function run(origin: string, count = 30, hosts?: readonly string[]): Promise<LoadReport> {
  const job = {
    endpoint: {
      origin,
      protocol: "h1",
      path: "/v1/chat/completions",
      method: "POST",
      headers: { "content-type": "application/json", "x-fakeai-stamps": "1" },
      tls: { ca: null, insecure: false, cipher: null },
      ...(hosts === undefined ? {} : { hosts }),
    },
    connections: 4,
    reuse: "keep",
    streams: 4,
    mode: "closed",
    warmup: [],
    requests: Array.from({ length: count }, () => ({ body: chatBody({ max_tokens: 3 }), tokens: null })),
    idleTimeoutMs: 5000,
    requestTimeoutMs: 5000,
    stream: true,
    detail: true,
    clock: "ours",
    clockPath: "/health/clock",
  } as const;
  return generate(job, { signal: new AbortController().signal, onPhase: async () => {}, onProgress() {} });
}

/** A machine that came up when this one had run for half of its time: no clock of the kind says less than 0. */
const behindUs = -Math.round(monotonicUs() / 2);

test.each([
  ["5,000 s ahead", { offsetUs: 5e9, driftPpm: 0 }],
  ["behind and 150 ppm fast", { offsetUs: behindUs, driftPpm: 150 }],
])("%s: the offset is found, and transport is what it would be on one clock", async (_, truth) => {
  const report = await run(await drifting(truth));
  expect(report.requests).toMatchObject({ completed: 30 });
  const { clock, metrics } = report;
  expect(clock!.reason).toBeNull();
  const trueUs = truth.offsetUs + (report.startedUs % 1e9) * (truth.driftPpm / 1e6);
  expect(Math.abs(clock!.offsetUs! - trueUs)).toBeLessThanOrEqual(clock!.boundUs! + 2);
  // One process: a way takes less than the time between two turns of its loop, and never less than nothing beyond the bound.
  const [detail] = report.details;
  const way = detail!.tokenUs[1]! - detail!.sentUs[1]!;
  expect(way).toBeGreaterThan(-clock!.boundUs! - 2);
  expect(way).toBeLessThan(50_000);
  expect(metrics.serverLateness!.p50).toBe(100);
  expect(metrics.transport!.count).toBe(90);
});

test("a clock that is not known well enough: no stamp is used, and the reason is told", async () => {
  const report = await run(await drifting({ offsetUs: 1e9, driftPpm: 0, delayMs: 12 }), 6);
  expect(report.clock!.reason).toContain("the server's clock is known to");
  expect(report.clock!.boundUs!).toBeGreaterThan(1000);
  expect([report.metrics.transport, report.metrics.serverLateness, report.metrics.plannedTtft]).toEqual([null, null, null]);
  expect(report.metrics.ttft!.count).toBe(6);
});

test("several servers: each clock is found by itself, and only stamps of those that are known well enough are compared", async () => {
  const truths: readonly Truth[] = [
    { name: "ahead", offsetUs: 5e9, driftPpm: 0 },
    { name: "behind and fast", offsetUs: behindUs, driftPpm: 150 },
    { name: "ahead", offsetUs: 5e9, driftPpm: 0 },
    { name: "far away", offsetUs: 7e6, driftPpm: 0, delayMs: 12 },
  ];
  const origins = await Promise.all(truths.map(drifting));
  const hosts = origins.map((origin) => new URL(origin).host);
  const report = await run(origins[0]!, 32, hosts);
  expect(report.requests).toMatchObject({ completed: 32, failed: 0 });
  const servers = report.servers!;
  for (const [index, { offsetUs, driftPpm }] of truths.entries()) {
    const { clock } = servers[index]!;
    const trueUs = offsetUs + (report.startedUs % 1e9) * (driftPpm / 1e6);
    expect(Math.abs(clock!.offsetUs! - trueUs)).toBeLessThanOrEqual(clock!.boundUs! + 2);
  }
  expect(servers.map(({ clock }) => clock!.reason)).toEqual([null, null, null, expect.stringContaining("the server's clock is known to")]);
  const { clock, metrics } = report;
  expect(clock!.reason).toMatch(new RegExp(`^${hosts[3]}: the server's clock is known to \\S+ ms only`));
  expect([clock!.offsetUs, clock!.boundUs]).toEqual([null, Math.max(...servers.slice(0, 3).map((server) => server.clock!.boundUs!))]);
  // Three stamped tokens of each answer of three servers: on one clock for all, or with the fourth, they would be hours apart.
  const compared = servers.slice(0, 3).reduce((sum, { completed }) => sum + completed, 0);
  expect(metrics.transport!.count).toBe(3 * compared);
  expect(metrics.transport!.min).toBeGreaterThan(-clock!.boundUs! - 2);
  expect(metrics.transport!.max).toBeLessThan(100_000);
  for (const detail of report.details.slice(0, 4)) expect(detail.tokenUs.length).toBe(3);
});

test("several servers of which none is known: no stamp is compared, and each is told with its reason", async () => {
  const origins = await Promise.all(["a", "b"].map((name) => drifting({ name, offsetUs: 1e9, driftPpm: 0, delayMs: 12 })));
  const report = await run(
    origins[0]!,
    6,
    origins.map((origin) => new URL(origin).host),
  );
  expect([report.metrics.transport, report.metrics.serverLateness, report.metrics.plannedTtft]).toEqual([null, null, null]);
  for (const origin of origins) expect(report.clock!.reason).toContain(`${new URL(origin).host}: the server's clock is known to`);
});

/** A server of ours whose clock and boot are another's, started by `before` (its first words), with options of node. */
async function shifted(before: readonly string[], nodeArgs: readonly string[]): Promise<{ child: ChildProcess; url: string }> {
  const serve = ["serve", "--protocol", "h1:0", "--ttft", "20", "--itl", "5", "--stamps", "--json"];
  const [program, ...args] = [...before, process.execPath, ...nodeArgs, cliPath, ...serve];
  const child = spawn(program!, args, { stdio: ["ignore", "pipe", "ignore"] });
  children.push(child);
  const line = await new Promise<string>((resolve) => child.stdout.once("data", (bytes: Buffer) => resolve(bytes.toString())));
  return { child, url: (JSON.parse(line) as { listening: { url: string }[] }).listening[0]!.url };
}

/** What node reads of the monotonic clock, 5,000 s ahead, and a boot of its own: as on another host. */
const otherHost = join(mkdtempSync(join(tmpdir(), "fakeai-clock-")), "other-host.cjs");
writeFileSync(
  otherHost,
  `const fs = require("node:fs");
const { hrtime } = process;
const { bigint } = hrtime;
hrtime.bigint = () => bigint() + 5_000_000_000_000n;
const { readFileSync } = fs;
fs.readFileSync = (path, ...rest) => (path === "/proc/sys/kernel/random/boot_id" ? "another-boot" : readFileSync(path, ...rest));
require("node:module").syncBuiltinESMExports();
`,
);
const hasTimeNamespaces = spawnSync("unshare", ["--time", "--monotonic", "5000", "true"]).status === 0;

// Where the system has no time namespaces the first shows the same of our own server; it runs everywhere.
test.each([
  ["whose clock is read 5,000 s ahead", [], ["--require", otherHost]],
  ...(hasTimeNamespaces ? [["in a time namespace 5,000 s ahead", ["unshare", "--time", "--monotonic", "5000", "--"], []] as const] : []),
] as const)("a server %s is told apart, and its latencies stay right", async (_, before, nodeArgs) => {
  const { child, url } = await shifted(before, nodeArgs);
  const report = await run(url, 20);
  expect(report.requests).toMatchObject({ completed: 20 });
  const { clock, metrics } = report;
  expect(clock!.reason).toBeNull();
  expect(Math.abs(clock!.offsetUs! - 5e9)).toBeLessThanOrEqual(clock!.boundUs! + 5);
  expect(metrics.plannedTtft!.p50).toBeGreaterThan(19_000);
  expect(metrics.transport!.p50).toBeLessThan(50_000);
  child.kill("SIGTERM");
});
