/** Whether a gateway adds more than a bound to what it passes on, by paired intervals. */
import type { Added, Check, CheckVerdict, Level } from "./types.ts";

/** What is looked at of a level: medians. The way of a token, of which there are many in a round, is told to some hundredths of a millisecond. */
function addedOf({ addedTtftP50, addedTokenP50 }: Level): readonly { readonly name: string; readonly added: Added }[] {
  return [
    ...(addedTokenP50 === null ? [] : [{ name: "the way of a token", added: addedTokenP50 }]),
    ...(addedTtftP50 === null ? [] : [{ name: "TTFT", added: addedTtftP50 }]),
  ];
}

function verdictOf(level: Level, boundUs: number): CheckVerdict {
  const all = addedOf(level);
  if (all.length === 0) return "unknown";
  if (all.some(({ added }) => added.lowUs > boundUs)) return "changed";
  // TTFT is told less closely, and clears a gateway alone where stamps do not come through.
  return all[0]!.added.highUs <= boundUs ? "kept" : "unknown";
}

/**
 * "changed" where the whole interval of what is added to TTFT or to the way of a token, at the median, lies above the bound; "kept"
 * where neither does and that of the way of a token (without stamps: of TTFT) lies within. The lowest rate that decides counts. null:
 * there is no level that is not at a limit.
 */
export function delayCheck(levels: readonly Level[], boundMs: number): Check | null {
  const usable = levels.filter(({ limit, rounds }) => limit !== "client or server" && rounds > 1);
  const judged = usable.map((level) => ({ level, verdict: verdictOf(level, boundMs * 1000) }));
  const found = judged.find(({ verdict }) => verdict !== "unknown") ?? judged.at(-1);
  if (found === undefined) return null;
  const { level, verdict } = found;
  const shown = addedOf(level).map(({ name, added }) => `${addedSpan(added)} to ${name}`);
  // They disturb direct runs alike, and widen the interval: it decides all the same.
  const disturbed = level.disturbedRuns > 0 ? `; other processes disturbed ${level.disturbedRuns} of ${2 * level.rounds} runs` : "";
  const seen = `${shown.length === 0 ? "nothing is known of what it adds" : `adds ${shown.join(", ")}`} at ${level.requestsPerSecond.toFixed(1)} requests/s; at most ${boundMs} ms are asked for${disturbed}`;
  return { id: "delay", verdict, seen };
}

/** "0.510 ms (0.320 to 0.700)". */
export function addedSpan({ estimateUs, lowUs, highUs }: Added): string {
  const ms = (us: number): string => (us / 1000).toPrecision(3);
  return `${ms(estimateUs)} ms (${ms(lowUs)} to ${ms(highUs)})`;
}
