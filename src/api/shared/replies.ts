/**
 * Answers by rule, for test suites: the first rule that fits a request decides what is said, called and gone wrong. A rule's replies
 * are a sequence with a count of its own, and its last one stays. Rules come settled from `settings/replies.ts`.
 */
import type { Fault } from "../../core/faults/fault.ts";
import type { Distribution } from "../../core/random/distribution.ts";
import type { RouteRequest } from "../../core/seams.ts";
import { ApiError } from "../errors/api-error.ts";
import { deployedBody, openAiPath } from "../openai/azure.ts";
import { isObject, type JsonObject, peekBody, textOfContent } from "./body.ts";

/** The endpoints that rules meet, by the name that a rule gives them. */
const endpointsByPath = {
  "/v1/chat/completions": "chat",
  "/v1/completions": "completions",
  "/v1/responses": "responses",
  // A response of a session is asked for as one of these.
  "/v1/realtime": "responses",
  "/v1/messages": "messages",
  "/api/chat": "ollama",
  "/api/generate": "ollama",
  "/v1/embeddings": "embeddings",
  "/api/embed": "embeddings",
  "/api/embeddings": "embeddings",
  "/v1/moderations": "moderations",
} as const;

export type ReplyEndpoint = (typeof endpointsByPath)[keyof typeof endpointsByPath] | "gemini";

/** Endpoints that say nothing: a rule meets them where it names them. */
export type SilentEndpoint = Extract<ReplyEndpoint, "embeddings" | "moderations">;

export function isSilent(endpoint: ReplyEndpoint | null): endpoint is SilentEndpoint {
  return endpoint === "embeddings" || endpoint === "moderations";
}

/** A method of Gemini's: its model, and what it does. */
const geminiPath = /^\/v1(?:beta)?\/models\/([^:]+):(generateContent|streamGenerateContent|embedContent|batchEmbedContents)$/;

function endpointOf(path: string): ReplyEndpoint | null {
  const method = /Contents?$/.test(path) ? geminiPath.exec(path)?.[2] : undefined;
  if (method !== undefined) return method.endsWith("enerateContent") ? "gemini" : "embeddings";
  const plain = openAiPath(path);
  return Object.hasOwn(endpointsByPath, plain) ? endpointsByPath[plain as keyof typeof endpointsByPath] : null;
}

/** Texts of requests are looked at up to here, UTF-16 units: what a pattern costs is bounded. */
export const mostMatched = 16_384;

/** Whether a text fits. */
export type Fits = (text: string) => boolean;

/** What a request must hold; null: anything. */
export interface SettledMatch {
  readonly endpoint: ReplyEndpoint | null;
  readonly model: Fits | null;
  /** The last text of the user. */
  readonly user: Fits | null;
  /** By lower-case names. */
  readonly headers: readonly { readonly name: string; readonly fits: Fits }[];
  /** Number of the answer in its conversation, from 1. */
  readonly turn: number | null;
  readonly toolResult: boolean | null;
  /** Whether JSON of a schema is asked for, or the schema's name. */
  readonly schema: boolean | string | null;
}

/** What usage says instead of what was counted. */
export interface ReplyUsage {
  readonly promptTokens?: number;
  readonly completionTokens?: number;
  readonly reasoningTokens?: number;
  readonly cachedTokens?: number;
}

export type ReplyFinish = "stop" | "length" | "tool_calls" | "content_filter";

/** What is answered; null: as without a rule. */
export interface SettledReply {
  readonly text: string | null;
  readonly refusal: string | null;
  readonly reasoning: string | null;
  /** `arguments` is what is sent, JSON or not. */
  readonly calls: readonly { readonly name: string; readonly arguments: string }[];
  readonly finish: ReplyFinish | null;
  readonly usage: ReplyUsage | null;
  readonly ttft: Distribution | null;
  readonly itl: Distribution | null;
  readonly faults: readonly Fault[];
}

export interface SettledRule {
  readonly match: SettledMatch;
  /** At least one. */
  readonly replies: readonly SettledReply[];
}

/** What a request that no rule fits gets: an answer as without rules, or an error. */
export type Unmatched = "generate" | "error";

export interface SettledReplies {
  readonly unmatched: Unmatched;
  readonly rules: readonly SettledRule[];
  /** As given, for people to read. */
  readonly shown: unknown;
}

export const noReplies: SettledReplies = { unmatched: "generate", rules: [], shown: { unmatched: "generate", replies: [] } };

/** The rules in force, and how often each was used. */
export class Replies {
  #settled: SettledReplies;
  #uses: number[];
  readonly #chosen = new WeakMap<RouteRequest, SettledReply>();
  /** Endpoints that say nothing and that a rule names. */
  #silent: ReadonlySet<ReplyEndpoint> = new Set();

  constructor(settled: SettledReplies) {
    this.#settled = settled;
    this.#uses = [];
    this.set(settled);
  }

  /** Puts other rules in force. All counts begin anew. */
  set(settled: SettledReplies): void {
    this.#settled = settled;
    this.#uses = settled.rules.map(() => 0);
    this.#silent = new Set(settled.rules.flatMap(({ match: { endpoint } }) => (isSilent(endpoint) ? endpoint : [])));
  }

  /** The rules as given, and how often each was used, in their order. */
  show(): object {
    return { ...(this.#settled.shown as object), uses: this.#uses };
  }

  /** Chooses the reply to a request, before its route reads it. Throws ApiError where no rule fits and that is an error. */
  meet(request: RouteRequest, bytes: Uint8Array): void {
    const { rules, unmatched } = this.#settled;
    if (request.method !== "POST" || (rules.length === 0 && unmatched === "generate")) return;
    const endpoint = endpointOf(request.path);
    if (endpoint === null || (isSilent(endpoint) && !this.#silent.has(endpoint))) return;
    const body = peekBody(bytes);
    // Its route says what is wrong with it.
    if (body === null) return;
    const model = geminiPath.exec(request.path)?.[1] ?? null;
    const facts = factsOf(endpoint, model === null ? deployedBody(request, body) : { ...body, model: decoded(model) });
    const index = rules.findIndex(({ match }) => fits(match, facts, request));
    if (index < 0) {
      if (unmatched === "error" && !isSilent(endpoint)) throw noRuleFits(facts);
      return;
    }
    const { replies } = rules[index]!;
    const reply = replies[Math.min(this.#uses[index]!++, replies.length - 1)]!;
    if (endpoint === "completions" && reply.calls.length > 0) {
      throw new ApiError(400, `replies[${index}]: legacy completions have no tool calls; limit the rule to another endpoint`);
    }
    this.#chosen.set(request, reply);
  }

  /** What `meet` chose; null: nothing. */
  of(request: RouteRequest): SettledReply | null {
    return this.#chosen.get(request.asked ?? request) ?? null;
  }
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

/** What rules look at. */
interface Facts {
  readonly endpoint: ReplyEndpoint;
  readonly model: string;
  readonly user: string;
  readonly turn: number;
  readonly toolResult: boolean;
  /** Name of the schema, "" where it has none; null: no schema is asked for. */
  readonly schema: string | null;
}

/** A body is as its client sent it: nothing of it has been checked. */
function factsOf(endpoint: ReplyEndpoint, body: JsonObject): Facts {
  const { model } = body;
  if (isSilent(endpoint)) {
    const user = inputText(body);
    return { endpoint, model: typeof model === "string" ? model : "", user, turn: 1, toolResult: false, schema: null };
  }
  const items = itemsOf(endpoint, body);
  // What the system or the developer says last changes nothing of what the answer follows.
  const last = items.findLast(({ role }) => role !== "system" && role !== "developer");
  return {
    endpoint,
    model: typeof model === "string" ? model : "",
    user: userText(items).slice(0, mostMatched),
    turn: 1 + items.filter((item, index) => isAnswer(item) && (index === 0 || !isAnswer(items[index - 1]!))).length,
    toolResult: last !== undefined && isToolResult(last),
    schema: schemaOf(endpoint, body),
  };
}

/** The conversation: messages, or the items of Responses. */
function itemsOf(endpoint: ReplyEndpoint, body: JsonObject): readonly JsonObject[] {
  if (endpoint === "gemini") return geminiItems(body["contents"]);
  const isPrompt = endpoint === "completions" || (endpoint === "ollama" && body["prompt"] !== undefined);
  const list = isPrompt ? body["prompt"] : endpoint === "responses" ? body["input"] : body["messages"];
  if (typeof list === "string") return [{ role: "user", content: list }];
  if (!Array.isArray(list)) return [];
  return list.flatMap((item: unknown) => (typeof item === "string" ? [{ role: "user", content: item }] : isObject(item) ? [item] : []));
}

/** What is to be embedded or judged: its texts, a line each, as far as rules look. */
function inputText(body: JsonObject): string {
  const { input, prompt, content, requests } = body;
  const list = Array.isArray(requests) ? requests.map((one: unknown) => member(one, "content")) : (input ?? prompt ?? content);
  let text = "";
  for (const item of Array.isArray(list) ? (list as readonly unknown[]) : [list]) {
    if (text.length >= mostMatched) break;
    const own = typeof item === "string" ? item : textOfContent(isObject(item) ? (item["parts"] ?? [item]) : null);
    if (own !== "") text += text === "" ? own : `\n${own}`;
  }
  return text.slice(0, mostMatched);
}

/** Gemini's conversation in the others' terms: its model's messages are an assistant's, and results of functions a tool's. */
function geminiItems(contents: unknown): readonly JsonObject[] {
  const list: readonly unknown[] = Array.isArray(contents) ? contents : [contents];
  return list.filter(isObject).map(({ role, parts }) => {
    const content: readonly unknown[] = Array.isArray(parts) ? parts : [parts];
    const isResult = content.some((part) => isObject(part) && (part["functionResponse"] ?? part["function_response"]) !== undefined);
    return { role: isResult ? "tool" : role === "model" ? "assistant" : "user", content };
  });
}

/** The text of the last user message that has one: results of Anthropic's tools stand in user messages too. */
function userText(items: readonly JsonObject[]): string {
  for (let i = items.length - 1; i >= 0; i--) {
    const { role, content } = items[i]!;
    const text = role === "user" ? textOfContent(content) : "";
    if (text !== "") return text;
  }
  return "";
}

function isAnswer({ role, type }: JsonObject): boolean {
  return role === "assistant" || type === "reasoning" || (typeof type === "string" && type.endsWith("_call"));
}

function isToolResult({ role, type, content }: JsonObject): boolean {
  if (role === "tool" || role === "function") return true;
  if (typeof type === "string" && (type.endsWith("_output") || type === "mcp_approval_response")) return true;
  return Array.isArray(content) && content.some((block: unknown) => isObject(block) && block["type"] === "tool_result");
}

function schemaOf(endpoint: ReplyEndpoint, body: JsonObject): string | null {
  if (endpoint === "ollama") return isObject(body["format"]) ? "" : null;
  if (endpoint === "gemini") {
    const config = body["generationConfig"] ?? body["generation_config"];
    const names = ["responseSchema", "response_schema", "responseJsonSchema", "response_json_schema"];
    return names.some((name) => member(config, name) !== undefined) ? "" : null;
  }
  const { text, response_format: chat, output_format: messages, output_config: config } = body;
  const format =
    endpoint === "responses" ? member(text, "format") : endpoint === "messages" ? (member(config, "format") ?? messages) : chat;
  if (!isObject(format) || format["type"] !== "json_schema") return null;
  const name = format["name"] ?? member(format["json_schema"], "name");
  return typeof name === "string" ? name : "";
}

function member(value: unknown, name: string): unknown {
  return isObject(value) ? value[name] : undefined;
}

function fits(match: SettledMatch, facts: Facts, request: RouteRequest): boolean {
  return (
    (match.endpoint === null ? !isSilent(facts.endpoint) : match.endpoint === facts.endpoint) &&
    (match.turn === null || match.turn === facts.turn) &&
    (match.toolResult === null || match.toolResult === facts.toolResult) &&
    (match.schema === null ||
      (typeof match.schema === "string" ? match.schema === facts.schema : match.schema === (facts.schema !== null))) &&
    (match.model === null || match.model(facts.model.slice(0, mostMatched))) &&
    match.headers.every(({ name, fits }) => {
      const value = request.header(name);
      return value !== undefined && fits(value.slice(0, mostMatched));
    }) &&
    (match.user === null || match.user(facts.user))
  );
}

function noRuleFits({ endpoint, model, user, turn, toolResult }: Facts): ApiError {
  const seen = `endpoint ${endpoint}, model '${model.slice(0, 60)}', turn ${turn}, ${toolResult ? "with" : "without"} a tool result`;
  const said = `user text '${user.slice(0, 60)}${user.length > 60 ? "..." : ""}'`;
  return new ApiError(404, `No reply fits this request: ${seen}, ${said}.`, null, "no_reply");
}
