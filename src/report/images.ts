/** Which images a result has, for pages that show no HTML report. */
import { fileNameOf } from "../base/printable.ts";
import { metricFacts } from "../results/metrics.ts";
import { scenarioLabel } from "../results/scenarios.ts";
import type { BenchResult, Comparison, MetricName, ScenarioResult } from "../results/types.ts";
import { estimateOf, loadCharts } from "./charts.ts";
import { forestMark, forestScale } from "./forest.ts";
import { digits, metricLabel, quantity } from "./format.ts";
import { barChart, type BarGroup, lineChart, ratioChart, stackedChart } from "./svg.ts";
import { sweepCharts } from "./sweep-charts.ts";
import { isPoint } from "./sweeps.ts";
import { effectText } from "./words.ts";

export interface Image {
  /** File name, without a folder, and of one image only. */
  readonly name: string;
  readonly svg: string;
}

/**
 * verdicts.svg: every comparison that decides; <scenario>.svg: what its pairs are compared in, arm by arm;
 * <scenario>-by-streams-<n>.svg: what grows with the streams, or <scenario>-by-<axes>-<n>.svg with what a sweep varied; <scenario>-parts.svg: bytes by what they are for. All of them
 * from the figures of the result and nothing else.
 */
export function imagesOf(result: BenchResult): Image[] {
  const { scenarios } = result;
  const ids = [...new Set(scenarios.filter(({ skipped }) => skipped === null).map(({ id }) => id))];
  return distinct([
    ...verdicts(scenarios),
    ...ids.flatMap((id) => ofScenario(scenarios.filter((scenario) => scenario.id === id && scenario.skipped === null))),
    ...overLoads(result),
  ]);
}

/** The images under names that differ from each other. They come from names of scenarios, which come from files. */
function distinct(images: readonly Image[]): Image[] {
  const taken = new Set<string>();
  return images.map(({ name, svg }) => {
    const stem = fileNameOf(name.replace(/\.svg$/, ""));
    let free = stem;
    for (let count = 2; taken.has(free.toLowerCase()); count++) free = `${stem}-${count}`;
    taken.add(free.toLowerCase());
    return { name: `${free}.svg`, svg };
  });
}

const toneOf = ({ verdict }: Comparison): "good" | "bad" | "soft" =>
  verdict === "faster" ? "good" : verdict === "slower" ? "bad" : "soft";

function verdicts(scenarios: readonly ScenarioResult[]): Image[] {
  const decided = scenarios.flatMap((scenario) =>
    scenario.comparisons
      .filter(({ kind, ratio, described }) => kind === "protocol" && ratio !== null && described !== true)
      .map((comparison) => ({ scenario, comparison })),
  );
  if (decided.length === 0) return [];
  const scale = forestScale(decided.map(({ comparison }) => comparison));
  const rows = decided.map(({ scenario, comparison }) => ({
    label: `${scenarioLabel(scenario)}: ${comparison.candidate} v ${comparison.baseline}, ${metricLabel(comparison)}`,
    mark: forestMark(comparison, scale),
    text: effectText(comparison),
    tone: toneOf(comparison),
  }));
  const subtitle =
    "how many times better the candidate is than the baseline, with 95% intervals; logarithmic; the grey zones are too small to matter";
  return [{ name: "verdicts.svg", svg: ratioChart({ title: "All compared metrics", subtitle }, rows, scale) }];
}

/** All variants of one scenario in the first metric that decides. */
function ofScenario(variants: readonly ScenarioResult[]): Image[] {
  const deciding = variants.flatMap(({ comparisons }) => comparisons).find(({ described }) => described !== true);
  const [first] = variants;
  if (deciding === undefined || first === undefined) return [];
  const { metric, statistic } = deciding;
  const groups = variants.flatMap(({ variant, arms }): BarGroup[] => {
    const bars = arms.flatMap((arm) => {
      const value = estimateOf(arm, metric, statistic);
      if (value === null) return [];
      return [{ label: arm.id, ...value, text: quantity(value.value, metricFacts[metric].unit, metric) }];
    });
    return bars.length === 0 ? [] : [{ label: variant, bars }];
  });
  if (groups.length === 0) return [];
  const rounds = Math.max(...variants.flatMap(({ arms }) => arms.map((arm) => arm.rounds.length)));
  const subtitle = `${metricLabel(deciding)}, up to ${rounds} rounds; whiskers: 95% interval of the rounds' mean`;
  const { unit, better } = metricFacts[metric];
  const axis = { text: (value: number) => quantity(value, unit, metric), name: `${metricLabel(deciding)}, ${better} is better` };
  const images = [{ name: `${first.id}.svg`, svg: barChart({ title: first.title, subtitle }, groups, axis) }];
  return metric === "wireBytesPerToken" ? [...images, byteParts(first, variants)] : images;
}

const parts: readonly (readonly [MetricName, string])[] = [
  ["dataBytesPerToken", "bodies"],
  ["framingBytesPerToken", "DATA headers, chunk sizes"],
  ["headBytesPerToken", "response heads"],
  ["requestBytesPerToken", "requests"],
  ["windowUpdateBytesPerToken", "WINDOW_UPDATE"],
  ["settingsBytesPerToken", "SETTINGS"],
  ["pingBytesPerToken", "PING"],
  ["otherFrameBytesPerToken", "other"],
];

function byteParts({ id, title }: ScenarioResult, variants: readonly ScenarioResult[]): Image {
  const groups = variants.map(({ variant, arms }) => ({
    label: variant,
    bars: arms
      .filter(({ metrics }) => metrics.wireBytesPerToken)
      .map(({ id: label, metrics }) => ({
        label,
        parts: parts.map(([metric]) => metrics[metric]?.mean ?? 0),
        text: `${digits(metrics.wireBytesPerToken!.mean)} B`,
      })),
  }));
  const subtitle = "HTTP bytes both ways for each token, by what they are for; TLS not included";
  return {
    name: `${id}-parts.svg`,
    svg: stackedChart(
      { title, subtitle },
      parts.map(([, name]) => name),
      groups,
      { text: (value) => `${digits(value)} B`, name: "bytes for each token, lower is better" },
    ),
  };
}

/** What grows with what was varied; where nothing was, with the streams of scenarios that were run with several. */
function overLoads(result: BenchResult): Image[] {
  const { sweeps = [], scenarios } = result;
  const swept = sweeps.flatMap((sweep) =>
    sweepCharts(sweep, scenarios).map((chart, index) => ({
      name: `${sweep.scenario}-by-${sweep.axes.map(({ name }) => name).join("-")}-${index + 1}.svg`,
      svg: lineChart(`${scenarioLabel({ id: sweep.scenario, variant: sweep.variant })}: ${chart.title}`, chart),
    })),
  );
  const loads = loadCharts({ ...result, scenarios: scenarios.filter((scenario) => !isPoint(scenario, sweeps)) });
  return [
    ...swept,
    ...loads.flatMap(({ scenario, charts }) =>
      charts.map((chart, index) => ({
        name: `${scenario}-by-streams-${index + 1}.svg`,
        svg: lineChart(`${scenario}: ${chart.title}`, chart),
      })),
    ),
  ];
}
