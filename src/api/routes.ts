/** The endpoints of the providers: OpenAI's, Anthropic's, Gemini's and Ollama's, and what vLLM has beside. */
import type { Meter } from "../core/pacing/meter.ts";
import type { Protocol, ResponsePlan, ResponseSink, Route, SocketRoute } from "../core/seams.ts";
import { countTokens, planMessage } from "./anthropic/messages.ts";
import { describeModel, listModels } from "./anthropic/models.ts";
import { geminiMethods, geminiModels, listGemini, showGemini } from "./gemini/routes.ts";
import { planEmbed } from "./ollama/embed.ts";
import { planOllama } from "./ollama/answers.ts";
import { listTags, ollamaVersion, showModel } from "./ollama/models.ts";
import { sendJson } from "./shared/answer.ts";
import type { ModelSettings } from "./shared/model-settings.ts";
import { planEmbeddings } from "./openai/embeddings.ts";
import type { Generator } from "./openai/generate.ts";
import { requestId } from "./shared/heads.ts";
import { providerOf } from "./shared/provider.ts";
import { modelNotFound } from "./openai/request.ts";
import type { StoreOf } from "./openai/response-store.ts";
import { countResponseInput } from "./openai/responses-request.ts";
import { planResponse } from "./openai/responses.ts";
import { ResponsesSocket, type SocketOptions } from "./openai/responses-socket.ts";
import { planRealtime, webSocketOnly } from "./openai/realtime/plan.ts";
import { type RealtimeOptions, RealtimeSocket } from "./openai/realtime/socket.ts";
import { cancelStored, deleteStored, showStored } from "./openai/stored-responses.ts";
import { parseBody } from "./shared/body.ts";
import { azureNames } from "./openai/azure.ts";
import { moderate } from "./openai/moderations.ts";
import { detokenize, tokenize } from "./openai/tokenize.ts";

/** What `/v1/models` shows when every name is served. */
const defaultModels = ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "o4-mini", "gpt-5", "gpt-5-mini", "fakeai"];

/** Where plans go. `path` is what was asked for. */
export interface PlanSender {
  send(plan: ResponsePlan, sink: ResponseSink, path: string): void;
}

/**
 * `storeOf`: where responses are kept; null where they are not. `running`: responses under way. `upgrading`: protocols on whose port
 * WebSocket is spoken.
 */
export function providerRoutes(
  generator: Generator,
  settings: ModelSettings,
  sender: PlanSender,
  meter: Meter,
  storeOf: StoreOf | null,
  running: () => number,
  upgrading: ReadonlySet<Protocol>,
): Route[] {
  const models = settings.models ?? defaultModels;
  const { model, clockIdentity } = generator;
  const describe = (id: string): object => ({ id, object: "model", created: 1_700_000_000, owned_by: "fakeai" });
  const openai: readonly Route[] = [
    {
      method: "POST",
      path: "/v1/chat/completions",
      handle: (request, body, sink) => sender.send(generator.plan("chat", request, body), sink, request.path),
    },
    {
      method: "POST",
      path: "/v1/completions",
      handle: (request, body, sink) => sender.send(generator.plan("text", request, body), sink, request.path),
    },
    {
      method: "POST",
      path: "/v1/responses",
      handle: (request, body, sink) =>
        sender.send(planResponse(model, clockIdentity, request, body, storeOf?.(request) ?? null), sink, request.path),
    },
    {
      method: "POST",
      path: "/v1/responses/input_tokens",
      handle: (request, body, sink) => {
        const input_tokens = countResponseInput(parseBody(body), settings, storeOf?.(request) ?? null);
        sendJson(sink, meter, 200, JSON.stringify({ object: "response.input_tokens", input_tokens }));
      },
    },
    {
      method: "GET",
      path: "/v1/responses/*",
      handle: (request, _body, sink) => sendJson(sink, meter, 200, showStored(request, storeOf)),
    },
    {
      method: "DELETE",
      path: "/v1/responses/*",
      handle: (request, _body, sink) => sendJson(sink, meter, 200, deleteStored(request, storeOf)),
    },
    { method: "POST", path: "/v1/responses/*", readsBody: () => false, handle: (request) => cancelStored(request, storeOf) },
    {
      method: "POST",
      path: "/v1/realtime",
      // Events of a session are asked so, and nothing else.
      isListed: false,
      handle: (request, body, sink) => sender.send(planRealtime(model, clockIdentity, request, body, upgrading), sink, request.path),
    },
    {
      method: "GET",
      path: "/v1/realtime",
      handle: (request) => {
        throw webSocketOnly(request, upgrading);
      },
    },
    {
      method: "POST",
      path: "/v1/embeddings",
      handle: (request, body, sink) => sender.send(planEmbeddings(model, clockIdentity, request, body), sink, request.path),
    },
    {
      method: "POST",
      path: "/v1/messages",
      handle: (request, body, sink) => sender.send(planMessage(model, clockIdentity, request, body), sink, request.path),
    },
    {
      method: "POST",
      path: "/v1/messages/count_tokens",
      handle: (request, body, sink) => sendJson(sink, meter, 200, countTokens(request, body, settings), { "request-id": requestId() }),
    },
    {
      method: "POST",
      path: "/v1/moderations",
      handle: (_request, body, sink) => sendJson(sink, meter, 200, moderate(body), { "x-request-id": requestId() }),
    },
    {
      method: "GET",
      path: "/v1/models",
      handle: (request, _body, sink) => {
        const provider = providerOf(request);
        if (provider === "gemini") return sendJson(sink, meter, 200, listGemini(request, settings));
        const isAnthropic = provider === "anthropic";
        const list = isAnthropic ? listModels(request, settings) : { object: "list", data: models.map(describe) };
        sendJson(sink, meter, 200, JSON.stringify(list), isAnthropic ? { "request-id": requestId() } : {});
      },
    },
    {
      method: "GET",
      path: "/v1/models/*",
      handle: (request, _body, sink) => {
        if (providerOf(request) === "gemini") return sendJson(sink, meter, 200, showGemini(request, "/v1/models/", settings));
        const id = decodeModel(request.path.slice("/v1/models/".length));
        if (settings.models !== null && !settings.models.includes(id)) throw modelNotFound(id);
        const isAnthropic = providerOf(request) === "anthropic";
        const shown = isAnthropic ? describeModel(id, settings) : describe(id);
        sendJson(sink, meter, 200, JSON.stringify(shown), isAnthropic ? { "request-id": requestId() } : {});
      },
    },
  ];
  const parts = {
    model,
    clockIdentity,
    meter,
    send: (plan: ResponsePlan, sink: ResponseSink, path: string): void => sender.send(plan, sink, path),
  };
  return [
    ...openai,
    ...vllmRoutes(settings, meter, running),
    // Azure has Anthropic's models elsewhere.
    ...azureNames(openai.filter(({ path }) => !path.startsWith("/v1/messages"))),
    geminiMethods("/v1/models/", parts),
    geminiMethods("/v1beta/models/", parts),
    ...geminiModels("/v1beta/models/", settings, meter),
    ...ollamaRoutes(generator, settings, sender, meter),
  ];
}

/** What is spoken over WebSocket, under OpenAI's paths and Azure's. */
export function socketRoutes(options: SocketOptions & RealtimeOptions): readonly SocketRoute[] {
  const responses = ["/v1/responses", "/openai/v1/responses", "/openai/responses"].map((path): SocketRoute => ({
    path,
    byHttp: true,
    open: (handshake, socket) => new ResponsesSocket(socket, handshake, options),
  }));
  const realtime = ["/v1/realtime", "/openai/v1/realtime"].map((path): SocketRoute => ({
    path,
    subprotocol: "realtime",
    byHttp: false,
    open: (handshake, socket) => new RealtimeSocket(socket, handshake, options),
  }));
  return [...responses, ...realtime];
}

/**
 * In vLLM's form, so that clients can compare it. It claims no release: what is imitated comes from the sources of several, and the
 * label (PEP 440, local version) says whose answer it is.
 */
const vllmVersion = "0.11.0+fakeai";

/** What vLLM's server has beside OpenAI's endpoints (vllm/entrypoints/openai/api_server.py). */
function vllmRoutes(settings: ModelSettings, meter: Meter, running: () => number): readonly Route[] {
  const get = (path: string, json: () => string): Route => ({
    method: "GET",
    path,
    handle: (_request, _body, sink) => sendJson(sink, meter, 200, json()),
  });
  const post = (path: string, json: (body: Uint8Array) => string): Route => ({
    method: "POST",
    path,
    handle: (_request, body, sink) => sendJson(sink, meter, 200, json(body)),
  });
  return [
    post("/tokenize", (body) => tokenize(body, settings)),
    post("/detokenize", (body) => detokenize(body, settings)),
    get("/version", () => JSON.stringify({ version: vllmVersion })),
    get("/load", () => JSON.stringify({ server_load: running() })),
    get("/ping", () => ""),
    { ...post("/ping", () => ""), readsBody: () => false },
  ];
}

/** Ollama's endpoints (github.com/ollama/ollama, docs/api.md), but for those that load, copy and push weights. */
function ollamaRoutes({ model, clockIdentity }: Generator, settings: ModelSettings, sender: PlanSender, meter: Meter): readonly Route[] {
  const get = (path: string, json: () => string): Route => ({
    method: "GET",
    path,
    handle: (_request, _body, sink) => sendJson(sink, meter, 200, json()),
  });
  return [
    {
      method: "POST",
      path: "/api/chat",
      handle: (request, body, sink) => sender.send(planOllama("chat", model, clockIdentity, request, body), sink, request.path),
    },
    {
      method: "POST",
      path: "/api/generate",
      handle: (request, body, sink) => sender.send(planOllama("generate", model, clockIdentity, request, body), sink, request.path),
    },
    {
      method: "POST",
      path: "/api/embed",
      handle: (request, body, sink) => sender.send(planEmbed("embed", model, request, body), sink, request.path),
    },
    {
      method: "POST",
      path: "/api/embeddings",
      handle: (request, body, sink) => sender.send(planEmbed("embeddings", model, request, body), sink, request.path),
    },
    { method: "POST", path: "/api/show", handle: (_request, body, sink) => sendJson(sink, meter, 200, showModel(body, settings)) },
    get("/api/tags", () => listTags(settings)),
    get("/api/ps", () => JSON.stringify({ models: [] })),
    get("/api/version", () => JSON.stringify({ version: ollamaVersion })),
  ];
}

function decodeModel(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw modelNotFound(path);
  }
}
