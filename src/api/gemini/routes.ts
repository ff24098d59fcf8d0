/** Gemini's endpoints, of v1 and v1beta: `models/{model}:{method}`, and the list of models (ai.google.dev/api). */
import type { Meter } from "../../core/pacing/meter.ts";
import type { ResponsePlan, ResponseSink, Route, RouteRequest } from "../../core/seams.ts";
import { ApiError } from "../errors/api-error.ts";
import { sendJson } from "../shared/answer.ts";
import { isObject, parseBody } from "../shared/body.ts";
import { listFrames } from "../shared/lists.ts";
import type { Model } from "../shared/model.ts";
import type { ModelSettings } from "../shared/model-settings.ts";
import type { PromptAsk } from "../shared/prefix.ts";
import { tokensOfTexts } from "../shared/prompt.ts";
import { bytesOfNumber, vectorJson } from "../shared/vectors.ts";
import { headOf, planGemini } from "./answers.ts";
import { enumAt, taskTypes } from "./enums.ts";
import { bad, member } from "./members.ts";
import { countGemini } from "./request.ts";

/** What is shown when every name is served. */
const defaultModels = ["gemini-2.5-flash", "gemini-2.5-pro", "gemini-3-flash", "fakeai"];

const methods = ["generateContent", "streamGenerateContent", "countTokens", "embedContent", "batchEmbedContents"] as const;
type Method = (typeof methods)[number];

function describe(name: string, { maxModelLen }: ModelSettings): object {
  return {
    name: `models/${name}`,
    version: "001",
    displayName: name,
    description: "A model that is not there.",
    // What no --max-model-len bounds is Gemini 2.5's.
    inputTokenLimit: maxModelLen ?? 1_048_576,
    outputTokenLimit: maxModelLen ?? 65_536,
    supportedGenerationMethods: methods,
    temperature: 1,
    maxTemperature: 2,
  };
}

const print = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;

/** JSON text of GET /v1beta/models. Throws ApiError. */
export function listGemini({ query }: RouteRequest, settings: ModelSettings): string {
  const given = new URLSearchParams(query);
  const size = Number(given.get("pageSize") ?? 50);
  const start = Number(given.get("pageToken") || 0);
  if (!Number.isInteger(size) || size < 0) throw bad("page_size must be a whole number.");
  if (!Number.isInteger(start) || start < 0) throw bad("Page token is invalid.");
  const names = settings.models ?? defaultModels;
  const end = start + (size === 0 ? 50 : Math.min(size, 1000));
  const page = names.slice(start, end).map((name) => describe(name, settings));
  return print({ models: page, ...(end < names.length && { nextPageToken: String(end) }) });
}

function modelOf(path: string, prefix: string, models: readonly string[] | null): string {
  let name = path.slice(prefix.length);
  try {
    name = decodeURIComponent(name);
  } catch {
    // Named as it was sent.
  }
  if (name.length > 256 || (models !== null && !models.includes(name)))
    throw new ApiError({ kind: "model-not-found", model: name.slice(0, 256) });
  return name;
}

/** JSON text of GET /v1beta/models/{model}. Throws ApiError. */
export function showGemini({ path }: RouteRequest, prefix: string, settings: ModelSettings): string {
  return print(describe(modelOf(path, prefix, settings.models), settings));
}

const mostEmbedded = 100;
const mostDimensions = 3072;

/** Plans the answer of embedContent or batchEmbedContents. Throws ApiError. */
function planEmbed(
  method: Method,
  { model, clockIdentity }: GeminiParts,
  request: RouteRequest,
  bytes: Uint8Array,
  name: string,
): ResponsePlan {
  const body = parseBody(bytes);
  const isBatch = method === "batchEmbedContents";
  const requests = method === "embedContent" ? [body] : member(body, "requests");
  if (!Array.isArray(requests) || requests.length === 0) throw bad("* BatchEmbedContentsRequest.requests: requests is not specified");
  if (requests.length > mostEmbedded)
    throw bad(`* BatchEmbedContentsRequest.requests: at most ${mostEmbedded} requests can be in one batch`);
  const asks = requests.map((asked: unknown, index) => {
    const content = isObject(asked) ? member(asked, "content") : undefined;
    const parts = isObject(content) ? content["parts"] : undefined;
    const texts = (Array.isArray(parts) ? parts : [parts]).flatMap((part: unknown) =>
      isObject(part) && typeof part["text"] === "string" ? [part["text"]] : [],
    );
    if (texts.length === 0) throw bad("* EmbedContentRequest.content: content is not specified");
    if (isObject(asked)) enumAt(asked, "taskType", isBatch ? `requests[${index}].` : "", taskTypes);
    const dimensions = isObject(asked) ? (member(asked, "outputDimensionality") ?? mostDimensions) : mostDimensions;
    if (typeof dimensions !== "number" || !Number.isInteger(dimensions) || dimensions < 1 || dimensions > mostDimensions)
      throw bad(`output_dimensionality must be from 1 to ${mostDimensions}.`);
    const prompt: PromptAsk = { tokens: tokensOfTexts(texts, model.settings.tokenizer), parts: () => texts, index };
    return { texts, dimensions, prompt };
  });
  const prompts = asks.map(({ prompt }) => prompt);
  const { schedule, firstUs, stamped } = model.latency(request, prompts);
  const { streamed, ...answer } = listFrames(
    {
      length: asks.length,
      opening: isBatch ? `{"embeddings":[` : `{"embedding":`,
      separator: ",",
      closing: isBatch ? "]}" : "}",
      item: (index) => `{"values":${vectorJson(name, asks[index]!.texts.join(""), asks[index]!.dimensions)}}`,
      bytesOf: (index) => asks[index]!.dimensions * bytesOfNumber,
    },
    schedule,
    stamped,
  );
  return {
    head: { ...headOf("whole", firstUs, stamped ? clockIdentity : null), streamed },
    ...answer,
    startUs: request.receivedUs,
    outputTokens: 0,
    promptTokens: prompts.reduce((sum, { tokens }) => sum + tokens, 0),
    finishReason: "stop",
  };
}

export interface GeminiParts {
  readonly model: Model;
  readonly clockIdentity: string;
  readonly meter: Meter;
  readonly send: (plan: ResponsePlan, sink: ResponseSink, path: string) => void;
}

/** The routes below `/v1/` or `/v1beta/`: POST for all methods of a model. */
export function geminiMethods(prefix: string, parts: GeminiParts): Route {
  const { model, clockIdentity, meter, send } = parts;
  const { settings } = model;
  return {
    method: "POST",
    path: `${prefix}*`,
    handle: (request, body, sink) => {
      const at = request.path.lastIndexOf(":");
      const method = methods.find((name) => name === request.path.slice(at + 1));
      if (at < 0 || method === undefined) throw new ApiError({ kind: "unknown-url", method: request.method, path: request.path });
      const name = modelOf(request.path.slice(0, at), prefix, settings.models);
      if (method === "generateContent" || method === "streamGenerateContent") {
        send(planGemini(model, clockIdentity, request, name, method === "streamGenerateContent", body), sink, request.path);
        return;
      }
      if (method === "countTokens") {
        const { tokens, details } = countGemini(body, name, settings);
        const counted = details.map(([modality, tokenCount]) => ({ modality, tokenCount }));
        sendJson(sink, meter, 200, print({ totalTokens: tokens, promptTokensDetails: counted }));
        return;
      }
      send(planEmbed(method, parts, request, body, name), sink, request.path);
    },
  };
}

/** GET below `/v1beta/`, where no other provider has models. */
export function geminiModels(prefix: string, settings: ModelSettings, meter: Meter): readonly Route[] {
  return [
    {
      method: "GET",
      path: prefix.slice(0, -1),
      handle: (request, _body, sink) => sendJson(sink, meter, 200, listGemini(request, settings)),
    },
    {
      method: "GET",
      path: `${prefix}*`,
      handle: (request, _body, sink) => sendJson(sink, meter, 200, showGemini(request, prefix, settings)),
    },
  ];
}
