/** vegeta: `vegeta report -type json`. Times in nanoseconds. */
import type { Reported, Statistic } from "../types.ts";
import { at, figure, figuresOf, isObject, notAsked, numberAt, objectWith, type Reader } from "./reader.ts";

const statistics: Readonly<Partial<Record<Statistic, string>>> = {
  mean: "mean",
  min: "min",
  p50: "50th",
  p90: "90th",
  p95: "95th",
  p99: "99th",
  max: "max",
};

export const vegeta: Reader = {
  tool: "vegeta",
  tested: "12.13.0",
  documentation: "https://github.com/tsenart/vegeta#report-command",
  definitions: [
    "latencies are of all requests, failed ones too, and end with the whole body (README, lib/attack.go)",
    "rate is requests by the time of the attack without the wait for the last answer; throughput is successful ones with it (README)",
  ],
  read(output) {
    const report = objectWith(output, ["latencies", "throughput", "status_codes"]);
    if (report === null || !isObject(report["latencies"])) return null;
    const requests = numberAt(report, "requests");
    const success = numberAt(report, "success");
    const completed = requests === null || success === null ? null : Math.round(requests * success);
    const figures: Reported[] = [
      ...figuresOf("e2eEnded", at(report, "latencies"), statistics, "latencies", 1e-6),
      ...figure("requests", "total", requests, "requests"),
      ...figure("completed", "total", completed, "requests by success"),
      ...figure("failed", "total", requests === null || completed === null ? null : requests - completed, "requests less success"),
      ...figure("requestRate", "mean", numberAt(report, "throughput"), "throughput"),
    ];
    return { tool: "vegeta", version: null, figures, asked: notAsked, samples: null };
  },
};
