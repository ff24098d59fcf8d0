/** What a request asks for is what its answer says, streamed and not. */
import { describe, expect, test } from "vitest";
import { pieceBytes } from "../../src/core/frames/pieces.ts";
import { leastCpuUs } from "../support/effort.ts";
import { bodyOf, jsonEvents, provider } from "../support/provider.ts";

interface Delta {
  readonly role?: string;
  readonly content?: string | null;
  readonly reasoning?: string;
  readonly tool_calls?: readonly { index: number; id?: string; function: { name?: string; arguments: string } }[];
}
interface ChunkChoice {
  readonly index: number;
  readonly delta: Delta;
  readonly text?: string;
  readonly finish_reason: string | null;
  readonly logprobs?: {
    content: { token: string; logprob: number; bytes: number[]; top_logprobs: { token: string; logprob: number }[] }[];
  } | null;
}
interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly completion_tokens_details?: { reasoning_tokens: number };
}
interface Chunk {
  readonly choices: readonly ChunkChoice[];
  readonly usage?: Usage | null;
}
interface Message {
  readonly content: string | null;
  readonly tool_calls?: readonly { id: string; function: { name: string; arguments: string } }[];
}
interface Whole {
  readonly choices: readonly { message: Message; finish_reason: string }[];
  readonly usage: Usage;
}

const messages = [{ role: "user", content: "Say it as JSON" }];
const chat = "/v1/chat/completions";
const parameters = {
  type: "object",
  properties: { city: { type: "string" }, days: { type: "integer", minimum: 1, maximum: 9 } },
  required: ["city", "days"],
};
const tool = (name: string): object => ({ type: "function", function: { name, parameters } });

function streamed(body: object, headers?: Record<string, string>, options = {}): Chunk[] {
  return jsonEvents(provider(options).body(chat, { model: "m", messages, seed: 5, stream: true, ...body }, headers)) as unknown as Chunk[];
}
function whole(body: object, headers?: Record<string, string>, options = {}): Whole {
  return JSON.parse(provider(options).body(chat, { model: "m", messages, seed: 5, ...body }, headers)) as Whole;
}
const deltas = (chunks: readonly Chunk[], index = 0): ChunkChoice[] =>
  chunks.flatMap(({ choices }) => choices.filter((choice) => choice.index === index));
const textOf = (chunks: readonly Chunk[], index = 0): string =>
  deltas(chunks, index)
    .map(({ delta }) => delta.content ?? "")
    .join("");
const finishOf = (chunks: readonly Chunk[], index = 0): string[] =>
  deltas(chunks, index).flatMap(({ finish_reason }) => finish_reason ?? []);

/** The tool calls that a stream's pieces make up. */
function callsOf(chunks: readonly Chunk[]): { id: string; name: string; arguments: string }[] {
  const calls: { id: string; name: string; arguments: string }[] = [];
  for (const { delta } of deltas(chunks)) {
    for (const piece of delta.tool_calls ?? []) {
      if (piece.id !== undefined) calls[piece.index] = { id: piece.id, name: piece.function.name!, arguments: "" };
      calls[piece.index]!.arguments += piece.function.arguments;
    }
  }
  return calls;
}

describe("tools", () => {
  test.each<[string, object, string[] | null, string]>([
    ["auto", {}, ["a", "b"], "tool_calls"],
    ["required", { tool_choice: "required" }, ["a", "b"], "tool_calls"],
    ["named", { tool_choice: { type: "function", function: { name: "b" } } }, ["b"], "stop"],
    ["none", { tool_choice: "none" }, null, "stop"],
    [
      "allowed tools",
      {
        tool_choice: { type: "allowed_tools", allowed_tools: { mode: "required", tools: [{ type: "function", function: { name: "a" } }] } },
      },
      ["a"],
      "tool_calls",
    ],
    ["auto after a tool's result", { messages: [...messages, { role: "tool", tool_call_id: "x", content: "done" }] }, null, "stop"],
  ])("%s", (_choice, body, allowed, finish) => {
    const request = { tools: [tool("a"), tool("b")], ...body };
    const chunks = streamed(request);
    const calls = callsOf(chunks);
    const answer = whole(request).choices[0]!;
    expect(finishOf(chunks)).toEqual([finish]);
    expect(answer.finish_reason).toBe(finish);
    if (allowed === null) {
      expect(calls).toEqual([]);
      expect(textOf(chunks)).toBe(answer.message.content);
      expect(answer.message.content!.length).toBeGreaterThan(10);
    } else {
      expect(calls.length).toBeGreaterThan(0);
      expect(answer.message.content).toBeNull();
      for (const call of calls) {
        expect(allowed).toContain(call.name);
        expect(JSON.parse(call.arguments)).toEqual({ city: expect.any(String) as string, days: expect.any(Number) as number });
      }
      expect(answer.message.tool_calls!.map(({ id, function: { name, arguments: text } }) => ({ id, name, arguments: text }))).toEqual(
        calls,
      );
      // In pieces: more than one event for the arguments.
      expect(deltas(chunks).filter(({ delta }) => delta.tool_calls?.[0]?.function.arguments).length).toBeGreaterThan(4);
    }
  });

  test("the tier comes back, in every event and body", () => {
    for (const [service_tier, served] of [
      ["flex", "flex"],
      ["priority", "priority"],
      ["auto", "default"],
      [undefined, "default"],
    ] as const) {
      for (const more of [{}, { n: 2 }, { logprobs: true }]) {
        const events = streamed({ service_tier, ...more }) as unknown as { service_tier: string }[];
        expect(new Set(events.map((event) => event.service_tier))).toEqual(new Set([served]));
        expect(whole({ service_tier, ...more })).toMatchObject({ service_tier: served });
      }
    }
  });

  test("an answer that was begun after a tool's result goes on, and calls nothing", () => {
    const result = { role: "tool", tool_call_id: "x", content: "done" };
    for (const end of [
      { role: "assistant", content: "So" },
      { role: "developer", content: "Be brief" },
    ])
      expect(whole({ tools: [tool("a")], messages: [...messages, result, end] }).choices[0]!.finish_reason).toBe("stop");
  });

  test("a text by header stands in for a call that may be made, and is refused beside one that must be", () => {
    const headers = { "x-fakeai-text": "No call" };
    expect(whole({ tools: [tool("a")] }, headers).choices[0]).toMatchObject({ finish_reason: "stop", message: { content: "No call" } });
    for (const tool_choice of ["required", { type: "function", function: { name: "a" } }])
      expect(() => whole({ tools: [tool("a")], tool_choice }, headers)).toThrow("tool_choice demands a call");
  });

  test("parallel calls come now and then, and never without leave", () => {
    const counts = (more: object): number[] =>
      Array.from({ length: 40 }, (_, seed) => callsOf(streamed({ tools: [tool("a")], seed, ...more })).length);
    expect(new Set(counts({}))).toEqual(new Set([1, 2]));
    expect(new Set(counts({ parallel_tool_calls: false }))).toEqual(new Set([1]));
  });

  test("a limit cuts the arguments and says so", () => {
    const chunks = streamed({ tools: [tool("a")], max_tokens: 3 });
    expect(finishOf(chunks)).toEqual(["length"]);
    expect(() => JSON.parse(callsOf(chunks)[0]!.arguments) as unknown).toThrow(SyntaxError);
  });

  test.each<[string, object, string]>([
    ["a choice without tools", { tool_choice: "required" }, "tool_choice"],
    ["an unknown name", { tools: [tool("a")], tool_choice: { type: "function", function: { name: "z" } } }, "tool_choice"],
    ["no name", { tools: [{ type: "function", function: {} }] }, "tools[0].function.name"],
    [
      "a schema without an end",
      {
        tools: [
          { type: "function", function: { name: "f", parameters: { type: "object", properties: { x: { $ref: "#" } }, required: ["x"] } } },
        ],
        tool_choice: "required",
      },
      "tools[0].function.parameters",
    ],
    ["an unknown format", { response_format: { type: "xml" } }, "response_format.type"],
    ["a format without a name", { response_format: { type: "json_schema", json_schema: {} } }, "response_format.json_schema.name"],
    ["five stops", { stop: ["1", "2", "3", "4", "5"] }, "stop"],
    ["an empty stop", { stop: "" }, "stop[0]"],
    ["n of 0", { n: 0 }, "n"],
    ["top_logprobs alone", { top_logprobs: 3 }, "top_logprobs"],
    ["21 top_logprobs", { logprobs: true, top_logprobs: 21 }, "top_logprobs"],
    ["far too many tokens in all", { n: 100, max_tokens: 1_000_000, ignore_eos: true }, "n"],
    ["far too many logprobs", { logprobs: true, top_logprobs: 20, max_tokens: 1000, ignore_eos: true }, "logprobs"],
    ["far too many tokens in one piece", { max_tokens: 200_000, ignore_eos: true }, "stream"],
    ["an unknown effort", { reasoning_effort: "huge" }, "reasoning_effort"],
    ["speech", { modalities: ["text", "audio"], audio: { voice: "alloy", format: "wav" } }, "modalities"],
    ["an unknown modality", { modalities: ["smell"] }, "modalities[0]"],
    ["an unknown verbosity", { verbosity: "loud" }, "verbosity"],
    ["an unknown tier", { service_tier: "gold" }, "service_tier"],
    ["too strong a bias", { logit_bias: { "50256": -101 } }, "logit_bias.50256"],
    ["a bias of no token", { logit_bias: { banana: 1 } }, "logit_bias"],
    ["a bias that is no number", { logit_bias: { "50256": "1" } }, "logit_bias.50256"],
  ])("%s is refused", (_what, body, param) => {
    expect(() => whole(body)).toThrow(expect.objectContaining({ problem: expect.objectContaining({ status: 400, param }) }) as Error);
  });
});

describe("text", () => {
  test.each([{ type: "json_object" }, { type: "json_schema", json_schema: { name: "w", schema: parameters } }])(
    "response_format $type",
    (response_format) => {
      const text = textOf(streamed({ response_format }));
      expect(whole({ response_format }).choices[0]!.message.content).toBe(text);
      expect(Object.keys(JSON.parse(text) as object).length).toBeGreaterThan(1);
    },
  );

  test("n choices differ, advance side by side and each end once", () => {
    const chunks = streamed({ n: 16, max_tokens: 30 }, undefined, { outputTokens: 30 });
    const texts = Array.from({ length: 16 }, (_, index) => textOf(chunks, index));
    expect(new Set(texts).size).toBeGreaterThan(10);
    expect(whole({ n: 16, max_tokens: 30 }, undefined, { outputTokens: 30 }).choices.map(({ message }) => message.content)).toEqual(texts);
    for (let index = 0; index < 16; index++) expect(finishOf(chunks, index)).toEqual(["stop"]);
    const firstTokens = chunks.filter(({ choices }) => choices[0]?.delta.content).slice(0, 16);
    expect(firstTokens.map(({ choices }) => choices[0]!.index)).toEqual(Array.from({ length: 16 }, (_, index) => index));
    expect(whole({ n: 16, max_tokens: 30 }, undefined, { outputTokens: 30 }).usage.completion_tokens).toBe(16 * 30);
  });

  test("a stop sequence ends the text before itself, even inside a token", () => {
    const full = whole({}, undefined, { outputTokens: 60 }).choices[0]!.message.content!;
    for (const stop of [full.slice(20, 24), full.slice(33, 34), [full.slice(50, 55), "never there"]]) {
      const expected = full.slice(0, full.indexOf([stop].flat()[0]!));
      const answer = whole({ stop }, undefined, { outputTokens: 60 });
      expect(answer.choices[0]!.message.content).toBe(expected);
      expect(answer.choices[0]!.finish_reason).toBe("stop");
      expect(textOf(streamed({ stop }, undefined, { outputTokens: 60 }))).toBe(expected);
    }
    expect(whole({ stop: "\u0000" }, undefined, { outputTokens: 60 }).choices[0]!.message.content).toBe(full);
  });

  test("mode echo says the last message of the user", () => {
    const more = {
      messages: [
        { role: "system", content: "S" },
        {
          role: "user",
          content: [
            { type: "text", text: "Hällo " },
            { type: "text", text: "👩‍👩‍👧!" },
          ],
        },
      ],
    };
    expect(whole(more, undefined, { mode: "echo" }).choices[0]!.message.content).toBe("Hällo 👩‍👩‍👧!");
    expect(textOf(streamed(more, undefined, { mode: "echo" }))).toBe("Hällo 👩‍👩‍👧!");
    expect(whole({ ...more, max_tokens: 1 }, undefined, { mode: "echo" }).choices[0]!.finish_reason).toBe("length");
    const text = JSON.parse(provider({ mode: "echo" }).body("/v1/completions", { model: "m", prompt: "Once upon" })) as {
      choices: { text: string }[];
    };
    expect(text.choices[0]!.text).toBe("Once upon");
  });

  test("logprobs follow the tokens", () => {
    const chunks = streamed({ logprobs: true, top_logprobs: 3 });
    const entries = deltas(chunks).flatMap(({ logprobs }) => logprobs?.content ?? []);
    expect(entries.map(({ token }) => token).join("")).toBe(textOf(chunks));
    for (const { token, logprob, bytes, top_logprobs } of entries) {
      expect(logprob).toBeLessThanOrEqual(0);
      expect(Buffer.from(bytes).toString()).toBe(token);
      expect(top_logprobs).toHaveLength(3);
      expect(top_logprobs[0]).toMatchObject({ token, logprob });
      expect(top_logprobs.map((top) => top.logprob)).toEqual(top_logprobs.map((top) => top.logprob).toSorted((a, b) => b - a));
      expect(new Set(top_logprobs.map((top) => top.token)).size).toBe(3);
    }
  });

  test("usage in every chunk grows to the total", () => {
    const chunks = streamed({ stream_options: { include_usage: true, continuous_usage_stats: true } });
    const counts = chunks.map(({ usage }) => usage!.completion_tokens);
    expect(counts).toEqual([0, ...Array.from({ length: 12 }, (_, i) => i + 1), 12, 12]);
  });

  test("include_obfuscation: false leaves the padding out", () => {
    expect(provider().body(chat, { model: "m", messages, stream: true })).toContain("obfuscation");
    expect(provider().body(chat, { model: "m", messages, stream: true, stream_options: { include_obfuscation: false } })).not.toContain(
      "obfuscation",
    );
  });
});

describe("time", () => {
  const dues = (body: object, headers: Record<string, string>, options = {}): number[] => {
    const { frames, schedule } = provider({ ttft: 100, itl: 10, ...options }).plan(
      chat,
      { model: "m", messages, stream: true, ...body },
      headers,
    );
    return Array.from({ length: frames.length }, (_, index) => schedule.nextDueUs(index) / 1000);
  };
  test("several tokens an event: TTFT and the rate of tokens stay", () => {
    expect(dues({}, { "x-fakeai-tokens-per-chunk": "5" })).toEqual([100, 150, 200]);
    const plan = provider().plan(chat, { model: "m", messages, stream: true }, { "x-fakeai-tokens-per-chunk": "5" });
    const body = bodyOf(plan);
    expect(jsonEvents(body)).toHaveLength(5);
    expect(plan.frames.tokens).toBe(2);
  });
  test("hidden reasoning delays the first token that is seen; shown reasoning does not", () => {
    expect(dues({ reasoning_effort: "low" }, {}).slice(0, 2)).toEqual([100 + 64 * 10, 100 + 65 * 10]);
    expect(dues({ reasoning_effort: "low" }, {}, { profile: "vllm" })).toHaveLength(64 + 12);
  });
  test("choices share their times", () => {
    expect(dues({ n: 3 }, {})).toEqual(Array.from({ length: 12 }, (_, i) => 100 + i * 10));
  });
  test("keep-alives come once a second until the first token, and count as no token", () => {
    const plan = provider({ profile: "openrouter", ttft: 2500, itl: 10 }).plan(chat, { model: "m", messages, stream: true });
    const times: unknown[] = [];
    // How many there are is known with the last one.
    for (let index = 0; index < plan.frames.length; index++) {
      const dueMs = plan.schedule.nextDueUs(index) / 1000;
      times.push([dueMs, new TextDecoder().decode(plan.frames.frame(index, 0, 0)).slice(0, 8), plan.frames.tokens]);
    }
    expect(times).toHaveLength(3 + 12);
    expect(times.slice(0, 5)).toEqual([
      [0, ": OPENRO", 0],
      [1000, ": OPENRO", 0],
      [2000, ": OPENRO", 0],
      [2500, 'data: {"', 1],
      [2510, 'data: {"', 1],
    ]);
  });
});

describe("reasoning", () => {
  test("is counted, hidden by OpenAI, shown by vLLM", () => {
    const answer = whole({ reasoning_effort: "low" });
    expect(answer.usage.completion_tokens).toBe(64 + 12);
    expect(answer.usage.completion_tokens_details!.reasoning_tokens).toBe(64);
    const shown = streamed({ reasoning_effort: "low" }, undefined, { profile: "vllm" });
    expect(deltas(shown).filter(({ delta }) => delta.reasoning)).toHaveLength(64);
    expect(textOf(shown)).toBe(answer.choices[0]!.message.content);
  });
  test("a limit that reasoning uses up leaves no text", () => {
    const answer = whole({ reasoning_effort: "low", max_completion_tokens: 40 });
    expect(answer.choices[0]).toMatchObject({ finish_reason: "length", message: { content: "" } });
    expect(answer.usage).toMatchObject({ completion_tokens: 40, completion_tokens_details: { reasoning_tokens: 40 } });
  });
});

describe("embeddings", () => {
  const vectors = (body: object): number[][] =>
    (JSON.parse(provider().body("/v1/embeddings", { model: "e", ...body })) as { data: { embedding: number[] | string }[] }).data.map(
      ({ embedding }) =>
        typeof embedding === "string" ? Array.from(new Float32Array(new Uint8Array(Buffer.from(embedding, "base64")).buffer)) : embedding,
    );
  test("unit vectors that follow from the text alone, in both encodings", () => {
    const [one, two] = vectors({ input: ["one", "two"] }) as [number[], number[]];
    expect(one).toHaveLength(1536);
    expect(Math.hypot(...one)).toBeCloseTo(1, 5);
    const dot = one.reduce((sum, value, index) => sum + value * two[index]!, 0);
    expect(Math.abs(dot)).toBeLessThan(0.2);
    const [again] = vectors({ input: "one", encoding_format: "base64" }) as [number[]];
    again.forEach((value, index) => expect(value).toBeCloseTo(one[index]!, 8));
    expect(vectors({ input: "x", dimensions: 256 })[0]).toHaveLength(256);
    expect(
      new Set(vectors({ input: Array.from({ length: 2000 }, (_, i) => `text ${i}`), dimensions: 96 }).map((vector) => vector.join())).size,
    ).toBe(2000);
  });
  test("a large answer is made in pieces while it is sent, each small, and says the same", () => {
    for (const [profile, encoding_format] of [
      ["openai", "float"],
      ["vllm", "base64"],
    ] as const) {
      const input = Array.from({ length: 2048 }, (_, index) => `text ${index}`);
      const { frames, schedule, head } = provider({ profile }).plan("/v1/embeddings", {
        model: "e",
        input,
        dimensions: 256,
        encoding_format,
      });
      expect(head).toMatchObject({ streamed: true, headers: { "content-type": "application/json" } });
      expect(frames).toMatchObject({ isOneBody: true, tokens: 0 });
      let text = "";
      for (let index = 0; index < frames.length; index++) {
        const piece = frames.frame(index, schedule.nextDueUs(index), 0);
        expect(piece.length).toBeLessThan(2 * pieceBytes);
        text += Buffer.from(piece).toString();
      }
      const answer = JSON.parse(text) as { data: { index: number; embedding: unknown }[] };
      expect(answer.data.map(({ index }) => index)).toEqual([...input.keys()]);
      const small = provider({ profile }).body("/v1/embeddings", {
        model: "e",
        input: input.slice(7, 9),
        dimensions: 256,
        encoding_format,
      });
      expect((JSON.parse(small) as typeof answer).data.map(({ embedding }) => embedding)).toEqual(
        answer.data.slice(7, 9).map(({ embedding }) => embedding),
      );
    }
  });
  test.each<[object, string]>([
    [{}, "input"],
    [{ input: [] }, "input"],
    [{ input: "" }, "input"],
    [{ input: [1.5] }, "input[0]"],
    [{ input: "x", dimensions: 0 }, "dimensions"],
    [{ input: Array.from({ length: 2048 }, () => "x"), dimensions: 4096 }, "input"],
    [{ input: "x", encoding_format: "hex" }, "encoding_format"],
  ])("%j is refused", (body, param) => {
    expect(() => vectors(body)).toThrow(expect.objectContaining({ problem: expect.objectContaining({ status: 400, param }) }) as Error);
  });
});

test("an explicit seed decides every surface", () => {
  const seeded = { "x-fakeai-seed": "9" };
  const tools = [{ type: "function", name: "f", parameters }];
  for (const [path, body] of [
    ["/v1/chat/completions", { messages, n: 2, logprobs: true, stream: true }],
    ["/v1/chat/completions", { messages, tools: [tool("a")] }],
    ["/v1/responses", { input: "x", stream: true, tools, reasoning: { effort: "low" } }],
    ["/v1/responses", { input: "x" }],
    ["/v1/messages", { messages, max_tokens: 20, stream: true, thinking: { type: "adaptive" } }],
    ["/v1/messages", { messages, max_tokens: 90, tools: [{ name: "f", input_schema: parameters }] }],
  ] as const) {
    const first = provider({ seed: 1 });
    first.body(path, { model: "m", ...body });
    const bytes = first.body(path, { model: "m", ...body }, seeded);
    expect(provider({ seed: 2 }).body(path, { model: "m", ...body }, seeded)).toBe(bytes);
    expect(first.body(path, { model: "m", ...body })).not.toBe(bytes);
  }
});

describe("one budget a request", () => {
  const refused = (status: number, param: string, message: RegExp): Error =>
    expect.objectContaining({
      problem: expect.objectContaining({ status, param, message: expect.stringMatching(message) as string }) as unknown,
    }) as Error;

  test("what it spends too much on is named, with the bound", () => {
    const schema = { type: "array", minItems: 1000, items: { type: "string", minLength: 20_000 } };
    const ask = provider();
    const format = { type: "json_schema", json_schema: { name: "s", schema } };
    expect(() => ask.plan(chat, { model: "m", messages, response_format: format })).toThrow(
      refused(400, "response_format.json_schema.schema", /more than 200000 characters/),
    );
    const called = { type: "function", function: { name: "f", parameters: schema } };
    expect(() => ask.plan(chat, { model: "m", messages, tools: [called], tool_choice: "required" })).toThrow(
      refused(400, "tools[0].function.parameters", /more than 200000 characters/),
    );
    expect(() => ask.plan(chat, { model: "m", messages, stop: ["x".repeat(5000)] })).toThrow(refused(400, "stop", /4096/));
    expect(() => ask.plan(chat, { model: "m", messages, stop: "never said" }, { "x-fakeai-output-tokens": "1000000" })).toThrow(
      refused(400, "stop", /more than 524288 characters/),
    );
    expect(() => ask.plan("/v1/messages", { model: "m", messages, max_tokens: 9, stop_sequences: ["x".repeat(5000)] })).toThrow(/4096/);
  });

  test("choices share it", () => {
    const json_schema = { name: "s", schema: { type: "string", minLength: 20_000 } };
    expect(() => provider().plan(chat, { model: "m", messages, n: 20, response_format: { type: "json_schema", json_schema } })).toThrow(
      refused(400, "response_format.json_schema.schema", /characters/),
    );
  });

  test("no token of a given text is without end, and no answer in one piece", () => {
    const headers = { "x-fakeai-text": JSON.stringify(`a${" ".repeat(5000)}${"\u0301".repeat(5000)}`), "x-fakeai-output-tokens": "100000" };
    const answer = provider({ profile: "vllm" });
    const { frames } = answer.plan(chat, { model: "m", messages, stream: true }, headers);
    for (let index = 0; index < 1000; index++) expect(frames.frame(index, 0, 0).length).toBeLessThan(2000);
    expect(() => answer.plan(chat, { model: "m", messages }, headers)).toThrow(refused(400, "stream", /1048576 characters/));
    expect(() => answer.plan("/v1/responses", { model: "m", input: "x", stream: true }, { "x-fakeai-output-tokens": "200000" })).toThrow(
      refused(400, "max_output_tokens", /131072 tokens/),
    );
  });

  test("no event of a stream holds more than a bound, all choices together", () => {
    const plan = (body: object, tokensPerChunk: number) => (): unknown =>
      provider().plan(chat, { model: "m", messages, stream: true, ...body }, { "x-fakeai-tokens-per-chunk": String(tokensPerChunk) });
    expect(plan({ n: 128 }, 64)).not.toThrow();
    expect(plan({ n: 128, logprobs: true, top_logprobs: 20 }, 1)).not.toThrow();
    expect(plan({ n: 128 }, 65)).toThrow(refused(400, "x-fakeai-tokens-per-chunk", /8192/));
    expect(plan({ logprobs: true, top_logprobs: 20 }, 1024)).toThrow(refused(400, "x-fakeai-tokens-per-chunk", /8192/));
  });

  test("what /v1/responses repeats of a request is bounded, as it is printed", () => {
    const nested = (levels: number): unknown =>
      Array.from({ length: levels }).reduce<unknown>(
        (inner) => [inner],
        Array.from({ length: 20_000 }, () => 1),
      );
    expect(() =>
      provider().plan("/v1/responses", {
        model: "m",
        input: "x",
        tools: [{ type: "function", name: "f", strict: null, parameters: { deep: nested(100) } }],
      }),
    ).toThrow(refused(400, "tools", /1048576/));
  });

  test.each([{ toString: 1 }, [[1]], Object.fromEntries([["__proto__", 1]])])("a name that is %j is no fault of ours", (name) => {
    const tools = [tool("f")];
    const called = { type: "function", function: { name } };
    expect(() => provider().plan(chat, { model: "m", messages, tools, tool_choice: called })).toThrow(
      refused(400, "tool_choice.function.name", /expected a string/),
    );
    expect(() => provider().plan(chat, { model: "m", messages, response_format: { type: name } })).toThrow(
      refused(400, "response_format.type", /expected a string/),
    );
    expect(() =>
      provider().plan("/v1/messages", {
        model: "m",
        max_tokens: 9,
        messages,
        tools: [{ name: "f", input_schema: {} }],
        tool_choice: { type: "tool", name },
      }),
    ).toThrow(refused(400, null as never, /^tool_choice\.tool\.name: Input should be a valid string/));
  });

  test("tools are found by name, however many are allowed", () => {
    const ask = provider();
    const plan = (count: number) => (): void => {
      const tools = Array.from({ length: count }, (_, i) => tool(`f${i}`));
      const allowed = Array.from({ length: count }, () => ({ type: "function", function: { name: `f${count - 1}` } }));
      ask.plan(chat, {
        model: "m",
        messages,
        tools,
        tool_choice: { type: "allowed_tools", allowed_tools: { mode: "required", tools: allowed } },
      });
    };
    // Looked for from the first on, ten times as many take a hundred times as long.
    expect(leastCpuUs(plan(4000))).toBeLessThan(40 * leastCpuUs(plan(400)));
  });
});
