/** k6: `--summary-export`, or the same metrics from handleSummary. Times in milliseconds. Trends of scripts count by their names. */
import type { Quantity, Reported, Statistic } from "../types.ts";
import { at, figure, figuresOf, isObject, notAsked, numberAt, objectWith, type Reader } from "./reader.ts";

const statistics: Readonly<Partial<Record<Statistic, string>>> = {
  mean: "avg",
  min: "min",
  p50: "med",
  p90: "p(90)",
  p95: "p(95)",
  p99: "p(99)",
  max: "max",
};

const rows: readonly (readonly [Quantity, string])[] = [
  ["e2eEnded", "http_req_duration"],
  ["ttfb", "http_req_waiting"],
  ["ttft", "ttft"],
  ["itl", "itl"],
  ["tpot", "tpot"],
];

/** In the form of handleSummary a metric's numbers are in `values`. */
function valuesOf(metric: unknown): unknown {
  return isObject(metric) && isObject(metric["values"]) ? metric["values"] : metric;
}

export const k6: Reader = {
  tool: "k6",
  tested: "1.1.0",
  documentation: "https://grafana.com/docs/k6/latest/using-k6/metrics/reference/",
  definitions: [
    "http_req_duration is sending + waiting + receiving of every request, failed ones too, without connecting (metrics reference)",
    "http_req_waiting ends with the first byte of the answer: time to first byte, not to the first token (the same page)",
  ],
  read(output) {
    const report = objectWith(output, ["metrics"]);
    const metrics = report?.["metrics"];
    if (!isObject(metrics) || !isObject(metrics["http_req_duration"])) return null;
    const of = (name: string): unknown => valuesOf(metrics[name]);
    const failed = of("http_req_failed");
    const requests = numberAt(of("http_reqs"), "count");
    const failures = numberAt(failed, "passes") ?? null;
    const figures: Reported[] = [
      ...rows.flatMap(([quantity, name]) => figuresOf(quantity, of(name), statistics, name)),
      ...figure("requests", "total", requests, "http_reqs count"),
      ...figure("answerRate", "mean", numberAt(of("http_reqs"), "rate"), "http_reqs rate"),
      ...figure("failed", "total", failures, "http_req_failed"),
      ...figure(
        "completed",
        "total",
        requests === null || failures === null ? null : requests - failures,
        "http_reqs less http_req_failed",
      ),
    ];
    return {
      tool: "k6",
      version: null,
      figures,
      asked: { ...notAsked, concurrency: numberAt(at(metrics, "vus_max"), "max") ?? numberAt(of("vus_max"), "max") },
      samples: null,
    };
  },
};
