/** The last thing on the screen: the answers, whether to believe them, and where everything else is. */
import { printable } from "../base/printable.ts";
import { type Answer, answersOf, type AnswerVerdict, type Contest, verdictOrder, withVerdict } from "../results/answers.ts";
import type { BenchResult } from "../results/types.ts";
import { requiredValue, requirementOutcome } from "./format.ts";
import { seriesTexts } from "./sweeps.ts";
import { codes, type Paint, type TableOptions } from "./table.ts";
import {
  beliefTexts,
  claimsText,
  contestTitle,
  countsText,
  effectText,
  fromPlanned,
  hasPlannedStart,
  headline,
  outcomeText,
  restText,
  questionText,
  reasonsText,
  valuesText,
  valueText,
  workTexts,
} from "./words.ts";

/** Lines that a screen has room for, with the two that say where files are. */
export const endingLines = 25;

/** Lines of `placesText`. */
const placesLines = 2;

const paints: Readonly<Record<AnswerVerdict, Paint>> = {
  helps: "green",
  mixed: "yellow",
  "no change": "bold",
  hurts: "red",
  undecided: "yellow",
  measured: "bold",
};

/** Requirements that are shown; the rest is a number. */
const mostReasons = 3;

/** Arms of sweeps whose findings are shown; the rest is a number. */
const mostSeries = 3;
/** Lines for the findings of all of them. */
const mostSweepLines = 10;

const verdictWidth = 9;
const labelWidth = 12;

/**
 * The answers in at most 23 lines of the given width; the caller adds `placesText`. `beside` are further lines, each a label and
 * a text. Ends in a newline.
 */
export function renderEnding(
  result: BenchResult,
  options: TableOptions,
  beside: readonly (readonly [label: string, text: string])[] = [],
): string {
  const { width } = options;
  const answers = answersOf(result);
  const head = [
    ...(result.complete
      ? []
      : wrapped("Not complete: this is what was measured until it ended.", width).map((line) => paint(line, "yellow", options))),
    ...reasonsText(result.invalid).flatMap((text) => clipped(wrapped(text, width, 2), 2).map((line) => paint(line, "red", options))),
    ...wrapped(headline(answers), width).map((line) => paint(line, "bold", options)),
    ...answers.caveats.flatMap((text) => wrapped(text, width, 2)).map((line) => paint(line, "yellow", options)),
  ];
  const tail = [
    ...requirementTexts(result).flatMap(([outcome, text]) =>
      labelled("Required", text, width).map((line) => (outcome === "met" ? line : paint(line, "red", options))),
    ),
    ...labelled("Claims", claimsText(result.scenarios), width),
    ...sweepLines(result, width),
    ...beside.flatMap(([label, text]) => labelled(label, text, width)),
    ...workLines(result, width),
    ...labelled("Not run", notRunText(answers.notRun), width),
    ...labelled("Believe it?", beliefTexts(answers.belief, answers.target).join(", "), width),
  ];
  const room = Math.max(1, endingLines - placesLines - head.length - tail.length);
  return `${[...head, ...body(answers.contests, room, options), ...tail].slice(0, endingLines - placesLines).join("\n")}\n`;
}

/** Where the page is (null: there is none), and how to see every figure. `directory` is that of the result. Paths are never broken. */
export function placesText(report: string | null, directory: string): string {
  const label = (text: string): string => text.padEnd(labelWidth);
  const page = report === null ? "" : `${label("Report")} ${printable(report)}\n`;
  return `${page}${label("All figures")} fakeai report ${printable(directory)} --full\n`;
}

function paint(text: string, name: Paint, { color }: TableOptions): string {
  return color ? `\u001B[${codes[name]}m${text}\u001B[0m` : text;
}

/** What was required: what is not met in a line each, and the rest counted. */
function requirementTexts({ requirements }: BenchResult): [outcome: string, text: string][] {
  if (requirements.length === 0) return [];
  const open = requirements.filter((one) => requirementOutcome(one) !== "met");
  const met = requirements.length - open.length;
  const worst = open.slice(0, mostReasons).map((one): [string, string] => {
    const values = one.measured.map(({ scenario, arm, value }) => `${scenario}/${arm} ${requiredValue(one.text, value)}`);
    return [
      requirementOutcome(one),
      `${requirementOutcome(one)}: ${one.text}${values.length === 0 ? "" : ` (${values.slice(0, 2).join(", ")})`}`,
    ];
  });
  const more = open.length - worst.length;
  return [
    ...worst,
    ...(more > 0 ? [["violated", `and ${more} more not met`] as [string, string]] : []),
    ...(met > 0 ? [["met", `${met} met`] as [string, string]] : []),
  ];
}

function notRunText(notRun: readonly { readonly question: string; readonly reason: string }[]): string {
  const [first] = notRun;
  if (first === undefined) return "";
  return notRun.length === 1
    ? `${first.question}: ${first.reason}`
    : `${notRun.length} questions, such as ${first.question}: ${first.reason}`;
}

/** Notes on the work that are shown; the rest is a number. */
const mostNotes = 2;

function workLines({ scenarios }: BenchResult, width: number): string[] {
  return counted(workTexts(scenarios), mostNotes).flatMap((text) => labelled("Note", text, width));
}

/** What a sweep was run for: few arms have all of their findings, many are cut short. */
function sweepLines({ sweeps = [] }: BenchResult, width: number): string[] {
  const texts = counted(sweeps.flatMap(seriesTexts), mostSeries);
  return texts.flatMap((text) => labelled("Sweep", text, width, Math.floor(mostSweepLines / Math.min(texts.length, mostSeries))));
}

/** The first so many, and how many others there are. */
function counted(texts: readonly string[], most: number): string[] {
  const more = texts.length - most;
  return more > 0 ? [...texts.slice(0, most), `and ${more} more`] : [...texts];
}

/** A label with a text beside it, in so many lines at most; none where there is no text. */
function labelled(label: string, text: string, width: number, most: number = 3): string[] {
  if (text === "") return [];
  if (width < 60) return clipped(wrapped(`${label.replace("?", "")}: ${text}`, width, 2), most);
  const lines = clipped(wrapped(text, width - labelWidth - 1), most);
  return lines.map((line, index) => `${(index === 0 ? label : "").padEnd(labelWidth + 1)}${line}`);
}

/** Broken between words, and within a word that is longer than a line; all lines but the first are indented by `hang`. */
function wrapped(text: string, width: number, hang: number = 0): string[] {
  const lines: string[] = [];
  let line = "";
  const room = (): number => Math.max(8, width - (lines.length > 0 ? hang : 0));
  const push = (): void => {
    lines.push(`${lines.length > 0 ? " ".repeat(hang) : ""}${line}`.trimEnd());
    line = "";
  };
  for (const word of printable(text).replaceAll("\u00A0", " ").split(" ")) {
    let rest = word;
    if (line !== "" && line.length + 1 + rest.length > room()) push();
    while (rest.length > room()) {
      line = rest.slice(0, room());
      rest = rest.slice(room());
      push();
    }
    line = line === "" ? rest : `${line} ${rest}`;
  }
  if (line !== "") push();
  return lines;
}

/** At most so many lines, the last with an ellipsis where some are missing. */
function clipped(lines: readonly string[], most: number): string[] {
  if (lines.length <= most) return [...lines];
  return lines.slice(0, most).map((line, index) => (index === most - 1 ? `${line.slice(0, -1).trimEnd()}…` : line));
}

/** How rows stand: their words, and whether each begins with its verdict or the verdict stands above those that share it. */
interface Layout {
  readonly isShort: boolean;
  readonly isGrouped: boolean;
}

/** The first that fits is taken, else the last, whose rows are broken. */
const layouts: readonly Layout[] = [
  { isShort: false, isGrouped: false },
  { isShort: true, isGrouped: false },
  { isShort: true, isGrouped: true },
];

/** The lines of each answer, as they stand in one layout. */
interface Rows {
  readonly layout: Layout;
  readonly linesOf: ReadonlyMap<Answer, readonly string[]>;
  /** Lines that may be left out. */
  readonly extrasOf: ReadonlyMap<Answer, readonly string[]>;
}

function rowsIn(layout: Layout, contests: readonly Contest[], options: TableOptions): Rows {
  const all = contests.flatMap(({ answers }) => answers.map((answer) => ({ answer, cells: cellsOf(answer, layout) })));
  const widest = (of: keyof Columns): number => Math.max(0, ...all.map(({ cells }) => cells[of].length));
  const columns = { question: widest("question"), values: widest("values"), effect: widest("effect") };
  // Narrow gaps where any row needs them.
  const left = options.width - begin(layout);
  const isTight = all.some(({ cells }) => {
    const [wide, tight] = [gap, " "].map((space) => columnsText(cells, columns, space).length);
    return wide! > left && tight! <= left;
  });
  const space = isTight ? " " : gap;
  return {
    layout,
    linesOf: new Map(all.map(({ answer, cells }) => [answer, rowLines(answer, cells, columns, space, layout, options)])),
    extrasOf: new Map(all.map(({ answer }) => [answer, extraLines(answer, layout, options.width)])),
  };
}

/** The answers of all contests in so many lines at most; what has no room is counted. */
function body(contests: readonly Contest[], room: number, options: TableOptions): string[] {
  const all = contests.flatMap(({ answers }) => answers);
  const isInLines = ({ linesOf }: Rows): boolean =>
    all.every((answer) => answer.reading?.baseline == null || linesOf.get(answer)!.length === 1);
  let rows = rowsIn(layouts[0]!, contests, options);
  for (const layout of layouts.slice(1)) if (!isInLines(rows)) rows = rowsIn(layout, contests, options);
  const render = (chosen: ReadonlySet<Answer>, withExtras: boolean): string[] => rowsText(contests, chosen, rows, withExtras, options);
  let lines = render(new Set(all), true);
  if (lines.length > room) lines = render(new Set(all), false);
  if (lines.length > room) {
    const chosen = new Set<Answer>();
    for (const answer of priorityOf(contests)) {
      chosen.add(answer);
      if (render(chosen, false).length <= room) continue;
      chosen.delete(answer);
      break;
    }
    lines = render(chosen, false).slice(0, room);
  }
  const legend = hasPlannedStart(all) ? wrapped(`  ${fromPlanned}`, options.width, 4) : [];
  return lines.length + legend.length <= room ? [...lines, ...legend] : lines;
}

/** Which answers get room first: of each verdict in turn the next, largest effects first, of one contest after the other. */
function priorityOf(contests: readonly Contest[]): Answer[] {
  return contests.flatMap(({ answers }) => {
    const queues = verdictOrder.map((verdict) => withVerdict(answers, verdict));
    const turns = Math.max(...queues.map(({ length }) => length));
    return Array.from({ length: turns }, (_, turn) => queues.flatMap((queue) => queue.slice(turn, turn + 1))).flat();
  });
}

/** Contests after the first of which no answer is shown: so many are named, each with its counts. */
const mostNamed = 2;

/**
 * The lines of the chosen answers, and how many others there are. Every contest but the first has a title, with its counts.
 */
function rowsText(
  contests: readonly Contest[],
  chosen: ReadonlySet<Answer>,
  { layout, linesOf, extrasOf }: Rows,
  withExtras: boolean,
  options: TableOptions,
): string[] {
  const { width } = options;
  const unnamed: Answer[] = [];
  let named = 0;
  const lines = contests.flatMap((contest, index) => {
    const { answers, baseline } = contest;
    const rest = answers.filter((answer) => !chosen.has(answer));
    const isWithout = index > 0 && rest.length === answers.length;
    if (isWithout && ++named > mostNamed) {
      unnamed.push(...rest);
      return [];
    }
    const isTitled = index > 0 || (baseline === null && contests.length > 1);
    const counts = baseline === null || (answers.length === 1 && !isWithout) ? "" : `: ${outcomeText(contest)}`;
    const title = isTitled ? wrapped(`${contestTitle(contest)}${counts}`, width, 2) : [];
    const more =
      rest.length === 0 || isWithout ? [] : clipped(wrapped(`and ${rest.length} more: ${restText(contest, rest)}`, width - indent), 1);
    const rows: string[] = [];
    for (const verdict of verdictOrder) {
      const own = withVerdict(answers, verdict).filter((answer) => chosen.has(answer));
      if (layout.isGrouped && own.length > 0) rows.push(paint(verdict, paints[verdict], options));
      for (const answer of own) rows.push(...linesOf.get(answer)!, ...(withExtras ? extrasOf.get(answer)! : []));
    }
    return [...title, ...rows, ...more.map((line) => `${" ".repeat(indent)}${line}`)];
  });
  const beyond = `and ${unnamed.length} of other pairs: ${countsText(unnamed, true)}`;
  return unnamed.length === 0 ? lines : [...lines, ...clipped(wrapped(beyond, width), 1)];
}

/** What other metrics found, and why an answer that has figures is undecided. */
function extraLines({ besides, why, reading }: Answer, layout: Layout, width: number): string[] {
  const margin = " ".repeat(begin(layout) + (layout.isGrouped ? 2 : 0));
  const found = besides.map((one) => `but ${valuesText(one)}: ${effectText(one.comparison)}`);
  const because = why !== null && reading !== null && reading.baseline !== null ? [why] : [];
  return [...found, ...because].flatMap((text) => wrapped(text, width - margin.length, 2)).map((line) => `${margin}${line}`);
}

/** The cells of a row beside its verdict. An answer without figures of both arms has one text in place of two cells. */
interface Cells {
  readonly question: string;
  readonly values: string;
  readonly effect: string;
  readonly text: string;
}

function cellsOf(answer: Answer, { isShort }: Layout): Cells {
  const question = printable(questionText(answer));
  const { reading, why, values: own } = answer;
  const values = reading === null || (why ?? "").startsWith("not valid") ? "" : valuesText(reading, isShort);
  if (values !== "") return { question, values, effect: effectText(reading!.comparison), text: "" };
  const measured = own.map(({ metric, statistic, value }) => valueText(metric, statistic, value)).join(", ");
  return { question, values: "", effect: "", text: printable(why ?? measured) };
}

/** The widest cell of each column. */
type Columns = Readonly<Record<"question" | "values" | "effect", number>>;

const indent = 2;
const gap = "  ";

/** Where a row's question begins. */
function begin({ isGrouped }: Layout): number {
  return isGrouped ? indent : indent + verdictWidth + gap.length;
}

/** A row beside its verdict, with so wide spaces between its columns. */
function columnsText({ question, values, effect, text }: Cells, columns: Columns, space: string): string {
  const first = question.padEnd(columns.question);
  return values === "" ? [first, text].join(space) : [first, values.padEnd(columns.values), effect].join(space);
}

/** One answer: a line in columns, or a line without, or its question in a line and the rest below. */
function rowLines(answer: Answer, cells: Cells, columns: Columns, space: string, layout: Layout, options: TableOptions): string[] {
  const { width } = options;
  const { question, values, effect, text } = cells;
  const margin = begin(layout);
  const verdict = paint(answer.verdict.padEnd(verdictWidth), paints[answer.verdict], options);
  const lead = layout.isGrouped ? " ".repeat(indent) : `${" ".repeat(indent)}${verdict}${gap}`;
  const inColumns = columnsText(cells, columns, space);
  const inLine = [question, values, effect, text].filter((cell) => cell !== "").join(gap);
  const fitting = [inColumns, inLine].find((line) => margin + line.length <= width);
  if (fitting !== undefined) return [`${lead}${fitting}`];
  const below = values === "" ? text : `${values}${gap}${effect}`;
  const hang = layout.isGrouped ? 4 : margin;
  const first = clipped(wrapped(question, width - margin), 2);
  const rest =
    hang + below.length <= width
      ? [below]
      : clipped(wrapped(below.replaceAll(gap, " "), width - hang), values === "" && answer.values.length === 0 ? 1 : 3);
  return [
    ...first.map((line, index) => `${index === 0 ? lead : " ".repeat(margin)}${line}`),
    ...rest.map((line) => `${" ".repeat(hang)}${line}`),
  ];
}
