/** What a prompt is worth on every surface, what does not fit, and several prompts in one request. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { jsonEvents, provider } from "../support/provider.ts";

type Answer = Readonly<Record<string, unknown>> & {
  readonly usage: Readonly<Record<string, number>>;
  readonly error: Readonly<Record<string, unknown>>;
  readonly count: number;
  readonly tokens: readonly number[];
  readonly token_strs: readonly string[];
};

async function post({ urls }: FakeAiServer, path: string, body: object): Promise<Answer> {
  const headers = { "anthropic-version": "2023-06-01" };
  const answer = await fetch(`${urls.h1}${path}`, { method: "POST", headers, body: JSON.stringify({ model: "m", ...body }) });
  return (await answer.json()) as Answer;
}

const text = "antidisestablishmentarianism, 2 + 2 = 4: お誕生日おめでとう 👩‍👩‍👧";
const parameters = { type: "object", properties: { city: { type: "string" } } };

describe.each(["o200k_base", "cl100k_base", undefined] as const)("tokenizer %s", (tokenizer) => {
  let server: FakeAiServer;
  beforeAll(async () => {
    server = await createServer({ ...(tokenizer && { tokenizer }), outputTokens: 3 });
  });
  afterAll(() => server.close(0));

  test("/tokenize counts what the usage of completions counts", async () => {
    for (const prompt of [text, "x", "a\ud83d", "1234👩", "<|endoftext|>"]) {
      const { usage } = await post(server, "/v1/completions", { prompt });
      const { count, tokens, token_strs } = await post(server, "/tokenize", { prompt, return_token_strs: true });
      expect([count, tokens.length, token_strs.length]).toEqual([usage["prompt_tokens"], count, count]);
      // No encoding knows half a character.
      if (prompt !== "a\ud83d") expect(token_strs.join("")).toBe(prompt);
    }
    const chat = {
      messages: [
        { role: "system", content: "You are helpful.", name: "boss" },
        {
          role: "user",
          content: [
            { type: "text", text },
            { type: "text", text: "more" },
          ],
        },
      ],
    };
    const tools = tokenizer && { tools: [{ type: "function", function: { name: "weather", parameters } }] };
    for (const body of [chat, { ...chat, ...tools }]) {
      const { usage } = await post(server, "/v1/chat/completions", body);
      expect((await post(server, "/tokenize", body)).count).toBe(usage["prompt_tokens"]);
    }
  });

  test("texts on every surface", async () => {
    const worth = (await post(server, "/tokenize", { prompt: text })).count;
    const chat = await post(server, "/v1/chat/completions", { messages: [{ role: "user", content: text }] });
    const response = await post(server, "/v1/responses", { input: text });
    const message = await post(server, "/v1/messages", { max_tokens: 9, messages: [{ role: "user", content: text }] });
    const counted = await post(server, "/v1/messages/count_tokens", { messages: [{ role: "user", content: text }] });
    expect(counted).toEqual({ input_tokens: worth });
    const embedding = await post(server, "/v1/embeddings", { input: [text, text], dimensions: 2 });
    // OpenAI puts three tokens and the role around a message, and three before the answer.
    const around = tokenizer === undefined ? 0 : 7;
    expect(chat.usage["prompt_tokens"]).toBe(worth + around);
    expect(response.usage["input_tokens"]).toBe(worth + around);
    expect(message.usage["input_tokens"]).toBe(worth);
    expect(embedding.usage["prompt_tokens"]).toBe(2 * worth);
    const instructed = await post(server, "/v1/responses", {
      instructions: text,
      input: [
        { role: "user", content: [{ type: "input_text", text }] },
        { type: "function_call_output", call_id: "c", output: text },
      ],
    });
    expect(instructed.usage["input_tokens"]! - 3 * worth).toBe(tokenizer === undefined ? 0 : 3 + 3 * 4);
    const system = await post(server, "/v1/messages", { max_tokens: 9, system: text, messages: [{ role: "user", content: text }] });
    expect(Math.abs(system.usage["input_tokens"]! - 2 * worth)).toBeLessThanOrEqual(1);
  });
});

test("real ids with --tokenizer", async () => {
  await using server = await createServer({ tokenizer: "o200k_base", maxModelLen: 1000 });
  expect(await post(server, "/tokenize", { prompt: "hello world", return_token_strs: true })).toEqual({
    count: 2,
    max_model_len: 1000,
    tokens: [24912, 2375],
    token_strs: ["hello", " world"],
  });
  expect(await post(server, "/tokenize", { messages: [{ role: "user", content: "hello" }] })).toMatchObject({
    tokens: [200264, 1428, 200266, 24912, 200265, 200264, 173781, 200266],
    token_strs: null,
  });
  const echoed = await post(server, "/v1/completions", { prompt: [24912, 2375, 200_019], echo: true, max_tokens: 0 });
  expect(echoed).toMatchObject({ choices: [{ text: "hello world" }] });
});

test("--max-model-len holds on every surface, in its provider's words", async () => {
  await using server = await createServer({ maxModelLen: 50, outputTokens: 400 });
  const long = "x".repeat(204);
  const short = "x".repeat(120);
  const message = (content: string, max_tokens: number): object => ({ max_tokens, messages: [{ role: "user", content }] });
  expect((await post(server, "/v1/responses", { input: long })).error).toMatchObject({
    message: "Your input exceeds the context window of this model. Please adjust your input and try again.",
    code: "context_length_exceeded",
  });
  expect(await post(server, "/v1/responses", { input: short })).toMatchObject({ status: "incomplete", usage: { output_tokens: 20 } });
  expect((await post(server, "/v1/messages", message(long, 1))).error["message"]).toBe("prompt is too long: 51 tokens > 50 maximum");
  expect((await post(server, "/v1/messages", message(short, 21))).error["message"]).toBe(
    "input length and `max_tokens` exceed context limit: 30 + 21 > 50, decrease input length or `max_tokens` and try again",
  );
  expect(await post(server, "/v1/messages", message(short, 20))).toMatchObject({ usage: { output_tokens: 20 } });
  expect((await post(server, "/v1/embeddings", { input: ["x", long] })).error["message"]).toBe(
    "This model's maximum context length is 50 tokens, however you requested 51 tokens (51 in your prompt; 0 for the completion). Please reduce your prompt; or completion length.",
  );
  expect(await post(server, "/v1/embeddings", { input: [short, short], dimensions: 2 })).toMatchObject({ usage: { prompt_tokens: 60 } });
  expect((await post(server, "/v1/completions", { prompt: ["x", long] })).error["code"]).toBe("context_length_exceeded");
  expect((await post(server, "/tokenize", { prompt: "x" }))["max_model_len"]).toBe(50);
});

interface TextChoice {
  readonly index: number;
  readonly text: string;
  readonly finish_reason: string | null;
  readonly logprobs: {
    readonly tokens: readonly string[];
    readonly token_logprobs: readonly (number | null)[];
    readonly top_logprobs: readonly (object | null)[];
    readonly text_offset: readonly number[];
  } | null;
}

describe("legacy completions", () => {
  const path = "/v1/completions";
  const whole = (body: object, options = {}): { choices: readonly TextChoice[]; usage: Readonly<Record<string, number>> } =>
    JSON.parse(provider(options).body(path, { model: "m", seed: 3, ...body })) as never;
  const streamed = (body: object, options = {}): TextChoice[] =>
    jsonEvents(provider(options).body(path, { model: "m", seed: 3, stream: true, ...body })).flatMap(
      ({ choices }) => choices as TextChoice[],
    );
  const joined = (choices: readonly TextChoice[], index: number): string =>
    choices
      .filter((choice) => choice.index === index)
      .map((choice) => choice.text)
      .join("");

  test("several prompts: n choices for each, in order, streamed and not", () => {
    const body = { prompt: ["One", "Two two", "Three"], n: 2 };
    for (const options of [{}, { mode: "echo" as const }]) {
      const { choices, usage } = whole(body, options);
      expect(choices.map(({ index }) => index)).toEqual([0, 1, 2, 3, 4, 5]);
      expect(usage["prompt_tokens"]).toBe(1 + 2 + 2);
      const pieces = streamed(body, options);
      for (const { index, text: said } of choices) expect(joined(pieces, index)).toBe(said);
    }
    const said = ["One", "One", "Two two", "Two two", "Three", "Three"];
    expect(whole(body, { mode: "echo" }).choices.map((choice) => choice.text)).toEqual(said);
    expect(whole({ prompt: [[1, 2], [3]] }).usage["prompt_tokens"]).toBe(3);
    expect(whole({}).usage["prompt_tokens"]).toBe(1);
  });

  test("echo: the prompt comes before its completion and is no output", () => {
    const plain = whole({ prompt: ["Prompt 👩‍👩‍👧 ", "B"] });
    const body = { prompt: ["Prompt 👩‍👩‍👧 ", "B"], echo: true };
    const { choices, usage } = whole(body);
    expect(choices.map((choice) => choice.text)).toEqual(plain.choices.map((choice, index) => body.prompt[index]! + choice.text));
    expect(usage).toEqual(plain.usage);
    const pieces = streamed(body);
    for (const choice of choices) {
      expect(joined(pieces, choice.index)).toBe(choice.text);
      expect(pieces.find(({ index }) => index === choice.index)!.text).toBe(body.prompt[choice.index]);
    }
    expect(whole({ prompt: "Only this", echo: true, max_tokens: 0 })).toMatchObject({
      choices: [{ text: "Only this", finish_reason: "length" }],
      usage: { prompt_tokens: 3, completion_tokens: 0 },
    });
  });

  test("echo with logprobs: one for each token of prompt and completion, none for the first", () => {
    for (const [prompt, promptTokens] of [
      ["The prompt", 3],
      [[11, 22, 33, 44], 4],
    ] as const) {
      const body = { prompt, echo: true, logprobs: 2, max_tokens: 5, ignore_eos: true };
      const { text: said, logprobs } = whole(body).choices[0]!;
      expect(logprobs!.tokens).toHaveLength(promptTokens + 5);
      expect(logprobs!.tokens.join("")).toBe(said);
      expect([logprobs!.token_logprobs[0], logprobs!.top_logprobs[0]]).toEqual([null, null]);
      expect(logprobs!.token_logprobs.slice(1).every((value) => value! <= 0)).toBe(true);
      logprobs!.tokens.forEach((token, index) => expect(said.startsWith(token, logprobs!.text_offset[index])).toBe(true));
      const pieces = streamed(body).flatMap((choice) => choice.logprobs?.tokens ?? []);
      expect(pieces).toEqual(logprobs!.tokens);
    }
  });

  test.each<[string, object, string]>([
    ["no prompt in the list", { prompt: [] }, "prompt"],
    ["neither text nor ids", { prompt: ["a", 1] }, "prompt[1]"],
    ["half a token", { prompt: [1, 1.5] }, "prompt[0]"],
    ["too many prompts", { prompt: Array.from({ length: 2049 }, () => "x") }, "prompt"],
    ["too many choices in all", { prompt: Array.from({ length: 100 }, () => "x"), n: 30 }, "n"],
    ["too much to repeat", { prompt: "x".repeat(100_000), n: 100, echo: true }, "echo"],
    ["too many logprobs to repeat", { prompt: "x".repeat(100_000), logprobs: 20, echo: true }, "echo"],
  ])("%s is refused", (_what, body, param) => {
    expect(() => whole(body)).toThrow(expect.objectContaining({ problem: expect.objectContaining({ status: 400, param }) }) as Error);
  });
});

test("a tool must be called, but none is a function", () => {
  const body = { model: "m", tools: [{ type: "custom", custom: { name: "c" } }], tool_choice: "required" };
  expect(() => provider().body("/v1/chat/completions", { ...body, messages: [{ role: "user", content: "x" }] })).toThrow(
    /Only tools of the type 'function' can be called here/,
  );
  const responses = { model: "m", input: "x", tools: [{ type: "web_search" }], tool_choice: "required" };
  expect(() => provider().body("/v1/responses", responses)).toThrow(/Only tools of the type 'function'/);
});

test("functions are refused in words that help", () => {
  const body = { model: "m", messages: [{ role: "user", content: "x" }], functions: [{ name: "f" }] };
  expect(() => provider().body("/v1/chat/completions", body)).toThrow(/'functions' is not supported here; use 'tools'/);
});
