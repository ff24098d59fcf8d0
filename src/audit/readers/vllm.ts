/** `vllm bench serve` and SGLang's bench_serving, which comes from it: one JSON object of flat names, times in milliseconds. */
import type { Quantity, Reported, Statistic } from "../types.ts";
import { figure, type Json, numberAt, objectWith, type Reader } from "./reader.ts";

const rows: readonly (readonly [Quantity, string])[] = [
  ["ttft", "ttft"],
  ["tpot", "tpot"],
  ["itl", "itl"],
  ["e2e", "e2el"],
  ["e2e", "e2e_latency"],
];

const prefixes: readonly (readonly [Statistic, string])[] = [
  ["mean", "mean"],
  ["p50", "median"],
  ["p50", "p50"],
  ["p90", "p90"],
  ["p95", "p95"],
  ["p99", "p99"],
  ["max", "max"],
];

function latencies(report: Json): Reported[] {
  const found = new Map<string, Reported>();
  for (const [quantity, suffix] of rows) {
    for (const [statistic, prefix] of prefixes) {
      const name = `${prefix}_${suffix}_ms`;
      for (const one of figure(quantity, statistic, numberAt(report, name), name)) found.set(`${quantity}.${statistic}`, one);
    }
  }
  return [...found.values()];
}

function counts(report: Json, input: string, output: string): Reported[] {
  const of = (quantity: Quantity, statistic: Statistic, name: string): Reported[] =>
    figure(quantity, statistic, numberAt(report, name), name);
  return [
    ...of("completed", "total", "completed"),
    ...of("failed", "total", "failed"),
    ...of("inputTokens", "total", input),
    ...of("outputTokens", "total", output),
    ...of("requestRate", "mean", "request_throughput"),
    ...of("outputTokenRate", "mean", "output_throughput"),
    ...of("concurrency", "mean", "concurrency"),
  ];
}

/** A rate in a report; "inf" and null mean none. */
function rateOf(report: Json): number | null {
  const rate = Number(report["request_rate"]);
  return Number.isFinite(rate) && rate > 0 ? rate : null;
}

export const vllm: Reader = {
  tool: "vllm bench serve",
  tested: "0.33.0",
  documentation: "https://docs.vllm.ai/en/latest/benchmarking/cli/",
  definitions: [
    "TTFT of chats ends with the first chunk that has a text, reasoning or a call of a tool; in earlier versions the chunk of the role ended it (vllm/benchmarks/lib/endpoint_request_func.py)",
    "ITL are gaps between chunks, of all requests together (the same file)",
    "requests that try whether the server is there come before the load, and are in no figure (--ready-check-timeout-sec, vllm/benchmarks/serve.py)",
  ],
  read(output) {
    const report = objectWith(output, ["mean_ttft_ms", "request_throughput", "total_input_tokens", "num_prompts"]);
    if (report === null || typeof report["backend"] === "string") {
      const other = report ?? objectWith(output, ["mean_ttft_ms", "request_throughput", "endpoint_type"]);
      if (other === null || !Object.hasOwn(other, "endpoint_type")) return null;
      return vllmReport(other);
    }
    return vllmReport(report);
  },
};

function vllmReport(report: Json): ReturnType<Reader["read"]> {
  return {
    tool: "vllm bench serve",
    version: null,
    figures: [...latencies(report), ...counts(report, "total_input_tokens", "total_output_tokens")],
    asked: { concurrency: numberAt(report, "max_concurrency"), ratePerSecond: rateOf(report) },
    samples: null,
  };
}

export const sglang: Reader = {
  tool: "sglang bench_serving",
  tested: "0.5.23",
  documentation: "https://docs.sglang.io/developer_guide/bench_serving.html",
  definitions: [
    "TTFT of chats ends with the first chunk that has content or reasoning (sglang/benchmark/serving.py)",
    "ITL are gaps between chunks with a text; at its own /generate each is divided by the tokens of its chunk (the same file)",
  ],
  read(output) {
    const report = objectWith(output, ["backend", "mean_ttft_ms", "request_throughput", "max_concurrency"]);
    if (report === null || Object.hasOwn(report, "endpoint_type")) return null;
    return {
      tool: "sglang bench_serving",
      version: null,
      figures: [...latencies(report), ...counts(report, "total_input_tokens", "total_output_tokens")],
      asked: { concurrency: numberAt(report, "max_concurrency"), ratePerSecond: rateOf(report) },
      samples: null,
    };
  },
};
