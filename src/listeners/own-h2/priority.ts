/** Which stream sends next: the priorities of RFC 9218, and the queue of the streams that could send. */

/** Section 4: urgency 0 (first) to 7 (last), and whether a part of the response is of use before the rest has come. */
export interface Priority {
  readonly urgency: number;
  readonly incremental: boolean;
}

const urgencies = 8;
const defaultUrgency = 3;
/** Longer fields are not read: two members take a few bytes. */
const longestField = 256;

/**
 * Of a stream whose client says nothing. The RFC leaves that to the server (section 10): streams of tokens are of use as they come, so
 * they share the connection, as on engines without priorities.
 */
export const noPriority: Priority = { urgency: defaultUrgency, incremental: true };

/**
 * Reads the field `priority`, or the same text in a PRIORITY_UPDATE frame (sections 5 and 7). What is left out has its default (3, not
 * incremental). Members that are unknown, of another type or out of range count for nothing; so does a text that is no dictionary
 * (RFC 8941, section 4.2), for which null is returned.
 */
export function parsePriority(text: string): Priority | null {
  if (text.length > longestField) return null;
  let urgency = defaultUrgency;
  let incremental = false;
  for (const part of text.split(",")) {
    const member = /^[ \t]*([a-z*][a-z0-9_.*-]*)(?:=([^;"]*|"[^"]*"))?((?:;[^,]*)?)[ \t]*$/.exec(part);
    if (member === null) return null;
    const [, key, given] = member;
    const value = given?.trim();
    if (key === "u" && value !== undefined && /^[0-7]$/.test(value)) urgency = Number(value);
    else if (key === "i" && (value === undefined || value === "?1")) incremental = true;
    else if (key === "i" && value === "?0") incremental = false;
  }
  return { urgency, incremental };
}

/** Priorities that came before their streams (section 7.1): of so many streams at most. */
export class EarlyPriorities {
  readonly #most: number;
  #priorities: Map<number, Priority> | null = null;

  constructor(most: number) {
    this.#most = most;
  }

  put(id: number, priority: Priority): void {
    const priorities = (this.#priorities ??= new Map());
    if (priorities.size < this.#most || priorities.has(id)) priorities.set(id, priority);
  }

  /** undefined: none came. */
  take(id: number): Priority | undefined {
    const priority = this.#priorities?.get(id);
    if (priority !== undefined) this.#priorities!.delete(id);
    return priority;
  }
}

/** A stream that can wait in the queue. Its priority does not change while it is in there. */
export interface Waiter {
  readonly id: number;
  readonly urgency: number;
  readonly incremental: boolean;
  /** In the queue. */
  isReady: boolean;
  /** Its neighbours, where it shares. */
  nextReady: Waiter | null;
  previousReady: Waiter | null;
}

/** Those of one urgency (section 10). */
class Level<W extends Waiter> {
  /** Those that want their response whole, one after the other: ascending ids. */
  readonly inTurn: W[] = [];
  /** Those that share, each with a frame at a time. */
  first: W | null = null;
  last: W | null = null;
  /** Both kinds take turns, so that a long response of the one does not keep the other waiting. */
  lastShared = false;
}

/** Streams that have something to send and room in their own windows. Every step takes the same time, however many wait. */
export class ReadyQueue<W extends Waiter> {
  readonly #levels: readonly Level<W>[] = Array.from({ length: urgencies }, () => new Level<W>());
  /** A bit for each urgency with which a stream waits. */
  #occupied = 0;

  get isEmpty(): boolean {
    return this.#occupied === 0;
  }

  add(waiter: W): void {
    if (waiter.isReady) return;
    waiter.isReady = true;
    const level = this.#levels[waiter.urgency]!;
    this.#occupied |= 1 << waiter.urgency;
    if (waiter.incremental) {
      waiter.previousReady = level.last;
      waiter.nextReady = null;
      if (level.last === null) level.first = waiter;
      else level.last.nextReady = waiter;
      level.last = waiter;
    } else {
      level.inTurn.splice(placeOf(level.inTurn, waiter.id), 0, waiter);
    }
  }

  remove(waiter: W): void {
    if (!waiter.isReady) return;
    waiter.isReady = false;
    const level = this.#levels[waiter.urgency]!;
    if (waiter.incremental) {
      const { previousReady, nextReady } = waiter;
      if (previousReady === null) level.first = nextReady as W | null;
      else previousReady.nextReady = nextReady;
      if (nextReady === null) level.last = previousReady as W | null;
      else nextReady.previousReady = previousReady;
      waiter.previousReady = waiter.nextReady = null;
    } else {
      level.inTurn.splice(placeOf(level.inTurn, waiter.id), 1);
    }
    if (level.first === null && level.inTurn.length === 0) this.#occupied &= ~(1 << waiter.urgency);
  }

  /** The stream that sends next. Call only where the queue is not empty. */
  next(): W {
    // The lowest bit that is set.
    const level = this.#levels[31 - Math.clz32(this.#occupied & -this.#occupied)]!;
    const isShared = level.first !== null && (level.inTurn.length === 0 || !level.lastShared);
    return isShared ? level.first! : level.inTurn[0]!;
  }

  /** The turn of a stream is over; if it waits on, then behind the others. */
  endTurn(waiter: W): void {
    this.#levels[waiter.urgency]!.lastShared = waiter.incremental;
    if (!waiter.isReady) return;
    this.remove(waiter);
    this.add(waiter);
  }
}

/** Where an id stands, or would stand, in ascending ids. */
function placeOf(waiters: readonly Waiter[], id: number): number {
  let low = 0;
  let high = waiters.length;
  // Most streams come with the highest id so far.
  if (high === 0 || waiters[high - 1]!.id < id) return high;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (waiters[middle]!.id < id) low = middle + 1;
    else high = middle;
  }
  return low;
}
