/** Anthropic's messages: what is refused, and in whose words. */
import { expect, test } from "vitest";
import { createServer } from "../../src/index.ts";
import { type Endpoint, jsonEvents, provider } from "../support/provider.ts";

const path: Endpoint = "/v1/messages";
const good = { model: "claude-any", max_tokens: 50, messages: [{ role: "user", content: "Hello" }] };
const { max_tokens: _, ...withoutLimit } = good;

test.each<[string, object, string]>([
  ["no limit", withoutLimit, "max_tokens: Field required"],
  ["a limit of 0", { ...good, max_tokens: 0 }, "max_tokens: Input should be greater than or equal to 1"],
  ["a limit that is no number", { ...good, max_tokens: "1" }, "max_tokens: Input should be a valid integer"],
  ["no messages", { ...good, messages: undefined }, "messages: Field required"],
  ["empty messages", { ...good, messages: [] }, "messages: at least one message is required"],
  ["an unknown role", { ...good, messages: [{ role: "system", content: "x" }] }, "messages.0.role: Input should be 'user' or 'assistant'"],
  ["no content", { ...good, messages: [{ role: "user" }] }, "messages.0.content: Field required"],
  ["a block without a type", { ...good, messages: [{ role: "user", content: [{}] }] }, "messages.0.content.0.type: Field required"],
  ["a tool without a schema", { ...good, tools: [{ name: "f" }] }, "tools.0.input_schema: Field required"],
  ["a choice without its tool", { ...good, tool_choice: { type: "tool", name: "f" } }, "tool_choice: Tool 'f' not found in provided tools"],
  [
    "too small a budget",
    { ...good, thinking: { type: "enabled", budget_tokens: 10 } },
    "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024",
  ],
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
  const tools = [{ name: "f", input_schema: { type: "object", properties: { a: { type: "string" } }, required: ["a"] } }];
  const result = [{ role: "user", content: [{ type: "tool_result", tool_use_id: "x", content: "done" }] }];
  expect(JSON.parse(provider().body(path, { ...good, tools, messages: result }))).toMatchObject({ stop_reason: "end_turn" });
  expect(JSON.parse(provider().body(path, { ...good, tools, max_tokens: 2 }))).toMatchObject({
    stop_reason: "max_tokens",
    content: [{ type: "tool_use", name: "f", input: {} }],
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
