/** A request of the own engine, as routes see it. */
import type { Protocol, RouteRequest } from "../../core/seams.ts";
import type { RequestHead } from "./head.ts";

export class OwnRequest implements RouteRequest {
  readonly engine = "own";
  readonly protocol: Protocol;
  receivedUs = 0;
  readonly #head: RequestHead;

  constructor(protocol: Protocol, head: RequestHead) {
    this.protocol = protocol;
    this.#head = head;
  }

  get method(): string {
    return this.#head.method;
  }

  get path(): string {
    return this.#head.path;
  }

  get query(): string {
    return this.#head.query;
  }

  get ownHeaders(): readonly string[] {
    return this.#head.ownHeaders;
  }

  headerNames(): readonly string[] {
    return [...this.#head.fields.keys()];
  }

  header(name: string): string | undefined {
    const text = name === ":authority" ? this.#head.authority : this.#head.fields.get(name);
    // Octets, one for each character.
    return text !== undefined && /[\x80-\xff]/.test(text) ? Buffer.from(text, "latin1").toString("utf8") : text;
  }
}
