/**
 * The smallest effect that matters, for every metric: the one table that verdicts, reports and the docs read.
 *
 * A difference counts from both bounds on, the relative and the absolute one. It is negligible where its whole interval lies
 * inside either of them. The relative bound is right where values are large; the absolute one keeps a large share of almost
 * nothing from becoming a verdict. So the absolute bound has to fit the size of a metric: half a millisecond is nothing of an
 * answer of two seconds, and a quarter of a gap of two milliseconds.
 */
import type { MetricName, Statistic } from "./metrics.ts";

/** The smallest effect of interest. What lies below it is no difference that matters, however certain it is. */
export interface SmallestEffect {
  /**
   * Relative effect: 0.02 is 2%.
   * @unit ratio
   */
  readonly ratio: number;
  /**
   * Absolute effect in the metric's unit; null: the relative one decides alone. Absent in files of earlier runs, which have `us`.
   * @unit the metric's unit
   */
  readonly absolute?: number | null;
  /**
   * Absolute effect of a latency, in files of earlier runs; null: none.
   * @unit us
   */
  readonly us?: number | null;
}

/** A row of the table. */
interface EffectRow {
  readonly metrics: readonly MetricName[];
  /** Share of the baseline. */
  readonly ratio: number;
  /** In the unit of the metrics; null: none, as any size of value is usual. */
  readonly absolute: number | null;
  /** In place of `absolute` for the 90th percentile and above. */
  readonly tail?: number;
  /** Why, in one line. */
  readonly because: string;
}

/** Every metric is in one row. Units: microseconds, bytes, per second, count, and for `itlError` a share of 1. */
export const effectRows: readonly EffectRow[] = [
  {
    metrics: [
      "ttfe",
      "ttft",
      "e2el",
      "ttftFromIntended",
      "e2elFromIntended",
      "scheduleDelay",
      "plannedTtft",
      "durationUs",
      "ttftFirst",
      "ttftLater",
      "sessionE2el",
      "sessionWait",
    ],
    ratio: 0.02,
    absolute: 500,
    because: "a wait that happens once in an answer: half a millisecond is not noticed",
  },
  {
    metrics: ["connect"],
    ratio: 0.02,
    absolute: 100,
    because: "a round trip in one data centre takes about 0.1 ms",
  },
  {
    metrics: ["itl"],
    ratio: 0.02,
    absolute: 50,
    tail: 200,
    because:
      "a gap repeats with each token: 0.05 ms is 50 ms in an answer of 1,000; a late token is one, and the bench itself is off by up to 0.2 ms",
  },
  {
    metrics: ["tpot", "itlPerToken"],
    ratio: 0.02,
    absolute: 50,
    because: "a mean of gaps, so its tail is no single late token",
  },
  {
    metrics: ["transport", "client", "tokenAdded"],
    ratio: 0.02,
    absolute: 20,
    tail: 100,
    because: "a part of a gap, often 0.1 ms in all: a fifth of it is worth a look",
  },
  {
    metrics: ["serverLateness", "ttftAdded"],
    ratio: 0.02,
    absolute: 100,
    because: "the timer and the stamps of the server are no finer",
  },
  {
    metrics: ["clientEventLoopDelayP99Us", "serverEventLoopDelayP99Us"],
    ratio: 0.02,
    absolute: 500,
    because: "the tail of a delay that is sampled, not measured at each turn",
  },
  {
    metrics: ["serverCpuUsPerRequest", "gatewayCpuUsPerRequest", "clientCpuUsPerRequest"],
    ratio: 0.02,
    absolute: 0.5,
    because: "0.5% of a core at 10,000 requests/s",
  },
  {
    metrics: ["serverCpuUsPerToken", "gatewayCpuUsPerToken", "clientCpuUsPerToken"],
    ratio: 0.02,
    absolute: 0.05,
    because: "0.5% of a core at 100,000 tokens/s",
  },
  {
    metrics: [
      "requestsPerSecond",
      "goodRequestsPerSecond",
      "tokensPerSecond",
      "inputTokensPerSecond",
      "eventsPerSecond",
      "keepsUpTokensPerSecond",
    ],
    ratio: 0.02,
    absolute: null,
    because: "from one request in ten seconds to 100,000 in one, all are usual",
  },
  {
    metrics: ["bytesReceivedPerRequest", "bytesSentPerRequest", "bytesReceivedPerSession", "bytesSentPerSession"],
    ratio: 0.01,
    absolute: 1,
    because: "counted and without noise; it is what traffic costs",
  },
  {
    metrics: [
      "wireBytesPerToken",
      "dataBytesPerToken",
      "framingBytesPerToken",
      "headBytesPerToken",
      "requestBytesPerToken",
      "windowUpdateBytesPerToken",
      "settingsBytesPerToken",
      "pingBytesPerToken",
      "otherFrameBytesPerToken",
    ],
    ratio: 0.01,
    absolute: 0.1,
    because: "counted; a tenth of a byte is 100 bytes in an answer of 1,000 tokens",
  },
  {
    metrics: ["serverCpuUsPerSession", "clientCpuUsPerSession"],
    ratio: 0.02,
    absolute: 50,
    because: "a session has some tens of calls: a microsecond of CPU time for each",
  },
  {
    metrics: ["cachedShare"],
    ratio: 0.02,
    absolute: 0.01,
    because: "one percentage point of the prompts",
  },
  {
    metrics: ["serverRssBytes"],
    ratio: 0.02,
    absolute: 1_000_000,
    because: "less than one garbage collection moves",
  },
  {
    metrics: ["clientRssBytesPerStream"],
    ratio: 0.02,
    absolute: 1000,
    because: "10 MB at 10,000 streams",
  },
  {
    metrics: ["connectionsOpened", "streamsAtOnce", "streamsRefused", "requestsAborted"],
    ratio: 0.02,
    absolute: 0.5,
    because: "one more in every second round is the least that is more",
  },
  {
    metrics: ["achievedShare"],
    ratio: 0.02,
    absolute: 0.01,
    because: "one percentage point of a rate; a round of 100 requests tells no finer",
  },
  {
    metrics: ["itlError"],
    ratio: 0.02,
    absolute: 0.005,
    because: "half a percentage point of the planned gap; calibration asks for 5",
  },
];

const rowOf: ReadonlyMap<MetricName, EffectRow> = new Map(effectRows.flatMap((row) => row.metrics.map((metric) => [metric, row])));

const tails: ReadonlySet<Statistic> = new Set<Statistic>(["p90", "p95", "p99", "p999", "max"]);

/** The smallest effect of a statistic of a metric. Throws Error for a metric that is in no row. */
export function smallestEffectOf(metric: MetricName, statistic: Statistic): SmallestEffect {
  const row = rowOf.get(metric);
  if (row === undefined) throw new Error(`${metric} has no smallest effect`);
  const { ratio, absolute, tail } = row;
  return { ratio, absolute: tail !== undefined && tails.has(statistic) ? tail : absolute };
}

/** The absolute effect in the metric's unit, also of files of earlier runs; null: none. */
export function absoluteEffect({ absolute, us }: SmallestEffect): number | null {
  return absolute ?? us ?? null;
}
