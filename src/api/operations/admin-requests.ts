/** `GET` and `POST /admin/requests`: what came in, for programs that cannot ask the library. Prompts are private: never without --admin. */
import type { Meter } from "../../core/pacing/meter.ts";
import type { Route, RouteRequest } from "../../core/seams.ts";
import { sendJson } from "../shared/answer.ts";
import { parseBody } from "../shared/body.ts";
import { ApiError } from "../errors/api-error.ts";

export interface RequestAdministration {
  /** Throws ApiError for a request that may not do this. */
  check(request: RouteRequest): void;
  /** Requests behind the one of this number, the oldest first: as many as fit into an answer, one at least. */
  page(after: number): { readonly requests: readonly object[]; readonly hasMore: boolean };
  clear(): void;
}

export function adminRequestsRoutes(administration: RequestAdministration, meter: Meter): Route[] {
  const path = "/admin/requests";
  const answer = (after: number): string => {
    const { requests, hasMore } = administration.page(after);
    return JSON.stringify({ requests, has_more: hasMore });
  };
  return [
    {
      method: "GET",
      path,
      handle: (request, _body, sink) => {
        administration.check(request);
        sendJson(sink, meter, 200, answer(afterOf(request)), { "cache-control": "no-store" });
      },
    },
    {
      method: "POST",
      path,
      handle: (request, body, sink) => {
        administration.check(request);
        if (parseBody(body)["clear"] !== true) throw new ApiError(400, 'This takes {"clear": true} alone.', "clear", "invalid_value");
        administration.clear();
        sendJson(sink, meter, 200, answer(0), { "cache-control": "no-store" });
      },
    },
  ];
}

/** The number in `?after=`; 0: none is there. Throws ApiError. */
function afterOf({ query }: RouteRequest): number {
  const after = new URLSearchParams(query).get("after");
  if (after === null) return 0;
  if (!/^\d{1,15}$/.test(after)) throw new ApiError(400, "after: expected the number of a request.", "after", "invalid_value");
  return Number(after);
}
