/**
 * The errors of Gemini: google.rpc.Status in JSON (ai.google.dev/gemini-api/docs/troubleshooting; cloud.google.com/apis/design/errors; the
 * texts as captured).
 */
import type { Words, WordsBy } from "./words.ts";

/** google.rpc.Code by HTTP status. */
const codes: Readonly<Record<number, string>> = {
  400: "INVALID_ARGUMENT",
  401: "UNAUTHENTICATED",
  403: "PERMISSION_DENIED",
  404: "NOT_FOUND",
  405: "UNIMPLEMENTED",
  409: "ABORTED",
  413: "INVALID_ARGUMENT",
  429: "RESOURCE_EXHAUSTED",
  499: "CANCELLED",
  501: "UNIMPLEMENTED",
  503: "UNAVAILABLE",
  504: "DEADLINE_EXCEEDED",
};

/** JSON text of an error, as Google prints it. */
export function geminiJson({ status, message, details }: Words): string {
  const code = codes[status] ?? (status >= 500 ? "INTERNAL" : "INVALID_ARGUMENT");
  return `${JSON.stringify({ error: { code: status, message, status: code, ...(details !== undefined && { details }) } }, null, 2)}\n`;
}

const type = (name: string): string => `type.googleapis.com/google.rpc.${name}`;
const seconds = (us: number): string => `${Math.max(1, Math.ceil(us / 1e6))}s`;
const overloaded = "The model is overloaded. Please try again later.";

export const geminiWords: WordsBy = {
  "missing-key": () => ({
    status: 403,
    message:
      "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API.",
  }),
  "wrong-key": () => ({
    status: 400,
    message: "API key not valid. Please pass a valid API key.",
    details: [
      {
        "@type": type("ErrorInfo"),
        reason: "API_KEY_INVALID",
        domain: "googleapis.com",
        metadata: { service: "generativelanguage.googleapis.com" },
      },
    ],
  }),
  "over-limit": ({ refusal: { limit, waitUs } }) => ({
    status: 429,
    message: `You exceeded your current quota, please check your plan and billing details. For more information on this error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. Limit: ${limit}.${waitUs === null ? "" : ` Please retry in ${seconds(waitUs)}.`}`,
    details: [
      { "@type": type("QuotaFailure"), violations: [{ quotaValue: String(limit) }] },
      ...(waitUs === null ? [] : [{ "@type": type("RetryInfo"), retryDelay: seconds(waitUs) }]),
    ],
  }),
  "unknown-url": ({ path }) => ({ status: 404, message: `The requested URL ${path.slice(0, 256)} was not found on this server.` }),
  "method-not-allowed": ({ allow }) => ({ status: 405, message: "Request method not allowed.", headers: { allow } }),
  "model-not-found": ({ model }) => ({
    status: 404,
    message: `models/${model} is not found for API version v1beta, or is not supported for generateContent. Call ListModels to see the list of available models and their supported methods.`,
  }),
  "prompt-too-long": ({ tokens, limit }) => ({
    status: 400,
    message: `The input token count (${tokens}) exceeds the maximum number of tokens allowed (${limit}).`,
  }),
  "queue-full": ({ status, waitUs }) => ({
    status,
    message: overloaded,
    details: [{ "@type": type("RetryInfo"), retryDelay: seconds(waitUs) }],
  }),
  internal: () => ({
    status: 500,
    message: "An internal error has occurred. Please retry or report in https://developers.generativeai.google/guide/troubleshooting",
  }),
  status: ({ status }) => ({
    status,
    message:
      status === 503 || status === 529
        ? overloaded
        : status >= 500
          ? "Internal error encountered."
          : `This request was refused on purpose with ${status}.`,
  }),
};
