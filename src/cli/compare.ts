import { renderComparison } from "../report/comparison.ts";
import { compareResults } from "../results/runs.ts";
import { settingsOf } from "../settings/parse.ts";
import { compareFlags } from "../settings/results.ts";
import type { Line } from "./command.ts";
import { resultAt } from "./results.ts";

/** `fakeai compare`: exit code 1 where B is slower than A. */
export async function compare({ given, positionals: [a, b] }: Line): Promise<number> {
  const { json, all } = settingsOf(compareFlags, given);
  const comparison = compareResults(await resultAt(a!), await resultAt(b!));
  process.stdout.write(`${json ? JSON.stringify(comparison) : renderComparison(comparison, all)}\n`);
  return comparison.regressions.length > 0 ? 1 : 0;
}
