/**
 * How far the clock of another process is from ours, by two-way exchanges: we send at t1, the other end receives at t2 and answers at t3,
 * we receive at t4 (the four instants of NTP, RFC 5905, section 8). Since no way takes less than no time, t2 - t1 is never below the
 * offset and t3 - t4 never above it. Every line that lies between all of these may be the true offset over time; the estimate is the
 * middle of them and the bound half of their width, so the bound holds however unequal the two ways are.
 */

/** One exchange; microseconds, t1 and t4 of our clock, t2 and t3 of the other. */
export interface Exchange {
  readonly t1: number;
  readonly t2: number;
  readonly t3: number;
  readonly t4: number;
}

/** Other clock minus own at an instant, and how far off that may be. */
export interface Offset {
  readonly offsetUs: number;
  readonly boundUs: number;
}

/** The other clock beside ours over the time of the exchanges. */
export interface Fit {
  /** At an instant of our clock. Beyond the exchanges the bound grows with what is not known of the drift. */
  at(us: number): Offset;
  /** How much faster the other clock runs, parts per million; null: the exchanges leave it open by more than `openPpm`. */
  readonly driftPpm: number | null;
  readonly exchanges: number;
}

/** Crystals are within 100 ppm of each other, and time daemons slew by 500 at most (adjtimex). */
const mostPpm = 600;
/** A drift that is known no better than this is not told. */
const openPpm = 50;
/** Instants are read in whole microseconds or a little worse. */
const readingUs = 1;
/** Exchanges kept; of more, those with the longest round trips go first. */
const mostExchanges = 256;

/** A constraint on the offset: at `at` it is no greater, or no less, than `us`. */
interface Side {
  readonly at: number;
  readonly us: number;
}

/** Collects exchanges. */
export class ClockFitter {
  #exchanges: Exchange[] = [];

  get exchanges(): number {
    return this.#exchanges.length;
  }

  /** Adds an exchange; one whose instants cannot be is left out. */
  add(exchange: Exchange): void {
    const { t1, t2, t3, t4 } = exchange;
    if (![t1, t2, t3, t4].every(Number.isFinite) || t4 < t1 || t3 < t2) return;
    this.#exchanges.push(exchange);
    if (this.#exchanges.length > mostExchanges) this.#thinOut();
  }

  /** Of each pair of neighbours the one with the shorter round trip stays: the span of time is kept. */
  #thinOut(): void {
    const trip = ({ t1, t2, t3, t4 }: Exchange): number => t4 - t1 - (t3 - t2);
    const kept: Exchange[] = [];
    for (let i = 0; i < this.#exchanges.length; i += 2) {
      const [one, other] = [this.#exchanges[i]!, this.#exchanges[i + 1]];
      kept.push(other !== undefined && trip(other) < trip(one) ? other : one);
    }
    this.#exchanges = kept;
  }

  /** Null before the first exchange. */
  fit(): Fit | null {
    const [first] = this.#exchanges;
    if (first === undefined) return null;
    const origin = first.t1;
    // Offsets of some 10^9 us would cost digits in the products below.
    const base = first.t2 - first.t1;
    const upper = this.#exchanges.map(({ t1, t2 }): Side => ({ at: t1 - origin, us: t2 - t1 - base + readingUs }));
    const lower = this.#exchanges.map(({ t3, t4 }): Side => ({ at: t4 - origin, us: t3 - t4 - base - readingUs }));
    return new LineFit(upper, lower, origin, base);
  }
}

class LineFit implements Fit {
  readonly driftPpm: number | null;
  readonly #upper: readonly Side[];
  readonly #lower: readonly Side[];
  readonly #origin: number;
  readonly #base: number;
  /** Slopes that some line between the sides has. */
  readonly #from: number;
  readonly #to: number;

  constructor(upper: readonly Side[], lower: readonly Side[], origin: number, base: number) {
    this.#origin = origin;
    this.#base = base;
    const room = (slope: number): number => highest(upper, slope, 0) - lowest(lower, slope, 0);
    const best = summit(room, -mostPpm / 1e6, mostPpm / 1e6);
    // A clock whose rate changed meanwhile leaves no line: both sides give way by as much as it takes, and the bound holds that.
    // The truth is then no farther from the best line than twice what a side gave way, and a round trip.
    const slack = room(best) < 0 ? (-3 * room(best)) / 2 + readingUs : 0;
    this.#upper = upper.map(({ at, us }) => ({ at, us: us + slack }));
    this.#lower = lower.map(({ at, us }) => ({ at, us: us - slack }));
    this.#from = edge((slope) => room(slope) + 2 * slack, best, -mostPpm / 1e6);
    this.#to = edge((slope) => room(slope) + 2 * slack, best, mostPpm / 1e6);
    this.driftPpm = (this.#to - this.#from) * 1e6 > openPpm ? null : ((this.#from + this.#to) / 2) * 1e6;
  }

  get exchanges(): number {
    return this.#upper.length;
  }

  at(us: number): Offset {
    const at = us - this.#origin;
    const above = (slope: number): number => highest(this.#upper, slope, at);
    const below = (slope: number): number => -lowest(this.#lower, slope, at);
    const high = above(summit(above, this.#from, this.#to));
    const low = -below(summit(below, this.#from, this.#to));
    return { offsetUs: this.#base + (high + low) / 2, boundUs: Math.max(0, (high - low) / 2) };
  }
}

/** The greatest offset at `at` of a line with this slope below all sides. */
function highest(sides: readonly Side[], slope: number, at: number): number {
  let least = Infinity;
  for (const side of sides) least = Math.min(least, side.us + slope * (at - side.at));
  return least;
}

/** The least offset at `at` of a line with this slope above all sides. */
function lowest(sides: readonly Side[], slope: number, at: number): number {
  let greatest = -Infinity;
  for (const side of sides) greatest = Math.max(greatest, side.us + slope * (at - side.at));
  return greatest;
}

const steps = 60;

/** Where a concave function is greatest in an interval (ternary search). */
function summit(of: (x: number) => number, from: number, to: number): number {
  for (let i = 0; i < steps; i++) {
    const third = (to - from) / 3;
    if (of(from + third) < of(to - third)) from += third;
    else to -= third;
  }
  return (from + to) / 2;
}

/** The farthest from `inside` towards `limit` where a concave function is not below 0 (bisection). */
function edge(of: (x: number) => number, inside: number, limit: number): number {
  if (of(limit) >= 0) return limit;
  let outside = limit;
  for (let i = 0; i < steps; i++) {
    const middle = (inside + outside) / 2;
    if (of(middle) >= 0) inside = middle;
    else outside = middle;
  }
  return inside;
}
