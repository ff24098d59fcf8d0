/** What is the same over WebSocket and over HTTP: texts, ids and schedules of a seed, refusals, limits, back-pressure. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StartedServer } from "../../src/server/server.ts";
import { connectSocket, lookTool, runnableTargets, type SocketClient, startDrawn, startSockets } from "../support/sockets.ts";

interface Stamped {
  readonly type: string;
  readonly fakeai?: { readonly due: number; readonly sent: number };
}

/** The data of a stream's events, and when each was due after the first, microseconds. */
function scheduleOf(events: readonly Stamped[]): { readonly events: readonly string[]; readonly dueUs: readonly number[] } {
  const stamps = events.map(({ fakeai }) => fakeai!.due);
  return { events: events.map(({ fakeai: _stamps, ...rest }) => JSON.stringify(rest)), dueUs: stamps.map((due) => due - stamps[0]!) };
}

/** Stamps are whole microseconds, and a request begins at a fraction of one. */
function expectSame(found: readonly Stamped[], wanted: readonly Stamped[]): void {
  const [one, other] = [scheduleOf(found), scheduleOf(wanted)];
  expect(one.events).toEqual(other.events);
  for (const [index, dueUs] of one.dueUs.entries()) expect(Math.abs(dueUs - other.dueUs[index]!)).toBeLessThanOrEqual(1);
}

async function overHttp(server: StartedServer, body: object): Promise<Stamped[]> {
  const response = await fetch(`${server.urls.h1!}/v1/responses`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ ...body, stream: true }),
  });
  const text = await response.text();
  return [...text.matchAll(/^data: (\{.*\})$/gm)].map((match) => JSON.parse(match[1]!) as Stamped);
}

async function overSocket(client: SocketClient, body: object, lane?: string): Promise<Stamped[]> {
  const from = client.messages.length;
  client.send({ type: "response.create", ...body, ...(lane !== undefined && { stream_id: lane }) });
  await client.end(lane);
  return client.messages.slice(from);
}

describe.each(runnableTargets.filter(({ protocol }) => protocol === "ws"))("$name", (target) => {
  let server: StartedServer;
  beforeAll(async () => {
    server = await startDrawn(target);
  });
  afterAll(() => server.close(0));

  test.each([
    ["text", { input: "hello" }],
    ["a call", { input: "hello", tools: [lookTool], tool_choice: "required" }],
    ["reasoning", { input: "hello", reasoning: { effort: "low", summary: "auto" } }],
    ["log probabilities", { input: "hello", include: ["message.output_text.logprobs"], top_logprobs: 2 }],
    ["JSON", { input: "hello", text: { format: { type: "json_schema", name: "x", schema: lookTool.parameters, strict: true } } }],
  ])("the same seed gives the same events at the same times: %s", async (_name, more) => {
    const body = { model: "m", seed: 42, ...more };
    const client = await connectSocket(server);
    const http = await overHttp(server, body);
    expectSame(await overSocket(client, body), http);
    const lane = await overSocket(client, body, "a.b");
    // A lane adds its name, and nothing else.
    const named = structuredClone<(Stamped & { stream_id?: string })[]>(lane);
    expect(named.every(({ stream_id }) => stream_id === "a.b")).toBe(true);
    for (const event of named) delete event.stream_id;
    expectSame(named, http);
    client.socket.terminate();
  });

  test("requests of both are numbered together: a server's seed decides each", async () => {
    const [one, two] = await Promise.all([
      startSockets(target, { protocol: "h1,ws", seed: 5 }),
      startSockets(target, { protocol: "h1,ws", seed: 5 }),
    ]);
    const textsOf = (events: readonly Stamped[]): string => events.map((event) => (event as { delta?: string }).delta ?? "").join("");
    const client = await connectSocket(one);
    const first = [await overSocket(client, { model: "m", input: "x" }), await overHttp(one, { model: "m", input: "x" })].map(textsOf);
    const second = [await overHttp(two, { model: "m", input: "x" }), await overHttp(two, { model: "m", input: "x" })].map(textsOf);
    expect(first).toEqual(second);
    expect(first[0]).not.toBe(first[1]);
    client.socket.terminate();
    await Promise.all([one.close(0), two.close(0)]);
  });

  test("a rate limit counts messages as requests", async () => {
    const limited = await startSockets(target, { rateLimit: "rpm=2", outputTokens: 1 });
    const client = await connectSocket(limited);
    for (let i = 0; i < 3; i++) client.create();
    expect((await client.end()).type).toBe("response.completed");
    expect((await client.end()).type).toBe("response.completed");
    expect(await client.end()).toMatchObject({ status: 429, error: { code: "rate_limit_exceeded", type: "requests" }, headers: {} });
    client.socket.terminate();
    await limited.close(0);
  });

  test("what is kept of requests, and what is counted", async () => {
    const watched = await startSockets(target, { keepRequests: 10, outputTokens: 3 });
    const client = await connectSocket(watched);
    client.create({ stream_id: "x" });
    await client.end("x");
    const [request] = watched.requests.all();
    expect(request).toMatchObject({ method: "POST", path: "/v1/responses", protocol: "ws", status: 200, ended: "finished", tokensSent: 3 });
    expect(watched.stats()).toMatchObject({ finishedStreams: 1, generationTokens: 3, openConnections: 1, statuses: { 200: 1 } });
    client.socket.terminate();
    await watched.close(0);
  });

  test("a reader that stops holds up its own answers only, and loses nothing", async () => {
    // About 100 bytes an event: several times what the kernel and the server keep.
    const big = await startSockets(target, { outputTokens: 60_000, maxStreamBuffer: "64kb" });
    const [slow, other] = [await connectSocket(big), await connectSocket(big)];
    slow.socket.pause();
    slow.create();
    slow.create({ stream_id: "s" });
    await expect.poll(() => big.metrics(), { timeout: 5000 }).toMatch(/fakeai_stalled_streams 2/);
    other.create({ metadata: { "x-fakeai-output-tokens": "10" } });
    expect((await other.end()).type).toBe("response.completed");
    slow.socket.resume();
    for (const lane of [undefined, "s"]) {
      const last = await slow
        .next(({ type, stream_id }) => type === "response.completed" && stream_id === lane, 20_000)
        .catch(() => slow.messages.find(({ type, stream_id }) => type === "response.completed" && stream_id === lane)!);
      const numbers = slow.messages.filter(({ stream_id }) => stream_id === lane).map(({ sequence_number }) => sequence_number!);
      expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, index) => index));
      expect(last.response!.usage!.output_tokens).toBe(60_000);
    }
    slow.socket.terminate();
    other.socket.terminate();
    await big.close(0);
  });
});
