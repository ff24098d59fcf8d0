import { printableJson } from "../base/printable.ts";
import { renderComparison } from "../report/comparison.ts";
import { gateOf, outcomesOfComparison } from "../results/gates.ts";
import { compareResults } from "../results/runs.ts";
import { settingsOf } from "../settings/parse.ts";
import { compareFlags } from "../settings/results.ts";
import type { Line } from "./command.ts";
import { complain, gateCodes, resultAt } from "./results.ts";

/** `fakeai compare`. Its exit codes are in `--help-all`. */
export async function compare({ given, positionals: [a, b] }: Line): Promise<number> {
  const { json, all, allowMissing } = settingsOf(compareFlags, given);
  const comparison = compareResults(await resultAt(a!), await resultAt(b!));
  const outcome = gateOf(outcomesOfComparison(comparison), allowMissing);
  process.stdout.write(`${json ? printableJson({ outcome, ...comparison }) : renderComparison(comparison, all)}\n`);
  if (outcome === "invalid") complain("invalid", comparison.invalid);
  if (outcome === "missing") complain("not compared", comparison.missing);
  return gateCodes[outcome];
}
