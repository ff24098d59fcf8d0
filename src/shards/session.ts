/**
 * One run of all shards, as the rendezvous sees it: who is here, who waits at which barrier, and what became of each round. It knows no
 * sockets and no clock: what it is told and what it says are messages, and its timers are given.
 */
import type { BenchResult, RoundResult } from "../results/types.ts";
import {
  type FromShard,
  hereAlready,
  type Plan,
  type RoundKey,
  type RoundPlace,
  type Settled,
  type ShardReport,
  type ToShard,
} from "./messages.ts";
import { shareName } from "./share.ts";

/** A shard's line to the session. */
export interface ShardLink {
  send(message: ToShard): void;
  /** What was sent goes out first. */
  end(): void;
}

export interface SessionOptions {
  readonly of: number;
  readonly session: string;
  /** Microseconds of the session's clock. */
  readonly nowUs: () => number;
  /** Calls back once, milliseconds later; the function that it returns prevents that. */
  readonly after: (ms: number, call: () => void) => () => void;
  /** How long shards may take to come, milliseconds. */
  readonly joinMs: number;
  /** How long a barrier waits for the last shard, and for one that is gone to come back. */
  readonly barrierMs: number;
  /** How long shards may take to hand in their results after the run. */
  readonly resultMs: number;
  readonly notice: (text: string) => void;
}

/** What is left of a run. */
export interface SessionEnd {
  /** By the number of the shard; a shard that handed none in is missing. */
  readonly results: ReadonlyMap<number, BenchResult>;
  /** What shards handed in round by round. */
  readonly rounds: ReadonlyMap<number, readonly { readonly place: RoundPlace; readonly result: RoundResult }[]>;
  /** Why it ended early, in one line; null: it ran to its end. */
  readonly reason: string | null;
  /** Shards that never came; with any, nothing was measured. */
  readonly missing: readonly number[];
}

/** After the session's go a run begins so much later, microseconds: every shard has read it by then. */
const leadUs = 150_000;
/** The same for each shard: it takes that long to say it to all of them. */
const leadOfShardUs = 200;
/** Barriers in a row that a shard that is there may miss. */
const mostMissed = 2;
/** Names of shards that a line has room for. */
const mostNames = 8;

interface Member {
  link: ShardLink | null;
  /** Why it is not here. */
  gone: string;
  /** The barrier that it waits at. */
  at: { readonly round: RoundKey; readonly run: number } | null;
  /** Barriers in a row that it has missed. */
  missed: number;
  /** How long a round may last for its sake. */
  patienceMs: number;
  hasResult: boolean;
}

/** The round that is under way. */
interface Current {
  readonly round: RoundKey;
  /** Runs of it that began. */
  begun: number;
  readonly reports: Map<number, ShardReport>;
  /** Why it may not be used, by name. */
  readonly faults: Set<string>;
  /** Shards that had to leave it. */
  readonly left: Set<number>;
}

export class Session {
  /** Resolves when all results are here, or the session has ended without. */
  readonly ended: Promise<SessionEnd>;
  readonly #options: SessionOptions;
  readonly #members = new Map<number, Member>();
  readonly #results = new Map<number, BenchResult>();
  readonly #rounds = new Map<number, { readonly place: RoundPlace; readonly result: RoundResult }[]>();
  readonly #done = new Map<RoundKey, Settled>();
  #plan: Plan | null = null;
  #phase: "joining" | "running" | "closing" | "ended" = "joining";
  #current: Current | null = null;
  #reason: string | null = null;
  #cancelTimer: () => void;
  #resolve: (end: SessionEnd) => void = () => {};

  constructor(options: SessionOptions) {
    this.#options = options;
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#cancelTimer = options.after(options.joinMs, () => this.#onJoinTimeout());
  }

  /** Lets a shard in, or says in one line why not. */
  join(hello: Extract<FromShard, { kind: "hello" }>, link: ShardLink): string | null {
    const { of } = this.#options;
    const name = shareName(hello);
    if (this.#phase === "closing" || this.#phase === "ended")
      return this.#reason === null ? "the run has ended" : `the run has ended: ${this.#reason}`;
    if (hello.of !== of) return this.#refuse(`${name}: this run has ${of} shards`);
    const member = this.#members.get(hello.shard);
    if (member !== undefined && member.link !== null) return `${name} ${hereAlready}: give each shard a number of its own`;
    const differs = this.#plan === null ? null : planDifference(this.#plan, hello.plan);
    if (differs !== null) return this.#refuse(`${name} does not fit the others: ${differs}`);
    this.#plan ??= hello.plan;
    const here: Member = { link, gone: "", at: null, missed: 0, patienceMs: hello.patienceMs, hasResult: false };
    this.#members.set(hello.shard, here);
    link.send({ kind: "admitted" });
    if (this.#phase === "running") {
      this.#options.notice(`${name} came back`);
      link.send({ kind: "begin", session: this.#options.session, done: [...this.#done] });
    } else if (this.#members.size === of && [...this.#members.values()].every((one) => one.link !== null)) this.#begin();
    else this.#options.notice(`${name} is here, ${this.#here} of ${of}`);
    return null;
  }

  /** What a shard that was let in says. */
  receive(shard: number, message: FromShard): void {
    const member = this.#members.get(shard);
    if (member === undefined || this.#phase === "ended") return;
    if (message.kind === "arrive") this.#onArrive(shard, member, message.round, message.run);
    else if (message.kind === "ended") this.#onEnded(shard, member, message.round, message.report);
    else if (message.kind === "round") {
      const rounds = this.#rounds.get(shard);
      if (rounds === undefined) this.#rounds.set(shard, [message]);
      else rounds.push(message);
    } else if (message.kind === "result") this.#onResult(shard, member, message.result);
    else if (message.kind === "leave") this.end(`${this.#name(shard)}: ${message.reason}`);
  }

  /** A shard's connection is gone. */
  lost(shard: number, reason: string): void {
    const member = this.#members.get(shard);
    if (member === undefined || member.link === null) return;
    member.link = null;
    member.gone = reason;
    if (this.#phase === "joining") {
      this.#members.delete(shard);
      if (this.#members.size === 0) this.#plan = null;
      return;
    }
    // Those who are told that it is over leave.
    if (member.hasResult || this.#phase === "ended") return;
    this.#options.notice(`${this.#name(shard)} is gone: ${reason}`);
    if (this.#phase === "closing") return this.#closeIfComplete();
    if (this.#phase !== "running") return;
    const current = this.#current;
    if (current !== null && current.begun > 0 && !current.reports.has(shard)) {
      current.faults.add(`${this.#name(shard)}: gone in the round (${reason})`);
      current.left.add(shard);
      this.#release();
      this.#settleIfDone();
    } else {
      member.at = null;
      this.#startTimer(this.#options.barrierMs, () => this.#onBarrierTimeout());
    }
  }

  /** Ends the run for all: what is there is handed in. */
  end(reason: string | null): void {
    if (this.#phase === "closing" || this.#phase === "ended") return;
    const isNothing = this.#phase === "joining";
    this.#reason = reason;
    this.#phase = "closing";
    if (reason !== null) {
      // Where nothing was measured it is what the command ends with.
      if (!isNothing) this.#options.notice(reason);
      this.#broadcast(isNothing ? { kind: "refused", reason } : { kind: "end", reason });
    }
    if (isNothing) return this.#finish();
    this.#startTimer(this.#options.resultMs, () => this.#finish());
    this.#closeIfComplete();
  }

  get #here(): number {
    return [...this.#members.values()].filter(({ link }) => link !== null).length;
  }

  #name(shard: number): string {
    return shareName({ shard, of: this.#options.of });
  }

  #names(shards: readonly number[]): string {
    const { of } = this.#options;
    const shown = shards.slice(0, mostNames).join(", ");
    const more = shards.length > mostNames ? ` and ${shards.length - mostNames} more` : "";
    return `${shards.length === 1 ? "shard" : "shards"} ${shown}${more} of ${of}`;
  }

  #broadcast(message: ToShard): void {
    for (const { link } of this.#members.values()) link?.send(message);
  }

  #startTimer(ms: number, call: () => void): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#options.after(ms, call);
  }

  /** Before the run has begun, one that does not fit ends it for all: none of them could begin. */
  #refuse(reason: string): string {
    if (this.#phase === "joining" && this.#members.size > 0) this.end(reason);
    return reason;
  }

  #begin(): void {
    this.#cancelTimer();
    this.#phase = "running";
    this.#options.notice(`all ${this.#options.of} shards are here`);
    this.#broadcast({ kind: "begin", session: this.#options.session, done: [] });
  }

  #onJoinTimeout(): void {
    if (this.#phase !== "joining") return;
    this.end(`${this.#names(this.#missing())} did not come within ${this.#options.joinMs / 1000} s`);
  }

  #missing(): number[] {
    return Array.from({ length: this.#options.of }, (_, i) => i + 1).filter((shard) => !this.#members.has(shard));
  }

  #onArrive(shard: number, member: Member, round: RoundKey, run: number): void {
    const current = this.#current;
    if (this.#phase !== "running") {
      member.link?.send({ kind: "skip", round, reasons: ["the run has ended"] });
      return;
    }
    if (this.#done.has(round)) {
      member.link?.send({ kind: "skip", round, reasons: [`${this.#name(shard)}: late: the others have done this round`] });
      return;
    }
    // Its former life was in this round.
    if (current?.round === round && (current.left.has(shard) || run < current.begun)) {
      current.left.add(shard);
      member.link?.send({ kind: "skip", round, reasons: [...current.faults] });
      return;
    }
    member.at = { round, run };
    this.#current ??= { round, begun: 0, reports: new Map(), faults: new Set(), left: new Set() };
    // One of them has left it already.
    if (this.#current.left.size > 0 || this.#current.reports.size > 0) return this.#release();
    const all = [...this.#members].map(([number, { at }]) => ({ number, at }));
    const one = all.find(({ at }) => at !== null)!;
    const other = all.find(({ at }) => at !== null && at.round !== one.at!.round);
    if (other !== undefined && all.every(({ at }) => at !== null))
      return this.end(
        `the shards disagree about what comes next: ${this.#name(one.number)} is at ${one.at!.round}, ${this.#name(other.number)} at ${other.at!.round}`,
      );
    if (all.every(({ at }) => at?.round === round && at.run === run)) return this.#go(this.#current, run);
    if (all.filter(({ at }) => at !== null).length === 1) this.#startTimer(this.#options.barrierMs, () => this.#onBarrierTimeout());
  }

  #go(current: Current, run: number): void {
    this.#cancelTimer();
    current.begun = run + 1;
    const atUs = this.#options.nowUs() + leadUs + leadOfShardUs * this.#options.of;
    for (const member of this.#members.values()) {
      member.at = null;
      member.missed = 0;
      member.link?.send({ kind: "go", round: current.round, run, atUs });
    }
  }

  /** Not all are at the barrier in time: the round is not run, and those who wait go on. */
  #onBarrierTimeout(): void {
    if (this.#phase !== "running") return;
    const { barrierMs } = this.#options;
    const absent = [...this.#members].filter(([, { at }]) => at === null);
    for (const [shard, { link, gone }] of absent)
      if (link === null) return this.end(`${this.#name(shard)} is gone (${gone}) and did not come back within ${barrierMs / 1000} s`);
    const current = this.#current;
    if (current === null) return;
    for (const [shard, member] of absent) {
      if (current.reports.has(shard)) continue;
      member.missed++;
      current.left.add(shard);
      current.faults.add(`${this.#name(shard)}: late: not at the barrier within ${barrierMs / 1000} s`);
      if (member.missed >= mostMissed) return this.end(`${this.#name(shard)} missed ${mostMissed} barriers in a row`);
    }
    this.#release();
    this.#settleIfDone();
  }

  /** Those who wait for a round that cannot be run are told so. */
  #release(): void {
    const current = this.#current!;
    for (const member of this.#members.values()) {
      if (member.at?.round !== current.round) continue;
      member.at = null;
      member.link?.send({ kind: "skip", round: current.round, reasons: [...current.faults] });
    }
  }

  #onEnded(shard: number, member: Member, round: RoundKey, report: ShardReport): void {
    if (this.#phase !== "running" || this.#done.has(round)) {
      member.link?.send({ kind: "settled", round, settled: { invalid: [], completed: 0, durationUs: 0, dead: false } });
      return;
    }
    this.#current ??= { round, begun: 0, reports: new Map(), faults: new Set(), left: new Set() };
    const current = this.#current;
    if (current.round !== round) {
      this.end(`the shards disagree about what comes next: ${this.#name(shard)} has ended ${round}, the others are at ${current.round}`);
      return;
    }
    member.at = null;
    current.reports.set(shard, report);
    for (const reason of report.invalid) current.faults.add(named(reason, this.#name(shard)));
    // Those who wait for another run of it cannot go on alone.
    this.#release();
    if (current.reports.size === 1) this.#startTimer(member.patienceMs, () => this.#onRoundTimeout());
    this.#settleIfDone();
  }

  #onRoundTimeout(): void {
    const current = this.#current;
    if (current === null || this.#phase !== "running") return;
    const absent = [...this.#members.keys()].filter((shard) => !current.reports.has(shard) && !current.left.has(shard));
    this.end(`${this.#names(absent)} did not end ${current.round} in time`);
  }

  /** The round is over when all who are in it have reported. */
  #settleIfDone(): void {
    const current = this.#current;
    if (current === null) return;
    const waiting = [...this.#members].filter(
      ([shard, { link }]) => link !== null && !current.reports.has(shard) && !current.left.has(shard),
    );
    if (waiting.length > 0 || current.reports.size === 0) return;
    this.#cancelTimer();
    this.#current = null;
    const reports = [...current.reports.values()];
    const settled: Settled = {
      invalid: [...current.faults],
      completed: reports.reduce((sum, { completed }) => sum + completed, 0),
      durationUs: reports.reduce((most, { durationUs }) => Math.max(most, durationUs), 0),
      dead: reports.some(({ dead }) => dead),
    };
    this.#done.set(current.round, settled);
    const [first, ...more] = settled.invalid;
    if (first !== undefined)
      this.#options.notice(`${current.round} is left out for all: ${first}${more.length === 0 ? "" : ` (and ${more.length} more)`}`);
    this.#broadcast({ kind: "settled", round: current.round, settled });
    // The next barrier waits for who is gone.
    if ([...this.#members.values()].some(({ link }) => link === null))
      this.#startTimer(this.#options.barrierMs, () => this.#onBarrierTimeout());
  }

  #onResult(shard: number, member: Member, result: BenchResult): void {
    member.hasResult = true;
    this.#results.set(shard, result);
    member.link?.send({ kind: "kept" });
    if (this.#phase === "running") {
      // The first to be through: the others follow, or are gone.
      this.#phase = "closing";
      this.#startTimer(this.#options.resultMs, () => this.#finish());
    }
    this.#closeIfComplete();
  }

  #closeIfComplete(): void {
    if (this.#phase !== "closing") return;
    if ([...this.#members.values()].every(({ hasResult, link }) => hasResult || link === null)) this.#finish();
  }

  #finish(): void {
    if (this.#phase === "ended") return;
    this.#phase = "ended";
    this.#cancelTimer();
    this.#resolve({ results: this.#results, rounds: this.#rounds, reason: this.#reason, missing: this.#missing() });
    for (const { link } of this.#members.values()) link?.end();
  }
}

/** A reason with the name of the shard before it, where it has none. */
export function named(reason: string, name: string): string {
  return /^shards? \d/.test(reason) ? reason : `${name}: ${reason}`;
}

/** The first difference between two plans, in words; null: there is none. */
function planDifference(one: Plan, other: Plan): string | null {
  for (const key of new Set([...Object.keys(one), ...Object.keys(other)])) {
    const [first, second] = [one[key], other[key]];
    if (first !== second) return `${key} is ${shown(second)}, and ${shown(first)} at the others`;
  }
  return null;
}

function shown(value: string | undefined): string {
  return value === undefined ? "missing" : value.length > 80 ? `${value.slice(0, 80)}...` : value;
}
