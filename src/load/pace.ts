/** The pace of a run, from what was seen of each answer. */
import type { Answer } from "./answer.ts";
import type { PaceFacts } from "./job.ts";

/** A window in which all streams run has to be this share of a planned answer to say a rate. */
const leastShare = 0.25;

type Seen = Pick<Answer, "error" | "settled" | "aborted" | "events" | "tokens" | "startUs" | "arrival" | "stamps">;

/** Null where no answer carries stamps. */
export function paceOf(all: readonly Seen[]): PaceFacts | null {
  const answers = all.filter(isPaced);
  if (answers.length === 0) return null;
  let [measuredUs, plannedGapsUs, plannedTtftUs] = [0, 0, 0];
  for (const answer of answers) {
    const last = answer.events - 1;
    measuredUs += answer.arrival(last);
    plannedTtftUs += answer.stamps(0)!.due;
    plannedGapsUs += answer.stamps(last)!.due - answer.stamps(0)!.due;
  }
  const flowTokensPerSecond = flowOf(answers, (plannedGapsUs / answers.length) * leastShare);
  return { answers: answers.length, flowTokensPerSecond, measuredUs, plannedGapsUs, plannedTtftUs };
}

function isPaced(answer: Seen): boolean {
  const last = answer.events - 1;
  return (
    answer.error === null && answer.settled && !answer.aborted && last > 0 && answer.stamps(0) !== null && answer.stamps(last) !== null
  );
}

/** Streams do not begin at once: where there is a time in which all of them ran, the rate is that of this time. */
function flowOf(answers: readonly Seen[], leastUs: number): number | null {
  const firsts = answers.map((answer) => answer.startUs + answer.arrival(0));
  const lasts = answers.map((answer) => answer.startUs + answer.arrival(answer.events - 1));
  const least = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b));
  const greatest = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b));
  const [allFrom, allTo] = [greatest(firsts), least(lasts)];
  const [from, to] = allTo - allFrom >= leastUs ? [allFrom, allTo] : [least(firsts), greatest(lasts)];
  if (to <= from) return null;
  let tokens = 0;
  for (const answer of answers) {
    let events = 0;
    for (let i = 0; i < answer.events; i++) {
      const at = answer.startUs + answer.arrival(i);
      if (at > from && at <= to) events++;
    }
    // An event may hold several tokens.
    tokens += (events * (answer.tokens ?? answer.events)) / answer.events;
  }
  return (tokens / (to - from)) * 1e6;
}
