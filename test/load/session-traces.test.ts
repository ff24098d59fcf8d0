/** Traces whose rows are whole sessions, each on a small file of its format. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { readTrace, type TraceRequest } from "../../src/load/trace.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-traces-"));
afterAll(() => rmSync(folder, { recursive: true }));

function read(text: string, name = "trace.json"): TraceRequest[] {
  const path = join(folder, name);
  writeFileSync(path, text);
  return readTrace(path);
}

const request = (more: object = {}): object => ({
  t: 0,
  type: "n",
  model: "m",
  in: 130,
  out: 20,
  hash_ids: [1, 2, 3],
  api_time: 4.1,
  think_time: 0,
  ...more,
});

test("AgentX: turns follow each other after their pauses, and blocks are the session's own", () => {
  const session = {
    id: "trace_1",
    block_size: 64,
    hash_id_scope: "local",
    requests: [
      request(),
      request({ in: 200, hash_ids: [1, 2, 3], think_time: 1.5 }),
      request({ in: 260, hash_ids: null, think_time: 3600 }),
    ],
  };
  // As it is published: one file, over several lines.
  const [first, second, third] = read(JSON.stringify(session, null, 2));
  expect(first).toMatchObject({ atMs: null, inputTokens: 130, outputTokens: 20, after: null, session: "trace_1" });
  expect(first!.blocks).toEqual({ ids: [1, 2, 3], tokens: 64, scope: "trace_1 " });
  // The last block may be left out where it is not full.
  expect(second).toMatchObject({ after: 0, delayMs: 1500, blocks: { ids: [1, 2, 3] } });
  expect(third).toMatchObject({ after: 1, delayMs: 10_000, blocks: null });
});

test("AgentX: a sub-agent follows the request before it, and the next one waits for its end", () => {
  const requests = [
    request(),
    { type: "subagent", t: 1, requests: [request(), request()] },
    { type: "subagent", t: 1, requests: [request()] },
    request(),
  ];
  const rows = read(JSON.stringify({ id: "a", requests }) + "\n" + JSON.stringify({ id: "b", requests: [request()] }), "two.jsonl");
  expect(rows.map(({ after, joins }) => [after, joins])).toEqual([
    [null, undefined],
    [0, undefined],
    [1, undefined],
    [0, undefined],
    [0, [2, 3]],
    [null, undefined],
  ]);
});

test.each([
  [{ requests: [request({ in: "many" })] }, /line 1, request 1: "in" must be a number from 0/],
  [{ requests: [request({ think_time: -1 })] }, /"think_time" must be a number/],
  [{ requests: [request({ in: 20, hash_ids: [1, 2] })] }, /20 tokens are 1 blocks of 64, but "hash_ids" has 2/],
  [{ requests: [request({ hash_ids: ["x"] })] }, /"hash_ids" must be a list of whole numbers/],
])("AgentX: a row that cannot be meant is an error that names its place (%#)", (session, message) => {
  expect(() => read(JSON.stringify(session))).toThrow(message);
});

test("vLLM's recorded conversations: a turn for each answer, as long as that was", () => {
  const messages = [
    { role: "user", content: "What is it?" },
    { role: "assistant", content: "x".repeat(40) },
    { role: "user", content: "And then?" },
    { role: "assistant", content: "y".repeat(80) },
  ];
  const rows = read(JSON.stringify([{ id: "abc", messages }]));
  expect(rows.map(({ outputTokens, after, session, given }) => [outputTokens, after, session, given!.messages.length])).toEqual([
    [10, null, "abc", 1],
    [20, 0, "abc", 3],
  ]);
});

const generator = (more: object = {}): object => ({
  filetype: "generate_conversations",
  num_conversations: 40,
  text_files: ["pg1184.txt"],
  print_stats: false,
  prompt_input: {
    num_turns: { distribution: "uniform", min: 11, max: 18 },
    common_prefix_num_tokens: { distribution: "constant", value: 50 },
    prefix_num_tokens: { distribution: "lognormal", average: 100, max: 500 },
    num_tokens: { distribution: "zipf", alpha: 1.5, max: 30 },
    ...more,
  },
  prompt_output: { num_tokens: { distribution: "poisson", alpha: 60 } },
});

test("vLLM's generated conversations: pairs of messages, lengths by their distributions, the same each time", () => {
  const rows = read(JSON.stringify(generator(), null, 4));
  expect(read(JSON.stringify(generator()))).toEqual(rows);
  const turns = new Map<string, number>();
  for (const { session } of rows) turns.set(session!, (turns.get(session!) ?? 0) + 1);
  expect(turns.size).toBe(40);
  expect([...turns.values()].filter((count) => count < 6 || count > 9)).toEqual([]);
  const outputs = rows.map(({ outputTokens }) => outputTokens!);
  const mean = outputs.reduce((sum, tokens) => sum + tokens, 0) / outputs.length;
  expect(Math.abs(mean - 60)).toBeLessThan(3);
  const firsts = rows.filter(({ after }) => after === null).map(({ given }) => given!.messages[0]!.content as string);
  // All begin with the common prefix, and no two are alike.
  expect(new Set(firsts.map((text) => text.slice(0, 50 * 4 - 1))).size).toBe(1);
  expect(new Set(firsts).size).toBe(40);
});

test.each([
  [{ num_turns: { distribution: "normal" } }, /"num_turns": the distribution must be constant, uniform, lognormal, zipf or poisson/],
  [{ num_turns: undefined }, /"num_turns" must be an object with a distribution/],
  [{ num_tokens: { distribution: "zipf", alpha: 1 } }, /"alpha" must be above 1/],
])("vLLM's generator: what cannot be drawn is an error in one line (%#)", (more, message) => {
  expect(() => read(JSON.stringify(generator(more)))).toThrow(message);
});
