/** Header blocks of requests, encoded the way nghttp2 does: what changes from request to request stays out of the table. */
import { HpackEncoder } from "../../wire/h2/hpack.ts";
import type { Endpoint } from "../job.ts";
import type { OutgoingRequest } from "./connection.ts";
import { baseFields } from "./fields.ts";

export class RequestHeads {
  readonly #encoder: HpackEncoder;
  /** Fields of every request. */
  readonly #base: readonly (readonly [string, string])[];
  /** The base fields once they all come from the table, and the version of the table that says so. */
  #cached: Buffer | null = null;
  #cachedVersion = -1;

  constructor(endpoint: Endpoint) {
    this.#encoder = new HpackEncoder(endpoint.headerTableBytes);
    this.#base = baseFields(endpoint);
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  limitTable(bytes: number): void {
    this.#encoder.limitTable(bytes);
  }

  /** The block of a request; `bodyLength` is null where there is no body to announce. */
  encode({ method, path, headers }: OutgoingRequest, bodyLength: number | null): Buffer {
    const encoder = this.#encoder;
    encoder.field(":method", method, "incremental");
    encoder.field(":path", path, "without");
    if (headers !== undefined) {
      const own = new Set(Object.keys(headers));
      for (const [name, value] of this.#base) if (!own.has(name)) encoder.field(name, value, "incremental");
      for (const [name, value] of Object.entries(headers)) encoder.field(name, value, "incremental");
    } else if (this.#cached !== null && this.#cachedVersion === encoder.tableVersion) {
      encoder.append(this.#cached);
    } else {
      this.#encodeBase();
    }
    if (bodyLength !== null) encoder.field("content-length", String(bodyLength), "without");
    return encoder.take();
  }

  #encodeBase(): void {
    const encoder = this.#encoder;
    const front = encoder.take();
    const version = encoder.tableVersion;
    for (const [name, value] of this.#base) encoder.field(name, value, "incremental");
    const fields = encoder.take();
    this.#cached = version === encoder.tableVersion ? fields : null;
    this.#cachedVersion = version;
    encoder.append(front);
    encoder.append(fields);
  }
}
