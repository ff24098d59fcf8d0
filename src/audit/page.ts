/** `audit.html`: one page without a script that needs no network. The verdicts first, each rung's evidence below. */
import { digits } from "../report/format.ts";
import { renderPage } from "../report/frame.ts";
import { html, type Html, type Part } from "../report/markup.ts";
import { table } from "../report/tables.ts";
import { figureLabel, quantities } from "./quantities.ts";
import type { Arrivals, Audit, Cause, FigureResult, FigureSummary, RungResult, Traffic, Verdict } from "./types.ts";

const verdictWords: Readonly<Record<Verdict, string>> = {
  right: "right",
  biased: "biased",
  undecided: "undecided",
  "not-reported": "not reported",
  "not-comparable": "not comparable",
};

/** The classes of the report's badges, by what they stand for. */
const badgeClasses: Readonly<Record<Verdict, string>> = {
  right: "helps",
  biased: "hurts",
  undecided: "undecided",
  "not-reported": "none",
  "not-comparable": "none",
};

function badge(verdict: Verdict): Html {
  return html`<span class="badge ${badgeClasses[verdict]}">${verdictWords[verdict]}</span>`;
}

function signed(value: number): string {
  return `${value > 0 ? "+" : ""}${digits(value)}`;
}

function causeParts(causes: readonly Cause[]): Part {
  return causes.map(({ text }) => html`<small>${text}</small>`);
}

function mean(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0) / values.length;
}

/** Bias with its interval: "+5.1 (+4.9 to +5.3) ms, +5.1%". */
function biasOf({ bias, unit }: FigureResult): string {
  if (bias === null) return "";
  const { estimate, low, high, ratio } = bias;
  return `${signed(estimate)} (${signed(low)} to ${signed(high)}) ${unit}${ratio === null ? "" : `, ${signed(ratio * 100)}%`}`;
}

function summaryTable({ figures, rungs }: Audit): Part {
  const rows = figures
    .filter(({ verdict }) => verdict !== "not-reported")
    .toSorted((a, b) => order.indexOf(a.verdict) - order.indexOf(b.verdict))
    .map((figure): Part[] => [
      badge(figure.verdict),
      html`${figureLabel(figure.quantity, figure.statistic)} <small>${figure.name ?? ""}</small>`,
      farthest(figure, rungs),
      html`${placesOf(figure)}${causeParts(figure.causes)}`,
    ]);
  const missing = figures
    .filter(({ verdict }) => verdict === "not-reported")
    .map(({ quantity, statistic }) => figureLabel(quantity, statistic));
  return html`${rows.length === 0 ? null : table("", ["verdict", "figure, and the tool's name for it", "farthest off (95% interval)", "where, and why"], rows)}
  ${missing.length === 0 ? null : html`<p class="soft">Not reported: ${missing.join(", ")}.</p>`}`;
}

/** What a reader looks for stands first. */
const order: readonly Verdict[] = ["biased", "undecided", "not-comparable", "right"];

/** "biased on cuts; right on constant, role". */
function placesOf({ biased, right, undecided }: FigureSummary): string {
  const all = biased.length + right.length + undecided.length;
  const places = [
    ["biased", biased],
    ["right", right],
    ["undecided", undecided],
  ] as const;
  return places
    .filter(([, names]) => names.length > 0)
    .map(([word, names]) => (names.length === all && all > 2 ? `${word} on all ${all} rungs` : `${word} on ${names.join(", ")}`))
    .join("; ");
}

/** Where it is farthest off, among the rungs that have its verdict. */
function farthest({ quantity, statistic, verdict }: FigureSummary, rungs: readonly RungResult[]): Part {
  const found = rungs
    .flatMap(({ name, figures }) =>
      figures.filter((one) => one.quantity === quantity && one.statistic === statistic).map((figure) => ({ name, figure })),
    )
    .filter(({ figure }) => figure.bias !== null && figure.verdict === verdict)
    .toSorted((a, b) => Math.abs(b.figure.bias!.estimate) - Math.abs(a.figure.bias!.estimate))[0];
  return found === undefined ? null : html`${biasOf(found.figure)} <small>${found.name}</small>`;
}

const shapes: Readonly<Record<Arrivals["shape"], string>> = {
  constant: "at equal distances",
  poisson: "at random (Poisson)",
  bursts: "in bursts",
  "closed-loop": "each when an answer had ended (closed loop)",
  few: "too few to tell",
  irregular: "irregular",
};

function trafficTable(repeats: RungResult["repeats"]): Part {
  const row = (name: string, cell: (traffic: Traffic) => string): Part[] => [name, ...repeats.map(({ traffic }) => cell(traffic))];
  const rate = (value: number | null): string => (value === null ? "–" : `${digits(value)}/s`);
  const rows = [
    row("requests, whole answers", ({ requests, completed }) => `${requests}, ${completed}`),
    row("refused, cut, given up by the tool", ({ refused, cut, aborted }) => `${refused}, ${cut}, ${aborted}`),
    row("warm-up before, other requests", ({ warmUp, others }) => `${warmUp}, ${others}`),
    row("retries", ({ retries }) => (retries === null ? "not to be told" : String(retries))),
    row("arrivals", ({ arrivals, arrivalsPerSecond }) => `${rate(arrivalsPerSecond)}, ${shapes[arrivals.shape]}`),
    row(
      "at once: mean, most",
      ({ meanConcurrency, maxConcurrency }) => `${meanConcurrency === null ? "–" : digits(meanConcurrency)}, ${maxConcurrency}`,
    ),
    row("connections, protocol", ({ connections, protocols }) => `${connections ?? "not told"}, ${Object.keys(protocols).join(", ")}`),
    row("different prompts", ({ prompts }) => String(prompts)),
    row("output tokens; events", ({ outputTokens, eventsPerSecond }) => `${outputTokens}; ${rate(eventsPerSecond)}`),
    row("server late, p99", ({ serverLateP99Ms }) => (serverLateP99Ms === null ? "–" : `${digits(serverLateP99Ms)} ms`)),
    [
      "the tool: cores used, waiting for one",
      ...repeats.map(({ machine }) => (machine === null ? "–" : `${digits(machine.cores)}, ${digits(machine.waiting * 100)}%`)),
    ],
  ];
  return table("", ["what the server saw", ...repeats.map((_, index) => `run ${index + 1}`)], rows, true);
}

/** Requests at once over the run, as a drawing with its values in words. */
function concurrencyChart({ concurrency, maxConcurrency, durationS }: Traffic): Part {
  if (concurrency.length < 2 || maxConcurrency === 0) return null;
  const [width, height, left, bottom] = [420, 96, 34, 74];
  const step = (width - left - 8) / concurrency.length;
  const top = Math.max(maxConcurrency, ...concurrency);
  const y = (value: number): number => Math.round((bottom - (value / top) * (bottom - 10)) * 10) / 10;
  const path = concurrency
    .map(
      (value, index) =>
        `${index === 0 ? "M" : "L"}${Math.round((left + index * step) * 10) / 10} ${y(value)}h${Math.round(step * 10) / 10}`,
    )
    .join("");
  const label = `Requests at once over ${digits(durationS)} s: at most ${maxConcurrency}`;
  return html`<figure>
    <figcaption>Requests at once, run 1</figcaption>
    <svg class="plot" viewBox="0 0 ${width} ${height}" role="img" aria-label="${label}">
      <path d="M${left} ${bottom}H${width - 8}" stroke="currentColor" fill="none" opacity=".4" />
      <path d="${path}" stroke="currentColor" stroke-width="2" fill="none" />
      <text x="${left - 6}" y="${y(top) + 4}" text-anchor="end" font-size="12" fill="currentColor">${maxConcurrency}</text>
      <text x="${left - 6}" y="${bottom + 4}" text-anchor="end" font-size="12" fill="currentColor">0</text>
      <text x="${width - 8}" y="${bottom + 18}" text-anchor="end" font-size="12" fill="currentColor">${digits(durationS)} s</text>
    </svg>
  </figure>`;
}

function parametersOf(repeats: RungResult["repeats"]): Part {
  const parameters = repeats[0]?.traffic.parameters ?? {};
  const names = Object.keys(parameters);
  if (names.length === 0) return null;
  return html`<p class="soft">
    Parameters sent: ${names.map((name, index) => html`${index === 0 ? "" : ", "}<code>${name}</code> ${parameters[name]!.join(" or ")}`)}.
  </p>`;
}

function rungCard(rung: RungResult): Html {
  const { name, title, plan, figures, repeats, notes } = rung;
  const rows = figures.map((figure): Part[] => [
    badge(figure.verdict),
    html`${figureLabel(figure.quantity, figure.statistic)} <small>${figure.name}</small>`,
    figure.reported.length === 0 ? "–" : digits(mean(figure.reported)),
    figure.truth.length === 0 ? "–" : digits(mean(figure.truth)),
    html`${biasOf(figure)} <small>tolerance ${digits(figure.tolerance)} ${quantities[figure.quantity].unit}</small>`,
    html`${causeParts(figure.causes)}`,
  ]);
  const counts = (["biased", "undecided", "right"] as const).flatMap((verdict) => {
    const count = figures.filter((figure) => figure.verdict === verdict).length;
    return count === 0 ? [] : [`${count} ${verdict}`];
  });
  return html`<section class="card" id="rung-${name}">
    <h3>${name}: ${title}</h3>
    <p class="soft"><code>${plan}</code></p>
    ${notes.map((note) => html`<p>${note}</p>`)}
    ${
      rows.length === 0
        ? null
        : html`<details>
            <summary>Figures: ${counts.join(", ")}</summary>
            ${table("Means over the runs.", ["verdict", "figure", "reported", "true", "bias (95% interval)", "why"], rows)}
          </details>`
    }
    <details>
      <summary>What the server saw</summary>
      ${trafficTable(repeats)}${repeats[0] === undefined ? null : concurrencyChart(repeats[0].traffic)}${parametersOf(repeats)}
    </details>
  </section>`;
}

function toleranceTable(): Part {
  const percent = (value: number): string => `${digits(value * 100)}%`;
  const rows = Object.values(quantities).map(({ label, unit, is, ratio, absolute }): Part[] => [
    label,
    is,
    ratio[0] === 0 && absolute[0] === 0 ? "none" : `${percent(ratio[0])} or ${digits(absolute[0])} ${unit}`,
    unit === "ms" ? `${percent(ratio[1])} or ${digits(absolute[1])} ${unit}` : "the same",
  ]);
  return table(
    "The greater of the two counts. A rate may be off by one request of its run.",
    ["figure", "is", "mean and median may be off by", "p90 and above"],
    rows,
  );
}

/** The page. Everything that came from a command or its report is escaped. */
export function renderAuditPage(audit: Audit): string {
  const { line, tool, toolVersion, rungs, definitions, documentation, limit, command, leftOut } = audit;
  const name = tool === null ? "A command" : [tool, ...(toolVersion === null ? [] : [toolVersion])].join(" ");
  const names = html`${definitions.map((text) => html`<p>${text}</p>`)}
    <p class="soft">Its documentation: ${documentation}</p>`;
  const judged = html`<p>
      The server kept a known plan on each rung and recorded when each token left. A figure is right where the whole 95% interval of its
      bias (Student's t over the runs) lies within the tolerance, and biased where it lies beyond. Of a percentile every usual definition
      counts as true. The truth ends where a token is handed to the transport: the way to the client is in the tolerance.
    </p>
    ${toleranceTable()}
    <dl>
      <dt>Taken</dt>
      <dd>
        ${audit.startedAt.slice(0, 16).replace("T", " ")} UTC, ${digits(audit.durationS)} s, ${audit.repeats} runs a rung, over
        ${audit.protocol}
      </dd>
      <dt>Machine</dt>
      <dd>${audit.environment}; load average ${audit.loadAverage.map((load) => digits(load)).join(" before, ")} after</dd>
      <dt>fakeai</dt>
      <dd>${audit.fakeai}</dd>
    </dl>`;
  return renderPage({
    title: `fakeai audit: ${name}`,
    product: "fakeai audit",
    first: { id: "verdicts", name: "Verdicts", skip: "To the verdicts" },
    header: html`<h1>${name} against the server's own records</h1>
      <p>${line}</p>
      <p class="soft"><code>fakeai audit -- ${command.join(" ")}</code></p>
      ${limitText(limit) === "" ? null : html`<p>${limitText(limit)}</p>`}${summaryTable(audit)}`,
    sections: [
      ...(definitions.length === 0 ? [] : [{ id: "names", name: "Names", title: "What its names mean", body: names }]),
      {
        id: "rungs",
        name: "Rungs",
        title: "Rungs",
        body: html`${rungs.map(rungCard)}${
          leftOut.length === 0 ? null : html`<p class="soft">Left out to fit the budget: ${leftOut.join(", ")}.</p>`
        }`,
      },
      { id: "how", name: "How", title: "How it was judged", body: judged },
    ],
  });
}

/** What the way up found, in words; "": nothing. */
export function limitText({ eventsPerSecond, rung, figure, rightUpToEventsPerSecond, beforeIt }: Audit["limit"]): string {
  const upTo =
    rightUpToEventsPerSecond === null ? "" : `Latencies were right up to ${digits(rightUpToEventsPerSecond)} events with tokens a second. `;
  if (eventsPerSecond !== null)
    return `${upTo}At ${digits(eventsPerSecond)} a second (${rung ?? ""}) ${figure ?? "one"} left the truth: the tool's own limit.`;
  if (beforeIt !== null) {
    const { end, rung: at, eventsPerSecond: events, serverLateP99Ms } = beforeIt;
    const why =
      end === "machine"
        ? "the tool had to wait for a core"
        : `the server itself was late${serverLateP99Ms === null ? "" : ` (p99 ${digits(serverLateP99Ms)} ms)`}`;
    return `${upTo}At ${digits(events)} a second (${at}) ${why}: the limit of this ${end}, and not of the tool, whose own was not found.`;
  }
  return upTo === "" ? "" : `${upTo}No higher load that was played had one wrong.`;
}
