/** `GET` and `POST /admin/config`: what is in force, and changing it. */
import type { Meter } from "../../core/pacing/meter.ts";
import type { ResponseSink, Route, RouteRequest } from "../../core/seams.ts";
import { sendJson } from "../shared/answer.ts";
import { type JsonObject, parseBody } from "../shared/body.ts";

export interface Administration {
  /** Throws ApiError for a request that may not do this. */
  check(request: RouteRequest): void;
  /** The knobs in force. */
  show(): object;
  /** Changes all of the knobs or none. Throws ApiError. A promise resolves when the other processes have changed too. */
  change(changes: JsonObject): void | Promise<void>;
}

export function adminConfigRoutes(administration: Administration, meter: Meter): Route[] {
  const path = "/admin/config";
  const answer = (sink: ResponseSink): void =>
    sendJson(sink, meter, 200, JSON.stringify(administration.show()), { "cache-control": "no-store" });
  return [
    {
      method: "GET",
      path,
      handle: (request, _body, sink) => {
        administration.check(request);
        answer(sink);
      },
    },
    {
      method: "POST",
      path,
      handle: (request, body, sink) => {
        administration.check(request);
        const changed = administration.change(parseBody(body));
        return changed === undefined ? answer(sink) : changed.then(() => answer(sink));
      },
    },
  ];
}
