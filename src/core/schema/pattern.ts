/** Texts that a regular expression matches as a whole: literals, classes, groups, alternatives and quantifiers. */
import { Budget } from "../limits/budget.ts";
import type { Random } from "../random/random.ts";

/** Repetitions of an open quantifier beyond its least. */
const mostExtra = 4;
const longest = 4096;
/** The most characters that a class chooses from. */
const mostMembers = 256;

/**
 * One text, or null where the pattern uses something else (look-around, back references, \b, \p{...}) or is malformed. Throws
 * BudgetError.
 */
export function patternInstance(pattern: string, random: Random, budget: Budget = new Budget()): string | null {
  const reader = new Reader(pattern, random, budget);
  const text = reader.alternatives(true, 0);
  return reader.failed || !reader.atEnd || text.length > longest ? null : text;
}

const digits = "0123456789";
const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
/** What an escape stands for. */
const escapes: ReadonlyMap<string, string> = new Map([
  ["d", digits], ["w", `${letters}${digits}_`], ["s", " "], ["D", letters], ["W", "-"], ["S", letters],
  ["n", "\n"], ["r", "\r"], ["t", "\t"], ["f", "\f"], ["v", "\v"], ["0", "\0"],
]); // oxfmt-ignore
const printableEnd = 126;
const printable = Array.from({ length: 95 }, (_, i) => 32 + i);
const once: readonly [number, number] = [1, 1];

/** The class that last held each UTF-16 unit, by its number: no class has to forget what others held. Made with the first. */
let holders: Uint32Array | null = null;
let lastClass = 0;

/** Reads and makes in one pass; a repeated piece is read again for each repetition, so that each may differ. */
class Reader {
  failed = false;
  readonly #pattern: string;
  readonly #random: Random;
  readonly #budget: Budget;
  /** Classes by where they begin: a repeated one is read once. */
  readonly #classes = new Map<number, { readonly members: string; readonly end: number }>();
  #at = 0;

  constructor(pattern: string, random: Random, budget: Budget) {
    this.#pattern = pattern;
    this.#random = random;
    this.#budget = budget;
  }

  get atEnd(): boolean {
    return this.#at >= this.#pattern.length;
  }

  /** Reads up to a closing bracket. All alternatives are read, one is kept. */
  alternatives(outermost: boolean, depth: number): string {
    if (depth > 20) this.failed = true;
    const texts = [this.#sequence(outermost, depth)];
    while (!this.failed && this.#pattern[this.#at] === "|") {
      this.#at++;
      texts.push(this.#sequence(outermost, depth));
    }
    return texts[this.#random.below(texts.length)]!;
  }

  #sequence(outermost: boolean, depth: number): string {
    let text = "";
    while (!this.failed && !this.atEnd && this.#pattern[this.#at] !== "|" && this.#pattern[this.#at] !== ")") {
      if (text.length > longest) this.failed = true;
      const start = this.#at;
      const one = this.#piece(outermost, depth);
      const [least, most] = this.#quantifier();
      const end = this.#at;
      const wanted = least + this.#random.below(Math.min(most - least, mostExtra) + 1);
      if (wanted * Math.max(1, one.length) > longest) this.failed = true;
      if (wanted > 0) text += one;
      for (let i = 1; i < wanted && !this.failed; i++) {
        this.#at = start;
        text += this.#piece(outermost, depth);
      }
      this.#at = end;
    }
    return text;
  }

  #piece(outermost: boolean, depth: number): string {
    this.#budget.spend("patternPieces");
    const character = this.#pattern[this.#at++]!;
    switch (character) {
      case "^":
        // Anchors are met where they stand at the ends of the whole.
        if (!outermost || this.#at > 1) this.failed = true;
        return "";
      case "$":
        if (!outermost || !this.atEnd) this.failed = true;
        return "";
      case ".":
        return this.#oneOf(letters);
      case "(":
        return this.#group(depth);
      case "[":
        return this.#oneOf(this.#class());
      case "\\":
        return this.#oneOf(this.#escape());
      case "*":
      case "+":
      case "?":
      case "{":
        this.failed = true;
        return "";
      default:
        return character;
    }
  }

  #group(depth: number): string {
    if (this.failed) return "";
    if (this.#pattern[this.#at] === "?") {
      const opening = /^\?(?::|<[A-Za-z_]\w*>)/.exec(this.#pattern.slice(this.#at, this.#at + 64));
      if (!opening) {
        this.failed = true;
        return "";
      }
      this.#at += opening[0].length;
    }
    const text = this.alternatives(false, depth + 1);
    if (this.#pattern[this.#at++] !== ")") this.failed = true;
    return text;
  }

  #escape(): string {
    const character = this.#pattern[this.#at++] ?? "";
    const known = escapes.get(character);
    if (known !== undefined) return known;
    const code = /^(?:x([\da-fA-F]{2})|u([\da-fA-F]{4}))/.exec(this.#pattern.slice(this.#at - 1, this.#at + 4));
    if (code) {
      this.#at += code[0].length - 1;
      return String.fromCharCode(Number.parseInt(code[1] ?? code[2]!, 16));
    }
    // Any other letter or digit means something that is not supported.
    if (/[A-Za-z0-9]|^$/.test(character)) this.failed = true;
    return character;
  }

  #class(): string {
    const start = this.#at;
    const known = this.#classes.get(start);
    if (known !== undefined) {
      this.#at = known.end;
      return known.members;
    }
    const members = this.#readClass();
    this.#classes.set(start, { members, end: this.#at });
    return members;
  }

  #readClass(): string {
    const negated = this.#pattern[this.#at] === "^";
    if (negated) this.#at++;
    const held = (holders ??= new Uint32Array(65_536));
    if (++lastClass === 2 ** 32) held.fill((lastClass = 1) - 1);
    const own = lastClass;
    const members: number[] = [];
    const add = (unit: number): void => {
      // What is kept out counts to the last; of what may be chosen, some is enough.
      if (held[unit] === own || (!negated && members.length === mostMembers)) return;
      held[unit] = own;
      members.push(unit);
    };
    while (!this.failed && this.#pattern[this.#at] !== "]") {
      this.#budget.spend("patternPieces");
      if (this.atEnd) {
        this.failed = true;
        return "";
      }
      const from = this.#member();
      if (this.#pattern[this.#at] === "-" && this.#pattern[this.#at + 1] !== "]" && from.length === 1) {
        this.#at++;
        const to = this.#member();
        const first = from.charCodeAt(0);
        // Only what is printable can be chosen from the rest.
        const last = Math.min(to.charCodeAt(0), negated ? printableEnd : first + mostMembers);
        for (let code = first; code <= last; code++) add(code);
      } else {
        for (let at = 0; at < from.length; at++) add(from.charCodeAt(at));
      }
    }
    this.#at++;
    const set = negated ? printable.filter((unit) => held[unit] !== own) : members;
    if (set.length === 0) this.failed = true;
    return String.fromCharCode(...set);
  }

  #member(): string {
    const character = this.#pattern[this.#at++] ?? "";
    return character === "\\" ? this.#escape() : character;
  }

  #oneOf(members: string): string {
    return members === "" ? "" : members[this.#random.below(members.length)]!;
  }

  #quantifier(): readonly [number, number] {
    const next = this.#pattern[this.#at];
    if (next !== "*" && next !== "+" && next !== "?" && next !== "{") return once;
    const found = /^(?:([*+?])|\{(\d{1,4})(?:(,)(\d{1,4})?)?\})\??/.exec(this.#pattern.slice(this.#at, this.#at + 13));
    if (!found) return once;
    this.#at += found[0].length;
    if (found[1] !== undefined) return { "*": [0, Infinity], "+": [1, Infinity], "?": [0, 1] }[found[1]] as [number, number];
    const least = Number(found[2]);
    const most = found[3] === undefined ? least : found[4] === undefined ? Infinity : Number(found[4]);
    if (most < least) this.failed = true;
    return [least, Math.max(least, most)];
  }
}
