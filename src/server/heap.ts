/** How V8's young generation is collected in the programs that serve. */
import { PerformanceObserver } from "node:perf_hooks";
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import type { Listening } from "./listening.ts";

/** Both halves together. What node's engines have under way fits, and it leaves room in a processor's cache. */
const mostBytes = 16_777_216;

/**
 * Keeps V8's young generation small, and has the main thread collect it alone.
 *
 * Small: left alone it grows to 32 MB, which is as much again as 10,000 waiting streams hold, and all of it passes through the
 * processor's cache. On uWebSockets.js requests leave so little behind that it stays as it is; node's own engines keep objects
 * over several turns, which a small one would take for old: for them it grows that far.
 *
 * Alone: of so little, a collection takes no longer, and where other programs keep the cores busy it does not wait for helpers
 * that wait for one, while every token waits for it (8 ms in place of 225 at worst).
 *
 * Both flags are read each time, so this works in a running process, unlike --max-semi-space-size; a V8 that reads them otherwise
 * goes on as by default. They concern the whole process: for our own programs, not for a library.
 */
export function limitYoungGeneration(listening: readonly Pick<Listening, "engine">[]): void {
  setFlagsFromString("--no-parallel-scavenge");
  if (listening.every(({ engine }) => engine === "uws")) {
    growBy(1);
    return;
  }
  // V8 also makes it smaller, when little is allocated for a while: then it has to grow again.
  let mayGrow = true;
  const observer = new PerformanceObserver(() => {
    const young = getHeapSpaceStatistics().find((space) => space.space_name === "new_space");
    const isSmall = young !== undefined && young.space_size < mostBytes;
    if (isSmall === mayGrow) return;
    mayGrow = isSmall;
    growBy(mayGrow ? 2 : 1);
  });
  observer.observe({ entryTypes: ["gc"] });
}

function growBy(factor: number): void {
  setFlagsFromString(`--semi-space-growth-factor=${factor}`);
}
