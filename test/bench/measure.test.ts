/** `npm run measure`: what it lists, its help, and wrong usage. None of these starts a measurement. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { measurements } from "../../bench/measurements.ts";
import { root } from "../support/process.ts";

function measure(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, ["--import", "tsx", "bench/measure.ts", ...args], { cwd: root, encoding: "utf8" });
}

test("alone it lists every measurement, each in one line", () => {
  const { status, stdout } = measure();
  expect(status).toBe(0);
  const lines = stdout.split("\n");
  for (const [name, { what }] of Object.entries(measurements)) {
    expect(lines.filter((line) => line.startsWith(`  ${name} `) && line.endsWith(what))).toHaveLength(1);
  }
});

test("each is a file that is there", () => {
  expect(Object.values(measurements).filter(({ module }) => !existsSync(join(root, "bench", module)))).toEqual([]);
});

test("--help of one says what it takes, how long, and where its figures go", () => {
  const { status, stdout } = measure("speed", "--help");
  expect(status).toBe(0);
  expect(stdout).toMatch(/^Usage: npm run measure -- speed \[options\] \[row\.\.\.\]$/m);
  expect(stdout).toContain("--rounds <n>");
  expect(stdout).toMatch(/^Takes: .+\nWrites: results\/speed$/m);
});

test.each([
  [["spede"], "measure: unknown measurement 'spede' (Did you mean speed?)\n"],
  [["x"], "measure: unknown measurement 'x' (see npm run measure)\n"],
  [["speed", "--round", "3"], "measure: unknown option '--round' (Did you mean --rounds?)\n"],
  [["where"], "measure: missing required argument 'row' (see npm run measure -- where --help)\n"],
  [
    ["pacing", "h3"],
    "measure: argument value 'h3' is invalid for argument 'protocol'. Allowed choices are h1, h2c. (see npm run measure -- pacing --help)\n",
  ],
])("%j: one line, exit 2", (args, line) => {
  const { status, stdout, stderr } = measure(...args);
  expect({ status, stdout, stderr }).toEqual({ status: 2, stdout: "", stderr: line });
});
