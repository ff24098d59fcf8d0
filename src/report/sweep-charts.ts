/** The charts of a sweep, of how a run went in time, as data: `svg.ts` draws them. */
import { metricFacts } from "../results/metrics.ts";
import type { SweepAxis, SweepResult, SweepSeries } from "../results/sweep.ts";
import type { ArmResult, MetricName, ScenarioResult, Statistic } from "../results/types.ts";
import { type Chart, estimateOf, type Line, type Point, type Tick } from "./charts.ts";
import { digits, metricLabel } from "./format.ts";
import { seriesLabel } from "./sweeps.ts";

interface Drawn {
  readonly metric: MetricName;
  readonly statistic: Statistic;
  /** Where the metric's name is that of its unit. */
  readonly title?: string;
}

/** What is drawn over the first axis, where it was measured: what is served, then what it costs those who wait. */
const drawn: readonly Drawn[] = [
  { metric: "requestsPerSecond", statistic: "mean", title: "Requests served" },
  { metric: "goodRequestsPerSecond", statistic: "mean", title: "Requests that kept the objective" },
  { metric: "tokensPerSecond", statistic: "mean", title: "Tokens served" },
  { metric: "ttftFromIntended", statistic: "p50" },
  { metric: "ttftFromIntended", statistic: "p99" },
  { metric: "ttft", statistic: "p50" },
  { metric: "ttft", statistic: "p99" },
  { metric: "itl", statistic: "p50" },
  { metric: "itl", statistic: "p99" },
  { metric: "e2elFromIntended", statistic: "p50" },
  { metric: "e2el", statistic: "p50" },
  { metric: "serverCpuUsPerToken", statistic: "mean" },
];

/** One chart for each metric that any point has; latencies of an open loop from the planned start. */
export function sweepCharts(sweep: SweepResult, scenarios: readonly ScenarioResult[]): Chart[] {
  const [axis] = sweep.axes;
  if (axis === undefined) return [];
  const found = sweep.points.map(({ variant }) => scenarios.find((one) => one.id === sweep.scenario && one.variant === variant));
  const armAt = (series: SweepSeries, point: number): ArmResult | undefined => found[point]?.arms.find(({ id }) => id === series.arm);
  const place = (x: number): number => (axis.scale === "log" ? Math.log10(x) : x);
  const isOpen = sweep.series.some(({ readings }) => readings.some(({ askedPerSecond }) => askedPerSecond !== null));
  const isStreamed = found.some((scenario) => scenario?.arms.some(({ metrics }) => metrics.ttft));
  return drawn.flatMap(({ metric, statistic, title = metricLabel({ metric, statistic }) }): Chart[] => {
    if (isOpen && (metric === "ttft" || metric === "e2el")) return [];
    if (!isOpen && metric.endsWith("FromIntended")) return [];
    if (isStreamed && metric.startsWith("e2el")) return [];
    const { unit, better, label } = metricFacts[metric];
    const scale = unit === "us" && !metric.includes("Cpu") ? 1000 : 1;
    const lines = sweep.series.map((series, color): Line => {
      const points = series.readings.flatMap(({ point, x, invalid }): Point[] => {
        const arm = armAt(series, point);
        const at = x === null || invalid.length > 0 || arm === undefined ? null : estimateOf(arm, metric, statistic);
        if (x === null || at === null) return [];
        const { value, low, high } = at;
        return [
          { x: place(x), y: value / scale, ...(low === undefined || high === undefined ? {} : { low: low / scale, high: high / scale }) },
        ];
      });
      return { label: seriesLabel(series), color, dashed: false, points };
    });
    const shown = lines.filter(({ points }) => points.length > 0);
    if (shown.length === 0) return [];
    const yLabel = unit === "us" ? (scale === 1000 ? "ms" : "µs") : unit === "1/s" ? label : unit;
    return [
      {
        title,
        kind: "sweep",
        xLabel: `${axis.label}${unitOf(axis)}${axis.scale === "log" ? ", logarithmic" : ""}`,
        ticks: axis.values.map(({ x, text }) => ({ x: place(x), text })),
        yLabel,
        better,
        lines: shown,
        marks: kneesOf(sweep, place),
      },
    ];
  });
}

function unitOf({ unit }: SweepAxis): string {
  return unit === "ms" ? ", ms" : "";
}

/** Where the series have their knees: those at one place have one mark. */
function kneesOf({ series }: SweepResult, place: (x: number) => number): Tick[] {
  const places = new Map<number, string[]>();
  for (const one of series) {
    if (one.knee === null || one.knee.x === null) continue;
    places.set(one.knee.x, [...(places.get(one.knee.x) ?? []), seriesLabel(one)]);
  }
  return [...places].map(([x, names]) => ({
    x: place(x),
    text: series.length === 1 ? "knee" : names.length === series.length ? "knee of all" : `knee: ${names.join(", ")}`,
  }));
}

/** How the longest valid round of each arm went: whether it was steady. None where no round was cut into slices. */
export function sliceCharts({ arms }: ScenarioResult): Chart[] {
  const cut = arms.flatMap((arm, color) => {
    const rounds = arm.rounds.filter(({ slices, invalid }) => slices !== undefined && invalid.length === 0);
    const lengths = rounds.map(({ slices }) => slices!.everyUs * slices!.requestsPerSecond.length);
    const slices = rounds[lengths.indexOf(Math.max(...lengths))]?.slices;
    return slices === undefined ? [] : [{ id: arm.id, color, dashed: arm.role === "engine", slices }];
  });
  if (cut.length === 0) return [];
  const chart = (title: string, yLabel: string, better: Chart["better"], valuesOf: (slices: Slices) => Values, scale: number): Chart[] => {
    const lines = cut.flatMap(({ id, color, dashed, slices }): Line[] => {
      const values = valuesOf(slices) ?? [];
      const points = values.flatMap((y, index): Point[] =>
        y === null ? [] : [{ x: ((index + 0.5) * slices.everyUs) / 1e6, y: y / scale }],
      );
      return points.length < 2 ? [] : [{ label: id, color, dashed, points }];
    });
    const end = Math.max(...cut.map(({ slices }) => (slices.everyUs * slices.requestsPerSecond.length) / 1e6));
    const ticks = Array.from({ length: 5 }, (_, index) => ({ x: (end * index) / 4, text: digits((end * index) / 4) }));
    return lines.length === 0
      ? []
      : [{ title, kind: "slices", xLabel: "seconds from the beginning of the round", ticks, yLabel, better, lines }];
  };
  const hasTokens = cut.some(({ slices }) => slices.tokensPerSecond !== null);
  return [
    ...(hasTokens
      ? chart("Tokens as they came", "tokens/s", "higher", ({ tokensPerSecond }) => tokensPerSecond, 1)
      : chart("Answers as they ended", "requests/s", "higher", ({ requestsPerSecond }) => requestsPerSecond, 1)),
    ...chart("Median TTFT", "ms", "lower", ({ ttftP50Us }) => ttftP50Us, 1000),
    ...chart("Median ITL", "ms", "lower", ({ itlP50Us }) => itlP50Us, 1000),
    ...(hasTokens ? [] : chart("Median E2E latency", "ms", "lower", ({ e2elP50Us }) => e2elP50Us, 1000)),
  ];
}

type Slices = NonNullable<ArmResult["rounds"][number]["slices"]>;
type Values = readonly (number | null)[] | null;
