/** A result as Markdown: every figure as tables, or the summary of a step of GitHub Actions. */
import { printable } from "../../base/printable.ts";
import { answersOf, verdictOrder, withVerdict } from "../../results/answers.ts";
import { scenarioLabel } from "../../results/scenarios.ts";
import type { BenchResult, Comparison, ScenarioResult } from "../../results/types.ts";
import { armColumns, effect, metricLabel, probability, requiredValue, requirementOutcome } from "../format.ts";
import { findingLines } from "../sweeps.ts";
import {
  beliefTexts,
  claimsText,
  contestTitle,
  effectText,
  headline,
  questionText,
  reasonsText,
  valuesText,
  valueText,
  workTexts,
} from "../words.ts";

/** Bytes that GitHub takes for the summary of a step: 1 MiB. Above this the figures are left out. */
const mostSummaryBytes = 900_000;

/** Text of which nothing is markup: no table cell, link, emphasis, HTML or mention of a person. */
function plain(text: string): string {
  return printable(text)
    .replaceAll("\u00A0", " ")
    .replace(/[\\`*_{}[\]<>|~#]/gu, "\\$&")
    .replaceAll("&", "&amp;")
    .replaceAll("@", "&#64;")
    .replaceAll("://", "\\://")
    .trim();
}

/** Empty where it has no row. Cells are escaped here. */
function table(columns: readonly string[], rows: readonly (readonly string[])[]): string[] {
  if (rows.length === 0) return [];
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [line(columns.map(plain)), line(columns.map(() => "---")), ...rows.map((row) => line(row.map(plain))), ""];
}

function comparisonRow(one: Comparison): string[] {
  const { baseline, candidate, verdict, rounds, p, reason } = one;
  return [metricLabel(one), `${candidate} against ${baseline}`, verdict, effect(one), probability(p), String(rounds), reason ?? ""];
}

function scenarioText(scenario: ScenarioResult): string[] {
  const { title, arms, comparisons, skipped, notes } = scenario;
  const columns = armColumns(arms);
  const reasons = arms.flatMap(({ id, invalid }) => invalid.map((reason) => `Not valid: ${id}: ${reason}`));
  return [
    `### ${plain(scenarioLabel(scenario))}: ${plain(title)}`,
    "",
    ...(skipped === null ? [] : [`Not run: ${plain(skipped)}`, ""]),
    ...reasons.flatMap((reason) => [plain(reason), ""]),
    ...table(
      ["arm", ...columns.map((column) => column.title)],
      arms.map((arm) => [arm.id].concat(columns.map(({ cell }) => cell(arm)))),
    ),
    ...table(["metric", "arms", "verdict", "effect with 95% interval", "p adjusted", "rounds", "why"], comparisons.map(comparisonRow)),
    ...notes.flatMap((note) => [plain(note), ""]),
  ];
}

function figures({ scenarios }: BenchResult): string[] {
  return scenarios.flatMap(scenarioText);
}

/** Each contest's answers, in the order of a terminal. */
function answerTables(result: BenchResult): string[] {
  const { contests, notRun } = answersOf(result);
  return [
    ...contests.flatMap((contest) => {
      const ordered = verdictOrder.flatMap((verdict) => withVerdict(contest.answers, verdict));
      const rows = ordered.map((answer) => {
        const { reading, why, values, verdict, besides } = answer;
        const measured = values.map(({ metric, statistic, value }) => valueText(metric, statistic, value)).join(", ");
        const shown = reading === null ? measured : valuesText(reading);
        const others = besides.map((one) => `but ${valuesText(one)}: ${effectText(one.comparison)}`);
        const told = [reading === null ? "" : effectText(reading.comparison), ...others, why ?? ""].filter((text) => text !== "");
        return [verdict, questionText(answer), shown, told.join("; ")];
      });
      return table(["answer", contestTitle(contest), "values", "effect with 95% interval"], rows);
    }),
    ...table(
      ["not run", "why"],
      notRun.map(({ question, reason }) => [question, reason]),
    ),
  ];
}

function requirementTable({ requirements }: BenchResult): string[] {
  const rows = requirements.map((one) => {
    const measured = one.measured.map(({ scenario, arm, value }) => `${scenario}, ${arm}: ${requiredValue(one.text, value)}`);
    return [requirementOutcome(one), one.text, measured.join("; ")];
  });
  return table(["outcome", "required", "measured"], rows);
}

function head(result: BenchResult): string[] {
  const { complete, invalid, scenarios } = result;
  const answers = answersOf(result);
  const claims = claimsText(scenarios);
  return [
    `## ${plain(headline(answers))}`,
    "",
    ...answers.caveats.flatMap((text) => [plain(text), ""]),
    ...(complete ? [] : ["**Not complete: this is what was measured until it ended.**", ""]),
    ...reasonsText(invalid).flatMap((text) => [`**${plain(text)}**`, ""]),
    ...answerTables(result),
    ...requirementTable(result),
    ...(claims === "" ? [] : [`Claims: ${plain(claims)}`, ""]),
    ...(result.sweeps ?? []).flatMap(findingLines).flatMap((text) => [`Sweep: ${plain(text)}`, ""]),
    ...workTexts(scenarios).flatMap((text) => [`Note: ${plain(text)}`, ""]),
    `Believe it? ${plain(beliefTexts(answers.belief, answers.target).join(", "))}`,
    "",
  ];
}

/** The answers, then every arm and comparison in tables. */
export function markdownOf(result: BenchResult): string {
  return [...head(result), ...figures(result)].join("\n");
}

/** The same with the figures folded, and without them where GitHub would refuse the whole for its size. */
export function githubSummaryOf(result: BenchResult): string {
  const answers = head(result);
  const all = [...answers, "<details><summary>All figures</summary>", "", ...figures(result), "</details>", ""].join("\n");
  if (Buffer.byteLength(all) <= mostSummaryBytes) return all;
  return [...answers, "All figures are in report.html: too many for this page.", ""].join("\n");
}
