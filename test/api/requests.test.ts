/**
 * The types of the providers' own SDKs as the judge of requests: whatever they allow gets an answer, except for what the list below
 * says is not there. Each of those gets a 400 that says so.
 */
import { readFileSync } from "node:fs";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { ApiError } from "../../src/api/errors/api-error.ts";
import { bodyOf, type Endpoint, provider } from "../support/provider.ts";
import { SchemaArbitraries } from "../support/schema-arbitrary.ts";
import { acceptedBy, type Definitions, definitionsOf, published, type Sdk } from "../support/sdk-types.ts";

/** What valid requests are made of. */
const types: Record<Sdk, Definitions> = { openai: {}, anthropic: {} };
/** What judges requests that departed from them, by endpoint. */
const judges: Record<string, ValidateFunction> = {};

beforeAll(() => {
  for (const sdk of ["openai", "anthropic"] as const) {
    types[sdk] = definitionsOf(sdk, published[sdk], `${sdk}-requests`);
    const ajv = new Ajv2020({ strict: false, validateFormats: false });
    ajv.addSchema({ $id: sdk, definitions: openEnded(acceptedBy(sdk)) });
    for (const path of Object.keys(published[sdk]))
      judges[path] = ajv.compile({ $ref: `${sdk}#/definitions/Asked/properties/${path.replaceAll("/", "~1")}` });
  }
}, 120_000);

/** With more members than the types name. */
function openEnded(definitions: Definitions): object {
  return JSON.parse(
    JSON.stringify(definitions, (name, value: unknown) => (name === "additionalProperties" && value === false ? undefined : value)),
  ) as object;
}

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
function refusalOf(path: Endpoint, body: object): { readonly message: string; readonly param: string | null } | null {
  try {
    bodyOf(provider({ outputTokens: 3, ttft: 0, itl: 0 }).plan(path, body));
    return null;
  } catch (error) {
    if (!(error instanceof ApiError) || error.problem.kind !== "request") throw error;
    expect(error.problem.status).toBe(400);
    return error.problem;
  }
}

const surfaces: readonly (readonly [Sdk, Endpoint, number])[] = [
  ["openai", "/v1/chat/completions", 400],
  ["openai", "/v1/responses", 400],
  ["openai", "/v1/completions", 100],
  ["openai", "/v1/embeddings", 50],
  ["anthropic", "/v1/messages", 400],
];

function requestsOf(sdk: Sdk, path: Endpoint): fc.Arbitrary<Body> {
  const arbitraries = new SchemaArbitraries(types[sdk], (name) => ranges[name]);
  return arbitraries.of(types[sdk]["Asked"]!.properties![path]!).map((body) => coherent(path, body as Body));
}

test.each(surfaces)("%s %s: whatever the types allow is answered, or is not there and says so", (sdk, path, numRuns) => {
  fc.assert(
    fc.property(requestsOf(sdk, path), (body) => {
      const refusal = refusalOf(path, body);
      const expected = absent.filter(([, at, holds]) => at === path && holds(body));
      if (expected.length === 0) expect(refusal).toBeNull();
      else expect(expected.some(([, , , says]) => says.test(refusal?.message ?? ""))).toBe(true);
    }),
    { numRuns, seed: 2026 },
  );
});

type Path = readonly (string | number)[];

/** The places of all values inside of a body. */
function placesIn(value: unknown, path: Path = []): Path[] {
  if (typeof value !== "object" || value === null) return path.length === 0 ? [] : [path];
  const names = Array.isArray(value) ? value.map((_, index) => index) : Object.keys(value);
  const inside = names.flatMap((name) => placesIn((value as Record<string | number, unknown>)[name], [...path, name]));
  return path.length === 0 ? inside : [path, ...inside];
}

function valueAt(body: unknown, path: Path): unknown {
  return path.reduce((value, name) => (value as Record<string | number, unknown>)[name], body);
}

/** The body with another value at a place. */
function changed(body: Body, path: Path, to: unknown): Body {
  // Not a structured clone: what stands twice in the body is changed once.
  const copy = JSON.parse(JSON.stringify(body)) as Body;
  (valueAt(copy, path.slice(0, -1)) as Record<string | number, unknown>)[path.at(-1)!] = to;
  return copy;
}

/** What names a place in an error: OpenAI's has it as its parameter, Anthropic's says it, with the types of the variants on the way. */
function isNamed(endpoint: Endpoint, path: Path, { message, param }: { readonly message: string; readonly param: string | null }): boolean {
  if (endpoint === "/v1/messages") {
    const steps = path.at(-1) === "type" ? path.slice(0, -1) : path;
    return new RegExp(String.raw`^${steps.join(String.raw`\.(?:\w+\.)?`)}\b`).test(message);
  }
  const written = path
    .map((name) => (typeof name === "number" ? `[${name}]` : `.${name}`))
    .join("")
    .slice(1);
  // Lists of prompts, and of texts to embed, are named as far as their items.
  const isListed = listed[endpoint] === path[0] && path.length > 1;
  return isListed ? param!.startsWith(listed[endpoint]!) : param === written;
}

const listed: Readonly<Partial<Record<Endpoint, string>>> = { "/v1/completions": "prompt", "/v1/embeddings": "input" };

test.each(surfaces)("%s %s: one name or JSON type that the types do not have is refused, and named", (sdk, path, numRuns) => {
  const judge = judges[path]!;
  const departed = requestsOf(sdk, path).chain((body) => {
    const places = placesIn(body).filter((place) => valueAt(body, place) !== null);
    return fc.tuple(fc.constant(body), fc.constantFrom(...places), fc.boolean());
  });
  let refused = 0;
  fc.assert(
    fc.property(departed, ([body, place, isName]) => {
      expect(judge(body), JSON.stringify(judge.errors)).toBe(true);
      const value = valueAt(body, place);
      const other = changed(body, place, typeof value === "string" ? (isName ? "banana" : 5) : typeof value === "number" ? "banana" : 5);
      if (judge(other)) return;
      refused++;
      const refusal = refusalOf(path, other);
      expect(refusal, `accepted: ${JSON.stringify(valueAt(other, place))} at ${place.join(".")}`).not.toBeNull();
      expect(isNamed(path, place, refusal!), `${place.join(".")}: ${refusal!.message}`).toBe(true);
    }),
    { numRuns: 5 * numRuns, seed: 2026 },
  );
  expect(refused).toBeGreaterThan(numRuns);
});

test("the document lists what is not there", () => {
  const row = /^\|(.*)\| A 400 says that fakeai does not have it\./m.exec(
    readFileSync(new URL("../../docs/serve.md", import.meta.url), "utf8"),
  )![1]!;
  for (const words of ["`functions`", '"audio"', "forced tools that are not functions", "`background`"]) expect(row).toContain(words);
});
