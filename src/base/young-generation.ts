/** V8's young generation, before anything fills it. */
import { setFlagsFromString } from "node:v8";

/**
 * Keeps the young generation at its first size, and has the main thread collect it alone. For programs, at their very start: it
 * does not shrink again, and code that V8 kept fits only the flags that it was compiled with.
 */
export function beginSmall(): void {
  setFlagsFromString("--no-parallel-scavenge");
  setFlagsFromString("--semi-space-growth-factor=1");
}
