/** A certificate as one page that needs no network and runs no script: faults first, then what each gateway adds, then the evidence. */
import { faultsOf, gatewayFile } from "../../results/gateways/store.ts";
import type { Certificate, CheckVerdict, GatewayResult, Level, OwnLimit } from "../../results/gateways/types.ts";
import { chartFigures, legend } from "../cards.ts";
import type { Chart, Line, Point } from "../charts.ts";
import { digits, quantity } from "../format.ts";
import { renderPage, type Section } from "../frame.ts";
import { type Html, html, type Part } from "../markup.ts";
import { plotStyle } from "../svg.ts";
import { table } from "../tables.ts";
import { addedText, boundText, checkNames, clientText, gatewayHeadline, machineText, rateText } from "./words.ts";

/** The colours that badges have, by verdict. */
const tones: Readonly<Record<CheckVerdict | "reproduced" | "refuted" | "not comparable", string>> = {
  kept: "met",
  changed: "mixed",
  fault: "violated",
  unknown: "none",
  reproduced: "reproduced",
  refuted: "refuted",
  "not comparable": "none",
};

const badge = (verdict: keyof typeof tones): Html => html`<b class="badge ${tones[verdict]}">${verdict}</b>`;
const none = "–";
const ms = (us: number | null): string => (us === null ? none : `${digits(us / 1000)} ms`);

/** The page. All texts that came from a gateway are escaped. */
export function renderGatewayPage(result: GatewayResult): string {
  const { startedAt, durationS, complete, invalid, ownLimits = [] } = result;
  const looked = result.certificates.filter(({ leftOut }) => leftOut === null);
  const sections: readonly Section[] = [
    { id: "added", name: "Added", title: "What each gateway adds", body: overview(looked, result) },
    { id: "rates", name: "By rate", title: "From few streams to saturation", body: charts(result) },
    ...(ownLimits.length === 0 ? [] : [{ id: "reach", name: "Reach", title: "How far the measurement reaches", body: reach(ownLimits) }]),
    { id: "gateways", name: "Gateways", title: "Each gateway", body: looked.map((one) => card(one, result)) },
    { id: "claims", name: "Claims", title: "Published claims", body: claims(result) },
    { id: "run", name: "Run", title: "The run", body: run(result) },
  ];
  const header = html`<h1>${gatewayHeadline(result)}</h1>
    <p class="soft">${startedAt.slice(0, 16).replace("T", " ")} UTC, ${digits(durationS)} s, <a href="${gatewayFile}">${gatewayFile}</a></p>
    ${complete ? null : html`<p class="warning">Not complete: this is what was measured until it ended.</p>`}
    ${invalid.map((reason) => html`<p class="warning">${reason}</p>`)} ${faultList(result)}
    <dl class="belief">
      <dt>Believe it?</dt>
      <dd>${[clientText(result), machineText(result)].filter((text) => text !== "").join("; ")}.</dd>
    </dl>`;
  return renderPage({
    title: `fakeai gateway certify, ${startedAt.slice(0, 10)}`,
    product: "fakeai gateway",
    first: { id: "answers", name: "Faults", skip: "To the answers" },
    header,
    sections,
    styles: `${plotStyle}
.numbers td:last-child, .numbers thead th:last-child { text-align: left; min-width: 110px; } .numbers td, .numbers thead th { overflow-wrap: break-word; } .numbers td > small { grid-column: 2; }
pre { white-space: pre-wrap; font: 12.5px/1.4 ui-monospace, Menlo, Consolas, monospace; }
`,
  });
}

function faultList(result: GatewayResult): Part {
  const faults = faultsOf(result);
  const leftOut = result.certificates.filter((one) => one.leftOut !== null);
  return html`<ul class="answers">
    ${faults.map(
      ({ certificate, check }) =>
        html`<li>${badge("fault")}<span>${certificate.id}, ${checkNames[check.id]}</span><span class="wide">${check.seen}</span></li>`,
    )}${leftOut.map(
      ({ id, leftOut: reason }) => html`<li>${badge("unknown")}<span>${id}</span><span class="wide">left out: ${reason}</span></li>`,
    )}
  </ul>`;
}

function overview(looked: readonly Certificate[], { boundMs }: GatewayResult): Part {
  const rows = looked.map((one): Part[] => {
    // What it adds where it is already at its limit is what a reader wants to know most.
    const first = one.levels.find(({ limit }) => limit !== "client or server");
    const last = one.levels.findLast(({ limit }) => limit === null) ?? first;
    const rss = one.levels.map(({ gatewayRssBytes }) => gatewayRssBytes).filter((bytes) => bytes !== null);
    return [
      html`${one.id} <small>${one.version ?? ""}</small>`,
      first === undefined ? none : html`${addedText(first.addedTtftP50)} <small>at ${rateText(first)}</small>`,
      last === undefined ? none : html`${addedText(last.addedTtftP99)} <small>at ${rateText(last)}</small>`,
      last === undefined ? none : html`${addedText(last.addedTokenP50)} <small>p99 ${addedText(last.addedTokenP99)}</small>`,
      cpuText(last),
      rss.length === 0 ? none : quantity(Math.max(...rss), "bytes"),
      boundText(one, boundMs),
    ];
  });
  return html`${table(
    "Through the gateway minus direct, round by round: median with its 95% interval. TTFT counts from when a request was due; the way of a token from the server's hand to the client's read, by stamps.",
    ["gateway", "TTFT p50, lowest rate", "TTFT p99, highest rate kept up with", "way of a token", "CPU", "memory", "bound"],
    rows,
    true,
  )}`;
}

function cpuText(level: Level | undefined): string {
  if (level === undefined || level.gatewayCpuUsPerRequest === null || level.gatewayCpuUsPerToken === null) return none;
  return `${digits(level.gatewayCpuUsPerRequest)} µs a request, ${digits(level.gatewayCpuUsPerToken)} µs a token`;
}

function charts({ certificates }: GatewayResult): Part {
  const protocols = [...new Set(certificates.filter(({ levels }) => levels.length > 0).map(({ protocol }) => protocol))];
  return protocols.map((protocol) => {
    const own = certificates.filter((one) => one.protocol === protocol && one.levels.length > 0);
    const longest = own.toSorted((a, b) => b.levels.length - a.levels.length)[0]!;
    const ticks = longest.levels.map(({ streams }) => ({ x: Math.log(streams), text: String(streams) }));
    const lineOf = (label: string, color: number, levels: readonly Level[], value: (level: Level) => number | null): Line => ({
      label,
      color,
      dashed: label === "direct",
      points: levels.flatMap((level): Point[] => {
        const y = value(level);
        return y === null ? [] : [{ x: Math.log(level.streams), y }];
      }),
    });
    const common = { kind: "load", xLabel: "planned streams at once", ticks, better: "lower" } as const;
    const ttft: Chart = {
      ...common,
      title: "TTFT, p99",
      yLabel: "ms",
      lines: [
        lineOf("direct", 0, longest.levels, ({ direct }) => (direct.ttftP99Us === null ? null : direct.ttftP99Us / 1000)),
        ...own.map((one, index) =>
          lineOf(one.gateway, index + 1, one.levels, ({ through }) => (through.ttftP99Us === null ? null : through.ttftP99Us / 1000)),
        ),
      ],
    };
    const cpu: Chart = {
      ...common,
      title: "CPU of the gateway for a token",
      yLabel: "µs",
      lines: own.map((one, index) => lineOf(one.gateway, index + 1, one.levels, ({ gatewayCpuUsPerToken }) => gatewayCpuUsPerToken)),
    };
    const drawn = [ttft, cpu].filter(({ lines }) => lines.some(({ points }) => points.length > 0));
    return html`<section class="card">
      <h3>${protocol} from the client</h3>
      ${legend(ttft.lines)}${chartFigures(drawn)}
    </section>`;
  });
}

function card(one: Certificate, { boundMs }: GatewayResult): Html {
  const { id, version, licence, upstreamHttp, checks, levels, config } = one;
  const facts = [version === null ? "" : `version ${version}`, licence ?? "", upstreamHttp === null ? "" : `${upstreamHttp} to the server`];
  return html`<section class="card" id="${id.replaceAll(":", "-")}">
    <h3>${id}</h3>
    <p class="soft">${facts.filter((fact) => fact !== "").join(", ")}</p>
    <p>${boundText(one, boundMs)}</p>
    ${table(
      "",
      ["verdict", "what", "seen"],
      checks.map((check): Part[] => [badge(check.verdict), checkNames[check.id], check.seen]),
    )}
    ${levels.length === 0 ? null : levelTable(levels)}
    ${
      config === null || config === ""
        ? null
        : html`<details>
            <summary>Its configuration</summary>
            <pre>${config.replaceAll("\n", "\u2028")}</pre>
          </details>`
    }
  </section>`;
}

function levelTable(levels: readonly Level[]): Html {
  return table(
    "At each rate: direct, and what the gateway adds.",
    [
      "requests",
      "TTFT p50, p99 direct",
      "TTFT p50 added",
      "TTFT p99 added",
      "token p50 added",
      "ITL p99 added",
      "reads a token",
      "CPU",
      "runs, client",
      "limit",
    ],
    levels.map((level): Part[] => [
      rateText(level),
      `${ms(level.direct.ttftP50Us)}, ${ms(level.direct.ttftP99Us)}`,
      addedText(level.addedTtftP50),
      addedText(level.addedTtftP99),
      addedText(level.addedTokenP50),
      addedText(level.addedItlP99),
      level.through.readsPerEvent === null
        ? none
        : `${digits(level.through.readsPerEvent)}, direct ${digits(level.direct.readsPerEvent ?? 0)}`,
      cpuText(level),
      `${level.rounds} rounds, ${level.disturbedRuns} runs disturbed; client ${Math.round((level.clientCpuShare ?? 0) * 100)}% of a core`,
      level.limit === null ? (level.reason ?? "") : `${level.limit}: ${level.reason ?? ""}`,
    ]),
    true,
  );
}

/** What server and client keep up with without a gateway: no figure of one reaches further. */
function reach(ownLimits: readonly OwnLimit[]): Html {
  return table(
    "The same rates direct, without any gateway: no figure of a gateway reaches further.",
    ["protocol", "kept up to", "not kept at", "client at the highest rate"],
    ownLimits.map(({ protocol, keptPerSecond, passedPerSecond, reason, clientCpuShare }): Part[] => [
      protocol,
      keptPerSecond === null ? none : `${digits(keptPerSecond)} requests/s`,
      passedPerSecond === null ? "not met" : html`${digits(passedPerSecond)} requests/s <small>${reason ?? ""}</small>`,
      clientCpuShare === null ? none : `${Math.round(clientCpuShare * 100)}% of a core`,
    ]),
    true,
  );
}

function claims({ claims: all }: GatewayResult): Part {
  return table(
    "Each in its own terms; what its number leaves out is said.",
    ["verdict", "claim", "measured", "it leaves out"],
    all.map(({ claim, verdict, measured }): Part[] => [
      badge(verdict),
      html`${claim.gateway}: “${claim.text}” <small>${claim.source}; ${claim.conditions}</small>`,
      measured,
      claim.leavesOut,
    ]),
  );
}

function run({ environment, command, seed, ttftMs, itlMs, outputTokens, runS, boundMs, delayBoundMs }: GatewayResult): Html {
  const row = (name: string, value: Part): Html =>
    html`<dt>${name}</dt>
      <dd>${value}</dd>`;
  return html`<dl>
    ${[
      row(
        "Plan",
        `TTFT ${digits(ttftMs)} ms, ITL ${digits(itlMs)} ms, ${outputTokens} tokens; open loop at a constant rate, runs of ${digits(runS)} s`,
      ),
      row(
        "Bounds",
        `${digits(boundMs)} ms more at the 99th percentile of TTFT${delayBoundMs === undefined ? "" : `; at the median ${digits(delayBoundMs)} ms more, of TTFT and of the way of a token`}`,
      ),
      row("CPU", `${environment.cpu}, ${environment.cores} cores, shared by server, gateway and client`),
      row("Memory", quantity(environment.memoryBytes, "bytes")),
      row("System", `${environment.os}, kernel ${environment.kernel}`),
      row("Software", `fakeai ${environment.fakeai}, Node ${environment.node}`),
      row("Command", html`<code>${command.join(" ")}</code>`),
      row("Seed", String(seed)),
    ]}
  </dl>`;
}
