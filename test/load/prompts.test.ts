/** Prompts: words that are made where they are sent, and prompts of files. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { countTokens as countO200k } from "gpt-tokenizer/encoding/o200k_base";
import { countTokens as countCl100k } from "gpt-tokenizer/encoding/cl100k_base";
import { afterAll, describe, expect, test } from "vitest";
import { DatasetError, readDataset } from "../../src/load/dataset.ts";
import { sentBody, textOfPieces } from "../../src/load/prompts.ts";

describe("words", () => {
  test("a prompt has just the tokens that were asked for, by both encodings and by its characters", () => {
    const piece = fc.record({ seed: fc.nat({ max: 2 ** 52 }), tokens: fc.integer({ min: 1, max: 300 }) });
    fc.assert(
      fc.property(fc.array(piece, { minLength: 1, maxLength: 3 }), (pieces) => {
        const text = textOfPieces(pieces);
        const tokens = pieces.reduce((sum, one) => sum + one.tokens, 0);
        expect([countO200k(text), countCl100k(text), (text.length + 1) / 4]).toEqual([tokens, tokens, tokens]);
      }),
      { seed: 14, numRuns: 300 },
    );
  });

  test("pieces of one seed begin alike, pieces of others do not", () => {
    expect(textOfPieces([{ seed: 7, tokens: 40 }]).startsWith(textOfPieces([{ seed: 7, tokens: 25 }]))).toBe(true);
    const first = Array.from({ length: 20_000 }, (_, i) => textOfPieces([{ seed: 1_001_000_000 + i, tokens: 3 }]));
    expect(new Set(first).size).toBe(20_000);
    const rounds = [0, 1, 2].map((round) => textOfPieces([{ seed: 1_000_000_000 + round * 1_000_000, tokens: 16 }]));
    expect(new Set(rounds).size).toBe(3);
  });

  test("they are put into the body as it is sent", () => {
    const body = '{"messages":[{"content":""}],"seed":1}';
    const at = body.indexOf('""') + 1;
    const [one, two] = [
      { seed: 1, tokens: 5 },
      { seed: 2, tokens: 6 },
    ];
    const content = (...pieces: { seed: number; tokens: number }[]): string =>
      (JSON.parse(sentBody({ body, prompt: { pieces, at } })) as { messages: { content: string }[] }).messages[0]!.content;
    expect(content(one)).toBe(textOfPieces([one]));
    expect(content(one, two)).toBe(textOfPieces([one, two]));
    expect(content(two, one)).toBe(textOfPieces([two, one]));
    expect(sentBody({ body })).toBe(body);
  });
});

describe("a file of prompts", () => {
  const directory = mkdtempSync(join(tmpdir(), "fakeai-dataset-"));
  afterAll(() => rmSync(directory, { recursive: true }));
  const file = (text: string, name = "prompts"): string => {
    const path = join(directory, name);
    writeFileSync(path, text);
    return path;
  };
  const user = (content: string): object[] => [{ role: "user", content }];

  test("ShareGPT: the first question and the length of its answer; records without one are left out", () => {
    const records = [
      {
        id: "a",
        conversations: [
          { from: "human", value: "Hi" },
          { from: "gpt", value: "Hello there" },
          { from: "human", value: "more" },
        ],
      },
      { id: "b", conversations: [] },
      { id: "c", conversations: [{ from: "gpt", value: "I begin" }] },
      {
        id: "d",
        conversations: [
          { from: "system", value: "Be brief" },
          { from: "human", value: "Why?" },
          { from: "gpt", value: "So" },
        ],
      },
    ];
    const prompts = readDataset(file(JSON.stringify(records, null, 1)));
    expect(prompts.map(({ messages, answer }) => ({ messages, answer }))).toEqual([
      { messages: user("Hi"), answer: "Hello there" },
      { messages: [{ role: "system", content: "Be brief" }, ...user("Why?")], answer: "So" },
    ]);
  });

  test.each<[string, string, string, object[]]>([
    [
      "OpenAI's chats",
      "x.jsonl",
      '{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"Yes"}],"tools":[]}\n\n{"messages":[{"role":"user","content":[{"type":"text","text":"See"}]}]}',
      [
        { messages: user("Hi"), more: { tools: [] }, outputTokens: null, answer: "Yes" },
        { messages: [{ role: "user", content: [{ type: "text", text: "See" }] }], more: {}, outputTokens: null, answer: null },
      ],
    ],
    [
      "OpenAI's batches",
      "x.jsonl",
      '{"custom_id":"1","method":"POST","url":"/v1/chat/completions","body":{"messages":[{"role":"user","content":"Hi"}],"max_tokens":9}}',
      [{ messages: user("Hi"), more: {}, outputTokens: 9, answer: null }],
    ],
    [
      "vLLM's custom set",
      "x.jsonl",
      '{"prompt":"Hi","output_tokens":5}\n{"prompt":"Ho"}\n',
      [
        { messages: user("Hi"), more: {}, outputTokens: 5, answer: null },
        { messages: user("Ho"), more: {}, outputTokens: null, answer: null },
      ],
    ],
    [
      "AIPerf's single turns",
      "x.jsonl",
      '{"text":"Hi","output_length":7}\n',
      [{ messages: user("Hi"), more: {}, outputTokens: 7, answer: null }],
    ],
    [
      "guidellm's JSON lines",
      "x.jsonl",
      '{"prompt":"Hi","output_tokens_count":8,"system_prompt":"Be brief"}\n',
      [{ messages: [{ role: "system", content: "Be brief" }, ...user("Hi")], more: {}, outputTokens: 8, answer: null }],
    ],
    [
      "guidellm's CSV",
      "x.csv",
      'prompt,output_tokens_count\n"Hi, you",8\nHo,\n',
      [
        { messages: user("Hi, you"), more: {}, outputTokens: 8, answer: null },
        { messages: user("Ho"), more: {}, outputTokens: null, answer: null },
      ],
    ],
    [
      "a text",
      "x.txt",
      "Hi, you\r\n\r\nHo\n",
      [
        { messages: user("Hi, you"), more: {}, outputTokens: null, answer: null },
        { messages: user("Ho"), more: {}, outputTokens: null, answer: null },
      ],
    ],
  ])("%s are read", (_what, name, text, prompts) => {
    expect(readDataset(file(text, name))).toEqual(prompts);
  });

  test.each([
    ["x.txt", "\n\n", /holds no prompt/],
    ["x.jsonl", '{"prompt":"a"}\n{"prompt":5}\n', /line 2: "prompt" must be a text/],
    ["x.jsonl", '{"prompt":"a"}\n{"prompt"\n', /line 2: not JSON/],
    ["x.jsonl", '{"id":1}\n', /line 1: no member is called/],
    ["x.jsonl", '{"prompt":"a","output_tokens":1e9}\n', /line 1: "output_tokens" must be a whole number of tokens/],
    ["x.jsonl", '{"prompt":"a","output_tokens":"5"}\n', /line 1: "output_tokens"/],
    ["x.json", '[{"conversations":[{"from":"human"}]}]', /line 1: a turn needs "from" and "value"/],
    ["x.json", '[\n{"messages":[5]}]', /line 2: a message has no role/],
    ["x.csv", "a,b\n1,2\n", /no column is called/],
  ])("%s %j is refused in one line", (name, text, message) => {
    const path = file(text, name);
    expect(() => readDataset(path)).toThrow(DatasetError);
    expect(() => readDataset(path)).toThrow(message);
    expect(() => readDataset(path)).toThrow(/^[^\n]+$/);
  });

  test("whatever a file holds, it is read or refused in one line", () => {
    const value = fc.constantFrom(
      '"Hi"',
      '""',
      "5",
      "null",
      "[]",
      "{}",
      '[{"role":"user","content":"a"}]',
      '[{"from":"human","value":"a"},{"from":"gpt","value":"b"}]',
      "[null]",
    );
    const name = fc.constantFrom("prompt", "text", "messages", "conversations", "body", "output_tokens", "system", "tools");
    const record = fc
      .array(fc.tuple(name, value), { maxLength: 3 })
      .map((all) => `{${all.map(([key, one]) => `"${key}":${one}`).join(",")}}`);
    const text = fc.oneof(
      fc.array(record, { maxLength: 3 }).map((all) => all.join("\n")),
      fc.array(record, { maxLength: 3 }).map((all) => `[${all.join(",")}]`),
      fc.string({ unit: fc.constantFrom("[", "{", "}", '"', "\n", ",", "a", "prompt"), maxLength: 20 }),
    );
    let read = 0;
    fc.assert(
      fc.property(text, fc.constantFrom("x.jsonl", "x.csv", "x.txt"), (given, path) => {
        try {
          const prompts = readDataset(file(given, path));
          expect(prompts.every(({ messages }) => messages.length > 0)).toBe(true);
          read += prompts.length;
        } catch (error) {
          expect(error).toBeInstanceOf(DatasetError);
          expect((error as Error).message).toMatch(/^[^\n\r]+$/);
        }
      }),
      { seed: 14, numRuns: 500 },
    );
    expect(read).toBeGreaterThan(0);
  });
});
