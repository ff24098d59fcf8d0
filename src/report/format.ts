/** Figures and sentences as all reports show them. */
import { absoluteEffect } from "../results/effects.ts";
import { metricFacts } from "../results/metrics.ts";
import type {
  BenchResult,
  ArmResult,
  Behind,
  Calibration,
  ClaimResult,
  Comparison,
  Interval,
  MetricName,
  MetricSummary,
  Requirement,
  RequirementOutcome,
  Unit,
} from "../results/types.ts";
import { negligibleBy, tooSmallBy } from "../results/verdict.ts";

/** "TTFT p99", "requests/s". The mean of one value per round goes without saying. */
export function metricLabel({ metric, statistic }: Pick<Comparison, "metric" | "statistic">): string {
  const { label, perRound } = metricFacts[metric];
  return perRound && statistic === "mean" ? label : `${label} ${statistic}`;
}

/** Space that no line is broken at. */
const tied = "\u00A0";

/** Four significant digits and at most three decimals: "100.3", "0.312", "12,346". */
export function digits(value: number): string {
  return rounded(value, 0);
}

/** The same with its zeros, for columns: "20.00". */
function rounded(value: number, zeros: number): string {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const decimals = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : 3;
  return minus(value.toLocaleString("en-US", { minimumFractionDigits: Math.min(zeros, decimals), maximumFractionDigits: decimals }));
}

/** A true minus sign, and none before a zero. */
function minus(text: string): string {
  return text.replace(/^-(?=0(\.0+)?$)/u, "").replace("-", "−");
}

/** Milliseconds without the unit, from microseconds. */
export function ms(us: number | undefined): string {
  return us === undefined ? "–" : rounded(us / 1000, 3);
}

/** A value with its unit. Latencies are in milliseconds, CPU times in microseconds, as people compare them. */
export function quantity(value: number, unit: Unit, metric?: MetricName): string {
  switch (unit) {
    case "us":
      return metric !== undefined && metricFacts[metric].perRound && metric !== "durationUs"
        ? `${digits(value)}${tied}µs`
        : `${digits(value / 1000)}${tied}ms`;
    case "1/s":
      return `${digits(value)}/s`;
    case "bytes":
      return bytes(value);
    case "ratio":
      return `${digits(value * 100)}%`;
    default:
      return digits(value);
  }
}

/** Decimal multiples, from 10 kB on. */
function bytes(value: number): string {
  const size = Math.abs(value);
  if (size >= 1e9) return `${digits(value / 1e9)}${tied}GB`;
  if (size >= 1e6) return `${digits(value / 1e6)}${tied}MB`;
  return size >= 1e4 ? `${digits(value / 1e3)}${tied}kB` : `${digits(value)}${tied}B`;
}

/** "+12.3%", from a ratio. From a factor of 10 on, the factor: "×14.2". */
export function change(ratio: number): string {
  return ratio >= 10 ? `×${digits(ratio)}` : signed((ratio - 1) * 100);
}

function signed(percent: number): string {
  const text = minus(percent.toFixed(1));
  return `${text.startsWith("−") || text === "0.0" ? "" : "+"}${text}%`;
}

/** "−12.3% (−14.1% to −10.2%)". */
export function changeWithInterval({ estimate, low, high }: Interval): string {
  return `${change(estimate)} (${change(low)} to ${change(high)})`;
}

/** "+2.31 ms (+2.1 ms to +2.5 ms)", in the metric's unit. */
export function differenceWithInterval({ estimate, low, high }: Interval, metric: MetricName): string {
  const one = (value: number): string => `${value > 0 ? "+" : ""}${quantity(value, metricFacts[metric].unit, metric)}`;
  return `${one(estimate)} (${one(low)} to ${one(high)})`;
}

/** The effect, as a ratio where there is one. */
export function effect({ ratio, difference, metric }: Comparison): string {
  if (ratio !== null) return changeWithInterval(ratio);
  return difference === null ? "" : differenceWithInterval(difference, metric);
}

/**
 * Why a difference does not matter, by the bound that decided: "less than 2% does not matter", or with the difference
 * "+0.4 ms (+0.38 ms to +0.42 ms): less than 0.5 ms does not matter". Empty for other verdicts.
 */
export function smallness(comparison: Comparison): string {
  const { verdict, ratio, difference, metric, smallestEffect } = comparison;
  if (difference === null) return "";
  const bound = verdict === "equivalent" ? negligibleBy(comparison) : isTooSmall(comparison) ? tooSmallBy(comparison) : null;
  if (bound === null) return "";
  if (bound === "none") return "no difference at all";
  if (bound === "relative") return `less than ${digits(smallestEffect.ratio * 100)}% does not matter`;
  const amount = quantity(absoluteEffect(smallestEffect) ?? 0, metricFacts[metric].unit, metric);
  const shown = ratio === null ? "" : `${differenceWithInterval(difference, metric)}: `;
  return `${shown}less than ${amount} does not matter`;
}

/** Inconclusive, though its interval shows a difference: the estimate is too small. */
function isTooSmall({ verdict, ratio, difference }: Comparison): boolean {
  if (verdict !== "inconclusive" || difference === null) return false;
  return ratio === null ? difference.low > 0 || difference.high < 0 : ratio.low > 1 || ratio.high < 1;
}

/** "12.3% (10.2% to 14.1%)": a claim's gain. */
export function gain({ measured }: ClaimResult): string {
  if (measured === null) return "";
  return `${signed(measured.estimate * 100)} (${signed(measured.low * 100)} to ${signed(measured.high * 100)})`;
}

/** Shown beside the verdicts, where there is anything to show. */
export function isDescribed({ verdict }: Comparison): boolean {
  return verdict === "described";
}

/** "p 0.003", "p < 0.001". */
export function probability(p: number | null): string {
  if (p === null) return "";
  return p < 0.001 ? `p${tied}<${tied}0.001` : `p${tied}${p.toFixed(3)}`;
}

/** "p50 / p99" in milliseconds, or a dash where it was not measured. */
export function middleAndTail(summary: MetricSummary | null | undefined): string {
  return summary ? `${ms(summary.p50)} / ${ms(summary.p99)}` : "–";
}

/** One column of the table of arms. */
export interface ArmColumn {
  readonly title: string;
  /** "–" where it was not measured. */
  readonly cell: (arm: ArmResult) => string;
}

/** The means of one metric or two, "402.1 / 13.40". */
function means(...metrics: readonly MetricName[]): (arm: ArmResult) => string {
  return (arm) => {
    const found = metrics.map((metric) => arm.metrics[metric]);
    return found.every((summary) => !summary) ? "–" : found.map((summary) => (summary ? digits(summary.mean) : "–")).join(" / ");
  };
}

/** Requests that failed, of those sent, with the commonest reason. */
function failures({ rounds }: ArmResult): string {
  const failed = rounds.reduce((sum, { requests }) => sum + requests.failed, 0);
  const sent = rounds.reduce((sum, { requests }) => sum + requests.sent, 0);
  return failed === 0 ? "0" : `${digits(failed)} of ${digits(sent)}`;
}

function validity({ rounds, invalid }: ArmResult): string {
  const valid = rounds.filter((round) => round.invalid.length === 0).length;
  return invalid.length > 0 ? "invalid" : valid === rounds.length ? "yes" : `${valid} of ${rounds.length}`;
}

function sharesText(arm: ArmResult): string {
  const shares = cpuShares(arm);
  return shares === null ? "–" : `${percent(shares.client.share)} / ${percent(shares.server.share)}`;
}

/** What is of interest where clients are compared. */
function clientColumns(arms: readonly ArmResult[]): ArmColumn[] {
  if (arms.every(({ driver }) => driver !== "client")) return [];
  return [
    { title: "client CPU µs/tok", cell: means("clientCpuUsPerToken") },
    {
      title: "kB/stream",
      cell: ({ metrics }) => (metrics.clientRssBytesPerStream ? digits(metrics.clientRssBytesPerStream.mean / 1000) : "–"),
    },
    { title: "falls behind at tok/s", cell: means("keepsUpTokensPerSecond") },
    { title: "connections", cell: means("connectionsOpened") },
    { title: "streams at once", cell: means("streamsAtOnce") },
  ];
}

/** Requests left when they were meant to: times from the planned start say what the others do. */
function startsAsPlanned({ metrics: { ttft, ttftFromIntended } }: ArmResult): boolean {
  if (!ttft || !ttftFromIntended) return true;
  const same = (a: number, b: number): boolean => Math.abs(a - b) <= 0.01 * a;
  return same(ttft.p50, ttftFromIntended.p50) && same(ttft.p99, ttftFromIntended.p99);
}

/** Tokens per second, and what they were counted by: "402.1 (usage)". */
function tokenRate(arm: ArmResult): string {
  const rate = means("tokensPerSecond")(arm);
  return rate === "–" || arm.tokensCountedBy === undefined ? rate : `${rate} (${arm.tokensCountedBy})`;
}

/** Tokens a second that one user sees, of the median request: 1 by its TPOT, as aiperf's output_token_throughput_per_user. */
function tokensPerUser({ metrics: { tpot } }: ArmResult): string {
  return tpot && tpot.p50 > 0 ? digits(1e6 / tpot.p50) : "–";
}

function achieved({ metrics: { achievedShare } }: ArmResult): string {
  return achievedShare ? percent(achievedShare.mean) : "–";
}

function tokensInEvent({ work }: ArmResult): string {
  if (work === undefined || work.tokens === null || !work.events) return "–";
  return digits(work.tokens / work.events);
}

/** CPU time of one end: microseconds for a request, and by elapsed time, 1 is one core. */
export interface CpuShare {
  readonly us: number;
  readonly share: number;
}

/** CPU time of both ends; null where it was not measured. */
export function cpuShares({ metrics }: Pick<ArmResult, "metrics">): { readonly client: CpuShare; readonly server: CpuShare } | null {
  const { clientCpuUsPerRequest: client, serverCpuUsPerRequest: server, requestsPerSecond: rate } = metrics;
  if (!client || !server || !rate) return null;
  const of = ({ mean: us }: MetricSummary): CpuShare => ({ us, share: (us * rate.mean) / 1e6 });
  return { client: of(client), server: of(server) };
}

/** "34%", from a share of 1. */
export function percent(share: number): string {
  return `${Math.round(share * 100)}%`;
}

/** The columns that say anything about these arms, in order; with `clientWork`, how busy both ends were. */
export function armColumns(arms: readonly ArmResult[], clientWork = false): ArmColumn[] {
  // An arm says more of a streamed answer by its tokens than by its end.
  const streamed = arms.some(({ metrics }) => metrics.ttft);
  const tail = (metric: MetricName, title: string): ArmColumn => ({ title, cell: ({ metrics }) => middleAndTail(metrics[metric]) });
  const gaps = (metric: "itl" | "itlPerToken" | "tpot", title: string): ArmColumn => ({
    title,
    cell: ({ metrics }) => (metrics[metric] ? `${middleAndTail(metrics[metric])} (${ms(metrics[metric].mean)})` : "–"),
  });
  // Gaps between events are then not those between tokens.
  const holdsSeveral = arms.some(({ work }) => work && work.tokens !== null && work.events !== null && work.tokens > 1.05 * work.events);
  const columns: ArmColumn[] = [
    tail("connect", "connect p50/p99 ms"),
    tail("ttft", "TTFT p50/p99 ms"),
    tail("ttftFromIntended", "from planned p50/p99 ms"),
    gaps("itl", holdsSeveral ? "ITL per event p50/p99 (mean) ms" : "ITL p50/p99 (mean) ms"),
    gaps("itlPerToken", "ITL per token p50/p99 (mean) ms"),
    gaps("tpot", "TPOT p50/p99 (mean) ms"),
    ...(holdsSeveral ? [{ title: "tok/event", cell: tokensInEvent }] : []),
    tail("e2el", "E2E p50/p99 ms"),
    { title: "req/s", cell: means("requestsPerSecond") },
    { title: "good req/s", cell: means("goodRequestsPerSecond") },
    { title: "of the rate", cell: achieved },
    { title: "tok/s", cell: tokenRate },
    { title: "tok/s a user", cell: tokensPerUser },
    { title: "input tok/s", cell: means("inputTokensPerSecond") },
    { title: "events/s", cell: means("eventsPerSecond") },
    streamed
      ? { title: "CPU µs/req / tok", cell: means("serverCpuUsPerRequest", "serverCpuUsPerToken") }
      : { title: "CPU µs/req", cell: means("serverCpuUsPerRequest") },
    ...(clientWork ? [{ title: "CPU of wall time client / server", cell: sharesText }] : []),
    tail("ttftAdded", "added to TTFT p50/p99 ms"),
    tail("tokenAdded", "added to a token p50/p99 ms"),
    ...clientColumns(arms),
    { title: "bytes out / in", cell: means("bytesSentPerRequest", "bytesReceivedPerRequest") },
  ];
  // Connections go without saying where each arm opened as many as it is described with, and refusals where there are none.
  if (
    arms.some(
      ({ driver, connections, metrics }) =>
        driver !== "client" && metrics.connectionsOpened && metrics.connectionsOpened.mean !== connections,
    )
  )
    columns.push({ title: "opened", cell: means("connectionsOpened") });
  if (arms.some(({ metrics }) => metrics.streamsRefused)) columns.push({ title: "refused", cell: means("streamsRefused") });
  if (arms.some(({ metrics }) => metrics.requestsAborted)) columns.push({ title: "given up", cell: means("requestsAborted") });
  const said = ({ title, cell }: ArmColumn): boolean =>
    arms.some((arm) => cell(arm) !== "–") &&
    !(streamed && title.startsWith("E2E")) &&
    !(title.startsWith("from planned") && arms.every(startsAsPlanned));
  const measured = columns.filter(said);
  return [...measured, { title: "failed", cell: failures }, { title: "valid", cell: validity }];
}

/** A value that a requirement such as "ttft.p99<150ms" was held against, in the unit of its metric; `failed` is a share. */
export function requiredValue(requirement: string, value: number | null): string {
  if (value === null) return "not measured";
  const name = /([a-z0-9]+)(?:\.[a-z0-9]+)?\s*[<>]/iu.exec(requirement)?.[1] ?? "";
  return isMetric(name) ? quantity(value, metricFacts[name].unit, name) : quantity(value, "ratio");
}

/** What became of a requirement, also in files that only say whether it was met. */
export function requirementOutcome({ met, outcome }: Requirement): RequirementOutcome {
  return outcome ?? (met ? "met" : "violated");
}

function isMetric(name: string): name is MetricName {
  return Object.hasOwn(metricFacts, name);
}

/** "h2c: server behind the plan in 2 of 2 rounds: its tokens left ...", with what was reached, for each who fell behind. */
export function behindLines({ id, rounds }: ArmResult): string[] {
  const paced = rounds.flatMap(({ pace }) => (pace ? [pace] : []));
  const { plannedTokensPerSecond: planned = null, reachedTokensPerSecond: reached = null } =
    paced.find(({ behind }) => behind.length > 0) ?? {};
  const rates = planned === null || reached === null ? "" : `; ${digits(reached)} tokens/s reached of ${digits(planned)} planned`;
  return (["server", "generator", "unknown"] as const).flatMap((who) => {
    const reasons = paced.flatMap(({ behind }) => behind.filter((one) => one.who === who).slice(0, 1));
    const [first] = reasons;
    if (first === undefined) return [];
    return [`${id}: ${whoBehind(first)} in ${reasons.length} of ${rounds.length} rounds: ${first.reason}${rates}`];
  });
}

/** "h2c: server behind the plan", for each arm of which any round was; empty where none was. */
export function behindOf(arms: readonly ArmResult[]): string[] {
  return arms.flatMap(({ id, rounds }) => {
    const who = new Set(rounds.flatMap(({ pace }) => pace?.behind.map((one) => one.who) ?? []));
    // Where some rounds show who it was, others that do not say nothing more.
    if (who.size > 1) who.delete("unknown");
    return [...who].map((one) => `${id}: ${whoBehind({ who: one })}`);
  });
}

function whoBehind({ who }: Pick<Behind, "who">): string {
  return who === "unknown" ? "behind the plan" : `${who} behind the plan`;
}

/** What calibration found, in sentences: what was read, what was offered, and who fell behind. */
export function calibrationLines({ rows, limitTokensPerSecond }: Calibration): string[] {
  return Object.entries(limitTokensPerSecond).map(([protocol, limit]) => {
    const own = rows.filter((row) => row.protocol === protocol);
    const good = own.filter(({ ok }) => ok);
    const row = good.find(({ tokensPerSecond }) => tokensPerSecond === limit) ?? own.at(-1);
    const rate = row?.offeredTokensPerSecond === undefined ? "offered" : "read";
    const facts = [
      row?.offeredTokensPerSecond === undefined ? "" : `${digits(row.offeredTokensPerSecond)} offered`,
      row?.serverLatenessP99Us === undefined ? "" : `server lateness p99 ${ms(row.serverLatenessP99Us)} ms`,
      row === undefined ? "" : `mean gap off by ${digits(row.itlError * 100)}%`,
      ...new Set(row?.behind?.map(whoBehind)),
    ].filter((fact) => fact !== "");
    const what = good.length > 0 ? "the plan was kept at" : "no load that was tried kept its plan; the last was";
    return `${protocol}: ${what} ${digits(row?.tokensPerSecond ?? limit)} tokens/s ${rate} (${facts.join(", ")}).`;
  });
}

/** Why an arm, or some of its rounds, do not count: each reason once. */
export function invalidReasons({ invalid, rounds }: ArmResult): string[] {
  return [...new Set([...invalid, ...rounds.flatMap((round) => round.invalid)])];
}

/** Who made the load, and how well their clocks are known. */
export function shardsText({ of, members }: NonNullable<BenchResult["shards"]>): string {
  const hosts = new Set(members.map(({ environment: { cpu, cores, kernel } }) => `${cpu}, ${cores} cores, ${kernel}`));
  const bounds = members.flatMap(({ clock }) => (clock === null ? [] : [clock.boundUs]));
  const clocks = bounds.length === 0 ? "" : `; clocks known to ${digits(Math.max(...bounds) / 1000)} ms or better`;
  return `one load of ${of} shards on ${hosts.size === 1 ? "machines of one kind" : `machines of ${hosts.size} kinds`}${clocks}`;
}
