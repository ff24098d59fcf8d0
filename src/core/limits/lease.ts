/**
 * Rate limits of one among several processes. One process keeps the buckets (LocalRateLimiter); the others lease blocks
 * from it, already charged, and answer from these at once. All blocks of a client together are at most one fiftieth of
 * its limit: that is how far the sum of what the processes admit can be off. Of small limits nothing is leased, and
 * every request asks.
 */
import type { Allowance, LocalRateLimiter, RateAmount, RateDecision, RateLimiter, RateLimits, RateState } from "./rate-limit.ts";

/** What a process asks of the keeper of the buckets. */
export interface RateQuestion {
  readonly client: string;
  /** Tokens to charge with one request; null: only look. */
  readonly tokens: number | null;
  /** What it would like to have beyond that. */
  readonly extra: RateAmount;
}

export interface RateAnswer extends RateDecision {
  /** What was granted beyond the request. */
  readonly granted: RateAmount;
}

const nothing: RateAmount = { requests: 0, tokens: 0 };

/** The keeper's side. */
export function answerRates(keeper: LocalRateLimiter, { client, tokens, extra }: RateQuestion): RateAnswer {
  if (tokens === null) return { state: keeper.look(client), refusal: null, granted: nothing };
  const { state, refusal } = keeper.take(client, tokens);
  if (refusal !== null || (extra.requests === 0 && extra.tokens === 0)) return { state, refusal, granted: nothing };
  const granted = keeper.lease(client, extra);
  return { state: keeper.look(client), refusal, granted };
}

/** What one process may hold of a limit for one client. */
function blockOf(limit: number | null, processes: number): number {
  const block = Math.floor((limit ?? 0) / 50 / processes);
  // A block that serves one request more is not worth its error.
  return block < 2 ? 0 : block;
}

/** What is held of one client's limits. */
class Lease {
  requests = 0;
  tokens = 0;
  /** Asked for and not answered yet. */
  askedRequests = 0;
  askedTokens = 0;
  /** What the keeper said last, and when. */
  state: RateState;
  atUs: number;

  constructor(state: RateState, atUs: number) {
    this.state = state;
    this.atUs = atUs;
  }
}

/** Clients whose leases are kept; what an older one still held is given up. */
const leasesKept = 10_000;

export interface LeaseOptions {
  readonly limits: RateLimits;
  /** Processes that share the limits. */
  readonly processes: number;
  /** A clock that never goes back, in microseconds. */
  readonly nowUs: () => number;
  readonly ask: (question: RateQuestion) => Promise<RateAnswer>;
}

export class LeasingRateLimiter implements RateLimiter {
  limits: RateLimits;
  readonly #options: LeaseOptions;
  #leases = new Map<string, Lease>();

  constructor(options: LeaseOptions) {
    this.limits = options.limits;
    this.#options = options;
  }

  /** Blocks of the old limits are given up. */
  setLimits(limits: RateLimits): void {
    this.limits = limits;
    this.#leases = new Map();
  }

  take(client: string, tokens: number): RateDecision | Promise<RateDecision> {
    const lease = this.#leases.get(client);
    if (lease !== undefined && this.#covers(lease, tokens)) {
      if (this.limits.requests !== null) lease.requests--;
      if (this.limits.tokens !== null) lease.tokens -= tokens;
      return { state: this.#state(lease), refusal: null };
    }
    return this.#fetch(client, tokens, lease);
  }

  look(client: string): RateState | Promise<RateState> {
    const lease = this.#leases.get(client);
    if (lease !== undefined && (lease.requests > 0 || lease.tokens > 0)) return this.#state(lease);
    return this.#options.ask({ client, tokens: null, extra: nothing }).then(({ state }) => state);
  }

  #covers(lease: Lease, tokens: number): boolean {
    return (this.limits.requests === null || lease.requests >= 1) && (this.limits.tokens === null || lease.tokens >= tokens);
  }

  async #fetch(client: string, tokens: number, lease: Lease | undefined): Promise<RateDecision> {
    const { limits } = this;
    const { processes, nowUs, ask } = this.#options;
    const want = (limit: number | null, held: number): number => Math.max(0, blockOf(limit, processes) - held);
    const extra = {
      requests: want(limits.requests, lease === undefined ? 0 : lease.requests + lease.askedRequests),
      tokens: want(limits.tokens, lease === undefined ? 0 : lease.tokens + lease.askedTokens),
    };
    if (extra.requests === 0 && extra.tokens === 0 && lease === undefined) return ask({ client, tokens, extra });
    const leases = this.#leases;
    const kept = lease ?? this.#keep(client);
    kept.askedRequests += extra.requests;
    kept.askedTokens += extra.tokens;
    const { state, refusal, granted } = await ask({ client, tokens, extra });
    kept.askedRequests -= extra.requests;
    kept.askedTokens -= extra.tokens;
    // Limits may have changed meanwhile: blocks of the old ones are given up.
    if (leases !== this.#leases) return { state, refusal };
    kept.requests += granted.requests;
    kept.tokens += granted.tokens;
    kept.state = state;
    kept.atUs = nowUs();
    return { state: refusal === null ? this.#state(kept) : state, refusal };
  }

  #keep(client: string): Lease {
    if (this.#leases.size >= leasesKept) this.#leases.delete(this.#leases.keys().next().value!);
    const lease = new Lease({ requests: null, tokens: null }, 0);
    this.#leases.set(client, lease);
    return lease;
  }

  /** What the keeper said, refilled since, and what is held. */
  #state({ state, atUs, requests, tokens }: Lease): RateState {
    const elapsedUs = Math.max(0, this.#options.nowUs() - atUs);
    return { requests: projected(state.requests, elapsedUs, requests), tokens: projected(state.tokens, elapsedUs, tokens) };
  }
}

const minuteUs = 60_000_000;

function projected(said: Allowance | null, elapsedUs: number, held: number): Allowance | null {
  if (said === null) return null;
  const { limit, remaining, resetUs } = said;
  const refilled = Math.floor((elapsedUs * limit) / minuteUs);
  return { limit, remaining: Math.min(limit, remaining + refilled + held), resetUs: Math.max(0, Math.ceil(resetUs - elapsedUs)) };
}
