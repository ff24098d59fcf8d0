/**
 * Conversations: responses that another may go on from, over HTTP and WebSocket alike. Each is a text and the body of its request, so
 * that what they hold is known to the byte. Under its id one is found by every client and by /v1/responses/{id}; a WebSocket keeps
 * the latest response of each of its lanes besides, stored or not.
 */

import type { RouteRequest } from "../../core/seams.ts";

/** How many responses are kept, and how many bytes they hold together; those asked for longest ago go first. */
export const mostStored = 100_000;
export const mostStoredBytes = 67_108_864;

/** What a response costs beside its texts, bytes. */
const overheadBytes = 512;

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
  /** Texts of its own turn, as prompts after it repeat them; empty where nothing asks for prompts. */
  readonly texts: readonly string[];
}

/** Bytes that a response itself keeps alive: a character has up to two. */
export function bytesOf({ json, request, texts }: Pick<StoredResponse, "json" | "request" | "texts">): number {
  return 2 * (json.length + texts.reduce((characters, { length }) => characters + length, 0)) + request.length + overheadBytes;
}

/** Where a request finds the response before it, and puts its own. */
export interface ResponseMemory {
  /** Puts off that it is forgotten. */
  get(id: string): StoredResponse | undefined;
  /** Whether a response is put in. `store`: whether its request asks for that. */
  keeps(store: boolean): boolean;
  /** `store` as in `keeps`. */
  add(stored: StoredResponse, store: boolean): void;
}

/** Under what a response is kept: its id, or a lane of a connection. */
export type StoreKey = string | object;

export class ResponseStore {
  /** In the order in which they were asked for. */
  readonly #kept = new Map<StoreKey, StoredResponse>();
  /** How many keys and later responses keep each alive. */
  readonly #holders = new Map<StoredResponse, number>();
  #bytes = 0;
  readonly #most: number;
  readonly #mostBytes: number;

  constructor(most: number = mostStored, mostBytes: number = mostStoredBytes) {
    this.#most = most;
    this.#mostBytes = mostBytes;
  }

  /** Number of keys. */
  get size(): number {
    return this.#kept.size;
  }

  /** Bytes of all, and of those before them, each once. */
  get bytes(): number {
    return this.#bytes;
  }

  /** What one client may see and delete of the responses under ids. `owner`: no blank is in it; "" is everybody's. */
  ownedBy(owner: string): OwnResponses {
    return new OwnResponses(this, owner);
  }

  /** Keeps a response, and forgets others for it. One that, with those before it, is larger than all may be is not kept. */
  put(key: StoreKey, stored: StoredResponse): void {
    let wholeBytes = 0;
    for (let at: StoredResponse | null = stored; at !== null; at = at.previous) wholeBytes += bytesOf(at);
    if (wholeBytes > this.#mostBytes) {
      this.delete(key);
      return;
    }
    this.#hold(stored);
    this.delete(key);
    this.#kept.set(key, stored);
    while (this.#kept.size > this.#most || this.#bytes > this.#mostBytes) {
      const oldest = this.#kept.keys().next();
      if (oldest.done === true) break;
      this.delete(oldest.value);
    }
  }

  get(key: StoreKey): StoredResponse | undefined {
    const kept = this.#kept.get(key);
    if (kept === undefined) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return kept;
  }

  delete(key: StoreKey): boolean {
    const kept = this.#kept.get(key);
    if (kept === undefined) return false;
    this.#kept.delete(key);
    this.#release(kept);
    return true;
  }

  /** Counts a holder of a response; with the first, the response and, in turn, that before it. */
  #hold(stored: StoredResponse): void {
    for (let at: StoredResponse | null = stored; at !== null; at = at.previous) {
      const holders: number = this.#holders.get(at) ?? 0;
      this.#holders.set(at, holders + 1);
      if (holders > 0) return;
      this.#bytes += bytesOf(at);
    }
  }

  #release(stored: StoredResponse): void {
    for (let at: StoredResponse | null = stored; at !== null; at = at.previous) {
      const holders: number = this.#holders.get(at)! - 1;
      if (holders > 0) {
        this.#holders.set(at, holders);
        return;
      }
      this.#holders.delete(at);
      this.#bytes -= bytesOf(at);
    }
  }
}

/** The stored responses of one owner: what another has stored is not there. */
export class OwnResponses implements ResponseMemory {
  readonly #store: ResponseStore;
  readonly #owner: string;

  constructor(store: ResponseStore, owner: string) {
    this.#store = store;
    this.#owner = owner;
  }

  #keyOf(id: string): string {
    return this.#owner === "" ? id : `${this.#owner} ${id}`;
  }

  get(id: string): StoredResponse | undefined {
    return this.#store.get(this.#keyOf(id));
  }

  keeps(store: boolean): boolean {
    return store;
  }

  add(stored: StoredResponse): void {
    this.#store.put(this.#keyOf(stored.id), stored);
  }

  delete(id: string): void {
    this.#store.delete(this.#keyOf(id));
  }
}

/** Finds the stored responses that a request may see. */
export type StoreOf = (request: RouteRequest) => OwnResponses;
