/** The streams that this process writes to. */
import { printable } from "../base/printable.ts";

/** Colors where a person reads, unless NO_COLOR says otherwise (no-color.org); columns of the terminal, 100 where there is none. */
export function tableStyle(): { readonly color: boolean; readonly width: number } {
  return { color: process.stdout.isTTY && (process.env["NO_COLOR"] ?? "") === "", width: process.stdout.columns ?? 100 };
}

/** The same for what has to fit a screen: columns of the terminal, 80 where there is none. */
export function endingStyle(): { readonly color: boolean; readonly width: number } {
  return { ...tableStyle(), width: process.stdout.columns ?? 80 };
}

/** Writes to stdout. Resolves with false where it cannot be written to: closed, or a file on a full disk. */
export function print(text: string): Promise<boolean> {
  return new Promise((resolve) => {
    process.stdout.write(text, (error) => resolve(error === undefined || error === null));
  });
}

/**
 * Lets the process go on where stdout or stderr cannot be written to, and says so on stderr at once: a server's first line may
 * be its last for days. A reader may leave first (head, a tee that Ctrl-C ends too): that is no failure.
 * @returns whether stdout has failed.
 */
export function outliveOutputs(): () => boolean {
  let failed = false;
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (failed || error.code === "EPIPE" || error.code === "ERR_STREAM_DESTROYED") return;
    failed = true;
    process.stderr.write(`fakeai: stdout: ${printable(error.message)}\n`);
  });
  // Where stderr fails there is no place left to say so.
  process.stderr.on("error", () => {});
  return () => failed;
}
