/** Images of a result: which there are, that they are well-formed, and that nothing in a name gets out of its text. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { imagesOf } from "../../src/report/images.ts";
import { barChart, lineChart, ratioChart, stackedChart } from "../../src/report/svg.ts";
import type { BenchResult } from "../../src/results/types.ts";
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
      expect(svg).toContain("@media (prefers-color-scheme:dark)");
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

  test("bars are as long as their values say, and begin at 0", () => {
    const svg = barChart(heading, [
      {
        label: "",
        bars: [
          { label: "a", value: 10, text: "10" },
          { label: "b", value: 5, low: 4, high: 6, text: "5" },
        ],
      },
    ]);
    const [, a, b] = numbers(svg, "rect", "width");
    expect(b! / a!).toBeCloseTo(0.5, 2);
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
    );
    const widths = numbers(svg, "rect", "width").slice(3);
    expect(widths[0]! / widths[1]!).toBeCloseTo(3, 1);
    expect((widths[2]! + widths[3]!) / (widths[0]! + widths[1]!)).toBeCloseTo(0.5, 2);
  });

  test("a ratio and its inverse lie as far from the middle", () => {
    const row = { label: "r", text: "", tone: "soft" } as const;
    const svg = ratioChart(
      heading,
      [
        { ...row, estimate: 0.5, low: 0.4, high: 0.6 },
        { ...row, estimate: 2, low: 1.5, high: 100 },
      ],
      0.02,
    );
    const [low, high] = numbers(svg, "rect", "x").slice(-2);
    const zone = [...svg.matchAll(/<rect x="([\d.]+)" y="[\d.]+" width="([\d.]+)" [^>]*class="zone"/gu)][0]!;
    const middle = Number(zone[1]) + Number(zone[2]) / 2;
    expect(middle - (low! + 3.5)).toBeCloseTo(high! + 3.5 - middle, 0);
  });

  test("lines go through their points, largest on top", () => {
    const svg = lineChart(
      heading,
      [
        {
          label: "l",
          points: [
            [0, 1],
            [1, 4],
          ],
        },
      ],
      String,
      String,
    );
    const ys = numbers(svg, "circle", "cy");
    expect(ys[1]).toBeLessThan(ys[0]!);
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
