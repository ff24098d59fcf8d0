import type { Distribution } from "../random/distribution.ts";
import { purpose, Random, type Seed } from "../random/random.ts";
import type { Schedule, ScheduleObserver } from "../seams.ts";

/** First token after `ttft`, each later one a gap of `itl` after the one before: streams that know nothing of each other. */
class IndependentSchedule implements Schedule {
  readonly dueTogether: boolean;
  #itl: Distribution;
  /** null: every gap is `#gapUs`. */
  #random: Random | null;
  #gapUs: number;
  #dueUs: number;

  constructor(ttftUs: number, itl: Distribution, random: Random | null) {
    this.#dueUs = ttftUs;
    this.#itl = itl;
    this.#gapUs = itl.constant ?? 0;
    this.dueTogether = itl.constant === 0;
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

/**
 * The schedule of frames that hold other than one token each: a frame is due with its first token, so that the time to
 * first token and the rate of tokens stay what was asked for.
 */
class FrameSchedule implements Schedule {
  readonly #tokens: Schedule;
  readonly #steps: Steps;
  #asked = 0;
  #index = -1;
  #dueUs = 0;
  /** The token that frame `#index` begins with. */
  #token = 0;

  constructor(tokens: Schedule, steps: Steps) {
    this.#tokens = tokens;
    this.#steps = steps;
  }

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

/** The schedule of frames over that of their tokens. */
export function frameSchedule(tokens: Schedule, steps: Steps): Schedule {
  return new FrameSchedule(tokens, steps);
}
