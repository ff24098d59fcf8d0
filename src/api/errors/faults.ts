/** Faults in the words of the provider that was asked: errors in place of an answer, and inside of a stream. */
import type { Fault, FaultName } from "../../core/faults/fault.ts";
import { type Denial, overLimit, providerOf, wrongKey } from "./denials.ts";
import { failureOf } from "./failures.ts";
import type { ProfileName } from "../shared/model.ts";
import { ApiError } from "./api-error.ts";

/** What a request said, as far as errors repeat it. */
export interface Asked {
  readonly path: string;
  /** "" where nobody can tell. */
  readonly model: string;
  readonly key: string | null;
}

/** Requests per minute that the error of a rate limit names. */
const namedLimit = 500;
/** Tokens that the error of a prompt too long names. */
const contextTokens = 8192;

/** The answer of a fault that refuses. `name` is the fault's, or the one that `one_of` has chosen. */
export function refusalOf(fault: Fault, name: FaultName, asked: Asked, profile: ProfileName): Denial {
  const { path, model, key } = asked;
  const headers: Record<string, string> = {};
  if (fault.retryAfterSeconds !== null) headers["retry-after"] = String(fault.retryAfterSeconds);
  if (fault.retryAfterMs !== null) headers["retry-after-ms"] = String(fault.retryAfterMs);
  const provider = providerOf(path);
  const given = (denial: Denial): Denial => ({ ...denial, headers: { ...denial.headers, ...headers } });
  if (name === "rate_limit") {
    // The text names the wait that the headers name; of two it is the finer.
    const { retryAfterMs, retryAfterSeconds } = fault;
    const named = retryAfterMs === null ? retryAfterSeconds && retryAfterSeconds * 1e6 : retryAfterMs * 1000;
    const waitUs = named ?? 60_000_000 / namedLimit;
    const refusal = { what: "requests", limit: namedLimit, used: namedLimit, requested: 1, waitUs } as const;
    const { status, json, headers: others } = overLimit(provider, model, refusal);
    const { "retry-after": _seconds, "retry-after-ms": _ms, ...rest } = others;
    return given({ status, json, headers: rest });
  }
  if (name === "invalid_api_key") return given(wrongKey(provider, key ?? "sk-none"));
  const error = errorOf(fault, name, model === "" ? "unknown" : model);
  return given({ status: error.status, ...failureOf(error, path, profile) });
}

const overloaded = "The server is currently overloaded. Please try again later.";
const hadAnError = "The server had an error while processing your request. Sorry about that!";

function errorOf(fault: Fault, name: FaultName, model: string): ApiError {
  switch (name) {
    case "context_length": {
      const message = `This model's maximum context length is ${contextTokens} tokens. However, your messages resulted in ${contextTokens + 1} tokens. Please reduce the length of the messages.`;
      return new ApiError(400, message, "messages", "context_length_exceeded");
    }
    case "invalid_request":
      return new ApiError(400, "Invalid value for 'messages': this request was refused on purpose.", "messages", "invalid_value");
    case "model_not_found":
      return new ApiError(404, `The model '${model}' does not exist or you do not have access to it.`, null, "model_not_found");
    case "status": {
      const { status } = fault;
      return new ApiError(
        status,
        status === 503 || status === 529 ? overloaded : status >= 500 ? hadAnError : `Refused on purpose with ${status}.`,
      );
    }
    default:
      return new ApiError(500, hadAnError);
  }
}

/** The event by which a provider says inside of a stream that something went wrong. `last` is the event before it. */
export function errorEvent(path: string, last: Uint8Array): string {
  if (providerOf(path) === "anthropic") {
    return `event: error\ndata: ${JSON.stringify({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } })}\n\n`;
  }
  if (path === "/v1/responses") {
    const sequence = Number(/"sequence_number":(\d+)/.exec(new TextDecoder().decode(last))?.[1] ?? -1) + 1;
    const json = JSON.stringify({ type: "error", code: "server_error", message: hadAnError, param: null, sequence_number: sequence });
    return `event: error\ndata: ${json}\n\n`;
  }
  return `data: ${JSON.stringify({ error: { message: hadAnError, type: "server_error", param: null, code: null } })}\n\n`;
}
