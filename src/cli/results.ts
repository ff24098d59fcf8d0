/** Reading results that were named on a command line. */
import { UsageError } from "../base/usage-error.ts";
import { readResult } from "../results/store.ts";
import type { BenchResult } from "../results/types.ts";

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
