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
    const question = target.indexOf("?");
    this.path = question < 0 ? target : target.slice(0, question);
    this.query = question < 0 ? "" : target.slice(question + 1);
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

/**
 * Reads the whole body, counting while it arrives, and calls the handler. What is over the limit is thrown away, and
 * refused at its end (or cut by `cut` when it does not end), so that clients that read only after writing see the answer.
 * A body that is late is refused, and the rest of it is not waited for: `refused` is called then.
 */
export function receiveBody(
  body: Readable,
  { limits, counts, handler, deadlines }: BodyReading,
  request: NodeRequest,
  sink: ResponseSink,
  cut: () => void,
  refused: () => void,
): void {
  const { maxBodyBytes } = limits;
  let parts: Buffer[] = [];
  let bytes = 0;
  let late = false;
  const awaited = {
    expire: () => {
      late = true;
      parts = [];
      request.receivedUs = monotonicUs();
      refuse("body-timeout", request, sink, handler, counts);
      refused();
    },
  };
  deadlines.add(awaited);
  body.on("data", (chunk: Buffer) => {
    if (late) return;
    bytes += chunk.length;
    if (bytes <= maxBodyBytes) parts.push(chunk);
    else if (bytes > maxBodyBytes + discardBytes) cut();
    else parts = [];
  });
  body.on("close", () => deadlines.delete(awaited));
  body.on("end", () => {
    deadlines.delete(awaited);
    if (late) return;
    request.receivedUs = monotonicUs();
    if (bytes > maxBodyBytes) refuse("body-too-large", request, sink, handler, counts);
    else deliver(request, parts.length === 1 ? parts[0]! : Buffer.concat(parts), sink, handler, limits, counts);
    parts = [];
  });
}
