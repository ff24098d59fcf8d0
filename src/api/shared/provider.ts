/** The API that a request belongs to, and the server whose bytes answer it. */
import type { RouteRequest } from "../../core/seams.ts";
import type { ProfileName } from "./model.ts";

/** It decides in which header a key stands. */
export type Provider = "openai" | "anthropic";

/** The server that is imitated: Anthropic on its own endpoints with every profile, that of the profile on all others. */
export type Dialect = ProfileName | "anthropic";

/** What of a request says whose API it means; without headers the path alone does. */
export type Meant = Pick<RouteRequest, "path"> & Partial<Pick<RouteRequest, "header">>;

/** Both have models at the same paths: the header that Anthropic demands tells them apart. */
export function providerOf(request: Meant): Provider {
  if (isAt(request.path, "/v1/messages")) return "anthropic";
  return isAt(request.path, "/v1/models") && request.header?.("anthropic-version") !== undefined ? "anthropic" : "openai";
}

function isAt(path: string, root: string): boolean {
  return path.startsWith(root) && (path.length === root.length || path[root.length] === "/");
}

export function dialectOf(request: Meant, profile: ProfileName): Dialect {
  return providerOf(request) === "anthropic" ? "anthropic" : profile;
}
