/**
 * Continuous batching, as vLLM's scheduler does it (vllm/v1/core/sched/scheduler.py): in each step every running
 * sequence decodes one token, prompts are read in chunks with what is left of the step's token budget, and what waits joins
 * in order of arrival when there is a place and memory. All sequences of a step get their token at its end.
 *
 * Steps stand on absolute times: a step begins where the one before was planned to end, however late the call comes. The
 * scheduler owns no timer; its driver calls `runUntil` when `nextUs` has come.
 */
import { BlockPool, type Holding } from "./blocks.ts";
import type { Distribution } from "../random/distribution.ts";
import type { Meter } from "./meter.ts";
import { purpose, Random, type Seed } from "../random/random.ts";
import type { Schedule, ScheduleObserver } from "../seams.ts";

/** All times in microseconds. */
export interface BatchSettings {
  /** Sequences in one step. */
  readonly maxNumSeqs: number;
  /** Tokens in one step, of prompts and of decodes. */
  readonly maxNumBatchedTokens: number;
  /** Sequences that may wait. */
  readonly maxQueue: number;
  /** From a request's arrival until it may be part of a step; steps of others go on meanwhile. */
  readonly requestOverheadUs: number;
  /** More of that for each token of its prompt. */
  readonly requestOverheadPerTokenUs: number;
  /** What a step takes at least. */
  readonly stepTime: Distribution;
  /** More for each sequence that decodes. */
  readonly stepTimePerSeqUs: number;
  /** More for each token of a prompt that is read; those found in the cache are not. */
  readonly prefillTimePerTokenUs: number;
  /** Tokens in one block. */
  readonly blockSize: number;
  readonly kvBlocks: number;
  readonly prefixCaching: boolean;
}

/** One choice of an answer, as the scheduler sees it. */
export interface SequenceAsk {
  readonly promptTokens: number;
  /** Hashes of the prompt's full blocks, each over all up to its end. */
  readonly chain: readonly number[];
  /** Output tokens, at least 1. */
  readonly tokens: number;
  /** Sequences of one prompt have one number: it counts once in `cachedTokens`. */
  readonly prompt: number;
}

/** Beginnings and ends of steps that are caught up with in one go; then the event loop has a turn. */
const stepsPerRun = 512;
/** No step takes less: steps that take no time would never let go of the event loop. */
export const leastStepUs = 10;

class Sequence implements Holding {
  readonly group: BatchedAnswer;
  readonly ask: SequenceAsk;
  /** From when on it may be scheduled. */
  readonly readyUs: number;
  blocks = 0;
  readonly shared: number[] = [];
  /** Tokens of prompt and answer that are there, and how many of them have been through the model. */
  known: number;
  computed = 0;
  generated = 0;
  /** Tokens in the step under way; 0: it has no part in it. */
  scheduled = 0;
  /** Blocks of the prompt that are in the cache by its doing or were found there. */
  published = 0;
  scheduledUs = -1;
  firstTokenUs = 0;
  isDone = false;
  /** Where it waits; null: it does not. */
  queue: Queue | null = null;
  previous: Sequence | null = null;
  next: Sequence | null = null;

  constructor(group: BatchedAnswer, ask: SequenceAsk, readyUs: number) {
    this.group = group;
    this.ask = ask;
    this.readyUs = readyUs;
    this.known = ask.promptTokens;
  }
}

/** Sequences in the order in which they are ready. */
class Queue {
  length = 0;
  first: Sequence | null = null;
  #last: Sequence | null = null;

  /** Behind all that are ready no later. */
  push(sequence: Sequence): void {
    let before = this.#last;
    while (before !== null && before.readyUs > sequence.readyUs) before = before.previous;
    const after = before === null ? this.first : before.next;
    sequence.queue = this;
    sequence.previous = before;
    sequence.next = after;
    if (before === null) this.first = sequence;
    else before.next = sequence;
    if (after === null) this.#last = sequence;
    else after.previous = sequence;
    this.length++;
  }

  unshift(sequence: Sequence): void {
    sequence.queue = this;
    sequence.previous = null;
    sequence.next = this.first;
    if (this.first === null) this.#last = sequence;
    else this.first.previous = sequence;
    this.first = sequence;
    this.length++;
  }

  remove(sequence: Sequence): void {
    const { previous, next } = sequence;
    if (previous === null) this.first = next;
    else previous.next = next;
    if (next === null) this.#last = previous;
    else next.previous = previous;
    sequence.queue = null;
    sequence.previous = null;
    sequence.next = null;
    this.length--;
  }
}

export class BatchScheduler {
  readonly settings: BatchSettings;
  /** When it wants to be called next; Infinity: nothing to do. */
  nextUs: number = Infinity;
  readonly #meter: Meter;
  readonly #random: Random;
  readonly #pool: BlockPool;
  /** Mean of the time that a step takes at least. */
  readonly #typicalStepUs: number;
  /** Requests that are not ready for a step yet: overhead is no waiting. */
  readonly #arriving = new Queue();
  readonly #waiting = new Queue();
  /** In the order in which they came in; the last is the first to lose its place. */
  readonly #running: Sequence[] = [];
  /** End of the step under way; Infinity: none is. */
  #stepEndUs = Infinity;
  /** End of the last step. */
  #freeUs = 0;
  /** Answers with news that their observers have not heard. */
  #news: BatchedAnswer[] = [];
  /** Mean time of a finished sequence in the batch, microseconds; forgets half of what it knew after about 14. */
  #serviceUs = 0;

  constructor(settings: BatchSettings, seed: Seed, meter: Meter) {
    this.settings = settings;
    this.#meter = meter;
    this.#random = new Random(seed, purpose.step);
    this.#pool = new BlockPool(settings.kvBlocks);
    this.#typicalStepUs = settings.stepTime.constant ?? meanOf(settings.stepTime, new Random(seed, purpose.step));
  }

  get running(): number {
    return this.#running.length;
  }

  /** Sequences that are ready for a step and have no place in it. */
  waiting(nowUs: number): number {
    this.#welcome(nowUs);
    return this.#waiting.length;
  }

  /** Share of the memory that sequences hold, 0 to 1. */
  get cacheUsage(): number {
    return this.#pool.used / this.#pool.capacity;
  }

  /**
   * Whether so many sequences of one prompt may come: places that the next step has free count. For those that are on their
   * way a place is kept, so that a burst is bounded too; and by the time that these are ready, some of those ahead have left.
   */
  hasRoom(sequences: number, promptTokens: number, nowUs: number): boolean {
    return this.#missing(sequences, promptTokens, nowUs) <= 0;
  }

  /** How many sequences have to leave before there is room. */
  #missing(sequences: number, promptTokens: number, nowUs: number): number {
    const { maxQueue, maxNumSeqs } = this.settings;
    this.#welcome(nowUs);
    const places = maxNumSeqs + maxQueue - sequences;
    const present = this.#running.length + this.#waiting.length;
    const all = present + this.#arriving.length;
    if (all <= places || this.#serviceUs === 0) return all - places;
    return Math.round(this.#aheadAt(nowUs, nowUs + this.#overheadUs(promptTokens), present)) - places;
  }

  /**
   * How many of those that are here or on their way are here at a later time, as it is expected: those here leave at the pace
   * of finished sequences, and each that is on its way adds itself when it is ready, since none leaves before. Those that are
   * ready later still are counted whole.
   */
  #aheadAt(nowUs: number, atUs: number, present: number): number {
    const { maxNumSeqs } = this.settings;
    let here = present;
    let sinceUs = nowUs;
    let later = this.#arriving.length;
    const leaveUntil = (us: number): void => {
      here = Math.max(0, here - (Math.min(here, maxNumSeqs) * (us - sinceUs)) / this.#serviceUs);
      sinceUs = us;
    };
    for (let next = this.#arriving.first; next !== null && next.readyUs <= atUs; next = next.next) {
      leaveUntil(next.readyUs);
      here++;
      later--;
    }
    leaveUntil(atUs);
    return here + later;
  }

  /** Most tokens of a prompt and its answer that the memory can hold. */
  get mostTokens(): number {
    return this.settings.kvBlocks * this.settings.blockSize;
  }

  /**
   * When there is room for a request that there is none for now: an estimate, microseconds from now. So many sequences have to
   * leave as are too many; each of the batch leaves when it has made the tokens that it was asked for, in steps like those of
   * a batch of as many as there are now. Beyond those in the batch, further ones leave at the pace of a full batch.
   */
  untilRoomUs(sequences: number, promptTokens: number, nowUs: number): number {
    const missing = this.#missing(sequences, promptTokens, nowUs);
    const { stepTimePerSeqUs, prefillTimePerTokenUs, maxNumSeqs } = this.settings;
    const running = this.#running.filter(({ isDone }) => !isDone);
    const stepUs = this.#stepUs(1, 0) + running.length * stepTimePerSeqUs;
    const underWayUs = this.#stepEndUs === Infinity ? 0 : Math.max(0, this.#stepEndUs - nowUs);
    const lefts = Float64Array.from(running, ({ ask, generated, known, computed, scheduled }) => {
      const prefillLeft = Math.max(0, known - computed - scheduled - 1);
      return underWayUs + (ask.tokens - generated - (scheduled > 0 ? 1 : 0)) * stepUs + prefillLeft * prefillTimePerTokenUs;
    }).sort();
    if (missing <= lefts.length) return Math.max(stepUs, lefts[Math.max(0, missing - 1)] ?? 0);
    const further = Math.ceil((missing - lefts.length) / maxNumSeqs);
    return Math.max(stepUs, lefts.at(-1) ?? 0) + further * Math.max(stepUs, this.#serviceUs);
  }

  /** Time to the first token of a request that meets an idle scheduler and an empty cache. */
  idleFirstTokenUs(promptTokens: number): number {
    return this.#overheadUs(promptTokens) + this.#stepUs(Math.ceil(promptTokens / this.settings.maxNumBatchedTokens), promptTokens);
  }

  #overheadUs(promptTokens: number): number {
    return this.settings.requestOverheadUs + promptTokens * this.settings.requestOverheadPerTokenUs;
  }

  #stepUs(steps: number, promptTokens: number): number {
    return steps * Math.max(leastStepUs, this.#typicalStepUs) + promptTokens * this.settings.prefillTimePerTokenUs;
  }

  /** An answer of one or more sequences. It joins the queue when its schedule begins. `startUs`: its request's arrival. */
  answer(sequences: readonly SequenceAsk[], startUs: number, streamed: boolean): BatchedAnswer {
    return new BatchedAnswer(this, sequences, startUs, streamed);
  }

  enqueue(group: BatchedAnswer, asks: readonly SequenceAsk[], startUs: number): Sequence[] {
    const sequences = asks.map((ask) => new Sequence(group, ask, startUs + this.#overheadUs(ask.promptTokens)));
    for (const sequence of sequences) this.#arriving.push(sequence);
    this.#settleNext();
    return sequences;
  }

  /** Those whose overhead is over wait from now on, in the order in which they were ready. */
  #welcome(nowUs: number): void {
    for (let first = this.#arriving.first; first !== null && first.readyUs <= nowUs; first = this.#arriving.first) {
      this.#arriving.remove(first);
      this.#waiting.push(first);
    }
  }

  /** Gives up what has not ended: a place in the batch is free from the next step on. */
  abandon(sequences: readonly Sequence[]): void {
    for (const sequence of sequences) {
      if (sequence.isDone) continue;
      sequence.isDone = true;
      sequence.queue?.remove(sequence);
    }
    this.#settleNext();
  }

  /** Does what is due by now: ends steps and begins others, then tells those that have news. */
  runUntil(nowUs: number): void {
    for (let steps = 0; steps < stepsPerRun; steps++) {
      if (this.#stepEndUs === Infinity) {
        const startUs = this.#startUs();
        if (startUs > nowUs) break;
        this.#begin(startUs);
      } else if (this.#stepEndUs <= nowUs) {
        this.#end();
      } else break;
    }
    this.#settleNext();
    const news = this.#news;
    this.#news = [];
    for (const group of news) group.tell();
  }

  /** When a step can begin; Infinity: there is nothing to do. */
  #startUs(): number {
    if (this.#running.length > 0) return this.#freeUs;
    const readyUs = Math.min(this.#waiting.first?.readyUs ?? Infinity, this.#arriving.first?.readyUs ?? Infinity);
    return Math.max(this.#freeUs, readyUs);
  }

  #settleNext(): void {
    this.nextUs = this.#stepEndUs === Infinity ? this.#startUs() : this.#stepEndUs;
  }

  /** Hot path: decides who has part in the next step, and how long it takes. */
  #begin(startUs: number): void {
    const { settings } = this;
    this.#welcome(startUs);
    this.#sweep();
    let budget = settings.maxNumBatchedTokens;
    let decodes = 0;
    let prefill = 0;
    let preempted = false;
    const running = this.#running;
    for (let i = 0; i < running.length && budget > 0; i++) {
      const sequence = running[i]!;
      const tokens = Math.min(sequence.known - sequence.computed, budget);
      while (running.length > i && !this.#pool.grow(sequence, this.#blocksOf(sequence.computed + tokens))) {
        this.#preempt(running.pop()!);
        preempted = true;
      }
      // It was the last itself, and has lost its place.
      if (running.length === i) break;
      sequence.scheduled = tokens;
      budget -= tokens;
      if (sequence.generated > 0 && tokens === 1) decodes++;
      else prefill += tokens;
      if (sequence.published < sequence.ask.chain.length) this.#publish(sequence);
    }
    // Who has just lost its place must not be overtaken.
    const places = preempted ? 0 : settings.maxNumSeqs;
    while (budget > 0 && running.length < places) {
      const sequence = this.#waiting.first;
      if (sequence === null || sequence.readyUs > startUs) break;
      const tokens = this.#admit(sequence, budget);
      if (tokens === 0) break;
      this.#waiting.remove(sequence);
      running.push(sequence);
      if (sequence.scheduledUs < 0) this.#countAdmitted(sequence, startUs);
      sequence.scheduled = tokens;
      budget -= tokens;
      prefill += tokens;
      this.#publish(sequence);
    }
    if (running.length === 0) {
      // All that ran has been given up.
      this.#freeUs = Math.max(this.#freeUs, startUs);
      return;
    }
    this.#meter.iterationTokens.record(settings.maxNumBatchedTokens - budget);
    const baseUs = settings.stepTime.constant ?? settings.stepTime.sample(this.#random);
    const stepUs = baseUs + decodes * settings.stepTimePerSeqUs + prefill * settings.prefillTimePerTokenUs;
    this.#stepEndUs = startUs + Math.max(leastStepUs, stepUs);
  }

  /** Hot path: every sequence that had part gets its token, if all before it has been through the model. */
  #end(): void {
    const endUs = this.#stepEndUs;
    this.#stepEndUs = Infinity;
    this.#freeUs = endUs;
    let ended = false;
    for (const sequence of this.#running) {
      if (sequence.scheduled === 0) continue;
      sequence.computed += sequence.scheduled;
      sequence.scheduled = 0;
      if (sequence.isDone) {
        ended = true;
        continue;
      }
      if (sequence.computed < sequence.known) continue;
      sequence.known++;
      if (++sequence.generated === 1) sequence.firstTokenUs = endUs;
      if (sequence.generated === sequence.ask.tokens) {
        sequence.isDone = true;
        ended = true;
        this.#countEnded(sequence, endUs);
      }
      const { group } = sequence;
      if (group.advance(sequence, endUs) && !group.hasNews) {
        group.hasNews = true;
        this.#news.push(group);
      }
    }
    if (ended) this.#sweep();
  }

  /** Takes out what has ended or was given up. */
  #sweep(): void {
    const running = this.#running;
    let kept = 0;
    for (const sequence of running) {
      if (sequence.isDone) this.#pool.release(sequence);
      else running[kept++] = sequence;
    }
    running.length = kept;
  }

  #blocksOf(tokens: number): number {
    return Math.ceil(tokens / this.settings.blockSize);
  }

  /** Gives a waiting sequence its memory; returns its tokens in this step, 0: it goes on waiting. */
  #admit(sequence: Sequence, budget: number): number {
    const { blockSize, prefixCaching } = this.settings;
    const { chain } = sequence.ask;
    // The last token has to go through the model in any case: the next one follows from it.
    const hits = prefixCaching ? this.#pool.match(chain, Math.floor((sequence.known - 1) / blockSize)) : 0;
    const found = hits * blockSize;
    const tokens = Math.min(sequence.known - found, budget);
    if (!this.#pool.begin(sequence, chain, hits, this.#blocksOf(found + tokens))) return 0;
    sequence.computed = found;
    sequence.published = hits;
    return tokens;
  }

  /** Blocks that this step fills with a prompt, or with an answer that a later prompt repeats, are found by others from now on. */
  #publish(sequence: Sequence): void {
    const { blockSize, prefixCaching } = this.settings;
    if (!prefixCaching) return;
    const { chain } = sequence.ask;
    const full = Math.min(chain.length, Math.floor((sequence.computed + sequence.scheduled) / blockSize));
    while (sequence.published < full) this.#pool.publish(sequence, chain[sequence.published++]!);
  }

  /** Back to the head of the queue; all it had is computed anew, as vLLM does it. */
  #preempt(sequence: Sequence): void {
    this.#meter.preemptions++;
    this.#pool.release(sequence);
    sequence.computed = 0;
    sequence.scheduled = 0;
    sequence.published = 0;
    if (!sequence.isDone) this.#waiting.unshift(sequence);
  }

  #countAdmitted(sequence: Sequence, startUs: number): void {
    const meter = this.#meter;
    sequence.scheduledUs = startUs;
    sequence.group.countCached(sequence.ask.prompt, sequence.computed);
    if (!this.settings.prefixCaching) return;
    meter.prefixCacheQueries += sequence.ask.promptTokens;
    meter.prefixCacheHits += sequence.computed;
  }

  #countEnded({ readyUs, scheduledUs, firstTokenUs }: Sequence, endUs: number): void {
    const meter = this.#meter;
    const serviceUs = endUs - scheduledUs;
    meter.queueTime.record(scheduledUs - readyUs);
    meter.prefillTime.record(firstTokenUs - scheduledUs);
    meter.decodeTime.record(endUs - firstTokenUs);
    meter.inferenceTime.record(serviceUs);
    this.#serviceUs += (serviceUs - this.#serviceUs) / (this.#serviceUs === 0 ? 1 : 20);
  }
}

function meanOf(distribution: Distribution, random: Random): number {
  const samples = 256;
  let sum = 0;
  for (let i = 0; i < samples; i++) sum += distribution.sample(random);
  return sum / samples;
}

/** When the tokens of an answer are there: known as far as the scheduler has come. */
export class BatchedAnswer implements Schedule {
  readonly isLive = true;
  readonly startUs: number;
  /** Tokens of its prompts that were found in the cache, as far as they have been looked up. */
  cachedTokens = 0;
  hasNews = false;
  readonly #scheduler: BatchScheduler;
  readonly #asks: readonly SequenceAsk[];
  readonly #streamed: boolean;
  #sequences: Sequence[] = [];
  #observer: ScheduleObserver | null = null;
  /** When each token was there, from `#from` on; those before have been asked for. */
  #times: number[] = [];
  #head = 0;
  #from = 0;
  /** Tokens that every sequence has that is long enough. */
  #tokens = 0;
  /** Sequences with more tokens to come. */
  #open: number;
  /** Prompts whose hits were counted. */
  #countedPrompts: Set<number> | null = null;

  constructor(scheduler: BatchScheduler, asks: readonly SequenceAsk[], startUs: number, streamed: boolean) {
    this.#scheduler = scheduler;
    this.#asks = asks;
    this.#open = asks.length;
    this.#streamed = streamed;
    this.startUs = startUs;
  }

  begin(observer: ScheduleObserver): void {
    this.#observer = observer;
    this.#sequences = this.#scheduler.enqueue(this, this.#asks, this.startUs);
  }

  end(isGivenUp: boolean): void {
    this.#observer = null;
    // A last event goes out with the first of its tokens: the others are still to be made.
    if (isGivenUp && this.#open > 0) this.#scheduler.abandon(this.#sequences);
  }

  /** In one piece there is one index, due when all tokens are there. */
  nextDueUs(index: number): number {
    while (this.#from < index && this.#head < this.#times.length) {
      this.#from++;
      if (++this.#head === this.#times.length) this.#times.length = this.#head = 0;
    }
    const time = this.#from === index ? this.#times[this.#head] : undefined;
    return time === undefined ? Infinity : time - this.startUs;
  }

  tell(): void {
    this.hasNews = false;
    this.#observer?.onDue();
  }

  /** Hot path: a sequence has one token more. true: there is something to tell. */
  advance(sequence: Sequence, endUs: number): boolean {
    if (sequence.isDone) this.#open--;
    if (!this.#streamed) {
      if (this.#open > 0) return false;
      this.#times.push(endUs);
      return true;
    }
    const tokens = this.#asks.length === 1 ? sequence.generated : this.#leastTokens();
    if (tokens === this.#tokens) return false;
    while (this.#tokens < tokens) {
      this.#tokens++;
      this.#times.push(endUs);
    }
    return true;
  }

  /** Sequences of an answer advance side by side: a frame holds a token of each that has one left. */
  #leastTokens(): number {
    let least = Infinity;
    let most = 0;
    for (const { generated, isDone } of this.#sequences) {
      if (isDone) most = Math.max(most, generated);
      else least = Math.min(least, generated);
    }
    return least === Infinity ? most : least;
  }

  countCached(prompt: number, tokens: number): void {
    if (this.#asks.length > 1) {
      this.#countedPrompts ??= new Set();
      if (this.#countedPrompts.has(prompt)) return;
      this.#countedPrompts.add(prompt);
    }
    this.cachedTokens += tokens;
  }
}
