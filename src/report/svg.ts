/** Charts as SVG text: no script, no outer resource, readable on light and on dark pages, without colours too in what they say. */
import type { Chart, Line, Point, Tick } from "./charts.ts";
import { percentileTicks } from "./charts.ts";
import { digits } from "./format.ts";
import type { ForestMark, ForestScale } from "./forest.ts";
import { escaped } from "./markup.ts";

/** Series have these colours in turn (Okabe and Ito's, darkened for text), on light and on dark paper. */
const light = ["#0072b2", "#c04f00", "#00805c", "#aa3377", "#806000", "#555555", "#3f51b5", "#a0522d"];
const dark = ["#56b4e9", "#ff9e4a", "#3ddbb0", "#ee88bb", "#f0e442", "#bbbbbb", "#9fa8ff", "#d8a07a"];

/** How many series have a colour of their own; those beyond begin again. */
export const colorCount: number = light.length;

/** Width of an image, pixels. */
const imageWidth = 940;
/** Of a chart on the page: as wide as a phone has room for, so that its texts are as large as the page's. */
const figureWidth = 350;
const margin = 16;
const rowHeight = 20;
const fontSize = 12;
/** Width of a character of the font, on average and on the safe side, pixels. */
const characterWidth = 6.7;

const colors = (list: readonly string[]): string => list.map((color, index) => `.c${index}{color:${color}}`).join("");

/** Styles of every drawing; in an image they are inside, on the page they stand once. */
export const plotStyle: string = `.plot text{font:${fontSize}px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:#1d2330} .plot .title{font-weight:600;font-size:15px} .plot .soft,.plot .soft text{fill:#5b6472} .plot .paper{fill:#fff} .plot .rule{stroke:#dfe3e8;fill:none} .plot .mark{stroke:#1d2330;fill:none} .plot .ink{fill:#1d2330} .plot .zone{fill:#5b6472;opacity:.18} .plot .good{fill:#0a7a4b} .plot .bad{fill:#b3261e} .plot .f{fill:currentColor} .plot .l{stroke:currentColor;fill:none;stroke-width:2} .plot .d{stroke-dasharray:5 4} .plot .band{fill:currentColor;opacity:.18}${colors(light)}
@media screen and (prefers-color-scheme:dark){.plot text{fill:#e6e9ef} .plot .soft,.plot .soft text{fill:#9aa4b2} .plot .paper{fill:#14181f} .plot .rule{stroke:#2e3641} .plot .mark{stroke:#e6e9ef} .plot .ink{fill:#e6e9ef} .plot .zone{fill:#9aa4b2} .plot .good{fill:#6fe0ac} .plot .bad{fill:#ff9b93}${colors(dark)}}`;

/** A drawing that grows downwards. */
class Drawing {
  readonly #parts: string[] = [];
  readonly #title: string;
  y = margin;

  constructor(title: string, subtitle: string) {
    this.#title = title;
    this.text(margin, (this.y += 12), title, "title");
    this.text(margin, (this.y += 18), subtitle, "soft");
    this.y += 10;
  }

  text(x: number, y: number, text: string, className = "", anchor: Anchor = "start"): void {
    this.#parts.push(textAt(x, y, text, className, anchor));
  }

  rect(x: number, y: number, w: number, h: number, className: string): void {
    this.#parts.push(`<rect x="${round(x)}" y="${round(y)}" width="${round(Math.max(0, w))}" height="${round(h)}" class="${className}"/>`);
  }

  line(x1: number, y1: number, x2: number, y2: number, className: string, strokeWidth = 1): void {
    this.#parts.push(
      `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" class="${className}" stroke-width="${strokeWidth}"/>`,
    );
  }

  /** A triangle with its tip at a place, to the left or to the right. */
  arrow(x: number, y: number, direction: -1 | 1, className: string): void {
    const back = round(x - 7 * direction);
    this.#parts.push(`<path d="M${round(x)} ${round(y)}L${back} ${round(y - 4)}V${round(y + 4)}Z" class="${className}"/>`);
  }

  add(markup: string): void {
    this.#parts.push(markup);
  }

  /** Names beside squares of their colours, in as many rows as they need. */
  legend(names: readonly string[]): void {
    let x = margin;
    for (const [index, name] of names.entries()) {
      // Capitals are wider than the average.
      const needed = 30 + name.length * (name === name.toUpperCase() ? 9 : characterWidth);
      if (x > margin && x + needed > imageWidth - margin) {
        x = margin;
        this.y += rowHeight;
      }
      this.rect(x, this.y, 11, 11, `f c${index % colorCount}`);
      this.text(x + 16, this.y + 10, name);
      x += needed;
    }
    this.y += rowHeight + 4;
  }

  /** An axis from 0 below bars: its texts, lines up through the bars, and its name. */
  axis(left: number, right: number, top: number, most: number, { text, name }: BarAxis): void {
    const step = niceStep(most / 5);
    const bottom = this.y;
    for (let value = 0; value <= most * 1.000_001; value += step) {
      const x = left + (value / most) * (right - left);
      this.#parts.unshift(`<path d="M${round(x)} ${round(top)}V${round(bottom)}" class="rule"/>`);
      this.text(x, bottom + 15, text(value), "soft", "middle");
    }
    this.text(left, bottom + 33, name, "soft");
    this.y = bottom + 37;
  }

  toString(): string {
    const height = Math.ceil(this.y + margin);
    return `<svg xmlns="http://www.w3.org/2000/svg" class="plot" viewBox="0 0 ${imageWidth} ${height}" width="${imageWidth}" height="${height}" role="img" aria-label="${escaped(this.#title)}">
<style>${plotStyle}</style>
<rect width="${imageWidth}" height="${height}" class="paper"/>
${this.#parts.join("\n")}
</svg>
`;
  }
}

type Anchor = "start" | "middle" | "end";

function textAt(x: number, y: number, text: string, className = "", anchor: Anchor = "start"): string {
  const at = anchor === "start" ? "" : ` text-anchor="${anchor}"`;
  return `<text x="${round(x)}" y="${round(y)}"${className === "" ? "" : ` class="${className}"`}${at}>${escaped(text)}</text>`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

/** The least of 1, 2, 2.5 or 5 times a power of ten that is not below `value`, which is above 0. */
function niceStep(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((nice) => nice >= value * 0.999_999) ?? value;
}

/** A value with its interval; `text` is how it is written. */
export interface Bar {
  readonly label: string;
  readonly value: number;
  readonly low?: number;
  readonly high?: number;
  readonly text: string;
}

export interface BarGroup {
  readonly label: string;
  readonly bars: readonly Bar[];
}

interface Heading {
  readonly title: string;
  readonly subtitle: string;
}

/** An axis of values from 0. */
export interface BarAxis {
  /** A value as it is written at the axis, with its unit. */
  readonly text: (value: number) => string;
  /** What lies along it, and which way is better. */
  readonly name: string;
}

/** Room for labels of this length, and where bars begin. */
function labelRoom(labels: readonly string[]): number {
  return margin + Math.min(360, 12 + Math.max(0, ...labels.map(({ length }) => length)) * characterWidth);
}

/** Bars from 0, in groups, with their intervals as whiskers. A label has one colour throughout. */
export function barChart({ title, subtitle }: Heading, groups: readonly BarGroup[], axis: BarAxis): string {
  const drawing = new Drawing(title, subtitle);
  const bars = groups.flatMap((group) => group.bars);
  const names = [...new Set(bars.map(({ label }) => label))];
  const left = labelRoom(names);
  const right = imageWidth - margin - Math.max(60, ...bars.map(({ text }) => text.length * characterWidth + 10));
  const most = Math.max(0, ...bars.map(({ value, high }) => Math.max(value, high ?? value))) || 1;
  const top = drawing.y;
  const at = (value: number): number => left + (Math.max(0, value) / most) * (right - left);
  for (const { label, bars: own } of groups) {
    if (label !== "") drawing.text(margin, (drawing.y += 14), label, "soft");
    drawing.y += 6;
    for (const bar of own) {
      const middle = drawing.y + rowHeight / 2 - 2;
      drawing.text(left - 8, middle + 4, bar.label, "", "end");
      drawing.rect(left, middle - 7, at(bar.value) - left, 14, `f c${names.indexOf(bar.label) % colorCount}`);
      if (bar.low !== undefined && bar.high !== undefined) {
        drawing.line(at(bar.low), middle, at(bar.high), middle, "mark");
        for (const end of [bar.low, bar.high]) drawing.line(at(end), middle - 4, at(end), middle + 4, "mark");
      }
      drawing.text(Math.max(at(bar.value), at(bar.high ?? bar.value)) + 8, middle + 4, bar.text);
      drawing.y += rowHeight;
    }
    drawing.y += 4;
  }
  drawing.axis(left, right, top, most, axis);
  return drawing.toString();
}

/** One bar of several parts, in the order of the names of parts; `text` is the whole. */
export interface StackedBar {
  readonly label: string;
  readonly parts: readonly number[];
  readonly text: string;
}

export function stackedChart(
  { title, subtitle }: Heading,
  parts: readonly string[],
  groups: readonly { readonly label: string; readonly bars: readonly StackedBar[] }[],
  axis: BarAxis,
): string {
  const drawing = new Drawing(title, subtitle);
  drawing.legend(parts);
  const bars = groups.flatMap((group) => group.bars);
  const left = labelRoom(bars.map(({ label }) => label));
  const right = imageWidth - margin - Math.max(60, ...bars.map(({ text }) => text.length * characterWidth + 10));
  const most = Math.max(0, ...bars.map((bar) => bar.parts.reduce((sum, part) => sum + part, 0))) || 1;
  const top = drawing.y;
  for (const { label, bars: own } of groups) {
    if (label !== "") drawing.text(margin, (drawing.y += 14), label, "soft");
    drawing.y += 6;
    for (const bar of own) {
      const middle = drawing.y + rowHeight / 2 - 2;
      drawing.text(left - 8, middle + 4, bar.label, "", "end");
      let x = left;
      for (const [index, part] of bar.parts.entries()) {
        const length = (part / most) * (right - left);
        drawing.rect(x, middle - 7, length, 14, `f c${index % colorCount}`);
        x += length;
      }
      drawing.text(x + 8, middle + 4, bar.text);
      drawing.y += rowHeight;
    }
    drawing.y += 4;
  }
  drawing.axis(left, right, top, most, axis);
  return drawing.toString();
}

/** One comparison on the scale of ratios; null: it has no ratio. */
export interface RatioRow {
  readonly label: string;
  readonly mark: ForestMark | null;
  readonly text: string;
  readonly tone: "good" | "bad" | "soft";
}

/** Comparisons on one scale, better to the right; each has its own grey zone of what does not matter. */
export function ratioChart({ title, subtitle }: Heading, rows: readonly RatioRow[], { ticks }: ForestScale): string {
  const drawing = new Drawing(title, subtitle);
  const left = imageWidth - 430;
  const right = imageWidth - 200;
  const at = (share: number): number => left + share * (right - left);
  const top = drawing.y + 36;
  const bottom = top + rows.length * rowHeight;
  drawing.text(left, top - 24, "◂ worse", "bad");
  drawing.text(right, top - 24, "better ▸", "good", "end");
  for (const tick of ticks) {
    drawing.text(at(tick.at), top - 6, tick.text, "soft", "middle");
    drawing.line(at(tick.at), top, at(tick.at), bottom, "rule");
  }
  drawing.y = top;
  const longest = Math.floor((left - margin - 12) / characterWidth);
  for (const { label, mark, text, tone } of rows) {
    const middle = drawing.y + rowHeight / 2;
    drawing.text(margin, middle + 4, label.length > longest ? `${label.slice(0, longest - 1)}…` : label);
    if (mark !== null) {
      drawing.rect(at(0.5 - mark.zone), drawing.y, at(0.5 + mark.zone) - at(0.5 - mark.zone), rowHeight, "zone");
      drawing.line(at(mark.low), middle, at(mark.high), middle, "mark", 1.5);
      if (mark.leaves.left) drawing.arrow(left - 11, middle, -1, "ink");
      if (mark.leaves.right) drawing.arrow(right + 11, middle, 1, "ink");
      drawing.rect(at(mark.estimate) - 3.5, middle - 3.5, 7, 7, tone === "soft" ? "ink" : tone);
    }
    drawing.text(right + 18, middle + 4, text, tone);
    drawing.y += rowHeight;
  }
  return drawing.toString();
}

/** An axis of values: its ends, and where it has texts. */
interface YAxis {
  readonly low: number;
  readonly high: number;
  readonly isLog: boolean;
  readonly ticks: readonly number[];
}

/** From here on a range of values is drawn as logarithms. */
const logFrom = 50;

/**
 * From 0; from just below the least value where all of them lie in the upper half; logarithms where they span more than is seen
 * of 0. Intervals count as far as twice the largest value: one wide one must not press all lines flat.
 */
function yAxisOf({ lines, kind, better }: Pick<Chart, "lines" | "kind" | "better">): YAxis {
  const values = lines.flatMap(({ points }) => points.map(({ y }) => y));
  // Where nothing is above 0 the axis goes to 1.
  const largest = Math.max(0, ...values) || 1;
  const ends = lines.flatMap(({ points }) => points.flatMap(({ high, y }) => (high === undefined ? [y] : [Math.min(high, 2 * largest)])));
  const [least, most] = [Math.min(largest, ...values), Math.max(largest, ...ends)];
  // What is served has to show where it stops growing.
  const mayBeLog = kind === "percentiles" || (kind === "sweep" && better === "lower");
  if (mayBeLog && least > 0 && most / least >= logFrom) {
    const [first, last] = [Math.floor(Math.log10(least)), Math.ceil(Math.log10(most))];
    const every = Math.ceil((last - first) / 5);
    const ticks = Array.from({ length: Math.floor((last - first) / every) + 1 }, (_, index) => 10 ** (first + index * every));
    return { low: 10 ** first, high: 10 ** last, isLog: true, ticks };
  }
  const isCut = kind === "percentiles" && least > most / 2;
  const step = niceStep((most - (isCut ? least : 0) || most / 10) / 4);
  const low = isCut ? Math.floor(least / step) * step : 0;
  const count = Math.max(1, Math.ceil((most - low) / step - 1e-9));
  return { low, high: low + count * step, isLog: false, ticks: Array.from({ length: count + 1 }, (_, index) => low + index * step) };
}

/** Where lines are drawn. */
interface Frame {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

function placesIn(
  { left, right, top, bottom }: Frame,
  { ticks, lines }: Pick<Chart, "ticks" | "lines">,
  y: YAxis,
): { readonly x: (x: number) => number; readonly y: (y: number) => number } {
  const xs = [...ticks, ...lines.flatMap(({ points }) => points)].map(({ x }) => x);
  const [first, last] = [Math.min(...xs), Math.max(...xs)];
  const of = (value: number): number => (y.isLog ? Math.log(Math.max(value, y.low)) : value);
  const [low, high] = [of(y.low), of(y.high)];
  return {
    x: (value) => left + ((value - first) / Math.max(last - first, 1e-9)) * (right - left),
    y: (value) => bottom - Math.min(1, Math.max(0, (of(value) - low) / (high - low))) * (bottom - top),
  };
}

/** The lines down from the top with their texts; texts that would run into each other are left out. */
function xAxis(frame: Frame, ticks: readonly Tick[], at: (x: number) => number): string {
  let free = -Infinity;
  const texts = ticks.map(({ x, text }) => {
    const half = (text.length * characterWidth) / 2;
    if (at(x) - half < free) return "";
    free = at(x) + half + 8;
    return textAt(at(x), frame.bottom + 16, text, "soft", "middle");
  });
  const rules = ticks.map(({ x }) => `M${round(at(x))} ${frame.top}V${frame.bottom}`).join("");
  return `<path class="rule" d="${rules}"/>${texts.join("")}`;
}

function yAxis(frame: Frame, { ticks }: YAxis, at: (y: number) => number): string {
  const texts = ticks.map((value) => textAt(frame.left - 6, at(value) + 4, digits(value)));
  const rules = ticks.map((value) => `M${frame.left} ${round(at(value))}H${frame.right}`).join("");
  return `<path class="rule" d="${rules}"/><g class="soft" text-anchor="end">${texts.join("")}</g>`;
}

function lineOf({ color, dashed, points }: Line, kind: Chart["kind"], x: (x: number) => number, y: (y: number) => number): string {
  const shade = `c${color % colorCount}`;
  const places = points.map((point) => [x(point.x), y(point.y)] as const);
  const path = (list: readonly (readonly [number, number])[]): string => list.map(([a, b]) => `${round(a)} ${round(b)}`).join("L");
  const line = `<path class="l${dashed ? " d" : ""} ${shade}" d="M${path(kind === "percentiles" ? simplified(places) : places)}"/>`;
  if (kind === "percentiles" || kind === "slices") return line;
  const dots = places.map(([a, b]) => `<circle cx="${round(a)}" cy="${round(b)}" r="3" class="f ${shade}"/>`);
  return `${bandOf(points, shade, x, y)}${line}${dots.join("")}`;
}

/** The intervals of a line as an area; of a single point as an upright line. */
function bandOf(points: readonly Point[], shade: string, x: (x: number) => number, y: (y: number) => number): string {
  const ends = points.flatMap(({ x: at, low, high }) => (low === undefined || high === undefined ? [] : [{ at, low, high }]));
  if (ends.length === 0) return "";
  const above = ends.map(({ at, high }) => `${round(x(at))} ${round(y(high))}`);
  const below = ends.toReversed().map(({ at, low }) => `${round(x(at))} ${round(y(low))}`);
  return ends.length === 1
    ? `<path class="l ${shade}" d="M${above[0]}L${below[0]}"/>`
    : `<path class="band ${shade}" d="M${[...above, ...below].join("L")}Z"/>`;
}

/** Upright lines at places with a name. */
function marksOf({ marks = [] }: Chart, { top, bottom, left, right }: Frame, at: (x: number) => number): string {
  return marks
    .map(({ x, text }, index) => {
      const isLeft = at(x) < (left + right) / 2;
      const name = textAt(at(x) + (isLeft ? 4 : -4), top + 12 + 14 * index, text, "", isLeft ? "start" : "end");
      return `<path class="mark d" d="M${round(at(x))} ${top}V${bottom}"/>${name}`;
    })
    .join("");
}

/** A line without points that lie within half a pixel of it (Douglas and Peucker). */
function simplified(points: readonly (readonly [number, number])[]): (readonly [number, number])[] {
  if (points.length < 3) return [...points];
  const [first, last] = [points[0]!, points.at(-1)!];
  const length = Math.hypot(last[0] - first[0], last[1] - first[1]) || 1;
  let [farthest, most] = [0, 0.5];
  for (const [index, [a, b]] of points.entries()) {
    const distance = Math.abs((last[0] - first[0]) * (first[1] - b) - (first[0] - a) * (last[1] - first[1])) / length;
    if (distance > most) [farthest, most] = [index, distance];
  }
  if (farthest === 0) return [first, last];
  return [...simplified(points.slice(0, farthest + 1)).slice(0, -1), ...simplified(points.slice(farthest))];
}

/** "ms, lower is better; logarithmic". */
export function yName({ yLabel, better, lines, kind }: Pick<Chart, "yLabel" | "better" | "lines" | "kind">): string {
  const { isLog, low } = yAxisOf({ lines, kind, better });
  return `${yLabel}, ${better} is better${isLog ? "; logarithmic" : low > 0 ? `; from ${digits(low)}` : ""}`;
}

/** A chart as an image with its title. */
export function lineChart(title: string, chart: Chart): string {
  const drawing = new Drawing(title, `${yName(chart)}${chart.lines.some(hasIntervals) ? "; areas: 95% intervals over the rounds" : ""}`);
  drawing.legend(chart.lines.map(({ label }) => label));
  const frame = { left: margin + 70, right: imageWidth - margin - 20, top: drawing.y + 4, bottom: drawing.y + 244 };
  const axis = yAxisOf(chart);
  const at = placesIn(frame, chart, axis);
  drawing.add(xAxis(frame, chart.ticks, at.x) + yAxis(frame, axis, at.y));
  for (const [index, line] of chart.lines.entries()) drawing.add(lineOf({ ...line, color: index }, chart.kind, at.x, at.y));
  drawing.add(marksOf(chart, frame, at.x));
  drawing.text(frame.left, frame.bottom + 34, chart.xLabel, "soft");
  drawing.y = frame.bottom + 38;
  return drawing.toString();
}

function hasIntervals({ points }: Line): boolean {
  return points.some(({ low }) => low !== undefined);
}

const figureFrame: Frame = { left: 48, right: figureWidth - 20, top: 8, bottom: 172 };
const figureHeight = figureFrame.bottom + 40;

/** The axis of percentiles, which is the same in every chart: the page has it once. Styles see nothing above the group where it is used. */
export function percentileAxis(): string {
  const at = placesIn(figureFrame, { ticks: percentileTicks, lines: [] }, { low: 0, high: 1, isLog: false, ticks: [] });
  return `<svg width="0" height="0" aria-hidden="true"><defs><g id="percentiles" class="plot">${xAxis(figureFrame, percentileTicks, at.x)}</g></defs></svg>`;
}

/** A chart on the page, which has `plotStyle` and `percentileAxis`: without title and legend. */
export function figureChart(chart: Chart): string {
  const axis = yAxisOf(chart);
  const at = placesIn(figureFrame, chart, axis);
  const across = chart.kind === "percentiles" ? '<use href="#percentiles"/>' : xAxis(figureFrame, chart.ticks, at.x);
  const lines = chart.lines.map((line) => lineOf(line, chart.kind, at.x, at.y)).join("");
  const label = `${chart.title} by ${chart.xLabel}`;
  return `<svg class="plot" viewBox="0 0 ${figureWidth} ${figureHeight}" role="img" aria-label="${escaped(label)}">${across}${yAxis(figureFrame, axis, at.y)}${lines}${marksOf(chart, figureFrame, at.x)}${textAt(figureFrame.left, figureFrame.bottom + 34, chart.xLabel, "soft")}</svg>`;
}
