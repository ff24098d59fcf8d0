/** Several gateways, and several addresses of one server. */
import { connect, createServer as createTcpServer, type Server } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { UsageError } from "../../src/base/usage-error.ts";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { headline } from "../../src/report/words.ts";
import { answersOf } from "../../src/results/answers.ts";
import type { BenchResult } from "../../src/results/types.ts";
import { runBench } from "../../src/runner/bench.ts";
import { resolveBench } from "../../src/runner/plan/options.ts";
import { upstreamOf } from "../../src/runner/via.ts";
import type { BenchInput } from "../../src/settings/bench.ts";
import { serve } from "../support/process.ts";
import { listen } from "../support/servers.ts";

let server: FakeAiServer;
const forwarders: Server[] = [];
beforeAll(async () => {
  server = await createServer({ protocol: "h1:0,h2c:0", stamps: true });
});
afterAll(async () => {
  for (const forwarder of forwarders) forwarder.close();
  await server.close(0);
});

/** A gateway that does nothing: bytes go on as they come. */
async function forwarder(to: string): Promise<string> {
  const { port } = new URL(to);
  const front = createTcpServer((socket) => {
    const back = connect(Number(port), "127.0.0.1");
    socket.on("error", () => back.destroy()).pipe(back);
    back.on("error", () => socket.destroy()).pipe(socket);
  });
  forwarders.push(front);
  return `http://127.0.0.1:${await listen(front)}`;
}

const bench = (input: BenchInput): Promise<BenchResult> =>
  runBench({
    options: resolveBench({
      keepDisturbed: true,
      rounds: "2",
      requests: "4",
      streams: "2",
      warmup: "1",
      outputTokens: "5",
      timeout: "5",
      ...input,
    }),
    baseline: null,
    command: [],
    details: false,
    observer: { progress() {}, notice() {}, detail() {} },
    signal: new AbortController().signal,
  });

test("several gateways stand in one table, each compared with what comes direct, by its name", async () => {
  const [one, two] = [await forwarder(server.urls.h1!), await forwarder(server.urls.h1!)];
  const { scenarios } = await bench({ url: server.urls.h1!, protocol: "h1", via: [`nginx=${one}`, `HAProxy=${two}`] });
  const [{ title, arms, comparisons, notes }] = scenarios as [BenchResult["scenarios"][number]];
  expect(title).toBe("Direct and through nginx, haproxy");
  expect(arms.map(({ id, rounds }) => [id, rounds.map(({ requests }) => requests.completed)])).toEqual([
    ["direct-h1", [4, 4]],
    ["nginx-h1", [4, 4]],
    ["haproxy-h1", [4, 4]],
  ]);
  expect(new Set(comparisons.map(({ baseline, candidate }) => `${baseline} ${candidate}`))).toEqual(
    new Set(["direct-h1 nginx-h1", "direct-h1 haproxy-h1"]),
  );
  for (const name of ["nginx", "haproxy"])
    expect(notes).toContainEqual(expect.stringMatching(new RegExp(`^${name}: direct and through the gateway one model server answers`)));
}, 60_000);

test("a server with a batched scheduler keeps its own pace: no plan is sent, and a note says so", async () => {
  const batched = await createServer({ protocol: "h1:0", scheduler: "batched", stamps: true });
  const { scenarios, invalid } = await bench({ url: batched.urls.h1!, via: [await forwarder(batched.urls.h1!)] });
  await batched.close(0);
  const [{ arms, notes }] = scenarios as [BenchResult["scenarios"][number]];
  expect(arms.map(({ rounds }) => rounds.map(({ requests }) => requests.completed))).toEqual([
    [4, 4],
    [4, 4],
  ]);
  expect(notes).toContainEqual(
    expect.stringMatching(/^the server keeps its own pace: it refuses x-fakeai-ttft and x-fakeai-itl \(.*batched/),
  );
  expect(invalid).toEqual([]);
}, 60_000);

test("the headline names the pair and the load, each once", async () => {
  const result = await bench({ url: server.urls.h1!, protocol: "h1", via: [await forwarder(server.urls.h1!)] });
  const text = headline(answersOf(result));
  expect(text).toMatch(/^via against direct at \S+: 2 paced streams: /);
}, 60_000);

test("addresses of one server: each protocol at the first that speaks it, compared as on our own", async () => {
  const { scenarios, environment } = await bench({ url: `${server.urls.h2c!},${server.urls.h1!}`, scenario: ["stream"] });
  expect(environment.target).toBe(`${server.urls.h2c!}, ${server.urls.h1!}`);
  const [{ arms, comparisons }] = scenarios as [BenchResult["scenarios"][number]];
  expect(arms.map(({ id, negotiated }) => [id, negotiated])).toEqual([
    ["h1", "http/1.1"],
    ["h2c", "h2c"],
  ]);
  expect(comparisons.map(({ baseline, candidate }) => `${baseline} ${candidate}`)).toContain("h1 h2c");
}, 60_000);

test("the other ports of a server of ours are found, and what is asked for by name decides", async () => {
  const both = await bench({ url: server.urls.h1!, scenario: ["stream"] });
  const [{ arms }] = both.scenarios as [BenchResult["scenarios"][number]];
  expect(arms.map(({ id, negotiated }) => [id, negotiated])).toEqual([
    ["h1", "http/1.1"],
    ["h2c", "h2c"],
  ]);
  const one = await bench({ url: server.urls.h1!, scenario: ["stream"], protocol: "h1" });
  expect(one.scenarios[0]!.arms.map(({ id }) => id)).toEqual(["h1"]);
}, 60_000);

test("addresses that lead to two servers are refused, before anything is measured", async () => {
  // A process is an instance: two servers in one are not told apart.
  const other = await serve(["--protocol", "h2c:0", "--stamps"]);
  const { scenarios, invalid } = await bench({ url: `${server.urls.h1!},${other.listening[0]!.url}`, scenario: ["stream"] });
  await other.stop();
  expect(invalid).toEqual([expect.stringMatching(/^--url: http:\S+ and http:\S+ are two servers: their x-fakeai-instance differs/)]);
  expect(scenarios).toEqual([]);
}, 60_000);

test("replicas of one name are one server at each of their ports", async () => {
  const env = { FAKEAI_SERVER_ID: "7d6ad9e2-0000-4000-8000-000000000003" };
  const [h1, h2c] = await Promise.all(["h1:0", "h2c:0"].map((protocol) => serve(["--protocol", protocol, "--stamps"], { env })));
  const { scenarios } = await bench({ url: `${h1!.listening[0]!.url},${h2c!.listening[0]!.url}`, scenario: ["stream"] });
  await Promise.all([h1!.stop(), h2c!.stop()]);
  expect(scenarios[0]!.arms.map(({ id }) => id)).toEqual(["h1", "h2c"]);
}, 60_000);

test.each<[BenchInput, RegExp]>([
  [{ url: "http://x", via: ["http://a", "http://b"] }, /^--via: two gateways are called via: name them/],
  [{ url: "http://x", via: ["a=http://a", "A=http://b"] }, /^--via: two gateways are called a/],
  [{ url: "http://x", via: ["direct=http://a"] }, /^--via: direct is what gateways are compared with/],
  [{ url: "http://x", via: ["nginx=ftp://a"] }, /^--via: ftp: is neither/],
  [{ url: "http://x/v1,http://y/v2" }, /^--url: several addresses are those of one server, and have one path/],
  [{ url: "http://x,http://y", protocol: "h2" }, /^--protocol: h2 cannot be spoken to an http: address/],
])("%j is refused in one line", (input, message) => {
  expect(() => resolveBench(input)).toThrow(UsageError);
  expect(() => resolveBench(input)).toThrow(message);
});

const origin = "http://127.0.0.1:8000";
const [one, other] = ["7d6ad9e2-0000-4000-8000-000000000001", "7d6ad9e2-0000-4000-8000-000000000002"];

test("the server that both ways share is said, and two servers are refused", () => {
  const here = { clock: "monotonic; boot=1", instance: one };
  expect(upstreamOf(origin, here, here)).toBe(`direct and through the gateway one model server answers: ${origin}, instance ${one}`);
  expect(() => upstreamOf(origin, here, { ...here, instance: other })).toThrow(/another server answers than .*x-fakeai-instance differs/);
  // Replicas of one name: each has a clock.
  expect(upstreamOf(origin, here, { ...here, clock: "monotonic; boot=2" })).toMatch(/one model server answers/);
  expect(() => upstreamOf(origin, { ...here, instance: null }, { clock: "monotonic; boot=2", instance: null })).toThrow(/x-fakeai-clock/);
  expect(upstreamOf(origin, here, { clock: null, instance: null })).toMatch(/is not known: the gateway passes on no x-fakeai-instance$/);
  expect(upstreamOf(origin, null, null)).toMatch(/is not known: the server says no x-fakeai-instance$/);
});
