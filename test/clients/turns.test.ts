/** Conversations of several turns, as client libraries keep them: each sends back what it was answered, in its own form. */
import Anthropic from "@anthropic-ai/sdk";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { HumanMessage } from "@langchain/core/messages";
import { ChatOpenAI } from "@langchain/openai";
import { generateText, type LanguageModel, type ModelMessage, stepCountIs, streamText, type ToolSet } from "ai";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { createServer, type FakeAiServer } from "../../src/index.ts";

let server: FakeAiServer;
beforeAll(async () => {
  // It warns of options that a model does not take.
  globalThis.AI_SDK_LOG_WARNINGS = false;
  server = await createServer({ outputTokens: 6, itl: 0, ttft: 0 });
});
afterAll(async () => {
  await server.close(0);
});

const apiKey = "any";
const baseURL = (): string => `${server.urls.h1!}/v1`;
const tools: ToolSet = {
  weather: { description: "Weather", inputSchema: z.object({ city: z.string() }), execute: () => ({ degrees: 20 }) },
};

type OpenAiOptions = Readonly<Record<string, boolean | string | string[]>>;
const models: readonly (readonly [string, () => LanguageModel])[] = [
  ["responses, gpt-4o", () => createOpenAI({ baseURL: baseURL(), apiKey })("gpt-4o")],
  ["responses, gpt-5", () => createOpenAI({ baseURL: baseURL(), apiKey })("gpt-5")],
  ["chat, gpt-4o", () => createOpenAI({ baseURL: baseURL(), apiKey }).chat("gpt-4o")],
  ["compatible", () => createOpenAICompatible({ name: "fakeai", baseURL: baseURL() })("any")],
];
const ways: readonly (readonly [string, OpenAiOptions])[] = [
  ["stored", {}],
  ["not stored", { store: false }],
  [
    "not stored, with reasoning",
    { store: false, reasoningEffort: "low", reasoningSummary: "auto", include: ["reasoning.encrypted_content"] },
  ],
];

describe.each(models)("ai: %s", (_name, model) => {
  test.each(ways)("two turns with a tool's loop, %s", async (_way, openai) => {
    const asked = { model: model(), tools, stopWhen: stepCountIs(3), providerOptions: { openai }, maxRetries: 0 } as const;
    const messages: ModelMessage[] = [{ role: "user", content: "Weather?" }];
    const first = await generateText({ ...asked, messages });
    expect(first.text).not.toBe("");
    expect(first.steps.flatMap(({ toolCalls }) => toolCalls)).not.toHaveLength(0);
    messages.push(...first.response.messages, { role: "user", content: "And tomorrow?" });
    const second = streamText({ ...asked, messages });
    expect(await second.text).not.toBe("");
    messages.push(...(await second.response).messages, { role: "user", content: "And then?" });
    expect((await generateText({ ...asked, messages })).text).not.toBe("");
  });

  test("what was said by others goes on", async () => {
    const messages: ModelMessage[] = [
      { role: "system", content: "Be short." },
      { role: "user", content: [{ type: "text", text: "a" }] },
      { role: "assistant", content: [{ type: "text", text: "b" }] },
      { role: "user", content: "c" },
    ];
    expect((await generateText({ model: model(), messages, maxRetries: 0, allowSystemInMessages: true })).text).not.toBe("");
  });
});

test("openai: a response's output is the input of the next", async () => {
  const client = new OpenAI({ baseURL: baseURL(), apiKey, maxRetries: 0 });
  const input: OpenAI.Responses.ResponseInputItem[] = [{ role: "user", content: "Weather?" }];
  const weather: OpenAI.Responses.FunctionTool = { type: "function", name: "weather", parameters: { type: "object" }, strict: false };
  const asked = {
    model: "gpt-5",
    reasoning: { effort: "low" as const },
    tools: [weather],
    store: false,
    include: ["reasoning.encrypted_content" as const],
  };
  for (let turn = 0; turn < 3; turn++) {
    const { output } = await client.responses.create({ ...asked, input });
    input.push(...(output as OpenAI.Responses.ResponseInputItem[]));
    const calls = output.filter((item) => item.type === "function_call");
    for (const { call_id } of calls) input.push({ type: "function_call_output", call_id, output: "20" });
    if (calls.length === 0) input.push({ role: "user", content: "And then?" });
  }
  expect(input.flatMap((item) => item.type ?? [])).toEqual(expect.arrayContaining(["reasoning", "function_call", "message"]));
});

test("anthropic: an answer's content is the next request's", async () => {
  const client = new Anthropic({ baseURL: server.urls.h1!, apiKey, maxRetries: 0 });
  const messages: Anthropic.MessageParam[] = [{ role: "user", content: "Weather?" }];
  const said: string[] = [];
  const weather: Anthropic.Tool = { name: "weather", input_schema: { type: "object", required: null } };
  for (let turn = 0; turn < 4; turn++) {
    const { content } = await client.messages.create({
      model: "claude-any",
      max_tokens: 2000,
      thinking: { type: "enabled", budget_tokens: 1024 },
      tools: [weather],
      messages,
    });
    messages.push({ role: "assistant", content });
    said.push(...content.map(({ type }) => type));
    const results = content
      .filter((block) => block.type === "tool_use")
      .map(({ id }) => ({ type: "tool_result" as const, tool_use_id: id }));
    messages.push({ role: "user", content: results.length > 0 ? results : "And then?" });
  }
  expect(new Set(said)).toEqual(new Set(["thinking", "text", "tool_use"]));
});

test.each([false, true])("langchain: its own messages, Responses %s", async (useResponsesApi) => {
  const model = new ChatOpenAI({ model: "gpt-4o", apiKey, maxRetries: 0, useResponsesApi, configuration: { baseURL: baseURL() } });
  const first = await model.invoke([new HumanMessage("a")]);
  const second = await model.invoke([new HumanMessage("a"), first, new HumanMessage("b")]);
  expect((await model.invoke([new HumanMessage("a"), first, new HumanMessage("b"), second, new HumanMessage("c")])).text).not.toBe("");
});
