/** The line charts of a report as data. `svg.ts` draws them, for the page and as images. */
import { percentileCurve } from "../results/recorder.ts";
import type { ArmResult, BenchResult, DistributionMetric, MetricName, MetricSummary, ScenarioResult, Statistic } from "../results/types.ts";
import { digits } from "./format.ts";

/** A value at a place of the x axis, with its 95% interval where there is one. */
export interface Point {
  readonly x: number;
  readonly y: number;
  readonly low?: number;
  readonly high?: number;
}

/** One line of a chart. */
export interface Line {
  readonly label: string;
  /** Index of its colour: the same arm has the same one throughout a scenario. */
  readonly color: number;
  readonly dashed: boolean;
  readonly points: readonly Point[];
}

/** A place on the x axis with its text. */
export interface Tick {
  readonly x: number;
  readonly text: string;
}

/**
 * A chart. x is the logarithm of 1 / (1 - share) for percentiles, as HDR plots have it, of the streams at once for loads, of the
 * axis's value for sweeps where that is logarithmic, and seconds for slices.
 */
export interface Chart {
  readonly title: string;
  readonly kind: "percentiles" | "load" | "sweep" | "slices";
  /** What lies along x, with its unit. */
  readonly xLabel: string;
  /** Where the axis has its texts, in rising order; it goes from the first to the last, and as far as there are points. */
  readonly ticks: readonly Tick[];
  /** Unit of y. */
  readonly yLabel: string;
  readonly better: "lower" | "higher";
  readonly lines: readonly Line[];
  /** Places on the x axis with a name, such as a knee. */
  readonly marks?: readonly Tick[];
}

/** A value of an arm as charts show it, in the metric's unit. */
export interface Estimate {
  /** The rounds' mean where there is an interval about it, else the value of all rounds together. */
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
}

/** null: not measured. */
export function estimateOf({ metrics, intervals }: ArmResult, metric: MetricName, statistic: Statistic): Estimate | null {
  const interval = intervals[`${metric}.${statistic}`];
  if (interval !== undefined) return { value: interval.estimate, low: interval.low, high: interval.high };
  const value = metrics[metric]?.[statistic];
  return value === undefined ? null : { value };
}

/** Lines that share an x share it to the last digit. */
function logarithm(x: number): number {
  return Number(Math.log10(x).toFixed(6));
}

/** Percentiles have the same axis everywhere: beyond 99.9 few results have enough values. */
export const percentileTicks: readonly Tick[] = [0, 50, 90, 99, 99.9].map((percentile) => ({
  x: logarithm(1 / (1 - percentile / 100)),
  text: String(percentile),
}));
const lastPercentile = percentileTicks.at(-1)!.x;

function curve(summary: MetricSummary | null | undefined): Point[] {
  const points = summary ? percentileCurve(summary) : null;
  return (points ?? [])
    .map(({ share, value }) => ({ x: logarithm(1 / (1 - share)), y: value / 1000 }))
    .filter(({ x }) => x <= lastPercentile);
}

function percentiles(title: string, of: string, lines: readonly Line[]): Chart[] {
  const drawn = lines.filter(({ points }) => points.length > 0);
  if (drawn.length === 0) return [];
  return [
    { title, kind: "percentiles", xLabel: `percentile of ${of}`, ticks: percentileTicks, yLabel: "ms", better: "lower", lines: drawn },
  ];
}

/** TTFT and ITL by arm, and where the stamps tell it, what server and transport had to do with it. */
export function scenarioCharts({ arms }: ScenarioResult): Chart[] {
  const lines = (metric: DistributionMetric): Line[] =>
    arms.map((arm, color) => ({ label: arm.id, color, dashed: arm.role === "engine", points: curve(arm.metrics[metric]) }));
  const pacing = arms.flatMap((arm, color): Line[] =>
    arm.role === "engine"
      ? []
      : [
          { label: `${arm.id} server`, color, dashed: false, points: curve(arm.metrics.serverLateness) },
          {
            label: `${arm.id} transport`,
            color,
            dashed: true,
            points: curve(arm.metrics.serverLateness ? arm.metrics.transport : null),
          },
        ],
  );
  // Clients are many: they are shown as bars.
  if (arms.every(({ driver }) => driver === "client")) return percentiles("Added to a token", "tokens", lines("tokenAdded"));
  const open = arms.some(({ metrics }) => metrics.ttftFromIntended);
  const streamed = arms.some(({ metrics }) => metrics.ttft);
  return [
    ...percentiles("TTFT", "requests", lines("ttft")),
    ...(open ? percentiles("TTFT from planned start", "requests", lines("ttftFromIntended")) : []),
    ...percentiles("ITL", "gaps", lines("itl")),
    ...(streamed ? [] : percentiles("E2E latency", "requests", lines("e2el"))),
    ...percentiles("Lateness of a token: server solid, transport dashed", "tokens", pacing),
  ];
}

interface LoadMetric {
  readonly metric: MetricName;
  readonly statistic: "mean" | "p99";
  readonly title: string;
  readonly yLabel: string;
  /** Of the metric's unit in one of the axis. */
  readonly scale: number;
  readonly better: "lower" | "higher";
}

const loads: readonly LoadMetric[] = [
  { metric: "tokensPerSecond", statistic: "mean", title: "Throughput", yLabel: "tokens/s", scale: 1, better: "higher" },
  { metric: "requestsPerSecond", statistic: "mean", title: "Throughput", yLabel: "requests/s", scale: 1, better: "higher" },
  { metric: "serverCpuUsPerToken", statistic: "mean", title: "Server CPU per token", yLabel: "µs", scale: 1, better: "lower" },
  { metric: "serverCpuUsPerRequest", statistic: "mean", title: "Server CPU per request", yLabel: "µs", scale: 1, better: "lower" },
  { metric: "itl", statistic: "p99", title: "ITL p99", yLabel: "ms", scale: 1000, better: "lower" },
  { metric: "ttft", statistic: "p99", title: "TTFT p99", yLabel: "ms", scale: 1000, better: "lower" },
  {
    metric: "itlError",
    statistic: "mean",
    title: "Distance of the mean ITL from the planned one",
    yLabel: "%",
    scale: 0.01,
    better: "lower",
  },
];

/** What may differ between loads that are points of one line. */
const ofTheLoad: ReadonlySet<string> = new Set(["streams", "requests", "warmup", "outputTokens", "itl", "rounds", "rampMs"]);

/** Whether variants ask for the same at different loads. */
function differInLoad(variants: readonly ScenarioResult[]): boolean {
  const rest = variants.map(({ workload }) => JSON.stringify(Object.entries(workload).filter(([key]) => !ofTheLoad.has(key))));
  return new Set(rest).size < 2;
}

function loadPoint(arm: ArmResult, { metric, statistic, scale }: LoadMetric): Point[] {
  const found = estimateOf(arm, metric, statistic);
  if (found === null) return [];
  const { value, low, high } = found;
  const band = low === undefined || high === undefined ? {} : { low: low / scale, high: high / scale };
  return [{ x: logarithm(arm.streams), y: value / scale, ...band }];
}

/** What grows with the number of streams, for each scenario that was run with several. */
export function loadCharts({ scenarios }: BenchResult): { readonly scenario: string; readonly charts: readonly Chart[] }[] {
  const names = [...new Set(scenarios.map(({ id }) => id))];
  return names.flatMap((scenario) => {
    const variants = scenarios.filter(({ id, skipped }) => id === scenario && skipped === null);
    if (!differInLoad(variants)) return [];
    // Streams of another pace are another line.
    const paces = new Set(variants.map(({ workload }) => workload["itl"]));
    const arms = variants.flatMap((variant) =>
      variant.arms.map((arm) => (paces.size < 2 ? arm : { ...arm, id: `${arm.id}, ITL ${String(variant.workload["itl"])} ms` })),
    );
    const streams = [...new Set(arms.map((arm) => arm.streams))].toSorted((a, b) => a - b);
    if (streams.length < 2) return [];
    const ids = [...new Set(arms.map(({ id }) => id))];
    const tokens = arms.some(({ metrics }) => metrics.tokensPerSecond);
    const ticks = streams.map((count) => ({ x: logarithm(count), text: digits(count) }));
    const charts = loads.flatMap((load): Chart[] => {
      const { metric, title, yLabel, better } = load;
      if (tokens && (metric === "requestsPerSecond" || metric === "serverCpuUsPerRequest")) return [];
      const lines = ids.map((id, color): Line => {
        const points = arms.flatMap((arm) => (arm.id === id ? loadPoint(arm, load) : []));
        return { label: id, color, dashed: false, points: points.sort((a, b) => a.x - b.x) };
      });
      const drawn = lines.filter(({ points }) => points.length > 0);
      return drawn.length === 0
        ? []
        : [{ title, kind: "load", xLabel: "streams at once, logarithmic", ticks, yLabel, better, lines: drawn }];
    });
    return charts.length === 0 ? [] : [{ scenario, charts }];
  });
}
