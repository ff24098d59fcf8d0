/** Anthropic's messages: what is refused, and in whose words. */
import Anthropic from "@anthropic-ai/sdk";
import { expect, test } from "vitest";
import { createServer } from "../../src/index.ts";
import { bodyOf, type Endpoint, jsonEvents, provider } from "../support/provider.ts";

const path: Endpoint = "/v1/messages";
const good = { model: "claude-any", max_tokens: 50, messages: [{ role: "user", content: "Hello" }] };
const { max_tokens: _, ...withoutLimit } = good;
const tools = [{ name: "f", input_schema: { type: "object", properties: { a: { type: "string" } }, required: ["a"] } }];
const result = { role: "user", content: [{ type: "tool_result", tool_use_id: "x", content: "done" }] };
const serverTool = { type: "web_search_20260318", name: "web_search" };

test.each<[string, object, string]>([
  ["no limit", withoutLimit, "max_tokens: Field required"],
  ["a limit below 0", { ...good, max_tokens: -1 }, "max_tokens: Input should be greater than or equal to 0"],
  ["a limit that is no number", { ...good, max_tokens: "1" }, "max_tokens: Input should be a valid integer"],
  ["no messages", { ...good, messages: undefined }, "messages: Field required"],
  ["empty messages", { ...good, messages: [] }, "messages: at least one message is required"],
  [
    "an unknown role",
    { ...good, messages: [{ role: "tool", content: "x" }] },
    "messages.0.role: Input should be 'user', 'assistant' or 'system'",
  ],
  ["no content", { ...good, messages: [{ role: "user" }] }, "messages.0.content: Field required"],
  ["a block without a type", { ...good, messages: [{ role: "user", content: [{}] }] }, "messages.0.content.0.type: Field required"],
  ["a tool without a schema", { ...good, tools: [{ name: "f" }] }, "tools.0.input_schema: Field required"],
  ["a choice without its tool", { ...good, tool_choice: { type: "tool", name: "f" } }, "tool_choice: Tool 'f' not found in provided tools"],
  [
    "too small a budget",
    { ...good, thinking: { type: "enabled", budget_tokens: 10 } },
    "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
  ],
  [
    "a budget that leaves nothing for the answer",
    { ...good, max_tokens: 1024, thinking: { type: "enabled", budget_tokens: 1024 } },
    "`max_tokens` must be greater than `thinking.budget_tokens`. Please consult our documentation at https://docs.claude.com/en/docs/build-with-claude/extended-thinking",
  ],
  [
    "an unknown display",
    { ...good, thinking: { type: "adaptive", display: "none" } },
    "thinking.adaptive.display: Input should be 'summarized', 'omitted' or 'updates'",
  ],
  ["a toolset without its server", { ...good, tools: [{ type: "mcp_toolset" }] }, "tools.0.mcp_server_name: Field required"],
  ["a temperature out of range", { ...good, temperature: 1.5 }, "temperature: range: 0..1"],
])("%s", (_what, body, message) => {
  expect(() => provider().plan(path, body)).toThrow(
    expect.objectContaining({ message, problem: expect.objectContaining({ status: 400 }) }) as Error,
  );
});

test("a stop sequence is named", () => {
  const text = "one two STOP three";
  const headers = { "x-fakeai-text": text };
  const whole = JSON.parse(provider().body(path, { ...good, stop_sequences: ["STOP"] }, headers)) as object;
  expect(whole).toMatchObject({ content: [{ type: "text", text: "one two " }], stop_reason: "stop_sequence", stop_sequence: "STOP" });
  const events = jsonEvents(provider().body(path, { ...good, stream: true, stop_sequences: ["STOP"] }, headers));
  expect(events.at(-2)).toMatchObject({ type: "message_delta", delta: { stop_reason: "stop_sequence", stop_sequence: "STOP" } });
});

test("pings come every ten seconds until the first token, after the message has begun", () => {
  const { frames, schedule } = provider({ ttft: 30_000, itl: 10, outputTokens: 2 }).plan(path, { ...good, stream: true });
  const seen: unknown[] = [];
  // How many there are shows when the pings are over.
  for (let index = 0; index < frames.length; index++) {
    const dueMs = schedule.nextDueUs(index) / 1000;
    const body = new TextDecoder().decode(frames.frame(index, 0, 0));
    seen.push([dueMs, [...body.matchAll(/^event: (.*)$/gm)].map(([, name]) => name), frames.tokens]);
  }
  expect(seen).toEqual([
    [10_000, ["message_start", "ping"], 0],
    [20_000, ["ping"], 0],
    [30_000, ["content_block_start", "ping", "content_block_delta"], 1],
    [30_010, ["content_block_delta", "content_block_stop", "message_delta", "message_stop"], 1],
  ]);
});

test("an answer after a tool's result is text; inputs that were cut are empty", () => {
  expect(JSON.parse(provider().body(path, { ...good, tools, messages: [result] }))).toMatchObject({ stop_reason: "end_turn" });
  expect(JSON.parse(provider().body(path, { ...good, tools, max_tokens: 2 }))).toMatchObject({
    stop_reason: "max_tokens",
    content: [{ type: "tool_use", name: "f", input: {} }],
  });
});

interface Said {
  readonly stop_reason: string;
  readonly content: readonly Readonly<Record<string, unknown>>[];
  readonly usage: Readonly<Record<string, unknown>>;
}
const say = (body: object, headers: Record<string, string> = {}): Said =>
  JSON.parse(provider().body(path, { ...good, ...body }, { "x-fakeai-seed": "3", ...headers })) as Said;

test.each<[string, object, string, string[]]>([
  ["the system speaks between", { messages: [...good.messages, { role: "system", content: "Be brief" }] }, "end_turn", ["text"]],
  ["the system speaks after a tool's result", { tools, messages: [result, { role: "system", content: "Be brief" }] }, "end_turn", ["text"]],
  ["the answer is begun after a tool's result", { tools, messages: [result, { role: "assistant", content: "So" }] }, "end_turn", ["text"]],
  ["tools of an MCP server", { tools: [{ type: "mcp_toolset", mcp_server_name: "s" }] }, "end_turn", ["text"]],
  ["any tool, and there are the server's alone", { tools: [serverTool], tool_choice: { type: "any" } }, "end_turn", ["text"]],
  ["a server's tool by name", { tools: [serverTool], tool_choice: { type: "tool", name: "web_search" } }, "end_turn", ["text"]],
  ["thinking between calls, before the first", { thinking: { type: "between_tools" } }, "end_turn", ["text"]],
  [
    "thinking between calls, after one",
    { tools, messages: [result], max_tokens: 99, thinking: { type: "between_tools" } },
    "end_turn",
    ["thinking", "text"],
  ],
  ["no tokens", { max_tokens: 0 }, "max_tokens", []],
  ["no tokens, and a tool that must be called", { max_tokens: 0, tools, tool_choice: { type: "any" } }, "max_tokens", []],
])("%s", (_what, body, stopReason, types) => {
  const { stop_reason, content } = say(body);
  expect([stop_reason, content.map(({ type }) => type)]).toEqual([stopReason, types]);
  const events = jsonEvents(provider().body(path, { ...good, ...body, stream: true }));
  const starts = events
    .filter(({ type }) => type === "content_block_start")
    .map(({ content_block }) => (content_block as { type: string }).type);
  expect(starts).toEqual(types);
  expect(events.at(-2)).toMatchObject({ delta: { stop_reason: stopReason } });
});

test.each([
  ["bash_20250124", { name: "bash" }, { command: expect.any(String) as string }],
  ["text_editor_20250728", { name: "str_replace_based_edit_tool" }, { command: "view", path: expect.any(String) as string }],
  ["memory_20250818", { name: "memory" }, { command: "view", path: "/memories" }],
  ["computer_20251124", { name: "computer", display_width_px: 1024, display_height_px: 768 }, { action: "screenshot" }],
])("a client runs %s: it is called as any other tool", (type, more, input) => {
  const asked = { tools: [{ type, ...more }] };
  for (const tool_choice of [undefined, { type: "any" }, { type: "tool", name: more.name }])
    expect(say({ ...asked, tool_choice })).toMatchObject({
      stop_reason: "tool_use",
      content: [{ type: "tool_use", name: more.name, input }],
    });
});

test("a call of a toolset names both", () => {
  const tool_choice = { type: "any", disable_parallel_tool_use: true };
  const [call] = say({ tools: [{ type: "computer_toolset_20260801" }], tool_choice }).content;
  expect(call).toMatchObject({ type: "tool_use", name: "screenshot", toolset_name: "computer", input: {} });
});

test("thinking that is omitted takes its time and its tokens, and shows a signature alone", () => {
  const thinking = { type: "adaptive", display: "omitted" };
  const { content, usage } = say({ thinking, max_tokens: 500 });
  expect(content[0]).toEqual({ type: "thinking", thinking: "", signature: expect.stringMatching(/^\w{64}$/) as string });
  expect(usage["output_tokens"]).toBe(64 + 12);
  const plan = provider({ ttft: 100, itl: 10 }).plan(path, { ...good, thinking, max_tokens: 500, stream: true });
  expect(plan.schedule.nextDueUs(0) / 1000).toBe(100 + 64 * 10);
  const deltas = jsonEvents(bodyOf(provider().plan(path, { ...good, thinking, max_tokens: 500, stream: true })))
    .filter(({ type, index }) => type === "content_block_delta" && index === 0)
    .map(({ delta }) => delta);
  expect(deltas).toEqual([{ type: "signature_delta", signature: expect.stringMatching(/^\w{64}$/) as string }]);
});

test("a budget may be above max_tokens where thinking goes on between calls", () => {
  const body = { max_tokens: 300, thinking: { type: "enabled", budget_tokens: 4096 } };
  expect(say(body, { "anthropic-beta": "files-api-2025-04-14,interleaved-thinking-2025-05-14" }).content[0]).toMatchObject({
    type: "thinking",
  });
});

test("errors have their provider's shape, whatever was wrong", async () => {
  await using server = await createServer({ model: "claude-any", maxBody: 1000 });
  const ask = async (at: string, init: RequestInit): Promise<[number, unknown]> => {
    const response = await fetch(`${server.urls.h1!}${at}`, init);
    return [response.status, ((await response.json()) as { type?: string; error: { type: string } }).error.type];
  };
  const headers = { "anthropic-version": "2023-06-01" };
  expect(await ask("/v1/messages", { method: "POST", headers, body: "{" })).toEqual([400, "invalid_request_error"]);
  expect(await ask("/v1/messages", { method: "POST", headers, body: JSON.stringify({ ...good, model: "no" }) })).toEqual([
    404,
    "not_found_error",
  ]);
  expect(await ask("/v1/messages", { method: "POST", headers, body: "x".repeat(2000) })).toEqual([413, "request_too_large"]);
  expect(await ask("/v1/messages", { method: "GET" })).toEqual([405, "invalid_request_error"]);
});

test("models have Anthropic's shape for its clients alone, page by page; so have their errors", async () => {
  await using server = await createServer({ model: ["a", "b", "c", "d", "e"], maxModelLen: 9000 });
  const client = new Anthropic({ apiKey: "k", baseURL: server.urls.h1!, maxRetries: 0 });
  const ids: string[] = [];
  for await (const { id } of client.models.list({ limit: 2 })) ids.push(id);
  expect(ids).toEqual(["a", "b", "c", "d", "e"]);
  const before = await client.models.list({ limit: 2, before_id: "d" });
  expect([before.data.map(({ id }) => id), before.has_more, before.first_id, before.last_id]).toEqual([["b", "c"], true, "b", "c"]);
  expect(await client.models.retrieve("c")).toMatchObject({ id: "c", type: "model", lifecycle: "active", max_input_tokens: 9000 });
  await expect(client.models.retrieve("z")).rejects.toMatchObject({
    status: 404,
    error: { type: "error", error: { type: "not_found_error" } },
  });
  await expect(client.models.list({ after_id: "z" })).rejects.toMatchObject({ status: 400, error: { type: "error" } });
  const plain = (await (await fetch(`${server.urls.h1!}/v1/models`)).json()) as { object: string };
  expect(plain.object).toBe("list");
});
