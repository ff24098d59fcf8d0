/** Any text that is asked for comes back the same through the parsers that clients use. */
import { EventSource } from "eventsource";
import { createParser } from "eventsource-parser";
import fc from "fast-check";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { type Endpoint, provider } from "../support/provider.ts";

const anyText = fc
  .array(
    fc.oneof(
      fc.string({ unit: "binary", maxLength: 12 }),
      fc.constantFrom(
        "\r",
        "\n",
        "\r\n",
        "\n\n",
        "\u2028",
        "\u2029",
        "\u0085",
        "\0",
        "\uFEFF",
        "\ud83d",
        "\udc00",
        "👩‍👩‍👧",
        "🇨🇭",
        "e\u0301",
        "data: [DONE]\n\n",
        "event: error\n",
        '"}\n\n',
        ": x",
      ),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join(""));

/** An event of any surface, as far as texts go. */
interface Event {
  readonly choices?: readonly { readonly delta?: { readonly content?: string }; readonly text?: string }[];
  readonly delta?: string | { readonly text?: string };
}

const requests: [string, Endpoint, object, (event: Event) => string | null | undefined][] = [
  ["chat", "/v1/chat/completions", { messages: [{ role: "user", content: "x" }] }, (event) => event.choices?.[0]?.delta?.content],
  ["completions", "/v1/completions", { prompt: "x" }, (event) => event.choices?.[0]?.text],
  ["responses", "/v1/responses", { input: "x" }, (event) => (typeof event.delta === "string" ? event.delta : null)],
  [
    "messages",
    "/v1/messages",
    { max_tokens: 100_000, messages: [{ role: "user", content: "x" }] },
    (event) => (typeof event.delta === "object" ? event.delta.text : null),
  ],
];

describe("eventsource-parser, bytes cut anywhere", () => {
  test.each(requests)("%s", (_name, path, body, pick) => {
    const surfaces = (["openai", "vllm", "openrouter", "minimal"] as const).map((profile) => provider({ profile }));
    fc.assert(
      fc.property(anyText, fc.integer({ min: 1, max: 7 }), fc.nat(3), fc.integer({ min: 1, max: 50 }), (text, perChunk, which, cut) => {
        const headers = {
          "x-fakeai-text": JSON.stringify(text),
          "x-fakeai-tokens-per-chunk": String(perChunk),
          "x-fakeai-stamps": String(perChunk % 2),
        };
        const bytes = new TextEncoder().encode(surfaces[which]!.body(path, { model: "m", stream: true, ...body }, headers));
        let said = "";
        const parser = createParser({
          onEvent: ({ data }) => {
            if (data !== "[DONE]") said += pick(JSON.parse(data) as Event) ?? "";
          },
        });
        const decoder = new TextDecoder();
        for (let at = 0; at < bytes.length; at += cut) parser.feed(decoder.decode(bytes.subarray(at, at + cut), { stream: true }));
        expect(said).toBe(text);
      }),
      { numRuns: 200 },
    );
  });
});

describe("over a socket", () => {
  let server: FakeAiServer;
  beforeAll(async () => {
    server = await createServer({ outputTokens: 5 });
  });
  afterAll(() => server.close(0));

  /** JSON without a character that a header could not carry. */
  const headerOf = (text: string): string =>
    JSON.stringify(text).replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

  test("openai: chat and responses", async () => {
    const client = new OpenAI({ baseURL: `${server.urls.h1!}/v1`, apiKey: "any", maxRetries: 0 });
    await fc.assert(
      fc.asyncProperty(anyText, async (text) => {
        const headers = { "x-fakeai-text": headerOf(text) };
        const stream = await client.chat.completions.create(
          { model: "m", stream: true, messages: [{ role: "user", content: "x" }] },
          { headers },
        );
        let said = "";
        for await (const chunk of stream) said += chunk.choices[0]?.delta.content ?? "";
        expect(said).toBe(text);
        const final = await client.responses.stream({ model: "m", input: "x" }, { headers }).finalResponse();
        expect(final.output_text).toBe(text);
      }),
      { numRuns: 60 },
    );
  });

  test("eventsource", async () => {
    await fc.assert(
      fc.asyncProperty(anyText, async (text) => {
        const source = new EventSource(`${server.urls.h1!}/v1/chat/completions`, {
          fetch: (url, init) =>
            fetch(url, {
              ...init,
              method: "POST",
              headers: { ...init.headers, "x-fakeai-text": headerOf(text) },
              body: JSON.stringify({ model: "m", stream: true, messages: [{ role: "user", content: "x" }] }),
            }),
        });
        const said = await new Promise<string>((resolve, reject) => {
          let all = "";
          source.addEventListener("message", ({ data }: { data: string }) => {
            if (data === "[DONE]") resolve(all);
            else all += (JSON.parse(data) as { choices: { delta: { content?: string } }[] }).choices[0]?.delta.content ?? "";
          });
          source.addEventListener("error", (error) => reject(new Error(error.message ?? "error")));
        });
        source.close();
        expect(said).toBe(text);
      }),
      { numRuns: 60 },
    );
  });
});
