/** The batched scheduler behind real sockets: every protocol, every endpoint, its refusals and its metrics. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createServer, type ServerOptions } from "../../src/index.ts";
import { startServerChild } from "../../src/runner/processes/target.ts";

import { chat, eventsOf } from "../support/chat.ts";
import { start, type Started, targets } from "../support/targets.ts";
import { eventually, sleep } from "../support/wait.ts";

const batched: ServerOptions = {
  scheduler: "batched",
  stepTime: 5,
  stepTimePerSeq: 0,
  prefillTimePerToken: 0.1,
  maxNumSeqs: 4,
  outputTokens: 6,
  stamps: true,
};

interface Stamped {
  readonly type?: string;
  readonly fakeai?: { readonly due: number; readonly sent: number };
  readonly choices?: readonly { readonly delta?: { readonly content?: string }; readonly text?: string }[];
}

const events = (body: string): Stamped[] =>
  eventsOf(body)
    .map((event) => event.replace(/^event: .*\n/, "").replace(/^data: /, ""))
    .filter((data) => data !== "[DONE]")
    .map((data) => JSON.parse(data) as Stamped);

/** When each token was due, microseconds. */
const dueOf = (body: string): number[] =>
  events(body)
    .filter(({ choices, ...event }) =>
      choices === undefined
        ? "delta" in event && event.type !== "message_delta"
        : (choices[0]?.delta?.content ?? choices[0]?.text ?? "") !== "",
    )
    .map(({ fakeai }) => fakeai!.due);

/** The value of a sample in an exposition. */
function sample(exposition: string, name: string): number {
  const found = exposition.split("\n").find((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  if (found === undefined) throw new Error(`no ${name}`);
  return Number(found.slice(found.lastIndexOf(" ") + 1));
}

async function metric(started: Started, name: string): Promise<number> {
  return sample((await started.ask({ path: "/metrics" })).body, name);
}

const messages = [{ role: "user", content: "Hello there" }];
const streams: readonly [path: string, body: object, headers?: Record<string, string>][] = [
  ["/v1/chat/completions", chat({ stream: true })],
  ["/v1/completions", { model: "m", prompt: "Hello there", stream: true }],
  ["/v1/responses", { model: "m", input: "Hello there", stream: true }],
  ["/v1/messages", { model: "m", max_tokens: 6, messages, stream: true }, { "anthropic-version": "2023-06-01" }],
];

describe.each(targets.map((target) => [target.name, target] as const))("%s", (_name, target) => {
  let started: Started;
  beforeAll(async () => {
    started = await start(target, batched);
  });
  afterAll(() => started.stop());

  test("all that run together get their tokens at the same steps, whatever they came to; none comes before its step", async () => {
    const answers = await Promise.all(streams.map(([path, body, headers = {}]) => started.ask({ path, body, headers })));
    const due = answers.map(({ body, status }) => {
      expect(status).toBe(200);
      return dueOf(body);
    });
    for (const times of due) {
      expect(times).toHaveLength(6);
      // One step each: 5 ms, or a little more with a prompt in it.
      for (let i = 1; i < times.length; i++) expect(times[i]! - times[i - 1]!).toBeGreaterThanOrEqual(4999);
    }
    const steps = new Set(due.flat());
    // Four streams of six tokens: far fewer steps than tokens.
    expect(steps.size).toBeLessThanOrEqual(15);
    for (const { body } of answers) {
      for (const { fakeai } of events(body).filter((event) => event.fakeai)) expect(fakeai!.sent).toBeGreaterThanOrEqual(fakeai!.due);
    }
  });

  test("answers in one piece, several choices and embeddings take their steps too", async () => {
    const asks: [string, object][] = [
      ["/v1/chat/completions", chat({ n: 3 })],
      ["/v1/completions", { model: "m", prompt: ["one", "two"] }],
      ["/v1/responses", { model: "m", input: "Hello there" }],
      ["/v1/embeddings", { model: "m", input: ["a", "b"], dimensions: 8 }],
    ];
    for (const [path, body] of asks) {
      const before = performance.now();
      const answer = await started.ask({ path, body });
      expect(answer.status).toBe(200);
      const steps = path === "/v1/embeddings" ? 1 : 6;
      expect(performance.now() - before).toBeGreaterThanOrEqual(5 * steps - 1);
    }
    expect(await metric(started, "vllm:num_requests_running")).toBe(0);
  });

  test("a client that goes away frees its place", async () => {
    const aborted = new AbortController();
    const { server } = started;
    const url = `${started.origin}/v1/chat/completions`;
    if (url.startsWith("https:") || target.client === "h2") return;
    const body = JSON.stringify(chat({ stream: true, max_tokens: 100_000, ignore_eos: true }));
    const stream = fetch(url, { method: "POST", body, signal: aborted.signal }).then((response) => response.text());
    await eventually(async () => (await metric(started, "vllm:num_requests_running")) === 1, "it to run");
    aborted.abort();
    await expect(stream).rejects.toThrow("aborted");
    await eventually(async () => (await metric(started, "vllm:num_requests_running")) === 0, "its place to be free");
    expect(await metric(started, "vllm:kv_cache_usage_perc")).toBe(0);
    expect(server.stats().abortedStreams).toBe(1);
  });
});

describe("on one server", () => {
  let started: Started;
  const open = async (options: ServerOptions = {}): Promise<void> => {
    started = await start(
      targets.find(({ name }) => name === "h1 on node")!,
      { ...batched, ...options },
    );
  };
  const shut = async (): Promise<void> => started.stop();

  test("beyond places and queue requests are refused, with the time to come again", async () => {
    await open({ maxNumSeqs: 1, maxQueue: 1, outputTokens: 60 });
    const held = [1, 2].map(() => started.ask({ body: chat({ stream: true }) }));
    await eventually(async () => (await metric(started, "vllm:num_requests_waiting")) === 1, "one to wait");
    const refused = await started.ask({ body: chat({ stream: true }) });
    expect(refused.status).toBe(429);
    expect(JSON.parse(refused.body)).toMatchObject({ error: { code: "rate_limit_exceeded" } });
    expect(Number(refused.headers["retry-after"])).toBeGreaterThanOrEqual(1);
    // The one that runs has 60 steps of 5 ms; some of them are over.
    expect(Number(refused.headers["retry-after-ms"])).toBeGreaterThan(20);
    expect(Number(refused.headers["retry-after-ms"])).toBeLessThanOrEqual(305);
    const other = await started.ask({
      path: "/v1/messages",
      headers: { "anthropic-version": "2023-06-01" },
      body: { model: "m", max_tokens: 5, messages },
    });
    expect(other.status).toBe(429);
    expect(JSON.parse(other.body)).toMatchObject({ type: "error", error: { type: "rate_limit_error" } });
    for (const { status } of await Promise.all(held)) expect(status).toBe(200);
    expect((await started.ask({ body: chat() })).status).toBe(200);
    await shut();
  });

  test.each([
    ["openai", 503, "/v1/chat/completions", 503],
    ["vllm", undefined, "/v1/chat/completions", 503],
    ["openai", 503, "/v1/messages", 529],
  ] as const)("profile %s with --queue-full %s: %s answers %i", async (profile, queueFull, path, status) => {
    await open({ maxNumSeqs: 1, maxQueue: 0, outputTokens: 20, profile, ...(queueFull !== undefined && { queueFull }) });
    const held = started.ask({ body: chat() });
    await eventually(async () => (await metric(started, "vllm:num_requests_running")) === 1, "it to run");
    const headers = { "anthropic-version": "2023-06-01" };
    expect((await started.ask({ path, headers, body: { ...chat(), max_tokens: 5 } })).status).toBe(status);
    await held;
    await shut();
  });

  const long = "All happy families are alike; each unhappy family is unhappy in its own way. ".repeat(20);
  const usages: readonly [string, (text: string) => [path: string, body: object]][] = [
    [
      "chat, streamed",
      (content) => [
        "/v1/chat/completions",
        { model: "m", stream: true, stream_options: { include_usage: true }, messages: [{ role: "user", content }] },
      ],
    ],
    ["chat", (content) => ["/v1/chat/completions", { model: "m", messages: [{ role: "user", content }] }]],
    ["completions", (prompt) => ["/v1/completions", { model: "m", prompt }]],
    ["responses", (input) => ["/v1/responses", { model: "m", input }]],
    ["messages", (content) => ["/v1/messages", { model: "m", max_tokens: 5, messages: [{ role: "user", content }] }]],
  ];

  test.each(usages)("%s: what was read before is in the usage, and comes sooner", async (_name, ask) => {
    await open({ prefillTimePerToken: 0.5, stepTime: 2, outputTokens: 1, stamps: false });
    const headers = { "anthropic-version": "2023-06-01" };
    const times: number[] = [];
    const cached: number[] = [];
    for (const end of ["first", "second"]) {
      const [path, body] = ask(long + end);
      const before = performance.now();
      const answer = await started.ask({ path, body, headers });
      times.push(performance.now() - before);
      cached.push(
        Number(/"(?:cached_tokens|cache_read_input_tokens)":\s*(\d+)/.exec(answer.body.replaceAll('"cached_tokens":0', ""))?.[1] ?? 0),
      );
    }
    expect(cached[0]).toBe(0);
    // 1,540 characters are 385 tokens, in blocks of 16.
    expect(cached[1]).toBe(384);
    // 192 ms less to read; the machine may be slow.
    expect(times[0]! - times[1]!).toBeGreaterThan(90);
    expect(await metric(started, "vllm:prefix_cache_hits_total")).toBe(384);
    await shut();
  });

  test("its state is in the metrics", async () => {
    await open({ outputTokens: 3 });
    await started.ask({ body: chat() });
    const { body } = await started.ask({ path: "/metrics" });
    for (const name of ["queue", "prefill", "decode", "inference"]) expect(sample(body, `vllm:request_${name}_time_seconds_count`)).toBe(1);
    expect(sample(body, "vllm:iteration_tokens_total_count")).toBe(3);
    expect(sample(body, "vllm:prefix_cache_queries_total")).toBeGreaterThan(0);
    expect(sample(body, "vllm:num_preemptions_total")).toBe(0);
    expect(sample(body, "vllm:gpu_cache_usage_perc")).toBe(0);
    await shut();
  });

  test("keep-alives come while a request waits, and end with its first token", async () => {
    await open({ profile: "openrouter", maxNumSeqs: 1, stepTime: 100, outputTokens: 12, stamps: false });
    const first = started.ask({ body: chat({ stream: true }) });
    await sleep(20);
    const { body } = await started.ask({ body: chat({ stream: true, max_tokens: 1 }) });
    const comments = body.match(/^: OPENROUTER PROCESSING$/gm) ?? [];
    expect(comments.length).toBe(2);
    expect(body.lastIndexOf("OPENROUTER")).toBeLessThan(body.indexOf("data:"));
    await first;
    await shut();
  });

  test("faults on purpose go with it", async () => {
    await open({ outputTokens: 8 });
    const headers = { "x-fakeai-fault": "delay(50ms),truncate(after=4)" };
    const { body } = await started.ask({ body: chat({ stream: true }), headers });
    expect(dueOf(body)).toHaveLength(4);
    expect(body).not.toContain("[DONE]");
    await eventually(async () => (await metric(started, "vllm:num_requests_running")) === 0, "the scheduler to rest");
    await shut();
  });

  test("headers that have no meaning here, and what never fits, are refused", async () => {
    await open({ numGpuBlocksOverride: 4 });
    const header = await started.ask({ body: chat(), headers: { "x-fakeai-ttft": "5" } });
    expect([header.status, header.body]).toEqual([400, expect.stringContaining("x-fakeai-ttft") as string]);
    const large = await started.ask({ body: chat({ max_tokens: 1000, ignore_eos: true }) });
    expect([large.status, large.body]).toEqual([400, expect.stringContaining("context_length_exceeded") as string]);
    await shut();
  });
});

test.each([{}, { scheduler: "batched" }, { engine: "batched" }])("a scenario can have a server with this scheduler, %j", async (named) => {
  const server = await startServerChild({
    protocols: ["h1"],
    engine: "node",
    ttft: 30,
    itl: 10,
    outputTokens: 3,
    maxConcurrentStreams: 256,
    seed: 1,
    cpu: null,
    batching: { ...named, "step-time": 5, "max-num-seqs": 2 },
  });
  const metrics = await (await fetch(`${server.origins.h1}/metrics`)).text();
  await server.close();
  expect(sample(metrics, "vllm:kv_cache_usage_perc")).toBe(0);
});

test.each([
  [{ scheduler: "fast" as never }, /--scheduler: "fast" is neither independent nor batched/],
  [{ maxNumSeqs: 4 }, /--max-num-seqs is a knob of --scheduler batched/],
  [{ scheduler: "batched", ttft: 5 }, /--ttft: with --scheduler batched/],
  [{ scheduler: "batched", stepTime: 0 }, /--step-time: a step takes at least 10us/],
  [{ scheduler: "batched", stepTimePerSeq: "1:10" }, /--step-time-per-seq: "1:10" is not a single time/],
  [{ scheduler: "batched", maxNumBatchedTokens: 10 }, /--max-num-batched-tokens: 10 is less than --max-num-seqs 256/],
  [{ scheduler: "batched", queueFull: 500 as never }, /--queue-full: 500 is neither 429 nor 503/],
] as [ServerOptions, RegExp][])("%j is refused", async (options, message) => {
  await expect(createServer(options)).rejects.toThrow(message);
});
