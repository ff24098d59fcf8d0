/** `GET /health` (the process answers) and `GET /health/ready` (it takes new requests; 503 while it drains). */
import type { Meter } from "../../core/pacing/meter.ts";
import type { Route } from "../../core/seams.ts";
import { sendJson } from "../shared/answer.ts";

const ok = '{"status":"ok"}';

export function healthRoutes(meter: Meter, draining: () => boolean): Route[] {
  return [
    { method: "GET", path: "/health", handle: (_request, _body, sink) => sendJson(sink, meter, 200, ok) },
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
