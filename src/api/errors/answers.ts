/**
 * Which error body is sent: what each server says to each problem (`table`), in the form of its bodies and headers
 * (`forms`), and how it tells of an error inside of a stream (`errorEvent`). Sources:
 *
 * - OpenAI: platform.openai.com/docs/guides/error-codes and /rate-limits, and captured bodies; its JSON is indented.
 * - vLLM: vllm/entrypoints/serve/utils/server_utils.py (AuthenticationMiddleware: the 401; http_exception_handler: an
 *   HTTP error has Python's phrase of its status as type; validation_exception_handler: a body that does not fit is a
 *   "Bad Request") and error_response.py (ErrorResponse: other types). FastAPI answers an unknown path and a wrong method
 *   with its own "detail".
 * - OpenRouter: openrouter.ai/docs/api/reference/errors-and-debugging, and the example of each status at
 *   openrouter.ai/docs/sdks/python/api-reference/errors; `user_id` and the metadata of a 429 as captured.
 * - Anthropic: docs.claude.com/en/api/errors and /rate-limits.
 * - Gemini and Ollama: gemini.ts and ollama.ts.
 *
 * `minimal` has OpenAI's words and members, without its headers and its indentation.
 */
import { mostShares, workBounds } from "../../core/limits/budget.ts";
import type { BodyWork, JsonExcess } from "../../core/limits/json-bounds.ts";
import { formatDuration } from "../../core/limits/rate-limit.ts";
import type { Refusal } from "../../core/seams.ts";
import { requestId } from "../shared/heads.ts";
import type { Dialect } from "../shared/provider.ts";
import type { Problem, RequestLimits } from "./api-error.ts";
import { geminiJson, geminiWords } from "./gemini.ts";
import { ollamaWords } from "./ollama.ts";
import type { Cell, Kind, ProblemOf, Words, WordsBy } from "./words.ts";

/** Who gets an error. */
export interface Asker {
  /** The path that was asked for, "" where no request was understood. */
  readonly path: string;
  /** Whose error is sent. */
  readonly dialect: Dialect;
}

/** An error as it goes out. */
export interface ErrorAnswer {
  readonly status: number;
  /** JSON text. */
  readonly json: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** A server that is absent has OpenAI's words, in its own form; what Gemini and Ollama say stands in files of their own. */
interface Row<K extends Kind> {
  readonly openai: Cell<K>;
  readonly vllm?: Cell<K>;
  readonly openrouter?: Cell<K>;
  readonly anthropic?: Cell<K>;
}

const hadAnError = "The server had an error while processing your request. Sorry about that!";
const overloaded = "The engine is currently overloaded, please try again later.";
/** vLLM's EngineDeadError (vllm/v1/engine/exceptions.py). */
const engineDied = "EngineCore encountered an issue. See stack trace (above) for the root cause.";

/** Errors of a body that FastAPI rejects before vLLM sees it; null: a body that is no JSON. */
const validationCodes: ReadonlySet<string | null> = new Set([null, "missing_required_parameter", "invalid_type"]);

const table: { readonly [K in Kind]: Row<K> } = {
  request: {
    openai: (problem) => problem,
    // vLLM repeats the whole request body in the text of these; here the text is OpenAI's.
    vllm: (problem) => ({ ...problem, ...(problem.status === 400 && validationCodes.has(problem.code) && { type: "Bad Request" }) }),
  },

  "missing-key": {
    openai: () => ({
      status: 401,
      message:
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing the API from your browser and are prompted for a username and password. You can obtain an API key from https://platform.openai.com/account/api-keys.",
      headers: { "www-authenticate": 'Basic realm="OpenAI API"' },
    }),
    vllm: () => unauthorized,
    openrouter: () => ({ status: 401, message: "Missing Authentication header" }),
    anthropic: () => ({ status: 401, message: "x-api-key header is required" }),
  },

  "wrong-key": {
    openai: ({ key }) => ({
      status: 401,
      message: `Incorrect API key provided: ${maskKey(key)}. You can find your API key at https://platform.openai.com/account/api-keys.`,
      code: "invalid_api_key",
    }),
    vllm: () => unauthorized,
    openrouter: () => ({ status: 401, message: "User not found." }),
    anthropic: () => ({ status: 401, message: "invalid x-api-key" }),
  },

  "over-limit": {
    openai: ({ model, refusal: { what, limit, used, requested, waitUs } }) => {
      const unit = what === "requests" ? "requests per min (RPM)" : "tokens per min (TPM)";
      const at = `for ${model === "" ? "this model" : model} in organization org-fakeai on ${unit}`;
      const why =
        waitUs === null
          ? `Request too large ${at}: Limit ${limit}, Requested ${requested}. The input or output tokens must be reduced in order to run successfully.`
          : `Rate limit reached ${at}: Limit ${limit}, Used ${used}, Requested ${requested}. Please try again in ${formatDuration(waitUs)}.`;
      return {
        status: 429,
        message: `${why} Visit https://platform.openai.com/account/rate-limits to learn more.`,
        type: what,
        code: "rate_limit_exceeded",
        headers: { ...retryAfter(waitUs), ...retryAfterMs(waitUs) },
      };
    },
    // vLLM has no rate limits: this is how it answers any HTTP error that a middleware raises.
    vllm: ({ refusal: { what, limit, waitUs } }) => ({
      status: 429,
      message: `Rate limit of ${limit} ${what} per minute reached.`,
      headers: retryAfter(waitUs),
    }),
    openrouter: ({ refusal: { limit, used, waitUs } }) => ({
      status: 429,
      message: "Rate limit exceeded",
      headers: retryAfter(waitUs),
      metadata: {
        headers: {
          "X-RateLimit-Limit": String(limit),
          "X-RateLimit-Remaining": String(Math.max(0, limit - used)),
          // Milliseconds since 1970.
          "X-RateLimit-Reset": String(Date.now() + Math.ceil((waitUs ?? 0) / 1000)),
        },
        provider_name: null,
      },
    }),
    anthropic: ({ refusal: { what, limit, waitUs } }) => ({
      status: 429,
      message: `This request would exceed your organization's rate limit of ${limit} ${what === "requests" ? "requests" : "input tokens"} per minute. Please reduce the prompt length or the maximum tokens requested, or try again later.`,
      headers: retryAfter(waitUs),
    }),
  },

  "unknown-url": {
    openai: ({ method, path }) => ({ status: 404, message: `Invalid URL (${method} ${path.slice(0, 256)})` }),
    vllm: () => ({ status: 404, message: "", body: { detail: "Not Found" } }),
    openrouter: () => ({ status: 404, message: "Resource not found" }),
    anthropic: () => ({ status: 404, message: "Not Found" }),
  },

  "method-not-allowed": {
    openai: ({ method, path, allow }) => ({
      status: 405,
      message: `Not allowed to ${method} on ${path.slice(0, 256)}. (HINT: Perhaps you meant to use a different HTTP method?)`,
      headers: { allow },
    }),
    vllm: ({ allow }) => ({ status: 405, message: "", headers: { allow }, body: { detail: "Method Not Allowed" } }),
    openrouter: ({ allow }) => ({ status: 405, message: "Method Not Allowed", headers: { allow } }),
    anthropic: ({ allow }) => ({ status: 405, message: "Method Not Allowed", headers: { allow } }),
  },

  // Codex goes on by HTTP at once after this status, and after no other (codex-rs/codex-api/src/endpoint/responses_websocket.rs).
  "upgrade-required": {
    openai: (ways) => ({
      status: 426,
      message: `This endpoint does not speak WebSocket here. (HINT: ${upgradeHint(ways)})`,
      code: "websocket_not_supported",
      headers: keepHttp,
    }),
  },

  // RFC 6455, section 4.2.2: the version that would do.
  "websocket-version": {
    openai: () => ({
      status: 426,
      message: "This server speaks version 13 of WebSocket (RFC 6455).",
      code: "websocket_version_not_supported",
      headers: { upgrade: "websocket", connection: "Upgrade", "sec-websocket-version": "13" },
    }),
  },

  "model-not-found": {
    openai: ({ model }) => ({
      status: 404,
      message: `The model \`${model}\` does not exist or you do not have access to it.`,
      param: "model",
      code: "model_not_found",
    }),
    vllm: ({ model }) => ({ status: 404, message: `The model \`${model}\` does not exist.`, param: "model" }),
    openrouter: ({ model }) => ({ status: 400, message: `${model} is not a valid model ID` }),
    anthropic: ({ model }) => ({ status: 404, message: `model: ${model}` }),
  },

  "prompt-too-long": {
    openai: ({ tokens, limit }) => ({
      status: 400,
      message: `This model's maximum context length is ${limit} tokens. However, your messages resulted in ${tokens} tokens. Please reduce the length of the messages.`,
      param: "messages",
      code: "context_length_exceeded",
    }),
    anthropic: ({ tokens, limit }) => ({ status: 400, message: `prompt is too long: ${tokens} tokens > ${limit} maximum` }),
  },

  "queue-full": {
    openai: ({ status, waitUs }) => ({
      status,
      message: overloaded,
      code: status === 429 ? "rate_limit_exceeded" : "server_overloaded",
      headers: { ...retryAfter(queueWait(waitUs)), ...retryAfterMs(queueWait(waitUs)) },
    }),
    // vLLM's --max-num-queued-reqs answers 503 (vllm-project/vllm pull request 49445).
    vllm: ({ status, waitUs }) => ({ status, message: overloaded, headers: retryAfter(queueWait(waitUs)) }),
    openrouter: ({ status, waitUs }) => ({
      status,
      message: status === 429 ? "Rate limit exceeded" : "Service temporarily unavailable",
      headers: retryAfter(queueWait(waitUs)),
    }),
    // Anthropic has 529 where others have 503.
    anthropic: ({ status, waitUs }) => ({
      status: status === 503 ? 529 : status,
      message: status === 503 ? "Overloaded" : overloaded,
      headers: retryAfter(queueWait(waitUs)),
    }),
  },

  // vLLM and uvicorn have no such bounds, so they get the form of vLLM's other HTTP errors.
  refused: {
    openai: (refused) => ({ ...refusalOf(refused), headers: refusals[refused.reason].status === 503 ? { "retry-after": "1" } : {} }),
    openrouter: (refused) => refusalOf(refused, "Request payload too large"),
    anthropic: (refused) => refusalOf(refused, "Request exceeds the maximum size"),
  },

  internal: {
    openai: () => ({ status: 500, message: hadAnError }),
    vllm: () => ({ status: 500, message: engineDied }),
    openrouter: () => ({ status: 500, message: "Internal Server Error" }),
    anthropic: () => ({ status: 500, message: "Internal server error" }),
  },

  status: {
    openai: ({ status }) => ({
      status,
      message:
        status === 503 || status === 529 ? overloaded : status >= 500 ? hadAnError : `This request was refused on purpose with ${status}.`,
    }),
    openrouter: ({ status }) => ({
      status,
      message: openRouterMessages[status] ?? `This request was refused on purpose with ${status}.`,
    }),
    anthropic: ({ status }) => ({
      status,
      message:
        status === 529 ? "Overloaded" : status >= 500 ? "Internal server error" : `This request was refused on purpose with ${status}.`,
    }),
  },
};

function upgradeHint({ byHttp, byWebSocket }: { readonly byHttp: boolean; readonly byWebSocket: boolean }): string {
  if (!byWebSocket) return "Send the request by HTTP.";
  return byHttp ? "Send the request by HTTP, or start fakeai serve --protocol h1,ws." : "Start fakeai serve --protocol h1,ws.";
}

/** What a 426 has to name: the protocols that would do, and that the header is for this hop (RFC 9110, sections 7.8 and 15.5.22). */
const keepHttp = { upgrade: "HTTP/1.1", connection: "Upgrade" };

const unauthorized: Words = { status: 401, message: "", body: { error: "Unauthorized" } };

const refusals: Readonly<Record<Refusal, { readonly status: number; readonly message: string; readonly code: string }>> = {
  "too-many-connections": {
    status: 503,
    message: "This server has as many connections as it accepts. Try again later.",
    code: "overloaded",
  },
  "open-files": {
    status: 503,
    message: "This server has as many connections as its system lets it open. Try again later.",
    code: "overloaded",
  },
  "head-too-large": { status: 431, message: "The request head is larger than this server accepts", code: "request_head_too_large" },
  "body-too-large": {
    status: 413,
    message: "The request body is larger than this server accepts",
    code: "request_too_large",
  },
  "json-too-deep": { status: 400, message: "The JSON of the request body nests deeper than this server accepts", code: "json_too_deep" },
  "json-too-large": {
    status: 400,
    message: "The JSON of the request body holds more than this server accepts",
    code: "json_too_large",
  },
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
    message: "This port speaks HTTP/2 by prior knowledge only (curl --http2-prior-knowledge). HTTP/1.1 has its own port: --protocol h1.",
    code: "http2_required",
  },
};

/** What a body is counted by, in words. */
const bodyWorks: Readonly<Record<BodyWork, string>> = {
  bodyMembers: "members",
  bodyContainers: "arrays and objects",
  bodyValues: "values in lists, long numbers thrice",
  bodyStrings: "strings, names of members included",
};

/** The bound that a body's JSON passed, and where: ": 16000 members, at byte 70000." */
function passedBound({ of, at, shares }: JsonExcess): string {
  if (of === "depth") return "";
  if (of !== "together") return `: ${workBounds[of].most} ${bodyWorks[of]}, passed at byte ${at}.`;
  const all = Object.entries(bodyWorks).map(([work, words]) => `${workBounds[work as BodyWork].most} ${words}`);
  // Rounded up, so that it never reads as the bound itself.
  return `: ${mostShares} of these bounds together (${all.join("; ")}), and it uses ${(Math.ceil(shares * 100) / 100).toFixed(2)}.`;
}

/** The bound that a refusal is by, as its message ends: ": 16384 bytes (--max-head)." */
function boundOf(reason: Refusal, limits: RequestLimits | undefined, excess: JsonExcess | undefined): string {
  const end = (most: number | undefined, unit: string, flag: string): string =>
    `${most === undefined ? "" : `: ${most} ${unit}`} (${flag})${excess === undefined ? "" : `, passed at byte ${excess.at}`}.`;
  switch (reason) {
    case "head-too-large":
      return end(limits?.maxHeadBytes, "bytes", "--max-head");
    case "body-too-large":
      return end(limits?.maxBodyBytes, "bytes", "--max-body");
    case "json-too-deep":
      return end(limits?.maxJsonDepth, "levels", "--max-json-depth");
    case "json-too-large":
      return excess === undefined ? "." : passedBound(excess);
    default:
      return "";
  }
}

/** `ofBody`: what the provider says of a body that is too large. */
function refusalOf({ reason, limits, excess, ofMessage = false }: Extract<Problem, { kind: "refused" }>, ofBody?: string): Words {
  const { status, message, code } = refusals[reason];
  const own = ofMessage ? message.replace("request body", "message") : message;
  const said = reason === "body-too-large" && ofBody !== undefined ? ofBody : own;
  return { status, message: said + boundOf(reason, limits, excess), code };
}

const openRouterMessages: Readonly<Record<number, string>> = {
  402: "Insufficient credits. Add more using https://openrouter.ai/settings/credits",
  404: "Resource not found",
  429: "Rate limit exceeded",
  500: "Internal Server Error",
  502: "Provider returned error",
  503: "Service temporarily unavailable",
  529: "Provider returned error",
};

/** Python's http.HTTPStatus, where vLLM names no type of its own. */
const vllmTypes: Readonly<Record<number, string>> = {
  400: "BadRequestError",
  401: "Unauthorized",
  402: "Payment Required",
  403: "Forbidden",
  404: "NotFoundError",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  413: "Request Entity Too Large",
  415: "Unsupported Media Type",
  418: "I'm a Teapot",
  422: "Unprocessable Entity",
  426: "Upgrade Required",
  429: "Too Many Requests",
  431: "Request Header Fields Too Large",
  501: "NotImplementedError",
  502: "Bad Gateway",
  503: "ServiceUnavailableError",
  504: "Gateway Timeout",
  505: "HTTP Version Not Supported",
};

const anthropicTypes: Readonly<Record<number, string>> = {
  401: "authentication_error",
  402: "billing_error",
  403: "permission_error",
  404: "not_found_error",
  413: "request_too_large",
  429: "rate_limit_error",
  504: "timeout_error",
  529: "overloaded_error",
};

/** Problems of a request that was let in: OpenRouter's body names its user. */
const afterTheGate: ReadonlySet<Kind> = new Set(["request", "over-limit", "model-not-found", "prompt-too-long", "queue-full"]);

type Form = (words: Words, kind: Kind) => Omit<ErrorAnswer, "status">;

/** The body of each server, and the headers that its errors always have. */
const forms: Readonly<Record<Dialect, Form>> = {
  openai: (words) => ({
    json: JSON.stringify(openAiBody(words), null, 2),
    headers: { "openai-version": "2020-10-01", "x-request-id": requestId() },
  }),
  minimal: (words) => ({ json: JSON.stringify(openAiBody(words)), headers: {} }),
  vllm: ({ status, message, type, param }) => ({
    json: JSON.stringify({ error: { message, type: type ?? vllmType(status), param: param ?? null, code: status } }),
    headers: {},
  }),
  openrouter: ({ status, message, metadata }, kind) => ({
    json: JSON.stringify({
      error: { message, code: status, ...(metadata !== undefined && { metadata }) },
      ...(afterTheGate.has(kind) && { user_id: "user_fakeai" }),
    }),
    headers: {},
  }),
  gemini: (words) => ({ json: geminiJson(words), headers: { vary: "Origin, X-Origin, Referer" } }),
  ollama: ({ message }) => ({ json: JSON.stringify({ error: message }), headers: {} }),
  anthropic: ({ status, message }) => {
    const id = requestId();
    const type = anthropicTypes[status] ?? (status >= 500 ? "api_error" : "invalid_request_error");
    return { json: JSON.stringify({ type: "error", error: { type, message }, request_id: id }), headers: { "request-id": id } };
  },
};

const others: Readonly<Partial<Record<Dialect, WordsBy>>> = { gemini: geminiWords, ollama: ollamaWords };

function openAiBody({ status, message, type, param, code }: Words): object {
  return { error: { message, type: type ?? openAiType(status), param: param ?? null, code: code ?? null } };
}

function openAiType(status: number): string {
  return status >= 500 ? "server_error" : "invalid_request_error";
}

function vllmType(status: number): string {
  return vllmTypes[status] ?? (status >= 500 ? "InternalServerError" : "BadRequestError");
}

/** The error of a problem, as the server that was asked sends it. */
export function errorAnswer(problem: Problem, dialect: Dialect): ErrorAnswer {
  const words = wordsOf(problem.kind, problem, dialect);
  const { json, headers } = forms[dialect](words, problem.kind);
  return {
    status: words.status,
    json: words.body === undefined ? json : JSON.stringify(words.body),
    headers: { ...headers, ...words.headers },
  };
}

function wordsOf<K extends Kind>(kind: K, problem: ProblemOf<K>, dialect: Dialect): Words {
  const row = table[kind];
  const own: Cell<K> | undefined = others[dialect]?.[kind];
  const cell = own ?? row[dialect as "openai"] ?? row.openai;
  return cell(problem);
}

/**
 * The event by which a server says inside of a stream that something went wrong. `last` is the event before it, whose
 * members some of them repeat.
 */
export function errorEvent({ path, dialect }: Asker, last: Uint8Array): string {
  const event = (data: object): string => `data: ${JSON.stringify(data)}\n\n`;
  if (dialect === "anthropic")
    return `event: error\n${event({ type: "error", error: { type: "overloaded_error", message: "Overloaded" } })}`;
  // Google's line ends are CRLF, and Ollama's errors are lines of their own.
  if (dialect === "gemini")
    return `data: ${geminiJson({ status: 500, message: "Internal error encountered." }).replaceAll(/\n */g, "")}\r\n\r\n`;
  if (dialect === "ollama") return `${JSON.stringify({ error: "an error was encountered while running the model: EOF" })}\n`;
  const before = dataOf(last);
  if (path === "/v1/responses" || path === "/v1/realtime") {
    const number = before["sequence_number"];
    const sequence = typeof number === "number" ? number + 1 : 0;
    return `event: error\n${event({ type: "error", code: "server_error", message: hadAnError, param: null, sequence_number: sequence })}`;
  }
  if (dialect === "vllm") {
    const error = { message: engineDied, type: vllmType(500), param: null, code: 500 };
    // Its stream ends as any other (vllm/entrypoints/openai/chat_completion/serving.py).
    return `${event({ error })}data: [DONE]\n\n`;
  }
  if (dialect === "openrouter") {
    const { id, object, created, model, provider } = before;
    const error = { code: 502, message: "Provider disconnected unexpectedly", metadata: { error_type: "provider_unavailable" } };
    const empty = object === "text_completion" ? { text: "" } : { delta: { content: "" } };
    return event({ id, object, created, model, provider, error, choices: [{ index: 0, ...empty, finish_reason: "error" }] });
  }
  return event(openAiBody({ status: 500, message: hadAnError }));
}

/** The JSON of an event; {} where it holds none. */
function dataOf(event: Uint8Array): Readonly<Record<string, unknown>> {
  const data = /^data: (\{.*\})$/m.exec(new TextDecoder().decode(event))?.[1];
  try {
    return data === undefined ? {} : (JSON.parse(data) as Record<string, unknown>);
  } catch {
    return {};
  }
}

/** OpenAI shows the first eight and the last four characters. A key too short for that shows two, so that none is ever shown whole. */
export function maskKey(key: string): string {
  const shown = key.slice(0, 256);
  const [first, last] = shown.length > 12 ? [8, 4] : [Math.min(2, shown.length - 1), 0];
  return `${shown.slice(0, first)}${"*".repeat(shown.length - first - last)}${shown.slice(shown.length - last)}`;
}

/** The longest wait that is named for a place in the queue, microseconds. */
const longestQueueWaitUs = 60_000_000;

function queueWait(waitUs: number): number {
  return Math.min(longestQueueWaitUs, Math.max(1000, waitUs));
}

/** Microseconds; null: waiting does not help. */
function retryAfter(waitUs: number | null): Record<string, string> {
  return waitUs === null ? {} : { "retry-after": String(Math.ceil(waitUs / 1e6)) };
}

/** OpenAI's own header, which its SDK prefers. */
function retryAfterMs(waitUs: number | null): Record<string, string> {
  return waitUs === null ? {} : { "retry-after-ms": String(Math.ceil(waitUs / 1000)) };
}
