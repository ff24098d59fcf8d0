/** Results in the formats of other tools: their names, and vLLM's. The others are made in `report/exports`, of the same words as reports. */
import type { ArmResult, DistributionMetric, MetricSummary } from "./types.ts";

/** What `--export` takes. */
export const exportFormats = ["csv", "jsonl", "junit", "github", "markdown", "prometheus"] as const;

export type ExportFormat = (typeof exportFormats)[number];

/** What the export takes of one request: microseconds of one monotonic clock. */
export interface ExportedRequest {
  readonly startUs: number;
  readonly error: string | null;
  readonly tokens: number;
  readonly firstEventUs: number | null;
  readonly tokenUs: readonly number[];
}

/** Keys and units as `vllm bench serve --save-result` writes them. */
export type VllmJson = Readonly<Record<string, string | number | null | readonly (string | number | readonly number[])[]>>;

function pooled(arm: ArmResult, value: (round: ArmResult["rounds"][number]) => number | null | undefined): number | null {
  let sum = 0;
  for (const round of arm.rounds) {
    if (round.invalid.length > 0) continue;
    const part = value(round);
    if (part === null || part === undefined) return null;
    sum += part;
  }
  return sum;
}

function over(amount: number | null, duration: number | null): number | null {
  return amount === null || duration === null || duration === 0 ? null : amount / duration;
}

/** Milliseconds; vLLM's standard deviation is the population's (numpy's default), ours the sample's. */
function distribution(name: string, summary: MetricSummary | null | undefined): [string, number | null][] {
  const ms = (value: number | undefined): number | null => (value === undefined ? null : value / 1000);
  const std = summary ? summary.std * Math.sqrt((summary.count - 1) / summary.count) : undefined;
  return [
    [`mean_${name}_ms`, ms(summary?.mean)],
    [`median_${name}_ms`, ms(summary?.p50)],
    [`std_${name}_ms`, ms(std)],
    [`p99_${name}_ms`, ms(summary?.p99)],
  ];
}

/**
 * An arm as vLLM's benchmark would write it: `*_ms` in milliseconds, rates per second, and, where requests are given,
 * lists of seconds for each request. `ttft` is our `ttfe`, because vLLM stops the clock at the first event, whether it has
 * content or not; where a driver sees no events it is null, as is everything else that was not measured.
 */
export function vllmJson(arm: ArmResult, requests: readonly ExportedRequest[] = []): VllmJson {
  const durationS = over(
    pooled(arm, ({ metrics }) => metrics.durationUs?.mean),
    1e6,
  );
  // What left in a ramp-up or cool-down is not in the duration.
  const completed = pooled(arm, ({ requests }) => requests.completed - (requests.outside ?? 0));
  const countOf = (name: "tokensPerSecond" | "inputTokensPerSecond" | "goodRequestsPerSecond"): number | null =>
    pooled(arm, ({ metrics }) => {
      const { durationUs, [name]: rate } = metrics;
      return rate && durationUs ? Math.round((rate.mean * durationUs.mean) / 1e6) : null;
    });
  const tokens = countOf("tokensPerSecond");
  const inputTokens = countOf("inputTokensPerSecond");
  const names: readonly (readonly [string, DistributionMetric])[] = [
    ["ttft", "ttfe"],
    ["tpot", "tpot"],
    ["itl", "itl"],
    ["e2el", "e2el"],
  ];
  const result: Record<string, VllmJson[string]> = {
    backend: "openai-chat",
    label: arm.id,
    duration: durationS,
    completed,
    failed: pooled(arm, (round) => round.requests.failed),
    total_input_tokens: inputTokens,
    total_output_tokens: tokens,
    request_throughput: over(completed, durationS),
    request_goodput: over(countOf("goodRequestsPerSecond"), durationS),
    output_throughput: over(tokens, durationS),
    total_token_throughput: over(inputTokens === null || tokens === null ? null : inputTokens + tokens, durationS),
  };
  for (const [name, metric] of names) Object.assign(result, Object.fromEntries(distribution(name, arm.metrics[metric])));
  if (requests.length > 0) {
    const s = (us: number): number => us / 1e6;
    const origin = requests.reduce((least, { startUs }) => Math.min(least, startUs), Infinity);
    // As in vLLM, a failed request has a place in every list: 0 and nothing.
    result["ttfts"] = requests.map(({ startUs, firstEventUs }) => (firstEventUs === null ? 0 : s(firstEventUs - startUs)));
    result["itls"] = requests.map(({ tokenUs }) => tokenUs.slice(1).map((at, index) => s(at - (tokenUs[index] ?? at))));
    result["latencies"] = requests.map(({ startUs, tokenUs }) => s((tokenUs.at(-1) ?? startUs) - startUs));
    result["start_times"] = requests.map(({ startUs }) => s(startUs - origin));
    result["output_lens"] = requests.map((request) => request.tokens);
    result["errors"] = requests.map(({ error }) => error ?? "");
  }
  return result;
}
