/** A request's JSON: what a server takes, in the shape of its endpoint. */
import type { History } from "../../load/conversations.ts";
import type { PlannedRequest } from "../../load/job.ts";

/** How requests are worded for this server. */
export interface Wording {
  readonly model: string;
  /** Whether the server is ours: it takes vLLM's `ignore_eos`, so that lengths are exact. Others may refuse what they do not know. */
  readonly own: boolean;
  /** Default: everything. */
  readonly accepted?: Accepted;
  /** Whether the server gives the number of tokens that is ordered. Default: ours does. */
  readonly exact?: boolean;
  /** Sent as every body in place of ours. */
  readonly body: string | null;
  /** Every request is the first of its round: for a driver that sends one body only. */
  readonly oneBody: boolean;
  /** How turns of a session say what was said before. Default: full. */
  readonly history?: History;
  /** Id of the arm, which decides what `cacheBust` puts before its prompts; default: none. */
  readonly arm?: string;
}

/** What a server takes of the parameters that we send. */
export interface Accepted {
  /** How it calls the bound on an answer's tokens. */
  readonly lengthParameter: string;
  /** Parameters that it refuses, of `optionalParameters`. */
  readonly refused: ReadonlySet<string>;
  /** true: it gives the number of tokens that `ignore_eos` and `min_tokens` order, and its usage says so. Default false. */
  readonly exact?: boolean;
  /** true: its events hold several tokens, and with `continuous_usage_stats` (vLLM, SGLang) each says how many. Default false. */
  readonly continuousUsage?: boolean;
}

/** What a server and the gateway in front of it both take, so that the same requests go to both. */
export function acceptedByBoth(one: Accepted, other: Accepted): Accepted {
  return {
    lengthParameter: one.lengthParameter,
    refused: new Set([...one.refused, ...other.refused]),
    exact: one.exact === true && other.exact === true,
    continuousUsage: one.continuousUsage === true && other.continuousUsage === true,
  };
}

/** Parameters without which a request means the same to a server. */
export const optionalParameters: readonly string[] = ["seed", "stream_options", "ignore_eos", "min_tokens"];

/** Names of the bound on an answer's tokens at an endpoint, the one that most servers take first. */
export function lengthParameters(path: string): readonly string[] {
  if (isAt(path, "/responses")) return ["max_output_tokens"];
  return isAt(path, "/chat/completions") ? ["max_tokens", "max_completion_tokens"] : ["max_tokens"];
}

/** A server of ours, or one that has not said otherwise. */
export const takesEverything: Accepted = { lengthParameter: "max_tokens", refused: new Set() };

/** Where an endpoint takes what was said: `messages`, or `input`. */
export function formOf(path: string): "chat" | "responses" {
  return isAt(path, "/responses") ? "responses" : "chat";
}

/** Whether a path, which may have a query, is that of an endpoint. */
export function isAt(path: string, endpoint: string): boolean {
  return path.replace(/\?.*$/s, "").endsWith(endpoint);
}

/** Whether an endpoint has `stream_options`, and in vLLM and its like `ignore_eos` and `min_tokens`; the others of OpenAI and Anthropic send usage unasked. */
export function takesUsage(path: string): boolean {
  return isAt(path, "/completions");
}

/** What one request asks for. */
export interface Asking {
  readonly path: string;
  readonly stream: boolean;
  /** null: it is put in where the request is sent. */
  readonly prompt: string | null;
  /** In place of `prompt`, where the endpoint takes messages. */
  readonly messages?: readonly unknown[];
  /** Further members that belong to the prompt. */
  readonly more?: Readonly<Record<string, unknown>>;
  readonly outputTokens: number;
  readonly seed: number;
  readonly model: string;
  readonly accepted: Accepted;
  /** vLLM's `ignore_eos`; default false. */
  readonly ignoreEos?: boolean;
  /** Orders the number of tokens by `min_tokens` too; default false. */
  readonly minTokens?: boolean;
  readonly includeUsage?: boolean;
}

/** The JSON of a request, in the shape of its endpoint. */
export function bodyOf(asking: Asking): string {
  const { path, stream, prompt, messages = [{ role: "user", content: prompt }], more = {} } = asking;
  const { outputTokens, seed, model, accepted, ignoreEos, minTokens, includeUsage } = asking;
  const usage = { include_usage: true, ...(accepted.continuousUsage ? { continuous_usage_stats: true } : {}) };
  const takesMessages = isAt(path, "/chat/completions") || isAt(path, "/messages");
  const members: readonly (readonly [name: string, value: unknown])[] = [
    ["model", model],
    ...(stream ? ([["stream", stream]] as const) : []),
    ...(stream && includeUsage && takesUsage(path) ? ([["stream_options", usage]] as const) : []),
    [accepted.lengthParameter, outputTokens],
    ...(ignoreEos ? ([["ignore_eos", true]] as const) : []),
    ...(minTokens ? ([["min_tokens", outputTokens]] as const) : []),
    ["seed", seed],
    ...(prompt === null
      ? []
      : [takesMessages ? (["messages", messages] as const) : ([isAt(path, "/responses") ? "input" : "prompt", prompt] as const)]),
    ...(takesMessages || prompt === null ? Object.entries(more) : []),
  ];
  return JSON.stringify(Object.fromEntries(members.filter(([name]) => !accepted.refused.has(name))));
}

/** How many tokens are ordered: exactly, where the server takes that, or at most. */
export function orderOf(tokens: number, { own, exact = own }: Wording): Pick<PlannedRequest, "tokens" | "maxTokens"> {
  return exact ? { tokens } : { tokens: null, maxTokens: tokens };
}
