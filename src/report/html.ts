/** A result as one page that needs no network: styles, script and data are in it. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { scenarioLabel } from "../results/scenarios.ts";
import type { ArmResult, BenchResult, Comparison, ScenarioResult } from "../results/types.ts";
import { type Bars, clientBars } from "./bars.ts";
import { type Chart, loadCharts, scenarioCharts } from "./charts.ts";
import { causesOf } from "./causes.ts";
import { claimConditions, conditionsOf } from "./conditions.ts";
import { drawCharts, planOf } from "./draw-charts.ts";
import {
  armColumns,
  behindLines,
  differenceWithInterval,
  digits,
  effect,
  gain,
  invalidReasons,
  isDescribed,
  metricLabel,
  middleAndTail,
  ms,
  probability,
  quantity,
  requiredValue,
  requirementOutcome,
  smallness,
} from "./format.ts";
import { Html, html, type Part, render } from "./markup.ts";
import { style } from "./style.ts";

function badge(verdict: string): Html {
  return html`<span class="badge ${verdict.replace(" ", "-")}">${verdict}</span>`;
}

function table(caption: string, header: readonly string[], rows: readonly (readonly Part[])[], numbers = false): Html {
  return html`<div class="scroll">
    <table class="${numbers ? "numbers" : "words"}">
      <caption>
        <span>${caption}</span>
      </caption>
      <thead>
        <tr>
          ${header.map((title) => html`<th scope="col">${title}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row) =>
            html`<tr>
              ${row.map((cell, index) => html`${render(cell) === "" ? html`<td></td>` : html`<td data-label="${header[index] ?? ""}"><div>${cell}</div></td>`}`)}
            </tr> `,
        )}
      </tbody>
    </table>
  </div>`;
}

/** The interval as a bar on a scale from half to double, with the line of no change: what the figures beside it say. */
function intervalBar({ ratio, smallestEffect }: Comparison): Part {
  if (ratio === null) return null;
  const at = (value: number): number => Math.min(100, Math.max(0, 50 + 50 * Math.log2(value)));
  const [low, high] = [at(ratio.low), at(ratio.high)];
  const [from, to] = [at(1 / (1 + smallestEffect.ratio)), at(1 + smallestEffect.ratio)];
  return html`<svg class="interval" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">
    <rect class="zone" x="${from}" y="0" width="${to - from}" height="12" />
    <line class="axis" x1="50" x2="50" y1="0" y2="12" />
    <rect class="range" x="${low}" y="4.5" width="${Math.max(1, high - low)}" height="3" />
    <rect class="estimate" x="${at(ratio.estimate) - 0.75}" y="2" width="1.5" height="8" />
  </svg>`;
}

/** Lines below each other; empty ones are left out. */
function lines(...parts: readonly Part[]): Part {
  return parts.filter((part) => render(part) !== "").map((part) => html`<div>${part}</div>`);
}

function small(part: Part): Part {
  return render(part) === "" ? null : html`<small>${part}</small>`;
}

function verdictRow(scenario: ScenarioResult, comparison: Comparison): Part[] {
  const { verdict, candidate, baseline, ratio, difference, metric, p, rounds, method, reason } = comparison;
  return [
    badge(verdict),
    scenarioLabel(scenario),
    html`<span class="line"><b>${candidate}</b> against ${baseline}</span>`,
    metricLabel(comparison),
    lines(
      html`<span class="line">${effect(comparison)}</span>`,
      small(ratio === null || difference === null ? null : html`<span class="line">${differenceWithInterval(difference, metric)}</span>`),
      small(smallness(comparison)),
      ...causesOf(scenario, comparison).map(small),
      small(reason),
    ),
    intervalBar(comparison),
    lines(probability(p), small(method === null ? null : `${rounds} rounds, ${method}`)),
    lines(...conditionsOf(scenario, comparison)),
  ];
}

function verdictTable(scenarios: readonly ScenarioResult[], caption: string, shown: (comparison: Comparison) => boolean): Part {
  const rows = scenarios.flatMap((scenario) => scenario.comparisons.filter(shown).map((comparison) => verdictRow(scenario, comparison)));
  const header = ["Verdict", "Scenario", "Arms", "Metric", "Change (95% interval)", "½ to 2×", "p (Holm)", "Conditions"];
  return rows.length === 0 ? null : table(caption, header, rows);
}

function claimTable(scenarios: readonly ScenarioResult[]): Part {
  const rows = scenarios.flatMap((scenario) =>
    scenario.claims.map((claim): Part[] => {
      const { comparison, reason } = claim;
      return [
        badge(claim.verdict),
        html`“${claim.text}”<br /><small>${claim.source}</small>`,
        `at least ${digits(claim.gain * 100)}%`,
        lines(gain(claim), ...(comparison === null ? [] : causesOf(scenario, comparison).map(small)), small(reason)),
        comparison === null
          ? scenarioLabel(scenario)
          : html`${scenarioLabel(scenario)}: ${comparison.candidate} against ${comparison.baseline}, ${metricLabel(comparison)}`,
        lines(...claimConditions(scenario, claim)),
      ];
    }),
  );
  if (rows.length === 0) return null;
  return html`<h2 id="claims">Claims</h2>
    ${table("Reproduced: the whole interval reaches the claimed gain. Refuted: the whole interval is below it.", ["Verdict", "Claim", "Claimed", "Measured (95% interval)", "In", "Conditions"], rows)}`;
}

function requirementTable({ requirements }: BenchResult): Part {
  if (requirements.length === 0) return null;
  const rows = requirements.map((requirement): Part[] => {
    const { text, measured } = requirement;
    return [
      badge(requirementOutcome(requirement)),
      html`<code>${text}</code>`,
      measured.length === 0
        ? "no such arm was run"
        : measured.map(({ scenario, arm, value }) => `${scenario}/${arm} ${requiredValue(text, value)}`).join(", "),
    ];
  });
  return html`<h2 id="requirements">Requirements</h2>
    ${table("", ["", "Requirement", "Measured"], rows)}`;
}

function chartFigures(charts: readonly Chart[]): Part {
  if (charts.length === 0) return null;
  return html`<div class="charts">
    ${charts.map(
      ({ id, title, yLabel }) =>
        html`<figure>
          <figcaption>${title} <small>${yLabel}</small></figcaption>
          <div id="${id}" class="chart" role="img" aria-label="${title}"></div>
        </figure>`,
    )}
  </div>`;
}

/** Clients beside each other, HTTP/1.1 in blue and HTTP/2 in orange. */
function barFigures(bars: readonly Bars[]): Part {
  if (bars.length === 0) return null;
  return html`<div class="charts">
    ${bars.map(
      ({ title, svg }) =>
        html`<figure>
          <figcaption>${title} <small>95% intervals; HTTP/1.1 blue, HTTP/2 orange</small></figcaption>
          ${new Html(svg)}
        </figure>`,
    )}
  </div>`;
}

/** Where a token's lateness comes from, by the server's own stamps, beside what the client saw. */
function pacingTable(arms: readonly ArmResult[]): Part {
  const stamped = arms.filter(({ metrics }) => metrics.serverLateness);
  if (stamped.length === 0) return null;
  const rows = stamped.map(({ id, engine, metrics }): Part[] => [
    `${id} ${engine}`,
    middleAndTail(metrics.plannedTtft),
    middleAndTail(metrics.ttft),
    middleAndTail(metrics.serverLateness),
    middleAndTail(metrics.transport),
    middleAndTail(metrics.client),
  ]);
  return table(
    "Pacing truth from the server's stamps: what was planned, and where each token's lateness came from; p50 / p99 in ms",
    ["arm", "planned TTFT", "TTFT seen", "server lateness", "transport", "client"],
    rows,
    true,
  );
}

function scenarioSection(scenario: ScenarioResult, index: number, charts: readonly Chart[]): Html {
  const { title, isolates, workload, arms, findings, notes, skipped } = scenario;
  if (skipped !== null) {
    return html`<section id="scenario-${index}">
      <h2>${scenarioLabel(scenario)}</h2>
      <p>${title}. Not run: ${skipped}.</p>
    </section>`;
  }
  const columns = armColumns(arms, scenario.workload["clientWork"] === true);
  const rows = arms.map((arm): Part[] => [
    html`<b>${arm.id}</b>
      <small
        >${arm.protocol}, ${arm.engine}, ${arm.driver}, ${digits(arm.streams)} on
        ${arm.connections === null ? "its own" : digits(arm.connections)}${arm.client === undefined ? "" : `, ${arm.client}`}</small
      >`,
    ...columns.map(({ cell }): Part => cell(arm)),
  ]);
  return html`<section id="scenario-${index}">
    <h2>${scenarioLabel(scenario)}</h2>
    <p>${title}. ${isolates}.</p>
    <p class="workload">
      ${Object.entries(workload).map(([name, value]) => html`<span><small>${name}</small> ${value === null ? "–" : typeof value === "boolean" ? String(value) : value}</span> `)}
    </p>
    ${promptsLine(scenario)}
    ${table("Arms: protocol, engine, driver, streams at once on connections", ["arm", ...columns.map((column) => column.title)], rows, true)}
    ${arms.flatMap((arm) => invalidReasons(arm).map((reason) => html`<p class="warning">${arm.id} not valid: ${reason}</p>`))}
    ${arms.flatMap((arm) => behindLines(arm).map((line) => html`<p class="warning">${line}</p>`))}
    ${(findings ?? []).map((finding) => html`<p class="warning">${finding}</p>`)} ${notes.map((note) => html`<p class="note">${note}</p>`)}
    ${barFigures(clientBars(scenario))} ${pacingTable(arms)} ${chartFigures(charts)}
  </section>`;
}

/** What prompts were sent; nothing where none were, or an earlier version did not say. */
function promptsLine({ prompts }: ScenarioResult): Part {
  if (prompts === undefined || prompts === null) return null;
  const { source, file, requests, distinct, tokens, tokensCountedBy, sharedPrefix, cacheBust } = prompts;
  const estimated = tokensCountedBy === "characters" ? ", estimated by their characters" : "";
  const shared = sharedPrefix > 0 ? `; the first ${digits(sharedPrefix)} tokens are the same in all` : "";
  const own = cacheBust === null ? "" : "; each arm and round begins with words of its own";
  return html`<p class="note">
    Prompts of a round: ${digits(requests)}, ${digits(distinct)} of them different, from ${source}${file === null ? "" : ` ${file}`};
    ${digits(tokens.mean)} tokens in the mean, ${digits(tokens.p50)} in the median, at most
    ${digits(tokens.max)}${estimated}${shared}${own}.
  </p>`;
}

function calibrationTable({ calibration }: BenchResult): Part {
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
  return html`<h2 id="calibration">Calibration</h2>
    ${table(
      "Loads that were tried; the plan is kept where the mean gap is within 5% of it and 90% of what was offered was read",
      ["protocol", "streams", "tokens/s offered", "tokens/s read", "server lateness p99 ms", "ITL error", "client CPU", "kept", "behind"],
      rows,
      true,
    )}`;
}

function environmentList(result: BenchResult): Html {
  const { environment, environments, command, seed } = result;
  const row = (name: string, value: Part): Html =>
    html`<dt>${name}</dt>
      <dd>${value}</dd>`;
  const versions = (map: Readonly<Record<string, string | null>>): string =>
    Object.entries(map)
      .map(([name, version]) => `${name} ${version ?? "missing"}`)
      .join(", ");
  const list = environments ?? [environment];
  return html`<h2 id="environment">Environment</h2>
    ${list.map(
      (one) =>
        html`<dl>
          ${row("CPU", `${one.cpu}, ${one.cores} cores, ${one.pinned ? "server and load pinned to cores of their own" : "not pinned"}`)}${row("Memory", quantity(one.memoryBytes, "bytes"))}${row("System", `${one.os}, kernel ${one.kernel}, load average ${one.loadAverage.map(digits).join(" ")}`)}${row("Software", `fakeai ${one.fakeai}, Node ${one.node}`)}${row("Engines", versions(one.engines))}${row("Tools", versions(one.tools))}${row("Target", one.target)}
        </dl>`,
    )}
    <dl>${row("Command", html`<code>${command.join(" ")}</code>`)}${row("Seed", String(seed))}</dl>`;
}

/** Text of a script or of data inside one: nothing in it can end the element it is in. */
function inScript(text: string): string {
  return text.replace(/</gu, "\\u003c").replace(/[\u2028\u2029]/gu, " ");
}

/** uPlot as its package has it: a script that sets `uPlot`, and its styles. */
function chartLibrary(): { readonly script: string; readonly css: string } {
  const { resolve } = createRequire(import.meta.url);
  const read = (name: string): string => readFileSync(resolve(`uplot/dist/${name}`), "utf8");
  return { script: read("uPlot.iife.min.js"), css: read("uPlot.min.css") };
}

/** The page. Everything that came from a file or a server is escaped. */
export function renderHtml(result: BenchResult): string {
  const { scenarios, suite, startedAt, durationS, complete, invalid } = result;
  const charts = scenarios.map((scenario, index) => scenarioCharts(scenario, `chart-${index}`));
  const loads = loadCharts(result);
  const all = [...loads.flatMap((load) => load.charts), ...charts.flat()];
  const library = chartLibrary();
  const body = html`<header>
      <h1>fakeai bench <small>${suite}</small></h1>
      <p>${startedAt.slice(0, 16).replace("T", " ")} UTC, ${digits(durationS)} s</p>
    </header>
    ${complete ? null : html`<p class="warning">Not complete: this is what was measured until it ended.</p>`}
    ${invalid.map((reason) => html`<p class="warning">Not valid: ${reason}</p>`)}
    <main>
      <h2 id="verdicts">Verdicts</h2>
      ${verdictTable(scenarios, "Paired by round. Faster means better: lower latency, higher rate, fewer bytes, less CPU. The grey zone is too small to matter.", ({ kind, described }) => kind === "protocol" && !described) ?? html`<p>Nothing was compared: see the figures of each scenario.</p>`}
      ${verdictTable(scenarios, "Engine effects: no statement about a protocol", ({ kind, described }) => kind === "engine" && !described)}
      ${verdictTable(scenarios, "Clients, each against the first on its protocol", ({ kind, described }) => kind === "client" && !described)}
      ${claimTable(scenarios)}
      ${verdictTable(scenarios, "Described beside them: each interval as if it were the only one, no verdict", isDescribed)}
      ${requirementTable(result)}
      <nav>${scenarios.map((scenario, index) => html`<a href="#scenario-${index}">${scenarioLabel(scenario)}</a> `)}</nav>
      ${loads.map(
        (load) =>
          html`<section>
            <h2>${load.scenario}: by streams at once</h2>
            ${chartFigures(load.charts)}
          </section>`,
      )}
      ${scenarios.map((scenario, index) => scenarioSection(scenario, index, charts[index] ?? []))}
      <noscript><p class="warning">The charts need JavaScript; every figure they rest on is in result.json.</p></noscript>
      ${calibrationTable(result)} ${environmentList(result)}
    </main>`;
  const data = inScript(JSON.stringify(all));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>${render(`fakeai bench ${suite}, ${startedAt.slice(0, 10)}`)}</title>
<style>${library.css}
${style}</style>
</head>
<body>
${body.text}
<script type="application/json" id="charts">${data}</script>
<script>/* uPlot, Copyright (c) Leon Sorokin, MIT License: https://github.com/leeoniya/uPlot */
${library.script}</script>
<script>
// Compilers that keep function names call this.
const __name = (value) => value;
(${drawCharts.toString()})(JSON.parse(document.getElementById("charts").textContent), uPlot, ${planOf.toString()});
</script>
</body>
</html>
`;
}
