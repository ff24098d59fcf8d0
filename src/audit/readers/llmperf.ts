/** Ray's llmperf: `*_summary.json` of token_benchmark_ray.py, flat names, times in seconds. */
import type { Quantity, Reported, Statistic } from "../types.ts";
import { figure, numberAt, objectWith, type Reader } from "./reader.ts";

const statistics: readonly (readonly [Statistic, string])[] = [
  ["mean", "mean"],
  ["min", "min"],
  ["p50", "quantiles_p50"],
  ["p90", "quantiles_p90"],
  ["p95", "quantiles_p95"],
  ["p99", "quantiles_p99"],
  ["max", "max"],
];

const rows: readonly (readonly [Quantity, string])[] = [
  ["ttft", "ttft_s"],
  ["ntpot", "inter_token_latency_s"],
  ["e2e", "end_to_end_latency_s"],
];

export const llmperf: Reader = {
  tool: "llmperf",
  tested: "documented",
  documentation: "https://github.com/ray-project/llmperf#readme",
  definitions: [
    "inter_token_latency_s is a mean of each request with the wait for the first token in it: all waits for content / tokens by its own tokenizer (llmperf/ray_clients/openai_chat_completions_client.py, token_benchmark_ray.py)",
  ],
  read(output) {
    const report = objectWith(output, ["results_ttft_s_mean"]);
    if (report === null) return null;
    const at = (name: string): number | null => numberAt(report, name);
    const figures: Reported[] = [
      ...rows.flatMap(([quantity, name]) =>
        statistics.flatMap(([statistic, suffix]) => {
          const value = at(`results_${name}_${suffix}`);
          return value === null ? [] : figure(quantity, statistic, value * 1000, `${name} ${suffix}`);
        }),
      ),
      ...figure("completed", "total", at("results_num_completed_requests"), "num_completed_requests"),
      ...figure("failed", "total", at("results_number_errors"), "number_errors"),
      ...figure("outputTokenRate", "mean", at("results_mean_output_throughput_token_per_s"), "mean_output_throughput_token_per_s"),
      ...figure("outputTokensPerRequest", "mean", at("results_number_output_tokens_mean"), "number_output_tokens mean"),
    ];
    return {
      tool: "llmperf",
      version: null,
      figures,
      asked: { concurrency: at("num_concurrent_requests"), ratePerSecond: null },
      samples: null,
    };
  },
};
