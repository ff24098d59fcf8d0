/** From what shards handed in to the results that are merged. */
import { mergeShards } from "../results/shards.ts";
import { checkResult } from "../results/store.ts";
import type { ArmResult, BenchResult, RoundResult, ScenarioResult } from "../results/types.ts";
import type { SessionEnd } from "./session.ts";
import { shareName } from "./share.ts";

/**
 * The merged result of a session. Rounds are those that were handed in one by one: those of a shard that did not live to the end, or
 * that came back, are among them. Null where no shard handed a result in.
 * @throws Error in one line where a result does not fit the schema, or they do not fit together.
 */
export function collected({ results, rounds, reason }: SessionEnd, of: number): BenchResult | null {
  const [skeleton] = results.values();
  if (skeleton === undefined) return null;
  const list = Array.from({ length: of }, (_, i) => {
    const shard = i + 1;
    const own = results.get(shard);
    const place = { shard, of, session: skeleton.shard?.session ?? "", clock: own?.shard?.clock ?? null };
    const base = own ?? { ...skeleton, complete: false, invalid: [`${shareName({ shard, of })}: gone: it handed no result in`] };
    const whole = { ...base, shard: place, scenarios: base.scenarios.map((scenario) => withRounds(scenario, rounds.get(shard) ?? [])) };
    return checkResult(whole, shareName({ shard, of }));
  });
  const merged = mergeShards(list);
  return reason === null
    ? merged
    : { ...merged, complete: false, invalid: [...new Set([...merged.invalid, `the run ended early: ${reason}`])] };
}

function withRounds(scenario: ScenarioResult, recorded: NonNullable<ReturnType<SessionEnd["rounds"]["get"]>>): ScenarioResult {
  const arms = scenario.arms.map((arm): ArmResult => {
    const own = new Map<number, RoundResult>();
    for (const { place, result } of recorded)
      if (place.scenario === scenario.id && place.variant === scenario.variant && place.arm === arm.id) own.set(result.round, result);
    const rounds = [...own.values()].toSorted((a, b) => a.round - b.round);
    // An arm that no round was handed in of keeps its reasons. What is said over rounds is said anew of the merged ones.
    return { ...arm, rounds, invalid: rounds.length === 0 ? arm.invalid : [] };
  });
  return { ...scenario, arms };
}
