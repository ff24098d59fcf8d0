/** The verdicts of a whole run. */
import type { ScenarioResult } from "./types.ts";
import { adjustComparisons, judgeClaim } from "./verdict.ts";

/** The verdicts after Holm's adjustment over the whole run, and the claims that hang on them. */
export function withFinalVerdicts(scenarios: readonly ScenarioResult[]): ScenarioResult[] {
  const adjusted = adjustComparisons(scenarios.flatMap(({ comparisons }) => comparisons));
  let next = 0;
  return scenarios.map((scenario) => {
    const comparisons = scenario.comparisons.map(() => adjusted[next++]!);
    const claims = scenario.claims.map((claim) => {
      const final = comparisons.find(({ metric, statistic, baseline, candidate }) => {
        const old = claim.comparison;
        return (
          old !== null && metric === old.metric && statistic === old.statistic && baseline === old.baseline && candidate === old.candidate
        );
      });
      return final === undefined ? claim : judgeClaim(claim, final);
    });
    return { ...scenario, comparisons, claims };
  });
}
