/** What a bench is going to run: the variants that were asked for, as the options change them, and what is left out. */
import { basename } from "node:path";
import { UsageError } from "../../base/usage-error.ts";
import { parseRequirement } from "../../results/requirements.ts";
import { sameScenario, scenarioLabel } from "../../results/scenarios.ts";
import type { SweepPlan } from "../../results/sweeps.ts";
import type { BenchResult, ScenarioResult } from "../../results/types.ts";
import type { SuiteName } from "../../settings/bench.ts";
import type { Observer } from "../arms.ts";
import { skippedResult } from "../experiment.ts";
import { sweepSeconds } from "../load-sweep.ts";
import { estimateSeconds } from "./adapt.ts";
import type { BenchOptions } from "./options.ts";
import { overridden } from "./overrides.ts";
import { type ScenarioFile, scenarioNamed, shippedScenarios, type Variant, variantsOf } from "./scenario.ts";
import { swept, type Swept } from "./sweep.ts";
import { tapeVariant } from "./tape.ts";
import { isUntimed, traceOf } from "./trace.ts";

/** Seconds that the quick suite may take. */
const quickBudgetS = 110;
export const calibrationS = 6;

/** What is going to be run, and what of it is left out and why. */
export interface Plan {
  readonly variants: readonly Variant[];
  readonly skipped: readonly ScenarioResult[];
  readonly seconds: number;
  /** Sweeps whose points are among the variants. */
  readonly sweeps: readonly SweepPlan[];
}

/** Settles what is run, and says it. Throws UsageError for what cannot be meant. */
export function planOf(given: BenchOptions, observer: Observer): Plan {
  const options = given.sweep === null ? given : forLoad(given);
  // These say what they take when they know what they run.
  if (options.via.length > 0 || options.clients !== null) return { variants: [], skipped: [], seconds: 20, sweeps: [] };
  const wanted = variantsWanted(options);
  const { variants: candidates, notes, pointless, sweeps } = candidatesOf(wanted, options);
  for (const note of notes) observer.notice(note);
  const variants: Variant[] = [];
  const skipped: ScenarioResult[] = [];
  const asSuite = wantsSuite(options);
  let seconds = options.url === null ? calibrationS : 1;
  for (const variant of candidates) {
    const nothing = pointless.get(variant);
    if (nothing !== undefined) {
      if (!asSuite) throw new UsageError(`${variant.scenario}: ${nothing}`);
      observer.notice(`${variant.scenario}: ${nothing}`);
      skipped.push(skippedResult(variant, nothing));
      continue;
    }
    const own = options.sweep === null ? estimateSeconds(variant, options.durationS) : sweepSeconds(variant, options);
    if (asSuite && options.suite === "quick" && options.rounds === null && seconds + own > quickBudgetS) {
      const label = `${variant.scenario}${variant.name === "" ? "" : ` (${variant.name})`}`;
      const reason = `left out to keep the quick suite short (about ${Math.round(own)} s; run it with --scenario ${variant.scenario})`;
      observer.notice(`${label}: ${reason}`);
      skipped.push(skippedResult(variant, reason));
      continue;
    }
    seconds += own;
    variants.push(variant);
  }
  if (variants.length === 0) throw new UsageError("nothing is left to run: the flags leave nothing to compare");
  for (const text of options.requirements) checkMeaning(text, candidates);
  const of = [...new Set(variants.map(({ scenario }) => scenario))].join(", ");
  observer.notice(`about ${describeSeconds(seconds)}: ${of}`);
  observer.live?.({ kind: "plan", seconds });
  return { variants, skipped, seconds, sweeps };
}

/** Whether nothing names what is run but the suite. */
function wantsSuite(options: BenchOptions): boolean {
  return (
    options.scenarios.length === 0 &&
    options.trace === null &&
    options.tape === null &&
    options.axes.length === 0 &&
    options.sweep === null &&
    !wantsSessions(options)
  );
}

/** Whether flags speak of sessions. */
export function wantsSessions({ turns, toolCalls, thinkTime, toolTime }: BenchOptions): boolean {
  return [turns, toolCalls, thinkTime, toolTime].some((value) => value !== null);
}

/** Without a scenario a sweep is one of token streams: the whole suite at each point would take an hour. */
export const sweptScenario = "stream";

/** Without a scenario, flags that speak of sessions mean this one. */
export const sessionScenario = "agents";

/** Of our own server, the protocols that a sweep of load is about: it measures a server, and each protocol takes minutes. */
function forLoad(options: BenchOptions): BenchOptions {
  return options.url === null && options.protocols === null ? { ...options, protocols: ["h1", "h2c"] } : options;
}

function candidatesOf(wanted: readonly Variant[], options: BenchOptions): Swept {
  return options.axes.length > 0 ? swept(wanted, options, options.axes) : { ...overridden(wanted, options), sweeps: [] };
}

/** A requirement on a scenario or arm that is not run could only fail, and after minutes. Throws UsageError. */
function checkMeaning(text: string, variants: readonly Variant[]): void {
  const required = parseRequirement(text);
  const meant = variants.filter(({ scenario }) => required.scenario === null || scenario === required.scenario);
  const names = [...new Set(meant.flatMap(({ arms }) => arms.flatMap(({ id, protocol }) => [protocol, id])))];
  if (meant.length === 0)
    throw new UsageError(
      `--require: "${text}": ${required.scenario} is not run (there are ${[...new Set(variants.map(({ scenario }) => scenario))].join(", ")})`,
    );
  if (required.arm !== null && !names.includes(required.arm))
    throw new UsageError(`--require: "${text}": no arm ${required.arm} is run (there are ${names.join(", ")})`);
}

/** A comparison that cannot be made is known before the run. Throws UsageError. */
export function checkComparable(variants: readonly Variant[], baseline: BenchResult): void {
  // What measures clients or a gateway settles its scenarios as it runs.
  if (variants.length === 0) return;
  const hint = "; --allow-missing passes what is not compared";
  const common = variants.filter(({ scenario, name }) => sameScenario(baseline, { id: scenario, variant: name }) !== undefined);
  if (common.length === 0)
    throw new UsageError(
      `--baseline: nothing in common: it has ${baseline.scenarios.map(scenarioLabel).join(", ") || "no scenario"}, and ${variants.map(({ scenario, name }) => scenarioLabel({ id: scenario, variant: name })).join(", ")} would be run${hint}`,
    );
  const single = common.filter(({ rounds }) => rounds < 2);
  if (single.length === common.length) throw new UsageError(`--baseline: one round has no interval; give --rounds 2 or more${hint}`);
}

function describeSeconds(seconds: number): string {
  return seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60)} min`;
}

/** Requests or conversations at once of a trace without times. */
const untimedStreams = 32;

function variantsWanted(options: BenchOptions): Variant[] {
  const { trace, tape, suite } = options;
  if (tape !== null) return [tapeVariant(tape, options.streams)];
  const isSwept = options.axes.length > 0 || options.sweep !== null;
  const unnamed = wantsSessions(options) ? [sessionScenario] : isSwept ? [sweptScenario] : [];
  const scenarios = options.scenarios.length === 0 ? unnamed : options.scenarios;
  if (trace !== null) {
    // The scenario's variants differ in what of its own trace they replay: of this one there is one replay.
    const variant = variantsOf(scenarioNamed("trace"), "full")[0]!;
    const pace = trace.speed === 1 ? "" : `, ${trace.speed} times as fast`;
    const replay = { ...trace, seconds: null };
    const limit = options.requests ?? trace.limit;
    const untimed = isUntimed(traceOf(replay));
    const name = `${basename(trace.file)}${limit === null ? "" : `, first ${limit}`}${untimed ? ", without times: closed loop" : pace}`;
    return [
      {
        ...variant,
        name,
        question: "{variant}",
        workload: { ...variant.workload, ...(untimed ? { mode: "closed", streams: untimedStreams } : {}), trace: replay },
      },
    ];
  }
  const files = scenarios.length > 0 ? scenarios.map(scenarioNamed) : shippedScenarios();
  return files.flatMap((file) => (scenarios.length > 0 ? namedVariants(file, suite) : variantsOf(file, suite)));
}

/** A scenario that is named runs what the quick suite has of it; all of it where that has nothing, or with --suite full. */
function namedVariants(file: ScenarioFile, suite: SuiteName): Variant[] {
  const quick = suite === "full" ? [] : variantsOf(file, suite);
  return quick.length > 0 ? quick : variantsOf(file, null);
}
