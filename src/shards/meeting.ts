/** A shard's side of the rendezvous: it meets the others before each run, and says what became of it. */
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { monotonicUs } from "../base/clock.ts";
import { hostInUrl } from "../base/host.ts";
import { ClockFitter } from "../base/clock-fit.ts";
import { UsageError } from "../base/usage-error.ts";
import type { BenchResult, ClockFit, RoundResult } from "../results/types.ts";
import {
  hereAlready,
  Link,
  messagesVersion,
  type FromShard,
  type Plan,
  type RoundKey,
  type RoundPlace,
  type Settled,
  type ShardReport,
  type ToShard,
} from "./messages.ts";
import { type Share, shareName } from "./share.ts";

export interface MeetingOptions {
  readonly share: Share;
  readonly host: string;
  readonly port: number;
  readonly token: string | null;
  readonly plan: Plan;
  /** How long all shards may take to come, milliseconds. */
  readonly joinMs: number;
  /** How long a round may last after its first shard has ended, milliseconds. */
  readonly patienceMs: number;
  readonly notice: (text: string) => void;
  readonly signal: AbortSignal;
  /** Our clock; another one in tests. */
  readonly nowUs?: () => number;
}

/** A round that is not run here: the others have done it, or one of them cannot. */
export class SkippedRound extends Error {
  readonly reasons: readonly string[];

  constructor(reasons: readonly string[]) {
    super(reasons.join("; ") || "the round was left out");
    this.reasons = reasons;
  }
}

/** Exchanges before the run, one after the other: the shortest round trip of them bounds the offset. */
const firstExchanges = 24;
const exchangeEveryMs = 1000;
/** A rendezvous that is silent for this long is gone. */
const silentMs = 15_000;
const retryEveryMs = 250;
/** A machine that was lost says no goodbye: the rendezvous gives its shard's number free after that silence. */
const takenMs = silentMs + 5000;
const takenRetryMs = 1000;
const keptMs = 60_000;

interface Waiting<Value> {
  readonly resolve: (value: Value) => void;
  readonly reject: (error: Error) => void;
}

export class Meeting {
  readonly share: Share;
  #session = "";
  readonly #options: MeetingOptions;
  readonly #nowUs: () => number;
  readonly #link: Link;
  readonly #fitter = new ClockFitter();
  readonly #over = new AbortController();
  readonly #done = new Map<RoundKey, Settled>();
  #begun: Waiting<void> | null = null;
  #timed: (() => void) | null = null;
  #started: (Waiting<number> & { readonly round: RoundKey; readonly run: number }) | null = null;
  #settling: (Waiting<Settled> & { readonly round: RoundKey }) | null = null;
  #kept: (() => void) | null = null;
  #isKept = false;
  #beat: NodeJS.Timeout | null = null;
  #silence: NodeJS.Timeout | null = null;

  private constructor(options: MeetingOptions, socket: Socket) {
    this.#options = options;
    this.#nowUs = options.nowUs ?? monotonicUs;
    this.share = options.share;
    this.#link = new Link(
      socket,
      (message) => this.#receive(message as ToShard),
      (reason) => this.#endWith(`the rendezvous is gone: ${reason}`),
    );
    this.#link.admit();
  }

  /** Comes to the rendezvous and waits for the others. Throws UsageError where it is refused, or they do not come. */
  static async join(options: MeetingOptions): Promise<Meeting> {
    const untilMs = performance.now() + takenMs;
    let isTold = false;
    for (;;) {
      const meeting = new Meeting(options, await reach(options));
      try {
        await meeting.#begin();
        return meeting;
      } catch (error) {
        const { message } = error as Error;
        if (!message.includes(hereAlready) || options.signal.aborted || performance.now() > untilMs) throw error;
        if (!isTold) options.notice(`${shareName(options.share)} ${hereAlready}: waiting ${takenMs / 1000} s for its connection to end`);
        isTold = true;
        await sleep(takenRetryMs, undefined, { signal: options.signal }).catch(() => {});
      }
    }
  }

  /** Aborted when the run ends for all; its reason is a line. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** Why it ended for all; null: it did not. */
  get ending(): string | null {
    return this.#over.signal.aborted ? String(this.#over.signal.reason) : null;
  }

  get session(): string {
    return this.#session;
  }

  /** Our clock beside the session's; null: not known. */
  get clock(): ClockFit | null {
    const fit = this.#fitter.fit();
    if (fit === null) return null;
    return { ...fit.at(this.#nowUs()), driftPpm: fit.driftPpm, exchanges: fit.exchanges };
  }

  /** Session's clock minus ours, microseconds, at an instant of ours. */
  shiftUs(atUs: number): number {
    return this.#fitter.fit()?.at(atUs).offsetUs ?? 0;
  }

  /** What became of a round that the others have done before this shard came back; undefined: they have not. */
  past(round: RoundKey): Settled | undefined {
    return this.#done.get(round);
  }

  /**
   * Waits until all shards are at this run. Resolves with the instant of our clock at which it begins; rejects with SkippedRound where
   * it is not run.
   */
  start(round: RoundKey, run: number): Promise<number> {
    return this.#wait((waiting) => {
      this.#started = { ...waiting, round, run };
      this.#send({ kind: "arrive", round, run });
    });
  }

  /** Says what this shard has of a round, and waits until all have. */
  settle(round: RoundKey, report: ShardReport): Promise<Settled> {
    return this.#wait((waiting) => {
      this.#settling = { ...waiting, round };
      this.#send({ kind: "ended", round, report });
    });
  }

  /** Hands a round in: it is kept where this shard does not live to its end. */
  record(place: RoundPlace, result: RoundResult): void {
    this.#send({ kind: "round", place, result });
  }

  /** Ends the run for all. */
  leave(reason: string): void {
    this.#send({ kind: "leave", reason });
  }

  /** Hands the whole result in. Resolves when it is kept, or cannot be: false then. */
  async finish(result: BenchResult): Promise<boolean> {
    if (this.#isClosed) return false;
    await new Promise<void>((resolve) => {
      const impatience = setTimeout(resolve, keptMs);
      this.#kept = () => {
        clearTimeout(impatience);
        resolve();
      };
      this.#send({ kind: "result", result });
    });
    return this.#isKept;
  }

  close(): void {
    if (this.#beat !== null) clearInterval(this.#beat);
    if (this.#silence !== null) clearTimeout(this.#silence);
    this.#isClosed = true;
    this.#link.end();
  }

  #isClosed = false;

  #send(message: FromShard): void {
    this.#link.send(message);
  }

  #wait<Value>(begin: (waiting: Waiting<Value>) => void): Promise<Value> {
    return new Promise((resolve, reject) => {
      if (this.#over.signal.aborted) reject(new SkippedRound([String(this.#over.signal.reason)]));
      else begin({ resolve, reject });
    });
  }

  async #begin(): Promise<void> {
    const { share, token, plan, patienceMs, joinMs, signal } = this.#options;
    const onAbort = (): void => this.#begun?.reject(new UsageError("interrupted before all shards had come"));
    signal.addEventListener("abort", onAbort);
    const late = setTimeout(
      () => this.#begun?.reject(new UsageError(`--rendezvous: not all shards came within ${joinMs / 1000} s`)),
      // The rendezvous says by name who did not come.
      joinMs + retryEveryMs * 8,
    );
    try {
      await new Promise<void>((resolve, reject) => {
        this.#begun = { resolve, reject };
        this.#send({ kind: "hello", version: messagesVersion, ...share, token, plan, patienceMs });
      });
    } catch (error) {
      this.close();
      throw error;
    } finally {
      this.#begun = null;
      clearTimeout(late);
      signal.removeEventListener("abort", onAbort);
    }
    for (let i = 0; i < firstExchanges && !this.#over.signal.aborted; i++) await this.#exchange();
  }

  /** One exchange of times. */
  #exchange(): Promise<void> {
    return new Promise((resolve) => {
      this.#timed = resolve;
      this.#send({ kind: "time", t1: this.#nowUs() });
    });
  }

  #onAdmitted(): void {
    this.#beat = setInterval(() => this.#send({ kind: "time", t1: this.#nowUs() }), exchangeEveryMs);
    this.#listen();
  }

  /** The silence begins anew. */
  #listen(): void {
    if (this.#silence === null)
      this.#silence = setTimeout(() => this.#endWith(`the rendezvous is silent for ${silentMs / 1000} s`), silentMs);
    else this.#silence.refresh();
  }

  #receive(message: ToShard): void {
    const receivedUs = this.#nowUs();
    this.#silence?.refresh();
    if (message.kind === "time") {
      this.#fitter.add({ t1: message.t1, t2: message.t2, t3: message.t3, t4: receivedUs });
      this.#timed?.();
      this.#timed = null;
    } else if (message.kind === "refused") {
      const error = new UsageError(`--rendezvous: ${message.reason}`);
      if (this.#begun !== null) this.#begun.reject(error);
      else this.#endWith(message.reason);
    } else if (message.kind === "admitted") this.#onAdmitted();
    else if (message.kind === "begin") {
      this.#session = message.session;
      for (const [round, settled] of message.done) this.#done.set(round, settled);
      this.#begun?.resolve();
    } else if (message.kind === "go") {
      const started = this.#started;
      if (started === null || started.round !== message.round || started.run !== message.run) return;
      this.#started = null;
      started.resolve(message.atUs - this.shiftUs(receivedUs));
    } else if (message.kind === "skip") {
      const started = this.#started;
      if (started === null || started.round !== message.round) return;
      this.#started = null;
      started.reject(new SkippedRound(message.reasons));
    } else if (message.kind === "settled") {
      const settling = this.#settling;
      if (settling === null || settling.round !== message.round) return;
      this.#settling = null;
      settling.resolve(message.settled);
    } else if (message.kind === "kept") {
      this.#isKept = true;
      this.#kept?.();
    } else if (message.kind === "end") this.#endWith(message.reason);
  }

  #endWith(reason: string): void {
    this.#timed?.();
    this.#timed = null;
    this.#kept?.();
    this.#begun?.reject(new UsageError(`--rendezvous: ${reason}`));
    if (this.#isClosed || this.#over.signal.aborted) return;
    this.#over.abort(reason);
    const skipped = new SkippedRound([reason]);
    this.#started?.reject(skipped);
    this.#settling?.reject(skipped);
    this.#started = this.#settling = null;
  }
}

/** Connects; a rendezvous that is not there yet is tried again. Throws UsageError. */
async function reach({ host, port, joinMs, signal, notice }: MeetingOptions): Promise<Socket> {
  const untilMs = performance.now() + joinMs;
  let isTold = false;
  for (;;) {
    const tried = await tryToReach(host, port, signal);
    if (typeof tried !== "string") return tried;
    if (signal.aborted) throw new UsageError("interrupted before the rendezvous was reached");
    if (performance.now() > untilMs)
      throw new UsageError(`--rendezvous: nothing answers at ${hostInUrl(host)}:${port} (${tried}) within ${joinMs / 1000} s`);
    if (!isTold) notice(`waiting for the rendezvous at ${hostInUrl(host)}:${port} (${tried})`);
    isTold = true;
    await sleep(retryEveryMs, undefined, { signal }).catch(() => {});
  }
}

const connectMs = 5000;

function tryToReach(host: string, port: number, signal: AbortSignal): Promise<Socket | string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: connectMs, noDelay: true });
    const onAbort = (): void => fail("interrupted");
    const fail = (reason: string): void => {
      signal.removeEventListener("abort", onAbort);
      socket.destroy();
      resolve(reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    socket.once("connect", () => {
      signal.removeEventListener("abort", onAbort);
      socket.setTimeout(0);
      socket.removeAllListeners("error");
      socket.removeAllListeners("timeout");
      resolve(socket);
    });
    socket.once("timeout", () => fail("no answer"));
    socket.once("error", (error: NodeJS.ErrnoException) => fail(error.code ?? error.message));
  });
}
