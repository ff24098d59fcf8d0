/** What a test asks of a target, and what comes back. */
import type { IncomingHttpHeaders } from "node:http";
import type { Readable } from "node:stream";

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** Of a stream on uws without the empty lines between its events, which no other engine sends. */
  readonly body: string;
  readonly httpVersion: string;
  /** Each read of the body and when it came, milliseconds of performance.now(). */
  readonly reads: readonly { readonly text: string; readonly atMs: number }[];
  readonly startedMs: number;
}

export interface Ask {
  readonly method?: string;
  readonly path?: string;
  /** Of a list each value is a line of its own. */
  readonly headers?: Readonly<Record<string, string | string[]>>;
  /** An object is sent as JSON. */
  readonly body?: string | Buffer | object;
  /** Sends the body without announcing its length. */
  readonly chunked?: boolean;
}

export function bytesOf(body: Ask["body"]): Buffer | null {
  if (body === undefined) return null;
  if (Buffer.isBuffer(body)) return body;
  return Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
}

export function collect(
  readable: Readable,
  startedMs: number,
  done: (read: Pick<Answer, "body" | "reads" | "startedMs">) => void,
  fail: (error: Error) => void,
): void {
  const reads: { text: string; atMs: number }[] = [];
  const parts: Buffer[] = [];
  readable.on("data", (chunk: Buffer) => {
    parts.push(chunk);
    reads.push({ text: chunk.toString(), atMs: performance.now() });
  });
  readable.on("end", () => done({ body: Buffer.concat(parts).toString(), reads, startedMs }));
  readable.on("error", fail);
}
