/** Child processes of a bench. They end with it, also where it is killed. */
import { type ChildProcess, spawn } from "node:child_process";

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Ends the child when this process ends, at the latest. */
export function boundToUs<T extends ChildProcess>(child: T): T {
  running.add(child);
  const forget = (): void => {
    running.delete(child);
  };
  child.on("error", forget);
  child.on("exit", forget);
  return child;
}

/** Reads until this process is gone; then ends the group, and removes its directory. */
const guard = 'read -r _; kill -s KILL -- "-$1" 2>/dev/null; [ -z "$2" ] || rm -rf -- "$2"';

/**
 * Ends a process group when this process is gone, also where it was killed: for programs that do not end by themselves then.
 * `directory` is removed too. Call the returned function once the group has ended.
 */
export function guardGroup(group: number, directory = ""): () => void {
  const guardian = spawn("/bin/sh", ["-c", guard, "guard", String(group), directory], {
    stdio: ["pipe", "ignore", "ignore"],
    detached: true,
  });
  // Without a guardian, children outlive this process only where it is killed.
  guardian.on("error", () => {});
  guardian.stdin.on("error", () => {});
  guardian.unref();
  return () => guardian.kill("SIGKILL");
}
