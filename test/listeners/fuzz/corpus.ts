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
  formatted("an allOf that refers to itself", { allOf: [{ $ref: "#" }] }),
];
