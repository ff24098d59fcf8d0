/**
 * Azure's names of OpenAI's endpoints (learn.microsoft.com/azure/ai-foundry/openai/reference): with their `api-version`
 * `/openai/deployments/{name}/...` of a model, and `/openai/...` of what needs none in its path; `/openai/v1/...` as OpenAI has it. The
 * bytes are OpenAI's.
 */
import type { Route, RouteRequest } from "../../core/seams.ts";
import { ApiError } from "../errors/api-error.ts";
import type { JsonObject } from "../shared/body.ts";

const deployments = "/openai/deployments/";
const versioned = "/openai/v1/";

/** Azure's names of OpenAI's endpoints: of its v1 API, of a deployment, and of a resource with its `api-version`. */
const names = /^\/openai\/(?:v1\/|deployments\/[^/]+\/(?=(?:chat\/completions|completions|embeddings)$)|(?!v1\/|deployments\/))/;

/** OpenAI's own path of one that Azure has; others are as they are. */
export function openAiPath(path: string): string {
  return path.startsWith("/openai/") ? path.replace(names, "/v1/") : path;
}

/** The same request, as OpenAI's own path names it. */
class Renamed implements RouteRequest {
  readonly path: string;
  readonly asked: RouteRequest;

  constructor(request: RouteRequest, path: string) {
    this.asked = request;
    this.path = path;
  }

  get protocol(): RouteRequest["protocol"] {
    return this.asked.protocol;
  }

  get engine(): RouteRequest["engine"] {
    return this.asked.engine;
  }

  get method(): string {
    return this.asked.method;
  }

  get query(): string {
    return this.asked.query;
  }

  get ownHeaders(): readonly string[] {
    return this.asked.ownHeaders;
  }

  headerNames(): readonly string[] {
    return this.asked.headerNames();
  }

  get receivedUs(): number {
    return this.asked.receivedUs;
  }

  header(name: string): string | undefined {
    return this.asked.header(name);
  }
}

/** A body with its model: the deployment, where the path names one and the body names none. */
export function deployedBody({ path }: RouteRequest, body: JsonObject): JsonObject {
  const { model } = body;
  if ((model !== undefined && model !== "") || !path.startsWith(deployments)) return body;
  const name = path.slice(deployments.length).split("/")[0]!;
  try {
    return { ...body, model: decodeURIComponent(name) };
  } catch {
    return { ...body, model: name };
  }
}

/** Azure's names of OpenAI's routes. All but those of its v1 API are asked with the version of the API. */
export function azureNames(routes: readonly Route[]): readonly Route[] {
  const find = (method: string, path: string): Route | undefined =>
    routes.find((route) => route.method === method && route.path === path) ??
    routes.find((route) => route.method === method && route.path.endsWith("/*") && path.startsWith(route.path.slice(0, -1)));
  const routeOf = (method: string, path: string): Route | undefined => {
    const plain = openAiPath(path);
    return plain === path ? undefined : find(method, plain);
  };
  return [...new Set(routes.map(({ method }) => method))].map((method): Route => ({
    method,
    path: "/openai/*",
    readsBody: (request) => {
      const route = routeOf(method, request.path);
      return route !== undefined && route.readsBody?.(request) !== false;
    },
    handle: (request, body, sink) => {
      const { path } = request;
      const plain = openAiPath(path);
      const route = routeOf(method, path);
      if (route === undefined) throw new ApiError({ kind: "unknown-url", method, path });
      if (!path.startsWith(versioned) && !/(?:^|&)api-version=[^&]/.test(request.query))
        throw new ApiError(404, "Resource not found: Azure's API is asked with ?api-version=, as in 2025-04-01-preview.", null, "404");
      // The path of a deployment names its model.
      return route.handle(path.startsWith(deployments) ? request : new Renamed(request, plain), body, sink);
    },
  }));
}
