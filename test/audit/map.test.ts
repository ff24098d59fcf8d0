/** `--map`: figures of any JSON, CSV or text; and what is wrong with a map, said in one line. */
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { readMap, readerOf } from "../../src/audit/map.ts";
import type { Output } from "../../src/audit/readers/reader.ts";
import { guides } from "../docs/markdown.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-map-"));
function map(text: string): ReturnType<typeof readMap> {
  const path = join(folder, "map.yaml");
  writeFileSync(path, text);
  return readMap(path);
}

const output = (stdout: string, files: Readonly<Record<string, string>> = {}): Output => ({
  stdout,
  stderr: "",
  files: Object.entries(files).map(([path, text]) => ({ path, text: () => text })),
});

const figures = (text: string, from: Output): [string, number][] =>
  readerOf(map(text))
    .read(from)!
    .figures.map(({ quantity, statistic, value }) => [`${quantity}.${statistic}`, Number(value.toFixed(6))]);

test("JSON: a path, a pointer, a unit, a list; a text that is a number; the last line of a log", () => {
  const text = "figures:\n  ttft.mean: { at: a.0.ttft, unit: s }\n  itl.p99: { at: /b/c~1d, unit: us }\n  completed: n\n";
  const json = JSON.stringify({ a: [{ ttft: 0.1 }], b: { "c/d": 20_000 }, n: "1,200" });
  const found = [
    ["ttft.mean", 100],
    ["itl.p99", 20],
    ["completed.total", 1200],
  ];
  expect(figures(text, output(json))).toEqual(found);
  expect(figures(text, output(`starting\n${json}\n`))).toEqual(found);
});

test("CSV: the statistic of a column, and a cell of a row; quotes and commas in cells", () => {
  const text =
    "file: out.csv\nfigures:\n  e2e.p50: { column: ms }\n  e2e.max: { column: ms }\n  ttft.mean: { column: ms, row: { name: 'first, token' } }\n";
  const csv = 'name,ms\r\n"first, token",10\r\n"say ""x""",30\r\nb,20\r\n';
  expect(figures(text, output("", { "/tmp/x/out.csv": csv }))).toEqual([
    ["e2e.p50", 20],
    ["e2e.max", 30],
    ["ttft.mean", 10],
  ]);
});

test("text: the first group of a pattern; a pattern cannot hold up the audit", () => {
  const text = `figures:\n  requestRate.mean: { pattern: 'Requests/sec: +([\\d.]+)' }\n  e2e.mean: { pattern: '(a+)+b' }\n  failed: { pattern: '^errors (\\d+)$' }\n`;
  expect(figures(text, output(`x\nRequests/sec:   9.71\n${"a".repeat(5000)}\nerrors 3\n`))).toEqual([
    ["requestRate.mean", 9.71],
    ["failed.total", 3],
  ]);
});

test("what is not there is not reported, and a file that was not written is no report", () => {
  expect(figures("figures:\n  ttft.mean: a\n  itl.mean: b\n", output('{"a":1,"b":null}'))).toEqual([["ttft.mean", 1]]);
  expect(readerOf(map("figures:\n  ttft.mean: a\n")).read(output("nothing"))).toBeNull();
  expect(readerOf(map("file: x.json\nfigures:\n  ttft.mean: a\n")).read(output('{"a":1}'))).toBeNull();
});

describe("a wrong map", () => {
  test.each([
    ["figures: {}", "figures: wants at least one"],
    ["figure:\n  a: b", "figure: there is no such member: did you mean figures?"],
    ["figures:\n  tttf.mean: a", 'figures.tttf.mean: no quantity is called "tttf"'],
    ["figures:\n  ttft.p42: a", 'no statistic is called "p42"'],
    ["figures:\n  ttft.mean: { at: a, column: b }", "wants one of at (JSON), column (CSV) and pattern (text)"],
    ["figures:\n  ttft.mean: { at: a, unit: weeks }", "unit is one of"],
    ["figures:\n  completed: { at: a, unit: s }", "only a time has a unit"],
    ["figures:\n  ttft.mean: { pattern: '[' }", "no pattern of RE2's syntax"],
    ["figures:\n  ttft.mean: { pattern: 'a' }", "needs a group"],
    ["figures:\n  ttft.mean: { at: a, row: { b: c } }", "row stands beside column"],
    ["figures: [", "map.yaml: "],
    ["", 'wants members "file" and "figures"'],
  ])("%j", (text, message) => {
    expect(() => map(text)).toThrow(message);
  });

  test("that is not there", () => {
    expect(() => readMap("/nowhere/map.yaml")).toThrow("--map: cannot read /nowhere/map.yaml (ENOENT)");
  });
});

test("the example of the docs is a map", () => {
  const example = guides.find(({ path }) => path === "docs/audit.md")!.blocks.find(({ language }) => language === "yaml")!;
  expect(map(example.text).places.length).toBeGreaterThan(4);
});
