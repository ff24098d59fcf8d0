import { execFileSync } from "node:child_process";
import { getPriority } from "node:os";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const module = fileURLToPath(new URL("../../src/base/helper-threads.ts", import.meta.url));

/** Prints the priority of each thread of a process, its main thread's first. */
const program = `
  import { readdirSync } from "node:fs";
  import { getPriority } from "node:os";
  import { yieldToMainThread } from ${JSON.stringify(module)};
  const others = readdirSync("/proc/self/task").map(Number).filter((thread) => thread !== process.pid);
  yieldToMainThread();
  console.log(JSON.stringify([getPriority(), ...others.map((thread) => getPriority(thread))]));
`;

test.skipIf(process.platform !== "linux")("threads beside the main one yield to it", () => {
  const output = execFileSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", program], { encoding: "utf8" });
  const [main, ...others] = JSON.parse(output) as number[];
  expect(main).toBe(getPriority());
  expect(others.length).toBeGreaterThan(0);
  expect(new Set(others)).toEqual(new Set([Math.min(19, main! + 10)]));
});
