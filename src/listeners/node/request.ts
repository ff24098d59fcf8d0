/** Requests on node's engines and on QUIC, and how their bodies are read. */
import type { IncomingHttpHeaders } from "node:http";
import type { Readable } from "node:stream";
import { servedProtocols } from "../../core/protocols.ts";
import { monotonicUs } from "../../base/clock.ts";
import {
  type Engine,
  type ListenerCounts,
  ownHeaderPrefix,
  type Protocol,
  type Refusal,
  type RequestHandler,
  type ResponseSink,
  type RouteRequest,
} from "../../core/seams.ts";
import { type AwaitedBody, type BodyDeadlines, deliver, type ListenerLimits, refuse } from "../bounds.ts";
import { discardBytes } from "../sink.ts";
import { upgradeOf } from "../upgrade.ts";

/** Most requests have no header of ours. */
const noHeaders: readonly string[] = [];

export class NodeRequest implements RouteRequest {
  readonly engine: Engine;
  readonly protocol: Protocol;
  readonly method: string;
  readonly path: string;
  readonly query: string;
  receivedUs = 0;
  readonly #headers: IncomingHttpHeaders;
  readonly #lines: readonly string[];
  readonly #canUpgrade: boolean;
  /** null: it was not asked for yet. */
  #own: readonly string[] | null = null;

  /**
   * `lines`: names and values in turns as they were sent, at least those of our own headers; `headers` has what they come to.
   * `canUpgrade`: it is of HTTP/1.1. Those of 1.0 and 2 have no Upgrade (RFC 9110, section 7.8; RFC 9113, section 8.6).
   */
  constructor(
    protocol: Protocol,
    method: string,
    target: string,
    headers: IncomingHttpHeaders,
    lines: readonly string[] = noHeaders,
    canUpgrade = false,
  ) {
    this.engine = servedProtocols[protocol].isQuic ? "quiche" : "node";
    this.protocol = protocol;
    this.method = method;
    this.#lines = lines;
    this.#canUpgrade = canUpgrade;
    const origin = originForm(target);
    const question = origin.indexOf("?");
    this.path = question < 0 ? origin : origin.slice(0, question);
    this.query = question < 0 ? "" : origin.slice(question + 1);
    this.#headers = headers;
  }

  get upgrade(): string | undefined {
    return this.#canUpgrade ? upgradeOf(this.#headers.upgrade, this.#headers.connection) : undefined;
  }

  get ownHeaders(): readonly string[] {
    return (this.#own ??= this.#findOwn());
  }

  #findOwn(): readonly string[] {
    let own: string[] | null = null;
    for (const name in this.#headers) if (name.startsWith(ownHeaderPrefix)) (own ??= []).push(name);
    if (own === null) return noHeaders;
    const lines = this.#lines;
    const sent = lines.flatMap((text, at) => (at % 2 === 0 && text.toLowerCase().startsWith(ownHeaderPrefix) ? text.toLowerCase() : []));
    return sent.length > own.length ? sent : own;
  }

  headerNames(): readonly string[] {
    return Object.keys(this.#headers).filter((name) => !name.startsWith(":"));
  }

  header(name: string): string | undefined {
    const value = this.#headers[name];
    const text = Array.isArray(value) ? value[0] : value;
    // node, and our QPACK, decode the bytes of a header as latin1.
    return text !== undefined && /[\x80-\xff]/.test(text) ? Buffer.from(text, "latin1").toString("utf8") : text;
  }
}

/** A request whose body is still to come. */
export interface Receiving extends RouteRequest {
  receivedUs: number;
}

/** What reading a body needs of its listener. */
export interface BodyReading {
  readonly limits: ListenerLimits;
  readonly counts: ListenerCounts;
  readonly handler: RequestHandler;
  readonly deadlines: BodyDeadlines;
}

/** The path of a request target: a server must take "http://host/path" as it takes "/path" (RFC 9112, section 3.2.2). */
function originForm(target: string): string {
  if (target.startsWith("/")) return target;
  const rest = target.replace(/^https?:\/\/[^/?#]+/i, "");
  return rest.startsWith("/") || rest.length === target.length ? rest : `/${rest}`;
}

/** A response whose request's body is being read. */
export interface BodyOwner extends ResponseSink {
  /** Before an answer while the client still sends: the answer ends the connection, on HTTP/2 the stream. */
  endConnection(): void;
  /** After an answer: the rest of the body is not read. */
  abandonBody(): void;
}

/** Where the bytes of bodies are counted. */
export interface Progress {
  bodyBytes: number;
}

/** A body that is being read. */
export class BodyReader implements AwaitedBody {
  readonly #reading: BodyReading;
  readonly #request: Receiving;
  readonly #owner: BodyOwner;
  /** The pieces so far. Most bodies come in one, which needs no list. */
  #first: Buffer | null = null;
  #others: Buffer[] | null = null;
  #bytes = 0;
  #refused = false;

  constructor(reading: BodyReading, request: Receiving, owner: BodyOwner) {
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

  /** Stops waiting for the body. */
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
 * Reads a body to its end and calls the handler. A body over the limit is dropped and refused at its end, so that clients that
 * read only after writing see the answer; past `discardBytes` more it is refused at once, after the owner's `endConnection`. A
 * late body is refused, and the owner's `abandonBody` is called. The caller calls the reader's `close` when the request is over.
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
