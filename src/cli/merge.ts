import { dirname } from "node:path";
import { printableJson } from "../base/printable.ts";
import { placesText, renderEnding } from "../report/ending.ts";
import { renderTable } from "../report/table.ts";
import { gateOf, outcomesOfResult } from "../results/gates.ts";
import { mergeResults } from "../results/merge.ts";
import { mergeShards } from "../results/shards.ts";
import { settingsOf } from "../settings/parse.ts";
import { mergeFlags } from "../settings/results.ts";
import type { Line } from "./command.ts";
import { ResultDirectory } from "./output.ts";
import { asUsage, complainOfResult, gateCodes, resultAt } from "./results.ts";
import { endingStyle, tableStyle } from "./terminal.ts";

/** `fakeai merge`: writes the merged result and its page. Its exit codes are those of the run that it stands for. */
export async function merge({ given, positionals }: Line): Promise<number> {
  const { out, shards, json, full, allowMissing } = settingsOf(mergeFlags, given);
  const together = shards ? mergeShards : mergeResults;
  const parts = await Promise.all(positionals.map((path) => resultAt(path)));
  const merged = await asUsage("merge", () => together(parts));
  const directory = new ResultDirectory(out, "--out", () => {});
  complainOfResult(merged);
  const shown = `${full ? `${renderTable(merged, tableStyle())}\n` : ""}${renderEnding(merged, endingStyle())}`;
  process.stdout.write(json ? `${printableJson(merged)}\n` : shown);
  const { result, report, complaints } = await directory.write(merged);
  if (complaints.length > 0) throw new Error(complaints.join("; "));
  if (!json) process.stdout.write(placesText(report, dirname(result)));
  return gateCodes[gateOf(outcomesOfResult(merged), allowMissing)];
}
