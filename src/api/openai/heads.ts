/** Response headers as each provider sends them; those that an edge in front of it adds are left out. */
import { formatDuration } from "../../core/rate-limit.ts";
import type { ResponseHead } from "../../core/seams.ts";
import type { ProfileName } from "../model.ts";

/** What OpenAI says of limits where nobody set any: those of a large account, hardly touched. */
const requestLimit = 30_000;
const tokenLimit = 150_000_000;

export interface HeadOptions {
  readonly profile: ProfileName;
  readonly streamed: boolean;
  /** Prompt tokens of the request, or 0. */
  readonly tokens: number;
  /** Milliseconds until the first byte, as planned. */
  readonly processingMs: number;
  /** Names the clock of the stamps; null: no stamps. */
  readonly clock: string | null;
}

/** The head of a good answer. */
export function successHead({ profile, streamed, tokens, processingMs, clock }: HeadOptions): ResponseHead {
  const headers: Record<string, string> = { "content-type": streamed ? streamTypes[profile] : "application/json" };
  if (profile === "openai") {
    headers["access-control-expose-headers"] = "X-Request-ID";
    headers["openai-organization"] = "fakeai";
    headers["openai-processing-ms"] = String(Math.max(1, Math.round(processingMs)));
    headers["openai-version"] = "2020-10-01";
    headers["x-ratelimit-limit-requests"] = String(requestLimit);
    headers["x-ratelimit-limit-tokens"] = String(tokenLimit);
    headers["x-ratelimit-remaining-requests"] = String(requestLimit - 1);
    headers["x-ratelimit-remaining-tokens"] = String(Math.max(0, tokenLimit - tokens));
    headers["x-ratelimit-reset-requests"] = formatDuration(Math.round(60_000 / requestLimit) * 1000);
    headers["x-ratelimit-reset-tokens"] = formatDuration(Math.round((60_000 * tokens) / tokenLimit) * 1000);
    headers["x-request-id"] = requestId();
  }
  if (profile === "openrouter" && streamed) headers["cache-control"] = "no-cache";
  if (clock !== null) headers["x-fakeai-clock"] = clock;
  return { status: 200, headers, streamed };
}

const streamTypes: Record<ProfileName, string> = {
  openai: "text/event-stream; charset=utf-8",
  vllm: "text/event-stream; charset=utf-8",
  openrouter: "text/event-stream",
  minimal: "text/event-stream",
};

export function requestId(): string {
  return `req_${crypto.randomUUID().replaceAll("-", "")}`;
}
