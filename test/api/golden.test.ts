/** Every byte of each profile's answers, as files; errors.test.ts has its errors. */
import { expect, test } from "vitest";
import { golden } from "../support/golden.ts";
import { bodyOf, type Endpoint, provider } from "../support/provider.ts";

const messages = [{ role: "user", content: "Answer as JSON" }];
const parameters = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer", minimum: 1, maximum: 9 } },
  required: ["city", "days"],
  additionalProperties: false,
};
const chatTools = [{ type: "function", function: { name: "get_weather", parameters } }];
const contents = [{ role: "user", parts: [{ text: "Answer as JSON" }] }];
const geminiTools = [{ functionDeclarations: [{ name: "get_weather", parametersJsonSchema: parameters }] }];
const usage = { stream: true, stream_options: { include_usage: true } };

const everyProfile: [string, Endpoint, object][] = [
  ["chat-stream", "/v1/chat/completions", { messages, ...usage }],
  ["chat-stream-length", "/v1/chat/completions", { messages, stream: true, max_tokens: 2 }],
  ["chat-stream-tools", "/v1/chat/completions", { messages, stream: true, tools: chatTools }],
  ["chat-stream-reasoning", "/v1/chat/completions", { messages, ...usage, reasoning_effort: "low", max_tokens: 66 }],
  ["chat", "/v1/chat/completions", { messages }],
  ["chat-tools", "/v1/chat/completions", { messages, tools: chatTools }],
  ["completion-stream", "/v1/completions", { prompt: "Once", ...usage }],
  ["completion", "/v1/completions", { prompt: "Once" }],
];
const openaiOnly: [string, Endpoint, object][] = [
  ["responses-stream", "/v1/responses", { input: "Hi", stream: true }],
  [
    "responses-stream-tools",
    "/v1/responses",
    {
      input: "Hi",
      stream: true,
      reasoning: { effort: "low" },
      tools: [{ type: "function", name: "get_weather", parameters, strict: true }],
    },
  ],
  ["responses", "/v1/responses", { input: "Hi" }],
  ["embeddings", "/v1/embeddings", { input: ["a", "b"], dimensions: 4 }],
  ["embeddings-base64", "/v1/embeddings", { input: "a", dimensions: 4, encoding_format: "base64" }],
  ["messages-stream", "/v1/messages", { messages, max_tokens: 100, stream: true }],
  [
    "messages-stream-tools",
    "/v1/messages",
    {
      messages,
      max_tokens: 2000,
      stream: true,
      thinking: { type: "enabled", budget_tokens: 1024 },
      tools: [{ name: "get_weather", input_schema: parameters }],
    },
  ],
  ["messages", "/v1/messages", { messages, max_tokens: 2, stop_sequences: ["never"] }],
  ["ollama-chat-stream", "/api/chat", { messages, think: "low", options: { num_predict: 36 } }],
  ["ollama-chat-stream-tools", "/api/chat", { messages, tools: chatTools }],
  ["ollama-chat", "/api/chat", { messages, stream: false, tools: chatTools }],
  ["ollama-generate-stream", "/api/generate", { prompt: "Hi" }],
  ["ollama-generate", "/api/generate", { prompt: "Hi", stream: false }],
  ["ollama-embed", "/api/embed", { input: ["a", "b"], dimensions: 4 }],
  ["gemini-stream", "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", { contents }],
  [
    "gemini-stream-thoughts",
    "/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse",
    { contents, generationConfig: { thinkingConfig: { thinkingBudget: 2, includeThoughts: true }, maxOutputTokens: 4 } },
  ],
  ["gemini-stream-array", "/v1beta/models/gemini-2.5-flash:streamGenerateContent", { contents, tools: geminiTools }],
  ["gemini", "/v1beta/models/gemini-2.5-flash:generateContent", { contents, generationConfig: { candidateCount: 2 } }],
];
const profiles = ["openai", "vllm", "openrouter", "minimal"] as const;
const cases = profiles.flatMap((profile) =>
  everyProfile.concat(profile === "openai" ? openaiOnly : []).map(([name, path, body]) => ({ profile, name, path, body })),
);

const headOf = (status: number, headers: Readonly<Record<string, string>>): string =>
  [
    String(status),
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value.replace(/^req_[0-9a-f]{32}$/, "req_*")}`),
    "",
    "",
  ].join("\n");

test.each(cases)("$profile $name", ({ profile, name, path, body }) => {
  const plan = provider({ profile, outputTokens: 4, ttft: 20, itl: 5 }).plan(
    path,
    { model: "gpt-4o-mini", ...body },
    { "x-fakeai-seed": "8" },
  );
  const bytes = headOf(plan.head.status, plan.head.headers) + bodyOf(plan);
  expect(bytes).toBe(golden(`${profile}-${name}`, bytes));
});
