import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadCharts, scenarioCharts } from "../../src/report/charts.ts";
import { renderHtml } from "../../src/report/html.ts";
import { change, digits, ms, quantity } from "../../src/report/format.ts";
import { renderTable } from "../../src/report/table.ts";
import type { BenchResult, ScenarioResult } from "../../src/results/types.ts";
import { chromium, chromiumFlags, hasChromium } from "../support/chromium.ts";
import { sampleResult } from "../support/sample-result.ts";

const sample = sampleResult();

describe("figures", () => {
  it.each([
    [digits(0.31234), "0.312"],
    [digits(12.3456), "12.35"],
    [digits(100.31), "100.3"],
    [digits(98_765.4), "98,765"],
    [digits(-0), "0"],
    [digits(-0.0001), "0"],
    [digits(-12), "−12"],
    [digits(Number.NaN), "–"],
    [ms(20_000), "20.00"],
    [ms(undefined), "–"],
    [quantity(12_345, "us", "ttft"), "12.35\u00A0ms"],
    [quantity(12.3, "us", "serverCpuUsPerToken"), "12.3\u00A0µs"],
    [quantity(2_000_000, "us", "durationUs"), "2,000\u00A0ms"],
    [quantity(123_456, "bytes"), "123.5\u00A0kB"],
    [quantity(0.0123, "ratio"), "1.23%"],
    [change(1.123), "+12.3%"],
    [change(0.9), "−10.0%"],
    [change(0.99999), "0.0%"],
    [change(14.2), "×14.2"],
  ])("reads %s", (shown, expected) => {
    expect(shown).toBe(expected);
  });
});

describe("the table on a terminal", () => {
  it("begins with the verdicts, each with engine, cipher and RTT", () => {
    const lines = renderTable(sample, { color: false, width: 1000 }).split("\n");
    expect(lines[0]).toMatch(/^Verdicts/u);
    const end = lines.indexOf("");
    const verdicts = lines.slice(1, end);
    expect(verdicts).toHaveLength(
      sample.scenarios.flatMap(({ comparisons }) => comparisons).filter(({ kind, described }) => kind === "protocol" && !described).length,
    );
    for (const line of verdicts) expect(line).toMatch(/; node, (no TLS|TLSv1\.3 TLS_AES_128_GCM_SHA256), RTT \d+ ms/u);
    expect(lines.join("\n")).toMatch(/Engine effects[^\n]*\n {2}faster .*uws against node/u);
    expect(lines.join("\n")).toMatch(
      /\nDescribed [^\n]*\n {2}described +mux-scale [^\n]*server CPU\/token [^\n]*%\); node, no TLS, RTT 0 ms; 5 rounds\n/u,
    );
    expect(lines.join("\n")).toMatch(/refuted +unary: "Binary framing makes requests 20% cheaper"/u);
  });

  it.each([80, 120])("fits %i columns", (width) => {
    const lines = renderTable(sample, { color: false, width }).split("\n");
    expect(lines.filter((line) => line.length > width)).toEqual([]);
    // Every arm has its figures, however many blocks of columns there are.
    expect(lines.filter((line) => line.startsWith("  h1-uws uws h2load")).join(" ")).toContain("28,7");
  });

  it("shows what was not measured, not run, not valid and not complete for what it is", () => {
    const text = renderTable({ ...sample, complete: false, invalid: ["client-limited"] }, { color: false, width: 120 });
    expect(text).toMatch(/^Not complete/u);
    expect(text).toContain("Not valid: client-limited");
    expect(text).toContain("not run: left out to fit two minutes");
    expect(text).toContain("h2c not valid: 12 of 100 requests failed: status 503 (9), timeout (3)");
    expect(text).toMatch(/h2c node +– +– +–/u);
    expect(text).toContain("60 of 500  invalid");
  });

  it("has colours on request only, and never a control character of a name's", () => {
    const scenarios = [{ ...scenario("stream"), title: "\u001B[2Jgone\u0007" }];
    const text = renderTable({ ...sample, scenarios }, { color: false, width: 80 });
    expect(text).not.toMatch(/[^\P{Cc}\n]/u);
    const colored = renderTable({ ...sample, scenarios }, { color: true, width: 80 });
    expect(colored).toContain("\u001B[1mequivalent\u001B[0m");
    expect(colored).not.toContain("\u001B[2J");
  });

  it("says nothing of verdicts where there is one protocol", () => {
    const alone = { ...scenario("stream"), comparisons: [], claims: [] };
    const text = renderTable({ ...sample, scenarios: [alone] }, { color: false, width: 120 });
    expect(text).not.toContain("Verdicts");
    expect(text).toContain("100.4 / 101");
  });
});

function scenario(id: string): ScenarioResult {
  const found = sample.scenarios.find((one) => one.id === id);
  if (found === undefined) throw new Error(`no scenario ${id}`);
  return found;
}

describe("charts", () => {
  it("hold the percentiles that the summaries have", () => {
    const stream = scenario("stream");
    const charts = scenarioCharts(stream, "x");
    expect(charts.map(({ id }) => id)).toEqual(["x-ttft", "x-itl", "x-pacing"]);
    const line = charts[0]?.lines.find(({ label }) => label === "h2c");
    // 1 / (1 - 0.99) is 10^2.
    const p99 = line?.points.find(([x]) => x === 2)?.[1];
    expect(p99).toBeCloseTo((stream.arms[1]?.metrics.ttft?.p99 ?? Number.NaN) / 1000, 9);
    expect(charts[2]?.lines.map(({ label }) => label)).toContain("h1 transport");
    expect(scenarioCharts(scenario("unary"), "x").map(({ id }) => id)).toEqual(["x-e2el"]);
    expect(scenarioCharts(scenario("trace"), "x").map(({ id }) => id)).toContain("x-ttft-planned");
    expect(scenarioCharts(scenario("multi-resource"), "x")).toEqual([]);
  });

  it("draw loads for scenarios that were run with several numbers of streams", () => {
    const loads = loadCharts(sample);
    expect(loads.map((load) => load.scenario)).toEqual(["mux-scale"]);
    expect(loads[0]?.charts.map(({ yLabel }) => yLabel)).toEqual(["tokens/s", "µs", "ms", "ms"]);
    const points = loads[0]?.charts[0]?.lines[0]?.points ?? [];
    expect(points.map(([x]) => Math.round(10 ** x))).toEqual([50, 200, 1000]);
  });
});

describe("the page", () => {
  const hostile = `</script><script>document.title="hit"</script><img src=x onerror="document.title='hit'">`;
  const copy = structuredClone(sample);
  const result: BenchResult = { ...copy, suite: hostile };
  const stream = copy.scenarios[1];
  Object.assign(stream ?? {}, { title: hostile, variant: hostile, notes: [hostile] });
  Object.assign(stream?.arms[1] ?? {}, { id: `h2c${hostile}` });
  const page = renderHtml(result);

  it("names no other resource, and escapes all that it is given", () => {
    expect(page).not.toMatch(/<(?:link|img|iframe|object|embed)\b/u);
    expect([...page.matchAll(/<[a-z]+\s[^<>]*\b(?:src|href)=["']?([^"'\s>]*)/gu)].filter(([, at]) => !at?.startsWith("#"))).toEqual([]);
    expect(page).not.toContain(`document.title="hit"</script>`);
    expect(page.match(/<script\b/gu)).toHaveLength(3);
    expect(page).toContain("default-src 'none'");
  });

  describe.skipIf(!hasChromium)("in a browser", () => {
    let directory: string;
    let dom: string;
    beforeAll(async () => {
      directory = await mkdtemp(path.join(os.tmpdir(), "fakeai-report-"));
      // What a reader sees is in pixels: counted by a script behind the page's own, which the page's policy is loosened for no further.
      const counting = `<script>addEventListener("load", () => setTimeout(() => {
        for (const canvas of document.querySelectorAll(".chart canvas")) {
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          const colors = new Set();
          for (let at = 0; at < data.length; at += 4) if (data[at + 3] === 255) colors.add((data[at] << 16) + (data[at + 1] << 8) + data[at + 2]);
          canvas.closest(".chart").dataset.colors = [...colors].map((color) => color.toString(16).padStart(6, "0")).join(" ");
        }
        document.body.dataset.fits = String(document.documentElement.scrollWidth <= innerWidth);
      }, 50));</script>`;
      const file = path.join(directory, "report.html");
      await writeFile(file, page.replace("</body>", `${counting}</body>`));
      dom = await new Promise<string>((resolve, reject) => {
        const flags = chromiumFlags(path.join(directory, "profile"));
        const run = ["--virtual-time-budget=5000", "--window-size=1280,1000", "--dump-dom", pathToFileURL(file).href];
        execFile(chromium, [...flags, ...run], { timeout: 60_000, maxBuffer: 64e6 }, (error, stdout) => {
          if (error) reject(error);
          else resolve(stdout);
        });
      });
    }, 90_000);
    afterAll(async () => {
      await rm(directory, { recursive: true, force: true, maxRetries: 5 });
    });

    it("draws every chart, and every arm in it that no other one covers", () => {
      const places = [...page.matchAll(/<div id="(chart-[^"]+|load-[^"]+)" class="chart"/gu)].map(([, id]) => id);
      expect(places.length).toBeGreaterThan(15);
      const drawn = [...dom.matchAll(/<div id="((?:chart|load)-[^"]+)" class="chart"[^>]*data-colors="([^"]*)"/gu)];
      expect(drawn.map(([, id]) => id)).toEqual(places);
      for (const [, id, colors] of drawn) expect(`${id} ${colors}`).toMatch(/0072b2|d55e00|009e73/u);
      const itl = drawn.find(([, id]) => id === "chart-1-itl");
      for (const color of ["0072b2", "d55e00", "009e73", "aa3377", "806000"]) expect(itl?.[2]).toContain(color);
    });

    it("has verdicts first, the figures in tables, and nothing to scroll aside", () => {
      const verdicts = dom.indexOf('id="verdicts"');
      expect(verdicts).toBeGreaterThan(0);
      expect(verdicts).toBeLessThan(dom.indexOf('id="claims"'));
      expect(dom.indexOf('id="environment"')).toBeGreaterThan(dom.indexOf('id="calibration"'));
      expect(dom).toContain('<span class="badge refuted">refuted</span>');
      expect(dom).toContain(`${ms(scenario("mux-scale").arms[0]?.metrics.ttft?.p50)} / `);
      expect(dom).toContain("Example CPU @ 3.00GHz");
      expect(dom).toContain('data-fits="true"');
    });

    it("runs nothing that a name holds", () => {
      expect(/<title>(.*?)<\/title>/su.exec(dom)?.[1]).toMatch(/^fakeai bench/u);
      expect(dom).not.toContain("<img");
    });
  });
});

it("says what prompts were sent, where the result knows", () => {
  const prompts = {
    source: "dataset",
    file: "<b>.jsonl",
    seed: 1,
    requests: 40,
    distinct: 39,
    tokens: { mean: 12.5, p50: 11, max: 90 },
    tokensCountedBy: "characters",
    sharedPrefix: 8,
    cacheBust: null,
  } as const;
  const [first, ...others] = sample.scenarios;
  const page = renderHtml({ ...sample, scenarios: [{ ...first!, prompts }, ...others] }).replaceAll(/\s+/g, " ");
  expect(page).toContain(
    "Prompts of a round: 40, 39 of them different, from dataset &#60;b&#62;.jsonl; 12.5 tokens in the mean, 11 in the median, at most 90, estimated by their characters; the first 8 tokens are the same in all.",
  );
  expect(page.split("Prompts of a round")).toHaveLength(2);
});
