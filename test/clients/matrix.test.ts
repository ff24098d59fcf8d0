/** The clients that people use, on each protocol that each can speak: text, finish, usage, tool arguments, structured output, errors. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import Anthropic, { BadRequestError as AnthropicBadRequest, NotFoundError as AnthropicNotFound } from "@anthropic-ai/sdk";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { ChatOpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { APICallError, embed, generateText, type LanguageModel, Output, streamText, type ToolSet } from "ai";
import axios, { AxiosError } from "axios";
import { FunctionCallingConfigMode, GoogleGenAI } from "@google/genai";
import got, { HTTPError } from "got";
import { Ollama } from "ollama";
import OpenAI, { BadRequestError, NotFoundError } from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { Agent, type Dispatcher, fetch as undiciFetch, H2CClient, request as undiciRequest } from "undici";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { createServer, type FakeAiServer, type Protocol } from "../../src/index.ts";
import { available } from "../support/process.ts";
import { chunksOf, textOf } from "../support/chat.ts";

const models = ["gpt-4o", "text-embedding-3-small", "claude-any", "gemini-any", "llama-any"];
let server: FakeAiServer;
/** HTTP/2 on our own engine. */
let own: FakeAiServer;
let said: string;
beforeAll(async () => {
  const options = { outputTokens: 12, itl: 1, model: models, maxConcurrentStreams: 1000 };
  server = await createServer({ protocol: "h1,h1s,h2c,h2", ...options });
  own = await createServer({ protocol: "h2c,h2", h2Engine: "own", ...options });
  said = (
    (await (
      await fetch(`${server.urls.h1!}/v1/chat/completions`, { method: "POST", headers: seeded, body: JSON.stringify(chat) })
    ).json()) as OpenAI.ChatCompletion
  ).choices[0]!.message.content!;
});
afterAll(async () => {
  await server.close(0);
  await own.close(0);
});

const ca = (): string => readFileSync(server.caPath!, "utf8");
const seeded = { "x-fakeai-seed": "4" };
const chat = { model: "gpt-4o", messages: [{ role: "user" as const, content: "Hello" }] };
const city = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer", minimum: 1, maximum: 9 } },
  required: ["city", "days"],
  additionalProperties: false,
} as const;
const shape = z.object({
  city: z.string(),
  days: z.number().int().min(1).max(9),
  tags: z.array(z.enum(["a", "b"])),
  note: z.string().nullable(),
});
const isCity = { city: expect.any(String) as string, days: expect.any(Number) as number };

/** langchain's types lose the usage. */
const outputTokensOf = (message: { usage_metadata?: unknown }): number =>
  (message.usage_metadata as { output_tokens: number } | undefined)?.output_tokens ?? 0;

type Fetch = typeof globalThis.fetch;
/** Ways for a client that takes a fetch. */
const ways: [Protocol, "node" | "own", () => { dispatcher: Dispatcher | null }][] = [
  ["h1", "node", () => ({ dispatcher: null })],
  ["h1s", "node", () => ({ dispatcher: new Agent({ allowH2: false, connect: { ca: ca() } }) })],
  ["h2", "node", () => ({ dispatcher: new Agent({ allowH2: true, connections: 1, pipelining: 100, connect: { ca: ca() } }) })],
  ["h2c", "node", () => ({ dispatcher: new H2CClient(server.urls.h2c!) })],
  ["h2", "own", () => ({ dispatcher: new Agent({ allowH2: true, connections: 1, pipelining: 100, connect: { ca: ca() } }) })],
  ["h2c", "own", () => ({ dispatcher: new H2CClient(own.urls.h2c!) })],
];

describe.each(ways)("SDKs over %s, HTTP/2 on engine %s", (protocol, engine, connect) => {
  let base: string;
  let dispatcher: Dispatcher | null;
  let fetch: Fetch;
  beforeAll(() => {
    base = (engine === "own" ? own : server).urls[protocol]!;
    ({ dispatcher } = connect());
    const through = (url: string | URL, init?: object): unknown => undiciFetch(url, { ...init, dispatcher: dispatcher! });
    fetch = dispatcher === null ? globalThis.fetch : (through as Fetch);
  });
  afterAll(() => dispatcher?.destroy());
  const openai = (): OpenAI => new OpenAI({ baseURL: `${base}/v1`, apiKey: "any", maxRetries: 0, fetch, defaultHeaders: seeded });

  describe("openai", () => {
    test("chat, streamed and not", async () => {
      const stream = openai().chat.completions.stream({ ...chat, stream_options: { include_usage: true } });
      const streamed = await stream.finalChatCompletion();
      const whole = await openai().chat.completions.create(chat);
      for (const answer of [streamed, whole]) {
        expect(answer.choices[0]!.message.content).toBe(said);
        expect(answer.choices[0]!.finish_reason).toBe("stop");
        expect(answer.usage!.completion_tokens).toBe(12);
      }
    });
    test("tools", async () => {
      const tools = [{ type: "function" as const, function: { name: "weather", parameters: city, strict: true } }];
      const streamed = await openai()
        .chat.completions.stream({ ...chat, tools })
        .finalChatCompletion();
      const whole = await openai().chat.completions.create({ ...chat, tools });
      for (const answer of [streamed, whole]) {
        expect(answer.choices[0]!.finish_reason).toBe("tool_calls");
        const call = answer.choices[0]!.message.tool_calls![0] as OpenAI.ChatCompletionMessageFunctionToolCall;
        expect(call.function.name).toBe("weather");
        expect(JSON.parse(call.function.arguments)).toEqual(isCity);
      }
    });
    test("structured output", async () => {
      const parsed = await openai().chat.completions.parse({ ...chat, response_format: zodResponseFormat(shape, "shape") });
      expect(shape.parse(parsed.choices[0]!.message.parsed)).toMatchObject(isCity);
      const response = await openai().responses.parse({ model: "gpt-4o", input: "x", text: { format: zodTextFormat(shape, "shape") } });
      expect(shape.parse(response.output_parsed)).toMatchObject(isCity);
    });
    test("responses, streamed and not, with tools", async () => {
      const streamed = await openai().responses.stream({ model: "gpt-4o", input: "Hello" }).finalResponse();
      const whole = await openai().responses.create({ model: "gpt-4o", input: "Hello" });
      for (const answer of [streamed, whole]) {
        expect(answer.output_text).toBe(said);
        expect([answer.status, answer.usage!.output_tokens]).toEqual(["completed", 12]);
      }
      const tools = [{ type: "function" as const, name: "weather", parameters: city, strict: true }];
      const called = await openai().responses.stream({ model: "gpt-4o", input: "Hello", tools }).finalResponse();
      const call = called.output[0] as OpenAI.Responses.ResponseFunctionToolCall;
      expect(JSON.parse(call.arguments)).toEqual(isCity);
      const after = await openai().responses.create({
        model: "gpt-4o",
        tools,
        input: [{ role: "user", content: "Hello" }, call, { type: "function_call_output", call_id: call.call_id, output: "sunny" }],
      });
      expect(after.output_text).toBe(said);
    });
    test("embeddings", async () => {
      const { data, usage } = await openai().embeddings.create({ model: "text-embedding-3-small", input: ["a", "b"] });
      expect(data.map(({ embedding }) => embedding.length)).toEqual([1536, 1536]);
      expect(Math.hypot(...data[0]!.embedding)).toBeCloseTo(1, 4);
      expect(usage.total_tokens).toBe(2);
    });
    test("errors", async () => {
      await expect(openai().chat.completions.create({ ...chat, max_tokens: 0 })).rejects.toBeInstanceOf(BadRequestError);
      await expect(openai().chat.completions.create({ ...chat, model: "none" })).rejects.toBeInstanceOf(NotFoundError);
      await expect(openai().responses.create({ model: "none", input: "x" })).rejects.toMatchObject({
        status: 404,
        code: "model_not_found",
      });
    });
  });

  describe("ai", () => {
    const aiModels: [string, () => LanguageModel][] = [
      ["@ai-sdk/openai, responses", () => createOpenAI({ baseURL: `${base}/v1`, apiKey: "any", fetch })("gpt-4o")],
      ["@ai-sdk/openai, chat", () => createOpenAI({ baseURL: `${base}/v1`, apiKey: "any", fetch }).chat("gpt-4o")],
      [
        "@ai-sdk/openai-compatible",
        () =>
          createOpenAICompatible({ name: "fakeai", baseURL: `${base}/v1`, fetch, includeUsage: true, supportsStructuredOutputs: true })(
            "gpt-4o",
          ),
      ],
    ];
    test.each(aiModels)("%s: text", async (_name, model) => {
      const common = { model: model(), prompt: "Hello", headers: seeded, maxRetries: 0 };
      const whole = await generateText(common);
      const stream = streamText(common);
      expect(whole.text).toBe(said);
      expect(await stream.text).toBe(said);
      expect([whole.finishReason, await stream.finishReason]).toEqual(["stop", "stop"]);
      expect([whole.usage.outputTokens, (await stream.usage).outputTokens]).toEqual([12, 12]);
    });
    test.each(aiModels)("%s: tools and structured output", async (_name, model) => {
      const common = { model: model(), prompt: "Hello", headers: seeded, maxRetries: 0 };
      const tools = { weather: { inputSchema: shape.pick({ city: true, days: true }) } } as ToolSet;
      const whole = await generateText({ ...common, tools });
      const stream = streamText({ ...common, tools });
      for (const calls of [whole.toolCalls, await stream.toolCalls]) {
        expect(calls[0]).toMatchObject({ toolName: "weather", input: isCity });
      }
      expect([whole.finishReason, await stream.finishReason]).toEqual(["tool-calls", "tool-calls"]);
      const { output } = await generateText({ ...common, output: Output.object({ schema: shape }) });
      expect(output).toMatchObject(isCity);
    });
    test("embeddings and errors", async () => {
      const provider = createOpenAI({ baseURL: `${base}/v1`, apiKey: "any", fetch });
      const { embedding, usage } = await embed({ model: provider.textEmbedding("text-embedding-3-small"), value: "a", maxRetries: 0 });
      expect([embedding.length, usage.tokens]).toEqual([1536, 1]);
      const failed = generateText({ model: provider("none"), prompt: "x", maxRetries: 0 });
      await expect(failed).rejects.toSatisfy((error) => APICallError.isInstance(error) && error.statusCode === 404 && !error.isRetryable);
    });
  });

  describe("@langchain/openai", () => {
    const langchain = (model = "gpt-4o"): ChatOpenAI =>
      new ChatOpenAI({ model, apiKey: "any", maxRetries: 0, configuration: { baseURL: `${base}/v1`, fetch, defaultHeaders: seeded } });
    test("text, tools, structured output, embeddings, errors", async () => {
      const whole = await langchain().invoke("Hello");
      expect(whole.text).toBe(said);
      expect(outputTokensOf(whole)).toBe(12);
      expect(whole.response_metadata["finish_reason"]).toBe("stop");
      let streamed = "";
      let tokens = 0;
      for await (const chunk of await langchain().stream("Hello")) {
        streamed += chunk.text;
        tokens += outputTokensOf(chunk);
      }
      expect([streamed, tokens]).toEqual([said, 12]);
      const bound = langchain().bindTools([{ type: "function", function: { name: "weather", parameters: city } }]);
      expect((await bound.invoke("Hello")).tool_calls![0]).toMatchObject({ name: "weather", args: isCity });
      const structured = langchain().withStructuredOutput(shape, { method: "jsonSchema" });
      expect(await structured.invoke("as JSON")).toMatchObject(isCity);
      const embeddings = new OpenAIEmbeddings({
        model: "text-embedding-3-small",
        apiKey: "any",
        configuration: { baseURL: `${base}/v1`, fetch },
      });
      expect((await embeddings.embedDocuments(["a", "b"])).map((vector) => vector.length)).toEqual([1536, 1536]);
      await expect(langchain("none").invoke("Hello")).rejects.toMatchObject({ status: 404 });
    });
  });

  describe("@anthropic-ai/sdk", () => {
    const anthropic = (): Anthropic => new Anthropic({ baseURL: base, apiKey: "any", maxRetries: 0, fetch, defaultHeaders: seeded });
    const ask = { model: "claude-any", max_tokens: 1000, messages: [{ role: "user" as const, content: "Hello" }] };
    test("text, streamed and not, with thinking", async () => {
      const whole = await anthropic().messages.create(ask);
      const streamed = await anthropic().messages.stream(ask).finalMessage();
      for (const { content, stop_reason, usage } of [whole, streamed]) {
        expect(content).toMatchObject([{ type: "text", text: said }]);
        expect([stop_reason, usage.output_tokens]).toEqual(["end_turn", 12]);
      }
      const thought = await anthropic()
        .messages.stream({ ...ask, max_tokens: 4000, thinking: { type: "enabled", budget_tokens: 1024 } })
        .finalMessage();
      expect(thought.content.map(({ type }) => type)).toEqual(["thinking", "text"]);
      expect((await anthropic().messages.create({ ...ask, max_tokens: 3 })).stop_reason).toBe("max_tokens");
      expect(await anthropic().messages.countTokens({ model: ask.model, messages: ask.messages })).toEqual({
        input_tokens: whole.usage.input_tokens,
      });
    });
    test("tools", async () => {
      const tools = [{ name: "weather", input_schema: city as unknown as Anthropic.Tool.InputSchema }];
      const whole = await anthropic().messages.create({ ...ask, tools });
      const streamed = await anthropic()
        .messages.stream({ ...ask, tools })
        .finalMessage();
      for (const { content, stop_reason } of [whole, streamed]) {
        expect(content[0]).toMatchObject({ type: "tool_use", name: "weather", input: isCity });
        expect(stop_reason).toBe("tool_use");
      }
    });
    test("errors", async () => {
      await expect(anthropic().messages.create({ ...ask, max_tokens: -1 })).rejects.toBeInstanceOf(AnthropicBadRequest);
      const failed = anthropic().messages.create({ ...ask, model: "none" });
      await expect(failed).rejects.toBeInstanceOf(AnthropicNotFound);
      await expect(failed).rejects.toMatchObject({ error: { type: "error", error: { type: "not_found_error" } } });
    });
  });

  describe("ollama", () => {
    const ollama = (): Ollama => new Ollama({ host: base, fetch, headers: seeded });
    const ask = { model: "llama-any", messages: [{ role: "user", content: "Hello" }] };
    test("chat and generate, streamed and not, with thinking", async () => {
      const whole = await ollama().chat(ask);
      let streamed = "";
      let last: typeof whole | undefined;
      for await (const part of await ollama().chat({ ...ask, stream: true, think: true })) {
        streamed += part.message.content;
        last = part;
      }
      expect([whole.message.content, streamed]).toEqual([said, said]);
      expect([whole.done, whole.done_reason, whole.eval_count]).toEqual([true, "stop", 12]);
      expect([last!.done, last!.eval_count]).toEqual([true, 12 + 64]);
      expect((await ollama().chat({ ...ask, think: "low" })).message.thinking).toMatch(/\w/);
      const generated = await ollama().generate({ model: "llama-any", prompt: "Hello", options: { num_predict: 3, stop: ["never"] } });
      expect([said.startsWith(generated.response ?? "none"), generated.done_reason, generated.eval_count]).toEqual([true, "length", 3]);
      let pieces = 0;
      for await (const part of await ollama().generate({ model: "llama-any", prompt: "Hello", stream: true }))
        pieces += part.response === "" ? 0 : 1;
      expect(pieces).toBe(12);
    });
    test("tools, structured output, embeddings, models, errors", async () => {
      const tools = [{ type: "function", function: { name: "weather", description: "", parameters: city as unknown as object } }];
      const called = await ollama().chat({ ...ask, tools });
      expect(called.message.tool_calls![0]!.function).toMatchObject({ name: "weather", arguments: isCity });
      const calls: unknown[] = [];
      for await (const part of await ollama().chat({ ...ask, tools, stream: true })) calls.push(...(part.message.tool_calls ?? []));
      expect(calls[0]).toMatchObject({ function: { name: "weather", arguments: isCity } });
      expect(shape.parse(JSON.parse((await ollama().chat({ ...ask, format: z.toJSONSchema(shape) })).message.content))).toMatchObject(
        isCity,
      );
      const { embeddings } = await ollama().embed({ model: "llama-any", input: ["a", "b"], dimensions: 16 });
      expect(embeddings.map((vector) => Math.hypot(...vector).toFixed(3))).toEqual(["1.000", "1.000"]);
      expect((await ollama().list()).models.map(({ name }) => name)).toContain("llama-any:latest");
      expect((await ollama().show({ model: "llama-any" })).capabilities).toContain("tools");
      await expect(ollama().chat({ ...ask, model: "none" })).rejects.toMatchObject({ status_code: 404, error: "model 'none' not found" });
      await expect(ollama().chat({ ...ask, options: { stop: 1 as unknown as string[] } })).rejects.toMatchObject({ status_code: 400 });
    });
  });

  describe("@google/genai", () => {
    // It takes no fetch of its own.
    beforeEach(() => void vi.stubGlobal("fetch", fetch));
    afterEach(() => void vi.unstubAllGlobals());
    const gemini = (apiVersion = "v1beta"): GoogleGenAI["models"] =>
      new GoogleGenAI({ apiKey: "any", apiVersion, httpOptions: { baseUrl: base, headers: seeded } }).models;
    const ask = { model: "gemini-any", contents: "Hello" };
    test("text, streamed and not, with thoughts, of both versions", async () => {
      const whole = await gemini("v1").generateContent(ask);
      let streamed = "";
      let last: typeof whole | undefined;
      for await (const part of await gemini().generateContentStream(ask)) {
        streamed += part.text ?? "";
        last = part;
      }
      expect([whole.text, streamed]).toEqual([said, said]);
      for (const { candidates, usageMetadata } of [whole, last!]) {
        expect([candidates![0]!.finishReason, usageMetadata!.candidatesTokenCount]).toEqual(["STOP", 12]);
      }
      const config = { maxOutputTokens: 40, thinkingConfig: { includeThoughts: true, thinkingBudget: 30 } };
      const thought = await gemini().generateContent({ ...ask, config });
      expect(thought.candidates![0]!.content!.parts!.map((part) => part.thought === true)).toEqual([true, false]);
      expect([thought.usageMetadata!.thoughtsTokenCount, thought.candidates![0]!.finishReason]).toEqual([30, "MAX_TOKENS"]);
      expect((await gemini().countTokens(ask)).totalTokens).toBe(whole.usageMetadata!.promptTokenCount);
    });
    test("tools, structured output, embeddings, models, errors", async () => {
      const tools = [{ functionDeclarations: [{ name: "weather", parametersJsonSchema: city }] }];
      const called = await gemini().generateContent({
        ...ask,
        config: { tools, toolConfig: { functionCallingConfig: { mode: FunctionCallingConfigMode.ANY } } },
      });
      expect(called.functionCalls![0]).toMatchObject({ name: "weather", args: isCity });
      const calls: unknown[] = [];
      for await (const part of await gemini().generateContentStream({ ...ask, config: { tools } }))
        calls.push(...(part.functionCalls ?? []));
      expect(calls[0]).toMatchObject({ name: "weather", args: isCity });
      const config = { responseMimeType: "application/json", responseJsonSchema: z.toJSONSchema(shape) };
      expect(shape.parse(JSON.parse((await gemini().generateContent({ ...ask, config })).text!))).toMatchObject(isCity);
      const { embeddings } = await gemini().embedContent({
        model: "gemini-any",
        contents: ["a", "b"],
        config: { outputDimensionality: 16 },
      });
      expect(embeddings!.map(({ values }) => values!.length)).toEqual([16, 16]);
      expect((await gemini().get({ model: "gemini-any" })).name).toBe("models/gemini-any");
      const listed = await gemini().list();
      expect(listed.page.map(({ name }) => name)).toContain("models/gemini-any");
      await expect(gemini().generateContent({ ...ask, model: "none" })).rejects.toMatchObject({ status: 404 });
      await expect(gemini().generateContent({ ...ask, config: { temperature: 3 } })).rejects.toMatchObject({ status: 400 });
    });
  });

  test("undici", async () => {
    const options = { method: "POST" as const, headers: seeded, ...(dispatcher && { dispatcher }) };
    const path = `${base}/v1/chat/completions`;
    const streamed = await undiciRequest(path, { ...options, body: JSON.stringify({ ...chat, stream: true }) });
    expect(textOf(chunksOf(await streamed.body.text()))).toBe(said);
    const failed = await undiciRequest(path, { ...options, body: "{" });
    expect(failed.statusCode).toBe(400);
    expect(await failed.body.json()).toMatchObject({ error: { type: "invalid_request_error" } });
  });
});

describe.each<[Protocol, string, () => FakeAiServer]>([
  ["h1", "node", () => server],
  ["h1s", "node", () => server],
  ["h2", "node", () => server],
  ["h2", "own", () => own],
])("got and axios over %s, HTTP/2 on engine %s", (protocol, _engine, asked) => {
  const http2 = protocol === "h2";
  const path = (): string => `${asked().urls[protocol]!}/v1/chat/completions`;
  test("got", async () => {
    const common = { http2, headers: seeded, retry: { limit: 0 }, ...(protocol !== "h1" && { https: { certificateAuthority: ca() } }) };
    const whole = await got.post(path(), { ...common, json: chat }).json<OpenAI.ChatCompletion>();
    expect(whole.choices[0]!.message.content).toBe(said);
    let streamed = "";
    for await (const piece of got.stream.post(path(), { ...common, json: { ...chat, stream: true } })) streamed += String(piece);
    expect(textOf(chunksOf(streamed))).toBe(said);
    await expect(got.post(path(), { ...common, json: { ...chat, model: "none" } })).rejects.toBeInstanceOf(HTTPError);
  });
  test("axios", async () => {
    const { Agent: HttpsAgent } = await import("node:https");
    const secure = http2
      ? { httpVersion: 2 as const, http2Options: { ca: ca() } }
      : protocol === "h1"
        ? {}
        : { httpsAgent: new HttpsAgent({ ca: ca() }) };
    const common = { headers: seeded, ...secure };
    const whole = await axios.post<OpenAI.ChatCompletion>(path(), chat, common);
    expect(whole.data.choices[0]!.message.content).toBe(said);
    const { data } = await axios.post<AsyncIterable<Buffer>>(path(), { ...chat, stream: true }, { ...common, responseType: "stream" });
    let streamed = "";
    for await (const piece of data) streamed += piece.toString();
    expect(textOf(chunksOf(streamed))).toBe(said);
    const failed = axios.post(path(), { ...chat, model: "none" }, common);
    await expect(failed).rejects.toBeInstanceOf(AxiosError);
    await expect(failed).rejects.toMatchObject({ response: { status: 404 } });
  });
});

describe.runIf(available("curl")).each<[Protocol, string, string[], () => FakeAiServer]>([
  ["h1", "node", ["--http1.1"], () => server],
  ["h1s", "node", ["--http1.1"], () => server],
  ["h2c", "node", ["--http2-prior-knowledge"], () => server],
  ["h2", "node", ["--http2"], () => server],
  ["h2c", "own", ["--http2-prior-knowledge"], () => own],
  ["h2", "own", ["--http2"], () => own],
])("curl over %s, HTTP/2 on engine %s", (protocol, _engine, flags, asked) => {
  const curl = (path: string, body: object, ...more: string[]): Promise<string> =>
    new Promise((resolve, reject) => {
      const args = [
        "-sS",
        "-N",
        ...flags,
        "--cacert",
        server.caPath!,
        "-d",
        JSON.stringify(body),
        ...more,
        `${asked().urls[protocol]!}${path}`,
      ];
      const child = spawn("curl", args, { stdio: ["ignore", "pipe", "inherit"] });
      let stdout = "";
      child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
      child.on("error", reject);
      child.on("close", () => resolve(stdout));
    });
  test("every endpoint", async () => {
    expect(textOf(chunksOf(await curl("/v1/chat/completions", { ...chat, stream: true, seed: 4 })))).toBe(said);
    expect(await curl("/v1/responses", { model: "gpt-4o", input: "x", stream: true })).toContain("event: response.completed\n");
    expect(JSON.parse(await curl("/v1/embeddings", { model: "text-embedding-3-small", input: "x", dimensions: 3 }))).toMatchObject({
      data: [{ embedding: [expect.any(Number), expect.any(Number), expect.any(Number)] }],
    });
    const message = { model: "claude-any", max_tokens: 9, messages: chat.messages, stream: true };
    expect(await curl("/v1/messages", message, "-H", "anthropic-version: 2023-06-01")).toContain('event: ping\ndata: {"type": "ping"}\n\n');
    expect(JSON.parse(await curl("/v1/messages", message))).toEqual({
      type: "error",
      error: { type: "invalid_request_error", message: "anthropic-version: header is required" },
      request_id: expect.stringMatching(/^req_/),
    });
    expect(JSON.parse(await curl("/tokenize", { model: "gpt-4o", prompt: "Hello there, world", return_token_strs: true }))).toMatchObject({
      count: 5,
      token_strs: ["Hell", "o th", "ere,", " wor", "ld"],
    });
  });
});
