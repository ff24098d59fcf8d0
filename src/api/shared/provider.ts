/** The API that a path belongs to, and the server whose bytes answer it. */
import type { ProfileName } from "./model.ts";

/** It decides in which header a key stands. */
export type Provider = "openai" | "anthropic";

/** The server that is imitated: Anthropic on its own endpoints with every profile, that of the profile on all others. */
export type Dialect = ProfileName | "anthropic";

export function providerOf(path: string): Provider {
  return path === "/v1/messages" || path.startsWith("/v1/messages/") ? "anthropic" : "openai";
}

export function dialectOf(path: string, profile: ProfileName): Dialect {
  return providerOf(path) === "anthropic" ? "anthropic" : profile;
}
