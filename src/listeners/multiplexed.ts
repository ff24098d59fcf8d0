/** What all engines of HTTP/2 and HTTP/3 hold a connection of many requests to. */

/**
 * Requests that are begun in one turn of the event loop. One read can bring hundreds: the rest waits for the next turns. So a
 * flood leaves room for other clients, and requests that its client has reset by then cost nothing.
 */
export const requestsPerTurn = 64;
/** A head is decoded as far as this many times `maxHeadBytes`: up to there it can be answered. */
export const decodedHeads = 4;
/** Fields of one head, pseudo-headers included. More is an attack on HPACK: each may be one byte on the wire. */
export const mostFields = 64;
/** A stream's first window (RFC 9113, section 6.9.2): a longer body needs more room than that. */
const firstWindowBytes = 65_535;

/** How often a watchdog looks at each connection and sends it a PING, milliseconds; more often under short time-outs. */
const watchIntervalMs = 2000;

/** Whether a body of such a `content-length`, or of none, is or may be longer than what its client may send unasked. */
export function isLongBody(contentLength: number | null): boolean {
  return contentLength === null || contentLength > firstWindowBytes;
}

/** Streams that are refused for their number, above which their connection ends: an honest client has not seen our SETTINGS yet. */
export function mostRefusals(maxConcurrentStreams: number): number {
  return Math.max(1000, maxConcurrentStreams * 10);
}

/** Calls `look` as often as the shortest of these time-outs asks for, milliseconds. It keeps no process alive. */
export function watchWithin(timeoutsMs: readonly number[], look: () => void): NodeJS.Timeout {
  return setInterval(look, Math.min(watchIntervalMs, Math.max(100, Math.floor(Math.min(...timeoutsMs) / 4)))).unref();
}
