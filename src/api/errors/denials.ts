/**
 * What OpenAI and Anthropic answer to a wrong key and to a client over its limit, and the headers that show what is left
 * of a limit (platform.openai.com/docs/guides/error-codes and /rate-limits, docs.claude.com/en/api/errors and /rate-limits).
 */
import { type Allowance, formatDuration, type RateRefusal, type RateState } from "../../core/limits/rate-limit.ts";

/** Whose manners a path has. */
export type Provider = "openai" | "anthropic";

export function providerOf(path: string): Provider {
  return path === "/v1/messages" || path.startsWith("/v1/messages/") ? "anthropic" : "openai";
}

/** An answer in place of the one asked for. */
export interface Denial {
  readonly status: number;
  /** JSON text. */
  readonly json: string;
  readonly headers: Readonly<Record<string, string>>;
}

export function missingKey(provider: Provider): Denial {
  if (provider === "anthropic") return anthropicDenial(401, "authentication_error", "x-api-key header is required");
  return openAiDenial(
    401,
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the API from your browser and are prompted for a username and password. You can obtain an API key from https://platform.openai.com/account/api-keys.",
    "invalid_request_error",
    null,
    { "www-authenticate": 'Basic realm="OpenAI API"' },
  );
}

export function wrongKey(provider: Provider, key: string): Denial {
  if (provider === "anthropic") return anthropicDenial(401, "authentication_error", "invalid x-api-key");
  return openAiDenial(
    401,
    `Incorrect API key provided: ${maskKey(key)}. You can find your API key at https://platform.openai.com/account/api-keys.`,
    "invalid_request_error",
    "invalid_api_key",
  );
}

/** OpenAI shows the first eight and the last four characters. A key too short for that shows two, so that none is ever shown whole. */
export function maskKey(key: string): string {
  const shown = key.slice(0, 256);
  const [first, last] = shown.length > 12 ? [8, 4] : [Math.min(2, shown.length - 1), 0];
  return `${shown.slice(0, first)}${"*".repeat(shown.length - first - last)}${shown.slice(shown.length - last)}`;
}

/** `model` is what the request named, "" where nobody can tell. */
export function overLimit(provider: Provider, model: string, refusal: RateRefusal): Denial {
  const { what, limit, used, requested, waitUs } = refusal;
  const headers: Record<string, string> = {};
  if (waitUs !== null) {
    headers["retry-after"] = String(Math.ceil(waitUs / 1e6));
    headers["retry-after-ms"] = String(Math.ceil(waitUs / 1000));
  }
  if (provider === "anthropic") {
    delete headers["retry-after-ms"];
    const unit = what === "requests" ? "requests" : "input tokens";
    return anthropicDenial(
      429,
      "rate_limit_error",
      `This request would exceed your organization's rate limit of ${limit} ${unit} per minute. Please reduce the prompt length or the maximum tokens requested, or try again later.`,
      headers,
    );
  }
  const unit = what === "requests" ? "requests per min (RPM)" : "tokens per min (TPM)";
  const at = `for ${model === "" ? "this model" : model} in organization org-fakeai on ${unit}`;
  const message =
    waitUs === null
      ? `Request too large ${at}: Limit ${limit}, Requested ${requested}. The input or output tokens must be reduced in order to run successfully.`
      : `Rate limit reached ${at}: Limit ${limit}, Used ${used}, Requested ${requested}. Please try again in ${formatDuration(waitUs)}.`;
  return openAiDenial(
    429,
    `${message} Visit https://platform.openai.com/account/rate-limits to learn more.`,
    what,
    "rate_limit_exceeded",
    headers,
  );
}

/** The headers of every response that show what is left. `nowMs` is the wall clock, for Anthropic's points in time. */
export function rateHeaders(provider: Provider, state: RateState, nowMs: number): Record<string, string> {
  const headers: Record<string, string> = {};
  const add = (what: "requests" | "tokens", allowance: Allowance | null): void => {
    if (allowance === null) return;
    const { limit, remaining, resetUs } = allowance;
    if (provider === "anthropic") {
      const stem = `anthropic-ratelimit-${what}`;
      headers[`${stem}-limit`] = String(limit);
      headers[`${stem}-remaining`] = String(remaining);
      headers[`${stem}-reset`] = new Date(Math.ceil((nowMs + resetUs / 1000) / 1000) * 1000).toISOString().replace(".000Z", "Z");
    } else {
      headers[`x-ratelimit-limit-${what}`] = String(limit);
      headers[`x-ratelimit-remaining-${what}`] = String(remaining);
      headers[`x-ratelimit-reset-${what}`] = formatDuration(resetUs);
    }
  };
  add("requests", state.requests);
  add("tokens", state.tokens);
  return headers;
}

function openAiDenial(
  status: number,
  message: string,
  type: string,
  code: string | null,
  headers: Readonly<Record<string, string>> = {},
): Denial {
  const json = JSON.stringify({ error: { message, type, param: null, code } });
  return { status, json, headers: { ...headers, "x-request-id": requestId() } };
}

function anthropicDenial(status: number, type: string, message: string, headers: Readonly<Record<string, string>> = {}): Denial {
  const id = requestId();
  const json = JSON.stringify({ type: "error", error: { type, message }, request_id: id });
  return { status, json, headers: { ...headers, "request-id": id } };
}

function requestId(): string {
  return `req_${crypto.randomUUID().replaceAll("-", "")}`;
}
