/** Runs a job in this process: sends each request when it is due, watches each answer, and sums up. */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { monotonicUs } from "../base/clock.ts";
import { loadEncoding } from "../base/encodings.ts";
import { Answer, type AnswerContext } from "./answer.ts";
import { BackgroundStreams } from "./background.ts";
import { Conversations, type SessionTurn } from "./conversations.ts";
import { defaultWindows, type LoadJob, type LoadReport, type PlannedRequest } from "./job.ts";
import { combined, ConnectionPool } from "./pool.ts";
import { sentBody } from "./prompts.ts";
import { type RunFacts, sumUp } from "./report.ts";
import { ServerClocks } from "./server-clock.ts";
import type { Connection } from "./client/connection.ts";

export interface GenerateOptions {
  readonly signal: AbortSignal;
  /**
   * Called when the measured part begins, and when it has ended. The first request waits until this resolves, and until the instant of
   * the monotonic clock that it resolves with.
   */
  readonly onPhase: (phase: "begin" | "end") => Promise<number | void>;
  readonly onProgress: (done: number) => void;
}

/** How often requests are asked whether they are overdue, milliseconds. */
export function checkEveryMs({ idleTimeoutMs, requestTimeoutMs }: LoadJob): number {
  return Math.max(5, Math.min(1000, idleTimeoutMs / 8, requestTimeoutMs / 8));
}

const progressEveryMs = 250;
const longestConnectMs = 10_000;
/** How often the event loop is asked how late it is. */
const delayResolutionMs = 2;
/** A refused request is sent again this often: at once, then after pauses that double from `firstPauseMs`. */
const mostRetries = 10;
const firstPauseMs = 10;
/** After this many requests in a row without a byte, and none answered, the server counts as hanging. */
const maxSilentRequests = 8;

/** A timer sleeps no longer, and is set again: Node's end at 24 days. */
const longestSleepMs = 60_000;

/** Indices of the requests that wait for another, by its index. */
function followersOf(requests: readonly PlannedRequest[]): Map<number, number[]> {
  const followers = new Map<number, number[]>();
  for (const [index, { after, joins = [] }] of requests.entries()) {
    if (after === undefined) continue;
    for (const before of new Set([after, ...joins])) {
      const others = followers.get(before);
      if (others === undefined) followers.set(before, [index]);
      else others.push(index);
    }
  }
  return followers;
}

/** The request that a conversation begins with, for each of its requests. */
function rootsOf(requests: readonly PlannedRequest[]): Int32Array {
  const roots = new Int32Array(requests.length);
  for (const [index, { after }] of requests.entries()) roots[index] = after === undefined ? index : roots[after]!;
  return roots;
}

/** Sends one list of requests and resolves when each has ended. */
class Sender {
  readonly answers: Answer[] = [];
  /** How late the generator itself got to each open-loop request, microseconds. */
  readonly lagUs: number[] = [];
  heldBack = 0;
  /** Streams that the server refused and that were sent again. */
  refused = 0;
  /** Requests that were given up without being sent, and why. */
  unsent = 0;
  unsentReason: string | null = null;
  readonly #job: LoadJob;
  readonly #requests: readonly PlannedRequest[];
  readonly #open: boolean;
  readonly #pool: ConnectionPool;
  readonly #underWay = new Set<Answer>();
  readonly #connectionOf = new Map<Answer, Connection>();
  /** How often requests under way were refused. */
  readonly #refusals = new Map<Answer, number>();
  readonly #context: AnswerContext;
  /** Indices of the requests that follow no other, in order. */
  readonly #starts: readonly number[];
  /** Indices of the requests that wait for another, by its index. */
  readonly #followers: ReadonlyMap<number, readonly number[]>;
  /** For each request: how many of those that it waits for have not ended. */
  readonly #waitsFor: Int32Array;
  /** For each request: the one that its conversation begins with. */
  readonly #roots: Int32Array;
  /** For each of these: requests of the conversation that have not ended. */
  readonly #leftOf: Int32Array;
  readonly #conversations: Conversations;
  /** Sessions of which a turn has failed. */
  readonly #broken = new Set<number>();
  /** Sessions: the connection that each conversation was last on, by session and agent. */
  readonly #homes = new Map<string, Connection>();
  /** Sessions: turns under way on a connection, and those of them that others shared it with. */
  readonly #sharing = new Map<Connection, Set<Answer>>();
  /** Of `#starts`: those that were due, or in a closed loop sent. */
  #due = 0;
  /** Due and held back, in the order in which they became due. */
  readonly #held: { readonly index: number; readonly intendedUs: number }[] = [];
  /** Timers of turns that wait for their time. */
  readonly #pauses = new Set<NodeJS.Timeout>();
  #startUs = 0;
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;
  #answered = 0;
  #failed = 0;
  #hanging = 0;
  #done: () => void = () => {};

  constructor(job: LoadJob, requests: readonly PlannedRequest[], open: boolean, pool: ConnectionPool, clocks: ServerClocks | null = null) {
    this.#job = job;
    this.#requests = requests;
    this.#starts = requests.flatMap(({ after }, index) => (after === undefined ? [index] : []));
    this.#followers = followersOf(requests);
    this.#roots = rootsOf(requests);
    this.#waitsFor = new Int32Array(requests.length);
    for (const followers of this.#followers.values()) for (const index of followers) this.#waitsFor[index]!++;
    this.#leftOf = new Int32Array(requests.length);
    for (const root of this.#roots) this.#leftOf[root]!++;
    this.#conversations = new Conversations(job.tools);
    this.#open = open;
    this.#pool = pool;
    this.#context = {
      stream: job.stream,
      clock: job.clock,
      ...(clocks === null ? {} : { foreign: (name: string) => clocks.foreign(name) }),
      keepsText: (job.tokenizer ?? null) !== null,
      heldBytes: 0,
      onRefused: (answer) => this.#retry(answer),
      onSettled: (answer) => this.#onSettled(answer),
    };
  }

  get done(): number {
    return this.answers.length - this.#underWay.size;
  }

  /** `startUs`: when it begins; open-loop requests are due from then on. */
  async run(signal: AbortSignal, startUs: number = monotonicUs()): Promise<void> {
    if (this.#requests.length === 0) return;
    const idle = setInterval(() => this.#failOverdue(), checkEveryMs(this.#job));
    const onAbort = (): void => this.stop("interrupted");
    signal.addEventListener("abort", onAbort);
    try {
      await new Promise<void>((resolve) => {
        this.#done = resolve;
        this.#startUs = startUs;
        // The signal may have come in the warm-up: its event does not come again.
        if (this.#stopped) resolve();
        else if (signal.aborted) onAbort();
        else if (this.#open) this.#pump();
        else this.#startSlots();
      });
    } finally {
      signal.removeEventListener("abort", onAbort);
      clearInterval(idle);
      if (this.#timer !== null) clearTimeout(this.#timer);
    }
  }

  #startSlots(): void {
    const slots = Math.min(this.#job.slots ?? this.#job.streams, this.#starts.length);
    const { rampUs = 0, rampFromUs = 0 } = this.#job;
    let started = 0;
    const startSome = (): void => {
      this.#timer = null;
      const elapsedUs = monotonicUs() - this.#startUs;
      while (started < slots && rampFromUs + (started * rampUs) / slots <= elapsedUs && !this.#stopped) {
        started++;
        this.#takeUp();
      }
      if (started < slots && !this.#stopped) this.#timer = setTimeout(startSome, 1);
    };
    startSome();
  }

  /**
   * Open loop: sends what is due and sleeps until the next is. Timers tick at 1 ms, so a request leaves up to 1 ms late;
   * scheduleDelay says how late. Polling would cost the CPU time that reading answers needs.
   */
  #pump(): void {
    this.#timer = null;
    const nowUs = monotonicUs() - this.#startUs;
    while (this.#due < this.#starts.length && this.#nextStartUs <= nowUs) {
      const atUs = this.#nextStartUs;
      this.lagUs.push(nowUs - atUs);
      this.#sendOrHold(this.#starts[this.#due++]!, this.#startUs + atUs);
      if (this.#stopped) return;
    }
    if (this.#due === this.#starts.length) return;
    const waitMs = Math.min((this.#nextStartUs - (monotonicUs() - this.#startUs)) / 1000, longestSleepMs);
    this.#timer = setTimeout(() => this.#pump(), Math.max(1, Math.floor(waitMs)));
  }

  /** Open loop: when the next request that follows no other is due, microseconds after the start. */
  get #nextStartUs(): number {
    return this.#requests[this.#starts[this.#due]!]!.atUs!;
  }

  /** Open loop: a request is due. */
  #sendOrHold(index: number, intendedUs: number): void {
    // What waits goes first.
    if (this.#underWay.size < this.#job.streams && this.#held.length === 0) this.#sendOne(index, intendedUs);
    else {
      this.heldBack++;
      this.#held.push({ index, intendedUs });
    }
  }

  #sendOne(index: number, intendedUs: number): void {
    const planned = this.#requests[index]!;
    const answer = new Answer(this.#context, index, planned, intendedUs);
    this.answers.push(answer);
    this.#underWay.add(answer);
    this.#send(answer);
  }

  /** Sends the turns that follow a request, which has just ended, after their pauses; one that waits for others too with the last of them. */
  #follow(turns: readonly number[]): void {
    const endedUs = monotonicUs();
    for (const index of turns) {
      if (--this.#waitsFor[index]! > 0) continue;
      const { atUs = 0, delayUs = 0, turn } = this.#requests[index]!;
      if (turn !== undefined && this.#broken.has(turn.session)) {
        this.#leaveOut(index);
        continue;
      }
      this.#sendAt(index, Math.max(endedUs + delayUs, this.#startUs + atUs));
    }
  }

  /** A turn of a session that has failed: it counts as failed, and is not sent. */
  #leaveOut(index: number): void {
    const answer = new Answer(this.#context, index, this.#requests[index]!, monotonicUs());
    this.answers.push(answer);
    this.#underWay.add(answer);
    answer.onFail("session failed");
  }

  #sendAt(index: number, dueUs: number): void {
    const waitMs = (dueUs - monotonicUs()) / 1000;
    if (waitMs > 0) {
      const onTime = (): void => {
        this.#pauses.delete(timer);
        this.#sendAt(index, dueUs);
      };
      const timer = setTimeout(onTime, Math.min(Math.ceil(waitMs), longestSleepMs));
      this.#pauses.add(timer);
    } else if (this.#open) {
      this.lagUs.push(-waitMs * 1000);
      this.#sendOrHold(index, dueUs);
    } else this.#sendOne(index, dueUs);
  }

  #send(answer: Answer): void {
    const { planned } = answer;
    const { turn } = planned;
    answer.activeUs = monotonicUs();
    this.#pool.acquire({
      prefers: turn === undefined ? undefined : this.#homes.get(homeOf(turn)),
      onConnection: (connection) => {
        // Given up while it waited.
        if (answer.settled) return this.#pool.release(connection);
        const { endpoint } = this.#job;
        // Made before the clock starts: the time that it takes is none of the server's.
        const body = turn === undefined ? (planned.bytes ?? sentBody(planned)) : this.#conversations.bodyOf({ body: planned.body, turn });
        this.#connectionOf.set(answer, connection);
        if (turn !== undefined) this.#settleOn(connection, answer, turn);
        answer.address = this.#pool.addressOf(connection);
        answer.startUs = answer.activeUs = monotonicUs();
        if (answer.firstSentUs === 0) answer.firstSentUs = answer.startUs;
        answer.cancel = connection.send(
          { method: planned.method ?? endpoint.method, path: planned.path ?? endpoint.path, body, headers: planned.headers },
          answer,
        );
      },
      onFail: (reason, words) => answer.onFail(reason, words),
    });
  }

  /** The turn goes out on this connection: its bytes are counted, as long as no other is under way there. */
  #settleOn(connection: Connection, answer: Answer, turn: SessionTurn): void {
    this.#homes.set(homeOf(turn), connection);
    let there = this.#sharing.get(connection);
    if (there === undefined) this.#sharing.set(connection, (there = new Set()));
    there.add(answer);
    // A connection of its own costs the turn its handshake too.
    const isOwn = this.#job.reuse === "new";
    answer.bytesSent = isOwn ? 0 : connection.bytesWritten;
    answer.bytesReceived = isOwn ? 0 : connection.bytesRead;
    if (there.size > 1) for (const one of there) one.bytesSent = one.bytesReceived = -1;
  }

  /** The turn has ended: until now the two numbers were those of its connection when it began. */
  #countBytes(connection: Connection, answer: Answer): void {
    this.#leave(connection, answer);
    if (answer.bytesSent < 0) return;
    answer.bytesSent = connection.bytesWritten - answer.bytesSent;
    answer.bytesReceived = connection.bytesRead - answer.bytesReceived;
  }

  #leave(connection: Connection, answer: Answer): void {
    const there = this.#sharing.get(connection);
    there?.delete(answer);
    if (there?.size === 0) this.#sharing.delete(connection);
  }

  /** What a turn's answer means for its session. */
  #endTurn(answer: Answer, turn: SessionTurn): void {
    if (answer.error === null && answer.output !== null) this.#conversations.onAnswer(turn, answer.output.output());
    else {
      this.#broken.add(turn.session);
      this.#conversations.forget(turn);
    }
    if (turn.isLast) this.#homes.delete(homeOf(turn));
  }

  /** Sends a refused request again, where the job says so. */
  #retry(answer: Answer): boolean {
    const refusals = this.#refusals.get(answer) ?? 0;
    if (this.#job.atStreamLimit !== "race" || this.#stopped || refusals === mostRetries) return false;
    const connection = this.#connectionOf.get(answer);
    // A connection that closes refuses for that reason, not for a limit.
    if (connection === undefined || !connection.open) return false;
    this.refused++;
    this.#connectionOf.delete(answer);
    this.#leave(connection, answer);
    this.#pool.release(connection);
    answer.startUs = 0;
    answer.cancel = () => {};
    this.#refusals.set(answer, refusals + 1);
    const pauseMs = refusals === 0 ? 0 : firstPauseMs * 2 ** (refusals - 1);
    setTimeout(() => {
      if (!answer.settled) this.#send(answer);
    }, pauseMs);
    return true;
  }

  #onSettled(answer: Answer): void {
    this.#underWay.delete(answer);
    const connection = this.#connectionOf.get(answer);
    this.#connectionOf.delete(answer);
    this.#refusals.delete(answer);
    const { turn } = answer.planned;
    if (turn !== undefined) {
      if (connection !== undefined) this.#countBytes(connection, answer);
      this.#endTurn(answer, turn);
    }
    if (answer.error === "timeout" || answer.error === "request timeout") this.#hanging++;
    else if (answer.error !== "session failed") this.#answered++;
    if (this.#answered === 0 && this.#hanging >= Math.max(maxSilentRequests, this.#job.streams)) this.stop("the server does not answer");
    else if (this.#pool.dead) this.stop(this.#pool.invalid ?? `no connection: ${this.#pool.lastFailure}`);
    if (answer.error !== null && ++this.#failed > (this.#job.maxErrors ?? Infinity))
      this.stop(`more than ${this.#job.maxErrors} requests failed (--max-errors)`);
    if (connection !== undefined) this.#pool.release(connection);
    if (this.#stopped) return this.#finishIfDone();
    const isLast = --this.#leftOf[this.#roots[answer.index]!]! === 0;
    this.#follow(this.#followers.get(answer.index) ?? []);
    // In a closed loop a conversation keeps its slot to its end.
    if (!this.#open && isLast) this.#takeUp();
    const held = this.#underWay.size < this.#job.streams ? this.#held.shift() : undefined;
    if (held !== undefined) this.#sendOne(held.index, held.intendedUs);
    else this.#finishIfDone();
  }

  /** A slot of the closed loop sends the next request that follows no other, if there is one. */
  #takeUp(): void {
    if (this.#due < this.#starts.length) this.#sendOne(this.#starts[this.#due++]!, monotonicUs());
    else this.#finishIfDone();
  }

  /** Fails requests without a byte for too long, and those that take too long as a whole. */
  #failOverdue(): void {
    const nowUs = monotonicUs();
    const oldest = nowUs - this.#job.idleTimeoutMs * 1000;
    const firstAllowedUs = nowUs - this.#job.requestTimeoutMs * 1000;
    const underWay = [...this.#underWay];
    const anySent = underWay.some(({ startUs }) => startUs > 0);
    for (const answer of underWay) {
      const isLate = answer.firstSentUs > 0 && answer.firstSentUs < firstAllowedUs;
      if ((answer.activeUs > oldest && !isLate) || answer.settled) continue;
      // A pipelined request that waits behind another is not idle: the other is.
      if (answer.startUs === 0 && anySent && !isLate) continue;
      answer.giveUp(isLate ? "request timeout" : "timeout");
    }
  }

  /** Sends no further request, and gives up those under way. */
  stop(why: string): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.unsent = this.#requests.length - this.answers.length;
    this.unsentReason = why;
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const timer of this.#pauses) clearTimeout(timer);
    this.#pool.stop(this.#pool.dead ? this.#pool.lastFailure : "aborted");
    for (const answer of this.#underWay) {
      const { cancel } = answer;
      cancel();
      answer.onFail("aborted");
    }
    this.#finishIfDone();
  }

  #finishIfDone(): void {
    if (this.#underWay.size === 0 && (this.#stopped || this.answers.length === this.#requests.length)) this.#done();
  }
}

function homeOf({ session, agent }: SessionTurn): string {
  return `${session} ${agent}`;
}

/** An event loop's timer is up to this late: the rest of a wait goes by turns of the loop. */
const timerMs = 2;

/** Resolves at an instant of the monotonic clock, or with the signal. */
async function reached(atUs: number, signal: AbortSignal): Promise<void> {
  const waitMs = (atUs - monotonicUs()) / 1000 - timerMs;
  if (waitMs > 0) await sleep(waitMs, undefined, { signal }).catch(() => {});
  while (monotonicUs() < atUs && !signal.aborted) await nextTurn();
}

/** Rejects only for a defect of its own: what servers do wrong is in the report. */
export async function generate(job: LoadJob, { signal, onPhase, onProgress }: GenerateOptions): Promise<LoadReport> {
  const pool = new ConnectionPool({
    endpoint: job.endpoint,
    windows: job.windows ?? defaultWindows,
    connections: job.connections,
    reuse: job.reuse,
    streams: job.streams + (job.background?.requests.length ?? 0),
    pipelining: job.pipelining ?? 1,
    early: job.atStreamLimit === "race",
    connectTimeoutMs: Math.min(job.idleTimeoutMs, longestConnectMs),
  });
  const encoding = job.tokenizer === undefined || job.tokenizer === null ? null : await loadEncoding(job.tokenizer);
  const onAbort = (): void => pool.stop("aborted");
  signal.addEventListener("abort", onAbort);
  const clocks = job.clockPath === undefined ? null : new ServerClocks(job.endpoint, job.clockPath, job.clock);
  try {
    await pool.prepare();
    const { hosts = [] } = job.endpoint;
    // Of a long list this process asks those that its connections lead to.
    if (!pool.dead) await clocks?.begin(job.reuse === "keep" && hosts.length > 0 ? [...pool.connectionsAt.keys()] : [...new Set(hosts)]);
    const isOpen = job.mode === "open";
    const warmup = new Sender(job, job.warmup, isOpen && job.warmup.every(({ atUs }) => atUs !== undefined), pool);
    if (!pool.dead) await warmup.run(signal);
    // Connections that are opened during requests count in the part that opens them.
    const connectUs = pool.connectUs;
    if (job.reuse !== "keep") pool.connectUs = [];
    const openedBefore = pool.opened;
    const background = job.background === undefined ? null : new BackgroundStreams(job, job.background, pool);
    if (!pool.dead && warmup.unsentReason === null) await background?.start(signal);
    const bytesBefore = pool.bytes;
    const wireBefore = pool.wire;
    const sender = new Sender(job, job.requests, isOpen, pool, clocks);
    if (warmup.unsentReason !== null) sender.stop(`${warmup.unsentReason} (in the warm-up)`);
    const beginUs = (await onPhase("begin")) ?? null;
    if (beginUs !== null) await reached(beginUs, signal);
    const delay = monitorEventLoopDelay({ resolution: delayResolutionMs });
    delay.enable();
    const progress = setInterval(() => onProgress(sender.done), progressEveryMs);
    const cpuBefore = process.cpuUsage();
    const nowUs = monotonicUs();
    const startedUs = beginUs ?? nowUs;
    await sender.run(signal, startedUs);
    const endedUs = monotonicUs();
    const cpu = process.cpuUsage(cpuBefore);
    clearInterval(progress);
    delay.disable();
    await onPhase("end");
    onProgress(sender.done);
    const delayAbove = (percentile: number): number => Math.max(0, delay.percentile(percentile) / 1000 - delayResolutionMs * 1000);
    background?.stop();
    clocks?.end();
    const settledClocks = clocks?.settle(startedUs, endedUs) ?? null;
    const bytesAfter = pool.bytes;
    const wireAfter = pool.wire;
    pool.close();
    const facts: RunFacts = {
      answers: sender.answers,
      warmUpAnswers: warmup.answers,
      unsent: sender.unsent,
      unsentReason: sender.unsentReason,
      lagUs: sender.lagUs,
      heldBack: sender.heldBack,
      startedUs,
      endedUs,
      lateUs: beginUs === null ? null : Math.max(0, nowUs - beginUs),
      cpuUs: cpu.user + cpu.system,
      eventLoopDelayP99Us: delayAbove(99),
      // In a short run the p99 is a single hiccup: at least ten turns must be this late.
      eventLoopDelayUs: delayAbove(Math.max(1, Math.min(99, 100 * (1 - 10 / Math.max(1, delay.count))))),
      bytesReceived: bytesAfter.read - bytesBefore.read,
      bytesSent: bytesAfter.written - bytesBefore.written,
      wire: wireAfter === null || wireBefore === null ? wireAfter : combined(wireAfter, wireBefore, -1),
      refused: job.atStreamLimit === "race" ? sender.refused : null,
      backgroundFailures: background?.failures ?? [],
      connectionsOpened: job.reuse === "keep" ? pool.opened : pool.opened - openedBefore,
      connectionsLost: pool.lost,
      connectionsAt: pool.connectionsAt,
      connectUs: job.reuse === "keep" ? connectUs : pool.connectUs,
      negotiated: [...pool.negotiated],
      cipher: pool.cipher,
      http2: pool.http2,
      clocks: settledClocks,
      interrupted: signal.aborted,
      protocolInvalid: pool.invalid,
    };
    // After the measured part: it takes the CPU that answers are read with.
    if (encoding !== null) for (const answer of sender.answers) answer.tokenized = encoding.count(answer.text);
    return sumUp(job, facts);
  } finally {
    signal.removeEventListener("abort", onAbort);
    clocks?.end();
    pool.close();
  }
}
