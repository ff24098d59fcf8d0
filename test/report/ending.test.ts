/** The end of a run on a terminal: the answers in a screen's lines and columns, whatever the result. */
import { readdirSync, readFileSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import { describe, expect, test } from "vitest";
import { Random, seedOf } from "../../src/core/random/random.ts";
import { endingLines, placesText, renderEnding } from "../../src/report/ending.ts";
import { renderHtml } from "../../src/report/html.ts";
import { effectText, valuesText } from "../../src/report/words.ts";
import type { BenchResult, Comparison, ScenarioResult, Work } from "../../src/results/types.ts";
import { root } from "../support/process.ts";
import { sampleResult, scenarioNamed, withSweep } from "../support/sample-result.ts";

const sample = sampleResult();
const folder = `${root}results/experiments/`;
const published = readdirSync(folder)
  .filter((name) => name.endsWith(".json"))
  .map((name) => JSON.parse(readFileSync(folder + name, "utf8")) as BenchResult);

const plain = (width: number): { readonly color: boolean; readonly width: number } => ({ color: false, width });

describe("the whole of it", () => {
  test.each([40, 80, 120])("of the sample in %d columns", async (width) => {
    await expect(renderEnding(sample, plain(width))).toMatchFileSnapshot(`../golden/ending-${width}.txt`);
  });

  test("begins with the headline, and ends with whether to believe it and where the rest is", () => {
    const lines = (renderEnding(sample, plain(120)) + placesText("out/report.html", "out")).trimEnd().split("\n");
    expect(lines[0]).toBe("HTTP/2 against HTTP/1.1 on this machine: helps in 2, makes no difference in 1, hurts in 5, 4 undecided");
    expect(lines.at(-3)).toMatch(/^Believe it\? {2}5 rounds each, machine not watched, /);
    expect(lines.slice(-2)).toEqual(["Report       out/report.html", "All figures  fakeai report out --full"]);
  });

  test("says first that it is not valid, each kind of reason once", () => {
    const invalid = ["stream, h1: 3 of 5 rounds were disturbed", "stream, h2c: 4 of 5 rounds were disturbed", "the server died"];
    const lines = renderEnding({ ...sample, complete: false, invalid }, plain(100)).split("\n");
    expect(lines.slice(0, 3)).toEqual([
      "Not complete: this is what was measured until it ended.",
      "Not valid: stream, h1 and 1 more: 3 of 5 rounds were disturbed",
      "Not valid: the server died",
    ]);
  });

  test.each([
    ["quiche", "HTTP/3 on quiche against HTTP/1.1 on Node on this machine"],
    ["external", "HTTP/3 against HTTP/1.1 on this machine"],
  ] as const)("beside HTTP/3, on %s, no protocol is judged, and why is said once, as on the page", (engine, title) => {
    const unary = structuredClone(scenarioNamed(sample, "unary"));
    const { candidate: name } = unary.comparisons[0]!;
    const comparisons = unary.comparisons.filter(({ candidate }) => candidate === name);
    for (const one of comparisons) Object.assign(one, { kind: "engine" });
    for (const arm of unary.arms) {
      if (engine === "external") Object.assign(arm, { engine });
      if (arm.id === name) Object.assign(arm, { protocol: "h3", engine });
    }
    const result: BenchResult = { ...sample, requirements: [], scenarios: [{ ...unary, comparisons, claims: [] }] };
    const caveat = "HTTP/3 runs in user space (quiche, N-API), TCP in the kernel: no verdict about the protocol";
    const text = renderEnding(result, plain(120));
    expect(text.split("\n", 1)[0]).toMatch(new RegExp(`^${title}: an effect of engines, no verdict about a protocol: `));
    expect(text).not.toMatch(/helps in|hurts in/u);
    const page = renderHtml(result);
    for (const shown of [text, page]) expect(shown.split(caveat)).toHaveLength(2);
    expect(page).not.toMatch(/<h1>[^<]*(?:helps|hurts)/u);
  });

  test("nothing compared is no pass: it states values", () => {
    const { arms, ...stream } = scenarioNamed(sample, "stream");
    const alone = { ...sample, requirements: [], scenarios: [{ ...stream, arms: arms.slice(0, 1), comparisons: [], claims: [] }] };
    const text = renderEnding(alone, plain(120));
    expect(text).toMatch(/^HTTP\/1\.1 on this machine: nothing was compared, these are the values\n/);
    expect(text).toMatch(/ measured +Paced token streams\s+TTFT p50 100 ms, TTFT p99 10\d ms, ITL p50 20 ms, /);
    expect(text).not.toMatch(/helps|no change|hurts/);
  });

  test("what the answers held is noted once for all arms, after what a gateway changed", () => {
    const { arms, ...stream } = scenarioNamed(sample, "stream");
    const work: Work = {
      answers: 12,
      tokensCountedBy: "events",
      tokens: null,
      events: 60,
      contentBytes: 720,
      bodyBytes: null,
      finishReasons: { stop: 12 },
      exact: false,
      short: 12,
      withoutToken: 0,
      withoutFinishReason: 0,
      inOneRead: 0,
      contentReads: 60,
      contradicted: 0,
    };
    const loaded = { ...stream, arms: arms.map((arm) => ({ ...arm, work })) };
    const noted = (scenarios: readonly ScenarioResult[]): string[] =>
      renderEnding({ ...sample, scenarios }, plain(200))
        .split("\n")
        .filter((line) => line.startsWith("Note"));
    const [first, second] = arms.map(({ id }) => id);
    const more = arms.length > 2 ? ` and ${arms.length - 2} more` : "";
    const both = `${first}${more === "" ? " and" : ","} ${second}${more}`;
    expect(noted([loaded])).toEqual([
      `Note         ${both}: 12 of 12 answers held fewer tokens than were asked for`,
      `Note         ${both}: no usage: events were counted, and how many tokens they hold is not known`,
    ]);
    expect(noted([{ ...loaded, findings: ["via-h1 against direct-h1: unequal work"] }])).toEqual([
      "Note         via-h1 against direct-h1: unequal work",
      `Note         ${both}: 12 of 12 answers held fewer tokens than were asked for`,
      "Note         and 1 more",
    ]);
    expect(noted([{ ...loaded, skipped: "no server" }])).toEqual([]);
  });

  test("lines of a sweep that have no room are counted", () => {
    const swept = withSweep(sample);
    const [sweep] = swept.sweeps!;
    const noted = (count: number): string[] => {
      const series = Array.from({ length: count }, (_, index) => ({ ...sweep!.series[0]!, arm: `arm${index}` }));
      return renderEnding({ ...swept, sweeps: [{ ...sweep!, series }] }, plain(200))
        .split("\n")
        .filter((line) => line.startsWith("Sweep"));
    };
    expect(noted(3).map((line) => /arm\d|and \d+ more/.exec(line)?.[0])).toEqual(["arm0", "arm1", "arm2"]);
    expect(noted(8).map((line) => /arm\d|and \d+ more/.exec(line)?.[0])).toEqual(["arm0", "arm1", "arm2", "and 5 more"]);
  });

  test("what is found along one or two lines of a sweep is told to its end in 80 columns, within a screen", () => {
    const swept = withSweep(sample);
    const [sweep] = swept.sweeps!;
    const text = "up to 28.1/s, 21.6 good requests/s: at 35.1/s a metric of it was not measured";
    const finding = { point: 0, x: 1, text };
    const slo = "ttft.p95<200ms,itl.p99<50ms";
    const found = { at: {}, readings: [], knee: finding, keepsUp: finding, keepsSlo: { ...finding, text: `${text}, the end` } };
    for (const count of [1, 2]) {
      const series = Array.from({ length: count }, (_, index) => ({ ...found, arm: `arm${index}` }));
      const lines = renderEnding({ ...swept, sweeps: [{ ...sweep!, slo, series }] }, plain(80))
        .trimEnd()
        .split("\n");
      expect(
        lines
          .join(" ")
          .replaceAll(/\s+/g, " ")
          .match(/measured, the end/g),
      ).toHaveLength(count);
      expect(lines.length).toBeLessThanOrEqual(endingLines - 2);
      expect(lines.some((line) => line.startsWith("Believe it?"))).toBe(true);
    }
  });

  test("a requirement that is not met is named with its value", () => {
    expect(renderEnding(sample, plain(120))).toMatch(
      /^Required {5}violated: header-bytes\/bytesSentPerRequest<200B \(header-bytes\/h1 480 B, /m,
    );
  });
});

describe("fits a screen", () => {
  /** A result of random parts: scenarios of several files, hostile and long names, reasons, requirements. */
  function randomResult(random: Random): BenchResult {
    const files = [sample, ...published];
    const pick = <T>(all: readonly T[]): T => all[Math.floor(random.unit() * all.length)]!;
    const words = ["x", "a rather long question", "\u001B[31mred\nline", "unbreakable".repeat(12), "κόσμε", ""];
    const scenarios = Array.from({ length: Math.floor(random.unit() * 40) }, (_, index): ScenarioResult => {
      const scenario = pick(pick(files).scenarios);
      const question = random.unit() < 0.5 ? {} : { question: pick(words) };
      return { ...scenario, id: `${scenario.id}${index}`, ...question, skipped: random.unit() < 0.1 ? pick(words) : scenario.skipped };
    });
    const invalid = Array.from({ length: Math.floor(random.unit() * 6) }, () => `${pick(words)}, h1: ${pick(words)}`);
    const text = "stream/h2c/ttft.p99<150ms";
    const requirement = { text, met: false, measured: [{ scenario: pick(words), arm: "h1", value: 1e6 }] };
    const requirements = Array.from({ length: Math.floor(random.unit() * 8) }, () => requirement);
    return { ...sample, complete: random.unit() < 0.8, invalid: random.unit() < 0.5 ? [] : invalid, requirements, scenarios };
  }

  test("in 25 lines, and lines of its columns, with color and without", () => {
    for (let seed = 0; seed < 60; seed++) {
      const random = new Random(seedOf(seed), 17);
      const result = randomResult(random);
      const width = 40 + Math.floor(random.unit() * 120);
      const text = renderEnding(result, plain(width));
      const lines = text.split("\n");
      expect(lines.pop()).toBe("");
      expect(lines.length + placesText("r", "d").trimEnd().split("\n").length).toBeLessThanOrEqual(endingLines);
      expect(lines.filter((line) => line.length > width)).toEqual([]);
      expect(lines.filter((line) => line !== line.trimEnd())).toEqual([]);
      expect(stripVTControlCharacters(text)).toBe(text);
      expect(stripVTControlCharacters(renderEnding(result, { color: true, width }))).toBe(text);
    }
  });

  test("and nothing is lost: what is not shown is counted", () => {
    const stream = scenarioNamed(sample, "stream");
    const comparisons = stream.comparisons.filter(({ kind }) => kind === "protocol");
    for (const count of [5, 40]) {
      const scenarios = Array.from({ length: count }, (_, index) => ({ ...stream, comparisons, question: `number ${index}` }));
      const lines = renderEnding({ ...sample, scenarios }, plain(120)).split("\n");
      const shown = lines.filter((line) => /^ {2}(?:no change|undecided) {2}/.test(line)).length;
      const more = lines.flatMap(
        (line) => /^ {2}and (\d+) more: makes no difference in (\d+), (\d+) undecided$/.exec(line)?.slice(1).map(Number) ?? [],
      );
      expect(shown + (more[0] ?? 0)).toBe(2 * count);
      expect((more[1] ?? 0) + (more[2] ?? 0)).toBe(more[0] ?? 0);
    }
  });

  test("a full suite's worth takes no time", () => {
    const scenarios = published.flatMap((result, index) => result.scenarios.map((one) => ({ ...one, id: `${one.id}${index}` })));
    const startedMs = performance.now();
    renderEnding({ ...sample, scenarios }, plain(80));
    expect(performance.now() - startedMs).toBeLessThan(2000);
  });
});

describe("an effect in words", () => {
  const comparison = (part: Partial<Comparison>): Comparison => ({
    metric: "ttft",
    statistic: "p50",
    baseline: "h1",
    candidate: "h2c",
    ratio: { estimate: 0.28, low: 0.25, high: 0.34 },
    difference: { estimate: -20_000, low: -21_000, high: -19_000 },
    rounds: 5,
    method: "t",
    pRaw: 0.001,
    p: 0.001,
    smallestEffect: { ratio: 0.02, absolute: 500 },
    verdict: "faster",
    reason: null,
    kind: "protocol",
    ...part,
  });
  const rows: readonly (readonly [Partial<Comparison>, string])[] = [
    [{}, "72% faster (66 to 75)"],
    [{ verdict: "slower", ratio: { estimate: 1.29, low: 1.28, high: 1.3 } }, "29% slower (28 to 30)"],
    [{ verdict: "slower", ratio: { estimate: 17.9, low: 17.2, high: 18.8 } }, "18× as long (17 to 19)"],
    [{ metric: "serverCpuUsPerToken", ratio: { estimate: 0.55, low: 0.5, high: 0.6 } }, "45% less (40 to 50)"],
    [{ metric: "bytesSentPerRequest", ratio: { estimate: 0.019, low: 0.019, high: 0.019 } }, "98.1% less (±0)"],
    [{ metric: "requestsPerSecond", ratio: { estimate: 1.5, low: 1.42, high: 1.59 } }, "50% more (42 to 59)"],
    [{ metric: "requestsPerSecond", ratio: { estimate: 2.9, low: 2.6, high: 3.2 } }, "2.9× as many (2.6 to 3.2)"],
    [{ metric: "requestsPerSecond", verdict: "slower", ratio: { estimate: 0.65, low: 0.63, high: 0.66 } }, "35% less (34 to 37)"],
    [{ verdict: "equivalent", ratio: { estimate: 1.0002, low: 0.997, high: 1.003 } }, "0.0% (−0.3 to +0.3)"],
    [{ verdict: "inconclusive", ratio: { estimate: 1.42, low: 0.49, high: 4.08 } }, "+42% (−51 to +308)"],
    [{ verdict: "inconclusive", ratio: null }, "−20 ms (−21 ms to −19 ms)"],
    [{ verdict: "not compared", ratio: null, difference: null }, ""],
  ];
  test.each(rows)("%j", (part, words) => {
    expect(effectText(comparison(part))).toBe(words);
  });

  test.each<[Partial<Comparison>, number | null, number | null, string]>([
    [{}, 8123, 29_345, "TTFT p50 8.12 ms instead of 29.3"],
    [{ metric: "durationUs" }, 8123, 29_345, "done in 8.12 ms instead of 29.3"],
    [{ verdict: "equivalent" }, 50_790, 50_810, "TTFT p50 50.8 ms on both"],
    // A difference is never shown as two equal values.
    [{}, 50_790, 50_810, "TTFT p50 50.79 ms instead of 50.81"],
    [{ metric: "bytesReceivedPerRequest" }, 18_600, 19_200, "18.6 kB read instead of 19.2"],
    [{ metric: "serverCpuUsPerToken" }, 6.25, 11.3, "CPU/token 6.25 µs instead of 11.3"],
    [{ metric: "itlError" }, 0.012, 0.034, "ITL error p50 1.2% instead of 3.4"],
    [{}, null, null, ""],
  ])("values: %j, %d and %d", (part, candidate, baseline, words) => {
    expect(valuesText({ comparison: comparison(part), candidate, baseline })).toBe(words);
  });
});
