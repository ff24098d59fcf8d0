/** What the transport court has measured, as parts of its page and as claims with verdicts: all of it from the files in `results/court`. */
import { changeWithInterval, effect, percent } from "../../src/report/format.ts";
import { validRounds, valueIn } from "../../src/results/arms.ts";
import type {
  ArmResult,
  BenchResult,
  ClaimResult,
  Comparison,
  Interval,
  MetricName,
  Metrics,
  MetricSummary,
  RoundResult,
  ScenarioResult,
  Statistic,
} from "../../src/results/types.ts";
import { type ArmSpec, type ClaimSpec, scenarioNamed, type Variant, variantsOf } from "../../src/runner/plan/scenario.ts";
import { table } from "../support/page.ts";

/** From the root of the repository. */
export const courtFolder = "results/court";

/** Its scenarios, each with a file of its name. */
export const courtScenarios = ["court", "court-chain", "court-history", "court-warm", "court-tls"] as const;

/** A result by the name of its scenario; those that were not run are absent. */
export type CourtResults = Readonly<Partial<Record<string, BenchResult>>>;

/** What two arms may differ in. */
type Factor = "transport" | "HTTP/2" | "state" | "warm" | "compression";

/** What became of a claim. reproduced and refuted: the whole interval is at the claimed gain or above it, or below it. */
type CourtVerdict = "reproduced" | "refuted" | "undecided" | "not comparable";

/** A claim, and what became of it in one variant. */
export interface CourtClaim {
  readonly claim: string;
  readonly source: string;
  /** The claimed gain, a share of the baseline's time; null: it names none. */
  readonly number: number | null;
  readonly conditions: string;
  /** Where it was held against two arms; null: nothing here is comparable with it. */
  readonly tested: {
    readonly scenario: string;
    readonly variant: string;
    readonly baseline: string;
    readonly candidate: string;
    readonly metric: string;
  } | null;
  /** Candidate over baseline over the rounds that count, with its 95% interval; null: there is none. */
  readonly ratio: Interval | null;
  /** Rounds in it. */
  readonly rounds: number;
  /** Candidate over baseline in each round, disturbed ones too. */
  readonly ratioOfEachRound: readonly number[];
  /** Of a claim whose arms differ in several things: ratios of arms that differ in one of them. null: no interval. */
  readonly parts: Readonly<Partial<Record<Factor, Interval | null>>>;
  readonly verdict: CourtVerdict;
  readonly reason: string;
}

/** Claims that no two arms can be made for, and why. */
const notComparable: readonly Pick<CourtClaim, "claim" | "source" | "number" | "conditions" | "reason">[] = [
  {
    claim: "TTFT 1,037 ms at p50 over WebSocket, 3,897 over SSE",
    source: "lidge-jun/opencodex#1487",
    number: 0.73,
    conditions: "one hosted server",
    reason: "both reach response.created in about 0.5 s: that server queues the two apart, which is no transport",
  },
  {
    claim: "Warm WSS is only slightly slower than warm HTTPS streaming",
    source: "sozercan/vekil#20",
    number: null,
    conditions: "a bench on loopback",
    reason: "it names no number to hold anything against; the arms h1s and wss show it here",
  },
  {
    claim: "Chains over previous_response_id are prefilled 10 to 30 times as often",
    source: "lmstudio-bug-tracker#2074",
    number: null,
    conditions: "one server",
    reason: "a fault of that server's prefix cache; no transport",
  },
  {
    claim: "WebSocket is faster",
    source: "hermes-agent#67256",
    number: null,
    conditions: "nine single runs, three chains",
    reason: "too few runs to hold anything against",
  },
  {
    claim: "ITL p99 22 to 48% lower, gateway CPU 17 to 21% lower",
    source: "smg-project/smg#1770",
    number: 0.22,
    conditions: "a gateway that reads the history again for each HTTP turn",
    reason: "the gateway's work, and no gateway stands between the ends here",
  },
];

/** Fewer digits than a double has: what is beyond them is noise, and half of a file. */
const significantDigits = 6;

/** A result as it is published: without histograms, and of each round what its comparisons are made of. */
export function published(result: BenchResult): BenchResult {
  const place = result.command.indexOf("--out");
  const command = result.command.filter((_word, at) => place < 0 || (at !== place && at !== place + 1));
  const scenarios = result.scenarios.map((scenario) => {
    const made = [...scenario.comparisons, ...scenario.claims.flatMap(({ comparison }) => (comparison === null ? [] : [comparison]))];
    const shown = new Set(made.map(({ metric }) => metric));
    return { ...scenario, arms: scenario.arms.map((arm) => shortened(arm, shown)) };
  });
  const text = JSON.stringify({ ...result, command, scenarios }, (_key, value: unknown) =>
    typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(significantDigits)) : value,
  );
  return JSON.parse(text) as BenchResult;
}

function shortened(arm: ArmResult, shown: ReadonlySet<MetricName>): ArmResult {
  const of = (metrics: Metrics): Metrics => {
    const kept = Object.entries(metrics).filter(([name]) => shown.has(name as MetricName)) as [MetricName, MetricSummary | null][];
    return Object.fromEntries(kept.map(([name, summary]) => [name, summary === null ? null : { ...summary, histogram: null }]));
  };
  const intervals = Object.entries(arm.intervals).filter(([name]) => shown.has(name.split(".")[0] as MetricName));
  const rounds = arm.rounds.map(({ slices: _slices, sessions: _sessions, ...round }) => ({ ...round, metrics: of(round.metrics) }));
  return { ...arm, rounds, metrics: of(arm.metrics), intervals: Object.fromEntries(intervals) };
}

/** A variant of the court with what was measured; null: it was not run. */
interface Tried {
  readonly variant: Variant;
  readonly result: ScenarioResult | null;
}

function triedOf(results: CourtResults): Tried[] {
  return courtScenarios.flatMap((id) =>
    variantsOf(scenarioNamed(id), "full").map((variant) => ({
      variant,
      result: results[id]?.scenarios.find((one) => one.variant === variant.name && one.skipped === null) ?? null,
    })),
  );
}

/** Arms of a file that no longer has them, or never had: none. */
const armOf = ({ arms }: Variant, id: string): ArmSpec | undefined => arms.find((arm) => arm.id === id);

/** What two arms differ in. */
function factorsOf(variant: Variant, baseline: string, candidate: string): Factor[] {
  const [one, other] = [armOf(variant, baseline), armOf(variant, candidate)];
  if (one === undefined || other === undefined) return [];
  const isSocket = other.protocol === "ws" || other.protocol === "wss";
  return [
    ...(one.protocol === other.protocol ? [] : [isSocket ? ("transport" as const) : ("HTTP/2" as const)]),
    ...((one.history ?? "full") === (other.history ?? "full") ? [] : ["state" as const]),
    ...(one.reuse === other.reuse ? [] : ["warm" as const]),
    ...((one.deflates ?? false) === (other.deflates ?? false) ? [] : ["compression" as const]),
  ];
}

/** The comparison of two arms of which nothing but the one factor is another, on the way of a claim from its baseline to its candidate. */
function partOf({ variant, result }: Tried, { baseline, candidate, metric, statistic }: ClaimSpec, factor: Factor): Interval | null {
  const [from, to] = [armOf(variant, baseline)!, armOf(variant, candidate)!];
  // The connection is kept first, then the history is named, then the transport is changed: the ratios multiply to that of the claim.
  const order: readonly Factor[] = ["warm", "state", "transport"];
  const at = order.indexOf(factor);
  const after = (steps: number): ArmSpec | undefined => {
    const reuse = steps > 0 ? to.reuse : from.reuse;
    const history = (steps > 1 ? to : from).history ?? "full";
    const { protocol } = steps > 2 ? to : from;
    return variant.arms.find(
      (arm) => arm.protocol === protocol && arm.reuse === reuse && (arm.history ?? "full") === history && arm.deflates === from.deflates,
    );
  };
  const [one, other] = [after(at), after(at + 1)];
  const made = result?.comparisons.find(
    (comparison) =>
      comparison.metric === metric &&
      comparison.statistic === statistic &&
      comparison.baseline === one?.id &&
      comparison.candidate === other?.id,
  );
  return made?.ratio ?? null;
}

/** Every claim, in each variant that tests it, and those that nothing here is comparable with. */
export function courtClaims(results: CourtResults): CourtClaim[] {
  const tested = triedOf(results).flatMap((tried) => tried.variant.claims.map((claim) => claimOf(tried, claim)));
  const untested = { tested: null, ratio: null, rounds: 0, ratioOfEachRound: [], parts: {}, verdict: "not comparable" } as const;
  const left = notComparable.map((claim): CourtClaim => Object.assign({}, untested, claim));
  return [...tested, ...left];
}

function claimOf(tried: Tried, claim: ClaimSpec): CourtClaim {
  const { variant, result } = tried;
  const { text, source, gain, baseline, candidate, metric, statistic } = claim;
  const found = result?.claims.find(
    (one) =>
      one.text === text && (one.comparison === null || (one.comparison.baseline === baseline && one.comparison.candidate === candidate)),
  );
  const factors = factorsOf(variant, baseline, candidate);
  const parts = factors.length < 2 ? [] : factors.map((factor) => [factor, partOf(tried, claim, factor)] as const);
  return {
    claim: text,
    source,
    number: gain,
    conditions: claim.conditions ?? "",
    tested: { scenario: variant.scenario, variant: variant.name, baseline, candidate, metric: `${metric}.${statistic}` },
    ratio: found?.comparison?.ratio ?? null,
    rounds: found?.comparison?.rounds ?? 0,
    ratioOfEachRound: result === null ? [] : ratiosOf(result, baseline, candidate, metric, statistic),
    parts: Object.fromEntries(parts),
    ...verdictOf(found, result, [baseline, candidate]),
  };
}

function verdictOf(
  found: ClaimResult | undefined,
  result: ScenarioResult | null,
  arms: readonly string[],
): Pick<CourtClaim, "verdict" | "reason"> {
  if (result === null || found === undefined) return { verdict: "undecided", reason: "not run" };
  const own = roundsOf(result, arms);
  const counted = countedDisturbed(own);
  // Asked for by --keep-disturbed: they are shown, and judge nothing.
  if (counted.length > 0)
    return {
      verdict: "undecided",
      reason: `${counted.length} of ${own.length} rounds of its arms were disturbed by other processes, and count`,
    };
  if (found.verdict === "reproduced") return { verdict: "reproduced", reason: "the whole interval is at the claimed gain or above it" };
  if (found.verdict === "refuted") return { verdict: "refuted", reason: "the whole interval is below the claimed gain" };
  if (found.verdict === "inconclusive") return { verdict: "undecided", reason: "the interval holds the claimed gain" };
  const left = own.filter(({ machine }) => machine?.leftOut === true).length;
  const disturbed = `no interval: of ${own.length} rounds of its arms ${left} were disturbed by other processes`;
  const isOther = left === 0 || found.comparison?.unequalWork === true;
  return { verdict: "undecided", reason: isOther ? (found.reason ?? "no interval") : disturbed };
}

const isDisturbed = ({ machine }: RoundResult): boolean => (machine?.disturbed.length ?? 0) > 0;

function roundsOf({ arms }: ScenarioResult, ids: readonly string[]): RoundResult[] {
  return arms.filter(({ id }) => ids.includes(id)).flatMap(({ rounds }) => rounds);
}

/** Rounds that were disturbed and count all the same, as with --keep-disturbed: nothing that they are in is judged. */
function countedDisturbed(rounds: readonly RoundResult[]): RoundResult[] {
  return rounds.filter((round) => round.invalid.length === 0 && isDisturbed(round));
}

/** Candidate over baseline in each round that both were in. */
function ratiosOf({ arms }: ScenarioResult, baseline: string, candidate: string, metric: MetricName, statistic: Statistic): number[] {
  const of = (id: string): ArmResult["rounds"] => arms.find((arm) => arm.id === id)?.rounds ?? [];
  return of(candidate).flatMap((round) => {
    const beside = of(baseline).find((other) => other.round === round.round);
    const [one, other] = [beside === undefined ? null : valueIn(beside, metric, statistic), valueIn(round, metric, statistic)];
    return one === null || other === null || one === 0 ? [] : [Number((other / one).toPrecision(4))];
  });
}

/** Where and when each file was taken, and how many of its rounds count. */
function courtRuns(results: CourtResults): string {
  return table(
    ["file", "command", "taken", "machine", "load before", "rounds of arms", "disturbed", "left out"],
    courtScenarios.map((id) => {
      const result = results[id];
      if (result === undefined) return [id, "not run", "", "", "", "", "", ""];
      const { command, startedAt, environment, scenarios } = result;
      const arms = scenarios.flatMap((scenario) => scenario.arms);
      const rounds = arms.flatMap((arm) => arm.rounds);
      return [
        `[${id}](${id}.json)`,
        `\`${command.join(" ")}\``,
        startedAt.slice(0, 16).replace("T", " "),
        `${environment.cores} x ${environment.cpu}, Node ${environment.node}`,
        environment.loadAverage.map((load) => load.toFixed(1)).join(", "),
        String(rounds.length),
        String(rounds.filter(isDisturbed).length),
        String(rounds.filter(({ invalid }) => invalid.length > 0).length),
      ];
    }),
  );
}

const factorNames: Readonly<Record<Factor, string>> = {
  transport: "WebSocket in place of SSE on HTTP/1.1, all else equal",
  state: "naming the history (`previous_response_id`) in place of sending it",
  warm: "a kept connection in place of a new one for each call",
  "HTTP/2": "HTTP/2 in place of HTTP/1.1",
  compression: "permessage-deflate on WebSocket",
};

/** A comparison of two arms that differ in one thing. */
interface Pair {
  readonly tried: Tried;
  readonly factor: Factor;
  readonly baseline: string;
  readonly candidate: string;
  /** null: not run. Without an interval where rounds that were disturbed count. */
  readonly comparison: Comparison | null;
}

function pairsOf(results: CourtResults): Pair[] {
  return triedOf(results).flatMap((tried) =>
    tried.variant.pairs.flatMap(({ baseline, candidate, metrics }): Pair[] => {
      const factors = factorsOf(tried.variant, baseline, candidate);
      if (factors.length !== 1) return [];
      const [{ metric, statistic }] = metrics as [(typeof metrics)[number]];
      const comparison = tried.result?.comparisons.find(
        (one) => one.metric === metric && one.statistic === statistic && one.baseline === baseline && one.candidate === candidate,
      );
      const isJudged = tried.result === null || countedDisturbed(roundsOf(tried.result, [baseline, candidate])).length === 0;
      const unjudged = { ratio: null, difference: null, verdict: "not compared" } as const;
      const made = comparison === undefined ? null : isJudged ? comparison : { ...comparison, ...unjudged };
      return [{ tried, factor: factors[0]!, baseline, candidate, comparison: made }];
    }),
  );
}

/** One line for each thing: how often it mattered, and where most. */
function courtAnswer(results: CourtResults): string {
  const pairs = pairsOf(results);
  return (Object.keys(factorNames) as Factor[]).map((factor) => `- ${answerOf(factor, pairs)}`).join("\n");
}

function answerOf(factor: Factor, pairs: readonly Pair[]): string {
  const own = pairs.filter((pair) => pair.factor === factor);
  const judged = own.filter(({ comparison }) => comparison !== null && comparison.ratio !== null);
  const name = factorNames[factor];
  const head = `**${name.slice(0, 1).toUpperCase()}${name.slice(1)}**: `;
  if (judged.length === 0) return `${head}not judged in any of ${own.length} comparisons.`;
  const words = { faster: "faster", slower: "slower", equivalent: "the same within 2%", inconclusive: "undecided" } as const;
  const counts = (Object.keys(words) as (keyof typeof words)[]).flatMap((verdict) => {
    const those = judged.filter(({ comparison }) => comparison!.verdict === verdict);
    if (those.length === 0) return [];
    const estimates = those.map(({ comparison }) => comparison!.ratio!.estimate).sort((one, other) => one - other);
    const [low, high] = [estimates[0]!, estimates.at(-1)!].map((ratio) => ratioText(ratio));
    return [`${those.length} ${words[verdict]} (${low === high ? low : `${low} to ${high}`})`];
  });
  const rest = own.length - judged.length;
  const decided = judged.filter(({ comparison }) => comparison!.verdict === "faster" || comparison!.verdict === "slower");
  const strength = ({ comparison }: Pair): number => Math.abs(Math.log(comparison!.ratio!.estimate));
  const [most] = decided.sort((one, other) => strength(other) - strength(one));
  const where =
    most === undefined ? "" : ` Most: ${most.baseline} to ${most.candidate}, ${most.tried.variant.name}: ${effect(most.comparison!)}.`;
  return `${head}${counts.join(", ")}${rest === 0 ? "" : `, ${rest} not judged`}.${where}`;
}

const ratioText = (ratio: number): string => changeWithInterval({ estimate: ratio, low: ratio, high: ratio }).split(" ")[0]!;

/** Session latency of every arm of a variant: the median of its rounds that count and were not disturbed; of all, where there is none. */
function courtTimes(results: CourtResults): string {
  const rows = triedOf(results).flatMap(({ variant, result }) =>
    result === null
      ? []
      : [
          [
            variant.name,
            result.arms
              .filter(({ rounds }) => rounds.length > 0)
              .map((arm) => `${arm.id} ${timeOf(arm)}`)
              .join("; "),
          ],
        ],
  );
  return rows.length === 0 ? "Not run yet." : table(["variant", "session latency at p50, ms"], rows);
}

function timeOf(arm: ArmResult): string {
  const valid = validRounds(arm).filter((round) => !isDisturbed(round));
  const values = (valid.length > 0 ? valid : arm.rounds)
    .map((round) => valueIn(round, "sessionE2el", "p50"))
    .filter((value) => value !== null)
    .sort((one, other) => one - other);
  if (values.length === 0) return "–";
  const middle = (values[(values.length - 1) >> 1]! + values[values.length >> 1]!) / 2;
  return `${Math.round(middle / 1000).toLocaleString("en-US")}${valid.length > 0 ? "" : "*"}`;
}

/** A table for each thing that arms differ in: what it changes, all else equal. */
function courtFactors(results: CourtResults): string {
  const pairs = pairsOf(results);
  return (Object.keys(factorNames) as Factor[])
    .map((factor) => {
      const rows = pairs
        .filter((pair) => pair.factor === factor)
        .map(({ tried, baseline, candidate, comparison }) => [
          tried.variant.name,
          `${baseline}, ${candidate}`,
          changeText(tried.result, comparison),
          comparison === null || comparison.verdict === "not compared" ? "not judged" : comparison.verdict,
        ]);
      const name = factorNames[factor];
      return `### ${name.slice(0, 1).toUpperCase()}${name.slice(1)}\n\n${table(["variant", "from, to", "session latency (95% interval)", "verdict"], rows)}`;
    })
    .join("\n\n");
}

/** What a comparison shows; where it has no interval, what its rounds do. */
function changeText(result: ScenarioResult | null, comparison: Comparison | null): string {
  if (result === null || comparison === null) return "not run";
  if (comparison.ratio !== null) return effect(comparison);
  const { baseline, candidate, metric, statistic } = comparison;
  const ratios = ratiosOf(result, baseline, candidate, metric, statistic);
  return `no interval${ratios.length === 0 ? "" : `; rounds: ${ratios.map(ratioText).join(", ")}`}`;
}

/** Each claim with its number and its conditions, and a row for each place where it was held against two arms. */
function courtVerdicts(claims: readonly CourtClaim[]): string {
  const saved = ({ estimate, low, high }: Interval): string => `${percent(1 - estimate)} (${percent(1 - high)} to ${percent(1 - low)})`;
  const groups = new Map<string, CourtClaim[]>();
  for (const claim of claims) {
    const key = `${claim.claim}\n${claim.source}`;
    if (claim.tested !== null) groups.set(key, [...(groups.get(key) ?? []), claim]);
  }
  const left = claims.filter((claim) => claim.tested === null);
  const sections = [...groups.values()].map((group) => {
    const { claim, source, number, conditions } = group[0]!;
    const rows = group.map(({ tested: place, ratio, parts, verdict, reason }) => [
      place!.variant,
      `${place!.baseline}, ${place!.candidate}: ${place!.metric}`,
      ratio === null ? "" : saved(ratio),
      Object.entries(parts)
        .map(([factor, part]) => `${factor}: ${part === null ? "no interval" : saved(part)}`)
        .join("; "),
      verdict,
      reason,
    ]);
    const head = `**${claim}** (${source}). Number: ${number === null ? "none" : percent(number)}. Conditions: ${conditions}.`;
    return `${head}\n\n${table(["where", "arms", "saved here", "of it", "verdict", "why"], rows)}`;
  });
  const rest = table(
    ["claim", "source", "conditions", "verdict", "why"],
    left.map(({ claim, source, conditions, verdict, reason }) => [claim, source, conditions, verdict, reason]),
  );
  return [...sections, rest].join("\n\n");
}

/** Packets of one arm on the loopback interface, of a whole run. */
export interface PacketCount {
  readonly arm: string;
  readonly sessions: number;
  readonly calls: number;
  readonly historyTokens: number;
  readonly requests: { readonly completed: number; readonly failed: number };
  /** A session's mean. */
  readonly perSession: {
    readonly upPackets: number;
    readonly upPayload: number;
    readonly downPackets: number;
    readonly downPayload: number;
    /** What the bench's own counters say of the same run. */
    readonly benchBytesSent: number;
    readonly benchBytesReceived: number;
  };
}

/** Bytes by packets, and by the bench. */
function courtPackets(counts: readonly PacketCount[]): string {
  const whole = (value: number): string => Math.round(value).toLocaleString("en-US");
  return table(
    ["arm", "packets up, down", "payload up", "by the bench", "payload down", "by the bench"],
    counts.map(({ arm, perSession: { upPackets, downPackets, upPayload, downPayload, benchBytesSent, benchBytesReceived } }) => [
      arm,
      `${upPackets.toFixed(1)}, ${downPackets.toFixed(1)}`,
      whole(upPayload),
      whole(benchBytesSent),
      whole(downPayload),
      whole(benchBytesReceived),
    ]),
    5,
  );
}

/** What packets say of bytes, in words: each arm beside the one that it differs from in one thing. */
function courtBytes(counts: readonly PacketCount[]): string {
  const of = (id: string): PacketCount["perSession"] | undefined => counts.find(({ arm }) => arm === id)?.perSession;
  const line = (what: string, baseline: string, candidate: string): string[] => {
    const [one, other] = [of(baseline), of(candidate)];
    if (one === undefined || other === undefined) return [];
    const change = (key: "upPayload" | "downPayload"): string => ratioText(other[key] / one[key]);
    return [
      `- **${what}** (${baseline} to ${candidate}): ${change("upPayload")} of the bytes sent, ${change("downPayload")} of those received.`,
    ];
  };
  return [
    ...line("The socket, history sent", "h1", "ws"),
    ...line("The socket, history named", "h1-previous", "ws-previous"),
    ...line("Naming the history, HTTP/1.1", "h1", "h1-previous"),
    ...line("Naming the history, WebSocket", "ws", "ws-previous"),
  ].join("\n");
}

/** The parts of its page, by name. */
export function courtParts(results: CourtResults, counts: readonly PacketCount[]): Readonly<Record<string, () => string>> {
  return {
    "court-runs": () => courtRuns(results),
    "court-answer": () => courtAnswer(results),
    "court-bytes": () => courtBytes(counts),
    "court-claims": () => courtVerdicts(courtClaims(results)),
    "court-packets": () => courtPackets(counts),
    "court-times": () => courtTimes(results),
    "court-factors": () => courtFactors(results),
  };
}
