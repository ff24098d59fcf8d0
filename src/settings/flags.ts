/**
 * A flag of any command as one row of a table, and what follows from rows alone: names, help, tables of the docs. The rows of
 * `fakeai serve` are in server.ts. This file imports nothing, so that a help screen loads no server.
 */

/** What a flag takes. A `list` may be given several times. */
export type FlagKind = "boolean" | "text" | "integer" | "number" | "list";

/** One flag of a command. */
export interface Flag<Key extends string = string> {
  /** In camel case; the flag is its kebab form. */
  readonly key: Key;
  readonly kind: FlagKind;
  /** Placeholder of the value in the help: "ms" for `--grace <ms>`. */
  readonly takes?: string;
  /** The value that holds when none is given. It stands here and nowhere else. */
  readonly default?: string | number | boolean;
  /** What holds when none is given, in words, where that is no single value. It is shown in place of `default`. */
  readonly otherwise?: string;
  /** One line, without the default. */
  readonly help: string;
  /** Heading in the help and in the docs. */
  readonly group: string;
  /** On the one screen of `--help`; the others are in `--help-all`. */
  readonly common?: boolean;
  /** Whether it may change while the command runs; the docs say so. */
  readonly isLive?: boolean;
  /** An environment variable that gives it, where that is not `environmentName`. */
  readonly environment?: string;
}

/** `maxConcurrentStreams` to `max-concurrent-streams`. */
export function flagName(key: string): string {
  return key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

/** `max-concurrent-streams` to `maxConcurrentStreams`. */
export function keyName(flag: string): string {
  return flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}

/** `max-concurrent-streams` to `FAKEAI_MAX_CONCURRENT_STREAMS`. */
export function environmentName(flag: string): string {
  return `FAKEAI_${flag.toUpperCase().replaceAll("-", "_")}`;
}

/** `--grace <ms>`. */
export function flagForm({ key, takes }: Pick<Flag, "key" | "takes">): string {
  return `--${flagName(key)}${takes === undefined ? "" : ` <${takes}>`}`;
}

/** The help with the default: "time that responses get to finish (default 10000)". */
export function flagHelp({ help, default: value, otherwise }: Pick<Flag, "help" | "default" | "otherwise">): string {
  if (otherwise !== undefined) return `${help} (default: ${otherwise})`;
  return value === undefined || value === false ? help : `${help} (default ${value})`;
}

/** The groups of a table with their flags, both in the order of the table. */
export function flagGroups<Row extends Flag>(flags: readonly Row[]): ReadonlyMap<string, readonly Row[]> {
  const groups = new Map<string, Row[]>();
  for (const flag of flags) {
    const group = groups.get(flag.group);
    if (group === undefined) groups.set(flag.group, [flag]);
    else group.push(flag);
  }
  return groups;
}

/** The default as Markdown: the value as code, or words; empty where there is none. */
export function flagDefault({ default: value, otherwise }: Pick<Flag, "default" | "otherwise">): string {
  if (otherwise !== undefined) return otherwise;
  return value === undefined || value === false ? "" : `\`${value}\``;
}

/** Flags as a Markdown table: flag, default, what it does. */
export function flagTable(flags: readonly Flag[]): string {
  const rows = flags.map((flag) => {
    const live = flag.isLive === true ? "; may change at run time" : "";
    return `| \`${cell(flagForm(flag))}\` | ${cell(flagDefault(flag))} | ${cell(flag.help)}${live} |`;
  });
  return ["| flag | default | what it does |", "| --- | --- | --- |", ...rows].join("\n");
}

/** All groups of a table as Markdown, each a heading of this level and its flags. */
export function flagTables(flags: readonly Flag[], level: number = 3): string {
  const sections = [...flagGroups(flags)].map(([group, rows]) => `${"#".repeat(level)} ${group}\n\n${flagTable(rows)}`);
  return sections.join("\n\n");
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|");
}
