/** Whether what stands between server and client passes tokens on one by one, by the reads of the socket and the gaps. */
import { bucketsOf } from "../results/recorder.ts";
import type { ArmResult } from "../results/types.ts";

/** A gap counts as closed below this share of the planned one: the token before it was held back until this one came. */
const closedBelow = 0.1;
/** More gaps than this, as a share of all, are closed only where tokens are held back; some are by the client's own turns. */
const closedLimit = 0.05;
/** Events of one look that share a read by right: the role with the first token, the finish and the usage with the last. */
const togetherByRight = 3;

/** One streamed answer, read by read. */
export interface StreamLook {
  /** Events of each read. */
  readonly sizes: readonly number[];
}

/** The rounds of an arm: how many gaps between its tokens are closed. */
export interface ClosedGaps {
  /** Share of all gaps; null: the driver cannot tell, or there are none. */
  readonly share: number | null;
  /** Content events in a read; null: the driver cannot tell. */
  readonly eventsPerRead: number | null;
}

/**
 * Gaps of an arm's rounds, disturbed and invalid ones too. Events of one read have no gap: those are counted. Where the valid
 * rounds have a histogram of gaps, those far below the plan are counted too: tokens let out together in reads of their own.
 */
export function closedGaps({ rounds, metrics }: Pick<ArmResult, "rounds" | "metrics">, plannedItlUs: number): ClosedGaps {
  let [events, reads, answers] = [0, 0, 0];
  for (const { work } of rounds) {
    if (!work || work.events === null || work.contentReads === null) continue;
    events += work.events;
    reads += work.contentReads;
    answers += work.answers;
  }
  const gaps = events - answers;
  const inReads = gaps > 0 ? (events - reads) / gaps : null;
  const inTime = metrics.itl?.histogram ? shareBelow(bucketsOf(metrics.itl), plannedItlUs * closedBelow) : null;
  const shares = [inReads, inTime].filter((share) => share !== null);
  return { share: shares.length === 0 ? null : Math.max(...shares), eventsPerRead: reads > 0 ? events / reads : null };
}

function shareBelow(buckets: readonly (readonly [low: number, high: number, count: number])[], limit: number): number | null {
  const count = (of: typeof buckets): number => of.reduce((sum, [, , size]) => sum + size, 0);
  const all = count(buckets);
  return all === 0 ? null : count(buckets.filter(([, high]) => high < limit)) / all;
}

/** Whether tokens are held back and let out together: in the look at one answer, or in the rounds beyond the direct arm's. */
export function isCoalesced(look: StreamLook, rounds: ClosedGaps | null, direct: ClosedGaps | null): boolean {
  const events = look.sizes.reduce((sum, size) => sum + size, 0);
  if (events - look.sizes.length > togetherByRight) return true;
  if (rounds === null || rounds.share === null) return false;
  return rounds.share - (direct?.share ?? 0) > closedLimit;
}

/** "22 events in 20 reads (18 of 1, 2 of 2)", and of the rounds "41% of all gaps closed, 1.9 events a read (direct: 0%, 1.0)". */
export function describeReads({ sizes }: StreamLook, rounds: ClosedGaps | null, direct: ClosedGaps | null): string {
  const bySize = new Map<number, number>();
  for (const size of sizes) bySize.set(size, (bySize.get(size) ?? 0) + 1);
  const spread = [...bySize].toSorted(([a], [b]) => a - b).map(([size, count]) => `${count} of ${size}`);
  const events = sizes.reduce((sum, size) => sum + size, 0);
  const one = `${events} events in ${sizes.length} reads (${spread.join(", ")})`;
  const figures = (of: ClosedGaps): string =>
    `${Math.round((of.share ?? 0) * 100)}%${of.eventsPerRead === null ? "" : `, ${of.eventsPerRead.toFixed(1)} events a read`}`;
  if (rounds === null || rounds.share === null) return one;
  const beside = direct === null || direct.share === null ? "" : ` (direct: ${figures(direct)})`;
  return `${one}; gaps closed in the rounds: ${figures(rounds)}${beside}`;
}
