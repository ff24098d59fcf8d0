/** Where a knob comes from: the command line wins over the environment, which wins over the configuration file. */
import { readFileSync } from "node:fs";
import { type Command, InvalidArgumentError, Option } from "commander";
import { parse } from "yaml";
import { UsageError } from "../base/usage-error.ts";
import { type FlagKind, flagName, type ServerOptions, serverFlags } from "../settings/server.ts";
import { aliases, aliasMeaning, checkedValue, type Given, inGivenNames, kindOf, optionsOf } from "../settings/aliases.ts";

/** `max-concurrent-streams` to `FAKEAI_MAX_CONCURRENT_STREAMS`. */
function environmentName(flag: string): string {
  return `FAKEAI_${flag.toUpperCase().replaceAll("-", "_")}`;
}

/** How the command prints; its own, and no knob of a server. */
const printingFlags: readonly { readonly name: string; readonly help: string }[] = [
  { name: "json", help: "one line of JSON on stdout when ready, nothing else" },
  { name: "quiet", help: "print nothing" },
];

const isPrinting = (name: string): boolean => printingFlags.some((flag) => flag.name === name);

/** Adds the flags, each with its environment variable, then the names that other tools use, and `--config`. */
export function addFlags(command: Command): void {
  for (const { key, kind, takes, help } of serverFlags) command.addOption(optionOf(flagName(key), kind, takes, help));
  for (const { name, help } of printingFlags) command.addOption(optionOf(name, "boolean", undefined, help));
  command.addOption(new Option("--config <file>", "YAML file with the same names as keys").env("FAKEAI_CONFIG"));
  for (const alias of aliases) {
    const option = optionOf(alias.name, kindOf(alias.name)!, alias.takes, `${aliasMeaning(alias)} (${alias.from})`);
    command.addOption(option.helpGroup("Names that other tools use:"));
  }
}

function optionOf(name: string, kind: FlagKind, takes: string | undefined, help: string): Option {
  const option = new Option(`--${name}${takes === undefined ? "" : ` <${takes}>`}`, help).env(environmentName(name));
  if (kind === "integer") option.argParser((text) => integerOf(text));
  if (kind === "list") option.argParser((text, previous: readonly string[] | undefined) => [...(previous ?? []), ...text.split(",")]);
  return option;
}

function integerOf(text: string): number {
  const number = Number(text);
  if (!/^-?\d+$/.test(text) || !Number.isSafeInteger(number)) throw new InvalidArgumentError("It must be a whole number.");
  return number;
}

function booleanOf(text: string): boolean {
  if (/^(1|true|yes|on)$/i.test(text)) return true;
  if (/^(0|false|no|off|)$/i.test(text)) return false;
  throw new InvalidArgumentError("It must be true or false.");
}

/** What a command is to do. */
export interface Settings {
  readonly server: ServerOptions;
  readonly json: boolean;
  readonly quiet: boolean;
  /** A complaint about a flag, by the name under which it was given. */
  readonly inGivenNames: (message: string) => string;
}

/** What the command line, the environment and the file gave. Throws UsageError for what cannot be used. */
export function settingsOf(command: Command): Settings {
  const values = command.opts<Record<string, unknown>>();
  const fromCommand: Record<string, unknown> = {};
  const fromEnvironment: Record<string, unknown> = {};
  for (const option of command.options) {
    const key = option.attributeName();
    const name = option.name();
    const kind = isPrinting(name) ? "boolean" : kindOf(name);
    const source = command.getOptionValueSource(key);
    if (kind === undefined) continue;
    if (source === "cli") fromCommand[name] = values[key];
    // commander takes any value of a boolean's environment variable as true.
    if (source === "env") fromEnvironment[name] = kind === "boolean" ? booleanVariable(environmentName(name)) : values[key];
  }
  const { config: path } = values;
  const sources: Given[] = [fromCommand, fromEnvironment, typeof path === "string" ? fileSettings(path) : {}];
  const printing = (name: string): boolean => sources.find((source) => source[name] !== undefined)?.[name] === true;
  const knobs = sources.map((source) => Object.fromEntries(Object.entries(source).filter(([name]) => !isPrinting(name))));
  return {
    server: optionsOf(knobs),
    json: printing("json"),
    quiet: printing("quiet"),
    inGivenNames: (message) => inGivenNames(message, knobs),
  };
}

function booleanVariable(variable: string): boolean {
  try {
    return booleanOf(process.env[variable]!);
  } catch {
    throw new UsageError(`${variable}: "${process.env[variable]}" is neither true nor false`);
  }
}

function fileSettings(path: string): Given {
  return Object.fromEntries(
    Object.entries(readConfigFile(path)).map(([name, value]) => {
      const kind = isPrinting(name) ? "boolean" : kindOf(name);
      if (kind === undefined) {
        const keys = [...serverFlags.map(({ key }) => flagName(key)), ...printingFlags.map((flag) => flag.name)].join(", ");
        throw new UsageError(`${path}: unknown key "${name}"; keys are the flags' names: ${keys}`);
      }
      return [name, checkedValue(`${path}: "${name}"`, kind, value)];
    }),
  );
}

function readConfigFile(path: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`--config: cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`);
  }
  let value: unknown;
  try {
    value = parse(text) ?? {};
  } catch (error) {
    throw new UsageError(`--config: ${path} is not YAML (${(error as Error).message.split("\n")[0]})`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new UsageError(`--config: ${path} must hold keys and values`);
  return value as Record<string, unknown>;
}
