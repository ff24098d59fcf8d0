/** Errors in the words of the provider whose endpoint or profile was asked. */
import type { ProfileName } from "../shared/model.ts";
import type { ApiError } from "./api-error.ts";
import { requestId } from "../shared/heads.ts";

/** Body and headers of an error. */
export interface Failure {
  readonly json: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** `path`: what was asked for; Anthropic's endpoints have their own errors, whatever the profile. */
export function failureOf(error: ApiError, path: string, profile: ProfileName): Failure {
  if (path === "/v1/messages" || path.startsWith("/v1/messages/")) return anthropicFailure(error);
  const { status, message, param, code, headers } = error;
  switch (profile) {
    case "openai":
      return {
        json: JSON.stringify(JSON.parse(error.toJson()), null, 2),
        headers: { "openai-version": "2020-10-01", "x-request-id": requestId(), ...headers },
      };
    case "vllm":
      return { json: JSON.stringify({ error: { message, type: vllmTypes[status] ?? "BadRequestError", param, code: status } }), headers };
    case "openrouter":
      return { json: JSON.stringify({ error: { message, code: code === "model_not_found" ? 400 : status } }), headers };
    default:
      return { json: error.toJson(), headers };
  }
}

/** vllm/entrypoints: the names of Python's http.HTTPStatus and of its own errors. */
const vllmTypes: Record<number, string> = {
  401: "Unauthorized",
  404: "NotFoundError",
  429: "RateLimitError",
  500: "InternalServerError",
  503: "ServiceUnavailableError",
};

/** docs.anthropic.com/en/api/errors. */
const anthropicTypes: Record<number, string> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  500: "api_error",
  503: "api_error",
  504: "timeout_error",
  529: "overloaded_error",
};

function anthropicFailure({ status, message, headers }: ApiError): Failure {
  const id = requestId();
  const error = { type: anthropicTypes[status] ?? (status >= 500 ? "api_error" : "invalid_request_error"), message };
  return { json: JSON.stringify({ type: "error", error, request_id: id }), headers: { "request-id": id, ...headers } };
}
