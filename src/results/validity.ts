/** Why a result may not be used: from the faults of rounds to those of the run. */
import { validRounds } from "./arms.ts";
import type { ArmResult, ScenarioResult } from "./types.ts";

/** Begins the reason of a round that is left out for what the machine did. */
export const disturbedPrefix = "disturbed";

/** Whether a fault says that one end was at its limit, rather than that an answer was wrong. */
export function isLimit(fault: string): boolean {
  return /^(client|server)-limited/.test(fault);
}

/** A reason without the shard's name before it. */
function withoutName(reason: string): string {
  return reason.replace(/^shards? [\d, ]+(?:and \d+ more )?of \d+: /, "");
}

/** Whether a shard was not there for a round. */
function isAbsence(reason: string): boolean {
  return /^(late|gone)\b/.test(withoutName(reason));
}

/** Whether a reason tells what the machine did. */
function isDisturbance(reason: string): boolean {
  return withoutName(reason).startsWith(`${disturbedPrefix}: `);
}

/**
 * What happened in one round of five or fewer, and leaves nothing to doubt in the others: a generator or a server at its limit, a shard
 * that was late or gone. The round is left out and says so, the run stands. Lost and failed requests and other protocols are never excused.
 */
function isHiccup({ reason, rounds }: { readonly reason: string; readonly rounds: ReadonlySet<number> }, arm: ArmResult): boolean {
  return (isLimit(withoutName(reason)) || isAbsence(reason)) && arm.invalid.length === 0 && rounds.size * 5 <= arm.rounds.length;
}

/** Why a scenario's runs are invalid: each kind of reason once for each arm, with the rounds that it struck. */
export function faultsIn({ id, variant, arms }: ScenarioResult): string[] {
  const label = variant === "" ? id : `${id} (${variant})`;
  return arms.flatMap((arm) => {
    const kinds = new Map<string, { readonly reason: string; readonly rounds: Set<number> }>();
    // Reasons that differ in their figures only are one.
    const add = (reason: string, round: number | null): void => {
      const kind = reason.replaceAll(/[\d.]+/g, "#");
      if (!kinds.has(kind)) kinds.set(kind, { reason, rounds: new Set() });
      if (round !== null) kinds.get(kind)!.rounds.add(round);
    };
    for (const { round, invalid } of arm.rounds) for (const reason of invalid) add(reason, round);
    // An interrupt leaves arms without rounds; that is no fault of theirs.
    if (arm.rounds.length > 0) for (const reason of arm.invalid) add(reason, null);
    return (
      [...kinds.values()]
        // What the machine did is no fault of a run that has rounds left: `tooFewLeft` says where it has not.
        .filter((kind) => !isHiccup(kind, arm) && !isDisturbance(kind.reason))
        .map(({ reason, rounds }) => {
          const where = rounds.size === 0 ? "" : rounds.size === 1 ? `, round ${[...rounds][0]! + 1}` : `, ${rounds.size} rounds`;
          return `${label}, ${arm.id}${where}: ${reason}`;
        })
    );
  });
}

/** Rounds that an interval needs. */
const leastRounds = 2;

/** Arms, and pairs of them, that have fewer than two rounds left because the machine was disturbed. */
export function tooFewLeft({ id, variant, arms, comparisons }: Pick<ScenarioResult, "id" | "variant" | "arms" | "comparisons">): string[] {
  const label = variant === "" ? id : `${id} (${variant})`;
  const hint = "run it again on a quiet machine, or with --keep-disturbed";
  const leftOut = new Map(arms.map((arm) => [arm.id, arm.rounds.filter(({ machine }) => machine?.leftOut === true).length]));
  const few = arms.flatMap((arm) => {
    const left = validRounds(arm).length;
    if (leftOut.get(arm.id) === 0 || left >= leastRounds) return [];
    return [
      `${label}, ${arm.id}: ${leftOut.get(arm.id)} of ${arm.rounds.length} rounds were disturbed, ${left} left of the two that are needed: ${hint}`,
    ];
  });
  if (few.length > 0) return few;
  const pairs = new Map(comparisons.map(({ baseline, candidate }) => [`${baseline} and ${candidate}`, [baseline, candidate]]));
  return [...pairs].flatMap(([names, ids]) => {
    const both = arms.filter((arm) => ids.includes(arm.id));
    if (both.length < 2 || both.every((arm) => leftOut.get(arm.id) === 0)) return [];
    const [first, second] = both.map((arm) => new Set(validRounds(arm).map(({ round }) => round)));
    const common = [...first!].filter((round) => second!.has(round)).length;
    return common >= leastRounds ? [] : [`${label}: ${names} have ${common} undisturbed rounds in common, two are needed: ${hint}`];
  });
}

/** Pairs of arms that did unequal work: each once, with the figures. */
export function unequalPairs({ id, variant, comparisons }: ScenarioResult): string[] {
  const label = variant === "" ? id : `${id} (${variant})`;
  return comparisons
    .filter(({ unequalWork }) => unequalWork)
    .map(({ baseline, candidate, reason }) => `${label}, ${candidate} against ${baseline}: ${reason}`);
}
