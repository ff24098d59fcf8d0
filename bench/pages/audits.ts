/** What the audits in `results/audits` have found, as parts of its page: nothing stands there that their files do not say. */
import { figureLabel } from "../../src/audit/quantities.ts";
import type { Audit, FigureResult, FigureSummary } from "../../src/audit/types.ts";
import { limitText } from "../../src/audit/page.ts";
import { digits } from "../../src/report/format.ts";
import { table } from "../support/page.ts";
import { audited } from "../tools/audited.ts";

/** From the root of the repository. */
export const liarFile = "results/audits/liar.json";

/** One audit of the tests' client. */
export interface LiarRun {
  readonly run: number;
  readonly mode: "low-itl" | "honest";
  /** Of the mean ITL. */
  readonly verdict: FigureResult["verdict"];
  /** Every biased figure. */
  readonly biased: readonly string[];
  /** Bias of the mean ITL. */
  readonly ratio: number;
  readonly lowMs: number;
  readonly highMs: number;
  readonly loadAverage: number;
}

/** `liar.json`. */
export interface LiarResult {
  /** ISO 8601. */
  readonly startedAt: string;
  /** The machine, in words. */
  readonly environment: string;
  readonly runs: readonly LiarRun[];
}

/** An audit by the name of its file. */
export type Audits = Readonly<Record<string, Audit>>;

const signedPercent = (ratio: number): string => `${ratio < 0 ? "−" : "+"}${digits(Math.abs(ratio) * 100)}%`;

/** Where all were taken. */
export function auditsEnvironment(audits: Audits): string {
  const all = Object.values(audits);
  const days = [...new Set(all.map(({ startedAt }) => startedAt.slice(0, 10)))].sort();
  const machines = [...new Set(all.map(({ environment }) => environment))];
  const builds = [...new Set(all.map(({ fakeai }) => fakeai))];
  const loads = all.flatMap(({ loadAverage }) => loadAverage);
  return `${days.join(" to ")}; ${machines.join("; ")}; fakeai ${builds.join(", ")}; load average ${digits(Math.min(...loads))} to ${digits(Math.max(...loads))}; ${[...new Set(all.map(({ repeats }) => repeats))].join(", ")} runs a rung.`;
}

/** A row a tool. */
export function auditsTable(audits: Audits): string {
  return table(
    [
      "tool",
      "version",
      "rungs",
      "right",
      "undecided",
      "biased",
      "latencies right up to, events/s",
      "and wrong, or not to be told, at",
      "load before, after",
    ],
    Object.entries(audits).map(([name, { toolVersion, rungs, figures, limit, loadAverage }]) => {
      const count = (verdict: FigureSummary["verdict"]): number => figures.filter((figure) => figure.verdict === verdict).length;
      const upTo = limit.rightUpToEventsPerSecond;
      return [
        `[${titleOf(name)}](${name}.json)`,
        toolVersion ?? "not told",
        rungs.length,
        count("right"),
        count("undecided"),
        count("biased"),
        upTo === null ? "–" : digits(upTo),
        endOf(limit),
        loadAverage.map(digits).join(", "),
      ];
    }),
  );
}

/** Where the way up ended, and whose limit that is. */
function endOf({ eventsPerSecond, figure, beforeIt }: Audit["limit"]): string {
  if (eventsPerSecond !== null) return `${digits(eventsPerSecond)}: ${figure ?? ""}`;
  return beforeIt === null ? "–" : `${digits(beforeIt.eventsPerSecond)}: limit of the ${beforeIt.end}`;
}

function titleOf(name: string): string {
  return audited[name]?.title ?? name;
}

/** What each tool says of itself, and each figure of it that is biased. */
export function auditSections(audits: Audits): string {
  return Object.entries(audits)
    .map(([name, audit]) => sectionOf(name, audit))
    .join("\n\n");
}

function sectionOf(name: string, audit: Audit): string {
  const { command, definitions, documentation, figures, limit, leftOut, toolVersion } = audit;
  const biased = figures.filter(({ verdict }) => verdict === "biased");
  const undecided = figures.filter(({ verdict }) => verdict === "undecided");
  const note = audited[name]?.note ?? "";
  const parts = [
    `### ${titleOf(name)}${toolVersion === null ? "" : ` ${toolVersion}`}`,
    `    ${command.map(shellWord).join(" ")}`,
    ...(note === "" ? [] : [note]),
    ...(definitions.length === 0 ? [] : [`What its names mean: ${definitions.join("; ")}. ${documentation ?? ""}`]),
    biased.length === 0 ? "No figure was biased." : `Biased:\n\n${biased.map((figure) => `- ${biasedLine(figure, audit)}`).join("\n")}`,
    ...(undecided.length === 0
      ? []
      : [`Not decided: ${undecided.map(({ quantity, statistic }) => figureLabel(quantity, statistic)).join(", ")}.`]),
    limitText(limit),
    ...(leftOut.length === 0 ? [] : [`Rungs left out to fit the budget: ${leftOut.join(", ")}.`]),
  ];
  return parts.filter((part) => part !== "").join("\n\n");
}

/** As a shell takes it. */
function shellWord(word: string): string {
  return /^[\w@%+=:,./{}-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Its own name, how far off it is where it is farthest, on which rungs, and why where that can be told. */
function biasedLine({ quantity, statistic, name, biased, right, causes }: FigureSummary, { rungs }: Audit): string {
  const found = rungs
    .flatMap(({ name: rung, figures }) =>
      figures
        .filter((one) => one.quantity === quantity && one.statistic === statistic && one.verdict === "biased")
        .map((figure) => ({ rung, figure })),
    )
    .toSorted((a, b) => Math.abs(b.figure.bias?.estimate ?? 0) - Math.abs(a.figure.bias?.estimate ?? 0))[0];
  const bias = found?.figure.bias ?? null;
  const off =
    bias === null
      ? ""
      : ` ${bias.ratio === null ? `${digits(bias.estimate)} ${found!.figure.unit}` : signedPercent(bias.ratio)} (${digits(bias.low)} to ${digits(bias.high)} ${found!.figure.unit}) on ${found!.rung}`;
  const others = biased.filter((rung) => rung !== found?.rung);
  const also = others.length === 0 ? "" : `, also on ${others.join(", ")}`;
  const elsewhere = right.length === 0 ? "" : `; right on ${right.join(", ")}`;
  const why = causes.length === 0 ? "; why cannot be told" : `: ${causes.map(({ text }) => text).join("; ")}`;
  return `\`${name ?? figureLabel(quantity, statistic)}\` (${figureLabel(quantity, statistic)})${off}${also}${elsewhere}${why}`;
}

/** The liar and the honest one. */
export function liarTable({ runs }: LiarResult): string {
  const row = (mode: LiarRun["mode"], title: string): string[] => {
    const own = runs.filter((run) => run.mode === mode);
    const caught = own.filter(({ verdict, biased }) => (mode === "low-itl" ? verdict === "biased" : biased.length > 0)).length;
    const ratios = own.map(({ ratio }) => ratio);
    const loads = own.map(({ loadAverage }) => loadAverage);
    return [
      title,
      `${caught} of ${own.length}`,
      `${signedPercent(Math.min(...ratios))} to ${signedPercent(Math.max(...ratios))}`,
      `${digits(Math.min(...own.map(({ lowMs }) => lowMs)))} to ${digits(Math.max(...own.map(({ highMs }) => highMs)))} ms`,
      `${digits(Math.min(...loads))} to ${digits(Math.max(...loads))}`,
    ];
  };
  return table(
    ["client", "found biased", "ITL mean off by", "all intervals within", "load average"],
    [row("low-itl", "ITL reported 3% low"), row("honest", "honest")],
  );
}
