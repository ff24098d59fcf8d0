import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { renderHtml } from "../report/html.ts";
import { renderTable } from "../report/table.ts";
import { gateOf, outcomesOfResult } from "../results/gates.ts";
import { mergeResults } from "../results/merge.ts";
import { writeResult } from "../results/store.ts";
import { settingsOf } from "../settings/parse.ts";
import { mergeFlags } from "../settings/results.ts";
import type { Line } from "./command.ts";
import { asUsage, complainOfResult, gateCodes, resultAt } from "./results.ts";
import { tableStyle } from "./terminal.ts";

/** `fakeai merge`: writes the merged result and its page. Its exit codes are those of the run that it stands for. */
export async function merge({ given, positionals }: Line): Promise<number> {
  const { out, json, allowMissing } = settingsOf(mergeFlags, given);
  const parts = await Promise.all(positionals.map((path) => resultAt(path)));
  const merged = await asUsage("merge", () => mergeResults(parts));
  await writeResult(out, merged);
  writeFileSync(join(out, "report.html"), renderHtml(merged));
  process.stdout.write(
    json ? `${JSON.stringify(merged)}\n` : `${renderTable(merged, tableStyle())}\nresult: ${join(out, "result.json")}\n`,
  );
  complainOfResult(merged);
  return gateCodes[gateOf(outcomesOfResult(merged), allowMissing)];
}
