/** inference-perf: `summary_lifecycle_metrics.json`, or one of a stage. Times in seconds. */
import type { Quantity, Reported, Statistic } from "../types.ts";
import { figure, figuresOf, isObject, numberAt, objectWith, type Reader } from "./reader.ts";

const statistics: Readonly<Partial<Record<Statistic, string>>> = {
  mean: "mean",
  min: "min",
  p50: "median",
  p90: "p90",
  p95: "p95",
  p99: "p99",
  max: "max",
};
const shares: Readonly<Partial<Record<Statistic, string>>> = { p50: "p50" };

const rows: readonly (readonly [Quantity, string])[] = [
  ["ttft", "time_to_first_token"],
  ["tpot", "time_per_output_token"],
  ["ntpot", "normalized_time_per_output_token"],
  ["itl", "inter_token_latency"],
  ["e2e", "request_latency"],
];

export const inferencePerf: Reader = {
  tool: "inference-perf",
  tested: "documented",
  documentation: "https://github.com/kubernetes-sigs/inference-perf/blob/main/docs/metrics.md",
  definitions: [
    "inter_token_latency of a chunk of k tokens is one gap and k - 1 zeros (inference_perf/reportgen/base.py)",
    "time_per_output_token is (last token - first token) / (tokens - 1) of each request (the same file; docs/metrics.md says E2E in place of the last token)",
  ],
  read(output) {
    const report = objectWith(output, ["load_summary", "successes", "failures"]);
    const successes = report?.["successes"];
    if (report === null || !isObject(successes) || !isObject(successes["latency"])) return null;
    const latency = successes["latency"];
    const figures: Reported[] = [
      ...rows.flatMap(([quantity, name]) => {
        const found = figuresOf(quantity, latency[name], statistics, name, 1000);
        return found.some(({ statistic }) => statistic === "p50")
          ? found
          : [...found, ...figuresOf(quantity, latency[name], shares, name, 1000)];
      }),
      ...figure("completed", "total", numberAt(successes, "count"), "successes.count"),
      ...figure("failed", "total", numberAt(report, "failures", "count"), "failures.count"),
      ...figure("requestRate", "mean", numberAt(successes, "throughput", "requests_per_sec"), "throughput.requests_per_sec"),
      ...figure("outputTokenRate", "mean", numberAt(successes, "throughput", "output_tokens_per_sec"), "throughput.output_tokens_per_sec"),
      ...figure("outputTokensPerRequest", "mean", numberAt(successes, "output_len", "mean"), "output_len mean"),
      ...figure("inputTokensPerRequest", "mean", numberAt(successes, "prompt_len", "mean"), "prompt_len mean"),
    ];
    return {
      tool: "inference-perf",
      version: null,
      figures,
      asked: {
        concurrency: numberAt(report, "load_summary", "concurrency"),
        ratePerSecond: numberAt(report, "load_summary", "requested_rate"),
      },
      samples: null,
    };
  },
};
