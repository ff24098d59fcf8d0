/** What is the same over Realtime and over HTTP: texts, calls and schedules of a seed; and any event of a client gets its answer. */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StartedServer } from "../../src/server/server.ts";
import { jsonEvents } from "../support/provider.ts";
import { connectRealtime, judgeEvent, respond, say } from "../support/realtime.ts";
import { lookTool, type Message, runnableTargets, type SocketClient, startDrawn, startSockets } from "../support/sockets.ts";
import { SchemaArbitraries } from "../support/schema-arbitrary.ts";
import { definitionsOf, events, published } from "../support/sdk-types.ts";

interface Delta {
  readonly type: string;
  readonly delta: string;
  readonly fakeai: { readonly due: number };
}

/** What each delta holds, and when it was due after the first, microseconds. */
function deltasIn(messages: readonly object[]): { readonly said: readonly string[]; readonly dueUs: readonly number[] } {
  const deltas = (messages as readonly Delta[]).filter(({ type }) => type.endsWith(".delta"));
  return { said: deltas.map(({ delta }) => delta), dueUs: deltas.map(({ fakeai }) => fakeai.due - deltas[0]!.fakeai.due) };
}

describe.each(runnableTargets.filter(({ protocol }) => protocol === "ws"))("$name", (target) => {
  let server: StartedServer;
  beforeAll(async () => {
    server = await startDrawn(target);
  });
  afterAll(() => server.close(0));

  test.each([
    ["text", {}],
    ["a call", { tools: [lookTool], tool_choice: "required" }],
    ["reasoning", { reasoning: { effort: "low" } }],
    ["a limit", { max_output_tokens: 20 }],
  ])("the same seed gives the same tokens at the same times as /v1/responses: %s", async (_name, params) => {
    const answer = await fetch(`${server.urls.h1!}/v1/responses`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-fakeai-seed": "42" },
      body: JSON.stringify({ model: "m", input: "hello", stream: true, ...params }),
    });
    const http = deltasIn(jsonEvents(await answer.text()));
    const client = await connectRealtime(server);
    for (const round of [1, 2]) {
      const from = client.messages.length;
      respond(
        client,
        { "x-fakeai-seed": "42" },
        { ...params, input: [{ type: "message", role: "user", content: [{ type: "input_text", text: "hello" }] }] },
      );
      await client.next(({ type }) => type === "response.done");
      const realtime = deltasIn(client.messages.slice(from));
      expect([round, realtime.said]).toEqual([round, http.said]);
      // Stamps are whole microseconds, and a request begins at a fraction of one.
      for (const [index, dueUs] of realtime.dueUs.entries()) expect(Math.abs(dueUs - http.dueUs[index]!)).toBeLessThanOrEqual(1);
    }
    // A seed decides ids too: in one session they differ all the same.
    const ids = client.messages.flatMap(({ type, response }) => (type === "response.created" ? [response!.id] : []));
    expect(new Set(ids).size).toBe(2);
    expect(new Set(client.messages.map(({ event_id }) => event_id)).size).toBe(client.messages.length);
    client.messages.forEach(judgeEvent);
    client.socket.terminate();
  });

  test("requests of all endpoints are numbered together: a server's seed decides each", async () => {
    const [one, two] = await Promise.all([
      startSockets(target, { protocol: "h1,ws", seed: 5, stamps: true }),
      startSockets(target, { protocol: "h1,ws", seed: 5, stamps: true }),
    ]);
    const client = await connectRealtime(one);
    say(client, "x");
    respond(client);
    await client.next(({ type }) => type === "response.done");
    const body = JSON.stringify({ model: "m", messages: [{ role: "user", content: "x" }], stream: true });
    const answer = await fetch(`${two.urls.h1!}/v1/chat/completions`, { method: "POST", body });
    const chunks = jsonEvents(await answer.text()) as { choices: { delta: { content?: string } }[] }[];
    expect(deltasIn(client.messages).said.join("")).toBe(chunks.map(({ choices }) => choices[0]?.delta.content ?? "").join(""));
    client.socket.terminate();
    await Promise.all([one.close(0), two.close(0)]);
  });

  test("with continuous batching a turn pays for its new tokens alone: what was said before is cached", async () => {
    const batched = await startSockets(target, { scheduler: "batched", outputTokens: 40 });
    const client = await connectRealtime(batched);
    const cached: number[] = [];
    for (let turn = 0; turn < 3; turn++) {
      say(client, "tell me more of it, please: ".repeat(20));
      respond(client);
      const { response } = await client.next(({ type }) => type === "response.done");
      cached.push((response!.usage as unknown as { input_token_details: { cached_tokens: number } }).input_token_details.cached_tokens);
    }
    expect(cached[0]).toBe(0);
    expect(cached[1]).toBeGreaterThan(100);
    expect(cached[2]).toBeGreaterThan(cached[1]! + 100);
    client.socket.terminate();
    await batched.close(0);
  });

  test("a reader that stops holds up its own response, and loses nothing", async () => {
    const big = await startSockets(target, { outputTokens: 60_000, maxStreamBuffer: "64kb" });
    const [slow, other] = [await connectRealtime(big), await connectRealtime(big)];
    slow.socket.pause();
    respond(slow);
    await expect.poll(() => big.metrics(), { timeout: 5000 }).toMatch(/fakeai_stalled_streams 1/);
    respond(other, { "x-fakeai-output-tokens": "10" });
    expect((await other.next(({ type }) => type === "response.done")).response!.usage!.output_tokens).toBe(10);
    slow.socket.resume();
    const done = await slow.next(({ type }) => type === "response.done", 20_000);
    expect(done.response!.usage!.output_tokens).toBe(60_000);
    expect(slow.messages.filter(({ type }) => type.endsWith(".delta"))).toHaveLength(60_000);
    slow.socket.terminate();
    other.socket.terminate();
    await big.close(0);
  });
});

describe("events of a client, made of OpenAI's types", () => {
  const known: Readonly<Record<string, readonly string[]>> = {
    "session.update": ["session.updated"],
    "conversation.item.create": ["conversation.item.added"],
    "conversation.item.delete": ["conversation.item.deleted"],
    "conversation.item.retrieve": ["conversation.item.retrieved"],
    "response.create": ["response.created"],
    "response.cancel": ["response.done"],
  };
  let server: StartedServer;
  let client: SocketClient;
  let arbitrary: fc.Arbitrary<unknown>;
  beforeAll(async () => {
    const definitions = definitionsOf("openai", { ...published.openai, ...events }, "realtime-events");
    arbitrary = new SchemaArbitraries(definitions, () => undefined).of(definitions["Asked"]!.properties!["/v1/realtime"]!);
    server = await startSockets(runnableTargets[0]!, { outputTokens: 3 });
    client = await connectRealtime(server);
    await client.next();
  }, 120_000);
  afterAll(() => server.close(0));

  /** Sends an event, and what ends its answer: a request for an item that was never added. Returns what came before that. */
  async function answersTo(event: unknown): Promise<Message[]> {
    const from = client.messages.length;
    client.send(typeof event === "string" ? event : JSON.stringify(event));
    client.send({ type: "conversation.item.retrieve", item_id: "nobody's", event_id: "fence" });
    await client.next(({ error }) => (error as { event_id?: unknown } | undefined)?.event_id === "fence");
    const answers = client.messages.slice(from).filter(({ error }) => (error as { event_id?: unknown } | undefined)?.event_id !== "fence");
    // The next event finds no response under way.
    const has = (wanted: string): boolean => answers.some(({ type }) => type === wanted);
    if (has("response.created") && !has("rate_limits.updated")) await client.next(({ type }) => type === "rate_limits.updated");
    return answers;
  }

  test("each is answered, or gets an error of the client's, and the session goes on", async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(arbitrary, async (event) => {
        const answers = await answersTo(event);
        answers.forEach(judgeEvent);
        const { type } = event as { type: string };
        const wanted = known[type] ?? [];
        const good = answers.filter((answer) => wanted.includes(answer.type));
        const errors = answers.flatMap(({ error }) => (error === undefined ? [] : [error]));
        for (const error of errors) {
          expect(error.type).toBe("invalid_request_error");
          // What was taken as an item is input that the plan takes.
          expect(error.param ?? "").not.toMatch(/^input/);
        }
        expect([event, good.length + errors.length]).toEqual([event, 1]);
        seen.add(good.length > 0 ? type : `error of ${type}`);
      }),
      { numRuns: 400, seed: 7 },
    );
    for (const type of ["session.update", "conversation.item.create", "response.create"]) expect(seen).toContain(type);
  }, 60_000);

  test("any JSON is no crash", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(
          fc.json(),
          fc.record({
            type: fc.constantFrom(...Object.keys(known)),
            session: fc.jsonValue(),
            item: fc.jsonValue(),
            response: fc.jsonValue(),
            item_id: fc.jsonValue(),
          }),
        ),
        async (event) => {
          const answers = await answersTo(event);
          answers.forEach(judgeEvent);
          for (const { error } of answers) if (error !== undefined) expect(error.type).toBe("invalid_request_error");
        },
      ),
      { numRuns: 300, seed: 7 },
    );
    expect(client.closed).toBeNull();
  }, 60_000);

  test("the judge rejects what is wrong", () => {
    const good = client.messages.find(({ type }) => type === "response.output_text.delta")!;
    judgeEvent(good);
    expect(() => judgeEvent({ ...good, delta: 5 as unknown as string })).toThrow(/^event: /);
    expect(() => judgeEvent({ ...good, other: 5 })).toThrow(/^event: /);
    const { response_id: _, ...less } = good;
    expect(() => judgeEvent(less as Message)).toThrow(/^event: /);
  });
});
