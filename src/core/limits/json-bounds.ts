/** What a JSON text holds, before it is parsed: what is refused here costs neither the time nor the memory of its values. */
import { mostShares, workBounds } from "./budget.ts";

const quote = 0x22;
const backslash = 0x5c;
/** Bytes of a string that are looked at one by one: short strings end before a call would pay. After each escaped quotation mark twice as many. */
const shortString = 24;
const mostOneByOne = 4096;

/** 0 for the bytes between strings that say nothing: white space, and what numbers, true, false and null are written with. */
const marks = new Uint8Array(256).fill(1);
for (const character of " \t\r\n+-0123456789trufalsn") marks[character.charCodeAt(0)] = 0;

/** The kinds of work that a text is counted by. */
export type BodyWork = "bodyMembers" | "bodyContainers" | "bodyValues" | "bodyStrings";

/** What a text has too much of. */
export interface JsonExcess {
  /** It nests too deep, it holds more of a kind than `workBounds` allows, or too much of all four kinds together. */
  readonly of: "depth" | BodyWork | "together";
  /** The byte of the text that is one too many; of all together its length. */
  readonly at: number;
  /** How many times a bound all four kinds together use; 0 where another bound was passed. */
  readonly shares: number;
}

/**
 * What JSON text (UTF-8) has too much of; null: nothing. JSON.parse itself takes any depth, but whatever walks the value
 * afterwards recurses. The text need not be valid; what strings hold does not count, nor what stands behind a byte that ends every
 * parser's patience.
 */
export function jsonExcess(bytes: Uint8Array, mostDepth: number): JsonExcess | null {
  const { length } = bytes;
  const mostMembers = workBounds.bodyMembers.most;
  const mostContainers = workBounds.bodyContainers.most;
  const mostCommas = workBounds.bodyValues.most;
  const mostStrings = workBounds.bodyStrings.most;
  let depth = 0;
  let members = 0;
  let containers = 0;
  let commas = 0;
  let strings = 0;
  /** Points and letters of exponents since the last mark, and whether one of them was of a number. */
  let signs = 0;
  let isFraction = false;
  const excess = (of: JsonExcess["of"], at: number, shares = 0): JsonExcess => ({ of, at, shares });
  const first = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  let mark = first - 1;
  for (let at = first; at < length; at++) {
    // Most bytes say nothing: a table passes by them in a third of the time that a switch takes.
    if (marks[bytes[at]!] === 0) continue;
    switch (bytes[at]!) {
      case quote:
        if (++strings > mostStrings) return excess("bodyStrings", at);
        at = endOfString(bytes, at + 1);
        break;
      case 0x5b:
      case 0x7b:
        if (++depth > mostDepth) return excess("depth", at);
        if (++containers > mostContainers) return excess("bodyContainers", at);
        break;
      case 0x5d:
      case 0x7d:
        depth--;
        break;
      case 0x3a:
        if (++members > mostMembers) return excess("bodyMembers", at);
        break;
      case 0x2c:
        commas += isFraction || (at - mark > longNumber && isLong(bytes, mark + 1, at)) ? 3 : 1;
        if (commas > mostCommas) return excess("bodyValues", at);
        break;
      case 0x2e:
      case 0x45:
      case 0x65: {
        // Of true and false it is the last letter.
        const before = bytes[at - 1]!;
        if (before >= 0x30 && before <= 0x39) isFraction = true;
        if (++signs <= mostSigns) continue;
        at = length;
        break;
      }
      default:
        // No JSON: JSON.parse ends here too, with what stands before. Else 4 MB of anything would be looked at byte by byte.
        at = length;
    }
    mark = at;
    signs = 0;
    isFraction = false;
  }
  const shares = members / mostMembers + containers / mostContainers + commas / mostCommas + strings / mostStrings;
  return shares > mostShares ? excess("together", length, shares) : null;
}

/** A number has one point and one letter of an exponent, and no value has more. */
const mostSigns = 2;
/** Characters of a number that is no integer of 31 bits. No token's identifier has as many. */
const longNumber = 10;
/** Characters of a number that are looked at: where more are blank, it counts as an integer. */
const mostRead = 24;

/**
 * Whether what ends at `end` is an integer that V8 keeps as a double, as it does a fraction: it takes three times as long to parse
 * as an integer of 31 bits.
 */
function isLong(bytes: Uint8Array, start: number, end: number): boolean {
  let digits = 0;
  for (let at = end - 1; at >= start && end - at <= mostRead; at--) {
    const byte = bytes[at]!;
    if (byte >= 0x30 && byte <= 0x39) {
      if (++digits >= longNumber) return true;
    } else if (digits > 0 ? byte !== 0x2d && byte !== 0x2b : byte > 0x20) return false;
  }
  return false;
}

/** Where the string that begins at `start` ends: the place of its quotation mark, or the end of the text. */
function endOfString(bytes: Uint8Array, start: number): number {
  const { length } = bytes;
  let oneByOne = shortString;
  for (let at = start; ;) {
    const soon = Math.min(length, at + oneByOne);
    for (; at < soon; at++) {
      const byte = bytes[at]!;
      if (byte === quote) return at;
      if (byte === backslash) at++;
    }
    const mark = bytes.indexOf(quote, at);
    if (mark < 0) return length;
    // Escaped by an odd number of backslashes before it; those before `at` belong to what was read.
    let first = mark;
    while (first > at && bytes[first - 1] === backslash) first--;
    if ((mark - first) % 2 === 0) return mark;
    at = mark + 1;
    oneByOne = Math.min(mostOneByOne, 2 * oneByOne);
  }
}
