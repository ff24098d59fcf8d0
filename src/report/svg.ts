/** Charts as SVG text: no script, no outer resource, readable on light and on dark pages. */
import { escaped } from "./markup.ts";

/** Series have these colours in turn (Okabe and Ito's, darkened for text), on light and on dark paper. */
const light = ["#0072b2", "#d55e00", "#009e73", "#aa3377", "#806000", "#555555", "#3f51b5", "#a0522d"];
const dark = ["#56b4e9", "#ff9e4a", "#3ddbb0", "#ee88bb", "#f0e442", "#bbbbbb", "#9fa8ff", "#d8a07a"];

const width = 940;
const margin = 16;
const rowHeight = 20;
const fontSize = 12;
/** Width of a character of the font, on average and on the safe side, pixels. */
const characterWidth = 6.7;

const colors = (list: readonly string[]): string =>
  list.map((color, index) => `.f${index}{fill:${color}} .s${index}{stroke:${color}}`).join(" ");

const style = `text{font:${fontSize}px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;fill:#1d2330} .title{font-weight:600;font-size:15px} .soft{fill:#5b6472} .paper{fill:#fff} .rule{stroke:#dfe3e8} .mark{stroke:#1d2330} .ink{fill:#1d2330} .zone{fill:#5b6472;opacity:.18} .good{fill:#0a7a4b} .bad{fill:#b3261e} ${colors(light)}
@media (prefers-color-scheme:dark){text{fill:#e6e9ef} .soft{fill:#9aa4b2} .paper{fill:#14181f} .rule{stroke:#2e3641} .mark{stroke:#e6e9ef} .ink{fill:#e6e9ef} .zone{fill:#9aa4b2} .good{fill:#6fe0ac} .bad{fill:#ff9b93} ${colors(dark)}}`;

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

  text(x: number, y: number, text: string, className = "", anchor: "start" | "middle" | "end" = "start"): void {
    const at = anchor === "start" ? "" : ` text-anchor="${anchor}"`;
    this.#parts.push(
      `<text x="${round(x)}" y="${round(y)}"${className === "" ? "" : ` class="${className}"`}${at}>${escaped(text)}</text>`,
    );
  }

  rect(x: number, y: number, w: number, h: number, className: string): void {
    this.#parts.push(`<rect x="${round(x)}" y="${round(y)}" width="${round(Math.max(0, w))}" height="${round(h)}" class="${className}"/>`);
  }

  line(x1: number, y1: number, x2: number, y2: number, className: string, strokeWidth = 1): void {
    this.#parts.push(
      `<line x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" class="${className}" stroke-width="${strokeWidth}"/>`,
    );
  }

  path(points: readonly (readonly [number, number])[], className: string): void {
    const d = points.map(([x, y], index) => `${index === 0 ? "M" : "L"}${round(x)} ${round(y)}`).join("");
    this.#parts.push(`<path d="${d}" class="${className}" fill="none" stroke-width="2"/>`);
    for (const [x, y] of points)
      this.#parts.push(`<circle cx="${round(x)}" cy="${round(y)}" r="3" class="${className.replace("s", "f")}"/>`);
  }

  /** Names beside squares of their colours, in as many rows as they need. */
  legend(names: readonly string[]): void {
    let x = margin;
    for (const [index, name] of names.entries()) {
      // Capitals are wider than the average.
      const needed = 30 + name.length * (name === name.toUpperCase() ? 9 : characterWidth);
      if (x > margin && x + needed > width - margin) {
        x = margin;
        this.y += rowHeight;
      }
      this.rect(x, this.y, 11, 11, `f${index % light.length}`);
      this.text(x + 16, this.y + 10, name);
      x += needed;
    }
    this.y += rowHeight + 4;
  }

  toString(): string {
    const height = Math.ceil(this.y + margin);
    return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="${escaped(this.#title)}">
<style>${style}</style>
<rect width="${width}" height="${height}" class="paper"/>
${this.#parts.join("\n")}
</svg>
`;
  }
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
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

/** Room for labels of this length, and where bars begin. */
function labelRoom(labels: readonly string[]): number {
  return margin + Math.min(360, 12 + Math.max(0, ...labels.map(({ length }) => length)) * characterWidth);
}

/** Bars from 0, in groups, with their intervals as whiskers. A label has one colour throughout. */
export function barChart({ title, subtitle }: Heading, groups: readonly BarGroup[]): string {
  const drawing = new Drawing(title, subtitle);
  const bars = groups.flatMap((group) => group.bars);
  const names = [...new Set(bars.map(({ label }) => label))];
  const left = labelRoom(names);
  const right = width - margin - Math.max(60, ...bars.map(({ text }) => text.length * characterWidth + 10));
  const most = Math.max(Number.MIN_VALUE, ...bars.map(({ value, high }) => Math.max(value, high ?? value)));
  const at = (value: number): number => left + (Math.max(0, value) / most) * (right - left);
  for (const { label, bars: own } of groups) {
    if (label !== "") drawing.text(margin, (drawing.y += 14), label, "soft");
    drawing.y += 6;
    for (const bar of own) {
      const middle = drawing.y + rowHeight / 2 - 2;
      drawing.text(left - 8, middle + 4, bar.label, "", "end");
      drawing.rect(left, middle - 7, at(bar.value) - left, 14, `f${names.indexOf(bar.label) % light.length}`);
      if (bar.low !== undefined && bar.high !== undefined) {
        drawing.line(at(bar.low), middle, at(bar.high), middle, "mark");
        for (const end of [bar.low, bar.high]) drawing.line(at(end), middle - 4, at(end), middle + 4, "mark");
      }
      drawing.text(Math.max(at(bar.value), at(bar.high ?? bar.value)) + 8, middle + 4, bar.text);
      drawing.y += rowHeight;
    }
    drawing.y += 4;
  }
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
): string {
  const drawing = new Drawing(title, subtitle);
  drawing.legend(parts);
  const bars = groups.flatMap((group) => group.bars);
  const left = labelRoom(bars.map(({ label }) => label));
  const right = width - margin - Math.max(60, ...bars.map(({ text }) => text.length * characterWidth + 10));
  const most = Math.max(Number.MIN_VALUE, ...bars.map((bar) => bar.parts.reduce((sum, part) => sum + part, 0)));
  for (const { label, bars: own } of groups) {
    if (label !== "") drawing.text(margin, (drawing.y += 14), label, "soft");
    drawing.y += 6;
    for (const bar of own) {
      const middle = drawing.y + rowHeight / 2 - 2;
      drawing.text(left - 8, middle + 4, bar.label, "", "end");
      let x = left;
      for (const [index, part] of bar.parts.entries()) {
        const length = (part / most) * (right - left);
        drawing.rect(x, middle - 7, length, 14, `f${index % light.length}`);
        x += length;
      }
      drawing.text(x + 8, middle + 4, bar.text);
      drawing.y += rowHeight;
    }
    drawing.y += 4;
  }
  return drawing.toString();
}

/** One ratio with its interval. */
export interface RatioRow {
  readonly label: string;
  readonly estimate: number;
  readonly low: number;
  readonly high: number;
  readonly text: string;
  readonly tone: "good" | "bad" | "soft";
}

/** Ratios on a scale of doublings, from a quarter to four times; `zone` is the relative effect that does not matter. */
export function ratioChart({ title, subtitle }: Heading, rows: readonly RatioRow[], zone: number): string {
  const drawing = new Drawing(title, subtitle);
  const left = width - 380;
  const right = width - 150;
  const at = (ratio: number): number => left + ((Math.log2(Math.min(4, Math.max(0.25, ratio))) + 2) / 4) * (right - left);
  const top = drawing.y + 18;
  const bottom = top + rows.length * rowHeight;
  for (const [ratio, label] of [
    [0.25, "¼"],
    [0.5, "½"],
    [1, "1"],
    [2, "2×"],
    [4, "4×"],
  ] as const) {
    drawing.text(at(ratio), top - 6, label, "soft", "middle");
    drawing.line(at(ratio), top, at(ratio), bottom, "rule");
  }
  drawing.rect(at(1 / (1 + zone)), top, at(1 + zone) - at(1 / (1 + zone)), bottom - top, "zone");
  drawing.y = top;
  const longest = Math.floor((left - margin - 12) / characterWidth);
  for (const { label, estimate, low, high, text, tone } of rows) {
    const middle = drawing.y + rowHeight / 2;
    drawing.text(margin, middle + 4, label.length > longest ? `${label.slice(0, longest - 1)}…` : label);
    drawing.line(at(low), middle, at(high), middle, "mark", 1.5);
    drawing.rect(at(estimate) - 3.5, middle - 3.5, 7, 7, tone === "soft" ? "ink" : tone);
    drawing.text(right + 12, middle + 4, text, tone);
    drawing.y += rowHeight;
  }
  return drawing.toString();
}

/** One line; x is a logarithm to base 10. */
export interface Series {
  readonly label: string;
  readonly points: readonly (readonly [x: number, y: number])[];
}

/** Lines over a logarithmic x. y begins at 0. */
export function lineChart(
  { title, subtitle }: Heading,
  series: readonly Series[],
  xText: (x: number) => string,
  yText: (y: number) => string,
): string {
  const drawing = new Drawing(title, subtitle);
  drawing.legend(series.map(({ label }) => label));
  const points = series.flatMap((one) => one.points);
  const xs = [...new Set(points.map(([x]) => x))].toSorted((a, b) => a - b);
  const top = drawing.y + 4;
  const bottom = top + 240;
  const most = niceAbove(Math.max(Number.MIN_VALUE, ...points.map(([, y]) => y)));
  const left = margin + 70;
  const right = width - margin - 20;
  const [first, last] = [xs[0] ?? 0, xs.at(-1) ?? 1];
  const atX = (x: number): number => left + ((x - first) / Math.max(last - first, 1e-9)) * (right - left);
  const atY = (y: number): number => bottom - (y / most) * (bottom - top);
  for (let step = 0; step <= 4; step++) {
    const y = (most * step) / 4;
    drawing.line(left, atY(y), right, atY(y), "rule");
    drawing.text(left - 8, atY(y) + 4, yText(y), "soft", "end");
  }
  let free = -Infinity;
  for (const x of xs) {
    // Labels that would run into each other are left out.
    if (atX(x) < free) continue;
    const label = xText(x);
    drawing.text(atX(x), bottom + 18, label, "soft", "middle");
    free = atX(x) + label.length * characterWidth + 12;
  }
  for (const [index, one] of series.entries())
    drawing.path(
      one.points.map(([x, y]) => [atX(x), atY(y)] as const),
      `s${index % light.length}`,
    );
  drawing.y = bottom + 24;
  return drawing.toString();
}

/** The least of 1, 2, 4 or 8 times a power of ten that is not below `value`. */
function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 8, 10].map((factor) => factor * power).find((nice) => nice >= value) ?? value;
}
