/** A command line, read by the table of a command's flags. Values are still texts: `settingsOf` parses them. */
import { CommanderError, Command as Program, Option } from "commander";
import { UsageError } from "../base/usage-error.ts";
import { type Flag, flagForm, flagName } from "../settings/flags.ts";
import type { GivenFlag } from "../settings/parse.ts";
import type { Command, Line } from "./command.ts";

/** What a line asks for: the command, or one of its help screens. */
type Asked = { readonly help: "common" | "all" } | ({ readonly help: null } & Line);

/** Reads what follows the command's name. Throws UsageError for what the command does not take, unless help was asked for. */
export async function readLine(args: readonly string[], command: Command, flags: readonly Flag[]): Promise<Asked> {
  const rows = new Map(flags.map((row) => [flagName(row.key), row]));
  const parser = parserOf(command, flags);
  const { operands, unknown } = parsed(parser, args, command, rows);
  const values = parser.opts<Record<string, GivenFlag | undefined>>();
  if (values["helpAll"] !== undefined) return { help: "all" };
  if (values["help"] !== undefined) return { help: "common" };
  if (unknown.length > 0) throw await refusedOption(unknown[0]!, command, rows);
  checkPositionals(operands, command);
  const given = Object.fromEntries(flags.flatMap(({ key }) => (values[key] === undefined ? [] : [[key, values[key]] as const])));
  return { given, positionals: operands, help: null };
}

/** commander takes the line apart. Complaints, guesses and help screens are ours, so that they follow the table of flags. */
function parserOf({ name }: Command, flags: readonly Flag[]): Program {
  const parser = new Program(name).helpOption(false).exitOverride();
  parser.configureOutput({ writeOut: () => {}, writeErr: () => {} });
  parser.addOption(new Option("-h, --help")).addOption(new Option("--help-all"));
  for (const row of flags) {
    const option = new Option(row.kind === "boolean" ? `--${flagName(row.key)}` : `--${flagName(row.key)} <value>`);
    if (row.kind === "list") option.argParser((text: string, before: readonly string[] | undefined) => [...(before ?? []), text]);
    parser.addOption(option);
  }
  return parser;
}

function parsed(
  parser: Program,
  args: readonly string[],
  command: Command,
  rows: ReadonlyMap<string, Flag>,
): ReturnType<Program["parseOptions"]> {
  try {
    return parser.parseOptions([...args]);
  } catch (error) {
    // The only thing that it refuses by itself is a flag without its value: "option '--ttft <value>' argument missing".
    const row = error instanceof CommanderError ? rows.get(/--([\w-]+)/.exec(error.message)?.[1] ?? "") : undefined;
    if (row === undefined) throw error;
    throw new UsageError(`${flagForm(row)} needs a value${see(command)}`);
  }
}

/** What stands where a flag should: one that is not there, or a boolean one with a value. */
async function refusedOption(word: string, command: Command, rows: ReadonlyMap<string, Flag>): Promise<UsageError> {
  const name = word.split("=", 1)[0]!;
  const row = rows.get(name.slice(2));
  return row === undefined ? await unknownFlag(name, command, [...rows.values()]) : new UsageError(`${flagForm(row)} takes no value`);
}

async function unknownFlag(name: string, command: Command, flags: readonly Flag[]): Promise<UsageError> {
  const { guessAtFlag } = await import("./typos.ts");
  const meant = guessAtFlag(name, command.name, flags);
  return new UsageError(`unknown option ${name.slice(0, 60)}${meant === "" ? see(command, "--help-all") : meant}`);
}

function checkPositionals(positionals: readonly string[], command: Command): void {
  const { takes } = command;
  const missing = takes[positionals.length];
  if (missing !== undefined) throw new UsageError(`missing argument <${missing.name}>: ${missing.help}${see(command)}`);
  if (positionals.length > takes.length && takes.at(-1)?.isRepeatable !== true) {
    const extra = positionals[takes.length]!;
    throw new UsageError(`unexpected argument "${extra.slice(0, 60)}"${see(command)}`);
  }
}

/** " (see fakeai serve --help)", to end a complaint with. */
function see({ name }: Command, flag: string = "--help"): string {
  return ` (see fakeai ${name} ${flag})`;
}
