/** autocannon: `--json`. Latencies in whole milliseconds. */
import type { Reported, Statistic } from "../types.ts";
import { figure, figuresOf, isObject, notAsked, numberAt, objectWith, type Reader } from "./reader.ts";

const statistics: Readonly<Partial<Record<Statistic, string>>> = {
  mean: "average",
  min: "min",
  p50: "p50",
  p90: "p90",
  p99: "p99",
  max: "max",
};

export const autocannon: Reader = {
  tool: "autocannon",
  tested: "9.0.0",
  documentation: "https://github.com/mcollina/autocannon#result",
  definitions: [
    "a latency ends with the whole answer and is recorded in whole milliseconds (lib/run.js)",
    "with a rate and without --ignoreCoordinatedOmission latencies are corrected, with values that no request had (lib/run.js)",
    "it reads no content: an answer that ends in order is complete, whatever it should have held (lib/run.js)",
    "requests.average is a mean of samples of a second, and not requests by time (README)",
  ],
  read(output) {
    const report = objectWith(output, ["latency", "requests", "throughput", "connections"]);
    if (report === null || !isObject(report["latency"])) return null;
    const codes = numberAt(report, "2xx");
    const figures: Reported[] = [
      ...figuresOf("e2eAnswered", report["latency"], statistics, "latency"),
      ...figure("completed", "total", codes, "2xx"),
      ...figure("failed", "total", (numberAt(report, "non2xx") ?? 0) + (numberAt(report, "errors") ?? 0), "non2xx and errors"),
      ...figure("answerRate", "mean", numberAt(report, "requests", "average"), "requests.average"),
    ];
    return {
      tool: "autocannon",
      version: null,
      figures,
      asked: { ...notAsked, concurrency: numberAt(report, "connections") },
      samples: numberAt(report, "latency", "totalCount"),
    };
  },
};
