/** Values that programs trip over: strings, numbers, names and nests, each of about the bytes that are asked for. */
import type { Dice } from "./dice.ts";

/** What no answer may ever have among its headers. */
export const injectedHeader = "x-injected";

/** Names that every object of JavaScript answers to, and near ones. */
export const prototypeNames: readonly string[] = [
  ...Object.getOwnPropertyNames(Object.prototype),
  ...Object.getOwnPropertyNames(Array.prototype).filter((name) => /^(?:length|at|map|concat|flat|entries)$/.test(name)),
  "prototype",
  "then",
  "",
];

const numbers: readonly number[] = [
  0, -0, -1, 1, 2, 3, 7, 15, 16, 17, 20, 63, 64, 65, 100, 127, 128, 129, 255, 256, 1000, 1024, 1536, 2047, 2048, 2049, 3072, 4096, 8191,
  20_000, 65_535, 65_536, 100_000, 262_144, 1_000_000, 1_048_576, 1_048_577, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 1e15,
  1e21, 1e100, 1e308, -1e308, 5e-324, 1e-7, 0.1, 0.5, 1.5, -0.5, 1.7976931348623157e308,
]; // oxfmt-ignore

/** Marks text that stands in the JSON as it is, without quotation marks: what no value of JavaScript prints. */
const verbatimMark = "\u0001verbatim:";
const verbatim = (text: string): string => `${verbatimMark}${text}`;
const verbatimPattern = /"\\u0001verbatim:([^"]*)"/g;

/** The JSON of a body whose verbatim parts stand as they are. */
export function jsonOf(value: unknown): string {
  const text = JSON.stringify(value) ?? "null";
  return text.includes("\\u0001verbatim:") ? text.replace(verbatimPattern, "$1") : text;
}

export function hostileNumber(dice: Dice): unknown {
  if (dice.oneIn(8))
    return verbatim(dice.pick(["1e400", "-1e400", "1e-400", "-0", "1E+2", "0.1e1", `1${"0".repeat(400)}`, `0.${"3".repeat(2000)}`]));
  return dice.oneIn(6) ? dice.size(1, 2 ** 53) : dice.pick(numbers);
}

const alphabets: readonly string[] = [
  "a", "ab", " ", "a ", "\n", "0123456789", "\u0000", '"', "\\", "é", "漢字", "😀", "\ud800", "\udfff", "\u2028", "\u200b", "\u202e", "ÿ",
  "e\u0301", "<|im_start|>", "data: [DONE]\n\n", "\r\n", "%", "../", "{}", "[", "]", "{\"a\":", "\ufeff", "\u0001", "ſ", "İ", "ﷺ",
]; // oxfmt-ignore

const injections: readonly string[] = [
  `a\r\n${injectedHeader}: 1`,
  `a\r\n\r\nHTTP/1.1 200 OK\r\n${injectedHeader}: 1\r\n\r\n`,
  `a\n${injectedHeader}: 1`,
  `a\r${injectedHeader}: 1`,
  // The low bytes of these two are CR and LF.
  `a\u560d\u560a${injectedHeader}: 1`,
  `%0d%0a${injectedHeader}:%201`,
  'a","fakeai":{"sent":0,"due":0},"x":"',
  "data: {}\n\ndata: [DONE]\n\n",
];

/** Repeats what is given up to so many UTF-16 units. */
export function filled(unit: string, length: number): string {
  return unit.repeat(Math.ceil(length / Math.max(1, unit.length))).slice(0, Math.max(0, length));
}

/** A text that repeats a unit but for one place, which a search that backs up finds late. */
export function nearlyPeriodic(dice: Dice, length: number): string {
  const unit = dice.pick(["a", "ab", "aab", " the", "abcabd", "é"]);
  const half = filled(unit, Math.max(1, Math.floor(length / 2)));
  return dice.pick([`${half}b${half}`, `${half}${half}b`, `b${half}${half}`, `${half}${half}`]);
}

export function hostileString(dice: Dice, bytes: number): string {
  switch (dice.below(6)) {
    case 0:
      return dice.pick(prototypeNames);
    case 1:
      return dice.pick(injections);
    case 2:
      return nearlyPeriodic(dice, bytes);
    case 3: {
      let text = "";
      const length = Math.min(bytes, 4096);
      while (text.length < length) text += dice.pick(alphabets);
      return text;
    }
    default:
      return filled(dice.pick(alphabets), bytes);
  }
}

/** Arrays and objects within each other. A body may nest 128 deep. */
export function nest(dice: Dice, depth: number, inner: unknown): unknown {
  let value = inner;
  const kind = dice.below(3);
  for (let level = 0; level < depth; level++) value = kind === 0 || (kind === 2 && level % 2 === 0) ? [value] : { a: value };
  return value;
}

/** An object with names of Object.prototype as members of its own. */
function prototypeObject(dice: Dice, bytes: number): object {
  // fromEntries makes "__proto__" a member like any other.
  return Object.fromEntries(
    Array.from({ length: dice.between(1, 8) }, () => [dice.pick(prototypeNames), hostileValue(dice, Math.min(64, bytes), 1)]),
  ) as object;
}

/** A value of any kind, of about so many bytes. `level`: how deep it stands. */
export function hostileValue(dice: Dice, bytes: number, level = 0): unknown {
  switch (dice.below(level > 3 ? 5 : 10)) {
    case 0:
      return dice.pick([null, true, false]);
    case 1:
    case 2:
      return hostileNumber(dice);
    case 3:
    case 4:
      return hostileString(dice, bytes);
    case 5: {
      const item = hostileValue(dice, Math.min(bytes, 64), level + 1);
      const each = jsonOf(item).length + 1;
      return Array.from({ length: Math.min(2_000_000, Math.ceil(bytes / each)) }, () => item);
    }
    case 6: {
      const count = Math.min(200_000, Math.ceil(bytes / 12));
      return Object.fromEntries(Array.from({ length: count }, (_, index) => [`k${index}`, index]));
    }
    case 7:
      return prototypeObject(dice, bytes);
    case 8:
      return nest(dice, dice.pick([1, 4, 60, 120, 127, 128, 129, 500]), hostileNumber(dice));
    default:
      return [hostileValue(dice, bytes, level + 1), hostileValue(dice, bytes, level + 1)];
  }
}
