/** What the sinks of all engines share. */
import type { ResponseHead, ResponseSink, SinkObserver } from "../core/seams.ts";

/** The life of a sink: open until ended, reset or aborted, and told about once. */
export abstract class BaseSink implements ResponseSink {
  closed = false;
  observer: SinkObserver | null = null;
  extraHeaders: Readonly<Record<string, string>> | null = null;
  protected head: ResponseHead | null = null;

  /** Bytes accepted by `write` that the engine has not handed to the socket yet, as far as it tells. */
  abstract readonly bufferedBytes: number;
  /** What waited for the reader when this was last looked at. */
  protected waitingBytes = 0;
  abstract write(frame: Uint8Array): boolean;
  abstract end(frame?: Uint8Array): void;
  abstract reset(): void;

  isBeingRead(): boolean {
    const before = this.waitingBytes;
    this.waitingBytes = this.bufferedBytes;
    return this.waitingBytes < before;
  }

  start(head: ResponseHead): void {
    this.head = this.extraHeaders === null ? head : { ...head, headers: { ...head.headers, ...this.extraHeaders } };
  }

  /** The response can no longer be delivered: its client is gone, or was cut. */
  protected aborted(): void {
    if (this.closed) return;
    this.closed = true;
    this.observer?.onAbort();
    this.observer = null;
  }
}

/** How much of a refused body is read and thrown away, so that the connection stays usable, before it is cut. */
export const discardBytes = 67_108_864;

/** How long a closing listener waits for last bytes, resets and GOAWAY to leave by themselves. */
export const lingerMs = 100;

/** Resolves when `done()` holds, looked at every few milliseconds, or after `graceMs`. */
export async function waitUntil(done: () => boolean, graceMs: number): Promise<void> {
  const deadlineMs = performance.now() + graceMs;
  while (!done() && performance.now() < deadlineMs) await new Promise((resolve) => setTimeout(resolve, 10));
}
