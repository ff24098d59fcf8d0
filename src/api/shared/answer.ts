/** Answers that are there at once. */
import type { Meter } from "../../core/pacing/meter.ts";
import type { ResponseSink } from "../../core/seams.ts";

const encoder = new TextEncoder();

/** Answers at once, with a body of its own length. */
export function sendText(
  sink: ResponseSink,
  meter: Meter,
  status: number,
  contentType: string,
  text: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (sink.closed) return;
  meter.countStatus(status);
  sink.start({ status, headers: { "content-type": contentType, ...headers }, streamed: false });
  sink.end(encoder.encode(text));
}

/** `json` is JSON text. */
export function sendJson(sink: ResponseSink, meter: Meter, status: number, json: string, headers?: Readonly<Record<string, string>>): void {
  sendText(sink, meter, status, "application/json", json, headers);
}
