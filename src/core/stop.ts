/** Where a text is cut by stop sequences. */
import type { TokenCursor, Vocabulary } from "./text.ts";

/** Tokens that are looked at together. */
const windowTokens = 4096;

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
  let window = "";
  let windowAt = 0;
  for (let seen = 0; seen < tokens;) {
    let piece = "";
    for (const end = Math.min(tokens, seen + windowTokens); seen < end; seen++) piece += texts[cursor.next()]!;
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
