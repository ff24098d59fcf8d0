/**
 * The types of the providers' own SDKs as the judge of requests: whatever they allow gets an answer, except for what the list below
 * says is not there. Each of those gets a 400 that says so.
 */
import { readFileSync } from "node:fs";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { ApiError } from "../../src/api/errors/api-error.ts";
import { bodyOf, type Endpoint, provider } from "../support/provider.ts";
import { type Schema, SchemaArbitraries } from "../support/schema-arbitrary.ts";
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
};

/** Schemas of arguments. Anthropic's type has its lists nullable. */
const schemas = fc.constantFrom(schema, { type: "object" }, { type: "object", properties: {}, required: [] });
const nullable = fc.constantFrom(schema, { type: "object", properties: null, required: null });

function named(name: string, { type, anyOf = [] }: Schema): fc.Arbitrary<unknown> | undefined {
  if (name === "input_schema") return fc.oneof(schemas, nullable);
  if (name !== "parameters" && name !== "schema") return ranges[name];
  return [type, ...anyOf.map((one) => one.type)].flat().includes("null") ? fc.oneof(schemas, fc.constant(null)) : schemas;
}

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

const isEmpty = (value: unknown): boolean => Array.isArray(value) && value.length === 0;

/** Lists that may not be empty: the types do not say so, the providers' API references do. */
const empties: typeof absent = [
  ["no messages", "/v1/chat/completions", ({ messages }) => isEmpty(messages), /^Invalid 'messages': empty array\./],
  [
    "no input and nothing that has one",
    "/v1/responses",
    ({ input, prompt, conversation }) => isEmpty(input) && !prompt && !conversation,
    /^Invalid 'input': empty array\./,
  ],
  ["no prompt", "/v1/completions", ({ prompt }) => isEmpty(prompt), /^Invalid 'prompt': empty array\./],
  ["no ids", "/v1/completions", ({ prompt }) => list(prompt).some(isEmpty), /^Invalid type for 'prompt\[\d\]'/],
  ["no texts", "/v1/embeddings", ({ input }) => isEmpty(input), /^Invalid 'input': empty array\./],
  ["no ids", "/v1/embeddings", ({ input }) => list(input).some(isEmpty), /^Invalid type for 'input\[\d\]'/],
  ["no messages", "/v1/messages", ({ messages }) => isEmpty(messages), /^messages: at least one message is required/],
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
  const arbitraries = new SchemaArbitraries(types[sdk], named);
  return arbitraries.of(types[sdk]["Asked"]!.properties![path]!).map((body) => coherent(path, body as Body));
}

test.each(surfaces)("%s %s: whatever the types allow is answered, or is not there and says so", (sdk, path, numRuns) => {
  fc.assert(
    fc.property(requestsOf(sdk, path), (body) => {
      const refusal = refusalOf(path, body);
      const expected = [...absent, ...empties].filter(([, at, holds]) => at === path && holds(body));
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
  return isListed ? param!.startsWith(listed[endpoint]!) : param === written || param?.startsWith(`${written}.`) === true;
}

const listed: Readonly<Partial<Record<Endpoint, string>>> = { "/v1/completions": "prompt", "/v1/embeddings": "input" };

/** Values of other names, JSON types and ranges. */
function departures(value: unknown): readonly unknown[] {
  if (typeof value === "string") return ["banana", "banana", 5, "x".repeat(600)];
  if (typeof value === "number") return ["banana", -1e6, 1e6];
  if (typeof value !== "object" || Array.isArray(value)) return ["banana", 5];
  const many = Array.from({ length: 17 }, (_, index) => [`name${index}`, "x"]);
  return [5, 5, { ...value, ...Object.fromEntries(many) }, { ...value, ["x".repeat(70)]: "x" }];
}

test.each(surfaces)("%s %s: one name, JSON type or number that is not theirs is refused, and named", (sdk, path, numRuns) => {
  const judge = judges[path]!;
  const departed = requestsOf(sdk, path).chain((body) => {
    const places = placesIn(body).filter((place) => valueAt(body, place) !== null);
    return fc.tuple(fc.constant(body), fc.constantFrom(...places), fc.nat());
  });
  let refused = 0;
  fc.assert(
    fc.property(departed, ([body, place, which]) => {
      expect(judge(body) || judge.errors).toBe(true);
      const others = departures(valueAt(body, place));
      const other = changed(body, place, others[which % others.length]);
      if (judge(other)) return;
      refused++;
      const refusal = refusalOf(path, other);
      const what = `${JSON.stringify(valueAt(other, place))} at ${place.join(".")}`;
      if (refusal === null) throw new Error(`accepted: ${what}`);
      if (!isNamed(path, place, refusal)) throw new Error(`${what}: ${refusal.message}`);
    }),
    { numRuns: 5 * numRuns, seed: 2026 },
  );
  expect(refused).toBeGreaterThan(numRuns);
});

const user = [{ role: "user", content: "Hi" }];
const chat = { model: "m", messages: user };
const message = { ...chat, max_tokens: 5 };
const response = { model: "m", input: "Hi" };
const tag = (at: string): RegExp => new RegExp(`^${at}: Input tag 'banana' found using 'type' does not match any of the expected tags: '`);

test.each<[Endpoint, object, string | RegExp]>([
  [
    "/v1/chat/completions",
    { ...chat, tools: [{ type: "banana" }] },
    "Invalid value: 'banana'. Supported values are: 'function' and 'custom'.",
  ],
  [
    "/v1/chat/completions",
    { ...chat, messages: [{ role: "user", content: [{ type: "banana" }] }] },
    /^Invalid value: 'banana'\. .*'image_url'/,
  ],
  ["/v1/chat/completions", { ...chat, messages: [{ role: "user", content: [{ text: "Hi" }] }] }, /'messages\[0\]\.content\[0\]\.type'/],
  ["/v1/chat/completions", { ...chat, metadata: 5 }, "Invalid type for 'metadata': expected an object, but got an integer instead."],
  ["/v1/chat/completions", { ...chat, metadata: { a: "x".repeat(513) } }, /'metadata\.a': string too long\. .* 512, .* 513/],
  ["/v1/responses", { ...response, metadata: { a: "x".repeat(513) } }, /'metadata\.a': string too long\. .* 512, .* 513/],
  [
    "/v1/responses",
    { ...response, metadata: Object.fromEntries(Array.from({ length: 17 }, (_, n) => [`a${n}`, "b"])) },
    /16 properties, .* 17/,
  ],
  [
    "/v1/completions",
    { model: "m", prompt: "Hi", n: 3, best_of: 2 },
    /^You requested that the server return more choices than it will generate .*'n' \(currently 3\).*'best_of' \(currently 2\)/,
  ],
  ["/v1/completions", { model: "m", prompt: "Hi", best_of: 0 }, /'n' \(currently 1\) to be at most 'best_of' \(currently 0\)/],
  ["/v1/completions", { model: "m", prompt: ["Hi", [5]] }, /^Invalid type for 'prompt\[1\]'/],
  ["/v1/responses", { ...response, input: [{ role: "banana", content: "Hi" }] }, /^Invalid value: 'banana'\. .*'developer'/],
  ["/v1/responses", { ...response, input: [{ type: "banana" }] }, /^Invalid value: 'banana'\. .*'function_call_output'/],
  ["/v1/responses", { ...response, conversation: "conv_1", previous_response_id: "resp_1" }, /^Mutually exclusive parameters: /],
  ["/v1/messages", { ...message, tools: [{ type: "banana", name: "f" }] }, tag("tools\\.0")],
  ["/v1/messages", { ...message, messages: [{ role: "user", content: [{ type: "banana" }] }] }, tag("messages\\.0\\.content\\.0")],
  ["/v1/messages", { ...message, service_tier: "banana" }, "service_tier: Input should be 'auto' or 'standard_only'"],
  ["/v1/messages", { ...message, system: 42 }, "system: Input should be a valid string or list"],
  ["/v1/messages", { ...message, top_p: 7 }, "top_p: range: 0..1"],
  ["/v1/messages", { ...message, top_k: -3 }, "top_k: Input should be greater than or equal to 0"],
])("%s %j is refused in the provider's words", (path, body, says) => {
  const { message: said } = refusalOf(path, body)!;
  if (typeof says === "string") expect(said).toBe(says);
  else expect(said).toMatch(says);
});

test("what other clients send is taken", () => {
  const call = { type: "computer_call_output", call_id: "c", output: { type: "input_image", image_url: "data:image/png;base64,AA==" } };
  expect(refusalOf("/v1/responses", { model: "m", input: [...user, call] })).toBeNull();
  for (const elsewhere of [{ prompt: { id: "pmpt_1" } }, { conversation: "conv_1" }])
    expect(refusalOf("/v1/responses", { model: "m", input: [], ...elsewhere })).toBeNull();
  const parts = [
    { type: "video_url", video_url: { url: "https://example.com/x.mp4" } },
    { type: "text", text: "Hi", x_own: 5 },
  ];
  expect(
    refusalOf("/v1/chat/completions", { ...chat, messages: [{ role: "user", content: parts }], user: null, top_k: 5, x_own: {} }),
  ).toBeNull();
  expect(refusalOf("/v1/responses", { ...response, metadata: { "x-fakeai-text": "x".repeat(600) } })).toBeNull();
});

/** A conversation on /v1/responses as clients keep it: with and without the types of its messages. */
describe.each([{}, { type: "message" }])("turns of Responses, messages with %j", (typed) => {
  const user = { ...typed, role: "user", content: "a" };
  const said = (...content: object[]): object => ({ ...typed, role: "assistant", content });
  const text = { type: "output_text", text: "b" };
  const loop = [
    { type: "reasoning", id: "rs_1", encrypted_content: "x", summary: [{ type: "summary_text", text: "b" }] },
    { type: "function_call", id: "fc_1", call_id: "c", name: "f", arguments: "{}" },
    { type: "function_call_output", call_id: "c", output: "20" },
  ];

  test.each<[string, object[]]>([
    ["a text", [user, said(text), user]],
    ["a text with annotations", [user, said({ ...text, annotations: [], logprobs: [] }), user]],
    ["a text as it was answered", [user, { ...said(text), id: "msg_1", status: "completed", phase: "final_answer" }, user]],
    ["a refusal", [user, said({ type: "refusal", refusal: "No." }), user]],
    ["a text that is a string", [user, { ...typed, role: "assistant", content: "b" }, user]],
    ["a tool's loop", [user, said(text), ...loop, said(text), user]],
    ["a name alone", [user, { id: "msg_1" }, { id: "msg_2", type: null }, user]],
    ["images", [{ ...typed, role: "user", content: [{ type: "input_image", image_url: "https://example.com/x.png", detail: "auto" }] }]],
  ])("%s", (_what, input) => {
    for (const more of [{}, { store: false, include: ["reasoning.encrypted_content"], reasoning: { effort: "low", summary: "auto" } }])
      expect(refusalOf("/v1/responses", { model: "gpt-5", input, ...more })).toBeNull();
  });

  test.each<[object, string, string]>([
    [said({ type: "input_text", text: "b" }), "input_text", "'output_text' and 'refusal'."],
    [{ ...typed, role: "user", content: [text] }, "output_text", "'input_text', 'input_image', and 'input_file'."],
    [
      { ...typed, role: "system", content: [{ type: "refusal", refusal: "b" }] },
      "refusal",
      "'input_text', 'input_image', and 'input_file'.",
    ],
  ])("%j is not what its role says", (item, found, allowed) => {
    expect(refusalOf("/v1/responses", { model: "gpt-5", input: [user, item] })).toMatchObject({
      message: `Invalid value: '${found}'. Supported values are: ${allowed}`,
      param: "input[1].content[0].type",
    });
  });
});

const said = (part: object): object => ({ ...chat, messages: [{ role: "user", content: [part] }] });
const speech = (format: string): object => said({ type: "input_audio", input_audio: { data: "AA==", format } });
const onBoth: readonly object[] = [
  ...["flac", "m4a", "ogg", "pcm16"].map(speech),
  said({ type: "image_embeds", image_embeds: {} }),
  { ...chat, response_format: { type: "structural_tag", structures: [], triggers: [] } },
];

/** What servers have beside OpenAI's types, which refuse it. */
test.each<["vllm" | "openrouter", Endpoint, object]>([
  ...onBoth.map((body): ["vllm", Endpoint, object] => ["vllm", "/v1/chat/completions", body]),
  ...onBoth.map((body): ["openrouter", Endpoint, object] => ["openrouter", "/v1/chat/completions", body]),
  ["vllm", "/v1/chat/completions", { ...chat, metadata: { n: 5, list: [] } }],
  ["vllm", "/v1/responses", { ...response, metadata: { n: 5 } }],
  ["openrouter", "/v1/chat/completions", { ...chat, tools: [{ type: "openrouter:web_search" }] }],
  ["openrouter", "/v1/chat/completions", { ...chat, verbosity: "max" }],
  ["openrouter", "/v1/responses", { ...response, tools: [{ type: "openrouter:web_search" }] }],
  ["openrouter", "/v1/responses", { ...response, input: [{ role: "user", content: [{ type: "input_video", video_url: "x" }] }] }],
])("%s takes what it has beside OpenAI: %s %j", (profile, path, body) => {
  bodyOf(provider({ profile, outputTokens: 3, ttft: 0, itl: 0 }).plan(path, body));
  expect(refusalOf(path, body)).not.toBeNull();
});

test.each(["vllm", "openrouter"] as const)("%s still has JSON types and other names", (profile) => {
  const refused =
    (body: object): (() => unknown) =>
    () =>
      provider({ profile }).plan("/v1/chat/completions", { ...chat, ...body });
  expect(refused({ messages: [{ role: "user", content: [{ type: 5 }] }] })).toThrow("messages[0].content[0].type");
  expect(refused({ messages: [{ role: "user", content: [{ type: "text", text: 5 }] }] })).toThrow("messages[0].content[0].text");
  expect(refused({ reasoning_effort: "banana" })).toThrow("banana");
  expect(refused({ response_format: { type: "json_schema" } })).toThrow("json_schema");
});

test("the document lists what is not there", () => {
  const row = /^\|(.*)\| A 400 says that fakeai does not have it\./m.exec(
    readFileSync(new URL("../../docs/serve.md", import.meta.url), "utf8"),
  )![1]!;
  for (const words of ["`functions`", '"audio"', "forced tools that are not functions", "`background`"]) expect(row).toContain(words);
});
