/** Ending a run early, by a signal. */

/** 128 and the signal's number, as shells report it. */
const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Ctrl-C reaches the whole process group, and npm passes it on once more: signals within this many milliseconds are one. */
const oneSignalMs = 1000;

export interface Interruption {
  /** Aborted with the first signal, whose name is the reason. */
  readonly signal: AbortSignal;
  /** What to exit with; null before the first signal. */
  readonly exitCode: number | null;
  /** Stops listening: signals have their default effect again. */
  end(): void;
}

/**
 * Listens for SIGINT, SIGTERM and SIGHUP. The caller acts on the first. A later one, while the result is being written, ends
 * the process at once.
 */
export function listenForInterruption(onFirst: () => void, onSecond: () => void): Interruption {
  const controller = new AbortController();
  let exitCode: number | null = null;
  let firstMs = 0;
  const listeners = Object.entries(exitCodes).map(([name, code]) => {
    const listener = (): void => {
      if (exitCode === null) {
        exitCode = code;
        firstMs = performance.now();
        onFirst();
        controller.abort(name);
      } else if (performance.now() - firstMs > oneSignalMs) {
        onSecond();
        process.exit(exitCode);
      }
    };
    process.on(name, listener);
    return [name, listener] as const;
  });
  return {
    signal: controller.signal,
    get exitCode() {
      return exitCode;
    },
    end: () => {
      for (const [name, listener] of listeners) process.off(name, listener);
    },
  };
}
