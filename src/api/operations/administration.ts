/** `/admin/config` and `/admin/replies`: what is in force, and something else in its place. */
import type { Meter } from "../../core/pacing/meter.ts";
import type { ResponseSink, Route, RouteRequest } from "../../core/seams.ts";
import { sendJson } from "../shared/answer.ts";
import { type JsonObject, parseBody } from "../shared/body.ts";

/** What one address of administration shows and changes. */
export interface Administration {
  /** Throws ApiError for a request that may not do this. */
  check(request: RouteRequest): void;
  /** What is in force. */
  show(): object;
  /** Puts all of it in force or nothing. Throws ApiError, or rejects with one. A promise resolves when the other processes have changed too. */
  change(given: JsonObject): void | Promise<void>;
}

/** Bytes that a change may have. Each is checked, copied and kept in one turn of the event loop; a file takes larger sets of rules. */
const maxChangeBytes = { "/admin/config": 65_536, "/admin/replies": 524_288 } as const;

/** `GET` and `POST` of an address. Both answer with what is in force. */
export function administrationRoutes(path: keyof typeof maxChangeBytes, administration: Administration, meter: Meter): Route[] {
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
      maxBodyBytes: maxChangeBytes[path],
      handle: (request, body, sink) => {
        administration.check(request);
        const changed = administration.change(parseBody(body));
        return changed === undefined ? answer(sink) : changed.then(() => answer(sink));
      },
    },
  ];
}
