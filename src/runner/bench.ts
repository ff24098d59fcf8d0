/** A whole bench: its plan, its servers, and its result, also where it is interrupted. */
import { checkEncoding } from "../base/encodings.ts";
import { loadQuic } from "../base/quic.ts";
import { UsageError } from "../base/usage-error.ts";
import type { DriverName, LoadDriver } from "../load/job.ts";
import { caveatsOf, protocolsOf, protocolTraits, webSocketPath } from "../results/protocols.ts";
import { faultsIn, tooFewLeft, unequalPairs } from "../results/validity.ts";
import { withFinalVerdicts } from "../results/final.ts";
import type { Meeting } from "../shards/meeting.ts";
import { shareName } from "../shards/share.ts";
import { checkRequirements, parseRequirement } from "../results/requirements.ts";
import { scenarioLabel } from "../results/scenarios.ts";
import type { SweepResult } from "../results/sweep.ts";
import { type SweepPlan, sweepResult } from "../results/sweeps.ts";
import type { BenchResult, Calibration, ProtocolName, ScenarioResult } from "../results/types.ts";
import { calibrate } from "./plan/calibrate.ts";
import { beyondCalibration, estimateSeconds, offeredTokensPerSecond } from "./plan/adapt.ts";
import type { External, Observer, RunContext } from "./arms.ts";
import { runVariant, skippedResult } from "./experiment.ts";
import { runClients } from "./clients/clients.ts";
import { choosePinning, describeEnvironment } from "./processes/machine.ts";
import type { BenchOptions } from "./plan/options.ts";
import { calibrationS, checkComparable, type Plan, planOf, sessionScenario, sweptScenario, wantsSessions } from "./plan/plan.ts";
import { isOverWebSocket } from "./plan/protocols.ts";
import { type Accepted, acceptedByBoth, lengthParameters, takesEverything } from "./plan/body.ts";
import { defaultWorkload, type Variant } from "./plan/scenario.ts";
import { loadTape } from "./plan/tape.ts";
import { parseAddress, pathAt, type ServerAddress, wholePathAt } from "./processes/address.ts";
import {
  clockAt,
  type ExternalServer,
  furtherAddresses,
  probe,
  type Probed,
  type ProbeResult,
  probeParameters,
  unanswering,
} from "./processes/probe.ts";
import { RunError, type Target } from "./processes/target.ts";
import { joinShards } from "./shards.ts";
import { loadSweep, sweepDurationS } from "./load-sweep.ts";
import { runVia, twoServers } from "./via.ts";

export interface BenchRun {
  readonly options: BenchOptions;
  /** A result that this one is going to be held against, and has to have something in common with; null: none. */
  readonly baseline: BenchResult | null;
  /** The command line for the record, secrets blotted out. */
  readonly command: readonly string[];
  readonly details: boolean;
  readonly observer: Observer;
  readonly signal: AbortSignal;
  /** The other shards; null and the default: this process makes the whole load. */
  readonly meeting?: Meeting | null;
}

/** What a bench leaves. */
export interface BenchEnd {
  /** Of a shard its part. */
  readonly own: BenchResult;
  /** Of the shard that holds the rendezvous: all parts as one; null otherwise. */
  readonly merged: BenchResult | null;
}

/** Runs what the options say, or a shard's part of it. Throws UsageError as `runBench` does, and where the shards do not come together. */
export async function runShard(run: BenchRun): Promise<BenchEnd> {
  const { options, observer, signal } = run;
  if (options.tape !== null) await loadTape(options.tape.folder);
  // Told once, by the run itself.
  const { variants } = options.shard === null ? { variants: [] } : planOf(options, { ...observer, notice() {}, live: () => {} });
  const sharding = await joinShards({ options, variants, observer, signal });
  if (sharding === null) return { own: await runBench(run), merged: null };
  const { meeting, share } = sharding;
  try {
    const result = await runBench({ ...run, meeting, signal: AbortSignal.any([signal, meeting.signal]) });
    const { ending } = meeting;
    const own: BenchResult = {
      ...result,
      shard: { ...share, session: meeting.session, clock: meeting.clock },
      invalid: ending === null ? result.invalid : [...result.invalid, `the run ended early: ${ending}`],
    };
    observer.progress(`${shareName(share)}: handing the result in`);
    const merged = await sharding.finish(own);
    if (typeof merged === "string") observer.notice(merged);
    return { own, merged: typeof merged === "string" ? null : merged };
  } finally {
    await sharding.close();
  }
}

/** Runs what the options say. Throws UsageError for what cannot be meant; everything else that goes wrong is in the result. */
export async function runBench({ options, baseline, command, details, observer, signal, meeting = null }: BenchRun): Promise<BenchResult> {
  if (options.tokenizer !== null) checkEncoding(options.tokenizer);
  if (options.tape !== null) await loadTape(options.tape.folder);
  const startedAt = new Date();
  const startedMs = performance.now();
  const plan = planOf(options, observer);
  // A sweep that finds its points has them when it has run.
  if (baseline !== null && options.sweep === null) checkComparable(plan.variants, baseline);
  // Shards of one machine would all be on one core.
  const pinning = meeting === null ? choosePinning() : null;
  const environment = describeEnvironment(
    pinning !== null && options.url === null,
    options.url === null ? "fakeai serve" : options.urls.map((url) => parseAddress(url).origin).join(", "),
  );
  const drivers = new Map<DriverName, LoadDriver>();
  const scenarios: ScenarioResult[] = [...plan.skipped];
  const engineVersions = new Map<string, string>();
  const told = new Set<string>();
  const invalid: string[] = [];
  /** Sweeps that ended before their last point, and why. */
  const stopped = new Map<SweepPlan, string>();
  const found: SweepPlan[] = [];
  let calibration: Calibration | null = null;
  let finished = false;
  const work = async (): Promise<void> => {
    const server = options.url === null ? null : await reachServer(options, observer);
    if (server !== null) await checkHosts(server, options, plan.variants);
    const proxies = new Map<string, External>();
    for (const { name, address } of options.via) proxies.set(name, await reach([address], options, observer));
    // The same requests go to all of them.
    const accepted = [...proxies.values()].reduce((both, one) => acceptedByBoth(both, one.accepted), server?.accepted ?? takesEverything);
    const external = server === null ? null : { ...server, accepted };
    const gateways = new Map([...proxies].map(([name, proxy]) => [name, { ...proxy, accepted }]));
    const base = { options, meeting, details, pinning, signal, observer, external, gateways, drivers, engineVersions, told };
    if (external === null && options.clients === null) calibration = await calibrateFor(base, plan.variants);
    const context: RunContext = { ...base, calibration };
    if (options.clients !== null) await runClients(context, options.clients, scenarios);
    else if (options.sweep !== null) await sweepLoads(context, plan.variants, scenarios, found);
    else if (external === null || gateways.size === 0) await runAll(context, plan, scenarios, stopped);
    else scenarios.push(await runVia(context, external));
    finished = !signal.aborted;
  };
  try {
    await Promise.race([work(), patience(signal)]);
  } catch (error) {
    if (error instanceof UsageError) throw error;
    if (!signal.aborted) invalid.push((error as Error).message);
  } finally {
    await Promise.all([...drivers.values()].map((driver) => driver.close()));
  }
  if (signal.aborted && found.length === 0) {
    for (const variant of plan.variants)
      if (!scenarios.some(({ id, variant: name }) => id === variant.scenario && name === variant.name))
        scenarios.push(skippedResult(variant, "interrupted before it had a result"));
  }
  const judged = withFinalVerdicts(scenarios);
  const sweeps = [...plan.sweeps.map((sweep) => ({ ...sweep, stopped: stopped.get(sweep) ?? null })), ...found].map((sweep) =>
    sweepResult(sweep, judged),
  );
  // A sweep that looks for the limit meets it: its points say each by itself whether they are valid.
  const isLookedFor = ({ id }: ScenarioResult): boolean => found.some(({ scenario }) => scenario === id);
  const asked = judged.filter((scenario) => !isLookedFor(scenario));
  invalid.push(...asked.flatMap(faultsIn), ...judged.flatMap(unequalPairs), ...asked.flatMap(tooFewLeft), ...sweeps.flatMap(emptySeries));
  const caveats = caveatsOf(judged);
  return {
    kind: "fakeai.bench",
    schemaVersion: 1,
    suite: suiteLabel(options),
    command,
    seed: options.seed,
    startedAt: startedAt.toISOString(),
    durationS: (performance.now() - startedMs) / 1000,
    complete: finished,
    environment: { ...environment, engines: { ...environment.engines, ...Object.fromEntries(engineVersions) } },
    calibration,
    scenarios: judged,
    ...(sweeps.length > 0 ? { sweeps } : {}),
    ...(caveats.length > 0 ? { caveats } : {}),
    requirements: checkRequirements(options.requirements.map(parseRequirement), judged),
    invalid: [...new Set(invalid)],
  };
}

/** After an interrupt, how long its pieces may take to hand in what they have. */
const patienceMs = 3000;

/** Resolves some time after the signal: what hangs then (a server that never answers) is not waited for. */
function patience(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => setTimeout(resolve, patienceMs), { once: true });
  });
}

/** What the result is called: the suite's name, or what was run in its place. */
export function suiteLabel(options: BenchOptions): string {
  const { scenarios, suite, trace, tape, via, url, clients, axes, sweep } = options;
  if (clients !== null) return scenarios.length > 0 ? scenarios.join("+") : "clients";
  if (via.length > 0) return "via";
  if (trace !== null) return "trace";
  if (tape !== null) return "tape";
  const isSwept = axes.length > 0 || sweep !== null;
  if (scenarios.length > 0) return `${scenarios.map((name) => name.replace(/^.*\/|\.json$/g, "")).join("+")}${isSwept ? "-sweep" : ""}`;
  if (isSwept) return `${sweptScenario}-sweep`;
  if (wantsSessions(options)) return sessionScenario;
  return url === null ? suite : `${suite}-url`;
}

/** How the addresses of `--url` are reached. */
function reaching({ caFile, insecure, headers, protocols }: BenchOptions): Omit<ExternalServer, "url"> {
  return { caFile, insecure, headers, named: protocols };
}

/**
 * The server of `--url`, at all its addresses. A server of ours that is named by one of them says on which other ports it
 * listens: what it speaks there, by the same scheme, is measured too. Throws RunError for addresses that are two servers.
 */
async function reachServer(options: BenchOptions, observer: Observer): Promise<External> {
  const { urls, protocols, via } = options;
  const server = await reach(urls, options, observer);
  const two = await twoServers(server, options);
  if (two !== null) throw new RunError(`--url: ${two}`);
  if (urls.length > 1 || via.length > 0) return server;
  const missing = protocolsOf(urls[0]!).filter(
    (name) => server.target.origins[name] === undefined && (protocols?.includes(name) ?? !protocolTraits[name].isByName),
  );
  if (missing.length === 0) return server;
  const others = await furtherAddresses(urls[0]!, server.target, options.headers);
  const found: Partial<Record<ProtocolName, string>> = {};
  for (const url of others) {
    const { target } = await probe({ url, ...reaching(options) });
    for (const name of missing) if (target.origins[name] !== undefined) found[name] ??= target.origins[name];
  }
  const all = { ...server, target: { ...server.target, origins: { ...found, ...server.target.origins } } };
  // Behind a mapped port another server may answer.
  const other = await twoServers(all, options);
  if (other !== null) observer.notice(`what ${parseAddress(urls[0]!).origin} says of its other ports is left aside: ${other}`);
  if (Object.keys(found).length === 0 || other !== null) return server;
  const shown = Object.entries(found).map(([name, origin]) => `${name} at ${origin}`);
  observer.notice(
    `${parseAddress(urls[0]!).origin} says that it serves ${shown.join(", ")} too: measured as well (--protocol says what is)`,
  );
  return all;
}

/** Every server of `--target-hosts` answers in every protocol of the plan, or nothing is measured. Throws RunError. */
async function checkHosts({ target }: External, { targetHosts }: BenchOptions, variants: readonly Variant[]): Promise<void> {
  const planned = new Set(variants.flatMap(({ arms }) => arms.map(({ protocol }) => protocol)));
  const spoken = [...planned].filter((protocol) => target.origins[protocol] !== undefined);
  const lost = await unanswering(target, spoken, targetHosts);
  if (lost.length === 0) return;
  const more = lost.length > 1 ? ` (and ${lost.length - 1} more)` : "";
  throw new RunError(`--target-hosts: ${lost[0]}${more}: leave out what does not answer, or start it`);
}

/** Finds out what the server speaks and takes, and says so. Throws RunError where it speaks nothing. */
async function reach(urls: readonly string[], options: BenchOptions, observer: Observer): Promise<External> {
  const address = parseAddress(urls[0]!);
  const asked = options.protocols;
  const found: { readonly target: External["target"]; readonly results: readonly ProbeResult[]; readonly origin: string }[] = [];
  for (const url of urls) {
    const { origin } = parseAddress(url);
    observer.progress(`asking ${origin} what it speaks`);
    const probed = await probe({ url, ...reaching(options) });
    found.push({ ...probed, origin });
  }
  const isSpoken = (protocol: ProtocolName): boolean => found.some(({ target }) => target.origins[protocol] !== undefined);
  for (const { origin, results } of found)
    for (const { protocol, refused } of results)
      // Of several addresses one each is enough.
      if (refused !== null && (asked === null || asked.includes(protocol)) && (urls.length === 1 || !isSpoken(protocol)))
        observer.notice(`${origin} does not speak ${protocol}: ${refused}`);
  const all = found.flatMap(({ results }) => results);
  const spoken = all.filter(({ protocol, refused }) => refused === null && (asked === null || asked.includes(protocol)));
  const origin = found.map((one) => one.origin).join(", ");
  if (spoken.length === 0) {
    const why = all.map(({ protocol, refused }) => `${protocol}: ${refused ?? "spoken, but not asked for"}`).join("; ");
    throw new RunError(`${origin} speaks no protocol that was asked for (${why})`);
  }
  // Where several addresses speak a protocol, the first does.
  const target = {
    ...found[0]!.target,
    origins: Object.assign({}, ...found.map((one) => one.target.origins).toReversed()) as Target["origins"],
  };
  const pathOf = (path: string): string =>
    options.isEndpointWhole && path === options.endpoint ? wholePathAt(address, path) : pathAt(address, path);
  const usualPath = spoken.some(isOverWebSocket) ? webSocketPath : defaultWorkload.path;
  const path = pathOf(options.endpoint ?? usualPath);
  // What was not asked for is not sent.
  const usual: Accepted = { lengthParameter: lengthParameters(path)[0]!, refused: new Set(["ignore_eos", "min_tokens"]) };
  const probed = await askParameters(target, spoken[0]!.protocol, path, options);
  if (probed !== null && probed.refusal !== null)
    observer.notice(`POST ${origin}${path.replace(/\?.*$/s, "")}: ${probed.refusal}${hintOf(address, probed.refusal)}`);
  const accepted = probed?.accepted ?? usual;
  const notes = notesOf(origin, accepted);
  for (const note of notes) observer.notice(note);
  return { target, pathOf, accepted, notes, clock: await clockAt(target, spoken[0]!.protocol, pathOf("/health/clock"), options.headers) };
}

/** Asks a server which parameters it takes; null where a body of one's own is sent as it is. */
async function askParameters(
  target: External["target"],
  protocol: ProtocolName,
  path: string,
  { body, model, headers }: BenchOptions,
): Promise<Probed | null> {
  if (body !== null) return null;
  const sent = { "content-type": "application/json", ...headers };
  return probeParameters({ origin: target.origins[protocol]!, protocol, path, method: "POST", headers: sent, tls: target.tls }, model);
}

/** A base that is not there, and has no version at its end, is often one without its /v1. */
function hintOf({ origin, base }: ServerAddress, refusal: string): string {
  const isBare = !/\/v\d\w*(\/|$)/.test(base);
  return refusal.startsWith("status 404") && isBare ? ` (the base URL is ${origin}${base}; is it ${origin}${base}/v1?)` : "";
}

function notesOf(origin: string, { lengthParameter, refused, exact }: Accepted): string[] {
  const without = [...refused].join(", ");
  return [
    ...(lengthParameter === "max_completion_tokens" ? [`${origin} refuses max_tokens: requests carry max_completion_tokens`] : []),
    ...(without === "" ? [] : [`${origin} refuses ${without}: requests go without`]),
    ...(exact ? [`${origin} gives the number of tokens that is ordered: an answer with another number has failed`] : []),
  ];
}

/** Calibrates for the highest load that the plan has, protocol by protocol. */
async function calibrateFor(context: Omit<RunContext, "calibration">, variants: readonly Variant[]): Promise<Calibration | null> {
  const needs: Partial<Record<ProtocolName, number>> = {};
  for (const { workload, arms } of variants) {
    const offered = offeredTokensPerSecond(workload);
    // Where the client's limit is what is looked for, nothing is left out for it.
    if (offered === null || workload.clientWork) continue;
    for (const { protocol, driver } of arms) {
      // Arms without their engine are left out, with a note of their own.
      if (driver !== "stream" || (protocolTraits[protocol].isQuic && loadQuic() === null)) continue;
      needs[protocol] = Math.max(needs[protocol] ?? 0, offered);
    }
  }
  if (Object.keys(needs).length === 0) return null;
  context.observer.live?.({ kind: "asking", question: "what this machine can read", seconds: calibrationS, arms: [], runs: 0 });
  const calibration = await calibrate(context, needs);
  for (const protocol of Object.keys(needs) as ProtocolName[]) {
    const beyond = beyondCalibration(needs[protocol]!, calibration, protocol);
    if (beyond !== null) context.observer.notice(`${protocol}: ${beyond}`);
  }
  return calibration;
}

async function runAll(
  context: RunContext,
  { variants, sweeps }: Plan,
  scenarios: ScenarioResult[],
  stopped: Map<SweepPlan, string>,
): Promise<void> {
  const { options, observer, signal } = context;
  const asSuite = options.scenarios.length === 0 && sweeps.length === 0;
  const skip = (variant: Variant, reason: string): void => {
    observer.notice(`${scenarioLabel({ id: variant.scenario, variant: variant.name })}: ${reason}`);
    scenarios.push(skippedResult(variant, reason));
  };
  for (const [index, variant] of variants.entries()) {
    if (signal.aborted) return;
    const sweep = sweeps.find(
      ({ scenario, points }) => scenario === variant.scenario && points.some((point) => point.variant === variant.name),
    );
    const ended = sweep === undefined ? undefined : stopped.get(sweep);
    const reason = ended ?? (asSuite ? beyondLimit(variant, context.calibration) : null);
    if (reason !== null) {
      observer.live?.({ kind: "leftOut", seconds: estimateSeconds(variant, options.durationS) });
      skip(variant, reason);
      continue;
    }
    observer.progress(`${variant.scenario} (${index + 1} of ${variants.length})`);
    const result = await runVariant(context, variant);
    scenarios.push(result);
    const failed = sweep === undefined || options.maxErrors === null ? null : givenUp(result);
    if (failed !== null && sweep !== undefined) stopped.set(sweep, failed);
  }
}

/** Sweeps that find their own points, one for each variant. */
async function sweepLoads(
  context: RunContext,
  variants: readonly Variant[],
  scenarios: ScenarioResult[],
  found: SweepPlan[],
): Promise<void> {
  const { observer, signal } = context;
  const options = { ...context.options, durationS: sweepDurationS(context.options) };
  for (const variant of variants) {
    if (signal.aborted) return;
    const { plan } = await loadSweep(variant, options, {
      run: async (point) => {
        observer.progress(`${point.scenario}: ${point.name}`);
        const result = await runVariant({ ...context, options }, point);
        scenarios.push(result);
        return result;
      },
      aborted: () => signal.aborted,
    });
    found.push(plan);
    if (plan.stopped !== null) observer.notice(`${variant.scenario}: the sweep ${plan.stopped}`);
  }
}

/** Valid points that a sweep of load needs to say anything. */
const leastPoints = 3;

/** Arms of which a sweep of load has too few valid points, each with a reason. */
function emptySeries({ kind, scenario, variant, series }: SweepResult): string[] {
  if (kind === "list") return [];
  return series.flatMap(({ arm, readings }) => {
    const valid = readings.filter(({ invalid }) => invalid.length === 0).length;
    const reason = readings.flatMap(({ invalid }) => invalid)[0];
    if (valid >= leastPoints) return [];
    const why = reason === undefined ? "" : `: ${reason}`;
    return [`${scenarioLabel({ id: scenario, variant })}, ${arm}: ${valid} points of the sweep are valid, ${leastPoints} are needed${why}`];
  });
}

/** Why a sweep ends at this point: an arm's round was given up for its errors. null: it goes on. */
export function givenUp({ id, variant, arms }: ScenarioResult): string | null {
  const arm = arms.find(({ rounds }) => rounds.some(({ invalid }) => invalid.some((reason) => reason.includes("(--max-errors)"))));
  return arm === undefined
    ? null
    : `the sweep ended at ${scenarioLabel({ id, variant })}: too many requests of ${arm.id} failed (--max-errors)`;
}

/** Why a suite does not run a variant on this machine, or null. */
function beyondLimit({ workload, arms }: Variant, calibration: Calibration | null): string | null {
  const offered = offeredTokensPerSecond(workload);
  if (offered === null || calibration === null || workload.clientWork) return null;
  for (const { protocol } of arms) {
    const beyond = beyondCalibration(offered, calibration, protocol);
    if (beyond !== null) return `left out: on ${protocol} ${beyond}; a verdict would be about this machine`;
  }
  return null;
}
