/** What sessions took: each as a whole, and turn by turn. */
import type { Recorder } from "../results/recorder.ts";
import type { SessionsRound } from "../results/types.ts";
import type { Answer } from "./answer.ts";
import type { LoadJob } from "./job.ts";

/** A session as it was seen. */
export interface SeenSession {
  readonly answers: readonly Answer[];
  /** Whether every turn of its plan was completed. */
  readonly isWhole: boolean;
  /** Whether one has failed. */
  readonly isFailed: boolean;
}

/** The sessions of a load that have begun. */
export function sessionsIn({ requests }: LoadJob, answers: readonly Answer[]): SeenSession[] {
  const planned = new Map<number, number>();
  for (const { turn } of requests) if (turn !== undefined) planned.set(turn.session, (planned.get(turn.session) ?? 0) + 1);
  if (planned.size === 0) return [];
  const seen = new Map<number, Answer[]>();
  for (const answer of answers) {
    const session = answer.planned.turn?.session;
    if (session === undefined) continue;
    const others = seen.get(session);
    if (others === undefined) seen.set(session, [answer]);
    else others.push(answer);
  }
  return [...seen].map(([session, own]) => ({
    answers: own,
    isWhole: own.length === planned.get(session) && own.every(isGood),
    isFailed: own.some(({ settled, error }) => settled && error !== null),
  }));
}

function isGood({ settled, error }: Answer): boolean {
  return settled && error === null;
}

/** Records the whole session, and the first tokens of its turns. */
export function recordSession(
  { answers, isWhole }: SeenSession,
  to: Readonly<Record<"ttftFirst" | "ttftLater" | "sessionE2el" | "sessionWait", Recorder>>,
): void {
  for (const answer of answers) {
    const ttftUs = isGood(answer) ? ttftOf(answer) : null;
    if (ttftUs !== null) to[answer.planned.turn!.turn === 0 ? "ttftFirst" : "ttftLater"].record(ttftUs);
  }
  if (!isWhole) return;
  const from = Math.min(...answers.map(({ firstSentUs }) => firstSentUs));
  const until = Math.max(...answers.map(({ endUs }) => endUs));
  to.sessionE2el.record(until - from);
  to.sessionWait.record(answers.reduce((sum, { endUs, firstSentUs }) => sum + endUs - firstSentUs, 0));
}

function ttftOf(answer: Answer): number | null {
  return answer.events === 0 || answer.inOneRead ? null : answer.arrival(0);
}

/** Counts of sessions, and their turns by their place. */
export function countedSessions(sessions: readonly SeenSession[]): SessionsRound {
  const places: Answer[][] = [];
  for (const { answers } of sessions)
    for (const answer of answers) if (isGood(answer)) (places[answer.planned.turn!.turn] ??= []).push(answer);
  const columns = Array.from(places, (answers) => answers ?? []);
  /** Means of what each answer tells, place by place. */
  const column = (valueOf: (answer: Answer) => number | null): (number | null)[] =>
    columns.map((answers) => {
      const values = answers.map(valueOf);
      return values.length === 0 || values.includes(null)
        ? null
        : (values as number[]).reduce((sum, value) => sum + value, 0) / values.length;
    });
  const known = (value: number): number | null => (value < 0 ? null : value);
  return {
    started: sessions.length,
    completed: sessions.filter(({ isWhole }) => isWhole).length,
    failed: sessions.filter(({ isFailed }) => isFailed).length,
    turns: {
      answers: columns.map(({ length }) => length),
      ttftMeanUs: column(ttftOf),
      e2elMeanUs: column(({ endUs, startUs }) => endUs - startUs),
      bytesSentMean: column(({ bytesSent }) => known(bytesSent)),
      bytesReceivedMean: column(({ bytesReceived }) => known(bytesReceived)),
      inputTokensMean: column(({ promptTokens }) => known(promptTokens)),
      cachedTokensMean: column(({ cachedTokens }) => known(cachedTokens)),
    },
  };
}
