/**
 * Two arms of one run in one metric. The unit is the round: arms are paired by it, since what disturbs a round (heat,
 * neighbours) disturbs both. The verdict is made in `verdict.ts`; runs are compared in `runs.ts`.
 */
import { protocolTraits } from "./protocols.ts";
import { resolution, validRounds, valueIn } from "./arms.ts";
import { estimateMean } from "./statistics.ts";
import type { ArmResult, Comparison, MetricSummary, Work } from "./types.ts";
import { type ComparisonSpec, decided, notCompared, ofUnequalWork } from "./verdict.ts";
import { addWork, unequalWork } from "./work.ts";

/** Why two arms cannot decide about a protocol, or null. */
function unlike(baseline: ArmResult, candidate: ArmResult): string | null {
  if (baseline.engine !== candidate.engine) return `engines differ: ${baseline.engine} and ${candidate.engine}`;
  const secure = (arm: ArmResult): boolean => protocolTraits[arm.protocol].isEncrypted;
  if (secure(baseline) !== secure(candidate)) return "one side is encrypted and the other is not";
  if (baseline.cipher !== null && candidate.cipher !== null && baseline.cipher !== candidate.cipher) {
    return `ciphers differ: ${baseline.cipher} and ${candidate.cipher}`;
  }
  if (baseline.rttMs !== candidate.rttMs) return `round-trip times differ: ${baseline.rttMs} and ${candidate.rttMs} ms`;
  return null;
}

/** The work of the rounds that both arms have: rounds may differ in it, as sessions do. Of files without it, that of the arms. */
function workInCommon(baseline: ArmResult, candidate: ArmResult): [Work | undefined, Work | undefined] {
  const rounds = [baseline, candidate].map(validRounds);
  const numbers = rounds.map((own) => new Set(own.map(({ round }) => round)));
  const [from, to] = rounds.map((own) => own.filter(({ round }) => numbers.every((there) => there.has(round))));
  // Nothing is paired, and sums of different rounds say nothing of the arms.
  if (from!.length === 0 && rounds.every((own) => own.length > 0)) return [undefined, undefined];
  const isTold = from!.length > 0 && [...from!, ...to!].every(({ work }) => work !== undefined);
  return isTold ? [addWork(from!.map(({ work }) => work)), addWork(to!.map(({ work }) => work))] : [baseline.work, candidate.work];
}

/**
 * Compares two arms by their rounds. Rounds that are invalid, or lack the metric, in either arm are left out of both.
 * Arms that did unequal work are not compared.
 * The verdict is the comparison's own until `adjustComparisons` has seen the whole suite.
 */
export function compareArms(arms: readonly ArmResult[], spec: ComparisonSpec): Comparison {
  const baseline = arms.find(({ id }) => id === spec.baseline);
  const candidate = arms.find(({ id }) => id === spec.candidate);
  if (baseline === undefined || candidate === undefined) {
    return notCompared(spec, 0, `${baseline === undefined ? spec.baseline : spec.candidate} was not run`);
  }
  for (const arm of [baseline, candidate]) {
    const [reason] = arm.invalid;
    if (reason !== undefined) return notCompared(spec, 0, `${arm.id} is invalid: ${reason}`);
  }
  const difference = spec.kind === "protocol" ? unlike(baseline, candidate) : null;
  if (difference !== null) return notCompared(spec, 0, difference);
  const unequal = unequalWork(...workInCommon(baseline, candidate), spec.varies);
  if (unequal.length > 0) return ofUnequalWork(spec, unequal);
  const pairs: { readonly from: number; readonly to: number }[] = [];
  const others = new Map(validRounds(candidate).map((round) => [round.round, round]));
  const summaries: MetricSummary[] = [];
  for (const round of validRounds(baseline)) {
    const other = others.get(round.round);
    const from = valueIn(round, spec.metric, spec.statistic);
    const to = other === undefined ? null : valueIn(other, spec.metric, spec.statistic);
    if (from === null || to === null) continue;
    pairs.push({ from, to });
    for (const summary of [round.metrics[spec.metric], other?.metrics[spec.metric]]) if (summary) summaries.push(summary);
  }
  if (pairs.length === 0 && !validRounds(baseline).some(({ round }) => others.has(round)))
    return notCompared(spec, 0, "no round in common");
  if (pairs.length === 0) return notCompared(spec, 0, `${spec.metric} was not measured on both sides`);
  if (pairs.length === 1) return notCompared(spec, 1, "one round in common: no interval");
  const from = pairs.map((pair) => pair.from);
  const to = pairs.map((pair) => pair.to);
  const step = Math.hypot(resolution(from, spec.statistic, summaries), resolution(to, spec.statistic, summaries));
  const differences = pairs.map((pair) => pair.to - pair.from);
  const positive = pairs.every((pair) => pair.from > 0 && pair.to > 0);
  const smallest = Math.min(...from, ...to);
  const ratios = positive
    ? estimateMean(
        pairs.map((pair) => Math.log(pair.to / pair.from)),
        step / smallest,
      )
    : null;
  return decided(spec, pairs.length, ratios, estimateMean(differences, step));
}
