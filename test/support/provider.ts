/** The provider surfaces without a socket: a request's plan, and all its bytes. */
import { planMessage } from "../../src/api/anthropic/messages.ts";
import { planGemini } from "../../src/api/gemini/answers.ts";
import { planOllama } from "../../src/api/ollama/answers.ts";
import { planEmbed } from "../../src/api/ollama/embed.ts";
import { planEmbeddings } from "../../src/api/openai/embeddings.ts";
import { Generator } from "../../src/api/openai/generate.ts";
import { ResponseStore } from "../../src/api/openai/response-store.ts";
import { planResponse } from "../../src/api/openai/responses.ts";
import { freePorts, resolveConfig } from "../../src/settings/server.ts";
import type { ResponsePlan, RouteRequest } from "../../src/core/seams.ts";
import type { ServerOptions } from "../../src/index.ts";
import type { Recording } from "../../src/settings/recording.ts";

export type Endpoint =
  | "/v1/chat/completions"
  | "/v1/completions"
  | "/v1/responses"
  | "/v1/embeddings"
  | "/v1/messages"
  | "/api/chat"
  | "/api/generate"
  | "/api/embed"
  /** Its query too. */
  | `/v1beta/models/${string}`;

export interface Provider {
  plan(path: Endpoint, body: object, headers?: Readonly<Record<string, string>>): ResponsePlan;
  /** The whole body, each frame in time. */
  body(path: Endpoint, body: object, headers?: Readonly<Record<string, string>>): string;
}

const strict = new TextDecoder("utf-8", { fatal: true });

/** Every byte of a plan's body. */
export function bodyOf({ frames, schedule }: ResponsePlan): string {
  let body = "";
  for (let index = 0; index < frames.length; index++) {
    const dueUs = schedule.nextDueUs(index);
    body += strict.decode(frames.frame(index, dueUs, dueUs), { stream: true });
  }
  return body + strict.decode();
}

export function provider(options: ServerOptions = {}, recording: Recording | null = null): Provider {
  const generator = new Generator(resolveConfig({ outputTokens: 12, ...options }, freePorts, recording).model, "test", () => 1_700_000_000);
  const store = new ResponseStore().ownedBy("");
  const plan: Provider["plan"] = (path, body, headers = {}) => {
    const given: Readonly<Record<string, string>> = { "anthropic-version": "2023-06-01", ...headers };
    const [plain = "", query = ""] = path.split("?");
    const request: RouteRequest = {
      protocol: "h1",
      engine: "node",
      method: "POST",
      path: plain,
      query,
      headerNames: () => Object.keys(given),
      ownHeaders: Object.keys(given).filter((name) => name.startsWith("x-fakeai-")),
      header: (name) => given[name],
      receivedUs: 0,
    };
    const bytes = new TextEncoder().encode(JSON.stringify(body));
    const { model, clockIdentity } = generator;
    switch (path) {
      case "/v1/chat/completions":
        return generator.plan("chat", request, bytes);
      case "/v1/completions":
        return generator.plan("text", request, bytes);
      case "/v1/responses":
        return planResponse(model, clockIdentity, request, bytes, store);
      case "/v1/embeddings":
        return planEmbeddings(model, clockIdentity, request, bytes);
      case "/api/chat":
        return planOllama("chat", model, clockIdentity, request, bytes);
      case "/api/generate":
        return planOllama("generate", model, clockIdentity, request, bytes);
      case "/api/embed":
        return planEmbed("embed", model, request, bytes);
      default: {
        const gemini = /^\/v1beta\/models\/(.+):(.+)$/.exec(plain);
        if (gemini !== null) return planGemini(model, clockIdentity, request, gemini[1]!, gemini[2] === "streamGenerateContent", bytes);
        return planMessage(model, clockIdentity, request, bytes);
      }
    }
  };
  return { plan, body: (path, body, headers) => bodyOf(plan(path, body, headers)) };
}

/** The JSON of each event, comments and `[DONE]` left out. */
export function jsonEvents(body: string): Record<string, unknown>[] {
  return body
    .split("\n\n")
    .map((event) => /^data: (.*)$/m.exec(event)?.[1])
    .filter((data) => data !== undefined && data !== "[DONE]")
    .map((data) => JSON.parse(data!) as Record<string, unknown>);
}
