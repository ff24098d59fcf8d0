/** The charts of a report as data. `draw-charts.ts` draws them in the reader's browser. */
import { percentileCurve } from "../results/recorder.ts";
import type { ArmResult, BenchResult, DistributionMetric, MetricName, MetricSummary, ScenarioResult } from "../results/types.ts";

/** One line of a chart. x is a logarithm (to base 10), y in the unit of the chart's axis. */
interface Line {
  readonly label: string;
  /** Index of its colour: the same arm has the same one throughout a scenario. */
  readonly color: number;
  readonly dashed: boolean;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** A chart. x is the logarithm of 1 / (1 - share) for percentiles, as HDR plots have it, and of the streams at once for loads. */
export interface Chart {
  readonly id: string;
  readonly title: string;
  readonly kind: "percentiles" | "load";
  readonly yLabel: string;
  readonly lines: readonly Line[];
}

/** Lines that share an x share it to the last digit. */
function logarithm(x: number): number {
  return Number(Math.log10(x).toFixed(6));
}

function curve(summary: MetricSummary | null | undefined): Line["points"] {
  const points = summary ? percentileCurve(summary) : null;
  return (points ?? []).map(({ share, value }) => [logarithm(1 / (1 - share)), value / 1000] as const);
}

function percentiles(id: string, title: string, lines: readonly Line[]): Chart[] {
  const drawn = lines.filter(({ points }) => points.length > 0);
  return drawn.length === 0 ? [] : [{ id, title, kind: "percentiles", yLabel: "ms", lines: drawn }];
}

/** TTFT and ITL by arm, and where the stamps tell it, what server and transport had to do with it. */
export function scenarioCharts({ arms }: ScenarioResult, id: string): Chart[] {
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
  if (arms.every(({ driver }) => driver === "client"))
    return percentiles(`${id}-added`, "Added to a token, by percentile", lines("tokenAdded"));
  const open = arms.some(({ metrics }) => metrics.ttftFromIntended);
  const streamed = arms.some(({ metrics }) => metrics.ttft);
  return [
    ...percentiles(`${id}-ttft`, "TTFT by percentile", lines("ttft")),
    ...(open ? percentiles(`${id}-ttft-planned`, "TTFT from planned start, by percentile", lines("ttftFromIntended")) : []),
    ...percentiles(`${id}-itl`, "ITL by percentile", lines("itl")),
    ...(streamed ? [] : percentiles(`${id}-e2el`, "E2E latency by percentile", lines("e2el"))),
    ...percentiles(`${id}-pacing`, "Lateness of a token: server (solid), transport (dashed)", pacing),
  ];
}

const loads: readonly (readonly [MetricName, "mean" | "p99", string, string, number])[] = [
  ["tokensPerSecond", "mean", "Throughput against streams", "tokens/s", 1],
  ["requestsPerSecond", "mean", "Throughput against streams", "requests/s", 1],
  ["serverCpuUsPerToken", "mean", "Server CPU per token against streams", "µs", 1],
  ["serverCpuUsPerRequest", "mean", "Server CPU per request against streams", "µs", 1],
  ["itl", "p99", "ITL p99 against streams", "ms", 1000],
  ["ttft", "p99", "TTFT p99 against streams", "ms", 1000],
  ["itlError", "mean", "Distance of the mean ITL from the planned one, against streams", "%", 0.01],
];

/** What may differ between loads that are points of one line. */
const ofTheLoad: ReadonlySet<string> = new Set(["streams", "requests", "warmup", "outputTokens", "itl", "rounds", "rampMs"]);

/** Whether variants ask for the same at different loads. */
function differInLoad(variants: readonly ScenarioResult[]): boolean {
  const rest = variants.map(({ workload }) => JSON.stringify(Object.entries(workload).filter(([key]) => !ofTheLoad.has(key))));
  return new Set(rest).size < 2;
}

/** What grows with the number of streams, for each scenario that was run with several. */
export function loadCharts({ scenarios }: BenchResult): { readonly scenario: string; readonly charts: readonly Chart[] }[] {
  const names = [...new Set(scenarios.map(({ id }) => id))];
  return names.flatMap((scenario, place) => {
    const variants = scenarios.filter(({ id, skipped }) => id === scenario && skipped === null);
    if (!differInLoad(variants)) return [];
    // Streams of another pace are another line.
    const paces = new Set(variants.map(({ workload }) => workload["itl"]));
    const arms = variants.flatMap((variant) =>
      variant.arms.map((arm) => (paces.size < 2 ? arm : { ...arm, id: `${arm.id}, ITL ${String(variant.workload["itl"])} ms` })),
    );
    if (new Set(arms.map(({ streams }) => streams)).size < 2) return [];
    const ids = [...new Set(arms.map(({ id }) => id))];
    const tokens = arms.some(({ metrics }) => metrics.tokensPerSecond);
    const charts = loads.flatMap(([metric, statistic, title, yLabel, scale], index): Chart[] => {
      if (tokens && (metric === "requestsPerSecond" || metric === "serverCpuUsPerRequest")) return [];
      const value = (arm: ArmResult): number | undefined => arm.metrics[metric]?.[statistic];
      const lines = ids.map((id, color): Line => {
        const points = arms.flatMap((arm) => {
          const y = arm.id === id ? value(arm) : undefined;
          return y === undefined ? [] : [[logarithm(arm.streams), y / scale] as const];
        });
        return { label: id, color, dashed: false, points: points.sort((a, b) => a[0] - b[0]) };
      });
      const drawn = lines.filter(({ points }) => points.length > 0);
      return drawn.length === 0 ? [] : [{ id: `load-${place}-${index}`, title, kind: "load", yLabel, lines: drawn }];
    });
    return charts.length === 0 ? [] : [{ scenario, charts }];
  });
}
