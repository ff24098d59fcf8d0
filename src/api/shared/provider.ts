/** The API that a request belongs to, and the server whose bytes answer it. */
import type { RouteRequest } from "../../core/seams.ts";
import { isObject, type JsonObject } from "./body.ts";
import type { ProfileName } from "./model-settings.ts";

/** It decides in which header a key stands. */
export type Provider = "openai" | "anthropic" | "gemini" | "ollama";

/** The server that is imitated: that of the profile on OpenAI's endpoints, and each other provider on its own. */
export type Dialect = ProfileName | Exclude<Provider, "openai">;

/** What of a request says whose API it means; without headers the path alone does. */
export type Meant = Pick<RouteRequest, "path"> & Partial<Pick<RouteRequest, "header">>;

/** A method of a model of Gemini's, where OpenAI has none. */
const geminiMethod = /^\/v1\/models\/[^:]+:[a-zA-Z]+$/;

/** Several have models at the same paths: the header that each demands tells them apart. */
export function providerOf(request: Meant): Provider {
  const { path } = request;
  if (isAt(path, "/v1/messages")) return "anthropic";
  if (path.startsWith("/v1beta/") || (path.startsWith("/v1/models/") && geminiMethod.test(path))) return "gemini";
  if (path.startsWith("/api/")) return "ollama";
  if (!isAt(path, "/v1/models")) return "openai";
  if (request.header?.("anthropic-version") !== undefined) return "anthropic";
  return request.header?.("x-goog-api-key") === undefined ? "openai" : "gemini";
}

function isAt(path: string, root: string): boolean {
  return path.startsWith(root) && (path.length === root.length || path[root.length] === "/");
}

export function dialectOf(request: Meant, profile: ProfileName): Dialect {
  const provider = providerOf(request);
  return provider === "openai" ? profile : provider;
}

/** Whether a request asks for a stream: in its body, by its path, or on Ollama unless it says otherwise. */
export function asksForStream(request: Meant, body: JsonObject | null): boolean {
  switch (providerOf(request)) {
    case "gemini":
      return request.path.endsWith(":streamGenerateContent");
    case "ollama":
      return (request.path === "/api/chat" || request.path === "/api/generate") && body?.["stream"] !== false;
    default:
      return body?.["stream"] === true;
  }
}

/** The most output tokens that a body allows, by every provider's name of that; empty where it names none. */
export function outputLimitsOf(body: JsonObject): readonly unknown[] {
  const config = body["generationConfig"] ?? body["generation_config"];
  const { options } = body;
  return [
    body["max_completion_tokens"],
    body["max_tokens"],
    body["max_output_tokens"],
    isObject(config) ? (config["maxOutputTokens"] ?? config["max_output_tokens"]) : undefined,
    isObject(options) ? options["num_predict"] : undefined,
  ];
}
