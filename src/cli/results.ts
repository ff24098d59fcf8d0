/** Reading results that were named on a command line. */
import { printable } from "../base/printable.ts";
import { UsageError } from "../base/usage-error.ts";
import { readResult } from "../results/store.ts";
import type { GateOutcome } from "../results/gates.ts";
import type { BenchResult } from "../results/types.ts";

/** Exit codes of the commands that hold a result against something. */
export const gateCodes: Readonly<Record<GateOutcome, number>> = { passed: 0, worse: 1, missing: 2, invalid: 3 };

/** Lines of one kind that stderr shows; the rest is a number. */
const mostComplaints = 20;

/** Says on stderr why a gate did not pass. `what` begins each line. */
export function complain(what: string, reasons: readonly string[]): void {
  for (const reason of reasons.slice(0, mostComplaints)) process.stderr.write(`fakeai: ${what}: ${printable(reason)}\n`);
  if (reasons.length > mostComplaints) process.stderr.write(`fakeai: ${what}: and ${reasons.length - mostComplaints} more\n`);
}

/** Says on stderr what a result is not on its own. */
export function complainOfResult({ invalid, requirements }: BenchResult): void {
  complain("invalid", invalid);
  complain(
    "not met",
    requirements.filter(({ met, outcome }) => !met && outcome !== "not measured").map(({ text }) => text),
  );
  complain(
    "not measured",
    requirements.filter(({ outcome }) => outcome === "not measured").map(({ text }) => text),
  );
}

/** A result by the path of its file or folder. `what` begins the complaint. Throws UsageError. */
export function resultAt(path: string, what: string = "result"): Promise<BenchResult> {
  return asUsage(what, () => readResult(path));
}

/** What the results room refuses in one line is wrong usage on a command line. */
export async function asUsage<T>(what: string, action: () => T | Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw new UsageError(`${what}: ${(error as Error).message}`);
  }
}
