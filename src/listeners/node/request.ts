/** Reading a request on node's own engines. */
import type { IncomingHttpHeaders } from "node:http";
import type { Readable } from "node:stream";
import { monotonicUs } from "../../base/clock.ts";
import type { ListenerCounts, Protocol, Refusal, RequestHandler, ResponseSink, RouteRequest } from "../../core/seams.ts";
import { type AwaitedBody, type BodyDeadlines, deliver, type ListenerLimits, refuse } from "../bounds.ts";
import { discardBytes } from "../sink.ts";

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

/** A response whose request's body is being read. */
export interface BodyOwner extends ResponseSink {
  /** The answer that follows must be the last on what the request came by. */
  endConnection(): void;
  /** The request was answered, and the rest of its body is not waited for. */
  abandonBody(): void;
}

/** Counts what was read, where somebody keeps an eye on it. */
export interface Progress {
  bodyBytes: number;
}

/** A body on its way. */
export class BodyReader implements AwaitedBody {
  readonly #reading: BodyReading;
  readonly #request: NodeRequest;
  readonly #owner: BodyOwner;
  /** Most bodies come in one piece. */
  #first: Buffer | null = null;
  #others: Buffer[] | null = null;
  #bytes = 0;
  #refused = false;

  constructor(reading: BodyReading, request: NodeRequest, owner: BodyOwner) {
    this.#reading = reading;
    this.#request = request;
    this.#owner = owner;
  }

  add(chunk: Buffer): void {
    const { limits, deadlines } = this.#reading;
    const { maxBodyBytes } = limits;
    this.#bytes += chunk.length;
    if (this.#bytes > maxBodyBytes || this.#refused) this.#drop();
    else if (this.#first === null) this.#first = chunk;
    else (this.#others ??= []).push(chunk);
    if (this.#bytes > maxBodyBytes + discardBytes && !this.#refused) {
      this.#refused = true;
      deadlines.delete(this);
      this.#owner.endConnection();
      this.#refuse("body-too-large");
    }
  }

  end(): void {
    const { limits, counts, handler, deadlines } = this.#reading;
    deadlines.delete(this);
    if (this.#refused) return;
    if (this.#bytes > limits.maxBodyBytes) {
      this.#refuse("body-too-large");
      return;
    }
    this.#request.receivedUs = monotonicUs();
    const first = this.#first ?? noBytes;
    const body = this.#others === null ? first : Buffer.concat([first, ...this.#others]);
    this.#drop();
    deliver(this.#request, body, this.#owner, handler, limits, counts);
  }

  /** The body is not awaited any more. */
  close(): void {
    this.#reading.deadlines.delete(this);
  }

  expire(): void {
    this.#refused = true;
    this.#drop();
    this.#refuse("body-timeout");
    this.#owner.abandonBody();
  }

  #refuse(reason: Refusal): void {
    const { counts, handler } = this.#reading;
    this.#request.receivedUs = monotonicUs();
    refuse(reason, this.#request, this.#owner, handler, counts);
  }

  #drop(): void {
    this.#first = null;
    this.#others = null;
  }
}

const noBytes = Buffer.alloc(0);

/**
 * Reads the whole body, counting while it arrives, and calls the handler. What is over the limit is thrown away, and
 * refused at its end, so that clients that read only after writing see the answer. One that does not end is refused all
 * the same, after the owner's `endConnection`. A body that is late is refused, and `abandonBody` is called. Whoever calls
 * this calls the reader's `close` when the request is over.
 */
export function receiveBody(
  body: Readable,
  reading: BodyReading,
  request: NodeRequest,
  owner: BodyOwner,
  progress: Progress | null = null,
): BodyReader {
  const reader = new BodyReader(reading, request, owner);
  reading.deadlines.add(reader);
  body.on("data", (chunk: Buffer) => {
    if (progress !== null) progress.bodyBytes += chunk.length;
    reader.add(chunk);
  });
  body.on("end", () => reader.end());
  return reader;
}
