/** Processes that a bench starts: none of them outlives it, however it ends. */
import type { ChildProcess } from "node:child_process";

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Ends the child with this process, at the latest. */
export function boundToUs<T extends ChildProcess>(child: T): T {
  running.add(child);
  const forget = (): void => {
    running.delete(child);
  };
  child.on("error", forget);
  child.on("exit", forget);
  return child;
}
