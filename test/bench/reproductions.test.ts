/** The table of the requests that once held up others, from figures that are made up. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { reproductionsFile, reproductionsSection } from "../../bench/support/reproductions.ts";

test("a request that holds up others for ever stands in the table as one that does", () => {
  const folder = mkdtempSync(join(tmpdir(), "fakeai-reproductions-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const row = { name: "allOf of two references, 60 levels", bodyBytes: 4016, status: null, message: "", answerBytes: 0 };
  const times = { healthMs: Infinity, delayMs: Infinity, rssBytes: 2e6, faults: ["no answer"] };
  const environment = { cores: 2, cpu: "a processor", node: "20", loadAverage: null };
  const taken = { engine: "h1-uws", startedAt: "2026-11-30T17:00:00Z", environment, tries: 1, rows: [{ ...row, ...times }] };
  writeFileSync(join(folder, reproductionsFile), JSON.stringify([taken]));
  expect(reproductionsSection(folder)).toMatch(/\| none: ; \*\*no answer\*\* \| for ever \| Infinity \| Infinity \| 2\.0 \|/);
});
