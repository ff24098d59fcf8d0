/** How V8's young generation is collected in the programs that serve. */
import { getHeapSpaceStatistics, setFlagsFromString } from "node:v8";
import { beginSmall } from "../base/young-generation.ts";
import type { Listening } from "./listening.ts";

/** Size of both halves together. It holds what node's engines have under way, and leaves room in a processor's cache. */
const mostBytes = 16_777_216;

/**
 * Keeps V8's young generation small, and has the main thread collect it alone.
 *
 * Small: by default it grows to 32 MB, as much again as 10,000 waiting streams hold, and all of it passes through the processor's
 * cache. On uWebSockets.js requests leave so little behind that it stays at its first size. node's own engines keep objects over
 * several turns, and a small young generation would take them for old: for them it grows to `mostBytes`.
 *
 * Alone: a collection of so little takes no longer without helper threads. Where other programs keep the cores busy it does not
 * wait for helpers that wait for a core, while every token waits for the collection (at worst 8 ms instead of 225).
 *
 * V8 reads both flags at each collection, so this works in a running process, unlike --max-semi-space-size. A V8 that reads them
 * once stays at its defaults. The flags concern the whole process: they are for the programs of the CLI, not for a library.
 */
export function limitYoungGeneration(listening: readonly Pick<Listening, "engine">[]): void {
  beginSmall();
  if (listening.every(({ engine }) => engine === "uws")) return;
  // V8 makes it smaller when little is allocated for a while; then it may grow again.
  let mayGrow = true;
  growBy(2);
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
