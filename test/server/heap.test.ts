/** How far V8's young generation grows where fakeai serves. */
import { execFileSync } from "node:child_process";
import { expect, test } from "vitest";

/** Bytes of the young generation of a process that has kept much of what it made. */
function grownBytes(engines: readonly string[]): number {
  const code = `import { limitYoungGeneration } from ${JSON.stringify(new URL("../../src/server/heap.ts", import.meta.url).href)};
    import { getHeapSpaceStatistics } from "node:v8";
    limitYoungGeneration(${JSON.stringify(engines.map((engine) => ({ engine })))});
    const kept = [];
    for (let turn = 0; turn < 40; turn++) {
      for (let i = 0; i < 50_000; i++) kept.push({ i });
      // The observer of collections is told between turns.
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    console.log(getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space").space_size);`;
  return Number(execFileSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", code], { encoding: "utf8" }));
}

test("on uWebSockets.js alone it stays small; for node's engines, HTTP/1.1 too, it grows, but not as far as by itself", () => {
  const alone = grownBytes(["uws", "uws"]);
  for (const engines of [["node"], ["uws", "node"]]) {
    expect(grownBytes(engines)).toBeGreaterThan(2 * alone);
    expect(grownBytes(engines)).toBeLessThan(20_000_000);
  }
});

test("the main thread collects it alone: each collection is one task", () => {
  const code = `import { limitYoungGeneration } from ${JSON.stringify(new URL("../../src/server/heap.ts", import.meta.url).href)};
    import { setFlagsFromString } from "node:v8";
    limitYoungGeneration([{ engine: "node" }]);
    setFlagsFromString("--trace-gc");
    setFlagsFromString("--trace-parallel-scavenge");
    const kept = [];
    for (let i = 0; i < 500_000; i++) kept.push({ i });`;
  const traced = execFileSync(process.execPath, ["--import", "tsx", "--input-type=module", "-e", code], { encoding: "utf8" });
  const collections = traced.match(/: Scavenge /g) ?? [];
  const tasks = traced.match(/ scavenge\[/g) ?? [];
  expect(collections.length).toBeGreaterThan(1);
  expect(tasks).toHaveLength(collections.length);
});
