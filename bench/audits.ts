/**
 * Does `fakeai audit` catch a small lie, and clear an honest tool? Ten whole audits each of the tests' client that reports every ITL
 * 3% low, and of the same client without that. Exit code 1 where one is missed.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Audit } from "../src/audit/types.ts";
import { liarFile, type LiarResult, type LiarRun } from "./pages/audits.ts";
import { cliPath, root } from "./support/server.ts";
import { describeEnvironment } from "../src/runner/processes/machine.ts";

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

const startedAt = new Date().toISOString();
const all: LiarRun[] = [];
// In turns, so that both meet the machine as it is.
for (let run = 1; run <= runs; run++) {
  for (const mode of ["low-itl", "honest"] as const) {
    const { rungs, figures } = auditOf(mode);
    const itl = rungs[0]!.figures.find(({ quantity, statistic }) => quantity === "itl" && statistic === "mean")!;
    const biased = figures.filter(({ verdict }) => verdict === "biased").map(({ quantity, statistic }) => `${quantity} ${statistic}`);
    const { low, high, ratio } = itl.bias!;
    all.push({ run, mode, verdict: itl.verdict, biased, ratio: ratio ?? 0, lowMs: low, highMs: high, loadAverage: loadavg()[0]! });
    console.error(JSON.stringify(all.at(-1)));
  }
}
const { cpu, cores, node } = describeEnvironment(false, "fakeai serve");
const result: LiarResult = { startedAt, environment: `${cores} cores, ${cpu}, Node ${node}`, runs: all };
writeFileSync(`${root}${liarFile}`, `${JSON.stringify(result, null, 1)}\n`);
const missed = all.filter(({ mode, verdict, biased }) => (mode === "low-itl" ? verdict !== "biased" : biased.length > 0)).length;
console.log(`${missed === 0 ? "none" : missed} of ${2 * runs} audits missed it`);
if (missed > 0) process.exitCode = 1;
