/** Help screens, from the table of commands and the tables of flags. */
import { flagForm, flagGroups, flagHelp } from "../settings/flags.ts";
import type { Command } from "./command.ts";

/** Columns of a screen: the terminal's, within what reads well; 80 where there is none. */
function screenWidth(): number {
  return Math.min(Math.max(process.stdout.columns ?? 80, 60), 100);
}

/** A term wider than this has what it means on the next line. */
const widestTerm = 30;

/** `fakeai --help`. */
export function programHelp(commands: readonly Command[], width: number = screenWidth()): string {
  return `Usage: fakeai <command> [flags], or fakeai --version
The load and performance testbench for everything that talks to LLMs

Commands:
${rowsOf(
  commands.map(({ name, takes, summary }) => [[name, ...takes.map(argumentForm)].join(" "), summary]),
  width,
)}

Examples:
  fakeai serve --ttft 100 --itl 20      a server whose streams keep a schedule
  fakeai bench                          HTTP/1.1 against HTTP/2 in two minutes
  fakeai bench --url https://host/v1    the same for any server

fakeai <command> --help shows common flags, --help-all all of them.
`;
}

/** `fakeai <command> --help`: the common flags and examples. With `all`: every flag, the environment, exit codes. */
export async function commandHelp(command: Command, all: boolean, width: number = screenWidth()): Promise<string> {
  const { name, takes, summary, examples, exitCodes } = command;
  const flags = await command.flags();
  const shown = all ? flags : flags.filter(({ common }) => common);
  const forms = [name, ...takes.map(argumentForm), ...(flags.length === 0 ? [] : ["[flags]"])];
  const argumentRows = takes.map((argument) => [argumentForm(argument), argument.help] as const);
  const terms = termWidth(shown.map(flagForm));
  const sections = [
    `Usage: fakeai ${forms.join(" ")}\n${sentence(summary)}`,
    ...(takes.length === 0 ? [] : [`Arguments:\n${rowsOf(argumentRows, width)}`]),
    ...[...flagGroups(shown)].map(([group, rows]) => {
      const flagRows = rows.map((row) => [flagForm(row), flagHelp(row)] as const);
      return `${group}:\n${rowsOf(flagRows, width, terms)}`;
    }),
    `Examples:\n${exampleRows(examples, width)}`,
    ...(all
      ? [...(await moreOf(command, width)), `Exit codes:\n${rowsOf(exitCodes, width)}`]
      : [`fakeai ${name} --help-all shows ${shown.length < flags.length ? "every flag, and exit codes" : "exit codes too"}.`]),
  ];
  return `${sections.join("\n\n")}\n`;
}

/** "start the server" to "Start the server." */
function sentence(words: string): string {
  return `${words.slice(0, 1).toUpperCase()}${words.slice(1)}.`;
}

async function moreOf({ more }: Command, width: number): Promise<string[]> {
  const sections = more === undefined ? [] : await more();
  return sections.map(({ heading, rows = [], text = "" }) => {
    const lines = wrapped(text, width - 2).map((line) => `  ${line}`);
    return [`${heading}:`, ...(rows.length === 0 ? [] : [rowsOf(rows, width)]), ...lines].join("\n");
  });
}

function argumentForm({ name, isRepeatable }: Command["takes"][number]): string {
  return `<${name}>${isRepeatable === true ? "..." : ""}`;
}

/** Commands with what they do beside them, or alone where a line has no room for it. */
function exampleRows(examples: Command["examples"], width: number): string {
  const widest = Math.max(...examples.map(([line]) => line.length));
  return examples
    .map(([line, does]) => {
      const row = does === undefined ? line : `${line.padEnd(widest)}  ${does}`;
      return `  ${row.length + 2 > width ? line : row}`;
    })
    .join("\n");
}

function termWidth(terms: readonly string[]): number {
  return Math.max(0, ...terms.map((term) => term.length).filter((length) => length <= widestTerm));
}

/** Terms and what they mean, in two columns. */
function rowsOf(
  rows: readonly (readonly [term: string, meaning: string])[],
  width: number,
  widest = termWidth(rows.map(([term]) => term)),
): string {
  const indent = " ".repeat(widest + 4);
  return rows
    .flatMap(([term, meaning]) => {
      const [first = "", ...rest] = wrapped(meaning, width - indent.length);
      const lines = rest.map((line) => indent + line);
      return term.length > widest ? [`  ${term}`, indent + first, ...lines] : [`  ${term.padEnd(widest)}  ${first}`.trimEnd(), ...lines];
    })
    .join("\n");
}

/** A text as lines of at most so many columns, its own line ends kept. */
function wrapped(text: string, width: number): string[] {
  if (text === "") return [];
  return text.split("\n").flatMap((paragraph) => {
    const lines: string[] = [];
    let line = "";
    for (const word of paragraph.split(" ")) {
      if (line !== "" && line.length + 1 + word.length > width) {
        lines.push(line);
        line = word;
      } else line = line === "" ? word : `${line} ${word}`;
    }
    return [...lines, line];
  });
}
