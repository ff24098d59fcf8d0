/** `GET /health` (the process answers, and says on which ports), `GET /health/clock` (what its monotonic clock shows) and `GET /health/ready` (it takes new requests; 503 while it drains). */
import type { Meter } from "../../core/pacing/meter.ts";
import type { Protocol, Route } from "../../core/seams.ts";
import { sendJson } from "../shared/answer.ts";

const ok = '{"status":"ok"}';

/** Where a protocol is served. */
export interface Listened {
  readonly protocol: Protocol;
  readonly port: number;
}

/** `listening` tells clients of one port the others: protocols and ports, and no hosts. */
export function healthRoutes(
  meter: Meter,
  draining: () => boolean,
  listening: () => readonly Listened[],
  clock: { readonly name: string; nowUs(): number },
): Route[] {
  return [
    {
      method: "GET",
      path: "/health",
      handle: (_request, _body, sink) => sendJson(sink, meter, 200, JSON.stringify({ status: "ok", listening: listening() })),
    },
    {
      // Two of the four instants of an exchange of times (RFC 5905, section 8).
      method: "GET",
      path: "/health/clock",
      handle: (_request, _body, sink) => {
        const receivedUs = clock.nowUs();
        sendJson(sink, meter, 200, `{"clock":${JSON.stringify(clock.name)},"receivedUs":${receivedUs},"sentUs":${clock.nowUs()}}`);
      },
    },
    {
      method: "GET",
      path: "/health/ready",
      handle: (_request, _body, sink) => {
        if (draining()) sendJson(sink, meter, 503, '{"status":"draining"}');
        else sendJson(sink, meter, 200, ok);
      },
    },
  ];
}
