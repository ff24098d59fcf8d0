/** What a client is told that met a bound: the provider's error JSON, with the status that HTTP has for it. */
import { ApiError } from "./api-error.ts";
import type { Refusal } from "../../core/seams.ts";

const refusals: Readonly<Record<Refusal, { readonly status: number; readonly message: string; readonly code: string }>> = {
  "too-many-connections": {
    status: 503,
    message: "This server has as many connections as it accepts. Try again later.",
    code: "overloaded",
  },
  "head-too-large": { status: 431, message: "The request head is larger than this server accepts.", code: "request_head_too_large" },
  "body-too-large": { status: 413, message: "The request body is larger than this server accepts.", code: "request_too_large" },
  "json-too-deep": { status: 400, message: "The JSON of the request body nests deeper than this server accepts.", code: "json_too_deep" },
  "head-timeout": { status: 408, message: "The request head did not arrive in time.", code: "request_timeout" },
  "body-timeout": { status: 408, message: "The request body did not arrive in time.", code: "request_timeout" },
  ambiguous: {
    status: 400,
    message: "The request can be read in two ways: it has several Host or Content-Length lines, or a Transfer-Encoding other than chunked.",
    code: "ambiguous_request",
  },
  malformed: { status: 400, message: "The request is not valid HTTP.", code: "malformed_request" },
  "wrong-protocol": {
    status: 505,
    message:
      "This port speaks HTTP/2 by prior knowledge only (curl --http2-prior-knowledge). HTTP/1.1 has a port of its own: --protocol h1.",
    code: "http2_required",
  },
};

export function refusalError(reason: Refusal): ApiError {
  const { status, message, code } = refusals[reason];
  return new ApiError(status, message, null, code, status === 503 ? { "retry-after": "1" } : {});
}
