/**
 * Rate limits as OpenAI keeps them: a bucket of one minute's worth that refills continuously. An idle client may use a
 * whole minute's worth at once; over any stretch of t seconds no client gets more than limit * (1 + t / 60).
 */

/** Per minute; null: no limit. Whole numbers from 1 to `maxRateLimit`. */
export interface RateLimits {
  readonly requests: number | null;
  readonly tokens: number | null;
}

/** The bucket counts in units of 1/60,000,000: up to here all of them are exact in a double. */
export const maxRateLimit = 100_000_000;

export const noRateLimits: RateLimits = { requests: null, tokens: null };

/** What is left of one limit. */
export interface Allowance {
  readonly limit: number;
  /** What would be admitted at this moment. */
  readonly remaining: number;
  /** Microseconds until the whole limit is there again. */
  readonly resetUs: number;
}

/** What is left to one client; null where there is no limit. */
export interface RateState {
  readonly requests: Allowance | null;
  readonly tokens: Allowance | null;
}

/** Why a request is refused. */
export interface RateRefusal {
  readonly what: "requests" | "tokens";
  readonly limit: number;
  readonly used: number;
  readonly requested: number;
  /** Microseconds until this request would be admitted; null: never, it asks for more than the whole limit. */
  readonly waitUs: number | null;
}

export interface RateDecision {
  /** After the request was charged, if it was. */
  readonly state: RateState;
  /** null: admitted. */
  readonly refusal: RateRefusal | null;
}

/**
 * Who may send how much. Limits of one process answer at once; for several processes an answer may have to be fetched
 * (lease.ts).
 */
export interface RateLimiter {
  readonly limits: RateLimits;
  /** From now on; what was used stays used. */
  setLimits(limits: RateLimits): void;
  /** Charges one request and `tokens` tokens to the client, or refuses and charges nothing. */
  take(client: string, tokens: number): RateDecision | Promise<RateDecision>;
  /** What is left to the client. */
  look(client: string): RateState | Promise<RateState>;
}

/** An amount of each limit. */
export interface RateAmount {
  readonly requests: number;
  readonly tokens: number;
}

const minuteUs = 60_000_000;

/** One limit of one client. All numbers are whole, so that what is said to remain is exactly what is then admitted. */
class Bucket {
  /** What is used and not refilled yet, in 1/60,000,000 of a request or token: `limit` of these come back each microsecond. */
  #debt = 0;
  #atUs = 0;

  settle(limit: number, nowUs: number): void {
    const elapsedUs = Math.max(0, nowUs - this.#atUs);
    this.#debt = elapsedUs >= Math.ceil(this.#debt / limit) ? 0 : this.#debt - elapsedUs * limit;
    this.#atUs = Math.max(this.#atUs, nowUs);
  }

  get full(): boolean {
    return this.#debt === 0;
  }

  /** Microseconds until `amount` would be admitted; null: never. */
  waitUs(limit: number, amount: number): number | null {
    if (amount > limit) return null;
    return Math.max(0, Math.ceil((this.#debt - (limit - amount) * minuteUs) / limit));
  }

  charge(amount: number): void {
    this.#debt += amount * minuteUs;
  }

  used(): number {
    return Math.ceil(this.#debt / minuteUs);
  }

  allowance(limit: number): Allowance {
    return {
      limit,
      remaining: Math.max(0, Math.floor((limit * minuteUs - this.#debt) / minuteUs)),
      resetUs: Math.ceil(this.#debt / limit),
    };
  }
}

class Client {
  readonly requests = new Bucket();
  readonly tokens = new Bucket();
}

/** Clients kept apart; names come from outside, so the number is bounded. Beyond it newcomers share one allowance. */
const clientsKept = 10_000;
const sweepIntervalUs = 1_000_000;
const shared = "\0shared";

/** Keeps the limits of one process. */
export class LocalRateLimiter implements RateLimiter {
  #limits: RateLimits;
  readonly #nowUs: () => number;
  readonly #clients = new Map<string, Client>();
  #sweptUs = -Infinity;

  /** `nowUs` is a clock that never goes back, in microseconds. */
  constructor(limits: RateLimits, nowUs: () => number) {
    this.#limits = limits;
    this.#nowUs = () => Math.floor(nowUs());
  }

  get limits(): RateLimits {
    return this.#limits;
  }

  /** From now on; what was used stays used, and what refilled so far did so at the old rate. */
  setLimits(limits: RateLimits): void {
    const nowUs = this.#nowUs();
    for (const client of this.#clients.values()) this.#settle(client, nowUs);
    this.#limits = limits;
  }

  take(name: string, tokens: number): RateDecision {
    const client = this.#client(name);
    const refusal =
      this.#refusal("requests", client.requests, this.#limits.requests, 1) ??
      this.#refusal("tokens", client.tokens, this.#limits.tokens, tokens);
    if (refusal === null) {
      if (this.#limits.requests !== null) client.requests.charge(1);
      if (this.#limits.tokens !== null) client.tokens.charge(tokens);
    }
    return { state: this.#state(client), refusal };
  }

  look(name: string): RateState {
    return this.#state(this.#client(name));
  }

  /** Charges up to `wanted` beyond what requests took, for a process that answers from it later. Returns what was charged. */
  lease(name: string, wanted: RateAmount): RateAmount {
    const client = this.#client(name);
    const charge = (bucket: Bucket, limit: number | null, amount: number): number => {
      if (limit === null) return 0;
      const granted = Math.min(amount, bucket.allowance(limit).remaining);
      bucket.charge(granted);
      return granted;
    };
    return {
      requests: charge(client.requests, this.#limits.requests, wanted.requests),
      tokens: charge(client.tokens, this.#limits.tokens, wanted.tokens),
    };
  }

  #refusal(what: RateRefusal["what"], bucket: Bucket, limit: number | null, requested: number): RateRefusal | null {
    if (limit === null) return null;
    const waitUs = bucket.waitUs(limit, requested);
    return waitUs === 0 ? null : { what, limit, used: Math.min(limit, bucket.used()), requested, waitUs };
  }

  #state({ requests, tokens }: Client): RateState {
    return {
      requests: this.#limits.requests === null ? null : requests.allowance(this.#limits.requests),
      tokens: this.#limits.tokens === null ? null : tokens.allowance(this.#limits.tokens),
    };
  }

  /** The client's buckets as of now. */
  #client(name: string): Client {
    const nowUs = this.#nowUs();
    let client = this.#clients.get(name);
    if (client === undefined) {
      if (this.#clients.size >= clientsKept) this.#sweep(nowUs);
      const kept = this.#clients.size < clientsKept ? name : shared;
      client = this.#clients.get(kept);
      if (client === undefined) this.#clients.set(kept, (client = new Client()));
    }
    this.#settle(client, nowUs);
    return client;
  }

  #settle({ requests, tokens }: Client, nowUs: number): void {
    requests.settle(this.#limits.requests ?? maxRateLimit, nowUs);
    tokens.settle(this.#limits.tokens ?? maxRateLimit, nowUs);
  }

  /** Forgets clients that have their whole limit: a new bucket is the same. */
  #sweep(nowUs: number): void {
    if (nowUs - this.#sweptUs < sweepIntervalUs) return;
    this.#sweptUs = nowUs;
    for (const [name, client] of this.#clients) {
      this.#settle(client, nowUs);
      if (client.requests.full && client.tokens.full) this.#clients.delete(name);
    }
  }
}

/** A duration as OpenAI writes it in `x-ratelimit-reset-*`: `0s`, `6ms`, `8.64s`, `1m30s`, `1h0m0s`. Rounded up to milliseconds. */
export function formatDuration(us: number): string {
  const ms = Math.ceil(us / 1000);
  if (ms === 0) return "0s";
  if (ms < 1000) return `${ms}ms`;
  const seconds = `${(ms % 60_000) / 1000}s`;
  const minutes = Math.floor(ms / 60_000);
  if (minutes === 0) return seconds;
  return minutes < 60 ? `${minutes}m${seconds}` : `${Math.floor(minutes / 60)}h${minutes % 60}m${seconds}`;
}
