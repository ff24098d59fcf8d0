/** Realtime's text events on every engine: sessions, conversations, responses, calls, errors in band, ends. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type IncomingMessage, request as requestPlain } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { request as requestTls } from "node:https";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import type { StartedServer } from "../../src/server/server.ts";
import { connectRealtime, deltasOf, judgeEvent, respond, say } from "../support/realtime.ts";
import { type Message, runnableTargets, type SocketClient, startSockets } from "../support/sockets.ts";

const tool = {
  type: "function",
  name: "look",
  parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};

const typesOf = (messages: readonly Message[]): string[] => messages.map(({ type }) => type);

/** Reads up to the end of a response, and what is said of limits behind it. */
async function ended(client: SocketClient): Promise<Message> {
  const done = await client.next(({ type }) => type === "response.done");
  await client.next(({ type }) => type === "rate_limits.updated");
  return done;
}

/** Asks for the path of sessions without a handshake, at the port of a protocol. */
async function overHttp(server: StartedServer, protocol: "h1" | "h1s" | "ws", method: string): Promise<{ status: number; body: string }> {
  const url = `${server.urls[protocol]!.replace("ws:", "http:")}/v1/realtime?model=m`;
  const options = { method, ...(server.ca !== null && { ca: server.ca }) };
  const request = url.startsWith("https") ? requestTls(url, options) : requestPlain(url, options);
  request.end(method === "POST" ? "{}" : undefined);
  const [answer] = (await once(request, "response")) as [IncomingMessage];
  return { status: answer.statusCode!, body: await text(answer) };
}

beforeAll(() => {
  // The types take seconds, once.
  judgeEvent({ type: "error", event_id: "event_1", error: { type: "x", message: "x" } as Message["error"] & object });
}, 120_000);

describe.each(runnableTargets)("$name", (target) => {
  let server: StartedServer;
  beforeAll(async () => {
    server = await startSockets(target, { outputTokens: 6, apiKey: "secret" });
  });
  afterAll(() => server.close(0));
  const connect = () => connectRealtime(server, target.protocol, { authorization: "Bearer secret" });

  test("a session of text: its events, in the order and form of the API", async () => {
    const client = await connect();
    client.send({ type: "session.update", session: { type: "realtime", output_modalities: ["text"], instructions: "Be short." } });
    say(client, "Hi");
    respond(client, { a: "b" });
    const done = await ended(client);
    expect(typesOf(client.messages)).toEqual([
      "session.created",
      "session.updated",
      "conversation.item.added",
      "conversation.item.done",
      "response.created",
      "response.output_item.added",
      "conversation.item.added",
      "response.content_part.added",
      ...Array.from({ length: 6 }, () => "response.output_text.delta"),
      "response.output_text.done",
      "response.content_part.done",
      "conversation.item.done",
      "response.output_item.done",
      "response.done",
      "rate_limits.updated",
    ]);
    client.messages.forEach(judgeEvent);
    expect(new Set(client.messages.map(({ event_id }) => event_id)).size).toBe(client.messages.length);
    expect(client.messages[1]).toMatchObject({ session: { model: "m", output_modalities: ["text"], instructions: "Be short." } });
    const [, , user, , created, , assistant] = client.messages;
    expect(assistant!["previous_item_id"]).toBe((user!["item"] as { id: string }).id);
    expect(done.response).toMatchObject({
      id: created!.response!.id,
      status: "completed",
      metadata: { a: "b" },
      output: [{ type: "message", status: "completed", content: [{ type: "output_text", text: deltasOf(client.messages) }] }],
      usage: { output_tokens: 6, output_token_details: { text_tokens: 6, audio_tokens: 0 } },
    });
    expect(client.messages.at(-1)!["rate_limits"]).toMatchObject([
      { name: "requests" },
      { name: "tokens", reset_seconds: expect.any(Number) },
    ]);
    // The next turn reads what was said.
    say(client, "And then?");
    respond(client);
    const next = await ended(client);
    expect(next.response!.usage!.input_tokens).toBeGreaterThan(done.response!.usage!.input_tokens + 6);
    client.socket.close(1000, "OK");
    expect((await client.closing()).code).toBe(1000);
  });

  test("a key is asked for at the handshake; a page has it in a subprotocol, and hears `realtime` alone", async () => {
    await expect(connectRealtime(server, target.protocol)).rejects.toThrow("401");
    const ca = server.caPath === null ? {} : { ca: readFileSync(server.caPath, "utf8") };
    const url = `${server.urls[target.protocol]!}/v1/realtime?model=m`;
    const page = async (protocols: string[]): Promise<string | Error> =>
      new Promise((resolve) => {
        const socket = new WebSocket(url, protocols, ca);
        socket.on("open", () => {
          resolve(socket.protocol);
          socket.terminate();
        });
        socket.on("error", resolve);
      });
    expect(await page(["realtime", "openai-insecure-api-key.secret"])).toBe("realtime");
    expect(String(await page(["realtime", "openai-insecure-api-key.wrong"]))).toContain("401");
    // The client itself gives up where none of its subprotocols is chosen.
    expect(String(await page(["openai-insecure-api-key.secret"]))).toContain("no subprotocol");
  });

  test("a call, and the answer to its result", async () => {
    const client = await connect();
    client.send({ type: "session.update", session: { type: "realtime", tools: [tool], tool_choice: "required" } });
    say(client, "Look");
    respond(client);
    const called = await ended(client);
    const call = called.response!.output[0]!;
    const types = typesOf(client.messages);
    expect(types.slice(types.indexOf("response.created") + 1).filter((type) => !type.endsWith(".delta"))).toEqual([
      "response.output_item.added",
      "conversation.item.added",
      "response.function_call_arguments.done",
      "conversation.item.done",
      "response.output_item.done",
      "response.done",
      "rate_limits.updated",
    ]);
    const parts = client.messages.flatMap(({ type, delta }) => (type === "response.function_call_arguments.delta" ? [delta!] : []));
    expect(call).toMatchObject({ type: "function_call", name: "look", status: "completed", arguments: parts.join("") });
    expect(Object.keys(JSON.parse(parts.join("")) as object)).toEqual(["city"]);
    client.send({ type: "conversation.item.create", item: { type: "function_call_output", call_id: call.call_id, output: "fog" } });
    respond(client, {}, { tool_choice: "auto" });
    expect((await ended(client)).response!.output[0]!.type).toBe("message");
    client.messages.forEach(judgeEvent);
    client.socket.terminate();
  });

  test("an image counts as the tokens of one", async () => {
    const client = await connect();
    const image_url =
      "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    const content = [
      { type: "input_text", text: "What is this?" },
      { type: "input_image", image_url },
    ];
    client.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
    respond(client);
    const { usage } = (await ended(client)).response!;
    const { input_tokens, input_token_details: details } = usage as unknown as {
      input_tokens: number;
      input_token_details: { text_tokens: number; image_tokens: number };
    };
    expect(details.image_tokens).toBeGreaterThan(10);
    expect(details.text_tokens).toBeGreaterThan(1);
    expect(details.text_tokens + details.image_tokens).toBe(input_tokens);
    client.messages.forEach(judgeEvent);
    client.socket.terminate();
  });

  test("one response at a time goes into the conversation; others are made beside it", async () => {
    const client = await connect();
    say(client, "Hi");
    respond(client, { "x-fakeai-itl": "20", "x-fakeai-output-tokens": "400" });
    const { response } = await client.next(({ type }) => type === "response.created");
    client.send({ type: "response.create", event_id: "mine" });
    expect((await client.next(({ type }) => type === "error")).error).toEqual({
      type: "invalid_request_error",
      code: "conversation_already_has_active_response",
      message: `Conversation already has an active response in progress: ${response!.id}. Wait until the response is finished before creating a new one.`,
      param: null,
      event_id: "mine",
    });
    const item = { type: "message", role: "user", content: [{ type: "input_text", text: "Classify" }] };
    respond(client, { topic: "beside" }, { conversation: "none", input: [item] });
    const beside = await client.next(({ type }) => type === "response.done");
    expect(beside.response).toMatchObject({ status: "completed", conversation_id: null, metadata: { topic: "beside" } });
    client.send({ type: "response.cancel" });
    const cancelled = await client.next(({ type }) => type === "response.done");
    expect(cancelled.response).toMatchObject({ id: response!.id, status: "cancelled", status_details: { type: "cancelled" } });
    const own = client.messages.filter((message) => message["response_id"] === response!.id);
    expect(cancelled.response!.output[0]!.content![0]!.text).toBe(deltasOf(own));
    expect(cancelled.response!.usage!.output_tokens).toBe(own.filter(({ type }) => type.endsWith(".delta")).length);
    client.send({ type: "response.cancel" });
    expect((await client.next(({ type }) => type === "error")).error).toMatchObject({
      code: "response_cancel_not_active",
      message: "Cancellation failed: no active response found",
    });
    // What is beside the conversation left nothing in it, what was cancelled what it had said.
    const added = client.messages.filter(({ type }) => type === "conversation.item.added");
    expect(added).toHaveLength(2);
    respond(client);
    expect((await ended(client)).response!.status).toBe("completed");
    client.messages.forEach(judgeEvent);
    client.socket.terminate();
  });

  test("a response is cancelled before its first token, or by its id", async () => {
    const client = await connect();
    respond(client, { "x-fakeai-ttft": "5000" });
    await client.next(({ type }) => type === "response.created");
    client.send({ type: "response.cancel" });
    const done = await ended(client);
    expect(done.response).toMatchObject({ status: "cancelled", output: [], usage: { output_tokens: 0 } });
    respond(client, { "x-fakeai-ttft": "5000" }, { conversation: "none" });
    const { response } = await client.next(({ type }) => type === "response.created");
    client.send({ type: "response.cancel" });
    expect((await client.next(({ type }) => type === "error")).error!.code).toBe("response_cancel_not_active");
    client.send({ type: "response.cancel", response_id: response!.id });
    expect((await ended(client)).response).toMatchObject({ id: response!.id, status: "cancelled" });
    client.messages.forEach(judgeEvent);
    client.socket.terminate();
  });

  test("items: where they go, shown again, deleted", async () => {
    const client = await connect();
    const add = async (id: string, more: object = {}): Promise<unknown> => {
      const item = { id, type: "message", role: "user", content: [{ type: "input_text", text: id }] };
      client.send({ type: "conversation.item.create", item, ...more });
      return (await client.next(({ type }) => type === "conversation.item.done" || type === "error"))["previous_item_id"];
    };
    expect(await add("a")).toBeNull();
    expect(await add("c")).toBe("a");
    expect(await add("b", { previous_item_id: "a" })).toBe("a");
    expect(await add("first", { previous_item_id: "root" })).toBeNull();
    client.send({ type: "conversation.item.retrieve", item_id: "b" });
    expect(await client.next(({ type }) => type.endsWith("retrieved"))).toMatchObject({
      item: { id: "b", type: "message", role: "user", status: "completed", content: [{ type: "input_text", text: "b" }] },
    });
    client.send({ type: "conversation.item.delete", item_id: "b" });
    expect(await client.next()).toMatchObject({ type: "conversation.item.deleted", item_id: "b" });
    client.send({ type: "conversation.item.delete", item_id: "b" });
    expect((await client.next()).error).toMatchObject({ code: "item_delete_invalid_item_id", event_id: null });
    client.send({ type: "conversation.item.retrieve", item_id: "b", event_id: "e" });
    expect((await client.next()).error).toMatchObject({ code: "item_retrieve_invalid_item_id", event_id: "e" });
    await add("a");
    expect(client.messages.at(-1)!.error!.code).toBe("item_create_duplicate_item_id");
    await add("d", { previous_item_id: "nobody" });
    expect(client.messages.at(-1)!.error!.code).toBe("item_create_invalid_previous_item_id");
    // The input of a response may name items.
    respond(client, {}, { conversation: "none", input: [{ type: "item_reference", id: "a" }] });
    expect((await ended(client)).response!.status).toBe("completed");
    respond(client, {}, { input: [{ type: "item_reference", id: "b" }] });
    expect((await client.next()).error).toMatchObject({ code: "item_not_found", param: "response.input[0].id" });
    client.messages.forEach(judgeEvent);
    client.socket.terminate();
  });

  test("bad events get an error that names them, and the session goes on", async () => {
    const client = await connect();
    await client.next();
    const message = (content: unknown, role = "user"): object => ({ type: "message", role, content });
    const create = (item: unknown): object => ({ type: "conversation.item.create", item });
    const update = (session: object): object => ({ type: "session.update", session: { type: "realtime", ...session } });
    const audio = "audio_not_supported";
    const cases: readonly [object | string, object][] = [
      ["no JSON", { code: "invalid_json" }],
      ["[]", { code: "invalid_type", message: "Invalid type for the message: expected an object, but got an array instead.", param: null }],
      ["null", { code: "invalid_type", message: "Invalid type for the message: expected an object, but got null instead.", param: null }],
      [{}, { code: "invalid_event", message: "The 'type' field is missing." }],
      [
        { type: "nope" },
        { code: "invalid_value", param: "type", message: expect.stringContaining("Supported values are: 'conversation.item") },
      ],
      [{ type: 5 }, { code: "invalid_type", param: "type" }],
      [{ type: "session.update" }, { code: "missing_required_parameter", param: "session" }],
      [
        { type: "session.update", session: { instructions: "x" } },
        { code: "missing_required_parameter", param: "session.type" },
      ],
      [
        { type: "session.update", session: { type: "transcription" } },
        { code: "invalid_value", param: "session.type" },
      ],
      [update({ instructions: 5 }), { code: "invalid_type", param: "session.instructions" }],
      [update({ model: "other" }), { code: "invalid_value", param: "session.model" }],
      [update({ max_output_tokens: 5000 }), { code: "integer_above_max_value", param: "session.max_output_tokens" }],
      [update({ output_modalities: ["audio"] }), { code: audio, param: "session.output_modalities" }],
      [
        { type: "response.create", response: { output_modalities: ["audio"] } },
        { code: audio, param: "response.output_modalities" },
      ],
      [
        { type: "response.create", response: { conversation: "other" } },
        { code: "invalid_value", param: "response.conversation" },
      ],
      [{ type: "response.create", response: { tools: [{ type: "function", name: "a b" }] } }, { code: "invalid_value" }],
      [{ type: "response.create", response: { metadata: { "x-fakeai-nothing": "1" } } }, { param: "x-fakeai-nothing" }],
      [{ type: "input_audio_buffer.append", audio: "AAAA" }, { code: audio }],
      [{ type: "input_audio_buffer.commit" }, { code: audio }],
      [{ type: "input_audio_buffer.clear" }, { code: audio }],
      [{ type: "output_audio_buffer.clear" }, { code: audio }],
      [{ type: "conversation.item.truncate", item_id: "x", content_index: 0, audio_end_ms: 0 }, { code: audio }],
      [create(message([{ type: "input_audio", audio: "AAAA" }])), { code: audio, param: "item.content[0].type" }],
      [create(message([{ type: "input_text" }])), { code: "missing_required_parameter", param: "item.content[0].text" }],
      [create(message("text")), { code: "invalid_type", param: "item.content" }],
      [create({ type: "message", role: "user" }), { code: "missing_required_parameter", param: "item.content" }],
      [create({ type: "function_call", name: "x" }), { code: "missing_required_parameter", param: "item.arguments" }],
      [create({ type: "other" }), { code: "invalid_value", param: "item.type" }],
      [{ type: "conversation.item.create" }, { code: "missing_required_parameter", param: "item" }],
      [{ type: "conversation.item.delete" }, { code: "missing_required_parameter", param: "item_id" }],
      [{ type: "response.cancel", response_id: "resp_1" }, { code: "response_cancel_not_active" }],
      [
        `{"type":"session.update","session":${"[".repeat(500)}${"]".repeat(500)}}`,
        { code: "json_too_deep", message: expect.stringMatching(/^The JSON of the message nests deeper than/) },
      ],
      [
        create({ type: "function_call_output", call_id: "c".repeat(200), output: "fog" }),
        { code: "invalid_tool_call_id", message: `Tool call ID '${"c".repeat(100)}' not found in conversation.`, param: null },
      ],
    ];
    for (const [event, error] of cases) {
      client.send(typeof event === "string" ? event : { event_id: "mine", ...event });
      const answer = await client.next();
      const isRead = typeof event === "object";
      expect([event, answer]).toEqual([
        event,
        { type: "error", event_id: answer["event_id"], error: expect.objectContaining(error) as unknown },
      ]);
      expect(answer.error).toMatchObject({ type: "invalid_request_error", event_id: isRead ? "mine" : null });
    }
    client.socket.send(Buffer.from("{}"), { binary: true });
    expect((await client.next()).error).toMatchObject({ code: "invalid_event" });
    respond(client);
    expect((await ended(client)).response!.status).toBe("completed");
    client.messages.forEach(judgeEvent);
    client.socket.terminate();
  });

  test("errors come in the order of the messages that they are about", async () => {
    const client = await connect();
    await client.next();
    const large = "x".repeat(300_000);
    const wanted: string[] = [];
    for (let round = 0; round < 4; round++) {
      for (const padding of [large, large, ""]) {
        client.send({ type: "conversation.item.retrieve", item_id: "nobody's", padding });
        wanted.push("item_retrieve_invalid_item_id");
      }
      client.socket.send(Buffer.from("{}"), { binary: true });
      wanted.push("invalid_event");
      client.send({ type: "conversation.item.retrieve", item_id: "nobody's", padding: large });
      wanted.push("item_retrieve_invalid_item_id");
      client.send(`{"type":"session.update","session":${"[".repeat(500)}${"]".repeat(500)}}`);
      wanted.push("json_too_deep");
    }
    const codes: unknown[] = [];
    for (const _ of wanted) codes.push((await client.next()).error?.code);
    expect(codes).toEqual(wanted);
    client.socket.terminate();
  });

  test("the result of a call is one of a call in the conversation", async () => {
    const client = await connect();
    await client.next();
    const create = (item: object): void => client.send({ type: "conversation.item.create", item });
    const output = { type: "function_call_output", call_id: "call_1", output: "fog" };
    create({ id: "the_call", type: "function_call", call_id: "call_1", name: "look", arguments: "{}" });
    create(output);
    client.send({ type: "conversation.item.delete", item_id: "the_call" });
    create(output);
    const error = await client.next(({ type }) => type === "error");
    expect(error.error).toMatchObject({ code: "invalid_tool_call_id", message: "Tool call ID 'call_1' not found in conversation." });
    expect(client.messages.filter(({ type }) => type === "conversation.item.added")).toHaveLength(2);
    client.socket.terminate();
  });

  test("handshakes that name no session here: an error, and 4000", async () => {
    for (const [query, code, headers] of [
      ["", "missing_model", {}],
      ["?intent=transcription", "unsupported_value", {}],
      ["?model=m", "beta_api_shape_disabled", { "openai-beta": "realtime=v1" }],
    ] as const) {
      const client = await connectRealtime(server, target.protocol, { authorization: "Bearer secret", ...headers }, query);
      expect((await client.next()).error!.code).toBe(code);
      expect(await client.closing()).toEqual({ code: 4000, reason: `invalid_request_error.${code}` });
      client.messages.forEach(judgeEvent);
    }
    await expect.poll(() => server.stats().openConnections).toBe(0);
  });
});

describe.each(runnableTargets.filter(({ protocol }) => protocol === "ws"))("ends: $name", (target) => {
  test("after its hour a session says so, and closes in order", async () => {
    const server = await startSockets(target, { wsLifetime: 300 });
    const client = await connectRealtime(server);
    const { error } = await client.next(({ type }) => type === "error");
    expect(error).toMatchObject({ code: "session_expired", message: "Your session hit the maximum duration of 0.01 minutes." });
    expect((await client.closing()).code).toBe(1000);
    await server.close(0);
  });

  test("a closing server lets responses finish, then closes with 1001", async () => {
    const server = await startSockets(target, { outputTokens: 5 });
    const [idle, busy] = [await connectRealtime(server), await connectRealtime(server)];
    respond(busy, { "x-fakeai-ttft": "300" });
    await expect.poll(() => server.stats().openStreams).toBe(1);
    const closed = server.close(1000);
    expect((await idle.closing()).code).toBe(1001);
    respond(busy);
    expect((await busy.next(({ type }) => type === "error")).error!.code).toBe("server_shutting_down");
    expect((await busy.next(({ type }) => type === "response.done")).response!.status).toBe("completed");
    expect((await busy.closing()).code).toBe(1001);
    await closed;
    expect(server.stats()).toMatchObject({ openConnections: 0, openStreams: 0, running: 0 });
  });

  test("a client that leaves in the middle leaves nothing", async () => {
    const server = await startSockets(target, {});
    const client = await connectRealtime(server);
    say(client, "Hi");
    respond(client, { "x-fakeai-fault": "hang(after=3)" });
    respond(client, { "x-fakeai-fault": "hang(after=3)" }, { conversation: "none" });
    await client.next(({ type }) => type === "response.output_text.delta");
    client.socket.terminate();
    await expect.poll(() => server.stats().abortedStreams).toBe(2);
    await expect.poll(() => server.stats().openConnections).toBe(0);
    expect(server.stats()).toMatchObject({ openStreams: 0, running: 0 });
    await server.close(0);
  });

  test("faults: refusals in band, a response that fails, the connection closed", async () => {
    const server = await startSockets(target, { outputTokens: 5 });
    const client = await connectRealtime(server);
    const fault = (spec: string): object => ({ "x-fakeai-fault": spec });
    client.send({ type: "response.create", event_id: "e1", response: { metadata: fault("rate_limit(retry_after=3)") } });
    const refused = await client.next(({ type }) => type === "error");
    expect(refused.error).toMatchObject({ code: "rate_limit_exceeded", event_id: "e1" });
    respond(client, fault("error(after=2)"));
    expect((await client.next(({ type }) => type === "error")).error).toMatchObject({ type: "server_error", code: "server_error" });
    const failed = await ended(client);
    expect(failed.response).toMatchObject({ status: "failed", status_details: { type: "failed", error: { code: "server_error" } } });
    expect(failed.response!.output[0]!.content![0]!.text).toBe(deltasOf(client.messages));
    client.messages.forEach(judgeEvent);
    respond(client, fault("split_utf8"));
    await ended(client);
    respond(client, fault("close(1012,after=2)"));
    expect((await client.closing()).code).toBe(1012);
    await server.close(0);
  });

  test("rate limits count responses, and are told behind each", async () => {
    const server = await startSockets(target, { rateLimit: "rpm=2", outputTokens: 1 });
    const client = await connectRealtime(server);
    for (const remaining of [1, 0]) {
      respond(client);
      await client.next(({ type }) => type === "response.done");
      const { rate_limits } = await client.next(({ type }) => type === "rate_limits.updated");
      expect(rate_limits).toContainEqual({ name: "requests", limit: 2, remaining, reset_seconds: expect.any(Number) as number });
    }
    client.send({ type: "response.create", event_id: "late" });
    expect((await client.next()).error).toMatchObject({ code: "rate_limit_exceeded", type: "requests", event_id: "late" });
    client.socket.terminate();
    await server.close(0);
  });

  test("bounds: responses at a time, items, and what all sessions keep", async () => {
    const server = await startSockets(target, { wsMaxInFlight: 2, maxStored: 200_000 });
    const client = await connectRealtime(server);
    for (let i = 0; i < 3; i++) respond(client, { "x-fakeai-fault": "hang(after=1)" }, { conversation: "none" });
    expect((await client.next(({ type }) => type === "error")).error!.code).toBe("too_many_responses");
    say(client, "x".repeat(60_000));
    expect((await client.next(({ type }) => type === "error")).error!.code).toBe("conversation_full");
    client.send({ type: "session.update", session: { type: "realtime", instructions: "x".repeat(300_000) } });
    expect((await client.next(({ type }) => type === "error")).error!.code).toBe("string_above_max_length");
    // The bytes are those of all sessions, and the second gets none until the first has ended.
    say(client, "x".repeat(45_000));
    await client.next(({ type }) => type === "conversation.item.done");
    const other = await connectRealtime(server);
    say(other, "x".repeat(45_000));
    expect((await other.next(({ type }) => type === "error")).error).toMatchObject({ code: "conversation_full" });
    client.socket.terminate();
    await expect.poll(() => server.stats().openConnections).toBe(1);
    say(other, "x".repeat(45_000));
    await other.next(({ type }) => type === "conversation.item.done");
    other.socket.terminate();
    await server.close(0);
  });

  test("models that are not served, and what HTTP gets", async () => {
    const server = await startSockets(target, { protocol: "h1,ws", model: ["gpt-realtime"] });
    const client = await connectRealtime(server);
    expect((await client.next()).error).toMatchObject({ code: "invalid_model" });
    expect((await client.closing()).code).toBe(4000);
    for (const method of ["GET", "POST"]) {
      const answer = await fetch(`${server.urls.h1!}/v1/realtime`, { method, ...(method === "POST" && { body: "{}" }) });
      expect([answer.status, answer.headers.get("upgrade")]).toEqual([426, "websocket"]);
    }
    await server.close(0);
  });

  test.each([
    ["h1", "h1", "Start fakeai serve --protocol h1,ws, and connect to ws://."],
    ["h1,ws", "h1", "Connect to ws:// instead of http://."],
    ["ws", "ws", "Connect to ws:// instead of http://."],
    ["h1s,wss", "h1s", "Connect to wss:// instead of https://."],
    ["h1,h1s,wss", "h1", "Start fakeai serve --protocol h1,ws, and connect to ws://."],
  ] as const)("HTTP by %s is told how to ask by WebSocket", async (protocol, asked, hint) => {
    const server = await startSockets(target, { protocol });
    for (const method of ["GET", "POST"]) {
      const { status, body } = await overHttp(server, asked, method);
      expect([status, JSON.parse(body)]).toEqual([
        426,
        {
          error: {
            message: `This endpoint speaks WebSocket alone. (HINT: ${hint})`,
            type: "invalid_request_error",
            param: null,
            code: "websocket_required",
          },
        },
      ]);
    }
    await server.close(0);
  });

  test.each(["node", "own"] as const)("HTTP/2 on engine %s, which has no Upgrade, gets the same without it", async (h2Engine) => {
    const server = await startSockets(target, { protocol: "h2c,ws", h2Engine });
    const session = connectHttp2(server.urls.h2c!);
    const stream = session.request({ ":path": "/v1/realtime?model=m" });
    const [headers] = (await once(stream, "response")) as [Record<string, unknown>];
    expect([headers[":status"], headers["upgrade"]]).toEqual([426, undefined]);
    session.destroy();
    await server.close(0);
  });

  test("a page's key is in nothing that is kept of its requests", async () => {
    const server = await startSockets(target, { keepRequests: 10, apiKey: "secret" });
    const socket = new WebSocket(`${server.urls.ws!}/v1/realtime?model=m`, ["realtime", "openai-insecure-api-key.secret"]);
    await once(socket, "open");
    socket.send(JSON.stringify({ type: "response.create" }));
    await expect.poll(() => server.requests.all()[0]?.ended).toBe("finished");
    expect(server.requests.all()[0]!.headers["sec-websocket-protocol"]).toBe("[hidden]");
    expect(JSON.stringify(server.requests.all())).not.toContain("secret");
    socket.terminate();
    await server.close(0);
  });

  test("rules decide what is said, called and refused", async () => {
    const server = await startSockets(target, {
      replies: [
        {
          match: { endpoint: "responses", user: "weather", toolResult: false },
          reply: { toolCalls: [{ name: "look", arguments: { city: "Rome" } }], text: "Let me look." },
        },
        { match: { toolResult: true }, reply: { text: "Fog." } },
        { match: { user: "secret" }, reply: { refusal: "No." } },
        { match: { user: "long" }, reply: { text: "and so", finishReason: "content_filter" } },
        { match: { user: "broken" }, reply: { fault: "status(503)" } },
      ],
    });
    const client = await connectRealtime(server);
    const turn = async (text: string): Promise<Message> => {
      say(client, text);
      respond(client, {}, { tools: [tool] });
      return ended(client);
    };
    const { output } = (await turn("the weather")).response!;
    expect(output).toMatchObject([
      { type: "message", content: [{ text: "Let me look." }] },
      { type: "function_call", name: "look", arguments: '{"city":"Rome"}' },
    ]);
    client.send({ type: "conversation.item.create", item: { type: "function_call_output", call_id: output[1]!.call_id, output: "fog" } });
    respond(client, {}, { tools: [tool] });
    expect((await ended(client)).response!.output).toMatchObject([{ content: [{ text: "Fog." }] }]);
    expect((await turn("a secret")).response!.output).toMatchObject([{ content: [{ type: "output_text", text: "No." }] }]);
    expect((await turn("something long")).response).toMatchObject({
      status: "incomplete",
      status_details: { type: "incomplete", reason: "content_filter" },
      output: [{ status: "incomplete" }],
    });
    say(client, "broken");
    respond(client);
    expect((await client.next(({ type }) => type === "error")).error).toMatchObject({ type: "server_error" });
    client.messages.forEach(judgeEvent);
    client.socket.terminate();
    await server.close(0);
  });

  test("what is kept of requests, and what is counted", async () => {
    const server = await startSockets(target, { keepRequests: 10, outputTokens: 3 });
    const client = await connectRealtime(server);
    say(client, "Hi");
    respond(client);
    await ended(client);
    const [request] = server.requests.all();
    expect(request).toMatchObject({ method: "POST", path: "/v1/realtime", protocol: "ws", status: 200, ended: "finished", tokensSent: 3 });
    expect(server.stats()).toMatchObject({ finishedStreams: 1, generationTokens: 3, openConnections: 1, statuses: { 200: 1 } });
    client.socket.terminate();
    await server.close(0);
  });
});
