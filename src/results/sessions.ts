/** Sessions of several rounds, runs or shards, as those of one. */
import type { SessionsRound, SessionTurns } from "./types.ts";

/** All sessions of these rounds; nothing where none has any. */
export function sessionsOf(rounds: readonly { readonly sessions?: SessionsRound }[]): { readonly sessions?: SessionsRound } {
  const all = rounds.flatMap(({ sessions }) => sessions ?? []);
  if (all.length === 0) return {};
  const sum = (key: "started" | "completed" | "failed"): number => all.reduce((total, one) => total + one[key], 0);
  return {
    sessions: {
      started: sum("started"),
      completed: sum("completed"),
      failed: sum("failed"),
      turns: addTurns(all.map(({ turns }) => turns)),
    },
  };
}

/** Means weighed by their answers; null where one of them does not tell it. */
function addTurns(list: readonly SessionTurns[]): SessionTurns {
  const places = Array.from({ length: Math.max(...list.map(({ answers }) => answers.length)) }, (_, place) => place);
  const answers = places.map((place) => list.reduce((sum, turns) => sum + (turns.answers[place] ?? 0), 0));
  const column = (key: Exclude<keyof SessionTurns, "answers">): (number | null)[] =>
    places.map((place) => {
      const told = list.filter((turns) => (turns.answers[place] ?? 0) > 0);
      const total = told.reduce<number | null>((sum, turns) => {
        const mean = turns[key][place] ?? null;
        return sum === null || mean === null ? null : sum + mean * turns.answers[place]!;
      }, 0);
      return total === null || answers[place] === 0 ? null : total / answers[place]!;
    });
  return {
    answers,
    ttftMeanUs: column("ttftMeanUs"),
    e2elMeanUs: column("e2elMeanUs"),
    bytesSentMean: column("bytesSentMean"),
    bytesReceivedMean: column("bytesReceivedMean"),
    inputTokensMean: column("inputTokensMean"),
    cachedTokensMean: column("cachedTokensMean"),
  };
}
