/** A response.create message of a WebSocket as the request that it stands for. */
import { ownHeaderPrefix, type RouteRequest } from "../../core/seams.ts";
import { isObject, type JsonObject } from "../shared/body.ts";
import type { ResponseMemory } from "./response-store.ts";
import type { Steerable } from "./steering.ts";

/** A header that each message may have of its own, beside those of this server. */
const clientRequestId = "x-client-request-id";

/** Ends the JSON of a body: a message is always streamed and never in the background, whatever it says of that. */
const streamed = new TextEncoder().encode(',"stream":true,"background":false}');
const closingBrace = 125;

/** The body of the request that a message stands for; its own members that HTTP does not have change nothing. `text`: a JSON object with members. */
export function bodyOfMessage(text: Uint8Array): Uint8Array {
  const end = text.lastIndexOf(closingBrace);
  const body = new Uint8Array(end + streamed.length);
  body.set(text.subarray(0, end));
  body.set(streamed, end);
  return body;
}

/**
 * Its headers are those of the handshake. A message can have none, so members of its `metadata` that are called like headers of this
 * server, or x-client-request-id, count for it alone.
 */
export abstract class MessageRequest implements RouteRequest {
  readonly method = "POST";
  readonly receivedUs: number;
  readonly #handshake: RouteRequest;
  readonly #own: ReadonlyMap<string, string> | null;

  constructor(handshake: RouteRequest, metadata: unknown, receivedUs: number) {
    this.#handshake = handshake;
    this.receivedUs = receivedUs;
    this.#own = headersIn(metadata);
  }

  get protocol(): RouteRequest["protocol"] {
    return this.#handshake.protocol;
  }

  get engine(): RouteRequest["engine"] {
    return this.#handshake.engine;
  }

  get path(): string {
    return this.#handshake.path;
  }

  get query(): string {
    return this.#handshake.query;
  }

  get ownHeaders(): readonly string[] {
    const { ownHeaders } = this.#handshake;
    if (this.#own === null) return ownHeaders;
    return [...new Set([...ownHeaders, ...this.#own.keys()])].filter((name) => name !== clientRequestId);
  }

  headerNames(): readonly string[] {
    const names = this.#handshake.headerNames();
    return this.#own === null ? names : [...new Set([...names, ...this.#own.keys()])];
  }

  header(name: string): string | undefined {
    return this.#own?.get(name) ?? this.#handshake.header(name);
  }
}

/** One to POST /v1/responses. */
export class ResponsesMessage extends MessageRequest {
  /** The conversations of its connection. */
  readonly memory: ResponseMemory;
  /** false: the context is read, and nothing is said (`generate`). */
  readonly generates: boolean;
  /** What can be done to its response once that is planned; null: it is not yet, or has no events. */
  steerable: Steerable | null = null;

  constructor(handshake: RouteRequest, body: JsonObject, receivedUs: number, memory: ResponseMemory) {
    super(handshake, body["metadata"], receivedUs);
    this.memory = memory;
    this.generates = body["generate"] !== false;
  }
}

function headersIn(metadata: unknown): ReadonlyMap<string, string> | null {
  if (!isObject(metadata)) return null;
  let own: Map<string, string> | null = null;
  for (const [name, value] of Object.entries(metadata)) {
    const lower = name.toLowerCase();
    if (typeof value === "string" && (lower.startsWith(ownHeaderPrefix) || lower === clientRequestId))
      (own ??= new Map()).set(lower, value);
  }
  return own;
}

/** The message to /v1/responses that a request is, under whatever path it was asked; null: it came by HTTP. */
export function messageOf(request: RouteRequest): ResponsesMessage | null {
  const asked = request.asked ?? request;
  return asked instanceof ResponsesMessage ? asked : null;
}
