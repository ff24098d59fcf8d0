/** What prompts the arms of a bench send: other ones for each request, the same ones for each arm. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { serialize } from "node:v8";
import { afterAll, describe, expect, test } from "vitest";
import { createServer } from "../../src/index.ts";
import { generate } from "../../src/load/generator.ts";
import type { PlannedRequest } from "../../src/load/job.ts";
import { sentBody } from "../../src/load/prompts.ts";
import { promptsOf, requestsOf, warmupOf } from "../../src/runner/plan/requests.ts";
import { defaultWorkload, type Workload } from "../../src/runner/plan/scenario.ts";
import { traceOf, traceSeconds } from "../../src/runner/plan/trace.ts";
import { jobOn } from "../support/loads.ts";

const wording = { model: "m", own: true, body: null, oneBody: false, arm: "h1" };
const workload: Workload = { ...defaultWorkload, inputTokens: 64, outputTokens: 2, requests: 40, warmup: 5 };

const promptIn = (request: PlannedRequest): string =>
  (JSON.parse(sentBody(request)) as { messages: { content: string }[] }).messages.map(({ content }) => content).join("\n");
const promptsIn = (asked: Workload, round: number, arm = "h1"): string[] =>
  requestsOf(asked, { ...wording, arm }, 1, round, null).map(promptIn);

describe("prompts of a round", () => {
  test("each request has a prompt of its own, of the length asked for; arms share them, rounds and warm-ups do not", () => {
    const first = promptsIn(workload, 0);
    expect(new Set(first).size).toBe(40);
    expect(first.every((text) => text.split(" ").length === 64)).toBe(true);
    expect(promptsIn(workload, 0, "h2c")).toEqual(first);
    const others = [...promptsIn(workload, 1), ...warmupOf(workload, wording, 1, 0).map(promptIn)];
    expect(others.some((text) => first.includes(text))).toBe(false);
    expect(promptsOf(workload, wording, 1)).toEqual({
      source: "words",
      file: null,
      seed: 1,
      requests: 40,
      distinct: 40,
      tokens: { mean: 64, p50: 64, max: 64 },
      tokensCountedBy: "words",
      sharedPrefix: 0,
      cacheBust: null,
    });
  });

  test("a driver that repeats one request says one prompt", () => {
    const one = requestsOf(workload, { ...wording, oneBody: true }, 1, 0, null);
    expect(new Set(one.map(({ body }) => body)).size).toBe(1);
    expect(one[0]!.prompt).toBeUndefined();
    expect(promptsOf(workload, { ...wording, oneBody: true }, 1)!.distinct).toBe(1);
  });

  test("lengths follow a distribution, the same in every arm", () => {
    const spread = { ...workload, inputTokens: "uniform(50,150)", requests: 400 };
    const lengths = promptsIn(spread, 0).map((text) => text.split(" ").length);
    expect(promptsIn(spread, 0, "h2c").map((text) => text.split(" ").length)).toEqual(lengths);
    const mean = lengths.reduce((sum, one) => sum + one, 0) / 400;
    // Five standard errors of a uniform over 100.
    expect(Math.abs(mean - 100)).toBeLessThan((5 * 100) / Math.sqrt(12 * 400));
    expect(Math.min(...lengths)).toBeGreaterThanOrEqual(50);
    expect(Math.max(...lengths)).toBeLessThanOrEqual(150);
    expect(promptsOf(spread, wording, 1)!.tokens.mean).toBeCloseTo(mean, 9);
  });

  test("a shared prefix stands before every prompt, in all rounds", () => {
    const shared = { ...workload, sharedPrefix: 100 };
    const all = [...promptsIn(shared, 0), ...promptsIn(shared, 1)].map((text) => text.split(" "));
    expect(all.every((words) => words.length === 164)).toBe(true);
    expect(new Set(all.map((words) => words.slice(0, 100).join(" "))).size).toBe(1);
    expect(new Set(all.map((words) => words.slice(100).join(" "))).size).toBe(80);
  });

  test("cacheBust: arms and rounds begin unlike, requests of one alike", () => {
    const bust = { ...workload, cacheBust: true };
    const starts = [promptsIn(bust, 0), promptsIn(bust, 1), promptsIn(bust, 0, "h2c")].map(
      (prompts) => new Set(prompts.map((text) => text.split(" ").slice(0, 4).join(" "))),
    );
    expect(starts.map(({ size }) => size)).toEqual([1, 1, 1]);
    expect(new Set(starts.flatMap((set) => Array.from(set))).size).toBe(3);
    const rest = (arm: string): string[] => promptsIn(bust, 0, arm).map((text) => text.split(" ").slice(4).join(" "));
    expect(rest("h1")).toEqual(rest("h2c"));
  });

  test("a job names its prompts and does not hold them", () => {
    const long = requestsOf({ ...workload, inputTokens: 20_000, requests: 1000 }, wording, 1, 0, null);
    expect(sentBody(long[999]!).length).toBeGreaterThan(79_000);
    expect(serialize(long).length).toBeLessThan(1_000_000);
  });
});

describe("prompts of a file", () => {
  const directory = mkdtempSync(join(tmpdir(), "fakeai-prompts-"));
  afterAll(() => rmSync(directory, { recursive: true }));
  const path = join(directory, "prompts.jsonl");
  const lines = Array.from({ length: 60 }, (_, i) =>
    JSON.stringify({ prompt: `Question ${i}?`, ...(i % 2 === 0 ? { output_tokens: 5 } : {}) }),
  );
  writeFileSync(path, lines.join("\n"));
  const asked: Workload = { ...workload, dataset: { file: path } };

  test("they are sent in the order of the file, the same in every arm, with the lengths that the file says", () => {
    expect(promptsIn(asked, 0).slice(0, 3)).toEqual(["Question 0?", "Question 1?", "Question 2?"]);
    expect(promptsIn(asked, 0, "h2c")).toEqual(promptsIn(asked, 0));
    expect(promptsIn(asked, 1).slice(0, 21).at(-1)).toBe("Question 0?");
    expect(
      requestsOf(asked, wording, 1, 0, null)
        .slice(0, 2)
        .map(({ tokens }) => tokens),
    ).toEqual([5, 2]);
    expect(new Set(warmupOf(asked, wording, 1, 0).map(({ tokens }) => tokens))).toEqual(new Set([2]));
    const ordered = { ...asked, dataset: { file: path, outputTokens: 9 } };
    expect(new Set(requestsOf(ordered, wording, 1, 0, null).map(({ tokens }) => tokens))).toEqual(new Set([9]));
    expect(promptsOf(asked, wording, 1)).toMatchObject({
      source: "dataset",
      file: "prompts.jsonl",
      requests: 40,
      distinct: 40,
      tokensCountedBy: "characters",
    });
  });

  test("words of a shared prefix stand before them, in messages and in a prompt", () => {
    const shared = { ...asked, sharedPrefix: 3 };
    expect(promptsIn(shared, 0)[1]).toMatch(/^[a-z]{3} [a-z]{3} [a-z]{3}\n\nQuestion 1\?$/);
    const [legacy] = requestsOf({ ...shared, path: "/v1/completions" }, wording, 1, 0, null);
    expect((JSON.parse(sentBody(legacy!)) as { prompt: string }).prompt).toMatch(/^[a-z]{3} [a-z]{3} [a-z]{3}\n\nQuestion 0\?$/);
  });
});

describe("prompts of a trace", () => {
  const directory = mkdtempSync(join(tmpdir(), "fakeai-trace-prompts-"));
  afterAll(() => rmSync(directory, { recursive: true }));
  let files = 0;
  const replayed = (rows: readonly object[]): Workload => {
    // A file is read once in a run.
    const file = join(directory, `${files++}.jsonl`);
    writeFileSync(file, rows.map((row) => JSON.stringify(row)).join("\n"));
    return { ...workload, mode: "open", trace: { file, speed: 2, seconds: null, limit: null } };
  };
  const wordsIn = (asked: Workload, round = 0): string[][] => promptsIn(asked, round).map((text) => text.split(" "));

  test("equal hash_ids are equal text, as far as they are equal", () => {
    const blocks = [[1, 2], [1, 3], [1, 2, 4], [5]];
    const rows = blocks.map((hash_ids, i) => ({ timestamp: i, input_length: hash_ids.length * 512 - 12, output_length: 1, hash_ids }));
    const [a, b, c, d] = wordsIn(replayed(rows));
    expect([a, b, c, d].map((words) => words!.length)).toEqual([1012, 1012, 1524, 500]);
    const equal = (one: string[], other: string[]): number => one.findIndex((word, i) => word !== other[i]);
    expect(equal(a!, b!)).toBeGreaterThanOrEqual(512);
    expect(equal(a!, b!)).toBeLessThan(512 + 3);
    expect(c!.slice(0, 1012)).toEqual(a);
    expect(equal(d!, a!)).toBeLessThan(3);
    expect(wordsIn(replayed(rows), 1)[0]!.slice(0, 16)).not.toEqual(a!.slice(0, 16));
  });

  test("turns of a session begin with the turn before, and follow it", () => {
    const rows = [
      { session_id: "a", timestamp: 0, input_length: 100, output_length: 3 },
      { session_id: "a", delay: 500, input_length: 150, output_length: 4 },
      { session_id: "b", timestamp: 1000, input_length: 100, output_length: 5 },
      { timestamp: 2000, input_length: 100, output_length: 6 },
    ];
    const asked = replayed(rows);
    const [a0, a1, b, alone] = wordsIn(asked);
    expect(a1!.slice(0, 100)).toEqual(a0);
    expect(b).not.toEqual(a0);
    expect(alone).not.toEqual(b);
    const planned = requestsOf(asked, wording, 1, 0, null);
    expect(planned.map(({ atUs, after, delayUs, tokens }) => ({ atUs, after, delayUs, tokens }))).toEqual([
      { atUs: 0, tokens: 3 },
      { after: 0, delayUs: 250_000, tokens: 4 },
      { atUs: 500_000, tokens: 5 },
      { atUs: 1_000_000, tokens: 6 },
    ]);
    expect(promptsOf(asked, wording, 1)).toMatchObject({ source: "trace", distinct: 4, requests: 4, tokens: { max: 150 } });
  });

  test("a part of a trace keeps no turn without the one before it", () => {
    const rows = [
      { chat_id: 1, parent_chat_id: -1, timestamp: 0, input_length: 1, output_length: 1 },
      { chat_id: 2, parent_chat_id: -1, timestamp: 1, input_length: 1, output_length: 1 },
      { chat_id: 3, parent_chat_id: 2, timestamp: 2, input_length: 1, output_length: 1 },
      { chat_id: 4, parent_chat_id: 1, timestamp: 3, input_length: 1, output_length: 1 },
    ];
    const trace = replayed(rows).trace!;
    expect(traceOf({ ...trace, limit: 3 }).map(({ after }) => after)).toEqual([null, null, 1]);
    expect(traceOf({ ...trace, seconds: 2.5 })).toHaveLength(3);
    expect(traceSeconds(traceOf(trace))).toBe(1.5);
  });
});

test("a server with a prefix cache sees the difference", { timeout: 60_000 }, async () => {
  /** Share of the prompt tokens of two arms, one after the other, that the cache has had. */
  const hitShare = async (asked: Workload): Promise<number> => {
    const server = await createServer({ protocol: "h1", scheduler: "batched", stepTime: 1, stamps: true });
    try {
      for (const arm of ["h1", "h2c"]) {
        const requests = requestsOf(asked, { ...wording, arm }, 1, 0, null);
        const job = jobOn(server, "h1", null, { requests, requestTimeoutMs: 30_000, stream: true });
        const report = await generate(job, { signal: new AbortController().signal, onPhase: async () => {}, onProgress() {} });
        expect(report.requests).toMatchObject({ completed: 40, failed: 0 });
      }
      const metrics = await (await fetch(`${server.urls.h1!}/metrics`)).text();
      const read = (name: string): number => Number(new RegExp(`^vllm:prefix_cache_${name}_total\\S* (\\S+)$`, "m").exec(metrics)![1]);
      return read("hits") / read("queries");
    } finally {
      await server.close(0);
    }
  };
  const stream: Workload = { ...workload, stream: true };
  // The second arm finds all but the last block of what the first one asked.
  const same = await hitShare(stream);
  expect(same).toBeGreaterThan(0.3);
  expect(same).toBeLessThan(0.5);
  expect(await hitShare({ ...stream, cacheBust: true })).toBe(0);
  const shared = await hitShare({ ...stream, cacheBust: true, sharedPrefix: 192 });
  expect(shared).toBeGreaterThan(0.6);
  expect(shared).toBeLessThan(0.75);
});
