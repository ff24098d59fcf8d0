/** Where a text is cut by stop sequences. */
import type { Budget } from "../limits/budget.ts";
import type { TokenCursor, Vocabulary } from "./text.ts";

/** UTF-16 units of all stop sequences of a request. */
export const mostStopCharacters = 4096;

/** UTF-16 units of all sequences together. */
export function charactersOf(sequences: readonly string[]): number {
  return sequences.reduce((sum, { length }) => sum + length, 0);
}

/** The first of the sequences in a text. */
export interface Stop {
  /** Where it begins, in UTF-16 units. */
  readonly at: number;
  readonly sequence: string;
}

/**
 * All sequences at once, as an automaton over UTF-16 units (Aho and Corasick, 1975): each unit of a text costs the same on
 * average, whatever the sequences are. State 0 has read the beginning of none.
 */
class StopAutomaton {
  /** Next states by state and unit. */
  readonly #edges = new Map<number, number>();
  /**
   * The same for what nearly every step asks for. Of each state the unit and the state that it came to first (-1, 0: none), and
   * whether it has others; of state 0 whether any unit of these low eight bits leads on. A look-up in the map takes ten times as long.
   */
  readonly #firstUnits: number[] = [-1];
  readonly #firstStates: number[] = [0];
  readonly #hasMore: boolean[] = [false];
  readonly #begins = new Uint8Array(256);
  /** For each state the state of its longest proper end that begins a sequence. */
  readonly #fallback: number[] = [0];
  /** Units of a sequence that each state has read. */
  readonly depths: number[] = [0];
  /** For each state the longest sequence that ends there; -1: none does. */
  readonly ends: number[] = [-1];
  readonly #sequences: readonly string[];

  constructor(sequences: readonly string[]) {
    this.#sequences = sequences;
    for (let index = 0; index < sequences.length; index++) this.#add(sequences[index]!, index);
    this.#connect();
  }

  #add(sequence: string, index: number): void {
    let state = 0;
    for (let i = 0; i < sequence.length; i++) {
      const edge = state * 65_536 + sequence.charCodeAt(i);
      let next = this.#edges.get(edge);
      if (next === undefined) {
        next = this.depths.push(i + 1) - 1;
        this.#edges.set(edge, next);
        this.#fallback.push(0);
        if (this.#firstUnits[state] === -1) {
          this.#firstUnits[state] = sequence.charCodeAt(i);
          this.#firstStates[state] = next;
        } else this.#hasMore[state] = true;
        this.#firstUnits.push(-1);
        this.#firstStates.push(0);
        this.#hasMore.push(false);
        if (state === 0) this.#begins[sequence.charCodeAt(i) & 255] = 1;
        this.ends.push(-1);
      }
      state = next;
    }
    // Of two that are equal the one that is named first.
    if (this.ends[state] === -1) this.ends[state] = index;
  }

  /** Finds the fallbacks, shorter states first: an edge's goes from the fallback of the state that it begins at. */
  #connect(): void {
    const edges = [...this.#edges].sort(([, a], [, b]) => this.depths[a]! - this.depths[b]!);
    for (const [edge, state] of edges) {
      const from = Math.floor(edge / 65_536);
      if (from > 0) this.#fallback[state] = this.step(this.#fallback[from]!, edge % 65_536);
      if (this.ends[state] === -1) this.ends[state] = this.ends[this.#fallback[state]!]!;
    }
  }

  /** Hot path. The state after one more unit. */
  step(state: number, unit: number): number {
    for (let from = state; ; from = this.#fallback[from]!) {
      if (from === 0 && this.#begins[unit & 255] === 0) return 0;
      if (this.#firstUnits[from] === unit) return this.#firstStates[from]!;
      if (this.#hasMore[from]!) {
        const next = this.#edges.get(from * 65_536 + unit);
        if (next !== undefined) return next;
      }
      if (from === 0) return 0;
    }
  }

  sequence(index: number): string {
    return this.#sequences[index]!;
  }
}

/**
 * The stop sequence that begins first in a text of so many tokens; of two that begin together the one that is named first.
 * null: there is none. No more of the text is made than that takes, and each unit of it is looked at once. Throws BudgetError.
 */
export function findStop(
  { texts }: Vocabulary,
  cursor: TokenCursor,
  tokens: number,
  sequences: readonly string[],
  budget: Budget,
): Stop | null {
  const automaton = new StopAutomaton(sequences);
  const { depths, ends } = automaton;
  let state = 0;
  let read = 0;
  let first = -1;
  let firstAt = Infinity;
  for (let token = 0; token < tokens; token++) {
    const text = texts[cursor.next()]!;
    budget.spend("searched", text.length);
    for (let i = 0; i < text.length; i++) {
      state = automaton.step(state, text.charCodeAt(i));
      read++;
      // What is being read now began later than what was found.
      if (read - depths[state]! > firstAt) return { at: firstAt, sequence: automaton.sequence(first) };
      const end = ends[state]!;
      if (end === -1) continue;
      const at = read - automaton.sequence(end).length;
      if (at < firstAt || (at === firstAt && end < first)) {
        first = end;
        firstAt = at;
      }
    }
  }
  return first === -1 ? null : { at: firstAt, sequence: automaton.sequence(first) };
}
