/** guidellm: `--output kind=json`. Statistics of successful requests; times of requests in seconds, all others in milliseconds. */
import type { Quantity, Reported, Statistic } from "../types.ts";
import { at, figuresOf, isObject, notAsked, numberAt, objectWith, type Reader, textAt } from "./reader.ts";

const statistics: Readonly<Partial<Record<Statistic, string>>> = {
  mean: "mean",
  p50: "median",
  p90: "percentiles/p90",
  p95: "percentiles/p95",
  p99: "percentiles/p99",
};

const rows: readonly (readonly [Quantity, string, number])[] = [
  ["ttft", "time_to_first_token_ms", 1],
  ["tpot", "inter_token_latency_ms", 1],
  ["ntpot", "time_per_output_token_ms", 1],
  ["e2e", "request_latency", 1000],
];

export const guidellm: Reader = {
  tool: "guidellm",
  tested: "0.8.1",
  documentation: "https://github.com/vllm-project/guidellm/blob/main/docs/guides/metrics.md",
  definitions: [
    "inter_token_latency_ms is a mean of each request, (last token - first token) / (tokens - 1), weighted by tokens: what others call TPOT (guidellm/schemas/base/request_stats.py)",
    "time_per_output_token_ms has the wait for the first token in it: E2E / tokens (the same file)",
  ],
  read(output) {
    const report = objectWith(output, ["benchmarks"]);
    const benchmark = at(report, "benchmarks", 0);
    const metrics = at(benchmark, "metrics");
    if (!isObject(metrics) || !isObject(metrics["request_latency"])) return null;
    const figures: Reported[] = rows.flatMap(([quantity, name, scale]) =>
      figuresOf(quantity, at(metrics, name, "successful"), statistics, name, scale),
    );
    const one = (quantity: Quantity, statistic: Statistic, name: string, ...path: string[]): Reported[] => {
      const value = numberAt(metrics, ...path);
      return value === null ? [] : [{ quantity, statistic, value, name }];
    };
    figures.push(
      ...one("requestRate", "mean", "requests_per_second", "requests_per_second", "successful", "mean"),
      ...one("outputTokenRate", "mean", "output_tokens_per_second", "output_tokens_per_second", "successful", "mean"),
      ...one("concurrency", "mean", "request_concurrency", "request_concurrency", "successful", "mean"),
      ...one("completed", "total", "request_totals.successful", "request_totals", "successful"),
      ...one("failed", "total", "request_totals.errored", "request_totals", "errored"),
      ...one("outputTokensPerRequest", "mean", "output_token_count", "output_token_count", "successful", "mean"),
      ...one("inputTokensPerRequest", "mean", "prompt_token_count", "prompt_token_count", "successful", "mean"),
      ...one("outputTokens", "total", "output_token_count total", "output_token_count", "successful", "total_sum"),
      ...one("inputTokens", "total", "prompt_token_count total", "prompt_token_count", "successful", "total_sum"),
    );
    const strategy = at(benchmark, "config", "strategy") ?? at(benchmark, "scheduler", "strategy");
    return {
      tool: "guidellm",
      version: textAt(report, "metadata", "guidellm_version"),
      figures,
      asked: {
        ...notAsked,
        concurrency: numberAt(strategy, "streams"),
        ratePerSecond: textAt(strategy, "type_") === "constant" ? numberAt(strategy, "rate") : null,
      },
      samples: null,
    };
  },
};
