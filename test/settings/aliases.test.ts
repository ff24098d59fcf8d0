/** Names that users of other tools know: each does, to what a client gets, what its flag does. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { localhostCertificate } from "../../src/base/certificate.ts";
import type { ServerOptions } from "../../src/settings/options.ts";
import { freePorts, resolveConfig, serverFlags } from "../../src/settings/server.ts";
import { createServer, type FakeAiServer, UsageError } from "../../src/index.ts";
import { aliases, type Given, inGivenNames, optionsOf } from "../../src/settings/aliases.ts";
import { changedConfig } from "../../src/server/knobs.ts";
import { root, runCli, serve } from "../support/process.ts";
import { chat, chunksOf } from "../support/chat.ts";

const post = (url: string, body: object = chat(), headers: Record<string, string> = {}): Promise<Response> =>
  fetch(`${url}/v1/chat/completions`, { method: "POST", body: JSON.stringify(body), headers });

/** Due times of each token, milliseconds after the request's first, as the server stamps them. */
async function dueMs(url: string): Promise<number[]> {
  const chunks = chunksOf(await (await post(url, chat({ stream: true }), { "x-fakeai-stamps": "1" })).text());
  const due = chunks.filter(({ choices }) => choices[0]?.delta?.content).map(({ fakeai }) => fakeai!.due / 1000);
  return due.map((ms) => ms - due[0]!);
}

/** Milliseconds that answers of one token take at least. */
async function waits(url: string, count: number): Promise<number[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const startedMs = performance.now();
      await (await post(url, chat({ max_tokens: 1 }))).text();
      return performance.now() - startedMs;
    }),
  );
}
const gapsOf = (due: readonly number[]): number[] => due.slice(1).map((ms, i) => ms - due[i]!);
const tokensOf = async (url: string): Promise<number> =>
  ((await (await post(url)).json()) as { usage: { completion_tokens: number } }).usage.completion_tokens;
const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
const deviation = (values: readonly number[]): number => Math.sqrt(mean(values.map((value) => (value - mean(values)) ** 2)));

async function withAliases(given: Given, use: (url: string, server: FakeAiServer) => Promise<void>): Promise<void> {
  await using server = await createServer(optionsOf([given]));
  await use(Object.values(server.urls)[0]!, server);
}

async function expectSlowFirst(given: Given): Promise<void> {
  await withAliases(given, async (url) => {
    const [ms] = await waits(url, 1);
    expect(ms).toBeGreaterThan(149);
  });
}
async function expectSpreadFirst(given: Given): Promise<void> {
  await withAliases(given, async (url) => {
    // 150 on average with a deviation of 40: one in eight comes before 104, which a constant 150 never does.
    let least = Infinity;
    for (let round = 0; round < 30 && least >= 130; round++) least = Math.min(least, ...(await waits(url, 4)));
    expect(least).toBeLessThan(130);
  });
}
async function expectGaps(given: Given, deviates: boolean): Promise<void> {
  await withAliases({ ...given, "output-tokens": "100" }, async (url) => {
    const gaps = gapsOf(await dueMs(url));
    expect(gaps).toHaveLength(99);
    expect(mean(gaps)).toBeGreaterThan(3.5);
    expect(mean(gaps)).toBeLessThan(6.5);
    if (deviates) {
      expect(deviation(gaps)).toBeGreaterThan(1.3);
      expect(deviation(gaps)).toBeLessThan(3.5);
    } else {
      for (const gap of gaps) expect(gap).toBeCloseTo(5, 2);
    }
  });
}

/** What a client meets with each alias. */
const proofs: Readonly<Record<string, () => Promise<void>>> = {
  engine: () => expectSlowFirst({ engine: "batched", "step-time": "150ms" }),
  "time-to-first-token": () => expectSlowFirst({ "time-to-first-token": "150ms" }),
  "ttft-ms": () => expectSlowFirst({ "ttft-ms": 150 }),
  "time-to-first-token-std-dev": () => expectSpreadFirst({ "time-to-first-token": "150ms", "time-to-first-token-std-dev": "40ms" }),
  "ttft-ms-std": () => expectSpreadFirst({ "ttft-ms": "150", "ttft-ms-std": "40" }),
  "ttft-jitter-cv": () => expectSpreadFirst({ ttft: "150", "ttft-jitter-cv": "0.27" }),
  "inter-token-latency": () => expectGaps({ "inter-token-latency": "5ms" }, false),
  "itl-ms": () => expectGaps({ "itl-ms": "5" }, false),
  "inter-token-latency-std-dev": () => expectGaps({ "inter-token-latency": "5", "inter-token-latency-std-dev": "2" }, true),
  "itl-ms-std": () => expectGaps({ "itl-ms": "5", "itl-ms-std": "2" }, true),
  "itl-jitter-cv": () => expectGaps({ itl: "5ms", "itl-jitter-cv": "0.4" }, true),
  "output-tokens-std": () =>
    withAliases({ "output-tokens": "100", "output-tokens-std": "20" }, async (url) => {
      const lengths = await Promise.all(Array.from({ length: 60 }, () => tokensOf(url)));
      expect(mean(lengths)).toBeGreaterThan(85);
      expect(mean(lengths)).toBeLessThan(115);
      expect(deviation(lengths)).toBeGreaterThan(12);
      expect(deviation(lengths)).toBeLessThan(30);
    }),
  "random-seed": async () => {
    const texts: string[] = [];
    for (const given of [{ "random-seed": 7 }, { seed: 7 }, { seed: 8 }]) {
      await withAliases(given, async (url) => {
        const body = (await (await post(url)).json()) as { choices: [{ message: { content: string } }] };
        texts.push(body.choices[0].message.content);
      });
    }
    expect(texts[0]).toBe(texts[1]);
    expect(texts[0]).not.toBe(texts[2]);
  },
  "served-model-name": () =>
    withAliases({ "served-model-name": ["mine", "yours"] }, async (url) => {
      const { data } = (await (await fetch(`${url}/v1/models`)).json()) as { data: { id: string }[] };
      expect(data.map(({ id }) => id)).toEqual(["mine", "yours"]);
      expect((await post(url)).status).toBe(404);
    }),
  "ssl-certfile": async () => expectCertificate(),
  "ssl-keyfile": async () => expectCertificate(),
  "rate-limit-rpm": () =>
    withAliases({ "rate-limit-rpm": "2" }, async (url) => {
      expect([(await post(url)).status, (await post(url)).status, (await post(url)).status]).toEqual([200, 200, 429]);
    }),
  "rate-limit-tpm": () =>
    withAliases({ "rate-limit-tpm": "100" }, async (url) => {
      const limited = chat({ max_tokens: 60 });
      expect([(await post(url, limited)).status, (await post(url, limited)).status]).toEqual([200, 429]);
    }),
  "max-waiting-queue-length": () =>
    withAliases({ scheduler: "batched", "max-num-seqs": 2, "max-waiting-queue-length": 3 }, async (url) => {
      const asked = (n: number): Promise<Response> => post(url, chat({ n, max_tokens: 1 }));
      expect([(await asked(5)).status, (await asked(6)).status]).toEqual([200, 429]);
    }),
  "prefill-overhead": () => expectSlowFirst({ scheduler: "batched", "prefill-overhead": "150ms", "step-time": "10us" }),
  "kv-cache-size": () =>
    withAliases({ scheduler: "batched", "kv-cache-size": 10 }, async (url) => {
      expect(await (await post(url, chat({ max_tokens: 500, ignore_eos: true }))).text()).toContain("holds 160 tokens");
    }),
  "failure-injection-rate": async () => {
    const counts = await statusesOf({ "failure-injection-rate": "50" }, 120);
    expect(counts[200]).toBeGreaterThan(35);
    expect(counts[200]).toBeLessThan(85);
    expect(Object.keys(counts)).toEqual(["200", "400", "401", "404", "429", "500"]);
  },
  "failure-types": async () => {
    const given = { "failure-injection-rate": 100, "failure-types": ["rate_limit", "server_error"] };
    expect(Object.keys(await statusesOf(given, 20))).toEqual(["429", "500"]);
  },
};

/** How many of so many requests got each status. */
async function statusesOf(given: Given, count: number): Promise<Record<number, number>> {
  const counts: Record<number, number> = {};
  await withAliases(given, async (url) => {
    for (let i = 0; i < count; i++) {
      const { status } = await post(url, chat({ max_tokens: 1 }));
      counts[status] = (counts[status] ?? 0) + 1;
    }
  });
  return counts;
}

async function expectCertificate(): Promise<void> {
  const { certPath, keyPath } = (await localhostCertificate()).files!;
  await withAliases({ protocol: "h1s", "ssl-certfile": certPath, "ssl-keyfile": keyPath }, async (_url, server) => {
    // A certificate of the user's own is not announced as one to be trusted.
    expect(server.caPath).toBeNull();
    expect(server.config.tls).toEqual({ cert: certPath, key: keyPath });
  });
  expect(() => resolveConfig(optionsOf([{ "ssl-certfile": certPath }]), freePorts)).toThrow(UsageError);
}

describe("each alias acts", () => {
  test("every one has its proof", () => {
    expect(Object.keys(proofs).sort()).toEqual(aliases.map(({ name }) => name).sort());
    const flags = new Set<string>(serverFlags.map(({ key }) => key));
    for (const { of } of aliases) expect(flags.has(of)).toBe(true);
  });

  test.each(Object.entries(proofs))("--%s", async (_name, proof) => {
    await expect(proof()).resolves.toBeUndefined();
  });
});

describe("how names settle", () => {
  const settled = (...sources: Given[]): ServerOptions => optionsOf(sources);
  test.each<[string, Given[], ServerOptions]>([
    ["an alias is its flag", [{ "ttft-ms": "20" }], { ttft: "20" }],
    ["the first source wins, by whatever name", [{ "ttft-ms": "20" }, { ttft: "30" }, { "time-to-first-token": "40" }], { ttft: "20" }],
    ["a deviation makes it normal", [{ ttft: "1.5s", "ttft-ms-std": "250" }], { ttft: "normal(1500,250)" }],
    ["a deviation of 0 changes nothing", [{ ttft: "20ms", "ttft-ms-std": "0" }], { ttft: "20ms" }],
    ["nor does a cv of 0", [{ "ttft-jitter-cv": "0.0", itl: "20:10", "itl-jitter-cv": 0 }], { itl: "20:10" }],
    ["value and deviation may come from different sources", [{ "ttft-ms-std": "5" }, { ttft: 20 }], { ttft: "normal(20,5)" }],
    ["the default length has one too", [{ "output-tokens-std": 9 }], { outputTokens: "normal(128,9)" }],
    ["a part of the limit", [{ "rate-limit-rpm": "5", "rate-limit-tpm": "600" }], { rateLimit: "rpm=5,tpm=600" }],
    ["a part over a lower source", [{ "rate-limit-rpm": "5" }, { "rate-limit": "rpm=1,tpm=9" }], { rateLimit: "tpm=9,rpm=5" }],
    [
      "failures among other faults",
      [{ "failure-injection-rate": "5", "failure-types": "rate_limit,server_error" }, { fault: "hang@1%" }],
      { fault: ["hang@1%", "one_of(rate_limit|server_error)@5%"] },
    ],
    ["faults over a lower source's failures", [{ fault: "hang" }, { "failure-injection-rate": "5" }], { fault: "hang" }],
    ["no failures", [{ "failure-injection-rate": 0, "failure-types": "rate_limit" }], { fault: [] }],
    ["the whole over a lower source's part", [{ "rate-limit": "tpm=9" }, { "rate-limit-rpm": "5" }], { rateLimit: "tpm=9" }],
  ])("%s", (_what, sources, options) => expect(settled(...sources)).toEqual(options));

  test.each<[string, Given, RegExp]>([
    ["flag and alias", { ttft: "1", "ttft-ms": "1" }, /^--ttft and --ttft-ms are two names of one knob/],
    ["two aliases", { "ttft-ms": "1", "time-to-first-token": "1" }, /^--ttft-ms and --time-to-first-token are two names/],
    ["two spreads", { ttft: "1", "ttft-ms-std": "1", "ttft-jitter-cv": "1" }, /^--ttft-ms-std and --ttft-jitter-cv are two names/],
    [
      "a spread of a distribution",
      { itl: "20:10", "itl-ms-std": "1" },
      /^--itl-ms-std needs a plain --itl above 0 .*, not a distribution$/,
    ],
    ["a spread of nothing", { "itl-ms-std": "1" }, /^--itl-ms-std needs a plain --itl above 0/],
    ["a deviation that is none", { itl: "20", "itl-ms-std": "5:5" }, /^--itl-ms-std: "5:5" is not a single number$/],
    ["a negative deviation", { itl: "20", "itl-ms-std": "-5" }, /^--itl-ms-std: negative value/],
    ["a cv that is none", { itl: "20", "itl-jitter-cv": "20%" }, /^--itl-jitter-cv: "20%" is not a single number$/],
    ["a cv that is too large", { itl: "20", "itl-jitter-cv": "11" }, /^--itl-jitter-cv: "11" is not a number from 0 to 10$/],
    ["faults and failures", { fault: "hang", "failure-injection-rate": "5" }, /^--fault and --failure-injection-rate are two names/],
    ["failures never", { "failure-types": "rate_limit" }, /^--failure-types does nothing without --failure-injection-rate$/],
    ["more than all", { "failure-injection-rate": "101" }, /^--failure-injection-rate: "101" is not a percentage from 0 to 100$/],
    ["an unknown failure", { "failure-injection-rate": 5, "failure-types": "hang" }, /^--failure-types: "hang" is none of rate_limit, /],
    ["a limit and its part", { "rate-limit": "tpm=5", "rate-limit-rpm": "5" }, /^--rate-limit and --rate-limit-rpm are two names/],
  ])("%s: one line", (_what, given, message) => {
    expect(() => settled(given)).toThrow(UsageError);
    expect(() => settled(given)).toThrow(message);
  });

  test("a complaint names the flag that was given", async () => {
    const given = "--max-num-seqs: 0 is x; --kv-cache-size is fine";
    const said = inGivenNames("--num-gpu-blocks-override: 0 is no number; --num-gpu-blocks-override-x stays", [
      {},
      { "kv-cache-size": 0 },
      { "num-gpu-blocks-override": 5 },
    ]);
    expect(said).toBe("--kv-cache-size: 0 is no number; --num-gpu-blocks-override-x stays");
    expect(inGivenNames(given, [{ "num-gpu-blocks-override": 5 }, { "kv-cache-size": 0 }])).toBe(given);
    const { code, stderr } = await runCli(["serve", "--engine", "batched", "--kv-cache-size", "0"]).ended;
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^fakeai: --kv-cache-size: [^\n]*\n$/)]);
    const config = resolveConfig({}, freePorts);
    expect(() => changedConfig(config, { "time-to-first-token": "soon" })).toThrow(/^time-to-first-token: /);
  });

  test("property: the lognormal of a cv keeps the mean", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.double({ min: 0.01, max: 3, noNaN: true }), (ms, cv) => {
        const [, median, shown] = /^lognormal\((.+),(.+)\)$/.exec(String(settled({ ttft: ms, "ttft-jitter-cv": cv.toFixed(4) }).ttft))!;
        // The mean of a lognormal is its median times sqrt(1 + cv^2).
        expect(Number(median) * Math.sqrt(1 + Number(shown) ** 2)).toBeCloseTo(ms, 2);
      }),
    );
  });
});

test("failures change while the server runs, each part by itself", () => {
  const base = { fault: ["hang@1%", "one_of(rate_limit)@5%"] };
  expect(optionsOf([{ "failure-injection-rate": "7.5" }], base)).toEqual({ fault: ["hang@1%", "one_of(rate_limit)@7.5%"] });
  expect(optionsOf([{ "failure-types": ["server_error"] }], base)).toEqual({ fault: ["hang@1%", "one_of(server_error)@5%"] });
  expect(optionsOf([{ "failure-injection-rate": 0 }], base)).toEqual({ fault: ["hang@1%"] });
});

test("engine, the former name of scheduler, is taken everywhere, and complaints speak of it", async () => {
  expect(optionsOf([{ engine: "batched" }])).toEqual({ scheduler: "batched" });
  const config = resolveConfig({ engine: "batched" }, freePorts);
  expect(config.scheduler).not.toBeNull();
  expect(config.options).toEqual({ scheduler: "batched" });
  expect(resolveConfig({ engine: "independent", scheduler: "independent" }, freePorts).scheduler).toBeNull();
  await using server = await createServer({ engine: "batched", maxNumSeqs: 3 });
  expect(server.config.scheduler).toMatchObject({ maxNumSeqs: 3 });
  expect(() => resolveConfig({ engine: "batched", scheduler: "independent" }, freePorts)).toThrow(
    /^--engine and --scheduler are two names/,
  );
  const path = join(mkdtempSync(join(tmpdir(), "fakeai-")), "config.yaml");
  writeFileSync(path, "engine: fast\n");
  expect(() => resolveConfig({ engine: "fast" as never }, freePorts)).toThrow(/^--engine: "fast" is neither independent nor batched/);
  for (const [args, env] of [
    [["--engine", "fast"], {}],
    [[], { FAKEAI_ENGINE: "fast" }],
    [["--config", path], {}],
  ] as const) {
    const { code, stderr } = await runCli(["serve", ...args], { env }).ended;
    expect([code, stderr]).toEqual([2, expect.stringMatching(/^fakeai: --engine: "fast" is neither independent nor batched[^\n]*\n$/)]);
  }
});

describe("on the command line", () => {
  test("flags, environment and file take the aliases", async () => {
    const path = join(mkdtempSync(join(tmpdir(), "fakeai-")), "config.yaml");
    writeFileSync(path, "served-model-name: [mine]\nrate-limit-rpm: 3\nport: 0\n");
    const server = await serve(["--config", path, "--output-tokens", "3"], { env: { FAKEAI_TTFT_MS: "100" } });
    const { url } = server.listening[0]!;
    const startedMs = performance.now();
    expect((await post(url, chat({ model: "mine" }))).headers.get("x-ratelimit-limit-requests")).toBe("3");
    expect(performance.now() - startedMs).toBeGreaterThan(99);
    expect((await post(url)).status).toBe(404);
    await server.stop();
  });

  test("two names of one knob are wrong usage", async () => {
    const { code, stderr } = await runCli(["serve", "--port", "0", "--ttft", "5", "--ttft-ms", "5"]).ended;
    expect([code, stderr]).toEqual([2, "fakeai: --ttft and --ttft-ms are two names of one knob: give one of them\n"]);
  });

  test("the help names every alias", async () => {
    const help = (await runCli(["serve", "--help-all"]).ended).stdout;
    expect(help).toContain("Names that other tools use:");
    for (const { name, from } of aliases) {
      expect(help).toContain(`--${name} <`);
      expect(help.replace(/\s+/g, " ")).toContain(`(${from})`);
    }
  });
});

describe("--max-model-len", () => {
  test("what does not fit is refused as the provider does, what fits is cut where the model ends", async () => {
    await using server = await createServer({ maxModelLen: 50, outputTokens: 100 });
    const url = server.urls.h1!;
    const prompt = (characters: number, more: object = {}): object =>
      chat({ messages: [{ role: "user", content: "x".repeat(characters) }], ...more });
    const over = await post(url, prompt(200));
    expect(over.status).toBe(400);
    expect(await over.json()).toEqual({
      error: {
        message:
          "This model's maximum context length is 50 tokens. However, your messages resulted in 50 tokens. Please reduce the length of the messages.",
        type: "invalid_request_error",
        param: "messages",
        code: "context_length_exceeded",
      },
    });
    const asked = await post(url, prompt(120, { max_tokens: 21 }));
    expect(((await asked.json()) as { error: { message: string } }).error.message).toBe(
      "This model's maximum context length is 50 tokens. However, you requested 51 tokens (30 in the messages, 21 in the completion). Please reduce the length of the messages or completion.",
    );
    for (const more of [{ max_tokens: 20 }, {}, { ignore_eos: true }]) {
      const fits = (await (await post(url, prompt(120, more))).json()) as { usage: object; choices: [{ finish_reason: string }] };
      expect(fits.usage).toMatchObject({ prompt_tokens: 30, completion_tokens: 20, total_tokens: 50 });
      expect(fits.choices[0].finish_reason).toBe("length");
    }
    const legacy = await fetch(`${url}/v1/completions`, { method: "POST", body: JSON.stringify({ model: "m", prompt: "x".repeat(400) }) });
    expect(await legacy.json()).toMatchObject({ error: { param: "prompt", code: "context_length_exceeded" } });
  });
});

describe("--tokenizer", () => {
  const promptTokens = async (url: string, body: object, path = "chat/completions"): Promise<number> => {
    const answer = await fetch(`${url}/v1/${path}`, { method: "POST", body: JSON.stringify({ model: "m", max_tokens: 1, ...body }) });
    return ((await answer.json()) as { usage: { prompt_tokens: number } }).usage.prompt_tokens;
  };

  test("counts what OpenAI counts", async () => {
    await using o200k = await createServer({ tokenizer: "o200k_base" });
    await using cl100k = await createServer({ tokenizer: "cl100k_base" });
    // The example of OpenAI's cookbook, "How to count tokens with tiktoken", section 6, and the counts its API gave.
    const messages = [
      ["You are a helpful, pattern-following assistant that translates corporate jargon into plain English.", "system", undefined],
      ["New synergies will help drive top-line growth.", "system", "example_user"],
      ["Things working well together will increase revenue.", "system", "example_assistant"],
      ["Let's circle back when we have more bandwidth to touch base on opportunities for increased leverage.", "system", "example_user"],
      ["Let's talk later when we're less busy about how to do better.", "system", "example_assistant"],
      ["This late pivot means we don't have time to boil the ocean for the client deliverable.", "user", undefined],
    ].map(([content, role, name]) => ({ content, role, name }));
    expect(await promptTokens(cl100k.urls.h1!, { messages })).toBe(129);
    expect(await promptTokens(o200k.urls.h1!, { messages })).toBe(124);
    const text = "antidisestablishmentarianism, 2 + 2 = 4: お誕生日おめでとう";
    expect(await promptTokens(cl100k.urls.h1!, { prompt: text }, "completions")).not.toBe(
      await promptTokens(o200k.urls.h1!, { prompt: text }, "completions"),
    );
    // Text that spells a special token is text.
    expect(await promptTokens(o200k.urls.h1!, { prompt: "<|endoftext|>" }, "completions")).toBeGreaterThan(1);
    expect(await promptTokens(o200k.urls.h1!, { prompt: [1, 2, 3] }, "completions")).toBe(3);
  });

  test("where its package is not installed: one line; it is loaded only when asked for", async () => {
    const elsewhere = mkdtempSync(join(tmpdir(), "fakeai-"));
    for (const part of ["dist", "package.json"]) cpSync(join(root, part), join(elsewhere, part), { recursive: true });
    mkdirSync(join(elsewhere, "node_modules"));
    const { dependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { dependencies: Record<string, string> };
    for (const name of Object.keys(dependencies)) {
      symlinkSync(join(root, "node_modules", name), join(elsewhere, "node_modules", name));
    }
    const script = join(elsewhere, "dist", "cli.js");
    const { code, stderr } = await runCli(["serve", "--port", "0", "--tokenizer", "o200k_base"], { script }).ended;
    expect([code, stderr]).toEqual([
      2,
      "fakeai: --tokenizer o200k_base needs a package that is not installed: npm install gpt-tokenizer@4\n",
    ]);
    const without = await serve(["--port", "0"], { script });
    expect((await post(without.listening[0]!.url)).status).toBe(200);
    await without.stop();
  });

  test("an encoding that does not exist is wrong usage", async () => {
    const { code, stderr } = await runCli(["serve", "--port", "0", "--tokenizer", "gpt2"]).ended;
    expect([code, stderr]).toEqual([2, 'fakeai: --tokenizer: "gpt2" is neither o200k_base nor cl100k_base\n']);
  });
});
