import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { pathToFileURL } from "node:url";
import axe from "axe-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadCharts, scenarioCharts } from "../../src/report/charts.ts";
import { imagesOf } from "../../src/report/images.ts";
import { sliceCharts, sweepCharts } from "../../src/report/sweep-charts.ts";
import { change, digits, ms, quantity } from "../../src/report/format.ts";
import { renderHtml } from "../../src/report/html.ts";
import { renderTable } from "../../src/report/table.ts";
import { effectText, headline } from "../../src/report/words.ts";
import { answersOf } from "../../src/results/answers.ts";
import { Recorder, summarize } from "../../src/results/recorder.ts";
import type { SweepFinding } from "../../src/results/sweep.ts";
import type { ScenarioResult } from "../../src/results/types.ts";
import { type Browser, openBrowser } from "../support/browser.ts";
import { hasChromium } from "../support/chromium.ts";
import { sampleResult, withSlices, withSweep } from "../support/sample-result.ts";

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
  it("hold the percentiles that the summaries have, from 0 to 99.9", () => {
    const stream = scenario("stream");
    const charts = scenarioCharts(stream);
    expect(charts.map(({ title }) => title)).toEqual(["TTFT", "ITL", "Lateness of a token: server solid, transport dashed"]);
    const line = charts[0]?.lines.find(({ label }) => label === "h2c");
    // 1 / (1 - 0.99) is 10^2.
    expect(line?.points.find(({ x }) => x === 2)?.y).toBeCloseTo((stream.arms[1]?.metrics.ttft?.p99 ?? Number.NaN) / 1000, 9);
    expect(charts[2]?.lines.map(({ label }) => label)).toContain("h1 transport");
    for (const { ticks, lines } of charts) {
      expect(ticks.map(({ text }) => text)).toEqual(["0", "50", "90", "99", "99.9"]);
      expect(Math.max(...lines.flatMap(({ points }) => points.map(({ x }) => x)))).toBeLessThanOrEqual(3);
      expect(lines.every(({ points }) => points[0]?.x === 0)).toBe(true);
    }
    expect(scenarioCharts(scenario("unary")).map(({ title }) => title)).toEqual(["E2E latency"]);
    expect(scenarioCharts(scenario("trace")).map(({ title }) => title)).toContain("TTFT from planned start");
    expect(scenarioCharts(scenario("multi-resource"))).toEqual([]);
  });

  it("draw loads for scenarios that were run with several numbers of streams", () => {
    const loads = loadCharts(sample);
    expect(loads.map((load) => load.scenario)).toEqual(["mux-scale"]);
    expect(loads[0]?.charts.map(({ yLabel }) => yLabel)).toEqual(["tokens/s", "µs", "ms", "ms"]);
    const points = loads[0]?.charts[0]?.lines[0]?.points ?? [];
    expect(points.map(({ x }) => Math.round(10 ** x))).toEqual([50, 200, 1000]);
    for (const { y, low, high } of points) expect([low! <= y, y <= high!]).toEqual([true, true]);
  });
});

describe("charts of a sweep", () => {
  const swept = withSweep(sample);
  const charts = sweepCharts(swept.sweeps![0]!, swept.scenarios);

  it("lie over the values that were varied, by logarithms, with intervals as areas", () => {
    expect(charts.map(({ title, yLabel, better }) => [title, yLabel, better])).toEqual([
      ["Requests served", "requests/s", "higher"],
      ["Tokens served", "tokens/s", "higher"],
      ["TTFT p50", "ms", "lower"],
      ["TTFT p99", "ms", "lower"],
      ["ITL p50", "ms", "lower"],
      ["ITL p99", "ms", "lower"],
      ["server CPU/token", "µs", "lower"],
    ]);
    const scenarioAt = scenario("mux-scale");
    for (const { ticks, xLabel, lines } of charts) {
      expect(xLabel).toBe("streams at once, logarithmic");
      expect(ticks.map(({ x, text }) => [text, Math.round(10 ** x)])).toEqual([
        ["50", 50],
        ["200", 200],
        ["1000", 1000],
      ]);
      expect(lines.map(({ label, points }) => [label, points.length])).toEqual(["h1", "h2c-1", "h2c-4"].map((label) => [label, 3]));
    }
    const interval = scenarioAt.arms[0]!.intervals["itl.p99"]!;
    expect(charts.find(({ title }) => title === "ITL p99")!.lines[0]!.points[0]).toEqual({
      x: Math.log10(50),
      y: interval.estimate / 1000,
      low: interval.low / 1000,
      high: interval.high / 1000,
    });
  });

  it("mark each knee, once where several lie at one place, and leave out what is not valid", () => {
    const sweep = structuredClone(swept.sweeps![0]!);
    const at = (x: number | null): SweepFinding => ({ point: x === null ? null : 1, x, text: "" });
    for (const [index, x] of [200, 200, 50].entries()) Object.assign(sweep.series[index]!, { knee: at(x) });
    Object.assign(sweep.series[0]!.readings[1]!, { invalid: ["client-limited"] });
    const [first] = sweepCharts(sweep, swept.scenarios);
    expect(first!.marks).toEqual([
      { x: Math.log10(200), text: "knee: h1, h2c-1" },
      { x: Math.log10(50), text: "knee: h2c-4" },
    ]);
    expect(first!.lines[0]!.points.map(({ x }) => Math.round(10 ** x))).toEqual([50, 1000]);
  });

  it("stand in the page in place of a card for each point, and among the images", () => {
    const page = renderHtml(swept);
    expect(page).toContain('<section class="card" id="sweep-0">');
    expect(page).toContain('href="#sweep-0"');
    expect(page).not.toContain('id="scenario-2"');
    expect(imagesOf(swept).filter(({ name }) => name.startsWith("mux-scale-by-streams"))).toHaveLength(charts.length);
  });
});

describe("charts of slices", () => {
  it("show how a run went, with gaps where nothing came", () => {
    const charts = sliceCharts(withSlices(sample).scenarios.find(({ id }) => id === "stream")!);
    expect(charts.map(({ title, yLabel }) => `${title}, ${yLabel}`)).toEqual([
      "Tokens as they came, tokens/s",
      "Median TTFT, ms",
      "Median ITL, ms",
    ]);
    expect(charts[0]!.ticks.map(({ text }) => text)).toEqual(["0", "1.25", "2.5", "3.75", "5"]);
    expect(charts[0]!.lines[0]!.points[0]).toEqual({ x: 0.25, y: 300 });
    expect(charts[1]!.lines[0]!.points).toHaveLength(9);
    expect(charts[1]!.lines[0]!.points.at(-1)).toEqual({ x: 4.25, y: 104 });
    expect(sliceCharts(scenario("stream"))).toEqual([]);
  });
});

describe("the page", () => {
  const page = renderHtml(sample, [{ file: "result.json", name: "result.json" }]);

  it("shows machines that are alike once, however many shards ran on them, and says that they made one load", () => {
    const { environment, startedAt } = sample;
    const other = { ...environment, loadAverage: environment.loadAverage.map((load) => load + 1) as typeof environment.loadAverage };
    const clock = { offsetUs: 0, driftPpm: null, boundUs: 250, exchanges: 24 };
    const members = [environment, other, { ...other, cores: 64 }].map((one, i) => ({ shard: i + 1, clock, environment: one, startedAt }));
    const sharded = { ...sample, environments: members.map((member) => member.environment), shards: { of: 3, session: "s", members } };
    const shown = renderHtml(sharded);
    expect(shown.match(/<dt>CPU/gu)).toHaveLength(2);
    expect(shown).toContain("2, on machines that are alike");
    expect(shown).toContain("one load of 3 shards on machines of 2 kinds; clocks known to 0.25 ms or better");
  });

  it("begins with the headline, and says each answer as the terminal does", () => {
    const answers = answersOf(sample);
    expect(page.match(/<h1>(.*?)<\/h1>/u)?.[1]).toBe(headline(answers));
    const text = textOf(page);
    for (const { answers: list } of answers.contests)
      for (const { reading } of list) if (reading?.baseline != null) expect(text).toContain(effectText(reading.comparison));
    const places = ["answers", "requirements", "compared", "scenarios", "claims", "run"].map((id) => page.indexOf(`id="${id}"`));
    expect(places).toEqual(places.toSorted((a, b) => a - b));
    expect(places[0]).toBeGreaterThan(0);
  });

  it("leads to every part and every card, and from each card to the raw data", () => {
    const ids = new Set([...page.matchAll(/ id="([^"]+)"/gu)].map(([, id]) => id));
    const links = [...page.matchAll(/ href="#([^"]+)"/gu)].map(([, id]) => id!);
    expect(links.filter((id) => !ids.has(id))).toEqual([]);
    for (const index of sample.scenarios.keys())
      if (sample.scenarios[index]!.skipped === null) expect(links).toContain(`scenario-${index}`);
    expect(page).toContain('<a href="result.json">result.json</a> <code>.scenarios[0]</code>');
    expect(renderHtml(sample)).not.toContain("Raw data");
  });

  it("draws every compared metric on one scale, better to the right", () => {
    const rows = [...page.matchAll(/<i class="iv (\w+)" style="--l:([\d.]+)%;--w:([\d.]+)%;--e:([\d.]+)%/gu)];
    const compared = sample.scenarios.flatMap(({ comparisons }) =>
      comparisons.filter(({ described, ratio }) => !described && ratio !== null),
    );
    expect(rows).toHaveLength(compared.length);
    for (const [, verdict, , , estimate] of rows) {
      if (verdict === "faster") expect(Number(estimate)).toBeGreaterThan(50);
      if (verdict === "slower") expect(Number(estimate)).toBeLessThan(50);
    }
    expect(page).toContain("◂ worse");
    expect(page).toContain("better ▸");
    const copy = structuredClone(sample);
    Object.assign(copy.scenarios[1]!.comparisons[0]!, { ratio: { estimate: 0.02, low: 0.01, high: 0.03 } });
    expect(renderHtml(copy)).toMatch(/<s class="r">▸<\/s>/u);
    expect(page).not.toMatch(/<s class="r">/u);
  });

  it("is small, also of many scenarios, and then says what it leaves out", () => {
    expect(Buffer.byteLength(page)).toBeLessThan(300_000);
    expect(page).not.toContain("Left out, as this page");
    const many = Array.from({ length: 8 }, (_, index) => sample.scenarios.map((one) => ({ ...one, variant: `${one.variant} ${index}` })));
    const large = renderHtml({ ...sample, scenarios: many.flat() });
    expect(Buffer.byteLength(large)).toBeLessThan(300_000);
    expect(large).toContain("Left out, as this page would be too large: charts by percentile");
  });

  it("draws a metric that is 0 in every arm", () => {
    const copy = structuredClone(sample);
    const recorder = new Recorder("us");
    recorder.record(0);
    recorder.record(0);
    const zeros = recorder.summary()!.histogram;
    for (const { arms } of copy.scenarios)
      for (const { metrics, intervals } of arms) {
        for (const summary of Object.values(metrics))
          if (summary) Object.assign(summary, summarize([0, 0], summary.unit), { histogram: summary.histogram === null ? null : zeros });
        for (const interval of Object.values(intervals)) Object.assign(interval, { estimate: 0, low: 0, high: 0 });
      }
    expect(renderHtml(copy)).not.toMatch(/NaN|Infinity|undefined/u);
  });
});

/** What a reader sees of markup. */
function textOf(markup: string): string {
  return markup
    .replaceAll(/<style>.*?<\/style>|<[^>]*>/gsu, " ")
    .replaceAll(/&#(\d+);/gu, (_, code: string) => String.fromCharCode(Number(code)))
    .replaceAll(/\s+/gu, " ");
}

describe("names in a result", () => {
  const hostile = `</script><script>document.title="hit"</script><img src=x onerror="document.title='hit'">\u001B[2J"';}--n2:`;
  const copy = structuredClone(withSlices(withSweep(sample)));
  for (const sweep of copy.sweeps!) {
    Object.assign(sweep, { slo: hostile, kneeMethod: hostile, stopped: hostile });
    for (const { values } of sweep.axes) for (const value of values) Object.assign(value, { text: hostile });
    for (const point of sweep.points) Object.assign(point, { at: { streams: hostile } });
    for (const series of sweep.series) Object.assign(series, { arm: `${series.arm}${hostile}`, knee: { point: 0, x: 50, text: hostile } });
  }
  Object.assign(copy, { suite: hostile, command: [hostile], invalid: [hostile] });
  for (const one of copy.scenarios) {
    Object.assign(one, {
      id: hostile,
      title: hostile,
      variant: hostile,
      isolates: hostile,
      question: hostile,
      notes: [hostile],
      findings: [hostile],
    });
    Object.assign(one.workload, { [hostile]: hostile });
    for (const arm of one.arms) Object.assign(arm, { id: `${arm.id}${hostile}`, client: hostile });
    for (const claim of one.claims) Object.assign(claim, { text: hostile, source: hostile, conditions: hostile });
    for (const comparison of one.comparisons)
      Object.assign(comparison, { baseline: `${comparison.baseline}${hostile}`, candidate: `${comparison.candidate}${hostile}` });
  }
  const page = renderHtml(copy, [{ file: "a%22b/result.json", name: hostile }]);

  it("are text, and nothing else: no element, no attribute, no rule, no control character", () => {
    expect(page).not.toMatch(/<(?:script|link|img|iframe|object|embed)\b/u);
    expect(
      [...page.matchAll(/<[a-z]+\s[^<>]*\b(?:src|href)=["']?([^"'\s>]*)/gu)].filter(
        ([, at]) => !at?.startsWith("#") && at !== "a%22b/result.json",
      ),
    ).toEqual([]);
    expect(page).not.toMatch(/[^\P{Cc}\n]/u);
    expect(page).toContain("default-src 'none'; style-src 'unsafe-inline'\"");
    for (const [, style] of page.matchAll(/ style="([^"]*)"/gu))
      expect(style).toMatch(/^(?:--n\d+:&#34;(?:[\w /.-]|\\[\da-f]+ )*&#34;;|--[lwezv]:-?[\d.]+%;?|left:[\d.]+%)+$/u);
  });
});

describe.skipIf(!hasChromium)("the page in a browser", () => {
  let directory: string;
  let browser: Browser;
  beforeAll(async () => {
    directory = await mkdtemp(path.join(os.tmpdir(), "fakeai-report-"));
    await writeFile(
      path.join(directory, "report.html"),
      renderHtml(withSlices(withSweep(sample)), [{ file: "result.json", name: "result.json" }]),
    );
    browser = await openBrowser();
    await browser.open(pathToFileURL(path.join(directory, "report.html")).href);
  }, 60_000);
  afterAll(async () => {
    await browser.close();
    await rm(directory, { recursive: true, force: true, maxRetries: 5 });
  });
  const openFolds = (isOpen: boolean): Promise<number> =>
    browser.evaluate(`[...document.querySelectorAll("details")].map((fold) => (fold.open = ${isOpen})).length`);

  describe.each([
    { width: 1280, height: 900, scheme: "light" },
    { width: 1280, height: 900, scheme: "dark" },
    { width: 390, height: 844, scheme: "light" },
    { width: 390, height: 844, scheme: "dark" },
  ] as const)("$width px wide, $scheme", (view) => {
    beforeAll(async () => {
      await browser.view(view);
      expect(await openFolds(true)).toBeGreaterThan(5);
    });

    it("fits: nothing is cut or scrolls aside", async () => {
      const wide = await browser.evaluate<string[]>(`(() => {
        const found = [...document.querySelectorAll("body *")].filter((element) => {
          const { left, right, width } = element.getBoundingClientRect();
          return width > 1 && (left < -0.5 || right > innerWidth + 0.5) && !element.classList.contains("skip");
        });
        const cut = [...document.querySelectorAll("td, th, li, figure, p")].filter((element) => element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== "inline" && element.clientWidth > 1);
        return [...found, ...cut].map((element) => element.outerHTML.slice(0, 120));
      })()`);
      expect(wide).toEqual([]);
      expect(await browser.evaluate("[document.documentElement.scrollWidth <= innerWidth, innerWidth]")).toEqual([true, view.width]);
    });

    it("has the headline, the first answer and the verdict in sight at once, and the plot of all metrics soon", async () => {
      await openFolds(false);
      const [headlineEnd, answerEnd, plot] = await browser.evaluate<number[]>(
        `["h1", ".answers li", ".forest"].map((name, index) => document.querySelector(name).getBoundingClientRect()[index < 2 ? "bottom" : "top"] + scrollY)`,
      );
      expect(headlineEnd).toBeLessThan(400);
      expect(answerEnd).toBeLessThan(800);
      expect(plot).toBeLessThan(view.width < 700 ? 2500 : 1300);
      await openFolds(true);
    });

    it("has text of at least 11 px, also in charts", async () => {
      const least = await browser.evaluate<number>(`Math.min(...[...document.querySelectorAll("svg.plot[viewBox] text")].map((text) => {
        const svg = text.ownerSVGElement;
        return parseFloat(getComputedStyle(text).fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
      }))`);
      expect(least).toBeGreaterThan(11);
    });

    it("has every text of a chart inside of it", async () => {
      const outside = await browser.evaluate<string[]>(`[...document.querySelectorAll("svg.plot[viewBox]")].flatMap((svg) => {
        const box = svg.getBoundingClientRect();
        return [...svg.querySelectorAll("text")].filter((text) => {
          const { left, right, top, bottom } = text.getBoundingClientRect();
          return left < box.left || right > box.right || top < box.top - 1 || bottom > box.bottom + 1;
        }).map((text) => text.textContent);
      })`);
      expect(outside).toEqual([]);
    });

    it("draws the axis that charts share as all other texts and rules", async () => {
      const colors = await browser.evaluate<string[]>(`(() => {
        const axis = document.querySelector("#percentiles");
        return [getComputedStyle(axis.querySelector("text")).fill, getComputedStyle(axis.querySelector(".rule")).stroke, axis.matches(".plot")];
      })()`);
      expect(colors).toEqual(
        view.scheme === "dark" ? ["rgb(154, 164, 178)", "rgb(46, 54, 65)", true] : ["rgb(91, 100, 114)", "rgb(223, 227, 232)", true],
      );
    });

    it("passes axe at the levels A and AA", async () => {
      await browser.evaluate(axe.source);
      const found = await browser.evaluate<string[]>(
        `axe.run({ runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], resultTypes: ["violations"] }).then(({ violations, passes }) => violations.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => id + ": " + html.slice(0, 120) + " " + failureSummary)).concat(passes.some(({ id }) => id === "color-contrast") ? [] : "no contrast was checked"))`,
      );
      expect(found).toEqual([]);
    }, 60_000);
  });

  it("is reached by keyboard: the first stops are the way past the navigation and the navigation, each with an outline", async () => {
    await browser.view({ width: 1280, height: 900, scheme: "light" });
    const stops: string[] = [];
    await browser.evaluate("document.activeElement.blur()");
    for (let stop = 0; stop < 3; stop++) {
      await browser.press("Tab");
      stops.push(
        await browser.evaluate(`document.activeElement.textContent + " " + getComputedStyle(document.activeElement).outlineStyle`),
      );
    }
    expect(stops).toEqual(["To the answers solid", "Answers solid", "Required solid"]);
  });

  it("keeps its navigation in sight, and does not hide behind it what it leads to", async () => {
    await openFolds(false);
    await browser.evaluate(`location.hash = "scenario-5"`);
    const [nav, card] = await browser.evaluate<[number, number]>(
      `[document.querySelector("nav").getBoundingClientRect().bottom, document.querySelector("#scenario-5").getBoundingClientRect().top]`,
    );
    expect(nav).toBeGreaterThan(0);
    expect(card).toBeGreaterThanOrEqual(nav);
    expect(card).toBeLessThan(120);
  });

  it("prints on a few pages, without folds that are closed", async () => {
    await openFolds(false);
    const pdf = await browser.print();
    const pages = pdf.toString("latin1").match(/\/Type \/Page\b/gu)?.length ?? 0;
    expect(pages).toBeGreaterThan(1);
    expect(pages).toBeLessThanOrEqual(7);
  });

  it("runs nothing", async () => {
    expect(await browser.evaluate("document.scripts.length")).toBe(0);
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
