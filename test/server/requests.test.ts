/** What came in, as a test suite asks for it: on every protocol and engine, and over HTTP with the admin's token only. */
import { inspect } from "node:util";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import type { RequestHandler, ResponseSink, RouteRequest } from "../../src/core/seams.ts";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { mostKeptBytes, RequestLog } from "../../src/server/request-log.ts";
import { chat } from "../support/chat.ts";
import { start, type Started, targets } from "../support/targets.ts";
import { eventually } from "../support/wait.ts";

const path = "/v1/chat/completions";

describe.each(targets)("$name", (target) => {
  let started: Started;
  let server: FakeAiServer;
  beforeAll(async () => {
    started = await start(target, { keepRequests: 3, outputTokens: 4 });
    ({ server } = started);
  });
  afterAll(() => started.stop());

  test("tells what came, how, and how its answer went", async () => {
    const startedMs = Date.now();
    const waited = server.requests.waitForRequest(path, { untilEnded: true });
    await started.ask({
      path,
      headers: { authorization: "Bearer sk-1", "ocp-apim-subscription-key": "k", "x-own": "here", "x-fakeai-output-tokens": "4" },
      body: chat({ stream: true }),
    });
    const request = await waited;
    expect(request).toMatchObject({
      number: 1,
      method: "POST",
      path,
      protocol: target.protocol,
      body: chat({ stream: true }),
      status: 200,
      ended: "finished",
      tokensSent: 4,
    });
    expect(request.headers).toMatchObject({
      authorization: "[hidden]",
      "ocp-apim-subscription-key": "[hidden]",
      "x-own": "here",
      "x-fakeai-output-tokens": "4",
    });
    expect(request.connection).toBe(target.engine === "uws" ? null : 1);
    expect(request.stream === null).toBe(target.client === "http/1.1");
    expect(Math.abs(request.receivedAtMs - startedMs)).toBeLessThan(5000);
    expect(request.firstWriteMs!).toBeGreaterThanOrEqual(0);
    expect(request.endedMs!).toBeGreaterThanOrEqual(request.firstWriteMs!);
  });

  test("keeps the latest, also those that were refused", async () => {
    server.requests.clear();
    await started.ask({ method: "GET", path: "/nowhere" });
    await started.ask({ path, body: "{ no json" });
    await started.ask({ path, body: chat() });
    await started.ask({ path, body: { model: "m" } });
    const all = server.requests.all();
    expect(all.map(({ number, status, tokensSent }) => [number, status, tokensSent])).toEqual([
      [3, 400, null],
      [4, 200, 4],
      [5, 400, null],
    ]);
    expect([all[0]!.body, server.requests.at(-1)!.body]).toEqual(["{ no json", { model: "m" }]);
    expect(JSON.parse(JSON.stringify(all))).toEqual(all);
    expect(inspect(server.requests.at(-1))).toContain("body: { model: 'm' }");
  });

  test("tells a client that left, and a stream that was cut", async () => {
    const left = started.ask({ path, headers: { "x-fakeai-fault": "truncate(after=2)" }, body: chat({ stream: true }) });
    const cut = await server.requests.waitForRequest(({ body }) => (body as { stream?: boolean } | null)?.stream === true, {
      untilEnded: true,
    });
    await left;
    expect([cut.ended, cut.tokensSent]).toEqual(["finished", 2]);
  });

  test("keeps the query, and never a key in it", async () => {
    server.requests.clear();
    const query = "alt=sse&key=AIza1&api-version=2024-10-21&api-key=k1&API_KEY=k2&%6bey=k3&access_token=t&sig=s&max_tokens=5&key&empty=";
    const shown =
      "alt=sse&key=[hidden]&api-version=2024-10-21&api-key=[hidden]&API_KEY=[hidden]&%6bey=[hidden]&access_token=[hidden]&sig=[hidden]&max_tokens=5&key&empty=";
    await started.ask({ path: `${path}?${query}`, body: chat() });
    await started.ask({ path, body: chat() });
    expect(server.requests.all().map((request) => [request.path, request.query])).toEqual([
      [path, shown],
      [path, ""],
    ]);
  });
});

test.each(["uws", "node"] as const)("a client that leaves is told of on %s", async (h1Engine) => {
  await using server = await createServer({ h1Engine, keepRequests: 5, itl: 20, outputTokens: 500 });
  const abort = new AbortController();
  const answer = fetch(server.urls.h1! + path, { method: "POST", body: JSON.stringify(chat({ stream: true })), signal: abort.signal });
  const request = await server.requests.waitForRequest(path);
  await eventually(() => request.tokensSent! > 3, "four tokens");
  abort.abort();
  await answer.then((response) => response.text()).catch(() => {});
  await eventually(() => request.ended === "aborted", "the end");
  expect(request.tokensSent!).toBeLessThan(500);
});

test("a request that does not come is an error that says what came", async () => {
  await using server = await createServer({ keepRequests: 5 });
  await expect(server.requests.waitForRequest("/x", { timeoutMs: 20 })).rejects.toThrow("no request fits after 20 ms: none came");
  await fetch(`${server.urls.h1}/v1/models`);
  await expect(server.requests.waitForRequest("/x", { timeoutMs: 20 })).rejects.toThrow("1 are there, the last GET /v1/models");
});

test("the next request is one that is not there yet", async () => {
  await using server = await createServer({ keepRequests: 5 });
  const ask = (): Promise<Response> => fetch(`${server.urls.h1}/v1/models`);
  await ask();
  expect((await server.requests.waitForRequest("/v1/models")).number).toBe(1);
  const waited = server.requests.waitForRequest("/v1/models", { next: true, untilEnded: true });
  await ask();
  expect(await waited).toMatchObject({ number: 2, ended: "finished" });
  await expect(server.requests.waitForRequest("/v1/models", { next: true, timeoutMs: 20 })).rejects.toThrow("no request fits after 20 ms");
  await expect(server.requests.waitForRequest("/v1/models", { ended: true } as object)).rejects.toThrow(
    "waitForRequest: there is no option ended: there are timeoutMs, untilEnded, next",
  );
});

test("what a predicate throws is its waiter's, and the request has its answer", async () => {
  const server = await createServer({ port: 0, keepRequests: 10 });
  onTestFinished(() => void server.close(0));
  const waited = server.requests.waitForRequest(({ body }) => (body as { messages: unknown[] }).messages.length > 0);
  const [answer, outcome] = await Promise.allSettled([fetch(`${server.urls.h1}/v1/models`), waited]);
  expect(answer).toMatchObject({ status: "fulfilled", value: { status: 200 } });
  expect(outcome).toMatchObject({ status: "rejected", reason: expect.any(TypeError) as TypeError });
});

test("heads and bodies together are bounded, and a body is kept as it came", () => {
  const log = new RequestLog(1000);
  const handler = log.watch({ handle: () => {}, refuse: () => {} } as Partial<RequestHandler> as RequestHandler);
  const value = "x".repeat(1_000_000);
  const request = {
    method: "POST",
    path: "/x",
    query: "",
    protocol: "h1",
    receivedUs: 0,
    headerNames: () => ["x-own"],
    header: () => value,
  };
  const body = new TextEncoder().encode('{"model":"m"}');
  for (let i = 0; i < 100; i++) handler.handle(request as Partial<RouteRequest> as RouteRequest, body, {} as ResponseSink);
  // An engine uses the bytes again.
  body.fill(0);
  expect(log.length).toBe(Math.floor(mostKeptBytes / (value.length + "x-own/x".length + body.length)));
  expect(log.at(-1)!.body).toEqual({ model: "m" });
  expect(JSON.parse(JSON.stringify(log.at(-1)))).toMatchObject({ number: 100, body: { model: "m" } });
});

test("a page of them is bounded, and says whether there are more", () => {
  const log = new RequestLog(100);
  const handler = log.watch({ handle: () => {}, refuse: () => {} });
  const request = { method: "POST", path: "/x", query: "", protocol: "h1", receivedUs: 0, headerNames: () => [] };
  for (let i = 0; i < 5; i++)
    handler.handle(request as Partial<RouteRequest> as RouteRequest, new Uint8Array(i === 3 ? 3_000_000 : 500_000), {} as ResponseSink);
  const numbers = (after: number) => [log.page(after).requests.map(({ number }) => number), log.page(after).hasMore];
  expect([numbers(0), numbers(2), numbers(3), numbers(4), numbers(5)]).toEqual([
    [[1, 2], true],
    [[3], true],
    // One at least, however large.
    [[4], true],
    [[5], false],
    [[], false],
  ]);
});

test("nothing is kept unless it is asked for", async () => {
  await using server = await createServer();
  await fetch(`${server.urls.h1}/v1/models`);
  expect([...server.requests]).toEqual([]);
  await expect(server.requests.waitForRequest("/v1/models")).rejects.toThrow("start the server with keepRequests");
});

test("who looks pushes nothing out", async () => {
  await using server = await createServer({ keepRequests: 2, admin: true, adminToken: "admin-token" });
  await fetch(server.urls.h1! + path, { method: "POST", body: JSON.stringify(chat()) });
  const looks = ["/admin/requests", "/admin/config", "/admin/nowhere", "/health", "/health/ready", "/health/clock", "/metrics", "/"];
  for (const look of looks)
    for (const headers of [{}, { authorization: "Bearer admin-token" }]) await (await fetch(server.urls.h1! + look, { headers })).text();
  await (await fetch(`${server.urls.h1}/admin/requests`, { method: "POST", body: "{}" })).text();
  expect(server.requests.all().map((request) => [request.number, request.path])).toEqual([[1, path]]);
});

test("/admin/requests needs --admin, --keep-requests and the token", async () => {
  await using closed = await createServer({ keepRequests: 5 });
  await using keepless = await createServer({ admin: true });
  for (const { urls } of [closed, keepless]) expect((await fetch(`${urls.h1}/admin/requests`)).status).toBe(404);
  await using server = await createServer({ keepRequests: 5, admin: true, adminToken: "admin-token", apiKey: "sk-1" });
  const url = `${server.urls.h1}/admin/requests`;
  expect((await fetch(url)).status).toBe(401);
  expect((await fetch(url, { headers: { authorization: "Bearer sk-1" } })).status).toBe(401);
  const ask = async (init: RequestInit = {}) =>
    (await (await fetch(url, { ...init, headers: { authorization: "Bearer admin-token" } })).json()) as {
      requests: { number: number; path: string; status: number }[];
    };
  await fetch(server.urls.h1! + path, { method: "POST", body: JSON.stringify(chat()) });
  await fetch(server.urls.h1! + path, { method: "POST", body: JSON.stringify(chat()) });
  const { requests } = await ask();
  expect(requests.map(({ number, status }) => [number, status])).toEqual([
    [1, 401],
    [2, 401],
  ]);
  const behind = await fetch(`${url}?after=1`, { headers: { authorization: "Bearer admin-token" } });
  expect(((await behind.json()) as { requests: object[]; has_more: boolean }).requests).toEqual([requests[1]]);
  expect((await fetch(`${url}?after=x`, { headers: { authorization: "Bearer admin-token" } })).status).toBe(400);
  expect((await ask({ method: "POST", body: '{"clear":true}' })).requests).toEqual([]);
});

test("stats are plain JSON, knobs and the stream log are for programs too", async () => {
  await using server = await createServer({ outputTokens: 3, fault: "rate_limit" });
  const ask = () =>
    fetch(server.urls.h1! + path, { method: "POST", body: JSON.stringify(chat({ stream: true })) }).then((answer) => answer.text());
  await ask();
  expect((JSON.parse(JSON.stringify(server.stats())) as { faults: object }).faults).toEqual({ rate_limit: 1 });
  server.changeKnobs({ fault: null, "output-tokens": 2 });
  expect(() => server.changeKnobs({ "output-token": 2 })).toThrow("'output-token' is not a knob");
  server.streamLog.begin();
  await ask();
  expect(server.streamLog.read()!.streams.map(({ planned, sentUs }) => [planned, sentUs.length])).toEqual([[2, 2]]);
});
