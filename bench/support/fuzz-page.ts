/** What a search for hostile requests came to: its file, and its section of the page of attacks. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { printable } from "../../src/base/printable.ts";
import type { describeEnvironment } from "../../src/runner/processes/machine.ts";
import type { Bounds, Finding } from "../../test/listeners/fuzz/search.ts";
import { measuredTable, readSearch, table } from "./page.ts";
import { reproductionsHeading, reproductionsSection } from "./reproductions.ts";

export const attacksFolder: string = fileURLToPath(new URL("../../results/attacks/", import.meta.url));
export const fuzzFile = "fuzz.json";

export interface Tally {
  readonly cases: number;
  readonly failures: number;
}

/** The search on one engine. */
export interface EngineReport {
  readonly engine: string;
  readonly startedAt: string;
  readonly environment: ReturnType<typeof describeEnvironment>;
  readonly seconds: number;
  readonly cases: number;
  readonly byCategory: Readonly<Record<string, Tally>>;
  readonly byEndpoint: Readonly<Record<string, Tally>>;
  /** Answers by their status; "none": no head came. */
  readonly byStatus: Readonly<Record<string, number>>;
  readonly failures: readonly Finding[];
  /** Each the least of three trials alone. */
  readonly worstDelays: readonly Finding[];
  /** Each of one trial on a server of its own. */
  readonly worstGrowths: readonly Finding[];
}

export interface FuzzReport {
  readonly seed: number;
  readonly bounds: Bounds;
  readonly maxBodyBytes: number;
  readonly engines: readonly EngineReport[];
}

/** How many findings beyond a bound are kept whole. */
const mostKept = 50;

/** Counts of one kind, in the order of their names. */
function talliesOf(findings: readonly Finding[], of: (finding: Finding) => string): Record<string, Tally> {
  const tallies: Record<string, Tally> = {};
  for (const finding of findings) {
    const { cases, failures } = tallies[of(finding)] ?? { cases: 0, failures: 0 };
    tallies[of(finding)] = { cases: cases + 1, failures: failures + (finding.failures.length > 0 ? 1 : 0) };
  }
  return Object.fromEntries(Object.entries(tallies).toSorted(([a], [b]) => a.localeCompare(b)));
}

const rounded = (finding: Finding): Finding => ({
  ...finding,
  delayMs: Number(finding.delayMs.toFixed(1)),
  waitedMs: Number(finding.waitedMs.toFixed(1)),
  rssBytes: Math.round(finding.rssBytes),
  cpuMs: Number(finding.cpuMs.toFixed(1)),
});

/** A report of findings, compact. */
export function engineReport(
  { engine, startedAt, environment, seconds }: Pick<EngineReport, "engine" | "startedAt" | "environment" | "seconds">,
  found: { readonly findings: readonly Finding[]; readonly worstDelays: readonly Finding[]; readonly worstGrowths: readonly Finding[] },
): EngineReport {
  const byStatus: Record<string, number> = {};
  for (const { status } of found.findings) byStatus[status ?? "none"] = (byStatus[status ?? "none"] ?? 0) + 1;
  const failed = found.findings.filter(({ failures }) => failures.length > 0);
  return {
    engine,
    startedAt,
    environment,
    seconds: Math.round(seconds),
    cases: found.findings.length,
    byCategory: talliesOf(found.findings, ({ category }) => category),
    byEndpoint: talliesOf(found.findings, ({ endpoint }) => endpoint),
    byStatus,
    failures: failed.slice(0, mostKept).map(rounded),
    worstDelays: found.worstDelays.map(rounded),
    worstGrowths: found.worstGrowths.map(rounded),
  };
}

const heading = "## The search";

/** The page of attacks with the sections of the requests that once held up others and of the last whole search, where there were any. */
export function withFuzzSections(page: string): string {
  const [attacks] = page.split(`\n${heading}`)[0]!.split(`\n${reproductionsHeading}`);
  const path = `${attacksFolder}${fuzzFile}`;
  const search = existsSync(path) ? sectionOf(readSearch(path) as FuzzReport) : "";
  const sections = [attacks!, reproductionsSection(attacksFolder), search].filter((section) => section !== "");
  return `${sections.map((section) => section.trimEnd()).join("\n\n")}\n`;
}

const escaped = (text: string): string => `\`${printable(text.replaceAll("`", "'").replaceAll("|", "\\|")).slice(0, 160)}\``;
const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);

/** A count of cases, and of those that failed where any did. */
function cell(tally: Tally | undefined): string {
  if (tally === undefined) return "";
  return tally.failures === 0 ? String(tally.cases) : `${tally.cases}, **${tally.failures} failed**`;
}

/** Since when each wait counts by what the thread ran in it. Before, all waits of a case counted by what it ran in the whole case. */
const eachWaitSince = "2026-11-30T16:00";

function earlierRule(engines: readonly EngineReport[]): string {
  const names = engines.filter(({ startedAt }) => startedAt < eachWaitSince).map(({ engine }) => engine);
  return names.length === 0 ? "" : ` Of ${names.join(", ")} what it ran in the whole case counts, which is no less.`;
}

function sectionOf({ seed, bounds, maxBodyBytes, engines }: FuzzReport): string {
  const counts = (of: (engine: EngineReport) => Readonly<Record<string, Tally>>, title: string): string => {
    const names = [...new Set(engines.flatMap((engine) => Object.keys(of(engine))))].toSorted();
    return table([title, ...engines.map(({ engine }) => engine)], names.map((name) => [name].concat(engines.map((engine) => cell(of(engine)[name])))), engines.length); // oxfmt-ignore
  };
  const worst = (of: (engine: EngineReport) => readonly Finding[], by: (finding: Finding) => number): (string | number)[][] =>
    engines
      .flatMap((engine) => of(engine).map((finding) => ({ engine: engine.engine, finding })))
      .toSorted((a, b) => by(b.finding) - by(a.finding))
      // A case that is among the worst on several engines stands there once, with the worst of them.
      .filter(({ finding }, index, all) => all.findIndex((other) => other.finding.number === finding.number) === index)
      .slice(0, 10)
      .map(({ engine, finding: { number, category, bodyBytes, delayMs, waitedMs, rssBytes, status, described } }) => [
        engine,
        number,
        category,
        escaped(described),
        status ?? "none",
        bodyBytes,
        delayMs.toFixed(1),
        waitedMs.toFixed(1),
        megabytes(rssBytes),
      ]);
  const cases = engines.reduce((sum, engine) => sum + engine.cases, 0);
  const failures = engines.reduce((sum, { byCategory }) => sum + Object.values(byCategory).reduce((failed, tally) => failed + tally.failures, 0), 0); // oxfmt-ignore
  const header = ["on", "case", "category", "request", "status", "body, bytes", "held up, ms", "waited, ms", "RSS, MB"];
  return `${heading}

Written by \`npm run measure -- fuzz\`, engine by engine. Hostile requests to every endpoint, seed ${seed}, bodies up to ${megabytes(maxBodyBytes)} MB: the corpus of
\`test/listeners/fuzz/corpus.ts\`, then generated ones, one after the other. A process of its own asks for /health on another
connection and reads a stream paced at 5 ms on a third. A case fails where either is held up by more than ${bounds.delayMs} ms
(/health whole, tokens by the server's stamps and by the reads; of each wait no more than the serving thread ran in it, so that other
programs on the machine do not count; "waited" has the longest wait whole). So a wait that the thread slept through, for a disk or for
helper threads of V8, does not count, and the system tells up to a clock tick late (4 ms at 250 Hz) how long a thread ran.${earlierRule(engines)}
A case fails too where the process's peak RSS grows by more than
${megabytes(bounds.rssBytes)} MB, or where the answer is a 500, breaks off, never comes, or has a header injected. What is beyond a bound is tried three
times more alone, and the least counts; the delays of the worst ten too. \`npm run measure -- fuzz <engine> --seed ${seed} --only <case>\` makes one again, for as long as
the endpoints and their members are those of that day.

${cases} cases, ${failures} failed.

${measuredTable(engines.map((engine) => ({ ...engine, what: engine.engine })))}

${counts(({ byCategory }) => byCategory, "category")}

${counts(({ byEndpoint }) => byEndpoint, "endpoint")}

The longest delays, each the least of three trials alone, on the engine where it was longest:

${table(header, worst(({ worstDelays }) => worstDelays, ({ delayMs }) => delayMs), 5)}

The largest growths of RSS, each on a server of its own:

${table(header, worst(({ worstGrowths }) => worstGrowths, ({ rssBytes }) => rssBytes), 5)}
`; // oxfmt-ignore
}
