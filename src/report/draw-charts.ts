/**
 * What runs in the reader's browser. The source text of these functions goes into the page, so each uses nothing but its
 * parameters and the browser.
 */
import type uPlot from "uplot";
import type { Chart } from "./charts.ts";

/** How one chart is drawn: its data, and uPlot's options but for the size. */
export interface Plan {
  readonly data: uPlot.AlignedData;
  readonly options: Omit<uPlot.Options, "width" | "height">;
}

/** From a chart to what uPlot takes. `isNarrow`: there is no room for every tick. `isDark`: light lines on dark paper. */
export function planOf(chart: Chart, Plot: typeof uPlot, isDark: boolean, isNarrow: boolean): Plan {
  const light = ["#0072b2", "#d55e00", "#009e73", "#aa3377", "#806000", "#555555"];
  const dark = ["#56b4e9", "#ff9e4a", "#3ddbb0", "#ee88bb", "#f0e442", "#bbbbbb"];
  const colors = isDark ? dark : light;
  const ink = isDark ? "#b9c0cb" : "#4a5260";
  const rule = isDark ? "#333a45" : "#e3e6ea";
  const isLoad = chart.kind === "load";
  const xLabel = (x: number): string => {
    const value = 10 ** x;
    if (isLoad) return Math.round(value).toLocaleString("en-US");
    // 1, 2, 10, 100 are p0, p50, p90, p99.
    return value < 1.0001 ? "p0" : `p${Number((100 - 100 / value).toPrecision(Math.max(3, Math.ceil(x) + 1)))}`;
  };
  const yLabel = (value: number | null | undefined): string =>
    value === null || value === undefined ? "–" : value.toLocaleString("en-US", { maximumSignificantDigits: 4 });
  const data = Plot.join(chart.lines.map(({ points }) => [points.map(([x]) => x), points.map(([, y]) => y)]));
  const xs = Array.from(data[0]);
  const last = Number(xs.at(-1));
  // p50 has no room beside p0 on a phone.
  const percentiles = [0, Math.log10(2), 1, 2, 3, 4, 5, 6, 7].filter((x) => x <= last && (x % 1 === 0 || !isNarrow));
  const ticks = isLoad ? xs : percentiles;
  const axis = {
    stroke: ink,
    font: "12px system-ui, sans-serif",
    grid: { stroke: rule, width: 1 },
    ticks: { stroke: rule, width: 1 },
  };
  const options: Plan["options"] = {
    title: "",
    scales: {
      x: { time: false, range: [Number(xs[0]), last] },
      y: { range: (_, low, high) => Plot.rangeNum(isLoad ? 0 : low, high, 0.08, true) },
    },
    axes: [
      { ...axis, splits: () => ticks, filter: (_, splits) => splits, values: (_, splits) => splits.map(xLabel) },
      { ...axis, size: 58, values: (_, splits) => splits.map(yLabel) },
    ],
    legend: {
      live: true,
      markers: { width: 3, dash: (_, index) => (chart.lines[index - 1]?.dashed === true ? "dashed" : "solid") },
    },
    cursor: { drag: { x: false, y: false } },
    series: [
      { label: isLoad ? "streams" : "percentile", value: (_, x) => (x === null ? "" : xLabel(x)) },
      ...chart.lines.map(({ label, color, dashed }) => ({
        label,
        stroke: colors[color % colors.length] ?? ink,
        width: 2,
        spanGaps: true,
        points: { show: isLoad, size: 6 },
        value: (_: uPlot, y: number | null) => (y === null ? "" : `${yLabel(y)} ${chart.yLabel}`),
        dash: dashed ? [5, 4] : [],
      })),
    ],
  };
  return { data, options };
}

/**
 * Draws every chart into the element of its id. Redraws on a change of width or colour scheme; paper is always light.
 * `plan` is `planOf`.
 */
export function drawCharts(charts: readonly Chart[], Plot: typeof uPlot, plan: typeof planOf): void {
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  const plots: uPlot[] = [];
  function draw(onPaper: boolean): void {
    for (const plot of plots.splice(0)) plot.destroy();
    for (const chart of charts) {
      const place = document.querySelector(`#${CSS.escape(chart.id)}`);
      if (!(place instanceof HTMLElement)) continue;
      const { data, options } = plan(chart, Plot, scheme.matches && !onPaper, place.clientWidth <= 400);
      plots.push(new Plot({ ...options, width: Math.max(240, place.clientWidth), height: 260 }, data, place));
    }
  }
  let timer: ReturnType<typeof setTimeout> | undefined;
  let width = innerWidth;
  addEventListener("resize", () => {
    // A phone's address bar changes the height alone.
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(timer);
    timer = setTimeout(() => draw(false), 100);
  });
  scheme.addEventListener("change", () => draw(false));
  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw(false));
  draw(matchMedia("print").matches);
}
