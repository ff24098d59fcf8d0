import { printable, printableJson } from "../base/printable.ts";
import { renderTable } from "../report/table.ts";
import { gateOf, outcomesOfResult } from "../results/gates.ts";
import { mergeResults } from "../results/merge.ts";
import { settingsOf } from "../settings/parse.ts";
import { mergeFlags } from "../settings/results.ts";
import type { Line } from "./command.ts";
import { ResultDirectory } from "./output.ts";
import { asUsage, complainOfResult, gateCodes, resultAt } from "./results.ts";
import { tableStyle } from "./terminal.ts";

/** `fakeai merge`: writes the merged result and its page. Its exit codes are those of the run that it stands for. */
export async function merge({ given, positionals }: Line): Promise<number> {
  const { out, json, allowMissing } = settingsOf(mergeFlags, given);
  const parts = await Promise.all(positionals.map((path) => resultAt(path)));
  const merged = await asUsage("merge", () => mergeResults(parts));
  const directory = new ResultDirectory(out, "--out", () => {});
  process.stdout.write(json ? `${printableJson(merged)}\n` : `${renderTable(merged, tableStyle())}\n`);
  const { result, elsewhere } = await directory.write(merged);
  if (elsewhere !== null) throw new Error(`${elsewhere}: the result is in ${result}`);
  if (!json) process.stdout.write(`result: ${printable(result)}\n`);
  complainOfResult(merged);
  return gateCodes[gateOf(outcomesOfResult(merged), allowMissing)];
}
