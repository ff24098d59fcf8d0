/** Rounds in which subjects take turns, and what all kinds of rows share. */
import { pairedRatio, type Ratio } from "../support/statistics.ts";
import type { Timing } from "./measures.ts";
import { type Line, type Samples, two } from "./page.ts";
import type { Subject, Wire } from "./subjects.ts";

/** What the caller of the measurement asked for. */
export interface Run {
  readonly rounds: number;
  /** Other fake servers take part where they are installed. */
  readonly peers: boolean;
  /** The dist/cli.js of another build of fakeai that rows are held against; null: none. */
  readonly beside: string | null;
}

/** What a row yields. */
export interface Measured {
  readonly lines: readonly Line[];
  readonly samples: Samples;
}

export const progress = (text: string): void => {
  process.stderr.write(`${text}\n`);
};

/** Another build is slower where it takes this many times as long. */
export const buildLimit = 1.02;

/** At most `limit` when the interval's upper end is, or the median over at least 15 rounds. */
export const atMost = (ratio: Ratio, limit: number): boolean => ratio.high <= limit || (ratio.rounds >= 15 && ratio.median <= limit);
export const atLeast = (ratio: Ratio, limit: number): boolean => ratio.low >= limit || (ratio.rounds >= 15 && ratio.median >= limit);

export const push = (samples: Samples, name: string, value: unknown): void => {
  (samples[name] ??= []).push(value);
};

/** Subjects in turns: forwards in even rounds, backwards in odd ones, started anew every fifth round. */
export async function interleave(
  { rounds }: Run,
  starters: readonly (() => Promise<Subject>)[],
  measure: (subject: Subject, round: number) => Promise<void>,
): Promise<void> {
  let running: Subject[] = [];
  try {
    for (let round = 0; round < rounds; round++) {
      if (round % 5 === 0) {
        await Promise.all(running.map((subject) => subject.stop()));
        running = [];
        for (const starter of starters) running.push(await starter());
      }
      for (const subject of round % 2 === 0 ? running : running.toReversed()) {
        // The others are stopped: their work after a load would run beside this one, on the same core and cache.
        for (const other of running) process.kill(other.pid, other === subject ? "SIGCONT" : "SIGSTOP");
        await measure(subject, round);
        // The server clears away what its clients left, before the next one is measured.
        await new Promise((resolve) => setTimeout(resolve, 150));
      }
    }
  } finally {
    await Promise.all(running.map((subject) => subject.stop()));
  }
}

/** How streams are opened and for how long they are read. */
export const timingOf = (streams: number, itlMs: number): Timing => ({
  // The golden section keeps phases apart: with starts a round fraction of the ITL apart, dozens of streams would always be
  // due at the same microsecond.
  spreadMs: Math.max(1000, streams / 3) * 1.0618,
  // Tokens that were late while the streams were opened have been sent by then.
  warmMs: Math.max(400, 3 * itlMs),
  windowMs: Math.max(1500, 5 * itlMs),
});

/** The raw engine that serves a protocol here. */
export const rawEngine = (wire: Wire): "uws" | "http2" => (wire === "h1" ? "uws" : "http2");

/** What a raw engine's cost grows by, between the same two cases. */
export function showGrowth(name: string, [from, to]: readonly number[][]): string {
  const { ratio, low, high, median } = pairedRatio(to!, from!);
  return `${name}'s growth ${two(ratio)} (${two(low)} to ${two(high)}; median ${two(median)})`;
}
