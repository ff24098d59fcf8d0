/** A result as one page that needs no network and runs no script: the answers first, the evidence below, everything else in folds. */
import { type Answer, answersOf } from "../results/answers.ts";
import { scenarioLabel } from "../results/scenarios.ts";
import type { SweepResult } from "../results/sweep.ts";
import type { BenchResult, ScenarioResult } from "../results/types.ts";
import {
  answerList,
  badge,
  cardsOf,
  chartFigures,
  type Detail,
  forestPlot,
  legend,
  rawLinks,
  type RawData,
  scenarioCard,
} from "./cards.ts";
import { causesOf } from "./causes.ts";
import { loadCharts } from "./charts.ts";
import { claimConditions } from "./conditions.ts";
import { renderPage, type Section } from "./frame.ts";
import { digits, gain, metricLabel, requiredValue, requirementOutcome } from "./format.ts";
import type { Html } from "./markup.ts";
import { html, type Part, render } from "./markup.ts";
import { percentileAxis, plotStyle } from "./svg.ts";
import { sweepCharts } from "./sweep-charts.ts";
import { isPoint, seriesLabel, sweepTable } from "./sweeps.ts";
import { calibrationTable, environmentList, pointTable, table } from "./tables.ts";
import { beliefTexts, contestTitle, fromPlanned, hasPlannedStart, headline, outcomeText, reasonsText } from "./words.ts";

/** Answers of a contest that is no protocol's: more than these are folded. */
const mostOpen = 4;

function claimsOf(scenarios: readonly ScenarioResult[]): Part {
  const rows = scenarios.flatMap((scenario) =>
    scenario.claims.map((claim): Part[] => {
      const { comparison, reason } = claim;
      const facts = [...(comparison === null ? [] : causesOf(scenario, comparison)), reason ?? ""].filter((fact) => fact !== "");
      const where = comparison === null ? "" : `: ${comparison.candidate} against ${comparison.baseline}, ${metricLabel(comparison)}`;
      return [
        badge(claim.verdict),
        html`“${claim.text}” <small>${claim.source}</small>`,
        `at least ${digits(claim.gain * 100)}%`,
        html`${gain(claim)}${facts.map((fact) => html` <small>${fact}</small>`)}`,
        html`${scenarioLabel(scenario)}${where} <small>${claimConditions(scenario, claim).join("; ")}</small>`,
      ];
    }),
  );
  if (rows.length === 0) return null;
  return table(
    "Reproduced: the whole interval reaches the claimed gain. Refuted: the whole interval is below it.",
    ["verdict", "claim", "claimed", "measured (95% interval)", "where"],
    rows,
  );
}

function requirementsOf({ requirements }: BenchResult): Part {
  if (requirements.length === 0) return null;
  return html`<ul class="answers">
    ${requirements.map((requirement) => {
      const { text, measured } = requirement;
      const values = measured.map(({ scenario, arm, value }) => `${scenario}/${arm} ${requiredValue(text, value)}`);
      return html`<li>
        ${badge(requirementOutcome(requirement))}<code>${text}</code
        ><span>${values.length === 0 ? "no such arm was run" : values.join(", ")}</span>
      </li>`;
    })}
  </ul>`;
}

/** Lines over what was varied, with the knees, what they say together, and every point in a fold. */
function sweepCard(sweep: SweepResult, scenarios: readonly ScenarioResult[], id: string, raw: readonly RawData[], index: number): Html {
  const shown = sweepTable(sweep, scenarios);
  const charts = sweepCharts(sweep, scenarios);
  const names = sweep.series.map((series, color) => ({ label: seriesLabel(series), color }));
  const others = shown.lines.filter(({ kind }) => kind !== "finding");
  const invalid = others.flatMap(({ kind, text }) => (kind === "invalid" ? [text.replace(" not valid: ", ": ")] : []));
  return html`<section class="card" id="${id}">
    <h3>${shown.title}</h3>
    ${shown.lines.filter(({ kind }) => kind === "finding").map(({ text }) => html`<p>${text}</p>`)}
    ${reasonsText(invalid).map((text) => html`<p class="warning">${text}</p>`)}
    ${names.length > 1 ? legend(names) : null}${chartFigures(charts)}
    ${charts.length === 0 ? null : html`<p class="soft">Areas: 95% intervals over the rounds. Dashed: the knee.</p>`}
    <details>
      <summary>All figures</summary>
      ${pointTable(shown, sweep.axes.length)}${others.filter(({ kind }) => kind !== "invalid").map(({ text }) => html`<p>${text}</p>`)}
    </details>
    ${rawLinks(raw, `.sweeps[${index}]`)}
  </section>`;
}

function sectionsOf(
  result: BenchResult,
  raw: readonly RawData[],
  detail: Detail,
): { readonly answers: Part; readonly sections: readonly Section[] } {
  const { scenarios, sweeps = [] } = result;
  const { contests, notRun, belief, target } = answersOf(result);
  const cardId = ({ id, variant }: Pick<ScenarioResult, "id" | "variant">): string => {
    const sweep = sweeps.findIndex((one) => one.scenario === id && one.points.some((point) => point.variant === variant));
    if (sweep >= 0) return `sweep-${sweep}`;
    return `scenario-${scenarios.findIndex((one) => one.id === id && one.variant === variant)}`;
  };
  const placeOf = ({ scenario, variant }: Answer): string => cardId({ id: scenario, variant });
  const main = contests.find(({ baseline }) => baseline !== null) ?? contests[0];
  const rest = contests.filter((contest) => contest !== main);
  const answers = html`${main === undefined ? null : answerList(main, placeOf)}${rest.map((contest) => {
      const title = contest.baseline === null ? contestTitle(contest) : `${contestTitle(contest)}: ${outcomeText(contest)}`;
      return contest.answers.length <= mostOpen
        ? html`<h2 class="contest">${title}</h2>
            ${answerList(contest, placeOf)}`
        : html`<details>
            <summary>${title}</summary>
            ${answerList(contest, placeOf)}
          </details>`;
    })}${hasPlannedStart(contests.flatMap((contest) => contest.answers)) ? html`<p class="soft">${fromPlanned}</p>` : null}
    <dl class="belief">
      ${[
        html`<dt>Believe it?</dt>
          <dd>${beliefTexts(belief, target).join(", ")}</dd>`,
        ...notRun.map(
          ({ question, reason }) =>
            html`<dt>Not run</dt>
              <dd>${question}: ${reason}</dd>`,
        ),
      ]}
    </dl>`;
  const cards = cardsOf(scenarios, contests).filter(({ scenario }) => !isPoint(scenario, sweeps));
  const loads = loadCharts({ ...result, scenarios: scenarios.filter((scenario) => !isPoint(scenario, sweeps)) });
  const all: Section[] = [
    { id: "requirements", name: "Required", title: "Requirements", body: requirementsOf(result) },
    { id: "compared", name: "Compared", title: "All compared metrics", body: forestPlot(scenarios, cardId) },
    {
      id: "sweeps",
      name: "Sweeps",
      title: "Sweeps",
      body: sweeps.length === 0 ? null : sweeps.map((sweep, index) => sweepCard(sweep, scenarios, `sweep-${index}`, raw, index)),
    },
    {
      id: "scenarios",
      name: "Scenarios",
      title: "Scenarios",
      body: cards.length === 0 ? null : cards.map((card) => scenarioCard(card, `scenario-${card.index}`, raw, detail)),
    },
    {
      id: "loads",
      name: "By load",
      title: "By streams at once",
      body:
        loads.length === 0
          ? null
          : loads.map(
              ({ scenario, charts }) =>
                html`<section class="card">
                  <h3>${scenario}</h3>
                  ${legend([
                    ...new Map(charts.flatMap(({ lines }) => lines.map((line) => [line.label, line]))).values(),
                  ])}${chartFigures(charts)}
                </section>`,
            ),
    },
    { id: "claims", name: "Claims", title: "Claims", body: claimsOf(scenarios) },
    {
      id: "run",
      name: "Run",
      title: "The run",
      body: html`${environmentList(result)}${
        result.calibration === null
          ? null
          : html`<details>
              <summary>Calibration of the load generator</summary>
              ${calibrationTable(result)}
            </details>`
      }`,
    },
  ];
  return { answers, sections: all.filter(({ body }) => render(body) !== "") };
}

/** A page of more bytes is slow to open on a phone. */
const mostBytes = 300_000;

/** What folds hold, and what a reader is told that they do not: the first whose page is small enough is taken. */
const details: readonly (Detail & { readonly without: string })[] = [
  { percentileCharts: true, comparisons: true, arms: true, without: "" },
  { percentileCharts: false, comparisons: true, arms: true, without: "charts by percentile" },
  { percentileCharts: false, comparisons: false, arms: true, without: "charts by percentile and what was compared beside the verdicts" },
  { percentileCharts: false, comparisons: false, arms: false, without: "charts by percentile and tables of the arms" },
];

/**
 * The page. Everything that came from a file or a server is escaped.
 * @param raw files beside the page that it links to.
 */
export function renderHtml(result: BenchResult, raw: readonly RawData[] = []): string {
  let page = "";
  for (const detail of details) {
    page = pageWith(result, raw, detail);
    if (Buffer.byteLength(page) <= mostBytes) break;
  }
  return page;
}

function pageWith(result: BenchResult, raw: readonly RawData[], detail: (typeof details)[number]): string {
  const { suite, startedAt, durationS, complete, invalid } = result;
  const { answers, sections } = sectionsOf(result, raw, detail);
  const left =
    detail.without === ""
      ? null
      : html`<p class="soft">
          Left out, as this page would be too large: ${detail.without}. <code>fakeai report --full</code> prints every figure.
        </p>`;
  const header = html`<h1>${headline(answersOf(result))}</h1>
    <p class="soft">
      Suite ${suite}, ${startedAt.slice(0, 16).replace("T", " ")} UTC, ${digits(durationS)}
      s${raw.map(({ file, name }) => html`, <a href="${file}">${name}</a>`)}
    </p>
    ${answersOf(result).caveats.map((text) => html`<p>${text}</p>`)}
    ${complete ? null : html`<p class="warning">Not complete: this is what was measured until it ended.</p>`}
    ${reasonsText(invalid).map((reason) => html`<p class="warning">${reason}</p>`)} ${answers}${left}`;
  return renderPage({
    title: `fakeai bench ${suite}, ${startedAt.slice(0, 10)}`,
    product: "fakeai bench",
    first: { id: "answers", name: "Answers", skip: "To the answers" },
    header,
    sections,
    styles: plotStyle,
    drawings: percentileAxis(),
  });
}
