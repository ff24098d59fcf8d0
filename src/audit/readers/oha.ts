/** oha: `--output-format json` (before 1.5: `-j`). Times in seconds. */
import type { Reported, Statistic } from "../types.ts";
import { at, figure, figuresOf, isObject, notAsked, numberAt, objectWith, type Reader } from "./reader.ts";

const statistics: Readonly<Partial<Record<Statistic, string>>> = { p50: "p50", p90: "p90", p95: "p95", p99: "p99" };

export const oha: Reader = {
  tool: "oha",
  tested: "1.16.0",
  documentation: "https://github.com/hatoo/oha#readme, schema.json in the same repository",
  definitions: [
    "the latency of a request ends with its whole answer; firstByte is the first byte of it (src/result_data.rs)",
    "with -q and without --latency-correction a request counts from when it left, not from when it should have (README)",
  ],
  read(output) {
    const report = objectWith(output, ["summary", "latencyPercentiles"]);
    const summary = report?.["summary"];
    if (report === null || !isObject(summary)) return null;
    const codes = isObject(report["statusCodeDistribution"]) ? Object.entries(report["statusCodeDistribution"]) : [];
    const errors = isObject(report["errorDistribution"]) ? Object.entries(report["errorDistribution"]) : [];
    const count = (entries: readonly (readonly [string, unknown])[]): number =>
      entries.reduce((total, [, value]) => total + Number(value), 0);
    const good = codes.filter(([code]) => code.startsWith("2"));
    const firstByte = at(report, "firstByte");
    const figures: Reported[] = [
      ...figuresOf("e2eAnswered", summary, { mean: "average", min: "fastest", max: "slowest" }, "summary", 1000),
      ...figuresOf("e2eAnswered", report["latencyPercentiles"], statistics, "latencyPercentiles", 1000),
      ...figuresOf("ttfb", isObject(firstByte) ? firstByte : at(report, "details", "firstByte"), { mean: "average" }, "firstByte", 1000),
      ...figuresOf("ttfb", report["firstBytePercentiles"], statistics, "firstBytePercentiles", 1000),
      ...figure("answerRate", "mean", numberAt(summary, "requestsPerSec"), "requestsPerSec"),
      ...figure("completed", "total", count(good), "statusCodeDistribution 2xx"),
      ...figure("failed", "total", count(codes) - count(good) + count(errors), "other codes and errors"),
    ];
    return { tool: "oha", version: null, figures, asked: notAsked, samples: null };
  },
};
