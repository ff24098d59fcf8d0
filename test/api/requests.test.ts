/**
 * The types of the providers' own SDKs as the judge of requests: whatever they allow gets an answer, except for what the list below
 * says is not there. Each of those gets a 400 that says so.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import fc from "fast-check";
import { createGenerator } from "ts-json-schema-generator";
import { beforeAll, expect, test } from "vitest";
import { ApiError } from "../../src/api/errors/api-error.ts";
import { bodyOf, type Endpoint, provider } from "../support/provider.ts";
import { type Schema, SchemaArbitraries } from "../support/schema-arbitrary.ts";

const cache = new URL("../../node_modules/.cache/", import.meta.url).pathname;
// A new checkout has none.
mkdirSync(cache, { recursive: true });
type Definitions = Readonly<Record<string, Schema>>;
const types: Record<"openai" | "anthropic", Definitions> = { openai: {}, anthropic: {} };

/** JSON schemas of the members of an interface, and of all that they refer to. */
function schemasOf(name: string, source: string): Definitions {
  const entry = `${cache}${name}-requests.ts`;
  const tsconfig = `${cache}${name}-requests.tsconfig.json`;
  writeFileSync(entry, source);
  const compilerOptions = { module: "NodeNext", target: "ES2022", lib: ["ES2022", "DOM"], strict: true, skipLibCheck: true, types: [] };
  writeFileSync(tsconfig, JSON.stringify({ compilerOptions, files: [entry] }));
  return createGenerator({ path: entry, type: "Asked", tsconfig, skipTypeCheck: true }).createSchema("Asked").definitions as Definitions;
}

beforeAll(() => {
  types.openai = schemasOf(
    "openai",
    `import type OpenAI from "openai";
     export interface Asked {
       "/v1/chat/completions": OpenAI.ChatCompletionCreateParams; "/v1/completions": OpenAI.CompletionCreateParams;
       "/v1/embeddings": OpenAI.EmbeddingCreateParams; "/v1/responses": OpenAI.Responses.ResponseCreateParams;
     }`,
  );
  types.anthropic = schemasOf(
    "anthropic",
    `import type Anthropic from "@anthropic-ai/sdk";
     export interface Asked { "/v1/messages": Anthropic.MessageCreateParams }`,
  );
}, 120_000);

type Body = Record<string, unknown>;

const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const share = (most: number, least = 0): fc.Arbitrary<number> => fc.double({ min: least, max: most, noNaN: true });
const whole = (min: number, max: number): fc.Arbitrary<number> => fc.integer({ min, max });

/** Ranges that the providers' documents give, and their types do not. */
const ranges: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  temperature: share(1),
  top_p: share(1),
  presence_penalty: share(2, -2),
  frequency_penalty: share(2, -2),
  logit_bias: fc.dictionary(fc.nat(50_000).map(String), share(100, -100), { maxKeys: 3 }),
  n: whole(1, 4),
  top_logprobs: whole(0, 5),
  max_output_tokens: whole(16, 50),
  max_tokens: whole(0, 2000),
  budget_tokens: whole(1024, 1900),
  parameters: fc.constant(schema),
  input_schema: fc.constant(schema),
  schema: fc.constant(schema),
};

/** What a conversation with the provider's server would have left there. */
const stateful = ["previous_response_id"];

const record = (value: unknown): Body => (typeof value === "object" && value !== null ? (value as Body) : {});
const list = (value: unknown): Body[] => (Array.isArray(value) ? (value as Body[]) : []);

/** Names go together: what the documents ask for across members. */
function coherent(path: Endpoint, body: Body): Body {
  const made = { ...body };
  for (const name of stateful) delete made[name];
  if (made["stream"] !== true) delete made["stream_options"];
  if (path === "/v1/chat/completions") {
    if (made["max_tokens"] === 0) made["max_tokens"] = 1;
    if (typeof made["top_logprobs"] === "number") made["logprobs"] = true;
  }
  if (path === "/v1/responses") {
    if (made["input"] === undefined) made["prompt"] ??= { id: "pmpt_1" };
    if (made["prompt"] === undefined || made["prompt"] === null) made["model"] ??= "gpt-5";
  }
  if (path === "/v1/completions" && typeof made["best_of"] === "number")
    made["best_of"] = Math.max(made["best_of"], (made["n"] as number | null) ?? 1);
  if (path === "/v1/messages" && record(made["thinking"])["type"] === "enabled") made["max_tokens"] = 2000;
  return withTools(path, made);
}

/** A tool choice names tools that are there. */
function withTools(path: Endpoint, body: Body): Body {
  const choice = record(body["tool_choice"]);
  const form =
    path === "/v1/chat/completions"
      ? (name: unknown): Body => ({ type: "function", function: { name, parameters: schema } })
      : path === "/v1/messages"
        ? (name: unknown): Body => ({ name, input_schema: schema })
        : (name: unknown): Body => ({ type: "function", name, parameters: schema, strict: true });
  const tools = list(body["tools"]);
  if (body["tool_choice"] === undefined || body["tool_choice"] === null) return body;
  if (choice["type"] === "allowed_tools") {
    const allowed = {
      mode: "auto",
      tools:
        path === "/v1/chat/completions"
          ? tools.map((tool) => ({ type: tool["type"], [tool["type"] as string]: { name: record(tool[tool["type"] as string])["name"] } }))
          : tools.map(({ type, name, server_label }) => ({ type, name, server_label })),
    };
    return {
      ...body,
      tools,
      tool_choice:
        path === "/v1/chat/completions" ? { type: "allowed_tools", allowed_tools: allowed } : { type: "allowed_tools", ...allowed },
    };
  }
  const name = choice["name"] ?? record(choice["function"])["name"];
  return { ...body, tools: [...tools, form(name ?? "f")] };
}

/** What fakeai does not have, and says so; docs/serve.md has the same list. */
const absent: readonly (readonly [string, Endpoint, (body: Body) => boolean, RegExp])[] = [
  ["functions", "/v1/chat/completions", ({ functions }) => list(functions).length > 0, /'functions' is not supported here/],
  [
    "speech",
    "/v1/chat/completions",
    ({ modalities }) => Array.isArray(modalities) && modalities.includes("audio"),
    /Answers are text here/,
  ],
  [
    "forced custom tools",
    "/v1/chat/completions",
    ({ tool_choice }) => record(tool_choice)["type"] === "custom",
    /Only tools of the type 'function'/,
  ],
  ["background", "/v1/responses", ({ background }) => background === true, /'background' is not supported here/],
  [
    "forced tools that are no functions",
    "/v1/responses",
    ({ tool_choice }) => !["function", "allowed_tools", undefined].includes(record(tool_choice)["type"] as string),
    /Only tools of the type 'function'/,
  ],
];

/** Why a request is refused; null: it is answered. Every other failure is a defect. */
function refusalOf(path: Endpoint, body: object): string | null {
  try {
    bodyOf(provider({ outputTokens: 3, ttft: 0, itl: 0 }).plan(path, body));
    return null;
  } catch (error) {
    if (!(error instanceof ApiError) || error.problem.kind !== "request") throw error;
    expect(error.problem.status).toBe(400);
    return error.problem.message;
  }
}

test.each<[keyof typeof types, Endpoint, number]>([
  ["openai", "/v1/chat/completions", 400],
  ["openai", "/v1/responses", 400],
  ["openai", "/v1/completions", 100],
  ["openai", "/v1/embeddings", 50],
  ["anthropic", "/v1/messages", 400],
])("%s %s: whatever the types allow is answered, or is not there and says so", (sdk, path, numRuns) => {
  const arbitraries = new SchemaArbitraries(types[sdk], (name) => ranges[name]);
  const requests = arbitraries.of(types[sdk]["Asked"]!.properties![path]!).map((body) => coherent(path, body as Body));
  fc.assert(
    fc.property(requests, (body) => {
      const refusal = refusalOf(path, body);
      const expected = absent.filter(([, at, holds]) => at === path && holds(body));
      if (expected.length === 0) expect(refusal).toBeNull();
      else expect(expected.some(([, , , says]) => says.test(refusal ?? ""))).toBe(true);
    }),
    { numRuns, seed: 2026 },
  );
});

test("the document lists what is not there", () => {
  const row = /^\|(.*)\| A 400 says that fakeai does not have it\./m.exec(
    readFileSync(new URL("../../docs/serve.md", import.meta.url), "utf8"),
  )![1]!;
  for (const words of ["`functions`", '"audio"', "forced tools that are not functions", "`background`"]) expect(row).toContain(words);
});
