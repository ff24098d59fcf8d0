/** How late bytes left. */
import { build, type Histogram } from "hdr-histogram-js";

/** Microseconds; quantiles within 1%, the maximum exact. */
export interface LatenessSummary {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

const mostUs = 3_600_000_000;

export class Lateness {
  readonly #histogram: Histogram = build({
    bitBucketSize: 64,
    lowestDiscernibleValue: 1,
    highestTrackableValue: mostUs,
    numberOfSignificantValueDigits: 2,
  });
  #max = 0;

  /** Hot path. Up to an hour, to the microsecond. */
  record(us: number): void {
    const value = Math.min(mostUs, Math.max(0, Math.round(us)));
    if (value > this.#max) this.#max = value;
    this.#histogram.recordValue(value);
  }

  /** Null before the first. A quantile is the upper edge of its bucket, so it is bounded by the maximum. */
  summary(): LatenessSummary | null {
    if (this.#histogram.totalCount === 0) return null;
    const at = (percent: number): number => Math.min(this.#max, this.#histogram.getValueAtPercentile(percent));
    return { p50: at(50), p99: at(99), max: this.#max };
  }
}
