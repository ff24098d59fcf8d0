/** One experiment: its rounds, and its verdicts. */
import { summarizeArm } from "../results/arms.ts";
import { compareArms } from "../results/compare.ts";
import { driftNotes } from "../results/drift.ts";
import type { ArmResult, ClaimResult, Comparison, MetricName, ScenarioResult, WorkPart } from "../results/types.ts";
import { judgeClaim, notCompared } from "../results/verdict.ts";
import { unequalWork, workNotes, workParts } from "../results/work.ts";
import { estimateSeconds, withoutH2load } from "./plan/adapt.ts";
import { type Closable, type LeftOut, type LiveArm, prepareArms, type RunContext, wordingOf } from "./arms.ts";
import { describeVia } from "./processes/gateway.ts";
import type { BenchOptions } from "./plan/options.ts";
import { promptsOf } from "./plan/requests.ts";
import type { MetricRef, PairSpec, Variant, Workload } from "./plan/scenario.ts";
import { type ArmRounds, runRounds } from "./rounds.ts";

/** A variant that cannot be run, with why. */
export function skippedResult(variant: Variant, reason: string): ScenarioResult {
  const none: ClaimResult[] = variant.claims.map((claim) => judgeClaim(claim, null));
  return {
    ...resultHead(variant),
    arms: [],
    comparisons: [],
    claims: none.map((claim) => ({ ...claim, reason })),
    notes: [],
    skipped: reason,
  };
}

/** Parts of a workload that are no plain value, and that most workloads have not. */
const structured: ReadonlySet<string> = new Set<keyof Workload>([
  "dataset",
  "page",
  "trace",
  "tape",
  "session",
  "server",
  "abort",
  "background",
]);

function resultHead({
  scenario,
  title,
  isolates,
  name,
  point,
  question,
  decides,
  conditions,
  workload,
  rounds,
}: Variant): Pick<ScenarioResult, "id" | "title" | "isolates" | "variant" | "point" | "question" | "decides" | "conditions" | "workload"> {
  const shown = Object.entries(workload).flatMap(([key, value]): [string, string | number | boolean | null][] => {
    if (structured.has(key)) return value === null ? [] : [[key, JSON.stringify(value)]];
    if (key === "network") return Object.keys(value as object).length === 0 ? [] : [[key, JSON.stringify(value)]];
    return [[key, value as string | number | boolean | null]];
  });
  const asked = question === undefined ? {} : { question: asRun(question, name, workload) };
  const decided = decides === undefined ? {} : { decides };
  const holdsFor = conditions === undefined ? {} : { conditions };
  return {
    id: scenario,
    title,
    isolates,
    variant: name,
    ...(point === undefined ? {} : { point }),
    ...asked,
    ...decided,
    ...holdsFor,
    workload: { ...Object.fromEntries(shown), rounds },
  };
}

/** What a variant asks, or is called. */
function questionText({ question, name, workload, title }: Variant): string {
  if (question !== undefined) return asRun(question, name, workload);
  return name === "" ? title : `${title}, ${name}`;
}

/** A question with the numbers of the load as it was run: "100 paced streams" of "{streams} paced streams", and "1 paced stream". */
function asRun(question: string, variant: string, workload: Workload): string {
  const values: Readonly<Record<string, unknown>> = { ...workload, variant };
  return question.replaceAll(/\{([^}]*)\}((?: \w+)*? \w+?s\b)?/gu, (_, name: string, counted = "") => {
    const value = values[name];
    if (value === 1) return `1${counted.replace(/s$/u, "")}`;
    return `${typeof value === "number" ? value.toLocaleString("en-US") : String(value)}${counted}`;
  });
}

/**
 * Runs a variant that `adapted` has settled. What is measured when the signal comes is in the result.
 * What a driver refuses is an arm without rounds, with the reason. Throws RunError where nothing could be started.
 */
export async function runVariant(context: RunContext, given: Variant): Promise<ScenarioResult> {
  const notes: string[] = [];
  const variant = withoutH2load(given, context.options, notes);
  const { arms, rounds } = variant;
  context.observer.live?.({
    kind: "asking",
    question: questionText(variant),
    seconds: estimateSeconds(variant, context.options.durationS),
    arms: arms.map(({ id }) => id),
    // The warm-up is a run too.
    runs: arms.length * (rounds + 1),
  });
  const open: Closable[] = [];
  let last: (string | void)[] = [];
  let result: ScenarioResult;
  try {
    const leftOut: LeftOut = new Map();
    const arms = await prepareArms(context, variant, notes, leftOut, open);
    tellLeftOut(context, variant, leftOut, notes);
    result = await runArms(context, variant, arms, leftOut, notes);
  } finally {
    last = await Promise.all(open.map((resource) => resource.close()));
  }
  return { ...result, notes: [...result.notes, ...last.filter((note) => note !== undefined)] };
}

/** Says which arms are not run, when that is known: in the result, and once a scenario to who watches. */
function tellLeftOut({ observer, told }: RunContext, { scenario }: Variant, leftOut: LeftOut, notes: string[]): void {
  for (const reason of new Set(leftOut.values())) {
    const ids = [...leftOut].flatMap(([id, why]) => (why === reason ? [id] : []));
    const note = `${ids.join(", ")} left out: ${reason}`;
    notes.push(note);
    const line = `${scenario}: ${note}`;
    if (!told.has(line)) observer.notice(line);
    told.add(line);
  }
}

async function runArms(
  context: RunContext,
  variant: Variant,
  arms: readonly LiveArm[],
  leftOut: LeftOut,
  notes: string[],
): Promise<ScenarioResult> {
  const { options } = context;
  const { seen, limited, workload } = await runRounds(context, variant, arms, notes);
  const results = seen.map(armResult);
  notes.push(
    ...results.flatMap(workNotes),
    ...results.flatMap(driftNotes),
    ...observations(seen),
    ...machineNotes(results),
    ...gatewayNotes(arms, results),
  );
  for (const [id, fault] of limited) notes.push(`${id}: ${fault}${workload.clientWork ? ", which belongs to what is compared here" : ""}`);
  const compare = (pair: Omit<ComparedPair, "varies">): Comparison =>
    compareOne(
      { ...pair, varies: isThroughGateway(variant, pair) ? workParts : variant.varies },
      results,
      { limited, leftOut },
      options,
      workload,
    );
  const comparisons = variant.pairs.flatMap(({ baseline, candidate, kind, metrics, described = [] }) => [
    ...metrics.map((metric) => compare({ baseline, candidate, kind, ...metric })),
    ...described.map((metric) => compare({ baseline, candidate, kind, ...metric, described: true })),
  ]);
  const claims = variant.claims.map((claim): ClaimResult => {
    const made = comparisons.find(
      (one) =>
        one.metric === claim.metric &&
        one.statistic === claim.statistic &&
        one.baseline === claim.baseline &&
        one.candidate === claim.candidate,
    );
    return judgeClaim(claim, made ?? compare({ ...claim, kind: "protocol" }));
  });
  const head = resultHead({ ...variant, workload });
  // With a duration the number of requests is what the warm-up found.
  const run = options.durationS === null ? head : { ...head, workload: { ...head.workload, durationS: options.durationS } };
  const prompts = arms.length === 0 ? null : promptsOf(workload, wordingOf(context, arms[0]!), options.seed);
  notes.push(...promptNotes(context, arms, prompts));
  const findings = findingsOf(variant, results);
  return {
    ...run,
    prompts,
    arms: results,
    comparisons,
    claims,
    ...(findings.length > 0 ? { findings } : {}),
    notes: [...new Set(notes)],
    skipped: null,
  };
}

/** Where a server's prefix cache may decide what is measured. */
function promptNotes({ external }: RunContext, arms: readonly LiveArm[], prompts: ScenarioResult["prompts"]): string[] {
  if (prompts === null || prompts === undefined) return [];
  const { requests, distinct, cacheBust } = prompts;
  const notes: string[] = [];
  if (distinct < requests && arms[0]!.driver.name === "stream") notes.push(`${requests} prompts a round, ${distinct} of them different`);
  if (external !== null && cacheBust === null && arms.length > 1)
    notes.push("the arms of a round send the same prompts: a server with a prefix cache knows them in the later ones (--cache-bust)");
  return notes;
}

/** Whether a gateway stands in front of one arm of a pair: what it does to answers is then what is looked for. */
function isThroughGateway({ arms }: Variant, { baseline, candidate }: Pick<PairSpec, "baseline" | "candidate">): boolean {
  return arms.some(({ id, via, behind }) => (id === baseline || id === candidate) && (via !== undefined || behind !== null));
}

/** What gateways make of the work: pairs of arms that differ in it, each in one line. */
function findingsOf(variant: Variant, results: readonly ArmResult[]): string[] {
  const workOf = (name: string): ArmResult["work"] => results.find(({ id }) => id === name)?.work;
  return variant.pairs
    .filter((pair) => isThroughGateway(variant, pair))
    .flatMap(({ baseline, candidate }) => {
      const unequal = unequalWork(workOf(baseline), workOf(candidate));
      return unequal.length === 0 ? [] : [`${candidate} against ${baseline}: unequal work: ${unequal.join("; ")}`];
    });
}

function armResult({ arm, rounds, reports, warmUps, isDead }: ArmRounds): ArmResult {
  // What a dead arm spoke shows in its warm-up.
  const all = [...reports, ...(isDead ? warmUps : [])];
  return summarizeArm(arm.description, rounds, {
    negotiated: all.flatMap(({ negotiated }) => negotiated)[0] ?? null,
    cipher: all.find(({ cipher }) => cipher !== null)?.cipher ?? null,
    rttMs: arm.rttMs,
  });
}

function gatewayNotes(arms: readonly LiveArm[], results: readonly ArmResult[]): string[] {
  return arms.flatMap(({ spec }, index) => {
    if (spec.via === undefined) return [];
    const { gatewayCpuUsPerToken: cpu } = results[index]!.metrics;
    const used = cpu === null || cpu === undefined ? "" : `, which takes ${cpu.mean.toFixed(1)} µs of CPU time for a token`;
    return [`${spec.id}: through ${describeVia(spec.via)}${used}`];
  });
}

/** Disturbed rounds that count all the same, and what this system does not tell. */
function machineNotes(results: readonly ArmResult[]): string[] {
  const seen = results.flatMap(({ id, rounds }) => rounds.flatMap(({ round, machine }) => (machine ? [{ id, round, machine }] : [])));
  const kept = seen.flatMap(({ id, round, machine: { disturbed, leftOut } }) =>
    disturbed.length > 0 && !leftOut
      ? [`${id}, round ${round + 1} was disturbed and counts (--keep-disturbed): ${disturbed.join("; ")}`]
      : [],
  );
  const isBlind = seen.length > 0 && seen.every(({ machine }) => machine.watchedUs === null);
  return isBlind ? [...kept, "what other processes did meanwhile is not known: this system has no /proc"] : kept;
}

/** What a reader of the figures should know beside them. */
function observations(seen: readonly ArmRounds[]): string[] {
  const notes: string[] = [];
  const windowsOf = new Map<string, string[]>();
  for (const { arm, reports } of seen) {
    const { id } = arm.description;
    const last = reports.at(-1);
    if (last === undefined) continue;
    const { windows, connectionsLost, heldBack } = last;
    if (last.negotiated.includes("http/1.0")) notes.push(`${id}: the server answers in HTTP/1.0, with a connection for each request`);
    if (connectionsLost !== null && connectionsLost > 0) notes.push(`${id}: ${connectionsLost} connections were lost`);
    if (heldBack !== null && heldBack > 0)
      notes.push(
        `${id}: ${heldBack} requests of the last round waited because ${arm.description.streams} were under way; latencies from the intended time hold the wait`,
      );
    if (windows === null) continue;
    const text = `${windows.localStream} (stream) and ${windows.localConnection} (connection) bytes at the client, ${windows.remoteStream} at the server`;
    windowsOf.set(text, [...(windowsOf.get(text) ?? []), id]);
  }
  for (const [text, ids] of windowsOf) notes.push(`flow-control windows of ${ids.join(", ")}: ${text}`);
  return notes;
}

/** Metrics that a busy generator does not spoil: they are counted at the server, or are no times. */
const counted: ReadonlySet<MetricName> = new Set<MetricName>([
  "serverCpuUsPerRequest",
  "serverCpuUsPerToken",
  "gatewayCpuUsPerRequest",
  "gatewayCpuUsPerToken",
  "bytesReceivedPerRequest",
  "bytesSentPerRequest",
  "bytesReceivedPerSession",
  "bytesSentPerSession",
  "serverCpuUsPerSession",
  "cachedShare",
  "connectionsOpened",
  "serverRssBytes",
  "streamsRefused",
  "requestsAborted",
  "wireBytesPerToken",
  "dataBytesPerToken",
  "framingBytesPerToken",
  "headBytesPerToken",
  "requestBytesPerToken",
  "windowUpdateBytesPerToken",
  "settingsBytesPerToken",
  "pingBytesPerToken",
  "otherFrameBytesPerToken",
]);

/** Two arms and what is compared of them. */
type ComparedPair = Pick<PairSpec, "baseline" | "candidate" | "kind"> &
  MetricRef & { readonly described?: boolean; readonly varies: readonly WorkPart[] };

function compareOne(
  { baseline, candidate, metric, statistic, kind, varies, described = false }: ComparedPair,
  results: readonly ArmResult[],
  { limited, leftOut }: { readonly limited: ReadonlyMap<string, string>; readonly leftOut: LeftOut },
  { protocols }: BenchOptions,
  { mode, clientWork }: Workload,
): Comparison {
  const spec = { metric, statistic, baseline, candidate, kind, varies, described };
  const missing = [baseline, candidate].find((id) => leftOut.has(id));
  if (missing !== undefined) return notCompared(spec, 0, `${missing} is left out: ${leftOut.get(missing)}`);
  const isThere = (name: string): boolean => results.some(({ id }) => id === name);
  if (protocols !== null && isThere(baseline) !== isThere(candidate))
    return notCompared(spec, 0, `--protocol ${protocols.join(",")} leaves nothing to compare with`);
  const busy = clientWork ? undefined : [baseline, candidate].find((id) => limited.has(id));
  if (busy !== undefined && !counted.has(metric)) return notCompared(spec, 0, `${busy}: ${limited.get(busy)}`);
  if (mode === "open" && (metric === "requestsPerSecond" || metric === "tokensPerSecond"))
    return notCompared(spec, 0, "an open loop has its rate given");
  return compareArms(results, spec);
}
