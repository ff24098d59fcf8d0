/** A result for other programs: golden files of the sample, each format by a parser of its own, and hostile names in all of them. */
import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { csvOf, jsonLinesOf } from "../../src/report/exports/tables.ts";
import { type JunitOptions, junitOf } from "../../src/report/exports/junit.ts";
import { githubSummaryOf, markdownOf } from "../../src/report/exports/markdown.ts";
import { prometheusName, prometheusOf } from "../../src/report/exports/prometheus.ts";
import { measurementColumns } from "../../src/results/measurements.ts";
import { metricFacts } from "../../src/results/metrics.ts";
import { compareResults } from "../../src/results/runs.ts";
import { tableOf } from "../../src/load/records.ts";
import type { ArmResult, BenchResult, MetricName } from "../../src/results/types.ts";
import { armNamed, sampleResult, scenarioNamed, withSweep } from "../support/sample-result.ts";

const sample = sampleResult();
const alone: JunitOptions = { comparison: null, allowMissing: false };

/** The sample's scenarios of these names, with so many rounds of each arm. */
function part(isMeant: (id: string) => boolean, rounds: number): BenchResult {
  const cut = (arm: ArmResult): ArmResult => ({ ...arm, rounds: arm.rounds.slice(0, rounds) });
  const scenarios = sample.scenarios.flatMap((scenario) => (isMeant(scenario.id) ? [{ ...scenario, arms: scenario.arms.map(cut) }] : []));
  return { ...sample, scenarios };
}

/** For files that a person reads. */
const small = part((id) => id === "header-bytes" || id === "trace", 1);

/** Without most of its rows. */
const few = part((id) => id !== "mux-scale", 2);

/** It with a foreign text wherever a name may be one. */
function hostile(text: string): BenchResult {
  return {
    ...few,
    suite: text,
    invalid: [text],
    requirements: [{ text, met: false, outcome: "violated", measured: [{ scenario: text, arm: text, value: 1 }] }],
    scenarios: few.scenarios.map((scenario, index) => ({
      ...scenario,
      id: text,
      // Two scenarios never share both.
      variant: `${text}${index}`,
      title: text,
      question: text,
      notes: [text],
      arms: scenario.arms.map((arm) => ({ ...arm, rounds: arm.rounds.map((round) => ({ ...round, invalid: [text] })) })),
      skipped: scenario.skipped === null ? null : text,
    })),
  };
}

const hostileTexts = [
  '=HYPERLINK("http://x","y")',
  "+1|2\n| injected | row |",
  "-cmd\r\n@SUM(1)",
  "\t=1+1",
  "\u001B[31mred\u0000\u0008 ]]> <script>alert(1)</script> & \uFFFE \uD800",
  'a",b\\"} 1\nother_metric 2\n# TYPE x counter',
  "[link](http://x) `code` **bold** @everyone #1",
];

type Row = Readonly<Record<string, string | number | boolean | null>>;

const rowsOfCsv = (text: string): Row[] => [...tableOf(Buffer.from(text), "measurements.csv").rows].map(({ values }) => values as Row);
const rowsOfLines = (text: string): Row[] =>
  text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Row);

describe("csv and jsonl", () => {
  test("of the sample", async () => {
    await expect(csvOf(small)).toMatchFileSnapshot("../golden/export.csv");
  });

  test("hold the same rows: one for each statistic, metric, arm and round", () => {
    const lines = rowsOfLines(jsonLinesOf(few));
    const cells = rowsOfCsv(csvOf(few));
    expect(
      lines.map((row) => Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value === null ? "" : String(value)]))),
    ).toEqual(cells);
    const { rounds } = armNamed(few, "stream", "h2c");
    const found = lines.filter(
      ({ scenario, arm, metric, statistic }) => scenario === "stream" && arm === "h2c" && metric === "ttft" && statistic === "p99",
    );
    expect(found.map(({ round, value_us: value }) => [round, value])).toEqual(
      rounds.map(({ round, metrics }) => [round, metrics.ttft?.p99]),
    );
    expect(Object.keys(lines[0]!)).toEqual(measurementColumns);
  });

  test("one value column is set, that of the unit; none where nothing was measured", () => {
    const columns = { us: "value_us", "1/s": "value_per_second", bytes: "value_bytes", count: "value_count", ratio: "value_ratio" };
    const rows = rowsOfLines(jsonLinesOf(few));
    const set = rows.map((row) => Object.values(columns).filter((column) => row[column] !== null));
    expect(set).toEqual(rows.map(({ statistic, metric }) => (statistic === null ? [] : [columns[metricFacts[metric as MetricName].unit]])));
    const unseen = rows.filter(({ scenario, metric }) => scenario === "unary" && metric === "ttft");
    expect(unseen.length).toBeGreaterThan(0);
    expect(new Set(unseen.map(({ statistic }) => statistic))).toEqual(new Set([null]));
  });

  test("say what is excluded and why, also a round in which nothing was measured", () => {
    const rows = rowsOfLines(jsonLinesOf(few)).filter(({ scenario, arm }) => scenario === "trace" && arm === "h2c");
    expect(new Set(rows.map(({ valid, excluded_reason: why }) => `${valid as boolean}: ${why as string}`))).toEqual(
      new Set(["false: 12 of 100 requests failed: status 503 (9), timeout (3)"]),
    );
    const stream = scenarioNamed(few, "stream");
    const dead = { ...stream.arms[0]!, rounds: [{ ...stream.arms[0]!.rounds[0]!, metrics: {}, invalid: ["the server died"] }] };
    const [row, ...more] = rowsOfLines(jsonLinesOf({ ...sample, scenarios: [{ ...stream, arms: [dead] }] }));
    expect(more).toEqual([]);
    expect(row).toMatchObject({ metric: null, statistic: null, value_us: null, valid: false, excluded_reason: "the server died" });
    const cut = rowsOfLines(jsonLinesOf({ ...few, complete: false }));
    expect(cut.every(({ valid }) => valid === false)).toBe(true);
  });

  test.each(hostileTexts)("no cell is a formula, and no name makes a row: %j", (text) => {
    const bad = hostile(text);
    const rows = rowsOfCsv(csvOf(bad));
    expect(rows.length).toBe(rowsOfCsv(csvOf(few)).length);
    const texts = ["suite", "scenario", "variant", "arm", "excluded_reason"].flatMap((column) => rows.map((row) => row[column] as string));
    expect(texts.filter((cell) => /^\s*[=+\-@]/.test(cell))).toEqual([]);
    // oxlint-disable-next-line no-control-regex
    expect(csvOf(bad).replaceAll("\n", "")).not.toMatch(/[\u0000-\u001F]/);
    expect(rowsOfLines(jsonLinesOf(bad))[0]).toMatchObject({ suite: text, scenario: text });
  });
});

describe("junit", () => {
  const requirement = (outcome: "met" | "violated" | "not measured"): BenchResult => ({
    ...sample,
    requirements: [
      {
        text: "stream/h2c/ttft.p99<150ms",
        met: outcome === "met",
        outcome,
        measured: [{ scenario: "stream", arm: "h2c", value: 120_000 }],
      },
    ],
  });
  const casesOf = (xml: string): string[] => xml.split("\n").filter((line) => line.includes("<testcase") && line.includes("requirements"));

  test("of the sample", async () => {
    await expect(junitOf(sample, alone)).toMatchFileSnapshot("../golden/export.xml");
  });

  test("a requirement that is met passes with its reading; a violated one fails with it", () => {
    expect(casesOf(junitOf(requirement("met"), alone))[0]).toContain("<system-out>stream, h2c: 120 ms</system-out>");
    expect(casesOf(junitOf(requirement("violated"), alone))[0]).toContain('<failure type="bench" message="violated: stream, h2c: 120 ms">');
  });

  test("what was not checked never passes", () => {
    const unmeasured = requirement("not measured");
    expect(casesOf(junitOf(unmeasured, alone))[0]).toContain("<failure");
    expect(casesOf(junitOf(unmeasured, { comparison: null, allowMissing: true }))[0]).toContain("<skipped");
    expect(casesOf(junitOf({ ...sample, requirements: [] }, alone))).toEqual([expect.stringContaining("<skipped")]);
    // Met, by figures that may not be used.
    expect(casesOf(junitOf({ ...requirement("met"), invalid: ["the server died"] }, alone))[0]).toContain("<skipped");
    expect(junitOf({ ...sample, scenarios: [] }, alone)).toMatch(
      /the run is complete and valid"><failure type="bench" message="nothing was measured"/,
    );
  });

  test("a baseline: slower fails, and nothing in common fails", () => {
    const stream = scenarioNamed(sample, "stream");
    const slow = compareResults(sample, sampleResult(2));
    const xml = junitOf(sample, { comparison: slow, allowMissing: false });
    expect(xml.match(/classname="fakeai.baseline"/g)!.length).toBeGreaterThanOrEqual(slow.comparisons.length);
    const one = slow.comparisons.find(({ comparison }) => comparison.ratio !== null)!;
    const worse = { ...one, comparison: { ...one.comparison, verdict: "slower" as const } };
    const failing = junitOf(sample, {
      comparison: { ...slow, comparisons: [worse], regressions: [worse], missing: [], invalid: [] },
      allowMissing: false,
    });
    expect(failing).toMatch(/classname="fakeai.baseline" name="[^"]+"><failure type="bench" message="slower; /);
    const nothing = { comparisons: [], regressions: [], invalid: [], missing: [], notes: [] };
    expect(junitOf({ ...sample, scenarios: [stream] }, { comparison: nothing, allowMissing: true })).toMatch(
      /name="nothing in common"><failure/,
    );
  });

  test("is XML, whatever names are, and its counts are right", () => {
    const files = [junitOf(sample, alone), ...hostileTexts.map((text) => junitOf(hostile(text), alone))];
    // expat, which refuses what is no XML 1.0.
    const program = [
      "import json, sys, xml.etree.ElementTree as tree",
      "for text in json.load(sys.stdin):",
      "    root = tree.fromstring(text.encode())",
      "    for node in [root, *root.findall('testsuite')]:",
      "        cases = list(node.iter('testcase'))",
      "        assert int(node.get('tests')) == len(cases) > 0",
      "        for outcome, count in (('failure', 'failures'), ('skipped', 'skipped')):",
      "            assert int(node.get(count)) == sum(case.find(outcome) is not None for case in cases)",
    ].join("\n");
    const { status, stderr } = spawnSync("python3", ["-c", program], { input: JSON.stringify(files), encoding: "utf8" });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  });
});

describe("markdown and github", () => {
  test("of the sample", async () => {
    await expect(githubSummaryOf(small)).toMatchFileSnapshot("../golden/export-summary.txt");
  });

  test("the answer comes first, and the figures are folded only for GitHub", () => {
    const first = "## HTTP/2 against HTTP/1.1 on this machine: helps in 2, makes no difference in 1, hurts in 5, 4 undecided\n";
    expect(githubSummaryOf(sample).startsWith(first)).toBe(true);
    expect(markdownOf(sample).startsWith(first)).toBe(true);
    expect(markdownOf(sample)).not.toContain("<details>");
    expect(markdownOf(sample)).toContain("### stream: Paced token streams");
  });

  test("a sweep says what was found along each line, and how", () => {
    const swept = withSweep(sample);
    const found = githubSummaryOf(swept)
      .split("\n")
      .filter((line) => line.startsWith("Sweep: "));
    expect(found.length).toBe(swept.sweeps![0]!.series.length + 1);
    expect(found[0]).toMatch(/^Sweep: h1: knee .+/);
    expect(found.at(-1)).toMatch(/^Sweep: knee: the point of the largest power/);
  });

  test("one that GitHub would refuse keeps the answers", () => {
    const stream = scenarioNamed(sample, "stream");
    const long = { ...stream, notes: ["x".repeat(1_000_000)] };
    const text = githubSummaryOf({ ...sample, scenarios: [long] });
    expect(text.length).toBeLessThan(20_000);
    expect(text).toContain("too many for this page");
  });

  test.each(hostileTexts)("no name is markup or makes a row: %j", (text) => {
    const plain = githubSummaryOf(hostile("name")).split("\n");
    const bad = githubSummaryOf(hostile(text)).split("\n");
    expect(bad.length).toBe(plain.length);
    const columns = (line: string): number => line.replaceAll(/\\./g, "").split("|").length;
    expect(bad.map(columns)).toEqual(plain.map(columns));
    const unescaped = bad
      .join("\n")
      .replaceAll(/\\./g, "")
      .replaceAll(/<\/?(?:details|summary)>/g, "");
    expect(unescaped).not.toMatch(/[<`[\]]|@everyone/);
  });
});

describe("prometheus", () => {
  const sampleLine = /^([a-z_][a-z0-9_]*)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (-?[0-9.]+(?:e[+-]?\d+)?)$/;

  /** By the grammar of the text format: families in one piece, HELP and TYPE before samples, no sample twice. */
  function parse(text: string): Map<string, string[]> {
    const families = new Map<string, string[]>();
    let current = "";
    const seen = new Set<string>();
    for (const line of text.trimEnd().split("\n")) {
      const type = /^# TYPE (\S+) gauge$/.exec(line)?.[1];
      if (type !== undefined) {
        expect(families.has(type)).toBe(false);
        families.set((current = type), []);
        continue;
      }
      if (/^# HELP \S+ .+$/.test(line)) continue;
      const [, name, labels] = sampleLine.exec(line) ?? [];
      expect([line, name]).toEqual([line, current]);
      expect(seen.has(`${name!}{${labels ?? ""}}`)).toBe(false);
      seen.add(`${name!}{${labels ?? ""}}`);
      families.get(current)!.push(line);
    }
    return families;
  }

  test("of the sample", async () => {
    await expect(prometheusOf(small)).toMatchFileSnapshot("../golden/export.prom");
  });

  test("is the text format, whatever names are", () => {
    const families = parse(prometheusOf(few));
    expect(families.get("fakeai_bench_ttft_seconds")!.length).toBeGreaterThan(20);
    for (const text of hostileTexts) expect([...parse(prometheusOf(hostile(text))).keys()]).toEqual([...families.keys()]);
  });

  test("each metric has its unit in its name, in base units", () => {
    const words = { us: /_seconds(_|$)/, "1/s": /_per_second$/, bytes: /_bytes(_|$)/, count: /^fakeai_bench_[a-z_]+$/, ratio: /_ratio$/ };
    const names = (Object.keys(metricFacts) as MetricName[]).map((metric) => [metric, prometheusName(metric)] as const);
    for (const [metric, name] of names) expect(name).toMatch(words[metricFacts[metric].unit]);
    expect(new Set(names.map(([, name]) => name)).size).toBe(names.length);
    const { metrics } = armNamed(sample, "stream", "h2c");
    const line = prometheusOf(few)
      .split("\n")
      .find((one) => one.startsWith('fakeai_bench_ttft_seconds{scenario="stream",variant="",arm="h2c"') && one.includes('"p99"'))!;
    expect(Number(line.split(" ").at(-1))).toBeCloseTo(metrics.ttft!.p99 / 1e6, 9);
  });

  test("an arm that is not valid has no figures", () => {
    const lines = prometheusOf(few)
      .split("\n")
      .filter((line) => line.includes('scenario="trace",variant="",arm="h2c"'));
    expect(lines.filter((line) => line.startsWith("fakeai_bench_arm_valid"))).toEqual([expect.stringMatching(/ 0$/)]);
    expect(lines.filter((line) => line.includes("_seconds"))).toEqual([]);
  });

  const promtool = spawnSync("promtool", ["--version"]).status === 0;
  test.runIf(promtool || process.env["CI"] === "true")("promtool finds nothing wrong", () => {
    for (const text of ["name", ...hostileTexts]) {
      const { status, stderr } = spawnSync("promtool", ["check", "metrics"], { input: prometheusOf(hostile(text)), encoding: "utf8" });
      expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    }
  });
});
