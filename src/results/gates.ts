/** What a gate in CI makes of a result: of its requirements, and of its comparison with a baseline. */
import type { ResultsComparison } from "./runs.ts";
import type { BenchResult } from "./types.ts";

/**
 * passed: all of it was checked, and holds. worse: a requirement is violated, or B is slower. missing: something could not be
 * checked. invalid: figures may not be used.
 */
export type GateOutcome = "passed" | "worse" | "missing" | "invalid";

/** The first that holds decides: a difference of invalid figures means nothing, and a finding stands whatever is missing. */
const byWeight: readonly GateOutcome[] = ["invalid", "worse", "missing", "passed"];

/** The outcome of several gates together. `allowMissing` passes what could not be checked, and never what is invalid. */
export function gateOf(outcomes: readonly GateOutcome[], allowMissing: boolean): GateOutcome {
  const counted = allowMissing ? outcomes.filter((outcome) => outcome !== "missing") : outcomes;
  return byWeight.find((outcome) => counted.includes(outcome)) ?? "passed";
}

/** What a result is on its own: complete and valid, and each requirement met. */
export function outcomesOfResult({ complete, invalid, requirements }: BenchResult): GateOutcome[] {
  return [
    complete && invalid.length === 0 ? "passed" : "invalid",
    ...requirements.map(({ met, outcome }): GateOutcome => (met ? "passed" : outcome === "not measured" ? "missing" : "worse")),
  ];
}

/** What B is beside A. */
export function outcomesOfComparison({ regressions, invalid, missing }: ResultsComparison): GateOutcome[] {
  return [
    invalid.length > 0 ? "invalid" : "passed",
    regressions.length > 0 ? "worse" : "passed",
    missing.length > 0 ? "missing" : "passed",
  ];
}
