/** Gemini and Ollama: what their requests may hold, what rules, faults, keys and stamps do there, and when their calls are due. */
import { expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { geminiImageTokens } from "../../src/api/gemini/media.ts";
import { jsonSchemaOf } from "../../src/api/gemini/schema.ts";
import { bodyOf, provider } from "../support/provider.ts";

const generate = "/v1beta/models/gemini-any:generateContent";
const stream = "/v1beta/models/gemini-any:streamGenerateContent?alt=sse";
const contents = [{ role: "user", parts: [{ text: "Hello there" }] }];
const tool = { name: "look_up", parameters: { type: "OBJECT", properties: { city: { type: "STRING" } }, required: ["city"] } };
const weather = {
  type: "function",
  function: { name: "look_up", parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] } },
};

type Json = Record<string, unknown>;
const geminiOf = (body: object): Json => JSON.parse(provider().body(generate, { contents, ...body })) as Json;
const textOf = (answer: Json): string =>
  ((answer["candidates"] as Json[])[0]!["content"] as { parts: { text?: string }[] }).parts.map(({ text }) => text ?? "").join("");
const complaint = (path: Parameters<ReturnType<typeof provider>["body"]>[0], body: object): string => {
  try {
    provider().body(path, body);
    return "none";
  } catch (error) {
    return (error as Error).message;
  }
};

test("Gemini's schemas as JSON schemas", () => {
  expect(
    jsonSchemaOf({
      type: "OBJECT",
      properties: {
        a: { type: "STRING", nullable: true, format: "enum", enum: ["x"] },
        b: { type: "ARRAY", items: { type: "INTEGER" }, minItems: "2" },
      },
      propertyOrdering: ["b", "a"],
      any_of: [{ type: "NUMBER" }],
    }),
  ).toEqual({
    type: "object",
    properties: { a: { type: ["string", "null"], enum: ["x"] }, b: { type: "array", items: { type: "integer" }, minItems: 2 } },
    anyOf: [{ type: "number" }],
    any_of: [{ type: "NUMBER" }],
  });
});

test("members in camelCase and in snake_case mean the same", () => {
  const seeded = { seed: 3 };
  const camel = geminiOf({
    generationConfig: { ...seeded, maxOutputTokens: 4, stopSequences: ["never"] },
    systemInstruction: { parts: [{ text: "Be brief." }] },
  });
  const snake = geminiOf({
    generation_config: { ...seeded, max_output_tokens: 4, stop_sequences: ["never"] },
    system_instruction: { parts: [{ text: "Be brief." }] },
  });
  expect(camel).toEqual(snake);
  expect((camel["candidates"] as Json[])[0]!["finishReason"]).toBe("MAX_TOKENS");
});

test("seeds and stop sequences", () => {
  const text = textOf(geminiOf({ generationConfig: { seed: 5 } }));
  expect(textOf(geminiOf({ generationConfig: { seed: 5 } }))).toBe(text);
  const word = text.split(" ")[3]!;
  expect(textOf(geminiOf({ generationConfig: { seed: 5, stopSequences: [word] } }))).toBe(text.slice(0, text.indexOf(word)));
  const chat = { model: "m", messages: [{ role: "user", content: "Hi" }], stream: false };
  const said = (options: object): string =>
    (JSON.parse(provider().body("/api/chat", { ...chat, options })) as { message: { content: string } }).message.content;
  const ollama = said({ seed: 5 });
  expect(ollama).toBe(text);
  expect(said({ seed: 5, stop: [word] })).toBe(text.slice(0, text.indexOf(word)));
});

test("tools: which are called, and when no more", () => {
  const declared = { tools: [{ functionDeclarations: [tool, { ...tool, name: "other" }] }] };
  const called = (body: object): unknown =>
    JSON.stringify(geminiOf({ ...declared, ...body })).match(/"functionCall":\{"name":"(\w+)"/)?.[1];
  expect(called({ toolConfig: { functionCallingConfig: { mode: "ANY", allowedFunctionNames: ["other"] } } })).toBe("other");
  expect(called({ toolConfig: { functionCallingConfig: { mode: "NONE" } } })).toBeUndefined();
  const result = { role: "user", parts: [{ functionResponse: { name: "look_up", response: { a: 1 } } }] };
  expect(called({ contents: [...contents, result] })).toBeUndefined();
  expect(called({ contents: [...contents, result], toolConfig: { functionCallingConfig: { mode: "ANY" } } })).toMatch(/look_up|other/);
  const messages = [{ role: "user", content: "Hi" }];
  const ollama = (more: object[]): string =>
    provider().body("/api/chat", { model: "m", messages: [...messages, ...more], tools: [weather], stream: false });
  expect(ollama([])).toContain('"tool_calls":[{"id":"call_');
  expect(ollama([{ role: "tool", content: "1", tool_name: "look_up" }])).not.toContain("tool_calls");
});

test("a call is due with its last token, and its answer takes as long as one in text", () => {
  const ask = { model: "m", messages: [{ role: "user", content: "Hi" }], tools: [weather] };
  // A seed that makes one call.
  const plan = provider({ ttft: 100, itl: 10 }).plan("/api/chat", ask, { "x-fakeai-seed": "8" });
  const due = plan.schedule.nextDueUs(0);
  expect(bodyOf(plan)).toContain("tool_calls");
  expect(plan.frames.length).toBe(1);
  expect(due).toBe(100_000 + (plan.outputTokens - 1) * 10_000);
});

test.each([
  [generate, {}, "* GenerateContentRequest.contents: contents is not specified"],
  [generate, { contents: [{ role: "assistant", parts: [] }] }, "Please use a valid role: user, model."],
  [generate, { contents, generationConfig: { candidateCount: 9 } }, "The specified candidate count 9 is not within the range [1, 8]."],
  [
    generate,
    { contents, generationConfig: { maxOutputTokens: "x" } },
    "Invalid value at 'generation_config.max_output_tokens' (TYPE_INT32), \"x\"",
  ],
  [generate, { contents, generationConfig: { responseModalities: ["AUDIO"] } }, "This model only supports text output."],
  [
    generate,
    { contents, toolConfig: { functionCallingConfig: { mode: "SOME" } } },
    /^Invalid value at 'tool_config.function_calling_config.mode' \(type.googleapis.com/,
  ],
  ...(
    [
      [{ generationConfig: { mediaResolution: "HUGE" } }, "generation_config.media_resolution"],
      [{ generationConfig: { topK: "many" } }, "generation_config.top_k"],
      [{ generationConfig: { topK: 0 } }, "generation_config.top_k: top_k must be positive"],
      [{ generationConfig: { top_p: 1.5 } }, "generation_config.top_p: top_p must be in the range [0.0, 1.0]"],
      [{ generationConfig: { temperature: "1" } }, "generation_config.temperature"],
      [{ generationConfig: { presencePenalty: 3 } }, "generation_config.presence_penalty"],
      [{ generationConfig: { responseLogprobs: 1 } }, "generation_config.response_logprobs"],
      [{ generationConfig: { responseMimeType: 5 } }, "generation_config.response_mime_type"],
      [{ generationConfig: { responseMimeType: "application/xml" } }, "'application/xml' is not supported here"],
      [{ generationConfig: { thinkingConfig: { includeThoughts: "yes" } } }, "thinking_config.include_thoughts"],
      [{ safetySettings: "off" }, "safety_settings"],
      [{ safetySettings: [{ category: "HARM_CATEGORY_BANANA", threshold: "OFF" }] }, "safety_settings[0].category"],
      [{ safety_settings: [{ category: "HARM_CATEGORY_HARASSMENT", threshold: "SOME" }] }, "safety_settings[0].threshold"],
      [{ contents: [{ parts: [{ text: 5 }] }] }, "contents[0].parts[0].text"],
      [{ contents: [{ parts: [{ inlineData: "x" }] }] }, "contents[0].parts[0].inline_data"],
      [{ contents: [{ parts: [{ inline_data: { mime_type: 5, data: "" } }] }] }, "contents[0].parts[0].inline_data.mime_type"],
      [{ contents: [{ parts: [{ functionCall: { name: "f", args: [] } }] }] }, "contents[0].parts[0].function_call.args"],
      [{ contents: [{ parts: [{ text: "a", mediaResolution: { level: "HUGE" } }] }] }, "parts[0].media_resolution.level"],
      [{ systemInstruction: { parts: [{ text: {} }] } }, "system_instruction[0].parts[0].text"],
    ] as const
  ).map(([body, says]) => [generate, { contents, ...body }, says] as const),
  ...(
    [
      [{ messages: [{ role: "assistant", tool_calls: {} }] }, "messages[0].tool_calls must be a list"],
      [{ messages: [{ role: "assistant", tool_calls: [{}] }] }, "messages[0].tool_calls[0].function must be an object"],
      [{ messages: [{ role: "assistant", tool_calls: [{ function: { name: "f", arguments: "{}" } }] }] }, "arguments must be an object"],
      [{ messages: [{ role: "tool", content: "a", tool_name: 5 }] }, "messages[0].tool_name must be a string"],
      [{ messages: [{ role: "assistant", content: "a", thinking: true }] }, "messages[0].thinking must be a string"],
      [{ messages: [], options: { num_ctx: "4096" } }, 'option "num_ctx" must be of type integer'],
      [{ messages: [], options: { repeat_penalty: [] } }, 'option "repeat_penalty" must be of type float32'],
      [{ messages: [], keep_alive: "soon" }, "keep_alive must be a number of seconds or a duration"],
    ] as const
  ).map(([body, says]) => ["/api/chat", { model: "m", ...body }, says] as const),
  ["/api/generate", { model: "m", prompt: "a", raw: "yes" }, "invalid request: raw must be true or false"],
  ["/api/generate", { model: "m", prompt: "a", context: ["a"] }, "invalid request: context must be a list of integers"],
  ["/api/chat", {}, "model is required"],
  ["/api/chat", { model: "m", messages: [{ role: "human", content: "" }] }, /^invalid request: messages\[0\].role must be one of/],
  ["/api/chat", { model: "m", messages: [{ role: "user", content: [] }] }, "invalid request: messages[0].content must be a string"],
  ["/api/generate", { model: "m", prompt: "a", think: "much" }, /^invalid think value: /],
  ["/api/generate", { model: "m", prompt: "a", options: { num_predict: "4" } }, 'option "num_predict" must be of type integer'],
  ["/api/embed", { model: "m", input: [1] }, "invalid input type"],
] as const)("%s refuses %j", (path, body, expected) => {
  if (typeof expected === "string") expect(complaint(path, body)).toContain(expected);
  else expect(complaint(path, body)).toMatch(expected);
});

test("what their clients send is taken", () => {
  const config = { topK: 40, topP: 0.9, temperature: 2, presencePenalty: -1.5, mediaResolution: "media_resolution_low", seed: "5" };
  const safetySettings = [{ category: "HARM_CATEGORY_HATE_SPEECH", threshold: "BLOCK_NONE" }];
  const parts = [
    { text: "a", thoughtSignature: "AA==", thought: false },
    { functionCall: { id: "1", name: "f", args: { city: "x" } } },
    { functionResponse: { id: "1", name: "f", response: { degrees: 5 } } },
    { fileData: { mimeType: "video/mp4", fileUri: "https://example.com/x" }, mediaResolution: { level: "MEDIA_RESOLUTION_HIGH" } },
    { text: null, inline_data: { mime_type: "image/png", data: "AA==" } },
  ];
  expect(complaint(generate, { contents: [...contents, { role: "user", parts }], generationConfig: config, safetySettings })).toBe("none");
  const calls = [{ function: { name: "f", arguments: { city: "x" } } }, { id: "1", type: "function", function: { name: "f" } }];
  const messages = [
    { role: "user", content: "a" },
    { role: "assistant", content: "", thinking: "b", tool_calls: calls },
    { role: "tool", content: "20", tool_name: "f" },
  ];
  const options = { num_ctx: 4096, top_k: 40, min_p: 0.1, repeat_penalty: 1.1, use_mmap: true, own: "x", num_gpu: null };
  for (const keep_alive of ["5m", "1h30m", "0", -1, 0, null, "1.5s"])
    expect([keep_alive, complaint("/api/chat", { model: "m", messages, options, keep_alive })]).toEqual([keep_alive, "none"]);
  expect(complaint("/api/generate", { model: "m", prompt: "a", context: [1, 2], raw: true, template: "{{ .Prompt }}" })).toBe("none");
});

test("media: by Google's rules, and not at all where none is published", () => {
  expect([geminiImageTokens({ width: 384, height: 200 }), geminiImageTokens({ width: 960, height: 540 })]).toEqual([258, 6 * 258]);
  const pdf = Buffer.from(
    "%PDF-1.4\n1 0 obj <</Type /Pages /Count 2>>\n2 0 obj <</Type/Page>>\n3 0 obj <</Type /Page /Parent 1 0 R>>",
  ).toString("base64");
  const packed = Buffer.from("%PDF-1.5\n1 0 obj <</Type /ObjStm>>").toString("base64");
  const counted = (data: string): Json =>
    geminiOf({ contents: [{ parts: [{ text: "Hi" }, { inlineData: { mimeType: "application/pdf", data } }] }] })["usageMetadata"] as Json;
  expect(counted(pdf)).toMatchObject({ promptTokensDetails: [{ modality: "TEXT" }, { modality: "DOCUMENT", tokenCount: 2 * 258 }] });
  expect(counted(packed)["promptTokensDetails"]).toHaveLength(1);
  const images = { model: "m", messages: [{ role: "user", content: "Hi", images: ["AAAA", "AAAA"] }], stream: false };
  const ollama = (options: object): unknown => (JSON.parse(provider(options).body("/api/chat", images)) as Json)["prompt_eval_count"];
  expect([ollama({}), ollama({ imageTokens: 100 })]).toEqual([1, 201]);
});

const post = async (server: FakeAiServer, path: string, body: object, headers: Record<string, string> = {}): Promise<[number, string]> => {
  const response = await fetch(server.urls.h1! + path, { method: "POST", headers, body: JSON.stringify(body) });
  return [response.status, await response.text()];
};

test("a model is loaded by a request that says nothing", async () => {
  await using server = await createServer();
  expect(JSON.parse((await post(server, "/api/generate", { model: "m" }))[1])).toMatchObject({
    model: "m",
    response: "",
    done: true,
    done_reason: "load",
  });
  expect(JSON.parse((await post(server, "/api/chat", { model: "m", messages: [], keep_alive: 0 }))[1])).toMatchObject({
    done_reason: "unload",
  });
  expect(await (await fetch(`${server.urls.h1!}/api/version`)).json()).toEqual({ version: expect.stringContaining("+fakeai") as string });
});

test("each provider's key, and who the models are for", async () => {
  await using server = await createServer({ apiKey: "a-good-key", model: "one" });
  const asked = { contents };
  expect((await post(server, "/v1beta/models/one:generateContent", asked, { "x-goog-api-key": "a-good-key" }))[0]).toBe(200);
  expect((await post(server, "/v1beta/models/one:generateContent?key=a-good-key", asked))[0]).toBe(200);
  expect((await post(server, "/v1beta/models/one:generateContent", asked))[0]).toBe(403);
  expect((await post(server, "/v1beta/models/one:generateContent?key=bad", asked))[0]).toBe(400);
  const ask = { model: "one:latest", messages: [{ role: "user", content: "Hi" }] };
  expect((await post(server, "/api/chat", ask, { authorization: "Bearer a-good-key" }))[0]).toBe(200);
  const models = async (headers: Record<string, string>): Promise<Json> =>
    (await (await fetch(`${server.urls.h1!}/v1/models`, { headers })).json()) as Json;
  expect(await models({ "x-goog-api-key": "a-good-key" })).toMatchObject({ models: [{ name: "models/one" }] });
  expect(await models({ authorization: "Bearer a-good-key" })).toMatchObject({ object: "list" });
});

test("rules, faults and stamps", async () => {
  const replies = [
    {
      match: { endpoint: "gemini" as const, model: "gemini-any", user: "weather", toolResult: false },
      reply: { toolCalls: [{ name: "f", arguments: { a: 1 } }] },
    },
    { match: { endpoint: "gemini" as const, turn: 2 }, reply: { text: "It is cold.", usage: { promptTokens: 7, completionTokens: 9 } } },
    { match: { endpoint: "ollama" as const, user: "stop" }, reply: { text: "No more." } },
  ];
  await using server = await createServer({ replies: { unmatched: "error", replies }, protocol: "h1", h1Engine: "node" });
  const turns = [{ role: "user", parts: [{ text: "the weather?" }] }];
  expect((await post(server, stream, { contents: turns }))[1]).toContain('{"functionCall": {"name": "f","args": {"a": 1}}}');
  const more = [...turns, { role: "model", parts: [] }, { role: "user", parts: [{ functionResponse: { name: "f", response: {} } }] }];
  const [, answered] = await post(server, "/v1beta/models/gemini-any:generateContent", { contents: more });
  expect(JSON.parse(answered)).toMatchObject({
    usageMetadata: { promptTokenCount: 7, promptTokensDetails: [{ modality: "TEXT", tokenCount: 7 }], candidatesTokenCount: 9 },
  });
  expect((await post(server, "/api/generate", { model: "m", prompt: "stop it", stream: false }))[1]).toContain('"response":"No more."');
  expect((await post(server, "/api/chat", { model: "m", messages: [{ role: "user", content: "go" }] }))[0]).toBe(404);
  const ask = { model: "m", prompt: "stop it" };
  const [, stamped] = await post(server, "/api/generate", ask, { "x-fakeai-stamps": "1" });
  const lines = stamped
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { fakeai: { due: number; sent: number }; response: string });
  expect(lines.map(({ response }) => response).join("")).toBe("No more.");
  expect(lines.every(({ fakeai }) => fakeai.sent >= fakeai.due && fakeai.due > 0)).toBe(true);
  const [, events] = await post(server, stream, { contents: turns }, { "x-fakeai-stamps": "1" });
  expect(events).toMatch(/^data: \{.*,"fakeai":\{"due": *\d+,"sent": *\d+\}\}\r\n\r\n$/);
  const cut = { "x-fakeai-fault": "truncate(after=1)" };
  expect((await post(server, "/api/generate", ask, cut))[1].trim().split("\n")).toHaveLength(1);
  expect(
    (await post(server, "/v1beta/models/gemini-any:streamGenerateContent", { contents: more }, { "x-fakeai-stamps": "1" }))[1],
  ).toMatch(/"fakeai":/);
});
