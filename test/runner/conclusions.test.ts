/** Scenarios whose conclusion depends on what is varied: each condition is run, and is in the verdict. */
import { mkdtempSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { BenchResult } from "../../src/results/types.ts";
import { runCli } from "../support/process.ts";

test("header-bytes: HPACK saves what it has in its table, and nothing like it of other headers", async () => {
  const directory = mkdtempSync(join(tmpdir(), "fakeai-conclusions-"));
  const flags = ["--scenario", "header-bytes", "--suite", "full", "--rounds", "2", "--requests", "50", "--out", directory];
  const ended = await runCli(["bench", ...flags], {}).ended;
  const { scenarios } = JSON.parse(readFileSync(join(directory, "result.json"), "utf8")) as BenchResult;
  const claims = scenarios.flatMap(({ variant, claims: own }) => own.map((claim) => ({ variant, ...claim })));
  const saved = Object.fromEntries(claims.map(({ variant, measured }) => [variant, Math.round(measured!.estimate * 100)]));
  expect(saved).toEqual({
    "requests with 2 KB of headers": 97,
    "requests with 5 KB of headers": 26,
    "requests with 8 KB of headers": 26,
    "requests with 5 KB of headers, larger table": 98,
    "first requests with 2 KB of headers": 23,
    "requests with 2 KB of headers, another each time": 27,
  });
  expect(claims.map(({ verdict }) => verdict)).toEqual(["reproduced", "refuted", "refuted", "reproduced", "refuted", "refuted"]);
  const said = ended.stdout.replaceAll(/\s+/g, " ");
  expect(said).toMatch(/measured \+97\.\d% .{20,80}tested with a GET without a body; the same 2 KB in each request, within HPACK's table/);
  expect(said).toContain("more than HPACK's table of 4,096 bytes holds");
}, 120_000);
