/** Good bodies of each endpoint, with most members that it knows: what hostile ones are made from. */
import type { Dice } from "./dice.ts";

export type Json = Record<string, unknown>;

const schema = { type: "object", properties: { city: { type: "string" }, count: { type: "integer" } }, required: ["city", "count"] };
const user = { role: "user", content: "What is the weather in Paris?" };
const parts = { role: "user", content: [{ type: "text", text: "What is this?" }, { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } }] }; // oxfmt-ignore
const sampling = { temperature: 1, top_p: 1, seed: 1, stream: false };

const chatTool = (parameters: unknown, name = "look_up"): Json => ({ type: "function", function: { name, description: "d", parameters } });
const responsesTool = (parameters: unknown, name = "look_up"): Json => ({ type: "function", name, description: "d", parameters });
const messagesTool = (parameters: unknown, name = "look_up"): Json => ({ name, description: "d", input_schema: parameters });

/** How an endpoint is asked, beyond its good bodies. */
interface Form {
  readonly good: readonly Json[];
  /** Bodies whose answer has to follow the schema. */
  readonly withSchema?: (schema: unknown) => readonly Json[];
  /** A body with these tools, the last of which are named over and over. */
  readonly withTools?: (count: number, named: number, dice: Dice) => Json;
  /** A body with this stop sequence. */
  readonly withStop?: (stops: readonly string[]) => Json;
  /** The dearest that each documented limit allows, all at once; `pick` chooses between what excludes each other. */
  readonly dearest?: (dice: Dice) => Json;
}

const numbered = (count: number, make: (name: string) => Json): Json[] =>
  Array.from({ length: count }, (_, index) => make(`tool_${index}`));

const chat: Form = {
  good: [
    {
      model: "gpt-4o",
      messages: [{ role: "system", content: "Be brief." }, user],
      ...sampling,
      n: 1,
      max_tokens: 50,
      presence_penalty: 0,
      user: "u",
    },
    {
      model: "gpt-4o",
      messages: [user],
      stream: true,
      stream_options: { include_usage: true, include_obfuscation: true },
      logprobs: true,
      top_logprobs: 2,
    },
    {
      model: "gpt-4o",
      messages: [parts, { role: "assistant", content: "A cat.", name: "a" }, user],
      reasoning_effort: "low",
      max_completion_tokens: 99,
    },
    { model: "gpt-4o", messages: [user], tools: [chatTool(schema)], tool_choice: "required", parallel_tool_calls: true },
    { model: "gpt-4o", messages: [user], response_format: { type: "json_schema", json_schema: { name: "n", strict: true, schema } } },
    {
      model: "gpt-4o",
      messages: [
        user,
        { role: "assistant", tool_calls: [{ id: "c", type: "function", function: { name: "look_up", arguments: "{}" } }] },
        { role: "tool", tool_call_id: "c", content: "1" },
      ],
      tools: [chatTool(schema)],
    },
    { model: "gpt-4o", messages: [user], stop: ["xyz", "end"], ignore_eos: true, min_tokens: 5, max_tokens: 10 },
  ],
  withSchema: (given) => [
    { model: "gpt-4o", messages: [user], response_format: { type: "json_schema", json_schema: { name: "n", schema: given } } },
    { model: "gpt-4o", messages: [user], tools: [chatTool(given)], tool_choice: "required" },
    { model: "gpt-4o", messages: [user], tools: numbered(3, (name) => chatTool(given, name)), tool_choice: "required" },
    { model: "gpt-4o", messages: [user], n: 128, response_format: { type: "json_schema", json_schema: { name: "n", schema: given } } },
  ],
  withTools: (count, named, dice) => ({
    model: "gpt-4o",
    messages: [user],
    tools: numbered(count, (name) => chatTool(schema, name)),
    tool_choice: dice.pick<unknown>([
      {
        type: "allowed_tools",
        allowed_tools: {
          mode: "required",
          tools: Array.from({ length: named }, () => ({ type: "function", function: { name: `tool_${count - 1}` } })),
        },
      },
      { type: "function", function: { name: `tool_${count - 1}` } },
      "required",
      "auto",
    ]),
  }),
  withStop: (stops) => ({ model: "gpt-4o", messages: [user], stop: stops }),
  dearest: (dice) => ({
    model: "gpt-4o",
    messages: [user],
    n: 128,
    stream: dice.oneIn(2),
    reasoning_effort: "max",
    ...dice.pick<Json>([
      { logprobs: true, top_logprobs: 20 },
      { max_tokens: 1_048_576, ignore_eos: true },
      { max_tokens: 1_048_576, min_tokens: 1_048_576, n: 1 },
      {},
    ]),
  }),
};

const responses: Form = {
  good: [
    {
      model: "gpt-4o",
      input: "What is the weather?",
      instructions: "Be brief.",
      max_output_tokens: 50,
      ...sampling,
      store: false,
      metadata: { a: "b" },
    },
    {
      model: "gpt-4o",
      input: [{ type: "message", role: "user", content: [{ type: "input_text", text: "Hi" }] }],
      stream: true,
      reasoning: { effort: "low", summary: "auto" },
      include: ["message.output_text.logprobs"],
      top_logprobs: 2,
    },
    {
      model: "gpt-4o",
      input: [user],
      tools: [responsesTool(schema)],
      tool_choice: "required",
      parallel_tool_calls: false,
      truncation: "auto",
    },
    {
      model: "gpt-4o",
      input: [
        user,
        { type: "function_call", call_id: "c", name: "look_up", arguments: "{}" },
        { type: "function_call_output", call_id: "c", output: "1" },
      ],
      text: { format: { type: "json_schema", name: "n", schema } },
    },
  ],
  withSchema: (given) => [
    { model: "gpt-4o", input: "Hi", text: { format: { type: "json_schema", name: "n", schema: given } } },
    { model: "gpt-4o", input: "Hi", tools: [responsesTool(given)], tool_choice: "required", stream: true },
  ],
  withTools: (count, named, dice) => ({
    model: "gpt-4o",
    input: "Hi",
    tools: numbered(count, (name) => responsesTool(schema, name)),
    tool_choice: dice.pick<unknown>([
      {
        type: "allowed_tools",
        mode: "required",
        tools: Array.from({ length: named }, () => ({ type: "function", name: `tool_${count - 1}` })),
      },
      { type: "function", name: `tool_${count - 1}` },
      "required",
    ]),
  }),
  dearest: (dice) => ({
    model: "gpt-4o",
    input: "Hi",
    stream: dice.oneIn(2),
    top_logprobs: 20,
    include: ["message.output_text.logprobs"],
    reasoning: { effort: "max" },
    max_output_tokens: 1_048_576,
    ignore_eos: dice.oneIn(2),
    min_tokens: dice.pick([0, 100_000, 1_048_576]),
  }),
};

const messages: Form = {
  good: [
    { model: "claude", max_tokens: 100, system: "Be brief.", messages: [user], stream: false, temperature: 1, stop_sequences: ["xyz"] },
    {
      model: "claude",
      max_tokens: 2000,
      messages: [{ role: "user", content: [{ type: "text", text: "Hi" }] }],
      stream: true,
      thinking: { type: "enabled", budget_tokens: 1024, display: "omitted" },
    },
    {
      model: "claude",
      max_tokens: 100,
      messages: [user],
      tools: [messagesTool(schema)],
      tool_choice: { type: "any", disable_parallel_tool_use: true },
    },
    {
      model: "claude",
      max_tokens: 100,
      messages: [
        user,
        { role: "assistant", content: [{ type: "tool_use", id: "t", name: "look_up", input: { a: 1 } }] },
        { role: "user", content: [{ type: "tool_result", tool_use_id: "t", content: "1" }] },
      ],
      tools: [messagesTool(schema)],
      output_config: { format: { type: "json_schema", schema } },
    },
  ],
  withSchema: (given) => [
    { model: "claude", max_tokens: 1000, messages: [user], output_config: { format: { type: "json_schema", schema: given } } },
    { model: "claude", max_tokens: 1000, messages: [user], tools: [messagesTool(given)], tool_choice: { type: "any" }, stream: true },
  ],
  withTools: (count, named, dice) => ({
    model: "claude",
    max_tokens: 1000,
    messages: [user],
    tools: numbered(count, (name) => messagesTool(schema, name)),
    tool_choice: dice.pick<Json>([{ type: "tool", name: `tool_${count - 1}` }, { type: "any" }, { type: "auto", named }]),
  }),
  withStop: (stops) => ({ model: "claude", max_tokens: 1_000_000, messages: [user], stop_sequences: stops }),
  dearest: (dice) => ({
    model: "claude",
    max_tokens: 1_048_576,
    messages: [user],
    stream: dice.oneIn(2),
    thinking: { type: "enabled", budget_tokens: 1_000_000 },
  }),
};

const gemini: Form = {
  good: [
    {
      contents: [{ role: "user", parts: [{ text: "Hi" }] }],
      systemInstruction: { parts: [{ text: "Be brief." }] },
      generationConfig: { temperature: 1, maxOutputTokens: 50, stopSequences: ["xyz"], candidateCount: 2, seed: 1 },
    },
    {
      contents: [
        { role: "user", parts: [{ text: "Hi" }, { inlineData: { mimeType: "image/png", data: "AAAA" } }] },
        { role: "model", parts: [{ functionCall: { name: "look_up", args: { a: 1 } } }] },
        { role: "user", parts: [{ functionResponse: { name: "look_up", response: { a: 1 } } }] },
      ],
      tools: [{ functionDeclarations: [{ name: "look_up", parametersJsonSchema: schema }] }, { googleSearch: {} }],
      toolConfig: { functionCallingConfig: { mode: "AUTO", allowedFunctionNames: ["look_up"] } },
    },
    { contents: "Hi", generation_config: { thinking_config: { thinking_budget: -1, include_thoughts: true } } },
    { requests: [{ content: { parts: [{ text: "Hi" }] }, outputDimensionality: 4 }], content: { parts: [{ text: "Hi" }] } },
  ],
  withSchema: (given) => [
    {
      contents: [{ parts: [{ text: "Hi" }] }],
      generationConfig: { responseMimeType: "application/json", responseJsonSchema: given },
    },
    {
      contents: [{ parts: [{ text: "Hi" }] }],
      generationConfig: { responseMimeType: "application/json", responseSchema: given },
    },
    {
      contents: [{ parts: [{ text: "Hi" }] }],
      tools: [{ functionDeclarations: [{ name: "look_up", parameters: given }] }],
      toolConfig: { functionCallingConfig: { mode: "ANY" } },
    },
  ],
  withTools: (count, named) => ({
    contents: [{ parts: [{ text: "Hi" }] }],
    tools: [{ functionDeclarations: numbered(count, (name) => ({ name, parameters: schema })) }],
    toolConfig: {
      functionCallingConfig: { mode: "ANY", allowedFunctionNames: Array.from({ length: named }, () => `tool_${count - 1}`) },
    },
  }),
  withStop: (stops) => ({
    contents: [{ parts: [{ text: "Hi" }] }],
    generationConfig: { stopSequences: stops, maxOutputTokens: 1_000_000 },
  }),
  dearest: (dice) => ({
    contents: [{ parts: [{ text: "Hi" }] }],
    generationConfig: {
      candidateCount: 8,
      maxOutputTokens: 1_048_576,
      thinkingConfig: { thinkingBudget: 100_000, includeThoughts: dice.oneIn(2) },
    },
    requests: Array.from({ length: dice.size(1, 100) }, () => ({ content: { parts: [{ text: "a" }] }, outputDimensionality: 3072 })),
  }),
};

const ollama: Form = {
  good: [
    {
      model: "m",
      messages: [{ role: "system", content: "Be brief." }, user],
      options: { temperature: 1, num_predict: 50, stop: ["xyz"], seed: 1 },
    },
    { model: "m", messages: [user], stream: false, think: "low", tools: [chatTool(schema)], keep_alive: "5m" },
    { model: "m", messages: [{ ...user, images: ["AAAA"] }], format: schema },
    { model: "m", prompt: "Hi", system: "Be brief.", suffix: "!", images: ["AAAA"], format: "json", raw: true, think: true },
  ],
  withSchema: (given) => [
    { model: "m", messages: [user], prompt: "Hi", format: given },
    { model: "m", messages: [user], tools: [chatTool(given)] },
  ],
  withTools: (count) => ({ model: "m", messages: [user], tools: numbered(count, (name) => chatTool(schema, name)) }),
  withStop: (stops) => ({ model: "m", messages: [user], prompt: "Hi", options: { stop: stops } }),
  dearest: (dice) => ({
    model: "m",
    messages: [user],
    prompt: "Hi",
    stream: dice.oneIn(2),
    think: "high",
    options: { num_predict: 1_048_576 },
  }),
};

const forms: Readonly<Record<string, Form>> = {
  "/v1beta/models/*": gemini,
  "/v1/models/*": gemini,
  "/api/chat": ollama,
  "/api/generate": ollama,
  "/api/embed": {
    good: [
      { model: "m", input: ["one", "two"], dimensions: 8, truncate: true },
      { model: "m", input: "one", options: {} },
    ],
    dearest: (dice) => ({ model: "m", input: Array.from({ length: dice.size(1, 512) }, () => "a"), dimensions: dice.size(1, 4096) }),
  },
  "/api/embeddings": { good: [{ model: "m", prompt: "one" }] },
  "/api/show": { good: [{ model: "m", verbose: true }] },
  "/v1/chat/completions": chat,
  "/v1/completions": {
    good: [
      { model: "m", prompt: "Once upon a time", max_tokens: 20, n: 2, logprobs: 2, echo: true, stop: ["x"], ...sampling },
      { model: "m", prompt: ["One", "Two"], stream: true, stream_options: { include_usage: true }, best_of: 1 },
      { model: "m", prompt: [1, 2, 3], echo: true },
      {
        model: "m",
        prompt: [
          [1, 2],
          [3, 4],
        ],
        suffix: "!",
      },
    ],
    withStop: (stops) => ({ model: "m", prompt: "Hi", stop: stops }),
    dearest: (dice) => ({
      model: "m",
      prompt: dice.pick<unknown>(["Hi", Array.from({ length: 2048 }, () => "Hi there")]),
      n: dice.pick([1, 16, 128]),
      stream: dice.oneIn(2),
      echo: dice.oneIn(2),
      ...dice.pick<Json>([{ logprobs: 20 }, { max_tokens: 1_048_576, ignore_eos: true }, {}]),
    }),
  },
  "/v1/responses": responses,
  "/v1/responses/input_tokens": { good: responses.good, withSchema: responses.withSchema!, withTools: responses.withTools! },
  "/v1/messages": messages,
  "/v1/messages/count_tokens": { good: messages.good, withSchema: messages.withSchema!, withTools: messages.withTools! },
  "/v1/embeddings": {
    good: [
      { model: "e", input: ["one", "two"], dimensions: 256, encoding_format: "base64", user: "u" },
      { model: "e", input: [[1, 2, 3], [4]], encoding_format: "float" },
    ],
    dearest: (dice) => ({
      model: "e",
      input: Array.from({ length: dice.size(1, 2048) }, () => "a"),
      dimensions: dice.size(1, 4096),
      encoding_format: dice.pick(["float", "base64"]),
    }),
  },
  "/v1/moderations": {
    good: [
      { model: "omni-moderation-latest", input: ["one", "two"] },
      {
        input: [
          { type: "text", text: "one" },
          { type: "image_url", image_url: { url: "https://example.com/a.png" } },
        ],
      },
    ],
    dearest: (dice) => ({ input: Array.from({ length: dice.size(1, 2048) }, () => "a".repeat(dice.size(1, 1000))) }),
  },
  "/detokenize": {
    good: [{ model: "m", tokens: [1, 2, 3] }],
    dearest: (dice) => ({ tokens: Array.from({ length: dice.size(1, 131_072) }, () => 1) }),
  },
  "/tokenize": {
    good: [
      { model: "m", prompt: "Hello there", add_special_tokens: true },
      { model: "m", messages: [user], add_generation_prompt: true },
    ],
  },
  "/admin/config": {
    good: [
      { ttft: 1, itl: 1, "output-tokens": 20, seed: 1 },
      { mode: "echo", profile: "vllm", "tokens-per-chunk": 2, stamps: true },
      { fault: ["rate_limit@10%"], "rate-limit": "rpm=60", "max-model-len": 1000, model: ["a", "b"] },
    ],
  },
};

/** An endpoint that has no form yet is asked as all others are. */
const unknown: Form = {
  good: Object.values(forms).flatMap(({ good }) => good),
  withSchema: (given) => [chat, responses, messages].flatMap(({ withSchema }) => withSchema!(given)),
  withStop: chat.withStop!,
  withTools: chat.withTools!,
};

export function formOf(path: string): Form {
  return Object.hasOwn(forms, path) ? forms[path]! : unknown;
}
