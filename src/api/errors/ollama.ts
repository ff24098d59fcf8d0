/** The errors of Ollama: one text (github.com/ollama/ollama, docs/errors.md and server/routes.go). It has no limits of its own. */
import type { WordsBy } from "./words.ts";

/** ErrMaxQueue (server/sched.go). */
const busy = "server busy, please try again.  maximum pending requests exceeded";

const retryAfter = (us: number | null): Record<string, string> =>
  us === null ? {} : { "retry-after": String(Math.max(1, Math.ceil(us / 1e6))) };

export const ollamaWords: WordsBy = {
  "missing-key": () => ({ status: 401, message: "unauthorized" }),
  "wrong-key": () => ({ status: 401, message: "unauthorized" }),
  "over-limit": ({ refusal: { what, limit, waitUs } }) => ({
    status: 429,
    message: `rate limit of ${limit} ${what} per minute reached`,
    headers: retryAfter(waitUs),
  }),
  "unknown-url": () => ({ status: 404, message: "404 page not found" }),
  "method-not-allowed": ({ allow }) => ({ status: 405, message: "405 method not allowed", headers: { allow } }),
  "model-not-found": ({ model }) => ({ status: 404, message: `model '${model}' not found` }),
  "prompt-too-long": ({ tokens, limit }) => ({
    status: 400,
    message: `the prompt has ${tokens} tokens, which exceeds the context length of ${limit}`,
  }),
  "queue-full": ({ waitUs }) => ({ status: 503, message: busy, headers: retryAfter(waitUs) }),
  internal: () => ({ status: 500, message: "an error was encountered while running the model" }),
  status: ({ status }) => ({
    status,
    message:
      status === 503
        ? busy
        : status >= 500
          ? "an error was encountered while running the model"
          : `this request was refused on purpose with ${status}`,
  }),
};
