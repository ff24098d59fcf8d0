/** How scenarios of a result are named and found again in another. */
import type { BenchResult, ScenarioResult } from "./types.ts";

type Named = Pick<ScenarioResult, "id" | "variant">;

/** "mux-scale (1000 streams)": a scenario with its variant, where it has several. */
export function scenarioLabel({ id, variant }: Named): string {
  return variant === "" ? id : `${id} (${variant})`;
}

/** The same scenario in the same variant of another result. */
export function sameScenario(result: BenchResult, { id, variant }: Named): ScenarioResult | undefined {
  return result.scenarios.find((scenario) => scenario.id === id && scenario.variant === variant);
}
