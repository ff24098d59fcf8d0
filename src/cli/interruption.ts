/** A run that people, or whoever started it, end early. */

/** 128 + the signal's number, as shells say it. */
const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** A Ctrl-C reaches the whole group of processes, and npm passes it on once more: signals this close together are one. */
const oneSignalMs = 1000;

export interface Interruption {
  /** Aborted with the first signal. */
  readonly signal: AbortSignal;
  /** What to exit with; null while nobody has interrupted. */
  readonly exitCode: number | null;
  /** Signals do again what they do by themselves. */
  end(): void;
}

/**
 * Listens for SIGINT, SIGTERM and SIGHUP. The first one is for the caller to act on; one that comes later, when what was
 * measured is being written, ends the process there and then.
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
        controller.abort();
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
