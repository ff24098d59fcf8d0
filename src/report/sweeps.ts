/** A sweep as rows and sentences: one row for each point and arm, then what the points say together. */
import { type SweepAxis, sweepAxisFacts, type SweepPoint, type SweepResult, type SweepSeries } from "../results/sweep.ts";
import { scenarioLabel } from "../results/scenarios.ts";
import type { ArmResult, ScenarioResult } from "../results/types.ts";
import { armColumns, behindLines, invalidReasons } from "./format.ts";

/** One line of text, and how much it matters. */
export interface SweepLine {
  readonly text: string;
  readonly kind: "finding" | "invalid" | "behind" | "note";
}

/** A sweep to be shown. */
export interface SweepTable {
  readonly title: string;
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly lines: readonly SweepLine[];
}

/** Whether a scenario is shown among the points of a sweep. */
export function isPoint(scenario: ScenarioResult, sweeps: readonly SweepResult[] = []): boolean {
  return sweeps.some((sweep) => sweep.scenario === scenario.id && sweep.points.some(({ variant }) => variant === scenario.variant));
}

/** The rows and sentences of a sweep. */
export function sweepTable(sweep: SweepResult, scenarios: readonly ScenarioResult[]): SweepTable {
  const points = sweep.points.map((point) => ({
    point,
    scenario: scenarios.find(({ id, variant }) => id === sweep.scenario && variant === point.variant),
  }));
  const all = points.flatMap(({ scenario }) => scenario?.arms ?? []);
  // Whole columns of what the axes say already would only take room.
  const columns = armColumns(all).filter(({ title }) => title !== "opened");
  const rows: string[][] = [];
  for (const { point, scenario } of points) {
    const place = placeCells(point, sweep.axes);
    for (const arm of scenario?.arms ?? [])
      rows.push(
        place.concat(
          arm.id,
          columns.map(({ cell }) => cell(arm)),
        ),
      );
  }
  const title = scenarios.find(({ id }) => id === sweep.scenario)?.title ?? "";
  return {
    title: `${scenarioLabel({ id: sweep.scenario, variant: sweep.variant })}: ${title}, by ${sweep.axes.map(({ label }) => label).join(" and ")}`,
    header: [...sweep.axes.map(({ label }) => label), "arm", ...columns.map((column) => column.title)],
    rows,
    lines: [
      ...findingLines(sweep).map((text): SweepLine => ({ text, kind: "finding" })),
      ...points.flatMap(({ point, scenario }) => pointLines(point, scenario)),
      ...noteLines(points.flatMap(({ scenario }) => scenario ?? [])),
    ],
  };
}

function placeCells({ at, load }: SweepPoint, axes: readonly SweepAxis[]): string[] {
  return axes.map(({ name }) => at[name] ?? (load === "throughput" ? "all it takes" : "one at a time"));
}

/** What is found along each line, how a knee is found, and how the sweep ended. */
export function findingLines(sweep: SweepResult): string[] {
  const lines = seriesTexts(sweep);
  return [
    ...lines,
    ...(sweep.kneeMethod === null || lines.length === 0 ? [] : [`knee: ${sweep.kneeMethod}`]),
    ...(sweep.stopped === null ? [] : [sweep.stopped]),
  ];
}

/** "h2c: knee at 80/s; rate served up to 100/s: ...; ttft.p95<200ms kept up to 80/s: ...", for each line of a chart. */
export function seriesTexts(sweep: SweepResult): string[] {
  return sweep.series.flatMap((series) => {
    const found = [
      series.knee === null ? "" : `knee ${series.knee.text}`,
      series.keepsUp === null ? "" : `rate served ${series.keepsUp.text}`,
      series.keepsSlo === null ? "" : `${sweep.slo} kept ${series.keepsSlo.text}`,
    ].filter((text) => text !== "");
    return found.length === 0 ? [] : [`${seriesLabel(series)}: ${found.join("; ")}`];
  });
}

/** "h2c, RTT 20". */
export function seriesLabel({ arm, at }: SweepSeries): string {
  const held = Object.entries(at).map(([name, text]) => `${sweepAxisFacts[name as SweepAxis["name"]].label} ${text}`);
  return [arm, ...held].join(", ");
}

function pointLines(point: SweepPoint, scenario: ScenarioResult | undefined): SweepLine[] {
  if (scenario === undefined) return [];
  const label = point.variant;
  if (scenario.skipped !== null) return [{ text: `${label} not run: ${scenario.skipped}`, kind: "invalid" }];
  const of = (arms: readonly ArmResult[], lines: (arm: ArmResult) => readonly string[], kind: SweepLine["kind"]): SweepLine[] =>
    arms.flatMap((arm) => lines(arm).map((text) => ({ text: `${label}, ${text}`, kind })));
  return [
    ...of(scenario.arms, (arm) => invalidReasons(arm).map((reason) => `${arm.id} not valid: ${reason}`), "invalid"),
    ...of(scenario.arms, behindLines, "behind"),
  ];
}

/** Notes, those of several points once. */
function noteLines(scenarios: readonly ScenarioResult[]): SweepLine[] {
  const points = new Map<string, string[]>();
  for (const { variant, notes } of scenarios) for (const note of notes) points.set(note, [...(points.get(note) ?? []), variant]);
  return [...points].map(([note, [first, ...more]]) => ({ text: more.length > 0 ? note : `${first}: ${note}`, kind: "note" }));
}
