/** hey: what it prints, or the rows of `-o csv`. Times in seconds. */
import { ascending, statisticOf } from "../samples.ts";
import type { Reported, Statistic } from "../types.ts";
import { figure, notAsked, numberIn, type Reader, type Output } from "./reader.ts";

const statistics: readonly Statistic[] = ["mean", "min", "p50", "p90", "p95", "p99", "max"];

function fromRows(text: string): Reported[] {
  const [head, ...rows] = text.trim().split("\n");
  const names = head!.split(",");
  const values = (name: string, among: readonly string[]): number[] =>
    ascending(among.map((row) => Number(row.split(",")[names.indexOf(name)]) * 1000).filter((value) => Number.isFinite(value)));
  const good = rows.filter((row) => row.split(",")[names.indexOf("status-code")]?.startsWith("2") === true);
  return [
    ...statistics.flatMap((statistic) =>
      figure("e2eAnswered", statistic, statisticOf(values("response-time", rows), statistic)?.value, `response-time ${statistic}`),
    ),
    ...figure("ttfb", "mean", statisticOf(values("Response-delay", rows), "mean")?.value, "Response-delay mean"),
    ...figure("completed", "total", good.length, "status-code 2xx"),
    ...figure("requests", "total", rows.length, "rows"),
  ];
}

function fromSummary(text: string): Reported[] {
  const seconds = (pattern: RegExp): number | null => {
    const value = numberIn(text, pattern);
    return value === null ? null : value * 1000;
  };
  const codes = [...text.matchAll(/^\s*\[(\d{3})\]\s+(\d+) responses/gm)];
  const count = (fits: (code: string) => boolean): number =>
    codes.filter(([, code]) => fits(code!)).reduce((total, [, , n]) => total + Number(n), 0);
  const errors = [...text.matchAll(/^\s*\[(\d+)\]\s+(?!\d+ responses)\S/gm)].reduce((total, [, n]) => total + Number(n), 0);
  return [
    ...figure("e2eAnswered", "mean", seconds(/^\s+Average:\s+([\d.]+) secs/m), "Average"),
    ...figure("e2eAnswered", "min", seconds(/^\s+Fastest:\s+([\d.]+) secs/m), "Fastest"),
    ...figure("e2eAnswered", "max", seconds(/^\s+Slowest:\s+([\d.]+) secs/m), "Slowest"),
    ...(
      [
        ["p50", 50],
        ["p90", 90],
        ["p95", 95],
        ["p99", 99],
      ] as const
    ).flatMap(([statistic, percent]) =>
      figure("e2eAnswered", statistic, seconds(new RegExp(`^\\s+${percent}%+ in ([\\d.]+) secs`, "m")), `${percent}% in`),
    ),
    ...figure("ttfb", "mean", seconds(/^\s+resp wait:\s+([\d.]+) secs/m), "resp wait"),
    ...figure("answerRate", "mean", numberIn(text, /^\s+Requests\/sec:\s+([\d.]+)/m), "Requests/sec"),
    ...figure(
      "completed",
      "total",
      count((code) => code.startsWith("2")),
      "responses [2xx]",
    ),
    ...figure("failed", "total", count((code) => !code.startsWith("2")) + errors, "other responses and errors"),
  ];
}

function csvIn({ stdout, files }: Output): string | null {
  const texts = [stdout, ...files.filter(({ path }) => path.endsWith(".csv")).map((file) => file.text())];
  return texts.find((text) => text.startsWith("response-time,DNS+dialup,")) ?? null;
}

export const hey: Reader = {
  tool: "hey",
  tested: "0.1.5",
  documentation: "https://github.com/rakyll/hey#readme",
  definitions: [
    "resp wait ends with the first byte of the answer: time to first byte, not to the first token (requester/requester.go)",
    "latencies are of all answers, errors of the server too (requester/report.go)",
    "an answer whose body breaks off after its head is a response of its status (requester/requester.go)",
  ],
  read(output) {
    const csv = csvIn(output);
    if (csv !== null) return { tool: "hey", version: null, figures: fromRows(csv), asked: notAsked, samples: null };
    const { stdout } = output;
    if (!/^Summary:\s*\n\s+Total:\s+[\d.]+ secs/m.test(stdout) || !stdout.includes("resp wait:")) return null;
    return { tool: "hey", version: null, figures: fromSummary(stdout), asked: notAsked, samples: null };
  },
};
