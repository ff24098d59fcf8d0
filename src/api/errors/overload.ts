/** Refusals of a scheduler that cannot take a request: in ApiError's terms, which become the provider's words. */
import { providerOf } from "./denials.ts";
import { ApiError } from "./api-error.ts";

/** The longest wait that is named, seconds. */
const longestWait = 60;

/** The queue is full. `waitUs`: after which a place may be free. Anthropic's 503 is 529. */
export function refuseQueueing(configured: 429 | 503, path: string, waitUs: number): ApiError {
  const status = configured === 503 && providerOf(path) === "anthropic" ? 529 : configured;
  const waitMs = Math.min(longestWait * 1000, Math.max(1, Math.ceil(waitUs / 1000)));
  const headers = { "retry-after": String(Math.ceil(waitMs / 1000)), "retry-after-ms": String(waitMs) };
  const message = "The engine is currently overloaded, please try again later.";
  return new ApiError(status, message, null, status === 429 ? "rate_limit_exceeded" : "server_overloaded", headers);
}

/** Prompt and answer do not fit into the KV cache, and never will. */
export function refuseTooLong(tokens: number, mostTokens: number): void {
  if (tokens <= mostTokens) return;
  const message = `This model's KV cache holds ${mostTokens} tokens. However, you requested ${tokens} tokens. Please reduce the length of the prompt or completion.`;
  throw new ApiError(400, message, null, "context_length_exceeded");
}
