/** OpenAI's endpoints. */
import type { Meter } from "../../core/meter.ts";
import type { Pacer } from "../../core/pacer.ts";
import type { Route } from "../../core/seams.ts";
import { sendJson } from "../answer.ts";
import { type Generator, modelNotFound, type ModelSettings } from "./generate.ts";

/** What `/v1/models` shows when every name is served. */
const defaultModels = ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "o4-mini", "gpt-5", "gpt-5-mini", "fakeai"];

export function openAiRoutes(generator: Generator, settings: ModelSettings, pacer: Pacer, meter: Meter): Route[] {
  const models = settings.models ?? defaultModels;
  const describe = (id: string): object => ({ id, object: "model", created: 1_700_000_000, owned_by: "fakeai" });
  return [
    {
      method: "POST",
      path: "/v1/chat/completions",
      handle: (request, body, sink) => pacer.send(generator.plan("chat", request, body), sink),
    },
    { method: "POST", path: "/v1/completions", handle: (request, body, sink) => pacer.send(generator.plan("text", request, body), sink) },
    {
      method: "GET",
      path: "/v1/models",
      handle: (_request, _body, sink) => sendJson(sink, meter, 200, JSON.stringify({ object: "list", data: models.map(describe) })),
    },
    {
      method: "GET",
      path: "/v1/models/*",
      handle: (request, _body, sink) => {
        const id = decodeModel(request.path.slice("/v1/models/".length));
        if (settings.models !== null && !settings.models.includes(id)) throw modelNotFound(id);
        sendJson(sink, meter, 200, JSON.stringify(describe(id)));
      },
    },
  ];
}

function decodeModel(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw modelNotFound(path);
  }
}
