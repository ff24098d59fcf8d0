/** What `npm run measure -- planted` has found, as a table. */
import type { CheckId, CheckVerdict } from "../../src/results/gateways/types.ts";
import { checkNames } from "../../src/report/gateways/words.ts";
import { table } from "../support/page.ts";

/** From the root of the repository. */
export const plantedFile = "results/gateways/planted.json";

/** One look at one gateway. */
export interface PlantedRun {
  readonly run: number;
  /** What was planted, or the gateway. */
  readonly gateway: string;
  readonly check: CheckId;
  readonly expected: CheckVerdict;
  readonly verdict: CheckVerdict;
  readonly seen: string;
  /** Over one minute, after it. */
  readonly loadAverage: number;
}

/** `planted.json`. */
export interface PlantedResult {
  /** ISO 8601. */
  readonly startedAt: string;
  /** The machine, in words. */
  readonly environment: string;
  readonly runs: readonly PlantedRun[];
}

/** How often each was what it should be, faults first; the sentence of the last run, or of the last that missed it. */
export function plantedTable({ runs }: PlantedResult): string {
  const groups = new Map<string, PlantedRun[]>();
  for (const run of runs) {
    const key = `${run.gateway}\n${run.check}`;
    groups.set(key, [...(groups.get(key) ?? []), run]);
  }
  const rows = [...groups.values()].map((group) => {
    const missed = group.filter(({ verdict, expected }) => verdict !== expected);
    const [{ gateway, check, expected }] = group as [PlantedRun, ...PlantedRun[]];
    const loads = group.map(({ loadAverage }) => loadAverage);
    return {
      isFault: expected !== "kept",
      cells: [
        gateway,
        checkNames[check],
        expected,
        `${group.length - missed.length} of ${group.length}`,
        (missed.at(-1) ?? group.at(-1)!).seen,
        `${Math.min(...loads)} to ${Math.max(...loads)}`,
      ],
    };
  });
  const sorted = [...rows.filter(({ isFault }) => isFault), ...rows.filter(({ isFault }) => !isFault)];
  return table(
    ["planted, or gateway", "check", "has to be", "it was", "seen", "load average"],
    sorted.map(({ cells }) => cells),
  );
}
