/** Where a knob comes from: the command line wins over the environment, which wins over the configuration file. */
import { readFileSync } from "node:fs";
import { type Command, InvalidArgumentError, Option } from "commander";
import { parse } from "yaml";
import { flagName, type FlagSpec, UsageError } from "../config.ts";

/** `max-concurrent-streams` to `FAKEAI_MAX_CONCURRENT_STREAMS`. */
function environmentName(flag: string): string {
  return `FAKEAI_${flag.toUpperCase().replaceAll("-", "_")}`;
}

/** Adds the flags, each with its environment variable, and `--config`. */
export function addFlags(command: Command, flags: readonly FlagSpec[]): void {
  for (const { key, kind, takes, help } of flags) {
    const name = flagName(key);
    const option = new Option(`--${name}${takes === undefined ? "" : ` <${takes}>`}`, help).env(environmentName(name));
    if (kind === "integer") option.argParser((text) => integerOf(text));
    if (kind === "list") option.argParser((text, previous: readonly string[] | undefined) => [...(previous ?? []), ...text.split(",")]);
    command.addOption(option);
  }
  command.addOption(new Option("--config <file>", "YAML file with the same names as keys").env("FAKEAI_CONFIG"));
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

/** What the command line and the environment gave, filled up from the file. Throws UsageError for a bad file. */
export function settingsOf(command: Command, flags: readonly FlagSpec[]): Record<string, unknown> {
  const given = command.opts<Record<string, unknown>>();
  for (const { key, kind } of flags) {
    // commander takes any value of a boolean's environment variable as true.
    const variable = environmentName(flagName(key));
    if (kind === "boolean" && command.getOptionValueSource(key) === "env") {
      try {
        given[key] = booleanOf(process.env[variable]!);
      } catch {
        throw new UsageError(`${variable}: "${process.env[variable]}" is neither true nor false`);
      }
    }
  }
  const { config: path } = given;
  if (typeof path !== "string") return given;
  for (const [name, value] of Object.entries(readConfigFile(path))) {
    const flag = flags.find(({ key }) => flagName(key) === name);
    if (!flag)
      throw new UsageError(
        `${path}: unknown key "${name}"; keys are the flags' names: ${flags.map(({ key }) => flagName(key)).join(", ")}`,
      );
    given[flag.key] ??= checked(path, name, flag, value);
  }
  return given;
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

function checked(path: string, name: string, { kind }: FlagSpec, value: unknown): unknown {
  const isScalar = typeof value === "string" || typeof value === "number";
  const fits = {
    boolean: typeof value === "boolean",
    integer: typeof value === "number" && Number.isInteger(value),
    text: isScalar,
    list: isScalar || (Array.isArray(value) && value.every((item) => typeof item === "string")),
  }[kind];
  if (!fits) {
    const wanted = { boolean: "true or false", integer: "a whole number", text: "a text or number", list: "a text or a list of texts" }[
      kind
    ];
    throw new UsageError(`${path}: "${name}" must be ${wanted}`);
  }
  return kind === "text" || (kind === "list" && isScalar) ? String(value) : value;
}
