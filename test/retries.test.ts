/** What real clients do with a 429: how often they come again, and how long they wait. Waits have lower bounds only. */
import { createOpenAI } from "@ai-sdk/openai";
import Anthropic from "@anthropic-ai/sdk";
import { ChatOpenAI } from "@langchain/openai";
import { generateText } from "ai";
import OpenAI from "openai";
import { describe, expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../src/index.ts";

interface Attempt {
  readonly startedMs: number;
  readonly endedMs: number;
  readonly status: number;
  readonly retryAfterMs: number | null;
  readonly retryAfterSeconds: number | null;
}

/** A fetch that writes down what passes through it; `before` is awaited before the first. */
function recording(before: () => Promise<void> = async () => {}): { attempts: Attempt[]; fetch: typeof globalThis.fetch } {
  const attempts: Attempt[] = [];
  const number = (value: string | null): number | null => (value === null ? null : Number(value));
  return {
    attempts,
    fetch: async (input, init) => {
      if (attempts.length === 0) await before();
      const startedMs = performance.now();
      const response = await fetch(input, init);
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

interface Client {
  readonly name: string;
  /** One question, allowing an answer of `maxTokens`; `fetch` does the asking. Rejects when the client gives up. */
  readonly ask: (server: FakeAiServer, fetch: typeof globalThis.fetch, maxTokens: number) => Promise<unknown>;
  /** Which wait the client obeys. */
  readonly obeys: "retry-after-ms" | "retry-after";
  /** Attempts at a 429 that does not say when to come again, and the shortest wait between them. */
  readonly blind: { readonly attempts: number; readonly leastWaitMs: number };
}

const messages = [{ role: "user" as const, content: "Hello" }];

const clients: readonly Client[] = [
  {
    name: "openai",
    ask: ({ urls }, fetch, maxTokens) =>
      new OpenAI({ baseURL: `${urls.h1}/v1`, apiKey: "retries", fetch }).chat.completions.create({
        model: "gpt-4o",
        messages,
        max_tokens: maxTokens,
      }),
    obeys: "retry-after-ms",
    // 0.5 s, less up to a quarter of jitter.
    blind: { attempts: 3, leastWaitMs: 370 },
  },
  {
    name: "ai with @ai-sdk/openai",
    ask: ({ urls }, fetch, maxTokens) =>
      generateText({
        model: createOpenAI({ baseURL: `${urls.h1}/v1`, apiKey: "retries", fetch }).chat("gpt-4o"),
        prompt: "Hello",
        maxOutputTokens: maxTokens,
        // One retry of two seconds instead of the default's two and four.
        maxRetries: 1,
      }),
    obeys: "retry-after-ms",
    blind: { attempts: 2, leastWaitMs: 1990 },
  },
  {
    name: "@langchain/openai",
    ask: ({ urls }, fetch, maxTokens) =>
      new ChatOpenAI({
        model: "gpt-4o",
        apiKey: "retries",
        maxTokens,
        maxRetries: 2,
        configuration: { baseURL: `${urls.h1}/v1`, fetch },
      }).invoke("Hello"),
    obeys: "retry-after",
    blind: { attempts: 1, leastWaitMs: 0 },
  },
  {
    name: "@anthropic-ai/sdk",
    ask: ({ urls }, fetch, maxTokens) =>
      new Anthropic({ baseURL: urls.h1!, apiKey: "retries", fetch }).messages
        .create({ model: "claude", messages, max_tokens: maxTokens })
        // The limits stand before the route; without one the last answer is a 404.
        .catch((error: unknown) => {
          if (!(error instanceof Anthropic.NotFoundError)) throw error;
        }),
    obeys: "retry-after",
    blind: { attempts: 3, leastWaitMs: 370 },
  },
];

/** Spends all of the allowance, so that the next request is refused. */
async function exhaust({ urls }: FakeAiServer): Promise<void> {
  const headers = { authorization: "Bearer retries" };
  const body = JSON.stringify({ model: "gpt-4o", messages, max_tokens: 1 });
  for (;;) {
    const batch = Array.from({ length: 20 }, () => fetch(`${urls.h1}/v1/chat/completions`, { method: "POST", headers, body }));
    const statuses = (await Promise.all(batch)).map(({ status }) => status);
    if (statuses.includes(429)) return;
  }
}

describe.each(clients)("$name", ({ ask, obeys, blind }) => {
  test(`a 429 that says when: waits for ${obeys}, then succeeds at the second attempt`, async () => {
    // One request comes back every 600 ms: a second whole where only seconds are understood.
    await using server = await createServer({ rateLimit: "rpm=100", outputTokens: 1 });
    const { attempts, fetch } = recording(() => exhaust(server));
    await ask(server, fetch, 1);
    expect(attempts).toHaveLength(2);
    const [refused, admitted] = attempts as [Attempt, Attempt];
    expect(refused.status).toBe(429);
    expect(admitted.status).not.toBe(429);
    const waitMs = obeys === "retry-after-ms" ? refused.retryAfterMs! : refused.retryAfterSeconds! * 1000;
    expect(waitMs).toBeGreaterThan(0);
    // A timer may be a millisecond early.
    expect(admitted.startedMs - refused.endedMs).toBeGreaterThanOrEqual(waitMs - 2);
  });

  test(`a 429 that never ends: ${blind.attempts} attempts, then the client's error`, async () => {
    await using server = await createServer({ rateLimit: "tpm=100", outputTokens: 1 });
    const { attempts, fetch } = recording();
    await expect(ask(server, fetch, 101)).rejects.toThrow(/too large|exceed|rate limit/i);
    expect(attempts.map(({ status }) => status)).toEqual(Array.from({ length: blind.attempts }, () => 429));
    expect(server.stats().statuses).toEqual({ 429: blind.attempts });
    for (const [index, { startedMs }] of attempts.slice(1).entries()) {
      expect(startedMs - attempts[index]!.endedMs).toBeGreaterThanOrEqual(blind.leastWaitMs);
    }
  });
});
