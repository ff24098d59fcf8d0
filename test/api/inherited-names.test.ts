/** Names that every object inherits, as every word that a client may say: none is taken for one that a table holds. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../../src/index.ts";

const names = Object.getOwnPropertyNames(Object.prototype);

let server: FakeAiServer;
beforeAll(async () => {
  server = await createServer({ outputTokens: 2, admin: true, adminToken: "t" });
});
afterAll(() => server.close());

async function post(path: string, body: unknown, headers: Record<string, string> = {}): Promise<number> {
  const answer = await fetch(`${server.urls.h1}${path}`, {
    method: "POST",
    headers: { "anthropic-version": "2023-06-01", authorization: "Bearer t", ...headers },
    body: JSON.stringify(body),
  });
  await answer.arrayBuffer();
  return answer.status;
}

const messages = [{ role: "user", content: "x" }];
const chatTool = { type: "function", function: { name: "f", parameters: { type: "object", properties: {} } } };
const schema = { type: "object", properties: { a: { type: "string", format: "date" } }, required: ["a"] };

/** Bodies with something at every place that a surface reads. */
const bodies: readonly (readonly [string, object])[] = [
  [
    "/v1/chat/completions",
    {
      model: "m", messages: [{ role: "user", name: "n", content: [{ type: "text", text: "x" }] }], stop: ["s"], reasoning_effort: "low", service_tier: "auto", tools: [chatTool],
      tool_choice: { type: "function", function: { name: "f" } }, response_format: { type: "json_schema", json_schema: { name: "n", schema } }, user: "u", metadata: { a: "b" },
    },
  ],
  ["/v1/completions", { model: "m", prompt: "x", stop: "s", user: "u", suffix: "s" }],
  [
    "/v1/responses",
    {
      model: "m", input: [{ type: "message", role: "user", content: [{ type: "input_text", text: "x" }] }], instructions: "i", reasoning: { effort: "low", summary: "auto" },
      text: { format: { type: "json_schema", name: "n", schema }, verbosity: "low" }, tools: [{ type: "function", name: "f", parameters: schema }],
      tool_choice: { type: "function", name: "f" }, truncation: "auto", include: ["message.output_text.logprobs"], user: "u", metadata: { a: "b" },
    },
  ],
  ["/v1/embeddings", { model: "m", input: ["x"], encoding_format: "float", user: "u" }],
  [
    "/v1/messages",
    {
      model: "m", max_tokens: 9, messages: [{ role: "user", content: [{ type: "text", text: "x" }] }], system: [{ type: "text", text: "x" }], stop_sequences: ["s"],
      thinking: { type: "disabled" }, tools: [{ name: "f", type: "custom", input_schema: schema }], tool_choice: { type: "tool", name: "f" }, output_config: { format: { type: "json_schema", schema } },
    },
  ],
  ["/v1/messages/count_tokens", { model: "m", messages, tools: [{ name: "f", input_schema: schema }], tool_choice: { type: "auto" } }],
  ["/tokenize", { model: "m", prompt: "x" }],
  ["/admin/config", { profile: "openai", mode: "random", fault: "hang" }],
]; // oxfmt-ignore

/** The body with each of its strings, one at a time, replaced by a word, and with a member of that name in each object. */
function* changed(value: unknown, word: string): Generator {
  if (typeof value === "string") yield word;
  if (typeof value !== "object" || value === null) return;
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) for (const other of changed(item, word)) yield value.toSpliced(index, 1, other);
    return;
  }
  yield Object.fromEntries([...Object.entries(value), [word, word]]);
  for (const [name, item] of Object.entries(value)) for (const other of changed(item, word)) yield { ...value, [name]: other };
}

describe.each(bodies)("%s", (path, body) => {
  test.each(names)("%s", async (word) => {
    const statuses = await Promise.all(Array.from(changed(body, word), (other) => post(path, other)));
    expect(statuses.filter((status) => status >= 500)).toEqual([]);
    expect(statuses.length).toBeGreaterThan(2);
  });
});

test.each(names)("headers and paths that say %s", async (word) => {
  const headers = ["text", "output-tokens", "ttft", "itl", "seed", "stamps", "tokens-per-chunk", "fault"];
  const answers = headers.map((name) => post("/v1/chat/completions", { model: "m", messages }, { [`x-fakeai-${name}`]: word }));
  const paths = [`/${word}`, `/v1/${word}`, `/v1/models/${word}`].map(async (path) => (await fetch(`${server.urls.h1}${path}`)).status);
  expect((await Promise.all([...answers, ...paths])).filter((status) => status >= 500)).toEqual([]);
});
