/** `--export` on the command line: what is printed, what is written, and GitHub's summary of a step. */
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
import { writeExports } from "../../src/cli/exports.ts";
import { exportFiles, exportText } from "../../src/report/exports/export.ts";
import { exportFormats } from "../../src/results/exports.ts";
import { runCli } from "../support/process.ts";
import { sampleResult } from "../support/sample-result.ts";

const sample = sampleResult(1, 2);
const alone = { comparison: null, allowMissing: false };
const folder = mkdtempSync(join(tmpdir(), "fakeai-exports-"));
const file = join(folder, "result.json");
writeFileSync(file, JSON.stringify(sample));

afterEach(() => vi.unstubAllEnvs());

test.each(exportFormats)("report prints %s, and nothing else", async (format) => {
  const { code, stdout, stderr } = await runCli(["report", file, "--export", format], { env: { GITHUB_STEP_SUMMARY: "" } }).ended;
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toBe(exportText(format, sample, alone));
});

test.each([
  [["--export", "cvs"], /^fakeai: --export: "cvs" is not one of csv, .*: did you mean csv\?\n$/],
  [["--export", "csv", "--out", "page.html"], /^fakeai: --export prints the result for a program .*: leave out --out\n$/],
  [["--vllm", "stream/h1", "--svg", "x", "--full"], /^fakeai: --vllm prints the result .*: leave out --svg and --full\n$/],
  [["--vllm", "stream/h1", "--export", "csv"], /^fakeai: --export prints the result .*: leave out --vllm\n$/],
] as const)("report refuses %j", async (args, words) => {
  const { code, stdout, stderr } = await runCli(["report", file, ...args]).ended;
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toMatch(words);
});

test("bench refuses a form that there is not before it measures", async () => {
  const { code, stderr } = await runCli(["bench", "--export", "csv,xlsx"]).ended;
  expect([code, stderr]).toEqual([2, expect.stringContaining('--export: "xlsx" is not one of')]);
});

describe("files beside a result", () => {
  test("are one for each form, whole", async () => {
    vi.stubEnv("GITHUB_STEP_SUMMARY", "");
    const place = mkdtempSync(join(folder, "all-"));
    expect(await writeExports(place, exportFormats, sample, alone)).toEqual([]);
    expect(readdirSync(place).sort()).toEqual(Object.values(exportFiles).sort());
    for (const format of exportFormats)
      expect(readFileSync(join(place, exportFiles[format]), "utf8")).toBe(exportText(format, sample, alone));
  });

  test("the summary of a step is added to what others wrote", async () => {
    const summary = join(folder, "summary");
    writeFileSync(summary, "before\n");
    vi.stubEnv("GITHUB_STEP_SUMMARY", summary);
    expect(await writeExports(mkdtempSync(join(folder, "step-")), ["github", "csv"], sample, alone)).toEqual([]);
    expect(readFileSync(summary, "utf8")).toBe(`before\n${exportText("github", sample, alone)}`);
  });

  test("what cannot be written is told of, and the others are written", async () => {
    vi.stubEnv("GITHUB_STEP_SUMMARY", join(folder, "missing", "summary"));
    const place = mkdtempSync(join(folder, "fault-"));
    expect(await writeExports(join(place, "none"), ["csv"], sample, alone)).toEqual([
      expect.stringMatching(/^--export csv: cannot write .*ENOENT/),
    ]);
    expect(await writeExports(place, ["github", "junit"], sample, alone)).toEqual([
      expect.stringMatching(/^--export github: cannot write GITHUB_STEP_SUMMARY, .*ENOENT/),
    ]);
    expect(readdirSync(place).sort()).toEqual(["junit.xml", "summary.md"]);
  });
});
