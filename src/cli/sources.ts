/** Where the settings of a server come from: the command line wins over the environment, which wins over the file. */
import { readFileSync } from "node:fs";
import { UsageError } from "../base/usage-error.ts";
import { aliases, aliasMeaning, checkedValue, type Given, guessAtName, inGivenNames, kindOf, optionsOf } from "../settings/aliases.ts";
import { givenByEnvironment } from "../settings/environment.ts";
import { environmentName, type Flag, flagForm, type FlagKind, flagName, keyName } from "../settings/flags.ts";
import type { GivenFlag, GivenFlags } from "../settings/parse.ts";
import type { ServerOptions } from "../settings/options.ts";
import { serverFlags } from "../settings/server.ts";

const printing = "Output";

/** How the command prints; no knobs of a server. */
const printingFlags: readonly Flag<"json" | "quiet" | "dashboard">[] = [
  { key: "json", kind: "boolean", help: "one line of JSON on stdout when ready, nothing else", group: printing, common: true },
  { key: "quiet", kind: "boolean", help: "print nothing", group: printing },
  { key: "dashboard", kind: "boolean", help: "streams, tokens/s, lateness and more, live on the terminal", group: printing },
];

const configFlag: Flag<"config"> = {
  key: "config",
  kind: "text",
  takes: "file",
  help: "YAML file with the same names as keys",
  group: printing,
  common: true,
};

/** Every flag of `fakeai serve`: the server's, those of the command, and the names that other tools use. */
export const serveFlags: readonly Flag[] = [
  ...serverFlags,
  ...printingFlags,
  configFlag,
  ...aliases.map((alias): Flag => ({
    key: keyName(alias.name),
    kind: kindOf(alias.name)!,
    takes: alias.takes,
    help: `${aliasMeaning(alias)} (${alias.from})`,
    group: "Names that other tools use",
  })),
];

const isPrinting = (name: string): boolean => printingFlags.some(({ key }) => key === name);

/** What `fakeai serve` is to do. */
export interface ServeSettings {
  readonly server: ServerOptions;
  readonly json: boolean;
  readonly quiet: boolean;
  readonly dashboard: boolean;
  /** A complaint about a flag, by the name under which it was given. */
  readonly inGivenNames: (message: string) => string;
}

/** What the command line, the environment and the file gave. Throws UsageError for what cannot be used. */
export async function serveSettings(line: GivenFlags): Promise<ServeSettings> {
  const environment = givenByEnvironment(serveFlags, process.env);
  const path = line["config"] ?? environment["config"];
  const sources: Given[] = [
    valuesOf(line, ({ key }) => `--${flagName(key)}`),
    valuesOf(environment, ({ key }) => environmentName(flagName(key))),
    typeof path === "string" ? await fileSettings(path) : {},
  ];
  const asked = (name: string): boolean => sources.find((source) => source[name] !== undefined)?.[name] === true;
  const knobs = sources.map((source) => Object.fromEntries(Object.entries(source).filter(([name]) => !isPrinting(name))));
  return {
    server: optionsOf(knobs),
    json: asked("json"),
    quiet: asked("quiet"),
    dashboard: asked("dashboard"),
    inGivenNames: (message) => inGivenNames(message, knobs),
  };
}

/** What one source of texts gave, by flag names, with the values of the flags' kinds. `--config` is no setting. */
function valuesOf(given: GivenFlags, nameOf: (row: Flag) => string): Given {
  const entries = serveFlags.flatMap((row): [string, unknown][] => {
    const value = given[row.key];
    return value === undefined || row === configFlag ? [] : [[flagName(row.key), valueOf(row, value, nameOf(row))]];
  });
  return Object.fromEntries(entries);
}

function valueOf({ kind, key, takes }: Flag, given: GivenFlag, name: string): unknown {
  if (kind === "boolean") return given === true ? true : booleanOf(String(given), name);
  if (kind === "list") return [given as string | readonly string[]].flat().flatMap((text) => text.split(","));
  if (kind !== "integer" && kind !== "number") return given;
  const text = String(given);
  const number = Number(text);
  const fits = kind === "integer" ? /^-?\d+$/.test(text) && Number.isSafeInteger(number) : /^-?\d*\.?\d+$/.test(text);
  if (!fits)
    throw new UsageError(
      `${name}: "${text.slice(0, 60)}" is not a ${kind === "integer" ? "whole number" : "number"} (${flagForm({ key, ...(takes === undefined ? {} : { takes }) })})`,
    );
  return number;
}

function booleanOf(text: string, name: string): boolean {
  if (/^(1|true|yes|on)$/i.test(text)) return true;
  if (/^(0|false|no|off)$/i.test(text)) return false;
  throw new UsageError(`${name}: "${text.slice(0, 60)}" is neither true nor false`);
}

async function fileSettings(path: string): Promise<Given> {
  return Object.fromEntries(
    Object.entries(await readConfigFile(path)).map(([name, value]) => {
      const kind: FlagKind | undefined = isPrinting(name) ? "boolean" : kindOf(name);
      if (kind === undefined) {
        const printing = printingFlags.map(({ key }) => key);
        const keys = [...serverFlags.map(({ key }) => flagName(key)), ...printing];
        const guess = guessAtName(name, printing);
        throw new UsageError(
          `${path}: unknown key "${name.slice(0, 60)}"${guess === "" ? `; keys are the flags' names: ${keys.join(", ")}` : guess}`,
        );
      }
      return [name, checkedValue(`${path}: "${name}"`, kind, value)];
    }),
  );
}

async function readConfigFile(path: string): Promise<Record<string, unknown>> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`--config: cannot read ${path} (${(error as NodeJS.ErrnoException).code ?? "unreadable"})`);
  }
  // Loaded for a file alone: most servers are started without one.
  const { parse } = await import("yaml");
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
