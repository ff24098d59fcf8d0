/** Answers by rule, as clients read them: on every surface, streamed and in one piece, on every engine. */
import { mkdtempSync, symlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createServer, type FakeAiServer, type ReplyRule } from "../../src/index.ts";
import { eventually } from "../support/wait.ts";

const weather = { name: "get_weather", arguments: { city: "Oslo" } };
const rules: ReplyRule[] = [
  { match: { user: "refuse" }, reply: { refusal: "I can't help with that." } },
  { match: { user: /weather/i, toolResult: false }, reply: { text: "Let me look.", toolCalls: [weather, { name: "now" }] } },
  { match: { toolResult: true }, reply: { text: "It is cold." } },
  { match: { user: "filtered" }, reply: { text: "Half", finishReason: "content_filter" } },
  { match: { user: "usage" }, reply: { text: "x", usage: { promptTokens: 1000, completionTokens: 77, cachedTokens: 9 } } },
  { match: { headers: { "X-Tenant": "acme" } }, reply: { text: "Hello acme." } },
  { match: { model: "/^o\\d/" }, reply: { text: "A reasoning model." } },
  { match: { schema: "person" }, reply: { text: '{"name":"Ann"}' } },
  { match: { user: "turns", turn: 2 }, reply: { text: "Second." } },
  { match: { user: "sequence" }, reply: [{ fault: "rate_limit(retry_after=1)" }, { fault: "status(503)" }, { text: "Good." }] },
  { match: { user: "cut" }, reply: [{ text: "one two three four five", fault: "truncate(after=2)" }, { text: "one two three" }] },
  { match: { endpoint: "completions" }, reply: { text: "Legacy." } },
  { match: { endpoint: "embeddings", user: "limited" }, reply: { fault: "rate_limit(retry_after=1)" } },
  { match: { endpoint: "embeddings", user: "embed late" }, reply: { ttft: 120 } },
  { match: { endpoint: "moderations", user: "bad" }, reply: { fault: "status(503)" } },
  { match: { user: "late" }, reply: { text: "a b", ttft: 120, itl: 30 } },
];

const engines = [
  ["uws", { h1Engine: "uws" as const }],
  ["node", { h1Engine: "node" as const }],
] as const;

describe.each(engines)("on %s", (_name, options) => {
  let server: FakeAiServer;
  let openai: OpenAI;
  let anthropic: Anthropic;
  beforeAll(async () => {
    server = await createServer({ ...options, replies: { unmatched: "error", replies: rules } });
    openai = new OpenAI({ baseURL: `${server.urls.h1}/v1`, apiKey: "k", maxRetries: 0 });
    anthropic = new Anthropic({ baseURL: server.urls.h1!, apiKey: "k", maxRetries: 0 });
  });
  afterAll(() => server.close());

  const say = (content: string, more: object = {}) =>
    openai.chat.completions.create({ model: "gpt-5", messages: [{ role: "user", content }], ...more });

  /** A streamed chat, put together. */
  async function streamed(content: string) {
    const stream = openai.chat.completions.stream({
      model: "gpt-5",
      messages: [{ role: "user", content }],
      stream_options: { include_usage: true },
    });
    return stream.finalChatCompletion();
  }

  test.each(["in one piece", "streamed"])("chat, %s", async (form) => {
    const ask = form === "streamed" ? streamed : say;
    const refused = (await ask("refuse")).choices[0]!;
    expect([refused.message.content, refused.message.refusal, refused.finish_reason]).toEqual([null, "I can't help with that.", "stop"]);
    const called = (await ask("the Weather?")).choices[0]!;
    expect(called.message.content).toBe("Let me look.");
    expect(called.message.tool_calls!.map((call) => call.type === "function" && [call.function.name, call.function.arguments])).toEqual([
      ["get_weather", '{"city":"Oslo"}'],
      ["now", "{}"],
    ]);
    expect(called.finish_reason).toBe("tool_calls");
    if (form !== "streamed") expect((await ask("filtered")).choices[0]!.finish_reason).toBe("content_filter");
    expect((await ask("usage")).usage).toMatchObject({ prompt_tokens: 1000, completion_tokens: 77, total_tokens: 1077 });
  });

  test("embeddings of every provider, where a rule names them", async () => {
    const post = (path: string, body: object) => fetch(server.urls.h1! + path, { method: "POST", body: JSON.stringify(body) });
    const input = "embed refuse";
    const asks: [string, (text: unknown) => object][] = [
      ["/v1/embeddings", (text) => ({ model: "m", input: ["first", text] })],
      ["/openai/deployments/m/embeddings?api-version=2024-10-21", (text) => ({ input: text })],
      ["/v1beta/models/m:embedContent", (text) => ({ content: { parts: [{ text }] } })],
      ["/v1beta/models/m:batchEmbedContents", (text) => ({ requests: [{ content: { parts: [{ text }] } }] })],
      ["/api/embed", (text) => ({ model: "m", input: [text] })],
      ["/api/embeddings", (text) => ({ model: "m", prompt: text })],
    ];
    for (const [path, body] of asks) {
      expect([path, (await post(path, body("embed limited"))).status]).toEqual([path, 429]);
      // The rules before name no endpoint, and the one of moderations names another.
      expect([path, (await post(path, body(input))).status]).toEqual([path, 200]);
    }
    const startedMs = performance.now();
    expect((await post("/v1/embeddings", { model: "m", input: "embed late" })).status).toBe(200);
    expect(performance.now() - startedMs).toBeGreaterThan(100);
    const judged = async (text: unknown) => (await post("/v1/moderations", { input: text })).status;
    expect([await judged("fine"), await judged("bad"), await judged([{ type: "text", text: "bad" }])]).toEqual([200, 503, 503]);
  });

  test("Responses", async () => {
    const ask = (input: string) => openai.responses.create({ model: "gpt-5", input });
    const stream = async (input: string) => openai.responses.stream({ model: "gpt-5", input }).finalResponse();
    for (const form of [ask, stream]) {
      const called = await form("the weather?");
      expect(called.output.map(({ type }) => type)).toEqual(["message", "function_call", "function_call"]);
      expect(called.output_text).toBe("Let me look.");
      expect(called.output[1]).toMatchObject({ name: "get_weather", arguments: '{"city":"Oslo"}' });
      const refused = await form("refuse");
      expect(refused.output[0]).toMatchObject({ content: [{ type: "refusal", refusal: "I can't help with that." }] });
      const filtered = await form("filtered");
      expect([filtered.status, filtered.incomplete_details]).toEqual(["incomplete", { reason: "content_filter" }]);
      expect((await form("usage")).usage).toMatchObject({ input_tokens: 1000, output_tokens: 77, total_tokens: 1077 });
    }
    const input = [{ type: "function_call_output" as const, call_id: "c", output: "cold" }];
    expect((await openai.responses.create({ model: "gpt-5", input })).output_text).toBe("It is cold.");
  });

  test("messages", async () => {
    const body = (content: string) => ({ model: "m", max_tokens: 500, messages: [{ role: "user" as const, content }] });
    const ask = (content: string) => anthropic.messages.create(body(content));
    const stream = async (content: string) => anthropic.messages.stream(body(content)).finalMessage();
    for (const form of [ask, stream]) {
      const called = await form("weather");
      expect(called.content).toMatchObject([
        { type: "text", text: "Let me look." },
        { type: "tool_use", name: "get_weather", input: { city: "Oslo" } },
        { type: "tool_use", name: "now", input: {} },
      ]);
      expect(called.stop_reason).toBe("tool_use");
      expect((await form("refuse")).stop_reason).toBe("refusal");
      expect((await form("usage")).usage).toMatchObject({ input_tokens: 991, cache_read_input_tokens: 9, output_tokens: 77 });
    }
    const result = { type: "tool_result" as const, tool_use_id: "t", content: "cold" };
    const after = await anthropic.messages.create({
      ...body("weather"),
      messages: [
        { role: "user", content: "weather" },
        { role: "assistant", content: [{ type: "tool_use", id: "t", name: "get_weather", input: {} }] },
        { role: "user", content: [result] },
      ],
    });
    expect(after.content).toMatchObject([{ type: "text", text: "It is cold." }]);
  });

  test("legacy completions", async () => {
    expect((await openai.completions.create({ model: "m", prompt: "x" })).choices[0]!.text).toBe("Legacy.");
    await expect(openai.completions.create({ model: "m", prompt: "weather" })).rejects.toThrow("legacy completions have no tool calls");
  });

  test("rules look at the header, the model, the schema and the turn", async () => {
    const texts = [
      await openai.chat.completions.create({ model: "m", messages: [{ role: "user", content: "x" }] }, { headers: { "x-tenant": "acme" } }),
      await say("x", { model: "o4-mini" }),
      await say("x", { response_format: { type: "json_schema", json_schema: { name: "person", schema: { type: "object" } } } }),
      await say("x", {
        messages: [
          { role: "user", content: "hello" },
          { role: "assistant", content: "hi" },
          { role: "user", content: "turns" },
        ],
      }),
    ].map(({ choices }) => choices[0]!.message.content);
    expect(texts).toEqual(["Hello acme.", "A reasoning model.", '{"name":"Ann"}', "Second."]);
  });

  test("a sequence goes on with each request, and its last reply stays", async () => {
    const statuses: unknown[] = [];
    for (let i = 0; i < 4; i++)
      statuses.push(
        await say("sequence").then(
          ({ choices }) => choices[0]!.message.content,
          (error: { status: number }) => error.status,
        ),
      );
    expect(statuses).toEqual([429, 503, "Good.", "Good."]);
  });

  test("a stream is cut, then whole", async () => {
    const ask = async () => {
      const response = await fetch(`${server.urls.h1}/v1/chat/completions`, {
        method: "POST",
        body: JSON.stringify({ model: "m", stream: true, messages: [{ role: "user", content: "cut" }] }),
      });
      return response.text();
    };
    const [cut, whole] = [await ask(), await ask()];
    expect(cut).toContain('" two"');
    expect(cut).not.toMatch(/three|\[DONE\]/);
    expect(whole).toMatch(/three[^]*\[DONE\]/);
  });

  test("a reply has its own latencies", async () => {
    const startedMs = performance.now();
    const stream = await openai.chat.completions.create({ model: "m", stream: true, messages: [{ role: "user", content: "late" }] });
    for await (const _chunk of stream);
    expect(performance.now() - startedMs).toBeGreaterThan(145);
  });

  test("the limit of tokens cuts a reply", async () => {
    const { choices } = await say("the weather", { max_completion_tokens: 2 });
    expect(choices[0]).toMatchObject({ finish_reason: "length", message: { content: "Let me" } });
  });

  test("a request that no rule fits gets the error that was asked for, with what it was", async () => {
    await expect(say("nothing like it")).rejects.toThrow(
      "No reply fits this request: endpoint chat, model 'gpt-5', turn 1, without a tool result, user text 'nothing like it'.",
    );
  });
});

const chat = async (url: string, content: string): Promise<string> => {
  const body = JSON.stringify({ model: "m", messages: [{ role: "user", content }] });
  const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", body });
  const { choices } = (await response.json()) as { choices?: { message: { content: string } }[] };
  return choices?.[0]?.message.content ?? `status ${response.status}`;
};

test("on HTTP/2 too, and rules change while the server runs", async () => {
  await using server = await createServer({ protocol: "h1,h2c", outputTokens: 1, replies: [{ reply: { text: "first" } }] });
  expect(await chat(server.urls.h1!, "x")).toBe("first");
  await server.setReplies([{ reply: [{ text: "second" }, { text: "third" }] }]);
  expect([await chat(server.urls.h1!, "x"), await chat(server.urls.h1!, "x")]).toEqual(["second", "third"]);
  await expect(server.setReplies([{ reply: { fault: "rst_stream" } }])).rejects.toThrow("replies[0].reply: fault rst_stream on h1");
  expect(await chat(server.urls.h1!, "x")).toBe("third");
  await server.setReplies([]);
  expect(await chat(server.urls.h1!, "x")).not.toBe("third");
});

test("a file is read again when it changes; one that is wrong changes nothing, and is told of", async () => {
  const file = join(mkdtempSync(join(tmpdir(), "fakeai-watch-")), "replies.yaml");
  writeFileSync(file, "replies:\n  - reply: { text: one }\n");
  const warnings: string[] = [];
  const onWarning = (warning: Error): void => void warnings.push(warning.message);
  process.on("warning", onWarning);
  await using server = await createServer({ replies: file });
  expect(await chat(server.urls.h1!, "x")).toBe("one");
  writeFileSync(file, "replies:\n  - reply: { text: another }\n");
  await eventually(async () => (await chat(server.urls.h1!, "x")) === "another", "the other rules");
  writeFileSync(file, "replies:\n  - reply: { txt: wrong }\n");
  await eventually(
    () => warnings.some((line) => line.includes("replies.yaml:2: replies[0].reply.txt: there is no such member")),
    "a warning",
  );
  expect(await chat(server.urls.h1!, "x")).toBe("another");
  // A link to itself is out of reach: the look at it fails, and the process goes on.
  unlinkSync(file);
  symlinkSync(file, file);
  await eventually(
    () => warnings.some((line) => line.endsWith("replies.yaml: the file is gone; the rules before stay in force")),
    "a word",
  );
  expect(await chat(server.urls.h1!, "x")).toBe("another");
  unlinkSync(file);
  writeFileSync(file, "replies:\n  - reply: { text: back }\n");
  await eventually(async () => (await chat(server.urls.h1!, "x")) === "back", "the rules of the new file");
  process.off("warning", onWarning);
});

test("/admin/replies shows and replaces them, with the admin's token only", async () => {
  await using server = await createServer({
    admin: true,
    adminToken: "secret-token",
    replies: [{ match: { user: /a/i }, reply: { text: "one" } }],
  });
  const url = `${server.urls.h1}/admin/replies`;
  const ask = async (init: RequestInit = {}): Promise<[number, unknown]> => {
    const response = await fetch(url, { ...init, headers: { authorization: "Bearer secret-token" } });
    return [response.status, await response.json()];
  };
  expect((await fetch(url)).status).toBe(401);
  await chat(server.urls.h1!, "A");
  expect(await ask()).toEqual([200, { unmatched: "generate", replies: [{ match: { user: "/a/i" }, reply: { text: "one" } }], uses: [1] }]);
  const wrong = await ask({ method: "POST", body: JSON.stringify({ replies: [{ reply: { text: 5 } }] }) });
  expect(wrong).toMatchObject([400, { error: { message: "replies[0].reply.text: must be string" } }]);
  expect((await ask({ method: "POST", body: JSON.stringify({ replies: [{ reply: { text: "two" } }] }) }))[0]).toBe(200);
  expect(await chat(server.urls.h1!, "A")).toBe("two");
});

test("without --admin there is no /admin/replies, and with workers there are no rules", async () => {
  await using server = await createServer();
  expect((await fetch(`${server.urls.h1}/admin/replies`)).status).toBe(404);
  await expect(createServer({ workers: 2, replies: [] })).rejects.toThrow("--replies counts the requests of one process");
});
