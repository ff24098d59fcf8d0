/** The parts of the page that answer: the list of answers, the plot of all comparisons, and a card for each scenario. */
import { type Answer, type Contest, verdictOrder, withVerdict } from "../results/answers.ts";
import { metricFacts } from "../results/metrics.ts";
import { scenarioLabel } from "../results/scenarios.ts";
import { partsOf } from "./parts.ts";
import type { ArmResult, Comparison, MetricName, ScenarioResult, Statistic } from "../results/types.ts";
import { clientMetrics } from "./bars.ts";
import { type Chart, estimateOf, scenarioCharts } from "./charts.ts";
import { conditionsOf } from "./conditions.ts";
import { forestMark, type ForestScale, forestScale } from "./forest.ts";
import { behindLines, invalidReasons, metricLabel, quantity } from "./format.ts";
import { Html, html, type Part } from "./markup.ts";
import { colorCount, figureChart, yName } from "./svg.ts";
import { sliceCharts } from "./sweep-charts.ts";
import { armTables, comparisonTable, pacingTable, promptsLine, sessionTables } from "./tables.ts";
import { contestTitle, effectText, questionText, reasonsText, valuesText, valueText } from "./words.ts";

/** A scenario with what is said of it, and its place on the page. */
export interface Card {
  readonly scenario: ScenarioResult;
  /** Its place in the result. */
  readonly index: number;
  readonly answers: readonly { readonly contest: Contest; readonly answer: Answer }[];
}

/** The scenarios that were run, in their order. */
export function cardsOf(scenarios: readonly ScenarioResult[], contests: readonly Contest[]): Card[] {
  return scenarios.flatMap((scenario, index) => {
    const { id, variant, skipped } = scenario;
    const answers = contests.flatMap((contest) =>
      contest.answers.filter((answer) => answer.scenario === id && answer.variant === variant).map((answer) => ({ contest, answer })),
    );
    return skipped === null ? [{ scenario, index, answers }] : [];
  });
}

/** A word of a verdict, or of what became of a requirement, in its colour. */
export function badge(verdict: string): Html {
  return html`<b class="badge ${verdict.replace(" ", "-")}">${verdict}</b>`;
}

/** What an answer found: values and effect, or why there is none, and what other metrics found. */
function finding({ reading, besides, values, why }: Answer): Part {
  const isInvalid = (why ?? "").startsWith("not valid");
  const shown = reading === null || isInvalid ? "" : valuesText(reading);
  if (shown === "" || reading === null) {
    const measured = values.map(({ metric, statistic, value }) => valueText(metric, statistic, value)).join(", ");
    return html`<span class="wide">${why ?? measured}</span>`;
  }
  return [
    html`<span>${shown}</span><span>${effectText(reading.comparison)}</span>`,
    ...besides.map((one) => html`<small>but ${valuesText(one)}: ${effectText(one.comparison)}</small>`),
    why === null ? null : html`<small>${why}</small>`,
  ];
}

/** The answers of one contest; each question leads to its card. */
export function answerList({ answers }: Contest, placeOf: (answer: Answer) => string): Html {
  const rows = verdictOrder.flatMap((verdict) => withVerdict(answers, verdict));
  return html`<ul class="answers">
    ${rows.map(
      (answer) => html`<li>${badge(answer.verdict)}<a href="#${placeOf(answer)}">${questionText(answer)}</a>${finding(answer)}</li>`,
    )}
  </ul>`;
}

const percentage = (share: number): string => `${Math.round(share * 1000) / 10}%`;

/** One comparison on the scale: its interval, its estimate, what is too small to matter, and arrows where it goes on. */
function forestBar(comparison: Comparison, scale: ForestScale): Part {
  const mark = forestMark(comparison, scale);
  if (mark === null) return html`<i></i>`;
  const { low, estimate, high, leaves, zone } = mark;
  const style = `--l:${percentage(low)};--w:${percentage(high - low)};--e:${percentage(estimate)};--z:${percentage(zone)}`;
  return html`<i class="iv ${comparison.verdict}" style="${style}"
    >${leaves.left ? html`<s>◂</s>` : null}${leaves.right ? html`<s class="r">▸</s>` : null}</i
  >`;
}

/** The parts of the forest plot: only the first is about protocols. */
const kinds = [
  { kind: "protocol", title: "" },
  { kind: "engine", title: "Engines: no statement about a protocol" },
  { kind: "client", title: "Clients, each against the first on its protocol" },
] as const;

/** All metrics that were compared, on one scale; those that could not be are counted. */
export function forestPlot(scenarios: readonly ScenarioResult[], placeOf: (scenario: ScenarioResult) => string): Part {
  const wanted = scenarios.flatMap(({ comparisons }) => comparisons.filter(({ described }) => described !== true));
  const compared = wanted.filter(({ difference }) => difference !== null);
  const missing = wanted.length - compared.length;
  const note = missing === 0 ? null : html`<p class="soft">${missing} could not be compared: their scenarios say why.</p>`;
  if (compared.length === 0) return note;
  const scale = forestScale(compared);
  const axis = html`<li class="axis" aria-hidden="true">
    <span></span><i>${scale.ticks.map(({ at, text }) => html`<span style="left:${percentage(at)}">${text}</span>`)}</i><span></span>
  </li>`;
  const rows = kinds.map(({ kind, title }) => {
    const own = scenarios.flatMap((scenario) => {
      const comparisons = scenario.comparisons.filter((one) => one.kind === kind && compared.includes(one));
      return comparisons.length === 0 ? [] : [{ scenario, comparisons }];
    });
    return [
      own.length === 0 || title === "" ? null : html`<li class="kind">${title}</li>`,
      own.map(({ scenario, comparisons }) => [
        html`<li class="of"><a href="#${placeOf(scenario)}">${scenario.question ?? scenarioLabel(scenario)}</a></li>`,
        comparisons.map(
          (one) =>
            html`<li>
              <span>${metricLabel(one)} <small>${one.candidate} against ${one.baseline}</small></span>
              ${forestBar(one, scale)}<span>${effectText(one)}</span>
            </li>`,
        ),
      ]),
    ];
  });
  return html`<p class="soft">How many times better the first is, with 95% intervals over the rounds; grey is too small to matter.</p>
    <ul class="forest">
      <li class="ends">
        <span></span><i><b class="worse">◂ worse</b><b class="better">better ▸</b></i
        ><span></span>
      </li>
      ${axis}${rows}${axis}
    </ul>
    ${note}`;
}

/** Arms beside each other in one metric, from 0, with their intervals. Clients, of which there are many, stand in order. */
function armBars(arms: readonly ArmResult[], metric: MetricName, statistic: Statistic, isSorted: boolean): Part {
  const rows = arms.flatMap((arm, index) => {
    const at = estimateOf(arm, metric, statistic);
    return at === null ? [] : [{ arm, color: index % colorCount, at }];
  });
  if (rows.length === 0) return null;
  const { unit, better } = metricFacts[metric];
  const largest = Math.max(0, ...rows.map(({ at }) => at.value)) || 1;
  // One wide interval must not press all bars flat.
  const most = Math.max(largest, ...rows.map(({ at }) => Math.min(at.high ?? 0, 1.3 * largest)));
  const share = (value: number): number => Math.min(1, Math.max(0, value / most));
  if (isSorted) rows.sort((a, b) => a.at.value - b.at.value);
  const hasIntervals = rows.some(({ at }) => at.low !== undefined);
  return html`<figure>
    <figcaption>
      ${metricLabel({ metric, statistic })} <small>${better} is better${hasIntervals ? "; lines: 95% intervals" : ""}</small>
    </figcaption>
    <ul class="bars">
      ${rows.map(({ arm, color, at: { value, low, high } }) => {
        const whisker =
          low === undefined || high === undefined ? "" : `;--l:${percentage(share(low))};--w:${percentage(share(high) - share(low))}`;
        return html`<li>
          <span>${arm.id}</span><i class="c${color}${whisker === "" ? "" : " wh"}" style="--v:${percentage(share(value))}${whisker}"></i
          ><span>${quantity(value, unit, metric)}</span>
        </li>`;
      })}
    </ul>
  </figure>`;
}

/** Figures of line charts with one legend. */
export function chartFigures(charts: readonly Chart[]): Part {
  if (charts.length === 0) return null;
  return html`<div class="charts">
    ${charts.map(
      (chart) =>
        html`<figure>
          <figcaption>${chart.title} <small>${yName(chart)}</small></figcaption>
          ${new Html(figureChart(chart))}
        </figure>`,
    )}
  </div>`;
}

/** Names of the lines beside their colours. */
export function legend(names: readonly { readonly label: string; readonly color: number; readonly dashed?: boolean }[]): Html {
  return html`<p class="legend">
    ${names.map(
      ({ label, color, dashed }) => html`<span><i class="c${color % colorCount}${dashed === true ? " d" : ""}"></i>${label}</span>`,
    )}
  </p>`;
}

/** Metrics that a card shows arm by arm. */
const mostBars = 4;

/** What its pairs are compared in, that which decides first; of clients what they cost. */
function barsOf({ scenario: { arms, comparisons }, answers }: Card): Part[] {
  const isClients = arms.every(({ driver }) => driver === "client");
  const deciding = answers.flatMap(({ answer: { reading } }) => (reading === null ? [] : [reading.comparison]));
  const measured = answers.flatMap(({ answer }) => answer.values);
  const wanted = isClients ? clientMetrics : [...deciding, ...comparisons.filter(({ described }) => !described), ...measured];
  const names = [...new Set(wanted.map(({ metric, statistic }) => `${metric}.${statistic}`))].slice(0, isClients ? undefined : mostBars);
  return names.map((name) => {
    const [metric, statistic] = name.split(".") as [MetricName, Statistic];
    return armBars(arms, metric, statistic, isClients);
  });
}

/** Where the raw figures are: the file's address, as seen from the page, and the place in it. */
export interface RawData {
  readonly file: string;
  readonly name: string;
}

/** What the folds of a page hold. A large result has to do with less. */
export interface Detail {
  readonly percentileCharts: boolean;
  readonly comparisons: boolean;
  readonly arms: boolean;
}

/** The card of a scenario. */
export function scenarioCard(card: Card, id: string, raw: readonly RawData[], detail: Detail): Html {
  const { scenario, answers, index } = card;
  const { title, isolates, arms, comparisons, findings, notes, question } = scenario;
  const isCompared = comparisons.some(({ described }) => !described);
  const charts = detail.percentileCharts ? [...scenarioCharts(scenario), ...sliceCharts(scenario)] : [];
  const pairs = comparisons.length > 0 ? comparisons : arms.slice(0, 1).map((arm) => ({ baseline: arm.id, candidate: arm.id }));
  const conditions = [...new Set(pairs.flatMap((pair) => conditionsOf(scenario, pair)))];
  const lines =
    charts.length === 0
      ? null
      : [
          arms.length > 1 ? legend(arms.map((arm, color) => ({ label: arm.id, color, dashed: arm.role === "engine" }))) : null,
          chartFigures(charts),
        ];
  return html`<section class="card" id="${id}">
    <h3>${question ?? scenarioLabel(scenario)}</h3>
    <p class="soft">${question === undefined ? "" : `${scenarioLabel(scenario)}: `}${title}. ${isolates}.</p>
    <ul class="answers">
      ${answers.map(
        ({ contest, answer }) =>
          html`<li>
            ${badge(answer.verdict)}<span>${contestTitle(contest)}${answer.detail === "" ? "" : `, ${answer.detail}`}</span>${finding(answer)}
          </li>`,
      )}
    </ul>
    ${warningsOf(scenario)}${(findings ?? []).map((text) => html`<p class="warning">${text}</p>`)}
    <div class="charts">${barsOf(card)}</div>
    ${isCompared ? null : lines} ${conditions.length === 0 ? null : html`<p class="soft"><b>Holds for</b> ${conditions.join("; ")}</p>`}
    <details>
      <summary>All figures</summary>
      ${detail.arms ? [armTables(scenario), partsOf(arms)] : null}${detail.comparisons ? [comparisonTable(scenario), pacingTable(arms)] : null}${sessionTables(arms)}${isCompared ? lines : null}
      <p class="soft">${workloadText(scenario)}</p>
      ${promptsLine(scenario)}${notes.map((note) => html`<p>${note}</p>`)}
    </details>
    ${rawLinks(raw, `.scenarios[${index}]`)}
  </section>`;
}

/** The workload as it was run, without what it does not have. */
function workloadText({ workload }: ScenarioResult): string {
  return Object.entries(workload)
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name} ${String(value)}`)
    .join(", ");
}

/** Links to the raw figures, and their place in them. */
export function rawLinks(raw: readonly RawData[], place: string): Part {
  if (raw.length === 0) return null;
  return html`<p class="soft raw">
    Raw data: ${raw.map(({ file, name }, index) => html`${index === 0 ? "" : ", "}<a href="${file}">${name}</a>`)} <code>${place}</code>
  </p>`;
}

/** Why arms may not be used, each kind of reason once, and who fell behind the plan. */
export function warningsOf({ arms }: ScenarioResult): Part {
  const invalid = arms.flatMap((arm) => invalidReasons(arm).map((reason) => `${arm.id}: ${reason}`));
  return [...reasonsText(invalid), ...arms.flatMap(behindLines)].map((text) => html`<p class="warning">${text}</p>`);
}
