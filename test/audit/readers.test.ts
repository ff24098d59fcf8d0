/** Readers: each on what its tool wrote, or where none could be run here, on the form that its documentation has. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Output } from "../../src/audit/readers/reader.ts";
import { durationMs } from "../../src/audit/readers/reader.ts";
import { readers, reportIn } from "../../src/audit/readers/readers.ts";
import type { Report } from "../../src/audit/types.ts";
import { sampleResult } from "../support/sample-result.ts";
import { root } from "../support/process.ts";

const fixture = (name: string): string => readFileSync(`${root}test/audit/fixtures/${name}`, "utf8");
const printed = (stdout: string): Output => ({ stdout, stderr: "", files: [] });
const wrote = (path: string, text: string): Output => ({
  stdout: "done\n",
  stderr: "",
  files: [{ path: `/out/${path}`, text: () => text }],
});

/** Figures as "quantity statistic" to value. */
function figuresIn(output: Output): Record<string, number> {
  return Object.fromEntries(
    reportIn(output)!.report.figures.map(({ quantity, statistic, value }) => [`${quantity} ${statistic}`, Number(value.toFixed(3))]),
  );
}

interface Case {
  readonly tool: string;
  readonly output: Output;
  readonly figures: Readonly<Record<string, number>>;
  readonly asked?: Partial<Report["asked"]>;
  readonly version?: string;
}

const vllm = {
  date: "20261129-175500",
  endpoint_type: "openai-chat",
  label: null,
  model_id: "fakeai",
  tokenizer_id: "t",
  num_prompts: 20,
  request_rate: "inf",
  burstiness: 1,
  max_concurrency: 5,
  duration: 1.95,
  completed: 20,
  failed: 0,
  total_input_tokens: 640,
  total_output_tokens: 400,
  request_throughput: 10.25,
  request_goodput: null,
  output_throughput: 205.1,
  total_token_throughput: 533,
  mean_ttft_ms: 101.5,
  median_ttft_ms: 101.2,
  std_ttft_ms: 1,
  p99_ttft_ms: 104.9,
  mean_tpot_ms: 20.01,
  median_tpot_ms: 20,
  std_tpot_ms: 0.1,
  p99_tpot_ms: 20.2,
  mean_itl_ms: 20.02,
  median_itl_ms: 20,
  std_itl_ms: 0.5,
  p99_itl_ms: 22.1,
};

const cases: readonly Case[] = [
  {
    tool: "vegeta",
    output: printed(fixture("vegeta.txt")),
    figures: {
      "e2eEnded mean": 385.907,
      "e2eEnded p50": 481.573,
      "e2eEnded p99": 486.681,
      "requests total": 20,
      "completed total": 16,
      "failed total": 4,
      "requestRate mean": 6.719,
    },
  },
  {
    tool: "hey",
    output: printed(fixture("hey.txt")),
    figures: {
      "e2eAnswered mean": 387.9,
      "e2eAnswered p50": 481.2,
      "e2eAnswered p90": 492.9,
      "e2eAnswered max": 496.8,
      "answerRate mean": 10.305,
      "completed total": 16,
      "failed total": 4,
    },
  },
  {
    tool: "wrk",
    output: printed(fixture("wrk.txt")),
    figures: {
      "e2eAnswered mean": 381.22,
      "e2eAnswered p50": 481.21,
      "e2eAnswered p90": 484.92,
      "e2eAnswered p99": 493.69,
      "answerRate mean": 12.66,
      "completed total": 30,
      "failed total": 8,
    },
    asked: { concurrency: 5 },
  },
  {
    tool: "h2load",
    output: printed(fixture("h2load.txt")),
    figures: {
      "e2eAnswered min": 0.959,
      "e2eAnswered max": 498.85,
      "e2eAnswered mean": 388.31,
      "answerRate mean": 10.29,
      "requests total": 20,
      "completed total": 16,
      "failed total": 4,
    },
    asked: { concurrency: 5 },
  },
  {
    tool: "autocannon",
    output: printed(fixture("autocannon.txt")),
    figures: {
      "e2eAnswered mean": 387.3,
      "e2eAnswered p50": 481,
      "e2eAnswered p90": 491,
      "e2eAnswered p99": 493,
      "answerRate mean": 10,
      "completed total": 16,
      "failed total": 4,
    },
    asked: { concurrency: 5 },
  },
  {
    tool: "vllm bench serve",
    output: wrote("vllm-infqps.json", JSON.stringify(vllm)),
    figures: {
      "ttft mean": 101.5,
      "ttft p50": 101.2,
      "ttft p99": 104.9,
      "tpot mean": 20.01,
      "itl mean": 20.02,
      "itl p99": 22.1,
      "completed total": 20,
      "outputTokens total": 400,
      "inputTokens total": 640,
      "requestRate mean": 10.25,
      "outputTokenRate mean": 205.1,
    },
    asked: { concurrency: 5, ratePerSecond: null },
  },
  {
    tool: "sglang bench_serving",
    output: wrote(
      "sglang.jsonl",
      `{"backend":"old"}\n${JSON.stringify({ ...vllm, endpoint_type: undefined, backend: "sglang-oai-chat", request_rate: 10, mean_e2e_latency_ms: 482, median_e2e_latency_ms: 481, concurrency: 4.9 })}\n`,
    ),
    figures: { "ttft mean": 101.5, "itl p50": 20, "e2e mean": 482, "e2e p50": 481, "concurrency mean": 4.9, "completed total": 20 },
    asked: { concurrency: 5, ratePerSecond: 10 },
  },
  {
    tool: "llmperf",
    output: wrote(
      "m_550_150_summary.json",
      JSON.stringify({
        version: "2023-08-31",
        model: "m",
        num_concurrent_requests: 5,
        results_inter_token_latency_s_quantiles_p50: 0.024,
        results_inter_token_latency_s_mean: 0.0241,
        results_ttft_s_quantiles_p99: 0.11,
        results_ttft_s_mean: 0.102,
        results_end_to_end_latency_s_mean: 0.482,
        results_number_errors: 1,
        results_num_completed_requests: 19,
        results_mean_output_throughput_token_per_s: 200.5,
        results_number_output_tokens_mean: 20,
      }),
    ),
    figures: {
      "ntpot mean": 24.1,
      "ntpot p50": 24,
      "ttft mean": 102,
      "ttft p99": 110,
      "e2e mean": 482,
      "completed total": 19,
      "failed total": 1,
      "outputTokenRate mean": 200.5,
      "outputTokensPerRequest mean": 20,
    },
    asked: { concurrency: 5 },
  },
  {
    tool: "inference-perf",
    output: wrote(
      "summary_lifecycle_metrics.json",
      JSON.stringify({
        load_summary: { count: 20, requested_rate: 10, achieved_rate: 9.9 },
        successes: {
          count: 19,
          latency: {
            request_latency: { mean: 0.482, median: 0.481, p90: 0.49, p99: 0.5 },
            time_to_first_token: { mean: 0.101, median: 0.1 },
            time_per_output_token: { mean: 0.02 },
            inter_token_latency: { mean: 0.02, p99: 0.022 },
            normalized_time_per_output_token: { mean: 0.0241 },
          },
          throughput: { requests_per_sec: 9.5, output_tokens_per_sec: 190 },
          prompt_len: { mean: 32 },
          output_len: { mean: 20 },
        },
        failures: { count: 1 },
      }),
    ),
    figures: {
      "e2e mean": 482,
      "e2e p50": 481,
      "e2e p90": 490,
      "ttft mean": 101,
      "ttft p50": 100,
      "tpot mean": 20,
      "itl p99": 22,
      "ntpot mean": 24.1,
      "completed total": 19,
      "failed total": 1,
      "requestRate mean": 9.5,
      "inputTokensPerRequest mean": 32,
    },
    asked: { ratePerSecond: 10 },
  },
  {
    tool: "k6",
    output: wrote("summary.json", fixture("k6.json")),
    figures: {
      "e2eEnded mean": 502.276,
      "e2eEnded p50": 499.274,
      "e2eEnded p95": 532.383,
      "ttfb mean": 115.899,
      "requests total": 20,
      "failed total": 0,
      "completed total": 20,
      "answerRate mean": 9.743,
    },
    asked: { concurrency: 5 },
  },
  {
    // What handleSummary gets, with a trend of the script's own.
    tool: "k6",
    output: wrote(
      "summary.json",
      JSON.stringify({
        metrics: {
          http_req_duration: { type: "trend", values: { avg: 482.1, med: 481.5, "p(95)": 490 } },
          http_reqs: { type: "counter", values: { count: 20, rate: 10.2 } },
          http_req_failed: { type: "rate", values: { passes: 3, fails: 17, rate: 0.15 } },
          vus_max: { type: "gauge", values: { value: 5, min: 5, max: 5 } },
          ttft: { type: "trend", values: { avg: 101, med: 101, "p(95)": 105 } },
        },
      }),
    ),
    figures: { "e2eEnded mean": 482.1, "ttft mean": 101, "failed total": 3, "completed total": 17, "answerRate mean": 10.2 },
    asked: { concurrency: 5 },
  },
  {
    tool: "oha",
    output: printed(fixture("oha.json")),
    figures: {
      "e2eAnswered mean": 481.772,
      "e2eAnswered p50": 480.857,
      "e2eAnswered p90": 485.198,
      "e2eAnswered max": 485.219,
      "ttfb mean": 101.895,
      "ttfb p50": 101.037,
      "answerRate mean": 10.366,
      "completed total": 20,
      "failed total": 0,
    },
  },
  {
    tool: "oha",
    output: printed(
      JSON.stringify(
        {
          summary: { successRate: 1, total: 1.95, slowest: 0.5, fastest: 0.48, average: 0.4821, requestsPerSec: 10.2 },
          latencyPercentiles: { p10: 0.48, p50: 0.4815, p90: 0.49, p95: 0.495, p99: 0.5 },
          firstByte: { average: 0.101, fastest: 0.1, slowest: 0.11 },
          statusCodeDistribution: { "200": 16, "429": 4 },
          errorDistribution: { "connection closed": 1 },
        },
        null,
        2,
      ),
    ),
    figures: {
      "e2eAnswered mean": 482.1,
      "e2eAnswered p50": 481.5,
      "e2eAnswered p99": 500,
      "ttfb mean": 101,
      "answerRate mean": 10.2,
      "completed total": 16,
      "failed total": 5,
    },
  },
  {
    tool: "guidellm",
    output: wrote("report.json", fixture("guidellm.json")),
    // A run with four tokens in a chunk: its ITL is that of a request, (E2E - TTFT) / (tokens - 1).
    figures: {
      "ttft mean": 103.615,
      "ttft p50": 103.139,
      "ttft p99": 108.463,
      "tpot mean": 8.384,
      "ntpot mean": 13.146,
      "e2e mean": 263.346,
      "requestRate mean": 18.497,
      "concurrency mean": 4.871,
      "completed total": 20,
      "failed total": 0,
      "outputTokens total": 400,
      "inputTokens total": 160,
    },
    asked: { concurrency: 5, ratePerSecond: null },
    version: "0.8.1",
  },
  {
    tool: "Locust",
    output: printed(fixture("locust.txt")),
    figures: {
      "ttft mean": 108.638,
      "ttft p50": 100,
      "ttft p99": 140,
      "itl mean": 19.935,
      "e2e mean": 487.464,
      "requests total": 30,
      "completed total": 30,
      "failed total": 0,
      "answerRate mean": 10.707,
    },
  },
  {
    tool: "aiperf",
    output: wrote("profile_export_aiperf.json", fixture("aiperf.json")),
    figures: {
      "ttft mean": 107.462,
      "ttft p99": 124.087,
      "tpot mean": 20.038,
      "itl mean": 20.038,
      "e2e mean": 488.185,
      "e2e p50": 488.169,
      "requestRate mean": 9.911,
      "outputTokenRate mean": 198.218,
      "completed total": 20,
      "outputTokensPerRequest mean": 20,
    },
    asked: { concurrency: 5 },
    version: "0.13.0",
  },
  {
    tool: "fakeai bench",
    output: wrote("result.json", JSON.stringify(sampleResult())),
    figures: {},
    version: sampleResult().environment.fakeai,
  },
  {
    tool: "vllm bench serve",
    output: wrote("openai-chat-infqps-concurrency5-fakeai.json", fixture("vllm.json")),
    figures: {
      "ttft mean": 180.932,
      "ttft p99": 353.001,
      "tpot mean": 19.889,
      "itl p90": 38.147,
      "e2e p50": 511.674,
      "completed total": 20,
      "failed total": 0,
      "outputTokens total": 400,
      "requestRate mean": 8.148,
    },
    asked: { concurrency: 5, ratePerSecond: null },
  },
  {
    // A rate without a bound is Infinity in it, which is no JSON.
    tool: "sglang bench_serving",
    output: wrote("report.jsonl", fixture("sglang.jsonl")),
    figures: {
      "ttft mean": 119.082,
      "ttft p99": 151.365,
      "tpot mean": 20.005,
      "itl mean": 20.003,
      "e2e mean": 499.177,
      "completed total": 20,
      "outputTokens total": 400,
      "concurrency mean": 4.904,
    },
    asked: { concurrency: 5, ratePerSecond: null },
  },
];

describe("a tool's report", () => {
  test.each(cases.map((one) => [one.tool, one] as const))("%s", (tool, { output, figures, asked = {}, version }) => {
    const { reader, report } = reportIn(output)!;
    expect(reader.tool).toBe(tool);
    expect(report.tool).toBe(tool);
    expect(figuresIn(output)).toMatchObject(figures);
    expect(report.figures.length).toBeGreaterThanOrEqual(Math.max(4, Object.keys(figures).length));
    expect(report.asked).toMatchObject(asked);
    if (version !== undefined) expect(report.version).toBe(version);
    for (const { name, value } of report.figures) expect([name, Number.isFinite(value) && value >= 0]).toEqual([name, true]);
  });
});

test("no reader takes another's report, and none takes what is none", () => {
  for (const { tool, output } of cases)
    for (const reader of readers)
      if (reader.tool !== tool) expect([tool, reader.tool, reader.read(output)]).toEqual([tool, reader.tool, null]);
  for (const text of ["", "Segmentation fault", "{}", "[]", '{"metrics":{}}', '{"benchmarks":[]}', "null", "{".repeat(1000)]) {
    expect(reportIn(printed(text))).toBeNull();
    expect(reportIn(wrote("a.json", text))).toBeNull();
  }
});

test("every tool of the list has a reader, says where its documentation is, and has a case here", () => {
  expect(readers.map(({ tool }) => tool).sort()).toEqual(
    [
      "aiperf",
      "autocannon",
      "fakeai bench",
      "guidellm",
      "h2load",
      "hey",
      "inference-perf",
      "k6",
      "llmperf",
      "Locust",
      "oha",
      "sglang bench_serving",
      "vegeta",
      "vllm bench serve",
      "wrk",
    ].sort(),
  );
  for (const { documentation } of readers) expect(documentation).not.toBe("");
  expect(readers.filter(({ tool }) => !cases.some((one) => one.tool === tool)).map(({ tool }) => tool)).toEqual([]);
});

test.each([
  ["528.41ms", 528.41],
  ["1.05s", 1050],
  ["199us", 0.199],
  ["1m2.5s", 62_500],
  ["12", null],
  ["nan", null],
  [undefined, null],
])("%s is %s ms", (text, ms) => {
  expect(durationMs(text)).toBe(ms);
});
