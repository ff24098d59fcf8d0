/** Faults on purpose that answer with an error: which problem each is. */
import type { Fault, FaultName } from "../../core/faults/fault.ts";
import type { Dialect } from "../shared/provider.ts";
import { type ErrorAnswer, errorAnswer } from "./answers.ts";
import type { Problem } from "./api-error.ts";

/** What a request says, as far as errors repeat it. */
export interface Asked {
  readonly dialect: Dialect;
  /** "" where it is unknown. */
  readonly model: string;
  readonly key: string | null;
}

/** Requests per minute that the error of a rate limit names. */
const namedLimit = 500;
/** Tokens that the error of a prompt too long names. */
const contextTokens = 8192;

/** The answer of a fault that refuses. `name` is the fault's, or the one that `one_of` has chosen. */
export function faultAnswer(fault: Fault, name: FaultName, asked: Asked): ErrorAnswer {
  const { status, json, headers } = errorAnswer(problemOf(fault, name, asked), asked.dialect);
  // The fault alone says which of them are there.
  const { "retry-after": _seconds, "retry-after-ms": _milliseconds, ...others } = headers;
  const { retryAfterSeconds, retryAfterMs } = fault;
  return {
    status,
    json,
    headers: {
      ...others,
      ...(retryAfterSeconds !== null && { "retry-after": String(retryAfterSeconds) }),
      ...(retryAfterMs !== null && { "retry-after-ms": String(retryAfterMs) }),
    },
  };
}

function problemOf(fault: Fault, name: FaultName, { model, key }: Asked): Problem {
  switch (name) {
    case "rate_limit": {
      // The text names the wait that the headers name; of two it is the finer.
      const { retryAfterMs, retryAfterSeconds } = fault;
      const named = retryAfterMs === null ? retryAfterSeconds && retryAfterSeconds * 1e6 : retryAfterMs * 1000;
      const waitUs = named ?? 60_000_000 / namedLimit;
      return { kind: "over-limit", model, refusal: { what: "requests", limit: namedLimit, used: namedLimit, requested: 1, waitUs } };
    }
    case "invalid_api_key":
      return { kind: "wrong-key", key: key ?? "sk-none" };
    case "context_length":
      return { kind: "prompt-too-long", tokens: contextTokens + 1, limit: contextTokens };
    case "invalid_request": {
      const message = "Invalid value for 'messages': this request was refused on purpose.";
      return { kind: "request", status: 400, message, param: "messages", code: "invalid_value", headers: {} };
    }
    case "model_not_found":
      return { kind: "model-not-found", model: model === "" ? "unknown" : model };
    case "status":
      return { kind: "status", status: fault.status };
    default:
      return { kind: "internal" };
  }
}
