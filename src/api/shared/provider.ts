/** Whose API a path belongs to, and which server's bytes answer it. */
import type { ProfileName } from "./model.ts";

/** Whose API: it decides how a key is shown and which limits are named. */
export type Provider = "openai" | "anthropic";

/** Whose bytes: Anthropic's endpoints have one form, whatever the profile; OpenAI's have that of the profile. */
export type Dialect = ProfileName | "anthropic";

export function providerOf(path: string): Provider {
  return path === "/v1/messages" || path.startsWith("/v1/messages/") ? "anthropic" : "openai";
}

export function dialectOf(path: string, profile: ProfileName): Dialect {
  return providerOf(path) === "anthropic" ? "anthropic" : profile;
}
