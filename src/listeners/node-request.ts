/** Reading a request on node's own engines. */
import type { IncomingHttpHeaders } from "node:http";
import type { Readable } from "node:stream";
import { monotonicUs } from "../clock.ts";
import type { Protocol, RequestHandler, ResponseSink, RouteRequest } from "../core/seams.ts";
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

/** RFC 9112, 3.2.2: a server must take "http://host/path" as it takes "/path". */
function originForm(target: string): string {
  if (target.startsWith("/")) return target;
  const rest = target.replace(/^https?:\/\/[^/?#]+/i, "");
  return rest.startsWith("/") || rest.length === target.length ? rest : `/${rest}`;
}

/**
 * Reads the whole body, counting while it arrives, and calls the handler. What is over the limit is thrown away, and
 * refused at its end, so that clients that read only after writing see the answer. One that does not end is refused all
 * the same, after `last` was called: no other request can follow on what it came by.
 */
export function receiveBody(
  body: Readable,
  maxBodyBytes: number,
  request: NodeRequest,
  sink: ResponseSink,
  handler: RequestHandler,
  last: () => void,
): void {
  let parts: Buffer[] = [];
  let bytes = 0;
  let refused = false;
  body.on("data", (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= maxBodyBytes) parts.push(chunk);
    else parts = [];
    if (bytes > maxBodyBytes + discardBytes && !refused) {
      refused = true;
      request.receivedUs = monotonicUs();
      last();
      handler.refuse("body-too-large", request, sink);
    }
  });
  body.on("end", () => {
    if (refused) return;
    request.receivedUs = monotonicUs();
    if (bytes > maxBodyBytes) handler.refuse("body-too-large", request, sink);
    else handler.handle(request, parts.length === 1 ? parts[0]! : Buffer.concat(parts), sink);
    parts = [];
  });
}
