/** What a request may bring and ask for: the bound stands in the refusal, and in docs/serve.md. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createServer, type FakeAiServer } from "../../src/index.ts";
import { chat } from "../support/chat.ts";
import { start, type Started, targets } from "../support/targets.ts";

describe.each(targets)("on $name", (target) => {
  let server: Started;
  beforeAll(async () => {
    server = await start(target, { maxBody: 4000, maxHead: 3000, maxJsonDepth: 20 });
  });
  afterAll(() => server.stop());

  const deep = `{"a":${"[".repeat(21)}${"]".repeat(21)}}`;
  const ofBody = ": 4000 bytes (--max-body).";
  test.each([
    ["a body", { body: chat({ user: "x".repeat(4000) }) }, 413, `accepts${ofBody}`],
    ["a body to Anthropic", { path: "/v1/messages", body: "x".repeat(4001) }, 413, `Request exceeds the maximum size${ofBody}`],
    ["a head", { headers: { "x-fill": "x".repeat(3100) }, body: chat() }, 431, "accepts: 3000 bytes (--max-head)."],
    ["a depth", { body: deep }, 400, "accepts: 20 levels (--max-json-depth), passed at byte 24."],
  ] as const)("%s", async (_what, ask, status, words) => {
    const answer = await server.ask({ path: "/v1/chat/completions", ...ask });
    expect([answer.status, answer.body]).toEqual([status, expect.stringContaining(words) as string]);
  });
});

describe("of what is asked for", () => {
  let server: FakeAiServer;
  beforeAll(async () => {
    server = await createServer();
  });
  afterAll(() => server.close());

  const docs = readFileSync(new URL("../../docs/serve.md", import.meta.url), "utf8").split("## What one request may ask for")[1]!;
  const texts = (count: number): string[] => Array.from({ length: count }, () => "a");
  const nested = (levels: number): object =>
    levels === 0 ? { type: "string" } : { type: "array", minItems: 1, items: nested(levels - 1) };
  // Each level is two of the body's.
  const schema = { type: "object", properties: { a: { $ref: "#/$defs/a0" } }, required: ["a"], $defs: {} as Record<string, object> };
  for (let level = 0; level < 70; level++)
    schema.$defs[`a${level}`] = { type: "array", minItems: 1, items: { $ref: `#/$defs/a${level + 1}` } };
  schema.$defs["a70"] = nested(1);
  test.each<[string, object, number]>([
    ["/v1/moderations", { input: texts(1025) }, 1024],
    ["/v1/completions", { model: "m", prompt: texts(9), n: 128 }, 1024],
    ["/v1/embeddings", { model: "m", input: texts(2049) }, 2048],
    ["/v1/embeddings", { model: "m", input: texts(2000), dimensions: 4096 }, 4_194_304],
    ["/api/embed", { model: "m", input: texts(513) }, 512],
    ["/api/embed", { model: "m", input: texts(512), dimensions: 4096 }, 1_048_576],
    ["/v1beta/models/m:batchEmbedContents", { requests: texts(101).map((text) => ({ content: { parts: [{ text }] } })) }, 100],
    ["/v1/chat/completions", chat({ response_format: { type: "json_schema", json_schema: { name: "a", schema } } }), 64],
  ])("%s: %#", async (path, body, bound) => {
    const answer = await fetch(`${server.urls.h1}${path}`, { method: "POST", body: JSON.stringify(body) });
    const shown = expect.stringMatching(new RegExp(`\\b${bound}\\b`)) as string;
    expect([answer.status, (await answer.text()).replaceAll(/(?<=\d),(?=\d{3})/g, "")]).toEqual([400, shown]);
    expect(docs).toMatch(new RegExp(`\\b${bound.toLocaleString("en")}\\b`));
  });
});
