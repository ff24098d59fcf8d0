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
  expect(stdout).toMatch(/^Usage: npm run measure -- speed \[row\.\.\.\] \[flags\]$/m);
  expect(stdout).toMatch(/^ {2}--rounds <n> +rounds of each row \(default 15\)$/m);
  expect(stdout).toMatch(/^Takes an hour.* Its figures go to results\/speed\.$/m);
});

test.each([
  [["spede"], 'no measurement "spede": did you mean speed?'],
  [["x"], 'no measurement "x" (npm run measure lists them)'],
  [["speed", "--round", "3"], "unknown option --round: did you mean --rounds?"],
  [["speed", "--rounds"], "--rounds <n> needs a value (see npm run measure -- speed --help)"],
  [["speed", "--peers=3"], "--peers takes no value (see npm run measure -- speed --help)"],
  [["where"], "missing argument <row>: a paced, unpaced or unary row of `speed` (see npm run measure -- where --help)"],
  [["pacing", "http2"], 'protocol "http2" is not one of h1, h2c, ws, chat, responses: did you mean h2c?'],
  [["micro", "h1"], 'unexpected argument "h1" (see npm run measure -- micro --help)'],
])("%j: one line, exit 2", (args, line) => {
  const { status, stdout, stderr } = measure(...args);
  expect({ status, stdout, stderr }).toEqual({ status: 2, stdout: "", stderr: `measure: ${line}\n` });
});
