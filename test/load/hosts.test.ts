/** Several servers of one service: connections are dealt evenly, and results are told by server. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { generate } from "../../src/load/generator.ts";
import type { LoadReport } from "../../src/load/job.ts";
import { chatBody, jobOn } from "../support/loads.ts";

let servers: FakeAiServer[];
beforeAll(async () => {
  servers = await Promise.all([0, 1, 2].map(() => createServer({ protocol: ["h1", "h2c"], itl: 5, outputTokens: 4, stamps: true })));
});
afterAll(() => Promise.all(servers.map((server) => server.close(0))));

const hostsOf = (protocol: "h1" | "h2c"): string[] => servers.map((server) => new URL(server.urls[protocol]!).host);

async function run(protocol: "h1" | "h2c", connections: number, hosts: readonly string[], first = 0, step = 1): Promise<LoadReport> {
  const requests = Array.from({ length: 24 }, () => ({ body: chatBody(), tokens: 4 }));
  const { endpoint, ...job } = jobOn(servers[0]!, protocol, null, { requests, connections, streams: 12 });
  const dealt = { ...job, endpoint: { ...endpoint, hosts, hostsFrom: { first, step } } };
  return generate(dealt, { signal: new AbortController().signal, onPhase: async () => {}, onProgress() {} });
}

test.each(["h1", "h2c"] as const)("%s: connections are dealt evenly, and every answer has its server", async (protocol) => {
  const report = await run(protocol, 6, hostsOf(protocol));
  expect(report.requests).toMatchObject({ completed: 24, failed: 0 });
  expect(report.servers!.map(({ address, connections }) => [address, connections])).toEqual(hostsOf(protocol).map((host) => [host, 2]));
  expect(report.servers!.reduce((sum, { completed }) => sum + completed, 0)).toBe(24);
  for (const { ttft, itl, completed } of report.servers!) {
    expect(completed).toBeGreaterThan(0);
    expect([ttft!.count, itl!.count]).toEqual([completed, completed * 3]);
  }
});

test("shards deal together: with a connection each they ask a server each", async () => {
  const hosts = hostsOf("h2c");
  const reports = await Promise.all([0, 1, 2].map((first) => run("h2c", 1, hosts, first, 3)));
  expect(reports.map(({ servers: all }) => all!.find(({ connections }) => connections === 1)!.address)).toEqual(hosts);
});

test("a server that is not there is told by its address, and the others are not mistaken for it", async () => {
  const [one] = hostsOf("h1");
  const report = await run("h1", 2, [one!, "127.0.0.1:1"]);
  const [here, gone] = report.servers!;
  expect([here!.connections, gone!.connections, gone!.completed, gone!.ttft]).toEqual([1, 0, 0, null]);
});
