/**
 * Does `fakeai audit` catch a small lie, and clear an honest tool? Ten whole audits each of the tests' client that reports every ITL
 * 3% low, and of the same client without that. Exit code 1 where one is missed.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Audit } from "../src/audit/types.ts";
import { cliPath } from "./support/server.ts";
import { table } from "./support/page.ts";

const runs = 10;
const clients = fileURLToPath(new URL("../test/audit/clients/", import.meta.url));

function auditOf(mode: string): Audit {
  const out = mkdtempSync(join(tmpdir(), "fakeai-audits-"));
  try {
    const flags = ["audit", "--out", out, "--rungs", "constant", "--map", `${clients}map.yaml`];
    const { stderr } = spawnSync(
      process.execPath,
      [cliPath, ...flags, "--", process.execPath, `${clients}client.mjs`, mode, "{base}", "20", "5"],
      {
        encoding: "utf8",
      },
    );
    const text = readFileSync(join(out, "audit.json"), "utf8");
    if (text === "") throw new Error(stderr.trim().split("\n").at(-1));
    return JSON.parse(text) as Audit;
  } finally {
    rmSync(out, { recursive: true });
  }
}

const rows: string[][] = [];
let missed = 0;
// In turns, so that both meet the machine as it is.
for (let run = 1; run <= runs; run++) {
  for (const mode of ["low-itl", "honest"] as const) {
    const { rungs, figures } = auditOf(mode);
    const itl = rungs[0]!.figures.find(({ quantity, statistic }) => quantity === "itl" && statistic === "mean")!;
    const biased = figures.filter(({ verdict }) => verdict === "biased").map(({ quantity, statistic }) => `${quantity} ${statistic}`);
    const isGood = mode === "low-itl" ? itl.verdict === "biased" : biased.length === 0;
    if (!isGood) missed++;
    const { low, high, ratio } = itl.bias!;
    rows.push([
      String(run),
      mode,
      itl.verdict,
      `${((ratio ?? 0) * 100).toFixed(2)}% (${low.toFixed(3)} to ${high.toFixed(3)} ms)`,
      biased.join(", "),
      rungs[0]!.repeats.map(({ machine }) => (machine === null ? "-" : `${Math.round(machine.waiting * 100)}%`)).join(" "),
      loadavg()[0]!.toFixed(1),
    ]);
    console.error(rows.at(-1)!.join(" | "));
  }
}
console.log(table(["run", "client", "ITL mean is", "bias", "biased", "waiting", "load"], rows, 3));
console.log(`\n${missed === 0 ? "none" : missed} of ${2 * runs} audits missed it`);
if (missed > 0) process.exitCode = 1;
