/** A result on a terminal: verdicts first, then claims, then every scenario's arms. */
import { printable } from "../base/printable.ts";
import type { ArmResult, BenchResult, ClaimVerdict, Comparison, ScenarioResult, Verdict } from "../results/types.ts";
import {
  armColumns,
  behindLines,
  calibrationLines,
  digits,
  effect,
  gain,
  invalidReasons,
  isDescribed,
  metricLabel,
  probability,
  requiredValue,
  requirementOutcome,
  shardsText,
  smallness,
} from "./format.ts";
import { causesOf } from "./causes.ts";
import { claimConditions, conditionsOf } from "./conditions.ts";
import { scenarioLabel } from "../results/scenarios.ts";
import type { SweepResult } from "../results/sweep.ts";
import { partsTables } from "./parts.ts";
import { isPoint, type SweepLine, sweepTable } from "./sweeps.ts";

/** How to print. The caller knows whether it is a terminal, and NO_COLOR. */
export interface TableOptions {
  readonly color: boolean;
  /** Columns of the terminal; lines are broken to fit. */
  readonly width: number;
}

export type Paint = "red" | "green" | "yellow" | "dim" | "bold";

export const codes: Readonly<Record<Paint, number>> = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 };

const paints: Readonly<Record<Verdict | ClaimVerdict, Paint>> = {
  faster: "green",
  slower: "red",
  equivalent: "bold",
  inconclusive: "yellow",
  described: "dim",
  "not compared": "dim",
  reproduced: "green",
  refuted: "red",
};

class Page {
  readonly #lines: string[] = [];
  readonly #options: TableOptions;

  constructor(options: TableOptions) {
    this.#options = options;
  }

  paint(text: string, paint: Paint): string {
    return this.#options.color ? `\u001B[${codes[paint]}m${text}\u001B[0m` : text;
  }

  heading(text: string): void {
    if (this.#lines.length > 0) this.#lines.push("");
    this.text(text, 0, 2, "bold");
  }

  /** A paragraph, broken between words; all but its first line are indented by `hang` more. */
  text(text: string, indent = 2, hang = 0, paint?: Paint): void {
    const lines: string[] = [];
    let line = "";
    const room = (): number => Math.max(20, this.#options.width - indent - (lines.length > 0 ? hang : 0));
    for (const word of printable(text).split(" ")) {
      if (line !== "" && line.length + 1 + word.length > room()) {
        lines.push(line);
        line = word;
      } else line = line === "" ? word : `${line} ${word}`;
    }
    lines.push(line);
    for (const [index, one] of lines.entries()) {
      const margin = " ".repeat(indent + (index > 0 ? hang : 0));
      this.#lines.push(`${margin}${paint === undefined ? one : this.paint(one, paint)}`.trimEnd());
    }
  }

  /** A line that begins with a verdict. */
  verdict(verdict: Verdict | ClaimVerdict, text: string): void {
    const label = verdict.padEnd(12);
    const at = this.#lines.length;
    this.text(`${label} ${text}`, 2, 13);
    const first = this.#lines[at];
    if (first !== undefined) this.#lines[at] = first.replace(verdict, this.paint(verdict, paints[verdict]));
  }

  /** A table; where it is too wide, its columns go into several blocks, each with the first column. */
  table(header: readonly string[], rows: readonly (readonly string[])[]): void {
    const cells = [header, ...rows].map((row) => row.map(printable));
    const widths = header.map((_, column) => Math.max(...cells.map((row) => (row[column] ?? "").length)));
    const gap = 2;
    let column = 1;
    while (column < header.length) {
      const from = column;
      let width = 2 + (widths[0] ?? 0);
      do width += gap + (widths[column++] ?? 0);
      while (column < header.length && width + gap + (widths[column] ?? 0) <= this.#options.width);
      for (const [index, row] of cells.entries()) {
        const numbers = row.slice(from, column).map((cell, offset) => cell.padStart(widths[from + offset] ?? 0));
        const line = `  ${[(row[0] ?? "").padEnd(widths[0] ?? 0), ...numbers].join(" ".repeat(gap))}`.trimEnd();
        this.#lines.push(index === 0 ? this.paint(line, "dim") : line);
      }
    }
  }

  toString(): string {
    return `${this.#lines.join("\n").replaceAll("\u00A0", " ")}\n`;
  }
}

function verdictText(scenario: ScenarioResult, comparison: Comparison): string {
  const { baseline, candidate, p, rounds, reason } = comparison;
  const found = effect(comparison);
  const facts = [
    ...causesOf(scenario, comparison),
    ...conditionsOf(scenario, comparison),
    found === "" ? "" : [probability(p), `${rounds}\u00A0rounds`].filter((fact) => fact !== "").join(", "),
    smallness(comparison),
    reason ?? "",
  ];
  const what = `${scenarioLabel(scenario)}: ${candidate} against ${baseline}, ${metricLabel(comparison)}${found === "" ? "" : ` ${found}`}`;
  return `${what}; ${facts.filter((fact) => fact !== "").join("; ")}`;
}

function verdicts(page: Page, title: string, scenarios: readonly ScenarioResult[], shown: (comparison: Comparison) => boolean): void {
  const all = scenarios.flatMap((scenario) => scenario.comparisons.filter(shown).map((comparison) => ({ scenario, comparison })));
  if (all.length === 0) return;
  page.heading(title);
  for (const { scenario, comparison } of all) page.verdict(comparison.verdict, verdictText(scenario, comparison));
}

function claims(page: Page, scenarios: readonly ScenarioResult[]): void {
  const all = scenarios.flatMap((scenario) => scenario.claims.map((claim) => ({ scenario, claim })));
  if (all.length === 0) return;
  page.heading("Claims");
  for (const { scenario, claim } of all) {
    const measured = gain(claim);
    const facts = [
      `claimed at least ${digits(claim.gain * 100)}%`,
      measured === "" ? "" : `measured ${measured}`,
      claim.comparison === null
        ? ""
        : `${claim.comparison.candidate} against ${claim.comparison.baseline}, ${metricLabel(claim.comparison)}`,
      ...(claim.comparison === null ? [] : causesOf(scenario, claim.comparison)),
      ...claimConditions(scenario, claim),
      claim.reason ?? "",
    ];
    page.verdict(
      claim.verdict,
      `${scenarioLabel(scenario)}: "${claim.text}" (${claim.source}); ${facts.filter((fact) => fact !== "").join("; ")}`,
    );
  }
}

function findings(page: Page, scenarios: readonly ScenarioResult[]): void {
  const all = scenarios.flatMap((scenario) => (scenario.findings ?? []).map((text) => `${scenarioLabel(scenario)}: ${text}`));
  if (all.length === 0) return;
  page.heading("Findings: a gateway that changes the work (no fault of the run)");
  for (const text of all) page.text(text, 2, 2, "yellow");
}

/** "h1 node", and what else tells the arm from others. */
function armLabel({ id, engine, driver }: ArmResult, arms: readonly ArmResult[]): string {
  const several = new Set(arms.map((arm) => arm.driver)).size > 1;
  return `${id} ${engine}${several && !id.includes(driver) ? ` ${driver}` : ""}`;
}

function scenarioBlock(page: Page, scenario: ScenarioResult): void {
  page.heading(`${scenarioLabel(scenario)}: ${scenario.title}`);
  if (scenario.skipped !== null) {
    page.text(`not run: ${scenario.skipped}`, 2, 0, "yellow");
    return;
  }
  const { arms } = scenario;
  const columns = armColumns(arms, scenario.workload["clientWork"] === true);
  page.table(
    ["arm", ...columns.map(({ title }) => title)],
    arms.map((arm) => [armLabel(arm, arms), ...columns.map(({ cell }) => cell(arm))]),
  );
  for (const { title, header, rows } of arms.flatMap(partsTables)) {
    page.text(title, 2, 2, "bold");
    page.table(header, rows);
  }
  for (const arm of arms) for (const reason of invalidReasons(arm)) page.text(`${arm.id} not valid: ${reason}`, 2, 2, "red");
  for (const arm of arms) for (const line of behindLines(arm)) page.text(line, 2, 2, "yellow");
  for (const note of scenario.notes) page.text(note, 2, 0, "dim");
}

const sweepPaints: Readonly<Record<SweepLine["kind"], Paint>> = { finding: "bold", invalid: "red", behind: "yellow", note: "dim" };

function sweepBlock(page: Page, sweep: SweepResult, scenarios: readonly ScenarioResult[]): void {
  const { title, header, rows, lines } = sweepTable(sweep, scenarios);
  page.heading(title);
  // A table that is too wide repeats its first column.
  const first = sweep.axes.length + 1;
  const joined = (row: readonly string[], between: string): string[] => [row.slice(0, first).join(between), ...row.slice(first)];
  if (rows.length > 0)
    page.table(
      joined(header, ", "),
      rows.map((row) => joined(row, ", ")),
    );
  for (const { text, kind } of lines) page.text(text, 2, 2, sweepPaints[kind]);
}

function requirements(page: Page, { requirements: list }: BenchResult): void {
  if (list.length === 0) return;
  page.heading("Requirements");
  for (const requirement of list) {
    const { text, measured } = requirement;
    const outcome = requirementOutcome(requirement);
    const shown = measured.map(({ scenario, arm, value }) => `${scenario}/${arm} ${requiredValue(text, value)}`);
    page.text(
      `${outcome.padEnd(12)} ${text}: ${shown.length === 0 ? "no such arm was run" : shown.join(", ")}`,
      2,
      13,
      outcome === "met" ? "green" : outcome === "violated" ? "red" : "yellow",
    );
  }
}

/** The whole report for a terminal, ending in a newline. */
export function renderTable(result: BenchResult, options: TableOptions): string {
  const page = new Page(options);
  const { scenarios, environment, calibration } = result;
  if (!result.complete) page.text("Not complete: this is what was measured until it ended.", 0, 0, "yellow");
  for (const reason of result.invalid) page.text(`Not valid: ${reason}`, 0, 2, "red");
  const title = "Verdicts (95% intervals over rounds, p by Holm over the suite; faster means better)";
  verdicts(page, title, scenarios, (one) => one.kind === "protocol" && !one.described);
  verdicts(page, "Engine effects (no statement about a protocol)", scenarios, (one) => one.kind === "engine" && !one.described);
  verdicts(page, "Clients, each against the first on its protocol", scenarios, (one) => one.kind === "client" && !one.described);
  claims(page, scenarios);
  verdicts(page, "Described (each interval as if it were the only one: no verdict)", scenarios, isDescribed);
  findings(page, scenarios);
  requirements(page, result);
  const { sweeps = [] } = result;
  for (const sweep of sweeps) sweepBlock(page, sweep, scenarios);
  for (const scenario of scenarios) if (!isPoint(scenario, sweeps)) scenarioBlock(page, scenario);
  if (calibration !== null) {
    page.heading("Calibration");
    for (const line of calibrationLines(calibration)) page.text(line, 2, 2);
  }
  page.heading("Environment");
  const { cpu, cores, os, kernel, node, fakeai, pinned, tools, target, loadAverage } = environment;
  const found = Object.entries(tools).map(([name, version]) => `${name} ${version ?? "missing"}`);
  page.text(`${cpu}, ${cores} cores ${pinned ? "(pinned)" : "(not pinned)"}, load ${loadAverage.map(digits).join(" ")}; ${os}, ${kernel}`);
  page.text(`fakeai ${fakeai}, Node ${node}${found.length === 0 ? "" : `, ${found.join(", ")}`}; target ${target}`, 2, 0);
  if (result.shards !== undefined) page.text(shardsText(result.shards));
  else if (result.environments !== undefined) page.text(`merged from ${result.environments.length} runs`);
  return page.toString();
}
