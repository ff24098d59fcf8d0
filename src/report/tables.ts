/** The tables of the page. On a phone each row becomes a block of names and values, so that none is wider than the screen. */
import { printable } from "../base/printable.ts";
import { validRounds } from "../results/arms.ts";
import { sessionsOf } from "../results/sessions.ts";
import type { ArmResult, BenchResult, Environment, ScenarioResult } from "../results/types.ts";
import { causesOf } from "./causes.ts";
import {
  armColumns,
  differenceWithInterval,
  digits,
  effect,
  isDescribed,
  metricLabel,
  middleAndTail,
  ms,
  probability,
  quantity,
  shardsText,
  smallness,
} from "./format.ts";
import { type Html, html, type Part } from "./markup.ts";
import type { SweepTable } from "./sweeps.ts";

/**
 * A table of words, or of `numbers`, which stand to the right and on a phone beside the names of their columns. The styles have
 * such names for the first twelve columns.
 */
export function table(caption: string, header: readonly string[], rows: readonly (readonly Part[])[], numbers = false): Html {
  const names = numbers ? header.map((title, index) => (index === 0 ? "" : `--n${index + 1}:${cssString(title)};`)).join("") : "";
  return html`<table class="${numbers ? "numbers" : "words"}" ${names === "" ? null : html` style="${names}"`}>
    ${
      caption === ""
        ? null
        : html`<caption>
            ${caption}
          </caption>`
    }
    <thead>
      <tr>
        ${header.map((title) => (title === "" ? html`<td></td>` : html`<th>${title}</th>`))}
      </tr>
    </thead>
    <tbody>
      ${rows.map(
        (row) =>
          html`<tr>
            ${row.map((cell, index) => (index === 0 ? html`<th>${cell}</th>` : html`<td>${cell}</td>`))}
          </tr>`,
      )}
    </tbody>
  </table>`;
}

/** A string of CSS that nothing in a name ends: all but letters and digits are escaped by their numbers. */
function cssString(text: string): string {
  return `"${printable(text).replace(/[^\w /.-]/gu, (character) => `\\${character.codePointAt(0)!.toString(16)} `)}"`;
}

/** Arms that stand beside each other in one table: more would be cut. */
const mostColumns = 6;

/** What goes without saying where it is so of every arm: none failed, all are valid. */
const usual: ReadonlySet<string> = new Set(["0", "yes"]);

/** Every figure of the arms, one row a metric. */
export function armTables({ arms, workload }: ScenarioResult): Part {
  const columns = armColumns(arms, workload["clientWork"] === true).filter(({ cell }) => !arms.every((arm) => usual.has(cell(arm))));
  const groups = Array.from({ length: Math.ceil(arms.length / mostColumns) }, (_, index) =>
    arms.slice(index * mostColumns, (index + 1) * mostColumns),
  );
  return groups.map((group) =>
    table(
      "",
      ["", ...group.map(({ id }) => id)],
      [
        ["spoken, served, loaded by"].concat(group.map(armWords)),
        ["streams on connections"].concat(group.map(loadWords)),
        ...columns.map(({ title, cell }) => [title].concat(group.map(cell))),
      ],
      true,
    ),
  );
}

function armWords({ protocol, engine, driver, client }: ArmResult): string {
  return [protocol, engine, client ?? driver].join(", ");
}

function loadWords({ streams, connections }: ArmResult): string {
  return `${digits(streams)} on ${connections === null ? "its own" : digits(connections)}`;
}

/** All comparisons of a scenario, those that get no verdict last, with all that is known of each. */
export function comparisonTable(scenario: ScenarioResult): Part {
  const { comparisons } = scenario;
  if (comparisons.length === 0) return null;
  const rows = [...comparisons.filter(({ described }) => !described), ...comparisons.filter(({ described }) => described)];
  const caption = comparisons.some(isDescribed)
    ? "Compared, paired by round. Described: each interval as if it were the only one, no verdict."
    : "Compared, paired by round";
  return table(
    caption,
    ["metric", "change (95% interval)", "verdict, p by Holm"],
    rows.map((comparison): Part[] => {
      const { verdict, candidate, baseline, ratio, difference, metric, p, rounds, method, reason } = comparison;
      const facts = [
        ratio === null || difference === null ? "" : differenceWithInterval(difference, metric),
        smallness(comparison),
        ...causesOf(scenario, comparison),
        reason ?? "",
      ].filter((fact) => fact !== "");
      const found = [effect(comparison), ...facts].filter((fact) => fact !== "").join("; ");
      const judged = [verdict, probability(p), method === null ? "" : `${rounds} rounds, ${method}`].filter((text) => text !== "");
      return [html`${metricLabel(comparison)} <small>${candidate} against ${baseline}</small>`, found, judged.join(", ")];
    }),
  );
}

/** Where a token's lateness comes from, by the server's own stamps, beside what the client saw. */
export function pacingTable(arms: readonly ArmResult[]): Part {
  const stamped = arms.filter(({ metrics }) => metrics.serverLateness);
  if (stamped.length === 0) return null;
  const rows = stamped.map(({ id, metrics }): Part[] => [
    id,
    middleAndTail(metrics.plannedTtft),
    middleAndTail(metrics.ttft),
    middleAndTail(metrics.serverLateness),
    middleAndTail(metrics.transport),
    middleAndTail(metrics.client),
  ]);
  return table(
    "By the server's stamps: what was planned, and where each token's lateness came from; p50 / p99 in ms",
    ["arm", "planned TTFT", "TTFT seen", "server lateness", "transport", "client"],
    rows,
    true,
  );
}

/** Turns of a session that a table shows at most. */
const mostTurns = 12;

/** Sessions turn by turn: a table for each arm that has some, over its valid rounds. */
export function sessionTables(arms: readonly ArmResult[]): Part {
  return arms.map((arm): Part => {
    const { sessions } = sessionsOf(validRounds(arm));
    if (sessions === undefined) return null;
    const { started, completed, failed, turns } = sessions;
    const places = turns.answers.map((_, place) => place);
    const step = Math.ceil(places.length / mostTurns);
    const shown = places.filter((place) => place % step === 0 || place === places.length - 1);
    const cell = (value: number | null | undefined, of: (value: number) => string): string =>
      value === null || value === undefined ? "not seen" : of(value);
    return table(
      `Sessions of ${arm.id}: ${digits(completed)} of ${digits(started)} whole${failed === 0 ? "" : `, ${digits(failed)} failed`}; means of each turn`,
      ["turn", "answers", "TTFT, ms", "E2E, ms", "bytes sent", "bytes received", "prompt tokens", "of them cached"],
      shown.map((place) => [
        String(place + 1),
        digits(turns.answers[place]!),
        cell(turns.ttftMeanUs[place], ms),
        cell(turns.e2elMeanUs[place], ms),
        cell(turns.bytesSentMean[place], rounded),
        cell(turns.bytesReceivedMean[place], rounded),
        cell(turns.inputTokensMean[place], rounded),
        cell(turns.cachedTokensMean[place], rounded),
      ]),
      true,
    );
  });
}

function rounded(value: number): string {
  return digits(Math.round(value));
}

/** The points of a sweep; the first columns say where a point lies. */
export function pointTable({ header, rows }: SweepTable, axes: number): Html {
  return table(
    "",
    [header.slice(0, axes + 1).join(", "), ...header.slice(axes + 1)],
    rows.map((row) => [row.slice(0, axes + 1).join(", "), ...row.slice(axes + 1)]),
    true,
  );
}

/** What prompts were sent; nothing where none were, or an earlier version did not say. */
export function promptsLine({ prompts }: ScenarioResult): Part {
  if (prompts === undefined || prompts === null) return null;
  const { source, file, requests, distinct, tokens, tokensCountedBy, sharedPrefix, cacheBust } = prompts;
  const estimated = tokensCountedBy === "characters" ? ", estimated by their characters" : "";
  const shared = sharedPrefix > 0 ? `; the first ${digits(sharedPrefix)} tokens are the same in all` : "";
  const own = cacheBust === null ? "" : "; each arm and round begins with words of its own";
  return html`<p>
    Prompts of a round: ${digits(requests)}, ${digits(distinct)} of them different, from ${source}${file === null ? "" : ` ${file}`};
    ${digits(tokens.mean)} tokens in the mean, ${digits(tokens.p50)} in the median, at most
    ${digits(tokens.max)}${estimated}${shared}${own}.
  </p>`;
}

/** Which loads the generator was tried with; nothing where it was not. */
export function calibrationTable({ calibration }: BenchResult): Part {
  if (calibration === null) return null;
  const rows = calibration.rows.map((calibrated): Part[] => {
    const { protocol, streams, tokensPerSecond, offeredTokensPerSecond, itlError, clientCpuShare, serverLatenessP99Us, ok, behind } =
      calibrated;
    return [
      protocol,
      digits(streams),
      offeredTokensPerSecond === undefined ? digits(tokensPerSecond) : digits(offeredTokensPerSecond),
      offeredTokensPerSecond === undefined ? "–" : digits(tokensPerSecond),
      ms(serverLatenessP99Us),
      `${digits(itlError * 100)}%`,
      `${digits(clientCpuShare * 100)}%`,
      ok ? "yes" : "no",
      [...new Set(behind?.map(({ who }) => who))].join(", "),
    ];
  });
  return table(
    "Loads that were tried; the plan is kept where the mean gap is within 5% of it and 90% of what was offered was read",
    ["protocol", "streams", "tokens/s offered", "tokens/s read", "server lateness p99 ms", "ITL error", "client CPU", "kept", "behind"],
    rows,
    true,
  );
}

/** Machines that differ in their load alone are shown once: a load of many shards has as many. */
function alike(environments: readonly Environment[]): (readonly Environment[])[] {
  const kinds = new Map<string, Environment[]>();
  for (const one of environments) {
    const kind = JSON.stringify({ ...one, loadAverage: null });
    kinds.set(kind, [...(kinds.get(kind) ?? []), one]);
  }
  return [...kinds.values()];
}

/** The load averages of machines: from the least to the greatest where there are several. */
function loadsOf(machines: readonly Environment[]): string {
  const [first, ...others] = machines;
  return first!.loadAverage
    .map((own, at) => {
      const all = [own, ...others.map(({ loadAverage }) => loadAverage[at]!)];
      const [least, most] = [digits(Math.min(...all)), digits(Math.max(...all))];
      return least === most ? least : `${least} to ${most}`;
    })
    .join(others.length > 0 ? ", " : " ");
}

/** Machines and software, the command and the seed. */
export function environmentList({ environment, environments, command, seed, shards }: BenchResult): Part {
  const row = (name: string, value: Part): Html =>
    html`<dt>${name}</dt>
      <dd>${value}</dd>`;
  const versions = (map: Readonly<Record<string, string | null>>): string =>
    Object.entries(map)
      .map(([name, version]) => `${name} ${version ?? "missing"}`)
      .join(", ");
  return [
    ...(shards === undefined ? [] : [html`<p>The run is ${shardsText(shards)}.</p>`]),
    ...alike(environments ?? [environment]).map((machines) => {
      const one = machines[0]!;
      return html`<dl>
        ${[
          ...(machines.length === 1 ? [] : [row("Processes", `${machines.length}, on machines that are alike`)]),
          row("CPU", `${one.cpu}, ${one.cores} cores, ${one.pinned ? "server and load pinned to cores of their own" : "not pinned"}`),
          row("Memory", quantity(one.memoryBytes, "bytes")),
          row("System", `${one.os}, kernel ${one.kernel}, load average ${loadsOf(machines)}`),
          row("Software", `fakeai ${one.fakeai}, Node ${one.node}`),
          row("Engines", versions(one.engines)),
          row("Tools", versions(one.tools)),
          row("Target", one.target),
        ]}
      </dl>`;
    }),
    html`<dl>${row("Command", html`<code>${command.join(" ")}</code>`)}${row("Seed", String(seed))}</dl>`,
  ];
}
