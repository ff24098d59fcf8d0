/** Failed requests in words, as reasons and reports show them. */
import type { RequestCounts } from "./types.ts";

/** `2 of 8 requests failed: status 400 (2): "Unsupported parameter"`: each reason, how often, and the first words for it. */
export function describeFailures({ failed, sent, errors, words }: RequestCounts): string {
  const reasons = Object.entries(errors)
    .sort(([, a], [, b]) => b - a)
    .map(([reason, count]) => `${reason} (${count})${words?.[reason] === undefined ? "" : `: "${words[reason]}"`}`);
  return `${failed} of ${sent} requests failed: ${reasons.join(", ") || "no reason given"}`;
}

/** The first words for each reason, over several counts; undefined: none were given. */
export function joinWords(all: readonly RequestCounts[]): RequestCounts["words"] {
  const words: Record<string, string> = {};
  for (const one of all) for (const [reason, said] of Object.entries(one.words ?? {})) words[reason] ??= said;
  return Object.keys(words).length === 0 ? undefined : words;
}
