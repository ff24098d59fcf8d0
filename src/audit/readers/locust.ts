/** Locust: `--json` on stdout, or the statistics of `--csv`. Times in milliseconds. Entries of scripts count by their names. */
import type { Quantity, Reported, Statistic } from "../types.ts";
import { ascending } from "../samples.ts";
import { figure, type Json, isObject, notAsked, numberAt, type Output, type Reader, textAt } from "./reader.ts";

/** Names of entries, of scripts that fire their own. All others are whole requests. */
const named: Readonly<Record<string, Quantity>> = { ttft: "ttft", itl: "itl", tpot: "tpot", e2e: "e2e", ttfb: "ttfb" };
const percentiles: readonly (readonly [Statistic, number])[] = [
  ["p50", 0.5],
  ["p90", 0.9],
  ["p95", 0.95],
  ["p99", 0.99],
];

function entriesIn({ stdout, files }: Output): Json[] | null {
  const texts = [stdout, ...files.filter(({ path }) => path.endsWith(".json")).map((file) => file.text())];
  for (const text of texts) {
    for (let from = text.indexOf("["); from >= 0; from = text.indexOf("[", from + 1)) {
      try {
        const value: unknown = JSON.parse(text.slice(from));
        const list = Array.isArray(value) ? value.filter(isObject) : [];
        if (list.length > 0 && list.every((entry) => Object.hasOwn(entry, "response_times") && Object.hasOwn(entry, "num_requests")))
          return list;
      } catch {
        // A bracket of something else.
      }
      if (from > 100_000) break;
    }
  }
  return null;
}

/** Counts by rounded milliseconds, as values. */
function valuesOf(entry: Json): number[] {
  const counts = isObject(entry["response_times"]) ? Object.entries(entry["response_times"]) : [];
  return ascending(counts.flatMap(([ms, count]) => Array<number>(Math.min(Number(count), 1_000_000)).fill(Number(ms))));
}

function figuresOfEntry(entry: Json): Reported[] {
  const name = textAt(entry, "name") ?? "";
  const quantity = named[name.toLowerCase()] ?? "e2eAnswered";
  const requests = numberAt(entry, "num_requests") ?? 0;
  const total = numberAt(entry, "total_response_time");
  if (requests === 0 || total === null) return [];
  const values = valuesOf(entry);
  return [
    ...figure(quantity, "mean", total / requests, `${name} Average`),
    // A percentile of Locust is one of the values that it keeps (calculate_response_time_percentile in locust/stats.py).
    ...percentiles.flatMap(([statistic, share]) =>
      figure(quantity, statistic, values[Math.min(values.length - 1, Math.floor(values.length * share))], `${name} ${statistic}`),
    ),
  ];
}

export const locust: Reader = {
  tool: "Locust",
  tested: "2.47.0",
  documentation: "https://docs.locust.io/en/stable/retrieving-stats.html",
  definitions: [
    "response times are kept rounded: to the millisecond below 100 ms, to two digits above, so that percentiles are coarse (locust/stats.py)",
    "the response time of a request with stream=True ends with its head (docs of HttpSession, which is a requests.Session)",
  ],
  read(output) {
    const entries = entriesIn(output);
    if (entries === null) return null;
    const isOwn = (entry: Json): boolean => Object.hasOwn(named, (textAt(entry, "name") ?? "").toLowerCase());
    const requests = entries.filter((entry) => !isOwn(entry));
    const own = entries.filter(isOwn);
    const sum = (name: string): number => requests.reduce((total, entry) => total + (numberAt(entry, name) ?? 0), 0);
    const hasE2e = own.some((entry) => textAt(entry, "name")?.toLowerCase() === "e2e");
    // As Locust's total_rps does it: over all entries (locust/stats.py).
    const first = entries.map((entry) => numberAt(entry, "start_time") ?? 0);
    const last = entries.map((entry) => numberAt(entry, "last_request_timestamp") ?? 0);
    const durationS = Math.max(...last) - Math.min(...first);
    const figures: Reported[] = [
      ...own.flatMap(figuresOfEntry),
      // Where a script fires its own end, the library's response time is that of the head.
      ...(requests.length === 1 && !hasE2e ? figuresOfEntry(requests[0]!) : []),
      ...figure("requests", "total", sum("num_requests"), "# requests"),
      ...figure("failed", "total", sum("num_failures"), "# fails"),
      ...figure("completed", "total", sum("num_requests") - sum("num_failures"), "# requests less # fails"),
      ...(durationS > 0 ? figure("answerRate", "mean", sum("num_requests") / durationS, "req/s") : []),
    ];
    return { tool: "Locust", version: null, figures, asked: notAsked, samples: null };
  },
};
