/** Requests on uWebSockets.js. */
import type { HttpRequest } from "uWebSockets.js";
import { ownHeaderPrefix, type RouteRequest } from "../../core/seams.ts";
import { upgradeOf } from "../upgrade.ts";

const ownFirst = ownHeaderPrefix.charCodeAt(0);
/** Most requests have no header of ours, and are asked for many. */
const noHeaders: readonly string[] = [];

/** The request whose headers `copyHeader` fills in: module-wide, so that a request needs no closure. */
let copied: UwsRequest;
const copyHeader = (name: string, value: string): void => copied.add(name, value);

/** What a request came in: the protocol of its listener, or of the handshake that it is. */
export type UwsProtocol = "h1" | "h1s" | "ws" | "wss";

/** Copies a request: uWebSockets.js takes its own back when the handler returns. */
export function copyRequest(protocol: UwsProtocol, method: string, request: HttpRequest): UwsRequest {
  const copy = new UwsRequest(protocol, method, request);
  copied = copy;
  request.forEach(copyHeader);
  return copy;
}

export class UwsRequest implements RouteRequest {
  readonly engine = "uws";
  readonly protocol: UwsProtocol;
  readonly method: string;
  readonly path: string;
  readonly query: string;
  receivedUs = 0;
  /** Names and values in turns: a request has few headers, and a list is cheaper to fill than an object. */
  readonly #headers: string[] = [];
  #own: string[] | null = null;
  /** Bytes of names and values. */
  headBytes = 0;
  #hosts = 0;
  #lengths = 0;
  #oddCoding = false;
  #closes = false;

  constructor(protocol: UwsProtocol, method: string, request: HttpRequest) {
    this.protocol = protocol;
    this.method = method;
    this.path = request.getUrl();
    this.query = request.getQuery() ?? "";
  }

  add(name: string, value: string): void {
    this.#headers.push(name, value);
    this.headBytes += name.length + value.length;
    switch (name.length) {
      case 4:
        if (name === "host") this.#hosts++;
        break;
      case 10:
        // What the engine takes for "close": any value of this length.
        if (name === "connection") this.#closes = value.length === 5;
        break;
      case 14:
        if (name === "content-length") this.#lengths++;
        break;
      case 17:
        if (name === "transfer-encoding" && value.toLowerCase() !== "chunked") this.#oddCoding = true;
        break;
      default:
    }
    // Most names begin with another letter: a look at one costs less than the call.
    if (name.charCodeAt(0) === ownFirst && name.startsWith(ownHeaderPrefix)) (this.#own ??= []).push(name);
  }

  /**
   * true: two servers could read two different requests. These headers decide where a request goes or ends, and the engine
   * takes the first of several (RFC 9112, sections 3.2 and 6.3).
   */
  get isAmbiguous(): boolean {
    return this.#hosts > 1 || this.#lengths > 1 || this.#oddCoding;
  }

  /** true: the engine closes the connection with the answer. */
  get closes(): boolean {
    return this.#closes;
  }

  get upgrade(): string | undefined {
    return upgradeOf(this.header("upgrade"), this.header("connection"));
  }

  get ownHeaders(): readonly string[] {
    return this.#own ?? noHeaders;
  }

  headerNames(): readonly string[] {
    return this.#headers.filter((_, index) => index % 2 === 0);
  }

  /** The first of that name. */
  header(name: string): string | undefined {
    if (this.#own === null && name.startsWith(ownHeaderPrefix)) return undefined;
    const headers = this.#headers;
    for (let i = 0; i < headers.length; i += 2) if (headers[i] === name) return headers[i + 1];
    return undefined;
  }
}
