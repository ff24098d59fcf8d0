/**
 * Responses that were asked to be stored, as they were sent: what /v1/responses/{id} shows, and what `previous_response_id` goes on
 * from. Each is a text and the body of its request, so that what they hold is known to the byte.
 */

/** How many responses are kept, and how many bytes they hold together; those asked for longest ago go first. */
export const mostStored = 1000;
export const mostStoredBytes = 33_554_432;

export interface StoredResponse {
  readonly id: string;
  /** JSON text of the whole response object. */
  readonly json: string;
  /** The body of its request. */
  readonly request: Uint8Array;
  /** The response that its conversation goes on from. */
  readonly previous: StoredResponse | null;
  /** Tokens of the whole conversation, its answer included; instructions are not carried on. */
  readonly tokens: number;
  /** By `bytesOf`. */
  readonly bytes: number;
}

/** Bytes that a response keeps alive, with all before it: a character of JSON text has up to two. */
export function bytesOf({ json, request, previous }: Pick<StoredResponse, "json" | "request" | "previous">): number {
  return 2 * json.length + request.length + (previous?.bytes ?? 0);
}

export class ResponseStore {
  /** In the order in which they were asked for. */
  readonly #kept = new Map<string, StoredResponse>();
  #bytes = 0;
  readonly #most: number;
  readonly #mostBytes: number;

  constructor(most: number = mostStored, mostBytes: number = mostStoredBytes) {
    this.#most = most;
    this.#mostBytes = mostBytes;
  }

  get size(): number {
    return this.#kept.size;
  }

  /** Bytes of all; what two share counts twice. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Keeps a response, and forgets others for it. One that is larger than all may be is not kept. */
  add(stored: StoredResponse): void {
    this.delete(stored.id);
    if (stored.bytes > this.#mostBytes) return;
    this.#kept.set(stored.id, stored);
    this.#bytes += stored.bytes;
    while (this.#kept.size > this.#most || this.#bytes > this.#mostBytes) this.delete(this.#kept.keys().next().value!);
  }

  get(id: string): StoredResponse | undefined {
    const kept = this.#kept.get(id);
    if (kept === undefined) return undefined;
    this.#kept.delete(id);
    this.#kept.set(id, kept);
    return kept;
  }

  delete(id: string): boolean {
    const kept = this.#kept.get(id);
    if (kept === undefined) return false;
    this.#kept.delete(id);
    this.#bytes -= kept.bytes;
    return true;
  }
}
