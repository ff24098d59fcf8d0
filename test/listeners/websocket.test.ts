/** WebSocket on every engine: handshakes, responses, lanes, errors, ends. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { StartedServer } from "../../src/server/server.ts";
import { connectSocket, type Message, runnableTargets, startSockets } from "../support/sockets.ts";

const textOf = (messages: readonly Message[], lane?: string): string =>
  messages.flatMap(({ type, delta, stream_id }) => (type === "response.output_text.delta" && stream_id === lane ? [delta!] : [])).join("");

describe.each(runnableTargets)("$name", (target) => {
  let server: StartedServer;
  beforeAll(async () => {
    server = await startSockets(target, { outputTokens: 6, apiKey: "secret" });
  });
  afterAll(() => server.close(0));
  const headers = { authorization: "Bearer secret" };
  const connect = (options: Parameters<typeof connectSocket>[2] = {}) => connectSocket(server, target.protocol, { headers, ...options });

  test("events in the order and form of the API, one a message", async () => {
    const client = await connect();
    client.create();
    const last = await client.end();
    expect(client.messages.map(({ type }) => type)).toEqual([
      "response.created",
      "response.in_progress",
      "response.output_item.added",
      "response.content_part.added",
      ...Array.from({ length: 6 }, () => "response.output_text.delta"),
      "response.output_text.done",
      "response.content_part.done",
      "response.output_item.done",
      "response.completed",
    ]);
    expect(client.messages.map(({ sequence_number }) => sequence_number)).toEqual(client.messages.map((_, index) => index));
    expect(client.messages.every((message) => !("stream_id" in message))).toBe(true);
    expect(client.binaries).toBe(0);
    expect(last.response!.output[0]!.content![0]!.text).toBe(textOf(client.messages));
    // The next one counts from 0 again, on the same socket.
    client.create();
    expect((await client.next()).sequence_number).toBe(0);
    await client.end();
    client.socket.close(1000, "OK");
    expect(await client.closing()).toEqual({ code: 1000, reason: "OK" });
  });

  test("a key is asked for at the handshake", async () => {
    await expect(connect({ headers: {} })).rejects.toThrow("401");
    await expect(connect({ headers: { authorization: "Bearer wrong" } })).rejects.toThrow("401");
    await expect(connect({ path: "/v1/chat/completions" })).rejects.toThrow("426");
    await expect(connect({ protocolVersion: 8 })).rejects.toThrow("426");
    await expect(connect({ origin: "https://elsewhere.example" })).rejects.toThrow("403");
  });

  test("lanes: in turn within one, side by side between them", async () => {
    const client = await connect();
    client.create({ metadata: { "x-fakeai-fault": "hang(after=2)" } });
    client.create({ stream_id: "b" });
    client.create({ stream_id: "b" });
    // The default lane never ends.
    client.create();
    const first = await client.end("b");
    const second = await client.end("b");
    const b = client.messages.filter(({ stream_id }) => stream_id === "b");
    expect(b.map(({ type }) => type).filter((type) => /created|completed/.test(type))).toEqual([
      "response.created",
      "response.completed",
      "response.created",
      "response.completed",
    ]);
    expect(b.every((message) => message.stream_id === "b")).toBe(true);
    expect(first.response!.id).not.toBe(second.response!.id);
    const others = client.messages.filter(({ stream_id }) => stream_id === undefined).map(({ type }) => type);
    expect(others.filter((type) => type === "response.created")).toHaveLength(1);
    expect(others).not.toContain("response.completed");
    client.socket.terminate();
  });

  test("conversations: by lane and connection, forked, stored or not", async () => {
    const client = await connect();
    client.create({ store: false });
    const one = (await client.end()).response!;
    client.create({ store: false, previous_response_id: one.id });
    const two = (await client.end()).response!;
    expect(two.previous_response_id).toBe(one.id);
    // The whole conversation counts: two inputs, one answer.
    expect(two.usage!.input_tokens).toBeGreaterThan(one.usage!.input_tokens + one.usage!.output_tokens);
    // Only the latest of a lane is kept.
    client.create({ store: false, previous_response_id: one.id, stream_id: "a" });
    const missing = await client.end("a");
    expect(missing).toEqual({
      type: "error",
      status: 400,
      stream_id: "a",
      error: {
        type: "invalid_request_error",
        code: "previous_response_not_found",
        message: `Previous response with id '${one.id}' not found.`,
        param: "previous_response_id",
      },
    });
    // Another lane forks it, and a fork that fails leaves it there.
    client.create({ store: false, previous_response_id: two.id, stream_id: "b", max_output_tokens: 1 });
    expect((await client.end("b")).error!.code).toBe("integer_below_min_value");
    client.create({ store: true, previous_response_id: two.id, stream_id: "b" });
    const fork = (await client.end("b")).response!;
    expect(fork.status).toBe("completed");
    // The lane itself forgets what it could not go on from.
    client.create({ store: false, previous_response_id: two.id, max_output_tokens: 1 });
    expect((await client.end()).status).toBe(400);
    client.create({ store: false, previous_response_id: two.id });
    expect((await client.end()).error!.code).toBe("previous_response_not_found");
    // What was stored is there for other connections, what was not ends with its own.
    const other = await connect();
    other.create({ previous_response_id: fork.id });
    expect((await other.end()).response!.status).toBe("completed");
    other.create({ previous_response_id: two.id });
    expect((await other.end()).error!.code).toBe("previous_response_not_found");
    client.socket.terminate();
    other.socket.terminate();
  });

  test("generate: false reads, says nothing, and can be gone on from", async () => {
    const client = await connect();
    client.create({ generate: false, store: false, input: "a long system prompt", stream: true, background: true, client_metadata: {} });
    const warm = (await client.end()).response!;
    expect(client.messages.map(({ type }) => type)).toEqual(["response.created", "response.completed"]);
    expect(warm).toMatchObject({ status: "completed", output: [], usage: { output_tokens: 0 } });
    client.create({ store: false, previous_response_id: warm.id });
    expect((await client.end()).response!.usage!.input_tokens).toBeGreaterThan(warm.usage!.input_tokens);
    client.socket.terminate();
  });

  test("errors name their lane, and the socket stays open", async () => {
    const client = await connect();
    const cases: readonly [string, string | undefined, object][] = [
      ["no JSON", undefined, { code: "invalid_json" }],
      [
        "[]",
        undefined,
        { code: "invalid_type", message: expect.stringMatching(/^Invalid type for the message: expected an object/), param: null },
      ],
      [JSON.stringify({ stream_id: "x" }), "x", { code: "missing_required_parameter", param: "type" }],
      [
        JSON.stringify({ type: "response.cancel" }),
        undefined,
        {
          code: "invalid_value",
          param: "type",
          message: expect.stringMatching(/'response\.create', 'response\.steer', and 'response\.processed'/),
        },
      ],
      [JSON.stringify({ type: "response.create", stream_id: "" }), undefined, { code: "invalid_stream_id", param: "stream_id" }],
      [JSON.stringify({ type: "response.create", stream_id: "a b" }), undefined, { code: "invalid_stream_id" }],
      [
        JSON.stringify({ type: "response.create", stream_id: "y", input: "x" }),
        "y",
        { code: "missing_required_parameter", param: "model" },
      ],
      [
        `{"type":"response.create","model":"m","input":${"[".repeat(500)}${"]".repeat(500)}}`,
        undefined,
        { code: "json_too_deep", message: expect.stringMatching(/^The JSON of the message nests/) },
      ],
    ];
    for (const [text, lane, error] of cases) {
      client.send(text);
      const message = await client.next();
      expect(message).toMatchObject({ type: "error", status: 400, error: { type: "invalid_request_error", ...error } });
      expect(message.stream_id).toBe(lane);
    }
    client.send({ type: "response.steer", previous_response_id: "resp_1", input: "other" });
    expect(await client.next()).toMatchObject({
      type: "response.steer.failed",
      error: { type: "invalid_request_error", code: "response_not_found" },
      steer: { previous_response_id: "resp_1", input: "other" },
    });
    client.send({ type: "response.processed", response_id: "resp_1" });
    client.create();
    expect((await client.next()).type).toBe("response.created");
    await client.end();
    client.socket.send(Buffer.from("{}"), { binary: true });
    expect((await client.closing()).code).toBe(1003);
  });

  test("a response is steered: it ends where it is, and its successor goes on from it with the queued input", async () => {
    const client = await connect();
    client.create({ stream_id: "s", metadata: { "x-fakeai-itl": "20", "x-fakeai-output-tokens": "400" }, instructions: "Be short." });
    const { response } = await client.next(({ type }) => type === "response.created");
    await client.next(({ type }) => type === "response.output_text.delta");
    const id = response!.id;
    client.send({ type: "response.steer", previous_response_id: id, input: "Rather in French" });
    const accepted = await client.next(({ type }) => type.startsWith("response.steer."));
    expect(accepted).toMatchObject({ type: "response.steer.accepted", steer: { previous_response_id: id }, stream_id: "s" });
    const ended = await client.end("s");
    expect([ended.type, ended.response!.id, ended.response!.incomplete_details]).toEqual([
      "response.incomplete",
      id,
      { reason: "steered" },
    ]);
    const until = client.messages.indexOf(ended) + 1;
    const own = client.messages.slice(0, until).filter((message) => message.stream_id === "s" && message !== accepted);
    expect(own.map(({ sequence_number }) => sequence_number)).toEqual(own.map((_, index) => index));
    const said = own.flatMap(({ type, delta }) => (type === "response.output_text.delta" ? [delta!] : []));
    expect(ended.response!.output[0]!.content![0]!.text).toBe(said.join(""));
    expect(ended.response!.usage!.output_tokens).toBe(said.length);
    const successor = await client.next(({ type }) => type === "response.created");
    expect(successor).toMatchObject({ stream_id: "s", response: { previous_response_id: id, instructions: "Be short." } });
    client.send({ type: "response.steer", previous_response_id: id, input: "too late" });
    expect(await client.next(({ type }) => type === "response.steer.failed")).toMatchObject({ error: { code: "response_not_active" } });
    client.socket.terminate();
  });

  test("steering that waits for the output of tools goes before it", async () => {
    const client = await connect();
    const names = ["at", "with", "for", "until", "beside", "under"];
    const properties = Object.fromEntries(names.map((name) => [name, { type: "string", minLength: 20 }]));
    const tools = [{ type: "function", name: "look", parameters: { type: "object", properties, required: names } }];
    client.create({ tools, tool_choice: "required", metadata: { "x-fakeai-itl": "40" } });
    const { response } = await client.next(({ type }) => type === "response.created");
    const id = response!.id;
    client.send({ type: "response.steer", previous_response_id: id, input: [{ role: "user", content: "and hurry" }] });
    const done = await client.end();
    const pending = await client.next(({ type }) => type === "response.steer.pending");
    const call = done.response!.output.find(({ type }) => type === "function_call")!;
    expect(pending).toMatchObject({
      reason: "waiting_for_required_input",
      required_input: [{ type: "function_call_output", call_id: call.call_id, name: "look" }],
    });
    client.create({ previous_response_id: id, input: [{ type: "function_call_output", call_id: call.call_id, output: "a door" }] });
    const { type, response: next } = await client.end();
    expect([type, next!.previous_response_id]).toEqual(["response.completed", id]);
    client.socket.terminate();
  });

  test.each([
    ["invalid_input", { previous_response_id: "resp_1", input: [] }],
    ["invalid_input", { previous_response_id: "resp_1", input: [{ role: "system", content: "x" }] }],
    ["invalid_input", { previous_response_id: "resp_1", input: "x", stream_id: "a" }],
    ["invalid_input", { input: "x" }],
    ["response_not_found", { previous_response_id: "resp_1", input: "x" }],
  ])("steering is refused: %s", async (code, message) => {
    const client = await connect();
    client.send({ type: "response.steer", ...message });
    expect(await client.next()).toMatchObject({ type: "response.steer.failed", sequence_number: 0, error: { code } });
    client.create();
    const { response } = await client.end();
    client.send({ type: "response.steer", previous_response_id: response!.id, input: "x" });
    expect(await client.next()).toMatchObject({ error: { code: "response_already_completed" } });
    client.socket.terminate();
  });

  test("32 names of lanes, 16 responses at a time", async () => {
    const client = await connect();
    const fault = { metadata: { "x-fakeai-fault": "hang(after=1)" } };
    for (let lane = 0; lane < 32; lane++) client.create({ ...fault, stream_id: `l${lane}` });
    client.create({ stream_id: "l32" });
    const limit = await client.end("l32");
    expect(limit.error).toEqual({
      type: "invalid_request_error",
      code: "websocket_stream_limit_reached",
      message:
        "This WebSocket connection has reached its maximum number of distinct stream IDs (32). Reuse an existing stream_id or open a new WebSocket connection.",
      param: "stream_id",
    });
    client.send("no JSON");
    await client.end();
    expect(new Set(client.messages.flatMap(({ type, stream_id }) => (type === "response.created" ? [stream_id] : []))).size).toBe(16);
    client.socket.terminate();
  });
});

describe.each(runnableTargets.filter(({ protocol }) => protocol === "ws"))("ends: $name", (target) => {
  test("after its hour a connection says so, and closes in order", async () => {
    const server = await startSockets(target, { wsLifetime: 300 });
    const client = await connectSocket(server);
    const message = await client.end();
    expect(message).toEqual({
      type: "error",
      error: {
        type: "invalid_request_error",
        code: "websocket_connection_limit_reached",
        message: "Responses websocket connection limit reached (0.01 minutes). Create a new websocket connection to continue.",
      },
      status: 400,
    });
    expect((await client.closing()).code).toBe(1000);
    await server.close(0);
  });

  test("a closing server lets responses finish, then closes with 1001", async () => {
    const server = await startSockets(target, { outputTokens: 5 });
    const [idle, busy, late] = [await connectSocket(server), await connectSocket(server), await connectSocket(server)];
    busy.create({ metadata: { "x-fakeai-ttft": "300" } });
    busy.create({ stream_id: "x", metadata: { "x-fakeai-ttft": "300" } });
    busy.create({ stream_id: "x" });
    late.create({ metadata: { "x-fakeai-fault": "hang" } });
    await expect.poll(() => server.stats().openStreams).toBe(3);
    const closed = server.close(1000);
    expect((await idle.closing()).code).toBe(1001);
    expect((await busy.next()).error!.code).toBe("server_shutting_down");
    expect((await busy.end()).type).toBe("response.completed");
    expect((await busy.end("x")).type).toBe("response.completed");
    expect((await busy.closing()).code).toBe(1001);
    expect((await late.closing()).code).toBe(1001);
    await closed;
    expect(server.stats()).toMatchObject({ openConnections: 0, openStreams: 0, running: 0 });
  });

  test("a client that leaves in the middle is no error, and leaves nothing", async () => {
    const server = await startSockets(target, {});
    const client = await connectSocket(server);
    client.create({ metadata: { "x-fakeai-fault": "hang(after=3)" } });
    await client.next(({ type }) => type === "response.output_text.delta");
    client.socket.terminate();
    await expect.poll(() => server.stats().abortedStreams).toBe(1);
    await expect.poll(() => server.stats().openConnections).toBe(0);
    expect(server.stats().openStreams).toBe(0);
    await server.close(0);
  });

  test("faults: refusals in band, events changed, the connection closed", async () => {
    const server = await startSockets(target, { outputTokens: 5 });
    const client = await connectSocket(server);
    const fault = (spec: string) => ({ metadata: { "x-fakeai-fault": spec } });
    client.create(fault("rate_limit(retry_after=3)"));
    expect(await client.end()).toMatchObject({ status: 429, error: { code: "rate_limit_exceeded" }, headers: { "retry-after": "3" } });
    client.create({ stream_id: "e", ...fault("error(after=2)") });
    expect(await client.end("e")).toMatchObject({ status: 500, error: { type: "server_error", code: "server_error" } });
    client.create(fault("malformed(after=2)"));
    expect((await client.next(({ type }) => type === "not JSON")).type).toBe("not JSON");
    await client.end();
    client.create(fault("comments"));
    expect((await client.end()).error!.message).toContain("a WebSocket has no comments");
    client.create(fault("no_done"));
    client.create();
    await client.next(({ type }) => type === "response.output_item.done");
    expect((await client.next()).type).toBe("response.created");
    await client.end();
    client.create(fault("close(1012,after=2)"));
    expect((await client.closing()).code).toBe(1012);
    expect(client.messages.at(-1)!.type).toBe("response.output_text.delta");
    await server.close(0);
  });

  test("messages in fragments, cut within a character or in their middle, are the same messages", async () => {
    const server = await startSockets(target);
    const client = await connectSocket(server);
    const raw: Buffer[] = [];
    (client.socket as unknown as { readonly _socket: Socket })._socket.on("data", (chunk: Buffer) => raw.push(chunk));
    const text = { "x-fakeai-text": JSON.stringify("na\u00efve \u{1f600} caf\u00e9") };
    const framesOf = (): { readonly isEnd: boolean; readonly opcode: number; readonly last: number }[] => {
      const bytes = Buffer.concat(raw.splice(0));
      const frames = [];
      for (let at = 0; at < bytes.length;) {
        const short = bytes[at + 1]!;
        const [length, head] =
          short < 126 ? [short, 2] : short === 126 ? [bytes.readUInt16BE(at + 2), 4] : [bytes.readUInt32BE(at + 6), 10];
        frames.push({ isEnd: bytes[at]! >= 128, opcode: bytes[at]! & 15, last: bytes[at + head + length - 1]! });
        at += head + length;
      }
      return frames;
    };
    for (const [spec, lane] of [
      ["split_utf8", undefined],
      ["split_lines", "cut"],
    ] as const) {
      client.create({ ...(lane !== undefined && { stream_id: lane }), metadata: { ...text, "x-fakeai-fault": spec } });
      const end = await client.end(lane);
      expect(end.response!.output[0]!.content![0]!.text).toBe("na\u00efve \u{1f600} caf\u00e9");
      const frames = framesOf();
      const begun = frames.filter(({ isEnd, opcode }) => !isEnd && opcode === 1);
      expect(begun.length).toBeGreaterThan(spec === "split_lines" ? 5 : 1);
      expect(frames.filter(({ isEnd, opcode }) => isEnd && opcode === 0)).toHaveLength(begun.length);
      // What a fragment ends with begins a character, and does not end it.
      if (spec === "split_utf8") expect(begun.every(({ last }) => last > 0xbf)).toBe(true);
    }
    expect(client.messages.filter(({ type }) => type === "not JSON")).toEqual([]);
    client.socket.terminate();
    await server.close(0);
  });

  test("pings without end, messages that are too large, a peer that reads nothing", async () => {
    const server = await startSockets(target, { maxBody: "64kb", stallTimeout: 300, maxStreamBuffer: "64kb" });
    const pinging = await connectSocket(server);
    for (let count = 0; count < 1100; count++) pinging.socket.ping();
    // Pings that come behind the close frame can make the end a TCP RST, and take the frame with them.
    expect([1008, 1006]).toContain((await pinging.closing()).code);
    expect(await server.metrics()).toMatch(/bound="flood"\} 1\n/);
    const large = await connectSocket(server);
    large.create({ input: "x".repeat(100_000) });
    expect(await large.closing()).toEqual({ code: 1009, reason: "the message is larger than this server accepts (--max-body)" });
    const deaf = await connectSocket(server);
    deaf.socket.pause();
    deaf.create({ metadata: { "x-fakeai-output-tokens": "60000" } });
    await expect.poll(() => server.stats().abortedStreams, { timeout: 5000 }).toBe(1);
    await expect.poll(() => server.stats().openConnections).toBe(0);
    deaf.socket.terminate();
    await server.close(0);
  });

  test("messages are compressed where both sides want it", async () => {
    const server = await startSockets(target, { wsDeflate: true, outputTokens: 50 });
    const [offering, other] = [await connectSocket(server, "ws", { perMessageDeflate: true }), await connectSocket(server)];
    expect([offering.socket.extensions, other.socket.extensions]).toEqual([expect.stringContaining("permessage-deflate"), ""]);
    for (const client of [offering, other]) {
      client.create({ input: "hello ".repeat(1000) });
      expect((await client.end()).response!.usage!.output_tokens).toBe(50);
      client.socket.terminate();
    }
    await server.close(0);
    const without = await startSockets(target);
    const refused = await connectSocket(without, "ws", { perMessageDeflate: true });
    expect(refused.socket.extensions).toBe("");
    refused.socket.terminate();
    await without.close(0);
  });

  test("what cannot be inflated, and a length of more than 63 bits, are counted", async () => {
    const garbage = Buffer.from([0xc1, 0x88, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
    const endless = Buffer.from([0x81, 0xff, 0xff, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0]);
    const server = await startSockets(target, { protocol: "h1,ws", wsDeflate: true });
    for (const frame of [garbage, endless]) {
      const { port } = new URL(server.urls.h1!);
      const socket = connect(Number(port), "127.0.0.1").on("error", () => {});
      const lines = ["Host: x", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"];
      const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate";
      socket.write(`GET /v1/responses HTTP/1.1\r\n${lines.join("\r\n")}\r\n${key}\r\n\r\n`);
      await once(socket, "data");
      socket.write(frame);
      await new Promise<void>((resolve) => void socket.resume().on("close", () => resolve()));
    }
    const metrics = await (await fetch(`${server.urls.h1!}/metrics`)).text();
    const met = ["malformed", "body-too-large"].map((bound) =>
      metrics
        .split("\n")
        .filter((line) => line.startsWith("fakeai_bounds_met_total") && line.includes(`"${bound}"`))
        .reduce((sum, line) => sum + Number(line.split(" ")[1]), 0),
    );
    // uWebSockets.js tells neither from a message that is too large.
    expect(met).toEqual(target.engine === "node" ? [1, 1] : [0, 2]);
    await server.close(0);
  });

  test("an Upgrade to anything else is no handshake: HTTP goes on, bodies included", async () => {
    const server = await startSockets(target, { protocol: "h1,ws" });
    const body = JSON.stringify({ model: "m", input: "hi" });
    const { port } = new URL(server.urls.h1!);
    const socket = connect(Number(port), "127.0.0.1");
    const lines = ["Host: x", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA"].join(
      "\r\n",
    );
    let got = "";
    socket.on("data", (chunk: Buffer) => (got += chunk.toString()));
    socket.write(`GET /health HTTP/1.1\r\n${lines}\r\n\r\n`);
    await expect.poll(() => got).toMatch(/^HTTP\/1\.1 200 /);
    got = "";
    socket.write(`POST /v1/responses HTTP/1.1\r\n${lines}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
    await expect.poll(() => got).toMatch(/^HTTP\/1\.1 200 [\s\S]*"object":\s*"response"/);
    socket.destroy();
    await server.close(0);
  });
});
