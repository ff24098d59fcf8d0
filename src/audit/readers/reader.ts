/** What a reader of a tool's report is, and what readers share. */
import type { Asked, Quantity, Report, Reported, Statistic } from "../types.ts";

/** What a run of a tool left: what it printed, and the files it wrote. */
export interface Output {
  readonly stdout: string;
  readonly stderr: string;
  readonly files: readonly { readonly path: string; text(): string }[];
}

/** The reader of one tool's reports. */
export interface Reader {
  readonly tool: string;
  /** The version whose output a test has. "documented": none could be run here, and the form is that of its documentation. */
  readonly tested: string;
  /** Where the tool says what it measures. */
  readonly documentation: string;
  /** What it says of figures whose name promises something else, each with the place where it does. */
  readonly definitions: readonly string[];
  /** null: this is no report of it. Throws Error, in one line, for one that cannot be read. */
  read(output: Output): Report | null;
}

export const notAsked: Asked = { concurrency: null, ratePerSecond: null };

export type Json = { readonly [name: string]: unknown };

export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Numbers that Python's json writes and JSON has not (RFC 8259, section 6), where a value stands. */
const noNumber = /(?<=[:,[]\s*)-?(?:Infinity|NaN)(?=\s*[,}\]])/g;

/** A JSON object; null: the text is none. Infinity and NaN, as Python writes them, are null in it. */
export function jsonIn(text: string): Json | null {
  const start = text.trimStart();
  if (!start.startsWith("{")) return null;
  return parsed(start) ?? (start.search(noNumber) < 0 ? null : parsed(start.replace(noNumber, "null")));
}

function parsed(text: string): Json | null {
  try {
    const value: unknown = JSON.parse(text);
    return isObject(value) ? value : null;
  } catch {
    return null;
  }
}

/** The first JSON object with these members: among the files, then on stdout, whole or a line of it. */
export function objectWith({ stdout, files }: Output, names: readonly string[]): Json | null {
  const fits = (value: Json | null): value is Json => value !== null && names.every((name) => Object.hasOwn(value, name));
  for (const file of files) {
    if (!/\.jsonl?$/.test(file.path)) continue;
    const text = file.text();
    const whole = jsonIn(text);
    if (fits(whole)) return whole;
    const last = jsonIn(text.trimEnd().split("\n").at(-1) ?? "");
    if (fits(last)) return last;
  }
  const whole = jsonIn(stdout);
  if (fits(whole)) return whole;
  for (const line of stdout.split("\n").toReversed()) {
    const value = jsonIn(line);
    if (fits(value)) return value;
  }
  // Between lines of other kinds.
  const from = stdout.search(/^\{/m);
  const to = stdout.lastIndexOf("\n}");
  const between = from < 0 || to < from ? null : jsonIn(stdout.slice(from, to + 2));
  return fits(between) ? between : null;
}

/** A member by a path of names; undefined: it is not there. */
export function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  let found = value;
  for (const name of path) {
    if (typeof name === "number" ? !Array.isArray(found) : !isObject(found)) return undefined;
    found = (found as Record<string | number, unknown>)[name];
  }
  return found;
}

/** A finite number; null: it is none. */
export function numberAt(value: unknown, ...path: readonly (string | number)[]): number | null {
  const found = at(value, ...path);
  return typeof found === "number" && Number.isFinite(found) ? found : null;
}

export function textAt(value: unknown, ...path: readonly (string | number)[]): string | null {
  const found = at(value, ...path);
  return typeof found === "string" ? found : null;
}

/** A figure, where its value is a number. */
export function figure(quantity: Quantity, statistic: Statistic, value: number | null | undefined, name: string): Reported[] {
  return value === null || value === undefined || !Number.isFinite(value) ? [] : [{ quantity, statistic, value, name }];
}

/** Figures of one quantity from an object of statistics. `names`: ours to those of the object; `scale` to our unit. */
export function figuresOf(
  quantity: Quantity,
  statistics: unknown,
  names: Readonly<Partial<Record<Statistic, string>>>,
  name: string,
  scale: number = 1,
): Reported[] {
  return Object.entries(names).flatMap(([statistic, member]) => {
    const value = numberAt(statistics, ...member.split("/"));
    return value === null ? [] : figure(quantity, statistic as Statistic, value * scale, `${name} ${member.split("/").at(-1)!}`);
  });
}

const inMs: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1000,
  sec: 1000,
  secs: 1000,
  m: 60_000,
  min: 60_000,
  h: 3_600_000,
};

/** "528.41ms", "1.05 s", "1m2.5s": milliseconds; null: it is no time. */
export function durationMs(text: string | undefined): number | null {
  if (text === undefined || !/^(?:[\d.]+\s*[a-zµμ]+\s*)+$/.test(text.trim())) return null;
  let total = 0;
  for (const [, number, unit] of text.matchAll(/([\d.]+)\s*([a-zµμ]+)/g)) {
    const scale = inMs[unit!];
    if (scale === undefined) return null;
    total += Number(number) * scale;
  }
  return Number.isFinite(total) ? total : null;
}

/** The first group of a pattern as a number; null: it is not there. */
export function numberIn(text: string, pattern: RegExp): number | null {
  const found = pattern.exec(text)?.[1];
  return found === undefined || !Number.isFinite(Number(found)) ? null : Number(found);
}

/** The first group of a pattern as a time; null: it is not there. */
export function timeIn(text: string, pattern: RegExp): number | null {
  return durationMs(pattern.exec(text)?.[1]);
}
