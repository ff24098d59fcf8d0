/** Clients beside each other as bars. Many lines of percentiles would not show them apart. Each figure is one SVG without outer resources. */
import { protocolTraits } from "../results/protocols.ts";
import type { ArmResult, Interval, MetricName, ScenarioResult, Statistic } from "../results/types.ts";
import { metricLabel, quantity } from "./format.ts";
import { metricFacts } from "../results/metrics.ts";
import { escaped } from "./markup.ts";

export interface BarMetric {
  readonly metric: MetricName;
  readonly statistic: Statistic;
}

/** Where clients are compared, each of these is a figure. */
export const clientMetrics: readonly BarMetric[] = [
  { metric: "clientCpuUsPerToken", statistic: "mean" },
  { metric: "tokenAdded", statistic: "p50" },
  { metric: "tokenAdded", statistic: "p99" },
  { metric: "ttftAdded", statistic: "p50" },
  { metric: "clientRssBytesPerStream", statistic: "mean" },
  { metric: "keepsUpTokensPerSecond", statistic: "mean" },
];

/** A figure: its title and its SVG. */
export interface Bars {
  readonly title: string;
  readonly svg: string;
}

const rowHeight = 20;
const labelWidth = 210;
const barWidth = 300;
const valueWidth = 120;
const width = labelWidth + barWidth + valueWidth;

/** The bars of a scenario whose arms are clients; none for others. */
export function clientBars({ arms }: ScenarioResult): Bars[] {
  if (arms.every(({ driver }) => driver !== "client")) return [];
  return clientMetrics.flatMap((metric) => barsOf(arms, metric));
}

function barsOf(arms: readonly ArmResult[], { metric, statistic }: BarMetric): Bars[] {
  const rows = arms.flatMap(({ id, protocol, intervals, metrics }): { id: string; isHttp2: boolean; at: Interval }[] => {
    const value = metrics[metric]?.[statistic];
    const at = intervals[`${metric}.${statistic}`] ?? (value === undefined ? undefined : { estimate: value, low: value, high: value });
    return at === undefined ? [] : [{ id, isHttp2: protocolTraits[protocol].isMultiplexed, at }];
  });
  if (rows.length < 2) return [];
  rows.sort((a, b) => a.at.estimate - b.at.estimate);
  // One wide interval must not press all bars flat.
  const greatest = Math.max(...rows.map(({ at }) => at.estimate)) * 1.15;
  const x = (value: number): number => labelWidth + Math.min(1, Math.max(0, value / greatest)) * barWidth;
  const lines = rows.map(({ id, isHttp2, at }, index) => {
    const top = index * rowHeight;
    const middle = top + rowHeight / 2;
    return `<text x="${labelWidth - 8}" y="${middle + 4}" text-anchor="end">${escaped(id)}</text>
<rect class="${isHttp2 ? "h2" : "h1"}" x="${labelWidth}" y="${top + 4}" width="${(x(at.estimate) - labelWidth).toFixed(1)}" height="${rowHeight - 8}"/>
<line x1="${x(at.low).toFixed(1)}" x2="${x(at.high).toFixed(1)}" y1="${middle}" y2="${middle}"/>
<text x="${labelWidth + barWidth + 8}" y="${middle + 4}">${escaped(quantity(at.estimate, metricFacts[metric].unit, metric))}</text>`;
  });
  const height = rows.length * rowHeight;
  const title = metricLabel({ metric, statistic });
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" class="bars" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)}">
<style>.bars text{font:12px system-ui,sans-serif;fill:currentColor}.bars .h1{fill:#0072b2}.bars .h2{fill:#d55e00}.bars line{stroke:currentColor;stroke-width:1.5}</style>
${lines.join("\n")}
</svg>`;
  return [{ title, svg }];
}

/** All figures of a scenario as one image for a page that takes pictures only: on white, because the colours of that page are not known. */
export function clientImage(scenario: ScenarioResult): string | null {
  const figures = clientBars(scenario);
  if (figures.length === 0) return null;
  const gap = 44;
  let top = 8;
  const parts = figures.map(({ title, svg }) => {
    const height = Number(/viewBox="0 0 \d+ (\d+)"/.exec(svg)![1]);
    const part = `<text x="8" y="${top + 16}" style="font:bold 13px system-ui,sans-serif">${escaped(title)}</text>
${svg.replace("<svg ", `<svg x="8" y="${top + 26}" width="${width}" height="${height}" color="#222" `)}`;
    top += height + gap;
    return part;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width + 16} ${top}" width="${width + 16}" height="${top}">
<rect width="100%" height="100%" fill="#fff"/>
${parts.join("\n")}
<g style="font:12px system-ui,sans-serif"><rect x="${width - 150}" y="10" width="12" height="12" fill="#0072b2"/><text x="${width - 134}" y="20">HTTP/1.1</text><rect x="${width - 60}" y="10" width="12" height="12" fill="#d55e00"/><text x="${width - 44}" y="20">HTTP/2</text></g>
</svg>
`;
}
