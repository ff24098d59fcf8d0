/** OpenAI's own types as the judge of every good body: no member missing, none unknown, none of the wrong type. */
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { type Endpoint, jsonEvents, provider } from "../support/provider.ts";
import { type Judge, judgeBy } from "../support/sdk-judge.ts";

let judge: Judge<"chat" | "chunk" | "completion" | "embeddings" | "response" | "event">;

beforeAll(() => {
  judge = judgeBy("openai-types", {
    chat: "OpenAI.ChatCompletion",
    chunk: "OpenAI.ChatCompletionChunk",
    completion: "OpenAI.Completion",
    embeddings: "OpenAI.CreateEmbeddingResponse",
    response: "OpenAI.Responses.Response",
    event: "OpenAI.Responses.ResponseStreamEvent",
  });
}, 120_000);

/** Members that captures show and openai-node's types do not know, or know otherwise. */
function withoutExtras(value: Record<string, unknown>): Record<string, unknown> {
  const { obfuscation: _, ...rest } = value;
  // The function's name: the types of openai 6 demand it, those of 7 do not know it.
  if (rest["type"] === "response.function_call_arguments.done") delete rest["name"];
  return rest;
}

function responseObject(value: Record<string, unknown>): Record<string, unknown> {
  const { max_tool_calls: _calls, store: _store, usage, user, ...rest } = value;
  // Null while in progress, where the types want the member left out; output_text is added by the SDK.
  return { ...rest, ...(usage !== null && { usage }), ...(user !== null && { user }), output_text: "" };
}

/** Judges a body, whole or streamed. Returns what was said. */
function judgeBody(path: Endpoint, body: string, stream: boolean): void {
  if (!stream) {
    const value = JSON.parse(body) as Record<string, unknown>;
    if (path === "/v1/responses") judge("response", responseObject(value));
    else
      judge(
        ({ "/v1/chat/completions": "chat", "/v1/completions": "completion", "/v1/embeddings": "embeddings" } as const)[
          path as "/v1/embeddings"
        ],
        value,
      );
    return;
  }
  for (const event of jsonEvents(body).map(withoutExtras)) {
    if (path === "/v1/chat/completions") judge("chunk", event);
    else if (path === "/v1/responses") {
      judge("event", "response" in event ? { ...event, response: responseObject(event["response"] as Record<string, unknown>) } : event);
    } else {
      // The types of legacy completions are those of an unstreamed one: a chunk before the last has no reason yet.
      const choices = (event["choices"] as { finish_reason: unknown }[]).map((choice) =>
        Object.assign(choice, { finish_reason: choice.finish_reason ?? "stop" }),
      );
      const { usage, ...rest } = event;
      judge("completion", { ...rest, choices, ...(usage !== null && usage !== undefined && { usage }) });
    }
  }
}

const maybe = <T>(values: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> => fc.option(values, { nil: undefined });
const defined = (body: object): object => JSON.parse(JSON.stringify(body)) as object;
const parameters = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer", minimum: 1, maximum: 9 }, unit: { enum: ["C", "F"] } },
  required: ["city", "days", "unit"],
  additionalProperties: false,
};
const names = fc.uniqueArray(fc.constantFrom("get_weather", "search", "book"), { minLength: 1, maxLength: 3 });

const chatRequest = fc
  .record({
    stream: fc.boolean(),
    n: maybe(fc.integer({ min: 1, max: 16 })),
    max_tokens: maybe(fc.integer({ min: 1, max: 40 })),
    stop: maybe(fc.oneof(fc.constantFrom(" the", "e", "."), fc.constant([" a", "\n"]))),
    seed: maybe(fc.nat()),
    reasoning_effort: maybe(fc.constantFrom("none", "low", "medium")),
    logprobs: maybe(fc.boolean()),
    top: fc.nat(5),
    tools: maybe(names),
    tool_choice: fc.constantFrom("none", "auto", "required", "named"),
    parallel_tool_calls: maybe(fc.boolean()),
    format: fc.constantFrom("text", "json_object", "json_schema"),
    stream_options: maybe(
      fc.record({ include_usage: fc.boolean(), include_obfuscation: fc.boolean(), continuous_usage_stats: fc.boolean() }),
    ),
    user: fc.string(),
  })
  .map(({ top, tools, tool_choice, format, user, stream_options, ...rest }) =>
    defined({
      model: "gpt-4o",
      messages: [{ role: "user", content: `as json: ${user}` }],
      ...rest,
      stream_options: rest.stream ? stream_options : undefined,
      top_logprobs: rest.logprobs ? top : undefined,
      tools: tools?.map((name) => ({ type: "function", function: { name, parameters } })),
      tool_choice: tools && (tool_choice === "named" ? { type: "function", function: { name: tools[0] } } : tool_choice),
      parallel_tool_calls: tools && rest.parallel_tool_calls,
      response_format:
        format === "json_schema" ? { type: format, json_schema: { name: "x", strict: true, schema: parameters } } : { type: format },
    }),
  );

const completionRequest = fc
  .record({
    stream: fc.boolean(),
    n: maybe(fc.integer({ min: 1, max: 4 })),
    max_tokens: maybe(fc.nat(20)),
    logprobs: maybe(fc.nat(3)),
    stop: maybe(fc.constant("e")),
    prompt: fc.oneof(
      fc.string(),
      fc.array(fc.string(), { minLength: 1, maxLength: 3 }),
      fc.array(fc.nat(99), { minLength: 1, maxLength: 9 }),
      fc.constant([[1, 2], [3]]),
    ),
    echo: fc.boolean(),
    usage: fc.boolean(),
  })
  .map(({ usage, echo, ...rest }) =>
    defined({
      model: "davinci",
      ...rest,
      // The API has a null where nothing comes before the first token, which its types forget.
      echo: rest.logprobs === undefined ? echo : undefined,
      stream_options: rest.stream ? { include_usage: usage } : undefined,
    }),
  );

const responseRequest = fc
  .record({
    stream: fc.boolean(),
    input: fc.oneof(fc.string(), fc.constant([{ role: "user", content: [{ type: "input_text", text: "Hi" }] }])),
    instructions: maybe(fc.string()),
    max_output_tokens: maybe(fc.integer({ min: 16, max: 60 })),
    reasoning: maybe(fc.record({ effort: fc.constantFrom("low", "medium") })),
    include: maybe(fc.constant(["message.output_text.logprobs"])),
    top_logprobs: maybe(fc.nat(3)),
    tools: maybe(names),
    tool_choice: fc.constantFrom("none", "auto", "required", "named"),
    json: fc.boolean(),
    metadata: maybe(fc.constant({ a: "b" })),
  })
  .map(({ tools, tool_choice, json, ...rest }) =>
    defined({
      model: "gpt-4o",
      ...rest,
      tools: tools?.map((name) => ({ type: "function", name, parameters, strict: true })),
      tool_choice: tools && (tool_choice === "named" ? { type: "function", name: tools[0] } : tool_choice),
      text: json ? { format: { type: "json_schema", name: "x", strict: true, schema: parameters } } : undefined,
    }),
  );

const embeddingRequest = fc
  .record({
    input: fc.oneof(
      fc.string({ minLength: 1 }),
      fc.array(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 3 }),
      fc.constant([1, 2, 3]),
    ),
    dimensions: maybe(fc.integer({ min: 1, max: 64 })),
  })
  .map((rest) => defined({ model: "text-embedding-3-small", ...rest }));

describe.each(["openai", "minimal"] as const)("profile %s", (profile) => {
  test.each<[Endpoint, fc.Arbitrary<object>, number]>([
    ["/v1/chat/completions", chatRequest, 150],
    ["/v1/completions", completionRequest, 60],
    ["/v1/responses", responseRequest, 100],
    ["/v1/embeddings", embeddingRequest, 20],
  ])("%s: any valid request", (path, requests, numRuns) => {
    const surface = provider({ profile, outputTokens: "uniform(0,30)" });
    fc.assert(
      fc.property(requests, fc.integer({ min: 1, max: 9 }), (request, perChunk) => {
        const body = surface.body(path, request, { "x-fakeai-tokens-per-chunk": String(perChunk) });
        expect(() => judgeBody(path, body, "stream" in request && request.stream === true)).not.toThrow();
      }),
      { numRuns },
    );
  });
});

test("the judge rejects what is wrong", () => {
  const good = JSON.parse(provider().body("/v1/chat/completions", { model: "m", messages: [{ role: "user", content: "x" }] })) as Record<
    string,
    unknown
  >;
  judge("chat", good);
  expect(() => judge("chat", { ...good, created: "1" })).toThrow("created");
  expect(() => judge("chat", { ...good, extra: 1 })).toThrow("extra");
  const { choices: _, ...missing } = good;
  expect(() => judge("chat", missing)).toThrow("choices");
});
