/** wrk and wrk2: what they print, with `--latency` for percentiles. */
import type { Reported } from "../types.ts";
import { figure, notAsked, numberIn, type Reader, timeIn } from "./reader.ts";

export const wrk: Reader = {
  tool: "wrk",
  tested: "4.1.0",
  documentation: "https://github.com/wg/wrk#readme",
  definitions: [
    "a latency ends with the whole answer, of any status (src/wrk.c)",
    "it reads no content: an answer that ends in order is complete, whatever it should have held (src/wrk.c)",
    "Requests/sec divides by the whole run, in which the last answers do not end (src/wrk.c)",
  ],
  read({ stdout }) {
    if (!/^\s+Thread Stats\s+Avg\s+Stdev/m.test(stdout)) return null;
    const requests = numberIn(stdout, /^\s+(\d+) requests in /m);
    const bad = numberIn(stdout, /Non-2xx or 3xx responses: (\d+)/) ?? 0;
    const sockets = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(stdout)?.slice(1).map(Number) ?? [];
    const percentile = (percent: number): number | null => timeIn(stdout, new RegExp(`^\\s+${percent}(?:\\.0+)?%\\s+([\\d.]+\\w+)`, "m"));
    const figures: Reported[] = [
      ...figure("e2eAnswered", "mean", timeIn(stdout, /^\s+Latency\s+([\d.]+\w+)/m), "Latency Avg"),
      ...figure("e2eAnswered", "max", timeIn(stdout, /^\s+Latency\s+\S+\s+\S+\s+([\d.]+\w+)/m), "Latency Max"),
      ...figure("e2eAnswered", "p50", percentile(50), "50%"),
      ...figure("e2eAnswered", "p90", percentile(90), "90%"),
      ...figure("e2eAnswered", "p99", percentile(99), "99%"),
      ...figure("answerRate", "mean", numberIn(stdout, /^Requests\/sec:\s+([\d.]+)/m), "Requests/sec"),
      ...figure("completed", "total", requests === null ? null : requests - bad, "requests less Non-2xx"),
      ...figure("failed", "total", bad + sockets.reduce((total, count) => total + count, 0), "Non-2xx and socket errors"),
    ];
    const connections = numberIn(stdout, /^\s+\d+ threads and (\d+) connections/m);
    return { tool: "wrk", version: null, figures, asked: { ...notAsked, concurrency: connections }, samples: null };
  },
};
