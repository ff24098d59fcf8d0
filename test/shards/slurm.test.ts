/** A Slurm of four nodes: the array job's merged result is that of one process. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { root } from "../support/process.ts";

const folder = mkdtempSync(join(tmpdir(), "fakeai-slurm-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const isThere = spawnSync("slurmctld", ["-V"]).status === 0;
// In CI the script fails where Slurm or the namespaces are not to be had, and says why.
test.skipIf(!isThere && process.env["CI"] !== "true")(
  "four nodes in network namespaces: same requests, tokens and bytes as one process, rates and percentiles within noise",
  { timeout: 90_000 },
  () => {
    const env = { ...process.env, REQUESTS: "64", ROUNDS: "3" };
    const { status, stdout, stderr } = spawnSync(join(root, "deploy/try/slurm.sh"), [folder, join(folder, "out")], {
      env,
      encoding: "utf8",
    });
    expect(`${status} ${stderr}\n${stdout}`).toMatch(/^0 /);
    expect(stdout).toContain("same requests, tokens and bytes in each of 3 rounds\n");
    expect(stdout).toContain("rates and percentiles within noise\n");
  },
);
