import type { Distribution } from "./distribution.ts";
import { purpose, Random, type Seed } from "./random.ts";
import type { Schedule } from "./seams.ts";

/** First token after `ttft`, each later one a gap of `itl` after the one before: streams that know nothing of each other. */
class IndependentSchedule implements Schedule {
  #itl: Distribution;
  #random: Random | null;
  #dueUs: number;

  constructor(ttftUs: number, itl: Distribution, random: Random | null) {
    this.#dueUs = ttftUs;
    this.#itl = itl;
    this.#random = random;
  }

  nextDueUs(index: number): number {
    if (index > 0) this.#dueUs += this.#random === null ? this.#itl.constant! : this.#itl.sample(this.#random);
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
