import type { Distribution } from "./distribution.ts";
import { purpose, Random, type Seed } from "./random.ts";
import type { Schedule } from "./seams.ts";

/** First token after `ttft`, each later one a gap of `itl` after the one before: streams that know nothing of each other. */
class IndependentSchedule implements Schedule {
  #itl: Distribution;
  /** null: every gap is `#gapUs`. */
  #random: Random | null;
  #gapUs: number;
  #dueUs: number;

  constructor(ttftUs: number, itl: Distribution, random: Random | null) {
    this.#dueUs = ttftUs;
    this.#itl = itl;
    this.#gapUs = itl.constant ?? 0;
    this.#random = random;
  }

  nextDueUs(index: number): number {
    if (index > 0) this.#dueUs += this.#random === null ? this.#gapUs : this.#itl.sample(this.#random);
    return this.#dueUs;
  }
}

/** The schedule of one streamed response. Each gap is drawn when it is asked for. */
export function independentSchedule(seed: Seed, ttft: Distribution, itl: Distribution): Schedule {
  return new IndependentSchedule(draw(seed, ttft), itl, itl.constant === null ? new Random(seed, purpose.itl) : null);
}

/** The schedule of a response in one piece: due when the last of its `tokens` would have been. */
export function unstreamedSchedule(seed: Seed, ttft: Distribution, itl: Distribution, tokens: number): Schedule {
  let dueUs = draw(seed, ttft);
  const gaps = Math.max(0, tokens - 1);
  if (itl.constant !== null) {
    dueUs += gaps * itl.constant;
  } else {
    const random = new Random(seed, purpose.itl);
    for (let gap = 0; gap < gaps; gap++) dueUs += itl.sample(random);
  }
  return { nextDueUs: () => dueUs };
}

function draw(seed: Seed, ttft: Distribution): number {
  return ttft.constant ?? ttft.sample(new Random(seed, purpose.ttft));
}

/** Tells which token a frame begins with, frame by frame. */
interface Steps {
  next(): number;
}

/** Keep-alives before the first token: how many, how far apart. */
export interface Heralds {
  readonly count: number;
  /** Microseconds between two. */
  readonly everyUs: number;
  /** When the first is due; absent: at once. */
  readonly firstUs?: number;
}

/**
 * The schedule of frames that hold other than one token each: a frame is due with its first token, so that the time to
 * first token and the rate of tokens stay what was asked for. Heralds come first, one frame each.
 */
class FrameSchedule implements Schedule {
  readonly #tokens: Schedule;
  readonly #steps: Steps | null;
  readonly #heralds: Heralds;
  #asked = 0;
  #index = -1;
  #dueUs = 0;

  constructor(tokens: Schedule, steps: Steps | null, heralds: Heralds) {
    this.#tokens = tokens;
    this.#steps = steps;
    this.#heralds = heralds;
  }

  nextDueUs(index: number): number {
    const { count, everyUs, firstUs } = this.#heralds;
    if (index === this.#index) return this.#dueUs;
    if (index < count) return (firstUs ?? 0) + index * everyUs;
    this.#index = index;
    const token = this.#steps === null ? index - count : this.#steps.next();
    while (this.#asked <= token) this.#dueUs = this.#tokens.nextDueUs(this.#asked++);
    return this.#dueUs;
  }
}

export const noHeralds: Heralds = { count: 0, everyUs: 0 };

/** The schedule of frames over that of their tokens. `steps` null: one token in each. */
export function frameSchedule(tokens: Schedule, steps: Steps | null, heralds: Heralds = noHeralds): Schedule {
  return steps === null && heralds.count === 0 ? tokens : new FrameSchedule(tokens, steps, heralds);
}
