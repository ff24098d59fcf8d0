/** `GET` and `POST /admin/replies`: the rules for answers in force, and other rules in their place. */
import type { Meter } from "../../core/pacing/meter.ts";
import type { ResponseSink, Route, RouteRequest } from "../../core/seams.ts";
import { sendJson } from "../shared/answer.ts";
import { type JsonObject, parseBody } from "../shared/body.ts";

export interface ReplyAdministration {
  /** Throws ApiError for a request that may not do this. */
  check(request: RouteRequest): void;
  /** The rules in force, and how often each was used. */
  show(): object;
  /** Puts other rules in force, or none where one is wrong. Rejects with ApiError. */
  set(rules: JsonObject): Promise<void>;
}

export function adminRepliesRoutes(administration: ReplyAdministration, meter: Meter): Route[] {
  const path = "/admin/replies";
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
        return administration.set(parseBody(body)).then(() => answer(sink));
      },
    },
  ];
}
