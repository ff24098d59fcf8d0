/** One request whose answer is kept as it came: its head, its events with the reads that they came in, and how it ended. */
import { performance } from "node:perf_hooks";
import { monotonicUs } from "../../base/clock.ts";
import type { Connection, ResponseHead } from "../../load/client/connection.ts";
import { openConnection } from "../../load/client/open.ts";
import type { Endpoint } from "../../load/job.ts";
import { EventStreamReader } from "../../wire/sse.ts";

/** An event of a streamed answer. */
interface CapturedEvent {
  readonly data: string;
  /** When the read of the socket ran that ended it, microseconds after the request. */
  readonly atUs: number;
}

export interface Capture {
  /** null: no head came. */
  readonly head: ResponseHead | null;
  readonly events: readonly CapturedEvent[];
  /** The body of an answer that is no stream, its first 4 KB. */
  readonly text: string;
  /** "end": in order. Else how it failed, or "left": it was given up on purpose. */
  readonly ended: string;
  readonly endUs: number;
  /** "http/1.1", "h2" or "h2c"; null before an answer. */
  readonly negotiated: string | null;
  /** What an HTTP/2 peer allows; null on HTTP/1.1. */
  readonly maxConcurrentStreams: number | null;
}

export interface CaptureOptions {
  readonly body: string;
  readonly timeoutMs: number;
  /** Leaves after so many events. */
  readonly leaveAfter?: number;
}

const mostText = 4096;

/** Opens a connection, asks once and closes it. Never rejects. */
export async function capture(endpoint: Endpoint, options: CaptureOptions): Promise<Capture> {
  try {
    const connection = await openConnection({ endpoint, timeoutMs: options.timeoutMs });
    try {
      return await captureOn(connection, endpoint, options);
    } finally {
      connection.close();
    }
  } catch (error) {
    return { head: null, events: [], text: "", ended: (error as Error).message, endUs: 0, negotiated: null, maxConcurrentStreams: null };
  }
}

/** Asks on an open connection. */
export function captureOn(connection: Connection, endpoint: Endpoint, { body, timeoutMs, leaveAfter }: CaptureOptions): Promise<Capture> {
  const events: CapturedEvent[] = [];
  let head: ResponseHead | null = null;
  let text = "";
  let readAtUs = 0;
  const startUs = monotonicUs();
  return new Promise((resolve) => {
    let isOver = false;
    const settle = (ended: string): void => {
      if (isOver) return;
      isOver = true;
      clearTimeout(timer);
      const maxConcurrentStreams = connection.http2?.maxConcurrentStreams ?? null;
      const { negotiated } = connection;
      resolve({ head, events, text, ended, endUs: monotonicUs() - startUs, negotiated, maxConcurrentStreams });
    };
    const timer = setTimeout(() => {
      giveUp();
      settle(`no end within ${timeoutMs / 1000} s`);
    }, timeoutMs);
    const reader = new EventStreamReader((bytes, start, end) => {
      events.push({ data: bytes.toString("utf8", start, end), atUs: readAtUs - startUs });
    });
    const giveUp = connection.send(
      { method: endpoint.method, path: endpoint.path, body },
      {
        onResponse: (given) => (head = given),
        onData(bytes, start, end, readUs) {
          readAtUs = readUs;
          if (head?.contentType.includes("event-stream")) reader.push(bytes, start, end);
          else if (text.length < mostText) text = `${text}${bytes.toString("utf8", start, end)}`.slice(0, mostText);
          if (leaveAfter === undefined || events.length < leaveAfter) return;
          giveUp();
          settle("left");
        },
        onEnd: () => settle("end"),
        onFail: (reason) => settle(reason),
      },
    );
  });
}

/** Waits until the value is there; null where it is not within the time. */
export async function within<T>(
  timeoutMs: number,
  look: () => Promise<T | null>,
): Promise<{ readonly value: T; readonly ms: number } | null> {
  const startMs = performance.now();
  for (;;) {
    const value = await look();
    const ms = performance.now() - startMs;
    if (value !== null) return { value, ms };
    if (ms > timeoutMs) return null;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
