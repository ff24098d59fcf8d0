/** Reading a request on node's own engines. */
import type { IncomingHttpHeaders } from "node:http";
import type { Readable } from "node:stream";
import { monotonicUs } from "../clock.ts";
import type { ListenerCounts, Protocol, RequestHandler, ResponseSink, RouteRequest } from "../core/seams.ts";
import { type BodyDeadlines, deliver, type ListenerLimits, refuse } from "./bounds.ts";
import { discardBytes } from "./sink.ts";

export class NodeRequest implements RouteRequest {
  readonly engine = "node";
  readonly protocol: Protocol;
  readonly method: string;
  readonly path: string;
  readonly query: string;
  receivedUs = 0;
  readonly #headers: IncomingHttpHeaders;

  constructor(protocol: Protocol, method: string, target: string, headers: IncomingHttpHeaders) {
    this.protocol = protocol;
    this.method = method;
    const origin = originForm(target);
    const question = origin.indexOf("?");
    this.path = question < 0 ? origin : origin.slice(0, question);
    this.query = question < 0 ? "" : origin.slice(question + 1);
    this.#headers = headers;
  }

  header(name: string): string | undefined {
    const value = this.#headers[name];
    const text = Array.isArray(value) ? value[0] : value;
    // node gives the bytes as latin1.
    return text !== undefined && /[\x80-\xff]/.test(text) ? Buffer.from(text, "latin1").toString("utf8") : text;
  }
}

/** What reading a body needs to know of its listener. */
export interface BodyReading {
  readonly limits: ListenerLimits;
  readonly counts: ListenerCounts;
  readonly handler: RequestHandler;
  readonly deadlines: BodyDeadlines;
}

/** RFC 9112, 3.2.2: a server must take "http://host/path" as it takes "/path". */
function originForm(target: string): string {
  if (target.startsWith("/")) return target;
  const rest = target.replace(/^https?:\/\/[^/?#]+/i, "");
  return rest.startsWith("/") || rest.length === target.length ? rest : `/${rest}`;
}

/**
 * Reads the whole body, counting while it arrives, and calls the handler. What is over the limit is thrown away, and
 * refused at its end, so that clients that read only after writing see the answer. One that does not end is refused all
 * the same, after `last` was called: no other request can follow on what it came by. A body that is late is refused, and
 * the rest of it is not waited for: `abandoned` is called then.
 */
export function receiveBody(
  body: Readable,
  { limits, counts, handler, deadlines }: BodyReading,
  request: NodeRequest,
  sink: ResponseSink,
  last: () => void,
  abandoned: () => void,
): void {
  const { maxBodyBytes } = limits;
  let parts: Buffer[] = [];
  let bytes = 0;
  let refused = false;
  const awaited = {
    expire: () => {
      refused = true;
      parts = [];
      request.receivedUs = monotonicUs();
      refuse("body-timeout", request, sink, handler, counts);
      abandoned();
    },
  };
  deadlines.add(awaited);
  body.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= maxBodyBytes && !refused) parts.push(chunk);
    else parts = [];
    if (bytes > maxBodyBytes + discardBytes && !refused) {
      refused = true;
      request.receivedUs = monotonicUs();
      deadlines.delete(awaited);
      last();
      refuse("body-too-large", request, sink, handler, counts);
    }
  });
  body.on("close", () => deadlines.delete(awaited));
  body.on("end", () => {
    deadlines.delete(awaited);
    if (refused) return;
    request.receivedUs = monotonicUs();
    if (bytes > maxBodyBytes) refuse("body-too-large", request, sink, handler, counts);
    else deliver(request, parts.length === 1 ? parts[0]! : Buffer.concat(parts), sink, handler, limits, counts);
    parts = [];
  });
}
