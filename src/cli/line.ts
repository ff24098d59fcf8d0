/** A command line, read by the table of a command's flags. Values are still texts: `settingsOf` parses them. */
import { parseArgs } from "node:util";
import { UsageError } from "../base/usage-error.ts";
import { type Flag, flagForm, flagName } from "../settings/flags.ts";
import type { GivenFlag } from "../settings/parse.ts";
import type { Command, Line } from "./command.ts";

/** What a line asks for: the command, or one of its help screens. */
type Asked = { readonly help: "common" | "all" } | ({ readonly help: null } & Line);

/** Reads what follows the command's name. Throws UsageError for what the command does not take, unless help was asked for. */
export async function readLine(args: readonly string[], command: Command, flags: readonly Flag[]): Promise<Asked> {
  const rows = new Map(flags.map((row) => [flagName(row.key), row]));
  // Not strict: complaints are ours, and a value may begin with a dash, as a negative number does.
  const { tokens } = parseArgs({
    args: [...args],
    options: {
      help: { type: "boolean", short: "h" },
      "help-all": { type: "boolean" },
      ...Object.fromEntries([...rows].map(([name, { kind }]) => [name, { type: kind === "boolean" ? "boolean" : "string" } as const])),
    },
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const asked = new Set(tokens.map((token) => (token.kind === "option" ? token.name : "")));
  if (asked.has("help-all")) return { help: "all" };
  if (asked.has("help")) return { help: "common" };
  const given: Record<string, GivenFlag> = {};
  const positionals: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") positionals.push(token.value);
    if (token.kind !== "option") continue;
    const row = rows.get(token.name);
    if (row === undefined) throw await unknownFlag(token.rawName, command, flags);
    if (row.kind === "boolean") {
      if (token.value !== undefined) throw new UsageError(`${flagForm(row)} takes no value`);
      given[row.key] = true;
    } else if (token.value === undefined) throw new UsageError(`${flagForm(row)} needs a value${see(command)}`);
    else given[row.key] = row.kind === "list" ? ([...[given[row.key] ?? []].flat(), token.value] as string[]) : token.value;
  }
  checkPositionals(positionals, command);
  return { given, positionals, help: null };
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
