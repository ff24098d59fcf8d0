/** h2load: what it prints. The table of times has other columns from 1.69 on. */
import { parseH2load } from "../../load/drivers/h2load-output.ts";
import type { Quantity, Reported, Statistic } from "../types.ts";
import { durationMs, figure, notAsked, numberIn, type Reader } from "./reader.ts";

/** Rows of the table, by both versions' names. */
const rows: readonly (readonly [Quantity, RegExp, string])[] = [
  ["e2eAnswered", /^(?:time for request:|request\s+:)\s*(.*)$/m, "time for request"],
];

const columns: Readonly<Record<string, Statistic>> = { min: "min", max: "max", median: "p50", p95: "p95", p99: "p99", mean: "mean" };

function timesIn(text: string): Reported[] {
  const header =
    /^ +(min +max.*)$/m
      .exec(text)?.[1]
      ?.trim()
      .split(/\s{2,}|\s(?=sd|\+\/-)/)
      .map((name) => name.trim()) ?? [];
  return rows.flatMap(([quantity, pattern, name]) => {
    const cells = pattern.exec(text)?.[1]?.trim().split(/\s+/) ?? [];
    return header.flatMap((column, index) => {
      const statistic = columns[column];
      const value = durationMs(cells[index]);
      return statistic === undefined || value === null ? [] : figure(quantity, statistic, value, `${name} ${column}`);
    });
  });
}

export const h2load: Reader = {
  tool: "h2load",
  tested: "1.52.0",
  documentation: "https://nghttp2.org/documentation/h2load.1.html",
  definitions: [
    "time to 1st byte is one value of each connection, from its start, with connecting in it: no figure of requests, and left out here (manual page)",
    "it reads no body: an answer that was cut in order is a success",
  ],
  read({ stdout }) {
    if (!/^finished in .* req\/s/m.test(stdout) || !/^requests: \d+ total/m.test(stdout)) return null;
    const { requests } = parseH2load(stdout);
    const clients = numberIn(stdout, /spawning thread #\d+: (\d+) total client/);
    const figures: Reported[] = [
      ...timesIn(stdout),
      ...figure("answerRate", "mean", numberIn(stdout, /^finished in \S+, ([\d.]+) req\/s/m), "req/s"),
      ...figure("requests", "total", requests.started, "started"),
      ...figure("completed", "total", requests.succeeded, "succeeded"),
      ...figure("failed", "total", requests.failed, "failed"),
    ];
    // Streams of a connection are in no line of it.
    const isH1 = /Application protocol: http\/1\.1/.test(stdout);
    return { tool: "h2load", version: null, figures, asked: { ...notAsked, concurrency: isH1 ? clients : null }, samples: null };
  },
};
