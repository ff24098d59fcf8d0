/** From the texts of a command line to typed settings: a table whose rows carry their parse, and the parses they share. */
import { UsageError } from "../base/usage-error.ts";
import { type Flag, flagName } from "./flags.ts";
// Types alone: comparing results needs no distributions.
import type { Parse as ParseAs } from "./values.ts";

/** What a line gave for a flag: true for a boolean, all texts for a list, else the last text. */
export type GivenFlag = true | string | readonly string[];

/** What a line gave, by the flags' keys. */
export type GivenFlags = Readonly<Record<string, GivenFlag | undefined>>;

/** Reads one text. `flag` is how messages call it: "--rounds". Throws UsageError. */
type Parse<Value> = ParseAs<string, Value>;

/** The keys of `Settings` whose type is just `Value`: a row may stand for any of them. */
type KeysOf<Settings, Value> = {
  [Key in keyof Settings & string]: [Settings[Key], Value] extends [Value, Settings[Key]] ? Key : never;
}[keyof Settings & string];

/** How the value of a row is read. A boolean needs no parse; that of a list reads each of its texts. */
type ParseOf<Value> = [boolean] extends [Value]
  ? { readonly kind: "boolean" }
  : [Value] extends [readonly (infer Item)[]]
    ? { readonly kind: "list"; readonly parse: Parse<Item> }
    : { readonly kind: "text" | "integer" | "number"; readonly parse: Parse<NonNullable<Value>> };

/** The flags of a command: rows for keys of `Settings`, in the order of the help. */
export type FlagTable<Settings> = readonly {
  [Key in keyof Settings & string]: Flag<KeysOf<Settings, Settings[Key]>> & ParseOf<Settings[Key]>;
}[keyof Settings & string][];

/**
 * The settings that a line asks for. A flag that was not given has its default, or null; a boolean is false and a list is
 * empty. Throws UsageError.
 */
export function settingsOf<Settings>(table: FlagTable<Settings>, given: GivenFlags): Settings {
  const settings: Record<string, unknown> = {};
  // Each row is typed by its own key; here they are alike.
  for (const row of table as readonly (Flag & { readonly parse?: Parse<unknown> })[]) {
    const { key, kind, parse } = row;
    const value = given[key];
    const texts = value === undefined || value === true ? [] : [value].flat();
    const flag = `--${flagName(key)}`;
    if (kind === "boolean") settings[key] = value ?? false;
    else if (kind === "list") settings[key] = texts.map((text) => parse!(text, flag));
    else if (texts.length > 0) settings[key] = parse!(texts.at(-1)!, flag);
    else settings[key] = row.default === undefined ? null : parse!(String(row.default), flag);
  }
  return settings as Settings;
}

/** As it stands. */
export const text: Parse<string> = (given) => given;

/** Several values with commas between, each once. */
export function several<Value>(parse: Parse<Value>): Parse<readonly Value[]> {
  return (given, flag) => [...new Set(given.split(",").map((word) => parse(word.trim(), flag)))];
}

/** A whole number in digits. */
export function whole(min: number, max: number): Parse<number> {
  return (given, flag) => {
    const number = Number(given);
    if (!/^\d+$/.test(given) || number < min || number > max)
      throw new UsageError(`${flag}: "${given.slice(0, 60)}" is not a whole number from ${min} to ${max}`);
    return number;
  };
}

/** A number above 0. A unit at its end may be left out: "30s" and "30". */
export function positive(max: number, unit: string = ""): Parse<number> {
  return (given, flag) => {
    const digits = given.endsWith(unit) ? given.slice(0, given.length - unit.length) : given;
    const number = Number(digits);
    if (!/^\d*\.?\d+$/.test(digits) || !(number > 0) || number > max)
      throw new UsageError(`${flag}: "${given.slice(0, 60)}" is not a number above 0, up to ${max}`);
    return number;
  };
}
