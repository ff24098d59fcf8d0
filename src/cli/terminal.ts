/** The streams that this process writes to. */

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
 * Lets the process go on where stdout or stderr cannot be written to. A reader may leave first (head, a tee that Ctrl-C ends
 * too): that is no failure.
 * @returns what says why stdout failed: null where it did not, or where its reader left.
 */
export function outliveOutputs(): () => string | null {
  let fault: string | null = null;
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE" && error.code !== "ERR_STREAM_DESTROYED") fault ??= error.message;
  });
  // Where stderr fails there is no place left to say so.
  process.stderr.on("error", () => {});
  return () => fault;
}
