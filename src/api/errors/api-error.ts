/** What can go wrong, as facts alone. `answers.ts` knows the words of each server for it. */
import type { JsonExcess } from "../../core/limits/json-bounds.ts";
import type { RateRefusal } from "../../core/limits/rate-limit.ts";
import type { Refusal } from "../../core/seams.ts";

/** What is wrong with a request, in a route's own words: every server's body carries them. */
export interface BadRequest {
  readonly kind: "request";
  readonly status: number;
  readonly message: string;
  /** The parameter or header at fault. */
  readonly param: string | null;
  /** OpenAI's name of the error. */
  readonly code: string | null;
  readonly headers: Readonly<Record<string, string>>;
}

/** What one request may bring: bytes of its head and of its body, and arrays and objects within each other. */
export interface RequestLimits {
  readonly maxHeadBytes: number;
  readonly maxBodyBytes: number;
  readonly maxJsonDepth: number;
}

/** Why a request gets an error instead of its answer. */
export type Problem =
  | BadRequest
  | { readonly kind: "missing-key" }
  | { readonly kind: "wrong-key"; readonly key: string }
  /** `model` is what the request names, "" where that is unknown. */
  | { readonly kind: "over-limit"; readonly model: string; readonly refusal: RateRefusal }
  | { readonly kind: "unknown-url"; readonly method: string; readonly path: string }
  /** `allow`: the value of the Allow header. */
  | { readonly kind: "method-not-allowed"; readonly method: string; readonly path: string; readonly allow: string }
  /** A handshake of WebSocket where none is spoken. How its path could be asked: by HTTP, or by a server that speaks WebSocket. */
  | { readonly kind: "upgrade-required"; readonly byHttp: boolean; readonly byWebSocket: boolean }
  /** A handshake of WebSocket in another version than 13. */
  | { readonly kind: "websocket-version" }
  | { readonly kind: "model-not-found"; readonly model: string }
  /** A prompt beyond the context. Both are numbers of tokens. */
  | { readonly kind: "prompt-too-long"; readonly tokens: number; readonly limit: number }
  /** The batched scheduler takes no more requests. `waitUs`: microseconds after which a place may be free. */
  | { readonly kind: "queue-full"; readonly status: 429 | 503; readonly waitUs: number }
  /** A listener refuses the request by itself. */
  | {
      readonly kind: "refused";
      readonly reason: Refusal;
      readonly limits?: RequestLimits;
      readonly excess?: JsonExcess | undefined;
      /** What it refuses is a message of a WebSocket. */
      readonly ofMessage?: boolean;
    }
  /** A fault of the server's own. */
  | { readonly kind: "internal" }
  /** A status that a fault on purpose names. */
  | { readonly kind: "status"; readonly status: number };

/** Thrown by a route to answer with the error JSON of the server that is imitated. */
export class ApiError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem);
  constructor(status: number, message: string, param?: string | null, code?: string | null, headers?: Readonly<Record<string, string>>);
  constructor(
    what: Problem | number,
    message = "",
    param: string | null = null,
    code: string | null = null,
    headers: Readonly<Record<string, string>> = {},
  ) {
    const problem: Problem = typeof what === "number" ? { kind: "request", status: what, message, param, code, headers } : what;
    super(problem.kind === "request" ? problem.message : problem.kind);
    this.problem = problem;
  }
}
