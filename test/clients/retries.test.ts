/**
 * What real clients do with a 429 and with a 500, on every protocol that each can speak: how often they come again, how long
 * they wait, and which error they give up with. Waits have lower bounds only.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import Anthropic, { InternalServerError as AnthropicServerError, RateLimitError as AnthropicRateLimit } from "@anthropic-ai/sdk";
import { ChatOpenAI } from "@langchain/openai";
import { APICallError, generateText, type LanguageModel, RetryError } from "ai";
import axios, { AxiosError } from "axios";
import got, { HTTPError } from "got";
import OpenAI, { InternalServerError, RateLimitError } from "openai";
import { Agent, type Dispatcher, fetch as undiciFetch, H2CClient, request as undiciRequest } from "undici";
import { describe, expect, test } from "vitest";
import { createServer, type FakeAiServer, type Protocol } from "../../src/index.ts";
import { available } from "../support/process.ts";

type Fetch = typeof globalThis.fetch;

interface Attempt {
  readonly startedMs: number;
  readonly endedMs: number;
  readonly status: number;
  readonly retryAfterMs: number | null;
  readonly retryAfterSeconds: number | null;
}

/** A fetch that writes down what passes through it. */
function recording(through: Fetch): { attempts: Attempt[]; fetch: Fetch } {
  const attempts: Attempt[] = [];
  const number = (value: string | null): number | null => (value === null ? null : Number(value));
  return {
    attempts,
    fetch: async (input, init) => {
      const startedMs = performance.now();
      const response = await through(input, init);
      attempts.push({
        startedMs,
        endedMs: performance.now(),
        status: response.status,
        retryAfterMs: number(response.headers.get("retry-after-ms")),
        retryAfterSeconds: number(response.headers.get("retry-after")),
      });
      return response;
    },
  };
}

const ca = ({ caPath }: FakeAiServer): string => readFileSync(caPath!, "utf8");

/** Ways for a client that takes a fetch. */
const ways: [Protocol, (server: FakeAiServer) => Dispatcher | null][] = [
  ["h1", () => null],
  ["h1s", (server) => new Agent({ allowH2: false, connect: { ca: ca(server) } })],
  ["h2", (server) => new Agent({ allowH2: true, connections: 1, pipelining: 100, connect: { ca: ca(server) } })],
  ["h2c", (server) => new H2CClient(server.urls.h2c!)],
];

interface Client {
  readonly name: string;
  /** One question, allowing an answer of `maxTokens`; `fetch` does the asking. Rejects when the client gives up. */
  readonly ask: (base: string, fetch: Fetch, maxTokens: number) => Promise<unknown>;
  /** Which wait the client obeys. */
  readonly obeys: "retry-after-ms" | "retry-after";
  /** Attempts at a 429 that does not say when to come again, and the shortest wait between them. */
  readonly blind: { readonly attempts: number; readonly leastWaitMs: number };
  /** Whether an error is what the client gives up with. */
  readonly isError: (error: unknown) => boolean;
  /** The same for a 500 each time. */
  readonly failing: { readonly attempts: number; readonly isError: (error: unknown) => boolean };
}

const messages = [{ role: "user" as const, content: "Hello" }];
const apiKey = "retries";

/** One retry of two seconds instead of the default's two and four. */
const aiClient = (name: string, model: (base: string, fetch: Fetch) => LanguageModel): Client => ({
  name,
  ask: (base, fetch, maxTokens) => generateText({ model: model(base, fetch), prompt: "Hello", maxOutputTokens: maxTokens, maxRetries: 1 }),
  obeys: "retry-after-ms",
  blind: { attempts: 2, leastWaitMs: 1990 },
  isError: (error) => gaveUpAfter(error, 429),
  failing: { attempts: 2, isError: (error) => gaveUpAfter(error, 500) },
});
const gaveUpAfter = (error: unknown, status: number): boolean =>
  RetryError.isInstance(error) && APICallError.isInstance(error.lastError) && error.lastError.statusCode === status;

const openaiClient = (name: string, ask: (client: OpenAI, maxTokens: number) => Promise<unknown>): Client => ({
  name,
  ask: (base, fetch, maxTokens) => ask(new OpenAI({ baseURL: `${base}/v1`, apiKey, fetch }), maxTokens),
  obeys: "retry-after-ms",
  // 0.5 s, less up to a quarter of jitter.
  blind: { attempts: 3, leastWaitMs: 370 },
  isError: (error) => error instanceof RateLimitError && error.code === "rate_limit_exceeded",
  failing: { attempts: 3, isError: (error) => error instanceof InternalServerError && error.status === 500 },
});

const clients: readonly Client[] = [
  openaiClient("openai, chat", (client, max_tokens) => client.chat.completions.create({ model: "gpt-4o", messages, max_tokens })),
  openaiClient("openai, responses", (client, max_output_tokens) =>
    client.responses.create({ model: "gpt-4o", input: "Hello", max_output_tokens }),
  ),
  aiClient("@ai-sdk/openai, chat", (base, fetch) => createOpenAI({ baseURL: `${base}/v1`, apiKey, fetch }).chat("gpt-4o")),
  aiClient("@ai-sdk/openai, responses", (base, fetch) => createOpenAI({ baseURL: `${base}/v1`, apiKey, fetch })("gpt-4o")),
  aiClient("@ai-sdk/openai-compatible", (base, fetch) =>
    createOpenAICompatible({ name: "fakeai", baseURL: `${base}/v1`, apiKey, fetch })("gpt-4o"),
  ),
  {
    name: "@langchain/openai",
    ask: (base, fetch, maxTokens) =>
      new ChatOpenAI({ model: "gpt-4o", apiKey, maxTokens, maxRetries: 1, configuration: { baseURL: `${base}/v1`, fetch } }).invoke(
        "Hello",
      ),
    obeys: "retry-after",
    blind: { attempts: 1, leastWaitMs: 0 },
    isError: (error) => error instanceof Error && "status" in error && error.status === 429,
    // Its own copy of openai's package, of another version, makes the error.
    failing: {
      attempts: 2,
      isError: (error) =>
        error instanceof Error && error.constructor.name === "InternalServerError" && "status" in error && error.status === 500,
    },
  },
  {
    name: "@anthropic-ai/sdk",
    ask: (base, fetch, max_tokens) =>
      new Anthropic({ baseURL: base, apiKey, fetch }).messages.create({ model: "claude-any", messages, max_tokens }),
    obeys: "retry-after",
    blind: { attempts: 3, leastWaitMs: 370 },
    isError: (error) => error instanceof AnthropicRateLimit && error.status === 429,
    failing: { attempts: 3, isError: (error) => error instanceof AnthropicServerError && error.status === 500 },
  },
];

/** The least limit that every surface takes. */
const fewTokens = 16;
/** More than the limit ever allows, so that a 429 cannot say when to come again. */
const limitedTokens = 100;
const protocol = "h1,h1s,h2c,h2";

/** Spends all of the allowance, so that the next request is refused. */
async function exhaust({ urls }: FakeAiServer): Promise<void> {
  const headers = { authorization: `Bearer ${apiKey}` };
  const body = JSON.stringify({ model: "gpt-4o", messages, max_tokens: 1 });
  for (;;) {
    const batch = Array.from({ length: 20 }, () => fetch(`${urls.h1}/v1/chat/completions`, { method: "POST", headers, body }));
    const statuses = (await Promise.all(batch)).map(({ status }) => status);
    if (statuses.includes(429)) return;
  }
}

/** Asks right after the allowance was spent. On a slow machine some of it may be back by then: again. */
async function refusedOnce<T>(server: FakeAiServer, ask: () => Promise<T>, wasRefused: (answer: T) => boolean): Promise<T> {
  for (let left = 5; ; left--) {
    await exhaust(server);
    const answer = await ask();
    if (wasRefused(answer) || left === 0) return answer;
  }
}

describe.each(ways)("over %s", (way, connect) => {
  describe.concurrent.each(clients)("$name", ({ ask, obeys, blind, isError, failing }) => {
    const through = (dispatcher: Dispatcher | null): Fetch =>
      dispatcher === null ? fetch : (((url: string | URL, init?: object): unknown => undiciFetch(url, { ...init, dispatcher })) as Fetch);

    test(`a 429 that says when: waits for ${obeys}, then succeeds at the second attempt`, async () => {
      // One request comes back every 600 ms: a second whole where only seconds are understood.
      await using server = await createServer({ protocol, rateLimit: "rpm=100", outputTokens: 1 });
      const dispatcher = connect(server);
      const attempts = await refusedOnce(
        server,
        async () => {
          const recorded = recording(through(dispatcher));
          await ask(server.urls[way]!, recorded.fetch, fewTokens);
          return recorded.attempts;
        },
        ([first]) => first!.status === 429,
      );
      expect(attempts.map(({ status }) => status)).toEqual([429, 200]);
      const [refused, admitted] = attempts as [Attempt, Attempt];
      const waitMs = obeys === "retry-after-ms" ? refused.retryAfterMs! : refused.retryAfterSeconds! * 1000;
      expect(waitMs).toBeGreaterThan(0);
      // A timer may be a millisecond early.
      expect(admitted.startedMs - refused.endedMs).toBeGreaterThanOrEqual(waitMs - 2);
      await dispatcher?.destroy();
    });

    test(`a 429 that never ends: ${blind.attempts} attempts, then the client's error`, async () => {
      await using server = await createServer({ protocol, rateLimit: `tpm=${limitedTokens}`, outputTokens: 1 });
      const dispatcher = connect(server);
      const { attempts, fetch } = recording(through(dispatcher));
      await expect(ask(server.urls[way]!, fetch, limitedTokens + 1)).rejects.toSatisfy(isError);
      expect(attempts.map(({ status }) => status)).toEqual(Array.from({ length: blind.attempts }, () => 429));
      expect(server.stats().statuses).toEqual({ 429: blind.attempts });
      for (const [index, { startedMs }] of attempts.slice(1).entries()) {
        expect(startedMs - attempts[index]!.endedMs).toBeGreaterThanOrEqual(blind.leastWaitMs);
      }
      await dispatcher?.destroy();
    });

    test(`a 500 each time: ${failing.attempts} attempts, then the client's error`, async () => {
      await using server = await createServer({ protocol, fault: "server_error" });
      const dispatcher = connect(server);
      const { attempts, fetch } = recording(through(dispatcher));
      await expect(ask(server.urls[way]!, fetch, fewTokens)).rejects.toSatisfy(failing.isError);
      expect(attempts.map(({ status }) => status)).toEqual(Array.from({ length: failing.attempts }, () => 500));
      expect(server.stats().statuses).toEqual({ 500: failing.attempts });
      await dispatcher?.destroy();
    });
  });

  test("undici: no retries", async () => {
    await using server = await createServer({ protocol, rateLimit: `tpm=${limitedTokens}` });
    const dispatcher = connect(server);
    const body = JSON.stringify({ model: "gpt-4o", messages, max_tokens: limitedTokens + 1 });
    const url = `${server.urls[way]!}/v1/chat/completions`;
    const { statusCode } = await undiciRequest(url, { method: "POST", body, ...(dispatcher && { dispatcher }) });
    expect([statusCode, server.stats().statuses]).toEqual([429, { 429: 1 }]);
    await dispatcher?.destroy();
  });

  test.runIf(way !== "h2c")("got comes again when told to, axios never", async () => {
    await using server = await createServer({ protocol, rateLimit: "rpm=100", outputTokens: 1 });
    const url = `${server.urls[way]!}/v1/chat/completions`;
    const json = { model: "gpt-4o", messages };
    const headers = { authorization: `Bearer ${apiKey}` };
    const { retryCount, waitedMs } = await refusedOnce(
      server,
      async () => {
        const startedMs = performance.now();
        const secure = way === "h1" ? {} : { https: { certificateAuthority: ca(server) } };
        const answer = await got.post(url, { json, headers, http2: way === "h2", retry: { limit: 2, methods: ["POST"] }, ...secure });
        return { retryCount: answer.retryCount, waitedMs: performance.now() - startedMs };
      },
      (answer) => answer.retryCount > 0,
    );
    expect(retryCount).toBe(1);
    expect(waitedMs).toBeGreaterThanOrEqual(998);
    await using strict = await createServer({ protocol, rateLimit: `tpm=${limitedTokens}` });
    const tooMany = { ...json, max_tokens: limitedTokens + 1 };
    const secure = way === "h1" ? {} : { https: { certificateAuthority: ca(strict) } };
    const strictUrl = `${strict.urls[way]!}/v1/chat/completions`;
    const gotFailed = got.post(strictUrl, { json: tooMany, http2: way === "h2", ...secure });
    await expect(gotFailed).rejects.toSatisfy((error) => error instanceof HTTPError && error.response.statusCode === 429);
    const { Agent: HttpsAgent } = await import("node:https");
    const agent =
      way === "h2" ? { httpVersion: 2 as const, http2Options: { ca: ca(strict) } } : { httpsAgent: new HttpsAgent({ ca: ca(strict) }) };
    const axiosFailed = axios.post(strictUrl, tooMany, way === "h1" ? {} : agent);
    await expect(axiosFailed).rejects.toSatisfy((error) => error instanceof AxiosError && error.response?.status === 429);
    // got retries no POST by itself.
    expect(strict.stats().statuses).toEqual({ 429: 2 });
  });

  // curl 7.88 cannot use a connection a second time that began with prior knowledge: exit code 16, whatever the server.
  test.runIf(available("curl") && way !== "h2c")("curl --retry waits for retry-after", async () => {
    await using server = await createServer({ protocol, rateLimit: "rpm=100", outputTokens: 1 });
    const version = way === "h2" ? "--http2" : "--http1.1";
    const { code, codes, waitedMs } = await refusedOnce(
      server,
      () => {
        const startedMs = performance.now();
        const before = server.stats().statuses[429] ?? 0;
        const args = ["-sS", "-o", "/dev/null", version, "--cacert", server.caPath!, "--retry", "2", "--fail"];
        const more = ["-H", `authorization: Bearer ${apiKey}`, "-d", JSON.stringify({ model: "gpt-4o", messages })];
        const child = spawn("curl", [...args, ...more, `${server.urls[way]!}/v1/chat/completions`], { stdio: "ignore" });
        return new Promise<{ code: number | null; codes: number; waitedMs: number }>((resolve, reject) => {
          child.on("error", reject);
          child.on("close", (code) =>
            resolve({ code, codes: (server.stats().statuses[429] ?? 0) - before, waitedMs: performance.now() - startedMs }),
          );
        });
      },
      (answer) => answer.codes > 0,
    );
    expect([code, codes]).toEqual([0, 1]);
    expect(waitedMs).toBeGreaterThanOrEqual(998);
  });
});
