/** Where a text is cut by stop sequences. */
import type { TokenCursor, Vocabulary } from "./text.ts";

/** UTF-16 units that are looked at together, at least. */
const windowLength = 16_384;

/** The first of the sequences in a text. */
export interface Stop {
  /** Where it begins, in UTF-16 units. */
  readonly at: number;
  readonly sequence: string;
}

/**
 * The stop sequence that begins first in a text of so many tokens; of two that begin together the one that is named first.
 * null: there is none. No more of the text is made than that takes: answers of a million tokens would hold up every stream.
 */
export function findStop({ texts }: Vocabulary, cursor: TokenCursor, tokens: number, sequences: readonly string[]): Stop | null {
  const longest = Math.max(...sequences.map(({ length }) => length));
  // What is looked at twice is shorter than a sequence: with as much that is new, all of it takes twice the time at most.
  const pieceLength = Math.max(windowLength, longest);
  let window = "";
  let windowAt = 0;
  for (let seen = 0; seen < tokens;) {
    let piece = "";
    for (; seen < tokens && piece.length < pieceLength; seen++) piece += texts[cursor.next()]!;
    window += piece;
    // Up to here every sequence that begins can be seen whole.
    const sure = seen === tokens ? window.length : window.length - longest;
    let first: Stop | null = null;
    for (const sequence of sequences) {
      const found = window.indexOf(sequence);
      if (found >= 0 && found <= sure && (first === null || windowAt + found < first.at)) first = { at: windowAt + found, sequence };
    }
    if (first !== null) return first;
    const passed = Math.max(0, sure + 1);
    window = window.slice(passed);
    windowAt += passed;
  }
  return null;
}
