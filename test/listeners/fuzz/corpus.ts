/** Requests that once held up every stream, took hundreds of megabytes or were answered with 500. They run before all others. */
import { doubledReferences } from "./schemas.ts";
import { filled } from "./values.ts";

interface Known {
  /** What it was. */
  readonly category: "corpus";
  readonly name: string;
  readonly target: string;
  readonly headers?: readonly (readonly [string, string])[];
  readonly json: unknown;
}

const user = { role: "user", content: "Hello there" };
const chat = (name: string, more: object, headers: Known["headers"] = []): Known => ({
  category: "corpus",
  name,
  target: "/v1/chat/completions",
  headers,
  json: { model: "gpt-4o", messages: [user], ...more },
});
const formatted = (name: string, schema: unknown): Known =>
  chat(name, { response_format: { type: "json_schema", json_schema: { name: "n", schema } } });

const tools = Array.from({ length: 20_000 }, (_, index) => ({ type: "function", function: { name: `tool_${index}` } }));
const wide = {
  type: "object",
  properties: Object.fromEntries(Array.from({ length: 2600 }, (_, index) => [`p${index}`, { type: "string" }])),
  required: Array.from({ length: 2600 }, (_, index) => `p${index}`),
};
const half = "a".repeat(40_000);

export const corpus: readonly Known[] = [
  formatted("allOf of two references, 20 levels", doubledReferences("allOf", 20, 2)),
  formatted("allOf of two references, 60 levels", doubledReferences("allOf", 60, 2)),
  formatted("1,000 items of 20,000 characters", { type: "array", minItems: 1000, items: { type: "string", minLength: 20_000 } }),
  formatted("2,500 items of 20,000 characters", { type: "array", minItems: 2500, items: { type: "string", minLength: 20_000 } }),
  chat("a stop of 80,000 near-periodic characters", { stop: [`${half}b${half}`] }, [
    ["x-fakeai-text", "a".repeat(5000)],
    ["x-fakeai-output-tokens", "80000"],
  ]),
  formatted("a class of 100,000 characters, 4,000 times", { type: "string", pattern: `[${filled("ab", 100_000)}]{4000}` }),
  {
    category: "corpus",
    name: "2,048 embeddings of 2,048 dimensions",
    target: "/v1/embeddings",
    json: { model: "e", input: Array.from({ length: 2048 }, () => "a"), dimensions: 2048 },
  },
  chat("20,000 tools, the last allowed 20,000 times", {
    tools,
    tool_choice: { type: "allowed_tools", allowed_tools: { mode: "auto", tools: tools.map(() => tools.at(-1)) } },
  }),
  formatted("a reference with a bad escape", { $ref: "#/%" }),
  formatted("the format __proto__", { type: "string", format: "__proto__" }),
  formatted("the format __defineGetter__", { type: "string", format: "__defineGetter__" }),
  formatted("an allOf of 3,700 parts", {
    type: "object",
    properties: { a: { allOf: Array.from({ length: 3700 }, () => ({ type: "object", properties: { a: { type: "string" } } })) } },
    required: ["a"],
  }),
  chat("128 choices of 2,600 properties", { n: 128, response_format: { type: "json_schema", json_schema: { name: "n", schema: wide } } }),
  chat("128 choices of 20 alternatives a token", { n: 128, stream: true, reasoning_effort: "max", logprobs: true, top_logprobs: 20 }),
  {
    category: "corpus",
    name: "155,000 numbers of 15 digits",
    target: "/detokenize",
    json: { tokens: [Array.from({ length: 155_000 }, () => 220_065_516_222_457)] },
  },
  {
    category: "corpus",
    name: "170,000 numbers with exponents that no route reads",
    target: "/openai/v1/gpt-4o",
    json: { input: Array.from({ length: 170_000 }, () => 5e-324) },
  },
  {
    category: "corpus",
    name: "2,026 texts to moderate",
    target: "/v1/moderations",
    json: { input: Array.from({ length: 2026 }, () => "a".repeat(150)) },
  },
  formatted("an allOf that refers to itself", { allOf: [{ $ref: "#" }] }),
];
