/** Response headers as each provider sends them; those that an edge in front of it adds are left out. */
import { instanceId } from "../../base/instance.ts";
import { type Allowance, formatDuration, type RateState } from "../../core/limits/rate-limit.ts";
import type { ResponseHead } from "../../core/seams.ts";
import type { ProfileName } from "./model-settings.ts";
import type { Dialect } from "./provider.ts";

/** The limits that OpenAI's headers show without --rate-limit: those of a large account, hardly touched. */
const requestLimit = 30_000;
const tokenLimit = 150_000_000;
const requestLimitText = String(requestLimit);
const tokenLimitText = String(tokenLimit);
const requestsLeftText = String(requestLimit - 1);
const requestsResetText = formatDuration(Math.round(60_000 / requestLimit) * 1000);

export interface HeadOptions {
  readonly profile: ProfileName;
  readonly streamed: boolean;
  /** Absent: that of an event stream, or of JSON. */
  readonly contentType?: string;
  /** Prompt tokens of the request, or 0. */
  readonly tokens: number;
  /** Milliseconds until the first byte, as planned. */
  readonly processingMs: number;
  /** Names the clock of the stamps; null: no stamps. */
  readonly clock: string | null;
}

/** Heads that depend on no request, made once: a listener recognizes them by identity. */
const sharedStreams = new Map<ProfileName, ResponseHead>();
const sharedBodies = new Map<ProfileName, ResponseHead>();

/** The head of a 200. */
export function successHead(options: HeadOptions): ResponseHead {
  const { profile, streamed, clock } = options;
  if (profile === "openai" && clock === null) return openAiHead(options);
  if (clock !== null || (streamed && options.contentType !== undefined)) return makeHead(options);
  const shared = streamed ? sharedStreams : sharedBodies;
  let head = shared.get(profile);
  if (head === undefined) shared.set(profile, (head = makeHead(options)));
  return head;
}

/** The head of OpenAI's made last without its id, and what it was made for. */
let openAiStem: ResponseHead | null = null;
let openAiStemOf: HeadOptions | null = null;

/** Hot path. A head of OpenAI's: most differ from the one before in their id alone. */
function openAiHead(options: HeadOptions): ResponseHead {
  const { streamed, tokens, processingMs, contentType } = options;
  const of = openAiStemOf;
  if (
    openAiStem === null ||
    of === null ||
    of.streamed !== streamed ||
    of.tokens !== tokens ||
    of.processingMs !== processingMs ||
    of.contentType !== contentType
  ) {
    openAiStemOf = options;
    openAiStem = makeHead(options);
    return { status: 200, headers: openAiStem.headers, streamed, stem: openAiStem };
  }
  const { headers } = openAiStem;
  return { status: 200, headers: withId(headers), streamed, stem: openAiStem };
}

/** Written out: an object made by spreading costs ten times as much. */
function withId(headers: Readonly<Record<string, string>>): Record<string, string> {
  return {
    "content-type": headers["content-type"]!,
    "openai-organization": headers["openai-organization"]!,
    "openai-processing-ms": headers["openai-processing-ms"]!,
    "openai-version": headers["openai-version"]!,
    "x-ratelimit-limit-requests": headers["x-ratelimit-limit-requests"]!,
    "x-ratelimit-limit-tokens": headers["x-ratelimit-limit-tokens"]!,
    "x-ratelimit-remaining-requests": headers["x-ratelimit-remaining-requests"]!,
    "x-ratelimit-remaining-tokens": headers["x-ratelimit-remaining-tokens"]!,
    "x-ratelimit-reset-requests": headers["x-ratelimit-reset-requests"]!,
    "x-ratelimit-reset-tokens": headers["x-ratelimit-reset-tokens"]!,
    "x-request-id": requestId(),
  };
}

function makeHead({ profile, streamed, contentType, tokens, processingMs, clock }: HeadOptions): ResponseHead {
  const headers: Record<string, string> = { "content-type": contentType ?? (streamed ? streamTypes[profile] : "application/json") };
  if (profile === "openai") {
    headers["openai-organization"] = "fakeai";
    headers["openai-processing-ms"] = String(Math.max(1, Math.round(processingMs)));
    headers["openai-version"] = "2020-10-01";
    headers["x-ratelimit-limit-requests"] = requestLimitText;
    headers["x-ratelimit-limit-tokens"] = tokenLimitText;
    headers["x-ratelimit-remaining-requests"] = requestsLeftText;
    headers["x-ratelimit-remaining-tokens"] = String(Math.max(0, tokenLimit - tokens));
    headers["x-ratelimit-reset-requests"] = requestsResetText;
    headers["x-ratelimit-reset-tokens"] = formatDuration(Math.round((60_000 * tokens) / tokenLimit) * 1000);
    headers["x-request-id"] = requestId();
  }
  if (profile === "openrouter" && streamed && contentType === undefined) headers["cache-control"] = "no-cache";
  if (clock !== null) {
    headers["x-fakeai-clock"] = clock;
    headers["x-fakeai-instance"] = instanceId;
  }
  return { status: 200, headers, streamed };
}

const streamTypes: Record<ProfileName, string> = {
  openai: "text/event-stream; charset=utf-8",
  vllm: "text/event-stream; charset=utf-8",
  openrouter: "text/event-stream",
  minimal: "text/event-stream",
};

const hexBytes: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
/** 96 random bits of this process, before 32 that differ between its requests. */
const requestIdStart = `req_${Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => hexBytes[byte]!).join("")}`;
let requestIds = 0;

/** The value of x-request-id. */
export function requestId(): string {
  // An odd factor permutes the 32-bit numbers: no two requests share one, and neighbours do not look alike.
  const n = Math.imul(++requestIds, 0x9e3779b1);
  return requestIdStart + hexBytes[n >>> 24]! + hexBytes[(n >>> 16) & 255]! + hexBytes[(n >>> 8) & 255]! + hexBytes[n & 255]!;
}

const withoutRateHeaders: ReadonlySet<Dialect> = new Set(["vllm", "openrouter", "gemini", "ollama"]);

/**
 * The headers of every response that show what is left of a limit (platform.openai.com/docs/guides/rate-limits,
 * docs.claude.com/en/api/rate-limits). vLLM and Ollama have no limits, and OpenRouter and Gemini tell of them in the body of a 429 alone.
 * `nowMs` is the wall clock, for Anthropic's points in time.
 */
export function rateHeaders(dialect: Dialect, state: RateState, nowMs: number): Record<string, string> {
  const headers: Record<string, string> = {};
  if (withoutRateHeaders.has(dialect)) return headers;
  const add = (what: "requests" | "tokens", allowance: Allowance | null): void => {
    if (allowance === null) return;
    const { limit, remaining, resetUs } = allowance;
    if (dialect === "anthropic") {
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
