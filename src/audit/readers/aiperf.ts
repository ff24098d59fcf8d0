/** aiperf: `profile_export_aiperf.json`. Each metric has its own unit. */
import type { Quantity, Reported, Statistic } from "../types.ts";
import { at, figure, figuresOf, isObject, numberAt, objectWith, type Reader, textAt } from "./reader.ts";

const statistics: Readonly<Partial<Record<Statistic, string>>> = {
  mean: "avg",
  min: "min",
  p50: "p50",
  p90: "p90",
  p95: "p95",
  p99: "p99",
  max: "max",
};

const rows: readonly (readonly [Quantity, string])[] = [
  ["ttft", "time_to_first_token"],
  ["tpot", "inter_token_latency"],
  ["itl", "inter_chunk_latency"],
  ["e2e", "request_latency"],
];

const scales: Readonly<Record<string, number>> = { ms: 1, s: 1000, sec: 1000, us: 0.001, ns: 1e-6 };

export const aiperf: Reader = {
  tool: "aiperf",
  tested: "0.13.0",
  documentation: "https://github.com/ai-dynamo/aiperf/blob/main/docs/metrics_reference.md",
  definitions: [
    "inter_token_latency is a mean of each request, (request latency - TTFT) / (output tokens - those of the first chunk, which count as one unless --per-chunk-usage is given): what others call TPOT (aiperf/metrics/types/inter_token_latency_metric.py)",
    "the gaps between chunks with content are inter_chunk_latency (aiperf/metrics/types/inter_chunk_latency_metric.py)",
    "output tokens are counted by the tool's own tokenizer, unless --use-server-token-count is given",
  ],
  read(output) {
    const report = objectWith(output, ["request_latency"]);
    if (report === null || !isObject(report["request_latency"]) || report["input_config"] === undefined) return null;
    const figures: Reported[] = rows.flatMap(([quantity, name]) =>
      figuresOf(quantity, report[name], statistics, name, scales[textAt(report, name, "unit") ?? "ms"] ?? 1),
    );
    const mean = (quantity: Quantity, statistic: Statistic, name: string): Reported[] =>
      figure(quantity, statistic, numberAt(report, name, "avg"), name);
    figures.push(
      ...mean("requestRate", "mean", "request_throughput"),
      ...mean("outputTokenRate", "mean", "output_token_throughput"),
      ...mean("concurrency", "mean", "effective_concurrency"),
      ...mean("completed", "total", "request_count"),
      ...figure("failed", "total", numberAt(report, "error_request_count", "avg"), "error_request_count"),
      ...mean("outputTokensPerRequest", "mean", "output_sequence_length"),
      ...mean("outputTokens", "total", "total_osl"),
    );
    const config = report["input_config"];
    return {
      tool: "aiperf",
      version: textAt(report, "aiperf_version"),
      figures,
      asked: {
        concurrency: numberAt(config, "phases", 0, "concurrency") ?? numberAt(config, "loadgen", "concurrency"),
        ratePerSecond: numberAt(config, "phases", 0, "request_rate") ?? numberAt(config, "loadgen", "request_rate"),
      },
      samples: numberAt(at(report, "request_latency"), "count"),
    };
  },
};
