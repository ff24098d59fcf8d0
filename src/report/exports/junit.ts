/**
 * A result as JUnit XML, in the form that Jenkins, GitLab and GitHub's reporters read: what a gate checks is a test case. What
 * was not checked is never one that passed.
 */
import type { BenchResult, Requirement } from "../../results/types.ts";
import type { ResultsComparison, RunComparison } from "../../results/runs.ts";
import { scenarioLabel } from "../../results/scenarios.ts";
import { effect, requiredValue, requirementOutcome, smallness } from "../format.ts";
import { escaped } from "../markup.ts";
import { reasonsText } from "../words.ts";

export interface JunitOptions {
  /** What the run was held against; null: nothing. */
  readonly comparison: ResultsComparison | null;
  /** What could not be checked is skipped, where it else fails. */
  readonly allowMissing: boolean;
}

interface TestCase {
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  /** Why it did not pass; what was measured, where it did. */
  readonly text: string;
}

interface Suite {
  readonly name: string;
  readonly cases: readonly TestCase[];
}

/** The run itself, its requirements and its baseline, a suite each. */
export function junitOf(result: BenchResult, { comparison, allowMissing }: JunitOptions): string {
  const run = runCase(result);
  const isUsable = run.outcome === "passed";
  const suites: Suite[] = [
    { name: "run", cases: [run] },
    { name: "requirements", cases: requirementCases(result, isUsable, allowMissing) },
    ...(comparison === null ? [] : [{ name: "baseline", cases: baselineCases(comparison, isUsable, allowMissing) }]),
  ];
  const all = suites.flatMap(({ cases }) => cases);
  const body = suites.map((suite) => suiteText(suite, result)).join("\n");
  return `<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="fakeai bench" ${countsText(all)}>\n${body}\n</testsuites>\n`;
}

function runCase({ complete, invalid, scenarios }: BenchResult): TestCase {
  const isMeasured = scenarios.some(({ skipped, arms }) => skipped === null && arms.some(({ rounds }) => rounds.length > 0));
  const reasons = [
    ...(complete ? [] : ["incomplete: it ended before all was measured"]),
    ...reasonsText(invalid),
    ...(isMeasured ? [] : ["nothing was measured"]),
  ];
  const name = "the run is complete and valid";
  return { name, outcome: reasons.length === 0 ? "passed" : "failed", text: reasons.join("; ") };
}

function requirementCases({ requirements }: BenchResult, isUsable: boolean, allowMissing: boolean): TestCase[] {
  if (requirements.length === 0) return [{ name: "no requirement", outcome: "skipped", text: "nothing was required (--require)" }];
  return requirements.map((requirement) => requirementCase(requirement, isUsable, allowMissing));
}

function requirementCase(requirement: Requirement, isUsable: boolean, allowMissing: boolean): TestCase {
  const { text: name, measured } = requirement;
  const readings = measured.map(({ scenario, arm, value }) => `${scenario}, ${arm}: ${requiredValue(name, value)}`);
  const text = readings.length === 0 ? "no arm has this metric" : readings.join("; ");
  const outcome = requirementOutcome(requirement);
  if (outcome === "violated") return { name, outcome: "failed", text: `violated: ${text}` };
  if (outcome === "not measured") return { name, outcome: allowMissing ? "skipped" : "failed", text: `not measured: ${text}` };
  // The figures of a run that is not valid may not be used.
  return isUsable ? { name, outcome: "passed", text } : { name, outcome: "skipped", text: `the run is not valid: ${text}` };
}

function baselineCases({ comparisons, invalid, missing }: ResultsComparison, isUsable: boolean, allowMissing: boolean): TestCase[] {
  const unusable = invalid.map((text): TestCase => ({ name: "the baseline can be used", outcome: "failed", text }));
  const cases = comparisons.map((one) => comparisonCase(one, isUsable && invalid.length === 0));
  const unchecked = missing.map((text): TestCase => ({
    name: text,
    outcome: allowMissing ? "skipped" : "failed",
    text: `not compared: ${text}`,
  }));
  const all = [...unusable, ...cases, ...unchecked];
  return all.length > 0 ? all : [{ name: "nothing in common", outcome: "failed", text: "nothing was compared with the baseline" }];
}

function comparisonCase({ scenario, variant, arm, comparison }: RunComparison, isUsable: boolean): TestCase {
  const { metric, statistic, verdict, reason } = comparison;
  const name = `${scenarioLabel({ id: scenario, variant })}, ${arm}: ${metric}.${statistic}`;
  const facts = [verdict, effect(comparison), smallness(comparison), reason ?? ""].filter((fact) => fact !== "").join("; ");
  if (verdict === "slower") return { name, outcome: "failed", text: facts };
  // A difference that was not found is no proof that there is none; the exit code passes it, and a test case says so.
  const isDecided = verdict === "faster" || verdict === "equivalent";
  return { name, outcome: isUsable && isDecided ? "passed" : "skipped", text: facts };
}

function countsText(cases: readonly TestCase[]): string {
  const count = (outcome: TestCase["outcome"]): number => cases.filter((one) => one.outcome === outcome).length;
  return `tests="${cases.length}" failures="${count("failed")}" errors="0" skipped="${count("skipped")}"`;
}

function suiteText({ name, cases }: Suite, { startedAt }: BenchResult): string {
  const lines = cases.map((one) => caseText(one, `fakeai.${name}`));
  return ` <testsuite name="${escaped(name)}" ${countsText(cases)} timestamp="${escaped(startedAt)}">\n${lines.join("\n")}\n </testsuite>`;
}

function caseText({ name, outcome, text }: TestCase, className: string): string {
  const shown = escaped(text.replaceAll("\u00A0", " "));
  const inside = {
    passed: shown === "" ? "" : `<system-out>${shown}</system-out>`,
    failed: `<failure type="bench" message="${shown}">${shown}</failure>`,
    skipped: `<skipped message="${shown}"/>`,
  }[outcome];
  return `  <testcase classname="${className}" name="${escaped(name)}">${inside}</testcase>`;
}
