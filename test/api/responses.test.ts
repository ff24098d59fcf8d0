/** /v1/responses: what clients of 2026 send, and the responses that are kept. */
import OpenAI from "openai";
import { describe, expect, test } from "vitest";
import { bytesOf, ResponseStore, type StoredResponse } from "../../src/api/openai/response-store.ts";
import { findPrevious } from "../../src/api/openai/response-input.ts";
import { showStored } from "../../src/api/openai/stored-responses.ts";
import type { RouteRequest } from "../../src/core/seams.ts";
import { createServer } from "../../src/index.ts";
import { type Endpoint, jsonEvents, provider } from "../support/provider.ts";

const path: Endpoint = "/v1/responses";
const call = { type: "function", name: "f", parameters: { type: "object", properties: {} } };
const mcp = { type: "mcp", server_label: "s", server_url: "https://mcp.example.com" };

interface Item {
  readonly type: string;
  readonly summary?: readonly { readonly text: string }[];
  readonly encrypted_content?: string;
}
interface Body extends Record<string, unknown> {
  readonly id: string;
  readonly output: readonly Item[];
  readonly usage: { readonly input_tokens: number; readonly output_tokens: number };
}

const ask = (body: object): Body =>
  JSON.parse(provider().body(path, { model: "gpt-5", input: "Hi", ...body }, { "x-fakeai-seed": "4" })) as Body;
const typesOf = (body: object): string[] => ask(body).output.map(({ type }) => type);

test("what opens a remote server is not shown again", () => {
  const body = ask({ tools: [{ ...mcp, authorization: "secret-1", headers: { "x-key": "secret-2" } }, call] });
  expect(body["tools"]).toEqual([{ ...mcp, headers: null }, call]);
});

/** Of tools whose output is no text. */
const outputs: Readonly<Record<string, unknown>> = {
  shell_call_output: [{ stdout: "done", stderr: "", outcome: { type: "exit", exit_code: 0 } }],
  computer_call_output: { type: "computer_screenshot", image_url: "https://example.com/x.png" },
};

describe("tools", () => {
  test.each<[string, object, string]>([
    [
      "allowed: a server's tool alone",
      { tools: [call, mcp], tool_choice: { type: "allowed_tools", mode: "auto", tools: [{ type: "mcp", server_label: "s" }] } },
      "message",
    ],
    [
      "allowed: a built-in tool beside a function",
      {
        tools: [call, { type: "image_generation" }],
        tool_choice: { type: "allowed_tools", mode: "required", tools: [{ type: "image_generation" }, { type: "function", name: "f" }] },
      },
      "function_call",
    ],
    ["auto", { tools: [call] }, "function_call"],
    ...[
      "function_call_output",
      "custom_tool_call_output",
      "shell_call_output",
      "local_shell_call_output",
      "apply_patch_call_output",
      "computer_call_output",
      "tool_search_output",
      "program_output",
      "mcp_approval_response",
      "mcp_call",
      "web_search_call",
    ].map((type): [string, object, string] => [
      `auto after ${type}`,
      {
        tools: [call],
        input: [
          { role: "user", content: "x" },
          { type, call_id: "c", output: outputs[type] ?? "done" },
        ],
      },
      "message",
    ]),
    [
      "auto after a result, and a word of the developer",
      {
        tools: [call],
        input: [
          { type: "function_call_output", call_id: "c", output: "1" },
          { role: "developer", content: "Go on" },
        ],
      },
      "message",
    ],
    [
      "auto after the beginning of an answer",
      {
        tools: [call],
        input: [
          { role: "user", content: "x" },
          { role: "assistant", content: "So" },
        ],
      },
      "message",
    ],
  ])("%s", (_what, body, type) => {
    expect(new Set(typesOf(body))).toEqual(new Set([type]));
  });

  test("what is allowed has to be there", () => {
    expect(() =>
      ask({ tools: [call], tool_choice: { type: "allowed_tools", mode: "auto", tools: [{ type: "mcp", server_label: "s" }] } }),
    ).toThrow("Tool choice 'mcp' not found");
  });
});

describe("reasoning", () => {
  test.each([
    ["auto", 32],
    ["detailed", 32],
    ["concise", 8],
  ] as const)("summary %s: told while it goes on, and counted once", (summary, tokens) => {
    const body = { model: "gpt-5", input: "Hi", stream: true, reasoning: { effort: "low", summary } };
    const plan = provider({ ttft: 100, itl: 10 }).plan(path, body);
    expect(plan.schedule.nextDueUs(0) / 1000).toBe(100 + (64 - tokens) * 10);
    const events = jsonEvents(provider().body(path, body, { "x-fakeai-seed": "4" }));
    const ofSummary = events.filter(({ type }) => (type as string).startsWith("response.reasoning_summary"));
    const deltas = ofSummary.filter(({ type }) => type === "response.reasoning_summary_text.delta");
    expect(deltas).toHaveLength(tokens);
    const text = deltas.map(({ delta }) => delta as string).join("");
    expect(ofSummary.at(-1)).toMatchObject({
      type: "response.reasoning_summary_part.done",
      summary_index: 0,
      part: { type: "summary_text", text },
    });
    expect(events.map(({ sequence_number }) => sequence_number)).toEqual([...events.keys()]);
    const { response } = events.at(-1) as { response: Body };
    expect(response.output[0]).toMatchObject({ type: "reasoning", summary: [{ type: "summary_text", text }] });
    expect(response.usage).toMatchObject({ output_tokens: 64 + 12, output_tokens_details: { reasoning_tokens: 64 } });
    expect(ask({ ...body, stream: false }).output[0]!.summary).toEqual([{ type: "summary_text", text }]);
  });

  test("comes back for a client that keeps nothing here", () => {
    const body = { reasoning: { effort: "low" }, store: false, include: ["reasoning.encrypted_content"] };
    expect(ask(body).output[0]!.encrypted_content).toMatch(/^gAAAAAB\w{342}$/);
    expect(ask({ reasoning: { effort: "low" } }).output[0]).not.toHaveProperty("encrypted_content");
  });
});

test("members that change nothing come back", () => {
  const told = {
    prompt_cache_key: "k",
    safety_identifier: "s",
    max_tool_calls: 3,
    prompt_cache_retention: "24h",
    prompt: { id: "pmpt_1", version: "2" },
    truncation: "auto",
    text: { format: { type: "text" }, verbosity: "low" },
  };
  expect(ask({ ...told, conversation: "conv_1", service_tier: "flex" })).toMatchObject({
    ...told,
    conversation: { id: "conv_1" },
    service_tier: "flex",
  });
  expect(ask({ service_tier: "auto" })).toMatchObject({ service_tier: "default" });
});

test.each<[string, object, string]>([
  ["truncation", { truncation: "on" }, "truncation"],
  ["verbosity", { text: { verbosity: "loud" } }, "text.verbosity"],
  ["include", { include: ["everything"] }, "include[0]"],
  ["tier", { service_tier: "gold" }, "service_tier"],
  ["summary", { reasoning: { summary: "long" } }, "reasoning.summary"],
  ["nothing to answer", { input: undefined }, "input"],
  ["an unknown response before it", { previous_response_id: "resp_0" }, "previous_response_id"],
])("%s is refused", (_what, body, param) => {
  expect(() => ask(body)).toThrow(expect.objectContaining({ problem: expect.objectContaining({ status: 400, param }) }) as Error);
});

test("a prompt of the platform or a conversation needs no input", () => {
  expect(ask({ input: undefined, prompt: { id: "pmpt_1", variables: { city: "Paris" } } }).usage.input_tokens).toBe(
    Math.ceil("Paris".length / 4),
  );
  expect(typesOf({ input: undefined, conversation: { id: "conv_1" } })).toEqual(["message"]);
});

describe("kept responses", () => {
  test.each(["uws", "node"] as const)("are shown, go on, and are deleted, by the SDK on %s", async (h1Engine) => {
    await using server = await createServer({ ttft: 0, itl: 0, outputTokens: 12, h1Engine });
    const client = new OpenAI({ apiKey: "k", baseURL: `${server.urls.h1!}/v1`, maxRetries: 0 });
    const first = await client.responses.create({ model: "gpt-5", input: "a".repeat(40), instructions: "b".repeat(80) });
    const { _request_id: _first, output_text: _text, ...sent } = first as typeof first & { _request_id: unknown };
    expect(await client.responses.retrieve(first.id)).toMatchObject(sent);

    const events = await client.responses.create({ model: "gpt-5", input: "c".repeat(20), previous_response_id: first.id, stream: true });
    let second = "";
    for await (const event of events) if (event.type === "response.completed") second = event.response.id;
    const shown = await client.responses.retrieve(second);
    expect(shown).toMatchObject({ status: "completed", previous_response_id: first.id });
    // The conversation: 10 tokens, 12 of the answer, 5 more. Instructions are not carried on.
    expect(shown.usage!.input_tokens).toBe(10 + 12 + 5);
    expect((await client.responses.inputTokens.count({ input: "dddd", previous_response_id: second })).input_tokens).toBe(
      10 + 12 + 5 + 12 + 1,
    );

    const items = [
      { role: "user", content: "1" },
      { role: "assistant", content: "2" },
      { role: "user", content: [{ type: "input_text", text: "3" }] },
    ] as const;
    const third = await client.responses.create({ model: "gpt-5", input: [...items] as OpenAI.Responses.ResponseInput });
    const texts: unknown[] = [];
    for await (const item of client.responses.inputItems.list(third.id, { limit: 1, order: "asc" })) {
      texts.push("content" in item ? item.content : null);
    }
    expect(texts).toMatchObject([
      [{ type: "input_text", text: "1" }],
      [{ type: "output_text", text: "2" }],
      [{ type: "input_text", text: "3" }],
    ]);

    await expect(client.responses.cancel(first.id)).rejects.toMatchObject({
      status: 400,
      message: expect.stringContaining("synchronous") as string,
    });
    await client.responses.delete(first.id);
    const gone = { status: 404, message: expect.stringContaining(`Response with id '${first.id}' not found.`) as string };
    await expect(client.responses.retrieve(first.id)).rejects.toMatchObject(gone);
    await expect(client.responses.delete(first.id)).rejects.toMatchObject(gone);
    await expect(client.responses.cancel(first.id)).rejects.toMatchObject(gone);
    const unkept = await client.responses.create({ model: "gpt-5", input: "x", store: false });
    await expect(client.responses.retrieve(unkept.id)).rejects.toMatchObject({ status: 404 });
    // What went on from it still knows it.
    expect((await client.responses.create({ model: "gpt-5", previous_response_id: second })).usage!.input_tokens).toBe(10 + 12 + 5 + 12);
    expect((await client.responses.create({ model: "gpt-5", input: [], previous_response_id: second })).usage!.input_tokens).toBe(
      10 + 12 + 5 + 12,
    );
  });

  test("are not there where processes share a port, and a word says why", () => {
    const request = { method: "GET", path: "/v1/responses/resp_1", query: "" } as RouteRequest;
    expect(() => showStored(request, null)).toThrow("each of --workers has its own memory");
    expect(() => findPrevious("resp_1", null)).toThrow("each of --workers has its own memory");
  });

  test("are bounded in number and bytes; those asked for longest ago go first", () => {
    const stored = (id: string, bytes: number, previous: StoredResponse | null = null) => {
      const overhead = bytesOf({ json: "", request: new Uint8Array(), texts: [] });
      return { id, json: "", request: new Uint8Array(bytes - overhead), previous, tokens: 1, texts: [] };
    };
    const store = new ResponseStore(3, 10_000);
    for (const id of ["a", "b", "c"]) store.put(id, stored(id, 1000));
    store.get("a");
    store.put("d", stored("d", 1000));
    expect(["a", "b", "c", "d"].map((id) => store.get(id)?.id)).toEqual(["a", undefined, "c", "d"]);
    store.put("e", stored("e", 9000));
    expect([store.size, store.bytes, store.get("d")?.id]).toEqual([2, 10_000, "d"]);
    store.put("f", stored("f", 10_001));
    expect([store.size, store.bytes, store.get("f")]).toEqual([2, 10_000, undefined]);
    store.put("e", stored("e", 2000));
    expect([store.size, store.bytes]).toEqual([2, 3000]);
  });

  test("each counts once, whatever goes on from it, and as long as something does", () => {
    const of = (id: string, previous: StoredResponse | null) => ({
      id,
      json: "x".repeat(100),
      request: new Uint8Array(),
      previous,
      tokens: 1,
      texts: ["a text"],
    });
    const store = new ResponseStore();
    const one = of("one", null);
    const own = bytesOf(one);
    store.put("one", one);
    const forks = ["a", "b", "c"].map((id) => of(id, one));
    for (const fork of forks) store.put(fork.id, fork);
    const lane = {};
    store.put(lane, forks[0]!);
    expect(store.bytes).toBe(4 * own);
    store.delete("one");
    store.delete("a");
    // A lane of a connection holds the first fork, and that the response before it.
    expect([store.bytes, store.get(lane)?.id]).toEqual([4 * own, "a"]);
    store.delete(lane);
    expect(store.bytes).toBe(3 * own);
    store.delete("b");
    store.delete("c");
    expect([store.bytes, store.size]).toEqual([0, 0]);
  });

  test("what one key has stored no other sees", () => {
    const store = new ResponseStore();
    const one: StoredResponse = { id: "r", json: "1", request: new Uint8Array(), previous: null, tokens: 1, texts: [] };
    store.ownedBy("key-0").add(one);
    store.ownedBy("key-1").add({ ...one, json: "2" });
    store.ownedBy("key-1").delete("r");
    expect(["key-0", "key-1", ""].map((owner) => store.ownedBy(owner).get("r")?.json)).toEqual(["1", undefined, undefined]);
  });

  test("a conversation counts as long as it is", () => {
    const store = new ResponseStore(1000, 10_000);
    const surface = provider();
    expect(store.size).toBe(0);
    let previous_response_id: string | undefined;
    for (let turn = 0; turn < 20; turn++) {
      const { id, usage } = JSON.parse(surface.body(path, { model: "m", input: "abcd", previous_response_id })) as Body;
      expect(usage.input_tokens).toBe(1 + turn * 13);
      previous_response_id = id;
    }
  });
});
