import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { figureLabel } from "../audit/quantities.ts";
import { renderAuditPage } from "../audit/page.ts";
import { exitCodeOf } from "../audit/line.ts";
import { readMap, readerOf } from "../audit/map.ts";
import { AuditError, runAudit, rungsNamed } from "../audit/run.ts";
import type { Audit, FigureSummary, RungResult } from "../audit/types.ts";
import { makeDirectory } from "../base/directory.ts";
import { printable, printableJson } from "../base/printable.ts";
import { UsageError } from "../base/usage-error.ts";
import { digits } from "../report/format.ts";
import { writeWhole } from "../results/store.ts";
import { auditFlags } from "../settings/audit.ts";
import { runsDirectory } from "../settings/bench.ts";
import { settingsOf } from "../settings/parse.ts";
import type { Line } from "./command.ts";
import { listenForInterruption } from "./interruption.ts";
import { faultIn } from "./output.ts";
import { Progress } from "./progress.ts";
import { print } from "./terminal.ts";

/** Exit code where nothing could be audited. */
const nothing = 3;

/** `fakeai audit`: plays the ladder, writes audit.json and audit.html, and says the verdicts. */
export async function audit({ given, positionals }: Line): Promise<number> {
  const { out, budget, repeats, rungs, protocol, map, details, json } = settingsOf(auditFlags, given);
  const reader = map === null ? null : readerOf(readMap(map));
  if (rungs !== null) rungsNamed(positionals, rungs);
  const folder = out ?? join(runsDirectory, `${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}-audit`);
  openFolder(folder);
  const progress = new Progress(process.stderr);
  const interruption = listenForInterruption(
    () => progress.notice("interrupted: what was played is judged (again to end at once)"),
    () => progress.notice("ended at once: no audit was written"),
  );
  try {
    const { audit, played } = await runAudit({
      words: positionals,
      folder,
      budgetS: budget,
      repeats,
      rungs,
      protocol,
      reader,
      signal: interruption.signal,
      progress: (text) => progress.update(text),
      notice: (text) => progress.notice(text),
    });
    progress.end();
    await print(json ? `${printableJson(audit)}\n` : shown(audit));
    await writeWhole(join(folder, "audit.json"), `${JSON.stringify(audit, null, 2)}\n`);
    await writeWhole(join(folder, "audit.html"), renderAuditPage(audit));
    if (details) await writeWhole(join(folder, "observations.json"), `${JSON.stringify(played, withPlainColumns)}\n`);
    if (!json) await print(`\n${printable(join(folder, "audit.html"))}\n`);
    return interruption.exitCode ?? exitCodeOf(audit);
  } catch (error) {
    progress.end();
    if (!(error instanceof AuditError)) throw error;
    process.stderr.write(`fakeai: ${printable(error.message)}\n`);
    return interruption.exitCode ?? nothing;
  } finally {
    interruption.end();
  }
}

/** Makes the folder and tries it. Throws UsageError. */
function openFolder(folder: string): void {
  try {
    makeDirectory(folder);
    writeFileSync(join(folder, "audit.json"), "");
  } catch (error) {
    throw new UsageError(`--out: ${folder} cannot be written to (${faultIn(error)}): name another directory`);
  }
}

/** Columns of numbers as JSON has them. */
function withPlainColumns(_key: string, value: unknown): unknown {
  return value instanceof Int32Array ? [...value] : value;
}

function shown({ line, figures, rungs, leftOut, tool }: Audit): string {
  const rows = figures.filter(({ verdict }) => verdict !== "not-reported").map((figure) => rowOf(figure, rungs));
  const widths = [0, 1, 2].map((column) => Math.max(0, ...rows.map((row) => row[column]!.length)));
  const missing = figures
    .filter(({ verdict }) => verdict === "not-reported")
    .map(({ quantity, statistic }) => figureLabel(quantity, statistic));
  const notes = rungs.flatMap(({ name, notes: own }) => own.map((note) => `${name}: ${note}`));
  const lines = [
    ...rows.map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    ),
    ...(tool !== null && missing.length > 0 ? [`not reported: ${missing.join(", ")}`] : []),
    ...notes.slice(0, 12),
    ...(leftOut.length > 0 ? [`left out to fit --budget: ${leftOut.join(", ")}`] : []),
    "",
    line,
  ];
  return `${lines.map(printable).join("\n")}\n`;
}

/** Verdict, figure, how far off at most, and why. */
function rowOf({ quantity, statistic, verdict, biased, causes }: FigureSummary, rungs: readonly RungResult[]): string[] {
  const own = rungs.flatMap(({ figures }) => figures.filter((one) => one.quantity === quantity && one.statistic === statistic));
  const farthest = own
    .filter((one) => one.bias !== null && one.verdict === verdict)
    .toSorted((a, b) => Math.abs(b.bias!.ratio ?? 0) - Math.abs(a.bias!.ratio ?? 0))[0];
  const bias = farthest?.bias ?? null;
  const off =
    bias === null
      ? ""
      : `${bias.estimate > 0 ? "+" : ""}${digits(bias.estimate)} ${farthest!.unit}${bias.ratio === null ? "" : ` (${bias.ratio > 0 ? "+" : ""}${digits(bias.ratio * 100)}%)`}`;
  return [
    verdict,
    figureLabel(quantity, statistic),
    off,
    [...(biased.length > 0 ? [`on ${biased.join(", ")}`] : []), ...causes.map(({ text }) => text)].join("; "),
  ];
}
