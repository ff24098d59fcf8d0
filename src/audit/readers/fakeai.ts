/** `fakeai bench`: `result.json`. Times in microseconds. The first arm that has figures counts. */
import type { ArmResult } from "../../results/types.ts";
import type { Quantity, Reported, Statistic } from "../types.ts";
import { at, figure, isObject, objectWith, type Reader, textAt } from "./reader.ts";

const rows: readonly (readonly [Quantity, string])[] = [
  ["ttft", "ttft"],
  ["ttfe", "ttfe"],
  ["itl", "itl"],
  ["itlPerToken", "itlPerToken"],
  ["tpot", "tpot"],
  ["e2e", "e2el"],
];
const statistics: readonly Statistic[] = ["mean", "min", "p50", "p90", "p95", "p99", "max"];

export const fakeai: Reader = {
  tool: "fakeai bench",
  tested: "0.1.0",
  documentation: "docs/bench.md",
  definitions: ["requests/s and tokens/s are of each round; the mean of the rounds is reported (docs/bench.md)"],
  read(output) {
    const report =
      objectWith(output, ["schemaVersion", "scenarios", "environment"]) ?? objectWith(output, ["suite", "scenarios", "environment"]);
    if (report === null || !Array.isArray(report["scenarios"])) return null;
    const arms = report["scenarios"].flatMap((scenario: unknown) => at(scenario, "arms") as readonly ArmResult[]);
    const arm = arms.find(({ metrics }) => isObject(metrics) && metrics.e2el !== null && metrics.e2el !== undefined);
    if (arm === undefined) return null;
    const one = (name: string, statistic: Statistic): number | null => {
      const value = at(arm.metrics, name, statistic);
      return typeof value === "number" ? value : null;
    };
    const sum = (pick: (requests: ArmResult["rounds"][number]["requests"]) => number): number =>
      arm.rounds.reduce((total, { requests }) => total + pick(requests), 0);
    const figures: Reported[] = [
      ...rows.flatMap(([quantity, name]) =>
        statistics.flatMap((statistic) => {
          const value = one(name, statistic);
          return value === null ? [] : figure(quantity, statistic, value / 1000, `${name} ${statistic}`);
        }),
      ),
      ...figure(
        "completed",
        "total",
        sum(({ completed }) => completed),
        "completed",
      ),
      ...figure(
        "failed",
        "total",
        sum(({ failed }) => failed),
        "failed",
      ),
    ];
    return {
      tool: "fakeai bench",
      version: textAt(report, "environment", "fakeai"),
      figures,
      asked: { concurrency: arm.streams, ratePerSecond: null },
      samples: null,
    };
  },
};
