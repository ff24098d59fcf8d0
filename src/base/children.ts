/** Processes that a bench starts: none of them outlives it, however it ends. */
import { type ChildProcess, spawn } from "node:child_process";

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

/** Reads until we are gone, however that came; then ends the group, and what it has left in a directory. */
const guard = 'read -r _; kill -s KILL -- "-$1" 2>/dev/null; [ -z "$2" ] || rm -rf -- "$2"';

/**
 * Ends a process group when this process is gone, even where it was killed and can do nothing itself: for programs that do
 * not watch over us. `directory` is removed then. Call what is returned once the group has ended.
 */
export function guardGroup(group: number, directory = ""): () => void {
  const guardian = spawn("/bin/sh", ["-c", guard, "guard", String(group), directory], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  // Without a guardian everything works, but for being killed.
  guardian.on("error", () => {});
  guardian.stdin.on("error", () => {});
  guardian.unref();
  return () => guardian.kill("SIGKILL");
}
