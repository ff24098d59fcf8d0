/** `GET` and `POST /admin/requests`: what came in, for programs that cannot ask the library. Prompts are private: never without --admin. */
import type { Meter } from "../../core/pacing/meter.ts";
import type { Route, RouteRequest } from "../../core/seams.ts";
import { sendJson } from "../shared/answer.ts";
import { parseBody } from "../shared/body.ts";
import { ApiError } from "../errors/api-error.ts";

export interface RequestAdministration {
  /** Throws ApiError for a request that may not do this. */
  check(request: RouteRequest): void;
  /** The requests, the oldest first. */
  all(): readonly object[];
  clear(): void;
}

export function adminRequestsRoutes(administration: RequestAdministration, meter: Meter): Route[] {
  const path = "/admin/requests";
  const answer = (): string => JSON.stringify({ requests: administration.all() });
  return [
    {
      method: "GET",
      path,
      handle: (request, _body, sink) => {
        administration.check(request);
        sendJson(sink, meter, 200, answer(), { "cache-control": "no-store" });
      },
    },
    {
      method: "POST",
      path,
      handle: (request, body, sink) => {
        administration.check(request);
        if (parseBody(body)["clear"] !== true) throw new ApiError(400, 'This takes {"clear": true} alone.', "clear", "invalid_value");
        administration.clear();
        sendJson(sink, meter, 200, answer(), { "cache-control": "no-store" });
      },
    },
  ];
}
