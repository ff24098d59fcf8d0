/**
 * The clocks of servers on other hosts beside ours, by exchanges of times before and while a load runs. Stamps of such a clock are compared
 * with our times only where the bound of its estimate allows it. Each clock has a name, which answers carry too: several addresses may lead
 * to one clock (servers of one host), and one address to several (a balancer); every exchange counts for the clock that answered.
 */
import { monotonicUs } from "../base/clock.ts";
import { ClockFitter } from "../base/clock-fit.ts";
import { httpOf } from "../results/protocols.ts";
import type { ServerClockFit } from "../results/types.ts";
import type { ForeignClock } from "./answer.ts";
import type { Connection } from "./client/connection.ts";
import { openConnection } from "./client/open.ts";
import type { Endpoint } from "./job.ts";

/** An offset that is not known this well says nothing of a way that takes some hundred microseconds. */
const clockBoundLimitUs = 1000;

/** Exchanges with each server before the load, one after the other, and how often they go on while it runs. */
const firstExchanges = 16;
const everyMs = 200;
/** With more servers than this each is asked less often: asking takes the CPU that answers are read with. */
const askedAtOnce = 8;
/** Servers whose first exchanges go on at once: with more, round trips would hold the wait for each other. */
const begunAtOnce = 4;
const timeoutMs = 2000;
const mostBytes = 4096;
const mostNameCharacters = 256;
const mostClocks = 10_000;
/** Servers that a reason names. */
const mostNamed = 3;

/** What is known of the clocks after a run. */
export interface SettledClocks {
  /** Over all servers; null: all have our clock. */
  readonly clock: ServerClockFit | null;
  /** Of each server that was asked and has another clock than ours, by its address. */
  readonly byAddress: ReadonlyMap<string, ServerClockFit>;
}

interface Clock {
  readonly fitter: ClockFitter;
  readonly foreign: ForeignClock;
}

/** Takes an exchange in, and the name of the clock that answered. */
type Take = (name: string, t1: number, t2: number, t3: number, t4: number) => void;

export class ServerClocks {
  readonly #endpoint: Endpoint;
  readonly #path: string;
  readonly #own: string | null;
  readonly #clocks = new Map<string, Clock>();
  #askers: readonly Asker[] = [];

  /** `path`: of `GET /health/clock` at the endpoint. `own`: the name of our clock. */
  constructor(endpoint: Endpoint, path: string, own: string | null) {
    this.#endpoint = { ...endpoint, protocol: httpOf(endpoint.protocol) };
    this.#path = path;
    this.#own = own;
  }

  /** A clock that is not ours, by its name; null: no server has told it so far. */
  foreign(name: string): ForeignClock | null {
    return this.#clocks.get(name)?.foreign ?? null;
  }

  /** Opens a connection to each address (none: to the origin), and exchanges times. Never rejects: what fails is a reason in what is settled. */
  async begin(addresses: readonly string[]): Promise<void> {
    const take: Take = (name, t1, t2, t3, t4) => this.#take(name, t1, t2, t3, t4);
    this.#askers = (addresses.length === 0 ? [null] : addresses).map((address) => new Asker(this.#endpoint, address, this.#path, take));
    let next = 0;
    const beginSome = async (): Promise<void> => {
      while (next < this.#askers.length) await this.#askers[next++]!.begin();
    };
    await Promise.all(Array.from({ length: begunAtOnce }, beginSome));
    for (const asker of this.#askers) asker.goOn(everyMs * Math.ceil(this.#askers.length / askedAtOnce));
  }

  /** Ends the exchanges. */
  end(): void {
    for (const asker of this.#askers) asker.end();
  }

  /** Fits a line to each clock over a run, by which stamps are compared from now on, and tells what is known. */
  settle(fromUs: number, untilUs: number): SettledClocks {
    const fits = new Map([...this.#clocks].map(([name, clock]) => [name, fitOver(clock, fromUs, untilUs)] as const));
    const all: { readonly address: string | null; readonly clock: ServerClockFit }[] = [];
    for (const { address, names, fault } of this.#askers) {
      const own = [...names].flatMap((name) => fits.get(name) ?? []);
      if (own.length > 0) all.push({ address, clock: own.reduce(worse) });
      else if (names.size === 0) all.push({ address, clock: unknown(fault ?? "the server told no time") });
    }
    const byAddress = new Map(all.flatMap(({ address, clock }) => (address === null ? [] : [[address, clock] as const])));
    if (all.length < 2) return { clock: all[0]?.clock ?? null, byAddress };
    const compared = all.filter(({ clock: { reason } }) => reason === null).map(({ clock }) => clock);
    const worst = (compared.length > 0 ? compared : all.map(({ clock }) => clock)).reduce(worse);
    const isOne = fits.size === 1;
    const clock = {
      offsetUs: isOne ? worst.offsetUs : null,
      driftPpm: isOne ? worst.driftPpm : null,
      boundUs: worst.boundUs,
      exchanges: [...fits.values()].reduce((sum, { exchanges }) => sum + exchanges, 0),
      reason: reasonOf(all.flatMap(({ address, clock: { reason } }) => (reason === null ? [] : [`${address}: ${reason}`]))),
    };
    return { clock, byAddress };
  }

  #take(name: string, t1: number, t2: number, t3: number, t4: number): void {
    if (name === this.#own) return;
    let clock = this.#clocks.get(name);
    if (clock === undefined) {
      if (this.#clocks.size === mostClocks) return;
      clock = { fitter: new ClockFitter(), foreign: { name, offsetUs: Math.round((t2 - t1 + t3 - t4) / 2), line: null } };
      this.#clocks.set(name, clock);
    }
    clock.fitter.add({ t1, t2, t3, t4 });
  }
}

/** The offset of a clock over a run; sets its line where that is known well enough. */
function fitOver({ fitter, foreign }: Clock, fromUs: number, untilUs: number): ServerClockFit {
  const fit = fitter.fit();
  if (fit === null) return unknown("the times that the server told cannot be");
  const [first, last] = [fit.at(fromUs), fit.at(untilUs)];
  const boundUs = Math.max(first.boundUs, last.boundUs);
  const reason =
    boundUs > clockBoundLimitUs
      ? `the server's clock is known to ${(boundUs / 1000).toFixed(1)} ms only (bound ${clockBoundLimitUs / 1000} ms): its stamps are not compared with times of this host`
      : null;
  const perUs = untilUs > fromUs ? (last.offsetUs - first.offsetUs) / (untilUs - fromUs) : 0;
  foreign.line = reason === null ? { atUs: fromUs, offsetUs: first.offsetUs, perUs } : null;
  return { offsetUs: first.offsetUs, driftPpm: fit.driftPpm, boundUs, exchanges: fit.exchanges, reason };
}

function unknown(reason: string): ServerClockFit {
  return { offsetUs: null, driftPpm: null, boundUs: null, exchanges: 0, reason };
}

function worse(a: ServerClockFit, b: ServerClockFit): ServerClockFit {
  return (b.boundUs ?? Infinity) > (a.boundUs ?? Infinity) ? b : a;
}

function reasonOf(reasons: readonly string[]): string | null {
  if (reasons.length === 0) return null;
  const more = reasons.length - mostNamed;
  return `${reasons.slice(0, mostNamed).join("; ")}${more > 0 ? `; and ${more} more` : ""}`;
}

/** Asks one server for its time, on a connection of its own. */
class Asker {
  readonly address: string | null;
  /** The clocks that answered here. */
  readonly names: Set<string> = new Set();
  /** Why there is none. */
  fault: string | null = null;
  readonly #endpoint: Endpoint;
  readonly #path: string;
  readonly #take: Take;
  #connection: Connection | null = null;
  #timer: NodeJS.Timeout | null = null;
  #isAsking = false;

  constructor(endpoint: Endpoint, address: string | null, path: string, take: Take) {
    this.#endpoint = endpoint;
    this.address = address;
    this.#path = path;
    this.#take = take;
  }

  async begin(): Promise<void> {
    try {
      const { address } = this;
      this.#connection = await openConnection({ endpoint: this.#endpoint, timeoutMs, ...(address === null ? {} : { address }) });
      for (let i = 0; i < firstExchanges && this.fault === null; i++) await this.#exchange();
    } catch (error) {
      this.fault = (error as Error).message;
    }
  }

  /** Asks again every so often. */
  goOn(everyMs: number): void {
    if (this.fault !== null) return;
    this.#timer = setInterval(() => {
      if (!this.#isAsking) void this.#exchange();
    }, everyMs);
  }

  end(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#connection?.close();
    this.#connection = null;
  }

  #exchange(): Promise<void> {
    const connection = this.#connection;
    if (connection === null || !connection.open) return Promise.resolve();
    this.#isAsking = true;
    return new Promise((resolve) => {
      const parts: Buffer[] = [];
      let bytes = 0;
      let good = false;
      let t4 = 0;
      const done = (fault: string | null): void => {
        this.#isAsking = false;
        clearTimeout(patience);
        if (fault !== null && this.names.size === 0) this.fault = fault;
        resolve();
      };
      const patience = setTimeout(() => done("the server told no time"), timeoutMs);
      const t1 = monotonicUs();
      connection.send(
        { method: "GET", path: this.#path, body: "" },
        {
          onResponse: ({ status }, readUs) => {
            good = status === 200;
            t4 = readUs;
          },
          onData: (chunk, start, end) => {
            bytes += end - start;
            if (bytes <= mostBytes) parts.push(Buffer.from(chunk.subarray(start, end)));
          },
          onEnd: () => done(good ? this.#read(Buffer.concat(parts), t1, t4) : "the server has no /health/clock"),
          onFail: (reason) => done(reason),
        },
      );
    });
  }

  /** Takes an answer in; why it says nothing, or null. */
  #read(body: Buffer, t1: number, t4: number): string | null {
    try {
      const { clock, receivedUs, sentUs } = JSON.parse(body.toString()) as { clock?: unknown; receivedUs?: unknown; sentUs?: unknown };
      if (typeof clock !== "string" || clock.length > mostNameCharacters) return "the server has no /health/clock";
      if (typeof receivedUs !== "number" || typeof sentUs !== "number") return "the server has no /health/clock";
      this.names.add(clock);
      this.#take(clock, t1, receivedUs, sentUs, t4);
      return null;
    } catch {
      return "the server has no /health/clock";
    }
  }
}
