/**
 * Sends every frame when it is due: one timer wheel for all streams of a process. Deadlines are absolute (start + TTFT + the sum
 * of the gaps), so lateness never adds up: a token that leaves late does not move the ones after it.
 *
 * The wheel is an array of slots, each a linked list of responses whose next deadline falls into it. A *turn* is one wake-up: it
 * goes through the slots that have passed, writes what is due, and links each response into the slot of its next deadline.
 */
import type { Meter } from "./meter.ts";
import type { Clock, FrameSource, ResponsePlan, ResponseSink, Schedule, ScheduleObserver, Scheduler, SinkObserver } from "../seams.ts";

/** Width of a slot. A turn looks at every stream of the slots that it passes, due or not. */
const wideSlotUs = 512;
const narrowSlotUs = 32;
const slotCount = 4096;

/** Hot path. The slot of an absolute number: its remainder, by a power of two exactly, in a tenth of the time of `%` on numbers of this size. */
function slotOf(position: number): number {
  return position - Math.floor(position / slotCount) * slotCount;
}

/** How far ahead the wheel looks for its next wake-up. With nothing due until then it wakes there and looks again. */
const lookAheadSlots = 128;
/** A turn that takes more than this share of its interval is long. A larger share makes tokens later, a smaller one turns shorter. */
const longTurn = 0.3;
/**
 * Where some responses are due in the shortest interval between turns but fewer than `most`, the wake-ups cost as much as what they
 * send: then turns begin `intervals` of them apart, unless a response would have two frames due in one turn.
 */
const sparse = { least: 2, most: 8, intervals: 2 };
/** Frames of one response that are due together leave in one write of about this many bytes. */
const batchBytes = 49_152;
/** The most frames, due at the same time, that are asked for in one piece. */
const joinedFrames = 128;
/** Where frames that are due together are gathered. One buffer for all responses: sinks do not keep what they are given. */
let batch = new Uint8Array(65_536);

/** Hot path. Adds a frame to the batch, and returns the bytes in it. */
function gather(frame: Uint8Array, filled: number): number {
  const end = filled + frame.length;
  if (end > batch.length) {
    const larger = new Uint8Array(end * 2);
    larger.set(batch.subarray(0, filled));
    batch = larger;
  }
  batch.set(frame, filled);
  return end;
}

/** Frames that were written in this turn of the event loop and leave at its end. */
class Unsent {
  /** Entries in use; the lists keep their size. */
  #length = 0;
  #filed = 0;
  readonly #frames: (FrameSource | null)[] = [];
  readonly #copies: (Uint8Array | null)[] = [];
  /** For each entry of the meter, when its frame was due and how many frames that were. */
  readonly #dueUs: number[] = [];
  readonly #times: number[] = [];

  /** Hot path. Keeps what the meter is to count of frames due together. */
  addDue(dueUs: number, times: number): void {
    this.#dueUs[this.#filed] = dueUs;
    this.#times[this.#filed++] = times;
  }

  /** Hot path. Keeps a copy whose stamps can be changed. */
  addCopy(frames: FrameSource, copy: Uint8Array): void {
    this.#frames[this.#length] = frames;
    this.#copies[this.#length++] = copy;
  }

  /** Hot path. All of it leaves at this time. */
  leave(sentUs: number, meter: Meter): void {
    for (let index = 0; index < this.#filed; index++) meter.pacingError.record(sentUs - this.#dueUs[index]!, this.#times[index]);
    this.#filed = 0;
    for (let index = 0; index < this.#length; index++) {
      this.#frames[index]!.restamp!(this.#copies[index]!, sentUs);
      this.#frames[index] = null;
      this.#copies[index] = null;
    }
    this.#length = 0;
  }
}

/**
 * A response under way: its place in the wheel and in its plan. What each token touches comes first and fills few cache lines: where
 * a thousand streams are under way, none of it is in the cache when its turn comes. Numbers begin as numbers: V8 would make an object
 * for each value of a field that began as undefined.
 */
class Emission implements SinkObserver, ScheduleObserver {
  /** Its neighbours in its slot of the wheel, and the slot; -1: it is in none. */
  next: Emission | null = null;
  previous: Emission | null = null;
  slot = -1;
  /** The next frame to write, and when it is due. Infinity: its schedule does not know yet. */
  index = 0;
  dueUs = 0;
  lastSentUs = 0;
  /** The times of a schedule with equal gaps: frame `index` is due at `baseUs + index * gapUs`. Gap -1: the schedule is asked. */
  gapUs = -1;
  baseUs = 0;
  /** Output tokens given to the sink. */
  tokensSent = 0;
  /** true: the sink's reader does not keep up. Nothing is written until `onDrain`. */
  blocked = false;
  /** Whether it ever was. */
  wasBlocked = false;
  readonly joins: boolean;
  /** Whether its frames leave with the turn. */
  readonly leavesLater: boolean;
  readonly isOneBody: boolean;
  readonly frames: FrameSource;
  readonly sink: ResponseSink;
  readonly pacer: Pacer;
  readonly plan: ResponsePlan;
  readonly schedule: Schedule;
  firstSentUs = 0;
  /** While it is blocked: when the wheel looks at it, at the end of the stall time-out. */
  stallUs = 0;
  /** The last wait for its reader: from, to. Frames that fell due in between are late because of the reader. */
  blockedUs = 0;
  drainedUs = 0;

  constructor(pacer: Pacer, plan: ResponsePlan, sink: ResponseSink) {
    const { frames, schedule, startUs } = plan;
    this.pacer = pacer;
    this.plan = plan;
    this.frames = frames;
    this.schedule = schedule;
    this.sink = sink;
    this.isOneBody = frames.isOneBody === true;
    this.joins = frames.joins === true;
    this.leavesLater = sink.takeUnsent !== undefined;
    this.gapUs = schedule.gapUs ?? -1;
    schedule.begin?.(this);
    this.dueUs = startUs + schedule.nextDueUs(0);
    this.baseUs = this.dueUs;
  }

  /** When the wheel looks at it. */
  get alarmUs(): number {
    return this.blocked ? this.stallUs : this.dueUs;
  }

  onDrain(): void {
    this.pacer.resume(this);
  }

  onAbort(): void {
    this.pacer.abort(this);
  }

  onDue(): void {
    this.pacer.wake(this);
  }
}

export interface PacerOptions {
  /** A stream whose reader takes nothing for this long is cut, microseconds. */
  readonly stallTimeoutUs: number;
  /** Called with an error that a plan threw, after its stream has been cut. Default: the error is dropped. */
  readonly onFault?: (error: unknown) => void;
  /**
   * Turns begin at least this far apart, microseconds, so that tokens of one connection that are due together share a system
   * call; where few responses are due, twice as far. After a long turn the next may follow at once. 0 keeps each deadline as exactly as the clock can. Default: 1000.
   */
  readonly turnUs?: number;
  /** Makes the times of schedules that are not known ahead. */
  readonly scheduler?: Scheduler | null;
}

export class Pacer {
  /** Responses under way. */
  running = 0;
  #clock: Clock;
  #meter: Meter;
  #stallTimeoutUs: number;
  #onFault: (error: unknown) => void;
  #turnUs: number;
  #scheduler: Scheduler | null;
  #slotUs: number;
  #heads: (Emission | null)[] = Array.from({ length: slotCount }, () => null);
  #tails: (Emission | null)[] = Array.from({ length: slotCount }, () => null);
  #sizes = new Uint32Array(slotCount);
  /** Absolute number (time / width of a slot) of the last slot that was looked at. */
  #position: number;
  /** The first slot that a response may be put into. */
  #earliest: number;
  #inTurn = false;
  /** When the last turn began. Before `#nextTurnUs` no other does. */
  #lastTurnUs = 0;
  #nextTurnUs = 0;
  /** true: a response has more frames due and continues in the next turn. */
  #again = false;
  /** When the clock wakes the pacer; Infinity: never. */
  #wakeUs = Infinity;
  readonly #unsent = new Unsent();
  #leaving = false;
  /** Runs as a microtask after all other JavaScript of this turn of the event loop, right before the engine sends. */
  readonly #leave = (): void => {
    this.#leaving = false;
    this.#unsent.leave(this.#clock.nowUs(), this.#meter);
  };

  constructor(clock: Clock, meter: Meter, options: PacerOptions) {
    this.#clock = clock;
    this.#meter = meter;
    this.#stallTimeoutUs = options.stallTimeoutUs;
    this.#onFault = options.onFault ?? (() => {});
    this.#turnUs = options.turnUs ?? 1000;
    this.#scheduler = options.scheduler ?? null;
    // Where turns come as often as tokens, each must look at few streams that are not due yet.
    this.#slotUs = this.#turnUs < wideSlotUs ? narrowSlotUs : wideSlotUs;
    this.#position = Math.floor(clock.nowUs() / this.#slotUs);
    this.#earliest = this.#position;
    clock.onWake = () => this.#turn();
  }

  /**
   * Writes the plan's frames to the sink, each when it is due, and becomes the sink's observer. Throws what the plan's first
   * frame throws; nothing is written then. A later error of a plan cuts its own stream only.
   */
  send(plan: ResponsePlan, sink: ResponseSink): void {
    if (sink.closed) return;
    if (plan.frames.length === 1 && !plan.head.streamed && plan.schedule.begin === undefined) {
      const nowUs = this.#clock.nowUs();
      const dueUs = plan.startUs + plan.schedule.nextDueUs(0);
      if (dueUs <= nowUs) {
        this.#sendWhole(plan, sink, dueUs, nowUs);
        return;
      }
    }
    // While nothing ran, no turn moved the wheel on.
    if (this.running === 0) {
      this.#position = Math.floor(this.#clock.nowUs() / this.#slotUs);
      this.#earliest = this.#position;
    }
    const emission = new Emission(this, plan, sink);
    sink.observer = emission;
    sink.start(plan.head);
    this.running++;
    this.#meter.countStatus(plan.head.status);
    this.#meter.promptTokens += plan.promptTokens;
    try {
      this.#pump(emission);
    } catch (error) {
      if (sink.observer === emission) this.#remove(emission);
      throw error;
    }
    this.#armForScheduler();
  }

  /** A live schedule has a new answer: the next frame may be due now, or at another time than before. */
  wake(emission: Emission): void {
    // A blocked response asks its schedule again when its reader goes on.
    if (emission.blocked || emission.sink.closed) return;
    this.#unlink(emission);
    this.#ask(emission);
    this.#pumpSafely(emission);
  }

  #ask(emission: Emission): void {
    emission.dueUs = emission.plan.startUs + emission.schedule.nextDueUs(emission.index);
  }

  #armForScheduler(): void {
    if (this.#scheduler !== null && !this.#inTurn && this.#scheduler.nextUs < this.#wakeUs) this.#arm();
  }

  /** Hot path. An answer in one piece that is due at once: it needs no place in the wheel. */
  #sendWhole(plan: ResponsePlan, sink: ResponseSink, dueUs: number, nowUs: number): void {
    const meter = this.#meter;
    const { frames, startUs } = plan;
    sink.start(plan.head);
    const frame = frames.frame(0, dueUs, nowUs);
    const { tokens } = frames;
    meter.countStatus(plan.head.status);
    meter.promptTokens += plan.promptTokens;
    this.#countSent(sink.takeUnsent !== undefined, dueUs, nowUs, 1);
    if (tokens > 0) meter.ttft.record(nowUs - startUs);
    meter.generationTokens += tokens;
    sink.end(frame);
    this.#keepUnsent(frames, sink);
    meter.countFinished(plan);
    meter.e2e.record(nowUs - startUs);
  }

  /** The sink's reader keeps up again: frames that fell due meanwhile leave at once. */
  resume(emission: Emission): void {
    if (!emission.blocked) return;
    this.#unlink(emission);
    emission.blocked = false;
    this.#meter.stalledStreams--;
    emission.drainedUs = this.#clock.nowUs();
    if (emission.schedule.isLive === true) this.#ask(emission);
    this.#pumpSafely(emission);
  }

  /** The sink's client is gone. */
  abort(emission: Emission): void {
    this.#countAborted(emission);
    this.#remove(emission);
  }

  #countAborted(emission: Emission): void {
    const { plan } = emission;
    this.#meter.abortedStreams++;
    this.#meter.abortedTokensPlanned += plan.outputTokens;
    this.#meter.abortedTokensSent += emission.tokensSent;
  }

  #remove(emission: Emission, isGivenUp = true): void {
    this.#unlink(emission);
    if (emission.blocked) this.#meter.stalledStreams--;
    emission.blocked = false;
    emission.sink.observer = null;
    this.running--;
    if (emission.schedule.end !== undefined) {
      emission.schedule.end(isGivenUp);
      this.#armForScheduler();
    }
  }

  /** Hot path. One turn: looks at every slot up to now and writes what is due. */
  #turn(): void {
    this.#wakeUs = Infinity;
    this.#again = false;
    this.#inTurn = true;
    const nowUs = this.#clock.nowUs();
    if (this.#scheduler !== null && this.#scheduler.nextUs <= nowUs) this.#scheduler.runUntil(nowUs);
    let pumped = 0;
    /** When the first of the responses that were looked at has its next frame due. */
    let soonestUs = Infinity;
    const target = Math.floor(nowUs / this.#slotUs);
    // After a pause longer than the wheel, one round sees every slot.
    this.#position = Math.max(this.#position, target - slotCount + 1);
    // What is overdue and goes on, as streams without latency do, waits where the turn ends: slots before it were looked at.
    this.#earliest = target;
    for (;;) {
      const slot = slotOf(this.#position);
      // Counted first: streams that the loop puts back into this slot wait for the next turn.
      for (let left = this.#sizes[slot]!; left > 0; left--) {
        const emission = this.#heads[slot];
        if (!emission) break;
        this.#unlink(emission);
        if (emission.alarmUs > nowUs) this.#link(emission);
        else if (emission.blocked) this.#cutIfStalled(emission, nowUs);
        else {
          this.#pumpSafely(emission);
          pumped++;
          if (emission.dueUs < soonestUs) soonestUs = emission.dueUs;
        }
      }
      if (this.#position >= target) break;
      this.#position++;
    }
    this.#inTurn = false;
    // The clock sleeps for a millisecond or not at all. After a long turn a sleep would come on top of what the turn took and of
    // what the transport then sends.
    const turnUs = this.#turnUs;
    const isLong = this.#clock.nowUs() - nowUs > turnUs * longTurn;
    const inTurn = (pumped * turnUs) / (nowUs - this.#lastTurnUs);
    const isSparse = inTurn >= sparse.least && inTurn < sparse.most && soonestUs - nowUs > 2 * sparse.intervals * turnUs;
    this.#nextTurnUs = isLong ? 0 : nowUs + (isSparse ? sparse.intervals : 1) * turnUs;
    this.#lastTurnUs = nowUs;
    this.#arm();
  }

  /** Hot path. An error of one plan cuts its own stream; the turn goes on for all others. */
  #pumpSafely(emission: Emission): void {
    try {
      this.#pump(emission);
    } catch (error) {
      if (emission.sink.observer === emission) this.abort(emission);
      emission.sink.reset();
      this.#onFault(error);
    }
  }

  /** Hot path. Writes all frames of one response that are due, in one write, and links it to its next deadline. */
  #pump(emission: Emission): void {
    const { frames, sink } = emission;
    const nowUs = this.#clock.nowUs();
    if (emission.dueUs > nowUs) {
      this.#link(emission);
      return;
    }
    const first = emission.index;
    const firstDueUs = emission.dueUs;
    let frame: Uint8Array;
    let isLast: boolean;
    if (!emission.joins) {
      frame = frames.frame(first, firstDueUs, nowUs);
      isLast = this.#advance(emission, nowUs);
    } else {
      isLast = this.#moveOverJoined(emission);
      const count = emission.index - first;
      frame = count > 1 ? frames.join!(first, count) : frames.frame(first, firstDueUs, nowUs);
      this.#count(emission, firstDueUs, nowUs);
      if (count > 1) this.#countJoined(emission, firstDueUs, nowUs, count - 1);
    }
    // Joined frames are a batch by themselves: more frames that are due wait for the next turn.
    if (!isLast && emission.dueUs <= nowUs && emission.index - first === 1) {
      let filled = gather(frame, 0);
      while (!isLast && emission.dueUs <= nowUs && filled < batchBytes) {
        filled = gather(frames.frame(emission.index, emission.dueUs, nowUs), filled);
        isLast = this.#advance(emission, nowUs);
      }
      frame = batch.subarray(0, filled);
    }
    if (isLast) {
      this.#finish(emission, frame);
      return;
    }
    const mayGoOn = sink.write(frame);
    if (emission.leavesLater) this.#keepUnsent(frames, sink);
    if (!mayGoOn) {
      this.#block(emission, nowUs);
    } else {
      // Streams without latency share the event loop: one batch of each in a turn.
      if (emission.dueUs <= nowUs) this.#again = true;
      this.#link(emission);
    }
  }

  /** Hot path. Counts the frame just taken and moves to the next. Returns true when there is none. */
  #advance(emission: Emission, sentUs: number): boolean {
    this.#count(emission, emission.dueUs, sentUs);
    return this.#moveOn(emission);
  }

  /** Hot path. Counts one frame. */
  #count(emission: Emission, dueUs: number, sentUs: number): void {
    const meter = this.#meter;
    if (!emission.isOneBody || emission.index === 0) this.#countSent(emission.leavesLater, dueUs, sentUs, 1);
    const { tokens } = emission.frames;
    if (emission.tokensSent > 0) {
      meter.itl.record(sentUs - emission.lastSentUs);
      if (emission.wasBlocked && dueUs <= emission.drainedUs && dueUs > emission.blockedUs) meter.heldTokens++;
    } else if (tokens > 0) {
      emission.firstSentUs = sentUs;
      meter.ttft.record(sentUs - emission.plan.startUs);
    }
    emission.tokensSent += tokens;
    meter.generationTokens += tokens;
    emission.lastSentUs = sentUs;
  }

  /** Hot path. Counts this many frames after the one that `#count` counted, due and sent with it. */
  #countJoined(emission: Emission, dueUs: number, sentUs: number, frames: number): void {
    const meter = this.#meter;
    const tokens = frames * emission.frames.tokens;
    this.#countSent(emission.leavesLater, dueUs, sentUs, frames);
    if (tokens > 0) {
      meter.itl.record(0, frames);
      if (dueUs <= emission.drainedUs && dueUs > emission.blockedUs) meter.heldTokens += tokens;
    }
    emission.tokensSent += tokens;
    meter.generationTokens += tokens;
  }

  /** Hot path. Counts how late frames are sent; those that leave with the turn are counted when they leave. */
  #countSent(leavesLater: boolean, dueUs: number, sentUs: number, times: number): void {
    if (!leavesLater) {
      this.#meter.pacingError.record(sentUs - dueUs, times);
      return;
    }
    this.#unsent.addDue(dueUs, times);
    if (this.#leaving) return;
    this.#leaving = true;
    queueMicrotask(this.#leave);
  }

  /** Hot path. Keeps a copy of the frame just written, whose stamps can still change. */
  #keepUnsent(frames: FrameSource, sink: ResponseSink): void {
    // Frames that join carry no stamps.
    if (sink.takeUnsent === undefined || frames.restamp === undefined || frames.joins === true) return;
    const copy = sink.takeUnsent();
    if (copy !== null) this.#unsent.addCopy(frames, copy);
  }

  /** Hot path. Moves past the frames that leave in one piece. Returns true when there are no more. */
  #moveOverJoined(emission: Emission): boolean {
    const first = emission.index;
    if (emission.schedule.dueTogether === true) {
      const { length } = emission.frames;
      emission.index = Math.min(first + joinedFrames, length);
      return emission.index === length;
    }
    const { dueUs } = emission;
    let isLast = this.#moveOn(emission);
    while (!isLast && emission.dueUs === dueUs && emission.index - first < joinedFrames) isLast = this.#moveOn(emission);
    return isLast;
  }

  /** Hot path. Moves to the next frame. Returns true when there is none. */
  #moveOn(emission: Emission): boolean {
    if (++emission.index === emission.frames.length) return true;
    emission.dueUs =
      emission.gapUs < 0
        ? emission.plan.startUs + emission.schedule.nextDueUs(emission.index)
        : emission.baseUs + emission.index * emission.gapUs;
    return false;
  }

  #finish(emission: Emission, frame: Uint8Array): void {
    const { plan, sink } = emission;
    const meter = this.#meter;
    this.#remove(emission, false);
    sink.end(frame);
    this.#keepUnsent(emission.frames, sink);
    meter.countFinished(plan);
    meter.e2e.record(emission.lastSentUs - plan.startUs);
    if (plan.head.streamed && !emission.isOneBody && plan.outputTokens > 1) {
      meter.tpot.record((emission.lastSentUs - emission.firstSentUs) / (plan.outputTokens - 1));
    }
  }

  #block(emission: Emission, nowUs: number): void {
    // A write can find that the client is gone and close the sink: then there is no reader to wait for.
    if (emission.sink.closed) return;
    emission.blocked = true;
    emission.wasBlocked = true;
    emission.blockedUs = nowUs;
    emission.stallUs = nowUs + this.#stallTimeoutUs;
    this.#meter.stalledStreams++;
    this.#link(emission);
  }

  /** Ends the wait of a response whose reader took nothing for the whole time-out. One that takes some is slow and goes on. */
  #cutIfStalled(emission: Emission, nowUs: number): void {
    const { sink } = emission;
    if (sink.isBeingRead()) {
      emission.stallUs = nowUs + this.#stallTimeoutUs;
      this.#link(emission);
      return;
    }
    this.#meter.stallCutStreams++;
    this.#countAborted(emission);
    this.#remove(emission);
    sink.reset();
  }

  /** Hot path. Puts a response into the slot of its alarm. A deadline beyond one round of the wheel shares the slot and stays in it. */
  #link(emission: Emission): void {
    const { alarmUs } = emission;
    if (emission.sink.closed || alarmUs === Infinity) return;
    const slot = slotOf(Math.max(this.#earliest, Math.floor(alarmUs / this.#slotUs)));
    const tail = this.#tails[slot]!;
    emission.slot = slot;
    emission.previous = tail;
    emission.next = null;
    if (tail === null) this.#heads[slot] = emission;
    else tail.next = emission;
    this.#tails[slot] = emission;
    this.#sizes[slot]!++;
    if (!this.#inTurn && alarmUs < this.#wakeUs) this.#arm();
  }

  #unlink(emission: Emission): void {
    const { slot, previous, next } = emission;
    if (slot < 0) return;
    if (previous === null) this.#heads[slot] = next;
    else previous.next = next;
    if (next === null) this.#tails[slot] = previous;
    else next.previous = previous;
    this.#sizes[slot]!--;
    emission.slot = -1;
    emission.previous = null;
    emission.next = null;
  }

  /** Sets the clock to the next wake-up, if anything waits. */
  #arm(): void {
    const schedulerUs = this.#scheduler === null ? Infinity : this.#scheduler.nextUs;
    if (this.running === 0 && schedulerUs === Infinity) return;
    const nowUs = this.#clock.nowUs();
    const alarmUs = this.#again ? nowUs : this.#nextAlarmUs(nowUs);
    const wakeUs = schedulerUs < alarmUs ? Math.max(schedulerUs, this.#nextTurnUs) : alarmUs;
    this.#wakeUs = wakeUs;
    this.#clock.wakeAfter(Math.max(0, (wakeUs - nowUs) / 1000));
  }

  /** The next alarm, but no sooner than the next turn may begin; without an alarm in the look-ahead, its end. */
  #nextAlarmUs(nowUs: number): number {
    const turnUs = this.#turnUs;
    const slotUs = this.#slotUs;
    for (let ahead = 0; ahead < lookAheadSlots; ahead++) {
      const position = this.#position + ahead;
      const slot = slotOf(position);
      if (this.#sizes[slot] === 0) continue;
      // If the slot is due before the next turn may begin, the exact alarm does not matter: do not scan every stream in it.
      if (turnUs > 0 && position * slotUs <= Math.max(nowUs + turnUs, this.#nextTurnUs)) return Math.max(nowUs, this.#nextTurnUs);
      const endUs = (position + 1) * slotUs;
      let nextUs = endUs;
      for (let emission = this.#heads[slot]!; emission !== null; emission = emission.next!) {
        if (emission.alarmUs < nextUs) nextUs = emission.alarmUs;
      }
      if (nextUs < endUs) return nextUs;
    }
    return (this.#position + lookAheadSlots) * slotUs;
  }
}
