/** Schedules of streams that know nothing of each other. Times are microseconds after the start of the request. */
import type { Distribution } from "../random/distribution.ts";
import { purpose, Random, type Seed } from "../random/random.ts";
import type { Schedule, ScheduleObserver } from "../seams.ts";

/** The first token is due after the TTFT, each later one a gap of ITL after the one before. */
class IndependentSchedule implements Schedule {
  readonly dueTogether: boolean;
  readonly gapUs: number | undefined;
  #itl: Distribution;
  /** Draws the gaps. null: every gap is `gapUs`. */
  #random: Random | null;
  #firstUs: number;
  // A number from the beginning on: V8 would make an object for each value of a field that began as undefined.
  #dueUs = 0;

  constructor(ttftUs: number, itl: Distribution, random: Random | null) {
    this.#firstUs = ttftUs;
    this.#dueUs = ttftUs;
    this.#itl = itl;
    this.gapUs = itl.constant ?? undefined;
    this.dueTogether = itl.constant === 0;
    this.#random = random;
  }

  /** Hot path. */
  nextDueUs(index: number): number {
    // A product: a sum would add up what is lost to rounding.
    if (this.#random === null) return this.#firstUs + index * this.gapUs!;
    if (index > 0) this.#dueUs += this.#itl.sample(this.#random);
    return this.#dueUs;
  }
}

/** The schedule of a streamed response with one token in each frame. Each gap is drawn when it is asked for. */
export function independentSchedule(seed: Seed, ttft: Distribution, itl: Distribution): Schedule {
  return new IndependentSchedule(draw(seed, ttft), itl, itl.constant === null ? new Random(seed, purpose.itl) : null);
}

/** The schedule of a response in one piece: it is due when the last of its `tokens` would be due in a stream. */
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

/** Says for each frame, in order, with which token it begins. */
interface Steps {
  next(): number;
}

/**
 * The schedule of frames that hold more or fewer tokens than one. A frame is due with its first token, so that the time to first
 * token and the rate of tokens stay as asked for.
 */
class FrameSchedule implements Schedule {
  readonly #tokens: Schedule;
  readonly #steps: Steps;
  /** Tokens whose times are known. */
  #asked = 0;
  /** The frame last asked for, when it is due, and the token that it begins with. */
  #index = -1;
  #dueUs = 0;
  #token = 0;

  constructor(tokens: Schedule, steps: Steps) {
    this.#tokens = tokens;
    this.#steps = steps;
  }

  /** Hot path. Infinity while the schedule of the tokens does not know yet; then the same index is asked for again. */
  nextDueUs(index: number): number {
    if (index === this.#index && this.#asked > this.#token) return this.#dueUs;
    if (index !== this.#index) this.#token = this.#steps.next();
    this.#index = index;
    while (this.#asked <= this.#token) {
      const dueUs = this.#tokens.nextDueUs(this.#asked);
      if (dueUs === Infinity) return dueUs;
      this.#dueUs = dueUs;
      this.#asked++;
    }
    return this.#dueUs;
  }

  get isLive(): boolean {
    return this.#tokens.isLive === true;
  }

  begin(observer: ScheduleObserver): void {
    this.#tokens.begin?.(observer);
  }

  end(isGivenUp: boolean): void {
    this.#tokens.end?.(isGivenUp);
  }
}

/** The schedule of frames, made of the schedule of their tokens. */
export function frameSchedule(tokens: Schedule, steps: Steps): Schedule {
  return new FrameSchedule(tokens, steps);
}
