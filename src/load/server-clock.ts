/**
 * The clock of a server on another host beside ours, by exchanges of times before and while a load runs. Stamps of that clock are compared
 * with our times only where the bound of the estimate allows it.
 */
import { monotonicUs } from "../base/clock.ts";
import { ClockFitter } from "../base/clock-fit.ts";
import { httpOf } from "../results/protocols.ts";
import type { ServerClockFit } from "../results/types.ts";
import type { Connection } from "./client/connection.ts";
import { openConnection } from "./client/open.ts";
import type { Endpoint } from "./job.ts";

/** An offset that is not known this well says nothing of a way that takes some hundred microseconds. */
export const clockBoundLimitUs = 1000;

/** Exchanges before the load, one after the other, and how often they go on while it runs. */
const firstExchanges = 16;
const everyMs = 200;
const timeoutMs = 2000;
const mostBytes = 4096;

/** A line through the offset over a run: server's clock minus ours, microseconds, at an instant of ours. */
export interface OffsetLine {
  readonly atUs: number;
  readonly offsetUs: number;
  readonly perUs: number;
}

export class ServerClock {
  readonly #endpoint: Endpoint;
  readonly #path: string;
  readonly #fitter = new ClockFitter();
  #connection: Connection | null = null;
  #timer: NodeJS.Timeout | null = null;
  #name: string | null = null;
  #isAsking = false;
  #fault: string | null = null;

  /** `path`: of `GET /health/clock` at the endpoint. */
  constructor(endpoint: Endpoint, path: string) {
    this.#endpoint = { ...endpoint, protocol: httpOf(endpoint.protocol) };
    this.#path = path;
  }

  /** The server's name for its clock; null: it has not told one. */
  get name(): string | null {
    return this.#name;
  }

  /** Opens a connection of its own and exchanges times. Never rejects: what fails is the reason of `fit`. */
  async begin(): Promise<void> {
    try {
      const [address] = this.#endpoint.hosts ?? [];
      this.#connection = await openConnection({ endpoint: this.#endpoint, timeoutMs, ...(address === undefined ? {} : { address }) });
      for (let i = 0; i < firstExchanges && this.#fault === null; i++) await this.#exchange();
    } catch (error) {
      this.#fault = (error as Error).message;
    }
    if (this.#fault === null)
      this.#timer = setInterval(() => {
        if (!this.#isAsking) void this.#exchange();
      }, everyMs);
  }

  /** Ends the exchanges. */
  end(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#connection?.close();
    this.#connection = null;
  }

  /** Server's clock minus ours now, whole microseconds: a first estimate. */
  get offsetUs(): number {
    return Math.round(this.#fitter.fit()?.at(monotonicUs()).offsetUs ?? 0);
  }

  /** The offset over a run, or why the clocks cannot be compared. */
  fit(fromUs: number, untilUs: number): { readonly line: OffsetLine | null; readonly clock: ServerClockFit } {
    const fit = this.#fitter.fit();
    if (fit === null)
      return {
        line: null,
        clock: { offsetUs: null, driftPpm: null, boundUs: null, exchanges: 0, reason: this.#fault ?? "the server told no time" },
      };
    const [first, last] = [fit.at(fromUs), fit.at(untilUs)];
    const boundUs = Math.max(first.boundUs, last.boundUs);
    const reason =
      boundUs > clockBoundLimitUs
        ? `the server's clock is known to ${(boundUs / 1000).toFixed(1)} ms only (bound ${clockBoundLimitUs / 1000} ms): its stamps are not compared with times of this host`
        : null;
    const line = {
      atUs: fromUs,
      offsetUs: first.offsetUs,
      perUs: untilUs > fromUs ? (last.offsetUs - first.offsetUs) / (untilUs - fromUs) : 0,
    };
    return {
      line: reason === null ? line : null,
      clock: { offsetUs: first.offsetUs, driftPpm: fit.driftPpm, boundUs, exchanges: fit.exchanges, reason },
    };
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
        if (fault !== null && this.#fitter.exchanges === 0) this.#fault = fault;
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
          onEnd: () => done(good ? this.#take(Buffer.concat(parts), t1, t4) : "the server has no /health/clock"),
          onFail: (reason) => done(reason),
        },
      );
    });
  }

  /** Takes an answer in; why it says nothing, or null. */
  #take(body: Buffer, t1: number, t4: number): string | null {
    try {
      const { clock, receivedUs, sentUs } = JSON.parse(body.toString()) as { clock?: unknown; receivedUs?: unknown; sentUs?: unknown };
      if (typeof clock !== "string" || typeof receivedUs !== "number" || typeof sentUs !== "number")
        return "the server has no /health/clock";
      // Behind a balancer another server may answer.
      if (this.#name !== null && this.#name !== clock) return null;
      this.#name = clock;
      this.#fitter.add({ t1, t2: receivedUs, t3: sentUs, t4 });
      return null;
    } catch {
      return "the server has no /health/clock";
    }
  }
}
