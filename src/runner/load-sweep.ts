/**
 * A sweep that finds its own load, as guidellm's `sweep` profile does: one request at a time, all that the server takes, and rates
 * evenly between the two. Ours goes on beyond them until the rate is not served any more, and no further.
 */
import { protocolTraits } from "../results/protocols.ts";
import { type SweepAxis, sweepAxisFacts, type SweepPlace, type SweepPoint } from "../results/sweep.ts";
import { servedShare, type SweepPlan } from "../results/sweeps.ts";
import type { ArmResult, ScenarioResult } from "../results/types.ts";
import type { BenchOptions } from "./plan/options.ts";
import type { ArmSpec, Variant } from "./plan/scenario.ts";
import { requestsIn } from "./plan/adapt.ts";

/** Requests in flight at once where all that a server takes is looked for, and the bound of its rates: vLLM's max_num_seqs. */
const defaultStreams = 256;
/** Seconds of a round, and rounds of a point, where nothing else is said. */
const defaultDurationS = 4;
const defaultRounds = 3;
/** Requests of a round at least: fewer say little of a tail. */
const leastRequests = 10;
/** Rates beyond what a closed loop took, each so many times the one before, while they are served. */
const mostBeyond = 3;
const beyondBy = 1.25;

/** What a sweep takes of the options. */
type Settings = Pick<BenchOptions, "sweep" | "streams" | "requests" | "durationS" | "rampUp" | "rounds" | "slo" | "maxErrors">;

/** Length of a round; null: its requests are counted. */
export function sweepDurationS({ requests, durationS }: Pick<Settings, "requests" | "durationS">): number | null {
  return requests === null ? (durationS ?? defaultDurationS) : null;
}

/** Seconds of a whole sweep, roughly. */
export function sweepSeconds({ arms }: Variant, settings: Settings): number {
  const rounds = settings.rounds ?? defaultRounds;
  const points = (settings.sweep?.rates ?? 0) + 2;
  return points * (1 + arms.length * (rounds + 1) * ((sweepDurationS(settings) ?? defaultDurationS) + 0.5));
}

/** What a sweep finds out. */
export interface LoadSweep {
  readonly plan: SweepPlan;
  readonly scenarios: readonly ScenarioResult[];
}

/** How points are run, one by one. `aborted` ends the sweep. */
export interface PointRunner {
  readonly run: (variant: Variant) => Promise<ScenarioResult>;
  readonly aborted: () => boolean;
}

/** Runs the points of a variant, which the options have settled. What has been run when it is aborted is in it. */
export async function loadSweep(base: Variant, settings: Settings, { run, aborted }: PointRunner): Promise<LoadSweep> {
  const scenarios: ScenarioResult[] = [];
  const points: SweepPoint[] = [];
  const measure = async (load: SweepPoint["load"], rate: number | null): Promise<ScenarioResult> => {
    const at: SweepPlace = rate === null ? {} : { rate: String(rate) };
    const variant = pointOf(base, settings, load, rate, at);
    const scenario = await run(variant);
    scenarios.push(scenario);
    points.push({ variant: variant.name, at, x: rate, load });
    return scenario;
  };
  const ended = (stopped: string | null): LoadSweep => {
    const rates = points.flatMap(({ x }) => (x === null ? [] : [x]));
    const { label, unit } = sweepAxisFacts.rate;
    const axis: SweepAxis = {
      name: "rate",
      label,
      unit,
      scale: rates.length > 1 && rates.at(-1)! >= 10 * rates[0]! ? "log" : "linear",
      values: rates.map((x) => ({ text: String(x), x })),
    };
    const plan: SweepPlan = { kind: "load", scenario: base.scenario, variant: base.name, axes: [axis], points, slo: settings.slo, stopped };
    return { plan, scenarios };
  };
  const one = await measure("synchronous", null);
  if (aborted()) return ended("interrupted");
  const least = ratesOf(one);
  if (least.length === 0) return ended(`ended at one request at a time: ${one.skipped ?? firstFault(one) ?? "nothing was measured"}`);
  const most = await measure("throughput", null);
  if (aborted()) return ended("interrupted");
  const rates = ratesBetween(Math.min(...least), Math.max(...least, ...ratesOf(most)), settings.sweep!.rates);
  for (let index = 0; index < rates.length; index++) {
    const rate = rates[index]!;
    const scenario = await measure("given", rate);
    if (aborted()) return ended("interrupted");
    const failed = tooManyFailed(scenario, settings);
    if (failed !== null) return ended(`ended at ${rate}/s: ${failed}`);
    const valid = scenario.arms.filter(({ invalid }) => invalid.length === 0);
    if (valid.length === 0) return ended(`ended at ${rate}/s: ${scenario.skipped ?? firstFault(scenario) ?? "nothing was measured"}`);
    if (valid.every(({ metrics }) => (metrics.achievedShare?.mean ?? 0) < servedShare))
      return ended(`ended at ${rate}/s, which is not served any more`);
    const isLast = index === rates.length - 1;
    if (isLast && rates.length < settings.sweep!.rates + mostBeyond) rates.push(neat(rate * beyondBy));
  }
  return ended(`ended at ${rates.at(-1)}/s, which is still served: more than ${streamsOf(settings)} at once may be needed (--streams)`);
}

/** Evenly spaced rates above the least, up to the most (guidellm: `np.linspace(synchronous, throughput, n)[1:]`). */
export function ratesBetween(least: number, most: number, count: number): number[] {
  const step = (most - least) / count;
  return [...new Set(Array.from({ length: count }, (_, i) => neat(least + step * (i + 1))))];
}

/** Three significant digits: a rate that is read as it was run. */
function neat(rate: number): number {
  return Number(rate.toPrecision(3));
}

function streamsOf({ streams }: Pick<Settings, "streams">): number {
  return streams ?? defaultStreams;
}

/** Requests a second of each arm, those of invalid rounds too: they say where to look, and are no finding. */
function ratesOf({ arms }: ScenarioResult): number[] {
  return arms.flatMap(({ rounds }) => {
    const seen = rounds.flatMap(({ metrics }) => (metrics.requestsPerSecond ? [metrics.requestsPerSecond.mean] : []));
    return seen.length === 0 ? [] : [seen.reduce((sum, rate) => sum + rate, 0) / seen.length];
  });
}

function firstFault({ arms }: ScenarioResult): string | null {
  return arms.flatMap(({ invalid }) => invalid)[0] ?? null;
}

/** Why an arm's failures end the sweep: any failed request, or more than `--max-errors` allows; null: they do not. */
function tooManyFailed({ arms }: ScenarioResult, { maxErrors }: Settings): string | null {
  const isTooMany = ({ rounds }: ArmResult): boolean =>
    rounds.some(({ requests: { failed, sent } }) =>
      maxErrors === null ? failed > 0 : failed > (maxErrors.count ?? Math.floor(maxErrors.share! * sent)),
    );
  const arm = arms.find(isTooMany);
  if (arm === undefined) return null;
  const failed = arm.rounds.reduce((sum, { requests }) => sum + requests.failed, 0);
  return `${failed} requests of ${arm.id} failed${maxErrors === null ? "" : " (--max-errors)"}`;
}

/** The variant at one point. Our own generator measures it: no other counts from the planned send time. */
function pointOf(base: Variant, settings: Settings, load: SweepPoint["load"], rate: number | null, at: SweepPlace): Variant {
  const all = streamsOf(settings);
  const streams = load === "synchronous" ? 1 : all;
  const durationS = sweepDurationS(settings);
  // A closed loop of a given length is as many requests as its warm-up shows to fit.
  const counted = load === "synchronous" ? 3 : 2 * all;
  const requests =
    settings.requests ?? (rate === null ? counted : Math.max(leastRequests, requestsIn(durationS ?? defaultDurationS, rate, settings)));
  const words = load === "synchronous" ? "one at a time" : load === "throughput" ? "all it takes" : `${rate}/s`;
  return {
    ...base,
    name: base.name === "" ? words : `${base.name}, ${words}`,
    question: rate === null ? words : `${rate} requests/s`,
    point: at,
    rounds: settings.rounds ?? defaultRounds,
    arms: base.arms.filter(({ role }) => role === "protocol").map(queueing),
    claims: [],
    workload: {
      ...base.workload,
      mode: rate === null ? "closed" : "open",
      rate,
      rateOfCapacity: null,
      streams,
      requests,
      rampMs: load === "throughput" ? base.workload.rampMs : 0,
      warmup: Math.min(base.workload.warmup, all),
    },
  };
}

/** Requests beyond a server's limit of streams wait in the client, as they do in every other client. */
function queueing(arm: ArmSpec): ArmSpec {
  const { isMultiplexed, isWebSocket } = protocolTraits[arm.protocol];
  return {
    ...arm,
    driver: "stream",
    ...(isMultiplexed && !isWebSocket && arm.reuse === "keep" ? { atStreamLimit: arm.atStreamLimit ?? "queue" } : {}),
  };
}
