/**
 * Azure's names of OpenAI's endpoints (learn.microsoft.com/azure/ai-foundry/openai/reference): `/openai/deployments/{name}/...` with its
 * `api-version`, and `/openai/v1/...` as OpenAI has it. The bytes are OpenAI's.
 */
import type { Route, RouteRequest } from "../../core/seams.ts";
import { ApiError } from "../errors/api-error.ts";
import type { JsonObject } from "../shared/body.ts";

const deployments = "/openai/deployments/";
const versioned = "/openai/v1/";

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
  if (body["model"] !== undefined || !path.startsWith(deployments)) return body;
  const name = path.slice(deployments.length).split("/")[0]!;
  try {
    return { ...body, model: decodeURIComponent(name) };
  } catch {
    return { ...body, model: name };
  }
}

const inDeployments: ReadonlySet<string> = new Set(["/chat/completions", "/completions", "/embeddings"]);

/** OpenAI's own path of what a deployment is asked for; null: nothing that is there. */
function deployedPath(path: string): string | null {
  const rest = path.slice(deployments.length);
  const operation = rest.slice(Math.max(0, rest.indexOf("/")));
  return inDeployments.has(operation) ? `/v1${operation}` : null;
}

function unknownUrl({ method, path }: RouteRequest): ApiError {
  return new ApiError({ kind: "unknown-url", method, path });
}

/** Azure's names of some of OpenAI's routes. */
export function azureNames(routes: readonly Route[]): readonly Route[] {
  const find = (method: string, path: string): Route | undefined =>
    routes.find((route) => route.method === method && route.path === path) ??
    routes.find((route) => route.method === method && route.path.endsWith("/*") && path.startsWith(route.path.slice(0, -1)));
  const named = [...new Set(routes.map(({ method }) => method))].map((method): Route => ({
    method,
    path: `${versioned}*`,
    handle: (request, body, sink) => {
      const path = request.path.slice("/openai".length);
      const route = find(method, path);
      if (route === undefined) throw unknownUrl(request);
      return route.handle(new Renamed(request, path), body, sink);
    },
  }));
  const deployed: Route = {
    method: "POST",
    path: `${deployments}*`,
    handle: (request, body, sink) => {
      const path = deployedPath(request.path);
      const route = path === null ? undefined : find("POST", path);
      if (route === undefined) throw unknownUrl(request);
      if (!/(?:^|&)api-version=[^&]/.test(request.query)) {
        throw new ApiError(404, "Resource not found: a deployment is asked with ?api-version=, as in 2024-10-21.", null, "404");
      }
      // Its path names the model.
      return route.handle(request, body, sink);
    },
  };
  return [...named, deployed];
}
