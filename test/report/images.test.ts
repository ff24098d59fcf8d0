/** Images of a result: which there are, that they are well-formed, and that nothing in a name gets out of its text. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import type { Chart } from "../../src/report/charts.ts";
import { forestMark, forestScale } from "../../src/report/forest.ts";
import { imagesOf } from "../../src/report/images.ts";
import { barChart, lineChart, ratioChart, stackedChart, yName } from "../../src/report/svg.ts";
import type { BenchResult, Comparison, MetricName } from "../../src/results/types.ts";
import { runCli } from "../support/process.ts";
import { sampleResult } from "../support/sample-result.ts";

/** Names of the elements, checked to be closed in order. */
function elementsOf(svg: string): string[] {
  const open: string[] = [];
  const names: string[] = [];
  for (const [, close, name, empty] of svg.matchAll(/<(\/?)([a-z]+)(?:\s[^<>]*?)?(\/?)>/gu)) {
    if (close === "/") expect(open.pop()).toBe(name);
    else {
      names.push(name!);
      if (empty === "") open.push(name!);
    }
  }
  expect(open).toEqual([]);
  return names;
}

/** Numbers of an attribute of all elements of a kind. */
function numbers(svg: string, element: string, attribute: string): number[] {
  return [...svg.matchAll(new RegExp(`<${element} [^>]*?\\b${attribute}="([-\\d.]+)"`, "gu"))].map(([, value]) => Number(value));
}

describe("images of a result", () => {
  const images = imagesOf(sampleResult());

  test("the verdicts, each scenario, and what grows with the streams", () => {
    const names = images.map(({ name }) => name);
    expect(names[0]).toBe("verdicts.svg");
    expect(names).toContain("mux-scale.svg");
    expect(names.some((name) => name.startsWith("mux-scale-by-streams-"))).toBe(true);
    expect(new Set(names).size).toBe(names.length);
  });

  test.each(images.map(({ name, svg }) => [name, svg] as const))(
    "%s is well-formed, without scripts or anything from outside",
    (_name, svg) => {
      const elements = elementsOf(svg);
      expect(elements[0]).toBe("svg");
      expect(elements).not.toContain("script");
      expect(svg).not.toMatch(/href|url\(|NaN|Infinity|undefined/);
      expect(svg).toContain("@media screen and (prefers-color-scheme:dark)");
      const [width] = numbers(svg, "svg", "width");
      const [height] = numbers(svg, "svg", "height");
      for (const y of [...numbers(svg, "text", "y"), ...numbers(svg, "rect", "y")]) expect(y).toBeLessThanOrEqual(height!);
      for (const x of numbers(svg, "text", "x")) expect(x).toBeLessThanOrEqual(width!);
    },
  );

  test("names are text, whatever is in them", () => {
    const sample = sampleResult();
    const [first, ...rest] = sample.scenarios;
    const bad = "</text><script>alert(1)</script>\"'&";
    const result: BenchResult = { ...sample, scenarios: [{ ...first!, title: bad, variant: bad }, ...rest] };
    for (const { svg } of imagesOf(result)) expect(elementsOf(svg)).not.toContain("script");
  });

  test("a result without anything measured has none", () => {
    const sample = sampleResult();
    expect(imagesOf({ ...sample, scenarios: [{ ...sample.scenarios[0]!, skipped: "not run", comparisons: [], arms: [] }] })).toEqual([]);
  });
});

describe("drawings", () => {
  const heading = { title: "t", subtitle: "s" };

  const axis = { text: String, name: "ms, lower is better" };

  test("bars are as long as their values say, begin at 0, and stand on an axis with its name", () => {
    const svg = barChart(
      heading,
      [
        {
          label: "",
          bars: [
            { label: "a", value: 10, text: "10" },
            { label: "b", value: 5, low: 4, high: 6, text: "5" },
          ],
        },
      ],
      axis,
    );
    const [, a, b] = numbers(svg, "rect", "width");
    expect(b! / a!).toBeCloseTo(0.5, 2);
    expect(svg).toContain(">ms, lower is better</text>");
    for (const tick of ["0", "2", "4", "6", "8", "10"]) expect(svg).toContain(`class="soft" text-anchor="middle">${tick}</text>`);
  });

  test("parts add up to the bar", () => {
    const svg = stackedChart(
      heading,
      ["x", "y"],
      [
        {
          label: "",
          bars: [
            { label: "a", parts: [3, 1], text: "4" },
            { label: "b", parts: [2, 0], text: "2" },
          ],
        },
      ],
      axis,
    );
    const widths = numbers(svg, "rect", "width").slice(3);
    expect(widths[0]! / widths[1]!).toBeCloseTo(3, 1);
    expect((widths[2]! + widths[3]!) / (widths[0]! + widths[1]!)).toBeCloseTo(0.5, 2);
    expect(svg).toContain(">ms, lower is better</text>");
  });

  const [compared] = sampleResult().scenarios[1]!.comparisons;
  const compare = (metric: MetricName, estimate: number, low: number, high: number): Comparison => ({
    ...compared!,
    metric,
    ratio: { estimate, low, high },
  });

  test("twice as fast and half as fast lie as far from the middle, better to the right, whatever is measured", () => {
    const scale = forestScale([compare("ttft", 0.5, 0.4, 0.6)]);
    expect(scale.span).toBe(2);
    const [faster, slower] = [compare("ttft", 0.5, 0.4, 0.6), compare("ttft", 2, 1.8, 2.2)].map((one) => forestMark(one, scale)!);
    expect(faster!.estimate).toBeCloseTo(1, 9);
    expect(slower!.estimate).toBeCloseTo(0, 9);
    expect(forestMark(compare("tokensPerSecond", 2, 1.8, 2.2), scale)!.estimate).toBeCloseTo(1, 9);
    expect(faster!.leaves).toEqual({ left: false, right: true });
    expect(slower!.leaves).toEqual({ left: true, right: false });
    expect(forestMark({ ...compared!, ratio: null }, scale)).toBeNull();
  });

  test("the scale is the narrowest that holds nine in ten estimates", () => {
    const near = Array.from({ length: 9 }, () => compare("ttft", 0.9, 0.8, 1));
    expect(forestScale(near).span).toBe(1.5);
    expect(forestScale([...near, compare("ttft", 0.1, 0.1, 0.1)]).span).toBe(1.5);
    expect(forestScale([...near.slice(1), compare("ttft", 0.3, 0.3, 0.3), compare("ttft", 3, 3, 3)]).span).toBe(4);
    expect(forestScale([]).span).toBe(1.5);
  });

  test("the plot of ratios has the words at its ends, and an arrow where an interval goes on", () => {
    const scale = forestScale([compare("ttft", 0.9, 0.8, 1)]);
    const svg = ratioChart(
      heading,
      [{ label: "r", mark: forestMark(compare("ttft", 0.9, 0.1, 1.1), scale), text: "x", tone: "soft" }],
      scale,
    );
    expect(svg).toContain("◂ worse</text>");
    expect(svg).toContain("better ▸</text>");
    expect(svg.match(/<path d="M[^"]*Z" class="ink"\/>/gu)).toHaveLength(1);
  });

  const chart: Chart = {
    title: "TTFT p50",
    kind: "sweep",
    xLabel: "streams at once, logarithmic",
    ticks: [
      { x: 0, text: "1" },
      { x: 1, text: "10" },
      { x: 2, text: "100" },
    ],
    yLabel: "ms",
    better: "lower",
    lines: [
      {
        label: "l",
        color: 0,
        dashed: false,
        points: [
          { x: 0, y: 1, low: 0.5, high: 1.5 },
          { x: 1, y: 4, low: 3, high: 5 },
          { x: 2, y: 5 },
        ],
      },
    ],
    marks: [{ x: 1, text: "knee" }],
  };

  test("lines go through their points, with their intervals, the knee, and the names of both axes", () => {
    const svg = lineChart("t", chart);
    const [xs, ys] = [numbers(svg, "circle", "cx"), numbers(svg, "circle", "cy")];
    expect(ys[1]).toBeLessThan(ys[0]!);
    expect(xs[2]! - xs[1]!).toBeCloseTo(xs[1]! - xs[0]!, 0);
    expect(svg).toContain(">streams at once, logarithmic</text>");
    expect(svg).toMatch(/>ms, lower is better; areas: 95% intervals over the rounds<\/text>/u);
    expect(svg.match(/class="band c0"/gu)).toHaveLength(1);
    expect(svg).toContain(`class="mark d" d="M${xs[1]!} `);
    expect(svg).toContain(">knee</text>");
  });

  test("an axis goes from 0, from below where all values are alike, and by logarithms where they are not", () => {
    const [line] = chart.lines;
    const named = (kind: Chart["kind"], ...values: number[]): string =>
      yName({ ...chart, kind, lines: [{ ...line!, points: values.map((y, x) => ({ x, y })) }] });
    expect(named("percentiles", 1, 40)).toBe("ms, lower is better");
    expect(named("percentiles", 100, 104)).toBe("ms, lower is better; from 100");
    expect(named("percentiles", 0.1, 104)).toBe("ms, lower is better; logarithmic");
    expect(named("load", 100, 104)).toBe("ms, lower is better");
    expect(named("sweep", 0, 0)).toBe("ms, lower is better");
  });
});

describe("fakeai report --svg", () => {
  const folder = mkdtempSync(join(tmpdir(), "fakeai-images-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  test("writes them into a directory, which it makes", async () => {
    const path = join(folder, "result.json");
    writeFileSync(path, JSON.stringify(sampleResult()));
    const directory = join(folder, "images", "deep");
    const { code, stdout } = await runCli(["report", path, "--svg", directory]).ended;
    expect(code).toBe(0);
    expect(stdout).toMatch(/^images: \d+ in /m);
    const names = readdirSync(directory);
    expect(names).toContain("verdicts.svg");
    expect(readFileSync(join(directory, "verdicts.svg"), "utf8")).toMatch(/^<svg /);
  });
});
