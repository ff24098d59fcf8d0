/** The requests that the providers' own SDKs have types for, as JSON schemas: the judge of what is accepted, and of what is not. */
import { mkdirSync, writeFileSync } from "node:fs";
import { createGenerator } from "ts-json-schema-generator";
import type { Schema } from "./schema-arbitrary.ts";

export type Sdk = "openai" | "anthropic";
export type Definitions = Readonly<Record<string, Schema>>;

/** The type of each endpoint's body. */
type Bodies = Readonly<Record<string, string>>;

/** What the endpoints take, betas aside. */
export const published: Readonly<Record<Sdk, Bodies>> = {
  openai: {
    "/v1/chat/completions": "OpenAI.ChatCompletionCreateParams",
    "/v1/completions": "OpenAI.CompletionCreateParams",
    "/v1/embeddings": "OpenAI.EmbeddingCreateParams",
    "/v1/moderations": "OpenAI.ModerationCreateParams",
    "/v1/responses": "OpenAI.Responses.ResponseCreateParams",
  },
  anthropic: { "/v1/messages": "Anthropic.MessageCreateParams" },
};

/** What they take with a beta header. This server does not ask for one. */
const betas: Readonly<Record<Sdk, Bodies>> = {
  openai: { "/v1/responses": "OpenAI.Beta.Responses.ResponseCreateParams" },
  anthropic: { "/v1/messages": "Anthropic.Beta.Messages.MessageCreateParams" },
};

/** What clients send over WebSocket on endpoints that HTTP does not have: the events of Realtime, with items that are only named. */
export const events: Bodies = {
  "/v1/realtime": "OpenAI.Realtime.RealtimeClientEvent | OpenAI.Realtime.ResponseCreateEventWithReferencesParam",
};

const imports: Readonly<Record<Sdk, string>> = {
  openai: 'import type OpenAI from "openai";',
  anthropic: 'import type Anthropic from "@anthropic-ai/sdk";',
};

/** Schemas of all that the bodies refer to; those of the bodies are the properties of `Asked`. Takes seconds. */
export function definitionsOf(sdk: Sdk, bodies: Bodies, name: string): Definitions {
  const cache = new URL("../../node_modules/.cache/", import.meta.url).pathname;
  // A new checkout has none.
  mkdirSync(cache, { recursive: true });
  const entry = `${cache}${name}.ts`;
  const tsconfig = `${cache}${name}.tsconfig.json`;
  const members = Object.entries(bodies).map(([path, type]) => `"${path}": ${type};`);
  writeFileSync(entry, `${imports[sdk]}\nexport interface Asked { ${members.join(" ")} }\n`);
  const compilerOptions = { module: "NodeNext", target: "ES2022", lib: ["ES2022", "DOM"], strict: true, skipLibCheck: true, types: [] };
  writeFileSync(tsconfig, JSON.stringify({ compilerOptions, files: [entry] }));
  const generator = createGenerator({ path: entry, type: "Asked", tsconfig, skipTypeCheck: true, jsDoc: "none" });
  return corrected(sdk, bounded(sdk, generator.createSchema("Asked").definitions as Definitions));
}

/**
 * Where OpenAI's types say something else than its server does. An assistant's message of few members is typed to hold what users send, and
 * takes what assistants say: the server answers "Supported values are: 'output_text' and 'refusal'". Those that clients made themselves, as
 * the Vercel AI SDK does, have no annotations.
 */
function corrected(sdk: Sdk, definitions: Definitions): Definitions {
  if (sdk !== "openai") return definitions;
  const prefix = ["", "Beta"].find((one) => definitions[`${one}EasyInputMessage`] !== undefined);
  if (prefix === undefined) throw new Error("OpenAI's types have no EasyInputMessage any more");
  const message = definitions[`${prefix}EasyInputMessage`]!;
  const text = definitions[`${prefix}ResponseOutputText`]!;
  const said: Schema = { ...text, required: ["text", "type"] };
  const content: Schema = {
    anyOf: [{ type: "string" }, { type: "array", items: { anyOf: [said, { $ref: `#/definitions/${prefix}ResponseOutputRefusal` }] } }],
  };
  const by = (roles: readonly string[], more: Readonly<Record<string, Schema>>): Schema => ({
    ...message,
    properties: { ...message.properties, role: { type: "string", enum: roles }, ...more },
  });
  const easy: Schema = { anyOf: [by(["user", "system", "developer"], {}), by(["assistant"], { content })] };
  return { ...definitions, [`${prefix}EasyInputMessage`]: easy };
}

/**
 * Ranges that the providers publish, by the member's name: in the comments of their SDKs' types, and Anthropic's in its API reference.
 * Sampling parameters, limits of tokens and the like have theirs where they are read.
 */
const ranges: Readonly<Record<Sdk, Readonly<Record<string, Schema>>>> = {
  openai: {
    metadata: { maxProperties: 16, propertyNames: { maxLength: 64 } },
    safety_identifier: { maxLength: 128 },
    max_num_results: { minimum: 1, maximum: 50 },
    score_threshold: { minimum: 0, maximum: 1 },
    partial_images: { minimum: 0, maximum: 3 },
    output_compression: { minimum: 0, maximum: 100 },
    best_of: { minimum: 0, maximum: 20 },
  },
  anthropic: {
    user_id: { maxLength: 512 },
    max_uses: { minimum: 1 },
    max_content_tokens: { minimum: 1 },
    max_characters: { minimum: 1 },
    display_width_px: { minimum: 1 },
    display_height_px: { minimum: 1 },
  },
};

/** OpenAI's metadata: members, and characters of their names and values. */
const metadata: Schema = { ...ranges.openai["metadata"], additionalProperties: { type: "string", maxLength: 512 } };

/** A member that holds metadata, or null. The types of betas write the map out. */
function withMetadata(schema: Schema): Schema {
  if (schema.anyOf !== undefined) return { ...schema, anyOf: schema.anyOf.map(withMetadata) };
  return schema.type === "object" && schema.properties === undefined ? { ...schema, ...metadata } : schema;
}

function inRange(sdk: Sdk, member: string, schema: Schema): Schema {
  if (sdk === "openai" && member === "metadata") return withMetadata(schema);
  return schema.$ref === undefined && schema.anyOf === undefined ? { ...schema, ...ranges[sdk][member] } : schema;
}

function bounded(sdk: Sdk, definitions: Definitions): Definitions {
  const withRanges = Object.entries(definitions).map(([name, schema]): [string, Schema] => {
    if (sdk === "openai" && name === "Metadata") return [name, { ...schema, ...metadata }];
    if (schema.properties === undefined) return [name, schema];
    const properties = Object.entries(schema.properties).map(([member, one]): [string, Schema] => [member, inRange(sdk, member, one)]);
    return [name, { ...schema, properties: Object.fromEntries(properties) }];
  });
  return Object.fromEntries(withRanges);
}

/**
 * What other servers of the same API take, and their clients send: schemas beside those of a type, each with its reason. The model's name
 * needs no entry: the types leave it open.
 */
const beside: Readonly<Record<Sdk, Readonly<Record<string, readonly Schema[]>>>> = {
  openai: {
    // vLLM reads films and addresses of speech (docs.vllm.ai, "Multimodal Inputs"), OpenRouter films.
    ChatCompletionContentPart: [variant("video_url"), variant("audio_url")],
    // OpenAI's own sample of computer use sends its screenshots as images (github.com/openai/openai-cua-sample-app), and its guide did.
    ResponseComputerToolCallOutputScreenshot: [
      {
        type: "object",
        properties: { type: { type: "string", const: "input_image" }, ...strings("file_id", "image_url", "detail") },
        required: ["type"],
      },
    ],
  },
  anthropic: {},
};

function strings(...names: readonly string[]): Readonly<Record<string, Schema>> {
  return Object.fromEntries(names.map((name) => [name, { type: "string" }]));
}

function variant(type: string): Schema {
  return { type: "object", properties: { type: { type: "string", const: type } }, required: ["type"] };
}

/** Definitions of all that is accepted: with betas, and with what stands in `beside`. */
export function acceptedBy(sdk: Sdk): Definitions {
  const bodies = sdk === "openai" ? { ...published[sdk], ...events } : published[sdk];
  const all = eitherOf(definitionsOf(sdk, bodies, `${sdk}-accepted`), definitionsOf(sdk, betas[sdk], `${sdk}-betas`));
  const widened = Object.entries(beside[sdk]).map(([name, schemas]) => [name, { anyOf: [all[name]!, ...schemas] }]);
  return { ...all, ...(Object.fromEntries(widened) as Definitions) };
}

/** What either of two allows. Both have types of one name, so those of `more` get others. */
function eitherOf(some: Definitions, more: Definitions): Definitions {
  const renamed = JSON.parse(JSON.stringify(more).replaceAll('"#/definitions/', '"#/definitions/more.')) as Definitions;
  const { properties: own = {} } = some["Asked"]!;
  const { properties: others = {} } = renamed["Asked"]!;
  const both = Object.keys({ ...own, ...others }).map((path) => [path, { anyOf: [own[path], others[path]].flatMap((one) => one ?? []) }]);
  return {
    ...some,
    ...Object.fromEntries(Object.entries(renamed).map(([name, schema]) => [`more.${name}`, schema])),
    Asked: { type: "object", properties: Object.fromEntries(both) as Readonly<Record<string, Schema>> },
  };
}
